"""Asking again with fresh inputs, so that an answer cannot know what it will be asked.

While a graded cell runs, a :class:`Tape` notes each call that the cell makes of a student's
functions. Afterwards the calls are made again, in the same order, with inputs of the same structure
and character but other numbers, and compared with what the reference solution makes of them.

Only what was right on the cell's own inputs has to be right on fresh ones: a cell that asks for a
shape alone gives its points to any numbers. So an honest answer gets the marks that nbgrader gives.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nst_helpers.checker import compare
from nst_helpers.grading import wire
from nst_helpers.grading.remote import WorkerGone, copied_module

MOST_CALLS = 24
MOST_NUMBERS = 4_000_000
# As in the comparison of AUTOTEST lines: far more than any order of additions can change.
_OPERATIONS = 512
WRONG = "right on the example, wrong on fresh inputs of the same kind"


@dataclass(frozen=True)
class _Input:
    """A tensor that a cell made itself: its numbers when it was handed over."""

    number: int
    data: Tensor
    requires_grad: bool


@dataclass(frozen=True)
class _Result:
    """A part of what an earlier call returned."""

    call: int
    path: tuple


@dataclass
class _Call:
    """One call of a student's function and what came of it.

    Attributes:
        function: the exercise's name, or the earlier result that was called.
        args: positional arguments, then a dictionary of those by name.
        result: what came back, its tensors detached.
        gradients: (cotangents by path, inputs, products) of each backward through the result.
    """

    function: str | _Result
    args: Any
    grad_mode: bool
    result: Any = None
    finished: bool = False
    gradients: list[tuple[dict[tuple, Tensor], list[Any], list]] = field(default_factory=list)

    def settled(self, result: Any) -> Any:
        """Return as much of a result as two right answers have in common.

        What asks a function again and again, as an optimiser does, may choose where: of the list
        that it returns, only the beginning is settled.
        """
        asks = any(callable(each) or isinstance(each, _Result) for each in self.args[0])
        if asks and isinstance(result, list) and all(isinstance(each, float) for each in result):
            return result[:1]
        return _snapshot(result)


class Tape:
    """The calls that one graded cell makes."""

    def __init__(self) -> None:
        self.calls: list[_Call] = []
        self.inputs: list[_Input] = []
        self.numbers = 0
        self._places: dict[int, tuple[Any, int, _Result]] = {}
        self._literals: dict[int, tuple[Tensor, _Input]] = {}

    @property
    def full(self) -> bool:
        """Whether nothing more is noted."""
        return len(self.calls) >= MOST_CALLS or self.numbers > MOST_NUMBERS

    def begin(self, function: str | Callable, args: Any) -> _Call:
        """Note a call before it is made."""
        name = function if isinstance(function, str) else self._noted(function)
        noted = _Call(name, self._noted(args), torch.is_grad_enabled())
        self.calls.append(noted)
        return noted

    def finish(self, noted: _Call, result: Any) -> None:
        """Note what a call returned."""
        number = next(i for i, call in enumerate(self.calls) if call is noted)
        for path, part in _parts(result):
            version = part._version if isinstance(part, Tensor) else 0
            if id(part) not in self._literals:
                self._places[id(part)] = (part, version, _Result(number, path))
        noted.result = _snapshot(result)
        noted.finished = True

    def backward(
        self, outputs: list[Tensor], cotangents: list, inputs: list, products: Any
    ) -> None:
        """Note a backward through the result of a call."""
        places = [self._places.get(id(output)) for output in outputs]
        if not places or any(place is None for place in places):
            return
        given = {
            place[2].path: cotangent.detach().clone()
            for place, cotangent in zip(places, cotangents, strict=True)
            if cotangent is not None
        }
        noted = [self._literals.get(id(tensor), (None, None))[1] for tensor in inputs]
        kept = [None if each is None else each.detach().clone() for each in products]
        self.calls[places[0][2].call].gradients.append((given, noted, kept))

    def _noted(self, value: Any) -> Any:
        place = self._places.get(id(value))
        if place is not None and (not isinstance(value, Tensor) or value._version == place[1]):
            return place[2]
        if isinstance(value, Tensor):
            return self._input(value)
        if isinstance(value, nn.Module):
            return copied_module(value)
        if type(value) in (list, tuple):
            return type(value)(self._noted(item) for item in value)
        if type(value) is dict:
            return {key: self._noted(item) for key, item in value.items()}
        return value

    def _input(self, tensor: Tensor) -> _Input:
        known = self._literals.get(id(tensor))
        data = tensor.detach()
        if known is not None and _equal(known[1].data, data):
            return known[1]
        self.numbers += data.numel()
        noted = _Input(len(self.inputs), data.clone(), tensor.requires_grad)
        self.inputs.append(noted)
        self._literals[id(tensor)] = (tensor, noted)
        return noted


def complaint(
    tape: Tape,
    answers: dict[str, Callable],
    references: dict[str, Callable],
    fresh: Fresh,
    known: dict[bytes, Any],
) -> str | None:
    """Return what is wrong with an answer on fresh inputs although it was right before, or None.

    Args:
        tape: the calls of a graded cell that passed.
        answers: the student's functions by exercise.
        references: those of the solutions.
        fresh: the fresh numbers of this submission.
        known: what the solutions make of the cells' own inputs, kept from one submission to the
            next.
    """
    if not tape.calls:
        return None
    example = {each.number: each.data for each in tape.inputs}
    drawn = {each.number: fresh.instead_of(each.data) for each in tape.inputs}
    same = _fingerprint(tape)
    expected = known.setdefault(same, _Replay(tape, references, example))
    wanted = _Replay(tape, references, drawn)
    given = _Replay(tape, answers, drawn)
    for number, call in enumerate(tape.calls):
        if not call.finished or not expected.make(number) or not wanted.make(number):
            continue
        made = given.make(number)
        if not _alike(*(call.settled(each) for each in (call.result, expected.results[number]))):
            continue
        if not made:
            return f"right on the example, but on fresh inputs it stops with {given.error}"
        if not _alike(*(call.settled(each.results[number]) for each in (given, wanted))):
            return WRONG
        if not _gradients_alike(call, number, expected, wanted, given):
            return "right on the example, but the gradient is wrong on fresh inputs"
    return None


def _fingerprint(tape: Tape) -> bytes:
    """Return what tells apart tapes of which the solutions may make different things."""
    digest = hashlib.blake2b()
    for call in tape.calls:
        _add(digest, [call.function, list(call.args), call.grad_mode])
    for each in tape.inputs:
        _add(digest, each.data)
    return digest.digest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(repr((value.dtype, value.shape, value.stride())).encode())
        digest.update(wire.raw(value) or b"")
    elif isinstance(value, nn.Module):
        digest.update(repr(value).encode())
        for tensor in (*value.parameters(), *value.buffers()):
            _add(digest, [tensor.requires_grad, tensor])
    elif isinstance(value, (list, tuple)):
        for item in value:
            _add(digest, item)
    elif isinstance(value, dict):
        _add(digest, [*value, *value.values()])
    elif isinstance(value, _Input):
        digest.update(repr((value.number, value.requires_grad)).encode())
    elif callable(value):
        digest.update(getattr(value, "__qualname__", "").encode())
    else:
        digest.update(repr(value).encode())


class _Replay:
    """The calls of a tape, made anew with other functions or other numbers."""

    def __init__(self, tape: Tape, functions: dict[str, Callable], data: dict[int, Tensor]) -> None:
        self.tape = tape
        self.functions = functions
        self.tensors = {
            each.number: data[each.number].clone().requires_grad_(each.requires_grad)
            for each in tape.inputs
        }
        self.results: dict[int, Any] = {}
        self.error = ""

    def make(self, number: int) -> bool:
        """Make one call; return whether it and those it builds upon came to an end."""
        if number in self.results:
            return True
        call = self.tape.calls[number]
        try:
            function = (
                self._value(call.function)
                if isinstance(call.function, _Result)
                else (self.functions[call.function])
            )
            args, kwargs = self._value(call.args)
            with torch.set_grad_enabled(call.grad_mode):
                self.results[number] = function(*args, **kwargs)
        except WorkerGone as error:
            self.error = str(error)
            return False
        except Exception as error:
            self.error = type(error).__name__
            return False
        return True

    def gradients(self, number: int, cotangents: dict[tuple, Tensor], inputs: list[_Input]) -> list:
        """Return the vector-Jacobian products of a result with respect to these inputs."""
        parts = dict(_parts(self.results[number]))
        pairs = [(parts[path], cotangent) for path, cotangent in cotangents.items()]
        pairs = [(part, cotangent) for part, cotangent in pairs if part.requires_grad]
        if not pairs:
            return [None] * len(inputs)
        return list(
            torch.autograd.grad(
                [part for part, _ in pairs],
                [self.tensors[each.number] for each in inputs],
                [cotangent for _, cotangent in pairs],
                retain_graph=True,
                allow_unused=True,
            )
        )

    def _value(self, noted: Any) -> Any:
        if isinstance(noted, _Result):
            return dict(_parts(self.results[noted.call]))[noted.path]
        if isinstance(noted, _Input):
            return self.tensors[noted.number]
        if isinstance(noted, nn.Module):
            return copied_module(noted)
        if type(noted) in (list, tuple):
            return type(noted)(self._value(item) for item in noted)
        if type(noted) is dict:
            return {key: self._value(item) for key, item in noted.items()}
        return noted


def _gradients_alike(
    call: _Call, number: int, expected: _Replay, wanted: _Replay, given: _Replay
) -> bool:
    """Return whether gradients that were right on the example are right on fresh inputs."""
    for cotangents, inputs, products in call.gradients:
        pairs = [
            (each, product)
            for each, product in zip(inputs, products, strict=True)
            if each is not None and each.requires_grad
        ]
        known = [each for each, _ in pairs]
        if not known:
            continue
        try:
            right = expected.gradients(number, cotangents, known)
            if not _alike([product for _, product in pairs], right):
                continue
            right = wanted.gradients(number, cotangents, known)
        except (RuntimeError, KeyError):
            continue
        try:
            got = given.gradients(number, cotangents, known)
        except Exception:
            return False
        if not _alike(got, right):
            return False
    return True


# --- numbers --------------------------------------------------------------------------------------


class Fresh:
    """Fresh numbers for one submission: the same ones wherever a cell uses the same input.

    Then an answer that keeps something from one call for the next, as wrong answers do, is not
    found out here but where nbgrader finds it.
    """

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(secrets.randbits(62))
        self.known: dict[tuple, Tensor] = {}

    def instead_of(self, data: Tensor) -> Tensor:
        """Return the numbers to use instead of these."""
        key = (data.dtype, data.shape, data.stride(), wire.raw(data))
        if key not in self.known:
            self.known[key] = drawn_like(data, self.generator)
        return self.known[key]


def drawn_like(data: Tensor, generator: torch.Generator) -> Tensor:
    """Return other numbers of the same character, in the same shape and dtype.

    Whole numbers stay whole and in their range, a constant stays constant, a symmetric matrix
    symmetric, and a picture in [0, 1] a picture in [0, 1].
    """
    if data.device.type == "meta" or data.numel() == 0 or data.is_complex():
        return data.clone()
    if data.dtype is torch.bool:
        return data.flatten()[torch.randperm(data.numel(), generator=generator)].reshape(data.shape)
    values = data.to(torch.float64)
    if not bool(torch.isfinite(values).all()):
        return data.clone()
    lowest, highest = values.min(), values.max()
    if lowest == highest:
        whole = not data.is_floating_point()
        factor = 1.0 if whole else float(0.9 + 0.2 * torch.rand((), generator=generator))
        return (values * factor).to(data.dtype)
    if torch.equal(values, values.round()):
        span = int(highest - lowest) + 1
        drawn = lowest + torch.randint(span, data.shape, generator=generator).to(torch.float64)
    else:
        order = torch.randperm(data.numel(), generator=generator)
        drawn = values.flatten()[order].reshape(data.shape)
        factors = 0.9 + 0.2 * torch.rand(data.shape, generator=generator, dtype=torch.float64)
        drawn = (drawn * factors).clamp(lowest, highest)
    if data.dim() == 2 and data.shape[0] == data.shape[1] and torch.equal(values, values.T):
        drawn = torch.triu(drawn) + torch.triu(drawn, 1).T
    return drawn.to(data.dtype)


def _equal(one: Tensor, other: Tensor) -> bool:
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    return one.device.type == "meta" or torch.equal(one, other)


def _alike(given: Any, wanted: Any) -> bool:
    """Return whether two results agree up to rounding; what cannot be compared agrees."""
    if isinstance(wanted, Tensor):
        if not isinstance(given, Tensor) or (given.shape, given.dtype) != (
            wanted.shape,
            wanted.dtype,
        ):
            return False
        if "meta" in (given.device.type, wanted.device.type):
            return given.device == wanted.device
        if not wanted.is_floating_point():
            return torch.equal(given, wanted)
        slack = compare.tolerance(wanted.dtype, "cpu", _OPERATIONS)
        return compare.same(compare.numbers(given), compare.numbers(wanted), slack)
    if isinstance(wanted, bool) or wanted is None or isinstance(wanted, str):
        return type(given) is type(wanted) and given == wanted
    if isinstance(wanted, (int, float)):
        slack = compare.tolerance(torch.float32, "cpu", _OPERATIONS)
        return (
            isinstance(given, (int, float))
            and not isinstance(given, bool)
            and (math.isclose(given, wanted, rel_tol=slack) or repr(given) == repr(wanted))
        )
    if isinstance(wanted, (list, tuple)):
        return (
            isinstance(given, (list, tuple))
            and len(given) == len(wanted)
            and all(_alike(*pair) for pair in zip(given, wanted, strict=True))
        )
    if isinstance(wanted, dict):
        return (
            isinstance(given, dict)
            and given.keys() == wanted.keys()
            and all(_alike(given[key], wanted[key]) for key in wanted)
        )
    return True


def _parts(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Yield the tensors and functions of a result, each with the way to it."""
    if isinstance(value, Tensor) or (callable(value) and not isinstance(value, (type, nn.Module))):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _parts(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _parts(item, (*path, key))


def _snapshot(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return [_snapshot(item) for item in value]
    if isinstance(value, dict):
        return {key: _snapshot(item) for key, item in value.items()}
    return value
