"""The judge's handles on other processes: the zygote, and the workers forked from it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nst_helpers.errors import NstError
from nst_helpers.grading import jail
from nst_helpers.grading.remote import JudgePeer

START_SECONDS = 120.0
PATIENCE = 5.0
MOST_OUTPUT = 20_000
_FIXED = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "NST_WEIGHTS": "random"}
_PASSED_ON = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "NST_DEVICE", "NST_IMAGES", "TZ")

# Not -m: it would look for modules in the current folder first, which may be a submission's.
_START = (
    "import sys; sys.path[:] = [*filter(None, sys.path), {!r}]; "
    "from nst_helpers.grading import zygote; zygote.{}(sys.argv[1:])"
)


class Zygote:
    """A process with torch loaded, and the order to fork workers from it.

    Args:
        checker: whether its workers can speak the checker's words; such workers give no marks.
        without: walls of the jail to leave out, for tests; see :func:`jail.protections`.
    """

    def __init__(self, *, checker: bool = False, without: Sequence[str] = ()) -> None:
        ours, theirs = socket.socketpair()
        options = ["--checker"] if checker else []
        options += [f"--without={name}" for name in without]
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self.folder = _folder()
        code = _START.format(str(Path(__file__).parents[2]), "main")
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(theirs.fileno()), *options],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment | _FIXED,
        )
        theirs.close()
        self.control = ours
        self.control.settimeout(START_SECONDS)
        self._there: dict[str, bool] | None = None

    @property
    def protections(self) -> dict[str, bool]:
        """Which walls its workers live behind; waits until it has started."""
        if self._there is None:
            self._there = self._answer()
        return self._there

    def _answer(self) -> dict[str, Any]:
        data = b""
        while not data.endswith(b"\n"):
            part = self.control.recv(1 << 16)
            if not part:
                raise NstError(
                    "The process that workers are forked from ended; run `nst doctor` to see "
                    "whether everything is installed."
                )
            data += part
        return json.loads(data)

    def fork(
        self, lesson: int, images: Sequence[Path], *, memory: int, call_seconds: float, until: float
    ) -> Worker:
        """Return a new worker.

        Args:
            lesson: the lesson's number, which decides what of the engine is its own work.
            images: folders of pictures that lessons load.
            memory: bytes that it may take.
            call_seconds: the longest that one request may take.
            until: the time of ``time.monotonic`` at which its work has to be done.
        """
        self.protections  # noqa: B018 - waits for the start
        call, their_call = socket.socketpair()
        printed, their_output = os.pipe()
        order = _order(lesson, images, memory, until, self.folder)
        descriptors = [their_call.fileno(), their_output]
        socket.send_fds(self.control, [json.dumps(order).encode()], descriptors)
        their_call.close()
        os.close(their_output)
        number = self._answer()["pid"]
        peer = JudgePeer(call, call_seconds, until)
        return Worker(peer, printed, lambda seconds: self._end(number, seconds))

    def _end(self, number: int, seconds: float) -> int | None:
        with contextlib.suppress(OSError, NstError):
            self.control.sendall(json.dumps({"end": number, "seconds": seconds}).encode())
            return self._answer()["code"]
        return None

    def close(self) -> None:
        """End it, and with it all its workers."""
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


class Spawner:
    """Starts each worker anew, where a system cannot fork; the same promises, more time.

    Args: see :class:`Zygote`.
    """

    def __init__(self, *, checker: bool = False, without: Sequence[str] = ()) -> None:
        self.options = ["--checker"] if checker else []
        self.options += [f"--without={name}" for name in without]
        self.server = socket.create_server(("127.0.0.1", 0))
        self.processes: list[subprocess.Popen] = []
        self.folder = _folder()
        self.protections = dict.fromkeys(jail.protections(), False)

    def fork(
        self, lesson: int, images: Sequence[Path], *, memory: int, call_seconds: float, until: float
    ) -> Worker:
        """Return a new worker; see :meth:`Zygote.fork`."""
        token = secrets.token_hex(16)
        order = _order(lesson, images, memory, until, self.folder) | {"token": token}
        code = _START.format(str(Path(__file__).parents[2]), "alone")
        port = str(self.server.getsockname()[1])
        process = subprocess.Popen(
            [sys.executable, "-c", code, port, *self.options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | _FIXED,
        )
        self.processes.append(process)
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.close()
        self.server.settimeout(START_SECONDS)
        connection, _ = self.server.accept()
        connection.settimeout(START_SECONDS)
        # Whoever else connects does not know the token.
        if connection.recv(len(token), socket.MSG_WAITALL) != token.encode():
            connection.close()
            process.kill()
            raise NstError("Another program connected in a worker's place; grade again.")
        peer = JudgePeer(connection, call_seconds, until)
        printed = os.dup(process.stdout.fileno())
        process.stdout.close()
        return Worker(peer, printed, lambda seconds: _code_of(process, seconds))

    def close(self) -> None:
        """End all its workers."""
        self.server.close()
        for process in self.processes:
            process.kill()
            process.wait()
        self.folder.cleanup()


def _code_of(process: subprocess.Popen, seconds: float) -> int:
    """Return the exit code of a process, which is killed unless it ends so soon."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    return process.wait()


def start(*, checker: bool = False, without: Sequence[str] = ()) -> Zygote | Spawner:
    """Return what makes workers on this system."""
    kind = Zygote if hasattr(os, "fork") and hasattr(socket, "send_fds") else Spawner
    return kind(checker=checker, without=without)


def _folder() -> tempfile.TemporaryDirectory:
    """Return a folder for the workers' own; those that are nobody may pass through it."""
    folder = tempfile.TemporaryDirectory(prefix="nst-workers-", ignore_cleanup_errors=True)
    Path(folder.name).chmod(0o711)
    return folder


def _order(
    lesson: int,
    images: Sequence[Path],
    memory: int,
    until: float,
    folder: tempfile.TemporaryDirectory,
) -> dict[str, Any]:
    """Return what a worker has to be told."""
    return {
        "lesson": lesson,
        "folder": folder.name,
        "memory": memory,
        "seconds": max(1.0, until - time.monotonic()),
        "readable": [str(path) for path in jail.readable(images)],
        "hidden": [str(path) for path in jail.hidden()],
    }


class Worker:
    """One jailed process with one student's cells.

    Args:
        peer: the connection on which it serves.
        printed: a descriptor of what it prints.
        end: ends it if it does not end by itself in so many seconds, and returns its exit code.

    Attributes:
        output: the beginning of what it printed; empty until :meth:`end`.
        code: its exit code, minus the number of a signal; None until :meth:`end`.
    """

    def __init__(self, peer: JudgePeer, printed: int, end: Callable[[float], int | None]) -> None:
        self.peer = peer
        self.output = ""
        self.code: int | None = None
        self.ended = False
        self._end = end
        self._printed = bytearray()
        self._reader = threading.Thread(target=self._read, args=[printed], daemon=True)
        self._reader.start()

    def _read(self, printed: int) -> None:
        """Keep the beginning of what it prints, and let the rest pass."""
        with contextlib.suppress(OSError):
            while part := os.read(printed, 1 << 16):
                self._printed += part[: max(0, MOST_OUTPUT - len(self._printed))]
        os.close(printed)

    def end(self) -> None:
        """End the process and all that it started, and learn what it printed."""
        if self.ended:
            return
        self.ended = True
        with contextlib.suppress(OSError):
            self.peer.sock.close()
        # One that crashed is about to end; any other waits for more.
        self.code = self._end(1.0 if self.peer.gone else 0.0)
        self._reader.join(1.0)
        self.output = bytes(self._printed).decode(errors="replace")
