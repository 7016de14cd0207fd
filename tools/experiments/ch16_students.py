"""The cells of chapter 16's experiment: a teacher, a smaller student, and what it learns for so many operations.

Sampling, grading and learning all count, the teacher's part included; what made the teacher and the student does not.
Learning rates rise once and then stay, so that a point on the way is what a run of that length would have reached.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ch14_cells import pretrained, recipe_of, rewarded
from torch import Tensor

from minidsk.data.tokenizer import CharTokenizer
from minidsk.presets import nano
from minidsk.rl.distill import TeacherBaseline
from minidsk.rl.harvest import FAR, FILTERS, shuffle
from minidsk.rl.loop import Baseline, GroupBaseline, reinforce
from minidsk.rl.policy import MiniPolicy, load_policy
from minidsk.rl.recipe import Recipe
from minidsk.rl.rollout import Rollouts
from minidsk.tasks.base import Problem, stream, thought_of
from minidsk.train.checkpoint import Run
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import Example, SFTConfig, fine_tune

CHUNK = 512  # problems that the teacher answers at a time
NEVER = 10**6  # steps: what ends a run is what it spent


def settings_of(seed: int, a: Namespace) -> Recipe:
    """Nano with this seed and the sizes that were asked for."""
    return recipe_of(a.share, seed, a)


def teacher_of(recipe: Recipe, a: Namespace, device: torch.device) -> MiniPolicy:
    """A checkpoint by name, or, for `own`, R1-Zero made from this seed's own base."""
    if a.teacher != "own":
        return load_policy(a.teacher, device)
    config = recipe.pretrain
    base = MiniPolicy(pretrained(config, device, [config.steps])[config.steps], CharTokenizer())
    zero = dataclasses.replace(nano().seeded(recipe.seed).zero, steps=a.rl_steps, rows=a.rows, save_every=NEVER)
    return rewarded(base, "right", dataclasses.replace(recipe, zero=zero), a)[0]


def student_of(recipe: Recipe, a: Namespace, device: torch.device) -> MiniPolicy:
    """A smaller base that has read the same web."""
    model = dataclasses.replace(
        recipe.pretrain.model, hidden_size=a.hidden, num_hidden_layers=a.layers, intermediate_size=a.hidden * 5 // 2,
        moe_intermediate_size=a.hidden * 5 // 8, kv_lora_rank=24, v_head_dim=16,
    )  # fmt: skip
    config = dataclasses.replace(recipe.pretrain, model=model, steps=a.student_steps)
    return MiniPolicy(pretrained(config, device, [config.steps])[config.steps], CharTokenizer())


@dataclass(frozen=True)
class Pool:
    """What the teacher answered to problems that nothing else poses; `each`: operations of one answer."""

    problems: list[Problem]
    replies: list[str]
    each: float

    def marked(self, keep: str) -> list[int]:
        """The numbers of the well-formed answers that pass a filter, see `harvest.FILTERS`."""
        posed = enumerate(zip(self.problems, self.replies, strict=True))
        return [i for i, (p, reply) in posed if p.well_formed(reply) and FILTERS[keep](p, reply)]

    def examples(self, numbers: Sequence[int]) -> list[Example]:
        """Those with these numbers, to learn from."""
        return [(self.problems[i].prompt, self.replies[i]) for i in numbers]


def pool_of(teacher: MiniPolicy, recipe: Recipe, a: Namespace) -> Pool:
    """Answers of the teacher, as `harvest` samples them; every arm takes as many of the first as it can pay for."""
    task, generator = recipe.make_task("train"), torch.Generator(teacher.device).manual_seed(recipe.seed)
    problems, replies, flops = [task[FAR + i] for i in range(a.pool)], [], 0.0
    for first in range(0, a.pool, CHUNK):
        prompts = [problem.prompt for problem in problems[first : first + CHUNK]]
        sampled = teacher.sample(prompts, 1, a.tokens, 1.0, generator)
        replies, flops = replies + sampled.texts, flops + teacher.flops(sampled)
    return Pool(problems, replies, flops / a.pool)


def shortest(pool: Pool, numbers: list[int]) -> list[int]:
    """The quarter with the shortest thoughts."""
    return sorted(numbers, key=lambda i: len(thought_of(pool.replies[i])))[: max(len(numbers) // 4, 1)]


def foreign(examples: list[Example], seed: int) -> list[Example]:
    """Each answer after the thought of another problem."""
    thoughts = [thought_of(reply) for _, reply in examples]
    answers = [(prompt, reply.rpartition("</think>")[2]) for prompt, reply in examples]
    moved = thoughts[1:] + thoughts[:1]
    return [(p, f"<think>{thought}</think>{answer}") for (p, answer), thought in zip(answers, moved, strict=True)]


def in_no_order(examples: list[Example], seed: int) -> list[Example]:
    """The lines of each thought in random order."""
    rng = stream("shuffled", seed)
    return [(prompt, shuffle(rng, reply)) for prompt, reply in examples]


def as_it_is(examples: list[Example], seed: int) -> list[Example]:
    """Nothing is changed."""
    return examples


Change = Callable[[list[Example], int], list[Example]]
# Of which answers a student learns, and what is done to them. `sft_few`: right ones, as few as `sft_wrong` finds.
EXAMPLES: dict[str, tuple[str, Change]] = {
    "sft_right": ("right", as_it_is), "sft_few": ("right", as_it_is), "sft_wrong": ("wrong", as_it_is),
    "sft_shuffled": ("right", foreign), "sft_lines": ("right", in_no_order), "sft_short": ("right", as_it_is),
}  # fmt: skip


def chosen(arm: str, pool: Pool, asked: int) -> list[int]:
    """Which of the first `asked` answers an arm learns from."""
    kept = [i for i in pool.marked(EXAMPLES[arm][0]) if i < asked]
    if arm == "sft_short" and kept:
        return shortest(pool, kept)
    return kept[: sum(i < asked for i in pool.marked("wrong"))] if arm == "sft_few" else kept


def imitated(
    arm: str, student: MiniPolicy, pool: Pool, budget: float, recipe: Recipe, a: Namespace
) -> tuple[MiniPolicy, dict[str, Any]]:
    """The student after learning from thoughts for `budget` operations, the teacher's sampling among them.

    As many answers are asked for as leave the rest of the budget to read each example `--epochs` times. Where the pool
    has fewer, they are read more often.
    """
    everything = pool.examples(chosen(arm, pool, len(pool.replies)))
    if not everything:
        raise ValueError(f"no answer of {len(pool.replies)} is one that {arm} learns from")
    learning = reading(student, everything) / len(everything)
    per_answer = pool.each + a.epochs * learning * len(everything) / len(pool.replies)
    asked = min(max(int(budget / per_answer), 1), len(pool.replies))
    examples = EXAMPLES[arm][1](pool.examples(chosen(arm, pool, asked)), recipe.seed)
    if not examples:
        raise ValueError(f"no answer of the first {asked} is one that {arm} learns from")
    spent = asked * pool.each
    steps = max(round((budget - spent) / (learning * a.sft_batch)), 1)
    policy = student.copy()
    flops = spent + imitate(policy, examples, steps, a, recipe.seed)
    epochs = steps * a.sft_batch / len(examples)
    return policy, {"flops": flops, "asked": asked, "examples": len(examples), "steps": steps, "epochs": epochs}


def reading(student: MiniPolicy, examples: Sequence[Example]) -> float:
    """The operations of learning once from each example."""
    encoded = student.encode(*map(list, zip(*examples, strict=True)))
    return student.flops(encoded, updates=1) - student.flops(encoded)


def imitate(policy: MiniPolicy, examples: Sequence[Example], steps: int, a: Namespace, seed: int) -> float:
    """Fine-tune in place; the operations that this took."""
    optim = OptimConfig(lr=a.sft_lr, warmup=5, decay=0.0)
    config = SFTConfig(steps=steps, batch=a.sft_batch, optim=optim, save_every=NEVER, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        fine_tune(policy, examples, config, run := Run(folder, "sft", config), progress=False)
        return float(sum(line["flops"] for line in run.metrics()))


class Enough(Exception):
    """All that may be spent is spent."""


class Watched:
    """A baseline that keeps a copy of the policy whenever its run has spent one of `marks`, and ends the run at the
    last. spent: operations before the run. kept: for each mark the policy and what was seen so far."""

    parts: Mapping[str, Any] = {}

    def __init__(self, inner: Baseline, policy: MiniPolicy, run: Run, marks: Sequence[float], spent: float) -> None:
        self.inner, self.policy, self.run, self.marks, self.spent = inner, policy, run, sorted(marks), spent
        self.kept: dict[float, tuple[MiniPolicy, dict[str, Any]]] = {}

    def __call__(self, rollouts: Rollouts, step: int) -> tuple[Tensor, dict[str, Any]]:
        """See `Baseline`."""
        lines = self.run.metrics()
        spent = self.spent + sum(line["flops"] for line in lines)
        while self.marks and spent >= self.marks[0]:
            names = ("reward", "length", "entropy", "reverse_kl", "grad_norm")
            seen: dict[str, Any] = {f"last_{name}": round(lines[-1][name], 4) for name in names if name in lines[-1]}
            seen |= {"flops": spent, "steps": step, "answers": step * len(rollouts.completions)}
            self.kept[self.marks.pop(0)] = self.policy.copy(), seen
        if not self.marks:
            raise Enough
        return self.inner(rollouts, step)


def reinforced(
    student: MiniPolicy, teacher: MiniPolicy | None, marks: Sequence[float], recipe: Recipe, a: Namespace,
    spent: float = 0.0, gamma: float = 0.0,
) -> dict[float, tuple[MiniPolicy, dict[str, Any]]]:  # fmt: skip
    """The student at each mark: rewarded for right answers, or, with a teacher, graded by it token by token."""
    policy, zero = student.copy(), recipe.zero
    lr, prompts, group = (a.rl_lr, a.prompts, a.group) if teacher is None else (a.graded_lr, a.graded, 1)
    optim = dataclasses.replace(zero.optim, lr=lr, warmup=5, decay=0.0)
    config = dataclasses.replace(zero, steps=NEVER, prompts=prompts, group=group, optim=optim, save_every=NEVER)
    inner: Baseline = TeacherBaseline(teacher, policy, gamma) if teacher else GroupBaseline()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, "rl", config)
        baseline = Watched(inner, policy, run, marks, spent)
        with contextlib.suppress(Enough):
            reinforce(policy, recipe.make_task("train"), config, run, baseline=baseline, progress=False)
    return baseline.kept
