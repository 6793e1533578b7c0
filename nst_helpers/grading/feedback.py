"""What students and graders are shown: the notebook with its marks, and nbgrader's feedback page.

A page shows the marks, their reasons and the checker's words; never a hidden test, an expected
value or a measured one. What students wrote is shown as text: nothing of theirs runs in a browser.
"""

from __future__ import annotations

import copy
import functools
import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbconvert.exporters import HTMLExporter
from nbconvert.exporters.templateexporter import TemplateExporter
from nbconvert.filters import Highlight2HTML
from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbformat import NotebookNode
from nbgrader.apps import NbGrader
from nbgrader.converters import GenerateFeedback
from nbgrader.preprocessors import ClearHiddenTests

from nst_helpers.grading.repair import Repaired

if TYPE_CHECKING:
    from nst_helpers.grading.judge import CellMark, Verdict

# In a notebook's metadata: its marks are the judge's, not those of nbgrader autograde.
MARKER = "nst_judge"
# No one reads more of a student's own text than this.
MOST_OWN_TEXT = 200_000


def shown(repaired: Repaired, source: Path, verdict: Verdict) -> NotebookNode:
    """Return a repaired notebook as it is shown: with marks and words, without hidden tests.

    Args:
        repaired: the submission.
        source: the lesson's source.
        verdict: what the judge found.
    """
    notebook = copy.deepcopy(repaired.notebook)
    notebook, _ = ClearHiddenTests().preprocess(notebook, {})
    given = _given(source, source.stat().st_mtime_ns)
    marks = {mark.grade_id: mark for mark in verdict.marks}
    words = {entry.exercise: entry.text for entry in verdict.words}
    room = MOST_OWN_TEXT
    for cell in notebook.cells:
        if (cell.cell_type, cell.source) not in given:
            room -= len(cell.source)
            _make_harmless(cell, room)
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if grade_id in marks:
            cell.outputs = [_box(_sentence(marks[grade_id]), marks[grade_id].passed)]
        elif grade_id in words:
            cell.outputs = [_box(words[grade_id], False)]
    if repaired.notes:
        notebook.cells.insert(0, _note(repaired.notes))
    notebook.metadata[MARKER] = True
    return notebook


@functools.lru_cache(maxsize=16)
def _given(source: Path, changed: int) -> frozenset[tuple[str, str]]:
    """Return the kinds and texts of a lesson's cells, hidden tests left out."""
    notebook, _ = ClearHiddenTests().preprocess(nbformat.read(source, as_version=4), {})
    return frozenset((cell.cell_type, cell.source) for cell in notebook.cells)


def _make_harmless(cell: NotebookNode, room: int) -> None:
    """Let a student's text be no more than text."""
    cell.pop("attachments", None)
    if room < 0:
        cell.source = "# Left out: there is too much text of your own to show."
    if cell.cell_type != "code":
        text = f"<pre style='white-space:pre-wrap'>{html.escape(cell.source)}</pre>"
        cell.cell_type, cell.source = "markdown", text


def _sentence(mark: CellMark) -> str:
    reason = "" if mark.passed else f"; {mark.told.rstrip('.')}"
    return f"{mark.points:g} of {mark.max_points:g} points: {mark.title}{reason}."


def _note(notes: tuple[str, ...]) -> NotebookNode:
    lines = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    text = f"<p><b>Repaired before it was graded</b></p><ul>{lines}</ul>"
    return nbformat.v4.new_markdown_cell(text, id="repaired")


def _box(text: str, good: bool) -> NotebookNode:
    """Return a text as an output in the checker's colours."""
    ink, ground = ("#155724", "#d4edda") if good else ("#721c24", "#f8d7da")
    style = f"color:{ink};background:{ground};border-left:4px solid {ink};padding:8px 12px"
    lines = html.escape(text).replace("\n", "<br>")
    data = {"text/plain": text, "text/html": f"<div role='status' style='{style}'>{lines}</div>"}
    return nbformat.v4.new_output("display_data", data=data)


class Pages:
    """Makes feedback pages with nbgrader's own template and settings.

    Args:
        app: nbgrader's application, with the course's configuration.
    """

    def __init__(self, app: NbGrader) -> None:
        settings = GenerateFeedback(coursedir=app.coursedir, parent=app).config
        self._exporter = _Exporter(config=settings)
        self._exporter.register_preprocessor(CSSHTMLHeaderPreprocessor(parent=self._exporter), True)

    def page(
        self, notebook: NotebookNode, name: str, marks: Mapping[str, float], late: float
    ) -> str:
        """Return the page of one student.

        Args:
            notebook: as ``shown`` made it, with comments in nbgrader's metadata.
            name: the notebook's name.
            marks: the points of each graded cell, as they are in the gradebook.
            late: the points taken off for being late.
        """
        most = 0.0
        for cell in notebook.cells:
            entry = cell.metadata.get("nbgrader", {})
            if entry.get("grade"):
                entry["score"] = marks[entry["grade_id"]]
                most += entry["points"]
        about = {"notebook": name, "late_penalty": late, "max_score": most}
        about["score"] = sum(marks.values()) - late
        text, _ = self._exporter.from_notebook_node(notebook, {"nbgrader": about})
        return text


class _Exporter(HTMLExporter):
    """As nbconvert's, but what is the same for a whole class is made once.

    nbconvert also parses each page again to mark parts of JupyterLab's template, which nbgrader's
    is not; that takes half of its time.
    """

    def default_filters(self) -> Any:
        yield from super().default_filters()
        highlight = Highlight2HTML(pygments_lexer="ipython3", parent=self)
        coloured = functools.lru_cache(maxsize=2000)(lambda source: highlight(source))
        yield "highlight_code", lambda source, **_: coloured(source)
        # No cell of a lesson has attachments, so its text alone decides.
        plain = functools.lru_cache(maxsize=2000)(
            lambda source: HTMLExporter.markdown2html(self, {}, source)
        )
        yield "markdown2html", plain

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **options: Any
    ) -> tuple[str, dict[str, Any]]:
        return TemplateExporter.from_notebook_node(
            self, nb, self._init_resources(resources), **options
        )
