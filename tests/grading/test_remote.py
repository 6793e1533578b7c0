"""Functions called in another process: they compute, change and raise as they would here."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import struct
import time

import cloudpickle
import pytest
import torch
from torch import nn

from nst_helpers.checker import EXERCISES, networks, review
from nst_helpers.grading import wire
from nst_helpers.grading.remote import JudgePeer, Opaque, Peer, WorkerGone
from tests.checker import banks

for _exercise in EXERCISES:
    importlib.import_module(f"tests.checker.banks.{_exercise}")
# The other process has no checker, so the classes of its networks travel by value.
cloudpickle.register_pickle_by_value(networks)


@contextlib.contextmanager
def _served(answer, seconds=30.0):
    """Give what ``answer`` is in another process."""
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        here.close()
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        try:
            worker = Peer(there, "w", "j", trusting=True)
            worker._perform = lambda header, value, serve=worker._perform: (
                answer if header["do"] == "get" else serve(header, value)
            )
            worker.serve()
        finally:
            os._exit(0)
    there.close()
    peer = JudgePeer(here, seconds, time.monotonic() + 60)
    try:
        yield peer.request({"do": "get"})
    finally:
        here.close()
        os.waitpid(child, 0)


def _picture(seed=0, height=4, width=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((1, 3, height, width), generator=generator, dtype=torch.float64)


def gram_matrix(tensor):
    features = tensor.flatten(2)[0]
    return features @ features.T


def small_network():
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1)]
    return nn.Sequential(*layers).double()


# --- values and gradients -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
def test_a_result_has_the_values_dtype_and_layout_independence_it_has_here(dtype, layout):
    picture = _picture().to(dtype)
    if layout == "channels_last":
        picture = picture.contiguous(memory_format=torch.channels_last)
    elif layout == "strided":
        picture = _picture(1, 4, 10).to(dtype)[..., ::2]

    def told(tensor):
        return [gram_matrix(tensor), list(tensor.stride()), tensor.is_leaf, tensor.requires_grad]

    with _served(told) as remote:
        gram, stride, leaf, grad = remote(picture)
    assert torch.equal(gram, gram_matrix(picture))
    assert gram.dtype == dtype
    assert (tuple(stride), leaf, grad) == (picture.stride(), True, False)


def test_an_argument_is_a_tensor_of_its_own_and_no_view():
    with _served(lambda image: image._is_view()) as remote:
        assert not remote(_picture())


def test_gradients_cross_the_border_both_ways_and_through_intermediate_tensors():
    def features(image, model):
        found = {}
        for index, module in enumerate(model):
            image = module(image)
            found[str(index)] = image
        return found

    model, image = small_network(), _picture().requires_grad_()
    with _served(features) as remote:
        found = remote(image * 2, model)
        sum(each.square().sum() for each in found.values()).backward()
        by_remote = image.grad.clone(), [weight.grad.clone() for weight in model.parameters()]
    image.grad = None
    model.zero_grad()
    sum(each.square().sum() for each in features(image * 2, model).values()).backward()
    torch.testing.assert_close(by_remote[0], image.grad)
    torch.testing.assert_close(by_remote[1], [weight.grad for weight in model.parameters()])


def test_a_result_handed_to_a_second_call_keeps_its_gradient():
    with _served([gram_matrix, lambda gram, scale: (gram * scale).sum()]) as (first, second):
        image, scale = _picture().requires_grad_(), torch.tensor(3.0, requires_grad=True)
        gram = first(image)
        second(gram + 1, scale).backward()
        expected = (gram_matrix(image) + 1).sum()
        torch.testing.assert_close(scale.grad, expected.detach().float())
        torch.testing.assert_close(image.grad, 3 * torch.autograd.grad(expected, image)[0])


def test_a_gradient_goes_every_way_once_where_inputs_depend_on_each_other():
    def both(one, other):
        return (one * other).sum() + other.square().sum()

    leaf, local = _picture().requires_grad_(), _picture().requires_grad_()
    with _served([both, gram_matrix, lambda one: one * 2]) as (remote, gram, twice):
        remote(leaf, 2 * leaf).backward()
        both(local, 2 * local).backward()
        torch.testing.assert_close(leaf.grad, local.grad)
        for function, by_hand in ((gram, gram_matrix), (twice, lambda one: one * 2)):
            found = []
            for image, first, second in ((leaf, function, remote), (local, by_hand, both)):
                image.grad = None
                result = first(image)
                (second(result, result + 1) + second(result, result) + result.sum()).backward()
                found.append(image.grad)
            torch.testing.assert_close(*found)


def test_a_graph_is_used_up_by_a_backward_as_it_is_here():
    with _served(gram_matrix) as remote:
        loss = remote(_picture().requires_grad_()).square().sum()
        loss.backward(retain_graph=True)
        loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_what_is_cut_off_has_no_gradient_and_a_missing_one_is_none():
    with _served(lambda one, other: (one.detach() * other).sum()) as remote:
        one, other = _picture().requires_grad_(), _picture(1).requires_grad_()
        remote(one, other).backward()
        assert one.grad is None
        assert torch.equal(other.grad, one.detach())
    with _served(lambda image: image.detach()) as remote:
        assert not remote(_picture().requires_grad_()).requires_grad


def test_tensors_without_numbers_stay_without():
    with _served(gram_matrix) as remote:
        image = torch.empty(1, 3, 4, 5, device="meta", requires_grad=True)
        gram = remote(image)
        gram.sum().backward()
    assert gram.device.type == image.grad.device.type == "meta"
    assert gram.shape == (3, 3)


# --- identity and changes -------------------------------------------------------------------------


def test_an_argument_that_is_returned_is_the_very_object():
    with _served(lambda *things: list(things)) as remote:
        model, image, function = small_network(), _picture(), lambda: None
        one, two, three, inner = remote(model, image, function, model[2].weight)
        assert (one is model, two is image, three is function, inner is model[2].weight) == (
            True,
        ) * 4


def test_changes_of_tensors_are_seen_here():
    def change(image, other):
        with torch.no_grad():
            image.mul_(2)
        other.requires_grad_()
        (other * 3).sum().backward()

    image, other = _picture(), _picture(1)
    batch = torch.cat([image, other])
    with _served(change) as remote:
        assert remote(batch[:1], other) is None
    assert torch.equal(batch[:1], 2 * image)  # a view stays a view
    assert other.requires_grad
    assert torch.equal(other.grad, torch.full_like(other, 3))


def test_changes_of_lists_and_dictionaries_are_seen_here():
    def change(weights, layers):
        weights.pop("a")
        weights["c"] = 3
        layers.append(weights["b"])

    weights, layers = {"a": _picture(), "b": _picture(1)}, [1]
    kept = weights["b"]
    with _served(change) as remote:
        remote(weights, layers)
    assert list(weights) == ["b", "c"]
    assert weights["b"] is kept
    assert layers[1] is kept


def test_what_a_gradient_is_not_asked_for_is_not_used_up():
    def make(fixed):
        gram = gram_matrix(fixed).square()
        return lambda target: (gram_matrix(target) * gram).sum()

    fixed, target = _picture().requires_grad_(), _picture(1).requires_grad_()
    with _served(make) as remote:
        objective = remote(fixed)
        for _ in range(2):
            torch.autograd.grad(objective(target), target)
        torch.autograd.grad(objective(target), [target, fixed])
        with pytest.raises(RuntimeError, match="second time"):
            objective(target).backward()


def test_a_hook_that_stays_behind_goes_on_working():
    seen = []

    def listen(model):
        model[0].register_forward_hook(lambda *_: seen.append(1))

    with _served([listen, lambda model, image: (model(image), len(seen))[1]]) as (first, second):
        model = small_network()
        first(model)
        assert second(model, _picture()) == 1
        assert second(model, _picture()) == 2
        model[0]._forward_hooks.clear()
        assert second(model, _picture()) == 2


def test_a_result_that_shares_an_arguments_memory_does_so_here():
    with _served(lambda image: image.detach().requires_grad_()) as remote:
        image = _picture()
        target = remote(image)
        assert target is not image
        with torch.no_grad():
            target += 1
        assert torch.equal(image, _picture() + 1)


def test_changes_made_here_are_seen_there():
    kept = []

    def keep(image):
        kept.append(image)
        return lambda: kept[0].sum()

    with _served(keep) as remote:
        image = _picture()
        total = remote(image)
        image.zero_()
        assert total() == 0


def test_changes_of_a_model_are_seen_here():
    def change(model):
        model.eval()
        model[0].weight.requires_grad_(False)
        model[2].bias = None
        model[1].register_forward_hook(lambda *_: None)
        model.append(nn.Tanh())
        return model

    model = small_network().train()
    with _served(change) as remote:
        assert remote(model) is model
    assert [part.training for part in model] == [False] * 3 + [True]
    assert [weight.requires_grad for weight in model.parameters()] == [False, True, True]
    assert [len(part._forward_hooks) for part in model] == [0, 1, 0, 0]
    assert isinstance(model[3], nn.Tanh)
    assert model(_picture()).abs().max() <= 1


def test_a_forward_of_ones_own_is_called_there_and_no_other_method():
    def changed(model):
        model.forward = torch.no_grad()(model.forward)
        model.parameters = lambda: iter(())
        return model

    with _served(changed) as remote:
        model, picture = small_network(), _picture().requires_grad_()
        assert remote(model) is model
        result = model(picture)
        assert not result.requires_grad
        assert torch.equal(result, type(model).forward(model, picture))
        assert len(list(model.parameters())) == 4
    with _served(lambda model: vars(model).pop("forward")) as remote:
        model = small_network()
        model.forward = torch.square
        remote(model)
        assert "forward" not in vars(model)


def test_a_model_of_ones_own_comes_back_as_a_model():
    import copy

    model = small_network()
    with _served(lambda model: copy.deepcopy(model).eval()) as remote:
        copied = remote(model)
    assert copied is not model
    assert isinstance(copied[0], nn.Conv2d)
    assert not copied.training
    assert torch.equal(copied(_picture()), model(_picture()))


# --- functions ------------------------------------------------------------------------------------


def _optimize(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    history = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        history.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss)
        optimizer.step()
    return history


def test_functions_handed_over_are_called_back_with_their_gradient():
    told = []
    target, local = _picture().requires_grad_(), _picture().requires_grad_()

    def valley(picture):
        return ((picture - 2) ** 2).sum()

    with _served(_optimize) as remote:
        history = remote(
            *(target, valley, 5, 0.1), lambda *all_: told.append((all_[1] is target, all_[2] * 1))
        )
    expected = _optimize(local, valley, 5, 0.1)
    assert history == pytest.approx(expected)
    torch.testing.assert_close(target, local)
    torch.testing.assert_close(target.grad, local.grad)
    assert [same for same, _ in told] == [True] * 5
    assert [float(loss.detach()) for _, loss in told] == history


def test_functions_that_come_back_can_be_called_and_handed_over():
    def make_objective(content):
        return lambda target: (target - content).square().sum()

    content, target = _picture(), _picture(1).requires_grad_()
    with _served([make_objective, _optimize]) as (make, optimize):
        objective = make(content)
        assert objective(target).item() == pytest.approx((target - content).square().sum().item())
        history = optimize(target, objective, 3, 0.1)
    assert len(history) == 3
    assert history[0] > history[-1]


def test_keyword_arguments_defaults_and_names_are_known_here():
    import inspect

    def total_loss(content, style, alpha=1.0, beta=1e6):
        return alpha * content + beta * style

    with _served(total_loss) as remote:
        assert remote.__name__ == "total_loss"
        assert inspect.signature(remote) == inspect.signature(total_loss)
        assert remote(1.0, 2.0, beta=3.0) == 7.0


def test_exceptions_arrive_by_their_name_and_those_from_here_as_themselves():
    class Own(Exception):
        pass

    def stop(kind, callback=None):
        if callback is not None:
            callback()
        raise {"builtin": ValueError, "derived": type("Odd", (KeyError,), {}), "exit": SystemExit}[
            kind
        ]("why")

    def interrupt():
        raise Own

    with _served(stop) as remote:
        with pytest.raises(ValueError, match="why"):
            remote("builtin")
        with pytest.raises(KeyError) as caught:
            remote("derived")
        assert type(caught.value).__name__ == "Odd"
        with pytest.raises(Exception, match="why") as caught:
            remote("exit")
        assert isinstance(caught.value, Exception)  # and so ends nothing here
        with pytest.raises(Own):
            remote("builtin", interrupt)


def test_values_keep_their_kind_and_what_cannot_travel_keeps_its_name():
    import numpy as np

    values = [None, True, 3, 1 << 80, 2.5, float("inf"), "é", (1, [2]), {1: "a", "1": ()}]
    arrays = [np.zeros(3), np.array(["a"])]
    with _served([*values, np.float64(1.5), object(), *arrays, torch.float16]) as found:
        *plain, number, thing, array, letters, dtype = found
    assert repr(plain) == repr(values)
    assert isinstance(number, float)
    assert type(number).__name__ == "float64"
    assert isinstance(thing, Opaque)
    assert np.array_equal(array, arrays[0])
    assert type(letters).__name__ == "ndarray"
    assert isinstance(letters, Opaque)
    assert dtype is torch.float16


# --- right answers of the banks -------------------------------------------------------------------

# What the checker can see only in its own process: which of torch's functions were called, and
# where an error came from. No graded cell asks for it.
_UNSEEN = ("no forward hook was registered", "no step of torch's L-BFGS", "on meta tensors")


@pytest.mark.parametrize("exercise", EXERCISES)
def test_right_answers_are_as_right_through_the_border(exercise):
    samples = [s for s in banks.SAMPLES if s.exercise == exercise and s.causes is None]
    for sample in samples[2::9]:
        with _served(sample.answer()) as remote:
            report = review(exercise, remote, seed=5)
        texts = [finding.text for finding in report.findings]
        assert all(any(unseen in text for unseen in _UNSEEN) for text in texts), sample.name


# --- what a hostile worker sends ------------------------------------------------------------------


def _frame(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">QQ", len(text), len(body)) + text + body


def _leaf(**changes):
    leaf = {"key": "w1", "dtype": "float64", "shape": [2], "meta": False, "data": [0, 16]}
    return leaf | {"grad": None, "requires_grad": False, "parameter": False, "told": 1} | changes


_BAD = {
    "no JSON": _frame(b"\x80\x04pickle."),
    "no object": _frame([1]),
    "a deep nest": _frame(b"[" * 100_000),
    "a long header": struct.pack(">QQ", 1 << 60, 0),
    "a long body": struct.pack(">QQ", 2, 1 << 60) + b"{}",
    "an unknown request": _frame({"do": "open", "key": "j1"}),
    "a function never given": _frame({"do": "call", "key": "j7", "value": ["list", [], ""]}),
    "a gradient never asked": _frame({"do": "vjp", "keys": ["j9"], "of": [], "loose": [None]}),
    "an unknown kind": _frame({"value": ["pickle", "cos\nsystem"]}),
    "an unknown tensor": _frame({"value": ["tensor", "w5"]}),
    "an unknown dtype": _frame({"leaves": [_leaf(dtype="object")]}, b"\0" * 16),
    "too few bytes": _frame({"leaves": [_leaf(data=[0, 8])]}, b"\0" * 8),
    "bytes elsewhere": _frame({"leaves": [_leaf(data=[8, 16])]}, b"\0" * 16),
    "a negative shape": _frame({"leaves": [_leaf(shape=[-1, -2])]}, b"\0" * 16),
    "an enormous shape": _frame({"leaves": [_leaf(shape=[1 << 39, 1 << 39])]}, b"\0" * 16),
    "memory that overlaps": _frame({"leaves": [_leaf(stride=[0])]}, b"\0" * 16),
    "memory beyond": _frame({"leaves": [_leaf(stride=[1 << 38])]}, b"\0" * 16),
    "a key of the judge's": _frame({"leaves": [_leaf(key="j99")]}, b"\0" * 16),
    "no tensor but a number": _frame({"leaves": 7}),
    "a module of another package": _frame({"value": ["module", "w3", "os"]}),
    "an exception without a kind": _frame({"error": {}}),
    "an error of another shape": _frame({"error": [1, 2]}),
    "half a message": _frame({"value": 1})[:-3],
}


@pytest.mark.parametrize("name", _BAD)
def test_what_no_answer_sends_ends_the_worker_and_nothing_else(name):
    here, there = socket.socketpair()
    peer = JudgePeer(here, 5, time.monotonic() + 5)
    there.sendall(_BAD[name])
    there.shutdown(socket.SHUT_WR)
    with pytest.raises(WorkerGone):
        peer.call("w1", (), {})
    with pytest.raises(WorkerGone):  # and is not asked again
        peer.call("w1", (), {})
    there.close()


def test_a_worker_that_says_nothing_is_waited_for_so_long():
    here, there = socket.socketpair()
    peer = JudgePeer(here, 0.1, time.monotonic() + 5)
    with pytest.raises(WorkerGone, match="too long"):
        peer.call("w1", (), {})
    there.close()


def test_a_worker_that_never_comes_to_the_end_of_a_call_is_waited_for_so_long():
    def chatter(callback):
        while True:
            callback()

    with _served(chatter, seconds=0.5) as remote, pytest.raises(WorkerGone, match="too long"):
        remote(lambda: None)


def test_a_worker_may_not_fill_the_judges_memory(monkeypatch):
    monkeypatch.setattr(wire, "MOST_BODY", 1 << 10)
    with _served(lambda: torch.zeros(1 << 12)) as remote, pytest.raises(WorkerGone, match="large"):
        remote()


@pytest.mark.parametrize("stride", [[0], [1 << 28], [1, 1], [-1], ["1"]])
def test_a_layout_is_checked_before_memory_is_taken(stride):
    description = {"dtype": "float64", "shape": [2], "meta": False, "stride": stride}
    with pytest.raises(wire.Malformed, match="layout"):
        wire.tensor(description, memoryview(bytes(16)))
