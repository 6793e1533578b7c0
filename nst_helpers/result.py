"""What a stylisation returns: a picture that knows how it came about."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from torch import Tensor

from nst_helpers.attribution import Picture
from nst_helpers.errors import NstError
from nst_helpers.images import save_image, to_pil

# The network is told where it is not the usual one.
NETWORK_NAMES = {"vgg16": "VGG-16, ", "resnet50": "ResNet-50, "}
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
        ended: ``"finished"``, ``"settled"`` (the loss hardly fell any more), ``"interrupted"`` or
            ``"diverged"`` (no step, however small, gave a loss that could be accepted).
        notices: what happened that was not asked for, one sentence each.
    """

    history: list[Step]
    frames: list[tuple[int, Tensor]] = field(default_factory=list)
    ended: str = "finished"
    notices: tuple[str, ...] = ()

    @property
    def best(self) -> Step:
        """The step whose picture ``image`` is."""
        return best_step(self.history)

    def losses(self) -> dict[str, list[float]]:
        """Return the losses by name, one value a step, for ``display.plot_losses``."""
        names = ["total", "content", "style"] + ["variation"] * bool(self.settings["tv_weight"])
        return {name: [getattr(step, name) for step in self.history] for name in names}

    def log(self) -> str:
        """Return the history as CSV: one line a step with its time in seconds and its losses."""
        return csv_of(self.history)

    def facts(self) -> str:
        """Return the weights, the step, the optimiser and the loss."""
        s, best = self.settings, self.best
        optimizer = OPTIMIZER_NAMES.get(s["optimizer"], s["optimizer"].capitalize())
        network = NETWORK_NAMES.get(s.get("network", ""), "")
        return (
            f"{network}alpha {short(s['alpha'])}, beta {short(s['beta'])}, step {best.step} of "
            f"{s['steps']} with {optimizer} from {s['start']}, total loss {short(best.total)}"
        )


def best_step(history: list[Step]) -> Step:
    """Return the step of the lowest total loss that is a number."""
    finite = [step for step in history if math.isfinite(step.total)]
    return min(finite, key=lambda step: step.total, default=_NOT_EVALUATED)


def csv_of(history: Sequence[Step]) -> str:
    """Return steps as CSV with a heading: step, seconds, total, content, style, variation."""
    text = io.StringIO()
    table = csv.DictWriter(text, [field.name for field in fields(Step)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(step) for step in history)
    return text.getvalue()


def with_shares(style: Any, mix: Sequence[float] | None) -> list[tuple[Any, float]]:
    """Return each style picture with its share; the shares add up to 1.

    Args:
        style: one picture, or a list or tuple of them.
        mix: a share for each, 0 or more; None gives them equal shares.

    Raises:
        NstError: the shares are not numbers, or not as many as pictures, or all 0.
    """
    pictures = list(style) if isinstance(style, (list, tuple)) else [style]
    if not pictures:
        raise NstError("The list of style pictures is empty; give one picture or several.")
    shares = [1.0] * len(pictures) if mix is None else mix
    if not isinstance(shares, (list, tuple)) or len(shares) != len(pictures):
        raise NstError(
            f"style_mix is {mix!r}; give a list with one share for each of the style pictures, "
            f"of which there are {len(pictures)}."
        )
    if not all(isinstance(share, Real) and 0 <= share < math.inf for share in shares):
        raise NstError(f"style_mix is {mix!r}; its shares must be numbers, 0 or more.")
    total = float(sum(shares))
    if not 0 < total < math.inf:
        raise NstError(f"style_mix is {mix!r}; its shares must add up to more than 0.")
    return [(picture, share / total) for picture, share in zip(pictures, shares, strict=True)]


def name_of(source: Any, record: Picture | None, fallback: str) -> str:
    """Return what to call a picture in captions: its title, its file name, or its role."""
    if record is not None:
        return record.title
    if isinstance(source, (str, Path)):
        return Path(source).name or f"a {fallback} picture"
    return f"a {fallback} picture"


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
