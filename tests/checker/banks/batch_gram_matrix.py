"""Answers to batch_gram_matrix(tensor): (B, C, H, W) -> (B, C, C), not divided, images apart."""

from __future__ import annotations

import functools
import operator

import torch
import torch.nn.functional as F
from torch import nn

from . import right, wrong

# ---------------------------------------------------------------------------- right answers


@right
def bmm_on_views(tensor):
    b, c, h, w = tensor.size()
    features = tensor.view(b, c, h * w)
    return torch.bmm(features, features.transpose(1, 2))


@right
def flatten_and_mT(tensor):
    f = tensor.flatten(2)
    return f @ f.mT


@right
def matmul_with_permute(tensor):
    f = tensor.reshape(tensor.shape[0], tensor.shape[1], -1)
    return torch.matmul(f, f.permute(0, 2, 1))


@right
def einsum_four_axes(tensor):
    return torch.einsum("bchw,bdhw->bcd", tensor, tensor)


@right
def einsum_nij(tensor):
    x = tensor.flatten(start_dim=-2)
    gram = torch.einsum("nik,njk->nij", [x, x])
    return gram


@right
def einsum_on_pixels_last(tensor):
    x = tensor.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.einsum("bpc,bpd->bcd", x, x)


@right
def stacked_in_a_loop(tensor):
    grams = []
    for image in tensor:
        f = image.flatten(1)
        grams.append(f @ f.t())
    return torch.stack(grams)


def _gram(activation):
    _, c, h, w = activation.shape
    f = activation.reshape(c, h * w)
    return f.mm(f.t())


@right
def concatenated_single_grams(tensor):
    return torch.cat([_gram(one).unsqueeze(0) for one in tensor.split(1)], dim=0)


@right
def vmap_of_the_single_gram(tensor):
    def gram(image):
        f = image.flatten(1)
        return f @ f.T

    return torch.vmap(gram)(tensor)


@right
def index_of_each_image(tensor):
    result = []
    i = 0
    while i < tensor.shape[0]:
        result += [_gram(tensor[i : i + 1])]
        i += 1
    return torch.stack(tuple(result), 0)


@right
def baddbmm_without_its_input(tensor):
    b, c, _, _ = tensor.shape
    f = tensor.flatten(2)
    empty = torch.zeros(b, c, c, dtype=f.dtype, device=f.device)
    return torch.baddbmm(empty, f, f.transpose(2, 1), beta=0)


@right
def broadcast_and_sum(tensor):
    return (tensor[:, :, None] * tensor[:, None]).sum(dim=(-1, -2))


@right
def rows_of_the_picture_added(tensor):
    strips = tensor.unbind(2)
    return functools.reduce(operator.add, (s @ s.transpose(1, 2) for s in strips))


@right
def filled_into_zeros_of_the_input(tensor):
    b, c, _, _ = tensor.shape
    grams = tensor.new_zeros(b, c, c)
    for n in range(b):
        f = tensor[n].flatten(1)
        grams[n] = torch.mm(f, f.T)
    return grams


@right
def grouped_convolution(tensor):
    b, c, h, w = tensor.shape
    # each image is a group: its maps are at once the input and the filters
    maps = tensor.transpose(0, 1)
    filters = tensor.reshape(b * c, 1, h, w)
    out = F.conv2d(maps, filters, groups=b)
    return out.reshape(c, b, c).transpose(0, 1)


@right
def linear_for_each(tensor):
    flat = [image.flatten(1) for image in tensor]
    return torch.stack(list(map(F.linear, flat, flat)))


@right
def prints_a_lot(tensor):
    print("shape of the batch:", tensor.shape)
    B, C, H, W = tensor.shape
    X = tensor.reshape((B, C, H * W))
    print(X.shape)
    G = X.matmul(X.transpose(-2, -1))
    print(G.shape, G.dtype)
    return G


@right
def tensordot_for_each_image(tensor):
    return torch.stack([torch.tensordot(x, x, ([1, 2], [1, 2])) for x in tensor], dim=0)


@right
def picks_the_blocks_of_the_big_gram(tensor):
    b, c, _, _ = tensor.shape
    f = tensor.flatten(0, 1).flatten(1)
    big = (f @ f.T).reshape(b, c, b, c)
    return torch.stack([big[i, :, i] for i in range(b)])


@right(build=True)
def as_a_lambda():
    return lambda tensor: tensor.flatten(2) @ tensor.flatten(2).transpose(1, 2)


class _BatchGram(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten(2)

    def forward(self, tensor):
        f = self.flatten(tensor)
        return torch.bmm(f, f.permute(0, 2, 1))


@right(build=True)
def as_a_module():
    return _BatchGram()


@right(build=True)
def as_a_partial():
    def gram(tensor, equation):
        return torch.einsum(equation, tensor, tensor)

    return functools.partial(gram, equation="nchw,nkhw->nck")


# ------------------------------------------------------------------- wrong: not an answer yet


@wrong("not-written")
def stub(tensor):
    raise NotImplementedError


@wrong("not-written")
def nothing_returned(tensor):
    f = tensor.flatten(2)
    torch.bmm(f, f.transpose(1, 2))


@wrong("not-written", "not-a-function", build=True)
def none_in_place_of_a_function():
    return None


@wrong("not-a-function", build=True)
def module_class_not_instance():
    return _BatchGram


@wrong("wrong-arguments")
def wants_the_batch_size_too(tensor, batch_size):
    f = tensor.reshape(batch_size, tensor.shape[1], -1)
    return f @ f.transpose(1, 2)


@wrong("wrong-arguments")
def parameter_called_batch(batch):
    f = batch.flatten(2)
    return f @ f.transpose(1, 2)


# ------------------------------------------------------------------- wrong: the batch mishandled


@wrong("images-mixed")
def one_big_matrix(tensor):
    b, c, h, w = tensor.size()
    f = tensor.reshape(b * c, h * w)
    return torch.mm(f, f.t())


@wrong("images-mixed")
def big_matrix_cut_by_view(tensor):
    b, c, h, w = tensor.size()
    f = tensor.reshape(b * c, h * w)
    gram = f @ f.t()
    return gram.reshape(b, c, b, c)[:, :, 0]


@wrong("images-mixed")
def every_image_with_every_image(tensor):
    f = tensor.flatten(2)
    return torch.einsum("acp,bdp->acd", f, f)


@wrong("images-mixed")
def tensordot_over_all_pairs(tensor):
    return torch.tensordot(tensor, tensor, dims=([2, 3], [2, 3]))


@wrong("images-mixed")
def flattened_from_axis_one(tensor):
    f = tensor.flatten(1)
    return f @ f.T


@wrong("images-mixed")
def each_against_the_first(tensor):
    f = tensor.flatten(2)
    return f @ f[0].T


@wrong("images-mixed", "transposed-product")
def transposed_the_wrong_pair(tensor):
    # permute(1, 0, 2): for every channel, images by images
    f = tensor.flatten(2).transpose(0, 1)
    return f @ f.transpose(1, 2)


@wrong("images-mixed")
def neighbour_in_the_batch(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f.flip(0).transpose(1, 2))


@wrong("images-mixed", "scrambled-view")
def channels_and_batch_exchanged_by_view(tensor):
    b, c, h, w = tensor.shape
    f = tensor.transpose(0, 1).reshape(b, c, h * w)
    return f @ f.transpose(1, 2)


@wrong("first-image-only")
def only_image_zero(tensor):
    f = tensor[0].flatten(1)
    return f @ f.T


@wrong("first-image-only")
def only_image_zero_with_batch_axis(tensor):
    f = tensor[:1].flatten(2)
    return f @ f.transpose(1, 2)


@wrong("first-image-only")
def return_inside_the_loop(tensor):
    grams = []
    for image in tensor:
        f = image.flatten(1)
        grams.append(f @ f.T)
        return torch.stack(grams)


@wrong("first-image-only")
def first_image_repeated(tensor):
    f = tensor[0].flatten(1)
    gram = f @ f.T
    return torch.stack([gram for _ in tensor])


@wrong("first-image-only")
def last_image_wins(tensor):
    for image in tensor:
        f = image.flatten(1)
        gram = f @ f.T
    return gram.unsqueeze(0).repeat(len(tensor), 1, 1)


@wrong("summed-over-batch")
def summed_over_the_images(tensor):
    return torch.einsum("bchw,bdhw->cd", tensor, tensor)


@wrong("summed-over-batch")
def accumulated_and_given_to_all(tensor):
    total = 0
    grams = []
    for image in tensor:
        f = image.flatten(1)
        total = total + f @ f.T
        grams.append(total)
    return torch.stack(grams)


@wrong("averaged-over-batch")
def averaged_over_the_images(tensor):
    f = tensor.flatten(2)
    return (f @ f.transpose(1, 2)).mean(0)


@wrong("averaged-over-batch")
def average_with_batch_axis(tensor):
    f = tensor.flatten(2)
    return (f @ f.transpose(1, 2)).mean(0, keepdim=True)


@wrong("averaged-over-batch", "divided")
def divided_by_the_batch_size(tensor):
    f = tensor.flatten(2)
    return f @ f.transpose(1, 2) / tensor.shape[0]


@wrong("wrong-shape")
def concatenated_without_an_axis(tensor):
    return torch.cat([_gram(x[None]) for x in tensor])


@wrong("wrong-shape")
def stacked_along_the_last_axis(tensor):
    return torch.stack([_gram(x[None]) for x in tensor], dim=-1)


@wrong("wrong-shape")
def stacked_along_axis_one(tensor):
    return torch.stack([_gram(x[None]) for x in tensor], dim=1)


@wrong("wrong-shape")
def squeezes_a_batch_of_one(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f.transpose(1, 2)).squeeze(0)


@wrong("wrong-shape")
def squeezes_whatever_is_one(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f.transpose(1, 2)).squeeze()


@wrong("wrong-shape")
def single_image_treated_apart(tensor):
    if tensor.shape[0] == 1:
        return _gram(tensor)
    f = tensor.flatten(2)
    return f @ f.transpose(1, 2)


@wrong("wrong-shape")
def one_axis_too_many(tensor):
    f = tensor.flatten(2)
    return (f @ f.transpose(1, 2)).unsqueeze(1)


@wrong("wrong-type")
def list_of_grams(tensor):
    return [_gram(x) for x in tensor.split(1)]


@wrong("wrong-type")
def generator_of_grams(tensor):
    return (_gram(x) for x in tensor.split(1))


@wrong("wrong-type")
def dictionary_by_image(tensor):
    return {i: _gram(x) for i, x in enumerate(tensor.split(1))}


@wrong("hard-coded-size", "raises")
def single_gram_called_on_the_batch(tensor):
    # the answer to gram_matrix again: it reads a batch of one only
    _, c, h, w = tensor.size()
    f = tensor.reshape(c, h * w)
    return (f @ f.t()).unsqueeze(0)


@wrong("hard-coded-size")
def two_images_exactly(tensor):
    first, second = tensor
    return torch.stack([_gram(first[None]), _gram(second[None])])


@wrong("hard-coded-size")
def three_channels_exactly(tensor):
    f = tensor.reshape(tensor.shape[0], 3, -1)
    return f @ f.transpose(1, 2)


@wrong("hard-coded-size", "images-mixed", "scrambled-view")
def batch_axis_guessed_by_minus_one(tensor):
    # an image more or less hides in the -1: the sizes come out of a view of 4 channels
    f = tensor.reshape(-1, 4, tensor.shape[2] * tensor.shape[3])
    return f @ f.transpose(1, 2)


# ------------------------------------------------------------------- wrong: another formula


@wrong("transposed-product")
def positions_by_positions(tensor):
    f = tensor.flatten(2)
    return f.transpose(1, 2) @ f


@wrong("transposed-product")
def einsum_over_channels(tensor):
    f = tensor.flatten(2)
    return torch.einsum("bci,bcj->bij", f, f)


@wrong("transposed-product", "wrong-shape")
def matmul_of_the_maps(tensor):
    return tensor @ tensor.transpose(-1, -2)


@wrong("scrambled-view")
def pixels_by_channels_view(tensor):
    b, c, h, w = tensor.shape
    f = tensor.reshape(b, h * w, c)
    return f.transpose(1, 2) @ f


@wrong("scrambled-view")
def reshaped_in_place_of_transposed(tensor):
    b, c, h, w = tensor.shape
    f = tensor.reshape(b, c, h * w)
    return torch.bmm(f, f.reshape(b, h * w, c))


@wrong("divided")
def divided_by_channels_and_positions(tensor):
    _b, c, h, w = tensor.size()
    f = tensor.flatten(2)
    return torch.bmm(f, f.transpose(1, 2)) / (c * h * w)


@wrong("divided")
def divided_by_the_positions(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f.transpose(1, 2)).div(f.size(-1))


@wrong("divided", "averaged-over-batch")
def divided_by_all_elements(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f.transpose(1, 2)) / f.numel()


@wrong("divided")
def mean_in_place_of_sum(tensor):
    return (tensor[:, :, None] * tensor[:, None]).mean((-1, -2))


@wrong("centred")
def mean_map_removed(tensor):
    f = tensor.flatten(2)
    f = f - f.mean(-1, keepdim=True)
    return f @ f.transpose(1, 2)


@wrong("centred", "images-mixed")
def mean_image_removed(tensor):
    f = (tensor - tensor.mean(0)).flatten(2)
    return f @ f.transpose(1, 2)


@wrong("normalised-rows")
def unit_length_maps(tensor):
    f = F.normalize(tensor.flatten(2), dim=-1)
    return f @ f.transpose(1, 2)


@wrong("elementwise-product")
def squared_maps(tensor):
    f = tensor.flatten(2)
    return f * f


@wrong("diagonal-only")
def energies_only(tensor):
    return tensor.square().sum((2, 3))


@wrong("diagonal-only")
def energies_on_the_diagonal(tensor):
    return torch.diag_embed(tensor.square().sum((2, 3)))


@wrong("triangle-only")
def lower_triangle(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f.transpose(1, 2)).tril()


@wrong("doubled")
def plus_its_transpose(tensor):
    f = tensor.flatten(2)
    gram = f @ f.transpose(1, 2)
    return gram + gram.transpose(1, 2)


@wrong("root")
def root_of_the_grams(tensor):
    f = tensor.flatten(2)
    return (f @ f.transpose(1, 2)).clamp(min=0).sqrt()


@wrong("absolute")
def absolute_grams(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f.transpose(1, 2)).abs()


@wrong("rectified")
def rectified_maps(tensor):
    f = tensor.relu().flatten(2)
    return f @ f.transpose(1, 2)


@wrong("one-argument-only")
def outer_product_of_sums(tensor):
    s = tensor.sum((2, 3))
    return torch.einsum("bi,bj->bij", s, s)


@wrong("positions-missed")
def first_row_of_the_picture_only(tensor):
    strip = tensor[:, :, 0]
    return strip @ strip.transpose(1, 2)


@wrong("square-assumed")
def height_taken_twice(tensor):
    b, c, h, _ = tensor.shape
    f = tensor.reshape(b, c, h * h)
    return f @ f.transpose(1, 2)


# ------------------------------------------------------------ wrong: gradient, dtype, device


@wrong("detached")
def detached(tensor):
    f = tensor.detach().flatten(2)
    return f @ f.transpose(1, 2)


@wrong("detached")
def inside_no_grad(tensor):
    with torch.no_grad():
        f = tensor.flatten(2)
        gram = torch.bmm(f, f.transpose(1, 2))
    return gram


@wrong("detached")
def one_side_detached(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f.detach().transpose(1, 2))


@wrong("detached")
def other_images_detached(tensor):
    grams = [_gram(tensor[:1])]
    grams += [_gram(x.detach()) for x in tensor.split(1)[1:]]
    return torch.stack(grams)


@wrong("detached")
def copied_by_torch_tensor(tensor):
    return torch.tensor([_gram(x).tolist() for x in tensor.split(1)], dtype=tensor.dtype)


@wrong("wrong-dtype")
def cast_to_float(tensor):
    f = tensor.flatten(2).float()
    return f @ f.transpose(1, 2)


@wrong("wrong-dtype", "wrong-device")
def collected_in_default_zeros(tensor):
    b, c, _, _ = tensor.shape
    grams = torch.zeros(b, c, c)
    for i in range(b):
        f = tensor[i].flatten(1)
        grams[i] = f @ f.T
    return grams


@wrong("wrong-device")
def brought_to_the_cpu(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f.transpose(1, 2)).cpu()


@wrong("wrong-dtype", "raises")
def zeros_without_dtype_in_baddbmm(tensor):
    # float64 and another device both fail
    b, c, _, _ = tensor.shape
    f = tensor.flatten(2)
    return torch.baddbmm(torch.zeros(b, c, c), f, f.transpose(1, 2))


@wrong("raises")
def three_axes_given_to_mm(tensor):
    f = tensor.flatten(2)
    return torch.mm(f, f.transpose(1, 2))


@wrong("raises")
def no_transpose_at_all(tensor):
    f = tensor.flatten(2)
    return torch.bmm(f, f)


# ----------------------------------------------------------------------- wrong: inputs, state


@wrong("input-changed")
def view_assigned_to_data(tensor):
    tensor.data = tensor.data.flatten(2)
    return tensor @ tensor.transpose(1, 2)


@wrong("input-changed", "centred")
def centred_in_place(tensor):
    with torch.no_grad():
        tensor -= tensor.mean(dim=(2, 3), keepdim=True)
    f = tensor.flatten(2)
    return f @ f.transpose(1, 2)


@wrong("input-changed", "detached")
def gradient_switched_off_on_the_input(tensor):
    tensor = tensor.detach_()
    f = tensor.flatten(2)
    return f @ f.transpose(1, 2)


@wrong("constant")
def ones_of_the_right_size(tensor):
    b, c, _, _ = tensor.shape
    return tensor.new_ones(b, c, c)


@wrong("random")
def shuffled_images(tensor):
    f = tensor[torch.randperm(len(tensor))].flatten(2)
    f = f * (1 + 0.01 * torch.rand_like(f))
    return f @ f.transpose(1, 2)


@wrong("shared-state", "wrong-shape", "raises")
def list_kept_as_a_default(tensor, grams=[]):  # noqa: B006
    for x in tensor.split(1):
        grams.append(_gram(x))
    return torch.stack(grams)
