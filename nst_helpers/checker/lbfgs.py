"""Reviewing ``optimize_lbfgs``, which may choose its settings.

So it is judged by what its optimiser was given, and by what that brought.

Source: PyTorch documentation, ``torch.optim.LBFGS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from nst_helpers.checker.draw import Draw
from nst_helpers.checker.flow import likely
from nst_helpers.checker.functions import accelerators
from nst_helpers.checker.loops import (
    FAR,
    ClosureCall,
    Landscape,
    Run,
    drawn_landscape,
    error_finding,
    is_limited,
    list_findings,
    nothing_moved,
    target_kind,
    watched_run,
)
from nst_helpers.checker.report import Finding


def _bowl(draw: Draw, **settings: Any) -> Landscape:
    """Return a round valley, fifty times steeper in some directions than in others.

    L-BFGS needs some sixty evaluations for it. The first step of each new L-BFGS is short there,
    as torch limits it by the size of the gradient.
    """
    landscape = drawn_landscape(draw, 1.0, **settings)
    shape = landscape.start.shape
    count = landscape.start.size
    k = 50 ** np.array([draw.number(0, 1) for _ in range(count)]).reshape(shape)
    far = np.sign(landscape.d) * np.array([draw.number(2.5, 4) for _ in range(count)]).reshape(
        shape
    )
    kinds = np.where(landscape.kinds == 1, 0, landscape.kinds)
    as_float32 = [values.astype(np.float32).astype(np.float64) for values in (k, far)]
    return replace(landscape, kinds=kinds, k=as_float32[0], d=as_float32[1])


def examine_optimize_lbfgs(answer: Callable, draw: Draw) -> list[Finding]:
    """Return what is not right yet with an answer to ``optimize_lbfgs``."""
    plans = (
        (_bowl(draw), 21),
        (_bowl(draw, dtype=torch.float32, module=True), 3),
        (_bowl(draw, module=True), 1),
        (_bowl(draw), 0),
        *[(_bowl(draw, dtype=torch.float32, device=device), 3) for device in accelerators()],
    )
    runs: list[Run] = []
    for landscape, steps in plans:
        runs.append(watched_run(answer, landscape, steps, limit=100 * steps + 100))
        findings = _lbfgs_findings(answer, runs[-1])
        if findings:
            return findings
    again = watched_run(answer, *plans[1], limit=400)
    if not np.array_equal(again.final, runs[1].final):
        text = "the same start and objective lead to another picture when it is run again."
        return [Finding("behaviour", text, "random")]
    return []


def _lbfgs_findings(answer: Callable, run: Run) -> list[Finding]:
    """Return what is wrong with one run of L-BFGS."""
    if run.outcome.error is not None:
        return [_closure_error(run, answer)]
    calls = [call for step in run.log.steps for call in step.closures]
    findings = [*list_findings(run, None), *run.model_findings]
    findings = findings or list(_lbfgs_kind(run)) or list(_closure_findings(run, calls))
    findings = findings or list(target_kind(run))
    if findings:
        return findings
    if run.count == 0:
        if run.moved:
            text = "with 0 steps the target must stay where it is, and it moved."
            return [Finding("behaviour", text, "too-many-steps")]
        return list(list_findings(run, {0}))
    if not run.moved:
        found = Finding("behaviour", f"the target did not move in {run.words}.")
        return [found, nothing_moved(run)]
    findings = list(_count_findings(run, calls))
    return findings or list(_progress_findings(run)) or list(_lbfgs_losses(run, calls))


def _lbfgs_kind(run: Run) -> Iterator[Finding]:
    """Yield whether anything but L-BFGS moves the target, or the loss is computed once."""
    kinds = {type(step.optimizer) for step in run.log.steps}
    calls = sum(len(step.closures) for step in run.log.steps)
    if kinds and not all(issubclass(kind, torch.optim.LBFGS) for kind in kinds):
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        text = f"the steps are made by {names}; the contract is L-BFGS."
        yield Finding("behaviour", text, "wrong-optimiser")
    elif not kinds and run.moved:
        text = "the target moves, but no step of torch's L-BFGS was made."
        yield Finding("behaviour", text, "wrong-optimiser")
    elif _lbfgs_limits(run):
        yield _lbfgs_limits(run)
    elif calls > 1 and run.moved and len(run.log.evaluations) < min(calls, 2):
        text = "every evaluation is that of the start: the loss is computed outside the closure."
        yield Finding("behaviour", text, "loss-precomputed")


def _closure_error(run: Run, answer: Callable) -> Finding:
    """Return what to say about an error, where the closure may be the reason."""
    found = error_finding(run, answer)
    message = str(run.outcome.error)
    if isinstance(run.outcome.error, TypeError):
        if "'NoneType'" in message and "float" in message:
            text = "the closure returns nothing, and L-BFGS needs the loss it was called for."
            return Finding("raises", text, "closure-returns-nothing")
        if "closure" in message or ("not callable" in message and "Tensor" in message):
            text = "L-BFGS evaluates several times a step, so step must be given a function that "
            return Finding("raises", text + "can be called again.", "closure-not-given")
    return found


def _lbfgs_limits(run: Run) -> Finding | None:
    """Return whether something else than the optimiser moves pixels, or the loss's own."""
    text = "pixels are kept within limits while L-BFGS believes they are where it put them."
    if any(is_limited(e.x, run.start) for e in run.log.evaluations):
        return Finding("behaviour", text, "target-clamped")
    if run.log.steps:
        last = run.log.steps[-1].after
        finite = last is not None and np.isfinite(last).all()
        if finite and not run.near(run.final, last):
            if is_limited(run.final, last):
                return Finding("behaviour", text, "target-clamped")
            text = "the target is moved once more after the last step of the optimiser."
            return Finding("behaviour", text, "gradient-altered")
    return None


def _closure_findings(run: Run, calls: Sequence[ClosureCall]) -> Iterator[Finding]:
    """Yield how what L-BFGS was given differs from the loss and its gradient."""
    calls = [call for call in calls if np.isfinite(call.before).all()]
    calls = [call for call in calls if np.abs(call.before).max() < FAR]
    right = [run.landscape.gradient(call.before) for call in calls]
    share = 1e-6 if run.landscape.dtype == torch.float64 else 1e-3
    size = np.abs(right[0]).max() if right else 0.0

    def close(one: np.ndarray | None, other: np.ndarray) -> bool:
        scale = max(np.abs(other).max(), 1e-2 * size)
        return one is not None and bool(np.abs(one - other).max() <= share * scale)

    for place, call in enumerate(calls):
        if not run.near(call.before, call.after):
            text = f"evaluation {place + 1} moves the target itself; only the optimiser may."
            yield Finding("behaviour", text, _moved_by(call))
            return
    given = [call.gradient for call in calls]
    if not all(map(close, given, right)):
        place = next(i for i in range(len(calls)) if not close(given[i], right[i]))
        text = f"in evaluation {place + 1} of {run.words}, the gradient L-BFGS sees is not that "
        yield Finding("behaviour", text + "of the loss there.")
        yield _closure_hint(run, given, right, close)
        return
    for place, call in enumerate(calls):
        try:
            returned = float(call.returned)
        except (TypeError, ValueError):
            returned = float("nan")
        if not run.same_loss(returned, run.landscape.value(call.before)):
            text = f"evaluation {place + 1}: what the closure returns is not the loss there."
            yield Finding("behaviour", text, "closure-returns-nothing")
            return


def _moved_by(call: ClosureCall) -> str:
    changed = (call.after != call.before) & np.isfinite(call.after)
    return "target-clamped" if changed.mean() < 0.8 and is_limited(call.after, call.before) else (
        "random"
    )  # fmt: skip


def _closure_hint(run: Run, given: Sequence, right: Sequence, close: Callable) -> Finding:
    """Return why the gradients of the closure are wrong."""
    if any(one is None or not one.any() for one in given):
        return nothing_moved(run)
    if all(close(one, -other) for one, other in zip(given, right, strict=True)):
        return likely("maximises", "the steps go uphill: the loss is made larger.")
    if close(given[0], right[0]):
        total = np.zeros_like(right[0])
        piles = []
        for one, other in zip(given[:3], right[:3], strict=True):
            total = total + other
            piles.append(close(one, total))
        if all(piles) and len(piles) > 1:
            text = "the gradients of all evaluations pile up; each must start from nothing."
            return likely("no-zero-grad", text)
    if not any(e.shared for e in run.log.evaluations[1:]):
        return likely(
            "target-rebound", "the loss is taken of another tensor than the one that moves."
        )
    text = "the gradient is not the loss's own when L-BFGS reads it: it was changed in between."
    return likely("gradient-altered", text)


def _count_findings(run: Run, calls: Sequence[ClosureCall]) -> Iterator[Finding]:
    """Yield whether neither the steps nor the evaluations are as many as were asked for."""
    made, evaluated = len(run.log.steps), len(calls)
    before_last = evaluated - len(run.log.steps[-1].closures)
    # Once the gradient has died away, there is nothing left to evaluate.
    slope = np.abs(run.landscape.gradient(run.final)).max()
    arrived = slope < 3e-3
    by_evaluations = before_last < run.count and (evaluated >= run.count or arrived)
    if made == run.count or by_evaluations:
        return
    text = f"{made} step{'s' * (made != 1)} and {evaluated} evaluations were made; {run.count} of "
    text += "either were asked for."
    cause = "too-many-steps" if made > run.count or evaluated > 25 * run.count else "too-few-steps"
    if made == 1:
        cause = "first-step-only"
    yield Finding("behaviour", text, cause)


def _progress_findings(run: Run) -> Iterator[Finding]:
    """Yield whether as many evaluations as were asked for bring as little as no L-BFGS would."""
    if run.count < 10:
        return
    values = [e.loss for e in run.log.evaluations[: run.count + 2]]
    first, best = run.landscape.value(run.start), min(values)
    if best <= _SLOW * first:
        return
    optimizers = {id(step.optimizer) for step in run.log.steps}
    text = f"{len(values)} evaluations bring the loss to {100 * best / first:.2g} % of the first "
    yield Finding("behaviour", text + "one; L-BFGS gets much further on this valley.")
    if len(optimizers) > 1:
        text = "a new optimiser is made on the way; what L-BFGS has learned of the valley is lost."
        yield likely("optimiser-recreated", text)
    else:
        yield likely("wrong-rate", "the steps are too short: which rate does this optimiser need?")


# Share of the first loss that is still there after 25 evaluations: gradient descent with torch's
# first step leaves more, L-BFGS with a rate of 0.1 or above less.
_SLOW = 0.2


def _lbfgs_losses(run: Run, calls: Sequence[ClosureCall]) -> Iterator[Finding]:
    """Yield whether the losses are not those of the run, one a step or one an evaluation."""
    losses = run.outcome.value
    allowed = {run.count, len(run.log.steps), len(calls), len(run.log.evaluations)}
    findings = list(list_findings(run, allowed))
    yield from findings
    if findings:
        return
    values = [e.loss for e in run.log.evaluations]
    known = iter(values)
    starts = [step.evaluations for step in run.log.steps]
    windows = list(zip([0, *starts], [*starts[1:], len(values)], strict=False))
    for place, loss in enumerate(losses):
        if len(losses) == len(starts):
            # One loss a step: taken in it, just before it or just after it.
            first, last = windows[place]
            found = any(run.same_loss(loss, other) for other in values[first:last])
        else:
            found = any(run.same_loss(loss, other) for other in known)
        if not found:
            text = f"the loss kept at place {place + 1} is none that this run had there."
            yield Finding("values", text, "losses-wrong")
            return
