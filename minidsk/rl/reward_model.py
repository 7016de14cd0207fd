"""A reward model: a language model that learned from preferences how much people would like a reply.

Its labels say which of two replies is better, never how good one is. Bradley and Terry (1952) turn the one into the
other: give each reply a score, and let the difference of two scores be the log-odds that the first is preferred.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from minidsk.data.tokenizer import Tokenizer
from minidsk.model.attention import any_width
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.actor_critic import critic_of
from minidsk.rl.preferences import Preference, Ranking
from minidsk.settings import AT_ONCE, LAST_SEED, limits, positive, within
from minidsk.tasks.base import Problem
from minidsk.train.device import precision
from minidsk.train.optim import learning_rate, make_optimizers, set_rate
from minidsk.train.sft import collate


@dataclass(frozen=True)
class RewardModelConfig:
    """One run over the rankings, `epochs` times, in batches of `batch` rankings, shuffled by `seed`."""

    epochs: int = 1
    batch: int = 8
    lr: float = 2e-3
    warmup: int = 5
    decay: float = 0.5
    weight_decay: float = 0.0
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        positive(self, "epochs", "lr")
        within(self, 1, AT_ONCE, "batch")
        within(self, 0, math.inf, "warmup", "weight_decay")
        within(self, 0, 1, "decay")
        within(self, 0, LAST_SEED, "seed")
        limits(self, "clip")


class RewardModel(nn.Module):
    """The body of a language model with a head of one number, read at the end of the reply (InstructGPT, section 3.5).

    It starts as a copy of `model`, which stays as it is, and at first gives every reply 0.
    """

    def __init__(self, model: MiniDeepSeek, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.body, self.tokenizer = critic_of(model), tokenizer
        self.offset: Tensor
        self.register_buffer("offset", torch.zeros((), device=model.device))

    def forward(self, prompts: Sequence[str], replies: Sequence[str]) -> Tensor:
        """Scores ``[N]`` of replies to prompts."""
        ids, learnt = collate(list(zip(prompts, replies, strict=True)), self.tokenizer)
        # The last token to be learnt is the end; padding stands behind it, where causal attention does not look.
        end = ids.shape[1] - 1 - learnt.flip(1).long().argmax(1)
        with precision(self.body.device), any_width():
            scores = self.body(ids.to(self.body.device), mtp=False).logits
        return scores[torch.arange(len(ids)), end, 0].float() - self.offset

    @torch.no_grad()
    def score(self, prompts: Sequence[str], replies: Sequence[str], rows: int = 256) -> Tensor:
        """The same without gradient, `rows` at a time and those of similar length together."""
        order = sorted(range(len(replies)), key=lambda i: len(prompts[i]) + len(replies[i]))
        scores = torch.zeros(len(replies), device=self.offset.device)
        for start in range(0, len(order), rows):
            part = order[start : start + rows]
            scores[part] = self([prompts[i] for i in part], [replies[i] for i in part])
        return scores

    def reward(self, problems: list[Problem], replies: list[str]) -> Tensor:
        """Scores ``[N]`` in the form that `reinforce` and `reinforce_with_critic` take as their `reward`."""
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
    optimizers = make_optimizers(model, config.lr, config.weight_decay)
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.cat([_whole_batches(len(rankings), config.batch, generator) for _ in range(config.epochs)])
    history = []
    for step, drawn in enumerate(tqdm(order.split(config.batch), desc="reward model", disable=not progress)):
        set_rate(optimizers, learning_rate(step, steps, config.lr, config.warmup, config.decay))
        some = [rankings[i] for i in drawn.tolist()]
        scores = model([r.prompt for r in some for _ in r.replies], [reply for r in some for reply in r.replies])
        loss = torch.stack([ranking_loss(part) for part in scores.split([len(r.replies) for r in some])]).mean()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for optimizer in optimizers:
            if bool(norm.isfinite()):
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        history.append(float(loss.detach()))
    return history


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
