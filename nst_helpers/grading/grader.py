"""Grades one submission after the other in a process that may die without stopping anyone.

A :class:`Grader` starts that process, hands it tasks, ends it when it takes too long and replaces
it when it died. The process holds one ``Judge``; what passes between the two are lines of JSON.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nst_helpers.errors import NstError

# The judge has its own, shorter limits; this one is for a judge that hangs itself.
MOST_SECONDS = 300.0
# A submission may take so many times as long as one call, and as long again for the words.
CALLS_A_SUBMISSION = 3
# A new process after so many submissions, so that memory cannot grow with the class.
RECYCLED_AFTER = 200
ATTEMPTS = 2

# Not -m: it would look for modules in the current folder first.
_START = (
    "import sys; sys.path[:] = [*filter(None, sys.path), {!r}]; "
    "from nst_helpers.grading import grader; grader.serve()"
)


class Gone(Exception):
    """The grading process died or was ended; the message says how."""


class Grader:
    """A process that grades, replaced when it dies; use it from one thread.

    Args:
        seconds: the longest that one call of a student's function may take.
    """

    def __init__(self, seconds: float = 20.0) -> None:
        self.seconds = seconds
        self.most_seconds = MOST_SECONDS + 2 * CALLS_A_SUBMISSION * seconds
        self._process: subprocess.Popen | None = None
        self._errors: Any = None
        self._done = 0
        self._stopped = False

    def grade(self, lesson: str, folder: Path, solutions: Path) -> dict[str, Any]:
        """Return what :func:`graded` returns, or ``{"failure": sentence}``.

        A task whose process dies is tried once more, in a new process.

        Args:
            lesson: the lesson's name.
            folder: what was handed in.
            solutions: the folder of the lessons' sources.
        """
        task = {"lesson": lesson, "folder": str(folder)}
        task |= {"solutions": str(solutions), "seconds": self.seconds}
        for _ in range(ATTEMPTS):
            try:
                return self._asked(task)
            except Gone as gone:
                how = str(gone)
                self.close()
                if self._stopped:
                    break
        return {"failure": f"Grading it {how}, {ATTEMPTS} times; look at it by hand."}

    def stop(self) -> None:
        """End what is being graded, from another thread."""
        self._stopped = True
        self._kill()

    def close(self) -> None:
        """End the process and all it started."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        self._kill()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()
        self._process = None

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _asked(self, task: dict[str, Any]) -> dict[str, Any]:
        if self._process is None or self._done >= RECYCLED_AFTER:
            self.close()
            self._start()
        self._done += 1
        late = threading.Event()

        def end() -> None:
            late.set()
            self._kill()

        clock = threading.Timer(self.most_seconds, end)
        clock.daemon = True
        clock.start()
        try:
            with contextlib.suppress(OSError):
                self._process.stdin.write(json.dumps(task).encode() + b"\n")
                self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            clock.cancel()
        if not line.endswith(b"\n"):
            limit = f"took longer than {self.most_seconds:.0f} s"
            how = limit if late.is_set() else self._last_words()
            raise Gone(how)
        return json.loads(line)

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._done = 0
        root = str(Path(__file__).resolve().parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            # Ctrl-C in the terminal is for the run, which then ends this process itself.
            start_new_session=True,
        )

    def _kill(self) -> None:
        # The thread that uses the process may have ended it already.
        with contextlib.suppress(OSError, AttributeError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        code = self._process.poll()
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 1000))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        said = f" ({lines[-1][:200]})" if lines else ""
        return f"ended its process with status {code}{said}"


def serve() -> None:
    """Answer each line of standard input with a line on standard output, until there is none."""
    # Nothing that a library prints may get among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from nst_helpers.grading.judge import Judge

    # Torch's objects stay for good; to look through them for garbage takes long.
    gc.collect()
    gc.freeze()
    judge = None
    for line in sys.stdin:
        task = json.loads(line)
        try:
            if judge is None or judge.solutions != Path(task["solutions"]):
                if judge is not None:
                    judge.close()
                seconds = task["seconds"]
                judge = Judge(
                    Path(task["solutions"]),
                    call_seconds=seconds,
                    total_seconds=CALLS_A_SUBMISSION * seconds,
                )
            answer = graded(judge, task["lesson"], Path(task["folder"]))
        except NstError as error:
            answer = {"failure": str(error)}
        except Exception as error:
            answer = {"failure": f"Grading it failed with {type(error).__name__}: {error}"}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
    if judge is not None:
        judge.close()


def graded(judge: Any, lesson: str, folder: Path) -> dict[str, Any]:
    """Repair and judge one submission; return the fields of a ``Record`` that come of it.

    Args:
        judge: a ``Judge``.
        lesson: the lesson's name.
        folder: what was handed in.

    Raises:
        NstError: the lesson's source is missing or does not run.
    """
    from nst_helpers.grading.feedback import shown
    from nst_helpers.grading.repair import repair

    source = judge.solutions / lesson / f"{lesson}.ipynb"
    repaired = repair(folder, source)
    cells = [cell for cell in repaired.notebook.cells if cell.cell_type == "code"]
    verdict = judge.judge(lesson, cells)
    missing = judge.missing()
    return {
        "marks": [asdict(mark) for mark in verdict.marks],
        "words": [asdict(words) for words in verdict.words],
        "facts": [fact for fact in verdict.facts if fact not in missing],
        "notes": list(repaired.notes),
        "answered": list(repaired.answered),
        "notebook": json.dumps(shown(repaired, source, verdict)),
        "missing": missing,
        "seconds": judge.call_seconds if verdict.timed_out else None,
    }
