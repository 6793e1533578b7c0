"""``nst sweep``: a sweep from the command line, with a line for each job that ends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nst_helpers.errors import NstError
from nst_helpers.sweep import folder as store
from nst_helpers.sweep.running import FAILED, FINISHED, Progress, Sweep, duration, estimate, submit
from nst_helpers.sweep.spec import MANY_JOBS, Plan, SweepError, planned
from nst_helpers.sweep.workers import connected

if TYPE_CHECKING:
    from distributed import Client

LOOK_SECONDS = 0.5


def sweep(
    spec: Path,
    folder: Path | None = None,
    *,
    scheduler: str | None = None,
    processes: int | None = None,
    sure: bool = False,
) -> int:
    """Run a sweep to its end, telling how far it is; return the exit status.

    Args:
        spec: a YAML file, see :mod:`nst_helpers.sweep.spec`.
        folder: where results go; None takes the spec's name without its ending.
        scheduler: the address of one's own Dask cluster; None starts processes here.
        processes: how many of those.
        sure: whether not to ask, however many jobs there are.

    Raises:
        NstError: the spec asks for what cannot be, or the cluster cannot be had.
    """
    plan = planned(spec)
    place = (folder or Path(spec.stem)).expanduser().absolute()
    before = sum(store.read(place, job.digest) is not None for job in plan.jobs)
    print(f"{_counted(plan)}; results go to {place}", flush=True)
    if before:
        print(f"{before} of them were finished before and are not run again.")
    if before == len(plan.jobs):
        with submit(plan, place, most=before) as running:
            running.wait()
        return _told(running)
    running: Sweep | None = None
    try:
        with connected(scheduler, processes) as client:
            print(f"{_foretold(plan, place, client)}", flush=True)
            if len(plan.jobs) - before > MANY_JOBS and not sure:
                _ask()
            with submit(plan, place, client, most=len(plan.jobs)) as running:
                _watch(running)
    except KeyboardInterrupt:
        # By now leaving the block has stopped the sweep.
        return _interrupted(running, place)
    return _told(running)


def _counted(plan: Plan) -> str:
    steps = sorted({job.steps for job in plan.jobs})
    each = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    count = len(plan.jobs)
    return f"{count:,} job{'s' * (count != 1)} of {each} step{'s' * (steps[-1] != 1)}"


def _foretold(plan: Plan, place: Path, client: Client) -> str:
    try:
        seconds = estimate(plan, place, client)
    except NstError as error:
        raise SweepError(f"The first job cannot be begun: {error}") from None
    workers = sum(client.nthreads().values())
    return (
        f"By one timed step they will take {duration(seconds)} on {workers} "
        f"worker{'s' * (workers != 1)}; Ctrl-C stops, and the same command goes on."
    )


def _ask() -> None:
    if not sys.stdin.isatty():
        raise SweepError(f"These are more than {MANY_JOBS} jobs; add --yes if they are meant.")
    if input("Begin? [y/N] ").strip().lower() not in ("y", "yes"):
        raise SweepError("Nothing was begun; take values out of the spec, or answer y.")


def _watch(running: Sweep) -> None:
    from tqdm.auto import tqdm

    total = sum(job.steps for job in running.plan.jobs)
    with tqdm(total=total, unit="step", file=sys.stdout, disable=not sys.stdout.isatty()) as bar:
        tell = _teller(running, bar.write if not bar.disable else print)
        while True:
            progress = running.wait(LOOK_SECONDS)
            tell()
            bar.n = _steps_done(running, progress)
            bar.set_postfix_str(str(progress), refresh=True)
            if progress.ended:
                return


def _teller(running: Sweep, write: Callable[[str], object]) -> Callable[[], None]:
    """Return a function that writes a line for each job that has ended since it was last called."""
    told: set[str] = set()

    def tell() -> None:
        for row, job in zip(
            running.table().frame.to_dict("records"), running.plan.jobs, strict=True
        ):
            if row["state"] not in (FINISHED, FAILED) or job.digest in told:
                continue
            told.add(job.digest)
            place = f"[{running.progress().done}/{len(running.plan.jobs)}]"
            if row["state"] == FAILED:
                write(f"{place} {job.label}: failed: {row['failure']}")
            else:
                more = f", taken up at step {row['resumed']:.0f}" if row["resumed"] else ""
                write(
                    f"{place} {job.label}: total loss {row['total loss']:.4g}, "
                    f"{row['seconds']:.1f} s{more}"
                )

    return tell


def _steps_done(running: Sweep, progress: Progress) -> int:
    done = running.results()
    whole = sum(job.steps for job in running.plan.jobs if job.digest in done)
    return whole + sum(each.step for each in progress.running)


def _interrupted(running: Sweep | None, place: Path) -> int:
    told = "no job was begun"
    if running is not None:
        progress = running.progress()
        told = f"{progress.done} of {progress.jobs} jobs are done and kept in {place}"
    print(f"nst: interrupted; {told}, and the same command goes on from there.", file=sys.stderr)
    return 130


def _told(running: Sweep) -> int:
    progress = running.progress()
    print(f"{progress}: see {running.folder / store.RESULTS} and {store.SHEET} beside it.")
    if progress.failed:
        raise SweepError(
            f"{progress.failed} of {progress.jobs} jobs failed, with the reason in the last column "
            f"of {running.folder / store.RESULTS}; the same command tries them again."
        )
    return 0
