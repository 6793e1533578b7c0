"""What is read from a lesson's source, and which cells of a submission have to run."""

from __future__ import annotations

import pytest

from nst_helpers.errors import NstError
from nst_helpers.grading import course
from tests.grading import lessons


@pytest.fixture
def lesson(tmp_path):
    return course.read_lesson(lessons.written(tmp_path), lessons.NAME)


def test_graded_cells_are_known_with_points_titles_and_exercises(lesson):
    assert (lesson.name, lesson.number) == ("03_small", 3)
    cells = {cell.id: cell for cell in lesson.graded}
    assert [cell.points for cell in lesson.graded] == [1, 2, 1, 1, 1, 1]
    values, hidden = cells["gram_matrix-values"], cells["gram_matrix-hidden"]
    assert (values.exercise, values.title, values.bonus) == ("gram_matrix", "the values", False)
    assert (hidden.title, hidden.hidden, values.hidden) == ("other sizes", True, False)
    assert cells["make_target-leaf"].bonus


def test_a_bonus_is_known_by_the_heading_too(tmp_path):
    import nbformat

    solutions = lessons.written(tmp_path)
    path = solutions / lessons.NAME / f"{lessons.NAME}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = "## Bonus exercise"
    nbformat.write(notebook, path)
    assert all(cell.bonus for cell in course.read_lesson(solutions, lessons.NAME).graded)


def test_autotest_lines_become_comparisons_where_they_stand():
    source = "def f():\n    ### AUTOTEST g(1)\n### HIDDEN AUTOTEST g(2)"
    cell = course._graded(source, {"grade_id": "g-values", "points": 1}, "")
    assert cell.source == f"def f():\n    {course.AGREE}(0, g(1))\n{course.AGREE}(1, g(2))"
    assert cell.expressions == ("g(1)", "g(2)")
    assert cell.hidden


def test_an_unknown_lesson_names_the_known_ones(tmp_path):
    with pytest.raises(NstError, match=r"no lesson '04'.*choose one of 03_small\.$"):
        course.read_lesson(lessons.written(tmp_path), "04")


def test_only_what_graded_cells_and_solutions_use_is_needed(lesson):
    needed = [cell.id for cell in lesson.needed()]
    assert "setup" in needed
    assert "shown" not in needed
    assert "check-gram_matrix" not in needed


def _run(lesson, cells):
    return [source.strip() for _, source in course.cells_to_run(lesson, cells)]


def test_of_a_submission_answers_run_and_tests_and_demonstrations_do_not(lesson):
    run = _run(lesson, lessons.submission())
    assert run == [lessons.GRAM.strip(), lessons.TARGET.strip()]


def test_cells_that_an_answer_uses_run(lesson):
    gram = "def gram_matrix(tensor):\n    return torch.ones(3)"
    assert _run(lesson, lessons.submission(gram))[0] == lessons.SETUP.strip()
    # Text alone is enough, whatever became of ids and metadata.
    texts = [cell.source for cell in lessons.submission(gram)]
    assert _run(lesson, texts) == _run(lesson, lessons.submission(gram))


def test_all_that_was_added_runs_even_what_is_not_python(lesson):
    run = _run(lesson, lessons.submission(lessons.GRAM, lessons.TARGET, "!ls", "helper = 3"))
    assert run[-2:] == ["!ls", "helper = 3"]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("x = y", {"y"}),
        ("y = 1\nx = y", set()),
        ("def f(a=b):\n    c = 1\n    return c + d", {"d"}),
        ("@deco\ndef f():\n    return g()\ndef g(): pass", {"deco"}),
        ("[i for i in range(n)]", {"range", "n"}),
        ("%magic x", {"magic", "x"}),
    ],
)
def test_names_that_a_cell_takes_from_elsewhere(source, names):
    assert course.names_used(source) - {"b"} == names - {"b"}


@pytest.mark.parametrize(
    "source",
    ["x = 1", "def x(): pass", "import x", "from a import b as x", "for x in y: pass", "x += 1"],
)
def test_names_that_a_cell_binds(source):
    assert "x" in course.names_bound(source)


@pytest.mark.parametrize(
    "source",
    ["x['a'] = 1", "x.y.z()", "torch.manual_seed(0)", "x[0].mode = 2", "(", "x['a'] += 1"],
)
def test_cells_that_change_something_are_kept(source):
    assert course._acts_on(source, {"x"})


@pytest.mark.parametrize("source", ["display.show(x)", "print(x)", "y['a'] = x", "x(1)"])
def test_cells_that_only_show_something_are_not(source):
    assert not course._acts_on(source, {"x", "display", "print"})


@pytest.mark.parametrize(
    "source",
    [
        "from nst_helpers.losses import gram_matrix",
        "from nst_helpers.losses import (content_loss,\n    gram_matrix)",
        "import nst_helpers\nnst_helpers.losses.gram_matrix(x)",
        "from nst_helpers import losses\nlosses.gram_matrix(x)",
        "from nst_helpers import losses as l\nl.gram_matrix(x)",
    ],
)
def test_the_engine_is_found_where_it_is_named(lesson, source):
    forbidden = [("losses", "gram_matrix"), ("transfer", "*")]
    assert course.engine_used(lesson, [source], forbidden) == ["nst_helpers.losses.gram_matrix"]
    assert course.engine_used(lesson, ["import nst_helpers.transfer"], forbidden)
    assert not course.engine_used(lesson, ["def gram_matrix(x): ..."], forbidden)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("from nst_helpers.checker.gram_matrix import x", ["nst_helpers.checker.gram_matrix"]),
        ("import nst_helpers.checker.losses", ["nst_helpers.checker.losses"]),
        ("open('../solutions/a.ipynb')", ["'../solutions/a.ipynb'"]),
        (
            f"open('/{'x' * 99}/solutions/03.ipynb')",
            [f"'/{'x' * 39}...{'x' * 21}/solutions/03.ipynb'"],
        ),
        ("connect('/somewhere/.course/gradebook.db')", ["'/somewhere/.course/gradebook.db'"]),
        ("import_module('nst_helpers.checker.losses')", ["'nst_helpers.checker.losses'"]),
        ("from nst_helpers.checker import check, review\ncheck(f)", []),
        ("f'{course}/my/notes.txt'", []),
        ("f(", []),
    ],
)
def test_what_knows_right_answers_is_found_where_it_is_named(lesson, source, named):
    assert course.reached_for(lesson, [source]) == named


def test_what_the_lesson_imports_may_be_there_but_not_be_used(lesson):
    forbidden = [("losses", "*")]
    setup = lessons.SETUP.strip()
    assert not course.engine_used(lesson, [setup, lessons.GRAM], forbidden)
    assert course.engine_used(lesson, [setup, "gram_matrix = losses.gram_matrix"], forbidden)
