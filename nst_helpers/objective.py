"""The loss of a picture against one content and one style, made to be computed often.

What does not depend on the picture is computed once. The network runs in the number format and
the memory layout that suit the device; the losses themselves are computed in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nst_helpers import backbones, losses

Functions = Mapping[str, Callable[..., Any]]


class Objective:
    """Content and style loss of a target picture.

    Calling the objective with normalised pixels (1, 3, H, W) returns content loss and style loss,
    two scalars with a graph. The Gram matrices of a style picture that has more or fewer positions
    than the target are scaled to the target's number: they are sums over positions.

    Args:
        content: (1, 3, H, W), normalised.
        style: the style pictures, normalised, each with its share of the style.
        model: a VGG-19, whole or cut; it is not changed.
        content_layer: the layer content is compared in.
        style_weights: layer name -> weight of its style loss; layers of weight 0 are not computed.
        precision: the dtype the convolutions run in.
        functions: ``gram_matrix``, ``content_loss`` and ``style_loss`` of the lessons' contracts,
            to be used in place of this package's.
    """

    def __init__(
        self,
        content: Tensor,
        style: Iterable[tuple[Tensor, float]],
        model: nn.Sequential,
        *,
        content_layer: str = losses.CONTENT_LAYER,
        style_weights: Mapping[str, float] = losses.STYLE_WEIGHTS,
        precision: torch.dtype = torch.float32,
        functions: Functions | None = None,
    ) -> None:
        self.network = _computing_copy(model, precision)
        self.precision = precision
        self.functions = dict(functions or {})
        self.pictures = (content, list(style))
        self.content: dict[str, Tensor] = {}
        self.grams: dict[str, Tensor] = {}
        self.change(content_layer, style_weights)

    def change(self, content_layer: str, style_weights: Mapping[str, float]) -> None:
        """Compare other layers from now on, or give them other weights.

        Raises:
            LayerError: there is no such layer, or the network was cut before it.
        """
        weights = {name: weight for name, weight in style_weights.items() if weight}
        content, styles = self.pictures
        _save_memory(self.network, {content_layer, *weights})
        with torch.no_grad():
            if content_layer not in self.content:
                features = self._features(content, [content_layer])
                self.content = {name: f.float().contiguous() for name, f in features.items()}
            missing = [name for name in weights if name not in self.grams]
            if missing:
                self.grams |= self._style_grams(content, styles, missing)
        self.content_layer, self.style_weights = content_layer, weights

    def _style_grams(
        self, content: Tensor, styles: list[tuple[Tensor, float]], layers: list[str]
    ) -> dict[str, Tensor]:
        gram_matrix = self.functions.get("gram_matrix", losses.gram_matrix)
        own = "gram_matrix" in self.functions
        grams: dict[str, Tensor] = {}
        for picture, share in styles:
            positions = content[0, 0].numel() / picture[0, 0].numel()
            scale = share if own else share * positions
            for name, feature in self._features(picture, layers).items():
                gram = scale * gram_matrix(feature.float().contiguous())
                grams[name] = grams[name] + gram if name in grams else gram
        return grams

    def _features(self, pixels: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        inputs = pixels.to(self.precision, memory_format=torch.channels_last)
        return backbones.extract_features(inputs, self.network, layers)

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return content loss and style loss of normalised ``pixels``."""
        features = self._features(pixels, {self.content_layer, *self.style_weights})
        if self.functions:
            # Other people's functions get what the lessons give them: float32, contiguous.
            features = {name: f.float().contiguous() for name, f in features.items()}
        content_loss = self.functions.get("content_loss", losses.content_loss)
        style_loss = self.functions.get("style_loss", self._style_loss)
        content = content_loss(
            features[self.content_layer].float(), self.content[self.content_layer]
        )
        if not self.style_weights:
            return content, torch.zeros_like(content)
        return content, style_loss(features, self.grams, self.style_weights)

    def _style_loss(
        self, features: dict[str, Tensor], grams: dict[str, Tensor], weights: dict[str, float]
    ) -> Tensor:
        """Return the style loss of the lessons, with the Gram matrix that is in use."""
        own = self.functions.get("gram_matrix")
        if own is None:
            layers = [
                weight * LayerStyleLoss.apply(features[name], grams[name])
                for name, weight in weights.items()
            ]
        else:
            layers = [
                weight
                * (own(features[name]) - grams[name]).square().mean()
                / features[name][0].numel()
                for name, weight in weights.items()
            ]
        return torch.stack(layers).sum()


class LayerStyleLoss(torch.autograd.Function):
    """:func:`nst_helpers.losses.layer_style_loss` with its gradient written out.

    Of the activation F, seen as M positions by C channels, torch would multiply three times: once
    for the Gram matrix and twice for its gradient. G is symmetric, so once is enough for that:

        loss = mean((F^T F - A)^2) / (C M),    d loss / d F = 4 F (F^T F - A) / (C^2 C M)

    Sums over thousands of products are formed in float32, whatever the activation's dtype. Source:
    Gatys, Ecker and Bethge 2016, equations 4 and 6.
    """

    @staticmethod
    def forward(context: Any, activation: Tensor, style_gram: Tensor) -> Tensor:
        """Return the loss of an activation (1, C, H, W) against a Gram matrix (C, C)."""
        features = _positions_by_channels(activation)
        single = features.float()
        difference = torch.addmm(style_gram, single.T, single, beta=-1)
        context.save_for_backward(features, difference)
        context.shape = activation.shape
        sizes = difference.numel() * activation.numel()
        return torch.linalg.vector_norm(difference).square() / sizes

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the loss's gradient in the activation, (1, C, H, W)."""
        features, difference = context.saved_tensors
        scale = 4 * gradient / (difference.numel() * features.numel())
        product = features @ (scale * difference).to(features.dtype)
        _, channels, height, width = context.shape
        return product.view(1, height, width, channels).permute(0, 3, 1, 2), None


def _positions_by_channels(activation: Tensor) -> Tensor:
    """Return (1, C, H, W) as (H W, C); in channels_last memory nothing is copied."""
    return activation[0].permute(1, 2, 0).flatten(0, 1)


def _computing_copy(model: nn.Sequential, precision: torch.dtype) -> nn.Sequential:
    """Return ``model`` as it is computed fastest; the weights are converted once, here."""
    return copy.deepcopy(model).to(precision, memory_format=torch.channels_last)


def _save_memory(network: nn.Sequential, kept: Iterable[str]) -> None:
    """Let each ReLU overwrite its input, but where that is an activation the loss needs."""
    indices = {backbones.layer_index(name) for name in kept}
    for index, module in enumerate(network):
        if isinstance(module, nn.ReLU):
            module.inplace = index > 0 and index - 1 not in indices
