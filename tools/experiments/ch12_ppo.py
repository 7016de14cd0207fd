"""Chapter 12: GRPO beside PPO with a critic: the same base, the same number of answers a step.

    python tools/experiments/ch12_ppo.py --device cuda --seeds 0 1 2 --out results/ch12_ppo

Three parts: what each keeps in memory, predicted and measured, at two sizes; seconds a step with the machine to itself;
and accuracy, three seeds of each side by side, as threads of one process (a GPU takes turns between processes). Writes
metrics.json as it goes. No method is begun after `--limit` seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import itertools
import json
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch

from minidsk.infer.evaluate import evaluate
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.actor_critic import critic_of, reinforce_with_critic
from minidsk.rl.config import PolicyConfig, PPOConfig, RLConfig
from minidsk.rl.loop import reinforce
from minidsk.rl.recipe import nano, small
from minidsk.train.checkpoint import Run, load_checkpoint
from minidsk.train.device import pick_device

WARM_UP = 3  # steps that are not timed
METHODS = ("GRPO", "PPO", "PPO, lam 1", "PPO, groups")
CURVES = ("reward", "advantage_std", "explained_variance", "value_loss", "entropy", "length", "grad_norm", "cut_off")


class Clock(Run):
    """A run that notes when each step ended, and what the GPU then held."""

    def __init__(self, folder: str, stage: str, settings: Any, device: str) -> None:
        super().__init__(folder, stage, settings)
        self.device, self.ends, self.held = device, list[float](), list[int]()

    def log(self, **metrics: float | int | str) -> None:
        """The line, and the clock."""
        if self.device == "cuda":
            torch.cuda.synchronize()
            torch._C._cuda_clearCublasWorkspaces()  # tens of MiB that belong to the library
            self.held.append(torch.cuda.memory_allocated())
        self.ends.append(time.perf_counter())
        super().log(**metrics)


def config_of(method: str, a: argparse.Namespace, steps: int, seed: int, rows: int = 1024) -> PolicyConfig:
    """The same answers a step for all: `prompts` groups for GRPO, for PPO as many prompts as there are answers."""
    shared: dict[str, Any] = {"steps": steps, "max_new_tokens": a.tokens, "lr": a.lr, "rows": rows, "seed": seed,
                              "clip_high": 0.28, "save_every": 10**6}  # fmt: skip
    if method == "GRPO":
        return RLConfig(prompts=a.prompts, group=a.group, **shared)
    prompts, group = (a.prompts, a.group) if method == "PPO, groups" else (a.prompts * a.group, 1)
    return PPOConfig(prompts=prompts, group=group, lam=0.95 if method == "PPO" else 1.0, critic_lr=a.critic_lr,
                     **shared)  # fmt: skip


def learn(model: MiniDeepSeek, tokenizer: Any, config: PolicyConfig, a: argparse.Namespace) -> Clock:
    """Train, and hand back what was noted."""
    task = nano().seeded(config.seed).task("train")
    with tempfile.TemporaryDirectory() as folder:
        run = Clock(folder, "rl", config, a.device)
        if isinstance(config, RLConfig):
            reinforce(model, tokenizer, task, config, run, progress=False)
        else:
            reinforce_with_critic(model, tokenizer, task, config, run, progress=False)
        run.lines = run.metrics()
    return run


def alone(method: str, a: argparse.Namespace) -> list[dict[str, Any]]:
    """What a method keeps in memory at two sizes, and how fast it is, with the machine to itself."""
    torch.set_num_threads(a.threads)
    rows = [memory(method, "nano", a), memory(method, "small", a)]
    model, tokenizer = load_checkpoint(a.base, pick_device(a.device))
    run = learn(model, tokenizer, config_of(method, a, a.timed, a.seeds[0]), a)
    steps = [after - before for before, after in itertools.pairwise(run.ends)][WARM_UP - 1 :]
    return [*rows, {"part": "speed", "method": method, "step_seconds": [round(s, 4) for s in steps]}]


def memory(method: str, size: str, a: argparse.Namespace) -> dict[str, Any]:
    """Bytes that stay between steps (with that step's answers), and the peak, beside what the parameters predict."""
    on_gpu, before = a.device == "cuda", 0
    if on_gpu:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    model, tokenizer = load_checkpoint(a.base)
    if size == "small":
        model = MiniDeepSeek(small().pretrain.model.replace(num_nextn_predict_layers=0))
    policy = sum(p.numel() for p in model.parameters())
    critic = sum(p.numel() for p in critic_of(model).parameters()) if method != "GRPO" else 0
    # float32 weights and the two moments of AdamW for what learns (gradients come and go), bf16 for what samples.
    kept = 12 * (policy + critic) + (2 * policy if on_gpu else 0)
    run = learn(model.to(pick_device(a.device)), tokenizer, config_of(method, a, 3, 0, rows=32), a)
    return {
        "part": "memory", "method": method, "size": size, "parameters": policy, "critic_parameters": critic,
        "predicted_mib": round(kept / 2**20, 2), "gradients_mib": round(4 * max(policy, critic) / 2**20, 2),
        "held_mib": round((run.held[-1] - before) / 2**20, 2) if on_gpu else None,
        "peak_mib": round((torch.cuda.max_memory_allocated() - before) / 2**20, 1) if on_gpu else None,
    }  # fmt: skip


def accuracy(method: str, seed: int, a: argparse.Namespace) -> dict[str, Any]:
    """One run and its test."""
    model, tokenizer = load_checkpoint(a.base, pick_device(a.device))
    run = learn(model, tokenizer, config_of(method, a, a.steps, seed), a)
    actor = copy.deepcopy(model).to(torch.bfloat16) if a.device == "cuda" else model  # as in training
    result = evaluate(actor, tokenizer, nano().seeded(seed).task("test"), a.problems, a.tokens)
    curves = {n: [round(float(line.get(n, 0.0)), 4) for line in run.lines] for n in CURVES}
    return {"part": "accuracy", "method": method, "seed": seed, "accuracy": round(result.accuracy, 4),
            "low": round(result.low, 4), "high": round(result.high, 4), "thought": round(result.thought, 1),
            "flops": sum(line["flops"] for line in run.lines), "curves": curves}  # fmt: skip


def accuracies(method: str, a: argparse.Namespace, deadline: float) -> list[dict[str, Any]]:
    """The seeds of a method, side by side; none when it is too late to begin."""
    if time.time() > deadline:
        return []
    torch.set_num_threads(1)

    def on_its_own_stream(seed: int) -> dict[str, Any]:
        with torch.cuda.stream(torch.cuda.Stream()) if a.device == "cuda" else contextlib.nullcontext():
            return accuracy(method, seed, a)

    with ThreadPoolExecutor(len(a.seeds)) as threads:
        return list(threads.map(on_its_own_stream, a.seeds))


def summary(rows: list[dict[str, Any]]) -> str:
    """The three tables."""

    def of(part: str) -> list[dict[str, Any]]:
        return [row for row in rows if row["part"] == part]

    lines = ["memory             size   parameters   predicted MiB  held MiB  peak MiB"]
    lines += [f"{r['method']:18s} {r['size']:6s} {r['parameters'] + r['critic_parameters']:10,d}  "
              f"{r['predicted_mib']:12.1f}  {r['held_mib']}  {r['peak_mib']}" for r in of("memory")]  # fmt: skip
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
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--timed", type=int, default=10, help="steps of the runs that are timed alone")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--critic-lr", type=float, default=1e-3)
    parser.add_argument("--problems", type=int, default=1024, help="held-out problems that each run is tested on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=100, help="seconds after which no method is begun")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("MINIDSK_RESULT", "results/ch12_ppo")))
    a = parser.parse_args()
    deadline, rows = time.time() + a.limit, list[dict[str, Any]]()
    settings = {name: value for name, value in vars(a).items() if name != "out"}
    a.out.mkdir(parents=True, exist_ok=True)

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        rows.sort(key=lambda r: (r["part"], METHODS.index(r["method"]), r.get("size", ""), r.get("seed", 0)))
        (a.out / "metrics.json").write_text(json.dumps({"settings": settings, "rows": rows}) + "\n")

    context = multiprocessing.get_context("spawn")
    for method in METHODS[:2]:
        with ProcessPoolExecutor(1, mp_context=context) as one:
            for row in one.submit(alone, method, a).result():
                keep(row)
    with ProcessPoolExecutor(len(METHODS), mp_context=context) as pool:
        for future in as_completed([pool.submit(accuracies, method, a, deadline) for method in METHODS]):
            for row in future.result():
                keep(row)
    print(summary(rows))


if __name__ == "__main__":
    main()
