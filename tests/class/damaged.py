"""Notebooks that are right and were damaged on their way, in every way that was seen."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from .students import BATCH, BONUS, FULL, GRAM, MAIN, NOTEBOOK, Student, code, hand_in, solved


def students() -> Iterator[Student]:
    """Give each of them, with what its answers deserve."""
    for change, (points, says) in _CHANGES.items():
        made = solved()
        change(made["cells"], made)
        yield _student(change.__name__, points, hand_in(made), says)
    whole = json.dumps(solved(), indent=1).encode()
    end = whole.index(f'"{BATCH}-hidden"'.encode())
    yield _student(
        "_truncated_after_the_answers", FULL, hand_in(whole[:end]), "The file is damaged"
    )
    middle = whole.index(b"## Bonus exercise")
    yield _student(
        "_truncated_before_the_bonus",
        MAIN,
        hand_in(whole[:middle]),
        "batch_gram_matrix: its cell is missing",
    )
    yield _student("_conflicted", FULL, hand_in(_conflicted(whole)), "Git conflict")
    yield _student(
        "_a_file_with_another_name", FULL, hand_in(whole, "gram (final 2).ipynb"), "was graded as"
    )
    yield _student(
        "_no_notebook", 0, hand_in(b"I forgot it.", "note.txt"), "No notebook was handed in"
    )
    yield _student("_an_empty_file", 0, hand_in(b""), "the file is empty")
    yield _student(
        "_no_json_at_all",
        0,
        hand_in(b"\x00\xff<html>sorry</html>"),
        "there is no notebook in the file",
    )
    yield _student("_a_folder_as_notebook", 0, _folder, "is a folder")


def _student(name: str, points: float, write: Callable[[Path], None], says: str) -> Student:
    return Student(f"damaged-{name.strip('_').replace('_', '-')}", "damaged", points, write, says)


def _at(cells: list, identity: str) -> int:
    return next(index for index, cell in enumerate(cells) if cell["id"] == identity)


def _split_answer(cells: list, _: dict) -> None:
    place = _at(cells, GRAM)
    rest = copy.deepcopy(cells[place])
    rest["id"], rest["source"] = "fresh", cells[place]["source"][2:]
    cells[place]["source"] = cells[place]["source"][:2]
    cells.insert(place + 1, rest)


def _copied_answer(cells: list, _: dict) -> None:
    twin = copy.deepcopy(cells[_at(cells, GRAM)])
    twin["id"] = "fresh"
    cells.insert(_at(cells, GRAM), twin)


def _copied_test(cells: list, _: dict) -> None:
    twin = copy.deepcopy(cells[_at(cells, f"{GRAM}-values")])
    twin["id"] = "fresh"
    cells.append(twin)


def _cut_and_pasted_at_the_end(cells: list, _: dict) -> None:
    answer = cells.pop(_at(cells, GRAM))
    answer["id"] = "fresh"
    cells.append(answer)


def _answer_merged_with_its_test(cells: list, _: dict) -> None:
    test = cells.pop(_at(cells, f"{GRAM}-shape"))
    cells[_at(cells, GRAM)]["source"] += ["\n", *test["source"]]


def _all_cells_moved(cells: list, _: dict) -> None:
    cells.reverse()


def _tests_deleted(cells: list, _: dict) -> None:
    cells[:] = [cell for cell in cells if not cell["metadata"].get("nbgrader", {}).get("grade")]


def _answer_deleted(cells: list, _: dict) -> None:
    cells.pop(_at(cells, GRAM))


def _tests_changed(cells: list, _: dict) -> None:
    for cell in cells:
        if cell["metadata"].get("nbgrader", {}).get("grade"):
            cell["source"] = ["pass"]


def _answer_as_markdown(cells: list, _: dict) -> None:
    cell = cells[_at(cells, GRAM)]
    cell["cell_type"] = "markdown"
    del cell["outputs"], cell["execution_count"]


def _answer_as_raw(cells: list, _: dict) -> None:
    _answer_as_markdown(cells, _)
    cells[_at(cells, GRAM)]["cell_type"] = "raw"


def _cells_renamed(cells: list, _: dict) -> None:
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"


def _grade_ids_renamed(cells: list, _: dict) -> None:
    for cell in cells:
        if "nbgrader" in cell["metadata"]:
            cell["metadata"]["nbgrader"]["grade_id"] += "-2"


def _all_metadata_stripped(cells: list, made: dict) -> None:
    for cell in cells:
        cell["metadata"] = {}
    made["metadata"] = {}


def _ids_and_metadata_stripped(cells: list, made: dict) -> None:
    _all_metadata_stripped(cells, made)
    for cell in cells:
        del cell["id"]
    made["nbformat_minor"] = 4


def _points_changed(cells: list, _: dict) -> None:
    for cell in cells:
        if "points" in cell["metadata"].get("nbgrader", {}):
            cell["metadata"]["nbgrader"]["points"] = 1000


def _another_kernel(_: list, made: dict) -> None:
    made["metadata"]["kernelspec"] = {
        **{"name": "ir", "display_name": "R", "language": "R"},
    }


def _a_failing_cell_of_ones_own(cells: list, _: dict) -> None:
    cells.append(code("raise RuntimeError('I stopped here')", "own"))


# What answers deserve, and what the instructor reads; nothing where nothing needs to be known.
_CHANGES: dict[Callable[[list, dict], None], tuple[float, str]] = {
    _split_answer: (FULL, "was split over 2 cells"),
    _copied_answer: (FULL, "2 cells carry this answer"),
    _copied_test: (FULL, ""),
    _cut_and_pasted_at_the_end: (FULL, "in another order"),
    _answer_merged_with_its_test: (FULL, "was merged with other cells"),
    _all_cells_moved: (FULL, "in another order"),
    _tests_deleted: (FULL, "Missing cells are restored"),
    _answer_deleted: (BONUS, "gram_matrix: its cell is missing"),
    _tests_changed: (FULL, "Changed tests count as they were handed out"),
    _answer_as_markdown: (FULL, "of type markdown"),
    _answer_as_raw: (FULL, "of type raw"),
    _cells_renamed: (FULL, ""),
    _grade_ids_renamed: (FULL, ""),
    _all_metadata_stripped: (FULL, "no nbgrader metadata"),
    _ids_and_metadata_stripped: (FULL, "no nbgrader metadata"),
    _points_changed: (FULL, ""),
    _another_kernel: (FULL, ""),
    _a_failing_cell_of_ones_own: (FULL, ""),
}


def _conflicted(whole: bytes) -> bytes:
    """Return a notebook in which git left both sides of a merge."""
    line = next(line for line in whole.splitlines(keepends=True) if b"return f @ f.T" in line)
    other = line.replace(b"f @ f.T", b"torch.mm(f, f.t())")
    return whole.replace(line, b"<<<<<<< HEAD\n" + line + b"=======\n" + other + b">>>>>>> home\n")


def _folder(folder: Path) -> None:
    hand_in(b"{}", "other.txt")(folder)
    (folder / NOTEBOOK).mkdir()
