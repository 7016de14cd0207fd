"""Chapter 12: GRPO beside PPO with a critic: the same base, the same number of answers a step.

    python tools/experiments/ch12_ppo.py --device cuda --seeds 0 1 2 --out results/ch12_ppo

Three parts: `timed`, seconds a step with the machine to itself; `memory`, what each keeps, predicted and measured, at
two sizes, each in a process of its own; and `curves`, the accuracy, in three processes side by side. Writes
metrics.json after every run, into what is there (of the parts that are asked for, nothing is kept). Nothing is begun
after `--limit` seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch

from minidsk import MiniDeepSeek, load_policy
from minidsk.infer.evaluate import evaluate
from minidsk.infer.recorder import WIDTH
from minidsk.presets import nano, small
from minidsk.rl.config import CriticConfig, RLConfig
from minidsk.rl.critic import CriticBaseline
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import MiniPolicy
from minidsk.train.checkpoint import Run
from minidsk.train.device import pick_device
from minidsk.train.optim import OptimConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sweep import Record, arguments, sweep

WARM_UP = 3  # steps that are not timed
PARTS = {"speed": "timed", "memory": "memory", "accuracy": "curves"}  # of a row, and of the command line
METHODS = ("GRPO", "PPO", "PPO, lam 1")
CURVES = ("reward", "advantage_std", "explained_variance", "value_loss", "entropy", "length", "grad_norm", "cut_off")


class Clock(Run):
    """A run that notes when each step ended, and what the GPU holds after the last of `weigh_after` steps."""

    weigh_after = 0
    held: int | None = None
    lines: list[dict[str, Any]]

    def __init__(self, folder: str, settings: Any, device: str) -> None:
        super().__init__(folder, "rl", settings)
        self.device, self.ends = device, list[float]()

    def log(self, **metrics: float | int | str) -> None:
        """The line, and the clock."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        super().log(**metrics)
        if self.device.startswith("cuda") and len(self.ends) == self.weigh_after:
            torch._C._cuda_clearCublasWorkspaces()  # tens of MiB that belong to the library
            self.held = torch.cuda.memory_allocated()


def settings_of(method: str, a: argparse.Namespace, steps: int, seed: int, rows: int = 1024) -> RLConfig:
    """The same number of answers a step for all: `prompts` groups for GRPO, for PPO as many prompts as answers."""
    prompts, group = (a.prompts, a.group) if method == "GRPO" else (a.prompts * a.group, 1)
    optim = OptimConfig(lr=a.lr, decay=0.3, betas=(0.9, 0.99))
    return RLConfig(steps=steps, prompts=prompts, group=group, max_new_tokens=a.tokens, optim=optim, rows=rows,
                    seed=seed, save_every=10**6)  # fmt: skip


def critic_config(method: str, a: argparse.Namespace, **changes: Any) -> CriticConfig:
    """The critic of PPO."""
    optim = OptimConfig(lr=a.critic_lr, decay=0.3, betas=(0.9, 0.99))
    return CriticConfig(optim=optim, lam=0.95 if method == "PPO" else 1.0, **changes)


def learn(
    policy: MiniPolicy, config: RLConfig, critic: CriticConfig | None, a: argparse.Namespace, weigh_after: int = 0
) -> Clock:
    """Train, and hand back what was noted."""
    task = nano().seeded(config.seed).make_task("train")
    with tempfile.TemporaryDirectory() as folder:
        run = Clock(folder, config, str(policy.device))
        run.weigh_after = weigh_after
        baseline = CriticBaseline(policy, critic, config.steps, config.rows) if critic else None
        reinforce(policy, task, config, run, baseline=baseline, progress=False)
        run.lines = run.metrics()
    return run


def critic_of(method: str, a: argparse.Namespace, **changes: Any) -> CriticConfig | None:
    """What a method has of a critic."""
    return None if method == "GRPO" else critic_config(method, a, **changes)


def alone(a: argparse.Namespace) -> list[dict[str, Any]]:
    """How fast each method is, with the machine to itself."""
    rows = []
    for method in METHODS[:2]:
        policy = load_policy(a.base, pick_device(a.device))
        run = learn(policy, settings_of(method, a, a.timed, a.seeds[0]), critic_of(method, a), a)
        steps = [after - before for before, after in itertools.pairwise(run.ends)][WARM_UP - 1 :]
        rows.append({"part": "speed", "method": method, "step_seconds": [round(s, 4) for s in steps]})
    return rows


def memory(method: str, size: str, a: argparse.Namespace) -> dict[str, Any]:
    """Bytes that stay between steps (with that step's answers), and the peak, beside what the parameters predict.

    For a process of its own: what an earlier run has not given back yet would be counted.
    """
    device = pick_device(a.device)
    on_gpu, policy = device.type == "cuda", load_policy(a.base)
    model = policy.model
    if size == "small":
        model = MiniDeepSeek(small().pretrain.model.replace(num_nextn_predict_layers=0))
    policy = MiniPolicy(model.to(device), policy.tokenizer)
    weights = sum(p.numel() for p in model.parameters())
    critic = weights if method != "GRPO" else 0
    # float32 weights and the two moments of AdamW for what learns (gradients come and go), bf16 for what samples, and
    # its cache, for prompts of up to `WIDTH` tokens.
    kept = 12 * (weights + critic) + (2 * weights if on_gpu else 0)
    cache = model.new_cache(1, 1).bytes_per_token // 2 * a.prompts * a.group * (WIDTH + a.tokens) if on_gpu else 0
    # What has taken no step has no moments: an untrained model needs a reward that it can get, and PPO no warm-up.
    config = dataclasses.replace(settings_of(method, a, 2, 0, rows=32), rewards={"short": 1.0})
    run = learn(policy, config, critic_of(method, a, alone=0), a, weigh_after=2)
    assert all(line["grad_norm"] for line in run.lines)
    return {
        "part": "memory", "method": method, "size": size, "parameters": weights, "critic_parameters": critic,
        "predicted_mib": round(kept / 2**20, 2), "cache_mib": round(cache / 2**20, 2),
        "gradients_mib": round(4 * max(weights, critic) / 2**20, 2),
        "held_mib": None if run.held is None else round(run.held / 2**20, 2),
        "peak_mib": round(torch.cuda.max_memory_allocated() / 2**20, 1) if on_gpu else None,
    }  # fmt: skip


def accuracy(method: str, seed: int, a: argparse.Namespace) -> dict[str, Any]:
    """One run and its test."""
    policy = load_policy(a.base, pick_device(a.device))
    run = learn(policy, settings_of(method, a, a.steps, seed), critic_of(method, a), a)
    result = evaluate(policy, nano().seeded(seed).make_task("test"), a.problems, a.tokens)
    curves = {n: [round(float(line.get(n, 0.0)), 4) for line in run.lines] for n in CURVES}
    return {"part": "accuracy", "method": method, "seed": seed, "accuracy": round(result.accuracy, 4),
            "low": round(result.low, 4), "high": round(result.high, 4), "thought": round(result.thought, 1),
            "flops": sum(line["flops"] for line in run.lines), "curves": curves}  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> str:
    """The three tables."""

    def of(part: str) -> list[dict[str, Any]]:
        return [row for row in rows if row["part"] == part]

    lines = ["memory             size   parameters   predicted MiB  cache MiB  held MiB  peak MiB"]
    lines += [f"{r['method']:18s} {r['size']:6s} {r['parameters'] + r['critic_parameters']:10,d}  "
              f"{r['predicted_mib']:12.1f}  {r['cache_mib']:9.1f}  "
              f"{r['held_mib']}  {r['peak_mib']}" for r in of("memory")]  # fmt: skip
    lines += ["", "seconds a step     median, mean (sd)"]
    for r in of("speed"):
        steps = r["step_seconds"]
        spread = stdev(steps) if len(steps) > 1 else 0.0
        lines.append(f"{r['method']:18s} {median(steps):.4f}, {mean(steps):.4f} ({spread:.4f})")
    lines += ["", "accuracy           each seed; mean (sd); deviation of the advantage; explained variance, last 5"]
    for method in METHODS:
        found = [row for row in of("accuracy") if row["method"] == method]
        if found:
            each = [row["accuracy"] for row in found]
            away = mean(mean(row["curves"]["advantage_std"]) for row in found)
            explained = mean(mean(row["curves"]["explained_variance"][-5:]) for row in found)
            lines.append(f"{method:18s} {' '.join(f'{x:.3f}' for x in each)}; {mean(each):.3f} "
                         f"({stdev(each) if len(each) > 1 else 0:.3f}); {away:.3f}; {explained:.3f}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch12_ppo", workers=len(METHODS), limit=100)
    parser.add_argument("--base", default="nano-base", help="the checkpoint that all start from, by name or folder")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="NAME")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--parts", nargs="+", default=list(PARTS.values()), choices=PARTS.values())
    parser.add_argument("--timed", type=int, default=10, help="steps of the runs that are timed alone")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--critic-lr", type=float, default=1e-3)
    parser.add_argument("--problems", type=int, default=1024, help="held-out problems that each run is tested on")
    a = parser.parse_args()
    record = Record(a, lambda r: (r["part"], METHODS.index(r["method"]), r.get("size", ""), r.get("seed", 0)), "rows")
    record.resume(())
    record.rows = [row for row in record.rows if PARTS[row["part"]] not in a.parts]
    if "timed" in a.parts:
        sweep([(alone, a)], record.add, a)
    if "memory" in a.parts:
        for method, size in itertools.product(METHODS[:2], ("nano", "small")):
            sweep([(memory, method, size, a)], record.add, a)
    if "curves" in a.parts:
        # A GPU takes turns between processes: as many as methods fill it.
        sweep([(accuracy, method, seed, a) for seed in a.seeds for method in a.methods], record.add, a)
    print(summary(record.rows))


if __name__ == "__main__":
    main()
