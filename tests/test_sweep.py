"""What a sweep asks for, what one job leaves, and what is read back with suspicion; no cluster."""

from __future__ import annotations

import json
import math
import pickle
import shutil

import pytest
import torch
from PIL import Image

from nst_helpers import sweep
from nst_helpers.cli import main
from nst_helpers.errors import NstError, install_command
from nst_helpers.sweep import SweepError, planned, running
from nst_helpers.sweep import folder as store
from nst_helpers.sweep.job import as_message, run_job
from nst_helpers.transfer import StyleTransfer

SMALL = {"size": 32, "steps": 3, "weights": "random", "precision": "float32"}
PAIR = {"content": "neuschwanstein", "style": "starry-night"}
# For jobs that are run: the lowest layers alone, where it does not matter what a step computes.
LAYERS = {"content_layer": "conv2_1", "style_weights": {"conv1_1": 1}}


def _spec(vary, **fixed):
    return {"fixed": {**PAIR, **SMALL, **fixed}, "vary": vary}


def _without(key, vary):
    spec = _spec(vary)
    del spec["fixed"][key]
    return spec


def _prepared(tmp_path, vary=None, **fixed):
    """Return a folder ready for a plan, the plan, and what runs a job of it in this process."""
    plan = planned(_spec(vary or {"beta": [0.5]}, **{**LAYERS, **fixed}))
    folder = tmp_path / "sweep"
    token = store.prepare(folder, plan)

    def run(job=plan.jobs[0], **changes):
        return run_job({**as_message(job), **changes}, str(folder), token, 1)

    return folder, plan, run


# --- the spec -------------------------------------------------------------------------------------


def test_every_combination_is_a_job_and_its_label_says_what_varies():
    plan = planned(_spec({"beta": [0.05, 5], "start": ["content", "noise"], "seed": [0, 1]}))
    assert len(plan.jobs) == len({job.digest for job in plan.jobs}) == 8
    assert plan.jobs[0].label == "beta 0.05, start content, seed 0"
    assert plan.jobs[-1].label == "beta 5, start noise, seed 1"
    assert [job.settings["beta"] for job in plan.jobs] == [0.05] * 4 + [5] * 4


def test_any_setting_of_the_engine_can_be_varied():
    values = {
        "alpha": [1], "beta": [1], "size": [32], "optimizer": ["adam"], "lr": [0.1],
        "tv_weight": [1], "content_layer": ["conv3_1"], "style_weights": [{"conv1_1": 1}],
        "style_mix": [[2, 1]], "style_size": [48], "colours": ["content"], "pooling": ["average"],
        "network": ["vgg16"], "weights": ["random"], "device": ["cpu"], "precision": ["float32"],
        "seed": [7], "start": ["adain"], "content": ["red-panda"],
        "style": [["great-wave", "the-scream"]], "steps": [5], "stop_early": [0.1],
    }  # fmt: skip
    assert set(values) == set(sweep.spec.settings())
    (job,) = planned({"vary": values}).jobs
    assert job.steps == 5
    assert job.start == "adain"
    assert [style.shipped for style in job.styles] == ["great-wave", "the-scream"]


def test_numbers_without_a_point_are_numbers(tmp_path):
    (tmp_path / "spec.yaml").write_text(
        "fixed: {content: red-panda, style: the-scream, size: 32}\nvary: {beta: [1e6, 5]}\n"
    )
    assert [job.settings["beta"] for job in planned(tmp_path / "spec.yaml").jobs] == [1e6, 5.0]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"varry": {}}, "'varry', which stands nowhere; perhaps vary"),
        ({"beta": [1]}, "'beta', which stands nowhere; write it under fixed or vary"),
        ({"fixed": [1]}, "fixed is [1]; give keys and values"),
        (_spec({}), "The spec varies nothing"),
        (_spec({"betta": [1]}), "vary.betta is no setting; perhaps beta is meant"),
        (_spec({"model": [1]}), "vary.model is no setting"),
        (_spec({"beta": 0.5}), "vary.beta is 0.5; give a list"),
        (_spec({"beta": []}), "vary.beta is an empty list"),
        (_spec({"beta": [1, 1.0]}), "vary.beta names 1.0 twice"),
        (_spec({"size": [32]}), "size stands in fixed and in vary"),
        (_without("style", {"beta": [1]}), "The spec names no style picture"),
        (_spec({"beta": [1, -2]}), "vary.beta cannot be -2.0: "),
        (_spec({"beta": [math.nan]}), "vary.beta cannot be nan: "),
        (_spec({"beta": ["much"]}), "vary.beta is 'much', which cannot be used"),
        (_spec({"seed": [1.5]}), "vary.seed cannot be 1.5: it must be a whole number"),
        (_spec({"seed": [None]}), "vary.seed cannot be None: it must be a whole number"),
        (_spec({"style_weights": ["conv1_1"]}), "vary.style_weights cannot be 'conv1_1': "),
        (_spec({"content_layer": [{"conv4_2": -1}]}), "the weight of conv4_2 must be a number"),
        (_spec({"tv_weight": [True]}), "vary.tv_weight cannot be True: "),
        (_spec({"content_layer": ["conv4_2", "conv9_1"]}), "vary.content_layer cannot be"),
        (_spec({"style_weights": [{"conv8": 1}]}), "vary.style_weights cannot be {'conv8': 1.0}: "),
        (_spec({"beta": [1]}, content_layer="conv4_4", network="vgg16", weights="random"),
         "fixed.content_layer cannot be 'conv4_4': VGG-16 has no layer"),
        (_spec({"beta": [1]}, content="nowhere.jpg"), "fixed.content cannot be 'nowhere.jpg': "),
        (_without("style", {"style": ["the-scream", ["great-wave", "the-screem"]]}),
         "vary.style cannot be ['great-wave', 'the-screem']: "),
        (_spec({"start": ["noise", "black"]}), "vary.start cannot be 'black': "),
        (_without("size", {"size": [64, 8]}), "vary.size cannot be 8: "),
        (_spec({"optimizer": ["adum"]}), "vary.optimizer cannot be 'adum': "),
        (_without("weights", {"weights": ["magic"]}), "vary.weights cannot be 'magic'; for vgg19"),
        (_spec({"network": ["vgg11"]}), "vary.network cannot be 'vgg11': "),
        (_spec({"recipe": ["nobody's"]}), "vary.recipe cannot be \"nobody's\": "),
        (_spec({"style_mix": [[1, 2]]}), "vary.style_mix cannot be [1.0, 2.0]: "),
        (_spec({"device": ["toaster"]}), "vary.device cannot be 'toaster': "),
        (_without("style", {"style": ["https://example.org/x.jpg"]}), "download it first"),
        ({**_spec({"beta": [1]}), "retries": -1}, "retries is -1; it must be a whole number"),
        ({**_spec({"beta": [1]}), "every": True}, "every is True; it must be a whole number"),
        (_spec({"beta": list(range(200)), "seed": list(range(200))}), "make 40,000 jobs"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_in_a_sentence_that_names_the_key(spec, words):
    with pytest.raises(SweepError) as caught:
        planned(spec)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("- beta", "holds a list"),
        ("vary: {beta: [1", "line 1 is no YAML"),
        ("vary: !!python/object/apply:os.system ['true']", "is no YAML"),
        ("vary:\n  beta: [1]\n  beta: [2]\n", "says 'beta' twice in what begins at line 2"),
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n"
         + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n"
                   for a, b in zip("abcdefg", "bcdefgh", strict=True)), "more than 100,000 values"),
        ("\x00", "is no YAML"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_spec_is_told_so(tmp_path, text, words):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(SweepError, match=words):
        planned(path)
    assert main(["sweep", str(tmp_path / "none.yaml")]) == 1


def test_the_command_refuses_before_anything_is_written(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(
        "fixed: {content: red-panda, style: the-scream}\nvary: {content_layer: [conv9_1]}\n"
    )
    assert main(["sweep", "spec.yaml"]) == 1
    out, err = capfd.readouterr()
    assert err.startswith("nst: vary.content_layer cannot be 'conv9_1': VGG-19 has no layer")
    assert err.count("\n") == 1
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


# --- what is the same job -------------------------------------------------------------------------


def _digest(vary=None, **fixed):
    return planned(_spec(vary or {"beta": [0.5]}, **fixed)).jobs[0].digest


def test_a_digest_is_of_settings_and_not_of_how_they_are_written():
    assert _digest() == _digest(alpha=1, start="content", content_layer="conv4_2", style_mix=None)
    assert _digest() == _digest({"seed": [0]}, beta=0.5)
    others = [{"alpha": 2}, {"steps": 4}, {"start": "noise"}, {"style": "the-scream"}, {"seed": 1}]
    assert len({_digest(), *(_digest(**other) for other in others)}) == 6


def test_a_digest_is_of_the_pictures_bytes(tmp_path):
    one, same, other = (tmp_path / name for name in ("one.png", "same.png", "other.png"))
    Image.new("RGB", (40, 40), "red").save(one)
    shutil.copy(one, same)
    Image.new("RGB", (40, 40), "blue").save(other)
    assert _digest(content=str(one)) == _digest(content=str(same)) != _digest(content=str(other))


def test_the_environment_of_whoever_asks_decides_about_weights(monkeypatch):
    monkeypatch.setenv("NST_WEIGHTS", "random")
    (job,) = planned(_without("weights", {"beta": [0.5]})).jobs
    assert job.settings["weights"] == "random"
    assert job.digest == _digest()


def test_recipes_can_be_swept_over_and_changed():
    spec = _without("steps", {"recipe": ["gatys", "tensorflow-tutorial"], "alpha": [1, 2]})
    jobs = planned(spec).jobs
    assert len({job.digest for job in jobs}) == 4
    assert (jobs[0].start, jobs[0].label) == ("noise", "recipe gatys, alpha 1")
    assert jobs[1].settings["changes"] == {"alpha": 2.0}
    assert jobs[2].steps == 1000


# --- one job --------------------------------------------------------------------------------------


def test_a_job_leaves_picture_log_and_what_it_is_and_nothing_else(tmp_path):
    folder, plan, run = _prepared(tmp_path)
    assert run()
    place = folder / "jobs" / plan.jobs[0].digest
    assert sorted(path.name for path in place.iterdir()) == [
        "log.csv",
        "picture.png",
        "result.json",
    ]
    assert [path.name for path in (folder / "jobs").iterdir()] == [place.name]
    assert list((folder / "running").iterdir()) == []
    outcome = store.read(folder, plan.jobs[0].digest)
    assert (outcome.steps, outcome.starts, outcome.resumed) == (3, 1, 0)
    with Image.open(place / "picture.png") as picture:
        assert picture.info["Description"] == outcome.caption
    assert "Neuschwanstein Castle in the style of The Starry Night" in outcome.caption
    assert len((place / "log.csv").read_text().splitlines()) == 1 + 4


def test_the_picture_is_the_engines_own(tmp_path):
    folder, plan, run = _prepared(tmp_path, start="noise", seed=3, beta=2.0, vary={"alpha": [3]})
    assert run()
    options = {"size": 32, "weights": "random", "precision": "float32", "progress": False, **LAYERS}
    own = StyleTransfer(*PAIR.values(), alpha=3, beta=2, seed=3, start="noise", **options)
    best = own.run(3, progress=False).best
    outcome = store.read(folder, plan.jobs[0].digest)
    assert outcome.total == pytest.approx(best.total, rel=1e-5)


def test_a_finished_job_is_not_run_again(tmp_path):
    folder, plan, run = _prepared(tmp_path)
    assert run()
    path = folder / "jobs" / plan.jobs[0].digest / "result.json"
    before = path.stat().st_mtime_ns
    assert run()
    assert path.stat().st_mtime_ns == before


def test_a_job_goes_on_from_a_snapshot_and_counts_who_began_it(tmp_path):
    folder, plan, run = _prepared(tmp_path, steps=6)
    work = folder / "running" / plan.jobs[0].digest
    store.ask_to_stop(folder)
    begun = sweep.job.begun(plan.jobs[0], folder)
    begun.run(4, progress=False, folder=work, every=2)
    assert not run()  # it is asked to stop
    (folder / "running" / "stop").unlink()
    assert run()
    outcome = store.read(folder, plan.jobs[0].digest)
    assert (outcome.steps, outcome.resumed) == (6, 4)
    log = (folder / "jobs" / plan.jobs[0].digest / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log[1:]] == list("0123456")
    kept = [f"{begun.history[3].total}", *map(str, [begun.history[3].content])]
    assert log[4].split(",")[2:4] == kept


def test_a_stopped_job_leaves_a_snapshot_at_the_step_it_is_at(tmp_path, monkeypatch):
    folder, plan, run = _prepared(tmp_path, steps=50)
    asked = iter([False, False, False, True])
    monkeypatch.setattr(store, "stop_asked", lambda folder: next(asked))
    assert not run()
    assert store.step_of(folder, plan.jobs[0].digest) == 2
    assert store.read(folder, plan.jobs[0].digest) is None


@pytest.mark.parametrize("damage", [b"", b"\x80\x04evil", b"x" * 1000])
def test_a_damaged_snapshot_costs_its_steps_and_no_more(tmp_path, damage):
    folder, plan, run = _prepared(tmp_path)
    work = folder / "running" / plan.jobs[0].digest
    work.mkdir()
    (work / "run.safetensors").write_bytes(damage)
    assert run()
    assert store.read(folder, plan.jobs[0].digest).resumed == 0


def test_the_snapshot_of_another_job_is_not_taken(tmp_path):
    folder, plan, run = _prepared(tmp_path, {"beta": [0.5, 7]}, steps=2)
    first, second = plan.jobs
    sweep.job.begun(second, folder).run(
        1, progress=False, folder=folder / "running" / first.digest, every=1
    )
    assert run(first)
    assert "beta 0.5" in store.read(folder, first.digest).caption
    assert store.read(folder, first.digest).resumed == 0


def test_a_recipe_whose_rate_decays_begins_anew(tmp_path):
    folder, plan, run = _prepared(tmp_path, {"recipe": ["d2l", "engine"]})
    for job in plan.jobs:
        work = folder / "running" / job.digest
        sweep.job.begun(job, folder).run(2, progress=False, folder=work, every=1)
        assert run(job)
    assert [store.read(folder, job.digest).resumed for job in plan.jobs] == [0, 2]


def test_pictures_that_were_changed_are_not_trusted(tmp_path):
    folder, plan, run = _prepared(tmp_path)
    (folder / "pictures" / plan.jobs[0].content.digest).write_bytes(b"another picture")
    with pytest.raises(SweepError, match="was changed after the sweep began"):
        run()


def test_a_worker_that_sees_another_folder_or_is_another_version_does_nothing(tmp_path):
    folder, _, run = _prepared(tmp_path)
    with pytest.raises(SweepError, match=r"nst_helpers 0\.0\.1, torch 9 is asked for"):
        run(version="nst_helpers 0.0.1, torch 9")
    (folder / ".sweep-id").write_text("another")
    with pytest.raises(SweepError, match="does not see the sweep's folder"):
        run()
    assert list((folder / "running").iterdir()) == []


# --- what is read back ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with one finished job, to be copied."""
    folder, plan, run = _prepared(tmp_path_factory.mktemp("finished"), steps=1)
    assert run()
    return folder, plan.jobs[0].digest


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("result.json", b""),
        ("result.json", pickle.dumps({"total": 1})),
        ("result.json", b"[1, 2]"),
        ("result.json", b'{"total": NaN}'),
        ("picture.png", b"\x89PNG"),
        ("picture.png", b"GIF89a"),
    ],
)
def test_a_damaged_result_is_no_result(tmp_path, finished, name, data):
    folder, digest = shutil.copytree(finished[0], tmp_path / "copy"), finished[1]
    assert store.read(folder, digest) is not None
    (folder / "jobs" / digest / name).write_bytes(data)
    assert store.read(folder, digest) is None


@pytest.mark.parametrize(
    "change", [{"total": "1"}, {"total": math.inf}, {"steps": True}, {"x": 1}, {"digest": "0" * 20}]
)
def test_a_result_with_wrong_facts_is_no_result(tmp_path, finished, change):
    folder, digest = shutil.copytree(finished[0], tmp_path / "copy"), finished[1]
    path = folder / "jobs" / digest / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert store.read(folder, digest) is None


def test_a_damaged_result_is_made_again_and_what_was_there_is_set_aside(tmp_path):
    folder, plan, run = _prepared(tmp_path, steps=1)
    place = folder / "jobs" / plan.jobs[0].digest
    place.mkdir()
    (place / "result.json").write_text("damaged")
    assert run()
    assert store.read(folder, place.name) is not None
    (aside,) = [path for path in place.parent.iterdir() if "damaged" in path.name]
    assert (aside / "result.json").read_text() == "damaged"


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SweepError, match="holds other things"):
        sweep.submit(_spec({"beta": [1]}), tmp_path)
    assert not (tmp_path / "jobs").exists()


def test_more_jobs_than_meant_are_refused_by_their_number(tmp_path):
    with pytest.raises(SweepError, match="make 3 jobs; say most=3"):
        sweep.submit(_spec({"beta": [1, 2, 3]}), tmp_path / "x", most=2)
    assert not (tmp_path / "x").exists()


def test_all_that_is_finished_is_shown_without_any_worker(tmp_path):
    folder, plan, run = _prepared(tmp_path, {"style_mix": [None], "beta": [0.5, 5]})
    for job in plan.jobs:
        assert run(job)
    with sweep.submit(plan, folder) as done:
        progress = done.wait()
    assert str(progress) == "2 of 2 jobs done (2 of them before)"
    table = done.table().frame
    assert list(table["state"]) == ["kept", "kept"]
    assert list(table["beta"]) == [0.5, 5]
    figure = done.sheet()
    assert [panel.label for panel in figure.panels] == [job.label for job in plan.jobs]
    assert "The Starry Night, Vincent van Gogh" in str(figure)
    assert (folder / "results.csv").read_text().count("\n") == 3
    with Image.open(folder / "contact-sheet.jpg") as sheet:
        assert sheet.format == "JPEG"
    assert (folder / "sweep.yaml").read_text() == plan.text


def test_two_sweeps_do_not_share_a_folder(tmp_path):
    folder, plan, _ = _prepared(tmp_path)
    with running._alone(folder), pytest.raises(SweepError, match="Another sweep is at work"):
        sweep.submit(plan, folder)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "about 1 s"), (75, "about 75 s"), (600, "about 10 min"), (9000, "about 2 h")],
)
def test_times_are_told_as_people_say_them(seconds, words):
    assert running.duration(seconds) == words


def test_without_dask_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with (
        pytest.raises(NstError, match="needs the package distributed") as caught,
        sweep.connected(),
    ):
        pass
    assert str(caught.value).endswith(install_command("distributed"))


def test_torch_is_left_as_it_was(tmp_path):
    before = torch.get_num_threads()
    planned(_spec({"beta": [1]}))
    assert torch.get_num_threads() == before
