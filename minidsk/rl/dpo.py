"""Direct preference optimisation (arXiv:2305.18290): preferences without a reward model and without sampling.

The policy that maximises a reward under a price on KL is known in closed form. Solved for the reward, it says: the
reward of a reply is ``beta log(policy / reference)``, up to a constant that pairs do not see. So the policy is its own
reward model, and the loss of a reward model trains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.rl.completions import Completions, joined
from minidsk.rl.policy import Policy
from minidsk.rl.preferences import Preference
from minidsk.settings import AT_ONCE, LAST_SEED, positive, within
from minidsk.train.loop import Slices, fit
from minidsk.train.optim import OptimConfig, Optimizer

LOSS_TYPES = ("sigmoid", "hinge", "ipo")


@dataclass(frozen=True)
class DPOConfig:
    """`steps` batches of `batch` pairs, drawn anew in an order fixed by `seed`. beta, loss_type: see `dpo_loss`."""

    steps: int = 30
    batch: int = 16
    beta: float = 0.1
    loss_type: str = "sigmoid"
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=2e-4, warmup=5, betas=(0.9, 0.99)))
    seed: int = 0

    def __post_init__(self) -> None:
        positive(self, "steps", "beta")
        within(self, 1, AT_ONCE, "batch")
        within(self, 0, LAST_SEED, "seed")
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


def reply_logprobs(policy: Policy, replies: Completions) -> tuple[Tensor, Tensor]:
    """Log-probabilities of whole replies with their end tokens, in nats, and their numbers of tokens, both ``[N]``."""
    return (policy.logprobs(replies) * replies.mask).sum(1), replies.lengths


def direct_preferences(
    policy: Policy,
    preferences: Sequence[Preference],
    config: DPOConfig,
    *,
    reference: Policy | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train `policy` in place on preferences by DPO; loss and figures (see `dpo_loss`) of each step.

    `reference`: what the implicit reward is measured against; by default `policy` as it is given.
    """
    if not preferences:
        raise ValueError("preferences: none given; give pairs of replies, labelled")
    known = policy.copy() if reference is None else reference
    optimizer, slices = Optimizer(policy.model, config.optim, config.steps), Slices(config.batch)
    generator = torch.Generator().manual_seed(config.seed)

    def step(number: int) -> dict[str, Tensor]:
        optimizer.schedule(number)
        drawn = torch.randint(len(preferences), (config.batch,), generator=generator).tolist()
        some = [preferences[i] for i in drawn]
        chosen, rejected = (policy.encode([p.prompt for p in some], texts)
                            for texts in ([p.chosen for p in some], [p.rejected for p in some]))  # fmt: skip
        pairs = joined([chosen, rejected])

        def loss(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            both = pairs[torch.cat((rows, rows + len(some)))]
            logp, lengths = reply_logprobs(policy, both)
            with torch.no_grad():
                ref_logp, _ = reply_logprobs(known, both)
            (won, lost), (ref_won, ref_lost), (a, b) = logp.chunk(2), ref_logp.chunk(2), lengths.chunk(2)
            value, stats = dpo_loss(won, lost, ref_won, ref_lost, config.beta, config.loss_type, (a, b))
            share = len(rows) / len(some)
            return value * share, {name: figure * share for name, figure in stats.items()}

        return slices.step(optimizer, torch.arange(len(some), device=policy.device), loss)

    return fit(None, config.steps, step, {"policy": policy.model}, description="dpo", progress=progress)


def _known(loss_type: str) -> None:
    if loss_type not in LOSS_TYPES:
        raise ValueError(f"loss_type: {loss_type!r} is not known; give {', '.join(LOSS_TYPES)}")
