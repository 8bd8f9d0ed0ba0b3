"""Pytest plugin of scripts/test: writes the coverage report and the failed checks above pytest's own summary."""

from __future__ import annotations

import io
import os

import coverage
import pytest
from coverage.exceptions import CoverageException


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In each of the processes that share the tests: they save what they measured before the first one reports."""
    running = coverage.Coverage.current()
    if running is not None and hasattr(session.config, "workerinput"):
        running.stop()
        running.save()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Runs after the last test and before the closing line."""
    running = coverage.Coverage.current()
    if running is not None:
        terminalreporter.section("coverage")
        running.stop()
        running.save()
        terminalreporter.write(_report())
    failed = os.environ.get("SIGNAGE_FAILED_CHECKS", "")
    if failed:
        terminalreporter.section("failed before pytest", red=True, bold=True)
        for check in failed.split(","):
            terminalreporter.line(check, red=True)


def _report() -> str:
    """The table of all processes together: this one and the children that saved theirs."""
    report = io.StringIO()
    whole = coverage.Coverage()
    try:
        whole.combine()
        whole.report(file=report, show_missing=False)
    except CoverageException as error:
        report.write(f"no coverage: {error}\n")
    return report.getvalue()
