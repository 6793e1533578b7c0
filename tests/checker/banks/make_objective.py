"""Answers to make_objective, and the small functions from lessons 02 to 04 that they build on."""

import copy
import functools
import itertools

import torch
from torch import nn
from torch.nn import functional

from . import right, wrong

LAYERS = {
    "0": "conv1_1",
    "5": "conv2_1",
    "10": "conv3_1",
    "19": "conv4_1",
    "21": "conv4_2",
    "28": "conv5_1",
}


def _features(image, model, layers=LAYERS):
    features = {}
    x = image
    for index, module in model.named_children():
        x = module(x)
        if index in layers:
            features[layers[index]] = x
    return features


def _gram(tensor):
    rows = tensor.flatten(2)[0]
    return rows @ rows.T


def _content_loss(target, content):
    return ((target - content) ** 2).mean()


def _layer_loss(target, style_gram):
    _, channels, height, width = target.shape
    return ((_gram(target) - style_gram) ** 2).mean() / (channels * height * width)


def _style_loss(features, grams, weights):
    return sum(
        weight * _layer_loss(features[name], grams[name]) for name, weight in weights.items()
    )


def _wanted(content, style, model):
    """The content's features and the style's Grams, without a graph."""
    with torch.no_grad():
        grams = {name: _gram(tensor) for name, tensor in _features(style, model).items()}
        return _features(content, model)["conv4_2"], grams


# right answers


@right
def a_closure(content, style, model, alpha, beta, style_weights):
    with torch.no_grad():
        wanted = _features(content, model)["conv4_2"]
        style_features = _features(style, model)
        grams = {name: _gram(style_features[name]) for name in style_weights}

    def objective(target):
        features = _features(target, model)
        style_term = 0
        for name, weight in style_weights.items():
            style_term += weight * _layer_loss(features[name], grams[name])
        return alpha * _content_loss(features["conv4_2"], wanted) + beta * style_term

    return objective


@right
def written_out_in_full(content, style, model, alpha, beta, style_weights):
    indices = {name: int(index) for index, name in LAYERS.items()}

    def activations(image):
        outputs = []
        for module in model:
            image = module(image)
            outputs.append(image)
        return outputs

    content_activation = activations(content)[21].detach()
    style_activations = activations(style)
    style_grams = {}
    for name in style_weights:
        f = style_activations[indices[name]].detach()
        b, c, h, w = f.size()
        f = f.view(b * c, h * w)
        style_grams[name] = torch.mm(f, f.t())

    def total_loss(target):
        outputs = activations(target)
        content_loss = torch.mean((outputs[21] - content_activation) ** 2)
        style_loss = 0.0
        for name in style_weights:
            f = outputs[indices[name]]
            b, c, h, w = f.size()
            f = f.view(b * c, h * w)
            gram = torch.mm(f, f.t())
            loss = style_weights[name] * torch.mean((gram - style_grams[name]) ** 2)
            style_loss += loss / (c * h * w)
        return alpha * content_loss + beta * style_loss

    return total_loss


class _Objective:
    def __init__(self, content, style, model, alpha, beta, style_weights):
        self.model, self.alpha, self.beta = model, alpha, beta
        self.style_weights = dict(style_weights)
        self.content, self.grams = _wanted(content, style, model)

    def __call__(self, target):
        features = _features(target, self.model)
        content = functional.mse_loss(features["conv4_2"], self.content)
        return self.beta * _style_loss(features, self.grams, self.style_weights) + (
            self.alpha * content
        )


@right
def an_object_that_is_called(content, style, model, alpha, beta, style_weights):
    return _Objective(content, style, model, alpha, beta, style_weights)


@right
def a_bound_method(content, style, model, alpha, beta, style_weights):
    return _Objective(content, style, model, alpha, beta, style_weights).__call__


def _loss_of(target, model, wanted, grams, weights, alpha, beta):
    features = _features(target, model)
    return alpha * _content_loss(features["conv4_2"], wanted) + beta * _style_loss(
        features, grams, weights
    )


@right
def a_partial(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return functools.partial(
        _loss_of,
        model=model,
        wanted=wanted,
        grams=grams,
        weights=style_weights,
        alpha=alpha,
        beta=beta,
    )


@right
def a_lambda(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


class _ObjectiveModule(nn.Module):
    def __init__(self, content, style, model, alpha, beta, style_weights):
        super().__init__()
        self.model = model
        self.alpha, self.beta, self.style_weights = alpha, beta, style_weights
        self.criterion = nn.MSELoss()
        wanted, grams = _wanted(content, style, model)
        self.register_buffer("wanted", wanted)
        for name, gram in grams.items():
            self.register_buffer(f"gram_{name}", gram)

    def forward(self, target):
        features = _features(target, self.model)
        total = self.alpha * self.criterion(features["conv4_2"], self.wanted)
        for name, weight in self.style_weights.items():
            gram = self.criterion(_gram(features[name]), getattr(self, f"gram_{name}"))
            total = total + self.beta * weight * gram / features[name].numel()
        return total


@right
def a_module(content, style, model, alpha, beta, style_weights):
    return _ObjectiveModule(content, style, model, alpha, beta, style_weights)


def _hooked_features(image, model):
    features, handles = {}, []
    for index, name in LAYERS.items():

        def keep(module, inputs, output, name=name):
            features[name] = output

        handles.append(model[int(index)].register_forward_hook(keep))
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return features


@right
def with_hooks(content, style, model, alpha, beta, style_weights):
    with torch.no_grad():
        wanted = _hooked_features(content, model)["conv4_2"]
        grams = {name: _gram(f) for name, f in _hooked_features(style, model).items()}

    def objective(target):
        features = _hooked_features(target, model)
        content_term = (features["conv4_2"] - wanted).pow(2).mean()
        style_term = sum(_layer_loss(features[n], grams[n]) * w for n, w in style_weights.items())
        return alpha * content_term + beta * style_term

    return objective


@right
def with_slices(content, style, model, alpha, beta, style_weights):
    index = {name: int(key) for key, name in LAYERS.items()}

    def layer(image, name):
        return model[: index[name] + 1](image)

    with torch.no_grad():
        wanted = layer(content, "conv4_2")
        grams = [_gram(layer(style, name)) for name in style_weights]

    def objective(target):
        style_term = 0
        for (name, weight), gram in zip(style_weights.items(), grams, strict=True):
            style_term = style_term + weight * _layer_loss(layer(target, name), gram)
        return alpha * functional.mse_loss(layer(target, "conv4_2"), wanted) + beta * style_term

    return objective


@right
def with_blocks_one_after_another(content, style, model, alpha, beta, style_weights):
    ends = [(0, "conv1_1"), (5, "conv2_1"), (10, "conv3_1"), (19, "conv4_1")]
    ends += [(21, "conv4_2"), (28, "conv5_1")]
    blocks, start = [], 0
    for end, name in ends:
        blocks.append((name, model[start : end + 1]))
        start = end + 1

    def run(image):
        features = {}
        for name, block in blocks:
            image = block(image)
            features[name] = image
        return features

    wanted = run(content)["conv4_2"].detach()
    grams = {name: _gram(feature.detach()) for name, feature in run(style).items()}

    def objective(target):
        features = run(target)
        loss = alpha * _content_loss(features["conv4_2"], wanted)
        for name in style_weights:
            loss = loss + beta * style_weights[name] * _layer_loss(features[name], grams[name])
        return loss

    return objective


@right
def with_a_generator(content, style, model, alpha, beta, style_weights):
    def walk(image):
        for index, module in enumerate(model):
            image = module(image)
            if str(index) in LAYERS:
                yield LAYERS[str(index)], image

    with torch.no_grad():
        wanted = dict(walk(content))["conv4_2"]
        grams = {name: _gram(feature) for name, feature in walk(style) if name in style_weights}

    def objective(target):
        total = 0
        for name, feature in walk(target):
            if name == "conv4_2":
                total = total + alpha * functional.mse_loss(feature, wanted)
            elif name in style_weights:
                total = total + beta * style_weights[name] * _layer_loss(feature, grams[name])
        return total

    return objective


@right
def with_accumulate(content, style, model, alpha, beta, style_weights):
    def outputs(image):
        every = itertools.accumulate(model, lambda x, module: module(x), initial=image)
        return {LAYERS[str(i)]: x for i, x in enumerate(every, start=-1) if str(i) in LAYERS}

    with torch.no_grad():
        wanted = outputs(content)["conv4_2"]
        grams = {name: _gram(x) for name, x in outputs(style).items()}

    def objective(target):
        found = outputs(target)
        terms = [w * _layer_loss(found[n], grams[n]) for n, w in style_weights.items()]
        return torch.add(alpha * _content_loss(found["conv4_2"], wanted), beta * sum(terms))

    return objective


@right
def stopping_early(content, style, model, alpha, beta, style_weights):
    def features_of(image, names):
        found = {}
        for index, module in model._modules.items():
            image = module(image)
            if LAYERS.get(index) in names:
                found[LAYERS[index]] = image
                if len(found) == len(names):
                    break
        return found

    with torch.no_grad():
        wanted = features_of(content, {"conv4_2"})["conv4_2"]
        grams = {n: _gram(f) for n, f in features_of(style, set(style_weights)).items()}
    names = {"conv4_2", *style_weights}

    def objective(target):
        found = features_of(target, names)
        content_term = functional.mse_loss(found.pop("conv4_2"), wanted)
        style_term = sum(style_weights[n] * _layer_loss(f, grams[n]) for n, f in found.items())
        return alpha * content_term + beta * style_term

    return objective


@right
def with_einsum_and_mse_loss(content, style, model, alpha, beta, style_weights):
    def gram(feature):
        return torch.einsum("bchw,bdhw->cd", feature, feature)

    @torch.no_grad()
    def prepare():
        style_features = _features(style, model)
        return _features(content, model), {n: gram(style_features[n]) for n in style_weights}

    content_features, grams = prepare()

    def objective(target):
        features = _features(target, model)
        c = functional.mse_loss(features["conv4_2"], content_features["conv4_2"])
        s = torch.stack(
            [
                w * functional.mse_loss(gram(features[n]), grams[n]) / features[n][0].numel()
                for n, w in style_weights.items()
            ]
        ).sum()
        return alpha * c + beta * s

    return objective


@right
def sums_and_counts(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        difference = features["conv4_2"] - wanted
        total = alpha * torch.sum(difference * difference) / difference.numel()
        for name in sorted(style_weights):
            c, h, w = features[name].shape[1:]
            square = torch.tensordot(features[name], features[name], dims=((0, 2, 3), (0, 2, 3)))
            square = (square - grams[name]).square().sum()
            total = total + beta * style_weights[name] * square / (c**3 * h * w)
        return total

    return objective


@right
def norm_squared(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def mean_square(difference):
        return torch.norm(difference) ** 2 / difference.numel()

    def objective(target):
        features = _features(target, model)
        total = alpha * mean_square(features["conv4_2"] - wanted)
        for name, weight in style_weights.items():
            rows = features[name].reshape(features[name].shape[1], -1)
            gram = functional.linear(rows, rows)
            total += beta * weight * mean_square(gram - grams[name]) / rows.numel()
        return total

    return objective


@right
def as_a_dot_product(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    names = list(style_weights)

    def objective(target):
        features = _features(target, model)
        losses = torch.stack([_layer_loss(features[name], grams[name]) for name in names])
        weights = losses.new_tensor([style_weights[name] for name in names])
        return alpha * nn.MSELoss()(features["conv4_2"], wanted) + beta * (losses @ weights)

    return objective


@right
def without_what_has_weight_zero(content, style, model, alpha, beta, style_weights):
    weights = {name: weight for name, weight in style_weights.items() if weight != 0}
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        total = alpha * _content_loss(features["conv4_2"], wanted)
        for name, weight in weights.items():
            total = total + beta * weight * _layer_loss(features[name], grams[name])
        return total

    return objective


@right
def in_inference_mode(content, style, model, alpha, beta, style_weights):
    # subtraction needs nothing of its second term in backward, so inference tensors will do
    with torch.inference_mode():
        wanted = _features(content, model)["conv4_2"]
        grams = {name: _gram(feature) for name, feature in _features(style, model).items()}

    def objective(target):
        features = _features(target, model)
        content_term = (features["conv4_2"] - wanted).pow(2).mean()
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@right
def with_a_frozen_copy_of_the_model(content, style, model, alpha, beta, style_weights):
    network = copy.deepcopy(model).eval().requires_grad_(False)
    wanted = _features(content.detach(), network)["conv4_2"]
    grams = {name: _gram(f) for name, f in _features(style.detach(), network).items()}

    def objective(target):
        features = _features(target, network)
        content_term = _content_loss(wanted, features["conv4_2"])
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@right
def with_feature_extractor(content, style, model, alpha, beta, style_weights):
    from torchvision.models.feature_extraction import create_feature_extractor

    extract = create_feature_extractor(model, return_nodes=LAYERS)
    with torch.no_grad():
        wanted = extract(content)["conv4_2"]
        grams = {name: _gram(feature) for name, feature in extract(style).items()}

    def objective(target):
        features = extract(target)
        content_term = functional.mse_loss(features["conv4_2"], wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@right
def asserts_and_prints(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    calls = []

    def objective(target):
        features = _features(target, model)
        content_term = _content_loss(features["conv4_2"], wanted)
        style_term = _style_loss(features, grams, style_weights)
        calls.append(content_term.item())
        if len(calls) % 50 == 1:
            print(f"call {len(calls)}: content {calls[-1]:.3g}, style {float(style_term):.3g}")
        loss = alpha * content_term + beta * style_term
        assert loss.ndim == 0
        return loss

    return objective


# wrong answers


@wrong("not-written")
def still_the_stub(content, style, model, alpha, beta, style_weights): ...


@wrong("not-written", "returns-nothing")
def forgot_to_return_the_function(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("returns-nothing", "not-written")
def the_function_returns_nothing(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        loss = _loss_of(target, model, wanted, grams, style_weights, alpha, beta)  # noqa: F841

    return objective


@wrong("returns-value")
def loss_of_the_content(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return _loss_of(content, model, wanted, grams, style_weights, alpha, beta)


@wrong("returns-value")
def function_called_on_return(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    target = content.detach().clone().requires_grad_()

    def objective(target):
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)

    return objective(target)


@wrong("wrong-arguments")
def objective_wants_more(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target, model):
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)

    return objective


@wrong("wrong-arguments", "target-fixed")
def objective_takes_nothing(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    target = content.detach().clone().requires_grad_()

    def objective():
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)

    return objective


@wrong("wrong-arguments")
def style_weights_left_out(content, style, model, alpha, beta):
    weights = {"conv1_1": 1.0, "conv2_1": 0.75, "conv3_1": 0.2, "conv4_1": 0.2, "conv5_1": 0.2}
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, weights, alpha, beta)


@wrong("swapped-weights")
def alpha_for_beta(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, beta, alpha)


@wrong("alpha-ignored")
def no_alpha(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, 1, beta)


@wrong("beta-ignored")
def no_beta(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, 1)


@wrong("beta-ignored")
def the_lessons_beta(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, 1e6)


@wrong("alpha-ignored", "beta-ignored")
def only_their_ratio(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, 1, beta / alpha)


@wrong("normalised-weights")
def weights_that_sum_to_one(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    a, b = alpha / (alpha + beta), beta / (alpha + beta)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, a, b)


@wrong("negative-style")
def style_subtracted(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, -beta)


@wrong("negative", "maximises")
def everything_negative(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: -_loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("product")
def terms_multiplied(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        content_term = alpha * _content_loss(features["conv4_2"], wanted)
        return content_term * beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("style-term-dead")
def content_only(content, style, model, alpha, beta, style_weights):
    wanted, _ = _wanted(content, style, model)

    def objective(target):
        return alpha * _content_loss(_features(target, model)["conv4_2"], wanted)

    return objective


@wrong("content-term-dead")
def style_only(content, style, model, alpha, beta, style_weights):
    _, grams = _wanted(content, style, model)

    def objective(target):
        return beta * _style_loss(_features(target, model), grams, style_weights)

    return objective


@wrong("content-term-dead")
def content_with_itself(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        content_term = _content_loss(wanted, wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("content-term-dead", "target-fixed")
def content_term_from_before(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    target = content.detach().clone()
    with torch.no_grad():
        content_term = _content_loss(_features(target, model)["conv4_2"], wanted)

    def objective(target):
        features = _features(target, model)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("style-term-dead")
def style_with_itself(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    with torch.no_grad():
        style_features = _features(style, model)

    def objective(target):
        features = _features(target, model)
        style_term = _style_loss(style_features, grams, style_weights)
        return alpha * _content_loss(features["conv4_2"], wanted) + beta * style_term

    return objective


@wrong("style-term-dead", "detached")
def style_term_as_a_number(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        style_term = _style_loss(features, grams, style_weights).item()
        return alpha * _content_loss(features["conv4_2"], wanted) + beta * style_term

    return objective


@wrong("content-term-dead", "detached")
def content_term_detached(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        content_term = _content_loss(features["conv4_2"].detach(), wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("style-term-dead", "shared-state")
def weights_used_up_by_the_first_call(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    pairs = zip(style_weights, style_weights.values(), strict=True)

    def objective(target):
        features = _features(target, model)
        loss = alpha * _content_loss(features["conv4_2"], wanted)
        for name, weight in pairs:
            loss = loss + beta * weight * _layer_loss(features[name], grams[name])
        return loss

    return objective


@wrong("shared-state", "keeps-graph")
def total_grows_with_every_call(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    total = 0

    def objective(target):
        nonlocal total
        total = total + _loss_of(target, model, wanted, grams, style_weights, alpha, beta)
        return total

    return objective


@wrong("target-fixed")
def features_of_the_target_taken_once(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    features = _features(content.detach().clone().requires_grad_(), model)

    def objective(target):
        content_term = _content_loss(features["conv4_2"], wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("target-fixed", "shared-state")
def features_of_the_first_target(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    memory = {}

    def objective(target):
        if not memory:
            memory.update(_features(target, model))
        content_term = _content_loss(memory["conv4_2"], wanted)
        return alpha * content_term + beta * _style_loss(memory, grams, style_weights)

    return objective


@wrong("target-fixed")
def looks_at_content_instead(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    target = content

    def objective(image):
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)

    return objective


@wrong("detached")
def features_of_the_target_detached(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(
        target.detach(), model, wanted, grams, style_weights, alpha, beta
    )


@wrong("detached")
def one_function_for_all_pictures(content, style, model, alpha, beta, style_weights):
    @torch.no_grad()
    def features_of(image):
        return _features(image, model)

    wanted = features_of(content)["conv4_2"]
    grams = {name: _gram(feature) for name, feature in features_of(style).items()}

    def objective(target):
        features = features_of(target)
        content_term = _content_loss(features["conv4_2"], wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("detached")
def asks_for_a_gradient_again(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        image = target.detach().clone().requires_grad_(True)
        return _loss_of(image, model, wanted, grams, style_weights, alpha, beta)

    return objective


@wrong("wrong-type", "detached")
def a_python_number(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: float(
        _loss_of(target, model, wanted, grams, style_weights, alpha, beta).detach()
    )


@wrong("wrong-type")
def all_three_losses(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        content_term = _content_loss(features["conv4_2"], wanted)
        style_term = _style_loss(features, grams, style_weights)
        return alpha * content_term + beta * style_term, content_term, style_term

    return objective


@wrong("wrong-type", "returns-value")
def the_features_and_the_grams(content, style, model, alpha, beta, style_weights):
    return _wanted(content, style, model)


@wrong("wrong-shape")
def started_from_a_vector(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        style_term = torch.zeros(1, dtype=target.dtype, device=target.device)
        for name, weight in style_weights.items():
            style_term = style_term + weight * _layer_loss(features[name], grams[name])
        return alpha * _content_loss(features["conv4_2"], wanted) + beta * style_term

    return objective


@wrong("not-reduced")
def content_not_averaged(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        content_term = (features["conv4_2"] - wanted) ** 2
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("keeps-graph")
def nothing_detached(content, style, model, alpha, beta, style_weights):
    wanted = _features(content, model)["conv4_2"]
    grams = {name: _gram(feature) for name, feature in _features(style, model).items()}
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("keeps-graph")
def only_content_detached(content, style, model, alpha, beta, style_weights):
    wanted = _features(content, model)["conv4_2"].detach()
    grams = {name: _gram(feature) for name, feature in _features(style, model).items()}
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("keeps-graph")
def only_grams_detached(content, style, model, alpha, beta, style_weights):
    wanted = _features(content, model)["conv4_2"]
    grams = {name: _gram(feature).detach() for name, feature in _features(style, model).items()}
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("keeps-graph")
def pictures_detached_but_not_the_model(content, style, model, alpha, beta, style_weights):
    # right as long as the model is frozen
    wanted = _features(content.detach(), model)["conv4_2"]
    grams = {name: _gram(feature) for name, feature in _features(style.detach(), model).items()}
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("raises", "keeps-graph")
def inference_tensors_in_mse_loss(content, style, model, alpha, beta, style_weights):
    # mse_loss saves both its arguments for backward, which inference tensors forbid
    with torch.inference_mode():
        wanted = _features(content, model)["conv4_2"]
        grams = {name: _gram(feature) for name, feature in _features(style, model).items()}

    def objective(target):
        features = _features(target, model)
        content_term = functional.mse_loss(features["conv4_2"], wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("recomputed-each-call")
def everything_inside(content, style, model, alpha, beta, style_weights):
    def objective(target):
        wanted, grams = _wanted(content, style, model)
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)

    return objective


@wrong("recomputed-each-call")
def everything_inside_from_copies(content, style, model, alpha, beta, style_weights):
    content, style = content.detach().clone(), style.detach().clone()

    def objective(target):
        wanted, grams = _wanted(content, style, model)
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)

    return objective


@wrong("recomputed-each-call")
def only_content_once(content, style, model, alpha, beta, style_weights):
    with torch.no_grad():
        wanted = _features(content, model)["conv4_2"]

    def objective(target):
        with torch.no_grad():
            grams = {name: _gram(feature) for name, feature in _features(style, model).items()}
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)

    return objective


@wrong("recomputed-each-call", "keeps-graph")
def only_grams_once(content, style, model, alpha, beta, style_weights):
    _, grams = _wanted(content, style, model)

    def objective(target):
        wanted = _features(content, model)["conv4_2"]
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)

    return objective


@wrong("aliases-pictures")
def computed_at_the_first_call(content, style, model, alpha, beta, style_weights):
    @functools.cache
    def wanted_and_grams():
        return _wanted(content, style, model)

    def objective(target):
        return _loss_of(target, model, *wanted_and_grams(), style_weights, alpha, beta)

    return objective


@wrong("aliases-pictures")
def style_computed_at_the_first_call(content, style, model, alpha, beta, style_weights):
    wanted, _ = _wanted(content, content, model)
    grams = {}

    def objective(target):
        if not grams:
            grams.update(_wanted(content, style, model)[1])
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)

    return objective


@wrong("wrong-content-layer")
def content_at_conv4_1(content, style, model, alpha, beta, style_weights):
    _, grams = _wanted(content, style, model)
    with torch.no_grad():
        wanted = _features(content, model)["conv4_1"]

    def objective(target):
        features = _features(target, model)
        content_term = _content_loss(features["conv4_1"], wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("wrong-content-layer")
def content_at_conv5_1(content, style, model, alpha, beta, style_weights):
    _, grams = _wanted(content, style, model)
    with torch.no_grad():
        wanted = _features(content, model)["conv5_1"]

    def objective(target):
        features = _features(target, model)
        content_term = _content_loss(features["conv5_1"], wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("wrong-content-layer")
def content_in_pixels(content, style, model, alpha, beta, style_weights):
    _, grams = _wanted(content, style, model)
    picture = content.detach().clone()

    def objective(target):
        style_term = _style_loss(_features(target, model), grams, style_weights)
        return alpha * _content_loss(target, picture) + beta * style_term

    return objective


@wrong("wrong-content-layer", "all-features-counted")
def content_at_every_layer(content, style, model, alpha, beta, style_weights):
    _, grams = _wanted(content, style, model)
    with torch.no_grad():
        wanted = _features(content, model)

    def objective(target):
        features = _features(target, model)
        content_term = sum(_content_loss(features[name], wanted[name]) for name in features)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


def _objective_with_layers(layers, content, style, model, alpha, beta, style_weights):
    with torch.no_grad():
        wanted = _features(content, model, layers)["conv4_2"]
        grams = {name: _gram(f) for name, f in _features(style, model, layers).items()}

    def objective(target):
        features = _features(target, model, layers)
        content_term = _content_loss(features["conv4_2"], wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("swapped-layers", "wrong-content-layer")
def conv4_1_and_conv4_2_swapped(content, style, model, alpha, beta, style_weights):
    layers = {**LAYERS, "19": "conv4_2", "21": "conv4_1"}
    return _objective_with_layers(layers, content, style, model, alpha, beta, style_weights)


@wrong("after-relu")
def activations_after_the_relu(content, style, model, alpha, beta, style_weights):
    layers = {str(int(index) + 1): name for index, name in LAYERS.items() if index != "28"}
    layers["28"] = "conv5_1"
    return _objective_with_layers(layers, content, style, model, alpha, beta, style_weights)


@wrong("counted-convolutions")
def ordinal_taken_for_the_index(content, style, model, alpha, beta, style_weights):
    layers = {"0": "conv1_1", "2": "conv2_1", "4": "conv3_1", "8": "conv4_1"}
    layers.update({"9": "conv4_2", "12": "conv5_1"})
    return _objective_with_layers(layers, content, style, model, alpha, beta, style_weights)


@wrong("vgg16-indices")
def indices_of_vgg16(content, style, model, alpha, beta, style_weights):
    layers = {"0": "conv1_1", "5": "conv2_1", "10": "conv3_1", "17": "conv4_1"}
    layers.update({"19": "conv4_2", "24": "conv5_1"})
    return _objective_with_layers(layers, content, style, model, alpha, beta, style_weights)


@wrong("stored-before-layer")
def stored_one_module_early(content, style, model, alpha, beta, style_weights):
    def features_of(image):
        features = {}
        for index, module in model.named_children():
            if index in LAYERS:
                features[LAYERS[index]] = image
            image = module(image)
        return features

    with torch.no_grad():
        wanted = features_of(content)["conv4_2"]
        grams = {name: _gram(feature) for name, feature in features_of(style).items()}

    def objective(target):
        features = features_of(target)
        content_term = _content_loss(features["conv4_2"], wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("swapped-pictures")
def content_and_style_swapped(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(style, content, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("swapped-pictures")
def grams_of_the_content(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, content, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("swapped-pictures")
def content_features_of_the_style(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(style, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


def _objective_with_style_term(style_term, content, style, model, alpha, beta):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        content_term = _content_loss(features["conv4_2"], wanted)
        return alpha * content_term + beta * style_term(features, grams)

    return objective


@wrong("style-weights-ignored")
def every_given_layer_counts_once(content, style, model, alpha, beta, style_weights):
    def style_term(features, grams):
        return sum(_layer_loss(features[name], grams[name]) for name in style_weights)

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("style-weights-ignored")
def the_lessons_weights(content, style, model, alpha, beta, style_weights):
    weights = {"conv1_1": 1.0, "conv2_1": 0.75, "conv3_1": 0.2, "conv4_1": 0.2, "conv5_1": 0.2}
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, weights, alpha, beta)


@wrong("all-features-counted")
def one_for_layers_without_a_weight(content, style, model, alpha, beta, style_weights):
    def style_term(features, grams):
        return sum(
            style_weights.get(name, 1) * _layer_loss(features[name], grams[name])
            for name in features
        )

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("all-features-counted")
def content_layer_counted_as_style(content, style, model, alpha, beta, style_weights):
    weights = {**style_weights, "conv4_2": 0.2}
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, weights, alpha, beta)


@wrong("wrong-pairing")
def weights_in_the_order_of_the_layers(content, style, model, alpha, beta, style_weights):
    def style_term(features, grams):
        names = [name for name in LAYERS.values() if name in style_weights]
        pairs = zip(names, style_weights.values(), strict=True)
        return sum(weight * _layer_loss(features[name], grams[name]) for name, weight in pairs)

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("weight-inside-square")
def weight_in_the_square(content, style, model, alpha, beta, style_weights):
    def style_term(features, grams):
        total = 0
        for name, weight in style_weights.items():
            difference = weight * (_gram(features[name]) - grams[name])
            total = total + (difference**2).mean() / features[name].numel()
        return total

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("last-layer-only")
def only_the_last_layer(content, style, model, alpha, beta, style_weights):
    def style_term(features, grams):
        for name, weight in style_weights.items():
            total = weight * _layer_loss(features[name], grams[name])
        return total

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("first-layer-only")
def only_the_first_layer(content, style, model, alpha, beta, style_weights):
    def style_term(features, grams):
        total = 0
        for name, weight in style_weights.items():
            total += weight * _layer_loss(features[name], grams[name])
            return total

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("averaged-over-layers")
def mean_of_the_layers(content, style, model, alpha, beta, style_weights):
    def style_term(features, grams):
        return _style_loss(features, grams, style_weights) / len(style_weights)

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("divided-by-weights")
def weighted_mean_of_the_layers(content, style, model, alpha, beta, style_weights):
    def style_term(features, grams):
        return _style_loss(features, grams, style_weights) / sum(style_weights.values())

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


def _objective_with_layer_loss(layer_loss, content, style, model, alpha, beta, style_weights):
    def style_term(features, grams):
        return sum(w * layer_loss(features[n], grams[n]) for n, w in style_weights.items())

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("missing-division")
def not_divided_by_the_sizes(content, style, model, alpha, beta, style_weights):
    def layer_loss(feature, gram):
        return functional.mse_loss(_gram(feature), gram)

    return _objective_with_layer_loss(layer_loss, content, style, model, alpha, beta, style_weights)


@wrong("wrong-division")
def divided_by_positions_only(content, style, model, alpha, beta, style_weights):
    def layer_loss(feature, gram):
        return functional.mse_loss(_gram(feature), gram) / feature[0, 0].numel()

    return _objective_with_layer_loss(layer_loss, content, style, model, alpha, beta, style_weights)


@wrong("square-assumed")
def height_twice(content, style, model, alpha, beta, style_weights):
    def layer_loss(feature, gram):
        _, channels, height, _ = feature.shape
        return functional.mse_loss(_gram(feature), gram) / (channels * height * height)

    return _objective_with_layer_loss(layer_loss, content, style, model, alpha, beta, style_weights)


@wrong("hard-coded-size")
def channels_of_the_real_network(content, style, model, alpha, beta, style_weights):
    channels = {"conv1_1": 64, "conv2_1": 128, "conv3_1": 256, "conv4_1": 512, "conv5_1": 512}

    def style_term(features, grams):
        total = 0
        for name, weight in style_weights.items():
            positions = features[name].shape[2] * features[name].shape[3]
            error = functional.mse_loss(_gram(features[name]), grams[name])
            total = total + weight * error / (channels[name] * positions)
        return total

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("style-size-division")
def sizes_of_the_style(content, style, model, alpha, beta, style_weights):
    with torch.no_grad():
        sizes = {name: feature.numel() for name, feature in _features(style, model).items()}

    def style_term(features, grams):
        total = 0
        for name, weight in style_weights.items():
            error = functional.mse_loss(_gram(features[name]), grams[name])
            total = total + weight * error / sizes[name]
        return total

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("wrong-division")
def size_of_the_picture(content, style, model, alpha, beta, style_weights):
    size = content.numel()

    def style_term(features, grams):
        total = 0
        for name, weight in style_weights.items():
            error = functional.mse_loss(_gram(features[name]), grams[name])
            total = total + weight * error / size
        return total

    return _objective_with_style_term(style_term, content, style, model, alpha, beta)


@wrong("paper-convention")
def as_in_the_paper(content, style, model, alpha, beta, style_weights):
    def layer_loss(feature, gram):
        _, channels, height, width = feature.shape
        error = ((_gram(feature) - gram) ** 2).sum()
        return error / (4 * channels**2 * (height * width) ** 2)

    return _objective_with_layer_loss(layer_loss, content, style, model, alpha, beta, style_weights)


@wrong("normalised-gram")
def grams_divided_by_their_sizes(content, style, model, alpha, beta, style_weights):
    def gram(feature):
        return _gram(feature) / feature.numel()

    with torch.no_grad():
        wanted = _features(content, model)["conv4_2"]
        grams = {name: gram(feature) for name, feature in _features(style, model).items()}

    def objective(target):
        features = _features(target, model)
        total = alpha * _content_loss(features["conv4_2"], wanted)
        for name, weight in style_weights.items():
            total = total + beta * weight * functional.mse_loss(gram(features[name]), grams[name])
        return total

    return objective


@wrong("sum-for-mean")
def summed_gram_differences(content, style, model, alpha, beta, style_weights):
    def layer_loss(feature, gram):
        return ((_gram(feature) - gram) ** 2).sum() / feature.numel()

    return _objective_with_layer_loss(layer_loss, content, style, model, alpha, beta, style_weights)


@wrong("absolute-difference")
def absolute_gram_differences(content, style, model, alpha, beta, style_weights):
    def layer_loss(feature, gram):
        return functional.l1_loss(_gram(feature), gram) / feature.numel()

    return _objective_with_layer_loss(layer_loss, content, style, model, alpha, beta, style_weights)


@wrong("rooted")
def rooted_layer_losses(content, style, model, alpha, beta, style_weights):
    def layer_loss(feature, gram):
        return torch.sqrt(functional.mse_loss(_gram(feature), gram)) / feature.numel()

    return _objective_with_layer_loss(layer_loss, content, style, model, alpha, beta, style_weights)


def _objective_with_content_loss(content_loss, content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        features = _features(target, model)
        style_term = _style_loss(features, grams, style_weights)
        return alpha * content_loss(features["conv4_2"], wanted) + beta * style_term

    return objective


@wrong("sum-for-mean")
def summed_content_differences(content, style, model, alpha, beta, style_weights):
    loss = nn.MSELoss(reduction="sum")
    return _objective_with_content_loss(loss, content, style, model, alpha, beta, style_weights)


@wrong("halved")
def half_the_content_differences(content, style, model, alpha, beta, style_weights):
    def loss(feature, wanted):
        return 0.5 * functional.mse_loss(feature, wanted)

    return _objective_with_content_loss(loss, content, style, model, alpha, beta, style_weights)


@wrong("rooted", "not-finite")
def rooted_content_loss(content, style, model, alpha, beta, style_weights):
    def loss(feature, wanted):
        return functional.mse_loss(feature, wanted).sqrt()

    return _objective_with_content_loss(loss, content, style, model, alpha, beta, style_weights)


@wrong("absolute-difference")
def absolute_content_differences(content, style, model, alpha, beta, style_weights):
    loss = nn.L1Loss()
    return _objective_with_content_loss(loss, content, style, model, alpha, beta, style_weights)


@wrong("model-changed")
def puts_the_model_in_training_mode(content, style, model, alpha, beta, style_weights):
    model.train()
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("model-changed")
def puts_the_model_in_evaluation_mode(content, style, model, alpha, beta, style_weights):
    model.eval()
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("model-changed")
def freezes_the_model(content, style, model, alpha, beta, style_weights):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("model-changed")
def thaws_the_model(content, style, model, alpha, beta, style_weights):
    model.requires_grad_(True)
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("model-changed", "wrong-dtype")
def model_made_float32(content, style, model, alpha, beta, style_weights):
    model.float()
    wanted, grams = _wanted(content.float(), style.float(), model)
    return lambda target: _loss_of(target.float(), model, wanted, grams, style_weights, alpha, beta)


@wrong("model-changed", "after-relu", "overwritten-in-place")
def relus_made_in_place(content, style, model, alpha, beta, style_weights):
    for module in model:
        if isinstance(module, nn.ReLU):
            module.inplace = True
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("model-changed")
def the_tail_is_cut_off(content, style, model, alpha, beta, style_weights):
    del model[29:]
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("hook-left")
def hooks_that_stay(content, style, model, alpha, beta, style_weights):
    features = {}

    def keep_as(name):
        def keep(module, inputs, output):
            features[name] = output

        return keep

    for index, name in LAYERS.items():
        model[int(index)].register_forward_hook(keep_as(name))
    with torch.no_grad():
        model(content)
        wanted = features["conv4_2"]
        model(style)
        grams = {name: _gram(feature) for name, feature in features.items()}

    def objective(target):
        model(target)
        content_term = _content_loss(features["conv4_2"], wanted)
        return alpha * content_term + beta * _style_loss(features, grams, style_weights)

    return objective


@wrong("input-changed")
def clamps_the_pictures_in_place(content, style, model, alpha, beta, style_weights):
    with torch.no_grad():
        content.clamp_(0, 1)
        style.clamp_(0, 1)
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("input-changed")
def asks_the_content_for_a_gradient(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    content.requires_grad_(True)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("input-changed", "target-clamped")
def clamps_the_target_in_place(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        target.data.clamp_(0, 1)
        return _loss_of(target, model, wanted, grams, style_weights, alpha, beta)

    return objective


@wrong("target-clamped")
def looks_at_the_clamped_target(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(
        target.clamp(0, 1), model, wanted, grams, style_weights, alpha, beta
    )


@wrong("argument-changed", "input-changed")
def weights_made_to_sum_to_one(content, style, model, alpha, beta, style_weights):
    total = sum(style_weights.values())
    for name in style_weights:
        style_weights[name] /= total
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta)


@wrong("argument-changed", "input-changed")
def weights_taken_out_one_by_one(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    weights = {}
    while style_weights:
        name, weight = style_weights.popitem()
        weights[name] = weight
    return lambda target: _loss_of(target, model, wanted, grams, weights, alpha, beta)


@wrong("normalised-again")
def normalises_the_pictures_once_more(content, style, model, alpha, beta, style_weights):
    mean = content.new_tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = content.new_tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    def normalize(image):
        return (image - mean) / std

    wanted, grams = _wanted(normalize(content.detach()), normalize(style.detach()), model)
    return lambda target: _loss_of(
        normalize(target), model, wanted, grams, style_weights, alpha, beta
    )


@wrong("extra-term")
def with_total_variation(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)

    def objective(target):
        rows = (target[:, :, 1:] - target[:, :, :-1]).pow(2).mean()
        columns = (target[..., 1:] - target[..., :-1]).pow(2).mean()
        loss = _loss_of(target, model, wanted, grams, style_weights, alpha, beta)
        return loss + 1e-2 * (rows + columns)

    return objective


@wrong("wrong-dtype")
def computes_in_float32(content, style, model, alpha, beta, style_weights):
    wanted, grams = _wanted(content, style, model)
    return lambda target: _loss_of(target, model, wanted, grams, style_weights, alpha, beta).float()


@wrong("misses-last", "raises")
def stops_at_the_content_layer(content, style, model, alpha, beta, style_weights):
    network = model[:22]
    wanted, grams = _wanted(content, style, network)
    return lambda target: _loss_of(target, network, wanted, grams, style_weights, alpha, beta)


@wrong("misses-last")
def leaves_out_layers_not_yet_seen(content, style, model, alpha, beta, style_weights):
    network = model[:28]
    wanted, grams = _wanted(content, style, network)
    weights = {name: weight for name, weight in style_weights.items() if name in grams}
    return lambda target: _loss_of(target, network, wanted, grams, weights, alpha, beta)
