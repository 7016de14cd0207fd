"""A batch over time: which row writes which reply, where rows wait for the longest and where they are refilled."""

from __future__ import annotations

from collections.abc import Sequence

import traitlets

from minidsk.widgets.base import Figure

WAYS = ("wait for the longest reply", "refill at once")


def turns(lengths: Sequence[int], rows: int, refill: bool) -> list[list[int]]:
    """For each reply, in order: its row, and the steps at which it begins and has ended."""
    free, placed = [0] * rows, []
    for reply, length in enumerate(lengths):
        if not refill and reply % rows == 0:
            free = [max(free)] * rows
        row = free.index(min(free)) if refill else reply % rows
        placed.append([row, free[row], free[row] + length])
        free[row] += length
    return placed


class Batching(Figure):
    """Replies of these lengths, in tokens, written by so many rows, one token a step.

    The traits: way (number in WAYS), step (how many steps have been done).
    """

    js = "batching.js"
    way = traitlets.Int(0).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)

    def __init__(self, lengths: Sequence[int], rows: int, title: str = "Rows of a batch over time") -> None:
        if len(lengths) < 1 or min(lengths) < 1:
            raise ValueError("lengths must be those of one reply or more, of one token or more")
        if rows < 1:
            raise ValueError(f"rows is {rows}; it must be 1 or more")
        placed = [turns(lengths, rows, way > 0) for way in range(len(WAYS))]
        super().__init__(data={"rows": rows, "ways": list(WAYS), "turns": placed}, title=title)

    def steps(self) -> list[int]:
        """Steps until all replies have ended, for each way."""
        return [max(end for _, _, end in placed) for placed in self.data["turns"]]

    def still(self) -> list[list[str]]:
        """For each way its steps, and the share of rows that were at work in them."""
        tokens = sum(end - begin for _, begin, end in self.data["turns"][0])
        rows = [[way, f"{steps:,}", f"{tokens / steps / self.data['rows']:.0%}"]
                for way, steps in zip(WAYS, self.steps(), strict=True)]  # fmt: skip
        return [["rows that are done", "steps", "rows at work"], *rows]

    def describe(self) -> str:
        """What both ways take."""
        waiting, refilled = self.steps()
        return (f"{len(self.data['turns'][0])} replies in {self.data['rows']} rows: {waiting:,} steps where rows wait "
                f"for the longest reply, {refilled:,} where they are refilled.")  # fmt: skip
