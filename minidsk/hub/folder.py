"""The folder of a checkpoint: its files appear together, and their sums say whether they are still what was saved."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

CONFIG = "config.json"


class CheckpointError(ValueError):
    """A folder that cannot be read or written: one line with the file or the tensor, and what to do."""


def put_in_place(staging: Path, folder: Path, config: dict[str, Any], extra: dict[str, Any] | None) -> None:
    """Move all files of `staging` to `folder`, and last a `config.json`, with `extra` and the SHA-256 of all of them.

    Without `extra` there are no sums either: what is no run's may be edited.
    """
    files = sorted(path.name for path in staging.iterdir() if path.name != CONFIG)
    if extra is not None:
        config = {**config, "minidsk": {**extra, "sha256": {name: sha256(staging / name) for name in files}}}
        config["minidsk"]["sha256"][CONFIG] = _sum_of_config(config)
    (staging / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name in (*files, CONFIG):
        os.replace(staging / name, folder / name)


def check_sums(folder: Path, values: dict[str, Any]) -> None:
    """Raise `CheckpointError` where a file is not the one whose SHA-256 stands in `values`, the folder's config.json.

    A folder that has no sums, such as one of transformers, passes.
    """
    about = values.get("minidsk")
    sums = about.get("sha256", {}) if isinstance(about, dict) else {}
    for name, wanted in sums.items() if isinstance(sums, dict) else ():
        path = folder / Path(str(name)).name
        found = _sum_of_config(values) if name == CONFIG else sha256(path) if path.is_file() else None
        if found not in (None, wanted):
            raise CheckpointError(f"{path}: damaged, its SHA-256 is not the one it was saved with; "
                                  "put back a copy, or make this checkpoint again")  # fmt: skip


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sum_of_config(values: dict[str, Any]) -> str:
    """Of what the configuration says, whatever its spacing, its own sum left out."""
    values = json.loads(json.dumps(values))
    values["minidsk"]["sha256"].pop(CONFIG, None)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
