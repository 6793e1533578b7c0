"""The losses against their formulas written out in plain loops, and against hand-worked numbers."""

from __future__ import annotations

import itertools

import pytest
import torch

from nst_helpers import losses


def _features(channels: int = 3, height: int = 4, width: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, height, width, dtype=torch.float64, generator=generator)


def test_gram_matrix_is_the_sum_over_positions():
    f = _features()
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for i, j, y, x in itertools.product(range(3), range(3), range(4), range(5)):
        expected[i, j] += f[0, i, y, x] * f[0, j, y, x]
    torch.testing.assert_close(losses.gram_matrix(f), expected)


def test_gram_matrix_by_hand():
    f = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])
    assert losses.gram_matrix(f).tolist() == [[5.0, 1.0], [1.0, 10.0]]


def test_content_loss_is_the_mean_of_squares():
    a, b = torch.tensor([[[[1.0, 2.0, 3.0]]]]), torch.tensor([[[[1.0, 0.0, 6.0]]]])
    assert float(losses.content_loss(a, b)) == pytest.approx((0 + 4 + 9) / 3)


@pytest.mark.parametrize("sizes", [(2, 3, 5), (4, 1, 7), (1, 2, 2)])
def test_layer_style_loss_is_the_papers_times_four_m_over_c(sizes):
    channels, height, width = sizes
    target, style = _features(*sizes), _features(channels, 6, 3, seed=1)
    gram, other = losses.gram_matrix(target), losses.gram_matrix(style)
    positions = height * width
    paper = ((gram - other) ** 2).sum() / (4 * channels**2 * positions**2)
    torch.testing.assert_close(
        losses.layer_style_loss(target, other), paper * 4 * positions / channels
    )


def test_style_loss_is_the_weighted_sum_of_the_named_layers_only():
    target = {"conv1_1": _features(2), "conv2_1": _features(3), "conv4_2": _features(4)}
    grams = {name: losses.gram_matrix(f) * 0.5 for name, f in target.items()}
    weights = {"conv2_1": 0.25, "conv1_1": 2.0}
    expected = 2.0 * losses.layer_style_loss(target["conv1_1"], grams["conv1_1"])
    expected += 0.25 * losses.layer_style_loss(target["conv2_1"], grams["conv2_1"])
    torch.testing.assert_close(losses.style_loss(target, grams, weights), expected)


def test_total_variation_by_hand():
    image = torch.tensor([[[[0.0, 1.0], [0.0, 3.0]]]])
    assert float(losses.total_variation(image)) == pytest.approx((0 + 4) / 2 + (1 + 9) / 2)
    assert float(losses.total_variation(torch.full((1, 3, 4, 6), 0.7))) == 0


def test_total_loss_weighs_and_adds():
    content, style = torch.tensor(3.0), torch.tensor(2.0)
    assert float(losses.total_loss(content, style)) == pytest.approx(3 + 2e6)
    assert float(losses.total_loss(content, style, alpha=2, beta=0.5)) == pytest.approx(7)


def test_gradients_reach_the_picture_and_vanish_at_the_match():
    target = _features().requires_grad_()
    losses.layer_style_loss(target, losses.gram_matrix(_features(seed=3))).backward()
    assert target.grad.abs().sum() > 0
    same = _features().requires_grad_()
    total = losses.content_loss(same, _features())
    total += losses.layer_style_loss(same, losses.gram_matrix(_features()))
    total.backward()
    assert float(same.grad.abs().max()) < 1e-12  # at the match: no slope, and no nan
