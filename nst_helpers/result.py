"""What a stylisation returns: a picture that knows how it came about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from torch import Tensor

from nst_helpers.attribution import Picture
from nst_helpers.images import save_image, to_pil

OPTIMIZER_NAMES = {"lbfgs": "L-BFGS"}
SHOWN_WIDTH = 480


@dataclass(frozen=True)
class Step:
    """The losses at one step; ``total = alpha content + beta style + tv_weight variation``."""

    step: int
    seconds: float
    total: float
    content: float
    style: float
    variation: float


# What a run that ended before its first evaluation has to say about its losses.
_NOT_EVALUATED = Step(0, 0.0, *[math.nan] * 4)


@dataclass(frozen=True, kw_only=True)
class Stylized:
    """A picture made of a content and a style picture.

    Attributes:
        image: (1, 3, H, W) in [0, 1], on the CPU.
        settings: what was asked for, and the device and weights that were used; at least
            ``content``, ``style`` and ``weights``, by name.
        sources: the shipped pictures it was made of, for their credits.
    """

    image: Tensor
    settings: Mapping[str, Any]
    sources: tuple[Picture, ...] = ()

    def facts(self) -> str:
        """Return how the picture was made, the part of the caption after the pictures' names."""
        raise NotImplementedError

    def caption(self) -> str:
        """Return the facts of the run in one sentence."""
        s = self.settings
        made = f"{s['content']} in the style of {s['style']}: {self.facts()}."
        if s["weights"] == "random":
            made += " RANDOM WEIGHTS: the network has learned nothing, so this is no stylisation."
        return made

    def to_pil(self) -> Image.Image:
        """Return the picture; one made with random weights is marked as such in the picture."""
        picture = to_pil(self.image)
        return _marked_random(picture) if self.settings["weights"] == "random" else picture

    def save(self, path: str | Path) -> Path:
        """Write the picture, with its settings as metadata where the format can hold them."""
        return save_image(self.to_pil(), path, metadata={"Description": self.caption()})

    def show(self) -> Any:
        """Return the picture as a figure with caption, alt text and the sources' credits."""
        from nst_helpers import display

        return display.show(
            self.to_pil(),
            caption=self.caption(),
            alt=f"Stylised picture: {self.caption()}",
            credit=self.sources,
            width=max(self.image.shape[-1], SHOWN_WIDTH),
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.show()._repr_mimebundle_(include, exclude)


@dataclass(frozen=True, kw_only=True)
class Result(Stylized):
    """The picture an optimisation ended with, the one of the lowest total loss.

    Attributes:
        history: one entry for each step that was run; entry 0 is the picture it started from.
        frames: some (step, picture) pairs on the way, from the start to the best.
        ended: ``"finished"``, ``"interrupted"`` or ``"diverged"`` (a loss that is no number).
    """

    history: list[Step]
    frames: list[tuple[int, Tensor]] = field(default_factory=list)
    ended: str = "finished"

    @property
    def best(self) -> Step:
        """The step whose picture ``image`` is."""
        return best_step(self.history)

    def losses(self) -> dict[str, list[float]]:
        """Return the losses by name, one value a step, for ``display.plot_losses``."""
        names = ["total", "content", "style"] + ["variation"] * bool(self.settings["tv_weight"])
        return {name: [getattr(step, name) for step in self.history] for name in names}

    def facts(self) -> str:
        """Return the weights, the step, the optimiser and the loss."""
        s, best = self.settings, self.best
        optimizer = OPTIMIZER_NAMES.get(s["optimizer"], s["optimizer"].capitalize())
        return (
            f"alpha {short(s['alpha'])}, beta {short(s['beta'])}, step {best.step} of "
            f"{s['steps']} with {optimizer} from {s['start']}, total loss {short(best.total)}"
        )


def best_step(history: list[Step]) -> Step:
    """Return the step of the lowest total loss that is a number."""
    finite = [step for step in history if math.isfinite(step.total)]
    return min(finite, key=lambda step: step.total, default=_NOT_EVALUATED)


def short(value: float) -> str:
    """Return a number as people write it: 10, 0.05, 1e6."""
    return f"{value:.4g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def _marked_random(picture: Image.Image) -> Image.Image:
    marked = picture.copy()
    draw = ImageDraw.Draw(marked)
    text = "random weights"
    height = max(10, picture.width // 16)
    draw.rectangle([0, picture.height - height - 4, picture.width, picture.height], fill="black")
    draw.text((3, picture.height - height - 2), text, fill="white", font_size=height * 0.8)
    return marked
