"""Formulas are typeset while the book is built: no page loads MathJax, and all of them read well without scripts.

MathJax itself does it, out of the installed django-static-mathjax, in the JavaScript engine QuickJS, on the thread
that asks: an engine with threads of its own once waited forever. A formula becomes HTML with MathML beside it for
readers of the screen; the styles and fonts that the whole book needs go into `_static/math.css` and `_static/math/`.
TeX that MathJax refuses fails the build with its page.
"""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from quickjs import Context, JSException
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

PARTS = ("startup", "core", "adaptors/liteDOM", "input/tex-base", "input/tex/extensions/ams", "output/chtml",
         "output/chtml/fonts/tex", "a11y/assistive-mml")  # fmt: skip
BEFORE = "var global = globalThis, MathJax = {loader: {load: []}, startup: {ready() {}, typeset: false}};"
AFTER = """
const lib = MathJax._, adaptor = lib.adaptors.liteAdaptor.liteAdaptor();
lib.a11y["assistive-mml"].AssistiveMmlHandler(lib.handlers.html_ts.RegisterHTMLHandler(adaptor));
const tex = new lib.input.tex_ts.TeX({packages: ["base", "ams"], formatError(jax, error) { throw error; }});
const font = new lib.output.chtml.fonts.tex_ts.TeXFont({fontURL: "math"});
const chtml = new lib.output.chtml_ts.CHTML({font, adaptiveCSS: true});
const page = lib.mathjax.mathjax.document("", {InputJax: tex, OutputJax: chtml});
const room = {em: 16, ex: 8, containerWidth: 1280};
const typeset = (source, display) => {
  try { return adaptor.outerHTML(page.convert(source, {display, ...room})); }
  catch (error) { throw new Error(error.message); }
};
const styles = () => adaptor.textContent(chtml.styleSheet(page));
"""


def mathjax() -> Path:
    """The folder of the installed MathJax."""
    spec = find_spec("mathjax")
    if spec is None or not spec.submodule_search_locations:
        raise ExtensionError("MathJax is missing: pip install django-static-mathjax")
    return Path(spec.submodule_search_locations[0]) / "static" / "mathjax" / "es5"


@cache
def engine() -> Context:
    """MathJax, ready to typeset."""
    context = Context()
    context.eval(BEFORE)
    for part in PARTS:
        context.eval((mathjax() / f"{part}.js").read_text(encoding="utf-8"))
    context.eval(AFTER)
    return context


def ask(expression: str) -> str:
    """The text that an expression of JavaScript yields; it travels as JSON, because a joined string cannot."""
    return json.loads(engine().eval(f"JSON.stringify({expression})"))


@cache
def typeset(tex: str, display: bool) -> str:
    """The HTML of a formula. Raises `ExtensionError` with MathJax's reason and the formula."""
    try:
        return ask(f"typeset({json.dumps(tex)}, {json.dumps(display)})")
    except JSException as error:
        reason = re.search(r"(?:Error: )?([^\n]+)", str(error))[1]
        raise ExtensionError(f"MathJax refuses a formula ({reason[:200]}): {tex}") from None


def source(node: nodes.math | nodes.math_block) -> str:
    """The TeX of a node; lines of a display that has several are set under each other."""
    tex = node.astext().strip()
    lines = isinstance(node, nodes.math_block) and not node.get("no-wrap", node.get("nowrap")) and r"\\" in tex
    return rf"\begin{{split}}{tex}\end{{split}}" if lines and r"\begin{" not in tex else tex


def inline(translator: Any, node: nodes.math) -> None:
    """Write a formula in a line of text."""
    translator.body.append(f'<span class="math notranslate nohighlight">{typeset(source(node), False)}</span>')
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """Write a displayed formula, with its number if it has one."""
    number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
    start = translator.starttag(node, "div", CLASS="math notranslate nohighlight")
    translator.body.append(f"{start}{number}{typeset(source(node), True)}</div>\n")
    raise nodes.SkipNode


def write_styles(app: Sphinx, exception: Exception | None) -> None:
    """Write the style sheet and the fonts, for the formulas of all pages, those of an earlier build too."""
    if exception or app.builder.format != "html":
        return
    for docname in app.env.found_docs:
        for node in app.env.get_doctree(docname).findall(lambda n: isinstance(n, (nodes.math, nodes.math_block))):
            typeset(source(node), isinstance(node, nodes.math_block))
    static = Path(app.outdir) / "_static"
    css = re.sub(r"\s+", " ", ask("styles()"))
    (static / "math.css").write_text(css, encoding="utf-8")
    (static / "math").mkdir(exist_ok=True)
    for name in set(re.findall(r'url\("math/([^"]+)"\)', css)):
        shutil.copy2(mathjax() / "output" / "chtml" / "fonts" / "woff-v2" / name, static / "math" / name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer; `html_math_renderer: typeset` chooses it."""
    app.add_html_math_renderer("typeset", (inline, None), (block, None))
    app.add_css_file("math.css")
    app.connect("build-finished", write_styles)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}  # one engine
