"""Colours are kept: light and chroma against YIQ written out, palettes against their numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nst_helpers import colours
from nst_helpers.colours import (
    colour_transform,
    keep_colours,
    luminance,
    match_colours,
    match_luminance,
)
from nst_helpers.errors import ImageError
from nst_helpers.images import load_image

# The matrix of FCC 1953 as it is usually printed: Y, I and Q from red, green and blue.
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def _random(height: int = 7, width: int = 5, seed: int = 0, low: float = 0.0, high: float = 1.0):
    """Return a picture of random colours that vary together, as those of pictures do."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, height, width, dtype=torch.float64, generator=generator)
    mixture = torch.rand(3, 3, dtype=torch.float64, generator=generator) + torch.eye(3)
    mixed = torch.einsum("ij,bjhw->bihw", mixture / mixture.sum(dim=1, keepdim=True), noise)
    return low + (high - low) * mixed


def _plain(color, height: int = 4, width: int = 6):
    return torch.tensor(color, dtype=torch.float64).view(1, 3, 1, 1).repeat(1, 1, height, width)


def _grey(height: int = 6, width: int = 8, seed: int = 3):
    return _random(height, width, seed)[:, :1].repeat(1, 3, 1, 1)


def _pixels(image):
    """Return the colours as an array (3, N)."""
    return image.detach().double().flatten(start_dim=2)[0].numpy()


def _moved(style, content):
    """Return the style's colours (3, N) before they are clamped."""
    matrix, offset = colour_transform(style, content)
    return matrix.numpy() @ _pixels(style) + offset.numpy()[:, None]


def test_luminance_by_hand():
    image = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    found = luminance(image.view(1, 3, 1, 4))
    assert found.shape == (1, 1, 1, 4)
    assert found.flatten().tolist() == pytest.approx([0.299, 0.587, 0.114, 1.0])


def test_kept_colours_are_y_of_one_and_i_and_q_of_the_other():
    painted, content = _random(seed=1, low=0.4, high=0.6), _random(seed=2, low=0.4, high=0.6)
    yiq = YIQ @ _pixels(content)
    yiq[0] = (YIQ @ _pixels(painted))[0]
    expected = np.linalg.inv(YIQ) @ yiq
    assert expected.min() > 0  # every colour can be shown, so none has to give way
    assert expected.max() < 1
    np.testing.assert_allclose(_pixels(keep_colours(painted, content)), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["red-panda", "grande-jatte-study"])
def test_a_picture_keeps_its_own_colours_as_they_are(name):
    image = load_image(name, size=96)
    torch.testing.assert_close(keep_colours(image, image), image, atol=1e-6, rtol=0)


def test_colours_that_cannot_be_shown_lose_saturation_alone():
    painted, content = (
        load_image("great-wave", size=(60, 90)),
        load_image("red-panda", size=(60, 90)),
    )
    painted, content = painted.double(), content.double()
    kept = keep_colours(painted, content)
    assert float(kept.min()) >= 0
    assert float(kept.max()) <= 1
    torch.testing.assert_close(luminance(kept), luminance(painted))
    before, after = content - luminance(content), kept - luminance(kept)
    share = (before * after).sum(dim=1) / before.square().sum(dim=1).clamp(min=1e-12)
    torch.testing.assert_close(after, share * before, atol=1e-6, rtol=0)  # the same hue
    assert float(share.max()) <= 1 + 1e-9
    given_way = (share < 1 - 1e-6) & (before.square().sum(dim=1) > 1e-9)  # grey has no hue
    assert 0.02 < float(given_way.double().mean()) < 0.9
    edge = torch.minimum(kept, 1 - kept).amin(dim=1)
    assert float(edge[given_way].max()) < 1e-9  # by no more than was needed


def test_black_white_and_grey_are_painted_as_they_are():
    content = _random(1, 3)
    painted = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64).view(1, 1, 1, 3).repeat(1, 3, 1, 1)
    kept = keep_colours(painted, content)
    assert kept[0, :, 0, 0].tolist() == [0, 0, 0]
    assert kept[0, :, 0, 1].tolist() == pytest.approx([1, 1, 1], abs=1e-12)
    torch.testing.assert_close(keep_colours(painted, painted), painted)


def test_matched_luminance_has_the_contents_mean_and_deviation():
    style, content = _random(seed=4, low=0.3, high=0.6), _random(9, 4, seed=5, low=0.4, high=0.6)
    own, wanted = luminance(style), luminance(content)
    found = luminance(match_luminance(style, content))
    assert float(found.mean()) == pytest.approx(float(wanted.mean()), rel=1e-9)
    assert float(found.std(correction=0)) == pytest.approx(float(wanted.std(correction=0)))
    assert float((own - own.mean()).flatten() @ (found - found.mean()).flatten()) > 0
    chroma = style - own
    torch.testing.assert_close(match_luminance(style, content) - found, chroma)


def test_luminance_matched_with_itself_is_itself():
    image = load_image("starry-night", size=96)
    torch.testing.assert_close(match_luminance(image, image), image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("content", [_random(9, 4, seed=5), _grey(), _plain((0.9, 0.2, 0.4))])
def test_luminance_of_a_single_one_is_the_contents_mean(content):
    found = luminance(match_luminance(_plain((0.2, 0.3, 0.4)), content))
    torch.testing.assert_close(found, luminance(content).mean().expand_as(found))


@pytest.mark.parametrize(
    ("style", "content"),
    [
        (_random(6, 7, seed=6), _random(9, 4, seed=7)),
        (_random(6, 7, seed=6), _random(1, 5, seed=7, low=0.2, high=0.21)),
        (load_image("great-wave", size=80), load_image("red-panda", size=64)),
        (load_image("composition-viii", size=80), load_image("neuschwanstein", size=64)),
    ],
)
def test_matched_colours_have_the_contents_mean_and_covariance(style, content):
    found, wanted = _moved(style, content), _pixels(content)
    np.testing.assert_allclose(found.mean(axis=1), wanted.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(np.cov(found, ddof=0), np.cov(wanted, ddof=0), atol=1e-6)
    clamped = _pixels(match_colours(style, content))
    np.testing.assert_allclose(clamped, found.clip(0, 1), atol=1e-5)


def test_the_transform_is_that_of_image_analogies():
    """S_c^(1/2) S_s^(-1/2), and not another root of the same covariance, such as Cholesky's."""
    style, content = _random(6, 7, seed=6), _random(9, 4, seed=7)
    matrix = colour_transform(style, content)[0].numpy()
    root = matrix @ _symmetric_root(np.cov(_pixels(style), ddof=0))
    np.testing.assert_allclose(root, root.T, atol=1e-9)
    np.testing.assert_allclose(root @ root, np.cov(_pixels(content), ddof=0), atol=1e-9)


def _symmetric_root(matrix):
    values, directions = np.linalg.eigh(matrix)
    return directions @ np.diag(np.sqrt(values)) @ directions.T


@pytest.mark.parametrize("name", ["starry-night", "klimt-mada"])
def test_colours_matched_with_themselves_stay(name):
    image = load_image(name, size=96)
    torch.testing.assert_close(match_colours(image, image), image, atol=1e-5, rtol=0)


def test_a_style_of_one_colour_becomes_the_contents_mean():
    content = _random(seed=8)
    found = match_colours(_plain((0.1, 0.5, 0.9)), content)
    torch.testing.assert_close(found, content.mean(dim=(2, 3), keepdim=True).expand_as(found))
    assert match_colours(_plain((0.1, 0.5, 0.9), 1, 1), content).shape == (1, 3, 1, 1)


def test_a_content_of_one_colour_leaves_that_colour():
    found = match_colours(_random(seed=8), _plain((0.1, 0.5, 0.9)))
    torch.testing.assert_close(found, _plain((0.1, 0.5, 0.9), 7, 5), atol=1e-7, rtol=0)


def test_a_grey_content_makes_grey():
    found = match_colours(_random(seed=8), _grey())
    torch.testing.assert_close(found[:, :1].expand_as(found), found, atol=1e-7, rtol=0)
    assert float(found.std()) > 0.05


@pytest.mark.parametrize("seed", range(8))
def test_eigenvalues_that_rounding_makes_negative_do_no_harm(seed):
    content, style = _grey(20, 30, seed).float(), _random(seed=8).float()
    assert bool(torch.isfinite(match_colours(style, content)).all())
    assert bool(torch.isfinite(match_colours(content, style)).all())


def test_a_grey_style_gets_one_hue_and_keeps_its_drawing():
    style, content = _grey(), _random(seed=8)
    found = _moved(style, content)
    np.testing.assert_allclose(found.mean(axis=1), _pixels(content).mean(axis=1))
    assert np.linalg.matrix_rank(found - found.mean(axis=1, keepdims=True), tol=1e-6) == 1
    own = _pixels(style)[0]
    assert all(np.corrcoef(own, channel)[0, 1] > 0.999 for channel in found)


def test_rounding_of_a_grey_style_is_not_blown_up_into_colours():
    noise = torch.rand(
        1, 3, 40, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(9)
    )
    grey = _grey(40, 60) * 0.8 + 0.1
    noisy = ((grey + (noise - 0.5) * 2 / 255) * 255).round() / 255
    content = load_image("red-panda", size=64)
    difference = match_colours(noisy, content) - match_colours(grey, content)
    assert float(difference.square().mean().sqrt()) < 0.01


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("function", [keep_colours, match_luminance, match_colours])
def test_results_follow_the_first_picture_and_change_nothing(function, dtype):
    first, second = _random(seed=10).to(dtype), _random(seed=11).float()
    copies = first.clone(), second.clone()
    found = function(first.requires_grad_(), second)
    assert (found.dtype, found.shape, found.requires_grad) == (dtype, first.shape, False)
    assert torch.equal(first, copies[0])
    assert torch.equal(second, copies[1])
    exact = function(first.detach().double(), second.double())
    rounded_once = 0.51 * torch.finfo(dtype).eps + 1e-6
    torch.testing.assert_close(found.double(), exact, atol=rounded_once, rtol=0)
    assert luminance(first).dtype == dtype


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(3, 4, 5), r"is \(3, 4, 5\); it must be a tensor \(1, 3, H, W\)"),
        (torch.zeros(2, 3, 4, 5), r"is \(2, 3, 4, 5\)"),
        (torch.zeros(1, 3, 4, 5, dtype=torch.uint8), "values of torch.uint8"),
        (torch.zeros(1, 3, 0, 5), "holds 0 values"),
        (torch.full((1, 3, 4, 5), 1.5), "from 1.5 to 1.5"),
        (torch.full((1, 3, 4, 5), torch.nan), "from nan to nan"),
        ("starry-night", "is str"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(image, words):
    good = torch.zeros(1, 3, 4, 5)
    for function in (keep_colours, match_luminance, match_colours, colour_transform):
        for pair in ((image, good), (good, image)):
            with pytest.raises(ImageError, match=words) as caught:
                function(*pair)
            assert str(caught.value).endswith(".")
            assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match=words):
        luminance(image)


def test_pictures_of_different_sizes_are_refused_where_places_count():
    words = "painted picture is 5 x 4 pixels and the content 7 x 4; load the content with"
    with pytest.raises(ImageError, match=words):
        keep_colours(torch.zeros(1, 3, 4, 5), torch.zeros(1, 3, 4, 7))


def test_the_weights_of_luminance_are_those_of_yiq():
    assert tuple(YIQ[0]) == colours.LUMINANCE_WEIGHTS
    assert sum(colours.LUMINANCE_WEIGHTS) == pytest.approx(1)  # so white has luminance 1
