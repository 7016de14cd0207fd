"""A policy to play tic-tac-toe against, at any step of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import traitlets

from minidsk.rl.selfplay import Player, judge
from minidsk.tasks.board import Solution
from minidsk.widgets.base import Figure, numbers

CELLS = 9
SHADES = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"


class BoardGame(Figure):
    """Play tic-tac-toe against a policy, and see how likely it thinks each move, at several steps of its training.

    The page has no network in it, so every position's probabilities come along. To keep them few, a position and its
    rotations and reflections share one entry: the policy is asked about one of the eight views, and answers for all.

    positions: ``[P, 9]``, one view of each position with a move to make, 1 for stones of the side to move, -1 for the
    other side's, 0 for empty cells. steps: the training step of each snapshot. probabilities: ``[steps, P, 9]``, of
    each move. losing: for each snapshot, in how many positions its likeliest move loses against perfect play.
    """

    js = "board.js"
    step = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        positions: Any,
        steps: Sequence[int],
        probabilities: Any,
        losing: Sequence[int],
        title: str = "Play against the policy",
    ) -> None:
        boards = numbers("positions", positions)
        if not boards or any(not isinstance(row, list) or len(row) != CELLS for row in boards):
            raise ValueError("positions must be an array [positions, 9]")
        if {stone for row in boards for stone in row} - {-1, 0, 1}:
            raise ValueError("positions hold -1, 0 and 1 alone")
        shares = numbers("probabilities", probabilities)
        if not len(steps) == len(shares) == len(losing) > 0:
            raise ValueError(f"steps has {len(steps)} entries, probabilities {len(shares)} and losing {len(losing)}")
        snapshots = []
        for step, rows in zip(steps, shares, strict=True):
            if len(rows) != len(boards) or any(len(row) != CELLS for row in rows):
                raise ValueError(f"probabilities at step {step} must be [{len(boards)}, 9], as the positions are")
            snapshots.append("".join(_letters(step, board, row) for board, row in zip(boards, rows, strict=True)))
        data = {
            "positions": "".join("x.o"[int(stone) + 1] for board in boards for stone in board),  # o is to move
            "steps": [int(step) for step in steps],
            "snapshots": snapshots,
            "losing": [int(count) for count in losing],
            "shades": SHADES,
        }
        super().__init__(data=data, title=title)

    @classmethod
    @torch.no_grad()
    def of(cls, solution: Solution, players: Mapping[int, Player], title: str = "Play against the policy") -> BoardGame:
        """The figure for `players`, by the training step at which each was caught; `solution` is tic-tac-toe's."""
        boards = solution.position[solution.going]
        square = torch.arange(CELLS).view(3, 3)
        turned = [torch.rot90(square, k) for k in range(4)]
        views = [view.flatten() for turn in turned for view in (turn, turn.flip(1))]
        codes = solution.board.code(boards)
        first = torch.stack([solution.board.code(boards[:, view]) for view in views]).amin(0) == codes
        shares = [player(boards[first])[0].softmax(1).tolist() for player in players.values()]
        losing = [judge(player, solution).losing for player in players.values()]
        return cls(boards[first], list(players), shares, losing, title)

    def still(self) -> list[list[str]]:
        """In how many positions each snapshot loses."""
        rows = zip(self.data["steps"], self.data["losing"], strict=True)
        return [["step of training", "positions it loses"], *([f"{step:,}", f"{count:,}"] for step, count in rows)]

    def describe(self) -> str:
        """How many positions the first and the last snapshot lose."""
        steps, losing = self.data["steps"], self.data["losing"]
        return (
            f"A tic-tac-toe policy at {len(steps)} steps of its training: its likeliest move loses in {losing[0]:,} "
            f"positions at step {steps[0]}, in {losing[-1]:,} at step {steps[-1]}."
        )


def _letters(step: int, board: list[int], row: list[float]) -> str:
    """The probabilities of the empty cells, in order, one letter each: 64 shades are finer than an eye can tell."""
    if not all(0 <= share <= 1 for share in row) or abs(sum(row) - 1) > 0.01:
        raise ValueError(f"probabilities at step {step} must lie in [0, 1] and add up to 1 in each position")
    return "".join(SHADES[round(63 * share)] for stone, share in zip(board, row, strict=True) if stone == 0)
