"""The judge's side of a connection: limits on time, no trust, and a note of each call."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

from nst_helpers.grading import wire
from nst_helpers.grading.remote.peer import Peer, WorkerGone
from nst_helpers.grading.wire import Malformed

MOST_MESSAGES = 200_000
# Why a worker is gone.
TOO_LONG = "it took too long"
ENDED = "its process ended"
BROKEN = "its process sent what no answer sends"


class JudgePeer(Peer):
    """The judge's side.

    Args:
        sock: a connected stream socket.
        call_seconds: the longest that one request may take.
        until: the time of ``time.monotonic`` at which all of them have to be done.

    Attributes:
        progress: the number of the cell that the worker last said it was about to run.
        exercises: the names of the student's functions, by key.
        calling: the exercise that was called last.
        tape: what notes the calls that the judge makes itself, not those in the course of another.
        gone: why there is no worker any more, or nothing.
    """

    def __init__(self, sock: socket.socket, call_seconds: float, until: float) -> None:
        super().__init__(sock, "j", "w", trusting=False)
        self.call_seconds = call_seconds
        self.until = until
        self.progress: int | None = None
        self.exercises: dict[str, str] = {}
        self.calling = ""
        self.tape: Any = None
        self.gone = ""
        self.messages_left = MOST_MESSAGES
        self._call_until: float | None = None

    def name(self, function: Any, exercise: str) -> None:
        """Know a student's function by the name of its exercise from now on."""
        key = self.functions.key_by_id.get(id(function))
        if key is not None:
            self.exercises[key] = exercise

    def call(self, key: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call a student's function; what it did to lists and dictionaries is done here, too."""
        self.changed_arguments = None
        result = self._noted_call(key, args, kwargs)
        changed, self.changed_arguments = self.changed_arguments, None
        if changed is not None:
            _refill((args, kwargs), changed)
        return result

    def _noted_call(self, key: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call a student's function, and note it on the tape."""
        if self._call_until is not None:
            return super().call(key, args, kwargs)
        self.calling = self.exercises.get(key, self.calling)
        if self.tape is None or self.tape.full:
            return super().call(key, args, kwargs)
        function = self.exercises.get(key) or self.functions.by_key[key]
        noted = self.tape.begin(function, (args, kwargs))
        result = super().call(key, args, kwargs)
        self.tape.finish(noted, result)
        return result

    def note_backward(self, keys: list, cotangents: tuple, of: list, products: list) -> None:
        """Note on the tape a backward that the judge asked for itself."""
        if self.tape is not None and self._call_until is None:
            known = self.tensors.by_key
            outputs, inputs = ([known[key] for key in each] for each in (keys, of))
            self.tape.backward(outputs, list(cotangents), inputs, products)

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        """Let a request, and all that it leads to, take as long as one call may."""
        outermost = self._call_until is None
        if outermost:
            self._call_until = min(time.monotonic() + self.call_seconds, self.until)
        try:
            yield
        finally:
            if outermost:
                self._call_until = None

    def request(self, header: dict[str, Any], value: Any = None) -> Any:
        """Send a request and return its reply.

        Raises:
            WorkerGone: there is none, and there will be none.
        """
        if self.gone:
            raise WorkerGone(self.gone)
        try:
            with self._in_time():
                return super().request(header, value)
        except TimeoutError:
            self._give_up(TOO_LONG)
        except (EOFError, OSError):
            self._give_up(ENDED)
        except Malformed as error:
            self._give_up(f"{BROKEN}: {error}")

    def _give_up(self, why: str) -> None:
        self.gone = why
        self.sock.close()
        raise WorkerGone(why) from None

    def _read(self) -> tuple[dict[str, Any], memoryview]:
        while True:
            header, body = wire.receive(self.sock, self._call_until)
            self.messages_left -= 1
            if self.messages_left < 0:
                raise Malformed("too many messages")
            if "progress" not in header:
                return header, body
            # Each of a submission's cells may take as long as a call.
            self.progress = header["progress"] if type(header["progress"]) is int else None
            self._call_until = min(time.monotonic() + self.call_seconds + 1, self.until)


def _refill(kept: Any, changed: Any) -> None:
    """Let lists and dictionaries hold what they hold on the other side, and be the same objects."""
    if isinstance(kept, (list, tuple)) and isinstance(changed, (list, tuple)):
        for old, new in zip(kept, changed, strict=False):
            _refill(old, new)
        if type(kept) is list:
            kept[:] = [*kept[: len(changed)], *changed[len(kept) :]]
    elif type(kept) is dict and isinstance(changed, dict):
        for key in kept.keys() - changed.keys():
            del kept[key]
        for key, new in changed.items():
            if type(new) in (list, dict) and key in kept:
                _refill(kept[key], new)
            else:
                kept[key] = new
