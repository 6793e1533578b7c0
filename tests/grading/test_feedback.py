"""What students and graders are shown."""

from __future__ import annotations

import json

import nbformat
import pytest

from nst_helpers.grading.book import open_course
from nst_helpers.grading.feedback import MARKER, Pages
from tests.grading import small

ATTACK = "<script>alert(1)</script> [x](javascript:alert(2)) <img src=x onerror=alert(3)>"


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Return the notebook that is shown, and the page made of it."""
    small.make_course(tmp_path)
    monkeypatch.chdir(tmp_path)
    pages = Pages(open_course())

    def make(extra=(), notes=(), late=0.0):
        record = small.record(tmp_path, "anna", extra=extra, notes=notes)
        notebook = nbformat.from_dict(json.loads(record.notebook))
        marks = {"double-values": 2.0, "double-hidden": 0.0}
        return notebook, pages.page(notebook, small.LESSON, marks, late)

    return make


def test_a_page_shows_marks_reasons_and_the_checkers_words(page):
    notebook, text = page()
    nbformat.validate(notebook)
    assert notebook.metadata[MARKER]
    assert "(Score: 2.0 / 3.0)" in text
    assert "2 of 2 points: the values." in text
    assert "0 of 1 points: more; told." in text
    assert "double: not yet.<br>  - twice &lt;b&gt;too&lt;/b&gt; large" in text
    assert "def" in text


def test_hidden_tests_are_in_neither_the_notebook_nor_the_page(page):
    notebook, text = page()
    assert small.SECRET not in text
    assert small.SECRET not in json.dumps(notebook)
    assert "HIDDEN" not in json.dumps(notebook)


@pytest.mark.parametrize("make", ["new_markdown_cell", "new_raw_cell"])
def test_what_a_student_wrote_is_shown_as_text_and_runs_nowhere(page, make):
    cell = getattr(nbformat.v4, make)(ATTACK, id="own")
    cell["attachments"] = {"x": {"text/html": ATTACK}}
    notebook, text = page(extra=[cell])
    assert "alert(1)" in text
    for harm in ("<script>alert", "<img src=x", 'href="javascript:'):
        assert harm not in text
    assert "attachments" not in notebook.cells[-1]


def test_code_of_a_students_own_is_escaped(page):
    _, text = page(extra=[nbformat.v4.new_code_cell(f"text = '''{ATTACK}'''", id="own")])
    assert "<script>alert" not in text


def test_more_text_than_anyone_reads_is_left_out(page):
    _, text = page(extra=[nbformat.v4.new_code_cell("# word\n" * 40_000, id="own")])
    assert "too much text of your own" in text
    assert len(text) < 1_000_000


def test_repairs_are_told_at_the_top(page):
    notebook, text = page(notes=["its <tests> were missing."])
    assert notebook.cells[0].id == "repaired"
    assert "its &lt;tests&gt; were missing." in text


def test_a_late_penalty_is_shown_and_taken_off(page):
    _, text = page(late=1.5)
    assert "(Score: 0.5 / 3.0)" in text
    assert "Score: -1.5" in text
