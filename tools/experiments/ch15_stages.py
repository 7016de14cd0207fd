"""Chapter 15: which stages of DeepSeek-R1 do something, what, and at what price? Each stage added, left out, replaced.

    python tools/experiments/ch15_stages.py --device cuda --workers 16 --limit 480 --out results/ch15_stages

A world is nano's base from a web in which a share of the authors searches, with a seed. In each world the same arms
are made, every one from the weights of those before it: R1-Zero; a cold start from curated thoughts, or from R1-Zero's
own; reward after it, for the answer, the form and the language; rejection sampling, with and without pages that need no
thought; reward over all kinds of problems; and fine-tuning against reward for R1-Zero's operations (see
`ch15_cells.stages_of`). An arm is begun as soon as those that it needs are there, the most important arms first, and
its row is in `OUT/jobs/` as soon as it is measured, or has failed, with the reason. Nothing is begun later than
`--limit` seconds. Asked for again, arms that have a row are left as they are, and go on from `--weights`. Several GPUs
are shared out among the workers.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from minidsk.report.interval import T_95, apart, interval
from minidsk.train.device import keep_memory, pick_device

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ch15_cells import ancestors, made, measured, needed, settings_of, stages_of
from sweep import BEGAN, arguments, collected, keep_job, why

Job = tuple[float, int, str]  # share, seed, arm
Row = dict[str, Any]
COLUMNS = ("well_formed", "readable", "sampled_one_language", "thought", "pages", "letters_true", "loss_pages")
# What a stage adds: an arm with it, and the same without it (or with another in its place).
PAIRS = (
    ("cold_right", "zero"), ("cold_form", "cold_right"), ("cold_language", "cold_form"),
    ("cold_language_1", "cold_form"), ("zero_language", "zero"), ("zero_language_1", "zero"),
    ("rejection", "cold_language"), ("rejection", "bare"), ("full", "rejection"), ("full", "no_rejection"),
    ("full", "bare_full"), ("full", "zero_longer"), ("own_full", "full"), ("own_right", "zero"),
    ("sft_few", "zero"), ("half_few", "zero"), ("sft_many", "zero"), ("half_many", "zero"), ("half_many", "sft_many"),
)  # fmt: skip


def path_of(job: Job, out: Path) -> Path:
    """Where the row of an arm is kept."""
    return out / "jobs" / "{:g}_{}_{}.jsonl".format(*job)


def begin(numbers: Any, threads: int) -> None:
    """What a worker does first: with several GPUs it takes one of them."""
    torch.set_num_threads(threads)
    keep_memory()
    number = numbers.get()
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def do(job: Job, a: Namespace) -> Row:
    """Make one arm and measure it; its row is in its file when this ends."""
    share, seed, arm = job
    began, row = time.time(), {"share": share, "seed": seed, "arm": arm}
    try:
        recipe, folder = settings_of(share, seed, a), Path(a.weights) / f"{share:g}_{seed}"
        policy, seen = made(arm, recipe, a, folder, pick_device(a.device))
        made_in = time.time() - began
        row |= {**seen, **measured(policy, recipe, a), "made_in": round(made_in, 1)}
    except Exception as error:  # an arm that failed is shown as failed, and those that do not need it go on
        row["failed"] = why(error)
    row["seconds"] = round(time.time() - began, 1)
    keep_job(path_of(job, a.out), [row])
    return row


def schedule(pool: Executor, jobs: Sequence[Job], needs: Mapping[str, set[str]], a: Namespace) -> int:
    """Do the jobs, each as soon as the arms that it needs are there; how many were left out.

    Jobs that have a row are done. Those that need an arm that failed are left out, as are those that time is short for.
    """
    there = {job for job in jobs if path_of(job, a.out).exists()}
    waiting, running = [job for job in jobs if job not in there], {}
    while True:
        ready = [job for job in waiting if all((*job[:2], need) in there for need in needs[job[2]])]
        for job in ready[: max(a.workers - len(running), 0)] if time.time() < a.deadline else ():
            future: Future[Row] = pool.submit(do, job, a)
            running[future] = job
            waiting.remove(job)
        if not running:
            return len(waiting)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job, row = running.pop(future), future.result()
            if "failed" not in row:
                there.add(job)
            print(f"{time.time() - a.began:7.1f} s  {job[0]:g} seed {job[1]} {job[2]}: "
                  f"{row.get('failed') or row['accuracy']}, {row['seconds']} s", flush=True)  # fmt: skip
        collected(a)


def arms_asked(a: Namespace) -> dict[str, set[str]]:
    """The arms that were asked for and those that they need, in order, and what each needs."""
    stages = stages_of(settings_of(a.shares[0], a.seeds[0], a), a)
    needs = {name: needed(stage) for name, stage in stages.items()}
    wanted = set().union(*(ancestors(need, stages) for arm in a.arms or stages for need in {arm, *needs[arm]}))
    return {name: needs[name] for name in stages if name in wanted}


def shown(values: Sequence[float]) -> str:
    """A mean with its interval over seeds, where there are enough of them."""
    return "{:.3f} +- {:.3f}".format(*interval(values)) if len(values) in T_95 else f"{mean(values):.3f}"


def figure(row: Row, name: str) -> float:
    """A figure of a row; `sampled_x` is x of the answers that were sampled."""
    return float(row["sampled"][name.removeprefix("sampled_")] if name.startswith("sampled_") else row[name])


def gained(rows: Sequence[Row], share: float, arm: str, other: str, name: str) -> str:
    """How much more of a figure one arm has than another, seed by seed, with its interval where seeds suffice."""
    ours, others = ({row["seed"]: figure(row, name) for row in rows if (row["share"], row["arm"]) == (share, each)}
                    for each in (arm, other))  # fmt: skip
    seeds = sorted(ours.keys() & others.keys())
    if len(seeds) not in T_95:
        return "-"
    return "{:+.3f} +- {:.3f}".format(*apart([ours[seed] for seed in seeds], [others[seed] for seed in seeds]))


def table(rows: Sequence[Row], arms: Sequence[str]) -> str:
    """A line for each share and arm, of means over seeds; and one for each share and pair, of differences."""
    done, lines = [row for row in rows if "failed" not in row], []
    for share in sorted({row["share"] for row in done}):
        lines.append("share  arm              seeds  accuracy         " + "  ".join(COLUMNS) + "  operations")
        for arm in arms:
            if own := [row for row in done if (row["share"], row["arm"]) == (share, arm)]:
                means = "  ".join(f"{mean(figure(row, name) for row in own):{len(name)}.3f}" for name in COLUMNS)
                lines.append(f"{share:5.2f}  {arm:15s}  {len(own):5d}  {shown([row['accuracy'] for row in own]):15s}  "
                             f"{means}  {mean(row['total_flops'] for row in own):.3g}")  # fmt: skip
        lines.append("share  difference                        accuracy          sampled in one language  pages")
        for arm, other in PAIRS:
            three = [gained(done, share, arm, other, name) for name in ("accuracy", "sampled_one_language", "pages")]
            if three[0] != "-":
                lines.append(f"{share:5.2f}  {arm:15s} - {other:13s}  {three[0]:16s}  {three[1]:23s}  {three[2]}")
    lines += [f"failed: {row['share']:g} seed {row['seed']} {row['arm']}: {row['failed']}"
              for row in rows if "failed" in row]  # fmt: skip
    return "\n".join(lines)


def main(asked: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch15_stages", workers=16, seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.2], help="of searching authors")
    parser.add_argument("--arms", nargs="+", default=[], help="those to make, with what they need; all if none")
    parser.add_argument("--weights", default="build/ch15_stages", help="folder of the weights")
    parser.add_argument("--mixed", type=float, default=0.15, help="share of authors who mix both languages")
    parser.add_argument("--pretrain-steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32, help="rows of text in a step of pretraining")
    parser.add_argument("--rl-steps", type=int, default=48)
    parser.add_argument("--last-steps", type=int, default=24, help="of reward over all kinds of problems")
    parser.add_argument("--rl-lr", type=float, default=6e-4)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--rows", type=int, default=256, help="answers that are learned from at a time")
    parser.add_argument("--curated", type=int, default=256, help="thoughts of a cold start; rejection has thrice that")
    parser.add_argument("--many", type=int, default=2048, help="curated thoughts where there are many")
    parser.add_argument("--cold-steps", type=int, default=20, help="of fine-tuning on them")
    parser.add_argument("--rejection-steps", type=int, default=32, help="of fine-tuning on what was not rejected")
    parser.add_argument("--tokens", type=int, default=160, help="the longest answer")
    parser.add_argument("--problems", type=int, default=1024, help="held-out problems, answered greedily")
    parser.add_argument("--sampled", type=int, default=512, help="the first of them, sampled at temperature 1")
    parser.add_argument("--pages", type=int, default=512, help="lists and rows of numbers, answered greedily")
    parser.add_argument("--letters", type=int, default=256, help="letters, sampled at temperature 1")
    a = parser.parse_args(asked)
    a.began, a.deadline = BEGAN, BEGAN + a.limit
    (a.out / "jobs").mkdir(parents=True, exist_ok=True)
    needs = arms_asked(a)
    jobs = [(share, seed, arm) for arm in needs for seed in a.seeds for share in a.shares]
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(a.workers):
        numbers.put(number)
    try:
        with ProcessPoolExecutor(a.workers, context, begin, (numbers, a.threads)) as pool:
            pool.map(abs, range(a.workers))  # all workers begin now, and not when the first bases are there
            left = schedule(pool, jobs, needs, a)
        print(f"{len(jobs) - left} arms, {left} left out, {time.time() - BEGAN:.0f} s in all")
    finally:
        print(table(collected(a), list(needs)), flush=True)


if __name__ == "__main__":
    main()
