"""Rejection sampling: keep of a policy's own answers those that are worth learning from."""

from __future__ import annotations

import torch

from minidsk.rl.language import language
from minidsk.rl.policy import Policy
from minidsk.tasks.base import Problem, Task
from minidsk.train.checkpoint import RunError
from minidsk.train.sft import Example

FAR = 10**9  # problems from here on are none that reinforcement learning saw


def readable(problem: Problem, reply: str) -> bool:
    """Whether a reply is well formed, in the language of its prompt, and tries nothing twice."""
    attempts = problem.attempts(reply)
    return problem.well_formed(reply) and language(problem, reply) == 1 and len(set(attempts)) == len(attempts)


def harvest(policy: Policy, task: Task, wanted: int, max_new_tokens: int, seed: int) -> list[Example]:
    """Sampled answers that are right and `readable`, as many as `wanted` or fewer.

    DeepSeek-R1 (section 2.3.1) gathered such thoughts from R1-Zero and had people make them readable; here a filter
    does. Stops after 20 samples for each example wanted; raises `RunError` when nothing was found.
    """
    examples: list[Example] = []
    generator = torch.Generator(policy.device).manual_seed(seed)
    for chunk in range(20):
        posed = [task[FAR + chunk * wanted + i] for i in range(wanted)]
        replies = policy.sample([problem.prompt for problem in posed], 1, max_new_tokens, 1.0, generator).texts
        examples += [(problem.prompt, reply) for problem, reply in zip(posed, replies, strict=True)
                     if problem.score(reply) == 1 and readable(problem, reply)]  # fmt: skip
        if len(examples) >= wanted:
            break
    if not examples:
        raise RunError("cold start: R1-Zero gave no right and readable answer; train R1-Zero for longer")
    return examples[:wanted]
