"""Exercises of the chapter on games: the policy gradient, credit, minimax, the quietest baseline."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def reinforce(logits: Tensor, legal: Tensor, moves: Tensor, scores: Tensor, baseline: Tensor) -> Tensor:
    """The gradient of the policy-gradient loss with respect to the logits, written out (Williams, 1992).

    logits [M, A], float; legal [M, A], bool: an illegal move has probability 0; moves [M]: the move that was made in
    each of M positions; scores [M]: how its game ended; baseline [M]. The loss is the mean over the M moves of
    -log p(move) * (score - baseline). Returns its gradient [M, A]; no autograd is needed.
    """
    return _reinforce(logits, legal, moves, scores, baseline)


def _reinforce(
    logits: Tensor, legal: Tensor, moves: Tensor, scores: Tensor, baseline: Tensor, *,
    sign: int = 1, masked: bool = True, pull: float = 1.0, of_log: bool = True, mean: bool = True,
) -> Tensor:  # fmt: skip
    x = logits.double()
    p = (x.masked_fill(~legal, -torch.inf) if masked else x).softmax(1)
    made = torch.nn.functional.one_hot(moves, logits.shape[1])
    gradient = sign * (pull * p - made) * (scores.double() - baseline.double())[:, None]
    if not of_log:
        gradient = gradient * p.gather(1, moves[:, None])
    return (gradient / len(moves) if mean else gradient).to(logits.dtype)


def credit(moves: int, winner: int) -> Tensor:
    """The score that each move of one finished game is credited with, float [moves].

    Two sides move in turn, side 0 first. winner is 0 or 1, or -1 in a draw. A move is credited with the score of
    the side that made it: 1 for a win, 0.5 for a draw, 0 for a loss.
    """
    if winner < 0:
        return torch.full((moves,), 0.5)
    return (torch.arange(moves) % 2 == winner).float()


def minimax(tree: Any) -> float:
    """The score of side 0 if both sides play perfectly.

    tree: a number, the score of side 0 in a game that is over; or a list of trees, of which the side to move chooses
    one. Side 0 moves first, then they take turns. Returns a float.
    """
    return _minimax(tree, (max, min))


def _minimax(tree: Any, chooses: "tuple[Callable[..., float], Callable[..., float]]") -> float:
    if not isinstance(tree, list):
        return float(tree)
    return chooses[0](_minimax(branch, chooses[::-1]) for branch in tree)


def best_baseline(probability: Tensor, score: Tensor, square: Tensor) -> Tensor:
    """The constant baseline with which a policy gradient varies least.

    For each of K outcomes: its probability [K], its score [K], and square [K], the squared length of the gradient of
    its log-probability. The estimate is (score - b) times that gradient; its mean does not depend on b.
    Returns the b (a scalar) for which the expected squared length of the estimate is smallest.
    """
    weight = probability.double() * square.double()
    return (weight * score.double()).sum() / weight.sum()


def _mean(branches: Any) -> float:
    values = list(branches)
    return sum(values) / len(values)


def _positions() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(10)
    logits = torch.randn(5, 4, generator=g)
    everything = torch.ones(5, 4, dtype=torch.bool)
    some = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 1]]).bool()
    moves, scores = torch.tensor([0, 2, 1, 3, 3]), torch.tensor([1.0, 0, 0.5, 1, 0])
    half = torch.full((5,), 0.5)
    return [
        ("one move out of three, even odds", (torch.zeros(1, 3), everything[:1, :3], moves[:1], scores[:1], half[:1])),
        ("five moves, all legal, no baseline", (logits, everything, moves, scores, torch.zeros(5))),
        ("a baseline for each position", (logits, everything, moves, scores, torch.rand(5, generator=g))),
        ("illegal moves", (logits, some, moves, scores, half)),
        ("a forced move", (logits[:1], torch.tensor([[True, False, False, False]]), moves[:1], scores[:1], half[:1])),
    ]


def _games() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("the first side wins with its third move", (5, 0)),
        ("the second side wins with its third move", (6, 1)),
        ("a full board and no winner", (9, -1)),
        ("a win on a full board", (9, 0)),
    ]


def _trees() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("a game that is over", (0.5,)),
        ("one move", ([0.0, 1.0, 0.5],)),
        ("a trap: the move with the best chance against a fool", ([[1.0, 1.0, 0.0], [0.5, 0.5]],)),
        ("the chapter's three moves", ([1.0, [[0.0], [1.0]], [[0.0], [0.0]]],)),
        ("three deep", ([[[0.0, 1.0], [0.5, 0.0]], [[1.0, 0.5], [0.0, 0.25]]],)),
    ]


def _distributions() -> list[tuple[str, tuple[Any, ...]]]:
    t = torch.tensor
    return [
        ("all gradients equally long", (t([0.5, 0.25, 0.25]), t([1.0, 0, 0.5]), torch.ones(3))),
        ("a rare move with a long gradient", (t([0.9, 0.1]), t([0.0, 1]), t([0.02, 1.62]))),
        ("scores of 10 and 11", (t([0.5, 0.5]), t([10.0, 11]), t([1.0, 3]))),
    ]


EXERCISES = (
    Exercise(
        "games.reinforce",
        reinforce,
        _positions,
        (
            Mistake("illegal moves take part in the softmax", "What is the probability of a move that is not allowed?",
                    lambda *a: _reinforce(*a, masked=False)),
            Mistake("only the move that was made is pushed", "If one probability rises, what must the others do?",
                    lambda *a: _reinforce(*a, pull=0.0)),
            Mistake("gradient of the probability, not of its logarithm", "A rare move that wins is pushed as hard as a "
                    "frequent one each time it is made: what divides by its probability?",
                    lambda *a: _reinforce(*a, of_log=False)),
            Mistake("the wrong sign", "A minimiser goes against the gradient: should a winner's logit have a "
                    "negative gradient or a positive one?", lambda *a: _reinforce(*a, sign=-1)),
            Mistake("the baseline left out", "What is the gradient where the score is what was expected anyway?",
                    lambda x, may, m, s, b: _reinforce(x, may, m, s, torch.zeros_like(b))),
            Mistake("summed, not averaged", "Would the gradient of twice as many moves be twice as long?",
                    lambda *a: _reinforce(*a, mean=False)),
        ),
        "Take three moves, even odds, the first was made and won, baseline 0.5: which way does each logit go?",
    ),
    Exercise(
        "games.credit",
        credit,
        _games,
        (
            Mistake("every move credited with the first side's score", "Who made the second move of the game?",
                    lambda n, w: torch.full((n,), {0: 1.0, 1: 0.0, -1: 0.5}[w])),
            Mistake("a draw counted as a loss", "What is each side's score in a draw?",
                    lambda n, w: (torch.arange(n) % 2 == w).float()),
            Mistake("the sides swapped", "Side 0 makes moves 0, 2, 4, ...",
                    lambda n, w: credit(n, w if w < 0 else 1 - w)),
            Mistake("only the last move credited", "Does the score say which move decided the game?",
                    lambda n, w: credit(n, w) * (torch.arange(n) == n - 1)),
        ),
        "Write the moves of a short game in a row, the side under each, and its score under that.",
    ),
    Exercise(
        "games.minimax",
        minimax,
        _trees,
        (
            Mistake("both sides help the first", "What does side 1 want?", lambda t: _minimax(t, (max, max))),
            Mistake("the mean of the replies where the worst belongs", "Perfect play is not random play.",
                    lambda t: _minimax(t, (max, _mean))),
            Mistake("the second side moves first", "Who chooses at the root?", lambda t: _minimax(t, (min, max))),
        ),
        "Evaluate the innermost lists first. Who chooses there?",
    ),
    Exercise(
        "games.best_baseline",
        best_baseline,
        _distributions,
        (
            Mistake("the mean score", "Close to the best, but not it: does every outcome's gradient weigh the same?",
                    lambda p, s, q: (p.double() * s.double()).sum()),
            Mistake("probabilities forgotten", "How often does each outcome happen?",
                    lambda p, s, q: (q.double() * s.double()).sum() / q.double().sum()),
            Mistake("weighted by the length, not by its square", "Which quantity is to be smallest?",
                    lambda p, s, q: best_baseline(p, s, q.double().sqrt())),
            Mistake("not divided by the expected square", "Scores of 10 and 11: can the best b be above 11?",
                    lambda p, s, q: (p.double() * q.double() * s.double()).sum()),
        ),
        "Write the expected square as a parabola in b, and look for its lowest point.",
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
