"""Steps in JupyterLab that several browser tests share."""

from __future__ import annotations

import time
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Lab

MINUTE = 60_000


def open_notebook(page: Page, lab: Lab, path: str) -> None:
    """Open a notebook and wait until its kernel can be used.

    The toolbar says "idle" before there is a kernel, and a Run All is then dropped in silence; the
    status bar names the kernel.
    """
    page.goto(f"{lab.url}/lab/tree/{path}?token={lab.token}&reset", timeout=MINUTE)
    status = page.locator("#jp-main-statusbar")
    expect(status).to_contain_text("| Idle", timeout=MINUTE)
    expect(status).not_to_contain_text("No Kernel")


def run_all_cells(page: Page) -> None:
    """Choose Run > Run All Cells, as a person does."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def cells(page: Page) -> list[dict[str, Any]]:
    """Return the notebook's cells with their outputs, as JupyterLab holds them now."""
    return page.evaluate("jupyterapp.shell.currentWidget.content.model.toJSON().cells")


def wait_until_all_ran(page: Page, seconds: float) -> list[dict[str, Any]]:
    """Wait until every code cell has run, and return the cells.

    Raises:
        AssertionError: a cell raised (with its traceback), or they did not end in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        code = [cell for cell in cells(page) if cell["cell_type"] == "code"]
        for cell in code:
            for output in cell["outputs"]:
                assert output["output_type"] != "error", "\n".join(output["traceback"])
        busy = page.locator(".jp-InputPrompt", has_text="[*]").count()
        if all(cell["execution_count"] for cell in code) and not busy:
            return cells(page)
        page.wait_for_timeout(300)
    raise AssertionError(f"The notebook did not run through in {seconds} seconds.")


def go_to_cell(page: Page, cell_id: str) -> None:
    """Select the cell with this id, as a click into its margin does, and scroll to it."""
    index = [cell["id"] for cell in cells(page)].index(cell_id)
    page.evaluate(
        """async index => {
            const notebook = jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = index;
            notebook.mode = 'command';
            await notebook.scrollToItem(index, 'center');
            notebook.activate();
        }""",
        index,
    )


def write_cell(page: Page, cell_id: str, source: str) -> None:
    """Replace what stands in a cell from the keyboard."""
    go_to_cell(page, cell_id)
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)
    page.keyboard.press("Escape")
    written = next(cell["source"] for cell in cells(page) if cell["id"] == cell_id)
    assert "".join(written) == source


def run_cell(page: Page, cell_id: str, seconds: float = 60) -> list[dict[str, Any]]:
    """Run one cell from the keyboard and return its outputs."""
    before = _execution_count(page, cell_id)
    go_to_cell(page, cell_id)
    page.keyboard.press("Control+Enter")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        page.wait_for_timeout(100)
        if _execution_count(page, cell_id) not in (None, before):
            return next(cell["outputs"] for cell in cells(page) if cell["id"] == cell_id)
    raise AssertionError(f"Cell {cell_id} did not end in {seconds} seconds.")


def _execution_count(page: Page, cell_id: str) -> int | None:
    return next(cell["execution_count"] for cell in cells(page) if cell["id"] == cell_id)
