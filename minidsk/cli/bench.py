"""The command that measures: our kernels beside their rivals, on the reader's own device."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from minidsk.atomic import atomic
from minidsk.hub.folder import read_json
from minidsk.settings import limits
from minidsk.train.device import pick_device


@dataclass(frozen=True)
class Bench:
    """Measure the kernels beside their rivals; the results go to a folder, and onto the screen.

    With `only`, what the folder holds of other benches stays there.
    """

    what: Annotated[Literal["kernels"], tyro.conf.Positional] = "kernels"  # what to measure
    out: Path = Path("runs/bench_kernels")  # the folder for metrics.json
    only: tuple[str, ...] = ()  # such as softmax attention; all where none is named
    small: bool = False  # sizes that Triton's interpreter manages
    limit: float = 600.0  # seconds; a case that would start later is left out, and said so
    device: str = "auto"  # auto, cpu or cuda

    def __post_init__(self) -> None:
        limits(self, "limit")

    def __call__(self) -> None:
        """Measure, print and write."""
        from minidsk.kernels.bench.run import check_known, run_benches  # imports Triton, as no other command does

        device = pick_device(self.device)
        target = self.out / "metrics.json"
        earlier = read_json(target) if self.only and target.exists() else None
        check_known(self.only)
        self.out.mkdir(parents=True, exist_ok=True)
        for metrics in run_benches(device, self.only, self.small or device.type != "cuda", self.limit, earlier):
            with atomic(target) as path:
                path.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        print(f"written: {target}")
