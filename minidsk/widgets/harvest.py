"""What a harvest took from each host of a crawl, round by round."""

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets

from minidsk.widgets.base import Figure

COUNTS = ("right", "missed", "wrong", "left")


class Harvest(Figure):
    """The pages of each host as a bar: mathematics that is collected or missed, other pages collected or left.

    hosts: their names. rounds: for each round, one mapping per host with the counts "right" (mathematics, collected),
    "missed", "wrong" (other pages, collected) and "left", and "marked", whether the host was marked in that round.
    """

    js = "harvest.js"
    step = traitlets.Int(0).tag(sync=True)

    def __init__(self, hosts: Sequence[str], rounds: Sequence[Sequence[Mapping[str, Any]]], title: str = "") -> None:
        if not hosts or not rounds:
            raise ValueError("a harvest needs at least one host and one round")
        frames = []
        for number, row in enumerate(rounds, 1):
            if len(row) != len(hosts):
                raise ValueError(f"round {number} has {len(row)} hosts; the harvest has {len(hosts)}")
            frames.append([_counts(number, host, counts) for host, counts in zip(hosts, row, strict=True)])
        super().__init__(data={"hosts": [str(host) for host in hosts], "rounds": frames}, title=title)

    def figures(self, number: int) -> tuple[float, float]:
        """Precision and recall after a round, from 0; 0 where there is nothing to take a share of."""
        right, missed, wrong = (sum(row[name] for row in self.data["rounds"][number]) for name in COUNTS[:3])
        return right / max(right + wrong, 1), right / max(right + missed, 1)

    def still(self) -> list[list[str]]:
        """Precision and recall of every round, and the marked hosts."""
        hosts, rows = self.data["hosts"], []
        for number, row in enumerate(self.data["rounds"]):
            marked = [host for host, counts in zip(hosts, row, strict=True) if counts["marked"]]
            precision, recall = self.figures(number)
            rows.append([str(number + 1), f"{precision:.0%}", f"{recall:.0%}", ", ".join(marked)])
        return [["round", "precision", "recall", "marked"], *rows]

    def describe(self) -> str:
        """Precision and recall after the first and the last round."""
        ends = (0, len(self.data["rounds"]) - 1)
        said = [f"round {i + 1}: precision {p:.0%}, recall {r:.0%}" for i in ends for p, r in [self.figures(i)]]
        return f"Pages of {len(self.data['hosts'])} hosts. " + "; ".join(dict.fromkeys(said)) + "."


def _counts(number: int, host: str, counts: Mapping[str, Any]) -> dict[str, int]:
    found = {}
    for name in COUNTS:
        if name not in counts:
            raise ValueError(f"round {number}, {host}: lacks {name!r}")
        if int(counts[name]) != counts[name] or counts[name] < 0:
            raise ValueError(f"round {number}, {host}: {name} must be a count")
        found[name] = int(counts[name])
    # By name, not in a row: a test of notebooks would read "2,135" as one number.
    return {**found, "marked": int(bool(counts.get("marked", False)))}
