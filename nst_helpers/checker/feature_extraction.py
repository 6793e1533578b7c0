"""Lesson 01: what an answer must satisfy in ``normalize``, ``freeze`` and the two activations.

ImageNet's mean and deviation: torchvision documentation, "Models and pre-trained weights".
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nst_helpers.checker import calling, compare, networks, watching
from nst_helpers.checker.activations import (
    Look,
    Runner,
    exact_modules,
    gradient_findings,
    habit,
    judged,
    operations,
    recognised,
)
from nst_helpers.checker.calling import REQUIRED
from nst_helpers.checker.draw import Draw, copied
from nst_helpers.checker.functions import (
    AXIS_CAUSES,
    Case,
    TensorFunction,
    accelerators,
    elsewhere,
    number,
    result_kind,
    wrong_there,
)
from nst_helpers.checker.report import Finding

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
COLOURS = ("red", "green", "blue")


# --- normalize -----------------------------------------------------------------------------------


def normalize(image: Tensor) -> Tensor:
    """Return (image_c - mean_c) / std_c for each channel c, written out; (1, 3, H, W) as given."""
    planes = []
    for c in range(3):
        rows = []
        for y in range(image.shape[2]):
            row = [(image[0, c, y, x] - MEAN[c]) / STD[c] for x in range(image.shape[3])]
            rows.append(torch.stack(row))
        planes.append(torch.stack(rows))
    return torch.stack(planes)[None]


def _normalize_cases(draw: Draw) -> list[Case]:
    side, h, w = draw.distinct(3, 4, 9)
    # The plainest asks for no gradient: what an answer changes in place is then seen as a change.
    drawn = (
        ("plain", side, side, torch.float64, "contiguous", False),
        ("again", side, side, torch.float64, "contiguous", False),
        ("gradient", side, side, torch.float64, "contiguous", True),
        ("not square", h, w, torch.float64, "contiguous", True),
        ("not square", w, h, torch.float64, "contiguous", True),
        ("other size", 1, w, torch.float64, "contiguous", True),
        ("float32", h, w, torch.float32, "contiguous", True),
        ("layout", h, w, torch.float32, "channels_last", True),
        ("layout", w, h, torch.float64, "strided", True),
    )
    cases = []
    for axis, height, width, dtype, layout, gradient in drawn:
        image = draw.image(height, width, dtype=dtype, layout=layout)
        words = image_words(image, layout)
        cases.append(Case(axis, {"image": image}, words, ("image",) if gradient else ()))
    return cases


_LAYOUT_WORDS = {
    "contiguous": "",
    "channels_last": " in channels_last",
    "strided": " with gaps in memory",
}


def image_words(image: Tensor, layout: str = "contiguous") -> str:
    """Return what a student would call this picture."""
    sizes = " x ".join(map(str, image.shape))
    kind = str(image.dtype).removeprefix("torch.")
    return f"a {sizes} image in {kind}{_LAYOUT_WORDS[layout]}"


_Constants = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

# Wrong formulas for one channel, as slope and level of a straight line: mean, std -> (k, d) of
# k x + d. Every formula that treats all pixels of a channel alike is one.
_LINES: tuple[tuple[str, str, _Constants], ...] = (
    (
        "unchanged",
        "the picture comes back as it was.",
        lambda m, s: (np.ones(3), np.zeros(3)),
    ),
    (
        "missing-mean",
        "the picture is divided, but nothing is subtracted from it.",
        lambda m, s: (1 / s, np.zeros(3)),
    ),
    (
        "missing-std",
        "the mean is subtracted, but nothing is divided.",
        lambda m, s: (np.ones(3), -m),
    ),
    (
        "swapped-mean-std",
        "mean and deviation have changed places: which is subtracted, and which divides?",
        lambda m, s: (1 / m, -s / m),
    ),
    (
        "swapped-mean-std",
        "the division comes first; the mean is subtracted from the picture as it is.",
        lambda m, s: (1 / s, -m),
    ),
    (
        "multiplied-by-std",
        "the picture is multiplied by the deviation: a channel that varies little would vary less.",
        lambda m, s: (s, -m * s),
    ),
    (
        "added-mean",
        "the mean is added: the channels would move away from 0.",
        lambda m, s: (1 / s, m / s),
    ),
    (
        "missing-brackets",
        "only the mean is divided, not the difference: which comes first, the minus or the slash?",
        lambda m, s: (np.ones(3), -m / s),
    ),
    (
        "inverse",
        "this is the way back, from a normalised picture to one in [0, 1].",
        lambda m, s: (s, m),
    ),
    (
        "inverse",
        "this is the way back, from a normalised picture to one in [0, 1], not quite: the order "
        "is another one.",
        lambda m, s: (s, m * s),
    ),
    (
        "variance-for-std",
        "every channel is divided by its variance: the deviation is squared once too often.",
        lambda m, s: (1 / s**2, -m / s**2),
    ),
    (
        "variance-for-std",
        "every channel is divided by the root of its deviation; the deviation is a root already.",
        lambda m, s: (s**-0.5, -m * s**-0.5),
    ),
    (
        "applied-twice",
        "the picture is normalised twice.",
        lambda m, s: (1 / s**2, -m / s**2 - m / s),
    ),
    (
        "negative",
        "every value has the wrong sign: what is subtracted from what?",
        lambda m, s: (-1 / s, m / s),
    ),
    (
        "range-255",
        "mean and deviation are those of a picture in 0 to 255; this one is in [0, 1].",
        lambda m, s: (1 / (255 * s), -m / s),
    ),
    (
        "range-255",
        "the picture is divided by 255 first; it is in [0, 1] already.",
        lambda m, s: (1 / (255 * s), -m / s),
    ),
    (
        "range-255",
        "the picture is multiplied by 255 first; mean and deviation are those of one in [0, 1].",
        lambda m, s: (255 / s, -m / s),
    ),
    (
        "range-255",
        "the result is multiplied by 255.",
        lambda m, s: (255 / s, -255 * m / s),
    ),
    (
        "range-255",
        "the result is divided by 255.",
        lambda m, s: (1 / (255 * s), -m / (255 * s)),
    ),
    (
        "range-255",
        "the mean is one of 0 to 255; the picture is in [0, 1].",
        lambda m, s: (1 / s, -255 * m / s),
    ),
)


@dataclass(frozen=True)
class _Lines:
    """What an answer does to each channel: ``k x + d`` of which channel."""

    source: tuple[int, ...]
    k: np.ndarray
    d: np.ndarray


def _lines(image: np.ndarray, given: np.ndarray, relative: float) -> _Lines | None:
    """Return the straight lines that make ``given`` of ``image``; None if there are none."""
    if image.shape != given.shape or not np.isfinite(given).all():
        return None
    found = [_line(image, given[0, c], c, relative) for c in range(3)]
    if any(line is None for line in found):
        return None
    sources, slopes, levels = zip(*found, strict=True)
    return _Lines(tuple(sources), np.array(slopes), np.array(levels))


def _line(
    image: np.ndarray, plane: np.ndarray, channel: int, relative: float
) -> tuple[int, float, float] | None:
    # Its own channel first: for a constant, every channel fits.
    for source in sorted(range(3), key=lambda other: other != channel):
        x = image[0, source]
        slope = float(((x - x.mean()) * (plane - plane.mean())).sum() / ((x - x.mean()) ** 2).sum())
        level = float(plane.mean() - slope * x.mean())
        if compare.same(plane, slope * x + level, relative, abs(slope) + abs(level)):
            return source, slope, level
    return None


@dataclass(frozen=True)
class _Normalize(TensorFunction):
    """The review of a function of tensors, and what a wrong answer does to each channel."""

    def review(self, answer: Any, draw: Draw) -> list[Finding]:
        """Return what is not right yet with an answer; nothing when it keeps the contract."""
        first = not_a_function(self.name, answer, self.parameters)
        if first:
            return [first]
        findings = guarded(lambda: super(_Normalize, self).review(answer, draw))
        kinds = {finding.kind for finding in findings}
        if any(finding.cause == "shared-state" for finding in findings):
            # What is remembered looks like many other mistakes.
            return [finding for finding in findings if finding.kind != "cause"]
        if kinds == {"device"} and _only_looks(answer, draw):
            return []
        if kinds & {"shape", "values", "raises", "dtype"} and not kinds & {"written", "inputs"}:
            hint = _normalize_habit(answer, draw)
            if hint:
                findings = [finding for finding in findings if finding.kind != "cause"]
                findings.append(hint)
        return findings


class _NothingTrue(TorchDispatchMode):
    """Answers every question about numbers on the ``meta`` device with no.

    The checker's own way there answers yes. An answer may ask, as torchvision does whether a
    deviation is 0, and whichever way it is told, it must follow its input.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # The other answer makes torch import its compiler, which takes about a second.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        asks = func is torch.ops.aten._local_scalar_dense.default
        if asks and args[0].device.type == "meta" and args[0].dtype == torch.bool:
            return False
        return func(*args, **(kwargs or {}))


def _only_looks(answer: Callable, draw: Draw) -> bool:
    """Whether an answer follows its input's device when what it asks there is answered with no."""
    image = draw.image(4, 5).to("meta", torch.bfloat16)
    with elsewhere(), _NothingTrue():
        outcome = calling.call(answer, {"image": image})
    return outcome.error is None and not list(result_kind(outcome.value, image, image, ""))


def _normalize_habit(answer: Callable, draw: Draw) -> Finding | None:
    """Return what a wrong answer does to every picture, if that can be seen."""

    def call(image: Tensor) -> Any:
        return calling.call(answer, {"image": copied(image)}).value

    images = [draw.image(h, w) for h, w in ((5, 8), (5, 8), (9, 6))]
    results = [call(image) for image in images[:2]]
    if not all(isinstance(result, Tensor) for result in results):
        return _size_it_needs(call, draw)
    if not all(result.dtype in (torch.float32, torch.float64) for result in results):
        return None
    return (
        _another_shape(images[0], results[0])
        or habit(call, images)
        or _channel_habit(images[:2], results)
        or _own_measure(call, images[0])
        or _mixed_channels(call, images[0])
    )


def _size_it_needs(call: Callable[[Tensor], Any], draw: Draw) -> Finding | None:
    """Return which pictures an answer works for that stops with others."""
    # What runs only where a side is three, as many as the channels, takes a side for them.
    for size, words in (((5, 3), "width"), ((3, 5), "height")):
        if isinstance(call(draw.image(*size)), Tensor):
            return _wrong_axis(words)
    if all(isinstance(call(draw.image(side, side)), Tensor) for side in (5, 8)):
        text = "it works for square pictures only: which of the two sizes is used twice?"
        return Finding("cause", text, "square-assumed")
    for side in (224, 256, 512):
        if isinstance(call(draw.image(side, side)), Tensor):
            text = f"it works for {side} x {side} pictures only; the size comes with the picture."
            return Finding("cause", text, "hard-coded-size")
    return None


def _another_shape(image: Tensor, result: Tensor) -> Finding | None:
    """Return that the right numbers came with their dimensions in another order or number."""
    right = _normalized(compare.numbers(image))
    given = compare.numbers(result)
    if given.shape != right.shape and given.size == right.size:
        if compare.same(given.ravel(), right.ravel(), 1e-5):
            text = "the numbers are right, but in a shape of another number of dimensions."
            return Finding("cause", text, "wrong-shape")
        squeezed = given.reshape([size for size in given.shape if size > 1])
        for order in itertools.permutations(range(3)):
            if compare.same(squeezed, right[0].transpose(order), 1e-5):
                swapped = order == (0, 2, 1)
                text = "the numbers are right, but the dimensions stand in another order."
                return Finding("cause", text, "square-assumed" if swapped else "wrong-shape")
    return None


def _normalized(image: np.ndarray) -> np.ndarray:
    shape = (1, 3, 1, 1)
    return (image - np.reshape(MEAN, shape)) / np.reshape(STD, shape)


def _own_measure(call: Callable[[Tensor], Any], image: Tensor) -> Finding | None:
    """Return that a picture is measured by itself, or rounded: seen by changing it a little."""
    first, darker, moved = (call(picture) for picture in (image, image * 0.5, image + 1e-6))
    if not all(isinstance(result, Tensor) for result in (first, darker, moved)):
        return None
    first, darker, moved = map(compare.numbers, (first, darker, moved))
    if compare.same(darker, first, 1e-4):
        text = "a picture half as bright gives the same result: it is measured by itself, but "
        return Finding("cause", f"{text}ImageNet's numbers are the same for all.", "own-statistics")
    if first.shape == moved.shape and (first == moved).mean() > 0.9:
        text = "the picture's values are rounded on the way, and no gradient gets over a step."
        return Finding("cause", text, "detached")
    return None


def _mixed_channels(call: Callable[[Tensor], Any], image: Tensor) -> Finding | None:
    """Return that a channel depends on another one."""
    other = image.clone()
    other[:, 2] = image[:, 2].flip(-1)
    first, second = call(image), call(other)
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)) or first.dim() != 4:
        return None
    if np.array_equal(compare.numbers(first)[:, 0], compare.numbers(second)[:, 0]):
        return None
    text = "red changes when only the picture's blue does; each channel goes by itself."
    return Finding("cause", text, "channels-mixed")


def _wrong_axis(words: str) -> Finding:
    text = f"the three numbers run along the {words}; they belong to the channels, dimension 1."
    return Finding("cause", text, "wrong-axis")


def _channel_habit(images: Sequence[Tensor], results: Sequence[Any]) -> Finding | None:
    """Return what two results say about what is done to each channel."""
    if not all(isinstance(result, Tensor) for result in results):
        return None
    inputs = [compare.numbers(image) for image in images]
    outputs = [compare.numbers(result) for result in results]
    relative = max(8 * compare.tolerance(result.dtype, "cpu", 16) for result in results)
    lines = [_lines(x, y, relative) for x, y in zip(inputs, outputs, strict=True)]
    if None in lines:
        return _no_straight_line(inputs[0], outputs[0], relative)
    first, second = lines
    if not _alike(first, second, relative):
        text = "each picture is measured with numbers of its own; ImageNet's are the same for all."
        return Finding("cause", text, "own-statistics")
    return _line_habit(first, 64 * relative)


def _alike(a: _Lines, b: _Lines, relative: float) -> bool:
    return np.allclose(a.k, b.k, rtol=64 * relative) and np.allclose(
        a.d, b.d, rtol=64 * relative, atol=64 * relative
    )


def _line_habit(lines: _Lines, relative: float) -> Finding | None:
    mean, std = np.array(MEAN), np.array(STD)

    def same(k: np.ndarray, d: np.ndarray) -> np.ndarray:
        size = np.abs(k) + np.abs(d)
        near = (np.abs(lines.k - k) < relative * size) & (np.abs(lines.d - d) < relative * size)
        return near

    reversed_text = "red and blue have changed places: in which order do the channels come?"
    if lines.source == (2, 1, 0):
        return Finding("cause", reversed_text, "bgr-order")
    if lines.source != (0, 1, 2):
        text = "the channels of the picture have changed places."
        return Finding("cause", text, "bgr-order")
    if same(1 / std[::-1], -mean[::-1] / std[::-1]).all():
        return Finding("cause", reversed_text, "bgr-order")
    for cause, hint, formula in _LINES:
        if same(*formula(mean, std)).all():
            return Finding("cause", hint, cause)
    right = same(1 / std, -mean / std)
    for cause, hint, formula in _LINES:
        if (right | same(*formula(mean, std))).all() and not right.all():
            names = " and ".join(np.array(COLOURS)[~right])
            cause = "missing-channel" if cause == "unchanged" else cause
            return Finding("cause", f"in {names}: {hint}", cause)
    return _constants(lines, right)


def _constants(lines: _Lines, right: np.ndarray) -> Finding | None:
    """Return what an answer's lines amount to as mean and deviation."""
    if right.all() or not np.all(lines.k):
        return None
    parts = [
        f"{COLOURS[c]} subtracts {number(-lines.d[c] / lines.k[c])} and divides by "
        f"{number(1 / lines.k[c])}"
        for c in np.flatnonzero(~right)
    ]
    text = f"{'; '.join(parts)}: that is not ImageNet's mean and deviation."
    return Finding("cause", text, "other-constants")


def _no_straight_line(image: np.ndarray, given: np.ndarray, relative: float) -> Finding | None:
    """Return why a result is not the same straight line for all pixels of a channel."""
    if given.shape != image.shape:
        return None
    right = _normalized(image)
    if not np.isfinite(given).all():
        return None
    inside = (given > given.min()) & (given < given.max())
    kept = np.clip(right, given.min(), given.max())
    if compare.same(given, kept, relative) and inside.any():
        text = "values beyond some limit were cut off; a normalised picture goes below 0 and "
        return Finding("cause", f"{text}above 1.", "clamped")
    if compare.same(given, np.abs(right), relative):
        text = "negative values lost their sign; what is darker than the mean is below 0."
        return Finding("cause", text, "absolute")
    if compare.same(given[:, :, :, ::-1], right, relative) or compare.same(
        given[:, :, ::-1], right, relative
    ):
        return Finding("cause", "the picture is mirrored.", "mirrored")
    ranks = [np.argsort(array[0].reshape(3, -1), axis=1) for array in (given, right)]
    if np.array_equal(*ranks):
        text = "brighter stays brighter, but equal steps do not stay equal: something bends them."
        return Finding("cause", text, "extra-function")
    for axis, words in ((3, "width"), (2, "height")):
        if _line_along(image, given, axis, relative):
            return _wrong_axis(words)
    return None


def _line_along(image: np.ndarray, given: np.ndarray, axis: int, relative: float) -> bool:
    """Whether every column (axis 3) or every row (axis 2) has a straight line of its own."""
    x, y = (np.moveaxis(array[0], axis - 1, 1) for array in (image, given))
    x, y = (array - array.mean(axis=2, keepdims=True) for array in (x, y))
    slopes = (x * y).sum(axis=2, keepdims=True) / (x * x).sum(axis=2, keepdims=True)
    return compare.same(y, slopes * x, relative, float(np.abs(given).max()))


NORMALIZE = _Normalize(
    name="normalize",
    parameters={"image": REQUIRED},
    specification=normalize,
    cases=_normalize_cases,
    operations=lambda arguments: 16,
    summary=(
        "Values, gradient, dtype and device agree with ImageNet's mean and deviation for square "
        "and elongated pictures."
    ),
    shape_words="the picture's own shape",
)


# --- freeze --------------------------------------------------------------------------------------


class _Observed(nn.Sequential):
    """A network that notes when its mode is set."""

    def __init__(self, *modules: nn.Module) -> None:
        self.modes: list[bool] = []
        super().__init__(*modules)

    def train(self, mode: bool = True) -> _Observed:
        self.modes.append(mode)
        return super().train(mode)


class _Scaled(nn.Module):
    """A module with parameters of its own beside those of the modules in it."""

    def __init__(self, inner: nn.Module, channels: int) -> None:
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(torch.ones(channels, 1, 1, dtype=torch.float64))

    def forward(self, image: Tensor) -> Tensor:
        """Return the inner module's output, each channel times a number."""
        return self.scale * self.inner(image)


def _nested(draw: Draw) -> _Observed:
    """Return a network of networks with batch norm, dropout, and parameters of many names."""
    first, second = draw.distinct(2, 2, 5)
    inner = nn.Sequential(
        networks.convolution(draw, first, second),
        nn.BatchNorm2d(second, dtype=torch.float64),
        nn.Sequential(nn.Dropout(0.5), networks.convolution(draw, second, second)),
    )
    model = _Observed(
        networks.convolution(draw, 3, first),
        nn.BatchNorm2d(first, dtype=torch.float64),
        nn.ReLU(),
        _Scaled(inner, second),
        nn.Dropout(0.2),
        networks.convolution(draw, second, 3),
    )
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(networks.drawn_numbers(draw, tuple(tensor.shape)).abs() * 0.1)
    return model


@dataclass(frozen=True)
class _FreezeCase:
    model: nn.Sequential
    words: str


def _freeze_cases(draw: Draw) -> list[_FreezeCase]:
    partly = _nested(draw)
    partly.train().requires_grad_(True)
    partly[3].inner[1].requires_grad_(False)
    fresh = _nested(draw)
    fresh.train().requires_grad_(True)
    fresh[3].eval()
    frozen = _nested(draw)
    frozen.eval().requires_grad_(False)
    vgg = networks.small_vgg19(draw).train().requires_grad_(True)
    single = networks.small_vgg19(draw, until=draw.integer(2, 9), dtype=torch.float32)
    single.train().requires_grad_(True)
    return [
        _FreezeCase(partly, "a network with batch norm, dropout and networks inside"),
        _FreezeCase(vgg, "a small VGG-19"),
        _FreezeCase(fresh, "a network of which a part is in evaluation mode"),
        _FreezeCase(single, "a short network in float32"),
        _FreezeCase(frozen, "a network that is frozen already"),
    ]


def _freeze_elsewhere(draw: Draw) -> Iterator[_FreezeCase]:
    for device in accelerators():
        model = networks.small_vgg19(draw, until=draw.integer(2, 9), dtype=torch.float32)
        model.to(device).train().requires_grad_(True)
        yield _FreezeCase(model, f"a short network on device {device}")


@dataclass(frozen=True)
class _Freeze:
    """The review of ``freeze(model)``."""

    name: str = "freeze"
    summary: str = (
        "Networks inside networks are in evaluation mode, none of their parameters asks for a "
        "gradient, and nothing else has changed."
    )

    def review(self, answer: Any, draw: Draw) -> list[Finding]:
        """Return what is not right yet with an answer; nothing when it keeps the contract."""
        first = not_a_function(self.name, answer, {"model": REQUIRED})
        return [first] if first else guarded(lambda: self._tried(answer, draw))

    def _tried(self, answer: Callable, draw: Draw) -> list[Finding]:
        seen: list[nn.Module] = []
        for position, case in enumerate((*_freeze_cases(draw), *_freeze_elsewhere(draw))):
            findings = _freeze_findings(answer, case, seen)
            seen.append(case.model)
            if findings:
                return [*findings, *self._remembered(answer, draw, position)]
        return []

    def _remembered(self, answer: Callable, draw: Draw, position: int) -> Iterator[Finding]:
        """Yield that something is kept from call to call, where the first model went well once."""
        if position and _freeze_findings(answer, _freeze_cases(draw)[0], []):
            text = "it works once and no more when called again: something is kept between calls."
            yield Finding("cause", text, "shared-state")


def _freeze_findings(
    answer: Callable, case: _FreezeCase, seen: Sequence[nn.Module]
) -> list[Finding]:
    """Return what is wrong with one model after the call, and with what came back."""
    model = case.model
    before = watching.record(model)
    if isinstance(model, _Observed):
        model.modes.clear()
    findings: list[Finding] = []
    with watching.no_global_hooks(findings):
        outcome = calling.call(answer, {"model": model})
    if outcome.error is not None:
        return [stopped(outcome.error, answer, case.words)]
    findings += _returned_model(outcome.value, model, seen)
    findings += watching.changes(before, model, freezing=True)
    findings += _gradients_off(before, model)
    findings += _mode_off(before, model)
    nothing = all(
        [
            outcome.value is None or outcome.value is ...,
            any(before.training.values()),
            all(module.training == before.training[n] for n, module in model.named_modules()),
        ]
    )
    if nothing and any(finding.cause == "still-trainable" for finding in findings):
        text = "nothing happens to the model and nothing comes back; is anything written there yet?"
        return [Finding("written", text, "not-written")]
    return findings


def _returned_model(value: Any, model: nn.Module, seen: Sequence[nn.Module]) -> Iterator[Finding]:
    if value is model:
        return
    if value is None or value is ...:
        text = f"it returns {value!r}; the model has to come back at the end."
        yield Finding("type", text, "returns-nothing")
    elif any(value is other for other in seen):
        text = "the model of an earlier call comes back: something is kept between calls."
        yield Finding("type", text, "shared-state")
    elif isinstance(value, nn.Module):
        text = "another model comes back than the one given; freeze that one and return it."
        yield Finding("type", text, "returns-copy")
    else:
        text = f"the result is of type {type(value).__name__}; it must be the model itself."
        yield Finding("type", text, "wrong-type")


def _gradients_off(before: watching.Record, model: nn.Module) -> Iterator[Finding]:
    now = {name: p.requires_grad for name, p in model.named_parameters()}
    asking = [name for name, asks in now.items() if asks]
    if not asking:
        return
    woken = [name for name in asking if name in before.parameters]
    woken = [name for name in woken if not before.parameters[name].requires_grad]
    asked = [name for name, held in before.parameters.items() if held.requires_grad]
    of = f"{len(asking)} of {len(now)} parameters"
    if woken:
        text = f"{woken[0]} asked for no gradient before the call and asks for one after it."
        yield Finding("model", text, "unfreezes")
    elif set(asked) <= set(asking):
        text = f"{of} still ask for a gradient: none was switched off."
        yield Finding("model", text, "still-trainable")
    else:
        text = f"{of} still ask for a gradient, {asking[0]} for one."
        yield Finding("model", text, "partly-frozen")


def _mode_off(before: watching.Record, model: nn.Module) -> Iterator[Finding]:
    training = [name for name, module in model.named_modules() if module.training]
    if not training:
        return
    was_set = isinstance(model, _Observed) and False in model.modes
    if was_set or not any(before.training.values()):
        text = "the model was in evaluation mode and is in training mode again after the call."
        yield Finding("model", text, "eval-undone")
    elif len(training) == len(before.modules):
        text = "the model is still in training mode, with everything in it."
        yield Finding("model", text, "not-eval")
    else:
        text = f"{watching.part(training[0])} is still in training mode, other parts are not."
        yield Finding("model", text, "not-eval")


FREEZE = _Freeze()


# --- activation, activation_with_hook ------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A model, and what it takes to judge activations from it.

    Attributes:
        model: what answers are given.
        exact: copies of its modules in float64.
        words: what to call it.
        before: a record of the model.
    """

    model: nn.Sequential
    exact: Sequence[nn.Module]
    words: str
    before: watching.Record

    @classmethod
    def of(cls, model: nn.Sequential, words: str) -> Place:
        """Return the place of a model as it is now."""
        return cls(model, exact_modules(model), words, watching.record(model))


@dataclass(frozen=True)
class _Ask:
    """One activation to ask for.

    Attributes:
        axis: what sets this one apart, as for :class:`~nst_helpers.checker.functions.Case`.
        place: the model.
        image: the picture.
        index: of the module whose output is asked for.
        layout: of the picture in memory.
        gradient: whether the picture asks for a gradient.
    """

    axis: str
    place: Place
    image: Tensor
    index: int
    layout: str = "contiguous"
    gradient: bool = True

    @property
    def words(self) -> str:
        """Return what a student would call this."""
        return f"module {self.index} of {self.place.words}"


def _asks(draw: Draw) -> list[_Ask]:
    """Return activations to ask for, the plainest first."""
    side, h, w = draw.distinct(3, 33, 41)
    vgg = Place.of(networks.small_vgg19(draw), "a small VGG-19")
    square = [draw.image(side, side) * 4 - 2 for _ in range(2)]
    oblong = draw.activation(3, h, w)
    convolutions = [k for k, m in enumerate(vgg.model) if isinstance(m, nn.Conv2d) and k > 4]
    deep, conv = draw.shuffled(convolutions)[:2]
    relu = 1 + draw.pick(convolutions)
    asks = [
        _Ask("plain", vgg, square[0], deep, gradient=False),
        _Ask("again", vgg, square[1], deep, gradient=False),
        *(
            _Ask("gradient", vgg, oblong, index)
            for index in (
                conv,
                relu,
                draw.pick((4, 9, 18, 27)),
                36,
                draw.integer(29, 35),
                0,
                draw.integer(1, 3),
            )
        ),
    ]
    marked = Place.of(networks.marked(draw), "a network whose modules leave marks")
    last = len(marked.model) - 1
    high, wide = draw.distinct(2, 4, 9)
    asks += [
        _Ask("other model", marked, draw.activation(3, high, wide), index)
        for index in (draw.integer(3, 9), 0, last, draw.integer(10, last - 1))
    ]
    mixed = Place.of(networks.mixed(draw), "a network of other modules")
    asks += [
        _Ask("other model", mixed, draw.activation(3, 2 * high + 1, 2 * wide), index)
        for index in (len(mixed.model) - 1, *draw.distinct(2, 1, len(mixed.model) - 2))
    ]
    end = draw.pick((19, 21, 23, 25, 28))
    cut = Place.of(
        networks.small_vgg19(draw, until=end, dtype=torch.float32),
        f"a VGG-19 cut behind module {end}",
    )
    single = draw.activation(3, w, h, dtype=torch.float32)
    asks.append(_Ask("float32", cut, single, draw.integer(1, end - 1)))
    asks.append(_Ask("float32", cut, single, end))
    for layout in ("channels_last", "strided"):
        image = draw.activation(3, h, w, dtype=torch.float32, layout=layout)
        asks.append(_Ask("layout", cut, image, draw.integer(5, end), layout))
    return asks


@dataclass
class Seen:
    """What calls of an answer have shown so far.

    Attributes:
        findings: what is wrong, call by call: the axis and the findings.
        looks: every activation that came back.
        right: how many calls showed nothing wrong.
        ruined: whether the model was changed, so that later calls tell nothing.
    """

    findings: list[tuple[str, list[Finding]]] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    right: int = 0
    ruined: bool = False

    def add(self, axis: str, findings: list[Finding]) -> None:
        """Note what one call has shown."""
        if findings:
            self.findings.append((axis, findings))
            self.ruined |= any(finding.kind in ("model", "written") for finding in findings)
        else:
            self.right += 1

    def told(self) -> list[Finding]:
        """Return what the first wrong call showed, named after what sets it apart."""
        if not self.findings:
            return []
        axis, findings = self.findings[0]
        only = findings[0]
        unnamed = only.kind in ("values", "shape") or only.cause == "raises"
        # Right for everything plainer, and wrong for nothing else: the axis is what it is about.
        if self.right and unnamed and all(other == axis for other, _ in self.findings):
            cause, words = _AXES.get(axis, (None, ""))
            if cause:
                text = f"{only.text} It is {words}"
                return [replace(only, text=text, cause=cause), *findings[1:]]
        return findings


_AXES = {
    axis: (cause, words.format(words="this one"))
    for axis, (cause, words) in AXIS_CAUSES.items()
    if axis in ("again", "float32", "layout")
} | {
    "other model": (
        "hard-coded-model",
        "right for VGG-19 and wrong for a network of other modules or another length.",
    )
}


@dataclass(frozen=True)
class _Activation:
    """The review of ``activation(image, model, index)``, with or without a hook."""

    name: str
    summary: str
    by_hook: bool = False

    def review(self, answer: Any, draw: Draw) -> list[Finding]:
        """Return what is not right yet with an answer; nothing when it keeps the contract."""
        parameters = {"image": REQUIRED, "model": REQUIRED, "index": REQUIRED}
        first = not_a_function(self.name, answer, parameters)
        return [first] if first else guarded(lambda: self._tried(answer, draw))

    def _tried(self, answer: Callable, draw: Draw) -> list[Finding]:
        seen = Seen()
        for ask in _asks(draw):
            seen.add(ask.axis, _asked(answer, ask, seen.looks))
            if seen.ruined:
                break
        findings = seen.told()
        if seen.right and findings and findings[0].text.startswith("it returns None"):
            findings = [_sometimes_none(ask), *findings[1:]]
        if not findings:
            findings = [*_in_place(answer, draw)]
            for device in ("meta", *accelerators()):
                findings = findings or _elsewhere(answer, draw, device)
        if self.by_hook and not seen.ruined:
            findings += _hook_findings(answer, draw)
        if not any(finding.cause == "shared-state" for finding in findings):
            findings += self._hints(answer, draw, seen)
        return findings

    def _hints(self, answer: Callable, draw: Draw, seen: Seen) -> list[Finding]:
        """Return what explains the wrong results, if anything does."""
        wrong = [f for _, found in seen.findings for f in found]
        if any(f.kind in ("inputs", "model") for f in wrong):
            return []
        if not any(f.kind in ("shape", "values", "raises", "finite") for f in wrong):
            return []
        marked = networks.marked(draw)
        index = draw.integer(3, 9)
        images = [draw.activation(3, h, w) for h, w in ((5, 8), (5, 8), (9, 6))]

        def call(image: Tensor) -> Any:
            arguments = {"image": copied(image), "model": marked, "index": index}
            return calling.call(answer, arguments).value

        if found := habit(call, images):
            return [found]
        found = recognised(seen.looks) or scrambled(seen.looks)
        if found and found.cause in ("one-early", "misses-last") and self.by_hook:
            found = _input_of_hook(answer, draw) or found
        return [found] if found else []


def _sometimes_none(ask: _Ask) -> Finding:
    """Return what to say of an answer that gives something for other modules."""
    text = f"it returns None for {ask.words} and a tensor for others: which way has no return?"
    last = ask.index == len(ask.place.model) - 1
    return Finding("type", text, "misses-last" if last else "not-written")


def _asked(answer: Callable, ask: _Ask, looks: list[Look]) -> list[Finding]:
    """Return what is wrong with one activation; add it to the looks."""
    image = copied(ask.image).requires_grad_(ask.gradient)
    findings: list[Finding] = []
    with watching.no_global_hooks(findings):
        arguments = {"image": image, "model": ask.place.model, "index": ask.index}
        outcome = calling.call(answer, arguments)
    findings += watching.changes(ask.place.before, ask.place.model)
    words = f"{ask.words} and {image_words(ask.image, ask.layout)}"
    if outcome.error is not None:
        return [*findings, stopped(outcome.error, answer, words)]
    findings += image_changes(ask.image, image, ask.gradient)
    runner = Runner(ask.place.exact, compare_image(ask.image))
    return findings + activation_findings(
        outcome.value, image, runner, ask.index, ask.words, looks=looks, gradient=ask.gradient
    )


def compare_image(image: Tensor) -> Tensor:
    """Return a picture as a :class:`Runner` needs it."""
    return image.detach().to(torch.float64).contiguous()


def activation_findings(
    value: Any,
    image: Tensor,
    runner: Runner,
    index: int,
    words: str,
    *,
    looks: list[Look],
    gradient: bool,
    asked: tuple[int, ...] = (),
    names: Callable[[int], str] | None = None,
) -> list[Finding]:
    """Return what is wrong with one activation an answer gave; add it to ``looks``.

    Args:
        value: what the answer gave; anything.
        image: the picture it was given.
        runner: the model and the picture, in float64.
        index: of the module whose output was asked for.
        words: what was asked for.
        looks: gets the activation, if it is one.
        gradient: whether a gradient has to reach the picture.
        asked: the indices of everything asked for in the same call.
        names: what to call a module, see :func:`~nst_helpers.checker.activations.judged`.
    """
    expected = runner.tensor(range(index + 1))
    findings = list(result_kind(value, expected, image, "what that module gives"))
    if not isinstance(value, Tensor):
        return findings
    if not value.is_floating_point():
        return findings
    count = operations(runner.modules, index)
    relative = max(compare.tolerance(kind, "cpu", count) for kind in (value.dtype, image.dtype))
    look = Look(runner, index, compare.numbers(value), relative, asked)
    looks.append(look)
    if look.given.shape == compare.numbers(expected).shape:
        findings += judged(look, words, names=names)
    if gradient:
        compared = value.dtype == image.dtype == torch.float64
        findings += gradient_findings(value, image, look, words, compared=compared)
    return findings


def image_changes(before: Tensor, after: Tensor, gradient: bool) -> Iterator[Finding]:
    """Yield whether a call changed the picture it was given."""
    if before.shape != after.shape or not np.array_equal(
        compare.numbers(before), compare.numbers(after)
    ):
        text = "image was changed by the call; inputs must stay as they are."
        yield Finding("inputs", text, "input-changed")
    elif after.requires_grad is not gradient:
        text = "the call switched on or off whether image asks for a gradient; leave it be."
        yield Finding("inputs", text, "input-changed")
    elif after.is_leaf and after.grad is not None:
        text = "a gradient was left in image; inputs must stay as they are."
        yield Finding("inputs", text, "input-changed")


def _in_place(answer: Callable, draw: Draw) -> Iterator[Finding]:
    """Yield what is wrong on a model whose ReLUs work in place.

    The course's models work out of place, so it is no fault if the next module overwrote what was
    kept.
    """
    model = networks.small_vgg19(draw, inplace=True)
    place_ = Place.of(model, "a VGG-19 with ReLUs in place")
    image = draw.activation(3, draw.integer(33, 40), draw.integer(33, 40))
    for index in (draw.pick((5, 10, 19, 21, 28)), draw.pick((6, 12, 18, 29))):
        looks: list[Look] = []
        ask = _Ask("in place", place_, image, index, gradient=False)
        findings = _asked(answer, ask, looks)
        overwritten = looks and looks[0].fits(looks[0].runner.upto(index + 1))
        rest = [finding for finding in findings if finding.kind != "values" or not overwritten]
        if rest:
            yield from rest
            return


def _elsewhere(answer: Callable, draw: Draw, device: str) -> list[Finding]:
    """Return whether the result follows a device that is not the CPU."""
    image, model, words = somewhere(draw, device)
    index = len(model) - 2
    with elsewhere():
        outcome = calling.call(answer, {"image": image, "model": model, "index": index})
        expected = model[: index + 1](image)
    if outcome.error is not None:
        return [stopped_elsewhere(outcome.error, answer, words)]
    return list(activation_elsewhere(outcome.value, expected, image, model))


def somewhere(draw: Draw, device: str) -> tuple[Tensor, nn.Sequential, str]:
    """Return a picture, a short network, both on a device, and what to call them.

    Nothing is computed on ``meta``, so there the dtype is one that is rarely met.
    """
    dtype = torch.bfloat16 if device == "meta" else torch.float32
    model = networks.small_vgg19(draw, until=draw.integer(6, 12)).to(device, dtype)
    image = draw.activation(3, 17, 12).to(device, dtype)
    place = "another device than the CPU" if device == "meta" else f"device {device}"
    kind = str(dtype).removeprefix("torch.")
    return image, model, f"an image and a model on {place}, in {kind}"


def activation_elsewhere(
    value: Any, expected: Tensor, image: Tensor, model: nn.Sequential
) -> Iterator[Finding]:
    """Yield what is wrong with an activation on another device, where the CPU's was right."""
    kind = list(result_kind(value, expected, image, "what that module gives"))
    yield from kind
    if not kind:
        yield from wrong_there(value, expected, operations(list(model), len(model) - 1))


def stopped_elsewhere(error: BaseException, answer: Callable, words: str) -> Finding:
    """Return the finding for an error on another device, where the CPU raised none."""
    finding = calling.explain(error, answer, words)
    cause = finding.cause if finding.cause not in (None, "raises") else "wrong-device"
    return Finding("device", finding.text, cause)


def _hook_findings(answer: Callable, draw: Draw) -> Iterator[Finding]:
    """Yield whether a forward hook does the work, and none of its kind stays or goes."""
    model = networks.marked(draw)
    notes = watching.watch_hooks(model)
    index = draw.integer(2, len(model) - 2)
    image = draw.activation(3, 5, 7)
    calling.call(answer, {"image": image, "model": model, "index": index})
    if not any(kind == "forward" for _, kind in notes):
        text = "no forward hook was registered on any module; the contract asks for one."
        yield Finding("behaviour", text, "hook-not-used")
        return
    yield from _foreign_hook(answer, draw)
    yield from _after_error(answer, draw)


def _foreign_hook(answer: Callable, draw: Draw) -> Iterator[Finding]:
    """Yield whether a hook that somebody else had registered is gone."""
    model = networks.marked(draw)
    for module in model:
        module.register_forward_hook(_someone_elses)
    before = watching.record(model)
    arguments = {"image": draw.activation(3, 5, 7), "model": model, "index": 3}
    if calling.call(answer, arguments).error is None:
        yield from watching.changes(before, model)


def _someone_elses(module: nn.Module, inputs: tuple, output: Tensor) -> None:
    """Do nothing, as a hook that counts calls would."""


def _after_error(answer: Callable, draw: Draw) -> Iterator[Finding]:
    """Yield whether a hook stays behind when the model raises, before or behind the module."""
    for place_, index in ((4, 7), (9, 2), (11, 11)):
        model = networks.failing(draw, place_)
        before = watching.record(model)
        arguments = {"image": draw.activation(3, 5, 7), "model": model, "index": index}
        calling.call(answer, arguments)
        if any(finding.cause == "hook-left" for finding in watching.changes(before, model)):
            text = (
                f"when module {place_} of the model raises an error, the hook on module {index} "
                "stays behind; what runs even after an error?"
            )
            yield Finding("behaviour", text, "hook-left-after-error")
            return


def _input_of_hook(answer: Callable, draw: Draw) -> Finding | None:
    """Return that a hook keeps its module's input, if it does so on the last module."""
    model = networks.marked(draw)
    notes = watching.watch_hooks(model)
    last = len(model) - 1
    image = draw.activation(3, 5, 7)
    value = calling.call(answer, {"image": image, "model": model, "index": last}).value
    runner = Runner(exact_modules(model), image)
    if not isinstance(value, Tensor) or not any(where == last for where, _ in notes):
        return None
    if compare.same(compare.numbers(value), runner.upto(last - 1), 1e-6):
        text = "the hook keeps what goes into a module; a hook is also given what comes out."
        return Finding("cause", text, "takes-hook-input")
    return None


def scrambled(looks: Sequence[Look]) -> Finding | None:
    """Return that the right numbers came in another shape, or only some of them."""
    wrong = [look for look in looks if not look.right]
    if not wrong:
        return None
    expected = [look.runner.upto(look.index) for look in wrong]
    pairs = list(zip(wrong, expected, strict=True))
    if all(
        look.given.size == right.size
        and compare.same(look.given.ravel(), right.ravel(), look.relative)
        for look, right in pairs
    ):
        text = "the numbers are right, their shape is not: an activation has four dimensions."
        return Finding("cause", text, "wrong-shape")
    if all(
        look.given.ndim == 4 and compare.same(look.given, right[:, :1], look.relative)
        for look, right in pairs
    ):
        text = "only the first channel came back; an activation has them all."
        return Finding("cause", text, "first-channel-only")
    if all(_gram(look, right) for look, right in pairs):
        text = "these are products of feature maps, not the feature maps themselves."
        return Finding("cause", text, "gram-for-activation")
    return None


def _gram(look: Look, right: np.ndarray) -> bool:
    rows = right.reshape(right.shape[1], -1)
    given = look.given.reshape(look.given.shape[-2:]) if look.given.ndim in (2, 3) else look.given
    product = rows @ rows.T
    return (
        given.shape == product.shape
        and compare.common_ratio(given, product, look.relative) is not None
    ) or compare.same(given, product, 1e-6)


def stopped(error: BaseException, answer: Callable, words: str) -> Finding:
    """Return the finding for an error, in the terms of a lesson whose inputs stay unchanged."""
    finding = calling.explain(error, answer, words)
    if finding.cause == "leaf-changed-in-place":
        text = f"the image was changed in place; inputs must stay as they are. {finding.text}"
        return Finding("inputs", text, "input-changed")
    if finding.cause == "hard-coded-size" and isinstance(error, IndexError):
        return replace(finding, cause="raises")
    return finding


def not_a_function(exercise: str, answer: Any, parameters: Mapping[str, Any]) -> Finding | None:
    """Return what is wrong with an answer before it is called, or None.

    A module whose ``forward`` takes the promised arguments is an answer; a network is not.
    """
    first = calling.not_callable(exercise, answer)
    if first is None and isinstance(answer, nn.Module):
        if calling.wrong_signature(exercise, answer.forward, parameters):
            kind = type(answer).__name__
            text = f"{exercise} is a network of type {kind}; give the function you wrote."
            return Finding("callable", text, "not-a-function")
        return None
    return (
        first
        or calling.wrong_signature(exercise, answer, parameters)
        or _by_name_only(exercise, answer, parameters)
    )


def _by_name_only(exercise: str, answer: Callable, parameters: Mapping[str, Any]) -> Finding | None:
    """Return that a promised argument can be given by name only, or None."""
    try:
        given = inspect.signature(answer).parameters
    except (TypeError, ValueError):
        return None
    for name in parameters:
        if name in given and given[name].kind is inspect.Parameter.KEYWORD_ONLY:
            text = f"the argument {name} of {exercise} must also be taken without its name."
            return Finding("arguments", text, "wrong-arguments")
    return None


def guarded(review: Callable[[], list[Finding]], wanted: str = "a plain tensor") -> list[Finding]:
    """Return a review's findings; what cannot even be looked at is a finding, too."""
    try:
        return review()
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        text = f"the result cannot be examined ({type(error).__name__}); it must be {wanted}."
        return [Finding("type", text, "wrong-type")]


ACTIVATION = _Activation(
    name="activation",
    summary=(
        "It is the output of the module asked for, first, last or between, in VGG-19 and in other "
        "networks, and its gradient reaches the picture."
    ),
)

ACTIVATION_WITH_HOOK = _Activation(
    name="activation_with_hook",
    summary=(
        "It is the output of the module asked for, its gradient reaches the picture, and no hook "
        "stays behind, even after an error."
    ),
    by_hook=True,
)

EXERCISES = (NORMALIZE, FREEZE, ACTIVATION, ACTIVATION_WITH_HOOK)
