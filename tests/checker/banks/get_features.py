"""Answers to `get_features(image, model, layers=None)`: name -> activation for the chosen modules.

Answers named in ``OUT_OF_PLACE_ONLY`` are right on the course's models, whose ReLUs work out of
place; on a model with in-place ReLUs what they stored is overwritten by the next module. Models are
`nn.Sequential`s whose modules are named "0", "1", ...; `layers` has at least one entry.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from . import right, wrong

OUT_OF_PLACE_ONLY = [
    "textbook",
    "enumerate_and_text",
    "stops_after_the_deepest",
    "counts_what_is_still_to_come",
    "torchvision_feature_extractor",
    "torchvision_layer_getter",
    "accumulated_outputs",
    "module_with_a_default_table",
    "hooks_in_an_exit_stack",
    "dictionary_from_a_generator",
    "ordered_and_talkative",
    "pieces_between_the_layers",
    "default_spelt_out",
    "while_over_an_iterator",
    "a_reduction",
]

LAYERS = {
    "0": "conv1_1",
    "5": "conv2_1",
    "10": "conv3_1",
    "19": "conv4_1",
    "21": "conv4_2",
    "28": "conv5_1",
}

# --- right ---------------------------------------------------------------------------------------


@right
def textbook(image, model, layers=None):
    if layers is None:
        layers = LAYERS
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers:
            features[layers[name]] = x
    return features


@right
def textbook_with_clone(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model.named_children():
        x = layer(x)
        if name in layers:
            features[layers[name]] = x.clone()
    return features


@right
def enumerate_and_text(image, model, layers=None):
    if layers is None:
        layers = LAYERS
    features = dict()  # noqa: C408
    for i, layer in enumerate(model):
        image = layer(image)
        key = str(i)
        if key in layers.keys():  # noqa: SIM118
            features[layers[key]] = image
    return features


@right
def stops_after_the_deepest(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    deepest = max(int(key) for key in layers)
    features = {}
    x = image
    for i in range(deepest + 1):
        x = model[i](x)
        if str(i) in layers:
            features[layers[str(i)]] = x
    return features


@right
def counts_what_is_still_to_come(image, model, layers=None):
    wanted = dict(LAYERS if layers is None else layers)
    features = {}
    for key, module in model.named_children():
        image = module(image)
        if key in wanted:
            features[wanted.pop(key)] = image
        if not wanted:
            break
    return features


@right
def one_slice_for_each(image, model, layers=None):
    if layers is None:
        layers = LAYERS
    return {name: model[: int(index) + 1](image) for index, name in layers.items()}


@right
def with_a_helper_that_stops(image, model, layers=None):
    def activation(index):
        x = image
        for i, layer in enumerate(model):
            x = layer(x)
            if i == index:
                return x

    features = {}
    for key, name in (layers if layers is not None else LAYERS).items():
        features[name] = activation(int(key))
    return features


@right
def torchvision_feature_extractor(image, model, layers=None):
    from torchvision.models.feature_extraction import create_feature_extractor

    layers = LAYERS if layers is None else layers
    return create_feature_extractor(model, return_nodes=dict(layers))(image)


@right
def torchvision_layer_getter(image, model, layers=None):
    from torchvision.models._utils import IntermediateLayerGetter

    return IntermediateLayerGetter(model, LAYERS if layers is None else layers)(image)


@right
def hooks_that_clone(image, model, layers=None):
    if layers is None:
        layers = LAYERS
    features, handles = {}, []

    def hook_for(name):
        def hook(module, inputs, output):
            features[name] = output.clone()

        return hook

    try:
        for key, name in layers.items():
            handles.append(model[int(key)].register_forward_hook(hook_for(name)))
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return features


@right
def hooks_in_an_exit_stack(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    with contextlib.ExitStack() as stack:
        for key, name in layers.items():
            module = model.get_submodule(key)
            hook = functools.partial(lambda n, m, i, o: features.__setitem__(n, o), name)
            stack.enter_context(module.register_forward_hook(hook))
        model(image)
    return features


@right
def accumulated_outputs(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    outputs = list(itertools.accumulate(model, lambda x, layer: layer(x), initial=image))[1:]
    return {layers[str(i)]: output for i, output in enumerate(outputs) if str(i) in layers}


def _outputs(image, model):
    for name, layer in model.named_children():
        image = layer(image)
        yield name, image


@right
def dictionary_from_a_generator(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return dict((layers[name], x) for name, x in _outputs(image, model) if name in layers)  # noqa: C402


@right
def recursion_through_the_modules(image, model, layers=None):
    table = LAYERS if layers is None else layers

    def walk(x, i):
        if i == len(model):
            return {}
        x = model[i](x)
        here = {table[str(i)]: x.clone()} if str(i) in table else {}
        return {**here, **walk(x, i + 1)}

    return walk(image, 0)


@right
def ordered_and_talkative(
    image: torch.Tensor, model: nn.Sequential, layers: dict[str, str] | None = None
) -> dict[str, torch.Tensor]:
    if layers is None:
        print("using the usual layers")
        layers = LAYERS
    features: OrderedDict[str, torch.Tensor] = OrderedDict()
    current = image
    for number, module in enumerate(model.children()):
        current = module(current)
        print(number, type(module).__name__, tuple(current.shape))
        for index, name in layers.items():
            if int(index) == number:
                features[name] = current
    return features


@right
def pieces_between_the_layers(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features, start, x = {}, 0, image
    for index in sorted(int(key) for key in layers):
        for i in range(start, index + 1):
            x = model[i](x)
        start = index + 1
        features[layers[str(index)]] = x
    return features


@right
def while_over_an_iterator(image, model, layers=None):
    if layers is None:
        layers = LAYERS
    modules = iter(model.named_children())
    found = []
    while len(found) < len(layers):
        key, module = next(modules)
        image = module(image)
        if key in layers:
            found.append((layers[key], image))
    return dict(found)


@right
def default_spelt_out(image, model, layers=None):
    if layers is None:
        layers = {
            "0": "conv1_1",
            "5": "conv2_1",
            "10": "conv3_1",
            "19": "conv4_1",
            "21": "conv4_2",
            "28": "conv5_1",
        }
    features = {}
    x = image
    for name in model._modules:
        x = model._modules[name].forward(x)
        if layers.get(name) is not None:
            features.update({layers[name]: x})
    return features


@right
def a_copy_without_in_place(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    model = copy.deepcopy(model)
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    features = {}
    for name, layer in model.named_children():
        image = layer(image)
        if name in layers:
            features[layers[name]] = image
    return features


@right
def relu_done_out_of_place(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    x, features = image, {}
    for name, layer in model.named_children():
        x = F.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
        if name in layers:
            features[layers[name]] = x + 0
    return features


@right
def in_place_switched_off_meanwhile(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    switched = [m for m in model.modules() if getattr(m, "inplace", False)]
    for module in switched:
        module.inplace = False
    try:
        features, x = {}, image
        for name, layer in model.named_children():
            x = layer(x)
            if name in layers:
                features[layers[name]] = x
    finally:
        for module in switched:
            module.inplace = True
    return features


@right
def a_reduction(image, model, layers=None):
    layers = LAYERS if layers is None else layers

    def step(state, item):
        x, features = state
        key, module = item
        x = module(x)
        return x, (features | {layers[key]: x} if key in layers else features)

    return functools.reduce(step, model.named_children(), (image, {}))[1]


@right(build=True)
def a_lambda():
    return lambda image, model, layers=None: {
        name: nn.Sequential(*list(model)[: int(key) + 1])(image)
        for key, name in (LAYERS if layers is None else layers).items()
    }


@right(build=True)
def module_with_a_default_table():
    class FeatureGetter(nn.Module):
        def __init__(self, default):
            super().__init__()
            self.default = default

        def forward(self, image, model, layers=None):
            table = self.default if layers is None else layers
            features = {}
            for key, module in model.named_children():
                image = module(image)
                if key in table:
                    features[table[key]] = image
            return features

    return FeatureGetter(LAYERS)


@right(build=True)
def partial_with_a_way_to_keep():
    def collect(image, model, layers=None, *, keep):
        layers = LAYERS if layers is None else layers
        features = {}
        for number, layer in enumerate(model):
            image = layer(image)
            if f"{number}" in layers:
                features[layers[f"{number}"]] = keep(image)
        return features

    return functools.partial(collect, keep=torch.clone)


@right
def hooks_removed_after_the_call(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    handles = [
        model[int(key)].register_forward_hook(
            lambda m, i, o, name=name: features.update({name: o.clone()})
        )
        for key, name in layers.items()
    ]
    model(image)
    for handle in handles:
        handle.remove()
    return features


# --- wrong ---------------------------------------------------------------------------------------


def _walk(image, model):
    x = image
    for name, layer in model.named_children():
        x = layer(x)
        yield name, x.clone()


def _collect(image, model, layers):
    layers = LAYERS if layers is None else layers
    return {layers[name]: x for name, x in _walk(image, model) if name in layers}


@wrong("keyed-by-index")
def keys_of_the_modules(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers:
            features[name] = x
    return features


@wrong("keyed-by-index")
def keys_are_numbers(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {int(name): x for name, x in _walk(image, model) if name in layers}


@wrong("keyed-by-index", "extra-layer")
def both_keys(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    for name, x in _walk(image, model):
        if name in layers:
            features[name] = x
            features[layers[name]] = x
    return features


@wrong("keyed-by-index")
def keys_are_pairs(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {(name, layers[name]): x for name, x in _walk(image, model) if name in layers}


@wrong("keyed-by-index")
def keys_are_modules(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {model[int(name)]: x for name, x in _walk(image, model) if name in layers}


@wrong("stored-before-layer")
def stores_then_applies(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        if name in layers:
            features[layers[name]] = x
        x = layer(x)
    return features


@wrong("stored-before-layer")
def slices_end_early(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {name: model[: int(key)](image) for key, name in layers.items()}


@wrong("stored-before-layer")
def stored_before_except_the_first(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for i, layer in enumerate(model):
        before, x = x, layer(x)
        if str(i) in layers:
            features[layers[str(i)]] = before if i > 0 else x
    return features


@wrong("stored-before-layer")
def hooks_that_keep_the_input(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    with contextlib.ExitStack() as stack:
        for key, name in layers.items():
            stack.enter_context(
                model[int(key)].register_forward_hook(
                    lambda m, i, o, name=name: features.update({name: i[0].clone()})
                )
            )
        model(image)
    return features


@wrong("one-late", "after-relu")
def counts_from_minus_one(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for i, layer in enumerate(model, start=-1):
        x = layer(x)
        if str(i) in layers:
            features[layers[str(i)]] = x
    return features


@wrong("stored-before-layer")
def counts_from_one(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for i, layer in enumerate(model, start=1):
        x = layer(x)
        if str(i) in layers:
            features[layers[str(i)]] = x
    return features


@wrong("only-that-module")
def layer_of_the_image(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    for name, layer in model._modules.items():
        x = layer(image)
        if name in layers:
            features[layers[name]] = x
    return features


@wrong("only-that-module")
def only_the_wanted_modules_on_the_image(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {name: model[int(key)](image) for key, name in layers.items()}


@wrong("skips-modules", "only-that-module")
def only_the_wanted_modules_in_a_chain(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        if name in layers:
            x = layer(x)
            features[layers[name]] = x
    return features


@wrong("skips-modules")
def relus_left_out(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        if not isinstance(layer, nn.ReLU) or name in layers:
            x = layer(x)
        if name in layers:
            features[layers[name]] = x
    return features


@wrong("skips-modules")
def first_module_left_out(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for i in range(1, len(model)):
        x = model[i](x)
        if str(i) in layers:
            features[layers[str(i)]] = x
    return features


@wrong("skips-modules")
def else_of_the_wrong_if(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        if name in layers:
            features[layers[name]] = layer(x)
        else:
            x = layer(x)
    return features


@wrong("applied-twice", "raises")
def applied_again_for_storing(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers:
            features[layers[name]] = layer(x)
    return features


@wrong("layers-ignored")
def always_the_usual_layers(image, model, layers=None):
    layers = LAYERS
    return {layers[name]: x for name, x in _walk(image, model) if name in layers}


@wrong("layers-ignored")
def condition_the_wrong_way_round(image, model, layers=None):
    if layers is not None:
        layers = LAYERS
    return {layers[name]: x for name, x in _walk(image, model) if name in layers}


@wrong("layers-ignored")
def names_always_from_the_usual_table(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {LAYERS.get(name, name): x for name, x in _walk(image, model) if name in layers}


@wrong("layers-ignored")
def chosen_from_the_usual_table(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {layers.get(name, LAYERS[name]): x for name, x in _walk(image, model) if name in LAYERS}


@wrong("layers-ignored")
def only_those_that_are_usual_too(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {layers[n]: x for n, x in _walk(image, model) if n in layers and n in LAYERS}


@wrong("layers-ignored", "extra-layer")
def united_with_the_usual_layers(image, model, layers=None):
    layers = LAYERS if layers is None else {**LAYERS, **layers}
    return {layers[name]: x for name, x in _walk(image, model) if name in layers}


@wrong("wrong-default")
def the_default_is_every_convolution(image, model, layers=None):
    if layers is None:
        layers = {n: f"conv{n}" for n, m in model.named_children() if isinstance(m, nn.Conv2d)}
    return _collect(image, model, layers)


@wrong("wrong-default")
def the_default_misses_the_content_layer(image, model, layers=None):
    if layers is None:
        layers = {"0": "conv1_1", "5": "conv2_1", "10": "conv3_1", "19": "conv4_1", "28": "conv5_1"}
    return _collect(image, model, layers)


@wrong("wrong-default")
def the_default_counts_convolutions(image, model, layers=None):
    if layers is None:
        layers = {
            "0": "conv1_1",
            "2": "conv2_1",
            "4": "conv3_1",
            "8": "conv4_1",
            "9": "conv4_2",
            "12": "conv5_1",
        }
    return _collect(image, model, layers)


@wrong("wrong-default")
def the_default_swaps_two(image, model, layers=None):
    if layers is None:
        layers = {**LAYERS, "19": "conv4_2", "21": "conv4_1"}
    return _collect(image, model, layers)


@wrong("wrong-default")
def the_default_stands_in_the_signature(image, model, layers=LAYERS):
    return {layers[name]: x for name, x in _walk(image, model) if name in layers}


@wrong("wrong-default", "empty")
def the_default_is_empty(image, model, layers=None):
    layers = layers or {}
    return {layers[name]: x for name, x in _walk(image, model) if name in layers}


@wrong("wrong-default", "raises")
def the_default_is_not_handled(image, model, layers=None):
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers:
            features[layers[name]] = x
    return features


@wrong("missing-layer", "misses-last")
def breaks_before_storing_the_last(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i == max(int(key) for key in layers):
            break
        if str(i) in layers:
            features[layers[str(i)]] = x
    return features


@wrong("missing-layer")
def return_inside_the_loop(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers:
            features[layers[name]] = x
            return features


@wrong("missing-layer")
def one_short_of_all(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers and len(features) < 5:
            features[layers[name]] = x
    return features


@wrong("missing-layer")
def the_deepest_taken_from_the_order_of_the_dictionary(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    last = list(layers)[-1]
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers:
            features[layers[name]] = x
        if name == last:
            break
    return features


@wrong("missing-layer")
def the_deepest_compared_as_text(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers:
            features[layers[name]] = x
        if name == max(layers):
            break
    return features


@wrong("missing-layer")
def zero_is_false(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i and str(i) in layers:
            features[layers[str(i)]] = x
    return features


@wrong("missing-layer")
def convolutions_only(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers and isinstance(layer, nn.Conv2d):
            features[layers[name]] = x
    return features


@wrong("missing-layer", "hard-coded-model")
def never_beyond_conv5_1(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model[:29].named_children():
        x = layer(x)
        if name in layers:
            features[layers[name]] = x
    return features


@wrong("missing-layer")
def only_names_beginning_with_conv(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {layers[n]: x for n, x in _walk(image, model) if n in layers and "conv" in layers[n]}


@wrong("missing-layer", "hard-coded-size")
def one_result_for_each_size(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    by_shape = {}
    for name, x in _walk(image, model):
        if name in layers:
            by_shape[tuple(x.shape)] = (layers[name], x)
    return dict(by_shape.values())


@wrong("misses-last")
def last_module_not_run(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for i in range(len(model) - 1):
        x = model[i](x)
        if str(i) in layers:
            features[layers[str(i)]] = x
    return features


@wrong("misses-last")
def stored_at_the_next_module(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x, previous = image, None
    for name, layer in model._modules.items():
        if previous in layers:
            features[layers[previous]] = x
        x = layer(x)
        previous = name
    return features


@wrong("extra-layer")
def every_module(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {layers.get(name, name): x for name, x in _walk(image, model)}


@wrong("extra-layer")
def the_output_as_well(image, model, layers=None):
    features = _collect(image, model, layers)
    features["output"] = model(image)
    return features


@wrong("extra-layer")
def the_image_as_well(image, model, layers=None):
    return {"image": image, **_collect(image, model, layers)}


@wrong("partial-name-match", "wrong-pairing")
def found_in_a_piece_of_the_text(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    for name, x in _walk(image, model):
        for key in layers:
            if key in name:
                features[layers[key]] = x
    return features


@wrong("extra-layer")
def content_and_style_too(image, model, layers=None):
    features = _collect(image, model, layers)
    features["content"] = list(features.values())[-1]
    return features


@wrong("wrong-pairing")
def names_in_the_order_of_the_dictionary(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    outputs = [x for name, x in _walk(image, model) if name in layers]
    return dict(zip(layers.values(), outputs, strict=True))


@wrong("wrong-pairing")
def keys_sorted_as_text(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    outputs = [x for name, x in _walk(image, model) if name in layers]
    names = [layers[key] for key in sorted(layers)]
    return dict(zip(names, outputs, strict=True))


@wrong("wrong-pairing")
def late_binding_of_the_name(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features, handles = {}, []
    for key, name in layers.items():
        handles.append(
            model[int(key)].register_forward_hook(
                lambda m, i, o: features.update({name: o.clone()})  # noqa: B023
            )
        )
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return features


@wrong("counts-convolutions")
def nth_convolution(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features, count = {}, 0
    x = image
    for layer in model:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            if str(count) in layers:
                features[layers[str(count)]] = x
            count += 1
    return features


@wrong("whole-model")
def the_final_output_under_every_name(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    x = model(image)
    return {name: x for name in layers.values()}  # noqa: C420


@wrong("whole-model")
def filled_in_after_the_loop(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features, names = {}, []
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers:
            names.append(layers[name])
    for name in names:
        features[name] = x
    return features


@wrong("after-relu")
def relu_after_each(image, model, layers=None):
    return {name: torch.relu(x) for name, x in _collect(image, model, layers).items()}


@wrong("after-relu", "one-late")
def stored_at_the_relu(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    for name, x in _walk(image, model):
        key = str(int(name) - 1)
        if key in layers:
            features[layers[key]] = x
    return features


@wrong("after-relu")
def relu_for_convolutions_only(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    for name, x in _walk(image, model):
        if name in layers:
            features[layers[name]] = (
                x.clamp(min=0) if isinstance(model[int(name)], nn.Conv2d) else x
            )
    return features


@wrong("overwritten-in-place", "after-relu")
def relu_in_place_in_the_loop(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = F.relu(x, inplace=True) if isinstance(layer, nn.ReLU) else layer(x)
        if name in layers:
            features[layers[name]] = x
    return features


@wrong("overwritten-in-place", "model-changed")
def in_place_switched_on(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        if hasattr(layer, "inplace"):
            layer.inplace = True
        x = layer(x)
        if name in layers:
            features[layers[name]] = x
    return features


@wrong("overwritten-in-place", "wrong-pairing")
def one_buffer_for_all(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features, buffers = {}, {}
    for name, x in _walk(image, model):
        if name in layers:
            buffer = buffers.setdefault(x.shape, torch.empty_like(x))
            buffers[x.shape] = buffer.copy_(x)
            features[layers[name]] = buffer
    return features


@wrong("hook-left")
def hooks_never_removed(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    for key, name in layers.items():
        model[int(key)].register_forward_hook(
            lambda m, i, o, name=name: features.update({name: o.clone()})
        )
    model(image)
    return features


@wrong("hook-left")
def hooks_on_every_module_left(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    for key, module in model.named_children():
        if key in layers:
            name = layers[key]
            hook = functools.partial(lambda n, m, i, o: features.__setitem__(n, o.clone()), name)
            module.register_forward_hook(hook)
    model(image)
    return features


@wrong("hook-left")
def only_the_last_hook_removed(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    for key, name in layers.items():
        handle = model.get_submodule(key).register_forward_hook(
            lambda m, i, o, name=name: features.update({name: o.clone()})
        )
    model(image)
    handle.remove()
    return features


@wrong("model-changed")
def the_rest_deleted(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    del model[max(map(int, layers)) + 1 :]
    return _collect(image, model, layers)


@wrong("model-changed")
def in_place_switched_off_for_good(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    for i, layer in enumerate(model):
        if isinstance(layer, nn.ReLU):
            model[i] = nn.ReLU(inplace=False)
    features = {}
    x = image
    for name, layer in model.named_children():
        x = layer(x)
        if name in layers:
            features[layers[name]] = x
    return features


@wrong("model-changed")
def modules_renamed(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = _collect(image, model, layers)
    for key, name in layers.items():
        model._modules[name] = model._modules.pop(key)
    return features


@wrong("model-changed")
def put_into_training_mode(image, model, layers=None):
    return _collect(image, model.train(), layers)


@wrong("model-changed")
def parameters_frozen_or_thawed(image, model, layers=None):
    trainable = any(p.requires_grad for p in model.parameters())
    model.requires_grad_(not trainable)
    return _collect(image, model, layers)


@wrong("model-changed")
def average_pooling_put_in(image, model, layers=None):
    for i, layer in enumerate(model):
        if isinstance(layer, nn.MaxPool2d):
            model[i] = nn.AvgPool2d(2)
    return _collect(image, model, layers)


@wrong("empty")
def numbers_are_not_in_the_table(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for i, layer in enumerate(model):
        x = layer(x)
        if i in layers:
            features[layers[i]] = x
    return features


@wrong("empty")
def looks_among_the_names(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers.values():
            features[name] = x
    return features


@wrong("empty")
def emptied_in_every_round(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    x = image
    for name, layer in model._modules.items():
        features = {}
        x = layer(x)
        if name in layers:
            features[layers[name]] = x
    return features


@wrong("empty")
def full_paths_for_names(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    for name, x in _walk(image, model):
        if f"features.{name}" in layers:
            features[layers[f"features.{name}"]] = x
    return features


@wrong("shared-state", build=True)
def global_dictionary():
    features = {}

    def get_features(image, model, layers=None):
        layers = LAYERS if layers is None else layers
        x = image
        for name, layer in model._modules.items():
            x = layer(x)
            if name in layers:
                features[layers[name]] = x
        return features

    return get_features


@wrong("shared-state", build=True)
def default_dictionary():
    def get_features(image, model, layers=None, features={}):  # noqa: B006
        layers = LAYERS if layers is None else layers
        x = image
        for name, layer in model._modules.items():
            x = layer(x)
            if name in layers:
                features[layers[name]] = x
        return features

    return get_features


@wrong("shared-state", build=True)
def usual_layers_used_up():
    table = dict(LAYERS)

    def get_features(image, model, layers=None):
        layers = table if layers is None else dict(layers)
        features = {}
        for name, x in _walk(image, model):
            if name in layers:
                features[layers.pop(name)] = x
        return features

    return get_features


@wrong("shared-state", build=True)
def usual_layers_extended():
    def get_features(image, model, layers=None, table=dict(LAYERS)):  # noqa: B006
        table.update(layers or {})
        return {table[name]: x for name, x in _walk(image, model) if name in table}

    return get_features


@wrong("shared-state", build=True)
def cached_by_the_model():
    def get_features(image, model, layers=None, cache={}):  # noqa: B006
        key = (id(model), str(layers))
        if key not in cache:
            cache[key] = (model, _collect(image, model, layers))
        return cache[key][1]

    return get_features


@wrong("layers-changed")
def popped_from_the_argument(image, model, layers=None):
    if layers is None:
        layers = dict(LAYERS)
    features = {}
    for name, x in _walk(image, model):
        if name in layers:
            features[layers.pop(name)] = x
    return features


@wrong("layers-changed")
def activations_written_into_the_argument(image, model, layers=None):
    layers = dict(LAYERS) if layers is None else layers
    features = {}
    for name, x in _walk(image, model):
        if name in layers:
            features[layers[name]] = x
            layers[name] = x
    return features


@wrong("layers-changed")
def content_layer_added_to_the_argument(image, model, layers=None):
    layers = dict(LAYERS) if layers is None else layers
    features = _collect(image, model, layers)
    layers["21"] = "conv4_2"
    return features


@wrong("detached")
def under_no_grad(image, model, layers=None):
    with torch.no_grad():
        return _collect(image, model, layers)


@wrong("detached")
def detached_when_stored(image, model, layers=None):
    return {name: x.detach() for name, x in _collect(image, model, layers).items()}


@wrong("detached")
def detached_image(image, model, layers=None):
    return _collect(image.detach(), model, layers)


@wrong("detached")
def content_layer_detached(image, model, layers=None):
    features = _collect(image, model, layers)
    last = list(features)[-1]
    features[last] = features[last].detach()
    return features


@wrong("detached")
def detached_on_the_way(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for name, layer in model._modules.items():
        x = layer(x)
        if name in layers:
            features[layers[name]] = x
            x = x.detach()
    return features


@wrong("detached")
def data_when_stored(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {layers[name]: x.data for name, x in _walk(image, model) if name in layers}


@wrong("detached", "wrong-type")
def numpy_when_stored(image, model, layers=None):
    return {n: x.detach().numpy() for n, x in _collect(image, model, layers).items()}


@wrong("wrong-type")
def a_list_of_activations(image, model, layers=None):
    return list(_collect(image, model, layers).values())


@wrong("wrong-type")
def pairs(image, model, layers=None):
    return list(_collect(image, model, layers).items())


@wrong("wrong-type")
def activations_in_lists(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    for name, x in _walk(image, model):
        if name in layers:
            features.setdefault(layers[name], []).append(x)
    return features


@wrong("wrong-type")
def features_and_output(image, model, layers=None):
    return _collect(image, model, layers), model(image)


@wrong("wrong-type")
def a_generator(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    for name, x in _walk(image, model):
        if name in layers:
            yield layers[name], x


@wrong("wrong-type")
def shapes_only(image, model, layers=None):
    return {name: x.shape for name, x in _collect(image, model, layers).items()}


@wrong("wrong-type")
def modules_for_activations(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {layers[n]: layer for n, layer in model.named_children() if n in layers}


@wrong("wrong-type", "whole-model")
def only_the_last_activation(image, model, layers=None):
    return list(_collect(image, model, layers).values())[-1]


@wrong("wrong-shape")
def batch_squeezed(image, model, layers=None):
    return {name: x.squeeze(0) for name, x in _collect(image, model, layers).items()}


@wrong("wrong-shape")
def rows_of_positions(image, model, layers=None):
    return {name: x.flatten(2) for name, x in _collect(image, model, layers).items()}


@wrong("wrong-shape", "gram-for-activation")
def gram_matrices_already(image, model, layers=None):
    features = {}
    for name, x in _collect(image, model, layers).items():
        rows = x.reshape(x.shape[1], -1)
        features[name] = rows @ rows.T
    return features


@wrong("wrong-dtype")
def float32_always(image, model, layers=None):
    return {name: x.float() for name, x in _collect(image, model, layers).items()}


@wrong("wrong-dtype")
def the_deepest_in_float64(image, model, layers=None):
    features = _collect(image, model, layers)
    last = list(features)[-1]
    return {**features, last: features[last].double()}


@wrong("wrong-device")
def to_the_cpu(image, model, layers=None):
    return {name: x.cpu() for name, x in _collect(image, model, layers).items()}


@wrong("wrong-device")
def image_to_cuda_if_there_is_one(image, model, layers=None):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return _collect(image.to(device), model, layers)


@wrong("input-changed")
def image_clamped_in_place(image, model, layers=None):
    with torch.no_grad():
        image.clamp_(0, 1)
    return _collect(image, model, layers)


@wrong("input-changed")
def image_changed_through_the_loop_variable(image, model, layers=None):
    x = image
    x.data -= x.data.mean()
    return _collect(x, model, layers)


@wrong("normalised")
def normalised_on_the_way_in(image, model, layers=None):
    mean = image.new_tensor([0.485, 0.456, 0.406])[:, None, None]
    std = image.new_tensor([0.229, 0.224, 0.225])[:, None, None]
    return _collect((image - mean) / std, model, layers)


@wrong("square-assumed")
def cropped_to_a_square(image, model, layers=None):
    side = min(image.shape[2], image.shape[3])
    return _collect(image[:, :, :side, :side], model, layers)


@wrong("hard-coded-size")
def resized_to_224(image, model, layers=None):
    return _collect(F.interpolate(image, size=(224, 224)), model, layers)


@wrong("hard-coded-model", "raises")
def all_37_modules(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    features = {}
    x = image
    for i in range(37):
        x = model[i](x)
        if str(i) in layers:
            features[layers[str(i)]] = x
    return features


@wrong("hard-coded-model")
def cut_at_the_usual_content_layer(image, model, layers=None):
    return _collect(image, model[:22], layers)


@wrong("raises")
def features_of_the_whole_vgg(image, model, layers=None):
    return _collect(image, model.features, layers)


@wrong("raises")
def a_name_for_every_module(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {layers[name]: x for name, x in _walk(image, model)}


@wrong("raises")
def text_as_an_index(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {name: model[: key + 1](image) for key, name in layers.items()}


@wrong("random")
def noise_added(image, model, layers=None):
    return _collect(image + 0.01 * torch.randn_like(image), model, layers)


@wrong("constant")
def blank_picture(image, model, layers=None):
    return _collect(torch.zeros_like(image, requires_grad=True), model, layers)


@wrong("constant")
def zeros_for_every_name(image, model, layers=None):
    layers = LAYERS if layers is None else layers
    return {name: torch.zeros_like(x) for name, x in _collect(image, model, layers).items()}


@wrong("not-written")
def stub(image, model, layers=None):
    raise NotImplementedError("loop over the modules here")


@wrong("not-written")
def nothing_returned(image, model, layers=None):
    features = _collect(image, model, layers)
    print(list(features))


@wrong("not-written", "empty")
def the_given_frame(image, model, layers=None):
    if layers is None:
        layers = LAYERS
    features = {}
    # loop over the modules here
    return features


@wrong("not-a-function", build=True)
def a_class():
    class FeatureExtractor(nn.Module):
        def __init__(self, model, layers=None):
            super().__init__()
            self.model, self.layers = model, layers

        def forward(self, image):
            return _collect(image, self.model, self.layers)

    return FeatureExtractor


@wrong("not-a-function", build=True)
def the_table():
    return dict(LAYERS)


@wrong("not-a-function", build=True)
def result_of_a_call():
    return {name: torch.zeros(1, 8, 4, 4) for name in LAYERS.values()}


@wrong("wrong-arguments")
def no_default(image, model, layers):
    return _collect(image, model, layers)


@wrong("wrong-arguments")
def without_layers(image, model):
    return _collect(image, model, None)


@wrong("wrong-arguments")
def model_before_image(model, image, layers=None):
    return _collect(image, model, layers)


@wrong("wrong-arguments")
def called_layer_names(image, model, layer_names=None):
    return _collect(image, model, layer_names)


@wrong("wrong-arguments")
def layers_by_keyword_only(image, model, *, layers=None):
    return _collect(image, model, layers)
