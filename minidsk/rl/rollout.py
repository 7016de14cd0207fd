"""Rollouts: a group of answers to each problem, with the log-probabilities under which they were sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from minidsk.data.tokenizer import Tokenizer
from minidsk.infer.generate import left_padded, until_end
from minidsk.model.decoding import decode
from minidsk.model.recording import Recorder
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.rewards import RewardFunction, score
from minidsk.tasks.base import Problem


@dataclass
class Rollouts:
    """N = P * G answers, those to one problem side by side.

    ids ``[N, prompt + T]`` with prompts padded on the left; valid, the same shape, False at padding; tokens, old_logp,
    mask ``[N, T]`` of the answers (mask True up to and including the end); texts; rewards ``[P, G]``, the weighted
    sum; parts: each reward by itself ``[P, G]``; faults: why the reward of an answer could not be computed, by the
    answer's number. Such an answer has the mean reward of its group (0 where none has one): it then says nothing.
    """

    ids: Tensor
    valid: Tensor
    tokens: Tensor
    old_logp: Tensor
    mask: Tensor
    texts: list[str]
    rewards: Tensor
    parts: dict[str, Tensor]
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each answer ``[N]``."""
        return self.mask.sum(1)

    def groups(self, chosen: Tensor) -> Rollouts:
        """The answers to some of the problems: `chosen` ``[P']``, their numbers."""
        group = self.rewards.shape[1]
        rows = (rearrange(chosen, "p -> p 1") * group + torch.arange(group, device=chosen.device)).flatten()
        at = rows.tolist()
        return Rollouts(
            self.ids[rows], self.valid[rows], self.tokens[rows], self.old_logp[rows], self.mask[rows],
            [self.texts[i] for i in at], self.rewards[chosen], {name: v[chosen] for name, v in self.parts.items()},
            {new: self.faults[old] for new, old in enumerate(at) if old in self.faults},
        )  # fmt: skip


def join(parts: Sequence[Rollouts], pad_id: int) -> Rollouts:
    """Rollouts of the same group size, one after the other; prompts are padded on the left, answers on the right."""
    if len(parts) == 1:
        return parts[0]
    prompt = max(part.ids.shape[1] - part.tokens.shape[1] for part in parts)
    answer = max(part.tokens.shape[1] for part in parts)
    columns: dict[str, list[Tensor]] = {name: [] for name in ("ids", "valid", "tokens", "old_logp", "mask")}
    texts: list[str] = []
    faults: dict[int, str] = {}
    for part in parts:
        right = answer - part.tokens.shape[1]
        left = prompt - (part.ids.shape[1] - part.tokens.shape[1])
        columns["ids"].append(F.pad(part.ids, (left, right), value=pad_id))
        columns["valid"].append(F.pad(part.valid, (left, right), value=False))
        columns["tokens"].append(F.pad(part.tokens, (0, right), value=pad_id))
        columns["old_logp"].append(F.pad(part.old_logp, (0, right)))
        columns["mask"].append(F.pad(part.mask, (0, right), value=False))
        faults.update({len(texts) + i: reason for i, reason in part.faults.items()})
        texts += part.texts
    rewards = torch.cat([part.rewards for part in parts])
    each = {name: torch.cat([part.parts[name] for part in parts]) for name in parts[0].parts}
    return Rollouts(**{name: torch.cat(v) for name, v in columns.items()}, texts=texts, rewards=rewards, parts=each,
                    faults=faults)  # fmt: skip


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
    reward: RewardFunction | None = None,
    recorder: Recorder | None = None,
) -> Rollouts:
    """Sample `group` answers to each problem and reward them; a `recorder` is for who does so often (see `decode`).

    `weights` names rewards of `rewards.REWARDS`, which are summed; where `reward` is given, it alone counts, and they
    are computed to be looked at. A verifier that fails ends nothing (see `rewards.score` and `Rollouts.faults`).

    A model that is not ours needs `.generate` and `.logits` alone: its log-probabilities are computed afterwards.
    """
    prompts = [problem.prompt for problem in problems for _ in range(group)]
    ids, valid = left_padded(prompts, tokenizer, model.device)
    width = ids.shape[1]
    options: dict[str, Any] = {"temperature": temperature, "generator": generator, "eos_token_id": tokenizer.eos_id,
               "pad_token_id": tokenizer.pad_id}  # fmt: skip
    if isinstance(model, MiniDeepSeek):
        done = decode(model, ids, max_new_tokens, valid=valid, recorder=recorder, **options)
        ids, old_logp, mask = done.ids, done.logprobs, done.mask
    else:
        ids, old_logp, mask = _from_outside(model, ids, valid, max_new_tokens, options)
    tokens = ids[:, width:]
    texts = [until_end(row, tokenizer) for row in tokens.tolist()]
    posed = [problem for problem in problems for _ in range(group)]
    scores = score(posed, texts, weights, reward)
    rewards = by_group(scores.total, group).to(ids.device)
    parts = {name: by_group(values, group).to(ids.device) for name, values in scores.parts.items()}
    return Rollouts(ids, torch.cat((valid, mask), 1), tokens, old_logp, mask, texts, rewards, parts, scores.faults)


def by_group(values: Tensor, group: int) -> Tensor:
    """``[N]`` as ``[P, G]``, and where a value is NaN the mean of the others of its group, or 0 if there are none."""
    table = rearrange(values, "(p g) -> p g", g=group)
    mean = repeat(table.nanmean(1).nan_to_num(0.0), "p -> p g", g=group)
    return torch.where(table.isnan(), mean, table)


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
