"""Lesson 05: what an answer must satisfy in ``make_target`` and the exercises around the loop.

``make_target`` is tried with pictures of every kind. ``make_objective`` is compared, value and
gradient, with its formula; where they differ, the gradient is written as a sum of the terms that
should be there, and how much of each there is says what went wrong. ``optimize`` is compared with
Adam written out, and watched while it runs: every evaluation, backward pass and step is noted.
``optimize_lbfgs`` may choose its settings, so it is judged by what its optimiser was given.

Sources: Gatys, Ecker and Bethge 2016, equations 1 to 7; Kingma and Ba 2015, Algorithm 1; PyTorch
documentation, ``torch.optim.Adam`` and ``torch.optim.LBFGS``.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

from nst_helpers.checker import calling, compare, watching
from nst_helpers.checker.calling import REQUIRED
from nst_helpers.checker.draw import Draw, copied, in_layout
from nst_helpers.checker.functions import elsewhere, number, result_kind
from nst_helpers.checker.networks import small_vgg19
from nst_helpers.checker.report import Finding


@dataclass(frozen=True)
class Exercise:
    """An exercise with a flow of its own.

    Attributes:
        name: in the table of exercises.
        parameters: name -> default, ``REQUIRED`` where there is none.
        summary: what was tried, for the sentence that says all is well.
        examine: yields what is not right yet with an answer that can be called.
    """

    name: str
    parameters: Mapping[str, Any]
    summary: str
    examine: Callable[[Callable, Draw], list[Finding]]

    def review(self, answer: Any, draw: Draw) -> list[Finding]:
        """Return what is not right yet with an answer; nothing when it keeps the contract."""
        try:
            return self._review(answer, draw)
        except Exception as error:
            # Objects can be so odd that even their name or error text raises when it is asked for.
            kind = type(error).__name__
            text = f"this answer does something that stops its review with {kind}."
            return [Finding("raises", text, "raises")]

    def _review(self, answer: Any, draw: Draw) -> list[Finding]:
        first = calling.not_callable(self.name, answer) or calling.wrong_signature(
            self.name, answer, self.parameters
        )
        if first:
            return [first]
        # An answer may switch gradients off for good; what is tried next must not suffer from it.
        # Numbers that run away are reported in words, not as numpy's warnings.
        with torch.enable_grad(), np.errstate(all="ignore"):
            return self.examine(answer, draw)


def _stopped(error: BaseException, answer: Any, words: str) -> Finding:
    """Return what to say about an answer that raised; every such finding has a cause."""
    finding = calling.explain(error, answer, words)
    return replace(finding, cause=finding.cause or "raises")


def _hint(cause: str, text: str) -> Finding:
    return Finding("cause", text, cause)


# --------------------------------------------------------------------------------------------------
# make_target
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Picture:
    """A content picture, and what sets it apart in a student's words."""

    words: str
    content: Tensor


def _pictures(draw: Draw) -> list[_Picture]:
    """Return contents that differ in dtype, layout and in how they came to be."""
    h, w = draw.distinct(2, 3, 6)

    def numbers(dtype: torch.dtype = torch.float64, layout: str = "contiguous") -> Tensor:
        # Of both signs and beyond 1, as a normalised picture is: a clamp must show.
        return draw.activation(3, h, w, dtype=dtype, layout=layout)

    wide = draw.activation(3, h, w + 4)
    asks = numbers().requires_grad_()
    computed = numbers(torch.float32).requires_grad_() * 2
    return [
        _Picture("a plain picture", numbers()),
        _Picture("a picture in float32", numbers(torch.float32)),
        _Picture("a picture that itself requires a gradient", asks),
        _Picture("a picture that was computed from another tensor", computed),
        _Picture("a part of a larger picture", wide[..., 2 : w + 2]),
        _Picture("a picture in channels_last", numbers(torch.float32, "channels_last")),
        _Picture("a picture with gaps in memory", numbers(layout="strided")),
    ]


def _examine_make_target(answer: Callable, draw: Draw) -> list[Finding]:
    plain, *others = _pictures(draw)
    findings = list(_target_findings(answer, plain)) or list(_two_targets(answer, draw))
    for picture in others:
        findings = findings or list(_target_findings(answer, picture))
    return findings or list(_target_elsewhere(answer, draw))


def _target_findings(answer: Callable, picture: _Picture) -> Iterator[Finding]:
    """Yield what is wrong with the target made from one picture."""
    content, words = picture.content, picture.words
    before, state = compare.numbers(content), _state(content)
    outcome = calling.call(answer, {"content": content})
    if outcome.error is not None:
        yield _stopped(outcome.error, answer, words)
        return
    target = outcome.value
    if target is content:
        text = "the target is content itself under another name: moving one moves the other."
        yield Finding("inputs", text, "same-object")
        return
    if not np.array_equal(compare.numbers(content), before):
        text = f"the values of content were changed by the call, with {words}."
        yield Finding("inputs", text, "content-changed")
    elif _state(content) != state:
        text = "content asks for a gradient where it did not before, or the other way round; "
        text += f"it must be left as it was, with {words}."
        yield Finding("inputs", text, "content-changed")
    kinds = list(result_kind(target, content, content, "the shape of content"))
    yield from kinds
    if not isinstance(target, Tensor):
        return
    yield from _leaf_findings(target, words)
    if not kinds:
        yield from _copy_findings(answer, picture, target, before)
    if target.numel() == content.numel():
        yield from _memory_findings(target, content, words)


def _state(content: Tensor) -> tuple[Any, ...]:
    return content.requires_grad, content.is_leaf, content.shape, content.dtype


def _leaf_findings(target: Tensor, words: str) -> Iterator[Finding]:
    if not target.requires_grad:
        text = f"the target does not require a gradient, with {words}: nothing could move it."
        yield Finding("gradient", text, "no-gradient-asked")
    elif not target.is_leaf:
        text = (
            f"the target is the result of a computation that is still remembered, with {words}; "
            "an optimiser moves only a tensor that stands on its own."
        )
        yield Finding("gradient", text, "not-a-leaf")


def _copy_findings(
    answer: Callable, picture: _Picture, target: Tensor, before: np.ndarray
) -> Iterator[Finding]:
    """Yield how the values of the target differ from those of the content."""
    given, words = compare.numbers(target), picture.words
    if np.array_equal(given, before):
        return
    wrong = int((given != before).sum())
    yield Finding("values", f"{wrong} of {given.size} values differ from content, with {words}.")
    if _is_scaled(given, before) or _is_clamped(given, before):
        yield _hint("scaled-or-clamped", "the values were scaled or limited on the way.")
    elif given.max() == given.min():
        yield _hint("noise", "every value is the same: the start here is the content, not a blank.")
    elif _is_remembered(answer, picture.content, given):
        text = "another picture gets the very same target: something is remembered."
        yield _hint("shared-state", text)
    else:
        yield _hint("noise", "the start here is a copy of the content, without anything added.")


def _is_remembered(answer: Callable, content: Tensor, given: np.ndarray) -> bool:
    other = calling.call(answer, {"content": content.detach().flip(-1) + 1}).value
    return isinstance(other, Tensor) and np.array_equal(compare.numbers(other), given)


def _is_scaled(given: np.ndarray, before: np.ndarray) -> bool:
    """Whether each channel is a multiple of the content's plus a constant."""
    for channel, original in zip(given[0], before[0], strict=True):
        if np.ptp(channel) == 0:
            return False
        columns = np.stack([original.ravel(), np.ones(original.size)], axis=1)
        fit, *_ = np.linalg.lstsq(columns, channel.ravel(), rcond=None)
        if np.abs(columns @ fit - channel.ravel()).max() > 1e-5 * np.abs(channel).max():
            return False
    return True


def _is_clamped(given: np.ndarray, before: np.ndarray) -> bool:
    """Whether all values are the content's or one of two bounds, several of them at a bound."""
    changed = given[given != before]
    kept = (given == before).sum()
    return bool(kept) and set(np.unique(changed)) <= {given.min(), given.max()}


def _memory_findings(target: Tensor, content: Tensor, words: str) -> Iterator[Finding]:
    """Yield whether moving the target moves the content: the one test that leaves no way out."""
    before = compare.numbers(content)
    with torch.no_grad():
        try:
            target.detach().add_(1)
        except RuntimeError as error:
            yield _stopped(error, None, "a first step on the target")
            return
    if not np.array_equal(compare.numbers(content), before):
        text = f"moving the target also moves content, with {words}: both use the same memory."
        yield Finding("inputs", text, "not-cloned")


def _two_targets(answer: Callable, draw: Draw) -> Iterator[Finding]:
    """Yield whether two targets of pictures of one size are independent of each other."""
    first, second = (draw.activation(3, 4, 5) for _ in range(2))
    targets = []
    for content in (first, second, second):
        outcome = calling.call(answer, {"content": content})
        if outcome.error is not None:
            yield _stopped(outcome.error, answer, "a second picture")
            return
        targets.append(outcome.value)
    for target, content in zip(targets, (first, second, second), strict=True):
        if not np.array_equal(compare.numbers(target), compare.numbers(content)):
            text = "a second picture of the same size gets the target of the first one."
            yield Finding("behaviour", text, "shared-state")
            return
    with torch.no_grad():
        targets[1].detach().add_(1)
    if not np.array_equal(compare.numbers(targets[2]), compare.numbers(second)):
        text = "two targets made from the same picture are one tensor: something is remembered."
        yield Finding("behaviour", text, "shared-state")


def _target_elsewhere(answer: Callable, draw: Draw) -> Iterator[Finding]:
    """Yield whether the target follows its content to a device that is not the CPU."""
    content = draw.image(4, 5, dtype=torch.float32).to("meta")
    with elsewhere():
        outcome = calling.call(answer, {"content": content})
    if outcome.error is not None:
        finding = _stopped(outcome.error, answer, "a picture on another device than the CPU")
        # On the CPU it worked, so the device is what it does not follow.
        cause = "wrong-device" if finding.cause == "raises" else finding.cause
        yield Finding("device", finding.text, cause)
        return
    yield from result_kind(outcome.value, content, content, "the shape of content")


# --------------------------------------------------------------------------------------------------
# make_objective
# --------------------------------------------------------------------------------------------------

# The six layers of Gatys, Ecker and Bethge 2016, section 3, by their index in VGG-19's features.
LAYERS = {0: "conv1_1", 5: "conv2_1", 10: "conv3_1", 19: "conv4_1", 21: "conv4_2", 28: "conv5_1"}
CONTENT_LAYER = 21
STYLE_NAMES = tuple(name for index, name in LAYERS.items() if index != CONTENT_LAYER)
_INDEX = {name: index for index, name in LAYERS.items()}
# The picture itself, before any module.
_PIXELS = -1


def _activations(image: Tensor, model: nn.Sequential) -> dict[int, Tensor]:
    """Return the output of every module by its index, and the picture itself."""
    outputs = {_PIXELS: image}
    x = image
    for index, module in enumerate(model):
        x = module(x)
        outputs[index] = x
    return outputs


def _gram(activation: Tensor) -> Tensor:
    """G_ij = sum over positions p of F_ip F_jp; (1, C, H, W) -> (C, C)."""
    maps = activation[0]
    return torch.stack([(one * maps).sum(dim=(1, 2)) for one in maps])


def _mean_square(difference: Tensor) -> Tensor:
    return (difference * difference).sum() / difference.numel()


def _layer_loss(target: Tensor, style: Tensor) -> Tensor:
    """mean((G - A)^2) / (C H W), sizes of the target's activation."""
    _, channels, height, width = target.shape
    return _mean_square(_gram(target) - _gram(style)) / (channels * height * width)


@dataclass(frozen=True)
class _Settings:
    """The numbers an objective is made with."""

    alpha: float
    beta: float
    weights: Mapping[str, float]


@dataclass
class _Scene:
    """Pictures and a model, what a student would call them, and some targets to try."""

    words: str
    content: Tensor
    style: Tensor
    model: nn.Sequential
    settings: _Settings
    targets: list[Tensor]
    # What an answer means that is wrong in this scene and right in those before it.
    only_here: tuple[str, str] | None = None
    # The same in float64, for the specification; the answer never sees them.
    exact: nn.Sequential = field(init=False)
    outputs: dict[str, dict[int, Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        self.exact = copy.deepcopy(self.model).to(torch.float64).requires_grad_(False)
        with torch.no_grad():
            self.outputs = {
                "content": _activations(_in_float64(self.content), self.exact),
                "style": _activations(_in_float64(self.style), self.exact),
            }
        self._measured: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._losses: dict[int, list[float]] = {}

    @functools.cached_property
    def found(self) -> list[dict[int, Tensor]]:
        """What each module gives for each of the targets."""
        with torch.no_grad():
            return [_activations(_in_float64(target), self.exact) for target in self.targets]

    def layer_losses(self, index: int) -> list[float]:
        """Return the style loss of one module's output for each of the targets."""
        if index not in self._losses:
            style = self.outputs["style"][index]
            self._losses[index] = [float(_layer_loss(f[index], style)) for f in self.found]
        return self._losses[index]

    @property
    def relative(self) -> float:
        """What rounding may change: some thirty layers of a few dozen products each.

        In float64 all of that is far below the rounding of one float32 constant.
        """
        plain = self.content.dtype == torch.float64
        return compare.tolerance(self.content.dtype, self.content.device, 16 if plain else 4096)

    def terms(self, target: Tensor) -> list[Tensor]:
        """Return the content term, then the style term of each layer of ``LAYERS``, unweighted."""
        found = _activations(target, self.exact)
        content, style = self.outputs["content"], self.outputs["style"]
        first = _mean_square(found[CONTENT_LAYER] - content[CONTENT_LAYER])
        return [first, *(_layer_loss(found[index], style[index]) for index in LAYERS)]

    def measured(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the terms at one of the targets, and their gradients, one a row."""
        if place not in self._measured:
            target = _in_float64(self.targets[place]).requires_grad_()
            terms = self.terms(target)
            values = np.array([float(term.detach()) for term in terms])
            gradients = [torch.autograd.grad(term, target, retain_graph=True)[0] for term in terms]
            rows = np.stack([compare.numbers(gradient).ravel() for gradient in gradients])
            self._measured[place] = values, rows
        return self._measured[place]


def _in_float64(image: Tensor) -> Tensor:
    return image.detach().to("cpu", torch.float64).contiguous().clone()


def _amounts(settings: _Settings) -> np.ndarray:
    """Return how much of each term the loss holds: alpha, then beta times each layer's weight."""
    weights = [settings.beta * settings.weights.get(name, 0) for name in LAYERS.values()]
    return np.array([settings.alpha, *weights], dtype=np.float64)


@dataclass
class _Made:
    """An objective an answer made with some settings, and what it gave."""

    settings: _Settings
    function: Callable
    values: list[float] = field(default_factory=list)
    gradient: np.ndarray | None = None


class _Wrong(Exception):
    """Carries findings out of the middle of a flow; nothing after them could be tried."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__()
        self.findings = list(findings)


def _make(answer: Callable, scene: _Scene, settings: _Settings, *, given: bool = False) -> Any:
    """Return the objective an answer makes; raise ``_Wrong`` where it makes none.

    ``given`` hands over the scene's own pictures and model instead of copies.
    """
    content, style = scene.content, scene.style
    model = scene.model
    if not given:
        content, style, model = copied(content), copied(style), copy.deepcopy(model)
    arguments = {
        "content": content,
        "style": style,
        "model": model,
        "alpha": settings.alpha,
        "beta": settings.beta,
        "style_weights": dict(settings.weights),
    }
    if given:
        arguments["style_weights"] = settings.weights
    outcome = calling.call(answer, arguments)
    if outcome.error is not None:
        raise _Wrong(_stopped(outcome.error, answer, scene.words))
    _require_function(outcome.value)
    return outcome.value


def _require_function(value: Any) -> None:
    """Raise ``_Wrong`` unless ``value`` can be called with a target."""
    if value is None or value is ...:
        text = f"it returns {value!r}; is there a return at the end?"
        raise _Wrong(Finding("written", text, "not-written"))
    if inspect.isclass(value) or not callable(value):
        kind = "tensor" if isinstance(value, Tensor) else f"value of type {type(value).__name__}"
        text = f"it returns a {kind}; return a function that gives the loss of any target."
        raise _Wrong(Finding("type", text, "returns-value"))
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError:
        text = f"the function it returns takes {signature}; it is called with the target alone."
        raise _Wrong(Finding("arguments", text, "wrong-arguments")) from None


def _loss(function: Callable, target: Tensor, answer: Callable, words: str) -> Tensor:
    """Return the loss of a target; raise ``_Wrong`` where there is none that could be used."""
    outcome = calling.call(function, {"target": target})
    if outcome.error is not None:
        raise _Wrong(_stopped(outcome.error, answer, f"the loss of a target, with {words}"))
    value = outcome.value
    if value is None or value is ...:
        text = "the function it returns gives None; is there a return at its end?"
        raise _Wrong(Finding("written", text, "returns-nothing"))
    if isinstance(value, Tensor) and value.dim() and value.numel() > 1:
        text = f"the loss has shape {tuple(value.shape)}; it must be a single number."
        raise _Wrong(Finding("shape", text, "not-reduced"))
    findings = list(result_kind(value, torch.zeros(()), target, "a single number"))
    if not isinstance(value, Tensor):
        raise _Wrong(*findings)
    findings = [replace(finding, text=f"the loss: {finding.text}") for finding in findings]
    if findings:
        raise _Wrong(*findings)
    return value


def _tried(answer: Callable, scene: _Scene, settings: _Settings, function: Callable) -> _Made:
    """Return what an objective gives: its values at all targets, its gradient at the first."""
    made = _Made(settings, function)
    for place, picture in enumerate(scene.targets):
        target = copied(picture).requires_grad_()
        before = compare.numbers(target)
        value = _loss(function, target, answer, scene.words)
        made.values.append(float(compare.numbers(value)))
        if not np.array_equal(compare.numbers(target), before) or not target.requires_grad:
            text = "the target was changed by taking its loss; only an optimiser may move it."
            raise _Wrong(Finding("inputs", text, "input-changed"))
        if place == 0:
            made.gradient = _gradient(function, value, target, answer)
    return made


def _fixed(function: Callable, target: Tensor) -> Iterator[Finding]:
    """Yield a hint where another target has the same loss."""
    first, second = (
        calling.call(function, {"target": picture}).value for picture in (target, 2 * target + 1)
    )
    if all(isinstance(value, Tensor) for value in (first, second)) and torch.equal(first, second):
        yield _hint("target-fixed", _FIXED)


_FIXED = "every target has the same loss; which picture does the function look at?"


def _gradient(function: Callable, value: Tensor, target: Tensor, answer: Callable) -> np.ndarray:
    if not value.requires_grad:
        text = "no gradient flows back from the loss: the connection to the target is cut."
        raise _Wrong(Finding("gradient", text, "detached"), *_fixed(function, target))
    try:
        gradient = torch.autograd.grad(value, target, allow_unused=True)[0]
    except RuntimeError as error:
        raise _Wrong(_stopped(error, answer, "a backward pass")) from None
    if gradient is None:
        return np.zeros(target.numel())
    return compare.numbers(gradient).ravel()


def _is_right(made: _Made, scene: _Scene) -> bool:
    return all(_right_values(made, scene)) and _right_gradient(made, scene)


def _right_values(made: _Made, scene: _Scene) -> list[bool]:
    amounts = _amounts(made.settings)
    return [
        compare.same(np.array(value), np.array(amounts @ scene.measured(place)[0]), scene.relative)
        for place, value in enumerate(made.values)
    ]


def _right_gradient(made: _Made, scene: _Scene) -> bool:
    amounts = _amounts(made.settings)
    gradients = amounts[:, None] * scene.measured(0)[1]
    if scene.content.dtype != torch.float64:
        # A pool or a ReLU that chooses between two nearly equal numbers may choose the other one
        # for a different rounding, which changes the gradient of a few pixels altogether. That the
        # gradient is right to the last pixel is seen in float64.
        right = gradients.sum(axis=0)
        return bool(np.linalg.norm(made.gradient - right) <= 0.1 * np.linalg.norm(right))
    # Where terms cancel, rounding is that of the terms.
    scale = float(np.abs(gradients).sum(axis=0).max())
    return compare.same(made.gradient, gradients.sum(axis=0), scene.relative, scale)


def _examine_make_objective(answer: Callable, draw: Draw) -> list[Finding]:
    try:
        for scene in _scenes(draw):
            findings = _scene_findings(answer, scene)
            if findings:
                return findings
            last = scene
        return _objective_properties(answer, last, draw)
    except _Wrong as wrong:
        return wrong.findings


def _scenes(draw: Draw) -> Iterator[_Scene]:
    """Yield scenes that differ from a plain one in one way each, the plain one first."""
    h, w = draw.distinct(2, 33, 39)
    yield _balanced(
        draw,
        f"pictures of {h} x {w}",
        draw.activation(3, h, w),
        draw.activation(3, h, w),
        small_vgg19(draw),
        3,
        _some_targets(draw, h, w, count=4),
    )
    # Cut after the last layer that counts, so that smaller pictures do.
    model = small_vgg19(draw, until=28).requires_grad_(True).train()
    h, w = draw.distinct(2, 17, 23)
    tall, wide = draw.integer(33, 39), draw.integer(24, 30)
    content = draw.activation(3, h, w).requires_grad_()
    style = draw.activation(3, tall, wide).requires_grad_()
    scene = _balanced(
        draw,
        f"a content of {h} x {w}, a style of {tall} x {wide} and a model that is not frozen",
        content,
        style,
        model,
        5,
        _some_targets(draw, h, w, count=4),
    )
    # Whole numbers are numbers, too.
    least = min(scene.settings.weights.values())
    whole = {name: round(2 * w / least) for name, w in scene.settings.weights.items()}
    beta = scene.settings.beta * least / 2
    scene.settings = _Settings(draw.integer(2, 5), beta, whole)
    text = "right where content and style have one size, wrong where they differ."
    scene.only_here = "hard-coded-size", text
    yield scene
    h, w = draw.distinct(2, 17, 23)
    scene = _balanced(
        draw,
        "pictures in float32 that do not lie in memory side by side",
        draw.activation(3, h, w, dtype=torch.float32, layout="strided"),
        draw.activation(3, w, h + 2, dtype=torch.float32, layout="channels_last"),
        small_vgg19(draw, until=28, dtype=torch.float32),
        1,
        _some_targets(draw, h, w, count=1, dtype=torch.float32),
    )
    scene.only_here = "wrong-dtype", "right in float64, wrong in float32."
    yield scene
    for nothing in ("alpha", "beta"):
        h, w = draw.distinct(2, 17, 23)
        scene = _balanced(
            draw,
            f"{nothing} 0",
            draw.activation(3, h, w),
            draw.activation(3, w, w),
            small_vgg19(draw, until=28),
            2,
            _some_targets(draw, h, w, count=1),
        )
        scene.settings = replace(scene.settings, **{nothing: 0})
        text = f"right for other numbers, wrong where {nothing} is 0; 0 is a number, too."
        scene.only_here = f"{nothing}-ignored", text
        yield scene


def _balanced(
    draw: Draw,
    words: str,
    content: Tensor,
    style: Tensor,
    model: nn.Sequential,
    layers: int,
    targets: list[Tensor],
) -> _Scene:
    """Return a scene in which every term that counts is about as large as the others.

    A term that is a thousandth of the sum could be wrong or missing unseen. No factor is 1, and
    the weights stand in no particular order.
    """
    names = draw.shuffled(STYLE_NAMES)[:layers]
    scene = _Scene(words, content, style, model, _Settings(1, 1, {}), targets)
    content_term, *style_terms = scene.measured(0)[0]
    sizes = dict(zip(LAYERS.values(), style_terms, strict=True))
    middle = sorted(sizes[name] for name in names)[len(names) // 2]
    weights = {name: draw.number(1.5, 4) * middle / sizes[name] for name in names}
    alpha = draw.number(1.5, 4)
    beta = alpha * content_term / (middle * len(names)) * draw.number(0.3, 0.6)
    scene.settings = _Settings(alpha, beta, weights)
    return scene


def _some_targets(
    draw: Draw, height: int, width: int, *, count: int, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Return targets of various contrast: no two terms of the loss grow alike between them."""
    return [
        draw.number(0.6, 1.6) * draw.activation(3, height, width, dtype=dtype) for _ in range(count)
    ]


def _scene_findings(answer: Callable, scene: _Scene) -> list[Finding]:
    """Return what is wrong in one scene, with the likely cause."""
    settings = replace(scene.settings, weights=dict(scene.settings.weights))
    before = {name: compare.numbers(getattr(scene, name)) for name in ("content", "style")}
    flags = {name: getattr(scene, name).requires_grad for name in before}
    model = watching.record(scene.model)
    function = _make(answer, scene, settings, given=True)
    findings = list(watching.changes(model, scene.model))
    findings += _changed(scene, settings, before, flags)
    if findings:
        return findings
    made = _tried(answer, scene, settings, function)
    findings = list(watching.changes(model, scene.model))
    findings += _changed(scene, settings, before, flags)
    if findings:
        return findings
    if not _is_right(made, scene):
        return _wrong_objective(answer, scene, made)
    return _graph_findings(answer, scene, function)


def _changed(
    scene: _Scene,
    settings: _Settings,
    before: Mapping[str, np.ndarray],
    flags: Mapping[str, bool],
) -> Iterator[Finding]:
    """Yield what the answer changed in the pictures and weights it was given."""
    for name, values in before.items():
        picture = getattr(scene, name)
        if not np.array_equal(compare.numbers(picture), values):
            text = f"the values of {name} were changed; inputs must stay as they are."
            yield Finding("inputs", text, "input-changed")
        elif picture.requires_grad != flags[name]:
            text = f"{name} asks for a gradient now, or no longer; inputs must stay as they are."
            yield Finding("inputs", text, "input-changed")
    if settings.weights != scene.settings.weights:
        text = "style_weights was changed by the call; inputs must stay as they are."
        yield Finding("inputs", text, "argument-changed")


def _graph_findings(answer: Callable, scene: _Scene, function: Callable) -> list[Finding]:
    """Return whether a second backward pass works and reaches the target alone."""
    for turn in range(2):
        target = copied(scene.targets[0]).requires_grad_()
        value = _loss(function, target, answer, scene.words)
        try:
            value.backward()
        except RuntimeError as error:
            found = _stopped(error, answer, "a second step" if turn else "a first step")
            if found.cause != "graph-used-twice":
                return [found]
            text = "the loss goes backward once only: what was computed before the loop still "
            text += "remembers how, and would have to be gone through again."
            return [Finding("gradient", text, "keeps-graph")]
    for name in ("content", "style"):
        picture = getattr(scene, name)
        if picture.is_leaf and picture.grad is not None:
            picture.grad = None
            text = f"the backward pass of the loss also goes through {name}: its part is meant to "
            text += "be computed once and then be plain numbers."
            return [Finding("gradient", text, "keeps-graph")]
    return []


def _objective_properties(answer: Callable, scene: _Scene, draw: Draw) -> list[Finding]:
    """Return what is wrong that one value and gradient cannot show."""
    findings = _precomputed_findings(answer, draw)
    findings = findings or _start_findings(answer, scene)
    return findings or _objective_elsewhere(answer, draw)


def _precomputed_findings(answer: Callable, draw: Draw) -> list[Finding]:
    """Return whether content and style are looked at when the objective is made, and never again.

    Which pictures go through the model is seen at its first convolution, whichever copy, slice or
    wrapping of the model it belongs to.
    """
    h, w = draw.distinct(2, 17, 23)
    content, style = draw.activation(3, h, w), draw.activation(3, w, h)
    scene = _balanced(
        draw,
        "two calls one after the other",
        content,
        style,
        small_vgg19(draw, until=28),
        3,
        _some_targets(draw, h, w, count=2),
    )
    function = _make(answer, scene, scene.settings, given=True)
    originals = {"content": content.clone(), "style": style.clone()}
    with torch.no_grad():
        content.add_(draw.activation(3, h, w))
        style.mul_(2)
    changed = {"content": content, "style": style}
    target = copied(scene.targets[0]).requires_grad_()
    seen, values = [], []
    for _ in range(3):
        with _Seen() as images:
            values.append(float(_loss(function, target, answer, scene.words).detach()))
        seen.append(
            {
                name
                for name in originals
                if images.contain(originals[name]) or images.contain(changed[name])
            }
        )
    names = " and ".join(sorted(seen[1] & seen[2]))
    if names:
        text = f"{names} goes through the model again in every call of the objective; "
        text += "what never changes is worth computing once."
        return [Finding("behaviour", text, "recomputed-each-call")]
    right = _amounts(scene.settings) @ scene.measured(0)[0]
    wrong = [not compare.same(np.array(v), np.array(right), scene.relative) for v in values]
    if wrong[0]:
        text = "changing a picture after the objective was made changes its loss: what content and "
        text += "style say must be computed when the objective is made."
        return [Finding("behaviour", text, "aliases-pictures")]
    if any(wrong):
        text = "a second call with the same target gives another loss: something is remembered."
        return [Finding("behaviour", text, "shared-state")]
    # The same tensor, moved as an optimiser moves it.
    with torch.no_grad():
        target.copy_(scene.targets[1])
    moved = float(_loss(function, target, answer, scene.words).detach())
    right = _amounts(scene.settings) @ scene.measured(1)[0]
    if not compare.same(np.array(moved), np.array(right), scene.relative):
        text = "when the target has moved, its loss is still that of where it was before."
        return [Finding("behaviour", text, "target-fixed")]
    return []


class _Seen(TorchDispatchMode):
    """Notes the pictures that go into a convolution of three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing here is compiled, and torch would import its compiler, which takes seconds.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if args and isinstance(args[0], Tensor) and "convolution" in str(func):
            image = args[0]
            if image.dim() == 4 and image.shape[1] == 3:
                self.images.append(image.detach().clone())
        return func(*args, **(kwargs or {}))

    def contain(self, picture: Tensor) -> bool:
        """Whether a picture was among what went through."""
        return any(
            image.shape == picture.shape[1:] and torch.equal(image.to(picture), picture[0])
            for images in self.images
            for image in images
        )


def _start_findings(answer: Callable, scene: _Scene) -> list[Finding]:
    """Return whether the gradient is finite at the usual start, where the content term is 0."""
    settings = replace(scene.settings, beta=scene.settings.beta or 3.0)
    function = _make(answer, scene, settings)
    target = copied(scene.content).requires_grad_()
    value = _loss(function, target, answer, "a target equal to content")
    gradient = _gradient(function, value, target, answer)
    if not np.isfinite(gradient).all():
        text = "at the very start, where the target equals content, the gradient is nan or inf."
        return [Finding("finite", text, "not-finite")]
    return []


def _objective_elsewhere(answer: Callable, draw: Draw) -> list[Finding]:
    """Return whether the objective follows its inputs to a device that is not the CPU."""
    scene = _balanced(
        draw,
        "pictures on another device than the CPU",
        draw.image(17, 20, dtype=torch.float32),
        draw.image(18, 16, dtype=torch.float32),
        small_vgg19(draw, until=28, dtype=torch.float32),
        2,
        [draw.image(17, 20, dtype=torch.float32)],
    )
    scene.content, scene.style = scene.content.to("meta"), scene.style.to("meta")
    scene.model = scene.model.to("meta")
    target = scene.targets[0].to("meta").requires_grad_()
    try:
        with elsewhere():
            function = _make(answer, scene, scene.settings, given=True)
            _loss(function, target, answer, scene.words)
    except _Wrong as wrong:
        first = wrong.findings[0]
        # On the CPU it worked, so the device is what it does not follow.
        cause = "wrong-device" if first.cause == "raises" else first.cause
        return [Finding("device", first.text, cause)]
    return []


# What can be wrong with an objective. Its gradient is written as a sum of the terms that should be
# in it; how much of each it holds, for several alphas, betas and weights, names the mistake. Where
# that fails, a term itself is wrong, and is compared with wrong terms.


@dataclass(frozen=True)
class _Fit:
    """How much of each term is in a gradient, and what of the values that leaves unexplained."""

    settings: _Settings
    amounts: np.ndarray
    left: np.ndarray
    fits: bool


def _fit(made: _Made, scene: _Scene) -> _Fit:
    """Return the terms' amounts in an objective's gradient, by least squares."""
    terms, gradients = scene.measured(0)
    sizes = np.linalg.norm(gradients, axis=1)
    size = np.linalg.norm(made.gradient)
    amounts = np.zeros(len(terms))
    if np.isfinite(size) and size > 0:
        columns = (gradients / np.maximum(sizes, 1e-300)[:, None]).T
        solved, *_ = np.linalg.lstsq(columns, made.gradient, rcond=None)
        amounts = solved / np.maximum(sizes, 1e-300)
        # What adds less than the rounding of a few thousand numbers is not there.
        double = scene.content.dtype == torch.float64
        amounts[np.abs(solved) < (1e-10 if double else 1e-4) * size] = 0
    rest = np.linalg.norm(made.gradient - amounts @ gradients)
    values = np.array([amounts @ scene.measured(i)[0] for i in range(len(made.values))])
    left = np.array(made.values) - values
    left[np.abs(left) < 4 * scene.relative * np.maximum(np.abs(made.values), np.abs(values))] = 0
    return _Fit(made.settings, amounts, left, bool(rest <= 4 * scene.relative * size))


def _wrong_objective(answer: Callable, scene: _Scene, made: _Made) -> list[Finding]:
    """Return how value and gradient are wrong, and the likely cause."""
    values = _right_values(made, scene)
    if all(values):
        text = f"the loss is right but its gradient is not, for {scene.words}."
        findings = [Finding("gradient", text)]
    elif not np.isfinite([*made.values, *made.gradient]).all():
        findings = [Finding("finite", f"the loss is nan or inf for {scene.words}.", "not-finite")]
    else:
        findings = [Finding("values", _wrong_value(made, scene))]
    # What a call leaves behind shows before anything else can be said.
    function = _make(answer, scene, made.settings)
    first, second = (_tried(answer, scene, made.settings, function) for _ in range(2))
    if first.values != second.values and not np.allclose(first.values, second.values, rtol=1e-6):
        text = "a second call with the same target gives another loss: something is remembered."
        return [*findings, _hint("shared-state", text)]
    hint = _diagnosis(answer, scene, made)
    if hint is None and scene.only_here:
        hint = _hint(*scene.only_here)
    return [*findings, hint] if hint else findings


def _wrong_value(made: _Made, scene: _Scene) -> str:
    right = float(_amounts(made.settings) @ scene.measured(0)[0])
    ratio = made.values[0] / right if right else float("nan")
    if not np.isfinite(ratio) or ratio <= 0:
        return f"the loss is not right for {scene.words}."
    if abs(ratio - 1) < 0.1:
        more = "large" if ratio > 1 else "small"
        return f"the loss is {number(100 * abs(ratio - 1))} % too {more} for {scene.words}."
    share, direction = (ratio, "large") if ratio > 1 else (1 / ratio, "small")
    return f"the loss is {number(share)} times too {direction} for {scene.words}."


def _variations(settings: _Settings) -> Iterator[_Settings]:
    """Yield other alphas, betas and weights, one thing at a time."""
    yield replace(settings, alpha=2 * settings.alpha)
    yield replace(settings, beta=2 * settings.beta)
    names = list(settings.weights)
    yield replace(settings, weights={n: (3 + i) * settings.weights[n] for i, n in enumerate(names)})
    other = [name for name in STYLE_NAMES if name not in names] or names[:1]
    yield replace(settings, weights={other[0]: 2.5, names[-1]: 1.75})


def _diagnosis(answer: Callable, scene: _Scene, made: _Made) -> Finding | None:
    """Return the likely cause of a wrong value or gradient."""
    all_made = [made]
    for settings in _variations(made.settings):
        try:
            function = _make(answer, scene, settings)
            all_made.append(_tried(answer, scene, settings, function))
        except _Wrong:
            continue
    hint = _of_the_whole(scene, all_made)
    if hint:
        return hint
    fits = [_fit(one, scene) for one in all_made]
    if all(fit.fits for fit in fits):
        if not any(fit.left.any() for fit in fits):
            return _of_the_amounts(scene, fits)
        hint = _of_dead_terms(scene, fits)
        if hint:
            return hint
    return _of_the_terms(answer, scene, all_made)


def _close(given: Any, expected: Any, relative: float = 1e-4) -> bool:
    """Whether two lists of numbers are equal but for what a fit may lose."""
    given, expected = np.asarray(given, dtype=float), np.asarray(expected, dtype=float)
    if not (np.isfinite(given).all() and np.isfinite(expected).all()):
        return False
    return bool(np.all(np.abs(given - expected) <= relative * np.abs(expected).max(initial=0)))


def _proportional(given: Any, expected: Any) -> bool:
    given, expected = np.asarray(given, dtype=float), np.asarray(expected, dtype=float)
    size = float(expected @ expected)
    return bool(size) and bool(given.any()) and _close(given, (given @ expected / size) * expected)


_IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))


def _normalized(image: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(row).view(1, 3, 1, 1).to(image) for row in _IMAGENET)
    return (image - mean) / deviation


def _unit(image: Tensor) -> Tensor:
    return image.clamp(0, 1)


def _same(image: Tensor) -> Tensor:
    return image


def _times_255(image: Tensor) -> Tensor:
    return 255 * image


def _by_255(image: Tensor) -> Tensor:
    return image / 255


def _around_0(image: Tensor) -> Tensor:
    return 2 * image - 1


def _without_mean(image: Tensor) -> Tensor:
    return image - torch.tensor(_IMAGENET[0]).view(1, 3, 1, 1).to(image)


def _not_normalized(image: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(row).view(1, 3, 1, 1).to(image) for row in _IMAGENET)
    return image * deviation + mean


def _backwards(image: Tensor) -> Tensor:
    return image.flip(1)


_SWAPPED = "check which picture gives the activation of conv4_2 and which the Gram matrices."
_AGAIN = "the pictures arrive as the model takes them; something is done to their values again."
_LIMITED = "the loss of a limited picture is taken: pixels beyond the limits get no gradient."
# What is done to the target, where its content and its Gram matrices come from, and what that is.
_WHOLE: tuple[tuple[str, str, Callable, tuple[str, Callable], tuple[str, Callable]], ...] = (
    ("swapped-pictures", _SWAPPED, _same, ("style", _same), ("content", _same)),
    ("swapped-pictures", _SWAPPED, _same, ("content", _same), ("content", _same)),
    ("swapped-pictures", _SWAPPED, _same, ("style", _same), ("style", _same)),
    *(
        (cause, text, on_target, ("content", on_both), ("style", on_both))
        for cause, text, on_target, on_both in (
            ("normalised-again", _AGAIN, _normalized, _normalized),
            ("normalised-again", _AGAIN, _normalized, _same),
            ("normalised-again", _AGAIN, _same, _normalized),
            ("target-clamped", _LIMITED, _unit, _same),
            ("target-clamped", _LIMITED, _unit, _unit),
            ("normalised-again", _AGAIN, _without_mean, _without_mean),
            ("normalised-again", _AGAIN, _not_normalized, _not_normalized),
            ("normalised-again", _AGAIN, _around_0, _around_0),
            ("range-255", _AGAIN, _times_255, _times_255),
            ("range-255", _AGAIN, _by_255, _by_255),
            ("bgr-order", "the colours of the pictures are put in another order.",
             _backwards, _backwards),
        )
    ),
)  # fmt: skip


@torch.no_grad()
def _of_the_whole(scene: _Scene, all_made: Sequence[_Made]) -> Finding | None:
    """Return the mistake that shows in the loss as a whole, if it is one."""
    made = all_made[0]
    if len(made.values) > 1 and len(set(made.values)) == 1:
        return _hint("target-fixed", _FIXED)
    if all(_right_values(made, scene)):
        return None
    hint = _of_an_addition(scene, all_made) or _of_a_product(scene, all_made)
    if hint:
        return hint
    amounts = _amounts(made.settings)
    pictures = {"content": scene.content, "style": scene.style}
    for cause, text, on_target, content_from, style_from in _WHOLE:
        if scene.content.shape != scene.style.shape and cause == "swapped-pictures":
            continue
        wanted, grams = (
            _activations(change(_in_float64(pictures[name])), scene.exact)
            for name, change in (content_from, style_from)
        )
        for target, value in zip(scene.targets, made.values, strict=True):
            found = _activations(on_target(_in_float64(target)), scene.exact)
            terms = [_mean_square(found[CONTENT_LAYER] - wanted[CONTENT_LAYER])]
            terms += [_layer_loss(found[index], grams[index]) for index in LAYERS]
            if not _close(value, amounts @ np.array([float(term) for term in terms])):
                break
        else:
            return _hint(cause, text)
    return None


def _of_an_addition(scene: _Scene, all_made: Sequence[_Made]) -> Finding | None:
    """Return whether the loss is right but for something no alpha, beta or weight touches."""
    added = []
    for made in all_made:
        amounts = _amounts(made.settings)
        right = [amounts @ scene.measured(place)[0] for place in range(len(made.values))]
        added.append(np.array(made.values) - np.array(right))
    size = max(abs(value) for made in all_made for value in made.values)
    constant = all(np.allclose(one, added[0], rtol=1e-4, atol=1e-9 * size) for one in added[1:])
    if len(added) < 2 or not constant or np.abs(added[0]).max() <= scene.relative * size:
        return None
    ratios = added[0] / [scene.measured(place)[0][0] for place in range(len(added[0]))]
    if _close(ratios, np.full(len(ratios), ratios.mean())):
        return None
    return _hint("extra-term", "the loss holds something that neither alpha nor beta belongs to.")


def _of_a_product(scene: _Scene, all_made: Sequence[_Made]) -> Finding | None:
    values, products = [], []
    for made in all_made:
        amounts = _amounts(made.settings)
        for place, value in enumerate(made.values):
            terms = amounts * scene.measured(place)[0]
            values.append(value)
            products.append(terms[0] * terms[1:].sum())
    if not _close(values, products):
        return None
    return _hint("product", "the two terms are multiplied; a picture at its content costs nothing.")


def _of_the_amounts(scene: _Scene, fits: Sequence[_Fit]) -> Finding | None:
    """Return the mistake that the amounts of right terms tell."""
    wanted = np.array([_amounts(fit.settings) for fit in fits])
    given = np.array([fit.amounts for fit in fits])
    hint = _of_dead_terms(scene, fits) or _of_alpha_and_beta(fits, wanted, given)
    if hint:
        return hint
    if not _close(given[:, 0], wanted[:, 0]):
        return _of_the_content_amount(scene, fits, wanted, given)
    betas = np.array([fit.settings.beta for fit in fits])
    return _of_the_weights(scene, fits, given[:, 1:] / betas[:, None])


def _of_dead_terms(scene: _Scene, fits: Sequence[_Fit]) -> Finding | None:
    """Return which term has no gradient."""
    wanted = np.array([_amounts(fit.settings) for fit in fits])
    given = np.array([fit.amounts for fit in fits])
    places = range(len(fits[0].left))
    content = [wanted[0][0] * scene.measured(i)[0][0] for i in places]
    style = [wanted[0][1:] @ scene.measured(i)[0][1:] for i in places]
    if not given.any():
        if fits[0].left.any() and _close(fits[0].left, np.add(content, style)):
            text = "the loss is right and yet nothing of it reaches the target."
            return _hint("detached", text)
        return _hint("target-fixed", "no change of the target changes the loss.")
    dead = []
    if not given[:, 0].any():
        dead.append(("content", "content-term-dead", "alpha"))
    if not given[:, 1:].any():
        dead.append(("style", "style-term-dead", "beta"))
    for term, cause, factor in dead:
        text = f"nothing of the {term} term reaches the target: without {factor} it would move "
        return _hint(cause, text + "just the same.")
    return None


def _of_alpha_and_beta(
    fits: Sequence[_Fit], wanted: np.ndarray, given: np.ndarray
) -> Finding | None:
    """Return what is wrong with the two factors, where the weights of the layers are right."""
    alphas, betas = (np.array([getattr(f.settings, n) for f in fits]) for n in ("alpha", "beta"))
    weights = wanted[:, 1:] / betas[:, None]
    content = given[:, 0]
    # How much of the style term as a whole, where its layers keep their proportions.
    styles = np.array([_share(g, w) for g, w in zip(given[:, 1:], weights, strict=True)])
    if _close(content, betas) and _close(styles, alphas):
        return _hint("swapped-weights", "alpha is where beta belongs, and beta where alpha does.")
    if _close(content, -alphas) and _close(styles, -betas):
        return _hint("negative", "the loss has the wrong sign: small must mean close.")
    if _close(content, alphas) and _close(styles, -betas):
        text = "the style term is taken away; both terms are costs, and add up."
        return _hint("negative-style", text)
    if _close(content, -alphas) and _close(styles, betas):
        text = "the content term is taken away; both terms are costs, and add up."
        return _hint("negative", text)
    if _close(content, np.full(len(fits), content[0])) and len(fits) > 1:
        text = f"whatever alpha is, the content term counts {number(content[0])} times."
        return _hint("alpha-ignored", text)
    if _close(content, alphas * betas) or _close(styles, alphas * betas):
        text = "one factor is multiplied with the other: which term does each belong to?"
        return _hint("product", text)
    for power in (2, 0.5):
        if _close(content, alphas**power) or _close(styles, betas**power):
            text = "alpha or beta counts as something else than itself."
            return _hint("weights-squared", text)
    if np.isfinite(styles).all():
        if _close(styles, np.full(len(fits), styles[0])):
            text = f"whatever beta is, the style term counts {number(styles[0])} times."
            return _hint("beta-ignored", text)
        ratio = content / alphas
        if _close(ratio, styles / betas) and not _close(ratio, np.full(len(fits), ratio[0])):
            text = "alpha and beta were made to add up to 1 before they were used."
            return _hint("normalised-weights", text)
    return None


def _share(given: np.ndarray, weights: np.ndarray) -> float:
    """Return k where ``given`` is k times the weights; nan where it is no multiple of them."""
    share = float(given @ weights / (weights @ weights))
    return share if given.any() and _close(given, share * weights) else float("nan")


def _of_the_content_amount(
    scene: _Scene, fits: Sequence[_Fit], wanted: np.ndarray, given: np.ndarray
) -> Finding | None:
    """Return by what the content term is too large or too small."""
    ratio = given[:, 0] / wanted[:, 0]
    if not _close(ratio, np.full(len(ratio), ratio[0])):
        return _hint("alpha-ignored", "the content term does not grow with alpha as it should.")
    _, c, h, w = scene.outputs["content"][CONTENT_LAYER].shape
    known = {
        0.5: ("halved", "the content term counts half: there is no 1/2 in the lesson's formula."),
        2.0: ("doubled", "the content term counts twice."),
        -1.0: ("negative", "the content term has the wrong sign."),
        float(c * h * w): ("sum-for-mean", f"the content term is {c * h * w} times too large, and "
                           "that is how many numbers conv4_2 has here."),
    }  # fmt: skip
    for value, (cause, text) in known.items():
        if _close(ratio[0], value):
            return _hint(cause, text)
    text = f"the content term counts {number(ratio[0])} times what it should."
    return _hint("wrong-division", text)


def _of_the_weights(scene: _Scene, fits: Sequence[_Fit], effective: np.ndarray) -> Finding | None:
    """Return what is wrong with the layers' weights, by how much each layer counts."""
    names = list(LAYERS.values())
    weights = np.array([[f.settings.weights.get(n, 0) for n in names] for f in fits])
    given = weights != 0
    extra = [n for n, used in zip(names, (effective * ~given).any(axis=0), strict=True) if used]
    if extra and _close(effective * given, weights):
        text = f"{' and '.join(extra)} counts as style, too; what does style_weights say?"
        return _hint("all-features-counted", text)
    if len(fits) > 1 and _close(effective, np.broadcast_to(effective[0], effective.shape)):
        text = "whatever style_weights holds, the layers count the same."
        return _hint("style-weights-ignored", text)
    hint = _of_chosen_layers(fits, names, effective, weights, given)
    if hint:
        return hint
    first = effective[given][0]
    if not extra and _close(effective, first * given):
        text = "every layer counts the same, whatever its weight."
        return _hint("style-weights-ignored", text)
    totals, counts = weights.sum(axis=1), given.sum(axis=1)
    rules = (
        (weights / counts[:, None], "averaged-over-layers", "the layers' losses are averaged; the "
         "contract adds them up."),
        (weights / totals[:, None], "divided-by-weights", "the sum is divided by the weights' sum; "
         "the contract does not."),
        (weights**2, "weight-inside-square", "a layer's weight counts squared: where does it stand "
         "in the formula?"),
        (-weights, "negative-style", "the style term is taken away; both terms are costs."),
        (2 * weights, "doubled", "the style term counts twice."),
        (0.5 * weights, "halved", "the style term counts half."),
    )  # fmt: skip
    for rule, cause, text in rules:
        if _close(effective, rule):
            return _hint(cause, text)
    for row, fit, right in zip(effective, fits, weights, strict=True):
        same = sorted(row[row != 0]), sorted(right[right != 0])
        if len(same[0]) == len(same[1]) and _close(*same) and not _close(row, right):
            text = (
                "the right weights meet the wrong layers; is the order of a dictionary relied on?"
            )
            return _hint("wrong-pairing", text)
        del fit
    return _of_the_division(scene, effective, weights)


def _of_chosen_layers(
    fits: Sequence[_Fit],
    names: Sequence[str],
    effective: np.ndarray,
    weights: np.ndarray,
    given: np.ndarray,
) -> Finding | None:
    """Return which of the layers are left out, if some are."""
    used = effective != 0
    if (used == given).all() or (used & ~given).any():
        return None
    asked = [
        [name for name in fit.settings.weights if len(fit.settings.weights) > 1] for fit in fits
    ]
    kept = [{n for n, u in zip(names, row, strict=True) if u} for row in used]
    pairs = [(order, some) for order, some in zip(asked, kept, strict=True) if order]
    if pairs and all(some == {order[-1]} for order, some in pairs):
        return _hint("last-layer-only", "only the last of the layers counts; the sum is lost.")
    if pairs and all(some == {order[0]} for order, some in pairs):
        return _hint("first-layer-only", "only the first of the layers counts.")
    missing = sorted({n for order, some in pairs for n in order if n not in some})
    if missing == ["conv5_1"]:
        return _hint("misses-last", "the deepest layer, conv5_1, is missing from the style term.")
    return _hint("missing-layer", f"{' and '.join(missing)} is missing from the style term.")


def _of_the_division(scene: _Scene, effective: np.ndarray, weights: np.ndarray) -> Finding | None:
    """Return which sizes the layers' losses were divided by instead of C H W."""
    chosen = weights != 0
    ratios = [column[used] / w[used] for column, used, w in zip(
        effective.T, chosen.T, weights.T, strict=True)]  # fmt: skip
    for words, cause, text, factor in _DIVISIONS:
        matches = [
            _close(ratio, np.full(len(ratio), factor(scene, index)), 1e-3)
            for index, ratio in zip(LAYERS, ratios, strict=True)
            if len(ratio)
        ]
        if matches and all(matches):
            index = next(i for i, ratio in zip(LAYERS, ratios, strict=True) if len(ratio))
            size = factor(scene, index)
            share = f"{number(size)} times too large" if size > 1 else (
                f"{number(1 / size)} times too small")  # fmt: skip
            numbers = f"the loss of {LAYERS[index]} is {share}, and that is {words} here: "
            return _hint(cause, numbers + text)
    return _hint("wrong-division", "the layers' losses are not divided by what they should be.")


def _sizes(scene: _Scene, index: int) -> tuple[float, float, float]:
    _, c, h, w = scene.outputs["content"][index].shape
    return float(c), float(h), float(w)


def _product(words: str) -> Callable[[_Scene, int], float]:
    """Return the factor written as ``C H W`` or ``C / 4 M``, of a layer's sizes."""

    def value(scene: _Scene, index: int) -> float:
        c, h, w = _sizes(scene, index)
        _, _, style_h, style_w = scene.outputs["style"][index].shape
        vgg = {0: 64, 5: 128, 10: 256, 19: 512, 21: 512, 28: 512}[index]
        known = {"C": c, "H": h, "W": w, "M": h * w, "S": style_h * style_w, "V": vgg}
        known["P"] = scene.content.numel()
        known["Q"] = scene.style.numel()
        over, _, under = words.partition("/")
        result = 1.0
        for part in over.split():
            result *= known.get(part) or float(part)
        for part in under.split():
            result /= known.get(part) or float(part)
        return result

    return value


_NOT_DIVIDED = "what does the contract divide by?"
_DIVISIONS: tuple[tuple[str, str, str, Callable[[_Scene, int], float]], ...] = tuple(
    (words, cause, text, _product(formula))
    for formula, words, cause, text in (
        ("C H W", "C H W", "missing-division", _NOT_DIVIDED),
        ("M / S", "the ratio of the two pictures' sizes", "style-size-division",
         "whose sizes are meant?"),
        ("W / H", "W / H", "square-assumed", "height and width need not be equal."),
        ("H / W", "H / W", "square-assumed", "height and width need not be equal."),
        ("C / V", "C over the number of channels of the large VGG-19", "hard-coded-size",
         "sizes are those of this activation."),
        ("C M / V", "C H W over a number of channels of the large VGG-19", "hard-coded-size",
         "sizes are those of this activation."),
        ("C / 4 M", "C / (4 H W)", "paper-convention",
         "the paper has another constant than this lesson."),
        ("C C", "C C", "sum-for-mean", "a sum stands where a mean should."),
        ("C C C M", "C C C H W", "sum-for-mean", "a sum stands where a mean should, and more."),
        ("1 / C M", "1 / (C H W)", "normalised-gram", "the Gram matrix itself is not divided."),
        ("C / M", "C / (H W)", "normalised-gram", "the Gram matrix itself is not divided."),
        ("1 / M M", "1 / (H W) squared", "normalised-gram",
         "the Gram matrix itself is not divided."),
        ("1 / C C", "1 / (C C)", "normalised-gram", "the Gram matrix itself is not divided."),
        ("1 / C C M M", "1 / (C H W) squared", "normalised-gram",
         "the Gram matrix itself is not divided."),
        ("1 / C C C M", "1 / (C C C H W)", "normalised-gram",
         "the Gram matrix itself is not divided."),
        ("1 / M", "1 / (H W)", "normalised-gram", "the Gram matrix itself is not divided."),
        ("C M / P", "C H W over the size of the picture", "wrong-division", _NOT_DIVIDED),
        ("C M / Q", "C H W over the size of the style picture", "wrong-division", _NOT_DIVIDED),
        ("C", "C", "wrong-division", _NOT_DIVIDED),
        ("M", "H W", "wrong-division", _NOT_DIVIDED),
        ("H", "H", "wrong-division", _NOT_DIVIDED),
        ("W", "W", "wrong-division", _NOT_DIVIDED),
        ("1 / C", "1 / C", "wrong-division", _NOT_DIVIDED),
        ("1 / 4", "1 / 4", "paper-convention", "the paper has another constant than this lesson."),
        ("C / 4", "C / 4", "paper-convention", "the paper has another constant than this lesson."),
    )
)  # fmt: skip


def _of_the_terms(answer: Callable, scene: _Scene, all_made: Sequence[_Made]) -> Finding | None:
    """Return the mistake in the content term or a layer's style term, each taken alone."""
    names = list(scene.settings.weights)
    content = _part(answer, scene, _Settings(1.0, 0.0, dict(scene.settings.weights)))
    content_layer, hint = _of_the_content_term(scene, content)
    if hint:
        return hint
    layers = {}
    for name in [n for n in STYLE_NAMES if n in names] or list(STYLE_NAMES):
        part = _part(answer, scene, _Settings(0.0, 1.0, {name: 1.0}))
        if part is None:
            continue
        layers[name], hint = _of_the_layer_term(scene, name, part)
        if hint:
            return hint
    return _of_the_layers(content_layer, layers)


def _part(answer: Callable, scene: _Scene, settings: _Settings) -> list[float] | None:
    """Return the values of an objective with settings that leave one term only."""
    try:
        return _tried(answer, scene, settings, _make(answer, scene, settings)).values
    except _Wrong:
        return None


@torch.no_grad()
def _of_the_content_term(
    scene: _Scene, values: Sequence[float] | None
) -> tuple[int | None, Finding | None]:
    """Return from which module the content term is taken, or the mistake in its formula."""
    if values is None:
        return None, None
    found, wanted = scene.found, scene.outputs["content"]
    for index in (CONTENT_LAYER, *(i for i in wanted if i != CONTENT_LAYER)):
        if _proportional(values, [float(_mean_square(f[index] - wanted[index])) for f in found]):
            return index, None
    every = [sum(float(_mean_square(f[index] - wanted[index])) for index in LAYERS) for f in found]
    if _proportional(values, every):
        text = "the content term adds up several layers; which one does the lesson take?"
        return None, _hint("wrong-content-layer", text)
    pairs = [(f[CONTENT_LAYER], wanted[CONTENT_LAYER]) for f in found]
    for cause, text, formula in _DIFFERENCES:
        if _proportional(values, [float(formula(a, b)) for a, b in pairs]):
            return CONTENT_LAYER, _hint(cause, f"in the content term {text}")
    return None, None


@torch.no_grad()
def _of_the_layer_term(
    scene: _Scene, name: str, values: Sequence[float]
) -> tuple[int | None, Finding | None]:
    """Return from which module a style term is taken, or the mistake in its formula."""
    found, style, right = scene.found, scene.outputs["style"], _INDEX[name]
    for index in (right, *(i for i in style if i != right)):
        if _proportional(values, scene.layer_losses(index)):
            return index, None
    pairs = [(f[right], style[right]) for f in found]
    grams = [(_gram(a), _gram(b)) for a, b in pairs]
    for cause, text, formula in _DIFFERENCES:
        if _proportional(values, [float(formula(a, b)) for a, b in grams]):
            return right, _hint(cause, f"in the style term {text}")
    for cause, text, loss in _LAYER_MISTAKES:
        with contextlib.suppress(RuntimeError):
            if _proportional(values, [float(loss(a, b)) for a, b in pairs]):
                return right, _hint(cause, text)
    return None, None


_DIFFERENCES: tuple[tuple[str, str, Callable[[Tensor, Tensor], Tensor]], ...] = (
    ("absolute-difference", "differences are not squared.", lambda a, b: (a - b).abs().mean()),
    ("rooted", "a square root is taken; its gradient is infinite where the loss is 0.",
     lambda a, b: (a - b).square().mean().sqrt()),
    ("difference-of-sums", "everything is added up before the difference is taken; what about "
     "differences that cancel?", lambda a, b: (a.sum() - b.sum()).square()),
    ("difference-of-sums", "everything is added up before the difference is taken; what about "
     "differences that cancel?", lambda a, b: (a.sum() - b.sum()).abs()),
    ("one-sided", "only differences of one sign count.",
     lambda a, b: (a - b).relu().square().mean()),
    ("one-sided", "only differences of one sign count.",
     lambda a, b: (b - a).relu().square().mean()),
    ("relative", "the difference is divided by the values themselves.",
     lambda a, b: ((a - b) / b).square().mean()),
    ("relative", "the difference is divided by the size of the values.",
     lambda a, b: (a - b).square().mean() / a.square().mean()),
    ("squared", "differences are squared twice.", lambda a, b: (a - b).pow(4).mean()),
    ("squared", "the mean is squared once more.", lambda a, b: (a - b).square().mean().square()),
    ("other-difference", "the difference is limited or smoothed for large values.",
     lambda a, b: nn.functional.smooth_l1_loss(a, b)),
    ("other-difference", "directions are compared; how large the values are is lost.",
     lambda a, b: 1 - nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)),
)  # fmt: skip


def _rows(tensor: Tensor) -> Tensor:
    return tensor.flatten(2)[0]


def _positions_gram(tensor: Tensor) -> Tensor:
    return _rows(tensor).mT @ _rows(tensor)


def _mixed_gram(tensor: Tensor) -> Tensor:
    _, c, h, w = tensor.shape
    mixed = tensor.reshape(h * w, c)
    return mixed.mT @ mixed


def _centred(tensor: Tensor) -> Tensor:
    return tensor - tensor.mean(dim=(2, 3), keepdim=True)


def _unit_rows(tensor: Tensor) -> Tensor:
    return tensor / tensor.square().sum(dim=(2, 3), keepdim=True).sqrt()


def _divided_gram(parts: Callable[[Tensor], float]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda a, b: _mean_square(_gram(a) / parts(a) - _gram(b) / parts(b))


_LAYER_MISTAKES: tuple[tuple[str, str, Callable[[Tensor, Tensor], Tensor]], ...] = (
    ("normalised-gram", "each Gram matrix is divided by its own sizes; the contract's is not.",
     _divided_gram(lambda t: t.numel())),
    ("normalised-gram", "each Gram matrix is divided by its own sizes; the contract's is not.",
     _divided_gram(lambda t: t.shape[2] * t.shape[3])),
    ("transposed-gram", "positions are compared with positions; a Gram matrix compares maps.",
     lambda a, b: _mean_square(_positions_gram(a) - _positions_gram(b))),
    ("scrambled-view", "the numbers were put into a new shape in an order that mixes maps.",
     lambda a, b: _mean_square(_mixed_gram(a) - _mixed_gram(b))),
    ("compares-features", "the activations themselves are compared; style compares Gram matrices.",
     lambda a, b: _mean_square(a - b)),
    ("centred", "the mean of each map is taken away before the Gram matrix.",
     lambda a, b: _mean_square(_gram(_centred(a)) - _gram(_centred(b)))),
    ("normalised-rows", "each map is scaled to length 1 before the Gram matrix.",
     lambda a, b: _mean_square(_gram(_unit_rows(a)) - _gram(_unit_rows(b)))),
    ("rectified", "negative activations are set to 0 before the Gram matrix.",
     lambda a, b: _mean_square(_gram(a.relu()) - _gram(b.relu()))),
    ("triangle-only", "only one half of the Gram matrix counts.",
     lambda a, b: (_gram(a) - _gram(b)).triu().square().sum()),
    ("triangle-only", "only one half of the Gram matrix counts.",
     lambda a, b: (_gram(a) - _gram(b)).triu(1).square().sum()),
    ("diagonal-only", "only the diagonal of the Gram matrix counts.",
     lambda a, b: (_gram(a) - _gram(b)).diagonal().square().sum()),
    ("one-argument-only", "the mean of each map is compared; pairs of maps do not show in it.",
     lambda a, b: _mean_square(a.mean(dim=(2, 3)) - b.mean(dim=(2, 3)))),
    ("one-argument-only", "only the target's Gram matrix counts; what is it compared with?",
     lambda a, b: _mean_square(_gram(a))),
)  # fmt: skip

_MAPS: tuple[tuple[str, str, dict[int, int]], ...] = (
    ("after-relu", "the activations are those after the ReLU; the lesson's names are convolutions.",
     {index: index + 1 for index in LAYERS}),
    ("stored-before-layer", "the activations are those before the layer; look at the order of "
     "taking and storing.", {index: index - 1 for index in LAYERS}),
    ("counted-convolutions", "the n-th convolution is taken for module n; ReLUs and pools count.",
     {0: 0, 5: 2, 10: 4, 19: 8, 21: 9, 28: 12}),
    ("vgg16-indices", "these are the places of another VGG with fewer convolutions in a block.",
     {0: 0, 5: 5, 10: 10, 19: 17, 21: 19, 28: 24}),
    ("vgg19bn-indices", "these are the places of a VGG with batch normalisation.",
     {0: 0, 5: 7, 10: 14, 19: 27, 21: 30, 28: 40}),
)  # fmt: skip


def _of_the_layers(content: int | None, styles: Mapping[str, int | None]) -> Finding | None:
    """Return the mistake in which modules the terms are taken from."""
    taken = {CONTENT_LAYER: content} | {_INDEX[name]: index for name, index in styles.items()}
    taken = {index: module for index, module in taken.items() if module is not None}
    moved = {index: module for index, module in taken.items() if module != index}
    if not moved:
        return None
    for cause, text, places in _MAPS:
        # One layer may stay where it was: the last one has no ReLU behind it in a cut model.
        kept = sum(places[index] != module for index, module in taken.items())
        only_content = moved.keys() == {CONTENT_LAYER} and len(taken) > 1
        if kept <= 1 and not only_content and all(places[i] == m for i, m in moved.items()):
            return _hint(cause, text)
    if moved.keys() == {CONTENT_LAYER}:
        where = "the picture itself" if content == _PIXELS else f"module {content}"
        where = LAYERS.get(content, where)
        text = f"the content term is taken from {where}; which layer does the lesson take?"
        return _hint("wrong-content-layer", text)
    index, module = next(iter(moved.items()))
    where = LAYERS.get(module, f"module {module}")
    text = f"what is called {LAYERS[index]} is the output of {where}."
    return _hint("swapped-layers", text)


# --------------------------------------------------------------------------------------------------
# The loops: what they are tried on, and how they are watched
# --------------------------------------------------------------------------------------------------


class _Endless(BaseException):
    """Ends a loop that would not end by itself. No ``except Exception`` of an answer stops it."""


@dataclass
class _Landscape:
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
        tensor = torch.from_numpy(self.start.copy()).to(self.dtype)
        return in_layout(tensor, self.layout).clone().requires_grad_()


class _Model(nn.Module):
    """The cost in torch, with a model's parameters: some ask for a gradient, one does not."""

    def __init__(self, landscape: _Landscape, log: _Log) -> None:
        super().__init__()

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.array(values, dtype=np.float64)).to(landscape.dtype)

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
class _ClosureCall:
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
    closures: list[_ClosureCall] = field(default_factory=list)


@dataclass
class _Told:
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
    told: list[_Told] = field(default_factory=list)

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
                _ClosureCall(
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
        self.told.append(_Told(arguments, keywords, compare.numbers(self.target), values))


def _gradient_of(parameter: Tensor | None) -> np.ndarray | None:
    if parameter is None or parameter.grad is None:
        return None
    return compare.numbers(parameter.grad)


@dataclass
class _Run:
    """One call of a loop: what it was given, what it did, and what it returned."""

    landscape: _Landscape
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
        return compare.numbers(self.landscape.target())

    @property
    def slack(self) -> float:
        """How far from the right picture rounding may lead: a small part of one step."""
        share = 1e-5 if self.landscape.dtype == torch.float64 else 5e-3
        return share * (self.rate or self.landscape.unit)

    def near(self, given: np.ndarray, expected: np.ndarray) -> bool:
        if given.shape != expected.shape or not np.isfinite(given).all():
            return False
        return bool(np.abs(given - expected).max() <= self.slack)

    def same_loss(self, given: float, expected: float) -> bool:
        share = 1e-6 if self.landscape.dtype == torch.float64 else 1e-4
        scale = max(abs(expected), self.landscape.value(self.start) * 1e-3)
        return bool(abs(given - expected) <= share * scale)

    @property
    def moved(self) -> bool:
        return not self.near(self.final, self.start)


def _run(
    answer: Callable,
    landscape: _Landscape,
    steps: int,
    *,
    rate: float | None = None,
    watched: bool = False,
    limit: int,
) -> _Run:
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
    if rate is not None:
        words += f" at rate {number(rate)}"
    changes = list(watching.changes(state, model))
    return _Run(
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


def _landscape(draw: Draw, unit: float, **settings: Any) -> _Landscape:
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
    return _Landscape(start, kinds, k, d, unit, **settings)


def _list_findings(run: _Run, lengths: set[int] | None) -> Iterator[Finding]:
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


def _target_kind(run: _Run) -> Iterator[Finding]:
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


def _error_finding(run: _Run, answer: Callable) -> Finding:
    """Return what to say about a loop that raised."""
    error, log = run.outcome.error, run.log
    if isinstance(error, _Endless):
        text = f"it was still running after {log.limit} evaluations for {run.words}; "
        return Finding("behaviour", text + "what ends the loop?", "too-many-steps")
    found = _stopped(error, answer, run.words)
    message = str(error)
    unguarded = "'NoneType' object is not callable" in message and not run.watched
    if isinstance(error, TypeError) and unguarded:
        text = "without on_step it stops: on_step is None then, and cannot be called."
        return Finding("raises", text, "on-step-unguarded")
    if found.cause == "graph-used-twice":
        if len(log.evaluations) == 1:
            return replace(found, cause="loss-precomputed")
        if any(_is_limited(evaluation.x, run.start) for evaluation in log.evaluations):
            return replace(found, cause="target-clamped")
        return replace(found, cause="target-rebound")
    if found.cause == "leaf-changed-in-place" and "clamp" in found.text:
        return replace(found, cause="target-clamped")
    return found


# A loop that runs away is not judged by what happens out there, where numbers lose their meaning.
_FAR = 1e4


def _is_limited(values: np.ndarray, free: np.ndarray) -> bool:
    """Whether several pixels lie exactly on one bound, which they had no reason to share."""
    for bound in (values.min(), values.max()):
        if abs(bound) < _FAR and (values == bound).sum() >= 3 and (free == bound).sum() < 3:
            return True
    return False


def _nothing_moved(run: _Run) -> Finding:
    """Return why the target of a run is where it was."""
    log = run.log
    accumulated, steps = "accumulated" in log.events, log.steps
    if any(not run.near(e.x, run.start) for e in log.evaluations):
        text = "the pixels of another tensor move, and the target the caller gave stays as it was."
        return _hint("target-rebound", text)
    if steps and not any(step.holds_target for step in steps):
        return _hint("target-rebound", "the optimiser holds another tensor than the target.")
    if steps and all(step.rate == 0 for step in steps):
        return _hint("wrong-rate", "the steps are of size 0.")
    if not log.backward:
        return _hint("no-backward", "no backward pass was made, so there is no gradient to follow.")
    if not any(e.asks for e in log.evaluations):
        text = "the loss was taken of a target that asks for no gradient: the connection is cut."
        return _hint("detached", text)
    if log.evaluations and not any(e.shared for e in log.evaluations):
        text = "the loss was taken of a copy that has forgotten the target: the gradient stops "
        return _hint("detached", text + "there.")
    if not steps:
        return _hint("no-step", "gradients are computed, and no step is made with them.")
    if not accumulated:
        text = "a gradient is computed, but it is not where the optimiser looks for it."
        return _hint("no-backward", text)
    if _steps_follow(log, "accumulated"):
        text = "each gradient is cleared after it was computed and before it was used."
        return _hint("zeroed-too-late", text)
    return _hint("step-before-backward", "each step is made before there is a gradient.")


def _steps_follow(log: _Log, event: str) -> bool:
    """Whether most steps come after ``event``, with no evaluation in between."""
    follows, latest = [], ""
    for now in log.events:
        if now == "step":
            follows.append(latest == event)
        elif now in ("evaluation", event):
            latest = now
    return sum(follows) * 2 > len(follows)


# --------------------------------------------------------------------------------------------------
# optimize
# --------------------------------------------------------------------------------------------------


def _adam(
    landscape: _Landscape, rate: float, steps: int, *, other_epsilon: bool = False
) -> list[np.ndarray]:
    """Return the pictures after 0, 1, ... steps of Adam: Kingma and Ba 2015, Algorithm 1.

    The constants are torch's defaults, which are the paper's. ``other_epsilon`` gives the faster
    form at the end of the paper's section 2, whose epsilon counts a little differently.
    """
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    x = compare.numbers(landscape.target())
    m = np.zeros_like(x)
    v = np.zeros_like(x)
    pictures = [x]
    for t in range(1, steps + 1):
        g = landscape.gradient(x)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        if other_epsilon:
            x = x - rate * m_hat / (np.sqrt(v_hat) + epsilon / np.sqrt(1 - beta2**t))
        else:
            x = x - rate * m_hat / (np.sqrt(v_hat) + epsilon)
        pictures.append(x)
    return pictures


def _until_the_loss_rises(draw: Draw, rate: float) -> tuple[_Landscape, int]:
    """Return a landscape, and a number of steps within which Adam's loss rises at least once.

    Adam overshoots; an answer that gives up then must be seen to.
    """
    while True:
        landscape = _landscape(draw, rate)
        losses = [landscape.value(x) for x in _adam(landscape, rate, 25)]
        rises = [i for i in range(1, 23) if losses[i] > losses[i - 1]]
        if rises:
            return landscape, max(11, rises[0] + 3)


def _examine_optimize(answer: Callable, draw: Draw) -> list[Finding]:
    rate, other = draw.number(0.02, 0.08), draw.number(0.2, 0.6)
    long, steps = _until_the_loss_rises(draw, rate)
    plans = (
        (long, steps, rate, True),
        (_landscape(draw, other, steepness=200.0, module=True), 7, other, False),
        (_landscape(draw, rate, dtype=torch.float32, layout="channels_last"), 5, rate, True),
        (_landscape(draw, rate, steepness=1e-6, module=True), 4, rate, True),
        (_landscape(draw, other), 1, other, False),
        (_landscape(draw, other), 0, other, True),
        (long, steps, rate, True),
    )
    runs = []
    for landscape, count, lr, watched in plans:
        limit = 50 * count + 50
        runs.append(_run(answer, landscape, count, rate=lr, watched=watched, limit=limit))
        findings = _optimize_findings(answer, runs[-1])
        if findings and any(f.kind == "behaviour" and f.cause is None for f in findings):
            while len(runs) < 2 or len(runs) == 1:
                landscape, count, lr, watched = plans[len(runs)]
                limit = 50 * count + 50
                runs.append(_run(answer, landscape, count, rate=lr, watched=watched, limit=limit))
            hint = _loop_hint(answer, runs, findings)
            return [*findings, hint]
        if findings:
            return findings
    if not np.array_equal(runs[0].final, runs[-1].final):
        text = "the same start and objective lead to another picture when it is run again."
        return [Finding("behaviour", text, "random")]
    return []


def _optimize_findings(answer: Callable, run: _Run) -> list[Finding]:
    """Return what is wrong with one run; a wrong way of the target has no cause yet."""
    if run.outcome.error is not None:
        return [_error_finding(run, answer)]
    findings = [*_list_findings(run, None), *_target_kind(run), *run.model_findings]
    if findings:
        return findings
    pictures = _adam(run.landscape, run.rate, run.count)
    wrong = not run.near(run.final, pictures[-1])
    if wrong and run.landscape.steepness < 1e-3:
        others = _adam(run.landscape, run.rate, run.count, other_epsilon=True)
        wrong = not run.near(run.final, others[-1])
        pictures = pictures if wrong else others
    if wrong:
        return [Finding("behaviour", _wrong_way(run, pictures))]
    return [
        *_list_findings(run, {run.count}),
        *_loss_findings(run, pictures),
        *_told_findings(run, pictures),
    ]


def _wrong_way(run: _Run, pictures: Sequence[np.ndarray]) -> str:
    """Say how far the target is from where it should be."""
    if run.count == 0:
        return "with 0 steps the target must stay where it is, and it moved."
    if not run.moved:
        return f"the target did not move in {run.words}."
    way = np.abs(pictures[-1] - pictures[0]).max()
    off = np.abs(run.final - pictures[-1]).max()
    share = f"{100 * off / way:.2g} %" if off < way else f"{number(off / way)} times"
    return f"after {run.words} the target is not where Adam leads: off by {share} of the way."


def _loss_findings(run: _Run, pictures: Sequence[np.ndarray]) -> Iterator[Finding]:
    """Yield whether the returned losses are not those of the run, before or after each step."""
    losses = run.outcome.value
    right = [run.landscape.value(x) for x in pictures]
    if len(losses) != run.count or not losses:
        return
    for expected in (right[:-1], right[1:]):
        if all(run.same_loss(a, b) for a, b in zip(losses, expected, strict=True)):
            return
    if sum(run.same_loss(a, b) for a, b in zip(losses, right[:-1], strict=True)) == len(losses):
        return
    wrong = next(i for i, loss in enumerate(losses) if not run.same_loss(loss, right[i]))
    text = f"the target moves as it should, but the loss kept for step {wrong + 1} is not the loss "
    yield Finding("values", text + "of that step.", "losses-wrong")


def _told_findings(run: _Run, pictures: Sequence[np.ndarray]) -> Iterator[Finding]:
    """Yield how ``on_step`` was not called as promised."""
    told = run.log.told
    if not run.watched:
        return
    if len(told) < run.count:
        times = "never" if not told else f"{len(told)} times"
        text = f"on_step was called {times} in {run.count} steps; it is called once a step."
        yield Finding("behaviour", text, "on-step-not-called")
        return
    if len(told) > run.count:
        text = f"on_step was called {len(told)} times in {run.count} steps, not once a step."
        yield Finding("behaviour", text, "on-step-arguments")
        return
    firsts = set()
    for place, call in enumerate(told):
        near = [i for i in (place, place + 1) if run.near(call.now, pictures[i])]
        if not near:
            text = "on_step is called when the target has already moved on; it is meant to show "
            yield Finding("behaviour", text + "each step as it happens.", "on-step-late")
            return
        wrong = _told_wrong(run, call, place, pictures, firsts)
        if wrong:
            yield Finding("behaviour", f"on_step(step, target, loss): {wrong}", "on-step-arguments")
            return
    if len(firsts) > 1:
        text = "on_step(step, target, loss): step does not count one by one."
        yield Finding("behaviour", text, "on-step-arguments")


def _told_wrong(
    run: _Run, call: _Told, place: int, pictures: Sequence[np.ndarray], firsts: set[int]
) -> str | None:
    """Return in words what is wrong with the arguments of one call of ``on_step``."""
    names = ("step", "target", "loss")[len(call.arguments) :]
    if len(call.arguments) > 3 or set(call.keywords) != set(names):
        count = len(call.arguments) + len(call.keywords)
        return f"it was called with {count} argument{'s' * (count != 1)}."
    step, _, loss = (*call.arguments, *(call.keywords[name] for name in names))
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)):
        return f"step is of type {type(step).__name__}; it is a whole number."
    firsts.add(int(step) - place)
    if int(step) - place not in (0, 1):
        return f"step is {step} in step {place + 1}; count from 0 or from 1."
    pair = (place, place + 1)
    if call.given is None or not any(run.near(call.given, pictures[i]) for i in pair):
        return "target is not the picture of that step."
    if not isinstance(loss, float):
        return f"loss is of type {type(loss).__name__}; it is a Python float."
    if not any(run.same_loss(loss, run.landscape.value(pictures[i])) for i in pair):
        return f"loss is not the loss of step {place + 1}."
    return None


def _loop_hint(answer: Callable, runs: Sequence[_Run], findings: Sequence[Finding]) -> Finding:
    """Return the likely reason for a target that is not where Adam leads."""
    run = next(
        (r for r in runs if r.outcome.error is None and _optimize_findings(answer, r)), runs[-1]
    )
    if run.count == 0:
        return _hint("too-many-steps", "a step is made even when none is asked for.")
    if not run.moved:
        return _nothing_moved(run)
    again = _run(
        answer, run.landscape, run.count, rate=run.rate, watched=run.watched, limit=run.log.limit
    )
    if not np.array_equal(again.final, run.final):
        text = (
            "the same start and objective lead to another picture each time: chance plays a part."
        )
        return _hint("random", text)
    return (
        _limited_hint(run)
        or _order_hint(run)
        or _count_hint(answer, runs, run)
        or _rebound_hint(run)
        or _precomputed_hint(run)
        or _optimizer_hint(runs, run)
        or _gradient_hint(run)
        or _by_hand_hint(runs, run)
        or _hint("wrong-optimiser", "the rule by which a gradient becomes a step is not Adam's.")
    )


def _limited_hint(run: _Run) -> Finding | None:
    free = _adam(run.landscape, run.rate, run.count)[-1]
    text = "pixels are kept within limits; a normalised picture goes beyond 0 and 1."
    if _is_limited(run.final, free):
        return _hint("target-clamped", text)
    if any(_is_limited(e.x, run.start) for e in run.log.evaluations):
        return _hint("target-clamped", text)
    return None


def _order_hint(run: _Run) -> Finding | None:
    """Return whether steps come before the backward pass of their own evaluation."""
    events = [e for e in run.log.events if e in ("evaluation", "accumulated", "step")]
    early = events and events[0] == "step"
    late = run.log.steps and "accumulated" in events and not _steps_follow(run.log, "accumulated")
    repeated = _precomputed_hint(run)
    if early or (late and not repeated and run.log.steps[0].gradient is None):
        text = "a step is made before the backward pass it should follow."
        return _hint("step-before-backward", text)
    return None


def _count_hint(answer: Callable, runs: Sequence[_Run], run: _Run) -> Finding | None:
    """Return whether the way is Adam's, and only its length is wrong."""
    counts = []
    for one in runs:
        pictures = _adam(one.landscape, one.rate, 3 * one.count + 25)
        found = [i for i, x in enumerate(pictures) if one.near(one.final, x)]
        if one.outcome.error is not None or not found:
            return None
        counts.append((found[0], one.count))
    made, asked = counts[list(runs).index(run)]
    text = f"the target is where it should be after {made} step{'s' * (made != 1)}, and {asked} "
    text += "were asked for."
    if all(found == min(count, 1) for found, count in counts) and len(run.log.backward) < 2:
        return _hint("first-step-only", f"{text} What ends the loop?")
    return _hint("too-many-steps" if made > asked else "too-few-steps", text)


def _rebound_hint(run: _Run) -> Finding | None:
    """Return whether the loss is taken of another tensor, while the target goes its own way."""
    last = run.log.evaluations[-1] if run.log.evaluations else None
    if last is not None and not last.shared and last.leaf:
        text = "after the first step the loss is taken of another tensor than the one that moves."
        return _hint("target-rebound", text)
    return None


def _precomputed_hint(run: _Run) -> Finding | None:
    """Return whether all steps use one backward pass or one evaluation."""
    log = run.log
    if len(log.backward) == 1 and run.count > 1 and len(log.steps) != 1:
        text = "every step uses the loss of the start; the loss of the moved target is never taken."
        return _hint("loss-precomputed", text)
    return None


def _optimizer_hint(runs: Sequence[_Run], run: _Run) -> Finding | None:
    """Return what is wrong with the optimiser's kind, number, or settings."""
    steps = run.log.steps
    if not steps:
        return None
    kinds = {type(step.optimizer) for step in steps}
    if not any(issubclass(kind, torch.optim.Adam) for kind in kinds) or torch.optim.AdamW in kinds:
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        return _hint("wrong-optimiser", f"the steps are made by {names}; the contract is Adam.")
    if len({id(step.optimizer) for step in steps}) > 1:
        text = "a new optimiser is made on the way; what Adam has learned of the gradients is lost."
        return _hint("optimiser-recreated", text)
    if len(steps) != run.count:
        text = f"step was called {len(steps)} times, and {run.count} steps were asked for."
        cause = "too-many-steps" if len(steps) > run.count else "too-few-steps"
        return _hint(cause, text)
    group = steps[0].optimizer.param_groups[0]
    if group.get("maximize"):
        return _hint("maximises", "the steps go uphill: the loss is made larger.")
    rates = [step.rate for step in steps]
    if any(abs(rate / run.rate - 1) > 1e-9 for rate in rates):
        return _rate_hint(runs, [_rates(one) for one in runs])
    default = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
    for name, value in default.items():
        if group.get(name, value) != value:
            text = f"this is Adam with another {name} than torch's own."
            return _hint("wrong-optimiser", text)
    return None


def _rates(run: _Run) -> list[float]:
    return [step.rate for step in run.log.steps]


def _rate_hint(runs: Sequence[_Run], rates: Sequence[Sequence[float]]) -> Finding:
    """Return whether the rate is another one, or always the same, given those of each run."""
    used = [row[0] for row in rates if len(row)]
    asked = [run.rate for run, row in zip(runs, rates, strict=True) if len(row)]
    steady = all(np.allclose(row, row[0], rtol=1e-3) for row in rates if len(row))
    if steady and len(used) > 1 and np.allclose(used, used[0], rtol=1e-3):
        text = f"whatever lr is, steps are made at rate {number(used[0])}."
        return _hint("rate-ignored", text)
    if not steady:
        return _hint("wrong-rate", "the rate changes on the way; lr is meant for every step.")
    text = f"steps are made at rate {number(used[0])}, and lr is {number(asked[0])}."
    return _hint("wrong-rate", text)


def _gradient_hint(run: _Run) -> Finding | None:
    """Return how the gradients that the optimiser was given differ from the right ones."""
    steps = [step for step in run.log.steps if step.gradient is not None]
    if not steps:
        return None
    right = [run.landscape.gradient(step.before) for step in steps]
    given = [step.gradient for step in steps]
    tolerance = 1e-6 if run.landscape.dtype == torch.float64 else 1e-3

    def close(one: np.ndarray, other: np.ndarray) -> bool:
        return bool(np.abs(one - other).max() <= tolerance * np.abs(other).max())

    if all(map(close, given, right)):
        return _between_hint(run)
    if all(close(one, -other) for one, other in zip(given, right, strict=True)):
        return _hint("maximises", "the steps go uphill: the loss is made larger.")
    if close(given[0], right[0]) and _is_pile(given, right, close):
        place = next(i for i in range(len(given)) if not close(given[i], right[i]))
        text = f"from step {place + 1} on the gradient still holds those of earlier steps."
        return _hint("no-zero-grad", text)
    if all(map(close, given[1:], right[:-1])):
        return _hint("step-before-backward", "each step uses the gradient of the step before.")
    text = "the gradient is not the loss's own when the step is made: it was changed in between."
    return _hint("gradient-altered", text)


def _is_pile(given: Sequence, right: Sequence, close: Callable) -> bool:
    """Whether each gradient is the sum of the last few right ones."""
    for place, one in enumerate(given):
        total, found = np.zeros_like(one), False
        for earlier in right[place::-1]:
            total = total + earlier
            found = found or close(one, total)
        if not found:
            return False
    return True


def _between_hint(run: _Run) -> Finding | None:
    """Return whether something else than the optimiser moves the target."""
    places = [step.after for step in run.log.steps], [step.before for step in run.log.steps[1:]]
    ends = [*places[1], run.final]
    if any(a is not None and not run.near(b, a) for a, b in zip(places[0], ends, strict=True)):
        text = "the pixels are also changed by something else than the optimiser's steps."
        return _hint("target-clamped", text)
    return None


def _by_hand_hint(runs: Sequence[_Run], run: _Run) -> Finding | None:
    """Return what is wrong with steps that no optimiser of torch makes."""
    if run.log.steps:
        return None
    rates = [_rates_by_hand(one) for one in runs]
    if rates[list(runs).index(run)] is None:
        return None
    if all(rate < 0 for rate in rates[list(runs).index(run)]):
        return _hint("maximises", "the steps go uphill: the loss is made larger.")
    row = np.array(rates[list(runs).index(run)]) / run.rate
    times = np.arange(1, len(row) + 1)
    if np.allclose(row, (1 - 0.9**times) / np.sqrt(1 - 0.999**times), rtol=1e-3):
        text = "the two averages start from 0, and the first steps are not corrected for that."
        return _hint("wrong-optimiser", text)
    known = [(one, row) for one, row in zip(runs, rates, strict=True) if row]
    return _rate_hint([one for one, _ in known], [row for _, row in known])


def _rates_by_hand(run: _Run) -> list[float] | None:
    """Return the rate of each step if all go where Adam points, given where they were made."""
    pictures = [run.start]
    for x in [e.x for e in run.log.evaluations] + [run.final]:
        if x.shape == run.start.shape and not np.array_equal(x, pictures[-1]):
            pictures.append(x)
    m = v = 0.0
    rates = []
    for t, (x, following) in enumerate(itertools.pairwise(pictures), start=1):
        g = run.landscape.gradient(x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        direction = -(m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        way = following - x
        rate = float((way * direction).sum() / (direction * direction).sum())
        if np.abs(way - rate * direction).max() > 1e-3 * np.abs(way).max():
            return None
        rates.append(rate)
    return rates or None


# --------------------------------------------------------------------------------------------------
# optimize_lbfgs
# --------------------------------------------------------------------------------------------------


def _bowl(draw: Draw, **settings: Any) -> _Landscape:
    """Return a round valley, fifty times steeper in some directions than in others.

    L-BFGS needs some sixty evaluations for it. The first step of each new L-BFGS is short there,
    as torch limits it by the size of the gradient.
    """
    landscape = _landscape(draw, 1.0, **settings)
    shape = landscape.start.shape
    count = landscape.start.size
    k = 50 ** np.array([draw.number(0, 1) for _ in range(count)]).reshape(shape)
    far = np.sign(landscape.d) * np.array([draw.number(2.5, 4) for _ in range(count)]).reshape(
        shape
    )
    kinds = np.where(landscape.kinds == 1, 0, landscape.kinds)
    as_float32 = [values.astype(np.float32).astype(np.float64) for values in (k, far)]
    return replace(landscape, kinds=kinds, k=as_float32[0], d=as_float32[1])


def _examine_optimize_lbfgs(answer: Callable, draw: Draw) -> list[Finding]:
    plans = (
        (_bowl(draw), 21),
        (_bowl(draw, dtype=torch.float32, module=True), 3),
        (_bowl(draw, module=True), 1),
        (_bowl(draw), 0),
    )
    runs: list[_Run] = []
    for landscape, steps in plans:
        runs.append(_run(answer, landscape, steps, limit=100 * steps + 100))
        findings = _lbfgs_findings(answer, runs[-1])
        if findings:
            return findings
    again = _run(answer, *plans[1], limit=400)
    if not np.array_equal(again.final, runs[1].final):
        text = "the same start and objective lead to another picture when it is run again."
        return [Finding("behaviour", text, "random")]
    return []


def _lbfgs_findings(answer: Callable, run: _Run) -> list[Finding]:
    """Return what is wrong with one run of L-BFGS."""
    if run.outcome.error is not None:
        return [_closure_error(run, answer)]
    calls = [call for step in run.log.steps for call in step.closures]
    findings = [*_list_findings(run, None), *run.model_findings]
    findings = findings or list(_lbfgs_kind(run)) or list(_closure_findings(run, calls))
    findings = findings or list(_target_kind(run))
    if findings:
        return findings
    if run.count == 0:
        if run.moved:
            text = "with 0 steps the target must stay where it is, and it moved."
            return [Finding("behaviour", text, "too-many-steps")]
        return list(_list_findings(run, {0}))
    if not run.moved:
        found = Finding("behaviour", f"the target did not move in {run.words}.")
        return [found, _nothing_moved(run)]
    findings = list(_count_findings(run, calls))
    return findings or list(_progress_findings(run)) or list(_lbfgs_losses(run, calls))


def _lbfgs_kind(run: _Run) -> Iterator[Finding]:
    """Yield whether anything but L-BFGS moves the target, or the loss is computed once."""
    kinds = {type(step.optimizer) for step in run.log.steps}
    calls = sum(len(step.closures) for step in run.log.steps)
    if kinds and not all(issubclass(kind, torch.optim.LBFGS) for kind in kinds):
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        text = f"the steps are made by {names}; the contract is L-BFGS."
        yield Finding("behaviour", text, "wrong-optimiser")
    elif not kinds and run.moved:
        text = "the target moves, but no step of torch's L-BFGS was made."
        yield Finding("behaviour", text, "wrong-optimiser")
    elif _lbfgs_limits(run):
        yield _lbfgs_limits(run)
    elif calls > 1 and run.moved and len(run.log.evaluations) < min(calls, 2):
        text = "every evaluation is that of the start: the loss is computed outside the closure."
        yield Finding("behaviour", text, "loss-precomputed")


def _closure_error(run: _Run, answer: Callable) -> Finding:
    """Return what to say about an error, where the closure may be the reason."""
    found = _error_finding(run, answer)
    message = str(run.outcome.error)
    if isinstance(run.outcome.error, TypeError):
        if "'NoneType'" in message and "float" in message:
            text = "the closure returns nothing, and L-BFGS needs the loss it was called for."
            return Finding("raises", text, "closure-returns-nothing")
        if "closure" in message or ("not callable" in message and "Tensor" in message):
            text = "L-BFGS evaluates several times a step, so step must be given a function that "
            return Finding("raises", text + "can be called again.", "closure-not-given")
    return found


def _lbfgs_limits(run: _Run) -> Finding | None:
    """Return whether something else than the optimiser moves pixels, or the loss's own."""
    text = "pixels are kept within limits while L-BFGS believes they are where it put them."
    if any(_is_limited(e.x, run.start) for e in run.log.evaluations):
        return Finding("behaviour", text, "target-clamped")
    if run.log.steps:
        last = run.log.steps[-1].after
        finite = last is not None and np.isfinite(last).all()
        if finite and not run.near(run.final, last):
            if _is_limited(run.final, last):
                return Finding("behaviour", text, "target-clamped")
            text = "the target is moved once more after the last step of the optimiser."
            return Finding("behaviour", text, "gradient-altered")
    return None


def _closure_findings(run: _Run, calls: Sequence[_ClosureCall]) -> Iterator[Finding]:
    """Yield how what L-BFGS was given differs from the loss and its gradient."""
    calls = [call for call in calls if np.isfinite(call.before).all()]
    calls = [call for call in calls if np.abs(call.before).max() < _FAR]
    right = [run.landscape.gradient(call.before) for call in calls]
    share = 1e-6 if run.landscape.dtype == torch.float64 else 1e-3
    size = np.abs(right[0]).max() if right else 0.0

    def close(one: np.ndarray | None, other: np.ndarray) -> bool:
        scale = max(np.abs(other).max(), 1e-2 * size)
        return one is not None and bool(np.abs(one - other).max() <= share * scale)

    for place, call in enumerate(calls):
        if not run.near(call.before, call.after):
            text = f"evaluation {place + 1} moves the target itself; only the optimiser may."
            yield Finding("behaviour", text, _moved_by(call))
            return
    given = [call.gradient for call in calls]
    if not all(map(close, given, right)):
        place = next(i for i in range(len(calls)) if not close(given[i], right[i]))
        text = f"in evaluation {place + 1} of {run.words}, the gradient L-BFGS sees is not that "
        yield Finding("behaviour", text + "of the loss there.")
        yield _closure_hint(run, given, right, close)
        return
    for place, call in enumerate(calls):
        try:
            returned = float(call.returned)
        except (TypeError, ValueError):
            returned = float("nan")
        if not run.same_loss(returned, run.landscape.value(call.before)):
            text = f"evaluation {place + 1}: what the closure returns is not the loss there."
            yield Finding("behaviour", text, "closure-returns-nothing")
            return


def _moved_by(call: _ClosureCall) -> str:
    changed = (call.after != call.before) & np.isfinite(call.after)
    return "target-clamped" if changed.mean() < 0.8 and _is_limited(call.after, call.before) else (
        "random"
    )  # fmt: skip


def _closure_hint(run: _Run, given: Sequence, right: Sequence, close: Callable) -> Finding:
    """Return why the gradients of the closure are wrong."""
    if any(one is None or not one.any() for one in given):
        return _nothing_moved(run)
    if all(close(one, -other) for one, other in zip(given, right, strict=True)):
        return _hint("maximises", "the steps go uphill: the loss is made larger.")
    if close(given[0], right[0]):
        total = np.zeros_like(right[0])
        piles = []
        for one, other in zip(given[:3], right[:3], strict=True):
            total = total + other
            piles.append(close(one, total))
        if all(piles) and len(piles) > 1:
            text = "the gradients of all evaluations pile up; each must start from nothing."
            return _hint("no-zero-grad", text)
    if not any(e.shared for e in run.log.evaluations[1:]):
        return _hint(
            "target-rebound", "the loss is taken of another tensor than the one that moves."
        )
    text = "the gradient is not the loss's own when L-BFGS reads it: it was changed in between."
    return _hint("gradient-altered", text)


def _count_findings(run: _Run, calls: Sequence[_ClosureCall]) -> Iterator[Finding]:
    """Yield whether neither the steps nor the evaluations are as many as were asked for."""
    made, evaluated = len(run.log.steps), len(calls)
    before_last = evaluated - len(run.log.steps[-1].closures)
    # Once the gradient has died away, there is nothing left to evaluate.
    slope = np.abs(run.landscape.gradient(run.final)).max()
    arrived = slope < 3e-3
    by_evaluations = before_last < run.count and (evaluated >= run.count or arrived)
    if made == run.count or by_evaluations:
        return
    text = f"{made} step{'s' * (made != 1)} and {evaluated} evaluations were made; {run.count} of "
    text += "either were asked for."
    cause = "too-many-steps" if made > run.count or evaluated > 25 * run.count else "too-few-steps"
    if made == 1:
        cause = "first-step-only"
    yield Finding("behaviour", text, cause)


def _progress_findings(run: _Run) -> Iterator[Finding]:
    """Yield whether as many evaluations as were asked for bring as little as no L-BFGS would."""
    if run.count < 10:
        return
    values = [e.loss for e in run.log.evaluations[: run.count + 2]]
    first, best = run.landscape.value(run.start), min(values)
    if best <= _SLOW * first:
        return
    optimizers = {id(step.optimizer) for step in run.log.steps}
    text = f"{len(values)} evaluations bring the loss to {100 * best / first:.2g} % of the first "
    yield Finding("behaviour", text + "one; L-BFGS gets much further on this valley.")
    if len(optimizers) > 1:
        text = "a new optimiser is made on the way; what L-BFGS has learned of the valley is lost."
        yield _hint("optimiser-recreated", text)
    else:
        yield _hint("wrong-rate", "the steps are too short: which rate does this optimiser need?")


# Share of the first loss that is still there after 25 evaluations: gradient descent with torch's
# first step leaves more, L-BFGS with a rate of 0.1 or above less.
_SLOW = 0.2


def _lbfgs_losses(run: _Run, calls: Sequence[_ClosureCall]) -> Iterator[Finding]:
    """Yield whether the losses are not those of the run, one a step or one an evaluation."""
    losses = run.outcome.value
    allowed = {run.count, len(run.log.steps), len(calls), len(run.log.evaluations)}
    findings = list(_list_findings(run, allowed))
    yield from findings
    if findings:
        return
    values = [e.loss for e in run.log.evaluations]
    known = iter(values)
    starts = [step.evaluations for step in run.log.steps]
    windows = list(zip([0, *starts], [*starts[1:], len(values)], strict=False))
    for place, loss in enumerate(losses):
        if len(losses) == len(starts):
            # One loss a step: taken in it, just before it or just after it.
            first, last = windows[place]
            found = any(run.same_loss(loss, other) for other in values[first:last])
        else:
            found = any(run.same_loss(loss, other) for other in known)
        if not found:
            text = f"the loss kept at place {place + 1} is none that this run had there."
            yield Finding("values", text, "losses-wrong")
            return


MAKE_TARGET = Exercise(
    name="make_target",
    parameters={"content": REQUIRED},
    summary=(
        "The target is a copy with memory of its own that an optimiser can move, in any dtype, "
        "layout and device, and content stays as it was."
    ),
    examine=_examine_make_target,
)

MAKE_OBJECTIVE = Exercise(
    name="make_objective",
    parameters=dict.fromkeys(
        ("content", "style", "model", "alpha", "beta", "style_weights"), REQUIRED
    ),
    summary=(
        "Loss and gradient agree with the formula for any alpha, beta and weights, and what "
        "content and style say is computed once."
    ),
    examine=_examine_make_objective,
)

OPTIMIZE = Exercise(
    name="optimize",
    parameters={
        **dict.fromkeys(("target", "objective", "steps", "lr"), REQUIRED),
        "on_step": None,
    },
    summary=(
        "The target goes where Adam leads at any rate, nothing else moves, and losses and on_step "
        "tell what happened."
    ),
    examine=_examine_optimize,
)

OPTIMIZE_LBFGS = Exercise(
    name="optimize_lbfgs",
    parameters=dict.fromkeys(("target", "objective", "steps"), REQUIRED),
    summary=(
        "L-BFGS is given the loss and a fresh gradient at every evaluation, and moves the target "
        "alone."
    ),
    examine=_examine_optimize_lbfgs,
)

EXERCISES = (MAKE_TARGET, MAKE_OBJECTIVE, OPTIMIZE, OPTIMIZE_LBFGS)
