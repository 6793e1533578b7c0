"""The modules that two processes have in common, and what a worker tells of those it changed.

A change may be a flag, a weight, a part or a hook. A ``forward`` of the worker's own stays there
and is called from here; every other method of a module is torch's, on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from nst_helpers.grading.remote.keys import Keys
from nst_helpers.grading.remote.tensors import Tensors
from nst_helpers.grading.wire import Malformed

# What a module's attribute may be to travel, besides a tensor.
PLAIN = (bool, int, float, str, type(None))
_PARTS = ("_parameters", "_buffers", "_modules")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_MOST_HOOKS = 100
# The one method that a student may replace for one module alone.
_FORWARD = "forward"
# What every module has and hardly any uses; it does not travel.
_EMPTY = dict(vars(nn.Module()))


class _LeftBehind:
    """Stands for a hook that a function left on a module; does nothing."""

    def __call__(self, *_: Any, **__: Any) -> None:
        return None


class Modules:
    """The modules that both sides know.

    Args:
        keys: the names they get.
        tensors: the tensors that both sides know.
    """

    def __init__(self, keys: Keys, tensors: Tensors) -> None:
        self.keys = keys
        self.tensors = tensors
        self.by_key: dict[str, nn.Module] = {}
        self._key_by_id: dict[int, str] = {}
        self._told: dict[str, tuple] = {}
        self.forget()

    def forget(self) -> None:
        """Look no longer whether the modules of this cell change; they stay known."""
        self._watched: dict[str, nn.Module] = {}

    def knows(self, module: nn.Module) -> bool:
        """Return whether a module has a key."""
        return id(module) in self._key_by_id

    def key_of(self, module: nn.Module) -> str:
        """Return a module's key, a new one if it has none, and look for changes from now on."""
        key = self._key_by_id.get(id(module))
        if key is None:
            key = self.keys.new()
            self.keep(key, module)
        self._watch(key)
        return key

    def keep(self, key: str, module: nn.Module) -> None:
        """Let a key stand for a module."""
        self.by_key[key] = module
        self._key_by_id[id(module)] = key

    def _watch(self, key: str) -> None:
        """Look after each message whether a module of this cell, or its weights, changed."""
        if key not in self._watched:
            self._watched[key] = self.by_key[key]
            self.tensors.watch_weights(self.by_key[key])

    # --- from worker to judge ---------------------------------------------------------------------

    def changes(self, as_tree: Callable[[Any], Any]) -> list[list]:
        """Return key, content as a tree, and numbers of hooks of each module that changed."""
        changes = []
        # Modules that are found in changed ones are looked at in their turn.
        for key in _growing(self._watched):
            module = self.by_key[key]
            state = _state(module)
            if self._told.get(key) != state:
                self._told[key] = state
                attributes, parts, hooks = _content(module)
                changes.append([key, as_tree([attributes, parts]), hooks])
        return changes

    def take(self, changes: list[list], from_tree: Callable[[Any], Any]) -> None:
        """Do to modules what was done to them on the other side.

        Raises:
            Malformed: a part is not what such a part can be.
        """
        for key, tree, hooks in changes:
            module = self.by_key[key]
            attributes, parts = from_tree(tree)
            _take_attributes(module, attributes)
            for place, items in zip(_PARTS, parts, strict=True):
                kind = nn.Module if place == "_modules" else Tensor
                if not all(item is None or isinstance(item, kind) for item in items.values()):
                    raise Malformed("a part of a module is none")
                getattr(module, place).clear()
                getattr(module, place).update(items)
            for place, count in zip(_HOOKS, hooks, strict=True):
                hooked = getattr(module, place)
                for number in range(len(hooked), min(int(count), _MOST_HOOKS)):
                    hooked[f"left behind {number}"] = _LeftBehind()

    def taken(self, key: str, name: str) -> nn.Module:
        """Return a known module, or an empty one of a class of torch's to be filled.

        Raises:
            Malformed: there is no such class.
        """
        if key not in self.by_key:
            if not self.keys.is_theirs(key) or not is_torchs(name):
                raise Malformed("a module is not one of torch's")
            kind = getattr(nn, name)
            module = kind.__new__(kind)
            vars(module).update({part: _detached(item) for part, item in _EMPTY.items()})
            self.keep(key, module)
        return self.by_key[key]

    # --- from judge to worker ---------------------------------------------------------------------

    def fill(self, key: str, state: dict[str, Any], is_theirs: Callable[[Any], bool]) -> None:
        """Let a module hold what :func:`sent_state` returned on the other side.

        Args:
            key: the module's.
            state: what it is to hold.
            is_theirs: tells whether a hook came from the other side.
        """
        table = vars(self.by_key[key])
        state = {name: _detached(item) for name, item in _EMPTY.items()} | state
        for place in _HOOKS:
            left = {n: hook for n, hook in table.get(place, {}).items() if not is_theirs(hook)}
            _put_back(left, state[place])
        table.clear()
        table.update(state)
        self._watched.pop(key, None)
        self._watch(key)
        self._told[key] = _state(self.by_key[key])


def _put_back(left: dict, hooks: dict) -> None:
    """Put the hooks that were left behind here where the judge has what stands for them."""
    places = [name for name, hook in hooks.items() if isinstance(hook, _LeftBehind)]
    for name in places:
        del hooks[name]
    hooks.update(list(left.items())[: len(places)])


def _take_attributes(module: nn.Module, attributes: dict[str, Any]) -> None:
    table = vars(module)
    for name in [name for name in table if _is_attribute(name, table[name])]:
        if name not in attributes:
            del table[name]
    for name, value in attributes.items():
        if _is_attribute(name, value) and (
            not hasattr(type(module), name) or name in table or name == _FORWARD
        ):
            table[name] = value


def _is_attribute(name: str, value: Any) -> bool:
    """Return whether this is one of a module's attributes that travel from worker to judge."""
    if name == _FORWARD:
        return callable(value)
    if name.startswith("_"):
        return False
    if type(value) is tuple:
        return all(type(item) in PLAIN for item in value)
    return type(value) in PLAIN or isinstance(value, Tensor)


def _content(module: nn.Module) -> tuple[dict, list[dict], list[int]]:
    """Return a module's attributes, its parameters, buffers and modules, and numbers of hooks."""
    table = vars(module)
    attributes = {name: item for name, item in table.items() if _is_attribute(name, item)}
    parts = [dict(table[place]) for place in _PARTS]
    return attributes, parts, [len(table[place]) for place in _HOOKS]


def _state(module: nn.Module) -> tuple:
    """Return what tells whether a module was changed, apart from the numbers in its tensors."""
    attributes, parts, hooks = _content(module)
    plain = [
        (name, item if type(item) in (*PLAIN, tuple) else id(item))
        for name, item in attributes.items()
    ]
    return plain, [[(name, id(item)) for name, item in part.items()] for part in parts], hooks


def _growing(table: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of a dictionary, those too that are added meanwhile."""
    done = 0
    while done < len(table):
        keys = list(table)[done:]
        done += len(keys)
        yield from keys


def is_torchs(name: str, kind: type | None = None) -> bool:
    """Return whether ``torch.nn`` has a module class of that name, and it is this one."""
    found = getattr(nn, name, None) if name.isidentifier() else None
    return (
        isinstance(found, type) and issubclass(found, nn.Module) and (kind is None or found is kind)
    )


def sent_state(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a module that are not those of an empty one."""
    return {
        name: item
        for name, item in vars(module).items()
        if name not in _EMPTY or (item and item is not True) or item != _EMPTY[name]
    }


def copied_module(module: nn.Module, tensors: dict[int, Tensor] | None = None) -> nn.Module:
    """Return a copy of a module and all in it, as ``copy.deepcopy`` makes it, in less time.

    Its parameters and buffers are copied, too; hooks and other attributes are the same objects.
    """
    tensors = {} if tensors is None else tensors
    copied = type(module).__new__(type(module))
    table = vars(copied)
    table.update({name: _detached(item) for name, item in vars(module).items()})
    for place in ("_parameters", "_buffers"):
        for name, tensor in table[place].items():
            if tensor is not None and id(tensor) not in tensors:
                tensors[id(tensor)] = _copied_tensor(tensor)
            table[place][name] = None if tensor is None else tensors[id(tensor)]
    for name, inner in table["_modules"].items():
        table["_modules"][name] = None if inner is None else copied_module(inner, tensors)
    return copied


def _copied_tensor(tensor: Tensor) -> Tensor:
    data = tensor.detach().clone()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(data, requires_grad=tensor.requires_grad)
    return data.requires_grad_(tensor.requires_grad)


def _detached(value: Any) -> Any:
    """Return a copy of one of a module's tables."""
    return value.copy() if isinstance(value, (dict, set)) else value
