"""Answers to `freeze(model)`: evaluation mode, no parameter requires a gradient, the same model.

The model may hold BatchNorm, Dropout, modules inside modules and parameters of a module's own.
"""

from __future__ import annotations

import collections
import copy
import functools

import torch
from torch import nn

from . import right, wrong

# --- right ---------------------------------------------------------------------------------------


@right
def textbook(model):
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.eval()
    return model


@right
def one_line(model):
    return model.eval().requires_grad_(False)


@right
def one_line_the_other_way(model):
    return model.requires_grad_(requires_grad=False).train(mode=False)


@right
def in_place_method_on_each(model):
    for p in model.parameters():
        p.requires_grad_(False)
    return model.eval()


@right
def named_parameters_with_prints(model):
    count = 0
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            print("freezing", name, tuple(parameter.shape))
            parameter.requires_grad = False
            count += 1
    print(count, "parameters frozen")
    model.train(False)
    return model


@right
def list_comprehension_for_its_effect(model):
    [p.requires_grad_(False) for p in model.parameters()]
    return model.eval()


@right
def deque_of_a_map(model):
    frozen = map(lambda p: p.requires_grad_(False), model.parameters())  # noqa: C417
    collections.deque(frozen, maxlen=0)
    model.eval()
    return model


@right
def with_apply(model):
    def freeze_one(module):
        module.training = False
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = False

    return model.apply(freeze_one)


@right
def module_by_module(model):
    for module in model.modules():
        module.eval()
        module.requires_grad_(False)
    return model


@right
def recursion_over_children(model):
    for parameter in model.parameters(recurse=False):
        parameter.requires_grad = False
    for child in model.children():
        recursion_over_children(child)
    return model.eval()


@right
def an_explicit_stack(model):
    model.eval()
    waiting = [model]
    while waiting:
        module = waiting.pop()
        for parameter in module._parameters.values():
            if parameter is not None:
                parameter.requires_grad = False
        waiting.extend(module.children())
    return model


@right
def with_setattr(model: nn.Module) -> nn.Module:
    for p in model.parameters():
        setattr(p, "requires_grad", False)  # noqa: B010
    nn.Module.eval(model)
    return model


@right
def parameters_detached_in_place(model):
    for p in model.parameters():
        p.detach_()
    return model.eval()


@right
def state_dict_with_its_variables(model):
    for value in model.state_dict(keep_vars=True).values():
        value.requires_grad_(False)
    return model.eval()


@right(build=True)
def a_lambda():
    return lambda model: nn.Module.requires_grad_(model.eval(), False)


@right(build=True)
def partial_of_a_switch():
    def set_trainable(model, trainable):
        for p in model.parameters():
            p.requires_grad = trainable
        return model.train(trainable)

    return functools.partial(set_trainable, trainable=False)


@right(build=True)
def callable_object():
    class Freezer:
        def __init__(self):
            self.frozen = 0

        def __call__(self, model):
            for p in model.parameters():
                p.requires_grad = False
                self.frozen += 1
            return model.eval()

    return Freezer()


@right(build=True)
def a_module_that_freezes():
    class Freeze(nn.Module):
        def forward(self, model):
            return model.requires_grad_(False).eval()

    return Freeze()


@right
def checks_its_own_work(model):
    if not isinstance(model, nn.Module):
        raise TypeError("a module please")
    model.eval()
    parameters = list(model.parameters())
    i = 0
    while i < len(parameters):
        parameters[i].requires_grad = False
        i += 1
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(m.training for m in model.modules())
    return model


@right
def a_reduction(model):
    return functools.reduce(
        lambda m, p: (p.requires_grad_(False), m)[1], model.parameters(), model.eval()
    )


@right
def wrapped_in_no_grad(model):
    with torch.no_grad():
        model.eval()
        for p in model.parameters():
            p.requires_grad = False
    return model


# --- wrong ---------------------------------------------------------------------------------------


@wrong("not-eval")
def only_parameters(model):
    for p in model.parameters():
        p.requires_grad = False
    return model


@wrong("not-eval")
def brackets_forgotten(model):
    for p in model.parameters():
        p.requires_grad = False
    model.eval  # noqa: B018
    return model


@wrong("not-eval")
def attribute_of_the_root_only(model):
    model.training = False
    model.requires_grad_(False)
    return model


@wrong("not-eval")
def eval_of_the_children_only(model):
    model.requires_grad_(False)
    for child in model.children():
        child.eval()
    return model


@wrong("not-eval")
def eval_of_dropout_only(model):
    model.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return model


@wrong("not-eval")
def batch_norm_forgotten(model):
    for module in model.modules():
        if not isinstance(module, nn.BatchNorm2d):
            module.training = False
    return model.requires_grad_(False)


@wrong("not-eval")
def children_two_deep(model):
    model.requires_grad_(False)
    model.training = False
    for child in model.children():
        child.training = False
        for grandchild in child.children():
            grandchild.training = False
    return model


@wrong("not-eval")
def train_mode_to_be_sure(model):
    return model.train().requires_grad_(False)


@wrong("not-eval")
def eval_inside_a_condition(model):
    for p in model.parameters():
        p.requires_grad = False
    if not model.training:
        model.eval()
    return model


@wrong("eval-undone")
def back_to_train_at_the_end(model):
    model.eval()
    for p in model.parameters():
        p.requires_grad = False
    model.train()
    return model


@wrong("eval-undone")
def eval_as_a_context(model):
    was_training = model.training
    model.eval()
    try:
        model.requires_grad_(False)
    finally:
        model.train(was_training)
    return model


@wrong("eval-undone")
def toggles_the_mode(model):
    model.requires_grad_(False)
    return model.train(not model.training)


@wrong("still-trainable")
def only_eval(model):
    return model.eval()


@wrong("still-trainable")
def attribute_of_the_model(model):
    model.eval()
    model.requires_grad = False
    return model


@wrong("still-trainable")
def misspelt_attribute(model):
    for p in model.parameters():
        p.require_grad = False
    return model.eval()


@wrong("still-trainable")
def under_no_grad_only(model):
    with torch.no_grad():
        model.eval()
    return model


@wrong("still-trainable")
def rebinds_the_loop_variable(model):
    for p in model.parameters():
        p = p.detach()
    return model.eval()


@wrong("still-trainable")
def attribute_of_the_modules(model):
    for layer in model.modules():
        layer.requires_grad = False
    return model.eval()


@wrong("still-trainable")
def through_data(model):
    for p in model.parameters():
        p.data.requires_grad = False
    return model.eval()


@wrong("still-trainable")
def state_dict_of_copies(model):
    for value in model.state_dict().values():
        value.requires_grad = False
    return model.eval()


@wrong("still-trainable")
def compares_instead_of_assigning(model):
    for p in model.parameters():
        p.requires_grad == False  # noqa: B015, E712
    return model.eval()


@wrong("still-trainable")
def method_overwritten(model):
    for p in model.parameters():
        p.requires_grad_ = False
    return model.eval()


@wrong("still-trainable")
def gradients_set_to_none(model):
    for p in model.parameters():
        p.grad = None
    return model.eval()


@wrong("still-trainable")
def buffers_for_parameters(model):
    for buffer in model.buffers():
        buffer.requires_grad = False
    return model.eval()


@wrong("still-trainable")
def gradient_multiplied_by_zero(model):
    for p in model.parameters():
        if p.requires_grad:
            p.register_hook(torch.zeros_like)
    return model.eval()


@wrong("still-trainable")
def generator_never_consumed(model):
    (p.requires_grad_(False) for p in model.parameters())
    map(lambda p: p.requires_grad_(False), model.parameters())  # noqa: C417
    return model.eval()


@wrong("still-trainable")
def a_learning_rate_of_zero(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    optimizer.zero_grad()
    return model.eval()


@wrong("partly-frozen")
def weights_without_biases(model):
    for name, p in model.named_parameters():
        if name.endswith("weight"):
            p.requires_grad = False
    return model.eval()


@wrong("partly-frozen")
def convolutions_only(model):
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.requires_grad_(False)
    return model.eval()


@wrong("partly-frozen")
def convolutions_of_the_top_level(model):
    for child in model.children():
        if isinstance(child, nn.Conv2d):
            for p in child.parameters():
                p.requires_grad = False
    return model.eval()


@wrong("partly-frozen")
def the_last_layer_left_for_fine_tuning(model):
    for p in list(model.parameters())[:-2]:
        p.requires_grad = False
    return model.eval()


@wrong("partly-frozen")
def first_parameter_only(model):
    next(model.parameters()).requires_grad = False
    return model.eval()


@wrong("partly-frozen")
def return_inside_the_loop(model):
    model.eval()
    for p in model.parameters():
        p.requires_grad = False
        return model


@wrong("partly-frozen")
def every_other_parameter(model):
    parameters = model.parameters()
    for p in parameters:
        p.requires_grad = False
        next(parameters, None)
    return model.eval()


@wrong("partly-frozen")
def parameters_called_weight_or_bias(model):
    for module in model.modules():
        for name in ("weight", "bias"):
            parameter = getattr(module, name, None)
            if parameter is not None:
                parameter.requires_grad = False
    return model.eval()


@wrong("partly-frozen")
def own_parameters_of_the_root(model):
    for p in model.parameters(recurse=False):
        p.requires_grad = False
    for child in model.children():
        for p in child.parameters(recurse=False):
            p.requires_grad = False
    return model.eval()


@wrong("partly-frozen")
def four_dimensional_parameters(model):
    for p in model.parameters():
        if p.dim() == 4:
            p.requires_grad = False
    return model.eval()


@wrong("partly-frozen")
def leaves_of_the_tree_only(model):
    for module in model.modules():
        if len(list(module.children())) == 0:
            module.requires_grad_(False)
    return model.eval()


@wrong("partly-frozen", "hard-coded-model")
def the_first_sixteen(model):
    for i, p in enumerate(model.parameters()):
        if i < 16:
            p.requires_grad = False
    return model.eval()


@wrong("unfreezes")
def toggles_each_parameter(model):
    for p in model.parameters():
        p.requires_grad = not p.requires_grad
    return model.eval()


@wrong("unfreezes")
def true_for_false(model):
    for p in model.parameters():
        p.requires_grad = True
    return model.eval()


@wrong("unfreezes")
def default_of_the_method(model):
    return model.eval().requires_grad_()


@wrong("unfreezes", "partly-frozen")
def biases_trained_again(model):
    model.requires_grad_(False)
    for name, p in model.named_parameters():
        p.requires_grad = "bias" in name
    return model.eval()


@wrong("returns-nothing")
def nothing_returned(model):
    model.eval()
    for p in model.parameters():
        p.requires_grad = False


@wrong("returns-nothing")
def returns_the_last_line(model):
    model.eval()
    model.requires_grad_(False)
    return print("frozen")


@wrong("wrong-type")
def returns_the_parameters(model):
    model.eval()
    for p in model.parameters():
        p.requires_grad = False
    return model.parameters()


@wrong("wrong-type")
def returns_a_flag(model):
    model.eval().requires_grad_(False)
    return True


@wrong("wrong-type")
def returns_the_modules(model):
    model.eval().requires_grad_(False)
    return list(model.children())


@wrong("wrong-type")
def returns_a_state_dict(model):
    return model.eval().requires_grad_(False).state_dict()


@wrong("returns-copy")
def freezes_a_deep_copy(model):
    frozen = copy.deepcopy(model)
    frozen.eval().requires_grad_(False)
    return frozen


@wrong("returns-copy")
def freezes_then_copies(model):
    model.eval().requires_grad_(False)
    return copy.deepcopy(model)


@wrong("returns-copy")
def a_new_sequential(model):
    model.requires_grad_(False)
    return nn.Sequential(*model.children()).eval()


@wrong("returns-copy")
def shallow_copy(model):
    model.eval().requires_grad_(False)
    return copy.copy(model)


@wrong("returns-copy")
def wrapped(model):
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, image):
            with torch.no_grad():
                return self.model(image)

    return Frozen().eval().requires_grad_(False)


@wrong("parameters-changed")
def zeroed(model):
    for p in model.parameters():
        p.data.zero_()
        p.requires_grad = False
    return model.eval()


@wrong("parameters-changed")
def rounded_to_half_precision(model):
    return model.half().eval().requires_grad_(False)


@wrong("parameters-changed", "wrong-dtype")
def made_float32(model):
    return model.eval().requires_grad_(False).float()


@wrong("parameters-changed")
def biases_removed(model):
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            module.bias = None
    return model.eval().requires_grad_(False)


@wrong("parameters-changed")
def parameters_made_plain_attributes(model):
    for module in model.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            setattr(module, name, p.detach())
    return model.eval()


@wrong("parameters-changed")
def parameters_made_buffers(model):
    for module in model.modules():
        for name in list(module._parameters):
            p = module._parameters.pop(name)
            module.register_buffer(name, None if p is None else p.detach())
    return model.eval()


@wrong("parameters-changed")
def reset_first(model):
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model.eval().requires_grad_(False)


@wrong("parameters-changed")
def clamped_a_little(model):
    for p in model.parameters():
        p.requires_grad = False
        p.clamp_(-0.05, 0.05)
    return model.eval()


@wrong("parameters-changed")
def running_statistics_forgotten(model):
    for buffer in model.buffers():
        buffer.zero_()
    return model.eval().requires_grad_(False)


@wrong("model-changed")
def dropout_taken_out(model):
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, nn.Identity())
    return model.eval().requires_grad_(False)


@wrong("model-changed", "detached")
def forward_replaced(model):
    model.eval().requires_grad_(False)
    model.forward = torch.no_grad()(model.forward)
    return model


@wrong("model-changed")
def running_statistics_switched_off(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = None
    return model.eval().requires_grad_(False)


@wrong("raises")
def model_is_not_iterable_in_pairs(model):
    for name, p in model.parameters():
        print(name)
        p.requires_grad = False
    return model.eval()


@wrong("raises")
def every_module_has_a_weight(model):
    for module in model.modules():
        module.weight.requires_grad = False
        module.bias.requires_grad = False
    return model.eval()


@wrong("raises")
def features_of_the_whole_vgg(model):
    for p in model.features.parameters():
        p.requires_grad = False
    return model.eval()


@wrong("raises")
def parameters_without_brackets(model):
    for p in model.parameters:
        p.requires_grad = False
    return model.eval()


@wrong("shared-state", build=True)
def freezes_only_the_first_time():
    def freeze(model, done=[]):  # noqa: B006
        if not done:
            model.eval().requires_grad_(False)
            done.append(True)
        return model

    return freeze


@wrong("shared-state", build=True)
def returns_the_first_model():
    def freeze(model, seen={}):  # noqa: B006
        model.eval().requires_grad_(False)
        return seen.setdefault("model", model)

    return freeze


@wrong("not-written")
def stub(model):
    raise NotImplementedError()


@wrong("not-written", "returns-nothing")
def only_a_pass(model):
    pass


@wrong("not-written", "not-eval", "still-trainable")
def hands_the_model_back(model):
    return model


@wrong("not-a-function", build=True)
def a_frozen_model():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval().requires_grad_(False)


@wrong("not-a-function", build=True)
def a_class():
    class Freeze:
        def __init__(self, model):
            model.eval().requires_grad_(False)
            self.model = model

    return Freeze


@wrong("not-a-function", build=True)
def a_flag():
    return False


@wrong("wrong-arguments")
def called_network(network):
    return network.eval().requires_grad_(False)


@wrong("wrong-arguments")
def a_second_argument(model, requires_grad):
    return model.eval().requires_grad_(requires_grad)


@wrong("wrong-arguments")
def a_global_model():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    return model.eval().requires_grad_(False)
