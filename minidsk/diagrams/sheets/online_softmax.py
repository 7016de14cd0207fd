"""A row's maximum and sum of exponentials, block by block, and what the rescaling does."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

BLOCKS = ((2, 0), (3, 1))
SUMS = (1.135, 1.553)  # after each block, relative to the maximum of then: 2, and 3


def _draw(pen: Pen) -> None:
    for x, words in ((16, "memory"), (16, "registers")):
        pen.text(x, 34 if words == "memory" else 100, words, anchor="start", bold=True)
    for x, block, number in ((130, BLOCKS[0], 1), (430, BLOCKS[1], 2)):
        pen.cells(x, 16, [str(value) for value in block], w=40, h=30, tone="kept")
        pen.notes(x + 92, 36, f"block {number}")
        pen.arrow((x + 40, 46), (x + 40, 74), tone="kept")
    pen.box(96, 76, 200, 66, "maximum 2", "sum e⁰ + e⁻² = 1.135", "relative to 2", tone="learns")
    pen.box(396, 76, 268, 96, "maximum 3", "old sum 1.135 × e²⁻³ = 0.418", "new terms e⁰ + e⁻² = 1.135",
            "sum 1.553, relative to 3", tone="learns")  # fmt: skip
    pen.arrow((296, 110), (396, 110), tone="learns")
    pen.text(346, 102, "× e²⁻³", tone="learns", size=12)
    pen.box(96, 196, 568, 40, "second reading: exp(z − 3) / 1.553 for every number, written in its place",
            tone="judged")  # fmt: skip
    pen.arrow((530, 172), (530, 196), tone="judged")


FIGURE = Diagram(
    "A maximum and a sum in one reading",
    "The row 2, 0, 3, 1 in memory, in two blocks of two numbers. A program reads the first block, 2 and 0, and keeps "
    "the maximum 2 and the sum of the exponentials relative to it, 1 + e to the power of -2 = 1.135. Then it reads the "
    "second block, 3 and 1. The maximum becomes 3, so the old sum is multiplied by e to the power of 2 - 3 and "
    "becomes 0.418; the new terms add 1.135, and the sum is 1.553. In a second reading each number becomes exp(z - 3) "
    "divided by 1.553 and is written in its place.",
    "The old sum is not wrong, it is only relative to the old maximum: one factor for the whole sum puts it right.",
    680, 246, _draw,
)  # fmt: skip
