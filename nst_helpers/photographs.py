"""Photographs to train with: any folder of them, as random crops.

A crop is decided by the seed and its number alone. So a training that is taken up again goes on
with the crops it would have seen, and any number of processes may read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from nst_helpers.attribution import find_picture, pictures
from nst_helpers.errors import ImageError, NstError
from nst_helpers.images import WRITABLE, load_image

SUFFIXES = frozenset((*WRITABLE, ".gif", ".jfif"))
# The short side of a photograph is made up to so many crops long: so large is a detail that a
# network learns to paint when whole photographs are two or three crops wide.
ZOOM = 3.0
# Photographs that were read stay in memory up to here; a folder may hold more than fits.
CACHE_BYTES = 2**28
_TRIES = 20


@dataclass(frozen=True)
class Photographs:
    """Files that look like photographs large enough, and what was wrong with the others.

    Attributes:
        paths: the files, in a fixed order.
        skipped: one line for each file that was left out, with its name and the reason.
        held_out: the one that is not trained with, if one was to be held out.
    """

    paths: tuple[Path, ...]
    skipped: tuple[str, ...] = ()
    held_out: Path | None = None


def find_photographs(
    photos: Any = None, *, size: int, held_out: str | Path | None = None
) -> Photographs:
    """Return the photographs to be had; of each file only the head is read.

    Args:
        photos: a folder, looked through with all folders in it, or a list of files and names of
            shipped pictures; None takes the shipped photographs.
        size: the side of a crop, in pixels; a photograph with a shorter side is left out.
        held_out: a photograph to be left out, to be judged with: a file, a file's name or a
            shipped picture's name.

    Raises:
        NstError: there is no such folder or file, or nothing in it can be used, or the photograph
            to be held out is not there.
    """
    files = _files(photos)
    apart = [path for path in files if _is_called(path, held_out)]
    kept = [path for path in files if not _is_called(path, held_out)]
    if held_out is not None and not apart:
        raise NstError(
            f"The photograph {str(held_out)!r} that shall be held out is not among the "
            f"{len(files)} given; give the name of one of them."
        )
    reasons = {path: _unfit(path, size) for path in kept}
    skipped = tuple(f"{path}: {reason}" for path, reason in reasons.items() if reason)
    paths = tuple(path for path, reason in reasons.items() if not reason)
    if not paths:
        said = f", such as {skipped[0]}" if skipped else ""
        raise NstError(
            f"None of the {len(kept)} photographs given can be used{said}; give a folder of "
            f"photographs whose sides have at least {size} pixels, or a smaller size."
        )
    return Photographs(paths, skipped, next(iter(apart), None))


def _files(photos: Any) -> list[Path]:
    if photos is None:
        return [picture.path for picture in pictures("content")]
    if isinstance(photos, (list, tuple)):
        return [_file(photo) for photo in photos]
    folder = Path(photos).expanduser()
    if not folder.is_dir():
        raise NstError(f"There is no folder {str(photos)!r}; give a folder of photographs.")
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    found = sorted(path for path in files if path.is_file())
    if not found:
        raise NstError(
            f"The folder {str(photos)!r} holds no photographs; give one with files that end in "
            f"{', '.join(sorted(SUFFIXES))}."
        )
    return found


def _file(photo: Any) -> Path:
    record = find_picture(photo)
    path = record.path if record else Path(photo).expanduser()
    if not path.is_file():
        raise NstError(f"There is no photograph {str(photo)!r}; give a file or a shipped picture.")
    return path


def _is_called(path: Path, name: str | Path | None) -> bool:
    return name is not None and str(name) in (str(path), path.name, path.stem)


def _unfit(path: Path, size: int) -> str | None:
    """Return why a file is of no use, or None if its head says nothing against it."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return "it is no picture that can be read"
    if min(width, height) < size:
        return f"it has only {width} x {height} pixels, and a crop needs {size}"
    return None


class Crops(Dataset):
    """Square crops of photographs at random places and scales, half of them mirrored.

    Item ``i`` is a crop (3, size, size) in [0, 1], and a sentence on a photograph that could not be
    read after all and was replaced by another one, else an empty text.

    Args:
        photographs: where to take them from.
        size: the side of a crop, in pixels.
        seed: of all choices.
    """

    def __init__(self, photographs: Photographs, size: int, seed: int = 0) -> None:
        self.paths, self.size, self.seed = photographs.paths, size, seed
        self._read: dict[Path, Tensor] = {}
        self._bytes = 0

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        """Return crop ``index``, any number from 0 on.

        Raises:
            ImageError: many photographs in a row could not be read.
        """
        generator = torch.Generator().manual_seed(mixed(self.seed, index))
        said = ""
        for _ in range(_TRIES):
            path = self.paths[_drawn(len(self.paths), generator)]
            try:
                return self._crop(self._photograph(path), generator), said
            except ImageError as error:
                said = f"{path} was skipped: {error}"
        raise ImageError(f"{_TRIES} photographs in a row could not be read; the last: {said}")

    def _photograph(self, path: Path) -> Tensor:
        """Return a photograph (3, H, W), uint8, no larger than its crops can show."""
        if path not in self._read:
            with_room = load_image(path, minimum=self.size)
            short = min(with_room.shape[-2:])
            if short > ZOOM * self.size:
                shape = [round(side * ZOOM * self.size / short) for side in with_room.shape[-2:]]
                with_room = load_image(with_room, size=tuple(shape))
            photograph = (255 * with_room[0]).round().to(torch.uint8)
            if self._bytes + photograph.numel() > CACHE_BYTES:
                return photograph
            self._read[path] = photograph
            self._bytes += photograph.numel()
        return self._read[path]

    def _crop(self, photograph: Tensor, generator: torch.Generator) -> Tensor:
        height, width = photograph.shape[-2:]
        longest = min(height, width)
        zoom = 1 + (longest / self.size - 1) * float(torch.rand((), generator=generator))
        side = min(round(longest / zoom), longest)
        top = _drawn(height - side + 1, generator)
        left = _drawn(width - side + 1, generator)
        crop = photograph[None, :, top : top + side, left : left + side].float() / 255
        crop = F.interpolate(crop, (self.size, self.size), mode="bilinear", antialias=True)[0]
        return crop.flip(-1) if _drawn(2, generator) else crop


def crop_batches(
    crops: Crops, batch: int, steps: range, workers: int = 0
) -> DataLoader[tuple[Tensor, Sequence[str]]]:
    """Return the batches (batch, 3, size, size) of some steps, each with what is to be said.

    Args:
        crops: where to take them from.
        batch: how many crops a step sees.
        steps: their numbers, from 0.
        workers: processes that read ahead; 0 reads in this one.
    """
    return DataLoader(
        crops,
        batch_size=batch,
        sampler=range(steps.start * batch, steps.stop * batch),
        num_workers=workers,
        generator=torch.Generator(),  # else the state of everybody's would be moved on
    )


def _drawn(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def mixed(seed: int, index: int) -> int:
    """Return another seed for each number; torch's generator wants well-spread bits."""
    return (seed * 0x9E3779B97F4A7C15 + index * 0xBF58476D1CE4E5B9 + 1) % 2**63
