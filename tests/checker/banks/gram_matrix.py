"""Answers to gram_matrix(tensor): (1, C, H, W) -> (C, C), not divided."""

from __future__ import annotations

import functools
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import right, wrong

# ---------------------------------------------------------------------------- right answers


@right
def lesson_with_view(tensor):
    _, d, h, w = tensor.size()
    tensor = tensor.view(d, h * w)
    gram = torch.mm(tensor, tensor.t())
    return gram


@right
def reshape_and_matmul(tensor):
    batch, channels, height, width = tensor.shape
    features = tensor.reshape(batch * channels, height * width)
    return torch.matmul(features, features.transpose(0, 1))


@right
def flatten_and_at(tensor):
    f = tensor[0].flatten(1)
    return f @ f.T


@right
def with_mT(tensor):
    f = tensor.flatten(start_dim=2).squeeze(0)
    return f @ f.mT


@right
def einsum_on_four_axes(tensor):
    return torch.einsum("bchw,bdhw->cd", tensor, tensor)


@right
def einsum_other_letters(tensor):
    x = tensor.squeeze(0)
    return torch.einsum("ixy,jxy->ij", x, x)


@right
def einsum_with_ellipsis(tensor):
    f = tensor.flatten(2)
    return torch.einsum("...ik,...jk->...ij", f, f)[0]


@right
def tensordot_over_positions(tensor):
    return torch.tensordot(tensor[0], tensor[0], dims=([1, 2], [1, 2]))


@right
def bmm_then_squeeze_the_batch(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f.transpose(1, 2)).squeeze(0)


@right
def baddbmm_onto_zeros(tensor):
    _, c, h, w = tensor.shape
    f = tensor.reshape(1, c, h * w)
    return torch.baddbmm(tensor.new_zeros(1, c, c), f, f.permute(0, 2, 1))[0]


@right
def linear_layer_of_itself(tensor):
    f = tensor.reshape(tensor.shape[1], -1)
    return F.linear(f, f)


@right
def inner_product(tensor):
    f = tensor[0].flatten(1)
    return torch.inner(f, f)


@right
def broadcast_and_sum(tensor):
    f = tensor[0]
    return (f.unsqueeze(1) * f.unsqueeze(0)).sum(dim=(2, 3))


@right
def one_row_of_the_gram_at_a_time(tensor):
    maps = tensor[0].flatten(1)
    rows = []
    for i in range(maps.size(0)):
        rows.append(torch.mv(maps, maps[i]))
    return torch.stack(rows)


@right
def one_row_of_the_picture_at_a_time(tensor):
    gram = 0
    for y in range(tensor.shape[2]):
        strip = tensor[0, :, y, :]
        gram = gram + strip @ strip.t()
    return gram


@right
def pixels_first_but_permuted(tensor):
    channels = tensor.shape[1]
    pixels = tensor.permute(0, 2, 3, 1).reshape(-1, channels)
    return pixels.T @ pixels


@right
def convolution_with_itself(tensor):
    maps = tensor.transpose(0, 1)
    return F.conv2d(maps, maps)[:, :, 0, 0]


@right
def verbose_with_prints(tensor):
    print("input", tensor.shape)
    # get the depth, height, and width
    (batch_size, depth, height, width) = tensor.size()
    # number of pixels in each feature map
    n_pixels = int(height) * int(width)
    features = tensor.reshape(depth, n_pixels)
    features_transposed = torch.transpose(features, 0, 1)
    gram = torch.matmul(features, features_transposed)
    assert gram.shape == (depth, depth)
    print("gram", gram.shape, "batch", batch_size)
    return gram


@right
def on_a_clone(tensor):
    copy = tensor.clone()
    copy = copy.contiguous().view(copy.shape[1], -1)
    return copy.mm(copy.t())


@right
def symmetric_half_sum(tensor):
    f = tensor[0].flatten(1)
    gram = f @ f.T
    return (gram + gram.T) / 2


@right
def divided_and_multiplied_back(tensor):
    _, c, h, w = tensor.shape
    f = tensor.reshape(c, h * w)
    normalised = f.mm(f.t()) / (c * h * w)
    return normalised * (c * h * w)


def _flatten_maps(activation):
    return activation.reshape(activation.shape[-3], -1)


@right
def with_a_helper(tensor):
    f = _flatten_maps(tensor)
    return torch.linalg.multi_dot([f, f.T])


@right(build=True)
def as_a_lambda():
    return lambda tensor: tensor[0].flatten(1) @ tensor[0].flatten(1).T


class _Gram(nn.Module):
    def forward(self, tensor):
        f = tensor.flatten(2)
        return (f @ f.transpose(-1, -2))[0]


@right(build=True)
def as_a_module():
    return _Gram()


def _gram_with_option(tensor, divide):
    f = tensor[0].flatten(1)
    gram = f @ f.T
    return gram / f.numel() if divide else gram


@right(build=True)
def as_a_partial():
    return functools.partial(_gram_with_option, divide=False)


@right
def vmapped_dot_products(tensor):
    f = tensor[0].flatten(1)
    against_all = torch.vmap(torch.dot, in_dims=(None, 0))
    return torch.vmap(against_all, in_dims=(0, None))(f, f)


# ------------------------------------------------------------------- wrong: not an answer yet


@wrong("not-written")
def only_pass(tensor):
    pass


@wrong("not-written")
def still_the_stub(tensor):
    raise NotImplementedError("your code here")


@wrong("not-written")
def forgot_to_return(tensor):
    f = tensor[0].flatten(1)
    gram = f @ f.T
    gram = gram.contiguous()


@wrong("not-written")
def returns_ellipsis(tensor):
    gram = ...
    return gram


@wrong("not-a-function", build=True)
def the_module_class():
    return _Gram


@wrong("not-a-function", build=True)
def the_result_of_a_call():
    f = torch.rand(3, 20)
    return f @ f.T


@wrong("wrong-arguments")
def asks_for_the_sizes(tensor, channels, height, width):
    f = tensor.reshape(channels, height * width)
    return f @ f.T


@wrong("wrong-arguments")
def takes_no_argument():
    f = torch.rand(1, 3, 4, 5)[0].flatten(1)
    return f @ f.T


@wrong("wrong-arguments")
def other_parameter_name(input_image):
    f = input_image[0].flatten(1)
    return f @ f.T


# ------------------------------------------------------------------- wrong: another formula


@wrong("transposed-product")
def pixels_by_pixels(tensor):
    _, d, h, w = tensor.size()
    f = tensor.reshape(d, h * w)
    return torch.mm(f.t(), f)


@wrong("transposed-product")
def pixels_by_pixels_einsum(tensor):
    f = tensor[0].flatten(1)
    return torch.einsum("ci,cj->ij", f, f)


@wrong("transposed-product")
def matmul_of_the_last_two_axes(tensor):
    return torch.matmul(tensor, tensor.transpose(2, 3))


@wrong("scrambled-view")
def viewed_as_pixels_by_channels(tensor):
    _, d, h, w = tensor.size()
    f = tensor.reshape(h * w, d)
    return torch.mm(f.t(), f)


@wrong("scrambled-view")
def viewed_as_height_width_channels(tensor):
    _, d, h, w = tensor.shape
    f = tensor.reshape(h, w, d).permute(2, 0, 1).flatten(1)
    return f @ f.T


@wrong("scrambled-view")
def right_factor_viewed_not_transposed(tensor):
    _, d, h, w = tensor.shape
    f = tensor.reshape(d, h * w)
    g = tensor.reshape(h * w, d)
    return f @ g


@wrong("divided")
def divided_by_everything(tensor):
    _, d, h, w = tensor.size()
    f = tensor.reshape(d, h * w)
    return torch.mm(f, f.t()) / (d * h * w)


@wrong("divided")
def divided_by_positions(tensor):
    _, d, h, w = tensor.shape
    f = tensor.reshape(d, h * w)
    return torch.mm(f, f.t()).div(h * w)


@wrong("divided")
def divided_by_channels(tensor):
    f = tensor[0].flatten(1)
    return f @ f.T / len(f)


@wrong("divided")
def divided_by_channels_squared(tensor):
    f = tensor[0].flatten(1)
    gram = f @ f.T
    return gram / gram.numel()


@wrong("divided")
def mean_over_positions(tensor):
    f = tensor[0].flatten(1)
    return (f[:, None] * f[None]).mean(-1)


@wrong("divided")
def divided_by_its_largest_value(tensor):
    f = tensor[0].flatten(1)
    gram = f @ f.T
    return gram / gram.abs().max()


@wrong("divided")
def divided_by_two_as_in_covariance_notes(tensor):
    f = tensor[0].flatten(1)
    return 0.5 * f @ f.T


@wrong("divided")
def unbiased_divisor(tensor):
    f = tensor[0].flatten(1)
    return f @ f.T / max(f.shape[1] - 1, 1)


@wrong("divided")
def root_of_the_size_on_each_factor(tensor):
    f = tensor[0].flatten(1)
    f = f / f.shape[1] ** 0.5
    return f @ f.T


@wrong("divided", "one-argument-only")
def squares_the_mean_maps(tensor):
    means = tensor.mean(dim=(2, 3))[0]
    return torch.outer(means, means)


@wrong("one-argument-only")
def sums_before_multiplying(tensor):
    s = tensor[0].flatten(1).sum(1)
    return s[:, None] * s[None, :]


@wrong("one-argument-only")
def sum_of_maps_repeated(tensor):
    f = tensor[0].flatten(1)
    return f @ torch.ones_like(f).T


@wrong("centred")
def mean_removed_first(tensor):
    f = tensor[0].flatten(1)
    f = f - f.mean(dim=1, keepdim=True)
    return f @ f.T


@wrong("centred")
def mean_of_all_removed(tensor):
    f = tensor[0].flatten(1)
    f = f - f.mean()
    return f @ f.T


@wrong("centred", "divided")
def covariance(tensor):
    f = tensor[0].flatten(1)
    return torch.cov(f, correction=0).reshape(len(f), len(f))


@wrong("normalised-rows", "centred")
def correlation(tensor):
    f = tensor[0].flatten(1)
    return torch.corrcoef(f).reshape(len(f), len(f))


@wrong("normalised-rows")
def cosine_between_maps(tensor):
    f = F.normalize(tensor[0].flatten(1), dim=1)
    return f @ f.T


@wrong("normalised-rows")
def softmax_of_the_maps(tensor):
    f = tensor[0].flatten(1).softmax(dim=1)
    return f @ f.T


@wrong("elementwise-product")
def star_for_at(tensor):
    f = tensor[0].flatten(1)
    return f * f


@wrong("elementwise-product", "diagonal-only")
def energy_of_each_map(tensor):
    f = tensor[0].flatten(1)
    return (f * f).sum(dim=1)


@wrong("diagonal-only")
def only_the_diagonal_filled(tensor):
    f = tensor[0].flatten(1)
    return torch.diag((f**2).sum(1))


@wrong("diagonal-only")
def diagonal_of_the_right_gram(tensor):
    f = tensor[0].flatten(1)
    return (f @ f.T).diagonal()


@wrong("triangle-only")
def upper_triangle(tensor):
    f = tensor[0].flatten(1)
    return torch.triu(f @ f.T)


@wrong("triangle-only")
def lower_rows_never_mirrored(tensor):
    f = tensor[0].flatten(1)
    rows = []
    for i in range(len(f)):
        row = f[: i + 1] @ f[i]
        rows.append(F.pad(row, (0, len(f) - i - 1)))
    return torch.stack(rows)


@wrong("doubled", "diagonal-only")
def mirrored_triangle_counts_the_diagonal_twice(tensor):
    f = tensor[0].flatten(1)
    upper = torch.triu(f @ f.T)
    return upper + upper.T


@wrong("doubled")
def added_to_its_transpose(tensor):
    f = tensor[0].flatten(1)
    gram = f @ f.T
    gram = gram + gram.t()
    return gram


@wrong("root")
def root_of_the_result(tensor):
    f = tensor[0].flatten(1)
    return (f @ f.T).abs().sqrt()


@wrong("root")
def root_with_its_sign(tensor):
    f = tensor[0].flatten(1)
    gram = f @ f.T
    return torch.sign(gram) * gram.abs() ** 0.5


@wrong("absolute")
def absolute_result(tensor):
    f = tensor[0].flatten(1)
    return (f @ f.T).abs()


@wrong("absolute")
def absolute_maps(tensor):
    f = torch.abs(tensor[0].flatten(1))
    return f @ f.T


@wrong("rectified")
def relu_first(tensor):
    f = F.relu(tensor)[0].flatten(1)
    return f @ f.T


@wrong("rectified")
def clamped_to_pixels(tensor):
    f = tensor.clamp(0, 1)[0].flatten(1)
    return f @ f.T


@wrong("rectified")
def negative_entries_dropped(tensor):
    f = tensor[0].flatten(1)
    return (f @ f.T).clamp(min=0)


@wrong("other-power")
def maps_squared_first(tensor):
    f = tensor[0].flatten(1) ** 2
    return f @ f.T


@wrong("gram-taken-twice")
def gram_of_the_gram(tensor):
    f = tensor[0].flatten(1)
    gram = f @ f.T
    return gram @ gram.T


@wrong("positions-missed")
def range_one_row_short(tensor):
    gram = 0
    for y in range(max(tensor.shape[2] - 1, 1)):
        gram = gram + tensor[0, :, y] @ tensor[0, :, y].T
    return gram


@wrong("positions-missed")
def every_other_position(tensor):
    f = tensor[0, :, ::2, ::2].flatten(1)
    return f @ f.T


@wrong("positions-missed")
def last_strip_only(tensor):
    for y in range(tensor.shape[2]):
        strip = tensor[0, :, y]
        gram = strip @ strip.T
    return gram


# ------------------------------------------------------------------------- wrong: shape, type


@wrong("keeps-batch")
def batch_axis_left(tensor):
    f = tensor.flatten(2)
    return f @ f.transpose(1, 2)


@wrong("keeps-batch")
def batch_axis_added_back(tensor):
    f = tensor[0].flatten(1)
    return (f @ f.T).unsqueeze(0)


@wrong("not-reduced", "wrong-shape")
def products_never_summed(tensor):
    f = tensor[0].flatten(1)
    return f[:, None] * f[None]


@wrong("wrong-shape")
def flattened_result(tensor):
    f = tensor[0].flatten(1)
    return (f @ f.T).flatten()


@wrong("wrong-shape")
def squeezed_too_much(tensor):
    # a single map gives a number and not a 1 x 1 matrix
    f = tensor.flatten(2)
    return torch.bmm(f, f.transpose(1, 2)).squeeze()


@wrong("wrong-shape", "wrong-type")
def summed_to_a_scalar(tensor):
    f = tensor[0].flatten(1)
    return (f @ f.T).sum()


@wrong("wrong-type")
def tuple_with_the_channels(tensor):
    f = tensor[0].flatten(1)
    return f @ f.T, f.shape[0]


@wrong("wrong-type")
def list_of_rows(tensor):
    f = tensor[0].flatten(1)
    return [f @ row for row in f]


# ------------------------------------------------------------ wrong: gradient, dtype, device


@wrong("detached", "wrong-type")
def through_numpy(tensor):
    f = tensor.detach().cpu().numpy()[0]
    f = f.reshape(f.shape[0], -1)
    return np.dot(f, f.T)


@wrong("detached")
def through_numpy_and_back(tensor):
    f = tensor[0].flatten(1).detach().numpy()
    return torch.from_numpy(f @ f.T)


@wrong("detached")
def detached_first(tensor):
    f = tensor.detach()[0].flatten(1)
    return f @ f.T


@wrong("detached")
def data_attribute(tensor):
    f = tensor.data[0].flatten(1)
    return f @ f.T


@wrong("detached")
@torch.no_grad()
def decorated_with_no_grad(tensor):
    f = tensor[0].flatten(1)
    return f @ f.T


@wrong("detached")
def result_wrapped_in_a_new_tensor(tensor):
    f = tensor[0].flatten(1)
    return torch.tensor((f @ f.T).tolist(), dtype=tensor.dtype)


@wrong("detached")
def one_factor_detached(tensor):
    f = tensor[0].flatten(1)
    return f @ f.T.detach()


@wrong("detached")
def detached_and_asked_again(tensor):
    f = tensor.clone().detach().requires_grad_(True)[0].flatten(1)
    return f @ f.T


@wrong("wrong-dtype")
def always_float32(tensor):
    f = tensor.float()[0].flatten(1)
    return f @ f.T


@wrong("wrong-dtype")
def always_float64(tensor):
    f = tensor.double()[0].flatten(1)
    return f @ f.T


@wrong("wrong-dtype")
def sum_in_double(tensor):
    f = tensor[0]
    return (f[:, None] * f[None]).sum((2, 3), dtype=torch.float64)


@wrong("wrong-device")
def moved_to_the_cpu(tensor):
    f = tensor.cpu()[0].flatten(1)
    return f @ f.T


@wrong("wrong-device")
def sent_to_a_chosen_device(tensor):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    f = tensor[0].flatten(1)
    return (f @ f.T).to(device)


@wrong("wrong-dtype", "wrong-device")
def rows_copied_into_fresh_zeros(tensor):
    _, c, _, _ = tensor.shape
    f = tensor[0].flatten(1)
    gram = torch.zeros(c, c)
    for i in range(c):
        gram[i] = f @ f[i]
    return gram


# --------------------------------------------------------------- wrong: arguments, sizes, state


@wrong("input-changed")
def resized_in_place(tensor):
    _, d, h, w = tensor.size()
    with torch.no_grad():
        tensor.resize_(d, h * w)
    return tensor @ tensor.t()


@wrong("input-changed")
def squeezed_in_place(tensor):
    f = tensor.squeeze_(0).flatten(1)
    return f @ f.T


@wrong("input-changed", "rectified")
def relu_in_place(tensor):
    f = F.relu(tensor, inplace=True)[0].flatten(1)
    return f @ f.T


@wrong("input-changed")
def asks_the_input_for_a_gradient(tensor):
    tensor.requires_grad_(True)
    f = tensor[0].flatten(1)
    return f @ f.T


@wrong("input-changed", "divided")
def divided_in_place_before(tensor):
    tensor /= tensor.shape[1]
    f = tensor[0].flatten(1)
    return f @ f.T


@wrong("square-assumed")
def height_times_height(tensor):
    _, d, h, _w = tensor.size()
    f = tensor.reshape(d, h * h)
    return f @ f.t()


@wrong("square-assumed")
def square_root_of_the_positions(tensor):
    _, d, h, _ = tensor.shape
    f = tensor.reshape(d, h, h).flatten(1)
    return torch.mm(f, f.t())


@wrong("square-assumed", "positions-missed", "raises")
def columns_counted_for_rows(tensor):
    gram = 0
    for y in range(tensor.shape[3]):
        strip = tensor[0, :, y, :]
        gram = gram + strip @ strip.T
    return gram


@wrong("square-assumed", "scrambled-view")
def columns_against_rows(tensor):
    f = tensor[0].flatten(1)
    g = tensor[0].transpose(1, 2).flatten(1)
    return f @ g.T


@wrong("hard-coded-size")
def first_layer_channels(tensor):
    f = tensor.reshape(64, -1)
    return f @ f.T


@wrong("hard-coded-size")
def picture_channels(tensor):
    rows = []
    for i in range(3):
        rows.append((tensor[0] * tensor[0, i]).sum(dim=(1, 2)))
    return torch.stack(rows)


@wrong("hard-coded-size")
def hard_coded_map_size(tensor):
    f = tensor.reshape(tensor.shape[1], 28 * 28)
    return f @ f.T


@wrong("hard-coded-size", "raises")
def squeeze_breaks_single_channels(tensor):
    # one map squeezes to (H, W), and the three names do not match
    c, h, w = tensor.squeeze().shape
    f = tensor.reshape(c, h * w)
    return f @ f.T


@wrong("raises")
def unpacks_three_sizes(tensor):
    d, h, w = tensor.size()
    f = tensor.reshape(d, h * w)
    return f @ f.T


@wrong("raises")
def inner_sizes_do_not_match(tensor):
    _, d, h, w = tensor.size()
    f = tensor.reshape(d, h * w)
    return torch.mm(f, f.reshape(h * w, d).t())


@wrong("raises")
def misspelt_method(tensor):
    f = tensor[0].flaten(1)
    return f @ f.T


@wrong("scrambled-view", "memory-layout")
def strides_taken_for_granted(tensor):
    # right for contiguous memory only
    _, c, h, w = tensor.shape
    f = torch.as_strided(tensor, (c, h * w), (h * w, 1))
    return f @ f.T


@wrong("constant")
def identity_of_the_right_size(tensor):
    return torch.eye(tensor.shape[1], dtype=tensor.dtype, device=tensor.device)


@wrong("constant", "detached")
def zeros_never_filled(tensor):
    c = tensor.shape[1]
    gram = tensor.new_zeros(c, c)
    for i in range(c):
        row = tensor[0].flatten(1) @ tensor[0, i].flatten()
        gram[i].add(row)
    return gram


@wrong("random")
def random_positions(tensor):
    f = tensor[0].flatten(1)
    chosen = random.choices(range(f.shape[1]), k=f.shape[1])
    return f[:, chosen] @ f[:, chosen].T


@wrong("random")
def with_dropout(tensor):
    f = F.dropout(tensor, 0.5)[0].flatten(1)
    return f @ f.T


_seen = {}


@wrong("shared-state", "constant")
def remembers_the_first_tensor_of_a_shape(tensor):
    key = (tensor.shape, tensor.dtype, tensor.device)
    if key not in _seen:
        f = tensor[0].flatten(1)
        _seen[key] = f @ f.T
    return _seen[key]


@wrong("added-constant")
def ridge_on_the_diagonal(tensor):
    f = tensor[0].flatten(1)
    return f @ f.T + 0.01 * torch.eye(len(f), dtype=f.dtype, device=f.device)
