"""A process that has torch loaded, from which workers are forked warm.

Started by ``workers.Zygote``, it listens on a Unix socket for orders to fork a worker and to end
one. It has imported what lessons may import, and never the reference solutions or the gradebook;
the checker only when it is told to (``--checker``), for words and not for marks.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
import types
from pathlib import Path
from typing import Any

_A_MOMENT = 0.005


def main(arguments: list[str]) -> None:
    """Serve orders until the judge is gone."""
    control = socket.socket(fileno=int(arguments[0]))
    from nst_helpers.grading import jail

    jail.end_with_parent()
    there = _leave_out(arguments)
    nested = jail.nest()
    prepare(checker="--checker" in arguments)
    _answer(control, there)
    folders: dict[int, Path] = {}
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not message:
            # Libraries have much to tidy up at a usual end, and nobody waits for it.
            os._exit(0)
        order = json.loads(message)
        if "end" in order:
            code = _ended(order["end"], order["seconds"])
            shutil.rmtree(folders.pop(order["end"]), ignore_errors=True)
            _answer(control, {"code": code})
        else:
            folder = Path(tempfile.mkdtemp(dir=order["folder"]))
            worker = _forked(order, control, *descriptors, folder, nested)
            folders[worker] = folder
            _answer(control, {"pid": worker})


def _answer(control: socket.socket, said: dict[str, Any]) -> None:
    control.sendall(json.dumps(said).encode() + b"\n")


def _leave_out(arguments: list[str]) -> dict[str, bool]:
    """Return which walls there are, without those that tests leave out."""
    from nst_helpers.grading import jail

    without = {option.partition("=")[2] for option in arguments if option.startswith("--without=")}
    there = jail.protections()
    there |= dict.fromkeys(without & there.keys(), False)
    return there


def alone(arguments: list[str]) -> None:
    """Be one worker, where there is no fork: the order comes on standard input."""
    order = json.loads(sys.stdin.readline())
    _leave_out(arguments)
    prepare(checker="--checker" in arguments)
    connection = socket.create_connection(("127.0.0.1", int(arguments[0])))
    connection.sendall(order.pop("token").encode())
    _serve_in_jail(order, connection, Path(tempfile.mkdtemp(dir=order["folder"])))


def _serve_in_jail(
    order: dict[str, Any], connection: socket.socket, folder: Path, *, separated: bool = False
) -> None:
    """Enter the jail that an order asks for and serve, until the judge is gone."""
    from nst_helpers.grading import jail, worker

    limits = {name: order[name] for name in ("readable", "hidden", "memory", "seconds")}
    jail.enter(folder, **limits, separated=separated)
    worker.WorkerPeer(connection, order["lesson"]).serve()
    os._exit(0)


def prepare(*, checker: bool) -> None:
    """Import what lessons may import, so that no worker has to."""
    import torch

    torch.set_num_threads(1)
    if checker:
        _import_checker()
    else:
        _stand_in_for_checker()
    importlib.import_module("nst_helpers.grading.worker")
    for name in ("torchvision", "matplotlib.pyplot", "IPython.core.inputtransformer2"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _import_engine()
    # An optimiser imports a large part of torch at its first step.
    tensor = torch.zeros(1, requires_grad=True)
    tensor.grad = torch.zeros(1)
    torch.optim.Adam([tensor]).step()
    gc.collect()
    gc.freeze()


def _import_engine() -> None:
    import nst_helpers

    for module in pkgutil.walk_packages(nst_helpers.__path__, "nst_helpers."):
        part = module.name.split(".")[1]
        if part not in ("checker", "grading", "cli") and not module.name.endswith("__main__"):
            # A lesson that needs what cannot be imported here says so itself.
            with contextlib.suppress(Exception):
                importlib.import_module(module.name)


def _import_checker() -> None:
    from nst_helpers import checker

    for name in set(checker.EXERCISES.values()):
        importlib.import_module(f"nst_helpers.checker.{name}")


def _stand_in_for_checker() -> None:
    """Let a notebook's ``check(...)`` be a word that does nothing."""
    import nst_helpers
    from nst_helpers.grading.worker import NoReference

    stand_in = types.ModuleType("nst_helpers.checker")
    stand_in.__path__ = []  # a package, whose modules ``NoReference`` is asked for
    stand_in.check = stand_in.review = lambda *_, **__: None
    stand_in.NotYet, stand_in.EXERCISES = AssertionError, {}
    sys.modules["nst_helpers.checker"] = nst_helpers.checker = stand_in
    sys.meta_path.insert(0, NoReference)


# --- workers --------------------------------------------------------------------------------------


def _forked(
    order: dict[str, Any],
    control: socket.socket,
    call: int,
    output: int,
    folder: Path,
    nested: bool,
) -> int:
    """Return the number of a new worker's process.

    Args:
        order: lesson, memory, seconds, readable, hidden.
        control: the zygote's own socket, which no worker may have.
        call: descriptor of the socket on which the worker serves.
        output: descriptor of what it prints to.
        folder: the worker's own.
        nested: whether it can be set apart.
    """
    from nst_helpers.grading import jail

    child = jail.fork_apart() if nested else os.fork()
    if child == 0:
        # Whatever happens, a worker must not go on as a second zygote.
        try:
            control.close()
            _work(order, call, output, folder, nested)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(call)
    os.close(output)
    return child


def _ended(worker: int, seconds: float) -> int:
    """Return a worker's exit code, minus a signal; it is killed unless it ends so soon."""
    until = time.monotonic() + seconds
    while True:
        pid, waited = os.waitpid(worker, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(waited)
        if time.monotonic() >= until:
            os.kill(worker, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        time.sleep(_A_MOMENT)


def _work(order: dict[str, Any], call: int, output: int, folder: Path, separated: bool) -> None:
    """Become the worker: set up the standard streams, enter the jail, serve."""
    sink = os.open(os.devnull, os.O_RDONLY)
    os.dup2(sink, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(call, 3)
    os.closerange(4, 1 << 16)
    # Line by line, so that what was printed before a crash is there.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False, errors="replace")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="replace")  # noqa: SIM115
    _serve_in_jail(order, socket.socket(fileno=3), folder, separated=separated)
