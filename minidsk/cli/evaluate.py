"""The command that measures what a checkpoint can do: `minidsk eval`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from minidsk.atomic import atomic
from minidsk.cli.use import Where, task_of, trained
from minidsk.infer.outcome import outcomes
from minidsk.report.bootstrap import Estimate
from minidsk.report.evaluation import measure, screen
from minidsk.rl.policy import load_policy
from minidsk.settings import AT_ONCE, LAST_SEED, require, sampling, within
from minidsk.tasks import make_task
from minidsk.tasks.base import thought_of
from minidsk.train.checkpoint import weights_of
from minidsk.train.device import pick_device, threads_for


@dataclass(frozen=True)
class Eval:
    """How many problems a checkpoint solves; the problems are like those that it was trained on, if not told else."""

    where: Where = ""  # a folder, a run or a name; the newest reasoner in runs/ where none is given
    problems: int = 512  # how many problems are posed
    samples: int = 1  # replies to each problem; with several, pass@k is measured for k up to this
    numbers: tuple[int, ...] | None = None  # how many numbers a problem has
    high: int | None = None  # the largest number
    target_high: int | None = None  # the largest target
    ops: str | None = None  # some of + - * / as one word
    targets: Literal["any", "seen", "unseen"] | None = None  # of a uniform draw: which targets
    split: Literal["train", "valid", "test"] = "test"  # which problems; those of test are held out
    temperature: float | None = None  # 0 is greedy; where none is given: 0 for one reply, 1 for several
    max_new_tokens: int = 384  # the longest reply, in tokens; a longer one is cut off
    seed: int = 0  # of the problems, of sampling, and of the intervals
    out: Path | None = None  # a file for all figures, as JSON
    device: str = "auto"  # auto, cpu or cuda

    def __post_init__(self) -> None:
        within(self, 1, 100_000, "problems")
        within(self, 1, 1024, "samples")
        within(self, 1, AT_ONCE, "max_new_tokens")
        within(self, 0, LAST_SEED, "seed")
        if self.temperature is not None:
            sampling(self, "temperature")
        require(self, "temperature", self.temperature != 0 or self.samples == 1,
                "above 0 for several replies: greedy ones are all the same")  # fmt: skip

    def __call__(self) -> None:
        """Evaluate, and print the figures."""
        if self.out is not None:  # what cannot be written says so before the work
            require(self, "out", not self.out.is_dir(), "a file")
            self.out.parent.mkdir(parents=True, exist_ok=True)
        folder, where = trained(self.where), pick_device(self.device)
        asked = {name: getattr(self, name) for name in ("numbers", "high", "target_high", "ops", "targets")}
        asked = {name: value for name, value in asked.items() if value is not None}
        settings = {"name": "countdown"} | task_of(folder) | asked
        task = make_task(split=self.split, seed=self.seed, **settings)
        policy = load_policy(folder, where)
        temperature = float(self.samples > 1) if self.temperature is None else self.temperature
        problems = [task[i] for i in range(self.problems)]
        with threads_for(where, policy.width):
            replies = outcomes(policy, problems, self.samples, self.max_new_tokens, temperature=temperature,
                               generator=torch.Generator(where).manual_seed(self.seed), progress=True)  # fmt: skip
        found = measure(problems, replies, self.seed)
        thought = sum(len(thought_of(o.text)) for some in replies for o in some) / (self.problems * self.samples)
        accuracy = Estimate(**found["accuracy"])
        print(f"{folder}: {accuracy.value:.1%} right ({accuracy.low:.1%} to {accuracy.high:.1%}, 95 % interval) "
              f"on {self.problems} problems; {found['form']['well-formed replies']['value']:.1%} well formed, "
              f"thoughts of {thought:.0f} characters", "", screen(found), sep="\n")  # fmt: skip
        if self.out is not None:
            about = {"checkpoint": str(folder), "weights": weights_of(folder), "task": settings, "split": self.split,
                     "seed": self.seed, "temperature": temperature, "max_new_tokens": self.max_new_tokens}  # fmt: skip
            with atomic(self.out) as temporary:
                temporary.write_text(json.dumps(about | found, indent=1) + "\n", encoding="utf-8")
            print(f"\nall figures: {self.out}")
