"""REINFORCE, PPO and GRPO side by side: with whom a reply is compared."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

VALUES = (0.4, 0.5, 0.8)  # what the critic expects before each of three tokens
MEAN = 0.4  # of all rewards so far
GROUP = (1.5, -0.5, -0.5, -0.5)  # rewards 1, 0, 0, 0, less their mean, over their deviation


def _reply(pen: Pen, x: float, y: float, note: str = "reward") -> None:
    pen.cells(x, y, ("8−4", "=4", "yes"), w=34)
    pen.arrow((x + 102, y + 11), (x + 126, y + 11), tone="judged")
    pen.circle(x + 139, y + 11, 13, "1", tone="judged", fill=0.25)
    pen.text(x + 139, y - 8, note, size=11.5, tone="soft")


def _draw(pen: Pen) -> None:
    titles = ("REINFORCE", "PPO", "GRPO")
    judges = ("one number", "a critic network", "its own group")
    for i, (title, judge) in enumerate(zip(titles, judges, strict=True)):
        x = 16 + 220 * i
        pen.region(x, 10, 208, 418, title)
        pen.text(x + 12, 50, f"judge: {judge}", anchor="start", size=11.5, tone="soft")
        _reply(pen, x + 22, 84)
        pen.text(x + 12, 284, "advantage of each token", anchor="start", size=11.5, tone="soft")

    pen.box(28, 140, 184, 92, "mean reward so far", f"{MEAN}", "the same for easy", "and for hard problems")
    pen.text(120, 254, f"A = 1 − {MEAN}", size=11.5)
    pen.cells(57, 294, [f"+{1 - MEAN:.1f}"] * 3, w=42, tone="judged")

    pen.box(248, 150, 184, 54, "critic", "as large as the policy", tone="learns")
    for k in range(3):
        pen.arrow((298 + 42 * k, 204), (298 + 42 * k, 222), tone="learns")
    pen.cells(277, 226, [f"{v}" for v in VALUES], w=42, tone="learns")
    pen.text(268, 241, "V", anchor="end", size=11.5)
    pen.text(340, 264, "A = 1 − V, token by token", size=11.5)
    pen.cells(277, 294, [f"+{1 - v:.1f}" for v in VALUES], w=42, tone="judged")

    for k in range(3):
        y = 132 + 30 * k
        pen.cells(478, y, (("8+4", "=12", "no"), ("8·4", "=32", "no"), ("8÷4", "=2", "no"))[k], w=34)
        pen.arrow((580, y + 11), (604, y + 11))
        pen.circle(617, y + 11, 12, "0", fill=0.1)
    pen.text(560, 244, "three more replies to", size=11.5)
    pen.text(560, 260, "the same problem", size=11.5)
    pen.cells(497, 294, [f"+{GROUP[0]}"] * 3, w=42, tone="judged")
    pen.text(560, 334, "the other three: −0.5", size=11.5, tone="soft")

    for i, (memory, weak) in enumerate((
        (("policy",), ("blames and praises", "by problem, not by reply")),
        (("policy + critic", "(+ reward model)"), ("a critic must be learned,", "and it errs at first")),
        (("policy",), ("no signal where all are", "right, or all wrong")),
    )):  # fmt: skip
        x = 28 + 220 * i
        pen.text(x, 360, "learns:", anchor="start", size=11.5, bold=True)
        pen.notes(x + 54, 360, *memory[:1], tone="ink")
        pen.text(x, 384, "weak:", anchor="start", size=11.5, bold=True)
        pen.notes(x, 400, *weak, tone="soft")


FIGURE = Diagram(
    "Who judges a reply: REINFORCE, PPO and GRPO",
    "Three columns with the same right reply of three tokens and reward 1. REINFORCE compares it with one number, "
    f"the mean reward so far, {MEAN}, the same for easy and hard problems: every token has the advantage +0.6. PPO "
    f"has a critic, a network as large as the policy, which expects {VALUES[0]}, {VALUES[1]} and {VALUES[2]} before "
    "the three tokens: their advantages are +0.6, +0.5 and +0.2. GRPO samples three more replies to the same "
    "problem, all wrong: the right reply has the advantage +1.5 on every token, the others -0.5. Policy and critic "
    "learn in PPO, the policy alone in the other two. Weak points: REINFORCE praises and blames by problem instead "
    "of by reply; PPO's critic must be learned and errs at first; GRPO has no signal where all replies are right, "
    "or all wrong.",
    "One right reply, three judges. The advantages are before clipping and whitening; PPO's are with γ = λ = 1, "
    "GRPO's are divided by the group's standard deviation, ½.",
    680, 438, _draw,
)  # fmt: skip
