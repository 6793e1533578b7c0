"""Reviewing ``optimize``: the target must go where Adam leads.

Sources: Kingma and Ba 2015, Algorithm 1; PyTorch documentation, ``torch.optim.Adam``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from nst_helpers.checker import compare
from nst_helpers.checker.draw import Draw
from nst_helpers.checker.flow import likely
from nst_helpers.checker.functions import accelerators, number
from nst_helpers.checker.loops import (
    Landscape,
    Run,
    Told,
    drawn_landscape,
    error_finding,
    is_limited,
    list_findings,
    nothing_moved,
    steps_follow,
    target_kind,
    watched_run,
)
from nst_helpers.checker.report import Finding


def _adam(
    landscape: Landscape, rate: float, steps: int, *, other_epsilon: bool = False
) -> list[np.ndarray]:
    """Return the pictures after 0, 1, ... steps of Adam: Kingma and Ba 2015, Algorithm 1.

    The constants are torch's defaults, which are the paper's. ``other_epsilon`` gives the faster
    form at the end of the paper's section 2, whose epsilon counts a little differently.
    """
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    x = compare.numbers(landscape.target())
    m = np.zeros_like(x)
    v = np.zeros_like(x)
    pictures = [x]
    for t in range(1, steps + 1):
        g = landscape.gradient(x)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        if other_epsilon:
            x = x - rate * m_hat / (np.sqrt(v_hat) + epsilon / np.sqrt(1 - beta2**t))
        else:
            x = x - rate * m_hat / (np.sqrt(v_hat) + epsilon)
        pictures.append(x)
    return pictures


def _until_the_loss_rises(draw: Draw, rate: float) -> tuple[Landscape, int]:
    """Return a landscape, and a number of steps within which Adam's loss rises at least once.

    Adam overshoots; an answer that gives up then must be seen to.
    """
    while True:
        landscape = drawn_landscape(draw, rate)
        losses = [landscape.value(x) for x in _adam(landscape, rate, 25)]
        rises = [i for i in range(1, 23) if losses[i] > losses[i - 1]]
        if rises:
            return landscape, max(11, rises[0] + 3)


def examine_optimize(answer: Callable, draw: Draw) -> list[Finding]:
    """Return what is not right yet with an answer to ``optimize``."""
    rate, other = draw.number(0.02, 0.08), draw.number(0.2, 0.6)
    long, steps = _until_the_loss_rises(draw, rate)
    plans = (
        (long, steps, rate, True),
        (drawn_landscape(draw, other, steepness=200.0, module=True), 7, other, False),
        (drawn_landscape(draw, rate, dtype=torch.float32, layout="channels_last"), 5, rate, True),
        (drawn_landscape(draw, rate, steepness=1e-6, module=True), 4, rate, True),
        (drawn_landscape(draw, other), 1, other, False),
        (drawn_landscape(draw, other), 0, other, True),
        *[
            (drawn_landscape(draw, rate, dtype=torch.float32, device=device), 5, rate, False)
            for device in accelerators()
        ],
        (long, steps, rate, True),
    )
    runs = []
    for landscape, count, lr, watched in plans:
        limit = 50 * count + 50
        runs.append(watched_run(answer, landscape, count, rate=lr, watched=watched, limit=limit))
        findings = _optimize_findings(answer, runs[-1])
        if findings and any(f.kind == "behaviour" and f.cause is None for f in findings):
            while len(runs) < 2 or len(runs) == 1:
                landscape, count, lr, watched = plans[len(runs)]
                limit = 50 * count + 50
                runs.append(
                    watched_run(answer, landscape, count, rate=lr, watched=watched, limit=limit)
                )
            hint = _loop_hint(answer, runs, findings)
            return [*findings, hint]
        if findings:
            return findings
    if not np.array_equal(runs[0].final, runs[-1].final):
        text = "the same start and objective lead to another picture when it is run again."
        return [Finding("behaviour", text, "random")]
    return []


def _optimize_findings(answer: Callable, run: Run) -> list[Finding]:
    """Return what is wrong with one run; a wrong way of the target has no cause yet."""
    if run.outcome.error is not None:
        return [error_finding(run, answer)]
    findings = [*list_findings(run, None), *target_kind(run), *run.model_findings]
    if findings:
        return findings
    pictures = _adam(run.landscape, run.rate, run.count)
    wrong = not run.near(run.final, pictures[-1])
    if wrong and run.landscape.steepness < 1e-3:
        others = _adam(run.landscape, run.rate, run.count, other_epsilon=True)
        wrong = not run.near(run.final, others[-1])
        pictures = pictures if wrong else others
    if wrong:
        return [Finding("behaviour", _wrong_way(run, pictures))]
    return [
        *list_findings(run, {run.count}),
        *_loss_findings(run, pictures),
        *_told_findings(run, pictures),
    ]


def _wrong_way(run: Run, pictures: Sequence[np.ndarray]) -> str:
    """Say how far the target is from where it should be."""
    if run.count == 0:
        return "with 0 steps the target must stay where it is, and it moved."
    if not run.moved:
        return f"the target did not move in {run.words}."
    way = np.abs(pictures[-1] - pictures[0]).max()
    off = np.abs(run.final - pictures[-1]).max()
    share = f"{100 * off / way:.2g} % of" if off < way else f"{number(off / way)} times"
    return f"after {run.words} the target is not where Adam leads: off by {share} the way."


def _loss_findings(run: Run, pictures: Sequence[np.ndarray]) -> Iterator[Finding]:
    """Yield whether the returned losses are not those of the run, before or after each step."""
    losses = run.outcome.value
    right = [run.landscape.value(x) for x in pictures]
    if len(losses) != run.count or not losses:
        return
    for expected in (right[:-1], right[1:]):
        if all(run.same_loss(a, b) for a, b in zip(losses, expected, strict=True)):
            return
    if sum(run.same_loss(a, b) for a, b in zip(losses, right[:-1], strict=True)) == len(losses):
        return
    wrong = next(i for i, loss in enumerate(losses) if not run.same_loss(loss, right[i]))
    text = f"the target moves as it should, but the loss kept for step {wrong + 1} is not the loss "
    yield Finding("values", text + "of that step.", "losses-wrong")


def _told_findings(run: Run, pictures: Sequence[np.ndarray]) -> Iterator[Finding]:
    """Yield how ``on_step`` was not called as promised."""
    told = run.log.told
    if not run.watched:
        return
    if len(told) < run.count:
        times = "never" if not told else f"{len(told)} times"
        text = f"on_step was called {times} in {run.count} steps; it is called once a step."
        yield Finding("behaviour", text, "on-step-not-called")
        return
    if len(told) > run.count:
        text = f"on_step was called {len(told)} times in {run.count} steps, not once a step."
        yield Finding("behaviour", text, "on-step-arguments")
        return
    firsts = set()
    for place, call in enumerate(told):
        near = [i for i in (place, place + 1) if run.near(call.now, pictures[i])]
        if not near:
            text = "on_step is called when the target has already moved on; it is meant to show "
            yield Finding("behaviour", text + "each step as it happens.", "on-step-late")
            return
        wrong = _told_wrong(run, call, place, pictures, firsts)
        if wrong:
            yield Finding("behaviour", f"on_step(step, target, loss): {wrong}", "on-step-arguments")
            return
    if len(firsts) > 1:
        text = "on_step(step, target, loss): step does not count one by one."
        yield Finding("behaviour", text, "on-step-arguments")


def _told_wrong(
    run: Run, call: Told, place: int, pictures: Sequence[np.ndarray], firsts: set[int]
) -> str | None:
    """Return in words what is wrong with the arguments of one call of ``on_step``."""
    names = ("step", "target", "loss")[len(call.arguments) :]
    if len(call.arguments) > 3 or set(call.keywords) != set(names):
        count = len(call.arguments) + len(call.keywords)
        return f"it was called with {count} argument{'s' * (count != 1)}."
    step, _, loss = (*call.arguments, *(call.keywords[name] for name in names))
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)):
        return f"step is of type {type(step).__name__}; it is a whole number."
    firsts.add(int(step) - place)
    if int(step) - place not in (0, 1):
        return f"step is {step} in step {place + 1}; count from 0 or from 1."
    pair = (place, place + 1)
    if call.given is None or not any(run.near(call.given, pictures[i]) for i in pair):
        return "target is not the picture of that step."
    if isinstance(loss, torch.Tensor) and loss.numel() == 1:
        # The contract speaks of floats where losses are returned; a hook may see the tensor.
        loss = float(loss)
    if not isinstance(loss, float):
        return f"loss is of type {type(loss).__name__}; it is a number."
    if not any(run.same_loss(loss, run.landscape.value(pictures[i])) for i in pair):
        return f"loss is not the loss of step {place + 1}."
    return None


def _loop_hint(answer: Callable, runs: Sequence[Run], findings: Sequence[Finding]) -> Finding:
    """Return the likely reason for a target that is not where Adam leads."""
    run = next(
        (r for r in runs if r.outcome.error is None and _optimize_findings(answer, r)), runs[-1]
    )
    if run.count == 0:
        return likely("too-many-steps", "a step is made even when none is asked for.")
    if not run.moved:
        return nothing_moved(run)
    again = watched_run(
        answer, run.landscape, run.count, rate=run.rate, watched=run.watched, limit=run.log.limit
    )
    if not np.array_equal(again.final, run.final):
        text = (
            "the same start and objective lead to another picture each time: chance plays a part."
        )
        return likely("random", text)
    return (
        _limited_hint(run)
        or _order_hint(run)
        or _count_hint(answer, runs, run)
        or _rebound_hint(run)
        or _precomputed_hint(run)
        or _optimizer_hint(runs, run)
        or _gradient_hint(run)
        or _by_hand_hint(runs, run)
        or likely("wrong-optimiser", "the rule by which a gradient becomes a step is not Adam's.")
    )


def _limited_hint(run: Run) -> Finding | None:
    free = _adam(run.landscape, run.rate, run.count)[-1]
    text = "pixels are kept within limits; a normalised picture goes beyond 0 and 1."
    if is_limited(run.final, free):
        return likely("target-clamped", text)
    if any(is_limited(e.x, run.start) for e in run.log.evaluations):
        return likely("target-clamped", text)
    return None


def _order_hint(run: Run) -> Finding | None:
    """Return whether steps come before the backward pass of their own evaluation."""
    events = [e for e in run.log.events if e in ("evaluation", "accumulated", "step")]
    early = events and events[0] == "step"
    late = run.log.steps and "accumulated" in events and not steps_follow(run.log, "accumulated")
    repeated = _precomputed_hint(run)
    if early or (late and not repeated and run.log.steps[0].gradient is None):
        text = "a step is made before the backward pass it should follow."
        return likely("step-before-backward", text)
    return None


def _count_hint(answer: Callable, runs: Sequence[Run], run: Run) -> Finding | None:
    """Return whether the way is Adam's, and only its length is wrong."""
    counts = []
    for one in runs:
        pictures = _adam(one.landscape, one.rate, 3 * one.count + 25)
        found = [i for i, x in enumerate(pictures) if one.near(one.final, x)]
        if one.outcome.error is not None or not found:
            return None
        counts.append((found[0], one.count))
    made, asked = counts[list(runs).index(run)]
    text = f"the target is where it should be after {made} step{'s' * (made != 1)}, and {asked} "
    text += "were asked for."
    if all(found == min(count, 1) for found, count in counts) and len(run.log.backward) < 2:
        return likely("first-step-only", f"{text} What ends the loop?")
    return likely("too-many-steps" if made > asked else "too-few-steps", text)


def _rebound_hint(run: Run) -> Finding | None:
    """Return whether the loss is taken of another tensor, while the target goes its own way."""
    last = run.log.evaluations[-1] if run.log.evaluations else None
    if last is not None and not last.shared and last.leaf:
        text = "after the first step the loss is taken of another tensor than the one that moves."
        return likely("target-rebound", text)
    return None


def _precomputed_hint(run: Run) -> Finding | None:
    """Return whether all steps use one backward pass or one evaluation."""
    log = run.log
    if len(log.backward) == 1 and run.count > 1 and len(log.steps) != 1:
        text = "every step uses the loss of the start; the loss of the moved target is never taken."
        return likely("loss-precomputed", text)
    return None


def _optimizer_hint(runs: Sequence[Run], run: Run) -> Finding | None:
    """Return what is wrong with the optimiser's kind, number, or settings."""
    steps = run.log.steps
    if not steps:
        return None
    kinds = {type(step.optimizer) for step in steps}
    if not any(issubclass(kind, torch.optim.Adam) for kind in kinds) or torch.optim.AdamW in kinds:
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        return likely("wrong-optimiser", f"the steps are made by {names}; the contract is Adam.")
    if len({id(step.optimizer) for step in steps}) > 1:
        text = "a new optimiser is made on the way; what Adam has learned of the gradients is lost."
        return likely("optimiser-recreated", text)
    if len(steps) != run.count:
        text = f"step was called {len(steps)} times, and {run.count} steps were asked for."
        cause = "too-many-steps" if len(steps) > run.count else "too-few-steps"
        return likely(cause, text)
    group = steps[0].optimizer.param_groups[0]
    if group.get("maximize"):
        return likely("maximises", "the steps go uphill: the loss is made larger.")
    rates = [step.rate for step in steps]
    if any(abs(rate / run.rate - 1) > 1e-9 for rate in rates):
        return _rate_hint(runs, [_rates(one) for one in runs])
    default = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
    for name, value in default.items():
        if group.get(name, value) != value:
            text = f"this is Adam with another {name} than torch's own."
            return likely("wrong-optimiser", text)
    return None


def _rates(run: Run) -> list[float]:
    return [step.rate for step in run.log.steps]


def _rate_hint(runs: Sequence[Run], rates: Sequence[Sequence[float]]) -> Finding:
    """Return whether the rate is another one, or always the same, given those of each run."""
    used = [row[0] for row in rates if len(row)]
    asked = [run.rate for run, row in zip(runs, rates, strict=True) if len(row)]
    steady = all(np.allclose(row, row[0], rtol=1e-3) for row in rates if len(row))
    if steady and len(used) > 1 and np.allclose(used, used[0], rtol=1e-3):
        text = f"whatever lr is, steps are made at rate {number(used[0])}."
        return likely("rate-ignored", text)
    if not steady:
        return likely("wrong-rate", "the rate changes on the way; lr is meant for every step.")
    text = f"steps are made at rate {number(used[0])}, and lr is {number(asked[0])}."
    return likely("wrong-rate", text)


def _gradient_hint(run: Run) -> Finding | None:
    """Return how the gradients that the optimiser was given differ from the right ones."""
    steps = [step for step in run.log.steps if step.gradient is not None]
    if not steps:
        return None
    right = [run.landscape.gradient(step.before) for step in steps]
    given = [step.gradient for step in steps]
    tolerance = 1e-6 if run.landscape.dtype == torch.float64 else 1e-3

    def close(one: np.ndarray, other: np.ndarray) -> bool:
        return bool(np.abs(one - other).max() <= tolerance * np.abs(other).max())

    if all(map(close, given, right)):
        return _between_hint(run)
    if all(close(one, -other) for one, other in zip(given, right, strict=True)):
        return likely("maximises", "the steps go uphill: the loss is made larger.")
    if close(given[0], right[0]) and _is_pile(given, right, close):
        place = next(i for i in range(len(given)) if not close(given[i], right[i]))
        text = f"from step {place + 1} on the gradient still holds those of earlier steps."
        return likely("no-zero-grad", text)
    if all(map(close, given[1:], right[:-1])):
        return likely("step-before-backward", "each step uses the gradient of the step before.")
    text = "the gradient is not the loss's own when the step is made: it was changed in between."
    return likely("gradient-altered", text)


def _is_pile(given: Sequence, right: Sequence, close: Callable) -> bool:
    """Whether each gradient is the sum of the last few right ones."""
    for place, one in enumerate(given):
        total, found = np.zeros_like(one), False
        for earlier in right[place::-1]:
            total = total + earlier
            found = found or close(one, total)
        if not found:
            return False
    return True


def _between_hint(run: Run) -> Finding | None:
    """Return whether something else than the optimiser moves the target."""
    places = [step.after for step in run.log.steps], [step.before for step in run.log.steps[1:]]
    ends = [*places[1], run.final]
    if any(a is not None and not run.near(b, a) for a, b in zip(places[0], ends, strict=True)):
        text = "the pixels are also changed by something else than the optimiser's steps."
        return likely("target-clamped", text)
    return None


def _by_hand_hint(runs: Sequence[Run], run: Run) -> Finding | None:
    """Return what is wrong with steps that no optimiser of torch makes."""
    if run.log.steps:
        return None
    rates = [_rates_by_hand(one) for one in runs]
    if rates[list(runs).index(run)] is None:
        return None
    if all(rate < 0 for rate in rates[list(runs).index(run)]):
        return likely("maximises", "the steps go uphill: the loss is made larger.")
    row = np.array(rates[list(runs).index(run)]) / run.rate
    times = np.arange(1, len(row) + 1)
    if np.allclose(row, (1 - 0.9**times) / np.sqrt(1 - 0.999**times), rtol=1e-3):
        text = "the two averages start from 0, and the first steps are not corrected for that."
        return likely("wrong-optimiser", text)
    known = [(one, row) for one, row in zip(runs, rates, strict=True) if row]
    return _rate_hint([one for one, _ in known], [row for _, row in known])


def _rates_by_hand(run: Run) -> list[float] | None:
    """Return the rate of each step if all go where Adam points, given where they were made."""
    pictures = [run.start]
    for x in [e.x for e in run.log.evaluations] + [run.final]:
        if x.shape == run.start.shape and not np.array_equal(x, pictures[-1]):
            pictures.append(x)
    m = v = 0.0
    rates = []
    for t, (x, following) in enumerate(itertools.pairwise(pictures), start=1):
        g = run.landscape.gradient(x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        direction = -(m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        way = following - x
        rate = float((way * direction).sum() / (direction * direction).sum())
        if np.abs(way - rate * direction).max() > 1e-3 * np.abs(way).max():
            return None
        rates.append(rate)
    return rates or None
