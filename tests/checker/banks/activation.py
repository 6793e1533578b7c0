"""Answers to `activation(image, model, index)`: the output of module `index` of an `nn.Sequential`.

Answers named in ``OUT_OF_PLACE_ONLY`` are right on the course's models, whose ReLUs work out of
place; on a model with in-place ReLUs what they stored is overwritten by the next module. An answer
that makes its own ReLUs work in place is wrong on every model. No module stands in a model twice,
and a model does not begin with a module that works in place, since that would change the image.
"""

from __future__ import annotations

import copy
import functools
import itertools

import torch
import torch.nn.functional as F
from torch import nn

from . import right, wrong

OUT_OF_PLACE_ONLY = ["list_of_all_outputs", "hook_without_a_clone", "remembered_but_not_stopped"]

# --- right ---------------------------------------------------------------------------------------


@right
def textbook(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i == index:
            return x


@right
def a_slice(image, model, index):
    return model[: index + 1](image)


@right
def a_loop_over_a_slice(image, model, index):
    for layer in model[: index + 1]:
        image = layer(image)
    return image


@right
def range_and_brackets(image, model, index):
    output = image
    for i in range(0, index + 1):
        output = model[i](output)
    return output


@right
def counting_with_while(image, model, index):
    features = image
    current = 0
    while current <= index:
        module = model[current]
        features = module(features)
        print(f"after module {current}: {tuple(features.shape)}")
        current += 1
    return features


@right
def named_children_compared_as_text(image, model, index):
    x = image
    for name, layer in model.named_children():
        x = layer(x)
        if name == str(index):
            break
    return x


@right
def modules_of_the_private_dictionary(
    image: torch.Tensor, model: nn.Sequential, index: int
) -> torch.Tensor:
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if int(name) >= index:
            return x
    raise IndexError(index)


@right
def recursion(image, model, index):
    if index == 0:
        return model[0](image)
    return model[index](recursion(image, model, index - 1))


@right
def recursion_that_cuts_the_model(image, model, index):
    first, *rest = model
    x = first(image)
    return x if index == 0 else recursion_that_cuts_the_model(x, rest, index - 1)


@right
def a_reduction(image, model, index):
    return functools.reduce(lambda x, layer: layer(x), list(model)[: index + 1], image)


@right
def islice_of_the_children(image, model, index):
    for layer in itertools.islice(model.children(), index + 1):
        image = layer.forward(image)
    return image


@right
def accumulated_up_to_the_index(image, model, index):
    states = itertools.accumulate(model, lambda x, layer: layer(x), initial=image)
    return next(itertools.islice(states, index + 1, None))


@right
def a_new_sequential(image, model, index):
    head = nn.Sequential(*list(model.children())[: index + 1])
    return head(image)


@right
def every_output_cloned(image, model, index):
    outputs = []
    x = image
    for layer in model:
        x = layer(x)
        outputs.append(x.clone())
    return outputs[index]


@right
def dictionary_of_clones(image, model, index):
    outputs, x = {}, image
    for number, layer in enumerate(model):
        x = layer(x)
        outputs[number] = x + 0
    print(sorted(outputs))
    return outputs[index]


@right
def hook_that_clones(image, model, index):
    kept = []
    handle = model[index].register_forward_hook(lambda m, i, o: kept.append(o.clone()))
    try:
        model(image)
    finally:
        handle.remove()
    return kept[0]


@right
def pulled_from_a_generator(image, model, index):
    def outputs():
        x = image
        for layer in model:
            x = layer(x)
            yield x

    for number, output in enumerate(outputs()):
        if number == index:
            return output


@right
def torchvision_feature_extractor(image, model, index):
    from torchvision.models.feature_extraction import create_feature_extractor

    return create_feature_extractor(model, {str(index): "wanted"})(image)["wanted"]


@right
def torchvision_layer_getter(image, model, index):
    from torchvision.models._utils import IntermediateLayerGetter

    return IntermediateLayerGetter(model, {str(index): "out"})(image)["out"]


@right
def a_copy_without_in_place(image, model, index):
    model = copy.deepcopy(model)
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    outputs = [image]
    for layer in model:
        outputs.append(layer(outputs[-1]))
    return outputs[index + 1]


@right
def relu_done_out_of_place(image, model, index):
    outputs = []
    x = image
    for layer in model:
        x = F.relu(x) if isinstance(layer, nn.ReLU) else layer(x.clone())
        outputs.append(x)
    return outputs[index]


@right(build=True)
def a_lambda():
    return lambda image, model, index: nn.Sequential(*[model[i] for i in range(index + 1)])(image)


@right(build=True)
def partial_of_a_runner():
    def run(image, model, index, first):
        for number in range(first, index + 1):
            image = model.get_submodule(str(number))(image)
        return image

    return functools.partial(run, first=0)


@right(build=True)
def a_module():
    class Activation(nn.Module):
        def forward(self, image, model, index):
            for layer in model[:index]:
                image = layer(image)
            return model[index](image)

    return Activation()


@right(build=True)
def callable_with_a_counter():
    class Walker:
        def __call__(self, image, model, index):
            self.remaining = index + 1
            x = image
            for layer in model:
                if self.remaining == 0:
                    break
                x = layer(x)
                self.remaining -= 1
            return x

    return Walker()


@right
def list_of_all_outputs(image, model, index):
    outputs = []
    x = image
    for layer in model:
        x = layer(x)
        outputs.append(x)
    return outputs[index]


@right
def hook_without_a_clone(image, model, index):
    kept = {}
    handle = model[index].register_forward_hook(lambda m, i, o: kept.update(out=o))
    try:
        model(image)
    finally:
        handle.remove()
    return kept["out"]


@right
def remembered_but_not_stopped(image, model, index):
    result = None
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i == index:
            result = x
    return result


@right
def view_for_a_picture(image, model, index):
    b, c, h, w = image.shape
    rows = image.view(b * c, h * w)
    return model[: index + 1](rows.view(b, c, h, w))


# --- wrong ---------------------------------------------------------------------------------------


@wrong("one-early")
def slice_without_the_module(image, model, index):
    return model[:index](image)


@wrong("one-early")
def returns_before_the_layer(image, model, index):
    x = image
    for i, layer in enumerate(model):
        if i == index:
            return x
        x = layer(x)


@wrong("one-early")
def range_ends_early(image, model, index):
    for i in range(index):
        image = model[i](image)
    return image


@wrong("one-early")
def counts_from_one(image, model, index):
    x = image
    for i, layer in enumerate(model, start=1):
        x = layer(x)
        if i == index:
            break
    return x


@wrong("one-early")
def list_that_begins_with_the_image(image, model, index):
    outputs = [image]
    for layer in model[: index + 1]:
        outputs.append(layer(outputs[-1]))
    return outputs[index]


@wrong("one-early")
def one_early_except_at_the_start(image, model, index):
    x = model[0](image)
    for i in range(1, index):
        x = model[i](x)
    return x


@wrong("one-late")
def one_module_more(image, model, index):
    return model[: index + 2](image)


@wrong("one-late")
def breaks_after_the_next(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i > index:
            break
    return x


@wrong("one-late")
def applied_once_more_at_the_end(image, model, index):
    x = image
    for i, layer in enumerate(model):
        if i > index:
            return layer(x)
        x = layer(x)
    return x


@wrong("one-late", "raises")
def range_too_long(image, model, index):
    for i in range(index + 2):
        image = model[i](image)
    return image


@wrong("applied-twice")
def module_applied_again(image, model, index):
    x = model[: index + 1](image)
    return model[index](x)


@wrong("only-that-module")
def module_on_the_image(image, model, index):
    return model[index](image)


@wrong("only-that-module")
def layer_of_the_image_in_a_loop(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = layer(image)
        if i == index:
            break
    return x


@wrong("only-that-module")
def slice_of_one(image, model, index):
    return model[index : index + 1](image)


@wrong("only-that-module", "skips-modules")
def first_and_last_only(image, model, index):
    x = model[0](image)
    return x if index == 0 else model[index](x)


@wrong("ignores-index")
def always_conv1_1(image, model, index):
    return model[0](image)


@wrong("ignores-index")
def index_set_anew(image, model, index):
    index = 5
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i == index:
            break
    return x


@wrong("ignores-index", "one-early")
def return_in_the_first_round(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i <= index:
            return x


@wrong("whole-model")
def runs_the_whole_model(image, model, index):
    return model(image)


@wrong("whole-model")
def compares_a_number_with_text(image, model, index):
    x = image
    for name, layer in model.named_children():
        x = layer(x)
        if name == index:
            break
    return x


@wrong("whole-model")
def break_forgotten(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i == index:
            print("arrived", tuple(x.shape))
    return x


@wrong("whole-model")
def zero_taken_for_nothing(image, model, index):
    if not index:
        return model(image)
    return model[: index + 1](image)


@wrong("whole-model")
def inner_continue(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i != index:
            continue
    return x


@wrong("counts-convolutions")
def nth_convolution(image, model, index):
    x, count = image, -1
    for layer in model:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            count += 1
            if count == index:
                break
    return x


@wrong("counts-convolutions")
def relus_not_counted(image, model, index):
    x, count = image, 0
    for layer in model:
        x = layer(x)
        if not isinstance(layer, nn.ReLU):
            if count == index:
                return x
            count += 1
    return x


@wrong("counts-convolutions")
def layers_with_weights_counted(image, model, index):
    wanted = [m for m in model if hasattr(m, "weight")]
    x = image
    for layer in model:
        x = layer(x)
        if layer is wanted[min(index, len(wanted) - 1)]:
            return x


@wrong("from-the-end")
def negative_slice(image, model, index):
    return model[: len(model) - index](image)


@wrong("from-the-end")
def the_other_end(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if len(model) - 1 - i == index:
            break
    return x


@wrong("skips-modules")
def relus_skipped(image, model, index):
    x = image
    for i, layer in enumerate(model):
        if not isinstance(layer, nn.ReLU) or i == index:
            x = layer(x)
        if i == index:
            break
    return x


@wrong("skips-modules")
def pools_skipped(image, model, index):
    x = image
    for layer in model[: index + 1]:
        if isinstance(layer, nn.MaxPool2d):
            continue
        x = layer(x)
    return x


@wrong("skips-modules")
def convolutions_only(image, model, index):
    x = image
    for i in range(index + 1):
        if isinstance(model[i], nn.Conv2d):
            x = model[i](x)
    return x


@wrong("skips-modules", "one-early")
def base_case_returns_the_image(image, model, index):
    if index == 0:
        return image
    return model[index](base_case_returns_the_image(image, model, index - 1))


@wrong("skips-modules")
def starts_at_one(image, model, index):
    x = image
    for i in range(1, index + 1):
        x = model[i](x)
    return x


@wrong("skips-modules")
def every_second_module(image, model, index):
    for layer in model[: index + 1 : 2]:
        image = layer(image)
    return image


@wrong("skips-modules", "hard-coded-model")
def known_kinds_only(image, model, index):
    x = image
    for layer in model[: index + 1]:
        if isinstance(layer, (nn.Conv2d, nn.ReLU, nn.MaxPool2d)):
            x = layer(x)
    return x


@wrong("wrong-order")
def modules_from_the_back(image, model, index):
    x = image
    for i in range(index, -1, -1):
        x = model[i](x)
    return x


@wrong("wrong-order")
def names_sorted_as_text(image, model, index):
    x = image
    for name in sorted(name for name, _ in model.named_children()):
        x = model._modules[name](x)
        if name == str(index):
            break
    return x


@wrong("partial-name-match", "one-early")
def beginning_of_the_text(image, model, index):
    x = image
    for name, layer in model.named_children():
        x = layer(x)
        if str(index).startswith(name):
            break
    return x


@wrong("misses-last")
def never_the_last_module(image, model, index):
    x = image
    for i in range(len(model) - 1):
        x = model[i](x)
        if i == index:
            break
    return x


@wrong("hard-coded-model", "ignores-index")
def never_beyond_conv5_1(image, model, index):
    return model[: min(index, 28) + 1](image)


@wrong("overwritten-in-place", "one-late")
def relu_in_place_for_every_convolution(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = F.relu(x, inplace=True) if isinstance(layer, nn.ReLU) else layer(x)
        if i == index:
            result = x
    return result


@wrong("overwritten-in-place", "after-relu")
def rectified_after_it_was_kept(image, model, index):
    result = model[: index + 1](image)
    F.relu_(result)
    return result


@wrong("overwritten-in-place", "one-late", "after-relu")
def list_of_outputs_with_functional_relus(image, model, index):
    outputs, x = [], image
    for layer in model:
        x = F.relu_(x) if isinstance(layer, nn.ReLU) else layer(x)
        outputs.append(x)
    return outputs[index]


@wrong("one-late")
def two_modules_more(image, model, index):
    return model[: index + 3](image)


@wrong("skips-modules")
def a_module_in_the_middle_left_out(image, model, index):
    x = image
    for i, layer in enumerate(model):
        if i != index // 2 or i == index:
            x = layer(x)
        if i == index:
            return x


@wrong("raises")
def layer_without_its_input(image, model, index):
    x = image
    for layer in model[: index + 1]:
        x = layer()
    return x


@wrong("after-relu")
def relu_added(image, model, index):
    return torch.relu(model[: index + 1](image))


@wrong("after-relu", "input-changed")
def relu_in_place_at_the_start(image, model, index):
    x = image
    for layer in model[: index + 1]:
        x = layer(F.relu_(x))
    return x


@wrong("model-changed", "overwritten-in-place")
def relus_made_in_place(image, model, index):
    outputs, x = [], image
    for layer in model:
        if isinstance(layer, nn.ReLU):
            layer.inplace = True
        x = layer(x)
        outputs.append(x)
    return outputs[index]


@wrong("model-changed")
def relus_made_out_of_place(image, model, index):
    for i, layer in enumerate(model):
        if isinstance(layer, nn.ReLU):
            model[i] = nn.ReLU(inplace=False)
    return model[: index + 1](image)


@wrong("model-changed")
def the_rest_deleted(image, model, index):
    del model[index + 1 :]
    return model(image)


@wrong("model-changed")
def the_rest_made_identity(image, model, index):
    for i in range(index + 1, len(model)):
        model[i] = nn.Identity()
    return model(image)


@wrong("model-changed")
def modules_popped(image, model, index):
    x = image
    for _ in range(index + 1):
        layer = model[0]
        del model[0]
        x = layer(x)
    return x


@wrong("model-changed")
def switched_to_training(image, model, index):
    model.train()
    return model[: index + 1](image)


@wrong("model-changed")
def frozen_on_the_way(image, model, index):
    for p in model.parameters():
        p.requires_grad = not p.requires_grad
    return model[: index + 1](image)


@wrong("model-changed")
def everything_made_float64(image, model, index):
    return model.double()[: index + 1](image.double()).to(image.dtype)


@wrong("hook-left")
def hook_never_removed(image, model, index):
    kept = []
    model[index].register_forward_hook(lambda m, i, o: kept.append(o.clone()))
    model(image)
    return kept[0]


@wrong("detached")
def under_no_grad(image, model, index):
    with torch.no_grad():
        return model[: index + 1](image)


@wrong("detached")
def inference_mode(image, model, index):
    with torch.inference_mode():
        x = image
        for layer in model[: index + 1]:
            x = layer(x)
    return x


@wrong("detached")
def detached_result(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i == index:
            return x.detach()


@wrong("detached")
def detached_between_the_modules(image, model, index):
    for i in range(index + 1):
        image = model[i](image.detach())
    return image


@wrong("detached")
def data_of_the_image(image, model, index):
    return model[: index + 1](image.data)


@wrong("detached")
def detached_except_for_the_first(image, model, index):
    x = model[0](image)
    if index > 0:
        x = model[1 : index + 1](x.data)
    return x


@wrong("detached")
def gradient_switched_off_at_the_image(image, model, index):
    image = image.clone().detach().requires_grad_(True)
    return model[: index + 1](image)


@wrong("wrong-type")
def numpy_array(image, model, index):
    return model[: index + 1](image).detach().numpy()


@wrong("wrong-type")
def pair_of_index_and_output(image, model, index):
    return index, model[: index + 1](image)


@wrong("wrong-type")
def list_up_to_the_index(image, model, index):
    outputs, x = [], image
    for layer in model[: index + 1]:
        x = layer(x)
        outputs.append(x.clone())
    return outputs


@wrong("wrong-type")
def generator_for_a_result(image, model, index):
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i == index:
            yield x


@wrong("wrong-type")
def the_module_itself(image, model, index):
    model[: index + 1](image)
    return model[index]


@wrong("wrong-type")
def the_shape(image, model, index):
    return model[: index + 1](image).shape


@wrong("wrong-type")
def a_dictionary(image, model, index):
    return {str(index): model[: index + 1](image)}


@wrong("wrong-shape")
def batch_dropped(image, model, index):
    return model[: index + 1](image)[0]


@wrong("wrong-shape")
def batch_squeezed(image, model, index):
    return model[: index + 1](image).squeeze()


@wrong("wrong-shape")
def rows_of_positions(image, model, index):
    x = model[: index + 1](image)
    return x.flatten(2)


@wrong("wrong-shape")
def batch_added_once_more(image, model, index):
    return model[: index + 1](image).unsqueeze(0)


@wrong("first-channel-only", "wrong-shape")
def first_channel(image, model, index):
    return model[: index + 1](image)[:, 0:1]


@wrong("wrong-dtype")
def float32_result(image, model, index):
    return model[: index + 1](image).float()


@wrong("wrong-dtype")
def float64_to_be_exact(image, model, index):
    return model[: index + 1](image).double()


@wrong("wrong-device")
def result_on_the_cpu(image, model, index):
    return model[: index + 1](image).cpu()


@wrong("wrong-device")
def image_to_cuda_if_there_is_one(image, model, index):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return model[: index + 1](image.to(device))


@wrong("raises", "wrong-dtype")
def float32_image(image, model, index):
    return model[: index + 1](image.float())


@wrong("raises")
def index_as_text(image, model, index):
    x = image
    for i in range(int(index) + 1):
        x = model[str(i)](x)
    return x


@wrong("raises")
def features_of_the_model(image, model, index):
    return model.features[: index + 1](image)


@wrong("raises", "hard-coded-model")
def asserts_37_modules(image, model, index):
    assert len(model) == 37
    return model[: index + 1](image)


@wrong("hard-coded-size")
def image_of_224(image, model, index):
    image = F.interpolate(image, size=(224, 224))
    return model[: index + 1](image)


@wrong("square-assumed")
def made_square_first(image, model, index):
    side = min(image.shape[-2:])
    return model[: index + 1](image[..., :side, :side])


@wrong("square-assumed")
def width_before_height(image, model, index):
    return model[: index + 1](image.transpose(2, 3))


@wrong("input-changed")
def clamped_in_place(image, model, index):
    with torch.no_grad():
        image.clamp_(0, 1)
    return model[: index + 1](image)


@wrong("input-changed")
def normalised_in_place(image, model, index):
    with torch.no_grad():
        image -= image.mean()
    return model[: index + 1](image)


@wrong("normalised")
def normalised_on_the_way_in(image, model, index):
    mean = image.new_tensor([0.485, 0.456, 0.406])[:, None, None]
    std = image.new_tensor([0.229, 0.224, 0.225])[:, None, None]
    return model[: index + 1]((image - mean) / std)


@wrong("random")
def a_fresh_network(image, model, index):
    layers = copy.deepcopy(model)
    for layer in layers.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return layers[: index + 1](image)


@wrong("random")
def dropout_at_the_end(image, model, index):
    return F.dropout(model[: index + 1](image))


@wrong("constant")
def a_picture_of_its_own(image, model, index):
    image = torch.ones_like(image, requires_grad=True)
    return model[: index + 1](image)


@wrong("constant")
def zeros_of_the_right_shape(image, model, index):
    return torch.zeros_like(model[: index + 1](image))


@wrong("shared-state", build=True)
def global_list_that_grows():
    outputs = []

    def activation(image, model, index):
        x = image
        for layer in model[: index + 1]:
            x = layer(x)
            outputs.append(x.clone())
        return outputs[index]

    return activation


@wrong("shared-state", build=True)
def cached_by_the_index():
    def activation(image, model, index, cache={}):  # noqa: B006
        if index not in cache:
            cache[index] = model[: index + 1](image)
        return cache[index]

    return activation


@wrong("not-written")
def stub(image, model, index):
    raise NotImplementedError


@wrong("not-written")
def prints_only(image, model, index):
    x = image
    for layer in model[: index + 1]:
        x = layer(x)
    print(x.shape)


@wrong("not-written", "misses-last")
def forgets_to_return_at_the_end(image, model, index):
    x = image
    for i, layer in enumerate(model):
        if i == index + 1:
            return x
        x = layer(x)


@wrong("unchanged")
def returns_the_image(image, model, index):
    x = image
    for layer in model[: index + 1]:
        layer(x)
    return x


@wrong("not-a-function", build=True)
def a_class():
    class Activation(nn.Module):
        def __init__(self, model, index):
            super().__init__()
            self.head = model[: index + 1]

        def forward(self, image):
            return self.head(image)

    return Activation


@wrong("not-a-function", build=True)
def a_cut_model():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())


@wrong("not-a-function", build=True)
def result_of_a_call():
    return torch.zeros(1, 4, 8, 8)


@wrong("wrong-arguments")
def without_index(image, model):
    return model(image)


@wrong("wrong-arguments")
def model_before_image(model, image, index):
    return model[: index + 1](image)


@wrong("wrong-arguments")
def one_argument_more(image, model, index, device):
    return model[: index + 1](image.to(device))


@wrong("wrong-arguments")
def called_layer_number(image, model, layer_number):
    return model[: layer_number + 1](image)
