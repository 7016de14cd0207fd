"""Chapter 18: a sampler that computes in bf16 on a GPU, beside its trainer; does the difference change what is learnt?

    python tools/record.py ch18_arithmetic --seeds 0 1 2 3 4 -- python tools/experiments/ch18_arithmetic.py

ch18_rounded rounds the weights of a sampler on a CPU. Here all is as on a GPU: the sampler is a copy in bf16 with the
kernels of a step, replayed from a graph, and the trainer has float32 weights and makes its large products in bf16. In
the control, "float32", both compute everything in float32. Every run rewards the same checkpoint with the same
problems. "the trainer's": the loss is told the trainer's own probabilities, so that it cannot see the difference.

Expected, before any run: no variant differs from the control by more than five seeds can tell.

Writes metrics.json after every run, and asked for again does what is missing. No run is begun after `--limit` seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from unittest import mock

import torch

from minidsk import load_policy
from minidsk.infer.evaluate import evaluate
from minidsk.presets import nano
from minidsk.rl import policy as policies
from minidsk.rl.completions import Completions
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import MiniPolicy
from minidsk.train.checkpoint import Run
from minidsk.train.device import pick_device

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from ch18_rounded import CAPPED, CURVES, OF_A_RUN
from sweep import arguments, compare

VARIANTS: dict[str, tuple[bool, str, dict[str, Any]]] = {  # whether in bf16, whose probabilities, and the loss
    "float32": (False, "sampler", {}),
    "bf16": (True, "sampler", {}),
    "bf16, the trainer's": (True, "trainer", {}),
    "bf16, capped": (True, "sampler", CAPPED),
}


class Watched(MiniPolicy):
    """gaps: per step, the mean and the largest difference of log-probabilities between sampler and trainer, in nats."""

    def __init__(self, policy: MiniPolicy, narrow: bool, whose: str) -> None:
        super().__init__(policy.model, policy.tokenizer, torch.bfloat16 if narrow else None)
        self.whose, self.gaps = whose, list[tuple[float, float]]()

    def sample(self, *args: Any, **options: Any) -> Completions:
        """As `MiniPolicy.sample`; its `logp` are those of `whose`."""
        drawn = super().sample(*args, **options)
        with torch.no_grad():
            logp = self.logprobs(drawn)
        apart = (logp - drawn.logp).abs()[drawn.mask]
        self.gaps.append((float(apart.mean()), float(apart.max())))
        return dataclasses.replace(drawn, logp=logp) if self.whose == "trainer" else drawn


def train(name: str, seed: int, a: argparse.Namespace) -> dict[str, Any]:
    """One run: its curves, and how well the trainer's weights and the sampler answer at the end."""
    recipe, (narrow, whose, changes) = nano().seeded(seed), VARIANTS[name]
    policy = Watched(load_policy(a.base, pick_device(a.device)), narrow, whose)
    config = dataclasses.replace(recipe.zero, steps=a.steps, max_new_tokens=a.tokens, save_every=10**6, **changes)
    wide = mock.patch.object(policies, "precision", return_value=contextlib.nullcontext())
    with tempfile.TemporaryDirectory() as folder, contextlib.nullcontext() if narrow else wide:
        run = Run(folder, "grpo", config)
        reinforce(policy, recipe.make_task("train"), config, run, progress=False)
        lines, seconds = run.metrics(), run.seconds
    task, gaps = recipe.make_task("test"), list(policy.gaps)
    full = evaluate(MiniPolicy(policy.model, policy.tokenizer, None), task, a.problems, a.tokens)
    same = evaluate(policy, task, a.problems, a.tokens)
    return {
        "variant": name, "whose": whose, "seed": seed, "accuracy": round(full.accuracy, 4),
        "sampler_accuracy": round(same.accuracy, 4), "thought": round(full.thought, 1),
        "gap": round(mean(gap for gap, _ in gaps), 5), "largest": round(max(most for _, most in gaps), 3),
        "seconds": round(seconds, 1),
        "curves": {key: [round(float(line.get(key, 0.0)), 4) for line in lines] for key in CURVES},
    }  # fmt: skip


def summary(runs: list[dict[str, Any]]) -> str:
    """One line a variant: means over seeds, and the standard deviation of the accuracy."""
    lines = [f"{'variant':24s} seeds  right (sd)      sampler right  mean gap  largest"]
    for name in VARIANTS:
        rows = [run for run in runs if run["variant"] == name]
        if rows:
            spread = stdev(run["accuracy"] for run in rows) if len(rows) > 1 else 0.0
            right, few, gap = (mean(run[key] for run in rows) for key in ("accuracy", "sampler_accuracy", "gap"))
            lines.append(f"{name:24s} {len(rows):5d}  {right:.3f} ({spread:.3f})  {few:13.3f}  {gap:8.4f}  "
                         f"{max(run['largest'] for run in rows):7.2f}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch18_arithmetic", device="cuda", workers=4, seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--base", default="nano-base", help="the checkpoint that all start from, by name or folder")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--problems", type=int, default=512, help="held-out problems that each run is tested on")
    compare(parser.parse_args(), list(VARIANTS), train, summary, OF_A_RUN)


if __name__ == "__main__":
    main()
