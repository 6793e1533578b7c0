"""The explorer's panel without a browser: what it tells the page, and what it does when told."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image

from nst_helpers import attribution, backbones, losses
from nst_helpers.errors import NstError
from nst_helpers.explorer import Settings, atlas, explore, saving, worker
from nst_helpers.explorer.drawing import loss_plot, losses_in_words, short_number
from nst_helpers.explorer.panel import CHOICES, LAYERS, WEIGHTS
from nst_helpers.result import Step
from tests.test_explorer import until


@pytest.fixture
def explorer():
    """An explorer on a small network that has painted three steps."""
    made = explore(model=backbones.small_vgg19(0), size=96, beta=10, start="content", device="cpu")
    made.wait(3)
    yield made
    made.stop()
    assert not made.worker.works


def tell(explorer, buffers=(), **message):
    explorer.panel._hear(None, message, list(buffers))


# --- what the page is told ----


def test_sliders_say_values_in_words(explorer):
    told = {each["name"]: each for each in explorer.panel.sliders}
    assert list(told) == [*WEIGHTS, *LAYERS, "size"]
    for each in told.values():
        assert len(each["stops"]) == len(each["texts"]) == len(each["short"])
        assert each["stops"] == sorted(set(each["stops"]))
        assert not any(re.search(r"\de[-+\d]", text) for text in each["texts"])
    beta = told["beta"]
    at = dict(zip(beta["stops"], beta["texts"], strict=True))
    assert at[0] == "beta is 0, off"
    assert at[0.05] == "beta is 0.05"
    assert at[1e6] == "beta is 1,000,000"
    assert told["conv2_1"]["texts"][told["conv2_1"]["stops"].index(0.75)] == "conv2_1 is 0.75"
    size = told["size"]["texts"]
    assert all(re.fullmatch(r"\d+ pixels, about [\d.]+ s a step", text) for text in size)


def test_a_value_between_the_stops_becomes_one(explorer):
    explorer.change(beta=12.5)
    (beta,) = [each for each in explorer.panel.sliders if each["name"] == "beta"]
    assert 12.5 in beta["stops"]
    assert explorer.panel.state["values"]["beta"] == 12.5


def test_the_page_gets_every_shipped_picture_with_its_words(explorer):
    for kind in attribution.KINDS:
        told = explorer.panel.thumbnails[kind]
        records = attribution.pictures(kind)
        assert [each["title"] for each in told] == [each.title for each in records]
        for each in told:
            assert Image.open(io.BytesIO(each["thumb"])).size == (96, 96)


def test_the_shown_picture_knows_its_settings(explorer):
    shown = explorer.panel.shown
    assert Image.open(io.BytesIO(shown["image"])).size == (shown["width"], shown["height"])
    assert "alpha 1, beta 10" in shown["caption"]
    assert "RANDOM WEIGHTS" in shown["caption"]
    assert explorer.panel.state["progress"].startswith("step 3 · content ")
    assert explorer.picture.shape == (1, 3, shown["height"], shown["width"])


# --- what the page tells ----


def test_a_slider_sets_its_value_and_is_confirmed(explorer):
    tell(explorer, kind="set", name="beta", value=200, number=7)
    tell(explorer, kind="set", name="conv3_1", value=5, number=9)
    assert explorer.settings.beta == 200
    assert explorer.settings.style_weights == {**losses.STYLE_WEIGHTS, "conv3_1": 5}
    assert explorer.panel.state["handled"] == 9
    assert "beta is 200 times alpha" in explorer.panel.state["ratio"]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"kind": "set", "name": "beta", "value": "much", "number": 1}, "beta is 'much'"),
        ({"kind": "set", "name": "gamma", "value": 1, "number": 1}, "gamma is no setting"),
        ({"kind": "url", "role": "content", "url": "file:///etc/passwd"}, "begins with https://"),
        ({"kind": "url", "role": "middle", "url": "https://x"}, "middle is no kind of picture"),
        ({"kind": "too large", "name": "a.raw", "size": 25e6}, "a.raw has 25 MB, and the browser"),
        ({"kind": "load", "text": "{}"}, "holds no settings"),
        ({"kind": "load", "text": Settings(content="/etc/passwd").to_json()}, "upload it instead"),
        ({"kind": "nonsense"}, "That did not work (KeyError"),
        ({"kind": "unpin", "index": 3}, "That did not work (IndexError"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(explorer, message, said):
    before = explorer.settings
    tell(explorer, **message)
    assert said in explorer.panel.state["status"]
    assert explorer.settings == before


def test_buttons_press_the_worker(explorer):
    tell(explorer, kind="do", what="step")
    until(lambda: explorer.state.step == 4)
    tell(explorer, kind="do", what="stop")
    assert explorer.panel.state["phase"] == "stopped"
    assert explorer.panel.state["useful"] == {
        "start": True,
        "pause": False,
        "step": True,
        "restart": True,
        "stop": False,
    }


def test_it_starts_when_it_is_seen_and_not_before():
    made = explore(model=backbones.small_vgg19(0), size=96, beta=10, start="content", device="cpu")
    assert not made.worker.works
    tell(made, kind="hello")
    until(lambda: made.state.step > 1)
    made.stop()
    tell(made, kind="hello")
    assert not made.worker.works, "a page loaded again does not start what was stopped"


def test_a_new_explorer_ends_the_one_before(explorer):
    explorer.worker.start()
    other = explore(model=backbones.small_vgg19(0), size=96, device="cpu")
    until(lambda: not explorer.worker.works)
    assert "only one runs at a time" in explorer.state.note
    assert not other.worker.works


def test_an_upload_is_painted(explorer):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "tomato").save(buffer, "PNG")
    tell(explorer, [buffer.getvalue()], kind="upload", role="style", name="red; wall, 1.png")
    until(lambda: explorer.panel.state["pictures"]["style"].get("thumb"))
    chosen = explorer.panel.state["pictures"]["style"]
    assert (chosen["name"], chosen["title"]) == ("own", "red; wall, 1.png")
    with Image.open(io.BytesIO(chosen["thumb"])) as thumb:
        assert thumb.getpixel((5, 5))[0] > 200


def test_pins_keep_what_was_shown(explorer):
    first = explorer.state.film[0]
    tell(explorer, kind="pin", key=f"{first.run}:{first.step}")
    tell(explorer, kind="pin", key=None)
    assert [pin["step"] for pin in explorer.panel.pins] == [0, 3]
    tell(explorer, kind="do", what="restart")
    until(lambda: explorer.state.frame.run > first.run)
    tell(explorer, kind="unpin", index=0)
    assert [pin["step"] for pin in explorer.panel.pins] == [3]


def test_the_film_is_sent_once_and_again_to_a_new_page(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(explorer.panel, "send", lambda content, buffers=None: sent.append(content))
    explorer.wait(2)
    keys = [frame["key"] for message in sent for frame in message["frames"]]
    assert len(keys) == len(set(keys)) == 2
    sent.clear()
    tell(explorer, kind="hello")
    assert len(sent[0]["frames"]) == len(explorer.state.film)
    assert "step 1" in sent[0]["frames"][1]["caption"]


# --- saving ----


def test_saving(explorer, tmp_path):
    explorer.wait(2)
    picture = explorer.save(tmp_path / "my.png")
    with Image.open(picture) as saved:
        assert "step 5" in saved.text["Description"]
    settings = explorer.save(tmp_path / "my.json")
    assert Settings.from_json(settings.read_text()) == explorer.settings
    with Image.open(explorer.save(tmp_path / "my.gif")) as film:
        assert film.n_frames == 6
        first = film.convert("RGB")
    original = explorer.state.film[0].painted().to_pil()
    pairs = zip(first.resize((8, 8)).tobytes(), original.resize((8, 8)).tobytes(), strict=True)
    assert max(abs(one - other) for one, other in pairs) < 40, (
        "the film's colours are the picture's"
    )
    with pytest.raises(NstError, match=r"ends in none of .png, .json, .gif"):
        explorer.save(tmp_path / "my.docx")
    with pytest.raises(NstError, match="cannot be written"):
        explorer.save(tmp_path / "missing" / "my.png")


def test_there_is_nothing_to_save_before_the_first_picture():
    for make in (saving.picture, saving.film):
        with pytest.raises(NstError, match="yet"):
            make(worker.State())


def test_the_films_first_frame_is_the_start(explorer):
    assert explorer.state.film[0].step == 0
    assert explorer.show().caption.startswith("Neuschwanstein Castle in the style of")


# --- the drawing of the losses ----


def history(*totals):
    return [Step(i, float(i), total, total / 2, 10 * total, 0.0) for i, total in enumerate(totals)]


def test_the_drawing_is_svg_with_words():
    drawing = ET.fromstring(loss_plot(history(1000, 300, 30, 8), [2]))
    assert drawing.get("role") == "img"
    assert "Losses at step 3: content 4, style 80, total 8." in drawing.get("aria-label")
    lines = {each.get("class"): each.get("points") for each in drawing.iter("polyline")}
    assert set(lines) == {"content", "style", "total"}
    heights = [float(point.split(",")[1]) for point in lines["total"].split()]
    assert heights == sorted(heights), "a falling loss falls"
    assert len([e for e in drawing.iter("line") if e.get("class") == "change"]) == 1
    words = {e.text for e in drawing.iter("text") if "name" in e.get("class")}
    assert words == {"content", "style", "total"}


def test_losses_without_a_logarithm_leave_a_gap():
    odd = [Step(0, 0, 0.0, 0.0, float("nan"), 0), Step(1, 1, float("inf"), -1, 5.0, 0)]
    drawing = ET.fromstring(loss_plot(odd))
    assert [each.get("class") for each in drawing.iter("polyline")] == ["style"]
    assert "total no number" in losses_in_words(odd)
    assert ET.fromstring(loss_plot([])).get("aria-label") == "No losses yet."


def test_a_long_run_is_drawn_with_few_points():
    drawing = ET.fromstring(loss_plot(history(*[5.0] * 5000)))
    points = next(drawing.iter("polyline")).get("points").split()
    assert len(points) < 250


def test_numbers_of_losses():
    said = [short_number(v) for v in (0.25, 31.12, 2231.4, 150_000, 3.4e8, 0.0012, 0)]
    assert said == ["0.25", "31.1", "2,231", "150,000", "3.4e8", "1.2e-3", "0"]


# --- the atlas ----


def test_the_atlas_is_small_and_complete():
    known = atlas.load_atlas()
    files = list(atlas.FOLDER.iterdir())
    assert {each.name for each in files} == {atlas.FACTS, *(each.file for each in known.sheets)}
    assert sum(each.stat().st_size for each in files) < 2_000_000
    assert known.weights == "gatys"
    assert len(known.betas) >= 5
    width, height = known.cell
    for sheet in known.sheets:
        with Image.open(atlas.FOLDER / sheet.file) as picture:
            assert picture.size == (width * len(known.steps), height * len(known.betas))


def test_the_atlas_gives_the_nearest_ratio_layers_and_steps():
    known = atlas.load_atlas()
    for beta in known.betas:
        film = known.film(Settings(alpha=0.1, beta=0.11 * beta))
        assert [frame.step for frame in film] == list(known.steps)
        assert film[0].settings.beta == beta
    deep = {layer: float(layer > "conv4") for layer in losses.STYLE_WEIGHTS}
    chosen = known.film(Settings(style_weights=deep))[0].settings.style_weights
    assert {layer for layer, weight in chosen.items() if weight} == {"conv4_1", "conv5_1"}
    assert known.film(Settings(alpha=0))[0].settings.beta == max(known.betas)
    assert known.film(Settings(beta=0))[0].settings.beta == min(known.betas)


def test_the_atlas_is_shown_without_weights_and_without_a_thread(monkeypatch):
    def unreachable(*_, **__):
        raise worker.WeightsError("The weights cannot be had.")

    monkeypatch.setattr(backbones, "vgg19", unreachable)
    offline = explore(size=96, device="cpu")
    assert "From the atlas" in offline.panel.shown["caption"], "before anything was tried"
    offline.wait(1)
    state = offline.panel.state
    assert "The weights cannot be had. The atlas is shown" in state["status"]
    most = max(atlas.load_atlas().betas)
    tell(offline, kind="set", name="beta", value=2 * most, number=1)
    assert f"beta {most:g}," in offline.panel.shown["caption"]
    offline.stop()


# --- pages without widgets ----


def test_an_exported_page_shows_the_atlas_as_pictures():
    code = "from nst_helpers.explorer import explore\nexplore()"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, kernel_name="python3", timeout=200).execute()
    assert notebook.metadata.widgets, "the state of the widget is kept"
    for kept in ("with the widget's state", "without"):
        if kept == "without":
            del notebook.metadata["widgets"]
        page, _ = HTMLExporter().from_notebook_node(notebook)
        assert len(re.findall(r'<img alt="\d rows of \d pictures', page)) == 1
        assert "From the atlas: Neuschwanstein Castle in the style of The Starry Night" in page
        assert "No description has been provided" not in page


def test_the_bundle_has_the_panel_and_a_fallback(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert "<img alt=" in data["text/html"]
    assert "From the atlas: Neuschwanstein Castle in the style" in data["text/plain"]


def test_choices_are_the_engines():
    for name, (_, options) in CHOICES.items():
        for value in options:
            Settings(**{name: value})


def test_pictures_of_any_kind_can_be_handed_over():
    made = explore(torch.rand(1, 3, 40, 60), attribution.picture("great-wave"), size=96)
    assert made.settings.style == "great-wave"
    assert made.settings.content.startswith("data:image/png;name=")
    with pytest.raises(NstError, match="is no setting"):
        explore(gamma=3)
