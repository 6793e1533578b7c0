"""What the sentences share that tell people what to do next."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from nst_helpers.errors import install_command
from nst_helpers.explorer import demo


def _typed(command: str, folder) -> str:
    done = subprocess.run(
        command, shell=True, cwd=folder, env={"PATH": "/nowhere"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_installs_for_this_python_from_any_folder(tmp_path):
    command = install_command("--dry-run", "--no-index", "--no-deps", "torch")
    assert "Requirement already satisfied: torch" in _typed(command, tmp_path)


def test_the_command_can_be_typed_where_a_folder_has_a_blank_in_its_name(tmp_path, monkeypatch):
    python = tmp_path / "my course" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert "Requirement already satisfied: torch" in _typed(
        install_command("--dry-run", "--no-index", "--no-deps", "torch"), tmp_path
    )


def test_without_voila_the_page_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "voila", None)
    monkeypatch.setitem(sys.modules, "voila.app", None)
    with pytest.raises(SystemExit, match=r"^NstError: Voila is not installed; ") as caught:
        demo.main([])
    assert caught.value.code.endswith(install_command("voila"))
