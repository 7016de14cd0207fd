"""Every chapter has the parts that CONTRIBUTING.md lists, in order; so does the template that chapters start from."""

import ast
import re
from itertools import pairwise
from pathlib import Path
from statistics import median

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "tools" / "chapter_template.py"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]*_*.ipynb"))
# `tag` of a code cell, or the start of a heading.
PARTS = [
    "prediction",
    "naive",
    "agree",
    "figure",
    "## What DeepSeek did",
    "## What went wrong",
    "## Exercises",
    "## Bug zoo",
    "zoo",
    "receipt",
    "## Summary",
    "## Read on",
]
# Of the capstone, and of a chapter's second page (14b), which begins where the first one ended.
FEWER_PARTS = ["figure", "## What went wrong", "receipt", "## Summary", "## Read on"]


def read(path):
    return nbformat.read(path, as_version=4) if path.suffix == ".ipynb" else jupytext.read(path, fmt="py:percent")


def code(cells):
    return [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]


def where(cells, part, after=-1):
    """The index of the first cell, behind cell number `after`, that is the part, or None."""
    for index, cell in enumerate(cells):
        if index <= after:
            continue
        if part.startswith("#"):
            if cell.cell_type == "markdown" and re.search(rf"^{re.escape(part)}", cell.source, re.MULTILINE):
                return index
        elif part in cell.metadata.get("tags", []):
            return index
    return None


def install_line():
    return code(read(TEMPLATE).cells)[0].source


def missing_parts(name, cells):
    """What a chapter lacks or has in the wrong place, one line each."""
    fewer = "capstone" in name or re.match(r"\d\d[a-z]_", name)
    opening, found = cells[0].source, []
    for wanted in ("# ", "colab.research.google", "**You will build**", "**You need**", "**It takes**", "CPU", "GPU"):
        if wanted not in opening:
            found.append(f"the first cell does not hold {wanted!r}")
    if code(cells)[0].source != install_line():
        found.append("the first code cell is not the install line of tools/chapter_template.py")
    parts = FEWER_PARTS if fewer else PARTS
    places = {part: where(cells, part) for part in parts}
    if places.get("agree") is not None:  # there may be figures before; the experiment's comes after
        places["figure"] = where(cells, "figure", places["agree"])
    found += [f"no part {part!r}" for part, place in places.items() if place is None]
    order = [part for part in parts if places[part] is not None]
    found += [f"{b!r} stands before {a!r}" for a, b in pairwise(order) if places[a] > places[b]]
    if places.get("receipt") is not None and "receipt" not in code(cells)[-1].metadata.get("tags", []):
        found.append("the receipt is not the last code cell")
    if "I can now" not in cells[places["## Summary"] or 0].source:
        found.append("the summary does not say 'I can now ...'")
    found += missing_in_exercises(cells, *((0, 3) if fewer else (3, 5)))
    return found if fewer else found + missing_in_a_full_chapter(cells, places)


def missing_in_a_full_chapter(cells, places):
    found, widget = [], where(cells, "widget")
    if widget is None or not (places["naive"] or 0) < widget < (places["## What DeepSeek did"] or 0):
        found.append("no cell tagged 'widget' between the naive version and 'What DeepSeek did'")
    if "largest difference" not in cells[places["agree"] or 0].source:
        found.append("the cell tagged 'agree' does not print the largest difference")
    section = slice(places["## What DeepSeek did"] or 0, places["## What went wrong"] or 0)
    deepseek = "\n".join(cell.source for cell in cells[section])
    if "$$" not in deepseek or "{cite}" not in deepseek:
        found.append("'What DeepSeek did' needs its equation ($$) and its citation ({cite})")
    return found


def missing_in_exercises(cells, fewest, most):
    found = []
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    exercises = re.findall(r"^`{3,}\{exercise\}.*?\n:label: (\S+)\n(.*?)^`{3,}$", text, re.MULTILINE | re.DOTALL)
    solutions = re.findall(r"^`{3,}\{solution(?:-start)?\} (\S+)\n:class: dropdown", text, re.MULTILINE)
    if not fewest <= len(exercises) <= most:
        found.append(f"{len(exercises)} exercises; {fewest} to {most} are wanted")
    for label, body in exercises:
        if label not in solutions:
            found.append(f"exercise {label} has no hidden solution")
        if "minutes" not in body or "hint" not in body.lower():
            found.append(f"exercise {label} needs its price in minutes and a hint")
    return found


def lines_of(cell):
    return len([line for line in cell.source.splitlines() if line.strip()])


def test_the_template_has_every_part():
    assert missing_parts("NN_name", read(TEMPLATE).cells) == []


@pytest.mark.parametrize("part", [*PARTS, "widget"])
def test_a_lost_part_is_noticed(part):
    cells = read(TEMPLATE).cells
    del cells[where(cells, part)]
    assert missing_parts("NN_name", cells)


@pytest.mark.parametrize("part", PARTS)
def test_a_second_page_needs_fewer_parts(part):
    cells = read(TEMPLATE).cells
    del cells[where(cells, part)]
    lacking = [line for line in missing_parts("07b_more_kernels", cells) if "exercise" not in line]
    assert bool(lacking) == (part in FEWER_PARTS)


def test_parts_in_the_wrong_order_are_noticed():
    cells = read(TEMPLATE).cells
    a, b = where(cells, "## What DeepSeek did"), where(cells, "## What went wrong")
    cells[a], cells[b] = cells[b], cells[a]
    assert any("stands before" in line for line in missing_parts("NN_name", cells))


def test_the_install_line_is_silent_where_the_package_is_installed(capsys):
    asked = []
    shell = type("Shell", (), {"run_line_magic": lambda self, *a: asked.append(a)})()
    exec(compile(install_line(), "install", "exec"), {"get_ipython": lambda: shell})
    assert asked == []
    assert capsys.readouterr() == ("", "")


def test_the_install_line_installs_where_the_package_is_missing_and_names_no_torch(monkeypatch):
    asked = []
    shell = type("Shell", (), {"run_line_magic": lambda self, *a: asked.append(a)})()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(compile(install_line(), "install", "exec"), {"get_ipython": lambda: shell})
    [(magic, line)] = asked
    assert magic == "pip"
    assert "minidsk[notebooks] @ git+https://github.com/minidsk/minidsk" in line
    assert "torch" not in line
    assert "upgrade" not in line


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_has_its_parts_in_order(path):
    assert missing_parts(path.stem, read(path).cells) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_agreement_was_printed(path):
    for cell in read(path).cells:
        if "agree" in cell.metadata.get("tags", []):
            assert "largest difference" in "".join(output.get("text", "") for output in cell.outputs)


def lost_in(source):
    """The tables and diagrams of a cell that nobody sees, because only its last value is shown."""
    body = ast.parse(source).body
    calls = [node.value for node in body[:-1] if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return [ast.unparse(call) for call in calls if ast.unparse(call.func) in ("table", "diagram")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_table_is_shown(path):
    assert lost_in("table([], [])\nprint(1)\ntable(['a'], [])") == ["table([], [])"]
    assert [lost for cell in code(read(path).cells) for lost in lost_in(cell.source)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_are_short(path):
    lengths = [lines_of(cell) for cell in code(read(path).cells)]
    assert max(lengths) <= 30
    assert median(lengths) <= 8


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_is_in_the_book_and_on_the_map(path):
    assert f"notebooks/{path.stem}" in (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert path.stem in (ROOT / "README.md").read_text(encoding="utf-8")
