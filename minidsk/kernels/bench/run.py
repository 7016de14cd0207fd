"""Everything that is measured, one case after the other, with a table of what came out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import torch

from minidsk.kernels.bench import BENCHES
from minidsk.kernels.bench.case import measure, release
from minidsk.kernels.bench.ceilings import measure_ceilings


def check_known(only: tuple[str, ...]) -> None:
    """Raises `ValueError` for a name of which there is no bench."""
    unknown = [name for name in only if name not in BENCHES]
    if unknown:
        raise ValueError(f"only: {unknown[0]!r} is not known; give some of {', '.join(BENCHES)}")


def run_benches(
    device: torch.device, only: tuple[str, ...], small: bool, limit: float, earlier: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Everything measured so far, after each case, printed as it comes.

    `earlier`: what a run before left, whose cases of other benches are kept. Each case says in which of the `runs` it
    was measured. Raises `ValueError` for an unknown name, and where `earlier` comes from another device.
    """
    check_known(only)
    start = time.perf_counter()
    ceilings = measure_ceilings(device, small)
    metrics = begin(ceilings, small, only or tuple(BENCHES), earlier)
    print(ceilings_line(ceilings))
    if small:
        print("small sizes, made for a machine without a GPU: the errors mean something, the times do not")
    run = metrics["runs"][-1]
    for name in only or BENCHES:
        if time.perf_counter() - start > limit:
            metrics["left_out"].append(name)
            continue
        for case in BENCHES[name](device, small):
            if time.perf_counter() - start > limit:
                metrics["left_out"].append(f"{name}, from {case.name}, {case.setting} on")
                break
            entry = {"bench": name, "run": len(metrics["runs"]) - 1, **measure(case, device)}
            metrics["cases"].append(entry)
            print("\n".join(rows(entry, ceilings, judged=not small)), flush=True)
            del case
            release(device)
            run["seconds"] = metrics["seconds"] = time.perf_counter() - start
            yield metrics
    if metrics["left_out"]:
        print("left out, the time was up:", "; ".join(metrics["left_out"]))
    yield metrics


def begin(
    ceilings: dict[str, Any], small: bool, names: tuple[str, ...], earlier: dict[str, Any] | None
) -> dict[str, Any]:
    """The metrics of a run before its first case, with what is kept of an earlier one."""
    device, were_small, kept, runs = ceilings["device"], small, [], []
    if earlier:
        try:
            device, were_small = earlier["ceilings"]["device"], earlier["small"]
            kept = [entry for entry in earlier["cases"] if entry["bench"] not in names]
            runs = list(earlier.get("runs", []))
        except (LookupError, TypeError) as error:
            raise ValueError("out: the metrics.json in it is damaged; name another folder") from error
    if (device, were_small) != (ceilings["device"], small):
        sizes = ", small" if were_small else ""
        raise ValueError(f"out: it holds measurements of {device}{sizes}; name another folder")
    run = {"date": f"{datetime.now(timezone.utc):%Y-%m-%d}", "commit": os.environ.get("MINIDSK_COMMIT"),
           "benches": list(names), "ceilings": ceilings}  # fmt: skip
    return {"ceilings": ceilings, "small": small, "cases": kept, "left_out": [],
            "runs": [*runs, run]}  # fmt: skip


def ceilings_line(ceilings: dict[str, Any]) -> str:
    """The device and its two ceilings in one line."""
    return (f"{ceilings['device']}: copies at {ceilings['copy_gb_s']:,.0f} GB/s ({ceilings['copy_of']}), "
            f"multiplies at {ceilings['matmul_tflop_s']:.3g} TFLOP/s ({ceilings['matmul_of']})")  # fmt: skip


def rows(entry: dict[str, Any], ceilings: dict[str, Any], judged: bool = True) -> list[str]:
    """One case as lines of a table: every contestant, its time, its rates, its share of the roofline, its memory; and
    where it is `judged`, whether the targets were reached."""
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
            + (f", launched in {found['host_seconds'] * 1e3:.2f} ms" if found["host_seconds"] else "")
        )
    if not judged:
        return lines
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
