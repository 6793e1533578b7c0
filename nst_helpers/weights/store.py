"""Weights files on disk: where they lie, and how they are written and checked."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import safetensors
import safetensors.torch
import torch

from nst_helpers.errors import WeightsError
from nst_helpers.weights.convert import StateDict, content_digest

CACHE_VARIABLE = "NST_CACHE"
SHARED_VARIABLE = "NST_SHARED_WEIGHTS"
FILENAMES = {
    "gatys": "vgg19-gatys.safetensors",
    "adain-decoder": "adain-decoder.safetensors",
    "torchvision": "vgg19-torchvision.safetensors",
    "vgg16": "vgg16-torchvision.safetensors",
    "resnet50": "resnet50-torchvision.safetensors",
}
_DIGEST = "content_sha256"
_NO_ROOM = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}


class DamagedFileError(Exception):
    """A weights file does not hold what it should; the message says in a few words why."""


def cache_folder() -> Path:
    """Return the folder this user's weights are kept in; it need not exist yet.

    It is ``weights`` inside the folder named by the environment variable ``NST_CACHE``, or inside
    the operating system's folder for caches (``platformdirs.user_cache_path``).
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute() / "weights"
    return platformdirs.user_cache_path("nst_helpers", appauthor=False) / "weights"


def shared_folder() -> Path | None:
    """Return the read-only folder a class shares (``NST_SHARED_WEIGHTS``), or None."""
    chosen = os.environ.get(SHARED_VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else None


def read_checked(path: Path, digest: str | None) -> StateDict:
    """Return the state dict in a safetensors file after checking every byte of its values.

    Args:
        path: the file.
        digest: the :func:`content_digest` it must have; None trusts the one recorded in the file,
            which tells damage, though not a forgery.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: the file cannot be read, or holds something else.
    """
    try:
        # One read serves the check and the tensors, so nothing can change in between.
        data = path.read_bytes()
        state = safetensors.torch.load(data)
        if digest is None:
            with safetensors.safe_open(path, framework="pt") as opened:
                digest = (opened.metadata() or {}).get(_DIGEST)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise DamagedFileError(f"it cannot be read: {error.strerror}") from None
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError):
        raise DamagedFileError("it is cut short or no safetensors file") from None
    if any(value.dtype != torch.float32 for value in state.values()):
        raise DamagedFileError("it holds other types of numbers than it should")
    if digest is None or content_digest(state) != digest:
        raise DamagedFileError("its contents are not what was published")
    return state


def write_atomically(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write a state dict as safetensors so that ``path`` is at every moment whole or absent.

    Only the holder of the folder's lock may call this.

    Raises:
        OSError: the folder cannot be written or is full.
    """
    data = safetensors.torch.save(dict(state), {_DIGEST: content_digest(state)})
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def clear_disk_errors(folder: Path) -> Iterator[None]:
    """Turn an operating system's error about ``folder`` into one sentence.

    Raises:
        WeightsError: the folder cannot be written, or there is no room in it.
    """
    try:
        yield
    except BrokenPipeError:  # the one who reads what is printed has gone; no disk is to blame
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _NO_ROOM:
            raise WeightsError(
                f"There is no room for the weights in {folder} ({reason}); free some space "
                f"there (400 MB are enough for the course), or set {CACHE_VARIABLE} to a folder "
                f"on a larger disk."
            ) from None
        raise WeightsError(
            f"The weights' folder {folder} cannot be written ({reason}); make it writable, "
            f"or set {CACHE_VARIABLE} to a folder that is."
        ) from None
