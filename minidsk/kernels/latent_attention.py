"""A step of decoding by latent attention as one kernel: a token's key is normed, turned and kept, and attention done.

A program has one text, and all heads of its new token as the rows of its products: they share their keys, which are the
latents that it reads once, from where the text begins to where it ends. The softmax is kept online, as in `attention`,
and begins with the new token itself, whose key never leaves the registers for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minidsk.kernels.launch import INTERPRETED, can_run, jit, next_power_of_2, tl
from minidsk.kernels.rmsnorm import rms_norm_reference
from minidsk.kernels.rotary import rotate_reference

WIDEST = 512
"""The widest latent whose sums fit into a program's registers; DeepSeek-V3's."""
LEAST = 16
"""Rows and columns that a product has at least."""
SLOTS = 32  # that are read at a time


def latent_attention_reference(
    q: Tensor, q_rope: Tensor, kv: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, entries: Tensor, begins: Tensor,
    slots: Tensor, scale: float, eps: float = 1e-6, interleave: bool = True,
) -> Tensor:  # fmt: skip
    """The same in steps; see `latent_attention`."""
    rank, rows = q.shape[2], torch.arange(len(q), device=q.device)
    key = rotate_reference(kv[:, rank:], cos, sin, interleave)
    entries[rows, slots] = torch.cat((rms_norm_reference(kv[:, :rank], weight, eps), key), 1).to(entries.dtype)
    q = torch.cat((q, rotate_reference(q_rope, cos[:, None], sin[:, None], interleave)), 2)
    scores = (q @ entries.mT).to(torch.float64 if q.dtype == torch.float64 else torch.float32) * scale
    places = torch.arange(entries.shape[1], device=q.device)
    seen = (places >= begins[:, None]) & (places <= slots[:, None])
    weights = scores.masked_fill(~seen[:, None], -math.inf).softmax(-1).to(entries.dtype)
    return weights @ entries[..., :rank]


def latent_attention(
    q: Tensor, q_rope: Tensor, kv: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, entries: Tensor, begins: Tensor,
    slots: Tensor, scale: float, eps: float = 1e-6, interleave: bool = True,
) -> Tensor:  # fmt: skip
    """What the heads of one new token of each text mix from the latents, ``[batch, heads, rank]``; without a gradient.

    `q` ``[batch, heads, rank]``: queries in the latent space. `q_rope` ``[batch, heads, rope]`` and `kv` ``[batch, rank
    + rope]``: their other part, and the new token's latent beside its key, as they come from their products: the latent
    is normed with `weight` ``[rank]`` and `eps`, and keys and queries are turned by `cos` and `sin`
    ``[batch, rope / 2]``. `entries` ``[batch, capacity, rank + rope]`` holds the tokens before, from slot `begins`
    ``[batch]`` on; the new one is written into slot `slots` ``[batch]``.

    By the kernel where it can run, else by the reference.
    """
    if 0 in (q.numel(), q_rope.numel()) or q.shape[2] > WIDEST or not can_run(q, q_rope, kv, weight, cos, sin, entries):
        return latent_attention_reference(
            q, q_rope, kv, weight, cos, sin, entries, begins, slots, scale, eps, interleave
        )
    batch, heads, rank = q.shape
    half = q_rope.shape[2] // 2
    q, q_rope, kv, entries = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, q_rope, kv, entries))
    cos, sin = cos.expand(batch, -1).contiguous(), sin.expand(batch, -1).contiguous()
    mixed = torch.empty(batch, heads, rank, dtype=entries.dtype, device=q.device)
    _latent_attention[(batch,)](
        q, *q.stride()[:2], q_rope, *q_rope.stride()[:2], kv, kv.stride(0), weight, cos, sin,
        entries, *entries.stride()[:2], begins, slots, mixed, heads, rank, half, scale * math.log2(math.e), eps,
        INTERLEAVE=interleave, HEADS=max(next_power_of_2(heads), LEAST), RANK=max(next_power_of_2(rank), LEAST),
        ROPE=max(2 * next_power_of_2(half), LEAST), SLOTS=SLOTS,
        WIDE=INTERPRETED,  # which multiplies bfloat16 wrongly
        num_warps=4 if rank <= 128 else 8,
    )  # fmt: skip
    return mixed


@jit
def _latent_attention(
    q, q_row, q_head, q_rope, rope_row, rope_head, kv, kv_row, weight, cos, sin, entries, entry_row, entry_slot,
    begins, slots, mixed, heads, rank, half, scale, eps,
    INTERLEAVE: tl.constexpr, HEADS: tl.constexpr, RANK: tl.constexpr, ROPE: tl.constexpr, SLOTS: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    begin, slot = tl.load(begins + row), tl.load(slots + row)
    entries += row * entry_row
    dtype = entries.dtype.element_ty
    factor = tl.float32 if WIDE else dtype
    head, column, pair = tl.arange(0, HEADS), tl.arange(0, RANK), tl.arange(0, ROPE)
    is_head, is_column, is_pair = head < heads, column < rank, pair < 2 * half

    # The new token's latent, rounded before its weight as the norm of `rmsnorm` does, and its key, first halves first.
    latent = tl.load(kv + row * kv_row + column, mask=is_column, other=0.0).to(tl.float32)
    normed = latent * tl.rsqrt(tl.sum(latent * latent, 0) / rank + eps)
    weights = tl.load(weight + column, mask=is_column, other=0.0).to(tl.float32)
    latent = (weights * normed.to(kv.dtype.element_ty).to(tl.float32)).to(dtype)
    late = pair >= half
    turn = tl.where(late, pair - half, pair)
    if INTERLEAVE:
        first, second = 2 * turn, 2 * turn + 1
    else:
        first, second = turn, turn + half
    c = tl.load(cos + row * half + turn, mask=is_pair, other=0.0).to(tl.float32)
    s = tl.load(sin + row * half + turn, mask=is_pair, other=0.0).to(tl.float32)
    s = tl.where(late, s, -s)
    c_of_first, s_of_first = tl.where(late, s, c), tl.where(late, c, s)  # what first and second members are taken times
    x = kv + row * kv_row + rank
    key = (
        tl.load(x + first, mask=is_pair, other=0.0).to(tl.float32) * c_of_first
        + tl.load(x + second, mask=is_pair, other=0.0).to(tl.float32) * s_of_first
    ).to(dtype)
    tl.store(entries + slot * entry_slot + column, latent, mask=is_column)
    tl.store(entries + slot * entry_slot + rank + pair, key, mask=is_pair)

    inside = is_head[:, None] & is_column[None, :]
    of_latent = tl.load(q + row * q_row + head[:, None] * q_head + column[None, :], mask=inside, other=0.0).to(dtype)
    x = q_rope + row * rope_row + head[:, None] * rope_head
    turned = is_head[:, None] & is_pair[None, :]
    of_key = (
        tl.load(x + first[None, :], mask=turned, other=0.0).to(tl.float32) * c_of_first[None, :]
        + tl.load(x + second[None, :], mask=turned, other=0.0).to(tl.float32) * s_of_first[None, :]
    ).to(dtype)

    largest = tl.sum(of_latent.to(tl.float32) * latent.to(tl.float32)[None, :], 1)
    largest = (largest + tl.sum(of_key.to(tl.float32) * key.to(tl.float32)[None, :], 1)) * scale
    total = tl.full([HEADS], 1.0, tl.float32)
    sums = tl.zeros([HEADS, RANK], tl.float32) + latent.to(tl.float32)[None, :]
    for start in range(begin, slot, SLOTS):
        place = start + tl.arange(0, SLOTS)
        before = place < slot
        entry = entries + place.to(tl.int64)[:, None] * entry_slot
        latents = tl.load(entry + column[None, :], mask=before[:, None] & is_column[None, :], other=0.0)
        keys = tl.load(entry + rank + pair[None, :], mask=before[:, None] & is_pair[None, :], other=0.0)
        latents, keys = latents.to(factor), keys.to(factor)
        scores = tl.dot(of_latent.to(factor), latents.T, input_precision="ieee")
        scores = tl.dot(of_key.to(factor), keys.T, scores, input_precision="ieee") * scale
        scores = tl.where(before[None, :], scores, float("-inf"))
        higher = tl.maximum(largest, tl.max(scores, 1))
        shrink = tl.exp2(largest - higher)
        p = tl.exp2(scores - higher[:, None])
        total = total * shrink + tl.sum(p, 1)
        sums = tl.dot(p.to(dtype).to(factor), latents, sums * shrink[:, None], input_precision="ieee")
        largest = higher
    to = mixed + (row * heads + head[:, None]) * rank + column[None, :]
    tl.store(to, (sums / total[:, None]).to(dtype), mask=inside)
