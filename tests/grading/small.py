"""A small course with a real gradebook and no notebook to run, for tests of what comes after."""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook

from nst_helpers.grading.feedback import shown
from nst_helpers.grading.judge import CellMark, Verdict, Words
from nst_helpers.grading.records import Record
from nst_helpers.grading.repair import Repaired

LESSON = "03_double"
SECRET = "the hidden number is 4711"
# Folders that are not nbgrader's usual ones: paths come from the configuration.
CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "small"
c.CourseDirectory.root = {root!r}
c.CourseDirectory.source_directory = "lessons"
c.CourseDirectory.submitted_directory = "state/handed-in"
c.CourseDirectory.autograded_directory = "state/looked-at"
c.CourseDirectory.feedback_directory = "state/told"
c.CourseDirectory.db_url = "sqlite:///{root}/state/book.db"
c.LateSubmissionPlugin.penalty_method = "zero"
"""


def _cell(source: str, identity: str, points: int | None = None):
    cell = nbformat.v4.new_code_cell(source, id=identity)
    graded = points is not None
    cell.metadata["nbgrader"] = {
        **{"grade": graded, "solution": not graded, "locked": graded, "task": False},
        **{"grade_id": identity, "schema_version": 3},
        **({"points": points} if graded else {}),
    }
    return cell


def lesson():
    """Return the notebook of the lesson: one exercise, a shown and a hidden test."""
    answer = "    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    hidden = f"### BEGIN HIDDEN TESTS\nassert '{SECRET}'\n### END HIDDEN TESTS\nassert double(2)"
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Double", id="title"),
            _cell(f"def double(x):\n{answer}", "double"),
            _cell("# Graded, 2 points: the values\nassert double(1) == 2", "double-values", 2),
            _cell(f"# Graded, 1 point: more\n{hidden}", "double-hidden", 1),
        ]
    )


def make_course(root: Path, due: str | None = None) -> None:
    """Make the course: its configuration, the lesson, and a gradebook that knows it."""
    (root / "lessons" / LESSON).mkdir(parents=True)
    (root / "state").mkdir()
    (root / "nbgrader_config.py").write_text(CONFIG.format(root=str(root)))
    nbformat.write(lesson(), root / "lessons" / LESSON / f"{LESSON}.ipynb")
    (root / "state" / "book.db").write_bytes(_gradebook(due))


@functools.cache
def _gradebook(due: str | None) -> bytes:
    """Return the file of a new gradebook, which takes nbgrader seconds to make."""
    # nbgrader calls alembic by name; it is found without activating the environment.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        with Gradebook(f"sqlite:///{folder}/book.db", "small") as book:
            book.add_assignment(LESSON, **({"duedate": due} if due else {}))
            book.add_notebook(LESSON, LESSON)
            book.add_solution_cell("double", LESSON, LESSON)
            for name, points in (("double-values", 2), ("double-hidden", 1)):
                book.add_grade_cell(name, LESSON, LESSON, max_score=points, cell_type="code")
        return (Path(folder) / "book.db").read_bytes()


def hand_in(root: Path, student: str, *, sent: str = "2026-10-05 09:30:00 UTC") -> Path:
    """Let a student hand in the lesson as it is; return the folder."""
    folder = root / "state" / "handed-in" / student / LESSON
    folder.mkdir(parents=True)
    nbformat.write(lesson(), folder / f"{LESSON}.ipynb")
    (folder / "timestamp.txt").write_text(sent)
    (folder / "submission_secret.txt").write_text(f"secret of {student}")
    return folder


def mark_in_kernel(root: Path, student: str, points: dict[str, float]) -> None:
    """Put points into the gradebook as ``nbgrader autograde`` does."""
    with Gradebook(f"sqlite:///{root}/state/book.db", "small") as book:
        book.add_student(student)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how nbgrader itself does it
            book.add_submission(LESSON, student)
        for name, given in points.items():
            book.find_grade(name, LESSON, LESSON, student).auto_score = given
        book.db.commit()


def record(root: Path, student: str, *, points: float = 2, extra=(), notes=()) -> Record:
    """Return the record of a submission: ``points`` of 2 for the values, nothing hidden right."""
    notebook = lesson()
    notebook.cells += extra
    values = CellMark("double-values", "double", "the values", points, 2, False, False, points > 0)
    hidden = CellMark(
        "double-hidden", "double", "more", 0, 1, False, True, False, "a test does not hold", "told"
    )
    words = Words("double", "double: not yet.\n  - twice <b>too</b> large", "doubled")
    verdict = Verdict(LESSON, (values, hidden), (), (words,), "", False, 0.1)
    source = root / "lessons" / LESSON / f"{LESSON}.ipynb"
    page = shown(Repaired(notebook, tuple(notes), ()), source, verdict)
    return Record(
        **{"student": student, "lesson": LESSON, "submission": "a", "grader": "b"},
        **{"marks": verdict.as_dict()["marks"], "words": verdict.as_dict()["words"]},
        **{"notes": list(notes), "answered": [], "notebook": json.dumps(page)},
    )
