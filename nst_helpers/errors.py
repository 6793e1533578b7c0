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

    Args:
        words: what to tell ``pip install``: options, and the package's name.
    """
    return module_command("pip", "install", *words)


def module_command(module: str, *words: str) -> str:
    """Return what to type to run a module, such as nbgrader, with the Python that runs here.

    It works with and without an activated environment, where a plain ``pip`` or ``nbgrader`` is
    often another Python's, or not found.
    """
    command = [sys.executable, "-m", module, *words]
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)


class DeviceError(NstError, ValueError):
    """A device or precision was asked for that this machine does not have."""


class ImageError(NstError, ValueError):
    """A picture could not be read, or is not fit for the purpose."""


class WeightsError(NstError, RuntimeError):
    """Pretrained weights could not be found, fetched or trusted."""
