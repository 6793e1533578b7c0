"""Convolutions with weights laid out once: the same numbers as torch's, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nst_helpers.backbones import he_weights, small_vgg19
from nst_helpers.convolution import FrozenConvolution, fast_convolutions

# One rounding of the result; sums are formed in float32 by both.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def _convolution(inputs, outputs, kernel, dtype, **options):
    module = nn.Conv2d(inputs, outputs, kernel, **options)
    module.load_state_dict(he_weights(module))
    if module.bias is not None:
        module.bias.data = torch.linspace(-1, 1, outputs)
    return module.to(dtype, memory_format=torch.channels_last).requires_grad_(False)


def _with_gradient(module, inputs):
    inputs = inputs.clone().requires_grad_()
    result = module(inputs)
    (result.float() * torch.arange(1, result.shape[1] + 1).view(1, -1, 1, 1)).sum().backward()
    return result.detach(), inputs.grad


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("size", "inputs", "outputs", "kernel"),
    [((1, 17, 23), 3, 5, 3), ((2, 64, 64), 8, 6, 3), ((1, 1, 90), 16, 16, 3), ((1, 9, 8), 4, 7, 1)],
)
def test_values_and_gradient_are_torchs(size, inputs, outputs, kernel, bias, dtype):
    plain = _convolution(inputs, outputs, kernel, dtype, padding=kernel // 2, bias=bias)
    batch, height, width = size
    generator = torch.Generator().manual_seed(0)
    picture = torch.randn(batch, inputs, height, width, generator=generator)
    picture = picture.to(dtype, memory_format=torch.channels_last)
    wanted = _with_gradient(plain, picture)
    found = _with_gradient(FrozenConvolution(plain), picture)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype
        limit = TOLERANCE[dtype] * float(other.abs().max())
        assert torch.allclose(one.float(), other.float(), rtol=0, atol=limit)


def test_a_network_says_the_same_with_them():
    plain = small_vgg19().to(memory_format=torch.channels_last)
    fast = fast_convolutions(small_vgg19().to(memory_format=torch.channels_last))
    replaced = [type(module).__name__ for module in fast]
    assert replaced.count("FrozenConvolution") == 16
    assert replaced.count("Conv2d") == 0
    picture = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    for one, other in zip(
        _with_gradient(fast, picture), _with_gradient(plain, picture), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2, "padding": 1},
        {"padding": 0},
        {"padding": 1, "groups": 2},
        {"padding": 1, "dilation": 2},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": "same"},
        {"kernel": 1},
    ],
    ids=str,
)
def test_other_convolutions_are_left_to_torch(options):
    kernel = {"kernel": 3} | options
    network = nn.Sequential(_convolution(4, 4, dtype=torch.float32, **kernel))
    assert isinstance(fast_convolutions(network)[0], nn.Conv2d)


def test_a_convolution_that_is_watched_stays():
    watched = small_vgg19()
    watched[5].register_forward_hook(lambda *_: None)
    kinds = [type(module) for module in fast_convolutions(watched)]
    assert (kinds[0], kinds[2], kinds[5]) == (FrozenConvolution, FrozenConvolution, nn.Conv2d)


@pytest.mark.parametrize("where", [{"device": "meta"}, {"dtype": torch.float64}], ids=str)
def test_on_another_device_and_in_another_precision_nothing_is_replaced(where):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, **where))
    assert isinstance(fast_convolutions(network)[0], nn.Conv2d)
