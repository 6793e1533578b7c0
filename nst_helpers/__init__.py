"""Load, compute and show: the helpers behind the neural style transfer course.

Importing this package is cheap. Each module is imported when it is first named, so that
``nst_helpers.images`` does not wait for the engine and the checker does not wait for a plot.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"

_MODULES = (
    "ab_panel",
    "attribution",
    "backbones",
    "checker",
    "cli",
    "collection",
    "colours",
    "convolution",
    "device",
    "display",
    "errors",
    "explorer",
    "feedforward",
    "grading",
    "image_transform",
    "images",
    "losses",
    "metrics",
    "objective",
    "optimizers",
    "photographs",
    "recipes",
    "result",
    "runs",
    "studio",
    "sweep",
    "trained",
    "training",
    "transfer",
    "votes",
    "weights",
)
__all__ = list(_MODULES)


def __getattr__(name: str) -> ModuleType:
    """Import a module of the package when it is first named (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
