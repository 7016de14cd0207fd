"""Many replies, one answer: the most frequent one (arXiv:2203.11171), or the one that a judge likes best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

from minidsk.infer.search.account import Found, Judge, Q, Question


def draw_within(
    policy: Any, questions: Sequence[Question], budget: int, longest: int, temperature: float,
    generator: torch.Generator | None, rows: int,
) -> tuple[list[list[str]], list[int], float]:  # fmt: skip
    """Replies to each question, the tokens that they took, and all operations.

    A reply of at most `longest` tokens is begun for as long as one of that length fits into what is left of the
    question's `budget`; so it is never exceeded, and less than `longest` of it stays.
    """
    if not 1 <= longest <= budget:
        raise ValueError(f"budget: {budget!r} does not fit; it must hold one reply of {longest!r} tokens, 1 or more")
    replies: list[list[str]] = [[] for _ in questions]
    spent, flops = [0] * len(questions), 0.0
    while True:
        # As many as surely fit are drawn together; short ones leave room for a round more.
        owners = [i for i, used in enumerate(spent) for _ in range((budget - used) // longest)]
        if not owners:
            return replies, spent, flops
        for start in range(0, len(owners), rows):
            part = owners[start : start + rows]
            drawn = policy.sample([questions[i].prompt for i in part], 1, longest, temperature, generator)
            flops += policy.flops(drawn)
            for i, text, length in zip(part, drawn.texts, drawn.lengths.tolist(), strict=True):
                replies[i].append(text)
                spent[i] += length


def vote(answers: Sequence[Hashable | None]) -> int | None:
    """The place of the first of the most frequent answers, of those equally frequent the one that came first.

    None counts for nothing; None is returned where there is no answer at all.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    return answers.index(counts.most_common(1)[0][0]) if counts else None


def majority(
    policy: Any,
    questions: Sequence[Question],
    budget: int,
    generator: torch.Generator | None,
    *,
    longest: int = 256,
    temperature: float = 1.0,
    key: Callable[[str], Hashable] = str.strip,
    rows: int = 1024,
) -> Found:
    """The most frequent answer of as many replies as the budget holds (self-consistency); no judge.

    budget: tokens for each question, all its replies together; see `draw_within`. key: what is the same in two answers
    that count as one. The reply that is returned is the first with that answer.
    """
    drawn, spent, flops = draw_within(policy, questions, budget, longest, temperature, generator, rows)
    chosen = []
    for question, replies in zip(questions, drawn, strict=True):
        answers = [question.answer(reply) for reply in replies]
        place = vote([None if answer is None else key(answer) for answer in answers])
        chosen.append("" if place is None else replies[place])
    return Found(tuple(chosen), tuple(spent), tuple(map(len, drawn)), flops)


def best_of_n(
    policy: Any,
    questions: Sequence[Q],
    judge: Judge[Q],
    budget: int,
    generator: torch.Generator | None,
    *,
    longest: int = 256,
    temperature: float = 1.0,
    rows: int = 1024,
) -> Found:
    """Of as many replies as the budget holds the one that `judge` likes best, the first of those that it likes equally.

    With `verify` as the judge the share of right replies is that of questions with any right reply.
    """
    drawn, spent, flops = draw_within(policy, questions, budget, longest, temperature, generator, rows)
    chosen, more = liked_best(judge, questions, drawn)
    return Found(tuple(chosen), tuple(spent), tuple(map(len, drawn)), flops + more)


def liked_best(judge: Judge[Q], questions: Sequence[Q], drawn: Sequence[Sequence[str]]) -> tuple[list[str], float]:
    """Of each question's replies, one or more, the first of those that `judge` likes best; the judge's operations."""
    asked = [question for question, replies in zip(questions, drawn, strict=True) for _ in replies]
    judged = judge(asked, [reply for replies in drawn for reply in replies])
    values, chosen = iter(judged.values), []
    for replies in drawn:
        worth = [next(values) for _ in replies]
        chosen.append(replies[worth.index(max(worth))])
    return chosen, judged.flops
