"""What runs in the jailed process: a student's cells, and then calls of what they define.

It holds the student's functions and nothing they could be compared with. Everything here is within
the student's reach, so nothing here is trusted by the judge.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import signal
import socket
import sys
import traceback
import types
from collections.abc import Iterable
from typing import Any

from nst_helpers.grading import wire
from nst_helpers.grading.remote import Peer

FILE = "<cell {}>"

# What the engine computes that an exercise asks for: module, function, number of the lesson that
# teaches it. Before that lesson is over, an answer that calls it is not one's own work.
ENGINE = (
    ("backbones", "normalize", 1),
    ("backbones", "extract_features", 2),
    ("losses", "gram_matrix", 3),
    ("losses", "content_loss", 4),
    ("losses", "layer_style_loss", 4),
    ("losses", "style_loss", 4),
    ("losses", "total_loss", 4),
)
# Whole modules that are one answer from beginning to end.
ENGINE_MODULES = (("transfer", 5), ("feedforward", 5), ("explorer", 5))


class NotOwnWork(Exception):
    """An answer called the engine for what it was asked to write, or imported the checker."""


class NoReference:
    """Refuses to import what knows right answers; stands first in ``sys.meta_path``."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        """Raise :class:`NotOwnWork` for a module of the checker; know nothing of any other."""
        if name.startswith("nst_helpers.checker."):
            raise NotOwnWork(f"it imports {name}, which knows right answers")


class WorkerPeer(Peer):
    """The worker's side of the connection; trusts the judge, who sends cells and calls."""

    def __init__(self, sock: socket.socket, lesson: int) -> None:
        super().__init__(sock, "w", "j", trusting=True)
        self.lesson = lesson
        self.space = _main_module().__dict__

    def _perform(self, header: dict[str, Any], value: Any) -> Any:
        do = header.get("do")
        if do == "load":
            return self._load(header["cells"], header["seconds"])
        if do == "get":
            return self.space[header["name"]]
        if do == "forget":
            return self.forget()
        if do == "review":
            return self._reviewed(header["exercises"])
        return super()._perform(header, value)

    def _load(self, cells: Iterable[tuple[int, str]], seconds: float) -> list[list]:
        """Run the cells, each for so long at most; return [index, error, text] of what failed."""
        forbid_engine(self.lesson)
        failed = []
        for index, source in cells:
            wire.send(self.sock, {"progress": index})
            try:
                run_cell(source, index, self.space, seconds)
            except BaseException as error:
                failed.append([index, type(error).__name__, str(error)[:200]])
        wire.send(self.sock, {"progress": None})
        return failed

    def _reviewed(self, exercises: Iterable[str]) -> list[list]:
        """Return [exercise, text, cause] of the checker's reports."""
        from nst_helpers.checker import review

        reports = []
        for exercise in exercises:
            if exercise in self.space:
                report = review(exercise, self.space[exercise])
                reports.append([exercise, report.text, report.cause])
        return reports

    def line_of(self, error: BaseException) -> str:
        """Return the student's own line that an exception came from, or nothing."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename.startswith("<cell ")]
        return own[-1].line or "" if own else ""


def run_cell(source: str, index: int, space: dict[str, Any], seconds: float) -> None:
    """Run one cell as IPython would, without IPython."""
    code = _python(source)
    name = FILE.format(index)
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compiled = compile(code, name, "exec", flags=flags, dont_inherit=True)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        exec(compiled, space)
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def _too_long(*_: Any) -> None:
    raise TimeoutError("the cell took too long")


def _python(source: str) -> str:
    """Return a cell's source with magics and the like turned into calls of ``get_ipython``."""
    if not any(mark in source for mark in "%!?"):
        return source
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)


class _Shell:
    """Takes what notebooks ask of IPython, and does nothing, except run a timed cell or line."""

    def __init__(self, space: dict[str, Any]) -> None:
        self.user_ns = space

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        if name in ("time", "timeit", "capture", "prun"):
            exec(compile(_python(cell), "<cell magic>", "exec"), self.user_ns)

    def run_line_magic(self, name: str, line: str, **_: Any) -> None:
        if name in ("time", "timeit", "prun"):
            exec(compile(line, "<line magic>", "exec"), self.user_ns)

    def getoutput(self, *_: Any, **__: Any) -> list[str]:
        return []

    def __getattr__(self, name: str) -> Any:
        return _nothing


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _main_module() -> types.ModuleType:
    module = types.ModuleType("__main__")
    shell = _Shell(module.__dict__)
    module.__dict__.update(
        __builtins__=builtins, get_ipython=lambda: shell, display=_nothing, _=None, In=[], Out={}
    )
    sys.modules["__main__"] = module
    return module


def forbidden(lesson: int) -> list[tuple[str, str]]:
    """Return (module, function) of what the engine may not do for a lesson's answers.

    The function is ``"*"`` where it is the whole module.
    """
    names = [(module, name) for module, name, taught in ENGINE if taught >= lesson]
    return names + [(module, "*") for module, taught in ENGINE_MODULES if taught >= lesson]


def forbid_engine(lesson: int) -> None:
    """Let what a lesson's exercises ask for raise :class:`NotOwnWork` in this process."""
    for module_name, name in forbidden(lesson):
        module = sys.modules.get(f"nst_helpers.{module_name}")
        if module is None:
            continue
        names = [name]
        if name == "*":
            names = [
                key
                for key, value in vars(module).items()
                if isinstance(value, types.FunctionType) and value.__module__ == module.__name__
            ]
        for each in names:
            setattr(module, each, _refusal(f"nst_helpers.{module_name}.{each}"))


def _refusal(name: str) -> types.FunctionType:
    def refused(*_: Any, **__: Any) -> None:
        raise NotOwnWork(f"it calls {name}, which does what the exercise asks for")

    return refused
