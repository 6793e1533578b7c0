"""A process that grades: what it answers, and what becomes of a submission when it dies."""

from __future__ import annotations

import importlib
import os
import signal
import threading
import time

import pytest

from nst_helpers.grading import grader as module
from nst_helpers.grading.grader import Grader
from tests.grading import small


@pytest.fixture
def place(tmp_path):
    """Return a lesson, what was handed in for it, and the folder of the lessons' sources."""
    small.make_course(tmp_path)
    return small.LESSON, small.hand_in(tmp_path, "anna"), tmp_path / "lessons"


def _kill(grader: Grader, times: int, ended: threading.Event) -> list[int]:
    """Kill the grading process that many times, as soon as there is one; return which."""
    killed: list[int] = []
    while len(killed) < times and not ended.wait(0.05):
        process = grader._process
        if process is not None and process.pid not in killed:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
    return killed


def _graded_while_killed(place, times: int) -> tuple[dict, list[int]]:
    ended = threading.Event()
    killed: list[int] = []
    with Grader() as grader:
        thread = threading.Thread(target=lambda: killed.extend(_kill(grader, times, ended)))
        thread.start()
        found = grader.grade(*place)
        ended.set()
        thread.join()
    return found, killed


def test_what_is_found_makes_a_record(place):
    with Grader() as grader:
        found = grader.grade(*place)
        assert [mark["points"] for mark in found["marks"]] == [2, 1]
        assert small.SECRET not in found["notebook"]
        assert found["seconds"] is None  # no limit on time was reached
        first = grader._process.pid
        (place[1] / f"{small.LESSON}.ipynb").unlink()
        found = grader.grade(*place)
        assert [mark["points"] for mark in found["marks"]] == [0, 0]
        assert "No notebook was handed in" in found["notes"][0]
        assert grader._process.pid == first
        # A lesson that is missing is told, and the process goes on.
        assert "09_nothing" in grader.grade("09_nothing", *place[1:])["failure"]
        assert grader._process.pid == first
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_a_submission_whose_process_dies_is_tried_again(place):
    found, killed = _graded_while_killed(place, 1)
    assert len(killed) == 1
    assert [mark["points"] for mark in found["marks"]] == [2, 1]


def test_a_submission_whose_process_dies_twice_is_reported_in_a_line(place):
    found, killed = _graded_while_killed(place, 2)
    assert len(killed) == 2
    assert found == {
        "failure": "Grading it ended its process with status -9, 2 times; look at it by hand."
    }


def test_a_process_that_takes_too_long_is_ended(place, monkeypatch):
    monkeypatch.setattr(module, "MOST_SECONDS", 0.2)
    began = time.monotonic()
    with Grader(seconds=0.0) as grader:
        found = grader.grade(*place)
    assert "took longer than 0 s, 2 times" in found["failure"]
    assert time.monotonic() - began < module.RECYCLED_AFTER


def test_a_process_is_replaced_before_it_can_grow(place, monkeypatch):
    monkeypatch.setattr(module, "RECYCLED_AFTER", 1)
    with Grader() as grader:
        assert "marks" in grader.grade(*place)
        first = grader._process.pid
        assert "marks" in grader.grade(*place)
        assert grader._process.pid != first


def test_the_class_has_each_kind_in_numbers():
    students = importlib.import_module("tests.class.students")
    crowd = list(students.crowd(1000))
    assert len({student.name for student in crowd}) == 1000
    assert {student.kind for student in crowd} == {"right", "wrong"}
