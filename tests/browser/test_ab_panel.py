"""The blind panel in a real JupyterLab, used by keyboard alone."""

from __future__ import annotations

import nbformat
import pytest
from playwright.sync_api import expect

from nst_helpers.votes import UNDECIDED, read_votes
from tests.browser.jupyter import cells, open_notebook, run_cell

SOON = 10_000
QUESTION = "Which do you like more?"
SOURCE = f"""\
from nst_helpers.ab_panel import blind_panel
from nst_helpers.images import load_image
from nst_helpers import attribution
photo = load_image("neuschwanstein", size=256)
made = {{"dim": 0.6 * photo, "mirrored": photo.flip(3)}}
blind_panel({{"Castle": made, "The castle": made}}, {QUESTION!r},
            references={{"Castle": "starry-night", "The castle": "the-scream"}})
"""


@pytest.fixture
def panel(page, lab):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SOURCE, id="panel")])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(made, lab.folder / "vote.ipynb")
    page.set_default_timeout(SOON)
    open_notebook(page, lab, "vote.ipynb")
    run_cell(page, "panel")
    panel = page.get_by_role("region", name="Blind comparison", exact=True)
    expect(panel).to_be_visible(timeout=SOON)
    return panel


def test_two_people_vote_by_keyboard_and_every_vote_is_kept(panel, page, lab):
    file = lab.folder / "my-votes.csv"
    keyboard = page.keyboard
    name = panel.get_by_label("Your nickname")
    expect(name).to_be_visible()
    name.focus()
    keyboard.type("bab")  # b would insert a cell, and a another one
    keyboard.press("Enter")
    expect(panel.get_by_role("status")).to_contain_text("You vote as bab. Pair 1 of 2 is shown.")
    for name in ("Picture A", "Picture B", "For comparison"):
        picture = panel.get_by_role("img", name=name, exact=True)
        expect(picture).to_be_visible()
        assert picture.evaluate(
            "async image => { await image.decode(); return image.naturalWidth }"
        )
    answers = panel.get_by_role("group", name=QUESTION, exact=True)
    assert [button.inner_text() for button in answers.get_by_role("button").all()] == [
        "Picture A",
        "Picture B",
        "I cannot decide",
    ]
    # The focus went along, to the first answer.
    expect(answers.get_by_role("button", name="Picture A", exact=True)).to_be_focused()
    keyboard.press("b")
    keyboard.press("d")
    keyboard.press("d")
    for _ in range(3):  # a key that is held down is pressed again and again, and votes once
        keyboard.down("Enter")
    keyboard.up("Enter")
    expect(panel.get_by_role("status")).to_contain_text("Pair 2 of 2 is shown.")
    page.wait_for_timeout(300)
    assert len(read_votes(file)) == 1
    keyboard.press("Tab")
    keyboard.press("Tab")
    keyboard.press("Space")
    expect(panel.get_by_role("status")).to_contain_text("Thank you, bab!")
    expect(panel.get_by_role("button", name="Next voter", exact=True)).to_be_focused()
    keyboard.press("Enter")
    expect(panel.get_by_label("Your nickname")).to_be_focused()
    keyboard.press("Enter")
    expect(panel.get_by_role("status")).to_contain_text("You vote as voter 2.")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(panel.get_by_role("status")).to_contain_text("Pair 2 of 2 is shown.")

    first, second, third = read_votes(file)
    assert (first.voter, first.choice) == ("bab", first.left)
    assert (second.voter, second.choice) == ("bab", UNDECIDED)
    assert (third.voter, third.choice) == ("voter 2", third.right)
    assert {first.pair, second.pair} == {"Castle", "The castle"}
    assert [cell["id"] for cell in cells(page)] == ["panel"]
    assert "dim" not in panel.evaluate("panel => panel.outerHTML")
