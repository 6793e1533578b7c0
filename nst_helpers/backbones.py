"""The frozen networks whose feature maps measure content and style.

A VGG is a plain ``nn.Sequential``, a ResNet is torchvision's own: frozen, in evaluation mode, with
out-of-place ReLUs, so that the feature map kept at a layer stays what that layer computed. Whatever
network it is, a layer has a name and a number, and ``extract_features`` returns layers by name. To
add a network, write a function that builds it and name it in ``BACKBONES`` and ``LAYERS``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nst_helpers.device import pick_device
from nst_helpers.errors import NstError, WeightsError
from nst_helpers.weights import load_weights

if TYPE_CHECKING:
    from torchvision.models import ResNet

WEIGHTS_VARIABLE = "NST_WEIGHTS"
# The weights of each network, in the order in which "auto" tries them, and the names that
# nst_helpers.weights knows them by. Gatys' network and torchvision's VGG-16 come with packages;
# for torchvision's ResNet there is only its own site, and without that nothing better than chance.
WEIGHTS: Mapping[str, Mapping[str, str]] = {
    "vgg19": {"gatys": "gatys", "torchvision": "torchvision"},
    "vgg16": {"torchvision": "vgg16"},
    "resnet50": {"torchvision": "resnet50"},
}

# What torchvision's ImageNet networks expect of a picture in [0, 1], channel by channel
# (torchvision documentation, "Models and pre-trained weights").
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Simonyan and Zisserman 2014, table 1, columns E and D: convolutions in each block, and their
# channels.
VGG19_BLOCKS = (2, 2, 4, 4, 4)
VGG16_BLOCKS = (2, 2, 3, 3, 3)
VGG19_CHANNELS = (64, 128, 256, 512, 512)
SMALL_CHANNELS = (4, 6, 8, 10, 10)
# He, Zhang, Ren and Sun 2016, "Deep Residual Learning", table 1: residual blocks in each stage.
RESNET50_BLOCKS = (3, 4, 6, 3)
_STEM = ("conv1", "bn1", "relu", "maxpool")
_BRANCH = ("conv1", "bn1", "relu", "conv2", "bn2", "relu_1", "conv3", "bn3")
_SHORTCUT = ("downsample.0", "downsample.1")
TITLES = {"vgg19": "VGG-19", "vgg16": "VGG-16", "resnet50": "ResNet-50"}


class LayerError(NstError, KeyError):
    """A layer was named that the network does not have."""

    __str__ = Exception.__str__  # KeyError would print the sentence in quotation marks


def _vgg_layer_names(blocks: Sequence[int]) -> tuple[str, ...]:
    names = []
    for block, convolutions in enumerate(blocks, start=1):
        for number in range(1, convolutions + 1):
            names += [f"conv{block}_{number}", f"relu{block}_{number}"]
        names.append(f"pool{block}")
    return tuple(names)


def _resnet_layer_names(blocks: Sequence[int]) -> tuple[str, ...]:
    """Return the layers of a ResNet in the order of computing, as torchvision names them."""
    names = list(_STEM)
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            shortcut = _SHORTCUT if block == 0 else ()
            parts = (*_BRANCH, *shortcut, "add", "relu_2")
            names += [f"layer{stage}.{block}.{part}" for part in parts]
    return tuple(names)


VGG19_LAYERS = _vgg_layer_names(VGG19_BLOCKS)
LAYERS: Mapping[str, tuple[str, ...]] = {
    "vgg19": VGG19_LAYERS,
    "vgg16": _vgg_layer_names(VGG16_BLOCKS),
    "resnet50": _resnet_layer_names(RESNET50_BLOCKS),
}
_KERAS_VGG = re.compile(r"block(\d)_(?:conv(\d)|pool)")
_CAFFE_RESNET = re.compile(r"(res|bn)([2-5])([a-f])(\w*)")
_CAFFE_STEM = {"bn_conv1": "bn1", "conv1_relu": "relu", "pool1": "maxpool"}
_CAFFE_BLOCK = {
    "res_branch2a": "conv1",
    "bn_branch2a": "bn1",
    "res_branch2a_relu": "relu",
    "res_branch2b": "conv2",
    "bn_branch2b": "bn2",
    "res_branch2b_relu": "relu_1",
    "res_branch2c": "conv3",
    "bn_branch2c": "bn3",
    "res_branch1": "downsample.0",
    "bn_branch1": "downsample.1",
    "res": "add",
    "res_relu": "relu_2",
}


def usual_name(name: str, network: str | nn.Module = "vgg19") -> str:
    """Return a layer's name in this package, given it as Keras or Caffe spell it.

    - VGG: Keras' ``block4_conv2`` is ``conv4_2``, ``block4_pool`` is ``pool4``. Mind that what
      Keras computes under this name has passed the ReLU already: that is ``relu4_2`` here.
    - ResNet: Caffe's and Keras' ``bn2a_branch2c`` is ``layer1.0.bn3``: stages count from 2, blocks
      are letters, the branch's three convolutions 2a to 2c, and branch1 is the shortcut; ``res2a``
      is the sum and ``res2a_relu`` what follows it. Where a stage begins, these networks take each
      second position in 2a, torchvision's does so in 2b.

    Any other name is returned as it is.
    """
    if _kind(network) == "resnet50":
        match = _CAFFE_RESNET.fullmatch(name)
        if not match:
            return _CAFFE_STEM.get(name, name)
        kind, stage, block, rest = match.groups()
        part = _CAFFE_BLOCK.get(kind + rest)
        return f"layer{int(stage) - 1}.{ord(block) - ord('a')}.{part}" if part else name
    match = _KERAS_VGG.fullmatch(name)
    if not match:
        return name
    block, number = match.groups()
    return f"conv{block}_{number}" if number else f"pool{block}"


def layer_names(network: str | nn.Module = "vgg19") -> tuple[str, ...]:
    """Return the names of a network's layers in the order in which they are computed.

    Args:
        network: a name in ``BACKBONES``, or a network, whole or cut.
    """
    if isinstance(network, str):
        return LAYERS[_kind(network)]
    if isinstance(network, nn.Sequential):
        return LAYERS[_kind(network)][: len(network)]
    return _resnet_layer_names([len(stage) for stage in _stages(network)])


def _kind(network: str | nn.Module) -> str:
    """Return which of ``BACKBONES`` a network is."""
    if isinstance(network, str):
        if network not in BACKBONES:
            raise NstError(
                f"Backbone {network!r} is unknown; choose one of {', '.join(BACKBONES)}."
            )
        return network
    if not isinstance(network, nn.Sequential):
        return "resnet50"
    # Up to here the two networks are alike, module for module; here VGG-16 has its third pool.
    end = LAYERS["vgg16"].index("pool3")
    pools = (nn.MaxPool2d, nn.AvgPool2d)
    return "vgg16" if len(network) > end and isinstance(network[end], pools) else "vgg19"


def network_name(model: nn.Module) -> str:
    """Return the name in ``BACKBONES`` of a network, whole or cut.

    A VGG cut before its third pool is a VGG-16 as well as a VGG-19, and called the latter.
    """
    return _kind(model)


def layer_name(index: int | str, network: str | nn.Module = "vgg19") -> str:
    """Return the name of a network's layer ``index``: ``layer_name(21) == "conv4_2"``.

    Args:
        index: the module's number in a VGG; in a ResNet the place in :func:`layer_names`.
        network: a name in ``BACKBONES``, or a network.

    Raises:
        LayerError: there is no such layer.
    """
    names = LAYERS[_kind(network)]
    try:
        number = int(index)
    except ValueError:
        number = -1
    if not 0 <= number < len(names):
        raise LayerError(
            f"{TITLES[_kind(network)]} has no module {index!r}; its modules are numbered from 0 to "
            f"{len(names) - 1}."
        )
    return names[number]


def layer_index(name: str, network: str | nn.Module = "vgg19") -> int:
    """Return the index of a network's layer ``name``: ``layer_index("conv4_2") == 21``.

    Args:
        name: as in :func:`layer_names`, or as :func:`usual_name` understands it.
        network: a name in ``BACKBONES``, or a network.

    Raises:
        LayerError: there is no such layer.
    """
    kind = _kind(network)
    names = LAYERS[kind]
    usual = usual_name(name, kind) if isinstance(name, str) else name
    if usual not in names:
        raise LayerError(
            f"{TITLES[kind]} has no layer {name!r}; its layers are named {_RANGES[kind]}."
        )
    return names.index(usual)


_RANGES = {
    "vgg19": "conv1_1 to conv5_4, relu1_1 to relu5_4 and pool1 to pool5",
    "vgg16": "conv1_1 to conv5_3, relu1_1 to relu5_3 and pool1 to pool5",
    "resnet50": "conv1, bn1, relu, maxpool and layer1.0.conv1 to layer4.2.relu_2, or conv1, "
    "res2a_branch2a, bn2a_branch2a to res5c_relu",
}


def _channel_column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)


def normalize(image: Tensor) -> Tensor:
    """Return ``(image - mean) / std`` with ImageNet's statistics, (1, 3, H, W) as given."""
    return (image - _channel_column(IMAGENET_MEAN, image)) / _channel_column(IMAGENET_STD, image)


def denormalize(image: Tensor) -> Tensor:
    """Return ``std * image + mean``, the inverse of :func:`normalize`."""
    return image * _channel_column(IMAGENET_STD, image) + _channel_column(IMAGENET_MEAN, image)


def vgg_modules(
    blocks: Sequence[int], channels: Sequence[int], *, pooling: str = "max", inplace: bool = False
) -> nn.Sequential:
    """Return the convolutional part of a VGG network, module for module as torchvision numbers it.

    Args:
        blocks: convolutions in each block.
        channels: output channels of each block's convolutions.
        pooling: ``"max"`` as trained, or ``"average"``, which Gatys et al. found to give slightly
            more appealing pictures (2016, section 2).
        inplace: whether ReLUs overwrite their input, as torchvision's do.

    Raises:
        NstError: the pooling is unknown.
    """
    pool = _pool(pooling)
    modules: list[nn.Module] = []
    inputs = 3
    for convolutions, outputs in zip(blocks, channels, strict=True):
        for _ in range(convolutions):
            modules += [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)]
            modules += [nn.ReLU(inplace=inplace)]
            inputs = outputs
        modules.append(pool(kernel_size=2, stride=2))
    return nn.Sequential(*modules)


def _pool(pooling: str) -> type[nn.Module]:
    pools = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
    if pooling not in pools:
        raise NstError(f"Pooling {pooling!r} is unknown; choose 'max' or 'average'.")
    return pools[pooling]


def he_weights(model: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Return random weights for ``model`` that keep the size of activations from layer to layer.

    Normal with variance 2 / fan-in, biases 0 (He et al. 2015, equation 10); a batch normalisation
    that has seen no batch changes nothing. The same seed gives the same weights on every machine.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, parameter in model.state_dict().items():
        if parameter.dim() > 1:
            deviation = math.sqrt(2 / parameter[0].numel())
            weights[name] = deviation * torch.randn(parameter.shape, generator=generator)
        elif name.endswith(("weight", "running_var")):
            weights[name] = torch.ones(parameter.shape)
        else:
            weights[name] = torch.zeros(parameter.shape, dtype=parameter.dtype)
    return weights


def _frozen(model: nn.Module, weights_name: str) -> nn.Module:
    model.weights_name = weights_name
    return model.eval().requires_grad_(False)


def _choice(network: str, weights: str | None) -> str:
    """Return which weights are asked for, by an argument or by the environment.

    Raises:
        WeightsError: there are no such weights for the network.
    """
    known = ("auto", *WEIGHTS[network], "random")
    if weights is None:
        weights = os.environ.get(WEIGHTS_VARIABLE) or "auto"
        if any(weights in others for others in WEIGHTS.values()) and weights not in known:
            weights = "auto"  # meant for another network
    if weights not in known:
        raise WeightsError(
            f"Weights {weights!r} are unknown for {TITLES[network]}; choose one of "
            f"{', '.join(known)}."
        )
    return weights


def _pretrained(network: str, choice: str, *, progress: bool) -> tuple[str, dict[str, Tensor]]:
    """Return the name and state dict of ``choice``; ``auto`` takes the first that can be had."""
    wanted = WEIGHTS[network] if choice == "auto" else {choice: WEIGHTS[network][choice]}
    first: WeightsError | None = None
    for name, stored in wanted.items():
        try:
            return name, load_weights(stored, progress=progress)
        except WeightsError as unreachable:
            first = first or unreachable
    raise first


def vgg19(
    weights: str | None = None,
    *,
    pooling: str = "max",
    until: str | int | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    progress: bool = True,
) -> nn.Sequential:
    """Return VGG-19's convolutional part: 37 modules, frozen, in evaluation mode.

    It takes pictures normalised with :func:`normalize`, (B, 3, H, W), and its attribute
    ``weights_name`` tells which weights it holds.

    Args:
        weights: ``"gatys"`` (the network rescaled to mean activation 1, as Gatys et al. used it),
            ``"torchvision"`` (torchvision's own), ``"random"`` (untrained, for trying things out),
            or ``"auto"``: gatys, and torchvision where gatys cannot be had. None reads the
            environment variable ``NST_WEIGHTS``, and without that means auto.
        pooling: ``"max"`` or ``"average"``, see :func:`vgg_modules`.
        until: the last layer needed, by name or index; what lies deeper is left out.
        device: where to put it, see :func:`nst_helpers.device.pick_device`.
        seed: of the random weights.
        progress: whether fetching weights shows a progress bar.

    Raises:
        WeightsError: the weights are unknown or cannot be had.
        LayerError: ``until`` is not a layer of VGG-19.
    """
    choice = _choice("vgg19", weights)
    last = _last_index(until, "vgg19")
    with torch.device("meta"):  # nothing is allocated until the weights are there
        model = vgg_modules(VGG19_BLOCKS, VGG19_CHANNELS, pooling=pooling)[: last + 1]
    return _filled(model, "vgg19", choice, device=device, seed=seed, progress=progress)


def vgg16(
    weights: str | None = None,
    *,
    pooling: str = "max",
    until: str | int | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    progress: bool = True,
) -> nn.Sequential:
    """Return VGG-16's convolutional part: 31 modules, frozen, in evaluation mode.

    Like :func:`vgg19`, whose options it shares; its weights are ``"torchvision"`` (which is what
    ``"auto"`` means) or ``"random"``. Source: Simonyan and Zisserman 2014, table 1, column D.

    Raises:
        WeightsError: the weights are unknown or cannot be had.
        LayerError: ``until`` is not a layer of VGG-16.
    """
    choice = _choice("vgg16", weights)
    last = _last_index(until, "vgg16")
    with torch.device("meta"):
        model = vgg_modules(VGG16_BLOCKS, VGG19_CHANNELS, pooling=pooling)[: last + 1]
    return _filled(model, "vgg16", choice, device=device, seed=seed, progress=progress)


def resnet50(
    weights: str | None = None,
    *,
    pooling: str = "max",
    until: str | int | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    progress: bool = True,
) -> ResNet:
    """Return torchvision's ResNet-50 without its classifier, frozen, in evaluation mode.

    It takes pictures normalised with :func:`normalize`, (B, 3, H, W), and its attribute
    ``weights_name`` tells which weights it holds.

    Args:
        weights: ``"torchvision"`` (torchvision's IMAGENET1K_V1), ``"random"`` (untrained), or
            ``"auto"``: torchvision's, and random where they cannot be had, for no package carries
            them. None reads ``NST_WEIGHTS`` as for :func:`vgg19`.
        pooling: ``"max"`` or ``"average"``; the network has one pool.
        until: the last layer needed, by name or index; deeper blocks are left out.
        device: where to put it, see :func:`nst_helpers.device.pick_device`.
        seed: of the random weights.
        progress: whether fetching weights shows a progress bar.

    Raises:
        WeightsError: the weights are unknown or cannot be had.
        LayerError: ``until`` is not a layer of ResNet-50.

    Source: He, Zhang, Ren and Sun 2016, "Deep Residual Learning for Image Recognition", table 1.
    """
    from torchvision import models

    choice = _choice("resnet50", weights)
    last = _last_index(until, "resnet50")
    with torch.device("meta"):
        model = models.resnet50()
    model.avgpool = model.fc = nn.Identity()
    _leave_out_blocks(model, deepest=LAYERS["resnet50"][last])
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    model.maxpool = _pool(pooling)(kernel_size=3, stride=2, padding=1)
    try:
        return _filled(model, "resnet50", choice, device=device, seed=seed, progress=progress)
    except WeightsError:
        if choice != "auto":
            raise
        return _filled(model, "resnet50", "random", device=device, seed=seed, progress=progress)


def _stages(model: ResNet) -> tuple[nn.Sequential, ...]:
    return model.layer1, model.layer2, model.layer3, model.layer4


def _leave_out_blocks(model: ResNet, deepest: str) -> None:
    """Keep no residual block behind that of the layer ``deepest``."""
    stage, block = re.match(r"(?:layer(\d)\.(\d))?", deepest).groups(default=0)
    for number, blocks in enumerate(_stages(model), start=1):
        if number == int(stage):
            del blocks[int(block) + 1 :]
        elif number > int(stage):
            del blocks[:]


def _filled(
    model: nn.Module,
    network: str,
    choice: str,
    *,
    device: str | torch.device | None,
    seed: int,
    progress: bool,
) -> nn.Module:
    """Return an unallocated ``model`` with its weights, frozen, on its device."""
    place = pick_device(device)
    if choice == "random":
        name, state = choice, he_weights(model, seed)
    else:
        name, state = _pretrained(network, choice, progress=progress)
    counters = {
        key: torch.tensor(0) for key in model.state_dict() if key.endswith("num_batches_tracked")
    }
    state = counters | state
    model.load_state_dict({key: state[key] for key in model.state_dict()}, assign=True)
    return _frozen(model.to(place), name)


def small_vgg19(
    seed: int = 0,
    *,
    channels: Sequence[int] = SMALL_CHANNELS,
    pooling: str = "max",
    inplace: bool = False,
    until: str | int | None = None,
) -> nn.Sequential:
    """Return a VGG-19 with the same 37 modules, few channels and random weights, in milliseconds.

    For checks and tests: every index and name means what it means in the large network.
    """
    model = vgg_modules(VGG19_BLOCKS, channels, pooling=pooling, inplace=inplace)
    model.load_state_dict(he_weights(model, seed))
    return _frozen(model[: _last_index(until, "vgg19") + 1], "random")


def _last_index(until: str | int | None, network: str) -> int:
    if until is None:
        return len(LAYERS[network]) - 1
    if isinstance(until, int):
        layer_name(until, network)  # refuses what is out of range
        return until
    return layer_index(until, network)


BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "vgg19": vgg19,
    "vgg16": vgg16,
    "resnet50": resnet50,
}


def load_backbone(name: str = "vgg19", **options: object) -> nn.Module:
    """Return the backbone ``name``, built with ``options``: see :func:`vgg19`.

    Raises:
        NstError: there is no backbone of that name.
    """
    return BACKBONES[_kind(name)](**options)


def extract_features(image: Tensor, model: nn.Module, layers: Iterable[str]) -> dict[str, Tensor]:
    """Return the activations of ``layers`` by name, running no deeper than the deepest of them.

    Args:
        image: (B, 3, H, W), normalised.
        model: a network of this module, whole or cut.
        layers: names such as ``"conv4_2"``, see :func:`layer_names` and :func:`usual_name`; the
            activations come under the names as they are given.

    Raises:
        LayerError: a layer does not exist, or the network was cut before it.
    """
    indices = {name: layer_index(name, model) for name in layers}
    deepest = max(indices.values(), default=-1)
    present = layer_names(model)
    if deepest >= len(present):
        name = max(indices, key=indices.__getitem__)
        raise LayerError(
            f"Layer {name!r} is module {deepest}, but this network was cut after "
            f"{present[-1]!r}; build it with until={name!r} or deeper."
        )
    wanted = set(indices.values())
    found = {
        index: activation
        for index, activation in enumerate(islice(_activations(image, model), deepest + 1))
        if index in wanted
    }
    return {name: found[index] for name, index in indices.items()}


def _activations(image: Tensor, model: nn.Module) -> Iterator[Tensor]:
    """Yield the activation of one layer after the other, each computed when it is asked for."""
    if not isinstance(model, nn.Sequential):
        yield from _resnet_activations(image, model)
        return
    activation = image
    for module in model:
        activation = module(activation)
        yield activation


def _resnet_activations(image: Tensor, model: ResNet) -> Iterator[Tensor]:
    """Yield the activations in the order of :func:`layer_names` (He et al. 2016, figure 5)."""
    out = image
    for part in _STEM:
        out = getattr(model, part)(out)
        yield out
    for block in chain.from_iterable(_stages(model)):
        shortcut = out
        for part in _BRANCH:
            out = getattr(block, part.partition("_")[0])(out)  # relu_1 is relu once more
            yield out
        for module in block.downsample or ():
            shortcut = module(shortcut)
            yield shortcut
        # Never `+=`, which would overwrite what bn3 has just given away.
        out = out + shortcut
        yield out
        out = block.relu(out)
        yield out


def overwrite_in_relus(model: nn.Module, kept: Iterable[str]) -> None:
    """Let each ReLU overwrite its input, but where that is one of the layers ``kept``.

    That saves memory. A module that a ResNet's block calls three times overwrites always or never.

    Raises:
        LayerError: the network has no such layer.
    """
    names = layer_names(model)
    untouched = {layer_index(name, model) for name in kept}
    needed: dict[str, bool] = {}
    for index, name in enumerate(names):
        path, _, part = name.rpartition(".")
        if not part.startswith("relu"):
            continue
        module = str(index) if isinstance(model, nn.Sequential) else f"{path}.relu".lstrip(".")
        needed[module] = needed.get(module, False) or index - 1 in untouched
    for module, is_needed in needed.items():
        model.get_submodule(module).inplace = not is_needed
