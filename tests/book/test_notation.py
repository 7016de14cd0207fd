"""The notation has every symbol of the chapters' formulas, once a chapter, and no other."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import notation  # noqa: E402

PAGE = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")


def faults(page, notebooks):
    """What the page lacks, has too much, or says twice."""
    rows = notation.rows(page)
    used = notation.used(notebooks, {row.symbol for row in rows})
    found = [f"{symbol}, in {sorted(chapters)}: not in book/notation.md" for symbol, chapters in used.items()
             if symbol not in {row.symbol for row in rows}]  # fmt: skip
    for symbol, count in Counter(row.symbol for row in rows).items():
        mine = [row for row in rows if row.symbol == symbol]
        said = Counter(chapter for row in mine for chapter in row.chapters)
        chapters = used.get(symbol, set())
        if not chapters:
            found.append(f"{symbol}: in no formula")
        elif count > 1 and not all(row.chapters for row in mine):
            found.append(f"{symbol}: several meanings, and a row that does not say in which chapters")
        elif said and set(said) != chapters:
            found.append(f"{symbol}: used in {sorted(chapters)}, explained for {sorted(said)}")
        found += [f"{symbol}: two meanings in chapter {chapter}" for chapter, times in said.items() if times > 1]
    return found


def test_each_symbol_has_one_meaning_in_a_chapter():
    assert faults(PAGE, ROOT / "notebooks") == []


def book(folder, formula):
    """A folder with one chapter, 05, that has one formula."""
    (folder / "05_x.py").write_text(f"# %% [markdown]\n# Text with ${formula}$ in it.\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(("formula", "rows", "fault"), [
    ("a + b", "$a$ | A", "b, in ['05']: not in"),
    ("a", "$a$ | A\n$b$ | B", "b: in no formula"),
    ("a", "$a$ | A\n$a$ | B", "a: several meanings"),
    ("a", "$a$ | A | 05\n$a$ | B | 05", "a: two meanings in chapter 05"),
    ("a", "$a$ | A | 06", "a: used in ['05'], explained for ['06']"),
    (r"\frac{a_{i}}{2}", "$a$ | A", "i, in ['05']"),
])  # fmt: skip
def test_the_test_bites(tmp_path, formula, rows, fault):
    found = faults(f"```{{notation}}\n{rows}\n```\n", book(tmp_path, formula))
    assert len(found) >= 1
    assert any(line.startswith(fault) for line in found), found


@pytest.mark.parametrize(("formula", "table", "symbols"), [
    ("h_{1:T-k}", "", "h T k"),
    (r"\pi_{\theta_{\text{old}}}(o_{i,<t} \mid q)", r"\pi_\theta_old", r"\pi_\theta_old o i t q"),
    (r"\pi_{\rm ref}\, e^{r/\beta}", r"\pi_ref", r"\pi_ref e r \beta"),
    (r"W_i^{UK\top} c_t^{KV}", "W^UK c^KV", "W^UK i c^KV t"),
    (r"\left(\hat A_i\right) \cdot \mathbb{D}_{KL}", r"\mathbbD_KL", r"\hatA i \mathbbD_KL"),
    (r"\operatorname{clip}(\rho)A", "", r"clip \rho A"),
    (r"\mathrm{FFN}^{(s)}_i(u'_t)", "FFN^(s)", "FFN^(s) i u t"),
    (r"dx = r\, dW \text{ bytes}", "", "dx x r W"),
    (r"\begin{cases} a & b \\ 0 & \text{otherwise} \end{cases}", "", "a b"),
    (r"2^{-6} \cdot 128{,}000", "", ""),
])  # fmt: skip
def test_formulas_are_read_as_a_reader_reads_them(formula, table, symbols):
    assert notation.symbols(formula, set(table.split())) == set(symbols.split())


def test_what_cannot_be_read_is_named():
    with pytest.raises(ExtensionError, match=r"command \\weird is not known"):
        notation.symbols(r"\weird a", set())
    with pytest.raises(ExtensionError, match="'a, b' is no row"):
        notation.row("a, b")


def test_formulas_inside_exercises_count_and_code_does_not():
    twin = "# %% [markdown]\n# ```{exercise} X\n# Let $a$ be `$b$`.\n# ```\n#\n# $$\n# c\n# $$\n\n# %%\nx = '$d$'\n"
    assert [formula.strip() for formula in notation.formulas(twin)] == ["a", "c"]


def test_the_letters_of_shapes_are_listed():
    listed = set(re.findall(r"^\| ([A-Z]) \|", PAGE, re.MULTILINE))
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "minidsk").rglob("*.py")]
    shapes = " ".join(shape for source in sources for shape in re.findall(r"``(\[[\w ,*./+-]*\])``", source))
    assert set(re.findall(r"\b[A-Z]\b", shapes)) == listed


def test_the_page_links_the_chapters(site, browser):
    page = browser.new_page()
    page.goto(f"{site}/book/notation.html")
    row = page.locator("tr", has=page.get_by_text("price of straying from the reference"))
    assert row.locator("a").all_inner_texts() == ["11", "12", "22"]
    row.locator("a").first.click()
    assert "Human feedback" in page.title()
    page.close()
