"""How long fast style transfer takes, against one step of the optimisation.

Run as ``python -m benchmarks.feedforward``. The unit is one float32 forward and backward pass of
the optimisation's objective on the same pictures, at the same size, in the same run. A first call
loads the pictures and the network in a fresh process that has imported the module; later calls
load the pictures.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from nst_helpers.device import bfloat16_pays, describe_device, pick_device
from nst_helpers.feedforward import stylize_fast
from nst_helpers.transfer import StyleTransfer

CONTENT, STYLE = "astronaut", "starry-night"
SIZES = (256, 512)
REPEATS = 5
_FIRST = """
import time, torch
from nst_helpers.feedforward import stylize_fast
torch.set_num_threads({threads})
start = time.perf_counter()
stylize_fast({content!r}, {style!r}, size={size}, precision={precision!r}, progress=False)
print(time.perf_counter() - start)
"""


def _first_seconds(size: int, precision: str) -> float:
    code = _FIRST.format(
        threads=torch.get_num_threads(),
        content=CONTENT,
        style=STYLE,
        size=size,
        precision=precision,
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return float(done.stdout)


def _best_seconds(call: Callable[[], Any]) -> float:
    """Return the shortest of a few; a call hands over a picture or a loss, so a GPU is done."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def _later_seconds(size: int, precision: str) -> float:
    def call() -> None:
        stylize_fast(CONTENT, STYLE, size=size, precision=precision, progress=False)

    call()
    return _best_seconds(call)


def _pass_seconds(size: int) -> float:
    """Return the time of one forward and backward pass; Adam's own arithmetic hardly counts."""
    transfer = StyleTransfer(CONTENT, STYLE, size=size, optimizer="adam", precision="float32")
    transfer.advance()
    return _best_seconds(transfer.advance)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(min(2, torch.get_num_threads()))
    device = pick_device()
    print(f"{describe_device(device)}; a pass is forward and backward, float32")
    precisions = ["float32", "bfloat16"] if bfloat16_pays(device) else ["float32"]
    print(f"{'pixels':>6}  {'precision':9}  {'pass':>8}  {'first call':>19}  {'later calls':>19}")
    for size in SIZES:
        unit = _pass_seconds(size)
        for precision in precisions:
            first, later = _first_seconds(size, precision), _later_seconds(size, precision)
            calls = "  ".join(f"{s:7.3f} s {s / unit:5.2f} pass" for s in (first, later))
            print(f"{size:6}  {precision:9}  {unit:6.3f} s  {calls}", flush=True)


if __name__ == "__main__":
    main()
