"""From a page's HTML to the text that a model may read, with its formulas and its links."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from minidsk.data.crawl import CrawlError, Page, is_mathematics, read_crawl
from minidsk.data.decontaminate import Decontamination
from minidsk.data.duplicates import Seen

# What a page may have at most, because a parser's time grows with the product of both: ten times what people write.
DEEPEST, MOST_TAGS = 256, 100_000
BATCH = 1 << 19  # bytes of HTML that go to a process at once
SHORTEST = 128  # characters of a document: on less there are only links to other pages
MOST_LINKS = 500  # of a page that are kept
UNREADABLE = 0.05  # share of characters that fit no encoding, from which on a page is not text
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# Elements that hold nothing, or that the next one of their kind ends without a word.
_FLAT = {"area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta", "option", "p",
         "source", "td", "th", "tr", "track", "wbr"}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """What is left of a page.

    url: its address. text: its main content, paragraphs separated by newlines, formulas as TeX where the page has TeX.
    links: the addresses that it points to, each once. language: as ISO 639-1, "unknown" where it cannot be told.
    mathematics: whether that is its subject, None where that is not known (see `is_mathematics`).
    """

    url: str
    text: str
    links: tuple[str, ...]
    language: str
    mathematics: bool | None


def extract(page: Page, skipped: Counter[str] | None = None) -> Document | None:
    """The page's document, or None where it has none; `skipped` then counts the reason."""
    found = _read(page)
    if isinstance(found, Document):
        return found
    if skipped is not None:
        skipped[found] += 1
    return None


def _read(page: Page) -> Document | str:
    """The page's document, or why there is none."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree
    from resiliparse.parse.lang import detect_fast

    html = _decoded(page.html)
    if html.count("\ufffd") + html.count("\0") > UNREADABLE * len(html):
        return "not text"
    if html.count("<") > MOST_TAGS:
        return f"over {MOST_TAGS:,} tags"
    tree = HTMLTree.parse(html)
    if tree.body is None:
        return "hardly any text"
    if _tags_open(html) > DEEPEST and _too_deep(tree.body):
        return f"nested over {DEEPEST} deep"
    _formulas(tree)
    text = extract_plain_text(tree, main_content=True).strip()
    if len(text) < SHORTEST:
        return "hardly any text"
    language = detect_fast(text[:10_000])[0]
    return Document(page.url, text, _links(tree, page.url), language, is_mathematics(page) if page.origin else None)


def _decoded(html: bytes) -> str:
    """The page's characters: UTF-8 where that fits, else as the page says of itself, else as its bytes look."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    if b"\x1b$" not in html:  # which begins what the Japanese and Korean encodings write with the bytes of ASCII
        with contextlib.suppress(UnicodeDecodeError):
            return html.decode("utf-8-sig")
    encoding = detect_encoding(html, from_html_meta=True) or "utf-8"
    return bytes_to_str(html, encoding, "replace", fallback_encodings=())


def documents(
    path_or_url: str | Path,
    workers: int = 1,
    skipped: Counter[str] | None = None,
    problems: Iterable[str] = (),
    duplicates: bool = False,
) -> Iterator[Document]:
    """The documents of a crawl, in its order, without those that say what another one said or that hold a problem.

    workers: processes that extract. skipped: counts what was passed over, by reason. problems: of the evaluation, see
    `Decontamination`. duplicates: True keeps exact and near duplicates, see `Seen`. The memory needed does not grow
    with the number of documents. Raises `CrawlError` as `read_crawl` does.
    """
    skipped = Counter() if skipped is None else skipped
    held_out, seen = Decontamination(problems), None if duplicates else Seen()
    for found, reasons, _ in extracted(read_crawl(path_or_url, skipped), workers):
        skipped.update(reasons)
        for document in found:
            reason = passed_over(document, held_out, seen)
            if reason:
                skipped[reason] += 1
            else:
                yield document


def passed_over(document: Document, held_out: Decontamination, seen: Seen | None) -> str | None:
    """Why a document is not kept: it holds a problem of an evaluation, or says what another one said; else None."""
    if held_out.holds_problem(document.text):
        return "evaluation problem"
    return seen.add(document.text) if seen else None


def extracted(pages: Iterator[Page], workers: int) -> Iterator[tuple[list[Document], Counter[str], int]]:
    """Batch after batch: its documents, what was passed over by reason, and how many pages it had.

    Never more than three batches per process are under way. Raises `CrawlError` where a process is killed.
    """
    if workers == 1:
        yield from map(_extract_all, _batches(pages))
        return
    # A new process, not a copy of this one: a copy of one with threads (torch's) may hang.
    # Ctrl-C is for this process alone, which then lets them go.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), signal.signal, ignore) as pool:
        waiting: deque[Future[tuple[list[Document], Counter[str], int]]] = deque()
        try:
            for batch in _batches(pages):
                waiting.append(pool.submit(_extract_all, batch))
                if len(waiting) == 3 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:  # such as by the system, short of memory
            raise CrawlError("workers: one of them was killed; give fewer, the same call then goes on") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _batches(pages: Iterator[Page]) -> Iterator[list[Page]]:
    """The pages, `BATCH` bytes or a little more at a time."""
    batch: list[Page] = []
    size = 0
    for page in pages:
        batch.append(page)
        size += len(page.html)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _extract_all(pages: list[Page]) -> tuple[list[Document], Counter[str], int]:
    skipped: Counter[str] = Counter()
    found = [extract(page, skipped) for page in pages]
    return [document for document in found if document is not None], skipped, len(pages)


def _tags_open(html: str) -> int:
    """At most so many elements stand in one another: those whose end may be left out are not counted."""
    depth = deepest = 0
    for end, name in _TAG.findall(html):
        if name.lower() not in _FLAT:
            depth = max(depth - 1, 0) if end else depth + 1
            deepest = max(deepest, depth)
    return deepest


def _too_deep(top: Any) -> bool:
    """Whether an element stands more than `DEEPEST` below this one, by a walk through all of them: it takes a while."""
    depth, node = 0, top
    while depth <= DEEPEST:
        if node.first_child is not None:
            depth, node = depth + 1, node.first_child
            continue
        while depth and node.next is None:
            depth, node = depth - 1, node.parent
        if not depth:
            return False
        node = node.next
    return True


def _formulas(tree: Any) -> None:
    """Put TeX in the place of formulas that a text would lose: MathML, and the scripts of MathJax.

    What such programs draw beside the TeX, for the eye, is removed.
    """
    # A slice asks the tree once; a loop over what is found asks it again for each element.
    for drawn in tree.body.query_selector_all(".katex-html, .MathJax_Preview, .MathJax, .MathJax_Display")[:]:
        if not drawn.query_selector("math"):
            drawn.decompose()
    for script in tree.body.query_selector_all('script[type^="math/tex"]')[:]:
        _replace(tree, script, script.text, "display" in (script.getattr("type") or ""))
    for math in tree.body.query_selector_all("math")[:]:
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
