"""How close is close enough, in one place, and what a difference looks like.

Why these tolerances. A result of n additions and multiplications in a floating-point type with unit
roundoff u differs from the exact one by at most about n u times the sum of the absolute values of
what was added (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1). The
checker's tensors are small, so n u is far below any mistake, and this bound, not an estimate, is
what is allowed. Two things widen it:

- u is never taken smaller than float32's. A constant such as ImageNet's mean is right in float32
  even if the picture is float64, and torch keeps such a constant as it was made.
- On a GPU, float32 products may be rounded to TF32, with 11 bits (PyTorch documentation,
  "Numerical accuracy"), so u is TF32's there, and in bfloat16 it is bfloat16's.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

UNIT_ROUNDOFF = {
    torch.float64: 2.0**-24,  # float32's, see above
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}
TF32_ROUNDOFF = 2.0**-11
# Even one rounding of the input, one of a constant and one of the result are a few.
LEAST_OPERATIONS = 16


def tolerance(dtype: torch.dtype, device: torch.device | str, operations: int) -> float:
    """Return the relative difference that rounding alone can cause, see above.

    Args:
        dtype: of the answer's result.
        device: where it was computed.
        operations: how many additions and multiplications lead to one number of the result.
    """
    roundoff = UNIT_ROUNDOFF[dtype]
    if torch.device(device).type == "cuda":
        roundoff = max(roundoff, TF32_ROUNDOFF)
    return roundoff * max(operations, LEAST_OPERATIONS)


def numbers(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values as float64, read without any function an answer could overload."""
    plain = torch.Tensor.detach(tensor).as_subclass(Tensor)
    return plain.cpu().to(torch.float64).numpy().copy()


def same(given: np.ndarray, expected: np.ndarray, relative: float, scale: float = 0.0) -> bool:
    """Return whether all values agree within ``relative`` times the size of what was added up.

    ``scale`` is that size where it is not seen from the expected values, as when they cancel.
    """
    if given.shape != expected.shape:
        return False
    if given.size == 0:
        return True
    finite = np.isfinite(expected)
    if not np.array_equal(np.isfinite(given), finite):
        return False
    size = max(float(np.abs(expected[finite]).max(initial=0.0)), scale)
    return bool((np.abs(given[finite] - expected[finite]) <= relative * size + 1e-300).all())


def common_ratio(given: np.ndarray, expected: np.ndarray, relative: float) -> float | None:
    """Return k where ``given == k * expected`` for all values, k not 1; None if there is none."""
    if given.shape != expected.shape or not np.isfinite(given).all():
        return None
    size = float(np.abs(expected).max(initial=0.0))
    if size == 0 or not np.isfinite(expected).all():
        return None
    ratio = float((given * expected).sum() / (expected * expected).sum())
    if ratio == 0 or math.isclose(ratio, 1, rel_tol=4 * relative):
        return None
    return ratio if same(given, ratio * expected, 4 * relative) else None
