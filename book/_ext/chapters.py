"""Chapters have numbers: in the sidebar, in titles, and in links from one to another.

The number is the one in the file's name in `_toc.yml` (02_latent_attention), because chapters that are not written yet
have a number already. Notebooks write their titles without it. A link to a chapter gets the chapter's number and title
as its tooltip.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform

CHAPTER = re.compile(r"notebooks/(\d\d[a-z]?)_\w+")


def number(docname: str) -> str | None:
    """The chapter's number as its file has it, ``"02"``, ``"14b"`` on its second page; None for other pages."""
    found = CHAPTER.fullmatch(docname)
    return found[1] if found else None


def listed(part: dict[str, Any]) -> list[str]:
    """The notebooks in a part of the table of contents, a chapter's second page behind its first."""
    entries = [page for entry in part["chapters"] for page in (entry, *entry.get("sections", []))]
    return [entry["file"] for entry in entries if entry["file"].startswith("notebooks/")]


def put_numbers(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Write the number before the title where Sphinx keeps it: sidebar, browser title, previous and next."""
    for docname, title in [*env.titles.items(), *env.longtitles.items()]:
        mine = number(docname)
        if mine and not title.astext().startswith(f"{mine} "):
            title.insert(0, nodes.Text(f"{mine} "))
    for docname, toc in env.tocs.items():
        reference, mine = next(toc.findall(nodes.reference), None), number(docname)
        if mine and reference is not None and not reference.astext().startswith(f"{mine} "):
            reference.insert(0, nodes.Text(f"{mine} "))
    return []


class NumberInTitle(SphinxPostTransform):
    """The number before the heading of the page."""

    default_priority = 900

    def run(self, **kwargs: Any) -> None:
        """Insert it, in a class of its own."""
        mine, title = number(self.env.docname), next(self.document.findall(nodes.title), None)
        if mine and title is not None:
            title.insert(0, nodes.inline("", f"{mine} ", classes=["chapter-number"]))


class TitlesOfLinks(SphinxPostTransform):
    """A tooltip for links to chapters."""

    default_priority = 15  # after the links are resolved

    def run(self, **kwargs: Any) -> None:
        """Each resolved link to a chapter says its number and title."""
        builder = self.app.builder
        known = {builder.get_relative_uri(self.env.docname, docname): title.astext()
                 for docname, title in self.env.titles.items() if number(docname)}  # fmt: skip
        for link in self.document.findall(nodes.reference):
            title = known.get(link.get("refuri", "").partition("#")[0])
            if title:
                link["reftitle"] = title


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the three."""
    app.connect("env-updated", put_numbers)
    app.add_post_transform(NumberInTitle)
    app.add_post_transform(TitlesOfLinks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
