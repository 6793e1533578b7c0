"""The tensors that two processes have in common, and what is told of those without a graph.

After each call both sides hold the same numbers, ``.grad`` and flags in the same tensors. What has
a graph is told in ``graphs``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nst_helpers.grading import wire
from nst_helpers.grading.remote.keys import Keys
from nst_helpers.grading.remote.message import CannotTravel, Message, part
from nst_helpers.grading.wire import Malformed

MOST_SHARED = 20_000


class Tensors:
    """The tensors that both sides know.

    Args:
        keys: the names they get.
        trusting: whether this is the worker's side.

    Attributes:
        by_key: all of them.
        leaves: those without a graph.
        key_by_id: their keys, by ``id``.
        edge_keys: keys of those that the other side computed, by node of the graph and output.
    """

    def __init__(self, keys: Keys, *, trusting: bool) -> None:
        self.keys = keys
        self.trusting = trusting
        self.forget()

    def forget(self) -> None:
        """Drop all of them."""
        self.by_key: dict[str, Tensor] = {}
        self.leaves: dict[str, Tensor] = {}
        self.key_by_id: dict[int, str] = {}
        self.edge_keys: dict[tuple[int, int], str] = {}
        self._edges: dict[str, Any] = {}
        self._returned: dict[str, str] = {}
        self._weights: dict[int, tuple] = {}
        self._told: dict[str, tuple] = {}

    def register(self, key: str, tensor: Tensor) -> None:
        """Let a key stand for a tensor from now on.

        Raises:
            Malformed: there are too many.
        """
        if len(self.by_key) >= MOST_SHARED:
            raise Malformed(f"more than {MOST_SHARED} tensors were exchanged")
        self.by_key[key] = tensor
        self.key_by_id.setdefault(id(tensor), key)
        self._edges[key] = edge = tensor.grad_fn
        if edge is None:
            self.leaves[key] = tensor
        elif self.keys.is_theirs(key):
            self.edge_keys[id(edge), tensor.output_nr] = key

    def key_of(self, tensor: Tensor, message: Message) -> str:
        """Return a tensor's key; a new one where it is not known, or is computed anew since.

        Raises:
            CannotTravel: it is of a kind that no message can hold.
        """
        key = self.key_by_id.get(id(tensor))
        if key is not None and self._edges[key] is tensor.grad_fn:
            if self.trusting or tensor.grad_fn is None or self.keys.is_ours(key):
                return key
            # What a worker computed goes back to it as the judge's: then its gradient passes
            # through here once, whatever else is computed of it.
            if key not in self._returned:
                self._returned[key] = self.keys.new()
                message.nodes[self._returned[key]] = tensor
            return self._returned[key]
        if key is not None:
            del self.key_by_id[id(tensor)]
        dtype, layout = str(tensor.dtype).removeprefix("torch."), tensor.layout
        if dtype not in wire.DTYPES or layout is not torch.strided:
            raise CannotTravel(f"a tensor of {tensor.dtype}, {tensor.layout} cannot travel")
        return self._new_key(tensor, message)

    def _new_key(self, tensor: Tensor, message: Message) -> str:
        if tensor.grad_fn is None:
            key = self.keys.new()
            self.register(key, tensor)
            return key
        for key, known in message.nodes.items():
            if known is tensor:
                return key
        key = self.keys.new()
        message.nodes[key] = tensor
        return key

    # --- what is told -----------------------------------------------------------------------------

    def changes(self, message: Message) -> list[dict[str, Any]]:
        """Return every tensor without a graph that differs from what was last said of it."""
        changes = []
        for key, tensor in self.leaves.items():
            if tensor.grad_fn is not None or self._is_weight_as_before(tensor):
                continue
            state = _state(tensor)
            before = self._told.get(key)
            if before is not None and before[:-1] == state[:-1]:
                continue
            self._told[key] = state
            _, _, numbers, requires_grad, grad, version = state
            change = wire.described(tensor) | {"key": key, "requires_grad": requires_grad}
            change["parameter"] = isinstance(tensor, nn.Parameter)
            # A change that autograd was told of is one that it has to be told of over there, too.
            change["told"] = before is None or version != before[-1]
            if self.trusting and before is None:
                change["memory"] = self._memory_of(key, tensor)
            change["data"] = None if numbers is None else message.add(numbers)
            change["grad"] = None if grad is None else message.add(grad)
            changes.append(change)
        return changes

    def watch_weights(self, module: nn.Module) -> None:
        """Believe torch when it says that nothing was done to the weights of a module."""
        for place in ("_parameters", "_buffers"):
            for tensor in vars(module).get(place, {}).values():
                self._weights.setdefault(id(tensor), ())

    def _is_weight_as_before(self, tensor: Tensor) -> bool:
        """Return whether a tensor is a model's, and torch says that nothing was done to it.

        Of other tensors the numbers are compared: what is done to ``.data`` torch does not count.
        """
        before = self._weights.get(id(tensor))
        if before is None or tensor.grad is not None or tensor.is_inference():
            return False
        now = (tensor.data_ptr(), tensor._version, tensor.requires_grad)
        self._weights[id(tensor)] = now
        return now == before

    def _memory_of(self, key: str, tensor: Tensor) -> str | None:
        """Return the key of an argument that lies at the same place in memory, or None."""
        place = _place(tensor)
        for known, other in self.by_key.items():
            if self.keys.is_theirs(known) and known != key and _place(other) == place:
                return known if tensor.numel() and tensor.device.type != "meta" else None
        return None

    # --- what is heard ----------------------------------------------------------------------------

    def take(self, leaf: dict[str, Any], body: memoryview) -> None:
        """Let a tensor without a graph be what the other side says it is.

        Raises:
            Malformed: the other side may not say that.
        """
        key = leaf["key"]
        data = wire.tensor(leaf, part(leaf["data"], body))
        known = self.by_key.get(key)
        if known is None:
            known = self._taken_anew(leaf, data)
        elif known.grad_fn is not None:
            raise Malformed("a computed tensor was overwritten")
        elif (known.shape, known.dtype, known.device) != (data.shape, data.dtype, data.device):
            known.data = data
        elif wire.raw(known) != wire.raw(data):
            (known.detach() if leaf["told"] else known.data).copy_(data)
        if known.requires_grad != bool(leaf["requires_grad"]):
            known.requires_grad_(bool(leaf["requires_grad"]))
        _take_grad(known, leaf, body)
        self._told[key] = _state(known)

    def _taken_anew(self, leaf: dict[str, Any], data: Tensor) -> Tensor:
        key = leaf["key"]
        self.keys.check_new(key, self.by_key)
        if leaf.get("memory") is not None:
            data = self._same_memory(leaf["memory"], data)
        known = nn.Parameter(data, requires_grad=False) if leaf["parameter"] else data
        self.register(key, known)
        return known

    def _same_memory(self, key: str, data: Tensor) -> Tensor:
        """Return a tensor with the memory of a known one, which holds these numbers."""
        known = self.by_key[key].detach()
        if (known.shape, known.dtype) != (data.shape, data.dtype):
            raise Malformed("memory is shared by tensors that do not fit")
        return known.copy_(data) if wire.raw(known) != wire.raw(data) else known


def _take_grad(known: Tensor, leaf: dict[str, Any], body: memoryview) -> None:
    """Let a tensor's ``.grad`` be what a message says it is."""
    if leaf["grad"] is None:
        known.grad = None
        return
    plain = {name: leaf[name] for name in ("dtype", "shape", "meta")}
    grad = wire.tensor(plain, part(leaf["grad"], body))
    if known.grad is None or known.grad.shape != grad.shape:
        known.grad = grad
    else:
        known.grad.detach().copy_(grad)


def _place(tensor: Tensor) -> tuple:
    """Return where in memory a tensor lies and how."""
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _state(tensor: Tensor) -> tuple:
    """Return all about a tensor without a graph that the two sides keep alike."""
    grad = tensor.grad
    plain = grad is not None and grad.dtype == tensor.dtype and grad.shape == tensor.shape
    return (
        (tensor.dtype, tensor.shape),
        tensor.device.type,
        wire.raw(tensor),
        tensor.requires_grad,
        wire.raw(grad) if plain else None,
        # In inference mode torch does not count changes.
        0 if tensor.is_inference() else tensor._version,
    )
