"""The policy gradient in one position of a board game: four outcomes, and their average."""

from fractions import Fraction

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

BOARD = "XX23XO6OO"
CELLS = ("2", "3", "6")
THIRD, SIXTH = Fraction(1, 3), Fraction(1, 6)
OUTCOMES = ((0, 1, THIRD), (1, 0, THIRD), (2, 1, SIXTH), (2, 0, SIXTH))  # move, score, how often
ESTIMATES = [[score * ((a == move) - THIRD) for a in range(3)] for move, score, _ in OUTCOMES]
AVERAGE = [
    sum((often * e[a] for (_, _, often), e in zip(OUTCOMES, ESTIMATES, strict=True)), Fraction(0)) for a in range(3)
]


def _signed(value: Fraction) -> str:
    parts = {Fraction(2, 3): "+⅔", -THIRD: "−⅓", SIXTH: "+⅙", -SIXTH: "−⅙", Fraction(0): "0"}
    return parts[value]


def _draw(pen: Pen) -> None:
    pen.region(16, 10, 196, 290, "X is to move")
    for i, mark in enumerate(BOARD):
        free = mark in CELLS
        pen.cells(42 + 48 * (i % 3), 48 + 48 * (i // 3), [""], w=48, h=48, tone="learns" if free else "soft",
                  fill=0.25 if free else 0.06)  # fmt: skip
        pen.text(66 + 48 * (i % 3), 78 + 48 * (i // 3), mark, bold=not free, size=13 if free else 20,
                 tone="learns" if free else "ink")  # fmt: skip
    pen.text(28, 220, "policy: each move ⅓", size=11.5, anchor="start", bold=True, tone="learns")
    pen.notes(28, 244, "2 wins at once: worth 1", "3 always loses: worth 0", "6 wins half the time: ½")

    pen.region(228, 10, 436, 290, "One game: r × (the move made, less ⅓ for each)")
    for column, name in enumerate(("move", "score r", "of games")):
        pen.text(266 + 68 * column, 54, name, size=11.5, tone="soft")
    for a, cell in enumerate(CELLS):
        pen.text(491 + 54 * a, 54, f"p({cell})", size=11.5, tone="soft")
    for row, ((move, score, often), estimate) in enumerate(zip(OUTCOMES, ESTIMATES, strict=True)):
        y = 66 + 38 * row
        pen.cells(244, y, [CELLS[move]], w=44, h=28, tone="learns")
        pen.circle(334, y + 14, 13, f"{score}", tone="judged" if score else "soft", fill=0.25 if score else 0.05)
        pen.text(402, y + 19, "⅓" if often == THIRD else "⅙", size=13)
        pen.arrow((422, y + 14), (454, y + 14))
        pen.cells(464, y, [_signed(e) for e in estimate], w=54, h=28,
                  tones=["judged" if e > 0 else "wrong" if e < 0 else "soft" for e in estimate])  # fmt: skip
    pen.line((244, 226), (652, 226))
    pen.text(244, 256, "average over all games", bold=True, anchor="start")
    pen.cells(464, 238, [_signed(a) for a in AVERAGE], w=54, h=28, fill=0.35,
              tones=["judged" if a > 0 else "wrong" if a < 0 else "soft" for a in AVERAGE])  # fmt: skip
    pen.notes(244, 286, "= the exact gradient of the expected score: more 2, less 3")


FIGURE = Diagram(
    "The policy gradient in one position",
    "A tic-tac-toe position in which X may move to cell 2, 3 or 6. Cell 2 wins at once and is worth 1; cell 3 "
    "always loses, worth 0; cell 6 wins half of the time. The policy takes each with probability one third. Four "
    "things can happen in a game. Move 2, score 1, in a third of the games: pushes of +2/3, -1/3 and -1/3 on the "
    "three moves. Move 3, score 0, in a third: no push. Move 6, score 1, in a sixth: -1/3, -1/3, +2/3. Move 6, "
    "score 0, in a sixth: no push. The average of the pushes over all games is +1/6, -1/6, 0: the exact gradient of "
    "the expected score.",
    "Each single game is a poor estimate, and a lost one says nothing, because 0 times anything is 0. Their average is "
    "right. O, the opponent, moves at random.",
    680, 312, _draw,
)  # fmt: skip
