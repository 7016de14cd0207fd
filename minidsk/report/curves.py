"""Learning curves as SVG that takes its colours from the page around it, be it light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minidsk.drawing import element
from minidsk.report.stages import Stage
from minidsk.train.checkpoint import RunError

# Drawn in these colours, which become the page's: `currentColor` for text and lines, `var(--name)` for curves.
INK = "#010203"
COLOURS = {"base": "#010204", "zero": "#010205", "r1": "#010206"}
PAGE = {INK: "currentColor"} | {colour: f"var(--{name})" for name, colour in COLOURS.items()}
LOOK: Any = {
    "font.size": 11, "font.family": "sans-serif", "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False,
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """One figure: a metric over steps, for each stage that logged it."""

    title: str
    metric: str
    unit: str
    stages: tuple[str, ...] = ("zero", "r1")


CURVES = (
    Curve("Pretraining loss", "loss", "nats a token", ("base",)),
    Curve("Right answers among those sampled", "accuracy", "share"),
    Curve("Length of answers", "length", "tokens"),
    Curve("Entropy of the next token", "entropy", "nats"),
    Curve("Groups with both right and wrong answers", "groups_with_signal", "share"),
)


def points(stage: Stage, metric: str) -> tuple[list[float], list[float]]:
    """Steps and values of a metric, where it was logged."""
    logged = [(line.get("step"), line.get(metric)) for line in stage.metrics]
    there = [(x, y) for x, y in logged if isinstance(x, (int, float)) and isinstance(y, (int, float))]
    return [x for x, _ in there], [y for _, y in there]


def draw(curve: Curve, stages: Sequence[Stage]) -> str:
    """The curve as an SVG element, with what it shows in words; empty where nothing was logged.

    Raises `RunError` where matplotlib is missing.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RunError("report: matplotlib is missing; pip install matplotlib, then minidsk report FOLDER") from error
    lines = {s.name: (s.title, *points(s, curve.metric)) for s in stages if s.name in curve.stages}
    lines = {name: line for name, line in lines.items() if line[1]}
    if not lines:
        return ""
    with rc_context(LOOK):
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.add_subplot()
        for name, (title, x, y) in lines.items():
            axes.plot(x, y, color=COLOURS[name], label=title, linewidth=1.8, marker="o" if len(x) == 1 else None)
        axes.set_xlabel("step")
        axes.set_ylabel(curve.unit)
        if curve.unit == "share":
            axes.set_ylim(0, 1.02)
        else:
            axes.set_ylim(bottom=0)
        if len(lines) > 1:
            axes.legend()
        said = "; ".join(f"{title}: {y[0]:.3g} to {y[-1]:.3g} in {x[-1]} steps" for title, x, y in lines.values())
        return element(figure, f"{curve.title} ({curve.unit}). {said}.", PAGE)
