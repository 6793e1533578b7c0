"""Measures of distance between pictures, each against its formula written out another way."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics

from nst_helpers import backbones, metrics
from nst_helpers.errors import ImageError, NstError, install_command
from nst_helpers.images import load_image
from nst_helpers.metrics import improvement, lpips, mse, ssim
from nst_helpers.weights import load_weights


def drawn(seed: int, height: int = 24, width: int = 32) -> torch.Tensor:
    """Return a picture of soft patches, so that windows have something in common."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand((1, 3, 5, 6), generator=generator)
    return torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)


def flat(*colour: float) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).repeat(1, 1, 16, 20)


@pytest.mark.parametrize("measure", [mse, ssim, lpips])
def test_a_picture_is_as_near_to_itself_as_can_be_and_order_does_not_matter(measure):
    one, other = drawn(0), drawn(1)
    best = 1 if measure is ssim else 0
    assert measure(one, one) == pytest.approx(best, abs=1e-6)
    assert measure(one, other) == pytest.approx(measure(other, one), rel=1e-5)
    assert abs(measure(one, other) - best) > 0.05


def test_the_squared_error_is_the_mean_over_positions_and_colours():
    assert mse(flat(0, 0, 0), flat(1, 1, 1)) == 1
    assert mse(flat(0.5, 0.5, 0.5), flat(0.5, 0.5, 0.2)) == pytest.approx(0.09 / 3)


def ssim_in_loops(x: np.ndarray, y: np.ndarray) -> float:
    """Return Wang et al.'s mean SSIM of one channel, window by window."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = 0.01**2, 0.03**2
    padded_x, padded_y = np.pad(x, 5, mode="reflect"), np.pad(y, 5, mode="reflect")
    values = []
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            a = padded_x[row : row + 11, column : column + 11]
            b = padded_y[row : row + 11, column : column + 11]
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            variance_a = (weights * (a - mean_a) ** 2).sum()
            variance_b = (weights * (b - mean_b) ** 2).sum()
            covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
            luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
            values.append(luminance * structure)
    return float(np.mean(values))


def test_ssim_is_the_formula_of_its_paper():
    x, y = drawn(2).double(), drawn(3).double()
    expected = [ssim_in_loops(x[0, c].numpy(), y[0, c].numpy()) for c in range(3)]
    assert ssim(x, y) == pytest.approx(np.mean(expected), abs=1e-9)


def test_the_range_of_the_data_is_one_and_not_what_a_picture_happens_to_use():
    dim, dimmer = 0.1 * drawn(4), 0.1 * drawn(5)
    expected = [ssim_in_loops(dim[0, c].numpy(), dimmer[0, c].numpy()) for c in range(3)]
    assert ssim(dim, dimmer) == pytest.approx(np.mean(expected), abs=1e-4)


def test_exchanged_light_and_dark_is_worse_for_ssim_than_nothing_in_common():
    picture = drawn(6)
    assert ssim(picture, 1 - picture) < -0.3


def lpips_written_out(x: torch.Tensor, y: torch.Tensor) -> float:
    """Return Zhang et al.'s distance, with the network built here and their weights read here."""
    trunk = backbones.vgg_modules((2, 2, 3, 3, 3), backbones.VGG19_CHANNELS)
    trunk.load_state_dict(load_weights("vgg16", progress=False))
    folder = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models"
    heads = torch.load(folder / "vgg.pth", weights_only=True, map_location="cpu")
    distance = 0.0
    x, y = backbones.normalize(x), backbones.normalize(y)
    for index, module in enumerate(trunk):
        x, y = module(x), module(y)
        if index in (3, 8, 15, 22, 29):
            weights = heads[f"lin{(3, 8, 15, 22, 29).index(index)}.model.1.weight"]
            difference = x / x.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True)
            distance += (weights * difference**2).sum(dim=1).mean()
    return float(distance)


@torch.no_grad()
def test_lpips_is_the_formula_of_its_paper():
    photograph = load_image("red-panda", size=64)
    for other in (load_image("lake-sherburne", size=64), 0.5 * photograph, drawn(7, 36, 64)):
        assert lpips(other, photograph) == pytest.approx(
            lpips_written_out(other, photograph), rel=1e-3
        )


def test_lpips_leaves_the_seed_of_others_alone():
    trunk = load_weights("vgg16", progress=False)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    network = metrics.perceptual_network(trunk)
    assert torch.equal(torch.rand(3), expected)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_improvements_are_those_of_the_report():
    assert improvement(slow=0.03, fast=0.04) == pytest.approx(25)
    assert improvement(slow=0.05, fast=0.04) == pytest.approx(-25)
    assert improvement(slow=0.6, fast=0.4, better="higher") == pytest.approx(50)
    assert improvement(slow=0.2, fast=0.4, better="higher") == pytest.approx(-50)


@pytest.mark.parametrize("fast", [0.0, -0.1, math.nan])
def test_of_nothing_there_is_no_percentage(fast):
    assert math.isnan(improvement(0.3, fast, better="higher"))


def test_an_improvement_of_unknown_direction_is_refused():
    with pytest.raises(NstError, match="'lower' or 'higher'"):
        improvement(1, 2, better="more")


@pytest.mark.parametrize("measure", [mse, ssim, lpips])
def test_pictures_of_two_sizes_are_refused_in_a_sentence(measure):
    with pytest.raises(
        ImageError, match=r"32 pixels wide and 24 high, the second 40 and 24.*size="
    ):
        measure(drawn(0), drawn(0, width=40))


@pytest.mark.parametrize(("measure", "least"), [(ssim, 11), (lpips, 16)])
def test_pictures_too_small_for_a_measure_are_refused(measure, least):
    small = drawn(0, least - 1, 20)
    with pytest.raises(ImageError, match=f"each side needs at least {least}"):
        measure(small, small)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ImageError):
        mse(drawn(0), drawn(0) + 2)
    with pytest.raises(ImageError):
        ssim(drawn(0), "no-such-file.png")


def test_whatever_can_be_loaded_can_be_measured():
    photograph = load_image("astronaut")
    assert mse("astronaut", photograph) == 0
    assert ssim(photograph, "astronaut") == pytest.approx(1)


@pytest.mark.parametrize("measure", [ssim, lpips])
def test_without_torchmetrics_one_sentence_says_what_to_do(monkeypatch, measure):
    monkeypatch.setattr(metrics, "_LOADED", [])
    for name in [name for name in sys.modules if name.split(".")[0] == "torchmetrics"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NstError, match="SSIM and LPIPS need the package torchmetrics") as caught:
        measure(drawn(0), drawn(1))
    assert str(caught.value).endswith(install_command("torchmetrics"))
    assert mse(drawn(0), drawn(0)) == 0
