"""What an instructor sees after ``nst grade``: formgrader's tables, a submission, feedback."""

from __future__ import annotations

import shutil
import subprocess
import sys

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import serving
from tests.browser.jupyter import MINUTE
from tests.notebooks.lessons import (
    NOTEBOOKS,
    ROOT,
    SOLUTIONS,
    path_of,
    read,
    solution_cells,
    solved,
)

LESSON = "03_gram_matrix"
POINTS = 13


def _divided():
    """Return a notebook whose only answer is divided by what the contract does not divide by."""
    notebook = read(NOTEBOOKS, LESSON)
    solution_cells(notebook)["gram_matrix"].source = (
        "def gram_matrix(tensor):\n"
        "    features = tensor.flatten(2)[0]\n"
        "    return features @ features.T / tensor.numel()"
    )
    return notebook


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of one lesson and two students, graded."""
    folder = tmp_path_factory.mktemp("course")
    for name in ("nbgrader_config.py", "autotests.yml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(SOLUTIONS / LESSON, folder / "solutions" / LESSON)
    for student, notebook in {"ada": solved(LESSON), "ben": _divided()}.items():
        path = path_of(folder / ".course" / "submitted" / student, LESSON)
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
    for module, *arguments in (
        ("nbgrader", "generate_assignment", LESSON),
        ("nst_helpers.cli", "grade", LESSON),
    ):
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def server(course, tmp_path_factory):
    with serving(course, tmp_path_factory.mktemp("home")) as lab:
        yield lab


@pytest.mark.timeout(600)
def test_formgrader_shows_marks_and_submissions(page, server):
    page.goto(f"{server.url}/lab?token={server.token}")  # formgrader's pages take no token
    expect(page).to_have_title("JupyterLab", timeout=MINUTE)
    page.goto(f"{server.url}/formgrader/gradebook/{LESSON}/{LESSON}")
    table = page.locator("table")
    expect(table).to_contain_text(f"{POINTS} / {POINTS}", timeout=MINUTE)
    expect(table).to_contain_text(f"1 / {POINTS}")
    # Students are anonymous until the instructor asks who they are.
    page.locator("table a", has_text="Submission #").first.click()
    submission = page.locator("body")
    expect(submission).to_contain_text("Submission 1 / 2", timeout=MINUTE)
    expect(submission).to_contain_text("gram_matrix-values")


def test_feedback_says_what_the_checker_says_and_no_hidden_test(page, course):
    feedback = course / ".course" / "feedback" / "ben" / LESSON / f"{LESSON}.html"
    page.route("http*://**", lambda route: route.abort())  # a page that reads without a network
    page.goto(feedback.as_uri())
    text = page.locator("body").inner_text()
    assert "gram_matrix: not yet." in text
    assert "times too small" in text
    assert "batch_gram_matrix" in text
    hidden = [
        line.strip()
        for cell in read(SOLUTIONS, LESSON).cells
        if "### BEGIN HIDDEN TESTS" in cell.source
        for line in cell.source.split("### BEGIN HIDDEN TESTS")[1].splitlines()
        if line.startswith("### AUTOTEST ")
    ]
    assert hidden
    for line in hidden:
        assert line.removeprefix("### AUTOTEST ") not in text
    report = page.locator("[role=status]").first
    expect(report).to_be_visible()
