"""The command line: ``nst stylize``, ``recipes``, ``resume``, ``weights`` and others.

Exit status 0 means success, 1 an error told in one sentence, 2 a wrong call, 130 an interrupt.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nst_helpers.errors import NstError, module_command

TOOLS = ("jupyter-lab", "nbgrader")
PACKAGES = ("torch", "torchvision", "pillow", "matplotlib", "ipywidgets", "jupyterlab", "nbgrader")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status
    except NstError as error:
        print(f"nst: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output, such as head, has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("nst: interrupted; nothing was written.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nst", description="Neural style transfer.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_stylize(commands)
    _add_recipes(commands)
    _add_resume(commands)
    _add_train(commands)
    _add_weights(commands)
    _add_grade(commands)
    _add_sweep(commands)
    doctor = commands.add_parser("doctor", help="check this machine, one line for each thing")
    doctor.set_defaults(run=_doctor)
    return parser


def _number(kind: type, lowest: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not lowest <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not in range; it starts at {lowest}")
        return value

    number.__name__ = "whole number" if kind is int else "number"
    return number


class _Given(argparse.Action):
    """Stores an option, and that it was given: a recipe is overridden by nothing else."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        setattr(namespace, self.dest, values)
        namespace.given = {**getattr(namespace, "given", {}), self.dest: values}


def _add_stylize(commands: argparse._SubParsersAction) -> None:
    stylize = commands.add_parser("stylize", help="paint one picture in the style of another")
    stylize.register("action", None, _Given)
    stylize.add_argument("content", metavar="CONTENT", help="path, URL or shipped picture's name")
    stylize.add_argument(
        "style", metavar="STYLE", nargs="+", help="the same; several styles are mixed"
    )
    stylize.add_argument("-o", "--output", required=True, type=Path, metavar="OUT")
    stylize.add_argument("--size", type=_number(int, 16), default=256, help="long side in pixels")
    stylize.add_argument("--steps", type=_number(int, 1), default=100)
    stylize.add_argument("--alpha", type=_number(float, 0), default=1.0, help="content weight")
    stylize.add_argument("--beta", type=_number(float, 0), default=0.5, help="style weight")
    stylize.add_argument("--start", default="content", help="content, style, noise or adain")
    stylize.add_argument("--optimizer", default="lbfgs", help="lbfgs, adam or another of torch's")
    stylize.add_argument("--lr", type=_number(float, 0), help="the optimiser's rate")
    stylize.add_argument("--tv", type=_number(float, 0), default=0.0, help="total variation weight")
    stylize.add_argument("--pooling", choices=("max", "average"), default="max")
    stylize.add_argument("--style-size", type=_number(int, 16), help="larger: larger brush strokes")
    stylize.add_argument("--keep-colours", action="store_true", help="keep the content's colours")
    stylize.add_argument(
        "--stop-early", type=float, metavar="SHARE", help="stop when 20 steps gain less, as 0.01"
    )
    stylize.add_argument(
        "--folder", type=Path, help="leave pictures, a log and the run itself here on the way"
    )
    stylize.add_argument("--every", type=_number(int, 1), default=25, help="steps between those")
    stylize.add_argument("--device", help="cpu, cuda, mps, xpu; the best there is if not given")
    stylize.add_argument("--network", default="vgg19", help="vgg19, vgg16 or resnet50")
    stylize.add_argument("--weights", help="auto, gatys, torchvision or random")
    stylize.add_argument("--seed", type=int, default=0)
    stylize.add_argument("--recipe", metavar="NAME", help="a published setting; see nst recipes")
    stylize.set_defaults(run=_stylize)


def _stylize(options: argparse.Namespace) -> int:
    from nst_helpers.images import check_writable
    from nst_helpers.transfer import stylize

    check_writable(options.output)  # before minutes of work, not after
    if options.recipe is not None:
        return _saved(_stylized_by_recipe(options), options.output)
    result = stylize(
        options.content,
        options.style if len(options.style) > 1 else options.style[0],
        size=options.size,
        steps=options.steps,
        alpha=options.alpha,
        beta=options.beta,
        device=options.device,
        network=options.network,
        weights=options.weights,
        seed=options.seed,
        start=options.start,
        optimizer=options.optimizer,
        lr=options.lr,
        tv_weight=options.tv,
        pooling=options.pooling,
        style_size=options.style_size,
        colours="content" if options.keep_colours else "style",
        stop_early=options.stop_early,
        folder=options.folder,
        every=options.every,
    )
    return _saved(result, options.output)


# The options of nst stylize that are settings of a recipe, by the names they have there.
_OF_A_RECIPE = {
    "alpha": "alpha",
    "beta": "beta",
    "start": "start",
    "optimizer": "optimizer",
    "lr": "rate",
    "tv": "tv_weight",
    "pooling": "pooling",
    "network": "network",
    "steps": "steps",
    "size": "size",
}


def _stylized_by_recipe(options: argparse.Namespace) -> Any:
    """Run a recipe; what was given beside it overrides it, and that is said."""
    from nst_helpers import recipes

    recipe = recipes.load(options.recipe)
    given = getattr(options, "given", {})
    changes = {theirs: given[ours] for ours, theirs in _OF_A_RECIPE.items() if ours in given}
    for name, value in changes.items():
        said, before = recipes.readable(value), recipes.readable(getattr(recipe, name))
        if said != before:
            print(
                f"nst: {name} is {said}, where recipe {recipe.name} has {before}.", file=sys.stderr
            )
    return recipe.changed(**changes).stylize(
        options.content,
        options.style if len(options.style) > 1 else options.style[0],
        weights=options.weights,
        device=options.device,
        seed=options.seed,
        style_size=options.style_size,
        colours="content" if options.keep_colours else "style",
        stop_early=options.stop_early,
        folder=options.folder,
        every=options.every,
    )


def _add_recipes(commands: argparse._SubParsersAction) -> None:
    recipes = commands.add_parser("recipes", help="list the settings that --recipe knows")
    recipes.add_argument("name", nargs="?", metavar="NAME", help="tell all of this one")
    recipes.set_defaults(run=_recipes)


def _recipes(options: argparse.Namespace) -> int:
    from nst_helpers import recipes

    if options.name is not None:
        print(recipes.load(options.name))
        return 0
    rows = recipes.overview()
    rows = [dict(zip(rows[0], rows[0], strict=True)), *rows]
    widths = {column: max(len(row[column]) for row in rows) for column in rows[0]}
    for row in rows:
        print("  ".join(f"{row[column]:{width}}" for column, width in widths.items()).rstrip())
    return 0


def _add_resume(commands: argparse._SubParsersAction) -> None:
    resume = commands.add_parser("resume", help="go on with a run that nst stylize --folder left")
    resume.add_argument("run_file", type=Path, metavar="RUN", help="its file run.safetensors")
    resume.add_argument("-o", "--output", required=True, type=Path, metavar="OUT")
    resume.add_argument("--steps", type=_number(int, 1), default=100, help="counted from its start")
    resume.add_argument("--device", help="cpu, cuda, mps, xpu; the best there is if not given")
    resume.set_defaults(run=_resume)


def _resume(options: argparse.Namespace) -> int:
    from nst_helpers.images import check_writable
    from nst_helpers.transfer import StyleTransfer

    check_writable(options.output)
    run = StyleTransfer.load(options.run_file, device=options.device)
    return _saved(run.run(options.steps, folder=options.run_file.parent), options.output)


def _saved(result: Any, output: Path) -> int:
    """Write the picture of a run, say how it went, and return the exit status."""
    for notice in result.notices:
        print(f"nst: {notice}", file=sys.stderr)
    path = result.save(output)
    best = result.best
    print(f"{path}: {result.caption()}")
    if result.ended == "interrupted":
        print(
            f"nst: interrupted; {path} holds the best picture, step {best.step}.", file=sys.stderr
        )
        return 130
    if result.ended == "diverged":
        raise NstError(
            f"No step after step {best.step} gave a loss that could be accepted; {path} holds the "
            f"best picture before that; try a smaller rate, alpha or beta."
        )
    return 0


def _add_train(commands: argparse._SubParsersAction) -> None:
    train = commands.add_parser(
        "train", help="train a network that paints any photograph in one pass"
    )
    train.add_argument("style", metavar="STYLE", nargs="*", help="pictures to paint like")
    train.add_argument(
        "-o", "--output", required=True, type=Path, metavar="OUT", help="a .safetensors file"
    )
    train.add_argument("--photos", metavar="FOLDER", help="photographs; else the shipped ones")
    train.add_argument("--hold-out", metavar="PHOTO", help="leave it out, and show it painted")
    train.add_argument("--size", type=_number(int, 32), help="side of the crops in pixels")
    train.add_argument("--style-size", type=_number(int, 32), help="larger: larger brush strokes")
    train.add_argument("--steps", type=_number(int, 1), help="in all, those of a resumed run too")
    train.add_argument("--batch", type=_number(int, 1), help="crops in a step")
    train.add_argument("--alpha", type=_number(float, 0), help="content weight")
    train.add_argument("--beta", type=_number(float, 0), help="style weight")
    train.add_argument("--tv", type=_number(float, 0), help="total variation weight")
    train.add_argument("--content-layer", metavar="LAYER", help="conv4_2 and the like")
    train.add_argument(
        "--channels", type=_number(int, 1), nargs=3, help="at full, half and quarter width"
    )
    train.add_argument("--lr", type=_number(float, 0), help="Adam's rate at the beginning")
    train.add_argument("--every", type=_number(int, 1), default=250, help="steps of a snapshot")
    train.add_argument("--resume", action="store_true", help="go on with the training of OUT")
    train.add_argument("--workers", type=_number(int, 0), help="processes that read photographs")
    train.add_argument("--device", help="cpu, cuda, mps, xpu; the best there is if not given")
    train.add_argument("--weights", help="auto, gatys, torchvision or random")
    train.add_argument("--seed", type=int)
    train.set_defaults(run=_train)


# The options of nst train by the arguments of Training they are; the second kind may be given to a
# training that is resumed, too.
_AT_FIRST = {
    "hold_out": "held_out",
    "size": "size",
    "style_size": "style_size",
    "batch": "batch",
    "alpha": "alpha",
    "beta": "beta",
    "tv": "tv_weight",
    "content_layer": "content_layer",
    "channels": "channels",
    "lr": "lr",
    "seed": "seed",
}
_AT_ANY_TIME = {name: name for name in ("steps", "workers", "device", "weights")}


def _train(options: argparse.Namespace) -> int:
    from nst_helpers.trained import checked_name

    output = checked_name(options.output)  # before hours of work, not after
    training = _resumed(options, output) if options.resume else _begun(options, output)
    trained = training.run(output, every=options.every)
    for notice in training.notices:
        print(f"nst: {notice}", file=sys.stderr)
    print(f"{output}: {', '.join(trained.names)} after {trained.settings['steps']:,} steps.")
    if training.ended == "interrupted":
        print(
            f"nst: interrupted; {output} holds what was learnt so far, and --resume goes on.",
            file=sys.stderr,
        )
        return 130
    if training.ended == "diverged":
        raise NstError(
            f"The loss has been no number several times in a row; {output} holds the network "
            f"before that; try a smaller rate or beta."
        )
    return 0


def _begun(options: argparse.Namespace, output: Path) -> Any:
    from nst_helpers.training import Training, run_file

    if not options.style:
        raise NstError("There is no style to train for; name a picture, or --resume a training.")
    for path in (output, run_file(output)):
        if path.exists():
            raise NstError(
                f"{path} is there already; go on with its training by --resume, or choose another "
                f"output."
            )
    given = _given(options, _AT_FIRST | _AT_ANY_TIME)
    return Training(options.style, options.photos, **given)


def _resumed(options: argparse.Namespace, output: Path) -> Any:
    from nst_helpers.training import Training, run_file

    settled = ["STYLE"] * bool(options.style)
    given = _given(options, {name: name for name in _AT_FIRST})
    settled += [f"--{name.replace('_', '-')}" for name in given]
    if settled:
        raise NstError(
            f"A training goes on with its own settings, so {', '.join(settled)} cannot be given "
            f"with --resume; leave that out, or start another training."
        )
    return Training.load(run_file(output), options.photos, **_given(options, _AT_ANY_TIME))


def _given(options: argparse.Namespace, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that were given, by the names that ``Training`` has for them."""
    values = {theirs: getattr(options, ours) for ours, theirs in names.items()}
    return {name: value for name, value in values.items() if value is not None}


def _add_weights(commands: argparse._SubParsersAction) -> None:
    weights = commands.add_parser(
        "weights", help="fetch and verify the pretrained weights, and say where they are"
    )
    weights.add_argument(
        "action",
        nargs="?",
        choices=("fetch", "verify", "where"),
        default="fetch",
        help="fetch what is missing (the default), verify what is there, or say where it is",
    )
    weights.set_defaults(run=_weights)


def _weights(options: argparse.Namespace) -> int:
    from nst_helpers import weights

    if options.action == "fetch":
        weights.fetch_usual()
    statuses = weights.weights_status()
    if options.action == "where":
        print(weights.cache_folder())
    for status in statuses:
        print(f"{status.name:14} {status.state:8} {status.detail}")
    if options.action == "where":
        return 0
    return int(any(status.state != "ready" for status in statuses if status.name in weights.COURSE))


def _add_grade(commands: argparse._SubParsersAction) -> None:
    grade = commands.add_parser("grade", help="grade what a class handed in to nbgrader")
    grade.add_argument("lessons", nargs="+", metavar="LESSON", help="such as 03_gram_matrix")
    grade.add_argument("--student", default="*", metavar="GLOB", help="only these students")
    grade.add_argument(
        "--jobs", type=_number(int, 1), help="processes; one for each core if not given"
    )
    grade.add_argument(
        "--seconds", type=_number(float, 1), default=20.0, help="the longest that one call may take"
    )
    grade.add_argument("--scheduler", metavar="ADDRESS", help="let a Dask cluster do the work")
    grade.set_defaults(run=_grade)


def _grade(options: argparse.Namespace) -> int:
    from nst_helpers.grading.classroom import grade

    return grade(
        options.lessons,
        students=options.student,
        jobs=options.jobs,
        seconds=options.seconds,
        scheduler=options.scheduler,
    )


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    sweep = commands.add_parser("sweep", help="run every combination of settings, see docs/sweeps")
    sweep.add_argument("spec", type=Path, metavar="SPEC", help="what to vary, in YAML")
    sweep.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="results; SPEC's name if not given"
    )
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="let a Dask cluster do the work")
    sweep.add_argument(
        "--workers", type=_number(int, 1), help="processes on this machine; 2 if not given"
    )
    sweep.add_argument("--yes", action="store_true", help="do not ask, however many jobs there are")
    sweep.set_defaults(run=_sweep)


def _sweep(options: argparse.Namespace) -> int:
    from nst_helpers.sweep.command import sweep

    return sweep(
        options.spec,
        options.output,
        scheduler=options.scheduler,
        processes=options.workers,
        sure=options.yes,
    )


def _doctor(options: argparse.Namespace) -> int:
    """Print one line for each part; a part that is not well says what to do."""
    failures = 0
    for part, check in DOCTOR.items():
        try:
            lines = list(check())
            mark = "ok "
        except (NstError, ImportError, OSError) as error:
            lines, mark = [str(error)], "NOT"
            failures += 1
        for line in lines:
            print(f"{mark} {part:11} {line}")
    return int(failures > 0)


def _check_python() -> Iterator[str]:
    yield f"Python {platform.python_version()} at {sys.prefix}"


def _check_packages() -> Iterator[str]:
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package).split('+')[0]}")
        except importlib.metadata.PackageNotFoundError:
            raise NstError(
                f"The package {package} is not installed; run make setup in the project's folder."
            ) from None
    yield ", ".join(versions[:4])
    yield ", ".join(versions[4:])


def _check_device() -> Iterator[str]:
    from nst_helpers.device import describe_device, pick_device, pick_precision

    device = pick_device()
    precision = str(pick_precision(device, default="auto")).removeprefix("torch.")
    yield f"{describe_device(device)}, {precision}"


def _check_weights() -> Iterator[str]:
    from nst_helpers import weights

    ready = [status for status in weights.weights_status() if status.state == "ready"]
    if not {"gatys", "torchvision"} & {status.name for status in ready}:
        detail = weights.weights_status()[0].detail
        raise NstError(f"{detail} To fetch them, run: {module_command('nst_helpers.weights')}")
    for status in ready:
        yield f"{status.name}, in {status.where.parent}"


def _check_pictures() -> Iterator[str]:
    from nst_helpers.attribution import images_folder, pictures

    for picture in pictures():
        if not picture.path.is_file():
            raise NstError(f"The shipped picture {picture.path} is missing; restore it with git.")
    yield f"{len(pictures())} pictures in {images_folder()}"


def _check_tool(tool: str) -> Callable[[], Iterator[str]]:
    def check() -> Iterator[str]:
        # The environment's own tools are looked for first: it may not be activated.
        path = shutil.which(tool, path=sysconfig.get_path("scripts")) or shutil.which(tool)
        if path is None:
            raise NstError(f"The program {tool} is not installed; run make setup.")
        yield path

    return check


DOCTOR: dict[str, Callable[[], Iterator[str]]] = {
    "python": _check_python,
    "packages": _check_packages,
    "device": _check_device,
    "weights": _check_weights,
    "pictures": _check_pictures,
    **{tool: _check_tool(tool) for tool in TOOLS},
}


if __name__ == "__main__":
    sys.exit(main())
