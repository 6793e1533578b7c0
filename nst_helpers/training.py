"""Training a network to paint: the losses of style transfer, lowered over many photographs.

Optimising pixels solves one picture at a time. Here a sum of content and style losses is lowered by
moving a network's parameters, with another few crops of photographs at each step; what the network
has learnt holds for photographs it never saw. Training for several styles at once, each crop of a
step is painted in the next style.

Each loss is a share of the largest value it could have: without that a few vivid crops, and the
layer with the largest numbers, would have all the say, as a squared Gram matrix grows with the
fourth power of the features.

``Training`` is a training that can be watched, interrupted and taken up again; ``nst train`` is
the same from the command line.

Source: Johnson, Alahi and Fei-Fei 2016, "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution"; Dumoulin, Shlens and Kudlur 2017, "A Learned Representation for Artistic Style";
Cheng, Jaiswal, Wu, Natarajan and Natarajan 2021, "Style-Aware Normalized Loss for Improving
Arbitrary Style Transfer".
"""

from __future__ import annotations

import copy
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from nst_helpers import backbones, losses
from nst_helpers.attribution import find_picture
from nst_helpers.device import autocast, pick_device, pick_precision
from nst_helpers.errors import NstError
from nst_helpers.image_transform import BLOCKS, CHANNELS, ImageTransform
from nst_helpers.images import load_image, save_image
from nst_helpers.photographs import Crops, crop_batches, find_photographs, mixed
from nst_helpers.result import Step, csv_of, name_of, short
from nst_helpers.trained import (
    ENDING,
    Style,
    Trained,
    checked_name,
    frozen_copy,
    painted,
    replaced,
)

DEFAULT_SIZE = 128
DEFAULT_STEPS = 4000
DEFAULT_BATCH = 4
DEFAULT_RATE = 3e-3
# The styles' scales and shifts move so many times as fast as the kernels. A kernel has hundreds of
# numbers that move together; of a style's palette each colour is one number alone.
TABLES_RATE = 3.0
# Each layer's loss is a share of the largest it could have, so all are heard without weights.
STYLE_WEIGHTS: Mapping[str, float] = {
    "conv1_1": 1.0,
    "conv2_1": 1.0,
    "conv3_1": 1.0,
    "conv4_1": 1.0,
}
# Johnson et al. compare content in relu3_3 of VGG-16. A layer as deep as the lessons' says little
# of where a line has to be, and a network that knows nothing yet needs to be told.
CONTENT_LAYER = "conv3_3"
# Chosen by looking, with crops of 96 pixels: with 1, woods and skies are still a photograph's after
# 600 steps.
DEFAULT_ALPHA = 0.4
DEFAULT_BETA = 1.0
# Bound of the style pictures if nothing is said, and of the photograph held out.
USUAL_SIZE = 256
DEFAULT_VARIATION = 2.0
# At the end of a training the rate is this share of what it was at its beginning.
LAST_RATE = 0.02
# So many steps in a row whose loss was no number end a training.
PATIENCE = 5
# For pictures without any feature, where a share would be 0 of 0.
_TINY = 1e-12
_FORMAT = "nst-training-2"
_MOMENTS = ("exp_avg", "exp_avg_sq")

StepHook = Callable[[Step], None]


class Judge:
    """Content and style losses of painted crops, as shares and as means over the crops.

    Args:
        styles: the style pictures, each (1, 3, H, W) normalised.
        model: a VGG-19, whole or cut; it is not changed.
        positions: how many pixels a crop has: Gram matrices are sums over positions, so those of
            the styles are scaled to as many.
        content_layer: the layer content is compared in.
        style_weights: layer name -> weight of its style loss.
        precision: the dtype the convolutions run in.
    """

    def __init__(
        self,
        styles: Sequence[Tensor],
        model: nn.Sequential,
        positions: int,
        *,
        content_layer: str = losses.CONTENT_LAYER,
        style_weights: Mapping[str, float] = losses.STYLE_WEIGHTS,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.precision = precision
        self.network = copy.deepcopy(model).to(precision, memory_format=torch.channels_last)
        self.content_layer = content_layer
        self.style_weights = {name: weight for name, weight in style_weights.items() if weight}
        rows = [self._style_grams(picture, positions) for picture in styles]
        self.grams = {name: torch.cat([row[name] for row in rows]) for name in self.style_weights}

    @torch.no_grad()
    def _style_grams(self, picture: Tensor, positions: int) -> dict[str, Tensor]:
        scale = positions / picture[0, 0].numel()
        features = self._features(picture, self.style_weights)
        return {name: scale * batch_gram_matrix(f) for name, f in features.items()}

    def _features(self, pixels: Tensor, layers: Any) -> dict[str, Tensor]:
        inputs = pixels.to(self.precision, memory_format=torch.channels_last)
        return backbones.extract_features(inputs, self.network, layers)

    def __call__(self, pictures: Tensor, crops: Tensor, styles: Tensor) -> tuple[Tensor, Tensor]:
        """Return content loss and style loss, two scalars with a graph.

        Args:
            pictures: what was painted, (B, 3, H, W) in [0, 1].
            crops: of what, the same shape.
            styles: the number of each one's style, (B,).
        """
        with torch.no_grad():
            goal = self._features(backbones.normalize(crops), [self.content_layer])
        layers = {self.content_layer, *self.style_weights}
        features = self._features(backbones.normalize(pictures), layers)
        content = batch_content_loss(features[self.content_layer], goal[self.content_layer])
        style = sum(
            weight * batch_style_loss(features[name], self.grams[name][styles])
            for name, weight in self.style_weights.items()
        )
        return content, style + torch.zeros_like(content)


def batch_gram_matrix(activation: Tensor) -> Tensor:
    """Return the Gram matrix of each picture, not divided: (B, C, H, W) -> (B, C, C), float32.

    Source: Gatys, Ecker and Bethge 2016, equation 3.
    """
    features = activation.flatten(start_dim=2).float()
    return features @ features.mT


def batch_content_loss(activation: Tensor, goal: Tensor) -> Tensor:
    """Return the mean over a batch of ``mean((F - P)^2) / mean(P^2)``, a scalar.

    That is :func:`nst_helpers.losses.content_loss` over what it is where F = 0.

    Args:
        activation: F, of the painted pictures, (B, C, H, W).
        goal: P, of the crops, the same shape.
    """
    away = (activation.float() - goal.float()).square().mean((1, 2, 3))
    return (away / goal.float().square().mean((1, 2, 3)).clamp_min(_TINY)).mean()


def batch_style_loss(activation: Tensor, style_grams: Tensor) -> Tensor:
    """Return the mean over a batch of ``||G - A||^2 / (||G||^2 + ||A||^2)``, a scalar.

    In every layer it is 0 for equal Gram matrices and 1 for such as have no product; the numerator
    is that of :func:`nst_helpers.losses.layer_style_loss`.

    Args:
        activation: of the painted pictures, (B, C, H, W).
        style_grams: A, what each shall come close to, (B, C, C), over as many positions.

    Source: Cheng et al. 2021, "Style-Aware Normalized Loss for Improving Arbitrary Style Transfer",
    section 4: a layer's loss over the largest value it could have.
    """
    grams = batch_gram_matrix(activation)
    away, *sizes = (m.square().sum((1, 2)) for m in (grams - style_grams, grams, style_grams))
    return (away / sum(sizes).clamp_min(_TINY)).mean()


class Training:
    """A training that can be watched, interrupted and taken up again.

    Args:
        styles: the pictures to paint like: one, or a list; anything
            :func:`nst_helpers.images.load_image` takes.
        photos: a folder of photographs or a list of files, see
            :func:`nst_helpers.photographs.find_photographs`; None takes the shipped photographs.
        held_out: a photograph to be left out; each snapshot shows it in every style.
        size: the side of the crops it is trained with, in pixels.
        style_size: bound of the long side of the style pictures; the larger, the larger the brush
            strokes that are learnt.
        batch: how many crops a step sees.
        steps: how many steps the training shall have; the rate falls towards its end.
        alpha: weight of the content loss.
        beta: weight of the style loss.
        tv_weight: weight of the total variation, which smooths.
        content_layer: the layer content is compared in.
        style_weights: layer name -> weight of its style loss.
        channels: see :class:`nst_helpers.image_transform.ImageTransform`, as ``blocks``.
        blocks: how many residual blocks there are.
        lr: the rate of Adam at the beginning.
        model: a VGG-19 to judge with; None builds it with ``weights``.
        weights: see :func:`nst_helpers.backbones.vgg19`.
        device: see :func:`nst_helpers.device.pick_device`.
        precision: see :func:`nst_helpers.device.pick_precision`; bfloat16 where it pays if nothing
            is said. Parameters stay float32.
        workers: processes that read photographs ahead; None takes four beside a GPU, else none.
        seed: of the network's first parameters and of the crops.
        progress: whether fetching weights shows a progress bar.

    Attributes:
        network: what is trained.
        styles: what it is trained for.
        photographs: what it is trained with, and the files that were skipped.
        history: one entry for each step, with the losses before the parameters moved.
        settings: what was asked for, and the device and weights that are used.
        notices: what happened that was not asked for, one sentence each.
        ended: how the last run ended: ``"finished"``, ``"interrupted"`` or ``"diverged"``.

    Raises:
        NstError: an option is out of range, or there is no photograph to be had (ImageError,
            WeightsError, DeviceError for those parts).
    """

    def __init__(
        self,
        styles: Any,
        photos: Any = None,
        *,
        held_out: str | None = None,
        size: int = DEFAULT_SIZE,
        style_size: int = USUAL_SIZE,
        batch: int = DEFAULT_BATCH,
        steps: int = DEFAULT_STEPS,
        alpha: float = DEFAULT_ALPHA,
        beta: float = DEFAULT_BETA,
        tv_weight: float = DEFAULT_VARIATION,
        content_layer: str = CONTENT_LAYER,
        style_weights: Mapping[str, float] = STYLE_WEIGHTS,
        channels: Sequence[int] = CHANNELS,
        blocks: int = BLOCKS,
        lr: float = DEFAULT_RATE,
        model: nn.Sequential | None = None,
        weights: str | None = None,
        device: str | torch.device | None = None,
        precision: str | torch.dtype | None = None,
        workers: int | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        self.settings: dict[str, Any] = {
            "size": size,
            "style_size": style_size,
            "batch": batch,
            "steps": steps,
            "alpha": alpha,
            "beta": beta,
            "tv_weight": tv_weight,
            "content_layer": content_layer,
            "style_weights": dict(style_weights),
            "channels": list(channels),
            "blocks": blocks,
            "lr": lr,
            "seed": seed,
            "held_out": None if held_out is None else Path(held_out).name,
        }
        _check(self.settings)
        place = pick_device(device)
        pictures = list(styles) if isinstance(styles, (list, tuple)) else [styles]
        self.styles = _named(pictures)
        self.style_pictures = [load_image(picture, size=style_size) for picture in pictures]
        self.photographs = find_photographs(photos, size=size, held_out=held_out)
        self.held_out = None
        if self.photographs.held_out is not None:
            self.held_out = load_image(self.photographs.held_out, size=USUAL_SIZE)
        self.notices = [f"A file was skipped: {line}." for line in self.photographs.skipped]
        self.crops = Crops(self.photographs, size, seed)
        self.workers = (4 if place.type == "cuda" else 0) if workers is None else workers
        if model is None:
            deepest = max([content_layer, *style_weights], key=backbones.layer_index)
            model = backbones.vgg19(weights, until=deepest, device=place, progress=progress)
        self.precision = pick_precision(place, precision, default="auto")
        self.judge = Judge(
            [backbones.normalize(picture).to(place) for picture in self.style_pictures],
            model.to(place),
            size * size,
            content_layer=content_layer,
            style_weights=style_weights,
            precision=self.precision,
        )
        self.device = place
        self.settings |= {
            "photographs": len(self.photographs.paths),
            "weights": getattr(model, "weights_name", "unknown"),
            "device": str(place),
            "precision": str(self.precision).removeprefix("torch."),
        }
        self.network = _fresh_network(len(self.styles), channels, blocks, seed).to(
            place, memory_format=torch.channels_last
        )
        self.optimizer = torch.optim.Adam(_groups(self.network), lr=lr)
        self.history: list[Step] = []
        self.ended = "finished"

    def advance(self, crops: Tensor) -> Step:
        """Move the parameters once, by what the losses of some crops say, and return the losses.

        A loss or gradient that is no number moves nothing, and a sentence is added to ``notices``.

        Args:
            crops: (B, 3, size, size) in [0, 1].
        """
        started = time.monotonic()
        s, number = self.settings, len(self.history)
        crops = crops.to(self.device, memory_format=torch.channels_last)
        styles = self._styles_of(crops, number)
        pictures = self._painted(crops, styles, noise=mixed(s["seed"], number))
        content, style = self.judge(pictures, crops, styles)
        variation = losses.total_variation(pictures)
        total = losses.total_loss(content, style, s["alpha"], s["beta"])
        total = total + s["tv_weight"] * variation
        self.optimizer.zero_grad()
        total.backward()
        parameters = list(self.network.parameters())
        length = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        values = [float(value.detach()) for value in (total, content, style, variation)]
        if all(map(math.isfinite, (*values, float(length)))):
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(number) * group["times"]
            self.optimizer.step()
        else:
            self.notices.append(
                f"At step {number + 1} the loss or its gradient was no number; the network stayed "
                f"as it was."
            )
        before = self.history[-1].seconds if self.history else 0.0
        step = Step(number + 1, before + time.monotonic() - started, *values)
        self.history.append(step)
        return step

    def _styles_of(self, crops: Tensor, step: int) -> Tensor:
        """Return the number of each crop's style, (B,): one after the other, over all steps."""
        first = step * self.settings["batch"]
        return ((first + torch.arange(len(crops))) % len(self.styles)).to(self.device)

    def _painted(self, crops: Tensor, styles: Tensor, noise: int) -> Tensor:
        shares = nn.functional.one_hot(styles, len(self.styles)).float()
        with autocast(self.device, self.precision):
            return self.network(crops, shares, noise)

    def rate(self, step: int) -> float:
        """Return Adam's rate at a step: half a cosine from ``lr`` down to a small share of it."""
        return self.settings["lr"] * _falling(step / self.settings["steps"])

    def run(
        self,
        output: str | os.PathLike | None = None,
        *,
        every: int = 250,
        on_step: StepHook | None = None,
        progress: bool = True,
    ) -> Trained:
        """Train until all steps are made, and return the network.

        A training that was loaded or interrupted goes on where it was. An interrupt (Ctrl-C, the
        notebook's stop button) ends the run, and what was learnt so far is returned and written.

        Args:
            output: where to leave the network, ``NAME.safetensors``; beside it are left
                ``NAME.run.safetensors`` to go on from, the log ``NAME.csv``, and, where a
                photograph is held out, ``NAME.png`` with it in every style.
            every: how many steps lie between two such snapshots.
            on_step: called after each step with its losses; what it raises ends the run.
            progress: whether to show a progress bar with the loss.

        Raises:
            NstError: the output cannot be written, or no photograph can be read any more.
        """
        place = None if output is None else checked_name(output)
        self.ended = "finished"
        try:
            self._run(place, every, on_step, progress)
        except KeyboardInterrupt:
            self.ended = "interrupted"
        if place is not None and self.history:
            self._leave_snapshot(place)
        return self.trained()

    def _run(self, place: Path | None, every: int, on_step: StepHook | None, bar: bool) -> None:
        from tqdm.auto import tqdm

        s, done = self.settings, len(self.history)
        batches = crop_batches(self.crops, s["batch"], range(done, s["steps"]), self.workers)
        # On standard output: in a graded notebook anything on standard error costs points.
        shown = {"file": sys.stdout, "disable": not bar, "unit": "step", "dynamic_ncols": True}
        with tqdm(total=s["steps"], initial=done, **shown) as progress:
            for crops, said in batches:
                self.notices += [line for line in said if line and line not in self.notices]
                step = self.advance(crops)
                if on_step is not None:
                    on_step(step)
                progress.set_postfix_str(f"loss {short(step.total)}", refresh=False)
                progress.update()
                if place is not None and step.step % every == 0:
                    self._leave_snapshot(place)
                if self._hopeless():
                    self.ended = "diverged"
                    return

    def _hopeless(self) -> bool:
        last = self.history[-PATIENCE:]
        return len(last) == PATIENCE and not any(math.isfinite(step.total) for step in last)

    def trained(self) -> Trained:
        """Return the network as it is now; it stays so while the training goes on."""
        seconds = self.history[-1].seconds if self.history else 0.0
        settings = self.settings | {"steps": len(self.history), "seconds": round(seconds, 1)}
        return Trained(frozen_copy(self.network), self.styles, settings)

    def preview(self) -> Tensor | None:
        """Return the photograph held out in every style side by side, (1, 3, H, n W)."""
        if self.held_out is None:
            return None
        numbers = range(len(self.styles))
        pictures = [painted(self.network, self.held_out, [(number, 1.0)]) for number in numbers]
        return torch.cat(pictures, dim=-1)

    def _leave_snapshot(self, output: Path) -> None:
        """Write all there is, so that nothing is lost whatever ends the process."""
        self.trained().save(output)
        self.save(run_file(output))
        with replaced(output.with_suffix(".csv")) as beside:
            beside.write_text(csv_of(self.history), encoding="utf-8")
        preview = self.preview()
        if preview is not None:
            save_image(preview, output.with_suffix(".png"))

    def save(self, path: str | os.PathLike) -> Path:
        """Write the training as it is, for :meth:`load` to go on from.

        Raises:
            NstError: it cannot be written.
        """
        tensors = {f"network.{name}": t for name, t in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            state = self.optimizer.state.get(parameter, {})
            tensors |= {f"{m}.{name}": state[m] for m in _MOMENTS if m in state}
        for number, picture in enumerate(self.style_pictures):
            tensors[f"style{number}"] = picture
        rows = [astuple(step) for step in self.history]
        tensors["history"] = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
        moved = [int(state["step"]) for state in self.optimizer.state.values()]
        told = {
            "format": _FORMAT,
            "settings": json.dumps(self.settings),
            "styles": json.dumps([vars(style) for style in self.styles]),
            "moved": json.dumps(max(moved, default=0)),
            "notices": json.dumps(self.notices),
        }
        whole = {
            name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, t in tensors.items()
        }
        with replaced(checked_name(path)) as beside:
            beside.write_bytes(save(whole, metadata=told))
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike, photos: Any = None, **options: Any) -> Training:
        """Return a saved training, to be taken up again.

        Args:
            path: what :meth:`save`, or a run with an output, has written.
            photos: the photographs, as at first: they are not part of the file.
            **options: ``steps``, ``model``, ``weights``, ``device``, ``precision``, ``workers``
                and ``progress``, see above; everything else is as it was.

        Raises:
            NstError: the file is no saved training, or an option is wrong.
        """
        tensors, told = _read(path)
        try:
            settings = dict(json.loads(told["settings"]))
            styles = tuple(Style(**row) for row in json.loads(told["styles"]))
            kept = {name: settings[name] for name in _KEPT} | {"weights": settings["weights"]}
            pictures = [tensors[f"style{number}"] for number in range(len(styles))]
            training = cls(pictures, photos, **{**kept, **options})
            training.styles = styles
            training._take_up(tensors, int(told["moved"]))
            training.notices += list(json.loads(told["notices"]))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, NstError):
                raise
            raise _damaged(path) from None
        return training

    def _take_up(self, tensors: Mapping[str, Tensor], moved: int) -> None:
        state = {name: tensors[f"network.{name}"] for name in self.network.state_dict()}
        self.network.load_state_dict(state)
        if moved:
            for name, parameter in self.network.named_parameters():
                moments = {m: tensors[f"{m}.{name}"].to(parameter) for m in _MOMENTS}
                if any(moment.shape != parameter.shape for moment in moments.values()):
                    raise ValueError(f"the moments of {name} have another shape")
                moments = {m: torch.empty_like(parameter).copy_(t) for m, t in moments.items()}
                self.optimizer.state[parameter] = {"step": torch.tensor(float(moved)), **moments}
        rows = tensors["history"].tolist()
        self.history = [Step(int(row[0]), *map(float, row[1:])) for row in rows]


_KEPT = ("size", "style_size", "batch", "steps", "alpha", "beta", "tv_weight", "content_layer")
_KEPT += ("style_weights", "channels", "blocks", "lr", "seed", "held_out")


def run_file(output: str | os.PathLike) -> Path:
    """Return where a training is left whose network goes to ``output``."""
    return Path(output).with_suffix(f".run{ENDING}")


def _read(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and metadata of a saved training, all numbers of the network finite."""
    try:
        with safe_open(str(path), framework="pt") as file:
            told = file.metadata() or {}
            if told.get("format") != _FORMAT:
                raise NstError(f"{path} is no saved training; give a file nst train has written.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise NstError(f"{path} cannot be read ({reason}); give a saved training.") from None
    except SafetensorError:
        raise _damaged(path) from None
    numbers = (tensor for name, tensor in tensors.items() if name != "history")
    if not all(t.dtype == torch.float32 and bool(t.isfinite().all()) for t in numbers):
        raise _damaged(path)
    return tensors, told


def _damaged(path: str | os.PathLike) -> NstError:
    return NstError(f"{path} is damaged or no saved training; start the training again.")


def _falling(done: float) -> float:
    """Return a factor that falls from 1 to ``LAST_RATE`` while ``done`` goes from 0 to 1.

    Source: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts",
    equation 5, without restarts.
    """
    return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def _named(pictures: Sequence[Any]) -> tuple[Style, ...]:
    """Return the styles of pictures, each with a name of its own."""
    if not pictures:
        raise NstError("There is no style to train for; give one picture or several.")
    styles: list[Style] = []
    for number, picture in enumerate(pictures, start=1):
        record = find_picture(picture)
        name = f"style-{number}"
        if record is not None:
            name = record.name
        elif isinstance(picture, (str, Path)) and Path(picture).stem:
            name = Path(picture).stem
        if name in (style.name for style in styles):
            raise NstError(
                f"Two styles are called {name!r}; give each picture once, or rename a file."
            )
        styles.append(Style(name, name_of(picture, record, "style"), record is not None))
    return tuple(styles)


def _fresh_network(styles: int, channels: Sequence[int], blocks: int, seed: int) -> ImageTransform:
    """Return a network whose parameters are the same for a seed, and everybody's chance alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImageTransform(styles, channels, blocks)


def _groups(network: ImageTransform) -> list[dict[str, Any]]:
    """Return the kernels and the styles' tables, each with how many times as fast they move."""
    tables = [p for name, p in network.named_parameters() if name.endswith(("scale", "shift"))]
    kernels = [p for p in network.parameters() if p.dim() == 4]
    return [{"params": kernels, "times": 1.0}, {"params": tables, "times": TABLES_RATE}]


def _check(settings: Mapping[str, Any]) -> None:
    lowest = {"size": 32, "style_size": 32, "batch": 1, "steps": 1}
    for name, least in lowest.items():
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise NstError(f"{name} is {value!r}; it must be a whole number, {least} or more.")
    if settings["size"] % 16:
        raise NstError(
            f"size is {settings['size']}; it must be a multiple of 16, as VGG-19 halves a side "
            f"four times."
        )
    weights = {f"the style weight of {k}": v for k, v in settings["style_weights"].items()}
    for name, value in {
        **{n: settings[n] for n in ("alpha", "beta", "tv_weight")},
        **weights,
    }.items():
        if not (math.isfinite(value) and value >= 0):
            raise NstError(f"{name} is {value!r}; it must be a number, 0 or more.")
    rate = settings["lr"]
    if not (math.isfinite(rate) and rate > 0):
        raise NstError(f"lr is {rate!r}; it must be a number above 0.")
