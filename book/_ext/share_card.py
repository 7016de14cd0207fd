"""What a link to the book shows elsewhere, and the page for addresses that lead nowhere.

The share card is a picture of 1200 x 630 pixels, drawn while the book is built from the same record as the first
screen; git ignores it. `404.html` needs nothing beside it, because a host shows it at any depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from first_screen import read
from matplotlib import rc_context
from matplotlib.figure import Figure
from sphinx.application import Sphinx

CARD = Path("book") / "_static" / "share_card.png"
PAPER, INK, QUIET, RIGHT, WRONG = "#10141a", "#f4f8f8", "#a9bfc1", "#7db4f0", "#f0a070"


def draw(lapse: dict[str, Any], path: Path) -> None:
    """The headline, the first and the last reply, and the rising curve."""
    with rc_context({"font.family": "sans-serif", "text.color": INK, "text.parse_math": False}):
        figure = Figure(figsize=(12, 6.3), dpi=100, facecolor=PAPER)
        figure.text(0.05, 0.86, "Train a model that learns to think,", fontsize=36, weight="bold")
        figure.text(0.05, 0.755, "on your own laptop", fontsize=36, weight="bold")
        first, last = lapse["moments"][0], lapse["moments"][-1]
        figure.text(0.05, 0.645, lapse["prompts"][lapse["start"]], fontsize=21, color=QUIET)
        top = 0.565
        for moment, colour in ((first, WRONG), (last, RIGHT)):
            reply = moment["replies"][lapse["start"]]
            when = f"after {moment['step']} steps of reward" if moment["step"] else "before any reward"
            figure.text(0.05, top, when, fontsize=15, color=colour)
            lines = reply["lines"] if len(reply["lines"]) <= 4 else [*reply["lines"][:2], "...", reply["lines"][-1]]
            for line in lines:
                top -= 0.052
                figure.text(0.05, top, line, fontsize=16, family="monospace")
            top -= 0.085
        figure.text(0.05, 0.045, "minidsk: a course and a package", fontsize=16, color=QUIET)
        axes = figure.add_axes((0.6, 0.16, 0.35, 0.48), facecolor=PAPER)
        steps, right = zip(*((m["step"], m["right"]) for m in lapse["moments"]), strict=True)
        axes.fill_between(steps, [m["low"] for m in lapse["moments"]], [m["high"] for m in lapse["moments"]],
                          color=RIGHT, alpha=0.2, linewidth=0)  # fmt: skip
        axes.plot(steps, right, color=RIGHT, linewidth=3.5)
        axes.set(xlim=(0, steps[-1]), ylim=(0, 103), xticks=(0, steps[-1]), yticks=(0, 50, 100))
        axes.set_xlabel("steps of learning from reward", color=QUIET, fontsize=14)
        axes.text(3, right[0] - 12, f"{right[0]} % right", fontsize=17, color=WRONG, weight="bold")
        axes.text(
            steps[-1], right[-1] - 20, f"{right[-1]} % right", fontsize=17, color=RIGHT, weight="bold", ha="right"
        )
        axes.tick_params(colors=QUIET, labelsize=13, length=0)
        axes.spines[:].set_visible(False)
        axes.grid(axis="y", color=QUIET, alpha=0.25)
        figure.savefig(path, facecolor=PAPER, metadata={"Software": None})


def make_card(app: Sphinx) -> None:
    """Draw the card among the static files."""
    draw(read(Path(app.srcdir) / "results"), Path(app.srcdir) / CARD)


def not_found(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """`404.html`, whose links lead to the published book."""
    if app.builder.format == "html":
        yield "404", {"home": app.config.html_baseurl, "title": "Page not found"}, "404.html"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both."""
    app.connect("builder-inited", make_card, priority=400)  # before the static files are counted
    app.connect("html-collect-pages", not_found)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
