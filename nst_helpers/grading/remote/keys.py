"""Names for what two processes have in common: each side's begin with a letter of its own."""

from __future__ import annotations

from typing import Any

from nst_helpers.grading.wire import Malformed


class Keys:
    """The names that one side gives, and those that the other may give.

    Args:
        own: what this side's keys begin with.
        other: what the other side's keys begin with.
    """

    def __init__(self, own: str, other: str) -> None:
        self._own = own
        self._other = other
        self._count = 0

    def new(self) -> str:
        """Return a key that was never given before."""
        self._count += 1
        return f"{self._own}{self._count}"

    def is_ours(self, key: str) -> bool:
        """Return whether this side gave a key."""
        return key.startswith(self._own)

    def is_theirs(self, key: str) -> bool:
        """Return whether the other side gave a key."""
        return key.startswith(self._other)

    def check_new(self, key: Any, known: dict[str, Any]) -> None:
        """See that the other side may give this key to something that is not known yet.

        Raises:
            Malformed: it may not.
        """
        if not isinstance(key, str) or not self.is_theirs(key) or key in known:
            raise Malformed("a key is not one that the other side may choose")
