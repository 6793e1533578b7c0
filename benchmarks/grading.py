"""How many submissions a minute ``nst grade`` grades, as a ratio to ``nbgrader autograde``.

Run as ``python -m benchmarks.grading``. Both grade the same submissions of one class, honest and
undamaged, in courses of their own and with the course's configuration; ``nst grade`` also writes
feedback pages, a CSV and a report, for which nbgrader needs further commands. Marks must be equal.

``nbgrader autograde`` takes the same time for each submission, so it grades the first few of them;
``--whole`` lets it grade all. ``--number 1000`` is the class of a thousand. Processor seconds tell
more than the clock where other work is going on.

``--cluster`` measures instead how throughput grows from one Dask worker on this machine to two.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from nbgrader.api import Gradebook

course = importlib.import_module("tests.class.course")
students = importlib.import_module("tests.class.students")

GRADE = ("nst_helpers.cli", "grade", students.LESSON)
# The first few, graded before the clock runs, so that every worker has loaded what it needs.
FIRST = "student0000?"


@dataclass(frozen=True)
class Run:
    """What a command took: by the clock, of all processors, and the most memory, in GB."""

    seconds: float
    processor: float
    memory: float

    def row(self, name: str, number: int) -> str:
        """Return a line of the table."""
        rate, each = 60 * number / self.seconds, self.processor / number
        numbers = f"{self.seconds:9.1f} {rate:9.1f} {each:9.2f} {self.memory:5.1f}"
        return f"{name:20} {number:12} {numbers}"


HEADING = f"{'':20} {'submissions':>12} {'seconds':>9} {'a minute':>9} {'CPU s each':>9} {'GB':>5}"


def _scores(home: Path) -> dict[str, float]:
    with Gradebook(f"sqlite:///{home}/.course/gradebook.db", "nst") as book:
        submissions = book.assignment_submissions(students.LESSON)
        return {entry.student.id: entry.score for entry in submissions}


def _run(home: Path, *command: str) -> Run:
    """Run a command of the environment in a course."""
    start, before, most = time.perf_counter(), _processor(), 0
    with (home / "said.txt").open("wb") as said:
        run = subprocess.Popen([sys.executable, "-m", *command], cwd=home, stderr=said, stdout=said)
        while run.poll() is None:
            most = max(most, _memory(run.pid))
            time.sleep(1)
    if run.returncode:
        raise SystemExit((home / "said.txt").read_text()[-3000:])
    return Run(time.perf_counter() - start, _processor() - before, most / 2**30)


def _processor() -> float:
    """Return the processor seconds of all that was run and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory(pid: int) -> int:
    """Return the memory of a process and its children, what they share counted once."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += getattr(process.memory_full_info(), "pss", process.memory_info().rss)
        except psutil.Error:
            continue
    return total


def against_nbgrader(folder: Path, number: int, few: int, jobs: int) -> None:
    """Print the table of ``nst grade`` and ``nbgrader autograde``."""
    ours, theirs = folder / "ours", folder / "theirs"
    crowd = list(students.crowd(number))
    course.make(ours, crowd)
    shutil.copytree(ours, theirs)
    for student in crowd[few:]:
        shutil.rmtree(theirs / ".course" / "submitted" / student.name)
    stock = _run(theirs, "nbgrader", "autograde", students.LESSON)
    grade = (*GRADE, "--jobs", str(jobs))
    first, again = _run(ours, *grade), _run(ours, *grade)
    given, kernels = _scores(ours), _scores(theirs)
    wanted = {student.name: student.points for student in crowd}
    print(HEADING)
    print(stock.row("nbgrader autograde", few))
    print(first.row("nst grade", number))
    print(again.row("nst grade, again", number))
    ratios = (stock.seconds / few) / (first.seconds / number)
    processor = (stock.processor / few) / (first.processor / number)
    print(f"nst grade grades {ratios:.1f} times as many submissions a minute")
    print(f"a submission takes it {processor:.1f} times less of the processors' time")
    equal = sum(given[name] == mark for name, mark in kernels.items())
    print(f"marks equal to nbgrader's: {equal} of {len(kernels)}")
    right = sum(given[name] == wanted[name] for name in wanted)
    print(f"marks as expected: {right} of {len(wanted)}")


def with_workers(folder: Path, number: int) -> None:
    """Print how long the same class takes with one Dask worker and with two."""
    crowd = list(students.crowd(number))
    rates = []
    print(HEADING)
    for workers in (1, 2):
        home = folder / f"workers{workers}"
        course.make(home, crowd)
        with _cluster(workers, folder / f"dask{workers}") as address:
            command = (*GRADE, "--scheduler", address)
            _run(home, *command, "--student", FIRST)
            run = _run(home, *command)
        assert len(_scores(home)) == number, "not every submission was entered once"
        print(run.row(f"{workers} Dask worker{'s' * (workers > 1)}", number - 10))
        rates.append(1 / run.seconds)
    print(f"two workers grade {rates[1] / rates[0]:.2f} times as many submissions a minute")


@contextlib.contextmanager
def _cluster(workers: int, folder: Path) -> Iterator[str]:
    """Start a scheduler and workers on 127.0.0.1; give its address."""
    from distributed import Client

    folder.mkdir()
    file = folder / "scheduler.json"
    here = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    dask = [sys.executable, "-m", "dask"]
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    many = ["--nthreads", "1", "--nworkers", str(workers), "--memory-limit", "0"]
    commands = [[*dask, "scheduler", *here, "--port", "0"], [*dask, "worker", *here, *many]]
    started = [subprocess.Popen(command, **options) for command in commands]
    try:
        with Client(scheduler_file=str(file), timeout=120) as client:
            client.wait_for_workers(workers, timeout=120)
            address = client.scheduler.address
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(60)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading")
    parser.add_argument("--number", type=int, default=200, help="submissions that nst grades")
    parser.add_argument("--stock", type=int, default=12, help="of these, how many nbgrader grades")
    parser.add_argument("--whole", action="store_true", help="let nbgrader grade all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cluster", action="store_true", help="one Dask worker against two")
    options = parser.parse_args()
    few = options.number if options.whole else min(options.stock, options.number)
    with tempfile.TemporaryDirectory() as folder:
        if options.cluster:
            with_workers(Path(folder), options.number)
        else:
            against_nbgrader(Path(folder), options.number, few, options.jobs)


if __name__ == "__main__":
    main()
