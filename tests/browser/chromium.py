"""Finds Chromium for the browser tests, or installs it where that takes no question.

Run as a program (``make test`` does) it installs the system's package if a browser is missing and
the package manager can be used without a password; otherwise it says what to do in one sentence.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VARIABLE = "NST_CHROMIUM"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
MISSING = (
    "The browser tests need Chromium or Chrome and found none: install the package chromium "
    f"(on Debian: apt-get install chromium), or set {VARIABLE} to the program's path."
)


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome, or None."""
    if chosen := os.environ.get(VARIABLE):
        return shutil.which(chosen)
    found = (shutil.which(program) for program in PROGRAMS)
    applications = (path for path in APPLICATIONS if Path(path).is_file())
    return next((path for path in (*found, *applications) if path), None)


def install_chromium() -> bool:
    """Install Debian's chromium package, if that is possible without asking; return success."""
    apt = shutil.which("apt-get")
    if apt is None:
        return False
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    prefix = [] if is_root else ["sudo", "--non-interactive"]
    if not is_root and shutil.which("sudo") is None:
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "--yes", "chromium"]):
        done = subprocess.run(
            [*prefix, apt, *command], env=environment, capture_output=True, check=False
        )
    return done.returncode == 0


def main() -> int:
    """Make sure there is a browser; without one the browser tests will fail and say the same."""
    if find_chromium() is None:
        print("Installing Chromium for the browser tests ...", flush=True)
        if not install_chromium() or find_chromium() is None:
            print(MISSING)
    return 0


if __name__ == "__main__":
    sys.exit(main())
