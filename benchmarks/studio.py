"""Run notebooks of the studio in full, and keep what they find in ``results/`` beside them.

``python -m benchmarks.studio 08_optimisers`` runs that one, without a name all of them; afterwards
``make release`` brings the results to ``notebooks/``. It prints how long each notebook took.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

SOLUTIONS = Path(__file__).resolve().parents[1] / "solutions"


def run(lesson: str) -> float:
    """Run a lesson's notebook in full, keeping its results; return the seconds it took."""
    path = SOLUTIONS / lesson / f"{lesson}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    started = time.monotonic()
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": path.parent}}).execute()
    return time.monotonic() - started


def main() -> None:
    """Run the notebooks named, or all that keep results."""
    every = sorted(path.parent.name for path in SOLUTIONS.glob("*/results"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", default=every, help="such as 08_optimisers")
    os.environ["NST_STUDIO"] = "keep"
    for lesson in parser.parse_args().lessons:
        print(f"{lesson:24} {run(lesson) / 60:6.1f} min", flush=True)


if __name__ == "__main__":
    main()
