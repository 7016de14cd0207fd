"""One launch for the products of all experts: rows sorted by expert, cut into tiles, dealt to programs."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

COUNTS = (5, 0, 2, 1)  # rows of each expert, as in the chapter
ROWS, COLUMNS, PROGRAMS = 2, 2, 4  # rows of a tile, tiles across the output, programs
TILES = [(expert, min(ROWS, n - start)) for expert, n in enumerate(COUNTS) for start in range(0, n, ROWS)]
PADDED, TILED = max(COUNTS) * len(COUNTS), ROWS * len(TILES)
TONES = ("learns", "soft", "judged", "kept")  # of the experts


def _draw(pen: Pen) -> None:
    pen.text(72, 28, "rows, sorted", bold=True)
    pen.text(72, 44, "by expert", size=11.5, tone="soft")
    pen.text(272, 28, "each expert’s matrix", bold=True)
    pen.text(500, 28, "output: numbered tiles", bold=True)
    pen.text(500, 44, f"tile t goes to program t mod {PROGRAMS}", size=11.5, tone="soft")
    y, number, middle = 58.0, 0, {}
    for expert, count in enumerate(COUNTS):
        tiles = [used for of, used in TILES if of == expert]
        top = y
        for used in tiles:
            for row in range(ROWS):
                if row < used:
                    pen.cells(22, y + 20 * row, [""], w=100, h=20, tone=TONES[expert], fill=0.3)
                else:
                    pen.box(22, y + 20 * row, 100, 20, tone="soft", dashed=True, fill=0)
                    pen.text(72, y + 20 * row + 14, "padding", size=10.5, tone="soft")
            for column in range(COLUMNS):
                pen.cells(410 + 90 * column, y, [""], w=90, h=20 * ROWS, tone=TONES[expert], fill=0.12)
                pen.text(455 + 90 * column, y + 18, f"tile {number}", size=11.5, bold=True)
                pen.text(455 + 90 * column, y + 33, f"program {number % PROGRAMS}", size=10.5, tone="soft")
                number += 1
            y += 20 * ROWS + 3
        height = max(y - top - 3, 26)
        middle[expert] = top + height / 2
        noun = "row" if count == 1 else "rows"
        pen.box(200, top + (0 if height < 60 else height / 2 - 24), 144, min(height, 48),
                f"W of expert {expert}" if count else "expert 1: no row", *([f"{count} {noun}"] if height > 35 else []),
                tone=TONES[expert], dashed=not count)  # fmt: skip
        if count:
            pen.arrow((128, middle[expert]), (200, middle[expert]), tone=TONES[expert])
            pen.arrow((344, middle[expert]), (406, middle[expert]), tone=TONES[expert])
        y = top + height + 14
    pen.text(16, y + 24, "Rows computed", bold=True, anchor="start")
    for i, (name, rows, tone) in enumerate((("wanted", sum(COUNTS), "judged"), ("in tiles of two", TILED, "learns"),
                                            ("padded to the fullest", PADDED, "wrong"))):  # fmt: skip
        pen.text(160, y + 49 + 24 * i, name, size=11.5, anchor="end", tone="soft")
        pen.cells(170, y + 36 + 24 * i, [""], w=20 * rows, h=18, tone=tone, fill=0.3)
        pen.text(178 + 20 * rows, y + 49 + 24 * i, f"{rows}", size=11.5, bold=True, anchor="start")


FIGURE = Diagram(
    "A grouped product in tiles",
    f"Eight rows are sorted by expert: {COUNTS[0]} for expert 0, none for expert 1, {COUNTS[2]} for expert 2, "
    f"{COUNTS[3]} for expert 3. Each expert's rows meet its own matrix W. The output is cut into tiles of {ROWS} "
    f"rows by half of the columns, and a tile belongs to one expert: {COLUMNS * len(TILES)} tiles, numbered through "
    f"all experts, of which tile t goes to program t modulo {PROGRAMS}. The last tile of experts 0 and 3 holds one "
    f"row of padding. Three bars below: {sum(COUNTS)} rows are wanted, tiles of two compute {TILED}, and padding "
    f"every expert to the fullest would compute {PADDED}.",
    "All tiles cost the same, so the deal is even, however uneven the experts are. Only an expert’s last tile is "
    "padded, and an expert without rows costs nothing.",
    640, 462, _draw,
)  # fmt: skip
