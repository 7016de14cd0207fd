"""Rollouts: a group of answers to each problem, with the log-probabilities under which they were sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minidsk.data.tokenizer import Tokenizer
from minidsk.infer.generate import left_padded, until_end
from minidsk.model.decoding import decode
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.rewards import REWARDS
from minidsk.tasks.base import Problem


@dataclass
class Rollouts:
    """N = P * G answers, those to one problem side by side.

    ids ``[N, prompt + T]`` with prompts padded on the left; valid, the same shape, False at padding; tokens, old_logp,
    mask ``[N, T]`` of the answers (mask True up to and including the end); texts; rewards ``[P, G]``, the weighted
    sum; parts: each reward by itself ``[P, G]``.
    """

    ids: Tensor
    valid: Tensor
    tokens: Tensor
    old_logp: Tensor
    mask: Tensor
    texts: list[str]
    rewards: Tensor
    parts: dict[str, Tensor]

    @property
    def lengths(self) -> Tensor:
        """Tokens of each answer ``[N]``."""
        return self.mask.sum(1)


def rollout(
    model: Any,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    group: int,
    max_new_tokens: int,
    weights: Mapping[str, float],
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Rollouts:
    """Sample `group` answers to each problem and reward them; `weights` names rewards of `rewards.REWARDS`.

    A model that is not ours needs `.generate` and `.logits` alone: its log-probabilities are computed afterwards.
    """
    unknown = sorted(set(weights) - set(REWARDS))
    if unknown:
        raise ValueError(f"rewards: {unknown[0]!r} is not known; give some of {', '.join(REWARDS)}")
    prompts = [problem.prompt for problem in problems for _ in range(group)]
    ids, valid = left_padded(prompts, tokenizer, model.device)
    width = ids.shape[1]
    options: dict[str, Any] = {"temperature": temperature, "generator": generator, "eos_token_id": tokenizer.eos_id,
               "pad_token_id": tokenizer.pad_id}  # fmt: skip
    if isinstance(model, MiniDeepSeek):
        done = decode(model, ids, max_new_tokens, valid=valid, **options)
        ids, old_logp, mask = done.ids, done.logprobs, done.mask
    else:
        ids, old_logp, mask = _from_outside(model, ids, valid, max_new_tokens, options)
    tokens = ids[:, width:]
    texts = [until_end(row, tokenizer) for row in tokens.tolist()]
    posed = [problem for problem in problems for _ in range(group)]
    parts = {
        name: torch.tensor([REWARDS[name](problem, text) for problem, text in zip(posed, texts, strict=True)])
        .view(-1, group).to(ids.device)
        for name in weights
    }  # fmt: skip
    rewards = torch.stack([weight * parts[name] for name, weight in weights.items()]).sum(0)
    return Rollouts(ids, torch.cat((valid, mask), 1), tokens, old_logp, mask, texts, rewards, parts)


@torch.no_grad()
def _from_outside(
    model: Any, ids: Tensor, valid: Tensor, max_new_tokens: int, options: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    width = ids.shape[1]
    options = {name: value for name, value in options.items() if name != "generator"}
    out = model.generate(ids, attention_mask=valid.long(), max_new_tokens=max_new_tokens, do_sample=True, **options)
    tokens = out[:, width:]
    ended = (tokens == options["eos_token_id"]).long()
    mask = ended.cumsum(1) - ended == 0
    logits = model(out, attention_mask=torch.cat((valid, mask), 1).long()).logits[:, width - 1 : -1]
    old_logp = logits.float().log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return out, old_logp * mask, mask
