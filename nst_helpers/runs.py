"""What a long run leaves on disk: its state to go on from, its log and its pictures.

A saved run is a safetensors file: tensors, and the settings as JSON. Reading one runs no code, and
what it says is checked before it is used. Everything is written beside its place first and moved
there when it is complete, so that a run that is killed leaves the last whole file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nst_helpers import attribution
from nst_helpers.attribution import Picture
from nst_helpers.errors import NstError
from nst_helpers.result import Step, csv_of

STATE_NAME = "run.safetensors"
LOG_NAME = "log.csv"
_FORMAT = "nst-run-1"


def write_state(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    history: list[Step],
    sources: tuple[Picture, ...],
) -> Path:
    """Write a run so that :func:`read_state` returns the same.

    Raises:
        NstError: the file cannot be written.
    """
    told = {
        "format": _FORMAT,
        "settings": json.dumps(dict(settings)),
        "history": json.dumps([list(asdict(step).values()) for step in history]),
        "sources": json.dumps([picture.name for picture in sources]),
    }
    whole = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    with _replaced(Path(path)) as beside:
        save_file(whole, beside, metadata=told)
    return Path(path)


def read_state(
    path: str | Path,
) -> tuple[dict[str, Tensor], dict[str, Any], list[Step], tuple[Picture, ...]]:
    """Return tensors, settings, history and shipped pictures of a saved run.

    Raises:
        NstError: the file is missing, damaged or no saved run.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            told = file.metadata() or {}
            if told.get("format") != _FORMAT:
                raise NstError(f"{path} is no saved run; give a file that a run has written.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        settings = dict(json.loads(told["settings"]))
        history = [Step(int(row[0]), *map(float, row[1:])) for row in json.loads(told["history"])]
        sources = tuple(attribution.picture(name) for name in json.loads(told["sources"]))
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise NstError(f"{path} cannot be read ({reason}); give a saved run.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, NstError):
            raise
        raise NstError(f"{path} is damaged or no saved run; start the run again.") from None
    _check_tensors(path, tensors)
    return tensors, settings, history, sources


def _check_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    pictures = ["content", "first", "pixels", "best", "style0"]
    sound = all(
        name in tensors
        and tensors[name].dtype == torch.float32
        and tensors[name].dim() == 4
        and tensors[name].shape[:2] == (1, 3)
        for name in pictures
    )
    sound = sound and all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    if not sound or len({tensors[name].shape for name in pictures[:4]}) > 1:
        raise NstError(f"{path} is damaged or no saved run; start the run again.")


def write_log(folder: str | Path, history: list[Step]) -> Path:
    """Write the history as CSV into ``folder``, see :meth:`nst_helpers.result.Result.log`."""
    path = Path(folder) / LOG_NAME
    with _replaced(path) as beside:
        beside.write_text(csv_of(history), encoding="utf-8")
    return path


def make_folder(folder: str | Path) -> Path:
    """Return ``folder``, which exists now.

    Raises:
        NstError: it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NstError(
            f"The folder {folder} cannot be made ({error.strerror}); choose another."
        ) from None
    return Path(folder)


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Yield a place beside ``path`` to write to, and move it there when all is written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        raise NstError(
            f"{path} cannot be written ({error.strerror}); choose another place."
        ) from None
    finally:
        beside.unlink(missing_ok=True)
