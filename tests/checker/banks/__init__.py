"""Two banks of answers: right ones in unusual spellings, and wrong ones with the mistake they make.

One file for each exercise, named like the exercise. To add an answer, write one function in that
file and decorate it:

    @right
    def with_einsum(tensor):
        features = tensor.flatten(2)[0]
        return torch.einsum("cp,dp->cd", features, features)

    @wrong("divided")
    def divided_by_number_of_positions(tensor):
        ...

``wrong`` takes the id of the cause the checker should name (see CAUSES.md). With ``build=True`` the
decorated function takes no arguments and returns the answer: for answers that are not plain
functions (a dictionary, an ``nn.Module``, a ``functools.partial``, an integer).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One answer of a bank. ``cause`` is None for a right answer; some wrong ones allow several."""

    exercise: str
    name: str
    answer: Callable[[], Any]
    causes: tuple[str, ...] | None


SAMPLES: list[Sample] = []


def _register(function: Callable, causes: tuple[str, ...] | None, build: bool) -> Callable:
    exercise = function.__module__.rsplit(".", 1)[-1]
    answer = function if build else (lambda: function)
    SAMPLES.append(Sample(exercise, function.__name__, answer, causes))
    return function


def right(function: Callable | None = None, *, build: bool = False) -> Callable:
    """Register a right answer of the exercise the file is named after."""
    if function is None:
        return lambda decorated: _register(decorated, None, build)
    return _register(function, None, build)


def wrong(*causes: str, build: bool = False) -> Callable:
    """Register a wrong answer and the cause ids (usually one) that name its mistake."""
    return lambda decorated: _register(decorated, causes, build)
