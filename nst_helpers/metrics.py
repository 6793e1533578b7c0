"""How far apart two pictures are: by their pixels, by their structure, by a network's features.

All three measures compare two pictures place by place, so both must have the same size. None of
them knows what a style is: they tell how much of one picture is still to be found in another.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nst_helpers.errors import ImageError, NstError, install_command
from nst_helpers.images import MIN_SIDE, image_size, load_image
from nst_helpers.weights import load_weights

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
BETTER = ("lower", "higher")


def mse(image: Any, reference: Any) -> float:
    """Return the mean squared error: ``mean((x - y)^2)`` over all positions and the three colours.

    From 0 (equal) to 1 (black against white).

    Args:
        image: x, a tensor (1, 3, H, W) in [0, 1], or anything
            :func:`nst_helpers.images.load_image` takes.
        reference: y, of the same size.

    Raises:
        ImageError: the sizes differ, or one is no picture.
    """
    x, y = _pair(image, reference, minimum=1)
    return float((x - y).square().mean())


def ssim(image: Any, reference: Any) -> float:
    """Return the structural similarity: at most 1, which only equal pictures reach.

    Around every position, means mu, variances sigma^2 and the covariance sigma_xy are taken in a
    window of 11 by 11 pixels, weighted by a Gaussian of standard deviation 1.5 pixels; then

        SSIM = (2 mu_x mu_y + c_1) (2 sigma_xy + c_2)
               / ((mu_x^2 + mu_y^2 + c_1) (sigma_x^2 + sigma_y^2 + c_2)),

    with c_1 = (0.01 L)^2, c_2 = (0.03 L)^2 and the data range L = 1. It is 0 where two windows have
    nothing to do with each other, and below 0 (down to -1) where light and dark are exchanged. The
    mean is taken over positions and colours; at the border the pictures are continued by
    reflection.

    Args:
        image: x, as in :func:`mse`, each side at least 11 pixels.
        reference: y, of the same size.

    Raises:
        ImageError: the sizes differ, or one is no picture or too small.
        NstError: torchmetrics is not installed.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, "Image Quality Assessment: From Error
    Visibility to Structural Similarity", equation 13, computed by torchmetrics. They compare grey
    pictures and leave the border out.
    """
    x, y = _pair(image, reference, minimum=SSIM_WINDOW)
    with _needing_torchmetrics():
        from torchmetrics.functional.image import structural_similarity_index_measure
    # The window follows from sigma: torchmetrics takes 3.5 sigma to each side, rounded.
    return float(structural_similarity_index_measure(x, y, sigma=SSIM_SIGMA, data_range=1.0))


def lpips(image: Any, reference: Any, *, progress: bool = True) -> float:
    """Return the learned perceptual distance of two pictures: from 0 (equal) to about 1.

    Both pictures go through VGG-16. At five layers l (relu1_2, relu2_2, relu3_3, relu4_3, relu5_3)
    every position's activations are divided by their length, over the channels, and

        LPIPS = sum over l of mean over positions of sum over channels w_l (x_l - y_l)^2,

    with weights w_l that were fitted to people's judgements of which of two damaged pictures of 64
    by 64 pixels is nearer to the original.

    Args:
        image: x, as in :func:`mse`, each side at least 16 pixels.
        reference: y, of the same size.
        progress: whether fetching VGG-16 shows a progress bar; what was loaded is kept.

    Raises:
        ImageError: the sizes differ, or one is no picture or too small.
        WeightsError: VGG-16 cannot be had.
        NstError: torchmetrics is not installed.

    Source: Zhang, Isola, Efros, Shechtman and Wang 2018, "The Unreasonable Effectiveness of Deep
    Features as a Perceptual Metric", equation 1; their weights for VGG ("lin", version 0.1) come
    with torchmetrics, the network is torchvision's.
    """
    x, y = _pair(image, reference, minimum=MIN_SIDE)
    if not _LOADED:
        _LOADED.append(perceptual_network(load_weights("vgg16", progress=progress)))
    with torch.no_grad():
        return float(_LOADED[0](x.float(), y.float(), normalize=True))


_LOADED: list[nn.Module] = []


def perceptual_network(trunk: dict[str, Tensor]) -> nn.Module:
    """Return torchmetrics' LPIPS with this VGG-16 under its weights for people's judgements.

    Args:
        trunk: VGG-16's 13 convolutions under the names of torchvision's ``vgg16().features``
            (``0.weight`` ... ``28.bias``).

    Returns:
        A network that takes two batches (B, 3, H, W), in [0, 1] with ``normalize=True``, and
        returns their distances (B, 1, 1, 1); frozen, in evaluation mode.

    Raises:
        NstError: torchmetrics is not installed.
    """
    # The documented class can only fetch its trunk from torchvision's site. The module inside it
    # can do without: it is built with a random trunk, which is then replaced.
    with _needing_torchmetrics():
        from torchmetrics.functional.image.lpips import _LPIPS
    with torch.random.fork_rng(devices=[]):  # nobody's seed is used up by what is thrown away
        network = _LPIPS(net="vgg", pnet_rand=True)
    # Its five slices keep the numbers of torchvision's modules: slice3.10.weight is 10.weight.
    placed = {name: trunk[name.partition(".")[2]] for name in network.net.state_dict()}
    network.net.load_state_dict(placed)
    return network


def improvement(slow: float, fast: float, better: str = "lower") -> float:
    """Return by how many per cent of the fast picture's value the slow one's is better.

    ``100 (fast - slow) / fast`` where lower is better, as for the mean squared error, and
    ``100 (slow - fast) / fast`` where higher is, as for SSIM. Below 0 the slow picture is worse.

    Args:
        slow: the measure of the picture that was optimised.
        fast: the measure of the picture that was made in one pass.
        better: ``"lower"`` or ``"higher"``.

    Returns:
        Per cent, or nan where ``fast`` is not above 0: of nothing, or of less, there is no share.

    Raises:
        NstError: ``better`` is neither.
    """
    if better not in BETTER:
        raise NstError(f"better is {better!r}; choose {' or '.join(map(repr, BETTER))}.")
    if not fast > 0:
        return math.nan
    gain = fast - slow if better == "lower" else slow - fast
    return 100 * gain / fast


@contextlib.contextmanager
def _needing_torchmetrics() -> Iterator[None]:
    """Turn its absence into a sentence."""
    try:
        yield
    except ModuleNotFoundError:
        raise NstError(
            f"SSIM and LPIPS need the package torchmetrics; install it with: "
            f"{install_command('torchmetrics')}"
        ) from None


def _pair(image: Any, reference: Any, minimum: int) -> tuple[Tensor, Tensor]:
    """Return both pictures in float64, once they are known to be of one size."""
    read = functools.partial(load_image, dtype=torch.float64, minimum=minimum)
    x, y = read(image), read(reference)
    if x.shape != y.shape:
        (height, width), (other_height, other_width) = image_size(x), image_size(y)
        raise ImageError(
            f"The first picture is {width} pixels wide and {height} high, the second {other_width} "
            f"and {other_height}, but they are compared place by place; load one with the other "
            f"as its size: load_image(..., size=reference)."
        )
    return x, y
