"""Cross-entropy that never holds all logits, and gives its gradient while it is at it.

For a row of logits z with target t the loss is ``log sum exp(z) - z_t`` and the gradient ``softmax(z) - one_hot(t)``:
both follow from the row's maximum and sum, so one kernel writes the gradient where the logits stood. The head makes
the logits of some thousand tokens at a time, of which both gradients are taken at once before the next tokens come.
What is kept for the backward pass is as large as the weights, not as the logits.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.kernels.launch import INTERPRETED, can_run, jit, next_power_of_2, tl

CHUNK_BYTES = 1 << 31
"""About as many bytes of logits are held at a time."""
BLOCK = 256 if INTERPRETED else 8192
"""At most as many columns are read at a time."""


def cross_entropy_reference(logits: Tensor, targets: Tensor, ignore: int = -100) -> Tensor:
    """The mean loss of `logits` ``[tokens, words]`` in float32; see `cross_entropy`."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(wide, targets, ignore_index=ignore)


def cross_entropy(logits: Tensor, targets: Tensor, ignore: int = -100, overwrite: bool = False) -> Tensor:
    """The mean of ``-log softmax(logits)[target]`` over the tokens whose target is not `ignore`; float32.

    `logits` ``[tokens, words]``, `targets` ``[tokens]``. With `overwrite` the gradient takes the place of the logits,
    which are lost: half of the memory, for logits that nobody else wants. By the kernel where it can run, else by the
    reference. A target that is no word makes the kernel's loss nan.
    """
    _check(logits, targets)
    if logits.numel() == 0 or not can_run(logits):
        return cross_entropy_reference(logits, targets, ignore)
    return _CrossEntropy.apply(logits, targets, ignore, overwrite, torch.is_grad_enabled())


def linear_cross_entropy_reference(x: Tensor, weight: Tensor, targets: Tensor, ignore: int = -100) -> Tensor:
    """`linear_cross_entropy` by way of all logits."""
    return cross_entropy_reference(F.linear(x, weight), targets, ignore)


def linear_cross_entropy(
    x: Tensor, weight: Tensor, targets: Tensor, ignore: int = -100, chunk_bytes: int = CHUNK_BYTES
) -> Tensor:
    """The mean cross-entropy of the logits ``x weight^T`` without ever holding them all; float32, differentiable once.

    `x` ``[tokens, hidden]``, `weight` ``[words, hidden]``, `targets` ``[tokens]``; `chunk_bytes` of logits are held at
    a time. Under autocast the product is taken in its dtype, as `F.linear` would. By the kernel where it can run, else
    by the reference.
    """
    _check(x, targets)
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    if x.numel() == 0 or not can_run(x):
        return linear_cross_entropy_reference(x, weight, targets, ignore)
    return _LinearCrossEntropy.apply(x, weight, targets, ignore, chunk_bytes, torch.is_grad_enabled())


def _check(x: Tensor, targets: Tensor) -> None:
    if x.ndim != 2 or targets.shape != x.shape[:1]:
        raise ValueError(f"targets: shape {tuple(targets.shape)} does not fit {tuple(x.shape)}; give one a row")


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, ignore: int, overwrite: bool, training: bool) -> Tensor:
        rows = logits if logits.stride(1) == 1 else logits.contiguous()
        training = training and ctx.needs_input_grad[0]
        gradient = rows if overwrite or not training else torch.empty_like(rows)
        losses = launch(rows, targets, ignore, gradient if training else None)
        if training:
            ctx.save_for_backward(gradient)
        if overwrite:
            torch.autograd.graph.increment_version(logits)  # who has saved the logits is told that they are gone
        ctx.count = (targets != ignore).sum()
        return losses.sum() / ctx.count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *slopes: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * (slopes[0] / ctx.count).to(gradient.dtype), None, None, None, None


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, ignore: int, chunk_bytes: int, training: bool
    ) -> Tensor:
        wants_x, wants_weight = (training and wanted for wanted in ctx.needs_input_grad[:2])
        matrix = weight.to(x.dtype)
        step = max(1, chunk_bytes // (len(matrix) * x.element_size()))
        losses = torch.empty(len(x), dtype=torch.float32, device=x.device)
        dx = torch.empty_like(x) if wants_x else None
        # The sum over all tokens is kept in float32: a sum in bf16 would lose what the later chunks add.
        dw = torch.empty(weight.shape, dtype=torch.float32, device=x.device) if wants_weight else None
        room = x.new_empty(min(step, len(x)), len(matrix))
        for start in range(0, len(x), step):
            part = slice(start, min(start + step, len(x)))
            logits = torch.mm(x[part], matrix.T, out=room[: part.stop - start])
            losses[part] = launch(logits, targets[part], ignore, logits if wants_x or wants_weight else None)
            if dx is not None:
                torch.mm(logits, matrix, out=dx[part])
            if dw is not None:
                add_product(dw, logits.T, x[part], first=start == 0)
        ctx.save_for_backward(dx, dw)
        ctx.count = (targets != ignore).sum()
        ctx.dtype = weight.dtype
        return losses.sum() / ctx.count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *slopes: Any) -> Any:
        dx, dw = ctx.saved_tensors
        factor = slopes[0] / ctx.count
        dx = None if dx is None else (dx * factor).to(dx.dtype)
        dw = None if dw is None else scaled(dw, factor, ctx.dtype)
        return dx, dw, None, None, None, None


def launch(logits: Tensor, targets: Tensor, ignore: int, gradient: Tensor | None) -> Tensor:
    """The loss of each row ``[tokens]``, float32; and ``softmax - one_hot`` into `gradient`, which may be `logits`."""
    losses = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    out = logits if gradient is None else gradient
    block = min(next_power_of_2(logits.shape[1]), BLOCK)
    _loss_and_gradient[(len(logits),)](
        logits, logits.stride(0), targets.contiguous(), losses, out, out.stride(0), logits.shape[1], ignore,
        GRADIENT=gradient is not None, BLOCK=block, num_warps=max(1, block // 512),
    )  # fmt: skip
    return losses


def add_product(total: Tensor, left: Tensor, right: Tensor, first: bool) -> None:
    """``total += left @ right`` in float32, or ``total =`` where it is the `first`, which then need not be zero.

    One call where the GPU's library adds 16-bit products to float32.
    """
    beta = 0 if first else 1  # with 0 the library does not read what was there, nan or not
    if left.dtype == total.dtype:
        torch.addmm(total, left, right, beta=beta, out=total)
    elif left.is_cuda and hasattr(torch.ops.aten.addmm, "dtype_out") and torch.cuda.get_device_capability() >= (8, 0):
        torch.addmm(total, left, right, out_dtype=torch.float32, beta=beta, out=total)
    elif first:
        total.copy_(left @ right)
    else:
        total += left @ right


def scaled(x: Tensor, factor: Tensor, dtype: torch.dtype) -> Tensor:
    """``x * factor`` in another dtype, without a copy of `x` in its own."""
    return torch.mul(x, factor, out=torch.empty(x.shape, dtype=dtype, device=x.device))


@jit
def _loss_and_gradient(
    logits, row_stride, targets, losses, out, out_stride, columns, ignore, GRADIENT: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    logits += row * row_stride
    out += row * out_stride
    target = tl.load(targets + row)
    counted = target != ignore
    offsets = tl.arange(0, BLOCK)
    # Before the sums, for which all warps wait: later, a fast one could have written the gradient over it.
    known = (target >= 0) & (target < columns)
    chosen = tl.load(logits + target, mask=known, other=float("nan")).to(tl.float32)
    highest = tl.full([BLOCK], -float("inf"), tl.float32)  # one maximum and one sum for each lane
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, columns, BLOCK):
        column = start + offsets
        value = tl.load(logits + column, mask=column < columns, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(highest, value)
        base = tl.where(higher == -float("inf"), 0.0, higher)  # a lane that has seen nothing: not inf - inf
        total = total * tl.exp(highest - base) + tl.exp(value - base)
        highest = higher
    top = tl.max(highest, 0)
    whole = tl.sum(total * tl.exp(highest - top), 0)
    tl.store(losses + row, tl.where(counted, top + tl.log(whole) - chosen, 0.0))
    if GRADIENT:
        for back in range(0, columns, BLOCK):
            # Backwards, so that the second reading begins with what is still in the cache.
            column = (tl.cdiv(columns, BLOCK) - 1) * BLOCK - back + offsets
            # What is done with may leave the cache first, and so may the result.
            value = tl.load(logits + column, mask=column < columns, other=-float("inf"), eviction_policy="evict_first")
            value = value.to(tl.float32)
            slope = tl.exp(value - top) / whole - tl.where(column == target, 1.0, 0.0)
            slope = tl.where(counted, slope, 0.0).to(out.dtype.element_ty)
            tl.store(out + column, slope, mask=column < columns, eviction_policy="evict_first")
