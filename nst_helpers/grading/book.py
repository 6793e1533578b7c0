"""Enters the judge's marks into nbgrader's gradebook, and the files that go with them.

One process writes, a student at a time, in small transactions. To enter a record again changes
nothing, so a run that was killed in between is put right by the next one.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.api import BaseCell, Comment, Grade, Gradebook, MissingEntry, SubmittedNotebook
from nbgrader.apps import NbGrader
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy.exc import OperationalError, SAWarning

from nst_helpers.errors import NstError, module_command
from nst_helpers.grading.feedback import MARKER, Pages
from nst_helpers.grading.records import TIMESTAMP, Record, write_whole
from nst_helpers.grading.salvage import Unreadable, read_file

# What nbgrader keeps beside a notebook, and needs to release its feedback.
_KEPT_BESIDE = (TIMESTAMP, "submission_secret.txt")
_LARGEST_BESIDE = 4096
_LARGEST_AUTOGRADED = 32 << 20
# How long to wait while formgrader or another nbgrader writes.
_PATIENCE = 60


def open_course() -> NbGrader:
    """Return nbgrader's application with the configuration of the course in this folder.

    Raises:
        NstError: this folder holds no course.
    """
    if not Path("nbgrader_config.py").is_file():
        raise NstError(
            f"{Path.cwd()} holds no nbgrader_config.py; run this in the folder of the course."
        )
    app = NbGrader()
    app.initialize([f"--log-level={logging.ERROR}"])
    return app


class Book:
    """The gradebook of a course, open for writing.

    Args:
        app: nbgrader's application.
    """

    def __init__(self, app: NbGrader) -> None:
        self.course = app.coursedir
        url = self.course.db_url
        if url.startswith("sqlite:///") and "?" not in url:
            url += f"?timeout={_PATIENCE}"
        self._gradebook = Gradebook(url, self.course.course_id)
        steps = AssignLatePenalties(parent=app)
        steps.init_plugin()
        self._late_plugin = steps.plugin_inst
        self._pages = Pages(app)

    def close(self) -> None:
        """Close the gradebook."""
        self._gradebook.close()

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self, lesson: str, source: Path) -> None:
        """See that the gradebook knows a lesson's graded cells.

        Raises:
            NstError: it does not; the message says what to do.
        """
        # Without --force nbgrader passes over a lesson that notebooks/ holds, as every clone does.
        again = f"run: {module_command('nbgrader', 'generate_assignment', lesson, '--force')}"
        if not source.is_file():
            raise NstError(f"There is no lesson {lesson}: {source} is missing.")
        try:
            notebooks = self._gradebook.find_assignment(lesson).notebooks
            known = {cell.name: cell.max_score for cell in notebooks[0].grade_cells}
        except (MissingEntry, IndexError):
            raise NstError(f"The gradebook does not know {lesson} yet; {again}") from None
        cells = nbformat.read(source, as_version=4).cells
        wanted = {
            cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.points
            for cell in cells
            if utils.is_grade(cell)
        }
        if known != wanted or [entry.name for entry in notebooks] != [lesson]:
            differ = ", ".join(sorted({name for name, _ in known.items() ^ wanted.items()}))
            raise NstError(
                f"The gradebook and {source.name} disagree about the graded cells of {lesson}"
                f"{f' ({differ})' if differ else ''}; {again}"
            )

    def kernel_marks(self, student: str, lesson: str) -> dict[str, tuple[float, str]] | None:
        """Return what ``nbgrader autograde`` gave to this submission, by cell, and why.

        None if it was not run since the submission came, or if its marks were replaced by the
        judge's.
        """
        folder = Path(self.course.format_path(self.course.autograded_directory, student, lesson))
        handed_in = Path(self.course.format_path(self.course.submitted_directory, student, lesson))
        notebook = _autograded(folder / f"{lesson}.ipynb")
        if notebook is None or notebook.metadata.get(MARKER):
            return None
        if _beside(folder / TIMESTAMP) != _beside(handed_in / TIMESTAMP):
            return None
        with contextlib.suppress(MissingEntry):
            entry = self._gradebook.find_submission_notebook(lesson, lesson, student)
            return {
                name: (grade.auto_score, _kernels_reason(notebook, name))
                for name, grade in self._grades(entry)
                if grade.auto_score is not None
            }
        return None

    def holds(self, record: Record) -> bool:
        """Return whether a record's marks and files are in place."""
        student, lesson = record.student, record.lesson
        try:
            entry = self._gradebook.find_submission_notebook(lesson, lesson, student)
        except MissingEntry:
            return False
        given = {name: grade.auto_score for name, grade in self._grades(entry)}
        notebook, page = self._paths(record)
        marked = _autograded(notebook)
        return (
            given == {mark["grade_id"]: mark["points"] for mark in record.marks}
            and marked is not None
            and bool(marked.metadata.get(MARKER))
            and page.is_file()
        )

    def enter(self, record: Record) -> None:
        """Put a record's marks into the gradebook, its notebook and its page into their places.

        Marks that a person gave, and their comments, stay and come before the judge's.

        Raises:
            NstError: the gradebook is in use by another process for too long.
        """
        notebook = nbformat.from_dict(json.loads(record.notebook))
        path, page = self._paths(record)
        shared = self.course.groupshared
        # The notebook says that marks are the judge's before they are: see kernel_marks.
        write_whole(path, nbformat.writes(notebook).encode(), 0o664 if shared else 0o444)
        try:
            scores, late = self._entered(record, notebook)
        except OperationalError as error:
            self.undo()
            raise NstError(
                f"The gradebook cannot be written ({error.orig}); close what else uses it, and "
                f"run the same command again: it goes on where it stopped."
            ) from error
        text = self._pages.page(notebook, record.lesson, scores, late)
        write_whole(page, text.encode(), 0o664 if shared else 0o644)
        handed_in = self._folder(self.course.submitted_directory, record)
        for name in _KEPT_BESIDE:
            data = _beside(handed_in / name)
            for folder in (path.parent, page.parent):
                if data is not None:
                    write_whole(folder / name, data, 0o664 if shared else 0o644)

    def undo(self) -> None:
        """Forget what was not written to its end."""
        self._gradebook.db.rollback()

    def scores(self, lesson: str) -> Iterator[tuple[str, float, float]]:
        """Give each student's id, points without what being late cost, and what it cost."""
        assignment = self._gradebook.find_assignment(lesson)
        for submission in assignment.submissions:
            for entry in submission.notebooks:
                yield submission.student.id, entry.score, entry.late_submission_penalty or 0.0

    def _folder(self, step: str, record: Record) -> Path:
        return Path(self.course.format_path(step, record.student, record.lesson))

    def _paths(self, record: Record) -> tuple[Path, Path]:
        autograded = self._folder(self.course.autograded_directory, record)
        feedback = self._folder(self.course.feedback_directory, record)
        return autograded / f"{record.lesson}.ipynb", feedback / f"{record.lesson}.html"

    def _grades(self, entry: SubmittedNotebook) -> Iterator[tuple[str, Grade]]:
        rows = self._gradebook.db.query(BaseCell.name, Grade).join(
            Grade, Grade.cell_id == BaseCell.id
        )
        yield from rows.filter(Grade.notebook_id == entry.id)

    def _entered(self, record: Record, notebook: NotebookNode) -> tuple[dict[str, float], float]:
        """Write one student's marks; return the points that count, and the late penalty."""
        book, student, lesson = self._gradebook, record.student, record.lesson
        book.update_or_create_student(student)
        sent = _time_of(self._folder(self.course.submitted_directory, record))
        details = {} if sent is None else {"timestamp": sent}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # about how nbgrader itself does it
            submission = book.update_or_create_submission(lesson, student, **details)
        entry = book.find_submission_notebook(lesson, lesson, student)
        grades = dict(self._grades(entry))
        for mark in record.marks:
            grade = grades[mark["grade_id"]]
            grade.auto_score = mark["points"]
            grade.needs_manual_grade = grade.manual_score is not None
        for comment in book.db.query(Comment).filter(Comment.notebook_id == entry.id):
            written = comment.name in record.answered
            comment.auto_comment = None if written else "No response."
        book.db.flush()
        book.db.expire_all()
        entry.late_submission_penalty = self._penalty(student, entry, submission.total_seconds_late)
        book.db.commit()
        for comment in book.db.query(Comment).filter(Comment.notebook_id == entry.id):
            for cell in notebook.cells:
                about = cell.metadata.get("nbgrader", {})
                if about.get("solution") and about.get("grade_id") == comment.name:
                    about["comment"] = comment.comment
        scores = {name: grade.score for name, grade in self._grades(entry)}
        return scores, entry.late_submission_penalty or 0.0

    def _penalty(self, student: str, entry: SubmittedNotebook, seconds: float) -> float | None:
        """Return what nbgrader's plug-in takes off, within what there is to take."""
        if seconds <= 0:
            return None
        penalty = self._late_plugin.late_submission_penalty(student, entry.score, seconds)
        return None if penalty is None else min(max(penalty, 0), entry.score)


def _autograded(path: Path) -> NotebookNode | None:
    try:
        if path.stat().st_size > _LARGEST_AUTOGRADED:
            return None
        return nbformat.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None


def _kernels_reason(notebook: NotebookNode, grade_id: str) -> str:
    """Return what a cell that ran in the student's kernel shows for its points."""
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id:
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    return f"it stopped with {output.ename}"
                if output.output_type == "stream" and output.name == "stderr":
                    return "it wrote to stderr"
            return "it ran without an error"
    return "its cell was missing"


def _beside(path: Path) -> bytes | None:
    """Return a small file, or None if it is missing, no file or not small."""
    try:
        data = read_file(path)
    except Unreadable:
        return None
    return data if len(data) <= _LARGEST_BESIDE else None


def _time_of(folder: Path) -> datetime.datetime | None:
    """Return when a submission was sent, as far as its timestamp can be read."""
    text = (_beside(folder / TIMESTAMP) or b"").decode(errors="replace").strip()
    try:
        return utils.parse_utc(text) if text else None
    except Exception:  # dateutil raises many kinds
        return None
