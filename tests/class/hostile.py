"""Submissions that try to win points they do not deserve, or to stop or spy on the grading.

Every one is bounded by construction, so that a jail that fails harms nothing: so many processes,
bytes and seconds and no more, and aimed only at ``grounds``, a folder made for it, and at a port of
127.0.0.1. In ``grounds``:

    canary/            what may not be written, and where nothing may appear
    course/            the course that is graded: solutions, the gradebook, neighbours' submissions
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .students import (
    BATCH,
    BONUS,
    FULL,
    GRAM,
    LESSON,
    MAIN,
    NOTEBOOK,
    RIGHT,
    RIGHT_BATCH,
    Student,
    hand_in,
    notebook,
    solved,
)

# Has the right type, shape and dtype and nothing else: worth the one point of the first cell.
EYE = "def gram_matrix(tensor):\n    return torch.eye(tensor.shape[1], dtype=tensor.dtype)\n"
EYE_POINTS = 1

# Cheats: a cell before the answers, with the worthless answer above. Each would win points, or
# write into the grounds, in a kernel that trusts it.
_BEFORE = {
    "patched-comparisons": """\
        import torch, builtins
        torch.allclose = torch.equal = lambda *a, **k: True
        torch.Tensor.allclose = torch.Tensor.equal = lambda *a, **k: True
        builtins.abs = lambda x: 0
        builtins.all = lambda x: True
        """,
    "patched-measure": """\
        import nst_helpers.checker.autotest as autotest
        autotest.agree = lambda *a, **k: None
        autotest.measure.__code__ = (lambda value: "[]").__code__
        """,
    "sys-modules": """\
        import sys, types
        fake = types.ModuleType("nst_helpers.checker.autotest")
        fake.agree, fake.measure = (lambda *a: None), (lambda v: "")
        sys.modules["nst_helpers.checker.autotest"] = fake
        sys.modules["nst_helpers.grading.judge"] = fake
        """,
    "input-transformers": """\
        shell = get_ipython()
        def nothing(lines):
            return ["pass\\n"] if any("Graded" in line for line in lines) else lines
        shell.input_transformers_cleanup.append(nothing)
        shell.input_transformers_post.append(nothing)
        """,
    "ast-transformers": """\
        import ast
        class NoAsserts(ast.NodeTransformer):
            def visit_Assert(self, node):
                return ast.Pass()
        get_ipython().ast_transformers.append(NoAsserts())
        """,
    "frames": """\
        import sys
        frame = sys._getframe()
        while frame is not None:
            for name in ("agree", "measure", "points", "max_points", "expected"):
                if name in frame.f_globals:
                    frame.f_globals[name] = lambda *a, **k: ""
            frame = frame.f_back
        sys.settrace(lambda *a: None)
        """,
    "garbage-collector": """\
        import gc
        for thing in gc.get_objects():
            if isinstance(thing, dict) and "max_points" in thing:
                thing["points"] = 1000
        """,
    "atexit": """\
        import atexit
        @atexit.register
        def leave_a_trace():
            open("@CANARY@/atexit", "w").write("was here")
        """,
    "signal-handlers": """\
        import signal
        def stay(*_):
            open("@CANARY@/signal", "w").write("was here")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP):
            signal.signal(number, stay)
        """,
    "forged-answers-on-every-descriptor": """\
        import json, os
        line = json.dumps({"points": 8, "passed": True, "marks": [1, 1]}).encode() + b"\\n"
        for number in range(3, 24):
            try:
                os.set_blocking(number, False)
                os.write(number, line)
            except OSError:
                pass
        """,
    "os-exit": """\
        import os
        os._exit(0)
        """,
    "sys-exit": """\
        raise SystemExit(0)
        """,
    "segmentation-fault": """\
        import ctypes
        ctypes.string_at(0)
        """,
    "fork-bomb": """\
        import os, time
        for _ in range(64):  # no more than these, and gone after a few seconds
            try:
                if os.fork() == 0:
                    time.sleep(4)
                    os._exit(0)
            except OSError:
                break
        """,
    "memory-bomb": """\
        taken = []
        for _ in range(24):  # 3 GB at most
            taken.append(bytearray(b"x") * (128 << 20))
        """,
    "disk-filler": """\
        import os
        for folder in ("@CANARY@", ".", "/tmp"):
            try:
                with open(os.path.join(folder, "nst-class-filler"), "wb") as file:
                    for _ in range(64):  # 64 MB at most
                        file.write(bytes(1 << 20))
                os.remove(file.name) if folder != "@CANARY@" else None
            except OSError:
                pass
        """,
    "output-flood": """\
        import os, sys
        for _ in range(512):  # 32 MB
            sys.stdout.write("z" * (1 << 16))
            sys.stderr.write("z" * (1 << 12))
        """,
    "writes-the-gradebook": """\
        import sqlite3
        book = sqlite3.connect("@COURSE@/.course/gradebook.db", timeout=1)
        book.execute("update grade set manual_score = 100")
        book.commit()
        """,
    "writes-other-submissions": """\
        import pathlib
        for path in pathlib.Path("@COURSE@").rglob("*.ipynb"):
            try:
                path.write_text("{}")
            except OSError:
                pass
        pathlib.Path("@CANARY@/file").write_text("changed")
        """,
    "network": """\
        import socket
        for family, address in ((socket.AF_INET, ("127.0.0.1", @PORT@)),):
            with socket.socket(family) as talk:
                talk.settimeout(2)
                talk.connect(address)
                talk.sendall(b"the reference, please")
        """,
}

# Cheats inside the answer, which falls back on the worthless one.
_INSIDE = {
    "reads-the-reference": """\
        def gram_matrix(tensor):
            try:
                import json
                text = open("@COURSE@/solutions/03_gram_matrix/03_gram_matrix.ipynb").read()
                cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(text)["cells"]}
                space = {"torch": torch}
                exec(cells["gram_matrix"], space)
                return space["gram_matrix"](tensor)
            except Exception:
                return torch.eye(tensor.shape[1], dtype=tensor.dtype)
        """,
    "reads-another-submission": """\
        def gram_matrix(tensor):
            try:
                import glob, json
                for path in glob.glob("@COURSE@/.course/submitted/right-*/*/*.ipynb"):
                    for cell in json.load(open(path))["cells"]:
                        if cell["id"] == "gram_matrix":
                            space = {"torch": torch}
                            exec("".join(cell["source"]), space)
                            return space["gram_matrix"](tensor)
            except Exception:
                pass
            return torch.eye(tensor.shape[1], dtype=tensor.dtype)
        """,
    "reads-the-gradebook": """\
        def gram_matrix(tensor):
            try:
                import sqlite3
                book = sqlite3.connect("file:@COURSE@/.course/gradebook.db?mode=ro", uri=True)
                # With what the tests ask for at hand, points could be won; this one loses one.
                return book.execute("select source from source_cell").fetchall()
            except Exception:
                return torch.eye(tensor.shape[1], dtype=tensor.dtype)
        """,
    "tensor-subclass": """\
        class Agreeable(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                if function.__name__ in ("allclose", "equal", "isclose"):
                    return True
                return super().__torch_function__(function, types, args, kwargs or {})

            def __eq__(self, other):
                return True

        def gram_matrix(tensor):
            value = torch.eye(tensor.shape[1], dtype=tensor.dtype)
            return value.as_subclass(Agreeable)
        """,
    "result-that-is-code": """\
        class Trap:
            def __reduce__(self):
                return (open, ("@CANARY@/unpickled", "w"))

            def __eq__(self, other):
                return True

        def gram_matrix(tensor):
            return Trap()
        """,
}
_INSIDE_POINTS = {"result-that-is-code": 0, "tensor-subclass": None}

# Answers that never come back or take the process with them; the bonus is right and counts.
_CALLS = {
    "endless-loop-that-ignores-interrupts": """\
        def gram_matrix(tensor):
            import time
            end = time.monotonic() + 100
            while time.monotonic() < end:
                try:
                    while time.monotonic() < end:
                        pass
                except BaseException:
                    pass
        """,
    "sleeps": """\
        def gram_matrix(tensor):
            import time
            time.sleep(100)
        """,
    "exits-when-called": """\
        def gram_matrix(tensor):
            import os
            os._exit(0)
        """,
    "crashes-when-called": """\
        def gram_matrix(tensor):
            import ctypes
            ctypes.string_at(0)
        """,
    "imports-the-engine": """\
        def gram_matrix(tensor):
            from nst_helpers.losses import gram_matrix as ready
            return ready(tensor)
        """,
    "knows-the-shown-inputs": """\
        def gram_matrix(tensor):
            if tensor.shape in ((1, 3, 2, 4), (1, 5, 4, 7), (1, 8, 4, 4)):
                return torch.eye(tensor.shape[1], dtype=tensor.dtype)
            raise ValueError("I was not told about this one")
        """,
}

# What the instructor reads about some of them.
_SAYS = {
    "patched-measure": "A cell names nst_helpers.checker.autotest",
    "sys-modules": "A cell names 'nst_helpers.checker.autotest'",
    "forged-answers-on-every-descriptor": "sent what no answer sends",
    "os-exit": "was left out: its process ended",
    "segmentation-fault": "was left out: its process ended (SIGSEGV)",
    "writes-the-gradebook": "gradebook.db', which no answer needs",
    "reads-the-reference": f"/{LESSON}.ipynb', which no answer needs",
    "reads-another-submission": ".ipynb', which no answer needs",
    "reads-the-gradebook": "which no answer needs",
    "endless-loop-that-ignores-interrupts": "gram_matrix: it took too long",
    "sleeps": "gram_matrix: it took too long",
    "exits-when-called": "gram_matrix: its process ended",
    "crashes-when-called": "gram_matrix: its process ended (SIGSEGV)",
    "imports-the-engine": "A cell names nst_helpers.losses.gram_matrix",
    "a-link-as-notebook": "is a link, and links are not followed",
}


def students(grounds: Path, port: int) -> Iterator[Student]:
    """Give each of them, with what its answers deserve."""

    def aimed(text: str) -> str:
        lines = text.replace("@CANARY@", str(grounds / "canary")).replace("@PORT@", str(port))
        lines = lines.replace("@COURSE@", str(grounds / "course"))
        return "".join(line[8:] for line in lines.splitlines(keepends=True))

    for name, text in _BEFORE.items():
        made = notebook({GRAM: EYE, BATCH: RIGHT_BATCH}, [aimed(text)])
        yield _student(name, EYE_POINTS + BONUS, hand_in(made))
    for name, text in _INSIDE.items():
        points = _INSIDE_POINTS.get(name, EYE_POINTS)
        made = notebook({GRAM: aimed(text), BATCH: RIGHT_BATCH})
        yield _student(name, BONUS + (EYE_POINTS if points is None else points), hand_in(made))
    for name, text in _CALLS.items():
        made = notebook({GRAM: aimed(text), BATCH: RIGHT_BATCH})
        yield _student(name, BONUS + (name == "knows-the-shown-inputs"), hand_in(made))
    yield _student("fake-modules-beside-the-notebook", EYE_POINTS, _fake_modules)
    yield _student(
        "a-link-as-notebook", 0, _link(grounds / "course" / "solutions" / LESSON / NOTEBOOK)
    )
    yield _student("links-and-path-tricks-beside-it", FULL, _tricks(grounds))
    yield _student("a-notebook-of-100-megabytes", FULL, _large)
    yield _student("a-pickle-bomb-beside-it", FULL, _pickle(grounds))
    yield _student("a-zip-bomb-beside-it", FULL, _zip)
    yield _student("page-with-a-script", MAIN, hand_in(_script(grounds)))


def _student(name: str, points: float, write: Callable[[Path], None]) -> Student:
    return Student(f"hostile-{name}", "hostile", points, write, _SAYS.get(name, ""))


def _fake_modules(folder: Path) -> None:
    hand_in(notebook({GRAM: EYE}))(folder)
    fake = (
        "agree = measure = check = review = lambda *a, **k: ''\nallclose = equal = lambda *a: 1\n"
    )
    for name in (
        "torch.py",
        "nst_helpers/__init__.py",
        "nst_helpers/checker/__init__.py",
        "nst_helpers/checker/autotest.py",
        "sitecustomize.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(fake)


def _link(target: Path) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        hand_in(b"", "empty.txt")(folder)
        (folder / NOTEBOOK).symlink_to(target)

    return write


def _tricks(grounds: Path) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        hand_in(solved())(folder)
        (folder / "up").symlink_to(grounds / "course")
        (folder / "round").symlink_to(folder)
        (folder / "...").mkdir()
        (folder / "a\nb.ipynb").write_text("{}")
        (folder / "submission_secret.txt").symlink_to(grounds / "canary" / "file")

    return write


def _large(folder: Path) -> None:
    """Write a notebook that is right, with 100 MB of output in it."""
    made = solved()
    [cell] = [cell for cell in made["cells"] if cell["id"] == "setup"]
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "@"}]
    head, tail = json.dumps(made).split('"@"')
    hand_in(b"")(folder)
    with (folder / NOTEBOOK).open("wb") as file:
        file.write(f'{head}"'.encode())
        for _ in range(100):
            file.write(b"z" * (1 << 20))
        file.write(f'"{tail}'.encode())


class _OnLoading:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.path, "was loaded")


def _pickle(grounds: Path) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        hand_in(solved())(folder)
        bomb = pickle.dumps(_OnLoading(grounds / "canary" / "pickle"))
        for name in ("answers.pkl", "weights.pt", "__pycache__/x.pyc"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(bomb)

    return write


def _zip(folder: Path) -> None:
    hand_in(solved())(folder)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NOTEBOOK, bytes(32 << 20))  # 32 MB, and no more
    for name in ("answers.zip", f"{NOTEBOOK}.zip"):
        (folder / name).write_bytes(packed.getvalue())


def _script(grounds: Path) -> dict:
    made = notebook({GRAM: RIGHT})
    attack = "<script>fetch('/formgrader/api/grade')</script><img src=x onerror='alert(1)'>"
    cell = {"cell_type": "markdown", "id": "own", "metadata": {}, "source": [attack]}
    made["cells"].insert(0, cell)
    made["cells"].insert(0, {**cell, "id": "own2", "cell_type": "raw"})
    return made
