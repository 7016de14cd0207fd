"""Chapter 08: block sizes of the sort, the grouped and the gated products, each configuration of a small grid.

    python tools/experiments/ch08_blocks.py --out results/ch08_blocks [--limit 75] [--workers 16]

Writes `metrics.json`: for each product a list of configurations with the median seconds, or why one could not run, and
the fewest bytes that it must move. Worker processes compile beforehand, so that the GPU waits for none. Without a GPU
each grid shrinks to one configuration, through Triton's interpreter.
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
from minidsk.kernels.grouped_gemm import heaviest_first, rows_times_matrices, rows_times_rows
from minidsk.kernels.launch import INTERPRETED, Blocks, triton
from minidsk.kernels.routing import sort_by_expert

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Trial = tuple[str, Blocks, float, Callable[[], object]]  # what, its blocks, bytes, the call
# experts, rows, width, out
LARGE = (4, 24, 16, 16) if INTERPRETED else (64, 64 * 1536, 2048, 1408)
# tokens, hidden, inner, experts, choices: the layers of the bench at hidden 256
LAYERS = [(10, 16, 16, 3, 2)] if INTERPRETED else [(32768, 256, 128, 16, 4), (32768, 256, 128, 64, 6)]
MATRICES = ("ROWS", "OUT", "INNER", "PER_SM", "FLATTEN", "num_warps", "num_stages")
ROWS = ("ROWS", "OUT", "IN", "num_warps", "num_stages")


def grid(names: tuple[str, ...], *choices: tuple[Any, ...]) -> list[Blocks | None]:
    """Block sizes by name; in the interpreter the kernel's own alone."""
    return [None] if INTERPRETED else [dict(zip(names, choice, strict=True)) for choice in choices]


def narrow_trials() -> Iterator[Trial]:
    """Every product of a layer of hidden 256, and its sort."""
    for tokens, hidden, inner, count, k in LAYERS:
        name, pairs = f"{count} experts", tokens * k
        generator = torch.Generator(DEVICE).manual_seed(3)
        indices = torch.rand(tokens, count, device=DEVICE, generator=generator).topk(k).indices
        plan, weights = sort_by_expert(indices, count), torch.ones(tokens, k, device=DEVICE)
        gate_up = rows_of(count * 2 * inner, hidden, DEVICE, seed=1).unflatten(0, (count, 2 * inner))
        down = rows_of(count * hidden, inner, DEVICE, seed=2).unflatten(0, (count, hidden))
        x, dy = rows_of(tokens, hidden, DEVICE), rows_of(pairs, hidden, DEVICE, seed=4)
        h, dgates = rows_of(pairs, inner, DEVICE, seed=5), rows_of(pairs, 2 * inner, DEVICE, seed=6)
        for blocks in grid(("PAIRS", "CHUNK", "num_warps"), (1024, 128, 4), (512, 128, 4), (256, 128, 4), (128, 128, 4),
                           (256, 64, 4), (512, 128, 8)):  # fmt: skip
            yield f"{name}, sort", blocks or {}, 24 * pairs, (
                lambda i=indices, c=count, b=blocks: sort_by_expert(i, c, blocks=b))  # fmt: skip
        small = grid(MATRICES, (128, 256, 64, 1, True, 8, 3), (128, 128, 64, 2, True, 4, 3),
                     (128, 128, 64, 2, True, 8, 3), (64, 256, 64, 2, True, 4, 3), (64, 128, 64, 3, True, 4, 3),
                     (64, 128, 64, 16, False, 4, 3), (128, 128, 64, 16, False, 8, 3), (64, 128, 128, 3, True, 4, 2),
                     (128, 128, 128, 1, True, 8, 2))  # fmt: skip
        for what, rows, matrix, turned in (("down", h, down, False), ("d inner", dy, down, True),
                                           ("dx", dgates, gate_up, True)):  # fmt: skip
            out = matrix.shape[2] if turned else matrix.shape[1]
            for blocks in small:
                yield f"{name}, {what}", blocks or {}, 2 * pairs * (rows.shape[1] + out), (
                    lambda a=(rows, matrix, plan.ends, turned, blocks): rows_times_matrices(*a))  # fmt: skip
        order = heaviest_first(plan.ends)
        for what, left, right in (("d down", dy, h), ("d gate and up", dgates, dy)):
            for blocks in grid(ROWS, (128, 64, 64, 4, 3), (64, 64, 64, 4, 4), (64, 64, 128, 4, 4), (128, 64, 128, 4, 3),
                               (64, 128, 128, 4, 4), (64, 128, 256, 8, 3), (128, 128, 64, 4, 3),
                               (128, 64, 64, 4, 4)):  # fmt: skip
                yield f"{name}, {what}", blocks or {}, 2 * pairs * (left.shape[1] + right.shape[1]), (
                    lambda a=(left, right, plan.ends, order, blocks): rows_times_rows(*a))  # fmt: skip
        moved = 2 * (tokens * hidden + 3 * pairs * inner)
        fetched = grid(MATRICES, (128, 128, 64, 1, True, 8, 3), (128, 128, 64, 1, True, 8, 4),
                       (128, 64, 64, 2, True, 8, 3), (128, 64, 64, 3, True, 4, 3), (64, 128, 64, 2, True, 4, 3),
                       (64, 128, 64, 16, False, 4, 3), (64, 64, 64, 4, True, 4, 3), (64, 128, 128, 2, True, 4, 2),
                       (64, 128, 64, 2, True, 8, 3), (128, 64, 64, 16, False, 8, 3))  # fmt: skip
        gathered = grid(MATRICES, (128, 128, 64, 1, True, 8, 3), (64, 128, 64, 2, True, 4, 3),
                        (64, 128, 64, 16, False, 4, 3), (128, 64, 64, 2, True, 8, 3))  # fmt: skip
        for fetch, choices in ((True, fetched), (False, gathered)):
            for blocks in choices:
                yield f"{name}, gated, {'fetched' if fetch else 'gathered'}", blocks or {}, moved, (
                    lambda a=(x, gate_up, weights, plan, fetch, blocks): gated(*a))  # fmt: skip


def large_trials() -> Iterator[Trial]:
    """The large grouped product, even and skewed, the experts as they come or the heaviest first."""
    count, rows, width, out = LARGE
    weight = (rows_of(count * out, width, DEVICE, seed=2) / width**0.5).unflatten(0, (count, out))
    x, dy = rows_of(rows, width, DEVICE), rows_of(rows, out, DEVICE, seed=1)
    moved = 2 * (x.numel() + dy.numel() + weight.numel())
    for load, counts in (("even", loads(count, rows, 0.0)), ("skewed", loads(count, rows, 1.0)),
                         ("skewed, heaviest first", loads(count, rows, 1.0).sort(descending=True).values)):  # fmt: skip
        ends = counts.cumsum(0).int().to(DEVICE)
        for blocks in grid(MATRICES, (128, 256, 64, 1, True, 8, 3), (256, 128, 64, 1, True, 8, 3)):
            for what, left, turned in (("forward", x, False), ("dx", dy, True)):
                yield f"large, {load}, {what}", blocks or {}, moved, (
                    lambda a=(left, weight, ends, turned, blocks): rows_times_matrices(*a))  # fmt: skip
        order = heaviest_first(ends)
        for blocks in grid(ROWS, (64, 128, 256, 8, 3), (64, 256, 128, 8, 3)):
            yield f"large, {load}, dw", blocks or {}, moved, (
                lambda a=(dy, x, ends, order, blocks): rows_times_rows(*a))  # fmt: skip


def trials() -> Iterator[Trial]:
    """All of them; the tensors of one group are freed before the next."""
    return itertools.chain.from_iterable(make() for make in (narrow_trials, large_trials))


def rivals() -> Iterator[Trial]:
    """What torch has for the large products, on the same inputs."""
    if DEVICE.type != "cuda":
        return
    count, rows, width, out = LARGE
    weight = (rows_of(count * out, width, DEVICE, seed=2) / width**0.5).unflatten(0, (count, out))
    x, dy = rows_of(rows, width, DEVICE), rows_of(rows, out, DEVICE, seed=1)
    moved = 2 * (x.numel() + dy.numel() + weight.numel())
    for load, skew in (("even", 0.0), ("skewed", 1.0)):
        ends = loads(count, rows, skew).cumsum(0).int().to(DEVICE)
        for kind, left, right in (("forward", x, weight.mT), ("dx", dy, weight), ("dw", dy.T, x)):
            yield f"torch, {load}, {kind}", {}, moved, (
                lambda left=left, right=right, ends=ends: torch._grouped_mm(left, right, offs=ends))  # fmt: skip


def compile_share(share: int, shares: int) -> None:
    """Call every `shares`-th trial once, so that it lies compiled in Triton's cache."""
    for number, (*_, call) in enumerate(trials()):
        if number % shares == share:
            with contextlib.suppress(Exception):
                call()


def main() -> None:
    """Measure each configuration, print the best of each product last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=75.0, help="seconds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--workers", type=int, default=16)
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
            process.join(timeout=max(0.0, start + arguments.limit / 2 - time.perf_counter()))
        for process in pool:
            process.terminate()
        print(f"compiled in {time.perf_counter() - start:.0f} s", flush=True)
    for name, blocks, moved, call in itertools.chain(rivals(), trials()):
        if time.perf_counter() - start > arguments.limit:
            print("the time was up before", name, blocks)
            break
        try:
            call()
            seconds = statistics.median(time_once(call, DEVICE) for _ in range(arguments.rounds))
            found.append({"product": name, "blocks": blocks, "bytes": moved, "seconds": seconds})
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
            rate = best["bytes"] / best["seconds"] / 1e9
            print(f"  {name:34} {best['seconds'] * 1e6:7.0f} us, first {ran[0]['seconds'] * 1e6:7.0f} us, "
                  f"{rate:5.0f} GB/s {best['blocks']}")  # fmt: skip


if __name__ == "__main__":
    main()
