"""Exercises of the chapter on expert kernels: the schedule of a grouped product, and what padding wastes."""

from __future__ import annotations

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def schedule(counts: Tensor, rows: int) -> Tensor:
    """Cut each expert's rows into tiles of at most `rows`, so that no tile holds rows of two experts.

    counts [E], integer: the rows of each expert, which lie one expert after the other. Returns [tiles, 3], integer,
    for each tile its expert, its first row and the number of its rows; in the order of the rows. An expert without
    rows has no tile.
    """
    tiles, start = [], 0
    for expert, count in enumerate(counts.tolist()):
        for first in range(0, count, rows):
            tiles.append((expert, start + first, min(rows, count - first)))
        start += count
    return torch.tensor(tiles).view(-1, 3)


def waste(counts: Tensor, rows: int) -> Tensor:
    """What padding costs: computed rows over wanted rows, minus 1, for two ways of padding.

    counts [E], integer, not all 0. First way: every expert is padded to the fullest one. Second way: every expert is
    padded to a multiple of `rows` (an expert without rows needs none). Returns [2], float: 0 is no waste.
    """
    wanted = counts.sum().double()
    fullest = counts.max() * len(counts)
    tiled = ((counts + rows - 1) // rows * rows).sum()
    return torch.stack((fullest, tiled)).double() / wanted - 1


def grouped_matmul(x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """Each expert's rows times its own matrix, transposed: the product that a layer of experts is made of.

    x [rows, in], sorted by expert; weight [E, out, in]; counts [E], integer, with sum `rows`. Returns [rows, out].
    """
    parts = x.double().split(counts.tolist())
    return torch.cat([part @ matrix.double().T for part, matrix in zip(parts, weight, strict=True)]).to(x.dtype)


def _overlapping(counts: Tensor, rows: int) -> Tensor:
    tiles = schedule(counts, rows)
    tiles[:, 2] = rows
    return tiles


def _every_expert(counts: Tensor, rows: int) -> Tensor:
    tiles, start = [], 0
    for expert, count in enumerate(counts.tolist()):
        for first in range(0, max(count, 1), rows):
            tiles.append((expert, start + first, min(rows, count - first)))
        start += count
    return torch.tensor(tiles).view(-1, 3)


def _whole_tiles_only(counts: Tensor, rows: int) -> Tensor:
    tiles = schedule(counts, rows)
    return tiles[tiles[:, 2] == rows]


def _own_rows(counts: Tensor, rows: int) -> Tensor:
    tiles = schedule(counts, rows).clone()
    tiles[:, 1] -= (counts.cumsum(0) - counts)[tiles[:, 0]]
    return tiles


def _counts() -> list[tuple[str, tuple[Tensor, int]]]:
    return [
        ("counts that divide", (torch.tensor([4, 2, 6]), 2)),
        ("counts that do not", (torch.tensor([5, 3, 1]), 2)),
        ("an expert without rows", (torch.tensor([3, 0, 4]), 4)),
        ("the last expert empty", (torch.tensor([9, 1, 0]), 4)),
    ]


def _products() -> list[tuple[str, tuple[Tensor, Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(7)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return [
        ("three experts", (numbers(6, 3), numbers(3, 4, 3), torch.tensor([2, 1, 3]))),
        ("one of them idle", (numbers(5, 3), numbers(3, 3, 3), torch.tensor([4, 0, 1]))),
        ("one expert has all rows", (numbers(3, 2), numbers(2, 2, 2), torch.tensor([0, 3]))),
    ]


EXERCISES = (
    Exercise(
        "experts.schedule",
        schedule,
        _counts,
        (
            Mistake("a tile that reaches into the next expert", "How many rows does the last tile of an expert have?",
                    _overlapping),
            Mistake("a tile for an expert without rows", "What is there to multiply for an idle expert?",
                    _every_expert),
            Mistake("the rest of an expert's rows left out", "5 rows in tiles of 2: how many tiles?",
                    _whole_tiles_only),
            Mistake("rows counted from each expert's own start", "Where in the whole tensor does the tile begin?",
                    _own_rows),
        ),
        "Write down the rows 0, 1, 2, ... with their experts below, and draw the borders of the tiles.",
    ),
    Exercise(
        "experts.waste",
        waste,
        _counts,
        (
            Mistake("rounded down", "A tile that is half full is computed in full.",
                    lambda c, r: torch.stack((c.max() * len(c), (c // r * r).sum())).double() / c.sum() - 1),
            Mistake("1 not subtracted", "Where `rows` divides all counts, how much do tiles waste?",
                    lambda c, r: waste(c, r) + 1),
            Mistake("a tile for an expert without rows", "An idle expert needs no padding.",
                    lambda c, r: torch.stack((c.max() * len(c), (c.clamp(min=1) + r - 1).div(r, rounding_mode="floor")
                                              .mul(r).sum())).double() / c.sum() - 1),
            Mistake("the waste as a share of what is computed", "Over wanted rows, not over computed ones.",
                    lambda c, r: 1 - 1 / (waste(c, r) + 1)),
        ),
        "Counts 5, 3, 1 in tiles of 2: 6 + 4 + 2 rows are computed, 9 are wanted.",
    ),
    Exercise(
        "experts.grouped_matmul",
        grouped_matmul,
        _products,
        (
            Mistake("the matrix not transposed", "weight[e] is [out, in]; a row has `in` numbers.",
                    lambda x, w, c: torch.cat([p @ (m if m.shape[0] == m.shape[1] else m.T)
                                               for p, m in zip(x.split(c.tolist()), w, strict=True)])),
            Mistake("idle experts skipped without counting", "Expert 1 is idle: whose matrix comes next?",
                    lambda x, w, c: torch.cat([p @ m.T for p, m in
                                               zip(x.split([n for n in c.tolist() if n]), w, strict=False)])),
            Mistake("the first expert's matrix for all", "Each row has its own expert.",
                    lambda x, w, c: x @ w[0].T),
        ),
        "Split the rows by the counts, and go through parts and matrices together.",
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
