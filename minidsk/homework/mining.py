"""Exercises of the chapter on mining: a bag of words, the cut, the pages that join the seed, precision on the web."""

from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def join_seed(kept: Tensor, host: Tensor, place: Tensor, holds: Tensor, marked: float = 0.1) -> Tensor:
    """The pages that join the seed after a round of DeepSeekMath's loop, bool [N].

    kept [N], bool: whether each page was collected. host [N] and place [N], int64: the number of each page's host and
    of its URL under review. holds [P], bool: the reviewer's verdict on each of the P URLs. A host is marked where more
    than the share `marked` of its pages was collected. A page joins where its host is marked, its URL holds
    mathematics, and it was not collected.
    """
    return _join(kept, host, place, holds, marked)


def _join(
    kept: Tensor, host: Tensor, place: Tensor, holds: Tensor, marked: float = 0.1, *,
    of_all: bool = False, collected_too: bool = False, any_host: bool = False, review: bool = True, equal: bool = False,
) -> Tensor:  # fmt: skip
    hosts = int(host.max()) + 1
    pages = torch.bincount(host, minlength=hosts).double()
    found = torch.bincount(host, weights=kept.double(), minlength=hosts)
    share = found / (kept.sum().double() if of_all else pages)
    is_marked = (share >= marked if equal else share > marked) | any_host
    joins = is_marked[host]
    if review:
        joins = joins & holds[place]
    return joins if collected_too else joins & ~kept


def bag_of_words(buckets: Tensor, size: int) -> Tensor:
    """A page as a vector, float [size]: how often each bucket occurs, by its logarithm, and of length 1 in all.

    buckets [W], int64: the bucket of each of the page's W words, W at least 1. A bucket that occurs c times gets
    log(1 + c); then the vector is divided by its length, the root of the sum of its squares.
    """
    vector = torch.bincount(buckets, minlength=size).double().log1p()
    return (vector / vector.norm()).float()


def _bag(buckets: Tensor, size: int, *, log: Any = torch.log1p, norm: float | None = 2) -> Tensor:
    vector = log(torch.bincount(buckets, minlength=size).double())
    return (vector / vector.norm(norm) if norm else vector).float()


def cut(held: Tensor, scores: Tensor, passing: float) -> Tensor:
    """Which pages are collected, bool [N], if the share `passing` of the seed has to pass.

    held [S]: scores of the seed's pages, each by a classifier that was not trained on it. scores [N]: of the crawl's
    pages. The cut is the quantile of `held` (torch.quantile, linear) above which the share `passing` of the seed lies.
    Pages with the score of the cut or more are collected.
    """
    return scores >= torch.quantile(held, 1 - passing)


def precision_at(recall: float, false_rate: float, prevalence: float) -> float:
    """The precision of a harvest where the share `prevalence` of all pages is mathematics.

    recall: share of the pages of mathematics that are collected. false_rate: share of the other pages that are
    collected. Returns the share of the collected pages that is mathematics, a float; 0 where nothing is collected.
    """
    right, wrong = prevalence * recall, (1 - prevalence) * false_rate
    return right / (right + wrong) if right + wrong else 0.0


def _rounds() -> list[tuple[str, tuple[Any, ...]]]:
    host = torch.tensor([0] * 10 + [1] * 20 + [2] * 4)
    place = torch.tensor([0] * 5 + [1] * 5 + [2] * 20 + [3] * 4)
    kept = torch.zeros(34, dtype=torch.bool)
    kept[[0, 1, 2, 10, 30]] = True
    yes, some = torch.ones(4, dtype=torch.bool), torch.tensor([True, False, True, True])
    tenth = kept.clone()
    tenth[11] = True
    return [
        ("three hosts, the reviewer says yes to all", (kept, host, place, yes)),
        ("the reviewer says no to one URL", (kept, host, place, some)),
        ("a host of which exactly a tenth was collected", (tenth, host, place, some)),
        ("half of a host has to be collected", (kept, host, place, some, 0.5)),
        ("nothing was collected", (kept & False, host, place, yes)),
    ]


def _words() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("three words, one of them twice", (torch.tensor([1, 4, 1]), 6)),
        ("one word", (torch.tensor([2]), 4)),
        ("a common word and rare ones", (torch.tensor([0] * 50 + [3, 5, 5]), 8)),
    ]


def _cuts() -> list[tuple[str, tuple[Any, ...]]]:
    held = torch.tensor([2.0, -1.0, 0.5, 1.0, 3.0])
    scores = torch.tensor([-2.0, -1.0, 0.0, 0.5, 0.75, 1.5, 4.0])
    return [
        ("four of five seed pages have to pass", (held, scores, 0.8)),
        ("half of the seed has to pass", (held, scores, 0.5)),
        ("the whole seed has to pass", (held, scores, 1.0)),
        ("three quarters of four pages", (held[:4], scores, 0.75)),
    ]


def _shares() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("half of the pages is mathematics", (0.9, 0.05, 0.5)),
        ("one page in two hundred is", (0.9, 0.05, 0.005)),
        ("nothing false is collected", (0.8, 0.0, 0.01)),
        ("nothing is collected", (0.0, 0.0, 0.3)),
    ]


EXERCISES = (
    Exercise(
        "mining.join_seed",
        join_seed,
        _rounds,
        (
            Mistake("the host's share of all that was collected", "A share of what? Count the pages of each host.",
                    lambda *a: _join(*a, of_all=True)),
            Mistake("collected pages join too", "What would the classifier learn from a page that it found by itself?",
                    lambda *a: _join(*a, collected_too=True)),
            Mistake("approved URLs of hosts that are not marked", "Who shows the reviewer which hosts to look at?",
                    lambda *a: _join(*a, any_host=True)),
            Mistake("whole hosts join, whatever the reviewer says", "A host may hold other things too.",
                    lambda *a: _join(*a, review=False)),
            Mistake("a host with exactly a tenth is marked", "More than a tenth, says the task.",
                    lambda *a: _join(*a, equal=True)),
        ),
        "For one host, write down its pages, how many were collected, the share, and the verdicts on its URLs.",
    ),
    Exercise(
        "mining.bag_of_words",
        bag_of_words,
        _words,
        (
            Mistake("counts without the logarithm", "How heavy is a word that occurs fifty times?",
                    lambda b, n: _bag(b, n, log=lambda x: x)),
            Mistake("the logarithm of the count, not of 1 plus the count", "What becomes of a word that occurs once?",
                    lambda b, n: torch.nan_to_num(_bag(b, n, log=lambda x: x.clamp(min=1).log()))),
            Mistake("not divided by its length", "Is a long page more mathematical than a short one?",
                    lambda b, n: _bag(b, n, norm=None)),
            Mistake("divided by its sum", "The length is the root of the sum of squares.",
                    lambda b, n: _bag(b, n, norm=1)),
            Mistake("every word counts once", "Does it matter how often a word occurs?",
                    lambda b, n: _bag(b, n, log=lambda x: (x > 0).double())),
        ),
        "Write the counts, their logarithms and the length in three lines, and print each.",
    ),
    Exercise(
        "mining.cut",
        cut,
        _cuts,
        (
            Mistake("the quantile from the wrong end", "If nine in ten have to pass, is the cut high or low?",
                    lambda h, s, p: s >= torch.quantile(h, p)),
            Mistake("a share of the crawl, not of the seed", "Whose pages are known to be mathematics?",
                    lambda h, s, p: s >= torch.quantile(s, 1 - p)),
            Mistake("the page at the cut is left out", "Does a page with exactly the score of the cut pass?",
                    lambda h, s, p: s > torch.quantile(h, 1 - p)),
            Mistake("a share of the best score", "Scores are logits: they may be below 0.",
                    lambda h, s, p: s >= (1 - p) * h.max()),
        ),
        "Sort the seed's scores, and count how many lie above your cut.",
    ),
    Exercise(
        "mining.precision_at",
        precision_at,
        _shares,
        (
            Mistake("the prevalence is left out", "Would the precision be the same where mathematics is rare?",
                    lambda r, f, p: r / (r + f) if r + f else 0.0),
            Mistake("the other pages are not weighted", "How many other pages are there for each page of mathematics?",
                    lambda r, f, p: p * r / (p * r + f) if r + f else 0.0),
            Mistake("recall where precision is asked", "A share of what was collected, or of what there is?",
                    lambda r, f, p: r),
            Mistake("one minus the false rate", "Of 100 collected pages, how many are other pages?",
                    lambda r, f, p: 1 - f if r + f else 0.0),
        ),
        "Take 1,000 pages. How many are mathematics, how many of them are collected, and how many of the others?",
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
