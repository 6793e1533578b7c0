"""Small networks to try an answer with.

VGG-19 in miniature, and networks whose modules leave a mark that only they can leave.

They are made of drawn numbers, so that no answer can know them, and they leave torch's own
generator as it was.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nst_helpers.checker.draw import Draw

# Simonyan and Zisserman 2014, table 1, column E: convolutions in each block; a pool ends a block.
VGG19_BLOCKS = (2, 2, 4, 4, 4)
# Five pools halve a side five times: a smaller picture does not reach the last module.
LEAST_SIDE = 32


def small_vgg19(
    draw: Draw,
    *,
    inplace: bool = False,
    until: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> nn.Sequential:
    """Return VGG-19's 37 modules with few channels and drawn weights, frozen, in evaluation mode.

    Activations keep about the size of the picture's from the first module to the last, and about
    half the units of each ReLU are alive, so that values and gradients tell modules apart.

    Args:
        draw: where channels and weights come from.
        inplace: whether ReLUs overwrite their input, as torchvision's do.
        until: index of the last module kept; None keeps all. A picture needs sides of at least
            ``LEAST_SIDE`` for all of them.
        dtype: of the weights.
    """
    modules: list[nn.Module] = []
    inputs = 3
    for convolutions in VGG19_BLOCKS:
        outputs = draw.integer(3, 6)
        for _ in range(convolutions):
            modules += [convolution(draw, inputs, outputs), nn.ReLU(inplace=inplace)]
            inputs = outputs
        modules.append(nn.MaxPool2d(kernel_size=2, stride=2))
    if until is not None:
        modules = modules[: until + 1]
    return frozen(balanced(nn.Sequential(*modules), draw)).to(dtype)


def convolution(draw: Draw, inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3 x 3 convolution in float64 with drawn weights that keeps height and width."""
    # skip_init: torch's own first weights would come out of the generator an answer may use.
    layer = nn.utils.skip_init(
        nn.Conv2d, inputs, outputs, kernel_size=3, padding=1, dtype=torch.float64
    )
    with torch.no_grad():
        layer.weight.copy_(drawn_numbers(draw, tuple(layer.weight.shape)))
        layer.bias.copy_(drawn_numbers(draw, (outputs,)))
    return layer


def drawn_numbers(draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """Return normally distributed numbers, float64."""
    return torch.randn(shape, dtype=torch.float64, generator=draw.generator)


@torch.no_grad()
def balanced(model: nn.Sequential, draw: Draw) -> nn.Sequential:
    """Return the model, each convolution scaled and shifted so that its outputs have size 1.

    With so few channels, plain random weights let whole modules die, and behind a dead module
    every answer looks alike.
    """
    # Pictures of both kinds an exercise may bring: in [0, 1], and normalised.
    x = torch.cat(
        [draw.image(LEAST_SIDE, LEAST_SIDE, batch=3), drawn_numbers(draw, (3, 3, 32, 32))]
    )
    for module in model:
        if isinstance(module, nn.Conv2d):
            plain = module(x)
            size = plain.std(dim=(0, 2, 3)).clamp_min(1e-3)
            middle = plain.mean(dim=(0, 2, 3))
            module.weight /= size[:, None, None, None]
            module.bias.sub_(middle).div_(size).add_(0.2)
        x = module(x)
    return model


def frozen(model: nn.Sequential) -> nn.Sequential:
    """Return the model in evaluation mode, its parameters asking for no gradient."""
    return model.eval().requires_grad_(False)
