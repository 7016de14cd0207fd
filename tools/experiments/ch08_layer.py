"""Chapter 08: where the time of a layer of experts goes, and what it has to do with balance.

    python tools/experiments/ch08_layer.py --out results/ch08_layer [--limit 60]

Writes `metrics.json`. `host`: for a layer of hidden 256, how long Python takes to launch it and each of its steps.
`kernels`: the GPU's time in a forward and backward pass, kernel by kernel, for four layers. `violation`: the time of
a pass against MaxVio, with the experts padded to the fullest, one by one, by torch's grouped product, and by ours.
Seconds, medians. Without a GPU the sizes are tiny, kernels go through Triton's interpreter and none is profiled.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.kernels import dispatch
from minidsk.kernels.bench.case import host_seconds, release, time_once
from minidsk.kernels.bench.rowwise import rows_of
from minidsk.kernels.experts import _Experts, experts, gated, gated_backward
from minidsk.kernels.grouped_gemm import rows_times_matrices, rows_times_rows
from minidsk.kernels.launch import INTERPRETED, triton
from minidsk.kernels.routing import collect, sort_by_expert, spread
from minidsk.model.moe import max_violation

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# tokens, hidden, inner, experts, choices
LAYERS = [(10, 16, 16, 3, 2)] if INTERPRETED else [(32768, 256, 128, 16, 4), (32768, 256, 128, 64, 6),
                                                   (16384, 2048, 1408, 16, 4), (16384, 2048, 1408, 64, 6)]  # fmt: skip
SKEWS = (0.0, 2.0) if INTERPRETED else (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
Way = Callable[..., Tensor]


def inputs(tokens: int, hidden: int, inner: int, count: int, k: int, skew: float = 0.0) -> tuple[list[Tensor], Tensor]:
    """Tokens, both matrices and weights, in bf16; and choices, expert e being likely in proportion to (e + 1)^-skew."""
    generator = torch.Generator(DEVICE).manual_seed(3)
    noise = -(-torch.rand(tokens, count, device=DEVICE, generator=generator).clamp(1e-7, 1 - 1e-7).log()).log()
    likely = -skew * torch.arange(1, count + 1, device=DEVICE).log()
    leaves = [rows_of(tokens, hidden, DEVICE),
              (rows_of(count * 2 * inner, hidden, DEVICE, seed=1) / hidden**0.5).unflatten(0, (count, 2 * inner)),
              (rows_of(count * hidden, inner, DEVICE, seed=2) / inner**0.5).unflatten(0, (count, hidden)),
              rows_of(tokens, k, DEVICE, seed=5).abs()]  # fmt: skip
    return [leaf.detach().requires_grad_() for leaf in leaves], (likely + noise).topk(k).indices


def layer(multiply: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Way:
    """A layer of experts around a way to multiply sorted rows by their experts' matrices."""

    def way(x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
        plan = dispatch.sort_by_expert(indices, len(gate_up))
        gate, up = multiply(dispatch.gather(x, plan), gate_up, plan.ends).chunk(2, -1)
        return dispatch.combine(multiply(F.silu(gate) * up, down, plan.ends), weights, plan)

    return way


def one_by_one(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Each expert's rows times its matrix, in turn."""
    parts = x.tensor_split(ends[:-1].tolist())
    return torch.cat([part @ matrix.T for part, matrix in zip(parts, weight, strict=True)])


def padded(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """All experts as one batched product, each filled up to the rows of the fullest."""
    ends = ends.long()
    counts = ends.diff(prepend=ends.new_zeros(1))
    experts, longest = len(counts), int(counts.max())
    expert = torch.repeat_interleave(torch.arange(experts, device=x.device), counts, output_size=len(x))
    place = torch.arange(len(x), device=x.device) - (ends - counts)[expert]
    rows = expert * longest + place
    filled = x.new_zeros(experts * longest, x.shape[-1]).index_copy(0, rows, x)
    return torch.bmm(filled.view(experts, longest, -1), weight.transpose(1, 2)).flatten(0, 1)[rows]


WAYS: dict[str, Way] = {"ours": experts, "padded to the fullest": layer(padded), "one by one": layer(one_by_one)}
if DEVICE.type == "cuda":
    WAYS["torch._grouped_mm"] = layer(lambda x, weight, ends: torch._grouped_mm(x, weight.mT, offs=ends))


def passes(way: Way, leaves: list[Tensor], indices: Tensor) -> Callable[[], object]:
    """One forward and backward pass."""
    slope = rows_of(*leaves[0].shape, DEVICE, seed=4)
    return lambda: torch.autograd.grad(way(*leaves, indices), leaves, slope)


def seconds_of(call: Callable[[], object], rounds: int) -> float:
    """The GPU's time, the median."""
    call()
    host = host_seconds(call, DEVICE) or 0.0
    return statistics.median(time_once(call, DEVICE, host) for _ in range(rounds))


def on_the_host() -> dict[str, Any]:
    """How long Python takes to launch each step of a small layer, and the functions in which it spends it."""
    tokens, _, _, count, _ = LAYERS[0]
    leaves, indices = inputs(*LAYERS[0])
    x, gate_up, down, weights = (leaf.detach() for leaf in leaves)
    plan = sort_by_expert(indices, count)
    gates, h = gated(x, gate_up, weights, plan)
    dy = spread(x, plan.inverse)
    context = SimpleNamespace()
    context.save_for_backward = lambda *saved: setattr(context, "saved_tensors", saved)

    def both() -> None:
        _Experts.forward(context, x, gate_up, down, weights, *plan)
        _Experts.backward(context, x)

    steps: dict[str, Callable[[], object]] = {
        "forward and backward": passes(experts, leaves, indices), "without autograd": both,
        "sort": lambda: sort_by_expert(indices, count), "gated": lambda: gated(x, gate_up, weights, plan),
        "rows times matrices": lambda: rows_times_matrices(h, down, plan.ends),
        "rows times rows": lambda: rows_times_rows(dy, h, plan.ends),
        "gated, backward": lambda: gated_backward(h, gates, weights, plan.order),
        "spread": lambda: spread(x, plan.inverse), "collect": lambda: collect(dy, plan.inverse, tokens),
        "one operation of torch": x.square,
    }  # fmt: skip
    found: dict[str, Any] = {}
    for name, call in steps.items():
        call()
        found[name] = host_seconds(call, DEVICE)
        print(f"host, {name:24} {1e6 * (found[name] or 0):8.0f} us", flush=True)
    profile = cProfile.Profile()
    for _ in range(3 if INTERPRETED else 50):
        profile.enable()
        both()
        profile.disable()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
    text = io.StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(25)
    print(text.getvalue()[:4000], flush=True)
    return found


def by_kernel(call: Callable[[], object], times: int = 5) -> dict[str, float]:
    """The GPU's seconds in one call, by the kernel's name."""
    if DEVICE.type != "cuda":
        return {}
    call()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(times):
            call()
        torch.cuda.synchronize()
    found = {e.key[:60]: e.self_device_time_total / times / 1e6 for e in profile.key_averages()}
    return {name: value for name, value in sorted(found.items(), key=lambda item: -item[1]) if value > 0}


def main() -> None:
    """Measure all three, print a table last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    if triton is None or (DEVICE.type == "cpu" and not INTERPRETED):
        sys.exit("ch08_layer: no GPU and no interpreter here; set TRITON_INTERPRET=1")
    start = time.perf_counter()
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"}
    found["host"] = on_the_host()
    found["kernels"], found["violation"] = [], []
    lines = []
    for sizes in LAYERS:
        call = passes(experts, *inputs(*sizes))
        entry = {"sizes": sizes, "seconds": seconds_of(call, arguments.rounds), "kernels": by_kernel(call)}
        found["kernels"].append(entry)
        lines.append(f"{sizes}: {1e3 * entry['seconds']:.3f} ms, of it "
                     + ", ".join(f"{name} {1e6 * value:.0f}" for name, value in list(entry["kernels"].items())[:9]))
        release(DEVICE)
    count = LAYERS[-1][3]
    for skew in SKEWS:
        leaves, indices = inputs(*LAYERS[-1], skew)
        violation = float(max_violation(torch.bincount(indices.flatten(), minlength=count).float()))
        entry = {"skew": skew, "max_violation": violation, "seconds": {}}
        for name, way in WAYS.items():
            if time.perf_counter() - start > arguments.limit:
                break
            try:
                entry["seconds"][name] = seconds_of(passes(way, leaves, indices), max(3, arguments.rounds // 2))
            except RuntimeError as error:
                entry["seconds"][name] = None
                print(f"{name}, MaxVio {violation:.2f}: {str(error).strip().splitlines()[0][:100]}")
            release(DEVICE)
        found["violation"].append(entry)
        lines.append(f"MaxVio {violation:5.2f}: " + ", ".join(
            f"{name} {1e3 * value:.2f} ms" for name, value in entry["seconds"].items() if value))  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "metrics.json").write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(lines))
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
