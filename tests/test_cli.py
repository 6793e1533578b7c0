"""The command line: what it writes, what it says, and its exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from nst_helpers.cli import main

ROOT = Path(__file__).resolve().parents[1]
CASTLE = str(ROOT / "images/content/neuschwanstein.jpg")
NIGHT = str(ROOT / "images/style/starry-night.jpg")


def _stylize(output: Path, *options: str) -> int:
    few = ["--size", "48", "--steps", "2", "--weights", "random", "--device", "cpu"]
    return main(["stylize", CASTLE, NIGHT, "-o", str(output), *few, *options])


def test_stylize_writes_a_picture_and_says_where(tmp_path, capfd):
    output = tmp_path / "out.png"
    assert _stylize(output) == 0
    with Image.open(output) as picture:
        assert max(picture.size) == 48
    out, err = capfd.readouterr()
    assert str(output) in out
    assert "Neuschwanstein Castle in the style of The Starry Night" in out
    assert err == ""


def test_options_reach_the_run(tmp_path, capfd):
    assert _stylize(tmp_path / "out.jpg", "--alpha", "3", "--beta", "7", "--seed", "5") == 0
    assert "alpha 3, beta 7" in capfd.readouterr().out


def test_the_choices_of_the_engine_reach_the_run(tmp_path, capfd):
    chosen = ["--start", "noise", "--optimizer", "adam", "--lr", "0.2", "--tv", "3", "--style-size"]
    chosen += ["64", "--keep-colours", "--pooling", "average", "--stop-early", "0.5"]
    assert _stylize(tmp_path / "out.png", *chosen) == 0
    assert "with Adam from noise" in capfd.readouterr().out


def test_a_run_left_in_a_folder_is_resumed(tmp_path, capfd):
    assert _stylize(tmp_path / "out.png", "--folder", str(tmp_path / "run"), "--every", "1") == 0
    state = str(tmp_path / "run" / "run.safetensors")
    output = tmp_path / "more.png"
    assert main(["resume", state, "-o", str(output), "--steps", "5", "--device", "cpu"]) == 0
    assert "of 5 with L-BFGS" in capfd.readouterr().out
    assert output.is_file()
    assert len((tmp_path / "run" / "log.csv").read_text().splitlines()) == 1 + 6


def test_several_styles_can_be_named(tmp_path, capfd):
    few = ["--size", "48", "--steps", "1", "--weights", "random"]
    out = str(tmp_path / "out.png")
    assert main(["stylize", "red-panda", "great-wave", "the-scream", "-o", out, *few]) == 0
    assert " and The Scream" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resume", NIGHT, "-o", "OUT.png"], "no saved run"),
        (["stylize", CASTLE, NIGHT, "-o", "OUT.png", "--start", "black"], "black"),
        (["stylize", "no-such.jpg", NIGHT, "-o", "OUT.png"], "no-such.jpg"),
        (["stylize", CASTLE, str(ROOT), "-o", "OUT.png"], "folder"),
        (["stylize", CASTLE, NIGHT, "-o", "missing/OUT.png"], "missing"),
        (["stylize", CASTLE, NIGHT, "-o", "OUT.xyz"], "xyz"),
        (["stylize", CASTLE, NIGHT, "-o", "OUT.png", "--device", "toaster"], "toaster"),
        (["stylize", CASTLE, NIGHT, "-o", "OUT.png", "--weights", "magic"], "magic"),
        (["stylize", CASTLE, NIGHT, "-o", "OUT.png", "--network", "alexnet"], "resnet50"),
    ],
)
def test_an_error_is_one_sentence_and_status_1(arguments, words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    out, err = capfd.readouterr()
    assert out == ""  # found before the work began, not after
    assert words in err
    assert err.startswith("nst: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [[], ["paint"], ["stylize", CASTLE], ["stylize", CASTLE, NIGHT, "-o", "x.png", "--size", "3"]],
)
def test_a_wrong_call_is_status_2(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_an_interrupt_saves_the_best_picture_and_is_no_success(tmp_path, capfd, monkeypatch):
    from nst_helpers import transfer

    whole = transfer.stylize

    def interrupted(*arguments, **options):
        def stop(step, picture, losses):
            if step == 1:
                raise KeyboardInterrupt

        return whole(*arguments, **options, on_step=stop)

    monkeypatch.setattr(transfer, "stylize", interrupted)
    assert _stylize(tmp_path / "out.png") == 130
    assert (tmp_path / "out.png").is_file()
    assert "interrupted" in capfd.readouterr().err


def test_doctor_finds_this_machine_well(capfd):
    status = main(["doctor"])
    out, err = capfd.readouterr()
    assert status == 0, out
    for part in ("python", "packages", "device", "weights", "pictures", "jupyter-lab", "nbgrader"):
        assert f"ok  {part}" in out
    assert err == ""


def test_doctor_says_what_to_do_when_something_is_wrong(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("NST_CACHE", str(tmp_path))
    monkeypatch.setenv("NST_DEVICE", "toaster")
    assert main(["doctor"]) == 1
    out = capfd.readouterr().out
    assert "NOT device" in out
    assert "NOT weights" in out
    assert "-m nst_helpers.weights" in out


def test_weights_says_where_they_are(capfd):
    from nst_helpers.weights import cache_folder

    assert main(["weights"]) == 0
    assert main(["weights", "where"]) == 0
    assert str(cache_folder()) in capfd.readouterr().out


def test_weights_verify_is_no_success_when_they_are_missing(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("NST_CACHE", str(tmp_path))
    assert main(["weights", "verify"]) == 1
    assert "missing" in capfd.readouterr().out


def test_a_reader_who_has_read_enough_is_no_error():
    program = Path(sys.executable).parent / "nst"
    done = subprocess.run(
        f"{program} doctor | head -n 1", shell=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("ok  python")
    assert done.stderr == ""


def test_the_program_is_installed():
    program = Path(sys.executable).parent / "nst"
    done = subprocess.run([program, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "stylize" in done.stdout
