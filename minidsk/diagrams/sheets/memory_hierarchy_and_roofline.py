"""A chip's memories, and the roof that they and its arithmetic put over every kernel."""

from __future__ import annotations

import math

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

BANDWIDTH, RATE = 3.35, 989.0  # of an H100 (SXM), from its datasheet: TB/s, and TFLOP/s of bf16 matrices
RIDGE = RATE / BANDWIDTH  # operations per byte
SOFTMAX = 5 / 4  # operations per byte: five on a bf16 number that is read and written
PRODUCT = 8192 / 3  # of bf16 matrices of 8,192 x 8,192: 2 n^3 operations on 3 * 2 n^2 bytes


def _x(intensity: float) -> float:
    return 388 + 252 * (math.log2(intensity) + 1) / 13


def _y(speed: float) -> float:
    return 290 - 230 * (math.log10(speed) - 0) / 3.3


def _draw(pen: Pen) -> None:
    pen.region(16, 10, 300, 330, "Four memories of an H100")
    for i, (name, size, note) in enumerate((
        ("registers", "in all: 132 SMs × 256 KB", "each thread has its own part"),
        ("shared memory", "in all: 132 SMs × 228 KB", "each program has its own part"),
        ("L2 cache", "50 MB", "all SMs share it"), ("memory (HBM)", "80 GB", "it holds all tensors"),
    )):  # fmt: skip
        half, top = 94 + 13 * i, 37 + 76 * i
        pen.box(166 - half, top, 2 * half, 58, name, size, note, tone="kept", fill=0.3 - 0.07 * i)
        if i:
            pen.arrow((166, top), (166, top - 18), tone="kept")
    pen.text(176, 260, "3.35 TB/s", anchor="start", size=11.5, bold=True, tone="kept")

    pen.region(332, 10, 332, 330, "The roofline")
    pen.line((388, 60), (388, 290), (640, 290))
    for speed in (1, 10, 100, 1000):
        pen.text(382, _y(speed) + 4, f"{speed:,}", size=10.5, tone="soft", anchor="end")
    for intensity in (1, 16, 256, 4096):
        pen.text(_x(intensity), 305, f"{intensity:,}", size=10.5, tone="soft")
    pen.text(388, 50, "TFLOP/s", size=10.5, tone="soft")
    pen.text(640, 324, "operations per byte", size=11.5, tone="soft", anchor="end")
    pen.line((_x(0.5), _y(0.5 * BANDWIDTH)), (_x(RIDGE), _y(RATE)), tone="kept", width=2.4)
    pen.line((_x(RIDGE), _y(RATE)), (640, _y(RATE)), tone="learns", width=2.4)
    pen.line((_x(RIDGE), _y(RATE)), (_x(RIDGE), 290), dashed=True)
    pen.text(_x(RIDGE) + 5, 280, f"ridge: {RIDGE:.0f}", size=11.5, anchor="start")
    pen.text(640, _y(RATE) - 8, f"arithmetic: {RATE:.0f}", size=11.5, tone="learns", anchor="end")
    pen.text(404, 136, "memory:", size=11.5, tone="kept", anchor="start")
    pen.text(404, 151, "3.35 × x", size=11.5, tone="kept", anchor="start")
    pen.circle(_x(SOFTMAX), _y(SOFTMAX * BANDWIDTH), 5, tone="kept", fill=0.9)
    pen.text(
        _x(SOFTMAX) + 12, _y(SOFTMAX * BANDWIDTH) + 10, f"softmax: {SOFTMAX * BANDWIDTH:.1f}", size=11.5, anchor="start"
    )
    pen.circle(_x(PRODUCT), _y(RATE), 5, tone="learns", fill=0.9)
    pen.text(640, _y(RATE) + 20, "product,", size=11.5, anchor="end")
    pen.text(640, _y(RATE) + 35, "8,192²", size=11.5, anchor="end")


FIGURE = Diagram(
    "The memories of a chip, and the roofline",
    "Left, four memories of an H100, from small and near to large and far. Registers: in all, 132 multiprocessors "
    "(SMs) times 256 KB; each thread has its own part. Shared memory: in all, 132 times 228 KB; each program has its "
    "own part. The L2 cache: 50 MB, which all SMs share. The memory: 80 GB, which holds all tensors and delivers "
    "3.35 TB per second. Right, the roofline: speed in TFLOP/s "
    "against operations per byte, both logarithmic. It rises by 3.35 per operation and byte up to the ridge at "
    f"{RIDGE:.0f}, and is flat at {RATE:.0f} from there on. Softmax, with {SOFTMAX} operations per byte, lies on the "
    f"slope at {SOFTMAX * BANDWIDTH:.1f} TFLOP/s at best; a product of two matrices of 8,192 by 8,192, with "
    f"{PRODUCT:,.0f} operations per byte, lies under the flat part.",
    "Left of the ridge a kernel waits for memory, right of it for arithmetic. Sizes and rates are the datasheet’s; the "
    "chapter measures its own.",
    680, 352, _draw,
)  # fmt: skip
