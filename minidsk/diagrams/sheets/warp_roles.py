"""What multiplies and what adds, over time: warps that all do the same, and groups of warps that take turns."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

PRODUCT, ADDING = 104, 38  # of one group of 64 rows by 128 of the inner dimension; not to scale
LEFT = 138


def _lane(pen: Pen, y: float, name: str) -> None:
    pen.text(28, y + 19, name, size=11.5, anchor="start")
    pen.line((LEFT, y + 33), (652, y + 33), tone="line")


def _draw(pen: Pen) -> None:
    pen.region(16, 10, 648, 136, "All warps do the same (Triton)")
    for y, name in ((40, "tensor cores"), (78, "ordinary units")):
        _lane(pen, y, name)
    step = PRODUCT + ADDING
    for i in range(3):
        x = LEFT + i * step
        pen.box(x, 42, PRODUCT, 28, f"product {i + 1}", tone="learns")
        pen.box(x + PRODUCT, 42, ADDING, 28, tone="wrong", dashed=True, fill=0.03)
        pen.box(x + PRODUCT, 80, ADDING, 28, f"+{i + 1}", tone="kept")
    pen.notes(LEFT, 134, "dashed: the tensor cores wait")

    pen.region(16, 160, 648, 214, "Groups of warps take turns (Gluon)")
    for y, name in ((190, "copying warp"), (228, "tensor cores"), (266, "ordinary units")):
        _lane(pen, y, name)
    pen.box(LEFT, 192, 3 * PRODUCT, 28, "requests block 2", fill=0.06)
    pen.box(LEFT + 3 * PRODUCT, 192, 202, 28, "requests block 3", fill=0.06)
    for i, turn in enumerate(("A1", "B1", "C1", "A2")):
        x = LEFT + i * PRODUCT
        pen.box(x, 230, PRODUCT, 28, f"product {turn}", tone="learns")
        pen.box(x + PRODUCT, 268, ADDING, 28, f"+{turn}", tone="kept")
    pen.notes(LEFT, 324, "A, B, C: groups of four warps. 1, 2: blocks of 128 of the inner dimension.",
              "+A1: group A scales its first partial sum and adds it to its total.")  # fmt: skip
    pen.text(652, 362, "time →", size=11.5, anchor="end", tone="soft")


FIGURE = Diagram(
    "Warps with roles",
    "Two timelines. Above, all warps do the same: the tensor cores compute a product of 128 of the inner dimension, "
    "then wait while the ordinary units scale and add it, then compute the next one. Below, one warp only requests "
    "copies, and three groups of warps, A, B and C, take turns at the tensor cores: while the ordinary units scale "
    "and add A's product, the tensor cores compute B's, so that they never wait.",
    "Within one program, if all warps do the same, the tensor cores wait during each addition. If groups take turns, "
    "one group adds while the next one's product runs. Not to scale.",
    680, 386, _draw,
)  # fmt: skip
