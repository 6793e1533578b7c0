"""What moves the pixels: L-BFGS made for pictures, and torch's own optimisers by name.

Each takes the gradient that lies in ``pixels.grad`` and moves the pixels once; nobody needs a
closure, so a step costs one forward and backward pass and can be watched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nst_helpers.errors import NstError

FIRST_MOVE = 0.05
HISTORY = 20


class Lbfgs(torch.optim.Optimizer):
    """L-BFGS for one picture, with steps of length one (Nocedal and Wright 2006, algorithm 7.5).

    It differs from ``torch.optim.LBFGS`` in three ways. The first move is ``first_move`` on average
    over the numbers of the picture, where torch's 1 / |gradient|_1 is below what float32 resolves
    for a picture. Nothing depends on the scale of the loss: no absolute tolerance stops it. And
    nothing waits for a GPU: no number is copied to the CPU.

    Args:
        pixels: the picture, (1, 3, H, W), a leaf that requires a gradient.
        lr: the length of a step, in units of the quasi-Newton step.
        history: how many past moves the curvature is estimated from.
        first_move: see above, in the units of ``pixels``.
    """

    def __init__(
        self,
        pixels: Tensor,
        lr: float = 1.0,
        history: int = HISTORY,
        first_move: float = FIRST_MOVE,
    ) -> None:
        super().__init__([pixels], {"lr": lr})
        self.history = history
        self.first_move = first_move
        self.forget()

    def forget(self) -> None:
        """Forget all curvature, as when the loss or the picture has been changed."""
        self.moves: deque[Tensor] = deque(maxlen=self.history)
        self.changes: deque[Tensor] = deque(maxlen=self.history)
        self.last: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move the pixels once, by the gradient in ``pixels.grad``."""
        group = self.param_groups[0]
        pixels = group["params"][0]
        gradient = pixels.grad.flatten().clone()
        here = pixels.flatten()
        if self.last is None:
            move = -gradient * (self.first_move / gradient.abs().mean().clamp_min(1e-30))
        else:
            self.moves.append(here - self.last[0])
            self.changes.append(gradient - self.last[1])
            move = -self._newton(gradient)
        self.last = (here.clone(), gradient)
        pixels.add_(move.view_as(pixels), alpha=group["lr"])

    def _newton(self, gradient: Tensor) -> Tensor:
        """Return the inverse Hessian, as far as it is known, times the gradient."""
        # A pair without positive curvature would turn the step uphill: its weight becomes 0.
        curvatures = [move @ change for move, change in zip(self.moves, self.changes, strict=True)]
        weights = [torch.where(c > 0, 1 / c.clamp_min(1e-38), 0) for c in curvatures]
        pairs = list(zip(self.moves, self.changes, weights, strict=True))
        direction, shares = gradient, []
        for move, change, weight in reversed(pairs):
            shares.append(weight * (move @ direction))
            direction = direction - shares[-1] * change
        change, curvature = self.changes[-1], curvatures[-1]
        direction = direction * (curvature / (change @ change)).abs()
        for (move, change, weight), share in zip(pairs, reversed(shares), strict=True):
            direction = direction + (share - weight * (change @ direction)) * move
        return direction


# Rates that suit each optimiser here: L-BFGS finds its own step, Adam's is in units of ImageNet's
# standard deviation, about a quarter of the range from black to white.
RATES = {"lbfgs": 1.0, "adam": 0.1}


def make_optimizer(name: str, pixels: Tensor, lr: float | None = None) -> torch.optim.Optimizer:
    """Return the optimiser ``name`` for ``pixels``, with a rate that suits it if none is given.

    Raises:
        NstError: there is no such optimiser, or it cannot work on a picture.
    """
    known = known_optimizers()
    if name not in known:
        raise NstError(f"Optimiser {name!r} is unknown; choose one of {', '.join(known)}.")
    rate: dict[str, Any] = {"lr": RATES[name] if lr is None and name in RATES else lr}
    if rate["lr"] is None:
        rate = {}
    return known[name](pixels, **rate)


def known_optimizers() -> dict[str, Callable[..., torch.optim.Optimizer]]:
    """Return how to make each optimiser, by name: ours, and those of ``torch.optim``."""
    makers: dict[str, Callable[..., torch.optim.Optimizer]] = {"lbfgs": Lbfgs}
    for name, kind in vars(torch.optim).items():
        usable = isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
        # These want a closure, sparse gradients or matrices.
        if usable and name not in ("Optimizer", "LBFGS", "SparseAdam", "Muon"):
            makers[name.lower()] = lambda pixels, kind=kind, **rate: kind([pixels], **rate)
    return makers
