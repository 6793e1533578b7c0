"""What lies in a sweep's folder, how it is written whole, and how it is read with suspicion.

    sweep.yaml           the spec
    results.csv          one row for each job
    contact-sheet.jpg    the pictures so far, each with what sets it apart
    jobs/DIGEST/         a finished job: picture.png, log.csv, result.json
    running/DIGEST/      one that runs or was stopped: its state, its log, who worked on it
    pictures/SHA256      the pictures it is made from

Whoever has the folder has all there is: no result is a pickle, and reading one runs no code.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
import secrets
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from PIL import Image

from nst_helpers import runs
from nst_helpers._reading import reason
from nst_helpers.sweep.spec import Plan, SweepError

SPEC, RESULTS, SHEET = "sweep.yaml", "results.csv", "contact-sheet.jpg"
JOBS, RUNNING, PICTURES = "jobs", "running", "pictures"
PICTURE, RESULT, STARTS = "picture.png", "result.json", "starts.csv"
TOKEN, LOCK, STOP = ".sweep-id", ".sweep-lock", "stop"
LARGEST_RESULT = 2**20  # bytes


@dataclass(frozen=True)
class Outcome:
    """What is known of a finished job.

    Attributes:
        digest: the job's.
        total: the lowest total loss, the picture's.
        content: its content loss.
        style: its style loss.
        variation: its total variation, 0 where that had no weight.
        step: the step of the picture.
        steps: the steps that were run.
        seconds: computed for, over all workers.
        starts: how often a worker has begun or gone on with it.
        resumed: the step it was last taken up at, 0 if it ran through.
        ended: ``"finished"``, ``"settled"`` or ``"diverged"``, see ``result.Result``.
        weights: of the network.
        precision: of the convolutions.
        caption: how the picture was made, in a sentence.
        credits: the shipped pictures it was made of, by name.
    """

    digest: str
    total: float
    content: float
    style: float
    variation: float
    step: int
    steps: int
    seconds: float
    starts: int
    resumed: int
    ended: str
    weights: str
    precision: str
    caption: str
    credits: tuple[str, ...] = ()


_KINDS = {"str": str, "int": int, "float": (int, float)}


def prepare(folder: Path, plan: Plan) -> str:
    """Make a folder ready for a plan, and return the token that workers know it by.

    Raises:
        NstError: it holds something else, or cannot be written.
    """
    runs.make_folder(folder)
    others = [path.name for path in folder.iterdir() if path.name != LOCK]
    if others and not (folder / TOKEN).is_file():
        raise SweepError(
            f"The folder {folder} holds other things ({others[0]}); choose one that is new, or "
            f"that an earlier sweep has made."
        )
    try:
        for part in (JOBS, RUNNING, PICTURES):
            (folder / part).mkdir(exist_ok=True)
        if not (folder / TOKEN).is_file():
            write_whole(folder / TOKEN, secrets.token_hex(16).encode())
        (folder / RUNNING / STOP).unlink(missing_ok=True)
        for digest, data in plan.files.items():
            if not _holds(folder / PICTURES / digest, digest):
                write_whole(folder / PICTURES / digest, data)
        write_whole(folder / SPEC, plan.text.encode())
    except OSError as error:
        raise SweepError(
            f"The folder {folder} cannot be written to ({reason(error)}); choose another."
        ) from None
    return token(folder)


def token(folder: Path) -> str:
    """Return what tells this folder from any other of the same path, or ""."""
    try:
        return (folder / TOKEN).read_text(encoding="ascii")[:64]
    except (OSError, UnicodeDecodeError):
        return ""


def _holds(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def picture_bytes(folder: Path, digest: str) -> bytes:
    """Return a picture's file as it was when the sweep was asked for.

    Raises:
        SweepError: it is another by now, or not there.
    """
    path = folder / PICTURES / digest
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SweepError(
            f"{path} cannot be read ({reason(error)}); start the sweep again."
        ) from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise SweepError(f"{path} was changed after the sweep began; start the sweep again.")
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def leave(folder: Path, outcome: Outcome, beside: Path) -> None:
    """Let ``beside``, a folder with a picture and a log, become the result of a job, at once.

    What another worker has left meanwhile stays: it is of the same settings.

    Raises:
        SweepError: it could not be moved to its place.
        OSError: nothing could be written beside the picture.
    """
    text = json.dumps(asdict(outcome), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (beside / RESULT).write_text(text, encoding="utf-8")
    place = folder / JOBS / outcome.digest
    if place.exists() and read(folder, outcome.digest) is None:
        place.rename(place.with_name(f"{place.name}.damaged-{uuid.uuid4().hex[:8]}"))
    with contextlib.suppress(OSError):
        beside.rename(place)
    shutil.rmtree(beside, ignore_errors=True)
    if read(folder, outcome.digest) is None:
        raise SweepError(f"The result could not be moved to {place}; see whether its disk is full.")
    shutil.rmtree(folder / RUNNING / outcome.digest, ignore_errors=True)


def read(folder: Path, digest: str) -> Outcome | None:
    """Return the outcome of a job, or None where there is none that is whole."""
    place = folder / JOBS / digest
    try:
        if (place / RESULT).stat().st_size > LARGEST_RESULT:
            return None
        told = json.loads((place / RESULT).read_text(encoding="utf-8"))
        if not _sound(told) or told["digest"] != digest:
            return None
        with Image.open(place / PICTURE, formats=["PNG"]) as picture:
            picture.verify()
    except Exception:  # decoders raise nearly anything on data that is damaged
        return None
    return Outcome(**told | {"credits": tuple(told["credits"])})


def _sound(told: Any) -> bool:
    if not isinstance(told, dict) or set(told) != {field.name for field in fields(Outcome)}:
        return False
    credits = told["credits"]
    if not isinstance(credits, list) or not all(isinstance(name, str) for name in credits):
        return False
    plain = [field for field in fields(Outcome) if field.name != "credits"]
    return all(
        isinstance(told[field.name], _KINDS[str(field.type)])
        and not isinstance(told[field.name], bool)
        and (field.type != "float" or math.isfinite(told[field.name]))
        for field in plain
    )


@dataclass(frozen=True)
class Start:
    """A worker's having begun, or gone on with, a job.

    Attributes:
        host: the worker's machine.
        process: the id of its process there.
        step: where it began.
    """

    host: str
    process: int
    step: int


def note_start(folder: Path, digest: str, start: Start) -> int:
    """Write down that a worker begins, and return how often one has."""
    with (folder / RUNNING / digest / STARTS).open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow([start.host, start.process, start.step])
    return len(starts(folder, digest))


def starts(folder: Path, digest: str) -> list[Start]:
    """Return who has worked on a job that is not finished, in order."""
    found = []
    for row in _rows(folder / RUNNING / digest / STARTS):
        with contextlib.suppress(ValueError):
            found.append(Start(row[0], int(row[1]), int(row[2])))
    return found


def step_of(folder: Path, digest: str) -> int:
    """Return the step that the last snapshot of an unfinished job was taken at, 0 without one."""
    rows = _rows(folder / RUNNING / digest / runs.LOG_NAME)
    try:
        return max(0, int(rows[-1][0]))
    except (IndexError, ValueError):
        return 0


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [row for row in csv.reader(file) if len(row) >= 3]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def ask_to_stop(folder: Path) -> None:
    """Ask the jobs that run to leave a snapshot and end; :func:`prepare` takes it back."""
    with contextlib.suppress(OSError):
        write_whole(folder / RUNNING / STOP, b"")


def stop_asked(folder: Path) -> bool:
    """Return whether jobs are asked to end."""
    return (folder / RUNNING / STOP).exists()


def facts(outcome: Outcome) -> Mapping[str, Any]:
    """Return what a table says of a finished job, by column."""
    return {
        "total": outcome.total,
        "content": outcome.content,
        "style": outcome.style,
        "step": outcome.step,
        "seconds": outcome.seconds,
        "starts": outcome.starts,
        "resumed": outcome.resumed,
        "ended": outcome.ended,
    }
