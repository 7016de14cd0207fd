"""Few tokens to all experts: who is chosen and with what weight in one kernel, and the gate of all experts in another.

This is `minidsk.model.moe.Router` without groups, as a step of decoding has it: a dozen kernels of a few microseconds
each, whose intermediate results fit into registers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.kernels import dispatch
from minidsk.kernels.launch import can_run, cdiv, jit, next_power_of_2, tl
from minidsk.precision import at_least_float32

MOST = 256  # experts, all of which a program holds
BLOCK = 1024
MANY = 512  # tokens, of which a program takes 16, so that scores are a product of matrices; of fewer, it takes one


class Chosen(NamedTuple):
    """`of_all` ``[N, E + shared]``: the weight of every expert, 0 where it was not chosen, and 1 for each shared one;
    `scores` ``[N, E]`` (float32) and `indices` ``[N, K]`` (int64) as in `minidsk.model.moe.Routing`."""

    of_all: Tensor
    scores: Tensor
    indices: Tensor


def route_reference(
    x: Tensor, weight: Tensor, bias: Tensor, k: int, normed: bool, factor: float, shared: int = 0
) -> Chosen:
    """The same in steps; see `route`."""
    scores = torch.sigmoid(F.linear(at_least_float32(x), at_least_float32(weight)))
    indices = (scores + bias).topk(k, dim=-1).indices
    weights = scores.gather(1, indices)
    weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) if normed else weights
    of_all = torch.zeros_like(scores).scatter(1, indices, weights * factor).to(x.dtype)
    of_all = F.pad(of_all, (0, shared), value=1.0) if shared else of_all
    return Chosen(of_all, scores, indices)


def route(
    x: Tensor, weight: Tensor, bias: Tensor, k: int, normed: bool = True, factor: float = 1.0, shared: int = 0
) -> Chosen:
    """Choose K of E experts for each of N tokens `x` ``[N, H]``, beside `shared` ones that all take; no gradient.

    `weight` ``[E, H]`` gives the scores, after a sigmoid; `bias` ``[E]`` is added where they are compared. The weights
    are divided by their sum where `normed`, and multiplied by `factor`. Of equal scores the first expert is chosen.
    By the kernel where it can run, else by the reference.
    """
    tokens, experts = len(x), len(weight)
    if tokens == 0 or experts > MOST or not can_run(x, weight, bias):
        return route_reference(x, weight, bias, k, normed, factor, shared)
    x, weight = (y if y.stride(-1) == 1 else y.contiguous() for y in (x, weight))
    of_all = torch.empty(tokens, experts + shared, dtype=x.dtype, device=x.device)
    scores = torch.empty(tokens, experts, dtype=torch.float32, device=x.device)
    indices = torch.empty(tokens, k, dtype=torch.long, device=x.device)
    width = max(next_power_of_2(experts), 16)
    rows, depth = (16, 64) if tokens >= MANY else (1, max(4096 // width, 16))
    _route[(cdiv(tokens, rows),)](
        x, x.stride(0), weight, weight.stride(0), bias, of_all, scores, indices, tokens, experts, x.shape[1], factor,
        K=k, SHARED=shared, NORMED=normed, ROWS=rows, EXPERTS=width, DEPTH=depth, num_warps=min(max(width // 16, 2), 8),
    )  # fmt: skip
    return Chosen(of_all, scores, indices)


@jit
def _route(
    x, x_row, weight, weight_row, bias, of_all, scores, indices, tokens, experts, hidden, factor, K: tl.constexpr,
    SHARED: tl.constexpr, NORMED: tl.constexpr, ROWS: tl.constexpr, EXPERTS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    expert, depth = tl.arange(0, EXPERTS), tl.arange(0, DEPTH)
    here, is_expert = (row < tokens)[:, None], expert < experts
    total = tl.zeros((ROWS, EXPERTS), tl.float32)
    for h in tl.range(0, hidden, DEPTH):
        inner = h + depth < hidden
        a = tl.load(x + row[:, None] * x_row + h + depth[None, :], mask=here & inner[None, :], other=0.0)
        b = tl.load(weight + expert[:, None] * weight_row + h + depth[None, :],
                    mask=is_expert[:, None] & inner[None, :], other=0.0)  # fmt: skip
        a, b = a.to(tl.float32), b.to(tl.float32)
        if ROWS == 1:
            total += tl.sum(a * b, 1)[None, :]
        else:
            total = tl.dot(a, b.T, total, input_precision="tf32x3")  # as good as float32, and on tensor cores
    score = tl.sigmoid(total)
    added = tl.load(bias + expert, mask=is_expert, other=0.0).to(tl.float32)
    left = tl.where(is_expert[None, :], score + added[None, :], float("-inf"))
    chosen = tl.zeros((ROWS, EXPERTS), tl.float32)
    for k in tl.static_range(K):
        best = tl.max(left, 1)
        first = tl.min(tl.where(left == best[:, None], expert[None, :], EXPERTS - 1), 1)
        hit = expert[None, :] == first[:, None]
        chosen = tl.where(hit, score, chosen)
        left = tl.where(hit, float("-inf"), left)
        tl.store(indices + row * K + k, first.to(tl.int64), mask=row < tokens)
    if NORMED:
        chosen = chosen / (tl.sum(chosen, 1) + 1e-20)[:, None]
    inside, weights = here & is_expert[None, :], of_all + row[:, None] * (experts + SHARED)
    tl.store(weights + expert[None, :], (chosen * factor).to(of_all.dtype.element_ty), mask=inside)
    for place in tl.static_range(SHARED):
        tl.store(weights + experts + place, tl.full((ROWS, 1), 1.0, of_all.dtype.element_ty), mask=here)
    tl.store(scores + row[:, None] * experts + expert[None, :], score, mask=inside)


def gate_all(both: Tensor, of_all: Tensor) -> Tensor:
    """``silu(gate) * up`` of all experts, times their weights; without a gradient.

    `both` ``[N, E 2 I]``: of each expert the gate, then what it gates. `of_all` ``[N, E]``. Returns ``[N, E I]``. By
    the kernel where it can run, else by the reference.
    """
    if both.numel() == 0 or not can_run(both, of_all):
        return dispatch.gate_all(both, of_all)
    both, of_all = both.contiguous(), of_all.contiguous()
    inner = torch.empty(len(both), both.shape[1] // 2, dtype=both.dtype, device=both.device)
    width = inner.shape[1] // of_all.shape[1]
    _gate_all[(cdiv(inner.numel(), BLOCK),)](both, of_all, inner, inner.numel(), width, BLOCK=BLOCK)
    return inner


@jit
def _gate_all(both, of_all, inner, numbers, width, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < numbers
    pair = place // width  # of a token and an expert
    gate = tl.load(both + place + pair * width, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(both + place + pair * width + width, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(of_all + pair, mask=inside, other=0.0).to(tl.float32)
    tl.store(inner + place, (gate * tl.sigmoid(gate) * up * weight).to(inner.dtype.element_ty), mask=inside)
