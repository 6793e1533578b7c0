"""Lesson 05: what an answer must satisfy in ``make_target`` and the exercises around the loop.

``make_target`` is tried with pictures of every kind, ``make_objective`` is compared with its
formula in several scenes, and the two loops are watched while they run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nst_helpers.checker import calling, compare, watching
from nst_helpers.checker.adam import examine_optimize
from nst_helpers.checker.calling import REQUIRED
from nst_helpers.checker.draw import Draw, copied
from nst_helpers.checker.flow import Exercise, likely, stopped
from nst_helpers.checker.functions import accelerators, elsewhere, result_kind, wrong_there
from nst_helpers.checker.lbfgs import examine_optimize_lbfgs
from nst_helpers.checker.networks import small_vgg19
from nst_helpers.checker.objective_mistakes import wrong_objective
from nst_helpers.checker.objectives import (
    LAYERS,
    OPERATIONS,
    STYLE_NAMES,
    Scene,
    Settings,
    Wrong,
    amounts_of,
    gradient_of,
    is_right,
    loss_of,
    make,
    tried,
)
from nst_helpers.checker.report import Finding


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
    for device in ("meta", *accelerators()):
        findings = findings or list(_target_elsewhere(answer, draw, device))
    return findings


def _target_findings(answer: Callable, picture: _Picture) -> Iterator[Finding]:
    """Yield what is wrong with the target made from one picture."""
    content, words = picture.content, picture.words
    before, state = compare.numbers(content), _state(content)
    outcome = calling.call(answer, {"content": content})
    if outcome.error is not None:
        yield stopped(outcome.error, answer, words)
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
    if not content.requires_grad:
        # A content picture asks for no gradient in the lesson, where cloning is enough; with one
        # that does, only what happens to content itself is judged.
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
        yield likely("scaled-or-clamped", "the values were scaled or limited on the way.")
    elif given.max() == given.min():
        yield likely(
            "noise", "every value is the same: the start here is the content, not a blank."
        )
    elif _is_remembered(answer, picture.content, given):
        text = "another picture gets the very same target: something is remembered."
        yield likely("shared-state", text)
    else:
        yield likely("noise", "the start here is a copy of the content, without anything added.")


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
            yield stopped(error, None, "a first step on the target")
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
            yield stopped(outcome.error, answer, "a second picture")
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


def _target_elsewhere(answer: Callable, draw: Draw, device: str) -> Iterator[Finding]:
    """Yield whether the target follows its content to a device that is not the CPU."""
    content = draw.image(4, 5, dtype=torch.float32).to(device)
    with elsewhere():
        outcome = calling.call(answer, {"content": content})
    if outcome.error is not None:
        finding = stopped(outcome.error, answer, "a picture on another device than the CPU")
        # On the CPU it worked, so the device is what it does not follow.
        cause = "wrong-device" if finding.cause == "raises" else finding.cause
        yield Finding("device", finding.text, cause)
        return
    kind = list(result_kind(outcome.value, content, content, "the shape of content"))
    yield from kind
    if not kind:
        yield from wrong_there(outcome.value, content, 1)


def _examine_make_objective(answer: Callable, draw: Draw) -> list[Finding]:
    try:
        for scene in _scenes(draw):
            findings = _scene_findings(answer, scene)
            if findings:
                return findings
            last = scene
        return _objective_properties(answer, last, draw)
    except Wrong as wrong:
        return wrong.findings


def _scenes(draw: Draw) -> Iterator[Scene]:
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
    scene.settings = Settings(draw.integer(2, 5), beta, whole)
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
) -> Scene:
    """Return a scene in which every term that counts is about as large as the others.

    A term that is a thousandth of the sum could be wrong or missing unseen. No factor is 1, and
    the weights stand in no particular order.
    """
    names = draw.shuffled(STYLE_NAMES)[:layers]
    scene = Scene(words, content, style, model, Settings(1, 1, {}), targets)
    while not _is_fit(scene):
        height, width = targets[0].shape[-2:]
        fresh = _some_targets(draw, height, width, count=1, dtype=targets[0].dtype)
        targets = [*fresh, *targets[1:]]
        scene = Scene(words, content, style, model, Settings(1, 1, {}), targets)
    content_term, *style_terms = scene.measured(0)[0]
    sizes = dict(zip(LAYERS.values(), style_terms, strict=True))
    middle = sorted(sizes[name] for name in names)[len(names) // 2]
    weights = {name: draw.number(1.5, 4) * middle / sizes[name] for name in names}
    alpha = draw.number(1.5, 4)
    beta = alpha * content_term / (middle * len(names)) * draw.number(0.3, 0.6)
    scene.settings = Settings(alpha, beta, weights)
    return scene


def _is_fit(scene: Scene) -> bool:
    """Return whether an answer can be judged in a scene.

    The deepest map of a small picture is one position: a ReLU may leave nothing there of target
    and style alike, and a term that is 0 cannot be balanced. In float32 nothing may hang on a
    rounding.
    """
    double = scene.content.dtype == torch.float64
    return bool(scene.measured(0)[0].all()) and (double or scene.is_steady())


def _some_targets(
    draw: Draw, height: int, width: int, *, count: int, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Return targets of various contrast: no two terms of the loss grow alike between them."""
    return [
        draw.number(0.6, 1.6) * draw.activation(3, height, width, dtype=dtype) for _ in range(count)
    ]


def _scene_findings(answer: Callable, scene: Scene) -> list[Finding]:
    """Return what is wrong in one scene, with the likely cause."""
    settings = replace(scene.settings, weights=dict(scene.settings.weights))
    before = {name: compare.numbers(getattr(scene, name)) for name in ("content", "style")}
    flags = {name: getattr(scene, name).requires_grad for name in before}
    model = watching.record(scene.model)
    function = make(answer, scene, settings, given=True)
    findings = list(watching.changes(model, scene.model))
    findings += _changed(scene, settings, before, flags)
    if findings:
        return findings
    made = tried(answer, scene, settings, function)
    findings = list(watching.changes(model, scene.model))
    findings += _changed(scene, settings, before, flags)
    if findings:
        return findings
    if not is_right(made, scene):
        return wrong_objective(answer, scene, made)
    return _graph_findings(answer, scene, function)


def _changed(
    scene: Scene,
    settings: Settings,
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


def _graph_findings(answer: Callable, scene: Scene, function: Callable) -> list[Finding]:
    """Return whether a second backward pass works and reaches the target alone."""
    for turn in range(2):
        target = copied(scene.targets[0]).requires_grad_()
        value = loss_of(function, target, answer, scene.words)
        try:
            value.backward()
        except RuntimeError as error:
            found = stopped(error, answer, "a second step" if turn else "a first step")
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


def _objective_properties(answer: Callable, scene: Scene, draw: Draw) -> list[Finding]:
    """Return what is wrong that one value and gradient cannot show."""
    findings = _precomputed_findings(answer, draw)
    findings = findings or _start_findings(answer, scene)
    for device in ("meta", *accelerators()):
        findings = findings or _objective_elsewhere(answer, draw, device)
    return findings


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
    function = make(answer, scene, scene.settings, given=True)
    originals = {"content": content.clone(), "style": style.clone()}
    with torch.no_grad():
        content.add_(draw.activation(3, h, w))
        style.mul_(2)
    changed = {"content": content, "style": style}
    target = copied(scene.targets[0]).requires_grad_()
    seen, values = [], []
    for _ in range(3):
        with _Seen() as images:
            values.append(float(loss_of(function, target, answer, scene.words).detach()))
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
    right = amounts_of(scene.settings) @ scene.measured(0)[0]
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
    moved = float(loss_of(function, target, answer, scene.words).detach())
    right = amounts_of(scene.settings) @ scene.measured(1)[0]
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


def _start_findings(answer: Callable, scene: Scene) -> list[Finding]:
    """Return whether the gradient is finite at the usual start, where the content term is 0."""
    settings = replace(scene.settings, beta=scene.settings.beta or 3.0)
    function = make(answer, scene, settings)
    target = copied(scene.content).requires_grad_()
    value = loss_of(function, target, answer, "a target equal to content")
    gradient = gradient_of(function, value, target, answer)
    if not np.isfinite(gradient).all():
        text = "at the very start, where the target equals content, the gradient is nan or inf."
        return [Finding("finite", text, "not-finite")]
    return []


def _objective_elsewhere(answer: Callable, draw: Draw, device: str) -> list[Finding]:
    """Return whether the objective follows its inputs to a device that is not the CPU."""
    scene = _balanced(
        draw,
        "pictures on another device than the CPU" if device == "meta" else f"device {device}",
        draw.image(17, 20, dtype=torch.float32),
        draw.image(18, 16, dtype=torch.float32),
        small_vgg19(draw, until=28, dtype=torch.float32),
        2,
        [draw.image(17, 20, dtype=torch.float32)],
    )
    right = torch.tensor(amounts_of(scene.settings) @ scene.measured(0)[0], device=device)
    scene.content, scene.style = scene.content.to(device), scene.style.to(device)
    scene.model = scene.model.to(device)
    target = scene.targets[0].to(device).requires_grad_()
    try:
        with elsewhere():
            function = make(answer, scene, scene.settings, given=True)
            loss = loss_of(function, target, answer, scene.words)
    except Wrong as wrong:
        first = wrong.findings[0]
        # On the CPU it worked, so the device is what it does not follow.
        cause = "wrong-device" if first.cause == "raises" else first.cause
        return [Finding("device", first.text, cause)]
    return list(wrong_there(loss, right.to(loss.dtype), OPERATIONS))


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
    examine=examine_optimize,
)

OPTIMIZE_LBFGS = Exercise(
    name="optimize_lbfgs",
    parameters=dict.fromkeys(("target", "objective", "steps"), REQUIRED),
    summary=(
        "L-BFGS is given the loss and a fresh gradient at every evaluation, and moves the target "
        "alone."
    ),
    examine=examine_optimize_lbfgs,
)

EXERCISES = (MAKE_TARGET, MAKE_OBJECTIVE, OPTIMIZE, OPTIMIZE_LBFGS)
