"""The state machine behind the explorer: a thread that paints, and what can be said to it.

No widgets here. Everything a person does is a value put under a lock; the thread looks at it before
its next step. Only the thread touches the engine, so whatever calls from whichever thread returns
at once.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from nst_helpers import backbones
from nst_helpers.attribution import find_picture
from nst_helpers.device import pick_device
from nst_helpers.errors import NstError, WeightsError
from nst_helpers.explorer.functions import OwnFunctionError, watched
from nst_helpers.explorer.settings import Settings, facts, picture_name
from nst_helpers.images import load_image, to_pil
from nst_helpers.result import Step, Stylized
from nst_helpers.transfer import StyleTransfer

PUBLISH_SECONDS = 0.2
REST_AFTER = 300  # steps without anybody changing anything
LONGEST_FILM = 48
# So many steps the fast preview stays on the screen: by then the run's own picture is worth more.
PREVIEW_STEPS = 5
SETBACKS = 5  # steps taken back one after the other, after which going on is of no use
# A hidden tab's timers run once a minute in some browsers, and its sign of life with them.
PATIENCE_SECONDS = 150.0
RETURN_SECONDS = 10.0  # a page that is loaded again comes back within
_LARGEST_KEPT = 1024  # of pictures from the web, which are fetched once
_DEEPEST = "conv5_2"

_PICTURES = ("content", "style", "size")
_LIVE = (
    *("alpha", "beta", "tv_weight", "style_weights"),
    *("content_layer", "optimizer", "colours"),
)


@dataclass(frozen=True, kw_only=True)
class Painted(Stylized):
    """A picture of the explorer, with the settings it was made with and its step."""

    def facts(self) -> str:
        """Return the settings in words, and the step."""
        if self.settings["preview"]:
            return f"a fast preview (AdaIN in one pass), {self.settings['chosen'].size} pixels"
        return facts(self.settings["chosen"], self.settings["step"])


@dataclass(frozen=True)
class Frame:
    """One picture on the way, with what it was made with.

    Attributes:
        run: which run it belongs to; a restart or other pictures begin a new one.
        step: how often the pixels had been moved.
        pixels: RGB; a film of floats would take four times the memory.
        settings: what it was made with.
        weights: the network's weights by name; those called random have learned nothing.
        preview: whether it was not optimised, but made in one pass, to be looked at meanwhile.
    """

    run: int
    step: int
    pixels: Image.Image
    settings: Settings
    weights: str
    preview: bool = False

    def painted(self) -> Painted:
        """Return the picture as one that knows its caption and can be shown and saved."""
        named = {name: picture_name(getattr(self.settings, name)) for name in ("content", "style")}
        records = (find_picture(getattr(self.settings, name)) for name in ("content", "style"))
        return Painted(
            image=load_image(self.pixels),
            settings={
                **named,
                "weights": self.weights,
                "chosen": self.settings,
                "step": self.step,
                "preview": self.preview,
            },
            sources=tuple(record for record in records if record),
        )


@dataclass(frozen=True)
class State:
    """What there is to know about a worker at one moment.

    Attributes:
        phase: ``"ready"``, ``"loading"``, ``"running"``, ``"paused"``, ``"resting"``,
            ``"stopped"`` or ``"failed"``.
        note: what went wrong or needs to be said, in sentences; may be empty.
        settings: what is wanted.
        frame: the picture to show, if there is one yet.
        history: the losses at each step of this run.
        changes: the steps before which a setting was changed.
        film: pictures of this run, evenly apart.
        pictures: content and style picture by what the settings call them, at the size they are
            computed with.
        seconds: what a step takes here, at the present size; None before one was measured.
        without_weights: whether there is no network to compute with.
    """

    phase: str = "ready"
    note: str = ""
    settings: Settings = field(default_factory=Settings)
    frame: Frame | None = None
    history: tuple[Step, ...] = ()
    changes: tuple[int, ...] = ()
    film: tuple[Frame, ...] = ()
    pictures: Mapping[str, Image.Image] = field(default_factory=dict)
    seconds: float | None = None
    without_weights: bool = False

    @property
    def step(self) -> int:
        """How often the pixels were moved in this run."""
        return self.history[-1].step if self.history else 0

    def in_words(self) -> str:
        """Return the phase as a sentence, then the note."""
        said = {
            "ready": "Ready: press Start.",
            "loading": "Loading the pictures and the network …",
            "running": "Running.",
            "paused": f"Paused at step {self.step}.",
            "resting": f"Resting at step {self.step}, as nothing was changed for {REST_AFTER} "
            f"steps: move a control, or press Start.",
            "stopped": f"Stopped at step {self.step}: Start begins a new run.",
            "failed": "Not running.",
        }[self.phase]
        return f"{said} {self.note}".strip()


class Worker:
    """One run after the other, in a thread of its own; at most one works in a process.

    Every method may be called from any thread and returns at once, but for :meth:`wait` and
    :meth:`end`.

    Args:
        settings: what to begin with.
        functions: a student's ``gram_matrix``, ``content_loss`` or ``style_loss``.
        model: a VGG-19 taking normalised pictures; None builds it with ``weights``.
        weights: see :func:`nst_helpers.backbones.vgg19`.
        device: see :func:`nst_helpers.device.pick_device`.
        on_change: called without arguments when :meth:`state` has changed, from any thread, while
            running at most every ``PUBLISH_SECONDS``.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        functions: Mapping[str, Callable[..., Any] | None] | None = None,
        model: nn.Sequential | None = None,
        weights: str | None = None,
        device: str | torch.device | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.device = pick_device(device)
        self.functions = watched(functions or {})
        self.on_change = on_change or (lambda: None)
        self._model = model
        self._weights = weights
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._state = State(settings=settings or Settings())
        self._goal = "pause"  # or run, stop, sleep
        self._singles = 0
        self._again = False
        self._tried: Settings | None = None  # what could not be built, not to be tried again
        self._budget = REST_AFTER
        self._seen: float | None = None
        self._ending = False  # whether the thread has decided to end
        # What only the thread touches:
        self._engine: StyleTransfer | None = None
        self._built: Settings | None = None  # the settings the engine has
        self._first: Tensor | None = None  # the picture that a restart goes back to
        self._preview: Frame | None = None
        self._unpublished = False
        self._own_note = ""  # what a student's function did; it stays true, so it stays said
        self._run = 0
        self._offset = 0
        self._history: list[Step] = []
        self._changes: list[int] = []
        self._film: list[Frame] = []
        self._every = 1
        self._took: deque[float] = deque(maxlen=7)
        self._published = 0.0
        self._fetched: dict[str, Image.Image] = {}

    # --- for everybody ----------------------------------------------------------------------------

    def state(self) -> State:
        """Return what there is to know now."""
        return self._state  # replaced as a whole, so no lock is needed

    @property
    def works(self) -> bool:
        """Whether there is a thread."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def change(self, **changes: Any) -> Settings:
        """Use other settings from the next step on, and return them.

        Raises:
            SettingsError: one is unknown or out of range; then nothing is changed.
        """
        with self._condition:
            self.use(self._state.settings.changed(**changes))
            return self._state.settings

    def use(self, settings: Settings) -> None:
        """Use these settings, all of them, from the next step on."""
        with self._condition:
            self._tried = None
            self._budget = REST_AFTER
            self._update(settings=settings, note=self._own_note)

    def start(self) -> None:
        """Run, from where the picture is; after a stop, from the beginning."""
        self._go()

    def pause(self) -> None:
        """Hold the picture after the step in hand."""
        with self._condition:
            if self._goal == "run" or self._singles:
                self._goal, self._singles = "pause", 0
                self._update(phase="paused" if self._history else self._state.phase)

    def step(self) -> None:
        """Move the pixels once and hold."""
        with self._condition:
            self._tried = None
            self._goal = "pause"
            self._singles += 1
            self._update(phase="paused" if self._engine else "loading")
        self._ensure_thread()

    def restart(self) -> None:
        """Go back to step 0 with the present settings, and run."""
        with self._condition:
            self._again = True
            self._update(note=self._own_note)
        self.start()

    def stop(self, note: str = "") -> None:
        """End the run and its thread; the picture stays."""
        with self._condition:
            self._goal, self._singles, self._again = "stop", 0, False
            if self._state.phase not in ("ready", "stopped"):
                self._update(phase="stopped", note=note)

    def end(self, seconds: float = 10.0) -> bool:
        """Stop, wait for the thread to end, and return whether it did."""
        self.stop()
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return not self.works

    def seen(self) -> None:
        """Note that somebody has the explorer on a screen."""
        with self._condition:
            self._seen = time.monotonic()

    def left(self) -> None:
        """Note that the page was closed, or is being loaded again."""
        with self._condition:
            self._seen = time.monotonic() - PATIENCE_SECONDS + RETURN_SECONDS

    def wait(self, steps: int | None = None, seconds: float | None = None) -> State:
        """Run until ``steps`` more steps are done, then hold; without, until the run rests.

        An interrupt stops the run, and returns, too.

        Args:
            steps: how many; None waits until nothing more happens.
            seconds: the longest to wait.
        """
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        self._seen = None  # whoever waits for it wants it, with or without a page
        self._go(steps)
        try:
            with self._condition:
                while time.monotonic() < deadline:
                    if self._state.phase in ("resting", "failed", "stopped", "paused"):
                        return self._state
                    self._condition.wait(0.1)
            self.pause()
        except KeyboardInterrupt:
            self.stop("It was interrupted.")
        return self.state()

    def _go(self, steps: int | None = None) -> None:
        """Run, as many steps as are given, or until nobody has changed anything for long."""
        with self._condition:
            self._tried, self._budget = None, REST_AFTER
            self._goal = "run" if steps is None else "pause"
            self._singles = steps or 0
            self._again |= self._state.phase == "stopped"
            note = (
                self._own_note if self._state.phase in ("failed", "stopped") else self._state.note
            )
            self._update(phase="running" if self._engine else "loading", note=note)
        self._ensure_thread()

    # --- the thread and its turn ------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        """Start the thread if there is none, and end any other worker's."""
        global _active
        with _turn, self._condition:
            previous, _active = _active, self
            if previous is self:
                previous = None
            leaving = self._thread if self.works else None
            if leaving is None or self._ending:
                self._ending = False
                self._thread = threading.Thread(
                    target=self._work, args=(previous, leaving), name="nst-explorer", daemon=True
                )
                self._thread.start()
        if previous is not None:
            previous.stop("Another explorer was started, and only one runs at a time.")

    def _work(self, previous: Worker | None, leaving: threading.Thread | None) -> None:
        me = threading.current_thread()
        for thread in (previous._thread if previous else None, leaving):
            if thread is not None:
                thread.join(30)
        while True:
            try:
                task = self._next_task()
                if task is None:
                    break
                task()
            except Exception as error:
                self._give_up(error)
        with self._condition:
            if self._thread is me:
                self._thread = None

    def _next_task(self) -> Callable[[], None] | None:
        """Return what to do next, or None to end; wait while there is nothing to do."""
        while True:
            with self._condition:
                if self._nobody_looks():
                    self._goal = "sleep"
                    self._update(phase="paused", note="Nobody was looking, so it waits for you.")
                if self._goal in ("stop", "sleep"):
                    self._ending = True
                    if self._goal == "stop":
                        self._engine = self._built = None
                    return None
                task = self._due()
                if task is not None:
                    return task
                if not self._unpublished:
                    self._settle()
                    self._condition.wait(1.0)
                    continue
            self._publish()

    def _due(self) -> Callable[[], None] | None:
        wanted, built = self._state.settings, self._built
        if self._tried is wanted:
            return None
        if built is None or any(getattr(wanted, n) != getattr(built, n) for n in _PICTURES):
            return self._build
        if self._again or wanted.start != built.start:
            return self._begin_again
        if any(getattr(wanted, name) != getattr(built, name) for name in _LIVE):
            return self._follow
        if self._singles:
            self._singles -= 1
            return self._advance
        if self._goal == "run" and self._budget > 0:
            self._budget -= 1
            return self._advance
        return None

    def _settle(self) -> None:
        """Say why nothing happens."""
        if self._tried is self._state.settings:
            phase = "failed"
        elif self._goal == "run":
            phase = "resting"
        else:
            phase = "paused"
        if self._state.phase != phase:
            self._update(phase=phase)

    def _nobody_looks(self) -> bool:
        return self._seen is not None and time.monotonic() - self._seen > PATIENCE_SECONDS

    # --- what the thread does ---------------------------------------------------------------------

    def _build(self) -> None:
        """Load pictures and network, and begin a run on them."""
        wanted = self.state().settings
        self._update(phase="loading", note=self._own_note)
        try:
            content, style = (self._load(wanted, name) for name in ("content", "style"))
            start, note = self._start_of(wanted, content, style, preview=True)
            if self._called_off():
                return
            self._engine = self._make_engine(wanted, content, style, start)
            self._built, self._first = wanted, self._engine.first
            self._update(pictures={wanted.content: to_pil(content), wanted.style: to_pil(style)})
        except (NstError, RuntimeError, MemoryError) as error:
            self._go_back(wanted, error)
            return
        self._begin_run()
        if note:
            self._update(note=note)

    def _load(self, wanted: Settings, name: str) -> Tensor:
        source = getattr(wanted, name)
        picture: Any = source
        if source.startswith(("http:", "https:")):
            if source not in self._fetched:
                fetched = to_pil(load_image(source, size=_LARGEST_KEPT))
                self._fetched = {**dict(list(self._fetched.items())[-3:]), source: fetched}
            picture = self._fetched[source]
        return load_image(picture, size=wanted.size, device=self.device)

    def _start_of(
        self, wanted: Settings, content: Tensor, style: Tensor, preview: bool = False
    ) -> tuple[Any, str]:
        """Return what to start from, and a note; show the fast picture as soon as it is there."""
        self._preview = None
        if wanted.start != "adain" and not preview:
            return wanted.start, ""
        try:
            fast = self._fast_picture(content, style)
        except WeightsError as error:
            if wanted.start != "adain":
                return wanted.start, ""
            return "content", f"It starts from the content picture, not the fast one: {error}"
        pixels, weights = to_pil(fast.image), fast.settings["weights"]
        shown = Frame(self._run + 1, 0, pixels, wanted, weights, preview=wanted.start != "adain")
        self._update(frame=shown, history=(), changes=(), film=())
        if wanted.start == "adain":
            return fast.image, ""
        self._preview = shown
        return wanted.start, ""

    def _fast_picture(self, content: Tensor, style: Tensor) -> Stylized:
        from nst_helpers.feedforward import stylize_fast

        network = self._network()
        # The decoder was trained for the other weights; then a network of its own is loaded.
        shared = None if network.weights_name == "torchvision" else network
        return stylize_fast(content, style, model=shared, device=self.device, progress=False)

    def _make_engine(
        self, wanted: Settings, content: Tensor, style: Tensor, start: Any
    ) -> StyleTransfer:
        options = {name: getattr(wanted, name) for name in _LIVE}
        while True:
            try:
                return StyleTransfer(
                    content,
                    style,
                    start=start,
                    model=self._network(),
                    device=self.device,
                    **options,
                    **self.functions,
                )
            except Exception as error:
                self._without_own(error)

    def _network(self) -> nn.Sequential:
        if self._model is None:
            self._model = backbones.vgg19(
                self._weights, until=_DEEPEST, device=self.device, progress=False
            )
        return self._model

    def _begin_again(self) -> None:
        wanted = self.state().settings
        with self._condition:
            self._again = False
        if wanted.start == self._built.start:
            self._engine.first = self._first
            self._engine.restart()
        else:
            content, style = self._engine.content, self._engine.styles[0][0]
            start, note = self._start_of(wanted, content, style)
            self._engine.restart(start)
            self._first = self._engine.first
            self._update(note=note)
        self._built = replace(self._built, start=wanted.start)
        self._begin_run()

    def _begin_run(self) -> None:
        self._offset = 0
        self._history, self._changes, self._film, self._every = [], [], [], 1
        self._took.clear()
        with self._condition:
            self._run += 1
            self._again = False
            self._update(history=(), changes=(), film=(), without_weights=False)
        while not self._history and not self._called_off():
            self._advance()  # judges the picture it starts from
        self._publish()

    def _follow(self) -> None:
        """Take over settings that need no new run."""
        wanted = self.state().settings
        now = {name: getattr(wanted, name) for name in _LIVE}
        changed = {n: value for n, value in now.items() if value != getattr(self._built, n)}
        try:
            self._engine.change(**changed)
        except NstError as error:
            self._refuse(wanted, self._built, str(error))
            return
        except Exception as error:
            self._without_own(error)
            self._rebuild()
            return
        self._built = wanted
        if self._history:
            self._changes.append(self._history[-1].step)
        if set(changed) == {"colours"}:
            self._publish()

    def _advance(self) -> None:
        engine = self._engine
        notices = len(engine.notices)
        started = time.perf_counter()
        try:
            step = engine.advance()
        except Exception as error:
            self._without_own(error)
            self._rebuild()
            return
        self._took.append(time.perf_counter() - started)
        step = replace(step, step=step.step + self._offset)
        self._history.append(step)
        self._unpublished = True
        if len(engine.notices) > notices:
            self._update(note=engine.notices[-1])
            if len(engine.notices) >= SETBACKS and not math.isfinite(step.total):
                self.pause()
        if step.step % self._every == 0:
            self._keep_frame(step.step)
        if time.monotonic() - self._published >= PUBLISH_SECONDS:
            self._publish()

    def _keep_frame(self, step: int) -> None:
        self._film.append(self._frame(step))
        if len(self._film) > LONGEST_FILM:
            self._every *= 2
            self._film = [frame for frame in self._film if frame.step % self._every == 0]

    def _frame(self, step: int) -> Frame:
        engine = self._engine
        pixels = to_pil(engine.picture())
        return Frame(self._run, step, pixels, self._built, engine.settings["weights"])

    def _called_off(self) -> bool:
        with self._condition:
            return self._goal in ("stop", "sleep")

    # --- when something goes wrong ----------------------------------------------------------------

    def _without_own(self, error: Exception) -> None:
        """Go on without the student's function that failed; raise what is not a student's doing."""
        if isinstance(error, OwnFunctionError):
            names, said = [error.name], str(error)
        elif self.functions and not isinstance(error, NstError):
            names = list(self.functions)
            said = f"With your {' and '.join(names)} the engine failed ({error})"
        else:
            raise error
        self.functions = {n: f for n, f in self.functions.items() if n not in names}
        self._note_own(names, said)

    def _note_own(self, names: list[str], said: str) -> None:
        what = " and ".join(names)
        self._own_note = (
            f"{said}. The last good picture is kept, and it goes on with the course's {what}; "
            f"when yours is mended, run its cell and this one again."
        )
        self._update(note=self._own_note)

    def _rebuild(self) -> None:
        """Make a new engine that goes on from the last good picture."""
        good, before = self._state.frame, self._engine
        moved = self._history and good is not None and not good.preview
        start = load_image(good.pixels) if moved else self._first
        self._engine = self._make_engine(self._built, before.content, before.styles[0][0], start)
        self._engine.first = self._first
        if self._history:
            # The new engine's step 0 is the picture that the old one was judged with last.
            self._offset = self._history[-1].step
            self._history.pop()
        self._update(note=self._own_note)

    def _go_back(self, wanted: Settings, error: Exception) -> None:
        """Say why pictures could not be used, and go on with those before."""
        said = str(error) if isinstance(error, NstError) else self._out_of(error)
        if isinstance(error, WeightsError):
            self._update(without_weights=True)
        self._refuse(wanted, self._built, said)

    def _out_of(self, error: Exception) -> str:
        if isinstance(error, MemoryError) or "memory" in str(error).lower():
            return "There is not enough memory for pictures of this size; choose a smaller one."
        return f"The network could not use these pictures ({str(error)[:200]})."

    def _refuse(self, wanted: Settings, before: Settings | None, said: str) -> None:
        """Return to the settings that worked, unless others were chosen meanwhile."""
        with self._condition:
            if self._state.settings is wanted:
                if before is None:
                    self._tried = wanted
                    self._update(phase="failed", note=said)
                    return
                self._update(settings=before)
            self._update(note=said, phase="running" if self._goal == "run" else "paused")

    def _give_up(self, error: Exception) -> None:
        """Say what nobody foresaw, keep the picture, and wait to be told to try again."""
        with self._condition:
            self._goal, self._singles = "pause", 0
            self._tried = self._state.settings
            said = f"Something went wrong that should not have: {type(error).__name__}: {error}"
            self._update(phase="failed", note=f"{said}. Press Restart to try again.")

    # --- what others see --------------------------------------------------------------------------

    def _publish(self) -> None:
        """Show the present picture and its losses."""
        self._unpublished = False
        self._published = time.monotonic()
        if self._engine is None or not self._history:
            return
        step = self._history[-1].step
        running = self._goal == "run"
        if self._preview is not None and step >= (PREVIEW_STEPS if running else 1):
            self._preview = None
        values = {
            "frame": self._preview or self._frame(step),
            "history": tuple(self._history),
            "changes": tuple(self._changes),
            "film": tuple(self._film),
            "seconds": statistics.median(self._took) if len(self._took) > 1 else None,
        }
        with self._condition:
            if self._state.phase == "loading":
                running = self._goal == "run" or self._singles
                values["phase"] = "running" if running else "paused"
            if self._goal == "stop":
                values["phase"] = "stopped"
            self._update(**values)

    def _update(self, **values: Any) -> None:
        with self._condition:
            self._state = replace(self._state, **values)
            self._condition.notify_all()
        with contextlib.suppress(Exception):  # whoever looks must not end the run
            self.on_change()


_turn = threading.Lock()
_active: Worker | None = None


def active_worker() -> Worker | None:
    """Return the worker that was started last, if it works."""
    return _active if _active is not None and _active.works else None
