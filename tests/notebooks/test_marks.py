"""Lessons released, solved and graded with plain nbgrader, as far as a student got."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from conftest import NOT_WRITTEN
from nst_helpers.grading.release import MAY_RAISE
from tests.notebooks.lessons import (
    GRADED,
    NOTEBOOKS,
    ROOT,
    SOLUTIONS,
    assert_in_step,
    errors,
    first_half,
    graded_cells,
    mark,
    path_of,
    read,
    solution_cells,
    solved,
    tags,
)


def _nbgrader(course: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def _raising(lesson: str):
    """Return a notebook in which every answer stops with an error of its own."""
    notebook = read(NOTEBOOKS, lesson)
    for name, cell in solution_cells(notebook).items():
        source = cell.source.replace("NotImplementedError", "ZeroDivisionError")
        assert source != cell.source, name
        cell.source = source
    return notebook


@pytest.mark.timeout(900)
@pytest.mark.parametrize("lesson", GRADED)
def test_marks_are_what_was_solved_and_all_else_still_runs(lesson, tmp_path):
    for name in ("nbgrader_config.py", "autotests.yml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(SOLUTIONS / lesson, tmp_path / "solutions" / lesson)
    _nbgrader(tmp_path, "generate_assignment", lesson)
    assert_in_step(tmp_path / "notebooks" / lesson)

    half, released = first_half(lesson), read(NOTEBOOKS, lesson)
    students = {
        "all": solved(lesson),
        "none": released,
        "half": solved(lesson, half),
        "raising": _raising(lesson),
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
    everything, some = sum(points.values()), sum(points[name] for name in half)
    with Gradebook(f"sqlite:///{tmp_path / '.course' / 'gradebook.db'}") as book:
        given = {student: book.find_submission(lesson, student).score for student in students}
        assert book.find_assignment(lesson).max_score == everything
    assert given == {"all": everything, "none": 0, "half": some, "raising": 0}

    may_raise = {cell.id for cell in released.cells if MAY_RAISE in tags(cell)}
    graded = graded_cells(released)
    raised = {
        student: errors(read(tmp_path / ".course" / "autograded" / student, lesson))
        for student in students
    }
    assert not raised["all"]
    assert set(raised["half"].values()) <= NOT_WRITTEN
    failed = {name for name, cells in graded.items() if {c.id for c in cells} & set(raised["half"])}
    assert failed == set(graded) - set(half)
    for cells in raised.values():
        assert set(cells) <= may_raise
