"""Chapter 16: two teachers, one student. Which way of joining them keeps what each can do?

    python tools/record.py ch16_merge --seeds 0 1 2 -- .venv/bin/python tools/experiments/ch16_merge.py --device cpu

All models begin at nano-base. One teacher is nano-zero, which solves Countdown. The other is made here for each seed:
the base, fine-tuned on pages (lists to put in order, rows to continue). A student may spend `--budget` operations, what
its teachers sample and grade included. `thoughts`: it learns from right answers of the two, each with half of the
budget. `graded`: it answers problems of both kinds, and the teacher of the kind grades each token. `rewarded`: the same
problems, and reward for right answers. `average`: the mean of the teachers' weights, which costs nothing.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ch16_students import NEVER, Enough, Watched, imitate, reading
from sweep import Record, arguments, sweep

from minidsk.infer.evaluate import answers
from minidsk.presets import nano
from minidsk.rl.distill import TeacherBaseline
from minidsk.rl.harvest import FAR
from minidsk.rl.loop import Baseline, GroupBaseline, reinforce
from minidsk.rl.policy import MiniPolicy, load_policy
from minidsk.rl.rollout import Rollouts
from minidsk.tasks.base import Problem, Task, make_task
from minidsk.train.checkpoint import Run
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import Example

ARMS = ("base", "teacher of sums", "teacher of pages", "average", "thoughts", "graded", "rewarded")
KINDS = ("sums", "pages")


def tasks(split: str, seed: int) -> dict[str, Task]:
    """The two kinds of problems, by name."""
    return {"sums": nano().seeded(seed).make_task(split), "pages": make_task("pages", split=split, seed=seed)}


class InTurn(Task):
    """A problem of sums, a problem of pages, and so on."""

    def __init__(self, seed: int) -> None:
        self.kinds = list(tasks("train", seed).values())

    def __getitem__(self, i: int) -> Problem:
        return self.kinds[i % 2][i // 2]


class Specialists:
    """Each answer is graded by the teacher of its kind: the odd problems of a step are pages. One answer each."""

    parts: Mapping[str, Any] = {}

    def __init__(self, teachers: Sequence[MiniPolicy], student: MiniPolicy, gamma: float) -> None:
        self.graders = [TeacherBaseline(teacher, student, gamma) for teacher in teachers]

    def __call__(self, rollouts: Rollouts, step: int) -> tuple[Tensor, dict[str, Any]]:
        """See `Baseline`."""
        count = len(rollouts.completions)
        advantages, flops = rollouts.completions.logp.new_zeros(rollouts.completions.mask.shape), 0.0
        for kind, grader in enumerate(self.graders):
            rows = torch.arange(kind, count, 2)
            graded, figures = grader(rollouts.groups(rows), step)
            advantages[rows, : graded.shape[1]] = graded
            flops += figures["flops"]
        return advantages, {"flops": flops}


def taught_pages(base: MiniPolicy, a: Namespace, seed: int) -> MiniPolicy:
    """The teacher of pages: it has read `--pages` of them with their right endings."""
    teacher, task = base.copy(), tasks("train", seed)["pages"]
    posed = [task[i] for i in range(a.pages)]
    imitate(teacher, [(p.prompt, min(p.endings)) for p in posed], a.teacher_steps, a, seed)  # type: ignore[attr-defined]
    return teacher


def answered(student: MiniPolicy, teacher: MiniPolicy, task: Task, budget: float, a: Namespace,
             seed: int) -> tuple[list[Example], float]:  # fmt: skip
    """Right answers of a teacher, as many as leave the rest of the budget to read each `--epochs` times; and what they
    took."""
    examples: list[Example] = []
    spent = first = 0.0
    generator = torch.Generator().manual_seed(seed)
    while True:
        posed = [task[FAR + int(first) + i] for i in range(a.at_once)]
        sampled = teacher.sample([p.prompt for p in posed], 1, a.tokens, 1.0, generator)
        spent, first = spent + teacher.flops(sampled), first + a.at_once
        examples += [(p.prompt, reply) for p, reply in zip(posed, sampled.texts, strict=True) if p.score(reply) == 1]
        if examples and spent + a.epochs * reading(student, examples) >= budget:
            return examples, spent


def imitated(base: MiniPolicy, teachers: dict[str, MiniPolicy], a: Namespace, seed: int) -> tuple[MiniPolicy, float]:
    """The student after thoughts of both teachers, with equal shares of the budget; and what it spent."""
    student, examples, spent = base.copy(), [], 0.0
    for kind in KINDS:
        found, took = answered(base, teachers[kind], tasks("train", seed)[kind], a.budget / len(KINDS), a, seed)
        examples, spent = examples + found, spent + took
    each = reading(base, examples) / len(examples)
    steps = max(round((a.budget - spent) / (each * a.sft_batch)), 1)
    return student, spent + imitate(student, examples, steps, a, seed)


def answering(base: MiniPolicy, teachers: dict[str, MiniPolicy] | None, a: Namespace,
              seed: int) -> tuple[MiniPolicy, float]:  # fmt: skip
    """The student after answering problems of both kinds, graded by their teachers, or, without them, rewarded."""
    student, group = base.copy(), 1 if teachers else a.group
    optim = OptimConfig(lr=a.graded_lr if teachers else a.rl_lr, warmup=5, decay=0.0, betas=(0.9, 0.99))
    config = replace(nano().seeded(seed).zero, steps=NEVER, prompts=a.answers // group, group=group,
                     max_new_tokens=a.tokens, optim=optim, save_every=NEVER)  # fmt: skip
    inner: Baseline = Specialists([teachers[kind] for kind in KINDS], student, a.gamma) if teachers else GroupBaseline()
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(inner, student, run := Run(folder, "rl", config), [a.budget], 0.0)
        with contextlib.suppress(Enough):
            reinforce(student, InTurn(seed), config, run, baseline=watched, progress=False)
    kept, seen = watched.kept[a.budget]
    return kept, float(seen["flops"])


def average(teachers: Sequence[MiniPolicy]) -> MiniPolicy:
    """The mean of the teachers' weights."""
    student, states = teachers[0].copy(), [teacher.model.state_dict() for teacher in teachers]
    student.model.load_state_dict({name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]})
    return student


def measured(policy: MiniPolicy, a: Namespace, seed: int) -> dict[str, float]:
    """The share of held-out problems of each kind that a greedy answer solves."""
    found = {}
    for kind, task in tasks("test", seed).items():
        posed = [task[i] for i in range(a.problems)]
        replies = answers(policy, posed, a.tokens)
        found[kind] = round(mean(p.score(reply) == 1 for p, reply in zip(posed, replies, strict=True)), 4)
    return found


def do(seed: int, a: Namespace) -> list[dict[str, Any]]:
    """All arms of one seed."""
    base = load_policy("nano-base")
    teachers = {"sums": load_policy("nano-zero"), "pages": taught_pages(base, a, seed)}
    made = {"base": base, "teacher of sums": teachers["sums"], "teacher of pages": teachers["pages"],
            "average": average(list(teachers.values()))}  # fmt: skip
    rows = []
    for arm in ARMS:
        if arm in made:
            policy, flops = made[arm], 0.0
        elif arm == "thoughts":
            policy, flops = imitated(base, teachers, a, seed)
        else:
            policy, flops = answering(base, teachers if arm == "graded" else None, a, seed)
        rows.append({"seed": seed, "arm": arm, "flops": flops, **measured(policy, a, seed)})
        print(rows[-1], flush=True)
    return rows


def main(asked: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = arguments(__doc__, "results/ch16_merge")
    parser.add_argument("--budget", type=float, default=6e11, help="operations that each student may spend")
    parser.add_argument("--pages", type=int, default=4096, help="pages that the teacher of pages learns from")
    parser.add_argument("--teacher-steps", type=int, default=100)
    parser.add_argument("--epochs", type=float, default=4.0, help="times that an example is read")
    parser.add_argument("--sft-batch", type=int, default=64)
    parser.add_argument("--sft-lr", type=float, default=1e-3)
    parser.add_argument("--answers", type=int, default=128, help="of the student in a step")
    parser.add_argument("--group", type=int, default=16, help="answers to a problem, where they are rewarded")
    parser.add_argument("--graded-lr", type=float, default=1e-3)
    parser.add_argument("--rl-lr", type=float, default=6e-4)
    parser.add_argument("--gamma", type=float, default=0.95)
    parser.add_argument("--at-once", type=int, default=64, help="problems that a teacher answers at a time")
    parser.add_argument("--tokens", type=int, default=160, help="the longest answer")
    parser.add_argument("--problems", type=int, default=256, help="held-out problems of each kind")
    a = parser.parse_args(asked)
    torch.set_num_threads(a.threads)
    record = Record(a, key=lambda row: (row["seed"], ARMS.index(row["arm"])))
    sweep([(do, seed, a) for seed in a.seeds], record.add, a)


if __name__ == "__main__":
    main()
