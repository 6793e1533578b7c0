"""Reviewing an answer that is a function of tensors, against a specification of the same signature.

An exercise says how to draw inputs, what the right result is (a specification in plain loops), and
which wrong formulas people write. This module does the rest: it calls the answer with every input,
compares kind, shape, dtype, device, values and gradients, and looks for a mistake that explains all
of what it saw.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
        shape_words: what the shape of the result is called.
        properties: further checks, run when everything else is right.
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
    properties: Callable[[Callable, Draw], Iterator[Finding]] | None = None

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
    "again": ("shared-state", "right at first, wrong when called again: something is remembered."),
    "no gradient": ("needs-gradient", "wrong for {words}."),
    "device": ("wrong-device", "right on the CPU, wrong for {words}."),
}


@dataclass
class Trial:
    """One case, what the answer gave for it, what is right, and what is wrong with it."""

    case: Case
    findings: list[Finding] = field(default_factory=list)
    given: np.ndarray | None = None
    expected: np.ndarray | None = None
    relative: float = 0.0


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
    if not findings and exercise.properties:
        findings = list(exercise.properties(answer, draw))
    if any(finding.kind in ("shape", "values", "raises", "finite") for finding in findings):
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
    before = {name: compare.numbers(t) for name, t in tensors_in(arguments).items()}
    outcome = calling.call(answer, arguments, case.keywords)
    if outcome.error is not None:
        trial.findings.append(calling.explain(outcome.error, answer, case.words))
        return trial
    trial.findings += _changed_inputs(before, arguments)
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


def _changed_inputs(before: Mapping[str, np.ndarray], arguments: Arguments) -> Iterator[Finding]:
    after = tensors_in(arguments)
    for name, values in before.items():
        if name not in after:
            text = f"{name} was removed from the dictionary it came in; inputs must stay unchanged."
            yield Finding("inputs", text, "input-changed")
        elif not np.array_equal(values, compare.numbers(after[name]), equal_nan=True):
            text = f"{name} was changed by the call; inputs must stay as they are."
            yield Finding("inputs", text, "input-changed")
    if len(after) > len(before):
        text = "something was added to a dictionary given as input; inputs must stay unchanged."
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
    wanted = _gradients(expected, weights, exact, case.reaches)
    try:
        given = _gradients(value, weights.to(value), arguments, case.reaches)
    except RuntimeError as error:
        yield calling.explain(error, None, "a backward pass")
        return
    right_values = not any(finding.kind in ("values", "finite") for finding in trial.findings)
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
    only = findings[0]
    if only.kind in ("values", "shape") or (only.kind == "raises" and only.cause is None):
        findings[0] = Finding(
            only.kind, f"{only.text} It is {words.format(words=first.case.words)}", cause
        )
    return findings


def _repeat(answer: Callable, case: Case) -> Iterator[Finding]:
    """Yield whether two calls with the same input differ."""
    results = [calling.call(answer, _prepared(case), case.keywords) for _ in range(2)]
    if any(result.error is not None for result in results):
        text = "it works once and stops when called again: something is kept from call to call."
        yield Finding("behaviour", text, "shared-state")
    elif not np.array_equal(*(compare.numbers(result.value) for result in results)):
        text = "two calls with the same input give different results."
        yield Finding("behaviour", text, "random")


class _Elsewhere(TorchDispatchMode):
    """Lets an answer look at numbers on the ``meta`` device, where there are none.

    An answer may print a value without being wrong. What must fail, and does, is to compute on
    another device than the input's.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        on_meta = bool(args) and isinstance(args[0], Tensor) and args[0].device.type == "meta"
        if on_meta and func is torch.ops.aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else 1
        if on_meta and func is torch.ops.aten.equal.default:
            return True
        if on_meta and func is torch.ops.aten._to_copy.default:
            place = torch.device(kwargs.get("device") or "meta")
            if place.type != "meta":
                dtype = kwargs.get("dtype") or args[0].dtype
                return torch.zeros(args[0].shape, dtype=dtype, device=place)
        return func(*args, **kwargs)


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """Run an answer on the ``meta`` device: shapes, dtypes and devices without numbers."""
    with _Elsewhere():
        yield


def _device_findings(exercise: TensorFunction, answer: Callable, case: Case) -> Iterator[Finding]:
    """Yield whether the result follows an unusual dtype and a device that is not the CPU."""

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to("meta", torch.bfloat16)
        if isinstance(value, dict):
            return {key: moved(item) for key, item in value.items()}
        return value

    arguments = {name: moved(value) for name, value in case.arguments.items()}
    words = "an input on another device than the CPU, in bfloat16"
    with elsewhere():
        outcome = calling.call(answer, arguments, case.keywords)
    if outcome.error is not None:
        # On the CPU it worked, so the device or the dtype is what it does not follow.
        finding = calling.explain(outcome.error, answer, words)
        yield Finding("device", finding.text, finding.cause or "wrong-device")
        return
    expected = exercise.specification(**_prepared(Case("", _in_float64(case.arguments), "")))
    like = next(iter(tensors_in(arguments).values()))
    yield from result_kind(outcome.value, expected, like, exercise.shape_words)


def _recognised(
    exercise: TensorFunction, answer: Callable, trials: Sequence[Trial]
) -> list[Finding]:
    """Return the hint of the mistake that explains every result, if there is one."""
    seen = [trial for trial in trials if trial.given is not None and trial.relative >= 0]
    wrong = [trial for trial in seen if not _is_right(trial)]
    if not wrong:
        return []
    for mistake in exercise.mistakes:
        if _explains(mistake, seen, wrong):
            return [Finding("cause", mistake.hint, mistake.cause)]
    return _recognised_factor(exercise, wrong) or _constant(wrong)


def _is_right(trial: Trial) -> bool:
    return compare.same(trial.given, trial.expected, trial.relative or 1e-6, trial.case.scale)


def _explains(mistake: Mistake, seen: Sequence[Trial], wrong: Sequence[Trial]) -> bool:
    """Whether the wrong formula gives what the answer gave, wherever both give something."""
    matched = set()
    for trial in seen:
        arguments = _in_float64(trial.case.arguments)
        try:
            with torch.no_grad():
                result = compare.numbers(mistake.formula(*arguments.values()))
        except (RuntimeError, IndexError, KeyError, ValueError, ZeroDivisionError):
            continue
        relative = 8 * (trial.relative or 1e-5)
        if not _same_with_nan(trial.given, result, relative, trial.case.scale):
            return False
        matched.add(id(trial))
    return any(id(trial) in matched for trial in wrong)


def _same_with_nan(given: np.ndarray, expected: np.ndarray, relative: float, scale: float) -> bool:
    if given.shape != expected.shape:
        return False
    if not np.array_equal(np.isnan(given), np.isnan(expected)):
        return False
    return compare.same(np.nan_to_num(given), np.nan_to_num(expected), relative, scale)


def _recognised_factor(exercise: TensorFunction, wrong: Sequence[Trial]) -> list[Finding]:
    """Return the hint for a result that is wrong by a number that can be named."""
    ratios = []
    for trial in wrong:
        ratio = compare.common_ratio(trial.given, trial.expected, trial.relative)
        if ratio is None:
            # Equal to the right value where that is 0; anything else has no ratio at all.
            if np.abs(trial.expected).max(initial=0.0) > 0:
                return []
            continue
        ratios.append((trial, ratio))
    for factor in exercise.factors:
        for power, (cause, hint) in ((1, factor.too_large), (-1, factor.too_small)):
            values = [factor.value(trial.case.arguments) ** power for trial, _ in ratios]
            matches = [
                abs(ratio / value - 1) < 16 * trial.relative
                for value, (trial, ratio) in zip(values, ratios, strict=True)
            ]
            if matches and all(matches):
                size = number(factor.value(ratios[0][0].case.arguments))
                meaning = "" if factor.words == size else f" ({size} = {factor.words} here)"
                return [Finding("cause", hint.format(factor=factor.words, meaning=meaning), cause)]
    return []


def _constant(wrong: Sequence[Trial]) -> list[Finding]:
    """Return a finding when the result is the same whatever comes in."""
    shapes = {trial.given.shape for trial in wrong}
    values = {trial.given.tobytes() for trial in wrong}
    if len(wrong) > 2 and len(values) == 1 and len(shapes) == 1:
        return [Finding("cause", "the result is the same whatever comes in.", "constant")]
    return []
