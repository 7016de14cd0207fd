"""Everything of the model that is measured, in one run, with a table of what came out."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import torch

from minidsk.bench.contest import times_a_copy
from minidsk.bench.generation import generation
from minidsk.bench.plan import AXES, Plan
from minidsk.bench.speculation import speculation
from minidsk.bench.step import step
from minidsk.bench.training import training
from minidsk.kernels.bench.case import release
from minidsk.kernels.bench.ceilings import measure_ceilings


class Measured(Protocol):
    """One point of a bench: what it is called, and how it is measured."""

    @property
    def setting(self) -> str:
        """Its sizes in words."""

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Its entry of `metrics.json`."""


BENCHES: Mapping[str, Callable[[Plan, tuple[str, ...], torch.device], Iterable[Measured]]] = {
    "generation": generation, "speculation": speculation, "training": training, "step": step,
}  # fmt: skip
PACKAGES = ("torch", "triton", "transformers", "trl", "vllm", "numpy")


def run_model_benches(
    device: torch.device,
    plan: Plan,
    names: tuple[str, ...],
    only: tuple[str, ...] = (),
    limit: float = float("inf"),
    earlier: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Everything measured so far, after each point, printed as it comes: first the growth with the batch of every
    bench, then that with context, experts and layers. What would begin after `limit` seconds, or does not fit into the
    GPU's memory, is left out, and said so.

    only: the axes that are measured, all where none is named. earlier: what a run before left, of which other benches
    and axes are kept. Raises `ValueError` for an axis that is not known, and where `earlier` is of another machine.
    """
    check_axes(only)
    start = time.perf_counter()
    asked = only or AXES
    metrics = begin(device, names, asked, plan.small, earlier)
    print(described(metrics["ceilings"], metrics["machine"]), flush=True)
    run = metrics["runs"][-1]
    for axes in (AXES[:1], AXES[1:]):
        for name in names:
            wanted = tuple(axis for axis in axes if axis in asked)
            for point in BENCHES[name](plan, wanted, device):
                if time.perf_counter() - start > limit:
                    metrics["left_out"].append(f"{name}, from {point.setting} on: the time was up")
                    break
                try:
                    entry = {"run": len(metrics["runs"]) - 1, **point.measure(device)}
                except torch.OutOfMemoryError:
                    metrics["left_out"].append(f"{name}, {point.setting}: the GPU's memory is full")
                    release(device)
                    continue
                metrics["cases"].append(entry)
                print("\n".join(rows(entry, metrics["ceilings"])), flush=True)
                run["seconds"] = time.perf_counter() - start
                release(device)
                yield metrics
            release(device)
    if metrics["left_out"]:
        print("left out:", "; ".join(metrics["left_out"]))
    yield metrics


def check_axes(only: tuple[str, ...]) -> None:
    """Raises `ValueError` for an axis along which nothing is measured."""
    unknown = [name for name in only if name not in AXES]
    if unknown:
        raise ValueError(f"only: {unknown[0]!r} is not known; give some of {', '.join(AXES)}")


def begin(
    device: torch.device, names: tuple[str, ...], axes: tuple[str, ...], small: bool, earlier: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The metrics of a run before its first point, with what is kept of an earlier one."""
    ceilings, here = measure_ceilings(device, small or device.type != "cuda"), machine(device)
    kept, left_out, runs = [], [], []
    if earlier:
        try:
            was = earlier["machine"]["device"], earlier["machine"]["processor"], earlier["small"]
            kept = [case for case in earlier["cases"] if case["bench"] not in names or case["axis"] not in axes]
            left_out = [said for said in earlier["left_out"] if said.partition(",")[0] not in names]
            runs = list(earlier["runs"])
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError("out: the metrics.json in it is damaged; name another folder") from error
        if was != (here["device"], here["processor"], small):
            raise ValueError(f"out: it holds measurements of {was[0]}, {was[1]}; name another folder")
    run = {"date": f"{datetime.now(timezone.utc):%Y-%m-%d}", "commit": os.environ.get("MINIDSK_COMMIT"),
           "benches": list(names), "axes": list(axes), "ceilings": ceilings, "machine": here}  # fmt: skip
    return {"machine": here, "ceilings": ceilings, "small": small, "cases": kept, "left_out": left_out,
            "runs": [*runs, run]}  # fmt: skip


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures rest on: the device, the processor, how many threads compute, and the packages' versions."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": torch.cpu.get_device_name() if hasattr(torch.cpu, "get_device_name") else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(), "system": platform.system(),
        "versions": {"python": platform.python_version(), **found},
    }  # fmt: skip


def described(ceilings: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The machine in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in here["versions"].items())
    return f"{ceilings['device']}, {here['threads']} threads, copies at {ceilings['copy_gb_s']:,.0f} GB/s; {versions}"


def rows(entry: Mapping[str, Any], ceilings: Mapping[str, Any]) -> list[str]:
    """One point as lines of a table: every contestant, its time and rate, and what the fastest rival takes of ours."""
    lines = [f"\n{entry['bench']}, {entry['axis']} {entry['value']:,} ({entry['setting']})"]
    for name, found in entry["contestants"].items():
        if "failed" in found:
            lines.append(f"  {name:26} {found['failed'][:100]}")
            continue
        times = found["median"] / entry["contestants"]["ours"]["median"]
        lines.append(f"  {name:26}{found['median']:10.4f} s{found['tokens_s']:14,.0f} tokens/s{times:9.2f} times ours")
    if copies := times_a_copy(entry, ceilings["copy_gb_s"]):
        lines.append(f"  ours takes {copies:.3g} times as long as a copy of the bytes that it must move")
    return lines + [f"  {note}" for note in entry.get("notes", ())]
