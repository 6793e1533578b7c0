"""The backbones: torchvision's modules one for one, frozen, and names that mean what they say."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from nst_helpers import backbones
from nst_helpers.backbones import (
    LayerError,
    denormalize,
    extract_features,
    layer_index,
    layer_name,
    load_backbone,
    normalize,
    small_vgg19,
    vgg19,
)
from nst_helpers.errors import NstError, WeightsError


@pytest.fixture(scope="module")
def reference() -> nn.Sequential:
    """torchvision's own VGG-19, unallocated: what ours must equal module for module."""
    with torch.device("meta"):
        return torchvision.models.vgg19(weights=None).features


@pytest.fixture(scope="module")
def random_vgg() -> nn.Sequential:
    return vgg19("random", until="conv5_1", device="cpu")


def _shape_of(module: nn.Module) -> str:
    # Everything a module is configured with, but for the in-place flag.
    return repr(module).replace("inplace=True", "").replace("inplace=False", "")


def test_modules_are_torchvisions_one_for_one(reference):
    for ours in (vgg19("random", device="cpu"), small_vgg19(channels=backbones.VGG19_CHANNELS)):
        assert len(ours) == len(reference) == 37
        assert [_shape_of(module) for module in ours] == [_shape_of(m) for m in reference]
        assert list(ours.state_dict()) == list(reference.state_dict())


def test_the_names_follow_the_numbers_of_the_paper():
    # From the course's contract and Simonyan and Zisserman's table 1.
    expected = {0: "conv1_1", 5: "conv2_1", 10: "conv3_1", 19: "conv4_1", 21: "conv4_2"}
    expected |= {28: "conv5_1", 34: "conv5_4", 1: "relu1_1", 4: "pool1", 35: "relu5_4", 36: "pool5"}
    for index, name in expected.items():
        assert layer_name(index) == layer_name(str(index)) == name
        assert layer_index(name) == index


def test_every_layers_kind_agrees_with_its_name(reference):
    kinds = {"conv": nn.Conv2d, "relu": nn.ReLU, "pool": nn.MaxPool2d}
    for index, module in enumerate(reference):
        assert isinstance(module, kinds[layer_name(index)[:4]])
        assert layer_index(layer_name(index)) == index


@pytest.mark.parametrize("index", [-1, 37, "conv", "1.5"])
def test_an_index_out_of_range_is_one_sentence(index):
    with pytest.raises(LayerError, match=r"^VGG-19 has no module .*from 0 to 36\.$"):
        layer_name(index)


def test_an_unknown_layer_is_one_sentence():
    with pytest.raises(LayerError, match=r"^VGG-19 has no layer 'conv_4'; .*pool5\.$"):
        layer_index("conv_4")


def test_the_network_is_frozen_and_no_relu_overwrites(random_vgg):
    assert not random_vgg.training
    assert not any(parameter.requires_grad for parameter in random_vgg.parameters())
    assert not any(m.inplace for m in random_vgg if isinstance(m, nn.ReLU))


def test_the_cut_network_ends_where_asked(random_vgg):
    assert len(random_vgg) == 29
    assert len(vgg19("random", until=21, device="cpu")) == 22
    assert len(small_vgg19(until="conv4_2")) == 22


def test_a_cut_past_the_end_is_refused():
    with pytest.raises(LayerError, match="37"):
        small_vgg19(until=37)


def test_average_pooling_replaces_every_pool():
    model = small_vgg19(pooling="average")
    pools = [module for module in model if isinstance(module, nn.AvgPool2d)]
    assert len(pools) == 5
    assert torch.equal(model[4](torch.tensor([[[[0.0, 4], [2, 2]]]])), torch.tensor([[[[2.0]]]]))
    with pytest.raises(NstError, match="'median'"):
        small_vgg19(pooling="median")


def test_random_weights_follow_the_seed_and_keep_activations_alive():
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first, again, other = small_vgg19(1), small_vgg19(1), small_vgg19(2)
    assert torch.equal(first(image), again(image))
    assert not torch.equal(first[0].weight, other[0].weight)
    wide = small_vgg19(channels=(64, 64, 64, 64, 64))
    deviation = extract_features(image, wide, ["conv5_1"])["conv5_1"].std()
    assert 0.1 < deviation < 10  # He initialisation: neither vanishing nor exploding with depth


def test_a_small_network_can_have_in_place_relus_for_checks():
    assert all(m.inplace for m in small_vgg19(inplace=True) if isinstance(m, nn.ReLU))


def test_the_network_announces_its_weights(random_vgg):
    assert random_vgg.weights_name == "random"


def test_the_environment_chooses_weights(monkeypatch):
    monkeypatch.setenv("NST_WEIGHTS", "random")
    assert vgg19(until=0, device="cpu").weights_name == "random"
    with pytest.raises(WeightsError, match=r"'vgg'.*auto, gatys, torchvision, random\.$"):
        vgg19("vgg")


def test_backbones_are_built_by_name():
    assert len(load_backbone("vgg19", weights="random", until=4, device="cpu")) == 5
    with pytest.raises(NstError, match=r"'alexnet'.*vgg19\.$"):
        load_backbone("alexnet")


def test_normalize_matches_torchvisions_own_and_inverts():
    image = torch.rand(1, 3, 5, 7, dtype=torch.float64)
    preset = torchvision.models.VGG19_Weights.IMAGENET1K_V1.transforms()
    expected = torchvision.transforms.functional.normalize(image, preset.mean, preset.std)
    torch.testing.assert_close(normalize(image), expected)
    torch.testing.assert_close(denormalize(normalize(image)), image)


def test_features_are_those_of_the_modules_by_name():
    model = small_vgg19()
    image = torch.randn(2, 3, 33, 47)
    features = extract_features(image, model, ["conv4_2", "conv1_1", "relu1_1", "pool5"])
    assert set(features) == {"conv4_2", "conv1_1", "relu1_1", "pool5"}
    for name, activation in features.items():
        assert torch.equal(activation, model[: layer_index(name) + 1](image))
    assert (features["conv1_1"] < 0).any()  # before the ReLU, and left as it was


def test_features_run_no_deeper_than_needed():
    model = small_vgg19()
    model[22] = nn.Identity()
    model[22].forward = None  # calling it would raise
    assert set(extract_features(torch.randn(1, 3, 16, 16), model, ["conv4_2"])) == {"conv4_2"}


def test_a_layer_beyond_the_cut_says_how_to_build_the_network():
    model = small_vgg19(until="conv3_1")
    with pytest.raises(LayerError, match=r"'conv4_2'.*cut after 'conv3_1'.*until='conv4_2'"):
        extract_features(torch.randn(1, 3, 16, 16), model, ["conv1_1", "conv4_2"])


def test_real_weights_tell_a_photograph_from_noise():
    """The published network, not noise: mean activations are near 1 after every ReLU.

    That is what "normalised" means (Gatys et al. 2016, section 2), and no random network does it.
    """
    from nst_helpers.images import load_image

    model = vgg19("gatys", device="cpu")
    assert model.weights_name == "gatys"
    image = normalize(load_image("neuschwanstein", size=256))
    relus = [layer_name(index) for index, m in enumerate(model) if isinstance(m, nn.ReLU)]
    means = [float(f.mean()) for f in extract_features(image, model, relus).values()]
    assert all(0.3 < mean < 3 for mean in means), means
