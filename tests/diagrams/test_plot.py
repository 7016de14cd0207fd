"""A plot as the page shows it: in the page's colours, described, small, and the same each time."""

import re
from importlib.resources import files
from xml.etree import ElementTree

import matplotlib.style
import pytest
from matplotlib.figure import Figure

from minidsk.diagrams import direct_labels, show
from minidsk.diagrams.figure import PALETTE
from minidsk.diagrams.plot import Plot, svg

WORDS = "Two lines over three steps, from 1 to 4 and from 2 to 8 nats per token."


@pytest.fixture
def figure():
    with matplotlib.style.context("minidsk.diagrams.look"):
        figure = Figure()
        ax = figure.subplots()
        ax.plot([1, 2, 4], label="slow")
        ax.plot([2, 4, 8], label="fast", color="black", marker="o")
        ax.axhline(3, color="gray")
        ax.imshow([[0, 1]], extent=(0, 1, 0, 1))
        yield figure


def test_every_colour_follows_the_page(figure):
    drawn = svg(figure, WORDS)
    assert set(re.findall(r"var\(--(\w+)\)", drawn)) >= {"ink", "soft", "line", "c0"}
    assert re.findall(r"#[0-9a-f]{6}\b", drawn) == []
    assert "DejaVu" not in drawn


def test_the_cycle_is_the_palette():
    look = matplotlib.rc_params_from_file(files("minidsk.diagrams") / "look.mplstyle", use_default_template=False)
    cycle = look["axes.prop_cycle"].by_key()["color"]
    assert [f"#{colour.lstrip('#')}" for colour in cycle] == [PALETTE[f"c{k}"] for k in range(6)]


def test_it_is_well_formed_and_says_what_it_shows(figure):
    root = ElementTree.fromstring(svg(figure, WORDS))
    assert root.get("aria-label") == WORDS
    assert root.get("width") is None
    bundle = Plot("<svg></svg>", "Caption.", WORDS)._repr_mimebundle_()
    assert bundle["text/plain"] == f"Caption. {WORDS}"
    assert "<figcaption>Caption.</figcaption>" in bundle["text/html"]


def test_the_same_bytes_again_and_ids_of_its_own(figure):
    first = svg(figure, WORDS)
    assert first == svg(figure, WORDS)
    other = svg(figure, WORDS + " Another.")
    assert not set(re.findall(r'\bid="([^"]+)"', first)) & set(re.findall(r'\bid="([^"]+)"', other))
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', first))
    assert used <= set(re.findall(r'\bid="([^"]+)"', first))


def test_a_description_that_says_nothing_is_refused(figure):
    with pytest.raises(ValueError, match="says too little"):
        show(figure, "Caption.", "a plot")
    with pytest.raises(ValueError, match="says too little"):
        show(figure, WORDS, WORDS)


def test_labels_stand_beside_the_last_points_and_apart(figure):
    figure = Figure()
    ax = figure.subplots()
    for k in range(4):
        ax.plot([0, 1], [0, 1 + k / 1000], label=f"line {k}")
    ax.plot([0, 1], [0, 0.2])
    direct_labels(ax)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in sorted(ax.texts, key=lambda t: t.get_window_extent().y0)] == [
        f"line {k}" for k in range(4)
    ]
    assert not any(a.overlaps(b) for a in boxes for b in boxes if a is not b)
    edge = ax.transData.transform((1, 0))[0]
    assert all(box.x0 > edge for box in boxes)
