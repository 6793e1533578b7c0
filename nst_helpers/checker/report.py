"""What a review found, in words, for a notebook, a terminal and a grader."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# The order in which findings are told: what has to be mended first comes first.
KINDS = (
    "written",
    "callable",
    "arguments",
    "raises",
    "type",
    "shape",
    "dtype",
    "device",
    "finite",
    "inputs",
    "model",
    "gradient",
    "values",
    "behaviour",
    "cause",
)
# More lines than this are not read.
MOST_FINDINGS = 4


@dataclass(frozen=True)
class Finding:
    """One thing that is not right yet.

    Attributes:
        kind: one of ``KINDS``.
        text: one line for the student, with the numbers that help.
        cause: the id of the mistake this finding recognises, or None.
    """

    kind: str
    text: str
    cause: str | None = None


@dataclass(frozen=True)
class Report:
    """The outcome of a review.

    Attributes:
        exercise: the name in the table of exercises.
        passed: whether the answer keeps the whole contract.
        cause: the id of the recognised mistake, or None.
        findings: what is not right yet, the most urgent first; empty when passed.
        summary: what was tried, for the sentence that says all is well.
    """

    exercise: str
    findings: tuple[Finding, ...]
    summary: str

    @classmethod
    def of(cls, exercise: str, findings: Iterable[Finding], summary: str) -> Report:
        """Return the report of ``findings``, sorted, without repeats, the most urgent few."""
        unique = {finding.text: finding for finding in findings}
        ordered = sorted(unique.values(), key=lambda finding: KINDS.index(finding.kind))
        # A recognised cause is worth more than a fourth symptom.
        cause = [finding for finding in ordered if finding.kind == "cause"]
        rest = [finding for finding in ordered if finding.kind != "cause"]
        return cls(exercise, (*rest[: MOST_FINDINGS - len(cause[:1])], *cause[:1]), summary)

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def cause(self) -> str | None:
        """The id of the recognised mistake: that of the hint, else of the most urgent finding."""
        hints = [finding.cause for finding in self.findings if finding.kind == "cause"]
        named = [finding.cause for finding in self.findings if finding.cause]
        return (hints + named + [None])[0]

    @property
    def text(self) -> str:
        """The report in plain words, one finding a line."""
        if self.passed:
            return f"{self.exercise}: right. {self.summary}"
        lines = [f"{self.exercise}: not yet."]
        return "\n".join(lines + [f"  - {finding.text}" for finding in self.findings])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.text, "text/html": self._html()}

    def _html(self) -> str:
        # Fixed colours on a background of their own: readable in light and dark themes, in feedback
        # pages and in notebooks that are not trusted (contrast 7.0 and 8.3 to 1).
        ink, ground = ("#155724", "#d4edda") if self.passed else ("#721c24", "#f8d7da")
        first, *others = self.text.split("\n")
        items = "".join(
            f"<li style='margin:2px 0'>{html.escape(line.removeprefix('  - '))}</li>"
            for line in others
        )
        listing = f"<ul style='margin:4px 0 0 0;padding-left:20px'>{items}</ul>" if items else ""
        mark = "&#10003;" if self.passed else "&#9675;"
        style = f"color:{ink};background:{ground};border-left:4px solid {ink};padding:8px 12px"
        return (
            f"<div role='status' style='{style}'><b>{mark} {html.escape(first)}</b>{listing}</div>"
        )


class NotYet(AssertionError):
    """An answer does not keep its contract yet; the message is the report's text."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.text)
        self.report = report

    def _render_traceback_(self) -> list[str]:
        """Return what notebooks and nbgrader's Validate show: the report, and no traceback.

        Source: IPython documentation, custom exception tracebacks.
        """
        return str(self).split("\n")
