"""Answers to style_loss(target_features, style_grams, style_weights).

The sum, over the layers in style_weights, of weight times layer loss. Both dictionaries may hold
more layers than have a weight, in any order.
"""

from __future__ import annotations

import functools
import operator

import torch
import torch.nn.functional as F
from torch import nn

from . import right, wrong


def gram_matrix(tensor):
    """The student's own answer of lesson 03."""
    _, d, h, w = tensor.size()
    f = tensor.reshape(d, h * w)
    return torch.mm(f, f.t())


def layer_style_loss(target, style_gram):
    """The student's own answer of the exercise before."""
    return F.mse_loss(gram_matrix(target), style_gram) / target.numel()


# ---------------------------------------------------------------------------- right answers


@right
def lesson(target_features, style_grams, style_weights):
    style_loss = 0
    for layer in style_weights:
        target_feature = target_features[layer]
        layer_loss = layer_style_loss(target_feature, style_grams[layer])
        style_loss += style_weights[layer] * layer_loss
    return style_loss


@right
def all_in_one_function(target_features, style_grams, style_weights):
    style_loss = 0.0
    for layer in style_weights:
        target_feature = target_features[layer]
        target_gram = gram_matrix(target_feature)
        _, d, h, w = target_feature.shape
        style_gram = style_grams[layer]
        layer_loss = style_weights[layer] * torch.mean((target_gram - style_gram) ** 2)
        style_loss += layer_loss / (d * h * w)
    return style_loss


@right
def items_and_sum(target_features, style_grams, style_weights):
    return sum(
        weight * layer_style_loss(target_features[name], style_grams[name])
        for name, weight in style_weights.items()
    )


@right
def stacked_and_summed(target_features, style_grams, style_weights):
    losses = [
        layer_style_loss(target_features[k], style_grams[k]) * style_weights[k]
        for k in style_weights
    ]
    return torch.stack(losses).sum()


@right
def started_from_a_tensor(target_features, style_grams, style_weights):
    loss = torch.tensor(0.0)
    for name, weight in style_weights.items():
        loss = loss + weight * layer_style_loss(target_features[name], style_grams[name])
    return loss


@right
def started_from_a_zero_like_the_features(target_features, style_grams, style_weights):
    some = next(iter(target_features.values()))
    total = some.new_zeros(())
    for name in style_weights.keys():  # noqa: SIM118
        total += style_weights[name] * layer_style_loss(target_features[name], style_grams[name])
    return total


@right
def dot_with_a_vector_of_weights(target_features, style_grams, style_weights):
    names = list(style_weights)
    losses = torch.stack([layer_style_loss(target_features[n], style_grams[n]) for n in names])
    weights = losses.new_tensor([style_weights[n] for n in names])
    return torch.dot(weights, losses)


@right
def over_the_features_skipping_the_unweighted(target_features, style_grams, style_weights):
    style_loss = 0
    for name, feature in target_features.items():
        if name not in style_weights:
            continue
        loss = layer_style_loss(feature, style_grams[name])
        style_loss = style_loss + loss * style_weights[name]
    return style_loss


@right
def over_the_grams_with_a_condition(target_features, style_grams, style_weights):
    return sum(
        style_weights[name] * layer_style_loss(target_features[name], gram)
        for name, gram in style_grams.items()
        if name in style_weights
    )


@right
def sorted_names(target_features, style_grams, style_weights):
    total = 0
    for name in sorted(style_weights, reverse=True):
        f, a, w = target_features[name], style_grams[name], style_weights[name]
        g = torch.einsum("bchw,bdhw->cd", f, f)
        total = total + w * (g - a).pow(2).mean() / f.numel()
    return total


@right
def reduce_with_add(target_features, style_grams, style_weights):
    def weighted(name):
        return style_weights[name] * layer_style_loss(target_features[name], style_grams[name])

    return functools.reduce(operator.add, map(weighted, style_weights))


@right
def names_of_all_three_dictionaries(target_features, style_grams, style_weights):
    shared = target_features.keys() & style_grams.keys() & style_weights.keys()
    losses = {n: layer_style_loss(target_features[n], style_grams[n]) for n in shared}
    return sum(style_weights[n] * losses[n] for n in shared)


@right
def zipped_in_one_order(target_features, style_grams, style_weights):
    names = list(style_weights.keys())
    features = [target_features[n] for n in names]
    grams = [style_grams[n] for n in names]
    loss = 0.0
    for f, a, w in zip(features, grams, style_weights.values(), strict=True):
        loss += w * layer_style_loss(f, a)
    return loss


@right
def while_loop_with_an_index(target_features, style_grams, style_weights):
    layers = list(style_weights)
    i = 0
    loss = 0
    while i < len(layers):
        print("layer", i, layers[i], "weight", style_weights[layers[i]])
        part = layer_style_loss(target_features[layers[i]], style_grams[layers[i]])
        print("  loss", part)
        loss = loss + style_weights[layers[i]] * part
        i += 1
    return loss


@right
def popped_from_a_copy(target_features, style_grams, style_weights):
    left = dict(style_weights)
    loss = 0
    while left:
        name, weight = left.popitem()
        loss = loss + weight * layer_style_loss(target_features[name], style_grams[name])
    return loss


@right
def missing_weight_is_zero(target_features, style_grams, style_weights):
    loss = 0
    for name in style_grams.keys() & target_features.keys():
        weight = style_weights.get(name, 0)
        loss = loss + weight * layer_style_loss(target_features[name], style_grams[name])
    return loss


@right
def batched_matmul_and_norm(target_features, style_grams, style_weights):
    total = 0
    for name, weight in style_weights.items():
        f = target_features[name].flatten(2)
        gram = torch.bmm(f, f.transpose(1, 2))
        norm = torch.linalg.vector_norm(gram - style_grams[name])
        total = total + weight * norm**2 / gram.numel() / f.numel()
    return total


@right
def recursive(target_features, style_grams, style_weights):
    (name, weight), *rest = style_weights.items()
    loss = weight * layer_style_loss(target_features[name], style_grams[name])
    if rest:
        return loss + recursive(target_features, style_grams, dict(rest))
    return loss


@right
def style_side_detached(target_features, style_grams, style_weights):
    fixed = {name: gram.detach() for name, gram in style_grams.items()}
    return sum(w * layer_style_loss(target_features[n], fixed[n]) for n, w in style_weights.items())


@right
def weight_on_the_error_divided_later(target_features, style_grams, style_weights):
    mse = nn.MSELoss()
    loss = 0
    for layer in style_weights:
        activation = target_features[layer]
        _batch, channels, height, width = activation.shape
        error = mse(style_grams[layer], gram_matrix(activation))
        error = error * style_weights[layer]
        error = error / channels
        error = error / (height * width)
        loss = loss + error
    return loss


class _StyleLoss(nn.Module):
    def forward(self, target_features, style_grams, style_weights):
        losses = []
        for name in style_weights:
            losses.append(
                style_weights[name] * layer_style_loss(target_features[name], style_grams[name])
            )
        return torch.stack(losses, dim=0).sum(dim=0)


@right(build=True)
def as_a_module():
    return _StyleLoss()


@right(build=True)
def as_a_lambda():
    return lambda target_features, style_grams, style_weights: sum(
        style_weights[k] * layer_style_loss(target_features[k], style_grams[k])
        for k in style_weights
    )


@right(build=True)
def as_a_partial():
    def loss(target_features, style_grams, style_weights, layer_loss):
        parts = (
            w * layer_loss(target_features[k], style_grams[k]) for k, w in pairs(style_weights)
        )
        return sum(parts)

    def pairs(dictionary):
        yield from dictionary.items()

    return functools.partial(loss, layer_loss=layer_style_loss)


# ------------------------------------------------------------------- wrong: not an answer yet


@wrong("not-written")
def stub(target_features, style_grams, style_weights):
    raise NotImplementedError


@wrong("not-written")
def summed_not_returned(target_features, style_grams, style_weights):
    style_loss = 0
    for layer in style_weights:
        loss = layer_style_loss(target_features[layer], style_grams[layer])
        style_loss += style_weights[layer] * loss


@wrong("not-a-function", build=True)
def module_class():
    return _StyleLoss


@wrong("not-a-function", build=True)
def table_of_functions():
    return {"conv1_1": layer_style_loss, "conv2_1": layer_style_loss}


@wrong("wrong-arguments")
def weights_from_the_notebook(target_features, style_grams):
    weights = {"conv1_1": 1.0, "conv2_1": 0.75, "conv3_1": 0.2, "conv4_1": 0.2, "conv5_1": 0.2}
    return sum(w * layer_style_loss(target_features[k], style_grams[k]) for k, w in weights.items())


@wrong("wrong-arguments")
def one_layer_at_a_time(target, style_gram, weight):
    return weight * layer_style_loss(target, style_gram)


# ------------------------------------------------------------------- wrong: the sum


@wrong("last-layer-only")
def assigned_for_added(target_features, style_grams, style_weights):
    style_loss = 0
    for layer in style_weights:
        loss = layer_style_loss(target_features[layer], style_grams[layer])
        style_loss = style_weights[layer] * loss
    return style_loss


@wrong("last-layer-only")
def started_again_in_the_loop(target_features, style_grams, style_weights):
    for layer in style_weights:
        total = 0
        total += style_weights[layer] * layer_style_loss(target_features[layer], style_grams[layer])
    return total


@wrong("last-layer-only")
def addition_after_the_loop(target_features, style_grams, style_weights):
    total = 0
    for layer in style_weights:
        loss = style_weights[layer] * layer_style_loss(target_features[layer], style_grams[layer])
    total += loss
    return total


@wrong("last-layer-only")
def plus_sign_after_the_equals(target_features, style_grams, style_weights):
    loss = 0
    for k in style_weights:
        loss = +style_weights[k] * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("first-layer-only")
def return_in_the_loop(target_features, style_grams, style_weights):
    style_loss = 0
    for layer in style_weights:
        loss = layer_style_loss(target_features[layer], style_grams[layer])
        style_loss += style_weights[layer] * loss
        return style_loss


@wrong("first-layer-only")
def next_of_the_weights(target_features, style_grams, style_weights):
    layer = next(iter(style_weights))
    return style_weights[layer] * layer_style_loss(target_features[layer], style_grams[layer])


@wrong("layer-missed")
def first_layer_skipped(target_features, style_grams, style_weights):
    layers = list(style_weights)
    return sum(
        (style_weights[k] * layer_style_loss(target_features[k], style_grams[k]))
        for k in (layers[1:] if len(layers) > 1 else layers)
    )


@wrong("layer-missed")
def stops_at_a_zero_weight(target_features, style_grams, style_weights):
    total = torch.zeros_like(next(iter(target_features.values())).sum())
    for k, w in style_weights.items():
        if w == 0:
            break
        total = total + w * layer_style_loss(target_features[k], style_grams[k])
    return total


@wrong("layer-missed")
def conv4_2_always_left_out(target_features, style_grams, style_weights):
    # conv4_2 is for the content, unless somebody gives it a weight
    total = torch.zeros_like(next(iter(target_features.values())).sum())
    for k in style_weights:
        if k != "conv4_2":
            total = total + style_weights[k] * layer_style_loss(target_features[k], style_grams[k])
    return total


@wrong("averaged-over-layers")
def mean_of_the_layers(target_features, style_grams, style_weights):
    losses = [
        style_weights[k] * layer_style_loss(target_features[k], style_grams[k])
        for k in style_weights
    ]
    return torch.stack(losses).mean()


@wrong("averaged-over-layers")
def divided_by_the_number_of_layers(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        loss += w * layer_style_loss(target_features[k], style_grams[k])
    return loss / len(style_weights)


@wrong("averaged-over-layers")
def divided_by_the_number_of_features(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        loss += w * layer_style_loss(target_features[k], style_grams[k])
    return loss / len(target_features)


@wrong("averaged-over-layers")
def running_average(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        loss = (loss + w * layer_style_loss(target_features[k], style_grams[k])) / 2
    return loss


@wrong("divided-by-weights")
def weighted_mean(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        loss += w * layer_style_loss(target_features[k], style_grams[k])
    return loss / sum(style_weights.values())


@wrong("divided-by-weights")
def weights_made_to_sum_to_one(target_features, style_grams, style_weights):
    total = sum(style_weights.values())
    shares = {k: w / total for k, w in style_weights.items()}
    return sum(w * layer_style_loss(target_features[k], style_grams[k]) for k, w in shares.items())


@wrong("divided-by-weights")
def slash_for_star(target_features, style_grams, style_weights):
    loss = 0
    for k in style_weights:
        loss += layer_style_loss(target_features[k], style_grams[k]) / style_weights[k]
    return loss


@wrong("divided-by-weights")
def softmax_of_the_weights(target_features, style_grams, style_weights):
    names = list(style_weights)
    losses = torch.stack([layer_style_loss(target_features[k], style_grams[k]) for k in names])
    weights = losses.new_tensor([style_weights[k] for k in names]).softmax(0)
    return (weights * losses).sum()


@wrong("product")
def layers_multiplied(target_features, style_grams, style_weights):
    loss = 1
    for k, w in style_weights.items():
        loss = loss * (w * layer_style_loss(target_features[k], style_grams[k]))
    return loss


@wrong("counted-again")
def loss_added_to_itself(target_features, style_grams, style_weights):
    # running total and its sum: the first layers count several times
    loss = 0
    history = []
    for k, w in style_weights.items():
        loss = loss + w * layer_style_loss(target_features[k], style_grams[k])
        history.append(loss)
    return sum(history)


@wrong("counted-again", "doubled")
def plus_equals_with_the_total_again(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        loss += loss + w * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("added-constant")
def started_from_one(target_features, style_grams, style_weights):
    loss = 1
    for k, w in style_weights.items():
        loss = loss + w * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("negative")
def subtracted(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        loss = loss - w * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("other-reduction")
def worst_layer(target_features, style_grams, style_weights):
    losses = [
        w * layer_style_loss(target_features[k], style_grams[k]) for k, w in style_weights.items()
    ]
    return torch.stack(losses).max()


@wrong("rooted")
def root_of_the_sum(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        loss = loss + w * layer_style_loss(target_features[k], style_grams[k])
    return loss**0.5


# ------------------------------------------------------------------- wrong: the weights


@wrong("weights-ignored")
def plain_sum_of_the_layers(target_features, style_grams, style_weights):
    return sum(layer_style_loss(target_features[k], style_grams[k]) for k in style_weights)


@wrong("weights-ignored", "hard-coded-layers")
def weights_of_the_lesson_inside(target_features, style_grams, style_weights):
    style_weights = {
        "conv1_1": 1.0,
        "conv2_1": 0.75,
        "conv3_1": 0.2,
        "conv4_1": 0.2,
        "conv5_1": 0.2,
    }
    loss = 0
    for layer in style_weights:
        part = layer_style_loss(target_features[layer], style_grams[layer])
        loss += style_weights[layer] * part
    return loss


@wrong("weights-ignored")
def a_fifth_for_every_layer(target_features, style_grams, style_weights):
    loss = 0
    for layer in style_weights:
        loss += 0.2 * layer_style_loss(target_features[layer], style_grams[layer])
    return loss


@wrong("weights-ignored")
def equal_shares(target_features, style_grams, style_weights):
    share = sum(style_weights.values()) / len(style_weights)
    loss = 0
    for layer in style_weights:
        loss += share * layer_style_loss(target_features[layer], style_grams[layer])
    return loss


@wrong("weights-ignored")
def zero_weight_taken_for_missing(target_features, style_grams, style_weights):
    return sum(
        (style_weights.get(k) or 1.0) * layer_style_loss(target_features[k], style_grams[k])
        for k in style_weights
    )


@wrong("weights-truncated")
def integer_weights(target_features, style_grams, style_weights):
    return sum(
        int(w) * layer_style_loss(target_features[k], style_grams[k])
        for k, w in style_weights.items()
    )


@wrong("weights-truncated")
def integer_vector_of_weights(target_features, style_grams, style_weights):
    losses = torch.stack(
        [layer_style_loss(target_features[k], style_grams[k]) for k in style_weights]
    )
    weights = torch.tensor(list(style_weights.values()), dtype=torch.long, device=losses.device)
    return (weights * losses).sum()


@wrong("weight-inside-square")
def weight_in_the_bracket(target_features, style_grams, style_weights):
    style_loss = 0
    for layer in style_weights:
        f = target_features[layer]
        _, d, h, w = f.shape
        difference = style_weights[layer] * (gram_matrix(f) - style_grams[layer])
        style_loss += torch.mean(difference**2) / (d * h * w)
    return style_loss


@wrong("weight-inside-square")
def weight_on_the_target_gram(target_features, style_grams, style_weights):
    style_loss = 0
    for k, weight in style_weights.items():
        f = target_features[k]
        style_loss += F.mse_loss(weight * gram_matrix(f), style_grams[k]) / f.numel()
    return style_loss


@wrong("weight-inside-square")
def weight_on_the_style_gram(target_features, style_grams, style_weights):
    style_loss = 0
    for k, weight in style_weights.items():
        style_loss += layer_style_loss(target_features[k], weight * style_grams[k])
    return style_loss


@wrong("weight-inside-square")
def weight_on_the_activation(target_features, style_grams, style_weights):
    style_loss = 0
    for k, weight in style_weights.items():
        style_loss += layer_style_loss(weight * target_features[k], style_grams[k])
    return style_loss


@wrong("weight-inside-square", "weights-squared")
def weight_squared(target_features, style_grams, style_weights):
    style_loss = 0
    for k, weight in style_weights.items():
        style_loss += weight**2 * layer_style_loss(target_features[k], style_grams[k])
    return style_loss


@wrong("weight-inside-square", "other-power")
def weighted_loss_squared(target_features, style_grams, style_weights):
    return sum(
        (w * layer_style_loss(target_features[k], style_grams[k])) ** 2
        for k, w in style_weights.items()
    )


@wrong("weights-added")
def weight_added_to_the_loss(target_features, style_grams, style_weights):
    style_loss = 0
    for k, weight in style_weights.items():
        style_loss += weight + layer_style_loss(target_features[k], style_grams[k])
    return style_loss


@wrong("weights-added")
def sum_of_weights_times_sum_of_losses(target_features, style_grams, style_weights):
    losses = sum(layer_style_loss(target_features[k], style_grams[k]) for k in style_weights)
    return sum(style_weights.values()) * losses


@wrong("wrong-pairing")
def weight_of_the_last_layer_for_all(target_features, style_grams, style_weights):
    style_loss = 0
    for layer in style_weights:
        weight = style_weights[layer]
        style_loss += layer_style_loss(target_features[layer], style_grams[layer])
    return weight * style_loss


@wrong("weights-accumulate")
def indented_one_step_too_far(target_features, style_grams, style_weights):
    # the running total is weighted again at every layer
    style_loss = 0
    for layer in style_weights:
        style_loss += layer_style_loss(target_features[layer], style_grams[layer])
        style_loss = style_loss * style_weights[layer]
    return style_loss


# ------------------------------------------------------------------- wrong: the layers


@wrong("all-features-counted")
def every_feature_with_one_by_default(target_features, style_grams, style_weights):
    style_loss = 0
    for layer, feature in target_features.items():
        gram = style_grams.get(layer, torch.zeros_like(gram_matrix(feature)))
        style_loss += style_weights.get(layer, 1.0) * layer_style_loss(feature, gram)
    return style_loss


@wrong("all-features-counted")
def loop_over_the_features(target_features, style_grams, style_weights):
    # conv4_2 has no weight: a KeyError as soon as it is there
    style_loss = 0
    for layer in target_features:
        part = layer_style_loss(target_features[layer], style_grams[layer])
        style_loss += style_weights[layer] * part
    return style_loss


@wrong("all-features-counted")
def loop_over_the_grams(target_features, style_grams, style_weights):
    return sum(
        style_weights[k] * layer_style_loss(target_features[k], style_grams[k]) for k in style_grams
    )


@wrong("all-features-counted")
def every_gram_with_one_by_default(target_features, style_grams, style_weights):
    return sum(
        style_weights.get(k, 1) * layer_style_loss(target_features[k], style_grams[k])
        for k in style_grams.keys() & target_features.keys()
    )


@wrong("hard-coded-layers")
def five_names_written_out(target_features, style_grams, style_weights):
    layers = ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"]
    style_loss = 0
    for layer in layers:
        loss = layer_style_loss(target_features[layer], style_grams[layer])
        style_loss += style_weights[layer] * loss
    return style_loss


@wrong("hard-coded-layers")
def only_names_that_end_in_one(target_features, style_grams, style_weights):
    total = torch.zeros_like(next(iter(target_features.values())).sum())
    for layer in style_weights:
        if layer.endswith("_1"):
            loss = layer_style_loss(target_features[layer], style_grams[layer])
            total = total + style_weights[layer] * loss
    return total


@wrong("hard-coded-layers")
def known_names_else_nothing(target_features, style_grams, style_weights):
    total = torch.zeros_like(next(iter(target_features.values())).sum())
    for i in range(1, 6):
        layer = f"conv{i}_1"
        if layer in style_weights:
            loss = layer_style_loss(target_features[layer], style_grams[layer])
            total = total + style_weights[layer] * loss
    return total


@wrong("wrong-pairing", "raises")
def values_zipped(target_features, style_grams, style_weights):
    loss = 0
    for f, a, w in zip(  # noqa: B905
        target_features.values(), style_grams.values(), style_weights.values()
    ):
        loss += w * layer_style_loss(f, a)
    return loss


@wrong("wrong-pairing")
def weights_by_position(target_features, style_grams, style_weights):
    weights = list(style_weights.values())
    loss = 0
    wanted = [k for k in target_features if k in style_weights]
    for i, layer in enumerate(wanted):
        loss += weights[i] * layer_style_loss(target_features[layer], style_grams[layer])
    return loss


@wrong("wrong-pairing", "raises")
def grams_by_position(target_features, style_grams, style_weights):
    grams = list(style_grams.values())
    loss = 0
    for i, layer in enumerate(style_weights):
        loss += style_weights[layer] * layer_style_loss(target_features[layer], grams[i])
    return loss


@wrong("wrong-pairing")
def sorted_weights_beside_unsorted_names(target_features, style_grams, style_weights):
    weights = sorted(style_weights.values(), reverse=True)
    loss = 0
    for layer, weight in zip(sorted(style_weights), weights, strict=True):
        loss += weight * layer_style_loss(target_features[layer], style_grams[layer])
    return loss


@wrong("wrong-pairing", "raises")
def one_gram_for_all_layers(target_features, style_grams, style_weights):
    loss = 0
    style_gram = style_grams[next(iter(style_weights))]
    for layer in style_weights:
        loss += style_weights[layer] * layer_style_loss(target_features[layer], style_gram)
    return loss


# ------------------------------------------------------------------- wrong: the layer loss


@wrong("missing-division")
def division_forgotten(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        loss += w * F.mse_loss(gram_matrix(target_features[k]), style_grams[k])
    return loss


@wrong("missing-division", "wrong-division")
def divided_once_at_the_end(target_features, style_grams, style_weights):
    # the sizes of the last layer serve for all
    loss = 0
    for k, weight in style_weights.items():
        _, d, h, w = target_features[k].shape
        loss += weight * F.mse_loss(gram_matrix(target_features[k]), style_grams[k])
    return loss / (d * h * w)


@wrong("wrong-division")
def total_divided_inside_the_loop(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        f = target_features[k]
        loss += weight * F.mse_loss(gram_matrix(f), style_grams[k])
        loss = loss / f.numel()
    return loss


@wrong("wrong-division")
def divided_a_second_time(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        f = target_features[k]
        loss += weight * layer_style_loss(f, style_grams[k]) / f.numel()
    return loss


@wrong("style-size-division", "wrong-division")
def size_of_the_gram(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        a = style_grams[k]
        loss += weight * F.mse_loss(gram_matrix(target_features[k]), a) / a.numel()
    return loss


@wrong("wrong-division")
def positions_without_channels(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        _, _, h, w = target_features[k].shape
        loss += weight * F.mse_loss(gram_matrix(target_features[k]), style_grams[k]) / (h * w)
    return loss


@wrong("wrong-division")
def weight_variable_overwritten_by_width(target_features, style_grams, style_weights):
    # w is the weight, and then the width
    loss = 0
    for k, w in style_weights.items():
        _, d, h, w = target_features[k].shape
        loss += w * F.mse_loss(gram_matrix(target_features[k]), style_grams[k]) / (d * h * w)
    return loss


@wrong("square-assumed", "wrong-division")
def height_twice(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        _, d, h, _ = target_features[k].shape
        loss += weight * F.mse_loss(gram_matrix(target_features[k]), style_grams[k]) / (d * h * h)
    return loss


@wrong("paper-convention")
def formula_of_the_paper(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        _, n, h, w = target_features[k].shape
        squares = ((gram_matrix(target_features[k]) - style_grams[k]) ** 2).sum()
        loss += weight * squares / (4 * n**2 * (h * w) ** 2)
    return loss


@wrong("normalised-gram", "wrong-division")
def grams_divided(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        n = target_features[k].numel()
        loss += weight * F.mse_loss(gram_matrix(target_features[k]) / n, style_grams[k] / n)
    return loss


@wrong("sum-for-mean")
def sum_of_the_squares(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        f = target_features[k]
        squares = (gram_matrix(f) - style_grams[k]) ** 2
        loss += weight * squares.sum() / f.numel()
    return loss


@wrong("absolute-difference")
def l1_of_the_grams(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        f = target_features[k]
        loss += weight * F.l1_loss(gram_matrix(f), style_grams[k]) / f.numel()
    return loss


@wrong("rooted")
def root_of_each_layer(target_features, style_grams, style_weights):
    return sum(
        w * layer_style_loss(target_features[k], style_grams[k]).sqrt()
        for k, w in style_weights.items()
    )


@wrong("compares-features")
def content_loss_of_each_layer(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        f = target_features[k]
        loss += weight * torch.mean((f.flatten(2).mean(2) - style_grams[k]) ** 2) / f.numel()
    return loss


@wrong("raises", "compares-features")
def gram_forgotten(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        d = target_features[k][0].flatten(1) - style_grams[k]
        loss += weight * d.pow(2).mean() / target_features[k].numel()
    return loss


@wrong("gram-taken-twice", "raises", "hard-coded-size")
def gram_of_the_style_gram(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        loss += weight * layer_style_loss(target_features[k], gram_matrix(style_grams[k]))
    return loss


@wrong("one-side-ignored", "constant")
def target_compared_with_itself(target_features, style_grams, style_weights):
    loss = 0
    for k, weight in style_weights.items():
        loss += weight * layer_style_loss(target_features[k], gram_matrix(target_features[k]))
    return loss


# ------------------------------------------------- wrong: gradient, type, shape, dtype, device


@wrong("detached")
def features_detached(target_features, style_grams, style_weights):
    return sum(
        w * layer_style_loss(target_features[k].detach(), style_grams[k])
        for k, w in style_weights.items()
    )


@wrong("detached")
@torch.no_grad()
def no_grad(target_features, style_grams, style_weights):
    return sum(
        w * layer_style_loss(target_features[k], style_grams[k]) for k, w in style_weights.items()
    )


@wrong("detached")
def running_total_detached(target_features, style_grams, style_weights):
    # only the last layer keeps its gradient
    loss = torch.zeros_like(next(iter(target_features.values())).sum())
    for k, w in style_weights.items():
        loss = loss.detach() + w * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("detached")
def only_the_first_layer_with_a_gradient(target_features, style_grams, style_weights):
    loss = 0
    for i, (k, w) in enumerate(style_weights.items()):
        f = target_features[k] if i == 0 else target_features[k].detach()
        loss = loss + w * layer_style_loss(f, style_grams[k])
    return loss


@wrong("detached", "wrong-type")
def items_added(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        loss += w * layer_style_loss(target_features[k], style_grams[k]).item()
    return loss


@wrong("detached", "wrong-dtype")
def tensor_of_a_list(target_features, style_grams, style_weights):
    parts = [
        float(w * layer_style_loss(target_features[k], style_grams[k]))
        for k, w in style_weights.items()
    ]
    return torch.tensor(parts).sum()


@wrong("wrong-type", "not-reduced")
def list_of_layer_losses(target_features, style_grams, style_weights):
    return [
        w * layer_style_loss(target_features[k], style_grams[k]) for k, w in style_weights.items()
    ]


@wrong("wrong-type", "not-reduced")
def dictionary_of_layer_losses(target_features, style_grams, style_weights):
    return {
        k: w * layer_style_loss(target_features[k], style_grams[k])
        for k, w in style_weights.items()
    }


@wrong("wrong-type")
def total_and_parts(target_features, style_grams, style_weights):
    parts = [
        w * layer_style_loss(target_features[k], style_grams[k]) for k, w in style_weights.items()
    ]
    return sum(parts), parts


@wrong("not-reduced", "wrong-shape")
def stack_never_summed(target_features, style_grams, style_weights):
    return torch.stack(
        [w * layer_style_loss(target_features[k], style_grams[k]) for k, w in style_weights.items()]
    )


@wrong("wrong-shape")
def started_from_zeros_of_one(target_features, style_grams, style_weights):
    some = next(iter(target_features.values()))
    loss = torch.zeros(1, dtype=some.dtype, device=some.device)
    for k, w in style_weights.items():
        loss = loss + w * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("wrong-dtype", "wrong-device")
def added_in_place_to_a_default_tensor(target_features, style_grams, style_weights):
    # += keeps the float32 and the CPU of the zero it started from
    loss = torch.tensor(0.0)
    for k, w in style_weights.items():
        loss += w * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("wrong-dtype")
def float_at_the_end(target_features, style_grams, style_weights):
    loss = sum(
        w * layer_style_loss(target_features[k], style_grams[k]) for k, w in style_weights.items()
    )
    return loss.float()


@wrong("wrong-dtype")
def double_zero_to_be_safe(target_features, style_grams, style_weights):
    loss = torch.zeros((), dtype=torch.float64)
    for k, w in style_weights.items():
        loss = loss + w * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("wrong-device")
def collected_on_the_cpu(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        loss += w * layer_style_loss(target_features[k], style_grams[k]).cpu()
    return loss


@wrong("raises")
def weights_as_a_list(target_features, style_grams, style_weights):
    loss = 0
    for i, layer in enumerate(target_features):
        loss += style_weights[i] * layer_style_loss(target_features[layer], style_grams[layer])
    return loss


# ------------------------------------------------------------------- wrong: arguments, state


@wrong("argument-changed", "input-changed")
def content_layer_popped(target_features, style_grams, style_weights):
    target_features.pop("conv4_2", None)
    loss = 0
    for k, w in style_weights.items():
        loss += w * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("argument-changed", "input-changed")
def weights_used_up(target_features, style_grams, style_weights):
    loss = 0
    while style_weights:
        k, w = style_weights.popitem()
        loss = loss + w * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("argument-changed", "input-changed")
def features_replaced_by_their_grams(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        n = target_features[k].numel()
        target_features[k] = gram_matrix(target_features[k])
        loss += w * F.mse_loss(target_features[k], style_grams[k]) / n
    return loss


@wrong("argument-changed", "input-changed")
def losses_stored_in_the_weights(target_features, style_grams, style_weights):
    for k in style_weights:
        style_weights[k] *= layer_style_loss(target_features[k], style_grams[k])
    return sum(style_weights.values())


@wrong("argument-changed", "input-changed")
def missing_weights_filled_with_zero(target_features, style_grams, style_weights):
    for k in target_features:
        style_weights.setdefault(k, 0.0)
    return sum(
        style_weights[k] * layer_style_loss(target_features[k], style_grams[k])
        for k in style_weights
        if k in style_grams
    )


@wrong("argument-changed", "divided-by-weights")
def weights_normalised_in_place(target_features, style_grams, style_weights):
    total = sum(style_weights.values()) or 1
    for k in style_weights:
        style_weights[k] /= total
    return sum(
        w * layer_style_loss(target_features[k], style_grams[k]) for k, w in style_weights.items()
    )


@wrong("input-changed", "argument-changed")
def style_grams_subtracted_in_place(target_features, style_grams, style_weights):
    loss = 0
    for k, w in style_weights.items():
        f = target_features[k]
        gram = gram_matrix(f)
        wanted = style_grams[k].clone()
        style_grams[k].sub_(gram.detach())
        loss += w * F.mse_loss(gram, wanted) / f.numel()
    return loss


@wrong("random")
def one_layer_drawn_by_lot(target_features, style_grams, style_weights):
    names = list(style_weights)
    lots = torch.rand(len(names)).tolist()
    loss = 0
    for k, lot in zip(names, lots, strict=True):
        loss += 2 * lot * style_weights[k] * layer_style_loss(target_features[k], style_grams[k])
    return loss


@wrong("shared-state")
def default_list_of_losses(
    target_features,
    style_grams,
    style_weights,
    losses=[],  # noqa: B006
):
    for k, w in style_weights.items():
        losses.append(w * layer_style_loss(target_features[k], style_grams[k]))
    return sum(losses)


_total = {"loss": 0}


@wrong("shared-state")
def global_running_total(target_features, style_grams, style_weights):
    for k, w in style_weights.items():
        part = w * layer_style_loss(target_features[k], style_grams[k])
        _total["loss"] = _total["loss"] + part
    return _total["loss"]
