"""Byte-pair encoding: cut text into words, and merge the most frequent neighbours again and again.

Sennrich et al. (2016), arXiv:1508.07909, on bytes, as GPT-2 did it (Radford et al., 2019). The rules for words and for
ties are those of Hugging Face's tokenizers library, so that the same text gives the same merges.
"""

import heapq
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

Pair = tuple[int, int]

# GPT-2's rule for words, for ASCII: endings like 'll; a run of letters, digits or signs, with one space before it;
# spaces, of which the last one is left to the word that follows.
_WORD = re.compile(
    r"'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+",
    re.ASCII,
)


def words(text: str) -> Iterator[str]:
    """The words of a text by GPT-2's rule; joined they are the text. No merge crosses from one word to the next."""
    # Other scripts: let an ASCII character of the same kind stand for each character, and cut at the same places.
    stand_in = {ord(c): _stand_in(c) for c in set(text) if not c.isascii()}
    for match in _WORD.finditer(text.translate(stand_in)):
        yield text[match.start() : match.end()]


def _stand_in(character: str) -> str:
    if character.isspace():
        return "\t"  # not " ": only the plain space joins the word after it
    return {"L": "a", "N": "0"}.get(unicodedata.category(character)[0], "!")


def byte_characters() -> dict[int, str]:
    """A visible character for each of the 256 bytes, as GPT-2 writes its vocabulary: " " is "Ġ", "\\n" is "Ċ".

    Printable bytes of Latin-1 stand for themselves; the others, in order, for the characters from 256 on. The
    dictionary is in the order of its characters, which is the order of the first 256 ids.
    """
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


def merge(ids: list[int], pair: Pair, new: int) -> list[int]:
    """The ids with each neighbouring pair, from the left, replaced: ([1, 2, 2, 1], (2, 2), new=9) -> [1, 9, 1]."""
    merged, i = [], 0
    while i < len(ids):
        if ids[i] == pair[0] and i + 1 < len(ids) and ids[i + 1] == pair[1]:
            merged.append(new)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def learn_merges(word_counts: Mapping[str, int], tokens: list[str], vocab_size: int) -> list[Pair]:
    """Learn merges until `tokens`, to which each new token is appended, has `vocab_size` entries or no pair is left.

    word_counts: how often each word occurs, spelled in the characters of `byte_characters`.
    tokens: the text of each id; at first (special tokens and) the 256 byte characters.

    Each round merges the most frequent pair of neighbours; of equally frequent ones, that of the lowest ids. Counting
    anew in each round would be right and slow. Here only the words that hold the merged pair are looked at again, and
    a heap finds the most frequent pair: when a count changes, a new entry is pushed, and old entries are known by
    their old count.
    """
    id_of = {token: i for i, token in enumerate(tokens)}
    spelled = [[id_of[c] for c in word] for word in word_counts]
    frequencies = list(word_counts.values())
    counts: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[int]] = defaultdict(set)  # the words in which a pair occurs, or once did
    for w, ids in enumerate(spelled):
        for pair in pairwise(ids):
            counts[pair] += frequencies[w]
            holders[pair].add(w)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)

    learned: list[Pair] = []
    while heap and len(tokens) < vocab_size:
        count, pair = heapq.heappop(heap)
        if counts[pair] != -count or count == 0:
            continue  # an old entry
        # Never a text that is a token already: equal pieces of text were merged equally, so all are that token by now.
        new = len(tokens)
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        learned.append(pair)
        change: Counter[Pair] = Counter()
        for w in holders.pop(pair):
            before, after = spelled[w], merge(spelled[w], pair, new)
            spelled[w] = after
            for old in pairwise(before):
                change[old] -= frequencies[w]
            for fresh in pairwise(after):
                change[fresh] += frequencies[w]
                holders[fresh].add(w)
        for changed, difference in change.items():
            if difference:
                counts[changed] += difference
                heapq.heappush(heap, (-counts[changed], changed))
    return learned


def apply_merges(ids: list[int], ranks: Mapping[Pair, tuple[int, int]]) -> list[int]:
    """Merge a word's ids, the earliest learned pair first, from the left. ranks: pair -> (rank, id of the merged)."""
    while len(ids) > 1:
        found = [(ranks[pair][0], pair) for pair in pairwise(ids) if pair in ranks]
        if not found:
            break
        pair = min(found)[1]
        ids = merge(ids, pair, ranks[pair][1])
    return ids


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs in the texts, spelled in the characters of `byte_characters`."""
    characters = byte_characters()
    plain = Counter(word for text in texts for word in words(text))
    return Counter(
        {"".join([characters[byte] for byte in word.encode(errors="replace")]): n for word, n in plain.items()}
    )
