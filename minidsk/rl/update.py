"""An update of a policy: all rollouts of a step, in slices of similar length, to one step of the optimizer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

from minidsk.rl.completions import Completions
from minidsk.rl.config import RLConfig
from minidsk.rl.grpo import policy_loss
from minidsk.rl.policy import Policy
from minidsk.rl.rollout import Rollouts
from minidsk.train.graph import GraphedGradients
from minidsk.train.loop import Loss, Slices, gradients
from minidsk.train.optim import Optimizer

WIDTHS = 8  # that completions have where gradients come from graphs
PROMPTS = 8  # the widths of prompts are then multiples of this


def update(
    policy: Policy,
    optimizer: Optimizer,
    slices: Slices,
    rollouts: Rollouts,
    advantages: Tensor,
    config: RLConfig,
    reference: Policy | None = None,
    graphed: GraphedGradients | None = None,
) -> dict[str, Any]:
    """One optimizer step on all rollouts, in slices of similar length; what there was to see.

    Completions with advantage 0 have no gradient and are left out, unless a KL penalty pulls at them. `logp_gap`: the
    largest difference, in nats, between a token's log-probability now and when it was sampled. Before the first update
    of a batch this is what trainer and sampler compute differently. `graphed` computes the gradients, where it is
    given: always of the same policy, reference and settings.
    """
    completions = rollouts.completions
    counts = (advantages.view(len(completions), -1) != 0).any(1) | (config.kl_coef > 0)
    chosen = counts.nonzero().squeeze(1)
    if len(chosen) == 0:
        return {"grad_norm": 0.0, "logp_gap": 0.0}
    gaps: list[Tensor] = []
    whole, compared = completions.mask, completions.mask[chosen].sum()
    credit = advantages if advantages.ndim == 2 else repeat(advantages, "n -> n t", t=whole.shape[1])
    by_length = chosen[completions.lengths[chosen].argsort()]
    of_few_shapes = graphed is not None and graphed.able
    if of_few_shapes:  # the last slice is filled up, which costs least where its texts are short
        by_length, whole = by_length.flip(0), F.pad(whole, (0, config.max_new_tokens - whole.shape[1]))

    def loss(
        credit: Tensor, whole: Tensor, compared: Tensor,
        ids: Tensor, seen: Tensor, tokens: Tensor, mask: Tensor, old: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        some, here = Completions(ids, seen, tokens, mask, old, texts=[], ended=mask[:, -1]), mask.sum()
        logp, entropy = policy.predictions(some)
        gap = ((logp.detach() - old) * mask).abs().max()
        with torch.no_grad():
            ref_logp = reference.logprobs(some) if reference is not None else None
        value, stats = policy_loss(
            logp, old, credit, mask, config.clip_low, config.clip_high, ref_logp, config.kl_coef, config.loss_type,
            config.max_new_tokens, config.kl_estimator, whole,
        )  # fmt: skip
        stats["entropy"] = (entropy * mask).sum() / here
        if reference is None:
            del stats["kl"]
        return value, {**{name: v * (here / compared) for name, v in stats.items()}, "gap": gap}

    def compute(loss: Loss, rows: Tensor) -> dict[str, Tensor]:
        some = completions[rows]
        wanted = credit[rows, : some.tokens.shape[1]]
        if of_few_shapes:
            some = in_few_shapes(some, min(slices.rows, len(completions)), config.max_new_tokens)
            wanted = F.pad(wanted, (0, some.tokens.shape[1] - wanted.shape[1], 0, len(some) - len(rows)))
        columns = (some.ids, some.attention_mask, some.tokens, some.mask, some.logp)
        figures = (graphed or gradients)(loss, wanted, whole, compared, *columns)
        gaps.append(figures.pop("gap"))
        return figures

    return {**slices.step(optimizer, by_length, loss, compute), "logp_gap": torch.stack(gaps).max()}


def in_few_shapes(completions: Completions, rows: int, longest: int) -> Completions:
    """Completions in a table of `rows`, as wide as one of few: those that share a shape share a graph.

    `longest`: the most tokens of a completion, whose eighths the widths are.
    """
    part = -(-longest // WIDTHS)
    prompt = -(-completions.prompt_width // PROMPTS) * PROMPTS
    return completions.filled(rows, prompt, -(-completions.tokens.shape[1] // part) * part)
