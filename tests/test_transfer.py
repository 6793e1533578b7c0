"""Style transfer in its first plain form: what moves, what is reported, and how runs end."""

from __future__ import annotations

import csv
import math
import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from nst_helpers import losses, transfer
from nst_helpers.backbones import extract_features, normalize, resnet50, small_vgg19
from nst_helpers.errors import NstError
from nst_helpers.images import load_image, to_pil
from nst_helpers.objective import Objective
from nst_helpers.optimizers import KEPT
from nst_helpers.transfer import stylize


def _picture(seed: int, height: int = 32, width: int = 40) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


CONTENT, STYLE = _picture(1), _picture(2, 36, 33)


def _run(**options):
    few = {"steps": 6, "model": small_vgg19(), "progress": False}
    options = few | {"device": "cpu", "precision": "float32"} | options
    return stylize(CONTENT, STYLE, **options)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("start", ["content", "style", "noise"])
def test_every_optimiser_lowers_the_loss_from_every_start(optimizer, start):
    result = _run(optimizer=optimizer, start=start, steps=25, beta=1e3)
    assert result.ended == "finished"
    assert result.image.shape == CONTENT.shape
    assert 0 <= float(result.image.min()) <= float(result.image.max()) <= 1
    assert result.best.total < 0.9 * result.history[0].total


def test_the_losses_are_those_of_the_formulas():
    model = small_vgg19()
    result = _run(model=model, start="style", alpha=2.0, beta=30.0, tv_weight=5.0)
    start = load_image(STYLE, size=CONTENT)
    features = extract_features(normalize(start), model, ["conv4_2", *losses.STYLE_WEIGHTS])
    kept = extract_features(normalize(CONTENT), model, ["conv4_2"])["conv4_2"]
    content = losses.content_loss(features["conv4_2"], kept)
    style_features = extract_features(normalize(STYLE), model, losses.STYLE_WEIGHTS)
    # The style picture has 36 x 33 positions, the target 32 x 40; a Gram matrix is a sum over them.
    grams = {k: losses.gram_matrix(f) * (32 * 40) / (36 * 33) for k, f in style_features.items()}
    style = losses.style_loss(features, grams, losses.STYLE_WEIGHTS)
    variation = losses.total_variation(start)
    first = result.history[0]
    assert first.content == pytest.approx(float(content), rel=1e-4)
    assert first.style == pytest.approx(float(style), rel=1e-4)
    assert first.variation == pytest.approx(float(variation), rel=1e-4)
    expected = 2 * float(content) + 30 * float(style) + 5 * float(variation)
    assert first.total == pytest.approx(expected, rel=1e-4)


def test_from_a_content_start_the_content_loss_rises_from_zero():
    history = _run().history
    assert history[0].content == 0
    assert history[-1].content > 0


def test_the_returned_picture_is_the_one_with_the_lowest_loss():
    jumpy = {"optimizer": "adam", "lr": 1.0, "steps": 12}  # a rate so large that the loss jumps
    result = _run(**jumpy)
    totals = [step.total for step in result.history]
    assert totals[-1] > min(totals)  # so that "the last" would be the wrong answer here
    again = Objective(normalize(CONTENT), [(normalize(STYLE), 1.0)], small_vgg19())
    # Clamping to [0, 1] may change the loss, but the picture must be that of the best step.
    pictures = {}
    _run(**jumpy, on_step=lambda s, p, _: pictures.update({s: p}))
    assert torch.equal(result.image, pictures[result.best.step])
    assert all(math.isfinite(float(loss)) for loss in again(normalize(result.image)))


def test_one_step_is_one_evaluation_and_the_hook_sees_each():
    seen = []
    result = _run(steps=7, on_step=lambda *arguments: seen.append(arguments))
    assert [step for step, _, _ in seen] == list(range(8))  # the start, and after each of 7 steps
    assert [losses_ for _, _, losses_ in seen] == result.history
    assert torch.equal(seen[0][1], normalized_round_trip(CONTENT))
    assert all(not picture.requires_grad for _, picture, _ in seen)


def normalized_round_trip(image: torch.Tensor) -> torch.Tensor:
    from nst_helpers.backbones import denormalize

    return denormalize(normalize(image)).clamp(0, 1)


def test_neither_the_pictures_nor_the_network_change():
    content, style, model = CONTENT.clone(), STYLE.clone(), small_vgg19()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stylize(content, style, steps=3, model=model, progress=False)
    assert torch.equal(content, CONTENT)
    assert torch.equal(style, STYLE)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_same_seed_same_picture_other_seed_another():
    first, again = _run(start="noise", seed=3), _run(start="noise", seed=3)
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, _run(start="noise", seed=4).image)


def test_content_is_computed_no_deeper_than_needed_and_once():
    model = small_vgg19()
    calls = []
    model[28].register_forward_hook(lambda *_: calls.append(28))
    model[30].register_forward_hook(lambda *_: calls.append(30))
    _run(model=model, steps=4)
    # Style once, then the start and four moves; the content picture stops at conv4_2.
    assert calls == [28] * 6


def test_total_variation_smooths():
    rough, smooth = _run(steps=30, beta=1.0), _run(steps=30, beta=1.0, tv_weight=100.0)
    variation = losses.total_variation
    assert float(variation(smooth.image)) < 0.8 * float(variation(rough.image))


def test_alpha_zero_ignores_content_and_beta_zero_keeps_it():
    assert torch.allclose(_run(beta=0.0).image, CONTENT, atol=1e-5)
    drifted = _run(alpha=0.0, steps=20, start="content")
    assert drifted.history[-1].style < drifted.history[0].style


def test_an_interrupt_returns_the_best_picture_so_far():
    def stop(step, picture, losses_):
        if step == 4:
            raise KeyboardInterrupt

    result = _run(steps=50, on_step=stop)
    assert result.ended == "interrupted"
    assert len(result.history) == 5
    assert 0 < result.best.step <= 4
    assert result.frames[-1][0] == result.best.step


def test_a_loss_that_is_no_number_ends_the_run_with_the_best_before():
    model = small_vgg19()
    calls = []

    def poison(module, inputs, output):
        calls.append(1)
        return output * float("nan") if len(calls) > 4 else output

    model[28].register_forward_hook(poison)
    result = _run(model=model, steps=20)
    assert result.ended == "diverged"
    assert len(result.history) == 3 + transfer.PATIENCE  # that many attempts with smaller steps
    assert torch.isfinite(result.image).all()
    assert math.isfinite(result.best.total)


def test_the_film_runs_from_the_start_to_the_result():
    result = _run(steps=40)
    steps = [step for step, _ in result.frames]
    assert steps[0] == 0
    assert steps == sorted(set(steps))
    assert 4 <= len(steps) <= transfer.FRAMES + 1
    assert torch.equal(result.frames[-1][1], result.image)


def test_random_weights_announce_themselves_on_the_picture():
    result = _run()
    assert "RANDOM WEIGHTS" in result.caption()
    unmarked = to_pil(result.image)
    assert result.to_pil().tobytes() != unmarked.tobytes()
    assert result.to_pil().size == unmarked.size


def test_the_result_shows_itself_with_its_facts():
    html = _run(beta=1e6)._repr_mimebundle_()["text/html"]
    assert "alpha 1, beta 1e6" in html
    assert "alt=" in html


def test_saving_keeps_the_settings(tmp_path):
    from PIL import Image

    path = _run(beta=1e6).save(tmp_path / "out.png")
    with Image.open(path) as saved:
        assert saved.size == (40, 32)
        assert "alpha 1, beta 1e6" in saved.text["Description"]


def test_the_progress_bar_shows_the_loss_and_nothing_goes_to_stderr(capfd):
    _run(progress=True)
    out, err = capfd.readouterr()
    assert "loss" in out
    assert "6/6" in out
    assert err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"optimizer": "sgd2"}, "'sgd2'"),
        ({"start": "black"}, "'black'"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"beta": -1}, "beta is -1"),
        ({"lr": 0}, "lr is 0"),
        ({"content_layer": "conv4"}, "'conv4'"),
    ],
)
def test_each_wrong_option_is_one_sentence(options, words):
    with pytest.raises(NstError) as caught:
        _run(**options)
    assert words in str(caught.value)
    assert str(caught.value).endswith(".")


# --- guards ---------------------------------------------------------------------------------------


def _transfer(**options):
    few = {"model": small_vgg19(), "progress": False}
    options = few | {"device": "cpu", "precision": "float32"} | options
    return transfer.StyleTransfer(CONTENT, STYLE, **options)


def test_an_explosion_is_taken_back_with_smaller_steps_and_told_in_one_sentence():
    run = _transfer(optimizer="sgd", lr=1e4, start="style")
    result = run.run(12, progress=False)
    assert re.fullmatch(
        r"At step 1 the loss rose from \S+ to \S+: the picture of step 0 was put back, "
        r"and the rate lowered to 2500\.",
        result.notices[0],
    )
    assert result.best.total <= result.history[0].total
    assert torch.isfinite(result.image).all()


def test_after_an_explosion_the_run_goes_on_and_its_rate_recovers():
    run = _transfer(optimizer="adam", lr=0.05, start="style")
    for _ in range(4):
        run.advance()
    with torch.no_grad():
        run.pixels.add_(50.0 * torch.randn_like(run.pixels))  # a leap such as an optimiser may make
    leap = run.advance()
    assert leap.total > transfer.EXPLOSION * run.best.total
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.05 * transfer.SHRINK)
    before = run.best.total
    for _ in range(8):
        run.advance()
    assert run.best.total < before
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_a_start_whose_loss_is_no_number_says_so():
    model = small_vgg19()
    model[0].bias.fill_(float("inf"))
    result = _run(model=model, steps=9)
    assert result.ended == "diverged"
    assert "picture to start from" in result.notices[0]
    assert torch.equal(result.image, normalized_round_trip(CONTENT))


def test_a_plateau_ends_the_run_if_asked():
    settled = _run(steps=2000, stop_early=0.05)
    assert settled.ended == "settled"
    totals = [step.total for step in settled.history]
    assert transfer.SETTLED_OVER < len(totals) < 1500
    assert min(totals) > 0.95 * min(totals[: -transfer.SETTLED_OVER])
    assert _run(steps=40).ended == "finished"


def test_what_an_own_function_raises_leaves_the_run_as_it_was():
    broken = [False]

    def content_loss(target, content):
        if broken[0]:
            raise ZeroDivisionError("mine")
        return losses.content_loss(target, content)

    run = _transfer(content_loss=content_loss, start="style")
    for _ in range(5):
        run.advance()
    before, steps = run.picture(), len(run.history)
    broken[0] = True
    with pytest.raises(ZeroDivisionError, match="mine"):
        run.advance()
    assert torch.equal(run.picture(), before)
    assert len(run.history) == steps
    broken[0] = False
    first = run.advance().total
    for _ in range(5):
        run.advance()
    assert run.best.total < first


def test_settings_change_on_the_way_without_starting_over():
    run = _transfer(start="style")
    for _ in range(6):
        run.advance()
    before = run.picture()
    run.change(beta=1e4, optimizer="adam", style_weights={"conv1_1": 1.0}, content_layer="conv3_1")
    assert torch.equal(run.picture(), before)
    judged = run.advance()
    assert judged.step == 6
    assert judged.total == pytest.approx(judged.content + 1e4 * judged.style, rel=1e-5)
    for _ in range(6):
        run.advance()
    assert run.best.total < judged.total
    assert run.best.step > 6


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beta": -1.0}, "beta is -1"),
        ({"size": 64}, "size cannot be changed"),
        ({"style_weights": {"conv1_1": float("nan")}}, "style weight of conv1_1 is nan"),
        ({"style_weights": {"conv0_0": 1.0}}, "conv0_0"),
        ({"colours": "pink"}, "'pink'"),
    ],
)
def test_a_wrong_change_is_one_sentence_and_changes_nothing(settings, words):
    run = _transfer()
    run.advance()
    before = dict(run.settings)
    with pytest.raises(NstError, match=re.escape(words)):
        run.change(**{"alpha": 5.0, **settings})
    assert run.settings == before
    assert run.advance().step == 1


def test_restarting_gives_the_same_run_again():
    run = _transfer(start="noise", seed=5)
    first = [run.advance().total for _ in range(5)]
    run.restart()
    assert [run.advance().total for _ in range(5)] == first
    run.restart("content")
    assert run.advance().content == 0
    assert run.settings["start"] == "content"


def test_a_picture_too_large_for_the_memory_is_refused_with_the_size_that_fits(monkeypatch):
    needed = 32 * 40 * (transfer.BYTES_PER_PIXEL[torch.float32] + transfer.BYTES_OF_MEMORY)
    monkeypatch.setattr(transfer, "free_memory", lambda device: needed / 2)
    with pytest.raises(NstError, match=r"^A picture of 32 x 40 pixels needs .* size=16 fits\.$"):
        _run(precision="float32")


class Greedy(nn.MaxPool2d):
    """Pooling that, the fifth time, wants more memory than any computer can address."""

    passes = 0

    def forward(self, features):
        self.passes += torch.is_grad_enabled()
        if self.passes == 5:
            torch.empty(2**60, dtype=torch.uint8)
        return super().forward(features)


def test_running_out_of_memory_on_the_way_suggests_a_size_and_loses_nothing():
    model = small_vgg19()
    model[27] = Greedy(2)  # before conv5_1
    run = _transfer(model=model)
    for _ in range(4):
        run.advance()
    before = run.picture()
    with pytest.raises(NstError, match=r"^A picture of 32 x 40 .* GiB of .* size=\d+ fits\.$"):
        run.advance()
    assert torch.equal(run.picture(), before)
    assert run.advance().step == 4


# --- what stays on disk ---------------------------------------------------------------------------


def test_snapshots_log_and_state_are_left_on_the_way(tmp_path):
    result = _run(steps=7, folder=tmp_path / "a" / "run", every=3)
    names = sorted(path.name for path in (tmp_path / "a" / "run").iterdir())
    steps = [f"step-{number:05}.png" for number in (0, 3, 6, 7)]
    assert names == ["log.csv", "run.safetensors", *steps]
    log = (tmp_path / "a" / "run" / "log.csv").read_text()
    assert log == result.log()
    rows = list(csv.DictReader(log.splitlines()))
    assert [float(row["total"]) for row in rows] == [step.total for step in result.history]
    assert list(rows[0]) == ["step", "seconds", "total", "content", "style", "variation"]


KILLED = """
import os, signal, sys, torch
torch.set_num_threads(1)
from nst_helpers.backbones import small_vgg19
from nst_helpers.transfer import stylize
def die(step, picture, losses):
    if step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
content, style = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
stylize(content, style, steps=50, model=small_vgg19(), on_step=die,
        progress=False, folder=sys.argv[1], every=3)
"""


def test_a_process_that_is_killed_loses_nothing_before_the_last_snapshot(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=120)
    run = transfer.StyleTransfer.load(tmp_path / "run.safetensors", model=small_vgg19())
    result = run.run(12, progress=False)
    assert [step.step for step in result.history] == list(range(13))
    assert result.best.total < result.history[6].total
    assert (tmp_path / "step-00006.png").exists()


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.01), ("adam", 0.05), ("lbfgs", None)])
def test_a_saved_run_is_taken_up_where_it_was(tmp_path, optimizer, lr):
    options = {"start": "style", "alpha": 2.0, "beta": 40.0, "optimizer": optimizer, "lr": lr}
    run = _transfer(**options)
    for _ in range(5):
        run.advance()
    run.save(tmp_path / "run.st")
    again = transfer.StyleTransfer.load(tmp_path / "run.st", model=small_vgg19())
    assert again.settings == run.settings
    assert torch.equal(again.picture(), run.picture())
    # What the optimiser remembers of its moves is taken up, too: both must go on alike.
    whole = run.run(9, progress=False)
    resumed = again.run(9, progress=False)
    assert [s.total for s in resumed.history] == pytest.approx(
        [s.total for s in whole.history], rel=1e-4
    )
    assert torch.allclose(resumed.image, whole.image, atol=1e-4)
    assert resumed.caption() == whole.caption()


def test_the_credits_of_shipped_pictures_survive_saving(tmp_path):
    run = transfer.StyleTransfer(
        "neuschwanstein", ["starry-night", "great-wave"], size=32, model=small_vgg19()
    )
    run.advance()
    run.save(tmp_path / "run.st")
    again = transfer.StyleTransfer.load(tmp_path / "run.st", model=small_vgg19())
    assert [picture.name for picture in again.sources] == [
        "neuschwanstein",
        "starry-night",
        "great-wave",
    ]
    assert again.settings["style"] == run.settings["style"]


def test_own_functions_cannot_be_saved(tmp_path):
    run = _transfer(gram_matrix=losses.gram_matrix)
    with pytest.raises(NstError, match="cannot be saved"):
        run.save(tmp_path / "run.st")


def test_files_that_are_no_saved_run_are_refused_in_one_sentence(tmp_path):
    from safetensors.torch import save_file

    whole = tmp_path / "whole.st"
    run = _transfer()
    run.advance()
    run.save(whole)
    content = whole.read_bytes()
    bad = {
        "empty": b"",
        "text": b"hello",
        "cut": content[: len(content) // 2],
        "settings": content.replace(b'\\"alpha\\": 1.0', b'\\"alpha\\": -1.'),
        "unknown": content.replace(b'\\"beta\\"', b'\\"bite\\"'),
    }
    assert bad["settings"] != content != bad["unknown"]
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    save_file({"pixels": torch.zeros(1)}, tmp_path / "other")
    broken = _transfer()
    broken.pixels.data.fill_(float("nan"))
    broken.save(tmp_path / "nan")
    for name in [*bad, "other", "nan", "missing"]:
        with pytest.raises(NstError) as caught:
            transfer.StyleTransfer.load(tmp_path / name, model=small_vgg19())
        assert str(caught.value).endswith("."), name
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("optimizer", "name"), [("lbfgs", "moves"), ("adam", "exp_avg")])
@pytest.mark.parametrize("damage", ["size", "number"])
def test_a_damaged_memory_is_refused(tmp_path, optimizer, name, damage):
    from safetensors import safe_open
    from safetensors.torch import save_file

    run = _transfer(optimizer=optimizer)
    for _ in range(4):
        run.advance()
    run.save(tmp_path / "run.st")
    with safe_open(tmp_path / "run.st", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        told = file.metadata()
    memory = tensors[f"optimizer.{name}"]
    other = memory[..., 1:].contiguous() if damage == "size" else memory * float("nan")
    save_file(tensors | {f"optimizer.{name}": other}, tmp_path / "bad.st", metadata=told)
    with pytest.raises(NstError, match="damaged or no saved run"):
        transfer.StyleTransfer.load(tmp_path / "bad.st", model=small_vgg19())


def test_of_many_moves_the_newest_are_kept(tmp_path):
    run = _transfer()
    for _ in range(2 + KEPT + 5):
        run.advance()
    run.save(tmp_path / "run.st")
    again = transfer.StyleTransfer.load(tmp_path / "run.st", model=small_vgg19())
    assert len(again.optimizer.moves) == KEPT < len(run.optimizer.moves)
    both = again.optimizer.moves.newest(KEPT), run.optimizer.moves.newest(KEPT)
    assert all(torch.equal(kept, whole) for kept, whole in zip(*both, strict=True))
    # Without a memory the first move is a blind one, and the loss many times as high after it.
    before = again.advance().total
    assert again.advance().total < 1.1 * before


# --- quality and choice ---------------------------------------------------------------------------


def test_a_noise_start_is_faint_and_grey():
    """Loud noise is finer than the losses feel, and would stay in the picture as speckles."""
    noise = normalize(_transfer(start="noise").first)
    assert float(noise.std()) == pytest.approx(transfer.NOISE, rel=0.1)
    assert abs(float(noise.mean())) < 0.1 * transfer.NOISE


def test_several_styles_mix_by_their_shares():
    other = _picture(7)
    alone = transfer.stylize(CONTENT, STYLE, steps=4, model=small_vgg19(), progress=False)
    nearly = transfer.stylize(
        CONTENT, [STYLE, other], style_mix=[1, 0], steps=4, model=small_vgg19(), progress=False
    )
    mixed = transfer.stylize(
        CONTENT, [STYLE, other], style_mix=[1, 3], steps=4, model=small_vgg19(), progress=False
    )
    assert torch.allclose(alone.image, nearly.image, atol=1e-4)
    assert not torch.allclose(alone.image, mixed.image, atol=1e-2)
    assert "and" in mixed.caption()


def test_the_contents_colours_can_be_kept():
    from nst_helpers.colours import keep_colours

    plain, kept = _run(steps=10), _run(steps=10, colours="content")
    assert torch.allclose(kept.image, keep_colours(plain.image, CONTENT), atol=1e-5)
    assert kept.history[-1].total == plain.history[-1].total


def test_a_larger_style_picture_is_another_style():
    large = transfer.StyleTransfer(
        CONTENT, "great-wave", size=32, style_size=96, model=small_vgg19(), progress=False
    )
    assert max(large.styles[0][0].shape[-2:]) == 96
    assert max(large.content.shape[-2:]) == 32


def test_average_pooling_is_another_network():
    picked = [_transfer(model=None, weights="random", pooling=p) for p in ("max", "average")]
    assert picked[0].advance().style != picked[1].advance().style


def test_the_fast_picture_is_a_start():
    run = _transfer(model=None, weights="random", start="adain")
    assert run.picture().shape == CONTENT.shape
    assert not torch.allclose(run.picture(), CONTENT, atol=1e-2)
    assert run.settings["start"] == "adain"


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adagrad", "adadelta", "adamw"])
def test_other_optimisers_come_by_name(name):
    rate = {"sgd": 1e-3, "adadelta": 1.0}.get(name, 0.02)
    result = _run(optimizer=name, lr=rate, start="style", steps=15)
    assert result.best.total < result.history[0].total


# --- other networks, several content layers -------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "layers"),
    [
        ("vgg16", {}),
        ("resnet50", {"content_layer": "bn2a_branch2c", "style_weights": {"conv1": 1, "res2a": 1}}),
    ],
)
def test_the_network_is_chosen_by_name(network, layers, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "RESNET_STYLE_WEIGHTS", {"conv1": 1.0})  # not deeper than needed
    options = {"network": network, "weights": "random", "device": "cpu", "progress": False}
    run = transfer.StyleTransfer(CONTENT, STYLE, **options, **layers)
    result = run.run(3, progress=False)
    assert result.best.total < result.history[0].total
    assert run.settings["network"] == network
    assert {"vgg16": "VGG-16", "resnet50": "ResNet-50"}[network] in result.caption()
    again = transfer.StyleTransfer.load(run.save(tmp_path / "run.safetensors"), device="cpu")
    assert again.settings["network"] == network
    assert again.settings["style_weights"] == run.settings["style_weights"]
    assert torch.equal(again.picture(), run.picture())


def test_a_network_is_known_by_its_model_and_has_layers_of_its_own():
    model = resnet50("random", device="cpu")
    run = transfer.StyleTransfer(CONTENT, STYLE, model=model, network="vgg16", progress=False)
    content, style = transfer.usual_layers("resnet50")
    assert run.settings["network"] == "resnet50"
    assert (run.settings["content_layer"], run.settings["style_weights"]) == (content, style)
    with pytest.raises(NstError, match=r"'alexnet'.*resnet50\.$"):
        transfer.usual_layers("alexnet")


def test_several_content_layers_are_kept_changed_and_resumed(tmp_path):
    layers = {"conv4_2": 1.0, "block5_conv2": 0.5}
    run = _transfer(content_layer=layers)
    run.run(2, progress=False)
    assert run.settings["content_layer"] == layers
    options = {"model": small_vgg19(), "device": "cpu"}
    again = transfer.StyleTransfer.load(run.save(tmp_path / "run.safetensors"), **options)
    assert again.settings["content_layer"] == layers
    assert again.advance().content == pytest.approx(run.history[-1].content, rel=1e-5)
    layers["conv4_2"] = 9.0  # the caller's own
    assert run.settings["content_layer"]["conv4_2"] == 1.0
    run.change(content_layer={"conv3_1": 2.0})
    one = run.advance().content
    run.change(content_layer="conv3_1")
    assert one == pytest.approx(2 * run.advance().content, rel=1e-4)
    with pytest.raises(NstError, match="content weight of conv3_1"):
        run.change(content_layer={"conv3_1": -1.0})
    assert run.settings["content_layer"] == "conv3_1"


def test_a_run_saved_before_there_were_other_networks_goes_on(tmp_path):
    run = _transfer()
    run.run(1, progress=False)
    del run.settings["network"]
    options = {"model": small_vgg19(), "device": "cpu"}
    again = transfer.StyleTransfer.load(run.save(tmp_path / "run.safetensors"), **options)
    assert again.settings["network"] == "vgg19"
