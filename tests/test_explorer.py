"""The state machine behind the explorer: the real engine in its thread, without a browser."""

from __future__ import annotations

import base64
import itertools
import threading
import time

import pytest
import torch
from PIL import Image

from nst_helpers import backbones, losses
from nst_helpers.errors import NstError, WeightsError
from nst_helpers.explorer import Settings, Worker, worker
from nst_helpers.explorer.settings import (
    SettingsError,
    as_power,
    in_words,
    named_data_url,
    picture_name,
    ratio_in_words,
)

SMALL = Settings(start="content", size=96, alpha=1, beta=10)
LONG = 30.0  # seconds after which a test gives up waiting


@pytest.fixture
def make():
    """Make workers on a small network, and end their threads afterwards."""
    made = []

    def small(settings=SMALL, **options):
        made.append(Worker(settings, model=backbones.small_vgg19(0), device="cpu", **options))
        return made[-1]

    yield small
    assert all(each.end() for each in made)
    assert not [t for t in threading.enumerate() if t.name.startswith("nst-explorer")]


def until(condition):
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def pixels(state):
    return state.frame.pixels.tobytes()


# --- start, pause, step, restart, stop ------------------------------------------------------------


def test_nothing_runs_until_it_is_asked_for(make):
    panda = make()
    assert not panda.works
    assert panda.state().phase == "ready"
    assert panda.state().in_words() == "Ready: press Start."


def test_it_runs_and_the_picture_changes(make):
    run = make()
    begun = run.wait(0)
    assert (begun.phase, begun.step) == ("paused", 0)
    later = run.wait(5)
    assert (later.phase, later.step) == ("paused", 5)
    assert pixels(later) != pixels(begun)
    assert [step.step for step in later.history] == list(range(6))
    assert later.history[-1].total < later.history[0].total
    assert later.frame.step == 5
    assert "step 5" in later.frame.painted().caption()


def test_pause_holds_the_picture_and_start_goes_on(make):
    run = make()
    run.start()
    until(lambda: run.state().step > 3)
    run.pause()
    assert run.state().phase == "paused"
    until(lambda: run.state().frame.step == run.state().step)
    time.sleep(0.3)  # the step in hand
    held = run.state()
    time.sleep(0.3)
    assert run.state() is held
    run.start()
    until(lambda: run.state().step > held.step)
    assert run.state().history[: held.step + 1] == held.history


def test_a_step_is_one_step(make):
    run = make()
    run.wait(2)
    run.step()
    until(lambda: run.state().step == 3)
    time.sleep(0.2)
    assert run.state().step == 3
    assert run.state().phase == "paused"


def test_restart_begins_at_step_0(make):
    run = make()
    run.wait(6)
    old = run.state()
    run.restart()
    until(lambda: run.state().frame.run > old.frame.run)
    run.pause()
    until(lambda: run.state().phase == "paused")
    assert run.state().film[0].step == 0
    assert pixels(run.wait(0)) is not None
    assert run.state().film[0].pixels.tobytes() == old.film[0].pixels.tobytes()


def test_stop_ends_the_thread_and_keeps_the_picture(make):
    run = make()
    before = run.wait(4)
    run.stop()
    assert run.state().phase == "stopped"
    assert run.end()
    assert not run.works
    after = run.state()
    assert after.frame is before.frame
    assert "Start begins a new run" in after.in_words()
    run.wait(1)
    assert run.state().step == 1


def test_a_stop_and_a_start_at_once_begin_a_new_run(make):
    run = make()
    run.wait(20)
    run.stop()
    run.start()
    until(lambda: run.state().film and run.state().film[0].run > 1)


def test_a_run_rests_when_nobody_changes_anything_and_a_change_wakes_it(make, monkeypatch):
    monkeypatch.setattr(worker, "REST_AFTER", 8)
    run = make()
    state = run.wait()
    assert (state.phase, state.step) == ("resting", 8)
    run.change(beta=20)
    until(lambda: run.state().phase == "resting" and run.state().step == 16)


# --- changes on the way ---------------------------------------------------------------------------


def test_changes_reach_the_run_without_a_restart(make):
    run = make()
    run.wait(5)
    run.change(alpha=3, beta=50, tv_weight=7, style_weights={"conv1_1": 0, "conv5_1": 2})
    run.change(content_layer="conv3_2", optimizer="adam", colours="content")
    state = run.wait(4)
    assert state.step == 9
    assert set(state.changes) == {5}
    engine = run._engine.settings
    assert (engine["alpha"], engine["beta"], engine["tv_weight"]) == (3, 50, 7)
    assert (engine["content_layer"], engine["optimizer"]) == ("conv3_2", "adam")
    assert engine["style_weights"] == {**losses.STYLE_WEIGHTS, "conv1_1": 0, "conv5_1": 2}
    last = state.history[-1]
    total = 3 * last.content + 50 * last.style + 7 * last.variation
    assert last.total == pytest.approx(total, rel=1e-4)
    assert "alpha 3, beta 50, total variation 7" in state.frame.painted().caption()


def test_other_pictures_sizes_and_starts_begin_a_new_run(make):
    run = make()
    first = run.wait(3)
    for change in ({"content": "red-panda"}, {"style": "the-scream"}, {"size": 128}):
        run.change(**change)
        until(lambda: run.state().frame.run > first.frame.run and run.state().history)  # noqa: B023
        state = until(lambda: run.state() if run.state().phase == "paused" else None)
        assert state.step == 0, "a paused run shows its first picture, and holds"
        first = state
    assert max(first.frame.pixels.size) == 128
    run.change(start="noise")
    noisy = until(lambda: run.state() if run.state().frame.run > first.frame.run else None)
    assert pixels(noisy) != pixels(first)


def test_the_fast_picture_comes_before_the_first_step_and_is_what_it_starts_from(make):
    seen = []
    run = make(SMALL.changed(start="adain"), on_change=lambda: seen.append(run.state()))
    state = run.wait(2)
    first = next(each for each in seen if each.frame is not None)
    assert first.phase == "loading"
    assert first.history == ()
    assert first.frame.pixels.tobytes() == state.film[0].pixels.tobytes()
    assert "from the fast picture (AdaIN)" in state.frame.painted().caption()


def test_a_fast_preview_is_shown_until_the_run_has_something_better(make):
    seen = []
    run = make(SMALL, on_change=lambda: seen.append(run.state()))
    run.wait(0)
    run.start()
    until(lambda: run.state().frame.step > worker.PREVIEW_STEPS)
    shown = [each.frame for each in seen if each.frame is not None]
    count = sum(frame.preview for frame in shown)
    assert count > 0
    assert [frame.preview for frame in shown] == [True] * count + [False] * (len(shown) - count)
    assert "a fast preview (AdaIN in one pass)" in shown[0].painted().caption()
    assert shown[count].step >= worker.PREVIEW_STEPS
    assert not any(frame.preview for frame in run.state().film)


def test_without_the_fast_picture_it_starts_from_the_content(make, monkeypatch):
    def unreachable(*_, **__):
        raise WeightsError("The decoder cannot be had.")

    monkeypatch.setattr("nst_helpers.feedforward.stylize_fast", unreachable)
    run = make(SMALL.changed(start="adain"))
    state = run.wait(1)
    assert state.step == 1
    assert "starts from the content picture, not the fast one: The decoder" in state.note


def test_without_weights_it_says_so_and_can_be_tried_again(make, monkeypatch):
    def unreachable(*_, **__):
        raise WeightsError("The weights cannot be had; connect to a network.")

    run = make()
    model, run._model = run._model, None
    with monkeypatch.context() as offline:
        offline.setattr(backbones, "vgg19", unreachable)
        state = run.wait(1)
        assert (state.phase, state.without_weights) == ("failed", True)
        assert "connect to a network" in state.in_words()
    run._model = model
    state = run.wait(1)
    assert (state.step, state.without_weights) == (1, False)


def test_a_picture_that_cannot_be_read_is_said_and_the_one_before_stays(make):
    run = make()
    good = run.wait(2)
    url = named_data_url(b"this is no picture", "notes.txt")
    run.change(content=url)
    state = until(lambda: run.state() if run.state().note else None)
    assert "picture" in state.note
    assert state.settings.content == "neuschwanstein"
    assert state.frame is good.frame
    assert run.wait(1).step == 3


def test_a_first_picture_that_cannot_be_read_waits_for_another(make):
    run = make(SMALL.changed(style="no-such-picture.png"))
    state = run.wait(1)
    assert state.phase == "failed"
    assert "no-such-picture.png" in state.in_words()
    run.change(style="great-wave")
    assert run.wait(1).step == 1


def test_settings_out_of_range_are_refused_and_nothing_changes(make):
    run = make()
    with pytest.raises(SettingsError, match="alpha is -1; it must be a number, 0 or more"):
        run.change(beta=5, alpha=-1)
    assert run.state().settings == SMALL


def test_uploads_are_named(make, tmp_path):
    Image.new("RGB", (60, 40), "teal").save(tmp_path / "my cat.png")
    url = named_data_url((tmp_path / "my cat.png").read_bytes(), "my cat.png")
    assert picture_name(url) == "my cat.png"
    run = make(SMALL.changed(content=url))
    assert run.wait(1).frame.painted().caption().startswith("my cat.png in the style of The Starry")


# --- the film -------------------------------------------------------------------------------------


def test_the_film_stays_short_and_even(make):
    run = make()
    film = run.wait(150).film
    steps = [frame.step for frame in film]
    assert steps[0] == 0
    assert len(steps) <= worker.LONGEST_FILM
    gaps = {after - before for before, after in itertools.pairwise(steps)}
    assert len(gaps) == 1


# --- the student's own functions ------------------------------------------------------------------


def own_gram(tensor):
    features = tensor.flatten(2)[0]
    return features @ features.T


def test_own_functions_paint(make):
    calls = []

    def gram_matrix(tensor):
        calls.append(tensor.shape)
        return own_gram(tensor)

    run = make(functions={"gram_matrix": gram_matrix, "content_loss": losses.content_loss})
    state = run.wait(3)
    assert len(calls) >= 4 * 5
    assert "Your" not in state.note
    assert state.history[-1].total < state.history[0].total


@pytest.mark.parametrize("after", [0, 1, 40], ids=["at once", "at the second call", "on the way"])
def test_an_own_function_that_raises_is_said_and_the_run_goes_on(make, after):
    calls = []

    def gram_matrix(tensor):
        calls.append(1)
        if len(calls) > after:
            raise IndexError("list index out of range")
        return own_gram(tensor)

    run = make(functions={"gram_matrix": gram_matrix, "style_loss": None})
    state = run.wait(12)
    assert state.phase == "paused"
    assert "Your gram_matrix raised IndexError: list index out of range." in state.note
    assert "goes on with the course's gram_matrix" in state.note
    assert state.frame is not None
    assert [step.step for step in state.history] == list(range(len(state.history)))
    count = len(calls)
    assert run.wait(3).history[-1].total < state.history[0].total
    assert len(calls) == count, "it is not called again"


def _exits(target, content):
    raise SystemExit


@pytest.mark.parametrize(
    ("name", "function", "said"),
    [
        ("content_loss", lambda target, content: None, "returned None, which is no tensor"),
        ("content_loss", lambda t, c: (t - c) ** 2, "which is no single number"),
        ("content_loss", _exits, "raised SystemExit"),
        ("gram_matrix", lambda t: t.flatten(2), "which is not (C, C)"),
        ("gram_matrix", lambda t: t.flatten(2)[0].T @ t.flatten(2)[0], "the engine failed"),
        ("style_loss", lambda features, grams: 0, "raised TypeError"),
    ],
)
def test_what_an_own_function_does_wrong_is_said(make, name, function, said):
    state = make(functions={name: function}).wait(1)
    assert said in state.note
    assert f"Your {name}" in state.note or f"With your {name}" in state.note
    assert state.step == 1


def test_what_is_no_function_is_refused():
    with pytest.raises(NstError, match="give the function itself, as in gram_matrix=gram_matrix"):
        Worker(functions={"gram_matrix": torch.zeros(3)})


# --- one at a time, and nobody left behind --------------------------------------------------------


def test_a_second_worker_ends_the_first(make):
    first, second = make(), make()
    first.start()
    until(lambda: first.state().history)
    second.start()
    until(lambda: second.state().history and not first.works)
    assert first.state().phase == "stopped"
    assert "only one runs at a time" in first.state().note
    assert first.state().frame is not None
    assert worker.active_worker() is second


def test_a_run_that_nobody_looks_at_waits_and_goes_on_later(make, monkeypatch):
    run = make()
    run.start()
    run.seen()
    until(lambda: run.state().step > 2)
    monkeypatch.setattr(worker, "PATIENCE_SECONDS", 0.2)
    until(lambda: not run.works)
    state = run.state()
    assert state.phase == "paused"
    assert "Nobody was looking" in state.note
    monkeypatch.undo()
    run.seen()
    assert run.wait(1).step > state.step


def test_leaving_the_page_is_noticed_soon(make, monkeypatch):
    monkeypatch.setattr(worker, "RETURN_SECONDS", 0.2)
    run = make()
    run.start()
    run.seen()
    run.left()
    until(lambda: not run.works)
    assert "Nobody was looking" in run.state().note


def test_an_interrupt_while_waiting_stops_the_run(make, monkeypatch):
    run = make()
    run.wait(0)
    monkeypatch.setattr(run._condition, "wait", _interrupted(run._condition.wait))
    run.wait(10_000)
    monkeypatch.undo()
    assert run.state().phase == "stopped"
    assert run.end()


def _interrupted(wait):
    """Return a wait that a person interrupts, in the main thread only."""

    def interrupted(seconds=None):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return wait(seconds)

    return interrupted


def test_what_nobody_foresaw_is_said_and_can_be_tried_again(make, monkeypatch):
    run = make()
    run.wait(2)
    with monkeypatch.context() as broken:
        broken.setattr(run._engine, "advance", lambda: 1 / 0)
        run.step()
        state = until(lambda: run.state() if run.state().phase == "failed" else None)
    assert "ZeroDivisionError" in state.note
    assert state.frame is not None
    assert run.wait(2).step >= 2


def test_who_looks_cannot_end_the_run(make):
    def on_change():
        raise OSError("the page is gone")

    assert make(on_change=on_change).wait(2).step == 2


# --- settings and their words ---------------------------------------------------------------------


def test_settings_survive_json():
    url = named_data_url(b"\x89PNG", "a, b; c.png")
    settings = Settings(
        content=url, alpha=0.5, beta=0, style_weights={"conv2_1": 3}, start="noise", size=320
    )
    assert Settings.from_json(settings.to_json()) == settings
    assert picture_name(settings.content) == "a, b; c.png"
    assert base64.b64decode(url.rpartition(",")[2]) == b"\x89PNG"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no settings"),
        ("[1, 2]", "holds no settings"),
        ('{"alpha": 1}', "holds no settings"),
        ("[" * 100_000, "holds no settings"),
        ('{"nst_explorer": 1, "alpha": "1"}', "alpha is '1'"),
        ('{"nst_explorer": 1, "beta": NaN}', "beta is nan"),
        ('{"nst_explorer": 1, "size": 10}', "size is 10; it must be 96 to 4096"),
        ('{"nst_explorer": 1, "size": true}', "size is True"),
        ('{"nst_explorer": 1, "start": "middle"}', "start is 'middle'; choose one of content"),
        ('{"nst_explorer": 1, "style_weights": {"conv9_9": 1}}', "conv9_9"),
        ('{"nst_explorer": 1, "style_weights": []}', "style_weights must name at least one layer"),
        ('{"nst_explorer": 1, "content": 7}', "The content picture must be named by text"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(text, said):
    with pytest.raises(NstError) as refused:
        Settings.from_json(text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("alpha", "beta", "said"),
    [
        (1, 10, "beta is 10 times alpha (alpha/beta = 1e-1)"),
        (1, 1e6, "beta is 1,000,000 times alpha (alpha/beta = 1e-6)"),
        (5, 2, "alpha is 2.5 times beta (alpha/beta = 2.5e0)"),
        (2, 2, "beta equals alpha (alpha/beta = 1e0)"),
        (0, 2, "Style alone counts: alpha is 0."),
        (2, 0, "Content alone counts: beta is 0."),
        (0, 0, "Neither content nor style counts, so nothing pulls at the picture."),
    ],
)
def test_the_ratio_in_words(alpha, beta, said):
    assert ratio_in_words(alpha, beta) == said


def test_numbers_are_read_aloud_without_exponents():
    said = [in_words(value) for value in (0, 1e-3, 0.05, 1, 2.5, 1e6, 1 / 3)]
    assert said == ["0", "0.001", "0.05", "1", "2.5", "1,000,000", "0.333"]
    assert [as_power(v) for v in (1e-3, 0.1, 1, 25)] == ["1e-3", "1e-1", "1e0", "2.5e1"]
