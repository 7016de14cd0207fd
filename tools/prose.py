"""How long the chapters and their sentences are.

    python tools/prose.py [NAMES]

One row per chapter: cells, words of prose, the median sentence, the share of sentences of six words or fewer, the
longest text cell, in words, and the lines of code beyond 95 columns. Left out are headings, tables, formulas,
addresses, MyST's directives, and labels such as "Hint." or "10 minutes.". A figure beyond its limit carries a star.
"""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

import jupytext

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LIMITS = {"cells": (0, 110), "words": (0, 4000), "median": (12, 20), "short": (0, 0.1), "longest": (0, 250),
          "wide": (0, 0)}  # fmt: skip
COLUMNS = 95  # of code, as wide as the page shows it

_FENCE = re.compile(r"\s*(?P<marks>`{3,}|:{3,})(?P<rest>.*)")
_SPOKEN = ("{exercise", "{solution", "{admonition", "{note", "{tip", "{epigraph")  # directives with prose inside
_DROPPED = (r"(?s)\$\$.*?\$\$", r"(?m)^\s*(?:#|\||:\w+:).*$", r"\$[^$]*\$", r"\{\w+\}`[^`]*`")
_LABEL = re.compile(r"\*?\b\d+ minutes?[^.*]*\.\*?|\*\*[^*]{1,20}\.\*\*")
_END = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*`]*[A-Z0-9`])")


class Counts(NamedTuple):
    """What a chapter's prose comes to."""

    cells: int
    words: int
    median: float
    short: float
    longest: int
    wide: int


def sentences(text: str) -> list[str]:
    """The sentences of a text cell in Markdown."""
    text = unfenced(text)
    for pattern in _DROPPED:
        text = re.sub(pattern, " ", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)  # the words of a link
    text = re.sub(r"!\[.*?\]|`[^`]*`", "code", text)
    text = _LABEL.sub(" ", text)
    paragraphs = re.split(r"\n\s*\n|^\s*(?:[-*]|\d+\.)\s+", text, flags=re.MULTILINE)
    found = [sentence.strip() for paragraph in paragraphs for sentence in _END.split(paragraph.replace("\n", " "))]
    return [sentence for sentence in found if words(sentence)]


def unfenced(text: str) -> str:
    """The text without fenced code; what stands in a directive such as an exercise is prose."""
    kept, fences = [], []
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence is None:
            kept += [line] if all(spoken for _, spoken in fences) else []
        elif fences and fences[-1][0] == fence["marks"] and not fence["rest"].strip():
            fences.pop()
        else:
            fences.append((fence["marks"], fence["rest"].startswith(_SPOKEN)))
    return "\n".join(kept)


def words(text: str) -> int:
    """How many words a sentence has."""
    return len(re.findall(r"[^\W_]+(?:['’.,-][^\W_]+)*", text))


def count(path: Path) -> Counts:
    """The counts of a chapter's twin, `NN_name.py`."""
    cells = jupytext.read(path, fmt="py:percent").cells
    texts = [sentences(cell.source) for cell in cells if cell.cell_type == "markdown"]
    lengths = [words(sentence) for text in texts for sentence in text]
    return Counts(
        len(cells), sum(lengths), statistics.median(lengths), sum(n <= 6 for n in lengths) / len(lengths),
        max(sum(map(words, text)) for text in texts),
        sum(len(line) > COLUMNS for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines()),
    )  # fmt: skip


def row(name: str, counts: Counts) -> str:
    """The counts as a line of the table."""
    cells = []
    for field, value in counts._asdict().items():
        low, high = LIMITS[field]
        shown = f"{value:.0%}" if field == "short" else f"{value:,.0f}"
        cells.append(f"{shown + ('' if low <= value <= high else ' *'):>9}")
    return f"{name:28}" + "".join(cells)


def main() -> int:
    """The command line."""
    paths = [NOTEBOOKS / f"{Path(name).stem}.py" for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("[0-9]*.py"))
    print(f"{'':28}" + "".join(f"{field:>9}" for field in LIMITS))
    for path in paths:
        print(row(path.stem, count(path)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
