"""What the pages of the book read: the records in `results/`, and what the executed notebooks printed.

A record or a line that is missing raises `ExtensionError` with its name, which fails the build.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

from minidsk.results import MissingRecord, load


class Records:
    """The records and notebooks of a checkout; `opened` lists the files that were read."""

    def __init__(self, root: Path):
        self.root = root
        self.opened: list[Path] = []
        self._kept: dict[Path, Any] = {}

    def read(self, name: str, file: str = "metrics.json") -> Any:
        """A JSON file of the record called `name`."""
        path = self.root / "results" / name / file
        self.opened.append(path)
        if path not in self._kept:
            try:
                self._kept[path] = load(self.root / "results", name, file)
            except (MissingRecord, ValueError) as error:
                raise ExtensionError(str(error)) from error
        return self._kept[path]

    def runs(self) -> list[dict[str, Any]]:
        """The `run.json` of every record: its command, machine, seeds and seconds."""
        paths = sorted(path.relative_to(self.root / "results") for path in (self.root / "results").rglob("run.json"))
        return [self.read(path.parent.as_posix(), path.name) for path in paths]

    def seeds(self, name: str) -> list[str]:
        """The folders of the seeds of a recorded `minidsk reason`."""
        found = sorted(path.name for path in (self.root / "results" / name).glob("seed*"))
        if not found:
            raise ExtensionError(f"results/{name}: no such record with seeds; record it with tools/record.py")
        return found

    def evaluations(self, name: str, stage: str) -> list[dict[str, Any]]:
        """How a stage of a recorded `minidsk reason` was evaluated, seed by seed: its `row` and its `replies`."""
        return [self.read(name, f"{seed}/{stage}/evaluation.json") for seed in self.seeds(name)]

    def rows(self, name: str, stage: str, key: str) -> list[float]:
        """One number of a stage's evaluation, seed by seed."""
        return [evaluation["row"][key] for evaluation in self.evaluations(name, stage)]

    def printed(self, notebook: str, pattern: str) -> re.Match[str]:
        """What a cell of a notebook printed."""
        path = self.root / "notebooks" / f"{notebook}.ipynb"
        self.opened.append(path)
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []
        text = "".join("".join(out.get("text", "")) for cell in cells for out in cell.get("outputs", []))
        if not (found := re.search(pattern, text)):
            raise ExtensionError(f"notebooks/{notebook}.ipynb prints nothing like {pattern!r}; the playbook quotes it")
        return found
