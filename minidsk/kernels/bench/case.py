"""One kernel beside its rivals, and how it is timed."""

from __future__ import annotations

import functools
import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One kernel on one set of inputs, and what else does the same work.

    `bytes`: the fewest that must move through the GPU's memory, each input read once and each output written once.
    `flops`: the operations that the result needs. `target`: the time of the best rival over ours that we want to
    reach; with `against_copy`, the share of the copy's bandwidth. `error`: the relative error of ours, for the record.
    A rival that fails (not installed, out of memory) is recorded with its reason. A name that begins with "ours" is no
    rival but another way of ours.
    """

    name: str  # "softmax, forward"
    setting: str  # "bf16 32768x4096"
    ours: Call
    rivals: Mapping[str, Call]
    bytes: float
    flops: float
    target: float = 1.0
    against_copy: float | None = None
    error: Callable[[], float] | None = None
    rounds: int = 20
    notes: Mapping[str, Any] = field(default_factory=dict)  # anything else for the record, such as the chosen blocks


def measure(case: Case, device: torch.device) -> dict[str, Any]:
    """Seconds and memory of every contestant, as one entry for `metrics.json`.

    Contestants take turns, so that a clock that drifts meets all of them alike. Medians and quartiles in seconds;
    `peak_bytes`: the most memory that one call held beyond what was there before it; `host_seconds`: how long Python
    takes to launch a call's kernels, which is the time that a user waits where the kernels are shorter.
    """
    start = time.perf_counter()
    contestants: dict[str, Call] = {"ours": case.ours, **case.rivals}
    found: dict[str, dict[str, Any]] = {}
    for name, call in contestants.items():
        try:
            call()  # compiles, and chooses among configurations
            found[name] = {"peak_bytes": peak_bytes(call, device), "host_seconds": host_seconds(call, device)}
        except (RuntimeError, ImportError, ValueError, NotImplementedError, AssertionError) as error:
            if name == "ours":
                raise
            found[name] = {"failed": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"}
        release(device)
    running = [name for name, entry in found.items() if "failed" not in entry]
    times: dict[str, list[float]] = {name: [] for name in running}
    for number in range(case.rounds + 3):
        for name in running:
            seconds = time_once(contestants[name], device, found[name]["host_seconds"] or 0.0)
            if number >= 3:  # the first rounds warm up
                times[name].append(seconds)
    for name, seconds_of in times.items():
        low, middle, high = statistics.quantiles(seconds_of, n=4)
        found[name] |= {"median": middle, "quartiles": [low, high], "gb_s": case.bytes / middle / 1e9,
                        "tflop_s": case.flops / middle / 1e12}  # fmt: skip
    rivals = [name for name in running if not name.startswith("ours")]
    best = min(rivals, key=lambda name: found[name]["median"], default=None)
    return {
        "case": case.name, "setting": case.setting, "bytes": case.bytes, "flops": case.flops, "contestants": found,
        "best_rival": best, "ratio": found[best]["median"] / found["ours"]["median"] if best else None,
        "target": case.target, "against_copy": case.against_copy, "rounds": case.rounds,
        "relative_error": case.error() if case.error else None, **case.notes,
        "seconds": time.perf_counter() - start,
    }  # fmt: skip


def host_seconds(call: Call, device: torch.device) -> float | None:
    """Seconds until a call returns to an idle GPU's host, the median of five; None on a CPU.

    The kernels run on meanwhile, so this is the Python that launches them, unless the call itself waits for the GPU.
    """
    if device.type != "cuda":
        return None
    times = []
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    torch.cuda.synchronize()
    return statistics.median(times)


LEAD_IN = 3e-3, 60e-3
"""Seconds for which the GPU is kept busy before a call, at least and at most."""


def time_once(call: Call, device: torch.device, host: float = 0.0) -> float:
    """Seconds of one call: between two events on a GPU, by the clock on a CPU.

    The GPU first fills memory, for twice the `host` seconds that Python takes to launch the call: until it comes to
    the first event, the whole call stands in its queue. So the time is the kernels' own, and that of launching them is
    reported apart. (A call that waits for the GPU midway cannot be queued, and pays for it here as in use.) The
    filling also empties the L2 cache, so that every input comes from memory.
    """
    if device.type != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    lead_in = min(max(2 * host, LEAD_IN[0]), LEAD_IN[1])
    for _ in range(math.ceil(lead_in / _fill_seconds(device))):
        _scratch(device).zero_()
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    before.record()
    call()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1e3


@functools.lru_cache
def _scratch(device: torch.device) -> Tensor:
    return torch.empty(1 << 30, dtype=torch.int8, device=device)


@functools.lru_cache
def _fill_seconds(device: torch.device) -> float:
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    _scratch(device).zero_()
    marks[0].record()
    for _ in range(10):
        _scratch(device).zero_()
    marks[1].record()
    marks[1].synchronize()
    return marks[0].elapsed_time(marks[1]) / 1e4


def peak_bytes(call: Call, device: torch.device) -> int | None:
    """The most GPU memory that a call holds beyond what is held before it; None on a CPU."""
    if device.type != "cuda":
        call()
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def release(device: torch.device) -> None:
    """Give back the memory that nobody uses."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def relative_error(ours: Tensor, exact: Tensor) -> float:
    """``|ours - exact| / |exact|`` over all elements, in float64."""
    exact = exact.detach().double()
    return float((ours.detach().double() - exact).norm() / exact.norm())
