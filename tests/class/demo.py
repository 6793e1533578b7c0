"""``python -m tests.class.demo``: grade the class, and print expected and given marks."""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

from . import course
from .students import LESSON, Student, everyone

# Nothing in the class needs longer, except what never ends.
SECONDS = "6"


def graded(grounds: Path) -> tuple[list[Student], dict[str, float], list[str]]:
    """Grade the class in a new folder; return it, the marks given, and what was touched."""
    with course.listener() as (port, heard):
        students = everyone(grounds, port)
        home, canary = grounds / "course", grounds / "canary"
        canary.mkdir(parents=True)
        (canary / "file").write_text("unchanged")
        course.make(home, students)
        watched = (canary, home / "solutions", home / ".course" / "submitted")
        before = course.digests(*watched)
        course.run(home, "nst_helpers.cli", "grade", LESSON, "--seconds", SECONDS)
        touched = [path for path, _ in before.items() ^ course.digests(*watched).items()]
        touched += [f"127.0.0.1: {text!r}" for text in heard]
    with (home / ".course" / "grading" / "marks.csv").open(newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    given = {name: float(row["score"] or "nan") for name, row in rows.items()}
    return students, given, sorted(set(touched))


def main() -> int:
    """Print the table; return 1 if a mark differs or something was touched."""
    with tempfile.TemporaryDirectory() as folder:
        students, given, touched = graded(Path(folder) / "grounds")
        wrong = 0
        print(f"{'student':55} {'expected':>8} {'given':>8}")
        for student in students:
            mark = given.get(student.name, float("nan"))
            equal = mark == student.points
            wrong += not equal
            print(f"{student.name:55} {student.points:8g} {mark:8g}{'' if equal else '  DIFFERS'}")
        print(f"{len(students)} students, {len(students) - wrong} marks as expected, {wrong} not.")
        print("\n".join(f"TOUCHED: {path}" for path in touched) or "Nothing was touched.")
        return int(bool(wrong or touched))


if __name__ == "__main__":
    sys.exit(main())
