"""A process preference model: which step to take next, learned from a search's own statistics.

A step's worth in a tree is too noisy to be learned as a number (rStar-Math, arXiv:2501.04519, section 3.3), but steps
that often led to right answers can be told from those that seldom did. So it is learned as a preference, by the reward
model of people's preferences, which reads a reply that goes no further than the step.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from minidsk.infer.search.account import Judged, Question
from minidsk.infer.search.mcts import text_of
from minidsk.infer.search.tree import Node
from minidsk.rl.preferences import Ranking
from minidsk.rl.reward_model import RewardModel


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
            for better, worse in pairs if better.total > 0 and better.q > worse.q]  # fmt: skip


def solutions(tree: Node, tokenizer: Any, most: int = 2) -> list[str]:
    """The right replies of a tree that the verifier judged, at most so many, those on the ways that are worth most
    first: what the next round of the policy is fine-tuned on."""
    right = [node for node in tree.below() if node.ended and node.q == 1]
    return [text_of(end, tokenizer) for end in sorted(right, key=_worth_of_way, reverse=True)[:most]]


def _worth_of_way(end: Node) -> float:
    """The mean worth of all steps on the way to an end."""
    way = [node.q for node in end.path()]
    return sum(way) / len(way)


class ProcessJudge:
    """A reward model as the judge of replies, finished or not; it never meets a verifier. Worths are in [-1, 1]."""

    def __init__(self, model: RewardModel, rows: int = 256) -> None:
        self.model, self.rows = model, rows

    def __call__(self, questions: Sequence[Question], replies: Sequence[str]) -> Judged:
        """The worth of N replies to N questions, and the operations of reading them."""
        prompts = [question.prompt for question in questions]
        values = self.model.score(prompts, replies, self.rows).tanh().tolist()
        return Judged(values, self.model.flops(prompts, replies))
