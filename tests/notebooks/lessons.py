"""The course's notebooks, as several tests read, solve and run them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from nst_helpers.checker.autotest import agree

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS, NOTEBOOKS = ROOT / "solutions", ROOT / "notebooks"


def path_of(folder: Path, lesson: str) -> Path:
    """Return where a lesson's notebook lies in solutions/, notebooks/ or another such folder."""
    return folder / lesson / f"{lesson}.ipynb"


def read(folder: Path, lesson: str) -> NotebookNode:
    return nbformat.read(path_of(folder, lesson), as_version=4)


def mark(cell: NotebookNode) -> dict:
    """Return what nbgrader knows about a cell; empty for a cell that is none of its own."""
    return cell.metadata.get("nbgrader", {})


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def solution_cells(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """Return the cells that students write in, by the exercise's name."""
    return {cell.id: cell for cell in notebook.cells if mark(cell).get("solution")}


def graded_cells(notebook: NotebookNode) -> dict[str, list[NotebookNode]]:
    """Return the test cells of each exercise, in order."""
    graded: dict[str, list[NotebookNode]] = {name: [] for name in solution_cells(notebook)}
    for cell in notebook.cells:
        if mark(cell).get("grade"):
            graded[cell.id.rpartition("-")[0]].append(cell)
    return graded


ADVICE = "run make release, and commit what it changes"
# A measured value in a released notebook, and nbgrader's checksum of the cell that holds it.
MEASUREMENT = re.compile(r"(?<=\"    ')\[.*?\](?=',\\n\")")
CHECKSUM = re.compile(r'"checksum": "\w+"')

GRADED = sorted(
    path.name
    for path in SOLUTIONS.iterdir()
    if path_of(SOLUTIONS, path.name).is_file() and solution_cells(read(SOLUTIONS, path.name))
)


def solved(lesson: str, exercises: Iterable[str] | None = None) -> NotebookNode:
    """Return a student's notebook in which these exercises, or all, are solved as in solutions/."""
    notebook = read(NOTEBOOKS, lesson)
    answers = solution_cells(read(SOLUTIONS, lesson))
    for name, cell in solution_cells(notebook).items():
        if exercises is None or name in exercises:
            cell.source = answers[name].source
    return notebook


def first_half(lesson: str) -> list[str]:
    """Return the first half of a lesson's exercises, rounded down, at least one."""
    names = list(solution_cells(read(SOLUTIONS, lesson)))
    return names[: max(1, len(names) // 2)]


def _files(folder: Path) -> list[str]:
    paths = folder.rglob("*")
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def assert_in_step(made: Path) -> None:
    """Fail unless a folder that nbgrader made is what notebooks/ holds of that lesson."""
    kept = NOTEBOOKS / made.name
    files = _files(made)
    # Pictures called my-... are what running a notebook leaves beside it; git ignores them, too.
    assert files == [name for name in _files(kept) if not name.startswith("my-")], ADVICE
    for name in files:
        if not name.endswith(".ipynb"):
            assert (made / name).read_bytes() == (kept / name).read_bytes(), ADVICE
            continue
        one, other = ((folder / name).read_text(encoding="utf-8") for folder in (made, kept))
        # Another processor rounds another way: values are compared as graded cells compare them.
        measured = list(zip(*map(MEASUREMENT.findall, (one, other)), strict=True))
        for text in measured:
            agree(*(json.loads(f'"{value}"') for value in text), ADVICE)
        one, other = (CHECKSUM.sub("", MEASUREMENT.sub("", text)) for text in (one, other))
        assert one == other, ADVICE


def errors(notebook: NotebookNode) -> dict[str, str]:
    """Return which cells raised, and what."""
    return {
        cell.id: output.ename
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    }


def region(source: str) -> list[str]:
    """Return the lines between BEGIN SOLUTION and END SOLUTION, stripped, without short ones."""
    inside, lines = False, []
    for line in source.splitlines():
        if "### BEGIN SOLUTION" in line:
            inside = True
        elif "### END SOLUTION" in line:
            inside = False
        elif inside and len(line.strip()) > 12:
            lines.append(line.strip())
    return lines


def names_used(source: str) -> set[str]:
    """Return every name that a cell's code reads or calls."""
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
