"""The command that measures: our kernels and our model beside their rivals, on the reader's own device."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from minidsk.atomic import atomic
from minidsk.hub.folder import read_json
from minidsk.settings import limits, require
from minidsk.train.device import pick_device

What = Literal["kernels", "generation", "speculation", "training", "step"]


@dataclass(frozen=True)
class Bench:
    """Measure the kernels, or the model, beside what else does the same; it goes to a folder, and onto the screen.

    Kernels are measured by themselves; `minidsk bench generation training` measures both in one run. What the folder
    holds of other benches stays there.
    """

    what: Annotated[tuple[What, ...], tyro.conf.Positional] = ("kernels",)  # what to measure
    out: Path | None = None  # the folder for metrics.json; runs/bench_kernels or runs/bench_model where none is named
    only: tuple[str, ...] = ()  # of kernels such as softmax attention; of the model such as batch layers; else all
    small: bool = False  # sizes to see that all runs: those that Triton's interpreter manages, and a tiny model
    limit: float = 600.0  # seconds; what would start later is left out, and said so
    device: str = "auto"  # auto, cpu or cuda
    weights: str | None = None  # for speculation, a checkpoint with MTP modules; else one learns for some seconds first

    def __post_init__(self) -> None:
        limits(self, "limit")
        require(self, "what", "kernels" not in self.what or len(self.what) == 1, "kernels alone, or others")
        require(self, "what", len(self.what) > 0, f"some of {', '.join(get_args(What))}")

    def __call__(self) -> None:
        """Measure, print and write."""
        device = pick_device(self.device)
        if self.what == ("kernels",):
            from minidsk.kernels.bench.run import check_known, run_benches  # imports Triton, as few commands do

            check_known(self.only)
            folder = self.out or Path("runs/bench_kernels")
            earlier = self._earlier(folder) if self.only else None
            found = run_benches(device, self.only, self.small or device.type != "cuda", self.limit, earlier)
        else:
            from minidsk.bench.plan import plan_for
            from minidsk.bench.run import check_axes, run_model_benches

            check_axes(self.only)
            folder = self.out or Path("runs/bench_model")
            plan = dataclasses.replace(plan_for(device, self.small), weights=self.weights)
            found = run_model_benches(device, plan, self.what, self.only, self.limit, self._earlier(folder))
        folder.mkdir(parents=True, exist_ok=True)
        for metrics in found:
            with atomic(folder / "metrics.json") as path:
                path.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        print(f"written: {folder / 'metrics.json'}")
        if self.what != ("kernels",):
            from minidsk.bench.report import write_report

            print(f"written: {write_report(metrics, folder)}")

    @staticmethod
    def _earlier(folder: Path) -> Any:
        path = folder / "metrics.json"
        return read_json(path) if path.exists() else None
