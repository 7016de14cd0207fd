"""A crawl's documents and their bags in a folder, gathered in any number of sittings and read back without memory.

`documents.jsonl` has a line per document. Its bags lie in three files of plain numbers, read a piece at a time.
`state.json` says how far all four are whole; what stands behind that in them is cut off before more is added.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidsk.atomic import atomic
from minidsk.data.classifier import Bags, ClassifierConfig, bag
from minidsk.data.crawl import read_crawl
from minidsk.data.decontaminate import Decontamination
from minidsk.data.duplicates import Seen
from minidsk.data.extract import Document, extracted, passed_over
from minidsk.data.harvest import tokens_of
from minidsk.data.mining import Crawl

_TYPES = {"buckets.bin": np.uint16, "weights.bin": np.float32, "facts.bin": np.int64}
FACTS = 3  # numbers of each document in facts.bin: entries of its bag, tokens, known origin
_EVERY = 2.0  # seconds between two states


class OnDisk:
    """A file of numbers, of which a slice reads its part."""

    def __init__(self, path: Path, type_: Any) -> None:
        self.path, self.type = path, np.dtype(type_)

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        """The numbers from one to another."""
        start, stop, _ = part.indices(self.path.stat().st_size // self.type.itemsize)
        return np.fromfile(self.path, self.type, stop - start, offset=start * self.type.itemsize)


class Store:
    """The folder of one crawl. identity: what the documents depend on; a folder of another crawl is left alone.

    Raises `ValueError` where the folder holds another crawl or is damaged.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any], config: ClassifierConfig) -> None:
        self.folder, self.config = Path(folder), config
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state: dict[str, Any] = {"identity": identity, "pages": 0, "documents": 0, "bytes": 0, "skipped": {},
                                      "whole": False}  # fmt: skip
        path = self.folder / "state.json"
        if path.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
                other = [name for name in identity if found["identity"].get(name) != identity[name]]
            except (ValueError, LookupError, AttributeError, TypeError) as error:
                raise ValueError(f"{path}: damaged; delete {self.folder} to begin again") from error
            if other:
                raise ValueError(f"{self.folder}: holds documents of another {other[0]}; give another --output")
            self.state = found
        self._restore()

    @property
    def whole(self) -> bool:
        """Whether the crawl was read to its end."""
        return bool(self.state["whole"])

    def gather(
        self,
        source: str | Path,
        workers: int,
        leave_out: set[str],
        show: Callable[[int, int], None],
        problems: Iterable[str] = (),
    ) -> Counter[str]:
        """Read on where the last sitting stopped; what was passed over, by reason.

        leave_out: addresses that are not kept. problems: of an evaluation; pages that hold one are not kept.
        show: is told the pages read and the documents kept so far. Whatever interrupts it, Ctrl-C too, leaves all that
        is finished.
        """
        reading, skipped, seen = Counter[str](), Counter[str](self.state["skipped"]), Seen()
        if self.whole:
            return skipped
        for line in self.lines():
            seen.add(line["text"])
        held_out = Decontamination(problems)
        pages = itertools.islice(read_crawl(source, reading), self.state["pages"], None)
        files = {name: (self.folder / name).open("ab") for name in ("documents.jsonl", *_TYPES)}
        saved = time.monotonic()
        try:
            for found, reasons, count in extracted(pages, workers):
                rows = []
                for document in found:
                    reason = "in the seed" if document.url in leave_out else None
                    reason = reason or passed_over(document, held_out, seen)
                    if reason:
                        reasons[reason] += 1
                    else:
                        rows.append(document)
                for name, data in _written(rows, self.config).items():
                    files[name].write(data)
                    self.state["bytes"] += len(data) if name == "documents.jsonl" else 0
                skipped += reasons
                self.state["pages"] += count
                self.state["documents"] += len(rows)
                show(self.state["pages"], self.state["documents"])
                if time.monotonic() - saved > _EVERY:
                    self._save(files, skipped)
                    saved = time.monotonic()
            self.state["whole"] = True
            skipped += reading
        finally:
            self._save(files, skipped)
            for file in files.values():
                file.close()
        return skipped

    def lines(self) -> Iterator[dict[str, Any]]:
        """The documents, one after another, each with "url", "language" and "text"."""
        with (self.folder / "documents.jsonl").open("rb") as lines:
            for line in itertools.islice(lines, self.state["documents"]):
                yield json.loads(line)

    def crawl(self) -> Crawl:
        """The documents as the loop takes them; the bags stay on the disk."""
        urls = [line["url"] for line in self.lines()]
        facts = np.fromfile(self.folder / "facts.bin", np.int64).reshape(-1, FACTS)
        buckets, weights = (OnDisk(self.folder / name, _TYPES[name]) for name in ("buckets.bin", "weights.bin"))
        starts = np.concatenate([[0], facts[:, 0].cumsum()])
        return Crawl(urls, Bags(buckets, weights, starts), facts[:, 1], facts[:, 2].astype(np.int8))

    def _save(self, files: dict[str, Any], skipped: Counter[str]) -> None:
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
        self.state["skipped"] = dict(skipped)
        with atomic(self.folder / "state.json") as temporary:
            temporary.write_text(json.dumps(self.state), encoding="utf-8")

    def _restore(self) -> None:
        """Cut each file to what `state.json` says of it. Raises `ValueError` where a file is shorter."""
        for name in ("documents.jsonl", *_TYPES):
            (self.folder / name).touch()
        facts = np.fromfile(self.folder / "facts.bin", np.int64)[: FACTS * self.state["documents"]]
        entries = int(facts.reshape(-1, FACTS)[:, 0].sum()) if len(facts) % FACTS == 0 else 0
        sizes = {"documents.jsonl": self.state["bytes"], "facts.bin": 8 * FACTS * self.state["documents"],
                 "buckets.bin": 2 * entries, "weights.bin": 4 * entries}  # fmt: skip
        for name, size in sizes.items():
            if (self.folder / name).stat().st_size < size:
                raise ValueError(f"{self.folder / name}: damaged; delete {self.folder} to begin again")
            os.truncate(self.folder / name, size)


def _written(rows: list[Document], config: ClassifierConfig) -> dict[str, bytes]:
    """What each file gets for these documents."""
    bags = [bag(document.text, config) for document in rows]
    facts = [[len(b), tokens_of(d.text), -1 if d.mathematics is None else int(d.mathematics)]
             for d, (b, _) in zip(rows, bags, strict=True)]  # fmt: skip
    lines = [json.dumps({"url": d.url, "language": d.language, "text": d.text}, ensure_ascii=False) for d in rows]
    return {
        "documents.jsonl": "".join(line + "\n" for line in lines).encode("utf-8", "replace"),
        "buckets.bin": b"".join(b.tobytes() for b, _ in bags),
        "weights.bin": b"".join(w.tobytes() for _, w in bags),
        "facts.bin": np.array(facts, np.int64).tobytes(),
    }
