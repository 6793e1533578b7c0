"""Calling an answer, and saying in plain words what happened when it raised."""

from __future__ import annotations

import contextlib
import inspect
import io
import linecache
import re
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nst_helpers.checker.report import Finding

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Outcome:
    """What one call gave: a value, or the exception it raised."""

    value: Any = None
    error: BaseException | None = None


def call(answer: Callable, arguments: Mapping[str, Any], keywords: Sequence[str] = ()) -> Outcome:
    """Call ``answer`` as a grader does: the promised arguments by position, ``keywords`` by name.

    What it prints or warns is nobody's business here. A student's interrupt still interrupts.
    """
    by_position = [value for name, value in arguments.items() if name not in keywords]
    by_name = {name: value for name, value in arguments.items() if name in keywords}
    with quietly():
        try:
            return Outcome(answer(*by_position, **by_name))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Outcome(error=error)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Let nothing that an answer prints or warns reach the page."""
    silence = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(silence),
        contextlib.redirect_stderr(silence),
    ):
        warnings.simplefilter("ignore")
        yield


def not_callable(exercise: str, answer: Any) -> Finding | None:
    """Return what is wrong where a function was expected, or None."""
    if answer is None or answer is ...:
        return Finding(
            "written", f"{exercise} is {answer!r}; nothing is written there yet.", "not-written"
        )
    if inspect.isclass(answer):
        return Finding(
            "callable",
            f"{exercise} is a class; define a function of that name with def.",
            "not-a-function",
        )
    if not callable(answer) or isinstance(answer, types.ModuleType):
        kind = type(answer).__name__
        return Finding(
            "callable",
            f"{exercise} is of type {kind}; give the function itself, without calling it.",
            "not-a-function",
        )
    return None


def wrong_signature(
    exercise: str, answer: Callable, parameters: Mapping[str, Any]
) -> Finding | None:
    """Return what is wrong with the argument names or defaults of an answer, or None.

    Args:
        exercise: its name, for the message.
        answer: anything callable; what takes ``*args`` or has no signature is given the benefit of
            the doubt.
        parameters: name -> default, ``REQUIRED`` where there is none.
    """
    try:
        given = inspect.signature(answer).parameters
    except (TypeError, ValueError):
        return None
    kinds = {parameter.kind for parameter in given.values()}
    takes_any = inspect.Parameter.VAR_POSITIONAL in kinds or inspect.Parameter.VAR_KEYWORD in kinds
    named = [name for name, p in given.items() if p.kind not in _VARIADIC]
    wanted = ", ".join(
        name if default is REQUIRED else f"{name}={default!r}"
        for name, default in parameters.items()
    )
    contract = f"the contract is {exercise}({wanted})"
    extra = [n for n in named[len(parameters) :] if given[n].default is REQUIRED]
    if extra or (not takes_any and named[: len(parameters)] != list(parameters)):
        text = f"the arguments are ({', '.join(named)}), but {contract}."
        return Finding("arguments", text, "wrong-arguments")
    for name, default in parameters.items():
        if name in given and default is not REQUIRED and given[name].default is REQUIRED:
            text = f"the argument {name} has no default value, but {contract}."
            return Finding("arguments", text, "wrong-arguments")
    return None


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

# What an error usually means for the person who wrote the line: pattern, plain words, cause.
# The words point at the line of thought. They never contain the answer.
_EXPLANATIONS: tuple[tuple[str, str, str | None], ...] = (
    (
        r"view size is not compatible with input tensor's size and stride|"
        r"use \.reshape\(\.\.\.\) instead",
        "view only works where the numbers lie in memory in that order; a transposed or strided "
        "tensor does not, and there is a relative of view that copies when it has to",
        "view-not-contiguous",
    ),
    (
        r"backward through the graph a second time",
        "this graph was used by an earlier backward and is gone; something made once, before, "
        "is used again in each step",
        "graph-used-twice",
    ),
    (
        r"modified by an inplace operation",
        "a tensor that the gradient still needs was changed in place afterwards",
        "changed-in-place",
    ),
    (
        r"leaf Variable that requires grad is being used in an in-place|"
        r"a view of a leaf Variable that requires grad",
        "the picture being optimised was changed in place while gradients were recorded",
        "leaf-changed-in-place",
    ),
    (
        r"can't optimize a non-leaf",
        "the optimiser was given the result of a computation; it can move only a tensor that was "
        "not computed from another one",
        "not-a-leaf",
    ),
    (
        r"Can't call numpy\(\) on Tensor that requires grad",
        "leaving torch for numpy cuts the gradient",
        "detached",
    ),
    (
        r"does not require grad and does not have a grad_fn",
        "there is nothing to take a gradient of: somewhere the connection to the picture was cut",
        "detached",
    ),
    (
        r"shapes cannot be multiplied|must match the size of tensor|mat1 and mat2|"
        r"The size of tensor a|size mismatch|Expected size for first two dimensions|"
        r"must match except in dimension",
        "two tensors do not fit together; print both shapes before this line",
        None,
    ),
    (
        r"shape '\[.*\]' is invalid for input of size",
        "the numbers do not fit that shape; which of its sizes come from this input?",
        "hard-coded-size",
    ),
    (
        r"index -?\d+ is out of (bounds|range)|not enough values to unpack",
        "something is counted further than this input goes; which of the numbers in this line "
        "come from the input?",
        "hard-coded-size",
    ),
    (
        r"expected (m1 and m2|scalar type)|same dtype|have the same dtype|must be the same, got|"
        r"Input type .* and (bias|weight) type|expected .* but (got|found) (Float|Double|BFloat)",
        "two tensors have different dtypes: one of them does not follow the input's",
        "wrong-dtype",
    ),
    (
        r"Expected all tensors to be on the same device|Cannot copy out of meta|"
        r"is not on the expected device|unhandled device|device type tensor to numpy",
        "two tensors are on different devices: one of them does not follow the input's",
        "wrong-device",
    ),
    (
        r"Boolean value of Tensor with more than one value",
        "a tensor of several values was used where one yes or no is needed",
        None,
    ),
    (
        r"grad can be implicitly created only for scalar",
        "backward starts from a single number, and this has several",
        "not-reduced",
    ),
)


def explain(error: BaseException, answer: Any, words: str) -> Finding:
    """Return the student's own line, the error in plain words, and the likely reason.

    Args:
        error: what the answer raised.
        answer: the answer, to tell its lines from the library's.
        words: what it was called with, such as "a 3 x 5 x 7 activation".
    """
    if isinstance(error, NotImplementedError) and not str(error).startswith(("Cannot", "Could")):
        return Finding("written", "nothing is written there yet.", "not-written")
    if isinstance(error, TypeError) and error.__traceback__.tb_next is None:
        # It never came to the first line: the call itself did not fit.
        said = str(error).split("() ", 1)[-1]
        return Finding("arguments", f"it cannot be called as agreed: {said}.", "wrong-arguments")
    line = _own_line(error, answer)
    place = f"on the line `{line}` " if line else ""
    message = str(error).strip().split("\n")[0]
    said = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if len(said) > 120:
        said = said[:117] + "..."
    for pattern, meaning, cause in _EXPLANATIONS:
        if re.search(pattern, str(error)):
            text = f"{place}it stopped with {words}: {meaning} ({said})."
            return Finding("raises", text, cause or "raises")
    return Finding("raises", f"{place}it stopped with {words}: {said}.", "raises")


def _own_line(error: BaseException, answer: Any) -> str | None:
    """Return the source of the deepest line of the answer's own file that was being run."""
    code = getattr(_innermost(answer), "__code__", None)
    own = None
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if code is not None and frame.f_code.co_filename == code.co_filename:
            own = linecache.getline(frame.f_code.co_filename, traceback.tb_lineno).strip()
        traceback = traceback.tb_next
    return own or None


def _innermost(answer: Any) -> Any:
    """Return the function behind a decorator, a partial, a method or an object that is called."""
    if hasattr(answer, "__wrapped__"):
        return _innermost(answer.__wrapped__)
    for attribute in ("func", "forward", "__func__"):
        if hasattr(answer, attribute) and not hasattr(answer, "__code__"):
            return _innermost(getattr(answer, attribute))
    return answer if hasattr(answer, "__code__") else type(answer).__call__
