"""A small lesson for tests of grading: two exercises, one of them a bonus, seven graded cells."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

NAME = "03_small"

SETUP = """
import torch
from torch import nn

from nst_helpers import backbones, display, losses
from nst_helpers.checker import check


def picture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((1, 3, height, width), generator=generator, dtype=torch.float64)


example = picture(4, 5)
"""
GRAM = '''
def gram_matrix(tensor):
    """Return G, (C, C)."""
    ### BEGIN SOLUTION
    features = tensor.flatten(2)[0]
    return features @ features.T
    ### END SOLUTION
'''
TARGET = '''
def make_target(content):
    """Return a leaf copy."""
    ### BEGIN SOLUTION
    return content.detach().clone().requires_grad_()
    ### END SOLUTION
'''
_GRADED = {
    "gram_matrix-shape": (
        1,
        """# Graded, 1 point: type and shape
result = gram_matrix(example)
assert isinstance(result, torch.Tensor), "It is no tensor."
assert result.shape == (3, 3), "The shape is (C, C)."
""",
    ),
    "gram_matrix-values": (
        2,
        """# Graded, 2 points: the values
### AUTOTEST gram_matrix(example)
### AUTOTEST gram_matrix(picture(3, 7))
""",
    ),
    "gram_matrix-gradient": (
        1,
        """# Graded, 1 point: the gradient
image = example.clone().requires_grad_()
gram_matrix(image).square().sum().backward()
### AUTOTEST image.grad
""",
    ),
    "gram_matrix-hidden": (
        1,
        """# Graded, 1 point: other sizes. This test is hidden and runs when your work is graded.
### BEGIN HIDDEN TESTS
### AUTOTEST gram_matrix(picture(6, 2, seed=5))
### END HIDDEN TESTS
assert gram_matrix(example) is not None
""",
    ),
    "make_target-values": (
        1,
        """# Graded, 1 bonus point: the values
### AUTOTEST make_target(example)
""",
    ),
    "make_target-leaf": (
        1,
        """# Graded, 1 bonus point: a leaf of its own
target = make_target(example)
assert target.is_leaf and target.requires_grad, "It is no leaf that requires a gradient."
with torch.no_grad():
    target += 1
assert torch.equal(example, picture(4, 5)), "Moving the target moves the content, too."
""",
    ),
}


def notebook() -> nbformat.NotebookNode:
    """Return the source of the lesson."""
    cells = [new_markdown_cell("# A lesson"), _cell("setup", SETUP)]
    cells += [
        _cell("GRAM", GRAM, grade_id="gram_matrix", solution=True),
        _cell("check-gram_matrix", "check(gram_matrix)", tags=["needs-answer"]),
        *_graded("gram_matrix"),
        _cell("shown", "display.show(example, caption='noise')", tags=["skip-execution"]),
        _cell("TARGET", TARGET, grade_id="make_target", solution=True),
        *_graded("make_target"),
    ]
    return new_notebook(cells=cells)


def written(folder: Path) -> Path:
    """Write the lesson where a judge looks for it, and return the folder of all lessons."""
    path = folder / "solutions" / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook(), path)
    return folder / "solutions"


def submission(gram: str = GRAM, target: str = TARGET, *more: str) -> list[nbformat.NotebookNode]:
    """Return the code cells of a submission with these answers, and more cells at the end."""
    answers = {"GRAM": gram, "TARGET": target}
    cells = [cell for cell in notebook().cells if cell.cell_type == "code"]
    for cell in cells:
        cell.source = answers.get(cell.id, cell.source)
    return [*cells, *(new_code_cell(source) for source in more)]


def _graded(exercise: str) -> list[nbformat.NotebookNode]:
    return [
        _cell(name, source, grade_id=name, grade=True, points=points)
        for name, (points, source) in _GRADED.items()
        if name.startswith(exercise)
    ]


def _cell(name: str, source: str, *, tags: list[str] | None = None, **grader: object):
    cell = new_code_cell(source.strip(), id=name)
    if tags:
        cell.metadata["tags"] = tags
    if grader:
        usual = {"grade": False, "solution": False, "locked": False, "schema_version": 3}
        cell.metadata["nbgrader"] = usual | {"task": False} | grader
    return cell
