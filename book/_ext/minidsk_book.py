"""What the book needs from Sphinx beyond Jupyter Book: every resource of a page comes from the site itself.

- sphinx-thebe, which Jupyter Book always loads, puts a script on every page that fails; it is dropped, and so is
  sphinx-design, of which the book uses nothing.
- The Colab badge, an image from another host in the notebooks, becomes our own.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
THEBE = re.compile(r'<script(?: type="text/x-thebe-config">|>kernelName)(?:(?!</script>).)*</script>', re.DOTALL)


class LocalBadge(SphinxTransform):
    """Point the image of the Colab badge at the copy in this book."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Replace the address in place."""
        for image in self.document.findall(nodes.image):
            if image["uri"] == BADGE:
                image["uri"] = "/book/_static/open_in_colab.svg"


def drop(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Take scripts and styles off the page that it does not need."""
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, []) if not needless(file)]
    if "body" in context:
        context["body"] = THEBE.sub("", context["body"])


def needless(file: Any) -> bool:
    """Whether a script or a style is sphinx-thebe's or sphinx-design's: by its name, or, if inline, by its text."""
    inline, name = getattr(file, "attributes", {}).get("body") or "", str(getattr(file, "filename", file))
    return any(word in name for word in ("thebe", "sphinx-design", "design-tabs")) or "THEBE" in inline


def drop_icons(app: Sphinx, exception: Exception | None) -> None:
    """Take the theme's icons, which `book/_static/icons.css` replaces, out of the built site."""
    shutil.rmtree(Path(app.outdir) / "_static" / "vendor" / "fontawesome", ignore_errors=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register them."""
    app.add_transform(LocalBadge)
    app.connect("html-page-context", drop, priority=900)
    app.connect("build-finished", drop_icons)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
