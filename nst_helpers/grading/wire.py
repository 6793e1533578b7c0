"""What travels between the judge and a worker: frames of JSON and bytes, and tensors as bytes.

A frame is two lengths, a header in JSON and a body of raw numbers. Nothing a worker sends is ever
unpickled: lengths are compared with limits before anything is allocated, and shapes and dtypes with
the number of bytes before a tensor is made.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from typing import Any

import torch
from torch import Tensor, nn

MOST_HEADER = 4 << 20
MOST_BODY = 128 << 20
MOST_DIMENSIONS = 8
_LENGTHS = struct.Struct(">QQ")
_CHUNK = 1 << 20

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
        *(torch.complex64, torch.complex128),
    )
}


class Malformed(Exception):
    """A message that keeps no rule of the protocol."""


def send(sock: socket.socket, header: dict[str, Any], body: bytes = b"") -> None:
    """Write one frame."""
    text = json.dumps(header).encode()
    sock.sendall(b"".join((_LENGTHS.pack(len(text), len(body)), text, body)))


def receive(sock: socket.socket, until: float | None = None) -> tuple[dict[str, Any], memoryview]:
    """Return the header and the body of the next frame.

    Args:
        sock: a stream socket.
        until: the time of ``time.monotonic`` after which to give up; None waits for ever.

    Raises:
        Malformed: it is too large, or its header is not a JSON object.
        EOFError: the other side is gone.
        TimeoutError: nothing, or not all of it, came in time.
    """
    lengths = _exactly(sock, _LENGTHS.size, until)
    header_length, body_length = _LENGTHS.unpack(lengths)
    if header_length > MOST_HEADER or body_length > MOST_BODY:
        raise Malformed(f"a message of {header_length} and {body_length} bytes is too large")
    text = _exactly(sock, header_length, until)
    body = _exactly(sock, body_length, until)
    try:
        header = json.loads(bytes(text))
    except (ValueError, RecursionError) as error:
        raise Malformed("a message is not JSON") from error
    if not isinstance(header, dict):
        raise Malformed("a message is not a JSON object")
    return header, memoryview(body)


def _exactly(sock: socket.socket, count: int, until: float | None) -> bytearray:
    """Return ``count`` bytes; memory is taken as they arrive."""
    data = bytearray()
    while len(data) < count:
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
        else:
            sock.settimeout(None)
        try:
            part = sock.recv(min(count - len(data), _CHUNK))
        except ConnectionError as error:
            raise EOFError from error
        if not part:
            raise EOFError
        data += part
    return data


def raw(tensor: Tensor) -> bytes | None:
    """Return a tensor's numbers in row-major order; None where it has none (device ``meta``)."""
    if tensor.device.type == "meta":
        return None
    plain = tensor.detach()
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.device.type != "cpu":
        plain = torch.Tensor.detach(tensor).as_subclass(Tensor).cpu()
    if plain.dtype is torch.bfloat16:  # numpy has no such type
        plain = plain.contiguous().view(torch.int16)
    return plain.resolve_conj().resolve_neg().numpy().tobytes()


def described(tensor: Tensor) -> dict[str, Any]:
    """Return dtype, shape, device and memory layout as JSON can hold them."""
    described: dict[str, Any] = {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "meta": tensor.device.type == "meta",
    }
    # A stride of 0 repeats numbers in memory; such a tensor arrives with its numbers side by side.
    if not tensor.is_contiguous() and 0 not in tensor.stride():
        described["stride"] = list(tensor.stride())
    return described


def tensor(description: dict[str, Any], data: memoryview | None) -> Tensor:
    """Return the tensor that was described.

    Raises:
        Malformed: dtype, shape, layout and the number of bytes do not fit together.
    """
    dtype, shape = DTYPES.get(str(description.get("dtype"))), description.get("shape")
    if dtype is None or not _sizes(shape):
        raise Malformed(f"no tensor is described by {str(description)[:80]}")
    if description.get("meta"):
        return torch.empty(shape, dtype=dtype, device="meta")
    if data is None or math.prod(shape) * dtype.itemsize != len(data):
        raise Malformed("a tensor's shape does not fit its bytes")
    if not len(data):
        return torch.empty(shape, dtype=dtype)
    if dtype is torch.bool and max(data) > 1:
        raise Malformed("a truth value is neither 0 nor 1")
    plain = torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
    stride = description.get("stride")
    if stride is None:
        return plain.clone()  # a tensor of its own, and no view
    if not _sizes(stride) or len(stride) != len(shape):
        raise Malformed("a tensor's layout does not fit its shape")
    reach = sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) + 1
    if reach * dtype.itemsize > MOST_BODY or not _apart(shape, stride):
        raise Malformed("a tensor's layout is not one")
    return torch.empty_strided(shape, stride, dtype=dtype).copy_(plain)


def _sizes(sizes: Any) -> bool:
    """Return whether this is a list of a few whole numbers that are not negative."""
    return (
        isinstance(sizes, list)
        and len(sizes) <= MOST_DIMENSIONS
        and all(type(size) is int and 0 <= size < 1 << 40 for size in sizes)
    )


def _apart(shape: list[int], stride: list[int]) -> bool:
    """Return whether no two elements of a tensor lie at the same place in memory."""
    reach = 0
    for step, size in sorted(zip(stride, shape, strict=True)):
        if size > 1:
            if step <= reach:
                return False
            reach += step * (size - 1)
    return True
