"""What ``nbgrader generate_assignment`` does to a lesson beyond nbgrader's own steps.

``nbgrader_config.py`` puts these two preprocessors into its list. Source: nbgrader documentation,
"Customizing how the student version of an assignment looks" and "Autotests".
"""

from __future__ import annotations

from typing import Any

from nbclient.exceptions import CellTimeoutError
from nbformat import NotebookNode
from nbgrader.preprocessors import InstantiateTests, NbGraderPreprocessor
from nbgrader.utils import is_grade
from traitlets import Integer

# A demonstration that takes long or needs pretrained weights: nbclient, and so nbgrader, passes it
# over; JupyterLab runs it (nbclient documentation, ``skip_cells_with_tag``).
DEMONSTRATION = "skip-execution"
# A cell of solutions/ that works only when the exercise before it is solved.
NEEDS_ANSWER = "needs-answer"
# What such a cell carries in notebooks/: Run All goes on after it (JupyterLab), and nbval lets it
# raise.
MAY_RAISE = "raises-exception"


class MeasureSolutions(InstantiateTests):
    """nbgrader's InstantiateTests, without demonstrations and with a time limit for each cell.

    nbgrader runs the whole notebook to learn what the reference solution returns, and waits for
    ever. An error in a cell, a failed ``check`` among them, stops the build.
    """

    seconds = Integer(60, help="The longest that one cell may take.").tag(config=True)

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Instantiate one cell's tests, unless it is a demonstration."""
        if DEMONSTRATION in cell.metadata.get("tags", []):
            return cell, resources
        return super().preprocess_cell(cell, resources, index)

    def _execute_code_snippet(self, code: str) -> str | None:
        self.execute_result = None
        try:
            self.kc.execute_interactive(
                code, output_hook=self._execute_code_snippet_output_hook, timeout=self.seconds
            )
        except TimeoutError as error:
            raise CellTimeoutError(
                f"A cell of the solution ran longer than {self.seconds} seconds; shorten it, or "
                f"tag it {DEMONSTRATION}. It is:\n{code}"
            ) from error
        result, self.execute_result = self.execute_result, None
        return result


class TagUnsolved(NbGraderPreprocessor):
    """Marks the cells of a released notebook that raise until their exercise is solved."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Replace ``needs-answer`` by ``raises-exception``; every test cell gets it, too."""
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and (NEEDS_ANSWER in tags or is_grade(cell)):
            kept = [tag for tag in tags if tag != NEEDS_ANSWER]
            cell.metadata["tags"] = [*kept, MAY_RAISE]
        return cell, resources
