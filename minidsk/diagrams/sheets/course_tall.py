"""The whole course on one page, for a narrow one: the boxes of `course`, one part below the other."""

from dataclasses import replace

from minidsk.diagrams.pen import Pen
from minidsk.diagrams.sheets import course

_LEFT, _RIGHT, _WIDE = 18.0, 186.0, 142.0  # two columns of boxes, and how wide a box is


def _draw(pen: Pen) -> None:
    whole = _RIGHT + _WIDE - _LEFT
    left, right, middle = _LEFT + _WIDE / 2, _RIGHT + _WIDE / 2, _LEFT + whole / 2

    pen.region(8, 10, 330, 396, "I  The base model", tone="learns")
    pen.box(_LEFT, 40, whole, 46, "mined maths", "better pages, round by round")
    pen.box(_LEFT, 108, _WIDE, 46, "text", "tiny web")
    pen.box(_RIGHT, 108, _WIDE, 46, "tokens", "BPE")
    pen.region(_LEFT, 176, whole, 148)
    pen.text(middle, 194, "one network", size=11.5, tone="soft")
    for i, (name, note) in enumerate((
        ("latent attention", "remembers little"), ("mixture of experts", "computes little"),
        ("multi-token prediction", "looks further ahead"),
    )):  # fmt: skip
        pen.box(_LEFT + 10, 202 + 40 * i, whole - 20, 36, tone="learns")
        pen.text(middle, 217 + 40 * i, name, bold=True)
        pen.text(middle, 232 + 40 * i, note, size=10.5, tone="soft")
    pen.box(_LEFT, 346, _WIDE, 48, "pretraining", "predict what follows", tone="learns")
    pen.box(_RIGHT, 346, _WIDE, 48, "base model", "completes documents", tone="frozen")
    pen.arrow((left, 86), (left, 108))
    pen.arrow((_LEFT + _WIDE, 131), (_RIGHT, 131))
    pen.arrow((right, 154), (right, 176))
    pen.arrow((left, 324), (left, 346))
    pen.arrow((_LEFT + _WIDE, 370), (_RIGHT, 370))

    pen.region(8, 434, 330, 178, "II  The machine", tone="kept")
    for i, (name, note) in enumerate((
        ("Triton kernels", "read memory once"), ("expert kernels", "all experts, one launch"),
        ("FP8 and PTX", "8 bits, scaled in blocks"),
    )):  # fmt: skip
        pen.box(_LEFT, 464 + 48 * i, whole, 42, name, note, tone="kept")
    pen.arrow((left, 434), (left, 406), tone="kept")
    pen.text(left + 10, 425, "the same numbers, faster", size=11.5, tone="kept", anchor="start")

    pen.region(8, 632, 330, 322, "III  Reasoning", tone="judged")
    rows = (
        ("games to words", "an answer is a move"), ("human feedback", "the costly road"),
        ("GRPO", "a group judges", "and its variants"), ("R1-Zero", "reward alone"),
        ("distillation", "small from large"), ("R1", "thoughts that one", "can read"),
        ("thinking longer", "votes and search"), ("fast inference", "guess, then verify"),
    )  # fmt: skip
    for i, lines in enumerate(rows):
        tone = {1: "soft", 7: "kept"}.get(i, "judged")
        pen.box((_LEFT, _RIGHT)[i % 2], 662 + 72 * (i // 2), _WIDE, 56, *lines, tone=tone, dashed=i == 1)
    pen.arrow((_LEFT + _WIDE, 690), (_RIGHT, 690))
    pen.arrow((right, 718), (right, 726), (left, 726), (left, 734), tone="judged")
    pen.arrow((_LEFT + _WIDE, 762), (_RIGHT, 762), tone="judged")
    pen.line((_RIGHT + _WIDE, 370), (346, 370), (346, 762), tone="learns")
    pen.arrow((346, 762), (_RIGHT + _WIDE, 762), tone="learns")
    pen.arrow((right, 790), (right, 806), tone="judged")
    pen.arrow((_RIGHT, 834), (_LEFT + _WIDE, 834), tone="judged")
    pen.arrow((left, 862), (left, 878), tone="judged")
    pen.arrow((_LEFT + _WIDE, 906), (_RIGHT, 906), tone="judged")

    pen.arrow((middle, 954), (middle, 976))
    pen.region(8, 976, 330, 146, "IV  Beyond")
    for i, (name, note) in enumerate((
        ("what it cost", "a ledger"), ("real models", "transformers"), ("many GPUs", "one run, split"),
        ("capstone", "your own reasoner"),
    )):  # fmt: skip
        last = i == 3
        pen.box((_LEFT, _RIGHT)[i % 2], 1006 + 56 * (i // 2), _WIDE, 46, name, note,
                tone="judged" if last else "soft", fill=0.25 if last else 0.1)  # fmt: skip


FIGURE = replace(course.FIGURE, width=354, height=1130, draw=_draw)
