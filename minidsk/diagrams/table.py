"""A printed table as the page shows it: real rows and columns in a browser, aligned letters in a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_NUMBER = re.compile(r"[-+−±<>~]?\s*[$]?\d.*")


class Table:
    """Rows under a head. Every cell is text or a whole number; a caller writes other numbers as they should be read."""

    def __init__(self, head: Sequence[str], rows: Sequence[Sequence[str | int]], caption: str) -> None:
        self.head, self.caption = list(head), caption
        self.rows = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
        if wrong := [row for row in self.rows if len(row) != len(self.head)]:
            raise ValueError(f"table: {len(wrong[0])} cells do not fit {len(self.head)} columns: {wrong[0]}")
        columns = list(zip(*self.rows, strict=True)) if self.rows else [()] * len(self.head)
        self.right = [all(_NUMBER.fullmatch(cell) or cell in ("", "-") for cell in column) for column in columns]
        self.widths = [max(map(len, [name, *column])) for name, column in zip(self.head, columns, strict=True)]

    def __repr__(self) -> str:
        shape = list(zip(self.widths, self.right, strict=True))
        lines = [[cell.rjust(w) if right else cell.ljust(w) for cell, (w, right) in zip(row, shape, strict=True)]
                 for row in [self.head, *self.rows]]  # fmt: skip
        return "\n".join([*("  ".join(line).rstrip() for line in lines), *([self.caption] if self.caption else [])])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Mapping[str, str]:
        return {"text/plain": repr(self), "text/html": self.html()}

    def html(self) -> str:
        """The table as HTML. Columns of numbers stand to the right."""
        side = [' style="text-align:right;font-variant-numeric:tabular-nums"' if right else ' style="text-align:left"'
                for right in self.right]  # fmt: skip
        head = "".join(f'<th scope="col"{s}>{escape(c)}</th>' for c, s in zip(self.head, side, strict=True))
        body = "".join("<tr>" + "".join(f"<td{s}>{escape(c)}</td>" for c, s in zip(row, side, strict=True)) + "</tr>"
                       for row in self.rows)  # fmt: skip
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return f'<table class="mdsk-table">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def table(head: Sequence[str], rows: Sequence[Sequence[str | int]], caption: str = "") -> Table:
    """A table to be the last value of a cell. head: the columns' names. rows: text, or whole numbers. caption: what
    the numbers are, with their unit. Raises `ValueError` where a row has another length than the head."""
    return Table(head, rows, caption)
