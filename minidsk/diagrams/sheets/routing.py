"""How a router chooses: scores, groups, the best of what is left, and the shared expert beside them."""

from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

SCORES = ((0.90, 0.10, 0.20, 0.15), (0.70, 0.55, 0.20, 0.30), (0.60, 0.80, 0.40, 0.35), (0.30, 0.40, 0.25, 0.10))
GROUPS, CHOSEN = 2, 3  # how many groups stay, and how many experts are chosen from them
BEST_TWO = [sum(sorted(group)[-2:]) for group in SCORES]
STAYING = sorted(range(len(SCORES)), key=lambda g: -BEST_TWO[g])[:GROUPS]
RANKED = sorted(((s, g, e) for g in STAYING for e, s in enumerate(SCORES[g])), reverse=True)[:CHOSEN]
WEIGHTS = {(g, e): s / sum(s for s, _, _ in RANKED) for s, g, e in RANKED}


def _draw(pen: Pen) -> None:
    pen.box(270, 12, 140, 36, "token x")
    pen.arrow((340, 48), (340, 76))
    pen.text(352, 68, "s = sigmoid(x · e), one score per expert", anchor="start", size=11.5, tone="soft")
    for g, scores in enumerate(SCORES):
        x, stays = 16 + 124 * g, g in STAYING
        pen.region(x, 80, 116, 212, f"group {g + 1}", tone="learns" if stays else "soft")
        for e, score in enumerate(scores):
            left, high, chosen = x + 8 + 26 * e, 92 * score, (g, e) in WEIGHTS
            pen.cells(left, 224 - high, [""], w=20, h=high, tone="learns" if stays else "soft",
                      fill=0.7 if chosen else 0.18)  # fmt: skip
            pen.text(left + 10, 219 - high, f"{score:.2f}"[1:], size=10.5, tone="ink" if chosen else "soft")
            if chosen:
                pen.arrow((left + 10, 296), (left + 10, 324), tone="learns")
                pen.text(left + 10, 338, f"{WEIGHTS[g, e]:.2f}"[1:], size=11.5)
        pen.text(x + 58, 244, f"best two: {BEST_TWO[g]:.2f}", size=11.5)
        pen.text(
            x + 58, 266, "stays" if stays else "dropped", size=11.5, bold=True, tone="learns" if stays else "wrong"
        )
    pen.region(516, 80, 148, 212, "shared expert", tone="kept")
    pen.cells(576, 132, [""], w=28, h=92, tone="kept", fill=0.7)
    pen.text(590, 244, "no score:", size=11.5)
    pen.text(590, 266, "sees every token", size=11.5)
    pen.arrow((410, 30), (590, 30), (590, 80), tone="kept")
    pen.arrow((590, 296), (590, 324), tone="kept")
    pen.text(590, 338, "1", size=11.5)
    pen.text(16, 338, "weights: s / sum", size=11.5, tone="soft", anchor="start")
    pen.box(140, 356, 524, 44, "y = Σ weight × expert(x) + shared(x)")
    pen.text(16, 432, "DeepSeek-V3:", anchor="start", size=11.5, bold=True)
    pen.notes(
        112, 432, "256 experts in 8 groups of 32; 4 groups stay; 8 of their 128 experts are chosen; weights × 2.5."
    )


FIGURE = Diagram(
    "One token's route, with groups and a shared expert",
    "A token x is scored against 16 experts in 4 groups of 4, drawn as bars. The best two scores of each group add "
    f"up to {', '.join(f'{b:.2f}' for b in BEST_TWO)}. Groups 2 and 3 stay, groups 1 and 4 are dropped, although the "
    "single best expert, with a score of 0.90, is in group 1. Of the experts that are left the best three are "
    f"chosen, with scores {', '.join(f'{s:.2f}' for s, _, _ in RANKED)}. Divided by their sum, these are the weights "
    f"{', '.join(f'{WEIGHTS[g, e]:.2f}' for _, g, e in RANKED)}. A shared expert stands beside the groups; it has no "
    "score and sees every token. The output is the weighted sum of the chosen experts, plus the shared one.",
    "Groups are chosen first, so that a token visits few machines: the best single expert (.90) is lost because its "
    "group is weak. Filled bars are the chosen experts; the numbers below them are their weights.",
    680, 446, _draw,
)  # fmt: skip
