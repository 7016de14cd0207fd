"""The course's diagrams, each drawn once, in light and dark: `diagram("mtp")` in a notebook shows one.

One file of `sheets` is one diagram; all are drawn with `pen.Pen`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from minidsk.diagrams import sheets
from minidsk.diagrams.figure import Diagram

__all__ = ["DIAGRAMS", "Diagram", "diagram"]

DIAGRAMS = tuple(sorted(module.name for module in iter_modules(sheets.__path__)))
"""The names of all diagrams."""


def diagram(name: str) -> Diagram:
    """The diagram called `name`, which Jupyter, Colab and the book show as a figure. Raises `ValueError`."""
    if name not in DIAGRAMS:
        raise ValueError(f"diagram: {name!r} is not known; give one of {', '.join(DIAGRAMS)}")
    found: Diagram = import_module(f"minidsk.diagrams.sheets.{name}").FIGURE
    return found
