"""R1-Zero: one loop without a human example, and what five rewards pay for the same four answers."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen
from minidsk.presets import nano

_RL = nano().zero
CAP = 40  # tokens, in the recorded grid
REPLIES = (
    "<think>7-(8-4)=7-4=3?19 no\n8+4+7=12+7=19?19 yes</think><answer>8+4+7</answer>",
    "<think>4+7+8=11+8=19?19 yes</think><answer>4+7+8</answer>",
    "<think>7-4+8=3+8=11?19 no</think><answer>7-4+8</answer>",
    "<think>8+7+4=15+4=10?19 no\n8+7-4=15-4=11?19 no\n8-7+4=1+4=5?19 ",
)
"""Chapter 14's A to D: a second try that is right, a right one at once, a wrong one, and one that is cut off."""
TOKENS = (50, 30, 28, 56)  # the end is one; the last has none
PAID = {"right": (1, 1, 0, 0), "wrong": (0, 0, 1, 0), "random": (1, 1, 0, 1), "format": (1, 1, 1, 0),
        "capped": (0, 1, 0, 0)}  # fmt: skip
"""What each reward pays for the four; `random` is the chapter's coin."""
ADVANTAGES = {"right": ("+0.9", "+0.9", "−0.9", "−0.9"), "wrong": ("−0.5", "−0.5", "+1.5", "−0.5"),
              "random": ("+0.5", "+0.5", "−1.5", "+0.5"), "format": ("+0.5", "+0.5", "+0.5", "−1.5"),
              "capped": ("−0.5", "+1.5", "−0.5", "−0.5")}  # fmt: skip
_FOR = (("a right", "answer"), ("a complete", "wrong one"), ("heads", "of a coin"), ("a complete", "answer"),
        ("a right one", f"in {CAP} tokens"))  # fmt: skip
_SAID = (("A", "wrong, then right"), ("B", "right at once"), ("C", "wrong"), ("D", "is cut off"))
_LEFT, _WIDE, _TOP, _HIGH = 238, 84, 226, 34


def _draw(pen: Pen) -> None:
    pen.box(16, 16, 184, 70, "Problem", "make 19 from 8, 4 and 7", "no example is shown")
    pen.box(248, 16, 184, 70, "Policy", "at first the base model,", "then itself", tone="learns")
    pen.box(480, 16, 184, 70, "Group of answers", f"{_RL.group} samples, 4 shown below", tone="kept")
    pen.arrow((200, 51), (248, 51))
    pen.arrow((432, 51), (480, 51))

    pen.region(16, 112, 648, 264, "Who judges? One of five rewards")
    pen.arrow((572, 86), (572, 112))
    for column, (name, what) in enumerate(zip(PAID, _FOR, strict=True)):
        x = _LEFT + _WIDE * column + 38
        pen.text(x, 164, name, bold=True, tone="judged" if name == "right" else "ink")
        pen.notes(x, 184, *what, anchor="middle")
    pen.text(224, 199, "tokens", anchor="end", size=11.5, tone="soft")
    for row, ((letter, said), tokens) in enumerate(zip(_SAID, TOKENS, strict=True)):
        y = _TOP + _HIGH * row
        pen.text(34, y + 16, letter, bold=True, anchor="start")
        pen.text(52, y + 16, said, anchor="start", size=12.5)
        pen.text(224, y + 16, f"{tokens}", anchor="end", size=11.5, tone="soft")
        for column, name in enumerate(PAID):
            paid, advantage = PAID[name][row], ADVANTAGES[name][row]
            x = _LEFT + _WIDE * column
            pen.cells(x, y, (str(paid),), w=26, h=24, tone="judged" if paid else "soft", fill=0.3 if paid else 0.06)
            pen.cells(x + 26, y, (advantage,), w=50, h=24, tone="judged" if advantage[0] == "+" else "wrong")

    pen.box(248, 402, 416, 70, "One update of GRPO, the same for all five", "tokens of answers with + become likelier,",
            "tokens of answers with − less likely", tone="learns")  # fmt: skip
    pen.arrow((456, 376), (456, 402), tone="judged")
    pen.line((248, 437), (6, 437), (6, 100), tone="learns")
    pen.arrow((6, 100), (340, 100), (340, 86), tone="learns")
    pen.notes(24, 456, "next problem, next group", tone="learns")


FIGURE = Diagram(
    "R1-Zero: one loop, five rewards",
    "A circle: a problem (make 19 from 8, 4 and 7, without an example), the policy, which is the base model at first, "
    f"a group of {_RL.group} answers, a judge, one update of GRPO, and back to the policy. Below, four answers and "
    "what five rewards pay for each, with the advantages within the four. Answer A is wrong once and then right, in "
    f"{TOKENS[0]} tokens; B is right at once, in {TOKENS[1]}; C is wrong and complete; D is cut off at "
    f"{TOKENS[3]} tokens. The reward right pays A and B (advantage +0.9; C and D -0.9). Wrong pays C alone (+1.5, the "
    "others -0.5). Random pays by a coin, here A, B and D (+0.5; C -1.5). Format pays the complete answers A, B "
    f"and C (+0.5; D -1.5). Capped is the reward right with answers cut at {CAP} tokens, so it pays B alone (+1.5, "
    "the others -0.5). The update raises the tokens of answers with a positive advantage and lowers the others.",
    "Five rewards, one loop. Left in each pair is the reward, right the advantage within these four answers. No reward "
    "asks how an answer was found, but capped cannot pay for a second try that came too late.",
    680, 488, _draw,
)  # fmt: skip
