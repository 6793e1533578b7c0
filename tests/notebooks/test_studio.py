"""What every notebook of the studio keeps to: its form, its claims, and the results kept with it.

That its cells run is nbval's part (``make test``, and the conftest.py in the repository's root).
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from nbformat import NotebookNode

from nst_helpers import display, studio
from tests.notebooks.lessons import ADVICE, NOTEBOOKS, SOLUTIONS, mark, path_of, read

FIRST, LAST = 7, 15
STUDIO = sorted(
    path.name
    for path in SOLUTIONS.glob("[0-9][0-9]_*")
    if FIRST <= int(path.name[:2]) <= LAST and path_of(SOLUTIONS, path.name).is_file()
)
LONGEST_LINE = 100
MOST_BYTES = 1_200_000
TIME = re.compile(r"In full, this notebook takes about [\d.]+ minutes? on two cores\.")
PLAIN_ID = re.compile(r"[a-z]+[0-9]*([-_][a-z0-9]+)*")
MADE_BY_CHANCE = re.compile(r"(?=.*\d)[0-9a-f]{8}(-.*)?")
HEADING = re.compile(r"(#+) +(.+?) *#*")
LINK = re.compile(r"\[[^\]]*\]\(#([^)]+)\)")
ENDS_IN_LINK = re.compile(r"\(\[[^\]]+\]\(#[^)]+\)(, \[[^\]]+\]\(#[^)]+\))*\)\.?$")

# What draws a figure or makes a table, by the name notebooks import; its parameters are looked up.
_DRAWING = ("show", "plot_", "filmstrip")
MAKERS = {
    name: value
    for module in (display, studio)
    for name, value in vars(module).items()
    if inspect.isfunction(value) and (name.startswith(_DRAWING) or name in ("chart", "table"))
}

each_notebook = pytest.mark.parametrize("lesson", STUDIO)


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _calls(cell: NotebookNode) -> Iterator[tuple[str, ast.Call]]:
    """Return the functions a cell calls, by their last name: ``display.show`` is ``show``."""
    for node in ast.walk(ast.parse(cell.source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            yield name, node


def _results_named(cell: NotebookNode, function: str) -> list[str]:
    """Return the names with which a cell calls ``keep`` or ``kept``."""
    names = []
    for name, call in _calls(cell):
        if name == function:
            name_given = getattr(call.args[0] if call.args else None, "value", None)
            assert isinstance(name_given, str), (
                f"cell {cell.id!r}: write the name in {function}(...) as a plain string, so that "
                f"readers and tests find its files; it is {ast.unparse(call)[:60]}"
            )
            names.append(name_given)
    return names


def _anchor(heading: str) -> str:
    """Return what a heading is linked by in JupyterLab: its text, blanks as hyphens."""
    return re.sub(r"[`*$]", "", heading).replace(" ", "-")


def _headings(notebook: NotebookNode) -> list[tuple[str, int, int]]:
    """Return each heading's anchor, its level and the number of its cell."""
    found = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
            headings = filter(None, map(HEADING.fullmatch, text.splitlines()))
            found += [(_anchor(match[2]), len(match[1]), number) for match in headings]
    return found


def _has_code_below(notebook: NotebookNode, anchor: str) -> bool:
    """Return whether a code cell stands between a heading and the next one of its rank."""
    headings = _headings(notebook)
    place = [heading[0] for heading in headings].index(anchor)
    _, level, start = headings[place]
    ends = [number for _, other, number in headings[place + 1 :] if other <= level]
    end = ends[0] if ends else len(notebook.cells)
    return any(cell.cell_type == "code" for cell in notebook.cells[start:end])


def _bullets(text: str) -> list[str]:
    """Return the bullets of a Markdown list, each as one line."""
    parts = re.split(r"^[-*] ", text, flags=re.MULTILINE)[1:]
    return [" ".join(part.partition("\n\n")[0].split()) for part in parts]


@each_notebook
def test_it_opens_with_its_question_and_says_how_long_it_takes(lesson):
    cells = read(SOLUTIONS, lesson).cells
    wanted = f"# Studio {int(lesson[:2])}: "
    assert cells[0].source.startswith(wanted), (
        f"the first cell has to begin with {wanted!r} and the question; "
        f"it begins with {cells[0].source[:60]!r}"
    )
    opening = " ".join(" ".join(cell.source for cell in cells[:3]).split())
    assert TIME.search(opening), (
        "the opening has to say how long a full run takes, in the words: "
        "In full, this notebook takes about N minutes on two cores."
    )


@each_notebook
def test_it_is_a_notebook_of_plain_cells_without_outputs(lesson):
    notebook = read(SOLUTIONS, lesson)
    form = (notebook.nbformat, notebook.nbformat_minor)
    assert form == (4, 5), f"write it as nbformat 4.5, which has cell ids; it is {form}"
    kernel = notebook.metadata.kernelspec.name
    assert kernel == "python3", f"its kernel is {kernel!r}; nbgrader knows only 'python3'"
    assert not [cell.id for cell in notebook.cells if mark(cell)], "these cells are graded ones"
    left = [cell.id for cell in _code(notebook) if cell.outputs or cell.execution_count]
    assert not left, f"clear the outputs and execution counts of the cells {left}"


@each_notebook
def test_cell_ids_are_plain_words_and_unique(lesson):
    # As they stand in the file: reading it with nbformat gives the second of two a new id.
    written = json.loads(path_of(SOLUTIONS, lesson).read_text(encoding="utf-8"))
    ids = [cell["id"] for cell in written["cells"]]
    twice = {name for name in ids if ids.count(name) > 1}
    assert not twice, f"give each cell an id of its own: {sorted(twice)} stand there more than once"
    odd = [name for name in ids if not PLAIN_ID.fullmatch(name) or MADE_BY_CHANCE.fullmatch(name)]
    assert not odd, f"cell ids are plain words such as 'rates-table'; these are not: {odd}"


@each_notebook
def test_code_can_be_read_without_scrolling(lesson):
    long = [
        f"{cell.id}: {line}"
        for cell in _code(read(SOLUTIONS, lesson))
        for line in cell.source.splitlines()
        if len(line) > LONGEST_LINE
    ]
    assert not long, f"break the lines longer than {LONGEST_LINE} characters: {long}"


@each_notebook
def test_it_ends_with_what_was_found(lesson):
    last = read(SOLUTIONS, lesson).cells[-1]
    assert (last.id, last.cell_type) == ("found", "markdown"), (
        f"the last cell has to be the Markdown cell 'found'; it is {last.id!r}"
    )
    assert last.source.startswith("## What was found\n"), (
        f"cell 'found' has to begin with the heading '## What was found'; "
        f"it begins with {last.source[:40]!r}"
    )
    assert _bullets(last.source), "cell 'found' has no bullets; write each claim as '- ...'"


@each_notebook
def test_each_claim_ends_with_a_link_to_a_heading_that_shows_it(lesson):
    notebook = read(SOLUTIONS, lesson)
    known = [anchor for anchor, _, _ in _headings(notebook)]
    for bullet in _bullets(notebook.cells[-1].source):
        assert ENDS_IN_LINK.search(bullet), (
            f"end this claim with a link such as ([table](#Loss-by-second)): ...{bullet[-90:]!r}"
        )
        for anchor in map(unquote, LINK.findall(bullet)):
            assert known.count(anchor) == 1, (
                f"#{anchor} is the anchor of {known.count(anchor)} headings, and must be of one; "
                f"the headings are {known}"
            )
            assert _has_code_below(notebook, anchor), (
                f"no code cell stands below the heading #{anchor}, so it shows nothing"
            )


@each_notebook
def test_what_is_kept_is_shown_in_the_next_code_cell(lesson):
    cells = _code(read(SOLUTIONS, lesson))
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        for name in _results_named(cell, "keep"):
            shown = following is not None and name in _results_named(following, "kept")
            assert shown, f"let the code cell after {cell.id!r} show kept({name!r})"


@each_notebook
def test_every_kept_result_is_there_whole_and_used(lesson, monkeypatch):
    monkeypatch.chdir(SOLUTIONS / lesson)
    cells = _code(read(SOLUTIONS, lesson))
    shown = [name for cell in cells for name in _results_named(cell, "kept")]
    made = [name for cell in cells for name in _results_named(cell, "keep")]
    again = f"make them with: python -m benchmarks.studio {lesson}"
    assert shown, f"no cell shows a kept result; wrap what is found in keep(...), and {again}"
    assert set(shown) == set(made), (
        f"kept and keep do not name the same results: {sorted(set(shown) ^ set(made))}"
    )
    twice = sorted({name for name in made if made.count(name) > 1})
    assert not twice, f"keep(...) writes {twice} twice; give each result a name of its own"
    here = studio.FOLDER.iterdir() if studio.FOLDER.is_dir() else []
    files = {path.name for path in here}
    used = {f"{name}.json" for name in shown}
    assert used <= files, f"results/ lacks {sorted(used - files)}; {again}"
    for name in shown:
        result = studio.kept(name)
        assert "Kept from a full run" in result.caption
        assert len(result.caption.partition("Kept from a full run")[0]) > 10, f"{name}: caption"
        if isinstance(result, studio.Table):
            used.add(f"{name}.csv")
            continue
        empty = [panel.label for panel in result.panels if len(panel.alt) < 10]
        assert not empty, f"{name}: these pictures have no alternative text: {empty}"
        used |= {f"{name}-{n}.{'png' if p.drawn else 'jpg'}" for n, p in enumerate(result.panels)}
    assert files == used, (
        f"results/ and the notebook do not fit: nothing shows {sorted(files - used)}, "
        f"and {sorted(used - files)} are not there"
    )
    size = sum(path.stat().st_size for path in studio.FOLDER.iterdir())
    assert size <= MOST_BYTES, f"results/ has {size:,} bytes, more than {MOST_BYTES:,}"


def _given(call: ast.Call, name: str, parameter: str) -> bool:
    """Return whether a call gives a function of ``MAKERS`` this parameter, and not an empty one."""
    if any(keyword.arg is None for keyword in call.keywords):
        return True  # handed over as **options, which only running tells
    keywords: dict[str, Any] = {keyword.arg: keyword.value for keyword in call.keywords}
    bound = inspect.signature(MAKERS[name]).bind_partial(*call.args, **keywords).arguments
    value = bound.get(parameter)
    return value is not None and not (isinstance(value, ast.Constant) and not value.value)


def _is_method(call: ast.Call) -> bool:
    """Return whether something shows itself, ``result.show()``: it brings its caption along."""
    owner = getattr(call.func, "value", None)
    return owner is not None and getattr(owner, "id", "") not in ("display", "studio")


def _defined(notebook: NotebookNode) -> set[str]:
    """Return the names of the functions a notebook writes itself."""
    trees = [ast.parse(cell.source) for cell in _code(notebook)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


@each_notebook
def test_every_figure_and_table_has_a_caption(lesson):
    notebook = read(SOLUTIONS, lesson)
    makers = set(MAKERS) - _defined(notebook)
    for cell in _code(notebook):
        for name, call in _calls(cell):
            if name not in makers or _is_method(call):
                continue
            wanted = ("caption", "alt") if name == "chart" else ("caption",)
            missing = [parameter for parameter in wanted if not _given(call, name, parameter)]
            assert not missing, (
                f"cell {cell.id!r}: give {ast.unparse(call)[:60]!r} {' and '.join(missing)}"
            )


def _is_own(path: Path) -> bool:
    """Return whether a file is what running a notebook leaves beside it; git ignores those, too."""
    return any(part.startswith(("my-", ".", "__")) for part in path.parts[len(SOLUTIONS.parts) :])


@each_notebook
def test_what_students_get_is_the_same(lesson):
    assert path_of(NOTEBOOKS, lesson).is_file(), f"notebooks/ lacks {lesson}; {ADVICE}"
    source, released = (
        [(cell.id, cell.cell_type, cell.source) for cell in read(folder, lesson).cells]
        for folder in (SOLUTIONS, NOTEBOOKS)
    )
    assert source == released, f"notebooks/{lesson} is an older one; {ADVICE}"
    files, copies = (
        {
            path.relative_to(folder / lesson).as_posix(): path.read_bytes()
            for path in sorted((folder / lesson).rglob("*"))
            if path.is_file() and path.suffix != ".ipynb" and not _is_own(path)
        }
        for folder in (SOLUTIONS, NOTEBOOKS)
    )
    differing = sorted(n for n in files.keys() | copies.keys() if files.get(n) != copies.get(n))
    assert not differing, f"notebooks/{lesson} has other files than solutions/: {differing}"
