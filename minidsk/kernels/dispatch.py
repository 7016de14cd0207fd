"""Tokens to experts and back in plain torch: sort by expert, multiply group by group, put the results back in place.

This is the reference of `routing` and `grouped_gemm`, and what the model computes with where no kernel of ours is
asked for. It imports no Triton.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.precision import at_least_float32

PARTS = 64  # of all experts' rows together, see `_Grouped`


class Sorted(NamedTuple):
    """The (token, choice) pairs of N tokens with K experts each, sorted by expert and in order within each.

    `order` ``[N K]``: pair ``n K + k`` at each sorted place; `inverse` ``[N K]``: the place of each pair; `ends`
    ``[experts]`` (int32): where each expert's pairs end.
    """

    order: Tensor
    inverse: Tensor
    ends: Tensor


def sort_by_expert(indices: Tensor, experts: int) -> Sorted:
    """Sort the choices `indices` ``[N, K]``, whole numbers below `experts`; stable."""
    flat = indices.flatten()
    order = flat.to(torch.uint8 if experts <= 256 else torch.int32).argsort(stable=True)  # a GPU sorts byte by byte
    inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(flat), device=flat.device))
    counts = (flat[:, None] == torch.arange(experts, device=flat.device)).sum(0, dtype=torch.int32)
    return Sorted(order, inverse, counts.cumsum(0, dtype=torch.int32))


def gather(x: Tensor, plan: Sorted) -> Tensor:
    """Each token's row once for each chosen expert, sorted by expert: ``[N, H]`` to ``[N K, H]``."""
    k = len(plan.order) // max(len(x), 1)
    repeated = x.unsqueeze(1).expand(-1, k, -1).reshape(-1, x.shape[-1])
    return _Permute.apply(repeated, plan.order, plan.inverse)


def combine(y: Tensor, weights: Tensor, plan: Sorted) -> Tensor:
    """The weighted sum of each token's K results, ``[N K, H]`` and ``[N, K]`` to ``[N, H]``, in the dtype of `y`."""
    y = _Permute.apply(y, plan.inverse, plan.order).unflatten(0, weights.shape)
    return (y * weights.unsqueeze(-1)).sum(1).to(y.dtype)


def grouped_matmul(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Each expert's rows times its matrix: sorted rows ``[N K, in]``, `weight` ``[E, out, in]``, to ``[N K, out]``.

    By torch's own grouped product where it has one, else one expert after the other, which waits for a GPU.
    """
    if has_grouped_product(x, x.shape[1], weight.shape[1]):
        return _Grouped.apply(x, weight, ends)
    counts = ends.diff(prepend=ends.new_zeros(1)).tolist()
    parts = x.split(counts)  # whose gradient is put together at once; that of slices is added up, each as long as x
    return torch.cat([part @ matrix.T for part, matrix in zip(parts, weight, strict=True)])


def gated(both: Tensor) -> Tensor:
    """``silu(gate) * up`` of rows ``[N, 2 I]`` that begin with the gate's numbers: ``[N, I]``."""
    if torch.compiler.is_compiling():
        return _Gated.apply(both)
    gate, up = both.chunk(2, dim=-1)
    return F.silu(gate) * up


def gate_all(both: Tensor, of_all: Tensor) -> Tensor:
    """``silu(gate) * up`` of all experts, times their weights; see `minidsk.kernels.router.gate_all`."""
    gate, up = both.unflatten(1, (of_all.shape[1], 2, -1)).unbind(2)
    return (F.silu(gate) * up * of_all.unsqueeze(-1)).flatten(1)


def has_grouped_product(x: Tensor, *widths: int) -> bool:
    """Whether torch has its grouped product for tensors like `x`: bf16 on compute capability 9.0, rows of 16 bytes.

    `widths`: the lengths of rows, in numbers.
    """
    return (
        x.is_cuda
        and x.dtype == torch.bfloat16
        and all(width % 8 == 0 for width in widths)
        and hasattr(torch, "_grouped_mm")
        and torch.cuda.get_device_capability(x.device) == (9, 0)
    )


class _Grouped(torch.autograd.Function):
    """torch's grouped product. Of the gradient of few matrices it would make few parts, too few for a GPU's processors:
    each expert's rows are cut into as many parts as fill them, and what those give is added up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, ends)
        return torch._grouped_mm(x, weight.transpose(1, 2), offs=ends)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight, ends = ctx.saved_tensors
        (grad,) = grads
        parts = max(PARTS // len(ends), 1)
        starts = torch.cat((ends.new_zeros(1), ends[:-1]))
        share = torch.arange(1, parts + 1, dtype=torch.int32, device=ends.device)
        cuts = (starts[:, None] + (ends - starts)[:, None] * share // parts).flatten()
        of_weight = torch._grouped_mm(grad.T, x, offs=cuts).unflatten(0, (len(ends), parts)).sum(1)
        return torch._grouped_mm(grad, weight, offs=ends), of_weight, None


class _Gated(torch.autograd.Function):
    """`gated`, whose gradient torch.compile would write as two halves put together, which takes longer than this."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, dim=-1)
        return F.silu(gate) * up

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (both,) = ctx.saved_tensors
        gate, up = at_least_float32(both).unflatten(1, (2, 1, -1)).unbind(1)  # each [N, 1, I]
        chance = torch.sigmoid(gate)
        first = torch.arange(2, device=both.device)[:, None] == 0  # of the gate, then of what it gates
        slope = torch.where(first, up * chance * (1 + gate * (1 - chance)), gate * chance)
        return (at_least_float32(grads[0]).unsqueeze(1) * slope).to(both.dtype).flatten(1)


class _Permute(torch.autograd.Function):
    """``x[order]`` for a permutation. Its gradient is a gather too; autograd's own would scatter with atomics."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        order, inverse = order.long(), inverse.long()
        ctx.save_for_backward(inverse)
        return x[order]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (inverse,) = ctx.saved_tensors
        return grads[0][inverse], None, None
