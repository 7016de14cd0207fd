"""The book on paper: a style for printing, and the whole book as one page (Sphinx's builder `singlehtml`).

`tools/print_book.py` makes the PDF of it.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def share_handlers(app: Sphinx) -> None:
    """Let the one page show what the many pages can.

    Sphinx asks for the handlers of the builder's name first, and for those of HTML only if there are none; one
    extension that names `singlehtml` therefore hides what all others have registered for HTML.
    """
    handlers = app.registry.translation_handlers
    if app.builder.name in handlers and app.builder.format == "html":
        handlers[app.builder.name] = {**handlers["html"], **handlers[app.builder.name]}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both."""
    app.connect("builder-inited", share_handlers)
    app.add_css_file("print.css", media="print")
    app.add_js_file("print.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
