"""Lesson 03: what an answer must satisfy in ``gram_matrix`` and ``batch_gram_matrix``.

Source of the formula: Gatys, Ecker and Bethge 2016, equation 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def gram_matrix(tensor: Tensor) -> Tensor:
    """G_ij = sum over positions p of F_ip F_jp, written out: (1, C, H, W) -> (C, C)."""
    return batch_gram_matrix(tensor)[0]


def batch_gram_matrix(tensor: Tensor) -> Tensor:
    """The same for each image b: G_bij = sum over p of F_bip F_bjp; (B, C, H, W) -> (B, C, C)."""
    grams = []
    for image in tensor:
        features = [[image[i, y, x] for y, x in positions(image)] for i in range(len(image))]
        rows = []
        for f_i in features:
            row = []
            for f_j in features:
                total = f_i[0] * f_j[0]
                for a, b in zip(f_i[1:], f_j[1:], strict=True):
                    total = total + a * b
                row.append(total)
            rows.append(torch.stack(row))
        grams.append(torch.stack(rows))
    return torch.stack(grams)


def positions(image: Tensor) -> list[tuple[int, int]]:
    """Return every (y, x) of a (C, H, W) activation."""
    return [(y, x) for y in range(image.shape[-2]) for x in range(image.shape[-1])]


def gram_cases(draw: Draw, *, batches: Sequence[int]) -> list[Case]:
    """Return activations that differ from a plain square one in one way each."""
    c, other_c = draw.distinct(2, 2, 5)
    side, h, w = draw.distinct(3, 3, 6)
    one = [
        ("plain", c, side, side, torch.float64, "contiguous", True),
        ("again", c, side, side, torch.float64, "contiguous", True),
        ("several", c, side, side, torch.float64, "contiguous", True),
        ("not square", c, h, w, torch.float64, "contiguous", True),
        ("not square", c, w, h, torch.float64, "contiguous", True),
        ("other channels", other_c, h, side, torch.float64, "contiguous", True),
        ("other channels", 1, h, w, torch.float64, "contiguous", True),
        ("other size", c, 1, w, torch.float64, "contiguous", True),
        ("no gradient", c, w, h, torch.float64, "contiguous", False),
        ("float32", c, h, w, torch.float32, "contiguous", True),
        ("layout", c, h, w, torch.float32, "channels_last", True),
        ("layout", c, w, h, torch.float64, "strided", True),
    ]
    cases = []
    for number, (axis, channels, height, width, dtype, layout, gradient) in enumerate(one):
        if axis == "several" and len(batches) == 1:
            continue
        batch = 1 if axis in ("plain", "again") else batches[number % len(batches)]
        sizes = f"{batch} x {channels} x {height} x {width}"
        kind = str(dtype).removeprefix("torch.")
        words = f"a {sizes} activation in {kind}"
        if layout != "contiguous":
            words += {"strided": " with gaps in memory", "channels_last": " in channels_last"}[
                layout
            ]
        if not gradient:
            words += " that asks for no gradient"
        tensor = draw.activation(channels, height, width, batch=batch, dtype=dtype, layout=layout)
        reaches = ("tensor",) if gradient else ()
        cases.append(Case(axis, {"tensor": tensor}, words, reaches))
    return cases


def operations(arguments: Arguments) -> int:
    """A value of a Gram matrix adds H W products."""
    tensor = arguments["tensor"]
    return 2 * tensor.shape[-2] * tensor.shape[-1]


def _flat(tensor: Tensor) -> Tensor:
    return tensor.flatten(start_dim=2)


def _product(features: Tensor) -> Tensor:
    return features @ features.mT


def _outer_view(tensor: Tensor) -> Tensor:
    b, c, h, w = tensor.shape
    return tensor.reshape(b, h * w, c)


def _square(tensor: Tensor, side: int) -> Tensor:
    b, c, _, _ = tensor.shape
    return _product(tensor.reshape(b, c, side * side))


def _unit_rows(features: Tensor) -> Tensor:
    return features / features.norm(dim=-1, keepdim=True)


# Wrong formulas for a batch, (B, C, H, W) -> whatever comes out of them.
_WRONG: tuple[tuple[str, str, Any], ...] = (
    (
        "transposed-product",
        "the product is the other way round: it compares positions with positions. Which of the "
        "two sizes of the flattened features should be left over, and which summed away?",
        lambda t: _flat(t).mT @ _flat(t),
    ),
    (
        "scrambled-view",
        "the numbers were put into a new shape in an order that mixes channels and positions. "
        "Giving a tensor a new shape never swaps two of its dimensions.",
        lambda t: _outer_view(t).mT @ _outer_view(t),
    ),
    (
        "scrambled-view",
        "the numbers were put into a new shape in an order that mixes channels and positions. "
        "Giving a tensor a new shape never swaps two of its dimensions.",
        lambda t: _outer_view(t) @ _outer_view(t).mT,
    ),
    (
        "centred",
        "the mean of each map was taken away first: that is a covariance, and the contract does "
        "not ask for it.",
        lambda t: _product(_flat(t) - _flat(t).mean(-1, keepdim=True)),
    ),
    (
        "normalised-rows",
        "each feature map was scaled to length 1 first; so how strongly it responds is lost.",
        lambda t: _product(_unit_rows(_flat(t))),
    ),
    (
        "elementwise-product",
        "the maps were multiplied number by number; a Gram matrix compares each map with every "
        "other one.",
        lambda t: _flat(t) * _flat(t),
    ),
    (
        "elementwise-product",
        "the maps were multiplied number by number; a Gram matrix compares each map with every "
        "other one.",
        lambda t: t * t,
    ),
    (
        "diagonal-only",
        "each map was compared with itself only; what about pairs of different maps?",
        lambda t: _flat(t).square().sum(-1),
    ),
    (
        "diagonal-only",
        "each map was compared with itself only; what about pairs of different maps?",
        lambda t: torch.diag_embed(_flat(t).square().sum(-1)),
    ),
    (
        "triangle-only",
        "one half of the matrix is 0; the pair (i, j) and the pair (j, i) both count.",
        lambda t: _product(_flat(t)).triu(),
    ),
    (
        "triangle-only",
        "one half of the matrix is 0; the pair (i, j) and the pair (j, i) both count.",
        lambda t: _product(_flat(t)).tril(),
    ),
    (
        "triangle-only",
        "one half of the matrix is 0; the pair (i, j) and the pair (j, i) both count.",
        lambda t: _product(_flat(t)).triu(1),
    ),
    (
        "triangle-only",
        "one half of the matrix is 0; the pair (i, j) and the pair (j, i) both count.",
        lambda t: _product(_flat(t)).tril(-1),
    ),
    (
        "zero-diagonal",
        "the diagonal is 0; a map is compared with itself, too.",
        lambda t: _product(_flat(t)) * (1 - torch.eye(t.shape[1], dtype=t.dtype)),
    ),
    (
        "root",
        "a square root was taken somewhere; there is none in the formula.",
        lambda t: _product(_flat(t)).sqrt(),
    ),
    (
        "root",
        "a square root was taken somewhere; there is none in the formula.",
        lambda t: _product(_flat(t)).abs().sqrt(),
    ),
    (
        "root",
        "a square root was taken somewhere; there is none in the formula.",
        lambda t: _product(_flat(t)).relu().sqrt(),
    ),
    (
        "absolute",
        "negative numbers lost their sign; features before a ReLU are of both signs, and so are "
        "their products.",
        lambda t: _product(_flat(t)).abs(),
    ),
    (
        "absolute",
        "negative numbers lost their sign; features before a ReLU are of both signs, and so are "
        "their products.",
        lambda t: _product(_flat(t).abs()),
    ),
    (
        "rectified",
        "negative features were set to 0 first; the Gram matrix takes the activation as it is.",
        lambda t: _product(_flat(t).relu()),
    ),
    (
        "rectified",
        "negative values were set to 0; correlations can be negative.",
        lambda t: _product(_flat(t)).relu(),
    ),
    (
        "one-argument-only",
        "each map was summed on its own before multiplying; the sum over positions comes after "
        "the product.",
        lambda t: _flat(t).sum(-1)[..., None] * _flat(t).sum(-1)[..., None, :],
    ),
    (
        "one-argument-only",
        "each map was averaged on its own before multiplying; the sum over positions comes after "
        "the product.",
        lambda t: _flat(t).mean(-1)[..., None] * _flat(t).mean(-1)[..., None, :],
    ),
    (
        "one-argument-only",
        "this has one number a map; a Gram matrix has one for each pair of maps.",
        lambda t: _flat(t).sum(-1),
    ),
    (
        "one-argument-only",
        "this has one number a map; a Gram matrix has one for each pair of maps.",
        lambda t: _flat(t).mean(-1),
    ),
    (
        "centred",
        "correlation coefficients centre and scale each map; the contract multiplies and sums.",
        lambda t: _product(_unit_rows(_flat(t) - _flat(t).mean(-1, keepdim=True))),
    ),
    (
        "square-assumed",
        "a size was used twice where two different ones are needed: height and width need not be "
        "equal.",
        lambda t: _square(t, t.shape[2]),
    ),
    (
        "square-assumed",
        "a size was used twice where two different ones are needed: height and width need not be "
        "equal.",
        lambda t: _square(t, t.shape[3]),
    ),
    (
        "other-power",
        "the features or the products were squared once too often.",
        lambda t: _product(_flat(t)).square(),
    ),
    (
        "other-power",
        "the features or the products were squared once too often.",
        lambda t: _product(_flat(t).square()),
    ),
    (
        "gram-taken-twice",
        "the Gram matrix of a Gram matrix was taken.",
        lambda t: _product(_product(_flat(t))),
    ),
    (
        "transposed-product",
        "rows or columns of the picture were multiplied, each map for itself; channels have to be "
        "compared, and both height and width summed away.",
        lambda t: t @ t.mT,
    ),
    (
        "transposed-product",
        "rows or columns of the picture were multiplied, each map for itself; channels have to be "
        "compared, and both height and width summed away.",
        lambda t: t.mT @ t,
    ),
    (
        "scrambled-view",
        "the numbers were put into a new shape in an order that mixes channels and positions. "
        "Giving a tensor a new shape never swaps two of its dimensions.",
        lambda t: _flat(t) @ _outer_view(t),
    ),
    (
        "scrambled-view",
        "the numbers were put into a new shape in an order that mixes channels and positions. "
        "Giving a tensor a new shape never swaps two of its dimensions.",
        lambda t: _outer_view(t).mT @ _flat(t).mT,
    ),
    (
        "square-assumed",
        "height and width change places on the way; they are not the same.",
        lambda t: _flat(t) @ _flat(t.mT).mT,
    ),
    (
        "one-argument-only",
        "only one of the two maps of each pair is in the product.",
        lambda t: _flat(t) @ torch.ones_like(_flat(t)).mT,
    ),
    (
        "one-argument-only",
        "only one of the two maps of each pair is in the product.",
        lambda t: torch.ones_like(_flat(t)) @ _flat(t).mT,
    ),
    (
        "centred",
        "a mean was taken away first; the contract does not ask for it.",
        lambda t: _product(_flat(t) - _flat(t).mean(dim=(-1, -2), keepdim=True)),
    ),
    (
        "centred",
        "the mean over the channels was taken away first; the contract does not ask for it.",
        lambda t: _product(_flat(t) - _flat(t).mean(dim=-2, keepdim=True)),
    ),
    (
        "normalised-rows",
        "the features were scaled first, so how strongly a map responds is lost.",
        lambda t: _product(_flat(t).softmax(-1)),
    ),
    (
        "normalised-rows",
        "the features were scaled first, so how strongly a map responds is lost.",
        lambda t: _product(_flat(t) / _flat(t).std(-1, keepdim=True)),
    ),
    (
        "normalised-rows",
        "the features were scaled first, so how strongly a map responds is lost.",
        lambda t: _product(_flat(t) / _flat(t).norm(dim=-2, keepdim=True)),
    ),
    (
        "doubled",
        "the matrix and its transpose were added; on the diagonal that counts everything twice.",
        lambda t: _product(_flat(t)).triu() + _product(_flat(t)).triu().mT,
    ),
    (
        "root",
        "a square root was taken somewhere; there is none in the formula.",
        lambda t: _product(_flat(t)).sign() * _product(_flat(t)).abs().sqrt(),
    ),
    (
        "rectified",
        "values were cut off at 0 or 1 first; the Gram matrix takes the activation as it is.",
        lambda t: _product(_flat(t).clamp(0, 1)),
    ),
    (
        "absolute",
        "negative numbers lost their sign; features before a ReLU are of both signs.",
        lambda t: _flat(t).abs() @ _flat(t).mT,
    ),
)


def _sizes(arguments: Arguments) -> dict[str, int]:
    b, c, h, w = arguments["tensor"].shape
    return {"B": b, "C": c, "H": h, "W": w, "HW-1": h * w - 1}


def _factors(*products: str) -> tuple[Factor, ...]:
    return tuple(
        size_product(
            words,
            _sizes,
            ("doubled", "the result was multiplied by {factor}{meaning}; nothing is, here."),
            (
                "divided",
                "the result was divided by {factor}{meaning}; other texts divide, this contract "
                "does not.",
            ),
        )
        for words in products
    )


_FACTORS = _factors(
    *("C H W", "H W", "HW-1", "C", "H", "W", "C C", "C H", "C W", "C C H W", "H W H W"),
    *("2 C H W", "2 H W", "4 C C H W H W", "C C H W H W", "2", "4"),
)
_BATCH_FACTORS = _factors("B C H W", "B H W", "B", "B C")
_ANY_FACTOR = (
    ("doubled", "all values are too large by one number; nothing is multiplied, here."),
    ("divided", "all values are too small by one number; the contract divides by nothing."),
)


def _of_one(formula: Any) -> Any:
    """Return the formula for a batch of one, without the batch dimension."""
    return lambda tensor: formula(tensor)[0]


_KEEPS_BATCH = Mistake(
    "keeps-batch",
    "the values are right, but the dimension of the batch is still there.",
    batch_gram_matrix,
)

_BATCH_MISTAKES = (
    Mistake(
        "summed-over-batch",
        "the Gram matrices of all images were added up; each image has its own.",
        lambda tensor: _product(_flat(tensor)).sum(0),
    ),
    Mistake(
        "averaged-over-batch",
        "the Gram matrices of all images were averaged; each image has its own.",
        lambda tensor: _product(_flat(tensor)).mean(0),
    ),
    Mistake(
        "first-image-only",
        "only the first image was used; the batch may hold several.",
        lambda tensor: _product(_flat(tensor))[0],
    ),
    Mistake(
        "first-image-only",
        "only the first image was used; the batch may hold several.",
        lambda tensor: _product(_flat(tensor))[:1],
    ),
    Mistake(
        "averaged-over-batch",
        "the Gram matrices of all images were averaged; each image has its own.",
        lambda tensor: _product(_flat(tensor)).mean(0, keepdim=True),
    ),
    Mistake(
        "summed-over-batch",
        "the Gram matrices of all images were added up; each image has its own.",
        lambda tensor: _product(_flat(tensor)).sum(0, keepdim=True),
    ),
    Mistake(
        "summed-over-batch",
        "each image's Gram matrix also holds those of the images before it.",
        lambda tensor: _product(_flat(tensor)).cumsum(0),
    ),
    Mistake(
        "images-mixed",
        "the features of different images were compared: each image goes with itself only.",
        lambda tensor: torch.einsum("bcp,adp->bcad", _flat(tensor), _flat(tensor)),
    ),
    Mistake(
        "images-mixed",
        "the mean over the images was taken away; images must not know of each other.",
        lambda tensor: _product(_flat(tensor - tensor.mean(0, keepdim=True))),
    ),
    Mistake(
        "images-mixed",
        "whole images were compared with each other; channels of one image have to be.",
        lambda tensor: _product(tensor.flatten(1)),
    ),
    Mistake(
        "images-mixed",
        "the same channel of different images was compared; channels of one image have to be.",
        lambda tensor: _product(_flat(tensor).transpose(0, 1)),
    ),
    Mistake(
        "first-image-only",
        "every image got the Gram matrix of the first one.",
        lambda tensor: _product(_flat(tensor))[:1].expand(len(tensor), -1, -1),
    ),
    Mistake(
        "images-mixed",
        "the features of different images were mixed: each image is compared with itself only.",
        lambda tensor: _product(tensor.reshape(len(tensor) * tensor.shape[1], -1)),
    ),
    Mistake(
        "images-mixed",
        "the features of different images were mixed: each image is compared with itself only.",
        lambda tensor: _product(tensor.transpose(0, 1).reshape(tensor.shape[1], -1)),
    ),
    Mistake(
        "images-mixed",
        "the features of different images were mixed: each image is compared with itself only.",
        lambda tensor: _product(tensor.reshape(tensor.shape[1], -1)),
    ),
)

GRAM_MATRIX = TensorFunction(
    name="gram_matrix",
    parameters={"tensor": REQUIRED},
    specification=gram_matrix,
    cases=lambda draw: gram_cases(draw, batches=[1]),
    operations=operations,
    summary=(
        "Values, gradient, dtype and device agree with the formula for square and elongated maps "
        "and several numbers of channels."
    ),
    shape_words="channels by channels",
    mistakes=(
        *(Mistake(cause, hint, _of_one(formula)) for cause, hint, formula in _WRONG),
        _KEEPS_BATCH,
        *(Mistake(cause, hint, formula) for cause, hint, formula in _WRONG),
    ),
    factors=_FACTORS,
    any_factor=_ANY_FACTOR,
)

BATCH_GRAM_MATRIX = TensorFunction(
    name="batch_gram_matrix",
    parameters={"tensor": REQUIRED},
    specification=batch_gram_matrix,
    cases=lambda draw: gram_cases(draw, batches=[1, 3, 2]),
    operations=operations,
    summary=(
        "Values, gradient, dtype and device agree with the formula for one image and for several."
    ),
    shape_words="images by channels by channels",
    mistakes=(
        *_BATCH_MISTAKES,
        *(Mistake(cause, hint, formula) for cause, hint, formula in _WRONG),
    ),
    factors=(*_FACTORS, *_BATCH_FACTORS),
    any_factor=_ANY_FACTOR,
)

EXERCISES = (GRAM_MATRIX, BATCH_GRAM_MATRIX)
