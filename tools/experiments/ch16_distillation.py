"""Chapter 16: what does a small model learn from a big reasoner's thoughts, and what from reward, for equal operations?

    python tools/experiments/ch16_distillation.py --out results/ch16_distillation
    python tools/experiments/ch16_distillation.py --device cuda --teacher own --seeds 0 1 2 3 4 --workers 5 ...

A job is one seed: a student pretrained briefly, a teacher (nano's R1-Zero), and arms that all begin at the student.
`rl`: reward for right answers. `on_policy`: the student answers, the teacher grades each token (`on_policy_token`: with
gamma 0). `on_policy_rl`: the first half so, the rest by reward. `sft_rl`, `sft_on_policy`: the teacher's right answers
first, for `--warm` of the budget, then reward or grades. The others learn from the teacher's answers alone: right ones,
right ones as few as there are wrong ones, wrong ones, right answers after thoughts on other problems, thoughts with
their lines in no order, the shortest. Each arm may spend `--budget` operations, and is measured after the shares
`--parts` of it (a control after `--control-parts`). Rows are written to `OUT/jobs/` as soon as they are there, or have
failed, with the reason. Asked for again, seeds that have a file are left as they are; with `--limit 0` metrics.json is
made of what is there.
"""

from __future__ import annotations

import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ch14_cells import measured
from ch16_students import EXAMPLES, imitated, pool_of, reinforced, settings_of, student_of, teacher_of
from sweep import BEGAN, arguments, collected, keep_job, sweep, why

from minidsk.report.interval import T_95, interval
from minidsk.rl.policy import MiniPolicy
from minidsk.scale.cost import parameters
from minidsk.train.device import pick_device

# Who learns while answering: where it begins, and who judges: the reward, the teacher with `--gamma`, or the teacher
# with gamma 0, where a token answers for its own grade alone.
LEARNERS = {
    "rl": ("student", "reward"), "on_policy": ("student", "teacher"), "on_policy_token": ("student", "token"),
    "on_policy_rl": ("on_policy", "reward"), "sft_rl": ("sft", "reward"), "sft_on_policy": ("sft", "teacher"),
}  # fmt: skip
ARMS = (*LEARNERS, *EXAMPLES)
Row = dict[str, Any]


def arms_of(seed: int, a: Namespace) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """The arms of one seed, in order, each a name and what computes its rows."""
    recipe, device, parts = settings_of(seed, a), pick_device(a.device), sorted({*a.parts, 0.5})
    made: dict[str, Any] = {}  # the teacher and its pool; and where learners begin, with the operations so far

    def row(part: float, policy: MiniPolicy, seen: Row) -> Row:
        return {"part": part, **seen, **measured(policy, recipe, a, sampled=False)}

    def ends() -> list[Row]:
        student, made["teacher"] = student_of(recipe, a, device), teacher_of(recipe, a, device)
        made["student"] = student, {"flops": 0.0}
        return [{"arm": name, "parameters": parameters(policy.model.config), **row(0.0, policy, {"flops": 0.0})}
                for name, policy in (("student", student), ("teacher", made["teacher"]))]  # fmt: skip

    def pool() -> list[Row]:
        made["pool"] = found = pool_of(made["teacher"], recipe, a)
        share = {name: len(found.marked(name)) / len(found.replies) for name in ("right", "wrong")}
        return [{"part": 0.0, "flops": found.each * len(found.replies), "answers": len(found.replies), **share}]

    def imitation(arm: str, part: float) -> tuple[MiniPolicy, Row]:
        return imitated(arm, made["student"][0], made["pool"], part * a.budget, recipe, a)

    def learner(arm: str) -> list[Row]:
        start, judge = LEARNERS[arm]
        if start == "sft" and start not in made:
            made["sft"] = imitation("sft_right", a.warm)
        policy, seen = made[start]
        marks = [part * a.budget for part in parts if part * a.budget > seen["flops"]]
        teacher, gamma = None if judge == "reward" else made["teacher"], 0.0 if judge == "token" else a.gamma
        kept = reinforced(policy, teacher, marks, recipe, a, seen["flops"], gamma)
        if arm == "on_policy":
            made["on_policy"] = kept[0.5 * a.budget]
        return [row(round(mark / a.budget, 6), *found) for mark, found in kept.items()]

    yield "ends", ends
    if not made:
        return
    yield "pool", pool
    for arm in (arm for arm in ARMS if arm in a.arms):
        if arm in LEARNERS:
            yield arm, lambda arm=arm: learner(arm)  # type: ignore[misc]
        else:
            for part in parts if arm == "sft_right" else a.control_parts:
                yield arm, lambda arm=arm, part=part: [row(part, *imitation(arm, part))]  # type: ignore[misc]


def path_of(seed: int, out: Path) -> Path:
    """Where the rows of a seed are kept."""
    return out / "jobs" / f"seed_{seed}.jsonl"


def do(seed: int, a: Namespace) -> list[Row]:
    """All arms of one seed; the rows of each are in the seed's file as soon as they are there."""
    rows: list[Row] = []
    for arm, compute in arms_of(seed, a):
        began = time.time()
        if began > a.deadline:
            break
        try:
            found = compute()
        except Exception as error:  # an arm that failed is shown as failed, and the others go on
            found = [{"failed": why(error)}]
        seconds = round(time.time() - began, 1)
        rows += [{"seed": seed, "arm": arm, **row, "seconds": seconds} for row in found]
        keep_job(path_of(seed, a.out), rows)
        told = [row.get("failed") or row.get("accuracy", "") for row in found]
        print(f"{time.time() - a.began:7.1f} s  seed {seed} {arm}: {told}, {seconds} s", flush=True)
    return rows


def reached(curve: Sequence[tuple[float, float]], accuracy: float) -> float:
    """The operations after which a curve of (operations, accuracy) first has this accuracy, by straight lines between
    its points; infinite where it never has."""
    before = None
    for flops, here in sorted(curve):
        if here >= accuracy:
            if before is None or here == before[1]:
                return flops
            return before[0] + (flops - before[0]) * (accuracy - before[1]) / (here - before[1])
        before = (flops, here)
    return math.inf


def curve_of(rows: Sequence[Row], seed: int, arm: str) -> list[tuple[float, float]]:
    """Operations and accuracy of an arm, from the student as it began."""
    return [(row["flops"], row["accuracy"]) for row in rows
            if row["seed"] == seed and row["arm"] in (arm, "student") and "accuracy" in row]  # fmt: skip


def shown(values: Sequence[float]) -> str:
    """A mean with its interval over seeds, where there are enough of them."""
    if len(values) not in T_95:
        return f"{mean(values):.3f}"
    return "{:.3f} +- {:.3f}".format(*interval(values))


def table(rows: Sequence[Row]) -> str:
    """A line for each arm and share of the budget; and what share of RL's operations others took to its accuracy."""
    lines = ["arm              part   seeds  accuracy         thought  operations  examples  epochs"]
    done = [row for row in rows if "accuracy" in row]
    for arm, part in dict.fromkeys((row["arm"], row["part"]) for row in done):
        own = [row for row in done if (row["arm"], row["part"]) == (arm, part)]
        thought, flops, examples, epochs = (mean(row.get(name, math.nan) for row in own)
                                            for name in ("thought", "flops", "examples", "epochs"))  # fmt: skip
        lines.append(f"{arm:15s}  {part:5.3f}  {len(own):5d}  {shown([row['accuracy'] for row in own]):15s}  "
                     f"{thought:7.1f}  {flops:10.3g}  {examples:8.0f}  {epochs:6.1f}")  # fmt: skip
    for arm in ("on_policy", "sft_on_policy", "sft_right"):
        for seed in sorted({row["seed"] for row in done if row["arm"] == "rl"}):
            reward = [row for row in done if row["arm"] == "rl" and row["seed"] == seed]
            last = max(reward, key=lambda row: row["flops"])
            took = reached(curve_of(done, seed, arm), last["accuracy"]) / last["flops"]
            lines.append(f"seed {seed}: {arm} has RL's {last['accuracy']:.3f} after {took:.3f} of its operations")
    lines += [f"failed: seed {row['seed']} {row['arm']}: {row['failed']}" for row in rows if "failed" in row]
    return "\n".join(lines)


def main(asked: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch16_distillation")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--budget", type=float, default=3e11, help="operations that each arm may spend")
    parser.add_argument("--parts", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.5, 1.0], help="of the budget")
    parser.add_argument("--control-parts", type=float, nargs="+", default=[0.2, 1.0], help="the controls' parts of it")
    parser.add_argument("--teacher", default="nano-zero", help="a checkpoint, or own: one made for each seed")
    parser.add_argument("--share", type=float, default=0.3, help="of authors who search, on the web")
    parser.add_argument("--pretrain-steps", type=int, default=3000, help="of a teacher's own base")
    parser.add_argument("--rl-steps", type=int, default=64, help="that make a teacher of it")
    parser.add_argument("--student-steps", type=int, default=1500, help="of the student's pretraining")
    parser.add_argument("--batch", type=int, default=8, help="rows of text in a step of pretraining")
    parser.add_argument("--hidden", type=int, default=56, help="the student's width")
    parser.add_argument("--layers", type=int, default=2, help="the student's layers")
    parser.add_argument("--rl-lr", type=float, default=3e-4)
    parser.add_argument("--prompts", type=int, default=8, help="problems in a step of RL")
    parser.add_argument("--group", type=int, default=16, help="answers to each of them")
    parser.add_argument("--warm", type=float, default=0.1, help="share of the budget for a start from thoughts")
    parser.add_argument("--graded", type=int, default=128, help="answers that the teacher grades in a step")
    parser.add_argument("--graded-lr", type=float, default=3e-4)
    parser.add_argument("--gamma", type=float, default=0.95, help="how far a token answers for later grades")
    parser.add_argument("--pool", type=int, default=2048, help="answers of the teacher to learn from, at most")
    parser.add_argument("--epochs", type=float, default=4.0, help="times that an example is read")
    parser.add_argument("--sft-batch", type=int, default=64)
    parser.add_argument("--sft-lr", type=float, default=1e-3)
    parser.add_argument("--rows", type=int, default=256, help="answers that are learned from at a time")
    parser.add_argument("--tokens", type=int, default=160, help="the longest answer")
    parser.add_argument("--problems", type=int, default=512, help="held-out problems, answered greedily")
    a = parser.parse_args(asked)
    a.began, a.deadline = BEGAN, BEGAN + a.limit
    (a.out / "jobs").mkdir(parents=True, exist_ok=True)
    try:
        sweep([(do, seed, a) for seed in a.seeds if not path_of(seed, a.out).exists()], lambda *rows: collected(a), a)
    finally:
        print(table(collected(a)), flush=True)


if __name__ == "__main__":
    main()
