"""What nbval's run of a notebook has to show besides running through."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

# What a cell may raise whose exercise is not solved.
NOT_WRITTEN = {"NotImplementedError", "NotYet"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a cell that warns, or that is said to raise until it is solved and does not.

    nbval takes the tag raises-exception to mean that a cell may raise, and whatever it likes.
    """
    result = yield
    outputs = getattr(item, "test_outputs", None)
    if outputs is not None:
        warned = [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"]
        assert not warned, warned
        raised = {o.ename for o in outputs if o.output_type == "error"}
        unsolved = "raises-exception" in item.cell.metadata.get("tags", [])
        assert bool(raised) is unsolved, f"raised: {raised}; tagged as unsolved: {unsolved}"
        assert raised <= NOT_WRITTEN, raised
    return result
