"""Exercises of the chapter on fast inference."""

from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def verdict(p: Tensor, q: Tensor, guess: int, chance: float) -> Tensor:
    """From which probabilities the next token is written, once a guess was checked.

    p [V]: the model's probabilities. q [V]: those from which `guess`, a token number, was drawn. chance: a uniform
    number in [0, 1). The guess is kept where `chance` is below p / q of the guess: then it has probability 1, and all
    other tokens have 0. Otherwise the token is drawn from what p has more than q has, normalised. Returns [V].
    """
    return _verdict(p, q, guess, chance)


def _verdict(p: Tensor, q: Tensor, guess: int, chance: float, *, inverted: bool = False, rest: str = "more") -> Tensor:
    ratio = q[guess] / p[guess] if inverted else p[guess] / q[guess]
    if chance < ratio:
        kept = torch.zeros_like(p)
        kept[guess] = 1.0
        return kept
    left = {"more": (p - q).clamp(min=0), "all": p, "apart": (p - q).abs(), "less": (q - p).clamp(min=0)}[rest]
    return left / left.sum()


def _greedily(p: Tensor, q: Tensor, guess: int, chance: float) -> Tensor:
    return _verdict(p, q, guess, 0.0 if p[guess] >= q[guess] else 1.0)


def steps(lengths: list[int], rows: int) -> int:
    """How many steps a batch of `rows` rows takes for replies of these lengths, in tokens, where rows are refilled.

    Each step writes one token in each row at work. The replies begin in the order given; a row whose reply wrote its
    last token in one step begins the next reply in the step after it. There is at least one reply.
    """
    free = [0] * rows
    for length in lengths:
        row = free.index(min(free))
        free[row] += length
    return max(free)


def _waiting(lengths: list[int], rows: int) -> int:
    return sum(max(lengths[i : i + rows]) for i in range(0, len(lengths), rows))


def _late(lengths: list[int], rows: int) -> int:
    free = [-1] * rows
    for length in lengths:
        free[free.index(min(free))] += length + 1
    return max(free)


def per_pass(chance: float, guesses: int) -> float:
    """How many tokens one pass of the model writes on average, where `guesses` guesses are checked in it.

    Each guess is right with probability `chance`, whatever happened before, but a guess counts only if all before it
    were right. One more token is the model's own, after the last guess that counts.
    """
    return sum(chance**k for k in range(guesses + 1))


def held(known: int, guesses: Tensor, says: Tensor) -> int:
    """How many tokens a cache may keep after a pass that checked greedy guesses.

    The cache held `known` tokens. The pass read the text's last token and after it `guesses` [K], which the cache now
    holds too. says [K + 1]: the model's likeliest token after each token that it read. A guess is right if it is what
    the model says at its place and all guesses before it are right; the cache may keep what is text for certain.
    """
    return known + 1 + _right(guesses, says)


def _right(guesses: Tensor, says: Tensor) -> int:
    return int((guesses == says[:-1]).long().cumprod(0).sum())


def _checks() -> list[tuple[str, tuple[Any, ...]]]:
    p, q = torch.tensor([0.5, 0.2, 0.3]), torch.tensor([0.3, 0.6, 0.1])
    four, other = torch.tensor([0.1, 0.4, 0.3, 0.2]), torch.tensor([0.4, 0.1, 0.2, 0.3])
    return [
        ("a guess that p likes more than q", (p, q, 0, 0.9)),
        ("a guess that p likes less, refused", (p, q, 1, 0.6)),
        ("the same guess, kept", (p, q, 1, 0.2)),
        ("four tokens, refused", (four, other, 0, 0.5)),
        ("four tokens, a chance near the ratio", (four, other, 3, 0.65)),
        ("the model itself as the guesser", (p, p, 1, 0.99)),
    ]


def _batches() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("one row", ([3, 1, 2], 1)),
        ("as many rows as replies", ([3, 9, 2], 3)),
        ("a long reply beside short ones", ([9, 2, 2, 2, 2], 2)),
        ("a long reply at the end", ([2, 2, 2, 2, 9], 2)),
        ("more rows than replies", ([4, 5], 8)),
    ]


def _chances() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("one guess, DeepSeek's rate", (0.85, 1)),
        ("two guesses", (0.5, 2)),
        ("three guesses", (0.8, 3)),
        ("no guess", (0.8, 0)),
        ("guesses that are never right", (0.0, 2)),
        ("guesses that are always right", (1.0, 3)),
    ]


def _passes() -> list[tuple[str, tuple[Any, ...]]]:
    says = torch.tensor([4, 7, 5, 9])
    return [
        ("the first of three guesses wrong", (21, torch.tensor([3, 8, 6]), says)),
        ("the second wrong, the third equal to what the model says", (21, torch.tensor([4, 8, 5]), says)),
        ("two right", (40, torch.tensor([4, 7, 6]), says)),
        ("all right", (40, torch.tensor([4, 7, 5]), says)),
        ("one guess, which is wrong", (1, torch.tensor([2]), says[:2])),
    ]


EXERCISES = (
    Exercise(
        "inference.verdict",
        verdict,
        _checks,
        (
            Mistake("the ratio turned round", "Which guess is safe: one that p likes more than q, or less?",
                    lambda *a: _verdict(*a, inverted=True)),
            Mistake("a refused guess replaced by a draw from p", "Tokens that p likes more than q are never refused: "
                    "do they need all of p?", lambda *a: _verdict(*a, rest="all")),
            Mistake("the distance between p and q instead of p's surplus", "Can the rest write a token of which q "
                    "offers too much already?", lambda *a: _verdict(*a, rest="apart")),
            Mistake("q's surplus instead of p's", "Which tokens did the guesser offer too rarely?",
                    lambda *a: _verdict(*a, rest="less")),
            Mistake("every guess refused that p likes less than q", "What is `chance` for?", _greedily),
        ),
        "Take p = (0.5, 0.5) and q = (1, 0): what must happen to the guess, and how often?",
    ),
    Exercise(
        "inference.steps",
        steps,
        _batches,
        (
            Mistake("the batch waits for its longest reply", "What does a row do once its reply has ended?", _waiting),
            Mistake("tokens divided by rows, as if a reply could be split", "Can two rows write one reply?",
                    lambda lengths, rows: -(-sum(lengths) // rows)),
            Mistake("the longest reply begun first", "Does anyone know the lengths before?",
                    lambda lengths, rows: steps(sorted(lengths, reverse=True), rows)),
            Mistake("an idle step between two replies", "In which step does the row begin its next reply?", _late),
        ),
        "Keep a list: for each row, the step at which it will be free.",
    ),
    Exercise(
        "inference.per_pass",
        per_pass,
        _chances,
        (
            Mistake("guesses counted after a wrong one", "How likely is it that the first AND the second are right?",
                    lambda chance, guesses: 1 + chance * guesses),
            Mistake("the model's own token left out", "What does a pass write when its first guess is wrong?",
                    lambda chance, guesses: per_pass(chance, guesses) - 1),
            Mistake("as many guesses as you like", "The sum ends after `guesses` guesses.",
                    lambda chance, guesses: 1 / (1 - chance) if chance < 1 else float("inf")),
        ),
        "Add up the chances that at least 0, 1, 2, ... guesses are right.",
    ),
    Exercise(
        "inference.held",
        held,
        _passes,
        (
            Mistake("an equal guess kept behind a wrong one", "Which text did the model see before it said that?",
                    lambda known, guesses, says: known + 1 + int((guesses == says[:-1]).sum())),
            Mistake("the first wrong guess kept", "Is it in the text that goes on?",
                    lambda known, guesses, says: known + 1 + min(_right(guesses, says) + 1, len(guesses))),
            Mistake("the model's own token counted", "Has a pass read that token yet?",
                    lambda known, guesses, says: known + 2 + _right(guesses, says)),
            Mistake("the text's last token forgotten", "What did the pass read before the guesses?",
                    lambda known, guesses, says: known + _right(guesses, says)),
            Mistake("nothing rolled back", "What do later tokens look at?",
                    lambda known, guesses, says: known + 1 + len(guesses)),
        ),
        "Go through the guesses from the left, and stop at the first that the model would not have written.",
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
