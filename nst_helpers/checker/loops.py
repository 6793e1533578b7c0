"""What optimisation loops are tried on, and how they are watched from the outside.

While an answer runs, every evaluation, backward pass and step is noted, so that what it did need
not be guessed from where it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from nst_helpers.checker import calling, compare, watching
from nst_helpers.checker.draw import Draw, in_layout
from nst_helpers.checker.flow import likely, stopped
from nst_helpers.checker.functions import number
from nst_helpers.checker.report import Finding


class _Endless(BaseException):
    """Ends a loop that would not end by itself. No ``except Exception`` of an answer stops it."""


@dataclass
class Landscape:
    """A cost of pictures whose gradient is known by formula.

    With u = (x - start) / unit, a pixel costs k (u - d)^2 / 2, or k exp(-1.2 d u), or nothing, all
    times unit times steepness. So gradients change much within a few steps, some change their
    sign, some die away, some are 0 from the beginning, and none is near 0 at the start.

    Attributes:
        start: where the target starts, float64.
        kinds: 0, 1 or 2 for each pixel, in the order above.
        k: factors; the answer meets them as parameters of a model that ask for a gradient.
        d: places of the minima, or signs of the slopes.
        unit: the size of a step.
        steepness: size of the gradient.
        dtype: of the target and the model.
        layout: of the target in memory.
        device: of the target and the model.
        module: whether the objective is an ``nn.Module`` or a plain function.
    """

    start: np.ndarray
    kinds: np.ndarray
    k: np.ndarray
    d: np.ndarray
    unit: float
    steepness: float = 1.0
    dtype: torch.dtype = torch.float64
    layout: str = "contiguous"
    device: str = "cpu"
    module: bool = False

    def value(self, x: np.ndarray) -> float:
        """Return the cost of a picture."""
        u = (x - self.start) / self.unit
        with np.errstate(over="ignore", invalid="ignore"):
            costs = np.where(
                self.kinds == 0,
                self.k * (u - self.d) ** 2 / 2,
                np.where(self.kinds == 1, self.k * np.exp(-1.2 * self.d * u), 0),
            )
            return float(self.steepness * self.unit * costs.sum())

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Return the derivative of the cost by each pixel."""
        u = (x - self.start) / self.unit
        with np.errstate(over="ignore", invalid="ignore"):
            slopes = np.where(
                self.kinds == 0,
                self.k * (u - self.d),
                np.where(self.kinds == 1, -1.2 * self.d * self.k * np.exp(-1.2 * self.d * u), 0),
            )
        return self.steepness * slopes

    def target(self) -> Tensor:
        """Return a fresh target at the start."""
        tensor = torch.from_numpy(self.start.copy()).to(self.device, self.dtype)
        return in_layout(tensor, self.layout).clone().requires_grad_()


class _Model(nn.Module):
    """The cost in torch, with a model's parameters: some ask for a gradient, one does not."""

    def __init__(self, landscape: Landscape, log: _Log) -> None:
        super().__init__()

        def tensor(values: np.ndarray) -> Tensor:
            numbers = torch.from_numpy(np.array(values, dtype=np.float64))
            return numbers.to(landscape.device, landscape.dtype)

        self.log = log
        self.weight = nn.Parameter(tensor(landscape.k))
        self.bias = nn.Parameter(tensor(landscape.d))
        self.frozen = nn.Parameter(tensor(landscape.start), requires_grad=False)
        self.masks = [tensor(landscape.kinds == kind) for kind in (0, 1)]
        self.scales = landscape.unit, landscape.steepness

    def forward(self, target: Tensor) -> Tensor:
        unit, steepness = self.scales
        u = (target - self.frozen) / unit
        square = self.weight * (u - self.bias) ** 2 / 2 * self.masks[0]
        fall = self.weight * torch.exp(-1.2 * self.bias * u * self.masks[1]) * self.masks[1]
        return self.log.evaluated(target, steepness * unit * (square + fall).sum())


@dataclass
class _Evaluation:
    """One call of the objective: the picture it was given, and the loss it gave."""

    x: np.ndarray
    loss: float
    shared: bool
    leaf: bool
    asks: bool


@dataclass
class ClosureCall:
    """One call of a closure by an optimiser."""

    before: np.ndarray
    after: np.ndarray
    gradient: np.ndarray | None
    returned: Any
    evaluations: int


@dataclass
class _Step:
    """One call of an optimiser's ``step``, and the target before and after it."""

    optimizer: Any
    rate: float
    holds_target: bool
    gradient: np.ndarray | None
    before: np.ndarray
    evaluations: int
    after: np.ndarray | None = None
    closures: list[ClosureCall] = field(default_factory=list)


@dataclass
class Told:
    """One call of ``on_step``, and the target at that moment."""

    arguments: tuple
    keywords: dict[str, Any]
    now: np.ndarray
    given: np.ndarray | None


@dataclass
class _Log:
    """What happens while an answer runs, in order."""

    target: Tensor
    limit: int
    evaluations: list[_Evaluation] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    backward: set[int] = field(default_factory=set)
    steps: list[_Step] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def evaluated(self, target: Tensor, loss: Tensor) -> Tensor:
        """Note an evaluation, and when a backward pass starts from it."""
        place = len(self.evaluations)
        if place >= self.limit:
            raise _Endless
        self.events.append("evaluation")
        shared = target.data_ptr() == self.target.data_ptr()
        self.evaluations.append(
            _Evaluation(
                compare.numbers(target),
                float(compare.numbers(loss)),
                shared,
                target.is_leaf,
                target.requires_grad,
            )
        )
        if loss.requires_grad:
            # A hook that returns something would change the gradient.
            loss.register_hook(lambda _: self._went_backward(place))
        return loss

    def _went_backward(self, place: int) -> None:
        self.backward.add(place)
        self.events.append("backward")

    def before_step(self, optimizer: Any, args: tuple, kwargs: dict) -> tuple | None:
        """Note a step of whatever optimiser, and have its closure watched, too."""
        own = next((p for g in optimizer.param_groups for p in g["params"] if self._is(p)), None)
        rate = optimizer.param_groups[0].get("lr", float("nan"))
        step = _Step(
            optimizer,
            float(rate),
            own is not None,
            _gradient_of(own),
            compare.numbers(self.target),
            len(self.evaluations),
        )
        self.steps.append(step)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if not callable(closure):
            self.events.append("step")
            return None

        def watched() -> Any:
            before, first = compare.numbers(self.target), len(self.evaluations)
            returned = closure()
            self.events.append("step")
            step.gradient = _gradient_of(own)
            step.closures.append(
                ClosureCall(
                    before,
                    compare.numbers(self.target),
                    step.gradient,
                    returned.detach() if isinstance(returned, Tensor) else returned,
                    len(self.evaluations) - first,
                )
            )
            return returned

        if len(args) > 1:
            return (args[0], watched, *args[2:]), kwargs
        return args, {**kwargs, "closure": watched}

    def after_step(self, optimizer: Any, args: tuple, kwargs: dict) -> None:
        """Note where a step led."""
        for step in reversed(self.steps):
            if step.optimizer is optimizer and step.after is None:
                step.after = compare.numbers(self.target)
                return

    def _is(self, parameter: Any) -> bool:
        return parameter is self.target or parameter.data_ptr() == self.target.data_ptr()

    def on_step(self, *arguments: Any, **keywords: Any) -> None:
        """Note what the answer tells after a step."""
        given = keywords.get("target", arguments[1] if len(arguments) > 1 else None)
        values = compare.numbers(given) if isinstance(given, Tensor) else None
        self.told.append(Told(arguments, keywords, compare.numbers(self.target), values))


def _gradient_of(parameter: Tensor | None) -> np.ndarray | None:
    if parameter is None or parameter.grad is None:
        return None
    return compare.numbers(parameter.grad)


@dataclass
class Run:
    """One call of a loop: what it was given, what it did, and what it returned."""

    landscape: Landscape
    count: int
    rate: float
    log: _Log
    outcome: calling.Outcome
    final: np.ndarray
    target: Tensor
    model_findings: list[Finding]
    words: str
    watched: bool

    @property
    def start(self) -> np.ndarray:
        """Where the target was at first."""
        return compare.numbers(self.landscape.target())

    @property
    def slack(self) -> float:
        """How far from the right picture rounding may lead: a small part of one step."""
        share = 1e-5 if self.landscape.dtype == torch.float64 else 5e-3
        return share * (self.rate or self.landscape.unit)

    def near(self, given: np.ndarray, expected: np.ndarray) -> bool:
        """Whether two pictures agree within ``slack``."""
        if given.shape != expected.shape or not np.isfinite(given).all():
            return False
        return bool(np.abs(given - expected).max() <= self.slack)

    def same_loss(self, given: float, expected: float) -> bool:
        """Whether two losses agree but for rounding."""
        share = 1e-6 if self.landscape.dtype == torch.float64 else 1e-4
        scale = max(abs(expected), self.landscape.value(self.start) * 1e-3)
        return bool(abs(given - expected) <= share * scale)

    @property
    def moved(self) -> bool:
        """Whether the caller's target is elsewhere now."""
        return not self.near(self.final, self.start)


def watched_run(
    answer: Callable,
    landscape: Landscape,
    steps: int,
    *,
    rate: float | None = None,
    watched: bool = False,
    limit: int,
) -> Run:
    """Return what an answer does with a landscape, watched from the outside."""
    target = landscape.target()
    log = _Log(target, limit)
    model = _Model(landscape, log)
    state = watching.record(model)

    def objective(target: Tensor) -> Tensor:
        return model(target)

    arguments: dict[str, Any] = {
        "target": target,
        "objective": model if landscape.module else objective,
        "steps": steps,
    }
    if rate is not None:
        arguments["lr"] = rate
    if watched:
        # A plain function, as a lesson has: some answers ask whether there is one.
        arguments["on_step"] = lambda *given, **named: log.on_step(*given, **named)
    handles = [
        target.register_post_accumulate_grad_hook(lambda _: log.events.append("accumulated")),
        register_optimizer_step_pre_hook(log.before_step),
        register_optimizer_step_post_hook(log.after_step),
    ]
    try:
        outcome = calling.call(answer, arguments)
    finally:
        for handle in handles:
            handle.remove()
    kind = str(landscape.dtype).removeprefix("torch.")
    words = f"{steps} step{'s' * (steps != 1)} on a target in {kind}"
    if landscape.device != "cpu":
        words += f" on device {landscape.device}"
    if rate is not None:
        words += f" at rate {number(rate)}"
    changes = list(watching.changes(state, model))
    return Run(
        landscape,
        steps,
        rate or 0.0,
        log,
        outcome,
        compare.numbers(target),
        target,
        changes,
        words,
        watched,
    )


def _picture_shape(draw: Draw) -> tuple[int, int, int, int]:
    return (1, 3, *draw.distinct(2, 3, 5))


def drawn_landscape(draw: Draw, unit: float, **settings: Any) -> Landscape:
    """Return a landscape for steps of a size: minima a few steps away."""
    shape = _picture_shape(draw)
    count = int(np.prod(shape))

    def numbers(lowest: float, highest: float) -> np.ndarray:
        return np.array([draw.number(lowest, highest) for _ in range(count)]).reshape(shape)

    signs = np.array([draw.pick((-1.0, 1.0)) for _ in range(count)]).reshape(shape)
    kinds = np.array(draw.shuffled([0, 0, 1, 0, 1, 2] * (count // 6) + [0] * (count % 6)))
    kinds = kinds.reshape(shape)
    d = signs * np.where(kinds == 1, 1.0, numbers(1.5, 5))
    # float32 must hold all of them exactly, or the specification would be another one.
    start, k, d = (
        values.astype(np.float32).astype(np.float64)
        for values in (numbers(-1.5, 2.5), numbers(0.5, 2.0), d)
    )
    return Landscape(start, kinds, k, d, unit, **settings)


def list_findings(run: Run, lengths: set[int] | None) -> Iterator[Finding]:
    """Yield what is wrong with the type of what a loop returns, of ``lengths`` if given."""
    value = run.outcome.value
    if value is None or value is ...:
        text = f"it returns {value!r}; is there a return at the end?"
        yield Finding("written", text, "not-written")
        return
    tensors = [value, *(value if isinstance(value, tuple) else ())]
    if any(isinstance(item, Tensor) and item.shape == run.target.shape for item in tensors):
        text = "it returns the target, which the caller has already; return the list of losses."
        yield Finding("type", text, "returns-target")
        return
    if not isinstance(value, list):
        kind = type(value).__name__
        yield Finding("type", f"it returns a {kind}; return a list of floats.", "wrong-type")
        return
    for item in value:
        if not isinstance(item, float):
            kind = type(item).__name__
            text = f"the list holds a value of type {kind}; a loss is kept as a Python float."
            yield Finding("type", text, "losses-not-floats")
            return
    if lengths is not None and len(value) not in lengths:
        text = f"{len(value)} losses are returned for {run.words}; each step has one."
        yield Finding("values", text, "losses-wrong")


def target_kind(run: Run) -> Iterator[Finding]:
    """Yield whether the target is still of its dtype and shape, and finite."""
    if run.target.dtype != run.landscape.dtype:
        kinds = [str(t).removeprefix("torch.") for t in (run.landscape.dtype, run.target.dtype)]
        text = f"the target was {kinds[0]} and is {kinds[1]} afterwards."
        yield Finding("dtype", text, "wrong-dtype")
    elif run.final.shape != run.landscape.start.shape:
        yield Finding("shape", "the target has another shape afterwards.", "wrong-shape")
    elif not np.isfinite(run.final).all():
        text = f"the target holds nan or inf after {run.words}."
        if not run.landscape.gradient(run.start).all():
            text += " Some of its pixels have no gradient."
        yield Finding("finite", text, "not-finite")


def error_finding(run: Run, answer: Callable) -> Finding:
    """Return what to say about a loop that raised."""
    error, log = run.outcome.error, run.log
    if isinstance(error, _Endless):
        text = f"it was still running after {log.limit} evaluations for {run.words}; "
        return Finding("behaviour", text + "what ends the loop?", "too-many-steps")
    found = stopped(error, answer, run.words)
    message = str(error)
    unguarded = "'NoneType' object is not callable" in message and not run.watched
    if isinstance(error, TypeError) and unguarded:
        text = "without on_step it stops: on_step is None then, and cannot be called."
        return Finding("raises", text, "on-step-unguarded")
    if found.cause == "graph-used-twice":
        if len(log.evaluations) == 1:
            return replace(found, cause="loss-precomputed")
        if any(is_limited(evaluation.x, run.start) for evaluation in log.evaluations):
            return replace(found, cause="target-clamped")
        return replace(found, cause="target-rebound")
    if found.cause == "leaf-changed-in-place" and "clamp" in found.text:
        return replace(found, cause="target-clamped")
    return found


# A loop that runs away is not judged by what happens out there, where numbers lose their meaning.
FAR = 1e4


def is_limited(values: np.ndarray, free: np.ndarray) -> bool:
    """Whether several pixels lie exactly on one bound, which they had no reason to share."""
    for bound in (values.min(), values.max()):
        if abs(bound) < FAR and (values == bound).sum() >= 3 and (free == bound).sum() < 3:
            return True
    return False


def nothing_moved(run: Run) -> Finding:
    """Return why the target of a run is where it was."""
    log = run.log
    accumulated, steps = "accumulated" in log.events, log.steps
    if any(not run.near(e.x, run.start) for e in log.evaluations):
        text = "the pixels of another tensor move, and the target the caller gave stays as it was."
        return likely("target-rebound", text)
    if steps and not any(step.holds_target for step in steps):
        return likely("target-rebound", "the optimiser holds another tensor than the target.")
    if steps and all(step.rate == 0 for step in steps):
        return likely("wrong-rate", "the steps are of size 0.")
    if not log.backward:
        return likely(
            "no-backward", "no backward pass was made, so there is no gradient to follow."
        )
    if not any(e.asks for e in log.evaluations):
        text = "the loss was taken of a target that asks for no gradient: the connection is cut."
        return likely("detached", text)
    if log.evaluations and not any(e.shared for e in log.evaluations):
        text = "the loss was taken of a copy that has forgotten the target: the gradient stops "
        return likely("detached", text + "there.")
    if not steps:
        return likely("no-step", "gradients are computed, and no step is made with them.")
    if not accumulated:
        text = "a gradient is computed, but it is not where the optimiser looks for it."
        return likely("no-backward", text)
    if steps_follow(log, "accumulated"):
        text = "each gradient is cleared after it was computed and before it was used."
        return likely("zeroed-too-late", text)
    return likely("step-before-backward", "each step is made before there is a gradient.")


def steps_follow(log: _Log, event: str) -> bool:
    """Whether most steps come after ``event``, with no evaluation in between."""
    follows, latest = [], ""
    for now in log.events:
        if now == "step":
            follows.append(latest == event)
        elif now in ("evaluation", event):
            latest = now
    return sum(follows) * 2 > len(follows)
