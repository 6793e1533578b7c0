"""What the course adds to nbgrader's collecting, grading and feedback.

``nbgrader_config.py`` puts these classes into nbgrader's places:

- ``Autograde`` grades repaired copies, so that no submission stops another; it takes the place of
  nbgrader's class, which reads the file before the first preprocessor could repair it.
- ``StderrIsNoError`` is a step of grading: a warning costs no points.
- ``HideTests`` is a step of feedback: hidden tests stay hidden.
- ``Collect`` and ``ReleaseFeedback`` are plug-ins of the exchange.
"""

from __future__ import annotations

import fnmatch
import glob
import html
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import DeadKernelError
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbgrader import api, converters
from nbgrader.converters.base import NbGraderException
from nbgrader.exchange.default import ExchangeCollect, ExchangeReleaseFeedback
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, parse_utc
from traitlets import Bool, Unicode

from nst_helpers.errors import module_command
from nst_helpers.grading.repair import Repaired, repair
from nst_helpers.grading.salvage import Unreadable, read_file
from nst_helpers.grading.telling import fixed_words

# More than any answer needs beside its notebook.
LARGEST_FOLDER = 256 * 2**20
MOST_FILES = 500


class Autograde(converters.Autograde):
    """nbgrader's Autograde, on repaired copies of what was handed in.

    Every folder that was handed in gives a notebook that can be graded, an unanswered one at worst;
    what was wrong is logged and stands in a cell at the notebook's top. What was handed in is not
    changed, but for a timestamp that nbgrader cannot read, which is put aside.
    """

    repaired_directory = Unicode(
        "repaired", help="Where the repaired copies of submissions are kept."
    ).tag(config=True)

    @property
    def _input_directory(self) -> str:
        return self.repaired_directory if self._sanitizing else super()._input_directory

    def init_notebooks(self) -> None:
        """Repair the submissions that are to be graded, then let nbgrader find the copies."""
        references = self._references()
        lesson = self.coursedir.assignment_id
        places = (self.coursedir.submitted_directory, self.coursedir.student_id, lesson)
        for folder in sorted(glob.glob(self.coursedir.format_path(*places))):  # noqa: PTH207
            student = self._student(folder)
            target = self.coursedir.format_path(self.repaired_directory, student, lesson)
            for note in self._take_in(Path(folder), Path(target), references):
                self.log.warning("%s, %s: %s", student, lesson, note)
        super().init_notebooks()

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """Grade one notebook; say so in one line if it ended the process it was run in."""
        try:
            super().convert_single_notebook(notebook_filename)
        except DeadKernelError:
            self.log.error(
                "%s ended its own Python process, so it was not graded; look at it by hand.",
                notebook_filename,
            )
            raise

    def _student(self, folder: str) -> str:
        submitted, lesson = self.coursedir.submitted_directory, self.coursedir.assignment_id
        pattern = self.coursedir.format_path(submitted, "(?P<student>.*)", lesson, escape=True)
        return re.match(pattern, folder)["student"]

    def _references(self) -> dict[str, NotebookNode]:
        """Return the lesson's notebooks by file name, with the locked texts of the gradebook."""
        lesson = self.coursedir.assignment_id
        with api.Gradebook(self.coursedir.db_url, self.coursedir.course_id) as gradebook:
            try:
                notebooks = gradebook.find_assignment(lesson).notebooks
                return {f"{entry.name}.ipynb": self._reference(entry) for entry in notebooks}
            except api.MissingEntry:
                self._fail(f"The gradebook does not know {lesson}")
            except FileNotFoundError as error:
                self._fail(f"{error.filename} is missing")
        return {}

    def _fail(self, what: str) -> None:
        lesson = self.coursedir.assignment_id
        again = module_command("nbgrader", "generate_assignment", lesson, "--force")
        message = f"{what}; run: {again}"
        self.log.error(message)
        raise NbGraderException(message)

    def _reference(self, entry: api.Notebook) -> NotebookNode:
        # A folder in which students' code runs may lack the solutions; the hand-out does as well.
        directories = (self.coursedir.source_directory, self.coursedir.release_directory)
        lesson = self.coursedir.assignment_id
        folders = [Path(self.coursedir.format_path(name, ".", lesson)) for name in directories]
        paths = [folder / f"{entry.name}.ipynb" for folder in folders]
        path = next((path for path in paths if path.exists()), paths[0])
        notebook = nbformat.read(path, as_version=4)
        texts = {cell.name: cell.source for cell in entry.source_cells}
        for cell in notebook.cells:
            marks = cell.metadata.get("nbgrader", {})
            if marks and marks["grade_id"] not in texts:
                self.log.warning(
                    "%s is not in the gradebook and is not graded; it was added after nbgrader "
                    "generate_assignment.",
                    marks["grade_id"],
                )
                del cell.metadata["nbgrader"]
            elif marks and not marks.get("solution"):
                cell.source = texts[marks["grade_id"]]
        return notebook

    def _take_in(
        self, folder: Path, target: Path, references: dict[str, NotebookNode]
    ) -> Iterator[str]:
        """Make the repaired copy of one folder; give a sentence for all that was wrong."""
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        ignored = [*self.coursedir.ignore, "*.ipynb"]
        yield from copy_files(folder, target, ignored, modules=False)
        if not _is_timestamp(target / "timestamp.txt"):
            (target / "timestamp.txt").unlink()
            # formgrader, too, would stumble over it.
            (folder / "timestamp.txt").rename(folder / "timestamp.unreadable")
            yield "timestamp.txt cannot be read and is put aside; when it was handed in is unknown."
        for name, reference in references.items():
            repaired = self._repaired(folder, reference, name)
            nbformat.write(_with_notes(repaired), target / name)
            yield from repaired.notes

    def _repaired(self, folder: Path, reference: NotebookNode, name: str) -> Repaired:
        try:
            return repair(folder, reference, name)
        except Exception as error:  # whatever one submission does, the others are graded
            self.log.exception("Repairing %s failed", folder)
            note = f"It could not be repaired ({type(error).__name__}); grade it by hand."
            return Repaired(repair(b"", reference).notebook, (note,), ())


def _with_notes(repaired: Repaired) -> NotebookNode:
    """Return the notebook; if something was wrong, graders and the student read it at its top."""
    notebook = repaired.notebook
    if repaired.notes:
        lines = "\n".join(f"- {html.escape(note)}" for note in repaired.notes)
        note = nbformat.v4.new_markdown_cell(f"**Repaired before it was graded**\n\n{lines}")
        notebook.cells.insert(0, note)
    return notebook


def copy_files(
    folder: Path, target: Path, ignored: list[str], *, modules: bool = True
) -> Iterator[str]:
    """Copy the regular files of a submission; give a sentence for each that is left out.

    Links are never followed.

    Args:
        folder: what was handed in.
        target: a folder that exists.
        ignored: patterns of names to pass over in silence.
        modules: whether to take what Python, started in the folder, would import instead of a
            module that is installed.
    """
    size = count = 0
    for parent, folders, files in os.walk(folder):
        inside = Path(parent).relative_to(folder)
        folders[:] = [name for name in folders if not _matches(name, ignored)]
        for name in sorted(folders):
            if (Path(parent) / name).is_symlink():
                yield f"{inside / name} is a link and was left out."
        for name in sorted(files):
            if _matches(name, ignored):
                continue
            if not modules and _stands_in(folder, inside / name):
                yield f"{inside / name} would stand in for a module of that name; it was left out."
                continue
            try:
                data = read_file(Path(parent) / name)
            except Unreadable as error:
                yield f"{error} It was left out."
                continue
            size, count = size + len(data), count + 1
            if size > LARGEST_FOLDER or count > MOST_FILES:
                yield f"there is more than {MOST_FILES} files or {LARGEST_FOLDER >> 20} MB in it."
                return
            (target / inside).mkdir(parents=True, exist_ok=True)
            (target / inside / name).write_bytes(data)


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _stands_in(folder: Path, path: Path) -> bool:
    """Return whether Python, started in the folder, would import this instead of a module."""
    name = path.parts[0].split(".")[0]
    is_module = path.suffix in {".py", ".pyc", ".so", ".pyd"} and len(path.parts) == 1
    if not name or not (is_module or (folder / name / "__init__.py").exists()):
        return False
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return True
    return name in {"sitecustomize", "usercustomize"} or found is not None


def _is_timestamp(path: Path) -> bool:
    """Return whether nbgrader can read a timestamp file, or there is none."""
    if not path.exists():
        return True
    try:
        text = path.read_text().strip()
        return not text or parse_utc(text) is not None
    except Exception:  # dateutil raises many kinds
        return False


class StderrIsNoError(NbGraderPreprocessor):
    """Shows what went to stderr as ordinary output: nbgrader gives no points to a cell with any."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Rename the stream; errors stay errors."""
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.name = "stdout"
        return cell, resources


_HIDDEN_REGION = re.compile(
    r"^[^\n]*BEGIN HIDDEN TESTS.*?(?:END HIDDEN TESTS[^\n]*\n?|\Z)", re.DOTALL | re.MULTILINE
)
# Shorter pieces of a hidden test say nothing and may stand anywhere.
_SHORTEST_SECRET = 10


class HideTests(Preprocessor):
    """Takes hidden tests out of feedback: their text, what they printed, and expected values.

    Of a hidden test that failed a sentence remains. Where else a piece of a hidden test appears, as
    in something a student's code printed, it is struck out.
    """

    enabled = Bool(True).tag(config=True)

    def preprocess(
        self, nb: NotebookNode, resources: dict[str, Any]
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Hide the tests of one notebook."""
        secrets = _secrets(nb)
        for cell in nb.cells:
            if is_grade(cell) and _HIDDEN_REGION.search(cell.source):
                cell.outputs = [_hidden(output, cell.source) for output in _errors(cell)]
                cell.source = _HIDDEN_REGION.sub("", cell.source)
            for output in cell.get("outputs", []):
                _strike_out(output, secrets)
        return nb, resources


def _secrets(notebook: NotebookNode) -> list[str]:
    """Return the lines of hidden tests that stand nowhere else, the longest first."""
    shown, hidden = [], set()
    for cell in notebook.cells:
        graded = is_grade(cell)
        shown.append(_HIDDEN_REGION.sub("", cell.source) if graded else cell.source)
        for region in _HIDDEN_REGION.findall(cell.source) if graded else []:
            hidden |= {line.strip().strip("'\",") for line in region.split("\n")}
    seen = "\n".join(shown)
    secrets = (line for line in hidden if len(line) >= _SHORTEST_SECRET and line not in seen)
    return sorted(secrets, key=len, reverse=True)


def _errors(cell: NotebookNode) -> list[NotebookNode]:
    return [output for output in cell.outputs if output.output_type == "error"]


def _hidden(error: NotebookNode, source: str) -> NotebookNode:
    """Return an error of a hidden test in words that give nothing of it away."""
    text = fixed_words(error.get("ename", ""), error.get("evalue", ""), source)
    line = f"A hidden test: {text}"
    return nbformat.v4.new_output("error", ename="NotYet", evalue=line, traceback=[line])


def _strike_out(output: NotebookNode, secrets: list[str]) -> None:
    def struck(value: Any) -> Any:
        if isinstance(value, str):
            for secret in secrets:
                for spelling in (secret, html.escape(secret)):
                    value = value.replace(spelling, "(hidden)")
        elif isinstance(value, list):
            value = [struck(item) for item in value]
        elif isinstance(value, dict):
            value = NotebookNode({key: struck(item) for key, item in value.items()})
        return value

    for key in ("text", "ename", "evalue", "traceback", "data"):
        if key in output:
            output[key] = struck(output[key])


class Collect(ExchangeCollect):
    """nbgrader's collect; links are not followed, and no submission stops the next."""

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:
        """Copy one submission as far as it can be copied."""
        folder, target = Path(src), Path(dest)
        target.mkdir(parents=True)
        for note in copy_files(folder, target, self.coursedir.ignore):
            self.log.warning("%s: %s", folder.name, note)
        if not _is_timestamp(target / "timestamp.txt"):
            (target / "timestamp.txt").rename(target / "timestamp.unreadable")

    def _path_to_record(self, path: str) -> dict[str, Any]:
        try:
            return super()._path_to_record(path)
        except Exception:  # a folder that no submit made; it counts as the oldest
            name = Path(path).name
            return {
                "username": name.split("+")[0],
                "filename": name,
                "timestamp": parse_utc("1970"),
            }


class ReleaseFeedback(ExchangeReleaseFeedback):
    """nbgrader's release of feedback; who did not submit through the exchange is passed over."""

    def copy_files(self) -> None:
        """Release the feedback of all who can fetch it."""
        without = []
        for folder in glob.glob(self.src_path):  # noqa: PTH207
            if not all((Path(folder) / name).exists() for name in _FETCHED_BY):
                without.append(Path(folder).parent.name)
        if without:
            self.log.warning(
                "Not submitted through the exchange, so give them their pages yourself: %s.",
                ", ".join(sorted(without)),
            )
        excluded = self.coursedir.student_id_exclude
        self.coursedir.student_id_exclude = ",".join(filter(None, [excluded, *without]))
        super().copy_files()


# What nbgrader needs to know a student's page by.
_FETCHED_BY = ("timestamp.txt", "submission_secret.txt")
