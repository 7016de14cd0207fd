"""The folder of a checkpoint: its files appear together, and their sums say whether they are still what was saved.

What is ours in `config.json` stands under "minidsk": of which run the folder is, the SHA-256 of each of its files
("files"), and that of all this ("sha256"). A folder without it, such as one of transformers, is read as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from minidsk.atomic import to_disk

CONFIG, ABOUT, FILES, SUM = "config.json", "minidsk", "files", "sha256"


class CheckpointError(ValueError):
    """A folder that cannot be read or written: one line with the file or the tensor, and what to do."""


def put_in_place(staging: Path, folder: Path, config: dict[str, Any], extra: dict[str, Any] | None) -> None:
    """Move all files of `staging` to `folder`, and last a `config.json`, with `extra` and the sums of all of them.

    Weights that were there before go. Without `extra` there are no sums either: what is no run's may be edited.
    """
    files = sorted(path.name for path in staging.iterdir() if path.name != CONFIG)
    config = {name: value for name, value in config.items() if name != ABOUT}
    if extra is not None:
        sums = {name: sha256(staging / name) for name in files} | {CONFIG: sum_of(config)}
        config[ABOUT] = sealed({**extra, FILES: sums})
    (staging / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name in (*files, CONFIG):
        to_disk(staging / name)
    for name in files:  # an index that stayed would join new files with old ones of the same names
        if name.endswith(".index.json"):
            (folder / name).unlink(missing_ok=True)
    for name in files:
        os.replace(staging / name, folder / name)
    for path in folder.glob("model*.safetensors*"):
        if path.name not in files:
            path.unlink()
    os.replace(staging / CONFIG, folder / CONFIG)


def about(folder: Path) -> dict[str, Any]:
    """Of which run the folder is, by its config.json; empty where it is none's. Raises `CheckpointError`."""
    path = folder / CONFIG
    found = read_json(path).get(ABOUT)
    if not isinstance(found, dict):
        return {}
    parts = (found.get(name, {}) for name in ("settings", "summary", FILES))
    if (FILES in found and SUM not in found) or not all(isinstance(part, dict) for part in parts):
        raise damaged(path, folder)
    return unsealed(found, path, folder)


def check_files(folder: Path) -> None:
    """Raise `CheckpointError` where a file is not the one whose sum stands in the folder's config.json."""
    sums = about(folder).get(FILES, {})
    config = {name: value for name, value in read_json(folder / CONFIG).items() if name != ABOUT}
    intact = sums.get(CONFIG) == sum_of(config)
    if sums and not intact and "transformers_version" not in config:
        raise damaged(folder / CONFIG, folder)
    # transformers takes over what is ours when it saves a model that it read from us: these sums are of other files.
    for name, wanted in sums.items() if intact else ():
        path = folder / Path(name).name
        if path.name != CONFIG and path.is_file() and sha256(path) != wanted:
            raise damaged(path, folder)


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """Values for a JSON file together with their sum."""
    return {**values, SUM: sum_of(values)}


def unsealed(values: dict[str, Any], path: Path, replaced: Path) -> dict[str, Any]:
    """Values that `path` held, without their sum, if they have one; see `damaged`."""
    values = dict(values)
    if values.pop(SUM, None) not in (None, sum_of(values)):
        raise damaged(path, replaced)
    return values


def damaged(path: Path, replaced: Path) -> CheckpointError:
    """The error of a file whose sum is wrong; `replaced` is what has to be made again."""
    return CheckpointError(f"{path}: damaged, it is not what was written; put back a copy, or delete {replaced} "
                           "and run again")  # fmt: skip


def sum_of(values: Any) -> str:
    """The SHA-256 of what a JSON file says, whatever its spacing."""
    text = json.dumps(json.loads(json.dumps(values)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256(path: Path, size: int | None = None) -> str:
    """The SHA-256 of a file, or of its first `size` bytes, in hexadecimal digits."""
    digest, left = hashlib.sha256(), path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def read_json(path: Path, remedy: str = "put back a copy, or make it again") -> dict[str, Any]:
    """An object in a file, `sealed` or not; raises `CheckpointError` where the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; give a folder that save_pretrained or transformers wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no object of JSON; {remedy}")
    return unsealed(content, path, path)
