"""Pages that say the same: exactly, or but for a few words."""

from __future__ import annotations

import hashlib
import re

SHINGLE = 5  # words in a row that are compared at once, as in FineWeb
HASHES, BANDS = 48, 8  # of a sketch; two texts are compared where all hashes of one band agree
ALIKE = 0.75  # share of shingles that two texts have in common, from which on they count as the same
MOST_WORDS = 50_000  # of a text that are looked at
_WORD = re.compile(r"\w+")


class Seen:
    """The texts that were read so far, as sketches: 1.3 kB of memory for each.

    MinHash (Broder, 1997): of each of 48 random orders of all shingles, the first that the text holds. Two texts agree
    in each with the probability that a shingle of either is one of both.
    """

    def __init__(self) -> None:
        from rensa import RMinHashDeduplicator

        self.exact: set[bytes] = set()
        self.near = RMinHashDeduplicator(ALIKE, HASHES, True, num_bands=BANDS)

    def add(self, text: str) -> str | None:
        """Why the text is nothing new, "exact duplicate" or "near duplicate"; None where it is, and it is then kept.

        Case, spaces and punctuation do not count.
        """
        from rensa import RMinHash

        words = _WORD.findall(text.casefold())
        digest = hashlib.blake2b(" ".join(words).encode("utf-8", "replace"), digest_size=8).digest()
        if digest in self.exact:
            return "exact duplicate"
        self.exact.add(digest)
        words = words[:MOST_WORDS]
        sketch = RMinHash(HASHES, 42)  # the seed that the library's index expects
        sketch.update([" ".join(words[i : i + SHINGLE]) for i in range(max(len(words) - SHINGLE, 0) + 1)])
        return None if self.near.add(digest.hex(), sketch) else "near duplicate"
