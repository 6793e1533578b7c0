"""How soon the explorer answers, in seconds and in steps of its engine.

Run as ``python -m benchmarks.explorer``. Each latency is measured on the running explorer without a
browser: from the call that a control's callback makes to the picture, or the word, that answers it.
The unit is one step of the engine alone, in a thread of the same process: a change cannot
take effect before the step in hand is done, so about one step is the best there is.

``--browser`` measures the same from a key or a click in a real JupyterLab to what the page shows,
with the way to the kernel and back, while the run keeps the processor busy.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nst_helpers import backbones
from nst_helpers.explorer import Settings, State, Worker
from nst_helpers.explorer.settings import SIZE
from nst_helpers.transfer import StyleTransfer

REPEATS = 6
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
    """Return the seconds of one step of the engine, the median of a few.

    In a thread, as the explorer's are: on a busy machine torch shares out the cores there in
    another way than in the main thread.
    """
    times: list[float] = []

    def steps() -> None:
        engine = StyleTransfer(settings.content, settings.style, size=settings.size, model=model)
        for _ in range(REPEATS + 3):
            start = time.perf_counter()
            engine.advance()
            times.append(time.perf_counter() - start)

    thread = threading.Thread(target=steps)
    thread.start()
    thread.join()
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


def _browser_latencies(size: int) -> dict[str, list[float]]:
    """Return seconds from a key or a click to what the page shows."""
    import nbformat
    from playwright.sync_api import sync_playwright

    from tests.browser.chromium import find_chromium
    from tests.browser.conftest import serving
    from tests.browser.jupyter import open_notebook, run_cell

    source = f"from nst_helpers.explorer import explore\nexplore(size={size})"
    cell = nbformat.v4.new_code_cell(source, id="explore")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
        nbformat.write(notebook, Path(folder) / "explore.ipynb")
        with serving(Path(folder), Path(home)) as lab, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            open_notebook(page, lab, "explore.ipynb")
            run_cell(page, "explore")
            page.locator(".nst-status", has_text="Running").wait_for()
            for number in range(REPEATS):
                _measure_page(page, PAIRS[number % len(PAIRS)][0], found)
            browser.close()
    return found


# Waits in the page itself, frame by frame, from the moment the event is sent.
_ACT_AND_WAIT = """
([act, condition]) => new Promise(done => {
    const root = document.querySelector('.nst');
    const begun = performance.now();
    eval(act);
    const look = () => eval(condition)
        ? done((performance.now() - begun) / 1000) : requestAnimationFrame(look);
    look();
})
"""


def _measure_page(page: Any, content: str, found: dict[str, list[float]]) -> None:
    def measure(name: str, act: str, condition: str) -> None:
        found.setdefault(name, []).append(page.evaluate(_ACT_AND_WAIT, [act, condition]))

    def press(name: str) -> str:
        found = f"[...root.querySelectorAll('button')].find(b => b.innerText.includes('{name}'))"
        return f"{found}.click()"

    def says(words: str) -> str:
        return f"root.querySelector('.nst-status').innerText.includes('{words}')"

    beta = "root.querySelector('input[id$=beta]')"
    alt = "root.querySelector('.nst-live img').alt"
    page.wait_for_timeout(1500)
    measure(
        "slider to its picture",
        f"window.was = {alt}.match(/beta [\\d.,]+/)?.[0]; {beta}.stepUp(); "
        f"{beta}.dispatchEvent(new Event('input'))",
        f"{alt}.match(/beta [\\d.,]+/)?.[0] !== was",
    )
    page.wait_for_timeout(500)
    measure(
        "slider to the kernel and back",
        f"window.was = root.querySelector('.nst-ratio').innerText; {beta}.stepUp(); "
        f"{beta}.dispatchEvent(new Event('input'))",
        "root.querySelector('.nst-ratio').innerText !== was",
    )
    measure("pause, said", press("Pause"), says("Paused"))
    page.wait_for_timeout(800)
    measure("start, said", press("Start"), says("Running"))
    page.wait_for_timeout(1000)
    measure(
        "other pictures, first picture",
        f"window.was = root.querySelector('.nst-live img').src; "
        f"root.querySelector('input[value={content}]').click()",
        "root.querySelector('.nst-live img').alt.includes('preview')",
    )
    page.wait_for_timeout(1500)
    measure("stop, said", press("Stop"), says("Stopped"))
    page.evaluate(_ACT_AND_WAIT, [press("Start"), says("Running")])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--weights")
    parser.add_argument("--browser", action="store_true", help="through JupyterLab and Chromium")
    options = parser.parse_args()
    settings = Settings(size=options.size)
    model = backbones.vgg19(options.weights, until="conv5_2")
    unit = _step_alone(settings, model)
    if options.browser:
        _print(_browser_latencies(options.size), unit, options.size)
        return
    worker = Worker(settings, model=model)
    first = _seconds_until(worker, worker.start, lambda s: s.frame is not None)
    found = {"first picture after the start": [first], **_latencies(worker)}
    worker.end()
    # Before and after: on a machine that others use, too, the unit has to be of the same minutes.
    unit = statistics.median([unit, _step_alone(settings, model)])
    _print(found, unit, options.size)


def _print(found: dict[str, list[float]], unit: float, size: int) -> None:
    print(f"one step of the engine alone at {size} pixels: {unit:.3f} s")
    print(f"{'from a control to its answer':32} {'median':>8} {'longest':>8} {'in steps':>9}")
    for name, seconds in found.items():
        median = statistics.median(seconds)
        print(f"{name:32} {median:7.3f}s {max(seconds):7.3f}s {median / unit:9.1f}")


if __name__ == "__main__":
    main()
