"""What the exercises of lesson 05 share: a flow of their own, and how its findings are worded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nst_helpers.checker import calling
from nst_helpers.checker.draw import Draw
from nst_helpers.checker.report import Finding


@dataclass(frozen=True)
class Exercise:
    """An exercise with a flow of its own.

    Attributes:
        name: in the table of exercises.
        parameters: name -> default, ``REQUIRED`` where there is none.
        summary: what was tried, for the sentence that says all is well.
        examine: yields what is not right yet with an answer that can be called.
    """

    name: str
    parameters: Mapping[str, Any]
    summary: str
    examine: Callable[[Callable, Draw], list[Finding]]

    def review(self, answer: Any, draw: Draw) -> list[Finding]:
        """Return what is not right yet with an answer; nothing when it keeps the contract."""
        first = calling.not_callable(self.name, answer) or calling.wrong_signature(
            self.name, answer, self.parameters
        )
        if first:
            return [first]
        return self.examine(answer, draw)


def stopped(error: BaseException, answer: Any, words: str) -> Finding:
    """Return what to say about an answer that raised; every such finding has a cause."""
    finding = calling.explain(error, answer, words)
    return replace(finding, cause=finding.cause or "raises")


def likely(cause: str, text: str) -> Finding:
    """Return the finding that names a recognised mistake."""
    return Finding("cause", text, cause)
