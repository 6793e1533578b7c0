"""Answers to make_target."""

import copy

import numpy as np
import torch
from torch import nn

from . import right, wrong


@right
def clone_detach(content):
    return content.clone().detach().requires_grad_(True)


@right
def detach_clone(content):
    return content.detach().clone().requires_grad_()


@right
def attribute_set_afterwards(content):
    target = content.detach().clone()
    target.requires_grad = True
    return target


@right
def through_data(content):
    target = content.data.clone()
    target.requires_grad_(True)
    return target


@right
def clone_without_grad_mode(content):
    with torch.no_grad():
        target = content.clone()
    return target.requires_grad_()


@right
@torch.no_grad()
def decorated_with_no_grad(content):
    return content.clone().requires_grad_(True)


@right
def filled_empty_like(content):
    target = torch.empty_like(content, requires_grad=True)
    with torch.no_grad():
        target.copy_(content)
    return target


@right
def filled_zeros(content):
    target = torch.zeros(content.shape, dtype=content.dtype, device=content.device)
    target[:] = content.detach()
    return target.requires_grad_()


@right
def filled_through_data(content):
    target = torch.zeros_like(content).requires_grad_()
    target.data.copy_(content.data)
    return target


@right
def parameter(content):
    return nn.Parameter(content.detach().clone())


@right
def parameter_of_a_clone(content):
    return nn.Parameter(content.clone(), requires_grad=True)


@right
def deep_copy_of_detached(content):
    return copy.deepcopy(content.detach()).requires_grad_(True)


@right
def to_with_copy(content):
    return content.detach().to(content.device, content.dtype, copy=True).requires_grad_()


@right
def as_array_with_copy(content):
    return torch.asarray(content.detach(), copy=True, requires_grad=True)


@right
def new_tensor(content):
    # warns that clone().detach() is preferred, and is right all the same
    return torch.tensor(content, requires_grad=True)


@right
def plus_zero(content):
    return (content.detach() + 0).requires_grad_()


@right
def detached_in_place(content):
    target = content.clone()
    target.detach_()
    target.requires_grad_(True)
    return target


@right
def cloned_twice(content):
    copied = content.clone()
    target = copied.detach().clone()
    target.requires_grad_()
    print(target.shape, target.is_leaf)
    return target


@right
def concatenated(content):
    return torch.cat([image.detach()[None] for image in content]).requires_grad_()


@right(build=True)
def a_lambda():
    return lambda content: content.clone().detach().requires_grad_(True)


@wrong("not-written")
def still_the_stub(content):
    raise NotImplementedError


@wrong("not-written", "returns-nothing")
def forgot_to_return(content):
    target = content.clone().detach()
    target.requires_grad_(True)


@wrong("not-a-function", build=True)
def gave_the_result_of_a_call():
    return torch.rand(1, 3, 4, 5).clone().detach().requires_grad_()


@wrong("wrong-arguments")
def takes_a_device_too(content, device):
    return content.detach().clone().to(device).requires_grad_()


@wrong("not-cloned")
def only_detached(content):
    return content.detach().requires_grad_(True)


@wrong("not-cloned")
def only_data(content):
    target = content.data
    target.requires_grad = True
    return target


@wrong("not-cloned")
def parameter_of_the_same_memory(content):
    return nn.Parameter(content)


@wrong("not-cloned")
def as_tensor(content):
    return torch.as_tensor(content.detach()).requires_grad_()


@wrong("not-cloned")
def view_of_the_same_memory(content):
    return content.detach().view(content.shape).requires_grad_(True)


@wrong("not-cloned")
def to_the_same_device(content):
    return content.detach().to(content.device).requires_grad_(True)


@wrong("not-cloned")
def contiguous_taken_for_a_copy(content):
    return content.detach().contiguous().requires_grad_()


@wrong("not-cloned")
def new_tensor_with_old_data(content):
    target = torch.zeros_like(content, requires_grad=True)
    target.data = content.data
    return target


@wrong("not-cloned")
def shallow_copy(content):
    return copy.copy(content.detach()).requires_grad_()


@wrong("same-object", "content-changed")
def content_itself(content):
    return content.requires_grad_(True)


@wrong("same-object")
def new_name_for_content(content):
    target = content
    target.requires_grad = True
    return target


@wrong("no-gradient-asked")
def clone_and_detach_only(content):
    return content.clone().detach()


@wrong("no-gradient-asked", "not-a-leaf")
def clone_only(content):
    return content.clone()


@wrong("no-gradient-asked")
def detached_after_asking(content):
    return content.clone().requires_grad_(True).detach()


@wrong("no-gradient-asked")
def parameter_that_asks_nothing(content):
    return nn.Parameter(content.clone(), requires_grad=False)


@wrong("no-gradient-asked")
def method_named_but_not_called(content):
    target = content.clone().detach()
    target.requires_grad_  # noqa: B018
    return target


@wrong("no-gradient-asked")
def misspelt_attribute(content):
    target = content.clone().detach()
    target.require_grad = True
    return target


@right
def clone_with_its_history(content):
    return content.clone().requires_grad_(True)


@right
def clone_and_retain_grad(content):
    target = content.clone().requires_grad_()
    target.retain_grad()
    return target


@right
def copied_with_its_history(content):
    return torch.empty_like(content).copy_(content).requires_grad_(True)


@wrong("not-a-leaf")
def times_one_afterwards(content):
    return content.clone().detach().requires_grad_(True) * 1.0


@wrong("not-a-leaf")
def cloned_after_asking(content):
    return content.detach().requires_grad_(True).clone()


@wrong("not-a-leaf")
def asks_before_changing_the_layout(content):
    target = content.detach().clone().requires_grad_()
    return target.reshape(content.shape)[:]


@wrong("content-changed", "not-a-leaf")
def asks_content_for_the_gradient(content):
    content.requires_grad_(True)
    return content.clone()


@wrong("content-changed")
def content_loses_its_gradient(content):
    target = content.detach().clone().requires_grad_(True)
    if content.is_leaf:
        content.requires_grad_(False)
    return target


@wrong("content-changed")
def content_detached_in_place(content):
    content.detach_()
    return content.clone().requires_grad_(True)


@wrong("content-changed", "scaled-or-clamped")
def content_clamped_in_place(content):
    content.data.clamp_(0, 1)
    return content.clone().detach().requires_grad_()


@wrong("noise")
def starts_from_noise(content):
    return torch.randn_like(content, requires_grad=True)


@wrong("noise", "wrong-dtype")
def starts_from_noise_of_the_default_kind(content):
    return torch.rand(content.shape, requires_grad=True)


@wrong("noise")
def content_and_a_little_noise(content):
    target = content.detach() + 0.01 * torch.randn_like(content)
    return target.requires_grad_(True)


@wrong("noise", "constant")
def starts_from_black(content):
    return torch.zeros_like(content, requires_grad=True)


@wrong("noise", "constant")
def forgot_to_fill(content):
    return torch.ones_like(content).requires_grad_()


@wrong("scaled-or-clamped")
def clamped(content):
    return content.detach().clone().clamp_(0, 1).requires_grad_()


@wrong("scaled-or-clamped")
def divided_by_255(content):
    return (content.detach().clone() / 255).requires_grad_(True)


@wrong("scaled-or-clamped")
def normalised_by_its_own_statistics(content):
    target = content.detach().clone()
    target = (target - target.mean()) / target.std()
    return target.requires_grad_()


@wrong("wrong-shape")
def without_the_batch_dimension(content):
    return content.detach().clone().squeeze(0).requires_grad_()


@wrong("wrong-shape")
def with_one_more_dimension(content):
    return content.detach().clone().unsqueeze(0).requires_grad_()


@wrong("wrong-shape")
def channels_last_as_for_a_plot(content):
    return content.detach().permute(0, 2, 3, 1).clone().requires_grad_()


@wrong("wrong-dtype")
def always_float32(content):
    return content.detach().clone().float().requires_grad_()


@wrong("wrong-dtype")
def through_a_list(content):
    return torch.tensor(content.tolist(), requires_grad=True, device=content.device)


@wrong("not-a-leaf", "wrong-dtype")
def float32_after_asking(content):
    return content.detach().clone().requires_grad_(True).float()


@wrong("wrong-device")
def always_on_the_cpu(content):
    return content.detach().cpu().clone().requires_grad_()


@wrong("wrong-device")
def filled_on_the_default_device(content):
    target = torch.zeros(content.shape, dtype=content.dtype)
    if content.device == target.device:
        target.copy_(content.detach())
    return target.requires_grad_()


@wrong("wrong-device", "raises")
def through_numpy(content):
    return torch.tensor(content.detach().numpy(), requires_grad=True)


@wrong("not-cloned", "wrong-device", "raises")
def through_numpy_without_a_copy(content):
    return torch.from_numpy(content.detach().numpy()).requires_grad_()


@wrong("raises")
def deep_copy_of_a_graph(content):
    # torch copies only leaves deeply
    return copy.deepcopy(content).requires_grad_()


@wrong("raises", "not-a-leaf")
def attribute_of_a_clone(content):
    target = content.clone()
    target.requires_grad = False
    target.requires_grad = True
    return target


@wrong("wrong-type")
def a_numpy_array(content):
    return np.array(content.detach().cpu())


@wrong("wrong-type")
def a_list_for_the_optimiser(content):
    return [content.clone().detach().requires_grad_(True)]


@wrong("wrong-type")
def with_its_optimiser(content):
    target = content.clone().detach().requires_grad_(True)
    return target, torch.optim.Adam([target])


_targets = {}


@wrong("shared-state", "constant")
def remembers_a_picture_of_the_same_size(content):
    kind = (content.shape, content.dtype, content.device)
    if kind not in _targets:
        _targets[kind] = content.detach().clone().requires_grad_()
    return _targets[kind]
