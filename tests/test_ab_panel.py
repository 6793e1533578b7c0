"""The blind panel without a browser: what the page is told, and what it does when told."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from nst_helpers import ab_panel, votes
from nst_helpers.ab_panel import blind_panel
from nst_helpers.errors import ImageError, NstError
from nst_helpers.votes import UNDECIDED, read_votes

QUESTION = "Which do you like more?"
GREY = {"slow": 0.2, "fast": 0.8}  # by its grey a test knows a picture, as a person by its looks


def grey(value: float, height: int = 24, width: int = 32) -> torch.Tensor:
    return torch.full((1, 3, height, width), value)


def pairs_of(count: int = 3) -> dict[str, dict[str, torch.Tensor]]:
    return {f"pair {n}": {made: grey(value) for made, value in GREY.items()} for n in range(count)}


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "my-votes.csv"


@pytest.fixture
def panel(file):
    return blind_panel(pairs_of(), QUESTION, file=file, seed=0)


def tell(panel, kind, **message):
    panel._hear(None, {"kind": kind, "number": panel.shown["number"], **message}, [])


def sides(panel) -> list[str]:
    """Return how the left and the right picture were made, judged by their pixels."""
    pictures = [Image.open(io.BytesIO(picture)) for picture in panel.shown["pictures"]]
    return ["slow" if picture.getpixel((5, 5))[0] < 128 else "fast" for picture in pictures]


def vote_for(panel, made):
    tell(panel, "vote", choice=("left", "right")[sides(panel).index(made)])


def test_a_person_is_asked_about_every_pair_once_and_every_answer_is_kept(panel, file):
    assert panel.shown["phase"] == "welcome"
    assert panel.shown["pairs"] == 3
    tell(panel, "begin", name="  Ana\tMaria ")
    seen = []
    for number in (1, 2, 3):
        assert panel.shown["phase"] == "vote"
        assert panel.shown["title"].startswith(f"Pair {number} of 3: ")
        assert f"Pair {number} of 3 is shown" in panel.status
        seen.append(panel.shown["title"].partition(": ")[2])
        left, right = sides(panel)
        tell(panel, "vote", choice=("left", "right", UNDECIDED)[number - 1])
        last = read_votes(file)[-1]
        assert len(read_votes(file)) == number
        assert (last.voter, last.question, last.pair) == ("Ana Maria", QUESTION, seen[-1])
        assert (last.left, last.right) == (left, right)
        assert last.choice == (left, right, UNDECIDED)[number - 1]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", last.time)
    assert sorted(seen) == ["pair 0", "pair 1", "pair 2"]
    assert panel.shown["phase"] == "done"
    assert panel.status.endswith("Your 3 votes are in my-votes.csv.")


def test_the_next_person_begins_anew_and_nothing_is_lost(panel, file):
    for name in ("Ana", "Bo"):
        tell(panel, "begin", name=name)
        for _ in range(3):
            vote_for(panel, "slow")
        tell(panel, "next")
        assert panel.shown["phase"] == "welcome"
    assert [vote.voter for vote in read_votes(file)] == ["Ana"] * 3 + ["Bo"] * 3
    rows = {row["counted"]: row for row in votes.tally(read_votes(file), "slow", "fast")}
    assert rows["pair 1"]["slow"] == rows["voters, by majority"]["slow"] == 2


def everything_told(panel) -> str:
    told = {name: panel.get_state()[name] for name in panel.keys if name not in ("_esm", "_css")}
    return repr(told)


def test_the_page_is_never_told_which_is_which(panel):
    tell(panel, "begin", name="Ana")
    for _ in range(3):
        told = everything_told(panel)
        assert "slow" not in told
        assert "fast" not in told
        tell(panel, "vote", choice="left")
    assert "slow" not in everything_told(panel)


def test_the_order_of_pairs_and_sides_is_left_to_chance(file):
    panel = blind_panel(pairs_of(8), QUESTION, file=file, seed=1)
    orders, left = set(), []
    for voter in range(25):
        tell(panel, "begin", name=f"voter {voter}")
        order = []
        for _ in range(8):
            order.append(panel.shown["title"].partition(": ")[2])
            left.append(sides(panel)[0])
            tell(panel, "vote", choice=UNDECIDED)
        orders.add(tuple(order))
        tell(panel, "next")
    assert len(orders) == 25
    assert 70 < left.count("slow") < 130  # of 200; outside with a probability of 0.00002
    assert {vote.left for vote in read_votes(file)} == {"slow", "fast"}


def test_a_second_press_on_what_is_no_longer_shown_is_no_vote(panel, file):
    tell(panel, "begin", name="Ana")
    message = {"kind": "vote", "number": panel.shown["number"], "choice": "left"}
    panel._hear(None, message, [])
    panel._hear(None, message, [])
    assert len(read_votes(file)) == 1
    assert panel.shown["title"].startswith("Pair 2 of 3")


def test_a_vote_that_cannot_be_kept_can_be_given_again(panel, file):
    tell(panel, "begin", name="Ana")
    shown = panel.shown
    file.mkdir()
    tell(panel, "vote", choice="left")
    assert "cannot be read" in panel.status
    assert panel.shown == shown
    file.rmdir()
    tell(panel, "vote", choice="left")
    assert len(read_votes(file)) == 1
    assert panel.shown["title"].startswith("Pair 2 of 3")


@pytest.mark.parametrize("choice", ["slow", None, "up"])
def test_an_answer_that_is_none_is_told_and_not_kept(panel, file, choice):
    tell(panel, "begin", name="Ana")
    tell(panel, "vote", choice=choice)
    assert panel.status.startswith("That did not work")
    assert not file.exists()


def test_who_gives_no_name_gets_one_that_is_free(panel, file):
    names = []
    for given in ("", "voter 3", "   ", "=-+@"):
        tell(panel, "begin", name=given)
        tell(panel, "vote", choice="left")
        names.append(read_votes(file)[-1].voter)
        tell(panel, "next")
    assert names == ["voter 1", "voter 3", "voter 4", "voter 5"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("=HYPERLINK(1)", "HYPERLINK(1)"),
        ("Zoë, the 2nd", "Zoë, the 2nd"),
        ("a\x00b\u202ec\nd", "a b c d"),
        ("x" * 90, "x" * 40),
    ],
)
def test_a_name_becomes_one_that_a_spreadsheet_takes_for_a_name(panel, file, given, kept):
    tell(panel, "begin", name=given)
    tell(panel, "vote", choice="left")
    assert read_votes(file)[0].voter == kept


def test_who_votes_again_is_told_what_counts(panel, file):
    for _ in range(2):
        tell(panel, "begin", name="Ana")
        first = panel.status
        for _ in range(3):
            vote_for(panel, "fast")
        tell(panel, "next")
    assert "You have voted before: your new votes count, the old ones are kept." in first
    assert len(read_votes(file)) == 6
    assert len(votes.that_count(read_votes(file))) == 3


def test_another_picture_can_be_shown_that_the_question_speaks_of(file):
    panel = blind_panel(pairs_of(2), QUESTION, references={"pair 0": "great-wave"}, file=file)
    tell(panel, "begin", name="Ana")
    for _ in range(2):
        reference = panel.shown["reference"]
        if panel.shown["title"].endswith("pair 1"):
            assert reference is None
        else:
            assert max(Image.open(io.BytesIO(reference)).size) == 32
        tell(panel, "vote", choice="left")


def test_the_page_holds_jupyterlabs_shortcuts_off_and_names_its_controls():
    page = Path(ab_panel.__file__).with_name("ab_panel.js").read_text(encoding="utf-8")
    assert "data-lm-suppress-shortcuts" in page
    assert '"aria-live": "polite"' in page
    assert "slow" not in page


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pictures",
    [
        {},
        {"slow": grey(0.2)},
        {"slow": grey(0.2), "medium": grey(0.5), "fast": grey(0.8)},
        {"slow": grey(0.2), UNDECIDED: grey(0.8)},
        {"slow": grey(0.2), "": grey(0.8)},
    ],
)
def test_what_is_no_pair_is_refused(pictures, file):
    with pytest.raises(NstError, match="two pictures, made in the same two ways"):
        blind_panel({"one": pictures}, QUESTION, file=file)


def test_pairs_made_in_different_ways_are_refused(file):
    pairs = {**pairs_of(1), "other": {"slow": grey(0.2), "medium": grey(0.5)}}
    with pytest.raises(NstError, match="'other' holds 'slow', 'medium'"):
        blind_panel(pairs, QUESTION, file=file)


def test_pictures_that_could_be_told_apart_by_their_size_are_refused(file):
    pair = {"slow": grey(0.2), "fast": grey(0.8, width=40)}
    with pytest.raises(NstError, match="32 by 24 pixels and 'fast' 40 by 24"):
        blind_panel({"one": pair}, QUESTION, file=file)


def test_other_mistakes_are_told_in_a_sentence(file, tmp_path):
    with pytest.raises(NstError, match="no pairs"):
        blind_panel({}, QUESTION, file=file)
    with pytest.raises(NstError, match="question is empty"):
        blind_panel(pairs_of(), " ", file=file)
    with pytest.raises(NstError, match="no pair 'pair 9'"):
        blind_panel(pairs_of(), QUESTION, references={"pair 9": grey(0)}, file=file)
    with pytest.raises(ImageError):
        blind_panel({"one": {"slow": grey(0.2), "fast": "no-such-file.png"}}, QUESTION, file=file)
    file.write_text("name,mark\n")
    with pytest.raises(NstError, match="not a file of votes"):
        blind_panel(pairs_of(), QUESTION, file=file)
    with pytest.raises(NstError, match="no folder"):
        blind_panel(pairs_of(), QUESTION, file=tmp_path / "nowhere" / "votes.csv")
