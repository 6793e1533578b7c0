"""Values on their way from a worker to the judge: trees of JSON that can name only what is known.

A leaf of a tree is a plain value, or a list whose first item says what the rest is: a tensor,
module or function by its key, a list, a tuple, a dictionary, or something that cannot travel and of
which only its type's name arrives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nst_helpers.grading import wire
from nst_helpers.grading.remote.message import CannotTravel, Message
from nst_helpers.grading.remote.modules import PLAIN, is_torchs
from nst_helpers.grading.remote.tables import Tables
from nst_helpers.grading.wire import Malformed

MOST_DEPTH = 40
_MOST_NAME = 80
_MOST_DIGITS = 10_000
REQUIRED = inspect.Parameter.empty


class Opaque:
    """Stands for an object that cannot travel; only its type's name is known."""


def tree(value: Any, tables: Tables, message: Message, depth: int = 0) -> Any:
    """Return a value as JSON can hold it.

    Args:
        value: what is to travel.
        tables: what both sides know.
        message: what it travels with.
        depth: how deep inside of another value it is.

    Raises:
        CannotTravel: no message can hold it.
    """
    if depth > MOST_DEPTH:
        raise CannotTravel("this is nested too deep")
    kind = type(value)
    if kind in (bool, float, str, type(None)):
        return value
    if kind is int:
        return value if abs(value) < 1 << 63 else ["int", hex(value)[:_MOST_DIGITS]]
    if isinstance(value, Tensor):
        return ["tensor", tables.tensors.key_of(value, message)]
    if isinstance(value, nn.Module) and (
        tables.modules.knows(value) or is_torchs(kind.__name__, kind)
    ):
        return ["module", tables.modules.key_of(value), kind.__name__]
    if kind is np.ndarray and value.dtype.name in wire.DTYPES:
        return ["numpy", tables.tensors.key_of(torch.from_numpy(value.copy()), message)]
    if isinstance(value, (list, tuple)):
        items = [tree(item, tables, message, depth + 1) for item in list(value)]
        name = "list" if isinstance(value, list) else "tuple"
        return [name, items, "" if kind.__name__ == name else kind.__name__]
    if isinstance(value, dict):
        pairs = [
            [tree(each, tables, message, depth + 1) for each in item] for item in value.items()
        ]
        return ["dict", pairs, "" if kind is dict else kind.__name__]
    for base in (float, int, str):
        if isinstance(value, base):
            return ["sub", base(value), kind.__name__]
    if kind is torch.dtype:
        return ["dtype", str(value).removeprefix("torch.")]
    if callable(value) and not isinstance(value, type):
        name = getattr(value, "__name__", kind.__name__)
        described = _described_signature(value, tables, message, depth)
        return ["function", tables.functions.key_of(value), str(name)[:_MOST_NAME], described]
    return ["opaque", kind.__name__]


def _described_signature(
    function: Callable, tables: Tables, message: Message, depth: int
) -> list[list] | None:
    """Return names, kinds and defaults of a function's arguments, or None."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    described = []
    for each in parameters:
        default = []
        if each.default is not REQUIRED:
            default = [tree(each.default, tables, message, depth + 1)]
        described.append([each.name, int(each.kind), default])
    return described


def value_of(tree: Any, tables: Tables, depth: int = 0) -> Any:
    """Return the value that a tree describes.

    Args:
        tree: from the other side, which is not trusted.
        tables: what both sides know.
        depth: how deep inside of another tree it is.

    Raises:
        Malformed, KeyError, IndexError, TypeError, ValueError, AttributeError: it describes none.
    """
    if depth > 2 * MOST_DEPTH:
        raise Malformed("a value is nested too deep")
    if type(tree) in PLAIN:
        return tree
    tag, payload, *rest = tree
    if tag == "tensor":
        return tables.tensors.by_key[payload]
    if tag == "numpy":
        return tables.tensors.by_key[payload].numpy(force=True)
    if tag == "module":
        return tables.modules.taken(payload, *rest)
    if tag in ("list", "tuple"):
        items = [value_of(item, tables, depth + 1) for item in payload]
        return _subclass(list if tag == "list" else tuple, rest[0])(items)
    if tag == "dict":
        pairs = [[value_of(each, tables, depth + 1) for each in item] for item in payload]
        return _subclass(dict, rest[0])(pairs)
    if tag == "sub" and type(payload) in (float, int, str):
        return _subclass(type(payload), rest[0])(payload)
    if tag == "int":
        return int(payload, 16)
    if tag == "dtype":
        return wire.DTYPES[payload]
    if tag == "function":
        name, described = rest
        return tables.functions.taken(payload, str(name), _signature(described, tables, depth))
    if tag == "opaque":
        return _subclass(Opaque, payload)()
    raise Malformed(f"there is no value of kind {str(tag)[:40]!r}")


def _signature(described: Any, tables: Tables, depth: int) -> inspect.Signature | None:
    if described is None:
        return None
    return inspect.Signature(
        inspect.Parameter(
            str(name),
            inspect._ParameterKind(kind),
            default=value_of(default[0], tables, depth + 1) if default else REQUIRED,
        )
        for name, kind, default in described
    )


def _subclass(base: type, name: Any) -> type:
    """Return ``base``, or a class of that name that derives from it."""
    return base if not name else type(str(name)[:_MOST_NAME], (base,), {})
