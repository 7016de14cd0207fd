"""A token for each row from its logits, as one kernel: the noise, the race of all tokens, and what the winner costs.

In steps this is `minidsk.infer.sampling` and `minidsk.infer.noise`, some twenty kernels of a few microseconds each for
what fits into the registers of a warp. The noise is the same, because it is a hash of where it is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from minidsk.kernels.launch import can_run, jit, next_power_of_2, tl

MOST = 4096
"""Tokens in a vocabulary, all of which a program holds."""


class Hash(NamedTuple):
    """The constants of `minidsk.infer.noise`: how far a place is from the next, two factors, a sign, and what makes a
    number of 63 bits one below 1."""

    place: int
    first: int
    second: int
    negative: int
    unit: float


def can_draw(logits: Tensor) -> bool:
    """Whether the kernel can draw from `logits` ``[rows, vocab]``."""
    return logits.numel() > 0 and logits.shape[1] <= MOST and can_run(logits)


def draw(
    logits: Tensor, temperature: float, streams: Tensor, entries: Tensor, constants: Hash, place: Tensor,
    tokens: Tensor, logprobs: Tensor,
) -> Tensor:  # fmt: skip
    """Draw a token for each row from `logits` ``[rows, vocab]``, int64 ``[rows]``, and move its noise on by a place.

    It goes into `tokens` ``[rows, new]`` at `place` ``[1]``, its log-probability at temperature 1 into `logprobs`
    ``[rows, new]`` (float32). The noise is that of `minidsk.infer.noise.Noise`, with its `streams` ``[rows]`` and
    `entries` ``[vocab]``. At temperature 0 the likeliest token is taken, of equal ones the first, and no noise. To be
    called where `can_draw`.
    """
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    drawn = torch.empty(len(logits), dtype=torch.long, device=logits.device)
    _draw[(len(logits),)](
        logits, logits.stride(0), streams, entries, place, tokens, tokens.stride(0), logprobs, logprobs.stride(0),
        drawn, logits.shape[1], temperature or 1.0,
        GREEDY=temperature == 0, PLACE=constants.place, FIRST=constants.first, SECOND=constants.second,
        NEGATIVE=constants.negative, UNIT=constants.unit,
        VOCAB=next_power_of_2(logits.shape[1]), num_warps=1 if logits.shape[1] <= 512 else 4,
    )  # fmt: skip
    return drawn


@jit
def _draw(
    logits, logits_row, streams, entries, place, tokens, tokens_row, logprobs, logprobs_row, drawn, vocab, temperature,
    GREEDY: tl.constexpr, PLACE: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr,
    NEGATIVE: tl.constexpr, UNIT: tl.constexpr, VOCAB: tl.constexpr,
):  # fmt: skip
    row, token = tl.program_id(0).to(tl.int64), tl.arange(0, VOCAB)
    known = token < vocab
    x = tl.load(logits + row * logits_row + token, mask=known, other=float("-inf")).to(tl.float32)
    largest = tl.max(x, 0)
    if GREEDY:
        best = tl.argmax(x, 0)
    else:
        stream = tl.load(streams + row)
        tl.store(streams + row, stream + PLACE)
        h = stream + tl.load(entries + token, mask=known, other=0)
        h = (h ^ (h >> 32)) * FIRST
        h = (h ^ (h >> 29)) * SECOND
        # The logarithm of a uniform number. Its float64 is fine near log 1, and where even that is 0, this is log1p.
        minus = ((h | NEGATIVE).to(tl.float32) * UNIT).to(tl.float64)
        noise = tl.minimum(tl.log(1.0 + minus), minus).to(tl.float32)
        best = tl.argmin(tl.where(known, tl.exp((x - largest) / temperature) / noise, float("inf")), 0)
    at = tl.load(place)
    cost = tl.sum(tl.where(token == best, x - largest, 0.0), 0) - tl.log(tl.sum(tl.exp(x - largest), 0))
    tl.store(tokens + row * tokens_row + at, best.to(tl.int64))
    tl.store(logprobs + row * logprobs_row + at, cost)
    tl.store(drawn + row, best.to(tl.int64))
