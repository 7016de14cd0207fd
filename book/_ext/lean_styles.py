"""The theme's style sheets, without the rules for classes that occur nowhere in the built site.

Bootstrap alone would bring 200 kB to every page. At the end of the build a rule stays if all classes of one of its
selectors occur among the words of the site's pages and scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

SHEETS = ("basic.css", "styles/bootstrap.css", "styles/pydata-sphinx-theme.css")
NEGATED = re.compile(r":not\([^()]*(?:\([^()]*\)[^()]*)*\)")
CLASS = re.compile(r"\.(-?[a-zA-Z_][\w-]*)")


def blocks(css: str) -> Iterator[tuple[str, str | None]]:
    """The pieces of a style sheet: what stands before a brace and what is in it (None after a statement)."""
    start = place = depth = 0
    for found in re.finditer(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|url\([^)\"']*\)|[{};]", css):
        match found[0]:
            case "{":
                place = found.start() if depth == 0 else place
                depth += 1
            case "}":
                depth -= 1
                if depth == 0:
                    yield css[start:place], css[place + 1 : found.start()]
                    start = found.end()
            case ";" if depth == 0:
                yield css[start : found.start()], None
                start = found.end()


def lean(css: str, words: set[str]) -> str:
    """The style sheet without the rules that no page can use, its meaning for the others unchanged."""
    kept = []
    for head, body in blocks(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)):
        name = head.strip()
        if body is None:
            kept.append(f"{name};")
        elif name.startswith(("@media", "@supports", "@layer")):
            if inner := lean(body, words):
                kept.append(f"{name}{{{inner}}}")
        elif name.startswith("@"):
            kept.append(f"{name}{{{body}}}")
        else:
            used = [one for one in split(name) if set(CLASS.findall(NEGATED.sub("", one))) <= words]
            if used:
                kept.append(f"{','.join(used)}{{{body}}}")
    return "".join(kept)


def split(selectors: str) -> list[str]:
    """A list of selectors, split at the commas that are in no brackets."""
    parts, depth = [""], 0
    for letter in selectors:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write `_static/theme.css`, the one that pages load, from the theme's sheets beside it."""
    if exception or app.builder.format != "html":
        return
    out = Path(app.outdir)
    words: set[str] = set()
    for path in [*out.glob("*.html"), *out.glob("*/*.html"), *out.glob("_static/**/*.js")]:
        words.update(re.findall(r"[\w-]+", path.read_text(encoding="utf-8")))
    sheets = [(out / "_static" / name).read_text(encoding="utf-8") for name in SHEETS]
    (out / "_static" / "theme.css").write_text("".join(lean(css, words) for css in sheets), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the last step."""
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
