"""Reviewing an answer that is a function of tensors, against a specification of the same signature.

An exercise says how to draw inputs, what the right result is (a specification in plain loops), and
which wrong formulas people write. This module does the rest: it calls the answer with every input,
compares kind, shape, dtype, device, values and gradients, and looks for a mistake that explains all
of what it saw.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nst_helpers.checker import calling, compare
from nst_helpers.checker.draw import Draw, copied, tensors_in
from nst_helpers.checker.report import Finding

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One input to try an answer with.

    Attributes:
        axis: what sets this input apart; a mistake that shows only here is named after it.
        arguments: by parameter name; tensors hold the values, already in their dtype and layout.
        words: what a student would call this input.
        reaches: names of the tensors (as :func:`tensors_in` gives them) a gradient must reach.
        keywords: parameters given by name, as the contract allows.
        scale: size of what cancels in the result, where the result itself does not show it.
        gradient_scale: the same for the gradient.
    """

    axis: str
    arguments: Arguments
    words: str
    reaches: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    scale: float = 0.0
    gradient_scale: float = 0.0


@dataclass(frozen=True)
class Mistake:
    """A wrong formula that people write, and a hint at the line of thought."""

    cause: str
    hint: str
    formula: Callable[..., Tensor]


@dataclass(frozen=True)
class Factor:
    """A number that a result is often too large or too small by."""

    words: str
    value: Callable[[Arguments], float]
    too_large: tuple[str, str]
    too_small: tuple[str, str]


def size_product(
    words: str,
    sizes: Callable[[Arguments], Mapping[str, int]],
    too_large: tuple[str, str],
    too_small: tuple[str, str],
) -> Factor:
    """Return the factor that is a product of sizes and numbers, such as ``"4 C H W"``.

    Args:
        words: sizes by the names ``sizes`` gives them, and whole numbers, parted by spaces; what
            follows a ``/`` divides.
        sizes: returns the sizes of some arguments.
        too_large: cause and hint of a result too large by this; the hint may hold ``{factor}`` and
            ``{meaning}``.
        too_small: the same of a result too small by this.
    """
    upper, _, lower = words.partition("/")

    def value(arguments: Arguments) -> float:
        known = sizes(arguments)

        def product(part: str) -> float:
            return math.prod(known[size] if size in known else int(size) for size in part.split())

        return product(upper) / product(lower)

    return Factor(words, value, too_large, too_small)


@dataclass(frozen=True)
class TensorFunction:
    """An exercise whose answer is a function from tensors to one tensor.

    Attributes:
        name: in the table of exercises.
        parameters: name -> default, ``calling.REQUIRED`` where there is none.
        specification: the right result, in plain loops.
        cases: draws the inputs, the plainest first.
        operations: how many additions and multiplications lead to one number of the result.
        mistakes: wrong formulas, the most specific first.
        factors: numbers the result is often wrong by.
        any_factor: cause and hint where all values are too large, or too small, by some other
            number; only for results of several values, where that says something.
        shape_words: what the shape of the result is called.
        properties: further checks, run when everything else is right.
        raised: says what an error means in this exercise, or None for the general words.
    """

    name: str
    parameters: Mapping[str, Any]
    specification: Callable[..., Tensor]
    cases: Callable[[Draw], Sequence[Case]]
    operations: Callable[[Arguments], int]
    summary: str
    shape_words: str
    mistakes: Sequence[Mistake] = ()
    factors: Sequence[Factor] = ()
    any_factor: tuple[tuple[str, str], tuple[str, str]] | None = None
    properties: Callable[[Callable, Draw], Iterator[Finding]] | None = None
    raised: Callable[[BaseException, Case], Finding | None] | None = None

    def review(self, answer: Any, draw: Draw) -> list[Finding]:
        """Return what is not right yet with an answer; nothing when it keeps the contract."""
        return review_function(self, answer, draw)


# What it means when an answer is right for plain inputs and wrong only for this one.
AXIS_CAUSES = {
    "not square": ("square-assumed", "right where height and width are equal, wrong for {words}."),
    "other size": ("hard-coded-size", "right for one size, wrong for {words}."),
    "other channels": ("hard-coded-size", "right for one number of channels, wrong for {words}."),
    "float32": ("wrong-dtype", "right in float64, wrong for {words}."),
    "float64": ("wrong-dtype", "right in float32, wrong for {words}."),
    "layout": ("memory-layout", "right for numbers that lie side by side, wrong for {words}."),
    "again": ("shared-state", "right at first and wrong when called again: something is kept."),
    "another name": (
        "hard-coded-layers",
        "right for the layers of the lesson, wrong when style_weights names other ones.",
    ),
    "several": ("images-mixed", "right for one image, wrong for {words}."),
    "no gradient": ("needs-gradient", "wrong for {words}."),
    "device": ("wrong-device", "right on the CPU, wrong for {words}."),
}


# A failure that shows only here needs no further explanation.
_TELLING_AXES = ("again", "another name")


@dataclass
class Trial:
    """One case, what the answer gave for it, what is right, and what is wrong with it."""

    case: Case
    findings: list[Finding] = field(default_factory=list)
    given: np.ndarray | None = None
    expected: np.ndarray | None = None
    relative: float = 0.0
    unseen: Finding | None = None
    gradient: np.ndarray | None = None
    wanted_gradient: np.ndarray | None = None
    weight: float = 1.0


def review_function(exercise: TensorFunction, answer: Any, draw: Draw) -> list[Finding]:
    """Return what is not right yet with an answer; nothing when it keeps the contract."""
    first = calling.not_callable(exercise.name, answer) or calling.wrong_signature(
        exercise.name, answer, exercise.parameters
    )
    if first:
        return [first]
    cases = exercise.cases(draw)
    trials = []
    for case in cases:
        trials.append(_try(exercise, answer, case, draw))
        if _is_hopeless(trials):
            break
    findings = _by_axis(trials)
    if not findings:
        findings = [*_device_findings(exercise, answer, cases[0]), *_repeat(answer, cases[0])]
    for device in accelerators():
        findings = findings or _try(exercise, answer, on_device(cases[0], device), draw).findings
    if not findings and exercise.properties:
        findings = list(exercise.properties(answer, draw))
    if any(finding.kind in ("shape", "values", "finite") for finding in findings):
        findings = [*findings, *_recognised(exercise, answer, trials)]
    return findings


def _is_hopeless(trials: Sequence[Trial]) -> bool:
    """Whether the plain inputs already show that nothing of use is returned."""
    kinds = {finding.kind for finding in trials[0].findings}
    return bool(kinds & {"written", "type"})


def _prepared(case: Case) -> dict[str, Any]:
    """Return the arguments as an answer gets them: copies, with gradients asked for."""
    arguments = {name: copied(value) for name, value in case.arguments.items()}
    tensors = tensors_in(arguments)
    for name in case.reaches:
        tensors[name].requires_grad_()
    return arguments


def _in_float64(arguments: Arguments) -> dict[str, Any]:
    def cast(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().to("cpu", torch.float64).contiguous()
        if isinstance(value, dict):
            return {key: cast(item) for key, item in value.items()}
        return value

    return {name: cast(value) for name, value in arguments.items()}


def _try(exercise: TensorFunction, answer: Callable, case: Case, draw: Draw) -> Trial:
    """Call the answer with one case and compare everything with the specification."""
    trial = Trial(case)
    arguments = _prepared(case)
    before = _state(arguments)
    outcome = calling.call(answer, arguments, case.keywords)
    if outcome.error is not None:
        finding = _explained(outcome.error, answer, case.words)
        if exercise.raised:
            finding = exercise.raised(outcome.error, case) or finding
        trial.findings.append(finding)
        return trial
    trial.findings += _changed_inputs(before, _state(arguments))
    exact = _prepared(Case(case.axis, _in_float64(case.arguments), case.words, case.reaches))
    expected = exercise.specification(**exact)
    trial.expected = compare.numbers(expected)
    like = next(iter(tensors_in(arguments).values()))
    trial.findings += result_kind(outcome.value, expected, like, exercise.shape_words)
    if not isinstance(outcome.value, Tensor):
        return trial
    trial.given = compare.numbers(outcome.value)
    if any(finding.kind == "shape" for finding in trial.findings):
        return trial
    trial.relative = compare.tolerance(like.dtype, like.device, exercise.operations(exact))
    if not np.isfinite(trial.given).all() and np.isfinite(trial.expected).all():
        text = f"the result for {case.words} holds nan or inf."
        trial.findings.append(Finding("finite", text, "not-finite"))
    elif not compare.same(trial.given, trial.expected, trial.relative, case.scale):
        trial.findings.append(_values_finding(exercise, trial))
    trial.findings += _gradient_findings(trial, outcome.value, expected, arguments, exact, draw)
    return trial


def result_kind(value: Any, expected: Tensor, like: Tensor, shape_words: str) -> Iterator[Finding]:
    """Yield what is wrong with the type, shape, dtype and device of a result."""
    if value is None:
        yield Finding("written", "it returns None; is there a return at the end?", "not-written")
        return
    if value is ...:
        yield Finding("written", "it returns ...; nothing is written there yet.", "not-written")
        return
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        text = (
            f"the result is of type {kind}; it must be a tensor, which a gradient can go through."
        )
        yield Finding("type", text, "wrong-type")
        return
    if value.shape != expected.shape:
        text = f"the result has shape {tuple(value.shape)}; it must be {shape_words}"
        text += f", {tuple(expected.shape)} here." if expected.dim() else "."
        yield Finding("shape", text, "wrong-shape")
    if value.dtype != like.dtype:
        given, wanted = (str(dtype).removeprefix("torch.") for dtype in (value.dtype, like.dtype))
        text = f"the input is {wanted}, the result {given}; the result must follow its input."
        yield Finding("dtype", text, "wrong-dtype")
    if value.device.type != like.device.type:
        text = f"the input is on device {like.device.type}, the result on {value.device.type}; "
        yield Finding("device", text + "the result must follow its input.", "wrong-device")


def _explained(error: BaseException, answer: Any, words: str) -> Finding:
    """Return the finding for an error, in the terms of a function that may not change its input."""
    finding = calling.explain(error, answer, words)
    if finding.cause == "leaf-changed-in-place" or "cannot resize variables" in str(error):
        text = f"the input was changed in place; inputs must stay as they are. {finding.text}"
        return Finding("inputs", text, "input-changed")
    return finding


@dataclass(frozen=True)
class _TensorState:
    tensor: Tensor
    values: np.ndarray
    requires_grad: bool
    has_gradient: bool


@dataclass(frozen=True)
class _State:
    """Everything about the inputs that a call must leave as it is."""

    tensors: Mapping[str, _TensorState]
    entries: Mapping[str, Any]


def _state(arguments: Arguments) -> _State:
    tensors = {
        name: _TensorState(t, compare.numbers(t), t.requires_grad, t.is_leaf and t.grad is not None)
        for name, t in tensors_in(arguments).items()
    }
    entries = {
        name: {key: "tensor" if isinstance(item, Tensor) else item for key, item in value.items()}
        for name, value in arguments.items()
        if isinstance(value, dict)
    }
    return _State(tensors, entries)


def _changed_inputs(before: _State, after: _State) -> Iterator[Finding]:
    for name, entries in before.entries.items():
        if entries != after.entries[name]:
            text = (
                f"the dictionary {name} is not as it was before the call; leave inputs as they are."
            )
            yield Finding("inputs", text, "argument-changed")
    for name in before.tensors.keys() & after.tensors.keys():
        old, new = before.tensors[name], after.tensors[name]
        if old.tensor is not new.tensor:
            text = f"{name} was replaced by the call; inputs must stay as they are."
            yield Finding("inputs", text, "argument-changed")
        elif not np.array_equal(old.values, new.values, equal_nan=True):
            text = f"{name} was changed by the call; inputs must stay as they are."
            yield Finding("inputs", text, "input-changed")
        elif old.requires_grad != new.requires_grad:
            text = f"the call switched on or off whether {name} asks for a gradient; leave it be."
            yield Finding("inputs", text, "input-changed")
        elif new.has_gradient and not old.has_gradient:
            text = f"a gradient was left in {name}; inputs must stay as they are."
            yield Finding("inputs", text, "input-changed")


def _values_finding(exercise: TensorFunction, trial: Trial) -> Finding:
    """Say how the values are wrong, with the numbers that help and never the right values."""
    ratio = compare.common_ratio(trial.given, trial.expected, trial.relative)
    words = trial.case.words
    whole = "the value is" if trial.expected.size == 1 else "every value is"
    if ratio is None:
        if trial.expected.size == 1:
            return Finding("values", f"the value for {words} is not right.")
        size = np.abs(trial.expected).max()
        wrong = np.abs(trial.given - trial.expected) > trial.relative * size
        text = f"{int(wrong.sum())} of {wrong.size} values for {words} are not right."
        return Finding("values", text)
    if ratio < 0 and abs(ratio + 1) < 1e-6:
        return Finding("values", f"{whole} right but for its sign, for {words}.", "negative")
    if ratio < 0:
        return Finding("values", f"{whole} {number(ratio)} times the right one for {words}.")
    share = ratio if ratio > 1 else 1 / ratio
    direction = "large" if ratio > 1 else "small"
    text = f"{whole} {number(share)} times too {direction} for {words}."
    return Finding("values", text)


def number(value: float) -> str:
    """Return a number as people write it: 60, 0.25, 1.41."""
    rounded = round(value)
    if rounded and abs(value - rounded) < 1e-4 * abs(value):
        return str(rounded)
    return f"{value:.3g}"


def _gradient_findings(
    trial: Trial,
    value: Tensor,
    expected: Tensor,
    arguments: Arguments,
    exact: Arguments,
    draw: Draw,
) -> Iterator[Finding]:
    """Yield whether and how gradients fail to reach the tensors they must reach."""
    case = trial.case
    if not case.reaches:
        return
    if not value.requires_grad:
        text = "no gradient flows back from the result: the connection to the picture is cut."
        yield Finding("gradient", text, "detached")
        return
    weights = torch.randn(expected.shape, dtype=torch.float64, generator=draw.generator)
    if expected.dim() == 0:
        trial.weight = float(weights)
    wanted = _gradients(expected, weights, exact, case.reaches)
    try:
        given = _gradients(value, weights.to(value), arguments, case.reaches)
    except RuntimeError as error:
        yield calling.explain(error, None, "a backward pass")
        return
    if all(gradient is not None for gradient in given.values()):
        trial.gradient = _joined(given)
        trial.wanted_gradient = _joined(wanted)
    right_values = not any(finding.kind in ("values", "finite") for finding in trial.findings)
    if not right_values:
        trial.unseen = _unseen(given, wanted)
    for name in case.reaches:
        if given[name] is None:
            text = f"no gradient reaches {name}: the connection is cut on the way."
            yield Finding("gradient", text, "detached")
        elif not np.isfinite(given[name]).all():
            text = f"the gradient of {name} is nan or inf for {case.words}."
            yield Finding("gradient", text, "not-finite")
        elif right_values and not compare.same(
            given[name], wanted[name], 4 * trial.relative, case.gradient_scale
        ):
            yield _wrong_gradient(name, given[name], wanted[name], trial.relative)


def _joined(gradients: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([gradient.ravel() for gradient in gradients.values()])


def _unseen(
    given: Mapping[str, np.ndarray | None], wanted: Mapping[str, np.ndarray]
) -> Finding | None:
    """Return a finding where whole images or positions have no influence on the result.

    A number that does not change the result has a gradient of exactly 0, whatever the formula.
    """
    for name, right in wanted.items():
        seen = given[name]
        if seen is None or right.ndim != 4 or not np.isfinite(seen).all() or not seen.any():
            continue
        images = seen.any(axis=(1, 2, 3))
        if not images.all():
            cause = "first-image-only" if images.sum() == 1 else "images-mixed"
            text = f"only {int(images.sum())} of {len(images)} images have any influence."
            return Finding("cause", text, cause)
        places = seen.any(axis=(0, 1))
        missed = int((~places & right.any(axis=(0, 1))).sum())
        if missed:
            text = f"{missed} of {places.size} positions of {name} have no influence on the result."
            return Finding("cause", text, "positions-missed")
        maps = seen.any(axis=(0, 2, 3))
        missed = int((~maps & right.any(axis=(0, 2, 3))).sum())
        if missed:
            text = f"{missed} of {maps.size} channels of {name} have no influence on the result."
            return Finding("cause", text, "positions-missed")
    return None


def _wrong_gradient(name: str, given: np.ndarray, wanted: np.ndarray, relative: float) -> Finding:
    if not given.any():
        text = f"the gradient that reaches {name} is 0: the connection is cut on the way."
        return Finding("gradient", text, "detached")
    ratio = compare.common_ratio(given, wanted, 4 * relative)
    part = f"{number(ratio)} of what it should be" if ratio else "not right"
    text = f"the values are right but the gradient of {name} is {part}: a part is cut off."
    return Finding("gradient", text, "detached")


def _gradients(
    result: Tensor, weights: Tensor, arguments: Arguments, names: Sequence[str]
) -> dict[str, np.ndarray | None]:
    tensors = tensors_in(arguments)
    gradients = torch.autograd.grad(
        (result * weights).sum(), [tensors[name] for name in names], allow_unused=True
    )
    return {
        name: None if gradient is None else compare.numbers(gradient)
        for name, gradient in zip(names, gradients, strict=True)
    }


def _by_axis(trials: Sequence[Trial]) -> list[Finding]:
    """Return the findings of the first failing trial, named after what sets it apart.

    Where plain inputs already fail, the difference between inputs explains nothing.
    """
    failing = [trial for trial in trials if trial.findings]
    if not failing:
        return []
    first = failing[0]
    axis = AXIS_CAUSES.get(first.case.axis)
    if first is trials[0] or axis is None:
        return first.findings
    cause, words = axis
    findings = list(first.findings)
    if first.case.axis in _TELLING_AXES:
        # That nothing of it reaches the picture follows from the same mistake.
        findings = [f for f in findings if f.kind != "gradient"] or findings
    only = findings[0]
    if only.kind == "values" or only.cause in _unclear_causes(first):
        findings[0] = Finding(
            only.kind, f"{only.text} It is {words.format(words=first.case.words)}", cause
        )
    return findings


def _unclear_causes(trial: Trial) -> tuple[str, ...]:
    """Return the causes that what sets this input apart explains better."""
    if trial.case.axis == "not square":
        return ("raises", "hard-coded-size", "wrong-shape")
    same_size = trial.given is not None and trial.given.size == trial.expected.size
    return ("raises",) if same_size else ("raises", "wrong-shape")


def _repeat(answer: Callable, case: Case) -> Iterator[Finding]:
    """Yield whether two calls with the same input differ."""
    if _same_twice(answer, case, with_same_chance=False):
        return
    if _same_twice(answer, case, with_same_chance=True):
        text = "two calls with the same input give different results: chance plays a part."
        yield Finding("behaviour", text, "random")
    else:
        text = "a second call with the same input goes another way: something is kept from before."
        yield Finding("behaviour", text, "shared-state")


def _same_twice(answer: Callable, case: Case, *, with_same_chance: bool) -> bool:
    """Whether two calls give the same; with the same chance, dice fall alike in both."""
    results = []
    with torch.random.fork_rng(devices=[]), _python_chance():
        for _ in range(2):
            if with_same_chance:
                torch.manual_seed(0)
                random.seed(0)
                np.random.seed(0)
            results.append(calling.call(answer, _prepared(case), case.keywords))
    if not all(isinstance(result.value, Tensor) for result in results):
        return False
    return np.array_equal(*(compare.numbers(r.value) for r in results), equal_nan=True)


@contextlib.contextmanager
def _python_chance() -> Iterator[None]:
    """Put the generators of ``random`` and NumPy back as they were."""
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)


class _Elsewhere(TorchDispatchMode):
    """Lets an answer look at numbers on the ``meta`` device, where there are none.

    An answer may print a value, or ask whether one is finite, without being wrong; every such
    question gets the same answer. What must fail, and does, is to compute on another device than
    the input's.
    """

    def __init__(self, truth: bool) -> None:
        super().__init__()
        self.truth = truth

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing here is compiled, and torch would import its compiler: a second or two.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        on_meta = bool(args) and isinstance(args[0], Tensor) and args[0].device.type == "meta"
        if on_meta and func is torch.ops.aten._local_scalar_dense.default:
            return type(0.5 if args[0].is_floating_point() else 1)(self.truth)
        if on_meta and func is torch.ops.aten.equal.default:
            return self.truth
        if on_meta and func is torch.ops.aten._to_copy.default:
            place = torch.device(kwargs.get("device") or "meta")
            if place.type != "meta":
                dtype = kwargs.get("dtype") or args[0].dtype
                return torch.zeros(args[0].shape, dtype=dtype, device=place)
        return func(*args, **kwargs)


@contextlib.contextmanager
def elsewhere(truth: bool = True) -> Iterator[None]:
    """Run an answer on the ``meta`` device: shapes, dtypes and devices without numbers.

    ``truth`` is what every question about a number there is answered with.
    """
    with _Elsewhere(truth):
        yield


def accelerators() -> list[str]:
    """Return the devices besides the CPU that can compute here: CUDA, or none."""
    return ["cuda"] if torch.cuda.is_available() else []


def wrong_there(given: Tensor, expected: Tensor, operations: int) -> Iterator[Finding]:
    """Yield whether a result's values are wrong on the device of ``expected``.

    On the CPU they were right. Nothing is compared on ``meta``, which holds no numbers, nor where
    the result is of another kind, which :func:`result_kind` tells.

    Args:
        given: the answer's result.
        expected: the right one, computed on the same device.
        operations: how many additions and multiplications lead to one number.
    """
    device = expected.device.type
    if device == "meta" or (given.shape, given.dtype) != (expected.shape, expected.dtype):
        return
    relative = compare.tolerance(expected.dtype, expected.device, operations)
    if not compare.same(compare.numbers(given), compare.numbers(expected), relative):
        text = f"the values are right on the CPU and wrong on device {device}."
        yield Finding("device", text, "wrong-device")


def on_device(case: Case, device: str) -> Case:
    """Return a case in float32 on another device."""

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, torch.float32)
        if isinstance(value, dict):
            return {key: moved(item) for key, item in value.items()}
        return value

    arguments = {name: moved(value) for name, value in case.arguments.items()}
    words = f"an input on device {device}"
    return replace(case, axis="device", arguments=arguments, words=words)


def _device_findings(exercise: TensorFunction, answer: Callable, case: Case) -> Iterator[Finding]:
    """Yield whether the result follows a device that is not the CPU."""
    arguments = on_device(case, "meta").arguments
    words = "an input on another device than the CPU"
    with elsewhere():
        outcome = calling.call(answer, arguments, case.keywords)
    if outcome.error is not None:
        # Perhaps it asked a question that only "no" lets pass, such as whether anything is nan.
        with elsewhere(truth=False):
            outcome = calling.call(answer, arguments, case.keywords)
    if outcome.error is not None:
        if isinstance(outcome.error, (AssertionError, ValueError)):
            return  # its own check of numbers that are not there says nothing about devices
        # On the CPU it worked, so the device or the dtype is what it does not follow.
        finding = calling.explain(outcome.error, answer, words)
        cause = "wrong-device" if finding.cause == "raises" else finding.cause
        yield Finding("device", finding.text, cause)
        return
    expected = exercise.specification(**_prepared(Case("", _in_float64(case.arguments), "")))
    like = next(iter(tensors_in(arguments).values()))
    yield from result_kind(outcome.value, expected, like, exercise.shape_words)


def _recognised(
    exercise: TensorFunction, answer: Callable, trials: Sequence[Trial]
) -> list[Finding]:
    """Return the hint of the mistake that explains every result, if there is one."""
    seen = [trial for trial in trials if trial.given is not None]
    wrong = [trial for trial in seen if not _is_right(trial)]
    failing = next(trial for trial in trials if trial.findings)
    if not wrong or failing.case.axis in _TELLING_AXES:
        return []
    if unsteady := [*_repeat(answer, seen[0].case), *_repeat(answer, wrong[-1].case)]:
        return [Finding("cause", unsteady[0].text, unsteady[0].cause)]
    if turned := _turned_round(wrong):
        return turned
    for mistake in exercise.mistakes:
        if _explains(mistake, seen, wrong):
            return [Finding("cause", mistake.hint, mistake.cause)]
    if _independent(answer, wrong[0]) and _independent(answer, wrong[-1]):
        return [Finding("cause", "the result is the same whatever comes in.", "constant")]
    if found := _recognised_factor(exercise, wrong):
        return found
    for mistake in exercise.mistakes:
        if _explains(mistake, seen, wrong, with_factor=True):
            return [Finding("cause", mistake.hint, mistake.cause)]
    found = _some_factor(exercise, wrong) or _shifted(wrong)
    if not found and wrong[0].unseen:
        found = [wrong[0].unseen]
    return found or _fixed_shape(seen) or _added_constant(wrong)


def _is_right(trial: Trial) -> bool:
    return compare.same(trial.given, trial.expected, trial.relative or 1e-6, trial.case.scale)


def _explains(
    mistake: Mistake, seen: Sequence[Trial], wrong: Sequence[Trial], *, with_factor: bool = False
) -> bool:
    """Whether the wrong formula gives what the answer gave, wherever both give something.

    With a factor, results may differ from the formula's by a number; then a result of a single
    value says nothing, and neither does one where the formula is the right one but for a number.
    """
    matched = set()
    for trial in seen:
        arguments = _in_float64(trial.case.arguments)
        try:
            with torch.no_grad():
                result = compare.numbers(mistake.formula(*arguments.values()))
        except (RuntimeError, IndexError, KeyError, ValueError, ZeroDivisionError):
            continue
        relative = 8 * (trial.relative or 1e-5)
        exactly = _same_with_nan(trial.given, result, relative, trial.case.scale)
        if with_factor:
            if result.size == 1 and trial.given.shape == result.shape:
                verdict = _explains_number(mistake, trial, result, relative)
                if verdict is False:
                    return False
                if verdict:
                    matched.add(id(trial))
                continue
            if not exactly and compare.common_ratio(trial.given, result, relative) is None:
                return False
            if not _is_multiple(result, trial.expected, relative):
                matched.add(id(trial))
        elif not exactly:
            return False
        else:
            matched.add(id(trial))
    return any(id(trial) in matched for trial in wrong)


def _explains_number(
    mistake: Mistake, trial: Trial, result: np.ndarray, relative: float
) -> bool | None:
    """Whether a single number and its gradient are a mistake's, both times the same number.

    Any number is a multiple of any other; it is the gradient that tells. None means it cannot.
    """
    if trial.gradient is None or trial.gradient.size < 2 or not result or not trial.case.reaches:
        return None
    arguments = _prepared(
        Case("", _in_float64(trial.case.arguments), "", reaches=trial.case.reaches)
    )
    loss = mistake.formula(*arguments.values())
    if not loss.requires_grad:
        return False
    found = _gradients(loss, torch.ones_like(loss), arguments, trial.case.reaches)
    if any(gradient is None for gradient in found.values()):
        return False
    gradient = _joined(found)
    if not np.isfinite(gradient).all() or not np.isfinite(trial.gradient).all():
        return False
    weight = trial.weight
    ratio = trial.given.item() / result.item()
    if not compare.same(trial.gradient, ratio * weight * gradient, 4 * relative):
        return False
    if not trial.expected:
        return None
    as_right = result.item() / trial.expected.item() * trial.wanted_gradient
    return None if compare.same(weight * gradient, as_right, 4 * relative) else True


def _is_multiple(given: np.ndarray, expected: np.ndarray, relative: float) -> bool:
    """Whether one array is the other, or the other times a number."""
    if compare.same(given, expected, relative):
        return True
    return compare.common_ratio(given, expected, relative) is not None


def _same_with_nan(given: np.ndarray, expected: np.ndarray, relative: float, scale: float) -> bool:
    if given.shape != expected.shape:
        return False
    if not np.array_equal(np.isnan(given), np.isnan(expected)):
        return False
    return compare.same(np.nan_to_num(given), np.nan_to_num(expected), relative, scale)


def _ratios(wrong: Sequence[Trial]) -> list[tuple[Trial, float]] | None:
    """Return how many times too large each wrong result is; None if one is wrong otherwise."""
    ratios = []
    for trial in wrong:
        ratio = compare.common_ratio(trial.given, trial.expected, trial.relative)
        if ratio is not None:
            ratios.append((trial, ratio))
        elif np.abs(trial.expected).max(initial=0.0) > 0:
            return None
    return ratios or None


def _recognised_factor(exercise: TensorFunction, wrong: Sequence[Trial]) -> list[Finding]:
    """Return the hint for a result that is wrong by a number that can be named."""
    ratios = _ratios(wrong)
    if ratios is None:
        return []
    for factor in exercise.factors:
        for power, (cause, hint) in ((1, factor.too_large), (-1, factor.too_small)):
            values = [factor.value(trial.case.arguments) ** power for trial, _ in ratios]
            if all(
                abs(ratio / value - 1) < 16 * trial.relative
                for value, (trial, ratio) in zip(values, ratios, strict=True)
            ):
                size = number(factor.value(ratios[0][0].case.arguments))
                meaning = "" if factor.words == size else f" ({size} = {factor.words} here)"
                return [Finding("cause", hint.format(factor=factor.words, meaning=meaning), cause)]
    return []


def _some_factor(exercise: TensorFunction, wrong: Sequence[Trial]) -> list[Finding]:
    """Return the hint for a result that is wrong by numbers without a name."""
    ratios = _ratios(wrong)
    if exercise.any_factor is None or ratios is None or any(ratio < 0 for _, ratio in ratios):
        return []
    # A result of one value always has a ratio; then the gradient has to have the same one.
    for trial, ratio in ratios:
        if trial.expected.size == 1 and not _gradient_has(ratio, trial):
            return []
    cause, hint = exercise.any_factor[0 if ratios[0][1] > 1 else 1]
    return [Finding("cause", hint, cause)]


def _gradient_has(ratio: float, trial: Trial) -> bool:
    if trial.gradient is None:
        return not trial.case.reaches
    return compare.same(trial.gradient, ratio * trial.wanted_gradient, 16 * trial.relative)


def _independent(answer: Callable, trial: Trial) -> bool:
    """Whether the result is the same for a quite different input."""

    def other(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.flip(-1) * 1.7 + 0.1 if value.dim() else value * 1.7 + 0.1
        if isinstance(value, dict):
            return {key: other(item) for key, item in value.items()}
        return value

    case = trial.case
    changed = {name: other(copied(value)) for name, value in case.arguments.items()}
    outcome = calling.call(answer, changed, case.keywords)
    return isinstance(outcome.value, Tensor) and np.array_equal(
        compare.numbers(outcome.value), trial.given
    )


def _turned_round(wrong: Sequence[Trial]) -> list[Finding]:
    """Return a finding when every result is right but for its sign."""
    turned = [
        compare.same(-trial.given, trial.expected, 4 * trial.relative, trial.case.scale)
        for trial in wrong
    ]
    return [Finding("cause", "a sign is turned round.", "negative")] if all(turned) else []


def _shifted(wrong: Sequence[Trial]) -> list[Finding]:
    """Return a finding when only the slope of the result is right, perhaps but for its sign."""
    signs = set()
    for trial in wrong:
        if trial.gradient is None or not trial.wanted_gradient.any():
            continue
        for sign in (1, -1):
            right = sign * trial.wanted_gradient
            relative = 16 * trial.relative
            if compare.same(trial.gradient, right, relative, trial.case.gradient_scale):
                if not compare.same(right, -right, relative, trial.case.gradient_scale):
                    signs.add(sign)
                break
        else:
            return []
    if signs == {-1}:
        text = "the result falls where it should rise: a sign is turned round."
        return [Finding("cause", text, "negative")]
    if signs == {1}:
        text = "the result is right but for something that is added to it."
        return [Finding("cause", text, "added-constant")]
    return []


def _fixed_shape(seen: Sequence[Trial]) -> list[Finding]:
    """Return a finding when a size of the result never changes though it should."""
    if len({(trial.given.ndim, trial.expected.ndim) for trial in seen}) > 1:
        return []
    if seen[0].given.ndim != seen[0].expected.ndim:
        return []
    for given, expected in zip(
        zip(*(trial.given.shape for trial in seen), strict=True),
        zip(*(trial.expected.shape for trial in seen), strict=True),
        strict=True,
    ):
        if len(set(given)) == 1 and len(set(expected)) > 1:
            text = f"one size of the result is {given[0]} whatever comes in; where is it from?"
            return [Finding("cause", text, "hard-coded-size")]
    return []


def _added_constant(wrong: Sequence[Trial]) -> list[Finding]:
    """Return a finding when the same number is added everywhere, or along the diagonal."""
    if not any(trial.given.size > 1 for trial in wrong):
        return []
    for trial in wrong:
        if trial.given.shape != trial.expected.shape:
            return []
        if trial.given.size == 1:
            continue
        difference = trial.given - trial.expected
        tiny = trial.relative * np.abs(trial.expected).max()
        changed = difference[np.abs(difference) > tiny]
        if changed.size < 2 or np.ptp(changed) > 2 * tiny:
            return []
    text = "the same small number is added to several values; nothing is added in the formula."
    return [Finding("cause", text, "added-constant")]
