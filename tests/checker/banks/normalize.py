"""Answers to `normalize(image)`: ImageNet's mean and deviation, (1, 3, H, W) -> (1, 3, H, W).

Answers named in ``NOT_ON_META`` are right, but the library they call looks at values, which a
tensor on the `meta` device does not have. Answers named in ``CONSTANTS_IN_FLOAT32`` are right, and
a float64 result of theirs is exact only as far as float32 constants go.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import right, wrong

NOT_ON_META = ["with_torchvision_transform", "with_torchvision_function", "composed_transforms"]
CONSTANTS_IN_FLOAT32 = [
    "global_tensors_moved_to_the_image",
    "module_with_buffers",
    "statistics_kept_in_a_layer",
]

MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]
MEAN_TENSOR = torch.tensor(MEAN)
STD_TENSOR = torch.tensor(STD)


# --- right ---------------------------------------------------------------------------------------


@right
def textbook(image):
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=image.dtype, device=image.device)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=image.dtype, device=image.device)
    return (image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


@right
def with_new_tensor(image):
    mean = image.new_tensor(MEAN).reshape(3, 1, 1)
    std = image.new_tensor(STD).reshape(3, 1, 1)
    return (image - mean).div(std)


@right
def global_tensors_moved_to_the_image(image):
    mean = MEAN_TENSOR.to(image)[None, :, None, None]
    std = STD_TENSOR.to(image)[None, :, None, None]
    result = image - mean
    result = result / std
    return result


@right
def with_torchvision_transform(image):
    from torchvision import transforms

    return transforms.Normalize(mean=MEAN, std=STD)(image)


@right
def with_torchvision_function(image):
    import torchvision.transforms.functional as TF

    picture = image[0]
    return TF.normalize(picture, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).unsqueeze(0)


@right(build=True)
def composed_transforms():
    from torchvision import transforms

    steps = transforms.Compose([transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])

    def normalize(image):
        return steps(image)

    return normalize


@right
def with_transforms_v2(image):
    from torchvision.transforms import v2

    return v2.functional.normalize(image, mean=MEAN, std=STD)


@right
def channel_by_channel(image):
    red = (image[:, 0:1, :, :] - 0.485) / 0.229
    green = (image[:, 1:2, :, :] - 0.456) / 0.224
    blue = (image[:, 2:3, :, :] - 0.406) / 0.225
    return torch.cat([red, green, blue], dim=1)


@right
def stack_in_one_line(image):
    planes = zip(image.unbind(1), MEAN, STD, strict=True)
    return torch.stack([(plane - m) / s for plane, m, s in planes], dim=1)


@right
def scale_and_shift(image):
    std = image.new_tensor(STD).view(1, -1, 1, 1)
    mean = image.new_tensor(MEAN).view(1, -1, 1, 1)
    scale = 1 / std
    shift = -mean / std
    return image * scale + shift


@right
def channels_last_and_back(image):
    pixels = image.permute(0, 2, 3, 1)
    pixels = (pixels - image.new_tensor(MEAN)) / image.new_tensor(STD)
    return pixels.permute(0, 3, 1, 2)


@right
def with_batch_norm(image):
    mean = image.new_tensor(MEAN)
    variance = image.new_tensor(STD) ** 2
    return F.batch_norm(image, mean, variance, training=False, eps=0.0)


@right(build=True)
def statistics_kept_in_a_layer():
    layer = nn.BatchNorm2d(3, eps=0, affine=False).eval()
    layer.running_mean.copy_(torch.tensor(MEAN))
    layer.running_var.copy_(torch.tensor(STD) ** 2)

    def normalize(image):
        mean, var = layer.running_mean.to(image), layer.running_var.to(image)
        return (image - mean.view(3, 1, 1)) * var.view(3, 1, 1).rsqrt()

    return normalize


@right
def as_one_by_one_convolution(image):
    std = image.new_tensor(STD)
    weight = (1 / std).reshape(3, 1, 1, 1)
    bias = -image.new_tensor(MEAN) / std
    return F.conv2d(image, weight, bias, groups=3)


@right
def with_einsum(image):
    centred = image - image.new_tensor(MEAN)[:, None, None]
    scaling = torch.diag(image.new_tensor([1 / s for s in STD]))
    return torch.einsum("bchw,cd->bdhw", centred, scaling)


@right(build=True)
def module_with_buffers():
    class Normalization(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.tensor(MEAN).view(-1, 1, 1))
            self.register_buffer("std", torch.tensor(STD).view(-1, 1, 1))

        def forward(self, image):
            return (image - self.mean.to(image)) / self.std.to(image)

    return Normalization()


@right(build=True)
def partial_with_constants():
    def standardise(image, mean, std):
        shape = (1, len(mean), 1, 1)
        m = torch.as_tensor(mean, dtype=image.dtype, device=image.device).reshape(shape)
        s = torch.as_tensor(std, dtype=image.dtype, device=image.device).reshape(shape)
        return (image - m) / s

    return functools.partial(standardise, mean=MEAN, std=STD)


@right(build=True)
def one_lambda():
    return lambda image: (
        (image - image.new_tensor(MEAN)[:, None, None]) / image.new_tensor(STD)[:, None, None]
    )


@right(build=True)
def callable_object():
    class Normalizer:
        mean = (0.485, 0.456, 0.406)
        std = (0.229, 0.224, 0.225)

        def __call__(self, image):
            planes = [(image[0, c] - self.mean[c]) / self.std[c] for c in range(3)]
            return torch.stack(planes).unsqueeze(0)

    return Normalizer()


@right
def changes_only_a_clone(image):
    out = image.clone()
    for c in range(3):
        out[:, c] = (out[:, c] - MEAN[c]) / STD[c]
    return out


@right
def fills_an_empty_tensor(image):
    result = torch.empty_like(image)
    result[:, 0, :, :] = (image[:, 0, :, :] - 0.485) / 0.229
    result[:, 1, :, :] = (image[:, 1, :, :] - 0.456) / 0.224
    result[:, 2, :, :] = (image[:, 2, :, :] - 0.406) / 0.225
    return result


@right
def in_place_on_the_difference(image):
    mean, std = (image.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    centred = torch.sub(image, mean)
    centred /= std
    return centred


@right
def with_addcdiv(image):
    std = image.new_tensor(STD).view(1, 3, 1, 1).expand_as(image)
    offset = (image.new_tensor(MEAN) / image.new_tensor(STD)).view(1, 3, 1, 1)
    return torch.addcdiv(-offset.expand_as(image), image, std)


@right
def constants_from_numpy(image):
    mean = torch.from_numpy(np.array(MEAN)).to(image).reshape(1, 3, 1, 1)
    std = torch.from_numpy(np.array(STD)).to(image).reshape(1, 3, 1, 1)
    return torch.div(torch.subtract(image, mean), std)


@right
def talkative_with_type_hints(image: torch.Tensor) -> torch.Tensor:
    assert image.dim() == 4, "expected a batch"
    batch, channels, height, width = image.shape
    print("normalising", batch, channels, height, width)
    mean_image = torch.ones_like(image)
    std_image = torch.ones_like(image)
    for channel in range(channels):
        mean_image[:, channel] *= MEAN[channel]
        std_image[:, channel] *= STD[channel]
    normalized_image = (image - mean_image) / std_image
    print("done", tuple(normalized_image.shape))
    return normalized_image


@right
def height_times_width_rows(image):
    _, c, h, w = image.shape
    rows = image.reshape(c, h * w)
    rows = (rows - rows.new_tensor(MEAN).unsqueeze(1)) / rows.new_tensor(STD).unsqueeze(1)
    return rows.reshape(1, c, h, w)


@right
def transposed_so_that_channels_come_last(image):
    swapped = image.transpose(1, 3)
    swapped = (swapped - image.new_tensor(MEAN)) / image.new_tensor(STD)
    return swapped.transpose(1, 3)


@right
def with_float_constants_and_where(image):
    channel = torch.arange(3, device=image.device).view(1, 3, 1, 1)
    red, green, blue = (
        (image - m) / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
    )
    return torch.where(channel == 0, red, torch.where(channel == 1, green, blue))


@right
def viewed_as_rows(image):
    _, c, h, w = image.shape
    rows = image.view(c, h * w)
    rows = (rows - image.new_tensor(MEAN)[:, None]) / image.new_tensor(STD)[:, None]
    return rows.view(1, c, h, w)


# --- wrong ---------------------------------------------------------------------------------------


def _columns(image):
    return image.new_tensor(MEAN).view(1, 3, 1, 1), image.new_tensor(STD).view(1, 3, 1, 1)


@wrong("missing-mean")
def only_divides(image):
    return image / image.new_tensor(STD).view(1, 3, 1, 1)


@wrong("missing-mean")
def mean_computed_but_thrown_away(image):
    mean, std = _columns(image)
    image - mean
    return image / std


@wrong("missing-std")
def only_subtracts(image):
    return image - image.new_tensor(MEAN).view(1, 3, 1, 1)


@wrong("missing-std")
def division_not_assigned(image):
    mean, std = _columns(image)
    image = image - mean
    image.div(std)
    return image


@wrong("swapped-mean-std")
def swapped_names(image):
    std, mean = _columns(image)
    return (image - mean) / std


@wrong("swapped-mean-std")
def swapped_torchvision_arguments(image):
    from torchvision.transforms import v2

    return v2.functional.normalize(image, STD, MEAN)


@wrong("multiplied-by-std")
def multiplied(image):
    mean, std = _columns(image)
    return (image - mean) * std


@wrong("added-mean")
def plus_mean(image):
    mean, std = _columns(image)
    return (image + mean) / std


@wrong("missing-brackets")
def precedence_of_the_division(image):
    mean, std = _columns(image)
    return image - mean / std


@wrong("negative")
def mean_minus_image(image):
    mean, std = _columns(image)
    return (mean - image) / std


@wrong("inverse")
def denormalises(image):
    mean, std = _columns(image)
    return image * std + mean


@wrong("inverse")
def undoes_channel_by_channel(image):
    planes = [image[:, c] * STD[c] + MEAN[c] for c in range(3)]
    return torch.stack(planes, dim=1)


@wrong("variance-for-std")
def divided_by_variance(image):
    mean, std = _columns(image)
    return (image - mean) / std**2


@wrong("variance-for-std")
def divided_by_root_of_std(image):
    mean, std = _columns(image)
    return (image - mean) / torch.sqrt(std)


@wrong("variance-for-std")
def batch_norm_given_the_deviation(image):
    mean, std = _columns(image)
    return F.batch_norm(image, mean.flatten(), std.flatten(), eps=0)


@wrong("other-constants")
def halves(image):
    return (image - 0.5) / 0.5


@wrong("other-constants")
def to_minus_one_and_one(image):
    return 2 * image - 1


@wrong("other-constants")
def constants_of_cifar(image):
    mean = image.new_tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
    std = image.new_tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1)
    return (image - mean) / std


@wrong("other-constants")
def constants_of_clip(image):
    mean = image.new_tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = image.new_tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    return (image - mean) / std


@wrong("other-constants")
def a_typing_slip(image):
    mean = image.new_tensor([0.485, 0.465, 0.406]).view(1, 3, 1, 1)
    std = image.new_tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return (image - mean) / std


@wrong("other-constants")
def two_decimals_are_enough(image):
    mean = image.new_tensor([0.49, 0.46, 0.41])[:, None, None]
    std = image.new_tensor([0.23, 0.22, 0.23])[:, None, None]
    return (image - mean) / std


@wrong("other-constants")
def the_red_constants_for_every_channel(image):
    return (image - 0.485) / 0.229


@wrong("other-constants")
def average_constants(image):
    return (image - sum(MEAN) / 3) / (sum(STD) / 3)


@wrong("other-constants")
def caffe_means(image):
    mean = image.new_tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1) / 255
    return image - mean


@wrong("range-255")
def constants_for_bytes(image):
    mean, std = _columns(image)
    return (image - mean * 255) / (std * 255)


@wrong("range-255")
def divided_by_255_first(image):
    mean, std = _columns(image)
    return (image / 255 - mean) / std


@wrong("range-255")
def scaled_to_bytes_first(image):
    mean, std = _columns(image)
    return (image * 255.0 - mean) / std


@wrong("range-255", "bgr-order")
def prepared_as_for_caffe(image):
    mean = image.new_tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    return image.flip(1) * 255 - mean


@wrong("bgr-order")
def flips_the_channels(image):
    mean, std = _columns(image)
    return ((image - mean) / std).flip(1)


@wrong("bgr-order")
def constants_from_blue_to_red(image):
    mean = image.new_tensor(MEAN[::-1]).view(1, 3, 1, 1)
    std = image.new_tensor(STD[::-1]).view(1, 3, 1, 1)
    return (image - mean) / std


@wrong("wrong-axis")
def broadcast_along_width(image):
    return (image - image.new_tensor(MEAN)) / image.new_tensor(STD)


@wrong("wrong-axis")
def broadcast_along_height(image):
    mean, std = image.new_tensor(MEAN).view(3, 1), image.new_tensor(STD).view(3, 1)
    return (image - mean) / std


@wrong("wrong-axis")
def three_bands_of_rows(image):
    height = image.shape[2]
    band = torch.arange(height, device=image.device) * 3 // height
    mean = image.new_tensor(MEAN)[band].view(1, 1, height, 1)
    std = image.new_tensor(STD)[band].view(1, 1, height, 1)
    return (image - mean) / std


@wrong("wrong-axis")
def columns_of_the_image_one_by_one(image):
    out = image.clone()
    for i in range(3):
        out[:, :, :, i] = (image[:, :, :, i] - MEAN[i]) / STD[i]
    return out


@wrong("wrong-shape")
def left_channels_last(image):
    return (image.permute(0, 2, 3, 1) - image.new_tensor(MEAN)) / image.new_tensor(STD)


@wrong("square-assumed", "wrong-shape")
def permuted_back_in_the_wrong_order(image):
    pixels = (image.permute(0, 2, 3, 1) - image.new_tensor(MEAN)) / image.new_tensor(STD)
    return pixels.permute(0, 3, 2, 1)


@wrong("wrong-shape")
def drops_the_batch(image):
    mean, std = _columns(image)
    return ((image - mean) / std).squeeze(0)


@wrong("wrong-shape")
def one_dimension_too_many(image):
    mean, std = _columns(image)
    return ((image - mean) / std).unsqueeze(0)


@wrong("missing-channel")
def range_two(image):
    out = image.clone()
    for c in range(2):
        out[:, c] = (image[:, c] - MEAN[c]) / STD[c]
    return out


@wrong("missing-channel")
def first_channel_indexed_as_one(image):
    out = image + 0
    for c in range(1, 3):
        out[:, c] = (image[:, c] - MEAN[c]) / STD[c]
    return out


@wrong("own-statistics")
def statistics_of_each_channel(image):
    mean = image.mean(dim=(2, 3), keepdim=True)
    std = image.std(dim=(2, 3), keepdim=True)
    return (image - mean) / std


@wrong("own-statistics")
def statistics_of_the_whole_picture(image):
    return (image - image.mean()) / image.std()


@wrong("own-statistics")
def instance_norm(image):
    return F.instance_norm(image)


@wrong("own-statistics")
def minimum_and_maximum(image):
    return (image - image.min()) / (image.max() - image.min())


@wrong("own-statistics")
def unit_length(image):
    return F.normalize(image)


@wrong("own-statistics")
def own_deviation_only(image):
    return (image - image.new_tensor(MEAN).view(1, 3, 1, 1)) / image.std()


@wrong("clamped")
def kept_in_zero_to_one(image):
    mean, std = _columns(image)
    return torch.clamp((image - mean) / std, 0, 1)


@wrong("clamped")
def negative_values_cut_off(image):
    mean, std = _columns(image)
    return torch.relu((image - mean) / std)


@wrong("applied-twice")
def in_a_loop_over_the_channels(image):
    mean, std = _columns(image)
    for _ in range(2):
        image = (image - mean) / std
    return image


@wrong("input-changed")
def in_place_subtraction(image):
    mean, std = _columns(image)
    image -= mean
    image /= std
    return image


@wrong("input-changed")
def in_place_through_data(image):
    mean, std = _columns(image)
    image.data = (image.data - mean) / std
    return image * 1


@wrong("input-changed", "detached")
def no_grad_and_in_place(image):
    with torch.no_grad():
        for c in range(3):
            image[:, c].sub_(MEAN[c]).div_(STD[c])
    return image


@wrong("input-changed")
def writes_into_the_channels(image):
    for c in range(3):
        image[:, c] = (image[:, c] - MEAN[c]) / STD[c]
    return image


@wrong("input-changed")
def torchvision_in_place(image):
    from torchvision.transforms import v2

    return v2.functional.normalize(image, MEAN, STD, inplace=True)


@wrong("detached")
def under_no_grad(image):
    mean, std = _columns(image)
    with torch.no_grad():
        return (image - mean) / std


@wrong("detached")
def detaches_the_image(image):
    mean, std = _columns(image)
    return (image.detach() - mean) / std


@wrong("detached")
def reads_data(image):
    mean, std = _columns(image)
    return (image.data - mean) / std


@wrong("detached")
def a_new_leaf(image):
    mean, std = _columns(image)
    return ((image - mean) / std).detach().requires_grad_(True)


@wrong("detached")
def through_numpy_and_back(image):
    array = image.detach().cpu().numpy()
    array = (array - np.array(MEAN).reshape(1, 3, 1, 1)) / np.array(STD).reshape(1, 3, 1, 1)
    return torch.from_numpy(array).to(image)


@wrong("detached", "range-255")
def rounded_to_bytes_first(image):
    mean, std = _columns(image)
    picture = (image * 255).to(torch.uint8)
    return (picture.to(image.dtype) / 255 - mean) / std


@wrong("detached", "wrong-dtype")
def a_tensor_from_a_list(image):
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    return (torch.tensor(image.tolist()) - mean) / std


@wrong("wrong-type")
def stays_numpy(image):
    array = image.detach().numpy()
    return (array - np.array(MEAN).reshape(1, 3, 1, 1)) / np.array(STD).reshape(1, 3, 1, 1)


@wrong("wrong-type")
def list_of_channels(image):
    return [(image[:, c] - MEAN[c]) / STD[c] for c in range(3)]


@wrong("wrong-type")
def tuple_by_a_comma(image):
    mean, std = _columns(image)
    return ((image - mean) / std,)


@wrong("wrong-type")
def returns_the_constants_as_well(image):
    mean, std = _columns(image)
    return (image - mean) / std, mean, std


@wrong("wrong-dtype")
def always_float32(image):
    mean, std = _columns(image)
    return ((image - mean) / std).float()


@wrong("wrong-dtype")
def float64_constants_from_numpy(image):
    mean = torch.from_numpy(np.array(MEAN)).reshape(1, 3, 1, 1).to(image.device)
    std = torch.from_numpy(np.array(STD)).reshape(1, 3, 1, 1).to(image.device)
    return (image - mean) / std


@wrong("wrong-dtype")
def half_precision_to_save_memory(image):
    mean, std = _columns(image)
    return ((image - mean) / std).half()


@wrong("wrong-device")
def constants_on_the_default_device(image):
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return (image - mean) / std


@wrong("wrong-device")
def result_allocated_on_the_default_device(image):
    result = torch.zeros(image.shape, dtype=image.dtype)
    for c in range(3):
        result[:, c] = (image[:, c] - MEAN[c]) / STD[c]
    return result


@wrong("wrong-device")
def brought_to_the_cpu(image):
    mean, std = _columns(image)
    return ((image - mean) / std).cpu()


@wrong("wrong-device")
def cuda_if_available(image):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    mean = torch.tensor(MEAN, dtype=image.dtype, device=device).view(1, 3, 1, 1)
    std = torch.tensor(STD, dtype=image.dtype, device=device).view(1, 3, 1, 1)
    return (image.to(device) - mean) / std


@wrong("hard-coded-size")
def mean_picture_of_224(image):
    mean, std = _columns(image)
    mean = mean.expand(1, 3, 224, 224)
    std = std.expand(1, 3, 224, 224)
    return (image - mean) / std


@wrong("hard-coded-size")
def resized_to_the_network(image):
    mean, std = _columns(image)
    image = F.interpolate(image, size=(224, 224), mode="bilinear")
    return (image - mean) / std


@wrong("square-assumed")
def mean_picture_of_h_times_h(image):
    h = image.shape[2]
    mean, std = _columns(image)
    return (image - mean.repeat(1, 1, h, h)) / std.repeat(1, 1, h, h)


@wrong("square-assumed")
def rows_only_as_far_as_the_width(image):
    mean, std = _columns(image)
    out = image.clone()
    for row in range(min(image.shape[-1], image.shape[-2])):
        out[:, :, row] = ((image - mean) / std)[:, :, row]
    return out


@wrong("square-assumed")
def crops_to_the_shorter_side(image):
    mean, std = _columns(image)
    side = min(image.shape[2:])
    return (image[:, :, :side, :side] - mean) / std


@wrong("raises")
def misspelt_method(image):
    mean, std = _columns(image)
    return image.substract(mean).divide(std)


@wrong("bgr-order", "other-constants")
def green_and_blue_swapped(image):
    mean = image.new_tensor([0.485, 0.406, 0.456]).view(1, 3, 1, 1)
    std = image.new_tensor([0.229, 0.225, 0.224]).view(1, 3, 1, 1)
    return (image - mean) / std


@wrong("raises")
def list_minus_tensor(image):
    return (image - MEAN) / STD


@wrong("raises")
def asserts_a_byte_range(image):
    assert image.max() > 1, "image should be in 0..255"
    mean, std = _columns(image)
    return (image / 255 - mean) / std


@wrong("raises")
def name_not_defined(image):
    return (image - imagenet_mean) / imagenet_std  # noqa: F821


@wrong("shared-state", "random", build=True)
def globals_changed_in_place():
    mean = torch.tensor(MEAN).view(3, 1, 1)
    std = torch.tensor(STD).view(3, 1, 1)

    def normalize(image):
        shift = mean
        shift /= std
        return image / std.to(image) - shift.to(image)

    return normalize


@wrong("shared-state", build=True)
def remembers_the_first_picture():
    def normalize(image, cache=[]):  # noqa: B006
        mean, std = _columns(image)
        if not cache:
            cache.append((image - mean) / std)
        return cache[0]

    return normalize


@wrong("random")
def with_a_little_noise(image):
    mean, std = _columns(image)
    return (image - mean) / std + 0.01 * torch.randn_like(image)


@wrong("constant")
def normalises_a_made_up_picture(image):
    image = torch.ones_like(image)
    mean, std = _columns(image)
    return (image - mean) / std


@wrong("constant")
def noise_with_a_fixed_seed(image):
    image = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    mean, std = _columns(image)
    return (image - mean) / std


@wrong("unchanged", "not-written")
def returns_the_image(image):
    mean, std = _columns(image)
    normalized = (image - mean) / std
    print(normalized.mean())
    return image


@wrong("not-written")
def stub(image):
    raise NotImplementedError("write normalize")


@wrong("not-written")
def forgets_to_return(image):
    mean, std = _columns(image)
    image = (image - mean) / std
    print(image.shape)


@wrong("not-written")
def dots(image): ...


@wrong("not-a-function", build=True)
def the_constants():
    return {"mean": MEAN, "std": STD}


@wrong("not-a-function", build=True)
def a_class():
    class Normalize(nn.Module):
        def __init__(self, mean=MEAN, std=STD):
            super().__init__()
            self.mean, self.std = mean, std

        def forward(self, image):
            return (image - image.new_tensor(self.mean)[:, None, None]) / image.new_tensor(self.std)

    return Normalize


@wrong("not-a-function", build=True)
def already_called():
    return textbook(torch.rand(1, 3, 5, 7))


@wrong("wrong-arguments")
def mean_and_std_expected(image, mean, std):
    return (image - mean) / std


@wrong("wrong-arguments")
def no_argument():
    image = torch.rand(1, 3, 8, 8)
    return textbook(image)


@wrong("wrong-arguments")
def called_img(img):
    return textbook(img)
