"""One step of GRPO as `minidsk.rl` takes it, with the shapes of its tensors."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen
from minidsk.presets import nano

_RL = nano().zero
_P, _G = _RL.prompts, _RL.group


def _draw(pen: Pen) -> None:
    pen.box(16, 16, 176, 80, "Task", f"P = {_P} problems", "with verifiers")
    pen.box(252, 16, 176, 80, "`policy.sample", f"G = {_G} replies to each", "temperature 1", tone="learns")
    pen.box(
        488, 16, 176, 80, "`Completions", f"N = P × G = {_P * _G}", "`tokens, mask [N, T]", "`logp [N, T]", tone="kept"
    )
    pen.arrow((192, 56), (252, 56))
    pen.arrow((428, 56), (488, 56))

    pen.box(16, 140, 176, 80, "Policy", "its weights, now", tone="learns")
    pen.box(
        252, 140, 176, 80, "`policy.logprobs", "the same tokens, now:", "`logp [N, T]", "with gradient", tone="learns"
    )
    pen.box(488, 140, 176, 80, "Verifier", "is the answer right?", "`rewards [P, G]", tone="judged")
    pen.arrow((104, 140), (104, 118), (340, 118), (340, 96), tone="learns")
    pen.arrow((192, 180), (252, 180), tone="learns")
    pen.arrow((576, 96), (576, 140))

    pen.box(16, 264, 176, 80, "One step", "gradient clipped to 1,", "then AdamW", tone="learns")
    pen.box(
        252, 264, 176, 80, "`policy_loss", "ratio = exp(logp − old)", "clipped to 1 ± 0.2", "`loss [ ]", tone="learns"
    )
    pen.box(488, 264, 176, 80, "`group_advantages", "less the row's mean,", "over its deviation", "`advantages [P, G]",
            tone="judged")  # fmt: skip
    pen.arrow((576, 220), (576, 264), tone="judged")
    pen.arrow((488, 318), (428, 318), tone="judged")
    pen.text(458, 334, "`[N]", size=11.5, tone="soft")
    pen.arrow((340, 220), (340, 264), tone="learns")
    pen.line((488, 78), (458, 78), (458, 180), tone="kept")
    pen.arrow((458, 180), (428, 180), tone="kept")
    pen.arrow((458, 180), (458, 284), (428, 284), tone="kept")
    pen.notes(464, 252, "old", tone="kept")
    pen.arrow((252, 304), (192, 304), tone="learns")
    pen.arrow((104, 264), (104, 220), tone="learns")

    pen.region(16, 366, 648, 128, "One row by hand: a problem with G = 4 replies")
    replies = ("a", "b", "c", "d")
    pen.text(95, 408, "`rewards", size=11.5, tone="soft")
    pen.text(288, 408, "`advantages", size=11.5, tone="soft")
    pen.notes(414, 408, "on every token of its reply")
    pen.cells(43, 434, ("1", "0", "0", "0"), tones=("judged", "soft", "soft", "soft"))
    for i, reply in enumerate(replies):
        pen.text(56 + 26 * i, 472, reply, size=11.5, tone="soft")
    pen.arrow((160, 445), (206, 445), tone="judged")
    pen.cells(216, 434, ("+1.5", "−0.5", "−0.5", "−0.5"), w=36, tones=("judged", "wrong", "wrong", "wrong"))
    pen.arrow((373, 445), (402, 445), tone="judged")
    for row, (reply, length) in enumerate(zip(replies, (2, 2, 3, 3), strict=True)):
        value, tone = ("+1.5", "judged") if row == 0 else ("−0.5", "wrong")
        pen.text(418, 429 + 17 * row, reply, size=11.5, tone="soft")
        pen.cells(430, 417 + 17 * row, [value] * length, w=36, h=15, tone=tone)


FIGURE = Diagram(
    "The GRPO loop, with its tensors",
    f"A circle of nine boxes. The task gives P = {_P} problems. policy.sample writes G = {_G} replies to each: "
    f"Completions, with tokens, mask and logp of shape [N, T], where N = P times G = {_P * _G}. The verifier turns "
    "them into rewards of shape [P, G], and group_advantages into advantages of the same shape: reward less the "
    "mean of its row, divided by the row's standard deviation. policy.logprobs computes the log-probability of the "
    "same tokens again, [N, T], with gradient. policy_loss combines them with the old log-probabilities into one "
    "number; one step of AdamW moves the weights of the policy, and the circle begins again. By hand: rewards 1, 0, "
    "0, 0 become advantages +1.5, -0.5, -0.5, -0.5, and each stands on every token of its reply, of 2, 2, 3 and 3 "
    "tokens.",
    "One step of GRPO. Blue boxes use the policy’s weights or move them; the verifier is a rule. P, G and N are "
    f"those of the nano preset: {_P} problems, {_G} replies to each, {_P * _G} replies in a step.",
    680, 508, _draw,
)  # fmt: skip
