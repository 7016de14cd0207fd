"""Which pages are like those that we have? A classifier after fastText: a bag of hashed words, and one linear layer.

fastText (Joulin and others, arXiv:1607.01759) averages an embedding for each word and word pair of a page and puts a
linear layer on the mean. With two classes the layer turns each embedding into one number, so we learn that number
alone: a logistic regression with one weight per bucket of a hash table. It differs from fastText in two ways that help
where positives are few. The counts of a page enter by their logarithm and have unit length together, because in a plain
mean the commonest words drown the rest. And the loss is balanced, has a price on large weights and is minimised over
all pages at once from weights of zero, so that the result depends on no order and no draw.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from minidsk.settings import positive, require, within

_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
_LONGEST = 12  # characters of a page that are read for each word that is wanted; a word of 100 MB is no word
_KNOWN = 2**18  # words whose hashes are remembered


@dataclass(frozen=True)
class ClassifierConfig:
    """How a page becomes a bag of numbers, and how the weights are learnt. Raises `ValueError` naming a wrong field."""

    buckets: int = 2**16  # of the hash table, a power of two; more fit no 16 bits
    ngrams: int = 2  # 1: words alone; 2: pairs of neighbours too; and so on
    words: int = 2000  # how many words of a page are read
    steps: int = 30  # of Adam, each over all pages
    lr: float = 0.3  # the learning rate
    decay: float = 1e-3  # price on the squared length of the weights

    def __post_init__(self) -> None:
        require(self, "buckets", self.buckets in [2**k for k in range(17)], "a power of two up to 65,536")
        within(self, 1, 5, "ngrams")
        within(self, 1, 10**6, "words", "steps")
        within(self, 0, 1e3, "decay")
        positive(self, "lr")


class _Hashes(dict[str, int]):
    """The hash of a word, the same on every machine, computed once."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _KNOWN:
            self.clear()
        value = self[word] = zlib.crc32(("0" if word.isdigit() else word).encode("utf-8", "replace"))
        return value


_HASHES = _Hashes()


def words(text: str, most: int) -> list[str]:
    """The first `most` words of a page: letters, numbers and single signs, in lower case."""
    return _WORD.findall(text[: _LONGEST * most].lower())[:most]


def bag(text: str, config: ClassifierConfig) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """The buckets of a page's words and n-grams [F], each once, and their weights [F], of unit length together.

    A weight is the logarithm of 1 plus the count. Numbers count as one word, whatever their value.
    """
    hashes = np.array([_HASHES[word] for word in words(text, config.words)] or [0], dtype=np.int64)
    found, run = [hashes], hashes
    for n in range(1, min(config.ngrams, len(hashes))):
        run = (run[:-1] * 116049371 + hashes[n:]) & 0xFFFFFFFF  # as fastText combines neighbours
        found.append(run)
    buckets, counts = np.unique(np.concatenate(found) % config.buckets, return_counts=True)
    weights = np.log1p(counts)
    return buckets.astype(np.uint16), (weights / np.sqrt((weights**2).sum())).astype(np.float32)


class Numbers(Protocol):
    """An array in one dimension, or a file of numbers that is read where it is asked for."""

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        """The numbers from one to another."""


@dataclass(frozen=True)
class Bags:
    """Many pages: `buckets` and `weights` [F] of page i lie at `starts[i]` to `starts[i + 1]`; `starts` is [N + 1]."""

    buckets: Numbers
    weights: Numbers
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @staticmethod
    def join(bags: Iterable[tuple[NDArray[np.uint16], NDArray[np.float32]]]) -> Bags:
        """Pages as `bag` makes them, end to end."""
        pairs = list(bags)
        starts = np.cumsum([0, *(len(buckets) for buckets, _ in pairs)])
        empty = (np.zeros(0, np.uint16), np.zeros(0, np.float32))
        buckets, weights = zip(*(pairs or [empty]), strict=True)
        return Bags(np.concatenate(buckets), np.concatenate(weights), starts)

    def take(self, pages: Sequence[int] | NDArray[np.int64]) -> Bags:
        """The pages with these numbers, in this order."""
        return Bags.join((self.buckets[a:b], self.weights[a:b]) for a, b in
                         zip(self.starts[pages], self.starts[np.asarray(pages) + 1], strict=True))  # fmt: skip

    def __add__(self, other: Bags) -> Bags:
        starts = np.concatenate([self.starts, self.starts[-1] + other.starts[1:]])
        buckets, weights = ([self.buckets[:], other.buckets[:]], [self.weights[:], other.weights[:]])
        return Bags(np.concatenate(buckets), np.concatenate(weights), starts)


@dataclass(frozen=True)
class Classifier:
    """One weight per bucket, float32 [buckets], and a bias: the score of a page is a logit, above 0 for "like them"."""

    weight: Tensor
    bias: Tensor

    def __call__(self, bags: Bags, rows: int = 512) -> NDArray[np.float32]:
        """Scores [N], `rows` pages at a time."""
        with torch.no_grad():
            parts = [self.logits(*_tensors(bags, i, min(i + rows, len(bags)))) for i in range(0, len(bags), rows)]
        return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)

    def logits(self, buckets: Tensor, weights: Tensor, page: Tensor, pages: int) -> Tensor:
        """Scores [pages] of entries [F], each of which belongs to a page."""
        return torch.zeros(pages).index_add(0, page, self.weight[buckets] * weights) + self.bias


def train_classifier(bags: Bags, labels: Sequence[int] | NDArray[np.int64], config: ClassifierConfig) -> Classifier:
    """Weights that tell pages with label 1 from those with label 0; each class counts for half.

    Raises `ValueError` unless both labels occur.
    """
    wanted = torch.as_tensor(np.asarray(labels), dtype=torch.float32)
    if len(wanted) != len(bags) or not 0 < float(wanted.sum()) < len(wanted):
        raise ValueError("labels: one 0 or 1 per page, and both must occur")
    share = torch.where(wanted == 1, 0.5 / wanted.sum(), 0.5 / (1 - wanted).sum())
    entries = _tensors(bags, 0, len(bags))
    model = Classifier(torch.zeros(config.buckets, requires_grad=True), torch.zeros(1, requires_grad=True))
    optimizer = torch.optim.Adam([model.weight, model.bias], lr=config.lr)
    for _ in range(config.steps):
        loss = F.binary_cross_entropy_with_logits(model.logits(*entries), wanted, share, reduction="sum")
        optimizer.zero_grad()
        (loss + config.decay * model.weight.square().sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Classifier(model.weight.detach(), model.bias.detach())


def _tensors(bags: Bags, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor, int]:
    """The entries of pages start to stop - 1: their buckets, weights and pages [F], and the number of pages."""
    a, b = bags.starts[start], bags.starts[stop]
    lengths = np.diff(bags.starts[start : stop + 1])
    page = torch.from_numpy(np.repeat(np.arange(stop - start), lengths))
    buckets = torch.from_numpy(bags.buckets[a:b].astype(np.int64))
    return buckets, torch.from_numpy(bags.weights[a:b]), page, stop - start
