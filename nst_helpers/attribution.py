"""Who made the shipped pictures, under which licence, and what they show.

The facts live in ``images/attribution.json``; ``images/ATTRIBUTION.md`` tells people the same.
Imports nothing of the package but its errors, and no PyTorch.
"""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nst_helpers.errors import NstError

FOLDER_VARIABLE = "NST_IMAGES"
RECORDS_FILE = "attribution.json"
KINDS = ("content", "style")
_TEXT_FIELDS = ("name", "kind", "file", "title", "author", "licence", "source", "alt")


@dataclass(frozen=True)
class Picture:
    """One shipped picture and the facts that travel with it.

    Attributes:
        name: what to call it in code, such as ``"starry-night"``.
        kind: ``"content"`` or ``"style"``.
        path: the file.
        title: what the work is called.
        author: who made it.
        year: when, as text, such as ``"c. 1831"``; None where it is not known.
        licence: the licence in short, then after a semicolon what else is to be said about it.
        source: where the file came from.
        alt: one sentence on what is to be seen, for those who do not see it.
    """

    name: str
    kind: str
    path: Path
    title: str
    author: str
    year: str | None
    licence: str
    source: str
    alt: str

    @property
    def credit(self) -> str:
        """One line: title, author, year if known, and the licence in short."""
        work = ", ".join(part for part in (self.title, self.author, self.year) if part)
        return f"{work} ({self.licence.partition(';')[0]})"


def images_folder() -> Path:
    """Return the folder of the shipped pictures.

    The environment variable ``NST_IMAGES`` decides if it is set; else it is the folder inside an
    installed package, else the one beside the package in a checkout.

    Raises:
        NstError: there is no such folder, or it holds no ``attribution.json``.
    """
    package = Path(__file__).resolve().parent
    chosen = os.environ.get(FOLDER_VARIABLE)
    candidates = [package / "_images", package.parent / "images"]
    if chosen:
        candidates = [Path(chosen).expanduser()]
    for folder in candidates:
        if (folder / RECORDS_FILE).is_file():
            return folder
    if chosen:
        raise NstError(
            f"{FOLDER_VARIABLE} is set to {chosen!r}, which holds no {RECORDS_FILE}; "
            f"unset it to use the shipped pictures."
        )
    raise NstError(
        f"The shipped pictures are missing: there is no {RECORDS_FILE} in "
        f"{' or '.join(map(str, candidates))}; install nst_helpers again, or restore images/."
    )


def pictures(kind: str | None = None) -> list[Picture]:
    """Return the shipped pictures, ordered as in the records.

    Args:
        kind: ``"content"`` or ``"style"``; None returns both.

    Raises:
        NstError: the kind is unknown, or the folder or its records cannot be read.
    """
    if kind is not None and kind not in KINDS:
        raise NstError(f"Kind {kind!r} is unknown; choose one of {', '.join(KINDS)}.")
    folder = images_folder()
    found = [_picture_of(record, folder) for record in _records(folder / RECORDS_FILE)]
    return [each for each in found if kind in (None, each.kind)]


def picture(name: str) -> Picture:
    """Return the shipped picture called ``name``.

    Raises:
        NstError: no picture has that name; the message gives the closest ones.
    """
    known = {each.name: each for each in pictures()}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(str(name), known) or list(known)
    raise NstError(f"No shipped picture is called {name!r}; choose from {', '.join(close)}.")


def find_picture(source: object) -> Picture | None:
    """Return the shipped picture that ``source`` means, or None.

    Args:
        source: a shipped picture's name, a path to its file in any spelling, or a ``Picture``.
            A file in the working folder comes before a shipped picture of the same name.
    """
    if isinstance(source, Picture):
        return source
    if not isinstance(source, (str, Path)):
        return None
    try:
        known = pictures()
    except NstError:
        return None  # without shipped pictures, nothing is one of them
    try:
        path = Path(source).expanduser()
        if path.is_file():
            return next((p for p in known if p.path.exists() and p.path.samefile(path)), None)
    except (OSError, ValueError, RuntimeError):
        return None  # too long, or with characters no path has: a URL with data in it, say
    return next((each for each in known if each.name == str(source)), None)


def _records(path: Path) -> list[Any]:
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise NstError(f"{path} cannot be read ({reason}); restore the file.") from None
    if not isinstance(records, list):
        raise NstError(f"{path} holds no list of records; restore the file.")
    return records


def _picture_of(record: Any, folder: Path) -> Picture:
    """Return the picture a record describes, once the record has proved to be one."""
    fields = {*_TEXT_FIELDS, "year"}
    if (
        not isinstance(record, dict)
        or set(record) != fields
        or not all(isinstance(record[field], str) and record[field] for field in _TEXT_FIELDS)
        or not isinstance(record["year"], (str, type(None)))
        or record["kind"] not in KINDS
    ):
        name = record.get("name") if isinstance(record, dict) else record
        raise NstError(
            f"The record {str(name)[:60]!r} in {folder / RECORDS_FILE} is not complete; "
            f"it needs text for {', '.join(sorted(fields))}."
        )
    path = folder / record["file"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise NstError(f"{folder / RECORDS_FILE} names {record['file']!r}, outside its folder.")
    return Picture(path=path, **{key: record[key] for key in fields - {"file"}})
