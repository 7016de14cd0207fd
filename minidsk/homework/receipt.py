"""The receipt: what a chapter cost, and how far its numbers can be trusted."""

import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

import torch

_BEGAN = time.perf_counter()  # a chapter's first cell imports this package, so this is when the chapter began


def receipt(
    spread: Mapping[str, Sequence[float]] | None = None,
    differences: Mapping[str, float | tuple[float, float]] | None = None,
    *,
    seconds: float | None = None,
) -> None:
    """Print a chapter's receipt, as its last cell.

    spread: for each quantity, one value a seed; printed as mean ± standard deviation (n - 1).
    differences: the largest difference from each reference, with the bound that it keeps on every processor,
        ``(3e-15, 1e-12)``; the bound is printed. A difference alone is printed as a power of ten above it.
    seconds: what the chapter took; by default the time since this package was imported.
    Time is printed like `12.3 s` and peak memory like `512 MiB`, at a line's end, so that a notebook's comparison can
    mask both. Raises ValueError on an empty list of seeds, a difference that is no number, or one above its bound.
    """
    seconds = time.perf_counter() - _BEGAN if seconds is None else seconds
    rows = [("time", f"{seconds:.1f} s")]
    if (memory := peak_memory()) is not None:
        rows.append(("peak memory", f"{memory / 2**20:.0f} MiB"))
    if torch.cuda.is_available():
        rows.append(("peak GPU memory", f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB"))
    for name, values in (spread or {}).items():
        if not values:
            raise ValueError(f"receipt: {name} has no values, give one a seed")
        deviation = statistics.stdev(values) if len(values) > 1 else math.nan
        seeds = f"± {deviation:.2g} over {len(values)} seeds" if len(values) > 1 else "(one seed)"
        rows.append((name, f"{statistics.fmean(values):.4g} {seeds}"))
    for name, value in (differences or {}).items():
        value, limit = value if isinstance(value, tuple) else (value, None)
        if limit is not None and not value <= limit:
            raise ValueError(f"receipt: the largest difference of {name} is {value:.1e}, above its bound {limit:g}")
        rows.append((f"largest difference, {name}", bound(name, value) if limit is None else f"below {limit:.0e}"))
    width = max(len(label) for label, _ in rows) + 3
    print("Receipt")
    for label, text in rows:
        print(f"  {label:<{width}}{text}")


def bound(name: str, value: float) -> str:
    """The smallest power of ten that is no less than `value`, as "below 1e-06"; "0 (equal)" for 0."""
    value = float(value)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"receipt: the largest difference of {name} must be a number of at least 0, not {value}")
    return "0 (equal)" if value == 0 else f"below 1e{math.ceil(math.log10(value)):+03d}"


def peak_memory() -> int | None:
    """The most memory that this process has held so far, in bytes; None where the platform does not say."""
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
