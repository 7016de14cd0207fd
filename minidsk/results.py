"""Recorded experiments by name: what the chapters read, wherever the package is installed.

A record is a folder of `results/`: `run.json` holds the command, the commit, the machine and the seeds, and the other
files hold what the command measured.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from minidsk.shelf import shelves

COLUMNS = 90  # of a printed line; a page of the book clips what is much longer


class MissingRecord(FileNotFoundError):
    """A record, or a file of it, that this installation does not have; the message names it."""


def folder(name: str) -> Path:
    """The folder of the record called `name`. Raises `MissingRecord`."""
    return _shelf(name) / name


def _shelf(name: str) -> Path:
    found = next((shelf for shelf in shelves("results") if (shelf / name).is_dir()), None)
    if not name or found is None:
        raise MissingRecord(_no_record(name))
    return found


def _no_record(name: str) -> str:
    return f"results/{name}: no such record here; install minidsk again, or run tools/record.py to make it"


def read(name: str, file: str = "metrics.json") -> Any:
    """What the JSON `file` of the record called `name` holds. Raises `MissingRecord`, and `ValueError` if damaged."""
    return load(_shelf(name), name, file)


def load(shelf: Path, name: str, file: str) -> Any:
    """As `read`, of a record in the folder `shelf`, for one who knows where it is."""
    path = shelf / name / file
    if not path.is_file():
        no_file = f"results/{name}/{file}: the record has no such file; look into {path.parent}"
        raise MissingRecord(no_file if (shelf / name).is_dir() else _no_record(name))
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"results/{name}/{file}: not readable as JSON; install minidsk again") from error


def facts(name: str, file: str = "run.json") -> dict[str, Any]:
    """How the record called `name` was made: `command`, `commit`, `machine`, `seeds`, `seconds`, `versions`, `date`."""
    return dict(read(name, file))


def origin(name: str, file: str = "run.json") -> str:
    """The command of a record, and below it its commit, machine and seeds.

    A command longer than 90 columns goes on in further lines, as a shell reads it.
    """
    about = facts(name, file)
    machine = about["machine"]
    where = ", ".join(dict.fromkeys(machine["gpus"])) or f"{machine['cores']} cores of {machine['processor']}"
    seeds = ", ".join(map(str, about["seeds"])) or "none"
    return f"{_lines(about['command'])}\n  commit {about['commit'][:10]}, {where}, seeds {seeds}"


def _lines(command: str) -> str:
    """A command in lines that end with a backslash but for the last. Quotes stay whole, an option by its value."""
    lines = [""]
    for word in re.findall(r"""(?:--[\w-]+ )?(?:'[^']*'|"[^"]*"|\S)+""", command):
        if lines[-1] and len(lines[-1]) + len(word) + 3 > COLUMNS:  # 3: a blank before the word, and " \" behind it
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)
