"""What one message between two processes is made of, while it is written or read."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nst_helpers.grading import wire
from nst_helpers.grading.wire import Malformed


class CannotTravel(Exception):
    """A value that no message can hold."""


class Changed:
    """What a call returned, and its arguments, whose lists or dictionaries it changed."""

    def __init__(self, result: Any, arguments: Any) -> None:
        self.result = result
        self.arguments = arguments


class Loose:
    """Gradients on their way: tensors that neither side remembers."""

    def __init__(self, tensors: list[Tensor | None]) -> None:
        self.tensors = tensors


class Message:
    """What is being written: bytes, and tensors with a graph that the other side does not know."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.nodes: dict[str, Tensor] = {}

    def add(self, data: bytes) -> list[int]:
        """Append bytes; return their place, for :func:`part`."""
        self.body += data
        return [len(self.body) - len(data), len(data)]

    def numbers(self, tensor: Tensor) -> list[int] | None:
        """Append a tensor's numbers; return their place, or None where it has none."""
        numbers = wire.raw(tensor)
        return None if numbers is None else self.add(numbers)


def part(place: Any, body: memoryview) -> memoryview | None:
    """Return the bytes at a place in a message's body; None where there is no place.

    Raises:
        Malformed: the place lies outside of the body.
    """
    if place is None:
        return None
    offset, length = place
    if type(offset) is not int or type(length) is not int:
        raise Malformed("a place in a message is not one")
    if offset < 0 or length < 0 or offset + length > len(body):
        raise Malformed("a place in a message lies outside of it")
    return body[offset : offset + length]


def described_loose(loose: Loose, message: Message) -> list[dict[str, Any] | None]:
    """Return gradients as JSON can hold them; their numbers are added to the message."""
    return [
        None if tensor is None else wire.described(tensor) | {"data": message.numbers(tensor)}
        for tensor in loose.tensors
    ]


def taken_loose(described: list[dict[str, Any] | None], body: memoryview) -> list[Tensor | None]:
    """Return the gradients of a message."""
    return [
        None if each is None else wire.tensor(each, part(each["data"], body)) for each in described
    ]
