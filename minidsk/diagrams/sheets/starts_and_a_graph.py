"""The kernels of one step over time: started one by one from Python, or replayed from a CUDA graph."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

KERNELS, START, KERNEL, LEFT = 7, 80, 22, 78  # widths stand for times, not to scale


def _rows(pen: Pen, top: float) -> None:
    pen.text(16, top + 19, "Python", anchor="start")
    pen.text(16, top + 63, "GPU", anchor="start")


def _draw(pen: Pen) -> None:
    pen.text(16, 24, "1  Python starts every kernel", anchor="start", bold=True)
    _rows(pen, 40)
    for k in range(KERNELS):
        x = LEFT + START * k
        pen.cells(x, 40, [f"start {k + 1}"], w=START - 3, h=28, tone="soft")
        pen.arrow((x + START - 3, 68), (x + START - 3, 84))
        pen.cells(x + START - 3, 84, [f"{k + 1}"], w=KERNEL, h=28, tone="learns", fill=0.3)
    pen.notes(LEFT, 130, "blue: a kernel computes · between two kernels the GPU waits for the next start")

    pen.text(16, 176, "2  The same kernels, replayed from a graph", anchor="start", bold=True)
    _rows(pen, 192)
    pen.cells(LEFT, 192, ["replay"], w=START - 3, h=28, tone="soft")
    pen.arrow((LEFT + START - 3, 220), (LEFT + START - 3, 236))
    pen.cells(LEFT + START - 3, 236, [f"{k + 1}" for k in range(KERNELS)], w=KERNEL, h=28, tone="learns", fill=0.3)
    pen.notes(LEFT + START + KERNELS * KERNEL + 16, 248, "one start for all: kernels follow each other,",
              "and Python is free for something else")  # fmt: skip


FIGURE = Diagram(
    "One step on a GPU, started in two ways",
    f"Two timelines, each with a row for Python and one for the GPU. Above, Python starts {KERNELS} kernels one after "
    "the other; each start takes several times as long as the kernel that it starts, so the GPU waits between any two "
    f"kernels. Below, Python makes one call, replay, and the same {KERNELS} kernels run one directly after the other.",
    "Why small kernels leave a GPU idle, and what a graph changes. Time runs to the right, not to scale.",
    700, 276, _draw,
)  # fmt: skip
