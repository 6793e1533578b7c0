"""A course made for a test: its configuration, one lesson, and what a class handed in."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from .students import LESSON, ROOT, Student


def make(course: Path, students: Iterable[Student]) -> None:
    """Make a course with one lesson, known to its gradebook, and hand everything in.

    Args:
        course: a folder that does not exist yet.
        students: who hands in what.
    """
    course.mkdir(parents=True)
    for name in ("nbgrader_config.py", "autotests.yml"):
        shutil.copy(ROOT / name, course)
    shutil.copytree(ROOT / "solutions" / LESSON, course / "solutions" / LESSON)
    run(course, "nbgrader", "generate_assignment", LESSON)
    for student in students:
        student.write(submitted(course, student.name))


def submitted(course: Path, name: str) -> Path:
    """Return where a student's work lies."""
    return course / ".course" / "submitted" / name / LESSON


def run(course: Path, module: str, *arguments: str, ok: tuple[int, ...] = (0,)) -> str:
    """Run a command of the environment in the course's folder; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        **{"cwd": course, "capture_output": True, "text": True, "timeout": 900},
    )
    assert done.returncode in ok, f"{done.returncode}\n{done.stdout}\n{done.stderr[-5000:]}"
    return done.stdout


def digests(*folders: Path) -> dict[str, str]:
    """Return a digest of every file and link in some folders."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                found[str(path)] = f"link to {path.readlink()}"
            elif path.is_file():
                found[str(path)] = hashlib.blake2b(path.read_bytes()).hexdigest()
    return found


@contextlib.contextmanager
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """Give a port of 127.0.0.1 and a list of what reaches it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    talk, _ = server.accept()
                    with talk:
                        heard.append(talk.recv(100))

        threading.Thread(target=listen, daemon=True).start()
        yield server.getsockname()[1], heard
        # Closing does not wake a thread that waits in accept everywhere.
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
