"""What runs from random weights to a reasoner cost and reached: a ledger by stage, and a table to beat.

Seconds, operations and accuracies are those of the runs. Dollars and watt-hours follow from the seconds by two
assumptions: the rent of DeepSeek-V3's report, and a board that always takes the most that its data sheet allows. So
the watt-hours are an upper estimate, and both leave out the rest of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from minidsk.hub.folder import read_json
from minidsk.model.config import ModelConfig
from minidsk.report.interval import interval
from minidsk.report.stages import Stage, read_stages
from minidsk.scale.cost import parameters

RENT = 2.0
"""Dollars for an hour of one GPU: what DeepSeek-V3's report (arXiv:2412.19437, table 1) assumes for an H800."""
POWER = {"H200": 700.0, "H100": 700.0, "A100": 400.0, "L4": 72.0, "T4": 70.0}
"""Watts that NVIDIA's data sheets allow a board (H200, H100 and A100 as SXM), by a word of the name torch gives it."""

BANDWIDTH = {"H200": 4.8e12, "H100": 3.35e12, "T4": 3.2e11}
"""Bytes per second between a board and its memory, by the same data sheets (H200 and H100 as SXM)."""
FLOAT32 = {"T4": 8.1e12}
"""Operations per second in float32, all that a board without bf16 has for us; large products reach about half."""

LEDGER = ("stage", "seconds", "operations", "TFLOP/s", "dollars", "Wh")
STANDING = ("run", "numbers", "weights", "seeds", "minutes", "dollars", "base", "R1-Zero", "R1")


def ledger(stages: Sequence[Stage], facts: Mapping[str, Any]) -> list[list[str]]:
    """A row of text for each stage, one cell for each of `LEDGER`, then what the stages leave, then the whole run.

    facts: how the run was made, as `minidsk.results.facts` gives it; `seconds` there are of the whole command, so the
    rest is start, compilation between stages, evaluation and what was written.
    """
    rows = [(stage.title, stage.row["seconds"], stage.row["flops"]) for stage in stages]
    spent, operations = (sum(values) for values in list(zip(*rows, strict=True))[1:])
    rows += [("start, evaluation", facts["seconds"] - spent, 0.0), ("in all", facts["seconds"], operations)]
    return [[name, f"{seconds:.0f}", *_work(seconds, flops), *_bill(seconds, facts)] for name, seconds, flops in rows]


def elsewhere(stages: Sequence[Stage], facts: Mapping[str, Any], board: str = "T4") -> list[tuple[str, float]]:
    """Estimated seconds of each stage, of what they leave, and of all of it, on a board where it was not run.

    The larger of two bounds: the run waits for memory as it did, at the other board's bandwidth; or it computes in
    float32, at half of that board's peak. Raises `ValueError` where the run's own GPU is not one of `BANDWIDTH`.
    """
    gpus = facts["machine"]["gpus"]
    ran = next((rate for word, rate in BANDWIDTH.items() for gpu in gpus if word in gpu), None)
    if ran is None:
        raise ValueError(f"machine: a run on one of {', '.join(BANDWIDTH)} is needed, not on {gpus}")
    slower = ran / BANDWIDTH[board]
    rows = [(stage.title, max(stage.row["seconds"] * slower, stage.row["flops"] / (FLOAT32[board] / 2)))
            for stage in stages]  # fmt: skip
    rest = facts["seconds"] - sum(stage.row["seconds"] for stage in stages)
    rows.append(("start, evaluation", rest * slower))
    return [*rows, ("in all", sum(seconds for _, seconds in rows))]


def _work(seconds: float, flops: float) -> tuple[str, str]:
    return (f"{flops:.1e}", f"{flops / seconds / 1e12:.3g}") if flops else ("", "")


def _bill(seconds: float, facts: Mapping[str, Any]) -> tuple[str, str]:
    """Dollars and watt-hours of so many seconds on the GPU of a run, blank for one that had none."""
    gpus = facts["machine"]["gpus"]
    watts = next((watts for word, watts in POWER.items() if gpus and word in gpus[0]), None)
    hours = seconds / 3600
    return f"{RENT * hours:.2f}" if gpus else "", "" if watts is None else f"{watts * hours:.1f}"


def standing(name: str, folders: Sequence[Path]) -> list[str]:
    """One row, a cell for each of `STANDING`: the runs in `folders` are one recipe with several seeds.

    Accuracies are means over seeds with half of their 95 % intervals, in %; with one seed, the interval over problems.
    """
    runs = [{stage.name: stage for stage in read_stages(folder)} for folder in folders]
    facts = [read_json(folder / "run.json") if (folder / "run.json").exists() else {} for folder in folders]
    spent = [about["seconds"] if about else sum(stage.row["seconds"] for stage in run.values())
             for run, about in zip(runs, facts, strict=True)]  # fmt: skip
    first = next(iter(runs[0].values()))
    config = ModelConfig.from_dict(read_json(folders[0] / first.name / "config.json"))
    dollars = mean(spent) / 3600 * RENT if all(about and about["machine"]["gpus"] for about in facts) else None
    return [
        name, numbers_of(read_json(folders[0] / first.name / "evaluation.json")["asked"]["task"]),
        f"{parameters(config) / 1e6:.1f}M", str(len(runs)), f"{mean(spent) / 60:.1f}",
        "" if dollars is None else f"{dollars:.2f}",
        *(_accuracy([run[stage].row for run in runs if stage in run]) for stage in ("base", "zero", "r1")),
    ]  # fmt: skip


def numbers_of(task: Mapping[str, Any]) -> str:
    """A task of Countdown in a few words: "3 or 4 up to 99"."""
    return f"{' or '.join(map(str, sorted(set(task['numbers']))))} up to {task['high']}"


def _accuracy(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    if len(rows) > 1:
        middle, half = interval([100 * row["accuracy"] for row in rows])
        return f"{middle:.1f} ± {half:.1f}"
    [row] = rows
    return "{:.1f} ({:.1f} to {:.1f})".format(*(100 * row[key] for key in ("accuracy", "low", "high")))
