"""A reward model: a language model that learned from preferences how much people would like a reply.

Its labels say which of two replies is better, never how good one is. Bradley and Terry (1952) turn the one into the
other: give each reply a score, and let the difference of two scores be the log-odds that the first is preferred.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minidsk.rl.critic import Critic
from minidsk.rl.policy import Policy
from minidsk.rl.preferences import Preference, Ranking
from minidsk.settings import AT_ONCE, LAST_SEED, positive, within
from minidsk.tasks.base import Problem
from minidsk.train.loop import Slices, fit
from minidsk.train.optim import OptimConfig, Optimizer


@dataclass(frozen=True)
class RewardModelConfig:
    """One run over the rankings, `epochs` times, in batches of `batch` rankings, shuffled by `seed`."""

    epochs: int = 1
    batch: int = 8
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=2e-3, warmup=5))
    seed: int = 0

    def __post_init__(self) -> None:
        positive(self, "epochs")
        within(self, 1, AT_ONCE, "batch")
        within(self, 0, LAST_SEED, "seed")


class RewardModel(nn.Module):
    """The body of a language model with a head of one number, read at the end of the reply (InstructGPT, section 3.5).

    It starts as a copy of `policy`, which stays as it is, and at first gives every reply 0.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.critic = Critic(policy)
        self.offset: Tensor
        self.register_buffer("offset", self.critic.head.weight.new_zeros(()))

    def forward(self, prompts: Sequence[str], replies: Sequence[str]) -> Tensor:
        """Scores ``[N]`` of replies to prompts."""
        completions = self.critic.policy.encode(prompts, replies)
        values = self.critic(completions, after=True)
        return values.gather(1, completions.lengths[:, None] - 1).squeeze(1) - self.offset

    @torch.no_grad()
    def score(self, prompts: Sequence[str], replies: Sequence[str], rows: int = 256) -> Tensor:
        """The same without gradient, `rows` at a time and those of similar length together."""
        order = sorted(range(len(replies)), key=lambda i: len(prompts[i]) + len(replies[i]))
        scores = self.offset.new_zeros(len(replies))
        for start in range(0, len(order), rows):
            part = order[start : start + rows]
            scores[part] = self([prompts[i] for i in part], [replies[i] for i in part])
        return scores

    def flops(self, prompts: Sequence[str], replies: Sequence[str]) -> float:
        """Operations to score these replies."""
        policy = self.critic.policy
        return policy.flops(policy.encode(prompts, replies))

    def reward(self, problems: list[Problem], replies: list[str]) -> Tensor:
        """Scores ``[N]`` in the form that `reinforce` takes as its `reward`."""
        return self.score([problem.prompt for problem in problems], replies)

    def centre(self, prompts: Sequence[str], replies: Sequence[str]) -> None:
        """Shift all scores so that these replies have mean 0: preferences do not say where 0 is."""
        self.offset += self.score(prompts, replies).mean()

    def margins(self, preferences: Sequence[Preference]) -> Tensor:
        """Score of the chosen reply less that of the rejected one, ``[N]``, without gradient."""
        prompts = [p.prompt for p in preferences]
        chosen = self.score(prompts, [p.chosen for p in preferences])
        return chosen - self.score(prompts, [p.rejected for p in preferences])


def pair_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """``mean(-log sigmoid(chosen - rejected))``, both ``[N]`` (InstructGPT, arXiv:2203.02155, equation 1, with K = 2).

    The negative log-likelihood of the labels under Bradley and Terry's model, in nats a comparison; log 2 for a coin.
    """
    return -F.logsigmoid(chosen - rejected).mean()


def ranking_loss(scores: Tensor) -> Tensor:
    """`pair_loss` over all pairs of a ranking; `scores` ``[K]``, those of its replies, the best first (equation 1)."""
    better, worse = torch.triu_indices(len(scores), len(scores), offset=1, device=scores.device)
    return pair_loss(scores[better], scores[worse])


def train_reward_model(
    model: RewardModel,
    rankings: Sequence[Ranking],
    config: RewardModelConfig,
    *,
    progress: bool = True,
) -> list[float]:
    """Fit `model` in place to rankings; the loss of each step.

    All pairs of a ranking belong to one step, as in InstructGPT, so that each reply is read once. Raises `ValueError`
    where the rankings do not fill a batch.
    """
    steps = config.epochs * (len(rankings) // config.batch)
    if steps == 0:
        raise ValueError(f"rankings: {len(rankings)} do not fill a batch of {config.batch}; give more")
    optimizer, slices = Optimizer(model, config.optim, steps), Slices(config.batch)
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.cat([_whole_batches(len(rankings), config.batch, generator) for _ in range(config.epochs)])

    def step(number: int) -> dict[str, Tensor]:
        optimizer.schedule(number)
        drawn = order[number * config.batch : (number + 1) * config.batch]

        def loss(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            some = [rankings[i] for i in drawn[rows].tolist()]
            scores = model([r.prompt for r in some for _ in r.replies], [reply for r in some for reply in r.replies])
            parts = scores.split([len(r.replies) for r in some])
            return torch.stack([ranking_loss(part) for part in parts]).sum() / config.batch, {}

        return slices.step(optimizer, torch.arange(config.batch), loss)

    history = fit(None, steps, step, {"model": model}, description="reward model", progress=progress)
    return [figures["loss"] for figures in history]


def _whole_batches(n: int, batch: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(n, generator=generator)[: n // batch * batch]


def accuracy(margins: Tensor) -> float:
    """The share of pairs ``[N]`` whose chosen reply has the higher score; an equal score counts half."""
    return float(((margins > 0).double() + 0.5 * (margins == 0).double()).mean())


@dataclass(frozen=True)
class Bin:
    """Some pairs whose predicted probability is similar: their mean prediction, the share that came true, how many."""

    predicted: float
    observed: float
    pairs: int


def calibration(predicted: Tensor, happened: Tensor, bins: int = 5) -> tuple[list[Bin], float]:
    """A reliability table, and the expected calibration error (Guo et al., arXiv:1706.04599, equation 3).

    `predicted` ``[N]``: probabilities; `happened` ``[N]``: 1 where it came true (or the true probability, where that
    is known). Bins have equal width on [0, 1]; empty ones are left out. The error is the mean distance between what
    was predicted and what came true, weighted by pairs. Raises `ValueError` for what is no probability.
    """
    if len(predicted) == 0 or not bool(((predicted >= 0) & (predicted <= 1)).all()):
        raise ValueError("predicted: not all probabilities from 0 to 1, or none at all; give sigmoid(margin)")
    p, y = predicted.double(), happened.double()
    number = (p * bins).long().clamp(max=bins - 1)
    table = []
    for b in range(bins):
        here = number == b
        if here.any():
            table.append(Bin(float(p[here].mean()), float(y[here].mean()), int(here.sum())))
    error = math.fsum(abs(row.predicted - row.observed) * row.pairs for row in table) / len(p)
    return table, error
