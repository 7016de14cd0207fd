"""DeepSeekMath's loop as `minidsk.data.mining` runs it, with DeepSeek's numbers and ours."""

from minidsk.data.mining import MiningConfig
from minidsk.diagrams.figure import Diagram
from minidsk.diagrams.pen import Pen

_OURS = MiningConfig()
_SEED, _CRAWL = 30, "1,000"  # of the chapter


def _draw(pen: Pen) -> None:
    pen.box(16, 16, 190, 96, "Seed", f"ours: {_SEED} pages", "DeepSeek’s:", "500,000 of OpenWebMath", tone="kept")
    pen.box(262, 16, 190, 96, "Classifier", "learns the seed against", f"random pages: {_OURS.negatives}", "(500,000)",
            tone="learns")  # fmt: skip
    pen.box(508, 16, 190, 96, "Crawl", f"ours: {_CRAWL} pages,", "every page gets a score", "(40 billion pages)")
    pen.arrow((206, 64), (262, 64), tone="kept")
    pen.arrow((452, 64), (508, 64), tone="learns")

    pen.box(508, 168, 190, 96, "The best pages", "are collected:", f"cut at {_OURS.passing:.0%} of the seed",
            "(a budget of tokens)", tone="judged")  # fmt: skip
    pen.box(262, 168, 190, 96, "Hosts", f"with more than {_OURS.marked:.0%}", "of their pages collected", "are marked",
            tone="judged")  # fmt: skip
    pen.box(16, 168, 190, 96, "Reviewer", "which URLs of these hosts", "hold mathematics?", "(people)")
    pen.arrow((603, 112), (603, 168))
    pen.arrow((508, 216), (452, 216), tone="judged")
    pen.arrow((262, 216), (206, 216), tone="judged")
    pen.arrow((111, 168), (111, 112), tone="kept")
    pen.notes(122, 144, "pages at these URLs that were not", "collected join the seed", tone="kept")

    pen.box(508, 312, 190, 62, "Harvest", f"when less than {_OURS.new:.0%} is new", tone="judged")
    pen.arrow((603, 264), (603, 312), tone="judged")
    pen.notes(16, 338, "In brackets: DeepSeekMath, whose four rounds",
              "collected 35.5 million pages, 120 billion tokens.")  # fmt: skip


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
    714, 390, _draw,
)  # fmt: skip
