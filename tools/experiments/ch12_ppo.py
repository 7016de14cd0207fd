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
import json
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch

from minidsk.infer.evaluate import evaluate
from minidsk.model.recording import ROUND
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.actor_critic import critic_of, reinforce_with_critic
from minidsk.rl.config import PolicyConfig, PPOConfig, RLConfig
from minidsk.rl.loop import reinforce
from minidsk.rl.recipe import nano, small
from minidsk.train.checkpoint import Run, load_checkpoint
from minidsk.train.device import pick_device

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
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        super().log(**metrics)
        if self.device == "cuda" and len(self.ends) == self.weigh_after:
            torch._C._cuda_clearCublasWorkspaces()  # tens of MiB that belong to the library
            self.held = torch.cuda.memory_allocated()


def config_of(method: str, a: argparse.Namespace, steps: int, seed: int, rows: int = 1024) -> PolicyConfig:
    """The same number of answers a step for all: `prompts` groups for GRPO, for PPO as many prompts as answers."""
    shared: dict[str, Any] = {"steps": steps, "max_new_tokens": a.tokens, "lr": a.lr, "rows": rows, "seed": seed,
                              "clip_high": 0.28, "save_every": 10**6}  # fmt: skip
    if method == "GRPO":
        return RLConfig(prompts=a.prompts, group=a.group, **shared)
    return PPOConfig(prompts=a.prompts * a.group, lam=0.95 if method == "PPO" else 1.0, critic_lr=a.critic_lr, **shared)


def learn(
    model: MiniDeepSeek, tokenizer: Any, config: PolicyConfig, a: argparse.Namespace, weigh_after: int = 0
) -> Clock:
    """Train, and hand back what was noted."""
    task = nano().seeded(config.seed).task("train")
    with tempfile.TemporaryDirectory() as folder:
        run = Clock(folder, config, a.device)
        run.weigh_after = weigh_after
        if isinstance(config, RLConfig):
            reinforce(model, tokenizer, task, config, run, progress=False)
        else:
            reinforce_with_critic(model, tokenizer, task, config, run, progress=False)
        run.lines = run.metrics()
    return run


def alone(a: argparse.Namespace) -> list[dict[str, Any]]:
    """How fast each method is, with the machine to itself."""
    torch.set_num_threads(a.threads)
    rows = []
    for method in METHODS[:2]:
        model, tokenizer = load_checkpoint(a.base, pick_device(a.device))
        run = learn(model, tokenizer, config_of(method, a, a.timed, a.seeds[0]), a)
        steps = [after - before for before, after in itertools.pairwise(run.ends)][WARM_UP - 1 :]
        rows.append({"part": "speed", "method": method, "step_seconds": [round(s, 4) for s in steps]})
    return rows


def memory(method: str, size: str, a: argparse.Namespace) -> dict[str, Any]:
    """Bytes that stay between steps (with that step's answers), and the peak, beside what the parameters predict.

    For a process of its own: what an earlier run has not given back yet would be counted.
    """
    on_gpu = a.device == "cuda"
    model, tokenizer = load_checkpoint(a.base)
    if size == "small":
        model = MiniDeepSeek(small().pretrain.model.replace(num_nextn_predict_layers=0))
    policy = sum(p.numel() for p in model.parameters())
    critic = sum(p.numel() for p in critic_of(model).parameters()) if method != "GRPO" else 0
    # float32 weights and the two moments of AdamW for what learns (gradients come and go), bf16 for what samples, and
    # its cache, for prompts of up to `ROUND` tokens.
    kept = 12 * (policy + critic) + (2 * policy if on_gpu else 0)
    cache = model.new_cache(1, 1).bytes_per_token // 2 * a.prompts * a.group * (ROUND + a.tokens) if on_gpu else 0
    # What has taken no step has no moments: an untrained model needs a reward that it can get, and PPO no warm-up.
    changes: dict[str, Any] = {"rewards": {"short": 1.0}} | ({} if method == "GRPO" else {"critic_warmup": 0})
    config = dataclasses.replace(config_of(method, a, 2, 0, rows=32), **changes)
    run = learn(model.to(pick_device(a.device)), tokenizer, config, a, weigh_after=2)
    assert all(line["grad_norm"] for line in run.lines)
    return {
        "part": "memory", "method": method, "size": size, "parameters": policy, "critic_parameters": critic,
        "predicted_mib": round(kept / 2**20, 2), "cache_mib": round(cache / 2**20, 2),
        "gradients_mib": round(4 * max(policy, critic) / 2**20, 2),
        "held_mib": None if run.held is None else round(run.held / 2**20, 2),
        "peak_mib": round(torch.cuda.max_memory_allocated() / 2**20, 1) if on_gpu else None,
    }  # fmt: skip


def accuracy(method: str, seed: int, a: argparse.Namespace) -> dict[str, Any]:
    """One run and its test."""
    torch.set_num_threads(a.threads)
    model, tokenizer = load_checkpoint(a.base, pick_device(a.device))
    run = learn(model, tokenizer, config_of(method, a, a.steps, seed), a)
    result = evaluate(model, tokenizer, nano().seeded(seed).task("test"), a.problems, a.tokens)
    curves = {n: [round(float(line.get(n, 0.0)), 4) for line in run.lines] for n in CURVES}
    return {"part": "accuracy", "method": method, "seed": seed, "accuracy": round(result.accuracy, 4),
            "low": round(result.low, 4), "high": round(result.high, 4), "thought": round(result.thought, 1),
            "flops": sum(line["flops"] for line in run.lines), "curves": curves}  # fmt: skip


def in_time(deadline: float, *run: Any) -> dict[str, Any] | None:
    """What `accuracy` returns, or None where it would begin too late."""
    return accuracy(*run) if time.time() < deadline else None


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="checkpoints/nano-base", help="the checkpoint that all start from")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
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
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=100, help="seconds after which nothing is begun")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("MINIDSK_RESULT", "results/ch12_ppo")))
    a = parser.parse_args()
    deadline, rows = time.time() + a.limit, list[dict[str, Any]]()
    settings = {name: value for name, value in vars(a).items() if name != "out"}
    a.out.mkdir(parents=True, exist_ok=True)
    if (a.out / "metrics.json").exists():
        earlier = json.loads((a.out / "metrics.json").read_text())["rows"]
        rows += [row for row in earlier if PARTS[row["part"]] not in a.parts]

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        rows.sort(key=lambda r: (r["part"], METHODS.index(r["method"]), r.get("size", ""), r.get("seed", 0)))
        (a.out / "metrics.json").write_text(json.dumps({"settings": settings, "rows": rows}) + "\n")

    context = multiprocessing.get_context("spawn")
    if "timed" in a.parts:
        with ProcessPoolExecutor(1, mp_context=context) as one:
            for row in one.submit(alone, a).result():
                keep(row)
    if "memory" in a.parts:
        asked = [(method, size) for size in ("nano", "small") for method in METHODS[:2]]
        with ProcessPoolExecutor(len(asked), mp_context=context, max_tasks_per_child=1) as pool:
            for row in pool.map(memory, *zip(*asked, strict=True), [a] * len(asked)):
                keep(row)
    if "curves" in a.parts:
        # A GPU takes turns between processes: as many as methods fill it.
        with ProcessPoolExecutor(len(METHODS), mp_context=context) as pool:
            runs = [pool.submit(in_time, deadline, method, seed, a) for seed in a.seeds for method in a.methods]
            for future in as_completed(runs):
                row = future.result()
                if row is not None:
                    keep(row)
    print(summary(rows))


if __name__ == "__main__":
    main()
