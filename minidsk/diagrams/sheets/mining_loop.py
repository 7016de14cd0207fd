"""DeepSeekMath's loop as `minidsk.data.mining` runs it, with DeepSeek's numbers and ours."""

from minidsk.data.mining import MiningConfig
from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

_OURS = MiningConfig()
_SEED, _CRAWL = 30, "1,000"  # of the chapter


def _draw(pen: Pen) -> None:
    left, right, wide, high = 8, 222, 176, 92
    middle = left + wide / 2, right + wide / 2
    pen.box(left, 12, wide, high, "Seed", f"ours: {_SEED} pages", "(500,000 pages", "of OpenWebMath)", tone="kept")
    pen.box(right, 12, wide, high, "Classifier", "learns the seed against", f"random pages: {_OURS.negatives}",
            "(500,000)", tone="learns")  # fmt: skip
    pen.box(right, 164, wide, high, "Crawl", f"ours: {_CRAWL} pages,", "every page gets a score", "(40 billion pages)")
    pen.box(right, 316, wide, high, "The best pages", "are collected:", f"cut at {_OURS.passing:.0%} of the seed",
            "(a budget of tokens)", tone="judged")  # fmt: skip
    pen.box(left, 316, wide, high, "Hosts", f"with more than {_OURS.marked:.0%}", "of their pages collected",
            "are marked", tone="judged")  # fmt: skip
    pen.box(left, 164, wide, high, "Reviewer", "which URLs of these hosts", "hold mathematics?", "(people)")
    pen.box(right, 452, wide, 62, "Harvest", f"when less than {_OURS.new:.0%} is new", tone="judged")
    pen.arrow((left + wide, 58), (right, 58), tone="kept")
    pen.arrow((middle[1], 104), (middle[1], 164), tone="learns")
    pen.arrow((middle[1], 256), (middle[1], 316))
    pen.arrow((right, 362), (left + wide, 362), tone="judged")
    pen.arrow((middle[0], 316), (middle[0], 256), tone="judged")
    pen.arrow((middle[0], 164), (middle[0], 104), tone="kept")
    pen.arrow((middle[1], 408), (middle[1], 452), tone="judged")
    pen.notes(106, 124, "pages at these URLs", "that were not collected", "join the seed", tone="kept")
    pen.notes(left, 460, "In brackets: DeepSeekMath,", "whose four rounds collected", "35.5 million pages,",
              "120 billion tokens.")  # fmt: skip


FIGURE = Diagram(
    "The loop that mines mathematics",
    f"Six boxes in a circle. The seed, {_SEED} pages here and 500,000 pages of OpenWebMath at DeepSeek, trains a "
    f"classifier against random pages, {_OURS.negatives} here and 500,000 there. The classifier scores every page of "
    f"the crawl, {_CRAWL} pages here and 40 billion there. The best pages are collected: here those above a cut that "
    f"{_OURS.passing:.0%} of the seed passes, there as many as a budget of tokens allows. Hosts with more than "
    f"{_OURS.marked:.0%} of their pages collected are marked. A reviewer says which of their URLs hold mathematics, "
    "and what was not collected at these URLs joins the seed. An arrow leads out of the circle to the harvest, when a "
    f"round brings less than {_OURS.new:.0%} new pages. DeepSeekMath's four rounds collected 35.5 million pages.",
    "One round of the loop. What DeepSeek did by hand, the review, is the only step that looks at pages one URL at a "
    "time. Our numbers stand beside DeepSeek’s, which are in brackets.",
    406, 522, _draw,
)  # fmt: skip
