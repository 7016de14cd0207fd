"""The loss of a language model, from hidden states to the gradients of states and head: 32,768 tokens, 128k words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from minidsk.kernels.bench.case import Case, relative_error
from minidsk.kernels.bench.rowwise import compiled, liger, rows_of
from minidsk.kernels.cross_entropy import (
    cross_entropy,
    cross_entropy_reference,
    linear_cross_entropy,
    linear_cross_entropy_reference,
)


def cross_entropy_cases(device: torch.device, small: bool) -> Iterator[Case]:
    """Head and loss in one, forward and backward; then the loss alone, on logits that exist already."""
    yield with_head(device, *((64, 32, 300) if small else (32768, 2048, 131072)))
    yield without_head(device, *((48, 300) if small else (8192, 131072)))


def with_head(device: torch.device, tokens: int, hidden: int, words: int) -> Case:
    """From hidden states to the gradients of states and head."""
    x = rows_of(tokens, hidden, device).requires_grad_()
    weight = (rows_of(words, hidden, device, seed=1) / hidden**0.5).requires_grad_()
    targets = torch.randint(words, (tokens,), device=device, generator=torch.Generator(device).manual_seed(2))
    makers: dict[str, Callable[..., Any]] = {
        "ours": linear_cross_entropy, "eager": linear_cross_entropy_reference,
        **compiled(device, linear_cross_entropy_reference),
        "liger": lambda x, weight, targets: liger(
            "liger_kernel.ops.fused_linear_cross_entropy", "LigerFusedLinearCrossEntropyFunction",
        ).apply(x, weight, targets)[0],
    }  # fmt: skip
    calls = {name: lambda make=make: gradients(make, x, weight, targets=targets) for name, make in makers.items()}
    return Case(
        "linear cross-entropy, forward and backward", f"bf16 {tokens} tokens, {hidden} to {words}", calls.pop("ours"),
        calls, bytes=2 * x.element_size() * (x.numel() + weight.numel()), flops=6 * tokens * hidden * words,
        error=lambda: loss_error(x, weight, targets), rounds=8,
    )  # fmt: skip


def without_head(device: torch.device, tokens: int, words: int) -> Case:
    """From logits to their gradient."""
    logits = rows_of(tokens, words, device).requires_grad_()
    targets = torch.randint(words, (tokens,), device=device, generator=torch.Generator(device).manual_seed(2))
    makers: dict[str, Callable[..., Any]] = {
        "ours": cross_entropy, "eager": cross_entropy_reference,
        "liger": lambda x, targets: liger("liger_kernel.ops.cross_entropy", "LigerCrossEntropyFunction").apply(
            x.clone(), targets, None)[0],
    }  # fmt: skip
    calls = {name: lambda make=make: gradients(make, logits, targets=targets) for name, make in makers.items()}
    return Case("cross-entropy on logits, forward and backward", f"bf16 {tokens}x{words}", calls.pop("ours"), calls,
                bytes=2 * logits.numel() * logits.element_size(), flops=6 * logits.numel())  # fmt: skip


def gradients(loss: Callable[..., Tensor], *leaves: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    """One forward and one backward pass."""
    return torch.autograd.grad(loss(*leaves, targets), leaves)


def loss_error(x: Tensor, weight: Tensor, targets: Tensor) -> float:
    """The relative error of the gradient of the states, on a part of the tokens."""
    part, wide = (x[:256].detach().to(dtype).requires_grad_() for dtype in (x.dtype, torch.float64))
    ours, = torch.autograd.grad(linear_cross_entropy(part, weight, targets[:256]), part)
    exact, = torch.autograd.grad(linear_cross_entropy_reference(wide, weight.double(), targets[:256]), wide)
    return relative_error(ours, exact)
