"""A sweep at work: hands out jobs, notes what became of them, shows what there is so far."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from PIL import Image

from nst_helpers import attribution
from nst_helpers._reading import reason
from nst_helpers.display import Figure, show_grid
from nst_helpers.errors import NstError
from nst_helpers.images import save_image
from nst_helpers.studio import Table, table
from nst_helpers.sweep import folder as store
from nst_helpers.sweep.job import as_message, run_job, seconds_a_step
from nst_helpers.sweep.spec import MANY_JOBS, Job, Plan, SweepError, in_words, planned
from nst_helpers.sweep.workers import connected

if TYPE_CHECKING:
    from distributed import Client, Future

# How long a scheduler that no longer answers may take to come back, and a job to stop.
PATIENCE_SECONDS = 20.0
POLL_SECONDS = 0.2
MOST_ON_SHEET = 120
# Files for people are written anew at most this share of the time.
_SHARE_OF_TIME = 0.1
_EMPTY = "#eef0f2"
_COLUMNS = 6

WAITING, RUNNING, FINISHED, KEPT, FAILED = "waiting", "running", "finished", "kept", "failed"


@dataclass(frozen=True)
class Running:
    """A job that a worker is at.

    Attributes:
        label: what sets it apart.
        step: of its last snapshot.
        steps: how many it has.
        host: the worker's machine.
        process: the id of the worker's process there, 0 until it is known.
    """

    label: str
    step: int
    steps: int
    host: str
    process: int


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Attributes:
        jobs: all of them.
        finished: those that were run, now.
        kept: those that an earlier sweep in the same folder had finished.
        failed: those that failed as often as they may.
        waiting: those that no worker is at yet, or no longer.
        retried: how often a job was tried again after it had failed.
        running: those that workers are at.
        seconds_left: a rough estimate, None as long as nothing is known.
        ended: whether nothing more will happen.
    """

    jobs: int
    finished: int
    kept: int
    failed: int
    waiting: int
    retried: int
    running: tuple[Running, ...]
    seconds_left: float | None
    ended: bool

    @property
    def done(self) -> int:
        """The jobs that have a result."""
        return self.finished + self.kept

    def __str__(self) -> str:
        told = [f"{self.done} of {self.jobs} jobs done"]
        if self.kept:
            told[0] += f" ({self.kept} of them before)"
        told += [f"{len(self.running)} running"] * bool(self.running)
        told += [f"{self.waiting} waiting"] * bool(self.waiting)
        told += [f"{self.failed} failed"] * bool(self.failed)
        told += [f"{self.retried} tried again"] * bool(self.retried)
        if self.seconds_left and not self.ended:
            told.append(f"{duration(self.seconds_left)} left")
        return ", ".join(told)


def duration(seconds: float) -> str:
    """Return a time as people say it, to two digits at most: about 40 s, about 12 min."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.0f} {unit}"
    return f"about {max(1, round(seconds))} s"


def submit(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Plan,
    folder: str | os.PathLike[str],
    client: Client | str | None = None,
    *,
    most: int = MANY_JOBS,
) -> Sweep:
    """Begin a sweep and return at once; its jobs run in other processes.

    Args:
        spec: what to vary, see :mod:`nst_helpers.sweep.spec`: a path, a mapping, or a plan.
        folder: where results go. Jobs that are finished there are not run again.
        client: of a Dask cluster, or the address of its scheduler; its machines need the folder at
            the same path. None starts processes on this machine, which end with the sweep.
        most: more jobs than that are refused, as a guard against lists that multiply.

    Raises:
        SweepError: the spec asks for what cannot be; the folder holds something else, or another
            sweep is at work in it.
    """
    plan = spec if isinstance(spec, Plan) else planned(spec)
    if len(plan.jobs) > most:
        raise SweepError(
            f"The lists under vary make {len(plan.jobs):,} jobs; say most={len(plan.jobs)} if "
            f"that many are meant."
        )
    return Sweep(plan, Path(folder).expanduser().absolute(), client)


def estimate(plan: Plan, folder: str | os.PathLike[str], client: Client) -> float:
    """Return how many seconds the jobs of a plan will take that are not finished in a folder.

    One step of the first of them is timed on a worker; steps cost by their pixels.

    Raises:
        NstError: the worker cannot do it, or the folder cannot be used.
    """
    place = Path(folder).expanduser().absolute()
    with _alone(place):
        store.prepare(place, plan)
        left = [job for job in plan.jobs if store.read(place, job.digest) is None]
    if not left:
        return 0.0
    future = client.submit(seconds_a_step, as_message(left[0]), str(place), pure=False)
    a_pixel = future.result() / left[0].pixels
    work = {job.digest: a_pixel * job.pixels * job.steps for job in left}
    threads = max(1, min(len(work), sum(client.nthreads().values())))
    return max(sum(work.values()) / threads, *work.values(), 0.0)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder, so that two sweeps do not write the same files."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / store.LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SweepError(
            f"Another sweep is at work in {folder}; wait for it, stop it, or choose another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


class Sweep:
    """A sweep that was submitted. Leaving a ``with`` block stops it.

    Args:
        plan: its jobs.
        folder: where results go.
        client: see :func:`submit`.
    """

    def __init__(self, plan: Plan, folder: Path, client: Client | str | None = None) -> None:
        self.plan, self.folder = plan, folder
        self._jobs = {job.digest: job for job in plan.jobs}
        self._held = contextlib.ExitStack()
        try:
            self._held.enter_context(_alone(folder))
        except OSError as error:
            raise SweepError(
                f"The folder {folder} cannot be made ({reason(error)}); choose another."
            ) from None
        try:
            self._token = store.prepare(folder, plan)
            self._outcomes = {
                digest: outcome
                for digest in self._jobs
                if (outcome := store.read(folder, digest)) is not None
            }
        except BaseException:
            self._held.close()
            raise
        self._states = dict.fromkeys(self._jobs, WAITING) | dict.fromkeys(self._outcomes, KEPT)
        self._failures: dict[str, str] = {}
        self._tries = dict.fromkeys(self._jobs, 0)
        self._error: NstError | None = None
        self._stopped, self._ended = threading.Event(), threading.Event()
        self._began, self._written, self._cost = time.monotonic(), 0.0, 0.0
        self._waiting = deque(d for d, state in self._states.items() if state == WAITING)
        self._thread = threading.Thread(
            target=self._work, args=(client,), name="nst-sweep", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Sweep in {self.folder}: {self.progress()}>"

    # --- what can be asked ------------------------------------------------------------------------

    def progress(self) -> Progress:
        """Return how far the sweep is."""
        states = dict(self._states)
        at_work = [digest for digest, state in states.items() if state == RUNNING]
        counts = {state: list(states.values()).count(state) for state in set(states.values())}
        return Progress(
            jobs=len(self.plan.jobs),
            finished=self._with_doubles(FINISHED),
            kept=self._with_doubles(KEPT),
            failed=self._with_doubles(FAILED),
            waiting=self._with_doubles(WAITING),
            retried=sum(max(0, tries - (states[d] == FAILED)) for d, tries in self._tries.items()),
            running=tuple(self._running(digest) for digest in at_work),
            seconds_left=self._seconds_left(counts),
            ended=self._ended.is_set(),
        )

    def _with_doubles(self, state: str) -> int:
        # Two jobs of the same digest, as of two copies of one picture, are run once.
        return sum(self._states[job.digest] == state for job in self.plan.jobs)

    def _running(self, digest: str) -> Running:
        job, known = self._jobs[digest], store.starts(self.folder, digest)
        host, process = (known[-1].host, known[-1].process) if known else ("", 0)
        return Running(job.label, store.step_of(self.folder, digest), job.steps, host, process)

    def _seconds_left(self, counts: Mapping[str, int]) -> float | None:
        known = [self._jobs[digest] for digest in self._outcomes]
        steps = sum(job.steps * job.pixels for job in known)
        open_ = [d for d, state in self._states.items() if state in (WAITING, RUNNING)]
        if not steps or not counts.get(RUNNING):
            return None
        rate = sum(outcome.seconds for outcome in self._outcomes.values()) / steps
        left = sum(
            (self._jobs[d].steps - store.step_of(self.folder, d)) * self._jobs[d].pixels
            for d in open_
        )
        return rate * left / counts[RUNNING]

    def results(self) -> dict[str, store.Outcome]:
        """Return the outcomes so far, by the jobs' digests."""
        return dict(self._outcomes)

    def picture(self, job: Job) -> Path:
        """Return where the picture of a finished job lies."""
        return self.folder / store.JOBS / job.digest / store.PICTURE

    def table(self) -> Table:
        """Return one row for each job: what varies, its state, its losses, its time, its folder.

        Losses are those of the lowest total; between jobs of another alpha, beta or layer they
        cannot be compared. ``starts`` counts how often a worker began or went on with the job, and
        ``resumed`` is the step it was last taken up at.
        """
        rows = self._rows()
        if not any(row["failure"] for row in rows):
            rows = [{key: row[key] for key in row if key != "failure"} for row in rows]
        return table(rows, f"{self._spoken()}. Losses are those of the lowest total loss.")

    def _rows(self) -> list[dict[str, Any]]:
        return [self._row(job) for job in self.plan.jobs]

    def _row(self, job: Job) -> dict[str, Any]:
        outcome = self._outcomes.get(job.digest)
        row: dict[str, Any] = {
            key: value if isinstance(value, (int, float, str)) else in_words(value)
            for key, value in job.varied.items()
        }
        # A varied style must not be taken for a style loss.
        told = dict.fromkeys(_COLUMNS_OF_RESULTS) if outcome is None else store.facts(outcome)
        row |= {"state": self._states[job.digest]}
        row |= {_COLUMNS_OF_RESULTS[key]: told[key] for key in _COLUMNS_OF_RESULTS}
        row["folder"] = f"{store.JOBS}/{job.digest}" if outcome else None
        row["failure"] = self._failures.get(job.digest)
        return row

    def _spoken(self) -> str:
        varied = [f"{key} ({_count_of(self.plan, key)})" for key in self.plan.jobs[0].varied]
        return f"A sweep over {', '.join(varied)}: {self.progress()}"

    def sheet(self) -> Figure:
        """Return the pictures so far, each below with what varies; empty places are to come."""
        jobs = self.plan.jobs[:MOST_ON_SHEET]
        pictures = [self._shown(job) for job in jobs]
        blank = Image.new("RGB", next((p.size for p in pictures if p), (256, 192)), _EMPTY)
        caption = self._spoken()
        if len(jobs) < len(self.plan.jobs):
            caption += f". The first {len(jobs)} are shown"
        names = dict.fromkeys(n for job in jobs for n in self._credits(job))
        return show_grid(
            [picture or blank for picture in pictures],
            labels=[self._label(job) for job in jobs],
            columns=_columns(self.plan),
            caption=caption,
            alts=[self._alt(job) for job in jobs],
            credit=[attribution.picture(name) for name in names],
        )

    def _shown(self, job: Job) -> Image.Image | None:
        if job.digest not in self._outcomes:
            return None
        with Image.open(self.picture(job), formats=["PNG"]) as picture:
            return picture.convert("RGB")

    def _label(self, job: Job) -> str:
        state = self._states[job.digest]
        return job.label if state in (FINISHED, KEPT) else f"{job.label} ({state})"

    def _alt(self, job: Job) -> str:
        outcome = self._outcomes.get(job.digest)
        return f"Stylised picture: {outcome.caption}" if outcome else "An empty place."

    def _credits(self, job: Job) -> tuple[str, ...]:
        return tuple(s.shipped for s in (job.content, *job.styles) if s.shipped)

    # --- what can be done -------------------------------------------------------------------------

    def wait(self, seconds: float | None = None) -> Progress:
        """Wait until the sweep has ended, or for some seconds; return how far it is.

        Raises:
            NstError: the cluster cannot be had, or was lost; what is finished is kept.
        """
        self._ended.wait(seconds)
        if self._ended.is_set():
            self._thread.join()
            if self._error is not None:
                raise self._error
        return self.progress()

    def stop(self) -> Progress:
        """Let jobs that run leave a snapshot and end, and return when all processes have ended."""
        self._stopped.set()
        store.ask_to_stop(self.folder) if not self._ended.is_set() else None
        self._thread.join()
        return self.progress()

    # --- what happens in the thread ---------------------------------------------------------------

    def _work(self, client: Client | str | None) -> None:
        try:
            self._write()
            if self._waiting:
                with self._client(client) as connection:
                    self._run_all(connection)
        except NstError as error:
            self._error = error
        except Exception as error:  # Dask raises much of its own
            self._error = SweepError(
                f"The cluster failed ({type(error).__name__}: {reason(error)}); what is finished "
                f"is kept, and the same sweep goes on from there."
            )
        finally:
            for digest, state in self._states.items():
                if state == RUNNING:
                    self._states[digest] = WAITING
            self._ended.set()
            try:
                self._write()
            except NstError as error:
                self._error = self._error or error
            self._held.close()

    def _client(self, given: Client | str | None) -> contextlib.AbstractContextManager[Client]:
        if given is None or isinstance(given, str):
            return connected(given)
        return contextlib.nullcontext(given)

    def _run_all(self, client: Client) -> None:
        at_work: dict[Future, str] = {}
        done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        heard = asked = None
        while at_work or (self._waiting and not self._stopped.is_set()):
            if client.status == "running":
                heard = time.monotonic()
                self._hand_out(client, at_work, done)
            elif time.monotonic() - (heard or self._began) > PATIENCE_SECONDS:
                raise _lost()
            with contextlib.suppress(queue.Empty):
                future = done.get(timeout=POLL_SECONDS)
                self._settle(future, at_work.pop(future))
                self._hand_out(client, at_work, done)
                self._write_sometimes()
            if self._stopped.is_set():
                asked = asked or time.monotonic()
                if time.monotonic() - asked > PATIENCE_SECONDS:
                    client.cancel(list(at_work), force=True)
                    return

    def _hand_out(
        self, client: Client, at_work: dict[Future, str], done: queue.SimpleQueue[Future]
    ) -> None:
        """Give each thread of the cluster one job: what waits with a worker would die with it."""
        if not self._waiting or self._stopped.is_set() or client.status != "running":
            return
        threads = sum(client.nthreads().values())
        while self._waiting and len(at_work) < max(1, threads):
            digest = self._waiting.popleft()
            future = client.submit(
                run_job,
                as_message(self._jobs[digest]),
                str(self.folder),
                self._token,
                self.plan.every,
                key=f"nst-sweep-{digest}-{time.time_ns():x}",
                pure=False,
            )
            self._states[digest] = RUNNING
            at_work[future] = digest
            future.add_done_callback(done.put)

    def _settle(self, future: Future, digest: str) -> None:
        """Note what became of a job."""
        try:
            finished = future.result()
        except CancelledError:  # the scheduler was lost, and no job is to blame
            self._wait_again(digest)
            return
        except Exception as error:
            self._failed(digest, error)
            return
        finally:
            future.release()
        if not finished:
            self._wait_again(digest)
            return
        outcome = store.read(self.folder, digest)
        if outcome is None:
            self._failed(digest, SweepError(f"Its result is not in {self.folder}."))
            return
        self._outcomes[digest] = outcome
        self._states[digest] = FINISHED
        self._failures.pop(digest, None)

    def _wait_again(self, digest: str) -> None:
        self._states[digest] = WAITING
        self._waiting.append(digest)

    def _failed(self, digest: str, error: Exception) -> None:
        self._tries[digest] += 1
        told = str(error) if isinstance(error, NstError) else f"{type(error).__name__}: {error}"
        self._failures[digest] = " ".join(told.split())[:500]
        # A job that ended one worker after the other will end more.
        deadly = type(error).__name__ == "KilledWorker"
        if deadly or self._tries[digest] > self.plan.retries:
            self._states[digest] = FAILED
        else:
            self._wait_again(digest)

    def _write_sometimes(self) -> None:
        if time.monotonic() - self._written > self._cost / _SHARE_OF_TIME:
            self._write()

    def _write(self) -> None:
        """Write table and contact sheet, whole."""
        started = time.monotonic()
        try:
            rows = table(self._rows(), "").frame.to_csv(index=False)
            store.write_whole(self.folder / store.RESULTS, rows.encode())
            with tempfile.TemporaryDirectory() as name:
                drawn = self.sheet().save(Path(name, "sheet.png"))
                with Image.open(drawn) as picture:
                    save_image(picture.convert("RGB"), self.folder / store.SHEET)
        except OSError as error:
            raise SweepError(
                f"The folder {self.folder} cannot be written to ({reason(error)}); make room, and "
                f"start the same sweep again."
            ) from None
        self._written = time.monotonic()
        self._cost = self._written - started


# Columns of a table: a style loss is not a style.
_COLUMNS_OF_RESULTS = {
    "total": "total loss",
    "content": "content loss",
    "style": "style loss",
    "step": "step",
    "seconds": "seconds",
    "starts": "starts",
    "resumed": "resumed",
    "ended": "ended",
}


def _count_of(plan: Plan, key: str) -> int:
    return len({repr(job.varied[key]) for job in plan.jobs})


def _columns(plan: Plan) -> int:
    """Return how many pictures a row has: the values of the last keys, as many as fit."""
    columns = 1
    for key in reversed(plan.jobs[0].varied):
        wider = columns * _count_of(plan, key)
        if wider > _COLUMNS:
            break
        columns = wider
    return columns if columns > 1 else min(_COLUMNS, math.ceil(math.sqrt(len(plan.jobs))))


def _lost() -> SweepError:
    return SweepError(
        "The Dask scheduler no longer answers; what is finished is kept, and the same sweep goes "
        "on from there once there is a scheduler."
    )
