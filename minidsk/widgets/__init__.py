"""Figures that move: live in Jupyter, alone in the rendered page, from one ES module each.

They need anywidget, which is imported with the first figure and not before.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Acceptance": "acceptance",
    "Batching": "batching",
    "BoardGame": "board",
    "Cache": "cache",
    "Curve": "curve",
    "Figure": "base",
    "Group": "group",
    "Harvest": "harvest",
    "Preferences": "preferences",
    "Rollouts": "rollouts",
    "Roofline": "roofline",
    "Routing": "routing",
    "Schedule": "schedule",
    "Tokens": "tokens",
}

__all__ = [
    "Acceptance",
    "Batching",
    "BoardGame",
    "Cache",
    "Curve",
    "Figure",
    "Group",
    "Harvest",
    "Preferences",
    "Rollouts",
    "Roofline",
    "Routing",
    "Schedule",
    "Tokens",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"minidsk.widgets has no figure {name!r}; there are {', '.join(__all__)}")
    return getattr(import_module(f"minidsk.widgets.{_HOME[name]}"), name)
