"""Tokens to experts and back: sort by expert, multiply group by group, put the results where they came from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Permute(torch.autograd.Function):
    """``x[order]`` for a permutation. Its gradient is a gather too; autograd's own would scatter with atomics."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return x[order]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        _, inverse = ctx.saved_tensors
        return grads[0][inverse], None, None


class Dispatch:
    """The plan for one layer's N tokens with K experts each.

    `order` ``[N K]``: the (token, choice) pairs sorted by expert; `inverse` undoes it; `counts` and `ends` ``[E]``
    (int32): how many rows each expert has, and where its rows end.
    """

    def __init__(self, indices: Tensor, experts: int) -> None:
        flat = indices.flatten()
        self.k = indices.shape[-1]
        self.order = flat.argsort(stable=True)
        self.inverse = torch.empty_like(self.order).scatter_(0, self.order, torch.arange(len(flat), device=flat.device))
        one_hot = flat[:, None] == torch.arange(experts, device=flat.device)
        self.counts = one_hot.sum(0, dtype=torch.int32)
        self.ends = self.counts.cumsum(0, dtype=torch.int32)

    def gather(self, x: Tensor) -> Tensor:
        """Each token's row once per chosen expert, sorted by expert: ``[N, H]`` to ``[N K, H]``."""
        repeated = x.unsqueeze(1).expand(-1, self.k, -1).reshape(-1, x.shape[-1])
        return _Permute.apply(repeated, self.order, self.inverse)

    def combine(self, y: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of each token's K results, ``[N K, H]`` and ``[N, K]`` to ``[N, H]``."""
        y = _Permute.apply(y, self.inverse, self.order).unflatten(0, (-1, self.k))
        return (y * weights.unsqueeze(-1)).sum(1).to(y.dtype)


def grouped_matmul(x: Tensor, weight: Tensor, dispatch: Dispatch) -> Tensor:
    """Each expert's rows times its matrix: sorted rows ``[N K, in]`` and `weight` ``[E, out, in]`` to ``[N K, out]``.

    Three ways to the same product. Hopper has a kernel for it. Other GPUs pad the groups to one batched product. On
    a CPU, where starting a product costs little, the experts are taken in turn.
    """
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    if x.is_cuda:
        if has_grouped_kernel(x, x.shape[1], weight.shape[1]):
            return torch._grouped_mm(x, weight.transpose(1, 2), offs=dispatch.ends)
        return _padded(x, weight, dispatch)
    parts = x.split(dispatch.counts.tolist())
    return torch.cat([part @ matrix.T for part, matrix in zip(parts, weight, strict=True)])


def fused_experts(x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
    """All of the experts by `minidsk.kernels`: sorting, both products and the weighted sum; as `Experts.forward`."""
    from minidsk.kernels.experts import experts

    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, gate_up, down = x.to(dtype), gate_up.to(dtype), down.to(dtype)
    return experts(x, gate_up, down, weights, indices)


def has_grouped_kernel(x: Tensor, *widths: int) -> bool:
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


def _padded(x: Tensor, weight: Tensor, dispatch: Dispatch) -> Tensor:
    counts = dispatch.counts.long()
    experts, longest = len(counts), int(counts.max())
    expert = torch.repeat_interleave(torch.arange(experts, device=x.device), counts, output_size=len(x))
    place = torch.arange(len(x), device=x.device) - (dispatch.ends.long() - counts)[expert]
    rows = expert * longest + place
    padded = x.new_zeros(experts * longest, x.shape[-1]).index_copy(0, rows, x)
    return torch.bmm(padded.view(experts, longest, -1), weight.transpose(1, 2)).flatten(0, 1)[rows]
