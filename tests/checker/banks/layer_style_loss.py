"""Answers to layer_style_loss(target, style_gram): mean((G(target) - A)^2) / (C H W)."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from . import right, wrong


def gram_matrix(tensor):
    """The student's own answer of the lesson before."""
    _, d, h, w = tensor.size()
    f = tensor.reshape(d, h * w)
    return torch.mm(f, f.t())


# ---------------------------------------------------------------------------- right answers


@right
def lesson(target, style_gram):
    _, d, h, w = target.shape
    target_gram = gram_matrix(target)
    layer_loss = torch.mean((target_gram - style_gram) ** 2)
    return layer_loss / (d * h * w)


@right
def mse_over_numel(target, style_gram):
    return F.mse_loss(gram_matrix(target), style_gram) / target.numel()


@right
def mse_module(target, style_gram):
    criterion = nn.MSELoss()
    b, c, h, w = target.size()
    return criterion(gram_matrix(target), style_gram) / (b * c * h * w)


@right
def sum_over_channels_squared(target, style_gram):
    _, c, h, w = target.shape
    difference = gram_matrix(target) - style_gram
    return difference.pow(2).sum() / (c**2) / (c * h * w)


@right
def three_divisions(target, style_gram):
    loss = (style_gram - gram_matrix(target)).square().mean()
    for size in target.shape[1:]:
        loss = loss / size
    return loss


@right
def own_gram_with_einsum(target, style_gram):
    gram = torch.einsum("bchw,bdhw->cd", target, target)
    return ((gram - style_gram) ** 2).mean().div(math.prod(target.shape))


@right
def batched_gram_and_unsqueezed_style(target, style_gram):
    f = target.flatten(2)
    gram = torch.bmm(f, f.transpose(1, 2))
    return F.mse_loss(gram, style_gram.unsqueeze(0)) / f.numel()


@right
def batched_gram_by_broadcasting(target, style_gram):
    f = target.flatten(2)
    squared = (f @ f.mT - style_gram) ** 2
    return squared.mean() / (f.shape[1] * f.shape[2])


@right
def squared_norm_of_the_difference(target, style_gram):
    gram = gram_matrix(target)
    norm = torch.linalg.matrix_norm(gram - style_gram)
    return norm**2 / gram.numel() / target.numel()


@right
def subtracted_by_the_product_itself(target, style_gram):
    f = target[0].flatten(1)
    difference = torch.addmm(style_gram, f, f.T, beta=-1)
    return difference.square().mean() / f.numel()


@right
def trace_of_the_square(target, style_gram):
    # G and A are symmetric, so the trace of D D is the sum of the squares
    d = gram_matrix(target) - style_gram
    c = d.shape[0]
    return torch.trace(d @ d.T) / (c * c * target.numel())


@right
def factor_multiplied(target, style_gram):
    _, c, h, w = target.shape
    scale = 1 / (c * h * w)
    return scale * F.mse_loss(gram_matrix(target), style_gram)


@right
def rows_one_after_another(target, style_gram):
    gram = gram_matrix(target)
    losses = []
    for row, wanted in zip(gram, style_gram, strict=True):
        losses.append(F.mse_loss(row, wanted))
    return torch.stack(losses).mean() / target.numel()


@right
def style_side_detached(target, style_gram):
    gram = gram_matrix(target)
    return F.mse_loss(gram, style_gram.detach()) / target.numel()


@right
def with_prints_and_long_names(target, style_gram):
    print("target activation:", target.shape)
    print("style gram:", style_gram.shape)
    batch_size, depth, height, width = target.shape
    assert batch_size == 1
    target_gram = gram_matrix(target)
    squared_difference = (target_gram - style_gram) ** 2
    mean_squared_difference = squared_difference.mean()
    normalised = mean_squared_difference / (depth * height * width)
    print("loss:", normalised)
    return normalised


def _size(activation):
    return activation.shape[-3] * activation.shape[-2] * activation.shape[-1]


def _mean_square(x):
    return torch.dot(x.reshape(-1), x.reshape(-1)) / x.numel()


@right
def with_helpers(target, style_gram):
    return _mean_square(gram_matrix(target) - style_gram) / _size(target)


@right
def unreduced_and_divided_before_the_mean(target, style_gram):
    squared = F.mse_loss(gram_matrix(target), style_gram, reduction="none")
    return (squared / target.numel()).mean()


@right
def papers_factor_rewritten(target, style_gram):
    # E of the paper times 4 M / C is this lesson's loss
    _, c, h, w = target.shape
    m = h * w
    paper = ((gram_matrix(target) - style_gram) ** 2).sum() / (4 * c**2 * m**2)
    return paper * 4 * m / c


@right
def tensordot_then_mean_twice(target, style_gram):
    x = target.squeeze(0)
    gram = torch.tensordot(x, x, ([1, 2], [1, 2]))
    return torch.square(gram - style_gram).mean(1).mean(0) / x.numel()


@right(build=True)
def as_a_lambda():
    return lambda target, style_gram: (
        (gram_matrix(target) - style_gram).pow(2).mean() / target.numel()
    )


class _LayerStyleLoss(nn.Module):
    def forward(self, target, style_gram):
        f = target[0].flatten(1)
        return F.mse_loss(F.linear(f, f), style_gram) / f.numel()


@right(build=True)
def as_a_module():
    return _LayerStyleLoss()


@right(build=True)
def as_a_partial():
    def loss(target, style_gram, gram):
        return F.mse_loss(gram(target), style_gram) / target.numel()

    return functools.partial(loss, gram=gram_matrix)


# ------------------------------------------------------------------- wrong: not an answer yet


@wrong("not-written")
def stub(target, style_gram):
    raise NotImplementedError()


@wrong("not-written")
def loss_computed_not_returned(target, style_gram):
    _, d, h, w = target.shape
    layer_loss = torch.mean((gram_matrix(target) - style_gram) ** 2)
    layer_loss = layer_loss / (d * h * w)


@wrong("not-a-function", build=True)
def module_class():
    return _LayerStyleLoss


@wrong("not-a-function", build=True)
def a_number():
    return 0.0


@wrong("wrong-arguments")
def weight_asked_for(target, style_gram, weight):
    return weight * F.mse_loss(gram_matrix(target), style_gram) / target.numel()


@wrong("wrong-arguments")
def sizes_asked_for(target_gram, style_gram, c, h, w):
    return F.mse_loss(target_gram, style_gram) / (c * h * w)


# ------------------------------------------------------------------- wrong: the division


@wrong("missing-division")
def mean_only(target, style_gram):
    return torch.mean((gram_matrix(target) - style_gram) ** 2)


@wrong("missing-division")
def sizes_read_but_not_used(target, style_gram):
    _, d, h, w = target.shape
    print("sizes", d, h, w)
    return F.mse_loss(gram_matrix(target), style_gram)


@wrong("missing-division")
def division_result_thrown_away(target, style_gram):
    loss = F.mse_loss(gram_matrix(target), style_gram)
    loss.div(target.numel())
    return loss


@wrong("style-size-division")
def size_of_the_style_gram(target, style_gram):
    return F.mse_loss(gram_matrix(target), style_gram) / style_gram.numel()


@wrong("style-size-division", "wrong-division")
def shape_of_the_gram_for_height_and_width(target, style_gram):
    _, d, _, _ = target.shape
    h, w = style_gram.shape
    return F.mse_loss(gram_matrix(target), style_gram) / (d * h * w)


@wrong("style-size-division", "wrong-division")
def numel_of_the_target_gram(target, style_gram):
    target = gram_matrix(target)
    return F.mse_loss(target, style_gram) / target.numel()


@wrong("wrong-division")
def positions_only(target, style_gram):
    _, _, h, w = target.shape
    return F.mse_loss(gram_matrix(target), style_gram) / (h * w)


@wrong("wrong-division")
def channels_only(target, style_gram):
    return F.mse_loss(gram_matrix(target), style_gram) / target.size(1)


@wrong("wrong-division", "normalised-gram")
def size_squared(target, style_gram):
    return F.mse_loss(gram_matrix(target), style_gram) / target.numel() ** 2


@wrong("wrong-division")
def root_of_the_size(target, style_gram):
    return F.mse_loss(gram_matrix(target), style_gram) / target.numel() ** 0.5


@wrong("wrong-division")
def bracket_forgotten(target, style_gram):
    _, d, h, w = target.shape
    return F.mse_loss(gram_matrix(target), style_gram) / d * h * w


@wrong("wrong-division")
def sizes_added(target, style_gram):
    _, d, h, w = target.shape
    return F.mse_loss(gram_matrix(target), style_gram) / (d + h + w)


@wrong("wrong-division")
def multiplied_by_the_size(target, style_gram):
    _, d, h, w = target.shape
    return F.mse_loss(gram_matrix(target), style_gram) * (d * h * w)


@wrong("wrong-division")
def channel_forgotten_for_the_batch(target, style_gram):
    b, _, h, w = target.shape
    return F.mse_loss(gram_matrix(target), style_gram) / (b * h * w)


@wrong("wrong-division", "missing-division")
def divided_by_len(target, style_gram):
    # len() of a (1, C, H, W) tensor is 1
    return F.mse_loss(gram_matrix(target), style_gram) / len(target)


@wrong("wrong-division", "halved")
def twice_the_size(target, style_gram):
    return F.mse_loss(gram_matrix(target), style_gram) / (2 * target.numel())


@wrong("square-assumed", "wrong-division")
def height_squared(target, style_gram):
    _, d, h, _w = target.shape
    return F.mse_loss(gram_matrix(target), style_gram) / (d * h**2)


@wrong("square-assumed", "wrong-division")
def width_squared(target, style_gram):
    c, w = target.shape[1], target.shape[3]
    return torch.mean((gram_matrix(target) - style_gram) ** 2) / (c * w * w)


@wrong("hard-coded-size", "wrong-division")
def size_of_conv1_1(target, style_gram):
    return F.mse_loss(gram_matrix(target), style_gram) / (64 * 400 * 400)


@wrong("paper-convention")
def gatys(target, style_gram):
    _, n, h, w = target.shape
    m = h * w
    return ((gram_matrix(target) - style_gram) ** 2).sum() / (4 * n**2 * m**2)


@wrong("paper-convention")
def gatys_with_a_mean(target, style_gram):
    # the mean holds the 1 / C^2 already
    _, _, h, w = target.shape
    return F.mse_loss(gram_matrix(target), style_gram) / (4 * (h * w) ** 2)


@wrong("paper-convention", "wrong-division")
def gatys_divides_the_mean_again(target, style_gram):
    _, n, h, w = target.shape
    return F.mse_loss(gram_matrix(target), style_gram) / (4 * n**2 * (h * w) ** 2)


@wrong("normalised-gram", "wrong-division")
def both_grams_divided(target, style_gram):
    n = target.numel()
    return F.mse_loss(gram_matrix(target) / n, style_gram / n)


@wrong("normalised-gram")
def both_grams_divided_and_the_loss(target, style_gram):
    n = target.numel()
    return F.mse_loss(gram_matrix(target) / n, style_gram / n) / n


@wrong("normalised-gram")
def only_the_target_gram_divided(target, style_gram):
    n = target.numel()
    return F.mse_loss(gram_matrix(target) / n, style_gram)


@wrong("normalised-gram")
def target_gram_divided_by_positions(target, style_gram):
    _, _, h, w = target.shape
    gram = gram_matrix(target) / (h * w)
    return F.mse_loss(gram, style_gram) / target.numel()


@wrong("normalised-gram", "wrong-division")
def difference_divided_before_the_square(target, style_gram):
    return (((gram_matrix(target) - style_gram) / target.numel()) ** 2).mean()


@wrong("sum-for-mean")
def sum_of_squares(target, style_gram):
    return torch.sum((gram_matrix(target) - style_gram) ** 2) / target.numel()


@wrong("sum-for-mean")
def sum_reduction(target, style_gram):
    _, c, h, w = target.shape
    return F.mse_loss(gram_matrix(target), style_gram, reduction="sum") / (c * h * w)


@wrong("sum-for-mean", "missing-division")
def sum_without_division(target, style_gram):
    return ((gram_matrix(target) - style_gram) ** 2).sum()


# ------------------------------------------------------------------- wrong: another formula


@wrong("absolute-difference")
def l1_of_the_grams(target, style_gram):
    return F.l1_loss(gram_matrix(target), style_gram) / target.numel()


@wrong("absolute-difference")
def mean_of_absolute_values(target, style_gram):
    return (gram_matrix(target) - style_gram).abs().mean() / target.numel()


@wrong("rooted")
def root_of_the_mean(target, style_gram):
    return torch.sqrt(F.mse_loss(gram_matrix(target), style_gram)) / target.numel()


@wrong("rooted")
def root_of_it_all(target, style_gram):
    return (F.mse_loss(gram_matrix(target), style_gram) / target.numel()).sqrt()


@wrong("rooted", "sum-for-mean")
def frobenius_norm(target, style_gram):
    return torch.norm(gram_matrix(target) - style_gram) / target.numel()


@wrong("difference-of-sums")
def mean_before_the_square(target, style_gram):
    return (gram_matrix(target) - style_gram).mean() ** 2 / target.numel()


@wrong("difference-of-sums")
def means_of_the_grams(target, style_gram):
    d = gram_matrix(target).mean() - style_gram.mean()
    return d * d / target.numel()


@wrong("difference-of-squares")
def squares_subtracted(target, style_gram):
    return torch.mean(gram_matrix(target) ** 2 - style_gram**2) / target.numel()


@wrong("other-power")
def square_forgotten(target, style_gram):
    return torch.mean(gram_matrix(target) - style_gram) / target.numel()


@wrong("other-power")
def squared_twice(target, style_gram):
    squared = (gram_matrix(target) - style_gram) ** 2
    return (squared**2).mean() / target.numel()


@wrong("negative")
def with_a_minus(target, style_gram):
    return -F.mse_loss(gram_matrix(target), style_gram) / target.numel()


@wrong("negative")
def one_minus_the_loss(target, style_gram):
    return 1 - F.mse_loss(gram_matrix(target), style_gram) / target.numel()


@wrong("halved")
def half_as_in_the_content_loss(target, style_gram):
    return 0.5 * F.mse_loss(gram_matrix(target), style_gram) / target.numel()


@wrong("doubled")
def twice(target, style_gram):
    difference = gram_matrix(target) - style_gram
    loss = difference.square().mean() + difference.T.square().mean()
    return loss / target.numel()


@wrong("one-sided")
def only_where_the_target_is_larger(target, style_gram):
    return F.relu(gram_matrix(target) - style_gram).pow(2).mean() / target.numel()


@wrong("relative")
def relative_to_the_style(target, style_gram):
    loss = F.mse_loss(gram_matrix(target), style_gram) / style_gram.square().mean()
    return loss / target.numel()


@wrong("not-a-difference")
def grams_added(target, style_gram):
    return torch.mean((gram_matrix(target) + style_gram) ** 2) / target.numel()


@wrong("one-side-ignored")
def style_never_used(target, style_gram):
    return torch.mean(gram_matrix(target) ** 2) / target.numel()


@wrong("transposed-gram", "raises")
def gram_of_positions_resized(target, style_gram):
    f = target[0].flatten(1)
    return F.mse_loss(f.T @ f, style_gram) / target.numel()


@wrong("transposed-gram")
def scrambled_view_in_the_gram(target, style_gram):
    _, c, h, w = target.shape
    f = target.reshape(h * w, c)
    return F.mse_loss(f.T @ f, style_gram) / target.numel()


@wrong("centred")
def centred_gram(target, style_gram):
    f = target[0].flatten(1)
    f = f - f.mean(1, keepdim=True)
    return F.mse_loss(f @ f.T, style_gram) / f.numel()


@wrong("triangle-only")
def upper_triangle_compared(target, style_gram):
    d = torch.triu(gram_matrix(target) - style_gram)
    return d.square().mean() / target.numel()


@wrong("diagonal-only")
def diagonals_compared(target, style_gram):
    d = (gram_matrix(target) - style_gram).diagonal()
    return d.square().mean() / target.numel()


@wrong("rectified")
def target_rectified_first(target, style_gram):
    return F.mse_loss(gram_matrix(target.relu()), style_gram) / target.numel()


@wrong("compares-features", "raises")
def gram_never_taken(target, style_gram):
    return F.mse_loss(target, style_gram) / target.numel()


@wrong("compares-features")
def maps_against_the_gram_broadcast(target, style_gram):
    energies = target.square().sum((2, 3))
    return torch.mean((energies - style_gram) ** 2) / target.numel()


@wrong("gram-taken-twice")
def gram_of_the_style_gram(target, style_gram):
    style = gram_matrix(style_gram[None, :, :, None])
    return F.mse_loss(gram_matrix(target), style) / target.numel()


# ------------------------------------------------------------ wrong: shape, type, gradient


@wrong("not-reduced")
def matrix_of_squares(target, style_gram):
    return (gram_matrix(target) - style_gram) ** 2 / target.numel()


@wrong("not-reduced", "wrong-shape")
def one_loss_for_each_channel(target, style_gram):
    return ((gram_matrix(target) - style_gram) ** 2).mean(1) / target.numel()


@wrong("wrong-shape")
def batch_axis_on_the_loss(target, style_gram):
    f = target.flatten(2)
    squared = (f @ f.transpose(1, 2) - style_gram) ** 2
    return squared.mean(dim=(1, 2)) / f.numel()


@wrong("wrong-type")
def python_float(target, style_gram):
    return float(F.mse_loss(gram_matrix(target), style_gram)) / target.numel()


@wrong("wrong-type")
def loss_and_gram(target, style_gram):
    gram = gram_matrix(target)
    return F.mse_loss(gram, style_gram) / target.numel(), gram


@wrong("detached")
def target_detached(target, style_gram):
    gram = gram_matrix(target.detach())
    return F.mse_loss(gram, style_gram) / target.numel()


@wrong("detached")
def target_gram_detached(target, style_gram):
    # the wrong one of the two is taken for the constant
    gram = gram_matrix(target).detach()
    return F.mse_loss(style_gram, gram) / target.numel()


@wrong("detached")
def half_of_the_gram_detached(target, style_gram):
    f = target[0].flatten(1)
    return F.mse_loss(f @ f.detach().T, style_gram) / f.numel()


@wrong("detached")
def gram_in_no_grad(target, style_gram):
    with torch.no_grad():
        gram = gram_matrix(target)
    return torch.mean((gram - style_gram) ** 2) / target.numel()


@wrong("detached", "wrong-type")
def item(target, style_gram):
    return F.mse_loss(gram_matrix(target), style_gram).item() / target.numel()


@wrong("wrong-dtype")
def in_float32(target, style_gram):
    return F.mse_loss(gram_matrix(target).float(), style_gram.float()) / target.numel()


@wrong("wrong-dtype")
def size_as_a_double_vector(target, style_gram):
    sizes = torch.tensor(target.shape, dtype=torch.float64, device=target.device)
    squared = (gram_matrix(target) - style_gram) ** 2
    return (squared / sizes.prod().reshape(1, 1)).mean()


@wrong("wrong-device")
def on_the_cpu(target, style_gram):
    return F.mse_loss(gram_matrix(target.cpu()), style_gram.cpu()) / target.numel()


# ----------------------------------------------------------------- wrong: inputs, sizes, state


@wrong("input-changed")
def style_gram_subtracted_in_place(target, style_gram):
    gram = gram_matrix(target)
    style_gram -= gram.detach()
    return F.mse_loss(gram, gram.detach() - style_gram) / target.numel()


@wrong("input-changed", "normalised-gram", "wrong-division")
def style_gram_divided_in_place(target, style_gram):
    style_gram /= target.numel()
    return F.mse_loss(gram_matrix(target) / target.numel(), style_gram)


@wrong("input-changed")
def target_flattened_through_data(target, style_gram):
    n = target.numel()
    target.data = target.data[0].flatten(1)
    return F.mse_loss(target @ target.T, style_gram) / n


@wrong("raises")
def batch_axis_forgotten(target, style_gram):
    d, h, w = target.shape
    return F.mse_loss(gram_matrix(target), style_gram) / (d * h * w)


@wrong("raises")
def global_gram_used(target, style_gram):
    # target_gram was a variable of the notebook once
    return F.mse_loss(target_gram, style_gram) / target.numel()  # noqa: F821


@wrong("hard-coded-size", "raises")
def squeeze_then_three_sizes(target, style_gram):
    c, h, w = target.squeeze().shape
    return F.mse_loss(gram_matrix(target), style_gram) / (c * h * w)


@wrong("constant")
def target_gram_against_itself(target, style_gram):
    gram = gram_matrix(target)
    style_gram = gram_matrix(target)
    return F.mse_loss(gram, style_gram) / target.numel()


@wrong("random")
def random_channels(target, style_gram):
    rows = torch.randint(len(style_gram), (len(style_gram),))
    d = (gram_matrix(target) - style_gram)[rows]
    return d.square().mean() / target.numel()


@wrong("shared-state")
def loss_accumulated_in_a_default(target, style_gram, losses=[]):  # noqa: B006
    losses.append(F.mse_loss(gram_matrix(target), style_gram) / target.numel())
    return sum(losses)


_grams = {}


@wrong("shared-state", "detached")
def gram_of_the_target_cached(target, style_gram):
    key = (target.shape, target.dtype, target.device)
    if key not in _grams:
        _grams[key] = gram_matrix(target)
    return F.mse_loss(_grams[key], style_gram) / target.numel()
