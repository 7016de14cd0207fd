"""Chapters 08 and 09: a first look at the grouped, FP8 and expert kernels on a GPU, several block sizes each.

    python tools/experiments/ch08_first_look.py [SECONDS]

Prints a line a case: rates in TFLOP/s (medians of `triton.testing.do_bench`), the relative error against the rival's
result, and for whole layers of experts the milliseconds of forward and backward. No part goes on after its share of
SECONDS (70). The record of what it printed is results/ch08_first_look/log.txt.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from triton.testing import do_bench

from minidsk.kernels.experts import experts
from minidsk.kernels.fp8 import dequantize, quantize, scaled_matmul
from minidsk.kernels.grouped_gemm import rows_times_matrices, rows_times_rows
from minidsk.model.operations import routed_experts

EXPERTS, ROWS, IN, OUT = 64, 1536, 2048, 1408
FORWARD = [(128, 256, 64, 8, 3, 1, True), (128, 256, 64, 8, 4, 1, True), (128, 256, 64, 8, 3, 1, False),
           (128, 128, 64, 8, 4, 1, True), (128, 128, 64, 4, 4, 1, True), (128, 128, 64, 4, 3, 2, True),
           (128, 128, 64, 8, 3, 2, False), (256, 128, 64, 8, 3, 1, True), (128, 128, 128, 8, 2, 1, True),
           (128, 256, 64, 8, 4, 1, False)]  # fmt: skip
GRADIENT = [(64, 128, 256, 8, 3), (64, 128, 256, 8, 4), (64, 128, 128, 4, 4), (64, 256, 128, 8, 3),
            (128, 128, 128, 8, 2)]  # fmt: skip
FP8 = [(128, 128, 8, 3, 128), (128, 128, 4, 3, 0), (128, 128, 4, 4, 0), (128, 128, 8, 4, 0), (256, 128, 8, 3, 0),
       (64, 128, 4, 4, 0), (128, 128, 8, 3, 0), (128, 64, 4, 4, 0)]  # fmt: skip
LAYERS = [(256, 192, 16, 4, 32768), (256, 192, 64, 4, 32768), (2048, 1408, 16, 4, 16384), (2048, 1408, 64, 6, 16384)]


def milliseconds(call: Callable[[], Any]) -> float:
    """The median time of a call."""
    return do_bench(call, warmup=20, rep=60, return_mode="median")


def relative_error(x: Tensor, reference: Tensor) -> float:
    return ((x.double() - reference.double()).norm() / reference.double().norm()).item()


def random(*shape: int, scale: float = 1.0) -> Tensor:
    return (torch.randn(*shape, device="cuda") * scale).bfloat16()


def ends(skewed: bool) -> Tensor:
    """Where each expert's rows end; skewed: expert e has rows in proportion to 1 / (e + 1)."""
    share = 1 / torch.arange(1, EXPERTS + 1) if skewed else torch.ones(EXPERTS)
    counts = (share / share.sum() * EXPERTS * ROWS).long()
    counts[0] += EXPERTS * ROWS - counts.sum()
    return counts.cumsum(0).int().cuda()


def report(name: str, operations: float, call: Callable[[], Tensor], reference: Tensor | None = None) -> None:
    """One case; a configuration that cannot run says why."""
    try:
        rate = operations / milliseconds(call) / 1e9
        error = "" if reference is None else f" err {relative_error(call(), reference):.1e}"
        print(f"{name} {rate:.0f} TFLOP/s{error}", flush=True)
    except RuntimeError as why:
        print(f"{name} FAIL {str(why)[:80]}", flush=True)


def grouped(until: float) -> None:
    """The three products of a grouped layer beside torch's."""
    x, weight, dy = random(EXPERTS * ROWS, IN), random(EXPERTS, OUT, IN, scale=IN**-0.5), random(EXPERTS * ROWS, OUT)
    operations = 2 * EXPERTS * ROWS * IN * OUT
    for skewed in (False, True):
        until_row = ends(skewed)
        rival = torch._grouped_mm(x, weight.transpose(1, 2), offs=until_row)
        report(f"torch forward skewed={skewed}", operations,
               lambda: torch._grouped_mm(x, weight.transpose(1, 2), offs=until_row))  # noqa: B023
        for rows, out, inner, warps, stages, per_sm, flatten in FORWARD:
            if time.time() > until:
                return
            blocks = {"ROWS": rows, "OUT": out, "INNER": inner, "PER_SM": per_sm, "FLATTEN": flatten,
                      "num_warps": warps, "num_stages": stages}  # fmt: skip
            report(f"ours forward skewed={skewed} {blocks}", operations,
                   lambda: rows_times_matrices(x, weight, until_row, blocks=blocks), rival)  # noqa: B023
    balanced = ends(False)
    report("torch gradient of the matrices", operations, lambda: torch._grouped_mm(dy.t(), x, offs=balanced))
    report("torch gradient of the rows", operations, lambda: torch._grouped_mm(dy, weight, offs=balanced))
    report("ours gradient of the rows", operations, lambda: rows_times_matrices(dy, weight, balanced, transposed=True))
    for rows, out, wide, warps, stages in GRADIENT:
        blocks = {"ROWS": rows, "OUT": out, "IN": wide, "num_warps": warps, "num_stages": stages}
        report(f"ours gradient of the matrices {blocks}", operations,
               lambda: rows_times_rows(dy, x, balanced, blocks=blocks))  # noqa: B023


def eight_bits(until: float, n: int = 8192) -> None:
    """Blockwise FP8 beside bf16; the error beside that of the quantisation alone."""
    a, b = random(n, n), random(n, n)
    report("bf16 matmul", 2 * n**3, lambda: a @ b.T)
    qa, qb = quantize(a), quantize(b, (128, 128))
    exact = a.float() @ b.float().T
    own = relative_error(dequantize(*qa) @ dequantize(*qb, (128, 128)).T, exact)
    print(f"quantise 1x128 {milliseconds(lambda: quantize(a)):.3f} ms, own error {own:.2e}")
    for rows, columns, warps, stages, registers in FP8:
        if time.time() > until:
            return
        blocks = {"ROWS": rows, "COLUMNS": columns, "num_warps": warps, "num_stages": stages}
        blocks |= {"maxnreg": registers} if registers else {}
        report(f"fp8 {blocks}", 2 * n**3, lambda: scaled_matmul(qa, qb, blocks=blocks), exact)  # noqa: B023


def layers(until: float) -> None:
    """Forward and backward of all experts of a layer: torch's sorted dispatch, transformers' way, ours."""
    for hidden, inner, count, k, tokens in LAYERS:
        if time.time() > until:
            return
        gate_up = random(count, 2 * inner, hidden, scale=hidden**-0.5).requires_grad_()
        down = random(count, hidden, inner, scale=inner**-0.5).requires_grad_()
        x, dy = random(tokens, hidden).requires_grad_(), random(tokens, hidden)
        weights, indices = torch.rand(tokens, count, device="cuda").topk(k, -1)
        weights = weights.requires_grad_()
        for name, forward in (("plain dispatch", routed_experts), ("hf-like", transformers_way), ("ours", experts)):
            taken = milliseconds(lambda: forward(x, gate_up, down, weights, indices).backward(dy))  # noqa: B023
            print(hidden, inner, count, k, tokens, name, f"{taken:.3f} ms", flush=True)


def transformers_way(x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
    """Sort, gather, two grouped products, weigh, add up where the rows came from."""
    flat = indices.flatten()
    order = flat.argsort()
    token = order // indices.shape[1]
    until_row = torch.histc(flat.float(), len(gate_up), 0, len(gate_up) - 1).cumsum(0).int()
    gate, up = torch._grouped_mm(x[token], gate_up.transpose(1, 2), offs=until_row).chunk(2, -1)
    y = torch._grouped_mm(F.silu(gate) * up, down.transpose(1, 2), offs=until_row)
    return torch.zeros_like(x).index_add_(0, token, (y * weights.flatten()[order].unsqueeze(-1)).to(x.dtype))


def main() -> None:
    start, limit = time.time(), float(sys.argv[1]) if len(sys.argv) > 1 else 70.0
    for part, share in ((grouped, 0.55), (eight_bits, 0.8), (layers, 1.0)):
        print(f"## {part.__name__} at {time.time() - start:.0f} s", flush=True)
        part(start + share * limit)


if __name__ == "__main__":
    main()
