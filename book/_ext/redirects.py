"""Old addresses lead to the new ones: `redirects` in `_config.yml` maps the page that was to the page that is.

A page of its own is written for each, at the end of the build, so that neither the search nor the sitemap knows of it.
It works without scripts and from a folder; with scripts, a link to a part of the page keeps its part.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from posixpath import dirname, relpath
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="canonical" href="{canonical}">
<script>location.replace("{near}" + location.search + location.hash)</script>
<meta http-equiv="refresh" content="0; url={near}">
</head>
<body>
<main><h1>This page has moved</h1><p>It is now <a href="{near}">{title}</a>.</p></main>
</body>
</html>
"""


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the pages. Raises `ExtensionError` where an old address is in use, or a new one is not."""
    if exception or app.builder.format != "html":
        return
    pages = app.env.found_docs
    for old, new in app.config.redirects.items():
        if old in pages:
            raise ExtensionError(f"redirects in _config.yml: {old} is a page of the book; take it off the table")
        if new not in pages:
            raise ExtensionError(f"redirects in _config.yml: {old} leads to {new}, which is no page of the book")
        path = Path(app.outdir) / f"{old}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            PAGE.format(
                title=escape(app.env.titles[new].astext()),
                near=escape(relpath(f"{new}.html", dirname(old) or ".")),
                canonical=escape(f"{app.config.html_baseurl}{new}.html"),
            ),
            encoding="utf-8",
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the table and its pages."""
    app.add_config_value("redirects", {}, "html", dict)
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
