"""What one picture of the explorer is made with: checked, in words, and to and from JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from nst_helpers import backbones, losses
from nst_helpers.attribution import find_picture
from nst_helpers.errors import NstError
from nst_helpers.optimizers import known_optimizers
from nst_helpers.transfer import COLOURS, DEFAULT_ALPHA, DEFAULT_BETA, STARTS

CONTENT, STYLE = "neuschwanstein", "starry-night"
SIZES = (96, 128, 160, 192, 224, 256, 320, 384, 512, 640, 768, 1024)
SIZE, SIZE_WITH_GPU = 160, 512
CONTENT_LAYERS = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")
STYLE_LAYERS = tuple(losses.STYLE_WEIGHTS)
LONGEST_JSON = 20_000_000  # characters; a settings file may hold two pictures
_MARK = "nst_explorer"


class SettingsError(NstError, ValueError):
    """A setting is out of range, or a file holds no settings."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a person can choose; replaced as a whole, never changed.

    Attributes:
        content: the picture to keep: a shipped picture's name, a path, or an http, https or data
            URL.
        style: the picture to paint like.
        alpha: weight of the content loss.
        beta: weight of the style loss.
        tv_weight: weight of the total variation.
        style_weights: layer name -> weight of its style loss.
        content_layer: the layer content is compared in.
        start: ``"content"``, ``"style"``, ``"noise"`` or ``"adain"``.
        optimizer: ``"lbfgs"``, ``"adam"``, or another of ``torch.optim``.
        colours: ``"style"``, or ``"content"`` to keep the photograph's colours.
        size: bound of the long side of both pictures, in pixels.

    Raises:
        SettingsError: one of them is out of range.
    """

    content: str = CONTENT
    style: str = STYLE
    alpha: float = DEFAULT_ALPHA
    beta: float = DEFAULT_BETA
    tv_weight: float = 0.0
    style_weights: Mapping[str, float] = field(default_factory=lambda: losses.STYLE_WEIGHTS)
    content_layer: str = losses.CONTENT_LAYER
    start: str = "content"
    optimizer: str = "lbfgs"
    colours: str = "style"
    size: int = SIZE

    def __post_init__(self) -> None:
        for name in ("content", "style"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise SettingsError(f"The {name} picture must be named by text.")
        for name in ("alpha", "beta", "tv_weight"):
            object.__setattr__(self, name, _weight(name, getattr(self, name)))
        weights = self.style_weights
        if not isinstance(weights, Mapping) or not weights:
            raise SettingsError("style_weights must name at least one layer with its weight.")
        for layer in (*weights, self.content_layer):
            if not isinstance(layer, str):
                raise SettingsError(f"{layer!r} is no name of a layer; conv4_1 is one.")
            backbones.layer_index(layer)
        checked = {layer: _weight(f"the weight of {layer}", w) for layer, w in weights.items()}
        object.__setattr__(self, "style_weights", MappingProxyType(checked))
        _choice("start", self.start, STARTS)
        _choice("optimizer", self.optimizer, tuple(known_optimizers()))
        _choice("colours", self.colours, COLOURS)
        if not isinstance(self.size, int) or not SIZES[0] <= self.size <= 4096:
            raise SettingsError(f"size is {self.size!r}; it must be {SIZES[0]} to 4096 pixels.")

    def changed(self, **changes: Any) -> Settings:
        """Return these settings with some replaced; style weights are merged with those there.

        Raises:
            SettingsError: a setting is unknown or out of range.
        """
        unknown = set(changes) - {each.name for each in dataclasses.fields(self)}
        if unknown:
            raise SettingsError(f"{', '.join(sorted(unknown))} is no setting of the explorer.")
        if isinstance(changes.get("style_weights"), Mapping):
            changes["style_weights"] = {**self.style_weights, **changes["style_weights"]}
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """Return the settings as JSON, which :meth:`from_json` reads."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        values["style_weights"] = dict(self.style_weights)
        return json.dumps({_MARK: 1, **values}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Return the settings that ``text`` holds.

        Raises:
            SettingsError: it holds no settings of the explorer, or some are out of range.
        """
        wrong = "This file holds no settings of the explorer; choose one that it saved."
        if len(text) > LONGEST_JSON:
            raise SettingsError(wrong)
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise SettingsError(wrong) from None
        if not isinstance(values, dict) or _MARK not in values:
            raise SettingsError(wrong)
        known = {each.name for each in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def _weight(name: str, value: Any) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise SettingsError(f"{name} is {value!r}; it must be a number, 0 or more.")
    return float(value)


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")


# --- words ----------------------------------------------------------------------------------------


def in_words(value: float) -> str:
    """Return a number as it is read aloud: 0.05, 10, 2,000; never with an exponent."""
    return f"{float(f'{value:.3g}'):,.10f}".rstrip("0").rstrip(".")


def as_power(value: float) -> str:
    """Return a number above 0 as the paper writes ratios: 1e-3, 2.5e1."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def ratio_in_words(alpha: float, beta: float) -> str:
    """Return how content and style are weighed, in words and as Gatys et al. (2016) write it."""
    if not alpha and not beta:
        return "Neither content nor style counts, so nothing pulls at the picture."
    if not beta:
        return "Content alone counts: beta is 0."
    if not alpha:
        return "Style alone counts: alpha is 0."
    if alpha == beta:
        said = "beta equals alpha"
    elif beta > alpha:
        said = f"beta is {in_words(beta / alpha)} times alpha"
    else:
        said = f"alpha is {in_words(alpha / beta)} times beta"
    return f"{said} (alpha/beta = {as_power(alpha / beta)})"


def named_data_url(data: bytes, name: str, kind: str = "application/octet-stream") -> str:
    """Return a data URL that remembers what its file was called (RFC 2397, a parameter)."""
    from base64 import b64encode

    return f"data:{kind};name={quote(name, safe='')};base64,{b64encode(data).decode()}"


def picture_name(source: str) -> str:
    """Return what to call a picture: its title, or the name of its file."""
    if source.startswith("data:"):
        head = source[5:].partition(",")[0]
        given = [part for part in head.split(";") if part.startswith("name=")]
        return unquote(given[0][5:])[:60] if given else "a picture of yours"
    record = find_picture(source)
    if record is not None:
        return record.title
    return unquote(urlsplit(source).path if "://" in source else source).rpartition("/")[2][:60]


START_WORDS = {
    "adain": "the fast picture (AdaIN)",
    "content": "the content picture",
    "noise": "noise",
    "style": "the style picture",
}
OPTIMIZER_WORDS = {"lbfgs": "L-BFGS", "adam": "Adam"}


def facts(settings: Settings, step: int) -> str:
    """Return how a picture was made, for captions and alternative texts."""
    s = settings
    words = [f"alpha {in_words(s.alpha)}", f"beta {in_words(s.beta)}"]
    if s.tv_weight:
        words.append(f"total variation {in_words(s.tv_weight)}")
    if dict(s.style_weights) != dict(losses.STYLE_WEIGHTS):
        used = [f"{layer} {in_words(w)}" for layer, w in s.style_weights.items() if w]
        words.append(f"style layers {' and '.join(used) if used else 'none'}")
    if s.content_layer != losses.CONTENT_LAYER:
        words.append(f"content layer {s.content_layer}")
    if s.optimizer != "lbfgs":
        words.append(OPTIMIZER_WORDS.get(s.optimizer, s.optimizer))
    if s.colours == "content":
        words.append("the photograph's colours")
    words += [f"from {START_WORDS.get(s.start, s.start)}", f"{s.size} pixels", f"step {step}"]
    return ", ".join(words)
