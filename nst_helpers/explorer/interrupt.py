"""The notebook's stop button ends the explorer's run, too.

An interrupt reaches the main thread alone, and between two cells a kernel ignores it. So a handler
is put in place of the one that ignores it, and each cell that an interrupt has ended is noticed.
Outside of a notebook nothing is done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from types import FrameType
from typing import Any

from nst_helpers.explorer.worker import active_worker

NOTE = "The kernel was interrupted."
_TRY_AGAIN_SECONDS = 0.3
_watched: set[int] = set()


def watch_interrupts() -> None:
    """Let an interrupt of this kernel stop the explorer; call it from a cell."""
    with contextlib.suppress(ImportError):
        from IPython import get_ipython

        shell = get_ipython()
        if shell is None or not hasattr(shell, "kernel") or id(shell) in _watched:
            return
        _watched.add(id(shell))
        shell.events.register("post_run_cell", _after_cell)
        _when_idle()


def _after_cell(result: Any) -> None:
    if isinstance(result.error_in_exec, KeyboardInterrupt):
        _stop()


def _stop() -> None:
    worker = active_worker()
    if worker is not None:
        worker.stop(NOTE)


def _when_idle() -> None:
    """Put the handler in place as soon as no cell runs.

    While one does, Python's own handler is there, and the kernel puts back the one before.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        with contextlib.suppress(RuntimeError):  # no event loop: not called from a cell
            asyncio.get_running_loop().call_later(_TRY_AGAIN_SECONDS, _when_idle)
        return

    def handle(number: int, frame: FrameType | None) -> None:
        # Not here: the signal may have come while this very thread was sending to the page.
        threading.Thread(target=_stop, name="nst-explorer-interrupt").start()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGINT, handle)
