"""Writing three tokens without a cache and with one: what each pass computes, and what it finds."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

W, TEXT, WRITES = 38, ["7", "+", "5", "="], ["1", "2", "⏎"]
WITHOUT = [len(TEXT) + k for k in range(3)]  # tokens that each pass computes
WITH = [len(TEXT), 1, 1]


def _draw(pen: Pen) -> None:
    for x, title, computed in ((16, "Without a cache", WITHOUT), (366, "With a cache", WITH)):
        pen.region(x, 8, 334, 224, title)
        for k, count in enumerate(computed):
            y = 62 + 56 * k
            seen = TEXT + WRITES[:k]
            new = len(seen) if k == 0 else 1
            old = "kept" if title == "With a cache" else "soft"
            pen.notes(x + 14, y - 8, f"pass {k + 1} computes {count} token{'s' * (count > 1)}", tone="ink")
            pen.cells(x + 14, y, seen, w=W, h=26, tones=[old] * (len(seen) - new) + ["learns"] * new)
            end = x + 14 + W * len(seen)
            pen.arrow((end, y + 13), (end + 24, y + 13), tone="judged")
            pen.cells(end + 24, y, [WRITES[k]], w=W, h=26, tone="judged")
        pen.notes(x + 14, 222, f"{' + '.join(map(str, computed))} = {sum(computed)} tokens", tone="ink")
    pen.notes(16, 254, "blue: computed for the first time · grey: computed again, with the same result",
              "orange: read from the cache · green: the token that the pass writes")  # fmt: skip


FIGURE = Diagram(
    "What a cache saves",
    "Two columns of three passes that continue the text 7 + 5 = by 1, 2 and the end of the line. Without a cache each "
    f"pass computes the whole text again, {', '.join(map(str, WITHOUT))} tokens and so {sum(WITHOUT)} in all, most of "
    "them with the same result as before. With a cache the first pass computes the 4 tokens of the prompt, and each "
    f"later pass only the newest token; it reads the others from the cache. That is {sum(WITH)} tokens in all.",
    "A token looks only at those before it, so what the model computed of it stays right when the text grows. The "
    f"cache keeps it: {sum(WITH)} tokens are computed instead of {sum(WITHOUT)}.",
    716, 280, _draw,
)  # fmt: skip
