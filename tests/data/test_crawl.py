"""Crawls: written and read back, damaged in every place, and over connections that break."""

import gzip
import http.server
import io
import re
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidsk.data.crawl import CrawlError, Page, read_crawl, remote, write_crawl
from minidsk.data.crawl.records import records

SENTENCE = "a ring is a set with two operations and each of its elements has an opposite under the first of them"
WORDS = SENTENCE.split()


def page(i, words=60):
    """A page of ours, number i."""
    text = " ".join(WORDS[(i * 7 + k * (i + 3)) % len(WORDS)] for k in range(words))
    html = f"<html><body><h1>Page {i}</h1><p>{text}</p><a href='/{i + 1}'>next</a></body></html>"
    return Page(f"https://site{i % 3}.example/{i}", html.encode(), "CC-BY-4.0", "ours" if i % 2 else "")


PLAIN = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


def record(url="https://a.example/", html=b"<p>text</p>", http=PLAIN, kind="response", length=None):
    """One record, byte by byte, with a length of our choice."""
    body = f"{http}\r\n".encode() + html
    length = len(body) if length is None else length
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
    head += f"WARC-Record-ID: <urn:uuid:1>\r\nContent-Type: application/http; msgtype={kind}\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode() + body + b"\r\n\r\n"


def read(tmp_path, data):
    """The pages in these bytes, and the count of what was skipped."""
    path, skipped = tmp_path / "crawl.warc.gz", Counter()
    path.write_bytes(data)
    return list(read_crawl(path, skipped)), dict(skipped)


@pytest.fixture(scope="module")
def crawl(tmp_path_factory):
    """A crawl of twelve pages: pages, bytes, and where each record starts."""
    path = tmp_path_factory.mktemp("crawl") / "crawl.warc.gz"
    pages = [page(i) for i in range(12)]
    write_crawl(path, pages)
    data = path.read_bytes()
    return pages, data, [found.start() for found in re.finditer(rb"\x1f\x8b\x08", data)]


def test_pages_come_back_as_they_were_written(crawl, tmp_path):
    pages, data, starts = crawl
    assert read(tmp_path, data) == (pages, {})
    assert len(starts) == len(pages)


def test_the_file_is_what_warcio_reads(crawl):
    from warcio.archiveiterator import ArchiveIterator

    pages, data, _ = crawl
    records = ArchiveIterator(io.BytesIO(data))
    found = [(each.rec_headers.get_header("WARC-Target-URI"), each.content_stream().read()) for each in records]
    assert found == [(page.url, page.html) for page in pages]


def test_the_same_pages_in_one_compressed_piece_and_in_none(crawl, tmp_path):
    pages, data, _ = crawl
    plain = gzip.decompress(data)
    assert read(tmp_path, plain) == (pages, {})
    assert read(tmp_path, gzip.compress(plain)) == (pages, {})


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def pages():
        yield page(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_crawl(tmp_path / "crawl.warc.gz", pages())
    assert list(tmp_path.iterdir()) == []


# Damage.


def test_a_truncated_file_loses_its_last_record_only(crawl, tmp_path):
    pages, data, starts = crawl
    for end in (starts[5] + 1, starts[5] + 9, starts[5] + 40, starts[6] - 1):
        found, skipped = read(tmp_path, data[:end])
        assert found == pages[:5]
        assert sum(skipped.values()) == 1


@given(place=st.integers(0, 10**6), change=st.sampled_from(["flip", "cut", "add", "zero"]), amount=st.integers(1, 60))
def test_damage_in_one_place_costs_no_record_but_those_it_touches(crawl, place, change, amount):
    pages, data, starts = crawl
    place %= len(data)
    last = place if change in ("add", "flip") else min(place + amount, len(data)) - 1
    if change == "flip":
        broken = data[:place] + bytes([data[place] ^ (1 << amount % 8)]) + data[place + 1 :]
    elif change == "cut":
        broken = data[:place] + data[last + 1 :]
    elif change == "add":
        broken = data[:place] + b"\x1f\x8b\x08" * amount + data[place:]
    else:
        broken = data[:place] + bytes(last + 1 - place) + data[last + 1 :]
    touched = {sum(start <= where for start in starts) - 1 for where in (place, last)}
    if change == "add" and place in starts:
        touched = set()
    skipped = Counter()
    got = [re.search(rb"Page (\d+)<", text)[1] for text in records(io.BytesIO(broken), 1 << 20, skipped)]
    missing = set(range(len(pages))) - {int(i) for i in got}
    assert missing <= touched
    assert len(got) == len(set(got))
    assert bool(missing) <= bool(skipped)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("off", [-30, -1, 1, 2, 500, 10**7, 10**17])
def test_a_wrong_length_costs_one_record(tmp_path, packed, off):
    body = record(html=b"<p>wrong</p>")
    wrong = record(html=b"<p>wrong</p>", length=int(re.search(rb"Content-Length: (\d+)", body)[1]) + off)
    parts = [record("https://a.example/1"), wrong, record("https://a.example/2"), record("https://a.example/3")]
    found, skipped = read(tmp_path, b"".join(map(gzip.compress, parts) if packed else parts))
    assert [page.url[-1] for page in found] == ["1", "2", "3"]
    assert skipped == {"over 8 MiB" if off >= 10**7 else "record with a wrong length": 1}


def test_bytes_between_records_cost_nothing_else(tmp_path):
    parts = [record("https://a.example/1"), b"\0\xff junk \r\n\r\n", record("https://a.example/2")]
    found, skipped = read(tmp_path, b"".join(parts))
    assert [page.url[-1] for page in found] == ["1", "2"] or skipped
    assert found[-1].url[-1] == "2"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record("https:///path"), "address without a host"),
        (record("path/only"), "address without a host"),
        (record("https://[::1/"), "address without a host"),
        (record(html=b" \n"), "empty page"),
        (record(http="HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n"), "answer other than 200"),
        (record(http="HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n", html=b"\x89PNG\0"), "not HTML"),
        (record(html=b"x" * (9 << 20)), "over 8 MiB"),
        (record(html=b"<p>" + b"y" * (100 << 20)), "over 8 MiB"),
        (record(html=gzip.compress(b"z" * (9 << 20)), http=f"{PLAIN}Content-Encoding: gzip\r\n"), "over 8 MiB"),
        (b"WARC/1.0\r\nno colon, no length\r\n\r\n\r\n\r\n", "record without a header"),
        (b"WARC/1.0\r\nContent-Length: -5\r\n\r\n\r\n\r\n", "record without a header"),
        (b"\0" * 200_000, "record without a header"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [True, False])
def test_what_is_no_page_is_counted_with_its_reason(tmp_path, bad, reason, packed):
    parts = [record("https://a.example/1"), bad, record("https://a.example/2")]
    if not packed and not bad.startswith(b"WARC"):
        reason = "record with a wrong length"  # of the record in front, as far as anybody can tell
    found, skipped = read(tmp_path, b"".join(map(gzip.compress, parts) if packed else parts))
    assert [page.url[-1] for page in found] == (["1", "2"] if packed or bad.startswith(b"WARC") else ["2"])
    assert skipped == {reason: 1}


def test_other_kinds_of_records_are_passed_over(tmp_path):
    parts = [record(kind="request"), record(kind="warcinfo"), record(kind="metadata"), record()]
    found, skipped = read(tmp_path, b"".join(parts))
    assert (len(found), skipped) == (1, {})


def test_what_the_server_says_of_the_encoding_goes_first(tmp_path):
    from minidsk.data.extract import extract

    text = "Überall ist jede stetige Funktion auf einem abgeschlossenen Intervall beschränkt, größer als nichts. " * 3
    html = f"<meta charset=utf-8><p>{text}</p>".encode("latin-1")
    parts = [record(html=html, http=f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset={name}\r\n")
             for name in ("ISO-8859-1", "no-such-thing", "utf-16")]  # fmt: skip
    found, _ = read(tmp_path, b"".join(map(gzip.compress, parts)))
    assert len(found) == 3
    assert extract(found[0]).text == text.strip()
    for page in found[1:]:
        extract(page)  # whatever the bytes give


@pytest.mark.parametrize("data", [b"", b"no WARC at all", b"\x1f\x8b\x08", gzip.compress(b"not one record")])
def test_a_file_without_a_record_is_an_error_of_one_line(tmp_path, data):
    with pytest.raises(CrawlError, match="holds no record that can be read; give a WARC file"):
        read(tmp_path, data)


def test_no_such_file():
    with pytest.raises(CrawlError, match=r"nowhere/crawl.warc.gz: no such file; give a WARC file"):
        list(read_crawl("nowhere/crawl.warc.gz"))


# Over the network, on this machine.


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `data`, badly: see the tests for what its switches do."""

    data, ranges, drop, busy, tags, off = b"", True, 0, 0, ["one"], 0
    requests = None  # the ranges asked for, a list

    def do_GET(self):
        cls = type(self)
        cls.requests.append(self.headers.get("Range", ""))
        if self.path == "/missing":
            return self.send_error(404)
        if cls.busy:
            cls.busy -= 1
            return self.send_error(503)
        start = int(self.headers["Range"][6:-1]) if self.ranges and "Range" in self.headers else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + self.off}-{len(self.data) - 1}/{len(self.data)}")
        self.send_header("ETag", self.tags[min(len(cls.requests), len(self.tags)) - 1])
        self.send_header("Content-Length", str(len(self.data) - start))
        self.end_headers()
        self.wfile.write(self.data[start : start + cls.drop] if cls.drop else self.data[start:])
        return None

    def log_message(self, *words):
        """Say nothing."""


@pytest.fixture
def server(crawl, monkeypatch):
    """A server of its own for a test, and its class with the switches."""
    monkeypatch.setattr(remote, "PAUSE", 0.001)
    handler = type("Handler", (Server,), {"data": crawl[1], "requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        handler.url = f"http://127.0.0.1:{running.server_address[1]}/crawl.warc.gz"
        yield handler
        running.shutdown()
        thread.join()


def test_a_crawl_behind_an_address(server, crawl):
    skipped = Counter()
    assert list(read_crawl(server.url, skipped)) == crawl[0]
    assert not skipped
    assert server.requests == [""]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_taken_up_where_it_was(server, crawl, ranges):
    server.drop, server.ranges = len(crawl[1]) // 5 + 1 if ranges else len(crawl[1]) - 100, ranges
    skipped = Counter()
    if ranges:
        assert list(read_crawl(server.url, skipped)) == crawl[0]
        assert [int(wanted[6:-1] or 0) for wanted in server.requests[1:]] == [server.drop * k for k in range(1, 5)]
        assert not skipped
    else:  # it never sends the end, and no byte before it twice
        with pytest.raises(CrawlError, match=rf"no byte after the first {server.drop:,} \(it closed the connection"):
            list(read_crawl(server.url, skipped))


def test_a_server_without_ranges_is_read_again_from_the_start(server, crawl):
    server.ranges, server.drop = False, len(crawl[1]) // 2
    pages = read_crawl(server.url, Counter())
    found = [next(pages)]
    server.drop = 0
    assert found + list(pages) == crawl[0]
    assert len(server.requests) == 2


def test_a_busy_server_is_asked_again(server, crawl):
    server.busy = 3
    assert list(read_crawl(server.url)) == crawl[0]
    assert len(server.requests) == 4
    server.busy = 99
    with pytest.raises(CrawlError, match="no byte after the first 0 .it answered 503.; try later"):
        list(read_crawl(server.url))


def test_what_is_not_there_is_asked_for_once(server):
    with pytest.raises(CrawlError, match="the server answered 404; check the address"):
        list(read_crawl(server.url.replace("crawl.warc.gz", "missing")))
    assert len(server.requests) == 1


def test_a_file_that_changed_under_way_is_not_patched_together(server, crawl):
    server.drop, server.tags = len(crawl[1]) // 2, ["one", "two"]
    with pytest.raises(CrawlError, match="the file changed while it was read; run again"):
        list(read_crawl(server.url))


def test_a_server_that_sends_other_bytes_than_asked_for_is_not_believed(server, crawl):
    server.drop, server.off = len(crawl[1]) // 2, 1
    with pytest.raises(CrawlError, match="the server sent other bytes than asked for; download it first"):
        list(read_crawl(server.url))


def test_nobody_at_the_address(monkeypatch):
    monkeypatch.setattr(remote, "PAUSE", 0.001)
    with pytest.raises(CrawlError, match="no byte after the first 0 .*try later"):
        list(read_crawl("http://127.0.0.1:9/crawl.warc.gz"))
