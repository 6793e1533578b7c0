"""Prints the table of the banks after the tests: right accepted, wrong caught, cause named."""

from __future__ import annotations

HEADER = f"{'exercise':22} {'right accepted':>16} {'wrong caught':>14} {'cause named':>13}"


def pytest_terminal_summary(terminalreporter) -> None:
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
    terminalreporter.line(HEADER)
    for exercise, row in rows.items():
        right, caught, named = (row.get(name, "") for name in ("right", "caught", "named"))
        terminalreporter.line(f"{exercise:22} {right:>16} {caught:>14} {named:>13}")
