"""``python -m nst_helpers.checker gram_matrix answer.py``: review a function in a file.

For teachers and scripts. The exit status is 0 when the answer passed, 1 when it does not yet, and 2
when it could not be reviewed. The file is run as a program, so review only files you would run.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from nst_helpers.checker import EXERCISES, review
from nst_helpers.checker.calling import quietly

PASSED, NOT_YET, COULD_NOT_RUN = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Review one answer and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m nst_helpers.checker", description=__doc__)
    parser.add_argument("exercise", help=", ".join(EXERCISES))
    parser.add_argument("file", type=Path, help="a Python file that defines it under that name")
    parser.add_argument("--seed", type=int, help="draw the same inputs every time")
    options = parser.parse_args(arguments)
    if options.exercise not in EXERCISES:
        return _could_not(
            f"There is no exercise {options.exercise!r}; choose one of {', '.join(EXERCISES)}."
        )
    if not options.file.is_file():
        return _could_not(f"There is no file {options.file}; give the path of a Python file.")
    try:
        with quietly():
            names = runpy.run_path(str(options.file), run_name="answer")
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}".strip().split("\n")[0]
        return _could_not(f"{options.file} could not be run ({said}); mend that first.")
    if options.exercise not in names:
        return _could_not(
            f"{options.file} defines no {options.exercise}; give the function exactly that name."
        )
    report = review(options.exercise, names[options.exercise], seed=options.seed)
    print(report.text)
    if report.cause:
        print(f"cause: {report.cause}")
    return PASSED if report.passed else NOT_YET


def _could_not(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return COULD_NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
