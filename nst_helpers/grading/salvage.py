"""Reads the cells out of a submitted file, whatever happened to the file.

A whole notebook is read as JSON. Out of a broken, conflicted or very large one every cell is taken
that is complete, by going through its brackets and strings; outputs are passed over unread.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A notebook this large is read; its outputs are not kept.
LARGEST_FILE = 128 * 2**20
# Above this the outputs are passed over instead of being built in memory.
_BUILT_WHOLE = 8 * 2**20
# No lesson comes near these; more is not shown to a grader or run.
LONGEST_CELL = 100_000
MOST_CELLS = 1000

# Deeper nesting and more brackets than any notebook has; a file made to exhaust us stops here.
_DEEPEST = 1000
_MOST_TOKENS = 5_000_000

_KINDS = {"code": "code", "markdown": "markdown", "raw": "raw", "heading": "markdown"}
_MARK = re.compile(rb'["\[\]{}]')
_COLON = re.compile(rb"\s*:\s*")
_KEPT = {b'"cell_type"', b'"source"', b'"input"', b'"id"', b'"metadata"', b'"level"'}
_CONFLICT = re.compile(rb"^<{7} .*\n(?s:.*?)^={7}\s*\n(?s:.*?)^>{7} ", re.MULTILINE)


class Unreadable(Exception):
    """A submission cannot be read; the message is one line for the instructor."""


@dataclass(frozen=True)
class Cell:
    """What matters of a submitted cell.

    Attributes:
        kind: ``"code"``, ``"markdown"`` or ``"raw"``.
        source: its text.
        id: its cell id, or None.
        grade_id: nbgrader's id in its metadata, or None.
        tags: its tags.
    """

    kind: str
    source: str
    id: str | None = None
    grade_id: str | None = None
    tags: tuple[str, ...] = ()


def read_file(path: Path) -> bytes:
    """Return a regular file's bytes; a link is never followed.

    Raises:
        Unreadable: it is a link, no regular file, too large, or may not be read.
    """
    if path.is_symlink():
        raise Unreadable(f"{path.name} is a link, and links are not followed; ask for the file.")
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # a pipe must not make us wait
        flags |= getattr(os, name, 0)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Unreadable(f"{path.name} is not a file; ask for the notebook itself.")
        with open(os.open(path, flags), "rb") as file:  # noqa: PTH123 (a descriptor, not a path)
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Unreadable(f"{path.name} cannot be read ({error.strerror}).") from error
    if len(data) > LARGEST_FILE:
        raise Unreadable(
            f"{path.name} is larger than {LARGEST_FILE >> 20} MB; ask for it without outputs."
        )
    return data


def read_cells(data: bytes) -> tuple[list[Cell], list[str]]:
    """Return the cells of a notebook, and one sentence for everything that was wrong with it.

    Args:
        data: the file's bytes: a notebook of any version in any encoding of Unicode, whole or
            damaged, or a Python file.

    Raises:
        Unreadable: nothing like a notebook is in it.
    """
    encoding = json.detect_encoding(data)
    if encoding != "utf-8":
        data = data.decode(encoding, "replace").lstrip("\ufeff").encode("utf-8", "replace")
    if not data.strip():
        raise Unreadable("the file is empty; ask for the notebook again.")
    if _CONFLICT.search(data):
        (ours, _), (theirs, _) = (_found(side) for side in _sides(data))
        cells, notes = _both(ours, theirs), ["The file holds a Git conflict; both sides were read."]
    else:
        cells, notes = _found(data)
    if not cells:
        cells, notes = _python(data)
    if len(cells) > MOST_CELLS:
        notes.append(f"It has {len(cells)} cells; only the first {MOST_CELLS} were read.")
        cells = cells[:MOST_CELLS]
    if any(len(cell.source) > LONGEST_CELL for cell in cells):
        notes.append(f"A cell is longer than {LONGEST_CELL} characters and was left out.")
        cells = [cell for cell in cells if len(cell.source) <= LONGEST_CELL]
    return cells, notes


def _found(data: bytes) -> tuple[list[Cell], list[str]]:
    notes = []
    try:
        # Nothing legitimate makes a whole notebook fail here, not even a very large number.
        whole = json.loads(data) if len(data) <= _BUILT_WHOLE else None
        raw = None if whole is None else _listed(whole)
    except (ValueError, RecursionError):
        raw = None
    if raw is None:
        raw, complete = _salvaged(data)
        if not complete:
            notes.append("The file is damaged; every cell that is complete in it was read.")
    return [_cell(entry) for entry in raw if isinstance(entry, dict)], notes


def _listed(notebook: Any) -> list[Any]:
    """Return the raw cells of a parsed notebook; version 3 keeps them in worksheets."""
    if not isinstance(notebook, dict):
        return []
    sheets = notebook.get("worksheets")
    holders = [notebook, *(sheets if isinstance(sheets, list) else [])]
    lists = [holder.get("cells") for holder in holders if isinstance(holder, dict)]
    return [cell for cells in lists if isinstance(cells, list) for cell in cells]


def _cell(raw: dict[str, Any]) -> Cell:
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    marks = metadata.get("nbgrader")
    grade_id = marks.get("grade_id") if isinstance(marks, dict) else None
    tags = metadata.get("tags")
    tags = tags if isinstance(tags, list) else []
    kind = _KINDS.get(str(raw.get("cell_type")), "raw")
    return Cell(
        kind,
        _text(raw.get("source", raw.get("input"))),
        raw["id"] if isinstance(raw.get("id"), str) else None,
        grade_id if isinstance(grade_id, str) else None,
        tuple(tag for tag in tags if isinstance(tag, str)),
    )


def _text(source: Any) -> str:
    lines = source if isinstance(source, list) else [source]
    text = "".join(line for line in lines if isinstance(line, str))
    # Half a surrogate pair cannot be written, and a null character cannot be run.
    text = text.encode("utf-8", "replace").decode().replace("\0", "")
    return text.replace("\r\n", "\n")


@dataclass
class _Open:
    """An object or list whose end has not come yet; ``values``: where values of keys begin."""

    bracket: bytes
    start: int
    values: dict[bytes, int] = field(default_factory=dict)


def _salvaged(data: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return the cells that are complete, and whether every bracket has its partner."""
    opened: list[_Open] = []
    found: list[tuple[int, dict[str, Any]]] = []
    complete, deeper = True, 0
    for start, end in _tokens(data):
        text = data[start:end] if end - start <= 12 else b""  # no key that is kept is longer
        if text in (b"{", b"["):
            if len(opened) < _DEEPEST:
                opened.append(_Open(text, start))
            else:
                deeper += 1
        elif text in (b"}", b"]") and deeper:
            deeper -= 1
        elif text in (b"}", b"]"):
            partner = b"{" if text == b"}" else b"["
            while opened and opened[-1].bracket != partner:
                complete = False
                found += _taken(data, opened.pop())
            if opened:
                closed = opened.pop()
                taken = _taken(data, closed)
                if taken:  # what looks like a cell within a cell belongs to an output
                    found = [entry for entry in found if entry[0] < closed.start]
                found += taken
        elif text in _KEPT and opened and opened[-1].bracket == b"{":
            colon = _COLON.match(data, end)
            if colon:
                opened[-1].values[text] = colon.end()
    for entry in reversed(opened):
        complete = False
        found += _taken(data, entry)
    return [raw for _, raw in sorted(found, key=lambda entry: entry[0])], complete


def _tokens(data: bytes) -> Iterator[tuple[int, int]]:
    """Give where each bracket and each string begins and ends.

    A string ends with its line, so that one lost quotation mark spoils one line.
    """
    place = line_end = 0
    for _ in range(_MOST_TOKENS):
        mark = _MARK.search(data, place)
        if not mark:
            return
        start, place = mark.span()
        if mark.group() == b'"':
            if start >= line_end:
                line_end = data.find(b"\n", start)
                line_end = len(data) if line_end < 0 else line_end
            place = _string_end(data, start, line_end)
        yield start, place


def _string_end(data: bytes, start: int, line_end: int) -> int:
    end = start
    while (end := data.find(b'"', end + 1, line_end)) >= 0:
        before = end
        while data[before - 1 : before] == b"\\":
            before -= 1
        if (end - before) % 2 == 0:  # an even number of backslashes escape each other
            return end + 1
    return line_end


def _taken(data: bytes, entry: _Open) -> list[tuple[int, dict[str, Any]]]:
    """Return the object with its place if it is a cell whose text is whole, else nothing."""
    if b'"cell_type"' not in entry.values:
        return []
    raw = {key[1:-1].decode(): _value(data, start) for key, start in entry.values.items()}
    has_text = isinstance(raw.get("source", raw.get("input")), (str, list))
    return [(entry.start, raw)] if has_text else []


def _value(data: bytes, start: int) -> Any:
    """Return the JSON value that begins at ``start``, or None if it is not whole or too long."""
    size = 4096
    while size <= 8 * LONGEST_CELL:
        try:
            window = data[start : start + size].decode("utf-8", "replace")
            return json.JSONDecoder(strict=False).raw_decode(window)[0]
        except RecursionError:
            return None
        except ValueError:
            size *= 8
    return None


def _sides(data: bytes) -> tuple[bytes, bytes]:
    """Return the two versions between Git's conflict markers, each with what both share."""
    ours: list[bytes] = []
    theirs: list[bytes] = []
    takers = [ours, theirs]
    for line in data.splitlines(keepends=True):
        if line.startswith(b"<<<<<<< "):
            takers = [ours]
        elif line.startswith(b"||||||| ") and takers == [ours]:
            takers = []
        elif line.rstrip() == b"=======" and len(takers) < 2:
            takers = [theirs]
        elif line.startswith(b">>>>>>> "):
            takers = [ours, theirs]
        else:
            for taker in takers:
                taker.append(line)
    return b"".join(ours), b"".join(theirs)


def _both(ours: list[Cell], theirs: list[Cell]) -> list[Cell]:
    """Return the cells of both sides; where they differ, theirs come after ours."""
    merged: list[Cell] = []
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    for what, start, end, start2, end2 in matcher.get_opcodes():
        merged += ours[start:end]
        if what != "equal":
            merged += theirs[start2:end2]
    return merged


def _python(data: bytes) -> tuple[list[Cell], list[str]]:
    """Return a Python file's text as one cell."""
    text = data.decode("utf-8", "replace")
    if not re.search(r"^(def|import|from) ", text, re.MULTILINE) or text.lstrip()[:1] in "{[":
        raise Unreadable("there is no notebook in the file; ask for it again.")
    return [Cell("code", _text(text))], ["The file is not a notebook but a Python file."]
