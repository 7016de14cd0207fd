"""Chapter 12: each switch of GRPO on and off, from the same base, three seeds.

    python tools/experiments/ch12_ablations.py --device cpu --seeds 0 1 2 --workers 10 --out results/ch12_ablations

Every run starts from the same checkpoint and has the same steps of the same size; a variant differs from `plain` in
what its row of `VARIANTS` says. A run is a process of one thread. Writes metrics.json after every run, so that a
stopped experiment leaves what is finished: the first variants of `VARIANTS`, all seeds of each. Asked for again, it
does what is missing. No run is begun after `--limit` seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from minidsk.infer.evaluate import evaluate
from minidsk.rl.answers import answer_logprobs, over_all
from minidsk.rl.config import RLConfig
from minidsk.rl.loop import reinforce
from minidsk.rl.recipe import nano
from minidsk.rl.rollout import rollout
from minidsk.train.checkpoint import Run, load_checkpoint
from minidsk.train.device import keep_memory, pick_device

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
}
CURVES = ("reward", "entropy", "length", "length_right", "length_wrong", "groups_with_signal", "clipped_low",
          "clipped_high", "ratio", "kl", "cut_off", "distinct_attempts", "tries", "grad_norm")  # fmt: skip

OF_A_RUN = ("base", "device", "steps", "prompts", "group", "tokens", "lr", "problems")  # settings that all runs share


def train(name: str, seed: int, a: argparse.Namespace, deadline: float) -> dict[str, Any] | None:
    """One run: its curves, how well it answers, and how far it went; None when it is too late to begin."""
    if time.time() > deadline:
        return None
    torch.set_num_threads(1)
    keep_memory()
    device, recipe = pick_device(a.device), nano().seeded(seed)
    model, tokenizer = load_checkpoint(a.base, device)
    base, _ = load_checkpoint(a.base, device)
    config = RLConfig(steps=a.steps, prompts=a.prompts, group=a.group, max_new_tokens=a.tokens, lr=a.lr, rows=64,
                      save_every=10**6, seed=seed)  # fmt: skip
    config = dataclasses.replace(config, **VARIANTS[name])
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, "grpo", config)
        reinforce(model, tokenizer, recipe.task("train"), config, run, progress=False)
        lines, seconds = run.metrics(), run.seconds
    task = recipe.task("test")
    result = evaluate(model, tokenizer, task, a.problems, a.tokens)
    generator = torch.Generator(device).manual_seed(seed)
    sampled = rollout(model, tokenizer, [task[i] for i in range(a.prompts)], a.group, a.tokens, {"accuracy": 1.0},
                      generator=generator)  # fmt: skip
    here, there = (over_all(lambda rows, m=m: answer_logprobs(m, sampled, rows)[0], sampled, 64) for m in (model, base))
    entropy = over_all(lambda rows: answer_logprobs(model, sampled, rows)[1], sampled, 64)
    tokens = float(sampled.mask.sum())
    curves = {name: [round(float(line.get(name, 0.0)), 4) for line in lines] for name in CURVES}
    return {
        "variant": name, "seed": seed, "changes": {k: str(v) for k, v in VARIANTS[name].items()},
        "accuracy": round(result.accuracy, 4), "low": round(result.low, 4), "high": round(result.high, 4),
        "thought": round(result.thought, 1), "sampled_accuracy": round(float(sampled.rewards.mean()), 4),
        "kl_per_token": round(float((here - there).sum()) / tokens, 5),
        "kl_per_answer": round(float((here - there).sum()) / len(sampled.texts), 3),
        "entropy": round(float(entropy.sum()) / tokens, 5), "length": round(tokens / len(sampled.texts), 1),
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="checkpoints/nano-base", help="the checkpoint that all start from")
    parser.add_argument("--device", default="cpu", choices=("cuda", "cpu"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--lr", type=float, default=1e-3, help="larger than nano's: what breaks, breaks soon")
    parser.add_argument("--problems", type=int, default=256, help="held-out problems that each run is tested on")
    parser.add_argument("--workers", type=int, default=10, help="runs side by side")
    parser.add_argument("--limit", type=float, default=190, help="seconds after which no run is begun")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("MINIDSK_RESULT", "results/ch12_ablations")))
    a = parser.parse_args()
    deadline, runs = time.time() + a.limit, list[dict[str, Any]]()
    settings = {name: value for name, value in vars(a).items() if name not in ("out", "variants")}
    a.out.mkdir(parents=True, exist_ok=True)
    if (a.out / "metrics.json").exists():
        earlier = json.loads((a.out / "metrics.json").read_text())
        if differs := [name for name in OF_A_RUN if earlier["settings"][name] != settings[name]]:
            parser.error(f"{a.out} holds runs of another {differs[0]}; give another --out")
        runs += earlier["runs"]
    done = {(run["variant"], run["seed"]) for run in runs}
    with ProcessPoolExecutor(a.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        asked = [(name, seed) for name in a.variants for seed in a.seeds if (name, seed) not in done]
        for future in as_completed([pool.submit(train, name, seed, a, deadline) for name, seed in asked]):
            run = future.result()
            if run is not None:
                runs.append(run)
                runs.sort(key=lambda run: (list(VARIANTS).index(run["variant"]), run["seed"]))
                (a.out / "metrics.json").write_text(json.dumps({"settings": settings, "runs": runs}) + "\n")
    print(summary(runs))
    if len(runs) < len(done) + len(asked):
        print("not begun, for want of time:", len(done) + len(asked) - len(runs), "of", len(asked))


if __name__ == "__main__":
    main()
