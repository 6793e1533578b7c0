"""A panel for a class: two pictures side by side, which is which unknown, and a question.

The page's part is ``ab_panel.js`` and ``ab_panel.css`` beside this file. The page is never told how
a picture was made, only "Picture A" and "Picture B"; what was chosen is translated here and
appended to a file by :mod:`nst_helpers.votes`.
"""

from __future__ import annotations

import datetime
import io
import os
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from PIL import Image

from nst_helpers.errors import NstError
from nst_helpers.images import load_image, to_pil
from nst_helpers.votes import UNDECIDED, Vote, append_vote, check_file, read_votes

FILE = "my-votes.csv"
SIDES = ("left", "right")
_LONGEST_NAME = 40
_QUALITY = 95


@dataclass(frozen=True)
class _Pair:
    """Two pictures of the same thing, by how they were made, as JPEG."""

    title: str
    pictures: Mapping[str, bytes]
    reference: bytes | None


class BlindPanel(anywidget.AnyWidget):
    """Shows pairs of pictures in random order, left and right by chance, and keeps the votes.

    Each voter sees every pair once. Nothing is shown of what was voted before all have voted, as it
    would sway the next voter: count with :func:`nst_helpers.votes.tally`.

    Args:
        pairs: what a pair shows -> how each of its two pictures was made -> the picture, anything
            :func:`nst_helpers.images.load_image` takes; the same two ways, and the same size of
            both pictures, in every pair.
        question: what is asked of each pair.
        references: what a pair shows -> a third picture that the question speaks of.
        file: the CSV file that votes are appended to.
        seed: of the random order; None gives another one each time.

    Raises:
        NstError: a pair is no pair, or the file holds something else than votes.
        ImageError: one is no picture.
    """

    _esm = Path(__file__).with_name("ab_panel.js")
    _css = Path(__file__).with_name("ab_panel.css")

    question = traitlets.Unicode().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        pairs: Mapping[str, Mapping[str, Any]],
        question: str,
        *,
        references: Mapping[str, Any] | None = None,
        file: str | os.PathLike = FILE,
        seed: int | None = None,
    ) -> None:
        if not question.strip():
            raise NstError("The question is empty; ask one, such as: Which do you like more?")
        self._pairs = _read_pairs(pairs, dict(references or {}))
        self._file = Path(file)
        self._chance = random.Random(seed)
        self._lock = threading.RLock()
        self._number = 1  # of what is shown: an answer to anything earlier is not heard
        self._voter = ""
        self._waiting: list[tuple[_Pair, tuple[str, str]]] = []
        check_file(self._file)  # a file that cannot be used is told now, not at the first vote
        # All at once, so that the page is never without anything to show.
        super().__init__(question=question, shown={**self._welcome(), "number": self._number})
        self.on_msg(self._hear)

    # --- from the page ----------------------------------------------------------------------------

    def _hear(self, _: Any, message: Any, __: Any) -> None:
        """Do what the page asks for; a vote that could not be kept can be given again."""
        try:
            with self._lock:
                if message["number"] != self._number:
                    return  # pressed twice: the second press meant what is no longer shown
                {"begin": self._begin, "vote": self._vote, "next": self._next}[message["kind"]](
                    message
                )
        except NstError as error:
            self.status = str(error)
        except Exception as error:
            self.status = f"That did not work ({type(error).__name__}: {error})."

    def _begin(self, message: Mapping[str, Any]) -> None:
        known = {vote.voter for vote in read_votes(self._file)}
        self._voter = _plain_name(str(message["name"])) or _new_name(known)
        order = self._chance.sample(self._pairs, len(self._pairs))
        self._waiting = [(pair, self._sides(pair)) for pair in order]
        said = f"You vote as {self._voter}."
        if self._voter in known:
            said += " You have voted before: your new votes count, the old ones are kept."
        self._show_pair(said)

    def _sides(self, pair: _Pair) -> tuple[str, str]:
        left, right = self._chance.sample(sorted(pair.pictures), 2)
        return left, right

    def _vote(self, message: Mapping[str, Any]) -> None:
        pair, (left, right) = self._waiting[0]
        choice = {"left": left, "right": right, UNDECIDED: UNDECIDED}[message["choice"]]
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        vote = Vote(now, self._voter, self.question, pair.title, left, right, choice)
        append_vote(self._file, vote)
        del self._waiting[0]
        if self._waiting:
            self._show_pair("Your vote was kept.")
            return
        self._show({"phase": "done"})
        self.status = (
            f"That was the last pair. Thank you, {self._voter}! "
            f"Your {len(self._pairs)} votes are in {self._file.name}."
        )

    def _next(self, message: Mapping[str, Any]) -> None:
        self._voter = ""
        self._show(self._welcome())
        self.status = "The next person may begin."

    # --- to the page ------------------------------------------------------------------------------

    def _welcome(self) -> dict[str, Any]:
        return {"phase": "welcome", "pairs": len(self._pairs)}

    def _show_pair(self, said: str) -> None:
        pair, sides = self._waiting[0]
        place = f"Pair {len(self._pairs) - len(self._waiting) + 1} of {len(self._pairs)}"
        self._show(
            {
                "phase": "vote",
                "title": f"{place}: {pair.title}",
                "pictures": [pair.pictures[made] for made in sides],
                "reference": pair.reference,
            }
        )
        self.status = f"{said} {place} is shown."

    def _show(self, what: dict[str, Any]) -> None:
        self._number += 1
        self.shown = {**what, "number": self._number}


def blind_panel(
    pairs: Mapping[str, Mapping[str, Any]], question: str, **options: Any
) -> BlindPanel:
    """Return a panel that asks ``question`` of each pair; see :class:`BlindPanel`."""
    return BlindPanel(pairs, question, **options)


def _read_pairs(
    pairs: Mapping[str, Mapping[str, Any]], references: Mapping[str, Any]
) -> list[_Pair]:
    """Return the pairs, once they are known to be such as cannot be told apart by their form."""
    if not pairs:
        raise NstError("There are no pairs to vote on; give at least one.")
    ways = sorted(next(iter(pairs.values())))
    for title, pictures in pairs.items():
        if sorted(pictures) != ways or len(ways) != 2 or not all(ways) or UNDECIDED in ways:
            raise NstError(
                f"The pair {title!r} holds {', '.join(map(repr, pictures)) or 'nothing'}; every "
                f"pair needs two pictures, made in the same two ways, and none may be called "
                f"{UNDECIDED!r}."
            )
    unknown = sorted(set(references) - set(pairs))
    if unknown:
        raise NstError(f"There is no pair {unknown[0]!r} for its reference; name it as the pair.")
    return [_read_pair(title, pairs[title], references.get(title)) for title in pairs]


def _read_pair(title: str, pictures: Mapping[str, Any], reference: Any) -> _Pair:
    read = {made: to_pil(load_image(picture)) for made, picture in pictures.items()}
    (one, size), (other, other_size) = ((made, picture.size) for made, picture in read.items())
    if size != other_size:
        raise NstError(
            f"Of the pair {title!r}, {one!r} has {size[0]} by {size[1]} pixels and {other!r} "
            f"{other_size[0]} by {other_size[1]}, so they could be told apart by their size; "
            f"make them equal."
        )
    third = None if reference is None else _jpeg(to_pil(load_image(reference, size=max(size))))
    return _Pair(title, {made: _jpeg(picture) for made, picture in read.items()}, third)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _plain_name(name: str) -> str:
    """Return a nickname that a spreadsheet takes for a name: no formula, on one line, short."""
    visible = "".join(letter if letter.isprintable() else " " for letter in name)
    return " ".join(visible.split()).lstrip("=+-@ ")[:_LONGEST_NAME].strip()


def _new_name(known: set[str]) -> str:
    number = len(known) + 1
    while f"voter {number}" in known:
        number += 1
    return f"voter {number}"
