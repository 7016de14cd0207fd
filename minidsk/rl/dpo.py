"""Direct preference optimisation (arXiv:2305.18290): preferences without a reward model and without sampling.

The policy that maximises a reward under a price on KL is known in closed form. Solved for the reward, it says: the
reward of a reply is ``beta log(policy / reference)``, up to a constant that pairs do not see. So the policy is its own
reward model, and the loss of a reward model trains it.
"""

from __future__ import annotations

import copy
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
from minidsk.rl.grpo import token_logprobs
from minidsk.rl.preferences import Preference
from minidsk.settings import AT_ONCE, LAST_SEED, limits, positive, within
from minidsk.train.device import precision
from minidsk.train.optim import learning_rate, make_optimizers, set_rate
from minidsk.train.sft import collate

LOSS_TYPES = ("sigmoid", "hinge", "ipo")


@dataclass(frozen=True)
class DPOConfig:
    """`steps` batches of `batch` pairs, drawn anew in an order fixed by `seed`. beta, loss_type: see `dpo_loss`."""

    steps: int = 30
    batch: int = 16
    beta: float = 0.1
    loss_type: str = "sigmoid"
    lr: float = 2e-4
    warmup: int = 5
    decay: float = 0.5
    weight_decay: float = 0.0
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        positive(self, "steps", "beta", "lr")
        within(self, 1, AT_ONCE, "batch")
        within(self, 0, math.inf, "warmup", "weight_decay")
        within(self, 0, 1, "decay")
        within(self, 0, LAST_SEED, "seed")
        limits(self, "clip")
        _known(self.loss_type)


def dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    beta: float = 0.1,
    loss_type: str = "sigmoid",
    lengths: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """DPO's loss (equation 7) and its relatives, as TRL defines them, from log-probabilities of whole replies ``[N]``.

    With ``margin = (chosen - ref_chosen) - (rejected - ref_rejected)``: "sigmoid", ``-log sigmoid(beta margin)``;
    "hinge" (SLiC, arXiv:2305.10425), ``max(0, 1 - beta margin)``; "ipo" (arXiv:2310.12036, equation 17),
    ``(margin - 1 / (2 beta))^2``, where both ratios are first divided by `lengths`, the tokens of the chosen and of the
    rejected replies ``[N]``. Returns the mean over pairs and detached scalars: `accuracy`, the share of pairs in the
    labelled order; `margin`, ``beta margin``; `chosen` and `rejected`, the implicit rewards.
    """
    _known(loss_type)
    won, lost = chosen - ref_chosen, rejected - ref_rejected
    margin = won - lost
    if loss_type == "sigmoid":
        losses = -F.logsigmoid(beta * margin)
    elif loss_type == "hinge":
        losses = (1 - beta * margin).clamp(min=0)
    else:
        if lengths is None:
            raise ValueError("lengths: missing; ipo divides by the tokens of each reply")
        losses = (won / lengths[0] - lost / lengths[1] - 1 / (2 * beta)).square()
    with torch.no_grad():
        stats = {"accuracy": (margin > 0).double().mean(), "margin": beta * margin.mean(),
                 "chosen": beta * won.mean(), "rejected": beta * lost.mean()}  # fmt: skip
    return losses.mean(), stats


def reply_logprobs(
    model: MiniDeepSeek, tokenizer: Tokenizer, prompts: Sequence[str], replies: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of whole replies with their end tokens, in nats, and their numbers of tokens, both ``[N]``."""
    ids, learnt = (t.to(model.device) for t in collate(list(zip(prompts, replies, strict=True)), tokenizer))
    with precision(model.device), any_width():
        logits = model(ids[:, :-1], mtp=False).logits
    logp, _ = token_logprobs(logits, ids[:, 1:])
    here = learnt[:, 1:]
    return (logp * here).sum(1), here.sum(1)


def direct_preferences(
    model: MiniDeepSeek,
    tokenizer: Tokenizer,
    preferences: Sequence[Preference],
    config: DPOConfig,
    *,
    reference: MiniDeepSeek | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train `model` in place on preferences by DPO; loss and figures (see `dpo_loss`) of each step.

    `reference`: the model that the implicit reward is measured against; by default `model` as it is given.
    """
    if not preferences:
        raise ValueError("preferences: none given; give pairs of replies, labelled")
    reference = copy.deepcopy(model) if reference is None else reference
    optimizers = make_optimizers(model, config.lr, config.weight_decay, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(config.seed)
    history = []
    for step in tqdm(range(config.steps), desc="dpo", disable=not progress):
        set_rate(optimizers, learning_rate(step, config.steps, config.lr, config.warmup, config.decay))
        drawn = torch.randint(len(preferences), (config.batch,), generator=generator).tolist()
        some = [preferences[i] for i in drawn]
        prompts, replies = [p.prompt for p in some] * 2, [p.chosen for p in some] + [p.rejected for p in some]
        logp, tokens = reply_logprobs(model, tokenizer, prompts, replies)
        with torch.no_grad():
            known, _ = reply_logprobs(reference, tokenizer, prompts, replies)
        (chosen, rejected), (ref_chosen, ref_rejected), (a, b) = logp.chunk(2), known.chunk(2), tokens.chunk(2)
        loss, stats = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, config.beta, config.loss_type, (a, b))
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for optimizer in optimizers:
            if bool(norm.isfinite()):
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        history.append({"loss": float(loss.detach()), **{name: float(value) for name, value in stats.items()}})
    return history


def _known(loss_type: str) -> None:
    if loss_type not in LOSS_TYPES:
        raise ValueError(f"loss_type: {loss_type!r} is not known; give {', '.join(LOSS_TYPES)}")
