"""How far a picture is from a content and from a style: in the lessons, and in other texts.

First come the losses of the lessons: Gram matrices are not divided, both losses are means, and a
layer's style loss is divided by C H W. With Gatys, Ecker and Bethge's E_l (2016, equation 4) and
M = H W, the layer's loss here is (4 M / C) E_l.

Then come the conventions of other texts, one row of data each, and ``translate``, which carries
alpha, beta and layer weights from one text's convention into another's. To add a convention, add
its row to ``CONVENTIONS``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nst_helpers.errors import NstError

CONTENT_LAYER = "conv4_2"
STYLE_WEIGHTS: Mapping[str, float] = {
    "conv1_1": 1.0,
    "conv2_1": 0.75,
    "conv3_1": 0.2,
    "conv4_1": 0.2,
    "conv5_1": 0.2,
}


def gram_matrix(activation: Tensor) -> Tensor:
    """Return G, G_ij = sum over positions of F_i F_j: (1, C, H, W) -> (C, C).

    Source: Gatys, Ecker and Bethge 2016, equation 3.
    """
    features = activation.flatten(start_dim=2).squeeze(0)
    return features @ features.T


def content_loss(target: Tensor, content: Tensor) -> Tensor:
    """Return the mean squared difference of two activations of the same shape, a scalar.

    Source: Gatys, Ecker and Bethge 2016, equation 1, as a mean instead of half a sum.
    """
    return F.mse_loss(target, content)


def layer_style_loss(target: Tensor, style_gram: Tensor) -> Tensor:
    """Return mean((G - A)^2) / (C H W), with G and the sizes of the target's activation.

    Args:
        target: activation of the picture being made, (1, C, H, W).
        style_gram: Gram matrix A of the style's activation, (C, C).

    Source: Gatys, Ecker and Bethge 2016, equation 4, times 4 H W / C.
    """
    difference = gram_matrix(target) - style_gram
    return difference.square().mean() / target[0].numel()


def style_loss(
    target_features: Mapping[str, Tensor],
    style_grams: Mapping[str, Tensor],
    style_weights: Mapping[str, float],
) -> Tensor:
    """Return the sum over the layers in ``style_weights`` of weight times layer loss, a scalar.

    Without any layer it is 0.
    Source: Gatys, Ecker and Bethge 2016, equation 5.
    """
    losses = [
        weight * layer_style_loss(target_features[layer], style_grams[layer])
        for layer, weight in style_weights.items()
    ]
    return sum(losses) if losses else torch.zeros(())


def total_variation(image: Tensor) -> Tensor:
    """Return the mean squared difference between neighbouring pixels, vertical plus horizontal.

    ``image`` is (B, 3, H, W) with H, W > 1; small for smooth pictures, large for noise.
    Source: Mahendran and Vedaldi 2015, the total variation of section 2.3 with beta = 2.
    """
    vertical = image[..., 1:, :] - image[..., :-1, :]
    horizontal = image[..., :, 1:] - image[..., :, :-1]
    return vertical.square().mean() + horizontal.square().mean()


def total_loss(content: Tensor, style: Tensor, alpha: float = 1.0, beta: float = 1e6) -> Tensor:
    """Return ``alpha * content + beta * style`` (Gatys, Ecker and Bethge 2016, equation 7)."""
    return alpha * content + beta * style


# The conventions of other texts


@dataclass(frozen=True)
class Divisor:
    """What a text divides by: ``number * C**C * M**M * N**N``, the exponents being the fields.

    C is the number of channels of a layer's activation, M = H W the number of its positions, and
    N the number of pixels of the picture.
    """

    number: int = 1
    C: int = 0
    M: int = 0
    N: int = 0

    def of(self, size: Sequence[int], pixels: int | None = None) -> float:
        """Return the divisor's value.

        Args:
            size: (C, H, W) of the activation.
            pixels: the picture's height times its width; needed where N counts.

        Raises:
            NstError: N counts, and ``pixels`` is not given.
        """
        channels, height, width = size
        if self.N and not pixels:
            raise NstError(
                "This convention divides by the size of the picture, which was not given; "
                "add pixels=, the picture's height times its width."
            )
        per_picture = pixels**self.N if self.N else 1
        # A float, as torch divides by no whole number above 2^63.
        return float(self.number * channels**self.C * (height * width) ** self.M * per_picture)

    def __str__(self) -> str:
        powers = {"C": self.C, "M": self.M, "N": self.N}
        factors = [str(self.number)] if self.number != 1 else []
        factors += [f"{name}^{n}" if n > 1 else name for name, n in powers.items() if n]
        return " ".join(factors) or "1"


@dataclass(frozen=True)
class Convention:
    """How a text writes the losses, and the weights it usually gives them.

    Attributes:
        name: what it is called here.
        source: where the text is found.
        gram: what a Gram matrix is divided by.
        layer: what the sum of squared differences of two such matrices is divided by.
        content: what the sum of squared differences of two activations is divided by.
        alpha: the usual content weight; None where it is chosen for each picture.
        beta: the usual style weight; None as for ``alpha``.
        content_layer: the usual one, by its name in VGG-19; None where the network is another.
        style_weights: the usual ones; None as for ``content_layer``.
    """

    name: str
    source: str
    gram: Divisor
    layer: Divisor
    content: Divisor
    alpha: float | None = None
    beta: float | None = None
    content_layer: str | None = None
    style_weights: Mapping[str, float] | None = None

    def style_divisor(self, size: Sequence[int], pixels: int | None = None) -> float:
        """Return what sum((G - A)^2) of undivided Gram matrices is divided by in the end."""
        return self.gram.of(size, pixels) ** 2 * self.layer.of(size, pixels)


_SUM = Divisor()
_MEAN = Divisor(C=1, M=1)  # of an activation
_GRAM_MEAN = Divisor(C=2)
_PAPER = Divisor(4, C=2, M=2)
_FIFTHS = dict.fromkeys(STYLE_WEIGHTS, 1 / 5)

CONVENTIONS: Mapping[str, Convention] = {
    row.name: row
    for row in (
        Convention(
            "gatys",
            "Gatys, Ecker and Bethge: Image Style Transfer Using Convolutional Neural Networks, "
            "CVPR 2016, equations 1 and 3 to 7",
            gram=_SUM,
            layer=_PAPER,
            content=Divisor(2),
            alpha=1.0,
            beta=1e3,  # the ratio is one that the paper prints: from 1e-3 to 1e-4
            content_layer="conv4_2",
            style_weights=_FIFTHS,
        ),
        Convention(
            "course",
            "This course, lesson 04, as Udacity: Intro to Deep Learning with PyTorch, "
            "Style Transfer",
            gram=_SUM,
            layer=Divisor(C=3, M=1),  # the mean over C^2 numbers, divided by C M
            content=_MEAN,
            alpha=1.0,
            beta=1e6,
            content_layer=CONTENT_LAYER,
            style_weights=STYLE_WEIGHTS,
        ),
        Convention(
            "pytorch-tutorial",
            "PyTorch tutorials: Neural Transfer Using PyTorch; the same in form, Zhang and others: "
            "Dive into Deep Learning, section 14.12",
            gram=_MEAN,
            layer=_GRAM_MEAN,
            content=_MEAN,
            alpha=1.0,
            beta=1e6,
            content_layer="conv2_2",
            style_weights=dict.fromkeys(("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"), 1),
        ),
        Convention(
            "tensorflow-tutorial",
            "TensorFlow tutorials: Neural style transfer; the same in form: Leon Gatys' own code, "
            "and the library pystiche",
            gram=Divisor(M=1),
            layer=_GRAM_MEAN,
            content=_MEAN,
            alpha=1e4,
            beta=1e-2,
            content_layer="conv5_2",
            style_weights=_FIFTHS,
        ),
        Convention(
            "cs231n",
            "Stanford CS231n: Deep Learning for Computer Vision, assignment 3, Style Transfer",
            gram=_MEAN,
            layer=_SUM,
            content=_SUM,
        ),
        Convention(
            "deeplearning-ai",
            "deeplearning.ai: Convolutional Neural Networks, week 4, "
            "Art Generation with Neural Style Transfer",
            gram=_SUM,
            layer=_PAPER,
            content=Divisor(4, C=1, M=1),
            alpha=10.0,
            beta=40.0,
            content_layer="conv5_4",
            style_weights=_FIFTHS,
        ),
        Convention(
            "keras",
            "Keras code examples, generative deep learning: Neural style transfer",
            gram=_SUM,
            layer=Divisor(36, N=2),  # the paper's, with the picture's 3 channels and its pixels
            content=_SUM,
            alpha=2.5e-8,
            beta=1e-6,
            content_layer="conv5_2",
            style_weights=_FIFTHS,
        ),
    )
}


def convention_named(name: str | Convention) -> Convention:
    """Return the convention called ``name``; a ``Convention`` is returned as it is.

    Raises:
        NstError: there is none of that name.
    """
    if isinstance(name, Convention):
        return name
    try:
        return CONVENTIONS[name]
    except (KeyError, TypeError):
        known = ", ".join(CONVENTIONS)
        raise NstError(f"Convention {name!r} is unknown; choose one of {known}.") from None


def content_loss_as(
    target: Tensor, content: Tensor, convention: str | Convention, pixels: int | None = None
) -> Tensor:
    """Return the content loss as a text writes it, a scalar.

    Args:
        target: activation of the picture being made, (1, C, H, W).
        content: activation of the content picture, of the same shape.
        convention: one of ``CONVENTIONS`` or a row of one's own.
        pixels: the picture's height times its width, for a convention that divides by it.

    Raises:
        NstError: the convention is unknown, or needs ``pixels``.
    """
    row = convention_named(convention)
    return (target - content).square().sum() / row.content.of(target.shape[1:], pixels)


def layer_style_loss_as(
    target: Tensor, style_gram: Tensor, convention: str | Convention, pixels: int | None = None
) -> Tensor:
    """Return one layer's style loss as a text writes it, a scalar.

    All sizes are those of the target's activation, as in the lessons. Texts that divide a Gram
    matrix divide the style picture's by the style picture's own M. To do as they do where that
    differs from the target's, hand over ``style_gram`` times the target's M over the style's.

    Args:
        target: activation of the picture being made, (1, C, H, W).
        style_gram: Gram matrix of the style's activation, (C, C), not divided.
        convention: one of ``CONVENTIONS`` or a row of one's own.
        pixels: the picture's height times its width; needed by ``"keras"``.

    Raises:
        NstError: the convention is unknown, or needs ``pixels``.
    """
    row, size = convention_named(convention), target.shape[1:]
    divisor = row.gram.of(size, pixels)
    difference = gram_matrix(target) / divisor - style_gram / divisor
    return difference.square().sum() / row.layer.of(size, pixels)


def style_loss_as(
    target_features: Mapping[str, Tensor],
    style_grams: Mapping[str, Tensor],
    style_weights: Mapping[str, float],
    convention: str | Convention,
    pixels: int | None = None,
) -> Tensor:
    """Return the sum over the layers in ``style_weights`` of weight times layer loss, a scalar.

    Shapes, sizes and errors are those of :func:`layer_style_loss_as`. Without any layer it is 0.
    """
    losses = [
        weight * layer_style_loss_as(target_features[layer], style_grams[layer], convention, pixels)
        for layer, weight in style_weights.items()
    ]
    return sum(losses) if losses else torch.zeros(())


@dataclass(frozen=True)
class Setting:
    """What a total loss is weighed with: content weight, style weight, weights of the layers."""

    alpha: float
    beta: float
    style_weights: Mapping[str, float]


def sizes_of(features: Mapping[str, Tensor]) -> dict[str, tuple[int, int, int]]:
    """Return layer -> (C, H, W) of activations (1, C, H, W), as ``translate`` takes them."""
    return {layer: tuple(activation.shape[1:]) for layer, activation in features.items()}


def translate(
    alpha: float,
    beta: float,
    source: str | Convention,
    target: str | Convention,
    sizes: Mapping[str, Sequence[int]],
    *,
    style_weights: Mapping[str, float] = STYLE_WEIGHTS,
    content_layer: str = CONTENT_LAYER,
    pixels: int | None = None,
) -> Setting:
    """Return the setting that makes ``target``'s total loss the same number as ``source``'s.

    It is the same for every picture of these sizes, up to rounding. As the factor between two
    conventions is another one for each layer, the layers' weights change, too; their sum stays,
    and ``beta`` takes up what all layers have in common.

    The network and the range of its input are taken to be the same: a text whose activations are
    s times as large has s^2 times the content loss and s^4 times the style loss besides.

    Args:
        alpha: content weight in ``source``.
        beta: style weight in ``source``.
        source: the convention the setting is written in, one of ``CONVENTIONS`` or a row of
            one's own.
        target: the convention it is wanted in.
        sizes: layer -> (C, H, W) of the activations of the picture being made, for every layer
            in use; :func:`sizes_of` makes it.
        style_weights: weights of the layers in ``source``, 0 or more.
        content_layer: where content is compared.
        pixels: the picture's height times its width; needed if ``"keras"`` is one of the two.

    Raises:
        NstError: a convention is unknown, a layer's size is missing or no size, or ``pixels`` is
            needed.
    """
    old, new = convention_named(source), convention_named(target)
    size = _size_of(content_layer, sizes)
    content_factor = new.content.of(size, pixels) / old.content.of(size, pixels)
    weights = {}
    for layer, weight in style_weights.items():
        size = _size_of(layer, sizes)
        factor = new.style_divisor(size, pixels) / old.style_divisor(size, pixels)
        weights[layer] = weight * factor
    common = 1.0
    if any(weights.values()):
        common = math.fsum(weights.values()) / math.fsum(style_weights.values())
    shared = {layer: weight / common for layer, weight in weights.items()}
    return Setting(alpha * content_factor, beta * common, shared)


def paper_ratio(
    alpha: float,
    beta: float,
    source: str | Convention,
    sizes: Mapping[str, Sequence[int]],
    *,
    style_weights: Mapping[str, float] = STYLE_WEIGHTS,
    content_layer: str = CONTENT_LAYER,
    pixels: int | None = None,
) -> float:
    """Return alpha/beta in the paper's unit, so that settings of different texts can be compared.

    The paper's layer weights sum to 1; where those given do not, their sum counts as a part of
    beta. All layers share the number, each one's factor by its weight: a layer whose factor is far
    larger than the others' sets it nearly alone. Without style it is infinite. As in
    :func:`translate`, whose arguments and errors these are, the network is taken to be one and the
    same. A text whose network answers s times as strongly (VGG's first authors feed it 0 to 255,
    torchvision about -2 to 2) gives style s^2 times the say that this number tells.

    Source: Gatys, Ecker and Bethge 2016, which prints ratios from 1e-3 to 1e-4. Its first author's
    code has the same ratio with means in place of sums (recipe ``gatys-code``), and that is 2 C M
    times less in this unit, C and M being those of the content layer.
    """
    setting = translate(
        alpha,
        beta,
        source,
        "gatys",
        sizes,
        style_weights=style_weights,
        content_layer=content_layer,
        pixels=pixels,
    )
    style = setting.beta * math.fsum(setting.style_weights.values())
    return setting.alpha / style if style else math.inf


def _size_of(layer: str, sizes: Mapping[str, Sequence[int]]) -> Sequence[int]:
    if layer not in sizes:
        known = ", ".join(map(str, sizes)) or "none"
        raise NstError(
            f"The size of layer {layer!r} is not among the sizes given ({known}); "
            f"add it as (C, H, W)."
        )
    size = sizes[layer]
    if len(size) != 3 or not all(isinstance(side, int) and side > 0 for side in size):
        raise NstError(
            f"The size of layer {layer!r} is {tuple(size)}; it must be (C, H, W), "
            f"three whole numbers above 0."
        )
    return size
