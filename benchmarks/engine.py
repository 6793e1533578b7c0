"""How soon the engine reaches what published recipes reach, on the same objective and machine.

Run as ``python -m benchmarks.engine``; with ``--quick`` at small sizes, to see that it works. It
prints a table and writes ``engine.json`` and ``engine.png`` into ``benchmarks/results``. Losses
are those of the full objective in float32, whatever a run computes in; judging takes no time from
a run. Every time is divided by another of the same run of this file.

The recipes: *lesson*, as the well-known PyTorch lesson has it: all 37 modules, float32, Adam with
rate 0.003 from the content picture. *tutorial*, as PyTorch's tutorial has it: the network cut
after the last loss, float32, ``torch.optim.LBFGS`` as it comes, 300 evaluations.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nst_helpers import backbones, losses
from nst_helpers.device import bfloat16_pays, describe_device, pick_device
from nst_helpers.images import load_image
from nst_helpers.objective import Objective
from nst_helpers.transfer import DEFAULT_ALPHA, DEFAULT_BETA, StyleTransfer

CONTENT, STYLE = "neuschwanstein", "starry-night"
RESULTS = Path(__file__).parent / "results"
TUTORIAL_EVALUATIONS = 300
EARLY = 50
LESSON_STEPS = 2000


@dataclass(frozen=True)
class Point:
    """A run after some evaluations: the seconds so far, and the loss in float32."""

    evaluations: int
    seconds: float
    loss: float


class Task:
    """One pair of pictures at one size, with the network and the judge all runs share."""

    def __init__(self, size: int) -> None:
        self.device = pick_device()
        self.content = load_image(CONTENT, size=size, device=self.device)
        self.style = load_image(STYLE, size=self.content, device=self.device)
        self.model = backbones.vgg19(device=self.device, progress=False)
        pictures = [backbones.normalize(picture) for picture in (self.content, self.style)]
        self.judge = Objective(pictures[0], [(pictures[1], 1.0)], self.model)

    def loss(self, pixels: Tensor) -> float:
        """Return the full objective of normalised pixels in float32."""
        with torch.no_grad():
            content, style = self.judge(pixels)
        return float(losses.total_loss(content, style, DEFAULT_ALPHA, DEFAULT_BETA))

    def recipe_loss(self, image: Tensor, modules: int) -> Tensor:
        """Return the loss as the recipes compute it: module by module, and plainly."""
        wanted = {backbones.layer_index(name): name for name in self._layers()}
        activation, features = backbones.normalize(image), {}
        for index, module in enumerate(self.model[:modules]):
            activation = module(activation)
            if index in wanted:
                features[wanted[index]] = activation
        content = losses.content_loss(
            features[losses.CONTENT_LAYER], self.judge.content[losses.CONTENT_LAYER]
        )
        style = losses.style_loss(features, self.judge.grams, losses.STYLE_WEIGHTS)
        return losses.total_loss(content, style, DEFAULT_ALPHA, DEFAULT_BETA)

    @staticmethod
    def _layers() -> list[str]:
        return [losses.CONTENT_LAYER, *losses.STYLE_WEIGHTS]


def _synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


class _Clock:
    """Adds up the time between start and stop."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds, self._since = device, 0.0, 0.0

    def start(self) -> None:
        _synchronise(self.device)
        self._since = time.perf_counter()

    def stop(self) -> float:
        _synchronise(self.device)
        self.seconds += time.perf_counter() - self._since
        return self.seconds


def lesson_recipe(task: Task, steps: int) -> Iterator[Point]:
    """Yield the lesson recipe's progress."""
    image = task.content.clone().requires_grad_()
    adam = torch.optim.Adam([image], lr=0.003)
    clock = _Clock(task.device)
    for step in range(1, steps + 1):
        clock.start()
        adam.zero_grad()
        task.recipe_loss(image, len(task.model)).backward()
        adam.step()
        clock.stop()
        if step % 100 == 0 or step == steps:
            loss = task.loss(backbones.normalize(image.detach()))
            yield Point(step, clock.seconds, loss)


class _Enough(Exception):
    """The evaluations are used up, in the middle of a step of L-BFGS."""


def tutorial_recipe(task: Task, evaluations: int) -> list[Point]:
    """Return the tutorial recipe's progress, one point an evaluation."""
    image = task.content.clone().requires_grad_()
    lbfgs = torch.optim.LBFGS([image])
    modules = 1 + max(backbones.layer_index(name) for name in task._layers())
    clock, points = _Clock(task.device), []

    def closure() -> Tensor:
        lbfgs.zero_grad()
        loss = task.recipe_loss(image, modules)
        loss.backward()
        points.append(Point(len(points) + 1, clock.stop(), float(loss.detach())))
        if len(points) >= evaluations:
            raise _Enough
        clock.start()
        return loss

    try:
        while True:
            clock.start()
            lbfgs.step(closure)
            clock.stop()
    except _Enough:
        return points


def ours(task: Task, targets: list[float], most: int) -> list[Point]:
    """Return the engine's progress until the lowest target is reached, judged in float32."""
    run = StyleTransfer(task.content, task.style, model=task.model, progress=False)
    clock, points = _Clock(task.device), []
    while len(points) < most:
        clock.start()
        step = run.advance()
        clock.stop()
        near = step.total < 1.1 * max(targets)
        points.append(
            Point(
                step.step + 1, clock.seconds, task.loss(run.pixels.detach()) if near else step.total
            )
        )
        if points[-1].loss <= min(targets):
            break
    return points


def _reached(points: list[Point], target: float) -> Point | None:
    return next((point for point in points if point.loss <= target), None)


def compare_tutorial(size: int, evaluations: int = TUTORIAL_EVALUATIONS) -> dict[str, Any]:
    """Return how much sooner the engine reaches the tutorial recipe's early and final loss."""
    task = Task(size)
    theirs = tutorial_recipe(task, evaluations)
    early = min(theirs[: min(EARLY, evaluations)], key=lambda point: point.loss)
    final = min(theirs, key=lambda point: point.loss)
    mine = ours(task, [early.loss, final.loss], 2 * evaluations)
    return {
        "size": size,
        "early": _ratio(theirs[min(EARLY, evaluations) - 1], _reached(mine, early.loss)),
        "final": _ratio(theirs[-1], _reached(mine, final.loss)),
        "curves": {"tutorial": _curve(theirs), "ours": _curve(mine)},
    }


def compare_lesson(size: int, steps: int = LESSON_STEPS) -> dict[str, Any]:
    """Return how much sooner the engine reaches the lesson recipe's final loss."""
    task = Task(size)
    theirs = list(lesson_recipe(task, steps))
    mine = ours(task, [theirs[-1].loss], steps)
    return {
        "size": size,
        "final": _ratio(theirs[-1], _reached(mine, theirs[-1].loss)),
        "curves": {"lesson": _curve(theirs), "ours": _curve(mine)},
    }


def _ratio(theirs: Point, mine: Point | None) -> dict[str, Any]:
    return {
        "loss": theirs.loss,
        "theirs": [theirs.evaluations, theirs.seconds],
        "ours": [mine.evaluations, mine.seconds] if mine else None,
        "times sooner": theirs.seconds / mine.seconds if mine else None,
    }


def _curve(points: list[Point]) -> list[tuple[float, float]]:
    return [(point.seconds, point.loss) for point in points]


# --- one pass -------------------------------------------------------------------------------------


def _shortest(device: torch.device, call: Callable[[], Any], repeats: int = 7) -> float:
    call()
    times = []
    for _ in range(repeats):
        clock = _Clock(device)
        clock.start()
        call()
        times.append(clock.stop())
    return min(times)


def one_pass(size: int, precision: torch.dtype) -> dict[str, Any]:
    """Return what a forward and backward pass costs, over its convolutions alone."""
    task = Task(size)
    content = backbones.normalize(task.content)
    objective = Objective(
        content, [(backbones.normalize(task.style), 1.0)], task.model, precision=precision
    )
    pixels = content.clone().requires_grad_()

    def whole() -> None:
        pixels.grad = None
        content_loss, style_loss = objective(pixels)
        (content_loss + DEFAULT_BETA * style_loss).backward()

    network = copy.deepcopy(task.model).to(precision, memory_format=torch.channels_last)
    convolutions = _convolutions_alone(network, pixels.detach(), task.device)
    return {
        "size": size,
        "precision": str(precision).removeprefix("torch."),
        "pass over convolutions": _shortest(task.device, whole) / convolutions,
    }


def _convolutions_alone(network: nn.Sequential, pixels: Tensor, device: torch.device) -> float:
    """Return the seconds of torch's convolutions forward, and backward to the input, one by one."""
    deepest = max(map(backbones.layer_index, losses.STYLE_WEIGHTS))
    activation = pixels.to(network[0].weight.dtype, memory_format=torch.channels_last)
    seconds = 0.0
    with torch.no_grad():
        for module in network[: deepest + 1]:
            result = module(activation)
            if isinstance(module, nn.Conv2d):
                seconds += _shortest(device, lambda m=module, a=activation: m(a))
                seconds += _shortest(
                    device, lambda m=module, a=activation, r=result: _backward_to_input(m, a, r)
                )
            activation = result
    return seconds


def _backward_to_input(module: nn.Conv2d, inputs: Tensor, gradient: Tensor) -> Tensor:
    return torch.ops.aten.convolution_backward(
        gradient, inputs, module.weight, [module.out_channels],
        [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, False, False],
    )[0]  # fmt: skip


# --- memory and growth ----------------------------------------------------------------------------

_PEAK = """
import resource, sys
from benchmarks import engine
task = engine.Task({size})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
engine.{call}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
MEMORY_EVALUATIONS = 12


def memory(size: int) -> dict[str, Any]:
    """Return the engine's peak memory over the tutorial recipe's, beyond what both start with.

    Both run ``MEMORY_EVALUATIONS`` evaluations, each in a process of its own, so both remember as
    many moves; after more, torch's L-BFGS keeps 100 of them, and ours 40.
    """
    calls = {
        "tutorial": f"tutorial_recipe(task, {MEMORY_EVALUATIONS})",
        "ours": f"ours(task, [0.0], {MEMORY_EVALUATIONS})",
    }
    peaks = {name: _peak(size, call) for name, call in calls.items()}
    return {"size": size, **peaks, "share": peaks["ours"] / peaks["tutorial"]}


def _peak(size: int, call: str) -> float:
    code = _PEAK.format(size=size, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout) / 2**20


def growth(sizes: list[int]) -> list[dict[str, Any]]:
    """Return the seconds of one evaluation for each million pixels, over the smallest size's."""
    costs = []
    for size in sizes:
        task = Task(size)
        run = StyleTransfer(task.content, task.style, model=task.model, progress=False)
        run.advance()
        seconds = _shortest(task.device, run.advance, repeats=3)
        costs.append(seconds / task.content[0, 0].numel())
    return [
        {"size": size, "per pixel": cost / costs[0]}
        for size, cost in zip(sizes, costs, strict=True)
    ]


# --- what is shown --------------------------------------------------------------------------------


def _rows(report: dict[str, Any]) -> Iterator[str]:
    yield f"{'one pass over its convolutions alone':44} {'goal':>8} {'here':>8}"
    for entry in report["pass"]:
        name = f"  {entry['size']} px, {entry['precision']}"
        yield f"{name:44} {'<= 1.15':>8} {entry['pass over convolutions']:8.2f}"
    yield "times sooner at the same loss"
    for entry in report["tutorial"]:
        goals = {"early": 6, "final": 3} if report["device"] == "cpu" else {"early": 12, "final": 8}
        for part, goal in goals.items():
            row = entry[part]
            name = f"  tutorial recipe, {entry['size']} px, {row['theirs'][0]} evaluations"
            yield f"{name:44} {f'>= {goal}':>8} {_shown(row)}"
    for entry in report["lesson"]:
        name = f"  lesson recipe, {entry['size']} px, {entry['final']['theirs'][0]} steps"
        yield f"{name:44} {'>= 30':>8} {_shown(entry['final'])}"
    yield "peak memory over the tutorial recipe's"
    for entry in report["memory"]:
        yield f"{'  %d px' % entry['size']:44} {'<= 0.7':>8} {entry['share']:8.2f}"  # noqa: UP031
    yield "seconds a pixel over those of the first size"
    for entry in report["growth"]:
        yield f"{'  %d px' % entry['size']:44} {'<= 1':>8} {entry['per pixel']:8.2f}"  # noqa: UP031


def _shown(row: dict[str, Any]) -> str:
    if row["ours"] is None:
        return f"{'never':>8}"
    return f"{row['times sooner']:8.1f}   ({row['ours'][0]} of ours, loss {row['loss']:.4g})"


def _plot(report: dict[str, Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = [*report["tutorial"], *report["lesson"]]
    figure = Figure(figsize=(5 * len(entries), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, entry in zip(
        figure.subplots(1, len(entries), squeeze=False)[0], entries, strict=True
    ):
        unit = entry["curves"]["ours"][0][0]
        for name, curve in entry["curves"].items():
            axes.plot([s / unit for s, _ in curve], [loss for _, loss in curve], label=name)
        axes.set(xscale="log", yscale="log", title=f"{entry['size']} px")
        axes.set(xlabel="time, in passes of ours", ylabel="total loss in float32")
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure everything, print the table and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few steps")
    quick = parser.parse_args().quick
    device = pick_device()
    sizes = (
        ([64], 64, [64, 96], [256])
        if quick
        else ([128, 256], 128, [128, 256, 512, 1024], [512, 1024])
    )
    if device.type != "cpu" and not quick:
        sizes = ([512], 512, [256, 512, 1024, 2048], [])  # the memory measured is the CPU's
    print(describe_device(device))
    precisions = [torch.float32, *([torch.bfloat16] if bfloat16_pays(device) else [])]
    report: dict[str, Any] = {"device": device.type, "described": describe_device(device)}
    report["pass"] = [one_pass(sizes[0][-1], precision) for precision in precisions]
    report["tutorial"] = [compare_tutorial(s, 60 if quick else 300) for s in sizes[0]]
    report["lesson"] = [compare_lesson(sizes[1], 100 if quick else LESSON_STEPS)]
    report["memory"] = [memory(size) for size in sizes[3]]
    report["growth"] = growth(sizes[2])
    print("\n".join(_rows(report)))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "engine.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    _plot(report, RESULTS / "engine.png")


if __name__ == "__main__":
    main()
