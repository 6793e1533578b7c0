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
from nst_helpers.convolution import fast_convolutions
from nst_helpers.errors import NstError

Functions = Mapping[str, Callable[..., Any]]


class Objective:
    """Content and style loss of a target picture.

    Calling the objective with normalised pixels (1, 3, H, W) returns content loss and style loss,
    two scalars with a graph. The Gram matrices of a style picture that has more or fewer positions
    than the target are scaled to the target's number: they are sums over positions.

    Args:
        content: (1, 3, H, W), normalised.
        style: the style pictures, normalised, each with its share of the style.
        model: a network of :mod:`nst_helpers.backbones`, whole or cut; it is not changed.
        content_layer: the layer content is compared in, or several with the weight of each: the
            content loss is then the sum of weight times the layer's mean squared difference.
        style_weights: layer name -> weight of its style loss; layers of weight 0 are not computed.
        precision: the dtype the convolutions run in.
        functions: ``gram_matrix``, ``content_loss`` and ``style_loss`` of the lessons' contracts,
            to be used in place of this package's.
    """

    def __init__(
        self,
        content: Tensor,
        style: Iterable[tuple[Tensor, float]],
        model: nn.Module,
        *,
        content_layer: str | Mapping[str, float] = losses.CONTENT_LAYER,
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

    def change(
        self, content_layer: str | Mapping[str, float], style_weights: Mapping[str, float]
    ) -> None:
        """Compare other layers from now on, or give them other weights.

        Raises:
            LayerError: there is no such layer, or the network was cut before it.
        """
        weights = {name: weight for name, weight in style_weights.items() if weight}
        content_weights = weights_of(content_layer)
        content, styles = self.pictures
        backbones.overwrite_in_relus(self.network, {*content_weights, *weights})
        with torch.no_grad():
            features = self._features(content, content_weights.keys() - self.content.keys())
            known = self.content | {name: f.float().contiguous() for name, f in features.items()}
            self.content = {name: known[name] for name in content_weights}
            missing = [name for name in weights if name not in self.grams]
            if missing:
                self.grams |= self._style_grams(content, styles, missing)
        self.content_weights, self.style_weights = content_weights, weights

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
        features = self._features(pixels, {*self.content_weights, *self.style_weights})
        if self.functions:
            # Other people's functions get what the lessons give them: float32, contiguous.
            features = {name: f.float().contiguous() for name, f in features.items()}
        style_loss = self.functions.get("style_loss", self._style_loss)
        content = self._content_loss(features)
        if not self.style_weights:
            return content, torch.zeros_like(content)
        return content, style_loss(features, self.grams, self.style_weights)

    def _content_loss(self, features: dict[str, Tensor]) -> Tensor:
        own = self.functions.get("content_loss", losses.content_loss)
        layers = [
            weight * own(features[name].float(), self.content[name])
            for name, weight in self.content_weights.items()
        ]
        return torch.stack(layers).sum() if len(layers) > 1 else layers[0]

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

    Source: Gatys, Ecker and Bethge 2016, equations 4 and 6.
    """

    @staticmethod
    def forward(context: Any, activation: Tensor, style_gram: Tensor) -> Tensor:
        """Return the loss of an activation (1, C, H, W) against a Gram matrix (C, C)."""
        features = _positions_by_channels(activation)
        difference = _gram_difference(features, style_gram)
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


def _gram_difference(features: Tensor, style_gram: Tensor) -> Tensor:
    """Return F^T F - A in float32; F is (M, C) in any dtype, A (C, C) in float32.

    In bfloat16 the processor adds products up in float32 and rounds what it stores. Were that G, a
    small difference from A would be lost. So A is taken away before: its upper digits inside the
    product, where nothing is rounded yet, and the rest of it from what has become small.
    """
    if features.dtype != torch.bfloat16:
        features = features.float()
        return torch.addmm(style_gram, features.T, features, beta=-1)
    upper = style_gram.bfloat16()
    difference = torch.addmm(upper, features.T, features, beta=-1).float()
    return difference.sub_(style_gram - upper.float())


def weights_of(content_layer: str | Mapping[str, float]) -> dict[str, float]:
    """Return content layers with their weights, without those of weight 0.

    Raises:
        NstError: none is left.
    """
    several = isinstance(content_layer, Mapping)
    named = dict(content_layer) if several else {content_layer: 1.0}
    weights = {name: weight for name, weight in named.items() if weight}
    if not weights:
        raise NstError(
            f"content_layer is {content_layer!r}; name a layer, or several with weights of which "
            f"one at least is above 0."
        )
    return weights


def _computing_copy(model: nn.Module, precision: torch.dtype) -> nn.Module:
    """Return ``model`` as it is computed fastest; the weights are converted once, here."""
    network = copy.deepcopy(model).to(precision, memory_format=torch.channels_last)
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            # Statistics of a whole data set: these few numbers keep all their digits.
            module.float().load_state_dict(model.get_submodule(name).state_dict())
    return fast_convolutions(network)
