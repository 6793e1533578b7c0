"""Votes: kept whatever happens, counted once, and tested exactly."""

from __future__ import annotations

import csv
import errno
import math
import os
import subprocess
import sys
from fractions import Fraction

import pytest

from nst_helpers.votes import (
    COLUMNS,
    UNDECIDED,
    Vote,
    VotesError,
    append_vote,
    binomial_interval,
    read_votes,
    tally,
    that_count,
)

QUESTION = "Which do you like more?"


def vote(voter="Ana", pair="Waves", choice="slow", left="slow", right="fast", question=QUESTION):
    return Vote("2026-01-31T12:00:00+00:00", voter, question, pair, left, right, choice)


# --- the file -------------------------------------------------------------------------------------


def test_votes_come_back_as_they_were_given(tmp_path):
    path = tmp_path / "my-votes.csv"
    given = [
        vote(),
        vote('Bo "the" Great, Jr', "Größe", UNDECIDED, "fast", "slow"),
        vote(question="Which,\nin all honesty?"),
    ]
    for each in given:
        append_vote(path, each)
    assert read_votes(path) == given
    with path.open(newline="") as file:
        assert next(csv.reader(file)) == list(COLUMNS)


def test_where_there_is_no_file_there_are_no_votes(tmp_path):
    assert read_votes(tmp_path / "none.csv") == []


def test_several_files_are_counted_together(tmp_path):
    append_vote(tmp_path / "a.csv", vote("Ana"))
    append_vote(tmp_path / "b.csv", vote("Bo"))
    assert [each.voter for each in read_votes(tmp_path / "a.csv", tmp_path / "b.csv")] == [
        "Ana",
        "Bo",
    ]


def test_what_a_spreadsheet_saved_is_read_and_appended_to(tmp_path):
    path = tmp_path / "votes.csv"
    append_vote(path, vote("Ana"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    append_vote(path, vote("Bo"))
    assert [each.voter for each in read_votes(path)] == ["Ana", "Bo"]


def test_several_programs_may_vote_at_the_same_time(tmp_path):
    code = (
        "import sys\nfrom nst_helpers.votes import Vote, append_vote\n"
        "for number in range(15):\n"
        "    append_vote(sys.argv[1], Vote('t', sys.argv[2], 'q', str(number), 'a', 'b', 'a'))\n"
    )
    path = tmp_path / "votes.csv"
    command = [sys.executable, "-c", code, str(path)]
    running = [subprocess.Popen([*command, name]) for name in ("Ana", "Bo")]
    assert [program.wait(60) for program in running] == [0, 0]
    votes = read_votes(path)
    for name in ("Ana", "Bo"):
        assert [each.pair for each in votes if each.voter == name] == [str(n) for n in range(15)]


def test_a_line_that_was_broken_off_swallows_no_later_vote(tmp_path):
    path = tmp_path / "votes.csv"
    append_vote(path, vote("Ana"))
    whole = path.read_bytes()
    path.write_bytes(whole + b"2026-01-31T12:00:00+00:00,Bo,Whi")
    append_vote(path, vote("Cy"))
    with pytest.raises(VotesError, match=r"Line 3 of .* is no vote"):
        read_votes(path)
    lines = path.read_bytes().split(b"\r\n")
    path.write_bytes(b"\r\n".join(lines[:2] + lines[3:]))
    assert [each.voter for each in read_votes(path)] == ["Ana", "Cy"]


@pytest.mark.parametrize(
    "row",
    ["t,Ana,q,p,slow,fast,other", "t,Ana,q,p,slow,slow,slow", "t,,q,p,slow,fast,slow", "t,Ana"],
)
def test_a_line_that_is_no_vote_is_named(tmp_path, row):
    path = tmp_path / "votes.csv"
    path.write_text(",".join(COLUMNS) + "\n" + row + "\n")
    with pytest.raises(VotesError, match="Line 2"):
        read_votes(path)


@pytest.mark.parametrize("content", [b"name,mark\nAna,1\n", b"\xff\xfe\x00", b"\n"])
def test_a_file_of_something_else_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "marks.csv"
    path.write_bytes(content)
    for action in (lambda: append_vote(path, vote()), lambda: read_votes(path)):
        with pytest.raises(VotesError, match="choose another file"):
            action()
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_to_gives_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VotesError, match=r"no folder 'nowhere' for the file 'votes\.csv'"):
        append_vote("nowhere/votes.csv", vote())
    (tmp_path / "votes.csv").mkdir()
    with pytest.raises(VotesError, match="cannot be read"):
        append_vote(tmp_path / "votes.csv", vote())
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(VotesError, match=r"could not be written .*No space.*vote again"):
        append_vote(tmp_path / "others.csv", vote())


def full_disk(_):
    raise OSError(errno.ENOSPC, "No space left on device")


# --- counting -------------------------------------------------------------------------------------


def rows_of(votes):
    return {row["counted"]: row for row in tally(votes, "slow", "fast")}


def test_the_last_vote_of_a_voter_on_a_pair_counts():
    votes = [vote(choice="slow"), vote("Bo"), vote(choice="fast"), vote(pair="Stars")]
    assert that_count(votes) == [votes[2], votes[1], votes[3]]


def test_the_side_a_picture_stood_on_makes_no_difference():
    votes = [vote("Ana"), vote("Bo", left="fast", right="slow"), vote("Cy", choice="fast")]
    row = rows_of(votes)["Waves"]
    assert (row["slow"], row["fast"], row["share"]) == (2, 1, pytest.approx(2 / 3))


def test_each_voter_and_each_pair_count_once_in_the_majorities():
    votes = [vote("Ana", str(pair), "slow") for pair in range(8)]
    votes += [vote("Bo", "0", "fast"), vote("Cy", "0", "fast"), vote("Cy", "1", "slow")]
    rows = rows_of(votes)
    voters, pairs = rows["voters, by majority"], rows["pairs, by majority"]
    assert (voters["slow"], voters["fast"], voters[UNDECIDED]) == (1, 1, 1)
    assert (pairs["slow"], pairs["fast"], pairs[UNDECIDED]) == (7, 1, 0)


def test_the_undecided_are_told_and_not_divided_by():
    rows = rows_of([vote(), vote("Bo", choice=UNDECIDED), vote("Cy", choice=UNDECIDED)])
    row = rows["Waves"]
    assert (row["slow"], row["fast"], row[UNDECIDED], row["share"]) == (1, 0, 2, 1)
    assert rows["pairs, by majority"]["slow"] == 1


def test_only_an_interval_on_one_side_of_a_half_proves_something():
    many = [vote(str(number)) for number in range(6)]
    assert rows_of(many)["Waves"]["proves"] == "slow"
    assert rows_of(many[:5])["Waves"]["proves"] == "nothing yet"
    assert rows_of([vote(str(n), choice="fast") for n in range(6)])["Waves"]["proves"] == "fast"


def test_without_votes_nothing_is_proved():
    rows = rows_of([])
    assert list(rows) == ["voters, by majority", "pairs, by majority"]
    for row in rows.values():
        assert math.isnan(row["share"])
        assert (row["from"], row["to"], row["proves"]) == (0, 1, "nothing yet")


def test_votes_on_several_questions_or_other_ways_are_not_thrown_together():
    with pytest.raises(VotesError, match="2 questions"):
        tally([vote(), vote(question="Which is older?")], "slow", "fast")
    with pytest.raises(VotesError, match="fast, slow"):
        tally([vote()], "slow", "medium")


# --- the interval ---------------------------------------------------------------------------------


def tail(successes: int, trials: int, p: float) -> Fraction:
    """Return the exact probability of so many successes or more, in fractions."""
    share = Fraction(p)
    return sum(
        math.comb(trials, k) * share**k * (1 - share) ** (trials - k)
        for k in range(successes, trials + 1)
    )


@pytest.mark.parametrize(("successes", "trials"), [(1, 1), (5, 10), (7, 8), (30, 41), (99, 100)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_each_bound_leaves_half_of_the_rest_outside(successes, trials, confidence):
    low, high = binomial_interval(successes, trials, confidence)
    outside = pytest.approx((1 - confidence) / 2, rel=1e-6)
    assert float(tail(successes, trials, low)) == outside
    if successes < trials:
        assert float(1 - tail(successes + 1, trials, high)) == outside
    else:
        assert high == 1


def test_at_the_ends_the_interval_is_known_in_closed_form():
    for trials in (1, 8, 50):
        low, high = binomial_interval(0, trials)
        assert (low, high) == (0, pytest.approx(1 - 0.025 ** (1 / trials)))
        assert binomial_interval(trials, trials) == (pytest.approx(1 - high), 1)
    assert binomial_interval(0, 0) == (0, 1)


def test_thousands_of_votes_are_no_trouble():
    low, high = binomial_interval(3000, 6000)
    # The normal approximation, 0.5 +- 1.96 sqrt(0.25 / 6000), is good to a few parts in 10,000.
    assert (low, high) == (pytest.approx(0.48735, abs=3e-4), pytest.approx(0.51265, abs=3e-4))


@pytest.mark.parametrize("numbers", [(-1, 3), (4, 3), (1.0, 3), (1, None)])
def test_numbers_that_count_nothing_are_refused(numbers):
    with pytest.raises(VotesError, match="whole numbers"):
        binomial_interval(*numbers)
    with pytest.raises(VotesError, match="between 0 and 1"):
        binomial_interval(1, 2, confidence=95)
