"""Building a released notebook: with the course's own configuration, on lessons made here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
SOLUTION = """\
import torch


def twice(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION
"""


def _cell(source: str, *tags: str, grade_id: str = "", points: int | None = None):
    cell = nbformat.v4.new_code_cell(source)
    if tags:
        cell.metadata["tags"] = list(tags)
    if grade_id:
        graded = points is not None
        cell.id = grade_id
        cell.metadata["nbgrader"] = {
            **{"grade": graded, "solution": not graded, "locked": graded, "task": False},
            **{"grade_id": grade_id, "schema_version": 3},
            **({"points": points} if graded else {}),
        }
    return cell


@pytest.fixture
def release(tmp_path):
    """Build a lesson of these cells as ``make release`` does; return the outcome and its cells."""
    for name in ("nbgrader_config.py", "autotests.yml"):
        shutil.copy(ROOT / name, tmp_path)

    def build(*cells, options: tuple[str, ...] = ()):
        notebook = nbformat.v4.new_notebook(cells=list(cells))
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        path = tmp_path / "solutions" / "lesson" / "lesson.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
        command = [sys.executable, "-m", "nbgrader", "generate_assignment", "lesson", "--no-db"]
        done = subprocess.run(
            [*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        made = tmp_path / "notebooks" / "lesson" / "lesson.ipynb"
        return done, nbformat.read(made, as_version=4).cells if made.exists() else None

    return build


def test_a_released_cell_holds_a_stub_and_a_measured_value(release):
    done, cells = release(
        _cell(SOLUTION, grade_id="twice"),
        _cell("# Graded, 2 points: the values\n### AUTOTEST twice(3)", grade_id="t", points=2),
    )
    assert done.returncode == 0, done.stderr
    stub, test = (cell.source.rstrip() for cell in cells)
    assert stub.endswith('    # YOUR CODE HERE\n    raise NotImplementedError("not written yet")')
    assert test.endswith(
        "from nst_helpers.checker.autotest import agree, measure\n\n"
        'agree(\n    measure(twice(3)),\n    \'["int", 6.0]\',\n    """twice(3)""",\n)'
    )
    assert max(map(len, test.splitlines())) <= 100


def test_cells_that_need_an_answer_may_raise_and_no_others(release):
    done, cells = release(
        _cell("print(1)"),
        _cell(SOLUTION, grade_id="twice"),
        _cell("twice(2)", "needs-answer", "hide-input"),
        _cell("assert twice(1) == 2", grade_id="t", points=1),
    )
    assert done.returncode == 0, done.stderr
    tags = [cell.metadata.get("tags", []) for cell in cells]
    assert tags == [[], [], ["hide-input", "raises-exception"], ["raises-exception"]]


def test_demonstrations_are_not_run(release):
    done, cells = release(
        _cell("raise SystemError('a demonstration was run')", "skip-execution"),
        _cell(SOLUTION, grade_id="twice"),
        _cell("### AUTOTEST twice(3)", grade_id="t", points=1),
    )
    assert done.returncode == 0, done.stderr
    assert len(cells) == 3


def test_a_solution_that_the_checker_rejects_stops_the_build(release):
    wrong = "def gram_matrix(tensor):\n    ### BEGIN SOLUTION\n    return tensor[0, 0]\n"
    done, cells = release(
        _cell(wrong + "    ### END SOLUTION", grade_id="gram_matrix"),
        _cell("from nst_helpers.checker import check\ncheck(gram_matrix)", "needs-answer"),
        _cell("### AUTOTEST 1 + 1", grade_id="t", points=1),
    )
    assert done.returncode != 0
    assert "gram_matrix: not yet" in done.stderr
    assert cells is None


def test_a_solution_that_never_ends_stops_the_build_with_a_sentence(release):
    done, cells = release(
        _cell("while True:\n    pass"),
        _cell("### AUTOTEST 1 + 1", grade_id="t", points=1),
        options=("--MeasureSolutions.seconds=2",),
    )
    assert done.returncode != 0
    assert "ran longer than 2 seconds" in done.stderr
    assert cells is None
