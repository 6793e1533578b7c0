"""Recipes as data: what is in the file, what is refused, and that a run means what is written."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional as F

from benchmarks import recipes as page
from nst_helpers import backbones, losses, recipes
from nst_helpers.cli import main
from nst_helpers.images import load_image
from nst_helpers.recipes import RecipeError
from nst_helpers.transfer import stylize

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recipes.md"
VGG19 = [name for name in recipes.names() if recipes.load(name).network == "vgg19"]
PAIR = ("neuschwanstein", "starry-night")

each_recipe = pytest.mark.parametrize("name", recipes.names())


@pytest.fixture(scope="module")
def model():
    return backbones.small_vgg19()


def _begun(recipe, model, **options):
    return recipe.begin(*PAIR, size=48, model=model, progress=False, **options)


# --- what the file holds --------------------------------------------------------------------------


def test_every_setting_that_was_reported_is_there():
    found = {
        (r.alpha, r.beta, r.optimizer, r.rate, r.steps, r.start)
        for r in map(recipes.load, recipes.names())
    }
    hooks = [(100, 1e6, "lbfgs", 1, 300, "content"), (1e7, 10, "lbfgs", 1, 300, "noise")]
    layers = [(alpha, 1e6, "lbfgs", 1, 300, "content") for alpha in (1, 10)]
    slow = [(0.9, 0.1, "adam", 0.001, 10000, "content")]
    epochs = [
        (10, beta, "lbfgs", 1, 300 * n, "content") for beta in (1e6, 1e7) for n in range(1, 6)
    ]
    tensorflow = [(1e5, 1e-2, "adam", 0.02, 500, "content")]
    assert set(hooks + layers + slow + epochs + tensorflow) <= found


def test_every_convention_has_a_recipe_of_its_own_text():
    texts = {r.convention for r in map(recipes.load, recipes.names()) if r.kind == "text"}
    assert texts == set(losses.CONVENTIONS)


def test_modules_that_a_report_numbers_are_the_layers_of_its_recipe():
    hooks, slow = recipes.load("hooks-noise-start"), recipes.load("slow-classic")
    numbers = [[backbones.layer_index(n) for n in r.style_layers] for r in (hooks, slow)]
    assert numbers == [[5, 12, 22, 32, 35], [0, 5, 10, 19, 29]]
    assert [backbones.layer_index(n) for n in hooks.content_layers] == [5, 12, 22]


@each_recipe
def test_a_report_says_what_was_assumed_and_a_text_has_a_source(name):
    recipe = recipes.load(name)
    assert (recipe.kind == "report") is recipe.source.startswith("A student report")
    if recipe.kind == "report":
        assert recipe.assumed
        assert recipe.note


def test_the_engines_recipe_is_the_engines_default(model):
    run = recipes.load("engine").stylize(*PAIR, size=48, steps=3, model=model, progress=False)
    default = stylize(*PAIR, size=48, steps=3, model=model, progress=False)
    torch.testing.assert_close(run.image, default.image, rtol=0, atol=0)
    assert run.settings["recipe"] == "engine"
    assert run.notices == ()


# --- what is refused ------------------------------------------------------------------------------

GOOD = dataclasses.asdict(recipes.load("engine"))
GOOD = {key: GOOD[key] for key in recipes._NEEDED}


def _written(tmp_path, **changes):
    record = {key: value for key, value in (GOOD | changes).items() if value is not ...}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"recipes": {"mine": record}}), encoding="utf-8")
    return path


def test_a_file_of_ones_own_is_read(tmp_path):
    assert recipes.read(_written(tmp_path))["mine"].alpha == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "blue"}, "Recipe mine: the key 'colour' is unknown; the keys are kind, source"),
        ({"alpha": ...}, "Recipe mine: the key 'alpha' is missing; add it."),
        ({"alpha": "1e6x"}, "Recipe mine: alpha is '1e6x'; it must be a number, 0 or more."),
        ({"beta": -1}, "Recipe mine: beta is -1; it must be a number, 0 or more."),
        ({"beta": float("nan")}, "Recipe mine: beta is nan; it must be a number"),
        ({"alpha": True}, "Recipe mine: alpha is True"),
        ({"steps": 0.5}, "Recipe mine: steps is 0.5; it must be a whole number, 1 or more."),
        ({"convention": "bach"}, "Recipe mine: convention is 'bach'; it must be one of gatys, cou"),
        ({"optimizer": "newton"}, "Recipe mine: optimizer is 'newton'; it must be one of lbfgs, "),
        ({"network": "alexnet"}, "Recipe mine: network is 'alexnet'; it must be one of vgg19, "),
        ({"start": "black"}, "Recipe mine: start is 'black'; it must be one of content, style, "),
        (
            {"content_layers": {"conv9_9": 1}},
            "Recipe mine: content_layers: VGG-19 has no layer 'co",
        ),
        ({"style_layers": {"conv1_1": 0}}, "Recipe mine: style_layers is {'conv1_1': 0}; it must "),
        ({"style_layers": []}, "Recipe mine: style_layers is []; it must be layers with weights"),
        ({"options": {"speed": 1}}, "Recipe mine: options: lbfgs has no option 'speed'; it has no"),
        ({"decay": {"every": 5}}, "Recipe mine: decay is {'every': 5}; it must be {every: steps"),
        ({"rate": 0}, "Recipe mine: rate is 0; it must be a number above 0."),
        ({"assumed": ["luck"]}, "Recipe mine: assumed is ['luck']; it must be a list of a recipe"),
        ({"size": 3}, "Recipe mine: size is 3; it must be a whole number, 16 or more."),
    ],
)
def test_what_is_wrong_is_said_with_recipe_and_key(tmp_path, changes, said):
    with pytest.raises(RecipeError, match=f"^{re.escape(said)}"):
        recipes.read(_written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recipes: {mine: 3}", "Recipe mine is 3; it must be a mapping"),
        ("recipes: {mine: {}}", "Recipe mine: the key 'kind' is missing"),
        ("recipes: {a: {}, a: {}}", "'a' stands there twice"),
        ("recipes: [", "cannot be read"),
        ("recipes: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("scales: {}", "holds no recipes"),
        ("rezepte: {}", "must hold the keys recipes and scales"),
        ("3", "must hold the keys recipes and scales"),
    ],
)
def test_a_file_that_holds_no_recipes_is_refused_in_a_sentence(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=said):
        recipes.read(path)


def test_a_missing_file_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.yaml cannot be read"):
        recipes.read(tmp_path / "none.yaml")


def test_an_unknown_recipe_and_an_unknown_setting_are_refused():
    with pytest.raises(RecipeError, match=r"'udacit' is unknown; choose one of engine, gatys"):
        recipes.load("udacit")
    with pytest.raises(RecipeError, match="has no setting 'speed'; its settings are alpha"):
        recipes.load("engine").changed(speed=3)
    with pytest.raises(RecipeError, match="Recipe engine: alpha is -1"):
        recipes.load("engine").changed(alpha=-1)


# --- what a run means -----------------------------------------------------------------------------


def _source_loss(recipe, picture, model):
    """Return content and style as the recipe's source writes them, weighted and added up."""
    layers = {*recipe.content_layers, *recipe.style_layers}
    castle, night = (load_image(source, size=48) for source in PAIR)
    pixels = castle.shape[-2] * castle.shape[-1]
    target, content, style = (
        backbones.extract_features(backbones.normalize(image), model, layers)
        for image in (picture, castle, night)
    )
    # A style picture with other positions counts as if it had the target's.
    share = pixels / night[0, 0].numel()
    grams = {name: share * losses.gram_matrix(style[name]) for name in recipe.style_layers}
    compared = sum(
        weight * losses.content_loss_as(target[name], content[name], recipe.convention, pixels)
        for name, weight in recipe.content_layers.items()
    )
    styled = losses.style_loss_as(
        target, grams, recipe.style_layers, recipe.convention, pixels=pixels
    )
    return float(recipe.alpha * compared + recipe.beta * styled)


@pytest.mark.parametrize(
    "name", ["gatys", "cs231n", "keras", "tensorflow-tutorial", "hooks-noise-start", "content-both"]
)
def test_the_engines_total_loss_is_the_sources_own(name, model):
    recipe = dataclasses.replace(recipes.load(name), tv_weight=0.0, start="style", pooling="max")
    run = _begun(recipe, model, precision="float32")
    total = run.advance().total
    assert total == pytest.approx(_source_loss(recipe, run.picture(), model), rel=1e-3)


@pytest.mark.parametrize("name", ["cs231n", "tensorflow-tutorial", "d2l", "keras"])
def test_total_variation_weighs_at_the_content_what_it_weighs_in_the_source(name, model):
    recipe = recipes.load(name)
    run = _begun(recipe, model)
    castle = load_image(PAIR[0], size=48)
    ours = run.settings["tv_weight"] * float(losses.total_variation(castle))
    theirs = recipe.tv_weight * float(recipes.TOTAL_VARIATIONS[recipe.tv_form](castle))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_total_variations_by_hand():
    image = torch.zeros(1, 3, 2, 2)
    image[0, 0] = torch.tensor([[0.0, 0.2], [0.0, 0.6]])  # down 0, 0.4; across 0.2, 0.6
    sums = {form: float(function(image)) for form, function in recipes.TOTAL_VARIATIONS.items()}
    deviation = backbones.IMAGENET_STD[0]
    assert sums == pytest.approx(
        {
            "mean of squares": (0.4**2 + 0.2**2 + 0.6**2) / 6,
            "half mean differences": 0.5 * (0.4 + 0.2 + 0.6) / 6 / deviation,
            "sum of differences": 0.4 + 0.2 + 0.6,
            "sum of squares": (0.4**2 + 0.2**2 + 0.6**2) / deviation**2,
            "sum of powers": (51.0**2) ** 1.25,
        },
        rel=1e-5,
    )


def test_a_rate_moves_the_picture_as_far_as_in_the_source(model):
    recipe = recipes.load("engine").changed(
        optimizer="adam", rate=0.02, pixels="unit", style_layers={"conv1_1": 1}
    )
    run = _begun(recipe, model)
    before = run.picture()
    run.advance(), run.advance()
    moved = (backbones.denormalize(run.pixels.detach()) - before).abs()
    # Adam's first step is its rate; the three channels' deviations differ by two per cent.
    assert float(moved.median()) == pytest.approx(0.02, rel=0.03)


def test_the_rate_of_gradient_descent_goes_with_the_square_of_the_unit():
    keras = recipes.load("keras")
    assert keras.engine_rate() == pytest.approx(100 / (255 * 0.226) ** 2)
    assert recipes.load("pytorch-tutorial").engine_rate() == 1
    assert recipes.load("engine").engine_rate() is None


def test_an_optimiser_has_the_sources_options_and_decay(model):
    recipe = recipes.load("tensorflow-tutorial").changed(decay={"every": 2, "factor": 0.5})
    run = _begun(recipe, model)
    group = run.optimizer.param_groups[0]
    assert (list(group["betas"]), group["eps"]) == ([0.99, 0.999], pytest.approx(0.1 * 0.226))
    first = group["lr"]
    run.run(5, progress=False)
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(first / 4)
    assert run.rate == pytest.approx(first / 4)


@pytest.mark.parametrize(("clamp", "inside"), [("each step", True), ("end", False)])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_clamping_keeps_every_step_between_black_and_white(clamp, inside, optimizer, model):
    recipe = recipes.load("engine").changed(clamp=clamp, optimizer=optimizer)
    run = _begun(recipe, model)
    for _ in range(5):
        run.advance()
    picture = backbones.denormalize(run.pixels.detach())
    lowest, highest = float(picture.min()), float(picture.max())
    assert (lowest > -1e-6 and highest < 1 + 1e-6) is inside


def test_noisy_content_is_the_content_with_a_quarter_of_noise(model):
    run = _begun(recipes.load("deeplearning-ai"), model, seed=3)
    castle = load_image(PAIR[0], size=48)
    noise = run.first - castle
    assert 0.2 < float(noise.abs().max()) <= 0.25 + 1e-6
    assert float(run.first.min()) >= 0
    assert float(run.first.max()) <= 1
    assert run.settings["start"] == "noisy content"
    other = _begun(recipes.load("deeplearning-ai"), model, seed=4)
    assert F.mse_loss(run.first, other.first) > 0


# --- networks that answer with another strength ---------------------------------------------------


def _told_of(name, weights_name):
    model = backbones.small_vgg19()
    model.weights_name = weights_name
    run = _begun(recipes.load(name), model)
    return run, run.notices


def test_another_strength_is_counted_where_it_is_known(model):
    run, notices = _told_of("udacity", "gatys")
    assert len(notices) == 1
    assert "made for torchvision's weights; the gatys weights are used" in notices[0]
    strength = recipes.scales()["torchvision"]
    untouched = _begun(recipes.load("udacity"), model)
    ours, theirs = run.settings, untouched.settings
    assert ours["alpha"] / theirs["alpha"] == pytest.approx(strength["relu4_2"] ** 2)
    for layer, weight in theirs["style_weights"].items():
        share = ours["beta"] * ours["style_weights"][layer] / (theirs["beta"] * weight)
        assert share == pytest.approx(strength[layer] ** 4)


def test_a_strength_that_is_not_known_is_said_and_nothing_is_changed(model):
    run, notices = _told_of("deeplearning-ai", "gatys")
    assert "that is not known for these layers" in notices[0]
    assert run.settings["beta"] == _begun(recipes.load("deeplearning-ai"), model).settings["beta"]


@pytest.mark.parametrize("name", ["udacity", "hooks-content-start", "layers-alpha-1"])
def test_nothing_is_said_of_the_weights_a_recipe_was_made_for(name):
    assert _told_of(name, "torchvision")[1] == []


def test_a_recipe_takes_the_weights_it_was_made_for_where_they_are(monkeypatch):
    sixteen = recipes.load("vgg16-content-block4")
    run = sixteen.begin(*PAIR, size=48, progress=False)
    assert (run.settings["weights"], run.notices) == ("torchvision", [])
    monkeypatch.setenv("NST_WEIGHTS", "random")
    assert sixteen.begin(*PAIR, size=48, progress=False).settings["weights"] == "random"


def test_a_ratio_is_the_papers_and_counts_the_network_where_asked(model):
    castle = backbones.normalize(load_image(PAIR[0], size=48))
    gatys, udacity = recipes.load("gatys"), recipes.load("udacity")
    layers = {*gatys.content_layers, *udacity.style_layers}
    sizes = losses.sizes_of(backbones.extract_features(castle, model, layers))
    assert gatys.ratio(sizes, castle[0, 0].numel()) == pytest.approx(1e-3)
    assert gatys.ratio(sizes, castle[0, 0].numel(), used="gatys") == pytest.approx(1e-3)
    written = udacity.ratio(sizes, castle[0, 0].numel())
    counted = udacity.ratio(sizes, castle[0, 0].numel(), used="gatys")
    assert counted != pytest.approx(written, rel=0.1)
    with pytest.raises(RecipeError, match="it is not known how strongly that answers"):
        recipes.load("cs231n").ratio(sizes, 1, used="gatys")


def test_the_authors_code_has_the_papers_ratio_before_means(model):
    castle = backbones.normalize(load_image(PAIR[0], size=48))
    paper, code = recipes.load("gatys"), recipes.load("gatys-code")
    assert code.alpha / code.beta == pytest.approx(paper.alpha / paper.beta)
    assert (code.content_layers, code.style_layers) == (paper.content_layers, paper.style_layers)
    layers = {*code.content_layers, *code.style_layers}
    sizes = losses.sizes_of(backbones.extract_features(castle, model, layers))
    channels, height, width = sizes["relu4_2"]
    pixels = castle[0, 0].numel()
    sums = 2 * channels * height * width  # half a sum over it is a mean
    assert code.ratio(sizes, pixels) == pytest.approx(paper.ratio(sizes, pixels) / sums)


# --- the command line, and the page ---------------------------------------------------------------

FEW = ["--size", "48", "--steps", "2", "--weights", "random", "--device", "cpu"]


def test_the_command_line_runs_a_recipe_and_says_what_overrides_it(tmp_path, capfd):
    out = str(tmp_path / "out.png")
    assert main(["stylize", *PAIR, "-o", out, "--recipe", "udacity", "--beta", "3", *FEW]) == 0
    said, told = capfd.readouterr()
    assert "with Adam from content" in said
    assert "nst: beta is 3, where recipe udacity has 1e6." in told
    assert "nst: steps is 2, where recipe udacity has 2000." in told
    assert "alpha" not in told
    assert "lr" not in told


def test_an_option_that_repeats_the_default_overrides_a_recipe_too(tmp_path, capfd):
    out = str(tmp_path / "out.png")
    few = [*FEW, "--start", "content"]
    assert main(["stylize", *PAIR, "-o", out, "--recipe", "gatys", *few]) == 0
    said, told = capfd.readouterr()
    assert "from content" in said
    assert "start is content, where recipe gatys has noise" in told


def test_the_command_line_lists_all_recipes_and_tells_all_of_one(capsys):
    assert main(["recipes"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == ["recipe", *recipes.names()]
    assert main(["recipes", "keras"]) == 0
    told = capsys.readouterr().out
    assert "Keras code examples" in told
    assert "relu5_1 0.2" in told
    assert main(["recipes", "nothing"]) == 1


def test_the_page_lists_exactly_the_recipes_with_their_pictures():
    text = PAGE.read_text(encoding="utf-8")
    assert (
        tuple(re.findall(r"^\|.*?\| \*\*([\w.-]+)\*\*<br>", text, re.MULTILINE)) == recipes.names()
    )
    pictures = re.findall(r'<img src="(recipes/[\w.-]+\.jpg)" width="\d+" alt="([^"]+)">', text)
    assert [file for file, _ in pictures] == [f"recipes/{name}.jpg" for name in recipes.names()]
    assert {path.name for path in (PAGE.parent / "recipes").iterdir()} == {
        f"{name}.jpg" for name in recipes.names()
    }
    assert all(len(alt) > 20 for _, alt in pictures)


def test_the_page_says_what_the_script_says_of_the_recipes():
    text = PAGE.read_text(encoding="utf-8")
    remarks = text.partition("## What else has to be known of them\n\n")[2].partition("\n\n")[0]
    assert remarks.splitlines() == list(page._remarks())
    assert page.THE_PAPER in text.splitlines()


def test_the_page_tells_of_the_machine_what_was_measured():
    load = page._load()
    assert load == "" or re.fullmatch(r", load average \d+\.\d when it began", load)
    assert f"{load}; torch " in next(page._introduction(2.0, load))
    assert "; torch " in next(page._introduction(2.0, ""))
