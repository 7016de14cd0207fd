"""How a bias that only the choice sees spreads the load over the experts."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

LOAD = (6, 3, 2, 1)  # tokens that each expert was given
MEAN = sum(LOAD) / len(LOAD)
SIGNS = [(n < MEAN) - (n > MEAN) for n in LOAD]
MOVES = {-1: "−0.001", 0: "0", 1: "+0.001"}


def _draw(pen: Pen) -> None:
    pen.box(16, 40, 148, 60, "scores s", "one per expert", "in (0, 1)", tone="learns")
    pen.box(204, 20, 204, 46, "choice: top K of s + b", "the bias decides with", tone="kept")
    pen.box(204, 82, 204, 46, "weights: s / sum", "of the chosen, without b", tone="learns")
    pen.box(
        448,
        40,
        216,
        60,
        "y = Σ weight × expert(x)",
        "gradient flows through",
        "the weights, never through b",
        tone="learns",
    )
    pen.arrow((164, 60), (204, 43), tone="kept")
    pen.arrow((164, 80), (204, 105), tone="learns")
    pen.arrow((408, 105), (448, 84), tone="learns")
    pen.arrow((408, 43), (448, 56))

    pen.region(16, 152, 392, 218, "Count: the load of a step")
    for i, n in enumerate(LOAD):
        x, tone = 72 + 84 * i, ("wrong", "soft", "kept")[SIGNS[i] + 1]
        pen.cells(x, 320 - 20 * n, [""], w=44, h=20 * n, tone=tone, fill=0.35)
        pen.text(x + 22, 314 - 20 * n, f"{n}", size=11.5, bold=True)
        pen.text(x + 22, 338, f"expert {i + 1}", size=11.5, tone="soft")
        pen.text(x + 22, 358, MOVES[SIGNS[i]], bold=True, size=11.5, tone=tone)
    pen.line((124, 260), (148, 260), dashed=True)
    pen.line((208, 260), (408, 260), dashed=True)
    pen.text(400, 252, f"mean {MEAN:g}", size=11.5, tone="soft", anchor="end")
    pen.text(28, 358, "b:", size=11.5, bold=True, anchor="start")

    pen.region(448, 152, 216, 218, "Move: after every step")
    pen.text(556, 206, "`b += 0.001 × sign(", size=11.5)
    pen.text(556, 224, "`mean(load) − load)", size=11.5)
    pen.notes(460, 258, "over the mean: less attractive", tone="wrong")
    pen.notes(460, 276, "under the mean: more attractive", tone="kept")
    pen.notes(460, 308, "By rule, not by gradient;", "the loss is not touched.")
    pen.arrow((408, 340), (448, 340))
    pen.line((664, 260), (673, 260), (673, 10), tone="kept")
    pen.line((673, 10), (306, 10), tone="kept")
    pen.arrow((306, 10), (306, 20), tone="kept")


FIGURE = Diagram(
    "Balancing the load by a bias",
    "Scores s go two ways. The choice takes the top K of s plus a bias b; the weights are the scores of the chosen "
    "experts, divided by their sum, without the bias. So gradient flows through the weights and never through b. "
    f"Below, a step is counted: four experts were given {LOAD[0]}, {LOAD[1]}, {LOAD[2]} and {LOAD[3]} tokens, "
    f"{MEAN:g} on average. After the step each bias moves by 0.001 times the sign of the mean load less its own: the "
    "first, over the mean, by -0.001; the second not at all; the two under the mean by +0.001. The new biases go "
    "back to the choice.",
    "The bias steers who is chosen and changes no output directly. 0.001 is the step of DeepSeek-V3 and of our "
    "pretraining.",
    684, 380, _draw,
)  # fmt: skip
