"""Values on their way from the judge, whom workers trust: pickled, shared objects by their keys.

Functions of torch and of Python itself, and classes with their methods, travel; every other
function stays where it is and is called back.
"""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections import OrderedDict
from typing import Any

import cloudpickle
from torch import Tensor, nn

from nst_helpers.grading.remote.message import Message
from nst_helpers.grading.remote.modules import PLAIN, sent_state
from nst_helpers.grading.remote.tables import Tables

_BY_VALUE = {*PLAIN, dict, list, tuple, OrderedDict}
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
# Where functions and classes are the same on both sides.
_BY_NAME = {*sys.stdlib_module_names, "torch", "torchvision", "numpy", "cloudpickle"} - {"__main__"}


def pickled(value: Any, tables: Tables, message: Message) -> bytes:
    """Return a value as bytes, with the content of each module in it after it."""
    stream = io.BytesIO()
    pickler = _Pickler(stream, tables, message)
    pickler.dump(value)
    while pickler.waiting:
        key, module = pickler.waiting.pop()
        pickler.dump((key, sent_state(module)))
    return stream.getvalue()


def unpickled(data: memoryview, tables: Tables) -> Any:
    """Return the value that :func:`pickled` made bytes of; its modules are filled."""
    stream = io.BytesIO(data)
    unpickler = _Unpickler(stream, tables)
    value = unpickler.load()
    while stream.tell() < len(data):
        key, state = unpickler.load()
        tables.modules.fill(key, state, tables.functions.is_theirs)
    return value


class _Pickler(cloudpickle.Pickler):
    def __init__(self, stream: io.BytesIO, tables: Tables, message: Message) -> None:
        super().__init__(stream)
        self.tables = tables
        self.message = message
        self.waiting: list[tuple[str, nn.Module]] = []
        self.sent: set[str] = set()
        self.methods: set[int] = set()

    def persistent_id(self, value: Any) -> Any:
        if type(value) in _BY_VALUE:
            return None
        if isinstance(value, Tensor):
            return "tensor", self.tables.tensors.key_of(value, self.message)
        if isinstance(value, nn.Module):
            key = self.tables.modules.key_of(value)
            if key not in self.sent:
                self.sent.add(key)
                self.waiting.append((key, value))
            return "module", key, type(value)
        if isinstance(value, _FUNCTIONS) and not self._travels(value):
            key = self.tables.functions.key_of(value)
            return "function", key, getattr(value, "__name__", "function")
        if isinstance(value, type):
            self._note_methods(value)
        return None

    def _note_methods(self, kind: type) -> None:
        """Let the methods of a class travel with it; only they are not called back."""
        if _root(kind) in _BY_NAME:
            return
        self.tables.functions.classes[kind.__name__] = kind
        for item in vars(kind).values():
            for function in (item, getattr(item, "__func__", None), getattr(item, "fget", None)):
                self.methods.add(id(function))

    def _travels(self, function: Any) -> bool:
        """Return whether a function is sent; all others stay and are called back."""
        if id(function) in self.methods:
            return True
        name = getattr(function, "__qualname__", "<")
        return _root(function) in _BY_NAME and "<" not in name and _is_function(function)


def _root(value: Any) -> str:
    return (getattr(value, "__module__", None) or "").split(".")[0]


def _is_function(function: Any) -> bool:
    """Return whether this is a function of a module, and no method bound to an object."""
    bound_to = getattr(function, "__self__", None)
    return bound_to is None or isinstance(bound_to, types.ModuleType)


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, tables: Tables) -> None:
        super().__init__(stream)
        self.tables = tables

    def persistent_load(self, pid: tuple) -> Any:
        kind, key, *rest = pid
        if kind == "tensor":
            return self.tables.tensors.by_key[key]
        if kind == "function":
            return self.tables.functions.theirs(key, *rest)
        if key not in self.tables.modules.by_key:
            self.tables.modules.keep(key, rest[0].__new__(rest[0]))
        return self.tables.modules.by_key[key]
