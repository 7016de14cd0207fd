"""The command that measures: our kernels beside their rivals, on the reader's own device."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from minidsk.train.checkpoint import atomic
from minidsk.train.device import pick_device


@dataclass(frozen=True)
class Bench:
    """Measure the kernels beside their rivals; the results go to a folder, and onto the screen."""

    what: Annotated[Literal["kernels"], tyro.conf.Positional] = "kernels"
    out: Path = Path("runs/bench_kernels")  # metrics.json goes there
    only: tuple[str, ...] = ()  # such as softmax attention; all where none is named
    small: bool = False  # sizes that Triton's interpreter manages
    limit: float = 600.0  # seconds; a case that would start later is left out, and said so
    device: str = "auto"  # auto, cpu or cuda

    def __call__(self) -> None:
        """Measure, print and write."""
        device = pick_device(self.device)
        metrics: dict[str, Any] = {}
        self.out.mkdir(parents=True, exist_ok=True)
        for metrics in run_benches(device, self.only, self.small or device.type != "cuda", self.limit):
            with atomic(self.out / "metrics.json") as path:
                path.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        print(f"written: {self.out / 'metrics.json'}")


def run_benches(device: torch.device, only: tuple[str, ...], small: bool, limit: float) -> Iterator[dict[str, Any]]:
    """Everything measured so far, after each case, printed as it comes. Raises `ValueError` for an unknown name."""
    from minidsk.kernels.bench import BENCHES
    from minidsk.kernels.bench.case import measure, release
    from minidsk.kernels.bench.ceilings import measure_ceilings

    unknown = [name for name in only if name not in BENCHES]
    if unknown:
        raise ValueError(f"only: {unknown[0]!r} is not known; give some of {', '.join(BENCHES)}")
    start = time.perf_counter()
    metrics: dict[str, Any] = {"ceilings": measure_ceilings(device, small), "small": small, "cases": [], "left_out": []}
    print(ceilings_line(metrics["ceilings"]))
    for name in only or BENCHES:
        for case in BENCHES[name](device, small):
            if time.perf_counter() - start > limit:
                metrics["left_out"].append(f"{case.name}, {case.setting}")
                continue
            entry = {"bench": name, **measure(case, device)}
            metrics["cases"].append(entry)
            print("\n".join(rows(entry, metrics["ceilings"])), flush=True)
            del case
            release(device)
            metrics["seconds"] = time.perf_counter() - start
            yield metrics
    if metrics["left_out"]:
        print("left out, the time was up:", "; ".join(metrics["left_out"]))
    yield metrics


def ceilings_line(ceilings: dict[str, Any]) -> str:
    """The device and its two ceilings in one line."""
    return (f"{ceilings['device']}: copies at {ceilings['copy_gb_s']:,.0f} GB/s ({ceilings['copy_of']}), "
            f"multiplies at {ceilings['matmul_tflop_s']:.3g} TFLOP/s ({ceilings['matmul_of']})")  # fmt: skip


def rows(entry: dict[str, Any], ceilings: dict[str, Any]) -> list[str]:
    """One case as lines of a table: every contestant, its time, its rates, its share of the roofline, its memory."""
    floor = max(entry["bytes"] / ceilings["copy_gb_s"] / 1e9, entry["flops"] / ceilings["matmul_tflop_s"] / 1e12)
    error = entry["relative_error"]
    lines = [f"\n{entry['case']} ({entry['setting']})" + (f", relative error {error:.1e}" if error else "")]
    for name, found in entry["contestants"].items():
        if "failed" in found:
            lines.append(f"  {name:26} {found['failed'][:100]}")
            continue
        peak = found["peak_bytes"]
        lines.append(
            f"  {name:26}{found['median'] * 1e3:10.3f} ms{found['gb_s']:9.0f} GB/s{found['tflop_s']:9.1f} TFLOP/s"
            f"{floor / found['median']:8.1%} of the roofline" + (f"{peak / 2**20:10.0f} MiB" if peak else "")
        )
    if entry["ratio"]:
        reached = "reached" if entry["ratio"] >= entry["target"] else "MISSED"
        lines.append(f"  best rival {entry['best_rival']}: its time / ours {entry['ratio']:.2f}, "
                     f"target {entry['target']:.2f} {reached}")  # fmt: skip
    peaks = {name: found.get("peak_bytes") for name, found in entry["contestants"].items()}
    if peaks.get("ours") and peaks.get("eager"):
        lines.append(f"  memory: {peaks['ours'] / peaks['eager']:.3f} of eager's")
    if entry["against_copy"]:
        share = entry["contestants"]["ours"]["gb_s"] / ceilings["copy_gb_s"]
        reached = "reached" if share >= entry["against_copy"] else "MISSED"
        lines.append(f"  share of the copy's bandwidth {share:.2f}, target {entry['against_copy']:.2f} {reached}")
    return lines
