"""Answers to total_loss(content, style, alpha=1.0, beta=1e6): alpha content + beta style."""

from __future__ import annotations

import functools
import math
import operator

import torch
from torch import nn

from . import right, wrong

# ---------------------------------------------------------------------------- right answers


@right
def lesson(content, style, alpha=1.0, beta=1e6):
    return alpha * content + beta * style


@right
def the_other_order(content, style, alpha=1.0, beta=1e6):
    return style * beta + content * alpha


@right
def integer_defaults(content, style, alpha=1, beta=1000000):
    total = alpha * content
    total = total + beta * style
    return total


@right
def default_as_a_power(content, style, alpha=1.0, beta=10**6):
    return content.mul(alpha).add(style.mul(beta))


@right
def accumulated_from_zero(content, style, alpha=1.0, beta=1e6):
    loss = 0
    loss += alpha * content
    loss += beta * style
    return loss


@right
def sum_of_a_generator(content, style, alpha=1.0, beta=1e6):
    weights, losses = (alpha, beta), (content, style)
    return sum(w * loss for w, loss in zip(weights, losses, strict=True))


@right
def stacked_and_summed(content, style, alpha=1.0, beta=1e6):
    return torch.stack([alpha * content, beta * style]).sum()


@right
def dot_product_of_two_vectors(content, style, alpha=1.0, beta=1e6):
    losses = torch.stack((content, style))
    weights = torch.tensor([alpha, beta], dtype=losses.dtype, device=losses.device)
    return weights @ losses


@right
def weights_from_new_tensor(content, style, alpha=1.0, beta=1e6):
    weights = content.new_tensor([alpha, beta])
    return (weights * torch.stack([content, style])).sum(dim=0)


@right
def add_with_its_alpha(content, style, alpha=1.0, beta=1e6):
    return torch.add(content * alpha, style, alpha=beta)


@right
def fused_in_place_on_an_own_tensor(content, style, alpha=1.0, beta=1e6):
    total = content * alpha
    total += style * beta
    return total


@right
def functional_with_operator(content, style, alpha=1.0, beta=1e6):
    terms = map(operator.mul, (alpha, beta), (content, style))
    return functools.reduce(operator.add, terms)


@right
def verbose_with_prints(content, style, alpha=1.0, beta=1e6):
    content_part = alpha * content
    style_part = beta * style
    print("content part:", content_part)
    print("style part:", style_part)
    total = content_part + style_part
    print(f"total: {total}")
    return total


def _weighted(loss, weight):
    return weight * loss


@right
def with_a_helper(content, style, alpha=1.0, beta=1e6):
    return _weighted(content, alpha) + _weighted(style, beta)


@right
def loop_over_a_dictionary(content, style, alpha=1.0, beta=1e6):
    weights = {"content": alpha, "style": beta}
    losses = {"content": content, "style": style}
    total = torch.zeros((), dtype=content.dtype, device=content.device)
    for name in weights:
        total = total + weights[name] * losses[name]
    return total


@right
def minus_a_minus(content, style, alpha=1.0, beta=1e6):
    return alpha * content - (-beta) * style


@right
def none_replaced_inside(content, style, alpha=1.0, beta=1e6):
    alpha = 1.0 if alpha is None else alpha
    beta = 1e6 if beta is None else beta
    return alpha * content + beta * style


@right
def einsum_of_weights_and_losses(content, style, alpha=1.0, beta=1e6):
    losses = torch.stack([content, style])
    weights = torch.as_tensor((alpha, beta), dtype=content.dtype, device=content.device)
    return torch.einsum("i,i->", weights, losses)


@right
def addcmul(content, style, alpha=1.0, beta=1e6):
    return torch.addcmul(alpha * content, torch.ones_like(style), style, value=beta)


@right(build=True)
def as_a_lambda():
    return lambda content, style, alpha=1.0, beta=1e6: alpha * content + beta * style


class _TotalLoss(nn.Module):
    def forward(self, content, style, alpha=1.0, beta=1e6):
        return alpha * content + beta * style


@right(build=True)
def as_a_module():
    return _TotalLoss()


def _combined(content, style, alpha=1.0, beta=1e6, *, combine):
    return combine(alpha * content, beta * style)


@right(build=True)
def as_a_partial():
    return functools.partial(_combined, combine=operator.add)


# ------------------------------------------------------------------- wrong: not an answer yet


@wrong("not-written")
def stub(content, style, alpha=1.0, beta=1e6):
    raise NotImplementedError("write me")


@wrong("not-written")
def computed_only(content, style, alpha=1.0, beta=1e6):
    total = alpha * content + beta * style  # noqa: F841


@wrong("not-a-function", build=True)
def result_for_two_numbers():
    return 1.0 * torch.tensor(0.5) + 1e6 * torch.tensor(1e-6)


@wrong("not-a-function", build=True)
def module_class():
    return _TotalLoss


@wrong("wrong-arguments")
def no_defaults(content, style, alpha, beta):
    return alpha * content + beta * style


@wrong("wrong-arguments")
def beta_without_a_default(content, style, beta, alpha=1.0):
    return alpha * content + beta * style


@wrong("wrong-arguments", build=True)
def partial_that_closes_the_positions():
    # with alpha bound by keyword, a third positional argument is one too many
    return functools.partial(no_defaults, alpha=1.0, beta=1e6)


@wrong("wrong-arguments")
def no_weights_at_all(content, style):
    return 1.0 * content + 1e6 * style


@wrong("wrong-arguments")
def weights_under_other_names(content, style, content_weight=1.0, style_weight=1e6):
    return content_weight * content + style_weight * style


@wrong("wrong-arguments")
def losses_under_other_names(content_loss, style_loss, alpha=1.0, beta=1e6):
    return alpha * content_loss + beta * style_loss


@wrong("wrong-arguments")
def one_weight_as_a_pair(content, style, weights=(1.0, 1e6)):
    return weights[0] * content + weights[1] * style


@wrong("wrong-arguments", "swapped-weights")
def beta_before_alpha(content, style, beta=1e6, alpha=1.0):
    # right by keyword, exchanged by position
    return alpha * content + beta * style


@wrong("wrong-arguments", "swapped-weights")
def style_before_content(style, content, alpha=1.0, beta=1e6):
    return alpha * content + beta * style


# ------------------------------------------------------------------------- wrong: the defaults


@wrong("wrong-default")
def both_one(content, style, alpha=1.0, beta=1.0):
    return alpha * content + beta * style


@wrong("wrong-default")
def beta_a_thousand(content, style, alpha=1, beta=1e3):
    return alpha * content + beta * style


@wrong("wrong-default")
def beta_with_one_zero_more(content, style, alpha=1.0, beta=10000000):
    return alpha * content + beta * style


@wrong("wrong-default")
def beta_one_millionth(content, style, alpha=1.0, beta=1e-6):
    return alpha * content + beta * style


@wrong("wrong-default")
def caret_for_power(content, style, alpha=1.0, beta=10 ^ 6):
    return alpha * content + beta * style


@wrong("wrong-default", "swapped-weights")
def defaults_exchanged(content, style, alpha=1e6, beta=1.0):
    return alpha * content + beta * style


@wrong("wrong-default")
def alpha_zero(content, style, alpha=0.0, beta=1e6):
    return alpha * content + beta * style


@wrong("wrong-default")
def none_for_both(content, style, alpha=None, beta=None):
    alpha = alpha or 1.0
    beta = beta or 1e4
    return alpha * content + beta * style


@wrong("wrong-default")
def zero_taken_for_missing(content, style, alpha=None, beta=None):
    # the defaults are right, but a weight of zero becomes the default
    alpha = alpha or 1.0
    beta = beta or 1e6
    return alpha * content + beta * style


# --------------------------------------------------------------------- wrong: how weights are used


@wrong("swapped-weights")
def weights_exchanged(content, style, alpha=1.0, beta=1e6):
    return beta * content + alpha * style


@wrong("swapped-weights")
def zipped_the_wrong_way_round(content, style, alpha=1.0, beta=1e6):
    return sum(w * x for w, x in zip((alpha, beta), (style, content), strict=True))


@wrong("alpha-ignored")
def content_unweighted(content, style, alpha=1.0, beta=1e6):
    return content + beta * style


@wrong("alpha-ignored")
def alpha_set_again_inside(content, style, alpha=1.0, beta=1e6):
    alpha = 1
    return alpha * content + beta * style


@wrong("beta-ignored")
def style_unweighted(content, style, alpha=1.0, beta=1e6):
    return alpha * content + style


@wrong("beta-ignored")
def beta_written_out(content, style, alpha=1.0, beta=1e6):
    return alpha * content + 1e6 * style


_style_weight = 1e6


@wrong("beta-ignored")
def beta_from_outside(content, style, alpha=1.0, beta=1e6):
    return alpha * content + _style_weight * style


@wrong("alpha-ignored", "beta-ignored")
def plain_sum(content, style, alpha=1.0, beta=1e6):
    return content + style


@wrong("alpha-ignored", "beta-ignored")
def weights_written_into_the_body(content, style, alpha=1.0, beta=1e6):
    alpha, beta = 1, 1e6
    return alpha * content + beta * style


@wrong("alpha-ignored")
def alpha_for_zero_content(content, style, alpha=1.0, beta=1e6):
    if alpha:
        return content + beta * style
    return beta * style


@wrong("alpha-ignored", "content-forgotten")
def style_only(content, style, alpha=1.0, beta=1e6):
    return beta * style


@wrong("beta-ignored", "style-forgotten")
def content_only(content, style, alpha=1.0, beta=1e6):
    total = alpha * content
    total.add(beta * style)
    return total


@wrong("style-forgotten", "wrong-pairing")
def content_twice(content, style, alpha=1.0, beta=1e6):
    return alpha * content + beta * content


@wrong("content-forgotten", "style-forgotten")
def assigned_for_accumulated(content, style, alpha=1.0, beta=1e6):
    total = alpha * content
    total = beta * style
    return total


@wrong("product")
def losses_multiplied(content, style, alpha=1.0, beta=1e6):
    return alpha * content * beta * style


@wrong("product")
def product_of_a_stack(content, style, alpha=1.0, beta=1e6):
    return torch.stack([alpha * content, beta * style]).prod()


@wrong("product")
def bracket_round_both(content, style, alpha=1.0, beta=1e6):
    return alpha * (content + beta * style)


@wrong("product")
def both_weights_on_both_losses(content, style, alpha=1.0, beta=1e6):
    return alpha * beta * (content + style)


@wrong("weights-added")
def weights_added_to_the_losses(content, style, alpha=1.0, beta=1e6):
    return (alpha + content) + (beta + style)


@wrong("weights-added")
def sum_of_weights_times_sum_of_losses(content, style, alpha=1.0, beta=1e6):
    return (alpha + beta) * (content + style)


@wrong("negative-style")
def style_subtracted(content, style, alpha=1.0, beta=1e6):
    return alpha * content - beta * style


@wrong("negative-content")
def content_subtracted(content, style, alpha=1.0, beta=1e6):
    return beta * style - alpha * content


@wrong("negative-content", "negative-style", "negative")
def both_signs_turned(content, style, alpha=1.0, beta=1e6):
    return -(alpha * content + beta * style)


@wrong("normalised-weights")
def divided_by_the_sum_of_the_weights(content, style, alpha=1.0, beta=1e6):
    return (alpha * content + beta * style) / (alpha + beta)


@wrong("normalised-weights")
def ratio_of_the_weights(content, style, alpha=1.0, beta=1e6):
    return content + beta / alpha * style


@wrong("normalised-weights")
def ratio_the_other_way(content, style, alpha=1.0, beta=1e6):
    return alpha / beta * content + style


@wrong("normalised-weights")
def mean_of_the_two(content, style, alpha=1.0, beta=1e6):
    return torch.stack([alpha * content, beta * style]).mean()


@wrong("normalised-weights")
def beta_as_the_complement(content, style, alpha=1.0, beta=1e6):
    return alpha * content + (1 - alpha) * beta * style


@wrong("weights-squared")
def weights_squared(content, style, alpha=1.0, beta=1e6):
    return alpha**2 * content + beta**2 * style


@wrong("weights-squared")
def style_already_weighted(content, style, alpha=1.0, beta=1e6):
    style = beta * style
    return alpha * content + beta * style


@wrong("weights-squared", "other-power")
def weighted_losses_squared(content, style, alpha=1.0, beta=1e6):
    return (alpha * content) ** 2 + (beta * style) ** 2


@wrong("other-power")
def losses_squared(content, style, alpha=1.0, beta=1e6):
    return alpha * content**2 + beta * style**2


@wrong("other-power")
def weights_as_powers(content, style, alpha=1.0, beta=1e6):
    return content**alpha + style * beta


@wrong("divided-by-weights")
def divided_by_the_weights(content, style, alpha=1.0, beta=1e6):
    return content / alpha + style / beta


@wrong("divided-by-weights")
def style_divided_by_beta(content, style, alpha=1.0, beta=1e6):
    return alpha * content + style / beta


@wrong("weights-truncated")
def weights_made_integers(content, style, alpha=1.0, beta=1e6):
    return int(alpha) * content + int(beta) * style


@wrong("raises", "normalised-weights")
def alpha_taken_out_and_divided(content, style, alpha=1.0, beta=1e6):
    # the same sum, but alpha = 0 divides by zero
    return alpha * (content + beta / alpha * style)


@wrong("other-reduction")
def larger_of_the_two(content, style, alpha=1.0, beta=1e6):
    return torch.maximum(alpha * content, beta * style)


@wrong("rooted")
def root_of_the_sum(content, style, alpha=1.0, beta=1e6):
    return torch.sqrt(alpha * content + beta * style)


@wrong("rooted")
def length_of_the_pair(content, style, alpha=1.0, beta=1e6):
    return torch.hypot(alpha * content, beta * style)


@wrong("added-constant")
def small_constant_added(content, style, alpha=1.0, beta=1e6):
    return alpha * content + beta * style + 1


# ------------------------------------------------- wrong: gradient, type, shape, dtype, device


@wrong("detached")
def content_detached(content, style, alpha=1.0, beta=1e6):
    return alpha * content.detach() + beta * style


@wrong("detached")
def style_detached(content, style, alpha=1.0, beta=1e6):
    return alpha * content + beta * style.detach()


@wrong("detached")
def style_data(content, style, alpha=1.0, beta=1e6):
    total = alpha * content
    total = total + beta * style.data
    return total


@wrong("detached")
@torch.no_grad()
def no_grad(content, style, alpha=1.0, beta=1e6):
    return alpha * content + beta * style


@wrong("detached")
def tensor_made_again(content, style, alpha=1.0, beta=1e6):
    return torch.tensor(alpha * content.item() + beta * style.item(), dtype=content.dtype)


@wrong("detached")
def one_item(content, style, alpha=1.0, beta=1e6):
    return alpha * content + beta * style.item()


@wrong("wrong-type", "detached")
def both_items(content, style, alpha=1.0, beta=1e6):
    return alpha * content.item() + beta * style.item()


@wrong("wrong-type", "detached")
def precise_float_sum(content, style, alpha=1.0, beta=1e6):
    return math.fsum([alpha * content, beta * style])


@wrong("wrong-type")
def tuple_of_terms(content, style, alpha=1.0, beta=1e6):
    return alpha * content, beta * style


@wrong("wrong-type")
def total_and_its_parts(content, style, alpha=1.0, beta=1e6):
    total = alpha * content + beta * style
    return {"total": total, "content": content, "style": style}


@wrong("not-reduced", "wrong-shape")
def stack_never_summed(content, style, alpha=1.0, beta=1e6):
    return torch.stack([alpha * content, beta * style])


@wrong("wrong-shape")
def vector_of_one(content, style, alpha=1.0, beta=1e6):
    return (alpha * content + beta * style).unsqueeze(0)


@wrong("wrong-shape")
def started_from_zeros_of_one(content, style, alpha=1.0, beta=1e6):
    total = torch.zeros(1, dtype=content.dtype, device=content.device)
    total += alpha * content
    total += beta * style
    return total


@wrong("wrong-dtype")
def cast_to_float32(content, style, alpha=1.0, beta=1e6):
    return (alpha * content + beta * style).float()


@wrong("wrong-dtype")
def cast_to_float64(content, style, alpha=1.0, beta=1e6):
    return alpha * content.double() + beta * style.double()


@wrong("wrong-dtype", "wrong-device")
def accumulated_in_a_default_tensor(content, style, alpha=1.0, beta=1e6):
    total = torch.tensor(0.0)
    total += alpha * content
    total += beta * style
    return total


@wrong("wrong-device")
def on_the_cpu(content, style, alpha=1.0, beta=1e6):
    return alpha * content.cpu() + beta * style.cpu()


@wrong("raises", "wrong-dtype", "wrong-device")
def weights_in_a_default_vector(content, style, alpha=1.0, beta=1e6):
    # float32 weights do not meet float64 losses in a dot product
    return torch.dot(torch.tensor([float(alpha), float(beta)]), torch.stack([content, style]))


@wrong("raises")
def concatenated_scalars(content, style, alpha=1.0, beta=1e6):
    return torch.cat([alpha * content, beta * style]).sum()


@wrong("raises")
def greek_letter_misspelt(content, style, alpha=1.0, beta=1e6):
    return alhpa * content + beta * style  # noqa: F821


# ----------------------------------------------------------------------- wrong: inputs, state


@wrong("input-changed")
def weighted_in_place(content, style, alpha=1.0, beta=1e6):
    with torch.no_grad():
        content *= alpha
        style *= beta
    return content + style


@wrong("input-changed")
def added_onto_the_content_loss(content, style, alpha=1.0, beta=1e6):
    content.mul_(alpha)
    content += beta * style
    return content


@wrong("random")
def noise_added(content, style, alpha=1.0, beta=1e6):
    return alpha * content + beta * style * torch.rand_like(style)


@wrong("constant")
def weights_only(content, style, alpha=1.0, beta=1e6):
    return alpha * torch.ones_like(content) + beta * torch.ones_like(style)


@wrong("shared-state")
def history_summed(content, style, alpha=1.0, beta=1e6, history=[]):  # noqa: B006
    history.append(alpha * content + beta * style)
    return sum(history)


_totals = {}


@wrong("shared-state", "constant")
def first_total_remembered(content, style, alpha=1.0, beta=1e6):
    key = (content.dtype, content.device, alpha, beta)
    return _totals.setdefault(key, alpha * content + beta * style)
