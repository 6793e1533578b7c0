"""A class of 97, graded by a run that is interrupted, killed, and run again."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from nbgrader.api import Gradebook

from nst_helpers.cli import main
from nst_helpers.grading import classroom, records
from nst_helpers.grading.book import Book, open_course
from nst_helpers.grading.classroom import cores
from nst_helpers.grading.records import Submission
from tests.grading import small

demo = importlib.import_module("tests.class.demo")
course = importlib.import_module("tests.class.course")
students = importlib.import_module("tests.class.students")
LESSON = demo.LESSON

pytestmark = pytest.mark.timeout(900)


def _records(home: Path) -> list[Path]:
    return sorted((home / ".course" / "grading" / "records" / LESSON).glob("*.json"))


def _ended(home: Path, number: int, after: int) -> tuple[int, str]:
    """Start grading, send a signal once so many are graded; return the status and stderr."""
    run = subprocess.Popen(
        [sys.executable, "-m", *demo.COMMAND],
        **{"cwd": home, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True},
    )
    while len(_records(home)) < after and run.poll() is None:
        time.sleep(0.05)
    run.send_signal(number)
    _, said = run.communicate(timeout=300)
    return run.returncode, said


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Grade the class with an interrupt and a kill on the way; return what is to be seen after."""
    with demo.class_in(tmp_path_factory.mktemp("class")) as (home, students, touched):
        interrupted = _ended(home, signal.SIGINT, 8)
        between = {path: path.stat().st_mtime_ns for path in _records(home)}
        killed = _ended(home, signal.SIGKILL, 40)
        said = course.run(home, *demo.COMMAND)
        yield {
            **{"home": home, "students": students, "touched": touched, "between": between},
            **{"interrupted": interrupted, "killed": killed, "said": said},
        }


def test_every_mark_is_the_one_deserved_and_nothing_was_touched(graded):
    marks = demo.given(graded["home"])
    expected = {student.name: student.points for student in graded["students"]}
    assert len(expected) >= 60
    differ = {name: (points, marks.get(name)) for name, points in expected.items()}
    assert {name: pair for name, pair in differ.items() if pair[0] != pair[1]} == {}
    assert graded["touched"]() == []


def test_the_instructor_reads_what_was_wrong_and_nothing_about_the_others(graded):
    said = demo.said(graded["home"])
    wanted = {student.name: student.says for student in graded["students"]}
    assert {name: text for name, text in said.items() if wanted[name] not in text} == {}
    honest = {student.name for student in graded["students"] if student.kind in ("right", "wrong")}
    missing = {name: said[name] for name in honest if said[name]}
    assert missing == {}
    # Whoever lost points through damage has a line.
    for student in graded["students"]:
        assert student.kind != "damaged" or student.points == students.FULL or student.says


def test_an_interrupted_run_says_how_to_go_on_and_keeps_what_it_has(graded):
    status, said = graded["interrupted"]
    assert status == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    assert 8 <= len(graded["between"]) < len(graded["students"])
    for path, changed in graded["between"].items():
        assert path.stat().st_mtime_ns == changed, "graded twice"


def test_a_killed_run_was_put_right_by_the_next(graded):
    assert graded["killed"][0] == -signal.SIGKILL
    assert len(_records(graded["home"])) == len(graded["students"])
    assert not list(graded["home"].rglob(".writing-*"))


def test_the_gradebook_holds_each_submission_once(graded):
    with Gradebook(f"sqlite:///{graded['home']}/.course/gradebook.db", "nst") as book:
        submissions = book.assignment_submissions(LESSON)
        given = {entry.student.id: entry.score for entry in submissions}
        assert not any(entry.needs_manual_grade for entry in submissions)
        assert len(submissions) == len(given)
    assert given == {student.name: student.points for student in graded["students"]}


def test_no_page_shows_a_hidden_test_an_expected_value_or_runs_a_students_script(graded):
    hidden = ("HIDDEN TESTS", "manual_seed(271)", "manual_seed(828)", '["tensor", "float64"')
    for student in graded["students"]:
        for step, ending in (("feedback", "html"), ("autograded", "ipynb")):
            path = graded["home"] / ".course" / step / student.name / LESSON / f"{LESSON}.{ending}"
            text = path.read_text(errors="replace")
            assert not [secret for secret in hidden if secret in text], path
            assert "<script>fetch" not in text.replace("\\", ""), path


def test_pages_tell_marks_and_the_checkers_words(graded):
    folder = graded["home"] / ".course" / "feedback" / "wrong-divided-by-everything" / LESSON
    text = (folder / f"{LESSON}.html").read_text()
    assert "(Score: 1.0 / 13.0)" in text
    assert "1 of 1 points: type, shape and dtype." in text
    assert "gram_matrix: not yet." in text
    assert "the result was divided by C H W" in text


def test_the_report_counts_mistakes_and_tells_what_was_damaged_and_noticed(graded):
    text = (graded["home"] / ".course" / "grading" / "report.txt").read_text()
    for words in (
        "gram_matrix: divided",
        "damaged-tests-deleted: ",
        "damaged-split-answer: gram_matrix: the answer was split",
        "hostile-imports-the-engine: ",
        "hostile-os-exit: ",
        "hostile-a-link-as-notebook: Nothing could be graded",
    ):
        assert words in text, words
    assert f"{LESSON}: {len(graded['students'])} graded" in graded["said"]


def test_only_what_changed_is_graded_again(graded):
    home = graded["home"]
    before = {path.stem: path.stat().st_mtime_ns for path in _records(home)}
    changed = course.submitted(home, "wrong-nothing-written") / f"{LESSON}.ipynb"
    changed.write_bytes(changed.read_bytes() + b"\n")
    lost = home / ".course" / "feedback" / "wrong-no-bonus" / LESSON / f"{LESSON}.html"
    lost.unlink()
    try:
        course.run(home, *demo.COMMAND)
    finally:
        changed.write_bytes(changed.read_bytes()[:-1])
    after = {path.stem: path.stat().st_mtime_ns for path in _records(home)}
    assert {name for name in after if after[name] != before[name]} == {"wrong-nothing-written"}
    assert lost.is_file()


def test_nbgrader_releases_the_pages(graded):
    home = graded["home"]
    # As nbgrader's exchange leaves it with a submission; the others came without an exchange.
    pages = home / ".course" / "feedback" / "right-flatten-and-at" / LESSON
    (pages / "submission_secret.txt").write_text("a secret")
    (home / ".course" / "exchange").mkdir(mode=0o777)
    (home / ".course" / "exchange").chmod(0o777)
    course.run(home, "nbgrader", "release_feedback", LESSON)
    assert len(list((home / ".course/exchange/nst/feedback").glob("*.html"))) == 1


# With a small course, in this process.


@pytest.fixture
def here(tmp_path, monkeypatch):
    small.make_course(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_runs_at_once_are_refused_in_a_sentence(here, capsys):
    small.hand_in(here, "anna")
    (here / "state" / "grading").mkdir()
    with FileLock(here / "state" / "grading" / "lock"):
        assert main(["grade", small.LESSON]) == 1
    assert "Another nst grade is at work" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["09_nothing"], "There is no lesson 09_nothing"),
        ([small.LESSON], "Nothing was handed in"),
        ([small.LESSON, "--student", "x*"], "named x*"),
    ],
)
def test_errors_are_one_sentence(here, capsys, arguments, words):
    assert main(["grade", *arguments]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("limit", "seconds", "again"),
    [(None, 1000.0, False), (20.0, 20.0, False), (20.0, 5.0, False), (20.0, 60.0, True)],
)
def test_more_time_is_given_to_those_who_ran_out_of_it(here, limit, seconds, again):
    folder = small.hand_in(here, "anna")
    submission = Submission("anna", small.LESSON, folder)
    with Book(open_course()) as book:
        record = small.record(here, "anna")
        record.submission = records.digest_of_submission(submission)
        record.grader = records.digest_of_grader(classroom.source_of(book.course, small.LESSON))
        record.seconds = limit
        records.save(book.course, record)
        task = classroom._task(submission, book, seconds)
    assert (task is not None) == again


class _Terminal(io.StringIO):
    """Is a terminal, for what asks."""

    def isatty(self) -> bool:
        return True


def test_marks_of_nbgraders_own_are_kept_for_comparison(here, capsys, monkeypatch):
    """A class of one: graded by the judge after nbgrader autograde gave a mark that is wrong."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    small.hand_in(here, "anna")
    small.mark_in_kernel(here, "anna", {"double-values": 0})
    autograded = here / "state" / "looked-at" / "anna" / small.LESSON
    autograded.mkdir(parents=True)
    handed_in = here / "state" / "handed-in" / "anna" / small.LESSON
    for name in (f"{small.LESSON}.ipynb", "timestamp.txt"):
        (autograded / name).write_bytes((handed_in / name).read_bytes())
    assert main(["grade", small.LESSON, "--jobs", "1"]) == 0
    assert "1 graded, mean 3.0" in capsys.readouterr().out
    bar = terminal.getvalue().split("\r")[-1]
    assert re.search(r"1/1 \[\d\d:\d\d<\d\d:\d\d, .*, failures=0, student=anna\]", bar), bar
    report = (here / "state" / "grading" / "report.txt").read_text()
    assert "anna: double-values: nbgrader 0, it ran without an error; the judge 2" in report
    # A later run of the same still knows.
    kept = here / "state" / "grading" / "records" / small.LESSON / "anna.json"
    assert json.loads(kept.read_text())["kernel"] == {
        "double-values": [0, "it ran without an error"]
    }
    assert main(["grade", small.LESSON]) == 0
    assert "nbgrader 0" in (here / "state" / "grading" / "report.txt").read_text()


def test_cores_are_those_this_process_may_use():
    assert 1 <= cores() <= (os.cpu_count() or 1)
