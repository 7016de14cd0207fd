"""The directive `diagram`: a diagram of the course on a page, as the notebooks show it, with its caption."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from minidsk.diagrams import diagram


class DiagramOnAPage(SphinxDirective):
    """``{diagram} NAME``. Raises `ExtensionError` for a name that `minidsk.diagrams` does not know."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The figure."""
        try:
            drawn = diagram(self.arguments[0])
        except ValueError as error:
            raise ExtensionError(f"{self.env.docname}, line {self.lineno}: {error}") from error
        spec = find_spec("minidsk.diagrams")
        for path in Path(str(spec and spec.origin)).parent.rglob("*.*"):
            if path.suffix in (".py", ".css"):
                self.env.note_dependency(str(path))
        return [nodes.raw("", drawn._repr_html_(), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("diagram", DiagramOnAPage)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
