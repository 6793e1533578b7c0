"""The judge's handles on other processes: the zygote, and the workers forked from it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nst_helpers.errors import NstError
from nst_helpers.grading import jail
from nst_helpers.grading.remote import JudgePeer

START_SECONDS = 120.0
_PASSED_ON = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "NST_DEVICE", "NST_IMAGES", "TZ")

# Not -m: it would look for modules in the current folder first, which may be a submission's.
_START = (
    "import sys; sys.path[:] = [*filter(None, sys.path), {!r}]; "
    "from nst_helpers.grading import zygote; zygote.main(sys.argv[1:])"
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
        number = str(theirs.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START.format(str(Path(__file__).parents[2])), number, *options],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment
            | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "NST_WEIGHTS": "random"},
        )
        theirs.close()
        self.control = ours
        self._there: dict[str, bool] | None = None

    @property
    def protections(self) -> dict[str, bool]:
        """Which walls its workers live behind; waits until it has started."""
        if self._there is None:
            self.control.settimeout(START_SECONDS)
            data = b""
            while not data.endswith(b"\n"):
                part = self.control.recv(1 << 16)
                if not part:
                    raise NstError(
                        "The process that workers are forked from ended while it started; run "
                        "`nst doctor` to see whether everything is installed."
                    )
                data += part
            self.control.settimeout(None)
            self._there = json.loads(data)
        return self._there

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
        status, their_status = socket.socketpair()
        order = {
            "lesson": lesson,
            "memory": memory,
            "seconds": max(1.0, until - time.monotonic()),
            "readable": [str(path) for path in jail.readable(images)],
            "hidden": [str(path) for path in jail.hidden()],
        }
        descriptors = [their_call.fileno(), their_status.fileno()]
        socket.send_fds(self.control, [json.dumps(order).encode()], descriptors)
        their_call.close()
        their_status.close()
        return Worker(JudgePeer(call, call_seconds, until), status)

    def close(self) -> None:
        """End it, and with it all its workers."""
        self.control.close()
        self.process.kill()
        self.process.wait()


class Worker:
    """One jailed process with one student's cells.

    Attributes:
        peer: the connection on which it serves.
        output: the beginning of what it printed; empty until :meth:`end`.
        code: its exit code, minus the number of a signal; None until :meth:`end`.
    """

    def __init__(self, peer: JudgePeer, status: socket.socket) -> None:
        self.peer = peer
        self.status = status
        self.output = ""
        self.code: int | None = None
        self.ended = False

    def end(self) -> None:
        """End the process and all that it started, and learn what it printed."""
        if self.ended:
            return
        self.ended = True
        crashed = bool(self.peer.gone)
        with contextlib.suppress(OSError):
            self.peer.sock.close()
        self.status.settimeout(1.0 if crashed else 0.0)
        said = b""
        with contextlib.suppress(OSError):
            # A process that crashed is reported at once; any other is told to end.
            said = self.status.recv(1 << 17)
        if not said:
            with contextlib.suppress(OSError):
                self.status.shutdown(socket.SHUT_WR)
                self.status.settimeout(5.0)
                said = self.status.recv(1 << 17)
        self.status.close()
        with contextlib.suppress(ValueError):
            told = json.loads(said)
            self.output, self.code = told["output"], told["code"]
