"""Makes of whatever was submitted a notebook that can be graded with the mark its answers deserve.

The lesson's source decides which cells there are, their order, ids, metadata and every locked text;
the submission gives the answers and the student's own cells.

Which cell is the answer to an exercise: one that carries the exercise's id (of the cell, or in
nbgrader's metadata); of several copies the last in the notebook that is written, complete and
defines the exercise's name, as running the notebook from top to bottom would have it. If none of
those does, the last other cell that defines the name. Where ids are gone, cells are known by what
they define and by their text.
"""

from __future__ import annotations

import ast
import copy
import difflib
import functools
import itertools
import os
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from nst_helpers.grading.salvage import Cell, Unreadable, read_cells, read_file

# What a student finds where an answer is to be written (nbgrader_config.py sets it).
STUB = '# YOUR CODE HERE\nraise NotImplementedError("not written yet")'
# What stands in an answer's cell when two answers were written in one.
_ELSEWHERE = "# This answer stands in another cell."
# Cells that are passed over when a lesson is graded.
_DEMONSTRATION = "skip-execution"
# What uses an answer carries one of these, in solutions/ and in notebooks/.
_USES_ANSWER = {"needs-answer", "raises-exception"}
# Texts more alike than this are the same cell, changed.
_ALIKE = 0.7
# Comparing texts takes time: so many cells of so many characters, and no more.
_MOST_COMPARED = 60
_LONGEST_COMPARED = 3000
# What a test of the source and the same test in a released notebook differ in.
_MEASURES = {
    word: re.compile(pattern, re.DOTALL | re.MULTILINE)
    for word, pattern in {
        "HIDDEN TESTS": r"^[^\n]*BEGIN HIDDEN TESTS.*?END HIDDEN TESTS[^\n]*\n?",
        "agree(": r"^agree\(\n.*?^\)\n?",
        "checker.autotest": r"^from nst_helpers\.checker\.autotest import [^\n]*\n?",
        "AUTOTEST": r"^[ \t]*#[^\n]*AUTOTEST[^\n]*\n?",
    }.items()
}
# Folders that people put around their notebook when they pack it.
_DEEPEST_FOLDER = 3
_MOST_FILES = 20


@dataclass(frozen=True)
class Repaired:
    """A submission that nbgrader can grade.

    Attributes:
        notebook: every cell of the lesson once, in the lesson's order, with its id, metadata and
            locked text; the student's answers, and the student's own cells where they stood;
            no outputs.
        notes: what was wrong and what was done, one sentence each; empty if nothing was.
        answered: the ids of the answer cells that differ from the stub.
    """

    notebook: NotebookNode
    notes: tuple[str, ...]
    answered: tuple[str, ...]


@dataclass(frozen=True)
class _Wanted:
    """A cell of the lesson's source.

    ``role`` is "answer", "locked" or "free"; ``text`` is what students can see of it, without
    measured values; ``names`` are what an answer must define.
    """

    id: str
    cell: NotebookNode
    role: str
    text: str
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Answer:
    """The answer to one exercise.

    ``places`` are the submitted cells it was made of; ``notes`` say what was done to it.
    """

    text: str
    places: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def repair(
    submission: Path | str | bytes,
    reference: Path | str | NotebookNode,
    name: str | None = None,
) -> Repaired:
    """Return a submission as a notebook that can be graded, however it was damaged.

    Args:
        submission: the submitted notebook, as a file or its bytes, or the folder that was handed
            in. Of several notebooks in a folder the one with the right name counts, unless it is
            unanswered and another is not. Links are not followed.
        reference: the lesson's source, ``solutions/<lesson>/<lesson>.ipynb``.
        name: the file name that is asked for; None takes the reference's.

    Returns:
        The notebook and one sentence for each thing that was wrong. What cannot be read at all
        gives the lesson without an answer, and a sentence that says why.

    Raises:
        OSError, ValueError: the reference cannot be read; never anything about the submission.
    """
    if not isinstance(reference, NotebookNode):
        name = name or Path(reference).name
        reference = _read(reference, Path(reference).stat().st_mtime_ns)
    if isinstance(submission, bytes):
        return _of_bytes(submission, reference)
    path = Path(submission)
    if path.is_dir() and not path.is_symlink():
        return _of_folder(path, reference, name or "")
    try:
        return _of_bytes(read_file(path), reference)
    except Unreadable as error:
        return _unanswered(reference, str(error))


@functools.lru_cache(maxsize=16)
def _read(path: Path | str, changed: int) -> NotebookNode:
    """Return a lesson's source; a class is repaired with one reading of it."""
    return nbformat.read(path, as_version=4)


def notebooks_in(folder: Path, name: str) -> list[Path]:
    """Return what may be the notebook ``name`` in a submitted folder, the likeliest first."""
    found = []
    for parent, folders, files in os.walk(folder):
        inside = Path(parent)
        deep = len(inside.relative_to(folder).parts) >= _DEEPEST_FOLDER
        folders[:] = [] if deep else [entry for entry in folders if not entry.startswith(".")]
        likely = (entry for entry in sorted(files) if re.search(r"(?i)\.(ipynb\b|json$)", entry))
        found += [inside / entry for entry in likely if not entry.startswith(".")]
    found.sort(key=lambda path: (path.name != name, len(path.parts), _unlikeness(path.name, name)))
    return found[:_MOST_FILES]


def _unlikeness(one: str, other: str) -> float:
    return -difflib.SequenceMatcher(None, one, other).ratio()


def _of_folder(folder: Path, reference: NotebookNode, name: str) -> Repaired:
    """Return the best notebook in the folder, with a note if it is not the file asked for."""
    candidates = notebooks_in(folder, name)
    if (folder / name).is_dir():
        return _unanswered(reference, f"{name} is a folder, not a notebook; ask for the file.")
    if not candidates:
        return _unanswered(reference, "No notebook was handed in; ask for it.")
    readings: list[Repaired] = []
    for path in candidates:
        readings.append(repair(path, reference))
        if path.name == name and readings[-1].answered:
            break
    best = max(range(len(readings)), key=lambda index: (len(readings[index].answered), -index))
    path = candidates[best]
    notes = list(readings[best].notes)
    if path != folder / name:
        others = f", one of {len(candidates)} notebooks," if len(candidates) > 1 else ""
        notes.insert(0, f"{path.relative_to(folder)}{others} was graded as {name}.")
    return Repaired(readings[best].notebook, tuple(notes), readings[best].answered)


def _unanswered(reference: NotebookNode, reason: str) -> Repaired:
    empty = _repaired([], [], reference)
    return Repaired(empty.notebook, (f"Nothing could be graded: {reason}",), ())


def _of_bytes(data: bytes, reference: NotebookNode) -> Repaired:
    try:
        cells, notes = read_cells(data)
    except Unreadable as error:
        return _unanswered(reference, str(error))
    return _repaired(cells, notes, reference)


def _repaired(cells: list[Cell], notes: list[str], reference: NotebookNode) -> Repaired:
    """Put every cell of the lesson into its place, with the student's own cells around them."""
    wanted = [_as_wanted(cell, index) for index, cell in enumerate(reference.cells)]
    claims = _claims(cells, wanted)
    answers = _answers(cells, claims, wanted)
    used = {place for answer in answers.values() for place in answer.places}
    others = _matched(cells, claims, wanted, used)
    notebook = nbformat.v4.new_notebook(metadata=copy.deepcopy(reference.metadata))
    notebook.cells = _laid_out(cells, claims, wanted, answers, others)
    _give_ids(notebook.cells)
    if not cells:
        return Repaired(notebook, (), ())
    if not any(cell.grade_id for cell in cells):
        notes = [*notes, "It carries no nbgrader metadata; cells were known by id, name and text."]
    for entry in wanted:
        notes += [f"{entry.id}: {line}" for line in answers.get(entry.id, _Answer("")).notes]
    notes += _remarks(cells, wanted, answers, others)
    answered = (entry.id for entry in wanted if _is_written(entry, answers))
    return Repaired(notebook, tuple(notes), tuple(answered))


def _is_written(entry: _Wanted, answers: dict[str, _Answer]) -> bool:
    answer = answers.get(entry.id)
    return answer is not None and answer.text != _ELSEWHERE and not _is_stub(answer.text, entry)


# What the lesson wants.


def _as_wanted(cell: NotebookNode, index: int) -> _Wanted:
    marks = cell.metadata.get("nbgrader", {})
    identity = marks.get("grade_id") or cell.get("id") or f"cell-{index}"
    if marks.get("solution"):
        text = _with_stub(cell.source) if cell.cell_type == "code" else cell.source
        names = _defined(text) or _defined(cell.source)
        return _Wanted(identity, cell, "answer", text, frozenset(names))
    role = "locked" if marks.get("grade") or marks.get("locked") or marks.get("task") else "free"
    return _Wanted(identity, cell, role, _visible(cell.source))


def _with_stub(source: str) -> str:
    """Return an answer cell as students get it."""
    region = re.compile(r"^([ \t]*)#+ *BEGIN SOLUTION.*?END SOLUTION[^\n]*", re.DOTALL | re.M)
    return region.sub(lambda found: textwrap.indent(STUB, found.group(1)), source)


def _visible(source: str) -> str:
    """Return a cell's text as it is compared: without blank lines and what nbgrader changes."""
    lines = _without_measures(source).split("\n")
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _without_measures(source: str) -> str:
    """Return a text without hidden tests, AUTOTEST lines and what nbgrader makes of them."""
    for word, pattern in _MEASURES.items():
        if word in source:
            source = pattern.sub("", source)
    return source


# Which submitted cell answers which exercise.


def _claims(cells: Sequence[Cell], wanted: Sequence[_Wanted]) -> list[str | None]:
    """Return which cell of the lesson each submitted cell says it is."""
    known = {entry.id for entry in wanted}
    return [
        cell.grade_id if cell.grade_id in known else cell.id if cell.id in known else None
        for cell in cells
    ]


def _answers(
    cells: Sequence[Cell], claims: Sequence[str | None], wanted: Sequence[_Wanted]
) -> dict[str, _Answer]:
    """Return the answer to each exercise by its cell's id."""
    given = {entry.text for entry in wanted if entry.role != "answer"}
    own = [place for place, cell in enumerate(cells) if _visible(cell.source) not in given]
    answers: dict[str, _Answer] = {}
    used: set[int] = set()
    for entry in wanted:
        if entry.role == "answer":
            answer = _answer_to(entry, cells, claims, own, wanted)
            if used & set(answer.places):  # two answers were merged into one cell
                answer = _Answer(_ELSEWHERE, (), answer.notes)
            used |= set(answer.places)
            answers[entry.id] = answer
    return answers


def _answer_to(
    entry: _Wanted,
    cells: Sequence[Cell],
    claims: Sequence[str | None],
    own: Sequence[int],
    wanted: Sequence[_Wanted],
) -> _Answer:
    """Return the answer to one exercise; see the top of this file for how it is chosen."""
    claimed = [place for place in own if claims[place] == entry.id]
    choices = list(_joined(entry, cells, claims, claimed))
    best = _best(entry, [_cleaned(entry, cells, choice, wanted) for choice in choices])
    if best and _worth(best.text, entry)[0]:
        left = [place for place in claimed if place not in best.places]
        if all(_is_stub(cells[place].source, entry) for place in left):
            return best
        note = f"{len(choices)} cells carry this answer; the last complete one counts."
        return _Answer(best.text, best.places, (*best.notes, note))
    spare = [
        _cleaned(entry, cells, _Answer(cells[place].source, (place,)), wanted)
        for place in own
        if claims[place] != entry.id and _defined(cells[place].source) & entry.names
    ]
    found = _best(entry, spare)
    if found and not _is_stub(found.text, entry):
        note = f"the answer was found in another cell, which defines {_listed(entry.names)}."
        return _Answer(found.text, found.places, (*found.notes, note) if any(claims) else ())
    if best or found:
        return best or found
    alike = _most_alike(entry.text, cells, [place for place in own if claims[place] is None])
    if alike is not None:
        return _Answer(cells[alike].source, (alike,))
    return _Answer(entry.text, (), ("its cell is missing; it counts as not answered.",))


def _best(entry: _Wanted, choices: Sequence[_Answer]) -> _Answer | None:
    """Return the most complete answer, of equally complete ones the last."""
    last_first = sorted(choices, key=lambda choice: choice.places, reverse=True)
    return max(last_first, key=lambda choice: _worth(choice.text, entry), default=None)


def _worth(text: str, entry: _Wanted) -> tuple[bool, ...]:
    """Return whether a text is an answer, then what makes it more complete than another."""
    written = not _is_stub(text, entry)
    defines = not entry.names or bool(_defined(text) & entry.names)
    return written and defines, _parses(text), "NotImplementedError" not in text, written


def _joined(
    entry: _Wanted, cells: Sequence[Cell], claims: Sequence[str | None], claimed: Sequence[int]
) -> Iterator[_Answer]:
    """Give each claimed cell, together with the parts that were split off it."""
    used: set[int] = set()
    for place in claimed:
        if place in used:
            continue
        places, text = [place], cells[place].source
        while (following := places[-1] + 1) < len(cells):
            part = cells[following]
            own_part = claims[following] == entry.id
            if not (own_part or claims[following] is None) or not _continues(text, part, own_part):
                break
            if _defined(part.source) & entry.names:
                break
            text = _rejoined(text, part.source)
            places.append(following)
        used |= set(places)
        split = f"the answer was split over {len(places)} cells and is joined again."
        yield _Answer(text, tuple(places), (split,) if len(places) > 1 else ())


def _continues(text: str, part: Cell, claimed: bool) -> bool:
    """Return whether a cell is the rest of a text that was split."""
    if part.kind != "code" or not part.source.strip():
        return False
    indented = part.source.lstrip("\n")[0] in " \t"
    if not _parses(_rejoined(text, part.source)):
        return indented and claimed
    return indented or not _parses(text) or (claimed and not _parses(part.source))


def _rejoined(text: str, part: str) -> str:
    """Return two parts of a text as one, cut between lines or within one."""
    joins = [f"{text}{between}{part}" for between in ("\n", "", " ")]
    return next((join for join in joins if _parses(join)), joins[0])


def _cleaned(
    entry: _Wanted, cells: Sequence[Cell], answer: _Answer, wanted: Sequence[_Wanted]
) -> _Answer:
    """Return an answer without the text of other cells it was merged with, and as code."""
    if entry.cell.cell_type != "code":
        return answer
    text, notes = answer.text, list(answer.notes)
    kind = cells[answer.places[0]].kind
    if kind != "code":
        notes.append(f"its cell was of type {kind} and is code again.")
    alone = _without_others(text, entry, wanted)
    if alone != text:
        notes.append("it was merged with other cells, whose text is taken out of it.")
    if kind != "code" or alone != text or "\n=======\n" in text:
        versions = (alone, *_versions(alone, entry.names))
        alone = next((text for text in versions if _worth(text, entry)[:2] == (True, True)), alone)
    return _Answer(alone, answer.places, tuple(notes))


def _without_others(text: str, entry: _Wanted, wanted: Sequence[_Wanted]) -> str:
    alone = before = _without_measures(text)
    for other in wanted:
        first, *rest = other.text.split("\n")
        if other.role != "answer" and first and first in alone and other.text not in entry.text:
            lines = r"[ \t]*\n\s*?".join(re.escape(line) for line in (first, *rest))
            alone = re.sub(rf"^{lines}[ \t]*$", "", alone, flags=re.MULTILINE)
    return text if alone == before else alone.strip("\n")


def _versions(text: str, names: frozenset[str]) -> Iterator[str]:
    """Give what may be the code in a text that is more than code."""
    sides = re.compile(r"^<{7} .*?\n(.*?)^={7}\n(.*?)^>{7} [^\n]*\n?", re.DOTALL | re.MULTILINE)
    yield sides.sub(r"\2", text)
    yield sides.sub(r"\1", text)
    yield "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    blocks = re.findall(r"^(?:import|from) .*\n?", text, re.MULTILINE)
    for name in sorted(names):
        head = rf"^(?:(?:async )?def {name}\b|{name}\b *[:=]).*\n?(?:[ \t)\]}}].*\n?|\n)*"
        blocks += re.findall(head, text, re.MULTILINE)
    yield "".join(block if block.endswith("\n") else f"{block}\n" for block in blocks).rstrip()


def _is_stub(text: str, entry: _Wanted) -> bool:
    return _bare(text) in ("", _bare(entry.text))


def _bare(text: str) -> str:
    """Return what is left without comments, spaces and the words of a NotImplementedError."""
    text = re.sub(r"^[ \t]*#.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\s+", "", re.sub(r"raise NotImplementedError.*", "raise", text))


# The cells that are no answers.


def _matched(
    cells: Sequence[Cell],
    claims: Sequence[str | None],
    wanted: Sequence[_Wanted],
    used: set[int],
) -> dict[str, int]:
    """Return where each locked or free cell of the lesson stands in the submission."""
    texts = [_visible(cell.source) for cell in cells]
    left = [place for place in range(len(cells)) if place not in used]
    found: dict[str, int] = {}
    for entry in wanted:
        if entry.role != "answer":
            claimed = [place for place in left if claims[place] == entry.id]
            same = [place for place in left if texts[place] == entry.text]
            best = [place for place in claimed if place in same] or claimed
            best = best or [place for place in same if claims[place] is None]
            if best:
                found[entry.id] = best[0]
                left.remove(best[0])
    for entry in wanted:
        if entry.role != "answer" and entry.id not in found:
            alike = _most_alike(entry.text, cells, [i for i in left if claims[i] is None])
            if alike is not None:
                found[entry.id] = alike
                left.remove(alike)
    return found


def _most_alike(text: str, cells: Sequence[Cell], places: Sequence[int]) -> int | None:
    """Return the cell whose text is nearly this one, or None."""
    matcher = difflib.SequenceMatcher(None, "", text[:_LONGEST_COMPARED], autojunk=False)
    best, place_of_best = _ALIKE, None
    for place in places[:_MOST_COMPARED]:
        matcher.set_seq1(_visible(cells[place].source)[:_LONGEST_COMPARED])
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best:
            ratio = matcher.ratio()
            if ratio > best:
                best, place_of_best = ratio, place
    return place_of_best


def _remarks(
    cells: Sequence[Cell],
    wanted: Sequence[_Wanted],
    answers: dict[str, _Answer],
    others: dict[str, int],
) -> list[str]:
    """Return what is to be said about missing, changed and moved cells."""
    needed = [entry for entry in wanted if entry.role == "locked" or _is_setup(entry)]
    missing = [entry.id for entry in needed if entry.id not in others]
    changed = [
        entry.id
        for entry in wanted
        if entry.role == "locked"
        and entry.id in others
        and _visible(cells[others[entry.id]].source) != entry.text
    ]
    places = [
        others[entry.id] if entry.id in others else answers[entry.id].places[0]
        for entry in wanted
        if (entry.role == "locked" and entry.id in others)
        or (entry.role == "answer" and answers[entry.id].places)
    ]
    notes = []
    if missing:
        notes.append(f"Missing cells are restored: {_listed(missing)}.")
    if changed:
        notes.append(f"Changed tests count as they were handed out: {_listed(changed)}.")
    if places != sorted(places):
        notes.append("Cells stand in another order; they are graded in the lesson's.")
    return notes


def _is_setup(entry: _Wanted) -> bool:
    """Return whether tests may rely on what this cell defines."""
    code = entry.role == "free" and entry.cell.cell_type == "code"
    return code and not {_DEMONSTRATION, *_USES_ANSWER} & set(entry.cell.metadata.get("tags", []))


def _listed(names: Sequence[str] | frozenset[str]) -> str:
    shown = sorted(names) if isinstance(names, frozenset) else list(names)
    more = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
    return ", ".join(shown[:8]) + more


# The repaired notebook.


def _laid_out(
    cells: Sequence[Cell],
    claims: Sequence[str | None],
    wanted: Sequence[_Wanted],
    answers: dict[str, _Answer],
    others: dict[str, int],
) -> list[NotebookNode]:
    """Return the lesson's cells in their order, each followed by the own cells that followed it."""
    position = {entry.id: index for index, entry in enumerate(wanted)}
    home = {place: position[key] for key, place in others.items()}
    home |= {place: position[key] for key, answer in answers.items() for place in answer.places}
    given = {entry.text for entry in wanted if entry.role != "answer"}
    before: dict[int, list[NotebookNode]] = {}
    after: dict[int, list[NotebookNode]] = {}
    here = -1
    for place, cell in enumerate(cells):
        index = position.get(claims[place], -1)
        if place in home:
            here = home[place]
        elif not cell.source.strip() or _visible(cell.source) in given:
            continue  # a copy of what was handed out
        elif index >= 0 and wanted[index].role == "answer":
            if not _is_stub(cell.source, wanted[index]):
                before.setdefault(index, []).append(_own(cell))  # so that it overrides nothing
        else:
            early = _first_user(cell, wanted, answers, here)
            shelf = after if early is None else before
            shelf.setdefault(here if early is None else early, []).append(_own(cell))
    laid_out = after.get(-1, [])
    for index, entry in enumerate(wanted):
        laid_out += before.get(index, [])
        laid_out += _in_place(entry, cells, answers, others)
        laid_out += after.get(index, [])
    return laid_out


def _in_place(
    entry: _Wanted, cells: Sequence[Cell], answers: dict[str, _Answer], others: dict[str, int]
) -> list[NotebookNode]:
    """Return a cell of the lesson, with what the student made of it."""
    cell = copy.deepcopy(entry.cell)
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    if entry.role == "answer":
        cell.source = answers[entry.id].text
    given = cells[others[entry.id]] if entry.role == "free" and entry.id in others else None
    if given is None or _visible(given.source) == entry.text:
        return [cell]
    if given.kind != cell.cell_type or _is_setup(entry):
        # What the student added stays; what tests rely on is as it was handed out.
        return [_own(given), cell]
    cell.source = given.source
    if _DEMONSTRATION not in cell.metadata.get("tags", []):
        return [cell]
    helpers = _functions(given.source, _defined(entry.cell.source))
    return [cell, nbformat.v4.new_code_cell(helpers)] if helpers else [cell]


def _own(cell: Cell) -> NotebookNode:
    """Return a student's own cell; a demonstration's copy stays one that is passed over."""
    make = {
        "code": nbformat.v4.new_code_cell,
        "markdown": nbformat.v4.new_markdown_cell,
        "raw": nbformat.v4.new_raw_cell,
    }[cell.kind]
    made = make(cell.source)
    made["id"] = ""
    if _DEMONSTRATION in cell.tags and not _functions(cell.source, set()):
        made.metadata["tags"] = [_DEMONSTRATION]
    return made


def _first_user(
    cell: Cell, wanted: Sequence[_Wanted], answers: dict[str, _Answer], here: int
) -> int | None:
    """Return before which answer a cell of helper functions has to stand, if it comes too late."""
    tree = _parsed(cell.source) if cell.kind == "code" else None
    helpers = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    if tree is None or not all(isinstance(node, helpers) for node in tree.body):
        return None
    names = _defined(cell.source)
    if any(names & entry.names for entry in wanted):
        return None
    for index, entry in enumerate(wanted[:here]):
        tested = any(other.role == "locked" for other in wanted[index : here + 1])
        text = answers[entry.id].text if entry.role == "answer" and tested else ""
        if any(re.search(rf"\b{re.escape(name)}\b", text) for name in names):
            return index
    return None


def _give_ids(cells: list[NotebookNode]) -> None:
    """Give an id to every cell that has none: the student's own, and those of an old reference."""
    used = {cell.get("id") for cell in cells}
    fresh = (f"own-{number}" for number in itertools.count(1))
    for cell in cells:
        if not cell.get("id"):
            cell["id"] = next(name for name in fresh if name not in used)


# Python's names for things.


@functools.lru_cache(maxsize=512)
def _parsed(source: str) -> ast.Module | None:
    """Return the syntax tree of a cell, IPython's own lines left out, or None."""
    plain = re.sub(r"^[ \t]*[%!?].*$", "", textwrap.dedent(source), flags=re.MULTILINE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(plain)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _parses(source: str) -> bool:
    return _parsed(source) is not None


def _defined(source: str) -> set[str]:
    """Return the names that a cell's functions, classes and assignments define."""
    tree = _parsed(source)
    if tree is None:
        pattern = r"^[ \t]*(?:async +)?(?:def|class) +(\w+)|^(\w+)[ \t]*(?::[^=\n]+)?=(?!=)"
        found = re.findall(pattern, source, re.MULTILINE)
        return {name for pair in found for name in pair if name}
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _functions(source: str, known: set[str]) -> str:
    """Return the functions, classes and imports of a cell, without those whose names are known."""
    tree = _parsed(source)
    parts = []
    for node in tree.body if tree else []:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name not in known:
            parts.append(ast.unparse(node))
    imports = (ast.Import, ast.ImportFrom)
    needed = [ast.unparse(node) for node in tree.body if isinstance(node, imports)] if parts else []
    return "\n".join([*needed, *parts])
