"""What the layers of a decoding step begin with, as one kernel each: embeddings and angles, and what a module that
looks ahead reads. In steps these are a dozen kernels for a few numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.kernels.launch import can_run, jit, next_power_of_2, tl
from minidsk.kernels.rmsnorm import rms_norm_reference

LONGEST = 16384
"""Numbers of a token, all of which a program holds."""


def opening_reference(
    ids: Tensor, embedding: Tensor, slots: Tensor, begins: Tensor, frequencies: Tensor, factor: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in steps; see `opening`."""
    x = F.embedding(ids, embedding)
    angles = (slots - begins[:, None]).clamp(min=0).unsqueeze(-1).to(frequencies.dtype) * frequencies
    return x, (angles.cos() * factor).to(x.dtype), (angles.sin() * factor).to(x.dtype)


def opening(
    ids: Tensor, embedding: Tensor, slots: Tensor, begins: Tensor, frequencies: Tensor, factor: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings ``[rows, new, hidden]`` of the tokens `ids` ``[rows, new]``, and cos and sin ``[rows, new, pairs]`` of
    their positions, in the dtype of `embedding` ``[vocab, hidden]``; without a gradient.

    A token in slot `slots` ``[rows, new]`` of a row that begins at `begins` ``[rows]`` has their difference as its
    position, or 0 if that is negative. `frequencies` ``[pairs]`` (float32) and `factor` as in `minidsk.model.rope`. By
    the kernel where it can run, else by the reference.
    """
    hidden, pairs = embedding.shape[1], len(frequencies)
    if ids.numel() == 0 or hidden > LONGEST or embedding.stride(1) != 1 or not can_run(embedding, frequencies):
        return opening_reference(ids, embedding, slots, begins, frequencies, factor)
    x = torch.empty(*ids.shape, hidden, dtype=embedding.dtype, device=ids.device)
    cos = torch.empty(*ids.shape, pairs, dtype=embedding.dtype, device=ids.device)
    sin = torch.empty_like(cos)
    _opening[ids.shape](
        ids, *ids.stride(), embedding, embedding.stride(0), slots, *slots.stride(), begins, frequencies, x, cos, sin,
        ids.shape[1], hidden, pairs, factor, HIDDEN=next_power_of_2(hidden), PAIRS=next_power_of_2(pairs),
    )  # fmt: skip
    return x, cos, sin


@jit
def _opening(
    ids, id_row, id_time, embedding, embedding_row, slots, slot_row, slot_time, begins, frequencies, x, cos, sin,
    new, hidden, pairs, factor, HIDDEN: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    row, time = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column, pair = tl.arange(0, HIDDEN), tl.arange(0, PAIRS)
    token, place = tl.load(ids + row * id_row + time * id_time), row * new + time
    embedded = tl.load(embedding + token * embedding_row + column, mask=column < hidden)
    tl.store(x + place * hidden + column, embedded, mask=column < hidden)
    position = tl.load(slots + row * slot_row + time * slot_time) - tl.load(begins + row)
    angle = tl.maximum(position, 0).to(tl.float32) * tl.load(frequencies + pair, mask=pair < pairs, other=0.0)
    tl.store(cos + place * pairs + pair, (tl.cos(angle) * factor).to(cos.dtype.element_ty), mask=pair < pairs)
    tl.store(sin + place * pairs + pair, (tl.sin(angle) * factor).to(sin.dtype.element_ty), mask=pair < pairs)


def joined_reference(
    embedded: Tensor, kept: Tensor, slots: Tensor, of_token: Tensor, of_state: Tensor, eps: float = 1e-6
) -> Tensor:
    """The same in steps; see `joined`."""
    before = kept.gather(1, (slots - 1).clamp(min=0).unsqueeze(-1).expand(-1, -1, kept.shape[-1]))
    parts = rms_norm_reference(embedded, of_token, eps), rms_norm_reference(before, of_state, eps)
    return torch.cat(parts, -1)


def joined(
    embedded: Tensor, kept: Tensor, slots: Tensor, of_token: Tensor, of_state: Tensor, eps: float = 1e-6
) -> Tensor:
    """What a module of multi-token prediction reads, ``[rows, new, 2 hidden]``: each token's embedding, `embedded`
    ``[rows, new, hidden]``, beside the state that is `kept` ``[rows, capacity, hidden]`` in the slot before its own,
    both normed (weights `of_token` and `of_state` ``[hidden]``); without a gradient.

    `slots` ``[rows, new]``; before slot 0 there is none, and the state is that of slot 0. By the kernel where it can
    run, else by the reference.
    """
    hidden = embedded.shape[2]
    tensors = embedded, kept, of_token, of_state
    if embedded.numel() == 0 or hidden > LONGEST or kept.stride(2) != 1 or not can_run(*tensors):
        return joined_reference(embedded, kept, slots, of_token, of_state, eps)
    embedded = embedded.contiguous()
    both = torch.empty(*embedded.shape[:2], 2 * hidden, dtype=embedded.dtype, device=embedded.device)
    _joined[embedded.shape[:2]](
        embedded, kept, *kept.stride()[:2], slots, *slots.stride(), of_token, of_state, both, embedded.shape[1], hidden,
        eps, HIDDEN=next_power_of_2(hidden),
    )  # fmt: skip
    return both


@jit
def _joined(
    embedded, kept, kept_row, kept_slot, slots, slot_row, slot_time, of_token, of_state, both, new, hidden, eps,
    HIDDEN: tl.constexpr,
):  # fmt: skip
    row, time = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column, place = tl.arange(0, HIDDEN), row * new + time
    inside = column < hidden
    slot = tl.maximum(tl.load(slots + row * slot_row + time * slot_time) - 1, 0)
    token = tl.load(embedded + place * hidden + column, mask=inside, other=0.0).to(tl.float32)
    state = tl.load(kept + row * kept_row + slot * kept_slot + column, mask=inside, other=0.0).to(tl.float32)
    token *= tl.rsqrt(tl.sum(token * token, 0) / hidden + eps)
    state *= tl.rsqrt(tl.sum(state * state, 0) / hidden + eps)
    first = tl.load(of_token + column, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(of_state + column, mask=inside, other=0.0).to(tl.float32)
    dtype = both.dtype.element_ty
    to = both + place * 2 * hidden + column
    # Rounded before their weights, as in `rmsnorm`.
    tl.store(to, (first * token.to(dtype).to(tl.float32)).to(dtype), mask=inside)
    tl.store(to + hidden, (second * state.to(dtype).to(tl.float32)).to(dtype), mask=inside)
