"""The losses against their formulas written out in plain loops, and against hand-worked numbers."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle

import pytest
import torch

from nst_helpers import losses
from nst_helpers.errors import NstError


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


def test_style_loss_without_layers_is_zero_and_can_be_added_up():
    nothing = losses.style_loss({"conv1_1": _features()}, {}, {})
    assert isinstance(nothing, torch.Tensor)
    content = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    total = losses.total_loss(content, nothing)
    total.backward()
    assert (float(total.detach()), total.dtype, float(content.grad)) == (3.0, torch.float64, 1.0)
    assert float(losses.style_loss_as({}, {}, {}, "keras")) == 0


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


# The conventions, each written out as its text writes it. ``f`` is the activation of the picture
# being made and ``p`` the content's, lists of C channels of M numbers; ``g`` and ``a`` are the
# undivided Gram matrices of the picture and of the style; ``pixels`` is the picture's H W.


def _sum_of_squares(x, y):
    total = 0.0
    for row_x, row_y in zip(x, y, strict=True):
        for value_x, value_y in zip(row_x, row_y, strict=True):
            total += (value_x - value_y) ** 2
    return total


def _mean_of_squares(x, y):
    return _sum_of_squares(x, y) / (len(x) * len(x[0]))


def _divided(matrix, number):
    return [[value / number for value in row] for row in matrix]


def _gram(f):
    return [[sum(x * y for x, y in zip(i, j, strict=True)) for j in f] for i in f]


def _gatys(f, g, a, pixels):
    n, m = len(f), len(f[0])
    return 1 / (4 * n**2 * m**2) * _sum_of_squares(g, a)


def _course(f, g, a, pixels):
    return _mean_of_squares(g, a) / (len(f) * len(f[0]))


def _pytorch_tutorial(f, g, a, pixels):
    numel = len(f) * len(f[0])
    return _mean_of_squares(_divided(g, numel), _divided(a, numel))


def _tensorflow_tutorial(f, g, a, pixels):
    locations = len(f[0])
    return _mean_of_squares(_divided(g, locations), _divided(a, locations))


def _cs231n(f, g, a, pixels):
    numel = len(f) * len(f[0])
    return _sum_of_squares(_divided(g, numel), _divided(a, numel))


def _deeplearning_ai(f, g, a, pixels):
    return _sum_of_squares(g, a) / (2 * len(f) * len(f[0])) ** 2


def _keras(f, g, a, pixels):
    channels = 3
    return _sum_of_squares(g, a) / (4.0 * channels**2 * pixels**2)


WRITTEN_OUT = {
    "gatys": (_gatys, lambda f, p: 1 / 2 * _sum_of_squares(f, p)),
    "course": (_course, _mean_of_squares),
    "pytorch-tutorial": (_pytorch_tutorial, _mean_of_squares),
    "tensorflow-tutorial": (_tensorflow_tutorial, _mean_of_squares),
    "cs231n": (_cs231n, _sum_of_squares),
    "deeplearning-ai": (
        _deeplearning_ai,
        lambda f, p: _sum_of_squares(f, p) / (4 * len(f) * len(f[0])),
    ),
    "keras": (_keras, _sum_of_squares),
}
NAMES = list(WRITTEN_OUT)
PIXELS = 10 * 14
TARGET = {
    "conv1_1": _features(2, 5, 7, seed=10),
    "conv2_1": _features(3, 5, 4, seed=11),
    "conv3_1": _features(5, 2, 3, seed=12),
    "conv4_2": _features(4, 1, 3, seed=13),
}
CONTENT = _features(4, 1, 3, seed=14)
STYLE = {
    "conv1_1": _features(2, 3, 6, seed=15) * 1.3,
    "conv2_1": _features(3, 3, 2, seed=16) * 0.7,
    "conv3_1": _features(5, 4, 2, seed=17) * 2.0,
}
GRAMS = {layer: losses.gram_matrix(activation) for layer, activation in STYLE.items()}
WEIGHTS = {"conv1_1": 1.0, "conv2_1": 0.75, "conv3_1": 0.2}
SIZES = losses.sizes_of(TARGET)


def _channels(activation):
    return activation.flatten(start_dim=2)[0].tolist()


def _terms_written_out(name):
    """Return the content loss, and the style loss of each layer."""
    layer_loss, content_loss = WRITTEN_OUT[name]
    layers = {}
    for layer in STYLE:
        f = _channels(TARGET[layer])
        layers[layer] = layer_loss(f, _gram(f), _gram(_channels(STYLE[layer])), PIXELS)
    return content_loss(_channels(TARGET["conv4_2"]), _channels(CONTENT)), layers


def _total_written_out(name, alpha, beta, weights):
    content, layers = _terms_written_out(name)
    return alpha * content + beta * sum(weights[layer] * layers[layer] for layer in weights)


def test_every_convention_is_written_out_here():
    assert list(losses.CONVENTIONS) == NAMES
    assert all(name == row.name for name, row in losses.CONVENTIONS.items())


@pytest.mark.parametrize("name", NAMES)
def test_losses_as_a_text_writes_them(name):
    content, layers = _terms_written_out(name)
    assert float(losses.content_loss_as(TARGET["conv4_2"], CONTENT, name, PIXELS)) == pytest.approx(
        content, rel=1e-12
    )
    for layer, expected in layers.items():
        found = losses.layer_style_loss_as(TARGET[layer], GRAMS[layer], name, PIXELS)
        assert float(found) == pytest.approx(expected, rel=1e-12)
    found = losses.style_loss_as(TARGET, GRAMS, WEIGHTS, name, PIXELS)
    expected = sum(WEIGHTS[layer] * layers[layer] for layer in WEIGHTS)
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_losses_of_a_text_have_gradients_and_keep_the_type(name):
    target = TARGET["conv3_1"].float().requires_grad_()
    loss = losses.layer_style_loss_as(target, GRAMS["conv3_1"].float(), name, PIXELS)
    loss = loss + losses.content_loss_as(target, torch.zeros_like(target), name)
    loss.backward()
    assert loss.dtype == torch.float32
    assert float(target.grad.abs().min()) > 0


def test_the_courses_convention_is_the_lessons():
    content = losses.content_loss(TARGET["conv4_2"], CONTENT)
    torch.testing.assert_close(
        losses.content_loss_as(TARGET["conv4_2"], CONTENT, "course"), content
    )
    torch.testing.assert_close(
        losses.style_loss_as(TARGET, GRAMS, WEIGHTS, "course"),
        losses.style_loss(TARGET, GRAMS, WEIGHTS),
    )
    row = losses.CONVENTIONS["course"]
    assert (row.content_layer, row.style_weights) == (losses.CONTENT_LAYER, losses.STYLE_WEIGHTS)


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_a_translated_setting_gives_the_same_total(source, target):
    alpha, beta = 3.0, 70.0
    setting = losses.translate(
        alpha, beta, source, target, SIZES, style_weights=WEIGHTS, pixels=PIXELS
    )
    expected = _total_written_out(source, alpha, beta, WEIGHTS)
    found = _total_written_out(target, setting.alpha, setting.beta, setting.style_weights)
    assert found == pytest.approx(expected, rel=1e-12)
    # Each term by itself, too: no part of one loss is hidden in the other.
    assert _total_written_out(target, setting.alpha, 0.0, setting.style_weights) == pytest.approx(
        _total_written_out(source, alpha, 0.0, WEIGHTS), rel=1e-12
    )
    for layer in WEIGHTS:
        only = setting.beta * setting.style_weights[layer] * _terms_written_out(target)[1][layer]
        assert only == pytest.approx(
            beta * WEIGHTS[layer] * _terms_written_out(source)[1][layer], rel=1e-12
        )
    assert sum(setting.style_weights.values()) == pytest.approx(sum(WEIGHTS.values()), rel=1e-12)


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_there_and_back_is_where_it_began(source, target):
    there = losses.translate(0.3, 1e4, source, target, SIZES, style_weights=WEIGHTS, pixels=PIXELS)
    back = losses.translate(
        there.alpha,
        there.beta,
        target,
        source,
        SIZES,
        style_weights=there.style_weights,
        pixels=PIXELS,
    )
    assert (back.alpha, back.beta) == pytest.approx((0.3, 1e4), rel=1e-14)
    assert back.style_weights == pytest.approx(WEIGHTS, rel=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_a_convention_translates_into_itself_unchanged(name):
    same = losses.translate(0.3, 7.0, name, name, SIZES, style_weights=WEIGHTS, pixels=PIXELS)
    assert same == losses.Setting(0.3, 7.0, WEIGHTS)


def test_settings_of_which_a_part_is_zero_translate():
    def translated(alpha, beta, weights):
        return losses.translate(alpha, beta, "course", "cs231n", SIZES, style_weights=weights)

    assert translated(0.0, 5.0, WEIGHTS).alpha == 0
    assert translated(1.0, 0.0, WEIGHTS).beta == 0
    assert translated(1.0, 5.0, {}) == losses.Setting(1 / 12, 5.0, {})
    assert translated(1.0, 5.0, {"conv1_1": 0.0}).style_weights == {"conv1_1": 0.0}
    assert translated(1.0, 5.0, {**WEIGHTS, "conv1_1": 0.0}).style_weights["conv1_1"] == 0


def test_where_all_layers_share_a_factor_their_weights_stay():
    setting = losses.translate(
        1.0, 1e3, "gatys", "tensorflow-tutorial", SIZES, style_weights=WEIGHTS
    )
    assert setting.style_weights == pytest.approx(WEIGHTS)
    assert setting.beta == pytest.approx(1e3 / 4)  # mean((G/M - A/M)^2) is 4 E
    assert setting.alpha == pytest.approx(12 / 2)  # C M of the content layer, over 2


def test_sizes_are_those_of_the_activations():
    assert SIZES["conv1_1"] == (2, 5, 7)
    assert set(SIZES) == set(TARGET)


def test_ratio_in_the_papers_unit():
    assert losses.paper_ratio(
        1.0, 1e3, "gatys", SIZES, style_weights={"conv1_1": 0.5, "conv2_1": 0.5}
    ) == pytest.approx(1e-3)
    # The course's content loss is 2 / (C M) of the paper's, its layer loss 4 M / C of the paper's.
    found = losses.paper_ratio(1.0, 1e6, "course", SIZES, style_weights={"conv2_1": 0.75})
    assert found == pytest.approx((2 / 12) / (1e6 * 0.75 * 4 * 20 / 3))
    # One setting, seven texts, one number.
    for name in NAMES:
        setting = losses.translate(
            2.0, 9.0, "gatys", name, SIZES, style_weights=WEIGHTS, pixels=PIXELS
        )
        assert losses.paper_ratio(
            setting.alpha,
            setting.beta,
            name,
            SIZES,
            style_weights=setting.style_weights,
            pixels=PIXELS,
        ) == pytest.approx(2.0 / (9.0 * 1.95))
    assert losses.paper_ratio(1.0, 0.0, "course", SIZES, style_weights=WEIGHTS) == math.inf


def test_a_new_convention_is_one_row():
    row = losses.Convention(
        "mine",
        "a text of my own",
        gram=losses.Divisor(N=1),
        layer=losses.Divisor(C=1),
        content=losses.Divisor(N=1),
    )
    target, gram = TARGET["conv2_1"], GRAMS["conv2_1"]
    loss = ((losses.gram_matrix(target) - gram) / PIXELS).square().sum() / 3
    torch.testing.assert_close(losses.layer_style_loss_as(target, gram, row, PIXELS), loss)
    setting = losses.translate(
        1.0, 2.0, row, "cs231n", SIZES, style_weights={"conv2_1": 0.5}, pixels=PIXELS
    )
    as_cs231n = losses.layer_style_loss_as(target, gram, "cs231n")
    assert setting.beta * float(as_cs231n) == pytest.approx(2.0 * float(loss))
    assert setting.alpha == pytest.approx(1 / PIXELS)


def test_rows_read_as_formulas_and_travel_between_processes():
    assert str(losses.CONVENTIONS["gatys"].layer) == "4 C^2 M^2"
    assert str(losses.CONVENTIONS["course"].layer) == "C^3 M"
    assert str(losses.CONVENTIONS["keras"].layer) == "36 N^2"
    assert str(losses.CONVENTIONS["cs231n"].content) == "1"
    for row in losses.CONVENTIONS.values():
        assert pickle.loads(pickle.dumps(row)) == row
        assert dataclasses.replace(row, name="other") != row


def test_sizes_of_large_pictures_do_not_overflow():
    target = torch.ones(1, 1, 1, 1).expand(1, 512, 2**15, 2**15)  # takes no memory
    divisor = losses.CONVENTIONS["gatys"].style_divisor(target.shape[1:])
    assert float(torch.tensor(1.0) / divisor) == pytest.approx(1 / (4 * 2.0**18 * 2.0**60))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": "udacity"}, "'udacity' is unknown; choose one of gatys, course"),
        ({"target": None}, "None is unknown; choose one of gatys, course"),
        ({"sizes": {"conv4_2": (4, 1, 3)}}, "layer 'conv1_1' is not among the sizes"),
        ({"sizes": {}}, r"layer 'conv4_2' is not among the sizes given \(none\)"),
        ({"sizes": {**SIZES, "conv2_1": (1, 3, 5, 4)}}, "'conv2_1' is .*must be \\(C, H, W\\)"),
        ({"sizes": {**SIZES, "conv2_1": (3, 0, 4)}}, "'conv2_1' is .*must be \\(C, H, W\\)"),
        ({"target": "keras"}, "add pixels=, the picture's height times its width"),
    ],
)
def test_a_setting_that_cannot_be_translated_is_refused_in_a_sentence(change, words):
    asked = {"source": "course", "target": "gatys", "sizes": SIZES, **change}
    with pytest.raises(NstError, match=words) as caught:
        losses.translate(1.0, 1e6, **asked, style_weights=WEIGHTS)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text


def test_losses_of_an_unknown_text_are_refused_in_a_sentence():
    with pytest.raises(NstError, match="'nobody' is unknown"):
        losses.content_loss_as(CONTENT, CONTENT, "nobody")
    with pytest.raises(NstError, match="'nobody' is unknown"):
        losses.layer_style_loss_as(TARGET["conv1_1"], GRAMS["conv1_1"], "nobody")
    with pytest.raises(NstError, match="add pixels="):
        losses.layer_style_loss_as(TARGET["conv1_1"], GRAMS["conv1_1"], "keras")
