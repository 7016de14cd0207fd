"""A step of decoding by latent attention as one kernel: new keys are normed, turned and kept, and attention is done.

A program has one new token of a text, with all its heads as the rows of its products: they share their keys, which are
the latents that it reads once, from where the text begins. The softmax is kept online, as in `attention`. It begins
with the token itself, whose key never leaves the registers for it, and goes on with the other new tokens before it,
whose keys are made again, because nobody knows whether their own programs have written them yet.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minidsk.kernels.launch import INTERPRETED, can_run, jit, next_power_of_2, tl
from minidsk.kernels.rmsnorm import rms_norm_reference
from minidsk.kernels.rotary import rotate_reference

MOST = 16 * 512
"""Sums, heads times the latent's width, that fit into a program's registers."""
LEAST = 16
"""Rows and columns that a product has at least."""
MANY = 512
"""Tokens whose programs fill a GPU: of fewer, each program reads more at a time, so that it is done sooner."""
SLOTS, WARPS = (32, 128), (1, 4)  # that are read at a time, and of a program; of many tokens and of few


def latent_attention_reference(
    q: Tensor, q_rope: Tensor, kv: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, entries: Tensor, begins: Tensor,
    slots: Tensor, scale: float, eps: float = 1e-6, interleave: bool = True,
) -> Tensor:  # fmt: skip
    """The same in steps; see `latent_attention`."""
    rank, rows = q.shape[3], torch.arange(len(q), device=q.device)[:, None]
    key = rotate_reference(kv[..., rank:], cos, sin, interleave)
    entries[rows, slots] = torch.cat((rms_norm_reference(kv[..., :rank], weight, eps), key), -1).to(entries.dtype)
    q = torch.cat((q, rotate_reference(q_rope, cos[:, None], sin[:, None], interleave)), -1)
    scores = (q @ entries.mT[:, None]).to(torch.float64 if q.dtype == torch.float64 else torch.float32) * scale
    places = torch.arange(entries.shape[1], device=q.device)
    seen = (places >= begins[:, None, None]) & (places <= slots[..., None]) | (places == slots[..., None])
    weights = scores.masked_fill(~seen[:, None], -math.inf).softmax(-1).to(entries.dtype)
    return weights @ entries[:, None, :, :rank]


def latent_attention(
    q: Tensor, q_rope: Tensor, kv: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, entries: Tensor, begins: Tensor,
    slots: Tensor, scale: float, eps: float = 1e-6, interleave: bool = True,
) -> Tensor:  # fmt: skip
    """What the heads of a few new tokens of each text mix from the latents, ``[batch, heads, new, rank]``; without a
    gradient.

    `q` ``[batch, heads, new, rank]``: queries in the latent space. `q_rope` ``[batch, heads, new, rope]`` and `kv`
    ``[batch, new, rank + rope]``: their other part, and each token's latent beside its key, as they come from their
    products: latents are normed with `weight` ``[rank]`` and `eps`, keys and queries turned by `cos` and `sin`
    ``[batch or 1, new, rope / 2]``. `entries` ``[batch, capacity, rank + rope]`` holds the tokens before, from slot
    `begins` ``[batch]`` on; the new ones are written into `slots` ``[batch, new]``, which follow each other. A token
    sees itself even where its text begins later, as padding does.

    By the kernel where it can run, else by the reference.
    """
    batch, heads, new, rank = q.shape
    tile = max(next_power_of_2(heads or 1), LEAST), max(next_power_of_2(rank or 1), LEAST)
    fits = 0 not in (q.numel(), q_rope.numel()) and tile[0] * tile[1] <= MOST
    if not fits or not can_run(q, q_rope, kv, weight, cos, sin, entries):
        return latent_attention_reference(
            q, q_rope, kv, weight, cos, sin, entries, begins, slots, scale, eps, interleave
        )
    half, few = q_rope.shape[3] // 2, batch * new < MANY
    slots_at_once = max(min(SLOTS[few], MOST // tile[1]), LEAST)
    q, q_rope, kv, entries = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, q_rope, kv, entries))
    cos, sin = (angle.expand(batch, -1, -1).contiguous() for angle in (cos, sin))
    mixed = torch.empty(batch, new, heads, rank, dtype=entries.dtype, device=q.device)  # as the output reads it
    _latent_attention[(batch, new)](
        q, *q.stride()[:3], q_rope, *q_rope.stride()[:3], kv, *kv.stride()[:2], weight, cos, sin,
        entries, *entries.stride()[:2], begins, slots, slots.stride(0), mixed, heads, new, rank, half,
        scale * math.log2(math.e), eps,
        INTERLEAVE=interleave, HEADS=tile[0], RANK=tile[1],
        ROPE=max(2 * next_power_of_2(half), LEAST), SLOTS=slots_at_once,
        WIDE=INTERPRETED,  # which multiplies bfloat16 wrongly
        num_warps=max(WARPS[few], tile[1] // 64), num_stages=2,
    )  # fmt: skip
    return mixed.transpose(1, 2)


@jit
def _turned(x, cos, sin, half, mask, INTERLEAVE: tl.constexpr, ROPE: tl.constexpr):
    """The pairs at `x` turned by the angles at `cos` and `sin`, first members first, float32 ``[..., ROPE]``."""
    pair = tl.arange(0, ROPE)
    late = pair >= half
    turn = tl.where(late, pair - half, pair)
    is_pair = pair < 2 * half
    first = 2 * turn if INTERLEAVE else turn
    second = 2 * turn + 1 if INTERLEAVE else turn + half
    c = tl.load(cos + turn, mask=is_pair, other=0.0).to(tl.float32)
    s = tl.load(sin + turn, mask=is_pair, other=0.0).to(tl.float32)
    a = tl.load(x + first, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(x + second, mask=mask, other=0.0).to(tl.float32)
    return a * tl.where(late, s, c) + b * tl.where(late, c, -s)


@jit
def _memory(
    kv, weight, cos, sin, rank, half, eps, entries,
    INTERLEAVE: tl.constexpr, RANK: tl.constexpr, ROPE: tl.constexpr,
):  # fmt: skip
    """What is remembered of the token whose products are at `kv`: its latent ``[RANK]`` and its key ``[ROPE]``, in the
    dtype of `entries`."""
    column = tl.arange(0, RANK)
    x = tl.load(kv + column, mask=column < rank, other=0.0).to(tl.float32)
    normed = x * tl.rsqrt(tl.sum(x * x, 0) / rank + eps)
    weights = tl.load(weight + column, mask=column < rank, other=0.0).to(tl.float32)
    latent = weights * normed.to(kv.dtype.element_ty).to(tl.float32)  # rounded before its weight, as in `rmsnorm`
    key = _turned(kv + rank, cos, sin, half, tl.arange(0, ROPE) < 2 * half, INTERLEAVE, ROPE)
    return latent.to(entries.dtype.element_ty), key.to(entries.dtype.element_ty)


@jit
def _latent_attention(
    q, q_row, q_head, q_time, q_rope, rope_row, rope_head, rope_time, kv, kv_row, kv_time, weight, cos, sin,
    entries, entry_row, entry_slot, begins, slots, slots_row, mixed, heads, new, rank, half, scale, eps,
    INTERLEAVE: tl.constexpr, HEADS: tl.constexpr, RANK: tl.constexpr, ROPE: tl.constexpr, SLOTS: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    row, time = tl.program_id(0).to(tl.int64), tl.program_id(1)
    begin, slot = tl.load(begins + row), tl.load(slots + row * slots_row + time)
    entries += row * entry_row
    kv += row * kv_row
    cos += row * new * half
    sin += row * new * half
    dtype = entries.dtype.element_ty
    factor = tl.float32 if WIDE else dtype
    head, column, pair = tl.arange(0, HEADS), tl.arange(0, RANK), tl.arange(0, ROPE)
    is_head, is_column, is_pair = head < heads, column < rank, pair < 2 * half

    latent, key = _memory(
        kv + time * kv_time, weight, cos + time * half, sin + time * half, rank, half, eps, entries, INTERLEAVE, RANK,
        ROPE,
    )  # fmt: skip
    tl.store(entries + slot * entry_slot + column, latent, mask=is_column)
    tl.store(entries + slot * entry_slot + rank + pair, key, mask=is_pair)

    inside = is_head[:, None] & is_column[None, :]
    at = q + row * q_row + head[:, None] * q_head + time * q_time
    of_latent = tl.load(at + column[None, :], mask=inside, other=0.0)
    of_key = _turned(
        q_rope + row * rope_row + head[:, None] * rope_head + time * rope_time, cos + time * half, sin + time * half,
        half, is_head[:, None] & is_pair[None, :], INTERLEAVE, ROPE,
    )  # fmt: skip
    of_latent, of_key = of_latent.to(dtype), of_key.to(dtype)
    latent_q, key_q = of_latent.to(tl.float32), of_key.to(tl.float32)

    own = latent.to(tl.float32)[None, :]
    largest = (tl.sum(latent_q * own, 1) + tl.sum(key_q * key.to(tl.float32)[None, :], 1)) * scale
    total = tl.full([HEADS], 1.0, tl.float32)
    sums = tl.zeros([HEADS, RANK], tl.float32) + own
    opened = slot - time  # where the first new token is
    for before in range(tl.maximum(begin - opened, 0).to(tl.int32), time):
        latent, key = _memory(
            kv + before * kv_time, weight, cos + before * half, sin + before * half, rank, half, eps, entries,
            INTERLEAVE, RANK, ROPE,
        )  # fmt: skip
        own = latent.to(tl.float32)[None, :]
        score = (tl.sum(latent_q * own, 1) + tl.sum(key_q * key.to(tl.float32)[None, :], 1)) * scale
        higher = tl.maximum(largest, score)
        shrink, p = tl.exp2(largest - higher), tl.exp2(score - higher)
        total = total * shrink + p
        sums = sums * shrink[:, None] + p[:, None] * own
        largest = higher
    for start in range(begin, opened, SLOTS):
        place = start + tl.arange(0, SLOTS)
        old = place < opened
        entry = entries + place.to(tl.int64)[:, None] * entry_slot
        latents = tl.load(entry + column[None, :], mask=old[:, None] & is_column[None, :], other=0.0).to(factor)
        keys = tl.load(entry + rank + pair[None, :], mask=old[:, None] & is_pair[None, :], other=0.0).to(factor)
        scores = tl.dot(of_latent.to(factor), latents.T, input_precision="ieee")
        scores = tl.dot(of_key.to(factor), keys.T, scores, input_precision="ieee") * scale
        scores = tl.where(old[None, :], scores, float("-inf"))
        higher = tl.maximum(largest, tl.max(scores, 1))
        shrink = tl.exp2(largest - higher)
        shares = tl.exp2(scores - higher[:, None])
        total = total * shrink + tl.sum(shares, 1)
        sums = tl.dot(shares.to(dtype).to(factor), latents, sums * shrink[:, None], input_precision="ieee")
        largest = higher
    to = mixed + ((row * new + time) * heads + head[:, None]) * rank + column[None, :]
    tl.store(to, (sums / total[:, None]).to(dtype), mask=inside)
