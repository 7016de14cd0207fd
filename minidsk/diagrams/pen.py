"""What every diagram is drawn with: boxes, arrows, cells and words in one palette, written down as SVG.

Colours have one meaning throughout. *learns*: what gradient moves. *frozen*: a network that stays as it is. *kept*:
what is remembered. *judged*: rewards, and what is made of them. *wrong*: what is dropped or fails. *ink* and *soft*:
everything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

# The variable of the palette (style.css, as in the widgets), and the colour where there is no style sheet.
TONES = {
    "ink": "currentColor",
    "soft": "var(--soft, #6b7480)",
    "line": "var(--line, #8a939d)",
    "paper": "var(--paper, transparent)",
    "learns": "var(--accent, #2f7fd6)",
    "frozen": "var(--c3, #9a6cc8)",
    "kept": "var(--warm, #cf6a2c)",
    "judged": "var(--good, #2f9a63)",
    "wrong": "var(--bad, #d0505e)",
}
LABEL, NOTE = 13.0, 11.5  # sizes of letters, in units of the drawing; a unit is about a pixel
CODE = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
Point = tuple[float, float]


class Pen:
    """A sheet of `width` times `height` units, from the top left, and what has been drawn on it."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.marks: list[str] = []

    def text(
        self, x: float, y: float, words: str, *, tone: str = "ink", size: float = LABEL, anchor: str = "middle",
        bold: bool = False,
    ) -> None:  # fmt: skip
        """Words with their baseline at `y`; code where they begin with a backtick. anchor: start, middle or end."""
        looks = {"x": x, "y": y, "fill": TONES[tone], "font-size": size}
        looks |= {"text-anchor": anchor} if anchor != "start" else {}
        looks |= {"font-weight": 600} if bold else {}
        if words.startswith("`"):
            words = words[1:]
            looks["font-family"] = CODE
        self._mark("text", looks, words)

    def notes(self, x: float, y: float, *lines: str, tone: str = "soft", anchor: str = "start") -> None:
        """Small lines of words, one under the other; the first baseline at `y`."""
        for number, line in enumerate(lines):
            self.text(x, y + 15 * number, line, tone=tone, size=NOTE, anchor=anchor)

    def box(
        self, x: float, y: float, w: float, h: float, *lines: str, tone: str = "soft", dashed: bool = False,
        fill: float = 0.1,
    ) -> None:  # fmt: skip
        """A rounded box tinted in `tone`, with a label in its middle and notes below the label."""
        looks = {"x": x, "y": y, "width": w, "height": h, "rx": 6, "fill": TONES[tone], "fill-opacity": fill}
        looks |= {"stroke": TONES[tone], "stroke-width": 1.4}
        looks |= {"stroke-dasharray": "5 4"} if dashed else {}
        self._mark("rect", looks)
        if lines:
            base = y + h / 2 - 15 * (len(lines) - 1) / 2 + 4.5
            self.text(x + w / 2, base, lines[0], bold=True)
            self.notes(x + w / 2, base + 15.5, *lines[1:], tone="ink", anchor="middle")

    def region(self, x: float, y: float, w: float, h: float, title: str = "", tone: str = "soft") -> None:
        """A pale area that holds other things, with its title in the corner."""
        self._mark("rect", {"x": x, "y": y, "width": w, "height": h, "rx": 10, "fill": TONES[tone],
                            "fill-opacity": 0.06})  # fmt: skip
        if title:
            self.text(x + 12, y + 20, title, bold=True, anchor="start", tone=tone)

    def cells(
        self, x: float, y: float, values: Sequence[str], *, w: float = 26, h: float = 22, tone: str = "soft",
        tones: Sequence[str] = (), fill: float = 0.16,
    ) -> None:  # fmt: skip
        """A row of square cells with short values; `tones` gives each its own."""
        for i, value in enumerate(values):
            of = tones[i] if tones else tone
            self._mark("rect", {"x": x + i * w, "y": y, "width": w, "height": h, "fill": TONES[of],
                                "fill-opacity": fill, "stroke": TONES[of], "stroke-width": 1})  # fmt: skip
            if value:
                self.text(x + i * w + w / 2, y + h / 2 + 4, value, size=NOTE)

    def circle(self, x: float, y: float, r: float, sign: str = "", tone: str = "soft", fill: float = 0.1) -> None:
        """A circle, with a sign in it."""
        self._mark("circle", {"cx": x, "cy": y, "r": r, "fill": TONES[tone], "fill-opacity": fill,
                              "stroke": TONES[tone], "stroke-width": 1.4})  # fmt: skip
        if sign:
            self.text(x, y + 4.5, sign, bold=True)

    def line(self, *points: Point, tone: str = "soft", dashed: bool = False, width: float = 1.4) -> None:
        """A line through points."""
        path = "M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in points)
        looks = {"d": path, "stroke": TONES[tone], "stroke-width": width, "fill": "none", "stroke-linejoin": "round"}
        self._mark("path", looks | ({"stroke-dasharray": "5 4"} if dashed else {}))

    def arrow(self, *points: Point, tone: str = "soft", dashed: bool = False, width: float = 1.4) -> None:
        """A line through points with a head at the last one."""
        (x0, y0), (x, y) = points[-2:]
        length = math.hypot(x - x0, y - y0)
        ux, uy = (x - x0) / length, (y - y0) / length
        self.line(*points[:-1], (x - 6 * ux, y - 6 * uy), tone=tone, dashed=dashed, width=width)
        wings = [(x, y), (x - 8 * ux - 4 * uy, y - 8 * uy + 4 * ux), (x - 8 * ux + 4 * uy, y - 8 * uy - 4 * ux)]
        path = "M" + "L".join(f"{_short(a)} {_short(b)}" for a, b in wings) + "Z"
        self._mark("path", {"d": path, "fill": TONES[tone]})

    def svg(self, title: str, description: str) -> str:
        """The drawing as one `<svg>` that says what it shows. It has no ids, so that a page may hold any number."""
        w, h = _short(self.width), _short(self.height)
        limits = f"min-width:{_short(0.88 * self.width)}px;max-width:{_short(1.15 * self.width)}px"
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}" '
                f'viewBox="0 0 {w} {h}" style="{limits}">')  # fmt: skip
        said = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        return head + said + "".join(self.marks) + "</svg>"

    def _mark(self, tag: str, looks: dict[str, object], words: str = "") -> None:
        given = " ".join(f'{name}="{_short(v) if isinstance(v, float) else v}"' for name, v in looks.items())
        self.marks.append(f"<{tag} {given}>{escape(words, quote=False)}</{tag}>" if words else f"<{tag} {given}/>")


def _short(number: float) -> str:
    return f"{round(number, 2):g}"
