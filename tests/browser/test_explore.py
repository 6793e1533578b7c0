"""The explorer in a real JupyterLab: found by role and name, moved by mouse and by keyboard."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest
from PIL import Image
from playwright.sync_api import expect

from nst_helpers import attribution
from nst_helpers.explorer.atlas import load_atlas
from nst_helpers.explorer.settings import Settings, in_words
from tests.browser.conftest import ROOT, _environment
from tests.browser.jupyter import MINUTE, cells, open_notebook, run_cell

SOON = 10_000  # milliseconds; what is measured is measured in benchmarks/explorer.py
CELLS = {
    "explore": "from nst_helpers.explorer import explore, worker\n"
    "worker.RETURN_SECONDS = 1.0\nexplorer = explore(size=96, beta=10)\nexplorer",
    "state": "import json, threading\n"
    "names = [t.name for t in threading.enumerate() if t.name.startswith('nst-')]\n"
    "told = json.loads(explorer.settings.to_json())\n"
    "frame = explorer.state.frame\n"
    "json.dumps([names, told, frame and frame.run, explorer.state.step])",
    "own": "import torch\n\ndef gram_matrix(tensor):\n"
    "    features = tensor.flatten(2)[0]\n    gram_matrix.calls += 1\n"
    "    if gram_matrix.calls > 40:\n        raise ValueError('I give up')\n"
    "    return features @ features.T\n\ngram_matrix.calls = 0\n"
    "explorer = explore(size=96, beta=10, gram_matrix=gram_matrix)\nexplorer",
}


@pytest.fixture(scope="module")
def notebook(browser, lab):
    """A notebook with an explorer that runs, in a tab that all these tests share."""
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source, id=name) for name, source in CELLS.items()]
    )
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(made, lab.folder / "explore.ipynb")
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(SOON)
    open_notebook(page, lab, "explore.ipynb")
    run_cell(page, "explore")
    page.evaluate(
        """() => {
            window.commandsRun = [];
            jupyterapp.commands.commandExecuted.connect((_, ran) => commandsRun.push(ran.id));
        }"""
    )
    yield page
    context.close()


@pytest.fixture
def panel(notebook):
    """The panel of the first cell, running."""
    panel = notebook.get_by_role("region", name="Style transfer explorer", exact=True).first
    expect(panel).to_be_visible(timeout=SOON)
    start = button(panel, "Start")
    expect(picture(panel)).to_have_attribute("src", _BLOB, timeout=SOON)
    if start.get_attribute("aria-disabled") != "true":
        start.click()
    expect(status(panel)).to_contain_text("Running", timeout=SOON)
    return panel


_BLOB = re.compile("^blob:")


def button(panel, name):
    return panel.get_by_role("button", name=name, exact=True)


def slider(panel, name):
    return panel.get_by_role("slider", name=name)


def status(panel):
    return panel.get_by_role("status")


def picture(panel):
    return panel.locator(".nst-live img")


def step(panel) -> int:
    words = panel.locator(".nst-progress").inner_text()
    return int(words.split(" ·")[0].removeprefix("step "))


def shown_bytes(panel) -> bytes:
    """Return the bytes of the picture that is shown, as the browser has them."""
    return bytes(
        picture(panel).evaluate(
            "async img => Array.from(new Uint8Array(await (await fetch(img.src)).arrayBuffer()))"
        )
    )


def told(page):
    """Return what the kernel knows: its threads of ours, the settings, the run and the step."""
    (output,) = run_cell(page, "state")
    return json.loads(output["data"]["text/plain"][1:-1].replace("\\n", " "))


def until(condition) -> bool:
    """Return whether a condition holds soon."""
    deadline = time.monotonic() + SOON / 1000
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return held


def unfold(panel, section):
    """Open a folded section, as a click on its title does."""
    title = panel.get_by_text(section, exact=True)
    if not title.evaluate("title => title.closest('details').open"):
        title.click()


# --- what each control says, and does -------------------------------------------------------------


def test_every_picture_can_be_chosen_by_its_name(panel, notebook):
    for kind in attribution.KINDS:
        for record in attribution.pictures(kind):
            expect(panel.get_by_role("radio", name=record.title, exact=True)).to_have_count(1)
    panel.get_by_role("radio", name="Red panda", exact=True).check()
    shown = panel.get_by_role("img", name="Red panda in the style of The Starry Night: alpha")
    expect(shown).to_be_visible(timeout=SOON)
    panel.get_by_role("radio", name="The Great Wave off Kanagawa").check()
    expect(picture(panel)).to_have_attribute("alt", _containing("in the style of The Great Wave"))
    assert told(notebook)[1]["content"] == "red-panda"


def _containing(text):
    return re.compile(re.escape(text))


@pytest.mark.parametrize(
    ("name", "setting", "section"),
    [
        ("alpha weight of content", "alpha", None),
        ("beta weight of style", "beta", None),
        ("total variation smoothness", "tv_weight", None),
        ("conv1_1 the finest marks", "conv1_1", "Layers"),
        ("conv5_1 largest forms", "conv5_1", "Layers"),
        ("size", "size", "How it is computed"),
    ],
)
def test_a_slider_changes_what_it_says_and_what_is_painted_with(
    panel, notebook, name, setting, section
):
    if section:
        unfold(panel, section)
    control = slider(panel, name)
    before = control.get_attribute("aria-valuetext")
    was = told(notebook)[1]
    control.press("ArrowRight")
    said = control.get_attribute("aria-valuetext")
    assert said != before
    assert not re.search(r"\de", said), "values in words, not exponents"
    notebook.wait_for_timeout(400)
    now = told(notebook)[1]
    values = [{**each, **each["style_weights"]}[setting] for each in (was, now)]
    assert values[1] > values[0]
    assert f"{values[1]:g}"[:3].replace("1e+", "1") in said.replace(",", "")
    assert control.get_attribute("aria-valuetext").startswith(said.split(", ")[0]), "and it stays"
    control.press("ArrowLeft")
    expect(control).to_have_attribute("aria-valuetext", _containing(before[:12]))


def test_the_ratio_is_said_in_words_and_as_the_paper_writes_it(panel):
    control = slider(panel, "beta")
    ratio = panel.locator(".nst-ratio")
    expect(ratio).to_have_text("beta is 10 times alpha (alpha/beta = 1e-1)")
    assert control.get_attribute("aria-describedby") == ratio.get_attribute("id")
    for _ in range(3):
        control.press("ArrowRight")
    expect(ratio).to_have_text("beta is 100 times alpha (alpha/beta = 1e-2)", timeout=SOON)
    for _ in range(3):
        control.press("ArrowLeft")
    expect(ratio).to_have_text("beta is 10 times alpha (alpha/beta = 1e-1)", timeout=SOON)


@pytest.mark.parametrize(
    ("name", "setting", "choice", "said"),
    [
        ("content layer", "content_layer", "conv3_2", "content layer conv3_2"),
        ("start from", "start", "noise", "from noise"),
        ("optimiser", "optimizer", "Adam", "Adam"),
        ("colours of", "colours", "the content picture", "the photograph's colours"),
    ],
)
def test_a_list_changes_what_is_painted_with(panel, notebook, name, setting, choice, said):
    unfold(panel, "Layers" if setting == "content_layer" else "How it is computed")
    control = panel.get_by_role("combobox", name=name, exact=True)
    before = control.input_value()
    control.select_option(label=choice)
    expect(picture(panel)).to_have_attribute("alt", _containing(said), timeout=SOON)
    assert told(notebook)[1][setting] == control.input_value() != before
    control.select_option(before)
    expect(picture(panel)).not_to_have_attribute("alt", _containing(said), timeout=SOON)


def test_the_picture_answers_a_slider_without_a_restart(panel, notebook):
    run, before = told(notebook)[2], shown_bytes(panel)
    at = step(panel)
    control = slider(panel, "beta")
    for _ in range(6):
        control.press("ArrowRight")
    expect(picture(panel)).to_have_attribute("alt", _containing("beta 1,000"), timeout=SOON)
    assert shown_bytes(panel) != before
    assert told(notebook)[2] == run
    assert step(panel) > at
    for _ in range(6):
        control.press("ArrowLeft")


def test_pause_step_restart_and_stop(panel, notebook):
    before = step(panel)
    button(panel, "Pause").click()
    expect(status(panel)).to_contain_text("Paused at step", timeout=SOON)
    notebook.wait_for_timeout(500)  # the step in hand
    held = step(panel)
    assert held >= before
    notebook.wait_for_timeout(1000)
    assert step(panel) == held
    button(panel, "Step").click()
    expect(panel.locator(".nst-progress")).to_contain_text(f"step {held + 1} ·", timeout=SOON)
    run = told(notebook)[2]
    button(panel, "Restart").click()
    expect(status(panel)).to_contain_text("Running", timeout=SOON)
    expect(panel.locator(".nst-progress")).not_to_contain_text(f"step {held + 1} ·", timeout=SOON)
    expect(panel.locator(".nst-progress")).to_contain_text("step", timeout=SOON)
    assert until(lambda: told(notebook)[2] == run + 1)
    button(panel, "Stop").click()
    expect(status(panel)).to_contain_text("Stopped at step", timeout=SOON)
    assert until(lambda: told(notebook)[0] == [])
    assert shown_bytes(panel)[:2] == b"\xff\xd8", "the picture stays"


def test_the_film_is_scrubbed_and_pictures_are_pinned(panel, notebook):
    expect(panel.locator(".nst-frames img")).to_have_count(9, timeout=MINUTE)
    button(panel, "Pause").click()
    film = slider(panel, "film")
    film.press("Home")
    expect(film).to_have_attribute("aria-valuetext", "step 0")
    expect(picture(panel)).to_have_attribute("alt", _containing("step 0."))
    first = shown_bytes(panel)
    button(panel, "Pin").click()
    pins = panel.locator(".nst-pin")
    expect(pins).to_have_count(1, timeout=SOON)
    expect(pins.get_by_role("img")).to_have_attribute("alt", _containing("step 0."))
    film.press("End")
    expect(film).to_have_attribute("aria-valuetext", "the present picture")
    assert shown_bytes(panel) != first
    panel.get_by_role("button", name="Remove pinned picture 1", exact=True).click()
    expect(pins).to_have_count(0, timeout=SOON)


def test_picture_settings_and_film_are_saved_and_settings_loaded_again(panel, notebook):
    expect(panel.locator(".nst-frames img").nth(2)).to_be_visible(timeout=SOON)
    files = {}
    for what in ("Save picture", "Save settings", "Save film"):
        with notebook.expect_download() as waiting:
            button(panel, what).click()
        files[what] = (waiting.value.suggested_filename, waiting.value.path().read_bytes())
    name, content = files["Save picture"]
    assert name.startswith("my-")
    with Image.open(io.BytesIO(content)) as saved:
        assert max(saved.size) == told(notebook)[1]["size"]
        assert "in the style of" in saved.text["Description"]
    with Image.open(io.BytesIO(files["Save film"][1])) as film:
        assert film.n_frames >= 3
    text = files["Save settings"][1].decode()
    changed = Settings.from_json(text).changed(beta=50.0, tv_weight=3.0).to_json()
    panel.get_by_label("Load settings").set_input_files(
        {"name": "s.json", "mimeType": "application/json", "buffer": changed.encode()}
    )
    expect(status(panel)).to_contain_text("The settings were loaded.", timeout=SOON)
    expect(slider(panel, "beta")).to_have_attribute("aria-valuetext", "beta is 50")
    expect(slider(panel, "total variation")).to_have_attribute(
        "aria-valuetext", "total variation is 3"
    )
    panel.get_by_label("Load settings").set_input_files(
        {"name": "s.json", "mimeType": "application/json", "buffer": text.encode()}
    )
    expect(slider(panel, "beta")).to_have_attribute("aria-valuetext", "beta is 10")


def test_the_atlas_answers_without_computing(panel, notebook):
    unfold(panel, "How it is computed")
    box = panel.get_by_role("checkbox", name="Show the atlas: nothing is computed", exact=True)
    box.check()
    expect(status(panel)).to_contain_text("The atlas is shown; nothing is computed.", timeout=SOON)
    expect(picture(panel)).to_have_attribute("alt", _containing("From the atlas: Neuschwanstein"))
    before = shown_bytes(panel)
    slider(panel, "beta").press("End")
    most = f"beta {in_words(max(load_atlas().betas))}, "
    expect(picture(panel)).to_have_attribute("alt", _containing(most), timeout=SOON)
    assert shown_bytes(panel) != before
    slider(panel, "film").press("Home")
    expect(picture(panel)).to_have_attribute("alt", _containing(most))
    slider(panel, "film").press("End")
    slider(panel, "beta").press("Home")
    for _ in range(13):
        slider(panel, "beta").press("ArrowRight")
    expect(panel.locator(".nst-ratio")).to_contain_text("beta is 10 times alpha", timeout=SOON)
    button(panel, "Start").click()
    expect(box).not_to_be_checked(timeout=SOON)
    expect(picture(panel)).not_to_have_attribute("alt", _containing("atlas"))


# --- pictures from elsewhere ----------------------------------------------------------------------


def upload(panel, kind, name, content):
    summary = f"Another {kind} picture"
    unfold(panel, summary)
    panel.get_by_label(f"Upload a {kind} picture").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


def test_an_odd_upload_gives_a_sentence_and_a_good_one_is_painted(panel):
    upload(panel, "content", "homework.pdf", b"%PDF-1.7 no picture at all")
    expect(status(panel)).to_contain_text("PDF", timeout=SOON)
    expect(panel.get_by_role("radio", name="Red panda")).to_be_visible()
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((120, 60)).convert("CMYK").save(buffer, "TIFF")
    upload(panel, "content", "my grey cat.tiff", buffer.getvalue())
    own = panel.get_by_role("radio", name="my grey cat.tiff", exact=True)
    expect(own).to_be_checked(timeout=SOON)
    expect(picture(panel)).to_have_attribute("alt", _containing("my grey cat.tiff in the style"))
    panel.get_by_role("radio", name="Neuschwanstein Castle", exact=True).check()


def test_an_address_that_cannot_be_read_gives_a_sentence(panel):
    unfold(panel, "Another style picture")
    panel.get_by_label("Web address of a style picture").fill("not-an-address")
    panel.get_by_role("button", name="Load the style picture from the web").click()
    expect(status(panel)).to_contain_text("begins with https:// or http://", timeout=SOON)
    panel.get_by_label("Web address of a style picture").fill("http://127.0.0.1:9/a.png")
    panel.get_by_label("Web address of a style picture").press("Enter")
    expect(status(panel)).to_contain_text("http://127.0.0.1:9/a.png", timeout=SOON)


# --- for everyone ---------------------------------------------------------------------------------


def test_all_of_it_can_be_used_by_keyboard_alone(panel, notebook):
    for section in ("Layers", "How it is computed"):
        unfold(panel, section)
    panel.get_by_role("radio").first.focus()
    reached = []
    for _ in range(60):
        name = notebook.evaluate(
            """() => {
                const here = document.activeElement;
                const inside = here.closest('.nst');
                return inside && (here.getAttribute('aria-label') || here.labels?.[0]?.innerText
                    || here.innerText);
            }"""
        )
        if name is None:
            break
        reached.append(" ".join(name.split()))
        notebook.keyboard.press("Tab")
    for wanted in (
        *("Another content picture", "Another style picture", "alpha weight of content"),
        *("beta weight of style", "total variation smoothness", "content layer", "size"),
        *("start from", "optimiser", "colours of", "conv3_1 brush strokes"),
    ):
        assert wanted in reached, reached
    slider(panel, "alpha").focus()
    for _ in range(40):
        notebook.keyboard.press("Shift+Tab")
        if notebook.evaluate("document.activeElement.innerText").strip().endswith("Pause"):
            break
    notebook.keyboard.press("Space")
    expect(status(panel)).to_contain_text("Paused", timeout=SOON)
    for _ in range(40):
        if notebook.evaluate("document.activeElement.innerText").strip().endswith("Start"):
            break
        notebook.keyboard.press("Shift+Tab")
    notebook.keyboard.press("Enter")
    expect(status(panel)).to_contain_text("Running", timeout=SOON)


def test_no_shortcut_of_jupyterlab_fires_from_a_control(panel, notebook):
    for section in ("Layers", "How it is computed"):
        unfold(panel, section)
    count = len(cells(notebook))
    controls = panel.locator("button, input, select, summary")
    assert controls.count() > 40
    bare = controls.evaluate_all(
        "all => all.filter(c => !c.matches('[data-lm-suppress-shortcuts]')).map(c => c.outerHTML)"
    )
    assert bare == []
    notebook.evaluate("commandsRun.length = 0")
    for control in (
        slider(panel, "beta"),
        panel.get_by_role("radio", name="The Scream"),
        button(panel, "Pin"),
        panel.get_by_role("combobox", name="optimiser"),
        panel.get_by_text("Layers", exact=True),
    ):
        for key in (
            "a",
            "b",
            "x",
            "c",
            "v",
            "z",
            "d",
            "d",
            "m",
            "y",
            "r",
            "0",
            "0",
            "l",
            "Shift+M",
        ):
            control.press(key)
    assert notebook.evaluate("commandsRun") == []
    assert len(cells(notebook)) == count


CONTRASTS = """
root => {
    const rgb = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = node => {
        for (; node; node = node.parentElement) {
            const colour = rgb(getComputedStyle(node).backgroundColor);
            if (colour.length < 4 || colour[3] > 0.99) return colour;
        }
    };
    const found = [];
    for (const node of root.querySelectorAll('*')) {
        const words = [...node.childNodes].some(n => n.nodeType === 3 && n.data.trim());
        if (!words && !node.matches('option, select')) continue;
        const style = getComputedStyle(node);
        const colour = rgb(node instanceof SVGElement ? style.fill : style.color);
        const [one, other] = [light(colour), light(behind(node))].sort((a, b) => b - a);
        found.push([(one + 0.05) / (other + 0.05), node.outerHTML.slice(0, 120)]);
    }
    return found;
}
"""


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_every_word_stands_out_in_light_and_dark(panel, notebook, theme):
    for section in ("Layers", "How it is computed", "Another content picture"):
        unfold(panel, section)
    notebook.evaluate(
        "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )
    expect(panel).to_have_attribute("data-theme", theme.split()[1].lower(), timeout=SOON)
    found = panel.evaluate(CONTRASTS)
    assert len(found) > 50
    worst, what = min(found)
    assert worst >= 4.5, what
    notebook.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})"
    )


def test_a_small_laptop_needs_no_scrolling_to_the_side(panel, notebook):
    for section in ("Layers", "How it is computed"):
        unfold(panel, section)
    over = panel.evaluate(
        """root => [root, ...root.querySelectorAll('*')]
            .filter(e => e.getBoundingClientRect().right > root.getBoundingClientRect().right + 1)
            .map(e => e.outerHTML.slice(0, 100))"""
    )
    assert over == []
    scroller = notebook.locator(".jp-WindowedPanel-outer").first
    assert scroller.evaluate("e => e.scrollWidth <= e.clientWidth")
    assert panel.bounding_box()["width"] > 700


def test_the_atlas_for_exported_pages_is_folded_where_there_are_controls(panel, notebook):
    folded = notebook.locator("details.nst-atlas").first
    expect(folded).not_to_have_attribute("open", re.compile(""), timeout=SOON)
    expect(folded.locator("img")).to_have_attribute("alt", re.compile("rows of . pictures"))


def test_status_changes_are_announced_politely_and_losses_are_not(panel):
    expect(status(panel)).to_have_attribute("aria-live", "polite")
    assert panel.locator("[aria-live]").count() == 1
    assert "total" not in status(panel).inner_text()
    drawing = panel.locator(".nst-plot").get_by_role("img")
    assert "Losses at step" in drawing.get_attribute("aria-label")


# --- own functions, and nobody left behind --------------------------------------------------------


def test_other_cells_run_meanwhile_and_an_interrupt_ends_the_thread(panel, notebook):
    before = step(panel)
    threads, *_ = told(notebook)
    assert threads == ["nst-explorer"]
    expect(panel.locator(".nst-progress")).not_to_contain_text(f"step {before} ·", timeout=SOON)
    notebook.evaluate("jupyterapp.commands.execute('notebook:interrupt-kernel')")
    expect(status(panel)).to_contain_text("The kernel was interrupted.", timeout=SOON)
    assert until(lambda: told(notebook)[0] == [])


def test_running_the_cell_again_leaves_one_thread(panel, notebook):
    told(notebook)  # a control that has the focus keeps Ctrl+Enter to itself
    run_cell(notebook, "explore")
    assert until(lambda: len(told(notebook)[0]) == 1)
    again = notebook.get_by_role("region", name="Style transfer explorer", exact=True).first
    expect(status(again)).to_contain_text("Running", timeout=SOON)
    assert told(notebook)[0] == ["nst-explorer"]


def test_an_own_function_paints_and_one_that_raises_is_said(panel, notebook):
    run_cell(notebook, "own")
    own = notebook.get_by_role("region", name="Style transfer explorer", exact=True).nth(1)
    own.scroll_into_view_if_needed()
    expect(status(own)).to_contain_text(
        "Your gram_matrix raised ValueError: I give up.", timeout=MINUTE
    )
    expect(status(own)).to_contain_text("it goes on with the course's gram_matrix")
    before = step(own)
    expect(own.locator(".nst-progress")).not_to_contain_text(f"step {before} ·", timeout=SOON)
    assert picture(own).get_attribute("src")
    # The first panel says why it stands still.
    expect(status(panel_of(notebook, 0))).to_contain_text("only one runs at a time")


def panel_of(page, number):
    return page.get_by_role("region", name="Style transfer explorer", exact=True).nth(number)


def test_closing_the_page_and_restarting_leave_no_thread(notebook, lab):
    run_cell(notebook, "explore")
    expect(status(panel_of(notebook, 0))).to_contain_text("Running", timeout=SOON)
    notebook.goto("about:blank")
    notebook.wait_for_timeout(2500)
    open_notebook(notebook, lab, "explore.ipynb")
    assert until(lambda: told(notebook)[0] == [])
    notebook.evaluate("jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    notebook.wait_for_timeout(500)
    (output,) = run_cell(notebook, "state")
    assert output["ename"] == "NameError", "a fresh process knows no explorer, and has no thread"


# --- a page without code --------------------------------------------------------------------------


@contextlib.contextmanager
def voila(home):
    """Serve the demonstration page as ``make demo`` does, on a free port, and end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "nst_helpers.explorer.demo", "--no-browser", f"--port={port}"]
    with (home / "voila.log").open("w") as log:
        server = subprocess.Popen(command, env=_environment(home), stdout=log, stderr=log, cwd=ROOT)
        try:
            yield f"http://127.0.0.1:{port}/", server, home / "voila.log"
        finally:
            server.terminate()
            server.wait(20)


def test_the_demonstration_page_paints(browser, tmp_path):
    with voila(tmp_path) as (url, server, log):
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        for _ in range(120):
            assert server.poll() is None, log.read_text()[-2000:]
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{url}voila/static/", timeout=1)
            try:
                page.goto(url, timeout=MINUTE)
                break
            except Exception:
                page.wait_for_timeout(500)
        panel = panel_of(page, 0)
        expect(panel).to_be_visible(timeout=MINUTE)
        expect(status(panel)).to_contain_text("Running", timeout=MINUTE)
        before = shown_bytes(panel)
        slider(panel, "beta").press("End")
        expect(picture(panel)).to_have_attribute(
            "alt", _containing("beta 1,000,000"), timeout=MINUTE
        )
        assert shown_bytes(panel) != before
        assert page.locator(".jp-CodeCell .jp-InputArea:visible, .CodeMirror").count() == 0
        page.context.close()
