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
    layer_names,
    load_backbone,
    network_name,
    normalize,
    resnet50,
    small_vgg19,
    usual_name,
    vgg16,
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
    with pytest.raises(WeightsError, match=r"'gatys'.*VGG-16; .*auto, torchvision, random\.$"):
        vgg16("gatys")


def test_weights_that_the_environment_means_for_another_network_are_not_asked_for(monkeypatch):
    monkeypatch.setenv("NST_WEIGHTS", "gatys")
    asked = []
    monkeypatch.setattr(backbones, "load_weights", lambda name, **_: asked.append(name) or {})
    with pytest.raises(KeyError):
        vgg16(until=0, device="cpu")
    assert asked == ["vgg16"]
    monkeypatch.setenv("NST_WEIGHTS", "magic")
    with pytest.raises(WeightsError, match="'magic'"):
        vgg16(until=0, device="cpu")


def test_backbones_are_built_by_name():
    assert len(load_backbone("vgg19", weights="random", until=4, device="cpu")) == 5
    with pytest.raises(NstError, match=r"'alexnet'.*vgg19, vgg16, resnet50\.$"):
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


# --- VGG-16 and ResNet-50 -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet():
    """Random, and cut where the second stage has had one block."""
    return resnet50("random", until="layer2.0.bn3", device="cpu")


def _features_by_torchvision(image, state, until):
    """What torchvision's own ResNet gives at each node, recorded by torch.fx."""
    from torchvision.models.feature_extraction import create_feature_extractor

    model = torchvision.models.resnet50()
    model.load_state_dict(state, strict=False)
    names = layer_names("resnet50")[: backbones.layer_index(until, "resnet50") + 1]
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return create_feature_extractor(model.eval(), list(names))(image)


def test_vgg16_is_torchvisions_one_for_one():
    with torch.device("meta"):
        expected = torchvision.models.vgg16(weights=None).features
    ours = vgg16("random", device="cpu")
    assert [_shape_of(module) for module in ours] == [_shape_of(module) for module in expected]
    kinds = {"conv": nn.Conv2d, "relu": nn.ReLU, "pool": nn.MaxPool2d}
    for index, module in enumerate(ours):
        assert isinstance(module, kinds[layer_name(index, "vgg16")[:4]])
    assert [layer_index(f"conv{n}_1", ours) for n in (1, 2, 3, 4, 5)] == [0, 5, 10, 17, 24]
    assert (network_name(ours), network_name(small_vgg19())) == ("vgg16", "vgg19")


def test_a_cut_network_is_still_known():
    ours = vgg16("random", until="conv4_2", device="cpu")
    assert layer_names(ours) == backbones.LAYERS["vgg16"][:20]
    assert layer_names(ours[:18])[-1] == "conv4_1"
    with pytest.raises(LayerError, match=r"'conv5_1'.*cut after 'conv4_2'"):
        extract_features(torch.randn(1, 3, 16, 16), ours, ["conv5_1"])
    with pytest.raises(LayerError, match=r"^VGG-16 has no layer 'conv3_4'; .*relu5_3"):
        layer_index("conv3_4", ours)


def test_a_resnets_layers_are_those_torchvision_computes(resnet):
    from torchvision.models.feature_extraction import get_graph_node_names

    with torch.device("meta"):
        _, nodes = get_graph_node_names(torchvision.models.resnet50().eval())
    assert layer_names("resnet50") == tuple(nodes[1:-3])  # without input, pool, flatten, classifier
    image = torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    expected = _features_by_torchvision(image, resnet.state_dict(), "layer2.0.relu_2")
    found = extract_features(image, resnet, expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert (found["layer1.0.bn3"] < 0).any()  # neither the sum nor a ReLU has overwritten it


def test_a_resnet_is_cut_after_the_block_that_is_needed(resnet):
    assert layer_names(resnet)[-1] == "layer2.0.relu_2"
    assert sum(1 for _ in resnet.layer2) == 1
    assert (len(resnet.layer3), len(resnet.layer4)) == (0, 0)
    with pytest.raises(LayerError, match=r"'res3b'.*cut after 'layer2\.0\.relu_2'; .*'res3b'"):
        extract_features(torch.randn(1, 3, 32, 32), resnet, ["conv1", "res3b"])
    assert layer_names(resnet50("random", until="conv1", device="cpu"))[-1] == "maxpool"
    assert not resnet.training
    assert not any(parameter.requires_grad for parameter in resnet.parameters())
    assert network_name(resnet) == "resnet50"


@pytest.mark.parametrize(
    ("network", "theirs", "ours"),
    [
        ("vgg19", "block4_conv2", "conv4_2"),
        ("vgg16", "block5_conv3", "conv5_3"),
        ("vgg19", "block1_pool", "pool1"),
        ("vgg19", "block4_conv", "block4_conv"),
        ("resnet50", "conv1", "conv1"),
        ("resnet50", "bn_conv1", "bn1"),
        ("resnet50", "pool1", "maxpool"),
        ("resnet50", "res2a_branch2a", "layer1.0.conv1"),
        ("resnet50", "res2a_branch2a_relu", "layer1.0.relu"),
        ("resnet50", "bn2a_branch2c", "layer1.0.bn3"),
        ("resnet50", "bn2a_branch1", "layer1.0.downsample.1"),
        ("resnet50", "res2c", "layer1.2.add"),
        ("resnet50", "res3b_branch2b_relu", "layer2.1.relu_1"),
        ("resnet50", "res4f_relu", "layer3.5.relu_2"),
        ("resnet50", "bn5c_branch2b", "layer4.2.bn2"),
    ],
)
def test_keras_and_caffe_names_are_understood(network, theirs, ours):
    assert usual_name(theirs, network) == ours
    if ours in layer_names(network):
        assert layer_name(layer_index(theirs, network), network) == ours


def test_other_peoples_names_come_back_as_they_were_given():
    image = torch.randn(1, 3, 32, 32)
    found = extract_features(image, small_vgg19(), ["block2_conv1", "conv2_1", "conv1_1"])
    assert list(found) == ["block2_conv1", "conv2_1", "conv1_1"]
    assert torch.equal(found["block2_conv1"], found["conv2_1"])


@pytest.mark.parametrize("name", ["bn2d_branch2a", "bn3b_branch1", "res6a", "layer1.0.relu_3"])
def test_a_layer_that_no_resnet50_has_is_one_sentence(name):
    with pytest.raises(LayerError, match=r"^ResNet-50 has no layer .*res5c_relu\.$"):
        layer_index(name, "resnet50")


def test_a_resnets_weights_are_torchvisions_or_random_and_say_which(monkeypatch):
    def unreachable(name, **_):
        raise WeightsError(f"{name} cannot be had.")

    random = resnet50("random", until="layer1.0.conv1", device="cpu", seed=3)
    assert random.weights_name == "random"
    state = {name: value + 1 for name, value in random.state_dict().items() if "num_" not in name}
    monkeypatch.setattr(backbones, "load_weights", lambda name, **_: {"resnet50": state}[name])
    loaded = resnet50(until="layer1.0.conv1", device="cpu")
    assert loaded.weights_name == "torchvision"
    assert torch.equal(loaded.conv1.weight, random.conv1.weight + 1)
    monkeypatch.setattr(backbones, "load_weights", unreachable)
    fallen_back = resnet50(until="layer1.0.conv1", device="cpu", seed=3)
    assert fallen_back.weights_name == "random"
    assert torch.equal(fallen_back.conv1.weight, random.conv1.weight)
    with pytest.raises(WeightsError, match="cannot be had"):
        resnet50("torchvision", until="conv1", device="cpu")


def test_a_resnet_pools_as_asked():
    averaging = resnet50("random", until="maxpool", pooling="average", device="cpu")
    assert isinstance(averaging.maxpool, nn.AvgPool2d)
    image = torch.randn(1, 3, 33, 48)
    assert extract_features(image, averaging, ["pool1"])["pool1"].shape == (1, 64, 9, 12)


def test_real_vgg16_knows_what_it_sees():
    """Castle, animal and painting look unlike to it, as they do to no random network."""
    from nst_helpers.images import load_image

    names = ["neuschwanstein", "red-panda", "starry-night"]
    pictures = [normalize(load_image(name, size=(96, 96))) for name in names]

    def unlike(model):
        maps = [extract_features(p, model, ["relu5_1"])["relu5_1"] for p in pictures]
        means = torch.stack([feature.mean((0, 2, 3)) for feature in maps])
        return nn.functional.cosine_similarity(means[:1], means[1:]).tolist()

    model = vgg16("torchvision", until="relu5_1", device="cpu")
    assert model.weights_name == "torchvision"
    assert max(unlike(model)) < 0.8
    assert min(unlike(vgg16("random", until="relu5_1", device="cpu"))) > 0.9
