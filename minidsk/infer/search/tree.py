"""A tree of steps and its statistics: which way to try next (UCT, PUCT), and what a try says of the way to it.

The search of rStar-Math (arXiv:2501.04519): a step is worth the mean of what was reached through it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

Steps = Sequence[tuple[tuple[int, ...], float]]  # each step's tokens, and its probability where it was drawn


@dataclass(eq=False)
class Node:
    """What stands after a step: `text`, all tokens since the prompt.

    prior: the probability of the step where it was drawn; visits and total: tries that went through here, and the sum
    of what they were worth; estimate: what a model expects, if one was asked; it counts as one visit. tries: how often
    what follows was drawn. ended: nothing can follow.
    """

    text: tuple[int, ...] = ()
    parent: Node | None = None
    prior: float = 1.0
    children: list[Node] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0
    estimate: float | None = None
    tries: int = 0
    ended: bool = False
    exhausted: bool = False  # everything that may be tried from here has been

    @property
    def q(self) -> float:
        """The mean worth of what was reached through here; 0 before anything was."""
        seen = self.visits + (self.estimate is not None)
        return (self.total + (self.estimate or 0.0)) / seen if seen else 0.0

    def path(self) -> Iterator[Node]:
        """This node and those above it, up to the root."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def below(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.below()


Rule = Callable[[Node, float], float]


def uct(node: Node, c: float) -> float:
    """``Q + c sqrt(ln N / n)`` (Kocsis and Szepesvari, 2006): n visits of N to its parent; infinite without a visit."""
    parent = node.parent
    assert parent is not None
    return node.q + c * math.sqrt(math.log(parent.visits) / node.visits) if node.visits else math.inf


def puct(node: Node, c: float) -> float:
    """``Q + c P sqrt(N) / (1 + n)`` (AlphaZero), P the step's probability, as a share of its siblings' together."""
    parent = node.parent
    assert parent is not None
    prior = node.prior / sum(child.prior for child in parent.children)
    return node.q + c * prior * math.sqrt(parent.visits) / (1 + node.visits)


RULES: dict[str, Rule] = {"uct": uct, "puct": puct}


def select(root: Node, width: int, c: float, rule: Rule) -> Node:
    """The node to draw from next: down from the root by the rule, to one from which fewer than `width` were drawn.

    Ways that are exhausted are passed over; the root must not be.
    """
    node = root
    while node.tries >= width:
        node = max((child for child in node.children if not child.exhausted), key=lambda child: rule(child, c))
    return node


def grow(node: Node, steps: Steps) -> Node:
    """Put the steps of one text that was drawn from `node` below it; where it ends. A step that is there is shared."""
    for tokens, prior in steps:
        node.tries += 1  # also of the steps between, what follows was drawn
        text = node.text + tokens
        known = next((child for child in node.children if child.text == text), None)
        if known is None:
            known = Node(text, node, prior)
            node.children.append(known)
        node = known
    node.ended = True
    return node


def back_up(leaf: Node, worth: float, width: int) -> None:
    """Tell the way from `leaf` to the root what was reached, and note what is exhausted."""
    for node in leaf.path():
        node.visits += 1
        node.total += worth
        below = node.tries >= width and all(child.exhausted for child in node.children)
        node.exhausted = node.ended or below
