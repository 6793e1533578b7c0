"""Pictures in, pictures out: from a path, a URL or an array to a tensor, and back to a file.

A picture is a tensor (1, 3, H, W), RGB in [0, 1]. Whatever comes from a file or the network is
checked before it is trusted, and everything that can go wrong is told in one sentence.
"""

from __future__ import annotations

import contextlib
import difflib
import http.client
import io
import logging
import math
import operator
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, PngImagePlugin
from torch import Tensor

from nst_helpers.attribution import Picture, find_picture, pictures
from nst_helpers.errors import DeviceError, ImageError, NstError

MIN_SIDE = 16  # VGG-19 halves a side four times before conv5_1
MAX_PIXELS = 150_000_000  # of a picture as stored; below the size that Pillow itself refuses
MAX_BYTES = 64 * 2**20  # of a download
URL_TIMEOUT = 20.0  # seconds without an answer
URL_DEADLINE = 120.0  # seconds for a whole download

# Not all Pillow can open: a picture here never needs Ghostscript, nor a decoder nobody maintains.
READABLE = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM", "JPEG2000")
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
_QUALITY = 95  # of JPEG and WebP, in per cent
_NO_WAY_TO_RGB = ("LAB", "La")  # in Pillow
_STDERR_LOCK = threading.Lock()
_URL = re.compile(r"\s*(data:|file:|[a-z][a-z0-9+.-]+://)", re.IGNORECASE)
_USE_READABLE = f"use {', '.join(READABLE[:-1])} or {READABLE[-1]}"

# Without this, Python prints Pillow's log messages about odd files to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())


# Reading


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
    label, pixels = _read(source)
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
                raise ImageError(f"size is {size!r}; {_limit()}.")
            return height, width
    elif bound := _whole_number(size):
        return bound
    raise ImageError(
        f"size is {_short(size)}; give the long side as a whole number of pixels, 1 or more, "
        f"or (height, width), or a picture to match."
    )


def _bounded_size(shape: tuple[int, int], bound: int, enlarge: bool) -> tuple[int, int]:
    """Return (H, W) in the proportions of ``shape`` with a long side of at most ``bound``."""
    longest = max(shape)
    if longest <= bound and not enlarge:
        return shape
    height, width = (max(1, round(side * bound / longest)) for side in shape)
    if height * width > MAX_PIXELS:
        raise ImageError(f"size is {bound}, which makes {width} x {height} pixels; {_limit()}.")
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


def _limit() -> str:
    return f"the limit is {MAX_PIXELS // 10**6} million pixels, so use a smaller one"


def _short(value: Any) -> str:
    """Return what was given, on one line and short enough for a sentence."""
    text = repr(value) if isinstance(value, str) else repr(str(value))
    return text if len(text) <= 100 else f"{text[:60]} ... {text[-30:]}"


def _read(source: Any) -> tuple[str, Image.Image | Tensor]:
    """Return what to call the source in a message, and its pixels.

    The pixels are an RGB image of 8 bits, or a float tensor (1, 1 or 3, H, W) in [0, 1] where
    there are more bits than that.
    """
    if isinstance(source, Image.Image):
        return "The PIL image", _decoded("The PIL image", source)
    if isinstance(source, np.ndarray):
        return "The array", _from_array(source)
    if isinstance(source, Tensor):
        return "The tensor", _from_tensor(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "The data", _opened("The data", io.BytesIO(source))
    if hasattr(source, "read"):
        return "The open file", _opened("The open file", io.BytesIO(_file_content(source)))
    if isinstance(source, str) and _URL.match(source):
        return _read_url(source.strip())
    if isinstance(source, Picture):
        return _read_path(source.path)
    if isinstance(source, (str, os.PathLike)):
        return _read_path(source)
    raise ImageError(
        f"A {type(source).__name__} is no picture; give a path, a shipped picture's name, a URL, "
        f"bytes, an open binary file, a PIL image, an array or a tensor."
    )


# Paths, files and URLs


def _read_path(source: str | os.PathLike[str]) -> tuple[str, Image.Image | Tensor]:
    path, label = Path(source), f"The file {_short(source)}"
    with contextlib.suppress(RuntimeError):  # "~nobody" is left as it stands
        path = path.expanduser()
    try:
        if not path.is_file():
            shipped = find_picture(path)
            if shipped is None:
                raise ImageError(_no_file(path, source))
            path = shipped.path
        with path.open("rb") as file:
            return label, _opened(label, file)
    except (OSError, ValueError) as error:
        if isinstance(error, NstError):
            raise
        raise ImageError(f"{label} cannot be read ({_reason(error)}); check its name.") from None


def _no_file(path: Path, source: Any) -> str:
    """Return why there is nothing to read at ``path``, and what may have been meant."""
    given = _short(source)
    if not str(source):
        return "The path of the picture is empty; give a file, a URL or a shipped picture's name."
    if path.is_dir():
        return f"{given} is a folder; give the path of a picture in it."
    if path.exists():
        return f"{given} is no regular file; give the path of a picture."
    if not path.parent.is_dir():
        return f"There is no file {given}, nor a folder {_short(path.parent)}; check the path."
    near = {each.name: each.name for each in path.parent.iterdir() if each.is_file()}
    # A bare name may mean a shipped picture; if those are missing, that is the error to tell.
    bare = path.parent == Path() and not path.suffix
    near |= {each.name: each.name for each in pictures()} if bare else {}
    by_lower_case = {name.lower(): name for name in near}
    close = difflib.get_close_matches(path.name.lower(), by_lower_case)
    if close:
        meant = " or ".join(repr(by_lower_case[name]) for name in close)
        return f"There is no file {given}; perhaps you mean {meant}."
    return f"There is no file {given}, and nothing of a similar name beside it; check the path."


def _file_content(file: Any) -> bytes:
    try:
        content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ImageError(f"The open file cannot be read ({_reason(error)}).") from None
    if not isinstance(content, bytes):
        raise ImageError("The open file gives text, not bytes; open it with mode 'rb'.")
    if len(content) > MAX_BYTES:
        raise ImageError(f"The open file is larger than {_mebibytes()}; use a smaller picture.")
    return content


def _mebibytes() -> str:
    return f"{MAX_BYTES // 2**20} MiB"


def _reason(error: BaseException) -> str:
    """Return an error's message without its last full stop, fit to stand within a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).rstrip(".")[:100]


def _read_url(url: str) -> tuple[str, Image.Image | Tensor]:
    scheme, _, rest = url.partition(":")
    scheme = scheme.lower()
    label = "The data URL" if scheme == "data" else f"The URL {_short(url)}"
    if scheme == "file":
        host, slash, path = rest.removeprefix("//").partition("/")
        if host not in ("", "localhost"):
            raise ImageError(f"{label} names another computer; a file URL is for this one.")
        return _read_path(urllib.request.url2pathname(slash + path))
    if scheme not in ("http", "https", "data"):
        raise ImageError(f"{label} cannot be used; use one with http, https, file or data.")
    return label, _opened(label, io.BytesIO(_download(label, url)))


def _url_opener() -> urllib.request.OpenerDirector:
    """Return an opener for http, https and data alone: no redirect leads to a file or to FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.DataHandler,
    ):
        opener.add_handler(handler())
    return opener


def _download(label: str, url: str) -> bytes:
    from nst_helpers import __version__

    too_large = ImageError(f"{label} holds more than {_mebibytes()}; use a smaller picture.")
    # Spaces and letters beyond ASCII are common in addresses that people paste.
    url = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    headers = {"User-Agent": f"nst_helpers/{__version__}", "Accept": "image/*"}
    deadline = time.monotonic() + URL_DEADLINE
    content = bytearray()
    try:
        request = urllib.request.Request(url, headers=headers)
        with _url_opener().open(request, timeout=URL_TIMEOUT) as response:
            length = response.headers.get("Content-Length", "")
            if length.isdecimal() and int(length) > MAX_BYTES:
                raise too_large
            while chunk := response.read1(2**16):
                content += chunk
                if len(content) > MAX_BYTES:
                    raise too_large
                if time.monotonic() > deadline:
                    raise TimeoutError("it takes too long")
    except urllib.error.HTTPError as error:
        with error:
            problem = f"status {error.code}, {_reason(Exception(error.reason))}"
        raise ImageError(f"{label} gives no picture ({problem}); check the address.") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, ImageError):
            raise
        cause = getattr(error, "reason", None)
        problem = _reason(cause if isinstance(cause, BaseException) else error)
        raise ImageError(
            f"{label} cannot be fetched ({problem}); check the address and the connection."
        ) from None
    return bytes(content)


# Decoding


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings about odd pictures to ourselves; errors are told all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _quiet_libtiff() -> Iterator[None]:
    """Keep off stderr what libtiff prints there past Python, which Pillow cannot turn off.

    The whole process is without stderr meanwhile, so this is for the one decoder that needs it.
    """
    with _STDERR_LOCK:
        try:
            kept = os.dup(2)
        except OSError:  # a program without stderr
            yield
            return
        try:
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _opened(label: str, file: BinaryIO) -> Image.Image | Tensor:
    """Return the pixels of an encoded picture; its content decides the format, not its name."""
    head = file.read(1024)
    if not head:
        raise ImageError(f"{label} is empty; give one that holds a picture.")
    file.seek(0)
    Image.init()
    formats = [name for name in READABLE if name in Image.OPEN]
    try:
        with _quiet(), Image.open(file, formats=formats) as image:
            return _decoded(label, image)
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"{label} has too many pixels; {_limit()}.") from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"{label} {_what_it_is(head)}.") from None
    except Exception as error:  # decoders raise nearly anything on data that is not what it says
        raise ImageError(_damaged(label, error)) from None


def _damaged(label: str, error: Exception) -> str:
    return f"{label} is damaged or cut short ({_reason(error)}); get it anew."


def _what_it_is(head: bytes) -> str:
    """Return, as the end of a sentence, why data that starts with ``head`` is not readable."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    kind = ""
    if b"<svg" in start and start.startswith(b"<"):
        kind = "an SVG drawing"
    elif start.startswith((b"<!doctype html", b"<html")):
        return "is a web page, not a picture; use the address of the picture itself"
    elif brand[:3] in (b"hei", b"hev", b"mif", b"msf"):
        kind = "an HEIC photo"
    elif brand in (b"avif", b"avis") and "AVIF" not in Image.OPEN:
        kind = "an AVIF picture, which this Pillow cannot read"
    elif start.startswith(b"%pdf"):
        kind = "a PDF document"
    if kind:
        return f"is {kind}; convert it first, and {_USE_READABLE}"
    known = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP")
    if head.startswith(known) or head[8:12] == b"WEBP" or brand in (b"avif", b"avis"):
        return "is damaged or cut short; get it anew"
    return f"is not a picture in a format that can be read; {_USE_READABLE}"


def _decoded(label: str, image: Image.Image) -> Image.Image | Tensor:
    """Return upright pixels: an RGB image, or greys (1, 1, H, W) if they have over 8 bits."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{label} has {image.width} x {image.height} pixels; {_limit()}.")
    if not image.width or not image.height:
        raise ImageError(f"{label} has no pixels; give a picture that has.")
    try:
        with _quiet():
            with _quiet_libtiff() if image.format == "TIFF" else contextlib.nullcontext():
                image.load()
            image = _upright(image)
            if image.mode.startswith(("I", "F")):
                return _deep_greys(label, np.asarray(image))
            if image.mode in _NO_WAY_TO_RGB:
                raise ImageError(f"{label} has {image.mode} colours; convert it to RGB first.")
            return _rgb(image)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # as in _opened; a PIL image decodes only here
        raise ImageError(_damaged(label, error)) from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data raises nearly anything, and the pixels may be well
        return image


def _deep_greys(label: str, values: np.ndarray) -> Tensor:
    """Return greys of over 8 bits as (1, 1, H, W) in [0, 1].

    Integers of 16 bits are divided by 65535. Floats are taken as they are if they lie in [0, 1],
    and divided by 255 if they lie in [0, 255], Pillow's own range for them. Other values have no
    agreed meaning: their lowest becomes black and their highest white, so that none is clipped.
    """
    lowest, highest = float(values.min()), float(values.max())
    if not math.isfinite(lowest) or not math.isfinite(highest):
        raise ImageError(f"{label} holds values that are no numbers; give one without them.")
    white = 65535 if values.dtype.kind != "f" else 1 if highest <= 1 else 255
    if lowest < 0 or highest > white:
        values = values.astype(np.float64) - lowest
        white = highest - lowest or 1
    return torch.from_numpy((values / white).astype(np.float32))[None, None]


def _rgb(image: Image.Image) -> Image.Image:
    """Return an image of any 8-bit mode as sRGB of its own, transparency laid on white."""
    if image.has_transparency_data:
        image = _in_srgb(image.convert("RGBA"))
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode in ("L", "CMYK"):
        image = _in_srgb(image)
    else:
        image = _in_srgb(image.convert("RGB"))
    image = image.convert("RGB")
    image.info = {}
    return image


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return the image converted from its embedded ICC profile to sRGB, if it has a fitting one."""
    embedded = image.info.get("icc_profile")
    if not embedded:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, profile, srgb, outputMode=mode)
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        return image  # a profile that is damaged, or for another kind of pixels, says nothing


# Arrays and tensors


def _from_array(array: np.ndarray) -> Tensor:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"The array has shape {array.shape}; a picture has (H, W), (H, W, 3) or (H, W, 4)."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize not in (2, 4, 8):
        array = array.astype(np.float64)
    # A copy in this machine's byte order: PyTorch takes no other, nor a negative stride.
    native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    if native.dtype.kind != "f" and native.dtype not in (np.uint8, np.uint16):
        raise ImageError(_wrong_type("The array", native.dtype))
    pixels = torch.from_numpy(np.atleast_3d(native)).permute(2, 0, 1)[None]
    pixels = _unit_floats("The array", pixels)
    if pixels.shape[1] == 4:
        alpha = pixels[:, 3:]
        pixels = pixels[:, :3] * alpha + (1 - alpha)
    return pixels


def _from_tensor(tensor: Tensor) -> Tensor:
    shape = tuple(tensor.shape)
    if shape[:-2] not in ((3,), (1, 3)):
        raise ImageError(f"The tensor has shape {shape}; a picture has (3, H, W) or (1, 3, H, W).")
    if not (tensor.is_floating_point() or tensor.dtype in (torch.uint8, torch.uint16)):
        raise ImageError(_wrong_type("The tensor", tensor.dtype))
    return _unit_floats("The tensor", tensor.detach().reshape(1, *shape[-3:]))


def _wrong_type(label: str, dtype: Any) -> str:
    return f"{label} holds {dtype}; a picture holds uint8, uint16, or floats in [0, 1]."


def _unit_floats(label: str, pixels: Tensor) -> Tensor:
    """Return pixels as floats in [0, 1]: whole numbers scaled, floats checked."""
    if not pixels.numel():
        raise ImageError(f"{label} has no pixels; give a picture that has.")
    if not pixels.is_floating_point():
        white = 255 if pixels.dtype == torch.uint8 else 65535
        return pixels.to(torch.float32) / white
    lowest, highest = float(pixels.min()), float(pixels.max())
    # Normalising and back moves a value by rounding; a quarter of a step of 8 bits does not show.
    if not (lowest >= -1e-3 and highest <= 1 + 1e-3):  # also where they are no numbers
        raise ImageError(
            f"{label} has values from {lowest:.4g} to {highest:.4g}; floats must lie in [0, 1], "
            f"so divide by the value of white, or give uint8."
        )
    return pixels.clamp(0, 1)


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
            f"The picture cannot be put on the device {_short(device)} "
            f"({_reason(error)}); use 'cpu' or one that is there."
        ) from None
    if placed.dtype == torch.uint8:
        return (placed.to(torch.float32) / 255).to(dtype)
    return placed.to(dtype, copy=True)


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
            f"{_short(path)} does not end in a format that can be written; use one of {known}."
        )
    try:
        if target.is_dir():
            raise ImageError(f"{_short(path)} is a folder; give the name of a file in it.")
        if not target.parent.is_dir():
            raise ImageError(f"There is no folder {_short(target.parent)}; make it first.")
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{_short(path)} is no usable path ({_reason(error)}).") from None
    if not os.access(target.parent, os.W_OK):
        raise ImageError(
            f"The folder {_short(target.parent)} may not be written to; choose another."
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
            f"{_short(path)} cannot be written as {kind} ({_reason(error)}); "
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
    decoded = _decoded("The PIL image", image)
    return decoded if isinstance(decoded, Image.Image) else to_pil(_tensor_of(decoded))


def _metadata_options(metadata: dict[str, str], kind: str) -> dict[str, Any]:
    """Return what Pillow's writer of ``kind`` must be told for the metadata to be kept."""
    for key, text in metadata.items():
        # The PNG specification's rule for keywords, made a little stricter.
        if not (isinstance(key, str) and re.fullmatch(r"[ -~]{1,79}", key) and key == key.strip()):
            raise ImageError(
                f"{_short(key)} is no keyword for metadata; use 1 to 79 characters of plain ASCII."
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
        # A JPEG segment holds 65,533 bytes.
        return {"comment": comment.encode()[:65533].decode(errors="ignore").encode()}
    return {}
