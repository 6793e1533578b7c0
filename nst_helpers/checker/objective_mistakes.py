"""What can be wrong with an objective, and how to tell.

The gradient of a wrong objective is written as a sum of the terms that should be in it; how much of
each it holds, for several alphas, betas and weights, names the mistake. Where that fails, a term
itself is wrong, and is compared with wrong terms.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nst_helpers.checker.flow import likely
from nst_helpers.checker.functions import number
from nst_helpers.checker.objectives import (
    CONTENT_LAYER,
    FIXED,
    INDEX,
    LAYERS,
    PIXELS,
    STYLE_NAMES,
    Made,
    Scene,
    Settings,
    Wrong,
    activations,
    amounts_of,
    gram,
    in_float64,
    layer_loss,
    make,
    mean_square,
    right_values,
    tried,
)
from nst_helpers.checker.report import Finding


@dataclass(frozen=True)
class _Fit:
    """How much of each term is in a gradient, and what of the values that leaves unexplained."""

    settings: Settings
    amounts: np.ndarray
    left: np.ndarray
    fits: bool


def _fit(made: Made, scene: Scene) -> _Fit:
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


def wrong_objective(answer: Callable, scene: Scene, made: Made) -> list[Finding]:
    """Return how value and gradient are wrong, and the likely cause."""
    values = right_values(made, scene)
    if all(values):
        text = f"the loss is right but its gradient is not, for {scene.words}."
        findings = [Finding("gradient", text)]
    elif not np.isfinite([*made.values, *made.gradient]).all():
        findings = [Finding("finite", f"the loss is nan or inf for {scene.words}.", "not-finite")]
    else:
        findings = [Finding("values", _wrong_value(made, scene))]
    # What a call leaves behind shows before anything else can be said.
    function = make(answer, scene, made.settings)
    first, second = (tried(answer, scene, made.settings, function) for _ in range(2))
    if first.values != second.values and not np.allclose(first.values, second.values, rtol=1e-6):
        text = "a second call with the same target gives another loss: something is remembered."
        return [*findings, likely("shared-state", text)]
    hint = _diagnosis(answer, scene, made)
    if hint is None and scene.only_here:
        hint = likely(*scene.only_here)
    return [*findings, hint] if hint else findings


def _wrong_value(made: Made, scene: Scene) -> str:
    """Say how far the first wrong loss is from the right one."""
    place = right_values(made, scene).index(False)
    right = float(amounts_of(made.settings) @ scene.measured(place)[0])
    ratio = made.values[place] / right if right else float("nan")
    if not np.isfinite(ratio) or ratio <= 0:
        return f"the loss is not right for {scene.words}."
    if abs(ratio - 1) < 0.1:
        more = "large" if ratio > 1 else "small"
        return f"the loss is {number(100 * abs(ratio - 1))} % too {more} for {scene.words}."
    share, direction = (ratio, "large") if ratio > 1 else (1 / ratio, "small")
    return f"the loss is {number(share)} times too {direction} for {scene.words}."


def _variations(settings: Settings) -> Iterator[Settings]:
    """Yield other alphas, betas and weights, one thing at a time."""
    yield replace(settings, alpha=2 * settings.alpha)
    yield replace(settings, beta=2 * settings.beta)
    names = list(settings.weights)
    yield replace(settings, weights={n: (3 + i) * settings.weights[n] for i, n in enumerate(names)})
    other = [name for name in STYLE_NAMES if name not in names] or names[:1]
    yield replace(settings, weights={other[0]: 2.5, names[-1]: 1.75})


def _diagnosis(answer: Callable, scene: Scene, made: Made) -> Finding | None:
    """Return the likely cause of a wrong value or gradient."""
    all_made = [made]
    for settings in _variations(made.settings):
        try:
            function = make(answer, scene, settings)
            all_made.append(tried(answer, scene, settings, function))
        except Wrong:
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
def _of_the_whole(scene: Scene, all_made: Sequence[Made]) -> Finding | None:
    """Return the mistake that shows in the loss as a whole, if it is one."""
    made = all_made[0]
    if len(made.values) > 1 and len(set(made.values)) == 1:
        return likely("target-fixed", FIXED)
    if all(right_values(made, scene)):
        return None
    hint = _of_an_addition(scene, all_made) or _of_a_product(scene, all_made)
    if hint:
        return hint
    amounts = amounts_of(made.settings)
    pictures = {"content": scene.content, "style": scene.style}
    for cause, text, on_target, content_from, style_from in _WHOLE:
        if scene.content.shape != scene.style.shape and cause == "swapped-pictures":
            continue
        wanted, grams = (
            activations(change(in_float64(pictures[name])), scene.exact)
            for name, change in (content_from, style_from)
        )
        for target, value in zip(scene.targets, made.values, strict=True):
            found = activations(on_target(in_float64(target)), scene.exact)
            terms = [mean_square(found[CONTENT_LAYER] - wanted[CONTENT_LAYER])]
            terms += [layer_loss(found[index], grams[index]) for index in LAYERS]
            if not _close(value, amounts @ np.array([float(term) for term in terms])):
                break
        else:
            return likely(cause, text)
    return None


def _of_an_addition(scene: Scene, all_made: Sequence[Made]) -> Finding | None:
    """Return whether the loss is right but for something no alpha, beta or weight touches."""
    added = []
    for made in all_made:
        amounts = amounts_of(made.settings)
        right = [amounts @ scene.measured(place)[0] for place in range(len(made.values))]
        added.append(np.array(made.values) - np.array(right))
    size = max(abs(value) for made in all_made for value in made.values)
    constant = all(np.allclose(one, added[0], rtol=1e-4, atol=1e-9 * size) for one in added[1:])
    if len(added) < 2 or not constant or np.abs(added[0]).max() <= scene.relative * size:
        return None
    ratios = added[0] / [scene.measured(place)[0][0] for place in range(len(added[0]))]
    if _close(ratios, np.full(len(ratios), ratios.mean())):
        return None
    return likely("extra-term", "the loss holds something that neither alpha nor beta belongs to.")


def _of_a_product(scene: Scene, all_made: Sequence[Made]) -> Finding | None:
    values, products = [], []
    for made in all_made:
        amounts = amounts_of(made.settings)
        for place, value in enumerate(made.values):
            terms = amounts * scene.measured(place)[0]
            values.append(value)
            products.append(terms[0] * terms[1:].sum())
    if not _close(values, products):
        return None
    return likely(
        "product", "the two terms are multiplied; a picture at its content costs nothing."
    )


def _of_the_amounts(scene: Scene, fits: Sequence[_Fit]) -> Finding | None:
    """Return the mistake that the amounts of right terms tell."""
    wanted = np.array([amounts_of(fit.settings) for fit in fits])
    given = np.array([fit.amounts for fit in fits])
    hint = _of_dead_terms(scene, fits) or _of_alpha_and_beta(fits, wanted, given)
    if hint:
        return hint
    if not _close(given[:, 0], wanted[:, 0]):
        return _of_the_content_amount(scene, fits, wanted, given)
    betas = np.array([fit.settings.beta for fit in fits])
    return _of_the_weights(scene, fits, given[:, 1:] / betas[:, None])


def _of_dead_terms(scene: Scene, fits: Sequence[_Fit]) -> Finding | None:
    """Return which term has no gradient."""
    wanted = np.array([amounts_of(fit.settings) for fit in fits])
    given = np.array([fit.amounts for fit in fits])
    places = range(len(fits[0].left))
    content = [wanted[0][0] * scene.measured(i)[0][0] for i in places]
    style = [wanted[0][1:] @ scene.measured(i)[0][1:] for i in places]
    if not given.any():
        if fits[0].left.any() and _close(fits[0].left, np.add(content, style)):
            text = "the loss is right and yet nothing of it reaches the target."
            return likely("detached", text)
        return likely("target-fixed", "no change of the target changes the loss.")
    dead = []
    if not given[:, 0].any():
        dead.append(("content", "content-term-dead", "alpha"))
    if not given[:, 1:].any():
        dead.append(("style", "style-term-dead", "beta"))
    for term, cause, factor in dead:
        text = f"nothing of the {term} term reaches the target: without {factor} it would move "
        return likely(cause, text + "just the same.")
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
        return likely("swapped-weights", "alpha is where beta belongs, and beta where alpha does.")
    if _close(content, -alphas) and _close(styles, -betas):
        return likely("negative", "the loss has the wrong sign: small must mean close.")
    if _close(content, alphas) and _close(styles, -betas):
        text = "the style term is taken away; both terms are costs, and add up."
        return likely("negative-style", text)
    if _close(content, -alphas) and _close(styles, betas):
        text = "the content term is taken away; both terms are costs, and add up."
        return likely("negative", text)
    if _close(content, np.full(len(fits), content[0])) and len(fits) > 1:
        text = f"whatever alpha is, the content term is multiplied by {number(content[0])}."
        return likely("alpha-ignored", text)
    if _close(content, alphas * betas) or _close(styles, alphas * betas):
        text = "one factor is multiplied with the other: which term does each belong to?"
        return likely("product", text)
    for power in (2, 0.5):
        if _close(content, alphas**power) or _close(styles, betas**power):
            text = "alpha or beta counts as something else than itself."
            return likely("weights-squared", text)
    if np.isfinite(styles).all():
        if _close(styles, np.full(len(fits), styles[0])):
            text = f"whatever beta is, the style term is multiplied by {number(styles[0])}."
            return likely("beta-ignored", text)
        ratio = content / alphas
        if _close(ratio, styles / betas) and not _close(ratio, np.full(len(fits), ratio[0])):
            text = "alpha and beta were made to add up to 1 before they were used."
            return likely("normalised-weights", text)
    return None


def _share(given: np.ndarray, weights: np.ndarray) -> float:
    """Return k where ``given`` is k times the weights; nan where it is no multiple of them."""
    share = float(given @ weights / (weights @ weights))
    return share if given.any() and _close(given, share * weights) else float("nan")


def _of_the_content_amount(
    scene: Scene, fits: Sequence[_Fit], wanted: np.ndarray, given: np.ndarray
) -> Finding | None:
    """Return by what the content term is too large or too small."""
    ratio = given[:, 0] / wanted[:, 0]
    if not _close(ratio, np.full(len(ratio), ratio[0])):
        return likely("alpha-ignored", "the content term does not grow with alpha as it should.")
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
            return likely(cause, text)
    text = f"the content term is {number(ratio[0])} times what it should be."
    return likely("wrong-division", text)


def _of_the_weights(scene: Scene, fits: Sequence[_Fit], effective: np.ndarray) -> Finding | None:
    """Return what is wrong with the layers' weights, by how much each layer counts."""
    names = list(LAYERS.values())
    weights = np.array([[f.settings.weights.get(n, 0) for n in names] for f in fits])
    given = weights != 0
    extra = [n for n, used in zip(names, (effective * ~given).any(axis=0), strict=True) if used]
    if extra and _close(effective * given, weights):
        text = f"also counted as style: {', '.join(extra)}; what does style_weights say?"
        return likely("all-features-counted", text)
    if len(fits) > 1 and _close(effective, np.broadcast_to(effective[0], effective.shape)):
        text = "whatever style_weights holds, the layers count the same."
        return likely("style-weights-ignored", text)
    hint = _of_chosen_layers(fits, names, effective, weights, given)
    if hint:
        return hint
    first = effective[given][0]
    if not extra and _close(effective, first * given):
        text = "every layer counts the same, whatever its weight."
        return likely("style-weights-ignored", text)
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
            return likely(cause, text)
    for row, fit, right in zip(effective, fits, weights, strict=True):
        same = sorted(row[row != 0]), sorted(right[right != 0])
        if len(same[0]) == len(same[1]) and _close(*same) and not _close(row, right):
            text = (
                "the right weights meet the wrong layers; is the order of a dictionary relied on?"
            )
            return likely("wrong-pairing", text)
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
        return likely("last-layer-only", "only the last of the layers counts; the sum is lost.")
    if pairs and all(some == {order[0]} for order, some in pairs):
        return likely("first-layer-only", "only the first of the layers counts.")
    missing = sorted({n for order, some in pairs for n in order if n not in some})
    if missing == ["conv5_1"]:
        return likely("misses-last", "the deepest layer, conv5_1, is missing from the style term.")
    return likely("missing-layer", f"missing from the style term: {', '.join(missing)}.")


def _of_the_division(scene: Scene, effective: np.ndarray, weights: np.ndarray) -> Finding | None:
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
            return likely(cause, numbers + text)
    return likely("wrong-division", "the layers' losses are not divided by what they should be.")


def _sizes(scene: Scene, index: int) -> tuple[float, float, float]:
    _, c, h, w = scene.outputs["content"][index].shape
    return float(c), float(h), float(w)


def _product(words: str) -> Callable[[Scene, int], float]:
    """Return the factor written as ``C H W`` or ``C / 4 M``, of a layer's sizes."""

    def value(scene: Scene, index: int) -> float:
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
_DIVISIONS: tuple[tuple[str, str, str, Callable[[Scene, int], float]], ...] = tuple(
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


def _of_the_terms(answer: Callable, scene: Scene, all_made: Sequence[Made]) -> Finding | None:
    """Return the mistake in the content term or a layer's style term, each taken alone."""
    content = _part(answer, scene, Settings(1.0, 0.0, dict(scene.settings.weights)))
    content_layer, hint = _of_the_content_term(scene, content)
    if hint:
        return hint
    layers = {}
    # All five, not only those of this scene: where the others come from helps to tell which list
    # of places was taken.
    for name in STYLE_NAMES:
        part = _part(answer, scene, Settings(0.0, 1.0, {name: 1.0}))
        if part is None:
            continue
        layers[name], hint = _of_the_layer_term(scene, name, part)
        if hint:
            return hint
    return _of_the_layers(content_layer, layers)


def _part(answer: Callable, scene: Scene, settings: Settings) -> list[float] | None:
    """Return the values of an objective with settings that leave one term only."""
    try:
        return tried(answer, scene, settings, make(answer, scene, settings)).values
    except Wrong:
        return None


@torch.no_grad()
def _of_the_content_term(
    scene: Scene, values: Sequence[float] | None
) -> tuple[int | None, Finding | None]:
    """Return from which module the content term is taken, or the mistake in its formula."""
    if values is None:
        return None, None
    found, wanted = scene.found, scene.outputs["content"]
    for index in (CONTENT_LAYER, *(i for i in wanted if i != CONTENT_LAYER)):
        if _proportional(values, [float(mean_square(f[index] - wanted[index])) for f in found]):
            return index, None
    every = [sum(float(mean_square(f[index] - wanted[index])) for index in LAYERS) for f in found]
    if _proportional(values, every):
        text = "the content term adds up several layers; which one does the lesson take?"
        return None, likely("wrong-content-layer", text)
    pairs = [(f[CONTENT_LAYER], wanted[CONTENT_LAYER]) for f in found]
    for cause, text, formula in _DIFFERENCES:
        if _proportional(values, [float(formula(a, b)) for a, b in pairs]):
            return CONTENT_LAYER, likely(cause, f"in the content term {text}")
    return None, None


@torch.no_grad()
def _of_the_layer_term(
    scene: Scene, name: str, values: Sequence[float]
) -> tuple[int | None, Finding | None]:
    """Return from which module a style term is taken, or the mistake in its formula."""
    found, style, right = scene.found, scene.outputs["style"], INDEX[name]
    for index in (right, *(i for i in style if i != right)):
        if _proportional(values, scene.layer_losses(index)):
            return index, None
    pairs = [(f[right], style[right]) for f in found]
    # A Gram matrix seen as an activation of one map, which some of the formulas need.
    grams = [(gram(a)[None, None], gram(b)[None, None]) for a, b in pairs]
    for cause, text, formula in _DIFFERENCES:
        if _proportional(values, [float(formula(a, b)) for a, b in grams]):
            return right, likely(cause, f"in the style term {text}")
    for cause, text, loss in _LAYER_MISTAKES:
        with contextlib.suppress(RuntimeError):
            if _proportional(values, [float(loss(a, b)) for a, b in pairs]):
                return right, likely(cause, text)
    return None, None


_DIFFERENCES: tuple[tuple[str, str, Callable[[Tensor, Tensor], Tensor]], ...] = (
    ("absolute-difference", "differences are not squared.", lambda a, b: (a - b).abs().mean()),
    ("other-power", "differences are not squared; what about those that cancel?",
     lambda a, b: (a - b).mean()),
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
    ("other-power", "differences are squared twice.", lambda a, b: (a - b).pow(4).mean()),
    ("other-power", "differences are cubed, not squared.", lambda a, b: (a - b).pow(3).mean()),
    ("other-power", "differences are cubed, not squared.",
     lambda a, b: (a - b).abs().pow(3).mean()),
    ("other-power", "the mean is squared once more.",
     lambda a, b: (a - b).square().mean().square()),
    ("difference-of-squares", "each side is squared before the difference is taken.",
     lambda a, b: (a.square() - b.square()).mean()),
    ("difference-of-squares", "each side is squared before the difference is taken.",
     lambda a, b: (a.square() - b.square()).abs().mean()),
    ("not-a-difference", "the two sides are added; small must mean close.",
     lambda a, b: (a + b).square().mean()),
    ("not-a-difference", "the two sides are multiplied; small must mean close.",
     lambda a, b: (a * b).mean()),
    ("one-side-ignored", "only the target enters; what is it compared with?",
     lambda a, b: a.square().mean()),
    ("other-reduction", "only the largest difference counts.",
     lambda a, b: (a - b).square().max()),
    ("other-reduction", "only the middle one of the differences counts.",
     lambda a, b: (a - b).square().median()),
    ("centred", "the mean difference is taken away first.", lambda a, b: (a - b).var()),
    ("rectified", "negative values are set to 0 first.",
     lambda a, b: (a.relu() - b.relu()).square().mean()),
    ("compares-grams", "Gram matrices are compared, not the activations themselves.",
     lambda a, b: mean_square(gram(a) - gram(b))),
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
    return lambda a, b: mean_square(gram(a) / parts(a) - gram(b) / parts(b))


_LAYER_MISTAKES: tuple[tuple[str, str, Callable[[Tensor, Tensor], Tensor]], ...] = (
    ("normalised-gram", "each Gram matrix is divided by its own sizes; the contract's is not.",
     _divided_gram(lambda t: t.numel())),
    ("normalised-gram", "each Gram matrix is divided by its own sizes; the contract's is not.",
     _divided_gram(lambda t: t.shape[2] * t.shape[3])),
    ("transposed-gram", "positions are compared with positions; a Gram matrix compares maps.",
     lambda a, b: mean_square(_positions_gram(a) - _positions_gram(b))),
    ("scrambled-view", "the numbers were put into a new shape in an order that mixes maps.",
     lambda a, b: mean_square(_mixed_gram(a) - _mixed_gram(b))),
    ("compares-features", "the activations themselves are compared; style compares Gram matrices.",
     lambda a, b: mean_square(a - b)),
    ("centred", "the mean of each map is taken away before the Gram matrix.",
     lambda a, b: mean_square(gram(_centred(a)) - gram(_centred(b)))),
    ("normalised-rows", "each map is scaled to length 1 before the Gram matrix.",
     lambda a, b: mean_square(gram(_unit_rows(a)) - gram(_unit_rows(b)))),
    ("rectified", "negative activations are set to 0 before the Gram matrix.",
     lambda a, b: mean_square(gram(a.relu()) - gram(b.relu()))),
    ("triangle-only", "only one half of the Gram matrix counts.",
     lambda a, b: (gram(a) - gram(b)).triu().square().sum()),
    ("triangle-only", "only one half of the Gram matrix counts.",
     lambda a, b: (gram(a) - gram(b)).triu(1).square().sum()),
    ("diagonal-only", "only the diagonal of the Gram matrix counts.",
     lambda a, b: (gram(a) - gram(b)).diagonal().square().sum()),
    ("one-argument-only", "the mean of each map is compared; pairs of maps do not show in it.",
     lambda a, b: mean_square(a.mean(dim=(2, 3)) - b.mean(dim=(2, 3)))),
    ("gram-taken-twice", "the Gram matrix of a Gram matrix is taken.",
     lambda a, b: mean_square(gram(a) @ gram(a).T - gram(b) @ gram(b).T)),
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
    taken = {CONTENT_LAYER: content} | {INDEX[name]: index for name, index in styles.items()}
    taken = {index: module for index, module in taken.items() if module is not None}
    moved = {index: module for index, module in taken.items() if module != index}
    if not moved:
        return None
    for cause, text, places in _MAPS:
        # One layer may stay where it was: the last one has no ReLU behind it in a cut model.
        kept = sum(places[index] != module for index, module in taken.items())
        only_content = moved.keys() == {CONTENT_LAYER} and len(taken) > 1
        if kept <= 1 and not only_content and all(places[i] == m for i, m in moved.items()):
            return likely(cause, text)
    if moved.keys() == {CONTENT_LAYER}:
        where = "the picture itself" if content == PIXELS else f"module {content}"
        where = LAYERS.get(content, where)
        text = f"the content term is taken from {where}; which layer does the lesson take?"
        return likely("wrong-content-layer", text)
    index, module = next(iter(moved.items()))
    where = LAYERS.get(module, f"module {module}")
    text = f"what is called {LAYERS[index]} is the output of {where}."
    return likely("swapped-layers", text)
