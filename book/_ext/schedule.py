"""Tables for a class, made from the notebooks: the directives `schedule` and `exercise-list`.

`schedule` has a row per chapter with the hours to read and the minutes of exercises that the chapter itself states, and
a sum per part. `exercise-list` says what `check` tests in each chapter, from the register of exercises.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from chapter_cards import Card, read_card
from chapters import listed
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

HOURS = {"half an hour": 0.5, "an hour": 1.0, "an hour and a half": 1.5, "two hours": 2.0,
         "two hours and a half": 2.5, "three hours": 3.0}  # fmt: skip
MINUTES = re.compile(r"^\*(\d+) minutes?\b", re.MULTILINE)
CHECKED = re.compile(r'\bcheck\("([\w.]+)"')


def text(path: Path) -> str:
    """All cells of a notebook."""
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])


def hours(card: Card) -> float:
    """The time to read a chapter. Raises `ExtensionError` for words that are not known."""
    if card.read not in HOURS:
        raise ExtensionError(f"chapter {card.number}: {card.read!r} to read is not known; add it to schedule.py")
    return HOURS[card.read]


def exercise_minutes(path: Path) -> list[int]:
    """The minutes that each exercise of a chapter is said to take."""
    return [int(minutes) for minutes in MINUTES.findall(text(path))]


def number(value: float) -> str:
    """A number of hours without needless digits."""
    return f"{value:g}"


class OfChapters(SphinxDirective):
    """A directive that writes Markdown about the chapters, part by part."""

    def run(self) -> list[nodes.Node]:
        """What `lines` says, read as Markdown."""
        root = Path(self.env.srcdir)
        toc = root / "_toc.yml"
        parts = []
        for part in yaml.safe_load(toc.read_text(encoding="utf-8"))["parts"]:
            files = listed(part)
            parts += [(part["caption"], [root / f"{file}.ipynb" for file in files])] if files else []
        for path in [toc, Path(__file__), *(path for _, paths in parts for path in paths)]:
            self.env.note_dependency(str(path))
        into = nodes.container()
        self.state.nested_parse(StringList(self.lines(parts), self.env.docname), self.content_offset, into)
        return into.children

    def lines(self, parts: list[tuple[str, list[Path]]]) -> list[str]:
        """The Markdown."""
        raise NotImplementedError


class Schedule(OfChapters):
    """``{schedule}``: hours and minutes, chapter by chapter."""

    def lines(self, parts: list[tuple[str, list[Path]]]) -> list[str]:
        """One table, with a sum per part and a sum of all."""
        lines = ["| chapter | read | run | exercises, time |", "| --- | --- | --- | --- |"]
        total, count, minutes = 0.0, 0, 0
        for caption, paths in parts:
            cards, given = [read_card(path) for path in paths], [exercise_minutes(path) for path in paths]
            mine, work = sum(map(hours, cards)), sum(map(sum, given))
            lines.append(f"| **{caption}** | **{number(mine)} h** | | **{sum(map(len, given))}, {work} min** |")
            for path, card, each in zip(paths, cards, given, strict=True):
                link = f"[{card.number} {card.title}](/notebooks/{path.name})"
                lines.append(f"| {link} | {number(hours(card))} h | {card.run} | {len(each)}, {sum(each)} min |")
            total, count, minutes = total + mine, count + sum(map(len, given)), minutes + work
        return [*lines, f"| **all** | **{number(total)} h** | | **{count}, {number(round(minutes / 60, 1))} h** |"]


class ExerciseList(OfChapters):
    """``{exercise-list}``: what is checked in which chapter."""

    def lines(self, parts: list[tuple[str, list[Path]]]) -> list[str]:
        """A table: the name for `check`, the task's first sentence, and how many mistakes it knows by name."""
        from minidsk.homework.registry import find

        lines = ["```{table}", ":class: stacks exercise-list", ""]
        lines += ["| chapter | exercise | what the function returns | known mistakes |", "| --- | --- | --- | --- |"]
        for path in (path for _, paths in parts for path in paths):
            for k, name in enumerate(dict.fromkeys(CHECKED.findall(text(path)))):
                exercise = find(name)
                task = (exercise.reference.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
                chapter = f"[{path.name.partition('_')[0]}](/notebooks/{path.name})" if k == 0 else ""
                lines.append(f"| {chapter} | `{name}` | {task} | {len(exercise.mistakes)} |")
        return [*lines, "```"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both."""
    app.add_directive("schedule", Schedule)
    app.add_directive("exercise-list", ExerciseList)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
