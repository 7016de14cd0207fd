"""Two ways from preferences to a policy: by a reward model and PPO, or by DPO."""

import math

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

CHOSEN, REJECTED = 2.0, 1.0  # scores
PROBABILITY = 1 / (1 + math.exp(REJECTED - CHOSEN))


def _draw(pen: Pen) -> None:
    pen.region(16, 10, 150, 302, "Preferences")
    pen.box(28, 44, 126, 60, "prompt", "Make 4 from 3 7 8.")
    pen.box(28, 122, 126, 50, "chosen", "8−(7−3)=4 yes", tone="judged")
    pen.box(28, 184, 126, 50, "rejected", "3+7+8=18 no", tone="wrong")
    pen.notes(28, 262, "A label says which,", "never how good.")

    pen.region(206, 10, 458, 176, "By a reward model: three networks more")
    pen.box(218, 44, 132, 60, "reward model r", "learns the labels", tone="learns")
    pen.box(378, 44, 126, 60, "PPO", "samples; r scores")
    pen.box(532, 44, 120, 60, "policy", "is rewarded", tone="learns")
    pen.arrow((166, 74), (218, 74))
    pen.arrow((350, 74), (378, 74), tone="judged")
    pen.arrow((504, 74), (532, 74))
    pen.box(378, 126, 126, 48, "critic", "expects", tone="learns")
    pen.box(532, 126, 120, 48, "reference", "KL price", tone="frozen")
    pen.arrow((441, 126), (441, 104))
    pen.arrow((532, 150), (518, 150), (518, 90), (504, 90), tone="frozen")
    pen.notes(218, 126, f"scores {CHOSEN:g} and {REJECTED:g}:", f"σ({CHOSEN - REJECTED:g}) = {PROBABILITY:.3f}",
              f"loss −log = {-math.log(PROBABILITY):.3f}")  # fmt: skip

    pen.region(206, 202, 458, 110, "By DPO: one network more, nothing sampled")
    pen.box(
        218,
        238,
        286,
        60,
        "−log σ(β × margin)",
        "margin = lift(chosen) − lift(rejected)",
        "lift = log policy − log reference",
        tone="learns",
    )
    pen.box(532, 238, 120, 28, "policy", tone="learns")
    pen.box(532, 272, 120, 28, "reference", tone="frozen")
    pen.arrow((166, 268), (218, 268))
    pen.arrow((504, 252), (532, 252), tone="learns")
    pen.arrow((532, 286), (504, 286), tone="frozen")


FIGURE = Diagram(
    "From preferences to a policy: a reward model and PPO, or DPO",
    "On the left, preferences: a prompt, Make 4 from 3 7 8, a chosen reply and a rejected one. Two ways lead to a "
    "policy. The upper one: a reward model r learns the labels, so that scores of 2 and 1 mean that the first is "
    f"preferred with probability sigmoid(1) = {PROBABILITY:.3f}, with loss {-math.log(PROBABILITY):.3f}; PPO samples "
    "replies, scores them with r, and rewards the policy, with a critic that says what was to be expected, and a "
    "frozen reference that the policy pays for leaving. The lower one, DPO: one loss, minus log sigmoid of beta "
    "times the lift of the chosen reply less the lift of the rejected one, where lift is the log-probability under "
    "the policy less that under a frozen reference. Nothing is sampled, and there is no reward model and no critic.",
    "Both ways minimise the same kind of loss, that of a label. The upper one fits a reward and then pursues it; in "
    "DPO the policy is its own reward model, r = β × lift, up to a constant.",
    680, 324, _draw,
)  # fmt: skip
