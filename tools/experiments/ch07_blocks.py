"""How much the block sizes matter: one kernel, one input, every configuration of a small grid.

    python tools/experiments/ch07_blocks.py --out results/ch07_blocks [--limit 60]

Writes `metrics.json`: for each kernel a list of configurations with the median seconds, or why one could not run.
Without a GPU the grid shrinks to one small configuration each, through Triton's interpreter.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from minidsk.kernels import attention, attention_backward, cross_entropy, rmsnorm, softmax
from minidsk.kernels.bench.case import time_once
from minidsk.kernels.bench.rowwise import rows_of
from minidsk.kernels.descriptors import descriptor
from minidsk.kernels.launch import INTERPRETED, triton

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Trial = tuple[str, dict[str, int], Callable[[], object]]


def softmax_trials() -> Iterator[Trial]:
    """Rows of 4,096: rows a program, warps."""
    rows, columns = (16, 64) if INTERPRETED else (32768, 4096)
    x = rows_of(rows, columns, DEVICE)
    y = torch.empty_like(x)
    for height, warps in [(1, 4)] if INTERPRETED else itertools.product((1, 2, 4), (1, 2, 4, 8, 16)):
        yield "softmax", {"rows": height, "warps": warps}, lambda height=height, warps=warps: (
            softmax._softmax_row[(triton.cdiv(rows, height),)](
                x, columns, y, columns, rows, columns, HEIGHT=height, WIDTH=columns, num_warps=warps))  # fmt: skip


def long_softmax_trials() -> Iterator[Trial]:
    """Rows of 131,072: columns at a time, warps."""
    rows, columns = (2, 500) if INTERPRETED else (1024, 131072)
    x = rows_of(rows, columns, DEVICE)
    y = torch.empty_like(x)
    for block, warps in [(64, 4)] if INTERPRETED else itertools.product((4096, 8192, 16384), (8, 16, 32)):
        yield "softmax, long rows", {"columns": block, "warps": warps}, lambda block=block, warps=warps: (
            softmax._softmax_long_row[(rows,)](
                x, columns, y, columns, columns, BLOCK=block, num_warps=warps))  # fmt: skip


def norm_trials() -> Iterator[Trial]:
    """RMSNorm's two passes: warps; programs a multiprocessor and stages of the backward pass."""
    rows, columns = (16, 64) if INTERPRETED else (32768, 4096)
    x, dy = rows_of(rows, columns, DEVICE), rows_of(rows, columns, DEVICE, seed=1)
    weight, inverse = x[0].clone(), torch.ones(rows, device=DEVICE)
    out = torch.empty_like(x)
    for warps in (4,) if INTERPRETED else (2, 4, 8, 16):
        yield "RMSNorm, forward", {"warps": warps}, lambda warps=warps: rmsnorm._forward[(rows,)](
            x, columns, weight, out, inverse, rows, columns, 1e-6,
            HEIGHT=1, WIDTH=columns, num_warps=warps)  # fmt: skip
    grid = [(4, 1, 1)] if INTERPRETED else itertools.product((4, 8, 16), (1, 2, 3, 4), (1, 2, 3))
    for warps, each, stages in grid:
        if warps * each > 32:
            continue
        programs = 132 * each if DEVICE.type == "cuda" else 4
        parts = torch.empty(programs, columns, device=DEVICE)
        yield "RMSNorm, backward", {"warps": warps, "programs": each, "stages": stages}, (
            lambda warps=warps, programs=programs, parts=parts, stages=stages: (rmsnorm._backward[(programs,)](
                x, columns, weight, inverse, dy, columns, out, parts, rows, columns, HEIGHT=1, WIDTH=columns,
                STAGES=stages, num_warps=warps), parts.sum(0)))  # fmt: skip


def loss_trials() -> Iterator[Trial]:
    """Cross-entropy of 4,096 rows of 131,072 logits, in place: columns at a time, warps."""
    rows, columns = (2, 500) if INTERPRETED else (4096, 131072)
    logits = rows_of(rows, columns, DEVICE)
    targets, losses = torch.zeros(rows, dtype=torch.long, device=DEVICE), torch.empty(rows, device=DEVICE)
    for block, warps in [(64, 4)] if INTERPRETED else itertools.product((4096, 8192, 16384), (8, 16, 32)):
        yield "cross-entropy", {"columns": block, "warps": warps}, lambda block=block, warps=warps: (
            cross_entropy._loss_and_gradient[(rows,)](
                logits, columns, targets, losses, logits, columns, columns, -100,
                GRADIENT=True, BLOCK=block, num_warps=warps))  # fmt: skip


def attention_trials() -> Iterator[Trial]:
    """Attention at MLA's widths, causal: queries and keys a block, warps, stages; forward and both backward kernels."""
    heads, time_, key, value = (1, 40, 48, 32) if INTERPRETED else (16, 8192, 192, 128)
    q, k, v, do = (rows_of(heads * time_, width, DEVICE, seed=seed).view(1, heads, time_, width)
                   for seed, width in enumerate((key, key, value, value)))  # fmt: skip
    if INTERPRETED:
        q, k, v, do = q.float(), k.float(), v.float(), do.float()
    sizes = attention_backward.split(q, v)
    first, second, wide = sizes["FIRST"], sizes["SECOND"], sizes["VALUE"]
    out = torch.empty_like(v)
    sums, delta = (torch.zeros(heads, time_, device=DEVICE) + 8 for _ in range(2))
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    scale = key**-0.5

    def maps(rows_q: int, rows_k: int) -> list[Any]:
        cut = ((q, rows_q, first), (q, rows_q, second), (k, rows_k, first), (k, rows_k, second), (v, rows_k, wide))
        return [descriptor(x, [1, 1, rows, width]) for x, rows, width in cut]

    def strides(x: torch.Tensor) -> tuple[Any, ...]:
        return x, *x.stride()[:3]

    def forward(rows_q: int, rows_k: int, warps: int, stages: int) -> object:
        return attention._forward.fn[(triton.cdiv(time_, rows_q), heads)](
            *maps(rows_q, rows_k), *strides(out), sums, heads, time_, time_, value, scale / math.log(2),
            CAUSAL=True, **sizes, BLOCK_Q=rows_q, BLOCK_K=rows_k, num_warps=warps, num_stages=stages)  # fmt: skip

    def backward(kernel: Any, rows_q: int, rows_k: int, warps: int, stages: int) -> object:
        grads = (*strides(dk), *strides(dv)) if kernel is attention_backward._keys else strides(dq)
        keys = kernel is attention_backward._keys
        extra, adding = (maps(rows_q, rows_k)[:2], {"ADDING": False}) if keys else ([], {})
        blocks = triton.cdiv(time_, rows_k if kernel is attention_backward._keys else rows_q)
        return kernel.fn[(blocks, heads)](
            *maps(rows_q, rows_k), descriptor(do, [1, 1, rows_q, wide]), *extra, sums, delta, *grads, heads, time_,
            time_, key, value, scale / math.log(2), scale, CAUSAL=True, **adding, **sizes, BLOCK_Q=rows_q,
            BLOCK_K=rows_k, num_warps=warps, num_stages=stages)  # fmt: skip

    small = [(16, 16, 4, 1)]
    for c in small if INTERPRETED else [(128, 128, 8, 2), (128, 64, 8, 2), (128, 64, 8, 3), (128, 64, 8, 4),
                                        (128, 32, 8, 3), (64, 64, 4, 2), (64, 64, 4, 3), (64, 128, 4, 2)]:  # fmt: skip
        yield "attention, forward", named(c), lambda c=c: forward(*c)
    for c in small if INTERPRETED else [(64, 128, 8, 2), (32, 128, 8, 2), (32, 128, 8, 3), (64, 64, 8, 2),
                                        (64, 64, 4, 2), (32, 64, 4, 2), (32, 64, 4, 3)]:  # fmt: skip
        yield "attention, dk and dv", named(c), lambda c=c: backward(attention_backward._keys, *c)
    for c in small if INTERPRETED else [(128, 64, 8, 2), (128, 32, 8, 3), (128, 32, 8, 2), (64, 64, 4, 2),
                                        (64, 32, 4, 3), (64, 64, 8, 2)]:  # fmt: skip
        yield "attention, dq", named(c), lambda c=c: backward(attention_backward._queries, *c)


def named(blocks: tuple[int, int, int, int]) -> dict[str, int]:
    """The four numbers with their names."""
    return dict(zip(("queries", "keys", "warps", "stages"), blocks, strict=True))


def head_trials() -> Iterator[Trial]:
    """The loss with its head, forward and backward: bytes of logits at a time."""
    tokens, hidden, words = (16, 16, 64) if INTERPRETED else (32768, 2048, 131072)
    x = rows_of(tokens, hidden, DEVICE).requires_grad_()
    weight = (rows_of(words, hidden, DEVICE, seed=1) / hidden**0.5).requires_grad_()
    targets = torch.randint(words, (tokens,), device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(2))
    for power in (12,) if INTERPRETED else (28, 29, 30, 31):
        yield "linear cross-entropy", {"chunk_mib": 2**power >> 20}, lambda power=power: torch.autograd.grad(
            cross_entropy.linear_cross_entropy(x, weight, targets, chunk_bytes=2**power), (x, weight))  # fmt: skip


def main() -> None:
    """Measure each configuration, print the best of each kernel last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    if triton is None or (DEVICE.type == "cpu" and not INTERPRETED):
        sys.exit("ch07_blocks: no GPU and no interpreter here; set TRITON_INTERPRET=1")
    start, found = time.perf_counter(), []
    makers = (attention_trials, norm_trials, softmax_trials, long_softmax_trials, loss_trials, head_trials)
    for kernel, blocks, call in itertools.chain.from_iterable(make() for make in makers):
        if time.perf_counter() - start > arguments.limit:
            print("the time was up before", kernel, blocks)
            break
        try:
            call()
            seconds = statistics.median(time_once(call, DEVICE) for _ in range(arguments.rounds))
            found.append({"kernel": kernel, "blocks": blocks, "seconds": seconds})
        except Exception as error:
            found.append({"kernel": kernel, "blocks": blocks, "failed": str(error).strip().splitlines()[0][:160]})
        print(kernel, blocks, found[-1].get("failed") or f"{found[-1]['seconds'] * 1e6:.0f} us", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"
    (arguments.out / "metrics.json").write_text(json.dumps({"device": device, "trials": found}, indent=1) + "\n")
    print(f"\nthe fastest of each, {time.perf_counter() - start:.0f} s in all:")
    for kernel, group in itertools.groupby(found, key=lambda trial: trial["kernel"]):
        ran = [trial for trial in group if "seconds" in trial]
        if ran:
            best = min(ran, key=lambda trial: trial["seconds"])
            print(f"  {kernel:22} {best['seconds'] * 1e6:9.0f} us {best['blocks']}")


if __name__ == "__main__":
    main()
