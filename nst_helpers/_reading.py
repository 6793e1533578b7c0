"""From a path, a URL, bytes, an array or another object to upright pixels that can be trusted.

The part of :mod:`nst_helpers.images` that looks at what was given; use that module instead.
"""

from __future__ import annotations

import contextlib
import difflib
import http.client
import io
import logging
import math
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from nst_helpers.attribution import Picture, find_picture, pictures
from nst_helpers.errors import ImageError, NstError

MAX_PIXELS = 150_000_000  # of a picture as stored; below the size that Pillow itself refuses
MAX_BYTES = 64 * 2**20  # of a download
URL_TIMEOUT = 20.0  # seconds without an answer
URL_DEADLINE = 120.0  # seconds for a whole download

# Not all Pillow can open: a picture here never needs Ghostscript, nor a decoder nobody maintains.
READABLE = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM", "JPEG2000")
_NO_WAY_TO_RGB = ("LAB", "La")  # in Pillow
_STDERR_LOCK = threading.Lock()
_URL = re.compile(r"\s*(data:|file:|[a-z][a-z0-9+.-]+://)", re.IGNORECASE)
_USE_READABLE = f"use {', '.join(READABLE[:-1])} or {READABLE[-1]}"

# Without this, Python prints Pillow's log messages about odd files to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def read(source: Any) -> tuple[str, Image.Image | Tensor]:
    """Return what to call the source in a message, and its pixels.

    The pixels are an RGB image of 8 bits, or a float tensor (1, 1 or 3, H, W) in [0, 1] where
    there are more bits than that.

    Raises:
        ImageError: the source is no picture, or none that can be read.
        NstError: a shipped picture was asked for, and their folder is missing.
    """
    if isinstance(source, Image.Image):
        return "The PIL image", decoded("The PIL image", source)
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


# What sentences are made of


def limit() -> str:
    """Return the clause on the largest picture allowed."""
    return f"the limit is {MAX_PIXELS // 10**6} million pixels, so use a smaller one"


def short(value: Any) -> str:
    """Return what was given, on one line and short enough for a sentence."""
    text = repr(value) if isinstance(value, str) else repr(str(value))
    return text if len(text) <= 100 else f"{text[:60]} ... {text[-30:]}"


def reason(error: BaseException) -> str:
    """Return an error's message without its last full stop, fit to stand within a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).rstrip(".")[:100]


# Paths, files and URLs


def _read_path(source: str | os.PathLike[str]) -> tuple[str, Image.Image | Tensor]:
    path, label = Path(source), f"The file {short(source)}"
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
        raise ImageError(f"{label} cannot be read ({reason(error)}); check its name.") from None


def _no_file(path: Path, source: Any) -> str:
    """Return why there is nothing to read at ``path``, and what may have been meant."""
    given = short(source)
    if not str(source):
        return "The path of the picture is empty; give a file, a URL or a shipped picture's name."
    if path.is_dir():
        return f"{given} is a folder; give the path of a picture in it."
    if path.exists():
        return f"{given} is no regular file; give the path of a picture."
    if not path.parent.is_dir():
        return f"There is no file {given}, nor a folder {short(path.parent)}; check the path."
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
        raise ImageError(f"The open file cannot be read ({reason(error)}).") from None
    if not isinstance(content, bytes):
        raise ImageError("The open file gives text, not bytes; open it with mode 'rb'.")
    if len(content) > MAX_BYTES:
        raise ImageError(f"The open file is larger than {_mebibytes()}; use a smaller picture.")
    return content


def _mebibytes() -> str:
    return f"{MAX_BYTES // 2**20} MiB"


def _read_url(url: str) -> tuple[str, Image.Image | Tensor]:
    scheme, _, rest = url.partition(":")
    scheme = scheme.lower()
    label = "The data URL" if scheme == "data" else f"The URL {short(url)}"
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
            problem = f"status {error.code}, {reason(Exception(error.reason))}"
        raise ImageError(f"{label} gives no picture ({problem}); check the address.") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, ImageError):
            raise
        cause = getattr(error, "reason", None)
        problem = reason(cause if isinstance(cause, BaseException) else error)
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
            return decoded(label, image)
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"{label} has too many pixels; {limit()}.") from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"{label} {_what_it_is(head)}.") from None
    except Exception as error:  # decoders raise nearly anything on data that is not what it says
        raise ImageError(_damaged(label, error)) from None


def _damaged(label: str, error: Exception) -> str:
    return f"{label} is damaged or cut short ({reason(error)}); get it anew."


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


def decoded(label: str, image: Image.Image) -> Image.Image | Tensor:
    """Return upright pixels: an RGB image, or greys (1, 1, H, W) if they have over 8 bits.

    Args:
        label: what to call the picture in a message.
        image: opened, not necessarily decoded yet; it is left as it is.

    Raises:
        ImageError: it is too large, damaged, or in colours that cannot be converted.
    """
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{label} has {image.width} x {image.height} pixels; {limit()}.")
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
