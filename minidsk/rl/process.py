"""What is learned from a search: by the policy its solutions, by a process preference model which step to take next.

A step's worth in a tree is too noisy to be learned as a number (rStar-Math, arXiv:2501.04519, section 3.3), but steps
that often led to right answers can be told from those that seldom did. So it is learned as a preference, by the reward
model of people's preferences, which reads a reply that goes no further than the step.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from minidsk.infer.search.account import Judged, Question, verify
from minidsk.infer.search.mcts import TreeConfig, text_of, tree_search
from minidsk.infer.search.tree import Node
from minidsk.rl.harvest import FAR, ROUNDS, Harvest
from minidsk.rl.policy import Policy
from minidsk.rl.preferences import Ranking
from minidsk.rl.reward_model import RewardModel
from minidsk.settings import AT_ONCE, within
from minidsk.tasks.base import Task
from minidsk.train.checkpoint import RunError
from minidsk.train.sft import Example

TOGETHER = 256  # problems that are searched at the same time


def step_rankings(prompt: str, tree: Node, tokenizer: Any, most: int = 2) -> list[Ranking]:
    """Pairs of one of the `most` best and one of the `most` worst, from a tree that the verifier judged.

    Steps are compared with their siblings, by their worth, where the better one led to a right answer at least once.
    Whole replies are compared with all of their tree, right ones with wrong ones, because who chooses among replies
    has to compare those that have no step in common. Those on the ways that are worth most, and least, are taken.
    """
    pairs: list[tuple[Node, Node]] = []
    for node in tree.below():
        order = sorted((child for child in node.children if not child.ended), key=lambda child: -child.q)
        half = min(most, len(order) // 2)
        pairs += itertools.product(order[:half], order[len(order) - half :])
    ends = sorted((node for node in tree.below() if node.ended), key=_worth_of_way, reverse=True)
    right, wrong = [end for end in ends if end.q == 1], [end for end in ends if end.q < 1]
    pairs += itertools.product(right[:most], wrong[-most:])
    return [Ranking(prompt, (text_of(better, tokenizer), text_of(worse, tokenizer)))
            for better, worse in pairs if better.q > worse.q]  # fmt: skip


def solutions(tree: Node, tokenizer: Any, most: int = 2) -> list[str]:
    """The right replies of a tree that the verifier judged, at most so many, those on the ways that are worth most
    first: what the next round of the policy is fine-tuned on."""
    right = [node for node in tree.below() if node.ended and node.q == 1]
    return [text_of(end, tokenizer) for end in sorted(right, key=_worth_of_way, reverse=True)[:most]]


def _worth_of_way(end: Node) -> float:
    """The mean worth of all steps on the way to an end."""
    way = [node.q for node in end.path()]
    return sum(way) / len(way)


@dataclass(frozen=True)
class Trees:
    """A harvest by tree search, as data. Rounds of it are self-evolution: each round's policy searches for the next.

    Raises `ValueError` for a field that does not fit.
    """

    count: int = 512  # examples that are wanted
    budget: int = 800  # tokens of the search for one problem
    most: int = 2  # solutions of one problem that become examples
    config: TreeConfig = field(default_factory=TreeConfig)

    def __post_init__(self) -> None:
        within(self, 1, AT_ONCE, "count", "budget", "most")

    def gather(self, policy: Policy, task: Task, seed: int) -> Harvest:
        """See `harvest_trees`."""
        return harvest_trees(policy, task, self, seed)


def harvest_trees(policy: Policy, task: Task, wanted: Trees, seed: int) -> Harvest:
    """Solutions that a search with the verifier found, as many as are wanted or fewer.

    Searches at most 20 problems for each example wanted; raises `RunError` when nothing was found.
    """
    examples: list[Example] = []
    asked, flops, generator = 0, 0.0, torch.Generator(policy.device).manual_seed(seed)
    while len(examples) < wanted.count and asked < ROUNDS * wanted.count:
        together = min(TOGETHER, wanted.count, ROUNDS * wanted.count - asked)
        posed = [task[FAR + asked + i] for i in range(together)]
        asked += len(posed)
        found = tree_search(policy, posed, verify, wanted.budget, generator, wanted.config)
        flops += found.flops
        for problem, tree in zip(posed, found.trees, strict=True):
            examples += [(problem.prompt, reply) for reply in solutions(tree, policy.tokenizer, wanted.most)]
    if not examples:
        raise RunError("harvest: the search solved no problem; train the teacher for longer, or give a larger budget")
    return Harvest(examples[: wanted.count], asked, flops)


class ProcessJudge:
    """A reward model as the judge of replies, finished or not; it never meets a verifier. Worths are in [-1, 1]."""

    def __init__(self, model: RewardModel, rows: int = 256) -> None:
        self.model, self.rows = model, rows

    def __call__(self, questions: Sequence[Question], replies: Sequence[str]) -> Judged:
        """The worth of N replies to N questions, and the operations of reading them."""
        prompts = [question.prompt for question in questions]
        values = self.model.score(prompts, replies, self.rows).tanh().tolist()
        return Judged(values, self.model.flops(prompts, replies))
