"""How far a picture is from a content and from a style, as the lessons define it.

The convention is that of the lessons: Gram matrices are not divided, both losses are means, and a
layer's style loss is divided by C H W. With Gatys, Ecker and Bethge's E_l (2016, equation 4) and
M = H W, the layer's loss here is (4 M / C) E_l.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

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

    Source: Gatys, Ecker and Bethge 2016, equation 5.
    """
    return sum(
        weight * layer_style_loss(target_features[layer], style_grams[layer])
        for layer, weight in style_weights.items()
    )


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
