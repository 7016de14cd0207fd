"""Group relative policy optimisation (DeepSeekMath, arXiv:2402.03300) and its relatives, as TRL defines them.

Several answers to one question are each other's baseline: the advantage of an answer is its reward minus the mean of
its group, and no critic is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minidsk.rl.kl import kl_estimate

SCALES = ("group", "batch", "none")
LOSS_TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo")


def group_advantages(rewards: Tensor, scale: str = "group", eps: float = 1e-4) -> Tensor:
    """How much better than its group each answer did: `rewards` ``[P, G]`` to advantages ``[P, G]``.

    scale: what the difference from the group's mean is divided by: "group", the group's standard deviation (ddof = 1)
    plus `eps`, as in DeepSeekMath; "batch", that of all rewards together; "none", nothing, as in Dr. GRPO
    (arXiv:2503.20783). A group whose rewards are all equal has advantage 0. Raises `ValueError` for rewards that are
    not finite, and for groups of one.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(
            f"rewards: shape {tuple(rewards.shape)} does not fit; give [problems, group], groups of 2 or more"
        )
    if not torch.isfinite(rewards).all():
        raise ValueError("rewards: not all finite; a verifier must return a number for every answer")
    advantages = rewards - rewards.mean(dim=1, keepdim=True)
    # The mean of equal numbers may be off by a rounding error; nothing shall be learned from that.
    advantages = advantages.masked_fill(rewards.amax(1, keepdim=True) == rewards.amin(1, keepdim=True), 0.0)
    if scale == "group":
        return advantages / (rewards.std(dim=1, keepdim=True) + eps)
    if scale == "batch":
        return advantages / (rewards.std() + eps)
    if scale == "none":
        return advantages
    raise ValueError(f"scale: {scale!r} is not known; give {', '.join(SCALES)}")


def policy_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    ref_logp: Tensor | None = None,
    kl_coef: float = 0.0,
    loss_type: str = "grpo",
    max_length: int | None = None,
    kl_estimator: str = "k3",
    whole: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped surrogate of PPO (arXiv:1707.06347, equation 7) with one advantage an answer, and what to watch.

    `logp` and `old_logp` ``[N, T]``: log-probabilities of the sampled tokens now, and when they were sampled;
    `advantages` ``[N]``, or ``[N, T]`` where a critic tells tokens apart; `mask` ``[N, T]``: 1 on answers' tokens, up
    to and including the end. With `kl_coef`, that times `kl.kl_estimate` against `ref_logp` is added to each token
    (DeepSeekMath, equation 3). Infinite bounds leave the ratio as it is.

    loss_type, how tokens are averaged: "grpo", within each answer, then over answers; "bnpo", over all tokens;
    "dr_grpo", sum over all tokens divided by ``N * max_length``; "dapo" (arXiv:2503.14476), over all tokens of the
    whole batch, which for one batch is "bnpo". Two more change the ratio: "gspo" (arXiv:2507.18071) averages as "grpo"
    and gives all tokens of an answer one ratio, the geometric mean of theirs; "cispo" (arXiv:2506.13585) averages as
    "dapo" and weighs the log-probability of each token by its clipped ratio, so that no token loses its gradient.

    `whole`: the mask of a whole batch of which these are some answers; the losses of its parts then add up to its own.
    Returns the loss and detached scalars: `ratio`, `clipped_low`, `clipped_high`, `kl`. Clipped are the tokens whose
    gradient the clip takes away; with "cispo", those whose weight it changes.
    """
    if loss_type not in LOSS_TYPES:
        raise ValueError(f"loss_type: {loss_type!r} is not known; give {', '.join(LOSS_TYPES)}")
    mask = mask.to(logp.dtype)
    advantage = advantages.unsqueeze(1) if advantages.ndim == 1 else advantages
    change = logp - old_logp
    if loss_type == "gspo":
        change = ((change * mask).sum(1) / mask.sum(1).clamp(min=1)).unsqueeze(1).expand_as(change)
    ratio = change.exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    if loss_type == "cispo":
        losses = -clipped.detach() * advantage * logp
    else:
        losses = -torch.minimum(ratio * advantage, clipped * advantage)
    kl = torch.zeros_like(logp)
    if ref_logp is not None:
        kl = kl_estimate(logp, ref_logp, kl_estimator)
    elif kl_coef:
        raise ValueError("ref_logp: missing; kl_coef needs the reference model's log-probabilities")
    if kl_coef:
        losses = losses + kl_coef * kl
    masked = losses * mask
    whole = mask if whole is None else whole
    if loss_type in ("grpo", "gspo"):
        loss = (masked.sum(1) / mask.sum(1).clamp(min=1)).sum() / len(whole)
    elif loss_type == "dr_grpo":
        loss = masked.sum() / (len(whole) * (max_length or logp.shape[1]))
    else:
        loss = masked.sum() / whole.sum().clamp(min=1)
    with torch.no_grad():
        tokens = mask.sum().clamp(min=1)
        both = loss_type == "cispo"
        low = ((ratio < 1 - clip_low) & ((advantage < 0) | both)) * mask
        high = ((ratio > 1 + clip_high) & ((advantage > 0) | both)) * mask
        stats = {"ratio": (ratio * mask).sum() / tokens, "clipped_low": low.sum() / tokens,
                 "clipped_high": high.sum() / tokens, "kl": (kl * mask).sum() / tokens}  # fmt: skip
    return loss, stats
