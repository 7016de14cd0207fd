"""From a page's HTML to the text that a model may read, with its formulas and its links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from minidsk.data.crawl import Page, is_mathematics, read_crawl

DEEPEST = 512  # levels of a page; browsers draw no more either
MOST_LINKS = 500  # of a page that are kept
UNREADABLE = 0.05  # share of characters that fit no encoding, from which on a page is not text
_TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^>]*?(/?)>")
# Elements that hold nothing, or that the next one of their kind ends without a word.
_FLAT = frozenset(b"area base br col embed hr img input link meta source track wbr p li dt dd tr td th option".split())


@dataclass(frozen=True)
class Document:
    """What is left of a page.

    url: its address. text: its main content, paragraphs separated by newlines, formulas as TeX where the page has TeX.
    links: the addresses that it points to, each once. language: as ISO 639-1, "unknown" where it cannot be told.
    mathematics: whether that is its subject, None where nobody knows (see `is_mathematics`).
    """

    url: str
    text: str
    links: tuple[str, ...]
    language: str
    mathematics: bool | None


def extract(page: Page, skipped: Counter[str] | None = None) -> Document | None:
    """The page's document, or None where it has none; `skipped` then counts the reason."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    from resiliparse.parse.html import HTMLTree
    from resiliparse.parse.lang import detect_fast

    skipped = Counter() if skipped is None else skipped
    if too_deep(page.html):
        skipped[f"nested over {DEEPEST} deep"] += 1
        return None
    html = bytes_to_str(page.html, detect_encoding(page.html) or "utf-8", errors="replace")
    if html.count("\ufffd") + html.count("\0") > UNREADABLE * len(html):
        skipped["not text"] += 1
        return None
    tree = HTMLTree.parse(html)
    if tree.body is None:
        skipped["no text"] += 1
        return None
    _formulas(tree)
    text = extract_plain_text(tree, main_content=True).strip()
    if not text:
        skipped["no text"] += 1
        return None
    language = detect_fast(text[:10_000])[0]
    return Document(page.url, text, _links(tree, page.url), language, is_mathematics(page) if page.origin else None)


def documents(path_or_url: str | Path, workers: int = 1, skipped: Counter[str] | None = None) -> Iterator[Document]:
    """The documents of a crawl. `skipped` counts what was passed over, by reason."""
    skipped = Counter() if skipped is None else skipped
    for page in read_crawl(path_or_url, skipped):
        document = extract(page, skipped)
        if document is not None:
            yield document


def too_deep(html: bytes) -> bool:
    """Whether elements stand more than `DEEPEST` in one another, as far as the tags tell.

    Asked before a parser sees the page: the time that parsers take may grow with the square of the depth.
    """
    if html.count(b"<") <= DEEPEST:
        return False
    depth = deepest = 0
    for found in _TAG.finditer(html):
        if found[2].lower() not in _FLAT and not found[3]:
            depth = max(depth - 1, 0) if found[1] else depth + 1
            deepest = max(deepest, depth)
    return deepest > DEEPEST


def _formulas(tree: Any) -> None:
    """Put TeX in the place of formulas that a text would lose: MathML, and the scripts of MathJax.

    What such programs draw beside the TeX, for the eye, is removed.
    """
    for drawn in tree.body.query_selector_all(".katex-html, .MathJax_Preview, .MathJax, .MathJax_Display"):
        if not drawn.query_selector("math"):
            drawn.decompose()
    for script in tree.body.query_selector_all('script[type^="math/tex"]'):
        _replace(tree, script, script.text, "display" in (script.getattr("type") or ""))
    for math in tree.body.query_selector_all("math"):
        note = math.query_selector('annotation[encoding="application/x-tex"]')
        tex = note.text if note else math.getattr("alttext") or " ".join(math.text.split())
        _replace(tree, math, tex, math.getattr("display") == "block")


def _replace(tree: Any, node: Any, tex: str, display: bool) -> None:
    text = tree.create_text_node(f" $${tex.strip()}$$ " if display else f" ${tex.strip()}$ ")
    if node.parent is not None and tex.strip():
        node.parent.replace_child(text, node)


def _links(tree: Any, base: str) -> tuple[str, ...]:
    """Addresses of other pages, absolute and without what stands behind #."""
    found: dict[str, None] = {}
    for anchor in tree.body.query_selector_all("a[href]")[: 4 * MOST_LINKS]:
        try:
            address = urljoin(base, anchor.getattr("href").strip()).partition("#")[0]
            if urlsplit(address).hostname and address.startswith(("http://", "https://")) and address != base:
                found[address] = None
        except ValueError:  # no address
            continue
    return tuple(found)[:MOST_LINKS]
