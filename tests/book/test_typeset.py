"""Formulas are set while the book is built, and the theme's styles lose only what no page uses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from docutils import nodes
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import lean_styles  # noqa: E402
import typeset  # noqa: E402


def test_a_formula_has_its_glyphs_and_its_mathml():
    html = typeset.typeset(r"\frac{1}{G}", True)
    assert 'display="true"' in html
    assert [chr(int(code, 16)) for code in re.findall(r'class="mjx-c([0-9A-F]+)', html)] == ["1", "𝐺"]
    assert "<mfrac><mn>1</mn><mi>G</mi></mfrac>" in re.sub(r" data-[\w-]+=\"[^\"]*\"", "", html)
    assert 'display="true"' not in typeset.typeset("x", False)


@pytest.mark.parametrize("tex", [r"\frac{1}", r"\nosuchthing", "{x"])
def test_tex_that_is_wrong_is_refused_with_the_formula(tex):
    with pytest.raises(ExtensionError, match=r"MathJax refuses a formula \(.+\): " + re.escape(tex)):
        typeset.typeset(tex, False)


def test_lines_of_a_display_stand_under_each_other():
    assert typeset.source(nodes.math_block("", r"a \\ b")) == r"\begin{split}a \\ b\end{split}"
    assert typeset.source(nodes.math_block("", r"\begin{cases}a \\ b\end{cases}")).startswith(r"\begin{cases}")
    assert typeset.source(nodes.math("", " a ")) == "a"


def test_a_page_loads_no_math_script_and_its_fonts_are_there(tmp_path):
    (tmp_path / "index.md").write_text("# T\n\n$a_{i}$ and\n\n$$\\mathbb{E}[x]$$\n")
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\nextensions = ['myst_parser', 'typeset']\n"
        "myst_enable_extensions = ['dollarmath']\nhtml_math_renderer = 'typeset'\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(tmp_path), str(tmp_path / "out")]
    for _ in ("first", "again, with nothing changed"):
        subprocess.run(command, check=True)
        html, css = (tmp_path / "out" / name for name in ("index.html", "_static/math.css"))
        assert html.read_text().count("<mjx-container") == 2
        assert not re.search("<script[^>]*mathjax", html.read_text(), re.IGNORECASE)
        assert "TEX-A::before" in css.read_text()  # of the double-struck E
        fonts = re.findall(r'url\("([^"]+)"\)', css.read_text())
        assert fonts
        assert all((css.parent / font).exists() for font in fonts)


@pytest.mark.parametrize(("css", "kept"), [
    (".used{a:b}.gone{a:b}", ".used{a:b}"),
    (".used .gone,.used>p,p{a:b}", ".used>p,p{a:b}"),
    ("p:not(.gone){a:b}", "p:not(.gone){a:b}"),
    (".used:is(.gone,.used){a:b}", ""),
    ("@media (min-width:1px){.gone{a:b}.used{c:d}}@media print{.gone{a:b}}", "@media (min-width:1px){.used{c:d}}"),
    ("@font-face{src:url(x.woff)}@keyframes gone{0%{a:b}}", "@font-face{src:url(x.woff)}@keyframes gone{0%{a:b}}"),
    ('@charset "UTF-8";/* .c{ */.used{a:"}{;";b:url(data:a;b,{)}', '@charset "UTF-8";.used{a:"}{;";b:url(data:a;b,{)}'),
    (".used[a=\",\"],.gone{a:b}", ".used[a=\",\"]{a:b}"),
])  # fmt: skip
def test_rules_for_classes_that_no_page_has_are_left_out(css, kept):
    assert lean_styles.lean(css, {"used"}) == kept
