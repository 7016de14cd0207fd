"""Eight-bit numbers with a scale for each block, and products that are promoted to float32 in time."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

VALUES = (0.5, -3.5, 1.75, 0.25)  # of a block, here of four
LARGEST = 448  # of E4M3
SCALE = max(map(abs, VALUES)) / LARGEST
CODES = [round(v / SCALE) for v in VALUES]


def _signed(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _draw(pen: Pen) -> None:
    pen.region(16, 10, 648, 106, "One block: the largest value becomes 448")
    pen.text(112, 48, "values", size=11.5, tone="soft")
    pen.cells(28, 60, [_signed(v) for v in VALUES], w=42, h=26)
    pen.arrow((204, 73), (236, 73))
    pen.box(240, 48, 176, 50, "scale = largest / 448", f"3.5 / 448 = 1 / {1 / SCALE:.0f}", tone="kept")
    pen.arrow((420, 73), (452, 73))
    pen.text(544, 48, "codes: 8 bits each (E4M3)", size=11.5, tone="soft")
    pen.cells(460, 60, [_signed(c) for c in CODES], w=42, h=26, tone="learns")

    pen.region(16, 130, 316, 250, "Where the blocks lie")
    pen.text(92, 172, "activations", size=11.5)
    for row in range(6):
        pen.cells(32, 182 + 20 * row, [""] * 3, w=40, h=20, tone="learns", fill=0.05 + 0.04 * (row % 2))
    pen.cells(72, 202, [""], w=40, h=20, tone="learns", fill=0.7)
    pen.text(92, 322, "1 × 128: a token’s", size=11.5, tone="soft")
    pen.text(92, 337, "own scale", size=11.5, tone="soft")
    pen.text(244, 172, "weights", size=11.5)
    for row in range(3):
        pen.cells(184, 182 + 40 * row, [""] * 3, w=40, h=40, tone="kept", fill=0.08)
    pen.cells(224, 222, [""], w=40, h=40, tone="kept", fill=0.7)
    pen.text(244, 322, "128 × 128: one scale", size=11.5, tone="soft")
    pen.text(244, 337, "for 16,384 numbers", size=11.5, tone="soft")
    pen.text(174, 366, "filled: one block", size=11.5, tone="soft")

    pen.region(348, 130, 316, 250, "A product, promoted every 128")
    for i, y in enumerate((164, 220, 276)):
        pen.box(360, y, 124, 44, f"{('first', 'second', 'third')[i]} 128", "sum in ~14 bits", tone="learns")
        pen.arrow((484, y + 22), (518, y + 22), tone="kept")
        pen.circle(532, y + 22, 14, "× s", tone="kept")
        pen.arrow((546, y + 22), (578, y + 22), tone="kept")
    pen.box(578, 164, 74, 156, "total", "float32", tone="judged")
    pen.notes(360, 344, "s: both blocks’ scales. The narrow register", "is emptied before it stops counting.")


FIGURE = Diagram(
    "FP8: a scale per block, and promotion",
    "Above, one block, here of four values: 0.5, -3.5, 1.75 and 0.25. Its scale is its largest magnitude divided by "
    f"448, 3.5 / 448 = 1/128, and divided by it the values become the codes {', '.join(map(str, CODES))}, of eight "
    "bits each in the format E4M3. Below on the left, where blocks lie: in activations each is 1 by 128, so that a "
    "token has scales of its own; in weights 128 by 128, one scale for 16,384 numbers. On the right, a product: the "
    "tensor cores add up 128 products at a time in about 14 bits; each such sum is multiplied by the scales s of "
    "both blocks and added to a total in float32.",
    "One loud value spoils only its own block. Along the inner dimension a block is as long as a partial sum, so "
    "scales are applied once per 128 products. Sizes of DeepSeek-V3, and of minidsk.kernels.fp8.",
    680, 392, _draw,
)  # fmt: skip
