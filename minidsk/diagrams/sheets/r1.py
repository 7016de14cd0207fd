"""R1: four stages from one base, and what the second and the third make of the same four answers."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen
from minidsk.presets import nano
from minidsk.rl.harvest import Thoughts
from minidsk.rl.stages import FineTuning, Reinforcement

_NANO = nano()
_REASONING, _REJECTION, _ALL = _NANO.r1_in_full[3:]
assert isinstance(_REASONING, Reinforcement)
assert isinstance(_REJECTION, FineTuning)
assert isinstance(_ALL, Reinforcement)
assert isinstance(_REJECTION.thoughts, Thoughts)
WEIGHTS = dict(_REASONING.config.rewards)
"""What the second stage pays for, in the recipe of R1 in full: each reward with its weight."""
THOUGHTS = (
    ("3+7-8=10-8=2?4 no", "8-(7-3)=8-4=4?4 yes"),
    ("3+7-8=10-8=2?4 不对", "8-(7-3)=8-4=4?4 yes"),
    ("3+7-8=10-8=2?4 no",) * 2 + ("8-(7-3)=8-4=4?4 yes",),
    ("3+7-8=10-8=2?4 no",),
)
"""A readable thought, one in two languages, one that says a line twice, and one that finds nothing."""
ANSWERS = ("8-(7-3)", "8-(7-3)", "8-(7-3)", "3+7-8")
REPLIES = tuple(f"<think>{chr(10).join(lines)}</think><answer>{answer}</answer>"
                for lines, answer in zip(THOUGHTS, ANSWERS, strict=True))  # fmt: skip
PAID = {"accuracy": (1, 1, 1, 0), "well_formed": (1, 1, 1, 1), "language": (1, 0.5, 1, 1)}
SUMS = (1.4, 1.3, 1.4, 0.4)
ADVANTAGES = ("+0.6", "+0.4", "+0.6", "−1.5")
KEPT = (True, False, False, False)
_COLUMNS, _WIDE = (140, 272, 404, 536), 114
_STAGES = (("1  Cold start", "SFT on a few", "good thoughts"), ("2  GRPO", "reward for", "reasoning"),
           ("3  SFT", "on answers that", "pass a filter"), ("4  GRPO", "reward for all", "kinds of prompts"))
_ROWS = (
    ("to get", ("readable", "thoughts"), ("right answers in", "one language"), ("pages that need", "no thought, too"),
     ("answers that", "people like, too")),
    ("DeepSeek", ("thousands of", "thoughts"), ("rules, and the", "share of words"),
     ("600,000 thoughts,", "200,000 others"), ("rules, and reward", "models elsewhere")),
    ("here", (f"{_NANO.cold_examples} thoughts of", "a careful author"),
     ("form and language", f"{WEIGHTS['well_formed']} each"),
     (f"{_REJECTION.thoughts.count:,} thoughts,", f"{_REJECTION.pages} pages"),
     (f"{_ALL.kinds[_NANO.task]:.0%} sums,".replace("%", " %"), f"{_ALL.kinds['pages']:.0%} pages".replace("%", " %"))),
)  # fmt: skip


def _draw(pen: Pen) -> None:
    pen.region(16, 10, 648, 268, "Four stages: the weights go along the solid arrows", tone="learns")
    pen.box(28, 44, 84, 62, "Base", "has read", "the web", tone="frozen")
    for x, lines in zip(_COLUMNS, _STAGES, strict=True):
        pen.box(x, 44, _WIDE, 62, *lines, tone="learns")
    pen.arrow((112, 75), (140, 75))
    pen.arrow((254, 75), (272, 75))
    pen.arrow((386, 75), (404, 75), tone="judged", dashed=True)
    pen.arrow((518, 75), (536, 75))
    pen.arrow((70, 106), (70, 128), (461, 128), (461, 106))
    pen.notes(265, 122, "the base again", anchor="middle")
    pen.notes(480, 132, "dashed: sampled answers", tone="judged")
    for number, (name, *columns) in enumerate(_ROWS):
        y = 162 + 42 * number
        pen.text(28, y + 7, name, bold=True, anchor="start", size=12.5)
        for x, told in zip(_COLUMNS, columns, strict=True):
            pen.notes(x + _WIDE / 2, y, *told, tone="ink", anchor="middle")

    pen.region(16, 292, 648, 270, "Make 4 from 3, 7 and 8: one group, as stages 2 and 3 see it", tone="judged")
    for x, name in zip((240, 296, 356), ("right", "form", "language"), strict=True):
        pen.notes(x, 346, name, anchor="middle")
    pen.notes(440, 331, "2: reward,", "advantage", anchor="middle", tone="judged")
    pen.notes(576, 346, "3: kept?", anchor="middle", tone="judged")
    why = ("yes", "no: two languages", "no: a line twice", "no: wrong")
    y = 358
    for row, tried in enumerate(THOUGHTS):
        high = 15 * len(tried) + 12
        pen.text(28, y + high / 2 + 4, "abcd"[row], bold=True, anchor="start")
        for number, line in enumerate(tried):
            pen.text(48, y + 18 + 15 * number, f"`{line}", anchor="start", size=11.5)
        middle = y + high / 2
        for x, name in zip((240, 296, 356), PAID, strict=True):
            paid = PAID[name][row]
            pen.cells(x - 20, middle - 12, (f"{paid:g}",), w=40, h=24, tone="judged" if paid == 1 else "soft")
        pen.cells(392, middle - 12, (f"{SUMS[row]:g}",), w=40, h=24, tone="judged" if row < 3 else "soft")
        good = ADVANTAGES[row][0] == "+"
        pen.cells(432, middle - 12, (ADVANTAGES[row],), w=56, h=24, tone="judged" if good else "wrong")
        pen.cells(514, middle - 12, (why[row],), w=124, h=24, tone="judged" if KEPT[row] else "wrong")
        y += high + 8


FIGURE = Diagram(
    "R1: four stages, and four answers in two of them",
    "Four stages. One, the cold start: supervised fine-tuning (SFT) of the base on a few good thoughts, to get "
    "readable ones; DeepSeek used thousands of examples, the experiment here "
    f"{_NANO.cold_examples} thoughts of a careful author. Two, GRPO with a reward for reasoning, to get right answers "
    "in one language; DeepSeek had rules and the share of words in the right language, here a right form and the "
    f"language count {WEIGHTS['well_formed']} each beside 1 for a right answer. Three, SFT of the base again, on "
    "answers of stage two that pass a filter, and on texts that need no thought: 600,000 and 200,000 for DeepSeek, "
    f"{_REJECTION.thoughts.count:,} thoughts and {_REJECTION.pages} pages here. Four, GRPO on all kinds of prompts, "
    "with rules, and with reward models where no rule can judge; here "
    f"{_ALL.kinds[_NANO.task]:.0%} sums and {_ALL.kinds['pages']:.0%} pages. Below, four answers to one problem. "
    "Answer a is right and readable: stage two pays 1.4 (advantage +0.6), stage three keeps it. Answer b is right and "
    "mixes two languages: 1.3 (+0.4), not kept. Answer c is right and says a line twice: 1.4 (+0.6), not kept. Answer "
    "d is wrong: 0.4 (-1.5), not kept.",
    f"Above, the stages, with DeepSeek’s data (arXiv:2501.12948) and those of our experiment. Below, what mixed "
    f"languages cost: in stage 2 a tenth of a point of the reward, because language counts {WEIGHTS['language']} "
    "there, and in stage 3 the place among the examples.",
    680, 574, _draw,
)  # fmt: skip
