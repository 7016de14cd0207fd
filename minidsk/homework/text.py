"""Exercises of the chapter on text and tokens: byte-pair encoding (Sennrich et al., 2016, on bytes)."""

import math
from collections import Counter
from itertools import pairwise
from typing import Any

from minidsk.homework.exercise import Exercise, Mistake


def count_pairs(ids: list[int]) -> dict[tuple[int, int], int]:
    """How often each pair of neighbours stands in `ids`: {(left, right): count}.

    Every two neighbours count, overlapping ones too: [7, 7, 7] holds (7, 7) twice.
    """
    return dict(Counter(pairwise(ids)))


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """A new list in which every `pair` of neighbours, found from left to right, has become `new_id`.

    A token takes part in one merge only: [7, 7, 7] with (7, 7) becomes [new_id, 7].
    """
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == tuple(pair):
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def bpe_encode(data: bytes, merges: list[tuple[int, int]]) -> list[int]:
    """The tokens of `data`: its bytes (ids 0 to 255), after the merges in the order in which they were learned.

    merges[i] is the pair that becomes id 256 + i. Earlier merges go first, wherever in the text they apply.
    """
    ids = list(data)
    for i, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + i)
    return ids


def bits_per_byte(loss: float, tokens: int, text: str) -> float:
    """A model's loss on `text` in bits per UTF-8 byte, comparable between vocabularies.

    loss: mean cross-entropy in nats per token. tokens: how many tokens the text became.
    """
    return loss * tokens / math.log(2) / len(text.encode())


def _pairs_apart(ids: list[int]) -> dict[tuple[int, int], int]:
    counts: Counter[tuple[int, int]] = Counter()
    i = 0
    while i + 1 < len(ids):
        counts[ids[i], ids[i + 1]] += 1
        i += 2 if ids[i] == ids[i + 1] else 1
    return dict(counts)


def _merge_again(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == tuple(pair):
            out.append(new_id)
            i += 1 if i + 2 < len(ids) and (ids[i + 1], ids[i + 2]) == tuple(pair) else 2
        else:
            out.append(ids[i])
            i += 1
    return out


def _merge_first(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == tuple(pair):
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return list(ids)


def _encode_leftmost(data: bytes, merges: list[tuple[int, int]]) -> list[int]:
    rank = {pair: i for i, pair in enumerate(merges)}
    ids, i = list(data), 0
    while i + 1 < len(ids):
        if (ids[i], ids[i + 1]) in rank:
            ids[i : i + 2] = [256 + rank[ids[i], ids[i + 1]]]
            i = 0
        else:
            i += 1
    return ids


def _encode_longest(data: bytes, merges: list[tuple[int, int]]) -> list[int]:
    pieces = [bytes([i]) for i in range(256)]
    for a, b in merges:
        pieces.append(pieces[a] + pieces[b])
    ids, start = [], 0
    while start < len(data):
        best = max((i for i, p in enumerate(pieces) if data.startswith(p, start)), key=lambda i: len(pieces[i]))
        ids.append(best)
        start += len(pieces[best])
    return ids


def _encode_once(data: bytes, merges: list[tuple[int, int]]) -> list[int]:
    ids = list(data)
    for i, pair in enumerate(merges):
        ids = _merge_first(ids, pair, 256 + i)
    return ids


def _sequences() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("five ids", ([1, 2, 1, 2, 3],)),
        ("three equal neighbours", ([7, 7, 7],)),
        ("a pair and its mirror image", ([1, 2, 2, 1, 2, 1],)),
        ("a single id", ([5],)),
        ("nothing at all", ([],)),
    ]


def _merges() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("two of the pair", ([1, 2, 3, 1, 2], (1, 2), 256)),
        ("three equal neighbours", ([7, 7, 7], (7, 7), 256)),
        ("the pair at the very end", ([4, 1, 2], (1, 2), 256)),
        ("the mirror image only", ([2, 1, 1], (1, 2), 256)),
        ("nothing at all", ([], (1, 2), 256)),
    ]


def _encodings() -> list[tuple[str, tuple[Any, ...]]]:
    a, b, c = b"abc"
    return [
        ("'abab' with the merge ab", (b"abab", [(a, b)])),
        ("'abc' where bc was learned before ab", (b"abc", [(b, c), (a, b)])),
        ("'abcab' where a later merge builds on an earlier one", (b"abcab", [(a, b), (256, c)])),
        ("'abcc' where cc, learned later, would give fewer tokens", (b"abcc", [(b, c), (a, b), (c, c), (257, 258)])),
        ("'abc' where ab was learned last", (b"abc", [(b, c), (a, 256), (a, b)])),
        ("no merges", (b"abc", [])),
        ("no text", (b"", [(a, b)])),
        ("Chinese text", ("你好你好".encode(), [(0xE4, 0xBD), (256, 0xA0)])),
    ]


def _bits() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("English, one byte a character", (1.5, 4, "to be or not to be")),
        ("Chinese, three bytes a character", (2.0, 5, "深度求索")),
        ("one token for each byte", (math.log(2), 3, "abc")),
    ]


def _turned(ids: list[int]) -> dict[tuple[int, int], int]:
    return dict(Counter((min(p), max(p)) for p in pairwise(ids)))


EXERCISES = (
    Exercise(
        "text.bpe_encode",
        bpe_encode,
        _encodings,
        (
            Mistake(
                "merges taken from left to right in the text",
                "Which merge goes first when two apply?",
                _encode_leftmost,
            ),
            Mistake(
                "longest piece first",
                "BPE replays its merges; it does not look for the longest piece.",
                _encode_longest,
            ),
            Mistake("only the first place of each merge", "How often can one pair stand in a text?", _encode_once),
        ),
        "Write down what the text looks like after each merge, in the order in which they were learned.",
    ),
    Exercise(
        "text.count_pairs",
        count_pairs,
        _sequences,
        (
            Mistake(
                "overlapping pairs skipped", "How many neighbours does the middle 7 of [7, 7, 7] have?", _pairs_apart
            ),
            Mistake("order within a pair ignored", "Is 'th' the same pair as 'ht'?", _turned),
            Mistake("the last pair left out", "Count the pairs of a list of two.", lambda ids: count_pairs(ids[:-1])),
        ),
        "Line the list up with itself, moved by one.",
    ),
    Exercise(
        "text.merge",
        merge,
        _merges,
        (
            Mistake("one token merged twice", "After a merge, both of its tokens are used up.", _merge_again),
            Mistake("only the first place merged", "The pair may stand in more than one place.", _merge_first),
            Mistake(
                "the pair found in either order",
                "Is (2, 1) the pair (1, 2)?",
                lambda ids, pair, new_id: merge(merge(ids, pair, new_id), pair[::-1], new_id),
            ),
        ),
        "Walk from left to right; a merge moves you by two, anything else by one.",
    ),
    Exercise(
        "text.bits_per_byte",
        bits_per_byte,
        _bits,
        (
            Mistake("nats left as nats", "How many nats is one bit?", lambda loss, n, t: loss * n / len(t.encode())),
            Mistake(
                "bits per token", "Does the figure change with the vocabulary?",
                    lambda loss, n, t: loss / math.log(2)
            ),
            Mistake("bits per character", "How many bytes is 深?", lambda loss, n, t: loss * n / math.log(2) / len(t)),
        ),
        "First the nats of the whole text, then the unit, then the share of each byte.",
    ),
)
"""The chapter's exercises; the first is its bug zoo."""
