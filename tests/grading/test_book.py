"""Marks in a real gradebook, and the files that nbgrader expects beside them."""

from __future__ import annotations

import json

import nbformat
import pytest
from nbgrader.api import Gradebook

from nst_helpers.errors import NstError, module_command
from nst_helpers.grading.book import Book, open_course
from tests.grading import small
from tests.grading.small import LESSON


@pytest.fixture
def root(tmp_path, monkeypatch):
    small.make_course(tmp_path, due="2026-10-10 00:00:00 UTC")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def book(root):
    with Book(open_course()) as opened:
        yield opened


def _gradebook(root):
    return Gradebook(f"sqlite:///{root}/state/book.db", "small")


def _grades(root, student):
    with _gradebook(root) as gradebook:
        entry = gradebook.find_submission_notebook(LESSON, LESSON, student)
        return {grade.name: (grade.auto_score, grade.needs_manual_grade) for grade in entry.grades}


def test_marks_go_where_autograde_puts_them(book, root):
    small.hand_in(root, "anna")
    record = small.record(root, "anna")
    assert not book.holds(record)
    book.enter(record)
    assert book.holds(record)
    assert _grades(root, "anna") == {"double-values": (2, False), "double-hidden": (0, False)}
    with _gradebook(root) as gradebook:
        submission = gradebook.find_submission(LESSON, "anna")
        assert submission.score == 2
        assert submission.max_score == 3
        assert submission.timestamp.isoformat() == "2026-10-05T09:30:00"
        assert not submission.needs_manual_grade
        comment = gradebook.find_comment("double", LESSON, LESSON, "anna")
        assert comment.auto_comment == "No response."
    assert list(book.scores(LESSON)) == [("anna", 2.0, 0.0)]


def test_files_lie_where_nbgrader_looks_for_them(book, root):
    small.hand_in(root, "anna")
    book.enter(small.record(root, "anna"))
    autograded = root / "state/looked-at/anna" / LESSON
    told = root / "state/told/anna" / LESSON
    nbformat.validate(nbformat.read(autograded / f"{LESSON}.ipynb", as_version=4))
    assert (autograded / f"{LESSON}.ipynb").stat().st_mode & 0o777 == 0o444
    assert "Score: 2.0 / 3.0" in (told / f"{LESSON}.html").read_text()
    for name in ("timestamp.txt", "submission_secret.txt"):
        handed_in = (root / "state/handed-in/anna" / LESSON / name).read_text()
        assert (told / name).read_text() == (autograded / name).read_text() == handed_in


def test_entering_again_changes_nothing(book, root):
    small.hand_in(root, "anna")
    record = small.record(root, "anna")
    book.enter(record)
    first = _grades(root, "anna")
    book.enter(record)
    assert _grades(root, "anna") == first
    with _gradebook(root) as gradebook:
        assert len(gradebook.assignment_submissions(LESSON)) == 1


def test_what_a_person_gave_stays_and_comes_first(book, root):
    small.hand_in(root, "anna")
    book.enter(small.record(root, "anna"))
    with _gradebook(root) as gradebook:
        grade = gradebook.find_grade("double-hidden", LESSON, LESSON, "anna")
        grade.manual_score, grade.needs_manual_grade = 1.0, False
        comment = gradebook.find_comment("double", LESSON, LESSON, "anna")
        comment.manual_comment = "A good idea."
        gradebook.db.commit()
    book.enter(small.record(root, "anna", points=0))
    # As nbgrader does: a person's mark stands, and is to be looked at again.
    assert _grades(root, "anna") == {"double-values": (0, False), "double-hidden": (0, True)}
    assert list(book.scores(LESSON)) == [("anna", 1.0, 0.0)]
    page = (root / "state/told/anna" / LESSON / f"{LESSON}.html").read_text()
    assert "A good idea." in page
    assert "Score: 1.0 / 3.0" in page


@pytest.mark.parametrize(
    ("sent", "late"),
    [("2026-10-09 23:59:59 UTC", 0), ("2026-10-12 09:00:00 UTC", 2), ("not a time", 0), ("", 0)],
)
def test_a_late_penalty_comes_from_nbgraders_plugin(book, root, sent, late):
    small.hand_in(root, "anna", sent=sent)
    book.enter(small.record(root, "anna"))
    assert list(book.scores(LESSON)) == [("anna", 2.0, late)]


def test_marks_of_nbgraders_own_are_read_once_with_why(book, root):
    folder = small.hand_in(root, "anna")
    record = small.record(root, "anna")
    assert book.kernel_marks("anna", LESSON) is None
    small.mark_in_kernel(root, "anna", {"double-values": 0, "double-hidden": 1})
    notebook = small.lesson()
    output = nbformat.v4.new_output("stream", name="stderr", text="a warning")
    notebook.cells[2].outputs = [output]
    autograded = root / "state/looked-at/anna" / LESSON
    autograded.mkdir(parents=True)
    nbformat.write(notebook, autograded / f"{LESSON}.ipynb")
    # An older submission's marks are not this one's.
    assert book.kernel_marks("anna", LESSON) is None
    (autograded / "timestamp.txt").write_bytes((folder / "timestamp.txt").read_bytes())
    assert book.kernel_marks("anna", LESSON) == {
        "double-values": (0, "it wrote to stderr"),
        "double-hidden": (1, "it ran without an error"),
    }
    book.enter(record)
    assert book.kernel_marks("anna", LESSON) is None


def test_what_is_missing_is_noticed(book, root):
    small.hand_in(root, "anna")
    record = small.record(root, "anna")
    book.enter(record)
    page = root / "state/told/anna" / LESSON / f"{LESSON}.html"
    page.unlink()
    assert not book.holds(record)
    book.enter(record)
    assert book.holds(record)
    record.marks[0]["points"] = 1
    assert not book.holds(record)


def test_links_beside_a_notebook_are_not_followed(book, root):
    folder = small.hand_in(root, "anna")
    (root / "secret").write_text("of someone else")
    (folder / "submission_secret.txt").unlink()
    (folder / "submission_secret.txt").symlink_to(root / "secret")
    book.enter(small.record(root, "anna"))
    assert not (root / "state/told/anna" / LESSON / "submission_secret.txt").exists()


def test_a_gradebook_that_does_not_fit_is_told_in_a_sentence(book, root):
    source = root / "lessons" / LESSON / f"{LESSON}.ipynb"
    book.check(LESSON, source)
    with pytest.raises(NstError, match="There is no lesson 09_nothing"):
        book.check("09_nothing", root / "lessons/09_nothing/09_nothing.ipynb")
    with pytest.raises(NstError, match=r"does not know 04_other yet; run: ") as caught:
        book.check("04_other", source)
    again = module_command("nbgrader", "generate_assignment", "04_other", "--force")
    assert str(caught.value).endswith(again)
    notebook = json.loads(source.read_text())
    notebook["cells"][3]["metadata"]["nbgrader"]["points"] = 5
    source.write_text(json.dumps(notebook))
    with pytest.raises(NstError, match=r"disagree .*double-hidden.* --force"):
        book.check(LESSON, source)


def test_a_folder_without_a_course_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NstError, match=r"no nbgrader_config\.py"):
        open_course()
