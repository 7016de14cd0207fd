"""Nothing half written: files and folders appear under their name when they are whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

_UNDER_WAY = re.compile(r"\.(.+)\.(\d+)\.writing")


class WriteError(ValueError):
    """Something could not be written; the message names it, the reason and the remedy. What was there is as it was."""


@contextlib.contextmanager
def atomic(path: str | Path, previous: Path | None = None) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it becomes `path` when all went well and vanishes when not.

    What was there before is then kept under the name `previous`, where one is given. A full disk, or any other failure
    of the system, is raised as a `WriteError` of one line.
    """
    path = Path(path)
    temporary = under_way(path)
    try:
        yield temporary
        to_disk(temporary)
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk by a RuntimeError of its own words
        reason = getattr(error, "strerror", None) or "the disk is full, or not writable"
        raise WriteError(f"{path}: not written ({reason}); free some space and run again") from error
    finally:
        _remove(temporary)


def under_way(path: Path) -> Path:
    """The name under which this process writes what is to become `path`; what a dead one wrote there is removed."""
    clear_leftovers(path.parent, path.name)
    return path.with_name(f".{path.name}.{os.getpid()}.writing")


def to_disk(path: Path) -> None:
    """Wait until a file is on the disk: a name that it takes before that may be empty after a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def clear_leftovers(folder: str | Path, name: str | None = None) -> None:
    """Remove what processes that are no longer alive were writing in `folder`: as `name`, or all of it."""
    for path in Path(folder).glob(".*.writing"):
        match = _UNDER_WAY.fullmatch(path.name)
        if match and match[1] == (name or match[1]) and not _alive(int(match[2])):
            _remove(path)


def _alive(process: int) -> bool:
    if process == os.getpid() or os.name == "nt":
        return False  # what this process was writing, it has given up; and Windows removes no file that is open
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # there, and not ours
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
