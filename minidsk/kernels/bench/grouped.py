"""Grouped products at even and at skewed loads, and whole layers of experts, forward and backward."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.kernels import dispatch
from minidsk.kernels.bench.case import Case, relative_error
from minidsk.kernels.bench.rowwise import rows_of
from minidsk.kernels.experts import experts
from minidsk.kernels.grouped_gemm import (
    forward_blocks,
    grouped_matmul,
    rows_times_matrices,
)
from minidsk.kernels.launch import on_hopper

SKEWS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


def grouped_cases(device: torch.device, small: bool) -> Iterator[Case]:
    """64 experts of 1,536 rows each on average; forward and backward at an even and a skewed load, forward at all."""
    sizes = (3, 24, 16, 16) if small else (64, 64 * 1536, 2048, 1408)
    for skew in (0.0, 1.0):
        yield grouped_case(device, *sizes, skew, backward=True)
    for skew in SKEWS[4:5] if small else SKEWS:
        yield grouped_case(device, *sizes, skew, backward=False)


def loads(experts: int, rows: int, skew: float) -> Tensor:
    """Rows for each expert, int64 ``[experts]``: in proportion to ``rank ** -skew``, the ranks in random order."""
    share = torch.arange(1, experts + 1, dtype=torch.float64) ** -skew
    counts = (share / share.sum() * rows).long()
    counts[0] += rows - counts.sum()
    return counts[torch.randperm(experts, generator=torch.Generator().manual_seed(0))]


def grouped_case(
    device: torch.device, count: int, rows: int, width: int, out: int, skew: float, backward: bool
) -> Case:
    """One grouped product; `skew` as in `loads`."""
    counts = loads(count, rows, skew)
    ends = counts.cumsum(0).int().to(device)
    x, slope = rows_of(rows, width, device), rows_of(rows, out, device, seed=1)
    weight = (rows_of(count * out, width, device, seed=2) / width**0.5).unflatten(0, (count, out))
    ways: dict[str, Callable[..., Tensor]] = {"ours": grouped_matmul}
    if not backward and on_hopper(x):
        blocks = forward_blocks(rows // count, out, x.element_size())
        ways["ours, in Triton alone"] = lambda x, weight, ends: rows_times_matrices(x, weight, ends, blocks=blocks)
    if device.type == "cuda":
        ways["torch._grouped_mm"] = lambda x, weight, ends: torch._grouped_mm(x, weight.mT, offs=ends)
    sections = counts.tolist()
    ways["a loop over experts"] = lambda x, weight, ends: torch.cat(
        [part @ matrix.T for part, matrix in zip(x.split(sections), weight, strict=True)])  # fmt: skip
    if backward:
        x, weight = x.requires_grad_(), weight.detach().requires_grad_()
    calls = {name: lambda way=way: with_gradients(way(x, weight, ends), (x, weight), slope)
             for name, way in ways.items()}  # fmt: skip
    violation = float(counts.max() / counts.double().mean() - 1)
    size = x.element_size() * (x.numel() + weight.numel() + rows * out)
    return Case(
        "grouped product, forward" + (" and backward" if backward else ""),
        f"bf16 {count} experts, {rows} rows, {width} to {out}, MaxVio {violation:.2f}", calls.pop("ours"), calls,
        bytes=size * (3 if backward else 1), flops=2 * rows * width * out * (3 if backward else 1),
        target=1.0 if violation < 0.01 else 1.2, rounds=3 if rows < 1024 else 20,
        notes={"max_violation": violation, "skew": skew},
        error=lambda: relative_error(grouped_matmul(x, weight, ends), exact(x, weight, ends)),
    )  # fmt: skip


def with_gradients(y: Tensor, leaves: tuple[Tensor, ...], slope: Tensor) -> object:
    """The result, or the gradients where the leaves ask for them."""
    return torch.autograd.grad(y, leaves, slope) if y.requires_grad else y


@torch.no_grad()
def exact(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """The product in float32, of tensor cores' inputs without their rounding of the result."""
    return dispatch.grouped_matmul(x.float(), weight.float(), ends)


def moe_cases(device: torch.device, small: bool) -> Iterator[Case]:
    """Layers of experts as chapter 08 has them: 32,768 tokens of width 256, 16,384 tokens of width 2,048."""
    sizes = [(10, 16, 16, 3, 2)] if small else [(32768, 256, 128, 16, 4), (32768, 256, 128, 64, 6),
                                                (16384, 2048, 1408, 16, 4), (16384, 2048, 1408, 64, 6)]  # fmt: skip
    for size in sizes:
        yield moe_case(device, *size)


def moe_case(device: torch.device, tokens: int, hidden: int, inner: int, count: int, k: int) -> Case:
    """Routed experts, forward and backward: from tokens, weights and choices to all gradients."""
    generator = torch.Generator(device).manual_seed(3)
    indices = torch.rand(tokens, count, device=device, generator=generator).topk(k).indices
    leaves = [rows_of(tokens, hidden, device),
              (rows_of(count * 2 * inner, hidden, device, seed=1) / hidden**0.5).unflatten(0, (count, 2 * inner)),
              (rows_of(count * hidden, inner, device, seed=2) / inner**0.5).unflatten(0, (count, hidden)),
              torch.rand(tokens, k, device=device, generator=generator)]  # fmt: skip
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    slope = rows_of(tokens, hidden, device, seed=4)
    ways: dict[str, Callable[..., Tensor]] = {"ours": experts, "ours, by torch": by_torch}
    for kind in ("grouped_mm", "batched_mm", "eager"):
        ways[f"transformers, {kind}"] = Transformers(kind, hidden, inner, count, k)
    calls = {name: lambda way=way: torch.autograd.grad(way(*leaves, indices), leaves, slope)
             for name, way in ways.items()}  # fmt: skip
    weights = sum(leaf.numel() for leaf in leaves[1:3])
    return Case(
        "layer of experts, forward and backward",
        f"bf16 {tokens} tokens, hidden {hidden}, {count} experts of {inner}, top {k}", calls.pop("ours"), calls,
        bytes=2 * (3 * tokens * hidden + 3 * weights), flops=18 * tokens * k * hidden * inner,
        target=2.0 if hidden < 1024 else 1.1, rounds=3 if tokens < 1024 else 15,
        error=lambda: layer_error(leaves, indices),
    )  # fmt: skip


@torch.no_grad()
def layer_error(leaves: list[Tensor], indices: Tensor) -> float:
    """The relative error of the layer's output, against float32."""
    x, gate_up, down, weights = leaves
    return relative_error(experts(x, gate_up, down, weights, indices),
                          by_torch(x.float(), gate_up.float(), down.float(), weights, indices))  # fmt: skip


def by_torch(x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
    """What `minidsk.model.moe.Experts` does without our kernels, with torch's grouped product where it can."""
    order = indices.flatten().argsort(stable=True)
    ends = (indices.flatten()[:, None] == torch.arange(len(gate_up), device=x.device)).sum(0).cumsum(0).int()
    grouped = x.is_cuda and x.dtype == torch.bfloat16

    def multiply(x: Tensor, weight: Tensor) -> Tensor:
        return torch._grouped_mm(x, weight.mT, offs=ends) if grouped else dispatch.grouped_matmul(x, weight, ends)

    gate, up = multiply(x[order // indices.shape[1]], gate_up).chunk(2, -1)
    y = multiply(F.silu(gate) * up, down)
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))
    return (y[back].unflatten(0, indices.shape) * weights.unsqueeze(-1)).sum(1).to(x.dtype)


class Transformers:
    """The routed experts of transformers' DeepSeek-V3 by one of its ways; a rival, and no dependency."""

    def __init__(self, kind: str, hidden: int, inner: int, count: int, k: int) -> None:
        self.kind, self.sizes = kind, (hidden, inner, count, k)
        self.module: Any = None

    def __call__(self, x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
        """As `experts`. Raises `ImportError` without transformers."""
        if self.module is None:
            self.module = self.make(x)
        return torch.func.functional_call(
            self.module, {"gate_up_proj": gate_up, "down_proj": down}, (x, indices, weights))  # fmt: skip

    def make(self, x: Tensor) -> Any:
        """The module, with no weights of its own."""
        hidden, inner, count, k = self.sizes
        library = importlib.import_module("transformers.models.deepseek_v3.modeling_deepseek_v3")
        config = importlib.import_module("transformers").DeepseekV3Config(
            hidden_size=hidden, moe_intermediate_size=inner, n_routed_experts=count, num_experts_per_tok=k)  # fmt: skip
        config._experts_implementation = self.kind
        names = "DeepseekV3Experts", "DeepseekV3NaiveMoe"  # of newer and of older versions
        experts = next(getattr(library, name) for name in names if hasattr(library, name))
        with torch.device("meta"):
            return experts(config).to(x.dtype)
