"""The CSV and the report on a class."""

from __future__ import annotations

import csv

import pytest

from nst_helpers.grading import records, report
from nst_helpers.grading.book import Book, open_course
from nst_helpers.grading.records import Record
from tests.grading import small
from tests.grading.small import LESSON


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return what grading these records says, and the folder of the report."""
    small.make_course(tmp_path, due="2026-10-10 00:00:00 UTC")
    monkeypatch.chdir(tmp_path)

    def write(*kept: Record) -> tuple[str, dict[str, str]]:
        with Book(open_course()) as book:
            for record in kept:
                records.save(book.course, record)
                if not record.failure:
                    book.enter(record)
            said = report.write(book.course, book)
        folder = tmp_path / "state" / "grading"
        names = ("marks.csv", "report.txt", "report.html")
        return said, {name: (folder / name).read_text() for name in names}

    return write


def test_points_beyond_the_maximum_are_said_to_be_bonus(written, tmp_path):
    small.hand_in(tmp_path, "anna")
    record = small.record(tmp_path, "anna")
    record.marks = [mark | {"bonus": mark["max_points"] == 2} for mark in record.marks]
    said, _ = written(record)
    assert "median 2 of 1 points and 2 of bonus" in said


def test_a_class_is_told_in_a_line_a_table_and_a_report(written, tmp_path):
    for name in ("anna", "ben", "cleo"):
        small.hand_in(tmp_path, name)
    small.hand_in(tmp_path, "dora", sent="2026-10-12 09:30:00 UTC")
    failed = Record("emil", LESSON, "a", "b", failure="Grading it took longer than 300 s.")
    said, files = written(
        small.record(tmp_path, "anna"),
        small.record(tmp_path, "ben", points=0),
        small.record(tmp_path, "cleo", notes=["=its tests were missing."]),
        small.record(tmp_path, "dora"),
        failed,
    )
    assert f"{LESSON}: 4 graded, mean 1.5, median 2 of 3 points" in said
    assert "most missed: double (4)" in said
    assert "1 could not be graded" in said
    rows = list(csv.DictReader(files["marks.csv"].splitlines()))
    assert tuple(rows[0]) == report.COLUMNS
    assert [list(row.values()) for row in rows] == [
        ["anna", LESSON, "2", "3", "0", "0", ""],
        ["ben", LESSON, "0", "3", "0", "0", ""],
        ["cleo", LESSON, "2", "3", "0", "0", "'=its tests were missing."],
        ["dora", LESSON, "0", "3", "0", "2", ""],
        ["emil", LESSON, "", "", "", "", failed.failure],
    ]
    for text in (files["report.txt"], files["report.html"]):
        for words in ("double: doubled", "cleo: =its tests", "emil: Grading it took", "4 double"):
            assert words in text


def test_where_nbgrader_gave_other_points_both_reasons_are_told(written, tmp_path):
    small.hand_in(tmp_path, "anna")
    record = small.record(tmp_path, "anna")
    record.kernel = {
        "double-values": (0.0, "it wrote to stderr"),
        "double-hidden": (1.0, "it ran without an error"),
    }
    _, files = written(record)
    assert (
        "anna: double-values: nbgrader 0, it wrote to stderr; the judge 2, its tests hold."
        in files["report.txt"]
    )
    assert (
        "anna: double-hidden: nbgrader 1, it ran without an error; the judge 0, a test does not "
        "hold." in files["report.txt"]
    )


def test_equal_marks_are_no_disagreement(tmp_path):
    small.make_course(tmp_path)
    record = small.record(tmp_path, "anna")
    record.kernel = {"double-values": (2.0, ""), "double-hidden": (0.0, "")}
    assert report.disagreements(record) == []


def test_text_of_students_is_escaped_in_the_page(written, tmp_path):
    small.hand_in(tmp_path, "anna")
    _, files = written(small.record(tmp_path, "anna", notes=["<script>alert(1)</script>"]))
    assert "<script>" not in files["report.html"]
    assert "&lt;script&gt;" in files["report.html"]


def test_long_lists_are_cut(tmp_path):
    tally = report.Tally(LESSON, damaged=[f"student {number}" for number in range(1000)])
    text = report._text([tally])
    assert "and 800 more" in text
    assert len(text.splitlines()) < 250
