"""Networks that were trained to paint: kept in a file, read again, and used.

``load_trained`` reads what :mod:`nst_helpers.training` has written, and ``paint`` paints with it.
The file is a safetensors file: the network's numbers in float16, and what it was trained on and
with as JSON. Reading one runs no code, and what it says is checked before it is used.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nst_helpers.attribution import Picture, find_picture, pictures
from nst_helpers.device import autocast, pick_device, pick_precision
from nst_helpers.errors import NstError
from nst_helpers.image_transform import ImageTransform
from nst_helpers.images import load_image
from nst_helpers.result import Stylized, name_of, short, with_shares

ENDING = ".safetensors"
_FORMAT = "nst-trained-1"
_NEEDED = {"styles": list, "channels": list, "blocks": int, "weights": str, "steps": int}


@dataclass(frozen=True)
class Style:
    """One style a network holds.

    Attributes:
        name: what to call it in code: the shipped picture's name, or the file's without ending.
        title: what to call it in captions.
        shipped: whether it is a shipped picture, whose credit then goes with what is painted.
    """

    name: str
    title: str
    shipped: bool = False

    @property
    def sources(self) -> tuple[Picture, ...]:
        """The shipped picture, if it is one and this installation has it."""
        found = [picture for picture in pictures("style") if picture.name == self.name]
        return tuple(found) if self.shipped else ()


@dataclass(frozen=True)
class Trained:
    """A network that was trained, ready to paint.

    Attributes:
        network: frozen, in evaluation mode.
        styles: what it can paint like, in the order of the network's tables.
        settings: what it was trained with: at least ``channels``, ``blocks``, ``weights`` of the
            network that judged it, and ``steps``.
    """

    network: ImageTransform
    styles: tuple[Style, ...]
    settings: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The styles' names."""
        return tuple(style.name for style in self.styles)

    def style(self, name: str | int) -> int:
        """Return the number of a style, given by its name or number.

        Raises:
            NstError: there is no such style.
        """
        if name in self.names:
            return self.names.index(name)
        if isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(self.styles):
            return name
        raise NstError(
            f"This network was not trained for the style {name!r}; "
            f"choose from {', '.join(self.names)}."
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Write the network for :func:`load_trained`; a file is replaced whole or not at all.

        Raises:
            NstError: the name does not end in ``.safetensors``, or the file cannot be written.
        """
        styles = [vars(style) for style in self.styles]
        told = {
            "format": _FORMAT,
            "settings": json.dumps(dict(self.settings) | {"styles": styles}),
        }
        halved = {
            name: tensor.detach().to("cpu", torch.float16).contiguous()
            for name, tensor in self.network.state_dict().items()
        }
        with replaced(checked_name(path)) as beside:
            # Not save_file, whose files nobody else may read.
            beside.write_bytes(save(halved, metadata=told))
        return Path(path)


def load_trained(path: str | os.PathLike, device: str | torch.device | None = "cpu") -> Trained:
    """Return the network that a training has written.

    Args:
        path: the file.
        device: see :func:`nst_helpers.device.pick_device`.

    Raises:
        NstError: the file is missing, damaged or no trained network.
        DeviceError: the device is not there.
    """
    place = pick_device(device)
    try:
        with safe_open(str(path), framework="pt") as file:
            told = file.metadata() or {}
            if told.get("format") != _FORMAT:
                raise NstError(
                    f"{path} holds no trained network; give a file that nst train has written."
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        settings = dict(json.loads(told["settings"]))
        _check_settings(settings)
        styles = tuple(Style(**_checked_style(row)) for row in settings.pop("styles"))
        network = _network(styles, settings, tensors)
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise NstError(f"{path} cannot be read ({reason}); give a trained network.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise NstError(
            f"{path} is damaged or no trained network ({_first_line(error)}); train it again, or "
            f"take another copy of the file."
        ) from None
    return Trained(network.to(place, memory_format=torch.channels_last), styles, settings)


def _check_settings(settings: Mapping[str, Any]) -> None:
    for name, kind in _NEEDED.items():
        if not isinstance(settings[name], kind):
            raise TypeError(f"{name} is {str(settings[name])[:40]!r}")


def _checked_style(row: Any) -> dict[str, Any]:
    style = {name: row[name] for name in ("name", "title", "shipped")}
    if not (all(isinstance(style[name], str) for name in ("name", "title")) and style["name"]):
        raise ValueError("a style without a name")
    return style | {"shipped": style["shipped"] is True}


def _network(
    styles: Sequence[Style], settings: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> ImageTransform:
    """Return the network that settings describe, with the tensors of a file, frozen."""
    try:
        with torch.device("meta"):  # nothing is allocated that the file does not hold
            network = ImageTransform(len(styles), settings["channels"], settings["blocks"])
    except NstError as error:
        raise ValueError(str(error)) from None
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float16, torch.float32) or not tensor.isfinite().all():
            raise ValueError(f"{name} holds other things than finite numbers")
    network.load_state_dict({name: t.float() for name, t in tensors.items()}, assign=True)
    return network.eval().requires_grad_(False)


def _first_line(error: Exception) -> str:
    return str(error).strip("'\"").splitlines()[0].rstrip(".:")[:200]


def frozen_copy(network: ImageTransform) -> ImageTransform:
    """Return a copy that stays as it is, whatever happens to ``network``."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@dataclass(frozen=True, kw_only=True)
class Painted(Stylized):
    """A picture that a trained network has painted, and how it came about."""

    def facts(self) -> str:
        """Return the method and, of several styles, their shares."""
        s = self.settings
        facts = f"one pass through a network trained for {s['steps']:,} steps"
        if len(s["style_mix"]) > 1:
            facts += f", shares {' and '.join(short(share) for share in s['style_mix'])}"
        return facts


def paint(
    trained: Trained | str | os.PathLike,
    content: Any,
    style: str | int | Sequence[str | int] = 0,
    *,
    style_mix: Sequence[float] | None = None,
    size: int | None = None,
    precision: str | torch.dtype | None = None,
) -> Painted:
    """Return ``content`` painted in a style of a trained network, in one pass.

    A blend of styles mixes their scales and shifts, ``gamma = sum_k w_k gamma_k`` and beta alike.

    Args:
        trained: the network, or its file.
        content: the picture to keep, anything :func:`nst_helpers.images.load_image` takes.
        style: a style's name or number, or a list of them to be blended.
        style_mix: the share of each style; None gives them equal shares.
        size: bound of the long side, in pixels; None leaves the picture as it is.
        precision: see :func:`nst_helpers.device.pick_precision`.

    Raises:
        NstError: the network does not have the style, or an option is out of range (ImageError,
            DeviceError for those parts).

    Source: Dumoulin, Shlens and Kudlur 2017, "A Learned Representation for Artistic Style",
    section 3.3 on blends.
    """
    if not isinstance(trained, Trained):
        trained = load_trained(trained)
    chosen = [(trained.style(name), share) for name, share in with_shares(style, style_mix)]
    picture = load_image(content, size=size)
    image = painted(trained.network, picture, chosen, precision)
    known = find_picture(content)
    styles = [trained.styles[number] for number, _ in chosen]
    settings = {
        **trained.settings,
        "content": name_of(content, known, "content"),
        "style": " and ".join(each.title for each in styles),
        "style_mix": [share for _, share in chosen],
        "size": tuple(picture.shape[-2:]),
    }
    sources = [picture for each in styles for picture in each.sources]
    return Painted(image=image, settings=settings, sources=(*([known] * bool(known)), *sources))


@torch.no_grad()
def painted(
    network: ImageTransform,
    image: Tensor,
    styles: Sequence[tuple[int, float]],
    precision: str | torch.dtype | None = None,
) -> Tensor:
    """Return a picture (1, 3, H, W) painted, in [0, 1] and on the CPU.

    Args:
        network: on any device.
        image: (1, 3, H, W) in [0, 1].
        styles: the numbers of styles, each with its share.
        precision: see :func:`nst_helpers.device.pick_precision`.
    """
    place = next(network.parameters()).device
    shares = torch.zeros(1, network.styles, device=place)
    for number, share in styles:
        shares[0, number] += share
    with autocast(place, pick_precision(place, precision)):
        picture = network(image.to(place, memory_format=torch.channels_last), shares)
    return picture.float().cpu().contiguous(memory_format=torch.contiguous_format)


def checked_name(path: str | os.PathLike) -> Path:
    """Return where a network would be written, once that is known to work.

    Raises:
        NstError: the name has another ending, or there is no folder that can be written to.
    """
    path = Path(path).expanduser()
    if path.suffix != ENDING:
        raise NstError(f"A trained network is written to a file ending in {ENDING}, not to {path}.")
    if path.is_dir():
        raise NstError(f"{path} is a folder; give the name of a file in it.")
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise NstError(
            f"{path} cannot be written, as there is no folder {path.parent} to write to."
        )
    return path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a place beside ``path`` to write to, and move it there when all is written.

    Raises:
        NstError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise NstError(f"{path} cannot be written ({reason}); choose another place.") from None
    finally:
        beside.unlink(missing_ok=True)
