"""Gradients across the border: a tensor that one process computed, in the other's graph.

Such a tensor is made by an ``autograd.Function`` whose backward asks the other side for its
vector-Jacobian product. Source: PyTorch documentation, "Extending PyTorch", and "Autograd
mechanics".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from nst_helpers.grading import wire
from nst_helpers.grading.remote.message import Loose, Message, part
from nst_helpers.grading.remote.tensors import Tensors
from nst_helpers.grading.wire import Malformed


class Graphs:
    """What both sides know of each other's graphs.

    Args:
        tensors: those they have in common.
        request: sends a header and a value to the other side, and returns its reply.
        note_backward: is told of each backward that crossed: keys and cotangents of what was
            computed there, keys and products of what it was computed from.
    """

    def __init__(self, tensors: Tensors, request: Callable, note_backward: Callable) -> None:
        self.tensors = tensors
        self.request = request
        self.note_backward = note_backward
        # The anchor makes the result of a Bridge require a gradient even where none of its inputs
        # is known here.
        self.anchor = torch.zeros((), requires_grad=True)
        self.forget()

    def forget(self) -> None:
        """Drop what was cut off."""
        self.cuts: list[set[str]] = []

    def described(self, message: Message) -> dict[str, Any]:
        """Return the tensors of a message that have a graph here, and what they are computed of."""
        dependencies = self._dependencies(list(message.nodes.values()))
        described = [
            wire.described(tensor) | {"key": key, "data": message.numbers(tensor)}
            for key, tensor in message.nodes.items()
        ]
        for key, tensor in message.nodes.items():
            self.tensors.register(key, tensor)
        return {"tensors": described, "of": dependencies}

    def _dependencies(self, tensors: list[Tensor]) -> list[str]:
        """Return the keys of the shared tensors that these were computed from."""
        found: dict[str, None] = {}
        seen = set()
        waiting = [(tensor.grad_fn, tensor.output_nr) for tensor in tensors]
        while waiting:
            edge, number = waiting.pop()
            if edge is None:
                continue
            known = self.tensors.edge_keys.get((id(edge), number))
            if known is not None:
                found[known] = None
                continue
            if edge in seen:
                continue
            seen.add(edge)
            leaf = getattr(edge, "variable", None)
            if leaf is not None and id(leaf) in self.tensors.key_by_id:
                found[self.tensors.key_by_id[id(leaf)]] = None
            waiting += edge.next_functions
        return list(found)

    def take(self, nodes: dict[str, Any], body: memoryview) -> None:
        """Make the tensors of a message that have a graph on the other side.

        Raises:
            Malformed: they cannot have one.
        """
        data = [wire.tensor(each, part(each["data"], body)) for each in nodes["tensors"]]
        keys = [each["key"] for each in nodes["tensors"]]
        if not all(each.is_floating_point() or each.is_complex() for each in data):
            raise Malformed("whole numbers have no gradient")
        for key in keys:
            self.tensors.keys.check_new(key, self.tensors.by_key)
        known = [self.tensors.by_key[key] for key in nodes["of"]]
        with torch.enable_grad():
            made = _Bridge.apply(self, keys, nodes["of"], data, self.anchor, *known)
        for key, tensor in zip(keys, made, strict=True):
            self.tensors.register(key, tensor)

    def products(self, header: dict[str, Any], cotangents: list[Tensor | None]) -> Loose:
        """Return the vector-Jacobian products that a backward on the other side asks for."""
        known = self.tensors.by_key
        given = [
            (known[key], cotangent)
            for key, cotangent in zip(header["keys"], cotangents, strict=True)
            if cotangent is not None
        ]
        inputs = {key: known[key] for key in header["of"] if known[key].requires_grad}
        if not inputs or not given:
            return Loose([None] * len(header["of"]))
        self.cuts.append(set(inputs))
        try:
            products = torch.autograd.grad(
                [tensor for tensor, _ in given],
                list(inputs.values()),
                [cotangent for _, cotangent in given],
                retain_graph=bool(header["keep"]),
                allow_unused=True,
            )
        finally:
            self.cuts.pop()
        found = dict(zip(inputs, products, strict=True))
        return Loose([found.get(key) for key in header["of"]])


class _Bridge(torch.autograd.Function):
    """Makes tensors of another process part of this one's graph."""

    @staticmethod
    def forward(
        ctx: Any,
        graphs: Graphs,
        keys: list[str],
        of: list[str],
        data: list[Tensor],
        anchor: Tensor,
        *inputs: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.graphs, ctx.keys, ctx.of = graphs, keys, of
        ctx.nodes = [
            get_gradient_edge(each).node if each.requires_grad else None for each in inputs
        ]
        ctx.set_materialize_grads(False)
        return tuple(data)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        # A product that the other side asked for as such goes no further here.
        cut = ctx.graphs.cuts[-1] if ctx.graphs.cuts else ()
        cotangents = tuple(
            None if key in cut else each for key, each in zip(ctx.keys, cotangents, strict=True)
        )
        of = [key for key, node in zip(ctx.of, ctx.nodes, strict=True) if _is_asked_for(node)]
        if not of or all(each is None for each in cotangents):
            return (None,) * (5 + len(ctx.of))
        header = {"do": "vjp", "keys": ctx.keys, "of": of, "keep": _keeps_graph()}
        products = ctx.graphs.request(header, Loose(list(cotangents)))
        if not isinstance(products, list) or len(products) != len(of):
            raise Malformed("not every input got a gradient")
        if not all(product is None or isinstance(product, Tensor) for product in products):
            raise Malformed("a gradient is no tensor")
        ctx.graphs.note_backward(ctx.keys, cotangents, of, products)
        given = dict(zip(of, products, strict=True))
        return (None,) * 5 + tuple(given.get(key) for key in ctx.of)


def _is_asked_for(node: Any) -> bool:
    """Return whether the backward that is running wants a gradient from this node.

    What it does not want is not computed on the other side either, and so not used up there.
    """
    if node is None:
        return False
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # a tensor that ``torch.autograd.grad`` was asked about by name
        return True


def _keeps_graph() -> bool:
    """Return whether the backward that is running was told to keep its graph."""
    return torch._C._autograd._get_current_graph_task_keep_graph()
