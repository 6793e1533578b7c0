"""What a student meets who presses Validate: seconds, no weights, and sentences that help.

That every cell of every notebook runs, solved and untouched, is nbval's part (``make test``, and
the conftest.py in the repository's root).
"""

from __future__ import annotations

import subprocess
import sys

import nbformat
import pytest

from tests.notebooks.lessons import GRADED, NOTEBOOKS, mark, read, solved


@pytest.mark.timeout(600)
@pytest.mark.parametrize("lesson", GRADED)
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
