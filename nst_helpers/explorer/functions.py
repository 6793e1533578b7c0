"""The student's own functions in the engine's place, watched: what they raise is said in words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from nst_helpers.errors import NstError

OWN_FUNCTIONS = ("gram_matrix", "content_loss", "style_loss")


class OwnFunctionError(Exception):
    """A student's function raised, or returned what cannot be computed with.

    Attributes:
        name: which function.
        reason: what went wrong, in words.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Your {name} {reason}")
        self.name = name
        self.reason = reason


def watched(functions: Mapping[str, Callable[..., Any] | None]) -> dict[str, Callable[..., Tensor]]:
    """Return the functions that are given, each so that it can raise only OwnFunctionError.

    Raises:
        NstError: one is no function, or no part of the engine has that name.
    """
    for name, function in functions.items():
        if name not in OWN_FUNCTIONS:
            raise NstError(f"{name} is no part of the engine; give {', '.join(OWN_FUNCTIONS)}.")
        if function is not None and not callable(function):
            raise NstError(
                f"{name} is {function!r}; give the function itself, as in {name}={name}."
            )
    return {name: _watched(name, function) for name, function in functions.items() if function}


def _watched(name: str, function: Callable[..., Any]) -> Callable[..., Tensor]:
    @functools.wraps(function)
    def call(*arguments: Any) -> Tensor:
        try:
            result = function(*arguments)
        except BaseException as error:  # sys.exit in a function must not end the run, either
            said = " ".join(str(error).split())[:200]
            kind = type(error).__name__
            raise OwnFunctionError(
                name, f"raised {kind}: {said}" if said else f"raised {kind}"
            ) from error
        if not isinstance(result, Tensor):
            raise OwnFunctionError(name, f"returned {result!r:.60}, which is no tensor")
        if name == "gram_matrix":
            if result.ndim != 2 or result.shape[0] != result.shape[1]:
                shape = tuple(result.shape)
                raise OwnFunctionError(name, f"returned the shape {shape}, which is not (C, C)")
        elif result.numel() != 1:
            shape = tuple(result.shape)
            raise OwnFunctionError(name, f"returned the shape {shape}, which is no single number")
        return result

    return call
