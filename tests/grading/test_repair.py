"""Repair: every kind of damage that was seen or made up, and the mark that the answers deserve.

A lesson of two exercises and its released form are made here; a submission is damaged, repaired and
run from top to bottom, and the points of the graded cells that pass are added up.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import subprocess

import nbformat
import pytest
from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions

from nst_helpers.grading import repair as repairing
from nst_helpers.grading import salvage
from nst_helpers.grading.repair import STUB, repair

DOUBLE = "def double(x):\n    y = 2\n    return y * x"
WRONG = "def double(x):\n    return 3 * x"
NAMES = 'NAMES = {"0": "zero", "1": "one"}'
FULL = 6


def _cell(identity, source, *tags, kind="code", **marks):
    make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
    cell = make(source)
    cell.id = identity
    if tags:
        cell.metadata["tags"] = list(tags)
    if marks:
        plain = {"grade": False, "solution": False, "locked": False, "task": False}
        cell.metadata["nbgrader"] = {
            **{**plain, **marks, "grade_id": identity, "schema_version": 3},
        }
    return cell


def _graded(identity, points, source):
    return _cell(identity, source, grade=True, locked=True, points=points)


def _lesson():
    cells = [
        _cell("title", "# A lesson\n\nWith a few words about numbers.", kind="markdown"),
        _cell("setup", "import math\n\nexample = 5\ncheck = callable"),
        _cell("about-double", "## Twice\n\nWrite `double(x)`, twice a number.", kind="markdown"),
        _cell(
            "double",
            "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION",
            solution=True,
        ),
        _cell("check-double", "check(double)", "needs-answer"),
        _graded("double-values", 2, "# Graded, 2 points: the values\nassert double(example) == 10"),
        _graded(
            "double-hidden",
            1,
            "# Graded, 1 point: hidden\n### BEGIN HIDDEN TESTS\nassert double(7) == 14\n"
            "### END HIDDEN TESTS\nassert double(1) is not None",
        ),
        _cell("shown", "values = [double(n) for n in range(3)]", "needs-answer", "skip-execution"),
        _cell("about-names", "## Names\n\nA dictionary of names.", kind="markdown"),
        _cell(
            "NAMES",
            'NAMES = {"0": "zero"}\n### BEGIN SOLUTION\nNAMES = {"0": "zero", "1": "one"}\n'
            "### END SOLUTION",
            "needs-answer",
            solution=True,
        ),
        _graded("NAMES-values", 3, '# Graded, 3 points\nassert NAMES["1"] == "one"'),
        _cell("end", "That was all.", kind="markdown"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {
        **{"name": "python3", "display_name": "Python 3", "language": "python"}
    }
    return notebook


LESSON = _lesson()


def _released():
    """Return the lesson as students get it, by nbgrader's own steps."""
    notebook, _ = ClearSolutions(code_stub={"python": STUB})(copy.deepcopy(LESSON), {})
    return ClearHiddenTests()(notebook, {})[0]


def _index(notebook, identity):
    return next(index for index, cell in enumerate(notebook.cells) if cell.get("id") == identity)


@pytest.fixture
def solved():
    notebook = _released()
    notebook.cells[_index(notebook, "double")].source = DOUBLE
    notebook.cells[_index(notebook, "NAMES")].source = NAMES
    return notebook


def _bytes(notebook) -> bytes:
    """Return a notebook as JupyterLab writes it, a line of JSON for each line of a cell."""
    raw = {**notebook, "cells": [dict(cell) for cell in notebook.cells]}
    for cell in raw["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    return json.dumps(raw, indent=1, sort_keys=True).encode()


def _mark(notebook) -> int:
    """Run a notebook as nbgrader does, past errors, and return its points."""
    namespace, points = {}, 0
    for cell in notebook.cells:
        if cell.cell_type != "code" or "skip-execution" in cell.metadata.get("tags", []):
            continue
        with contextlib.suppress(Exception):
            exec(cell.source, namespace)
            points += cell.metadata.get("nbgrader", {}).get("points", 0)
    return points


def _check(repaired, mark=FULL, *words):
    """Assert what is true of every repaired notebook, its mark, and words of its notes."""
    notebook = repaired.notebook
    nbformat.validate(notebook)
    lesson = {cell.id: cell for cell in LESSON.cells}
    kept = [cell for cell in notebook.cells if cell.id in lesson]
    assert [cell.id for cell in kept] == list(lesson)
    for cell in kept:
        assert cell.metadata == lesson[cell.id].metadata
        assert cell.cell_type == lesson[cell.id].cell_type
        if cell.metadata.get("nbgrader", {}).get("locked"):
            assert cell.source == lesson[cell.id].source
    grade_ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    grade_ids = [grade_id for grade_id in grade_ids if grade_id]
    assert len(grade_ids) == len(set(grade_ids)) == 5
    assert notebook.metadata.kernelspec.name == "python3"
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert _mark(notebook) == mark, repaired.notes
    said = "\n".join(repaired.notes)
    for word in words:
        assert word in said, said
    assert all(note.endswith(".") and "\n" not in note for note in repaired.notes)


def _repaired(notebook):
    return repair(_bytes(notebook), LESSON)


# Nothing is wrong.


def test_an_undamaged_submission_is_the_lesson_with_the_answers_and_no_notes(solved):
    repaired = _repaired(solved)
    _check(repaired)
    assert repaired.notes == ()
    assert repaired.answered == ("double", "NAMES")
    assert [cell.id for cell in repaired.notebook.cells] == [cell.id for cell in LESSON.cells]
    assert repaired.notebook.cells[_index(LESSON, "double")].source == DOUBLE


def test_an_untouched_notebook_gets_nothing_and_no_notes():
    repaired = _repaired(_released())
    _check(repaired, 0)
    assert (repaired.notes, repaired.answered) == ((), ())


def test_a_wrong_answer_stays_wrong(solved):
    solved.cells[_index(solved, "double")].source = WRONG
    _check(_repaired(solved), 3)


def test_a_syntax_error_of_the_students_own_is_not_mended(solved):
    """As with nbgrader alone: a cell that does not run defines nothing."""
    broken = f"{DOUBLE}\n\nprint(double(2)"
    solved.cells[_index(solved, "double")].source = broken
    repaired = _repaired(solved)
    _check(repaired, 3)
    assert repaired.notes == ()
    assert repaired.notebook.cells[_index(repaired.notebook, "double")].source == broken


def test_repairing_twice_changes_nothing(solved):
    solved.cells.insert(4, nbformat.v4.new_code_cell("def helper():\n    return 1"))
    once = _repaired(solved)
    twice = _repaired(once.notebook)
    assert twice.notes == ()
    assert [cell.source for cell in twice.notebook.cells] == [
        cell.source for cell in once.notebook.cells
    ]


# Cells that were split, copied, moved, merged or deleted.


@pytest.mark.parametrize("where", [14, 15, 16, 20, 25, 26, 27, 33, 34, 37])
def test_a_split_answer_is_joined_wherever_it_was_cut(solved, where):
    """JupyterLab's split gives both halves the metadata, and one of them a new id."""
    index = _index(solved, "double")
    half = copy.deepcopy(solved.cells[index])
    half.id = "fresh"
    half.source = DOUBLE[where:].strip("\n")
    solved.cells[index].source = DOUBLE[:where].strip("\n")
    solved.cells.insert(index + 1, half)
    _check(_repaired(solved), FULL, "double: the answer was split over 2 cells")


def test_an_answer_split_into_three_without_metadata_is_joined(solved):
    index = _index(solved, "double")
    first, second, third = DOUBLE.split("\n")
    solved.cells[index].source = first
    rest = [nbformat.v4.new_code_cell(part) for part in (second, third)]
    solved.cells[index + 1 : index + 1] = rest
    _check(_repaired(solved), FULL, "split over 3 cells")


def test_a_split_between_a_helper_and_the_answer_keeps_both(solved):
    index = _index(solved, "double")
    half = copy.deepcopy(solved.cells[index])
    solved.cells[index].source = "def two():\n    return 2"
    half.id, half.source = "fresh", "def double(x):\n    return two() * x"
    solved.cells.insert(index + 1, half)
    _check(_repaired(solved))


@pytest.mark.parametrize(
    ("first", "second", "mark"),
    [
        (DOUBLE, STUB, FULL),
        (STUB, DOUBLE, FULL),
        (WRONG, DOUBLE, FULL),
        (DOUBLE, WRONG, 3),
        ("def double(x):\n    return 2 *", DOUBLE, FULL),
        (DOUBLE, "def double(x):\n    return 2 *", FULL),
        (DOUBLE, "", FULL),
    ],
)
def test_of_two_copies_the_last_complete_one_counts(solved, first, second, mark):
    index = _index(solved, "double")
    stub = _released().cells[_index(_released(), "double")].source
    copied = copy.deepcopy(solved.cells[index])
    copied.id = "fresh"
    solved.cells[index].source = stub if first == STUB else first
    copied.source = stub if second == STUB else second
    solved.cells.insert(index + 2, copied)
    _check(_repaired(solved), mark)


def test_a_copied_answer_is_reported_once_both_are_written(solved):
    index = _index(solved, "double")
    copied = copy.deepcopy(solved.cells[index])
    copied.id, copied.source = "fresh", "def double(x):\n    return x + x"
    solved.cells.append(copied)
    _check(_repaired(solved), FULL, "double: 2 cells carry this answer")


def test_a_copied_test_and_a_students_variant_of_it_do_no_harm(solved):
    index = _index(solved, "double-values")
    for source in (solved.cells[index].source, "assert double(example) == 11"):
        copied = copy.deepcopy(solved.cells[index])
        copied.id, copied.source = f"fresh-{len(source)}", source
        solved.cells.insert(index + 1, copied)
    repaired = _repaired(solved)
    _check(repaired)
    assert sum(cell.source.endswith("== 11") for cell in repaired.notebook.cells) == 1


@pytest.mark.parametrize("seed", range(8))
def test_cells_in_any_order_are_graded_in_the_lessons(solved, seed):
    random.Random(seed).shuffle(solved.cells)
    _check(_repaired(solved), FULL, "another order")


@pytest.mark.parametrize("order", [("double", "double-values"), ("double-values", "double")])
@pytest.mark.parametrize("kept", [0, 1])
def test_an_answer_merged_with_its_test_is_taken_out(solved, order, kept):
    cells = [solved.cells[_index(solved, identity)] for identity in order]
    cells[kept].source = "\n\n".join(cell.source for cell in cells)
    solved.cells.remove(cells[1 - kept])
    _check(_repaired(solved), FULL, "double: ", "merged")


@pytest.mark.parametrize("kept", ["double", "about-double"])
def test_an_answer_merged_with_the_words_above_it_is_taken_out(solved, kept):
    cells = [solved.cells[_index(solved, identity)] for identity in ("about-double", "double")]
    survivor = next(cell for cell in cells if cell.id == kept)
    survivor.source = "\n\n".join(cell.source for cell in cells)
    solved.cells = [cell for cell in solved.cells if cell.id == kept or cell not in cells]
    _check(_repaired(solved), FULL, "double: ")


def test_two_answers_in_one_cell_both_count(solved):
    index = _index(solved, "NAMES")
    solved.cells[_index(solved, "double")].source += f"\n\n\n{NAMES}"
    del solved.cells[index]
    repaired = _repaired(solved)
    _check(repaired)
    assert repaired.answered == ("double",)


def test_an_answer_written_into_a_cell_of_the_students_own_counts(solved):
    stub = _released()
    stub.cells[_index(stub, "NAMES")].source = NAMES
    stub.cells.append(nbformat.v4.new_code_cell(DOUBLE))
    _check(_repaired(stub), FULL, "double: the answer was found in another cell")


def test_a_deleted_answer_costs_only_its_own_points(solved):
    del solved.cells[_index(solved, "double")]
    _check(_repaired(solved), 3, "double: its cell is missing")


def test_deleted_tests_and_set_up_are_restored(solved):
    gone = {"double-values", "double-hidden", "NAMES-values", "setup", "title"}
    solved.cells = [cell for cell in solved.cells if cell.id not in gone]
    _check(_repaired(solved), FULL, "restored: setup, double-values, double-hidden, NAMES-values")


def test_changed_tests_count_as_they_were(solved):
    solved.cells[_index(solved, "double")].source = WRONG
    solved.cells[_index(solved, "double-values")].source = "pass"
    _check(_repaired(solved), 3, "Changed tests", "double-values")


# Kinds, ids and metadata.


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_cells_of_another_type_are_code_again(solved, kind):
    for identity in ("double", "double-values"):
        cell = solved.cells[_index(solved, identity)]
        cell.cell_type = kind
        del cell["outputs"], cell["execution_count"]
    _check(_repaired(solved), FULL, f"double: its cell was of type {kind}")


def test_a_fenced_answer_in_a_markdown_cell_counts(solved):
    index = _index(solved, "double")
    solved.cells[index] = nbformat.v4.new_markdown_cell(f"My answer:\n\n```python\n{DOUBLE}\n```")
    solved.cells[index].id = "double"
    _check(_repaired(solved), FULL)


def _strip_metadata(cell):
    cell.metadata = {}


def _strip_ids(cell):
    cell.pop("id")


def _strip_both(cell):
    cell.metadata = {}
    cell.pop("id")


def _rename(cell):
    cell.metadata = {}
    cell.id = f"new-{cell.id}"


def _garble(cell):
    cell.metadata = {"nbgrader": "?", "tags": 3, "deletable": [None]}


def _old_schema(cell):
    if "nbgrader" in cell.metadata:
        cell.metadata.nbgrader["schema_version"] = 1
        del cell.metadata.nbgrader["solution"]


@pytest.mark.parametrize(
    "change", [_strip_metadata, _strip_ids, _strip_both, _rename, _garble, _old_schema]
)
def test_changed_ids_and_metadata_cost_nothing(solved, change):
    for cell in solved.cells:
        change(cell)
    solved.metadata = {"kernelspec": {"name": "julia", "language": "julia"}}
    _check(_repaired(solved))


def test_without_ids_even_a_broken_answer_is_recognised(solved):
    solved.cells[_index(solved, "double")].source = "def double(x):\n    return 2 *"
    for cell in solved.cells:
        _strip_both(cell)
    repaired = _repaired(solved)
    _check(repaired, 3, "no nbgrader metadata")
    assert repaired.answered == ("double", "NAMES")


def test_exchanged_ids_are_put_right(solved):
    first, second = (solved.cells[_index(solved, identity)] for identity in ("double", "NAMES"))
    first.source, second.source = second.source, first.source
    _check(_repaired(solved), FULL)


def test_a_notebook_of_version_3_counts(solved):
    cells = []
    for cell in solved.cells:
        if cell.cell_type == "code":
            old = {"cell_type": "code", "input": cell.source.splitlines(True), "outputs": []}
        else:
            old = {"cell_type": "markdown", "source": cell.source}
        cells.append({**old, "metadata": dict(cell.metadata)})
    cells.insert(0, {"cell_type": "heading", "level": 1, "source": "Mine", "metadata": {}})
    whole = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}
    _check(repair(json.dumps(whole).encode(), LESSON))


# The student's own cells.


def test_own_cells_stay_where_they_stood(solved):
    index = _index(solved, "double")
    solved.cells[index].source = "def double(x):\n    return times(x, 2)"
    solved.cells.insert(index, nbformat.v4.new_code_cell("def times(a, b):\n    return a * b"))
    solved.cells.append(nbformat.v4.new_markdown_cell("That was fun."))
    repaired = _repaired(solved)
    _check(repaired)
    assert repaired.notes == ()
    sources = [cell.source for cell in repaired.notebook.cells]
    assert sources.index("def times(a, b):\n    return a * b") == index
    assert sources[-1] == "That was fun."


def test_a_helper_that_comes_too_late_is_moved_before_its_answer(solved):
    solved.cells[_index(solved, "double")].source = "def double(x):\n    return times(x, 2)"
    solved.cells.append(nbformat.v4.new_code_cell("def times(a, b):\n    return a * b"))
    _check(_repaired(solved))


def test_what_was_added_to_the_set_up_stays_and_what_was_broken_there_is_mended(solved):
    solved.cells[_index(solved, "setup")].source = "import math, operator\n\nexample = 6"
    solved.cells[_index(solved, "double")].source = "def double(x):\n    return operator.mul(x, 2)"
    _check(_repaired(solved))


def test_a_helper_in_a_demonstration_that_is_passed_over_is_kept(solved):
    shown = solved.cells[_index(solved, "shown")]
    shown.source = "import operator\n\ndef times(x):\n    return operator.mul(x, 2)\n\nwrong()"
    index = _index(solved, "NAMES")
    solved.cells[index].source = 'NAMES = {"0": "zero", str(times(1) - 1): "one"}'
    _check(_repaired(solved))


def test_own_cells_get_ids_of_their_own(solved):
    extra = nbformat.v4.new_code_cell("1")
    extra.id = "setup"
    solved.cells += [extra, copy.deepcopy(extra)]
    repaired = _repaired(solved)
    _check(repaired)
    ids = [cell.id for cell in repaired.notebook.cells]
    assert len(ids) == len(set(ids))


# The file itself.


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_any_unicode_is_read(solved, encoding):
    solved.cells[_index(solved, "double")].source = f"# £ ü\n{DOUBLE}"
    data = json.dumps(solved, ensure_ascii=False).encode(encoding)
    repaired = repair(data, LESSON)
    _check(repaired)
    assert "# £ ü" in repaired.notebook.cells[3].source


def test_other_bytes_spoil_nothing_but_themselves(solved):
    data = json.dumps(solved, ensure_ascii=False, indent=1).encode().replace(b"words", b"w\xffrds")
    _check(repair(data, LESSON))


@pytest.mark.parametrize("indent", [1, None])
def test_a_truncated_file_gives_every_cell_that_is_whole(solved, indent):
    data = json.dumps(solved, indent=indent).encode()
    marks = set()
    for cut in range(0, len(data), 61):
        repaired = repair(data[:cut], LESSON)
        nbformat.validate(repaired.notebook)
        assert repaired.notes
        marks.add(_mark(repaired.notebook))
    assert marks == {0, 3, 6}
    cut = data.index(b'"about-names"')
    _check(repair(data[:cut], LESSON), 3, "The file is damaged", "NAMES: its cell is missing")


@pytest.mark.parametrize(
    ("lost", "mark"), [(b"},", FULL), (b"],", 3), (b'"', FULL), (b"{", FULL), (b"\n", FULL)]
)
def test_a_lost_character_costs_at_most_the_cell_it_was_in(solved, lost, mark):
    data = _bytes(solved)
    place = data.index(lost, data.index(b'"about-double"'))
    _check(repair(data[:place] + data[place + len(lost) :], LESSON), mark)


@pytest.mark.parametrize("style", [[], ["--diff3"]])
def test_a_conflict_gives_the_answers_of_both_sides(solved, tmp_path, style):
    """One side answered ``double``, the other ``NAMES`` and a comment in ``double``; Git merges."""
    base, ours, theirs = _released(), _released(), _released()
    double, names = _index(base, "double"), _index(base, "NAMES")
    ours.cells[double].source = DOUBLE
    theirs.cells[double].source = base.cells[double].source.replace("YOUR CODE", "LATER")
    theirs.cells[names].source = NAMES
    paths = [tmp_path / name for name in ("ours", "base", "theirs")]
    for path, notebook in zip(paths, (ours, base, theirs), strict=True):
        path.write_bytes(_bytes(notebook))
    merged = subprocess.run(["git", "merge-file", "-p", *style, *paths], capture_output=True).stdout
    assert b"<<<<<<<" in merged
    _check(repair(merged, LESSON), FULL, "Git conflict")
    swapped = ["git", "merge-file", "-p", *style, *reversed(paths)]
    merged = subprocess.run(swapped, capture_output=True).stdout
    _check(repair(merged, LESSON), FULL, "Git conflict")


def test_a_conflict_within_an_answer_gives_the_side_that_is_complete(solved):
    cell = solved.cells[_index(solved, "double")]
    cell.source = (
        "def double(x):\n<<<<<<< HEAD\n    return 2 * x\n=======\n    return (\n>>>>>>> theirs"
    )
    _check(_repaired(solved))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"PK\x03\x04 a zip", "no notebook"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "no notebook"),
        (b"[1, 2]", "no notebook"),
        (b"{}", "no notebook"),
        (b'{"cells": 3}', "no notebook"),
        (b'{"cells": [3, null, []]}', "no notebook"),
        (b"null", "no notebook"),
        (b"<html>404</html>", "no notebook"),
        (b"[" * 300_000, "no notebook"),
        (b'{"a":' * 300_000, "no notebook"),
        (b'"\\' * 100_000, "no notebook"),
    ],
)
def test_what_is_no_notebook_is_said(data, words):
    repaired = repair(data, LESSON)
    _check(repaired, 0, "Nothing could be graded", words)
    assert len(repaired.notes) == 1


def test_a_python_file_counts(solved):
    data = f"import math\n\n\n{DOUBLE}\n\n\n{NAMES}\n".encode()
    _check(repair(data, LESSON), FULL, "Python file")


@pytest.mark.parametrize("hostile", [b"[" * 200_000 + b"]" * 200_000, b"1" * 5000, b'"\\ud800"'])
def test_strange_values_in_outputs_and_metadata_cost_nothing(solved, hostile):
    data = _bytes(solved).replace(b'"outputs": []', b'"outputs": ' + hostile)
    assert hostile in data
    _check(repair(data, LESSON))
    data = _bytes(solved).replace(b'"metadata": {', b'"metadata": {"own": ' + hostile + b",", 1)
    _check(repair(data, LESSON))


def test_a_cell_within_an_output_is_no_cell(solved):
    inner = {**solved.cells[_index(solved, "double")], "source": WRONG}
    cell = solved.cells[_index(solved, "double")]
    cell["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": {"x": inner}}]
    _check(repair(_bytes(solved), LESSON))
    _check(repair(_bytes(solved)[:-3], LESSON))


def test_strange_characters_in_a_source_can_be_written(solved, tmp_path):
    solved.cells[_index(solved, "double")].source = "# \ud800 \0\n" + DOUBLE.replace("\n", "\r\n")
    repaired = _repaired(solved)
    _check(repaired)
    nbformat.write(repaired.notebook, tmp_path / "out.ipynb")


def test_a_large_notebook_is_read_without_its_outputs(solved, tmp_path, monkeypatch):
    monkeypatch.setattr(salvage, "json", _NoWhole)
    text = json.dumps("x" * 2**20)
    for cell in solved.cells:
        if cell.cell_type == "code":
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["MANY"]}]
    path = tmp_path / "large.ipynb"
    path.write_bytes(_bytes(solved).replace(b'"MANY"', ",".join([text] * 2).encode()))
    assert path.stat().st_size > salvage._BUILT_WHOLE
    repaired = repair(path, LESSON)
    _check(repaired)
    assert repaired.notes == ()


class _NoWhole:
    """Stands for ``json``, without the function that builds everything."""

    JSONDecoder = json.JSONDecoder
    detect_encoding = staticmethod(json.detect_encoding)


def test_a_file_above_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(salvage, "LARGEST_FILE", 1 << 20)
    path = tmp_path / "huge.ipynb"
    with path.open("wb") as file:
        file.truncate((1 << 20) + 1)
    _check(repair(path, LESSON), 0, "huge.ipynb is larger than 1 MB")


def test_too_many_and_too_long_cells_are_left_out(solved):
    solved.cells.insert(0, nbformat.v4.new_code_cell("#" * (salvage.LONGEST_CELL + 1)))
    solved.cells += [nbformat.v4.new_code_cell("1")] * salvage.MOST_CELLS
    _check(_repaired(solved), FULL, "longer than", f"only the first {salvage.MOST_CELLS}")


@pytest.mark.parametrize("source", ["-" * 90_000 + "1", "(" * 90_000, "a." * 45_000 + "a", "\x00"])
def test_hostile_sources_do_not_stop_a_repair(solved, source):
    solved.cells[_index(solved, "double")].source = source
    _check(_repaired(solved), 3)


# Files and folders.


def _folder(tmp_path, files):
    for name, data in files.items():
        path = tmp_path / "lesson" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "lesson"


def _of_folder(folder):
    return repair(folder, LESSON, "lesson.ipynb")


def test_the_notebook_with_the_right_name_counts(solved, tmp_path):
    """Even if another has more answers: the student named the one that counts."""
    all_of_it = _bytes(solved)
    half = _released()
    half.cells[_index(half, "double")].source = DOUBLE
    files = {"a.ipynb": all_of_it, "lesson.ipynb": _bytes(half), "z.ipynb": all_of_it}
    folder = _folder(tmp_path, files)
    repaired = _of_folder(folder)
    _check(repaired, 3)
    assert repaired.notes == ()


@pytest.mark.parametrize(
    "name",
    [
        "lesson (1).ipynb",
        "Lesson.IPYNB",
        "lesson.ipynb.txt",
        "lesson.json",
        "my work/lesson.ipynb",
        "Ünïcode ☃.ipynb",
    ],
)
def test_a_renamed_notebook_counts(solved, tmp_path, name):
    _check(_of_folder(_folder(tmp_path, {name: _bytes(solved)})), FULL, name, "was graded as")


def test_an_untouched_notebook_gives_way_to_an_answered_copy(solved, tmp_path):
    files = {"lesson.ipynb": _bytes(_released()), "lesson-Copy1.ipynb": _bytes(solved)}
    _check(
        _of_folder(_folder(tmp_path, files)), FULL, "lesson-Copy1.ipynb, one of 2 notebooks, was"
    )


def test_an_empty_folder_and_a_folder_as_notebook_are_said(tmp_path):
    folder = _folder(tmp_path, {"notes.txt": b"hello", ".ipynb_checkpoints/x.ipynb": b"{}"})
    _check(_of_folder(folder), 0, "No notebook was handed in")
    (folder / "lesson.ipynb").mkdir()
    _check(_of_folder(folder), 0, "lesson.ipynb is a folder")


def test_links_are_never_followed(solved, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "solution.ipynb").write_bytes(_bytes(solved))
    folder = _folder(tmp_path, {"readme.txt": b""})
    (folder / "lesson.ipynb").symlink_to(outside / "solution.ipynb")
    (folder / "deeper").symlink_to(outside)
    _check(_of_folder(folder), 0, "lesson.ipynb is a link")
    (outside / "solution.ipynb").rename(outside / "lesson.ipynb")
    (tmp_path / "entry").symlink_to(outside)
    _check(_of_folder(tmp_path / "entry"), 0, "entry is a link")


def test_a_named_pipe_does_not_make_us_wait(tmp_path):
    folder = _folder(tmp_path, {"readme.txt": b""})
    os.mkfifo(folder / "lesson.ipynb")
    _check(_of_folder(folder), 0, "is not a file")


def test_the_reference_may_be_a_path(solved, tmp_path):
    nbformat.write(LESSON, tmp_path / "lesson.ipynb")
    _check(repair(_bytes(solved), tmp_path / "lesson.ipynb"))
    with pytest.raises(OSError, match=r"none\.ipynb"):
        repair(_bytes(solved), tmp_path / "none.ipynb")


@pytest.mark.parametrize("seed", range(40))
def test_any_mixture_of_damage_gives_a_notebook_that_can_be_graded(solved, seed):
    """Whatever happens to cells and bytes: a valid notebook, every cell of the lesson once."""
    chance = random.Random(seed)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(solved.cells))
        cell = solved.cells[place]
        action = chance.randrange(6)
        if action == 0:
            del solved.cells[place]
        elif action == 1:
            solved.cells.insert(chance.randrange(len(solved.cells)), copy.deepcopy(cell))
        elif action == 2:
            cut = chance.randrange(len(cell.source) + 1)
            half = copy.deepcopy(cell)
            cell.source, half.source = cell.source[:cut], cell.source[cut:]
            solved.cells.insert(place + 1, half)
        elif action == 3:
            cell.metadata = {}
        elif action == 4:
            cell.cell_type = chance.choice(["raw", "markdown", "code", "other"])
        else:
            chance.shuffle(solved.cells)
    data = bytearray(_bytes(solved))
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(data))
        data[place : place + chance.randrange(3)] = chance.choice([b"", b'"', b"}", b"[", b"\\"])
    repaired = repair(bytes(data), LESSON)
    _check(repaired, _mark(repaired.notebook))


def test_the_stub_is_the_one_students_get():
    """``nbgrader_config.py`` takes it from here; otherwise an untouched cell looked answered."""
    cell = _released().cells[_index(_released(), "double")]
    assert cell.source == repairing._with_stub(LESSON.cells[3].source)
