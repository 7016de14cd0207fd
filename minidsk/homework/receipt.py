"""The receipt: what a chapter cost, and how far its numbers can be trusted."""

import math
import sys
import time
from collections.abc import Mapping, Sequence

import torch

from minidsk.report.interval import interval

_BEGAN = time.perf_counter()  # a chapter's first cell imports this package, so this is when the chapter began


def receipt(
    spread: Mapping[str, Sequence[float]] | None = None,
    differences: Mapping[str, tuple[float, float]] | None = None,
    *,
    seconds: float | None = None,
) -> None:
    """Print a chapter's receipt, as its last cell.

    spread: for each quantity, one value per seed; printed as mean ± half the width of its 95 % interval by Student's t.
        One value or two are printed as they are, because an interval of two says nothing.
    differences: the largest difference from each reference, and the limit that it must be below (0: it must be 0). The
        limit is printed, not the difference, whose digits change from one processor to the next.
    seconds: what the chapter took; by default the time since this package was imported.
    Time is printed like `12.3 s` and peak memory like `512 MiB`, at a line's end, so that a notebook's comparison can
    mask both. Raises ValueError on an empty list of seeds or a difference that is not below its limit.
    """
    seconds = time.perf_counter() - _BEGAN if seconds is None else seconds
    rows = [("time", f"{seconds:.1f} s")]
    if (memory := peak_memory()) is not None:
        rows.append(("peak memory", f"{memory / 2**20:.0f} MiB"))
    if torch.cuda.is_available():
        rows.append(("peak GPU memory", f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB"))
    for name, values in (spread or {}).items():
        if not values:
            raise ValueError(f"receipt: {name} has no values; give one per seed")
        rows.append((name, over_seeds(values)))
    for name, (value, limit) in (differences or {}).items():
        rows.append((f"largest difference, {name}", bound(name, value, limit)))
    width = max(len(label) for label, _ in rows) + 3
    print("Receipt")
    for label, text in rows:
        print(f"  {label:<{width}}{text}")


def over_seeds(values: Sequence[float]) -> str:
    """What a receipt says of one value per seed."""
    if len(values) < 3:
        seeds = "one seed" if len(values) == 1 else "two seeds"
        return f"{' and '.join(f'{value:.4g}' for value in values)} ({seeds})"
    mean, half = interval(values)
    return f"{mean:.4g} ± {half:.2g} (95 % interval, {len(values)} seeds)"


def bound(name: str, value: float, limit: float) -> str:
    """What a receipt says of a difference: "below 1e-12" for the limit 1e-12, "0 (equal)" for the limit 0."""
    if not (math.isfinite(limit) and limit >= 0):
        raise ValueError(f"receipt: the limit of {name} must be a number of at least 0, not {limit}")
    if not (0 <= value < limit or value == limit == 0):
        due = f"below {limit:g}" if limit else "0"
        raise ValueError(f"receipt: the largest difference of {name} is {value:.2g}, not {due}; find what changed")
    return f"below {limit:g}" if limit else "0 (equal)"


def peak_memory() -> int | None:
    """The most memory that this process has held so far, in bytes; None where the platform does not say."""
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
