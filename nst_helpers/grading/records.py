"""What is kept of each graded submission: one file for each student and lesson.

A file is written whole or not at all, so a run may be killed at any moment. It says what was graded
and by what, so that a submission is graded again only if it, its lesson or the grader changed.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nbgrader.coursedir import CourseDirectory

from nst_helpers.errors import NstError, module_command
from nst_helpers.grading.repair import notebooks_in
from nst_helpers.grading.salvage import Unreadable, read_file

TIMESTAMP = "timestamp.txt"


@dataclass(frozen=True)
class Submission:
    """What one student handed in for one lesson, in a folder of nbgrader's."""

    student: str
    lesson: str
    folder: Path


@dataclass
class Record:
    """What is kept of one graded submission.

    Attributes:
        student: nbgrader's id of the student.
        lesson: the lesson's name.
        submission: a digest of what was handed in.
        grader: a digest of the lesson's source and of the code that grades.
        marks: for each graded cell the fields of ``judge.CellMark``.
        words: for each exercise without all its points the fields of ``judge.Words``.
        facts: the judge's sentences for the instructor.
        notes: what was wrong with the file and was repaired.
        answered: the exercises that are not as they were handed out.
        notebook: the notebook as graders and the student are shown it, as JSON.
        kernel: what ``nbgrader autograde`` had given: points and why, by cell; None if it was not
            run.
        missing: protections that the system lacked.
        seconds: the longest that one call might take, if a limit on time was reached; then more
            time may change the marks. None if none was.
        failure: why it could not be graded; then it has no marks.
    """

    student: str
    lesson: str
    submission: str
    grader: str
    marks: list[dict[str, Any]] = field(default_factory=list)
    words: list[dict[str, Any]] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    notebook: str = ""
    kernel: dict[str, tuple[float, str]] | None = None
    missing: list[str] = field(default_factory=list)
    seconds: float | None = None
    failure: str = ""

    def would_change_with(self, seconds: float) -> bool:
        """Return whether marks may be others if one call may take so long."""
        return bool(self.failure) or (self.seconds is not None and seconds > self.seconds)

    @property
    def score(self) -> float:
        """All points given, bonus points among them."""
        return sum(mark["points"] for mark in self.marks)

    @property
    def max_score(self) -> float:
        """All points there are, without bonus points."""
        return sum(mark["max_points"] for mark in self.marks if not mark["bonus"])

    @property
    def bonus(self) -> float:
        """The bonus points among the points given."""
        return sum(mark["points"] for mark in self.marks if mark["bonus"])


def submissions(course: CourseDirectory, lesson: str, students: str = "*") -> list[Submission]:
    """Return what was handed in for a lesson, in the order of the students' ids.

    Args:
        course: nbgrader's course directory.
        lesson: the lesson's name.
        students: which students, as a pattern of file names.

    Raises:
        NstError: there is none.
    """
    step = course.submitted_directory
    known = re.compile(course.format_path(step, "(?P<student>[^/]+)", lesson, escape=True) + "$")
    pattern = Path(course.format_path(step, students, lesson))
    found = []
    for folder in pattern.parent.parent.glob(str(Path(*pattern.parts[-2:]))):
        match = known.match(str(folder))
        if match and not match["student"].startswith("."):
            found.append(Submission(match["student"], lesson, folder))
    if not found:
        raise NstError(
            f"Nothing was handed in for {lesson} by a student named {students}: there is no "
            f"{pattern}; put submissions there, or collect them, with: "
            f"{module_command('nbgrader', 'collect', lesson)}"
        )
    return sorted(found, key=lambda entry: entry.student)


def digest_of_submission(submission: Submission) -> str:
    """Return a digest of the files that decide about the marks, and of when they were sent."""
    digest = hashlib.blake2b(digest_size=16)
    name = f"{submission.lesson}.ipynb"
    folder = submission.folder
    files = [] if folder.is_symlink() else notebooks_in(folder, name)
    for path in [*files, folder / TIMESTAMP]:
        try:
            data = read_file(path)
        except Unreadable as error:
            data = str(error).encode()
        digest.update(f"{path.relative_to(folder)} {len(data)} ".encode(errors="replace") + data)
    return digest.hexdigest()


def digest_of_grader(source: Path) -> str:
    """Return a digest of a lesson's source and of the code that grades it."""
    return hashlib.blake2b(source.read_bytes() + version(), digest_size=16).hexdigest()


@functools.cache
def version() -> bytes:
    """Return a digest of the code that decides about marks, and of torch's version."""
    package = Path(__file__).resolve().parents[1]
    files = sorted([*package.glob("checker/*.py"), *package.glob("grading/**/*.py")])
    code = hashlib.blake2b(b"".join(path.read_bytes() for path in files), digest_size=16)
    return code.digest() + importlib.metadata.version("torch").encode()


def folder_of(course: CourseDirectory) -> Path:
    """Return the folder of the records, the CSV and the report, beside nbgrader's feedback."""
    return Path(course.root, course.feedback_directory).parent / "grading"


def save(course: CourseDirectory, record: Record) -> None:
    """Keep a record, in place of an earlier one."""
    path = _path(course, record.lesson, record.student)
    write_whole(path, json.dumps(asdict(record)).encode())


def load(course: CourseDirectory, lesson: str, student: str) -> Record | None:
    """Return what is kept of a submission, or None; a file that cannot be read counts as none."""
    return _read(_path(course, lesson, student))


def all_of(course: CourseDirectory, lesson: str) -> Iterator[Record]:
    """Give each record of a lesson, in the order of the students' ids."""
    for path in sorted((folder_of(course) / "records" / lesson).glob("*.json")):
        record = _read(path)
        if record is not None:
            yield record


def lessons_of(course: CourseDirectory) -> list[str]:
    """Return the lessons of which there are records."""
    return sorted(path.name for path in (folder_of(course) / "records").glob("*"))


def _path(course: CourseDirectory, lesson: str, student: str) -> Path:
    return folder_of(course) / "records" / lesson / f"{student}.json"


def _read(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def write_whole(path: Path, data: bytes, permissions: int = 0o644) -> None:
    """Write a file that is there whole or not at all, whenever this process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        Path(name).chmod(permissions)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
