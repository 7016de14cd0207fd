"""Exercises of the chapter on R1-Zero: which groups teach, pass@k without bias, and seeds in pairs.

The chapter's verifier is in `verifier.py`. Sources: pass@k as in Chen et al. (arXiv:2107.03374, equation 1); groups
without a signal (DAPO, arXiv:2503.14476, section 3.2).
"""

import math
from collections.abc import Sequence
from statistics import mean, pstdev, stdev
from typing import Any

import torch
from torch import Tensor

from minidsk.homework import verifier
from minidsk.homework.exercise import Exercise, Mistake
from minidsk.report.interval import T_95


def groups_with_signal(rewards: Tensor) -> float:
    """The share of problems whose answers were not all judged alike.

    rewards [P, G], float: G answers to each of P problems, with any rewards. Only a group whose rewards differ gives
    GRPO a gradient. Returns a number from 0 to 1.
    """
    return _share(rewards != rewards[:, :1])


def pass_at_k(right: int, samples: int, k: int) -> float:
    """The chance that at least one of k samples is right, estimated without bias from n samples of one problem.

    right: how many of the samples are right; samples: their number n; k: from 1 to n. The estimate is the share of
    all sets of k different samples that contain a right one. Returns a number from 0 to 1.
    """
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


def paired(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """What a training gained over several seeds: the mean difference, and half the width of its 95 % interval.

    before and after: an accuracy per seed, in the same order. A seed's two accuracies belong together, so the interval
    is that of the differences after minus before: Student's t times their standard deviation (which divides by n - 1)
    over the root of n. `minidsk.report.interval.T_95[n]` is Student's t for n differences.
    """
    gains = [b - a for a, b in zip(before, after, strict=True)]
    return mean(gains), T_95[len(gains)] * stdev(gains) / math.sqrt(len(gains))


def _share(differs: Tensor) -> float:
    return float(differs.any(1).double().mean())


def _gains(before: Sequence[float], after: Sequence[float], t: float | None = None, *, root: bool = True,
           biased: bool = False) -> tuple[float, float]:  # fmt: skip
    gains = [b - a for a, b in zip(before, after, strict=True)]
    spread = pstdev(gains) if biased else stdev(gains)
    return mean(gains), (t or T_95[len(gains)]) * spread / (math.sqrt(len(gains)) if root else 1)


def _two_samples(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    error = math.sqrt((stdev(before) ** 2 + stdev(after) ** 2) / len(before))
    return mean(after) - mean(before), T_95[len(before)] * error


def _rewards() -> list[tuple[str, tuple[Any, ...]]]:
    ladder = torch.tensor([[0.0, 0, 0, 0], [0, 0, 1, 0], [1, 1, 0, 1], [1, 1, 1, 1]])
    return [
        ("all wrong, one right, three right, all right", (ladder,)),
        ("a group that is all right", (torch.tensor([[1.0, 1, 1], [0, 1, 0]]),)),
        ("groups that are all wrong", (torch.zeros(5, 3),)),
        ("all right, or all wrong", (torch.tensor([[1.0, 1], [0, 0], [1, 1]]),)),
        ("rewards in parts", (torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.1, 1.1, 0.1, 0.1], [0.5, 0.5, 0.5, 0.5]]),)),
        ("no answer is fully right", (torch.tensor([[0.0, 0.1, 0], [0, 0, 0], [0.2, 0.2, 0.2], [0, 0.5, 0]]),)),
        ("only the last answer differs", (torch.tensor([[0.0, 0, 0, 1], [1, 1, 1, 1]]),)),
        ("the first two of four differ", (torch.tensor([[1.0, 0], [0, 1], [1, 1], [1, 1]]),)),
    ]


def _counts() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("one right of two, both drawn", (1, 2, 2)),
        ("three right of ten, one drawn", (3, 10, 1)),
        ("three right of ten, four drawn", (3, 10, 4)),
        ("three right of ten, eight drawn", (3, 10, 8)),
        ("none right", (0, 16, 8)),
        ("all right", (16, 16, 3)),
        ("one right of 256, half of them drawn", (1, 256, 128)),
        ("nine right of 256, 64 drawn", (9, 256, 64)),
    ]


def _seeds() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("bases that differ, gains that agree", ([0.1, 0.3, 0.5], [0.32, 0.49, 0.71])),
        ("five seeds", ([0.3, 0.28, 0.35, 0.31, 0.25], [0.6, 0.71, 0.58, 0.66, 0.62])),
        ("two seeds", ([0.4, 0.5], [0.35, 0.43])),
        ("a gain for one seed only", ([0.2, 0.2, 0.2, 0.2], [0.2, 0.2, 0.6, 0.2])),
    ]


EXERCISES = (
    Exercise(
        "zero.groups_with_signal",
        groups_with_signal,
        _rewards,
        (
            Mistake("groups that are all right counted", "What are the advantages where all four are right?",
                    lambda r: _share(r > 0)),
            Mistake("only a reward of 1 is a signal", "Rewards 0, 0.1, 0: is one answer better than the others?",
                    lambda r: _share((r != r[:, :1]) & (r == 1).any(1, keepdim=True))),
            Mistake("judged by the mean", "Four rewards of 0.5: is there anything to prefer?",
                    lambda r: float(((r.mean(1) > 0) & (r.mean(1) < 1)).double().mean())),
            Mistake("compared with the first problem", "With which answers does GRPO compare an answer?",
                    lambda r: _share(r != r[:1])),
            Mistake("compared across problems", "Which dimension holds the answers to one problem?",
                    lambda r: _share((r != r[:1]).T)),
            Mistake("a count, not a share", "Four problems and eight problems should be comparable.",
                    lambda r: groups_with_signal(r) * len(r)),
            Mistake("the share without a signal", "Signal is where answers differ.",
                    lambda r: 1 - groups_with_signal(r)),
            Mistake("the mean reward", "All right and all wrong teach equally little.", lambda r: float(r.mean())),
        ),
        "Four groups: all wrong, one right, three right, all right. How many of them have unequal rewards?",
    ),
    Exercise(
        "zero.pass_at_k",
        pass_at_k,
        _counts,
        (
            Mistake("drawn with replacement: 1 - (1 - p)^k", "One of two is right, and both are drawn: what now?",
                    lambda right, n, k: 1 - (1 - right / n) ** k),
            Mistake("k times the chance of one", "Two samples may both be right.",
                    lambda right, n, k: min(1.0, k * right / n)),
            Mistake("too few wrong ones counts as failure", "Eight of ten are drawn and seven are wrong: what then?",
                    lambda right, n, k: 0.0 if k > n - right else pass_at_k(right, n, k)),
            Mistake("the chance that all k are right", "One right sample is enough.",
                    lambda right, n, k: math.comb(right, k) / math.comb(n, k)),
            Mistake("the chance that none is right", "What is asked is the opposite.",
                    lambda right, n, k: 1 - pass_at_k(right, n, k)),
            Mistake("pass@1 for every k", "More samples reach more.", lambda right, n, k: right / n),
            Mistake("right or wrong, without a chance", "Sets of k are drawn; only some contain a right one.",
                    lambda right, n, k: float(right > 0)),
        ),
        "How many sets of k samples are there, and how many of them hold wrong samples alone? See math.comb.",
    ),
    *verifier.EXERCISES,
    Exercise(
        "zero.paired",
        paired,
        _seeds,
        (
            Mistake("two samples, not pairs", "What happens to a seed's luck when its two accuracies are subtracted?",
                    _two_samples),
            Mistake("1.96, as if there were many seeds", "Three differences do not show their spread well.",
                    lambda before, after: _gains(before, after, 1.96)),
            Mistake("not divided by the root of n", "The interval is that of the mean, not of one seed.",
                    lambda before, after: _gains(before, after, root=False)),
            Mistake("standard deviation that divides by n", "The seeds are a sample: what divides their deviation?",
                    lambda before, after: _gains(before, after, biased=True)),
            Mistake("before minus after", "A gain is positive.", lambda before, after: paired(after, before)),
            Mistake("the whole width", "Half of it, as in 0.2 ± 0.1.",
                    lambda before, after: (paired(before, after)[0], 2 * paired(before, after)[1])),
        ),
        "Subtract seed by seed first. What is left is one list of numbers.",
    ),
)  # fmt: skip
"""The exercises of the chapter on R1-Zero; the first is its bug zoo."""
