"""Grades a class: every submission once, whatever happens in between.

    nst grade 03_gram_matrix

Other processes judge (``grader``, or ``cluster`` on other machines); this one keeps what they find
(``records``) and enters it into nbgrader's gradebook (``book``), one submission after the other.
It may be interrupted or killed at any moment: the same command goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from nbgrader.coursedir import CourseDirectory
from tqdm import tqdm

from nst_helpers.errors import NstError
from nst_helpers.grading import records, report
from nst_helpers.grading.book import Book, open_course
from nst_helpers.grading.grader import Grader
from nst_helpers.grading.records import Record, Submission


@dataclass(frozen=True)
class Task:
    """A submission that has to be judged, and the digests that its record will carry."""

    submission: Submission
    digest: str
    grader: str


@dataclass(frozen=True)
class Workers:
    """How many processes judge here, or whose Dask workers; how long a call may take."""

    jobs: int
    seconds: float
    scheduler: str | None = None


def grade(
    lessons: Sequence[str],
    *,
    students: str = "*",
    jobs: int | None = None,
    seconds: float = 20.0,
    scheduler: str | None = None,
) -> int:
    """Grade what was handed in for some lessons, in the course of the current folder.

    Args:
        lessons: their names.
        students: which students, as a pattern of file names.
        jobs: how many processes judge; None takes one for each core.
        seconds: the longest that one call of an answer may take; a whole submission may take
            three times as long, and as long again for the checker's words.
        scheduler: the address of a Dask scheduler whose workers judge instead.

    Returns:
        An exit status: 0, 1 if a submission could not be graded, 130 after an interrupt.

    Raises:
        NstError: there is no such course, lesson or submission, another run is under way, or the
            gradebook cannot be written.
    """
    app = open_course()
    course = app.coursedir
    with _alone(course), Book(app) as book, _stop_on_signal() as stopped:
        for lesson in lessons:
            book.check(lesson, source_of(course, lesson))
        handed_in = [
            entry for lesson in lessons for entry in records.submissions(course, lesson, students)
        ]
        workers = Workers(jobs or cores(), seconds, scheduler)
        failures = _grade_all(handed_in, book, workers, stopped)
        print(report.write(course, book))
        if stopped.is_set():
            print("nst: interrupted; the same command goes on where it stopped.", file=sys.stderr)
            return 130
    return int(failures > 0)


def source_of(course: CourseDirectory, lesson: str) -> Path:
    """Return where a lesson's source lies."""
    return Path(course.format_path(course.source_directory, ".", lesson), f"{lesson}.ipynb")


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _alone(course: CourseDirectory) -> Iterator[None]:
    folder = records.folder_of(course)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout:
        raise NstError(f"Another nst grade is at work in {course.root}; wait for it.") from None


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Give an event that the first Ctrl-C sets; the second one ends the run at once."""
    stopped = threading.Event()

    def stop(*_: Any) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        tqdm.write("nst: finishing what is being graded; Ctrl-C again ends at once.", sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _grade_all(
    handed_in: Sequence[Submission],
    book: Book,
    workers: Workers,
    stopped: threading.Event,
) -> int:
    """Grade what needs it; return how many submissions could not be graded."""
    failures = 0
    # Nothing but the bar goes to stderr, and the bar only to a person.
    with tqdm(total=len(handed_in), unit="notebook", disable=None, smoothing=0.1) as bar:
        tasks = []
        for submission in handed_in:
            task = _task(submission, book, workers.seconds)
            if task is None:
                bar.update()
            else:
                tasks.append(task)
        # A bar that starts with what is done already would promise too short a time.
        bar.unpause()
        for task, found in _found(tasks, book.course, workers, stopped):
            failures += not _kept(task, found, book)
            bar.set_postfix(student=task.submission.student, failures=failures, refresh=False)
            bar.update()
    return failures


def _task(submission: Submission, book: Book, seconds: float) -> Task | None:
    """Return what has to be judged; None if it is, and its marks are in place."""
    digest = records.digest_of_submission(submission)
    grader = records.digest_of_grader(source_of(book.course, submission.lesson))
    record = records.load(book.course, submission.lesson, submission.student)
    if (
        record is None
        or (record.submission, record.grader) != (digest, grader)
        or record.would_change_with(seconds)
    ):
        return Task(submission, digest, grader)
    kernel = book.kernel_marks(submission.student, submission.lesson)
    if kernel is not None:  # nbgrader autograde was run since
        record.kernel = kernel
        records.save(book.course, record)
    if not book.holds(record):
        book.enter(record)
    return None


def _found(
    tasks: Sequence[Task],
    course: CourseDirectory,
    workers: Workers,
    stopped: threading.Event,
) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Give each task with what was found, in the order in which they are done."""
    if workers.scheduler is None:
        return found_here(tasks, course, workers, stopped)
    from nst_helpers.grading import cluster

    return cluster.found(tasks, course, workers, stopped)


def found_here(
    tasks: Sequence[Task], course: CourseDirectory, workers: Workers, stopped: threading.Event
) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Give each task with what processes on this machine find."""
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    # Few results may wait, so that memory does not grow when entering them takes longer.
    results: queue.Queue[tuple[Task, dict[str, Any]] | None] = queue.Queue(2 * workers.jobs)
    graders = [Grader(workers.seconds) for _ in range(min(workers.jobs, len(tasks)))]

    def work(grader: Grader) -> None:
        with contextlib.suppress(queue.Empty), grader:
            while not stopped.is_set():
                task = waiting.get_nowait()
                submission = task.submission
                solutions = source_of(course, submission.lesson).parents[1]
                found = grader.grade(submission.lesson, submission.folder, solutions)
                results.put((task, found))
        results.put(None)

    threads = [threading.Thread(target=work, args=[grader], daemon=True) for grader in graders]
    for thread in threads:
        thread.start()
    working = len(threads)
    try:
        while working:
            result = results.get()
            if result is None:
                working -= 1
            else:
                yield result
    finally:
        for grader in graders:
            grader.stop()


def _kept(task: Task, found: dict[str, Any], book: Book) -> bool:
    """Keep and enter what was found; return whether the submission has its marks now."""
    submission = task.submission
    about = (submission.student, submission.lesson)
    earlier = records.load(book.course, submission.lesson, submission.student)
    record = Record(*about, task.digest, task.grader, **found)
    record.kernel = book.kernel_marks(*about)
    if record.kernel is None and earlier is not None and earlier.submission == task.digest:
        record.kernel = earlier.kernel
    records.save(book.course, record)
    if not record.failure:
        try:
            book.enter(record)
        except NstError:
            raise
        except Exception as error:  # whatever one submission does, the others are graded
            book.undo()
            record.failure = f"Its marks could not be entered ({type(error).__name__}: {error})."
            records.save(book.course, record)
    if record.failure:
        tqdm.write(f"nst: {submission.student}, {submission.lesson}: {record.failure}", sys.stderr)
    return not record.failure
