"""Show pictures, feature maps, Gram matrices and losses in a notebook, in colour and in words.

Every function returns a :class:`Figure`. A notebook shows it as an HTML ``<figure>`` whose pictures
have alternative text and whose caption states the facts; a terminal prints the same in words. The
colours are fixed, on a background of their own, so that light and dark themes, an untrusted
notebook and an exported page show the same. Plots are drawn by matplotlib's objects without
pyplot: nothing global changes, and any thread may draw.
"""

from __future__ import annotations

import base64
import functools
import html
import io
import itertools
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from nst_helpers.attribution import Picture, find_picture
from nst_helpers.errors import ImageError, NstError
from nst_helpers.images import load_image, to_pil

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure as Canvas

Source = Tensor | Image.Image | Picture | str | os.PathLike
Credit = Picture | str | Sequence[Picture | str]

# Contrast on the background (WCAG 2.2, 1.4.3 asks for 4.5): text 15.8, quiet text 6.4.
BACKGROUND = "#ffffff"
TEXT = "#1f2328"
QUIET = "#57606a"
_LINE = "#d0d7de"

# Widths are CSS pixels. JupyterLab's cells are some 900 wide on a laptop.
_WIDEST = 840
_SMALLEST = 256
_GAP = 10
_SHARPNESS = 2  # pixels to a CSS pixel, for screens that have them
_LARGEST_PNG = 512  # longer pictures travel as JPEG
_MOST_PNG_PIXELS = 2**20  # and so do many pictures together

# Dark enough to be read as text, told apart by colour-blind eyes, and by their dashes alone.
_COLOURS = ("#0b5394", "#a83800", "#1a6b3c", "#7b3294", "#5c4a00", "#8a1253")
_DASHES = ((), (6, 2), (2, 2), (8, 2, 2, 2), (8, 2, 2, 2, 2, 2), (12, 3), (1, 3))


class FigureError(NstError, ValueError):
    """What was given cannot be drawn."""


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Attributes:
        pixels: what is shown, RGB.
        alt: what it shows, in words.
        label: the text below it, may be empty.
        width: its width on a screen that has the room, in CSS pixels.
        drawn: whether it is a drawing, whose edges JPEG would blur.
    """

    pixels: Image.Image
    alt: str
    label: str = ""
    width: int = _SMALLEST
    drawn: bool = False


@dataclass(frozen=True, repr=False)
class Figure:
    """Pictures with a caption, for notebooks and files.

    Attributes:
        panels: the pictures.
        caption: what the figure shows, in facts.
        credits: one line for each picture by somebody else.
        columns: pictures in a row.
    """

    panels: tuple[Panel, ...]
    caption: str
    credits: tuple[str, ...] = ()
    columns: int = 1

    @property
    def alt(self) -> str:
        """The alternative text of all pictures, each after its label."""
        return " ".join(_labelled(panel) for panel in self.panels)

    @property
    def text(self) -> str:
        """The whole figure in words: caption, every picture, credits."""
        lines = [self.caption, *map(_labelled, self.panels), _credit_line(self.credits)]
        return "\n".join(line for line in dict.fromkeys(lines) if line)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        count = len(self.panels)
        return f"<Figure, {count} picture{'s' * (count != 1)}: {self.caption}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return the figure as HTML and as text (IPython, "Rich display")."""
        return {"text/html": _figure_html(self), "text/plain": self.text}

    def save(self, path: str | os.PathLike) -> Path:
        """Write the figure with its caption to ``path``, and return the path.

        Args:
            path: ends in ``.png`` (twice as many pixels as on a screen) or ``.html`` (a page that
                needs no other file). A file that is there is replaced.

        Raises:
            FigureError: the ending is another, or the file cannot be written.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending not in (".png", ".html"):
            raise FigureError(
                f"A figure cannot be saved as {path.name!r}; end the name in .png or .html."
            )
        content = _page(self).encode() if ending == ".html" else _png(_poster(self))
        try:
            _write_atomically(path, content)
        except OSError as error:
            raise FigureError(
                f"The figure could not be written to {str(path)!r} ({error.strerror}); "
                f"name a folder that exists and can be written to."
            ) from None
        return path


# --- pictures -----------------------------------------------------------------------------------


def show(
    image: Source,
    caption: str | None = None,
    alt: str | None = None,
    credit: Credit | None = None,
    width: int | None = None,
) -> Figure:
    """Return one picture as a figure.

    Args:
        image: (1, 3, H, W) in [0, 1], a PIL image, a path, the name of a shipped picture, or its
            ``Picture``. A shipped picture brings its title, alternative text and credit along.
        caption: what it shows.
        alt: what it shows, for people who do not see it; without one, its size is said.
        credit: whose pictures it was made of, when it was not a shipped one itself.
        width: on the screen, in CSS pixels; small pictures are enlarged unless it is given.

    Raises:
        ImageError: it is no picture.
    """
    resolved = _resolve(image)
    shown = width or _fitting_width(resolved.pixels)
    panel = Panel(resolved.pixels, _clean(alt) or resolved.alt, width=max(1, int(shown)))
    text = _clean(caption) or resolved.title or resolved.alt
    return Figure((panel,), _sentence(text), _credits([resolved], credit))


def show_side_by_side(
    images: Mapping[str, Source] | Sequence[Source],
    labels: Sequence[str] | None = None,
    caption: str | None = None,
    alts: Sequence[str] | None = None,
    credit: Credit | None = None,
) -> Figure:
    """Return pictures in one row, all of the same height.

    Args:
        images: the pictures by label, or in order; each as in :func:`show`.
        labels: their labels, when ``images`` has none.
        caption: what they show together.
        alts: alternative text of each; without, the shipped picture's or the size.
        credit: whose pictures they were made of.

    Raises:
        ImageError: one is no picture.
        FigureError: there are none, or not as many labels or texts as pictures.
    """
    labels, found = _resolve_all(images, labels)
    ratios = [picture.pixels.width / picture.pixels.height for picture in found]
    room = _WIDEST - _GAP * len(found)
    natural = max(_SMALLEST, *(picture.pixels.height for picture in found))
    height = min(room / sum(ratios), natural)
    widths = [max(1, int(ratio * height)) for ratio in ratios]
    return _gallery(found, labels, widths, len(found), caption, alts, credit)


def show_grid(
    images: Mapping[str, Source] | Sequence[Source],
    labels: Sequence[str] | None = None,
    columns: int = 4,
    caption: str | None = None,
    alts: Sequence[str] | None = None,
    credit: Credit | None = None,
) -> Figure:
    """Return pictures in rows of ``columns``, all of the same width.

    The other arguments and errors are those of :func:`show_side_by_side`.

    Raises:
        FigureError: ``columns`` is below 1.
    """
    labels, found = _resolve_all(images, labels)
    if columns < 1:
        raise FigureError(f"A grid of {columns} columns was asked for; it needs at least 1.")
    columns = min(columns, len(found))
    natural = max(_fitting_width(picture.pixels) for picture in found)
    widths = [min(_column_width(columns), natural)] * len(found)
    return _gallery(found, labels, widths, columns, caption, alts, credit)


def filmstrip(
    frames: Sequence[tuple[int, Source]],
    caption: str | None = None,
    count: int = 8,
    spacing: Literal["even", "log"] = "even",
    credit: Credit | None = None,
) -> Figure:
    """Return how a picture came about: the first frame, the last, and some between.

    Args:
        frames: (step, picture) pairs, in any order.
        caption: what they show.
        count: the most frames to show.
        spacing: frames evenly apart, or ``"log"``: each step a multiple of the one before, which
            shows more of an optimisation's first, fast changes.
        credit: whose pictures they were made of.

    Raises:
        ImageError: a frame is no picture.
        FigureError: there are no frames, or fewer than 1 is asked for.
    """
    ordered = _frames_in_order(frames)
    chosen = [ordered[i] for i in _spread([step for step, _ in ordered], count, spacing)]
    last = ordered[-1][0]
    found = [_resolve(image) for _, image in chosen]
    labels = [f"step {step}" for step, _ in chosen]
    alts = [
        f"The picture at step {step} of {last}, {_size(frame.pixels)}"
        for (step, _), frame in zip(chosen, found, strict=True)
    ]
    text = caption or f"The picture from step {ordered[0][0]} to step {last}"
    if len(chosen) < len(ordered):
        text = f"{_sentence(_clean(text))} {len(chosen)} of {len(ordered)} frames are shown"
    columns = min(4, len(found))
    natural = max(_fitting_width(frame.pixels) for frame in found)
    widths = [min(_column_width(columns), natural)] * len(found)
    return _gallery(found, labels, widths, columns, text, alts, credit)


# --- feature maps and Gram matrices --------------------------------------------------------------


def show_feature_maps(
    activation: Tensor,
    layer: str = "",
    count: int = 16,
    columns: int = 8,
    caption: str | None = None,
    credit: Credit | None = None,
) -> Figure:
    """Return a layer's strongest channels as maps, the strongest first.

    The strongest are those with the greatest mean square, that is, the greatest entries on the
    diagonal of the Gram matrix. Each map has its own colour range, which its label tells.

    Args:
        activation: (1, C, H, W).
        layer: its name, such as ``"conv3_1"``.
        count: the most channels to show.
        columns: maps in a row.
        caption: replaces the first sentence of the caption.
        credit: of the picture the activation was computed from.

    Raises:
        FigureError: the activation has another shape or holds nan or infinity.
    """
    values = _numbers(activation, "An activation", "(1, C, H, W)", dims=4)
    if values.shape[0] != 1:
        raise FigureError(
            f"An activation of {values.shape[0]} pictures was given; pass that of one, "
            f"such as activation[:1]."
        )
    if count < 1 or columns < 1:
        raise FigureError("At least 1 map in at least 1 column is needed.")
    maps = values[0]
    strength = np.square(maps).mean(axis=(1, 2))
    strongest = np.argsort(-strength, kind="stable")[:count]
    columns = min(columns, len(strongest))
    width = min(_column_width(columns), _SMALLEST)
    panels = tuple(_feature_panel(maps[i], int(i), width) for i in strongest)
    height, breadth = maps.shape[1:]
    where = f" of {layer}" if layer else ""
    text = _clean(caption) or (
        f"The {len(panels)} strongest of {len(maps)} feature maps{where}, {breadth} × {height}"
        if len(panels) < len(maps)
        else f"All {len(maps)} feature maps{where}, {breadth} × {height}, the strongest first"
    )
    text = (
        f"{_sentence(text)} Strongest means greatest mean square. Below each map stand its "
        f"channel and its range, from its darkest to its brightest colour."
    )
    return Figure(panels, text, _credits([], credit), columns)


def show_gram_matrix(
    gram: Tensor,
    layer: str = "",
    count: int = 64,
    caption: str | None = None,
    credit: Credit | None = None,
) -> Figure:
    """Return a Gram matrix as a heat map with a colour bar.

    The colours are logarithmic, so that one great entry leaves the others visible. When it has more
    than ``count`` channels, the rows and columns of those with the greatest diagonal entries are
    drawn; neighbouring channels have nothing in common, so an average over them would mean nothing.

    Args:
        gram: (C, C).
        layer: its name, such as ``"conv3_1"``.
        count: the most channels to draw.
        caption: replaces the first sentence of the caption.
        credit: of the picture it was computed from.

    Raises:
        FigureError: it is not square or holds nan or infinity.
    """
    values = _numbers(gram, "A Gram matrix", "(C, C)", dims=2)
    if values.shape[0] != values.shape[1]:
        raise FigureError(
            f"A Gram matrix is square, (C, C); this one is {tuple(values.shape)}. "
            f"Pass what gram_matrix returns."
        )
    if count < 1:
        raise FigureError("At least 1 channel is needed.")
    channels = np.sort(np.argsort(-values.diagonal(), kind="stable")[:count])
    drawn = values[np.ix_(channels, channels)]
    where = f" of {layer}" if layer else ""
    pixels = _gram_plot(drawn, channels, len(values))
    total = len(values)
    text = _sentence(_clean(caption) or f"Gram matrix{where}, {total} × {total}")
    if len(channels) < total:
        text += f" Drawn are the {len(channels)} channels with the greatest diagonal entries."
    text += f" {_colour_sentence(drawn)}"
    panel = Panel(pixels, _gram_alt(values, where), width=_drawn_width(pixels), drawn=True)
    return Figure((panel,), text, _credits([], credit))


# --- losses -------------------------------------------------------------------------------------


def plot_losses(
    history: Mapping[str, Sequence[float]] | Sequence[float],
    steps: Sequence[int] | None = None,
    caption: str | None = None,
    credit: Credit | None = None,
) -> Figure:
    """Return loss curves over the steps, on a logarithmic axis.

    Zero and less has no place on such an axis and is marked by triangles at its lower edge; nan and
    infinity by crosses at its upper edge. The caption says where they are. When no loss is above
    zero the axis is linear.

    Args:
        history: the losses by name, one value a step, or the losses alone.
        steps: the step of each value; 0, 1, 2 ... without.
        caption: replaces the first sentence of the caption.
        credit: of the pictures.

    Raises:
        FigureError: there are no losses, they are not numbers, or the steps are not as many.
    """
    curves = _curves(history, steps)
    everything = np.concatenate([curve.values for curve in curves])
    logarithmic = bool(np.any(everything[np.isfinite(everything)] > 0))
    pixels = _loss_plot(curves, logarithmic)
    first = min(curve.steps.min() for curve in curves)
    last = max(curve.steps.max() for curve in curves)
    axis = "logarithmic" if logarithmic else "linear"
    span = f"at step {first:g}" if first == last else f"over steps {first:g} to {last:g}"
    losses = "Loss" if len(curves) == 1 else "Losses"
    text = _sentence(_clean(caption) or f"{losses} {span}, {axis} axis")
    text = " ".join([text, *_oddities(curves, logarithmic)])
    names = ", ".join(curve.name for curve in curves)
    alt = f"Line chart of {names} {span}. {' '.join(_course(curve) for curve in curves)}"
    panel = Panel(pixels, alt, width=_drawn_width(pixels), drawn=True)
    return Figure((panel,), text, _credits([], credit))


# --- what a source is -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Resolved:
    pixels: Image.Image
    alt: str
    title: str = ""
    credit: str = ""


def _resolve(source: Source) -> _Resolved:
    if isinstance(source, Tensor):
        pixels, note = _tensor_pixels(source)
        return _Resolved(pixels, f"Picture, {_size(pixels)}{note}.")
    if isinstance(source, Image.Image):
        pixels = to_pil(load_image(source, minimum=1))
        return _Resolved(pixels, f"Picture, {_size(pixels)}.")
    if isinstance(source, Picture | str | os.PathLike):
        return _resolve_file(source)
    raise ImageError(
        f"A {type(source).__name__} was given as a picture; pass a tensor (1, 3, H, W) in [0, 1], "
        f"a PIL image, a path or the name of a shipped picture."
    )


def _resolve_file(source: Picture | str | os.PathLike) -> _Resolved:
    if not isinstance(source, Picture | str):
        source = Path(source)
    picture = find_picture(source)
    pixels = to_pil(load_image(source if picture is None else picture.path, minimum=1))
    if picture is None:
        name = f" {Path(source).name}"
        # The name of a URL that holds its data is as long as the data.
        return _Resolved(pixels, f"Picture{name if len(name) < 80 else ''}, {_size(pixels)}.")
    return _Resolved(pixels, picture.alt, picture.title, picture.credit)


def _tensor_pixels(image: Tensor) -> tuple[Image.Image, str]:
    if image.dim() != 4 or image.shape[:2] != (1, 3) or not image.numel():
        raise ImageError(
            f"A picture is a tensor of shape (1, 3, H, W); this one is {tuple(image.shape)}"
            f"{_shape_hint(image)}."
        )
    if not image.is_floating_point():
        raise ImageError(
            f"A picture's values are floats in [0, 1]; these are {image.dtype}, so convert them, "
            f"as in image.float() / 255."
        )
    values = image.detach().float().cpu()
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise ImageError(
            f"{bad} of the picture's {values.numel()} values are nan or infinite; look for the "
            f"step at which the loss became so."
        )
    outside = float(((values < 0) | (values > 1)).float().mean())
    note = f"; {outside:.0%} of its values lie outside [0, 1] and are clipped"
    return to_pil(values.clamp(0, 1)), note if outside >= 0.01 else ""


def _shape_hint(image: Tensor) -> str:
    if image.dim() == 3 and image.shape[0] == 3:
        return ", so add the first dimension with image.unsqueeze(0)"
    if image.dim() == 4 and image.shape[1] == 3 and image.shape[0] > 1:
        return ", so show one at a time, image[:1]"
    return ", so permute or cut it to that shape"


def _resolve_all(
    images: Mapping[str, Source] | Sequence[Source], labels: Sequence[str] | None
) -> tuple[list[str], list[_Resolved]]:
    if isinstance(images, Tensor | str | os.PathLike | Picture | Image.Image):
        raise FigureError("One picture was given where several are needed; pass a list of them.")
    if isinstance(images, Mapping):
        labels = list(images) if labels is None else labels
        images = list(images.values())
    images = list(images)
    if not images:
        raise FigureError("There are no pictures to show; pass at least one.")
    found = [_resolve(image) for image in images]
    if labels is None:
        labels = [picture.title or f"Picture {i}" for i, picture in enumerate(found, start=1)]
    _check_count(labels, found, "labels")
    return [_clean(label) for label in labels], found


def _check_count(texts: Sequence[str], pictures: Sequence[Any], what: str) -> None:
    if isinstance(texts, str) or len(texts) != len(pictures):
        given = "one text" if isinstance(texts, str) else f"{len(texts)} {what}"
        raise FigureError(
            f"{given} for {len(pictures)} pictures; give a list with one for each.".capitalize()
        )


def _gallery(
    found: Sequence[_Resolved],
    labels: Sequence[str],
    widths: Sequence[int],
    columns: int,
    caption: str | None,
    alts: Sequence[str] | None,
    credit: Credit | None,
) -> Figure:
    alts = [picture.alt for picture in found] if alts is None else alts
    _check_count(alts, found, "alternative texts")
    panels = tuple(
        Panel(picture.pixels, _sentence(_clean(alt) or picture.alt), label, width)
        for picture, alt, label, width in zip(found, alts, labels, widths, strict=True)
    )
    named = [label for label in labels if label]
    text = _clean(caption) or ("; ".join(named) if len(found) < 4 else f"{len(found)} pictures")
    return Figure(panels, _sentence(text or "Pictures"), _credits(found, credit), columns)


def _credits(found: Iterable[_Resolved], credit: Credit | None) -> tuple[str, ...]:
    given = [] if credit is None else [credit] if isinstance(credit, Picture | str) else credit
    lines = [picture.credit for picture in found]
    lines += [one.credit if isinstance(one, Picture) else _clean(one) for one in given]
    return tuple(dict.fromkeys(line for line in lines if line))


def _frames_in_order(frames: Sequence[tuple[int, Source]]) -> list[tuple[int, Source]]:
    try:
        pairs = [(int(step), image) for step, image in frames]
    except (TypeError, ValueError):
        raise FigureError(
            "A filmstrip is made of pairs (step, picture); pass a list such as [(0, image)]."
        ) from None
    if not pairs:
        raise FigureError("There are no frames to show; pass at least one (step, picture).")
    return sorted(pairs, key=lambda pair: pair[0])


def _spread(steps: Sequence[int], count: int, spacing: str) -> list[int]:
    """Return the indices of at most ``count`` steps, the first and the last among them."""
    if count < 1 or spacing not in ("even", "log"):
        raise FigureError("A filmstrip has at least 1 frame, and its spacing is 'even' or 'log'.")
    if count >= len(steps):
        return list(range(len(steps)))
    if count == 1:
        return [len(steps) - 1]
    places = np.asarray(steps, dtype=float) - steps[0]
    if spacing == "log":
        places = np.log1p(places)
    # Each place in turn takes the nearest step still free, leaving enough for those that follow.
    chosen: list[int] = []
    for turn, wanted in enumerate(np.linspace(0, places[-1], count)):
        first = chosen[-1] + 1 if chosen else 0
        last = len(steps) - (count - turn)
        nearest = np.abs(places[first : last + 1] - wanted).argmin()
        chosen.append(first + int(nearest))
    return chosen


# --- words --------------------------------------------------------------------------------------


def _clean(text: object) -> str:
    return " ".join(str(text or "").split())


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def _size(pixels: Image.Image) -> str:
    return f"{pixels.width} by {pixels.height} pixels"


def _labelled(panel: Panel) -> str:
    # A drawing's alternative text says what its label says.
    return f"{panel.label}: {panel.alt}" if panel.label and not panel.drawn else panel.alt


def _credit_line(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return _sentence(f"Picture credit{'s' * (len(lines) > 1)}: {'; '.join(lines)}")


def _number(value: float) -> str:
    """Return a number in three digits, as 0.25, −3.1 or 2.5e6."""
    text = re.sub(r"e([+-])0*(\d)", lambda m: f"e{m[1].strip('+')}{m[2]}", f"{value:.3g}")
    return text.replace("-", "−")


# --- HTML ---------------------------------------------------------------------------------------


def _figure_html(figure: Figure) -> str:
    """Return the figure in tags and inline properties that sanitisers let pass.

    JupyterLab keeps all of these in an untrusted notebook; nbconvert's ``sanitize_html``, which is
    off unless asked for, lets no picture pass and leaves the words. Rows are inline blocks, which
    shrink together on a narrow page, so that a row stays a row without a style sheet.
    """
    lossy = _travels_as_jpeg(figure.panels)
    columns = figure.columns
    rows = [figure.panels[i : i + columns] for i in range(0, len(figure.panels), columns)]
    blocks = "".join(
        f"<div>{''.join(_panel_html(panel, lossy, row) for panel in row)}</div>" for row in rows
    )
    credit = html.escape(_credit_line(figure.credits))
    credit = f'<div style="color:{QUIET};font-size:12px">{credit}</div>' if credit else ""
    return (
        f'<figure style="margin:4px 0;padding:12px;border:1px solid {_LINE};border-radius:6px;'
        f"background-color:{BACKGROUND};color:{TEXT};box-sizing:border-box;max-width:100%;"
        f'font-family:sans-serif;font-size:14px;line-height:1.45;text-align:left">'
        f'{blocks}<figcaption style="color:{TEXT};margin:4px 0 0 0">{html.escape(figure.caption)}'
        f"{credit}</figcaption></figure>"
    )


def _panel_html(panel: Panel, lossy: bool, row: Sequence[Panel]) -> str:
    kind, data = _embedded(panel, lossy)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    label = f'<div style="color:{TEXT};font-size:13px">{html.escape(panel.label)}</div>'
    whole = sum(neighbour.width + _GAP for neighbour in row)
    share = math.floor(10_000 * (panel.width + _GAP) / whole) / 100
    return (
        f'<div style="display:inline-block;vertical-align:top;box-sizing:border-box;'
        f'width:{panel.width + _GAP}px;max-width:{share:g}%;padding:0 {_GAP}px 8px 0">'
        f'<img alt="{html.escape(panel.alt)}" src="{source}" width="{panel.width}" '
        f'style="display:block;width:100%;height:auto;margin:0">'
        f"{label if panel.label else ''}</div>"
    )


def _travels_as_jpeg(panels: Sequence[Panel]) -> bool:
    sizes = [_embedded_size(panel) for panel in panels]
    return max(map(max, sizes)) > _LARGEST_PNG or sum(w * h for w, h in sizes) > _MOST_PNG_PIXELS


def _embedded_size(panel: Panel) -> tuple[int, int]:
    """Return the size in which a picture travels: its own, unless no screen would show as much."""
    width, height = panel.pixels.size
    most = _SHARPNESS * panel.width
    return (width, height) if width <= most else (most, max(1, round(height * most / width)))


def _embedded(panel: Panel, lossy: bool) -> tuple[str, bytes]:
    pixels, size = panel.pixels, _embedded_size(panel)
    if pixels.size != size and not panel.drawn:
        pixels = pixels.resize(size, Image.Resampling.LANCZOS)
    if panel.drawn or not lossy:
        return "png", _png(pixels)
    buffer = io.BytesIO()
    pixels.save(buffer, "JPEG", quality=90)
    return "jpeg", buffer.getvalue()


def _png(pixels: Image.Image) -> bytes:
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG")
    return buffer.getvalue()


def _page(figure: Figure) -> str:
    title = html.escape(figure.caption[:80])
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"></head>'
        f"<body>{_figure_html(figure)}</body></html>\n"
    )


def _write_atomically(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)  # a temporary file is for its owner alone
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _fitting_width(pixels: Image.Image) -> int:
    """Return the width at which a picture's long side is neither tiny nor wider than a cell."""
    longest = max(pixels.size)
    shown = min(max(longest, _SMALLEST), _WIDEST - _GAP)
    return max(1, round(pixels.width * shown / longest))


def _column_width(columns: int) -> int:
    return max(1, _WIDEST // columns - _GAP)


def _drawn_width(pixels: Image.Image) -> int:
    return pixels.width // _SHARPNESS


# --- a figure as one picture ----------------------------------------------------------------------


def _poster(figure: Figure) -> Image.Image:
    """Return the whole figure, caption and credits included, at twice its size on the screen."""
    scale = _SHARPNESS
    blocks = [_poster_panel(panel) for panel in figure.panels]
    step = figure.columns
    gap = _GAP * scale
    rows = [_joined(blocks[i : i + step], gap, down=False) for i in range(0, len(blocks), step)]
    width = max(360 * scale, *(row.width for row in rows))
    texts = [_text_block(figure.caption, 14, TEXT, width)]
    if figure.credits:
        texts.append(_text_block(_credit_line(figure.credits), 12, QUIET, width))
    content = _joined([*rows, *texts], gap, down=True)
    margin = 12 * scale
    poster = Image.new("RGB", (width + 2 * margin, content.height + 2 * margin), BACKGROUND)
    poster.paste(content, (margin, margin))
    return poster


def _poster_panel(panel: Panel) -> Image.Image:
    width = panel.width * _SHARPNESS
    height = max(1, round(panel.pixels.height * width / panel.pixels.width))
    pixels = panel.pixels.resize((width, height), Image.Resampling.LANCZOS)
    if not panel.label:
        return pixels
    return _joined([pixels, _text_block(panel.label, 13, TEXT, width)], 4, down=True)


def _joined(blocks: Sequence[Image.Image], gap: int, *, down: bool) -> Image.Image:
    along, across = ("height", "width") if down else ("width", "height")
    length = sum(getattr(block, along) for block in blocks) + gap * (len(blocks) - 1)
    breadth = max(getattr(block, across) for block in blocks)
    sheet = Image.new("RGB", (breadth, length) if down else (length, breadth), BACKGROUND)
    place = 0
    for block in blocks:
        sheet.paste(block, (0, place) if down else (place, 0))
        place += getattr(block, along) + gap
    return sheet


def _text_block(text: str, size: int, colour: str, width: int) -> Image.Image:
    font = _font(size * _SHARPNESS)
    lines = _wrapped(text, font, width)
    leading = round(size * _SHARPNESS * 1.4)
    block = Image.new("RGB", (width, leading * len(lines)), BACKGROUND)
    draw = ImageDraw.Draw(block)
    for number, line in enumerate(lines):
        draw.text((0, number * leading), line, fill=colour, font=font)
    return block


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:  # a word wider than the picture is broken
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _font_file() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_file(), size)


# --- drawings -----------------------------------------------------------------------------------


def _numbers(values: Tensor, what: str, shape: str, dims: int) -> np.ndarray:
    """Return a tensor's values in float64, once they are known to be fit to draw."""
    if not isinstance(values, Tensor):
        raise FigureError(
            f"{what} is a tensor of shape {shape}; a {type(values).__name__} was given."
        )
    if values.dim() != dims or not values.numel():
        raise FigureError(
            f"{what} is a tensor of shape {shape}; this one is {tuple(values.shape)}."
        )
    array = values.detach().double().cpu().numpy()
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise FigureError(
            f"{bad} of {array.size} values to draw are nan or infinite; look for where they "
            f"first became so."
        )
    return array


def _feature_panel(values: np.ndarray, channel: int, width: int) -> Panel:
    from matplotlib import colormaps

    low, high = float(values.min()), float(values.max())
    constant = high == low
    # Halved first: the difference of two great numbers may overflow.
    scaled = np.zeros_like(values) if constant else (values / 2 - low / 2) / (high / 2 - low / 2)
    coloured = Image.fromarray(colormaps["viridis"](scaled, bytes=True)[..., :3])
    # Whole-numbered enlargement keeps every cell of the map sharp.
    factor = max(1, math.ceil(width / coloured.width))
    size = (coloured.width * factor, coloured.height * factor)
    pixels = coloured.resize(size, Image.Resampling.NEAREST)
    spread = f"{_number(low)} everywhere" if constant else f"{_number(low)} to {_number(high)}"
    mean = "" if constant else f", mean {_number(float(values.mean()))}"
    alt = f"Feature map of channel {channel}: {spread}{mean}."
    return Panel(pixels, alt, f"{channel}: {spread}", width, drawn=True)


def _canvas(width: float, height: float) -> tuple[Canvas, Axes]:
    """Return an empty drawing of ``width`` by ``height`` inches in this module's colours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(width, height), dpi=100 * _SHARPNESS, facecolor=BACKGROUND)
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot(facecolor=BACKGROUND)
    for spine in axes.spines.values():
        spine.set(color=QUIET, linewidth=0.8)
    return canvas, axes


def _styled(axes: Axes) -> None:
    axes.tick_params(which="both", colors=TEXT, labelsize=9)
    for text in [axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels()]:
        text.set(color=TEXT, fontsize=10, fontfamily="DejaVu Sans")


def _rendered(canvas: Canvas) -> Image.Image:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", facecolor=BACKGROUND, bbox_inches="tight", pad_inches=0.05)
    with Image.open(buffer) as image:
        return image.convert("RGB")


def _gram_range(values: np.ndarray) -> tuple[float, float]:
    """Return (threshold, top): colours are logarithmic between them and linear below.

    The threshold leaves the smallest tenth of the entries aside; between it and the top lie one
    decade at least and eight at most.
    """
    sizes = np.abs(values[values != 0])
    if not sizes.size:
        return 0.0, 0.0
    top = float(sizes.max())
    return min(max(float(np.quantile(sizes, 0.1)), top * 1e-8), top / 10), top


def _gram_colours(values: np.ndarray) -> tuple[Normalize, str, list[float]]:
    """Return the scale, the colour map and the colour bar's ticks for a Gram matrix."""
    from matplotlib.colors import Normalize, SymLogNorm

    threshold, top = _gram_range(values)
    if not threshold:  # all zero, or too small to take a logarithm
        return Normalize(min(0, values.min()), max(1, values.max())), "viridis", [0.0]
    decades = range(math.ceil(math.log10(threshold)), math.floor(math.log10(top)) + 1)
    ticks = [10.0**n for n in decades[:: 1 + len(decades) // 6]]
    if len(ticks) < 2:
        ticks = [threshold, top]
    signed = bool((values < 0).any())
    bottom = -top if signed else 0.0
    norm = SymLogNorm(linthresh=threshold, linscale=0.5, vmin=bottom, vmax=top, base=10)
    negative = [-tick for tick in reversed(ticks)] if signed else []
    return norm, "RdBu_r" if signed else "viridis", [*negative, 0.0, *ticks]


def _gram_plot(values: np.ndarray, channels: np.ndarray, total: int) -> Image.Image:
    canvas, axes = _canvas(5.2, 4.2)
    norm, colours, ticks = _gram_colours(values)
    picture = axes.imshow(values, norm=norm, cmap=colours, interpolation="nearest")
    # At most seven ticks, at whole places, which name the channels that stand there.
    places = np.unique(np.linspace(0, len(channels) - 1, min(7, len(channels))).round().astype(int))
    names = [str(channels[place]) for place in places]
    axes.set_xticks(places, names)
    axes.set_yticks(places, names)
    few = len(channels) < total
    name = f"channel ({len(channels)} of {total})" if few else "channel"
    axes.set(xlabel=name, ylabel=name)
    _styled(axes)
    bar = canvas.colorbar(picture, ax=axes, ticks=ticks, format=_tick, pad=0.03)
    bar.minorticks_off()
    bar.outline.set(color=QUIET, linewidth=0.8)
    bar.set_label("entry of G")
    _styled(bar.ax)
    return _rendered(canvas)


def _tick(value: float, _: int | None = None) -> str:
    power = math.log10(abs(value)) if value else 0.5
    if not power.is_integer():
        return _number(value)
    return f"${'-' if value < 0 else ''}10^{{{power:.0f}}}$"


def _colour_sentence(values: np.ndarray) -> str:
    threshold, top = _gram_range(values)
    if not top:
        return "Every entry is 0."
    if not threshold:
        return "Colours are linear."
    return (
        f"Colours are logarithmic from {_number(threshold)} to {_number(top)} and linear below, "
        f"so that the greatest entries do not hide the rest."
    )


def _gram_alt(values: np.ndarray, where: str) -> str:
    size = len(values)
    row, column = np.unravel_index(np.abs(values).argmax(), values.shape)
    facts = [
        f"Heat map of the {size} by {size} Gram matrix{where}.",
        f"Its greatest entry by size is {_number(values[row, column])}, "
        f"at channels {row} and {column}.",
        f"The diagonal's mean is {_number(values.diagonal().mean())}",
    ]
    if size == 1:
        return f"{' '.join(facts)}."
    others = values[~np.eye(size, dtype=bool)]
    facts[-1] += f", the other entries' mean is {_number(others.mean())}."
    facts.append(f"{(others < 0).mean():.0%} of the other entries are negative.")
    return " ".join(facts)


@dataclass(frozen=True)
class _Curve:
    name: str
    steps: np.ndarray
    values: np.ndarray
    colour: str
    dashes: tuple[int, ...]


def _curves(
    history: Mapping[str, Sequence[float]] | Sequence[float], steps: Sequence[int] | None
) -> list[_Curve]:
    series = history if isinstance(history, Mapping) else {"loss": history}
    if not series:
        raise FigureError("There are no losses to plot; pass them by name, {'total': [...]}.")
    curves = []
    for number, (name, losses) in enumerate(series.items()):
        name = _clean(name) or f"loss {number + 1}"
        values = _floats(losses, f"The losses {name!r}")
        if not len(values):
            raise FigureError(f"The losses {name!r} are empty; run at least one step.")
        places = np.arange(len(values)) if steps is None else _floats(steps, "The steps")
        if len(places) != len(values) or not np.isfinite(places).all():
            raise FigureError(
                f"There are {len(places)} steps for the {len(values)} losses {name!r}; "
                f"give one step, a number, for each."
            )
        colour, dashes = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
        curves.append(_Curve(name, places, values, colour, dashes))
    return curves


def _floats(values: Sequence[float], what: str) -> np.ndarray:
    try:
        return np.array([float(value) for value in values], dtype=float)
    except (TypeError, ValueError, RuntimeError):
        raise FigureError(f"{what} are not numbers; pass a list with one for each step.") from None


def _loss_plot(curves: Sequence[_Curve], logarithmic: bool) -> Image.Image:
    canvas, axes = _canvas(6.6, 3.4)
    axes.grid(True, which="major", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if logarithmic:
        axes.set_yscale("log", nonpositive="mask")
    for curve in curves:
        _draw_curve(axes, curve, logarithmic)
    axes.set(xlabel="step", ylabel="loss")
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    if len(steps) == 1:
        axes.set_xticks(steps, [f"{steps[0]:g}"])
    elif np.all(steps == steps.round()):
        axes.xaxis.get_major_locator().set_params(integer=True)
    _styled(axes)
    _label_curves(axes, curves, logarithmic)
    return _rendered(canvas)


def _drawable(curve: _Curve, logarithmic: bool) -> np.ndarray:
    shown = np.isfinite(curve.values)
    return shown & (curve.values > 0) if logarithmic else shown


def _draw_curve(axes: Axes, curve: _Curve, logarithmic: bool) -> None:
    shown = _drawable(curve, logarithmic)
    style = {"color": curve.colour, "linewidth": 1.8}
    heights = np.where(shown, curve.values, np.nan)
    axes.plot(curve.steps, heights, dashes=curve.dashes or (None, None), **style)
    # A point without neighbours makes no line.
    padded = np.pad(shown, 1)
    alone = shown & ~padded[:-2] & ~padded[2:]
    axes.plot(curve.steps[alone], curve.values[alone], "o", color=curve.colour, markersize=5)
    edge = {"transform": axes.get_xaxis_transform(), "clip_on": False, "color": curve.colour}
    broken = curve.steps[~np.isfinite(curve.values)]
    axes.plot(broken, np.full(len(broken), 0.98), "x", markersize=6, **edge)
    below = curve.steps[np.isfinite(curve.values) & ~shown]
    axes.plot(below, np.full(len(below), 0.02), "v", markersize=6, **edge)


def _label_curves(axes: Axes, curves: Sequence[_Curve], logarithmic: bool) -> None:
    """Write each curve's name where it ends, with a piece of its dashes, none over another."""
    ends = []
    for curve in curves:
        finals = curve.values[_drawable(curve, logarithmic)]
        final = finals[-1] if finals.size else axes.get_ylim()[0]
        place = axes.transAxes.inverted().transform(axes.transData.transform((0, final)))
        ends.append(float(place[1]))
    for curve, height in zip(curves, _apart(ends, 0.08), strict=True):
        sample = {"color": curve.colour, "dashes": curve.dashes or (None, None)}
        axes.plot(
            [1.015, 1.075], [height] * 2, transform=axes.transAxes, clip_on=False, lw=1.8, **sample
        )
        axes.text(
            1.085,
            height,
            _printable(curve.name),
            transform=axes.transAxes,
            va="center",
            color=curve.colour,
            fontsize=10,
            fontfamily="DejaVu Sans",
            parse_math=False,
        )


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Return the heights moved as little as makes them ``gap`` apart, below 1 where they fit."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    moved = list(heights)
    for lower, upper in itertools.pairwise(order):
        moved[upper] = max(moved[upper], moved[lower] + gap)
    ceiling = max(1.0, gap * (len(order) - 1))
    for i in reversed(order):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    return moved


@functools.cache
def _font_letters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_font_file())).get_charmap())


def _printable(text: str) -> str:
    """Return a short text in letters the font has; matplotlib warns of every other on stderr."""
    short = text if len(text) <= 32 else f"{text[:31]}…"
    return "".join(letter if ord(letter) in _font_letters() else "□" for letter in short)


def _course(curve: _Curve) -> str:
    values, steps = curve.values, curve.steps
    if len(values) == 1:
        return f"{curve.name} is {_number(values[0])}."
    finite = np.flatnonzero(np.isfinite(values))
    if not finite.size:
        return f"{curve.name} is never finite."
    if (values == values[0]).all():
        return f"{curve.name} is {_number(values[0])} throughout."
    lowest = finite[values[finite].argmin()]
    return (
        f"{curve.name} goes from {_number(values[0])} to {_number(values[-1])}; "
        f"its lowest is {_number(values[lowest])} at step {steps[lowest]:g}."
    )


def _oddities(curves: Sequence[_Curve], logarithmic: bool) -> list[str]:
    """Return a sentence for each curve that has values which the axis cannot show."""
    sentences = []
    for curve in curves:
        broken = ~np.isfinite(curve.values)
        if broken.any():
            where = _places(curve.steps[broken])
            sentences.append(f"{curve.name} is not finite at {where} (crosses above).")
        below = ~broken & (curve.values <= 0)
        if logarithmic and below.any():
            what = "0" if not curve.values[below].any() else "0 or less"
            where = _places(curve.steps[below])
            sentences.append(
                f"{curve.name} is {what} at {where}, which a logarithmic axis cannot show "
                f"(triangles below)."
            )
    return sentences


def _places(steps: np.ndarray) -> str:
    if len(steps) == 1:
        return f"step {steps[0]:g}"
    return f"{len(steps)} steps, {steps.min():g} the first and {steps.max():g} the last"
