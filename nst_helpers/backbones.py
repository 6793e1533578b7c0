"""The frozen networks whose feature maps measure content and style.

A backbone is a plain ``nn.Sequential``: frozen, in evaluation mode, with out-of-place ReLUs, so
that the feature map kept at a convolution's index stays what that convolution computed. To add a
network, write a function that builds it and name it in ``BACKBONES``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from nst_helpers.device import pick_device
from nst_helpers.errors import NstError, WeightsError
from nst_helpers.weights import load_weights

WEIGHTS_VARIABLE = "NST_WEIGHTS"
WEIGHTS_CHOICES = ("auto", "gatys", "torchvision", "random")

# What torchvision's ImageNet networks expect of a picture in [0, 1], channel by channel
# (torchvision documentation, "Models and pre-trained weights").
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Simonyan and Zisserman 2014, table 1, column E: convolutions in each block, and their channels.
VGG19_BLOCKS = (2, 2, 4, 4, 4)
VGG19_CHANNELS = (64, 128, 256, 512, 512)
SMALL_CHANNELS = (4, 6, 8, 10, 10)


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


VGG19_LAYERS = _vgg_layer_names(VGG19_BLOCKS)


def layer_name(index: int | str) -> str:
    """Return the name of VGG-19's module ``index``: ``layer_name(21) == "conv4_2"``.

    Raises:
        LayerError: there is no such module.
    """
    try:
        number = int(index)
    except ValueError:
        number = -1
    if not 0 <= number < len(VGG19_LAYERS):
        raise LayerError(
            f"VGG-19 has no module {index!r}; its modules are numbered from 0 to "
            f"{len(VGG19_LAYERS) - 1}."
        )
    return VGG19_LAYERS[number]


def layer_index(name: str) -> int:
    """Return the index of VGG-19's layer ``name``: ``layer_index("conv4_2") == 21``.

    Raises:
        LayerError: there is no such layer.
    """
    if name not in VGG19_LAYERS:
        raise LayerError(
            f"VGG-19 has no layer {name!r}; its layers are named conv1_1 to conv5_4, "
            f"relu1_1 to relu5_4 and pool1 to pool5."
        )
    return VGG19_LAYERS.index(name)


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
    pools = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
    if pooling not in pools:
        raise NstError(f"Pooling {pooling!r} is unknown; choose 'max' or 'average'.")
    modules: list[nn.Module] = []
    inputs = 3
    for convolutions, outputs in zip(blocks, channels, strict=True):
        for _ in range(convolutions):
            modules += [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)]
            modules += [nn.ReLU(inplace=inplace)]
            inputs = outputs
        modules.append(pools[pooling](kernel_size=2, stride=2))
    return nn.Sequential(*modules)


def he_weights(model: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Return random weights for ``model`` that keep the size of activations from layer to layer.

    Normal with variance 2 / fan-in, biases 0 (He et al. 2015, equation 10). The same seed gives the
    same weights on every machine.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, parameter in model.state_dict().items():
        if parameter.dim() > 1:
            deviation = math.sqrt(2 / parameter[0].numel())
            weights[name] = deviation * torch.randn(parameter.shape, generator=generator)
        else:
            weights[name] = torch.zeros(parameter.shape)
    return weights


def _frozen(model: nn.Sequential, weights_name: str) -> nn.Sequential:
    model.weights_name = weights_name
    return model.eval().requires_grad_(False)


def _pretrained(choice: str, *, progress: bool) -> tuple[str, dict[str, Tensor]]:
    """Return the name and state dict of ``choice``; ``auto`` takes the first that can be had."""
    if choice != "auto":
        return choice, load_weights(choice, progress=progress)
    try:
        return "gatys", load_weights("gatys", progress=progress)
    except WeightsError as unreachable:
        try:
            return "torchvision", load_weights("torchvision", progress=progress)
        except WeightsError:
            raise unreachable from None


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
    choice = weights or os.environ.get(WEIGHTS_VARIABLE) or "auto"
    if choice not in WEIGHTS_CHOICES:
        raise WeightsError(
            f"Weights {choice!r} are unknown; choose one of {', '.join(WEIGHTS_CHOICES)}."
        )
    place = pick_device(device)
    last = _last_index(until)
    with torch.device("meta"):  # nothing is allocated until the weights are there
        model = vgg_modules(VGG19_BLOCKS, VGG19_CHANNELS, pooling=pooling)[: last + 1]
    if choice == "random":
        name, state = choice, he_weights(model, seed)
    else:
        name, state = _pretrained(choice, progress=progress)
    wanted = {key: state[key] for key in model.state_dict()}
    model.load_state_dict(wanted, assign=True)
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
    return _frozen(model[: _last_index(until) + 1], "random")


def _last_index(until: str | int | None) -> int:
    if until is None:
        return len(VGG19_LAYERS) - 1
    if isinstance(until, int):
        layer_name(until)  # refuses what is out of range
        return until
    return layer_index(until)


BACKBONES: dict[str, Callable[..., nn.Sequential]] = {"vgg19": vgg19}


def load_backbone(name: str = "vgg19", **options: object) -> nn.Sequential:
    """Return the backbone ``name``, built with that network's own ``options``.

    Raises:
        NstError: there is no backbone of that name.
    """
    if name not in BACKBONES:
        raise NstError(f"Backbone {name!r} is unknown; choose one of {', '.join(BACKBONES)}.")
    return BACKBONES[name](**options)


def extract_features(
    image: Tensor, model: nn.Sequential, layers: Iterable[str]
) -> dict[str, Tensor]:
    """Return the activations of VGG ``layers`` by name, running no deeper than the deepest of them.

    Args:
        image: (B, 3, H, W), normalised.
        model: a VGG-19, whole or cut.
        layers: names such as ``"conv4_2"``.

    Raises:
        LayerError: a layer does not exist, or the network was cut before it.
    """
    wanted = {layer_index(name): name for name in layers}
    deepest = max(wanted, default=-1)
    if deepest >= len(model):
        raise LayerError(
            f"Layer {wanted[deepest]!r} is module {deepest}, but this network was cut after "
            f"{layer_name(len(model) - 1)!r}; build it with until={wanted[deepest]!r} or deeper."
        )
    activations = {}
    activation = image
    for index, module in enumerate(model[: deepest + 1]):
        activation = module(activation)
        if index in wanted:
            activations[wanted[index]] = activation
    return activations
