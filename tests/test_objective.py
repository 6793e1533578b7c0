"""The engine's objective against the lessons' formulas: same losses, same gradients, once each."""

from __future__ import annotations

import pytest
import torch

from nst_helpers import losses
from nst_helpers.backbones import LayerError, extract_features, resnet50, small_vgg19
from nst_helpers.errors import NstError
from nst_helpers.objective import LayerStyleLoss, Objective


def _noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CONTENT, STYLE = _noise(1, 1, 3, 34, 48), _noise(2, 1, 3, 40, 37)
OTHER = _noise(3, 1, 3, 32, 32)
POSITIONS = 34 * 48


def _plain(pixels, model, styles, content_layer="conv4_2", weights=losses.STYLE_WEIGHTS):
    """The lessons' losses, function by function."""
    features = extract_features(pixels, model, {content_layer, *weights})
    kept = extract_features(CONTENT, model, [content_layer])[content_layer]
    grams = {}
    for picture, share in styles:
        scale = share * POSITIONS / picture[0, 0].numel()
        for name, feature in extract_features(picture, model, weights).items():
            grams[name] = grams.get(name, 0) + scale * losses.gram_matrix(feature)
    content = losses.content_loss(features[content_layer], kept)
    return content, losses.style_loss(features, grams, weights)


def _gradient(content, style, pixels):
    return torch.autograd.grad(2 * content + 300 * style, pixels)[0]


@pytest.mark.parametrize("styles", [[(STYLE, 1.0)], [(STYLE, 0.3), (OTHER, 0.7)]])
@pytest.mark.parametrize(
    "layers",
    [
        ("conv4_2", losses.STYLE_WEIGHTS),
        ("relu3_1", {"conv1_1": 1.0, "conv1_2": 0.5, "relu2_1": 2.0}),  # ReLU beside its input
        ("conv1_1", {"relu1_1": 1.0, "pool2": 0.1}),
    ],
)
def test_losses_and_gradient_are_the_lessons(styles, layers):
    model = small_vgg19()
    objective = Objective(CONTENT, styles, model, content_layer=layers[0], style_weights=layers[1])
    pixels = _noise(4, *CONTENT.shape).requires_grad_()
    ours = objective(pixels)
    plain = _plain(pixels, model, styles, *layers)
    found, expected = ([float(v.detach()) for v in pair] for pair in (ours, plain))
    assert found == pytest.approx(expected, rel=1e-4)
    expected = _gradient(*plain, pixels)
    assert torch.allclose(_gradient(*ours, pixels), expected, rtol=1e-3, atol=1e-4 * expected.std())


def test_the_written_gradient_of_a_layer_is_the_true_one():
    activation = _noise(5, 1, 4, 5, 7).requires_grad_()
    gram = losses.gram_matrix(_noise(6, 1, 4, 6, 3))
    expected = losses.layer_style_loss(activation, gram)
    ours = LayerStyleLoss.apply(activation, gram)
    assert float(ours.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    (truth,) = torch.autograd.grad(expected, activation)
    (ours,) = torch.autograd.grad(3 * LayerStyleLoss.apply(activation, gram), activation)
    assert torch.allclose(ours, 3 * truth, rtol=1e-4)


def test_bfloat16_comes_close_and_sums_in_float32():
    model = small_vgg19()
    pixels = _noise(4, *CONTENT.shape)
    exact = Objective(CONTENT, [(STYLE, 1.0)], model)(pixels)
    rounded = Objective(CONTENT, [(STYLE, 1.0)], model, precision=torch.bfloat16)(pixels)
    assert all(loss.dtype == torch.float32 for loss in rounded)
    assert [float(v) for v in rounded] == pytest.approx([float(v) for v in exact], rel=0.03)
    # A Gram matrix of bfloat16 activations has more digits than bfloat16 can store.
    activation = _noise(5, 1, 4, 60, 70).bfloat16()
    gram = losses.gram_matrix(activation.double()).float()
    whole = float(LayerStyleLoss.apply(activation, torch.zeros_like(gram)))
    assert float(LayerStyleLoss.apply(activation, gram)) < 1e-9 * whole


@pytest.mark.parametrize("change", [1e-1, 1e-2, 1e-3])
def test_in_bfloat16_a_small_difference_of_gram_matrices_keeps_its_digits(change):
    activation = _noise(5, 1, 64, 60, 70).relu().bfloat16()
    other = (activation.double() * (1 + change * _noise(6, *activation.shape).double())).relu()
    gram = losses.gram_matrix(other)
    difference = losses.gram_matrix(activation.double()) - gram
    expected = difference.square().mean() / activation.numel()
    found = LayerStyleLoss.apply(activation, gram.float())
    assert float(found) == pytest.approx(float(expected), rel=0.01)


def test_the_network_is_not_changed():
    model = small_vgg19()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    objective = Objective(CONTENT, [(STYLE, 1.0)], model, precision=torch.bfloat16)
    objective(_noise(4, *CONTENT.shape).requires_grad_())[1].backward()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(v.dtype == torch.float32 for v in model.state_dict().values())
    assert not any(getattr(module, "inplace", False) for module in model)


def test_layers_can_be_changed_on_the_way():
    model = small_vgg19()
    objective = Objective(CONTENT, [(STYLE, 1.0)], model)
    layers = ("conv3_2", {"conv2_2": 1.0, "conv1_1": 0.0})
    objective.change(*layers)
    pixels = _noise(4, *CONTENT.shape)
    fresh = Objective(
        CONTENT, [(STYLE, 1.0)], model, content_layer=layers[0], style_weights=layers[1]
    )
    assert [float(v) for v in objective(pixels)] == [float(v) for v in fresh(pixels)]
    with pytest.raises(LayerError, match="conv9_9"):
        objective.change("conv9_9", {"conv2_2": 1.0})
    assert [float(v) for v in objective(pixels)] == [float(v) for v in fresh(pixels)]


def test_without_style_there_is_content_alone():
    objective = Objective(CONTENT, [(STYLE, 1.0)], small_vgg19(), style_weights={})
    content, style = objective(_noise(4, *CONTENT.shape))
    assert float(content) > 0
    assert float(style) == 0


def test_own_functions_take_the_place_of_ours():
    calls = []

    def gram_matrix(tensor):
        calls.append(("gram", tensor.dtype, tensor.is_contiguous(), tensor.shape[0]))
        return 2 * losses.gram_matrix(tensor)

    def content_loss(target, content):
        calls.append(("content", target.dtype, target.is_contiguous(), target.shape[0]))
        return 5 * losses.content_loss(target, content)

    model = small_vgg19()
    own = {"gram_matrix": gram_matrix, "content_loss": content_loss}
    same = torch.cat([STYLE, STYLE], -1)[..., :34, :48]  # as many positions as the content
    pixels = _noise(4, *CONTENT.shape)
    ours = Objective(CONTENT, [(same, 1.0)], model)(pixels)
    theirs = Objective(CONTENT, [(same, 1.0)], model, precision=torch.bfloat16, functions=own)(
        pixels
    )
    assert float(theirs[0]) == pytest.approx(5 * float(ours[0]), rel=0.03)
    assert float(theirs[1]) == pytest.approx(4 * float(ours[1]), rel=0.03)
    assert {kind for kind, *_ in calls} == {"gram", "content"}
    assert all(rest == [torch.float32, True, 1] for _, *rest in calls)


def test_an_own_style_loss_gets_features_grams_and_weights():
    def style_loss(target_features, style_grams, style_weights):
        assert set(style_grams) == set(style_weights) == set(losses.STYLE_WEIGHTS)
        return losses.style_loss(target_features, style_grams, style_weights) * 7

    model = small_vgg19()
    pixels = _noise(4, *CONTENT.shape)
    ours = Objective(CONTENT, [(STYLE, 1.0)], model)(pixels)[1]
    own = Objective(CONTENT, [(STYLE, 1.0)], model, functions={"style_loss": style_loss})(pixels)[1]
    assert float(own) == pytest.approx(7 * float(ours), rel=1e-4)


# --- several content layers, other networks -------------------------------------------------------

RESNET_CONTENT = {"layer1.0.bn3": 0.5, "res2b_relu": 2.0}
RESNET_STYLE = {"conv1": 1.0, "bn1": 0.3, "layer1.0.add": 0.2, "layer2.0.relu_2": 0.1}


@pytest.fixture(scope="module")
def resnet():
    return resnet50("random", until="layer2.0.relu_2", device="cpu")


def _plain_of(pixels, model, content_weights, style_weights):
    """The sums as they are defined, by the lessons' functions, on a network left as it is."""
    features = extract_features(pixels, model, {*content_weights, *style_weights})
    kept = extract_features(CONTENT, model, content_weights)
    content = sum(w * losses.content_loss(features[n], kept[n]) for n, w in content_weights.items())
    scale = POSITIONS / STYLE[0, 0].numel()
    grams = {
        name: scale * losses.gram_matrix(feature)
        for name, feature in extract_features(STYLE, model, style_weights).items()
    }
    return content, losses.style_loss(features, grams, style_weights)


@pytest.mark.parametrize("own", [False, True])
def test_several_content_layers_are_a_weighted_sum(own):
    model, layers = small_vgg19(), {"conv4_2": 1.0, "block5_conv2": 0.25, "relu3_1": 3.0}
    functions = {"content_loss": losses.content_loss} if own else None
    objective = Objective(
        CONTENT,
        [(STYLE, 1.0)],
        model,
        content_layer={**layers, "conv1_1": 0.0},
        functions=functions,
    )
    assert set(objective.content) == set(layers)  # nothing is computed for a weight of 0
    pixels = _noise(4, *CONTENT.shape).requires_grad_()
    ours, plain = objective(pixels), _plain_of(pixels, model, layers, losses.STYLE_WEIGHTS)
    assert float(ours[0].detach()) == pytest.approx(float(plain[0].detach()), rel=1e-4)
    expected = _gradient(*plain, pixels)
    assert torch.allclose(_gradient(*ours, pixels), expected, rtol=1e-3, atol=1e-4 * expected.std())


def test_content_layers_change_on_the_way_and_are_never_none():
    objective = Objective(CONTENT, [(STYLE, 1.0)], small_vgg19(), content_layer={"conv3_2": 1.0})
    pixels = _noise(4, *CONTENT.shape)
    first = objective(pixels)
    objective.change({"conv3_2": 1.0, "conv4_2": 1.0}, losses.STYLE_WEIGHTS)
    assert float(objective(pixels)[0]) > float(first[0])
    objective.change("conv3_2", losses.STYLE_WEIGHTS)
    assert float(objective(pixels)[0]) == float(first[0])
    with pytest.raises(NstError, match="name a layer"):
        objective.change({"conv3_2": 0.0}, losses.STYLE_WEIGHTS)


def test_a_resnets_losses_and_gradient_are_the_formulas(resnet):
    objective = Objective(
        CONTENT, [(STYLE, 1.0)], resnet, content_layer=RESNET_CONTENT, style_weights=RESNET_STYLE
    )
    # Layers that are asked for keep their values, and all other ReLUs save memory.
    network = objective.network
    assert [network.relu.inplace, network.layer1[0].relu.inplace] == [False, False]
    assert network.layer1[1].relu.inplace
    pixels = _noise(4, *CONTENT.shape).requires_grad_()
    ours, plain = objective(pixels), _plain_of(pixels, resnet, RESNET_CONTENT, RESNET_STYLE)
    found, expected = ([float(v.detach()) for v in pair] for pair in (ours, plain))
    assert found == pytest.approx(expected, rel=1e-4)
    expected = _gradient(*plain, pixels)
    assert torch.allclose(_gradient(*ours, pixels), expected, rtol=1e-3, atol=1e-4 * expected.std())


def test_a_resnet_in_bfloat16_comes_close_and_is_not_changed(resnet):
    before = {name: value.clone() for name, value in resnet.state_dict().items()}
    layers = {"content_layer": RESNET_CONTENT, "style_weights": RESNET_STYLE}
    pixels = _noise(4, *CONTENT.shape).requires_grad_()
    exact = Objective(CONTENT, [(STYLE, 1.0)], resnet, **layers)(pixels)
    objective = Objective(CONTENT, [(STYLE, 1.0)], resnet, precision=torch.bfloat16, **layers)
    rounded = objective(pixels)
    rounded[1].backward()
    assert objective.network.conv1.weight.dtype == torch.bfloat16
    assert objective.network.bn1.running_var.dtype == torch.float32
    assert [float(v.detach()) for v in rounded] == pytest.approx(
        [float(v.detach()) for v in exact], rel=0.03
    )
    assert all(torch.equal(before[name], value) for name, value in resnet.state_dict().items())
