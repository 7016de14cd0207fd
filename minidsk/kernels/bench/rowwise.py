"""Kernels that read rows and write rows, and are bound by memory: softmax, RMSNorm."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from minidsk.kernels.bench.case import Case, relative_error
from minidsk.kernels.rmsnorm import rms_norm, rms_norm_reference
from minidsk.kernels.softmax import softmax, softmax_reference


def softmax_cases(device: torch.device, small: bool) -> Iterator[Case]:
    """Rows of 4,096 that fit into registers, and rows of 131,072 that do not."""
    yield softmax_case(device, *((48, 320) if small else (32768, 4096)))
    yield softmax_case(device, *((3, 9000) if small else (1024, 131072)))


def softmax_case(device: torch.device, rows: int, columns: int) -> Case:
    """The forward pass. What torch.compile makes of long rows is left out: to compile takes longer than to measure."""
    x = rows_of(rows, columns, device)
    makers: dict[str, Callable[..., Any]] = {
        "ours": softmax, "five operations": five_operations, "eager": softmax_reference,
        **(compiled(device, softmax_reference) if columns <= 4096 else {}),
        "liger": lambda x: liger("liger_kernel.ops.softmax", "LigerSoftmaxFunction").apply(x),
    }  # fmt: skip
    calls = {name: lambda make=make: make(x) for name, make in makers.items()}
    return Case("softmax, forward", f"bf16 {rows}x{columns}", calls.pop("ours"), calls, flops=5 * x.numel(),
                bytes=2 * x.numel() * x.element_size(), against_copy=0.95 if columns <= 4096 else None,
                error=lambda: relative_error(softmax(x[:1024]), softmax_reference(x[:1024].double())))  # fmt: skip


def five_operations(x: Tensor) -> Tensor:
    """Softmax as its formula has it, each operation a kernel of its own."""
    e = (x - x.max(-1, keepdim=True).values).exp()
    return e / e.sum(-1, keepdim=True)


def rms_norm_cases(device: torch.device, small: bool) -> Iterator[Case]:
    """Forward, then backward alone."""
    rows, columns = (48, 320) if small else (32768, 4096)
    x, slope = rows_of(rows, columns, device).requires_grad_(), rows_of(rows, columns, device, seed=1)
    weight = (1 + 0.1 * rows_of(1, columns, device, seed=2)[0]).requires_grad_()
    makers: dict[str, Callable[..., Any]] = {
        "ours": rms_norm, "eager": rms_norm_reference, **compiled(device, rms_norm_reference),
        "torch.nn.functional": lambda x, weight: torch.nn.functional.rms_norm(x, (columns,), weight, 1e-6),
        "liger": lambda x, weight: liger("liger_kernel.ops.rms_norm", "LigerRMSNormFunction").apply(
            x, weight, 1e-6, 0.0, "llama", False),
    }  # fmt: skip
    size, shape = x.numel() * x.element_size(), f"bf16 {rows}x{columns}"
    fixed = x.detach(), weight.detach()
    forward = {name: lambda make=make: make(*fixed) for name, make in makers.items()}
    yield Case("RMSNorm, forward", shape, forward.pop("ours"), forward, bytes=2 * size, flops=4 * x.numel(),
               against_copy=0.95, error=lambda: forward_error(*fixed))  # fmt: skip
    backward = {name: Backward(make, x, weight, slope) for name, make in makers.items()}
    yield Case("RMSNorm, backward", shape, backward.pop("ours"), backward, bytes=3 * size, flops=8 * x.numel(),
               error=lambda: backward_error(x, weight, slope))  # fmt: skip


class Backward:
    """The backward pass alone: the forward pass is done once, at the first call."""

    def __init__(self, forward: Callable[..., Any], *inputs: Tensor) -> None:
        *self.leaves, self.slope = inputs
        self.forward = forward
        self.out: Tensor | None = None

    def __call__(self) -> object:
        """The gradients with respect to the inputs."""
        if self.out is None:
            self.out = self.forward(*self.leaves)
        return torch.autograd.grad(self.out, self.leaves, self.slope, retain_graph=True)


def forward_error(x: Tensor, weight: Tensor) -> float:
    """The relative error of RMSNorm on a part of the rows."""
    part = x[:1024]
    return relative_error(rms_norm(part, weight), rms_norm_reference(part.double(), weight.double()))


def backward_error(x: Tensor, weight: Tensor, slope: Tensor) -> float:
    """The relative error of dx on a part of the rows."""
    part = x[:1024].detach().requires_grad_()
    wide = part.detach().double().requires_grad_()
    ours, = torch.autograd.grad(rms_norm(part, weight), part, slope[:1024])
    exact, = torch.autograd.grad(rms_norm_reference(wide, weight.double()), wide, slope[:1024].double())
    return relative_error(ours, exact)


def rows_of(rows: int, columns: int, device: torch.device, seed: int = 0) -> Tensor:
    """Normal numbers in bf16, ``[rows, columns]``."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(rows, columns, device=device, generator=generator).bfloat16()


def compiled(device: torch.device, reference: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """The reference through torch.compile, on a GPU; its backward pass may be called again and again."""
    importlib.import_module("torch._functorch.config").donated_buffer = False  # type: ignore[attr-defined]
    return {"torch.compile": torch.compile(reference, dynamic=False)} if device.type == "cuda" else {}


def liger(module: str, name: str) -> Any:
    """A part of Liger-Kernel, a rival that is no dependency. Raises `ImportError` where it is not installed."""
    return getattr(importlib.import_module(module), name)
