"""Fast style transfer: the formulas, the border, the colours, the size, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nst_helpers import backbones, feedforward
from nst_helpers.backbones import small_vgg19, vgg_modules
from nst_helpers.colours import luminance
from nst_helpers.errors import NstError
from nst_helpers.feedforward import adain, load_network, mirrored, mixed, stylize_fast
from nst_helpers.images import load_image, to_pil
from nst_helpers.weights.convert import NORMALISED_CONVOLUTIONS, VGG19_CONVOLUTIONS, folded_vgg


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


CONTENT, STYLE, OTHER = _random(1, 3, 37, 50), _random(1, 3, 40, 33, seed=1), _random(1, 3, 24, 24)


def _fast(content=CONTENT, style=STYLE, **options):
    return stylize_fast(content, style, **{"model": small_vgg19(), "device": "cpu"} | options)


# The formulas


def test_adain_is_equation_8_map_by_map():
    x = _random(2, 3, 4, 5, dtype=torch.float64)
    y = 3 * _random(2, 3, 6, 2, seed=1, dtype=torch.float64) - 1
    result = adain(x, y, eps=0.01)
    for picture in range(2):
        for channel in range(3):
            a, b = x[picture, channel], y[picture, channel]
            sigma_a = ((a - a.mean()) ** 2).sum().div(a.numel()).add(0.01) ** 0.5
            sigma_b = ((b - b.mean()) ** 2).sum().div(b.numel()).add(0.01) ** 0.5
            expected = sigma_b * (a - a.mean()) / sigma_a + b.mean()
            torch.testing.assert_close(result[picture, channel], expected)


def test_adain_gives_the_statistics_of_the_style_to_several_pictures():
    x, y = _random(2, 7, 9, 5), 5 * _random(1, 7, 6, 8, seed=1)
    result = adain(x, y)
    assert result.shape == x.shape
    expected = y.mean((2, 3)).expand(2, -1)
    torch.testing.assert_close(result.mean((2, 3)), expected, rtol=1e-3, atol=1e-3)
    expected = y.std((2, 3), correction=0).expand(2, -1)
    torch.testing.assert_close(result.std((2, 3), correction=0), expected, rtol=1e-3, atol=1e-3)


def test_a_map_without_variance_becomes_the_styles_mean():
    y = _random(1, 4, 6, 8)
    result = adain(torch.full((1, 4, 3, 3), 7.0), y)
    torch.testing.assert_close(result, y.mean((2, 3), keepdim=True).expand(1, 4, 3, 3))
    flat = adain(_random(1, 4, 3, 3), torch.full((1, 4, 2, 2), 5.0))
    torch.testing.assert_close(flat, torch.full_like(flat, 5.0), rtol=0, atol=0.05)


def test_strength_and_shares_are_equations_14_and_15():
    f, one, two = _random(1, 4, 5, 6), _random(1, 4, 7, 7, seed=1), 2 * _random(1, 4, 3, 9, seed=2)
    expected = 0.4 * f + 0.6 * (0.25 * adain(f, one) + 0.75 * adain(f, two))
    torch.testing.assert_close(mixed(f, [(one, 0.25), (two, 0.75)], 0.6), expected)
    assert torch.equal(mixed(f, [(one, 1.0)], 0.0), f)


def test_the_decoder_mirrors_the_encoder():
    decoder = mirrored(small_vgg19(channels=(4, 6, 8, 10, 10), until="relu4_1"))
    kinds = {nn.ReflectionPad2d: "p", nn.Conv2d: "c", nn.ReLU: "r", nn.Upsample: "u"}
    one = "pcr"
    assert "".join(kinds[type(module)] for module in decoder) == (
        one + "u" + 4 * one + "u" + 2 * one + "u" + one + "pc"
    )
    channels = [m.in_channels for m in decoder if isinstance(m, nn.Conv2d)]
    assert channels == [10, 8, 8, 8, 8, 6, 6, 4, 4]
    assert decoder[-1].out_channels == 3


# The border


def _unfolded(state: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """relu4_1 of a network as published: RGB in [0, 1], a 1x1 convolution, reflection padding."""
    activation = F.conv2d(image, state["0.weight"], state["0.bias"])
    for index, position in zip(VGG19_CONVOLUTIONS, NORMALISED_CONVOLUTIONS, strict=True):
        if index in (5, 10, 19):
            activation = F.max_pool2d(activation, 2)
        activation = F.pad(activation, (1, 1, 1, 1), mode="reflect")
        activation = F.conv2d(activation, state[f"{position}.weight"], state[f"{position}.bias"])
        activation = F.relu(activation)
        if index == 19:
            return activation
    raise AssertionError


def test_with_reflection_the_folded_network_is_the_published_one_up_to_the_border():
    model = small_vgg19()
    convolutions = [module for module in model if isinstance(module, nn.Conv2d)]
    state = {"0.weight": 200 * _random(3, 3, 1, 1, seed=3), "0.bias": -100 * _random(3, seed=4)}
    for position, module in zip(NORMALISED_CONVOLUTIONS, convolutions, strict=True):
        state[f"{position}.weight"] = module.weight.clone()
        state[f"{position}.bias"] = _random(len(module.bias), seed=position)
    model.load_state_dict(folded_vgg(state))
    image = _random(1, 3, 48, 32)
    expected = _unfolded(state, image)
    features = load_network(model).features(image)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-3 * float(expected.max()))


@pytest.mark.parametrize("size", [(16, 16), (43, 30)])
def test_one_colour_gets_no_frame(size):
    colour = torch.tensor([0.9, 0.2, 0.4]).view(1, 3, 1, 1).expand(1, 3, *size)
    image = _fast(content=colour).image
    assert float((image - image.mean((2, 3), keepdim=True)).abs().max()) < 1e-4


# The picture


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (16, 300), (131, 23), (64, 64), (33, 71)])
def test_the_picture_has_the_contents_size_and_range(size):
    image = _fast(content=_random(1, 3, *size)).image
    assert image.shape == (1, 3, *size)
    assert image.dtype == torch.float32
    assert image.is_contiguous()  # L-BFGS starts from it
    assert not image.requires_grad
    assert 0 <= float(image.min()) <= float(image.max()) <= 1


def test_size_bounds_both_pictures_and_style_size_the_style():
    settings = _fast(content=_random(1, 3, 64, 48), style=_random(1, 3, 80, 100), size=40).settings
    assert settings["size"] == (40, 30)
    assert settings["style_sizes"] == [(32, 40)]
    settings = _fast(style=_random(1, 3, 80, 100), style_size=50).settings
    assert settings["size"] == (37, 50)
    assert settings["style_sizes"] == [(40, 50)]


def test_shares_count_in_proportion():
    both = _fast(style=[STYLE, OTHER], style_mix=[3, 1])
    assert torch.equal(both.image, _fast(style=[STYLE, OTHER], style_mix=[0.75, 0.25]).image)
    alone = _fast(style=[STYLE, OTHER], style_mix=[1, 0])
    torch.testing.assert_close(alone.image, _fast().image)
    assert not torch.allclose(both.image, alone.image, atol=1e-3)


def _correlations(image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """How each channel of the one goes with each channel of the other, (3, 3)."""
    return torch.corrcoef(torch.cat([image[0].flatten(1), other[0].flatten(1)]))[:3, 3:]


def test_strength_0_repaints_the_content_in_its_own_place_and_colours():
    content = load_image("singapore", size=150)  # 150 x 84, no multiples of 8
    image = stylize_fast(content, "starry-night", 0.0, style_size=64, device="cpu").image
    coarse = [F.avg_pool2d(picture, 4) for picture in (image, content)]
    correlations = _correlations(*coarse)
    assert float(correlations.diagonal().min()) > 0.8
    assert correlations.argmax(dim=1).tolist() == [0, 1, 2]  # red is red, and blue is blue
    assert float((coarse[0] - coarse[1]).abs().mean()) < 0.1
    here = _correlations(image[..., 4:-4, 4:-4], content[..., 4:-4, 4:-4]).diagonal()
    for there in (image[..., 8:, 8:], image[..., :-8, :-8]):
        shifted = _correlations(there, content[..., 4:-4, 4:-4]).diagonal()
        assert (here > shifted + 0.05).all()


def test_strength_1_brings_the_styles_palette_and_keeps_the_scene():
    content, style = load_image("red-panda", size=128), load_image("starry-night", size=128)
    image = stylize_fast(content, style, device="cpu").image

    def distance(picture):
        return float((image.mean((2, 3)) - picture.mean((2, 3))).abs().mean())

    assert distance(style) < 0.5 * distance(content)
    light = [F.avg_pool2d(luminance(picture), 8).flatten() for picture in (image, content)]
    assert float(torch.corrcoef(torch.stack(light))[0, 1]) > 0.6


def test_bfloat16_is_the_same_picture():
    pictures = [
        stylize_fast(
            "red-panda", "great-wave", size=96, style_size=128, device="cpu", precision=precision
        )
        for precision in ("float32", "bfloat16")
    ]
    assert [picture.settings["precision"] for picture in pictures] == ["float32", "bfloat16"]
    difference = (pictures[0].image - pictures[1].image).abs()
    assert 0 < float(difference.mean()) < 0.01


def test_the_contents_colours_can_be_kept():
    painted, kept = _fast().image, _fast(colours="content").image
    torch.testing.assert_close(luminance(kept), luminance(painted))
    assert not torch.allclose(kept, painted, atol=0.01)


def test_neither_pictures_nor_network_change():
    content, style, model = CONTENT.clone(), STYLE.clone(), small_vgg19()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stylize_fast(content, style, model=model)
    assert torch.equal(content, CONTENT)
    assert torch.equal(style, STYLE)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_no_graph_is_kept_of_a_network_that_is_not_frozen():
    network = load_network(small_vgg19().requires_grad_())
    features = network.features(CONTENT)
    assert not features.requires_grad
    assert not network.picture(features, (37, 50)).requires_grad


# The network


def test_parameters_are_shared_not_copied():
    model = small_vgg19()
    encoder = load_network(model).encoder
    assert len(encoder) == backbones.layer_index("relu4_1") + 1
    theirs = {id(parameter) for parameter in model.parameters()}
    assert {id(parameter) for parameter in encoder.parameters()} < theirs


def test_the_network_is_loaded_once(monkeypatch):
    first = load_network(device="cpu")

    def again(*_, **__):
        raise AssertionError("loaded twice")

    monkeypatch.setattr(feedforward, "load_weights", again)
    monkeypatch.setattr(backbones, "load_weights", again)
    second = load_network(device="cpu", precision="bfloat16", progress=False)
    assert second.encoder is first.encoder
    assert second.decoder is first.decoder
    # A network that someone has already needs the decoder only.
    assert load_network(first.encoder).decoder is first.decoder


def test_the_decoder_goes_with_gatys_whatever_network_the_environment_chooses(monkeypatch):
    monkeypatch.setenv("NST_WEIGHTS", "torchvision")
    assert load_network(device="cpu").weights_name == "gatys"


def test_random_weights_need_no_file_and_mark_the_picture(monkeypatch, tmp_path):
    monkeypatch.setenv("NST_WEIGHTS", "random")
    monkeypatch.setenv("NST_CACHE", str(tmp_path))
    result = stylize_fast(CONTENT, STYLE, device="cpu")
    assert not list(tmp_path.iterdir())
    assert "RANDOM WEIGHTS" in result.caption()
    assert result.to_pil().tobytes() != to_pil(result.image).tobytes()
    assert torch.equal(result.image, stylize_fast(CONTENT, STYLE, device="cpu").image)


# The result


def test_the_result_states_its_facts_and_keeps_them(tmp_path):
    from PIL import Image

    result = _fast(
        content="red-panda", style=["great-wave", STYLE], size=32, strength=0.5, colours="content"
    )
    facts = "AdaIN in one pass, strength 0.5, shares 0.5 and 0.5, in the content's colours"
    assert facts in result.caption()
    assert [picture.name for picture in result.sources] == ["red-panda", "great-wave"]
    assert result.sources[1].title in result.caption()
    with Image.open(result.save(tmp_path / "out.png")) as saved:
        assert facts in saved.text["Description"]
    html = result._repr_mimebundle_()["text/html"]
    assert "strength 0.5" in html
    assert "alt=" in html


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strength": 1.5}, "strength is 1.5"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"strength": "half"}, "strength is 'half'"),
        ({"colours": "both"}, "colours is 'both'"),
        ({"style": []}, "is empty"),
        ({"style_mix": [1, 2]}, "of which there are 1"),
        ({"style_mix": 3}, "style_mix is 3"),
        ({"style_mix": [0]}, "more than 0"),
        ({"style_mix": [-1]}, "0 or more"),
        ({"style_mix": "a"}, "'a'"),
        ({"content": CONTENT[..., :15, :]}, "at least 16"),
        ({"style": STYLE[..., :8]}, "at least 16"),
        ({"style_size": 9}, "at least 16"),
        ({"model": small_vgg19(until="conv4_1")}, "reaches relu4_1"),
        ({"model": nn.Linear(2, 2)}, "reaches relu4_1"),
        ({"model": vgg_modules((2, 2, 4, 4, 4), (4, 4, 4, 4, 4))}, "'unknown'"),
        ({"model": None, "weights": "torchvision"}, "'torchvision'"),
        ({"model": None, "weights": "vgg"}, "'vgg'"),
        ({"precision": "int8"}, "int8"),
    ],
)
def test_each_wrong_option_is_one_sentence(options, words):
    with pytest.raises(NstError, match=words) as caught:
        _fast(**options)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
