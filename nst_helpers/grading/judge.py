"""The judge: gives a submission its marks from outside the student's process.

The judge runs a lesson's graded cells itself, with true torch and true assertions, in a namespace
of its own in which each exercise's name stands for the student's function in another, jailed
process (``remote``, ``worker``, ``jail``). What comes out of that process are numbers as bytes.

    with Judge() as judge:
        for path in submissions:
            verdict = judge.judge("03_gram_matrix", path)

A ``Judge`` keeps torch loaded in a process that workers are forked from, so it is made once and used
for a whole class; each of several worker processes of a class-wide run has one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SOLUTIONS = Path(__file__).resolve().parents[2] / "solutions"


@dataclass(frozen=True)
class CellMark:
    """What one graded cell gives.

    Attributes:
        grade_id: nbgrader's name of the cell, such as ``"gram_matrix-values"``.
        exercise: what comes before its last hyphen, ``"gram_matrix"``.
        title: what the cell says it tests, ``"the values"``.
        points: what the submission gets, 0 or ``max_points``.
        max_points: what the cell is worth.
        bonus: whether its points come on top of the lesson's.
        hidden: whether students see the test; its reason never quotes it.
        passed: whether the cell's tests hold, on its own inputs and on fresh ones.
        reason: why not, in one line of plain words; empty when passed.
    """

    grade_id: str
    exercise: str
    title: str
    points: float
    max_points: float
    bonus: bool
    hidden: bool
    passed: bool
    reason: str


@dataclass(frozen=True)
class Words:
    """What the checker says to the student about one exercise.

    The text was made in a process that held the student's code: show it, and trust it no further.

    Attributes:
        exercise: a name in ``nst_helpers.checker.EXERCISES``.
        text: the report, at most ``LONGEST_TEXT`` characters.
        cause: the id of the recognised mistake, or None.
    """

    exercise: str
    text: str
    cause: str | None


@dataclass(frozen=True)
class Verdict:
    """What the judge found about one submission.

    Attributes:
        lesson: such as ``"03_gram_matrix"``.
        marks: one for each graded cell of the lesson's source, in its order, whatever the
            submission holds.
        facts: sentences for the instructor: time-outs, what ended the process, work that is not
            the student's own, protections that this system lacks.
        words: the checker's, for each exercise that did not get all its points.
        output: the beginning of what the student's cells printed.
        seconds: how long it took.
    """

    lesson: str
    marks: tuple[CellMark, ...]
    facts: tuple[str, ...]
    words: tuple[Words, ...]
    output: str
    seconds: float

    @property
    def score(self) -> float:
        """All points given, bonus points among them."""
        return sum(mark.points for mark in self.marks)

    @property
    def max_score(self) -> float:
        """All points there are, without bonus points."""
        return sum(mark.max_points for mark in self.marks if not mark.bonus)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that can be written as JSON."""
        return asdict(self) | {"score": self.score, "max_score": self.max_score}


class Judge:
    """Judges submissions one after the other; holds the processes that workers are forked from.

    Args:
        solutions: the folder of the lessons' sources.
        call_seconds: the longest that one call of a student's function, or one cell, may take.
        total_seconds: the longest that one submission may take.
        memory: how many bytes of memory a worker may use.
    """

    def __init__(
        self,
        solutions: Path = SOLUTIONS,
        *,
        call_seconds: float = 20.0,
        total_seconds: float = 60.0,
        memory: int = 2 << 30,
    ) -> None:
        raise NotImplementedError

    def judge(
        self, lesson: str, notebook: Path | str | Sequence[Any], *, words: bool = True
    ) -> Verdict:
        """Return the verdict on one submission.

        Args:
            lesson: the name of its folder in solutions/.
            notebook: the submission's path, or its code cells' sources in order, as nbformat cells
                or as text.
            words: whether to ask the checker about exercises without full marks (slower).

        Raises:
            NstError: there is no such lesson, or the notebook cannot be read as one. Whatever the
                student's code does ends up in the verdict.
        """
        raise NotImplementedError

    def missing(self) -> list[str]:
        """Return a sentence for each protection that this system does not offer."""
        raise NotImplementedError

    def close(self) -> None:
        """End every process of this judge."""
        raise NotImplementedError

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def judge(lesson: str, notebook: Path | str | Sequence[Any], *, words: bool = True) -> Verdict:
    """Return the verdict on one submission; to judge several, make a :class:`Judge` once."""
    with Judge() as court:
        return court.judge(lesson, notebook, words=words)
