"""WARC, the file format of crawls: pages written to a file, and read back one at a time, whatever is in it.

Common Crawl publishes its pages so: a file of records, each compressed by itself. A record that cannot be read is
counted with its reason and skipped, and those behind it are read all the same.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from minidsk.atomic import atomic
from minidsk.data.crawl.page import CrawlError, Page
from minidsk.data.crawl.records import HEAD, records
from minidsk.data.crawl.remote import open_crawl

LARGEST = 8 << 20  # bytes of a page; Common Crawl itself cuts pages off at 5 MiB
# Fields that we add: the format lets a file bring its own, and readers that do not know them pass them over.
LICENSE, ORIGIN = "Minidsk-License", "Minidsk-Origin"


def write_crawl(path: str | Path, pages: Iterable[Page]) -> None:
    """A WARC file, one compressed record per page. It appears under its name when it is whole."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary, temporary.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for page in pages:
            headers = [("Content-Type", "text/html"), ("Content-Length", str(len(page.html)))]
            own = {LICENSE: page.license, ORIGIN: page.origin}
            record = writer.create_warc_record(
                page.url,
                "response",
                payload=io.BytesIO(page.html),
                http_headers=StatusAndHeaders("200 OK", headers, protocol="HTTP/1.1"),
                warc_headers_dict={name: value for name, value in own.items() if value},
            )
            writer.write_record(record)


def read_crawl(path_or_url: str | Path, skipped: Counter[str] | None = None) -> Iterator[Page]:
    """The HTML pages of a WARC file, compressed or not, of this machine or behind an http(s) address.

    `skipped` counts what was passed over, by reason. The memory needed does not depend on the file's length.
    Raises `CrawlError` where there is no such file, none of its records can be read, or the address does not answer.
    """
    skipped = Counter() if skipped is None else skipped
    with open_crawl(path_or_url) as file:
        found = False
        for record in records(file, LARGEST + HEAD, skipped):
            found = True
            page = _page(record, skipped)
            if page is not None:
                yield page
        if not found:
            raise CrawlError(f"{path_or_url}: holds no record that can be read; give a WARC file")


def _page(record: bytes, skipped: Counter[str]) -> Page | None:
    """The page in one record, or None: the record is no answer to a request, or is counted as skipped."""
    from warcio.archiveiterator import ArchiveIterator

    try:
        found = next(iter(ArchiveIterator(io.BytesIO(record))), None)
        if found is None or found.rec_type != "response":
            return None
        html = found.content_stream().read(LARGEST + 1)
    except Exception:  # whatever a parser says to bytes that anybody may have written
        skipped["record that cannot be read"] += 1
        return None
    url = found.rec_headers.get_header("WARC-Target-URI") or ""
    answer = found.http_headers  # None where the address is none of the web
    kind = answer.get_header("Content-Type") or "" if answer else ""
    reason = _reason(url, kind, answer and answer.get_statuscode(), html)
    if reason:
        skipped[reason] += 1
        return None
    own = (found.rec_headers.get_header(name) or "" for name in (LICENSE, ORIGIN))
    return Page(url, _utf8(html, kind), *own)


def _reason(url: str, kind: str, status: str | None, html: bytes) -> str | None:
    """Why this is not a page to read, or None."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host:
        return "address without a host"
    if status != "200":
        return "answer other than 200"
    if kind and "html" not in kind.lower():
        return "not HTML"
    if not html.strip():
        return "empty page"
    if len(html) > LARGEST:
        return "over 8 MiB"
    return None


def _utf8(html: bytes, kind: str) -> bytes:
    """The page in UTF-8, where the server named another encoding that fits its bytes.

    What the server says goes before what the page says of itself, and only the page is handed on.
    """
    name = kind.lower().partition("charset=")[2].split(";")[0].strip(" \"'")
    if name in ("", "utf-8", "utf8"):
        return html
    try:
        return html.decode(name).encode()
    except (LookupError, ValueError):
        return html
