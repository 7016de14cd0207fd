"""Nothing half written: files and folders appear under their name when they are whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

_UNDER_WAY = re.compile(r"\..+\.(\d+)\.writing")


class WriteError(ValueError):
    """Something could not be written; the message names it, the reason and the remedy. What was there is as it was."""


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it becomes `path` when all went well and vanishes when not.

    A full disk, or any other failure of the system, is raised as a `WriteError` of one line.
    """
    path = Path(path)
    temporary = under_way(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk by a RuntimeError of its own words
        reason = getattr(error, "strerror", None) or "the disk is full, or not writable"
        raise WriteError(f"{path}: not written ({reason}); free some space and run again") from error
    finally:
        _remove(temporary)


def under_way(path: Path) -> Path:
    """The name under which this process writes what is to become `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.writing")


def clear_leftovers(folder: str | Path) -> None:
    """Remove what processes that are no longer alive were writing in `folder`, one level deep."""
    for path in [*Path(folder).glob(".*.writing"), *Path(folder).glob("*/.*.writing")]:
        match = _UNDER_WAY.fullmatch(path.name)
        if match and not _alive(int(match[1])):
            _remove(path)


def _alive(process: int) -> bool:
    if process == os.getpid():
        return False  # what this process was writing, it has given up
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # there, and not ours
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
