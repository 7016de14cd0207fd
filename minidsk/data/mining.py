"""DeepSeekMath's loop (arXiv:2402.03300, section 2.1): from a few pages of mathematics to all that a crawl holds.

A classifier learns the seed pages against pages drawn from the crawl, and scores every page. The best pages are
collected. Hosts of which more than a tenth was collected are marked; a reviewer says which of their URLs hold
mathematics, and what was not collected there joins the seed. Then again, until hardly anything new is collected.

A host is the domain of a URL; a URL to review is a host with a folder, such as "mathoverflow.net/questions". How deep
the cut lies follows from the seed alone: each seed page is scored by a classifier that was not trained on it, and the
cut lets a stated share of the seed pass. Or a budget of tokens is stated ahead.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
import torch
from numpy.typing import NDArray

from minidsk.data.classifier import Bags, ClassifierConfig, train_classifier
from minidsk.settings import positive, within

Pages = NDArray[np.int64]
Review = Callable[[str, Pages], bool]
"""Whether a URL (a host with a folder) holds mathematics; also given the numbers of its pages."""


@dataclass(frozen=True)
class MiningConfig:
    """The loop's settings, DeepSeekMath's where it says so. Raises `ValueError` for a field that does not fit."""

    rounds: int = 6  # at most (DeepSeekMath: 4)
    negatives: int = 400  # pages of the crawl that stand for what is not wanted (DeepSeekMath: 500,000)
    positives: int = 2000  # pages that the review added, of which a round learns at most so many
    passing: float = 0.75  # share of the seed pages that the cut lets pass, by classifiers that have not seen them
    budget: int | None = None  # tokens to collect in a round, in place of `passing` (DeepSeekMath: 40 billion at first)
    marked: float = 0.1  # a host is marked where more than this share of its pages was collected (DeepSeekMath: 0.1)
    new: float = 0.02  # a round that brings no larger share of new pages is the last (DeepSeekMath: 0.02)
    folds: int = 3  # classifiers in a round, each of which leaves out one part of the seed
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)  # how a page is read, and what is learnt

    def __post_init__(self) -> None:
        within(self, 1, 100, "rounds")
        within(self, 2, 20, "folds")
        positive(self, "negatives", "positives")
        within(self, 0, 1, "passing", "marked", "new")
        if self.budget is not None:
            positive(self, "budget")


@dataclass(frozen=True)
class Crawl:
    """N pages as the loop sees them: `urls`, `bags`, `tokens` [N], and their known origin, where there is one.

    origin: int8 [N], 1 for mathematics, 0 for other pages, -1 where it is not known. Only figures are made of it.
    """

    urls: Sequence[str]
    bags: Bags
    tokens: Pages
    origin: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.urls)


@dataclass(frozen=True)
class Round:
    """One round: what went into it, and what it collected.

    number: from 1. seed: pages that the classifier learnt from. cut: the lowest score that was collected.
    kept: bool [N], the pages that are collected. scores: float32 [N], each by classifiers that were not trained on the
    page. pages, tokens: how many were collected. new: share of the collected pages that the round before did not
    have. marked: the hosts that were marked. reviewed: URLs that the reviewer has looked at so far. added: pages that
    join the seed after this round. precision, recall: against the known origin; None where no page has one.
    """

    number: int
    seed: int
    cut: float
    kept: NDArray[np.bool_]
    scores: NDArray[np.float32]
    pages: int
    tokens: int
    new: float
    marked: tuple[str, ...]
    reviewed: int
    added: int
    precision: float | None
    recall: float | None


def host_of(url: str) -> str:
    """The domain of a URL, in lower case; what is none has the domain ""."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:  # such as brackets that do not close
        return ""


def places_of(urls: Sequence[str]) -> list[str]:
    """The URL to review that each page belongs to: its host and its folders, down to where the host's folders part.

    All pages of a host may lie in one folder, such as /en or /wiki; then the folders within it are told apart.
    """
    shared: dict[str, tuple[str, ...]] = {}
    for url in urls:
        own = folders_of(url)
        if own:
            known = shared.setdefault(host_of(url), own)
            differing = (i for i, (a, b) in enumerate(zip(known, own, strict=False)) if a != b)
            shared[host_of(url)] = known[: next(differing, len(own))]
    depth = {host: len(known) + 1 for host, known in shared.items()}
    places: dict[str, str] = {}  # one string for all pages of a place: there are far more pages
    names = ("/".join([host, *folders_of(url)[: depth.get(host, 1)]]) for host, url in ((host_of(u), u) for u in urls))
    return [places.setdefault(name, name) for name in names]


def folders_of(url: str) -> tuple[str, ...]:
    """The folders of a URL's path; its last part is the page."""
    try:
        return tuple(part for part in urlsplit(url).path.split("/")[:-1] if part)
    except ValueError:
        return ()


def groups(names: Iterable[str]) -> dict[str, Pages]:
    """The numbers of the pages with each name, of a host or a place, in the order in which the names first occur."""
    found: dict[str, array[int]] = defaultdict(lambda: array("q"))  # an eighth of a list's memory
    for number, name in enumerate(names):
        found[name].append(number)
    return {name: np.array(numbers, dtype=np.int64) for name, numbers in found.items()}


def known_origin(crawl: Crawl) -> Review:
    """A simulated reviewer: a URL holds mathematics where most of its pages whose origin is known do."""

    def review(place: str, pages: Pages) -> bool:
        known = crawl.origin[pages]
        return bool((known == 1).sum() > (known == 0).sum())

    return review


def mine(crawl: Crawl, seed: Bags, review: Review, config: MiningConfig, generator: torch.Generator) -> Iterator[Round]:
    """The rounds of the loop, one after another; the last one holds the harvest.

    seed: at least `folds` pages, which need not be in the crawl. generator: draws the negatives and the folds.
    Raises `ValueError` where the seed or the crawl is too small.
    """
    if len(seed) < config.folds:
        raise ValueError(f"seed: {len(seed)} pages are too few; give {config.folds} or more, better 30")
    hosts, places = groups(map(host_of, crawl.urls)), groups(places_of(crawl.urls))
    owner = {place: place.partition("/")[0] for place in places}
    kept, added, verdicts = np.zeros(len(crawl), np.bool_), np.zeros(len(crawl), np.bool_), dict[str, bool]()
    for number in range(1, config.rounds + 1):
        scores, held = cross_fit(crawl.bags, seed, np.flatnonzero(added), np.flatnonzero(~kept & ~added),
                                 config, generator)  # fmt: skip
        cut = float(np.quantile(held, 1 - config.passing))
        if config.budget is not None:
            cut = cut_at(scores, crawl.tokens, config.budget)
        before, kept = kept, (scores >= cut) | added
        new = float((kept & ~before).sum() / max(kept.sum(), 1))
        marked = tuple(host for host, pages in hosts.items() if kept[pages].mean() > config.marked)
        for place, pages in places.items():
            if owner[place] in marked and place not in verdicts:
                verdicts[place] = review(place, pages)
        joined = added.copy()
        for place, holds in verdicts.items():
            if holds and owner[place] in marked:
                joined[places[place]] |= ~kept[places[place]]
        precision, recall = quality(kept, crawl.origin)
        learnt = len(seed) + min(int(added.sum()), config.positives)
        yield Round(number, learnt, cut, kept, scores, int(kept.sum()),
                    int(crawl.tokens[kept].sum()), new, marked, len(verdicts), int((joined & ~added).sum()),
                    precision, recall)  # fmt: skip
        if new <= config.new:
            return
        added = joined


def cross_fit(
    bags: Bags, seed: Bags, added: Pages, others: Pages, config: MiningConfig, generator: torch.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores of all pages [N] and of the positives [P], each the mean over classifiers that were not trained on it.

    The positives are the seed and the pages `added`, or some of them where they are very many; the negatives are drawn
    from `others`.
    """
    if len(added) > config.positives:
        added = added[torch.randperm(len(added), generator=generator)[: config.positives].numpy()]
    drawn = others[torch.randperm(len(others), generator=generator)[: config.negatives].numpy()]
    if not len(drawn):
        raise ValueError("crawl: all of it is collected, and no page is left to compare with; give a larger crawl")
    sizes = [len(seed), len(added), len(drawn)]
    fold = torch.cat([torch.randperm(size, generator=generator) % config.folds for size in sizes]).numpy()
    bounds = np.cumsum([0, *sizes])
    in_crawl = np.concatenate([added, drawn])
    total, times = np.zeros(len(bags), np.float32), np.zeros(len(bags), np.float32)
    held = np.zeros(len(seed), np.float32)
    labels = np.repeat([1, 1, 0], sizes)
    everything = seed + bags.take(in_crawl)
    for part in range(config.folds):
        learn = np.flatnonzero(fold != part)
        model = train_classifier(everything.take(learn), labels[learn], config.classifier)
        counts = np.ones(len(bags), np.bool_)
        counts[in_crawl[(fold != part)[bounds[1] :]]] = False
        total += model(bags) * counts
        times += counts
        left = np.flatnonzero(fold[: bounds[1]] == part)
        held[left] = model(seed.take(left))
    scores = total / times
    return scores, np.concatenate([held, scores[added]])


def cut_at(scores: NDArray[np.float32], tokens: Pages, budget: int) -> float:
    """The score of the last page that the budget of tokens has room for, the best first; above all where for none."""
    order = np.argsort(-scores, kind="stable")
    fitting = int((np.cumsum(tokens[order]) <= budget).sum())
    return float(scores[order[fitting - 1]]) if fitting else float(np.nextafter(scores.max(), np.inf))


def quality(kept: NDArray[np.bool_], origin: NDArray[np.int8]) -> tuple[float | None, float | None]:
    """Precision and recall among the pages whose origin is known; None where it is known of none that count."""
    right, wrong = int((kept & (origin == 1)).sum()), int((kept & (origin == 0)).sum())
    wanted = int((origin == 1).sum())
    return right / (right + wrong) if right + wrong else None, right / wanted if wanted else None


def at_prevalence(kept: NDArray[np.bool_], origin: NDArray[np.int8], prevalence: float) -> float | None:
    """The precision that the same cut would have where mathematics is this share of the pages, not that of this crawl.

    Pages of either kind are collected as often as here; only how many there are of each kind changes.
    """
    hit, miss = (origin == 1), (origin == 0)
    if not hit.any() or not miss.any() or not (kept & (hit | miss)).any():
        return None
    right, wrong = prevalence * kept[hit].mean(), (1 - prevalence) * kept[miss].mean()
    return float(right / (right + wrong))
