"""What a page shows beside its text, in one look, light and dark.

`diagram("mtp")` is one of the course's diagrams: a file of `sheets` each, all drawn with `pen.Pen`. `show(fig, ...)`
displays a plot that matplotlib drew in the look `minidsk.diagrams.look`, and `table(...)` a table. `dots` and `band`
draw means over seeds with their intervals.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from minidsk.diagrams import sheets
from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.plot import direct_labels, show
from minidsk.diagrams.spread import band, dots
from minidsk.diagrams.table import table

__all__ = ["DIAGRAMS", "Diagram", "band", "diagram", "direct_labels", "dots", "show", "table"]

DIAGRAMS = tuple(sorted(module.name for module in iter_modules(sheets.__path__)))
"""The names of all diagrams."""


def diagram(name: str) -> Diagram:
    """The diagram called `name`, which Jupyter, Colab and the book show as a figure. Raises `ValueError`."""
    if name not in DIAGRAMS:
        raise ValueError(f"diagram: {name!r} is not known; give one of {', '.join(DIAGRAMS)}")
    found: Diagram = import_module(f"minidsk.diagrams.sheets.{name}").FIGURE
    return found
