"""A process that has torch loaded, from which workers are forked warm.

Started by ``workers.Zygote``, it listens on a Unix socket for orders to fork. It has imported what
lessons may import, and never the reference solutions or the gradebook; the checker only when it is
told to (``--checker``), for words and not for marks.

Between the zygote and a worker stands a *keeper*: it makes the worker's namespaces, reads what the
worker prints, and ends it when the judge says so.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import traceback
import types
from pathlib import Path
from typing import Any

MOST_OUTPUT = 20_000
_PATIENCE = 5.0


def main(arguments: list[str]) -> None:
    """Serve orders until the judge is gone."""
    control = socket.socket(fileno=int(arguments[0]))
    from nst_helpers.grading import jail

    jail.end_with_parent()
    there = _leave_out(arguments)
    prepare(checker="--checker" in arguments)
    control.sendall(json.dumps(there).encode() + b"\n")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not message:
            # Libraries have much to tidy up at a usual end, and nobody waits for it.
            os._exit(0)
        if os.fork() == 0:
            # Whatever happens, a keeper must not go on as a second zygote.
            try:
                control.close()
                _keep(json.loads(message), *descriptors)
            finally:
                os._exit(1)
        for descriptor in descriptors:
            os.close(descriptor)


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


# --- the keeper -----------------------------------------------------------------------------------


def _keep(order: dict[str, Any], call: int, status: int) -> None:
    """Start a worker in its jail, read what it prints, and end it when the judge wants it to.

    Args:
        order: lesson, memory, seconds, readable, hidden, and the folder for the worker's own.
        call: descriptor of the socket on which the worker serves.
        status: descriptor of a socket: its end from the judge's side ends the worker; a last
            message tells the judge how the worker ended.
    """
    from nst_helpers.grading import jail

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    jail.end_with_parent()
    folder = Path(tempfile.mkdtemp(dir=order["folder"]))
    separated = jail.separate()
    out_end, in_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(out_end)
            os.close(status)
            _work(order, call, in_end, folder, separated)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(in_end)
    os.close(call)
    judge = socket.socket(fileno=status)
    output, code = _watch(child, out_end, judge)
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        judge.sendall(json.dumps({"output": output, "code": code}).encode())
    os._exit(0)


def _watch(child: int, out_end: int, judge: socket.socket) -> tuple[str, int]:
    """Return the beginning of what a worker printed, and its exit code (minus a signal)."""
    output = bytearray()
    watched = selectors.DefaultSelector()
    watched.register(out_end, selectors.EVENT_READ)
    watched.register(judge, selectors.EVENT_READ)
    ended = os.pidfd_open(child) if hasattr(os, "pidfd_open") else None
    if ended is not None:
        watched.register(ended, selectors.EVENT_READ)
    code = None
    while code is None:
        ready = [key.fileobj for key, _ in watched.select(None if ended is not None else 0.02)]
        if out_end in ready:
            part = os.read(out_end, 1 << 16)
            output += part[: MOST_OUTPUT - len(output)]
            if not part:
                watched.unregister(out_end)
        if judge in ready:
            os.kill(child, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        elif ended is None or ended in ready:
            pid, waited = os.waitpid(child, os.WNOHANG)
            code = os.waitstatus_to_exitcode(waited) if pid else None
    return bytes(output).decode(errors="replace"), code


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
