"""Answers to `LAYERS`: which modules of VGG-19's features are the layers of Gatys et al.

Every answer is a value, so every sample is built.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from . import right, wrong

# --- right ---------------------------------------------------------------------------------------


@right(build=True)
def literal():
    return {
        "0": "conv1_1",
        "5": "conv2_1",
        "10": "conv3_1",
        "19": "conv4_1",
        "21": "conv4_2",
        "28": "conv5_1",
    }


@right(build=True)
def two_dictionaries_united():
    shallow = {"0": "conv1_1", "5": "conv2_1", "10": "conv3_1"}
    deep = {"19": "conv4_1", "21": "conv4_2", "28": "conv5_1"}
    return shallow | deep


@right(build=True)
def zipped():
    indices = ["0", "5", "10", "19", "21", "28"]
    names = ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv4_2", "conv5_1"]
    return dict(zip(indices, names, strict=True))


@right(build=True)
def numbers_turned_into_text():
    numbers = {
        "conv1_1": 0,
        "conv2_1": 5,
        "conv3_1": 10,
        "conv4_1": 19,
        "conv4_2": 21,
        "conv5_1": 28,
    }
    return {str(number): name for name, number in numbers.items()}


@right(build=True)
def content_layer_last():
    style = {"0": "conv1_1", "5": "conv2_1", "10": "conv3_1", "19": "conv4_1", "28": "conv5_1"}
    content = {"21": "conv4_2"}
    return {**style, **content}


@right(build=True)
def from_the_deepest():
    return {
        "28": "conv5_1",
        "21": "conv4_2",
        "19": "conv4_1",
        "10": "conv3_1",
        "5": "conv2_1",
        "0": "conv1_1",
    }


@right(build=True)
def ordered():
    return OrderedDict(
        [
            ("0", "conv1_1"),
            ("5", "conv2_1"),
            ("10", "conv3_1"),
            ("19", "conv4_1"),
            ("21", "conv4_2"),
            ("28", "conv5_1"),
        ]
    )


@right(build=True)
def entry_by_entry():
    layers = {}
    layers["0"] = "conv1_1"
    layers["5"] = "conv2_1"
    layers["10"] = "conv3_1"
    layers["19"] = "conv4_1"
    layers["21"] = "conv4_2"
    layers["28"] = "conv5_1"
    return layers


@right(build=True)
def names_by_formatting():
    first_of_block = [0, 5, 10, 19, 28]
    layers = {f"{index}": f"conv{block}_1" for block, index in enumerate(first_of_block, start=1)}
    layers.update({"21": "conv4_2"})
    return layers


@right(build=True)
def counted_through_the_configuration():
    names, block, number = [], 1, 0
    for entry in [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"]:
        if entry == "M":
            names.append(f"pool{block}")
            block, number = block + 1, 0
        else:
            number += 1
            names += [f"conv{block}_{number}", f"relu{block}_{number}"]
    wanted = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv4_2", "conv5_1")
    return {str(names.index(name)): name for name in wanted}


@right(build=True)
def walked_through_a_model():
    modules = []
    for convolutions in (2, 2, 4, 4, 4):
        for _ in range(convolutions):
            modules += [nn.Conv2d(1, 1, 3), nn.ReLU()]
        modules.append(nn.MaxPool2d(2))
    layers, block, conv = {}, 1, 1
    for key, module in nn.Sequential(*modules).named_children():
        if isinstance(module, nn.MaxPool2d):
            block, conv = block + 1, 1
        elif isinstance(module, nn.Conv2d):
            if conv == 1 or (block, conv) == (4, 2):
                layers[key] = f"conv{block}_{conv}"
            conv += 1
    return layers


@right(build=True)
def inverted_on_purpose():
    index_of = {
        "conv1_1": "0",
        "conv2_1": "5",
        "conv3_1": "10",
        "conv4_1": "19",
        "conv4_2": "21",
        "conv5_1": "28",
    }
    return dict(map(reversed, index_of.items()))


@right(build=True)
def split_from_text():
    text = "0 conv1_1, 5 conv2_1, 10 conv3_1, 19 conv4_1, 21 conv4_2, 28 conv5_1"
    return dict(part.split() for part in text.split(", "))


@right(build=True)
def own_subclass_of_dict():
    class Layers(dict):
        def names(self):
            return list(self.values())

    return Layers(
        {
            "0": "conv1_1",
            "5": "conv2_1",
            "10": "conv3_1",
            "19": "conv4_1",
            "21": "conv4_2",
            "28": "conv5_1",
        }
    )


@right(build=True)
def chosen_out_of_all_sixteen():
    every = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    block = [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5]
    place = [1, 2, 1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]
    table = {str(i): f"conv{b}_{p}" for i, b, p in zip(every, block, place, strict=True)}
    return {key: name for key, name in table.items() if name.endswith("_1") or name == "conv4_2"}


# --- wrong ---------------------------------------------------------------------------------------

NAMES = ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv4_2", "conv5_1"]
RIGHT = dict(zip(["0", "5", "10", "19", "21", "28"], NAMES, strict=True))


def _with_keys(*keys):
    return dict(zip(keys, NAMES, strict=True))


@wrong("counted-convolutions", build=True)
def nth_convolution_from_zero():
    return _with_keys("0", "2", "4", "8", "9", "12")


@wrong("counted-convolutions", build=True)
def nth_convolution_from_one():
    return _with_keys("1", "3", "5", "9", "10", "13")


@wrong("counted-convolutions", build=True)
def convolutions_and_pools_counted():
    return _with_keys("0", "3", "6", "11", "12", "16")


@wrong("counted-convolutions", build=True)
def relus_left_out_of_the_count():
    position, keys = 0, []
    for convolutions in (2, 2, 4, 4, 4):
        keys.append(str(position))
        if len(keys) == 4:
            keys.append(str(position + 1))
        position += convolutions + 1
    return _with_keys(*keys)


@wrong("counted-convolutions", build=True)
def pools_left_out_of_the_count():
    return _with_keys("0", "4", "8", "16", "18", "24")


@wrong("flat-names", build=True)
def flat_names_of_the_tutorial():
    return {
        "0": "conv_1",
        "5": "conv_3",
        "10": "conv_5",
        "19": "conv_9",
        "21": "conv_10",
        "28": "conv_13",
    }


@wrong("flat-names", build=True)
def numbered_one_to_six():
    return {key: f"conv_{i}" for i, key in enumerate(RIGHT, start=1)}


@wrong("flat-names", build=True)
def first_five_convolutions():
    return {"0": "conv_1", "2": "conv_2", "5": "conv_3", "7": "conv_4", "10": "conv_5"}


@wrong("missing-conv4_2", build=True)
def style_layers_only():
    return {key: name for key, name in RIGHT.items() if name.endswith("_1")}


@wrong("missing-conv4_2", "swapped-layers", build=True)
def content_layer_under_the_key_of_conv4_1():
    layers = dict(RIGHT)
    layers.pop("21")
    layers["19"] = "conv4_2"
    return layers


@wrong("missing-conv4_2", "misspelt-name", build=True)
def content_layer_called_content():
    return {**RIGHT, "21": "content"}


@wrong("swapped-layers", build=True)
def conv4_1_and_conv4_2_swapped():
    return {**RIGHT, "19": "conv4_2", "21": "conv4_1"}


@wrong("swapped-layers", build=True)
def conv2_1_and_conv3_1_swapped():
    return {**RIGHT, "5": "conv3_1", "10": "conv2_1"}


@wrong("swapped-layers", build=True)
def names_from_the_deepest():
    return dict(zip(RIGHT, reversed(NAMES), strict=True))


@wrong("swapped-layers", build=True)
def names_sorted_beside_keys_sorted_as_text():
    return dict(zip(sorted(RIGHT), NAMES, strict=True))


@wrong("swapped-layers", "one-off", build=True)
def conv4_2_put_last():
    return _with_keys("0", "5", "10", "19", "28", "21")


@wrong("int-keys", build=True)
def keys_are_numbers():
    return {0: "conv1_1", 5: "conv2_1", 10: "conv3_1", 19: "conv4_1", 21: "conv4_2", 28: "conv5_1"}


@wrong("int-keys", build=True)
def first_key_is_a_number():
    return {0: "conv1_1", **{key: name for key, name in RIGHT.items() if key != "0"}}


@wrong("int-keys", build=True)
def keys_are_floats():
    return {float(key): name for key, name in RIGHT.items()}


@wrong("inverted", build=True)
def name_to_text_index():
    return {name: key for key, name in RIGHT.items()}


@wrong("inverted", build=True)
def name_to_number():
    return {"conv1_1": 0, "conv2_1": 5, "conv3_1": 10, "conv4_1": 19, "conv4_2": 21, "conv5_1": 28}


@wrong("relu-indices", build=True)
def the_relu_after_each():
    return _with_keys("1", "6", "11", "20", "22", "29")


@wrong("relu-indices", "one-off", build=True)
def relu_of_the_content_layer_only():
    layers = dict(RIGHT)
    layers["22"] = layers.pop("21")
    return layers


@wrong("vgg16-indices", build=True)
def indices_of_vgg16():
    return _with_keys("0", "5", "10", "17", "19", "24")


@wrong("vgg19bn-indices", build=True)
def indices_of_vgg19_bn():
    return _with_keys("0", "7", "14", "27", "30", "40")


@wrong("vgg19bn-indices", "vgg16-indices", build=True)
def indices_of_vgg16_bn():
    return _with_keys("0", "7", "14", "24", "27", "34")


@wrong("pool-indices", build=True)
def the_pool_before_each_block():
    return _with_keys("0", "4", "9", "18", "21", "27")


@wrong("pool-indices", build=True)
def the_pool_after_each_block():
    return {
        "4": "conv1_1",
        "9": "conv2_1",
        "18": "conv3_1",
        "27": "conv4_1",
        "21": "conv4_2",
        "36": "conv5_1",
    }


@wrong("missing-layer", build=True)
def no_conv1_1():
    return {key: name for key, name in RIGHT.items() if key != "0"}


@wrong("missing-layer", build=True)
def no_conv5_1():
    return dict(list(RIGHT.items())[:-1])


@wrong("missing-layer", build=True)
def content_layer_only():
    return {"21": "conv4_2"}


@wrong("missing-layer", "missing-conv4_2", build=True)
def the_same_key_written_twice():
    return {
        "0": "conv1_1",
        "5": "conv2_1",
        "10": "conv3_1",
        "19": "conv4_1",
        "28": "conv4_2",
        "28": "conv5_1",  # noqa: F601
    }


@wrong("missing-layer", "not-written", build=True)
def empty():
    return {}


@wrong("extra-layer", build=True)
def conv5_2_as_well():
    return {**RIGHT, "30": "conv5_2"}


@wrong("extra-layer", build=True)
def every_convolution():
    table = {2: "1_2", 7: "2_2", 12: "3_2", 14: "3_3", 16: "3_4", 23: "4_3", 25: "4_4", 30: "5_2"}
    return RIGHT | {str(index): f"conv{name}" for index, name in table.items()}


@wrong("extra-layer", build=True)
def the_picture_as_well():
    return {"-1": "image", **RIGHT}


@wrong("misspelt-name", build=True)
def hyphens():
    return {key: name.replace("_", "-") for key, name in RIGHT.items()}


@wrong("misspelt-name", build=True)
def underscore_after_conv():
    return {key: name.replace("conv", "conv_") for key, name in RIGHT.items()}


@wrong("misspelt-name", build=True)
def capitals():
    return {key: name.capitalize() for key, name in RIGHT.items()}


@wrong("misspelt-name", build=True)
def a_blank_at_the_end():
    return {**RIGHT, "10": "conv3_1 "}


@wrong("misspelt-name", build=True)
def letters_swapped_in_one():
    return {**RIGHT, "19": "covn4_1"}


@wrong("misspelt-name", build=True)
def blocks_counted_from_zero():
    return dict(
        zip(RIGHT, ["conv0_0", "conv1_0", "conv2_0", "conv3_0", "conv3_1", "conv4_0"], strict=True)
    )


@wrong("misspelt-name", "relu-indices", build=True)
def called_relu():
    return {key: name.replace("conv", "relu") for key, name in RIGHT.items()}


@wrong("misspelt-name", "swapped-layers", build=True)
def second_convolution_of_each_block():
    return {
        "0": "conv1_2",
        "5": "conv2_2",
        "10": "conv3_2",
        "19": "conv4_2",
        "21": "conv4_3",
        "28": "conv5_2",
    }


@wrong("one-off", "relu-indices", build=True)
def all_counted_from_one():
    layers = {}
    for key, name in RIGHT.items():
        layers[str(int(key) + 1)] = name
    return layers


@wrong("one-off", build=True)
def conv4_2_at_20():
    return _with_keys("0", "5", "10", "19", "20", "28")


@wrong("one-off", build=True)
def conv5_1_at_27():
    return _with_keys("0", "5", "10", "19", "21", "27")


@wrong("one-off", build=True)
def one_too_early_after_the_first():
    return _with_keys("0", "4", "9", "18", "20", "27")


@wrong("swapped-layers", "one-off", build=True)
def the_second_of_each_block_under_the_name_of_the_first():
    return _with_keys("2", "7", "12", "21", "23", "30")


@wrong("prefixed-keys", build=True)
def keys_with_the_prefix_features():
    return {f"features.{key}": name for key, name in RIGHT.items()}


@wrong("wrong-type", build=True)
def pairs():
    return list(RIGHT.items())


@wrong("wrong-type", build=True)
def only_indices():
    return [0, 5, 10, 19, 21, 28]


@wrong("wrong-type", build=True)
def set_by_a_comma_for_a_colon():
    return {"0", "conv1_1", "5", "conv2_1", "10", "conv3_1", "19", "conv4_1", "21", "conv4_2", "28"}


@wrong("wrong-type", build=True)
def in_a_tuple_by_a_comma():
    return (dict(RIGHT),)


@wrong("wrong-type", build=True)
def two_dictionaries():
    style = {key: name for key, name in RIGHT.items() if key != "21"}
    return style, {"21": "conv4_2"}


@wrong("wrong-type", build=True)
def text_of_a_dictionary():
    return str(RIGHT)


@wrong("wrong-type", build=True)
def a_function_that_returns_it():
    def layers():
        return dict(RIGHT)

    return layers


@wrong("wrong-type", "misspelt-name", build=True)
def names_in_lists():
    return {key: [name] for key, name in RIGHT.items()}


@wrong("wrong-type", "misspelt-name", build=True)
def modules_for_names():
    return {key: nn.Conv2d(1, 1, 3) for key in RIGHT}


@wrong("not-written", build=True)
def nothing():
    return None


@wrong("not-written", build=True)
def dots():
    return ...


@wrong("not-written", build=True)
def template_not_filled_in():
    return dict.fromkeys(RIGHT, ...)


@wrong("not-written", "missing-layer", build=True)
def only_the_given_first_line():
    return {"0": "conv1_1"}
