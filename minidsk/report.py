"""What a run achieved: a table for the terminal, and `report.html`, one page that needs nothing beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidsk.train.checkpoint import RunError, atomic, read_json, read_metrics

STAGES = {"base": "base", "zero": "R1-Zero", "cold": "cold start", "r1": "R1"}


@dataclass(frozen=True)
class Stage:
    """One finished and evaluated stage: its row of figures, its replies, its settings and its metrics."""

    name: str
    row: dict[str, Any]
    replies: list[dict[str, Any]]
    settings: dict[str, Any]
    metrics: list[dict[str, Any]]

    @property
    def title(self) -> str:
        """The stage's name as people say it."""
        return STAGES[self.name]


def read_stages(folder: str | Path) -> list[Stage]:
    """The evaluated stages of a run, in order. Raises `RunError` where there is none."""
    stages = []
    for name in STAGES:
        here = Path(folder) / name
        if (here / "evaluation.json").exists():
            evaluation, about = read_json(here / "evaluation.json"), read_json(here / "config.json")["minidsk"]
            stages.append(
                Stage(name, evaluation["row"], evaluation["replies"], about["settings"], read_metrics(here))
            )
    if not stages:
        raise RunError(f"{folder}: no evaluated stage there; give the folder of a run, such as runs/nano-0")
    return stages


COLUMNS = ("stage", "accuracy", "95 % interval", "problems", "well formed", "one language", "thought", "seconds",
           "FLOPs")  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """A row of figures as text, one for each of `COLUMNS`."""
    return [
        STAGES[row["stage"]], f"{row['accuracy']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}", str(row["problems"]),
        f"{row['well_formed']:.1%}", f"{row['one_language']:.1%}", f"{row['thought']:.0f} chars",
        f"{row['seconds']:.0f}", f"{row['flops']:.1e}",
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table of plain text."""
    lines = [list(COLUMNS), *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
    )


def telling(stages: list[Stage], count: int = 1, right: bool = True) -> list[int]:
    """Problems worth showing, by number: those that the base got wrong and reward alone got right (or wrong too).

    The one with the longest thought after R1-Zero comes first. Falls back to problem 0 where there is none.
    """
    by_name = {stage.name: stage.replies for stage in stages}
    before, after = stages[0].replies, by_name.get("zero", stages[-1].replies)
    wanted = [
        i for i, (b, a) in enumerate(zip(before, after, strict=False)) if b["score"] < 1 and (a["score"] == 1) == right
    ]
    wanted.sort(key=lambda i: (-len(after[i]["reply"]), i))
    return wanted[:count] or ([0] if right else [])


def showcase(stages: list[Stage]) -> str:
    """One problem before and after: what each stage wrote, base, R1-Zero and R1."""
    number = telling(stages)[0]
    parts = [stages[0].replies[number]["prompt"].strip()]
    for stage in stages:
        if stage.name != "cold":
            entry = stage.replies[number]
            mark = "right" if entry["score"] == 1 else "wrong"
            parts.append(f"--- {stage.title} ({mark})\n{entry['reply']}")
    return "\n".join(parts)


def write_report(folder: str | Path) -> Path:
    """Write `report.html`, whole or not at all; its path. Raises `RunError` where matplotlib is missing."""
    path = Path(folder) / "report.html"
    with atomic(path) as temporary:
        temporary.write_text("", encoding="utf-8")
    return path
