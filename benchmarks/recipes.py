"""Every recipe of ``nst recipes`` on one pair of pictures, in one table: ``docs/recipes.md``.

Run as ``python -m benchmarks.recipes`` (about twelve minutes on one core). Recipes that differ in
nothing but their steps share a run. With ``--scales`` it only prints how many times as strongly
torchvision's VGG-16 answers as the gatys VGG-19, which ``nst_helpers/recipes.yaml`` holds.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import html
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nst_helpers import attribution, backbones, losses, recipes
from nst_helpers.device import describe_device, pick_device
from nst_helpers.errors import WeightsError
from nst_helpers.images import load_image, to_pil
from nst_helpers.objective import Objective
from nst_helpers.recipes import Recipe
from nst_helpers.result import short
from nst_helpers.studio import readable
from nst_helpers.transfer import DEFAULT_ALPHA, DEFAULT_BETA, StyleTransfer

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "recipes.md"
CONTENT, STYLE = "neuschwanstein", "starry-night"
SIZE = 96
# Recipes of more than so many steps are ended after fewer.
MOST_STEPS, CUT = 1500, 500
SHOWN = 192  # width of a picture on the page


@dataclass(frozen=True)
class Row:
    """What the page tells of one recipe; content, style and total are the common judge's."""

    recipe: Recipe
    steps: int
    seconds: float
    first: float
    own: float
    content: float
    style: float
    total: float
    weights: str
    notices: tuple[str, ...]


# --- running --------------------------------------------------------------------------------------


def _runs(names: Iterable[str]) -> list[list[Recipe]]:
    """Return recipes in groups that differ in nothing but their steps, few steps first."""
    groups: dict[str, list[Recipe]] = defaultdict(list)
    for recipe in map(recipes.load, names):
        key = dataclasses.replace(recipe, name="", steps=1, assumed=(), note="")
        groups[repr(key)].append(recipe)
    return [sorted(group, key=lambda recipe: recipe.steps) for group in groups.values()]


def _network(recipe: Recipe) -> nn.Module:
    """Return the recipe's network; random where its weights cannot be had, and labelled so."""
    try:
        return backbones.load_backbone(recipe.network, pooling=recipe.pooling, progress=False)
    except WeightsError:
        return backbones.load_backbone(recipe.network, pooling=recipe.pooling, weights="random")


class _Judge:
    """The course's losses with the engine's weights, and with its default alpha and beta."""

    def __init__(self) -> None:
        picture = backbones.normalize(load_image(CONTENT, size=SIZE))
        style = backbones.normalize(load_image(STYLE, size=SIZE))
        self.objective = Objective(picture, [(style, 1.0)], backbones.vgg19(progress=False))

    @torch.no_grad()
    def __call__(self, picture: Tensor) -> tuple[float, float, float]:
        content, style = map(float, self.objective(backbones.normalize(picture)))
        return content, style, float(losses.total_loss(content, style, DEFAULT_ALPHA, DEFAULT_BETA))


def _painted(group: list[Recipe], judge: _Judge) -> Iterator[Row]:
    """Yield a row for each recipe of a group, all from one run."""
    run = group[0].begin(CONTENT, STYLE, size=SIZE, model=_network(group[0]), progress=False)
    for recipe in group:
        steps = recipe.steps if recipe.steps <= MOST_STEPS else CUT
        run.run(steps, progress=False)
        yield _row(recipe, steps, run, judge)


def _row(recipe: Recipe, steps: int, run: StyleTransfer, judge: _Judge) -> Row:
    picture = run.best_picture().cpu()
    _save(picture, recipe)
    content, style, total = judge(picture)
    return Row(
        recipe,
        steps,
        run.seconds,
        run.history[0].total,
        run.best.total,
        content,
        style,
        total,
        str(run.settings["weights"]),
        tuple(run.notices),
    )


def _save(picture: Tensor, recipe: Recipe) -> None:
    folder = PAGE.with_suffix("")
    folder.mkdir(exist_ok=True)
    shown = to_pil(picture)
    shown = shown.resize((SHOWN, round(shown.height * SHOWN / shown.width)))
    shown.save(folder / f"{recipe.name}.jpg", quality=85, optimize=True)


# --- the page -------------------------------------------------------------------------------------

HEADINGS = (
    "picture",
    "recipe",
    "alpha, beta",
    "optimiser, rate",
    "start",
    "steps",
    "seconds",
    "its own total loss",
    "content, style, total by one judge",
)


def _cells(row: Row) -> list[str]:
    recipe = row.recipe
    alt = _alt(recipe.name, readable(row.content), readable(row.style))
    picture = f'<img src="recipes/{recipe.name}.jpg" width="{SHOWN}" alt="{html.escape(alt)}">'
    rate = "" if recipe.rate is None else f" {short(recipe.rate)}"
    cut = f" of {recipe.steps:,}" if row.steps < recipe.steps else ""
    return [
        picture,
        f"**{recipe.name}**<br>{recipe.source}<br>{recipe.convention}, {recipe.network}"
        + _marks(row),
        f"{short(recipe.alpha)}, {short(recipe.beta)}",
        f"{recipe.optimizer}{rate}",
        recipe.start,
        f"{row.steps:,}{cut}",
        f"{row.seconds:.0f}",
        f"{short(row.first)} → {short(row.own)}",
        f"{readable(row.content)}, {readable(row.style)}, **{readable(row.total)}**",
    ]


def _alt(name: str, content: str, style: str) -> str:
    """Return what is known of a picture without looking at it."""
    return (
        f"Neuschwanstein Castle painted in the manner of The Starry Night by recipe {name}: "
        f"content loss {content}, style loss {style}"
    )


def _marks(row: Row) -> str:
    guarded = sum("put back" in notice for notice in row.notices)
    marks = [
        "random weights" if row.weights == "random" else "",
        f"guarded {guarded}×" if guarded else "",
        "estimated strength" if any("estimates" in notice for notice in row.notices) else "",
        "unknown strength" if any("not known" in notice for notice in row.notices) else "",
    ]
    said = ", ".join(mark for mark in marks if mark)
    return f"<br>*{said}*" if said else ""


def _remarks() -> Iterator[str]:
    """Yield a line for recipes of which the same has to be known, or was assumed."""
    alike: dict[str, list[str]] = defaultdict(list)
    for recipe in map(recipes.load, recipes.names()):
        assumed = f"Assumed: {', '.join(recipe.assumed)}." if recipe.assumed else ""
        alike[" ".join(part for part in (recipe.note, assumed) if part)].append(recipe.name)
    for said, names in alike.items():
        if said:
            yield f"- {', '.join(f'**{name}**' for name in names)}: {said}"


# For whoever wonders at two of the rows.
THE_PAPER = (
    "**gatys** and **gatys-more-style** show the photograph, built up from noise: put into the "
    "paper's equations, the ratio that the paper prints gives content ten thousand times and more "
    "the say that it has in **gatys-code**, and style next to none. That recipe is the first "
    "author's own setting for this network: its ratio is 1e-3, too, but of means where the "
    "equations have sums, and it paints, so much that 500 steps leave little of the castle."
)


def _load() -> str:
    """Return how busy this machine is, where it tells."""
    known = hasattr(os, "getloadavg")
    return f", load average {os.getloadavg()[0]:.1f} when it began" if known else ""


def _introduction(minutes: float, load: str) -> Iterator[str]:
    """Yield the page's paragraphs above the table."""
    device = describe_device(pick_device()).rpartition(", ")[0]
    versions = f"torch {torch.__version__.split('+')[0]}, Python {platform.python_version()}"
    yield (
        f"One pair of pictures, one size ({SIZE} pixels), one run of "
        f"`python -m benchmarks.recipes`: {minutes:.0f} minutes on {device}{load}; {versions}, "
        f"{datetime.date.today().isoformat()}. Each recipe can be run by its name: "
        "`nst stylize CONTENT STYLE -o OUT --recipe NAME`. "
        "`nst recipes` lists them, and [recipes.yaml](../nst_helpers/recipes.yaml) holds them."
    )
    yield (
        "**alpha, beta** and **rate** are the source's numbers, and so is **its own total loss**, "
        "at the start and at the end: from row to row it cannot be compared. What one judge says "
        "can be: the course's losses with the engine's weights, and its default alpha = "
        f"{short(DEFAULT_ALPHA)} and beta = {short(DEFAULT_BETA)}. That is the engine's own goal, "
        "so a recipe with another goal is no worse for a higher number."
    )
    yield (
        f"Recipes of more than {MOST_STEPS:,} steps were ended after {CUT}. *Guarded* tells how "
        "often the loss exploded and the best picture was put back. *Estimated strength* and "
        "*unknown strength* mean that the source's network is not the one that ran here, and "
        "whether it is known how strongly that one answers; if not, content and style do not "
        "weigh as in the source. *Random weights*: the network's weights could not be had, so it "
        "has learned nothing."
    )
    yield THE_PAPER


def _text(rows: list[Row], minutes: float, load: str) -> str:
    head = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    table = "\n".join([*head, *(f"| {' | '.join(_cells(row))} |" for row in rows)])
    pair = [attribution.picture(CONTENT), attribution.picture(STYLE)]
    parts = [
        "# Every recipe, side by side",
        *_introduction(minutes, load),
        table,
        "## What else has to be known of them",
        "\n".join(_remarks()),
        "## Credits",
        "\n".join(f"- {picture.credit}" for picture in pair),
    ]
    return "\n\n".join(parts) + "\n"


def page() -> None:
    """Run every recipe and write the page with its pictures."""
    load = _load()
    judge, started, rows = _Judge(), time.monotonic(), {}
    for group in _runs(recipes.names()):
        for row in _painted(group, judge):
            rows[row.recipe.name] = row
            print(f"{row.recipe.name:24} {row.seconds:6.1f} s  {row.total:8.4g}", flush=True)
    minutes = (time.monotonic() - started) / 60
    text = _text([rows[name] for name in recipes.names()], minutes, load)
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE}: {len(rows)} recipes, {minutes:.1f} minutes")


# --- how strongly networks answer -----------------------------------------------------------------


def _alike(layer: str) -> str:
    """Return the layer of VGG-16 that is most like one of VGG-19: by name, or last of its block."""
    return layer if layer in backbones.LAYERS["vgg16"] else f"{layer[:-1]}3"


@torch.no_grad()
def scales() -> dict[str, float]:
    """Return layer of VGG-19 -> root mean square of torchvision's VGG-16 over that of gatys."""
    layers = [name for name in backbones.LAYERS["vgg19"] if not name.startswith("pool")]
    ours, theirs = backbones.vgg19("gatys", progress=False), backbones.vgg16("torchvision")
    sums = {name: [0.0, 0.0] for name in layers}
    for picture in attribution.pictures():
        pixels = backbones.normalize(load_image(picture, size=192))
        mine = backbones.extract_features(pixels, ours, layers)
        other = backbones.extract_features(pixels, theirs, {_alike(name) for name in layers})
        for name in layers:
            sums[name][0] += float(mine[name].square().mean())
            sums[name][1] += float(other[_alike(name)].square().mean())
    return {name: (other / mine) ** 0.5 for name, (mine, other) in sums.items()}


def main() -> None:
    """Write the page, or print the scales."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scales", action="store_true", help="only print how strongly VGG answers")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if parser.parse_args().scales:
        for layer, scale in scales().items():
            print(f"    {layer}: {scale:.2f}")
    else:
        page()


if __name__ == "__main__":
    main()
