"""Pairs of replies to be labelled by the reader."""

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets

from minidsk.widgets.base import Figure

LEFT, RIGHT = 1, 2  # labels; 0: none yet
STILL = 5  # pairs that a page without scripts shows


class Preferences(Figure):
    """Two replies to a prompt, side by side: the reader says which is better, pair after pair.

    pairs: mappings with "prompt", "left" and "right" (texts), and, where they are known, "facts": for each fact's name
    1 where it speaks for the left reply, 2 for the right one, 0 for neither. When labels are there, the figure says how
    often they went with each fact.

    In Jupyter `labels` (one number a pair: 0 none, 1 left, 2 right) is what the reader chose, and `chosen()` hands out
    pairs of the better and the other reply. On a page without Python the figure counts alone, and forgets.
    """

    js = "preferences.js"
    pair = traitlets.Int(0).tag(sync=True)
    labels = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(self, pairs: Sequence[Mapping[str, Any]], title: str = "Which reply is better?") -> None:
        if not pairs:
            raise ValueError("pairs must hold at least one pair of replies")
        rows = []
        for number, pair in enumerate(pairs):
            if missing := {"prompt", "left", "right"} - set(pair):
                raise ValueError(f"pair {number} lacks {' and '.join(sorted(missing))}")
            facts = {str(name): int(side) for name, side in dict(pair.get("facts", {})).items()}
            if not set(facts.values()) <= {0, LEFT, RIGHT}:
                raise ValueError(f"pair {number}: a fact speaks for 1 (left), 2 (right) or 0 (neither), not {facts}")
            rows.append({name: str(pair[name]) for name in ("prompt", "left", "right")} | {"facts": facts})
        super().__init__(data={"pairs": rows}, title=title)
        self.labels = [0] * len(rows)

    def chosen(self) -> list[tuple[str, str, str]]:
        """What was labelled so far: prompt, the better reply, the other one."""
        return [
            (pair["prompt"], *((pair["left"], pair["right"]) if label == LEFT else (pair["right"], pair["left"])))
            for pair, label in zip(self.data["pairs"], self.labels, strict=True)
            if label
        ]

    def agreement(self) -> dict[str, tuple[int, int]]:
        """For each fact: how many labels went with it, and how many could have."""
        found: dict[str, tuple[int, int]] = {}
        for pair, label in zip(self.data["pairs"], self.labels, strict=True):
            for name, side in pair["facts"].items():
                with_it, could = found.get(name, (0, 0))
                judged = bool(label and side)
                found[name] = with_it + (judged and label == side), could + judged
        return found

    def still(self) -> list[list[str]]:
        """The first pairs, and for which reply each fact speaks."""
        names = list(dict.fromkeys(name for pair in self.data["pairs"] for name in pair["facts"]))
        sides = {0: "neither", LEFT: "left", RIGHT: "right"}
        rows = [
            [pair["prompt"], pair["left"], pair["right"], *(sides[pair["facts"].get(name, 0)] for name in names)]
            for pair in self.data["pairs"][:STILL]
        ]
        return [["prompt", "left", "right", *names], *rows]

    def describe(self) -> str:
        """How many pairs there are, and one of them."""
        pair, done = self.data["pairs"][0], sum(label > 0 for label in self.labels)
        return (
            f"{len(self.labels)} pairs of replies to be labelled, {done} done. The first: to {pair['prompt']!r}, "
            f"left {pair['left']!r}, right {pair['right']!r}."
        )
