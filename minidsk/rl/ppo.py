"""Proximal policy optimisation with a critic (arXiv:1707.06347): what GRPO left out.

A critic guesses, before each token, what the whole answer will be worth; an advantage says how much better things went.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (arXiv:1506.02438, equation 16): advantages and returns, both ``[N, T]``.

    `rewards` ``[N, T]`` follow each token; `values` ``[N, T]`` are the critic's before it; `mask` ``[N, T]``: 1 on
    answers' tokens. ``A_t = sum_l (gamma lam)^l delta_(t+l)``, ``delta_t = r_t + gamma V_(t+1) - V_t``, and nothing is
    expected after an answer's last token. Returns are ``A + V``, what the critic should have said. Where the mask is
    0, wherever that is, the token is passed over and both results are 0.
    """
    if not rewards.shape == values.shape == mask.shape:
        raise ValueError(f"values, mask: shapes {tuple(values.shape)} and {tuple(mask.shape)} do not fit; "
                         f"rewards have {tuple(rewards.shape)}")  # fmt: skip
    here = mask.bool()
    advantages = torch.zeros_like(values)
    ahead = next_value = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        surprise = rewards[:, t] + gamma * next_value - values[:, t]
        ahead = torch.where(here[:, t], surprise + gamma * lam * ahead, ahead)
        next_value = torch.where(here[:, t], values[:, t], next_value)
        advantages[:, t] = ahead
    return advantages.masked_fill(~here, 0.0), (advantages + values).masked_fill(~here, 0.0)


def whiten(values: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """Shift and scale to mean 0 and variance 1 (ddof = 1) over the tokens of `mask` ``[N, T]``; 0 elsewhere."""
    here = mask.to(values.dtype)
    tokens = here.sum()
    centred = (values - (values * here).sum() / tokens) * here
    variance = centred.square().sum() / (tokens - 1).clamp(min=1)
    return centred * (variance + eps).rsqrt()


def token_rewards(
    rewards: Tensor, logp: Tensor, mask: Tensor, ref_logp: Tensor | None = None, kl_coef: float = 0.0
) -> Tensor:
    """The reward of each token ``[N, T]``: that of its answer, `rewards` ``[N]``, on the last one of the mask.

    With `kl_coef`, each token pays ``kl_coef (logp - ref_logp)`` for leaving the reference (InstructGPT,
    arXiv:2203.02155, equation 2): `logp` and `ref_logp` ``[N, T]`` are log-probabilities of the sampled tokens.
    """
    here = mask.to(logp.dtype)
    last = here * (here.flip(1).cumsum(1).flip(1) == 1)
    result = last * rewards.to(logp.dtype)[:, None]
    if kl_coef:
        if ref_logp is None:
            raise ValueError("ref_logp: missing; kl_coef needs the reference model's log-probabilities")
        result = result - kl_coef * (logp - ref_logp) * here
    return result


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float = 0.2) -> Tensor:
    """Half the squared error of the critic, over the tokens of the mask; all arguments ``[N, T]``.

    Values that have moved further than `clip` from `old_values` where that brought them nearer to the returns have no
    gradient: the larger of both errors counts, as in PPO's original code.
    """
    near = old_values + (values - old_values).clamp(-clip, clip)
    worse = torch.maximum((values - returns).square(), (near - returns).square())
    here = mask.to(values.dtype)
    return 0.5 * (worse * here).sum() / here.sum().clamp(min=1)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """How much of the returns' variance a critic explains: 1 all of it, 0 as good as a constant, below 0 worse.

    0 where the returns do not vary: there is nothing to explain.
    """
    here = mask.bool()
    variance = returns[here].var(correction=0)
    left = (returns - values)[here].var(correction=0)
    return torch.where(variance > 1e-8, 1 - left / variance.clamp(min=1e-8), torch.zeros_like(left))
