"""What a worker does: it runs one job from where it stands, and leaves its result whole.

A worker is given settings as plain values, and the folder that all machines share. It opens no
picture but those in the folder, each of which has to have the digest that the job names.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import nst_helpers
from nst_helpers import attribution, recipes, runs
from nst_helpers.errors import NstError
from nst_helpers.images import load_image
from nst_helpers.result import Result, Step
from nst_helpers.sweep import folder as store
from nst_helpers.sweep.spec import Job, Source, SweepError
from nst_helpers.transfer import StyleTransfer

# What ``StyleTransfer.run`` takes; everything else its constructor does.
_RUN = ("steps", "stop_early")


def as_message(job: Job) -> dict[str, Any]:
    """Return a job as it travels to a worker: plain values, and the version that sends it."""
    return {**asdict(job), "version": _version()}


def _version() -> str:
    return f"nst_helpers {nst_helpers.__version__}, torch {torch.__version__.split('+')[0]}"


def _received(message: Mapping[str, Any]) -> Job:
    if message["version"] != _version():
        raise SweepError(
            f"A worker has {_version()}, and {message['version']} is asked for; install the same "
            f"everywhere."
        )
    told = {key: value for key, value in message.items() if key != "version"}
    told["content"] = Source(**told["content"])
    told["styles"] = tuple(Source(**style) for style in told["styles"])
    if not isinstance(told["start"], str):
        told["start"] = Source(**told["start"])
    return Job(**told)


def run_job(message: Mapping[str, Any], place: str, token: str, every: int) -> bool:
    """Run a job and leave its result in the folder; return whether it came to its end.

    A job that another worker has begun is taken up at its last snapshot. One that is finished is
    left as it is.

    Args:
        message: the job, see :func:`as_message`.
        place: the folder of the sweep.
        token: what stands in its file ``.sweep-id``.
        every: steps between two snapshots.

    Raises:
        NstError: the folder is another here, a picture was changed, or the engine cannot run it.
    """
    job, folder = _received(message), Path(place)
    if store.token(folder) != token:
        raise SweepError(
            f"The worker on {socket.gethostname()} does not see the sweep's folder {folder}; all "
            f"machines need it at the same path."
        )
    if store.read(folder, job.digest) is not None:
        return True
    if store.stop_asked(folder):
        return False
    work = runs.make_folder(folder / store.RUNNING / job.digest)
    transfer = _taken_up(job, work) or begun(job, folder)
    # The last step of a snapshot is judged again, so this is the step it goes on from.
    resumed = len(transfer.history)
    start = store.Start(socket.gethostname(), os.getpid(), resumed)
    count = store.note_start(folder, job.digest, start)
    result = _run(job, transfer, folder, every)
    if result.ended == "interrupted":
        return False
    _leave(job, result, folder, count, resumed)
    return True


def begun(job: Job, folder: Path) -> StyleTransfer:
    """Return a job at its beginning."""
    transfer = (_of_a_recipe if "recipe" in job.settings else _of_the_engine)(job, folder)
    # What was read are bytes, which have no name.
    transfer.settings["content"] = job.content.name
    transfer.settings["style"] = " and ".join(style.name for style in job.styles)
    transfer.settings["start"] = job.start if isinstance(job.start, str) else job.start.name
    pictures = [job.content, *job.styles]
    transfer.sources = tuple(attribution.picture(each.shipped) for each in pictures if each.shipped)
    return transfer


def _pictures(job: Job, folder: Path) -> tuple[bytes, list[bytes]]:
    styles = [store.picture_bytes(folder, style.digest) for style in job.styles]
    return store.picture_bytes(folder, job.content.digest), styles


def _of_the_engine(job: Job, folder: Path) -> StyleTransfer:
    options = {key: value for key, value in job.settings.items() if key not in _RUN}
    start = job.start if isinstance(job.start, str) else _picture(folder, job.start)
    return StyleTransfer(*_pictures(job, folder), start=start, progress=False, **options)


def _of_a_recipe(job: Job, folder: Path) -> StyleTransfer:
    options = {k: v for k, v in job.settings.items() if k not in (*_RUN, "recipe", "changes")}
    return _recipe(job).begin(*_pictures(job, folder), progress=False, **options)


def _recipe(job: Job) -> recipes.Recipe:
    recipe = recipes.load(job.settings["recipe"])
    for name, value in job.settings["changes"].items():
        recipe = recipe.changed(**{name: value})
    return recipe


def _picture(folder: Path, source: Source) -> Tensor:
    return load_image(store.picture_bytes(folder, source.digest))


def _taken_up(job: Job, work: Path) -> StyleTransfer | None:
    """Return the job as its last snapshot holds it; None without one that can be used."""
    path = work / runs.STATE_NAME
    if not path.is_file() or not _can_be_taken_up(job):
        return None
    kept = {key: job.settings[key] for key in ("device", "precision", "weights")}
    try:
        transfer = StyleTransfer.load(path, progress=False, **kept)
    except NstError:
        # Whatever is wrong with it, the job can begin anew; what is wrong with the job shows then.
        path.unlink(missing_ok=True)
        return None
    same = all(
        transfer.settings[key] == value
        for key, value in job.settings.items()
        if key in transfer.settings and key not in (*kept, "size")
    )
    return transfer if same else None


def _can_be_taken_up(job: Job) -> bool:
    """Return whether a snapshot holds all that the job needs to go on as it began."""
    if "recipe" not in job.settings:
        return True
    # A saved run is an ordinary one: it does not know of these.
    recipe = _recipe(job)
    return not (recipe.decay or recipe.options or recipe.clamp == "each step")


def _run(job: Job, transfer: StyleTransfer, folder: Path, every: int) -> Result:
    def look_up(number: int, picture: Tensor, step: Step) -> None:
        if store.stop_asked(folder):
            raise KeyboardInterrupt  # which leaves a snapshot and ends the run

    return transfer.run(
        **{key: job.settings[key] for key in _RUN},
        on_step=look_up,
        progress=False,
        folder=folder / store.RUNNING / job.digest,
        every=every,
    )


def _leave(job: Job, result: Result, folder: Path, count: int, resumed: int) -> None:
    beside = runs.make_folder(folder / store.JOBS / f".{uuid.uuid4().hex}.part")
    try:
        result.save(beside / store.PICTURE)
        runs.write_log(beside, result.history)
        best = result.best
        outcome = store.Outcome(
            digest=job.digest,
            total=best.total,
            content=best.content,
            style=best.style,
            variation=best.variation,
            step=best.step,
            steps=result.history[-1].step,
            seconds=result.history[-1].seconds,
            starts=count,
            resumed=resumed,
            ended=result.ended,
            weights=result.settings["weights"],
            precision=result.settings["precision"],
            caption=result.caption(),
            credits=tuple(source.name for source in result.sources),
        )
        store.leave(folder, outcome, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def seconds_a_step(message: Mapping[str, Any], place: str) -> float:
    """Return how long one step of a job takes here, the second one: the first one warms up."""
    job = _received(message)
    transfer = begun(job, Path(place))
    transfer.advance()
    started = time.monotonic()
    transfer.advance()
    return time.monotonic() - started
