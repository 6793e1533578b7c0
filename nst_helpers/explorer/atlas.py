"""The atlas: pictures made beforehand, for machines that are too slow, for pages, and for print.

One pair of pictures, painted with several ratios of alpha to beta, several choices of style layers,
and shown after several numbers of steps. ``python -m nst_helpers.explorer.make_atlas`` makes it; no
network is needed to look at it.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from nst_helpers import display
from nst_helpers.attribution import picture
from nst_helpers.explorer.settings import Settings, picture_name, ratio_in_words
from nst_helpers.explorer.worker import Frame

FOLDER = Path(__file__).with_name("atlas_pictures")
FACTS = "atlas.json"
# Frames of the atlas belong to no run.
RUN = -1


@dataclass(frozen=True)
class Sheet:
    """The pictures of one choice of style layers, in one file.

    Attributes:
        words: which layers, for captions.
        style_weights: their weights.
        file: a JPEG with a row for each ratio and a column for each number of steps.
    """

    words: str
    style_weights: Mapping[str, float]
    file: str


@dataclass(frozen=True)
class Atlas:
    """All sheets, and what they have in common.

    Attributes:
        content: the shipped picture that was painted.
        style: the shipped picture it was painted like.
        weights: the network's weights by name.
        size: bound of the long side in pixels when it was painted.
        cell: (width, height) of a picture in the sheets.
        betas: the style weight of each row; alpha is 1.
        steps: the number of steps of each column.
        sheets: one for each choice of layers.
    """

    content: str
    style: str
    weights: str
    size: int
    cell: tuple[int, int]
    betas: tuple[float, ...]
    steps: tuple[int, ...]
    sheets: tuple[Sheet, ...]

    def film(self, settings: Settings) -> tuple[Frame, ...]:
        """Return the pictures, one for each number of steps, that come nearest to ``settings``."""
        sheet = max(
            self.sheets, key=lambda each: _alike(each.style_weights, settings.style_weights)
        )
        row = min(range(len(self.betas)), key=lambda i: _apart(self.betas[i], settings))
        made_with = Settings(
            content=self.content,
            style=self.style,
            alpha=1.0,
            beta=self.betas[row],
            style_weights=sheet.style_weights,
            start="content",
            size=self.size,
        )
        pixels = _sheet_pixels(sheet.file)
        width, height = self.cell
        return tuple(
            Frame(
                run=RUN,
                step=step,
                pixels=pixels.crop(
                    (column * width, row * height, (column + 1) * width, (row + 1) * height)
                ),
                settings=made_with,
                weights=self.weights,
            )
            for column, step in enumerate(self.steps)
        )

    def figure(self, number: int = 0) -> display.Figure:
        """Return one sheet as a figure that says in words what is where."""
        sheet = self.sheets[number]
        pair = f"{picture_name(self.content)} in the style of {picture_name(self.style)}"
        rows = "; ".join(ratio_in_words(1.0, beta) for beta in self.betas)
        columns = ", ".join(map(str, self.steps))
        caption = (
            f"From the atlas: {pair}, style from {sheet.words}. From top to bottom: {rows}. "
            f"From left to right: after {columns} steps."
        )
        alt = (
            f"{len(self.betas)} rows of {len(self.steps)} pictures. Towards the top they look like "
            f"the photograph, towards the bottom like the painting; towards the right more so."
        )
        credit = [picture(self.content), picture(self.style)]
        return display.show(
            _sheet_pixels(sheet.file), caption=caption, alt=alt, credit=credit, width=640
        )


@functools.cache
def load_atlas() -> Atlas:
    """Return the atlas that came with the package."""
    facts: dict[str, Any] = json.loads((FOLDER / FACTS).read_text(encoding="utf-8"))
    sheets = tuple(Sheet(**sheet) for sheet in facts.pop("sheets"))
    lists = {name: tuple(facts.pop(name)) for name in ("cell", "betas", "steps")}
    return Atlas(**facts, **lists, sheets=sheets)


@functools.cache
def _sheet_pixels(file: str) -> Image.Image:
    with Image.open(FOLDER / file) as image:
        return image.convert("RGB")


def _apart(beta: float, settings: Settings) -> float:
    """Return how far a row's ratio is from the one that is wanted, in powers of ten."""
    if not settings.beta:
        return beta
    if not settings.alpha:
        return -beta
    return abs(math.log10(beta) - math.log10(settings.beta / settings.alpha))


def _alike(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the cosine of the angle between two settings of the layers' weights."""
    lengths = math.hypot(*one.values()) * math.hypot(*other.values())
    return sum(one.get(layer, 0) * weight for layer, weight in other.items()) / (lengths or 1)


def facts_of(atlas: Atlas) -> str:
    """Return the atlas as JSON, without its pictures; the script that makes it writes this."""
    values = {name: value for name, value in vars(atlas).items() if name != "sheets"}
    sheets = [
        {"words": each.words, "style_weights": dict(each.style_weights), "file": each.file}
        for each in atlas.sheets
    ]
    return json.dumps({**values, "sheets": sheets}, indent=2) + "\n"
