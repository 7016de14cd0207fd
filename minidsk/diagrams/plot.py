"""A plot as the page shows it: an SVG that takes its colours from the page, with a caption and a description.

    plt.style.use("minidsk.diagrams.look")
    fig, ax = plt.subplots()
    _ = ax.plot(loss, label="AdamW")
    direct_labels(ax)
    show(fig, "AdamW's loss falls for 200 steps.", "A line over 200 steps, from 4.2 nats per token to 1.9.")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from minidsk.diagrams.figure import PALETTE, framed
from minidsk.drawing import element

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib's own names for black and grey, and what a plot in this look never means as a colour of its own.
_NAMES = {"#000000": "ink", "#808080": "soft", "#d3d3d3": "line"} | {value: name for name, value in PALETTE.items()}
_COLOURS = {value: f"var(--{name})" for value, name in _NAMES.items()}


@dataclass(frozen=True)
class Plot:
    """A drawn plot. svg: the picture. caption: the sentence below it. description: what it shows, for a reader who
    cannot see it."""

    svg: str
    caption: str
    description: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Mapping[str, str]:
        # As a diagram, it scrolls within a narrow page, where its letters would be too small to read.
        box = f'<div tabindex="0" role="group" aria-label="{escape(self.caption)}">{self.svg}</div>'
        return {"text/plain": repr(self), "text/html": framed(box, self.caption, "mdsk-plot")}

    def __repr__(self) -> str:
        return f"{self.caption} {self.description}"


def show(figure: Figure, caption: str, description: str) -> None:
    """Display a matplotlib figure in the colours of the page around it, and close it.

    caption: what the reader should see in it, a sentence or two. description: axes, lines and numbers, for a reader
    who cannot see it. Raises `ValueError` where the description is too short to be one.
    """
    from IPython.display import display
    from matplotlib import pyplot

    if len(description) < 40 or description == caption:
        raise ValueError(f"description: {description!r} says too little; name the axes and the numbers that matter")
    display(Plot(svg(figure, description), caption, description))
    pyplot.close(figure)


def svg(figure: Figure, description: str) -> str:
    """The figure as one `<svg>` whose ids are its own, whose colours are the page's, and which is as wide as it may."""
    width = round(figure.get_size_inches()[0] * 96)
    return element(figure, description, _COLOURS, f"min-width:{0.78 * width:.0f}px;max-width:{width}px")


def direct_labels(ax: Axes, *, gap: float = 13.0) -> None:
    """Write each line's label beside its last point, in its colour, in place of a legend.

    gap: the least distance between two labels, in points; labels that would stand closer are moved apart.
    """
    lines = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    ax.figure.canvas.figure.draw_without_rendering()  # limits and layout are settled only then
    scale = ax.figure.dpi / 72
    last = [[float(v) for v in np.asarray(line.get_xydata())[-1]] for line in lines]
    places = np.asarray(ax.transData.transform(last)) / scale
    order = np.argsort(places[:, 1], kind="stable")
    heights = places[order, 1]
    for _ in range(200):  # neighbours that are too close push each other away, half of the way each
        for i in range(len(heights) - 1):
            lacking = gap - (heights[i + 1] - heights[i])
            if lacking > 0:
                heights[i] -= lacking / 2
                heights[i + 1] += lacking / 2
    edge = max(float(np.max(line.get_xdata())) for line in lines)  # where all labels begin, whatever the width
    for k, wanted in zip(order, heights, strict=True):
        text = ax.annotate(str(lines[k].get_label()), (edge, last[k][1]), (6, wanted - places[k, 1]),
                           textcoords="offset points", va="center", fontsize=9.5, annotation_clip=False)  # fmt: skip
        text.set_color(lines[k].get_color())
