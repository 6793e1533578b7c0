"""Marks that plain nbgrader gives: all for the solutions, none untouched, half for half."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from tests.notebooks.lessons import (
    GRADED,
    NOTEBOOKS,
    ROOT,
    SOLUTIONS,
    first_half,
    graded_cells,
    mark,
    path_of,
    read,
    solved,
)

pytestmark = pytest.mark.timeout(600)


def _nbgrader(course: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("lesson", GRADED)
def test_marks_are_what_was_solved(lesson, tmp_path):
    for name in ("nbgrader_config.py", "autotests.yml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(SOLUTIONS / lesson, tmp_path / "solutions" / lesson)
    _nbgrader(tmp_path, "generate_assignment", lesson)
    half = first_half(lesson)
    students = {
        "all": solved(lesson),
        "none": read(NOTEBOOKS, lesson),
        "half": solved(lesson, half),
    }
    for student, notebook in students.items():
        path = path_of(tmp_path / ".course" / "submitted" / student, lesson)
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
    _nbgrader(tmp_path, "autograde", lesson)
    points = {
        name: sum(mark(cell)["points"] for cell in cells)
        for name, cells in graded_cells(read(SOLUTIONS, lesson)).items()
    }
    with Gradebook(f"sqlite:///{tmp_path / '.course' / 'gradebook.db'}") as book:
        given = {s: book.find_submission(lesson, s).score for s in students}
        assert book.find_assignment(lesson).max_score == sum(points.values())
    assert given == {"all": sum(points.values()), "none": 0, "half": sum(points[n] for n in half)}
