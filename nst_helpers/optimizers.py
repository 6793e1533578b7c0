"""What moves the pixels: L-BFGS made for pictures, and torch's own optimisers by name.

Each takes the gradient that lies in ``pixels.grad`` and moves the pixels once; nobody needs a
closure, so a step costs one forward and backward pass and can be watched.
"""

from __future__ import annotations

import math
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
    """L-BFGS for one picture, with steps of length one (Nocedal and Wright 2006, section 7.2).

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
        self.moves = Moves(pixels, history)
        self.last: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move the pixels once, by the gradient in ``pixels.grad``."""
        group = self.param_groups[0]
        pixels = group["params"][0]
        here, gradient = pixels.clone(), pixels.grad.clone()
        if self.last is not None:
            self._remember(here - self.last[0], gradient - self.last[1])
        if len(self.moves):
            move = -self.moves.newton(gradient, self.spectrum.inverse)
        else:
            move = -gradient * (self.first_move / gradient.abs().mean().clamp_min(TINY))
        self.last = (here, gradient)
        pixels.add_(move, alpha=group["lr"])

    def memory(self) -> dict[str, Tensor]:
        """Return what :meth:`recall` needs to go on: the newest moves, and what they taught."""
        if self.last is None:
            return {}
        moves, changes = self.moves.newest(KEPT)
        known = {"moves": moves, "changes": changes} if len(moves) else {}
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
        self.last = (memory["here"], memory["gradient"])

    def _remember(self, move: Tensor, change: Tensor) -> None:
        self.moves.add(move, change)
        self.spectrum.learn(move, change)


class Moves:
    """The last moves of a picture, with the change of the gradient that came of each.

    Moves are the rows of a matrix S and changes those of Y, and the products S Y^T are kept, so a
    step costs five products of a matrix and a vector, however many moves are remembered.

    Args:
        pixels: the picture, (1, 3, H, W).
        most: how many moves are remembered; then the oldest is forgotten for the newest.

    Source: Byrd, Nocedal and Schnabel 1994, "Representations of quasi-Newton matrices and their
    use in limited memory methods", theorem 2.2.
    """

    def __init__(self, pixels: Tensor, most: int) -> None:
        self.shape = pixels.shape
        # Nothing is written here yet, so a CPU hands out the memory as moves come in.
        self.moves, self.changes = pixels.new_empty(2, most, pixels.numel())
        self.products = pixels.new_zeros(most, most)
        self.number = 0

    def __len__(self) -> int:
        return min(self.number, len(self.moves))

    def add(self, move: Tensor, change: Tensor) -> None:
        """Remember a move; one that the gradient did not answer uphill is remembered as none."""
        row = self.number % len(self.moves)
        self.number += 1
        curvature = _dot(move, change)
        known = curvature > 0
        self.moves[row] = torch.where(known, move, 0).flatten()
        self.changes[row] = torch.where(known, change, 0).flatten()
        # Of older changes with this move nobody asks.
        moves, _ = self._rows()
        self.products[: len(self), row] = moves @ self.changes[row]
        self.products[row, row] = torch.where(known, curvature, 1)

    def newest(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the newest moves and changes, oldest first, each (number, 3, H, W)."""
        return tuple(
            self._by_age(rows)[-number:].unflatten(1, self.shape[1:]).clone()
            for rows in self._rows()
        )

    def newton(self, gradient: Tensor, inverse: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the inverse Hessian times the gradient, (1, 3, H, W).

        Args:
            gradient: (1, 3, H, W).
            inverse: the inverse Hessian as it is without any move known, times a picture.
        """
        moves, changes = self._rows()
        products = self._by_age(self._by_age(self.products[: len(self), : len(self)]).T).T
        upper, curvatures = products.triu(), products.diagonal()
        shares = _solve(upper, self._by_age(moves @ gradient.flatten()), upper=True)
        rest = gradient - (self._by_row(shares) @ changes).view_as(gradient)
        direction = inverse(rest)
        answered = self._by_age(changes @ direction.flatten())
        shares = _solve(upper.T, curvatures * shares - answered, upper=False)
        return direction + (self._by_row(shares) @ moves).view_as(gradient)

    def _rows(self) -> tuple[Tensor, Tensor]:
        return self.moves[: len(self)], self.changes[: len(self)]

    def _by_age(self, rows: Tensor) -> Tensor:
        """Return rows with the oldest first."""
        return rows.roll(-self.number, 0) if self.number > len(self) else rows

    def _by_row(self, aged: Tensor) -> Tensor:
        return aged.roll(self.number, 0) if self.number > len(self) else aged


def _solve(triangle: Tensor, vector: Tensor, *, upper: bool) -> Tensor:
    return torch.linalg.solve_triangular(triangle, vector.unsqueeze(1), upper=upper).squeeze(1)


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
        self.answer = torch.zeros(3, BANDS, **options)
        self.curvature = torch.zeros((), **options)
        self.gain: Tensor | float = 1.0
        self.size = (height, width)
        # Of a real picture's waves, fft gives those of half the plane, which stand for all.
        self.counted = torch.full((width // 2 + 1,), 2.0, **options) / (height * width)
        self.counted[0] /= 2
        if width % 2 == 0:
            self.counted[-1] /= 2

    def learn(self, move: Tensor, change: Tensor) -> None:
        """Take one move and the change of the gradient that came of it into the estimate."""
        moved, answered = (self._energies(self._waves(picture)) for picture in (move, change))
        self.answer, self.curvature = answered, _dot(move, change).abs()
        self.know(
            self.moved.lerp(moved / moved.sum().clamp_min(TINY), 1 - FORGETTING),
            self.answered.lerp(answered / answered.sum().clamp_min(TINY), 1 - FORGETTING),
        )

    def know(self, moved: Tensor, answered: Tensor) -> None:
        """Let the estimate be this ratio of energies, each (3, BANDS).

        As in L-BFGS without a spectrum, the last move sets the scale.
        """
        self.moved, self.answered = moved, answered
        # Without a bound, noise that the loss hardly feels would grow as fast as what it feels.
        gain = (moved / answered.clamp_min(TINY)).sqrt().clamp_max(LARGEST_GAIN)
        expected = (gain * self.answer).sum().clamp_min(TINY)
        self.gain = (gain * (self.curvature / expected))[:, self.band]

    def inverse(self, gradient: Tensor) -> Tensor:
        """Return the estimated inverse Hessian times the gradient, (1, 3, H, W)."""
        waves = self._waves(gradient) * self.gain
        colours = torch.fft.irfft2(waves, s=self.size)
        return torch.einsum("ij,ihw->jhw", self.opponent, colours).unsqueeze(0)

    def _waves(self, picture: Tensor) -> Tensor:
        return torch.fft.rfft2(torch.einsum("ij,jhw->ihw", self.opponent, picture[0]))

    def _energies(self, waves: Tensor) -> Tensor:
        """Return the energy in each colour and band, (3, BANDS)."""
        energies = ((waves.real.square() + waves.imag.square()) * self.counted).flatten(1)
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
