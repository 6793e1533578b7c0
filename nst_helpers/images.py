"""Pictures in, pictures out: from a path, a URL or an array to a tensor, and back to a file.

A picture is a tensor (1, 3, H, W), RGB in [0, 1]. Whatever comes from a file or the network is
checked before it is trusted, and everything that can go wrong is told in one sentence.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from nst_helpers._reading import MAX_PIXELS, decoded, limit, read, reason, short
from nst_helpers.errors import DeviceError, ImageError

MIN_SIDE = 16  # VGG-19 halves a side four times before conv5_1
WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
_LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # in pixels, a limit of the encoders
_LONGEST_COMMENT = 32_000
_QUALITY = 95  # of JPEG and WebP, in per cent


def load_image(
    source: Any,
    *,
    size: int | tuple[int, int] | Tensor | Image.Image | None = None,
    device: str | torch.device | None = "cpu",
    dtype: torch.dtype = torch.float32,
    enlarge: bool = False,
    minimum: int = MIN_SIDE,
) -> Tensor:
    """Return a picture as a tensor (1, 3, H, W), RGB in [0, 1].

    Orientation from EXIF is applied, transparency is laid on white, an embedded colour profile is
    converted to sRGB, and of an animation the first frame is taken.

    Args:
        source: a path, the name of a shipped picture, an http, https, file or data URL, bytes, an
            open binary file, a ``Picture``, a PIL image, a numpy array (H, W), (H, W, 3) or
            (H, W, 4), or a tensor (3, H, W) or (1, 3, H, W). Arrays and tensors are uint8, uint16
            or floats in [0, 1].
        size: in pixels; an int bounds the long side and keeps the proportions, a pair (H, W) or
            another picture's tensor or PIL image sets both sides exactly; None changes nothing.
        device: where the tensor shall be; None means the CPU.
        dtype: a floating type.
        enlarge: whether an int ``size`` may also make a small picture larger.
        minimum: the least each side must have in the end, in pixels.

    Raises:
        ImageError: the picture cannot be read, is too large or too small, or an option is wrong.
        DeviceError: the device is unknown or not on this machine.
        NstError: a shipped picture was asked for, and their folder is missing.
    """
    _check_options(dtype, minimum)
    wanted = _wanted_size(size)
    label, pixels = read(source)
    height, width = image_size(pixels)
    if isinstance(wanted, int):
        wanted = _bounded_size((height, width), wanted, enlarge)
    shape = wanted or (height, width)
    if min(shape) < minimum:
        raise ImageError(_too_small(label, (height, width), shape, size, enlarge, minimum))
    return _placed(_tensor_of(_resized(pixels, shape)), device, dtype)


def image_size(image: Tensor | Image.Image | np.ndarray) -> tuple[int, int]:
    """Return (H, W) in pixels of a tensor (..., H, W), a PIL image or an array (H, W[, channels]).

    Raises:
        ImageError: it is none of these.
    """
    if isinstance(image, Image.Image):
        return image.height, image.width
    if isinstance(image, Tensor) and image.ndim >= 2:
        return image.shape[-2], image.shape[-1]
    if isinstance(image, np.ndarray) and image.ndim in (2, 3):
        return image.shape[0], image.shape[1]
    shape = f" of shape {tuple(image.shape)}" if hasattr(image, "shape") else ""
    raise ImageError(
        f"A {type(image).__name__}{shape} has no height and width; give a picture's tensor, "
        f"PIL image or array."
    )


def _check_options(dtype: Any, minimum: Any) -> None:
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ImageError(f"dtype is {dtype!r}; it must be a floating type such as torch.float32.")
    if _whole_number(minimum) is None:
        raise ImageError(f"minimum is {minimum!r}; it must be a whole number, 1 or more.")


def _whole_number(value: Any) -> int | None:
    """Return ``value`` as an int if it is one, of any integer type, and positive; else None."""
    if isinstance(value, (bool, np.bool_, Tensor)):
        return None
    try:
        number = operator.index(value)
    except TypeError:
        return None
    return number if number >= 1 else None


def _wanted_size(size: Any) -> int | tuple[int, int] | None:
    """Return ``size`` as a bound of the long side, or as an exact (H, W)."""
    if size is None:
        return None
    if isinstance(size, (Tensor, Image.Image)):
        return image_size(size)
    if isinstance(size, (tuple, list)) and len(size) == 2:
        height, width = map(_whole_number, size)
        if height and width:
            if height * width > MAX_PIXELS:
                raise ImageError(f"size is {size!r}; {limit()}.")
            return height, width
    elif bound := _whole_number(size):
        return bound
    raise ImageError(
        f"size is {short(size)}; give the long side as a whole number of pixels, 1 or more, "
        f"or (height, width), or a picture to match."
    )


def _bounded_size(shape: tuple[int, int], bound: int, enlarge: bool) -> tuple[int, int]:
    """Return (H, W) in the proportions of ``shape`` with a long side of at most ``bound``."""
    longest = max(shape)
    if longest <= bound and not enlarge:
        return shape
    height, width = (max(1, round(side * bound / longest)) for side in shape)
    if height * width > MAX_PIXELS:
        raise ImageError(f"size is {bound}, which makes {width} x {height} pixels; {limit()}.")
    return height, width


def _too_small(
    label: str,
    stored: tuple[int, int],
    shape: tuple[int, int],
    size: Any,
    enlarge: bool,
    minimum: int,
) -> str:
    is_now = f"{label} is {stored[1]} pixels wide and {stored[0]} high"
    needs = f"each side needs at least {minimum}"
    if shape != stored:
        is_now += f" and would become {shape[1]} by {shape[0]}"
    if size is not None and _whole_number(size) is None:
        return f"{is_now}, but {needs}; choose a larger size."
    fitting = math.ceil(minimum * max(stored) / min(stored))
    if fitting <= max(stored) or enlarge:
        return f"{is_now}, but {needs}; use size={fitting} or more."
    return f"{is_now}, but {needs}; use a larger picture, or size={fitting} with enlarge=True."


def _resized(pixels: Image.Image | Tensor, shape: tuple[int, int]) -> Image.Image | Tensor:
    """Return the pixels at exactly ``shape`` (H, W), resampled with Pillow's Lanczos filter."""
    if image_size(pixels) == shape:
        return pixels
    size = shape[1], shape[0]
    if isinstance(pixels, Image.Image):
        # The gap makes large photos several times faster to shrink, at a difference nobody sees.
        return pixels.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    planes = [Image.fromarray(plane.numpy()) for plane in pixels[0].float().cpu()]
    planes = [plane.resize(size, Image.Resampling.LANCZOS) for plane in planes]
    resized = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))[None]
    return resized.clamp(0, 1)  # the filter overshoots at edges


def _tensor_of(pixels: Image.Image | Tensor) -> Tensor:
    if isinstance(pixels, Image.Image):
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
    return pixels.expand(-1, 3, -1, -1)


def _placed(pixels: Tensor, device: Any, dtype: torch.dtype) -> Tensor:
    """Return a copy (1, 3, H, W) in [0, 1], contiguous, on ``device``."""
    try:
        # L-BFGS needs plain contiguous memory, which .to() alone would not restore.
        placed = pixels.contiguous().to(torch.device("cpu" if device is None else device))
    except (RuntimeError, AssertionError, TypeError) as error:
        raise DeviceError(
            f"The picture cannot be put on the device {short(device)} "
            f"({reason(error)}); use 'cpu' or one that is there."
        ) from None
    if placed.dtype == torch.uint8:
        return (placed.to(torch.float32) / 255).to(dtype)
    return placed.to(dtype)


# Writing


def to_pil(tensor: Tensor) -> Image.Image:
    """Return a picture (1, 3, H, W) or (3, H, W), floats clamped to [0, 1], as an RGB PIL image.

    Raises:
        ImageError: the tensor has another shape or type, or holds values that are no numbers.
    """
    if not isinstance(tensor, Tensor) or tuple(tensor.shape[:-2]) not in ((3,), (1, 3)):
        given = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise ImageError(
            f"A picture is a tensor (1, 3, H, W) or (3, H, W), but this is {given}; "
            f"give one picture."
        )
    if not tensor.is_floating_point() or not tensor.numel():
        raise ImageError(
            f"The tensor holds {tensor.numel()} values of {tensor.dtype}; "
            f"a picture holds floats in [0, 1]."
        )
    pixels = tensor.detach().reshape(tensor.shape[-3:]).to("cpu", torch.float32)
    if not bool(torch.isfinite(pixels).all()):
        raise ImageError(
            "The tensor holds values that are infinite or no numbers, so it cannot be shown; "
            "the run that made it has diverged, so try a smaller step or smaller weights."
        )
    values = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(values.permute(1, 2, 0).contiguous().numpy())


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Return the path a picture would be saved at, ``~`` expanded, once that is known to work.

    Raises:
        ImageError: the extension is unknown, or the folder is missing or may not be written to.
    """
    target = Path(path)
    with contextlib.suppress(RuntimeError):
        target = target.expanduser()
    if target.suffix.lower() not in WRITABLE:
        known = ", ".join(WRITABLE)
        raise ImageError(
            f"{short(path)} does not end in a format that can be written; use one of {known}."
        )
    try:
        if target.is_dir():
            raise ImageError(f"{short(path)} is a folder; give the name of a file in it.")
        if not target.parent.is_dir():
            raise ImageError(f"There is no folder {short(target.parent)}; make it first.")
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{short(path)} is no usable path ({reason(error)}).") from None
    if not os.access(target.parent, os.W_OK):
        raise ImageError(
            f"The folder {short(target.parent)} may not be written to; choose another."
        )
    return target


def save_image(
    image: Tensor | Image.Image,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a picture and return its path; a file is replaced whole or not at all.

    Args:
        image: a tensor as :func:`to_pil` takes it, or a PIL image.
        path: where to; the extension decides the format, one of ``WRITABLE``.
        metadata: keyword -> text, kept in PNG (text chunks, PNG specification 11.3.3) and JPEG
            (one comment, a line each); other formats carry none.

    Raises:
        ImageError: the picture, the path or the metadata are not fit, or writing failed.
    """
    target = check_writable(path)
    kind = WRITABLE[target.suffix.lower()]
    picture = _encodable(image, kind)
    largest = _LARGEST_SIDE.get(kind)
    if largest and max(picture.size) > largest:
        raise ImageError(
            f"A side of {max(picture.size)} pixels is too long for {kind}, "
            f"which ends at {largest}; save the picture as .png."
        )
    options = _metadata_options(dict(metadata or {}), kind)
    if kind in ("JPEG", "WEBP"):
        options["quality"] = _QUALITY
    # In the same folder, or the last step could be a copy that can be interrupted. Not from
    # tempfile: its files are private, and a saved picture shall be as readable as any other.
    partial = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with partial.open("xb") as file:
            picture.save(file, format=kind, **options)
        partial.replace(target)
    except (OSError, ValueError, KeyError) as error:
        raise ImageError(
            f"{short(path)} cannot be written as {kind} ({reason(error)}); "
            f"choose another place or format."
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    return target


def _encodable(image: Any, kind: str) -> Image.Image:
    """Return a PIL image that ``kind`` can hold."""
    if not isinstance(image, Image.Image):
        return to_pil(image)
    if image.mode in ("L", "RGB") or (image.mode == "RGBA" and kind in ("PNG", "WEBP", "TIFF")):
        return image
    pixels = decoded("The PIL image", image)
    return pixels if isinstance(pixels, Image.Image) else to_pil(_tensor_of(pixels))


def _metadata_options(metadata: dict[str, str], kind: str) -> dict[str, Any]:
    """Return what Pillow's writer of ``kind`` must be told for the metadata to be kept."""
    for key, text in metadata.items():
        # The PNG specification's rule for keywords, made a little stricter.
        if not (isinstance(key, str) and re.fullmatch(r"[ -~]{1,79}", key) and key == key.strip()):
            raise ImageError(
                f"{short(key)} is no keyword for metadata; use 1 to 79 characters of plain ASCII."
            )
        if not isinstance(text, str) or "\0" in text:
            raise ImageError(f"The metadata {key!r} must be text without null characters.")
    if metadata and kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        for key, text in metadata.items():
            chunks.add_text(key, text)  # iTXt where Latin-1 does not suffice
        return {"pnginfo": chunks}
    if metadata and kind == "JPEG":
        comment = "\n".join(f"{key}: {text}" for key, text in metadata.items())
        # A JPEG segment holds 65,533 bytes, but before Pillow 13 its writer stops half way there.
        return {"comment": comment.encode()[:_LONGEST_COMMENT].decode(errors="ignore").encode()}
    return {}
