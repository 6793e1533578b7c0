"""The explorer as a page without code: ``python -m nst_helpers.explorer.demo``, or ``make demo``.

Voila shows the notebook beside this file, on 127.0.0.1 and to this machine alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nst_helpers.errors import NstError, install_command

PAGE = Path(__file__).with_name("demo.ipynb")
PORT = 8866


def main(arguments: list[str] | None = None) -> None:
    """Serve the page until interrupted; ``arguments`` are passed on to Voila."""
    try:
        from voila.app import main as serve
    except ImportError:
        sys.exit(
            f"{NstError.__name__}: Voila is not installed; install it with: "
            f"{install_command('voila')}"
        )
    given = sys.argv[1:] if arguments is None else arguments
    defaults = [str(PAGE), "--Voila.ip=127.0.0.1", "--show_tracebacks=False"]
    if not any(each.startswith("--port") for each in given):
        defaults.append(f"--port={PORT}")
    # A visitor who leaves takes the kernel along, and with it what it computes.
    defaults += ["--MappingKernelManager.cull_idle_timeout=600", "--theme=light"]
    serve([*defaults, *given])


if __name__ == "__main__":
    main()
