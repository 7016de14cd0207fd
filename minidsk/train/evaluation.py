"""What a stage was found to be able to do, as its folder's `evaluation.json` holds it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from minidsk.hub.folder import read_json
from minidsk.train.checkpoint import RunError

FIGURES = ("accuracy", "low", "high", "problems", "well_formed", "one_language", "thought", "seconds", "flops")


def read_evaluation(folder: Path) -> dict[str, Any]:
    """What `evaluation.json` holds: `row`, the figures by name; `replies`, each with prompt, reply and score; `asked`.

    Raises `RunError` where something is missing or of another kind, and `CheckpointError` where its sum is wrong.
    """
    path, remedy = folder / "evaluation.json", "delete it, and the command that made it evaluates the stage again"
    found = read_json(path, remedy)
    try:
        whole = found["row"]["stage"] == folder.name and len(found["replies"]) > 0
        whole &= all(math.isfinite(found["row"][name]) for name in FIGURES)
        whole &= all(isinstance(reply[name], str) for reply in found["replies"] for name in ("prompt", "reply"))
        whole &= all(math.isfinite(reply["score"]) for reply in found["replies"])
    except (LookupError, TypeError):
        whole = False
    if not whole:
        raise RunError(f"{path}: damaged; {remedy}")
    return found
