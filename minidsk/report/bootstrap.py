"""Intervals of a figure measured on many problems: the problems are drawn again, whole (Efron's bootstrap, 1979).

A problem is the unit, not a reply: replies to one problem are alike, and counting each for itself would promise an
interval that is too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from minidsk.infer.evaluate import wilson
from minidsk.settings import AT_ONCE

TIMES = 2000  # how often the problems are drawn anew


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval, `low` to `high`."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def estimate(
    amounts: Sequence[float], counts: Sequence[float] | None = None, *, seed: int = 0, share: bool = True
) -> Estimate | None:
    """The sum of `amounts` over that of `counts` (1 each if not given), one of each for a problem.

    The interval is from the 2.5th to the 97.5th percentile of 2,000 draws of as many problems, with replacement, from a
    generator with this seed. A `share` for which every problem has all or nothing has Wilson's interval instead, with a
    problem for a trial: drawn again, a share of 0 or 1 would have no width. None where nothing was counted, or, for
    what is no share, in one problem alone.
    """
    top = torch.tensor(list(amounts), dtype=torch.float64)
    bottom = torch.ones_like(top) if counts is None else torch.tensor(list(counts), dtype=torch.float64)
    top, bottom = top[bottom > 0], bottom[bottom > 0]
    if len(top) == 0 or (len(top) == 1 and not share):
        return None
    value = float(top.sum() / bottom.sum())
    all_or_nothing = bool(((top == 0) | (top == bottom)).all()) and (value in (0, 1) or len(bottom.unique()) == 1)
    if share and (all_or_nothing or len(top) == 1):
        return Estimate(value, *wilson(value, len(top)))
    generator, drawn = torch.Generator().manual_seed(seed), []
    for part in torch.arange(TIMES).split(max(AT_ONCE // len(top), 1)):
        again = torch.randint(len(top), (len(part), len(top)), generator=generator)
        drawn.append(top[again].sum(1) / bottom[again].sum(1))
    low, high = torch.cat(drawn).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(value, low, high)
