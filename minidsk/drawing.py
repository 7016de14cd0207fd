"""A figure of matplotlib as one `<svg>` element that takes its colours from the page around it, be it light or dark."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def element(figure: Figure, description: str, colours: Mapping[str, str], limits: str = "") -> str:
    """The figure as an `<svg>` whose ids are its own, and whose width the page decides.

    description: what it shows, for a reader who cannot see it.
    colours: for a colour as the figure has it, such as "#000000", what the page calls it in CSS.
    limits: CSS for its width.

    The same figure gives the same bytes.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    salt = hashlib.sha256(description.encode()).hexdigest()[:8]
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(file, format="svg", transparent=True, metadata=_METADATA)
    drawn = file.getvalue()
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    drawn = re.sub(r"<!--.*?-->\s*", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>p{salt}-", drawn)
    drawn = re.sub(r'(?<= d=")[^"]*', _short_path, drawn)
    drawn = re.sub(r"font-family: [^;\"]*;? ?", "", drawn)
    drawn = re.sub(r"(?<=font: )([^;\"]*?px) [^;\"]*", r"\1 inherit", drawn)
    drawn = re.sub(r"#[0-9a-f]{6}\b", lambda m: colours.get(m[0], m[0]), drawn)
    head = f'<svg role="img" aria-label="{escape(description)}"' + (f' style="{limits}"' if limits else "")
    return re.sub(r'^<svg([^>]*?) width="[^"]*" height="[^"]*"|^<svg([^>]*?) height="[^"]*" width="[^"]*"',
                  lambda m: head + (m[1] or m[2] or ""), drawn, count=1)  # fmt: skip


def _short_path(path: re.Match[str]) -> str:
    """Coordinates to a twentieth of a point, which no eye can tell."""
    return re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.1f}".rstrip("0").rstrip("."), path[0]).replace("\n", "")
