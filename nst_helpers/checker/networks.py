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


def balanced(model: nn.Sequential, draw: Draw) -> nn.Sequential:
    """Return the model, each convolution scaled and shifted so that its outputs have size 1.

    With so few channels, plain random weights let whole modules die, and behind a dead module
    every answer looks alike.
    """
    # Pictures of both kinds an exercise may bring: in [0, 1], and normalised.
    plain = draw.image(LEAST_SIDE, LEAST_SIDE, batch=3)
    _balance(model, torch.cat([plain, drawn_numbers(draw, (3, 3, LEAST_SIDE, LEAST_SIDE))]))
    return model


@torch.no_grad()
def _balance(module: nn.Module, x: Tensor) -> Tensor:
    """Balance a module for these inputs and return its outputs."""
    if isinstance(module, nn.Sequential):
        for inner in module:
            x = _balance(inner, x)
        return x
    if isinstance(module, nn.Conv2d):
        outputs = module(x)
        size = outputs.std(dim=(0, 2, 3)).clamp_min(1e-3)
        middle = outputs.mean(dim=(0, 2, 3))
        module.weight /= size[:, None, None, None]
        module.bias.sub_(middle).div_(size).add_(0.2)
    return module(x)


def frozen(model: nn.Sequential) -> nn.Sequential:
    """Return the model in evaluation mode, its parameters asking for no gradient."""
    return model.eval().requires_grad_(False)


def marked(draw: Draw, *, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Return a dozen modules, each of which leaves a mark that only it can leave.

    Module i multiplies channel c by a number of its own and adds another. Whatever an answer does
    with the modules, the slope of its result in the picture tells which of them were applied, and
    the offset in which order. The shape stays the same from beginning to end, so nothing but the
    marks tells modules apart, and every module can be given the picture itself.
    """
    modules = []
    for _ in range(draw.integer(12, 14)):
        layer = nn.utils.skip_init(nn.Conv2d, 3, 3, kernel_size=1, groups=3, dtype=torch.float64)
        with torch.no_grad():
            for channel in range(3):
                sign = draw.pick((-1, 1))
                layer.weight[channel] = sign * draw.number(0.6, 1.5)
                layer.bias[channel] = draw.pick((-1, 1)) * draw.number(0.2, 1.0)
        modules.append(layer)
    return frozen(nn.Sequential(*modules)).to(dtype)


def mixed(draw: Draw, *, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Return a network of other kinds of modules than VGG-19's, with one network inside another."""
    first, second = draw.distinct(2, 2, 6)
    norm = nn.BatchNorm2d(first, dtype=torch.float64)
    with torch.no_grad():
        norm.running_mean.copy_(drawn_numbers(draw, (first,)))
        norm.running_var.copy_(drawn_numbers(draw, (first,)).abs() + 0.5)
        norm.weight.copy_(drawn_numbers(draw, (first,)) + 2)
        norm.bias.copy_(drawn_numbers(draw, (first,)))
    inner = nn.Sequential(convolution(draw, first, second), nn.LeakyReLU(0.2))
    modules = [
        convolution(draw, 3, first),
        norm,
        nn.Softplus(),
        inner,
        # Nothing happens to the numbers here in evaluation mode; in training mode much does.
        nn.Dropout(0.5),
        nn.AvgPool2d(2),
        nn.Tanh(),
        convolution(draw, second, first),
        nn.Upsample(scale_factor=2),
    ]
    return balanced(frozen(nn.Sequential(*modules)), draw).to(dtype)


class Interruption(Exception):
    """What a module of :func:`failing` raises; no kind of error an answer can expect."""


class _Failing(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        """Raise, whatever comes in."""
        raise Interruption("this module always stops")


def failing(draw: Draw, place: int) -> nn.Sequential:
    """Return a :func:`marked` network whose module ``place`` raises when it is called."""
    model = marked(draw)
    model[place] = _Failing().eval()
    return model
