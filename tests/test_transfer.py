"""Style transfer in its first plain form: what moves, what is reported, and how runs end."""

from __future__ import annotations

import math

import pytest
import torch

from nst_helpers import losses, transfer
from nst_helpers.backbones import extract_features, normalize, small_vgg19
from nst_helpers.errors import NstError
from nst_helpers.images import load_image, to_pil
from nst_helpers.objective import Objective
from nst_helpers.transfer import stylize


def _picture(seed: int, height: int = 32, width: int = 40) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


CONTENT, STYLE = _picture(1), _picture(2, 36, 33)


def _run(**options):
    options = {"steps": 6, "model": small_vgg19(), "progress": False, "device": "cpu"} | options
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
