"""The losses as a drawing: SVG that takes its colours from the panel around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from nst_helpers.result import Step

WIDTH, HEIGHT = 440, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 62, 8, 22
_NAMES = ("content", "style", "total")
# Told apart by their dashes and the words at their ends, not by colour alone.
_DASHES = {"content": "2 3", "style": "7 3", "total": "none"}
_MOST_POINTS = 160


def loss_plot(history: Sequence[Step], changes: Iterable[int] = ()) -> str:
    """Return the content, style and total loss over the steps as SVG, both axes logarithmic.

    The horizontal axis shows 1 + step, so that step 0 has its place. A loss of 0 or less and one
    that is no number have none, and leave a gap. ``changes`` are steps before which a setting was
    changed; they get a dotted line.
    """
    finite = {name: _points(history, name) for name in _NAMES}
    values = [value for points in finite.values() for _, value in points]
    if not values:
        return _svg("No losses yet.", "")
    last = history[-1].step
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def x(step: int) -> float:
        share = math.log10(1 + step) / math.log10(1 + max(last, 9))
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    parts = [_grid(low, high, last, x, y)]
    parts += [
        f'<line class="change" x1="{x(step):.1f}" x2="{x(step):.1f}" y1="{_TOP}" '
        f'y2="{HEIGHT - _BOTTOM}"/>'
        for step in changes
    ]
    ends = {}
    for name, points in finite.items():
        if not points:
            continue
        line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(
            f'<polyline class="{name}" stroke-dasharray="{_DASHES[name]}" points="{line}"/>'
        )
        ends[name] = y(points[-1][1])
    for name, height in _apart(ends).items():
        parts.append(
            f'<text class="{name} name" x="{WIDTH - _RIGHT + 6}" y="{height + 4:.1f}">{name}</text>'
        )
    return _svg(losses_in_words(history), "".join(parts))


def losses_in_words(history: Sequence[Step]) -> str:
    """Return the present losses, and those at the first step, as a sentence."""
    if not history:
        return "No losses yet."
    first, last = history[0], history[-1]
    now = ", ".join(f"{name} {short_number(getattr(last, name))}" for name in _NAMES)
    if first.step == last.step:
        return f"Losses at step {last.step}: {now}."
    then = ", ".join(f"{name} {short_number(getattr(first, name))}" for name in _NAMES)
    return f"Losses at step {last.step}: {now}. At step {first.step}: {then}."


def _points(history: Sequence[Step], name: str) -> list[tuple[int, float]]:
    """Return the (step, loss) pairs to draw, no more than a screen can show."""
    pairs = [(step.step, getattr(step, name)) for step in history]
    every = max(1, len(pairs) // _MOST_POINTS)
    # The first steps are far apart on a logarithmic axis: all of them are drawn.
    chosen = [pair for i, pair in enumerate(pairs) if i < 32 or i % every == 0 or pair == pairs[-1]]
    return [(step, value) for step, value in chosen if math.isfinite(value) and value > 0]


def _grid(
    low: int, high: int, last: int, x: Callable[[int], float], y: Callable[[float], float]
) -> str:
    lines = []
    every = max(1, math.ceil((high - low) / 4))
    for power in range(low, high + 1, every):
        height = y(10.0**power)
        lines.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{height:.1f}" '
            f'y2="{height:.1f}"/><text class="tick" text-anchor="end" x="{_LEFT - 6}" '
            f'y="{height + 4:.1f}">{short_number(10.0**power)}</text>'
        )
    for step in (0, 1, 3, 10, 30, 100, 300, 1000, 3000):
        if step <= max(last, 9):
            lines.append(
                f'<text class="tick" text-anchor="middle" x="{x(step):.1f}" '
                f'y="{HEIGHT - _BOTTOM + 15}">{step}</text>'
            )
    lines.append(
        f'<text class="tick" x="{WIDTH - _RIGHT + 6}" y="{HEIGHT - _BOTTOM + 15}">steps</text>'
    )
    return "".join(lines)


def _apart(heights: dict[str, float], gap: float = 13.0) -> dict[str, float]:
    """Return the heights moved apart, so that the words at the lines' ends do not overlap."""
    placed: dict[str, float] = {}
    lowest = -math.inf
    for name in sorted(heights, key=heights.__getitem__):
        lowest = max(heights[name], lowest + gap)
        placed[name] = lowest
    over = lowest - (HEIGHT - _BOTTOM)
    return {name: height - max(0.0, over) for name, height in placed.items()}


def short_number(value: float) -> str:
    """Return a loss in three digits or so: 0.25, 31.1, 2,231, 3e6."""
    if not math.isfinite(value):
        return "no number"
    if value and not 0.01 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{float(f'{value:.3g}'):g}" if value < 1000 else f"{value:,.0f}"


def _svg(words: str, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">'
        f"{content}</svg>"
    )
