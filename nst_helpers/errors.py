"""The errors a user can cause, each one clear sentence.

Every other module may import this one; it imports none of them.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys


class NstError(Exception):
    """An error with a message written for the person at the keyboard.

    The message is one sentence: what was given, what is needed, what to do next. The command line
    prints it without a traceback, and so do notebooks.
    """

    def _render_traceback_(self) -> list[str]:
        """Return the lines IPython and nbgrader show instead of a traceback.

        Source: IPython, "Integrating your objects with IPython", custom exception tracebacks.
        """
        return [f"{type(self).__name__}: {self}"]


def install_command(*words: str) -> str:
    """Return the command that installs a package for the Python that runs here.

    It can be typed in any folder, with or without an activated environment: plain ``pip`` would
    often be another Python's.

    Args:
        words: what to tell ``pip install``: options, and the package's name.
    """
    command = [sys.executable, "-m", "pip", "install", *words]
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)


class DeviceError(NstError, ValueError):
    """A device or precision was asked for that this machine does not have."""


class ImageError(NstError, ValueError):
    """A picture could not be read, or is not fit for the purpose."""


class WeightsError(NstError, RuntimeError):
    """Pretrained weights could not be found, fetched or trusted."""
