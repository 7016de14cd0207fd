"""One pass of speculative decoding: guesses, one look at all of them, what is kept."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

W = 46
TEXT, GUESSES = ["7", "+", "5", "="], ["1", "3", "⏎"]
SAYS = ["1", "2", "?", "?"]


def _draw(pen: Pen) -> None:
    pen.text(16, 30, "1  Guess: three cheap steps of the MTP module", anchor="start", bold=True)
    pen.cells(16, 44, TEXT, w=W, h=30)
    pen.cells(16 + 4 * W, 44, GUESSES, w=W, h=30, tone="frozen")
    pen.notes(16 + 7 * W + 14, 56, "grey: the text so far", "violet: guesses, drawn from q")
    pen.arrow((16 + 3.5 * W, 74), (16 + 3.5 * W, 116))

    pen.box(16, 116, 7 * W, 44, "one pass of the model", "the last token of the text and 3 guesses", tone="learns")
    pen.text(16 + 7 * W + 14, 134, "2  Check: all places at once", anchor="start", bold=True)
    pen.notes(16 + 7 * W + 14, 152, "in a dense model it reads the weights once,", "as a pass for 1 token does")
    for i in range(4):
        x = 16 + (3.5 + i) * W
        pen.arrow((x, 160), (x, 186), tone="learns")
    pen.cells(16 + 3 * W, 186, SAYS, w=W, h=30, tones=["judged", "judged", "soft", "soft"])
    pen.notes(16 + 7 * W + 14, 198, "p: what the model itself would write there,",
              "given the text and the guesses before")  # fmt: skip

    pen.text(16, 254, "3  Keep: up to the first guess that is refused", anchor="start", bold=True)
    pen.cells(16, 268, TEXT, w=W, h=30)
    pen.cells(16 + 4 * W, 268, ["1", "3", "⏎"], w=W, h=30, tones=["judged", "wrong", "soft"])
    pen.cells(16 + 5 * W, 308, ["2"], w=W, h=30, tone="judged")
    pen.arrow((16 + 5.5 * W, 298), (16 + 5.5 * W, 308), tone="judged")
    pen.notes(16 + 7 * W + 14, 280, "1 is kept; 3 is refused; what follows it falls")
    pen.notes(16 + 7 * W + 14, 324, "the model’s own 2 stands in its place:",
              "2 tokens in one pass, the same as without")  # fmt: skip


FIGURE = Diagram(
    "One pass of speculative decoding",
    "Three rows. First, the text 7 + 5 = is followed by three guesses of the MTP module, 1, 3 and the end of the line, "
    "drawn from probabilities q. Second, one pass of the model takes the last token of the text and the three guesses "
    "and gives its own probabilities p at four places; at the first two it would write 1 and 2. Third, the guess 1 is "
    "kept, the guess 3 is refused, the guess after it falls, and the model's own token 2 stands in the place of the 3. "
    "The pass wrote 2 tokens.",
    "Three guesses are checked in one pass. Green is what the model itself says, and only green tokens are written, "
    "at least 1 and at most 4 per pass.",
    700, 352, _draw,
)  # fmt: skip
