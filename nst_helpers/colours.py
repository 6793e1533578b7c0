"""Paint in another's manner, but keep the content's colours.

Two ways, both from Gatys, Bethge, Hertzmann and Shechtman: Preserving Color in Neural Artistic
Style Transfer (2016). Before painting, ``match_colours`` gives the style picture the content's
palette. After painting, ``keep_colours`` keeps the painted light and dark and takes the colours
themselves from the content; then ``match_luminance`` may prepare the style picture.

Pictures are tensors (1, 3, H, W), RGB in [0, 1], of any floating type and on any device. Results
follow the first picture's type and device, and no picture is changed. Half precision is computed
in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nst_helpers.errors import ImageError

# Y of YIQ, as FCC 1953 and ITU-R BT.601 weigh red, green and blue; YCbCr has the same Y.
LUMINANCE_WEIGHTS = (0.299, 0.587, 0.114)

# A deviation below one step of an 8-bit picture is rounding or compression, no colour that could
# be spread out: to stretch it would turn a grey picture into coloured noise.
SMALLEST_DEVIATION = 1 / 255


def luminance(image: Tensor) -> Tensor:
    """Return Y = 0.299 R + 0.587 G + 0.114 B, (1, 3, H, W) -> (1, 1, H, W).

    Source: ITU-R BT.601-7, section 2.5.1.

    Raises:
        ImageError: it is no picture.
    """
    pixels = _checked(image, "The picture")
    return _luminance(pixels).to(image.dtype)


def keep_colours(painted: Tensor, content: Tensor) -> Tensor:
    """Return the light and dark of ``painted`` in the colours of ``content``, (1, 3, H, W).

    Y comes from ``painted``, I and Q of YIQ from ``content``. Where that colour cannot be shown at
    that luminance, its saturation falls just as far as it must; hue and luminance stay.

    Source: Gatys, Bethge, Hertzmann and Shechtman 2016, luminance-only transfer.

    Raises:
        ImageError: one is no picture, or their sizes differ.
    """
    light, colours = _checked(painted, "The painted picture"), _checked(content, "The content")
    if painted.shape != content.shape:
        (height, width), (other_height, other_width) = painted.shape[2:], content.shape[2:]
        raise ImageError(
            f"The painted picture is {width} x {height} pixels and the content "
            f"{other_width} x {other_height}; load the content with size=painted."
        )
    colours = colours.to(light)
    return _with_luminance(colours, _luminance(light)).to(painted.dtype)


def match_luminance(style: Tensor, content: Tensor) -> Tensor:
    """Return ``style`` with its luminance shifted and stretched to the content's, (1, 3, H, W).

    Mean and deviation of Y become the content's, up to what does not fit into [0, 1]; hues stay. A
    style picture much darker or paler than the content then no longer changes its light.

    Source: Gatys, Bethge, Hertzmann and Shechtman 2016, luminance-only transfer.

    Raises:
        ImageError: one is no picture.
    """
    pixels, other = _checked(style, "The style"), _checked(content, "The content")
    own, wanted = _luminance(pixels), _luminance(other).to(pixels)
    deviation = own.std(correction=0)
    gain = wanted.std(correction=0) / deviation if deviation > SMALLEST_DEVIATION else 0.0
    matched = (own - own.mean()) * gain + wanted.mean()
    return _with_luminance(pixels, matched.clamp(0, 1)).to(style.dtype)


def match_colours(style: Tensor, content: Tensor) -> Tensor:
    """Return ``style`` with the content's palette, (1, 3, H, W), clamped to [0, 1].

    Mean and covariance of red, green and blue become the content's but for the clamp. What a style
    picture does not have cannot be stretched: a grey one becomes one of a single hue.

    Source: Gatys, Bethge, Hertzmann and Shechtman 2016, color transfer, in the form of
    "Image Analogies" (Hertzmann and others 2001).

    Raises:
        ImageError: one is no picture.
    """
    pixels = _checked(style, "The style")
    matrix, offset = (part.to(pixels) for part in colour_transform(style, content))
    matched = torch.einsum("ij,bjhw->bihw", matrix, pixels) + offset.view(1, 3, 1, 1)
    return matched.clamp(0, 1).to(style.dtype)


def colour_transform(style: Tensor, content: Tensor) -> tuple[Tensor, Tensor]:
    """Return A (3, 3) and b (3,), float64 on the CPU, such that A x + b has the content's palette.

    A = S_c^(1/2) S_s^(-1/2) with the covariances of content and style, and b moves the style's mean
    to the content's. Directions in which the style deviates by less than ``SMALLEST_DEVIATION``
    are flattened.

    Source: Gatys, Bethge, Hertzmann and Shechtman 2016, color transfer.

    Raises:
        ImageError: one is no picture.
    """
    style_mean, style_covariance = _statistics(_checked(style, "The style"))
    content_mean, content_covariance = _statistics(_checked(content, "The content"))
    values, directions = torch.linalg.eigh(style_covariance)
    kept = values > SMALLEST_DEVIATION**2
    inverse_root = (directions[:, kept] / values[kept].sqrt()) @ directions[:, kept].T
    values, directions = torch.linalg.eigh(content_covariance)
    root = (directions * values.clamp(min=0).sqrt()) @ directions.T
    matrix = root @ inverse_root
    return matrix, content_mean - matrix @ style_mean


def _statistics(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (3,) and covariance (3, 3) of the colours, float64 on the CPU.

    So small a matrix is taken apart on the CPU, as not every device can do that, or in float64.
    """
    colours = pixels.flatten(start_dim=2).squeeze(0)
    mean = colours.mean(dim=1, keepdim=True)
    covariance = (colours - mean) @ (colours - mean).T / colours.shape[1]
    return mean.squeeze(1).cpu().double(), covariance.cpu().double()


def _luminance(pixels: Tensor) -> Tensor:
    weights = torch.tensor(LUMINANCE_WEIGHTS, dtype=pixels.dtype, device=pixels.device)
    return (pixels * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _with_luminance(pixels: Tensor, wanted: Tensor) -> Tensor:
    """Return ``pixels`` at the luminance ``wanted``, (1, 1, H, W) in [0, 1], and within [0, 1].

    A colour is its luminance plus a chroma that has none, whichever axes I and Q or Cb and Cr
    name it by; so YIQ need not be gone through. The chroma is shortened where it leads out of
    [0, 1], as a clamp of single channels would change luminance and hue.
    """
    chroma = pixels - _luminance(pixels)
    room = torch.where(chroma > 0, 1 - wanted, wanted)
    share = room / chroma.abs().clamp(min=torch.finfo(pixels.dtype).tiny)
    share = share.amin(dim=1, keepdim=True).clamp(max=1)
    return (wanted + share * chroma).clamp(0, 1)


def _checked(image: Any, name: str) -> Tensor:
    """Return a picture, float32 or more precise, without a graph.

    Raises:
        ImageError: it is no picture.
    """
    if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[:2] != (1, 3):
        given = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ImageError(
            f"{name} is {given}; it must be a tensor (1, 3, H, W), as load_image makes."
        )
    if not image.is_floating_point() or not image.numel():
        raise ImageError(
            f"{name} holds {image.numel()} values of {image.dtype}; it must hold floats in [0, 1]."
        )
    pixels = image.detach()
    pixels = pixels.to(torch.promote_types(pixels.dtype, torch.float32))
    low, high = pixels.aminmax()
    if not (low >= 0 and high <= 1):
        raise ImageError(
            f"{name} holds values from {float(low):.3g} to {float(high):.3g}; "
            f"give a picture whose values are numbers in [0, 1]."
        )
    return pixels
