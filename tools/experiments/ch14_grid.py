"""Chapter 14: what must a reward be, and how much search must a base have seen? A grid of rewards and webs.

    python tools/experiments/ch14_grid.py --workers 15 --limit 280 --out results/ch14_grid

A job is one base and all that is made of it, cell by cell. `grid`: nano's base from a web in which a share of the
authors searches; five runs of reinforcement learning that differ in the reward alone, fine-tuning on the base's own
right answers for as many operations, and the base with a search begun for it. `moments`: reinforcement learning from
ten moments of one base's pretraining. A cell is written to `OUT/jobs/` as soon as it is done, or has failed, with the
reason. Workers are stopped after `--limit` seconds, and metrics.json is made of what is there. Asked for again, jobs
that have a file are left as they are; with `--limit 0` nothing is begun. Several GPUs are shared out among the workers.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from minidsk.data.tokenizer import CharTokenizer
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.policy import MiniPolicy
from minidsk.train.device import keep_memory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ch14_cells import REWARDS, Begun, held_out_loss, imitated, measured, pretrained, recipe_of, rewarded
from sweep import BEGAN, arguments, collected, keep_job, why

MOMENTS = (1.0, 0.05, 0.35, 0.17, 0.55, 0.1, 0.7, 0.25, 0.45, 0.85)  # shares of pretraining, in the order of the cells
CELLS = ("base", *REWARDS, "sft", "prompt")

Cell = Callable[[], dict[str, Any]]


def grid_job(share: float, seed: int, a: Namespace, device: torch.device) -> Iterator[tuple[str, Cell]]:
    """The cells of one base, in order, each a name and what computes its row."""
    recipe, bases, spent = recipe_of(share, seed, a), [], {}

    def base() -> dict[str, Any]:
        config = recipe.pretrain
        bases.append(MiniPolicy(pretrained(config, device, [config.steps])[config.steps], CharTokenizer()))
        return {"loss": round(held_out_loss(bases[0].model, config), 4), **measured(bases[0], recipe, a)}

    def after(name: str) -> dict[str, Any]:
        policy, seen = rewarded(bases[0], name, recipe, a)
        spent[name] = seen["flops"]
        return {**seen, **measured(policy, recipe, a)}

    def sft() -> dict[str, Any]:
        if "right" not in spent:
            raise ValueError("the cell right failed, whose operations this one may use")
        policy, seen = imitated(bases[0], recipe, spent["right"])
        return {**seen, **measured(policy, recipe, a)}

    yield "base", base
    if not bases:
        return
    for name in REWARDS:
        yield name, lambda name=name: after(name)  # type: ignore[misc]
    yield "sft", sft
    yield "prompt", lambda: measured(bases[0], recipe, a, Begun(recipe))


def moments_job(share: float, seed: int, a: Namespace, device: torch.device) -> Iterator[tuple[str, Cell]]:
    """The cells of one base's moments: each its loss, and what it answers before and after the right reward."""
    recipe = recipe_of(share, seed, a)
    at = [max(round(part * a.pretrain_steps), 1) for part in MOMENTS]
    kept: dict[int, MiniDeepSeek] = {}

    def cell(step: int) -> dict[str, Any]:
        if not kept:
            kept.update(pretrained(recipe.pretrain, device, at))
        base = MiniPolicy(kept[step], CharTokenizer())
        before = measured(base, recipe, a, sampled=False)
        policy, seen = rewarded(base, "right", recipe, a)
        return {"step": step, "loss": round(held_out_loss(base.model, recipe.pretrain), 4), "before": before, **seen,
                **measured(policy, recipe, a, sampled=False)}  # fmt: skip

    for step in dict.fromkeys(at):
        yield f"step {step}", lambda step=step: cell(step)  # type: ignore[misc]


KINDS = {"grid": grid_job, "moments": moments_job}
Job = tuple[str, float, int]


def path_of(job: Job, out: Path) -> Path:
    """Where the rows of a job are kept."""
    return out / "jobs" / "{}_{:g}_{}.jsonl".format(*job)


def work(number: int, queue: Any, a: Namespace) -> None:
    """One worker: job after job, until none is left or the time is over."""
    torch.set_num_threads(1)
    keep_memory()
    cuda = a.device == "cuda" or (a.device == "auto" and torch.cuda.is_available())
    device = torch.device("cuda", number % torch.cuda.device_count()) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    while (job := queue.get()) is not None:
        do(job, a, device)


def do(job: Job, a: Namespace, device: torch.device) -> None:
    """One job: its rows are in its file when it ends, and each as soon as it is there."""
    kind, share, seed = job
    rows: list[dict[str, Any]] = []
    for name, compute in KINDS[kind](share, seed, a, device):
        began = time.time()
        if began > a.deadline:
            return
        row = {"job": kind, "share": share, "seed": seed, "cell": name}
        try:
            row |= compute()
        except Exception as error:  # a cell that failed is shown as failed, and the others go on
            row |= {"failed": why(error)}
        row["seconds"] = round(time.time() - began, 1)
        rows.append(row)
        keep_job(path_of(job, a.out), rows)
        told = {key: row[key] for key in ("accuracy", "thought", "failed", "seconds") if key in row}
        print(f"{time.time() - a.began:7.1f} s  {kind} {share:g} seed {seed} {name}: {told}", flush=True)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each share and cell, means over seeds; and one for each moment."""
    lines = ["share  cell      seeds  base   after  delta   thought  pass@1  @16    @256   no signal"]
    done = [row for row in rows if "failed" not in row]
    grid = [row for row in done if row["job"] == "grid"]
    bases = {(row["share"], row["seed"]): row["accuracy"] for row in grid if row["cell"] == "base"}
    for share in sorted({row["share"] for row in grid}):
        for cell in CELLS:
            if own := [row for row in grid if (row["share"], row["cell"]) == (share, cell)]:
                before = mean(bases.get((share, row["seed"]), math.nan) for row in own)
                after = mean(row["accuracy"] for row in own)
                passes = [mean(row["pass_at_k"].get(k, math.nan) for row in own) for k in ("1", "16", "256")]
                lines.append(f"{share:5.2f}  {cell:8s}  {len(own):5d}  {before:.3f}  {after:.3f}  {after - before:+.3f}"
                             f"  {mean(row['thought'] for row in own):7.1f}   " + "  ".join(f"{p:.3f}" for p in passes)
                             + f"  {mean(row.get('without_signal', float('nan')) for row in own):.3f}")  # fmt: skip
    moments = [row for row in done if row["job"] == "moments"]
    lines += ["", "step   seeds  loss    before  after"] if moments else []
    for step in sorted({row["step"] for row in moments}):
        own = [row for row in moments if row["step"] == step]
        before, after = mean(row["before"]["accuracy"] for row in own), mean(row["accuracy"] for row in own)
        lines.append(f"{step:5d}  {len(own):5d}  {mean(row['loss'] for row in own):.4f}  {before:.3f}   {after:.3f}")
    lines += [f"failed: {row['job']} {row['share']:g} seed {row['seed']} {row['cell']}: {row['failed']}"
              for row in rows if "failed" in row]  # fmt: skip
    return "\n".join(lines)


def main(asked: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch14_grid", workers=15, limit=280)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.0, 0.2, 0.01], help="of searching authors")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--moments-share", type=float, default=0.05, help="the share where there are moments")
    parser.add_argument("--pretrain-steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8, help="rows of text in a step of pretraining")
    parser.add_argument("--rl-steps", type=int, default=64)
    parser.add_argument("--rl-lr", type=float, default=6e-4)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--rows", type=int, default=256, help="answers that are learned from at a time")
    parser.add_argument("--tokens", type=int, default=160, help="the longest answer")
    parser.add_argument("--cap", type=int, default=40, help="tokens of an answer, where the length is capped")
    parser.add_argument("--problems", type=int, default=1024, help="held-out problems, answered greedily")
    parser.add_argument("--sampled", type=int, default=128, help="the first of them, which are sampled too")
    parser.add_argument("--samples", type=int, default=256, help="answers to each of those")
    parser.add_argument("--at-once", type=int, default=1024, help="answers sampled together in the measuring")
    a = parser.parse_args(asked)
    a.began, a.deadline = BEGAN, BEGAN + a.limit
    (a.out / "jobs").mkdir(parents=True, exist_ok=True)
    jobs: list[Job] = []
    for seed in a.seeds:
        jobs += [("grid", share, seed) for share in a.shares if "grid" in a.kinds]
        jobs += [("moments", a.moments_share, seed)] if "moments" in a.kinds else []
    jobs = [job for job in jobs if not path_of(job, a.out).exists()]
    context = multiprocessing.get_context("spawn")
    queue, workers = context.SimpleQueue(), []
    for job in [*jobs, *[None] * a.workers]:
        queue.put(job)
    try:
        for number in range(min(a.workers, len(jobs)) if time.time() < a.deadline else 0):
            workers.append(context.Process(target=work, args=(number, queue, a)))
            workers[-1].start()
        for worker in workers:
            worker.join(max(a.deadline - time.time(), 0))
    finally:
        for worker in workers:
            if worker.exitcode:
                print(f"a worker ended with code {worker.exitcode}; its job is not complete")
            worker.kill()  # the rows are whole
        print(table(collected(a)), flush=True)


if __name__ == "__main__":
    main()
