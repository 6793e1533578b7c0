"""The checker's entry points, its reports, and answers that are meant to break it."""

from __future__ import annotations

import functools
import importlib
import inspect
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from nst_helpers.checker import EXERCISES, NotYet, check, review
from nst_helpers.checker.__main__ import main
from nst_helpers.checker.functions import wrong_there
from tests.checker import banks


def gram_matrix(tensor):
    features = tensor.flatten(2)[0]
    return features @ features.T


def divided(tensor):
    return gram_matrix(tensor) / tensor.numel()


# --- entry points ---------------------------------------------------------------------------------


def test_a_right_answer_passes_and_says_what_was_tried():
    report = review("gram_matrix", gram_matrix)
    assert report.passed
    assert report.cause is None
    assert report.text.startswith("gram_matrix: right.")


def test_a_wrong_answer_is_told_with_its_numbers_and_its_cause():
    report = review("gram_matrix", divided)
    assert not report.passed
    assert report.cause == "divided"
    assert "times too small" in report.text
    assert "= C H W here" in report.text


def test_an_unknown_exercise_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'gram'.*gram_matrix.*optimize_lbfgs\.$"):
        review("gram", gram_matrix)


def test_inputs_are_drawn_afresh_and_a_seed_repeats_them():
    seen = []

    def spy(tensor):
        seen.append(tensor.detach().clone())
        return gram_matrix(tensor)

    for seed in (None, None, 7, 7):
        review("gram_matrix", spy, seed=seed)
        seen.append(None)
    runs, run = [], []
    for tensor in seen:
        if tensor is None:
            runs.append(run)
            run = []
        elif tensor.device.type != "meta":
            run.append(tensor)
    one, two, three, four = runs
    assert all(torch.equal(a, b) for a, b in zip(three, four, strict=True))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, two, strict=False))


def test_the_generators_of_the_student_are_left_alone():
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    review("gram_matrix", divided)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_nothing_an_answer_prints_or_warns_reaches_the_page(capfd):
    def talkative(tensor):
        import warnings

        print("hello", tensor)
        print("trouble", file=sys.stderr)
        warnings.warn("careful", stacklevel=1)
        return gram_matrix(tensor)

    assert review("gram_matrix", talkative).passed
    assert capfd.readouterr() == ("", "")


def test_check_shows_the_report_and_raises_not_yet(capsys):
    check(gram_matrix)
    assert "gram_matrix: right." in capsys.readouterr().out
    with pytest.raises(NotYet) as caught:
        check(divided, "gram_matrix")
    assert "gram_matrix: not yet." in capsys.readouterr().out
    assert isinstance(caught.value, AssertionError)
    # What nbgrader's Validate and a notebook show instead of a traceback.
    assert caught.value._render_traceback_() == caught.value.report.text.split("\n")


def test_check_knows_the_exercise_by_name_and_asks_when_it_does_not(capsys):
    with pytest.raises(ValueError, match=r"check\(my_function, 'gram_matrix'\)"):
        check(divided)
    with pytest.raises(NotYet):
        check({"0": "conv1_1"})
    assert "LAYERS: not yet." in capsys.readouterr().out


def test_a_report_is_readable_in_any_theme():
    for answer in (gram_matrix, divided):
        bundle = review("gram_matrix", answer)._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "text/html"}
        for line in bundle["text/plain"].split("\n"):
            assert line.removeprefix("  - ").replace("'", "&#x27;") in bundle["text/html"]
        assert "var(--" not in bundle["text/html"]
        assert "<style" not in bundle["text/html"]


def test_what_a_student_wrote_is_escaped():
    def bad(tensor):
        raise ValueError("<script>alert(1)</script>")

    html = review("gram_matrix", bad)._repr_mimebundle_()["text/html"]
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_students_own_line_is_quoted():
    def by_hand(tensor):
        _, d, h, w = tensor.shape
        features = tensor.view(d, h * w)
        return features @ features  # the transpose is missing

    report = review("gram_matrix", by_hand)
    assert "`return features @ features  # the transpose is missing`" in report.text
    assert "two tensors do not fit together" in report.text


def test_an_answer_may_look_at_its_numbers():
    def careful(tensor):
        if torch.isnan(tensor).any():
            raise ValueError("nan came in")
        assert torch.isfinite(tensor).all()
        gram = gram_matrix(tensor)
        print(f"largest {gram.max().item():.3f}", gram.detach().cpu().numpy())
        return gram

    assert review("gram_matrix", gram_matrix_with(careful)).passed


def gram_matrix_with(function):
    """Return an answer of the right signature that calls another function."""

    def gram_matrix(tensor):
        return function(tensor)

    return gram_matrix


def test_the_own_line_is_found_behind_a_decorator():
    @torch.no_grad()
    def decorated(tensor):
        return tensor.no_such_method()

    assert "`return tensor.no_such_method()`" in review("gram_matrix", decorated).text


def test_a_case_moved_to_another_device_is_the_same_case():
    """The path a CUDA device takes where there is one, on the device that is always there."""
    from nst_helpers.checker.functions import _try, on_device
    from nst_helpers.checker.gram_matrix import GRAM_MATRIX, Draw

    draw = Draw(1)
    case = on_device(GRAM_MATRIX.cases(draw)[1], "cpu")
    assert case.arguments["tensor"].dtype == torch.float32
    assert _try(GRAM_MATRIX, gram_matrix, case, draw).findings == []
    assert _try(GRAM_MATRIX, divided, case, draw).findings != []


def test_importing_the_checker_brings_nothing_heavy():
    code = (
        "import sys, torch; before = set(sys.modules); import nst_helpers.checker; "
        "from nst_helpers.checker import style_transfer, losses, feature_extraction, get_features; "
        "new = set(sys.modules) - before; "
        "heavy = {'torchvision', 'matplotlib', 'IPython', 'ipywidgets', 'nbgrader', 'PIL'}; "
        "engine = {'nst_helpers.' + n for n in ('transfer', 'losses', 'backbones', 'weights')}; "
        "sys.exit(str(sorted(new & (heavy | engine)) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


# --- the command ----------------------------------------------------------------------------------


def _file(tmp_path, text: str) -> str:
    path = tmp_path / "answer.py"
    path.write_text(text)
    return str(path)


RIGHT = "def gram_matrix(tensor):\n    f = tensor.flatten(2)[0]\n    return f @ f.T\n"


def test_the_command_reviews_a_function_in_a_file(tmp_path, capsys):
    assert main(["gram_matrix", _file(tmp_path, RIGHT)]) == 0
    assert "right" in capsys.readouterr().out
    assert main(["gram_matrix", _file(tmp_path, RIGHT.replace("f.T", "f.T / f.numel()"))]) == 1
    assert "cause: divided" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("exercise", "text", "words"),
    [
        ("gram_matrix", "x = 1", "defines no gram_matrix"),
        ("gram_matrix", "import no_such_module", "could not be run (ModuleNotFoundError"),
        ("gram_matrix", "def broken(", "could not be run (SyntaxError"),
        ("gram_matrix", "import sys; sys.exit(0)", "could not be run (SystemExit"),
        ("gram", RIGHT, "no exercise 'gram'"),
    ],
)
def test_what_cannot_be_reviewed_is_status_2_and_a_sentence(
    tmp_path, capsys, exercise, text, words
):
    assert main([exercise, _file(tmp_path, text)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_a_missing_file_is_status_2(tmp_path, capsys):
    assert main(["gram_matrix", str(tmp_path / "none.py")]) == 2
    assert "no file" in capsys.readouterr().err


def test_the_command_works_from_a_shell(tmp_path):
    command = [sys.executable, "-m", "nst_helpers.checker", "gram_matrix", _file(tmp_path, RIGHT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


# --- answers that are meant to break it -----------------------------------------------------------


class Liar(torch.Tensor):
    """A tensor that claims to equal everything."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (torch.equal, torch.allclose, torch.Tensor.__eq__):
            return True
        return super().__torch_function__(func, types, args, kwargs or {})


class Awkward:
    """An object that raises whatever is asked of it."""

    def __getattribute__(self, name):
        raise RuntimeError("do not look at me")

    def __repr__(self):
        raise RuntimeError("do not print me")


def lying_tensor(*arguments, **keywords):
    return torch.zeros(2, 2).as_subclass(Liar)


def exits(*arguments, **keywords):
    raise SystemExit(0)


def awkward_result(*arguments, **keywords):
    return Awkward()


def endless_recursion(*arguments, **keywords):
    return endless_recursion(*arguments, **keywords)


class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raises_oddly(*arguments, **keywords):
    raise Odd


def stops_iteration(*arguments, **keywords):
    raise StopIteration


def patches_torch(*arguments, **keywords):
    torch.allclose = lambda *a, **k: True
    torch.equal = lambda *a, **k: True
    return torch.zeros(2, 2)


HOSTILE = [
    *[lying_tensor, exits, awkward_result, endless_recursion, raises_oddly, stops_iteration],
    *[patches_torch, None, ..., 3, "gram_matrix", torch, torch.nn.MSELoss, Awkward(), [], {}],
    torch.zeros(3, 3),
    object(),
    lambda: None,
    iter(()),
]


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_no_answer_breaks_the_review(exercise, number, monkeypatch):
    monkeypatch.setattr(torch, "allclose", torch.allclose)
    monkeypatch.setattr(torch, "equal", torch.equal)
    report = review(exercise, HOSTILE[number])
    assert not report.passed
    assert report.text
    assert report._repr_mimebundle_()["text/html"]


def test_a_students_interrupt_still_interrupts():
    def pressed(tensor):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        review("gram_matrix", pressed)


# --- other devices --------------------------------------------------------------------------------

# These are tried with float32 once on the CPU, and then on each accelerator; the others are tried
# on accelerators at the end.
FLOAT32_ONCE = ("freeze", "optimize", "optimize_lbfgs")


class _BrokenElsewhere:
    """A right answer that goes wrong in the call that an accelerator is tried with."""

    def __init__(self, exercise, answer):
        self.exercise, self.answer = exercise, answer
        self.asked = self.broke = False
        self.singles = 0

    def accelerators(self):
        """Stand in for the accelerator that this machine may lack: the CPU once more."""
        self.asked = True
        return ["cpu"]

    def now(self, first):
        if self.broke or not self.asked:
            return False
        first = next(iter(first.values())) if isinstance(first, dict) else first
        if self.exercise in FLOAT32_ONCE:
            first = next(first.parameters()) if isinstance(first, torch.nn.Module) else first
            self.singles += first.dtype == torch.float32
            return self.singles == 2
        return first.device.type != "meta"

    def call(self, *arguments):
        result = self.answer(*arguments)
        if not self.now(arguments[0]):
            return result
        self.broke = True
        if isinstance(result, torch.Tensor):
            return result + 1
        return (lambda target: result(target) + 1) if callable(result) else None


def _patched_accelerators(monkeypatch, stand_in):
    for name in ("adam", "feature_extraction", "functions", "get_features", "lbfgs"):
        monkeypatch.setattr(f"nst_helpers.checker.{name}.accelerators", stand_in)
    monkeypatch.setattr("nst_helpers.checker.style_transfer.accelerators", stand_in)


@pytest.mark.parametrize("exercise", [name for name in EXERCISES if name != "LAYERS"])
def test_an_accelerator_is_tried_where_there_is_one(exercise, monkeypatch):
    importlib.import_module(f"tests.checker.banks.{exercise}")
    right = next(s for s in banks.SAMPLES if s.exercise == exercise and s.causes is None).answer()
    _patched_accelerators(monkeypatch, lambda: ["cpu"])
    assert review(exercise, right).passed
    broken = _BrokenElsewhere(exercise, right)
    _patched_accelerators(monkeypatch, broken.accelerators)
    names = list(inspect.signature(right).parameters.values())
    # With the right answer's own signature, as answers are called by name, too.
    spy = functools.wraps(right)(lambda *given, **named: broken.call(*given, *named.values()))
    spy.__signature__ = inspect.Signature(names)
    assert not review(exercise, spy).passed
    assert broken.broke


def test_values_that_are_wrong_on_an_accelerator_are_seen():
    right = torch.arange(6.0).view(2, 3)
    assert not list(wrong_there(right * (1 + 1e-7), right, 16))
    (found,) = wrong_there(right * 1.01, right, 16)
    assert found.cause == "wrong-device"
    assert not list(wrong_there(right.to("meta"), right.to("meta"), 16))


@pytest.mark.timeout(60)
def test_a_term_that_happens_to_be_nothing_is_drawn_again():
    """Of a target that equals the style every style term is 0, and no weight could balance it."""
    from nst_helpers.checker import style_transfer
    from nst_helpers.checker.draw import Draw
    from nst_helpers.checker.networks import small_vgg19

    draw = Draw(7)
    content, style = draw.activation(3, 18, 20), draw.activation(3, 18, 20)
    model = small_vgg19(draw, until=28)
    scene = style_transfer._balanced(draw, "w", content, style, model, 3, [style.clone()])
    settings = scene.settings
    assert np.isfinite([settings.alpha, settings.beta, *settings.weights.values()]).all()
    assert not torch.equal(scene.targets[0], style)
    assert scene.targets[0].shape == style.shape


def test_scenes_that_hang_on_a_rounding_are_told_from_steady_ones():
    from nst_helpers.checker.draw import Draw
    from nst_helpers.checker.networks import small_vgg19
    from nst_helpers.checker.objectives import STEADY, Scene, Settings

    draw = Draw(11)
    content = draw.activation(3, 18, 20)
    model = small_vgg19(draw, until=28)

    def is_steady(target: torch.Tensor) -> bool:
        return Scene("w", content, content, model, Settings(1, 1, {}), [target]).is_steady()

    targets = [draw.activation(3, 18, 20) for _ in range(20)]
    steady = [target for target in targets if is_steady(target)]
    assert 5 < len(steady) < 20
    with torch.no_grad():
        near = model[0](steady[0])[0, 0, 3, 4] - 0.1 * STEADY
        model[0].bias[0] -= near  # now a ReLU has to decide about a number next to 0
    assert not is_steady(steady[0])
