"""AUTOTEST's measure and agree: what they tell apart, what they forgive, and nbgrader at work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch

from nst_helpers.checker import NotYet
from nst_helpers.checker.autotest import agree, measure

ROOT = Path(__file__).resolve().parents[2]


def _agrees(given, wanted) -> bool:
    try:
        agree(measure(given), measure(wanted), "the result is not right")
    except AssertionError:
        return False
    return True


def _tensor(seed: int = 0, dtype=torch.float32, shape=(7, 5)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def test_one_changed_element_is_seen_however_large_the_tensor():
    value = _tensor(shape=(120, 130))
    changed = value.clone()
    changed[63, 65] += 1.0
    assert str(value) == str(changed)  # nbgrader's own template cannot tell them apart
    assert not _agrees(changed, value)


def test_rounding_is_forgiven():
    value = _tensor(shape=(64, 200), dtype=torch.float64)
    exact = value @ value.T
    single = (value.float() @ value.float().T).double()
    assert not torch.equal(exact, single)
    assert _agrees(single, exact)
    blocks = sum(part @ part.T for part in value.float().split(7, dim=1))
    assert _agrees(blocks, value.float() @ value.float().T)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e9])
def test_the_tolerance_follows_the_size_of_the_values(scale):
    value = _tensor() * scale
    assert _agrees(value * (1 + 1e-6), value)
    assert not _agrees(value * 1.01, value)


def test_order_and_sign_count():
    value = _tensor()
    assert not _agrees(value.flip(0), value)
    assert not _agrees(-value, value)
    assert not _agrees(value.T.contiguous().view(7, 5), value)


@pytest.mark.parametrize(
    ("given", "wanted", "words"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), r"shape is \(2, 3\), not \(3, 2\)"),
        (torch.zeros(2).double(), torch.zeros(2), "dtype is float64, not float32"),
        (3.0, torch.tensor(3.0), "type float, not tensor"),
        (None, torch.zeros(1), "type NoneType, not tensor"),
        ({"a": 1}, {"b": 1}, "keys"),
        ({1: "a"}, {"1": "a"}, "keys"),
        ([1, 2], [1, 2, 3], "2 items, not 3"),
        ((1, 2), [1, 2], "type tuple, not list"),
        ({"a": torch.ones(2)}, {"a": torch.zeros(2)}, "values"),
        (True, 1, "type bool, not int"),
        ("conv4_1", "conv4_2", "value is not right"),
        (["conv4_1", "conv4_2"], ["conv4_2", "conv4_1"], "value is not right"),
        ([True, None], [True, False], "value is not right"),
        ([1.0, True], [True, True], "value is not right"),
        ((), ["a"], "type tuple, not list"),
    ],
)
def test_what_differs_is_said(given, wanted, words):
    with pytest.raises(AssertionError, match=words):
        agree(measure(given), measure(wanted), "the result is not right")


@pytest.mark.parametrize(
    "value",
    [
        _tensor(),
        {"conv1_1": _tensor(), "conv2_1": _tensor(1)},
        [1.5, 2.5],
        {"0": "conv1_1"},
        ["conv1_1", None, True],
        [],
        None,
        True,
        torch.tensor(float("nan")),
        torch.arange(5),
        torch.zeros(0, 3),
    ],
)
def test_everything_agrees_with_itself(value):
    assert _agrees(value, value)


def test_not_a_number_is_no_wildcard():
    assert not _agrees(torch.tensor(1.0), torch.tensor(float("nan")))
    assert not _agrees(torch.tensor(float("nan")), torch.tensor(1.0))


def test_dictionaries_may_be_in_any_order():
    one, other = _tensor(), _tensor(1)
    assert _agrees({"a": one, "b": other}, {"b": other, "a": one})


def test_a_measurement_does_not_hold_the_values():
    value = _tensor(shape=(2, 2)) + 3
    text = measure(value)
    for number in value.flatten().tolist():
        assert f"{number:.4f}" not in text
    assert len(json.loads(text)[-1]) == 4


def test_a_measurement_does_not_hold_text_or_keys():
    text = measure({"0": "conv1_1", "21": "conv4_2"})
    assert "conv" not in text
    assert "21" not in json.loads(text)[1]


def test_what_differs_is_told_as_the_checker_tells_it():
    with pytest.raises(NotYet) as caught:
        agree(measure(torch.zeros(2)), measure(torch.ones(2)), "gram_matrix(image)")
    lines = caught.value._render_traceback_()
    assert lines[0] == "gram_matrix(image): not yet."
    assert lines[1].startswith("  - its values are not right; run")


def test_what_cannot_be_measured_fails_when_the_assignment_is_built():
    with pytest.raises(TypeError, match="module"):
        measure(torch)


def _assignment(folder: Path, solution: str) -> Path:
    cells = [
        nbformat.v4.new_code_cell(solution),
        nbformat.v4.new_code_cell("### AUTOTEST twice(3)"),
    ]
    marks = [
        {"grade": False, "solution": True, "locked": False, "task": False, "grade_id": "twice"},
        {
            **{"grade": True, "solution": False, "locked": True, "task": False},
            **{"grade_id": "twice-test", "points": 1},
        },
    ]
    for cell, mark in zip(cells, marks, strict=True):
        cell.id = mark["grade_id"]
        cell.metadata["nbgrader"] = {**mark, "schema_version": 3}
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    path = folder / "source" / "lesson" / "lesson.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    (folder / "autotests.yml").write_text((ROOT / "autotests.yml").read_text())
    return path


def test_nbgrader_builds_a_test_with_the_template(tmp_path):
    """The template, the real command and a released notebook that tells right from wrong."""
    _assignment(
        tmp_path,
        "import torch\n\n\ndef twice(x):\n    ### BEGIN SOLUTION\n"
        "    return torch.full((3, 2), 2.0 * x)\n    ### END SOLUTION",
    )
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", "lesson", "--no-db"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    released = nbformat.read(tmp_path / "release" / "lesson" / "lesson.ipynb", as_version=4)
    stub, test = (cell.source for cell in released.cells)
    assert "NotImplementedError" in stub
    assert "AUTOTEST" not in test
    assert re.search(r"agree\(\s*measure\(twice\(3\)\),\s*'\[\"tensor\"", test)
    exec(test, {"twice": lambda x: torch.full((3, 2), 2.0 * x)})
    with pytest.raises(AssertionError, match=r"twice\(3\): not yet.\n  - its values are not right"):
        exec(test, {"twice": lambda x: torch.full((3, 2), 3.0 * x)})
