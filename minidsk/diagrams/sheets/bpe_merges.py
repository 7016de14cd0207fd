"""Byte-pair encoding: the most frequent neighbours become one piece, again and again."""

from collections import Counter
from itertools import pairwise

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

TEXT = "no, no, not now"


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    out, i = [], 0
    while i < len(pieces):
        found = tuple(pieces[i : i + 2]) == pair
        out.append("".join(pieces[i : i + 2]) if found else pieces[i])
        i += 2 if found else 1
    return out


def _rounds(count: int) -> list[tuple[list[str], str, int]]:
    pieces, found = list(TEXT), [(list(TEXT), "", 0)]
    for _ in range(count):
        pair, n = Counter(pairwise(pieces)).most_common(1)[0]
        pieces = _merged(pieces, pair)
        found.append((pieces, "".join(pair), n))
    return found


ROUNDS = _rounds(3)


def _draw(pen: Pen) -> None:
    for number, (pieces, new, n) in enumerate(ROUNDS):
        y = 34 + 84 * number
        over = number == 3
        head = (
            f"{len(pieces)} pieces"
            if not number
            else f"Merge {number}: {n} times “{new.replace(' ', '␣')}”, id {255 + number}"
        )
        pen.text(16, y, head, bold=True, anchor="start", tone="wrong" if over else "ink")
        if number:
            pen.text(664, y, f"{len(pieces)} pieces left", size=11.5, tone="soft", anchor="end")
        x = 16.0
        for piece in pieces:
            width = 30 * len(piece) + 13.2 * (len(piece) - 1)
            tone = ("wrong" if over else "learns") if piece == new else "soft"
            pen.cells(x, y + 12, [piece.replace(" ", "␣")], w=width, h=30, tone=tone, fill=0.3 if piece == new else 0.1)
            x += width + 13.2
    pen.notes(
        16,
        352,
        "Merge 3 learns this text by heart, and crosses a word. So the text is cut into words first:",
        tone="wrong",
    )
    x = 16.0
    for word in ("no", ",", "␣no", ",", "␣not", "␣now"):
        pen.cells(x, 366, [word], w=28 + 16 * len(word), h=30, tone="judged", fill=0.12)
        x += 28 + 16 * len(word) + 12
    pen.text(x + 6, 386, "no merge crosses a cut", size=11.5, anchor="start", tone="judged")


FIGURE = Diagram(
    "Byte-pair encoding, merge by merge",
    f"The text “{TEXT}” stands as {len(ROUNDS[0][0])} pieces, one per byte. "
    + " ".join(
        f"Merge {k}: the pair “{new}” occurs {n} times and becomes one piece with the id {255 + k}; {len(pieces)} "
        "pieces are left."
        for k, (pieces, new, n) in enumerate(ROUNDS) if k
    )
    + " The third merge, drawn in red, crosses from one word into the next. So the text is cut into words first, each "
    "with the space before it: no; comma; space no; comma; space not; space now. No merge crosses a cut.",
    "Count the neighbours, merge the most frequent pair, count again. A space is written ␣. The ids 0 to 255 are "
    "the bytes, so that nothing is ever unknown.",
    680, 410, _draw,
)  # fmt: skip
