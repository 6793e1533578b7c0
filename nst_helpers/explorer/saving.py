"""What can be kept of an exploration: the picture, its settings, and the film of a run."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from PIL import Image

from nst_helpers.errors import NstError
from nst_helpers.explorer.settings import Settings, picture_name
from nst_helpers.explorer.worker import State
from nst_helpers.images import to_pil  # noqa: F401

FRAME_MILLISECONDS = 120
LAST_MILLISECONDS = 2000
_COLOURS = 255  # a GIF has 256, one of which its writer needs


@dataclass(frozen=True)
class File:
    """A file to be written or downloaded."""

    name: str
    type: str
    content: bytes


def picture(state: State) -> File:
    """Return the present picture as PNG, with its caption and settings as metadata.

    Raises:
        NstError: there is none yet.
    """
    from PIL.PngImagePlugin import PngInfo

    if state.frame is None:
        raise NstError("There is no picture to save yet; press Start.")
    painted = state.frame.painted()
    notes = PngInfo()
    notes.add_itxt("Description", painted.caption())
    buffer = io.BytesIO()
    painted.to_pil().save(buffer, "PNG", pnginfo=notes)
    return File(
        _name(state.frame.settings, f"step-{state.frame.step}.png"), "image/png", buffer.getvalue()
    )


def settings(state: State) -> File:
    """Return the settings as JSON, which the explorer can load again."""
    text = state.settings.to_json()
    return File(_name(state.settings, "settings.json"), "application/json", text.encode())


def film(state: State) -> File:
    """Return the run so far as an animated GIF that ends with the present picture.

    Raises:
        NstError: there are no two pictures yet.
    """
    frames = [
        frame for frame in state.film if state.frame is None or frame.step <= state.frame.step
    ]
    if state.frame is not None and (not frames or frames[-1].step < state.frame.step):
        frames.append(state.frame)
    if len(frames) < 2:
        raise NstError("There is no film to save yet; let it run for some steps.")
    pictures = [
        frame.painted().to_pil().quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)
        for frame in frames
    ]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[FRAME_MILLISECONDS] * (len(pictures) - 1) + [LAST_MILLISECONDS],
        loop=0,
    )
    return File(_name(frames[-1].settings, "film.gif"), "image/gif", buffer.getvalue())


def _name(settings: Settings, ending: str) -> str:
    """Return a file name made of both pictures' names, in letters any system takes."""
    names = [picture_name(source) for source in (settings.content, settings.style)]
    slugs = [
        re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "picture" for name in names
    ]
    return f"my-{'-in-'.join(slugs)}-{ending}"
