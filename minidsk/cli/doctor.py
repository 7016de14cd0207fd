"""The command that says what is wrong with a run: `minidsk doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from minidsk.report.doctor.band import expected
from minidsk.report.doctor.diagnosis import examine
from minidsk.report.doctor.record import read_records


@dataclass(frozen=True)
class Doctor:
    """Name what is wrong with a run, from what it logged: evidence, likely causes, remedy; exit code 1 if anything."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]  # a run's folder, or one of its stages

    def __call__(self) -> int:
        """Print the findings; 1 where there are some, else 0."""
        records = read_records(self.run)
        found = [finding for record in records for finding in examine(record)]
        for record in records:
            known = expected(record) if record.finished else None
            last = record.metrics[-1].get("step", "?")
            state = f"finished at step {last}" if record.finished else f"unfinished, at step {last}"
            compared = f", compared with the band of the {known[0]} recipe" if known else ""
            print(f"{record.folder}: {state}{compared}")
        print("", "\n\n".join(map(str, found)) or "nothing found", sep="\n")
        return 1 if found else 0
