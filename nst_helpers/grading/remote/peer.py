"""One side of a connection: it asks the other to call functions, and is asked the same."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import torch

from nst_helpers.grading import wire
from nst_helpers.grading.remote import pickles, trees
from nst_helpers.grading.remote.functions import Functions
from nst_helpers.grading.remote.graphs import Graphs
from nst_helpers.grading.remote.keys import Keys
from nst_helpers.grading.remote.message import (
    CannotTravel,
    Changed,
    Loose,
    Message,
    described_loose,
    part,
    taken_loose,
)
from nst_helpers.grading.remote.modules import PLAIN, Modules
from nst_helpers.grading.remote.tables import Tables
from nst_helpers.grading.remote.tensors import Tensors
from nst_helpers.grading.wire import Malformed


class WorkerGone(Exception):
    """The other side ended, took too long or broke the protocol; the message says which."""


class Peer:
    """One side of a connection.

    Args:
        sock: a connected stream socket.
        prefix: what the keys of this side's objects begin with.
        other: what the keys of the other side's objects begin with.
        trusting: whether what comes is unpickled, and so what goes is not pickled.
    """

    def __init__(self, sock: socket.socket, prefix: str, other: str, *, trusting: bool) -> None:
        self.sock = sock
        self.trusting = trusting
        keys = Keys(prefix, other)
        self.tensors = Tensors(keys, trusting=trusting)
        self.modules = Modules(keys, self.tensors)
        # As lambdas: what these call may be replaced in a class that derives from this one.
        self.functions = Functions(keys, lambda *call: self.call(*call))
        self.graphs = Graphs(
            self.tensors,
            lambda header, value: self.request(header, value),
            lambda *noted: self.note_backward(*noted),
        )
        self.tables = Tables(self.tensors, self.modules, self.functions)
        # The arguments of the call that ends, if the function changed lists or dictionaries there.
        self.changed_arguments: Any = None

    def forget(self) -> None:
        """Drop what is known of tensors; functions and modules stay."""
        self.tensors.forget()
        self.graphs.forget()
        self.modules.forget()

    def line_of(self, error: BaseException) -> str:
        """Return the line of source that an exception came from, or nothing."""
        return ""

    def note_backward(self, keys: list, cotangents: tuple, of: list, products: list) -> None:
        """Take note of a backward that crossed the border."""

    # --- requests ---------------------------------------------------------------------------------

    def call(self, key: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call the other side's function ``key``."""
        header = {"do": "call", "key": key, "grad": torch.is_grad_enabled()}
        return self.request(header, (args, kwargs))

    def request(self, header: dict[str, Any], value: Any = None) -> Any:
        """Send a request, serve the requests that come before its reply, and return the reply."""
        self._write(header, value)
        while True:
            reply, body = self._read()
            if "do" in reply:
                self._serve(reply, body)
                continue
            value = self._decoded(reply, body)
            if "error" in reply:
                raise self.functions.error(reply["error"])
            return value

    def serve(self) -> None:
        """Serve requests until the other side is gone."""
        with contextlib.suppress(EOFError):
            while True:
                self._serve(*self._read())

    def _serve(self, header: dict[str, Any], body: memoryview) -> None:
        try:
            value = self._decoded(header, body)
            answer = self._perform(header, value)
        except (Malformed, WorkerGone, EOFError):
            raise
        except BaseException as error:
            self._write_error(error)
            return
        try:
            self._write({}, answer)
        except CannotTravel as error:
            self._write_error(TypeError(str(error)))

    def _perform(self, header: dict[str, Any], value: Any) -> Any:
        """Return the answer to one request."""
        do, key = header.get("do"), header.get("key")
        if do == "call":
            args, kwargs = value
            before = _outline(value) if self.trusting else None
            with torch.set_grad_enabled(header.get("grad") is not False):
                result = self.functions.own(key)(*args, **kwargs)
            if self.trusting and _outline(value) != before:
                return Changed(result, value)
            return result
        if do == "vjp":
            return self.graphs.products(header, value)
        raise Malformed(f"there is no request {str(do)[:40]!r}")

    # --- messages ---------------------------------------------------------------------------------

    def _read(self) -> tuple[dict[str, Any], memoryview]:
        return wire.receive(self.sock)

    def _write_error(self, error: BaseException) -> None:
        self._write({"error": self.functions.described_error(error, self.line_of(error))})

    def _write(self, header: dict[str, Any], value: Any = None) -> None:
        message = Message()
        if isinstance(value, Changed):
            header["arguments"] = self._tree(value.arguments, message)
            value = value.result
        if isinstance(value, Loose):
            header["loose"] = described_loose(value, message)
        elif self.trusting:
            header["value"] = self._tree(value, message)
        elif value is not None:
            header["pickle"] = message.add(pickles.pickled(value, self.tables, message))
        if self.trusting:
            header["modules"] = self.modules.changes(lambda each: self._tree(each, message))
        if message.nodes:
            header["nodes"] = self.graphs.described(message)
        header["leaves"] = self.tensors.changes(message)
        wire.send(self.sock, header, bytes(message.body))

    def _tree(self, value: Any, message: Message) -> Any:
        return trees.tree(value, self.tables, message)

    def _decoded(self, header: dict[str, Any], body: memoryview) -> Any:
        """Return a message's value after what it says about shared objects has been done."""
        try:
            for leaf in header.get("leaves") or ():
                self.tensors.take(leaf, body)
            if header.get("nodes"):
                self.graphs.take(header["nodes"], body)
            if "loose" in header:
                return taken_loose(header["loose"], body)
            return self._unpickled(header, body) if self.trusting else self._untree(header)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if self.trusting:
                raise
            raise Malformed(f"a message makes no sense ({type(error).__name__})") from error

    def _unpickled(self, header: dict[str, Any], body: memoryview) -> Any:
        data = part(header.get("pickle"), body)
        return None if data is None else pickles.unpickled(data, self.tables)

    def _untree(self, header: dict[str, Any]) -> Any:
        value = trees.value_of(header.get("value"), self.tables)
        if "arguments" in header:
            self.changed_arguments = trees.value_of(header["arguments"], self.tables)
        changes = header.get("modules") or []
        self.modules.take(changes, lambda tree: trees.value_of(tree, self.tables))
        return value


def _outline(value: Any) -> Any:
    """Return what lists and dictionaries hold, by identity where it is not plain."""
    if isinstance(value, (list, tuple)):
        return [_outline(item) for item in value]
    if isinstance(value, dict):
        return [(key, _outline(item)) for key, item in value.items()]
    return value if type(value) in PLAIN else id(value)
