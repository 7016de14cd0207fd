"""Examples to learn from: a teacher's answers that pass a filter, and pages that need no thought.

Rejection sampling keeps of a policy's answers those that are worth learning from (DeepSeek-R1, section 2.3). The other
filters are its controls: what do answers teach that are wrong, or thoughts whose lines stand in no order?
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch

from minidsk.data.corpus import Corpus
from minidsk.rl.language import language
from minidsk.rl.policy import Policy
from minidsk.settings import AT_ONCE, one_of, within
from minidsk.tasks.base import Problem, Task, stream, thought_of
from minidsk.train.checkpoint import RunError
from minidsk.train.sft import Example

FAR = 10**9  # problems from here on are none that reinforcement learning saw
ROUNDS = 20  # times that as many problems are posed as examples are wanted, before a harvest ends with fewer


def readable(problem: Problem, reply: str) -> bool:
    """Whether a reply is well formed, in the language of its prompt, and tries nothing twice."""
    attempts = problem.attempts(reply)
    return problem.well_formed(reply) and language(problem, reply) == 1 and len(set(attempts)) == len(attempts)


def right(problem: Problem, reply: str) -> bool:
    """Whether the verifier accepts the answer."""
    return problem.score(reply) == 1


FILTERS: dict[str, Callable[[Problem, str], bool]] = {
    "readable": lambda problem, reply: right(problem, reply) and readable(problem, reply),
    "right": right,
    "direct": lambda problem, reply: right(problem, reply) and len(problem.attempts(reply)) <= 1,
    "wrong": lambda problem, reply: problem.well_formed(reply) and not right(problem, reply),
}
"""Which answers are kept: right and readable; right; right at the first attempt; well formed and wrong."""


@dataclass(frozen=True)
class Thoughts:
    """A harvest as data. Raises `ValueError` for a field that does not fit."""

    count: int = 512  # examples that are wanted
    max_new_tokens: int = 160  # the longest answer, in tokens
    keep: str = "readable"  # which answers are kept: readable, right, direct or wrong, see FILTERS
    shuffled: bool = False  # whether the lines of each kept thought are put in random order

    def __post_init__(self) -> None:
        within(self, 1, AT_ONCE, "count", "max_new_tokens")
        one_of(self, "keep", FILTERS)

    def gather(self, policy: Policy, task: Task, seed: int) -> Harvest:
        """See `harvest`."""
        return harvest(policy, task, self, seed)


@dataclass(frozen=True)
class Harvest:
    """`examples`, and what they took: `asked` problems, `flops` operations of the teacher."""

    examples: list[Example]
    asked: int
    flops: float


def harvest(policy: Policy, task: Task, wanted: Thoughts, seed: int) -> Harvest:
    """Sampled answers that pass the filter, as many as are wanted or fewer.

    DeepSeek-R1 (section 2.3.1) gathered such thoughts from R1-Zero and had people make them readable; here a filter
    does. Stops after 20 samples for each example wanted; raises `RunError` when nothing was found.
    """
    examples: list[Example] = []
    flops, generator, keep = 0.0, torch.Generator(policy.device).manual_seed(seed), FILTERS[wanted.keep]
    for chunk in range(ROUNDS):
        posed = [task[FAR + chunk * wanted.count + i] for i in range(wanted.count)]
        sampled = policy.sample([problem.prompt for problem in posed], 1, wanted.max_new_tokens, 1.0, generator)
        flops += policy.flops(sampled)
        examples += [(problem.prompt, reply) for problem, reply in zip(posed, sampled.texts, strict=True)
                     if keep(problem, reply)]  # fmt: skip
        if len(examples) >= wanted.count:
            break
    if not examples:
        raise RunError(f"harvest: no answer passed the filter {wanted.keep!r}; train the teacher for longer")
    if wanted.shuffled:
        rng = stream("shuffled", seed)
        examples = [(prompt, shuffle(rng, reply)) for prompt, reply in examples]
    return Harvest(examples[: wanted.count], (chunk + 1) * wanted.count, flops)


def shuffle(rng: random.Random, reply: str) -> str:
    """The reply with the lines of its thought in another order."""
    thought = thought_of(reply)
    lines = thought.split("\n")
    rng.shuffle(lines)
    return reply.replace(thought, "\n".join(lines), 1) if thought else reply


def pages(corpus: Corpus, count: int) -> list[Example]:
    """Pages of a corpus that pretraining has not reached: the first line is the prompt, the rest the completion."""
    found = (corpus[FAR + i].partition("\n") for i in range(count))
    return [(first + newline, rest) for first, newline, rest in found]
