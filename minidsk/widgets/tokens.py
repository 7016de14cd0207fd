"""Merges of byte-pair encoding, one at a time."""

from collections.abc import Sequence
from typing import Any

import traitlets

from minidsk.widgets.base import Figure, visible


class Tokens(Figure):
    """A text, cut into tokens after each merge; a slider goes through the merges.

    steps: the text's pieces (str or bytes) before the first merge, after it, after the second, ...
    merges: what each merge joined, (left, right), one fewer than steps; may be left out.
    """

    js = "tokens.js"
    merge = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        steps: Sequence[Sequence[str | bytes]],
        merges: Sequence[tuple[str | bytes, str | bytes]] | None = None,
        title: str = "Merge by merge",
    ) -> None:
        if not steps or not all(len(step) for step in steps):
            raise ValueError("steps must hold at least one cut of a text that is not empty")
        if merges is not None and len(merges) != len(steps) - 1:
            raise ValueError(f"merges must be one fewer than steps: {len(merges)} for {len(steps)} steps")
        data: dict[str, Any] = {
            "steps": [[visible(piece) for piece in step] for step in steps],
            "merges": [[visible(a), visible(b)] for a, b in merges or []],
        }
        super().__init__(data=data, title=title)

    @classmethod
    def from_merges(
        cls, text: str | bytes, merges: Sequence[tuple[str | bytes, str | bytes]], title: str = "Merge by merge"
    ) -> "Tokens":
        """From a text and the pairs that were learned, in their order: bytes for bytes, str for characters."""
        pieces: list[Any] = [text[i : i + 1] for i in range(len(text))]
        steps = [pieces]
        for left, right in merges:
            out, i = [], 0
            while i < len(pieces):
                pair = i + 1 < len(pieces) and (pieces[i], pieces[i + 1]) == (left, right)
                out.append(pieces[i] + pieces[i + 1] if pair else pieces[i])
                i += 2 if pair else 1
            pieces = out
            steps.append(pieces)
        return cls(steps, merges, title)

    def still(self) -> list[list[str]]:
        """The cut text before the first merge, halfway and after the last, and what was joined last."""
        rows = []
        for merge in sorted({0, (len(self.data["steps"]) - 1) // 2, len(self.data["steps"]) - 1}):
            pieces, joined = self.data["steps"][merge], self.data["merges"][merge - 1 : merge]
            last = " + ".join(map(_shown, joined[0])) if merge and joined else ""
            rows.append([f"{merge:,}", last, f"{len(pieces):,}", "|".join(map(_shown, pieces))])
        return [["merges", "the last one", "tokens", "the text"], *rows]

    def describe(self) -> str:
        """Tokens before the first and after the last merge."""
        steps = self.data["steps"]
        return f"A text of {len(steps[0])} tokens, which {len(steps) - 1} merges turn into {len(steps[-1])}."


def _shown(piece: str) -> str:
    """A piece with its blanks and line ends in sight, as in the figure that moves."""
    return piece.replace(" ", "·").replace("\n", "⏎")
