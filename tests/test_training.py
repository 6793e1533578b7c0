from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from nst_helpers import backbones, losses, trained
from nst_helpers.cli import main
from nst_helpers.errors import NstError
from nst_helpers.image_transform import ImageTransform
from nst_helpers.images import load_image
from nst_helpers.trained import Style, Trained, load_trained, paint
from nst_helpers.training import (
    LAST_RATE,
    PATIENCE,
    TABLES_RATE,
    Judge,
    Training,
    batch_content_loss,
    batch_gram_matrix,
    batch_style_loss,
    run_file,
)

CHANNELS = (4, 6, 8)


def _training(**options) -> Training:
    few = {"size": 32, "style_size": 64, "batch": 2, "steps": 6, "channels": CHANNELS, "blocks": 1}
    few |= {
        "beta": 1e-2,
        "device": "cpu",
        "precision": "float32",
        "progress": False,
    }
    if "model" not in options:
        few["model"] = backbones.small_vgg19()
    styles = options.pop("styles", ["starry-night", "great-wave"])
    return Training(styles, **few | options)


def _run(training: Training, output=None, **options) -> Trained:
    return training.run(output, progress=False, **options)


def _random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


# --- what is lowered ------------------------------------------------------------------------------


def test_a_batch_has_the_gram_matrices_of_its_pictures_one_by_one():
    activation = _random(3, 5, 6, 7)
    grams = batch_gram_matrix(activation)
    for number in range(3):
        alone = losses.gram_matrix(activation[number : number + 1])
        torch.testing.assert_close(grams[number], alone, atol=1e-5, rtol=1e-5)


def test_a_style_loss_is_the_share_of_its_largest_value():
    activation, other = _random(3, 5, 6, 7), _random(3, 5, 4, 4)
    grams = batch_gram_matrix(other)
    shares = []
    for number in range(3):
        away = losses.layer_style_loss(activation[number : number + 1], grams[number])
        own = losses.gram_matrix(activation[number : number + 1])
        most = (own.square().mean() + grams[number].square().mean()) / activation[0].numel()
        shares.append(away / most)
    torch.testing.assert_close(batch_style_loss(activation, grams), torch.stack(shares).mean())
    assert batch_style_loss(other, grams) == 0
    assert batch_style_loss(other, 0 * grams) == 1
    assert batch_style_loss(0 * other, 0 * grams) == 0


def test_a_content_loss_is_a_share_of_the_photographs_features():
    activation, goal = _random(2, 5, 6, 7), 1 + _random(2, 5, 6, 7)
    shares = [
        losses.content_loss(activation[i], goal[i]) / goal[i].square().mean() for i in range(2)
    ]
    torch.testing.assert_close(batch_content_loss(activation, goal), torch.stack(shares).mean())
    assert batch_content_loss(0 * goal, 0 * goal) == 0


def test_a_judge_sums_the_weighted_shares_of_the_styles_asked_for():
    model, content, painted = backbones.small_vgg19(), _random(2, 3, 32, 32), _random(2, 3, 32, 32)
    styles = [
        backbones.normalize(_random(1, 3, 48, 40)),
        backbones.normalize(_random(1, 3, 36, 40)),
    ]
    weights = {"conv1_1": 2.0, "conv3_1": 0.5, "conv4_1": 0.0}
    judge = Judge(styles, model, 32 * 32, style_weights=weights)
    of_content, of_style = judge(painted, content, torch.tensor([1, 0]))

    def features(picture, layer):
        return backbones.extract_features(picture, model, [layer])[layer]

    mine = backbones.normalize(painted)
    layer = losses.CONTENT_LAYER
    expected = batch_content_loss(
        features(mine, layer), features(backbones.normalize(content), layer)
    )
    torch.testing.assert_close(of_content, expected)
    expected = 0.0
    for layer, weight in weights.items():
        grams = [
            32 * 32 / style[0, 0].numel() * losses.gram_matrix(features(style, layer))
            for style in (styles[1], styles[0])
        ]
        expected += weight * batch_style_loss(features(mine, layer), torch.stack(grams))
    torch.testing.assert_close(of_style, expected, rtol=1e-4, atol=1e-6)


def test_each_crop_is_painted_in_the_next_style():
    training = _training(styles=["starry-night", "great-wave", "the-scream"], steps=3)
    judge, seen = training.judge, []

    def watched(pictures, crops, styles):
        seen.append(styles.tolist())
        return judge(pictures, crops, styles)

    training.judge = watched
    _run(training)
    assert seen == [[0, 1], [2, 0], [1, 2]]


def test_each_step_draws_other_noise():
    training, seeds = _training(steps=3), []
    training.network.register_forward_pre_hook(lambda _, inputs: seeds.append(inputs[2]))
    _run(training)
    assert len(set(seeds)) == 3


def test_the_gradient_reaches_every_parameter():
    training = _training()
    before = {name: p.clone() for name, p in training.network.named_parameters()}
    training.advance(_random(2, 3, 32, 32))
    for name, parameter in training.network.named_parameters():
        assert not torch.equal(parameter, before[name]), name


# --- how a training goes --------------------------------------------------------------------------


def test_a_training_lowers_the_loss():
    training, crops = _training(steps=100, lr=3e-3), _random(2, 3, 32, 32)
    totals = [training.advance(crops).total for _ in range(40)]
    assert sum(totals[-5:]) < 0.6 * sum(totals[:5])


def test_a_training_makes_all_its_steps():
    training = _training(styles="starry-night")
    assert _run(training).names == ("starry-night",)
    assert training.ended == "finished"
    assert [step.step for step in training.history] == [*range(1, 7)]


def test_the_same_seed_gives_the_same_network():
    model = backbones.small_vgg19()
    first = _run(_training(seed=1, model=model))
    torch.rand(1)  # other people's chance counts for nothing
    state = torch.get_rng_state()
    second, other = (_run(_training(seed=seed, model=model)) for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    same = zip(first.network.parameters(), second.network.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in same)
    assert not torch.equal(first.network.last.conv.weight, other.network.last.conv.weight)


def test_the_styles_tables_move_faster_than_the_kernels():
    training = _training(lr=1e-3)
    before = {name: p.clone() for name, p in training.network.named_parameters()}
    training.advance(_random(2, 3, 32, 32))
    for name, parameter in training.network.named_parameters():
        if name.endswith("shift"):
            continue  # where a normalisation follows, a shift changes nothing
        # Adam's first move is the rate, or a little less where the gradient is minute.
        farthest = float((parameter - before[name]).detach().abs().max())
        rate = 1e-3 if parameter.dim() == 4 else 1e-3 * TABLES_RATE
        assert farthest == pytest.approx(rate, rel=0.1), name


def test_the_rate_falls_by_half_a_cosine():
    training = _training(steps=100, lr=1.0)
    assert training.rate(0) == 1
    assert training.rate(50) == pytest.approx((1 + LAST_RATE) / 2)
    assert training.rate(100) == training.rate(200) == pytest.approx(LAST_RATE)


def test_a_training_taken_up_again_goes_on_as_if_it_had_never_stopped(tmp_path):
    straight = _run(_training())
    stopped = _training()

    def stop(step):
        if step.step == 3:
            raise KeyboardInterrupt

    kept = _run(stopped, tmp_path / "out.safetensors", on_step=stop)
    assert stopped.ended == "interrupted"
    assert kept.settings["steps"] == 3
    here = {"model": backbones.small_vgg19(), "device": "cpu", "precision": "float32"}
    resumed = Training.load(run_file(tmp_path / "out.safetensors"), **here)
    assert [step.total for step in resumed.history] == [step.total for step in stopped.history]
    finished = _run(resumed)
    apart = {"seconds": 0}
    assert finished.settings | apart == straight.settings | apart
    assert finished.styles == straight.styles
    pairs = zip(finished.network.parameters(), straight.network.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_snapshots_are_left_on_the_way(tmp_path):
    output = tmp_path / "out.safetensors"
    seen = []

    def look(step):
        seen.append(output.exists() and load_trained(output).settings["steps"])

    _run(_training(held_out="neuschwanstein"), output, every=2, on_step=look)
    assert seen == [False, False, 2, 2, 4, 4]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 6
    assert load_image(tmp_path / "out.png").shape == (1, 3, 171, 2 * 256)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"out.safetensors", "out.run.safetensors", "out.csv", "out.png"}


def test_a_loss_that_is_no_number_moves_nothing():
    training = _training()
    training.advance(_random(2, 3, 32, 32))
    before = [parameter.clone() for parameter in training.network.parameters()]
    step = training.advance(torch.full((2, 3, 32, 32), math.nan))
    assert math.isnan(step.total)
    assert all(map(torch.equal, training.network.parameters(), before))
    assert training.notices == [
        "At step 2 the loss or its gradient was no number; the network stayed as it was."
    ]
    assert math.isfinite(training.advance(_random(2, 3, 32, 32)).total)


def test_a_training_without_hope_ends(tmp_path):
    training = _training(beta=1e39, steps=20)
    kept = _run(training, tmp_path / "out.safetensors")
    assert training.ended == "diverged"
    assert len(training.history) == PATIENCE
    assert all(bool(p.isfinite().all()) for p in kept.network.parameters())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"size": 40}, "multiple of 16"),
        ({"batch": 0}, "batch"),
        ({"steps": 1.5}, "steps"),
        ({"lr": 0.0}, "lr"),
        ({"beta": -1.0}, "beta"),
        ({"styles": []}, "no style"),
        ({"styles": ["starry-night", "starry-night"]}, "Two styles"),
        ({"held_out": "nobody"}, "held out"),
        ({"channels": (1, 2)}, "channels"),
    ],
)
def test_options_out_of_range_are_refused(wrong, words):
    with pytest.raises(NstError, match=words):
        _training(**wrong)


# --- what was trained -----------------------------------------------------------------------------


@pytest.fixture
def network() -> Trained:
    """A network of three styles that differ, as it would be after training."""
    net = ImageTransform(3, CHANNELS, 1)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in net.named_parameters():
        if name.endswith(("scale", "shift")):
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    styles = (Style("starry-night", "The Starry Night", True), Style("mine", "mine.jpg"))
    settings = {"channels": list(CHANNELS), "blocks": 1, "weights": "gatys", "steps": 7, "seed": 0}
    return Trained(trained.frozen_copy(net), (*styles, Style("b", "b.jpg")), settings)


def test_a_network_comes_back_from_its_file(network, tmp_path):
    path = network.save(tmp_path / "out.safetensors")
    again = load_trained(path)
    assert again.styles == network.styles
    assert again.settings == network.settings
    assert not any(parameter.requires_grad for parameter in again.network.parameters())
    first, second = (paint(each, "neuschwanstein", size=64).image for each in (network, again))
    assert (first - second).abs().max() < 0.01  # float16 in the file
    with safe_open(str(path), framework="pt") as file:
        assert file.get_tensor("last.conv.weight").dtype == torch.float16


def test_a_style_is_painted_by_name_or_number_and_blended(network):
    content = _random(1, 3, 40, 52)
    first, second = (paint(network, content, style).image for style in ("starry-night", "mine"))
    assert torch.equal(paint(network, content, 1).image, second)
    assert first.shape == content.shape
    assert (first - second).abs().mean() > 0.01
    names = ["starry-night", "mine"]
    assert torch.equal(paint(network, content, names, style_mix=[0, 5]).image, second)
    blend = paint(network, content, names, style_mix=[1, 3])
    assert 0 < (blend.image - second).abs().mean() < (first - second).abs().mean()
    assert blend.settings["style_mix"] == [0.25, 0.75]
    assert "The Starry Night and mine.jpg" in blend.caption()
    assert "7 steps" in blend.caption()
    assert [picture.name for picture in blend.sources] == ["starry-night"]


def test_a_style_it_was_not_trained_for_is_refused(network):
    for style in ("the-scream", 3, -1, True):
        with pytest.raises(NstError, match="choose from starry-night, mine, b"):
            paint(network, "neuschwanstein", style, size=64)


def _with(path, tensors=None, **told):
    """Write a file like ``path`` with other tensors or other metadata."""
    with safe_open(str(path), framework="pt") as file:
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    settings = json.loads(metadata["settings"]) | told.pop("settings", {})
    metadata |= {"settings": json.dumps(settings), **told}
    path.write_bytes(save(content | (tensors or {}), metadata=metadata))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "no trained network"),
        ({"settings": {"channels": [4, 6, 9]}}, "damaged"),
        ({"settings": {"channels": [4, 6, 10**9]}}, "damaged"),
        ({"settings": {"blocks": 2}}, "damaged"),
        ({"settings": {"styles": []}}, "damaged"),
        ({"settings": {"styles": [{"name": 3, "title": "", "shipped": False}] * 3}}, "damaged"),
        ({"settings": {"steps": "many"}}, "damaged"),
        ({"tensors": {"last.conv.weight": torch.full((3, 4, 9, 9), math.inf)}}, "damaged"),
        ({"tensors": {"more": torch.zeros(1)}}, "damaged"),
        ({"tensors": {"last.norm.shift": torch.zeros(3, 3, dtype=torch.int64)}}, "damaged"),
    ],
)
def test_a_file_is_checked_before_it_is_used(change, words, network, tmp_path):
    path = network.save(tmp_path / "out.safetensors")
    _with(path, **change)
    with pytest.raises(NstError, match=words):
        load_trained(path)


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(NstError, match="cannot be read"):
        load_trained(tmp_path / "nowhere.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for read in (load_trained, Training.load):
        with pytest.raises(NstError, match="damaged"):
            read(tmp_path / "text.safetensors")


def test_a_saved_training_is_checked_before_it_is_used(tmp_path):
    training = _training(steps=2)
    training.advance(_random(2, 3, 32, 32))
    path = training.save(tmp_path / "out.run.safetensors")
    whole = path.read_bytes()
    model = backbones.small_vgg19()
    for change in (
        {"tensors": {"network.last.conv.weight": torch.full((3, 4, 9, 9), math.nan)}},
        {"tensors": {"exp_avg.last.conv.weight": torch.zeros(1)}},
        {"tensors": {"history": torch.zeros(5)}},
        {"settings": {"channels": [4, 6, 9]}},
    ):
        path.write_bytes(whole)
        _with(path, **change)
        with pytest.raises(NstError, match="damaged"):
            Training.load(path, model=model, device="cpu")
    network = training.trained().save(tmp_path / "out.safetensors")
    with pytest.raises(NstError, match="no saved training"):
        Training.load(network, model=model, device="cpu")


# --- the command line -----------------------------------------------------------------------------

FEW = ["--size", "32", "--batch", "1", "--channels", "4", "6", "8", "--weights", "random"]
FEW += ["--style-size", "32", "--content-layer", "conv2_1", "--device", "cpu"]


def test_the_command_trains_and_goes_on(tmp_path, capfd):
    output = str(tmp_path / "out.safetensors")
    train = ["train", "starry-night", "great-wave", "-o", output, "--hold-out", "red-panda"]
    assert main([*train, "--steps", "1", *FEW]) == 0
    assert "starry-night, great-wave after 1 steps" in capfd.readouterr().out
    assert load_trained(output).settings["held_out"] == "red-panda"
    assert main(["train", "-o", output, "--resume", "--steps", "2", "--device", "cpu"]) == 0
    assert "after 2 steps" in capfd.readouterr().out
    for wrong, words in (
        ([*train, "--steps", "1", *FEW], "is there already"),
        (["train", "-o", output, "--resume", "--lr", "1"], "--lr cannot be given"),
        (["train", "-o", str(tmp_path / "a.safetensors")], "no style"),
        (["train", "x", "-o", str(tmp_path / "a.png")], ".safetensors"),
        (["train", "x", "-o", str(tmp_path / "b" / "a.safetensors")], "no folder"),
    ):
        assert main(wrong) == 1
        assert words in capfd.readouterr().err
