"""Fast style transfer: one pass instead of an optimisation (Huang and Belongie 2017).

The encoder is VGG-19 up to relu4_1. Adaptive instance normalisation (AdaIN) gives the content's
feature maps the means and deviations of the style's, and a decoder, which was trained for that and
mirrors the encoder, paints the picture they belong to. ``stylize_fast`` does it all;
``load_network`` returns its parts, for whoever changes only the strength or one picture.

Source: Huang and Belongie 2017, "Arbitrary Style Transfer in Real-time with Adaptive Instance
Normalization".
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nst_helpers import backbones
from nst_helpers.attribution import find_picture
from nst_helpers.device import pick_device, pick_precision
from nst_helpers.errors import NstError, WeightsError
from nst_helpers.images import load_image
from nst_helpers.result import Stylized, name_of, short, with_shares
from nst_helpers.weights import load_weights

ENCODER_LAYER = "relu4_1"
COLOURS = ("style", "content")
EPSILON = 1e-5
_STRIDE = 8  # three poolings up to relu4_1


def adain(content_features: Tensor, style_features: Tensor, eps: float = EPSILON) -> Tensor:
    """Return the content's feature maps with the mean and deviation of the style's, map by map.

    ``AdaIN(x, y) = sigma(y) (x - mu(x)) / sigma(x) + mu(y)``, where mu and sigma are mean and
    standard deviation over the positions of one map: sigma^2 = mean((x - mu)^2) + eps.

    Args:
        content_features: x, (B, C, H, W), floats.
        style_features: y, (B, C, H', W') or (1, C, H', W').
        eps: added to the variances; a map without variance becomes the style's mean.

    Returns:
        (B, C, H, W), of the content's dtype and device.

    Source: Huang and Belongie 2017, equation 8, with the deviations of their equation 6.
    """
    positions = (2, 3)
    content_variance, content_mean = torch.var_mean(
        content_features, positions, correction=0, keepdim=True
    )
    style_variance, style_mean = torch.var_mean(
        style_features, positions, correction=0, keepdim=True
    )
    ratio = ((style_variance + eps) / (content_variance + eps)).sqrt()
    return ratio * (content_features - content_mean) + style_mean


def mirrored(encoder: nn.Sequential) -> nn.Sequential:
    """Return a decoder that mirrors ``encoder``, on the meta device: its weights are to be loaded.

    From the last module to the first: a convolution becomes reflection padding, a convolution with
    inputs and outputs exchanged, and a ReLU; pooling becomes doubling each pixel. The last
    convolution, which gives the three colours, has no ReLU.

    Source: Huang and Belongie 2017, section 6.1.
    """
    modules: list[nn.Module] = []
    for module in reversed(encoder):
        if isinstance(module, nn.Conv2d):
            channels = module.out_channels, module.in_channels
            modules += [nn.ReflectionPad2d(1), nn.Conv2d(*channels, 3, device="meta")]
            modules += [nn.ReLU(inplace=True)]
        elif not isinstance(module, nn.ReLU):
            modules += [nn.Upsample(scale_factor=2, mode="nearest")]
    return nn.Sequential(*modules[:-1])


@dataclass(frozen=True)
class Network:
    """Encoder and decoder, ready to paint; frozen, and shared by all who load the same.

    Attributes:
        encoder: VGG-19 up to relu4_1; its parameters may be another network's, too.
        decoder: from relu4_1 back to pixels.
        weights_name: ``"gatys"``, or ``"random"`` for a network that has learned nothing.
        device: where it computes.
        precision: the dtype its convolutions run in.
    """

    encoder: nn.Sequential
    decoder: nn.Sequential
    weights_name: str
    device: torch.device
    precision: torch.dtype

    @torch.no_grad()
    def features(self, image: Tensor) -> Tensor:
        """Return the activations of relu4_1, (1, C, H / 8, W / 8) rounded up, float32.

        Pictures are continued by reflection: the decoder was trained that way, and zeros at the
        border, which stand for a colour, would be painted as a frame. The fold of the colour
        transform into conv1_1 is exact at the border, then, as normalising each pixel and
        reflecting can be exchanged.

        Args:
            image: (1, 3, H, W) in [0, 1], each side at least 16 pixels.
        """
        height, width = image.shape[-2:]
        rest = (0, -width % _STRIDE, 0, -height % _STRIDE)
        pixels = F.pad(backbones.normalize(image.to(self.device)), rest, mode="reflect")
        return _activation(pixels, self.encoder, self.precision)

    @torch.no_grad()
    def picture(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the picture of ``size`` (H, W) that the decoder paints, (1, 3, H, W) in [0, 1].

        Args:
            features: as :meth:`features` returns them for a picture of that size.
            size: in pixels.
        """
        pixels = _activation(features, self.decoder, self.precision)[..., : size[0], : size[1]]
        return pixels.clamp(0, 1).contiguous(memory_format=torch.contiguous_format)


def _activation(inputs: Tensor, modules: nn.Sequential, precision: torch.dtype) -> Tensor:
    """Return the output of ``modules``, float32, with reflection wherever one pads with zeros.

    Convolutions are called with the modules' parameters: a network that pads otherwise, or in
    another number format, would be a copy. (Autocast is no help, as it pads in float32.)
    """
    activation = inputs.to(precision, memory_format=torch.channels_last)
    for module in modules:
        if isinstance(module, nn.Conv2d):
            if module.padding != (0, 0):
                activation = F.pad(activation, (1, 1, 1, 1), mode="reflect")
            weight, bias = module.weight.to(precision), module.bias.to(precision)
            activation = F.conv2d(activation, weight, bias)
        else:
            activation = module(activation)
    return activation.float()


def mixed(
    content_features: Tensor,
    style_features: Sequence[tuple[Tensor, float]],
    strength: float = 1.0,
) -> Tensor:
    """Return ``(1 - strength) f + strength sum_k w_k AdaIN(f, f_k)``, for the decoder.

    Args:
        content_features: f, (1, C, H, W).
        style_features: the f_k, (1, C, H', W'), each with its share w_k; the shares add up to 1.
        strength: from 0 (the content) to 1 (the style).

    Source: Huang and Belongie 2017, equations 14 and 15.
    """
    painted = sum(share * adain(content_features, style) for style, share in style_features)
    return torch.lerp(content_features, painted, strength)


def load_network(
    model: nn.Sequential | None = None,
    *,
    weights: str | None = None,
    device: str | torch.device | None = None,
    precision: str | torch.dtype | None = None,
    progress: bool = True,
) -> Network:
    """Return the network of fast style transfer; what was loaded once is not loaded again.

    Args:
        model: a VGG-19 of :mod:`nst_helpers.backbones` with weights ``"gatys"`` or ``"random"``,
            whole or cut, whose parameters are to be shared; None loads one as deep as needed.
        weights: ``"auto"`` or ``"gatys"``, which the decoder was trained with, or ``"random"``.
            None reads the environment variable ``NST_WEIGHTS``, where ``"torchvision"`` means
            gatys, too.
        device: see :func:`nst_helpers.device.pick_device`; None takes the model's, if one is given.
        precision: see :func:`nst_helpers.device.pick_precision`. In bfloat16 photographs come out
            the same to the eye; a smooth gradient drawn by a computer may not, as AdaIN amplifies
            what hardly varies.
        progress: whether fetching weights shows a progress bar.

    Raises:
        WeightsError: the weights are unknown, do not fit the decoder, or cannot be had.
        DeviceError: device or precision are unknown or not on this machine.
        NstError: the model is no VGG-19 that reaches relu4_1.
    """
    if model is None:
        place = pick_device(device)
        dtype = pick_precision(place, precision)
        encoder = _own_encoder(_weights_choice(weights), place, progress)
    else:
        encoder = _encoder_of(model, device)
        place = encoder[0].weight.device
        dtype = pick_precision(place, precision)
    decoder = _decoder_of(encoder, place, progress)
    return Network(encoder, decoder, encoder.weights_name, place, dtype)


def stylize_fast(
    content: Any,
    style: Any,
    strength: float = 1.0,
    *,
    size: int | None = None,
    style_size: int | None = None,
    style_mix: Sequence[float] | None = None,
    colours: str = "style",
    model: nn.Sequential | None = None,
    weights: str | None = None,
    device: str | torch.device | None = None,
    precision: str | torch.dtype | None = None,
    progress: bool = True,
) -> FastResult:
    """Return ``content`` painted in the manner of ``style``, in one pass through a network.

    The first call loads the network; later ones cost their computation only.

    Args:
        content: the picture to keep, anything :func:`nst_helpers.images.load_image` takes.
        style: the picture to paint like, or a list of them.
        strength: from 0, the content as the decoder repaints it, to 1, the style in full.
        size: bound of the long side of both pictures, in pixels; None leaves them as they are.
        style_size: bound of the long side of the style pictures; None takes ``size``. It sets the
            scale of the brush strokes that are learnt from them.
        style_mix: the share of each style picture; None gives them equal shares.
        colours: ``"style"``, or ``"content"`` to show the picture in the content's colours.
        model: see :func:`load_network`, as the following.
        weights: ``"auto"``, ``"gatys"`` or ``"random"``.
        device: where to compute.
        precision: what convolutions are computed in.
        progress: whether fetching weights shows a progress bar.

    Raises:
        NstError: an option is out of range (ImageError, WeightsError, DeviceError for those parts).

    Source: Huang and Belongie 2017, equations 8 to 10, 14 and 15.
    """
    _check(strength, colours)
    styles = with_shares(style, style_mix)
    content_image = load_image(content, size=size)
    style_images = [load_image(picture, size=style_size or size) for picture, _ in styles]
    network = load_network(
        model, weights=weights, device=device, precision=precision, progress=progress
    )
    shares = [share for _, share in styles]
    image = _painted(network, content_image, style_images, shares, strength).cpu()
    if colours == "content":
        from nst_helpers.colours import keep_colours

        image = keep_colours(image, content_image)
    known = [find_picture(picture) for picture in (content, *(picture for picture, _ in styles))]
    style_names = [
        name_of(picture, record, "style")
        for (picture, _), record in zip(styles, known[1:], strict=True)
    ]
    settings = {
        "content": name_of(content, known[0], "content"),
        "style": " and ".join(style_names),
        "strength": float(strength),
        "style_mix": shares,
        "size": tuple(content_image.shape[-2:]),
        "style_sizes": [tuple(picture.shape[-2:]) for picture in style_images],
        "colours": colours,
        "weights": network.weights_name,
        "device": str(network.device),
        "precision": str(network.precision).removeprefix("torch."),
    }
    sources = tuple(picture for picture in known if picture)
    return FastResult(image=image, settings=settings, sources=sources)


@dataclass(frozen=True, kw_only=True)
class FastResult(Stylized):
    """The picture of a fast style transfer, and how it came about."""

    def facts(self) -> str:
        """Return the method, its strength and, of several styles, their shares."""
        s = self.settings
        facts = f"AdaIN in one pass, strength {short(s['strength'])}"
        if len(s["style_mix"]) > 1:
            facts += f", shares {' and '.join(short(share) for share in s['style_mix'])}"
        if s["colours"] == "content":
            facts += ", in the content's colours"
        return facts


def _painted(
    network: Network,
    content: Tensor,
    styles: Sequence[Tensor],
    shares: Sequence[float],
    strength: float,
) -> Tensor:
    style_features = [network.features(picture) for picture in styles]
    mixture = mixed(
        network.features(content), list(zip(style_features, shares, strict=True)), strength
    )
    return network.picture(mixture, content.shape[-2:])


# Parts that were loaded once, by kind, weights and device. Precision is no part of it: parameters
# stay float32.
_LOADED: dict[tuple[str, str, torch.device], nn.Sequential] = {}


def _own_encoder(weights: str, device: torch.device, progress: bool) -> nn.Sequential:
    key = ("encoder", weights, device)
    if key not in _LOADED:
        _LOADED[key] = backbones.vgg19(
            weights, until=ENCODER_LAYER, device=device, progress=progress
        )
    return _LOADED[key]


def _decoder_of(encoder: nn.Sequential, device: torch.device, progress: bool) -> nn.Sequential:
    """Return the decoder trained for ``encoder``, or one as random as it."""
    if encoder.weights_name == "random":
        return _filled(mirrored(encoder), None, device)
    key = ("decoder", encoder.weights_name, device)
    if key not in _LOADED:
        state = load_weights("adain-decoder", progress=progress)
        _LOADED[key] = _filled(mirrored(encoder), state, device)
    return _LOADED[key]


def _filled(
    decoder: nn.Sequential, state: dict[str, Tensor] | None, device: torch.device
) -> nn.Sequential:
    decoder.load_state_dict(backbones.he_weights(decoder) if state is None else state, assign=True)
    return decoder.to(device).eval().requires_grad_(False)


def _encoder_of(model: Any, device: str | torch.device | None) -> nn.Sequential:
    """Return ``model`` up to relu4_1, with its own parameters if they are on ``device``."""
    last = backbones.layer_index(ENCODER_LAYER)
    if not isinstance(model, nn.Sequential) or len(model) <= last:
        raise NstError(
            f"Fast style transfer needs a VGG-19 that reaches {ENCODER_LAYER}, and this model "
            f"does not; build it with backbones.vgg19(until={ENCODER_LAYER!r}) or deeper, or "
            f"leave model out."
        )
    encoder = model[: last + 1]
    encoder.weights_name = getattr(model, "weights_name", "unknown")
    if encoder.weights_name not in ("gatys", "random"):
        raise _unfit(encoder.weights_name)
    if device is not None and pick_device(device) != encoder[0].weight.device:
        encoder = copy.deepcopy(encoder).to(pick_device(device))  # the caller's model stays
    return encoder


def _weights_choice(asked: str | None) -> str:
    chosen = asked or os.environ.get(backbones.WEIGHTS_VARIABLE) or "auto"
    if asked == "torchvision":
        raise _unfit(asked)
    return "gatys" if chosen in ("auto", "torchvision") else chosen


def _unfit(weights: str) -> WeightsError:
    return WeightsError(
        f"The decoder of fast style transfer was trained with the weights 'gatys' and cannot read "
        f"what a network with the weights {weights!r} sees; choose 'gatys', or leave weights and "
        f"model out."
    )


def _check(strength: Any, colours: Any) -> None:
    if not isinstance(strength, Real) or not 0 <= strength <= 1:
        raise NstError(
            f"strength is {strength!r}; it must be a number from 0, the content, to 1, the style."
        )
    if colours not in COLOURS:
        raise NstError(f"colours is {colours!r}; choose {' or '.join(COLOURS)}.")
