"""Rewards: by rule, each a number in [0, 1] for a reply; or by any function of problems and texts, such as a model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minidsk.rl.language import language
from minidsk.tasks.base import Problem
from minidsk.tasks.limit import OutOfTime, run_limited

Reward = Callable[[Problem, str], float]
RewardFunction = Callable[[list[Problem], list[str]], Tensor]  # N problems and N replies to rewards [N]

SECONDS = 2.0  # at most, and half of it at least, that a rule may take for one reply
HANGS = 4  # after so many replies that took longer, the rest of a batch is not tried


def accuracy(problem: Problem, reply: str) -> float:
    """1 where the verifier accepts the answer."""
    return problem.score(reply)


def well_formed(problem: Problem, reply: str) -> float:
    """1 where the reply is one thought and one answer (the format reward of DeepSeek-R1, arXiv:2501.12948)."""
    return float(problem.well_formed(reply))


def short(problem: Problem, reply: str) -> float:
    """1 for an empty reply, falling to 1/2 at 100 characters and towards 0: a price on length, with a small weight."""
    return 100 / (100 + len(reply))


REWARDS: dict[str, Reward] = {
    "accuracy": accuracy, "well_formed": well_formed, "language": language, "short": short,
}  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """The rewards of N replies: `total` ``[N]``, `parts` each ``[N]`` by name, `faults`: what kept a part from being
    computed, by the number of the reply. A part that could not be computed is NaN, and so is its total."""

    total: Tensor
    parts: dict[str, Tensor]
    faults: dict[int, str]


def score(
    problems: Sequence[Problem],
    texts: Sequence[str],
    weights: Mapping[str, float],
    reward: RewardFunction | None = None,
    seconds: float = SECONDS,
) -> Scores:
    """Judge replies: the sum of the rewards in `weights`, or `reward`, beside which those are computed but not added.

    A rule that raises, takes longer than `seconds`, or returns what is not a finite number has met a fault: reported,
    and never raised. After `HANGS` replies that took too long, the rest are not tried. A `reward` that raises is an
    error; numbers of it that are not finite are faults. Raises `ValueError` for a name that is not in `REWARDS`.
    """
    unknown = sorted(set(weights) - set(REWARDS))
    if unknown:
        raise ValueError(f"rewards: {unknown[0]!r} is not known; give some of {', '.join(REWARDS)}")
    if reward is None and not weights:
        raise ValueError(f"rewards: none given; give some of {', '.join(REWARDS)}, or a reward function")
    parts, faults = {}, {}
    for name in weights:
        parts[name], found = _by_rule(name, problems, texts, seconds)
        faults.update(found)
    if reward is None:
        total = torch.stack([weight * parts[name] for name, weight in weights.items()]).sum(0)
        return Scores(total, parts, faults)
    total = reward(list(problems), list(texts)).detach().float().cpu()
    if total.shape != (len(texts),):
        raise ValueError(f"reward: returned shape {tuple(total.shape)} for {len(texts)} replies; return [replies]")
    for i in (~total.isfinite()).nonzero().flatten().tolist():
        faults[i] = f"the reward function returned {float(total[i])}"
    return Scores(total.masked_fill(~total.isfinite(), math.nan), parts, faults)


def _by_rule(
    name: str, problems: Sequence[Problem], texts: Sequence[str], seconds: float
) -> tuple[Tensor, dict[int, str]]:
    values, faults, at, hangs = [math.nan] * len(texts), {}, 0, 0

    def some() -> None:
        """Judge reply after reply for half of the time limit, so that one that runs into it had the other half."""
        nonlocal at
        enough = time.monotonic() + seconds / 2
        while at < len(texts) and time.monotonic() < enough:
            try:
                values[at] = float(REWARDS[name](problems[at], texts[at]))
                if not math.isfinite(values[at]):
                    faults[at] = f"{name} returned {values[at]}"
            except Exception as error:  # whatever a verifier may raise that others wrote
                faults[at] = f"{name} raised {type(error).__name__}: {error}"
            at += 1

    while at < len(texts) and hangs < HANGS:
        try:
            run_limited(some, (), seconds)  # one alarm for many replies: each costs as much as a reply
        except OutOfTime:
            faults[at], hangs, at = f"{name} took over {seconds / 2:g} s", hangs + 1, at + 1
    for i in range(at, len(texts)):
        faults[i] = f"{name} was not tried any more, after {HANGS} replies for which it took too long"
    for i in faults:
        values[i] = math.nan
    return torch.tensor(values), faults
