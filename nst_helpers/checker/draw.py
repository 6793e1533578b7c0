"""Fresh inputs: every review draws its own, so that no answer can know them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LAYOUTS = ("contiguous", "channels_last", "strided")


class Draw:
    """A stream of fresh inputs, with a generator of its own.

    The generators of torch and of ``random`` that an answer may use are left as they are.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = random.SystemRandom().randrange(2**62) if seed is None else seed
        self.generator = torch.Generator().manual_seed(self.seed)

    def integer(self, lowest: int, highest: int) -> int:
        """Return a whole number, both ends included."""
        return int(torch.randint(lowest, highest + 1, (), generator=self.generator))

    def number(self, lowest: float, highest: float) -> float:
        """Return a number between two others."""
        share = torch.rand((), dtype=torch.float64, generator=self.generator)
        return float(lowest + (highest - lowest) * share)

    def distinct(self, count: int, lowest: int, highest: int) -> list[int]:
        """Return ``count`` different whole numbers, in random order."""
        order = torch.randperm(highest - lowest + 1, generator=self.generator)
        return [lowest + int(number) for number in order[:count]]

    def pick(self, choices: Sequence[Any]) -> Any:
        """Return one of ``choices``."""
        return choices[self.integer(0, len(choices) - 1)]

    def shuffled(self, items: Sequence[Any]) -> list[Any]:
        """Return the items in random order."""
        return [items[i] for i in torch.randperm(len(items), generator=self.generator)]

    def activation(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        batch: int = 1,
        dtype: torch.dtype = torch.float64,
        layout: str = "contiguous",
    ) -> Tensor:
        """Return random numbers of both signs, (batch, channels, height, width).

        Their mean is not 0 and every channel has a size of its own, so that centring, dividing by
        a deviation or mixing up channels changes the result.
        """
        shape = (batch, channels, height, width)
        values = torch.randn(shape, dtype=torch.float64, generator=self.generator)
        levels = torch.rand((1, channels, 1, 1), dtype=torch.float64, generator=self.generator)
        return in_layout((values + 0.3) * (0.5 + levels), layout).to(dtype)

    def image(
        self,
        height: int,
        width: int,
        *,
        batch: int = 1,
        dtype: torch.dtype = torch.float64,
        layout: str = "contiguous",
    ) -> Tensor:
        """Return a random picture in [0, 1], (batch, 3, height, width)."""
        shape = (batch, 3, height, width)
        values = torch.rand(shape, dtype=torch.float64, generator=self.generator)
        return in_layout(values, layout).to(dtype)


def in_layout(tensor: Tensor, layout: str) -> Tensor:
    """Return the same values laid out in memory as asked: plain, channels_last, or with gaps."""
    if layout == "channels_last":
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "strided":
        wide = tensor.new_zeros((*tensor.shape[:-1], 2 * tensor.shape[-1]))
        wide[..., ::2] = tensor
        return wide[..., ::2]
    return tensor.contiguous()


def copied(value: Any) -> Any:
    """Return a copy of tensors and containers, each tensor in the same memory layout.

    A tensor's layout is part of what is being tried, and ``clone`` alone would close its gaps.
    """
    if isinstance(value, Tensor):
        if value.is_contiguous() or value.is_contiguous(memory_format=torch.channels_last):
            return value.detach().clone()
        return in_layout(value.detach(), "strided")
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copied(item) for item in value)
    return value


def tensors_in(value: Any, name: str = "") -> dict[str, Tensor]:
    """Return the tensors in a value by a student's words for them: ``target``, ``grams['a']``."""
    if isinstance(value, Tensor):
        return {name: value}
    found: dict[str, Tensor] = {}
    if isinstance(value, dict):
        for key, item in value.items():
            found |= tensors_in(item, f"{name}[{key!r}]" if name else str(key))
    return found
