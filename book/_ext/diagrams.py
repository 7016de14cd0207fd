"""The directives `diagram`, a diagram of the course on a page, and `drawing`, an SVG file in the page's own colours.

Both have a caption, and look as in the notebooks.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import OptionSpec

from minidsk.diagrams import diagram
from minidsk.diagrams.figure import framed


class DiagramOnAPage(SphinxDirective):
    """``{diagram} NAME``, and the name of another drawing of the same for narrow windows as ``:narrow:``.

    Raises `ExtensionError` for a name that `minidsk.diagrams` does not know.
    """

    required_arguments = 1
    option_spec: ClassVar[OptionSpec] = {"narrow": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """The figure."""
        try:
            drawn = diagram(self.arguments[0])
            narrow = diagram(self.options["narrow"]) if "narrow" in self.options else None
        except ValueError as error:
            raise ExtensionError(f"{self.env.docname}, line {self.lineno}: {error}") from error
        spec = find_spec("minidsk.diagrams")
        for path in Path(str(spec and spec.origin)).parent.rglob("*.*"):
            if path.suffix in (".py", ".css"):
                self.env.note_dependency(str(path))
        if narrow is None:
            return [nodes.raw("", drawn._repr_html_(), format="html")]
        both = f'<div class="for-wide">{drawn.svg}</div><div class="for-narrow">{narrow.svg}</div>'
        return [nodes.raw("", framed(both, drawn.caption, "fits-phones"), format="html")]


class DrawingOnAPage(SphinxDirective):
    """``{drawing} FILE``, beside the page, with the caption as content. A style that the file has for itself goes.

    Raises `ExtensionError` for a file that is not there or does not say what it shows.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The figure."""
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        drawn = Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
        if not (said := re.search(r'^<svg[^>]* aria-label="([^"]+)"', drawn)):
            raise ExtensionError(f"{self.env.docname}, line {self.lineno}: {self.arguments[0]} is missing, or has no "
                                 "aria-label")  # fmt: skip
        drawn = re.sub(r"<style>.*?</style>|<!--.*?-->", "", drawn, flags=re.DOTALL)
        box = f'<div tabindex="0" role="group" aria-label="{said[1]}">{drawn}</div>'
        return [nodes.raw("", framed(box, " ".join(self.content), "mdsk-plot", "fits-phones"), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register them."""
    app.add_directive("diagram", DiagramOnAPage)
    app.add_directive("drawing", DrawingOnAPage)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
