"""What a call does to a model: a record of it before, and the differences after."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from nst_helpers.checker import compare
from nst_helpers.checker.report import Finding


@dataclass(frozen=True)
class Held:
    """A parameter or buffer as it was."""

    values: np.ndarray
    dtype: torch.dtype
    requires_grad: bool


@dataclass(frozen=True)
class Record:
    """Everything about a model that a call may have to leave as it is.

    The modules themselves are kept, so that no new one can take the identity of an old one.
    """

    modules: dict[str, nn.Module]
    training: dict[str, bool]
    inplace: dict[str, bool]
    own_forward: frozenset[str]
    hooks: dict[str, tuple[int, ...]]
    parameters: dict[str, Held]
    buffers: dict[str, Held]


def record(model: nn.Module) -> Record:
    """Return a record of the model as it is now."""
    modules = dict(model.named_modules())
    return Record(
        modules=modules,
        training={name: module.training for name, module in modules.items()},
        inplace={
            name: bool(module.inplace)
            for name, module in modules.items()
            if isinstance(getattr(module, "inplace", None), bool)
        },
        own_forward=frozenset(
            name for name, module in modules.items() if "forward" in vars(module)
        ),
        hooks={name: tuple(map(id, _hooks(module))) for name, module in modules.items()},
        parameters={name: _held(parameter) for name, parameter in model.named_parameters()},
        buffers={name: _held(buffer) for name, buffer in model.named_buffers()},
    )


def _held(tensor: Tensor) -> Held:
    return Held(compare.numbers(tensor), tensor.dtype, tensor.requires_grad)


def _hooks(module: nn.Module) -> list[Any]:
    """Return every hook of one module, of whatever kind torch knows."""
    return [
        hook
        for name, hooks in vars(module).items()
        if name.endswith("_hooks") and isinstance(hooks, dict)
        for hook in hooks.values()
    ]


def changes(before: Record, model: nn.Module, *, freezing: bool = False) -> Iterator[Finding]:
    """Yield what is different about a model since its record was made.

    Args:
        before: what :func:`record` returned.
        model: the same model, now.
        freezing: whether the call is meant to change the mode and to switch off gradients.
    """
    after = record(model)
    yield from _hook_changes(before, after)
    yield from _structure_changes(before, after)
    yield from _number_changes(before, after, "parameters-changed" if freezing else "model-changed")
    if not freezing:
        yield from _flag_changes(before, after)


def part(name: str) -> str:
    """Return what to call a part of a model by torch's name for it: ``module 21``."""
    return f"module {name}" if name else "the model"


def _hook_changes(before: Record, after: Record) -> Iterator[Finding]:
    for name, hooks in before.hooks.items():
        now = after.hooks.get(name, ())
        if set(now) - set(hooks):
            text = f"after the call a hook is still on {part(name)}; it would run in every later "
            yield Finding("model", text + "call of the model, too.", "hook-left")
            return
        if set(hooks) - set(now):
            text = f"a hook that somebody else had put on {part(name)} is gone after the call."
            yield Finding("model", text, "model-changed")
            return


def _structure_changes(before: Record, after: Record) -> Iterator[Finding]:
    old, new = _top(before), _top(after)
    if len(old) != len(new):
        text = f"the call changed the model: it has {len(new)} modules now, {len(old)} before."
        yield Finding("model", text, "model-changed")
        return
    for name, module in before.modules.items():
        if after.modules.get(name) is not module:
            text = f"the call changed the model: {part(name)} is not the one it was."
            yield Finding("model", text, "model-changed")
            return
    for name in after.own_forward - before.own_forward:
        text = f"the call changed the model: the forward of {part(name)} was replaced."
        yield Finding("model", text, "model-changed")
        return
    for name, inplace in before.inplace.items():
        if after.inplace.get(name) is not inplace:
            way = "out of place" if inplace else "in place"
            text = f"the call changed the model: {part(name)} works {way} now."
            yield Finding("model", text, "model-changed")
            return


def _top(state: Record) -> list[str]:
    return [name for name in state.modules if name and "." not in name]


def _number_changes(before: Record, after: Record, changed: str) -> Iterator[Finding]:
    groups = (
        ("parameter", before.parameters, after.parameters),
        ("buffer", before.buffers, after.buffers),
    )
    for word, old, new in groups:
        for name, held in old.items():
            now = new.get(name)
            if now is None:
                cause = changed if word == "parameter" else "model-changed"
                yield Finding("model", f"the {word} {name} is gone after the call.", cause)
                return
            if now.dtype != held.dtype:
                kinds = [str(dtype).removeprefix("torch.") for dtype in (held.dtype, now.dtype)]
                text = f"the {word} {name} was {kinds[0]} and is {kinds[1]} after the call."
                yield Finding("model", text, changed)
                return
            if not np.array_equal(now.values, held.values, equal_nan=True):
                text = f"the values of the {word} {name} were changed by the call"
                text += ", as training mode does." if "running_" in name else "."
                yield Finding("model", text, changed)
                return
        for name in new.keys() - old.keys():
            text = f"the call gave the model a new {word}, {name}."
            yield Finding("model", text, "model-changed")
            return


def _flag_changes(before: Record, after: Record) -> Iterator[Finding]:
    for name, training in before.training.items():
        if after.training.get(name) is not training:
            mode = "evaluation" if training else "training"
            text = f"the call changed the model: {part(name)} is in {mode} mode now."
            yield Finding("model", text, "model-changed")
            return
    for name, held in before.parameters.items():
        if after.parameters[name].requires_grad is not held.requires_grad:
            way = "no gradient" if held.requires_grad else "a gradient"
            text = f"the call changed the model: the parameter {name} asks for {way} now."
            yield Finding("model", text, "model-changed")
            return


_GLOBAL_HOOKS = tuple(
    name
    for name, hooks in vars(torch_module).items()
    if name.startswith("_global_") and isinstance(hooks, dict)
)


@contextlib.contextmanager
def no_global_hooks(findings: list[Finding]) -> Iterator[None]:
    """Take away hooks on all modules of the process that an answer left, and report them.

    They would run in every later network of the student's notebook.
    """
    before = {name: OrderedDict(getattr(torch_module, name)) for name in _GLOBAL_HOOKS}
    try:
        yield
    finally:
        for name, old in before.items():
            hooks = getattr(torch_module, name)
            if list(hooks) != list(old):
                hooks.clear()
                hooks.update(old)
                text = "after the call a hook is still there that runs for every module of every "
                findings.append(Finding("model", text + "network.", "hook-left"))


class Registrations(list):
    """Which modules got which hook: pairs of a module's index and ``forward`` or ``input``.

    A copy of a watched model notes its hooks in the same list.
    """

    def __deepcopy__(self, memo: dict) -> Registrations:
        return self


class _WatchedHooks(OrderedDict):
    """A module's dictionary of hooks that notes when one is put in."""

    notes: Registrations | None = None
    place: tuple[int, str] | None = None

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if self.notes is not None:
            self.notes.append(self.place)


def watch_hooks(model: nn.Sequential) -> Registrations:
    """Return a list that grows when a forward hook or pre-hook is registered on the model.

    The model itself counts as module -1.
    """
    notes = Registrations()
    for index, module in enumerate([model, *model], start=-1):
        for name, kind in (("_forward_hooks", "forward"), ("_forward_pre_hooks", "input")):
            watched = _WatchedHooks(getattr(module, name))
            watched.notes, watched.place = notes, (index, kind)
            setattr(module, name, watched)
    return notes
