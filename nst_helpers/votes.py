"""Votes on pairs of pictures, of which the voter was not told how they were made.

Votes are rows of a CSV file: each is appended and on the disk before the next pair is shown, and
none is ever changed. ``tally`` counts them with exact intervals.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import filelock

from nst_helpers.errors import NstError

UNDECIDED = "undecided"
CONFIDENCE = 0.95
SECONDS_TO_WAIT = 10
_HALVINGS = 60  # of an interval, to the last digit of a float


class VotesError(NstError, ValueError):
    """A file of votes cannot be read, written or counted."""


@dataclass(frozen=True)
class Vote:
    """What one person said of one pair.

    Attributes:
        time: when, in UTC, as ISO 8601 writes it.
        voter: the person's nickname.
        question: what was asked.
        pair: what both pictures show.
        left: how the left picture was made.
        right: how the right picture was made.
        choice: one of the two, or ``"undecided"``.
    """

    time: str
    voter: str
    question: str
    pair: str
    left: str
    right: str
    choice: str


COLUMNS = tuple(field.name for field in fields(Vote))


# --- the file -------------------------------------------------------------------------------------


def append_vote(path: str | os.PathLike, vote: Vote) -> None:
    """Append a vote to a CSV file, which is made if it is not there, and wait for the disk.

    Several programs may append to one file at the same time.

    Raises:
        VotesError: the file cannot be written, or holds something else than votes.
    """
    path = Path(path)
    _check_folder(path)
    try:
        with filelock.FileLock(f"{path}.lock", timeout=SECONDS_TO_WAIT):
            beginning = _beginning(path)
            with path.open("a", encoding="utf-8", newline="") as file:
                file.write(beginning)
                csv.writer(file).writerow(astuple(vote))
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise VotesError(
            f"The vote could not be written to {str(path)!r} ({_reason(error)}); make room or "
            f"choose another file, and vote again."
        ) from None


def check_file(path: str | os.PathLike) -> None:
    """Make sure that votes can be appended to a file, so far as that can be told beforehand.

    Raises:
        VotesError: its folder is missing, or it holds something else than votes.
    """
    _check_folder(Path(path))
    read_votes(path)


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise VotesError(
            f"There is no folder {str(path.parent)!r} for the file {path.name!r}; make the folder, "
            f"or choose another file."
        )


def _beginning(path: Path) -> str:
    """Return what has to be written before a row: the heading, the end of a broken line, nothing.

    Raises:
        VotesError: the file holds something else than votes.
    """
    text = _text(path) if path.exists() else ""
    if not text:
        return ",".join(COLUMNS) + "\r\n"
    _check_heading(next(_rows(text), []), path)
    return "" if text.endswith("\n") else "\r\n"


def read_votes(*paths: str | os.PathLike) -> list[Vote]:
    """Return the votes in CSV files, in the order they stand there; without a file there are none.

    Raises:
        VotesError: a file cannot be read, or one of its lines is no vote.
    """
    return [vote for path in map(Path, paths) if path.exists() for vote in _votes(path)]


def _votes(path: Path) -> list[Vote]:
    reader = _rows(_text(path))
    _check_heading(next(reader, []), path)
    votes = []
    for row in reader:
        if not row:
            continue
        if len(row) != len(COLUMNS) or not _is_vote(Vote(*row)):
            raise VotesError(
                f"Line {reader.line_num} of {str(path)!r} is no vote, perhaps because it was "
                f"broken off; mend that line or take it out."
            )
        votes.append(Vote(*row))
    return votes


def _rows(text: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""))


def _is_vote(vote: Vote) -> bool:
    made = {vote.left, vote.right}
    return all(astuple(vote)) and len(made) == 2 and vote.choice in {*made, UNDECIDED}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark before the text
    except (OSError, UnicodeDecodeError) as error:
        raise VotesError(
            f"{str(path)!r} cannot be read as a file of votes ({_reason(error)}); "
            f"choose another file."
        ) from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _check_heading(heading: Sequence[str], path: Path) -> None:
    if tuple(heading) != COLUMNS:
        raise VotesError(
            f"{str(path)!r} does not begin with the columns {', '.join(COLUMNS)}, so it is not a "
            f"file of votes, and was left as it is; choose another file."
        )


# --- counting -------------------------------------------------------------------------------------


def that_count(votes: Iterable[Vote]) -> list[Vote]:
    """Return the last vote of each voter on each pair and question: minds may be changed."""
    return list({(vote.voter, vote.question, vote.pair): vote for vote in votes}.values())


def tally(
    votes: Iterable[Vote], one: str, other: str, confidence: float = CONFIDENCE
) -> list[dict[str, str | int | float]]:
    """Return rows for a table: how often ``one`` was preferred to ``other``, and what that proves.

    There is a row for each pair, in which every voter has one vote; then two for all pairs:
    ``"voters, by majority"``, in which each voter counts once, for what they chose more often, and
    ``"pairs, by majority"``, in which each pair counts once, for what more voters chose. The
    interval of a row is exact if those who are counted in it judge independently: so the votes of
    one person on many pairs are not thrown together with those of many persons on one.

    Args:
        votes: on one question; of a voter's votes on a pair the last one counts.
        one: how a picture was made, as the votes name it.
        other: how the other picture was made.
        confidence: of the intervals, between 0 and 1.

    Returns:
        For each row its name (``"counted"``), the two counts under the names of ``one`` and
        ``other``, ``"undecided"``, the ``"share"`` of ``one`` among those who decided, its interval
        ``"from"`` - ``"to"``, and ``"proves"``: the one that is preferred if the interval lies on
        one side of a half, else ``"nothing yet"``.

    Raises:
        VotesError: the votes are on several questions, or on pictures made in other ways.
    """
    counted = that_count(votes)
    questions = sorted({vote.question for vote in counted})
    if len(questions) > 1:
        raise VotesError(
            f"These are votes on {len(questions)} questions ({'; '.join(questions)}); count those "
            f"on one question at a time."
        )
    made = {name for vote in counted for name in (vote.left, vote.right)}
    if not made <= {one, other}:
        raise VotesError(
            f"The votes are on pictures made by {', '.join(sorted(made))}; name two of these to "
            f"be counted, not {one!r} and {other!r}."
        )
    pairs = {name: [v.choice for v in counted if v.pair == name] for name in _names(counted)}
    rows = {**pairs}
    rows["voters, by majority"] = _majorities(counted, lambda vote: vote.voter)
    rows["pairs, by majority"] = _majorities(counted, lambda vote: vote.pair)
    return [_row(name, choices, one, other, confidence) for name, choices in rows.items()]


def _names(votes: Iterable[Vote]) -> list[str]:
    return sorted({vote.pair for vote in votes})


def _majorities(votes: Iterable[Vote], key: Callable[[Vote], str]) -> list[str]:
    """Return what each voter, or each pair, was more often for."""
    groups: dict[str, Counter[str]] = {}
    for vote in votes:
        groups.setdefault(key(vote), Counter())[vote.choice] += 1
    return [_majority(choices) for choices in groups.values()]


def _majority(choices: Counter[str]) -> str:
    decided = {name: count for name, count in choices.items() if name != UNDECIDED}
    most = max(decided.values(), default=0)
    leading = [name for name, count in decided.items() if count == most]
    return leading[0] if len(leading) == 1 else UNDECIDED


def _row(
    name: str, choices: Sequence[str], one: str, other: str, confidence: float
) -> dict[str, str | int | float]:
    count = Counter(choices)
    trials = count[one] + count[other]
    low, high = binomial_interval(count[one], trials, confidence)
    proven = one if low > 0.5 else other if high < 0.5 else "nothing yet"
    return {
        "counted": name,
        one: count[one],
        other: count[other],
        UNDECIDED: count[UNDECIDED],
        "share": count[one] / trials if trials else math.nan,
        "from": low,
        "to": high,
        "proves": proven,
    }


def binomial_interval(
    successes: int, trials: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the exact interval for a probability, of which ``successes`` of ``trials`` were seen.

    The lower bound is the p at which so many successes or more have probability
    (1 - confidence) / 2, the upper bound the p at which so few or fewer have it. Whatever the true
    probability is, the interval contains it in at least ``confidence`` of all such experiments.

    Raises:
        VotesError: the numbers are not whole with 0 <= successes <= trials, or the confidence does
            not lie between 0 and 1.

    Source: Clopper and Pearson 1934, "The Use of Confidence or Fiducial Limits Illustrated in the
    Case of the Binomial".
    """
    whole = isinstance(successes, int) and isinstance(trials, int)
    if not whole or not 0 <= successes <= trials:
        raise VotesError(
            f"{successes!r} of {trials!r} were given; both must be whole numbers, the first from 0 "
            f"to the second."
        )
    if not 0 < confidence < 1:
        raise VotesError(f"confidence is {confidence!r}; it must lie between 0 and 1.")
    tail = (1 - confidence) / 2
    low = _lower_bound(successes, trials, tail)
    return low, 1 - _lower_bound(trials - successes, trials, tail)


def _lower_bound(successes: int, trials: int, tail: float) -> float:
    if successes == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_least(successes, trials, middle) < tail:
            low = middle
        else:
            high = middle
    return low


def _at_least(successes: int, trials: int, p: float) -> float:
    """Return the probability of ``successes`` or more in ``trials``, each of probability ``p``."""
    log_p, log_q = math.log(p), math.log1p(-p)
    # In logarithms, as the number of ways soon exceeds what a float can hold.
    return math.fsum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * log_p
            + (trials - k) * log_q
        )
        for k in range(successes, trials + 1)
    )
