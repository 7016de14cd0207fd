"""Two players, one board: tic-tac-toe, Connect Four and their relatives, many games at a time, and solved exactly.

A position is seen by the side that is to move: 1 is a stone of its own, -1 one of the other side, 0 an empty cell. So
one policy can play both sides, and a move is: put a 1 somewhere, then change every sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange
from torch import Tensor

from minidsk.settings import positive, require

LARGEST = 39  # cells of a board whose positions an int64 can number


@dataclass(frozen=True)
class Board:
    """The rules. `line` stones in a row, column or diagonal win; with `gravity` a stone falls to the lowest free cell.

    Cells are numbered from the top left, row by row. A move is the number of a cell, or with gravity of a column.
    Raises ValueError where no line would fit.
    """

    rows: int = 3
    columns: int = 3
    line: int = 3
    gravity: bool = False

    def __post_init__(self) -> None:
        positive(self, "rows", "columns")
        fits = 2 <= self.line <= max(self.rows, self.columns)
        require(self, "line", fits, "2 or more, and have room on the board")

    @property
    def cells(self) -> int:
        """Cells of the board; no game has more moves."""
        return self.rows * self.columns

    @property
    def moves(self) -> int:
        """Moves that there are, legal or not."""
        return self.columns if self.gravity else self.cells

    @cached_property
    def lines(self) -> Tensor:
        """The cells of every line that wins, ``[lines, line]``."""
        found = []
        for row in range(self.rows):
            for column in range(self.columns):
                for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    ys = [row + down * k for k in range(self.line)]
                    xs = [column + right * k for k in range(self.line)]
                    if ys[-1] < self.rows and 0 <= xs[-1] < self.columns:
                        found.append([y * self.columns + x for y, x in zip(ys, xs, strict=True)])
        return torch.tensor(found)

    def empty(self, games: int) -> Tensor:
        """Boards before the first move, int8 ``[games, cells]``."""
        return torch.zeros(games, self.cells, dtype=torch.int8)

    def legal(self, position: Tensor) -> Tensor:
        """Moves for which `position` ``[games, cells]`` has room, bool ``[games, moves]``; the game may be over."""
        return position[:, : self.moves] == 0  # with gravity a column is open as long as its top cell is

    def play(self, position: Tensor, move: Tensor) -> Tensor:
        """The position ``[games, cells]`` after `move` ``[games]``, seen by the other side. ValueError if not legal."""
        game = torch.arange(len(position))
        cell = move
        if self.gravity:
            stack = rearrange(position, "n (row column) -> n row column", column=self.columns)[game, :, move]
            cell = ((stack == 0).sum(1) - 1) * self.columns + move
        if len(position) and (int(cell.min()) < 0 or bool((position[game, cell] != 0).any())):
            raise ValueError(f"move: not every one of {move.tolist()[:8]} is legal; look at Board.legal first")
        after = -position
        after[game, cell] = -1
        return after

    def lost(self, position: Tensor) -> Tensor:
        """Whether the side to move faces a finished line of the other side, bool ``[games]``."""
        return (position[:, self.lines] == -1).all(2).any(1)

    def full(self, position: Tensor) -> Tensor:
        """Whether no cell is free, bool ``[games]``."""
        return (position != 0).all(1)

    def text(self, position: Tensor) -> str:
        """One position ``[cells]`` in letters; X is the side that began."""
        to_move, other = ("X", "O") if int((position != 0).sum()) % 2 == 0 else ("O", "X")
        letters = [{1: to_move, -1: other, 0: "."}[int(stone)] for stone in position]
        return "\n".join(" ".join(letters[row * self.columns : (row + 1) * self.columns]) for row in range(self.rows))

    def code(self, position: Tensor) -> Tensor:
        """A number for each position, int64 ``[games]``: its cells as digits of base 3. ValueError on a large board."""
        if self.cells > LARGEST:
            raise ValueError(f"rows, columns: {self.cells} cells are too many to number; {LARGEST} is the most")
        return (position.long() + 1) @ 3 ** torch.arange(self.cells)

    def solve(self) -> Solution:
        """Every position that some game reaches, with its value by minimax; all of it in memory."""
        levels = [self.empty(1)]
        while len(going := levels[-1][~self._over(levels[-1])]):
            after = torch.cat([self.play(going[may], torch.full((int(may.sum()),), move))
                               for move, may in enumerate(self.legal(going).T)])  # fmt: skip
            levels.append(_distinct(after, self.code(after)))
        values: list[Tensor] = []
        below = self.code(levels[-1])
        for position in reversed(levels):
            value = -self.lost(position).long()
            going = ~self._over(position)
            if going.any():
                children = self._by_move(position[going], below, values[-1])
                value[going] = children.amax(1)
            values.append(value)
            below = self.code(position)
        return Solution(self, torch.cat(levels), torch.cat(values[::-1]))

    def _over(self, position: Tensor) -> Tensor:
        return self.lost(position) | self.full(position)

    def _by_move(self, position: Tensor, codes: Tensor, values: Tensor) -> Tensor:
        """What each move leads to, for the side that makes it, ``[games, moves]``; -2 where it is not legal."""
        out = torch.full((len(position), self.moves), -2)
        for move, may in enumerate(self.legal(position).T):
            after = self.play(position[may], torch.full((int(may.sum()),), move))
            out[may, move] = -values[torch.searchsorted(codes, self.code(after))]
        return out


@dataclass(frozen=True, eq=False)
class Solution:
    """A game without secrets: `position` ``[P, cells]``, every one that some game reaches, each once; `value` ``[P]``
    under perfect play, for the side to move: 1 won, 0 drawn, -1 lost."""

    board: Board
    position: Tensor
    value: Tensor

    @cached_property
    def going(self) -> Tensor:
        """Which positions still leave a move, bool ``[P]``."""
        return ~self.board._over(self.position)

    @cached_property
    def by_move(self) -> Tensor:
        """The value of each move in the positions that are `going`, ``[going, moves]``; -2 where it is not legal."""
        codes, order = self._sorted
        return self.board._by_move(self.position[self.going], codes, self.value[order])

    def of(self, position: Tensor) -> Tensor:
        """Rows of `position` in this solution, int64 ``[games]``. Raises KeyError for one that no game leads to."""
        codes, order = self._sorted
        wanted = self.board.code(position)
        place = torch.searchsorted(codes, wanted).clamp(max=len(codes) - 1)
        if bool((codes[place] != wanted).any()):
            raise KeyError("position: no game leads to some of these")
        return order[place]

    @cached_property
    def _sorted(self) -> tuple[Tensor, Tensor]:
        return self.board.code(self.position).sort()


def _distinct(position: Tensor, code: Tensor) -> Tensor:
    """Each position once, in the order of its code."""
    order = code.argsort()
    code = code[order]
    first = torch.ones(len(code), dtype=torch.bool)
    first[1:] = code[1:] != code[:-1]
    return position[order[first]]
