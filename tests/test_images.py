"""Pictures of every odd kind come in as they look, go out as they are, or are refused clearly."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import socket
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import nst_helpers
from nst_helpers import _reading, images
from nst_helpers.attribution import picture
from nst_helpers.errors import DeviceError, ImageError, NstError
from nst_helpers.images import check_writable, image_size, load_image, save_image, to_pil

# A warning that reaches a person would be an error here.
pytestmark = pytest.mark.filterwarnings("error")
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture(autouse=True)
def _nothing_on_stderr(capfd):
    yield
    assert capfd.readouterr().err == ""


@contextlib.contextmanager
def refused(pattern: str, kind: type = ImageError):
    """Expect an error of one clear sentence."""
    with pytest.raises(kind, match=pattern) as caught:
        yield
    assert_sentence(caught.value)


def assert_sentence(error: Exception) -> None:
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 300


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def plain(color=RED, width: int = 40, height: int = 24) -> Image.Image:
    return Image.new("RGB", (width, height), color)


def noisy(width: int = 40, height: int = 24, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def pixel(tensor: torch.Tensor, row: int = 0, column: int = 0) -> tuple[int, int, int]:
    return tuple((tensor[0, :, row, column] * 255).round().int().tolist())


# What comes in


def test_a_picture_is_a_float_tensor_of_its_very_pixels(tmp_path):
    noisy().save(tmp_path / "a.png")
    tensor = load_image(tmp_path / "a.png")
    assert (tensor.shape, tensor.dtype) == ((1, 3, 24, 40), torch.float32)
    assert tensor.is_contiguous()
    expected = np.asarray(noisy()).transpose(2, 0, 1) / np.float32(255)
    assert np.array_equal(tensor[0].numpy(), expected)


def test_every_kind_of_source_gives_the_same_picture(tmp_path, monkeypatch):
    data, values = encoded(noisy()), np.asarray(noisy())
    (tmp_path / "a b.png").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = load_image(tmp_path / "a b.png")
    deep = values.astype(np.uint16) * 257
    sources = {
        "str": "a b.png",
        "home": "~/a b.png",
        "file URL": (tmp_path / "a b.png").as_uri(),
        "short file URL": (tmp_path / "a b.png").as_uri().replace("///", "/"),
        "data URL": "data:image/png;base64," + base64.b64encode(data).decode(),
        "bytes": data,
        "bytearray": bytearray(data),
        "open file": io.BytesIO(data),
        "PIL": noisy(),
        "uint8": values,
        "mirrored view": values[:, ::-1].copy()[:, ::-1],
        "uint16": deep,
        "big-endian": deep.astype(">u2"),
        "float16": (values / 255).astype(np.float16),
        "float32": (values / 255).astype(np.float32),
        "float64": values / 255,
        "opaque": np.dstack([values, np.full((24, 40), 255, np.uint8)]),
        "tensor": expected,
        "tensor without batch": expected[0],
        "uint8 tensor": torch.from_numpy(values.transpose(2, 0, 1).copy()),
        "gradient": expected.clone().requires_grad_(),
    }
    for name, source in sources.items():
        tensor = load_image(source)
        tolerance = 5e-4 if name == "float16" else 1e-6
        assert tensor.shape == expected.shape, name
        assert torch.allclose(tensor, expected, atol=tolerance, rtol=0), name
        assert tensor.dtype == torch.float32, name
        assert not tensor.requires_grad, name


def test_a_shipped_picture_comes_by_name_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_name = load_image("starry-night")
    assert by_name.shape == (1, 3, 558, 710)
    assert torch.equal(load_image(picture("starry-night")), by_name)
    assert torch.equal(load_image(Path("starry-night")), by_name)
    plain().save(tmp_path / "starry-night", format="PNG")
    assert load_image("starry-night").shape == (1, 3, 24, 40)


def test_the_result_is_a_copy_of_the_wanted_dtype():
    source = torch.rand(1, 3, 20, 20, dtype=torch.float64)
    before = source.clone()
    same = load_image(source, dtype=torch.float64, device=None)
    assert torch.equal(same, source)
    same.zero_()
    assert torch.equal(source, before)
    values = np.full((20, 20, 3), 200, np.uint8)
    load_image(values).zero_()
    assert values.min() == 200
    assert load_image(values, dtype=torch.float16).dtype == torch.float16


def test_rounding_beyond_the_range_is_clamped():
    tensor = load_image(torch.tensor([-1e-6, 0.5, 1 + 1e-6]).repeat(1, 3, 20, 20))
    assert (float(tensor.min()), float(tensor.max())) == (0, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, tmp_path):
    # Seen upright: red at the top left, blue at the top right, green at the bottom left.
    upright = plain(WHITE, 48, 32)
    for corner, color in {(0, 0): RED, (32, 0): BLUE, (0, 16): GREEN}.items():
        upright.paste(color, (*corner, corner[0] + 16, corner[1] + 16))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        options |= {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
        tensor = load_image(encoded(stored, kind, exif=exif, **options))
        assert tensor.shape == (1, 3, 32, 48)
        for (row, column), color in {(8, 8): RED, (8, 40): BLUE, (24, 8): GREEN}.items():
            assert np.allclose(pixel(tensor, row, column), color, atol=3), kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"garbage", b"MM\0*\0\0", b"MM\0*\0\0\0\x08\xff\xff\x01\x12\xff"])
def test_damaged_exif_data_does_not_spoil_good_pixels(exif, kind):
    data = encoded(plain(), kind, exif=b"Exif\0\0" + exif)
    assert np.allclose(pixel(load_image(data), 9, 9), RED, atol=3)


def _see_through(mode: str) -> Image.Image:
    """Return a picture whose left half is opaque mid-grey and whose right half is clear black."""
    image = Image.new("RGBA", (40, 24), (128, 128, 128, 255))
    image.paste((0, 0, 0, 0), (20, 0, 40, 24))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparency_is_laid_on_white(mode, kind):
    image = _see_through(mode)
    if kind == "WEBP":
        image = image.convert("RGBA")
    options = {"lossless": True} if kind == "WEBP" else {}
    tensor = load_image(encoded(image, kind, **options))
    assert pixel(tensor, 5, 5) == (128, 128, 128)
    assert pixel(tensor, 5, 35) == WHITE


def test_half_transparent_is_half_white():
    half = Image.new("RGBA", (20, 20), (0, 0, 0, 128))
    assert pixel(load_image(half)) == (127, 127, 127)
    floats = np.zeros((20, 20, 4))
    floats[..., 0], floats[..., 3] = 1, 0.25
    assert torch.allclose(load_image(floats)[0, :, 0, 0], torch.tensor([1, 0.75, 0.75]))


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"], ids=["index", "bytes"])
@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palettes_transparency_is_laid_on_white(transparency, kind):
    image = Image.new("P", (40, 24), 0)
    image.putpalette([*RED, *BLUE, *GREEN])
    image.paste(1, (20, 0, 40, 24))
    if kind == "GIF":
        transparency = 1
    tensor = load_image(encoded(image, kind, transparency=transparency))
    assert pixel(tensor, 5, 5) == RED
    assert pixel(tensor, 5, 35) == WHITE


def test_a_single_transparent_colour_is_laid_on_white():
    image = plain(RED)
    image.paste(BLUE, (20, 0, 40, 24))
    tensor = load_image(encoded(image, "PNG", transparency=BLUE))
    assert (pixel(tensor, 5, 5), pixel(tensor, 5, 35)) == (RED, WHITE)
    grey = Image.new("L", (40, 24), 50)
    assert pixel(load_image(encoded(grey, "PNG", transparency=50))) == WHITE


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX", "RGBa", "PA"])
def test_every_mode_of_a_pil_image_is_understood(mode):
    route = {"RGBa": "RGBA", "PA": "P"}
    image = Image.new("RGB", (20, 20), "white").convert(route.get(mode, mode)).convert(mode)
    assert pixel(load_image(image)) == WHITE
    assert image.mode == mode


def test_black_and_white_stays_so():
    image = Image.new("1", (20, 20), 0)
    image.putpixel((3, 2), 1)
    for kind in ("PNG", "TIFF", "PPM", "BMP"):
        tensor = load_image(encoded(image, kind))
        assert (pixel(tensor, 2, 3), pixel(tensor, 3, 2)) == (WHITE, (0, 0, 0))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_red_is_red(kind):
    image = Image.new("CMYK", (40, 24), (0, 255, 255, 0))
    assert np.allclose(pixel(load_image(encoded(image, kind))), RED, atol=3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_greys_are_scaled_not_clipped(kind):
    values = np.full((20, 30), 32768, np.uint16)
    values[0] = np.linspace(0, 65535, 30)
    tensor = load_image(encoded(Image.fromarray(values), kind))
    assert torch.allclose(tensor[0, 1, 5:], torch.tensor(32768 / 65535))
    assert torch.allclose(tensor[0, 2, 0], torch.from_numpy(values[0] / 65535).float(), atol=1e-6)
    smaller = load_image(encoded(Image.fromarray(values), kind), size=24)
    assert smaller.shape == (1, 3, 16, 24)
    assert float(smaller[0, 0, 8, 8]) == pytest.approx(0.5, abs=1e-3)


def _big_endian_tiff(samples: int) -> bytes:
    """Return a TIFF of 20 x 20 mid-greys of 16 bits that claims ``samples`` values a pixel."""
    data = np.full((20, 20), 32768, ">u2").tobytes()
    tags = {256: 20, 257: 20, 258: 16, 259: 1, 262: 1, 273: 122, 277: samples, 278: 20}
    tags[279] = len(data)
    head = b"MM\0*" + struct.pack(">IH", 8, len(tags))
    head += b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags.items())
    return (head + bytes(4)).ljust(122, b"\0") + data


def test_big_endian_16_bit_tiff_is_read():
    assert torch.allclose(load_image(_big_endian_tiff(1)), torch.tensor(32768 / 65535))


def test_16_bit_colour_is_read():
    values = np.full((20, 20, 3), 0x8000, ">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in values)
    tensor = load_image(_png(20, 20, 16, 2, raw))
    assert pixel(tensor) == (128, 128, 128)


def _png(width: int, height: int, depth: int, color: int, raw: bytes) -> bytes:
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + check

    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.float32([0, 0.5, 1]), [0, 0.5, 1]),
        (np.float32([0, 51, 255]), [0, 0.2, 1]),
        (np.float32([-1, 0, 1]), [0, 0.5, 1]),
        (np.float32([0, 500, 1000]), [0, 0.5, 1]),
        (np.int32([0, 13107, 65535]), [0, 0.2, 1]),
        (np.int32([-100, 0, 300]), [0, 0.25, 1]),
        (np.int32([0, 100_000, 400_000]), [0, 0.25, 1]),
        (np.int32([-7, -7, -7]), [0, 0, 0]),
    ],
)
def test_deep_greys_of_any_range_are_scaled(values, expected):
    image = Image.fromarray(np.tile(values, (20, 10)))
    tensor = load_image(encoded(image, "TIFF"))
    assert torch.allclose(tensor[0, :, 7, :3], torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    frames = [plain(BLUE), plain(GREEN)]
    data = encoded(plain(RED), kind, save_all=True, append_images=frames, **options)
    assert pixel(load_image(data)) == RED


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_the_content_decides_the_format_not_the_name(kind, tmp_path):
    (tmp_path / "photo.txt").write_bytes(encoded(plain(), kind))
    assert np.allclose(pixel(load_image(tmp_path / "photo.txt"), 9, 9), RED, atol=3)


def _swapped_profile() -> bytes:
    """Return the sRGB profile with red's and green's colorants exchanged, under another name."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    table, rest = data[:400], data[400:]
    table = table.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    return (table + rest).replace("sRGB".encode("utf-16-be"), "GRBs".encode("utf-16-be"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_embedded_colour_profile_is_converted(mode):
    red = plain(RED).convert(mode)
    tensor = load_image(encoded(red, icc_profile=_swapped_profile()))
    assert np.allclose(pixel(tensor), GREEN, atol=4)


def test_a_converted_picture_is_not_saved_with_its_old_profile(tmp_path):
    image = plain(RED).convert("P")
    image.info["icc_profile"] = _swapped_profile()
    save_image(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert "icc_profile" not in saved.info
    assert np.allclose(pixel(load_image(tmp_path / "a.png")), GREEN, atol=6)


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 200])
def test_a_damaged_colour_profile_is_ignored(profile):
    assert pixel(load_image(encoded(plain(RED), icc_profile=profile))) == RED
    assert pixel(load_image(encoded(Image.new("L", (20, 20), 255), icc_profile=profile))) == WHITE


def test_a_profile_for_other_pixels_is_ignored():
    grey = Image.new("L", (20, 20), 100)
    assert pixel(load_image(encoded(grey, icc_profile=_swapped_profile()))) == (100, 100, 100)


# Sizes


def test_size_bounds_the_long_side_and_keeps_the_proportions():
    assert load_image(noisy(120, 60), size=64).shape == (1, 3, 32, 64)
    assert load_image(noisy(60, 120), size=64).shape == (1, 3, 64, 32)
    assert load_image(noisy(100, 67), size=np.int64(50)).shape == (1, 3, 34, 50)


def test_a_small_picture_is_enlarged_only_on_request():
    assert load_image(noisy(40, 24), size=400).shape == (1, 3, 24, 40)
    assert load_image(noisy(40, 24), size=400, enlarge=True).shape == (1, 3, 240, 400)


@pytest.mark.parametrize(
    "match",
    [(33, 50), [33, 50], torch.zeros(1, 3, 33, 50), torch.zeros(3, 33, 50), plain(RED, 50, 33)],
    ids=["pair", "list", "batch", "tensor", "PIL"],
)
def test_a_size_to_match_is_matched_exactly(match):
    for source in (noisy(90, 80), noisy(20, 20), torch.rand(3, 30, 30)):
        assert load_image(source, size=match).shape == (1, 3, 33, 50)


def test_resizing_averages_and_stays_in_range():
    board = np.indices((64, 64)).sum(0) % 2
    for source in (board.astype(np.float32), (board * 255).astype(np.uint8)):
        tensor = load_image(source, size=16)
        assert torch.allclose(tensor[..., 2:-2, 2:-2], torch.tensor(0.5), atol=0.02)
    edge = np.zeros((40, 40), np.float32)
    edge[:, 20:] = 1
    tensor = load_image(edge, size=30)
    assert (float(tensor.min()), float(tensor.max())) == (0, 1)


def test_8_bit_pictures_and_their_floats_resize_alike():
    image = load_image("red-panda", size=None)
    from_floats = load_image(image, size=100)
    from_file = load_image("red-panda", size=100)
    assert float((from_floats - from_file).abs().mean()) < 0.004


def test_very_thin_pictures_keep_a_pixel_when_allowed():
    assert load_image(plain(RED, 5000, 1), minimum=1).shape == (1, 3, 1, 5000)
    tensor = load_image(plain(RED, 1, 5000), size=100, minimum=1)
    assert tensor.shape == (1, 3, 100, 1)
    assert pixel(tensor, 50, 0) == RED


def test_a_picture_too_small_for_the_network_is_refused_with_a_size_that_does():
    with refused(r"1 pixels wide and 5000 high.*at least 16.*size=80000 with enlarge=True"):
        load_image(plain(RED, 1, 5000))
    with refused(r"1000 pixels wide and 20 high and would become 100 by 2.*size=800 or more"):
        load_image(plain(RED, 1000, 20), size=100)
    assert load_image(plain(RED, 1000, 20), size=800).shape == (1, 3, 16, 800)
    with refused("size=107 or more"):
        load_image(plain(RED, 100, 15), size=100, enlarge=True)
    assert load_image(plain(RED, 100, 15), size=107, enlarge=True).shape == (1, 3, 16, 107)
    with refused("choose a larger size"):
        load_image(plain(), size=(8, 100))
    assert load_image(plain(RED, 16, 16)).shape == (1, 3, 16, 16)
    with refused("15 pixels wide"):
        load_image(plain(RED, 15, 16))


@pytest.mark.parametrize(
    "size", [0, -3, 1.5, "256", True, (0, 5), (5, -1), (5,), (5, 6, 7), (2.0, 3), {}, "x\n" * 200]
)
def test_a_wrong_size_is_refused(size):
    with refused("^size is"):
        load_image(plain(), size=size)


@pytest.mark.parametrize("options", [{"size": (20_000, 20_000)}, {"size": 10**9, "enlarge": True}])
def test_a_size_beyond_the_limit_is_refused(options):
    with refused("limit is 150 million pixels"):
        load_image(plain(), **options)


def test_other_wrong_options_are_refused():
    with refused("dtype is torch.uint8"):
        load_image(plain(), dtype=torch.uint8)
    with refused("minimum is 0"):
        load_image(plain(), minimum=0)
    for device in ("banana", "cuda:99", 1.5):
        with refused("cannot be put on the device", DeviceError):
            load_image(plain(), device=device)


def test_image_size_is_height_and_width():
    array = np.zeros((24, 40, 3))
    for image in (plain(), array, array[..., 0], torch.zeros(1, 3, 24, 40), torch.zeros(24, 40)):
        assert image_size(image) == (24, 40)
    for image in (torch.zeros(3), np.zeros(3), "starry-night", None):
        with refused("no height and width"):
            image_size(image)


# What is refused


def test_a_missing_file_is_answered_with_similar_names(tmp_path, monkeypatch):
    plain().save(tmp_path / "Portrait.JPG")
    (tmp_path / "portraits").mkdir()
    with refused(r"no file '.*portrait.jpg'; perhaps you mean 'Portrait.JPG'"):
        load_image(tmp_path / "portrait.jpg")
    with refused("nothing of a similar name"):
        load_image(tmp_path / "zebra.png")
    with refused("nor a folder .*nowhere"):
        load_image(tmp_path / "nowhere" / "portrait.jpg")
    monkeypatch.chdir(tmp_path)
    with refused("'stary-night'; perhaps you mean 'starry-night'"):
        load_image("stary-night")
    monkeypatch.setenv("NST_IMAGES", str(tmp_path))
    with refused("NST_IMAGES is set to", NstError):
        load_image("starry-night")


def test_what_is_no_readable_file_is_refused(tmp_path):
    with refused("is a folder"):
        load_image(tmp_path)
    with refused("is empty; give a file"):
        load_image("")
    with refused("cannot be read|no file"):
        load_image("a\0b")
    with refused("cannot be read|no file"):
        load_image("x" * 5000)
    with refused("no file"):
        load_image("~nobody-of-that-name/a.png")
    os.mkfifo(tmp_path / "pipe")
    with refused("no regular file"):
        load_image(tmp_path / "pipe")


def test_empty_data_is_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    for source in (tmp_path / "empty.png", b"", io.BytesIO(), "data:image/png;base64,"):
        with refused("is empty"):
            load_image(source)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_truncated_pictures_are_refused(kind, kept):
    data = encoded(noisy(120, 90), kind)
    with refused("The data is damaged or cut short"):
        load_image(data[: max(14, int(len(data) * kept))])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_scrambled_pictures_load_or_are_refused_in_a_sentence(kind, seed):
    good = encoded(noisy(48, 40), kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
    generator = np.random.default_rng(seed)
    for _ in range(25):
        data = bytearray(good)
        for place in generator.integers(0, len(data), 4):
            data[place] = generator.integers(0, 256)
        tensor = refusal = None
        try:
            tensor = load_image(bytes(data), size=64, minimum=1)
        except ImageError as error:
            refusal = error
        if refusal is None:
            assert tensor.shape[:2] == (1, 3)
        else:
            assert_sentence(refusal)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"just some text, and rather more of it", "not a picture .* JPEG, PNG, WEBP"),
        (b'<?xml version="1.0"?>\n<svg width="9"></svg>', "an SVG drawing; convert"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50, "an HEIC photo; convert"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "a web page"),
        (b"%PDF-1.7\n%", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
    ],
)
def test_what_is_not_a_picture_is_called_what_it_is(data, complaint, tmp_path):
    (tmp_path / "photo.png").write_bytes(data)
    with refused(complaint):
        load_image(tmp_path / "photo.png")


@pytest.mark.parametrize(("width", "height"), [(13_000, 12_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(width, height):
    with refused("150 million pixels|150 million"):
        load_image(_png(width, height, 8, 2, b"\0" * 1000))


def test_a_large_picture_below_the_limit_is_read_without_a_word():
    tensor = load_image(encoded(Image.new("1", (10_000, 9_500), 1)), size=40)
    assert tensor.shape == (1, 3, 38, 40)
    assert pixel(tensor, 9, 9) == WHITE


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5, np.uint8),
        np.zeros((3, 20, 20), np.uint8),
        np.zeros((20, 20, 2), np.uint8),
        np.zeros((1, 20, 20, 3), np.uint8),
    ],
)
def test_an_array_of_another_shape_is_refused(array):
    with refused(r"array has shape .* \(H, W, 3\)"):
        load_image(array)


@pytest.mark.parametrize("shape", [(20, 20), (2, 3, 20, 20), (4, 20, 20), (1, 1, 20, 20), (3,)])
def test_a_tensor_of_another_shape_is_refused(shape):
    with refused(r"tensor has shape .* \(1, 3, H, W\)"):
        load_image(torch.zeros(shape))


def test_values_that_are_no_picture_are_refused():
    for source in (np.full((20, 20), 255.0), torch.full((3, 20, 20), 255.0)):
        with refused("values from 255 to 255; floats must lie"):
            load_image(source)
    for value in (-0.1, float("nan"), float("inf")):
        with refused("floats must lie"):
            load_image(torch.full((3, 20, 20), value))
    for dtype in (np.int64, np.uint32, np.bool_, np.complex64, object):
        with refused("holds .*; a picture holds uint8"):
            load_image(np.zeros((20, 20), dtype))
    with refused("holds torch.int64"):
        load_image(torch.zeros(3, 20, 20, dtype=torch.int64))
    with refused("no pixels"):
        load_image(np.zeros((0, 20), np.uint8))
    with refused("no pixels"):
        load_image(Image.new("RGB", (0, 20)))
    with refused("no numbers"):
        load_image(Image.fromarray(np.full((20, 20), np.nan, np.float32)))


def test_colours_without_a_way_to_rgb_are_refused():
    for mode in ("LAB", "La"):
        with refused(f"has {mode} colours; convert it to RGB"):
            load_image(Image.new(mode, (20, 20)))


def test_other_objects_are_refused():
    for source in (None, 7, ["starry-night"], object()):
        with refused("is no picture; give a path"):
            load_image(source)
    with refused("gives text, not bytes"):
        load_image(io.StringIO("text"))
    closed = io.BytesIO(b"x")
    closed.close()
    with refused("open file cannot be read"):
        load_image(closed)


def test_an_endless_file_is_refused():
    with Path("/dev/zero").open("rb") as endless, refused("larger than 64 MiB"):
        load_image(endless)


# From the network


class _Pictures(BaseHTTPRequestHandler):
    def do_GET(self):
        size, body = None, encoded(plain())
        if self.path == "/secret":
            body = b"" if "nst_helpers/" not in self.headers["User-Agent"] else body
        elif self.path == "/text":
            body = b"<!doctype html><title>no picture</title>"
        elif self.path == "/short":
            size = len(body)
            body = body[:60]
        elif self.path == "/announced":
            size, body = 64 * 2**20 + 1, b""
        elif self.path == "/endless":
            return self._stream()
        elif self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return None
        elif self.path not in ("/ok.png", "/a%20b%C3%A9.png", "http://pictures.invalid/a.png"):
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        self.wfile.write(body)
        return None

    def _stream(self):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"\0" * 2**20)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pictures) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_a_picture_comes_from_a_url(server):
    for path in ("/ok.png", "/a bé.png", "/to//ok.png", "/secret"):
        assert pixel(load_image(server + path)) == RED
    assert pixel(load_image(f" {server.replace('http', 'HTTP')}/ok.png\n")) == RED


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/missing", "gives no picture .status 404, Not Found"),
        ("/text", "web page"),
        ("/short", "damaged or cut short"),
        ("/announced", "more than 64 MiB"),
        ("/endless", "more than 64 MiB"),
    ],
)
def test_a_url_without_a_fit_picture_is_refused(path, complaint, server):
    with refused(complaint):
        load_image(server + path)


def test_no_redirect_leads_to_a_file(server, tmp_path):
    plain().save(tmp_path / "secret.png")
    for target in ((tmp_path / "secret.png").as_uri(), "ftp://127.0.0.1/x", "data:,x"):
        with refused("gives no picture|cannot be fetched"):
            load_image(f"{server}/to/{target}")


def test_a_proxy_is_used_where_one_is_set(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server)
    assert pixel(load_image("http://pictures.invalid/a.png")) == RED


def test_a_server_that_does_not_answer_is_refused(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(_reading, "URL_TIMEOUT", 0.1)
        with refused("cannot be fetched .*timed out"):
            load_image(f"http://127.0.0.1:{port}/a.png")
    with refused("cannot be fetched .*refused"):
        load_image(f"http://127.0.0.1:{port}/a.png")


def test_a_server_that_drips_is_refused(server, monkeypatch):
    monkeypatch.setattr(_reading, "URL_DEADLINE", -1.0)
    with refused("cannot be fetched .it takes too long"):
        load_image(server + "/endless")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://127.0.0.1/a.png", "http, https, file or data"),
        ("s3://bucket/a.png", "http, https, file or data"),
        ("file://elsewhere/a.png", "another computer"),
        ("file:///nowhere-at-all/a.png", "no file"),
        ("http://", "cannot be fetched"),
        ("http://[::1/a.png", "cannot be fetched"),
        ("http://127.0.0.1:99999999/a.png", "cannot be fetched"),
        ("http://127.0.0.1:port/a.png", "cannot be fetched"),
        ("data:nothing", "cannot be fetched"),
        ("data:image/png;base64,%%%", "cannot be fetched|empty"),
        ("http://127.0.0.1:1/" + "x" * 5000, "cannot be fetched"),
    ],
)
def test_a_url_of_no_use_is_refused(url, complaint):
    with refused(complaint):
        load_image(url)


# What goes out


def test_a_tensor_becomes_the_same_picture():
    values = torch.from_numpy(np.asarray(noisy()).copy()).permute(2, 0, 1) / 255
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        image = to_pil(values.to(dtype)[None].requires_grad_())
        assert (image.mode, image.size) == ("RGB", (40, 24))
        difference = np.abs(np.asarray(image).astype(int) - np.asarray(noisy()))
        assert difference.max() <= (1 if dtype == torch.bfloat16 else 0)
    assert to_pil(values).tobytes() == noisy().tobytes()
    outside = torch.tensor([-5.0, 0.5, 7.0]).reshape(3, 1, 1).expand(3, 2, 2)
    assert to_pil(outside).getpixel((0, 0)) == (0, 128, 255)


def test_what_is_no_picture_is_not_shown():
    for tensor in (torch.zeros(2, 3, 4, 4), torch.zeros(4, 4), torch.zeros(1, 4, 4, 4), "x", None):
        with refused("give one picture"):
            to_pil(tensor)
    for tensor in (torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(3, 0, 4)):
        with refused("a picture holds floats"):
            to_pil(tensor)
    for value in (float("nan"), float("inf"), -float("inf")):
        tensor = torch.zeros(3, 4, 4)
        tensor[1, 2, 3] = value
        with refused("infinite or no numbers"):
            to_pil(tensor)


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.tif", "a.tiff", "a.bmp"])
def test_saved_and_loaded_again_is_the_same(name, tmp_path):
    tensor = load_image(noisy())
    assert save_image(tensor, tmp_path / name) == tmp_path / name
    assert torch.equal(load_image(tmp_path / name), tensor)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_saved_with_loss_it_is_nearly_the_same(name, tmp_path):
    tensor = load_image("starry-night", size=128)
    save_image(tensor, str(tmp_path / name))
    assert float((load_image(tmp_path / name) - tensor).abs().mean()) < 0.03


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "I", "F"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tiff", "a.bmp"])
def test_pil_images_of_every_mode_are_saved_as_they_look(mode, name, tmp_path):
    modes = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    if mode in modes:
        top = 255 if mode == "F" else 65535
        image = Image.fromarray(np.full((20, 20), top, modes[mode]))
    else:
        image = Image.new("RGBA", (20, 20), WHITE).convert(*(["RGB"] if mode == "CMYK" else []))
        image = image.convert(mode)
    assert image.mode == mode
    save_image(image, tmp_path / name)
    assert pixel(load_image(tmp_path / name)) == WHITE


def test_metadata_is_kept(tmp_path):
    texts = {"Description": "a in the style of b", "Title": "Mäda – Hatō"}
    save_image(noisy(), tmp_path / "a.png", metadata=texts)
    with Image.open(tmp_path / "a.png") as image:
        assert image.text == texts
    save_image(noisy(), tmp_path / "a.jpg", metadata=texts)
    with Image.open(tmp_path / "a.jpg") as image:
        expected = "Description: a in the style of b\nTitle: Mäda – Hatō"
        assert image.info["comment"].decode() == expected
    save_image(noisy(), tmp_path / "b.jpg", metadata={"Long": "ā" * 100_000})
    assert load_image(tmp_path / "b.jpg").shape == (1, 3, 24, 40)
    save_image(noisy(), tmp_path / "a.webp", metadata=texts)
    assert load_image(tmp_path / "a.webp").shape == (1, 3, 24, 40)


@pytest.mark.parametrize("metadata", [{"": "x"}, {"k" * 80: "x"}, {"ä": "x"}, {"a\n": "x"}])
def test_metadata_under_unfit_keywords_is_refused(metadata, tmp_path):
    with refused("no keyword for metadata"):
        save_image(noisy(), tmp_path / "a.png", metadata=metadata)
    with refused("must be text"):
        save_image(noisy(), tmp_path / "a.png", metadata={"Steps": 7})
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_nothing_is(tmp_path, monkeypatch):
    (tmp_path / "folder.png").mkdir()
    for path, complaint in {
        tmp_path / "a.xyz": "does not end in a format .*.png, .jpg",
        tmp_path / "a": "does not end in a format",
        tmp_path / "none" / "a.png": "no folder .*none'; make it first",
        tmp_path / "folder.png": "is a folder",
        "a\0b/c.png": "no usable path|no folder",
    }.items():
        for write in (check_writable, lambda path: save_image(noisy(), path)):
            with refused(complaint):
                write(path)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]
    assert check_writable(str(tmp_path / "a.png")) == tmp_path / "a.png"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_writable("~/a.png") == tmp_path / "a.png"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    save_image(noisy(), tmp_path / "a.webp")
    before = (tmp_path / "a.webp").read_bytes()
    monkeypatch.delitem(images._LARGEST_SIDE, "WEBP")  # so that the encoder itself fails
    with refused("cannot be written as WEBP"):
        save_image(Image.new("RGB", (20_000, 1)), tmp_path / "a.webp")
    assert (tmp_path / "a.webp").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.webp"]


@pytest.mark.parametrize(("name", "side"), [("a.jpg", 65_501), ("a.webp", 16_384)])
def test_a_side_too_long_for_the_format_is_refused(name, side, tmp_path):
    with refused(f"{side} pixels is too long .* as .png"):
        save_image(Image.new("RGB", (side, 1)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_saved_picture_is_as_readable_as_any_new_file(tmp_path):
    (tmp_path / "other").touch()
    save_image(noisy(), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_run_with_odd_pictures_prints_nothing_on_stderr(tmp_path):
    """In a process of its own, where nothing catches warnings, log messages or C libraries."""
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([*RED, *BLUE])
    (tmp_path / "palette").write_bytes(encoded(palette, transparency=b"\x80\x00"))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\xff" * 9
    (tmp_path / "exif").write_bytes(encoded(plain(), "JPEG", exif=exif))
    lzw = bytearray(encoded(noisy(), "TIFF", compression="tiff_lzw"))
    lzw[100:160] = b"\xff" * 60
    (tmp_path / "lzw").write_bytes(lzw)
    jpeg = bytearray(encoded(noisy(), "JPEG"))
    jpeg[700:720] = b"\xff\xd0" * 10
    (tmp_path / "jpeg").write_bytes(jpeg)
    (tmp_path / "samples").write_bytes(_big_endian_tiff(99))  # Pillow logs an error
    (tmp_path / "short").write_bytes(encoded(noisy(), "TIFF")[:-900])
    code = (
        "import sys, pathlib\n"
        "from nst_helpers.errors import ImageError\n"
        "from nst_helpers.images import load_image\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try: load_image(path); print(path.name, 'loaded')\n"
        "    except ImageError as error: print(path.name, 'refused')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(nst_helpers.__file__).parents[1],
    )
    assert run.stderr == ""
    outcome = dict(line.split() for line in run.stdout.splitlines())
    assert len(outcome) == 6
    assert outcome["palette"] == outcome["exif"] == "loaded"
    assert outcome["lzw"] == outcome["short"] == "refused"
