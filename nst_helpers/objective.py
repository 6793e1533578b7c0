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
        with torch.no_grad():
            if content_layer not in self.content:
                self.content = self._features(content, [content_layer])
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
                gram = scale * gram_matrix(feature)
                grams[name] = grams[name] + gram if name in grams else gram
        return grams

    def _features(self, pixels: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Return the activations in float32: Gram matrices add up thousands of products."""
        inputs = pixels.to(self.precision, memory_format=torch.channels_last)
        features = backbones.extract_features(inputs, self.network, layers)
        return {name: feature.float() for name, feature in features.items()}

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return content loss and style loss of normalised ``pixels``."""
        features = self._features(pixels, {self.content_layer, *self.style_weights})
        content_loss = self.functions.get("content_loss", losses.content_loss)
        content = content_loss(features[self.content_layer], self.content[self.content_layer])
        if not self.style_weights:
            return content, torch.zeros_like(content)
        style_loss = self.functions.get("style_loss", self._style_loss)
        return content, style_loss(features, self.grams, self.style_weights)

    def _style_loss(
        self, features: dict[str, Tensor], grams: dict[str, Tensor], weights: dict[str, float]
    ) -> Tensor:
        """Return the style loss of the lessons, with the Gram matrix that is in use."""
        gram_matrix = self.functions.get("gram_matrix", losses.gram_matrix)
        layers = [
            weight
            * (gram_matrix(features[name]) - grams[name]).square().mean()
            / features[name][0].numel()
            for name, weight in weights.items()
        ]
        return torch.stack(layers).sum()


def _computing_copy(model: nn.Sequential, precision: torch.dtype) -> nn.Sequential:
    """Return ``model`` as it is computed fastest; the weights are converted once, here."""
    return copy.deepcopy(model).to(precision, memory_format=torch.channels_last)
