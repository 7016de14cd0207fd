"""What the stages of a run achieved, read from its folder: figures as text, and the thoughts worth showing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidsk.hub.folder import about
from minidsk.report.columns import aligned
from minidsk.rl.recipe import TITLES, title_of
from minidsk.train.checkpoint import RunError, read_metrics
from minidsk.train.evaluation import read_evaluation


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
        return title_of(self.name)


def read_stages(folder: str | Path) -> list[Stage]:
    """The evaluated stages of a run, in order, those without a title last. Raises `RunError` where there is none."""
    stages = []
    evaluated = {path.parent.name for path in Path(folder).glob("*/evaluation.json")}
    for name in [*TITLES, *sorted(evaluated - set(TITLES))]:
        if name in evaluated:
            here = Path(folder) / name
            found, settings = read_evaluation(here), about(here).get("settings", {})
            stages.append(Stage(name, found["row"], found["replies"], settings, read_metrics(here)))
    if not stages:
        raise RunError(f"{folder}: no evaluated stage there; give the folder of a run, such as runs/nano-0")
    return stages


COLUMNS = ("stage", "accuracy", "95 % interval", "problems", "well formed", "one language", "thought", "seconds",
           "FLOPs")  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """A row of figures as text, one for each of `COLUMNS`."""
    return [
        title_of(row["stage"]), f"{row['accuracy']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}",
        str(row["problems"]),
        f"{row['well_formed']:.1%}", f"{row['one_language']:.1%}", f"{row['thought']:.0f} chars",
        f"{row['seconds']:.0f}", f"{row['flops']:.1e}",
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table of plain text."""
    return aligned([COLUMNS, *map(cells, rows)])


def telling(stages: list[Stage], count: int = 1, right: bool = True) -> list[int]:
    """Problems worth showing, by number: the base got them wrong, and R1-Zero right (or wrong too, as `right` says).

    The longest thought of R1-Zero comes first, and no problem comes twice. Where there is none, problem 0 stands in
    for the right ones.
    """
    before = stages[0].replies
    after = next((stage.replies for stage in stages if stage.name == "zero"), stages[-1].replies)
    wanted = [
        i for i, (b, a) in enumerate(zip(before, after, strict=False)) if b["score"] < 1 and (a["score"] == 1) == right
    ]
    wanted.sort(key=lambda i: (-len(after[i]["reply"]), i))
    first_of = {before[i]["prompt"]: i for i in reversed(wanted)}
    chosen = [i for i in wanted if first_of[before[i]["prompt"]] == i]
    return chosen[:count] or ([0] if right else [])


def thoughts(stages: list[Stage], number: int) -> list[tuple[str, bool, str]]:
    """Before and after: title, whether right, and reply of base, R1-Zero and R1 to one problem."""
    shown = [stage for stage in stages if stage.name != "cold" and number < len(stage.replies)]
    return [(s.title, s.replies[number]["score"] == 1, s.replies[number]["reply"]) for s in shown]


def showcase(stages: list[Stage]) -> str:
    """One telling problem and what was thought of it before and after, as plain text."""
    number = telling(stages)[0]
    lines = [stages[0].replies[number]["prompt"].strip()]
    for title, right, reply in thoughts(stages, number):
        lines += [f"--- {title} ({'right' if right else 'wrong'})", reply]
    return "\n".join(lines)


def headline(stages: list[Stage]) -> str:
    """What happened, in a sentence or two."""
    rows = {stage.name: stage.row for stage in stages}

    def share(row: dict[str, Any]) -> str:
        return f"{row['accuracy']:.1%} ({row['low']:.1%} to {row['high']:.1%})"

    first = stages[0].row
    words = f"The {stages[0].title} solves {share(first)} of {first['problems']} held-out problems."
    if "base" in rows and "zero" in rows:
        base, zero = rows["base"], rows["zero"]
        words = (
            f"Reward alone took the base model from {share(base)} to {share(zero)} of {base['problems']} held-out "
            f"problems, while its thoughts went from {base['thought']:.0f} to {zero['thought']:.0f} characters."
        )
    if "r1" in rows:
        words += f" After the cold start, R1 reached {share(rows['r1'])}."
    return words
