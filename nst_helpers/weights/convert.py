"""Turn published weights files into state dicts this package understands.

Everything here is arithmetic on tensors: no file is opened and nothing is fetched.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from nst_helpers.errors import WeightsError

StateDict = dict[str, torch.Tensor]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Where the convolutions sit in torchvision's `vgg19().features` and `vgg16().features`, and where
# in the normalised VGG-19, which pads by reflection with a module of its own and starts with a 1x1
# convolution.
VGG19_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
VGG16_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
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
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()
    ):
        raise _no_state_dict(what)
    # How many batches a batch normalisation was trained on is a whole number, and of no use here.
    state = {name: v for name, v in loaded.items() if not name.endswith(".num_batches_tracked")}
    if any(value.dtype != torch.float32 for value in state.values()):
        raise _no_state_dict(what)
    return {name: value.detach().contiguous() for name, value in state.items()}


def _no_state_dict(what: str) -> WeightsError:
    return WeightsError(
        f"{what} is not a dictionary of float32 tensors, which a state dict must be; "
        f"report this to the course's maintainers."
    )


# Under the names of numpy 1, which numpy 2 has moved and would warn about.
_ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}


class _ArraysOnly(pickle.Unpickler):
    """Reads numpy arrays, and nothing that could run anything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names, if it is needed for arrays."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not admitted") from None


def parsed_arrays(data: bytes, what: str) -> StateDict:
    """Return the arrays in a pickle of nested dictionaries, as float32 tensors on the CPU.

    A pickle is a program; this one may name numpy's array, its type of numbers and the function
    that puts an array together, and nothing else (Python documentation, "Restricting Globals").

    Args:
        data: the whole file.
        what: the file's name, for the error message.

    Returns:
        Each array under the keys that lead to it, joined by ``/``.

    Raises:
        WeightsError: the file names anything else, or is no dictionary of float32 arrays.
    """
    try:
        loaded = _ArraysOnly(io.BytesIO(data)).load()
    except Exception:  # a broken pickle may raise anything at all
        raise WeightsError(
            f"{what} holds something other than plain arrays, so nothing of it was run or kept; "
            f"report this to the course's maintainers."
        ) from None
    arrays = dict(_leaves(loaded))
    if not isinstance(loaded, dict) or any(
        type(array) is not np.ndarray or array.dtype != np.float32 for array in arrays.values()
    ):
        raise WeightsError(
            f"{what} is not a dictionary of float32 arrays, which it should be; "
            f"report this to the course's maintainers."
        )
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{path}/{key}" if path else str(key))


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


def vgg16_from_arrays(state: Mapping[str, torch.Tensor]) -> StateDict:
    """Return torchvision's VGG-16 from arrays in the layout of JAX.

    Args:
        state: ``VGG16_0/Conv_N/kernel`` (height, width, in, out) and ``VGG16_0/Conv_N/bias`` for
            N = 0 to 12, float32; what else there is belongs to the archive's own purpose.

    Returns:
        The 13 convolutions under the names of torchvision's ``vgg16().features``, (out, in,
        height, width).

    Raises:
        WeightsError: names or shapes are not those of the network.
    """
    result: StateDict = {}
    channels = 3
    for number, index in enumerate(VGG16_CONVOLUTIONS):
        kernel = state.get(f"VGG16_0/Conv_{number}/kernel", torch.empty(0))
        bias = state.get(f"VGG16_0/Conv_{number}/bias", torch.empty(0, 0))
        if bias.ndim != 1 or tuple(kernel.shape) != (3, 3, channels, len(bias)):
            raise WeightsError(
                "The archive's VGG-16 does not have the names and shapes of that network; "
                "report this to the course's maintainers."
            )
        result[f"{index}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
        result[f"{index}.bias"] = bias
        channels = len(bias)
    return result


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


def without_classifier(state: Mapping[str, torch.Tensor]) -> StateDict:
    """Return torchvision's ResNet without its last layer, which only names what is in a picture.

    Raises:
        WeightsError: the tensors are not those of ResNet-50.
    """
    with torch.device("meta"):
        from torchvision.models import resnet50

        expected = {n: v.shape for n, v in resnet50().state_dict().items() if v.is_floating_point()}
    if {name: value.shape for name, value in state.items()} != expected:
        raise WeightsError(
            "torchvision's weights file should hold a ResNet-50, but its names or shapes are "
            "others; update torchvision, or choose the weights 'random'."
        )
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


PARSERS: dict[str, Callable[[bytes, str], StateDict]] = {"vgg16": parsed_arrays}
CONVERTERS: dict[str, Callable[[Mapping[str, torch.Tensor]], StateDict]] = {
    "gatys": folded_vgg,
    "adain-decoder": unchanged,
    "torchvision": vgg_features,
    "vgg16": vgg16_from_arrays,
    "resnet50": without_classifier,
}


def converted(name: str, data: bytes, what: str) -> StateDict:
    """Return the state dict ``name`` from the bytes of the file ``what`` it is published in.

    Raises:
        WeightsError: the file holds something else.
    """
    parsed = PARSERS.get(name, parsed_state_dict)(data, what)
    return CONVERTERS[name](parsed)


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
