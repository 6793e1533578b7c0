"""What nbgrader's AUTOTEST lines measure and compare.

nbgrader's own template compares ``str(value)``: it overlooks an element hidden by ``...`` and
rejects right answers in the last digit. Here a result is measured as its kind, shape and dtype and
a few random projections in float64, and compared with a tolerance that fits its dtype. The template
that calls these two functions is ``autotests.yml`` in the course's folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nst_helpers.checker import compare
from nst_helpers.checker.report import Finding, NotYet, Report

PROJECTIONS = 4
# Far finer than any tolerance, and short enough to stand in a notebook.
DIGITS = 7
_SEED = 20160627
# A projection adds up every number of a result that was itself added up; a mistake worth a mark
# changes it by far more than this many roundings.
_OPERATIONS = 512


def measure(value: Any) -> str:
    """Return what is compared about a value, as one line of JSON that can stand in a notebook.

    Args:
        value: a tensor, a number, text, None, or a dictionary, list or tuple of those.

    Returns:
        Of a tensor its dtype, its shape, the sum of its absolute values and ``PROJECTIONS`` sums of
        its values with random signs and sizes, from which the values cannot be told; of text, and
        of a dictionary's keys, a digest.

    Raises:
        TypeError: the value is of another kind.
    """
    return json.dumps(_measured(value))


def agree(given: str, wanted: str, expression: str) -> None:
    """Raise unless two measurements agree.

    Args:
        given: what :func:`measure` returned for what an answer gave.
        wanted: what it returned for the reference solution.
        expression: what was measured, for the sentence a student reads; what differs is added,
            never an expected value.

    Raises:
        NotYet: they do not agree.
    """
    difference = _difference(json.loads(given), json.loads(wanted))
    if difference:
        text = f"{difference}; run the exercise's check cell to read why."
        raise NotYet(Report(expression, (Finding("values", text),), ""))


def _measured(value: Any) -> list[Any]:
    """Return a list that begins with the value's kind."""
    if isinstance(value, Tensor):
        return ["tensor", *_measured_tensor(value)]
    kind = type(value).__name__
    if value is None or isinstance(value, bool):
        return [kind, value]
    if isinstance(value, str):
        return ["str", _digest(value)]
    if isinstance(value, (int, float)):
        return [kind, _rounded(value)]
    if isinstance(value, Mapping):
        # The digest of a key tells 1 from "1".
        return ["dict", {_digest(repr(key)): _measured(item) for key, item in value.items()}]
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        if value and all(item is None or isinstance(item, (bool, str)) for item in value):
            return [kind, len(value), _digest(repr(list(value)))]
        return [kind, [_measured(item) for item in value]]
    raise TypeError(f"A value of type {kind} cannot be measured; give its parts.")


def _measured_tensor(tensor: Tensor) -> list[Any]:
    values = compare.numbers(tensor).ravel()
    generator = np.random.Generator(np.random.PCG64(_SEED))
    weights = generator.standard_normal((PROJECTIONS, values.size))
    with np.errstate(invalid="ignore"):
        projections = weights @ values
    dtype = str(tensor.dtype).removeprefix("torch.")
    size = _rounded(np.abs(values).sum())
    return [dtype, list(tensor.shape), size, [_rounded(number) for number in projections]]


def _rounded(number: float) -> float:
    return float(f"{float(number):.{DIGITS}g}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _difference(given: list[Any], wanted: list[Any]) -> str | None:
    """Return in what two measurements differ, in words, or None."""
    kind = wanted[0]
    if given[0] != kind:
        return f"it is of type {given[0]}, not {kind}"
    if kind == "tensor":
        return _tensor_difference(given[1:], wanted[1:])
    if kind == "dict":
        if set(given[1]) != set(wanted[1]):
            return "its keys are not the ones asked for"
        pairs = [(given[1][key], wanted[1][key]) for key in wanted[1]]
        return next(filter(None, (_difference(*pair) for pair in pairs)), None)
    if kind in ("list", "tuple") and len(given) == len(wanted) == 2:
        if len(given[1]) != len(wanted[1]):
            return f"it has {len(given[1])} items, not {len(wanted[1])}"
        pairs = zip(given[1], wanted[1], strict=True)
        return next(filter(None, (_difference(*pair) for pair in pairs)), None)
    if kind in ("int", "float"):
        relative = compare.tolerance(torch.float32, "cpu", _OPERATIONS)
        near = _near(given[1], wanted[1], relative * abs(wanted[1]))
        return None if near else "the number is not right"
    return None if given[1:] == wanted[1:] else "the value is not right"


def _tensor_difference(given: list[Any], wanted: list[Any]) -> str | None:
    dtype, shape, size, projections = wanted
    if given[1] != shape:
        return f"its shape is {tuple(given[1])}, not {tuple(shape)}"
    if given[0] != dtype:
        return f"its dtype is {given[0]}, not {dtype}"
    kind = getattr(torch, dtype)
    slack = 0.0
    if kind in compare.UNIT_ROUNDOFF:
        slack = compare.tolerance(kind, "cpu", _OPERATIONS) * size
    pairs = zip(given[3], projections, strict=True)
    return None if all(_near(*pair, slack) for pair in pairs) else "its values are not right"


def _near(given: float, wanted: float, slack: float) -> bool:
    if not math.isfinite(wanted):
        return repr(given) == repr(wanted)
    return abs(given - wanted) <= slack
