"""What the base model reads: worksheets by many hands, and other pages."""

from minidsk.data.corpus import TinyWebConfig
from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

_WEB = TinyWebConfig()
_CONTEXT = 128  # tokens in a row of chapter 01's base model
_SHEETS, _HARD = _WEB.worksheets, _WEB.persistent
_CHINESE, _MIXED = _WEB.chinese, _WEB.mixed


def _share(part: float) -> str:
    return f"{100 * part:.0f} %"


def _draw(pen: Pen) -> None:
    wide = 648 * _SHEETS
    pen.text(16, 26, "Pages of the tiny web", bold=True, anchor="start")
    pen.cells(16, 38, [f"worksheets: {_share(_SHEETS)}"], w=wide, h=30, tone="learns", fill=0.25)
    pen.cells(16 + wide, 38, [f"other pages: {_share(1 - _SHEETS)}"], w=648 - wide, h=30, tone="kept", fill=0.25)

    pen.region(16, 84, 230, 186, f"{_share(1 - _HARD)}: a guess or two", tone="wrong")
    pen.region(262, 84, 230, 186, f"{_share(_HARD)}: until it is right", tone="judged")
    for x, lines, answer in (
        (28, ("3+7+8=10+8=18 no",), "3+7+8"),
        (274, ("3+7+8=10+8=18 no", "8-3+7=5+7=12 no", "8-(7-3)=8-4=4 yes"), "8-(7-3)"),
    ):
        pen.text(x, 130, "`Make 4 from 3 7 8.", size=11.5, anchor="start")
        pen.text(x, 150, "`<think>", size=11.5, anchor="start", tone="soft")
        for i, line in enumerate(lines):
            pen.text(x + 14, 168 + 18 * i, f"`{line}", size=11.5, anchor="start")
        pen.text(x, 222, "`</think>", size=11.5, anchor="start", tone="soft")
        pen.text(x, 240, "`<answer>", size=11.5, anchor="start", tone="soft")
        pen.text(x + 14, 258, f"`{answer}", size=11.5, anchor="start")
    pen.region(508, 84, 156, 186, "The other pages", tone="kept")
    pen.notes(520, 130, "sums", "tables", "letters", "lists in order", "number puzzles")
    pen.text(520, 242, "`7+5=12", size=11.5, anchor="start")
    pen.text(520, 258, "`3 5 7 9", size=11.5, anchor="start")

    pen.text(16, 300, "Worksheets are", bold=True, anchor="start", size=11.5)
    both = f"written in both languages: {_share(_MIXED)} (no / 不对, yes / 对了)."
    pen.notes(126, 300, f"posed in Chinese: {_share(_CHINESE)}; {both}")
    pen.arrow((340, 314), (340, 334))
    pen.text(16, 352, "Packed", bold=True, anchor="start", size=11.5)
    pen.cells(72, 338, ["bos", "page", "eos", "bos", "page", "eos", "bos", "cut"], w=58, h=24,
              tones=["soft", "learns", "soft", "soft", "learns", "soft", "soft", "kept"])  # fmt: skip
    pen.text(548, 355, f"context: {_CONTEXT} tokens", size=11.5, anchor="start", tone="soft")


FIGURE = Diagram(
    "The tiny web",
    f"A bar shows the pages: {_share(_SHEETS)} worksheets, {_share(1 - _SHEETS)} others. Of the worksheets, "
    f"{_share(1 - _HARD)} are by hands that guess once or twice: Make 4 from 3 7 8; 3+7+8=18, no; and 3+7+8 is "
    f"handed in, wrong. The other {_share(_HARD)} go on until the check passes, at most {_WEB.patience} times: two "
    "attempts end in no, the third, 8-(7-3)=4, in yes, and is handed in. Other pages are sums, tables, letters, "
    f"lists in order and number puzzles. {_share(_CHINESE)} of the worksheets are posed in Chinese, "
    f"and {_share(_MIXED)} are written in both languages at once. Pages are packed end to end, each between a token "
    f"for its beginning and one for its end, into rows of {_CONTEXT} tokens; the last page of a row is cut.",
    "What the base model of this chapter reads. Most worksheets hand in their first or second guess, right or wrong. "
    "In the others the author goes on until the check passes.",
    680, 374, _draw,
)  # fmt: skip
