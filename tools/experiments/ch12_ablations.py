"""Chapter 13: each switch of GRPO on and off, from the same base, three seeds.

    python tools/experiments/ch12_ablations.py --device cpu --seeds 0 1 2 --workers 10 --out results/ch12_ablations
    python tools/experiments/ch12_ablations.py --variants "4 updates" "4 updates, gspo" ... --out results/ch13_ratios

Every run starts from the same checkpoint and has the same steps of the same size; a variant differs from `plain` in
what its row of `VARIANTS` says. A run is a process of one thread. Writes metrics.json after every run, so that a
stopped experiment leaves what is finished: the first variants of `VARIANTS`, all seeds of each. Asked for again, it
does what is missing. No run is begun after `--limit` seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from minidsk import load_policy
from minidsk.infer.evaluate import evaluate
from minidsk.presets import nano
from minidsk.rl.completions import over_all
from minidsk.rl.config import RLConfig
from minidsk.rl.loop import reinforce
from minidsk.rl.rollout import rollout
from minidsk.train.checkpoint import Run
from minidsk.train.device import pick_device
from minidsk.train.optim import OptimConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import arguments, compare

KL, FREE = 0.1, math.inf
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},  # token mean (dapo), scaled by the group's deviation, one update a step, no KL
    "sequence mean": {"loss_type": "grpo"},
    "dr_grpo": {"loss_type": "dr_grpo", "scale": "none"},
    "4 updates": {"updates": 4},  # clipped at 0.2 and 0.28: clip-higher
    "4 updates, clip 0.2": {"updates": 4, "clip_high": 0.2},
    "4 updates, no clip": {"updates": 4, "clip_low": FREE, "clip_high": FREE},
    "KL k3": {"kl_coef": KL, "kl_estimator": "k3"},
    "KL k1": {"kl_coef": KL, "kl_estimator": "k1"},
    "KL k2": {"kl_coef": KL, "kl_estimator": "k2"},
    "unscaled": {"scale": "none"},
    "dynamic sampling": {"resample": 2},
    "scaled by batch": {"scale": "batch"},
    "4 updates, sequence mean": {"updates": 4, "loss_type": "grpo"},
    # GSPO's own bounds, which are for answers of thousands of tokens, and wider ones: short answers move further.
    "4 updates, gspo": {"updates": 4, "loss_type": "gspo", "clip_low": 3e-4, "clip_high": 4e-4},
    "4 updates, gspo 0.02": {"updates": 4, "loss_type": "gspo", "clip_low": 0.02, "clip_high": 0.02},
    "4 updates, cispo": {"updates": 4, "loss_type": "cispo", "clip_low": FREE, "clip_high": 4.0},
    "4 updates, cispo 0.28": {"updates": 4, "loss_type": "cispo", "clip_low": FREE, "clip_high": 0.28},
}
CURVES = ("reward", "entropy", "length", "length_right", "length_wrong", "groups_with_signal", "clipped_low",
          "clipped_high", "ratio", "kl", "cut_off", "distinct_attempts", "tries", "grad_norm")  # fmt: skip

OF_A_RUN = ("base", "device", "steps", "prompts", "group", "tokens", "lr", "problems")  # settings that all runs share


def train(name: str, seed: int, a: argparse.Namespace) -> dict[str, Any]:
    """One run: its curves, how well it answers, and how far it went."""
    device, recipe = pick_device(a.device), nano().seeded(seed)
    policy, base = load_policy(a.base, device), load_policy(a.base, device)
    optim = OptimConfig(lr=a.lr, decay=0.3, betas=(0.9, 0.99))
    config = RLConfig(steps=a.steps, prompts=a.prompts, group=a.group, max_new_tokens=a.tokens, optim=optim, rows=64,
                      save_every=10**6, seed=seed)  # fmt: skip
    config = dataclasses.replace(config, **VARIANTS[name])
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, "grpo", config)
        reinforce(policy, recipe.make_task("train"), config, run, progress=False)
        lines, seconds = run.metrics(), run.seconds
    task = recipe.make_task("test")
    result = evaluate(policy, task, a.problems, a.tokens)
    generator = torch.Generator(device).manual_seed(seed)
    rollouts = rollout(policy, [task[i] for i in range(a.prompts)], a.group, a.tokens, {"accuracy": 1.0},
                       generator=generator)  # fmt: skip
    sampled = rollouts.completions
    here, there = (over_all(one.logprobs, sampled, 64) for one in (policy, base))
    entropy = over_all(lambda some: policy.predictions(some)[1], sampled, 64)
    tokens = float(sampled.mask.sum())
    curves = {name: [round(float(line.get(name, 0.0)), 4) for line in lines] for name in CURVES}
    return {
        "variant": name, "seed": seed, "changes": {k: str(v) for k, v in VARIANTS[name].items()},
        "accuracy": round(result.accuracy, 4), "low": round(result.low, 4), "high": round(result.high, 4),
        "thought": round(result.thought, 1), "sampled_accuracy": round(float(rollouts.rewards.mean()), 4),
        "kl_per_token": round(float((here - there).sum()) / tokens, 5),
        "kl_per_answer": round(float((here - there).sum()) / len(sampled), 3),
        "entropy": round(float(entropy.sum()) / tokens, 5), "length": round(tokens / len(sampled), 1),
        "flops": sum(line["flops"] for line in lines), "seconds": round(seconds, 2), "curves": curves,
    }  # fmt: skip


def summary(runs: list[dict[str, Any]]) -> str:
    """One line a variant: means over seeds, and the standard deviation of the accuracy."""
    columns = ("accuracy", "entropy", "kl_per_token", "length")
    lines = [f"{'variant':22s} seeds  accuracy (sd)   entropy  KL/token  length  wrong answers' length, last 5 steps"]
    for name in VARIANTS:
        rows = [run for run in runs if run["variant"] == name]
        if rows:
            spread = stdev(run["accuracy"] for run in rows) if len(rows) > 1 else 0.0
            accuracy, entropy, kl, length = (mean(run[column] for run in rows) for column in columns)
            wrong = mean(mean(run["curves"]["length_wrong"][-5:]) for run in rows)
            lines.append(f"{name:22s} {len(rows):5d}  {accuracy:.3f} ({spread:.3f})  {entropy:8.4f}  {kl:8.4f}  "
                         f"{length:6.1f}  {wrong:.1f}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch12_ablations", device="cpu", workers=10, limit=190)
    parser.add_argument("--base", default="nano-base", help="the checkpoint that all start from, by name or folder")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--lr", type=float, default=1e-3, help="larger than nano's: what breaks, breaks soon")
    parser.add_argument("--problems", type=int, default=256, help="held-out problems that each run is tested on")
    compare(parser.parse_args(), list(VARIANTS), train, summary, OF_A_RUN)


if __name__ == "__main__":
    main()
