"""What nbgrader's AUTOTEST lines measure and compare.

nbgrader's own template compares ``str(value)``: it overlooks an element hidden by ``...`` and
rejects right answers in the last digit. Here a result is measured as its kind, shape and dtype and
a few random projections in float64, and compared with a tolerance that fits its dtype. The template
that calls these two functions is ``autotests.yml`` in the course's folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nst_helpers.checker import compare

PROJECTIONS = 4
_SEED = 20160627
# A projection adds up every number of a result that was itself added up; a mistake worth a mark
# changes it by far more than this many roundings.
_OPERATIONS = 512


def measure(value: Any) -> str:
    """Return what is compared about a value, as text that can stand in a notebook.

    Args:
        value: a tensor, a number, text, None, or a dictionary, list or tuple of those.

    Returns:
        JSON; of a tensor only its shape, its dtype and ``PROJECTIONS`` sums of its values with
        random signs and sizes, from which the values cannot be told.

    Raises:
        TypeError: the value is of another kind.
    """
    return json.dumps(_measured(value), sort_keys=True)


def agree(given: str, wanted: str, message: str) -> None:
    """Raise an AssertionError with ``message`` unless two measurements agree.

    Args:
        given: what :func:`measure` returned for what an answer gave.
        wanted: what it returned for the reference solution.
        message: the sentence a student reads; what differs is added, never an expected value.
    """
    difference = _difference(json.loads(given), json.loads(wanted))
    if difference:
        raise AssertionError(f"{message}: {difference}.")


def _measured(value: Any) -> dict[str, Any]:
    if isinstance(value, Tensor):
        return _measured_tensor(value)
    if value is None or isinstance(value, (bool, str)):
        return {"kind": type(value).__name__, "value": value}
    if isinstance(value, (int, float)):
        return {"kind": type(value).__name__, "value": repr(float(value))}
    if isinstance(value, Mapping):
        entries = {str(key): _measured(item) for key, item in value.items()}
        keys = sorted(f"{type(key).__name__} {key!s}" for key in value)
        return {"kind": "dict", "keys": keys, "entries": entries}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {"kind": kind, "items": [_measured(item) for item in value]}
    raise TypeError(f"A value of type {type(value).__name__} cannot be measured; give its parts.")


def _measured_tensor(tensor: Tensor) -> dict[str, Any]:
    values = compare.numbers(tensor).ravel()
    generator = np.random.Generator(np.random.PCG64(_SEED))
    weights = generator.standard_normal((PROJECTIONS, values.size))
    with np.errstate(invalid="ignore"):
        projections = weights @ values
    return {
        "kind": "tensor",
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "size": repr(float(np.abs(values).sum())),
        "projections": [repr(float(projection)) for projection in projections],
    }


def _difference(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Return in what two measurements differ, in words, or None."""
    if given["kind"] != wanted["kind"]:
        return f"it is of type {given['kind']}, not {wanted['kind']}"
    if wanted["kind"] == "tensor":
        return _tensor_difference(given, wanted)
    if wanted["kind"] == "dict":
        if given["keys"] != wanted["keys"]:
            return "its keys are not the ones asked for"
        pairs = [(given["entries"][key], wanted["entries"][key]) for key in wanted["entries"]]
        return next(filter(None, (_difference(*pair) for pair in pairs)), None)
    if wanted["kind"] in ("list", "tuple"):
        if len(given["items"]) != len(wanted["items"]):
            return f"it has {len(given['items'])} items, not {len(wanted['items'])}"
        pairs = zip(given["items"], wanted["items"], strict=True)
        return next(filter(None, (_difference(*pair) for pair in pairs)), None)
    if wanted["kind"] in ("int", "float"):
        relative = compare.tolerance(torch.float32, "cpu", _OPERATIONS)
        near = _near(given["value"], wanted["value"], relative * abs(float(wanted["value"])))
        return None if near else "the number is not right"
    return None if given["value"] == wanted["value"] else "the value is not right"


def _tensor_difference(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    if given["shape"] != wanted["shape"]:
        return f"its shape is {tuple(given['shape'])}, not {tuple(wanted['shape'])}"
    if given["dtype"] != wanted["dtype"]:
        return f"its dtype is {given['dtype']}, not {wanted['dtype']}"
    dtype = getattr(torch, wanted["dtype"])
    if dtype in compare.UNIT_ROUNDOFF:
        slack = compare.tolerance(dtype, "cpu", _OPERATIONS) * float(wanted["size"])
    else:
        slack = 0.0
    pairs = zip(given["projections"], wanted["projections"], strict=True)
    if all(_near(one, other, slack) for one, other in pairs):
        return None
    return "its values are not right"


def _near(given: str, wanted: str, slack: float) -> bool:
    one, other = float(given), float(wanted)
    if math.isnan(other) or math.isinf(other):
        return repr(one) == repr(other)
    return abs(one - other) <= slack
