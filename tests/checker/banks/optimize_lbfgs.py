"""Answers to optimize_lbfgs. Steps may count optimiser steps or evaluations of the closure."""

import itertools

import numpy as np
import torch
from torch.optim import LBFGS

from . import right, wrong

# right answers


@right
def one_loss_a_step(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    losses = []
    for _ in range(steps):
        loss = optimizer.step(closure)
        losses.append(loss.item())
    return losses


@right
def one_loss_an_evaluation(target, objective, steps):
    optimizer = LBFGS([target], lr=1)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return losses


@right
def steps_count_evaluations(target, objective, steps):
    # a step of the optimiser may go up to 20 evaluations beyond
    optimizer = torch.optim.LBFGS([target])
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(float(loss))
        return loss

    while len(losses) < steps:
        optimizer.step(closure)
    return losses


@right
def exactly_so_many_evaluations(target, objective, steps):
    optimizer = torch.optim.LBFGS([target], max_iter=20)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(loss.item())
        return loss

    while len(losses) < steps:
        optimizer.param_groups[0]["max_iter"] = min(20, steps - len(losses))
        optimizer.step(closure)
    return losses


@right
def one_evaluation_a_step(target, objective, steps):
    optimizer = torch.optim.LBFGS([target], max_iter=1)

    def closure():
        target.grad = None
        loss = objective(target)
        loss.backward()
        return loss

    return [float(optimizer.step(closure)) for _ in range(steps)]


@right
def short_history(target, objective, steps):
    optimizer = torch.optim.LBFGS([target], max_iter=1, history_size=10)
    losses = []

    def closure():
        if target.grad is not None:
            target.grad.zero_()
        loss = objective(target)
        loss.backward()
        return loss

    step = 0
    while step < steps:
        losses.append(optimizer.step(closure).detach().cpu().numpy().item())
        step += 1
    return losses


@right
def line_search(target, objective, steps):
    optimizer = torch.optim.LBFGS([target], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad(set_to_none=True)
        loss = objective(target)
        loss.backward()
        return loss

    losses = []
    for i in range(steps):
        losses.append(optimizer.step(closure).item())
        print(i, losses[-1])
    return losses


@right
def settings_spelled_out(target, objective, steps):
    optimizer = torch.optim.LBFGS(
        params=[target],
        lr=1.0,
        max_iter=20,
        max_eval=25,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        history_size=100,
        line_search_fn=None,
    )
    losses = []
    for _ in range(steps):

        def closure():
            optimizer.zero_grad(set_to_none=False)
            loss = objective(target)
            loss.backward()
            return loss

        losses += [optimizer.step(closure).tolist()]
    return losses


@right
def never_satisfied(target, objective, steps):
    optimizer = torch.optim.LBFGS([target], tolerance_grad=0, tolerance_change=0)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(loss.detach())
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return [loss.item() for loss in losses]


@right
def closure_returns_a_float(target, objective, steps):
    optimizer = torch.optim.LBFGS([{"params": [target]}])

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss.item()

    return [optimizer.step(closure) for _ in range(steps)]


@right
def closure_returns_a_detached_loss(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        loss = objective(target)
        (target.grad,) = torch.autograd.grad(loss, [target])
        return loss.detach()

    losses = []
    for _ in range(steps):
        losses.append(float(optimizer.step(closure)))
    return losses


@right
def losses_after_the_step(target, objective, steps):
    optimizer = torch.optim.LBFGS([target], max_iter=4)

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    losses = []
    for _ in range(steps):
        optimizer.step(closure)
        with torch.no_grad():
            losses.append(objective(target).item())
    return losses


@right
def last_evaluation_of_each_step(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    latest = None
    losses = []

    def closure():
        nonlocal latest
        optimizer.zero_grad()
        latest = objective(target)
        latest.backward()
        return latest

    for _ in range(steps):
        optimizer.step(closure)
        losses.append(latest.item())
    return losses


class _Closure:
    def __init__(self, target, objective):
        self.target, self.objective = target, objective
        self.losses = []

    def __call__(self):
        self.target.grad = None
        loss = self.objective(self.target)
        loss.backward()
        self.losses.append(loss.item())
        return loss


@right
def closure_is_an_object(target, objective, steps):
    closure = _Closure(target, objective)
    optimizer = LBFGS([target])
    for _ in itertools.repeat(None, steps):
        optimizer.step(closure)
    return closure.losses


@right
def all_in_one_step(target, objective, steps):
    losses = []
    if steps == 0:
        return losses
    optimizer = torch.optim.LBFGS([target], max_iter=steps)

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(loss.item())
        return loss

    optimizer.step(closure)
    return losses


@right
def optimises_another_name_of_the_memory(target, objective, steps):
    pixels = torch.nn.Parameter(target)
    optimizer = torch.optim.LBFGS([pixels])

    def closure():
        optimizer.zero_grad()
        loss = objective(pixels)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


# wrong answers


def _loop(target, objective, steps, optimizer, prepare=None):
    """The usual loop, for wrong answers whose mistake lies elsewhere."""

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        if prepare is not None:
            prepare()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


@wrong("not-written")
def still_the_stub(target, objective, steps):
    pass


@wrong("not-written", "returns-nothing")
def forgot_to_return(target, objective, steps):
    losses = one_loss_a_step(target, objective, steps)
    print(losses)


@wrong("wrong-arguments")
def wants_a_rate(target, objective, steps, lr):
    return _loop(target, objective, steps, torch.optim.LBFGS([target], lr=lr))


@wrong("wrong-arguments")
def steps_under_another_name(target, objective, iterations):
    return one_loss_a_step(target, objective, iterations)


@wrong("no-zero-grad")
def gradients_pile_up(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        loss = objective(target)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


@wrong("no-zero-grad")
def zeroed_outside_the_closure(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        loss = objective(target)
        loss.backward()
        return loss

    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        losses.append(optimizer.step(closure).item())
    return losses


@wrong("zeroed-too-late")
def zeroed_after_backward(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        loss = objective(target)
        loss.backward()
        optimizer.zero_grad()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


@wrong("no-backward")
def never_goes_backward(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        optimizer.zero_grad()
        return objective(target)

    return [optimizer.step(closure).item() for _ in range(steps)]


@wrong("no-backward")
def objective_itself_as_the_closure(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        losses.append(optimizer.step(lambda: objective(target)).item())
    return losses


@wrong("no-step")
def closure_called_by_hand_only(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    return [closure().item() for _ in range(steps)]


@wrong("closure-returns-nothing", "raises")
def closure_without_return(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(loss.item())

    for _ in range(steps):
        optimizer.step(closure)
    return losses


@wrong("closure-returns-nothing")
def closure_returns_zero(target, objective, steps):
    # the loss tells the optimiser when to stop, and guides a line search
    optimizer = torch.optim.LBFGS([target], line_search_fn="strong_wolfe")
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(loss.item())
        return 0.0

    for _ in range(steps):
        optimizer.step(closure)
    return losses


@wrong("closure-not-given", "raises")
def step_without_a_closure(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@wrong("closure-not-given", "raises")
def closure_called_when_passed(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    return [optimizer.step(closure()).item() for _ in range(steps)]


@wrong("loss-precomputed")
def loss_taken_before_the_closure(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    loss = objective(target)

    def closure():
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


@wrong("loss-precomputed", "raises")
def loss_taken_once_a_step(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    losses = []
    for _ in range(steps):
        loss = objective(target)

        def closure():
            optimizer.zero_grad()
            loss.backward()  # noqa: B023
            return loss  # noqa: B023

        losses.append(optimizer.step(closure).item())
    return losses


@wrong("wrong-optimiser")
def adam_with_a_closure(target, objective, steps):
    return _loop(target, objective, steps, torch.optim.Adam([target], lr=0.02))


@wrong("wrong-optimiser")
def gradient_descent_with_a_closure(target, objective, steps):
    return _loop(target, objective, steps, torch.optim.SGD([target], lr=0.01))


@wrong("wrong-optimiser")
def rprop_with_a_closure(target, objective, steps):
    return _loop(target, objective, steps, torch.optim.Rprop([target]))


@wrong("wrong-optimiser")
def gradient_descent_by_hand(target, objective, steps):
    losses = []
    for _ in range(steps):
        loss = objective(target)
        (gradient,) = torch.autograd.grad(loss, target)
        with torch.no_grad():
            target -= 0.01 * gradient
        losses.append(loss.item())
    return losses


@wrong("optimiser-recreated")
def new_optimiser_each_step(target, objective, steps):
    # one iteration each: no history ever, so this is gradient descent
    losses = []
    for _ in range(steps):
        optimizer = torch.optim.LBFGS([target], max_iter=1)
        losses += _loop(target, objective, 1, optimizer)
    return losses


@wrong("wrong-rate")
def the_rate_of_the_adam_lesson(target, objective, steps):
    return _loop(target, objective, steps, torch.optim.LBFGS([target], lr=0.003))


@wrong("wrong-rate", "no-step")
def rate_of_zero(target, objective, steps):
    return _loop(target, objective, steps, torch.optim.LBFGS([target], lr=0.0))


@wrong("target-rebound")
def optimises_a_clone(target, objective, steps):
    target = target.clone().detach().requires_grad_(True)
    return _loop(target, objective, steps, torch.optim.LBFGS([target]))


@wrong("target-rebound")
def optimiser_holds_a_copy(target, objective, steps):
    optimizer = torch.optim.LBFGS([target.detach().clone().requires_grad_()])
    return _loop(target, objective, steps, optimizer)


@wrong("target-rebound", "target-clamped")
def clamps_into_a_new_tensor(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        nonlocal target
        target = target.detach().clamp(0, 1).requires_grad_()
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


@wrong("raises", "target-clamped", "target-rebound")
def clamps_into_a_local_name(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        target = target.clamp(0, 1)  # noqa: F823
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


@wrong("target-clamped")
def clamps_in_the_closure(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        with torch.no_grad():
            target.clamp_(0, 1)
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


@wrong("target-clamped")
def clamps_at_the_end(target, objective, steps):
    losses = one_loss_a_step(target, objective, steps)
    target.data.clamp_(0, 1)
    return losses


@wrong("target-clamped")
def objective_of_the_clamped_picture(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    return _loop(target, lambda image: objective(image.clamp(0, 1)), steps, optimizer)


@wrong("maximises")
def goes_uphill(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    losses = _loop(target, lambda image: -objective(image), steps, optimizer)
    return [-loss for loss in losses]


@wrong("maximises")
def backward_from_minus_the_loss(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        (-loss).backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


@wrong("gradient-altered")
def sign_of_the_gradient(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    return _loop(target, objective, steps, optimizer, lambda: target.grad.sign_())


@wrong("random")
def noise_in_the_closure(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    return _loop(
        target,
        objective,
        steps,
        optimizer,
        lambda: target.data.add_(0.1 * torch.randn_like(target)),
    )


@wrong("detached", "raises")
def objective_of_a_detached_target(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    return _loop(target, lambda image: objective(image.detach()), steps, optimizer)


@wrong("detached", "no-backward")
def objective_of_a_fresh_leaf(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    return _loop(
        target,
        lambda image: objective(image.detach().clone().requires_grad_()),
        steps,
        optimizer,
    )


@wrong("detached", "raises")
def closure_without_gradients(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    @torch.no_grad()
    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


@wrong("detached", "raises")
def backward_from_a_number(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    return _loop(target, lambda image: objective(image).item(), steps, optimizer)


@wrong("too-many-steps")
def one_step_more(target, objective, steps):
    return one_loss_a_step(target, objective, steps + 1)


@wrong("too-few-steps")
def one_step_less(target, objective, steps):
    return one_loss_a_step(target, objective, max(steps - 1, 0))


@wrong("too-many-steps")
def two_steps_for_each(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    losses = []
    for _ in range(steps):
        optimizer.step(closure)
        losses.append(optimizer.step(closure).item())
    return losses


@wrong("too-many-steps")
def at_least_one_step(target, objective, steps):
    # wrong for zero steps only
    optimizer = torch.optim.LBFGS([target])
    losses = []
    while True:
        losses += _loop(target, objective, 1, optimizer)
        if len(losses) >= steps:
            return losses


@wrong("too-many-steps")
def up_to_and_including(target, objective, steps):
    optimizer = torch.optim.LBFGS([target], max_iter=1)
    losses = []
    while len(losses) <= steps:
        losses += _loop(target, objective, 1, optimizer)
    return losses


@wrong("too-many-steps", "too-few-steps")
def always_three_steps(target, objective, steps):
    return one_loss_a_step(target, objective, 3)


@wrong("first-step-only")
def returns_inside_the_loop(target, objective, steps):
    losses = []
    optimizer = torch.optim.LBFGS([target])
    for _ in range(steps):
        losses += _loop(target, objective, 1, optimizer)
        return losses
    return losses


@wrong("first-step-only")
def no_loop(target, objective, steps):
    return one_loss_a_step(target, objective, min(steps, 1))


@wrong("raises")
def fails_without_steps(target, objective, steps):
    losses = one_loss_a_step(target, objective, steps)
    print("final loss", losses[-1])
    return losses


@wrong("losses-not-floats")
def losses_are_tensors(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    return [optimizer.step(closure) for _ in range(steps)]


@wrong("losses-not-floats")
def losses_are_strings(target, objective, steps):
    return [f"{loss:.3f}" for loss in one_loss_a_step(target, objective, steps)]


@wrong("losses-not-floats")
def losses_are_arrays(target, objective, steps):
    return [np.array(loss) for loss in one_loss_a_step(target, objective, steps)]


@wrong("losses-not-floats")
def losses_are_nothing(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    for _ in range(steps):
        losses.append(print(optimizer.step(closure).item()))
    return losses


@wrong("wrong-type")
def only_the_last_loss(target, objective, steps):
    losses = one_loss_a_step(target, objective, steps)
    return losses[-1] if losses else 0.0


@wrong("wrong-type")
def losses_in_a_tensor(target, objective, steps):
    return torch.tensor(one_loss_a_step(target, objective, steps))


@wrong("returns-target")
def returns_the_picture(target, objective, steps):
    one_loss_a_step(target, objective, steps)
    return target


@wrong("returns-target", "wrong-type")
def returns_picture_and_losses(target, objective, steps):
    return target, one_loss_a_step(target, objective, steps)


@wrong("losses-wrong")
def losses_added_up(target, objective, steps):
    return list(itertools.accumulate(one_loss_a_step(target, objective, steps)))


@wrong("losses-wrong")
def losses_all_the_last(target, objective, steps):
    return one_loss_a_step(target, objective, steps)[-1:] * steps


@wrong("losses-wrong")
def losses_newest_first(target, objective, steps):
    return one_loss_a_step(target, objective, steps)[::-1]


@wrong("losses-wrong")
def losses_averaged_over_the_evaluations(target, objective, steps):
    optimizer = torch.optim.LBFGS([target])
    losses = []
    for _ in range(steps):
        evaluations = []

        def remember(image, evaluations=evaluations):
            loss = objective(image)
            evaluations.append(loss.item())
            return loss

        _loop(target, remember, 1, optimizer)
        losses.append(sum(evaluations) / len(evaluations))
    return losses


@wrong("losses-wrong")
def losses_never_appended(target, objective, steps):
    losses = []
    one_loss_a_step(target, objective, steps)
    return losses


@wrong("losses-wrong")
def losses_relative_to_the_first(target, objective, steps):
    losses = one_loss_a_step(target, objective, steps)
    return [loss / losses[0] for loss in losses]


_all_losses = []


@wrong("shared-state", "losses-wrong")
def losses_of_all_calls(target, objective, steps):
    _all_losses.extend(one_loss_a_step(target, objective, steps))
    return _all_losses


@wrong("model-changed")
def optimises_the_network_too(target, objective, steps):
    parameters = [target]
    if isinstance(objective, torch.nn.Module):
        parameters += list(objective.parameters())
    return _loop(target, objective, steps, torch.optim.LBFGS(parameters))


@wrong("wrong-dtype")
def picture_made_float32(target, objective, steps):
    losses = one_loss_a_step(target, objective, steps)
    target.data = target.data.float()
    return losses
