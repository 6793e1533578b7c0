"""Shared set-up: two cores at most, and no setting of the person running the tests leaks in."""

from __future__ import annotations

import pytest
import torch

torch.set_num_threads(1)  # xdist runs two workers on two cores


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NST_DEVICE", "NST_PRECISION", "NST_WEIGHTS", "NST_IMAGES"):
        monkeypatch.delenv(variable, raising=False)


BANK_HEADER = f"{'exercise':22} {'right accepted':>16} {'wrong caught':>14} {'cause named':>13}"


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the table of the checker's banks: right accepted, wrong caught, cause named.

    Here and not in tests/checker: with several workers only this folder's conftest is read by the
    process that prints.
    """
    rows: dict[str, dict[str, str]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for key, value in getattr(report, "user_properties", []):
                if key == "bank":
                    exercise, column, share = value
                    rows.setdefault(exercise, {})[column] = share
    if not rows:
        return
    terminalreporter.section("the checker against its banks of answers")
    terminalreporter.line(BANK_HEADER)
    for exercise, row in rows.items():
        right, caught, named = (row.get(name, "") for name in ("right", "caught", "named"))
        terminalreporter.line(f"{exercise:22} {right:>16} {caught:>14} {named:>13}")
