"""The explorer's panel: one widget of native controls, which only passes on what is done to it.

The page's part is ``panel.js`` and ``panel.css`` beside this file. One widget, and not one for each
slider, because the notebook's single-key shortcuts reach every control that does not stand inside
an element which holds them off, and because ipywidgets' sliders say exponents for values, and have
no names. Every word comes from here.
"""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from PIL import Image

from nst_helpers import attribution
from nst_helpers.errors import NstError
from nst_helpers.explorer import atlas, saving
from nst_helpers.explorer.drawing import loss_plot, short_number
from nst_helpers.explorer.settings import (
    CONTENT_LAYERS,
    OPTIMIZER_WORDS,
    SIZES,
    START_WORDS,
    STYLE_LAYERS,
    Settings,
    in_words,
    named_data_url,
    picture_name,
    ratio_in_words,
)
from nst_helpers.explorer.worker import Frame, State, Worker

_THUMB = 96  # pixels of a thumbnail's side, twice what the screen shows
_MOST_PINS = 6


def _series(lowest: int, highest: int) -> list[float]:
    """Return 0, then 1, 2 and 5 times every power of ten from ``lowest`` to ``highest``."""
    powers = range(lowest, highest)
    return [0.0, *(float(f"{d}e{p}") for p in powers for d in (1, 2, 5)), float(f"1e{highest}")]


# name: (what it says beside the slider, the values it can take)
WEIGHTS = {
    "alpha": ("alpha, weight of content", _series(-3, 3)),
    "beta": ("beta, weight of style", _series(-3, 6)),
    "tv_weight": ("total variation, smoothness", _series(0, 7)),
}
LAYERS = {
    layer: (f"{layer}, {scale}", _series(-2, 2))
    for layer, scale in zip(
        STYLE_LAYERS,
        ("the finest marks", "fine marks", "brush strokes", "large strokes", "largest forms"),
        strict=True,
    )
}
CHOICES: dict[str, tuple[str, dict[str, str]]] = {
    "content_layer": ("content layer", {layer: layer for layer in CONTENT_LAYERS}),
    "start": ("start from", START_WORDS),
    "optimizer": ("optimiser", OPTIMIZER_WORDS),
    "colours": ("colours of", {"style": "the style picture", "content": "the content picture"}),
}
ATLAS_WORDS = (
    "The atlas is shown; nothing is computed. "
    "Alpha, beta and the layers choose the nearest of its pictures."
)
BUTTONS = ("start", "pause", "step", "restart", "stop")


class Panel(anywidget.AnyWidget):
    """Shows a worker's state, and tells the worker what a person does.

    Args:
        worker: who paints; its ``on_change`` is set to this panel.
    """

    _esm = Path(__file__).with_name("panel.js")
    _css = Path(__file__).with_name("panel.css")

    thumbnails = traitlets.Dict().tag(sync=True)
    sliders = traitlets.List().tag(sync=True)
    choices = traitlets.List().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    plot = traitlets.Unicode().tag(sync=True)
    pins = traitlets.List().tag(sync=True)

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._lock = threading.RLock()
        self._handled = 0
        self._said = ""
        self._drawn: tuple[Any, ...] = ()
        self._frame: Frame | None = None
        self._sent: list[str] = []
        self._pinned: list[Frame] = []
        self._atlas = False
        super().__init__(
            thumbnails={kind: _thumbnails(kind) for kind in attribution.KINDS},
            choices=[_choice(name, worker.state().settings) for name in CHOICES],
            sliders=_sliders(worker.state()),
            plot=loss_plot(()),
        )
        self.on_msg(self._hear)
        worker.on_change = self.refresh
        self.refresh()

    # --- from the worker to the page --------------------------------------------------------------

    def refresh(self) -> None:
        """Show the worker's present state; may be called from any thread."""
        with self._lock:
            state = self._worker.state()
            frame, film = self._view(state)
            drawn = (frame, state.history, state.changes, film)
            changed = [new is not old for new, old in zip(drawn, self._drawn, strict=False)]
            changed = changed or [True] * len(drawn)
            self._drawn = drawn
            if changed[0] and frame is not None:
                self.shown = _shown(frame)
            if changed[1] or changed[2]:
                self.plot = loss_plot(state.history, state.changes)
            if changed[3]:
                self._send_film(film)
            sliders = _sliders(state)
            if sliders != self.sliders:
                self.sliders = sliders
            self.state = self._in_words(state)

    def _view(self, state: State) -> tuple[Frame | None, tuple[Frame, ...]]:
        """Return the picture and the film to show: the worker's, or the nearest of the atlas."""
        if self._atlas or state.without_weights:
            film = _atlas_film(state.settings)
            return film[-1], film
        if state.frame is None and _is_in_atlas(state.settings):
            return _atlas_film(state.settings)[-1], ()
        return state.frame, state.film

    def _status(self, state: State) -> str:
        said = [state.in_words()]
        if self._atlas or state.without_weights:
            said = [state.note, ATLAS_WORDS] if state.without_weights else [ATLAS_WORDS]
        return " ".join(part for part in (*said, self._said) if part)

    def _in_words(self, state: State) -> dict[str, Any]:
        s = state.settings
        works = state.phase in ("running", "loading")
        values = {name: getattr(s, name) for name in (*WEIGHTS, *CHOICES, "size")}
        return {
            "phase": state.phase,
            "status": self._status(state),
            "atlas": self._atlas or state.without_weights,
            "progress": "" if self._atlas else _progress(state),
            "ratio": ratio_in_words(s.alpha, s.beta),
            "values": {**values, **s.style_weights},
            "pictures": {kind: self._chosen(state, kind) for kind in attribution.KINDS},
            "useful": {
                "start": not works,
                "pause": works,
                "step": True,
                "restart": state.frame is not None,
                "stop": state.phase not in ("ready", "stopped"),
            },
            "handled": self._handled,
        }

    def _chosen(self, state: State, kind: str) -> dict[str, Any]:
        """Return which picture is chosen; one that is not shipped brings its thumbnail along."""
        source = getattr(state.settings, kind)
        record = attribution.find_picture(source)
        chosen: dict[str, Any] = {"title": picture_name(source)}
        if record is not None:
            return {**chosen, "name": record.name}
        if source in state.pictures:
            chosen["thumb"] = _jpeg(_square(state.pictures[source]))
        return {**chosen, "name": "own"}

    def _send_film(self, film: tuple[Frame, ...], again: bool = False) -> None:
        """Send the frames that the page does not have, and say which of its own to keep."""
        wanted = [_key(frame) for frame in film]
        known = set() if again else set(self._sent)
        new = [frame for frame in film if _key(frame) not in known]
        self._sent = wanted
        content = {
            "kind": "film",
            "keep": wanted,
            "frames": [
                {
                    "key": _key(frame),
                    "step": frame.step,
                    "caption": _caption(frame),
                }
                for frame in new
            ],
        }
        self.send(content, [_jpeg(frame.painted().to_pil()) for frame in new])

    # --- from the page to the worker --------------------------------------------------------------

    def _hear(self, _: Any, message: Any, buffers: list[Any]) -> None:
        """Do what the page asks for; nothing here computes, and nothing is lost if it fails."""
        try:
            known: dict[str, Callable[..., None]] = {
                "hello": self._hello,
                "alive": self._alive,
                "bye": self._bye,
                "set": self._set,
                "do": self._do,
                "upload": self._upload,
                "too large": self._too_large,
                "url": self._url,
                "pin": self._pin,
                "unpin": self._unpin,
                "save": self._save,
                "load": self._load,
                "atlas": self._show_atlas,
            }
            known[message["kind"]](message, buffers)
        except NstError as error:
            self.say(str(error))
        except Exception as error:
            self.say(f"That did not work ({type(error).__name__}: {error}).")

    def say(self, sentence: str) -> None:
        """Show a sentence in the status line until the next thing is done."""
        with self._lock:
            self._said = sentence
        self.refresh()

    def _hello(self, message: dict[str, Any], _: list[Any]) -> None:
        self._worker.seen()
        with self._lock:
            self._send_film(self._view(self._worker.state())[1], again=True)
        if self._worker.state().phase == "ready":
            self._worker.start()

    def _alive(self, message: dict[str, Any], _: list[Any]) -> None:
        self._worker.seen()

    def _bye(self, message: dict[str, Any], _: list[Any]) -> None:
        self._worker.left()

    def _set(self, message: dict[str, Any], _: list[Any]) -> None:
        name, value = str(message["name"]), message["value"]
        with self._lock:
            self._handled = max(self._handled, int(message["number"]))
            self._said = ""
        if name in LAYERS:
            self._worker.change(style_weights={name: value})
        else:
            self._worker.change(**{name: value})

    def _do(self, message: dict[str, Any], _: list[Any]) -> None:
        with self._lock:
            self._said = ""
        if message["what"] in BUTTONS:
            self._atlas = False
            getattr(self._worker, message["what"])()

    def _upload(self, message: dict[str, Any], buffers: list[Any]) -> None:
        data = bytes(buffers[0])
        with self._lock:
            self._said = ""
        url = named_data_url(data, str(message["name"]))
        self._worker.change(**{_role(message): url})

    def _too_large(self, message: dict[str, Any], _: list[Any]) -> None:
        raise NstError(
            f"{str(message['name'])[:60]} has {int(message['size']) / 1e6:.0f} MB, and the browser "
            f"cannot read it as a picture to make it smaller; save it as JPEG first."
        )

    def _url(self, message: dict[str, Any], _: list[Any]) -> None:
        url = str(message["url"]).strip()
        if not url.startswith(("http://", "https://")):
            raise NstError("The address of a picture begins with https:// or http://.")
        with self._lock:
            self._said = ""
        self._worker.change(**{_role(message): url})

    def _pin(self, message: dict[str, Any], _: list[Any]) -> None:
        present, film = self._view(self._worker.state())
        frame = {_key(each): each for each in film}.get(message.get("key"), present)
        if frame is None:
            raise NstError("There is no picture to pin yet.")
        with self._lock:
            self._pinned = [*self._pinned, frame][-_MOST_PINS:]
            self.pins = [_shown(each) for each in self._pinned]

    def _unpin(self, message: dict[str, Any], _: list[Any]) -> None:
        with self._lock:
            del self._pinned[int(message["index"])]
            self.pins = [_shown(each) for each in self._pinned]

    def _save(self, message: dict[str, Any], _: list[Any]) -> None:
        state = self._worker.state()
        frame, film = self._view(state)
        state = replace(state, frame=frame, film=film)
        makers = {"picture": saving.picture, "settings": saving.settings, "film": saving.film}
        make = makers[message["what"]]
        # A film takes a second to encode: not in the thread that every click waits for.
        threading.Thread(
            target=self._deliver, args=(make, state), name="nst-explorer-saving", daemon=True
        ).start()

    def _deliver(self, make: Callable[[State], saving.File], state: State) -> None:
        try:
            file = make(state)
        except NstError as error:
            self.say(str(error))
            return
        self.send({"kind": "download", "name": file.name, "type": file.type}, [file.content])
        self.say(f"Saved as {file.name}, where your browser keeps downloads.")

    def _show_atlas(self, message: dict[str, Any], _: list[Any]) -> None:
        with self._lock:
            self._handled = max(self._handled, int(message["number"]))
            self._atlas = bool(message["on"])
        if self._atlas:
            self._worker.pause()
        self.refresh()

    def _load(self, message: dict[str, Any], _: list[Any]) -> None:
        settings = Settings.from_json(str(message["text"]))
        for source in (settings.content, settings.style):
            # A file from elsewhere must not make this machine show what lies on its disk.
            shipped = attribution.find_picture(source) is not None
            if not shipped and not source.startswith(("data:", "http://", "https://")):
                raise NstError(f"The settings name the file {source!r:.60}; upload it instead.")
        self._worker.use(settings)
        self.say("The settings were loaded.")


def _role(message: dict[str, Any]) -> str:
    role = str(message["role"])
    if role not in attribution.KINDS:
        raise NstError(f"{role} is no kind of picture.")
    return role


# --- what the page is told ------------------------------------------------------------------------


def _sliders(state: State) -> list[dict[str, Any]]:
    s = state.settings
    values = {name: getattr(s, name) for name in WEIGHTS} | dict(s.style_weights)
    weights = [
        _slider(name, label, stops, values[name])
        for name, (label, stops) in (WEIGHTS | LAYERS).items()
        if name in values
    ]
    sizes = sorted({*SIZES, s.size})
    size = {
        "name": "size",
        "label": "size",
        "stops": sizes,
        "short": [f"{size} px" for size in sizes],
        "texts": [_size_in_words(size, state) for size in sizes],
    }
    return [*weights, size]


def _slider(name: str, label: str, stops: list[float], value: float) -> dict[str, Any]:
    """Return a slider; a value between its stops, as a program may set it, becomes one."""
    stops = sorted({*stops, value})
    words = [in_words(stop) for stop in stops]
    said = label.partition(",")[0]
    return {
        "name": name,
        "label": label,
        "stops": stops,
        "short": words,
        "texts": [f"{said} is {word}" if word != "0" else f"{said} is 0, off" for word in words],
    }


def _size_in_words(size: int, state: State) -> str:
    if state.seconds is None or state.frame is None:
        return f"{size} pixels"
    seconds = state.seconds * (size / max(state.frame.pixels.size)) ** 2
    return f"{size} pixels, about {in_words(float(f'{seconds:.1g}'))} s a step"


def _choice(name: str, settings: Settings) -> dict[str, Any]:
    label, options = CHOICES[name]
    options = dict(options)
    options.setdefault(getattr(settings, name), getattr(settings, name))
    return {"name": name, "label": label, "options": [list(pair) for pair in options.items()]}


def _progress(state: State) -> str:
    if not state.history:
        return ""
    last = state.history[-1]
    parts = [f"step {last.step}"]
    parts += [
        f"{name} {short_number(getattr(last, name))}" for name in ("content", "style", "total")
    ]
    if state.seconds is not None:
        parts.append(f"{in_words(float(f'{state.seconds:.2g}'))} s a step")
    return " · ".join(parts)


def _shown(frame: Frame) -> dict[str, Any]:
    painted = frame.painted()
    return {
        "image": _jpeg(painted.to_pil()),
        "caption": _caption(frame),
        "facts": painted.facts(),
        "width": frame.pixels.width,
        "height": frame.pixels.height,
        "step": frame.step,
        "key": _key(frame),
    }


def _caption(frame: Frame) -> str:
    said = frame.painted().caption()
    return f"From the atlas: {said}" if frame.run == atlas.RUN else said


def _key(frame: Frame) -> str:
    """Return what tells a frame from all others of this panel."""
    if frame.preview:
        return f"preview:{frame.run}"
    if frame.run != atlas.RUN:
        return f"{frame.run}:{frame.step}"
    layers = "+".join(layer for layer, weight in frame.settings.style_weights.items() if weight)
    return f"atlas:{frame.step}:{frame.settings.beta:g}:{layers}"


@functools.lru_cache(maxsize=8)
def _film_of(beta: float, alpha: float, layers: tuple[tuple[str, float], ...]) -> tuple[Frame, ...]:
    wanted = Settings(alpha=alpha, beta=beta, style_weights=dict(layers))
    return atlas.load_atlas().film(wanted)


def _atlas_film(settings: Settings) -> tuple[Frame, ...]:
    return _film_of(settings.beta, settings.alpha, tuple(settings.style_weights.items()))


def _is_in_atlas(settings: Settings) -> bool:
    known = atlas.load_atlas()
    return (settings.content, settings.style) == (known.content, known.style)


@functools.cache
def _thumbnails(kind: str) -> list[dict[str, Any]]:
    return [
        {
            "name": record.name,
            "title": record.title,
            "alt": record.alt,
            "thumb": _jpeg(_square(_opened(record.path))),
        }
        for record in attribution.pictures(kind)
    ]


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as file:
        file.draft("RGB", (2 * _THUMB, 2 * _THUMB))
        return file.convert("RGB")


def _square(picture: Image.Image) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.fit(picture, (_THUMB, _THUMB), Image.Resampling.LANCZOS)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
