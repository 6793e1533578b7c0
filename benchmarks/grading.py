"""How many submissions a minute ``nst grade`` grades, as a ratio to ``nbgrader autograde``.

Run as ``python -m benchmarks.grading``. Both grade the same submissions of one class, honest and
undamaged, in courses of their own and with the course's configuration; ``nst grade`` also writes
feedback pages, a CSV and a report, for which nbgrader needs further commands. Marks must be equal.

``nbgrader autograde`` takes the same time for each submission, so it grades the first few of them;
``--whole`` lets it grade all. ``--number 1000`` is the class of a thousand.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from nbgrader.api import Gradebook

course = importlib.import_module("tests.class.course")
students = importlib.import_module("tests.class.students")


def _scores(home: Path) -> dict[str, float]:
    with Gradebook(f"sqlite:///{home}/.course/gradebook.db", "nst") as book:
        submissions = book.assignment_submissions(students.LESSON)
        return {entry.student.id: entry.score for entry in submissions}


def _seconds_and_memory(home: Path, *command: str) -> tuple[float, float]:
    """Run a command; return how long it took, and the most memory all its processes had, in GB."""
    start, most = time.perf_counter(), 0
    with (home / "said.txt").open("wb") as said:
        run = subprocess.Popen([sys.executable, "-m", *command], cwd=home, stderr=said, stdout=said)
        while run.poll() is None:
            most = max(most, _memory(run.pid))
            time.sleep(0.25)
    if run.returncode:
        raise SystemExit((home / "said.txt").read_text()[-3000:])
    return time.perf_counter() - start, most / 2**30


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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading")
    parser.add_argument("--number", type=int, default=200, help="submissions that nst grades")
    parser.add_argument("--stock", type=int, default=12, help="of these, how many nbgrader grades")
    parser.add_argument("--whole", action="store_true", help="let nbgrader grade all")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    few = options.number if options.whole else min(options.stock, options.number)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours"), Path(folder, "theirs")
        crowd = list(students.crowd(options.number))
        course.make(ours, crowd)
        shutil.copytree(ours, theirs)
        for student in crowd[few:]:
            shutil.rmtree(theirs / ".course" / "submitted" / student.name)
        stock, stock_memory = _seconds_and_memory(theirs, "nbgrader", "autograde", students.LESSON)
        grade = ("nst_helpers.cli", "grade", students.LESSON, "--jobs", str(options.jobs))
        seconds, memory = _seconds_and_memory(ours, *grade)
        again, _ = _seconds_and_memory(ours, *grade)
        given, kernels = _scores(ours), _scores(theirs)
    wanted = {student.name: student.points for student in crowd}
    print(f"{'':20} {'submissions':>12} {'seconds':>9} {'a minute':>9} {'GB':>5}")
    rates = 60 * few / stock, 60 * len(crowd) / seconds
    print(f"{'nbgrader autograde':20} {few:12} {stock:9.1f} {rates[0]:9.1f} {stock_memory:5.1f}")
    print(f"{'nst grade':20} {len(crowd):12} {seconds:9.1f} {rates[1]:9.1f} {memory:5.1f}")
    print(f"{'nst grade, again':20} {len(crowd):12} {again:9.1f}")
    print(f"nst grade grades {rates[1] / rates[0]:.1f} times as many submissions a minute")
    equal = sum(given[name] == mark for name, mark in kernels.items())
    print(f"marks equal to nbgrader's: {equal} of {len(kernels)}")
    print(
        f"marks as expected: {sum(given[name] == wanted[name] for name in wanted)} of {len(wanted)}"
    )


if __name__ == "__main__":
    main()
