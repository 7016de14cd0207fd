"""A policy that teaches itself a board game: it plays against itself, and each move is credited with the game's end.

The gradient is REINFORCE's (Williams, 1992): an action's log-probability, weighed with what came of it less a baseline.
`policy_gradient` does not know whether the actions are moves of a game or tokens of an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from minidsk.settings import AT_ONCE, LAST_SEED, one_of, positive, within
from minidsk.tasks.board import Board, Solution
from minidsk.train.optim import learning_rate

BASELINES = ("none", "mean", "value")
Player = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Takes positions ``[N, cells]``; returns logits ``[N, moves]``, illegal moves at -inf, and expected scores ``[N]``."""


@dataclass(frozen=True)
class SelfPlayConfig:
    """One run of self-play. A step plays `games` games and moves the weights once.

    baseline: "none", the score itself is the advantage; "mean", less the mean score of the batch; "value", less the
    policy's own expectation at that position. openings: whether games begin with a random number of random moves (that
    are not learned from), so that every position occurs. entropy: weight of the bonus for staying undecided, in units
    of score a nat. lr holds, then falls over the last `decay` of the steps. width: of the two hidden layers.
    """

    steps: int = 800
    games: int = 512
    width: int = 128
    lr: float = 1.5e-2
    decay: float = 0.5
    baseline: str = "value"
    openings: bool = True
    entropy: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        positive(self, "steps", "lr")
        within(self, 1, AT_ONCE, "games", "width")
        within(self, 0, math.inf, "entropy")
        within(self, 0, 1, "decay")
        within(self, 0, LAST_SEED, "seed")
        one_of(self, "baseline", BASELINES)


class Policy(nn.Module):
    """Two hidden layers that see both sides' stones; one head for the moves, one for the expected score.

    The move head begins at zero: every legal move is equally likely. Weights are float64, drawn as such: processors
    differ in the last digits of a float32 draw, and play would amplify them.
    """

    def __init__(self, board: Board, width: int = 128, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.board = board
        linear = partial(nn.Linear, dtype=torch.float64)
        self.first, self.second = linear(2 * board.cells, width), linear(width, width)
        self.move, self.value = linear(width, board.moves), linear(width, 1)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        for layer in (self.move, self.value):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Positions ``[N, cells]`` to logits ``[N, moves]``, illegal moves at -inf, and expected scores ``[N]``."""
        stones = torch.cat((position == 1, position == -1), 1).to(self.move.weight.dtype)
        hidden = self.second(self.first(stones).relu()).relu()
        logits = self.move(hidden).masked_fill(~self.board.legal(position), -torch.inf)
        return logits, self.value(hidden).squeeze(1).sigmoid()


def at_random(board: Board) -> Player:
    """A player for whom every legal move is equally likely."""

    def player(position: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.zeros(len(position), board.moves, dtype=torch.float64)
        return logits.masked_fill(~board.legal(position), -torch.inf), torch.full((len(position),), 0.5)

    return player


@dataclass
class Games:
    """The M moves of many games, those of the first ply first.

    position ``[M, cells]`` before each move, move ``[M]``, game ``[M]``: its number, ply ``[M]``: counted from the
    start; score ``[M]``: what the game brought to the side that moved, 1 for a win, 0.5 for a draw, 0 for a loss.
    """

    position: Tensor
    move: Tensor
    game: Tensor
    ply: Tensor
    score: Tensor

    def of(self, chosen: Tensor) -> Games:
        """Some of the moves: `chosen` is bool ``[M]`` or numbers."""
        return Games(*(getattr(self, name)[chosen] for name in ("position", "move", "game", "ply", "score")))


@torch.no_grad()
def play(
    board: Board, players: tuple[Player, Player], start: Tensor, generator: torch.Generator | None = None
) -> Games:
    """Play from `start` ``[games, cells]`` to the end; `players` move in turn, the first one at ply 0.

    Moves are drawn from the players' probabilities. A start that is already over gives a game without moves.
    """
    number = torch.arange(len(start))
    going = ~(board.lost(start) | board.full(start))
    number, position = number[going], start[going]
    outcome = torch.full((len(start), 2), 0.5, dtype=torch.float64)
    log: list[tuple[Tensor, Tensor, Tensor, int]] = []
    for ply in range(board.cells):
        if len(number) == 0:
            break
        logits, _ = players[ply % 2](position)
        # The largest of logits + Gumbel noise is a draw from their softmax.
        noise = torch.empty_like(logits).exponential_(generator=generator).log_()
        move = (logits - noise).argmax(1)
        log.append((position, move, number, ply))
        position = board.play(position, move)
        lost = board.lost(position)
        outcome[number[lost], ply % 2], outcome[number[lost], 1 - ply % 2] = 1.0, 0.0
        going = ~(lost | board.full(position))
        number, position = number[going], position[going]
    if not log:
        nothing = torch.zeros(0, dtype=torch.long)
        return Games(start[:0], nothing, nothing, nothing, torch.zeros(0, dtype=torch.float64))
    plies = torch.cat([torch.full_like(number, ply) for _, _, number, ply in log])
    positions, moves, numbers = (torch.cat([entry[i] for entry in log]) for i in range(3))  # type: ignore[misc]
    return Games(positions, moves, numbers, plies, outcome[numbers, plies % 2])


def openings(board: Board, games: int, generator: torch.Generator | None = None) -> Tensor:
    """Positions after 0 to ``cells - 1`` random moves, int8 ``[games, cells]``; some games may be over already."""
    position = board.empty(games)
    left = torch.randint(board.cells, (games,), generator=generator)
    while len(rows := ((left > 0) & ~board.lost(position)).nonzero().squeeze(1)):
        move = torch.rand(len(rows), board.moves, generator=generator)
        move = move.masked_fill(~board.legal(position[rows]), -1).argmax(1)
        position[rows] = board.play(position[rows], move)
        left[rows] -= 1
    return position


def policy_gradient(logp: Tensor, advantage: Tensor, mask: Tensor | None = None) -> Tensor:
    """A scalar whose gradient is REINFORCE's, with the sign that a minimiser wants: the mean of ``-logp * advantage``.

    logp ``[...]``: log-probabilities of the actions that were taken. advantage: what came of each, less a baseline; any
    shape that broadcasts. mask ``[...]``: which actions count (default: all). Only the gradient means anything.
    """
    weighed = -logp * advantage
    return weighed.mean() if mask is None else (weighed * mask).sum() / mask.sum()


def learn(policy: Policy, optimizer: torch.optim.Optimizer, games: Games, config: SelfPlayConfig) -> dict[str, float]:
    """One step on the moves of `games`; the mean score, the entropy in nats and the value's squared error before it."""
    logits, value = policy(games.position)
    everything = logits.log_softmax(1)
    logp = everything.gather(1, games.move[:, None]).squeeze(1)
    score = games.score.to(value.dtype)
    baseline = {"none": torch.zeros_like(score), "mean": score.mean(), "value": value.detach()}[config.baseline]
    # 0 * -inf is nan: an illegal move adds nothing.
    entropy = -(everything.exp() * everything.masked_fill(~torch.isfinite(everything), 0)).sum(1).mean()
    error = (value - score).square().mean()
    loss = policy_gradient(logp, score - baseline) - config.entropy * entropy + error
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"score": float(score.mean()), "entropy": float(entropy.detach()), "value_error": float(error.detach())}


def train(
    board: Board, config: SelfPlayConfig, watch: Callable[[int, Policy, dict[str, float]], None] | None = None
) -> Policy:
    """A policy that has played ``steps * games`` games against itself.

    watch(step, policy, stats) is called after every step, counted from 1.
    """
    generator = torch.Generator().manual_seed(config.seed)
    policy = Policy(board, config.width, generator)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.lr, betas=(0.9, 0.99))
    for step in range(config.steps):
        rate = learning_rate(step, config.steps, config.lr, 0, config.decay, floor=0.02)
        for group in optimizer.param_groups:
            group["lr"] = rate
        start = openings(board, config.games, generator) if config.openings else board.empty(config.games)
        stats = learn(policy, optimizer, play(board, (policy, policy), start, generator), config)
        if watch is not None:
            watch(step + 1, policy, stats)
    return policy


@dataclass(frozen=True)
class Verdict:
    """checked: positions with a move to make that are not lost under perfect play. losing: those in which the likeliest
    move loses, if the other side then plays perfectly. worse: those in which it is not the best (`losing` among them).
    """

    checked: int
    losing: int
    worse: int


@torch.no_grad()
def judge(player: Player, solution: Solution) -> Verdict:
    """Hold the player's likeliest move against minimax in every position that is not yet lost.

    If `losing` is 0, it never loses from any of them, whatever the replies: each of its moves leads to a position that
    is not lost, hence every reply does too. If it is not 0, perfect play beats it from those positions.
    """
    safe = solution.value[solution.going] >= 0
    position, by_move = solution.position[solution.going][safe], solution.by_move[safe]
    chosen = by_move.gather(1, player(position)[0].argmax(1, keepdim=True)).squeeze(1)
    return Verdict(len(position), int((chosen < 0).sum()), int((chosen < by_move.amax(1)).sum()))


@torch.no_grad()
def losses(player: Player, board: Board, start: Tensor) -> int:
    """Lost endings when the player, who is to move in `start` ``[N, cells]``, takes its likeliest moves against every
    reply: the same question as `judge`, answered by playing it out, without minimax. Equal positions count once."""
    position, lost = start, 0
    while len(position):
        position = position[~(board.lost(position) | board.full(position))]
        replies = board.play(position, player(position)[0].argmax(1))
        replies = replies[~(board.lost(replies) | board.full(replies))]
        after = [board.play(replies[may], torch.full((int(may.sum()),), move))
                 for move, may in enumerate(board.legal(replies).T)]  # fmt: skip
        position = torch.unique(torch.cat(after), dim=0)
        lost += int(board.lost(position).sum())
    return lost
