"""Tree search over the steps of a thought: go down, draw the rest, judge it, and update every step on the way."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

# Three tries were made, one of them right: visits n, worth w. The fourth try is the way drawn in green.
FIRST = (("8+7-3=15-3=12?4 no", 2, 1), ("8+3+7=11+7=18?4 no", 1, 0))


def _node(pen: Pen, x: float, y: float, step: str, n: int, w: int, tone: str = "kept") -> None:
    pen.box(x, y, 184, 44, step, f"n = {n}, w = {w}, Q = {w / n:.2g}", tone=tone)


def _draw(pen: Pen) -> None:
    pen.text(16, 24, "1 select", anchor="start", bold=True)
    pen.text(16, 42, "go down by UCT", anchor="start", size=11.5, tone="soft")
    pen.text(16, 186, "2 expand, roll out", anchor="start", bold=True)
    pen.text(16, 204, "draw the rest", anchor="start", size=11.5, tone="soft")
    pen.text(16, 296, "3 evaluate", anchor="start", bold=True)
    pen.text(16, 372, "4 back up", anchor="start", bold=True)
    pen.text(16, 390, "n + 1, w + worth", anchor="start", size=11.5, tone="soft")

    pen.box(356, 8, 148, 44, "Make 4 from 8 3 7", "n = 3, w = 1", tone="kept")
    pen.line((430, 52), (300, 84), tone="judged", width=2.4)
    pen.line((430, 52), (560, 84))
    _node(pen, 208, 84, FIRST[0][0], FIRST[0][1], FIRST[0][2])
    _node(pen, 468, 84, FIRST[1][0], FIRST[1][1], FIRST[1][2])
    pen.line((300, 128), (220, 164))
    pen.line((300, 128), (300, 164))
    pen.arrow((300, 128), (400, 180), tone="judged", dashed=True, width=2.4)
    pen.line((560, 128), (560, 164))
    for x, worth in ((220, 1), (300, 0), (560, 0)):
        pen.circle(x, 178, 13, f"{worth}", tone="judged" if worth else "soft", fill=0.2)
    pen.notes(582, 178, "the end of a try,", "and its worth")

    pen.box(330, 180, 172, 34, "8-7+3=1+3=4?4 yes", tone="learns", dashed=True)
    pen.arrow((416, 214), (416, 236), tone="learns", dashed=True)
    pen.box(330, 236, 172, 34, "answer: 8-7+3", tone="learns", dashed=True)
    pen.arrow((330, 270), (300, 290), tone="judged")
    pen.arrow((502, 270), (532, 290), tone="judged")
    pen.box(172, 292, 196, 44, "verifier", "training, or a ceiling", tone="judged")
    pen.box(464, 292, 196, 44, "learned reward", "without a verifier", tone="learns")
    pen.line((270, 336), (270, 356), tone="judged")
    pen.line((562, 336), (562, 356), tone="judged")
    pen.line((270, 356), (562, 356), tone="judged")
    pen.arrow((416, 356), (416, 372), tone="judged")
    pen.box(226, 374, 380, 40, "8+7-3=15-3=12?4 no: n = 3, w = 2, Q = 0.67", tone="kept")


FIGURE = Diagram(
    "Tree search over the steps of a thought",
    "A tree for the problem make 4 from 8, 3, 7, after three tries. Each box is a step, which is a line of the "
    "worksheet, with its visits n, its total worth w, and its mean worth Q. The root has n = 3. The step "
    "8+7-3=15-3=12?4 no has n = 2, w = 1, Q = 0.5; the step 8+3+7=11+7=18?4 no has n = 1, w = 0. Select: the fourth "
    "try goes down to 8+7-3=15-3=12?4 no, which has the higher score. Expand and roll out: it draws the rest of the "
    "reply from there, and the beginning is not computed again: 8-7+3=1+3=4?4 yes, and the answer. Evaluate: a judge "
    "says what the reply is worth, the verifier in training, or for the ceiling; a learned reward where there is no "
    "verifier. Back up: each step on the way adds a visit and the worth; 8+7-3=15-3=12?4 no then has n = 3, w = 2, "
    "Q = 0.67.",
    "One try of a tree search. The beginning of a reply is not computed again. Only the judge differs between "
    "training and use. Here, three tries are enough to go down; our searches of thoughts use four.",
    680, 426, _draw,
)  # fmt: skip
