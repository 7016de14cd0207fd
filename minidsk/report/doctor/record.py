"""What a stage's folder holds, in the form in which faults are looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from minidsk.hub.folder import CONFIG, about
from minidsk.rl.recipe import STAGES
from minidsk.train.checkpoint import LOG, RunError, finished, read_metrics
from minidsk.train.evaluation import read_evaluation


@dataclass(frozen=True)
class Record:
    """One stage: its folder, its settings, its metrics line by line, and its held-out figures where there are some.

    Early and late mean the first and the last quarter of the lines that have a metric.
    """

    folder: Path
    settings: dict[str, Any]
    metrics: list[dict[str, Any]]
    evaluation: dict[str, Any]

    @property
    def kind(self) -> str:
        """How the stage learns: "rl", "pretrain" or "sft"."""
        keys = self.metrics[-1].keys()
        return "rl" if "reward" in keys else "pretrain" if "max_violation" in keys else "sft"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return finished(self.folder)

    def setting(self, name: str, default: Any = None) -> Any:
        """A setting by its name, wherever in the configuration it stands."""
        config = self.settings.get("config", self.settings)
        for place in (config, config.get("optim") or {}, config.get("model") or {}):
            if name in place:
                return place[name]
        return default

    def series(self, name: str) -> list[float]:
        """The values of a metric that float32 can hold, in order."""
        values = [line[name] for line in self.metrics if isinstance(line.get(name), (int, float))]
        return [float(value) for value in values if abs(value) < 1e38]  # NaN is not below anything

    def early(self, name: str) -> float:
        """The mean of the first quarter; not a number where there is none."""
        return mean(self.quarter(name, 0) or [math.nan])

    def late(self, name: str) -> float:
        """The mean of the last quarter; not a number where there is none."""
        return mean(self.quarter(name, 3) or [math.nan])

    def quarter(self, name: str, number: int) -> list[float]:
        """The values of one quarter, 0 to 3; at least one value."""
        values = self.series(name)
        size = max(len(values) // 4, 1)
        return values[-size:] if number == 3 else values[number * size : (number + 1) * size]

    def has(self, *names: str, least: int = 4) -> bool:
        """Whether all these metrics were logged, on `least` lines or more."""
        return all(len(self.series(name)) >= least for name in names)

    @property
    def judge(self) -> str:
        """The metric that says how many answers are right: accuracy, or the reward where there is no such."""
        return "accuracy" if self.has("accuracy", least=1) else "reward"

    @property
    def solved(self) -> bool:
        """Whether nine in ten answers are right in the end, or nine tenths of the largest reward are reached."""
        weights = [weight for weight in self.setting("rewards", {}).values() if weight > 0]
        most = 1.0 if self.judge == "accuracy" else max([sum(weights), *self.series("reward")])
        return self.late(self.judge) >= 0.9 * most > 0

    def stretches(self, name: str) -> list[float]:
        """The means of all stretches of neighbouring lines, each as long as a quarter, in order."""
        values = self.series(name)
        size = max(len(values) // 4, 1)
        return [mean(values[i : i + size]) for i in range(len(values) - size + 1)]

    def rise(self, name: str) -> tuple[float, float]:
        """By how much the late values lie above the early ones, and the standard error of that difference."""
        first, last = self.quarter(name, 0), self.quarter(name, 3)
        error = math.sqrt(sum(stdev(some) ** 2 / len(some) for some in (first, last) if len(some) > 1))
        return self.late(name) - self.early(name), error

    def seconds(self) -> tuple[float, float]:
        """Seconds a line took, early and late: medians."""
        took = [b - a for a, b in pairwise(self.series("seconds")) if b > a]
        size = max(len(took) // 4, 1)
        return median(took[:size] or [0.0]), median(took[-size:] or [0.0])


def read_record(folder: Path) -> Record:
    """What a stage left in its folder. Raises `RunError` where that is no run, or none that logged anything."""
    if not (folder / LOG).is_file():
        raise RunError(f"{folder}: no {LOG} there; give the folder of a run, such as runs/nano-0, or of a stage")
    metrics = read_metrics(folder)
    if not metrics:
        raise RunError(f"{folder / LOG}: nothing was logged yet; wait for the first steps")
    settings = about(folder).get("settings", {}) if (folder / CONFIG).exists() else {}
    evaluated = folder.name in STAGES and (folder / "evaluation.json").exists()
    return Record(folder, settings, metrics, read_evaluation(folder)["row"] if evaluated else {})


def read_records(folder: str | Path) -> list[Record]:
    """The stages of a run, in order, or the one stage that the folder is. Raises `RunError`."""
    folder = Path(folder)
    inside = [folder / stage for stage in STAGES if (folder / stage / LOG).is_file()]
    return [read_record(place) for place in (inside or [folder])]
