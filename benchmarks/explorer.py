"""How soon the explorer answers, in seconds and in steps of its engine.

Run as ``python -m benchmarks.explorer``. Each latency is measured on the running explorer without a
browser: from the call that a control's callback makes to the picture, or the word, that answers it.
The unit is one step of the engine alone, in the main thread of the same process: a change cannot
take effect before the step in hand is done, so about one step is the best there is.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from nst_helpers import backbones
from nst_helpers.explorer import Settings, State, Worker
from nst_helpers.explorer.settings import SIZE
from nst_helpers.transfer import StyleTransfer

REPEATS = 7
PAIRS = (("red-panda", "great-wave"), ("singapore", "the-scream"), ("astronaut", "klimt-mada"))
LONGEST = 60.0


def _seconds_until(
    worker: Worker, act: Callable[[], object], answered: Callable[[State], bool]
) -> float:
    """Return the seconds from ``act`` until the state answers."""
    start = time.perf_counter()
    act()
    while not answered(worker.state()):
        if time.perf_counter() - start > LONGEST:
            raise TimeoutError("no answer")
        time.sleep(0.002)
    return time.perf_counter() - start


def _step_alone(settings: Settings, model: object) -> float:
    """Return the seconds of one step of the engine, the median of a few."""
    engine = StyleTransfer(settings.content, settings.style, size=settings.size, model=model)
    times = []
    for _ in range(REPEATS + 3):
        start = time.perf_counter()
        engine.advance()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


def _run(worker: Worker) -> None:
    step = worker.state().step
    worker.start()
    _seconds_until(worker, lambda: None, lambda s: s.phase == "running" and s.step > step + 1)


def _latencies(worker: Worker) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}

    def measure(name: str, act: Callable[[], object], answered: Callable[[State], bool]) -> None:
        found.setdefault(name, []).append(_seconds_until(worker, act, answered))

    for number in range(REPEATS):
        beta = 20.0 + number
        _run(worker)
        measure(
            "slider to the engine",
            lambda: worker.change(beta=beta),  # noqa: B023
            lambda s: worker._engine is not None and worker._engine.settings["beta"] == beta,  # noqa: B023
        )
        measure(
            "slider to its picture",
            lambda: worker.change(beta=2 * beta),  # noqa: B023
            lambda s: s.frame.settings.beta == 2 * beta,  # noqa: B023
        )
        measure("pause, said", worker.pause, lambda s: s.phase == "paused")
        time.sleep(1.0)
        held = worker.state().step
        measure("one step", worker.step, lambda s: s.frame.step == held + 1)  # noqa: B023
        run = worker.state().frame.run
        measure("restart", worker.restart, lambda s: s.frame.run > run)  # noqa: B023
        _run(worker)
        run = worker.state().frame.run
        content, style = PAIRS[number % len(PAIRS)]
        measure(
            "other pictures, first picture",
            lambda: worker.change(content=content, style=style),  # noqa: B023
            lambda s: s.frame.run > run,  # noqa: B023
        )
        _run(worker)
        measure("stop, said", worker.stop, lambda s: s.phase == "stopped")
        start = time.perf_counter()
        while worker.works:
            time.sleep(0.002)
        found.setdefault("stop, thread ended", []).append(time.perf_counter() - start)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--weights")
    options = parser.parse_args()
    settings = Settings(size=options.size)
    model = backbones.vgg19(options.weights, until="conv5_2")
    unit = _step_alone(settings, model)
    print(f"one step of the engine alone at {options.size} pixels: {unit:.3f} s")
    worker = Worker(settings, model=model)
    first = _seconds_until(worker, worker.start, lambda s: s.frame is not None)
    print(f"{'from a control to its answer':32} {'median':>8} {'longest':>8} {'in steps':>9}")
    print(f"{'first picture after the start':32} {first:7.3f}s {first:7.3f}s {first / unit:9.1f}")
    for name, seconds in _latencies(worker).items():
        median = statistics.median(seconds)
        print(f"{name:32} {median:7.3f}s {max(seconds):7.3f}s {median / unit:9.1f}")
    worker.end()


if __name__ == "__main__":
    main()
