"""How long a review takes, and what importing the checker adds to importing torch.

Run as ``python -m benchmarks.checker``. Times are given in seconds and as a share of one
``import torch`` in a fresh process of the same run, which is what a student waits for anyway.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time

import torch

from nst_helpers.checker import EXERCISES, review
from tests.checker import banks

REPEATS = 5


def _seconds_to_import(statement: str) -> float:
    code = (
        f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(REPEATS)
    ]
    return min(times)


def _review_seconds(exercise: str) -> list[float]:
    """Return the time of a review of each right answer, the best of a few."""
    importlib.import_module(f"tests.checker.banks.{exercise}")
    seconds = []
    for sample in banks.SAMPLES:
        if sample.exercise == exercise and sample.causes is None:
            best = float("inf")
            for _ in range(REPEATS):
                start = time.perf_counter()
                review(exercise, sample.answer())
                best = min(best, time.perf_counter() - start)
            seconds.append(best)
    return seconds


def main() -> None:
    """Print the table."""
    torch.set_num_threads(2)
    unit = _seconds_to_import("import torch")
    added = _seconds_to_import(
        "import torch; start = time.perf_counter(); import nst_helpers.checker"
    )
    print(f"import torch {unit:.2f} s; the checker adds {added:.3f} s ({added / unit:.3f} of it)")
    lessons: dict[str, float] = {}
    print(f"{'exercise':22} {'typical':>9} {'slowest':>9} {'of import torch':>16}")
    for exercise, lesson in EXERCISES.items():
        seconds = _review_seconds(exercise)
        typical = sorted(seconds)[len(seconds) // 2]
        lessons[lesson] = lessons.get(lesson, 0) + typical
        print(f"{exercise:22} {typical:8.3f}s {max(seconds):8.3f}s {typical / unit:16.3f}")
    for lesson, seconds in lessons.items():
        print(f"all of {lesson:20} {seconds:.2f} s")


if __name__ == "__main__":
    main()
