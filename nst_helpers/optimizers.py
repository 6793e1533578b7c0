"""What moves the pixels: L-BFGS made for pictures, and torch's own optimisers by name.

Each takes the gradient that lies in ``pixels.grad`` and moves the pixels once; nobody needs a
closure, so a step costs one forward and backward pass and can be watched.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nst_helpers.errors import NstError

FIRST_MOVE = 0.02
HISTORY = 40
# Of so many moves the memory is kept with a saved run: each is twice as large as the picture.
KEPT = 10
TINY = 1e-30
# Cycles per pixel go up to 1/2 along each axis.
HIGHEST = 0.5 * math.sqrt(2)
BANDS = 20
FORGETTING = 0.9
# Of one band, where 1 is what all together have.
LARGEST_GAIN = 5.0
# Luminance, red against blue, green against both: orthogonal, so the transpose is the inverse.
OPPONENT = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))


class Lbfgs(torch.optim.Optimizer):
    """L-BFGS for one picture, with steps of length one (Nocedal and Wright 2006, algorithm 7.5).

    It differs from ``torch.optim.LBFGS`` in four ways. The curvature that is not known from past
    moves is estimated for each band of spatial frequencies and each opponent colour (``Spectrum``),
    where torch takes one number for all. The first move is ``first_move`` on average over the
    numbers of the picture, where torch's 1 / |gradient|_1 is below what float32 resolves for a
    picture. Nothing depends on the scale of the loss: no absolute tolerance stops it. And nothing
    waits for a GPU: no number is copied to the CPU.

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
        self.first_move = first_move
        self.spectrum = Spectrum(pixels)
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=history)
        self.last: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move the pixels once, by the gradient in ``pixels.grad``."""
        group = self.param_groups[0]
        pixels = group["params"][0]
        here, gradient = pixels.clone(), pixels.grad.clone()
        if self.last is not None:
            self._remember(here - self.last[0], gradient - self.last[1])
        if self.pairs:
            move = -self._newton(gradient)
        else:
            move = -gradient * (self.first_move / gradient.abs().mean().clamp_min(TINY))
        self.last = (here, gradient)
        pixels.add_(move, alpha=group["lr"])

    def memory(self) -> dict[str, Tensor]:
        """Return what :meth:`recall` needs to go on: the newest moves, and what they taught."""
        if self.last is None:
            return {}
        newest = list(self.pairs)[-KEPT:]
        moves = {"moves": [move for move, _, _ in newest], "changes": [c for _, c, _ in newest]}
        known = {name: torch.cat(tensors) for name, tensors in moves.items() if tensors}
        taught = {"moved": self.spectrum.moved, "answered": self.spectrum.answered}
        return {"here": self.last[0], "gradient": self.last[1], **taught, **known}

    def recall(self, memory: Mapping[str, Tensor]) -> None:
        """Remember what another had in its :meth:`memory`.

        Raises:
            NstError: it is not the memory of a picture of this size.
        """
        if not memory:
            return
        shape = self.param_groups[0]["params"][0].shape
        moves, changes = memory.get("moves", ()), memory.get("changes", ())
        shapes = {memory[name].shape for name in ("here", "gradient") if name in memory}
        if shapes != {shape} or {m.shape for m in (*moves, *changes)} - {shape[1:]}:
            raise NstError("The memory of moves is not one of a picture of this size.")
        for move, change in zip(moves, changes, strict=True):
            self._remember(move.unsqueeze(0), change.unsqueeze(0))
        self.spectrum.know(memory["moved"], memory["answered"])
        if self.pairs:
            self.spectrum.fit(*self.pairs[-1][:2])
        self.last = (memory["here"], memory["gradient"])

    def _remember(self, move: Tensor, change: Tensor) -> None:
        curvature = _dot(move, change)
        # A pair without positive curvature would turn the step uphill: its weight becomes 0.
        weight = torch.where(curvature > 0, 1 / curvature, 0)
        self.pairs.append((move, change, weight))
        self.spectrum.learn(move, change)

    def _newton(self, gradient: Tensor) -> Tensor:
        """Return the inverse Hessian, as far as it is known, times the gradient."""
        direction, shares = gradient.clone(), []
        for move, change, weight in reversed(self.pairs):
            shares.append(weight * _dot(move, direction))
            direction.addcmul_(change, shares[-1], value=-1)
        direction = self.spectrum.inverse(direction)
        for (move, change, weight), share in zip(self.pairs, reversed(shares), strict=True):
            direction.addcmul_(move, share - weight * _dot(change, direction))
        return direction


class Spectrum:
    """The inverse curvature of the loss by spatial frequency and opponent colour.

    Style losses hardly feel fine chroma and feel coarse colour and middle frequencies most, by
    factors of a thousand. In each band the ratio of what was moved to how the gradient answered,
    averaged over the last moves, estimates the inverse curvature there.
    """

    def __init__(self, pixels: Tensor) -> None:
        height, width = pixels.shape[-2:]
        options = {"device": pixels.device, "dtype": pixels.dtype}
        vertical = torch.fft.fftfreq(height, **options)[:, None]
        horizontal = torch.fft.rfftfreq(width, **options)[None, :]
        lowest = 0.5 / max(height, width)
        frequency = (vertical**2 + horizontal**2).sqrt().clamp_min(lowest)
        position = (frequency / lowest).log() / math.log(HIGHEST / lowest)
        self.band = (position * BANDS).long().clamp(0, BANDS - 1)
        self.opponent = torch.tensor(OPPONENT, **options)
        self.opponent /= self.opponent.norm(dim=1, keepdim=True)
        self.moved = torch.zeros(3, BANDS, **options)
        self.answered = torch.zeros(3, BANDS, **options)
        self.gain: Tensor | float = 1.0
        self.scale: Tensor | float = 1.0
        self.size = (height, width)

    def learn(self, move: Tensor, change: Tensor) -> None:
        """Take one move and the change of the gradient that came of it into the estimate."""
        moved, answered = (self._energies(self._waves(picture)) for picture in (move, change))
        self.know(
            self.moved.lerp(moved / moved.sum().clamp_min(TINY), 1 - FORGETTING),
            self.answered.lerp(answered / answered.sum().clamp_min(TINY), 1 - FORGETTING),
        )
        self.fit(move, change)

    def know(self, moved: Tensor, answered: Tensor) -> None:
        """Let the estimate be this ratio of energies, each (3, BANDS)."""
        self.moved, self.answered = moved, answered
        # Without a bound, noise that the loss hardly feels would grow as fast as what it feels.
        gain = (moved / answered.clamp_min(TINY)).sqrt().clamp_max(LARGEST_GAIN)
        self.gain = gain[:, self.band]

    def fit(self, move: Tensor, change: Tensor) -> None:
        """Let a pair set the scale, as in L-BFGS without a spectrum."""
        self.scale = 1.0
        expected = _dot(change, self.inverse(change)).clamp_min(TINY)
        self.scale = _dot(move, change).abs() / expected

    def inverse(self, gradient: Tensor) -> Tensor:
        """Return the estimated inverse Hessian times the gradient, (1, 3, H, W)."""
        waves = self._waves(gradient) * (self.scale * self.gain)
        colours = torch.fft.irfft2(waves, s=self.size)
        return torch.einsum("ij,ihw->jhw", self.opponent, colours).unsqueeze(0)

    def _waves(self, picture: Tensor) -> Tensor:
        return torch.fft.rfft2(torch.einsum("ij,jhw->ihw", self.opponent, picture[0]))

    def _energies(self, waves: Tensor) -> Tensor:
        """Return the energy in each colour and band, (3, BANDS)."""
        energies = (waves.real.square() + waves.imag.square()).flatten(1)
        sums = torch.zeros_like(self.moved)
        return sums.index_add_(1, self.band.flatten(), energies)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return first.flatten() @ second.flatten()


def memory_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser of this module remembers of former moves, by name."""
    if isinstance(optimizer, Lbfgs):
        return optimizer.memory()
    pixels = optimizer.param_groups[0]["params"][0]
    state = optimizer.state.get(pixels, {})
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def recall(optimizer: torch.optim.Optimizer, memory: Mapping[str, Tensor]) -> None:
    """Let an optimiser remember what another of its kind had in :func:`memory_of`.

    Raises:
        NstError: it is not the memory of a picture of this size.
    """
    if isinstance(optimizer, Lbfgs):
        optimizer.recall(memory)
    elif memory:
        shape = optimizer.param_groups[0]["params"][0].shape
        if any(torch.broadcast_shapes(value.shape, shape) != shape for value in memory.values()):
            raise NstError("The memory of moves is not one of a picture of this size.")
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": {0: dict(memory)}, "param_groups": groups})


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
