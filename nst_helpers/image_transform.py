"""A network that paints in one pass, in as many styles as it was trained for.

Three convolutions make the picture a quarter as wide, five residual blocks work on it there, and
two upsamplings with a convolution each bring it back (Johnson, Alahi and Fei-Fei 2016). Each
convolution is followed by instance normalisation (Ulyanov, Vedaldi and Lempitsky 2016), whose scale
and shift are another pair of vectors for each style: conditional instance normalisation (Dumoulin,
Shlens and Kudlur 2017). All other parameters are shared by the styles.

Three things differ from Johnson et al., for trainings of minutes. The result is added to the
photograph, which is normalised, too: so a network begins with the photograph, as an optimisation
does, and its details need not pass through the narrow middle. And the last convolution is 3 x 3:
one of 9 x 9 blurs, as long as it is young.

And noise goes in at a quarter of the width, as into the texture networks of Ulyanov, Lebedev,
Vedaldi and Lempitsky 2016, so that an even sky is no even input. In trainings of minutes it made
no difference that could be seen.

:mod:`nst_helpers.training` trains such a network, writes it to a file and reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nst_helpers.errors import NstError

CHANNELS = (32, 64, 128)
BLOCKS = 5
STRIDE = 4  # two convolutions halve the picture
EPSILON = 1e-5
# The noise: so many maps at each scale, whose grains are 1, 2 and 4 positions wide.
NOISE_MAPS = 6
GRAINS = (1, 2, 4)
# What the convolutions paint, beside the photograph, before they have learnt what to paint.
FIRST_SHARE = 0.1
LARGEST = 1024  # of styles, channels and blocks; a file could say anything


class ConditionalNorm(nn.Module):
    """Instance normalisation with a scale and a shift for each style.

    ``y = gamma_s (x - mu) / sigma + beta_s``, with mean mu and deviation sigma over the positions
    of one map of one picture, and the row s of the tables gamma and beta.

    Args:
        styles: how many rows the tables have, S.
        channels: how many maps there are, C.

    Source: Dumoulin, Shlens and Kudlur 2017, "A Learned Representation for Artistic Style",
    equation 5.
    """

    def __init__(self, styles: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(styles, channels))
        self.shift = nn.Parameter(torch.zeros(styles, channels))

    def forward(self, maps: Tensor, shares: Tensor) -> Tensor:
        """Return the maps (B, C, H, W) normalised; ``shares`` (B, S) mixes the rows."""
        # Products and sums in float32, whatever the convolutions run in; autocast would make a
        # product of matrices out of bfloat16.
        scale, shift = ((shares[..., None] * table).sum(1) for table in (self.scale, self.shift))
        normal = F.instance_norm(maps.float(), eps=EPSILON)
        return normal * scale[..., None, None] + shift[..., None, None]


class NormedConv(nn.Module):
    """Reflection padding, a convolution and conditional instance normalisation.

    Padding with zeros would paint a frame. The convolution has no bias, as the normalisation takes
    the mean away.
    """

    def __init__(self, styles: int, inputs: int, outputs: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.padding = [side // 2] * 4
        self.conv = nn.Conv2d(inputs, outputs, side, stride, bias=False)
        self.norm = ConditionalNorm(styles, outputs)

    def forward(self, maps: Tensor, shares: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride) of (B, inputs, H, W)."""
        return self.norm(self.conv(F.pad(maps, self.padding, mode="reflect")), shares)


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to what went in (Johnson et al. 2016, section 3.1)."""

    def __init__(self, styles: int, channels: int) -> None:
        super().__init__()
        self.first = NormedConv(styles, channels, channels, 3)
        self.second = NormedConv(styles, channels, channels, 3)

    def forward(self, maps: Tensor, shares: Tensor) -> Tensor:
        """Return (B, C, H, W) of the same shape."""
        return maps + self.second(F.relu(self.first(maps, shares)), shares)


class ImageTransform(nn.Module):
    """The network: pictures in [0, 1] go in, painted pictures in [0, 1] come out.

    Args:
        styles: how many styles it holds, 1 or more.
        channels: of the convolutions at full, half and quarter width.
        blocks: how many residual blocks there are.

    Raises:
        NstError: one of them is not a whole number above 0, or there are not three ``channels``.

    Source: Johnson, Alahi and Fei-Fei 2016, "Perceptual Losses for Real-Time Style Transfer and
    Super-Resolution", table 1 of the supplement; upsampling by repeating pixels as Odena, Dumoulin
    and Olah 2016, "Deconvolution and Checkerboard Artifacts".
    """

    def __init__(
        self, styles: int = 1, channels: Sequence[int] = CHANNELS, blocks: int = BLOCKS
    ) -> None:
        super().__init__()
        _check_sizes(styles, channels, blocks)
        full, half, quarter = channels
        self.styles, self.channels, self.blocks = styles, tuple(channels), blocks
        self.down = nn.ModuleList(
            [
                NormedConv(styles, 3, full, 9),
                NormedConv(styles, full, half, 3, stride=2),
                NormedConv(styles, half, quarter, 3, stride=2),
            ]
        )
        self.noise = nn.Conv2d(NOISE_MAPS * len(GRAINS), quarter, 1, bias=False)
        self.body = nn.ModuleList(ResidualBlock(styles, quarter) for _ in range(blocks))
        self.up = nn.ModuleList(
            [NormedConv(styles, quarter, half, 3), NormedConv(styles, half, full, 3)]
        )
        self.last = NormedConv(styles, full, 3, 3)
        nn.init.constant_(self.last.norm.scale, FIRST_SHARE)
        self.direct = ConditionalNorm(styles, 3)

    def forward(self, images: Tensor, shares: Tensor, seed: int = 0) -> Tensor:
        """Return painted pictures.

        Args:
            images: (B, 3, H, W) in [0, 1], each side at least 16 pixels.
            shares: (B, S), how much of each style each picture gets, usually adding up to 1.
            seed: of the noise, which is the same for all pictures of a batch. With one seed a
                picture is always painted alike, and the frames of a film do not flicker.

        Returns:
            (B, 3, H, W) in [0, 1], float32.
        """
        height, width = images.shape[-2:]
        rest = (0, -width % STRIDE, 0, -height % STRIDE)
        photograph = maps = F.pad(images - 0.5, rest, mode="reflect")
        for layer in self.down:
            maps = F.relu(layer(maps, shares))
        maps = maps + self.noise(_noise(*maps.shape[-2:], seed).to(maps))
        for block in self.body:
            maps = block(maps, shares)
        for layer in self.up:
            # A transposed convolution overlaps itself unevenly and leaves a checkerboard.
            maps = F.relu(layer(F.interpolate(maps, scale_factor=2, mode="nearest"), shares))
        painted = self.direct(photograph, shares) + self.last(maps, shares)
        return painted.sigmoid()[..., :height, :width]


def _noise(height: int, width: int, seed: int) -> Tensor:
    """Return normal noise at several scales, (1, NOISE_MAPS * len(GRAINS), height, width).

    The coarser the grain, the farther apart are the numbers drawn; between them it is bilinear.
    Drawn on the CPU, so that all devices paint alike; everybody's chance is left alone.

    Source: Ulyanov, Lebedev, Vedaldi and Lempitsky 2016, "Texture Networks: Feed-forward Synthesis
    of Textures and Stylized Images", section 4.1: noise at several scales goes in.
    """
    generator = torch.Generator().manual_seed(seed)
    scales = []
    for grain in GRAINS:
        shape = (1, NOISE_MAPS, -(-height // grain), -(-width // grain))
        drawn = torch.randn(shape, generator=generator)
        fine = F.interpolate(drawn, scale_factor=grain, mode="bilinear")
        scales.append(fine[..., :height, :width])
    return torch.cat(scales, dim=1)


def _check_sizes(styles: Any, channels: Any, blocks: Any) -> None:
    if not isinstance(channels, (list, tuple)) or len(channels) != 3:
        raise NstError(
            f"channels is {channels!r}; give three numbers, for full, half and quarter width."
        )
    numbers = {"styles": styles, "blocks": blocks}
    numbers |= {f"channels[{i}]": value for i, value in enumerate(channels)}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
            raise NstError(f"{name} is {value!r}; it must be a whole number from 1 to {LARGEST}.")
