"""Chapters 08 and 09: block sizes of the grouped, gated and FP8 products, each configuration of a small grid.

    python tools/experiments/ch08_blocks.py --out results/ch08_blocks [--limit 80] [--workers 8]

Writes `metrics.json`: for each product a list of configurations with the median seconds, or why one could not run.
Worker processes compile beforehand, so that the GPU waits for none. Without a GPU each grid shrinks to one
configuration, through Triton's interpreter.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from minidsk.kernels.bench.case import time_once
from minidsk.kernels.bench.grouped import loads
from minidsk.kernels.bench.rowwise import rows_of
from minidsk.kernels.experts import gated
from minidsk.kernels.fp8 import quantize, scaled_matmul
from minidsk.kernels.grouped_gemm import rows_times_matrices, rows_times_rows
from minidsk.kernels.launch import INTERPRETED, triton
from minidsk.kernels.routing import sort_by_expert

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Trial = tuple[str, dict[str, Any], Callable[[], object]]
# experts, rows, width, out; tokens and choices of the layer
LARGE = (4, 24, 16, 16) if INTERPRETED else (64, 64 * 1536, 2048, 1408)
TINY = (4, 24, 16, 16) if INTERPRETED else (16, 4 * 32768, 256, 128)
COMMON = ("PER_SM", "FLATTEN", "num_warps", "num_stages")


def matrix_grid(tiny: bool) -> list[dict[str, Any]]:
    """Rows, columns and depth of a tile; programs a multiprocessor; flattened; warps and stages."""
    large = [(128, 256, 64, 1, True, 8, 3), (128, 256, 64, 1, True, 8, 4), (128, 256, 64, 1, False, 8, 3),
             (256, 128, 64, 1, True, 8, 3), (256, 128, 64, 1, True, 8, 4), (256, 128, 64, 1, False, 8, 4),
             (128, 128, 64, 2, True, 4, 3), (128, 128, 64, 2, False, 4, 3), (128, 128, 64, 1, True, 8, 4),
             (128, 256, 64, 8, False, 8, 3), (128, 128, 64, 16, False, 4, 3)]  # fmt: skip
    small = [(128, 256, 64, 1, True, 8, 3), (128, 128, 64, 2, True, 4, 3), (128, 128, 64, 2, True, 8, 3),
             (64, 128, 64, 3, True, 4, 3), (128, 64, 64, 3, True, 4, 3), (64, 256, 64, 2, True, 4, 3)]  # fmt: skip
    return [dict(zip(("ROWS", "OUT", "INNER", *COMMON), c, strict=True)) for c in (small if tiny else large)]


def grouped_trials() -> Iterator[Trial]:
    """Both products with matrices, and the product of rows, large and tiny."""
    for tiny, sizes in ((False, LARGE), (True, TINY)):
        count, rows, width, out = sizes
        size = "tiny" if tiny else "large"
        weight = (rows_of(count * out, width, DEVICE, seed=2) / width**0.5).unflatten(0, (count, out))
        x, dy = rows_of(rows, width, DEVICE), rows_of(rows, out, DEVICE, seed=1)
        for skew in (0.0,) if tiny else (0.0, 1.0):
            ends = loads(count, rows, skew).cumsum(0).int().to(DEVICE)
            load = "skewed" if skew else "even"
            for blocks in [None] if INTERPRETED else matrix_grid(tiny):
                yield f"{size}, {load}, forward", blocks or {}, lambda x=x, w=weight, e=ends, b=blocks: (
                    rows_times_matrices(x, w, e, blocks=b))  # fmt: skip
                if skew == 0:
                    yield f"{size}, {load}, dx", blocks or {}, lambda dy=dy, w=weight, e=ends, b=blocks: (
                        rows_times_matrices(dy, w, e, transposed=True, blocks=b))  # fmt: skip
            grid = [(64, 128, 256, 8, 3), (64, 128, 256, 8, 4), (64, 256, 128, 8, 4), (64, 128, 128, 4, 3),
                    (128, 128, 128, 8, 3), (64, 128, 128, 8, 4), (128, 64, 64, 4, 3), (64, 64, 64, 4, 4)]  # fmt: skip
            names = ("ROWS", "OUT", "IN", "num_warps", "num_stages")
            for blocks in [None] if INTERPRETED else [dict(zip(names, c, strict=True)) for c in grid]:
                yield f"{size}, {load}, dw", blocks or {}, lambda x=x, dy=dy, e=ends, b=blocks: (
                    rows_times_rows(dy, x, e, blocks=b))  # fmt: skip


def gated_trials() -> Iterator[Trial]:
    """The first product of the experts, its rows fetched within or gathered before."""
    for size, (count, pairs, hidden, inner), k in (("large", LARGE, 6), ("tiny", TINY, 4)):
        tokens = pairs // k
        x = rows_of(tokens, hidden, DEVICE)
        weight = (rows_of(count * 2 * inner, hidden, DEVICE, seed=2) / hidden**0.5).unflatten(0, (count, 2 * inner))
        chances = torch.rand(tokens, count, device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(3))
        plan, weights = sort_by_expert(chances.topk(min(k, count)).indices, count), torch.ones(tokens, min(k, count))
        weights = weights.to(DEVICE)
        grid = [(128, 128, 64, 1, True, 8, 3), (128, 128, 64, 1, True, 8, 4), (128, 128, 64, 1, False, 8, 3),
                (128, 64, 64, 2, True, 4, 3), (128, 64, 64, 2, False, 4, 3), (128, 64, 64, 2, True, 8, 3)]  # fmt: skip
        for fetch in (False, True):
            for c in [None] if INTERPRETED else grid:
                blocks = None if c is None else dict(zip(("ROWS", "OUT", "INNER", *COMMON), c, strict=True))
                yield f"gated, {size}", {"fetch": fetch, **(blocks or {})}, (
                    lambda a=(x, weight, weights, plan, fetch, blocks): gated(*a))  # fmt: skip


def fp8_trials() -> Iterator[Trial]:
    """The blockwise product: tiles, warps, stages, and how many registers a thread may have."""
    side = 32 if INTERPRETED else 8192
    a, b = quantize(rows_of(side, side, DEVICE)), quantize(rows_of(side, side, DEVICE, seed=1), (128, 128))
    thin = quantize(rows_of(side, side, DEVICE, seed=1))
    grid = [(128, 128, 8, 3, 128), (128, 128, 8, 4, None), (128, 256, 8, 3, None), (256, 128, 8, 3, None),
            (64, 256, 8, 3, None), (64, 128, 4, 3, None), (128, 128, 4, 3, None), (128, 64, 4, 3, 168)]  # fmt: skip
    for name, right in (("128 x 128", b), ("1 x 128", thin)):
        for c in [None] if INTERPRETED else grid:
            blocks = None if c is None else dict(
                zip(("ROWS", "COLUMNS", "num_warps", "num_stages", "maxnreg"), c, strict=True))  # fmt: skip
            yield f"FP8, {name}", blocks or {}, lambda right=right, blocks=blocks: (
                scaled_matmul(a, right, blocks=blocks))  # fmt: skip


def trials() -> Iterator[Trial]:
    """All of them; the tensors of one group are freed before the next."""
    return itertools.chain.from_iterable(make() for make in (fp8_trials, grouped_trials, gated_trials))


def rivals() -> Iterator[Trial]:
    """What torch has, on the same inputs."""
    if DEVICE.type != "cuda":
        return
    a, b = rows_of(8192, 8192, DEVICE), rows_of(8192, 8192, DEVICE, seed=1)
    yield "bf16 torch.matmul", {}, lambda: a @ b.T
    for name, (count, rows, width, out), skews in (("large", LARGE, (0.0, 1.0)), ("tiny", TINY, (0.0,))):
        weight = (rows_of(count * out, width, DEVICE, seed=2) / width**0.5).unflatten(0, (count, out))
        x, dy = rows_of(rows, width, DEVICE), rows_of(rows, out, DEVICE, seed=1)
        for skew in skews:
            ends, load = loads(count, rows, skew).cumsum(0).int().to(DEVICE), "skewed" if skew else "even"
            for kind, left, right in (("forward", x, weight.mT), ("dx", dy, weight), ("dw", dy.T, x)):
                yield f"torch, {name}, {load}, {kind}", {}, (
                    lambda left=left, right=right, ends=ends: torch._grouped_mm(left, right, offs=ends))  # fmt: skip


def compile_share(share: int, shares: int) -> None:
    """Call every `shares`-th trial once, so that it lies compiled in Triton's cache."""
    for number, (_, _, call) in enumerate(trials()):
        if number % shares == share:
            with contextlib.suppress(Exception):
                call()


def main() -> None:
    """Measure each configuration, print the best of each product last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=80.0, help="seconds")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--workers", type=int, default=8)
    arguments = parser.parse_args()
    if triton is None or (DEVICE.type == "cpu" and not INTERPRETED):
        sys.exit("ch08_blocks: no GPU and no interpreter here; set TRITON_INTERPRET=1")
    start, found = time.perf_counter(), []
    if DEVICE.type == "cuda":
        context = multiprocessing.get_context("spawn")
        pool = [context.Process(target=compile_share, args=(i, arguments.workers)) for i in range(arguments.workers)]
        for process in pool:
            process.start()
        for process in pool:
            process.join(timeout=max(1.0, arguments.limit / 2))
        for process in pool:
            process.terminate()
        print(f"compiled in {time.perf_counter() - start:.0f} s", flush=True)
    for name, blocks, call in itertools.chain(rivals(), trials()):
        if time.perf_counter() - start > arguments.limit:
            print("the time was up before", name, blocks)
            break
        try:
            call()
            seconds = statistics.median(time_once(call, DEVICE) for _ in range(arguments.rounds))
            found.append({"product": name, "blocks": blocks, "seconds": seconds})
        except Exception as error:
            found.append({"product": name, "blocks": blocks, "failed": str(error).strip().splitlines()[0][:160]})
        print(name, *blocks.values(), found[-1].get("failed") or f"{found[-1]['seconds'] * 1e6:.0f} us", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"
    (arguments.out / "metrics.json").write_text(json.dumps({"device": device, "trials": found}, indent=1) + "\n")
    print(f"\nthe fastest of each, {time.perf_counter() - start:.0f} s in all:")
    for name in dict.fromkeys(trial["product"] for trial in found):
        ran = [trial for trial in found if trial["product"] == name and "seconds" in trial]
        if ran:
            best = min(ran, key=lambda trial: trial["seconds"])
            print(f"  {name:26} {best['seconds'] * 1e6:9.0f} us {best['blocks']}")


if __name__ == "__main__":
    main()
