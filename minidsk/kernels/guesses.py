"""Greedy guesses, as one kernel each: to take the likeliest token as a guess, and to check the guesses of a round.

See `minidsk.infer.rounds.Rounds`, whose tensors these are, and which does the same in steps. They can read what
`minidsk.kernels.draw` can.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minidsk.kernels.launch import jit, next_power_of_2, tl


def guess(logits: Tensor, text: Tensor, last: Tensor) -> None:
    """Write the likeliest token of `logits` ``[rows, vocab]``, of equal ones the first, into the slot of `text`
    ``[rows, capacity]`` behind `last` ``[rows]``."""
    logits = logits if logits.stride(1) == 1 else logits.contiguous()
    vocab = logits.shape[1]
    _guess[(len(logits),)](logits, logits.stride(0), text, text.stride(0), last, vocab, VOCAB=next_power_of_2(vocab))


@jit
def _guess(logits, logits_row, text, text_row, last, vocab, VOCAB: tl.constexpr):
    row, token = tl.program_id(0).to(tl.int64), tl.arange(0, VOCAB)
    x = tl.load(logits + row * logits_row + token, mask=token < vocab, other=float("-inf")).to(tl.float32)
    tl.store(text + row * text_row + tl.load(last + row) + 1, tl.argmax(x, 0).to(tl.int64))


def check(
    logits: Tensor, text: Tensor, logprobs: Tensor, ends: Tensor, starts: Tensor, done: Tensor, passes: Tensor,
    limit: Tensor, stops: Tensor,
) -> None:  # fmt: skip
    """Keep the guesses that are what the model says, and the token that follows them, and say who is done.

    `logits` ``[rows, n, vocab]`` are the model's after each row's last token and after its n - 1 guesses, which stand
    behind it in `text` ``[rows, capacity]``. All of `Rounds` is changed in place: `text` and `logprobs` get the
    likeliest tokens, `ends` ``[rows]``, which counts all n, loses those that are not kept, and `done` and `passes`
    ``[rows]`` follow. A row that was done keeps nothing. `starts` ``[rows]``, `limit` ``[1]`` and `stops` ``[vocab]``
    are read.
    """
    rows, new, vocab = logits.shape
    logits = logits.contiguous()
    _check[(rows,)](
        logits, text, text.stride(0), logprobs, logprobs.stride(0), ends, starts, done.view(torch.uint8), passes, limit,
        stops.view(torch.uint8), vocab, NEW=new, VOCAB=next_power_of_2(vocab),
    )  # fmt: skip


@jit
def _check(
    logits, text, text_row, logprobs, logprobs_row, ends, starts, done, passes, limit, stops, vocab,
    NEW: tl.constexpr, VOCAB: tl.constexpr,
):  # fmt: skip
    row, token = tl.program_id(0).to(tl.int64), tl.arange(0, VOCAB)
    was_done, last = tl.load(done + row) != 0, tl.load(ends + row) - NEW
    text += row * text_row + last + 1
    logprobs += row * logprobs_row + last + 1
    going, stopped, used = row >= 0, row < 0, tl.zeros((), tl.int32)  # true, false
    for i in tl.static_range(NEW):
        x = tl.load(logits + (row * NEW + i) * vocab + token, mask=token < vocab, other=float("-inf")).to(tl.float32)
        largest, best = tl.max(x, 0), tl.argmax(x, 0)
        tl.store(logprobs + i, -tl.log(tl.sum(tl.exp(x - largest), 0)))
        used += going.to(tl.int32)
        stopped = stopped | (going & (tl.load(stops + best) != 0))
        if i < NEW - 1:
            going = going & (tl.load(text + i) == best)
        tl.store(text + i, best.to(tl.int64))
    used = tl.where(was_done, 0, used)
    tl.store(ends + row, last + used)
    tl.store(passes + row, tl.load(passes + row) + tl.where(was_done, 0, 1))
    written = last + used + 1 - tl.load(starts + row)
    tl.store(done + row, (was_done | stopped | (written >= tl.load(limit))).to(tl.uint8))
