"""What the engine paints: a sheet of all pairs of shipped pictures, and a sheet of its choices.

Run as ``python -m benchmarks.pictures`` (about fifteen minutes on two cores), after any change that
could change pictures, and look at both: ``docs/contact-sheet.jpg`` and ``docs/choices.jpg``. With
``--only pairs`` or ``--only choices`` one of them is made.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from torch import Tensor

from nst_helpers import attribution, backbones
from nst_helpers.feedforward import stylize_fast
from nst_helpers.images import load_image, to_pil
from nst_helpers.result import Result
from nst_helpers.transfer import stylize

DOCS = Path(__file__).parents[1] / "docs"
CELL = (192, 144)  # width and height in a sheet
LABEL = 18
PAIR_SIZE, PAIR_STEPS = 256, 100
CHOICE_SIZE, CHOICE_STEPS = 224, 80

# What is chosen -> the options that choose it. The first row is the default.
CHOICES: Mapping[str, Mapping[str, Any]] = {
    "the default": {},
    "Adam, 200 steps": {"optimizer": "adam", "steps": 200},
    "start: noise": {"start": "noise", "steps": 200},
    "start: style": {"start": "style"},
    "start: AdaIN": {"start": "adain"},
    "beta 0.005": {"beta": 0.005},
    "beta 50": {"beta": 50.0},
    "tv_weight 3000": {"tv_weight": 3000.0},
    "average pooling": {"pooling": "average", "model": None},
    "layers 1 and 2 only": {"style_weights": {"conv1_1": 1.0, "conv2_1": 0.75}},
    "layers 4 and 5 only": {"style_weights": {"conv4_1": 1.0, "conv5_1": 1.0}, "beta": 20.0},
    "content at conv2_2": {"content_layer": "conv2_2"},
    "two styles": {"style": ["starry-night", "the-scream"]},
    "the content's colours": {"colours": "content"},
    "style half as large": {"style_size": 112},
    "style twice as large": {"style_size": 448},
}


def _cell(picture: Tensor | Image.Image, label: str) -> Image.Image:
    whole = to_pil(picture) if isinstance(picture, Tensor) else picture
    cell = Image.new("RGB", (CELL[0], CELL[1] + LABEL), "white")
    whole = whole.convert("RGB")
    whole.thumbnail(CELL, Image.Resampling.LANCZOS)
    cell.paste(whole, ((CELL[0] - whole.width) // 2, (CELL[1] - whole.height) // 2))
    ImageDraw.Draw(cell).text((4, CELL[1] + 2), label, fill="black", font_size=12)
    return cell


def _sheet(rows: list[list[Image.Image]], path: Path) -> None:
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (width * max(map(len, rows)), height * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            sheet.paste(cell, (x * width, y * height))
    sheet.save(path, quality=80, optimize=True)
    print(f"{path}: {sheet.width} x {sheet.height}")


def pairs() -> None:
    """Paint every content in every style with the engine's defaults."""
    model = backbones.vgg19(progress=False)
    contents, styles = attribution.pictures("content"), attribution.pictures("style")
    rows = [[_cell(Image.new("RGB", CELL, "white"), "")]]
    rows[0] += [_cell(load_image(style, size=256), style.name) for style in styles]
    for content in contents:
        row = [_cell(load_image(content, size=256), content.name)]
        for style in styles:
            result = stylize(
                content, style, size=PAIR_SIZE, steps=PAIR_STEPS, model=model, progress=False
            )
            row.append(_cell(result.image, f"loss {result.best.total:.3g}"))
            print(result.caption(), flush=True)
        rows.append(row)
    _sheet(rows, DOCS / "contact-sheet.jpg")


def choices() -> None:
    """Paint one pair with each of the engine's choices."""
    model = backbones.vgg19(progress=False)
    cells = []
    for label, chosen in CHOICES.items():
        usual = {"style": "starry-night", "steps": CHOICE_STEPS, "size": CHOICE_SIZE}
        result: Result = stylize(
            "neuschwanstein", progress=False, **usual | {"model": model} | chosen
        )
        cells.append(_cell(result.image, label))
        print(f"{label}: {result.caption()}", flush=True)
    fast = stylize_fast("neuschwanstein", "starry-night", size=CHOICE_SIZE, progress=False)
    cells.append(_cell(fast.image, "AdaIN alone"))
    _sheet([cells[i : i + 4] for i in range(0, len(cells), 4)], DOCS / "choices.jpg")


def main() -> None:
    """Make the sheets that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("pairs", "choices"))
    only = parser.parse_args().only
    if only != "choices":
        pairs()
    if only != "pairs":
        choices()


if __name__ == "__main__":
    main()
