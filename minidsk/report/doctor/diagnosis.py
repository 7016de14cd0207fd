"""From the folder of a run to what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from minidsk.report.doctor.band import outside
from minidsk.report.doctor.fault import FAULTS, Finding
from minidsk.report.doctor.record import Record, read_records


def diagnose(folder: str | Path) -> list[Finding]:
    """The faults of every stage of a run, or of the one stage that the folder is. Raises `RunError`."""
    return [finding for record in read_records(folder) for finding in examine(record)]


def examine(record: Record) -> list[Finding]:
    """The faults of one stage, but for those that another one explains."""
    seen = {}
    for fault in FAULTS.values():
        evidence = fault.look(record) if record.kind in fault.kinds else None
        if evidence:
            seen[fault.name] = evidence
    moot = {hidden for name in seen for hidden in FAULTS[name].hides}
    stage = record.folder.name or str(record.folder)
    found = [Finding(stage, name, evidence, FAULTS[name].causes, FAULTS[name].remedy)
             for name, evidence in seen.items() if name not in moot]  # fmt: skip
    return found or outside(record)
