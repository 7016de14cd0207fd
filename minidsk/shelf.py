"""Where the files lie that come with the package: inside it where it was installed, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def shelves(kind: str) -> list[Path]:
    """The folders that may hold "checkpoints" or "results", the installed one first."""
    return [PACKAGE / f"_{kind}", PACKAGE.parent / kind]
