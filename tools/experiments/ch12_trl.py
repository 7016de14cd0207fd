"""Chapter 12: minidsk's GRPO beside TRL's `GRPOTrainer`, on the same tiny model: seconds a step, and what is learned.

    python tools/experiments/ch12_trl.py --device cuda --seeds 0 1 2 --out results/ch12_trl

Both start from the same checkpoint, which transformers reads as `DeepseekV3ForCausalLM`, see the same problems in the
same order, and have the same group, batch, loss, optimizer and schedule; on a GPU, float32 weights with bf16 products.
TRL samples with transformers' `generate`. First each is timed with the machine to itself; then all seeds of both run
side by side for their curves (`--parts` makes one of the two alone, `--curves-of minidsk` the curves of one library).
No run is begun, and no step of TRL's, after `--limit` seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch

from minidsk import load_policy
from minidsk.bench.step import until_end
from minidsk.data.tokenizer import Tokenizer, load_tokenizer
from minidsk.presets import nano
from minidsk.rl.config import RLConfig
from minidsk.rl.grpo import group_advantages
from minidsk.rl.loop import reinforce, update
from minidsk.rl.rollout import Sampler
from minidsk.tasks.base import Task
from minidsk.train.checkpoint import Run
from minidsk.train.device import pick_device
from minidsk.train.loop import Slices
from minidsk.train.optim import OptimConfig, Optimizer, learning_rate, make_optimizers

WARM_UP = 3  # steps that are not timed: graphs, kernels and caches are made in them
LIBRARIES = ("minidsk", "trl")


def config_of(a: argparse.Namespace, seed: int, updates: int) -> RLConfig:
    """The settings that both libraries are given."""
    return RLConfig(steps=updates, prompts=a.prompts, group=a.group, max_new_tokens=a.tokens, rows=1024,
                    optim=OptimConfig(lr=6e-4, decay=0.3, betas=(0.9, 0.99)), save_every=10**6, seed=seed)  # fmt: skip


def task_of(seed: int) -> Task:
    """The problems of the nano recipe."""
    return nano().seeded(seed).make_task("train")


def with_minidsk(a: argparse.Namespace, seed: int, updates: int, deadline: float) -> tuple[list[float], list[float]]:
    """Mean reward of each step, and when each ended."""
    policy, config = load_policy(a.base, pick_device(a.device)), config_of(a, seed, updates)
    ends = []

    class Clock(Run):
        def log(self, **metrics: float | int | str) -> None:
            synchronize(a.device)
            ends.append(time.perf_counter())
            super().log(**metrics)

    with tempfile.TemporaryDirectory() as folder:
        run = Clock(folder, "grpo", config)
        reinforce(policy, task_of(seed), config, run, progress=False)
        return [line["reward"] for line in run.metrics()], ends


def with_trl(
    a: argparse.Namespace, seed: int, updates: int, deadline: float, go: Any = None
) -> tuple[list[float], list[float]]:
    """The same by TRL, which needs long to import: `go` is the event to wait for before the GPU is used."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    config, task, ours = config_of(a, seed, updates), task_of(seed), load_tokenizer(a.base)
    tokenizer = as_transformers(a.base, ours)
    rewards, ends = [], []

    def accuracy(completion_ids: list[list[int]], number: list[int], **_: Any) -> list[float]:
        scores = [task[i].score(until_end(ids, ours)) for i, ids in zip(number, completion_ids, strict=True)]
        rewards.append(mean(scores))
        return scores

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            synchronize(a.device)
            ends.append(time.perf_counter())
            control.should_training_stop |= time.time() > deadline

    posed = [{"prompt": task[i].prompt, "number": i} for i in range(updates * config.prompts)]
    for row in posed[:20]:
        assert tokenizer(row["prompt"])["input_ids"] == [ours.bos_id, *ours.encode(row["prompt"])]
    model = AutoModelForCausalLM.from_pretrained(a.base, dtype=torch.float32)
    model.generation_config.eos_token_id = ours.eos_id
    if go is not None:
        go.wait()
    model.to(pick_device(a.device))
    [optimizer] = make_optimizers(model, config.optim)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, updates, 1.0, config.optim.warmup, config.optim.decay)
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            folder, per_device_train_batch_size=config.prompts * config.group, num_generations=config.group,
            gradient_accumulation_steps=1, max_completion_length=config.max_new_tokens, max_steps=updates,
            learning_rate=config.optim.lr, loss_type=config.loss_type, epsilon=config.clip_low,
            epsilon_high=config.clip_high, beta=0.0, scale_rewards=config.scale, temperature=1.0, top_p=1.0, top_k=0,
            max_grad_norm=config.optim.clip, shuffle_dataset=False, gradient_checkpointing=False,
            bf16=a.device == "cuda", use_cpu=a.device == "cpu", save_strategy="no", report_to=[],
            logging_strategy="no", disable_tqdm=True,
            seed=seed,
        )  # fmt: skip
        GRPOTrainer(model=model, reward_funcs=accuracy, args=settings, train_dataset=Dataset.from_list(posed),
                    processing_class=tokenizer, optimizers=(optimizer, rate), callbacks=[Clock()]).train()  # fmt: skip
    return rewards, ends


def anatomy(a: argparse.Namespace, seed: int) -> dict[str, list[float]]:
    """Where a step of minidsk's goes: seconds of sampling and judging, and of the update."""
    policy, config = load_policy(a.base, pick_device(a.device)), config_of(a, seed, 8)
    sampler = Sampler(policy, task_of(seed), config)
    optimizer, slices = Optimizer(policy.model, config.optim, config.steps), Slices(config.rows)
    parts: dict[str, list[float]] = {"sampling": [], "update": []}
    for step in range(config.steps):
        start = time.perf_counter()
        rollouts = sampler(step).rollouts
        synchronize(a.device)
        middle = time.perf_counter()
        advantages = group_advantages(rollouts.rewards, config.scale).flatten()
        update(policy, optimizer, slices, rollouts, advantages, config)
        synchronize(a.device)
        parts["sampling"].append(round(middle - start, 4))
        parts["update"].append(round(time.perf_counter() - middle, 4))
    return {name: seconds[WARM_UP:] for name, seconds in parts.items()}


def as_transformers(folder: str, tokenizer: Tokenizer) -> Any:
    """The tokenizer in `folder` as transformers has it, with `<bos>` before a text and no other mark of its own."""
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json", bos_token="<bos>", eos_token="<eos>",
                                   pad_token="<pad>", unk_token="<unk>", padding_side="left")  # fmt: skip
    fast.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_id)]
    )
    return fast


def synchronize(device: str) -> None:
    """Wait for the GPU, so that a clock tells the truth."""
    if device == "cuda":
        torch.cuda.synchronize()


def measure(
    library: str, a: argparse.Namespace, seed: int, updates: int, deadline: float, alone: bool, *go: Any
) -> dict[str, Any] | None:
    """One run in a process of its own; None when it is too late to begin."""
    if time.time() > deadline:
        return None
    torch.set_num_threads(a.threads)
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    rewards, ends = {"minidsk": with_minidsk, "trl": with_trl}[library](a, seed, updates, deadline, *go)
    steps = [after - before for before, after in itertools.pairwise(ends)][WARM_UP - 1 :]
    peak = torch.cuda.max_memory_allocated() / 2**20 if a.device == "cuda" else None
    more = {"parts": anatomy(a, seed)} if library == "minidsk" and alone else {}
    return {
        "library": library, "seed": seed, **more, "updates": len(rewards),
        "seconds": round(time.perf_counter() - start, 2), "step_seconds": [round(s, 4) for s in steps],
        "peak_mib": peak and round(peak, 1), "reward": [round(r, 4) for r in rewards],
    }  # fmt: skip


def summary(timed: list[dict[str, Any]], curves: list[dict[str, Any]]) -> str:
    """The tables that the chapter reads again."""
    lines = [f"{'alone on the machine':24s} seconds a step: median, mean (sd)   peak MiB"]
    for row in timed:
        steps, peak = row["step_seconds"], row["peak_mib"]
        spread = stdev(steps) if len(steps) > 1 else 0.0
        lines.append(f"{row['library']:24s} {median(steps):10.4f}, {mean(steps):.4f} ({spread:.4f})   {peak}")
        lines += [f"  of which {name:13s} {median(seconds):10.4f}" for name, seconds in row.get("parts", {}).items()]
    if len(timed) == len(LIBRARIES):
        for name, typical in (("medians", median), ("means", mean)):
            ours, theirs = (typical(row["step_seconds"]) for row in timed)
            lines.append(f"TRL takes {theirs / ours:.1f} times as long, by the {name}")
    by = {name: [row["reward"] for row in curves if row["library"] == name] for name in LIBRARIES}
    if all(by.values()):
        updates = min(len(curve) for rows in by.values() for curve in rows)
        lines += ["", "update  minidsk  TRL: mean, least, largest"]
        inside = 0
        for u in range(updates):
            ours, theirs = ([curve[u] for curve in by[name]] for name in LIBRARIES)
            inside += min(theirs) <= mean(ours) <= max(theirs)
            if u % max(updates // 8, 1) == 0 or u == updates - 1:
                lines.append(f"{u + 1:6d}  {mean(ours):7.3f}  {mean(theirs):.3f}  {min(theirs):.3f}  {max(theirs):.3f}")
        lines.append(f"minidsk's mean lies within TRL's seeds at {inside} of {updates} updates")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="checkpoints/nano-base", help="the checkpoint that both start from")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=24)
    parser.add_argument("--parts", nargs="+", default=["timed", "curves"], choices=("timed", "curves"))
    parser.add_argument("--curves-of", nargs="+", default=list(reversed(LIBRARIES)), choices=LIBRARIES)
    parser.add_argument("--timed", type=int, default=10, help="updates of the runs that are timed alone")
    parser.add_argument("--timed-trl", type=int, default=10, help="the same, for TRL")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--limit", type=float, default=240, help="seconds after which nothing new is begun")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("MINIDSK_RESULT", "results/ch12_trl")))
    a = parser.parse_args()
    os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
    deadline = time.time() + a.limit
    timed: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []

    def write() -> None:
        packages = ("torch", "transformers", "trl", "accelerate", "datasets")
        settings = {name: value for name, value in vars(a).items() if name != "out"}
        content = {"settings": settings, "warm_up": WARM_UP, "versions": {name: version(name) for name in packages},
                   "timed": timed, "curves": curves}  # fmt: skip
        a.out.mkdir(parents=True, exist_ok=True)
        (a.out / "metrics.json").write_text(json.dumps(content) + "\n")

    context = multiprocessing.get_context("spawn")
    if "timed" in a.parts:
        with multiprocessing.Manager() as manager, ProcessPoolExecutor(2, mp_context=context) as pool:
            go = manager.Event()
            ours = pool.submit(measure, "minidsk", a, a.seeds[0], a.timed, deadline, True)
            theirs = pool.submit(measure, "trl", a, a.seeds[0], a.timed_trl, deadline, True, go)
            for run in (ours, theirs):
                try:
                    row = run.result()
                finally:
                    go.set()
                timed += [row] if row else []
                write()
    runs = [(library, seed) for library in a.curves_of for seed in a.seeds] if "curves" in a.parts else []
    with ProcessPoolExecutor(a.workers, mp_context=context) as pool:
        for run in [pool.submit(measure, library, a, seed, a.updates, deadline, False) for library, seed in runs]:
            row = run.result()
            curves += [row] if row else []
            write()
    print(summary(timed, curves))
    if ("timed" in a.parts and len(timed) < len(LIBRARIES)) or len(curves) < len(runs):
        print("for want of time, not all runs were begun")


if __name__ == "__main__":
    sys.exit(main())
