"""The exercise checker: what an answer must satisfy, and what to say when it does not.

``review(exercise, answer)`` is the one entry that notebooks, nbgrader and pytest share;
``check(answer)`` is what a notebook cell calls. The checker knows torch and nothing of the engine,
so an answer is never judged by the code it could have called.

A lesson has one file here. It holds, for each exercise, a specification in plain loops, how inputs
are drawn, and the mistakes people make.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from nst_helpers.checker.draw import Draw
from nst_helpers.checker.report import Finding, NotYet, Report

__all__ = ["EXERCISES", "Finding", "NotYet", "Report", "check", "review"]

# Which lesson's file holds an exercise. Files are imported when they are needed.
EXERCISES: dict[str, str] = {
    "normalize": "feature_extraction",
    "freeze": "feature_extraction",
    "activation": "feature_extraction",
    "activation_with_hook": "feature_extraction",
    "LAYERS": "get_features",
    "get_features": "get_features",
    "gram_matrix": "gram_matrix",
    "batch_gram_matrix": "gram_matrix",
    "content_loss": "losses",
    "layer_style_loss": "losses",
    "style_loss": "losses",
    "total_loss": "losses",
    "make_target": "style_transfer",
    "make_objective": "style_transfer",
    "optimize": "style_transfer",
    "optimize_lbfgs": "style_transfer",
}


def review(exercise: str, answer: Any, *, seed: int | None = None) -> Report:
    """Return what is right and wrong about an answer to an exercise.

    Args:
        exercise: a name in ``EXERCISES``, such as ``"gram_matrix"``.
        answer: what a student wrote under that name, a function or for ``LAYERS`` a dictionary.
        seed: makes the drawn inputs repeatable, for tests; None draws afresh.

    Raises:
        ValueError: there is no such exercise.
    """
    if exercise not in EXERCISES:
        raise ValueError(
            f"There is no exercise {exercise!r}; choose one of {', '.join(EXERCISES)}."
        )
    lesson = importlib.import_module(f"{__name__}.{EXERCISES[exercise]}")
    entry = next(entry for entry in lesson.EXERCISES if entry.name == exercise)
    return Report.of(exercise, _findings(entry, answer, Draw(seed)), entry.summary)


def _findings(entry: Any, answer: Any, draw: Draw) -> list[Finding]:
    """Return what is not right yet, whatever kind of thing the answer is or returns."""
    try:
        with _own_settings():
            return entry.review(answer, draw)
    except Exception as error:
        # Some objects raise even when their type or the text of their error is asked for.
        kind = type(error).__name__
        text = f"this answer does something that stops its review with {kind}."
        return [Finding("raises", text, "raises")]


@contextlib.contextmanager
def _own_settings() -> Iterator[None]:
    """Keep what an answer switches for good, gradients or the default dtype, to this review.

    Numbers that run away are reported in words, not as warnings.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.enable_grad(), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(dtype)


def check(answer: Any, exercise: str | None = None) -> None:
    """Show the review of an answer; what a notebook cell calls, as in ``check(gram_matrix)``.

    Args:
        answer: the function (or dictionary) you wrote.
        exercise: which exercise it answers; None goes by the function's own name.

    Raises:
        NotYet: something is not right yet; the message says what.
        ValueError: it is not clear which exercise this is.
    """
    name = exercise or _name_of(answer)
    report = review(name, answer)
    _show(report)
    if not report.passed:
        raise NotYet(report)


def _name_of(answer: Any) -> str:
    if isinstance(answer, dict):
        return "LAYERS"
    name = getattr(answer, "__name__", None)
    if name not in EXERCISES:
        raise ValueError(
            f"It is not clear which exercise {name or type(answer).__name__!r} answers; "
            f"say so, as in check(my_function, 'gram_matrix')."
        )
    return name


def _show(report: Report) -> None:
    """Show a report where people look: as a coloured box in a notebook, as text elsewhere."""
    try:
        from IPython import get_ipython
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is not None and getattr(shell, "kernel", None) is not None:
        from IPython.display import display

        display(report)
    else:
        print(report.text)
