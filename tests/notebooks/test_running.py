"""Lessons run from top to bottom, whatever a student has written so far."""

from __future__ import annotations

import subprocess
import sys

import nbformat
import pytest

from nst_helpers.grading.release import MAY_RAISE
from tests.notebooks.lessons import (
    GRADED,
    NOTEBOOKS,
    SOLUTIONS,
    errors,
    first_half,
    mark,
    read,
    run,
    solution_cells,
    solved,
    tags,
)

NOT_WRITTEN = {"NotImplementedError", "NotYet"}

each_lesson = pytest.mark.parametrize("lesson", GRADED)
pytestmark = pytest.mark.timeout(900)


def _may_raise(notebook) -> set[str]:
    return {cell.id for cell in notebook.cells if MAY_RAISE in tags(cell)}


def _stderr(notebook) -> dict[str, str]:
    return {
        cell.id: output.text
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    }


@each_lesson
def test_untouched_exactly_the_tagged_cells_raise(lesson, tmp_path):
    notebook = run(read(NOTEBOOKS, lesson), tmp_path, whole=True)
    raised = errors(notebook)
    assert set(raised) == _may_raise(notebook)
    assert set(raised.values()) <= NOT_WRITTEN, raised
    assert not _stderr(notebook)


@each_lesson
def test_solved_nothing_raises_or_warns(lesson, tmp_path):
    notebook = run(solved(lesson), tmp_path, whole=False)
    assert not errors(notebook)
    assert not _stderr(notebook)


@each_lesson
def test_half_solved_only_what_is_left_raises(lesson, tmp_path):
    written = first_half(lesson)
    notebook = run(solved(lesson, written), tmp_path, whole=False)
    raised = errors(notebook)
    assert set(raised) <= _may_raise(notebook)
    assert set(raised.values()) <= NOT_WRITTEN, raised
    graded = {cell.id for cell in notebook.cells if mark(cell).get("grade")}
    left = {name for name in graded if name.rpartition("-")[0] not in written}
    assert graded & set(raised) == left


@each_lesson
def test_with_an_answer_that_raises_the_rest_still_runs(lesson, tmp_path):
    notebook = read(NOTEBOOKS, lesson)
    for name, cell in solution_cells(notebook).items():
        source = cell.source.replace("NotImplementedError", "ZeroDivisionError")
        assert source != cell.source, name
        cell.source = source
    raised = errors(run(notebook, tmp_path, whole=False))
    assert raised
    assert set(raised) <= _may_raise(notebook)


@each_lesson
@pytest.mark.parametrize("written", ["solved", "untouched"])
def test_nbgrader_validates_without_weights(lesson, written, tmp_path, monkeypatch):
    monkeypatch.setenv("NST_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("NST_SHARED_WEIGHTS", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    notebook = solved(lesson) if written == "solved" else read(NOTEBOOKS, lesson)
    path = tmp_path / f"{lesson}.ipynb"
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "nbgrader", "validate", path.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    if written == "solved":
        assert "Success! Your notebook passes all the tests." in said
        return
    graded = [cell for cell in notebook.cells if mark(cell).get("grade")]
    assert f"failed on {len(graded)} cell(s)" in said.lower()
    assert "\x1b[" not in done.stdout
    # What a student reads is a sentence of ours, not the inside of the checker.
    assert "nst_helpers/" not in done.stdout


def test_the_solutions_hold_no_answer_but_the_one_shown():
    """A lesson's exercises are solved in it once, so a test that swaps answers swaps them all."""
    for lesson in GRADED:
        assert (
            solution_cells(read(SOLUTIONS, lesson)).keys()
            == solution_cells(read(NOTEBOOKS, lesson)).keys()
        )
