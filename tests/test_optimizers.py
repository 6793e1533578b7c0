"""What moves the pixels: our L-BFGS on problems whose answer is known, and torch's by name."""

from __future__ import annotations

import pytest
import torch

from nst_helpers.errors import NstError
from nst_helpers.optimizers import Lbfgs, Moves, Spectrum, known_optimizers, make_optimizer


def _noise(seed: int, height: int = 20, width: int = 26) -> torch.Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


GOAL, WEIGHTS = _noise(1), 0.1 + 10 * _noise(2).square()


def _quadratic(pixels: torch.Tensor) -> torch.Tensor:
    return (WEIGHTS * (pixels - GOAL).square()).sum()


def _losses(optimizer, pixels, steps: int, scale: float = 1.0) -> list[float]:
    seen = []
    for _ in range(steps):
        pixels.grad = None
        loss = scale * _quadratic(pixels)
        loss.backward()
        seen.append(float(loss.detach()) / scale)
        optimizer.step()
    return seen


def test_lbfgs_finds_the_minimum_of_a_badly_scaled_bowl():
    pixels = _noise(3).requires_grad_()
    seen = _losses(Lbfgs(pixels), pixels, 120)
    assert seen[-1] < 1e-6 * seen[0]


def test_the_scale_of_the_loss_changes_nothing():
    runs = []
    for scale in (1e-9, 1.0, 1e9):
        pixels = _noise(3).requires_grad_()
        runs.append(_losses(Lbfgs(pixels), pixels, 25, scale))
    assert runs[0] == pytest.approx(runs[1], rel=1e-2)
    assert runs[2] == pytest.approx(runs[1], rel=1e-2)


def test_the_first_move_is_as_long_as_asked_and_downhill():
    pixels = _noise(3).requires_grad_()
    before = pixels.detach().clone()
    optimizer = Lbfgs(pixels, lr=0.5, first_move=0.04)
    _quadratic(pixels).backward()
    gradient = pixels.grad.clone()
    optimizer.step()
    move = pixels.detach() - before
    assert float(move.abs().mean()) == pytest.approx(0.02, rel=1e-4)
    assert float((move * gradient).sum()) < 0


def test_at_the_minimum_nothing_moves():
    pixels = GOAL.clone().requires_grad_()
    _losses(Lbfgs(pixels), pixels, 4)
    assert torch.equal(pixels.detach(), GOAL)


def test_uphill_curvature_does_not_lead_uphill():
    """On a saddle some pairs have negative curvature; the step must stay finite and go down."""
    pixels = (0.1 * _noise(4)).requires_grad_()
    signs = torch.where(_noise(5) > 0, 1.0, -0.2)
    optimizer = Lbfgs(pixels)
    seen = []
    for _ in range(12):
        pixels.grad = None
        loss = (signs * pixels.square()).sum() + 0.05 * pixels.pow(4).sum()
        loss.backward()
        seen.append(float(loss.detach()))
        optimizer.step()
    assert torch.isfinite(pixels).all()
    assert min(seen) < seen[0] - 1


@pytest.mark.parametrize("number", [1, 4, 6, 8])
def test_remembered_moves_correct_a_gradient_as_the_two_loops_do(number):
    """The recursion as Nocedal and Wright write it (algorithm 7.4), over the newest six moves."""
    moves, pairs = Moves(GOAL, 6), []
    for seed in range(number):
        move = _noise(seed)
        change = move * _noise(100 + seed).exp()
        moves.add(move, change)
        pairs.append((move.double(), change.double()))
    gradient = _noise(50)
    expected, shares = gradient.double(), []
    for move, change in reversed(pairs[-6:]):
        shares.append((move * expected).sum() / (move * change).sum())
        expected = expected - shares[-1] * change
    expected = 3 * expected
    for (move, change), share in zip(pairs[-6:], reversed(shares), strict=True):
        expected = expected + move * (share - (change * expected).sum() / (move * change).sum())
    found = moves.newton(gradient, lambda picture: 3 * picture)
    assert torch.allclose(found.double(), expected, rtol=1e-3, atol=1e-4)


def test_a_move_whose_curvature_is_not_positive_is_remembered_as_none():
    """As a change that points against its move would turn the step uphill."""
    with_them, without = Moves(GOAL, 6), Moves(GOAL, 3)
    for seed in range(4):
        move = _noise(seed)
        change = move * _noise(100 + seed).exp()
        with_them.add(move, change)
        without.add(move, change)
        with_them.add(move, -change)
    found, expected = (moves.newton(_noise(50), torch.clone) for moves in (with_them, without))
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_memory_is_bounded():
    pixels = _noise(3).requires_grad_()
    optimizer = Lbfgs(pixels, history=5)
    _losses(optimizer, pixels, 12)
    assert len(optimizer.moves) == 5


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (40, 16)])
def test_a_spectrum_learns_curvature_that_depends_on_colour_and_frequency(size):
    """Curvature 5 for luminance, 1 for chroma: the estimate must undo it."""
    undone, probe = _undone(size, 5.0), _noise(50, *size)
    assert torch.nn.functional.cosine_similarity(undone.flatten(), probe.flatten(), 0) > 0.99


def test_what_the_loss_hardly_feels_is_moved_a_bounded_number_of_times_as_far():
    """Curvature 10000 for luminance, 1 for chroma: noise in chroma must not take over."""
    undone, probe = _undone((16, 16), 1e4), _noise(50, 16, 16)
    chroma = undone - undone.mean(dim=1, keepdim=True)
    ratio = chroma / (probe - probe.mean(dim=1, keepdim=True))
    grey = undone.mean(dim=1) / probe.mean(dim=1)
    assert float(ratio.median() / grey.median()) < 0.01


def _undone(size, curvature):
    """Return what a spectrum makes of a gradient, once it has learnt a curvature of luminance."""

    def gradient(picture):
        grey = picture.mean(dim=1, keepdim=True).expand_as(picture)
        return curvature * grey + (picture - grey)

    spectrum = Spectrum(_noise(0, *size))
    for seed in range(20):
        spectrum.learn(_noise(seed, *size), gradient(_noise(seed, *size)))
    return spectrum.inverse(gradient(_noise(50, *size)))


def test_every_optimiser_of_the_list_lowers_a_loss():
    assert {"lbfgs", "adam", "sgd", "adagrad", "adadelta", "rmsprop"} <= set(known_optimizers())
    for name in known_optimizers():
        pixels = _noise(3).requires_grad_()
        seen = _losses(make_optimizer(name, pixels, lr=0.003), pixels, 10)
        assert seen[-1] < seen[0], name


def test_an_unknown_optimiser_is_one_sentence():
    with pytest.raises(NstError, match=r"'newton' is unknown; choose one of lbfgs, .*\.$"):
        make_optimizer("newton", _noise(3))
