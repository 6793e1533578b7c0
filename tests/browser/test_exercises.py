"""An exercise as a student meets it: a wrong answer, a report, the right one, and Validate."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.jupyter import MINUTE, open_notebook, run_cell, write_cell

LESSON = "notebooks/03_gram_matrix/03_gram_matrix.ipynb"
WRONG = """\
def gram_matrix(tensor):
    features = tensor.flatten(2)[0]
    return features @ features.T / tensor.numel()
"""
RIGHT = """\
def gram_matrix(tensor):
    features = tensor.flatten(2)[0]
    return features @ features.T
"""
BONUS = """\
def batch_gram_matrix(tensor):
    features = tensor.flatten(2)
    return features @ features.mT
"""


@pytest.fixture
def lesson(page, lab):
    """The lesson on Gram matrices in JupyterLab, its first cell run."""
    open_notebook(page, lab, LESSON)
    run_cell(page, "setup")
    return page


def _validated(page) -> str:
    """Press Validate and return what its dialogue says."""
    page.get_by_role("button", name="Validate", exact=True).click()
    dialogue = page.locator(".jp-Dialog")
    expect(dialogue).to_be_visible(timeout=2 * MINUTE)
    expect(dialogue).to_contain_text("Validation Results", timeout=MINUTE)
    text = dialogue.inner_text()
    dialogue.get_by_role("button").last.click()
    return text


def test_a_wrong_answer_is_explained_and_the_right_one_passes(lesson):
    write_cell(lesson, "gram_matrix", WRONG)
    run_cell(lesson, "gram_matrix")
    run_cell(lesson, "check-gram_matrix")
    report = lesson.locator(".jp-OutputArea [role=status]").last
    expect(report).to_contain_text("gram_matrix: not yet.")
    expect(report).to_contain_text("times too small")
    expect(report).to_contain_text("= C H W here")
    assert report.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(248, 215, 218)"

    write_cell(lesson, "gram_matrix", RIGHT)
    run_cell(lesson, "gram_matrix")
    outputs = run_cell(lesson, "check-gram_matrix")
    assert [output["output_type"] for output in outputs] == ["display_data"]
    expect(report).to_contain_text("gram_matrix: right.")
    assert report.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(212, 237, 218)"


def test_validate_says_what_is_wrong_and_then_that_all_is_well(lesson):
    write_cell(lesson, "gram_matrix", WRONG)
    write_cell(lesson, "batch_gram_matrix", BONUS)
    text = _validated(lesson)
    assert "The following cell failed:" in text
    assert "gram_matrix(example): not yet." in text or "gram_matrix(tiny_maps): not yet." in text
    assert "its values are not right; run the exercise's check cell to read why." in text
    for inner in ("Traceback", "nst_helpers/checker", "site-packages", "\x1b["):
        assert inner not in text

    write_cell(lesson, "gram_matrix", RIGHT)
    assert "passes all the tests" in _validated(lesson)
