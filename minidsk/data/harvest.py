"""Documents before and after mining: a crawl for the loop, and the harvest as a `Corpus` to train on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from minidsk.data.classifier import Bags, ClassifierConfig, bag
from minidsk.data.mining import Crawl
from minidsk.tasks.base import stream

BYTES_PER_TOKEN = 4  # of English text with the vocabularies of today's models, near enough for a budget


class HasText(Protocol):
    """A page of which the loop needs the URL, the text, and whether it is mathematics, where that is known."""

    @property
    def url(self) -> str:
        """Where the page stood."""

    @property
    def text(self) -> str:
        """What it says."""

    @property
    def mathematics(self) -> bool | None:
        """Its known origin; None where that is not known."""


def tokens_of(text: str) -> int:
    """About how many tokens a text has."""
    return max(1, len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def crawl_of(documents: Sequence[HasText], config: ClassifierConfig) -> Crawl:
    """The documents as `mine` takes them."""
    return Crawl(
        [document.url for document in documents],
        Bags.join(bag(document.text, config) for document in documents),
        np.array([tokens_of(document.text) for document in documents], dtype=np.int64),
        np.array([-1 if document.mathematics is None else document.mathematics for document in documents], np.int8),
    )


def read_pages(path: str | Path) -> list[dict[str, Any]]:
    """Pages from lines of JSON, each with at least "url" and "text". Raises `ValueError` naming a line that is not."""
    pages = []
    with Path(path).open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                page = json.loads(line)
            except (ValueError, RecursionError):
                page = None
            fields = page if isinstance(page, dict) else {}
            wrong = [name for name in ("url", "text") if not isinstance(fields.get(name), str)]
            if wrong:
                example = '{"url": "https://example.org/a", "text": "A prime is ..."}'
                raise ValueError(f"{path}, line {number}: no {' and no '.join(wrong)} there; give lines as {example}")
            pages.append(fields)
    if not pages:
        raise ValueError(f"{path}: holds no page; give lines of JSON with url and text")
    return pages


class Harvest:
    """Texts as a `Corpus` without end: page i is a piece of one of them, drawn from all pieces by i and the seed.

    A text longer than `piece` characters is cut, at the end of a line where there is one in its second half.
    """

    def __init__(self, texts: Iterable[str], piece: int = 1000, seed: int = 0) -> None:
        self.pieces = [part for text in texts for part in cut(text, piece)]
        if not self.pieces:
            raise ValueError("texts: hold nothing to train on; give at least one that is not empty")
        sum_ = hashlib.blake2b(digest_size=8)
        for part in self.pieces:
            sum_.update(part.encode("utf-8", "replace") + b"\0")
        if seed:
            sum_.update(f"seed {seed}".encode())
        self._fingerprint = sum_.hexdigest()

    @classmethod
    def read(cls, path: str | Path, piece: int = 1000, seed: int = 0) -> Harvest:
        """The harvest that `minidsk mine` wrote: its folder, or a file of lines of JSON. Raises `ValueError`."""
        path = Path(path) / "harvest.jsonl" if Path(path).is_dir() else Path(path)
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give the folder that minidsk mine wrote")
        return cls((page["text"] for page in read_pages(path)), piece, seed)

    @property
    def fingerprint(self) -> str:
        """Of all pieces and the seed."""
        return self._fingerprint

    def __getitem__(self, i: int) -> str:
        """Page number i."""
        return stream("harvest", self._fingerprint, i).choice(self.pieces)


def cut(text: str, piece: int) -> list[str]:
    """The text in pieces of at most `piece` characters; none of them is empty."""
    pieces, text = [], text.strip()
    while len(text) > piece:
        end = text.rfind("\n", piece // 2, piece)
        end = end if end > 0 else piece
        pieces.append(text[:end].strip())
        text = text[end:].strip()
    return [part for part in [*pieces, text] if part]
