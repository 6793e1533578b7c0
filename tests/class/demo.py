"""``python -m tests.class.demo``: grade the class, and print expected and given marks."""

from __future__ import annotations

import contextlib
import csv
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from . import course
from .students import LESSON, Student, everyone

# Nothing in the class needs longer, even on a busy machine, except what never ends.
COMMAND = ("nst_helpers.cli", "grade", LESSON, "--seconds", "10")


@contextlib.contextmanager
def class_in(grounds: Path) -> Iterator[tuple[Path, list[Student], Callable[[], list[str]]]]:
    """Make the class in a new folder.

    Gives its course, the students, and a function that says what was touched since: files that may
    not change, and the port that may not be reached.
    """
    with course.listener() as (port, heard):
        students = everyone(grounds, port)
        home, canary = grounds / "course", grounds / "canary"
        canary.mkdir(parents=True)
        (canary / "file").write_text("unchanged")
        course.make(home, students)
        watched = (canary, home / "solutions", home / ".course" / "submitted")
        before = course.digests(*watched)

        def touched() -> list[str]:
            changed = {path for path, _ in before.items() ^ course.digests(*watched).items()}
            return [*sorted(changed), *(f"127.0.0.1: {text!r}" for text in heard)]

        yield home, students, touched


def given(home: Path) -> dict[str, float]:
    """Return the marks of the CSV; what could not be graded has none."""
    return {row["student"]: float(row["score"] or "nan") for row in _rows(home)}


def said(home: Path) -> dict[str, str]:
    """Return what the CSV tells the instructor about each student."""
    return {row["student"]: row["notes"] for row in _rows(home)}


def _rows(home: Path) -> list[dict[str, str]]:
    with (home / ".course" / "grading" / "marks.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> int:
    """Print the table; return 1 if a mark differs or something was touched."""
    with tempfile.TemporaryDirectory() as folder, class_in(Path(folder)) as made:
        home, students, touched = made
        print(f"Grading {len(students)} submissions ...", flush=True)
        course.run(home, *COMMAND, ok=(0, 1))
        marks, wrong = given(home), 0
        print(f"{'student':50} {'expected':>8} {'given':>8}")
        for student in students:
            mark = marks.get(student.name, float("nan"))
            equal = mark == student.points
            wrong += not equal
            print(f"{student.name:50} {student.points:8g} {mark:8g}{'' if equal else '  DIFFERS'}")
        spoiled = touched()
    print(f"{len(students)} students, {len(students) - wrong} marks as expected, {wrong} not.")
    print("\n".join(f"TOUCHED: {path}" for path in spoiled) or "Nothing was touched.")
    return int(bool(wrong or spoiled))


if __name__ == "__main__":
    sys.exit(main())
