"""PPO's critic: a network of the policy's size says what was to be expected, and learns from what came of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from minidsk.precision import at_least_float32
from minidsk.rl.completions import Completions, over_all
from minidsk.rl.config import CriticConfig
from minidsk.rl.policy import Policy
from minidsk.rl.ppo import explained_variance, gae, token_rewards, value_loss, whiten
from minidsk.rl.rollout import Rollouts
from minidsk.train.loop import Slices
from minidsk.train.optim import Optimizer


class Critic(nn.Module):
    """A copy of a policy's body with a head of one number, at first 0: what a text so far is worth."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy.body()
        self.body = self.policy.model
        wide = at_least_float32(next(policy.parameters()).new_empty(0))
        self.head = nn.Linear(policy.width, 1, bias=False, device=policy.device, dtype=wide.dtype)
        nn.init.zeros_(self.head.weight)

    def forward(self, completions: Completions, after: bool = False) -> Tensor:
        """The value before each token of the completions, or `after` it: ``[N, T]``, float32 or float64."""
        return self.head(at_least_float32(self.policy.hidden(completions, after))).squeeze(-1)


class CriticBaseline:
    """Advantages of each token by `ppo.gae`; the critic learns whenever it is asked. Not kept when the run ends.

    steps: of the run, for the critic's schedule. rows: completions computed at a time. reference: what `kl` is measured
    against by k1, and priced with a `config.kl_coef`; `policy` as it is given where none is and there is a price.
    """

    def __init__(
        self, policy: Policy, config: CriticConfig, steps: int, rows: int = 256, reference: Policy | None = None
    ) -> None:
        self.config, self.slices = config, Slices(rows)
        self.reference = policy.copy() if reference is None and config.kl_coef else reference
        self.critic = Critic(policy)
        self.optimizer = Optimizer(self.critic, config.optim, steps)
        self.parts = {"critic": self.critic, "critic_optimizer": self.optimizer}

    def __call__(self, rollouts: Rollouts, step: int) -> tuple[Tensor, dict[str, Any]]:
        """Advantages ``[N, T]``, 0 for as long as the critic learns alone, and figures."""
        completions = rollouts.completions
        self.optimizer.schedule(step)
        advantages, returns, values, figures = self.judge(rollouts)
        for _ in range(self.config.updates):
            learned = self.learn(completions, values, returns)
        figures |= {"value_loss": learned["loss"], "critic_grad_norm": learned["grad_norm"]}
        body = self.critic.policy  # the reference, where there is one, is of the same size
        figures["flops"] = body.flops(completions, self.config.updates)
        figures["flops"] += body.flops(completions) if self.reference is not None else 0.0
        return torch.zeros_like(advantages) if step < self.config.alone else advantages, figures

    def judge(self, rollouts: Rollouts) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
        """Advantages (whitened where the settings say so), returns and values of all tokens ``[N, T]``, and figures.

        advantage_std: before whitening; explained_variance: how good the critic is; kl and kl_answer: nats away from
        the reference by k1, of a token and of a completion, where there is a reference.
        """
        c, completions, rows = self.config, rollouts.completions, self.slices.rows
        values = over_all(self.critic, completions, rows)
        ref_logp, figures = None, {}
        if self.reference is not None:
            ref_logp = over_all(self.reference.logprobs, completions, rows)
            away = ((completions.logp - ref_logp) * completions.mask).sum()
            figures = {"kl": float(away / completions.mask.sum()), "kl_answer": float(away / len(values))}
        rewards = token_rewards(rollouts.rewards.flatten(), completions.logp, completions.mask, ref_logp, c.kl_coef)
        advantages, returns = gae(rewards, values, completions.mask, c.gamma, c.lam)
        figures["advantage_std"] = float(advantages[completions.mask].std())
        figures["explained_variance"] = float(explained_variance(values, returns, completions.mask))
        return whiten(advantages, completions.mask) if c.whiten else advantages, returns, values, figures

    def learn(self, completions: Completions, old_values: Tensor, returns: Tensor) -> dict[str, Tensor]:
        """One optimizer step of the critic towards the returns."""
        tokens = completions.mask.sum()

        def loss(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            some = completions[rows]
            values = self.critic(some)
            width = values.shape[1]
            old, wanted = old_values[rows, :width], returns[rows, :width]
            value = value_loss(values, old, wanted, some.mask, self.config.value_clip) * (some.mask.sum() / tokens)
            return value, {}

        return self.slices.step(self.optimizer, completions.lengths.argsort(), loss)
