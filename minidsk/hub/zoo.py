"""The small trained checkpoints that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

import torch

from minidsk.hub.folder import CONFIG, CheckpointError
from minidsk.hub.hf import load_pretrained
from minidsk.model.transformer import MiniDeepSeek
from minidsk.shelf import shelves


def names() -> list[str]:
    """The names that `load` knows, sorted."""
    return sorted({path.parent.name for shelf in shelves("checkpoints") for path in shelf.glob(f"*/{CONFIG}")})


def find(name_or_folder: str | Path) -> Path:
    """The folder of a checkpoint: ours by name, or `name_or_folder` itself where it is a folder.

    A name of ours goes before a folder of the same name in the working directory, which is reached as "./name".
    Raises `CheckpointError` with the known names when there is neither.
    """
    if str(name_or_folder) in names():
        found = (shelf / name_or_folder for shelf in shelves("checkpoints"))
        return next(folder for folder in found if (folder / CONFIG).is_file())
    if str(name_or_folder) and Path(name_or_folder).is_dir():
        return Path(name_or_folder)
    known = ", ".join(names()) or "none in this installation"
    raise CheckpointError(f"{name_or_folder}: no such checkpoint or folder; known names: {known}")


def load(
    name_or_folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> MiniDeepSeek:
    """One of our models by name, or any DeepSeek-V3 folder in transformers' layout, ready to use (`eval` mode).

    Its tokenizer lies in the same folder: ``load_tokenizer(find(name_or_folder))``. See `load_pretrained` for `dtype`
    and for what is raised.
    """
    return load_pretrained(find(name_or_folder), device=device, dtype=dtype).eval()
