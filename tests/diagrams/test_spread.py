"""Means with intervals stand where their numbers say."""

import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from minidsk.diagrams import band, dots


@pytest.fixture
def ax():
    with plt.style.context("minidsk.diagrams.look"):
        fig, ax = plt.subplots()
        yield ax
    plt.close(fig)


def test_rows_of_dots_stand_at_their_means_from_the_top(ax):
    dots(ax, {"a": (1.0, 0.5), "b": (3.0, 2.0)}, marked=["b"])
    places = [container.lines[0].get_xydata()[0].tolist() for container in ax.containers]
    assert places == [[1.0, 0.0], [3.0, 1.0]]
    ends = [container.lines[2][0].get_segments()[0][:, 0].tolist() for container in ax.containers]
    assert ends == [[0.5, 1.5], [1.0, 5.0]]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    top, bottom = (ax.transData.transform((0, y))[1] for y in (0, 1))
    assert top > bottom
    colours = [to_hex(container.lines[0].get_color()) for container in ax.containers]
    assert colours == ["#2563a8", "#b4531a"]


def test_a_marked_name_without_a_row_is_named(ax):
    with pytest.raises(ValueError, match="no row is called c; there are a"):
        dots(ax, {"a": (1.0, 0.5)}, marked=["c"])


def test_a_band_lies_around_its_line(ax):
    band(ax, [1, 2, 3], [(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)], "loss")
    [line] = ax.get_lines()
    assert (line.get_label(), list(line.get_ydata())) == ("loss", [1.0, 2.0, 3.0])
    corners = ax.collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx((0.9, 3.3))
    assert to_hex(ax.collections[0].get_facecolor()[0]) == to_hex(line.get_color())
