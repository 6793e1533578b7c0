"""The judge: gives a submission its marks from outside the student's process.

The judge runs a lesson's graded cells itself, with true torch and true assertions, in a namespace
of its own in which each exercise's name stands for the student's function in another, jailed
process (``remote``, ``worker``, ``jail``). What comes out of that process are numbers as bytes.

    with Judge() as judge:
        for path in submissions:
            verdict = judge.judge("03_gram_matrix", path)

A ``Judge`` keeps torch loaded in a process that workers are forked from, so it is made once and
used for a whole class; each of several processes of a class-wide run has one of its own.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nst_helpers.attribution import images_folder
from nst_helpers.checker import EXERCISES, NotYet
from nst_helpers.checker.autotest import agree, measure
from nst_helpers.checker.calling import quietly
from nst_helpers.errors import NstError
from nst_helpers.grading import course, fresh, jail, telling, worker, workers
from nst_helpers.grading.course import AGREE, Cell, Lesson
from nst_helpers.grading.remote import BROKEN, ENDED, TOO_LONG, WorkerGone
from nst_helpers.grading.workers import Spawner, Worker, Zygote

SOLUTIONS = Path(__file__).resolve().parents[2] / "solutions"
LONGEST_REASON = 300
LONGEST_TEXT = 2_000
LARGEST_NOTEBOOK = 32 << 20
MOST_WORKERS = 6
NOT_OWN = "not one's own work"
NOT_WRITTEN = "nothing is written there yet"
HIDDEN = "a test that is not shown does not hold"
NO_FORK = "This system cannot fork: each worker loads torch anew, which takes seconds."


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
        hidden: whether students do not see the test.
        passed: whether the cell's tests hold, on its own inputs and on fresh ones.
        reason: why not, for the instructor, in one line of plain words; empty when passed.
        told: the same for the student. From the first hidden test on it holds no word that the
            student's code could choose, since such a word may tell what the test called it with.
    """

    grade_id: str
    exercise: str
    title: str
    points: float
    max_points: float
    bonus: bool
    hidden: bool
    passed: bool
    reason: str = ""
    told: str = ""


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
        timed_out: whether a limit on time was reached, so that marks may change with a longer one.
        seconds: how long it took.
    """

    lesson: str
    marks: tuple[CellMark, ...]
    facts: tuple[str, ...]
    words: tuple[Words, ...]
    output: str
    timed_out: bool
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
        without: walls of the jail to leave out, for tests; see ``jail.protections``.
    """

    def __init__(
        self,
        solutions: Path = SOLUTIONS,
        *,
        call_seconds: float = 30.0,
        total_seconds: float = 120.0,
        memory: int = 2 << 30,
        without: Sequence[str] = (),
    ) -> None:
        self.solutions = solutions
        self.call_seconds = call_seconds
        self.total_seconds = total_seconds
        self.memory = memory
        self.without = tuple(without)
        self._zygotes: dict[bool, Zygote | Spawner] = {}
        self._references: dict[str, _Reference] = {}
        self._zygote(checker=False)

    def judge(
        self, lesson: str, notebook: Path | str | Sequence[Any], *, words: bool = True
    ) -> Verdict:
        """Return the verdict on one submission.

        Args:
            lesson: the name of its folder in solutions/.
            notebook: the submission's path, or its code cells in order, as nbformat cells or as
                text.
            words: whether to ask the checker about exercises without full marks (slower).

        Raises:
            NstError: there is no such lesson, or the notebook cannot be read as one. Whatever the
                student's code does ends up in the verdict.
        """
        started = time.monotonic()
        reference = self._reference(lesson)
        cells = read_cells(notebook) if isinstance(notebook, (str, Path)) else notebook
        trial = _Trial(self, reference, cells)
        try:
            marks = trial.marks()
        finally:
            trial.end()
        timed_out = trial.timed_out or time.monotonic() >= trial.until
        said = trial.words(marks) if words else ()
        facts = (*trial.facts, *self.missing())
        seconds = time.monotonic() - started
        return Verdict(lesson, marks, facts, said, trial.output, timed_out, seconds)

    def missing(self) -> list[str]:
        """Return a sentence for each protection that this system does not offer."""
        source = self._zygote(checker=False)
        slower = [] if isinstance(source, Zygote) else [NO_FORK]
        return jail.missing(source.protections) + slower

    def close(self) -> None:
        """End every process of this judge."""
        for zygote in self._zygotes.values():
            zygote.close()
        self._zygotes.clear()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fork(self, lesson: Lesson, until: float, *, checker: bool) -> Worker:
        """Return a new worker for a submission to a lesson."""
        limits = {"memory": self.memory, "call_seconds": self.call_seconds, "until": until}
        order = (lesson.number, [images_folder()])
        try:
            return self._zygote(checker=checker).fork(*order, **limits)
        except (NstError, OSError):
            # Whatever ended that process, a lack of memory perhaps, the next submission needs one.
            self._zygotes.pop(checker).close()
            return self._zygote(checker=checker).fork(*order, **limits)

    def _zygote(self, *, checker: bool) -> Zygote | Spawner:
        if checker not in self._zygotes:
            self._zygotes[checker] = workers.start(checker=checker, without=self.without)
        return self._zygotes[checker]

    def _reference(self, name: str) -> _Reference:
        if name not in self._references:
            self._references[name] = _Reference(course.read_lesson(self.solutions, name))
        return self._references[name]


def judge(lesson: str, notebook: Path | str | Sequence[Any], *, words: bool = True) -> Verdict:
    """Return the verdict on one submission; to judge several, make a :class:`Judge` once."""
    with Judge() as court:
        return court.judge(lesson, notebook, words=words)


def read_cells(path: Path | str) -> list[dict[str, Any]]:
    """Return the code cells of a notebook file, whatever else is in it.

    Raises:
        NstError: it is no notebook, or larger than ``LARGEST_NOTEBOOK``.
    """
    path = Path(path)
    if not path.is_file():
        raise NstError(f"There is no notebook {path}; give the path of an .ipynb file.")
    size = path.stat().st_size
    if size > LARGEST_NOTEBOOK:
        raise NstError(
            f"{path} has {size >> 20} MB; at most {LARGEST_NOTEBOOK >> 20} are read. Clear its "
            f"outputs and try again."
        )
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [cell for cell in cells if cell.get("cell_type") == "code"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NstError(f"{path} is not a notebook that can be read; open and save it.") from error


class _Reference:
    """What a lesson's own solutions do in its graded cells.

    Attributes:
        lesson: its cells.
        needed: those that are run.
        expected: for each graded cell what its AUTOTEST lines measure.
        functions: the solutions by name.
        known: for each graded cell what the solutions make of the calls that it makes.
    """

    def __init__(self, lesson: Lesson) -> None:
        self.lesson = lesson
        self.needed = lesson.needed()
        self.expected: dict[str, dict[int, str]] = {}
        self.functions: dict[str, Any] = {}
        self.known: dict[str, dict[bytes, Any]] = {}
        space = _new_space()
        for cell in self.needed:
            values = self.expected.setdefault(cell.id, {})
            space[AGREE] = lambda number, value, values=values: values.update(
                {number: measure(value)}
            )
            try:
                with quietly():
                    exec(_compiled(cell.source, cell.id), space)
            except Exception as error:
                raise NstError(
                    f"The solution of {lesson.name} stops in its own cell {cell.id!r} with "
                    f"{type(error).__name__}: {error}"
                ) from error
            if cell.role == "solution":
                names = course.names_defined(cell.source)
                self.functions |= {name: space[name] for name in names}

    def measures(self, cell: Cell) -> bool:
        """Return whether a graded cell compares numbers, and not just shapes and types."""
        values = self.expected[cell.id].values()
        return any('"tensor"' in value or '"float"' in value for value in values)


class _Trial:
    """One submission before the judge.

    Attributes:
        facts: sentences for the instructor.
        output: the beginning of what the student's cells printed.
        timed_out: whether a cell or a call took too long.
        secrets_told: whether a hidden test was run, so that the student's code may know of it.
    """

    def __init__(self, court: Judge, reference: _Reference, submission: Sequence[Any]) -> None:
        self.court = court
        self.reference = reference
        self.until = time.monotonic() + court.total_seconds
        self.cells = course.cells_to_run(reference.lesson, submission)
        self.facts: dict[str, None] = {}
        self.output = ""
        self.timed_out = False
        self.secrets_told = False
        self.worker: Worker | None = None
        self.workers_left = MOST_WORKERS
        self.skipped: set[int] = set()
        self.hung: dict[str, str] = {}
        lesson, sources = reference.lesson, [source for _, source in self.cells]
        for name in course.engine_used(lesson, sources, worker.forbidden(lesson.number)):
            self._note(f"A cell names {name}, which does what an exercise of this lesson asks for.")
        for name in course.reached_for(lesson, sources):
            self._note(f"A cell names {name}, which no answer needs.")

    # --- the worker -------------------------------------------------------------------------------

    def _start(self, *, checker: bool = False) -> None:
        """Fork a worker and let it run the student's cells; leave out a cell that ends it."""
        while self.workers_left and time.monotonic() < self.until:
            self.workers_left -= 1
            self.worker = self.court.fork(self.reference.lesson, self.until, checker=checker)
            cells = [[i, source] for i, source in self.cells if i not in self.skipped]
            header = {"do": "load", "cells": cells, "seconds": self.court.call_seconds}
            try:
                self._note_failures(self.worker.peer.request(header))
                return
            except WorkerGone as gone:
                cell = self.worker.peer.progress
                self.timed_out |= str(gone) == TOO_LONG
                self.end()
                if cell is None or cell in self.skipped:
                    return
                self.skipped.add(cell)
                self._note(f"Code cell {cell + 1} was left out: {gone}{self._how_it_ended()}.")
            except Exception as error:
                self._note(f"The cells could not be run: {_said(error)}.")
                return

    def _note_failures(self, failed: Any) -> None:
        """Note what matters of the cells that the worker says it could not run to their end."""
        theirs = {i for i, source in self.cells if source.strip() in self.reference.lesson.given}
        for index, kind, text in failed:
            self.timed_out |= kind == TimeoutError.__name__
            # A cell of the lesson's own may use the engine; for its results nobody gets points.
            if kind == worker.NotOwnWork.__name__ and index not in theirs:
                self._note(f"Code cell {int(index) + 1} stopped: {text}.")

    def end(self) -> None:
        """End the worker, if there is one."""
        if self.worker is not None:
            self.worker.end()
            self.output = self.output or _printable(self.worker.output, LONGEST_TEXT)

    def _how_it_ended(self) -> str:
        code = self.worker.code if self.worker is not None else None
        if not code or code == -9:
            return ""
        if code < 0:
            with contextlib.suppress(ValueError):
                return f" ({signal.Signals(-code).name})"
        return f" (exit code {code})"

    def _ready(self, space: dict[str, Any]) -> None:
        """See that there is a worker, and that the exercises' names stand for its functions."""
        if self.worker is not None and not self.worker.peer.gone:
            return
        self._start()
        for cell in self.reference.needed:
            if cell.role == "solution" and space.get("__solved__", set()) >= {cell.id}:
                self._bind(cell, space)

    def _bind(self, cell: Cell, space: dict[str, Any]) -> None:
        """Let each name that a solution cell defines stand for what the student's cell made it."""
        space.setdefault("__solved__", set()).add(cell.id)
        peer = self.worker.peer if self.worker is not None else None
        for name in course.names_defined(cell.source):
            space.pop(name, None)
            if name in self.hung:
                space[name] = _hung(self.hung[name])
            elif peer is not None and not peer.gone:
                with contextlib.suppress(Exception):
                    space[name] = peer.request({"do": "get", "name": name})
                    peer.name(space[name], name)

    # --- marks ------------------------------------------------------------------------------------

    def marks(self) -> tuple[CellMark, ...]:
        """Run the lesson's cells with the student's functions, and return what each gives."""
        space, complaints, tapes = _new_space(), {}, {}
        self._ready(space)
        for cell in self.reference.needed:
            if cell.role == "setup":
                with quietly():
                    exec(_compiled(cell.source, cell.id), space)
            elif cell.role == "solution":
                self._bind(cell, space)
            else:
                self._ready(space)
                tapes[cell.id] = fresh.Tape()
                self.secrets_told |= cell.hidden
                complaints[cell.id] = self._complaint(cell, space, tapes[cell.id])
        graded = self.reference.lesson.graded
        passed = [cell for cell in graded if complaints[cell.id] is None]
        complaints |= self._asked_again(passed, tapes)
        return tuple(_mark(cell, complaints[cell.id]) for cell in graded)

    def _complaint(
        self, cell: Cell, space: dict[str, Any], tape: fresh.Tape
    ) -> tuple[str, str] | None:
        """Return why a graded cell gives no points on its own inputs, and what is told, or None."""
        peer = self.worker.peer if self.worker is not None else None
        expected = self.reference.expected[cell.id]

        def compared(number: int, value: Any) -> None:
            agree(measure(value), expected[number], cell.expressions[number])

        space[AGREE] = compared
        try:
            if peer is not None:
                peer.tape = tape
            with quietly():
                exec(_compiled(cell.source, cell.id), space)
            return None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            reason = self._reason(cell, error)
            return reason, _told(cell, error) if self.secrets_told else reason
        finally:
            if peer is not None:
                peer.tape = None
                self._tidy()

    def _asked_again(
        self, passed: Sequence[Cell], tapes: dict[str, fresh.Tape]
    ) -> dict[str, tuple[str, str]]:
        """Return why cells that passed give no points after all: wrong on fresh inputs.

        Another worker is asked, in which nothing is left of the first inputs. Only an answer whose
        numbers were compared and found right can have known them, so an exercise's other cells,
        which ask for a shape or a type, count only together with one that compares numbers.
        """
        passed = [cell for cell in passed if tapes[cell.id].calls]
        if not passed or self.worker is None:
            return {}
        first, self.worker = self.worker, None
        reasons, drawn, space = {}, fresh.Fresh(), {}
        for cell in self.reference.needed:
            if cell.role == "solution":
                space.setdefault("__solved__", set()).add(cell.id)
        for cell in passed:
            self._ready(space)
            answers = {name: space.get(name) for name in self.reference.functions}
            with quietly():
                reasons[cell.id] = fresh.complaint(
                    tapes[cell.id],
                    answers,
                    self.reference.functions,
                    drawn,
                    self.reference.known.setdefault(cell.id, {}),
                )
            if self.worker is not None:
                self._tidy()
        self.end()
        first.end()
        found_out = {
            cell.exercise for cell in passed if reasons[cell.id] and self.reference.measures(cell)
        }
        return {
            cell.id: (reasons[cell.id], HIDDEN if cell.hidden else fresh.WRONG)
            for cell in passed
            if cell.exercise in found_out and reasons[cell.id]
        }

    def _tidy(self) -> None:
        """Forget a cell's tensors; where the worker is gone, note why."""
        peer = self.worker.peer
        with contextlib.suppress(Exception):
            peer.request({"do": "forget"})
        peer.forget()
        if peer.gone:
            self.timed_out |= peer.gone == TOO_LONG
            self.end()
            name = peer.calling
            why = f"{peer.gone}{self._how_it_ended()}"
            self._note(f"{name}: {why}." if name else f"A call failed: {why}.")
            self.hung[name] = peer.gone

    def _reason(self, cell: Cell, error: BaseException) -> str:
        """Return why a graded cell gives no points, for the instructor."""
        if _is_not_own(error):
            self._note(f"{cell.exercise}: {error}.")
            return f"{NOT_OWN}: {error}"
        if isinstance(error, WorkerGone):
            return str(error)
        if isinstance(error, NotImplementedError):
            return NOT_WRITTEN
        if getattr(error, "student_line", None) is not None:
            line = f", on the line `{error.student_line}`" if error.student_line else ""
            return f"it stops with {_said(error)}{line}"
        if cell.hidden:
            return HIDDEN
        if isinstance(error, NotYet):
            found = error.report.findings[0].text if error.report.findings else ""
            return f"{error.report.exercise}: {found}"
        return str(error) if isinstance(error, AssertionError) and str(error) else _said(error)

    def _note(self, fact: str) -> None:
        self.facts[_printable(fact, LONGEST_REASON)] = None

    # --- words ------------------------------------------------------------------------------------

    def words(self, marks: Sequence[CellMark]) -> tuple[Words, ...]:
        """Return what the checker says about the exercises that did not get all their points."""
        missed = dict.fromkeys(mark.exercise for mark in marks if not mark.passed)
        wanted = [name for name in missed if name in EXERCISES and name not in self.hung]
        said = {name: _words_on_the_end(name, why) for name, why in self.hung.items()}
        if wanted:
            self.until = time.monotonic() + self.court.total_seconds
            self.workers_left = MOST_WORKERS
            for name in wanted:
                if self.worker is None or self.worker.ended or self.worker.peer.gone:
                    self._start(checker=True)
                said |= self._asked(name)
            self.end()
        return tuple(said[name] for name in missed if name in said)

    def _asked(self, name: str) -> dict[str, Words]:
        try:
            [[_, text, cause]] = self.worker.peer.request({"do": "review", "exercises": [name]})
            text = _printable(str(text), LONGEST_TEXT)
            known = isinstance(cause, str) and re.fullmatch(r"[a-z0-9_-]{1,60}", cause)
            return {name: Words(name, text, cause if known else None)}
        except WorkerGone as gone:
            return {name: Words(name, f"{name}: {gone}.", None)}
        except Exception:
            return {}


def _mark(cell: Cell, complaint: tuple[str, str] | None) -> CellMark:
    reason, told = (_line(text) for text in complaint) if complaint else ("", "")
    return CellMark(
        grade_id=cell.id,
        exercise=cell.exercise,
        title=cell.title,
        points=0.0 if complaint else cell.points,
        max_points=cell.points,
        bonus=cell.bonus,
        hidden=cell.hidden,
        passed=complaint is None,
        reason=reason,
        told=told,
    )


def _line(text: str) -> str:
    return _printable(" ".join(text.split()), LONGEST_REASON) or "its tests do not hold"


# --- parts ----------------------------------------------------------------------------------------


def _new_space() -> dict[str, Any]:
    """Return the names that a notebook's cells begin with."""
    return {
        "__name__": "__main__",
        "__builtins__": builtins,
        "display": lambda *_, **__: None,
        "get_ipython": lambda: None,
    }


def _compiled(source: str, name: str) -> Any:
    return compile(source, f"<{name}>", "exec", dont_inherit=True)


def _told(cell: Cell, error: BaseException) -> str:
    """Return why a graded cell gives no points, in words that no student's code can choose."""
    if _is_not_own(error):
        return NOT_OWN
    if isinstance(error, WorkerGone):
        return _plain(str(error))
    if isinstance(error, NotImplementedError):
        return NOT_WRITTEN
    if not cell.hidden:
        return telling.fixed_words(type(error).__name__, str(error), cell.source)
    if getattr(error, "student_line", None) is None:
        return HIDDEN
    return f"{HIDDEN}: {telling.fixed_words(type(error).__name__, '', '')}"


def _is_not_own(error: BaseException) -> bool:
    return type(error).__name__ == worker.NotOwnWork.__name__


def _plain(gone: str) -> str:
    """Return why a process is gone, without what it said itself."""
    return next((why for why in (TOO_LONG, ENDED) if gone.startswith(why)), BROKEN)


def _words_on_the_end(name: str, why: str) -> Words:
    return Words(name, f"{name}: {_plain(why)}.", "endless" if why == TOO_LONG else None)


def _hung(why: str) -> Any:
    def not_called_again(*_: Any, **__: Any) -> None:
        raise WorkerGone(f"{why} when it was called before")

    return not_called_again


def _said(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _printable(text: str, longest: int) -> str:
    """Return text from a student's process without what a terminal or a page could obey."""
    kept = "".join(c for c in text if c.isprintable() or c == "\n")
    return kept if len(kept) <= longest else kept[: longest - 3] + "..."
