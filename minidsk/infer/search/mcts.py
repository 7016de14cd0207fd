"""Monte Carlo tree search over the steps of a thought (rStar-Math, arXiv:2501.04519), on the engine's forks.

A try goes down the tree by what is known, draws the rest of a reply from there, and tells all steps on its way what
the reply was worth. While training, the verifier says that. When nobody checks, a model says it that learned from the
trees of training (`minidsk.rl.process`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from minidsk.infer.search.account import Found, Judge, Q
from minidsk.infer.search.paths import Paths
from minidsk.infer.search.tree import RULES, Node, back_up, grow, select
from minidsk.settings import one_of, positive, within


@dataclass(frozen=True)
class TreeConfig:
    """How trees grow. Raises `ValueError` for a field that does not fit."""

    longest: int = 256  # the longest reply, in tokens
    width: int = 4  # how often what follows a step is drawn before the search goes on to the steps after it
    c: float = 1.0  # how much ways count that were tried rarely
    rule: str = "uct"  # which way is tried next: uct or puct
    temperature: float = 1.0  # at which steps are drawn

    def __post_init__(self) -> None:
        positive(self, "longest", "width")
        within(self, 0, math.inf, "c")
        one_of(self, "rule", RULES)


@dataclass(frozen=True)
class Searched(Found):
    """Beside the replies, the tree of each question."""

    trees: tuple[Node, ...]


def tree_search(
    policy: Any,
    questions: Sequence[Q],
    judge: Judge[Q],
    budget: int,
    generator: torch.Generator | None,
    config: TreeConfig | None = None,
    *,
    guide: Judge[Q] | None = None,
) -> Searched:
    """The reply to each question that `judge` likes best, of all that a tree search came to.

    budget: tokens drawn for each question; a try begins only where the longest that it may become fits. A tree also
    ends where all that may be tried was. guide: a judge of unfinished replies, whose opinion each new step begins with.
    With `verify` as the judge, this is how training data are made; `questions` are then problems, and a reply that is
    right ends nothing, because the tree's statistics count. A search that must not consult the verifier gives another
    judge, and may give `Blind` problems. The policy is one of our models.
    """
    config = config or TreeConfig()
    rule, eos = RULES[config.rule], policy.tokenizer.eos_id
    trees = [Node() for _ in questions]
    best: list[tuple[float, str]] = [(-math.inf, "")] * len(trees)
    spent, samples = [0] * len(trees), [0] * len(trees)
    paths = Paths(policy, [q.prompt for q in questions], config.longest, config.temperature, generator)
    flops, open_ = 0.0, list(range(len(trees)))
    while open_:
        leaves: dict[int, Node] = {}
        for i in open_:
            if not trees[i].exhausted:
                leaf = select(trees[i], config.width, config.c, rule)
                if config.longest - len(leaf.text) <= budget - spent[i]:
                    leaves[i] = leaf
        open_ = list(leaves)
        if not open_:
            break
        limits = [config.longest - len(leaf.text) for leaf in leaves.values()]
        drawn, logps = paths.go_on(open_, [leaf.text for leaf in leaves.values()], limits, (eos,))
        ends: list[Node] = []
        for (i, leaf), tokens, logp in zip(leaves.items(), drawn, logps, strict=True):
            spent[i], samples[i] = spent[i] + len(tokens), samples[i] + 1
            ends.append(grow(leaf, steps_of(tokens, logp, policy.tokenizer)))
        asked = [questions[i] for i in open_]
        if guide is not None:
            ways = zip(asked, ends, strict=True)
            new = [(question, node) for question, end in ways for node in end.path() if node.estimate is None]
            flops += _estimate(guide, new, policy.tokenizer)
        texts = [text_of(end, policy.tokenizer) for end in ends]
        if guide is judge:  # which has read them
            worths = [end.estimate or 0.0 for end in ends]
        else:
            worths, more = judge(asked, texts)
            flops += more
        for i, end, text, worth in zip(open_, ends, texts, worths, strict=True):
            back_up(end, worth, config.width)
            if worth > best[i][0]:
                best[i] = (worth, text)
    replies = tuple(text for _, text in best)
    return Searched(replies, tuple(spent), tuple(samples), paths.flops + flops, tuple(trees))


def _estimate(guide: Judge[Q], new: Sequence[tuple[Q, Node]], tokenizer: Any) -> float:
    """Let the guide say what it expects of new nodes; the operations. There are none where a try was made before."""
    if not new:
        return 0.0
    opinion = guide([question for question, _ in new], [text_of(node, tokenizer) for _, node in new])
    for (_, node), estimate in zip(new, opinion.values, strict=True):
        node.estimate = estimate
    return opinion.flops


def steps_of(tokens: Sequence[int], logps: Sequence[float], tokenizer: Any) -> list[tuple[tuple[int, ...], float]]:
    """A text's tokens in steps, each with its probability: a step ends with a line, and before the thought's end."""
    [end] = tokenizer.encode("</think>")
    ends = [place + 1 for place, token in enumerate(tokens) if "\n" in tokenizer.decode([token])]
    ends += [place for place, token in enumerate(tokens) if token == end]
    cuts = sorted({0, *ends, len(tokens)})
    return [(tuple(tokens[a:b]), math.exp(sum(logps[a:b]))) for a, b in itertools.pairwise(cuts)]


def text_of(node: Node, tokenizer: Any) -> str:
    """The reply so far, without its end token."""
    over = bool(node.text) and node.text[-1] == tokenizer.eos_id
    return str(tokenizer.decode(node.text[: len(node.text) - over]))
