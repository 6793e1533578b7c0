"""What ``make_objective`` promises: its formula, scenes to try it in, and how an answer is asked.

Source: Gatys, Ecker and Bethge 2016, equations 1 to 7, with the constants of the lesson.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nst_helpers.checker import calling, compare
from nst_helpers.checker.draw import copied
from nst_helpers.checker.flow import likely, stopped
from nst_helpers.checker.functions import result_kind
from nst_helpers.checker.report import Finding

# The six layers of Gatys, Ecker and Bethge 2016, section 3, by their index in VGG-19's features.
LAYERS = {0: "conv1_1", 5: "conv2_1", 10: "conv3_1", 19: "conv4_1", 21: "conv4_2", 28: "conv5_1"}
CONTENT_LAYER = 21
STYLE_NAMES = tuple(name for index, name in LAYERS.items() if index != CONTENT_LAYER)
INDEX = {name: index for index, name in LAYERS.items()}
# Some thirty layers of a few dozen products each.
OPERATIONS = 4096
# The picture itself, before any module.
PIXELS = -1
# Some thirty layers in float32 change a number by less than this share of the largest beside it.
STEADY = 3e-5


def activations(image: Tensor, model: nn.Sequential) -> dict[int, Tensor]:
    """Return the output of every module by its index, and the picture itself."""
    outputs = {PIXELS: image}
    x = image
    for index, module in enumerate(model):
        x = module(x)
        outputs[index] = x
    return outputs


def gram(activation: Tensor) -> Tensor:
    """G_ij = sum over positions p of F_ip F_jp; (1, C, H, W) -> (C, C)."""
    maps = activation[0]
    return torch.stack([(one * maps).sum(dim=(1, 2)) for one in maps])


def mean_square(difference: Tensor) -> Tensor:
    """Return the mean of the squares."""
    return (difference * difference).sum() / difference.numel()


def layer_loss(target: Tensor, style: Tensor) -> Tensor:
    """mean((G - A)^2) / (C H W), sizes of the target's activation."""
    _, channels, height, width = target.shape
    return mean_square(gram(target) - gram(style)) / (channels * height * width)


@dataclass(frozen=True)
class Settings:
    """The numbers an objective is made with."""

    alpha: float
    beta: float
    weights: Mapping[str, float]


@dataclass
class Scene:
    """Pictures and a model, what a student would call them, and some targets to try."""

    words: str
    content: Tensor
    style: Tensor
    model: nn.Sequential
    settings: Settings
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
                "content": activations(in_float64(self.content), self.exact),
                "style": activations(in_float64(self.style), self.exact),
            }
        self._measured: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._losses: dict[int, list[float]] = {}

    @functools.cached_property
    def found(self) -> list[dict[int, Tensor]]:
        """What each module gives for each of the targets."""
        with torch.no_grad():
            return [activations(in_float64(target), self.exact) for target in self.targets]

    def is_steady(self) -> bool:
        """Return whether rounding in float32 cannot change what a ReLU or a pool lets through.

        Of two numbers that are nearly equal a pool may choose either, and near 0 a ReLU may do
        either: with few pixels, that changes the gradient of the first target altogether.
        """
        outputs = self.found[0]
        for index, module in enumerate(self.exact):
            before = outputs[index - 1]
            if isinstance(module, nn.ReLU):
                margins = before.abs()
            elif isinstance(module, nn.MaxPool2d):
                windows = nn.functional.unfold(before.transpose(0, 1), 2, stride=2)
                first, second = windows.topk(2, dim=1).values.unbind(1)
                margins = (first - second)[first > 0]  # nothing flows back through a ReLU's zeros
            else:
                continue
            if margins.numel() and margins.min() < STEADY * before.abs().max():
                return False
        return True

    def layer_losses(self, index: int) -> list[float]:
        """Return the style loss of one module's output for each of the targets."""
        if index not in self._losses:
            style = self.outputs["style"][index]
            self._losses[index] = [float(layer_loss(f[index], style)) for f in self.found]
        return self._losses[index]

    @property
    def relative(self) -> float:
        """What rounding may change.

        In float64 all of it is far below the rounding of one float32 constant.
        """
        plain = self.content.dtype == torch.float64
        count = 16 if plain else OPERATIONS
        return compare.tolerance(self.content.dtype, self.content.device, count)

    def terms(self, target: Tensor) -> list[Tensor]:
        """Return the content term, then the style term of each layer of ``LAYERS``, unweighted."""
        found = activations(target, self.exact)
        content, style = self.outputs["content"], self.outputs["style"]
        first = mean_square(found[CONTENT_LAYER] - content[CONTENT_LAYER])
        return [first, *(layer_loss(found[index], style[index]) for index in LAYERS)]

    def measured(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the terms at one of the targets, and their gradients, one a row."""
        if place not in self._measured:
            target = in_float64(self.targets[place]).requires_grad_()
            terms = self.terms(target)
            values = np.array([float(term.detach()) for term in terms])
            gradients = [torch.autograd.grad(term, target, retain_graph=True)[0] for term in terms]
            rows = np.stack([compare.numbers(gradient).ravel() for gradient in gradients])
            self._measured[place] = values, rows
        return self._measured[place]


def in_float64(image: Tensor) -> Tensor:
    """Return a copy to compute with, whatever the picture's dtype, device and layout."""
    return image.detach().to("cpu", torch.float64).contiguous().clone()


def amounts_of(settings: Settings) -> np.ndarray:
    """Return how much of each term the loss holds: alpha, then beta times each layer's weight."""
    weights = [settings.beta * settings.weights.get(name, 0) for name in LAYERS.values()]
    return np.array([settings.alpha, *weights], dtype=np.float64)


@dataclass
class Made:
    """An objective an answer made with some settings, and what it gave."""

    settings: Settings
    function: Callable
    values: list[float] = field(default_factory=list)
    gradient: np.ndarray | None = None


class Wrong(Exception):
    """Carries findings out of the middle of a flow; nothing after them could be tried."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__()
        self.findings = list(findings)


def make(answer: Callable, scene: Scene, settings: Settings, *, given: bool = False) -> Any:
    """Return the objective an answer makes; raise ``Wrong`` where it makes none.

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
        raise Wrong(stopped(outcome.error, answer, scene.words))
    _require_function(outcome.value)
    return outcome.value


def _require_function(value: Any) -> None:
    """Raise ``Wrong`` unless ``value`` can be called with a target."""
    if value is None or value is ...:
        text = f"it returns {value!r}; is there a return at the end?"
        raise Wrong(Finding("written", text, "not-written"))
    if inspect.isclass(value) or not callable(value):
        kind = "tensor" if isinstance(value, Tensor) else f"value of type {type(value).__name__}"
        text = f"it returns a {kind}; return a function that gives the loss of any target."
        raise Wrong(Finding("type", text, "returns-value"))
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError:
        text = f"the function it returns takes {signature}; it is called with the target alone."
        raise Wrong(Finding("arguments", text, "wrong-arguments")) from None


def loss_of(function: Callable, target: Tensor, answer: Callable, words: str) -> Tensor:
    """Return the loss of a target; raise ``Wrong`` where there is none that could be used."""
    outcome = calling.call(function, {"target": target})
    if outcome.error is not None:
        raise Wrong(stopped(outcome.error, answer, f"the loss of a target, with {words}"))
    value = outcome.value
    if value is None or value is ...:
        text = "the function it returns gives None; is there a return at its end?"
        raise Wrong(Finding("written", text, "returns-nothing"))
    if isinstance(value, Tensor) and value.dim() and value.numel() > 1:
        text = f"the loss has shape {tuple(value.shape)}; it must be a single number."
        raise Wrong(Finding("shape", text, "not-reduced"))
    findings = list(result_kind(value, torch.zeros(()), target, "a single number"))
    if not isinstance(value, Tensor):
        raise Wrong(*findings)
    findings = [replace(finding, text=f"the loss: {finding.text}") for finding in findings]
    if findings:
        raise Wrong(*findings)
    return value


def tried(answer: Callable, scene: Scene, settings: Settings, function: Callable) -> Made:
    """Return what an objective gives: its values at all targets, its gradient at the first."""
    made = Made(settings, function)
    for place, picture in enumerate(scene.targets):
        target = copied(picture).requires_grad_()
        before = compare.numbers(target)
        value = loss_of(function, target, answer, scene.words)
        made.values.append(float(compare.numbers(value)))
        if not np.array_equal(compare.numbers(target), before) or not target.requires_grad:
            text = "the target was changed by taking its loss; only an optimiser may move it."
            raise Wrong(Finding("inputs", text, "input-changed"))
        if place == 0:
            made.gradient = gradient_of(function, value, target, answer)
    return made


def _fixed(function: Callable, target: Tensor) -> Iterator[Finding]:
    """Yield a hint where another target has the same loss."""
    first, second = (
        calling.call(function, {"target": picture}).value for picture in (target, 2 * target + 1)
    )
    if all(isinstance(value, Tensor) for value in (first, second)) and torch.equal(first, second):
        yield likely("target-fixed", FIXED)


FIXED = "every target has the same loss; which picture does the function look at?"


def gradient_of(function: Callable, value: Tensor, target: Tensor, answer: Callable) -> np.ndarray:
    """Return the gradient of a loss in one row; raise ``Wrong`` where there is none."""
    if not value.requires_grad:
        text = "no gradient flows back from the loss: the connection to the target is cut."
        raise Wrong(Finding("gradient", text, "detached"), *_fixed(function, target))
    try:
        gradient = torch.autograd.grad(value, target, allow_unused=True)[0]
    except RuntimeError as error:
        raise Wrong(stopped(error, answer, "a backward pass")) from None
    if gradient is None:
        return np.zeros(target.numel())
    return compare.numbers(gradient).ravel()


def is_right(made: Made, scene: Scene) -> bool:
    """Whether all values and the gradient are those of the formula."""
    return all(right_values(made, scene)) and _right_gradient(made, scene)


def right_values(made: Made, scene: Scene) -> list[bool]:
    """Return for each target whether its loss is that of the formula."""
    amounts = amounts_of(made.settings)
    return [
        compare.same(np.array(value), np.array(amounts @ scene.measured(place)[0]), scene.relative)
        for place, value in enumerate(made.values)
    ]


def _right_gradient(made: Made, scene: Scene) -> bool:
    amounts = amounts_of(made.settings)
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
