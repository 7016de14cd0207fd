"""The whole course on one page, from text to a reasoner."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen


def _draw(pen: Pen) -> None:
    pen.region(16, 10, 648, 176, "I  The base model", tone="learns")
    pen.box(28, 42, 92, 56, "text", "tiny web")
    pen.box(144, 42, 92, 56, "tokens", "BPE")
    pen.region(260, 32, 226, 146)
    pen.text(373, 50, "one network", size=11.5, tone="soft")
    for i, (name, note) in enumerate((
        ("latent attention", "remembers little"), ("mixture of experts", "computes little"),
        ("multi-token prediction", "looks further ahead"),
    )):  # fmt: skip
        pen.box(270, 56 + 40 * i, 206, 36, tone="learns")
        pen.text(373, 71 + 40 * i, name, bold=True)
        pen.text(373, 86 + 40 * i, note, size=10.5, tone="soft")
    pen.box(510, 42, 142, 56, "pretraining", "predict what follows", tone="learns")
    pen.box(510, 122, 142, 52, "base model", "completes documents", tone="frozen")
    pen.box(28, 122, 208, 52, "mined maths", "better pages, round by round")
    pen.arrow((120, 70), (144, 70))
    pen.arrow((236, 70), (260, 70))
    pen.arrow((74, 122), (74, 98))
    pen.arrow((486, 70), (510, 70))
    pen.arrow((581, 98), (581, 122))

    pen.region(16, 204, 648, 92, "II  The machine", tone="kept")
    for i, (name, note) in enumerate((
        ("Triton kernels", "read memory once"), ("expert kernels", "all experts, one launch"),
        ("FP8 and PTX", "8 bits, scaled in blocks"),
    )):  # fmt: skip
        pen.box(28 + 212 * i, 236, 200, 48, name, note, tone="kept")
    pen.arrow((373, 204), (373, 178), tone="kept")
    pen.text(383, 198, "the same numbers, faster", size=11.5, tone="kept", anchor="start")

    pen.region(16, 314, 648, 200, "III  Reasoning", tone="judged")
    pen.box(28, 346, 142, 60, "games to words", "an answer is a move", tone="judged")
    pen.box(192, 346, 142, 60, "human feedback", "the costly road", tone="soft", dashed=True)
    pen.box(356, 346, 130, 60, "GRPO", "a group judges", "and its variants", tone="judged")
    pen.box(510, 346, 142, 60, "R1-Zero", "reward alone", tone="judged")
    pen.arrow((170, 376), (192, 376))
    pen.arrow((334, 376), (356, 376), tone="judged")
    pen.arrow((486, 376), (510, 376), tone="judged")
    pen.line((652, 148), (673, 148), (673, 362), tone="learns")
    pen.arrow((673, 362), (652, 362), tone="learns")
    pen.box(510, 438, 142, 60, "R1", "thoughts that one", "can read", tone="judged")
    pen.box(356, 438, 130, 60, "distillation", "small from large", tone="judged")
    pen.box(192, 438, 142, 60, "thinking longer", "votes and search", tone="judged")
    pen.box(28, 438, 142, 60, "fast inference", "guess, then verify", tone="kept")
    pen.arrow((581, 406), (581, 438), tone="judged")
    pen.arrow((510, 468), (486, 468), tone="judged")
    pen.arrow((356, 468), (334, 468), tone="judged")
    pen.arrow((192, 468), (170, 468), tone="judged")

    pen.region(16, 532, 648, 92, "IV  Beyond")
    for i, (name, note) in enumerate((
        ("what it cost", "a ledger"), ("real models", "transformers"), ("many GPUs", "one run, split"),
        ("capstone", "a reasoner of your own"),
    )):  # fmt: skip
        last = i == 3
        pen.box(28 + 152 * i, 564, 168 if last else 140, 48, name, note, tone="judged" if last else "soft",
                fill=0.25 if last else 0.1)  # fmt: skip
    pen.arrow((340, 514), (340, 532))


FIGURE = Diagram(
    "The course on one page: from text to a reasoner",
    "Four parts, one below the other. Part I, the base model: text of the tiny web becomes tokens, which a network "
    "reads that is built of latent attention, a mixture of experts and multi-token prediction; pretraining makes it "
    "a base model, which completes documents; mined maths gives it better pages. Part II, the machine: Triton "
    "kernels, expert kernels, FP8 and PTX compute the same numbers faster. Part III, reasoning: from games to "
    "words, where an answer is a move; human feedback, the costly road that can be left out; GRPO, where a group of "
    "replies judges itself, and its variants. The base model and GRPO make R1-Zero, from reward alone; then follow "
    "R1, whose thoughts one can read, distillation into small models, thinking longer by votes and search, and fast "
    "inference. Part IV, beyond: what it cost, real models, many GPUs, and the capstone, a reasoner of your own.",
    "The way through the course. Blue builds and trains the network, orange makes it faster, green learns from "
    "reward. Human feedback is dashed, because a reasoner whose answers can be checked does not need it.",
    684, 636, _draw,
)  # fmt: skip
