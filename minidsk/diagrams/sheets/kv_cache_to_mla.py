"""What attention remembers of a token: keys and values of all heads, or one latent; and how the latent is read."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

HEADS, HEAD, LATENT, ROTATED = 128, 128, 512, 64  # DeepSeek-V3
FULL, KEPT = 2 * HEADS * HEAD, LATENT + ROTATED


def _column(pen: Pen, x: float, title: str, steps: list[tuple[str, tuple[str, ...], float]]) -> None:
    pen.region(x, 10, 208, 392, title)
    y = 44.0
    for number, (tone, lines, height) in enumerate(steps):
        if number:
            pen.arrow((x + 104, y - 20), (x + 104, y), tone="soft")
        pen.box(x + 12, y, 184, height, *lines, tone=tone, fill=0.2 if tone == "kept" else 0.1)
        y += height + 20


def _draw(pen: Pen) -> None:
    token = ("soft", ("token x", "7,168 numbers"), 46.0)
    attend = ("soft", ("softmax(q · k) v", "in each of 128 heads"), 50.0)
    _column(pen, 16, "1  Keep keys and values", [
        token, ("learns", ("W_K and W_V",), 40.0),
        ("kept", ("kept: k and v", "128 heads × 128, twice", f"= {FULL:,} numbers"), 66.0),
        ("soft", ("read as they are", "nothing to compute"), 66.0), attend,
    ])  # fmt: skip
    _column(pen, 236, "2  Keep one latent", [
        token, ("learns", ("down: W_DKV, W_KR",), 40.0),
        ("kept", ("kept: c and k_R", "512 + 64, for all heads", f"= {KEPT} numbers"), 66.0),
        ("learns", ("unfold every token", "k = [W_UK c ; k_R]", "v = W_UV c"), 66.0), attend,
    ])  # fmt: skip
    _column(pen, 456, "3  The same, absorbed", [
        token, ("learns", ("down: W_DKV, W_KR",), 40.0),
        ("kept", ("kept: c and k_R", "512 + 64, for all heads", f"= {KEPT} numbers"), 66.0),
        ("learns", ("fold into the query", "q′ = W_UKᵀ q: 512", "one per head, once"), 66.0),
        ("soft", ("W_UV · softmax(…) c", "heads share one memory"), 50.0),
    ])  # fmt: skip
    pen.text(16, 428, "Kept per token and layer", bold=True, anchor="start")
    pen.cells(16, 438, [""], w=648, h=16, tone="kept", fill=0.3)
    pen.cells(16, 462, [""], w=648 * KEPT / FULL, h=16, tone="kept", fill=0.6)
    pen.text(656, 450, f"{FULL:,}", size=11.5, anchor="end")
    pen.text(36, 474.5, f"{KEPT}: one in {FULL / KEPT:.0f}", size=11.5, anchor="start")


FIGURE = Diagram(
    "From the key-value cache to multi-head latent attention",
    "Three columns, each from a token down to attention. First, ordinary attention: W_K and W_V make keys and "
    f"values, and the cache keeps 128 heads times 128 numbers twice, {FULL:,} numbers per token and layer; they are "
    "read as they are. Second, latent attention, naive: W_DKV and W_KR make a latent c of 512 numbers and one "
    f"rotated key k_R of 64 that all heads share; the cache keeps these {KEPT}. To attend, keys and values of every "
    "head are unfolded from the latent of every token, by W_UK and W_UV. Third, absorbed: the same cache, but W_UK "
    "is folded into the query, once for each head, and W_UV is applied after the sum, so that all heads read the "
    f"latents themselves. Below, two bars to scale: {FULL:,} against {KEPT}, one in {FULL / KEPT:.0f}.",
    "What a cache keeps of one token in one layer, with the sizes of DeepSeek-V3. Columns 2 and 3 keep the same and "
    "give the same numbers; column 2 is cheaper in training, where there are many queries, and column 3 in "
    "decoding, where one query meets a long cache.",
    680, 490, _draw,
)  # fmt: skip
