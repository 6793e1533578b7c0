"""Judging an activation that an answer took out of a model, and telling which one it really is.

A wrong activation is compared with what other ways through the same modules give: one module
fewer, without the ReLUs, backwards, all of them. Networks whose modules leave marks
(:func:`nst_helpers.checker.networks.marked`) answer even where nobody thought of that way.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from nst_helpers.checker import compare
from nst_helpers.checker.functions import number
from nst_helpers.checker.report import Finding

Chain = tuple[int, ...]


@dataclass
class Runner:
    """Runs any modules of a model one after another on a picture, in float64, on copies.

    Attributes:
        modules: copies of the model's modules in float64; :func:`exact_modules` makes them.
        image: the picture, float64, (1, 3, H, W).
    """

    modules: Sequence[nn.Module]
    image: Tensor
    _kept: dict[Chain, Tensor | None] = field(default_factory=dict)
    _variants: dict[str, Runner] = field(default_factory=dict)

    def tensor(self, chain: Sequence[int]) -> Tensor | None:
        """Return what comes out of these modules; None where they do not fit together."""
        chain = tuple(chain)
        if not chain:
            return self.image
        known = len(chain)
        while known and chain[:known] not in self._kept:
            known -= 1
        x = self._kept[chain[:known]] if known else self.image
        for length in range(known + 1, len(chain) + 1):
            if x is not None:
                x = _applied(self.modules[chain[length - 1]], x)
            self._kept[chain[:length]] = x
        return x

    def values(self, chain: Sequence[int] | None) -> np.ndarray | None:
        """Return the numbers that come out of these modules; None where there are none."""
        if chain is None or any(not 0 <= index < len(self.modules) for index in chain):
            return None
        result = self.tensor(chain)
        return None if result is None else compare.numbers(result)

    def upto(self, index: int) -> np.ndarray | None:
        """Return the output of module ``index``; -1 stands for the picture."""
        return self.values(range(index + 1))

    def on(self, name: str, change: Callable[[Tensor], Tensor]) -> Runner:
        """Return a runner for a changed picture."""
        if name not in self._variants:
            self._variants[name] = Runner(self.modules, change(self.image))
        return self._variants[name]


@torch.no_grad()
def _applied(module: nn.Module, x: Tensor) -> Tensor | None:
    try:
        return module(x.clone())
    except (RuntimeError, ValueError):
        return None


def exact_modules(model: nn.Sequential) -> list[nn.Module]:
    """Return copies of a model's modules in float64 for a :class:`Runner`."""
    return list(copy.deepcopy(model).double())


def operations(modules: Sequence[nn.Module], index: int) -> int:
    """Return how many additions and multiplications lead to one number behind module ``index``.

    Each convolution adds one product for each number of its kernel and a bias; other modules count
    as a few.
    """
    counts = (
        2 * module.weight[0].numel() if isinstance(module, nn.Conv2d) else 8
        for outer in modules[: index + 1]
        for module in outer.modules()
    )
    return sum(counts)


@dataclass(frozen=True)
class Look:
    """One activation that an answer gave.

    Attributes:
        runner: the model and the picture.
        index: of the module whose output was asked for.
        given: what the answer gave.
        relative: the difference that rounding can cause.
        asked: the indices of everything asked for in the same call.
    """

    runner: Runner
    index: int
    given: np.ndarray
    relative: float
    asked: tuple[int, ...] = ()

    def fits(self, values: np.ndarray | None) -> bool:
        """Return whether these numbers are what the answer gave."""
        return values is not None and compare.same(self.given, values, self.relative)

    @property
    def right(self) -> bool:
        """Return whether this is the output of the module asked for."""
        return self.fits(self.runner.upto(self.index))


def judged(look: Look, words: str, *, names: Callable[[int], str] | None = None) -> list[Finding]:
    """Return what is wrong with the numbers of an activation of the right kind.

    Args:
        look: the activation.
        words: what was asked for, as in "module 21 of a small VGG-19".
        names: what to call a module; None says what kind of module it is.
    """
    expected = look.runner.upto(look.index)
    if not np.isfinite(look.given).all() and np.isfinite(expected).all():
        return [Finding("finite", f"the result for {words} holds nan or inf.", "not-finite")]
    if look.right:
        return []
    called = names or (lambda index: f"module {index}, {_kind(look.runner.modules[index])}")
    ratio = compare.common_ratio(look.given, expected, look.relative)
    if ratio is not None:
        text = f"every value for {words} is {number(ratio)} times the right one."
        return [Finding("values", text, "scaled")]
    other = place(look)
    if other is None:
        return [Finding("values", f"the values for {words} are not right.")]
    found = "the picture itself" if other < 0 else f"what {called(other)}, gives"
    text = f"the result for {words} is {found}; {called(look.index)}, was asked for."
    return [Finding("values", text)]


def place(look: Look) -> int | None:
    """Return which module's output the answer gave, -1 for the picture, None for no one's."""
    nearest = sorted(range(-1, len(look.runner.modules)), key=lambda k: abs(k - look.index))
    for index in nearest:
        if look.fits(look.runner.upto(index)):
            return index
    return None


def _kind(module: nn.Module) -> str:
    kinds = ((nn.Conv2d, "a convolution"), (nn.ReLU, "a ReLU"), (nn.MaxPool2d, "a pooling"))
    return next((word for kind, word in kinds if isinstance(module, kind)), _article(module))


def _article(module: nn.Module) -> str:
    return f"a module of type {type(module).__name__}"


def gradient_findings(
    value: Tensor, image: Tensor, look: Look, words: str, *, compared: bool
) -> Iterator[Finding]:
    """Yield whether and how a gradient fails to reach the picture.

    Args:
        value: the activation as the answer gave it.
        image: the picture it was given, which asks for a gradient.
        look: the same activation.
        words: what to call the result.
        compared: whether the gradient's values are compared. In float32, rounding may carry a
            number over a ReLU's or a maximum's edge, where a gradient jumps.
    """
    if not value.requires_grad:
        text = f"no gradient flows back from {words}: the connection to the picture is cut."
        yield Finding("gradient", text, "detached")
        return
    weights = _weights(value)
    try:
        (given,) = torch.autograd.grad(
            (value * weights).sum(), [image], allow_unused=True, retain_graph=True
        )
    except RuntimeError as error:
        text = f"a backward pass from {words} stops: {str(error).splitlines()[0][:120]}"
        yield Finding("gradient", text, "changed-in-place")
        return
    wanted = _wanted_gradient(look, weights)
    # Behind ReLUs that are all off, the right gradient is 0, too.
    if given is None or (wanted.any() and not given.any()):
        text = f"no gradient reaches the picture from {words}: the connection is cut on the way."
        yield Finding("gradient", text, "detached")
        return
    if not (compared and look.right):
        return
    if not compare.same(compare.numbers(given), wanted, 8 * look.relative):
        text = f"the values of {words} are right but the gradient of the picture is not: a part of "
        yield Finding("gradient", text + "it is cut off.", "detached")


def _wanted_gradient(look: Look, weights: Tensor) -> np.ndarray:
    """Return the picture's gradient of the weighted sum of the right activation."""
    exact = look.runner.image.detach().clone().requires_grad_()
    x = exact
    for module in look.runner.modules[: look.index + 1]:
        x = module(x.clone())
    if x.shape != weights.shape:
        return compare.numbers(torch.ones_like(exact))
    (gradient,) = torch.autograd.grad((x * weights.to(x)).sum(), [exact])
    return compare.numbers(gradient)


def _weights(value: Tensor) -> Tensor:
    """Return fixed numbers without pattern, one for each value, so that no gradient cancels."""
    steps = torch.arange(1, value.numel() + 1, dtype=torch.float64)
    return torch.sin(steps * 1.7).mul(1.3).add(0.4).reshape(value.shape).to(value)


# --- which way through the modules was it? -------------------------------------------------------


@dataclass(frozen=True)
class Guess:
    """A way people go wrong: its cause, a hint, and what it gives."""

    cause: str
    hint: str
    values: Callable[[Look], np.ndarray | None]


def _way(
    cause: str, hint: str, chain: Callable[[Sequence[nn.Module], int], Sequence[int]]
) -> Guess:
    def values(look: Look) -> np.ndarray | None:
        return look.runner.values(chain(look.runner.modules, look.index))

    return Guess(cause, hint, values)


def _of_kind(modules: Sequence[nn.Module], *kinds: type) -> list[int]:
    return [index for index, module in enumerate(modules) if isinstance(module, kinds)]


def _without(modules: Sequence[nn.Module], index: int, *kinds: type) -> list[int]:
    dropped = set(_of_kind(modules[: index + 1], *kinds))
    return [k for k in range(index + 1) if k not in dropped]


def _counted(positions: Sequence[int], modules: Sequence[nn.Module], index: int) -> Sequence[int]:
    """Return the way to the module that is number ``index`` among some of the modules."""
    if 0 <= index < len(positions):
        return range(positions[index] + 1)
    # A loop that never meets its number runs to the end.
    return range(len(modules))


def _first(modules: Sequence[nn.Module], index: int, met: Callable[[str], bool]) -> Sequence[int]:
    return range(next((k + 1 for k in range(len(modules)) if met(str(k))), len(modules)))


def _overwritten(modules: Sequence[nn.Module], index: int) -> Sequence[int]:
    following = modules[index + 1 : index + 2]
    return range(index + 2 if any(isinstance(m, nn.ReLU) for m in following) else index + 1)


def _as_text(modules: Sequence[nn.Module], index: int) -> list[int]:
    order = sorted(range(len(modules)), key=str)
    return order[: order.index(index) + 1]


def _changed_picture(cause: str, hint: str, change: Callable[[Tensor], Tensor]) -> Guess:
    def values(look: Look) -> np.ndarray | None:
        return look.runner.on(hint, change).upto(look.index)

    return Guess(cause, hint, values)


def _normalised(image: Tensor) -> Tensor:
    mean = image.new_tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    return (image - mean) / image.new_tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def _square(image: Tensor) -> Tensor:
    side = min(image.shape[-2:])
    return image[..., :side, :side]


def _rectified(look: Look) -> np.ndarray:
    return np.maximum(look.runner.upto(look.index), 0)


_SKIPS = "on the way to the module asked for, {} left out; every module before it counts."

GUESSES: tuple[Guess, ...] = (
    _way(
        "unchanged",
        "the picture itself comes back: what a module returns has to be kept, it does not change "
        "its input.",
        lambda modules, i: (),
    ),
    _way(
        "one-early",
        "the result is what comes out one module before: is the module asked for still applied?",
        lambda modules, i: range(i),
    ),
    _way(
        "one-late",
        "one module too many was applied: where does the way end?",
        lambda modules, i: range(min(i + 2, len(modules))),
    ),
    _way(
        "misses-last",
        "right for all modules but the last one: does the loop reach it?",
        lambda modules, i: range(min(i, len(modules) - 2) + 1),
    ),
    _way(
        "overwritten-in-place",
        "the result was overwritten by the ReLU behind it: a ReLU in place changes the tensor that "
        "was kept.",
        _overwritten,
    ),
    _way(
        "only-that-module",
        "the module was given the picture itself; its input is what the modules before it make of "
        "the picture.",
        lambda modules, i: (i,),
    ),
    _way(
        "skips-modules",
        _SKIPS.format("everything between the first module and the last was"),
        lambda modules, i: (0, i),
    ),
    _way(
        "applied-twice",
        "the module asked for was applied twice.",
        lambda modules, i: (*range(i + 1), i),
    ),
    _way(
        "whole-model",
        "the result is what the whole model gives: nothing stops at the module asked for.",
        lambda modules, i: range(len(modules)),
    ),
    _way(
        "from-the-end",
        "the modules were counted from the end of the model.",
        lambda modules, i: range(len(modules) - i),
    ),
    _way(
        "from-the-end",
        "the modules were counted from the end of the model.",
        lambda modules, i: range((len(modules) - i) % len(modules) + 1),
    ),
    _way(
        "counts-convolutions",
        "only convolutions were counted; the index counts every module.",
        lambda modules, i: _counted(_of_kind(modules, nn.Conv2d), modules, i),
    ),
    _way(
        "counts-convolutions",
        "only convolutions were counted; the index counts every module.",
        lambda modules, i: _counted(_of_kind(modules, nn.Conv2d), modules, i - 1),
    ),
    _way(
        "counts-convolutions",
        "only convolutions were counted; the index counts every module.",
        lambda modules, i: range((_of_kind(modules, nn.Conv2d) or [0])[: i + 1][-1] + 1),
    ),
    _way(
        "counts-convolutions",
        "ReLUs were not counted; the index counts every module.",
        lambda modules, i: _counted(_without(modules, len(modules), nn.ReLU), modules, i),
    ),
    _way(
        "counts-convolutions",
        "poolings were not counted; the index counts every module.",
        lambda modules, i: _counted(_without(modules, len(modules), nn.MaxPool2d), modules, i),
    ),
    _way(
        "skips-modules",
        _SKIPS.format("ReLUs were"),
        lambda modules, i: sorted({*_without(modules, i, nn.ReLU), i}),
    ),
    _way("skips-modules", _SKIPS.format("ReLUs were"), lambda m, i: _without(m, i, nn.ReLU)),
    _way(
        "skips-modules", _SKIPS.format("poolings were"), lambda m, i: _without(m, i, nn.MaxPool2d)
    ),
    _way(
        "skips-modules",
        _SKIPS.format("poolings and ReLUs were"),
        lambda modules, i: _without(modules, i, nn.MaxPool2d, nn.ReLU),
    ),
    _way(
        "skips-modules", _SKIPS.format("the first module was"), lambda modules, i: range(1, i + 1)
    ),
    _way(
        "skips-modules",
        _SKIPS.format("every second module was"),
        lambda modules, i: range(0, i + 1, 2),
    ),
    _way(
        "skips-modules",
        _SKIPS.format("modules of other kinds than VGG-19's were"),
        lambda modules, i: [
            k for k in _of_kind(modules, nn.Conv2d, nn.ReLU, nn.MaxPool2d) if k <= i
        ],
    ),
    _way(
        "wrong-order",
        "the modules were applied from the back to the front.",
        lambda modules, i: range(i, -1, -1),
    ),
    _way(
        "wrong-order",
        "the modules were sorted by their names as text, where 10 comes before 2.",
        _as_text,
    ),
    _way(
        "partial-name-match",
        "a module's name was taken for another one's that begins alike, as 1 for 12.",
        lambda modules, i: _first(modules, i, str(i).startswith),
    ),
    _way(
        "partial-name-match",
        "a module's name was taken for another one's that it is a part of, as 1 for 12.",
        lambda modules, i: _first(modules, i, lambda name: name in str(i)),
    ),
    _way(
        "partial-name-match",
        "a module's name was taken for another one's that it is a part of, as 2 for 21.",
        lambda modules, i: range(
            max((k for k in range(len(modules)) if str(i) in str(k)), default=i) + 1
        ),
    ),
    Guess(
        "after-relu",
        "negative values were set to 0; the activation is what the module itself gives, and that "
        "may be negative.",
        _rectified,
    ),
    _changed_picture(
        "normalised",
        "the picture was normalised again; it comes in as the model wants it.",
        _normalised,
    ),
    _changed_picture(
        "normalised",
        "the picture's own mean was subtracted; it comes in as the model wants it.",
        lambda image: image - image.mean(),
    ),
    _changed_picture("mirrored", "the picture was mirrored.", lambda image: image.flip(3)),
    _changed_picture("mirrored", "the picture was turned upside down.", lambda i: i.flip(2)),
    _changed_picture(
        "clamped",
        "the picture's values were cut off at 0 and 1; a normalised picture goes beyond.",
        lambda image: image.clamp(0, 1),
    ),
    _changed_picture(
        "square-assumed",
        "the picture was cut to a square; it need not be one.",
        _square,
    ),
    _changed_picture(
        "square-assumed",
        "height and width of the picture have changed places.",
        lambda image: image.transpose(2, 3),
    ),
    _changed_picture(
        "bgr-order", "the picture's channels were reversed.", lambda image: image.flip(1)
    ),
    _changed_picture(
        "range-255", "the picture was divided by 255 once more.", lambda image: image / 255
    ),
    _changed_picture(
        "range-255", "the picture was multiplied by 255 first.", lambda image: image * 255
    ),
)

# A guess has to explain this share of what is wrong, and loses this much for contradicting what is
# right.
_LEAST_SHARE = 0.5
_CONTRADICTION = 0.4


def recognised(looks: Sequence[Look], guesses: Sequence[Guess] = GUESSES) -> Finding | None:
    """Return the hint of the guess that explains best what an answer gave; None if none does."""
    wrong = [look for look in looks if not look.right]
    if not wrong:
        return None
    right = [look for look in looks if look.right]
    best, found = 0.0, None
    for guess in (*guesses, *_fixed_places(wrong)):
        explained = sum(look.fits(guess.values(look)) for look in wrong) / len(wrong)
        if explained < _LEAST_SHARE:
            continue
        false = sum(not look.fits(guess.values(look)) for look in right) / max(len(right), 1)
        score = explained - _CONTRADICTION * false
        if score > best + 1e-9:
            best, found = score, guess
    if found is not None:
        return Finding("cause", found.hint, found.cause)
    return next(filter(None, map(_by_marks, wrong)), None) or next(
        filter(None, map(_by_place, wrong)), None
    )


def _fixed_places(wrong: Sequence[Look]) -> Iterator[Guess]:
    """Yield the guess that the same module is always taken, for each that fits several results."""
    if len({look.index for look in wrong}) < 2:
        return
    hint = "it is always the output of module {}, whatever is asked for: is the index used?"
    limit = "it is never the output of a module behind module {}, whatever is asked for."
    for k in range(max(len(look.runner.modules) for look in wrong)):
        yield _way(
            "ignores-index",
            hint.format(k),
            lambda modules, i, k=k: range(min(k, len(modules) - 1) + 1),
        )
        yield _way(
            "hard-coded-model", limit.format(k), lambda modules, i, k=k: range(min(k, i) + 1)
        )


def _by_place(look: Look) -> Finding | None:
    """Return which module's output this is, where no guess knows why."""
    other = place(look)
    if other is None:
        return None
    side = "earlier than" if other < look.index else "behind"
    text = f"the result is the output of a module {side} the one asked for: {other}, not "
    cause = "one-early" if other < look.index else "one-late"
    return Finding("cause", f"{text}{look.index}.", cause)


def _by_marks(look: Look) -> Finding | None:
    """Return which modules were applied, read from the marks they left."""
    scales = _marks(look)
    slopes = _slopes(look)
    if scales is None or slopes is None:
        return None
    wanted = range(look.index + 1)
    if np.allclose(slopes, scales[:, wanted].prod(axis=1), rtol=1e-7):
        return _other_order(look)
    for twice in range(scales.shape[1]):
        if np.allclose(slopes, scales[:, wanted].prod(axis=1) * scales[:, twice], rtol=1e-7):
            text = f"module {twice} was applied once too often on the way to module {look.index}."
            return Finding("cause", text, "applied-twice" if twice <= look.index else "one-late")
    applied = _subset(scales, slopes)
    if applied is None or applied == list(range(len(applied))):
        return None
    left_out = [k for k in wanted if k not in applied]
    extra = [k for k in applied if k > look.index]
    parts = []
    if left_out:
        parts.append(f"left out: {_listed(left_out)}")
    if extra:
        parts.append(f"applied although they come later: {_listed(extra)}")
    text = f"on the way to module {look.index}, these modules were {'; '.join(parts)}."
    return Finding("cause", text, "skips-modules" if left_out else "one-late")


def _other_order(look: Look) -> Finding | None:
    """Return that all modules were applied, two of them or all in another order."""
    way = list(range(look.index + 1))
    orders = [way[::-1], way[1:] + way[:1], way[-1:] + way[:-1]]
    for i, j in itertools.combinations(way, 2):
        order = list(way)
        order[i], order[j] = order[j], order[i]
        orders.append(order)
    if any(look.fits(look.runner.values(order)) for order in orders):
        text = "all modules on the way were applied, but not in their order."
        return Finding("cause", text, "wrong-order")
    return None


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:4]))
    return shown if len(numbers) <= 4 else f"{shown} and {len(numbers) - 4} more"


def _marks(look: Look) -> np.ndarray | None:
    """Return each module's factors, (3, modules); None if these are no marked modules."""
    scales = []
    for module in look.runner.modules:
        if not isinstance(module, nn.Conv2d) or module.groups != 3 or module.kernel_size != (1, 1):
            return None
        scales.append(compare.numbers(module.weight).ravel())
    return np.stack(scales, axis=1)


def _slopes(look: Look) -> np.ndarray | None:
    """Return how steeply each channel of the result follows the picture's; None if it does not."""
    image = compare.numbers(look.runner.image)
    if look.given.shape != image.shape or look.relative > 1e-4:
        return None
    slopes = []
    for channel in range(3):
        x, y = (array[:, channel].ravel() for array in (image, look.given))
        slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
        if slope == 0 or not compare.same(slope * (x - x.mean()) + y.mean(), y, 1e-6):
            return None
        slopes.append(slope)
    return np.array(slopes)


def _subset(scales: np.ndarray, slopes: np.ndarray) -> list[int] | None:
    """Return which modules' factors multiply to the slopes; None if none do."""
    products = np.ones((3, 1))
    for k in range(scales.shape[1]):
        products = np.concatenate([products, products * scales[:, k : k + 1]], axis=1)
    near = np.abs(products / slopes[:, None] - 1).max(axis=0)
    chosen = int(near.argmin())
    if near[chosen] > 1e-7:
        return None
    return [k for k in range(scales.shape[1]) if chosen >> k & 1]


# --- what an answer does whatever it is asked for ------------------------------------------------


def habit(
    call: Callable[[Tensor], object], images: Sequence[Tensor], *, keeps_size: bool = True
) -> Finding | None:
    """Return what a wrong answer always does: noise, the same result, the same size, squares.

    Args:
        call: gives the answer a picture; what it returns may be anything.
        images: two pictures of one size, and one of another, none of them square.
        keeps_size: whether the right result is as high and wide as the picture.
    """
    results = [call(image) for image in (images[0], images[0], images[1], images[2])]
    if not all(isinstance(result, Tensor) for result in results):
        return None
    if any(
        a is b or _shared(a, b) for a, b in ((results[0], results[2]), (results[1], results[2]))
    ):
        text = "a second call gives back the tensor of the first: something is kept between calls."
        return Finding("cause", text, "shared-state")
    first, again, other, larger = (compare.numbers(result) for result in results)
    if not np.isfinite(first).all():
        return None
    if not np.array_equal(first, again, equal_nan=True):
        text = "two calls with the same picture give different results."
        return Finding("cause", text, "random")
    if np.array_equal(first, other, equal_nan=True):
        return Finding("cause", "the result is the same whatever picture comes in.", "constant")
    if keeps_size and first.ndim == larger.ndim == 4:
        return _size_habit([first, larger], [images[0], images[2]])
    return None


def _shared(a: Tensor, b: Tensor) -> bool:
    return a.numel() > 0 and a.device.type != "meta" and a.data_ptr() == b.data_ptr()


def _size_habit(results: Sequence[np.ndarray], images: Sequence[Tensor]) -> Finding | None:
    given = [result.shape[-2:] for result in results]
    sizes = [tuple(image.shape[-2:]) for image in images]
    if given == sizes:
        return None
    if given[0] == given[1]:
        text = f"the result is {given[0][0]} x {given[0][1]} whatever the picture's size."
        return Finding("cause", text, "hard-coded-size")
    if given == [size[::-1] for size in sizes]:
        text = "height and width have changed places."
        return Finding("cause", text, "square-assumed")
    if all(height == width for height, width in given):
        text = "the result is square though the picture is not."
        return Finding("cause", text, "square-assumed")
    return None
