"""A crawl as a stream of bytes: a file of this machine, or one behind an address whose connection may break."""

from __future__ import annotations

import contextlib
import http.client
import io
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from minidsk.data.crawl.page import CrawlError

TRIES = 6  # in a row without a byte gained
TIMEOUT = 60.0  # seconds without a byte
PAUSE = 1.0  # seconds before the second try, twice as many before each further one
_BROKEN = (OSError, http.client.HTTPException)


@contextlib.contextmanager
def open_crawl(path_or_url: str | Path) -> Iterator[BinaryIO]:
    """The file's bytes, from its start. Raises `CrawlError` where it is not there."""
    name = str(path_or_url)
    if name.startswith(("http://", "https://")):
        with Download(name) as download:
            yield cast(BinaryIO, download)
    else:
        if not Path(name).is_file():
            raise CrawlError(f"{name}: no such file; give a WARC file, or an address with http(s)://")
        with Path(name).open("rb") as file:
            yield file


class Download(io.RawIOBase):
    """What an address answers, read from front to back; after a broken connection it goes on where it was."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.position = 0
        self.length: int | None = None
        self.tag: str | None = None  # of the file as it was at the start
        self.answer: http.client.HTTPResponse | None = None

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        """Up to `size` bytes; b"" at the end. Raises `CrawlError` when the server does not answer any more."""
        for attempt in range(TRIES):
            try:
                if self.answer is None:
                    self.answer = self._connect()
                data = self.answer.read1(size)
                if data or self.length is None or self.position >= self.length:
                    self.position += len(data)
                    return data
                reason = "it closed the connection"
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code not in (408, 429):
                    raise CrawlError(f"{self.url}: the server answered {error.code}; check the address") from error
                reason = f"it answered {error.code}"
            except _BROKEN as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            self.close_answer()
            if attempt < TRIES - 1:
                time.sleep(PAUSE * 2**attempt)
        got = f"no byte after the first {self.position:,}"
        raise CrawlError(f"{self.url}: {got} ({reason}); try later, or download it first")

    def _connect(self) -> http.client.HTTPResponse:
        headers = {"User-Agent": "minidsk", "Accept-Encoding": "identity"}
        if self.position:
            headers["Range"] = f"bytes={self.position}-"
        answer = urllib.request.urlopen(urllib.request.Request(self.url, headers=headers), timeout=TIMEOUT)
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if self.position and tag != self.tag:
            raise CrawlError(f"{self.url}: the file changed while it was read; run again")
        self.tag = tag
        if answer.status == 206:
            start = (answer.headers.get("Content-Range") or "").removeprefix("bytes ").partition("-")[0]
            if start != str(self.position):
                raise CrawlError(f"{self.url}: the server sent other bytes than asked for; download it first")
        else:  # the whole file: at the start, or from a server that knows no ranges
            length = answer.headers.get("Content-Length") or ""
            self.length = int(length) if length.isdigit() else None
            left = self.position
            while left:
                data = answer.read1(min(left, 1 << 18))
                if not data:
                    raise http.client.IncompleteRead(b"")
                left -= len(data)
        return answer

    def close_answer(self) -> None:
        """Give the connection up."""
        if self.answer is not None:
            self.answer.close()
            self.answer = None

    def close(self) -> None:
        """See `io.IOBase`."""
        self.close_answer()
        super().close()
