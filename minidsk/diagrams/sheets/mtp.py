"""Multi-token prediction: small modules in a chain, each one token further ahead."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

TOKENS = 4
DEPTHS = 2


def _name(i: int) -> str:
    return "t" + "₀₁₂₃₄₅₆₇₈₉"[i]


def _draw(pen: Pen) -> None:
    titles = ("Main model", "Module 1", "Module 2")
    for depth, title in enumerate(titles):
        x, count = 16 + 226 * depth, TOKENS - depth
        pen.region(x, 10, 196, 346, title, tone="learns")
        left = x + 98 - 40 * count / 2
        pen.cells(left, 54, [_name(i + depth + 2) for i in range(count)], w=40, tone="judged")
        pen.text(x + 98, 47, f"predicts {depth + 1} ahead", size=11.5, tone="soft")
        pen.arrow((x + 98, 98), (x + 98, 80))
        pen.box(x + 24, 98, 148, 34, "head (same)", tone="frozen")
        pen.arrow((x + 98, 154), (x + 98, 132))
        if depth:
            pen.box(x + 24, 154, 148, 34, "one block", tone="learns")
            pen.arrow((x + 98, 210), (x + 98, 188))
            pen.box(x + 24, 210, 148, 44, "M [ Emb ; h ]", "2H numbers to H", tone="learns")
            pen.arrow((x + 98, 276), (x + 98, 254))
        else:
            pen.box(x + 24, 154, 148, 100, "all its blocks", "DeepSeek-V3: 61", tone="learns")
            pen.arrow((x + 98, 276), (x + 98, 254))
        pen.box(x + 24, 276, 148, 34, "embedding (same)", tone="frozen")
        pen.cells(left, 324, [_name(i + depth + 1) for i in range(count)], w=40)
        if depth < DEPTHS:
            pen.line((x + 98, 143), (x + 211, 143), tone="kept")
            pen.arrow((x + 211, 143), (x + 211, 232), (x + 250, 232), tone="kept")
            pen.text(x + 218, 226, f"h{'⁰¹²'[depth]}", size=11.5, tone="kept", anchor="start")
    pen.text(16, 384, "loss = CE(main) + λ / D × (CE of module 1 + CE of module 2)", anchor="start", bold=True)
    pen.notes(
        16, 404, "DeepSeek-V3: D = 1 module; λ = 0.3 for 10 trillion tokens, then 0.1. To answer, it is not needed."
    )


FIGURE = Diagram(
    "Multi-token prediction with two modules",
    "Three columns, from tokens at the bottom to predictions at the top. The main model reads t1 to t4 and predicts "
    "one token ahead, t2 to t5. Module 1 takes the main model's states h0 and the embeddings of t2 to t4, joins "
    "each pair and maps 2H numbers to H by a matrix M, runs one block, and predicts two ahead: t3 to t5. Module 2 "
    "takes the states h1 of module 1 and the embeddings of t3 and t4, and predicts three ahead: t4 and t5. "
    "Embedding and head belong to the main model and are shared by all three. The loss is the main cross-entropy "
    "plus lambda over D times the sum of the modules' own. DeepSeek-V3 has D = 1, with lambda 0.3 and later 0.1.",
    "A chain: each module sees all tokens before its target, because it gets the state of the one before it and one "
    "more embedding. Violet parts are one and the same in all three. Both inputs of M are normalised first.",
    680, 414, _draw,
)  # fmt: skip
