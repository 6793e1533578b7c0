"""The functions that two processes have in common, and the exceptions that leave them."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable
from typing import Any

from nst_helpers.grading.remote.keys import Keys
from nst_helpers.grading.remote.message import CannotTravel
from nst_helpers.grading.wire import Malformed

MOST_FUNCTIONS = 20_000
MOST_TEXT = 2_000
_MOST_NAME = 80
_MOST_LINE = 200
_MOST_KINDS = 10


class RemoteError(Exception):
    """An exception of a class that only the other side knows."""


class Functions:
    """The functions and exceptions that both sides know.

    Args:
        keys: the names they get.
        call: calls the other side's function of a key with arguments and keywords.

    Attributes:
        by_key: all of them.
        key_by_id: their keys, by ``id``.
        classes: this side's own classes of exceptions that the other side got, by name.
    """

    def __init__(self, keys: Keys, call: Callable[[str, tuple, dict], Any]) -> None:
        self.keys = keys
        self.call = call
        self.by_key: dict[str, Any] = {}
        self.key_by_id: dict[int, str] = {}
        self.classes: dict[str, type] = {}

    def key_of(self, function: Callable) -> str:
        """Return a function's key, a new one if it has none.

        Raises:
            CannotTravel: there are too many.
        """
        key = self.key_by_id.get(id(function))
        if key is None:
            if len(self.by_key) >= MOST_FUNCTIONS:
                raise CannotTravel("too many functions were exchanged")
            key = self.keys.new()
            self._keep(key, function)
        return key

    def is_theirs(self, function: Any) -> bool:
        """Return whether a function stands for one of the other side's."""
        return self.keys.is_theirs(self.key_by_id.get(id(function), " "))

    def own(self, key: Any) -> Callable:
        """Return this side's function of a key.

        Raises:
            Malformed: the other side was never given one.
        """
        function = self.by_key.get(key) if isinstance(key, str) else None
        if not callable(function) or not self.keys.is_ours(key):
            raise Malformed("a function was called that was never given")
        return function

    def theirs(self, key: str, name: str, signature: inspect.Signature | None = None) -> Callable:
        """Return a function that calls the other side's function of a key."""
        known = self.by_key.get(key)
        if known is not None:
            return known

        def remote(*args: Any, **kwargs: Any) -> Any:
            return self.call(key, args, kwargs)

        remote.__name__ = remote.__qualname__ = name
        if signature is not None:
            remote.__signature__ = signature
        self._keep(key, remote)
        return remote

    def taken(self, key: str, name: str, signature: inspect.Signature | None) -> Callable:
        """Return the function that a message of the other side names.

        Raises:
            Malformed: it may not name that one.
        """
        if self.keys.is_ours(key):
            return self.own(key)
        if not self.keys.is_theirs(key) or len(self.by_key) >= MOST_FUNCTIONS:
            raise Malformed("a function's key is not one")
        return self.theirs(key, name[:_MOST_NAME], signature)

    def _keep(self, key: str, value: Any) -> None:
        self.by_key[key], self.key_by_id[id(value)] = value, key

    # --- exceptions -------------------------------------------------------------------------------

    def described_error(self, error: BaseException, line: str) -> dict[str, Any]:
        """Return an exception as JSON can hold it.

        Args:
            error: the exception.
            line: the student's line that it came from, or nothing.
        """
        key = self.key_by_id.get(id(error))
        if key is None:
            key = self.keys.new()
            self._keep(key, error)
        try:
            text = str(error)[:MOST_TEXT]
        except Exception:
            text = ""
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"key": key, "kinds": kinds, "text": text, "line": line}

    def error(self, described: Any) -> BaseException:
        """Return an exception to raise for one that was raised on the other side.

        Raises:
            Malformed: nothing like that is described.
        """
        wanted = {"key": str, "kinds": list, "text": str, "line": str}
        if not isinstance(described, dict) or not all(
            isinstance(described.get(name), kind) for name, kind in wanted.items()
        ):
            raise Malformed("an exception is not described")
        known = self.by_key.get(described["key"])
        if isinstance(known, BaseException):
            return known
        names = [str(kind)[:_MOST_NAME] for kind in described["kinds"][:_MOST_KINDS]]
        own = self.classes.get(names[0]) if names else None
        if own is None or not issubclass(own, Exception):
            own = _error_class(names)
        error = _made(own, described["text"])
        error.student_line = described["line"][:_MOST_LINE]
        self._keep(described["key"], error)
        return error


def _error_class(names: list[str]) -> type[Exception]:
    """Return the built-in exception of that name, or a class of that name."""
    for index, name in enumerate(names):
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            return kind if index == 0 else type(names[0], (kind,), {})
    return type(names[0] if names else "Exception", (RemoteError,), {})


def _made(kind: type[Exception], text: str) -> Exception:
    """Return an exception of a class whose constructor may want anything."""
    error = kind.__new__(kind, text[:MOST_TEXT])
    error.args = (text[:MOST_TEXT],)
    return error
