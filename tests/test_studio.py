"""The studio's tables, charts and kept results."""

from __future__ import annotations

import json

import pytest
import torch
from matplotlib.figure import Figure as Canvas

from nst_helpers import studio
from nst_helpers.display import show_grid
from nst_helpers.studio import StudioError, chart, keep, kept, readable, sized, table


@pytest.fixture
def keeping(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_STUDIO", "keep")
    return tmp_path / "results"


ROWS = [{"name": "Adam <b>", "loss": 1234.567, "share": 0.01234, "none": None}]


@pytest.mark.parametrize(("said", "size"), [("", 256), ("full", 256), ("keep", 256), ("small", 64)])
def test_sizes_follow_the_mode(monkeypatch, said, size):
    monkeypatch.setenv("NST_STUDIO", said)
    assert sized(256, 64) == size


def test_an_unknown_mode_is_refused_and_the_known_ones_are_named(monkeypatch):
    monkeypatch.setenv("NST_STUDIO", "tiny")
    with pytest.raises(StudioError, match="'tiny'; set it to one of full, small, keep"):
        sized(256, 64)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1000, "1,000"),
        (1e6, "1e+06"),
        (2.5e-8, "2.50e-08"),
        (0.012345, "0.0123"),
        (12.345, "12.3"),
        (54321.6, "54,322"),
        (-3.14159, "-3.14"),
        (float("inf"), "inf"),
        (float("nan"), "–"),
        (None, "–"),
        ("L-BFGS", "L-BFGS"),
        (True, "True"),
        (torch.tensor(0.5), "0.5"),
    ],
)
def test_numbers_are_readable(value, text):
    assert readable(value) == text


def test_a_table_is_shown_in_words_and_as_html_with_everything_escaped():
    shown = table(ROWS, "Losses of <one> run")._repr_mimebundle_()
    assert shown["text/plain"].splitlines()[0] == "Losses of <one> run"
    assert "1,235" in shown["text/plain"]
    assert "Adam &lt;b&gt;" in shown["text/html"]
    assert "Losses of &lt;one&gt; run" in shown["text/html"]
    assert shown["text/html"].count('scope="col"') == 4
    assert shown["text/html"].count('scope="row"') == 1
    assert "<style" not in shown["text/html"]


def test_a_table_without_rows_is_refused():
    with pytest.raises(StudioError, match="at least one"):
        table([], "nothing")


def test_nothing_is_written_unless_results_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for said in ("", "small"):
        monkeypatch.setenv("NST_STUDIO", said)
        rows = table(ROWS, "Losses")
        assert keep("losses", rows) is rows
    assert not list(tmp_path.iterdir())


def test_a_kept_table_comes_back_with_all_its_digits_and_says_where_from(keeping):
    keep("losses", table(ROWS, "Losses."))
    back = kept("losses")
    assert back.frame["loss"][0] == 1234.567
    assert back.caption.startswith("Losses. Kept from a full run (CPU, ")


def test_a_kept_figure_comes_back_with_its_words_and_pictures(keeping):
    pictures = {name: torch.rand(1, 3, 20, 30) for name in ("one", "two")}
    figure = show_grid(pictures, columns=2, caption="Two pictures", credit="somebody")
    keep("pair", figure)
    back = kept("pair")
    assert back.caption.startswith("Two pictures. Kept from")
    assert back.alt == figure.alt
    assert (back.credits, back.columns) == (figure.credits, 2)
    assert [panel.pixels.size for panel in back.panels] == [(30, 20)] * 2
    assert sorted(path.name for path in keeping.iterdir()) == [
        "pair-0.jpg", "pair-1.jpg", "pair.json"
    ]  # fmt: skip


def test_a_chart_is_a_sharp_figure_with_its_words(keeping):
    canvas = Canvas(figsize=(4, 2))
    canvas.subplots().plot([1, 2, 3])
    figure = chart(canvas, "A line", "A line that rises from 1 to 3.", width=400)
    assert figure.panels[0].pixels.size == (800, 400)
    assert figure.alt == "A line that rises from 1 to 3."
    keep("line", figure)
    assert (keeping / "line-0.png").is_file()
    assert kept("line").panels[0].drawn


def test_a_result_that_is_not_there_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        StudioError, match=r"results/nothing.json is not there; .*benchmarks.studio"
    ):
        kept("nothing")


@pytest.mark.parametrize("damage", ["{", "[]", '{"caption": "x"}', "outside", "no picture"])
def test_a_damaged_result_is_refused_in_a_sentence(keeping, damage):
    keep("one", show_grid([torch.rand(1, 3, 20, 30)], caption="One"))
    path = keeping / "one.json"
    if damage == "outside":
        record = json.loads(path.read_text())
        record["panels"][0]["file"] = "../one-0.jpg"
        damage = json.dumps(record)
    if damage == "no picture":
        (keeping / "one-0.jpg").write_bytes(b"no picture")
    else:
        path.write_text(damage)
    with pytest.raises(StudioError, match="cannot be read"):
        kept("one")
    assert studio.FOLDER.name == "results"
