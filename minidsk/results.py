"""Recorded experiments by name: what the chapters read, wherever the package is installed.

A record is a folder of `results/`: `run.json` holds the command, the commit, the machine and the seeds, and the other
files hold what the command measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minidsk.shelf import shelves


class MissingRecord(FileNotFoundError):
    """A record, or a file of it, that this installation does not have; the message names it."""


def folder(name: str) -> Path:
    """The folder of the record called `name`. Raises `MissingRecord`."""
    found = next((shelf / name for shelf in shelves("results") if (shelf / name).is_dir()), None)
    if not name or found is None:
        raise MissingRecord(f"results/{name}: no such record in this installation; install minidsk again, or run "
                            "tools/record.py to make it")  # fmt: skip
    return found


def read(name: str, file: str = "metrics.json") -> Any:
    """What the JSON `file` of the record called `name` holds. Raises `MissingRecord`, and `ValueError` if damaged."""
    path = folder(name) / file
    if not path.is_file():
        raise MissingRecord(f"results/{name}/{file}: the record has no such file; look into {path.parent}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"results/{name}/{file}: not readable as JSON; install minidsk again") from error


def facts(name: str, file: str = "run.json") -> dict[str, Any]:
    """How the record called `name` was made: `command`, `commit`, `machine`, `seeds`, `seconds`, `versions`, `date`."""
    return dict(read(name, file))


def origin(name: str, file: str = "run.json") -> str:
    """The command of a record, and in a second line its commit, machine and seeds."""
    about = facts(name, file)
    machine = about["machine"]
    where = ", ".join(dict.fromkeys(machine["gpus"])) or f"{machine['cores']} cores of {machine['processor']}"
    seeds = ", ".join(map(str, about["seeds"])) or "none"
    return f"{about['command']}\n  commit {about['commit'][:10]}, {where}, seeds {seeds}"
