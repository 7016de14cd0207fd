"""A diagram as a notebook shows it: the drawing, its caption below, and its description where no picture is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from minidsk.diagrams.pen import Pen

# As the widgets have them (look.js): the pages that say that they are dark; where a page says nothing, the system does.
_DARK = ":root[data-theme=dark], :root[theme=dark], body[data-jp-theme-light=false], body.vscode-dark"
_SILENT = ":root:not([data-theme],[theme]) body:not([data-jp-theme-light],.vscode-light,.vscode-dark) .mdsk-diagram"


def _style() -> str:
    light, _, rest = (Path(__file__).parent / "style.css").read_text(encoding="utf-8").partition("DARK")
    colours, _, rest = rest.partition("}")
    pages = ", ".join(f"{page} .mdsk-diagram" for page in _DARK.split(", "))
    dark = f"{pages}{colours}}} @media (prefers-color-scheme: dark) {{ {_SILENT}{colours}}} }}"
    return light.partition("*/")[2].strip() + "\n" + dark + rest.rstrip()


def _palettes() -> list[dict[str, str]]:
    light, _, rest = (Path(__file__).parent / "style.css").read_text(encoding="utf-8").partition("DARK")
    return [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in (light, rest.partition("}")[0])]


STYLE = _style()
PALETTE, DARK_PALETTE = _palettes()
"""The colours of light and of dark pages by their names in CSS."""


def framed(picture: str, caption: str, *kinds: str) -> str:
    """A picture with its caption as one `<figure>`, which brings the colours that follow the page."""
    names = " ".join(["mdsk-diagram", *kinds])
    words = f"<figcaption>{escape(caption, quote=False)}</figcaption>"
    return f'<figure class="{names}"><style>{STYLE}</style>{picture}{words}</figure>'


@dataclass(frozen=True)
class Diagram:
    """One diagram. title: a few words. description: what it shows, for a reader who cannot see it. caption: the
    sentence below it. width and height: of the sheet that `draw` fills, in units of about a pixel."""

    title: str
    description: str
    caption: str
    width: float
    height: float
    draw: Callable[[Pen], None]

    @property
    def svg(self) -> str:
        """The drawing."""
        pen = Pen(self.width, self.height)
        self.draw(pen)
        return pen.svg(self.title, self.description)

    def _repr_html_(self) -> str:
        # The drawing scrolls within a narrow page; what scrolls must be reachable by keyboard.
        box = f'<div tabindex="0" role="group" aria-label="{escape(self.title)}">{self.svg}</div>'
        return framed(box, self.caption)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Mapping[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def __repr__(self) -> str:
        return f"{self.title}: {self.description}"
