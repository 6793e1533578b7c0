"""What every lesson keeps to: its cells, their ids, their points, and what a student may see."""

from __future__ import annotations

import re

import pytest

from nst_helpers.checker import EXERCISES
from nst_helpers.grading.release import DEMONSTRATION, MAY_RAISE, NEEDS_ANSWER
from tests.notebooks.lessons import (
    GRADED,
    NOTEBOOKS,
    SOLUTIONS,
    graded_cells,
    mark,
    names_used,
    read,
    region,
    solution_cells,
    tags,
)

HIDDEN = "### BEGIN HIDDEN TESTS"
FIRST_LINE = re.compile(r"# Graded, (\d+) (bonus )?points?: \S")
# A measured value cannot be broken up.
LONGEST_LINE, LONGEST_MEASUREMENT = 100, 130

each_lesson = pytest.mark.parametrize("lesson", GRADED)


def test_the_lessons_are_the_checkers():
    lessons = [lesson.partition("_")[2] for lesson in GRADED]
    assert lessons == list(dict.fromkeys(EXERCISES.values()))


@each_lesson
def test_a_lesson_has_the_exercises_the_checker_knows(lesson):
    wanted = [name for name, file in EXERCISES.items() if file == lesson.partition("_")[2]]
    assert list(solution_cells(read(SOLUTIONS, lesson))) == wanted


@each_lesson
@pytest.mark.parametrize("folder", [SOLUTIONS, NOTEBOOKS], ids=["solutions", "notebooks"])
def test_ids_are_grade_ids_and_unique(lesson, folder):
    cells = read(folder, lesson).cells
    assert len({cell.id for cell in cells}) == len(cells)
    for cell in cells:
        if mark(cell):
            assert mark(cell)["grade_id"] == cell.id
            assert mark(cell)["locked"] is mark(cell)["grade"] is not mark(cell)["solution"]


@each_lesson
def test_every_exercise_has_a_check_and_a_few_graded_cells_one_of_them_hidden(lesson):
    notebook = read(SOLUTIONS, lesson)
    order = [cell.id for cell in notebook.cells]
    for name, graded in graded_cells(notebook).items():
        assert order.index(f"check-{name}") == order.index(name) + 1, name
        hidden = [cell for cell in graded if HIDDEN in cell.source]
        assert len(hidden) >= 1, name
        assert 2 <= len(graded) - len(hidden) <= 3, name
        assert all(f"{name}-" in cell.id for cell in graded)


@each_lesson
def test_points_are_shown_as_they_are_given(lesson):
    released = read(NOTEBOOKS, lesson)
    for name, graded in graded_cells(released).items():
        for cell in graded:
            shown = FIRST_LINE.match(cell.source)
            assert shown, f"{name}: {cell.source.splitlines()[0]}"
            points = int(shown[1])
            assert points == mark(cell)["points"] > 0
            assert ("point:" in shown[0]) is (points == 1)


@each_lesson
def test_directives_stand_on_lines_of_their_own(lesson):
    for cell in read(SOLUTIONS, lesson).cells:
        for line in cell.source.splitlines() if cell.cell_type == "code" else []:
            if "AUTOTEST" in line:
                assert line.startswith("### AUTOTEST "), line
                assert ";" not in line
                compile(line.removeprefix("### AUTOTEST "), lesson, "eval")


@each_lesson
def test_only_cells_that_use_an_answer_are_tagged(lesson):
    notebook = read(SOLUTIONS, lesson)
    exercises = set(solution_cells(notebook))
    for cell in notebook.cells:
        if cell.cell_type != "code" or mark(cell):
            continue
        assert MAY_RAISE not in tags(cell)
        assert set(tags(cell)) <= {NEEDS_ANSWER, DEMONSTRATION}
        used = names_used(cell.source) & exercises
        if NEEDS_ANSWER in tags(cell):
            assert used, cell.id
        else:  # an unfinished table of layers is a table all the same
            assert used <= {"LAYERS"}, cell.id


def _demonstrated(notebook) -> set[str]:
    """Return the lines of code that the lesson itself shows, such as ``with torch.no_grad():``."""
    shown = [cell.source for cell in notebook.cells if not mark(cell).get("solution")]
    return {line.strip() for source in shown for line in source.splitlines()}


@each_lesson
def test_a_released_notebook_shows_no_solution_and_no_hidden_test(lesson):
    source, released = read(SOLUTIONS, lesson), read(NOTEBOOKS, lesson)
    text = "\n".join(cell.source for cell in released.cells)
    for word in ("BEGIN SOLUTION", "END SOLUTION", "AUTOTEST", "HIDDEN TESTS", NEEDS_ANSWER):
        assert word not in text
    lines = {line.strip() for line in text.splitlines()} - _demonstrated(source)
    for name, cell in solution_cells(source).items():
        assert region(cell.source), name
        assert not lines & set(region(cell.source)), name
    for cell in source.cells:
        hidden = re.findall(rf"{HIDDEN}\n(.*?)\n### END HIDDEN", cell.source, re.DOTALL)
        for line in "\n".join(hidden).splitlines():
            assert line.removeprefix("### AUTOTEST ") not in lines


@each_lesson
def test_no_line_of_code_is_too_long_to_read(lesson):
    for folder in (SOLUTIONS, NOTEBOOKS):
        for cell in read(folder, lesson).cells:
            for line in cell.source.splitlines() if cell.cell_type == "code" else []:
                measured = line.startswith("    '[")
                assert len(line) <= (LONGEST_MEASUREMENT if measured else LONGEST_LINE), line


@each_lesson
def test_every_exercise_has_hints_that_unfold_one_by_one(lesson):
    text = "\n".join(c.source for c in read(SOLUTIONS, lesson).cells if c.cell_type == "markdown")
    hints = re.findall(r"<details>\s*<summary>", text)
    assert len(hints) >= 2 * len(solution_cells(read(SOLUTIONS, lesson)))
    assert text.count("<details>") == text.count("</details>")
