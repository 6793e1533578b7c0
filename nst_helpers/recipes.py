"""Published and reported settings as data, each run by the engine as its source means it.

``recipes.yaml`` beside this file holds them in the numbers of their sources. ``load`` returns one,
and its ``stylize`` translates the source's convention into the engine's (``losses.translate``) and
runs it with the source's optimiser, rate, steps and start. To add a recipe, add it to the file.

Three things keep a run from being the source's own, digit for digit. Networks of other weights
answer with another strength, layer by layer; where it is known how strongly (``scales`` in the
file), content is weighed with its square and style with its fourth power, and else it is said that
nothing was done. Total variation is the engine's mean of squares, weighed so that it is as large at
the content picture as the source's. And L-BFGS, its guard against explosions included, is the
engine's.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from nst_helpers import backbones, losses
from nst_helpers.device import pick_device
from nst_helpers.errors import NstError
from nst_helpers.images import load_image
from nst_helpers.optimizers import known_optimizers, make_optimizer
from nst_helpers.result import Result, short
from nst_helpers.transfer import STARTS, StyleTransfer
from nst_helpers.weights import verify_weights

FILE = Path(__file__).with_suffix(".yaml")
KINDS = ("text", "report", "engine")
WEIGHTS = {
    "gatys": "the normalised VGG-19",
    "torchvision": "torchvision's weights",
    "caffe": "VGG's first weights, for pixels from 0 to 255",
    "other": "a network, or an input to it, that is not among ours",
}
NOISY_CONTENT = "noisy content"
# What deeplearning.ai adds to the content picture: noise from -1/4 to 1/4 of white.
NOISE = 0.25
CLAMPS = ("end", "each step")
USUAL_SIZE = 256
# How many of a source's pixels one of the engine's is: these have ImageNet's deviation as unit.
_DEVIATION = sum(backbones.IMAGENET_STD) / 3
PIXELS = {"normalised": 1.0, "unit": _DEVIATION, "bytes": 255 * _DEVIATION}
# With pixels in another unit a rate changes by this power of it. Optimisers that divide by the
# size of the gradient move by the rate itself, others by rate times gradient.
RATE_POWERS = {"sgd": 2, "asgd": 2, "lbfgs": 0, "adadelta": 0}


class RecipeError(NstError, ValueError):
    """A recipe is unknown, or a file of recipes is not what it has to be."""


# --- total variation, as texts add it up ----------------------------------------------------------


def _differences(image: Tensor) -> tuple[Tensor, Tensor]:
    return image[..., 1:, :] - image[..., :-1, :], image[..., :, 1:] - image[..., :, :-1]


def _half_mean_differences(image: Tensor) -> Tensor:
    down, across = _differences(backbones.normalize(image))
    return 0.5 * (down.abs().mean() + across.abs().mean())


def _sum_of_differences(image: Tensor) -> Tensor:
    down, across = _differences(image)
    return down.abs().sum() + across.abs().sum()


def _sum_of_squares(image: Tensor) -> Tensor:
    down, across = _differences(backbones.normalize(image))
    return down.square().sum() + across.square().sum()


def _sum_of_powers(image: Tensor) -> Tensor:
    down, across = _differences(255 * image)
    return (down[..., :, :-1].square() + across[..., :-1, :].square()).pow(1.25).sum()


TOTAL_VARIATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean of squares": losses.total_variation,
    "half mean differences": _half_mean_differences,  # Dive into Deep Learning
    "sum of differences": _sum_of_differences,  # TensorFlow's tutorial
    "sum of squares": _sum_of_squares,  # CS231n
    "sum of powers": _sum_of_powers,  # Keras' example
}


# --- recipes --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One setting in the numbers of its source; ``recipes.yaml`` tells what each attribute means.

    ``rate`` is None where the engine's own is taken, ``decay`` is None or
    ``{"every": steps, "factor": f}``, and ``size`` is None where the source does not say it.
    """

    name: str
    kind: str
    source: str
    convention: str
    network: str
    weights: str
    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]
    alpha: float
    beta: float
    optimizer: str
    steps: int
    start: str
    rate: float | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    decay: Mapping[str, float] | None = None
    pixels: str = "normalised"
    tv_weight: float = 0.0
    tv_form: str = "mean of squares"
    clamp: str = "end"
    pooling: str = "max"
    size: int | None = None
    assumed: tuple[str, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        shown = {name: value for name, value in fields.items() if value not in (None, "", (), {})}
        return "\n".join(f"{name:15} {readable(value)}" for name, value in shown.items())

    def changed(self, **settings: Any) -> Recipe:
        """Return the recipe with other settings; a rate and a total variation are the engine's.

        Raises:
            RecipeError: a setting is unknown or out of range.
        """
        known = {field.name for field in dataclasses.fields(self)} - {"name"}
        if unknown := sorted(set(settings) - known):
            raise RecipeError(
                f"Recipe {self.name} has no setting {unknown[0]!r}; its settings are "
                f"{', '.join(sorted(known))}."
            )
        if "optimizer" in settings:
            settings = {"rate": None, "options": {}, "decay": None} | settings
        if "rate" in settings:
            settings = {"pixels": "normalised"} | settings
        if "tv_weight" in settings:
            settings = {"tv_form": "mean of squares"} | settings
        recipe = dataclasses.replace(self, **settings)
        _check(recipe.name, {name: getattr(recipe, name) for name in settings})
        _check_together(recipe)
        return recipe

    def begin(
        self,
        content: Any,
        style: Any,
        *,
        size: int | None = None,
        weights: str | None = None,
        model: nn.Module | None = None,
        device: str | torch.device | None = None,
        seed: int = 0,
        progress: bool = True,
        **options: Any,
    ) -> StyleTransfer:
        """Return the run at its start, for whoever wants to watch or steer it; see `stylize`."""
        size = size or self.size or USUAL_SIZE
        if model is None:
            model = self._model(weights, device, seed, progress)
        place = pick_device(device) if device is not None else next(model.parameters()).device
        picture = load_image(content, size=size, device=place)
        used = getattr(model, "weights_name", "unknown")
        return _RecipeRun(
            self,
            content,
            style,
            size=size,
            model=model,
            device=place,
            seed=seed,
            told=_about_weights(self, used),
            noisy=_with_noise(picture, seed) if self.start == NOISY_CONTENT else None,
            **self._objective(picture, model, used),
            **options,
        )

    def stylize(
        self,
        content: Any,
        style: Any,
        *,
        size: int | None = None,
        steps: int | None = None,
        weights: str | None = None,
        model: nn.Module | None = None,
        device: str | torch.device | None = None,
        seed: int = 0,
        progress: bool = True,
        on_step: Callable[..., None] | None = None,
        stop_early: float | None = None,
        folder: str | Path | None = None,
        every: int = 25,
        **options: Any,
    ) -> Result:
        """Return ``content`` painted in the manner of ``style`` by this recipe.

        The result's settings are the engine's, with ``recipe`` for the name; what could not be done
        as the source does it is among its notices.

        Args:
            content: the picture to keep, anything :func:`nst_helpers.images.load_image` takes.
            style: the picture to paint like, or a list of them.
            size: bound of the long side in pixels; None takes the source's, or 256.
            steps: how often the pixels are moved; None takes the source's number.
            weights: of the network; None takes those the recipe was made for where they lie on
                this computer, and else the usual ones.
            model: a network to be used instead of building one.
            device: see :func:`nst_helpers.device.pick_device`.
            seed: of noise and of random weights.
            progress: whether to show progress bars.
            on_step: see :func:`nst_helpers.transfer.stylize`, as for the next three.
            stop_early: end the run when 20 steps gain less than this share.
            folder: where to leave pictures, the log and the run on the way.
            every: how many steps lie between two such pictures.
            **options: ``style_size``, ``style_mix``, ``colours`` and ``precision`` of
                :class:`nst_helpers.transfer.StyleTransfer`. Other settings of the recipe are
                changed by :meth:`changed`.

        Raises:
            NstError: an option is out of range (ImageError, WeightsError, DeviceError for those
                parts).
        """
        run = self.begin(
            content,
            style,
            size=size,
            weights=weights,
            model=model,
            device=device,
            seed=seed,
            progress=progress,
            **options,
        )
        return run.run(
            self.steps if steps is None else steps,
            on_step=on_step,
            progress=progress,
            stop_early=stop_early,
            folder=folder,
            every=every,
        )

    def ratio(self, sizes: Mapping[str, Any], pixels: int, used: str | None = None) -> float:
        """Return alpha/beta in the paper's unit, see :func:`nst_helpers.losses.paper_ratio`.

        Several content layers count as one with the sum of their weights, at the deepest of them.

        Args:
            sizes: layer -> (C, H, W) for all layers of the recipe.
            pixels: the picture's height times its width.
            used: weights in whose activations the ratio is told, ``"gatys"`` or ``"torchvision"``;
                with None the source's network is taken to be the paper's.

        Raises:
            RecipeError: how strongly the source's network answers is not known.
        """
        if used not in (None, self.weights) and not _translatable(self, used):
            raise RecipeError(
                f"Recipe {self.name} was made for {WEIGHTS[self.weights]}, and it is not known how "
                f"strongly that answers; leave out used={used!r}."
            )
        scale = strengths(self, used or self.weights)
        deepest = max(self.content_layers, key=lambda n: backbones.layer_index(n, self.network))
        content = [weight * scale[name] ** 2 for name, weight in self.content_layers.items()]
        return losses.paper_ratio(
            self.alpha * math.fsum(content),
            self.beta,
            self.convention,
            sizes,
            style_weights={name: w * scale[name] ** 4 for name, w in self.style_layers.items()},
            content_layer=deepest,
            pixels=pixels,
        )

    def _model(
        self, weights: str | None, device: str | torch.device | None, seed: int, progress: bool
    ) -> nn.Module:
        if weights is None and not os.environ.get(backbones.WEIGHTS_VARIABLE):
            # Nothing is fetched for a recipe's sake: half a gigabyte would come as a surprise.
            stored = backbones.WEIGHTS[self.network].get(self.weights)
            weights = self.weights if stored and verify_weights(stored) else None
        layers = {*self.content_layers, *self.style_layers}
        return backbones.load_backbone(
            self.network,
            weights=weights,
            until=max(layers, key=lambda name: backbones.layer_index(name, self.network)),
            pooling=self.pooling,
            device=device,
            seed=seed,
            progress=progress,
        )

    def _objective(self, picture: Tensor, model: nn.Module, used: str) -> dict[str, Any]:
        """Return the recipe's weights in the engine's convention, for the picture to be kept."""
        layers = {*self.content_layers, *self.style_layers}
        with torch.no_grad():
            activations = backbones.extract_features(backbones.normalize(picture), model, layers)
        size = {
            "sizes": losses.sizes_of(activations),
            "pixels": picture.shape[-2] * picture.shape[-1],
        }
        scale = strengths(self, used)
        style_weights = {name: w * scale[name] ** 4 for name, w in self.style_layers.items()}
        settings = {
            name: losses.translate(
                self.alpha * weight * scale[name] ** 2,
                self.beta,
                self.convention,
                "course",
                style_weights=style_weights,
                content_layer=name,
                **size,
            )
            for name, weight in self.content_layers.items()
        }
        style = next(iter(settings.values()))
        alpha = math.fsum(setting.alpha for setting in settings.values())
        shares = {name: s.alpha / alpha if alpha else 1.0 for name, s in settings.items()}
        return {
            "alpha": alpha,
            "beta": style.beta,
            "style_weights": style.style_weights,
            "content_layer": next(iter(shares)) if len(shares) == 1 else shares,
            "tv_weight": self._tv_weight(picture),
        }

    def _tv_weight(self, picture: Tensor) -> float:
        """Return the weight that makes the engine's term the source's at the content picture."""
        if not self.tv_weight:
            return 0.0
        wanted = float(TOTAL_VARIATIONS[self.tv_form](picture))
        ours = float(losses.total_variation(picture))
        return self.tv_weight * wanted / ours if ours else 0.0

    def engine_rate(self) -> float | None:
        """Return the rate for the engine's pixels; None where the source names none."""
        if self.rate is None:
            return None
        return self.rate / PIXELS[self.pixels] ** RATE_POWERS.get(self.optimizer, 1)

    def _engine_options(self) -> dict[str, Any]:
        """Return the optimiser's own options for the engine's pixels."""
        options = dict(self.options)
        if "eps" in options:  # compared with gradients, which go with one over the unit of pixels
            options["eps"] *= PIXELS[self.pixels]
        return options


class _RecipeRun(StyleTransfer):
    """A style transfer with an optimiser, a decay of its rate, and clamping as a recipe has them.

    A run that was saved and is taken up again goes on as an ordinary one.
    """

    def __init__(
        self,
        recipe: Recipe,
        content: Any,
        style: Any,
        *,
        told: Iterable[str],
        noisy: Tensor | None,
        **options: Any,
    ) -> None:
        self.recipe, self.moves = recipe, 0
        super().__init__(
            content,
            style,
            start=recipe.start if noisy is None else noisy,
            optimizer=recipe.optimizer,
            lr=recipe.engine_rate(),
            pooling=recipe.pooling,
            **options,
        )
        self.settings |= {"recipe": recipe.name, "start": recipe.start}
        self.notices.extend(told)

    def _begin_optimizer(self, rate: float | None) -> None:
        super()._begin_optimizer(rate)
        # torch reads these anew at each step.
        self.optimizer.param_groups[0].update(self.recipe._engine_options())
        self.optimizer.register_step_post_hook(self._after_move)

    @torch.no_grad()
    def _after_move(self, *_: Any) -> None:
        self.moves += 1
        if self.recipe.clamp == "each step":
            picture = backbones.denormalize(self.pixels).clamp(0, 1)
            self.pixels.copy_(backbones.normalize(picture))
        decay = self.recipe.decay
        if decay and self.moves % decay["every"] == 0:
            self.rate *= decay["factor"]
            self.optimizer.param_groups[0]["lr"] *= decay["factor"]


def readable(value: Any) -> str:
    """Return a setting of a recipe as people write it, ``1e6`` and ``conv1_1 1, conv2_1 0.75``."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {readable(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(readable, value))
    return short(value) if isinstance(value, float) else str(value)


def _with_noise(picture: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(picture.shape, generator=generator).to(picture)
    return (picture + NOISE * (2 * noise - 1)).clamp(0, 1)


def strengths(recipe: Recipe, used: str) -> dict[str, float]:
    """Return, layer by layer, how many times as strongly the source's network answers as ours.

    Where that is not known for all layers of the recipe, every one is 1.

    Args:
        recipe: what was made for one network.
        used: the weights that are used instead, ``"gatys"`` or ``"torchvision"``.
    """
    layers = (*recipe.content_layers, *recipe.style_layers)
    if _translatable(recipe, used):
        made, ours = _strength_of(recipe.weights), _strength_of(used)
        return {name: made(name) / ours(name) for name in layers}
    return dict.fromkeys(layers, 1.0)


def _translatable(recipe: Recipe, used: str) -> bool:
    layers = (*recipe.content_layers, *recipe.style_layers)
    known = all(
        name == "gatys" or set(layers) <= scales().get(name, {}).keys()
        for name in (recipe.weights, used)
    )
    return known and recipe.network == "vgg19" and used != recipe.weights


def _strength_of(weights: str) -> Callable[[str], float]:
    return (lambda layer: 1.0) if weights == "gatys" else scales()[weights].__getitem__


def _about_weights(recipe: Recipe, used: str) -> list[str]:
    """Return what there is to say of a network that is not the one a recipe was made for."""
    if used in (recipe.weights, "random"):
        return []
    made = f"Recipe {recipe.name} was made for {WEIGHTS[recipe.weights]}"
    if _translatable(recipe, used):
        return [
            f"{made}; the {used} weights are used, and alpha, beta and the layers' weights were "
            f"changed by estimates of how strongly each network answers."
        ]
    return [
        f"{made}; the {used} weights are used, which answer with another strength that is not "
        f"known for these layers, so content and style do not weigh as in the source."
    ]


# --- the file -------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e6 is a number, and a name that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = [name for name in names if names.count(name) > 1]
        # Merged keys come first and may be overridden; SafeLoader puts them in before this.
        if twice and not any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} stands there twice")
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _is_number(value: Any, lowest: float = 0, above: bool = False) -> bool:
    usable = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    return usable and (value > lowest if above else value >= lowest)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _are_layers(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and _is_number(weight) for name, weight in value.items())
        and any(value.values())
    )


def _is_decay(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and set(value) == {"every", "factor"}
        and _is_count(value["every"])
        and _is_number(value["factor"], above=True)
        and value["factor"] <= 1
    )


Check = tuple[Callable[[Any], bool], str]


def _one_of(known: Iterable[str]) -> Check:
    names = tuple(known)
    return (lambda value: isinstance(value, str) and value in names, f"one of {', '.join(names)}")


_TEXT: Check = (lambda value: isinstance(value, str) and bool(value.strip()), "a text")
_WEIGHT: Check = (_is_number, "a number, 0 or more")
_COUNT: Check = (_is_count, "a whole number, 1 or more")
_LAYERS: Check = (
    _are_layers,
    "layers with weights, 0 or more and not all 0, such as {conv4_2: 1}",
)
_CHECKS: dict[str, Check] = {
    "kind": _one_of(KINDS),
    "source": _TEXT,
    "convention": _one_of(losses.CONVENTIONS),
    "network": _one_of(backbones.BACKBONES),
    "weights": _one_of(WEIGHTS),
    "content_layers": _LAYERS,
    "style_layers": _LAYERS,
    "alpha": _WEIGHT,
    "beta": _WEIGHT,
    "optimizer": _one_of(known_optimizers()),
    "rate": (lambda v: v is None or _is_number(v, above=True), "a number above 0"),
    "options": (lambda v: isinstance(v, Mapping), "a mapping of the optimiser's options"),
    "decay": (
        lambda v: v is None or _is_decay(v),
        "{every: steps, factor: a number above 0, at most 1}",
    ),
    "pixels": _one_of(PIXELS),
    "steps": _COUNT,
    "start": _one_of((*STARTS, NOISY_CONTENT)),
    "tv_weight": _WEIGHT,
    "tv_form": _one_of(TOTAL_VARIATIONS),
    "clamp": _one_of(CLAMPS),
    "pooling": _one_of(("max", "average")),
    "size": (lambda v: v is None or (_is_count(v) and v >= 16), "a whole number, 16 or more"),
    "assumed": (
        lambda v: isinstance(v, (list, tuple)) and set(v) <= set(_CHECKS),
        "a list of a recipe's keys",
    ),
    "note": _TEXT,
}
_NEEDED = [
    field.name
    for field in dataclasses.fields(Recipe)
    if field.default is dataclasses.MISSING
    and field.default_factory is dataclasses.MISSING
    and field.name != "name"
]


def _check(name: str, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        right, needed = _CHECKS[key]
        if not right(value):
            raise RecipeError(f"Recipe {name}: {key} is {value!r}; it must be {needed}.")


def _check_together(recipe: Recipe) -> None:
    """Refuse layers that the network, and options that the optimiser, does not have."""
    for key in ("content_layers", "style_layers"):
        for layer in getattr(recipe, key):
            try:
                backbones.layer_index(layer, recipe.network)
            except NstError as error:
                raise RecipeError(f"Recipe {recipe.name}: {key}: {error}") from None
    pixels = torch.zeros(1, 3, 4, 4, requires_grad=True)
    known = make_optimizer(recipe.optimizer, pixels).param_groups[0].keys() - {"params", "lr"}
    if unknown := sorted(set(recipe.options) - known):
        raise RecipeError(
            f"Recipe {recipe.name}: options: {recipe.optimizer} has no option {unknown[0]!r}; it "
            f"has {', '.join(sorted(known)) or 'none'}."
        )


def _recipe(name: str, record: Any) -> Recipe:
    if not isinstance(record, Mapping):
        raise RecipeError(f"Recipe {name} is {record!r}; it must be a mapping of keys to values.")
    if unknown := sorted(map(str, set(record) - set(_CHECKS))):
        raise RecipeError(
            f"Recipe {name}: the key {unknown[0]!r} is unknown; the keys are {', '.join(_CHECKS)}."
        )
    if missing := [key for key in _NEEDED if key not in record]:
        raise RecipeError(f"Recipe {name}: the key {missing[0]!r} is missing; add it.")
    _check(name, record)
    settings = dict(record) | {"assumed": tuple(record.get("assumed", ()))}
    recipe = Recipe(name=name, **settings)
    _check_together(recipe)
    return recipe


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            content = yaml.load(file, _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise RecipeError(f"The file of recipes {path.name} cannot be read: {said}.") from None
    if not isinstance(content, Mapping) or set(content) - {"recipes", "scales"}:
        raise RecipeError(
            f"The file of recipes {path.name} must hold the keys recipes and scales, and no others."
        )
    if not isinstance(content.get("recipes"), Mapping):
        raise RecipeError(f"The file of recipes {path.name} holds no recipes; add one.")
    return content


def read(path: str | Path) -> dict[str, Recipe]:
    """Return the recipes of a file by name, all checked.

    Raises:
        RecipeError: it cannot be read, or one of them is wrong, in a sentence that names the
            recipe and the key.
    """
    content = _read(Path(path))
    return {str(name): _recipe(str(name), record) for name, record in content["recipes"].items()}


@functools.cache
def _shipped() -> dict[str, Recipe]:
    return read(FILE)


@functools.cache
def scales() -> dict[str, dict[str, float]]:
    """Return weights -> layer -> how many times as strongly as the gatys weights it answers.

    Raises:
        RecipeError: the file cannot be read, or a number is none above 0.
    """
    table = _read(FILE).get("scales") or {}
    for weights, layers in table.items():
        for layer, value in layers.items():
            if not _is_number(value, above=True):
                raise RecipeError(
                    f"Scale of {weights}, {layer}, is {value!r}; it must be a number above 0."
                )
    return table


def names() -> tuple[str, ...]:
    """Return the names of all recipes, in the order of the file."""
    return tuple(_shipped())


def load(name: str) -> Recipe:
    """Return the recipe called ``name``.

    Raises:
        RecipeError: there is none of that name.
    """
    known = _shipped()
    if name not in known:
        raise RecipeError(f"Recipe {name!r} is unknown; choose one of {', '.join(known)}.")
    return known[name]


def overview() -> list[dict[str, str]]:
    """Return a row for each recipe: what ``nst recipes`` lists, as texts."""
    return [
        {
            "recipe": recipe.name,
            "convention": recipe.convention,
            "network": recipe.network,
            "alpha": short(recipe.alpha),
            "beta": short(recipe.beta),
            "optimiser": recipe.optimizer,
            "rate": "–" if recipe.rate is None else short(recipe.rate),
            "steps": str(recipe.steps),
            "start": recipe.start,
            "source": recipe.source.partition(":")[0],
        }
        for recipe in _shipped().values()
    ]
