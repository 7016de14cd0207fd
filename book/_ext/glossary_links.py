"""The first mention of a glossary's term in a chapter leads to its entry; the notebooks themselves stay clean.

The terms are read from `book/glossary.md`. One that has words in parentheses, such as "load (of an expert)", is too
common a word to be linked. Headings, links, code, formulas, tables, captions and outputs are left alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

GLOSSARY = Path("book") / "glossary.md"
BLOCK = re.compile(r"^```{glossary}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_IN = (nodes.title, nodes.reference, addnodes.pending_xref, nodes.literal, nodes.table, nodes.caption, nodes.rubric,
          nodes.footnote, nodes.raw, addnodes.download_reference)  # fmt: skip


def entries(page: str) -> list[list[str]]:
    """The entries of a glossary in MyST, each as its terms; the first one names it."""
    found: list[list[str]] = []
    fresh = True
    for line in "\n".join(BLOCK.findall(page)).splitlines():
        if line and not line.startswith(" "):
            found = [*found, [line]] if fresh else [*found[:-1], [*found[-1], line]]
            fresh = False
        else:
            fresh = True
    return found


def pattern(term: str) -> str:
    """A term in running text: a plural of it too, and a first letter of either case unless it is an abbreviation."""
    head = re.escape(term[0]) if term[:2].isupper() or not term[0].islower() else f"[{term[0]}{term[0].upper()}]"
    tail = "(?:y|ies)" if term.endswith("y") else re.escape(term[-1]) + "(?:s|es)?"
    return head + re.escape(term[1:-1]).replace(r"\ ", r"[ \n]") + tail


class GlossaryLinks(SphinxTransform):
    """Make a pending reference of the first mention of each entry."""

    default_priority = 700  # after MyST-NB has put outputs in their place

    def apply(self, **kwargs: Any) -> None:
        """Go through the paragraphs of a chapter in the order of reading."""
        if not self.env.docname.startswith("notebooks/"):
            return
        self.env.note_dependency(str(Path(self.env.srcdir) / GLOSSARY))
        known = entries((Path(self.env.srcdir) / GLOSSARY).read_text(encoding="utf-8"))
        terms = sorted(((term, entry[0]) for entry in known for term in entry if "(" not in term),
                       key=lambda pair: -len(pair[0]))  # fmt: skip
        self.left = dict.fromkeys(entry for _, entry in terms)
        self.names = [entry for _, entry in terms]
        words = "|".join(f"({pattern(term)})" for term, _ in terms)
        self.find = re.compile(rf"(?<![\w@-])(?:{words})(?![\w@-])")
        for text in list(self.document.findall(nodes.Text)):
            if readable(text):
                self.link(text)

    def link(self, text: nodes.Text) -> None:
        """Replace a piece of text by the same text with its first mentions as references."""
        pieces: list[nodes.Node] = []
        end = 0
        for found in self.find.finditer(text):
            entry = self.names[(found.lastindex or 1) - 1]
            if entry in self.left:
                del self.left[entry]
                pieces += [nodes.Text(text[end : found.start()]), self.reference(entry, found[0])]
                end = found.end()
        if pieces and text.parent is not None:
            text.parent.replace(text, [*pieces, nodes.Text(text[end:])])

    def reference(self, entry: str, words: str) -> addnodes.pending_xref:
        """A reference that Sphinx resolves as it does ``{term}``."""
        return addnodes.pending_xref(
            "", nodes.inline("", words, classes=["glossary-term"]), refdomain="std", reftype="term", reftarget=entry,
            refdoc=self.env.docname, refexplicit=True, refwarn=True,
        )  # fmt: skip


def readable(text: nodes.Text) -> bool:
    """Whether a piece of text stands in an ordinary paragraph, not in an output and not inside something else."""
    inside, node = False, text.parent
    while node is not None:
        inside = inside or isinstance(node, nodes.paragraph)
        if isinstance(node, NOT_IN) or "cell_output" in node.get("classes", ()):
            return False
        node = node.parent
    return inside


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform and its style."""
    app.add_transform(GlossaryLinks)
    app.add_css_file("glossary.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
