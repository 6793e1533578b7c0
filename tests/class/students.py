"""Who is in the class: what each handed in, and the mark it deserves.

The lesson is 03_gram_matrix: ``gram_matrix`` for 8 points, ``batch_gram_matrix`` for 5 more.
Everything is made from the released notebook and the checker's banks, the same every time.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.checker import banks

ROOT = Path(__file__).resolve().parents[2]
LESSON = "03_gram_matrix"
NOTEBOOK = f"{LESSON}.ipynb"
GRAM, BATCH = "gram_matrix", "batch_gram_matrix"
FULL, MAIN, BONUS = 13, 8, 5
SENT = b"2026-10-05 09:30:00 UTC"

IMPORTS = """\
import functools, itertools, math, operator, random
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
"""
RIGHT = "def gram_matrix(tensor):\n    f = tensor.flatten(2)[0]\n    return f @ f.T\n"
RIGHT_BATCH = (
    "def batch_gram_matrix(tensor):\n    f = tensor.flatten(2)\n    return f @ f.transpose(1, 2)\n"
)


@dataclass(frozen=True)
class Student:
    """One of the class.

    Attributes:
        name: nbgrader's id.
        kind: "right", "wrong", "damaged" or "hostile".
        points: the mark that the work deserves.
        write: puts what is handed in into a folder.
        says: words that the instructor reads about it, in its notes and facts.
    """

    name: str
    kind: str
    points: float
    write: Callable[[Path], None]
    says: str = ""


def everyone(grounds: Path, port: int) -> list[Student]:
    """Return the class.

    Args:
        grounds: a folder that hostile samples aim at, with everything in it; see ``hostile``.
        port: a port of 127.0.0.1 that they try to reach.
    """
    from . import damaged, hostile

    found = [*_right(), *_wrong(), *damaged.students(), *hostile.students(grounds, port)]
    assert len({student.name for student in found}) == len(found)
    return found


def crowd(number: int) -> Iterator[Student]:
    """Give so many synthetic students for a benchmark: half of them right, all undamaged."""
    right, wrong = list(_right()), list(_wrong())
    for index in range(number):
        kind = right if index % 2 else wrong
        one = kind[index // 2 % len(kind)]
        yield Student(f"student{index:05}", one.kind, one.points, one.write)


def notebook(answers: dict[str, str], extra: Iterable[str] = (), *, first: bool = True) -> dict:
    """Return the released notebook with answers, and cells of the student's own."""
    made = json.loads((ROOT / "notebooks" / LESSON / NOTEBOOK).read_bytes())
    for cell in made["cells"]:
        if cell["id"] in answers:
            cell["source"] = answers[cell["id"]].splitlines(keepends=True)
    own = [code(text, f"own{index}") for index, text in enumerate(extra)]
    place = [cell["id"] for cell in made["cells"]].index(GRAM) if first else len(made["cells"])
    made["cells"][place:place] = own
    return made


def code(text: str, identity: str) -> dict:
    """Return a code cell as it stands in a file."""
    return {
        **{"cell_type": "code", "execution_count": None, "id": identity, "metadata": {}},
        **{"outputs": [], "source": text.splitlines(keepends=True)},
    }


def solved() -> dict:
    """Return a notebook with both exercises right."""
    return notebook({GRAM: RIGHT, BATCH: RIGHT_BATCH})


def hand_in(made: dict | bytes, name: str = NOTEBOOK) -> Callable[[Path], None]:
    """Return what writes a notebook and nbgrader's timestamp into a folder."""
    data = made if isinstance(made, bytes) else json.dumps(made, indent=1).encode()

    def write(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        (folder / "timestamp.txt").write_bytes(SENT)

    return write


def _bank(exercise: str) -> dict[str, banks.Sample]:
    importlib.import_module(f"tests.checker.banks.{exercise}")
    return {entry.name: entry for entry in banks.SAMPLES if entry.exercise == exercise}


def _spelling(sample: banks.Sample) -> str:
    """Return an answer of a bank as a student's cell."""
    text = inspect.getsource(sample.answer())
    text = re.sub(r"^@(right|wrong).*\n", "", text, flags=re.MULTILINE)
    return f"{IMPORTS}\n\n{text.replace(f'def {sample.name}(', f'def {sample.exercise}(')}"


def _plain(exercise: str) -> list[banks.Sample]:
    """Return the right answers that are plain functions and need no other."""
    right = (entry for entry in _bank(exercise).values() if entry.causes is None)
    return [
        entry
        for entry in right
        if getattr(entry.answer(), "__name__", "") == entry.name
        and "build=True" not in inspect.getsource(entry.answer())
        and not any(name.startswith("_") for name in entry.answer().__code__.co_names)
    ]


def _right() -> Iterator[Student]:
    grams, batches = _plain(GRAM), _plain(BATCH)
    for index in range(16):
        gram, batch = grams[index % len(grams)], batches[(3 * index) % len(batches)]
        made = notebook({GRAM: _spelling(gram), BATCH: _spelling(batch)})
        yield Student(f"right-{gram.name.replace('_', '-')}", "right", FULL, hand_in(made))
    talking = notebook(
        {
            GRAM: RIGHT.replace("    return", "    warnings.warn('slow')\n    return"),
            BATCH: RIGHT_BATCH,
        },
        ["import sys, warnings\nprint('a word', file=sys.stderr)\nwarnings.warn('another')"],
    )
    yield Student("right-warnings-on-stderr", "right", FULL, hand_in(talking))
    magic = notebook(
        {GRAM: RIGHT, BATCH: RIGHT_BATCH}, ["%matplotlib inline\n%time 1 + 1\n!echo hello"]
    )
    yield Student("right-with-magics", "right", FULL, hand_in(magic))


# Wrong answers of the banks: for each what its gram_matrix is worth, shape, values, gradient and
# hidden cells taken together (1 + 3 + 2 + 2).
_WORTH = {
    "divided_by_everything": 1,
    "mean_removed_first": 1,
    "upper_triangle": 1,
    "absolute_maps": 1,
    "pixels_by_pixels": 0,
    "batch_axis_left": 0,
    "tuple_with_the_channels": 0,
    "height_times_height": 0,
    "misspelt_method": 0,
    "detached_first": 4,
}


def _wrong() -> Iterator[Student]:
    samples = _bank(GRAM)
    for index, (name, points) in enumerate(_WORTH.items()):
        answers = {GRAM: _spelling(samples[name])}
        if index % 2:
            answers[BATCH] = RIGHT_BATCH
            points += BONUS
        yield Student(
            f"wrong-{name.replace('_', '-')}", "wrong", points, hand_in(notebook(answers))
        )
    broken = notebook({GRAM: RIGHT.replace("):", ")"), BATCH: RIGHT_BATCH})
    yield Student("wrong-syntax-error", "wrong", BONUS, hand_in(broken))
    yield Student("wrong-only-the-bonus", "wrong", BONUS, hand_in(notebook({BATCH: RIGHT_BATCH})))
    yield Student("wrong-no-bonus", "wrong", MAIN, hand_in(notebook({GRAM: RIGHT})))
    yield Student("wrong-nothing-written", "wrong", 0, hand_in(notebook({})))
    mixed = "def batch_gram_matrix(tensor):\n    f = tensor.flatten(2)\n    return (f @ f.mT) / 7\n"
    yield Student(
        "wrong-bonus-divided", "wrong", MAIN + 1, hand_in(notebook({GRAM: RIGHT, BATCH: mixed}))
    )
