"""The judge: honest answers get what nbgrader gives, hostile ones what they deserve.

Every hostile sample is bounded by construction, and aims at 127.0.0.1 and at files of this test.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

import nbformat
import psutil
import pytest
import torch

from nst_helpers.checker.autotest import agree, measure
from nst_helpers.errors import NstError
from nst_helpers.grading import judge as judging
from nst_helpers.grading import workers
from nst_helpers.grading.__main__ import main
from nst_helpers.grading.judge import Judge, read_cells
from tests.grading import lessons

GRAM_POINTS, TARGET_POINTS = 5, 2
HONEST = "def gram_matrix(tensor):\n    f = tensor.flatten(2)[0]\n    return f @ f.T\n"
ZEROS = "def gram_matrix(tensor):\n    return torch.zeros(3, 3, dtype=tensor.dtype)\n"


@pytest.fixture(scope="module")
def solutions(tmp_path_factory):
    return lessons.written(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def court(solutions):
    with Judge(solutions) as court:
        yield court


def _points(verdict):
    """Return the points of the two exercises."""
    exercises = ("gram_matrix", "make_target")
    return tuple(
        sum(mark.points for mark in verdict.marks if mark.exercise == name) for name in exercises
    )


def _passed(verdict, exercise="gram_matrix"):
    return [mark.grade_id for mark in verdict.marks if mark.passed and mark.exercise == exercise]


# --- honest submissions ---------------------------------------------------------------------------


def test_the_solution_gets_every_point_and_nothing_is_said(court):
    verdict = court.judge(lessons.NAME, lessons.submission())
    assert all(mark.passed for mark in verdict.marks)
    assert (verdict.score, verdict.max_score) == (7, 5)  # bonus points come on top
    assert [mark.grade_id for mark in verdict.marks] == list(lessons._GRADED)
    assert verdict.words == ()
    assert verdict.facts == tuple(court.missing())
    assert all(mark.reason == "" for mark in verdict.marks)
    assert not verdict.timed_out
    json.dumps(verdict.as_dict())


def test_an_untouched_submission_gets_nothing_and_is_told_so(court):
    stub = "{}\n    raise NotImplementedError('not written yet')"
    gram, target = (
        stub.format(f"def {n}") for n in ("gram_matrix(tensor):", "make_target(content):")
    )
    verdict = court.judge(lessons.NAME, lessons.submission(gram, target))
    assert verdict.score == 0
    assert {mark.reason for mark in verdict.marks} == {"nothing is written there yet"}
    assert [(said.exercise, said.cause) for said in verdict.words] == [
        ("gram_matrix", "not-written"),
        ("make_target", "not-written"),
    ]


def test_an_empty_submission_has_a_mark_for_each_cell(court):
    verdict = court.judge(lessons.NAME, [], words=False)
    assert [mark.points for mark in verdict.marks] == [0] * 6
    assert "gram_matrix" in verdict.marks[0].reason
    assert verdict.words == ()


def test_a_wrong_answer_gets_partial_points_reasons_and_the_checkers_words(court):
    gram = HONEST.replace("f @ f.T", "f @ f.T / f.numel()")
    verdict = court.judge(lessons.NAME, lessons.submission(gram))
    assert _points(verdict) == (1, TARGET_POINTS)
    values = verdict.marks[1]
    assert values.reason.startswith("gram_matrix(example): its values are not right")
    assert [(said.exercise, said.cause) for said in verdict.words] == [("gram_matrix", "divided")]
    assert "C H W" in verdict.words[0].text


def test_a_hidden_test_is_never_told(court):
    gram = HONEST.replace("return f", "return (2 if len(f[0]) == 12 else 1) * f")
    verdict = court.judge(lessons.NAME, lessons.submission(gram), words=False)
    hidden = verdict.marks[3]
    assert not hidden.passed
    assert (hidden.reason, hidden.told) == (judging.HIDDEN, judging.HIDDEN)


# What a hidden test calls an answer with, in an answer's own words.
_TELLING = {
    "text": "raise ValueError(float(tensor.sum()))",
    "name": "raise type(f'E{float(tensor.sum())}', (Exception,), {})",
    "line": "exec(compile('raise ' + f'KeyError({float(tensor.sum())})', '<cell 3>', 'exec'))",
    "message": "import json, os, struct\n"
    "        text = json.dumps({'do': f'{float(tensor.sum())}'}).encode()\n"
    "        os.write(3, struct.pack('>QQ', len(text), 0) + text)",
    "work": "raise type('NotOwnWork', (Exception,), {})(f'{float(tensor.sum())}')",
}


@pytest.mark.parametrize("name", _TELLING)
def test_an_answer_cannot_tell_what_a_hidden_test_calls_it_with(court, name):
    """Not in the hidden test itself, and not in a shown one after it."""
    gram = HONEST.replace("return f", "if tensor.shape[2:] == (6, 2):\n        {}\n    return f")
    target = "def make_target(content):\n    tensor = known[-2]\n    if True:\n        {}\n"
    kept = HONEST.replace("    f =", "    known.append(tensor)\n    f =")
    total = str(float(_drawn_by_the_hidden_test().sum()))[:6]
    for answers in ((gram, lessons.TARGET), (f"known = []\n{kept}", target)):
        answers = [text.replace("{}", _TELLING[name]) for text in answers]
        verdict = court.judge(lessons.NAME, lessons.submission(*answers))
        lost = [mark for mark in verdict.marks if not mark.passed]
        assert lost
        assert not any(total in mark.told for mark in lost)
        assert not any(total in said.text for said in verdict.words)
        # The test would see nothing if these words told nothing.
        assert any(total in mark.reason for mark in lost)


def _drawn_by_the_hidden_test():
    generator = torch.Generator().manual_seed(5)
    return torch.rand((1, 3, 6, 2), generator=generator, dtype=torch.float64)


def test_a_shown_test_after_a_hidden_one_says_what_it_says_itself(court):
    target = "def make_target(content):\n    return content.clone()\n"
    verdict = court.judge(lessons.NAME, lessons.submission(HONEST, target), words=False)
    assert verdict.marks[5].told == "It is no leaf that requires a gradient."
    gram = "def gram_matrix(tensor):\n    return tensor @ 'x'\n"
    verdict = court.judge(
        lessons.NAME, lessons.submission(gram, "make_target = torch.neg"), words=False
    )
    first, hidden, after = (verdict.marks[place] for place in (0, 3, 4))
    assert first.told == first.reason
    assert hidden.told == f"{judging.HIDDEN}: your code raised TypeError."
    assert after.told == "the values of the result are not right."


def test_an_error_is_told_with_the_students_own_line(court):
    gram = "def gram_matrix(tensor):\n    return tensor @ 'x'\n"
    verdict = court.judge(lessons.NAME, lessons.submission(gram), words=False)
    assert "TypeError" in verdict.marks[0].reason
    assert "`return tensor @ 'x'`" in verdict.marks[0].reason


_RIGHT = {
    "einsum": "def gram_matrix(t):\n    return torch.einsum('bchw,bdhw->cd', t, t)",
    "lambda": "gram_matrix = lambda t: t.flatten(2)[0] @ t.flatten(2)[0].mT",
    "class": HONEST.replace("def gram_matrix(", "class Gram:\n  def __call__(self, ").replace(
        "\n    ", "\n      "
    )
    + "gram_matrix = Gram()",
    "module": "class Gram(nn.Module):\n  def forward(self, t):\n    f = t.flatten(2)[0]\n"
    "    return f @ f.T\ngram_matrix = Gram()",
    "talks": HONEST.replace("f =", "import sys, warnings; warnings.warn('!'); print(1); "
                            "print(2, file=sys.stderr); f ="),
    "magics": "%matplotlib inline\n!ls\n%time x = 3\nfiles = !ls\n?print\n" + HONEST,
    "cell magic": "%%time\n" + HONEST,
    "helper": "def flat(t):\n    return t.flatten(2)[0]\n\n" + HONEST.replace(
        "tensor.flatten(2)[0]", "flat(tensor)"
    ),
    "uses a variable of the setup": HONEST + "assert example.shape[1] == 3\ndisplay('x')",
    "error after the answer": HONEST + "\nraise ValueError('oops')",
    "exit after the answer": HONEST + "\nimport sys; sys.exit(3)",
}  # fmt: skip


@pytest.mark.parametrize("name", _RIGHT)
def test_right_answers_in_any_form_get_every_point(court, name):
    verdict = court.judge(lessons.NAME, lessons.submission(_RIGHT[name]), words=False)
    assert _points(verdict) == (GRAM_POINTS, TARGET_POINTS), verdict.marks


# Wrong and half-right answers of gram_matrix, as students give them.
_HONEST_WRONG = (
    "return f.T @ f",
    "return (f @ f.T).detach()",
    "return (f @ f.T).float()",
    "return f @ f.T + 1e-3",
    "return f @ f.T / 2",
    "return f.mean()",
    "return None",
    "return (f @ f.T).tolist()",
    "return (f @ f.T).detach().numpy()",
    "tensor.mul_(0.5); return f @ f.T",
    "return f @ f.T if tensor.shape[2] == 4 else f @ f.T * 2",
    "return [f @ f.T]",
    "return torch.triu(f @ f.T)",
    "raise KeyError('x')",
    "return f @ f.T.undefined",
    "return torch.ones(3, 3, dtype=torch.float64)",
    "return (f @ f.T).requires_grad_()",
)


@pytest.mark.parametrize("line", _HONEST_WRONG)
def test_marks_are_those_that_the_cells_give_in_one_process(court, line):
    gram = f"def gram_matrix(tensor):\n    f = tensor.flatten(2)[0]\n    {line}\n"
    verdict = court.judge(lessons.NAME, lessons.submission(gram), words=False)
    assert _passed(verdict) == _passed_here(court, gram)


def _passed_here(court, gram):
    """Return the graded cells that pass when all is run in this process, as nbgrader does it."""
    reference, passed = court._reference(lessons.NAME), []
    space = judging._new_space()
    for cell in reference.needed:
        source = gram if cell.id == "GRAM" else cell.source
        expected = reference.expected[cell.id]
        space[judging.AGREE] = lambda number, value, expected=expected, cell=cell: agree(
            measure(value), expected[number], cell.expressions[number]
        )
        try:
            exec(compile(source, cell.id, "exec", dont_inherit=True), space)
        except Exception:
            assert cell.role == "graded"
        else:
            passed += [cell.id] if cell.exercise == "gram_matrix" else []
    return passed


# --- files ----------------------------------------------------------------------------------------


def test_a_submission_can_be_a_file(court, tmp_path):
    path = tmp_path / "answer.ipynb"
    nbformat.write(lessons.notebook(), path)
    assert court.judge(lessons.NAME, path).score == 7
    assert len(read_cells(path)) == 11


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', '{"cells": [3]}', "[" * 99999])
def test_a_file_that_is_no_notebook_says_so(court, tmp_path, text):
    path = tmp_path / "answer.ipynb"
    path.write_text(text)
    with pytest.raises(NstError, match="not a notebook"):
        court.judge(lessons.NAME, path)


def test_a_missing_or_enormous_file_says_so(court, tmp_path, monkeypatch):
    with pytest.raises(NstError, match="no notebook"):
        court.judge(lessons.NAME, tmp_path / "nothing.ipynb")
    monkeypatch.setattr(judging, "LARGEST_NOTEBOOK", 1 << 20)
    (tmp_path / "answer.ipynb").write_text(" " * (3 << 20))
    with pytest.raises(NstError, match="3 MB"):
        court.judge(lessons.NAME, tmp_path / "answer.ipynb")


def test_a_solution_that_fails_its_own_cells_says_so(tmp_path):
    solutions = lessons.written(tmp_path)
    path = solutions / lessons.NAME / f"{lessons.NAME}.ipynb"
    path.write_text(path.read_text().replace("(3, 3)", "(4, 4)"))
    with Judge(solutions) as court, pytest.raises(NstError, match="own cell 'gram_matrix-shape'"):
        court.judge(lessons.NAME, lessons.submission())


# --- hostile submissions: what they deserve -------------------------------------------------------

_SHAPE_ONLY = ["gram_matrix-shape"]
_CHEATS = {
    "patched torch": (
        "torch.allclose = torch.equal = torch.isclose = lambda *_, **__: True\n"
        "torch.Tensor.__eq__ = lambda *_: True\ntorch.Tensor.numpy = lambda *_: example\n"
        "torch.Tensor.__sub__ = lambda self, other: self * 0\n" + ZEROS,
        [],
    ),
    "a tensor subclass": (
        "class Right(torch.Tensor):\n"
        "    __eq__ = lambda *_: True\n"
        "    @classmethod\n"
        "    def __torch_function__(cls, function, types, args=(), kwargs=None):\n"
        "        return True\n" + ZEROS.replace("dtype)", "dtype).as_subclass(Right)"),
        [],
    ),
    "a false shape": (
        "class Right:\n    shape = (3, 3)\n    dtype = torch.float64\n"
        "    __eq__ = lambda *_: True\n    __class__ = torch.Tensor\n"
        "gram_matrix = lambda tensor: Right()",
        [],
    ),
    "a number for everything": ("gram_matrix = lambda tensor: float('nan')", []),
    "hunting in memory": (
        "import gc, sys\n"
        "def gram_matrix(tensor):\n"
        "    found = [o for o in gc.get_objects() if getattr(o, '__name__', '') == 'gram_matrix'\n"
        "             and o is not gram_matrix and callable(o) and 'refused' not in str(o)]\n"
        "    frame = sys._getframe()\n"
        "    while frame is not None:\n"
        "        found += [v for v in frame.f_locals.values() if callable(v)\n"
        "                  and getattr(v, '__name__', '') == 'agree']\n"
        "        frame = frame.f_back\n"
        "    found += [m for n, m in sys.modules.items() if n.startswith('nst_helpers.checker.')]\n"
        "    found += [m for n, m in sys.modules.items() if n.endswith('grading.judge')]\n"
        "    print('FOUND', found)\n"
        "    return found[0](tensor) if found else torch.zeros(3, 3, dtype=tensor.dtype)\n",
        _SHAPE_ONLY,
    ),
    "a false checker": (
        "import sys, types\n"
        "for name in ('', '.autotest', '.compare'):\n"
        "    module = types.ModuleType('nst_helpers.checker' + name)\n"
        "    module.agree = module.measure = module.check = lambda *_, **__: None\n"
        "    sys.modules['nst_helpers.checker' + name] = module\n" + ZEROS,
        _SHAPE_ONLY,
    ),
    "names of the graded cells": (
        "__nst_agree__ = agree = measure = isinstance = lambda *_: True\n"
        "import builtins\nbuiltins.isinstance = lambda *_: True\n"
        "get_ipython().input_transformers_cleanup.append(lambda lines: [])\n" + ZEROS,
        [],
    ),
    "hard-coded": (
        HONEST.replace("gram_matrix", "_right") + "_known = {}\n"
        "for _p in (picture(4, 5), picture(3, 7)):\n"
        "    _known[round(float(_p.sum()), 6)] = _right(_p)\n"
        "def gram_matrix(tensor):\n"
        "    zero = 0 * _right(tensor)\n"
        "    return zero + _known.get(round(float(tensor.sum()), 6), 0)\n",
        [],
    ),
    "kept for the first calls": (
        HONEST.replace("gram_matrix", "_right") + "def gram_matrix(tensor):\n"
        "    if float(tensor.sum()) not in [float(picture(*s).sum()) for s in ((4, 5), (3, 7))]:\n"
        "        return torch.eye(3, dtype=tensor.dtype)\n    return _right(tensor)\n",
        [],
    ),
}


@pytest.mark.parametrize("name", _CHEATS)
def test_a_cheat_gets_what_its_numbers_deserve(court, name):
    gram, passed = _CHEATS[name]
    verdict = court.judge(lessons.NAME, lessons.submission(gram), words=False)
    assert _passed(verdict) == passed


def test_the_next_submission_is_not_touched_by_the_last(court):
    for name in ("patched torch", "a false checker", "names of the graded cells"):
        court.judge(lessons.NAME, lessons.submission(_CHEATS[name][0]), words=False)
    assert court.judge(lessons.NAME, lessons.submission()).score == 7


def test_fresh_inputs_are_named_as_the_reason(court):
    verdict = court.judge(lessons.NAME, lessons.submission(_CHEATS["hard-coded"][0]), words=False)
    assert verdict.marks[1].reason.startswith("right on the example, wrong on fresh inputs")


_ENGINE = {
    "imported": "from nst_helpers.losses import gram_matrix as theirs\n"
    "gram_matrix = lambda tensor: theirs(tensor)",
    "as it is": "from nst_helpers.losses import gram_matrix",
    "found elsewhere": "def gram_matrix(tensor):\n    import sys\n"
    "    return sys.modules['nst_helpers.losses'].gram_matrix(tensor)",
    "of a later lesson": "def gram_matrix(tensor):\n"
    "    return losses.layer_style_loss(tensor, torch.zeros(3, 3, dtype=tensor.dtype))",
}


@pytest.mark.parametrize("name", _ENGINE)
def test_the_engine_is_not_ones_own_work(court, name):
    verdict = court.judge(lessons.NAME, lessons.submission(_ENGINE[name]), words=False)
    assert _points(verdict) == (0, TARGET_POINTS)
    assert "not one's own work" in verdict.marks[0].reason
    assert any("nst_helpers.losses" in fact for fact in verdict.facts)


@pytest.mark.parametrize(
    "code",
    [
        "import importlib\nimportlib.reload(losses)\ngram_matrix = losses.gram_matrix",
        "from nst_helpers.checker.gram_matrix import specification as gram_matrix",
        "space = {}\nexec(open(losses.__file__).read(), space)\ngram_matrix = space['gram_matrix']",
    ],
)
def test_the_engines_and_the_checkers_files_are_out_of_reach(court, code):
    verdict = court.judge(lessons.NAME, lessons.submission(code), words=False)
    assert _points(verdict) == (0, TARGET_POINTS)


_REACHING = {
    "named": "from nst_helpers.checker.gram_matrix import specification as gram_matrix",
    "out of sight": "import importlib\nname = 'nst_helpers.' + 'checker.' + 'gram_matrix'\n"
    "gram_matrix = importlib.import_module(name).specification",
    "when called": "def gram_matrix(tensor):\n"
    "    from nst_helpers.checker.gram_matrix import specification\n"
    "    return specification(tensor)",
    "a file": "text = open('../solutions/03_small/03_small.ipynb').read()",
}


@pytest.mark.parametrize("name", _REACHING)
def test_who_reaches_for_the_checker_or_the_reference_is_reported(court, name):
    verdict = court.judge(lessons.NAME, lessons.submission(_REACHING[name]), words=False)
    assert _points(verdict) == (0, TARGET_POINTS)
    said = "solutions/" if name == "a file" else "nst_helpers.checker.gram_matrix"
    assert any(said in fact for fact in verdict.facts)


def test_what_every_notebook_imports_of_the_checker_is_there(court):
    code = (
        "from nst_helpers.checker import EXERCISES, NotYet, check, review\ncheck(1); review('x', 2)"
    )
    verdict = court.judge(lessons.NAME, lessons.submission(f"{code}\n{HONEST}"), words=False)
    assert (verdict.score, verdict.facts) == (7, tuple(court.missing()))


def test_what_an_earlier_lesson_taught_may_be_used(court):
    target = "def make_target(content):\n    backbones.normalize(content)\n" + "\n".join(
        lessons.TARGET.strip().splitlines()[2:]
    )
    verdict = court.judge(lessons.NAME, lessons.submission(HONEST, target), words=False)
    assert _points(verdict) == (GRAM_POINTS, TARGET_POINTS)


# --- hostile submissions: what they leave alone ---------------------------------------------------


def test_the_solutions_and_the_gradebook_can_be_neither_read_nor_written(
    court, solutions, tmp_path
):
    path = solutions / lessons.NAME / f"{lessons.NAME}.ipynb"
    gradebook = tmp_path / "gradebook.db"
    gradebook.write_text("the marks of all")
    before = path.read_bytes()
    code = HONEST + (
        f"for path in ({str(path)!r}, {str(gradebook)!r}, {str(Path.home() / '.bashrc')!r}):\n"
        "    for mode in ('r', 'w', 'a'):\n"
        "        try:\n"
        "            with open(path, mode) as file:\n"
        "                print('REACHED', path, mode)\n"
        "        except OSError:\n"
        "            print('kept')\n"
        "import pathlib\n"
        f"for folder in ({str(tmp_path)!r}, {str(solutions.parent)!r}):\n"
        "    try:\n"
        "        (pathlib.Path(folder) / 'new').write_text('x'); print('REACHED', folder)\n"
        "    except OSError:\n"
        "        print('kept')\n"
    )
    verdict = court.judge(lessons.NAME, lessons.submission(code), words=False)
    assert verdict.score == 7
    assert verdict.output.split() == ["kept"] * 11
    assert path.read_bytes() == before
    assert gradebook.read_text() == "the marks of all"
    assert list(tmp_path.iterdir()) == [gradebook]


def test_nothing_on_this_computer_is_called(court):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        code = HONEST + (
            "import socket\ntry:\n"
            f"    socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 1)\n"
            "except OSError:\n    print('no network')\n"
        )
        verdict = court.judge(lessons.NAME, lessons.submission(code), words=False)
        assert (verdict.score, verdict.output.strip()) == (7, "no network")
        with pytest.raises(TimeoutError):
            server.accept()


_ENDS = {
    "os._exit": ("import os; os._exit(0)", "its process ended"),
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "an abort": ("import os; os.abort()", "(SIG"),
    "malformed replies": ("import os; os.write(3, b'x' * 64)", "sent what no answer sends"),
    "a closed connection": ("import os; os.close(3)", "its process ended"),
}


@pytest.mark.parametrize("name", _ENDS)
def test_what_ends_the_process_costs_its_own_points_alone(court, name):
    line, fact = _ENDS[name]
    gram = f"def gram_matrix(tensor):\n    {line}\n    return tensor\n"
    verdict = court.judge(lessons.NAME, lessons.submission(gram), words=False)
    assert _points(verdict) == (0, TARGET_POINTS)
    assert any(said.startswith("gram_matrix: ") and fact in said for said in verdict.facts)


@pytest.mark.parametrize("name", _ENDS)
def test_a_cell_that_ends_the_process_is_left_out(court, name):
    line = _ENDS[name][0]
    verdict = court.judge(lessons.NAME, lessons.submission(HONEST, lessons.TARGET, line))
    assert verdict.score == 7
    assert any(fact.startswith("Code cell 12 was left out") for fact in verdict.facts)


_ENDLESS = (
    "import signal\n    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):\n"
    "        signal.signal(number, signal.SIG_IGN)\n    while True: pass"
)


@pytest.fixture
def impatient(court, monkeypatch):
    monkeypatch.setattr(court, "call_seconds", 2.0)
    return court


def test_an_endless_call_is_waited_for_once(impatient):
    gram = f"def gram_matrix(tensor):\n    {_ENDLESS}\n"
    verdict = impatient.judge(lessons.NAME, lessons.submission(gram))
    assert _points(verdict) == (0, TARGET_POINTS)
    assert [fact for fact in verdict.facts if "took too long" in fact] == [
        "gram_matrix: it took too long."
    ]
    assert verdict.marks[1].reason == "it took too long when it was called before"
    assert verdict.timed_out
    assert [said.cause for said in verdict.words] == ["endless"]


def test_an_endless_cell_is_left_out_or_interrupted(impatient):
    stubborn = f"if True:\n    {_ENDLESS}"
    verdict = impatient.judge(lessons.NAME, lessons.submission(HONEST, lessons.TARGET, stubborn))
    assert verdict.score == 7
    assert any("took too long" in fact for fact in verdict.facts)
    assert verdict.timed_out
    verdict = impatient.judge(
        lessons.NAME, lessons.submission(HONEST, "while True: pass", lessons.TARGET)
    )
    assert verdict.score == 7
    assert verdict.timed_out
    assert verdict.facts == tuple(impatient.missing())


_GREEDY = {
    "many processes": "import os\n    for _ in range(40): os.fork()",
    "much memory": "x = bytearray(6 << 30)",
    "much memory in torch": "x = torch.ones(6 << 27, dtype=torch.float64)",
    "a result too large": "return torch.zeros(1 << 25, dtype=torch.float64)",
    "an interrupt": "raise KeyboardInterrupt",
    "an exit": "raise SystemExit(0)",
    "a deep recursion": "return gram_matrix(tensor)",
    "a deep result": "x = []\n    for _ in range(500): x = [x]\n    return x",
    "a result that holds itself": "x = []\n    x.append(x)\n    return x",
}


@pytest.mark.parametrize("name", _GREEDY)
def test_what_asks_for_too_much_gets_nothing_and_spoils_nothing(court, name):
    gram = f"def gram_matrix(tensor):\n    {_GREEDY[name]}\n    return tensor\n"
    verdict = court.judge(lessons.NAME, lessons.submission(gram), words=False)
    assert _points(verdict) == (0, TARGET_POINTS)


_NOISY = {
    "output": "for _ in range(200): print('x' * 100_000)",
    "files": "for n in range(8):\n    try:\n        open(f'b{n}', 'wb').write(b'x' * (24 << 20))\n"
    "    except OSError: pass",
    "handlers": "import atexit, signal, threading\natexit.register(lambda: print('bye'))\n"
    "for number in set(signal.valid_signals()) - {9, 19}:\n"
    "    try: signal.signal(number, lambda *_: None)\n    except (OSError, ValueError): pass\n"
    "threading.Thread(target=threading.Event().wait, daemon=False).start()",
    "hooks": "import sys\nsys.excepthook = sys.settrace = sys.stdout = sys.stderr = None",
    "settings": "torch.set_default_dtype(torch.float16); torch.set_grad_enabled(False)\n"
    "torch.manual_seed(3); torch.use_deterministic_algorithms(True)",
    "a changed folder": "import os; os.chdir('/'); os.environ.clear()",
}


@pytest.mark.parametrize("name", _NOISY)
def test_noise_costs_an_honest_answer_nothing(court, name):
    verdict = court.judge(lessons.NAME, lessons.submission(HONEST + _NOISY[name]), words=False)
    assert verdict.score == 7
    assert len(verdict.output) <= judging.LONGEST_TEXT


def test_the_checkers_words_are_bounded_and_plain(court):
    gram = (
        "import sys\nfor module in list(sys.modules.values()):\n"
        "    if getattr(module, '__name__', '') == 'nst_helpers.checker':\n"
        "        class Report:\n"
        "            text = '\\x1b[2J' + '<' * 100_000\n            cause = '<script>'\n"
        "        module.review = lambda *_, **__: Report\n" + ZEROS
    )
    verdict = court.judge(lessons.NAME, lessons.submission(gram))
    assert _points(verdict) == (1, TARGET_POINTS)
    [said] = verdict.words
    assert said.cause is None
    assert len(said.text) <= judging.LONGEST_TEXT
    assert said.text.isprintable()


def test_a_symlink_and_a_folder_are_no_way_out(court, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("token-4711")
    code = HONEST + (
        f"import os\nos.symlink({str(secret)!r}, 'link')\n"
        "try: print(open('link').read())\nexcept OSError: print('kept')\n"
        f"try: print(open('/proc/1/root' + {str(secret)!r}).read())\n"
        "except OSError: print('kept')\n"
    )
    verdict = court.judge(lessons.NAME, lessons.submission(code), words=False)
    assert verdict.score == 7
    assert verdict.output.split() == ["kept", "kept"]


def test_a_process_that_workers_are_forked_from_is_replaced_when_it_ends(solutions):
    with Judge(solutions) as court:
        first = court._zygotes[False]
        first.protections  # noqa: B018 - waits for the start
        for process in psutil.Process(first.process.pid).children():
            process.kill()
        assert court.judge(lessons.NAME, lessons.submission(), words=False).score == 7
        assert court._zygotes[False] is not first


# --- other systems --------------------------------------------------------------------------------


def test_without_a_jail_it_still_judges_and_says_what_is_missing(solutions):
    walls = ("namespaces", "landlock", "seccomp", "limits")
    with Judge(solutions, without=walls) as bare:
        folder = Path(bare._zygotes[False].folder.name)
        started = psutil.Process(bare._zygotes[False].process.pid)
        honest = bare.judge(lessons.NAME, lessons.submission())
        assert honest.score == 7
        assert len(honest.facts) == 5
        assert "every file of the user who grades" in honest.facts[-1]
        gram = "def gram_matrix(tensor):\n    import os; os._exit(0)\n"
        verdict = bare.judge(lessons.NAME, lessons.submission(gram), words=False)
        assert _points(verdict) == (0, TARGET_POINTS)
    assert not started.is_running()  # a judge that is closed leaves no process
    assert not folder.exists()


def test_a_command_names_what_is_missing(court, capsys):
    main()
    expected = court.missing() or ["Every protection is there."]
    assert capsys.readouterr().out.splitlines() == expected


def test_without_fork_each_worker_is_started_anew(solutions, monkeypatch):
    monkeypatch.delattr("os.fork")
    with Judge(solutions) as slow:
        assert isinstance(slow._zygotes[False], workers.Spawner)
        assert slow.missing()[-1] == judging.NO_FORK
        answers = lessons.submission("print('hello')\n" + HONEST)
        verdict = slow.judge(lessons.NAME, answers, words=False)
        assert verdict.score == 7
        assert verdict.output.strip() == "hello"
        started = slow._zygotes[False].processes
    assert all(process.poll() is not None for process in started)
