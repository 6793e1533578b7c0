"""Alpha, beta and everything that moves: a panel that paints while its controls are moved.

``explore()`` shows it in a notebook. Behind it stand ``worker``, the thread that paints, and
``settings``, what it paints with; both work without a notebook. ``panel`` is what a person sees.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nst_helpers.attribution import Picture
from nst_helpers.device import pick_device
from nst_helpers.errors import NstError
from nst_helpers.explorer import saving
from nst_helpers.explorer.atlas import load_atlas
from nst_helpers.explorer.interrupt import watch_interrupts
from nst_helpers.explorer.settings import SIZE, SIZE_WITH_GPU, Settings, named_data_url
from nst_helpers.explorer.worker import State, Worker, active_worker
from nst_helpers.images import load_image, to_pil

__all__ = ["Explorer", "Settings", "State", "Worker", "explore"]


class Explorer:
    """A run that goes on beside the notebook, with its panel; see :func:`explore`.

    Attributes:
        worker: who paints; it can be started, steered and stopped from code, too.
    """

    def __init__(self, worker: Worker) -> None:
        from nst_helpers.explorer.panel import Panel

        self.worker = worker
        self.panel = Panel(worker)

    @property
    def state(self) -> State:
        """What there is to know now: phase, note, settings, frame, history, film."""
        return self.worker.state()

    @property
    def settings(self) -> Settings:
        """What is wanted now."""
        return self.state.settings

    @property
    def picture(self) -> Tensor | None:
        """The picture that is shown, (1, 3, H, W) in [0, 1]; None before there is one."""
        frame = self.state.frame
        return None if frame is None else frame.painted().image

    def change(self, **settings: Any) -> None:
        """Change settings while it runs, such as ``change(beta=100)``.

        Raises:
            SettingsError: one is unknown or out of range.
        """
        self.worker.change(**_named(settings))

    def wait(self, steps: int | None = None, seconds: float | None = None) -> Explorer:
        """Let it paint ``steps`` steps before the next line is run; without, until it rests.

        An interrupt (the notebook's stop button) stops the run.
        """
        self.worker.wait(steps, seconds)
        return self

    def stop(self) -> None:
        """End the run and its thread; the picture stays."""
        self.worker.end()

    def show(self) -> Any:
        """Return the present picture as a figure with caption, alt text and credits.

        Raises:
            NstError: there is no picture yet.
        """
        if self.state.frame is None:
            raise NstError("There is no picture yet; call wait(steps=20) first.")
        return self.state.frame.painted().show()

    def save(self, path: str | Path) -> Path:
        """Write the picture (.png), the settings (.json) or the film (.gif), and return the path.

        Raises:
            NstError: the name ends otherwise, there is nothing yet, or it cannot be written.
        """
        path = Path(path).expanduser()
        makers = {".png": saving.picture, ".json": saving.settings, ".gif": saving.film}
        if path.suffix.lower() not in makers:
            raise NstError(f"{path.name} ends in none of {', '.join(makers)}; choose one of them.")
        file = makers[path.suffix.lower()](self.state)
        try:
            path.write_bytes(file.content)
        except OSError as error:
            raise NstError(f"{path} cannot be written ({error.strerror}).") from None
        return path

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the panel, and for pages without widgets the atlas as a figure."""
        data, metadata = self._view()
        return {**data, **load_atlas().figure()._repr_mimebundle_()}, metadata

    def _view(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the panel's data and metadata as IPython displays them."""
        shown = self.panel._repr_mimebundle_()
        data, metadata = shown if isinstance(shown, tuple) else (shown, {})
        return {**data, "text/plain": self.state.in_words()}, metadata

    def _ipython_display_(self) -> None:
        """Show the panel, and below it the atlas, for exported pages and for print.

        nbconvert prefers a widget to its alternatives wherever it knows the widget's state, and
        such a page stays empty without a network; so the atlas is an output of its own.
        """
        from IPython.display import HTML, display

        data, metadata = self._view()
        display(data, metadata=metadata, raw=True)
        figure = load_atlas().figure()._repr_mimebundle_()["text/html"]
        display(HTML(_UNFOLDS.format(figure=figure)))
        watch_interrupts()


_UNFOLDS = (
    '<details class="nst-atlas" open><summary>The atlas in pictures, for print and for pages '
    "without controls</summary>{figure}</details>"
)


def explore(
    content: Any = None,
    style: Any = None,
    *,
    gram_matrix: Callable[..., Tensor] | None = None,
    content_loss: Callable[..., Tensor] | None = None,
    style_loss: Callable[..., Tensor] | None = None,
    model: nn.Sequential | None = None,
    weights: str | None = None,
    device: str | None = None,
    **settings: Any,
) -> Explorer:
    """Return an explorer: in a notebook it shows its panel, and paints as soon as it is seen.

    One explorer paints at a time; this one ends the one before.

    Args:
        content: the picture to keep, anything :func:`nst_helpers.images.load_image` takes.
        style: the picture to paint like.
        gram_matrix: a function of yours to be used in place of the engine's; lesson 03's contract.
        content_loss: a function of yours, lesson 04's contract.
        style_loss: a function of yours, lesson 04's contract.
        model: a VGG-19 taking normalised pictures; None builds it with ``weights``.
        weights: see :func:`nst_helpers.backbones.vgg19`.
        device: see :func:`nst_helpers.device.pick_device`.
        **settings: alpha, beta, size and all the others of :class:`Settings`.

    Raises:
        NstError: a setting is out of range, or a function is none.
    """
    before = active_worker()
    if before is not None:
        before.stop("Another explorer was started, and only one runs at a time.")
    chosen = {"content": content, "style": style}
    chosen = {name: picture for name, picture in chosen.items() if picture is not None}
    place = pick_device(device)
    # A step takes a fraction of a second at either size.
    settings = {"size": SIZE if place.type == "cpu" else SIZE_WITH_GPU, **settings}
    worker = Worker(
        Settings().changed(**_named({**chosen, **settings})),
        functions={
            "gram_matrix": gram_matrix,
            "content_loss": content_loss,
            "style_loss": style_loss,
        },
        model=model,
        weights=weights,
        device=place,
    )
    return Explorer(worker)


def _named(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings whose pictures are text: a name, a path, or a URL that holds the pixels."""
    named = dict(settings)
    for kind in ("content", "style"):
        source = named.get(kind)
        if isinstance(source, Picture):
            named[kind] = source.name
        elif isinstance(source, Path):
            named[kind] = str(source)
        elif source is not None and not isinstance(source, str):
            buffer = io.BytesIO()
            to_pil(load_image(source)).save(buffer, "PNG")
            named[kind] = named_data_url(buffer.getvalue(), "a picture of yours", "image/png")
    return named
