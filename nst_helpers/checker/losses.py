"""Lesson 04: what an answer must satisfy in the four losses.

Sources of the formulas: Gatys, Ecker and Bethge 2016, equations 1, 4, 5 and 7, in the convention of
the lesson: means for sums, and a layer's style loss divided by C H W.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from nst_helpers.checker.calling import REQUIRED
from nst_helpers.checker.draw import Draw
from nst_helpers.checker.functions import (
    Arguments,
    Case,
    Factor,
    Mistake,
    TensorFunction,
    size_product,
)
from nst_helpers.checker.gram_matrix import gram_matrix
from nst_helpers.checker.report import Finding

DEFAULT_ALPHA = 1.0
DEFAULT_BETA = 1e6


# --- specifications -------------------------------------------------------------------------------


def content_loss(target: Tensor, content: Tensor) -> Tensor:
    """The mean over all numbers of (F - P)^2, written out; a scalar."""
    return mean_of_squares(target, content)


def layer_style_loss(target: Tensor, style_gram: Tensor) -> Tensor:
    """mean((G - A)^2) / (C H W), with G and C, H, W those of the target's activation."""
    _, channels, height, width = target.shape
    loss = mean_of_squares(gram_matrix(target), style_gram)
    return loss / (channels * height * width)


def style_loss(
    target_features: Mapping[str, Tensor],
    style_grams: Mapping[str, Tensor],
    style_weights: Mapping[str, float],
) -> Tensor:
    """The sum over the layers in ``style_weights`` of weight times layer loss."""
    terms = [
        weight * layer_style_loss(target_features[layer], style_grams[layer])
        for layer, weight in style_weights.items()
    ]
    return sum(terms[1:], start=terms[0])


def total_loss(
    content: Tensor, style: Tensor, alpha: float = DEFAULT_ALPHA, beta: float = DEFAULT_BETA
) -> Tensor:
    """Alpha times content plus beta times style."""
    return alpha * content + beta * style


def mean_of_squares(first: Tensor, second: Tensor) -> Tensor:
    """The mean of the squared differences of two tensors of one shape, written out."""
    pairs = list(zip(first.flatten(), second.flatten(), strict=True))
    total = (pairs[0][0] - pairs[0][1]) * (pairs[0][0] - pairs[0][1])
    for a, b in pairs[1:]:
        total = total + (a - b) * (a - b)
    return total / len(pairs)


# --- two activations ------------------------------------------------------------------------------


def _dtype_words(dtype: torch.dtype, layout: str) -> str:
    words = f"in {str(dtype).removeprefix('torch.')}"
    return words + {"channels_last": ", channels_last", "strided": ", with gaps in memory"}.get(
        layout, ""
    )


def _sizes_to_try(draw: Draw) -> list[tuple[str, int, int, int, torch.dtype, str, bool]]:
    """Return (axis, channels, height, width, dtype, layout, with gradient), the plainest first."""
    c, other_c = draw.distinct(2, 2, 4)
    side, h, w = draw.distinct(3, 2, 5)
    return [
        ("plain", c, side, side, torch.float64, "contiguous", True),
        ("again", c, side, side, torch.float64, "contiguous", True),
        ("not square", c, h, w, torch.float64, "contiguous", True),
        ("not square", c, w, h, torch.float64, "contiguous", True),
        ("other channels", other_c, side, h, torch.float64, "contiguous", True),
        ("other channels", 1, h, w, torch.float64, "contiguous", True),
        ("no gradient", c, h, w, torch.float64, "contiguous", False),
        ("float32", c, h, w, torch.float32, "contiguous", True),
        ("layout", c, w, h, torch.float32, "channels_last", True),
        ("layout", c, h, w, torch.float64, "strided", True),
    ]


def _content_cases(draw: Draw) -> list[Case]:
    cases = []
    for axis, c, h, w, dtype, layout, gradient in _sizes_to_try(draw):
        target, content = (draw.activation(c, h, w, dtype=dtype, layout=layout) for _ in range(2))
        words = f"two 1 x {c} x {h} x {w} activations {_dtype_words(dtype, layout)}"
        reaches = ("target",) if gradient else ()
        cases.append(Case(axis, {"target": target, "content": content}, words, reaches))
    # At the content start both are equal: the loss is 0, and so is its slope, not nan.
    same = draw.activation(2, 3, 4)
    arguments = {"target": same, "content": same.clone()}
    words = "two equal activations, as at the start from the content picture"
    cases.append(Case("equal", arguments, words, ("target",), scale=1.0, gradient_scale=1.0))
    return cases


def _activation_sizes(arguments: Arguments) -> dict[str, int]:
    b, c, h, w = arguments["target"].shape
    return {"B": b, "C": c, "H": h, "W": w}


def _scalar_factors(
    products: Sequence[str],
    sizes: Callable[[Arguments], Mapping[str, int]],
    large: tuple[str, str],
    small: tuple[str, str],
) -> tuple[Factor, ...]:
    return tuple(size_product(words, sizes, large, small) for words in products)


_SUM_FOR_MEAN = (
    "sum-for-mean",
    "the result is too large by {factor}{meaning}: a sum was taken where a mean is asked for.",
)
_HALVED = ("halved", "the result is half of what is asked for; there is no 1/2 in this contract.")
_DOUBLED = ("doubled", "the result is twice what is asked for.")
_WRONG_DIVISION = (
    "wrong-division",
    "the result is too small by {factor}{meaning}: something is divided once too often.",
)
_TOO_LARGE = (
    "wrong-division",
    "the result is too large by {factor}{meaning}: a division is missing, or too small.",
)

_ANY_DIVISION = (
    ("wrong-division", "it is too large by a number; what is divided by, and what should be?"),
    ("wrong-division", "it is too small by a number; what is divided by, and what should be?"),
)

_CONTENT_FACTORS = (
    *_scalar_factors(["C H W", "C H W / 2"], _activation_sizes, _SUM_FOR_MEAN, _WRONG_DIVISION),
    *_scalar_factors(["2"], _activation_sizes, _DOUBLED, _HALVED),
    *_scalar_factors(["4", "C H W / 4"], _activation_sizes, _TOO_LARGE, _WRONG_DIVISION),
    *_scalar_factors(
        ["H W", "C", "H", "W", "C H", "C W", "C C", "H H", "W W"],
        _activation_sizes,
        _TOO_LARGE,
        _WRONG_DIVISION,
    ),
    *_scalar_factors(
        ["2 C H W", "4 C H W", "C H W C H W", "2 H W", "2 C"],
        _activation_sizes,
        _TOO_LARGE,
        _WRONG_DIVISION,
    ),
)


def _hinted(cause: str, hint: str, *formulas: Callable[..., Tensor]) -> list[Mistake]:
    """Return one mistake for each formula that comes of the same line of thought."""
    return [Mistake(cause, hint, formula) for formula in formulas]


# --- content_loss ---------------------------------------------------------------------------------


def _difference_mistakes(
    pair: Callable[..., tuple[Tensor, Tensor]], *, maps: bool = True
) -> list[Mistake]:
    """Return what goes wrong in the mean of squared differences of two tensors.

    Args:
        pair: takes the arguments of the exercise and returns what is compared.
        maps: whether what is compared are maps, with a height and a width to reduce over.
    """

    def of(formula: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
        return lambda *arguments: formula(*pair(*arguments))

    return [
        *_hinted(
            "absolute-difference",
            "the distances were summed as they are; the contract squares each of them.",
            of(lambda f, p: (f - p).abs().mean()),
            of(lambda f, p: torch.nn.functional.smooth_l1_loss(f, p)),
        ),
        *_hinted(
            "rooted",
            "a square root was taken at the end; besides being another number, its slope is not "
            "defined where both are equal, which is where the optimisation starts.",
            of(lambda f, p: (f - p).square().mean().sqrt()),
        ),
        *_hinted(
            "difference-of-sums",
            "differences were added up or averaged before squaring, so that plus and minus cancel; "
            "each difference has to be squared on its own.",
            of(lambda f, p: (f - p).sum().square()),
            of(lambda f, p: (f.mean((-2, -1)) - p.mean((-2, -1))).square().mean()),
            of(lambda f, p: (f.sum((-2, -1)) - p.sum((-2, -1))).square().mean()),
            of(lambda f, p: (f.mean(-1) - p.mean(-1)).square().mean()),
        ),
        *_hinted(
            "difference-of-squares",
            "squares were subtracted; what is asked for is the square of a difference.",
            of(lambda f, p: (f.square() - p.square()).mean()),
            of(lambda f, p: (f - p.square()).mean()),
            of(lambda f, p: (f.square() - p).mean()),
            of(lambda f, p: (f.square().mean() - p.square().mean()).abs()),
            of(lambda f, p: (f.square().mean() - p.square().mean()).square()),
            of(lambda f, p: (f.square() - p.square()).square().mean()),
        ),
        *_hinted(
            "other-power",
            "the power is not 2: nothing was squared, or something was squared twice.",
            of(lambda f, p: (f - p).mean()),
            of(lambda f, p: (p - f).mean()),
            of(lambda f, p: (f - p).pow(3).mean()),
            of(lambda f, p: (f - p).abs().pow(3).mean()),
            of(lambda f, p: (f - p).pow(4).mean()),
            of(lambda f, p: (f - p).square().mean().square()),
        ),
        *_hinted(
            "one-sided",
            "only differences of one sign were counted.",
            of(lambda f, p: (f - p).relu().square().mean()),
            of(lambda f, p: (p - f).relu().square().mean()),
        ),
        *_hinted(
            "rectified",
            "values were cut off first; the activations are compared as they are.",
            of(lambda f, p: (f.relu() - p.relu()).square().mean()),
            of(lambda f, p: (f.clamp(0, 1) - p.clamp(0, 1)).square().mean()),
            of(lambda f, p: (f.relu() - p).square().mean()),
            of(lambda f, p: (f - p.relu()).square().mean()),
        ),
        *_hinted(
            "centred",
            "a mean was taken away, so a difference everywhere by the same amount is not seen.",
            of(lambda f, p: (f - p).var(correction=0)),
            of(lambda f, p: (f - p).var()),
            of(lambda f, p: (f - f.mean() - p + p.mean()).square().mean()),
            of(lambda f, p: (f - p).std()),
            of(lambda f, p: (f - p).std(correction=0)),
        ),
        *_hinted(
            "not-a-difference",
            "the two were added or multiplied; a distance needs their difference.",
            of(lambda f, p: (f + p).square().mean()),
            of(lambda f, p: (f * p).mean()),
            of(lambda f, p: (f * p).square().mean()),
            of(lambda f, p: (f.square() + p.square()).mean()),
        ),
        *_hinted(
            "one-side-ignored",
            "only one of the two was used.",
            of(lambda f, p: f.square().mean()),
            of(lambda f, p: p.square().mean()),
            of(lambda f, p: f.mean()),
        ),
        *_hinted(
            "relative",
            "the result was divided by the size of the values; the contract divides by how many "
            "there are.",
            of(lambda f, p: (f - p).square().sum() / p.square().sum()),
            of(lambda f, p: (f - p).square().sum() / f.square().sum()),
            of(lambda f, p: (f - p).square().mean() / p.abs().mean()),
            of(lambda f, p: (f - p).square().mean() / p.max()),
            of(lambda f, p: (f - p).square().mean() / p.abs().max()),
            of(lambda f, p: ((f - p) / p).square().mean()),
            of(lambda f, p: ((f - p).square() / p.square()).mean()),
            of(lambda f, p: (f / f.norm() - p / p.norm()).square().mean()),
            of(lambda f, p: (f / f.abs().max() - p / p.abs().max()).square().mean()),
            of(lambda f, p: 1 - torch.cosine_similarity(f.flatten(), p.flatten(), dim=0)),
        ),
        *_hinted(
            "other-reduction",
            "one difference was picked out; all of them count.",
            of(lambda f, p: (f - p).square().max()),
            of(lambda f, p: (f - p).abs().max()),
            of(lambda f, p: (f - p).square().median()),
            of(lambda f, p: (f - p).square().min()),
        ),
        *_hinted(
            "not-reduced",
            "there is a value for each place; the loss is one number for all of them.",
            of(lambda f, p: (f - p).square()),
            of(lambda f, p: (f - p).abs()),
            of(lambda f, p: (f - p).square().mean(-1)),
            *(of(formula) for formula in (_PARTLY_REDUCED if maps else ())),
        ),
    ]


_PARTLY_REDUCED: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda f, p: (f - p).square().mean((-2, -1)),
    lambda f, p: (f - p).square().sum((-2, -1)),
    lambda f, p: (f - p).square().mean(1),
    lambda f, p: (f - p).square().mean(0),
)


def _gram(tensor: Tensor) -> Tensor:
    features = tensor.flatten(2)[0]
    return features @ features.T


CONTENT_LOSS = TensorFunction(
    name="content_loss",
    parameters={"target": REQUIRED, "content": REQUIRED},
    specification=content_loss,
    cases=_content_cases,
    operations=lambda arguments: 4 * arguments["target"].numel(),
    summary="Values and gradient agree with the formula, also where both activations are equal.",
    shape_words="a single number, shape ()",
    mistakes=(
        *_hinted(
            "compares-grams",
            "Gram matrices were compared; content is compared place by place.",
            lambda f, p: (_gram(f) - _gram(p)).square().mean(),
            lambda f, p: (_gram(f) - _gram(p)).square().mean() / f.numel(),
        ),
        *_difference_mistakes(lambda target, content: (target, content)),
    ),
    factors=_CONTENT_FACTORS,
    any_factor=_ANY_DIVISION,
)


# --- layer_style_loss -----------------------------------------------------------------------------


def _style_cases(draw: Draw) -> list[Case]:
    cases = []
    for axis, c, h, w, dtype, layout, gradient in _sizes_to_try(draw):
        # The style picture has a size of its own, so its positions are not the target's.
        positions = draw.integer(h * w + 1, h * w + 9)
        target = draw.activation(c, h, w, dtype=dtype, layout=layout)
        gram = _gram(draw.activation(c, 1, positions)).to(dtype)
        words = f"a 1 x {c} x {h} x {w} activation {_dtype_words(dtype, layout)}"
        reaches = ("target",) if gradient else ()
        cases.append(Case(axis, {"target": target, "style_gram": gram}, words, reaches))
    same = draw.activation(2, 3, 4)
    arguments = {"target": same, "style_gram": _gram(same)}
    size = float(_gram(same).square().max())
    words = "a picture that already has the style"
    cases.append(Case("equal", arguments, words, ("target",), scale=size, gradient_scale=size))
    return cases


def _grams(target: Tensor, style_gram: Tensor) -> tuple[Tensor, Tensor]:
    return _gram(target), style_gram


def _divided(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Return the same mistakes where the division by C H W is right."""

    def divided(formula: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda target, style_gram: formula(target, style_gram) / target.numel()

    return [Mistake(m.cause, m.hint, divided(m.formula)) for m in mistakes]


def _style_mistakes() -> list[Mistake]:
    paper = (
        "the result was divided as in the paper, by the squares of the sizes and a 4; the contract "
        "here takes a mean and divides by C H W."
    )
    size = "what divides is the size of something else; C, H and W are those of the target."
    normalised = (
        "a Gram matrix was divided before comparing; the Gram matrices of this course are not."
    )
    other_gram = "the Gram matrix of the target is not the one of lesson 03."

    def loss(gram: Tensor, style_gram: Tensor) -> Tensor:
        return (gram - style_gram).square().mean()

    def m(t: Tensor) -> int:
        return t.shape[-1] * t.shape[-2]

    return [
        *_hinted(
            "style-size-division",
            size,
            lambda t, a: loss(_gram(t), a) / a.numel(),
            lambda t, a: loss(_gram(t), a) / (t.shape[1] * a.shape[0] * a.shape[1]),
            lambda t, a: loss(_gram(t), a) / (t.shape[1] * a.numel() * a.numel()),
        ),
        *_hinted(
            "paper-convention",
            paper,
            lambda t, a: (_gram(t) - a).square().sum() / (4 * t.shape[1] ** 2 * m(t) ** 2),
            lambda t, a: loss(_gram(t), a) / (4 * t.shape[1] ** 2 * m(t) ** 2),
            lambda t, a: loss(_gram(t), a) / (4 * m(t) ** 2),
            lambda t, a: (_gram(t) - a).square().sum() / (2 * t.shape[1] * m(t)) ** 2,
            lambda t, a: (_gram(t) - a).square().sum() / (t.shape[1] ** 2 * m(t) ** 2),
        ),
        *_hinted(
            "wrong-division",
            "it was divided by C H W twice.",
            lambda t, a: loss(_gram(t), a) / t.numel() ** 2,
        ),
        *_hinted(
            "normalised-gram",
            normalised,
            *(
                formula
                for n in (lambda t: t.numel(), m, lambda t: t.shape[1])
                for formula in _normalised_gram_formulas(n)
            ),
        ),
        *_hinted(
            "transposed-gram",
            "positions were compared with positions, or channels and positions were mixed.",
            lambda t, a: loss(t.reshape(m(t), -1).T @ t.reshape(m(t), -1), a) / t.numel(),
        ),
        *_hinted(
            "centred",
            other_gram,
            lambda t, a: loss(_gram(t - t.mean((-1, -2), keepdim=True)), a) / t.numel(),
            lambda t, a: loss(_gram(t - t.mean()), a) / t.numel(),
        ),
        *_hinted("rectified", other_gram, lambda t, a: loss(_gram(t.relu()), a) / t.numel()),
        *_hinted(
            "triangle-only",
            "only one half of the matrices was compared.",
            lambda t, a: loss(_gram(t).triu(), a.triu()) / t.numel(),
            lambda t, a: loss(_gram(t).tril(), a.tril()) / t.numel(),
            lambda t, a: loss(_gram(t).triu(1), a.triu(1)) / t.numel(),
        ),
        *_hinted(
            "diagonal-only",
            "only the diagonals were compared; the other entries say which maps occur together.",
            lambda t, a: loss(_gram(t).diagonal(), a.diagonal()) / t.numel(),
            lambda t, a: (_gram(t).diagonal() - a.diagonal()).square().sum() / t.numel(),
        ),
        *_hinted(
            "compares-features",
            "the activation itself was compared with a Gram matrix.",
            lambda t, a: loss(t, a) / t.numel(),
            lambda t, a: loss(t, a[:, :1, None]) / t.numel(),
            lambda t, a: loss(t.square().sum((2, 3)), a.expand(len(a), -1)) / t.numel(),
            lambda t, a: loss(t.flatten(2)[0], a.mean(1, keepdim=True)) / t.numel(),
            lambda t, a: loss(t[0].flatten(1)[:, : len(a)], a) / t.numel(),
        ),
        *_hinted(
            "gram-taken-twice",
            "the Gram matrix of a Gram matrix was taken: style_gram already is one.",
            lambda t, a: loss(_gram(t), a @ a.T) / t.numel(),
        ),
        *_divided(_difference_mistakes(_grams, maps=False)),
        *_difference_mistakes(_grams, maps=False),
    ]


def _normalised_gram_formulas(size: Callable[[Tensor], int]) -> list[Callable[..., Tensor]]:
    """Return the losses in which one Gram matrix or both are divided by ``size`` first."""

    def formula(own: bool, other: bool, again: bool) -> Callable[..., Tensor]:
        def loss(t: Tensor, a: Tensor) -> Tensor:
            gram = _gram(t) / (size(t) if own else 1)
            style = a / (size(t) if other else 1)
            return (gram - style).square().mean() / (t.numel() if again else 1)

        return loss

    choices = itertools.product((True, False), repeat=3)
    return [formula(*choice) for choice in choices if choice[0] or choice[1]]


_MISSING = (
    "missing-division",
    "the result is too large by {factor}{meaning}: the division by the sizes of the layer is "
    "missing.",
)
_STYLE_FACTORS = (
    *_scalar_factors(["C H W"], _activation_sizes, _MISSING, _WRONG_DIVISION),
    *_scalar_factors(["C C", "C C C H W"], _activation_sizes, _SUM_FOR_MEAN, _WRONG_DIVISION),
    *_scalar_factors(["2"], _activation_sizes, _DOUBLED, _HALVED),
    *_scalar_factors(
        ["H W", "C", "H", "W", "C H", "C W", "C C H W", "H W H W", "4"],
        _activation_sizes,
        _TOO_LARGE,
        _WRONG_DIVISION,
    ),
)

LAYER_STYLE_LOSS = TensorFunction(
    name="layer_style_loss",
    parameters={"target": REQUIRED, "style_gram": REQUIRED},
    specification=layer_style_loss,
    cases=_style_cases,
    operations=lambda arguments: 8 * arguments["target"].numel() * arguments["target"].shape[1],
    summary="Values and gradient agree with the formula for styles of other sizes than the target.",
    shape_words="a single number, shape ()",
    mistakes=_style_mistakes(),
    factors=_STYLE_FACTORS,
    any_factor=_ANY_DIVISION,
)


# --- style_loss -----------------------------------------------------------------------------------

_LAYER_NAMES = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")


def _layers_cases(draw: Draw) -> list[Case]:
    """Return several layers at once: other orders, extra layers, weights of every kind."""
    plans = [
        ("plain", 3, torch.float64, "contiguous", True, ()),
        ("again", 3, torch.float64, "contiguous", True, ()),
        ("extra layers", 2, torch.float64, "contiguous", True, ("conv4_2",)),
        ("one layer", 1, torch.float64, "contiguous", True, ("conv4_2", "conv5_1")),
        ("another name", 2, torch.float64, "contiguous", True, ("relu4_2",)),
        ("all layers", 5, torch.float64, "contiguous", True, ("conv4_2",)),
        ("zero weight", 3, torch.float64, "contiguous", True, ()),
        ("no gradient", 2, torch.float64, "contiguous", False, ("conv4_2",)),
        ("float32", 3, torch.float32, "contiguous", True, ()),
        ("layout", 2, torch.float32, "channels_last", True, ()),
    ]
    cases = []
    for axis, count, dtype, layout, gradient, extra in plans:
        names = draw.shuffled(_LAYER_NAMES)[:count]
        if axis == "another name":
            names = ["conv4_2", "relu3_2"]  # a weight, not the name, makes a style layer
        features, grams = {}, {}
        for name in draw.shuffled([*names, *(n for n in extra if n not in names)]):
            # No two layers have the same sizes, nor the same product of them.
            c, h, w = draw.integer(2, 4), *draw.distinct(2, 2, 5)
            while c * h * w in {feature.numel() for feature in features.values()}:
                c, h, w = draw.integer(2, 4), *draw.distinct(2, 2, 5)
            features[name] = draw.activation(c, h, w, dtype=dtype, layout=layout)
            grams[name] = _gram(draw.activation(c, h, w + draw.integer(1, 3))).to(dtype)
        weights: dict[str, float] = {name: draw.number(0.2, 2.5) for name in names}
        if axis == "zero weight":
            # A whole number and a zero in the middle are weights like any other.
            weights = dict(zip(names, (3, 0, weights[names[2]]), strict=True))
        arguments = {
            "target_features": features,
            "style_grams": {name: grams[name] for name in draw.shuffled(list(grams))},
            "style_weights": weights,
        }
        used = [name for name in names if weights[name]]
        reaches = tuple(f"target_features[{name!r}]" for name in used) if gradient else ()
        words = f"{count} layer{'s' * (count > 1)} {_dtype_words(dtype, layout)}"
        cases.append(Case(axis, arguments, words, reaches))
    return cases


Features = Mapping[str, Tensor]
Weights = Mapping[str, float]


def _terms(f: Features, a: Features, w: Weights) -> list[Tensor]:
    return [_loss_of(f, a, name) for name in w]


def _pair_loss(feature: Tensor, gram: Tensor) -> Tensor:
    return (_gram(feature) - gram).square().mean() / feature.numel()


def _loss_of(f: Features, a: Features, name: str) -> Tensor:
    return _pair_loss(f[name], a[name])


def _weighted(f: Features, a: Features, w: Weights) -> list[Tensor]:
    return [weight * _loss_of(f, a, name) for name, weight in w.items()]


def _total(terms: Sequence[Tensor]) -> Tensor:
    return sum(terms, start=torch.zeros((), dtype=torch.float64))


def _paired(first: Sequence[float], f: Features, a: Features, names: Sequence[str]) -> Tensor:
    return _total([x * _loss_of(f, a, name) for x, name in zip(first, names, strict=False)])


_COURSE_WEIGHTS = {"conv1_1": 1.0, "conv2_1": 0.75, "conv3_1": 0.2, "conv4_1": 0.2, "conv5_1": 0.2}


def _inside_square(power: str) -> Callable[..., Tensor]:
    def formula(f: Features, a: Features, w: Weights) -> Tensor:
        terms = []
        for name, weight in w.items():
            gram, style = _gram(f[name]), a[name]
            if power == "target":
                gram = weight * gram
            elif power == "style":
                style = weight * style
            elif power == "activation":
                gram = weight * weight * gram
            else:
                gram, style = weight * gram, weight * style
            terms.append((gram - style).square().mean() / f[name].numel())
        return _total(terms)

    return formula


def _style_loss_mistakes() -> list[Mistake]:
    def n(f: Features) -> int:
        return len(f)

    ignored = "the weights were not used, or not the ones that were given."
    pairing = "a layer met the weight or the Gram matrix of another one; go by name, not by order."
    return [
        *_hinted(
            "last-layer-only",
            "only the last layer is in the result; what happened to the ones before it?",
            lambda f, a, w: _weighted(f, a, w)[-1],
        ),
        *_hinted(
            "first-layer-only",
            "only the first layer is in the result; does the loop come to the others?",
            lambda f, a, w: _weighted(f, a, w)[0],
        ),
        *_hinted(
            "layer-missed",
            "one of the layers is missing from the sum.",
            lambda f, a, w: _total(_weighted(f, a, w)[1:] or _weighted(f, a, w)),
            lambda f, a, w: _total(_weighted(f, a, w)[:-1] or _weighted(f, a, w)),
            lambda f, a, w: _total(list(itertools.takewhile(lambda t: t != 0, _weighted(f, a, w)))),
            lambda f, a, w: _total(
                [w[name] * _loss_of(f, a, name) for name in w if name != "conv4_2"]
            ),
        ),
        *_hinted(
            "averaged-over-layers",
            "the sum was divided by the number of layers.",
            lambda f, a, w: _total(_weighted(f, a, w)) / len(w),
            lambda f, a, w: _total(_weighted(f, a, w)) / n(f),
            lambda f, a, w: _total(_weighted(f, a, w)) / 5,
            lambda f, a, w: _running(_weighted(f, a, w), lambda total, term: (total + term) / 2),
        ),
        *_hinted(
            "divided-by-weights",
            "the result was divided by the weights or by their sum; weights only multiply.",
            lambda f, a, w: _total(_weighted(f, a, w)) / sum(w.values()),
            lambda f, a, w: _total(
                [t / x for t, x in zip(_terms(f, a, w), w.values(), strict=True)]
            ),
            lambda f, a, w: (
                torch.tensor(list(w.values()), dtype=torch.float64).softmax(0)
                * torch.stack(_terms(f, a, w))
            ).sum(),
        ),
        *_hinted(
            "product",
            "the layers were multiplied; they have to be added.",
            lambda f, a, w: torch.stack(_weighted(f, a, w)).prod(),
        ),
        *_hinted(
            "counted-again",
            "some layers are counted more than once.",
            lambda f, a, w: _total(list(itertools.accumulate(_weighted(f, a, w)))),
            lambda f, a, w: _running(_weighted(f, a, w), lambda total, term: 2 * total + term),
        ),
        *_hinted(
            "added-constant",
            "the sum does not start from 0.",
            lambda f, a, w: _total(_weighted(f, a, w)) + 1,
        ),
        *_hinted(
            "other-reduction",
            "one layer was picked out; all of them are added.",
            lambda f, a, w: torch.stack(_weighted(f, a, w)).max(),
            lambda f, a, w: torch.stack(_weighted(f, a, w)).min(),
            lambda f, a, w: torch.stack(_weighted(f, a, w)).median(),
        ),
        *_hinted(
            "rooted",
            "a square root was taken somewhere; there is none in the formula.",
            lambda f, a, w: _total(_weighted(f, a, w)).sqrt(),
            lambda f, a, w: _total(
                [x * t.sqrt() for t, x in zip(_terms(f, a, w), w.values(), strict=True)]
            ),
            lambda f, a, w: _total([t.sqrt() for t in _weighted(f, a, w)]),
        ),
        *_hinted(
            "weights-ignored",
            ignored,
            lambda f, a, w: _total(_terms(f, a, w)),
            lambda f, a, w: 0.2 * _total(_terms(f, a, w)),
            lambda f, a, w: _total(_terms(f, a, w)) / len(w),
            lambda f, a, w: _total(_terms(f, a, w)) * sum(w.values()) / len(w),
            lambda f, a, w: _total([_COURSE_WEIGHTS[k] * _loss_of(f, a, k) for k in w]),
            lambda f, a, w: _total([_COURSE_WEIGHTS.get(k, 1.0) * _loss_of(f, a, k) for k in w]),
            lambda f, a, w: _total([(w[k] or 1.0) * _loss_of(f, a, k) for k in w]),
        ),
        *_hinted(
            "weights-truncated",
            "weights lost what stands behind the decimal point.",
            lambda f, a, w: _total([int(w[k]) * _loss_of(f, a, k) for k in w]),
            lambda f, a, w: _total([round(w[k]) * _loss_of(f, a, k) for k in w]),
        ),
        *_hinted(
            "weight-inside-square",
            "the weight was applied before squaring; it belongs in front of the layer's loss.",
            *map(_inside_square, ("both", "target", "style", "activation")),
            lambda f, a, w: _total([t.square() for t in _weighted(f, a, w)]),
        ),
        *_hinted(
            "weights-added",
            "weights were added to the losses; they multiply them, each its own.",
            lambda f, a, w: _total(_terms(f, a, w)) + sum(w.values()),
            lambda f, a, w: _total(_terms(f, a, w)) * sum(w.values()),
        ),
        *_hinted(
            "wrong-pairing",
            pairing,
            lambda f, a, w: _paired(list(w.values()), f, a, [k for k in f if k in w]),
            lambda f, a, w: _paired(list(w.values()), f, a, list(f)),
            lambda f, a, w: _paired(list(w.values()), f, a, list(a)),
            lambda f, a, w: _paired(list(w.values()), f, a, sorted(w)),
            lambda f, a, w: _paired([w[k] for k in sorted(w)], f, a, list(w)),
            lambda f, a, w: _paired([w[k] for k in sorted(w)], f, a, list(f)),
            lambda f, a, w: _total(_terms(f, a, w)) * list(w.values())[-1],
            lambda f, a, w: _total(
                [w[k] * _pair_loss(f[k], g) for k, g in zip(w, a.values(), strict=False)]
            ),
            lambda f, a, w: _total([w[k] * _pair_loss(f[k], next(iter(a.values()))) for k in w]),
            lambda f, a, w: _total([w[k] * _pair_loss(f[k], list(a.values())[-1]) for k in w]),
            lambda f, a, w: _paired(sorted(w.values()), f, a, list(w)),
            lambda f, a, w: _paired(sorted(w.values(), reverse=True), f, a, list(w)),
            lambda f, a, w: _paired([w[k] for k in f if k in w], f, a, list(w)),
            lambda f, a, w: _paired(sorted(w.values(), reverse=True), f, a, sorted(w)),
            lambda f, a, w: _paired(sorted(w.values()), f, a, sorted(w)),
            lambda f, a, w: _paired(list(w.values()), f, a, [k for k in a if k in w]),
            lambda f, a, w: _total(_terms(f, a, w)) * next(iter(w.values())),
        ),
        *_hinted(
            "weights-accumulate",
            "the weights of earlier layers are counted again for the later ones.",
            lambda f, a, w: _paired(list(itertools.accumulate(w.values())), f, a, list(w)),
            lambda f, a, w: _running(
                list(zip(_terms(f, a, w), w.values(), strict=True)),
                lambda total, term: (total + term[0]) * term[1],
            ),
        ),
        *_hinted(
            "all-features-counted",
            "layers without a weight were counted, too; style_weights says which layers belong to "
            "the style.",
            lambda f, a, w: _total([w.get(k, 1.0) * _loss_of(f, a, k) for k in f]),
            lambda f, a, w: _total([w.get(k, 0.2) * _loss_of(f, a, k) for k in f]),
            lambda f, a, w: _total([_loss_of(f, a, k) for k in f]),
        ),
        *_hinted(
            "hard-coded-layers",
            "layers were chosen by name; style_weights says which layers belong to the style.",
            lambda f, a, w: _total(
                [w[k] * _loss_of(f, a, k) for k in w if k.endswith("_1") and k in f]
            ),
            lambda f, a, w: _total([w[k] * _loss_of(f, a, k) for k in w if k in _COURSE_WEIGHTS]),
            lambda f, a, w: (
                _total([w[k] * _loss_of(f, a, k) for k in w if k in _COURSE_WEIGHTS])
                if set(w) & set(_COURSE_WEIGHTS)
                else torch.zeros((), dtype=torch.float64)
            ),
        ),
        *_hinted(
            "wrong-division",
            "the sum so far was divided again for every layer; each layer is divided by its own "
            "sizes, once.",
            lambda f, a, w: _running(
                [(w[k] * _loss_of(f, a, k) * f[k].numel(), f[k].numel()) for k in w],
                lambda total, term: (total + term[0]) / term[1],
            ),
            lambda f, a, w: _total([f[k].shape[-1] * _loss_of(f, a, k) for k in w]),
            lambda f, a, w: _total([f[k].shape[-2] * _loss_of(f, a, k) for k in w]),
        ),
        *_hinted(
            "missing-division",
            "the layers were added first and divided at the end by the sizes of one of them.",
            lambda f, a, w: (
                _total([w[k] * _loss_of(f, a, k) * f[k].numel() for k in w])
                / f[list(w)[-1]].numel()
            ),
            lambda f, a, w: (
                _total([w[k] * _loss_of(f, a, k) * f[k].numel() for k in w])
                / sum(f[k].numel() for k in w)
            ),
        ),
        *_hinted(
            "compares-features",
            "activations were compared where Gram matrices are asked for.",
            lambda f, a, w: _total([w[k] * (f[k] - a[k]).square().mean() for k in w]),
            lambda f, a, w: _total(
                [w[k] * (f[k].flatten(2).mean(2) - a[k]).square().mean() / f[k].numel() for k in w]
            ),
            lambda f, a, w: _total(
                [w[k] * (f[k] - a[k]).square().mean() / f[k].numel() for k in w]
            ),
        ),
        # What goes wrong inside one layer goes wrong in every layer.
        *(_in_every_layer(mistake) for mistake in (*_layer_scale_mistakes(), *_style_mistakes())),
    ]


def _running(terms: Sequence, step: Callable) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for term in terms:
        total = step(total, term)
    return total


def _in_every_layer(mistake: Mistake) -> Mistake:
    def formula(f: Features, a: Features, w: Weights) -> Tensor:
        return _total([weight * mistake.formula(f[k], a[k]) for k, weight in w.items()])

    return Mistake(mistake.cause, mistake.hint, formula)


def _layer_scale_mistakes() -> list[Mistake]:
    """Return the layer losses that are wrong by one size; in a sum no common factor is left."""

    def scaled(scale: Callable[[Tensor], float]) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda t, a: (_gram(t) - a).square().mean() * scale(t)

    def c(t: Tensor) -> int:
        return t.shape[1]

    def h(t: Tensor) -> int:
        return t.shape[2]

    def w(t: Tensor) -> int:
        return t.shape[3]

    missing = "the division by C H W is missing in every layer."
    division = "each layer was divided by something else than its own C H W."
    return [
        *_hinted("missing-division", missing, scaled(lambda t: 1)),
        *_hinted(
            "sum-for-mean",
            "a sum was taken where a mean is asked for, in every layer.",
            scaled(lambda t: c(t) ** 2 / t.numel()),
            scaled(lambda t: c(t) ** 2),
        ),
        *_hinted(
            "wrong-division",
            division,
            scaled(lambda t: 1 / (h(t) * w(t))),
            scaled(lambda t: 1 / c(t)),
            scaled(lambda t: 1 / t.numel() ** 2),
            scaled(lambda t: 1 / (c(t) * h(t))),
            scaled(lambda t: 1 / (c(t) * w(t))),
            scaled(lambda t: 1 / (c(t) ** 2 * h(t) * w(t))),
            scaled(lambda t: t.numel()),
            scaled(lambda t: h(t) * w(t) / c(t)),
        ),
        *_hinted(
            "square-assumed",
            "H or W was used twice in the division.",
            scaled(lambda t: 1 / (c(t) * h(t) ** 2)),
            scaled(lambda t: 1 / (c(t) * w(t) ** 2)),
        ),
    ]


def _missing_layer(error: BaseException, case: Case) -> Finding | None:
    """Say which layer was looked up where it is not, and why that may be."""
    if not isinstance(error, KeyError) or not isinstance(error.args[0], str):
        return None
    name = error.args[0]
    if name in case.arguments["target_features"]:
        text = f"{name!r} has no weight and was looked up all the same; which layers count?"
        return Finding("raises", text, "all-features-counted")
    text = f"{name!r} was looked up and is not there; layer names come from style_weights."
    return Finding("raises", text, "hard-coded-layers")


STYLE_LOSS = TensorFunction(
    name="style_loss",
    parameters={"target_features": REQUIRED, "style_grams": REQUIRED, "style_weights": REQUIRED},
    specification=style_loss,
    cases=_layers_cases,
    operations=lambda arguments: (
        16 * sum(f.numel() * f.shape[1] for f in arguments["target_features"].values())
    ),
    summary=(
        "Values and gradients agree with the formula for one layer and for several, in any order, "
        "with layers that have no weight."
    ),
    shape_words="a single number, shape ()",
    mistakes=_style_loss_mistakes(),
    factors=_scalar_factors(["2"], lambda arguments: {}, _DOUBLED, _HALVED),
    raised=_missing_layer,
)


# --- total_loss -----------------------------------------------------------------------------------


def _two_weights(draw: Draw) -> tuple[float, float]:
    return draw.number(0.1, 4), draw.number(5, 90)


def _total_cases(draw: Draw) -> list[Case]:
    first = _two_weights(draw)
    plans = [
        ("plain", first, torch.float64, True, ()),
        ("again", first, torch.float64, True, ()),
        ("default", (), torch.float64, True, ()),
        ("default", (draw.number(0.1, 4),), torch.float64, True, ()),
        (
            "by name",
            _two_weights(draw),
            torch.float64,
            True,
            ("alpha", "beta"),
        ),
        ("whole numbers", (draw.integer(2, 9), draw.integer(10, 99)), torch.float64, True, ()),
        ("alpha 0", (0.0, draw.number(5, 90)), torch.float64, True, ()),
        ("beta 0", (draw.number(0.1, 4), 0), torch.float64, True, ()),
        ("no gradient", _two_weights(draw), torch.float64, False, ()),
        ("float32", _two_weights(draw), torch.float32, True, ()),
        ("float32", (), torch.float32, True, ()),
    ]
    cases = []
    for axis, weights, dtype, gradient, keywords in plans:
        content, style = (
            torch.tensor(draw.number(low, high), dtype=torch.float64).to(dtype)
            for low, high in ((1, 30), (0.01, 0.9))
        )
        arguments = {"content": content, "style": style}
        arguments |= dict(zip(("alpha", "beta"), weights, strict=False))
        given = ", ".join(f"{k} = {v:.3g}" for k, v in list(arguments.items())[2:])
        words = given if given else "alpha and beta left out"
        if len(weights) == 1:
            words += " and beta left out"
        if dtype != torch.float64:
            words += f", {_dtype_words(dtype, '')}"
        reaches = ("content", "style") if gradient else ()
        if gradient and weights:
            # A weight of 0 may switch its term off altogether.
            alpha, beta = (*weights, DEFAULT_BETA)[:2]
            reaches = ("content",) * bool(alpha) + ("style",) * bool(beta)
        cases.append(Case(axis, arguments, words, reaches, keywords))
    return cases


def _total_mistakes() -> list[Mistake]:
    a0, b0 = DEFAULT_ALPHA, DEFAULT_BETA

    def of(formula: Callable[[Tensor, Tensor, float, float], Tensor]) -> Callable[..., Tensor]:
        return lambda c, s, a=a0, b=b0: formula(c, s, a, b)

    def with_defaults(alpha: float, beta: float) -> Callable[..., Tensor]:
        return lambda c, s, a=alpha, b=beta: a * c + b * s

    return [
        *_hinted(
            "swapped-weights",
            "the weights are exchanged: which of alpha and beta belongs to content?",
            of(lambda c, s, a, b: b * c + a * s),
        ),
        *_hinted(
            "wrong-default",
            "with alpha and beta given it is right; what they are when left out is not.",
            *(
                with_defaults(alpha, beta)
                for alpha, beta in itertools.product(
                    (a0, 0.0, b0, 10.0, 1e-3, 1e6),
                    (b0, 1.0, 0.0, 1e3, 1e4, 1e5, 1e7, 1e8, 1e-6, 10.0, 100.0, 40.0, 12.0, 0.1),
                )
                if (alpha, beta) != (a0, b0)
            ),
            lambda c, s, a=a0, b=b0: (a or a0) * c + (b or b0) * s,
        ),
        *_hinted(
            "alpha-ignored",
            "alpha makes no difference to the result.",
            of(lambda c, s, a, b: c + b * s),
            of(lambda c, s, a, b: a0 * c + b * s),
        ),
        *_hinted(
            "beta-ignored",
            "beta makes no difference to the result.",
            of(lambda c, s, a, b: a * c + s),
            of(lambda c, s, a, b: a * c + b0 * s),
        ),
        *_hinted(
            "alpha-ignored",
            "neither alpha nor beta makes a difference to the result.",
            of(lambda c, s, a, b: c + s),
            of(lambda c, s, a, b: c + b0 * s),
        ),
        *_hinted(
            "content-forgotten",
            "the content loss is not in the result.",
            of(lambda c, s, a, b: b * s),
            of(lambda c, s, a, b: a * s + b * s),
            of(lambda c, s, a, b: s),
        ),
        *_hinted(
            "style-forgotten",
            "the style loss is not in the result.",
            of(lambda c, s, a, b: a * c),
            of(lambda c, s, a, b: a * c + b * c),
            of(lambda c, s, a, b: c),
        ),
        *_hinted(
            "product",
            "terms were multiplied that have to be added; brackets decide what belongs together.",
            of(lambda c, s, a, b: a * c * b * s),
            of(lambda c, s, a, b: c * s),
            of(lambda c, s, a, b: a * b * (c + s)),
            of(lambda c, s, a, b: a * (c + b * s)),
            of(lambda c, s, a, b: b * (a * c + s)),
            of(lambda c, s, a, b: (a * c + b) * s),
        ),
        *_hinted(
            "weights-added",
            "weights were added instead of multiplied, or multiply both losses.",
            of(lambda c, s, a, b: (a + c) + (b + s)),
            of(lambda c, s, a, b: (a + c) * (b + s)),
            of(lambda c, s, a, b: (a + b) * (c + s)),
        ),
        *_hinted(
            "negative-style",
            "style is subtracted: the optimisation would run away from the style.",
            of(lambda c, s, a, b: a * c - b * s),
        ),
        *_hinted(
            "negative-content",
            "content is subtracted: the optimisation would run away from the content.",
            of(lambda c, s, a, b: b * s - a * c),
            of(lambda c, s, a, b: -a * c - b * s),
        ),
        *_hinted(
            "normalised-weights",
            "the weights were divided by their sum or by each other; they are used as given.",
            of(lambda c, s, a, b: (a * c + b * s) / (a + b)),
            of(lambda c, s, a, b: a / b * c + s),
            of(lambda c, s, a, b: c + b / a * s),
            of(lambda c, s, a, b: (a * c + b * s) / 2),
            of(lambda c, s, a, b: a * c + (1 - a) * s),
            of(lambda c, s, a, b: a * c + (1 - a) * b * s),
            of(lambda c, s, a, b: (1 - b) * a * c + b * s),
            of(lambda c, s, a, b: (1 - b) * c + b * s),
            of(lambda c, s, a, b: a / (a + b) * c + b / (a + b) * s),
        ),
        *_hinted(
            "weights-squared",
            "a weight is applied twice.",
            of(lambda c, s, a, b: a * a * c + b * b * s),
            of(lambda c, s, a, b: a * c + b * b * s),
            of(lambda c, s, a, b: a * a * c + b * s),
            of(lambda c, s, a, b: (a * c) ** 2 + (b * s) ** 2),
        ),
        *_hinted(
            "other-power",
            "the losses were raised to a power; they are only weighted.",
            of(lambda c, s, a, b: a * c**2 + b * s**2),
            of(lambda c, s, a, b: (a * c + b * s) ** 2),
            of(lambda c, s, a, b: c**a + s**b),
            of(lambda c, s, a, b: c**a + b * s),
            of(lambda c, s, a, b: a * c + s**b),
        ),
        *_hinted(
            "divided-by-weights",
            "a loss was divided by its weight.",
            of(lambda c, s, a, b: c / a + s / b),
            of(lambda c, s, a, b: a * c + s / b),
            of(lambda c, s, a, b: c / a + b * s),
        ),
        *_hinted(
            "weights-truncated",
            "the weights lost what stands behind the decimal point.",
            of(lambda c, s, a, b: int(a) * c + int(b) * s),
            of(lambda c, s, a, b: round(a) * c + round(b) * s),
            of(lambda c, s, a, b: int(a) * c + b * s),
            of(lambda c, s, a, b: a * c + int(b) * s),
        ),
        *_hinted(
            "other-reduction",
            "the two terms were not added.",
            of(lambda c, s, a, b: torch.maximum(a * c, b * s)),
            of(lambda c, s, a, b: torch.minimum(a * c, b * s)),
        ),
        *_hinted(
            "rooted",
            "a square root was taken; there is none in the formula.",
            of(lambda c, s, a, b: (a * c + b * s).sqrt()),
            of(lambda c, s, a, b: ((a * c) ** 2 + (b * s) ** 2).sqrt()),
        ),
        *_hinted(
            "not-reduced",
            "the two terms stand side by side; they have to be added.",
            of(lambda c, s, a, b: torch.stack([a * c, b * s])),
        ),
    ]


TOTAL_LOSS = TensorFunction(
    name="total_loss",
    parameters={
        "content": REQUIRED,
        "style": REQUIRED,
        "alpha": DEFAULT_ALPHA,
        "beta": DEFAULT_BETA,
    },
    specification=total_loss,
    cases=_total_cases,
    operations=lambda arguments: 4,
    summary="Both terms, weights and defaults are right, and gradients reach both losses.",
    shape_words="a single number, shape ()",
    mistakes=_total_mistakes(),
)

EXERCISES = (CONTENT_LOSS, LAYER_STYLE_LOSS, STYLE_LOSS, TOTAL_LOSS)
