"""What is kept of a submission, and when it is graded again."""

from __future__ import annotations

import json

import pytest

from nst_helpers.errors import NstError, module_command
from nst_helpers.grading import records
from nst_helpers.grading.book import open_course
from nst_helpers.grading.records import Record, Submission
from tests.grading import small


@pytest.fixture
def course(tmp_path, monkeypatch):
    small.make_course(tmp_path)
    monkeypatch.chdir(tmp_path)
    return open_course().coursedir


def test_submissions_are_found_where_the_configuration_says(course, tmp_path):
    for name in ("zoe", "anna", "anton", ".hidden"):
        small.hand_in(tmp_path, name)
    (tmp_path / "state/handed-in/ben/another_lesson").mkdir(parents=True)
    found = records.submissions(course, small.LESSON)
    assert [entry.student for entry in found] == ["anna", "anton", "zoe"]
    assert [entry.student for entry in records.submissions(course, small.LESSON, "an*")] == [
        *("anna", "anton")
    ]
    assert found[0].folder == tmp_path / "state/handed-in/anna" / small.LESSON
    with pytest.raises(NstError, match=r"no .*nobody.* put submissions there, or ") as caught:
        records.submissions(course, small.LESSON, "nobody")
    assert str(caught.value).endswith(module_command("nbgrader", "collect", small.LESSON))


def test_a_digest_follows_what_decides_about_marks_and_nothing_else(course, tmp_path):
    folder = small.hand_in(tmp_path, "anna")
    submission = Submission("anna", small.LESSON, folder)
    first = records.digest_of_submission(submission)
    (folder / "notes.txt").write_text("mine")
    assert records.digest_of_submission(submission) == first
    (folder / "timestamp.txt").write_text("2026-10-06 09:30:00 UTC")
    second = records.digest_of_submission(submission)
    (folder / f"{small.LESSON}.ipynb").write_text("{}")
    third = records.digest_of_submission(submission)
    (folder / "copy.ipynb").write_text("{}")
    assert len({first, second, third, records.digest_of_submission(submission)}) == 4


def test_a_digest_of_links_and_missing_files_needs_nothing_behind_them(course, tmp_path):
    folder = small.hand_in(tmp_path, "anna")
    (folder / f"{small.LESSON}.ipynb").unlink()
    (folder / f"{small.LESSON}.ipynb").symlink_to("/dev/zero")
    (folder / "timestamp.txt").unlink()
    submission = Submission("anna", small.LESSON, folder)
    assert records.digest_of_submission(submission) == records.digest_of_submission(submission)


def test_a_graders_digest_follows_the_lessons_source(course, tmp_path):
    source = tmp_path / "lessons" / small.LESSON / f"{small.LESSON}.ipynb"
    before = records.digest_of_grader(source)
    source.write_bytes(source.read_bytes() + b"\n")
    assert records.digest_of_grader(source) != before


def test_a_record_comes_back_as_it_was_kept(course, tmp_path):
    kept = small.record(tmp_path, "anna", notes=["its tests were missing"])
    kept.kernel = {"double-values": (0.0, "it wrote to stderr")}
    records.save(course, kept)
    found = records.load(course, small.LESSON, "anna")
    assert json.loads(json.dumps(kept.__dict__)) == json.loads(json.dumps(found.__dict__))
    assert (found.score, found.max_score, found.bonus) == (2, 3, 0)
    assert [entry.student for entry in records.all_of(course, small.LESSON)] == ["anna"]
    assert records.lessons_of(course) == [small.LESSON]
    assert records.folder_of(course) == tmp_path / "state" / "grading"


def test_more_time_may_change_marks_where_a_limit_was_reached():
    record = Record("anna", small.LESSON, "a", "b")
    assert not record.would_change_with(1000.0)
    record.seconds = 20.0
    assert [record.would_change_with(seconds) for seconds in (5.0, 20.0, 21.0)] == [0, 0, 1]
    record.failure = "Grading it took longer than 300 s."
    assert record.would_change_with(5.0)


def test_a_record_that_cannot_be_read_counts_as_none(course):
    records.save(course, Record("anna", small.LESSON, "a", "b"))
    path = records.folder_of(course) / "records" / small.LESSON / "anna.json"
    path.write_bytes(path.read_bytes()[:20])
    assert records.load(course, small.LESSON, "anna") is None
    assert list(records.all_of(course, small.LESSON)) == []


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    records.write_whole(path, b"old", 0o444)
    with pytest.raises(TypeError):
        records.write_whole(path, "text is not bytes")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
    records.write_whole(path, b"new", 0o600)  # over a file that is read-only
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
