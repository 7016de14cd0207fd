"""What pytest's nbval plugin lacks for this course: the tolerance that a cell declares, and seconds for each notebook.

Loaded by `-p nbval_plugin`, with this folder on PYTHONPATH (see `make nbval`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from nbval.plugin import IPyNbCell, coalesce_streams
from tolerance import declared, snap_outputs

LIMIT = 90.0  # seconds that a chapter has on two cores; said, not enforced, because machines are shared
SECONDS: Counter[str] = Counter()

_strict = IPyNbCell.compare_outputs


def compare_outputs(cell: Any, test: list[Any], ref: list[Any], skip_compare: Any = None) -> bool:
    """nbval's own comparison, after numbers within the cell's tolerance were set to the recorded ones."""
    tolerance = declared(cell.cell.source)
    if tolerance is not None:
        test = snap_outputs(coalesce_streams(test), ref, tolerance)
    return bool(_strict(cell, test, ref, skip_compare))


def pytest_configure() -> None:
    """Put the comparison in place."""
    IPyNbCell.compare_outputs = compare_outputs


def pytest_runtest_logreport(report: Any) -> None:
    """Add up the cells of each notebook, the kernel's start included."""
    if ".ipynb" in report.nodeid:
        SECONDS[report.nodeid.split("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how long each notebook took."""
    for name, seconds in sorted(SECONDS.items()):
        terminalreporter.write_line(f"{name}: {seconds:.0f} s{'  over the limit of 90 s' if seconds > LIMIT else ''}")
