"""One thing to do, ours and its rivals: they take turns on the same machine, and the medians are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from minidsk.kernels.bench.case import release

Call = Callable[[], object]
ROUNDS = 3, 9
"""Turns of each contestant that are timed, at least and at most: as many as fit into `SECONDS`."""
SECONDS = 8.0
FAILURES = (RuntimeError, ImportError, ValueError, TypeError, AttributeError, NotImplementedError, AssertionError)
"""What a rival may raise: it is then recorded with its reason."""


@dataclass(frozen=True)
class Contest:
    """What is measured at one point of an axis: `tokens` tokens, by ours and by each rival.

    axis: what grows, such as "batch", and `value` how far. bytes: the fewest that a call moves through memory; 0: not
    counted. look: what is to be known of a call of ours beside its time, asked once. A rival that cannot run is
    recorded with its reason. A name that begins with "ours" is no rival but another way of ours.
    """

    bench: str
    axis: str
    value: int
    setting: str
    tokens: int
    ours: Call
    rivals: Mapping[str, Call] = field(default_factory=dict)
    bytes: float = 0.0
    look: Callable[[], Mapping[str, Any]] = dict

    def measure(self, device: torch.device) -> dict[str, Any]:
        """One entry of `metrics.json`: seconds and tokens a second of each contestant, and the best rival's ratio.

        The first call of each (`first_seconds`: it records, compiles, chooses) and a second one warm up; then they take
        turns, for about `SECONDS` but three times at least.
        """
        start = time.perf_counter()
        contestants: dict[str, Call] = {"ours": self.ours, **self.rivals}
        found: dict[str, dict[str, Any]] = {}
        times: dict[str, list[float]] = {}
        turn = 0.0
        for name, call in contestants.items():
            try:
                first = seconds_of(call, device)
                turn += seconds_of(call, device)
            except FAILURES as error:
                if name == "ours":
                    raise
                found[name] = failed(error)
                release(device)
            else:
                found[name], times[name] = {"first_seconds": first}, []
        for number in range(max(ROUNDS[0], min(ROUNDS[1], int(SECONDS / turn)))):
            for name in times if number % 2 else reversed(times):
                times[name].append(seconds_of(contestants[name], device))
        for name, taken in times.items():
            found[name] |= summary(taken, self.tokens)
        return {
            "bench": self.bench, "axis": self.axis, "value": self.value, "setting": self.setting,
            "tokens": self.tokens, "bytes": self.bytes, "contestants": found, **against_best(found), **self.look(),
            "seconds": time.perf_counter() - start,
        }  # fmt: skip


def failed(error: BaseException) -> dict[str, Any]:
    """The entry of a contestant that could not run: its reason, one line."""
    said = str(error).strip().splitlines() or [""]
    return {"failed": f"{type(error).__name__}: {said[0][:200]}"}


def summary(seconds: Sequence[float], tokens: float) -> dict[str, Any]:
    """Median and quartiles of the seconds that `tokens` tokens took, and tokens a second."""
    low, middle, high = statistics.quantiles(seconds, n=4)
    return {"median": middle, "quartiles": [low, high], "tokens_s": tokens / middle, "rounds": len(seconds)}


def against_best(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The fastest of the rivals that ran, and its median time over ours; None and None where none ran."""
    ran = [name for name, entry in found.items() if "median" in entry and not name.startswith("ours")]
    best = min(ran, key=lambda name: float(found[name]["median"]), default=None)
    return {"best_rival": best, "ratio": found[best]["median"] / found["ours"]["median"] if best else None}


def times_a_copy(entry: Mapping[str, Any], copy_gb_s: float) -> float | None:
    """How often as long as a copy of the bytes that it must move ours takes; None where these are not counted."""
    floor = entry["bytes"] / copy_gb_s / 1e9
    return entry["contestants"]["ours"]["median"] / floor if floor else None


def seconds_of(call: Call, device: torch.device) -> float:
    """How long a user waits for a call, the work that it leaves to the GPU included."""
    settle(device)
    start = time.perf_counter()
    call()
    settle(device)
    return time.perf_counter() - start


def settle(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
