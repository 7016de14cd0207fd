"""Three ways to teach a small model: a teacher's thoughts, a reward, and a teacher's grades for each token."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

TOKENS = ("8", "−", "7", "+", "3", "=", "5")
STUDENT = (0.5, 0.5, 0.4, 0.8, 0.9, 0.9, 0.6)
TEACHER = (0.5, 0.8, 0.4, 0.8, 0.9, 0.9, 0.06)
"""A line that the student wrote, and how likely each of its tokens was to the student and to the teacher."""
GAMMA = 0.5
GRADES = ("0", "+0.47", "0", "0", "0", "0", "−2.30")
FOLLOWED = ("+0.20", "+0.40", "−0.14", "−0.29", "−0.58", "−1.15", "−2.30")
REWARDS = (1, 0, 0, 0)
BLAME = "−0.5"
"""Grades, the same with those of later tokens, and what GRPO gives this answer, the last of four with `REWARDS`."""
_LEFT, _WIDE, _HIGH = 250, 56, 26


def _way(pen: Pen, y: float, title: str, *steps: tuple[str, str, str]) -> None:
    """One row: its title, and three boxes, each with a label, a note and a tone."""
    pen.region(16, y, 648, 82, title)
    for i, (label, note, tone) in enumerate(steps):
        pen.box(28 + 216 * i, y + 28, 192, 46, label, note, tone=tone)
    pen.arrow((220, y + 51), (244, y + 51))
    pen.arrow((436, y + 51), (460, y + 51), tone="judged")


def _row(pen: Pen, y: float, name: str, note: str, values: tuple[str, ...], *tones: str, fill: float = 0.16) -> None:
    pen.text(238, y + 12 if note else y + 18, name, anchor="end", size=12.5)
    if note:
        pen.text(238, y + 25, note, anchor="end", size=10.5, tone="soft")
    pen.cells(_LEFT, y, values, w=_WIDE, h=_HIGH, tones=tones, fill=fill)


def _signs(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("judged" if v[0] == "+" else "wrong" if v[0] == "−" else "soft" for v in values)


def _draw(pen: Pen) -> None:
    student, update = ("Student answers", "and makes its own mistakes", "learns"), "learns"
    _way(pen, 10, "Thoughts", ("Teacher answers", "its own way", "frozen"),
         ("Verifier", "keeps the right answers", "judged"), ("Student copies", "each token of a kept answer", update))
    _way(pen, 100, "Reward", student, ("Verifier", "1 or 0, one for all tokens", "judged"),
         ("Student moves", "all tokens alike", update))
    _way(pen, 190, "Grades", student, ("Teacher", "a grade for each token", "frozen"),
         ("Student moves", "each token by its grade", update))  # fmt: skip

    pen.text(16, 296, "Make 12 from 8, 7 and 3: a line that the student wrote", bold=True, anchor="start")
    learns, frozen = ("learns",) * 7, ("frozen",) * 7
    _row(pen, 308, "token", "", TOKENS, *("soft",) * 7, fill=0.06)
    _row(pen, 342, "student's probability", "", tuple(f"{p:g}" for p in STUDENT), *learns)
    _row(pen, 376, "teacher's probability", "", tuple(f"{q:g}" for q in TEACHER), *frozen)
    _row(pen, 410, "grade", "log teacher − log student", GRADES, *_signs(GRADES))
    _row(pen, 444, "with later grades", f"each step further: times {GAMMA:g}", FOLLOWED, *_signs(FOLLOWED))
    _row(pen, 478, "by reward instead", "it got 0, one of four got 1", (BLAME,) * 7, *_signs((BLAME,) * 7))


FIGURE = Diagram(
    "Three ways to teach a small model",
    "Three rows of three boxes. Thoughts: the teacher answers, a verifier keeps the right answers, and the student "
    "copies each token of a kept answer. Reward: the student answers, a verifier says 1 or 0, once for all tokens, "
    "and the student moves all tokens alike. Grades: the student answers, the teacher gives a grade for each token, "
    "and the student moves each token by its grade. Below, the problem make 12 from 8, 7 and 3, and a line that the "
    "student wrote: 8−7+3=5, whose last token is wrong. The student's probabilities are 0.5, 0.5, 0.4, 0.8, 0.9, 0.9 "
    "and 0.6; the teacher's are the same but for 0.8 at the second token and 0.06 at the last. The grade, log teacher "
    "minus log student, is +0.47 at the second token, −2.30 at the last, and 0 elsewhere. With the grades of later "
    "tokens, each step further times 0.5, the advantages are +0.20, +0.40, −0.14, −0.29, −0.58, −1.15 and −2.30. By "
    "reward, where one answer of four was right, each token of this one has advantage −0.5.",
    "Who answers, and who judges? The teacher's grades find the token that is wrong; the reward blames all seven "
    "alike, but it knows for certain that the answer is wrong, and it needs no teacher. Probabilities are made up.",
    680, 516, _draw,
)  # fmt: skip
