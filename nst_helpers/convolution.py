"""Convolutions of a frozen network, computed as fast as this processor can.

A network that is trained changes its weights at each step; one that measures pictures never does.
So the weights are laid out once the way oneDNN reads them, where torch would do it at each call,
forward and backward: a fifth of the time of a convolution at 128 pixels. And the gradient in the
input is a convolution, too, with the kernels mirrored and their channels exchanged.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def fast_convolutions(network: nn.Module) -> nn.Module:
    """Replace each convolution of ``network`` that :class:`FrozenConvolution` can compute.

    The network is changed and returned. Without oneDNN, or on a GPU, nothing is.
    """
    for name, module in network.named_children():
        if isinstance(module, nn.Conv2d) and _can_be_packed(module):
            setattr(network, name, FrozenConvolution(module))
        else:
            fast_convolutions(module)
    return network


def _can_be_packed(module: nn.Conv2d) -> bool:
    height, width = module.kernel_size
    return (
        module.weight.device.type == "cpu"
        and module.weight.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        # A kernel of one position is a product of matrices, which torch does ten times faster.
        and height == width > 1
        and module.padding == ((height - 1) // 2, (width - 1) // 2)
        and (module.stride, module.dilation, module.groups) == ((1, 1), (1, 1), 1)
        and module.padding_mode == "zeros"
        # Whoever watches a convolution wants to be called by it.
        and not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
    )


class FrozenConvolution(nn.Module):
    """A convolution of stride one that keeps the size, whose weights do not change any more.

    Args:
        module: what it computes; its kernel is square and of odd size.

    Source of the gradient: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep
    learning", section 4; the packed layouts are oneDNN's.
    """

    def __init__(self, module: nn.Conv2d) -> None:
        super().__init__()
        weight = module.weight.detach()
        mirrored = weight.flip(2, 3).transpose(0, 1)
        self.padding = module.padding[0]
        self.bias = module.bias
        self.forth = _packed(weight, self.padding)
        self.back = _packed(mirrored, self.padding)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the convolution of (B, C, H, W), in the same memory format."""
        return _Convolution.apply(inputs, self)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, inputs: Tensor, module: FrozenConvolution) -> Tensor:
        context.module = module
        return _convolve(inputs, module.forth, module.bias, module.padding)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        module = context.module
        return _convolve(gradient, module.back, None, module.padding), None


# Any size will do for choosing a layout; a picture of another is computed all the same.
_USUAL = 64


def _packed(weight: Tensor, padding: int) -> Tensor:
    weight = weight.contiguous(memory_format=torch.channels_last)
    size = [1, weight.shape[1], _USUAL, _USUAL]
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight, [padding] * 2, [1, 1], [1, 1], 1, size
    )


def _convolve(inputs: Tensor, packed: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    return torch.ops.mkldnn._convolution_pointwise(
        inputs, packed, bias, [padding] * 2, [1, 1], [1, 1], 1, "none", [], ""
    )
