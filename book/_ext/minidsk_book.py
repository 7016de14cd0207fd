"""What the book needs from Sphinx beyond Jupyter Book: every resource of a page comes from the site itself.

- MathJax is copied out of the installed django-static-mathjax into `book/_static/mathjax`, which git ignores.
- sphinx-thebe, which Jupyter Book always loads, puts a script on every page that fails; it is dropped, and so is
  sphinx-design, of which the book uses nothing.
- The Colab badge, an image from another host in the notebooks, becomes our own.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
THEBE = re.compile(r'<script(?: type="text/x-thebe-config">|>kernelName)(?:(?!</script>).)*</script>', re.DOTALL)
MATHJAX = ("tex-mml-chtml.js", "output/chtml/fonts")


class LocalBadge(SphinxTransform):
    """Point the image of the Colab badge at the copy in this book."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Replace the address in place."""
        for image in self.document.findall(nodes.image):
            if image["uri"] == BADGE:
                image["uri"] = "/book/_static/open_in_colab.svg"


def copy_mathjax(app: Sphinx) -> None:
    """Put the pinned MathJax among the static files, once."""
    spec = find_spec("mathjax")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("MathJax is missing: pip install django-static-mathjax")
    source = Path(spec.submodule_search_locations[0]) / "static" / "mathjax" / "es5"
    target = Path(app.srcdir) / "book" / "_static" / "mathjax"
    for name in MATHJAX:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


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
    app.connect("builder-inited", copy_mathjax)
    app.connect("html-page-context", drop, priority=900)
    app.connect("build-finished", drop_icons)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
