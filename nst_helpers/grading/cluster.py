"""Lets the workers of a Dask cluster judge, on other machines if need be.

Workers need this package, at the same version, and nothing else: each task carries the submission
and the lesson's source. They may die and come back; the scheduler gives what they had to others.
The gradebook is written where ``nst grade`` runs, so each submission is entered once.
"""

from __future__ import annotations

import functools
import logging
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgrader.coursedir import CourseDirectory

from nst_helpers.errors import NstError, install_command
from nst_helpers.grading.grader import Grader
from nst_helpers.grading.records import Submission, version
from nst_helpers.grading.repair import notebooks_in
from nst_helpers.grading.salvage import LARGEST_FILE, Unreadable, read_file

if TYPE_CHECKING:
    from distributed import Client, Future

    from nst_helpers.grading.classroom import Task, Workers

# Enough that no worker waits for its next task, and no more, so that memory stays bounded.
TASKS_A_THREAD = 2
CONNECT_SECONDS = 20
_mine = threading.local()
_folders: list[tempfile.TemporaryDirectory] = []


def found(
    tasks: Sequence[Task],
    course: CourseDirectory,
    workers: Workers,
    stopped: threading.Event,
) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Give each task with what a worker of the cluster found, in the order they are done.

    Args:
        tasks: what has to be judged.
        course: nbgrader's course directory.
        workers: the address of the scheduler, and how long one call may take.
        stopped: when it is set, no more tasks are handed out.

    Raises:
        NstError: Dask is not installed, or no scheduler answers.
    """
    client = _client(str(workers.scheduler))
    from distributed import as_completed

    waiting = iter(tasks)
    at_work: dict[Future, Task] = {}
    done = as_completed()

    def hand_out() -> None:
        threads = sum(client.nthreads().values())
        while not stopped.is_set() and len(at_work) < TASKS_A_THREAD * max(1, threads):
            task = next(waiting, None)
            if task is None:
                return
            future = _submitted(client, task, course, workers.seconds)
            at_work[future] = task
            done.add(future)

    with client:
        hand_out()
        for future in done:
            yield at_work.pop(future), _result(future)
            del future
            hand_out()


def _client(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError:
        raise NstError(
            "To grade on a cluster the package distributed is needed; install it with: "
            f"{install_command('distributed')}"
        ) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError):
        raise NstError(
            f"No Dask scheduler answers at {address}; start one with: dask scheduler, and give "
            f"the address that it prints, such as tcp://127.0.0.1:8786"
        ) from None


def _submitted(client: Client, task: Task, course: CourseDirectory, seconds: float) -> Future:
    submission = task.submission
    files, notes = packed(submission)
    folder = course.format_path(course.source_directory, ".", submission.lesson)
    source = Path(folder, f"{submission.lesson}.ipynb").read_bytes()
    with warnings.catch_warnings():
        # A notebook is as large as it is.
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        return client.submit(
            *(graded_there, submission.lesson, files, notes, source, seconds, version()), pure=False
        )


def _result(future: Future) -> dict[str, Any]:
    try:
        return future.result()
    except (Exception, CancelledError) as error:
        return {"failure": f"The cluster could not grade it ({type(error).__name__}: {error})."}
    finally:
        future.release()


def packed(submission: Submission) -> tuple[dict[str, bytes], list[str]]:
    """Return the files of a submission that may be its notebook, and what was wrong with others."""
    folder = submission.folder
    if folder.is_symlink():
        return {}, [f"{folder.name} is a link, and links are not followed; ask for the file."]
    files: dict[str, bytes] = {}
    notes = []
    for path in notebooks_in(folder, f"{submission.lesson}.ipynb"):
        try:
            data = read_file(path)
        except Unreadable as error:
            notes.append(str(error))
            continue
        if sum(map(len, files.values())) + len(data) <= LARGEST_FILE:
            files[str(path.relative_to(folder))] = data
    return files, notes


def graded_there(
    lesson: str,
    files: dict[str, bytes],
    notes: list[str],
    source: bytes,
    seconds: float,
    asked: bytes,
) -> dict[str, Any]:
    """Grade one submission in a worker of the cluster; return what ``Grader.grade`` returns.

    Args:
        lesson: the lesson's name.
        files: what was handed in, by path.
        notes: what was wrong with files that are not among them.
        source: the lesson's notebook with its solutions.
        seconds: the longest that one call may take.
        asked: the version of this package that is asked for.
    """
    if version() != asked:
        failure = "A worker of the cluster has another version of nst_helpers or of torch installed"
        return {"failure": f"{failure}; install the same everywhere, and run this again."}
    # A thread of a worker grades one submission at a time, in a process of its own.
    if getattr(_mine, "grader", None) is None or _mine.grader.seconds != seconds:
        _mine.grader = Grader(seconds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "submission")
        folder.mkdir()
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        result = _mine.grader.grade(lesson, folder, _solutions(lesson, source))
    if "notes" in result:
        result["notes"] += notes
    return result


@functools.lru_cache(maxsize=32)
def _solutions(lesson: str, source: bytes) -> Path:
    """Return a folder with this source of a lesson, the same one for every submission."""
    _folders.append(tempfile.TemporaryDirectory(prefix="nst-solutions-"))
    folder = Path(_folders[-1].name)
    (folder / lesson).mkdir()
    (folder / lesson / f"{lesson}.ipynb").write_bytes(source)
    return folder
