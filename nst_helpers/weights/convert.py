"""Turn published weights files into state dicts this package understands.

Everything here is arithmetic on tensors: no file is opened and nothing is fetched.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch

from nst_helpers.errors import WeightsError

StateDict = dict[str, torch.Tensor]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Where the 16 convolutions sit in torchvision's `vgg19().features`, and where in the normalised
# network, which pads by reflection with a module of its own and starts with a 1x1 convolution.
VGG19_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
NORMALISED_CONVOLUTIONS = (2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51)


def parsed_state_dict(data: bytes, what: str) -> StateDict:
    """Return the state dict in the bytes of a ``.pth`` file, as float32 tensors on the CPU.

    A ``.pth`` file is a pickle, which is a program; ``weights_only=True`` admits tensors and
    nothing that could run (PyTorch documentation, ``torch.load``).

    Args:
        data: the whole file.
        what: the file's name, for the error message.

    Raises:
        WeightsError: the file is no flat dictionary of float32 tensors.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as on a pickle's version; stderr stays empty
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError):
        raise WeightsError(
            f"{what} holds something other than plain tensors, so nothing of it was run or kept; "
            f"report this to the course's maintainers."
        ) from None
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) and value.dtype == torch.float32
        for name, value in loaded.items()
    ):
        raise WeightsError(
            f"{what} is not a dictionary of float32 tensors, which a state dict must be; "
            f"report this to the course's maintainers."
        )
    return {name: value.detach().contiguous() for name, value in loaded.items()}


def content_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of what a state dict holds, however it is stored.

    Names, dtypes, shapes and values (little-endian bytes, row by row) enter in the names' order,
    so the digest survives a new version of the file format and any order of the entries.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {values.dtype.name} {values.shape}\n".encode())
        little_endian = values.astype(values.dtype.newbyteorder("<"), copy=False)
        digest.update(little_endian.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def folded_vgg(state: Mapping[str, torch.Tensor]) -> StateDict:
    """Return the normalised VGG-19 with its 1x1 convolution folded into conv1_1.

    The file's network takes RGB in [0, 1] and begins with ``caffe = A x + b``. Torchvision's
    takes ``z = (x - mean) / std``, so ``x = std z + mean``, ``caffe = (A std) z + (A mean + b)``:
    conv1_1's new kernel is W applied to ``A diag(std)``, and its bias grows by W, summed over its
    window, times ``A mean + b``. Wherever the 3x3 window lies inside the picture the results are
    the same; at the border, zero padding now means the mean colour.

    The arithmetic is element by element in float64 and in a fixed order, so that every platform
    rounds to the same float32 bits, and a pinned digest can tell whether they are right.

    Args:
        state: ``N.weight`` and ``N.bias`` with N = 0 for the 1x1 convolution (3, 3, 1, 1) and
            N in ``NORMALISED_CONVOLUTIONS`` for the 3x3 ones, float32.

    Returns:
        The 16 convolutions under torchvision's names, ``0.weight`` ... ``34.bias``, float32.

    Raises:
        WeightsError: names or shapes are not those of the network.
    """
    _check_normalised_vgg(state)
    colour = state["0.weight"].double().numpy()[:, :, 0, 0]  # A: (caffe channel, RGB channel)
    shift = state["0.bias"].double().numpy()
    kernel = state["2.weight"].double().numpy()  # W: (out, caffe channel, 3, 3)
    bias = state["2.bias"].double().numpy()

    folded = np.empty_like(kernel)
    for i in range(3):
        a = [colour[c, i] * IMAGENET_STD[i] for c in range(3)]
        folded[:, i] = (kernel[:, 0] * a[0] + kernel[:, 1] * a[1]) + kernel[:, 2] * a[2]

    for c in range(3):
        at_mean = (
            (colour[c, 0] * IMAGENET_MEAN[0] + colour[c, 1] * IMAGENET_MEAN[1])
            + colour[c, 2] * IMAGENET_MEAN[2]
        ) + shift[c]
        window = np.zeros_like(bias)
        for y in range(3):
            for x in range(3):
                window = window + kernel[:, c, y, x]
        bias = bias + window * at_mean

    result = {
        "0.weight": torch.from_numpy(folded.astype(np.float32)),
        "0.bias": torch.from_numpy(bias.astype(np.float32)),
    }
    for new, old in zip(VGG19_CONVOLUTIONS[1:], NORMALISED_CONVOLUTIONS[1:], strict=True):
        for part in ("weight", "bias"):
            result[f"{new}.{part}"] = state[f"{old}.{part}"]
    return result


def unchanged(state: Mapping[str, torch.Tensor]) -> StateDict:
    """Return the state dict as it is: its names and values already fit."""
    return dict(state)


def vgg_features(state: Mapping[str, torch.Tensor]) -> StateDict:
    """Return torchvision's VGG-19 without the classifier, ``features.`` cut off its names.

    Raises:
        WeightsError: the convolutions are not those of VGG-19.
    """
    start = "features."
    features = {
        name.removeprefix(start): value for name, value in state.items() if name.startswith(start)
    }
    expected = _names(VGG19_CONVOLUTIONS)
    if set(features) != expected:
        raise WeightsError(
            f"torchvision's weights file should hold the 16 convolutions of VGG-19, but "
            f"{', '.join(sorted(expected ^ set(features))[:4])} differ; update torchvision, "
            f"or choose the weights 'gatys'."
        )
    return features


CONVERTERS: dict[str, Callable[[Mapping[str, torch.Tensor]], StateDict]] = {
    "gatys": folded_vgg,
    "adain-decoder": unchanged,
    "torchvision": vgg_features,
}


def _names(indices: tuple[int, ...]) -> set[str]:
    return {f"{index}.{part}" for index in indices for part in ("weight", "bias")}


def _check_normalised_vgg(state: Mapping[str, torch.Tensor]) -> None:
    """Follow the channels from RGB to conv5_4: each convolution takes what the last one gives."""
    right = set(state) == _names((0, *NORMALISED_CONVOLUTIONS))
    channels = 3
    for index in (0, *NORMALISED_CONVOLUTIONS) if right else ():
        weight, bias = state[f"{index}.weight"], state[f"{index}.bias"]
        size = (3, 3) if index else (1, 1)
        right = right and tuple(weight.shape) == (len(bias), channels, *size) and bias.ndim == 1
        right = right and (index != 0 or len(bias) == 3)
        channels = len(bias)
    if not right:
        raise WeightsError(
            "The archive's VGG-19 does not have the names and shapes of the normalised network; "
            "report this to the course's maintainers."
        )
