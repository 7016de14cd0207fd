"""Under nbval, a chapter has 90 seconds on two cores for all its cells together.

The seconds are said and not held against it: machines are shared, and a busy one would fail a good chapter.
"""

from collections import Counter

LIMIT = 90.0  # seconds
SECONDS: Counter[str] = Counter()


def pytest_runtest_logreport(report):
    """Add up the cells of each notebook, the kernel's start included."""
    if ".ipynb" in report.nodeid:
        SECONDS[report.nodeid.split("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter):
    """Say how long each notebook took."""
    for name, seconds in sorted(SECONDS.items()):
        terminalreporter.write_line(f"{name}: {seconds:.0f} s{'  over the limit of 90 s' if seconds > LIMIT else ''}")
