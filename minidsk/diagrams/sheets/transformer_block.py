"""One block of the network, and the network that is built of it."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen


def _draw(pen: Pen) -> None:
    pen.region(16, 10, 648, 186, "One block: two additions to the stream")
    pen.line((28, 76), (343, 76), width=2.5)
    pen.line((365, 76), (615, 76), width=2.5)
    pen.arrow((637, 76), (660, 76), width=2.5)
    pen.text(60, 66, "`x [B, T, H]", size=11.5, tone="soft")
    for left, inner, notes in (
        (100, "attention (MLA)", ("looks at other tokens", "keeps a cache")),
        (372, "feed-forward", ("each token by itself", "dense, or experts")),
    ):
        pen.line((left, 76), (left, 124))
        pen.arrow((left, 124), (left + 16, 124))
        pen.box(left + 16, 104, 64, 40, "norm")
        pen.arrow((left + 80, 124), (left + 98, 124))
        pen.box(left + 98, 96, 138, 56, inner, *notes[:1], tone="learns")
        pen.line((left + 236, 124), (left + 254, 124))
        pen.arrow((left + 254, 124), (left + 254, 88))
        pen.circle(left + 254, 76, 11, "+", fill=0)
        pen.text(left + 167, 172, notes[1], size=11.5, tone="soft")

    pen.text(16, 226, "The network, with DeepSeek-V3’s sizes: H = 7,168", bold=True, anchor="start")
    steps = (
        (78, "ids", ("`[B, T]",), "soft"), (112, "embedding", ("129,280 × H",), "learns"),
        (108, "3 blocks", ("dense", "18,432 wide"), "learns"),
        (124, "58 blocks", ("256 experts + 1", "9 for a token"), "learns"),
        (64, "norm", (), "soft"), (90, "head", ("`[B, T, V]",), "learns"),
    )  # fmt: skip
    x = 16.0
    for number, (width, name, lines, tone) in enumerate(steps):
        if number:
            pen.arrow((x - 14.4, 272), (x, 272))
        pen.box(x, 240, width, 64, name, *lines, tone=tone)
        x += width + 14.4


FIGURE = Diagram(
    "A transformer block, and the network",
    "Above, one block. A stream x of shape [B, T, H], batch, time and width, runs through from left to right. Twice "
    "a branch leaves the stream, passes a norm and a layer, and is added back: first attention, the only place "
    "where a token looks at others, which keeps a cache; then a feed-forward layer, which treats each token by "
    "itself and is dense or a mixture of experts. Below, the network with the sizes of DeepSeek-V3: ids of shape "
    "[B, T], an embedding of 129,280 rows of 7,168 numbers, 3 dense blocks of inner width 18,432, 58 blocks with "
    "256 routed experts and 1 shared one, of which 9 work for a token, a norm, and a head that gives logits of "
    "shape [B, T, V].",
    "Nothing replaces the stream: each layer reads a normalised copy of it and adds to it. All 61 blocks have the same "
    "attention; the first three are dense, the others are mixtures of experts.",
    680, 318, _draw,
)  # fmt: skip
