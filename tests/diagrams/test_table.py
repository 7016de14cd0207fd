"""A table: the same cells as text and as HTML, numbers to the right."""

from xml.etree import ElementTree

import pytest

from minidsk.diagrams import table


def test_text_and_html_hold_the_same_cells():
    rows = [["none & <b>", "2.31 ± 0.02"], ["bias", 1234]]
    bundle = table(["method", "loss"], rows, "nats per token")._repr_mimebundle_()
    root = ElementTree.fromstring(bundle["text/html"])
    assert [[cell.text for cell in row] for row in root.iter("tr")] == [
        ["method", "loss"], ["none & <b>", "2.31 ± 0.02"], ["bias", "1,234"],
    ]  # fmt: skip
    assert root.find("caption").text == "nats per token"
    assert bundle["text/plain"].splitlines() == [
        "method             loss", "none & <b>  2.31 ± 0.02", "bias              1,234", "nats per token",
    ]  # fmt: skip


def test_numbers_stand_to_the_right():
    sides = ["right" in cell.get("style") for cell in ElementTree.fromstring(
        table(["a", "b", "c"], [["x", "-1.5", "$3"], ["4", "+2 %", "-"]]).html()).iter("th")]  # fmt: skip
    assert sides == [False, True, True]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="1 cells do not fit 2 columns"):
        table(["a", "b"], [["x"]])
