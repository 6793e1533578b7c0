"""What nbval's run of a notebook has to show besides running through."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# The studio's notebooks run at small size in tests, see nst_helpers.studio.
os.environ["NST_STUDIO"] = "small"

SOLUTIONS = Path(__file__).parent / "solutions"

# What a cell may raise whose exercise is not solved.
NOT_WRITTEN = {"NotImplementedError", "NotYet"}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the sources of notebooks that are released unchanged: nbval runs what is released.

    That the two are the same is tested in tests/notebooks.
    """
    if collection_path.suffix != ".ipynb" or SOLUTIONS not in collection_path.parents:
        return None
    cells = json.loads(collection_path.read_text(encoding="utf-8"))["cells"]
    return True if not any("nbgrader" in cell["metadata"] for cell in cells) else None


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
