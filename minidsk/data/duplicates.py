"""Pages that say the same: exactly, or but for a few words."""

from __future__ import annotations

import hashlib
import re
import sqlite3

import numpy as np

SHINGLE = 5  # words in a row that are compared at once, as in FineWeb
HASHES, BANDS = 48, 8  # of a sketch; two texts are compared where all hashes of one band agree
ALIKE = 0.75  # share of shingles that two texts have in common, from which on they count as the same
MOST_WORDS = 50_000  # of a text that are looked at
CACHE = 32  # MiB of memory for the sketches; what does not fit lies on the disk
_WORD = re.compile(r"\w+")
_TABLES = f"""
    PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; PRAGMA cache_size = {-1024 * CACHE};
    CREATE TABLE texts (text INTEGER PRIMARY KEY, sketch BLOB);
    CREATE TABLE bands (band INTEGER, text INTEGER, PRIMARY KEY (band, text)) WITHOUT ROWID;
    BEGIN;
"""
_ALIKE = f"SELECT sketch FROM bands JOIN texts USING (text) WHERE band IN ({','.join('?' * BANDS)})"


class Seen:
    """The texts that were read so far, as sketches in a temporary file: a database that the system deletes.

    MinHash (Broder, 1997): of each of 48 random orders of all shingles, the first that the text holds. Two texts agree
    in each with the probability that a shingle of either is one of both.
    """

    def __init__(self) -> None:
        self.file = sqlite3.connect("", isolation_level=None)
        self.file.executescript(_TABLES)

    def add(self, text: str) -> str | None:
        """Why the text is nothing new, "exact duplicate" or "near duplicate"; None where it is, and it is then kept.

        Case, spaces and punctuation do not count.
        """
        from rensa import RMinHash

        words = _WORD.findall(text.casefold())
        own = _number(" ".join(words).encode("utf-8", "replace"))
        if self.file.execute("INSERT OR IGNORE INTO texts VALUES (?, NULL)", (own,)).rowcount == 0:
            return "exact duplicate"
        words = words[:MOST_WORDS]
        shingles = RMinHash(HASHES, 42)  # the seed that the recorded figures were made with
        shingles.update([" ".join(words[i : i + SHINGLE]) for i in range(max(len(words) - SHINGLE, 0) + 1)])
        sketch = np.array(shingles.digest(), dtype=np.uint32)
        bands = [_number(bytes([i]) + part.tobytes()) for i, part in enumerate(np.split(sketch, BANDS))]
        for (other,) in self.file.execute(_ALIKE, bands):
            if (np.frombuffer(other, np.uint32) == sketch).mean() >= ALIKE:
                return "near duplicate"
        self.file.execute("UPDATE texts SET sketch = ? WHERE text = ?", (sketch.tobytes(), own))
        self.file.executemany("INSERT INTO bands VALUES (?, ?)", [(band, own) for band in bands])
        return None


def _number(data: bytes) -> int:
    """64 bits that two pieces of data share only if they are the same."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)
