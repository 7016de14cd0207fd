"""The comparison of notebooks' outputs: what a declared tolerance covers, and what it must not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from minidsk.diagrams.figure import framed

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from tolerance import Tolerance, declared, snap, snap_outputs  # noqa: E402

import notebooks  # noqa: E402

TWO_PERCENT = Tolerance(relative=0.02)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("print(1)", None),
        ("# tolerance: 0.02\nprint(1)", Tolerance(0.02)),
        ("print(1)\n# tolerance: 5%", Tolerance(0.0, 0.05)),
        ("# tolerance: 5 % + 0.5", Tolerance(0.5, 0.05)),
        ("# tolerance: 1e-3", Tolerance(0.001)),
        ("x = '# tolerance: 0.02'", None),
    ],
)
def test_a_cell_declares_its_tolerance(source, wanted):
    assert declared(source) == wanted


@pytest.mark.parametrize("source", ["# tolerance: much", "# tolerance: ", "# tolerance: 1\n# tolerance: 2"])
def test_an_unreadable_declaration_is_an_error(source):
    with pytest.raises(ValueError, match="cannot be read"):
        declared(source)


@pytest.mark.parametrize(
    ("text", "recorded", "tolerance"),
    [
        ("loss 1.01, right 99 %", "loss 1.00, right 100 %", TWO_PERCENT),
        ("loss  9.9", "loss 10.0", TWO_PERCENT),  # padding moves with the number of digits
        ("1,010 games", "1,000 games", TWO_PERCENT),
        ("gain -0.01", "gain +0.01", Tolerance(0.02)),
        ("−3.00", "−3.01", Tolerance(0.011)),
        ("1.01e-05", "1e-05", TWO_PERCENT),
        ('{"a":[0.5,0.25],"b":"x"}', '{"a":[0.501,0.25],"b":"x"}', TWO_PERCENT),
        ('<div data-minidsk="0a1b2c">[1.01] id 0a1b2c', '<div data-minidsk="ff00ff">[1.00] id ff00ff', TWO_PERCENT),
    ],
)
def test_numbers_within_the_tolerance_are_the_recorded_ones(text, recorded, tolerance):
    assert snap(text, recorded, tolerance) == recorded


@pytest.mark.parametrize(
    ("text", "recorded"),
    [
        ("loss 1.03", "loss 1.00"),
        ("lost 1.00", "loss 1.00"),
        ("1 2 3", "1 2"),
        ("a 1\nb 1", "b 1\na 1"),
        ("yes 1.0", "no 1.0"),
        ("3,400", "3,40"),
    ],
)
def test_all_else_stays_different(text, recorded):
    assert snap(text, recorded, TWO_PERCENT) != recorded


def test_pictures_are_left_alone():
    here = [{"data": {"text/plain": "1.01", "image/png": "AAAA 1.01"}}]
    there = [{"data": {"text/plain": "1.00", "image/png": "AAAA 1.00"}}]
    assert snap_outputs(here, there, TWO_PERCENT) == [{"data": {"text/plain": "1.00", "image/png": "AAAA 1.01"}}]


def test_nbval_takes_numbers_within_the_tolerance_and_no_others(tmp_path):
    cells = []
    for at, (declaration, recorded) in enumerate([("# tolerance: 2%\n", "1.01\n"), ("", "1.01\n"),
                                                  ("# tolerance: 2%\n", "1.03\n")]):  # fmt: skip
        output = nbformat.v4.new_output("stream", name="stdout", text=recorded)
        cells.append(nbformat.v4.new_code_cell(f"{declaration}print('1.00')", execution_count=at + 1, outputs=[output]))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "probe.ipynb")
    options = ["-p", "nbval_plugin", "--nbval", "--nbval-current-env", "-q", "-rA", "-p", "no:cacheprovider"]
    done = subprocess.run([sys.executable, "-m", "pytest", *options, "probe.ipynb"], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "tools")}, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert "PASSED probe.ipynb::Cell 0" in done.stdout, done.stdout
    assert "FAILED probe.ipynb::Cell 1" in done.stdout
    assert "FAILED probe.ipynb::Cell 2" in done.stdout


def test_the_drawing_of_a_plot_is_not_compared_but_its_caption_is():
    def plot(drawing, caption):
        return framed(f"<svg><path d='{drawing}'/></svg>", caption, "mdsk-plot")

    near = snap(plot("M1 2L3 4L5 6", "It ends at 1.01."), plot("M1 2", "It ends at 1.00."), TWO_PERCENT)
    assert near == plot("M1 2", "It ends at 1.00.")
    far = snap(plot("M1 2L3 4L5 6", "It ends at 1.21."), plot("M1 2", "It ends at 1.00."), TWO_PERCENT)
    assert "1.21" in far


@pytest.mark.parametrize("written", [str, json.dumps])
def test_the_sanitizer_leaves_a_plot_out_as_it_stands_and_within_json(written):
    html = framed("<svg>M1 2</svg>", "It ends at 1.00.", "mdsk-plot")
    said = notebooks.sanitize(written(html))
    assert "M1 2" not in said
    assert "It ends at 1.00." in said
    diagram = framed("<svg>M1 2</svg>", "Caption.")
    assert notebooks.sanitize(diagram) == diagram
