"""The processes that compute: a cluster of this machine's own, or one that is there already."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil

from nst_helpers.errors import install_command
from nst_helpers.sweep.spec import SweepError

if TYPE_CHECKING:
    from distributed import Client

PROCESSES = 2
CONNECT_SECONDS = 20
START_SECONDS = 60


@contextlib.contextmanager
def connected(scheduler: str | None = None, processes: int | None = None) -> Iterator[Client]:
    """Yield a client of a Dask cluster, for :func:`nst_helpers.sweep.submit`.

    Args:
        scheduler: the address of one's own cluster, such as ``"tcp://10.0.0.5:8786"``. None starts
            processes on this machine, which listen on 127.0.0.1 alone and end with the block.
        processes: how many, of one thread each; None takes two, or one where there is one core.

    Raises:
        SweepError: Dask is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise SweepError(
            "A sweep needs the package distributed; install it with: "
            f"{install_command('distributed')}"
        ) from None
    # Its messages are written for those who run clusters; what matters here is said in sentences.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler is None:
        with _of_this_machine(processes) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError):
        raise SweepError(
            f"No Dask scheduler answers at {scheduler}; start one with: dask scheduler, and give "
            f"the address that it prints, such as tcp://127.0.0.1:8786"
        ) from None
    with client:
        yield client


@contextlib.contextmanager
def _of_this_machine(processes: int | None) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    count = processes or min(PROCESSES, os.cpu_count() or 1)
    with (
        LocalCluster(
            host="127.0.0.1",
            n_workers=0,
            # A free port: the usual one may be taken, and Dask would warn of that.
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        _processes(cluster.scheduler_address, count) as started,
    ):
        _wait_for_one(client, started)
        yield client


@contextlib.contextmanager
def _processes(scheduler: str, count: int) -> Iterator[subprocess.Popen]:
    """Start workers in a session of their own, which Ctrl-C in a terminal does not reach.

    Dask's own LocalCluster would begin each worker by running the caller's script once more.
    """
    options = {
        "--host": "127.0.0.1",
        # Without a dashboard there is a page all the same, and for every network.
        "--dashboard-address": "127.0.0.1:0",
        "--nworkers": str(count),
        "--nthreads": "1",
        # The engine looks at the memory that is free itself, before it begins.
        "--memory-limit": "0",
        # How long they look for the scheduler at the start, which is how long they are waited for.
        # Later, should this process die, they end with the connection.
        "--death-timeout": str(START_SECONDS),
    }
    flat = [word for pair in options.items() for word in pair]
    started = subprocess.Popen(
        [sys.executable, "-m", "dask", "worker", scheduler, *flat],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = functools.partial(_end, started)
    atexit.register(end)  # should the program end before the sweep
    try:
        yield started
    finally:
        end()
        atexit.unregister(end)


def _wait_for_one(client: Client, started: subprocess.Popen) -> None:
    ending = time.monotonic() + START_SECONDS
    while not client.nthreads():
        if started.poll() is not None or time.monotonic() > ending:
            raise SweepError(
                f"No worker could be started on this machine; see what this command says: "
                f"{sys.executable} -m dask worker {client.scheduler.address}"
            )
        time.sleep(0.05)


def _end(started: subprocess.Popen) -> None:
    """End the workers; first the process that would start them again."""
    try:
        family = psutil.Process(started.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    started.kill()
    started.wait()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=START_SECONDS)
