"""Budget forcing (s1, arXiv:2501.19393): a thought that ends too early goes on, one that takes too long is cut.

A longer budget helps in two ways that are easily confused (arXiv:2507.14419): more thoughts come to their own end, or
thoughts become longer than they would have been. So what was cut is counted apart from what was prolonged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from minidsk.infer.search.account import Found, Question
from minidsk.infer.search.paths import Paths


@dataclass(frozen=True)
class Forced(Found):
    """Beside the replies, for each question: thought, the tokens of its thought, what was appended included; cut,
    whether the thought reached the budget and was ended there; waits, how often it was kept from ending; ended, whether
    the reply came to its own end after the thought."""

    thought: tuple[int, ...]
    cut: tuple[bool, ...]
    waits: tuple[int, ...]
    ended: tuple[bool, ...]


@dataclass
class _Thinking:
    """One thought under way; `tokens` without the tags around it."""

    tokens: list[int] = field(default_factory=list)
    waits: int = 0
    over: bool = False
    cut: bool = False


def budget_forcing(
    policy: Any,
    questions: Sequence[Question],
    budget: int,
    generator: torch.Generator | None,
    *,
    waits: int = 0,
    wait: str = "\n",
    done: Callable[[str], bool] | None = None,
    answer: int = 32,
    temperature: float = 0.0,
) -> Forced:
    """One reply to each question, whose thought has at most `budget` tokens, the tags around it not counted.

    Where a thought would end before that, `wait` takes the place of its end, at most `waits` times and where it fits
    into the budget; on a worksheet a new line is a new attempt. `done` says of a thought's text whether it may end;
    without it none may. A thought that reaches the budget is ended, and its answer begun. An answer has at most
    `answer` tokens, its tags and the end included. The policy is one of our models.
    """
    if budget < 1 or waits < 0 or answer < 2:
        raise ValueError(f"budget, waits, answer: {(budget, waits, answer)} do not fit; give 1, 0 and 2 or more")
    tokenizer = policy.tokenizer
    [begin], [end], [answering] = (tokenizer.encode(tag) for tag in ("<think>", "</think>", "<answer>"))
    more, eos = tokenizer.encode(wait), tokenizer.eos_id
    if not more:
        raise ValueError("wait: is empty; give the text that takes the place of a thought's end")
    paths = Paths(policy, [q.prompt for q in questions], budget + answer + 2, temperature, generator)
    thoughts = [_Thinking() for _ in questions]
    while rows := [row for row, thought in enumerate(thoughts) if not thought.over]:
        texts = [[begin, *thoughts[row].tokens] for row in rows]
        left = [budget - len(thoughts[row].tokens) for row in rows]
        for row, drawn in zip(rows, paths.go_on(rows, texts, left, (end, eos))[0], strict=True):
            thought, stops = thoughts[row], drawn[-1] in (end, eos)
            thought.tokens += drawn[:-1] if stops else drawn
            fits = thought.waits < waits and len(thought.tokens) + len(more) <= budget
            if stops and fits and not (done is not None and done(tokenizer.decode(thought.tokens))):
                thought.tokens += more
                thought.waits += 1
                stops = False
            thought.cut = not stops and len(thought.tokens) == budget
            thought.over = stops or thought.cut
    begun = [[begin, *t.tokens, end, *([answering] if t.cut else [])] for t in thoughts]
    answers, _ = paths.go_on(range(len(begun)), begun, [answer - thought.cut for thought in thoughts], (eos,))
    wholes = [[*text, *rest] for text, rest in zip(begun, answers, strict=True)]
    ended = tuple(whole[-1] == eos for whole in wholes)
    replies = tuple(tokenizer.decode(whole[: len(whole) - over]) for whole, over in zip(wholes, ended, strict=True))
    return Forced(
        replies, tuple(map(len, wholes)), (1,) * len(wholes), paths.flops,
        thought=tuple(len(thought.tokens) for thought in thoughts), cut=tuple(thought.cut for thought in thoughts),
        waits=tuple(thought.waits for thought in thoughts), ended=ended,
    )  # fmt: skip
