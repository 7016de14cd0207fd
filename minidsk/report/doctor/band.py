"""The expected band of a known recipe: where its metrics lay in recorded runs of several seeds.

`bands.json`, beside this file, is made from the records by tools/expected_bands.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from minidsk.report.doctor.fault import Finding
from minidsk.report.doctor.record import Record
from minidsk.report.interval import T_95

BANDS = Path(__file__).with_name("bands.json")
PARTS = 8  # of a run, each with the mean of its lines
WATCHED = {"pretrain": ("loss",), "sft": ("loss",), "rl": ("accuracy", "length", "entropy", "groups_with_signal")}
SHAPE = ("steps", "batch", "context", "prompts", "group", "max_new_tokens", "hidden_size")  # what must be the same
FLOOR = 0.05  # share of its mean by which a metric may always differ
LEAVES = 3  # parts outside, of PARTS, before a run has left its band


def parts(record: Record, name: str) -> list[float]:
    """The means of a metric over the parts of a run."""
    values = record.series(name)
    edges = [round(i * len(values) / PARTS) for i in range(PARTS + 1)]
    return [mean(values[a:b]) for a, b in pairwise(edges) if b > a]


def shape(record: Record) -> dict[str, Any]:
    """The settings that a run must share with those of a band."""
    found = {name: record.setting(name) for name in SHAPE}
    return {name: value for name, value in found.items() if value is not None}


def band(values: Sequence[float]) -> tuple[float, float]:
    """Where a further run of another seed lies in 95 of 100 cases, after the values of several seeds (2 to 10).

    The interval of prediction by Student's t, and 5 % of the mean at least to each side.
    """
    half = T_95[len(values)] * stdev(values) * math.sqrt(1 + 1 / len(values))
    half = max(half, FLOOR * abs(mean(values)))
    return mean(values) - half, mean(values) + half


def made(records: Sequence[Record]) -> dict[str, Any]:
    """The band of one stage from its records, one for each seed. Raises `ValueError` where their settings differ."""
    if any(shape(record) != shape(records[0]) for record in records):
        raise ValueError(f"{records[0].folder}: the seeds have other settings; a band needs the same ones")
    columns = {name: zip(*(parts(record, name) for record in records), strict=True)
               for name in WATCHED[records[0].kind] if all(record.has(name) for record in records)}  # fmt: skip
    figures = {name: [[round(x, 5) for x in band(column)] for column in rows] for name, rows in columns.items()}
    return {"settings": shape(records[0]), "runs": len(records), "metrics": figures}


def expected(record: Record) -> tuple[str, dict[str, Any]] | None:
    """The name of the recipe that a stage belongs to, and its band; None for a stage of settings that have none."""
    for recipe, stages in json.loads(BANDS.read_text(encoding="utf-8")).items():
        found = stages.get(record.folder.name)
        if found and found["settings"] == shape(record) and record.settings.get("recipe", recipe) == recipe:
            return recipe, found
    return None


def outside(record: Record) -> list[Finding]:
    """Where a finished stage leaves the band of its recipe: one finding for each metric."""
    known = expected(record) if record.finished else None
    if known is None:
        return []
    recipe, found = known
    findings = []
    for name, rows in found["metrics"].items():
        seen = parts(record, name) if record.has(name) else []
        left = [i for i, (value, (low, high)) in enumerate(zip(seen, rows, strict=False)) if not low <= value <= high]
        if len(left) < LEAVES:
            continue
        worst = max(left, key=lambda i: max(rows[i][0] - seen[i], seen[i] - rows[i][1]))
        evidence = (f"{name} {seen[worst]:.3f} in part {worst + 1} of {len(seen)}, expected {rows[worst][0]:.3f} to "
                    f"{rows[worst][1]:.3f}; outside in {len(left)} parts ({LEAVES} or more; {found['runs']} recorded "
                    f"runs of the {recipe} recipe)")  # fmt: skip
        causes = "settings that differ from the recipe's, or a change of the code or the data"
        findings.append(Finding(record.folder.name, f"{name} leaves its band", evidence, causes,
                                "compare config.json with the recorded one in results/"))  # fmt: skip
    return findings
