"""From a spec to jobs: what a sweep varies, checked before anything is computed.

A spec is YAML, or the same as a mapping:

    fixed: {content: neuschwanstein, size: 128, steps: 60}
    vary:
      style: [starry-night, great-wave]
      beta: [0.05, 0.5, 5]
      start: [content, noise]

Every combination of the values under ``vary`` is one job. Keys are the settings of
:class:`nst_helpers.transfer.StyleTransfer`, ``steps`` and ``stop_early`` of its ``run``, and
``recipe``, the name of a recipe whose settings the other keys change.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import inspect
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from nst_helpers import backbones, recipes
from nst_helpers._reading import reason
from nst_helpers.attribution import find_picture
from nst_helpers.device import pick_precision
from nst_helpers.errors import NstError
from nst_helpers.images import MIN_SIDE, load_image
from nst_helpers.result import name_of, short, with_shares
from nst_helpers.transfer import DEFAULT_STEPS, STARTS, StyleTransfer, usual_layers

# Jobs above which one is asked whether they are meant, and above which none is begun.
MANY_JOBS = 100
MOST_JOBS = 10_000
LARGEST_SPEC = 2**20  # bytes
MOST_VALUES = 100_000
RETRIES = 2
EVERY = 10
DEFAULT_SIZE = 256  # as the command line's

_PARTS = {"fixed", "vary", "retries", "every"}
# What no file can hold, or what is a worker's own affair.
_NO_SETTINGS = {"model", "gram_matrix", "content_loss", "style_loss", "progress"}
_WHOLE = {"size", "style_size", "seed", "steps"}
_NUMBERS = {"lr", "stop_early", "style_mix", "style_weights", "content_layer"}
_PICTURES = ("content", "style")
_LAYERS = ("content_layer", "style_weights")
# What a recipe leaves open; every other key changes the recipe, by the name it has there.
_BESIDE_A_RECIPE = {"content", "style", "recipe", "size", "steps", "stop_early", "weights"} | {
    "device", "precision", "seed", "style_size", "style_mix", "colours"
}  # fmt: skip
_NAMES_IN_RECIPES = {
    "lr": "rate", "content_layer": "content_layers", "style_weights": "style_layers"
}  # fmt: skip
_GREY = torch.full((1, 3, 64, 64), 0.5)


class SweepError(NstError, ValueError):
    """A sweep was asked for something it cannot do."""


@dataclass(frozen=True)
class Source:
    """A picture of a job: what to call it, and a digest of its file.

    Attributes:
        name: what captions call it.
        digest: SHA-256 of the file's bytes, in hexadecimal.
        shipped: the name of the shipped picture it is, or "".
    """

    name: str
    digest: str
    shipped: str = ""


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        digest: of all settings and of the pictures' bytes: the same run has the same digest.
        varied: what sets it apart in its sweep, as the spec writes it.
        settings: every other setting, by name; the pictures' are not among them.
        content: the picture to keep.
        styles: the pictures to paint like.
        start: where it starts: one of ``transfer.STARTS`` or a picture.
        pixels: of the content picture at the size asked for, for estimates of time.
    """

    digest: str
    varied: Mapping[str, Any]
    settings: Mapping[str, Any]
    content: Source
    styles: tuple[Source, ...]
    start: str | Source
    pixels: int

    @property
    def steps(self) -> int:
        """How often the pixels are moved."""
        return self.settings["steps"]

    @property
    def label(self) -> str:
        """What varies, in a few words, such as ``beta 0.5, start noise``."""
        told = [f"{key} {in_words(value)}" for key, value in self.varied.items()]
        return ", ".join(told) or "the only job"


@dataclass(frozen=True)
class Plan:
    """The jobs of a sweep, and what they need.

    Attributes:
        jobs: in the order of the spec, the last key varying fastest.
        retries: how often a job that fails is tried again.
        every: steps between two snapshots.
        text: the spec as YAML.
        files: the bytes of the pictures by their digest.
    """

    jobs: tuple[Job, ...]
    retries: int
    every: int
    text: str
    files: Mapping[str, bytes]


def _shown(value: Any) -> str:
    """Return what was given, short enough for a sentence."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-15:]}"


def in_words(value: Any) -> str:
    """Return a value of a spec as labels show it."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, (int, float)):
        return str(value) if isinstance(value, int) else short(value)
    if isinstance(value, Mapping):
        return " + ".join(f"{in_words(weight)} {name}" for name, weight in value.items())
    if isinstance(value, (list, tuple)):
        return " + ".join(map(in_words, value))
    return Path(value).stem if os.sep in value else value


# --- reading --------------------------------------------------------------------------------------


def planned(spec: str | os.PathLike[str] | Mapping[str, Any]) -> Plan:
    """Return the jobs that a spec asks for, once each is known to be able to work.

    Args:
        spec: the path of a YAML file, or what such a file says. Paths of pictures begin at the
            file's folder, or at the working folder.

    Raises:
        SweepError: the spec asks for what cannot be; the sentence names the key.
    """
    if isinstance(spec, Mapping):
        told, text, folder = dict(spec), yaml.safe_dump(_plain(spec), sort_keys=False), Path()
    else:
        text = _text(Path(spec))
        told, folder = _parsed(text, Path(spec).name), Path(spec).parent
    _check_parts(told)
    fixed, varied = told.get("fixed") or {}, told.get("vary") or {}
    _check_keys(fixed, varied)
    fixed = {key: _tidy(key, value) for key, value in fixed.items()}
    varied = {key: [_tidy(key, value) for value in values] for key, values in varied.items()}
    _check_lists(varied)
    every = _whole(told, "every", EVERY, 1, 10_000)
    retries = _whole(told, "retries", RETRIES, 0, 100)
    resolver = _Resolver(folder)
    _check_values(fixed, varied, resolver)
    jobs = tuple(_jobs(fixed, varied, resolver))
    return Plan(jobs, retries, every, text, resolver.files)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_SPEC:
            raise SweepError(f"{path} is larger than 1 MiB, so it is no spec; give another file.")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SweepError(
            f"{path} cannot be read ({reason(error)}); give the path of a spec in YAML."
        ) from None
    except UnicodeDecodeError:
        raise SweepError(f"{path} is no text in UTF-8; give the path of a spec in YAML.") from None


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        _refuse_doubles(yaml.compose(text, yaml.SafeLoader), name)
        told = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise SweepError(f"{name}{line} is no YAML ({problem}); mend it.") from None
    except (RecursionError, ValueError) as error:
        if isinstance(error, SweepError):
            raise
        raise SweepError(f"{name} is no YAML that can be read ({reason(error)}).") from None
    if told is None:
        raise SweepError(f"{name} is empty; write what to vary, such as vary: {{beta: [0.1, 1]}}.")
    if not isinstance(told, dict):
        raise SweepError(
            f"{name} holds a {type(told).__name__}; a spec has the keys fixed and vary."
        )
    return told


def _refuse_doubles(root: yaml.Node | None, name: str) -> None:
    """Refuse a key that stands twice, of which YAML would take the last without a word."""
    waiting = [root] if root else []
    for node in waiting:  # grows on the way; aliases count each time
        if len(waiting) > MOST_VALUES:
            raise SweepError(f"{name} holds more than {MOST_VALUES:,} values; make it smaller.")
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            double = next((key for key in keys if keys.count(key) > 1), None)
            if double is not None:
                line = node.start_mark.line + 1
                raise SweepError(
                    f"{name} says {double!r} twice in what begins at line {line}; leave one."
                )
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _plain(value: Any) -> Any:
    """Return a value in types that YAML has; paths become text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise SweepError(
        f"A spec holds numbers, texts, lists and mappings, but a {type(value).__name__} was given."
    )


# --- its form -------------------------------------------------------------------------------------


@functools.cache
def settings() -> dict[str, Any]:
    """Return the keys that ``fixed`` and ``vary`` may have, with their defaults."""
    parameters = inspect.signature(StyleTransfer).parameters.values()
    known = {each.name: each.default for each in parameters if each.name not in _NO_SETTINGS}
    known |= {"content": None, "style": None, "size": DEFAULT_SIZE}
    return known | {"steps": DEFAULT_STEPS, "stop_early": None}


def _check_parts(told: Mapping[str, Any]) -> None:
    for part in told:
        if part not in _PARTS:
            where = " under fixed or vary" if part in {*settings(), "recipe"} else ""
            place = f"; write it{where}" if where else f"; {_meant(part, _PARTS)}"
            raise SweepError(f"The spec has the key {_shown(part)}, which stands nowhere{place}.")
    for part in ("fixed", "vary"):
        if not isinstance(told.get(part) or {}, Mapping):
            raise SweepError(f"{part} is {_shown(told[part])}; give keys and values, beta: 0.5.")


def _meant(key: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(key), list(known), n=2)
    return f"perhaps {' or '.join(close)} is meant" if close else f"use {', '.join(sorted(known))}"


def _check_keys(fixed: Mapping[str, Any], varied: Mapping[str, Any]) -> None:
    known = {*settings(), "recipe"}
    for part, keys in {"fixed": fixed, "vary": varied}.items():
        for key in keys:
            if key not in known:
                raise SweepError(f"{part}.{key} is no setting; {_meant(key, known)}.")
    both = sorted(set(fixed) & set(varied))
    if both:
        raise SweepError(f"{both[0]} stands in fixed and in vary; leave it in one of them.")
    for key in _PICTURES:
        if key not in fixed and key not in varied:
            raise SweepError(f"The spec names no {key} picture; write {key} under fixed or vary.")
    if not varied:
        raise SweepError(
            "The spec varies nothing; write under vary a list, such as beta: [0.1, 1]."
        )
    for key, values in varied.items():
        if not isinstance(values, (list, tuple)):
            raise SweepError(
                f"vary.{key} is {_shown(values)}; give a list of values such as [a, b], or write "
                f"it under fixed."
            )
        if not values:
            raise SweepError(f"vary.{key} is an empty list; give at least one value.")


def _check_lists(varied: Mapping[str, Sequence[Any]]) -> None:
    for key, values in varied.items():
        double = next((v for i, v in enumerate(values) if v in values[:i]), None)
        if double is not None:
            raise SweepError(f"vary.{key} names {_shown(double)} twice; leave one of them.")
    count = math.prod(len(values) for values in varied.values())
    if count > MOST_JOBS:
        raise SweepError(
            f"The lists under vary make {count:,} jobs, and a sweep has at most {MOST_JOBS:,}; "
            f"take some values out."
        )


def _whole(told: Mapping[str, Any], key: str, default: int, least: int, most: int) -> int:
    value = told.get(key, default)
    if not _is_whole(value) or not least <= value <= most:
        raise SweepError(
            f"{key} is {_shown(value)}; it must be a whole number from {least} to {most:,}."
        )
    return value


def _tidy(key: str, value: Any) -> Any:
    """Return a value as the engine takes it: YAML reads 1e6, which has no point, as a text."""
    value = _plain(value)
    default = settings().get(key)
    number = isinstance(default, (int, float)) and not isinstance(default, bool)
    if number or key in _WHOLE | _NUMBERS:
        return _as_numbers(value, whole=key in _WHOLE)
    return value


def _as_numbers(value: Any, whole: bool) -> Any:
    if isinstance(value, dict):
        return {key: _as_numbers(each, whole) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_numbers(each, whole) for each in value]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return value
    if not whole:
        return number
    return int(number) if number.is_integer() else value


# --- its values -----------------------------------------------------------------------------------


class _Resolver:
    """Finds pictures, reading each file once.

    Attributes:
        files: the bytes of each picture by their digest.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, bytes] = {}
        self._found: dict[str, Source] = {}
        self._sides: dict[tuple[str, int | None], tuple[int, int]] = {}

    def source(self, given: Any) -> Source:
        """Return a picture, by its path or a shipped picture's name.

        Raises:
            NstError: there is none.
        """
        if not isinstance(given, str):
            raise SweepError(f"it is no path and no shipped picture's name: {_shown(given)}.")
        if given not in self._found:
            if "://" in given or given.lower().startswith("data:"):
                raise SweepError("a sweep takes no picture from the network; download it first.")
            self._found[given] = self._read(given)
        return self._found[given]

    def _read(self, given: str) -> Source:
        path = self.folder / Path(given).expanduser()
        record = find_picture(path if path.is_file() else given)
        if record is not None:
            path = record.path
        load_image(path if record or path.is_file() else given, minimum=1)  # a picture, or why not
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        self.files[digest] = data
        return Source(name_of(path, record, "style"), digest, record.name if record else "")

    def sides(self, source: Source, size: int | None) -> tuple[int, int]:
        """Return (H, W) in pixels of a picture at a size.

        Raises:
            ImageError: the engine cannot work on a picture this small.
        """
        if (source.digest, size) not in self._sides:
            pixels = load_image(self.files[source.digest], size=size, minimum=MIN_SIDE)
            self._sides[source.digest, size] = (pixels.shape[-2], pixels.shape[-1])
        return self._sides[source.digest, size]


def _styles(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_values(
    fixed: Mapping[str, Any], varied: Mapping[str, list[Any]], resolver: _Resolver
) -> None:
    """Try each value by itself, so that the sentence can name its key."""
    every = [(f"fixed.{key}", key, value) for key, value in fixed.items()]
    every += [(f"vary.{key}", key, value) for key, values in varied.items() for value in values]
    for place, key, value in every:
        try:
            _check_value(key, value, resolver)
        except NstError as error:
            raise SweepError(f"{place} cannot be {_shown(value)}: {error}") from None
        except (TypeError, ValueError, RuntimeError, OSError, AttributeError) as error:
            raise SweepError(
                f"{place} is {_shown(value)}, which cannot be used ({reason(error)}); see the "
                f"settings of StyleTransfer."
            ) from None


def _check_value(key: str, value: Any, resolver: _Resolver) -> None:
    if key in _CHECKS:
        _CHECKS[key](value, resolver)
        return
    if isinstance(value, bool):
        raise SweepError("it must not be true or false.")
    options: dict[str, Any] = {"content": _GREY, "style": _GREY, "precision": "float32"}
    StyleTransfer(**options | {key: value}, model=_small_network(), device="cpu")


@functools.cache
def _small_network() -> torch.nn.Sequential:
    return backbones.small_vgg19()


def _check_start(value: Any, resolver: _Resolver) -> None:
    if value not in STARTS:
        try:
            resolver.source(value)
        except NstError as error:
            raise SweepError(
                f"it is none of {', '.join(STARTS)}, and no picture ({str(error).rstrip('.')})."
            ) from None


def _check_layers(value: Any, _: _Resolver) -> None:
    if value is not None and not isinstance(value, dict):
        raise SweepError("it must be layers with their weights, {conv1_1: 1, conv2_1: 0.5}.")
    for name, weight in (value or {}).items():
        if not isinstance(weight, float) or not 0 <= weight < math.inf:
            raise SweepError(f"the weight of {name} must be a number, 0 or more.")


def _check_layer_or_layers(value: Any, resolver: _Resolver) -> None:
    if not isinstance(value, str):
        _check_layers(value, resolver)


def _check_seed(value: Any, _: _Resolver) -> None:
    if not _is_whole(value) or abs(value) >= 2**63:
        raise SweepError("it must be a whole number, of less than 64 bits.")


def _check_steps(value: Any, _: _Resolver) -> None:
    if not _is_whole(value) or value < 1:
        raise SweepError("it must be a whole number, 1 or more.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_size(value: Any, _: _Resolver) -> None:
    # How small is too small is up to the pictures.
    if value is not None and (not _is_whole(value) or value < 1):
        raise SweepError("it must be a whole number of pixels, 1 or more.")


def _check_device(value: Any, _: _Resolver) -> None:
    try:
        torch.device("cpu" if value is None else value)
    except (RuntimeError, TypeError):
        raise SweepError("PyTorch knows no such device; cpu and cuda are two.") from None


def _check_share(value: Any, _: _Resolver) -> None:
    if value is not None and not 0 < value < 1:
        raise SweepError("it must be a share between 0 and 1.")


def _check_list(value: Any, _: _Resolver) -> None:
    if value is not None and not isinstance(value, list):
        raise SweepError("it must be a list with one share for each style picture.")


# Which settings cannot be tried on a small network. Whether a worker has the device that is asked
# for is known there alone.
_CHECKS: dict[str, Callable[[Any, _Resolver], Any]] = {
    "content": lambda value, resolver: resolver.source(value),
    "style": lambda value, resolver: [resolver.source(each) for each in _styles(value)],
    "start": _check_start,
    "network": lambda value, _: backbones.layer_names(value),
    "content_layer": _check_layer_or_layers,
    "style_weights": _check_layers,
    "weights": lambda value, _: value is None or str(value),
    "pooling": lambda value, _: backbones.small_vgg19(pooling=value),
    "size": _check_size,
    "style_size": _check_size,
    "device": _check_device,
    "precision": lambda value, _: pick_precision(torch.device("cpu"), value),
    "seed": _check_seed,
    "steps": _check_steps,
    "stop_early": _check_share,
    "style_mix": _check_list,
    "recipe": lambda value, _: value is None or recipes.load(value),
}


# --- its jobs -------------------------------------------------------------------------------------


def _jobs(
    fixed: Mapping[str, Any], varied: Mapping[str, list[Any]], resolver: _Resolver
) -> Iterator[Job]:
    for values in itertools.product(*varied.values()):
        chosen = dict(zip(varied, values, strict=True))
        told = {**fixed, **chosen}
        places = {key: f"vary.{key}" if key in varied else f"fixed.{key}" for key in told}
        if told.get("recipe") is None:
            told.pop("recipe", None)
            yield _engine_job(chosen, settings() | told, places, resolver)
        else:
            yield _recipe_job(chosen, told, places, resolver)


@contextlib.contextmanager
def _named(place: str, value: Any) -> Iterator[None]:
    """Begin the sentence of an error with the key of the spec that it is about."""
    try:
        yield
    except NstError as error:
        raise SweepError(f"{place} cannot be {_shown(value)}: {error}") from None


def _check_layers_of(network: str, layers: Mapping[str, Any], places: Mapping[str, str]) -> None:
    """Refuse a layer that the network does not have; by key, a name or names with weights."""
    for key, value in layers.items():
        with _named(places.get(key, key), value):
            for name in value if isinstance(value, Mapping) else [value]:
                backbones.layer_index(name, network)


def _check_weights_of(network: str, weights: str | None, places: Mapping[str, str]) -> None:
    known = ("auto", *backbones.WEIGHTS[network], "random")
    if weights is not None and weights not in known:
        raise SweepError(
            f"{places['weights']} cannot be {_shown(weights)}; for {network} choose one of "
            f"{', '.join(known)}."
        )


def _engine_job(
    chosen: Mapping[str, Any],
    told: dict[str, Any],
    places: Mapping[str, str],
    resolver: _Resolver,
) -> Job:
    # What is left open is settled here, so that a default and the same value written out are one.
    network = told["network"]
    content_layer, style_weights = usual_layers(network)
    if told["content_layer"] is None:
        told["content_layer"] = content_layer
    if told["style_weights"] is None:
        told["style_weights"] = style_weights
    _check_layers_of(network, {key: told[key] for key in _LAYERS}, places)
    _check_weights_of(network, told["weights"], places)
    told["weights"] = told["weights"] or _weights_wanted(network) or "auto"
    return _job(chosen, told, places, resolver)


def _recipe_job(
    chosen: Mapping[str, Any],
    told: dict[str, Any],
    places: Mapping[str, str],
    resolver: _Resolver,
) -> Job:
    recipe = recipes.load(told["recipe"])
    changes = {}
    for key in [key for key in told if key not in _BESIDE_A_RECIPE]:
        value = told.pop(key)
        name = _NAMES_IN_RECIPES.get(key, key)
        if key == "content_layer" and isinstance(value, str):
            value = {value: 1.0}
        with _named(places[key], value):
            recipe = recipe.changed(**{name: value})
        changes[name] = value
    layers = {"content_layer": recipe.content_layers, "style_weights": recipe.style_layers}
    _check_layers_of(recipe.network, layers, places)
    _check_weights_of(recipe.network, told.get("weights"), places)
    defaults = {key: settings()[key] for key in _BESIDE_A_RECIPE if key in settings()}
    given = {"steps": recipe.steps, "size": recipe.size or DEFAULT_SIZE}
    whole = defaults | given | told | {"changes": changes, "start": recipe.start}
    whole["weights"] = whole["weights"] or _weights_wanted(recipe.network)
    return _job(chosen, whole, places, resolver, also=repr(recipe))


def _job(
    chosen: Mapping[str, Any],
    told: dict[str, Any],
    places: Mapping[str, str],
    resolver: _Resolver,
    also: str = "",
) -> Job:
    content = resolver.source(told.pop("content"))
    styles = tuple(resolver.source(each) for each in _styles(told.pop("style")))
    with _named(places.get("style_mix", "style_mix"), told["style_mix"]):
        with_shares(list(styles), told["style_mix"])
    size, style_size = told["size"], told["style_size"] or told["size"]
    with _named(places.get("size", "size"), size):
        height, width = resolver.sides(content, size)
    for style in styles:
        with _named(places.get("style_size", places.get("size", "size")), style_size):
            resolver.sides(style, style_size)
    start = told.pop("start")
    begin = start if start in (*STARTS, recipes.NOISY_CONTENT) else resolver.source(start)
    digest = _digest(told | {"also": also}, content, styles, begin)
    return Job(digest, chosen, told, content, styles, begin, height * width)


def _weights_wanted(network: str) -> str | None:
    """Return the weights that the environment of whoever asks names, not that of a worker."""
    named = os.environ.get(backbones.WEIGHTS_VARIABLE)
    return named if named in (*backbones.WEIGHTS[network], "random") else None


def _digest(
    told: Mapping[str, Any], content: Source, styles: Sequence[Source], start: str | Source
) -> str:
    """Return a digest of what decides about the picture; names decide nothing."""
    settled = {
        key: float(value) if _is_number(key, value) else value for key, value in told.items()
    }
    said = {
        "settings": settled,
        "content": content.digest,
        "styles": [style.digest for style in styles],
        "start": start if isinstance(start, str) else start.digest,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:20]


def _is_number(key: str, value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and key not in _WHOLE
