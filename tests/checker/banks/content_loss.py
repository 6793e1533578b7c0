"""Answers to content_loss(target, content): the mean squared difference, a scalar."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import right, wrong

# ---------------------------------------------------------------------------- right answers


@right
def lesson_with_mean_of_the_square(target, content):
    return torch.mean((target - content) ** 2)


@right
def functional_mse(target, content):
    return F.mse_loss(target, content)


@right
def module_mse(target, content):
    criterion = nn.MSELoss()
    loss = criterion(target, content)
    return loss


@right(build=True)
def the_criterion_itself():
    class ContentLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.mse = nn.MSELoss(reduction="mean")

        def forward(self, target, content):
            return self.mse(target, content)

    return ContentLoss()


@right
def pow_and_mean_methods(target, content):
    return (target - content).pow(2).mean()


@right
def arguments_the_other_way_round(target, content):
    difference = content - target
    return difference.square().mean()


@right
def sum_divided_by_numel(target, content):
    d = target.sub(content)
    return (d * d).sum() / d.numel()


@right
def sum_reduction_divided(target, content):
    n = 1
    for size in target.shape:
        n = n * size
    return F.mse_loss(target, content, reduction="sum") / n


@right
def sum_divided_by_the_four_sizes(target, content):
    b, c, h, w = target.size()
    return torch.sum(torch.pow(target - content, 2)) / (b * c * h * w)


@right
def squared_norm(target, content):
    return torch.norm(target - content) ** 2 / target.numel()


@right
def linalg_norm_of_the_flat_difference(target, content):
    length = torch.linalg.vector_norm((target - content).flatten())
    return length.pow(2).div(math.prod(target.shape))


@right
def dot_product(target, content):
    d = (target - content).reshape(-1)
    return torch.dot(d, d) / len(d)


@right
def einsum_to_a_scalar(target, content):
    d = target - content
    return torch.einsum("bchw,bchw->", d, d) / d.numel()


@right
def mean_axis_by_axis(target, content):
    loss = torch.square(target - content)
    while loss.dim() > 0:
        loss = loss.mean(dim=0)
    return loss


@right
def mean_over_named_axes(target, content):
    per_channel = (target - content).pow(2).mean(dim=(0, 2, 3))
    return per_channel.mean()


@right
def mean_of_the_channel_losses(target, content):
    losses = []
    for i in range(target.shape[1]):
        losses.append(F.mse_loss(target[:, i], content[:, i]))
    return sum(losses) / len(losses)


@right
def with_prints(target, content):
    print("target", target.shape, "content", content.shape)
    diff = target - content
    squared = diff * diff
    total = squared.sum()
    count = squared.numel()
    print("count", count)
    result = total / count
    return result


@right
def content_side_detached(target, content):
    # the content features are fixed: no gradient is needed there
    return F.mse_loss(target, content.detach())


@right
def unreduced_then_mean(target, content):
    return F.mse_loss(target, content, reduction="none").mean()


@right
def absolute_value_squared(target, content):
    return (target - content).abs().pow(2).mean()


@right
def variance_plus_squared_mean(target, content):
    d = target - content
    return d.var(correction=0) + d.mean() ** 2


@right
def twice_half_the_mean(target, content):
    half = 0.5 * torch.mean((target - content) ** 2)
    return half + half


@right
def addcmul_into_zeros(target, content):
    d = target - content
    return torch.addcmul(torch.zeros_like(d), d, d, value=1 / d.numel()).sum()


@right(build=True)
def as_a_lambda():
    return lambda target, content: ((target - content) ** 2).mean()


@right(build=True)
def as_a_partial():
    def distance(target, content, power):
        return ((target - content) ** power).mean()

    return functools.partial(distance, power=2)


# ------------------------------------------------------------------- wrong: not an answer yet


@wrong("not-written")
def stub(target, content):
    raise NotImplementedError("content_loss")


@wrong("not-written")
def only_computes(target, content):
    loss = torch.mean((target - content) ** 2)
    print(loss.shape)


@wrong("not-a-function", build=True)
def mse_class():
    return nn.MSELoss


@wrong("wrong-arguments")
def names_of_the_pictures(target_img, content_img):
    return F.mse_loss(target_img, content_img)


@wrong("wrong-arguments")
def weight_without_default(target, content, weight):
    return weight * F.mse_loss(target, content)


# ------------------------------------------------------------------- wrong: another formula


@wrong("sum-for-mean")
def sum_of_squares(target, content):
    return torch.sum((target - content) ** 2)


@wrong("sum-for-mean")
def sum_reduction(target, content):
    return nn.MSELoss(reduction="sum")(target, content)


@wrong("sum-for-mean", "halved")
def formula_of_the_paper(target, content):
    return 0.5 * torch.sum((target - content) ** 2)


@wrong("halved")
def half_the_mean(target, content):
    return 0.5 * ((target - content) ** 2).mean()


@wrong("halved")
def huber_with_a_large_delta(target, content):
    return F.huber_loss(target, content, delta=1e6)


@wrong("doubled")
def both_directions_added(target, content):
    return F.mse_loss(target, content) + F.mse_loss(content, target)


@wrong("doubled")
def factor_two_of_the_derivative(target, content):
    return 2 * torch.mean((target - content) ** 2)


@wrong("absolute-difference")
def l1_loss(target, content):
    return F.l1_loss(target, content)


@wrong("absolute-difference")
def mean_of_absolute_values(target, content):
    return torch.abs(target - content).mean()


@wrong("absolute-difference", "halved")
def smooth_l1(target, content):
    return F.smooth_l1_loss(target, content)


@wrong("absolute-difference", "sum-for-mean")
def sum_of_absolute_values(target, content):
    return (target - content).abs().sum()


@wrong("rooted")
def root_mean_square(target, content):
    return torch.sqrt(F.mse_loss(target, content))


@wrong("rooted")
def root_with_an_epsilon(target, content):
    return (F.mse_loss(target, content) + 1e-8) ** 0.5


@wrong("rooted", "wrong-division")
def norm_divided_by_numel(target, content):
    return torch.norm(target - content) / target.numel()


@wrong("rooted", "sum-for-mean")
def plain_distance(target, content):
    return torch.dist(target, content)


@wrong("difference-of-sums")
def square_of_the_mean(target, content):
    return torch.mean(target - content) ** 2


@wrong("difference-of-sums")
def difference_of_the_means_squared(target, content):
    return (target.mean() - content.mean()).pow(2)


@wrong("difference-of-sums")
def square_of_the_sum_divided(target, content):
    return (target - content).sum() ** 2 / target.numel()


@wrong("difference-of-sums")
def channel_means_compared(target, content):
    return F.mse_loss(target.mean((2, 3)), content.mean((2, 3)))


@wrong("difference-of-squares")
def squares_subtracted(target, content):
    return torch.mean(target**2 - content**2)


@wrong("difference-of-squares")
def bracket_in_the_wrong_place(target, content):
    return (target - content**2).mean()


@wrong("difference-of-squares")
def energies_compared(target, content):
    return (target.pow(2).mean() - content.pow(2).mean()).abs()


@wrong("other-power")
def never_squared(target, content):
    return (target - content).mean()


@wrong("other-power")
def times_two_for_squared(target, content):
    return ((target - content) * 2).mean()


@wrong("other-power")
def cubed(target, content):
    return ((target - content) ** 3).mean()


@wrong("other-power")
def squared_twice(target, content):
    return (F.mse_loss(target, content, reduction="none") ** 2).mean()


@wrong("other-power")
def mean_squared_again(target, content):
    return F.mse_loss(target, content).pow(2)


@wrong("negative")
def minus_sign_kept(target, content):
    return -F.mse_loss(target, content)


@wrong("not-reduced")
def map_of_squares(target, content):
    return (target - content) ** 2


@wrong("not-reduced")
def reduction_none(target, content):
    return F.mse_loss(target, content, reduction="none")


@wrong("not-reduced", "wrong-shape")
def one_loss_for_each_channel(target, content):
    return (target - content).pow(2).mean(dim=(2, 3))


@wrong("not-reduced", "wrong-shape")
def mean_over_the_last_axis(target, content):
    return torch.square(target - content).mean(-1)


@wrong("wrong-shape")
def one_loss_for_each_image(target, content):
    return (target - content).pow(2).flatten(1).mean(1)


@wrong("wrong-shape")
def vector_of_one(target, content):
    return F.mse_loss(target, content).reshape(1)


@wrong("wrong-shape")
def keepdim_mean(target, content):
    return ((target - content) ** 2).mean(dim=(0, 1, 2, 3), keepdim=True)


@wrong("wrong-division")
def divided_by_positions(target, content):
    _, _, h, w = target.shape
    return ((target - content) ** 2).sum() / (h * w)


@wrong("wrong-division")
def divided_by_channels(target, content):
    return ((target - content) ** 2).sum() / target.size(1)


@wrong("wrong-division")
def mean_divided_once_more(target, content):
    _, d, h, w = target.shape
    return F.mse_loss(target, content) / (d * h * w)


@wrong("wrong-division", "sum-for-mean")
def batchmean(target, content):
    return ((target - content) ** 2).sum() / target.shape[0]


@wrong("wrong-division", "sum-for-mean")
def divided_by_len(target, content):
    d = target - content
    return (d * d).sum() / len(d)


@wrong("wrong-division")
def divided_by_four_sizes_as_in_the_other_course(target, content):
    _, c, h, w = target.shape
    return ((target - content) ** 2).sum() / (4 * c * h * w)


@wrong("wrong-division")
def divided_by_one_less(target, content):
    d = target - content
    return d.square().sum() / max(d.numel() - 1, 1)


@wrong("square-assumed", "wrong-division")
def height_taken_twice(target, content):
    _, c, h, _w = target.shape
    return ((target - content) ** 2).sum() / (c * h * h)


@wrong("hard-coded-size", "wrong-division")
def sizes_of_conv4_2(target, content):
    return ((target - content) ** 2).sum() / (512 * 28 * 28)


@wrong("hard-coded-size", "raises")
def view_of_conv4_2(target, content):
    return F.mse_loss(target.reshape(512, -1), content.reshape(512, -1))


@wrong("relative")
def relative_to_the_content(target, content):
    return ((target - content) ** 2).mean() / (content**2).mean()


@wrong("relative", "not-finite")
def relative_element_by_element(target, content):
    return (((target - content) / content) ** 2).mean()


@wrong("relative")
def divided_by_the_largest(target, content):
    return ((target - content) ** 2).mean() / content.abs().max()


@wrong("relative")
def both_normalised_first(target, content):
    t = F.normalize(target.flatten(1))
    c = F.normalize(content.flatten(1))
    return F.mse_loss(t, c)


@wrong("relative")
def cosine_distance(target, content):
    return 1 - F.cosine_similarity(target.flatten(), content.flatten(), dim=0)


@wrong("one-sided")
def only_where_target_is_larger(target, content):
    return F.relu(target - content).pow(2).mean()


@wrong("one-sided")
def only_where_content_is_larger(target, content):
    return ((content - target).clamp(min=0) ** 2).mean()


@wrong("rectified")
def activations_rectified_first(target, content):
    return F.mse_loss(target.relu(), content.relu())


@wrong("rectified")
def clamped_to_pixels(target, content):
    return F.mse_loss(target.clamp(0, 1), content.clamp(0, 1))


@wrong("centred")
def variance_of_the_difference(target, content):
    return (target - content).var(correction=0)


@wrong("centred", "rooted")
def deviation_of_the_difference(target, content):
    return (target - content).std()


@wrong("not-a-difference")
def sum_of_the_activations(target, content):
    return torch.mean((target + content) ** 2)


@wrong("not-a-difference")
def product_of_the_activations(target, content):
    return (target * content).mean()


@wrong("one-side-ignored")
def energy_of_the_target(target, content):
    return target.pow(2).mean()


@wrong("one-side-ignored", "constant")
def target_compared_with_itself(target, content):
    return F.mse_loss(target, target)


@wrong("compares-grams")
def grams_compared(target, content):
    t, c = target[0].flatten(1), content[0].flatten(1)
    return F.mse_loss(t @ t.T, c @ c.T)


@wrong("other-reduction")
def largest_difference(target, content):
    return ((target - content) ** 2).max()


@wrong("other-reduction")
def median_difference(target, content):
    return ((target - content) ** 2).flatten().median()


@wrong("positions-missed")
def first_channel_only(target, content):
    return F.mse_loss(target[:, 0], content[:, 0])


# ------------------------------------------------------- wrong: gradient, type, dtype, device


@wrong("detached")
def target_detached(target, content):
    return F.mse_loss(target.detach(), content)


@wrong("detached")
def both_detached(target, content):
    target, content = target.detach(), content.detach()
    return torch.mean((target - content) ** 2)


@wrong("detached")
def in_no_grad(target, content):
    with torch.no_grad():
        loss = F.mse_loss(target, content)
    return loss


@wrong("detached")
def one_factor_detached(target, content):
    d = target - content
    return (d * d.detach()).mean()


@wrong("detached")
def tensor_from_item(target, content):
    return torch.tensor(F.mse_loss(target, content).item(), dtype=target.dtype)


@wrong("detached", "wrong-type")
def python_number(target, content):
    return F.mse_loss(target, content).item()


@wrong("wrong-type")
def python_float(target, content):
    return float(torch.mean((target - content) ** 2))


@wrong("detached", "wrong-type")
def numpy_mean(target, content):
    return np.mean((target.detach().numpy() - content.detach().numpy()) ** 2)


@wrong("wrong-type")
def list_of_one(target, content):
    return [F.mse_loss(target, content)]


@wrong("wrong-type")
def loss_and_difference(target, content):
    diff = target - content
    return (diff**2).mean(), diff


@wrong("wrong-dtype")
def float32_for_all(target, content):
    return F.mse_loss(target.float(), content.float())


@wrong("wrong-dtype")
def double_mean(target, content):
    return ((target - content) ** 2).mean(dtype=torch.float64)


@wrong("wrong-dtype", "wrong-device")
def accumulated_in_a_default_tensor(target, content):
    loss = torch.tensor(0.0)
    for t, c in zip(target[0], content[0], strict=True):
        loss += ((t - c) ** 2).sum()
    return loss / target.numel()


@wrong("wrong-device")
def moved_to_cpu(target, content):
    return F.mse_loss(target.cpu(), content.cpu())


@wrong("raises")
def misspelt_function(target, content):
    return F.mseloss(target, content)


@wrong("raises")
def criterion_given_the_tensors_to_build(target, content):
    return nn.MSELoss(target, content)


@wrong("changed-in-place", "raises")
def own_square_overwritten(target, content):
    # the value is right, but backward misses the overwritten factor
    d = target - content
    d *= d
    return d.mean()


@wrong("graph-used-twice", "raises")
def backward_inside(target, content):
    loss = F.mse_loss(target, content)
    loss.backward()
    return loss


# ----------------------------------------------------------------------- wrong: inputs, state


@wrong("input-changed")
def subtracted_in_place(target, content):
    with torch.no_grad():
        content -= target
    return (content**2).mean()


@wrong("input-changed")
def target_subtracted_in_place(target, content):
    target -= content
    return (target**2).mean()


@wrong("input-changed")
def content_marked_for_a_gradient(target, content):
    content.requires_grad = True
    return F.mse_loss(target, content)


@wrong("input-changed", "rectified")
def content_clamped_in_place(target, content):
    content = content.clamp_(min=0)
    return F.mse_loss(target, content)


@wrong("constant")
def always_zero(target, content):
    return (target - target).mean()


@wrong("random")
def random_sample_of_positions(target, content):
    d = (target - content).flatten()
    chosen = torch.randint(len(d), (len(d),))
    return d[chosen].square().mean()


@wrong("shared-state")
def losses_kept_as_a_default(target, content, losses=[]):  # noqa: B006
    losses.append(F.mse_loss(target, content))
    return sum(losses) / len(losses)


_content = {}


@wrong("shared-state")
def first_content_remembered(target, content):
    key = (content.shape, content.dtype, content.device)
    _content.setdefault(key, content.clone())
    return F.mse_loss(target, _content[key])


@wrong("added-constant")
def small_number_added(target, content):
    return F.mse_loss(target, content) + 1e-2
