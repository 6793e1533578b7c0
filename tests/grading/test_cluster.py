"""Grading on a Dask cluster: real workers on 127.0.0.1, one of which is killed on the way."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client
from nbgrader.api import Gradebook

from nst_helpers.cli import main
from nst_helpers.errors import install_command
from nst_helpers.grading import cluster
from nst_helpers.grading.records import Submission
from tests.grading import small

course = importlib.import_module("tests.class.course")

pytestmark = pytest.mark.timeout(600)
STUDENTS = 10


@contextlib.contextmanager
def _workers(number: int, folder: Path) -> Iterator[tuple[str, int]]:
    """Start a scheduler and workers on 127.0.0.1; give its address and the workers' parent."""
    home = ["--host", "127.0.0.1", "--no-dashboard"]
    dask = [sys.executable, "-m", "dask"]
    address = folder / "scheduler.json"
    here = ["--scheduler-file", str(address)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    started = [subprocess.Popen([*dask, "scheduler", *home, "--port", "0", *here], **silent)]
    try:
        options = ["--nthreads", "1", "--nworkers", str(number), "--memory-limit", "0"]
        started.append(subprocess.Popen([*dask, "worker", *home, *here, *options], **silent))
        with Client(scheduler_file=str(address), timeout=120) as client:
            client.wait_for_workers(number, timeout=120)
            url = client.scheduler.address
        yield url, started[1].pid
    finally:
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            process.wait(60)


def _processes_that_grade(parent: int) -> list[psutil.Process]:
    """Return the workers that have a grading process of their own."""
    below = psutil.Process(parent).children(recursive=True)
    return [
        process.parent() for process in below if "grader.serve()" in " ".join(process.cmdline())
    ]


def test_each_submission_is_entered_once_though_a_worker_dies(tmp_path):
    home = tmp_path / "course"
    home.mkdir()
    small.make_course(home)
    for index in range(STUDENTS):
        small.hand_in(home, f"student{index}")
    with _workers(2, tmp_path) as (address, parent):
        arguments = ["grade", small.LESSON, "--scheduler", address]
        run = subprocess.Popen(
            [sys.executable, "-m", "nst_helpers.cli", *arguments],
            **{"cwd": home, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True},
        )
        while not (workers := _processes_that_grade(parent)) and run.poll() is None:
            time.sleep(0.05)
        os.kill(workers[0].pid, signal.SIGKILL)
        out, err = run.communicate(timeout=300)
        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)  # the killed one has come back
    assert run.returncode == 0, err
    assert f"{STUDENTS} graded, mean 3.0" in out
    with Gradebook(f"sqlite:///{home}/state/book.db", "small") as book:
        given = [
            (entry.student.id, entry.score) for entry in book.assignment_submissions(small.LESSON)
        ]
    assert sorted(given) == [(f"student{index}", 3.0) for index in range(STUDENTS)]


def test_without_a_scheduler_there_is_a_sentence(tmp_path, monkeypatch, capsys):
    small.make_course(tmp_path)
    small.hand_in(tmp_path, "anna")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    assert main(["grade", small.LESSON, "--scheduler", "tcp://127.0.0.1:1"]) == 1
    assert "No Dask scheduler answers at tcp://127.0.0.1:1" in capsys.readouterr().err


def test_without_the_package_there_is_a_sentence(tmp_path, monkeypatch, capsys):
    small.make_course(tmp_path)
    small.hand_in(tmp_path, "anna")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["grade", small.LESSON, "--scheduler", "tcp://127.0.0.1:1"]) == 1
    assert install_command("distributed") in capsys.readouterr().err


def test_a_submission_travels_whole_and_its_links_do_not(tmp_path):
    small.make_course(tmp_path)
    folder = small.hand_in(tmp_path, "anna")
    (folder / "link.ipynb").symlink_to("/dev/zero")
    (folder / "inside").mkdir()
    (folder / "inside" / "copy.ipynb").write_text("{}")
    files, notes = cluster.packed(Submission("anna", small.LESSON, folder))
    assert set(files) == {f"{small.LESSON}.ipynb", "inside/copy.ipynb"}
    assert len(notes) == 1
    assert "link.ipynb is a link" in notes[0]
    whole = tmp_path / "linked"
    whole.symlink_to(folder)
    assert cluster.packed(Submission("anna", small.LESSON, whole))[0] == {}


def test_a_worker_with_another_version_grades_nothing():
    found = cluster.graded_there(small.LESSON, {}, [], b"", 1.0, b"another")
    assert "another version of nst_helpers" in found["failure"]
