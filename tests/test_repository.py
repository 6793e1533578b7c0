"""The repository keeps its own rules: the same packages everywhere, generated files in step."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.notebooks.lessons import GRADED, assert_in_step

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch": "torch"}  # what PyPI's package is called on conda-forge
LESSONS = sorted(path.name for path in (ROOT / "solutions").iterdir() if path.is_dir())


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _name_and_bound(requirement: str) -> tuple[str, str]:
    name, bound = re.fullmatch(r"([\w-]+)\s*>=\s*([\w.]+)", requirement).groups()
    return CONDA_NAMES.get(name, name), bound


def test_conda_and_pip_install_the_same_packages_with_the_same_bounds():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    by_pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    assert "--editable ." in by_pip
    listed = [entry for entry in conda if isinstance(entry, str)]
    listed += [entry for entry in by_pip if not entry.startswith("--")]
    environment = dict(_name_and_bound(entry) for entry in listed if entry not in ("pip",))
    assert environment.pop("python") == PROJECT["requires-python"].removeprefix(">=")
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    # A package that only an old Python needs comes along with conda's Python or is not needed.
    wanted = [entry for entry in wanted if ";" not in entry]
    assert environment == dict(_name_and_bound(entry) for entry in wanted)


def test_every_extra_is_there():
    assert set(PROJECT["optional-dependencies"]) == {"test", "cluster", "studio", "voila"}


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_ruff_finds_nothing(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_package_is_cheap():
    """No module that takes time may come along: each is imported by what needs it."""
    code = (
        "import sys, nst_helpers; "
        "heavy = {'torch', 'torchvision', 'matplotlib', 'ipywidgets', 'nbgrader', 'numpy'}; "
        "sys.exit(str(sorted(heavy & set(sys.modules)) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_the_ground_floor_imports_nothing_above_it():
    ground = ("attribution", "colours", "device", "display", "errors", "images")
    above = ("backbones", "losses", "transfer", "weights", "cli", "checker", "grading", "result")
    above += ("explorer", "feedforward", "objective", "optimizers", "runs")
    for name in ground:
        code = (
            f"import sys, nst_helpers.{name}; "
            f"above = ['nst_helpers.' + name for name in {above}]; "
            "sys.exit(str([name for name in above if name in sys.modules] or ''))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stderr.strip() == "", f"nst_helpers.{name}: {done.stderr}"


def test_every_module_can_be_reached_from_the_package():
    import nst_helpers

    for name in nst_helpers.__all__:
        assert getattr(nst_helpers, name).__name__ == f"nst_helpers.{name}"
    with pytest.raises(AttributeError):
        nst_helpers.no_such_module  # noqa: B018


UNGRADED = sorted(set(LESSONS) - set(GRADED))

# nbgrader's own command, once for each lesson in one process: starting it is what takes time.
_GENERATE = """
import sys
from nbgrader.apps import GenerateAssignmentApp
folder, *lessons = sys.argv[1:]
for lesson in lessons:
    GenerateAssignmentApp.clear_instance()
    options = ["--force", "--no-db", f"--CourseDirectory.release_directory={folder}"]
    GenerateAssignmentApp.launch_instance([lesson, *options])
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The lessons without marks as nbgrader makes them from solutions/."""
    folder = tmp_path_factory.mktemp("generated")
    command = [sys.executable, "-c", _GENERATE, str(folder), *UNGRADED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("lesson", UNGRADED)
def test_a_notebook_without_marks_is_what_nbgrader_makes_of_its_source(lesson, generated):
    """The graded ones are compared where they are graded, as making them takes a while."""
    assert_in_step(generated / lesson)


def test_every_lesson_is_released_and_nothing_else():
    assert sorted(path.name for path in (ROOT / "notebooks").iterdir() if path.is_dir()) == LESSONS
    assert LESSONS


def test_committed_notebooks_carry_no_outputs():
    notebooks = [path for path in _tracked() if path.suffix == ".ipynb"]
    assert notebooks
    for path in notebooks:
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs"), path
            assert cell.get("execution_count") is None, path


def test_no_file_names_a_folder_of_one_machine():
    pattern = re.compile(r"(?<![\w.~-])/(home/\w+|Users/\w+|root|work)/")
    for path in _tracked():
        if path.suffix in {".py", ".md", ".toml", ".yml", ".ipynb", ".json"} and path != Path(
            __file__
        ):
            found = pattern.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path}: {found.group()}"
