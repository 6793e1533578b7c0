"""The display module: pictures that reach the browser, with captions and words for all of them."""

from __future__ import annotations

import base64
import html
import io
import math
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import bleach
import nbformat
import numpy as np
import pytest
import torch
from bleach.css_sanitizer import CSSSanitizer
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image

from nst_helpers.attribution import picture, pictures
from nst_helpers.display import (
    Figure,
    FigureError,
    filmstrip,
    plot_losses,
    show,
    show_feature_maps,
    show_gram_matrix,
    show_grid,
    show_side_by_side,
)
from nst_helpers.errors import ImageError, NstError

NASTY = """<script>alert("1")</script> & 'so' on"""
VOID = {"img", "meta", "br"}


class _Page(HTMLParser):
    """The figures of a page: the attributes of their pictures, the text of their captions."""

    def __init__(self, page: str):
        super().__init__()
        self.images: list[dict[str, str]] = []
        self.captions: list[str] = []
        self.tags: list[str] = []
        self.text: list[tuple[str, str, str]] = []  # colour, background, text
        self._open: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(values)
        if tag == "figcaption":
            self.captions.append("")
        if tag not in VOID:
            self._open.append((tag, values.get("style", "")))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if any(tag == "figcaption" for tag, _ in self._open):
            self.captions[-1] += data
        self.text.append((self._innermost("color"), self._innermost("background-color"), data))

    def _innermost(self, name: str) -> str:
        for _, style in reversed(self._open):
            found = re.search(rf"(?:^|;)\s*{name}:\s*([^;]+)", style)
            if found:
                return found[1]
        return ""


def page_of(figure: Figure) -> _Page:
    return _Page(figure._repr_mimebundle_()["text/html"])


def bytes_of(image: dict[str, str]) -> tuple[str, bytes]:
    kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", image["src"]).groups()
    return kind, base64.b64decode(data, validate=True)


def pixels_of(image: dict[str, str]) -> Image.Image:
    kind, data = bytes_of(image)
    found = Image.open(io.BytesIO(data))
    assert found.format == kind.upper()
    return found


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2, "contrast ratio")."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def random_picture(height: int = 48, width: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def random_activation(channels: int = 12, height: int = 9, width: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, height, width, generator=generator)


def gram_of(activation: torch.Tensor) -> torch.Tensor:
    features = activation[0].flatten(1)
    return features @ features.T


SHIPPED = pictures("style")[0]

EVERY_KIND = {
    "show": lambda: show(random_picture(), caption=NASTY, alt=NASTY, credit=NASTY),
    "shipped": lambda: show(SHIPPED),
    "side by side": lambda: show_side_by_side({NASTY: random_picture(), "b": SHIPPED}),
    "grid": lambda: show_grid([random_picture(seed=i) for i in range(5)], columns=2),
    "filmstrip": lambda: filmstrip([(i, random_picture(seed=i)) for i in range(12)], caption=NASTY),
    "feature maps": lambda: show_feature_maps(random_activation(), layer=NASTY),
    "Gram matrix": lambda: show_gram_matrix(gram_of(random_activation()), layer=NASTY),
    "losses": lambda: plot_losses({NASTY: [3.0, 2.0], "content": [0.0, 1.0]}, credit=NASTY),
}


@pytest.fixture(scope="module", params=EVERY_KIND)
def figure(request) -> Figure:
    return EVERY_KIND[request.param]()


# --- every figure -------------------------------------------------------------------------------


def test_every_picture_has_words_and_every_figure_a_caption(figure):
    page = page_of(figure)
    assert page.tags.count("figure") == page.tags.count("figcaption") == 1
    assert len(page.images) == len(figure.panels) >= 1
    for image, panel in zip(page.images, figure.panels, strict=True):
        assert image["alt"].strip()
        assert image["alt"] == panel.alt
        assert max(pixels_of(image).size) > 1
    assert page.captions[0].startswith(figure.caption)
    assert figure.caption.endswith((".", "!", "?", ":"))


def test_text_is_shown_and_never_run(figure):
    page = page_of(figure)
    assert set(page.tags) <= {"figure", "figcaption", "div", "img"}
    everything = figure._repr_mimebundle_()["text/html"]
    if NASTY in figure.text:
        assert html.escape(NASTY) in everything
    assert "<script" not in everything


def test_the_plain_text_is_complete(figure):
    words = figure._repr_mimebundle_()["text/plain"]
    assert figure.caption in words
    for panel in figure.panels:
        assert panel.alt in words
    for line in figure.credits:
        assert line in words
    assert words == str(figure) == figure.text
    assert figure.caption in repr(figure)


def test_colours_are_fixed_and_readable_on_any_page(figure):
    page = page_of(figure)
    texts = [(colour, ground) for colour, ground, text in page.text if text.strip()]
    assert texts
    for colour, ground in texts:
        assert contrast(colour, ground) >= 4.5
    everything = figure._repr_mimebundle_()["text/html"]
    assert "var(" not in everything
    for image in page.images:
        assert pixels_of(image).mode == "RGB", "a transparent picture shows the page behind it"


def test_nothing_is_wider_than_a_narrow_screen(figure):
    everything = figure._repr_mimebundle_()["text/html"]
    styles = re.findall(r'style="([^"]*)"', everything)
    fixed = [style for style in styles if re.search(r"(?:^|;)width:\d+px", style)]
    assert fixed
    for style in fixed:
        share = re.search(r"max-width:([\d.]+)%", style)
        assert share, style
        assert float(share.group(1)) <= 100


# JupyterLab's sanitiser (@jupyterlab/apputils, sanitizer) keeps these for an untrusted notebook.
LAB_TAGS = {"figure", "figcaption", "div", "img"}
LAB_ATTRIBUTES = {"*": ["style"], "img": ["alt", "src", "width", "height"]}
LAB_PROPERTIES = [
    *("background-color", "border", "border-radius", "box-sizing", "color", "display"),
    *("font-family", "font-size", "height", "line-height", "margin", "max-width", "padding"),
    *("text-align", "vertical-align", "width"),
]


def test_a_sanitiser_as_in_an_untrusted_notebook_takes_nothing_away(figure):
    before = figure._repr_mimebundle_()["text/html"]
    after = bleach.clean(
        before,
        tags=LAB_TAGS,
        attributes=LAB_ATTRIBUTES,
        protocols=["data"],
        css_sanitizer=CSSSanitizer(allowed_css_properties=LAB_PROPERTIES),
    )
    one, other = _Page(before), _Page(after)
    assert one.tags == other.tags
    assert one.captions == other.captions
    assert one.text == other.text
    for image, kept in zip(one.images, other.images, strict=True):
        assert {k: image[k] for k in ("alt", "src", "width")} == {
            k: kept[k] for k in ("alt", "src", "width")
        }
    properties = re.findall(r"([a-z-]+):", " ".join(re.findall(r'style="([^"]*)"', before)))
    assert set(properties) <= set(LAB_PROPERTIES)


def test_saving_writes_a_picture_and_a_page(figure, tmp_path):
    poster = Image.open(figure.save(tmp_path / "figure.png"))
    assert poster.format == "PNG"
    widest = max(panel.width for panel in figure.panels)
    assert poster.width > 2 * widest
    page = _Page(figure.save(tmp_path / "figure.html").read_text(encoding="utf-8"))
    assert [image["alt"] for image in page.images] == [panel.alt for panel in figure.panels]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.html", "figure.png"]


# --- pictures -----------------------------------------------------------------------------------


def test_a_small_picture_travels_unchanged_and_is_shown_enlarged():
    image = random_picture(48, 64)
    (shown,) = page_of(show(image)).images
    kind, _ = bytes_of(shown)
    assert kind == "png"
    expected = (image[0] * 255).round().permute(1, 2, 0).to(torch.uint8).numpy()
    assert np.abs(np.asarray(pixels_of(shown)).astype(int) - expected).max() <= 1
    assert pixels_of(shown).size == (64, 48)
    assert int(shown["width"]) >= 256
    assert int(page_of(show(image, width=64)).images[0]["width"]) == 64


def test_a_large_picture_travels_as_jpeg_at_its_size():
    ramp = torch.linspace(0, 1, 600).expand(1, 3, 40, 600)
    (shown,) = page_of(show(ramp)).images
    assert bytes_of(shown)[0] == "jpeg"
    found = pixels_of(shown)
    assert found.size == (600, 40)
    expected = (ramp[0] * 255).permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(found, dtype=float) - expected).max() < 6


def test_a_giant_picture_makes_no_giant_notebook():
    bundle = show(random_picture(1200, 2000))._repr_mimebundle_()
    assert max(pixels_of(_Page(bundle["text/html"]).images[0]).size) <= 2 * 840
    assert len(bundle["text/html"]) < 3e6
    frames = [(i, random_picture(400, 400, seed=i)) for i in range(8)]
    assert len(filmstrip(frames)._repr_mimebundle_()["text/html"]) < 3e6


def test_a_picture_without_words_says_its_size():
    figure = show(random_picture(96, 128))
    assert figure.alt == figure.caption == "Picture, 128 by 96 pixels."
    assert show(random_picture(96, 128), alt="  ").alt == "Picture, 128 by 96 pixels."


def test_values_outside_the_range_are_told():
    image = random_picture()
    image[:, 0] += 2
    assert "33% of its values lie outside [0, 1]" in show(image).alt
    assert "outside" not in show(random_picture()).alt


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_every_float_and_a_gradient_are_shown_and_left_alone(dtype):
    image = random_picture().to(dtype).requires_grad_()
    before = image.detach().clone()
    (shown,) = page_of(show(image)).images
    expected = (before.float()[0] * 255).permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(pixels_of(shown), dtype=float) - expected).max() <= 1
    assert torch.equal(image, before)
    assert image.requires_grad


def test_transparent_pixels_are_shown_on_the_figures_background():
    image = Image.new("RGBA", (20, 10), (255, 0, 0, 0))
    assert pixels_of(page_of(show(image)).images[0]).getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize("source", [SHIPPED, SHIPPED.name, Path(SHIPPED.path), str(SHIPPED.path)])
def test_a_shipped_picture_brings_title_words_and_credit(source):
    figure = show(source)
    assert SHIPPED.title in figure.caption
    assert figure.alt == SHIPPED.alt
    assert figure.credits == (SHIPPED.credit,)
    caption = page_of(figure).captions[0]
    assert "Picture credit: " in caption
    assert SHIPPED.credit in caption


def test_own_words_come_before_the_shipped_ones_and_the_credit_stays():
    figure = show(SHIPPED, caption="Mine", alt="Also mine")
    assert (figure.caption, figure.alt) == ("Mine.", "Also mine")
    assert figure.credits == (SHIPPED.credit,)


def test_any_file_is_a_picture_too(tmp_path):
    Image.new("RGB", (30, 20), (10, 200, 30)).save(tmp_path / "mine.png")
    figure = show(tmp_path / "mine.png")
    assert figure.alt == "Picture mine.png, 30 by 20 pixels."
    assert pixels_of(page_of(figure).images[0]).getpixel((5, 5)) == (10, 200, 30)
    assert figure.credits == ()
    Image.new("RGB", (2, 1)).save(tmp_path / "tiny.png")
    assert show(tmp_path / "tiny.png").alt == "Picture tiny.png, 2 by 1 pixels."
    data = base64.b64encode((tmp_path / "mine.png").read_bytes()).decode()
    assert show(f"data:image/png;base64,{data}").alt == "Picture, 30 by 20 pixels."


def test_credits_of_what_a_picture_was_made_of():
    other = pictures("content")[0]
    figure = show(random_picture(), credit=[other, "A friend", other])
    assert figure.credits == (other.credit, "A friend")
    assert "Picture credits: " in page_of(figure).captions[0]
    assert show(random_picture(), credit=other).credits == (other.credit,)
    assert show(random_picture(), credit="A friend").credits == ("A friend",)


def test_side_by_side_pictures_have_one_height_their_labels_and_their_words():
    figure = show_side_by_side(
        {"content": random_picture(40, 80), "style": picture(SHIPPED.name)}, caption="Before"
    )
    heights = [p.width * p.pixels.height / p.pixels.width for p in figure.panels]
    assert max(heights) - min(heights) < 3
    assert [panel.label for panel in figure.panels] == ["content", "style"]
    assert [panel.alt for panel in figure.panels] == ["Picture, 80 by 40 pixels.", SHIPPED.alt]
    assert figure.alt.startswith("content: Picture, 80 by 40 pixels. style: ")
    assert figure.credits == (SHIPPED.credit,)
    assert sum(panel.width for panel in figure.panels) <= 840


def test_a_grid_has_rows_of_as_many_columns_as_asked():
    figure = show_grid([random_picture()] * 5, list("abcde"), columns=2, alts=list("ABCDE"))
    page = figure._repr_mimebundle_()["text/html"]
    rows = re.findall(r"<div>(.*?)</div></div></div>", page)
    assert [row.count("<img") for row in rows] == [2, 2, 1]
    assert [image["alt"] for image in _Page(page).images] == ["A.", "B.", "C.", "D.", "E."]
    assert len({panel.width for panel in figure.panels}) == 1


def steps_of(figure: Figure) -> list[int]:
    return [int(panel.label.removeprefix("step ")) for panel in figure.panels]


def test_a_filmstrip_shows_first_last_and_some_between():
    tiny = random_picture(4, 4)
    frames = [(10 * i, tiny) for i in range(101)]
    even = steps_of(filmstrip(frames[::-1]))
    assert (len(even), even[0], even[-1]) == (8, 0, 1000)
    assert even == sorted(set(even))
    assert max(np.diff(even)) - min(np.diff(even)) <= 10
    log = steps_of(filmstrip(frames, spacing="log"))
    assert (len(log), log[0], log[-1]) == (8, 0, 1000)
    assert log == sorted(set(log))
    assert log[4] < 150 < even[4]
    assert "8 of 101 frames are shown" in filmstrip(frames).caption


def test_a_short_filmstrip_shows_every_frame():
    figure = filmstrip([(5, random_picture()), (0, random_picture())])
    assert steps_of(figure) == [0, 5]
    assert figure.panels[1].alt == "The picture at step 5 of 5, 64 by 48 pixels."
    assert "frames are shown" not in figure.caption
    assert steps_of(filmstrip([(0, random_picture(4, 4)), (9, random_picture(4, 4))], count=1)) == [
        9
    ]


def test_a_filmstrip_of_steps_that_repeat_shows_as_many_frames_as_asked():
    assert len(filmstrip([(0, random_picture(4, 4))] * 30, count=5).panels) == 5


# --- feature maps -------------------------------------------------------------------------------


def test_the_strongest_channels_are_shown_the_strongest_first():
    activation = 0.01 * random_activation(20)
    for channel, factor in {3: 50.0, 17: 400.0, 8: -100.0}.items():
        activation[:, channel] *= factor
    figure = show_feature_maps(activation, layer="conv3_1", count=3)
    assert [int(panel.label.split(":")[0]) for panel in figure.panels] == [17, 8, 3]
    assert "3 strongest of 20 feature maps of conv3_1, 7 × 9" in figure.caption


def test_each_map_has_its_own_range_and_sharp_cells():
    activation = torch.zeros(1, 2, 2, 3)
    activation[0, 0, 1, 2] = 1000.0
    activation[0, 1, 0, 0] = -0.5
    for panel in show_feature_maps(activation).panels:
        colours = {tuple(c) for c in np.asarray(panel.pixels).reshape(-1, 3).tolist()}
        assert len(colours) == 2
        (brightest,) = [c for c in colours if sum(c) == max(map(sum, colours))]
        assert brightest == (253, 231, 36), "viridis ends in this yellow"
    labels = [panel.label for panel in show_feature_maps(activation).panels]
    assert labels == ["0: 0 to 1e3", "1: −0.5 to 0"]


def test_constant_and_enormous_maps_are_drawn():
    activation = torch.full((1, 1, 3, 3), 0.25)
    (panel,) = show_feature_maps(activation).panels
    assert panel.alt == "Feature map of channel 0: 0.25 everywhere."
    assert len(np.unique(np.asarray(panel.pixels).reshape(-1, 3), axis=0)) == 1
    enormous = torch.tensor([-3e38, 0.0, 3e38]).view(1, 1, 1, 3)
    (panel,) = show_feature_maps(enormous).panels
    assert len(np.unique(np.asarray(panel.pixels).reshape(-1, 3), axis=0)) == 3


# --- Gram matrices ------------------------------------------------------------------------------


def colours_in(pixels: Image.Image, cells: int) -> int:
    """Return how many different colours the cells' part of a heat map has."""
    values = np.asarray(pixels)
    inside = values[values.shape[0] // 4 : values.shape[0] // 2, values.shape[1] // 4 :][
        :, : values.shape[1] // 4
    ]
    return len(np.unique(inside[:: max(1, cells // 8)].reshape(-1, 3), axis=0))


@pytest.mark.parametrize("signed", [True, False])
def test_one_great_diagonal_entry_does_not_hide_the_rest(signed):
    activation = random_activation(32)
    gram = gram_of(activation if signed else activation.relu())
    gram[31, 31] = 1e6 * gram.abs().max()
    figure = show_gram_matrix(gram, layer="conv2_1")
    assert colours_in(figure.panels[0].pixels, 32) > 20
    assert "logarithmic" in figure.caption
    assert "conv2_1" in figure.alt
    assert "at channels 31 and 31" in figure.alt


def test_many_channels_are_reduced_to_the_strongest_and_the_caption_says_so():
    activation = random_activation(512)
    figure = show_gram_matrix(gram_of(activation), layer="conv4_1")
    assert "512 × 512" in figure.caption
    assert "the 64 channels with the greatest diagonal entries" in figure.caption
    assert "greatest diagonal" not in show_gram_matrix(gram_of(random_activation(64))).caption


def test_facts_of_a_gram_matrix():
    gram = torch.tensor([[4.0, -1.0, 3.0], [-1.0, 2.0, 0.0], [3.0, 0.0, 6.0]])
    figure = show_gram_matrix(gram)
    assert "greatest entry by size is 6, at channels 2 and 2." in figure.alt
    assert "diagonal's mean is 4, the other entries' mean is 0.667." in figure.alt
    assert "33% of the other entries are negative." in figure.alt


@pytest.mark.parametrize(
    "gram",
    [torch.ones(1, 1), torch.zeros(1, 1), torch.zeros(7, 7), -torch.eye(3), torch.eye(3) * 1e-40],
)
def test_unusual_gram_matrices_are_drawn(gram, recwarn):
    figure = show_gram_matrix(gram)
    assert min(figure.panels[0].pixels.size) > 300
    assert ("Every entry is 0." in figure.caption) == (not gram.any())
    assert not recwarn.list


# --- losses -------------------------------------------------------------------------------------


def test_a_loss_that_starts_at_zero_is_told_and_drawn():
    history = {"total": [100.0, 50.0, 10.0], "content": [0.0, 0.5, 1.0]}
    figure = plot_losses(history)
    assert figure.caption.startswith("Losses over steps 0 to 2, logarithmic axis.")
    assert "content is 0 at step 0, which a logarithmic axis cannot show" in figure.caption
    assert "total is" not in figure.caption
    assert "total goes from 100 to 10; its lowest is 10 at step 2." in figure.alt


def test_zero_is_marked_at_the_lower_edge_and_nan_at_the_upper():
    zero = ink_of(plot_losses({"total": [9.0, 5.0], "content": [0.0, 1.0]}))
    nan = ink_of(plot_losses({"total": [9.0, 5.0], "content": [math.nan, 1.0]}))
    middle = len(zero) / 2
    assert np.flatnonzero((zero & ~nan).any(axis=1)).min() > middle
    assert np.flatnonzero((nan & ~zero).any(axis=1)).max() < middle


def test_losses_that_are_not_finite_are_told():
    figure = plot_losses({"total": [3.0, math.inf, 2.0, math.nan, math.nan]}, steps=range(10, 15))
    assert "total is not finite at 3 steps, 11 the first and 14 the last" in figure.caption
    assert "its lowest is 2 at step 12" in figure.alt


@pytest.mark.parametrize(
    ("losses", "words", "axis"),
    [
        ([12.0], "loss is 12.", "logarithmic"),
        ([0.0], "loss is 0.", "linear"),
        ([0.0, 0.0], "loss is 0 throughout.", "linear"),
        ([-1.0, -2.0], "goes from −1 to −2", "linear"),
        ([math.nan], "loss is nan.", "linear"),
        ([math.nan, math.inf], "loss is never finite.", "linear"),
        ([1e-30, 1e30], "goes from 1e−30 to 1e30", "logarithmic"),
    ],
)
def test_any_losses_are_drawn_without_a_warning(losses, words, axis, recwarn):
    figure = plot_losses(losses)
    assert words in figure.alt
    assert f"{axis} axis" in figure.caption
    assert not recwarn.list


def test_names_of_any_kind_are_drawn_without_a_warning(recwarn):
    figure = plot_losses({r"$\bad_{name$": [1.0], "日本": torch.ones(3), "x" * 300: [2.0, 3.0]})
    assert r"$\bad_{name$" in figure.alt
    assert figure.panels[0].width < 1000
    assert not recwarn.list


def ink_of(figure: Figure) -> np.ndarray:
    """Return where a drawing is neither background nor grey, that is, where its lines are."""
    values = np.asarray(figure.panels[0].pixels).astype(int)
    return values.max(axis=2) - values.min(axis=2) > 60


def test_lines_are_told_apart_without_colour():
    """Grey out one line at a time: its dashes must differ from those of every other."""
    level = {name: [10.0 ** (i + 1)] * 2 for i, name in enumerate("abc")}
    ink = ink_of(plot_losses(level))
    rows = [row for row in ink if row.sum() > 300]
    gaps = {int(np.abs(np.diff(row.astype(int))).sum()) // 8 for row in rows}
    assert len(gaps) >= 3


def test_coinciding_lines_have_labels_of_their_own():
    ink = ink_of(plot_losses({name: [5.0, 4.0] for name in "abcde"}))
    columns = np.flatnonzero(ink.any(axis=0))
    right = ink[:, columns[-1] - 40 : columns[-1] + 1].any(axis=1)
    starts = np.flatnonzero(np.diff(right.astype(int)) == 1)
    assert len(starts) == 5


def test_line_colours_are_readable():
    from nst_helpers import display

    for colour in display._COLOURS:
        assert contrast(colour, display.BACKGROUND) >= 4.5


# --- mistakes -----------------------------------------------------------------------------------

GOOD = random_picture(4, 4)
MISTAKES = {
    "a dimension too few": (lambda: show(GOOD[0]), "unsqueeze"),
    "channels last": (lambda: show(torch.rand(3, 8, 8, 2)), "(3, 8, 8, 2)"),
    "a batch": (lambda: show(torch.rand(2, 3, 8, 8)), "image[:1]"),
    "no pixels": (lambda: show(torch.rand(1, 3, 0, 8)), "(1, 3, 0, 8)"),
    "integers": (lambda: show(torch.ones(1, 3, 4, 4, dtype=torch.uint8)), "uint8"),
    "nan": (lambda: show(GOOD * math.nan), "48 of the picture's 48 values"),
    "not a picture": (lambda: show(7), "int"),
    "no such name": (lambda: show("stary-night"), "stary-night"),
    "an empty PIL image": (lambda: show(Image.new("RGB", (0, 4))), "no pixels"),
    "no file": (lambda: show("/no/such/picture.png"), "picture.png"),
    "no pictures": (lambda: show_side_by_side([]), "no pictures"),
    "one picture": (lambda: show_grid(GOOD), "list"),
    "labels": (lambda: show_grid([GOOD, GOOD], ["a"]), "1 labels for 2 pictures"),
    "one label": (lambda: show_grid([GOOD, GOOD], "ab"), "One text for 2 pictures"),
    "words": (lambda: show_side_by_side([GOOD], alts=["a", "b"]), "2 alternative texts"),
    "columns": (lambda: show_grid([GOOD], columns=0), "0 columns"),
    "no frames": (lambda: filmstrip([]), "no frames"),
    "frames alone": (lambda: filmstrip([GOOD, GOOD]), "(step, picture)"),
    "spacing": (lambda: filmstrip([(0, GOOD)], spacing="odd"), "'even' or 'log'"),
    "activation": (lambda: show_feature_maps(torch.rand(4, 5, 5)), "(4, 5, 5)"),
    "activations": (lambda: show_feature_maps(torch.rand(2, 4, 5, 5)), "activation[:1]"),
    "nan activation": (lambda: show_feature_maps(torch.full((1, 1, 2, 2), math.nan)), "4 of 4"),
    "no maps": (lambda: show_feature_maps(random_activation(), count=0), "At least 1"),
    "gram": (lambda: show_gram_matrix(torch.rand(3, 4)), "(3, 4)"),
    "gram of a batch": (lambda: show_gram_matrix(torch.rand(1, 3, 3)), "(1, 3, 3)"),
    "gram as a list": (lambda: show_gram_matrix([[1.0]]), "list"),
    "infinite gram": (lambda: show_gram_matrix(torch.full((2, 2), math.inf)), "4 of 4"),
    "no losses": (lambda: plot_losses({}), "no losses"),
    "empty losses": (lambda: plot_losses({"total": []}), "'total' are empty"),
    "words for losses": (lambda: plot_losses({"total": ["high"]}), "not numbers"),
    "a number for losses": (lambda: plot_losses({"total": 3.0}), "not numbers"),
    "steps": (lambda: plot_losses([1.0, 2.0], steps=[1]), "1 steps for the 2 losses"),
    "saving": (lambda: show(GOOD).save("figure.jpg"), ".png or .html"),
    "no folder": (lambda: show(GOOD).save("/no/such/folder/figure.png"), "folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_sentence(mistake):
    call, words = MISTAKES[mistake]
    with pytest.raises(NstError) as caught:
        call()
    message = str(caught.value)
    assert isinstance(caught.value, (ImageError, FigureError))
    assert isinstance(caught.value, ValueError)
    assert words in message
    assert message.endswith(".")
    assert "\n" not in message


# --- where it is shown --------------------------------------------------------------------------


def test_threads_draw_at_the_same_time():
    """One thread alone and six together draw the same pictures."""
    alone = plot_losses({"total": [3.0, 2.0, 1.0]}).panels[0].pixels.tobytes()
    drawn: list[bytes] = []

    def draw():
        drawn.append(plot_losses({"total": [3.0, 2.0, 1.0]}).panels[0].pixels.tobytes())

    threads = [threading.Thread(target=draw) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == [alone] * 6


def test_importing_is_cheap_and_drawing_needs_no_display_and_no_pyplot():
    code = (
        "import sys, torch, nst_helpers.display as d\n"
        "assert 'matplotlib' not in sys.modules and 'torchvision' not in sys.modules\n"
        "d.plot_losses([2.0, 1.0]); d.show_gram_matrix(torch.eye(3))\n"
        "d.show_feature_maps(torch.rand(1, 2, 3, 3))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_exported_notebook_keeps_pictures_words_and_captions():
    source = (
        "import torch\n"
        "from nst_helpers.display import show_side_by_side\n"
        "white, black = torch.ones(1, 3, 4, 6), torch.zeros(1, 3, 4, 6)\n"
        "show_side_by_side({'<white>': white, 'black': black}, caption='Two & two',\n"
        "                  alts=['All white', 'All black'], credit='A friend')"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert "All black" in output.data["text/plain"]
    exported, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
    for alt in ("All white.", "All black."):
        assert re.search(rf'<img[^>]*\balt="{alt}"', exported)
    assert exported.count('src="data:image/png;base64,') == 2
    assert "No description has been provided" not in exported
    assert re.search(r"<figcaption[^>]*>Two &amp; two\.", exported)
    # Asked to sanitise, nbconvert lets no picture pass; the words must still be there.
    sanitised, _ = HTMLExporter(sanitize_html=True).from_notebook_node(notebook)
    words = html.unescape(html.unescape(sanitised))
    for text in ("All white.", "All black.", "Two & two.", "Picture credit: A friend."):
        assert text in words
