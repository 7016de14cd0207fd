"""What a model says about answers that were sampled before: one pass over prompts and answers, padding left out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minidsk.model.attention import any_width
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.grpo import token_logprobs
from minidsk.rl.rollout import Rollouts
from minidsk.train.device import precision


def answer_outputs(model: MiniDeepSeek, sampled: Rollouts, rows: Tensor) -> Tensor:
    """What `model` puts out before each token of the answers in `rows`, ``[rows, T', out]``, T' the longest of them.

    For a language model these are logits ``[.., vocab]``, for a critic values ``[.., 1]``. Prompts lose their padding
    and stand at position 0, so that attention needs no mask but the causal one.
    """
    width = sampled.ids.shape[1] - sampled.tokens.shape[1]
    longest = int(sampled.lengths[rows].max())
    padding = (~sampled.valid[rows, :width]).sum(1)
    shortest = int(padding.min())
    ids = sampled.ids[rows, shortest : width + longest]
    place = torch.arange(ids.shape[1], device=ids.device) + (padding - shortest)[:, None]
    ids = ids.gather(1, place.clamp(max=ids.shape[1] - 1))
    # The answer of a row starts where its prompt ends; the outputs before each token predict it.
    begin = width - padding - 1
    at = begin[:, None] + torch.arange(longest, device=ids.device)
    with any_width():
        everywhere = model(ids, mtp=False).logits
    return everywhere.gather(1, at.unsqueeze(-1).expand(-1, -1, everywhere.shape[-1]))


def answer_logprobs(model: MiniDeepSeek, sampled: Rollouts, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of the answers in `rows`, ``[rows, T']`` with T' the longest of them."""
    logits = answer_outputs(model, sampled, rows)
    return token_logprobs(logits, sampled.tokens[rows, : logits.shape[1]])


@torch.no_grad()
def over_all(compute: Callable[[Tensor], Tensor], sampled: Rollouts, rows: int) -> Tensor:
    """`compute` of all answers, ``[N, T]`` float32 and 0 behind their ends, in slices of `rows` of similar length.

    `compute` maps the numbers of some answers to their ``[rows, T']``, such as the first part of `answer_logprobs`.
    """
    result = torch.zeros(sampled.mask.shape, device=sampled.mask.device)
    for part in sampled.lengths.argsort().split(rows):
        with precision(sampled.ids.device):
            values = compute(part)
        result[part, : values.shape[1]] = values.float()
    return result * sampled.mask
