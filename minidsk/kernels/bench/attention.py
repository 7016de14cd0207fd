"""Attention of MLA's shapes, causal, against every backend of scaled_dot_product_attention that takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from minidsk.kernels.attention import attention, attention_reference, fits_hopper
from minidsk.kernels.attention_backward import backward
from minidsk.kernels.bench.case import Case, relative_error
from minidsk.kernels.bench.rowwise import Backward, rows_of


def attention_cases(device: torch.device, small: bool) -> Iterator[Case]:
    """Keys of 192, values of 128, 8,192 tokens: 16 heads of one sequence. Forward, then backward alone."""
    heads, time, wide, narrow = (1, 100, 48, 32) if small else (16, 8192, 192, 128)
    q, k, v, slope = (
        rows_of(heads * time, width, device, seed=seed).view(1, heads, time, width)
        for seed, width in enumerate((wide, wide, narrow, narrow))
    )
    flops = heads * time * time * (wide + narrow)  # two for each multiply-add, half of the square
    moved = 2 * (q.numel() + k.numel() + v.numel() + slope.numel())
    makers: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {"ours": attention, **backends(device)}
    setting = f"bf16 {heads} heads, {time} tokens, {wide}/{narrow}, causal"
    forward: dict[str, Callable[[], object]] = {
        name: lambda make=make: make(q, k, v) for name, make in makers.items()  # type: ignore[misc]
    }
    if fits_hopper(q, v):
        forward["ours, in Triton alone"] = lambda: in_triton_alone(q, k, v)
    yield Case("attention, forward", setting, forward.pop("ours"), forward, bytes=moved, flops=flops, target=0.9,
               error=lambda: part_error(q, k, v))  # fmt: skip
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    pulls: dict[str, Callable[[], object]] = {
        name: Backward(make, *leaves, slope) for name, make in makers.items()
    }  # fmt: skip
    if device.type == "cuda":
        pulls["ours, adding up dq"] = adding(q, k, v, slope)
    yield Case("attention, backward", setting, pulls.pop("ours"), pulls, bytes=2 * moved, flops=2.5 * flops,
               target=0.8, rounds=20, error=lambda: backward_error(q, k, v, slope))  # fmt: skip


def in_triton_alone(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Our forward pass as on GPUs other than Hopper."""
    with mock.patch("minidsk.kernels.attention.fits_hopper", return_value=False):
        return attention(q, k, v)


def adding(q: Tensor, k: Tensor, v: Tensor, slope: Tensor) -> Callable[[], object]:
    """Our backward pass in one kernel, which adds up dq in memory: five products instead of seven.

    The first call raises `RuntimeError` where its dq is another than that of the two kernels.
    """
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = attention(leaves[0], leaves[1], leaves[2])
    q, k, v, result, log_sums = out.grad_fn.saved_tensors  # type: ignore[union-attr]
    scale = q.shape[-1] ** -0.5
    checked: list[float] = []

    def call() -> object:
        found = backward(q, k, v, result, log_sums, slope, True, scale, adding=True)
        if not checked:
            checked.append(relative_error(found[0], backward(q, k, v, result, log_sums, slope, True, scale)[0]))
            if not checked[0] < 1e-2:
                raise RuntimeError(f"dq is wrong, relative error {checked[0]:.1e}")
        return found

    return call


def backends(device: torch.device) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """SDPA's backends by name; flash, which wants equal widths, gets values filled up with zeros."""
    if device.type != "cuda":
        return {"sdpa": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)}

    def use(backend: SDPBackend) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(q, k, v, is_causal=True)

        return attend

    def padded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            filled = F.pad(v, (0, q.shape[-1] - v.shape[-1]))
            return F.scaled_dot_product_attention(q, k, filled, is_causal=True)[..., : v.shape[-1]]

    return {
        "sdpa cudnn": use(SDPBackend.CUDNN_ATTENTION), "sdpa efficient": use(SDPBackend.EFFICIENT_ATTENTION),
        "sdpa flash": use(SDPBackend.FLASH_ATTENTION), "sdpa flash, padded values": padded,
    }  # fmt: skip


def part_error(q: Tensor, k: Tensor, v: Tensor) -> float:
    """The relative error of one head's first 2,048 tokens."""
    q, k, v = (x[:, :1, :2048] for x in (q, k, v))
    return relative_error(attention(q, k, v), attention_reference(q.double(), k.double(), v.double()))


def backward_error(q: Tensor, k: Tensor, v: Tensor, slope: Tensor) -> float:
    """The largest relative error among dq, dk and dv, of one head's first 2,048 tokens."""
    found: list[tuple[Tensor, ...]] = []
    makers: tuple[tuple[Callable[..., Tensor], torch.dtype], ...] = (
        (attention, q.dtype), (attention_reference, torch.float64),
    )  # fmt: skip
    for make, dtype in makers:
        leaves = [x[:, :1, :2048].detach().to(dtype).requires_grad_() for x in (q, k, v)]
        found.append(torch.autograd.grad(make(*leaves), leaves, slope[:, :1, :2048].to(dtype)))
    return max(relative_error(ours, exact) for ours, exact in zip(*found, strict=True))
