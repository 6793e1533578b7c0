"""Answers to optimize."""

import itertools
import math

import numpy as np
import torch

from . import right, wrong

# right answers


@right
def as_in_most_lessons(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        loss = objective(target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@right
def zeroed_first_and_counted_from_one(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr)
    losses = []
    for step in range(1, steps + 1):
        optimizer.zero_grad(set_to_none=False)
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
        if on_step:
            on_step(step, target, losses[-1])
    return losses


@right
def zeroed_at_the_end(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam(params=[target], lr=lr, betas=(0.9, 0.999), eps=1e-8)
    losses = []
    step = 0
    while step < steps:
        loss = objective(target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        value = loss.detach().cpu().numpy().item()
        losses += [value]
        if on_step is not None:
            on_step(step, target, value)
        step += 1
    return losses


@right
def gradient_set_to_none(target, objective, steps, lr, on_step=None):
    opt = torch.optim.Adam([{"params": [target], "lr": lr}])
    history = []
    for i in range(steps):
        target.grad = None
        loss = objective(target)
        loss.backward()
        history.append(loss.tolist())
        if on_step is not None:
            on_step(i, target, history[i])
        opt.step()
    return history


@right
def gradient_zeroed_in_place(target, objective, steps, lr, on_step=None):
    opt = torch.optim.Adam([target], lr=lr, foreach=True)
    losses = []
    for i in range(steps):
        if target.grad is not None:
            target.grad.zero_()
        loss = objective(target)
        loss.backward(retain_graph=True)
        opt.step()
        loss = loss.item()
        losses.append(loss)
        if on_step is not None:
            on_step(i, target, loss)
    return losses


@right
def gradient_asked_for(target, objective, steps, lr, on_step=None):
    opt = torch.optim.Adam([target], lr=lr, foreach=False, fused=False)
    losses = []
    for step in range(steps):
        loss = objective(target)
        (target.grad,) = torch.autograd.grad(loss, [target])
        opt.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@right
def in_the_style_of_a_closure(target, objective, steps, lr, on_step=None):
    opt = torch.optim.Adam([target], lr=lr)

    def closure():
        opt.zero_grad()
        loss = objective(target)
        loss.backward()
        return loss

    losses = []
    for step in range(steps):
        loss = float(opt.step(closure))
        losses.append(loss)
        if on_step is not None:
            on_step(step, target, loss)
    return losses


@right
def losses_after_the_update(target, objective, steps, lr, on_step=None):
    opt = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        opt.zero_grad()
        objective(target).backward()
        opt.step()
        with torch.no_grad():
            losses.append(objective(target).item())
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@right
def adam_by_hand(target, objective, steps, lr, on_step=None):
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    m, v = torch.zeros_like(target), torch.zeros_like(target)
    losses = []
    for t in range(1, steps + 1):
        loss = objective(target)
        (g,) = torch.autograd.grad(loss, target)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        with torch.no_grad():
            target -= lr * m_hat / (torch.sqrt(v_hat) + eps)
        losses.append(loss.item())
        if on_step is not None:
            on_step(t, target, loss.item())
    return losses


@right
def adam_by_hand_in_place(target, objective, steps, lr, on_step=None):
    first = target.detach() * 0
    second = first.clone()
    losses = []
    for step in range(steps):
        target.grad = None
        loss = objective(target)
        loss.backward()
        gradient = target.grad
        first.lerp_(gradient, 0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = math.sqrt(1 - 0.999 ** (step + 1))
        target.data.addcdiv_(
            first, (second.sqrt() / scale).add_(1e-8), value=-lr / (1 - 0.9 ** (step + 1))
        )
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@right
def adam_by_hand_through_data(target, objective, steps, lr, on_step=None):
    m = v = 0
    losses = []
    for t in itertools.count(1):
        if t > steps:
            return losses
        loss = objective(target)
        gradient = torch.autograd.grad(loss, target)[0]
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient * gradient
        update = m / (1 - 0.9**t) / ((v / (1 - 0.999**t)) ** 0.5 + 1e-8)
        target.data = target.data - lr * update
        losses.append(float(loss.detach()))
        if on_step is not None:
            on_step(t - 1, target, losses[-1])


def _one_step(optimizer, target, objective):
    optimizer.zero_grad()
    loss = objective(target)
    loss.backward()
    optimizer.step()
    return loss.item()


@right
def one_step_a_function(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    on_step = on_step or (lambda step, target, loss: None)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        on_step(step, target, losses[step])
    return losses


@right
def list_comprehension(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)

    def update(step):
        loss = _one_step(optimizer, target, objective)
        if on_step is not None:
            on_step(step, target, loss)
        return loss

    return [update(step) for step in range(steps)]


def _updates(target, objective, lr):
    optimizer = torch.optim.Adam([target], lr=lr)
    while True:
        yield _one_step(optimizer, target, objective)


@right
def from_a_generator(target, objective, steps, lr, on_step=None):
    losses = []
    for step, loss in enumerate(itertools.islice(_updates(target, objective, lr), steps), start=1):
        if on_step is not None:
            on_step(step, target, loss)
        losses.append(loss)
    return losses


@right
def prints_as_it_goes(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam((target,), lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 10 == 0:
            print(f"[{step + 1}/{steps}] loss {losses[-1]:.4g}, best {min(losses):.4g}")
        if on_step is None:
            continue
        on_step(step, target, losses[-1])
    print("done")
    return losses


@right
def floats_at_the_end(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr, weight_decay=0, amsgrad=False)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if on_step is not None:
            on_step(step, target, loss.detach().item())
    return [loss.item() for loss in losses]


@right
def stacked_at_the_end(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = torch.zeros(steps, dtype=target.dtype)
    for step in range(steps):
        loss = objective(target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[step] = loss.detach()
        if on_step is not None:
            on_step(step, target, losses[step].item())
    return losses.tolist()


@right
def fused(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr, fused=True)
    losses = []
    for step in range(steps):
        loss = objective(target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@right
def rate_set_in_the_group(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target])
    optimizer.param_groups[0]["lr"] = lr
    losses = []
    for step in range(steps):
        loss = objective(target)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad.zero_()
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@right
def optimises_another_name_of_the_memory(target, objective, steps, lr, on_step=None):
    # a parameter shares its memory with the tensor it is made of
    pixels = torch.nn.Parameter(target)
    optimizer = torch.optim.Adam([pixels], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(pixels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@right
def objective_sees_a_clone_with_history(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target.clone())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@right
def with_a_scheduler_that_does_nothing(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        scheduler.step()
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


# wrong answers


@wrong("not-written", build=True)
def still_the_stub():
    def optimize(target, objective, steps, lr, on_step=None):
        raise NotImplementedError("write the loop")

    return optimize


@wrong("not-written", "returns-nothing")
def forgot_to_return(target, objective, steps, lr, on_step=None):
    losses = as_in_most_lessons(target, objective, steps, lr, on_step)  # noqa: F841


@wrong("missing-default", "wrong-arguments")
def on_step_has_no_default(target, objective, steps, lr, on_step):
    return as_in_most_lessons(target, objective, steps, lr, on_step)


@wrong("wrong-arguments", "missing-default")
def without_on_step(target, objective, steps, lr):
    return as_in_most_lessons(target, objective, steps, lr)


@wrong("wrong-arguments")
def rate_under_another_name(target, objective, steps, learning_rate, on_step=None):
    return as_in_most_lessons(target, objective, steps, learning_rate, on_step)


@wrong("wrong-arguments", "rate-ignored")
def without_a_rate(target, objective, steps, on_step=None):
    return as_in_most_lessons(target, objective, steps, 0.003, on_step)


def _loop(target, objective, steps, optimizer, on_step, prepare=None):
    """The loop most lessons have, for wrong answers whose mistake lies elsewhere."""
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        if prepare is not None:
            prepare()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("no-zero-grad")
def gradients_pile_up(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("no-zero-grad")
def zeroed_once_before_the_loop(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    optimizer.zero_grad()
    losses = []
    for step in range(steps):
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("no-zero-grad")
def zero_grad_without_parentheses(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad  # noqa: B018
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("no-zero-grad")
def zeroed_every_other_step(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        if step % 2 == 0:
            optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("zeroed-too-late")
def zeroed_after_backward(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        loss = objective(target)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("zeroed-too-late")
def gradient_filled_with_zeros_after_backward(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    return _loop(target, objective, steps, optimizer, on_step, lambda: target.grad.zero_())


@wrong("no-step")
def never_steps(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("no-step")
def step_without_parentheses(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        optimizer.step  # noqa: B018
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("no-step")
def steps_only_when_watched(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
            optimizer.step()
    return losses


@wrong("no-step", "too-few-steps")
def step_after_the_loop(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    optimizer.step()
    return losses


@wrong("no-backward")
def never_goes_backward(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("no-backward")
def gradient_asked_for_and_dropped(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        loss = objective(target)
        torch.autograd.grad(loss, target)
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("step-before-backward")
def steps_first(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.step()
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("step-before-backward")
def steps_between_zero_and_backward(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        loss = objective(target)
        optimizer.zero_grad()
        optimizer.step()
        loss.backward()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("step-before-backward", "no-zero-grad")
def steps_first_and_never_zeroes(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        loss = objective(target)
        optimizer.step()
        loss.backward()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("rate-ignored")
def rate_left_at_torchs_default(target, objective, steps, lr, on_step=None):
    return _loop(target, objective, steps, torch.optim.Adam([target]), on_step)


@wrong("rate-ignored")
def the_lessons_rate(target, objective, steps, lr, on_step=None):
    return _loop(target, objective, steps, torch.optim.Adam([target], lr=0.003), on_step)


@wrong("wrong-rate")
def a_tenth_of_the_rate(target, objective, steps, lr, on_step=None):
    return _loop(target, objective, steps, torch.optim.Adam([target], lr=lr / 10), on_step)


@wrong("wrong-rate")
def rate_shared_among_the_steps(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr / max(steps, 1))
    return _loop(target, objective, steps, optimizer, on_step)


@wrong("wrong-rate")
def rate_that_decays(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.95)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        scheduler.step()
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("wrong-rate")
def rate_halved_midway(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        if step == steps // 2:
            optimizer.param_groups[0]["lr"] = lr / 2
        losses.append(_one_step(optimizer, target, objective))
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("wrong-optimiser")
def sgd(target, objective, steps, lr, on_step=None):
    return _loop(target, objective, steps, torch.optim.SGD([target], lr=lr), on_step)


@wrong("wrong-optimiser")
def sgd_with_momentum(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.SGD([target], lr=lr, momentum=0.9)
    return _loop(target, objective, steps, optimizer, on_step)


@wrong("wrong-optimiser")
def gradient_descent_by_hand(target, objective, steps, lr, on_step=None):
    losses = []
    for step in range(steps):
        loss = objective(target)
        (gradient,) = torch.autograd.grad(loss, target)
        with torch.no_grad():
            target -= lr * gradient
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("wrong-optimiser")
def rmsprop(target, objective, steps, lr, on_step=None):
    return _loop(target, objective, steps, torch.optim.RMSprop([target], lr=lr), on_step)


@wrong("wrong-optimiser")
def adamw(target, objective, steps, lr, on_step=None):
    return _loop(target, objective, steps, torch.optim.AdamW([target], lr=lr), on_step)


@wrong("wrong-optimiser")
def adamax(target, objective, steps, lr, on_step=None):
    return _loop(target, objective, steps, torch.optim.Adamax([target], lr=lr), on_step)


@wrong("wrong-optimiser")
def nadam(target, objective, steps, lr, on_step=None):
    return _loop(target, objective, steps, torch.optim.NAdam([target], lr=lr), on_step)


@wrong("wrong-optimiser")
def amsgrad(target, objective, steps, lr, on_step=None):
    # differs from Adam only once a gradient has become small
    optimizer = torch.optim.Adam([target], lr=lr, amsgrad=True)
    return _loop(target, objective, steps, optimizer, on_step)


@wrong("wrong-optimiser")
def decaying_weights(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr, weight_decay=0.1)
    return _loop(target, objective, steps, optimizer, on_step)


@wrong("wrong-optimiser")
def betas_as_for_a_gan(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr, betas=(0.5, 0.999))
    return _loop(target, objective, steps, optimizer, on_step)


@wrong("wrong-optimiser")
def settings_of_another_lesson(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr, betas=(0.99, 0.999), eps=1e-1)
    return _loop(target, objective, steps, optimizer, on_step)


@wrong("wrong-optimiser")
def betas_swapped(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr, betas=(0.999, 0.9))
    return _loop(target, objective, steps, optimizer, on_step)


@wrong("wrong-optimiser")
def adam_by_hand_without_bias_correction(target, objective, steps, lr, on_step=None):
    m, v = torch.zeros_like(target), torch.zeros_like(target)
    losses = []
    for step in range(steps):
        loss = objective(target)
        (g,) = torch.autograd.grad(loss, target)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        with torch.no_grad():
            target -= lr * m / (v.sqrt() + 1e-8)
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("wrong-optimiser")
def adam_by_hand_without_the_root(target, objective, steps, lr, on_step=None):
    m, v = torch.zeros_like(target), torch.zeros_like(target)
    losses = []
    for t in range(1, steps + 1):
        loss = objective(target)
        (g,) = torch.autograd.grad(loss, target)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        with torch.no_grad():
            target -= lr * (m / (1 - 0.9**t)) / (v / (1 - 0.999**t) + 1e-8)
        losses.append(loss.item())
        if on_step is not None:
            on_step(t, target, loss.item())
    return losses


@wrong("not-finite", "wrong-optimiser")
def adam_by_hand_counted_from_zero(target, objective, steps, lr, on_step=None):
    m, v = torch.zeros_like(target), torch.zeros_like(target)
    losses = []
    for t in range(steps):
        loss = objective(target)
        (g,) = torch.autograd.grad(loss, target)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        m_hat = m / torch.tensor(1 - 0.9**t)
        v_hat = v / torch.tensor(1 - 0.999**t)
        with torch.no_grad():
            target -= lr * m_hat / (v_hat.sqrt() + 1e-8)
        losses.append(loss.item())
        if on_step is not None:
            on_step(t, target, loss.item())
    return losses


@wrong("not-finite", "wrong-optimiser")
def adam_by_hand_without_epsilon(target, objective, steps, lr, on_step=None):
    # nan wherever a pixel has no gradient
    m, v = torch.zeros_like(target), torch.zeros_like(target)
    losses = []
    for t in range(1, steps + 1):
        loss = objective(target)
        (g,) = torch.autograd.grad(loss, target)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        with torch.no_grad():
            target -= lr * (m / (1 - 0.9**t)) / (v / (1 - 0.999**t)).sqrt()
        losses.append(loss.item())
        if on_step is not None:
            on_step(t, target, loss.item())
    return losses


@wrong("optimiser-recreated")
def new_optimiser_each_step(target, objective, steps, lr, on_step=None):
    losses = []
    for step in range(steps):
        optimizer = torch.optim.Adam([target], lr=lr)
        losses.append(_one_step(optimizer, target, objective))
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("optimiser-recreated")
def new_optimiser_now_and_then(target, objective, steps, lr, on_step=None):
    losses = []
    for step in range(steps):
        if step % 5 == 0:
            optimizer = torch.optim.Adam([target], lr=lr)
        losses.append(_one_step(optimizer, target, objective))
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("target-rebound")
def optimises_a_clone(target, objective, steps, lr, on_step=None):
    target = target.clone().detach().requires_grad_(True)
    return _loop(target, objective, steps, torch.optim.Adam([target], lr=lr), on_step)


@wrong("target-rebound")
def optimiser_holds_a_copy(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target.detach().clone().requires_grad_()], lr=lr)
    return _loop(target, objective, steps, optimizer, on_step)


@wrong("target-rebound")
def a_new_tensor_each_step(target, objective, steps, lr, on_step=None):
    m, v = torch.zeros_like(target), torch.zeros_like(target)
    losses = []
    for t in range(1, steps + 1):
        loss = objective(target)
        (g,) = torch.autograd.grad(loss, target)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        update = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        target = (target - lr * update).detach().requires_grad_()
        losses.append(loss.item())
        if on_step is not None:
            on_step(t, target, loss.item())
    return losses


@wrong("target-rebound", "target-clamped")
def clamps_into_a_new_tensor(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        target = target.detach().clamp(0, 1).requires_grad_()
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("raises", "target-rebound", "target-clamped")
def clamps_with_a_history(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        target = target.clamp(0, 1)
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("raises", "target-clamped")
def clamps_a_leaf_in_place(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        target.clamp_(0, 1)
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("target-clamped")
def clamps_after_each_step(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        with torch.no_grad():
            target.clamp_(0, 1)
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("target-clamped")
def clamps_at_the_end(target, objective, steps, lr, on_step=None):
    losses = as_in_most_lessons(target, objective, steps, lr, on_step)
    target.data.clamp_(0, 1)
    return losses


@wrong("target-clamped")
def objective_of_the_clamped_picture(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    return _loop(target, lambda image: objective(image.clamp(0, 1)), steps, optimizer, on_step)


@wrong("maximises")
def goes_uphill(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr, maximize=True)
    return _loop(target, objective, steps, optimizer, on_step)


@wrong("maximises")
def backward_from_minus_the_loss(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        (-loss).backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("maximises")
def plus_for_minus_by_hand(target, objective, steps, lr, on_step=None):
    m, v = torch.zeros_like(target), torch.zeros_like(target)
    losses = []
    for t in range(1, steps + 1):
        loss = objective(target)
        (g,) = torch.autograd.grad(loss, target)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        with torch.no_grad():
            target += lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        losses.append(loss.item())
        if on_step is not None:
            on_step(t, target, loss.item())
    return losses


@wrong("gradient-altered")
def gradient_clipped(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)

    def clip():
        torch.nn.utils.clip_grad_value_([target], 0.1)

    return _loop(target, objective, steps, optimizer, on_step, clip)


@wrong("gradient-altered")
def gradient_normalised(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    return _loop(
        target,
        objective,
        steps,
        optimizer,
        on_step,
        lambda: target.grad.div_(target.grad.abs().mean() + 1e-8),
    )


@wrong("gradient-altered")
def sign_of_the_gradient(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    return _loop(target, objective, steps, optimizer, on_step, lambda: target.grad.sign_())


@wrong("random")
def a_little_noise_each_step(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        target.data += 0.01 * torch.randn_like(target)
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("random")
def starts_from_noise(target, objective, steps, lr, on_step=None):
    with torch.no_grad():
        target.copy_(torch.rand_like(target))
    return as_in_most_lessons(target, objective, steps, lr, on_step)


@wrong("loss-precomputed")
def loss_taken_before_the_loop(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    loss = objective(target)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("loss-precomputed", "raises")
def loss_taken_before_the_loop_and_no_graph_kept(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    loss = objective(target)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("loss-precomputed")
def gradient_taken_before_the_loop(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    objective(target).backward()
    losses = []
    for step in range(steps):
        optimizer.step()
        with torch.no_grad():
            losses.append(objective(target).item())
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("detached", "raises")
def objective_of_a_detached_target(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    return _loop(target, lambda image: objective(image.detach()), steps, optimizer, on_step)


@wrong("detached", "no-backward")
def objective_of_a_fresh_leaf(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target.detach().clone().requires_grad_())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


@wrong("detached", "raises")
def backward_from_a_number(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target).item()
        loss.backward()
        optimizer.step()
        losses.append(loss)
        if on_step is not None:
            on_step(step, target, loss)
    return losses


@wrong("detached", "raises")
@torch.no_grad()
def everything_without_gradients(target, objective, steps, lr, on_step=None):
    return as_in_most_lessons(target, objective, steps, lr, on_step)


@wrong("too-many-steps")
def one_step_more(target, objective, steps, lr, on_step=None):
    return as_in_most_lessons(target, objective, steps + 1, lr, on_step)


@wrong("too-few-steps")
def one_step_less(target, objective, steps, lr, on_step=None):
    return as_in_most_lessons(target, objective, max(steps - 1, 0), lr, on_step)


@wrong("too-few-steps")
def counted_from_one_to_steps(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(1, steps):
        losses.append(_one_step(optimizer, target, objective))
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("too-many-steps")
def steps_twice_with_one_gradient(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    return _loop(target, objective, steps, optimizer, on_step, optimizer.step)


@wrong("too-many-steps")
def steps_by_closure_and_by_hand(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)

    def closure():
        loss = _one_step(optimizer, target, objective)
        return loss

    losses = []
    for step in range(steps):
        losses.append(optimizer.step(closure))
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("too-many-steps")
def at_least_one_step(target, objective, steps, lr, on_step=None):
    # wrong for zero steps only
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    while True:
        losses.append(_one_step(optimizer, target, objective))
        if on_step is not None:
            on_step(len(losses), target, losses[-1])
        if len(losses) >= steps:
            return losses


@wrong("too-few-steps")
def stops_when_the_loss_rises(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        if on_step is not None:
            on_step(step, target, losses[-1])
        if step > 0 and losses[-1] > losses[-2]:
            break
    return losses


@wrong("too-few-steps", "too-many-steps")
def always_twenty_steps(target, objective, steps, lr, on_step=None):
    return as_in_most_lessons(target, objective, 20, lr, on_step)


@wrong("first-step-only")
def returns_inside_the_loop(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        if on_step is not None:
            on_step(step, target, losses[-1])
        return losses
    return losses


@wrong("first-step-only")
def no_loop(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    loss = _one_step(optimizer, target, objective)
    if on_step is not None:
        on_step(0, target, loss)
    return [loss]


@wrong("raises")
def fails_without_steps(target, objective, steps, lr, on_step=None):
    losses = as_in_most_lessons(target, objective, steps, lr, on_step)
    print(f"final loss {losses[-1]:.4g}")
    return losses


@wrong("raises")
def stacks_an_empty_list(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if on_step is not None:
            on_step(step, target, loss.item())
    return torch.stack(losses).tolist()


@wrong("on-step-not-called")
def on_step_forgotten(target, objective, steps, lr, on_step=None):
    return as_in_most_lessons(target, objective, steps, lr)


@wrong("on-step-not-called")
def on_step_named_but_not_called(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for _step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        if on_step is not None:
            on_step  # noqa: B018
    return losses


@wrong("on-step-not-called")
def on_step_when_it_is_none(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        if on_step is None:
            print(step, losses[-1])
    return losses


@wrong("on-step-not-called")
def on_step_every_tenth_step(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        if on_step is not None and step % 10 == 0:
            on_step(step, target, losses[-1])
    return losses


@wrong("on-step-not-called")
def on_step_not_on_step_zero(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        if on_step and step:
            on_step(step, target, losses[-1])
    return losses


@wrong("on-step-not-called", "on-step-late")
def on_step_once_at_the_end(target, objective, steps, lr, on_step=None):
    losses = as_in_most_lessons(target, objective, steps, lr)
    if on_step is not None and losses:
        on_step(steps, target, losses[-1])
    return losses


@wrong("on-step-late")
def on_step_in_a_second_loop(target, objective, steps, lr, on_step=None):
    losses = as_in_most_lessons(target, objective, steps, lr)
    if on_step is not None:
        for step, loss in enumerate(losses):
            on_step(step, target, loss)
    return losses


@wrong("on-step-unguarded", "raises")
def on_step_called_though_none(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        losses.append(_one_step(optimizer, target, objective))
        on_step(step, target, losses[-1])
    return losses


@wrong("on-step-arguments")
def on_step_twice_a_step(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        if on_step is not None:
            on_step(step, target, objective(target).item())
        losses.append(_one_step(optimizer, target, objective))
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


def _with_on_step(target, objective, steps, lr, tell):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        tell(step, loss, losses)
    return losses


@right
def on_step_gets_a_tensor(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step(step, target, loss)

    return _with_on_step(target, objective, steps, lr, tell)


@right
def on_step_gets_a_detached_tensor(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step(step, target, loss.detach())

    return _with_on_step(target, objective, steps, lr, tell)


@wrong("on-step-arguments")
def on_step_gets_all_losses(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step(step, target, losses)

    return _with_on_step(target, objective, steps, lr, tell)


@wrong("on-step-arguments")
def on_step_gets_loss_before_target(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step(step, loss.item(), target)

    return _with_on_step(target, objective, steps, lr, tell)


@wrong("on-step-arguments")
def on_step_gets_target_first(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step(target, step, loss.item())

    return _with_on_step(target, objective, steps, lr, tell)


@wrong("on-step-arguments")
def on_step_gets_two_arguments(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step(step, loss.item())

    return _with_on_step(target, objective, steps, lr, tell)


@wrong("on-step-arguments")
def on_step_gets_nothing(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step()

    return _with_on_step(target, objective, steps, lr, tell)


@wrong("on-step-arguments")
def on_step_gets_one_tuple(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step((step, target, loss.item()))

    return _with_on_step(target, objective, steps, lr, tell)


@wrong("on-step-arguments")
def on_step_gets_a_share_of_the_steps(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step((step + 1) / steps, target, loss.item())

    return _with_on_step(target, objective, steps, lr, tell)


@wrong("on-step-arguments")
def on_step_counts_down(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step(steps - step, target, loss.item())

    return _with_on_step(target, objective, steps, lr, tell)


@wrong("on-step-arguments")
def on_step_gets_the_gradient(target, objective, steps, lr, on_step=None):
    def tell(step, loss, losses):
        if on_step is not None:
            on_step(step, target.grad, loss.item())

    return _with_on_step(target, objective, steps, lr, tell)


@wrong("losses-not-floats")
def losses_are_tensors(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = objective(target)
        loss.backward()
        optimizer.step()
        losses.append(loss)
        if on_step is not None:
            on_step(step, target, loss.item())
    return losses


def _but_return(change, target, objective, steps, lr, on_step):
    return change(as_in_most_lessons(target, objective, steps, lr, on_step))


@wrong("losses-not-floats")
def losses_are_detached_tensors(target, objective, steps, lr, on_step=None):
    def change(losses):
        return [torch.tensor(loss) for loss in losses]

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-not-floats")
def losses_are_arrays(target, objective, steps, lr, on_step=None):
    def change(losses):
        return [np.array(loss) for loss in losses]

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-not-floats")
def losses_are_strings(target, objective, steps, lr, on_step=None):
    def change(losses):
        return [f"{loss:.4f}" for loss in losses]

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-not-floats")
def losses_with_their_steps(target, objective, steps, lr, on_step=None):
    def change(losses):
        return list(enumerate(losses))

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-not-floats", "losses-wrong")
def losses_are_whole_numbers(target, objective, steps, lr, on_step=None):
    def change(losses):
        return [int(loss) for loss in losses]

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("wrong-type")
def losses_in_a_tensor(target, objective, steps, lr, on_step=None):
    return _but_return(torch.tensor, target, objective, steps, lr, on_step)


@wrong("wrong-type")
def losses_in_a_dictionary(target, objective, steps, lr, on_step=None):
    def change(losses):
        return dict(enumerate(losses))

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("wrong-type")
def only_the_last_loss(target, objective, steps, lr, on_step=None):
    def change(losses):
        return losses[-1] if losses else 0.0

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("wrong-type", "no-step")
def a_generator_nobody_runs(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    for step in range(steps):
        loss = _one_step(optimizer, target, objective)
        if on_step is not None:
            on_step(step, target, loss)
        yield loss


@wrong("returns-target")
def returns_the_picture(target, objective, steps, lr, on_step=None):
    as_in_most_lessons(target, objective, steps, lr, on_step)
    return target


@wrong("returns-target", "wrong-type")
def returns_picture_and_losses(target, objective, steps, lr, on_step=None):
    return target, as_in_most_lessons(target, objective, steps, lr, on_step)


@wrong("losses-wrong")
def losses_added_up(target, objective, steps, lr, on_step=None):
    def change(losses):
        return list(itertools.accumulate(losses))

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-wrong")
def losses_averaged_so_far(target, objective, steps, lr, on_step=None):
    def change(losses):
        return [sum(losses[: i + 1]) / (i + 1) for i in range(len(losses))]

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-wrong")
def losses_all_the_last(target, objective, steps, lr, on_step=None):
    def change(losses):
        return losses[-1:] * len(losses)

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-wrong")
def losses_relative_to_the_first(target, objective, steps, lr, on_step=None):
    def change(losses):
        return [loss / losses[0] for loss in losses]

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-wrong")
def losses_rounded(target, objective, steps, lr, on_step=None):
    def change(losses):
        return [round(loss, 1) for loss in losses]

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-wrong")
def losses_newest_first(target, objective, steps, lr, on_step=None):
    def change(losses):
        return losses[::-1]

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-wrong")
def losses_best_so_far(target, objective, steps, lr, on_step=None):
    def change(losses):
        return list(itertools.accumulate(losses, min))

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-wrong")
def losses_divided_by_the_pixels(target, objective, steps, lr, on_step=None):
    def change(losses):
        return [loss / target.numel() for loss in losses]

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-wrong")
def losses_every_tenth(target, objective, steps, lr, on_step=None):
    def change(losses):
        return losses[::10]

    return _but_return(change, target, objective, steps, lr, on_step)


@wrong("losses-wrong")
def losses_of_the_start_as_well(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = [objective(target).item()]
    for step in range(steps):
        _one_step(optimizer, target, objective)
        losses.append(objective(target).item())
        if on_step is not None:
            on_step(step, target, losses[-1])
    return losses


@wrong("losses-wrong")
def losses_only_when_watched(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        loss = _one_step(optimizer, target, objective)
        if on_step is not None:
            on_step(step, target, loss)
            losses.append(loss)
    return losses


@wrong("losses-wrong")
def losses_printed_only(target, objective, steps, lr, on_step=None):
    optimizer = torch.optim.Adam([target], lr=lr)
    losses = []
    for step in range(steps):
        loss = _one_step(optimizer, target, objective)
        print(step, loss)
        if on_step is not None:
            on_step(step, target, loss)
    return losses


@wrong("shared-state", "losses-wrong")
def losses_of_all_calls(target, objective, steps, lr, on_step=None, losses=[]):  # noqa: B006
    losses.extend(as_in_most_lessons(target, objective, steps, lr, on_step))
    return losses


@wrong("model-changed")
def optimises_the_network_too(target, objective, steps, lr, on_step=None):
    parameters = [target]
    if isinstance(objective, torch.nn.Module):
        parameters += [p for p in objective.parameters() if p is not target]
    return _loop(target, objective, steps, torch.optim.Adam(parameters, lr=lr), on_step)


@wrong("model-changed")
def freezes_the_network(target, objective, steps, lr, on_step=None):
    if isinstance(objective, torch.nn.Module):
        objective.requires_grad_(False)
    return as_in_most_lessons(target, objective, steps, lr, on_step)


@wrong("wrong-dtype")
def picture_made_float32(target, objective, steps, lr, on_step=None):
    losses = as_in_most_lessons(target, objective, steps, lr, on_step)
    target.data = target.data.float()
    return losses
