"""What the book needs from Sphinx beyond Jupyter Book: every resource of a page comes from the site itself.

- sphinx-thebe, which Jupyter Book always loads, puts a script on every page that fails; it is dropped, and so is
  sphinx-design, of which the book uses nothing.
- References have roles that may not stand in each other, and exercises share one id; both go.
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

ATTRIBUTES = re.compile(r' role="(?:list(?=" class="citation-list)|doc-biblioentry|doc-backlink)"'
                        r'| id="(?:exercise|solution)-content"')  # fmt: skip
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
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
        context["body"] = once(ATTRIBUTES.sub("", THEBE.sub("", context["body"])))


def once(body: str) -> str:
    """Each style that the figures of a notebook bring along, the first time alone."""
    seen: set[str] = set()

    def first(style: re.Match[str]) -> str:
        new = style[0] not in seen
        seen.add(style[0])
        return style[0] if new else ""

    return STYLE.sub(first, body)


def name_toggles(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Say what the arrows of the sidebar do, which the theme leaves without a name."""
    make = context.get("generate_toctree_html")
    if make is not None:
        context["generate_toctree_html"] = lambda *given, **named: named_toggles(make(*given, **named))


def named_toggles(sidebar: Any) -> Any:
    """The sidebar, parsed HTML, with a name for each arrow."""
    for arrow in sidebar("summary") if callable(sidebar) else ():
        arrow["aria-label"] = "Show or hide the pages below"
    return sidebar


def needless(file: Any) -> bool:
    """Whether a script or a style is sphinx-thebe's or sphinx-design's: by its name, or, if inline, by its text."""
    inline, name = getattr(file, "attributes", {}).get("body") or "", str(getattr(file, "filename", file))
    return any(word in name for word in ("thebe", "sphinx-design", "design-tabs")) or "THEBE" in inline


def tidy(app: Sphinx, exception: Exception | None) -> None:
    """Take the theme's icons, for which we have `book/_static/icons.css`, out of the site; one id a search field."""
    shutil.rmtree(Path(app.outdir) / "_static" / "vendor" / "fontawesome", ignore_errors=True)
    search = Path(app.outdir) / "search.html"
    if search.exists():
        first, *others = search.read_text(encoding="utf-8").split('id="search-input"')
        search.write_text('id="search-input"'.join([first, "".join(others)]) if others else first, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register them."""
    app.add_transform(LocalBadge)
    app.connect("html-page-context", drop, priority=900)
    app.connect("html-page-context", name_toggles, priority=950)
    app.connect("build-finished", tidy)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
