"""Calling a student's function in another process as if it were here.

Each side of a connection is a :class:`Peer`. A call sends its arguments and gets its result; both
sides keep a table of the tensors, modules and functions that they have in common, so that

- an argument that is returned, or handed to a call-back, is the caller's very object;
- what a function changes in its arguments (numbers, ``.grad``, flags, training mode, hooks) is
  changed in the caller's objects, too;
- a gradient crosses the border: a tensor that was computed on the other side is made by an
  ``autograd.Function`` whose backward asks that side for its vector-Jacobian product;
- functions that are passed or returned can be called from the other side, to any depth.

The judge trusts nothing of what it receives (``wire``); a worker trusts the judge, whose values are
pickled. Source: PyTorch documentation, "Extending PyTorch", and "Autograd mechanics".
"""

from __future__ import annotations

import builtins
import contextlib
import inspect
import io
import pickle
import socket
import sys
import time
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from nst_helpers.grading import wire
from nst_helpers.grading.wire import Malformed

MOST_SHARED = 20_000
MOST_MESSAGES = 200_000
MOST_TEXT = 2_000
MOST_DEPTH = 40
_PLAIN = (bool, int, float, str, type(None))
_PARTS = ("_parameters", "_buffers", "_modules")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class WorkerGone(Exception):
    """The other side ended, took too long or broke the protocol; the message says which."""


class RemoteError(Exception):
    """An exception of a class that only the other side knows."""


class Opaque:
    """Stands for an object that cannot travel; only its type's name is known."""


class _LeftBehind:
    """Stands for a hook that a function left on a module; does nothing."""

    def __call__(self, *_: Any, **__: Any) -> None:
        return None


class Peer:
    """One side of a connection.

    Args:
        sock: a connected stream socket.
        prefix: what the keys of this side's objects begin with.
        other: what the keys of the other side's objects begin with.
        trusting: whether what comes is unpickled, and so what goes is not pickled.
    """

    def __init__(self, sock: socket.socket, prefix: str, other: str, *, trusting: bool) -> None:
        self.sock = sock
        self.prefix = prefix
        self.other = other
        self.trusting = trusting
        self.count = 0
        # The anchor makes the result of a Bridge require a gradient even where none of its inputs
        # is known here.
        self.anchor = torch.zeros((), requires_grad=True)
        self.objects: dict[str, Any] = {}
        self.names: dict[int, str] = {}
        self.modules: dict[str, nn.Module] = {}
        self.module_keys: dict[int, str] = {}
        self.module_states: dict[str, tuple] = {}
        self.forget()

    def forget(self) -> None:
        """Drop what is known of tensors; functions and modules stay."""
        self.tensors: dict[str, Tensor] = {}
        self.leaves: dict[str, Tensor] = {}
        self.edges: dict[str, Any] = {}
        self.edge_keys: dict[tuple[int, int], str] = {}
        self.tensor_keys: dict[int, str] = {}
        self.returned: dict[str, str] = {}
        self.watched: dict[str, nn.Module] = {}
        self.weights: dict[int, tuple] = {}
        self.cuts: list[set[str]] = []
        self.synced: dict[str, tuple] = {}

    # --- requests ---------------------------------------------------------------------------------

    def request(self, header: dict[str, Any], value: Any = None) -> Any:
        """Send a request, serve the requests that come before its reply, and return the reply."""
        self._write(header, value)
        while True:
            reply, body = self._read()
            if "do" in reply:
                self._serve(reply, body)
            else:
                return self._outcome(reply, body)

    def serve(self) -> None:
        """Serve requests until the other side is gone."""
        with contextlib.suppress(EOFError):
            while True:
                self._serve(*self._read())

    def call(self, key: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call the other side's function ``key``."""
        header = {"do": "call", "key": key, "grad": torch.is_grad_enabled()}
        return self.request(header, (args, kwargs))

    def _serve(self, header: dict[str, Any], body: memoryview) -> None:
        try:
            value = self._decode(header, body)
            answer = self._perform(header, value)
        except (Malformed, WorkerGone, EOFError):
            raise
        except BaseException as error:
            self._write({"error": self._described_error(error)})
            return
        try:
            self._write({}, answer)
        except _CannotTravel as error:
            self._write({"error": self._described_error(TypeError(str(error)))})

    def _perform(self, header: dict[str, Any], value: Any) -> Any:
        """Return the answer to one request."""
        do, key = header.get("do"), header.get("key")
        if do == "call":
            args, kwargs = value
            before = _outline(value) if self.trusting else None
            with torch.set_grad_enabled(header.get("grad") is not False):
                result = self._own(key)(*args, **kwargs)
            if self.trusting and _outline(value) != before:
                return _Changed(result, value)
            return result
        if do == "vjp":
            return self._products(header, value)
        raise Malformed(f"there is no request {str(do)[:40]!r}")

    def _own(self, key: Any) -> Callable:
        function = self.objects.get(key) if isinstance(key, str) else None
        if not callable(function) or not key.startswith(self.prefix):
            raise Malformed("a function was called that was never given")
        return function

    def _read(self) -> tuple[dict[str, Any], memoryview]:
        return wire.receive(self.sock)

    def _write(self, header: dict[str, Any], value: Any = None) -> None:
        message = _Message()
        if isinstance(value, _Changed):
            header["arguments"] = self._tree(value.arguments, message)
            value = value.result
        if isinstance(value, _Loose):
            header["loose"] = [_described_loose(each, message) for each in value.tensors]
        elif self.trusting:
            header["value"] = self._tree(value, message)
        elif value is not None:
            header["pickle"] = message.add(self._pickled(value, message))
        if self.trusting:
            header["modules"] = self._module_changes(message)
        if message.nodes:
            header["nodes"] = self._described_nodes(message)
        header["leaves"] = self._leaf_changes(message)
        wire.send(self.sock, header, bytes(message.body))

    def _outcome(self, header: dict[str, Any], body: memoryview) -> Any:
        value = self._decode(header, body)
        if "error" in header:
            raise self._error(header["error"])
        return value

    def _decode(self, header: dict[str, Any], body: memoryview) -> Any:
        """Return a message's value after what it says about shared objects has been done."""
        try:
            for leaf in header.get("leaves") or ():
                self._take_leaf(leaf, body)
            if header.get("nodes"):
                self._take_nodes(header["nodes"], body)
            if "loose" in header:
                return [_taken_loose(each, body) for each in header["loose"]]
            if self.trusting:
                return (
                    self._unpickled(_part(header["pickle"], body)) if "pickle" in header else None
                )
            value = self._untree(header.get("value"), 0)
            if "arguments" in header:
                self.changed_arguments = self._untree(header["arguments"], 0)
            self._take_modules(header.get("modules") or [])
            return value
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if self.trusting:
                raise
            raise Malformed(f"a message makes no sense ({type(error).__name__})") from error

    # --- tensors ----------------------------------------------------------------------------------

    def _register(self, key: str, tensor: Tensor) -> None:
        if len(self.tensors) >= MOST_SHARED:
            raise Malformed(f"more than {MOST_SHARED} tensors were exchanged")
        self.tensors[key] = tensor
        self.tensor_keys.setdefault(id(tensor), key)
        self.edges[key] = edge = tensor.grad_fn
        if edge is None:
            self.leaves[key] = tensor
        if edge is not None and key.startswith(self.other):
            self.edge_keys[id(edge), tensor.output_nr] = key

    def _key_of(self, tensor: Tensor, message: _Message) -> str:
        """Return a tensor's key; a new one where it is not known, or is computed anew since."""
        key = self.tensor_keys.get(id(tensor))
        if key is not None and self.edges[key] is tensor.grad_fn:
            if self.trusting or tensor.grad_fn is None or key.startswith(self.prefix):
                return key
            # What a worker computed goes back to it as the judge's: then its gradient passes
            # through here once, whatever else is computed of it.
            if key not in self.returned:
                self.returned[key] = self._new_key()
                message.nodes[self.returned[key]] = tensor
            return self.returned[key]
        if key is not None:
            del self.tensor_keys[id(tensor)]
        if str(tensor.dtype).removeprefix("torch.") not in wire.DTYPES or tensor.layout not in (
            torch.strided,
        ):
            raise _CannotTravel(f"a tensor of {tensor.dtype}, {tensor.layout} cannot travel")
        if tensor.grad_fn is not None:
            for known in message.nodes:
                if message.nodes[known] is tensor:
                    return known
            key = self._new_key()
            message.nodes[key] = tensor
        else:
            key = self._new_key()
            self._register(key, tensor)
        return key

    def _new_key(self) -> str:
        self.count += 1
        return f"{self.prefix}{self.count}"

    def _leaf_changes(self, message: _Message) -> list[dict[str, Any]]:
        """Return every shared tensor without a graph that differs from what was last said of it."""
        changes = []
        for key, tensor in self.leaves.items():
            if tensor.grad_fn is not None:
                continue
            if self._is_weight_as_before(tensor):
                continue
            state = _state(tensor)
            before = self.synced.get(key)
            if before is not None and before[:-1] == state[:-1]:
                continue
            self.synced[key] = state
            _, _, numbers, requires_grad, grad, version = state
            change = wire.described(tensor) | {"key": key, "requires_grad": requires_grad}
            change["parameter"] = isinstance(tensor, nn.Parameter)
            # A change that autograd was told of is one that it has to be told of over there, too.
            change["told"] = before is None or version != before[-1]
            if self.trusting and before is None:
                change["memory"] = self._memory_of(key, tensor)
            change["data"] = None if numbers is None else message.add(numbers)
            change["grad"] = None if grad is None else message.add(grad)
            changes.append(change)
        return changes

    def _is_weight_as_before(self, tensor: Tensor) -> bool:
        """Return whether a tensor is a model's, and torch says that nothing was done to it.

        Of other tensors the numbers are compared: what is done to ``.data`` torch does not count.
        """
        before = self.weights.get(id(tensor))
        if before is None or tensor.grad is not None or tensor.is_inference():
            return False
        now = (tensor.data_ptr(), tensor._version, tensor.requires_grad)
        self.weights[id(tensor)] = now
        return now == before

    def _memory_of(self, key: str, tensor: Tensor) -> str | None:
        """Return the key of an argument that lies at the same place in memory, or None."""
        place = _place(tensor)
        for known, other in self.tensors.items():
            if known.startswith(self.other) and known != key and _place(other) == place:
                return known if tensor.numel() and tensor.device.type != "meta" else None
        return None

    def _take_leaf(self, leaf: dict[str, Any], body: memoryview) -> None:
        key = leaf["key"]
        data = wire.tensor(leaf, _part(leaf["data"], body))
        known = self.tensors.get(key)
        if known is None:
            self._check_key(key)
            if leaf.get("memory") is not None:
                data = self._same_memory(leaf["memory"], data)
            known = nn.Parameter(data, requires_grad=False) if leaf["parameter"] else data
            self._register(key, known)
        elif known.grad_fn is not None:
            raise Malformed("a computed tensor was overwritten")
        elif (known.shape, known.dtype, known.device) != (data.shape, data.dtype, data.device):
            known.data = data
        elif wire.raw(known) != wire.raw(data):
            (known.detach() if leaf["told"] else known.data).copy_(data)
        if known.requires_grad != bool(leaf["requires_grad"]):
            known.requires_grad_(bool(leaf["requires_grad"]))
        if leaf["grad"] is None:
            known.grad = None
        else:
            plain = {name: leaf[name] for name in ("dtype", "shape", "meta")}
            grad = wire.tensor(plain, _part(leaf["grad"], body))
            if known.grad is None or known.grad.shape != grad.shape:
                known.grad = grad
            else:
                known.grad.detach().copy_(grad)
        self.synced[key] = _state(known)

    def _same_memory(self, key: str, data: Tensor) -> Tensor:
        """Return a tensor with the memory of a known one, which holds these numbers."""
        known = self.tensors[key].detach()
        if (known.shape, known.dtype) != (data.shape, data.dtype):
            raise Malformed("memory is shared by tensors that do not fit")
        return known.copy_(data) if wire.raw(known) != wire.raw(data) else known

    def _described_nodes(self, message: _Message) -> dict[str, Any]:
        """Return the tensors of a message that have a graph here, and what they are computed of."""
        dependencies = self._dependencies(list(message.nodes.values()))
        tensors = []
        for key, tensor in message.nodes.items():
            numbers = wire.raw(tensor)
            data = None if numbers is None else message.add(numbers)
            tensors.append(wire.described(tensor) | {"key": key, "data": data})
        for key, tensor in message.nodes.items():
            self._register(key, tensor)
        return {"tensors": tensors, "of": dependencies}

    def _dependencies(self, tensors: list[Tensor]) -> list[str]:
        """Return the keys of the shared tensors that these were computed from."""
        found: dict[str, None] = {}
        seen = set()
        waiting = [(tensor.grad_fn, tensor.output_nr) for tensor in tensors]
        while waiting:
            edge, number = waiting.pop()
            if edge is None:
                continue
            known = self.edge_keys.get((id(edge), number))
            if known is not None:
                found[known] = None
                continue
            if edge in seen:
                continue
            seen.add(edge)
            leaf = getattr(edge, "variable", None)
            if leaf is not None and id(leaf) in self.tensor_keys:
                found[self.tensor_keys[id(leaf)]] = None
            waiting += edge.next_functions
        return list(found)

    def _take_nodes(self, nodes: dict[str, Any], body: memoryview) -> None:
        data = [wire.tensor(each, _part(each["data"], body)) for each in nodes["tensors"]]
        keys = [each["key"] for each in nodes["tensors"]]
        if not all(each.is_floating_point() or each.is_complex() for each in data):
            raise Malformed("whole numbers have no gradient")
        for key in keys:
            self._check_key(key)
        known = [self.tensors[key] for key in nodes["of"]]
        with torch.enable_grad():
            made = _Bridge.apply(self, keys, nodes["of"], data, self.anchor, *known)
        for key, tensor in zip(keys, made, strict=True):
            self._register(key, tensor)

    def _check_key(self, key: Any) -> None:
        if not isinstance(key, str) or not key.startswith(self.other) or key in self.tensors:
            raise Malformed("a key is not one that the other side may choose")

    def _products(self, header: dict[str, Any], cotangents: list[Tensor | None]) -> _Loose:
        """Return the vector-Jacobian products that a backward on the other side asks for."""
        given = [
            (self.tensors[key], cotangent)
            for key, cotangent in zip(header["keys"], cotangents, strict=True)
            if cotangent is not None
        ]
        inputs = {key: self.tensors[key] for key in header["of"] if self.tensors[key].requires_grad}
        if not inputs or not given:
            return _Loose([None] * len(header["of"]))
        self.cuts.append(set(inputs))
        try:
            products = torch.autograd.grad(
                [tensor for tensor, _ in given],
                list(inputs.values()),
                [cotangent for _, cotangent in given],
                retain_graph=bool(header["keep"]),
                allow_unused=True,
            )
        finally:
            self.cuts.pop()
        found = dict(zip(inputs, products, strict=True))
        return _Loose([found.get(key) for key in header["of"]])

    # --- modules ----------------------------------------------------------------------------------

    def _module_key(self, module: nn.Module) -> str:
        key = self.module_keys.get(id(module))
        if key is None:
            key = self._new_key()
            self._keep_module(key, module)
        self._watch(key)
        return key

    def _keep_module(self, key: str, module: nn.Module) -> None:
        self.modules[key] = module
        self.module_keys[id(module)] = key

    def _watch(self, key: str) -> None:
        """Look after each message whether a module of this cell, or its weights, changed."""
        if key not in self.watched:
            self.watched[key] = module = self.modules[key]
            for place in ("_parameters", "_buffers"):
                for tensor in vars(module).get(place, {}).values():
                    self.weights.setdefault(id(tensor), ())

    def _module_changes(self, message: _Message) -> list[list]:
        """Return what is in each module that changed, as a tree."""
        changes = []
        # Modules that are found in changed ones are looked at in their turn.
        for key in _growing(self.watched):
            module = self.modules[key]
            state = _module_state(module)
            if self.module_states.get(key) != state:
                self.module_states[key] = state
                attributes, parts, hooks = _module_parts(module)
                tree = self._tree([attributes, parts], message)
                changes.append([key, tree, hooks])
        return changes

    def _take_modules(self, changes: list[list]) -> None:
        for key, tree, hooks in changes:
            module = self.modules[key]
            attributes, parts = self._untree(tree, 0)
            table = vars(module)
            for name in [name for name in table if _is_attribute(name, table[name])]:
                if name not in attributes:
                    del table[name]
            for name, value in attributes.items():
                if not hasattr(type(module), name) or name in table:
                    table[name] = value
            for place, items in zip(_PARTS, parts, strict=True):
                kind = nn.Module if place == "_modules" else Tensor
                if not all(item is None or isinstance(item, kind) for item in items.values()):
                    raise Malformed("a part of a module is none")
                getattr(module, place).clear()
                getattr(module, place).update(items)
            for place, count in zip(_HOOKS, hooks, strict=True):
                hooked = getattr(module, place)
                for number in range(len(hooked), min(int(count), 100)):
                    hooked[f"left behind {number}"] = _LeftBehind()

    # --- functions and exceptions -----------------------------------------------------------------

    def _function_key(self, function: Callable) -> str:
        key = self.names.get(id(function))
        if key is None:
            if len(self.objects) >= MOST_SHARED:
                raise _CannotTravel("too many functions were exchanged")
            key = self._new_key()
            self.objects[key], self.names[id(function)] = function, key
        return key

    def function(self, key: str, name: str, signature: inspect.Signature | None = None) -> Callable:
        """Return a function that calls the other side's function ``key``."""
        known = self.objects.get(key)
        if known is not None:
            return known

        def remote(*args: Any, **kwargs: Any) -> Any:
            return self.call(key, args, kwargs)

        remote.__name__ = remote.__qualname__ = name
        if signature is not None:
            remote.__signature__ = signature
        self.objects[key], self.names[id(remote)] = remote, key
        return remote

    def _described_error(self, error: BaseException) -> dict[str, Any]:
        origin = self.names.get(id(error))
        if origin is None:
            origin = self._new_key()
            self.objects[origin], self.names[id(error)] = error, origin
        try:
            text = str(error)[:MOST_TEXT]
        except Exception:
            text = ""
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"key": origin, "kinds": kinds, "text": text, "line": self.line_of(error)}

    def line_of(self, error: BaseException) -> str:
        """Return the line of source that an exception came from, or nothing."""
        return ""

    def known_error(self, kinds: list[str]) -> type[Exception] | None:
        """Return this side's own class of an exception, by name."""
        return None

    def note_backward(self, keys: list, cotangents: tuple, of: list, products: list) -> None:
        """Take note of a backward that crossed the border."""

    def _error(self, described: Any) -> BaseException:
        """Return an exception to raise for one that was raised on the other side."""
        wanted = {"key": str, "kinds": list, "text": str, "line": str}
        if not isinstance(described, dict) or not all(
            isinstance(described.get(name), kind) for name, kind in wanted.items()
        ):
            raise Malformed("an exception is not described")
        key, kinds = described["key"], described["kinds"]
        known = self.objects.get(key)
        if isinstance(known, BaseException):
            return known
        names = [str(kind)[:80] for kind in kinds[:10]]
        error = _made(self.known_error(names) or _error_class(names), described["text"])
        error.student_line = str(described["line"])[:200]
        self.objects[key], self.names[id(error)] = error, key
        return error

    # --- values from judge to worker: pickled -----------------------------------------------------

    def _pickled(self, value: Any, message: _Message) -> bytes:
        stream = io.BytesIO()
        pickler = _Pickler(stream, self, message)
        pickler.dump(value)
        while pickler.waiting:
            key, module = pickler.waiting.pop()
            pickler.dump((key, _sent_state(module)))
        return stream.getvalue()

    def _unpickled(self, data: memoryview | None) -> Any:
        stream = io.BytesIO(data)
        unpickler = _Unpickler(stream, self)
        value = unpickler.load()
        while stream.tell() < len(data):
            key, state = unpickler.load()
            table = vars(self.modules[key])
            state = {name: _detached(item) for name, item in _EMPTY.items()} | state
            for place in _HOOKS:
                self._keep_hooks(table.get(place, {}), state[place])
            table.clear()
            table.update(state)
            self.watched.pop(key, None)
            self._watch(key)
            self.module_states[key] = _module_state(self.modules[key])
        return value

    def _keep_hooks(self, old: dict, new: dict) -> None:
        """Put the hooks that were left behind here where the judge has what stands for them."""
        places = [name for name, hook in new.items() if isinstance(hook, _LeftBehind)]
        left = [
            (name, hook)
            for name, hook in old.items()
            if not self.names.get(id(hook), "").startswith(self.other)
        ]
        for name in places:
            del new[name]
        new.update(left[: len(places)])

    # --- values from worker to judge: a tree of JSON ----------------------------------------------

    def _tree(self, value: Any, message: _Message, depth: int = 0) -> Any:
        if depth > MOST_DEPTH:
            raise _CannotTravel("this is nested too deep")
        kind = type(value)
        if kind in (bool, float, str, type(None)):
            return value
        if kind is int:
            return value if abs(value) < 1 << 63 else ["int", hex(value)[:10_000]]
        if isinstance(value, Tensor):
            return ["tensor", self._key_of(value, message)]
        if isinstance(value, nn.Module) and (
            id(value) in self.module_keys or _is_torchs(type(value).__name__, type(value))
        ):
            return ["module", self._module_key(value), kind.__name__]
        if kind is np.ndarray and value.dtype.name in wire.DTYPES:
            return ["numpy", self._key_of(torch.from_numpy(value.copy()), message)]
        if isinstance(value, (list, tuple)):
            items = [self._tree(item, message, depth + 1) for item in list(value)]
            name = "list" if isinstance(value, list) else "tuple"
            return [name, items, "" if kind.__name__ == name else kind.__name__]
        if isinstance(value, dict):
            items = [
                [self._tree(part, message, depth + 1) for part in item] for item in value.items()
            ]
            return ["dict", items, "" if kind is dict else kind.__name__]
        for base in (float, int, str):
            if isinstance(value, base):
                return ["sub", base(value), kind.__name__]
        if kind is torch.dtype:
            return ["dtype", str(value).removeprefix("torch.")]
        if callable(value) and not isinstance(value, type):
            name = getattr(value, "__name__", kind.__name__)
            described = self._described_signature(value, message, depth)
            return ["function", self._function_key(value), str(name)[:80], described]
        return ["opaque", kind.__name__]

    def _described_signature(self, function: Callable, message: _Message, depth: int) -> Any:
        """Return names, kinds and defaults of a function's arguments, or None."""
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        described = []
        for each in parameters:
            default = []
            if each.default is not inspect.Parameter.empty:
                default = [self._tree(each.default, message, depth + 1)]
            described.append([each.name, int(each.kind), default])
        return described

    def _untree(self, tree: Any, depth: int) -> Any:
        if depth > 2 * MOST_DEPTH:
            raise Malformed("a value is nested too deep")
        if type(tree) in _PLAIN:
            return tree
        tag, payload, *rest = tree
        if tag == "tensor":
            return self.tensors[payload]
        if tag == "numpy":
            return self.tensors[payload].numpy(force=True)
        if tag == "module":
            return self._taken_module(payload, *rest)
        if tag in ("list", "tuple"):
            items = [self._untree(item, depth + 1) for item in payload]
            return _subclass(list if tag == "list" else tuple, rest[0])(items)
        if tag == "dict":
            pairs = [[self._untree(part, depth + 1) for part in item] for item in payload]
            return _subclass(dict, rest[0])(pairs)
        if tag == "sub" and type(payload) in (float, int, str):
            return _subclass(type(payload), rest[0])(payload)
        if tag == "int":
            return int(payload, 16)
        if tag == "dtype":
            return wire.DTYPES[payload]
        if tag == "function":
            return self._taken_function(payload, *rest, depth)
        if tag == "opaque":
            return _subclass(Opaque, payload)()
        raise Malformed(f"there is no value of kind {str(tag)[:40]!r}")

    def _taken_module(self, key: str, name: str) -> nn.Module:
        """Return a known module, or an empty one of a class of torch's to be filled."""
        if key not in self.modules:
            if not key.startswith(self.other) or not _is_torchs(name):
                raise Malformed("a module is not one of torch's")
            kind = getattr(nn, name)
            module = kind.__new__(kind)
            vars(module).update({part: _detached(item) for part, item in _EMPTY.items()})
            self._keep_module(key, module)
        return self.modules[key]

    def _taken_function(self, key: str, name: str, described: Any, depth: int) -> Callable:
        if key.startswith(self.prefix):
            return self._own(key)
        if not key.startswith(self.other) or len(self.objects) >= MOST_SHARED:
            raise Malformed("a function's key is not one")
        signature = None
        if described is not None:
            signature = inspect.Signature(
                inspect.Parameter(
                    str(each),
                    inspect._ParameterKind(kind),
                    default=self._untree(default[0], depth + 1) if default else REQUIRED,
                )
                for each, kind, default in described
            )
        return self.function(key, str(name)[:80], signature)


REQUIRED = inspect.Parameter.empty


class JudgePeer(Peer):
    """The judge's side: limits on time, and no trust.

    Attributes:
        progress: the number of the cell that the worker last said it was about to run.
        exercises: the names of the student's functions, by key.
        calling: the exercise that was called last.
        tape: what notes the calls that the judge makes itself, not those in the course of another.
        gone: why there is no worker any more, or nothing.
    """

    def __init__(self, sock: socket.socket, call_seconds: float, until: float) -> None:
        super().__init__(sock, "j", "w", trusting=False)
        self.call_seconds = call_seconds
        self.until = until
        self.progress: int | None = None
        self.exercises: dict[str, str] = {}
        self.calling = ""
        self.tape: Any = None
        self.changed_arguments: Any = None
        self.classes: dict[str, type] = {}
        self.gone = ""
        self.messages_left = MOST_MESSAGES
        self._call_until: float | None = None

    def call(self, key: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call a student's function; what it did to lists and dictionaries is done here, too."""
        self.changed_arguments = None
        result = self._noted_call(key, args, kwargs)
        changed, self.changed_arguments = self.changed_arguments, None
        if changed is not None:
            _refill((args, kwargs), changed)
        return result

    def _noted_call(self, key: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call a student's function, and note it on the tape."""
        if self._call_until is not None:
            return super().call(key, args, kwargs)
        self.calling = self.exercises.get(key, self.calling)
        if self.tape is None or self.tape.full:
            return super().call(key, args, kwargs)
        noted = self.tape.begin(self.exercises.get(key) or self.objects[key], (args, kwargs))
        result = super().call(key, args, kwargs)
        self.tape.finish(noted, result)
        return result

    def note_backward(self, keys: list, cotangents: tuple, of: list, products: list) -> None:
        """Note on the tape a backward that the judge asked for itself."""
        if self.tape is not None and self._call_until is None:
            outputs, inputs = ([self.tensors[key] for key in each] for each in (keys, of))
            self.tape.backward(outputs, list(cotangents), inputs, products)

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        """Let a request, and all that it leads to, take as long as one call may."""
        outermost = self._call_until is None
        if outermost:
            self._call_until = min(time.monotonic() + self.call_seconds, self.until)
        try:
            yield
        finally:
            if outermost:
                self._call_until = None

    def request(self, header: dict[str, Any], value: Any = None) -> Any:
        """Send a request and return its reply.

        Raises:
            WorkerGone: there is none, and there will be none.
        """
        if self.gone:
            raise WorkerGone(self.gone)
        try:
            with self._in_time():
                return super().request(header, value)
        except TimeoutError:
            self._give_up("it took too long")
        except (EOFError, OSError):
            self._give_up("its process ended")
        except Malformed as error:
            self._give_up(f"its process sent what no answer sends: {error}")

    def _give_up(self, why: str) -> None:
        self.gone = why
        self.sock.close()
        raise WorkerGone(why) from None

    def _read(self) -> tuple[dict[str, Any], memoryview]:
        while True:
            header, body = wire.receive(self.sock, self._call_until)
            self.messages_left -= 1
            if self.messages_left < 0:
                raise Malformed("too many messages")
            if "progress" not in header:
                return header, body
            # Each of a submission's cells may take as long as a call.
            self.progress = header["progress"] if type(header["progress"]) is int else None
            self._call_until = min(time.monotonic() + self.call_seconds + 1, self.until)

    def known_error(self, kinds: list[str]) -> type[Exception] | None:
        """Return the class of that name that the judge sent to the worker."""
        found = self.classes.get(kinds[0]) if kinds else None
        return found if found is not None and issubclass(found, Exception) else None


# --- parts --------------------------------------------------------------------------------------


class _CannotTravel(Exception):
    """A value that no message can hold."""


class _Changed:
    """What a call returned, and its arguments, whose lists or dictionaries it changed."""

    def __init__(self, result: Any, arguments: Any) -> None:
        self.result = result
        self.arguments = arguments


class _Loose:
    """Gradients on their way: tensors that neither side remembers."""

    def __init__(self, tensors: list[Tensor | None]) -> None:
        self.tensors = tensors


def _described_loose(tensor: Tensor | None, message: _Message) -> dict[str, Any] | None:
    if tensor is None:
        return None
    numbers = wire.raw(tensor)
    return wire.described(tensor) | {"data": None if numbers is None else message.add(numbers)}


def _taken_loose(described: dict[str, Any] | None, body: memoryview) -> Tensor | None:
    return None if described is None else wire.tensor(described, _part(described["data"], body))


class _Message:
    """What is being written: bytes, and tensors with a graph that the other side does not know."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.nodes: dict[str, Tensor] = {}

    def add(self, data: bytes) -> list[int]:
        self.body += data
        return [len(self.body) - len(data), len(data)]


def _part(place: Any, body: memoryview) -> memoryview | None:
    if place is None:
        return None
    offset, length = place
    if type(offset) is not int or type(length) is not int:
        raise Malformed("a place in a message is not one")
    if offset < 0 or length < 0 or offset + length > len(body):
        raise Malformed("a place in a message lies outside of it")
    return body[offset : offset + length]


class _Bridge(torch.autograd.Function):
    """Makes tensors of another process part of this one's graph."""

    @staticmethod
    def forward(
        ctx: Any,
        peer: Peer,
        keys: list[str],
        of: list[str],
        data: list[Tensor],
        anchor: Tensor,
        *inputs: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.peer, ctx.keys, ctx.of = peer, keys, of
        ctx.nodes = [
            get_gradient_edge(each).node if each.requires_grad else None for each in inputs
        ]
        ctx.set_materialize_grads(False)
        return tuple(data)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        # A product that the other side asked for as such goes no further here.
        cut = ctx.peer.cuts[-1] if ctx.peer.cuts else ()
        cotangents = tuple(
            None if key in cut else each for key, each in zip(ctx.keys, cotangents, strict=True)
        )
        of = [key for key, node in zip(ctx.of, ctx.nodes, strict=True) if _is_asked_for(node)]
        if not of or all(each is None for each in cotangents):
            return (None,) * (5 + len(ctx.of))
        header = {"do": "vjp", "keys": ctx.keys, "of": of, "keep": _keeps_graph()}
        products = ctx.peer.request(header, _Loose(list(cotangents)))
        if not isinstance(products, list) or len(products) != len(of):
            raise Malformed("not every input got a gradient")
        if not all(product is None or isinstance(product, Tensor) for product in products):
            raise Malformed("a gradient is no tensor")
        ctx.peer.note_backward(ctx.keys, cotangents, of, products)
        given = dict(zip(of, products, strict=True))
        return (None,) * 5 + tuple(given.get(key) for key in ctx.of)


def _is_asked_for(node: Any) -> bool:
    """Return whether the backward that is running wants a gradient from this node.

    What it does not want is not computed on the other side either, and so not used up there.
    """
    if node is None:
        return False
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # a tensor that ``torch.autograd.grad`` was asked about by name
        return True


def _keeps_graph() -> bool:
    """Return whether the backward that is running was told to keep its graph."""
    return torch._C._autograd._get_current_graph_task_keep_graph()


def _place(tensor: Tensor) -> tuple:
    """Return where in memory a tensor lies and how."""
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _outline(value: Any) -> Any:
    """Return what lists and dictionaries hold, by identity where it is not plain."""
    if isinstance(value, (list, tuple)):
        return [_outline(item) for item in value]
    if isinstance(value, dict):
        return [(key, _outline(item)) for key, item in value.items()]
    return value if type(value) in _PLAIN else id(value)


def _refill(kept: Any, changed: Any) -> None:
    """Let lists and dictionaries hold what they hold on the other side, and be the same objects."""
    if isinstance(kept, (list, tuple)) and isinstance(changed, (list, tuple)):
        for old, new in zip(kept, changed, strict=False):
            _refill(old, new)
        if type(kept) is list:
            kept[:] = [*kept[: len(changed)], *changed[len(kept) :]]
    elif type(kept) is dict and isinstance(changed, dict):
        for key in kept.keys() - changed.keys():
            del kept[key]
        for key, new in changed.items():
            if type(new) in (list, dict) and key in kept:
                _refill(kept[key], new)
            else:
                kept[key] = new


def _state(tensor: Tensor) -> tuple:
    """Return all about a tensor without a graph that the two sides keep alike."""
    grad = tensor.grad
    plain = grad is not None and grad.dtype == tensor.dtype and grad.shape == tensor.shape
    return (
        (tensor.dtype, tensor.shape),
        tensor.device.type,
        wire.raw(tensor),
        tensor.requires_grad,
        wire.raw(grad) if plain else None,
        # In inference mode torch does not count changes.
        0 if tensor.is_inference() else tensor._version,
    )


def _is_attribute(name: str, value: Any) -> bool:
    """Return whether this is one of a module's attributes that travel from worker to judge."""
    if name.startswith("_"):
        return False
    if type(value) is tuple:
        return all(type(item) in _PLAIN for item in value)
    return type(value) in _PLAIN or isinstance(value, Tensor)


def _module_parts(module: nn.Module) -> tuple[dict, list[dict], list[int]]:
    """Return a module's attributes, its parameters, buffers and modules, and numbers of hooks."""
    table = vars(module)
    attributes = {name: item for name, item in table.items() if _is_attribute(name, item)}
    parts = [dict(table[place]) for place in _PARTS]
    return attributes, parts, [len(table[place]) for place in _HOOKS]


def _module_state(module: nn.Module) -> tuple:
    """Return what tells whether a module was changed, apart from the numbers in its tensors."""
    attributes, parts, hooks = _module_parts(module)
    plain = [
        (name, id(item) if isinstance(item, Tensor) else item) for name, item in attributes.items()
    ]
    return plain, [[(name, id(item)) for name, item in part.items()] for part in parts], hooks


def _growing(table: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of a dictionary, those too that are added meanwhile."""
    done = 0
    while done < len(table):
        keys = list(table)[done:]
        done += len(keys)
        yield from keys


def _is_torchs(name: str, kind: type | None = None) -> bool:
    """Return whether ``torch.nn`` has a module class of that name, and it is this one."""
    found = getattr(nn, name, None) if name.isidentifier() else None
    return (
        isinstance(found, type) and issubclass(found, nn.Module) and (kind is None or found is kind)
    )


# What every module has and hardly any uses; it does not travel.
_EMPTY = dict(vars(nn.Module()))


def _detached(value: Any) -> Any:
    """Return a copy of one of a module's tables."""
    return value.copy() if isinstance(value, (dict, set)) else value


def _sent_state(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a module that are not those of an empty one."""
    return {
        name: item
        for name, item in vars(module).items()
        if name not in _EMPTY or (item and item is not True) or item != _EMPTY[name]
    }


def copied_module(module: nn.Module, tensors: dict[int, Tensor] | None = None) -> nn.Module:
    """Return a copy of a module and all in it, as ``copy.deepcopy`` makes it, in less time.

    Its parameters and buffers are copied, too; hooks and other attributes are the same objects.
    """
    tensors = {} if tensors is None else tensors
    copied = type(module).__new__(type(module))
    table = vars(copied)
    table.update({name: _detached(item) for name, item in vars(module).items()})
    for place in ("_parameters", "_buffers"):
        for name, tensor in table[place].items():
            if tensor is not None and id(tensor) not in tensors:
                tensors[id(tensor)] = _copied_tensor(tensor)
            table[place][name] = None if tensor is None else tensors[id(tensor)]
    for name, inner in table["_modules"].items():
        table["_modules"][name] = None if inner is None else copied_module(inner, tensors)
    return copied


def _copied_tensor(tensor: Tensor) -> Tensor:
    data = tensor.detach().clone()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(data, requires_grad=tensor.requires_grad)
    return data.requires_grad_(tensor.requires_grad)


class _Pickler(cloudpickle.Pickler):
    """Pickles values; shared objects by their keys."""

    def __init__(self, stream: io.BytesIO, peer: Peer, message: _Message) -> None:
        super().__init__(stream)
        self.peer = peer
        self.message = message
        self.waiting: list[tuple[str, nn.Module]] = []
        self.sent: set[str] = set()
        self.methods: set[int] = set()

    def persistent_id(self, value: Any) -> Any:
        if type(value) in _BY_VALUE:
            return None
        if isinstance(value, Tensor):
            return "tensor", self.peer._key_of(value, self.message)
        if isinstance(value, nn.Module):
            key = self.peer._module_key(value)
            if key not in self.sent:
                self.sent.add(key)
                self.waiting.append((key, value))
            return "module", key, type(value)
        if isinstance(value, _FUNCTIONS) and not self._travels(value):
            key = self.peer._function_key(value)
            return "function", key, getattr(value, "__name__", "function")
        if isinstance(value, type):
            self._note_methods(value)
        return None

    def _note_methods(self, kind: type) -> None:
        """Let the methods of a class travel with it; only they are not called back."""
        if _root(kind) in _BY_NAME:
            return
        if isinstance(self.peer, JudgePeer):
            self.peer.classes[kind.__name__] = kind
        for item in vars(kind).values():
            for function in (item, getattr(item, "__func__", None), getattr(item, "fget", None)):
                self.methods.add(id(function))

    def _travels(self, function: Any) -> bool:
        """Return whether a function is sent; all others stay and are called back."""
        if id(function) in self.methods:
            return True
        name = getattr(function, "__qualname__", "<")
        return _root(function) in _BY_NAME and "<" not in name and _is_function(function)


_BY_VALUE = {*_PLAIN, dict, list, tuple, OrderedDict}
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
# Where functions and classes are the same on both sides.
_BY_NAME = {*sys.stdlib_module_names, "torch", "torchvision", "numpy", "cloudpickle"} - {"__main__"}


def _root(value: Any) -> str:
    return (getattr(value, "__module__", None) or "").split(".")[0]


def _is_function(function: Any) -> bool:
    """Return whether this is a function of a module, and no method bound to an object."""
    bound_to = getattr(function, "__self__", None)
    return bound_to is None or isinstance(bound_to, types.ModuleType)


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, peer: Peer) -> None:
        super().__init__(stream)
        self.peer = peer

    def persistent_load(self, pid: tuple) -> Any:
        kind, key, *rest = pid
        if kind == "tensor":
            return self.peer.tensors[key]
        if kind == "function":
            return self.peer.function(key, *rest)
        if key not in self.peer.modules:
            self.peer._keep_module(key, rest[0].__new__(rest[0]))
        return self.peer.modules[key]


def _subclass(base: type, name: Any) -> type:
    """Return ``base``, or a class of that name that derives from it."""
    return base if not name else type(str(name)[:80], (base,), {})


def _error_class(names: list[str]) -> type[Exception]:
    """Return the built-in exception of that name, or a class of that name."""
    for index, name in enumerate(names):
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            return kind if index == 0 else type(names[0], (kind,), {})
    return type(names[0] if names else "Exception", (RemoteError,), {})


def _made(kind: type[Exception], text: Any) -> Exception:
    """Return an exception of a class whose constructor may want anything."""
    error = kind.__new__(kind, str(text)[:MOST_TEXT])
    error.args = (str(text)[:MOST_TEXT],)
    return error
