"""The records of a WARC file, cut apart so that a damaged one harms no other, in bounded memory.

A file is compressed member by member, usually one record each, so the end of a member is the end of a record whatever
length the record states. Behind damage the reader looks for the next member, or for the next line that begins a record.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

CHUNK = 1 << 18  # bytes read, and bytes decompressed, at once
HEAD = 1 << 16  # bytes of a record's own header, at most
LOOK_BACK = 1 << 20  # compressed bytes of a damaged member in which the start of the next one is looked for
_GZIP = b"\x1f\x8b\x08"
_START = b"WARC/"
_NEXT = re.compile(rb"WARC/\d\.\d\r?\n(?=[\w-]+:)")
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d{1,18})[ \t]*\r?$")


def records(file: BinaryIO, largest: int, skipped: Counter[str]) -> Iterator[bytes]:
    """Each record's bytes, header and content, decompressed; `skipped` counts those passed over, by reason.

    A record with more than `largest` bytes of content is passed over.
    """
    splitter = Splitter(largest, skipped)
    first = file.read(CHUNK)
    if first.startswith(_START):
        while first:
            yield from splitter.add(first)
            first = file.read(CHUNK)
        yield from splitter.end()
    else:
        yield from _members(file, first, splitter)


def _members(file: BinaryIO, data: bytes, splitter: Splitter) -> Iterator[bytes]:
    """The records in all compressed members of a file that begins with `data`."""
    lost = False  # between damage and the next good member, where the same bytes that start one may stand by chance
    while True:
        data, passed = _find_member(file, data)
        if passed and not lost:
            splitter.drop("damaged compression")
            lost = True
        if not data:
            return
        inflate, seen, good = zlib.decompressobj(31), bytearray(data), not lost
        reason = "damaged compression"
        try:
            while not inflate.eof:
                text = inflate.decompress(data, CHUNK)
                if text and not good:
                    if not text.startswith(_START[: len(text)]):
                        break
                    good = True
                if good:
                    yield from splitter.add(text)
                data = inflate.unconsumed_tail or (b"" if inflate.eof else file.read(CHUNK))
                if not data and not inflate.eof and not text:
                    reason = "truncated compression"
                    break
                if not inflate.unconsumed_tail:
                    seen += data
                    del seen[:-LOOK_BACK]
        except zlib.error:
            pass
        lost = not inflate.eof
        if lost:
            splitter.drop(reason if good else None)
            data = bytes(seen[1:])
        else:
            yield from splitter.end()
            data = inflate.unused_data


def _find_member(file: BinaryIO, data: bytes) -> tuple[bytes, bool]:
    """What follows from the next start of a compressed member on, b"" at the end; and whether it stood further on."""
    passed = False
    while (start := data.find(_GZIP)) < 0:
        more = file.read(CHUNK)
        if not more:
            return b"", passed or bool(data)
        passed |= len(data) > 2
        data = data[-2:] + more
    return data[start:], passed or start > 0


class Splitter:
    """Cuts a stream of decompressed bytes into records. Holds one record at most."""

    def __init__(self, largest: int, skipped: Counter[str]) -> None:
        self.largest, self.skipped = largest, skipped
        self.held = bytearray()
        self.searching = False  # for the next record, behind one whose length was wrong

    def add(self, data: bytes) -> Iterator[bytes]:
        """The records that end in `data`."""
        self.held += data
        yield from self._take(False)

    def end(self) -> Iterator[bytes]:
        """The records that end where the stream does."""
        yield from self._take(True)
        self.held.clear()
        self.searching = False

    def drop(self, reason: str | None) -> None:
        """Give up what is held; the record counts as skipped for `reason`, where there is one."""
        if reason:
            self.skipped[reason] += 1
        self.held.clear()
        self.searching = False

    def _take(self, last: bool) -> Iterator[bytes]:
        while self.held.strip(b"\r\n") if last else self.held:
            if self.searching and not self._search():
                return
            size = self._size(last)
            if size is None:
                return
            if size:
                yield bytes(self.held[:size])
                del self.held[:size]

    def _size(self, last: bool) -> int | None:
        """Bytes of the first record held; 0 where it was passed over; None where more has to be read first."""
        head = self.held.find(b"\r\n\r\n", 0, HEAD) + 4
        if head < 4:
            return self._skip("record without a header", 1) if last or len(self.held) >= HEAD else None
        length = _LENGTH.search(self.held, 0, head)
        if not self.held.startswith(_START) or length is None:
            return self._skip("record without a header", head - 4)
        if int(length[1]) > self.largest:
            return self._skip("over 8 MiB", head)
        end = head + int(length[1])
        behind = bytes(self.held[end : end + 4 + len(_START)])
        if len(behind) < 4 + len(_START) and not last:
            return None
        fits = behind == b"\r\n\r\n" + _START or (last and behind in (b"\r\n\r\n", b"") and len(self.held) >= end)
        return min(end + 4, len(self.held)) if fits else self._skip("record with a wrong length", head)

    def _skip(self, reason: str, used: int) -> int:
        self.skipped[reason] += 1
        del self.held[:used]
        self.searching = True
        return 0

    def _search(self) -> bool:
        """Go to the next record; False where it is not there yet."""
        found = _NEXT.search(self.held)
        if found:
            del self.held[: found.start()]
            self.searching = False
        else:
            del self.held[:-32]
        return found is not None
