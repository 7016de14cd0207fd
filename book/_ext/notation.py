r"""The notation: which symbols the chapters' formulas use, and the directive `notation`, a table of what they mean.

A row of the directive is ``$G$ | answers to one question``, or ``$n$ | samples | 06``, where the symbol means something
else in other chapters. The table gets a third column, links to the chapters, from the formulas themselves.

A symbol is a letter, a Greek letter or a name in upright type, with its accent. A subscript or superscript belongs to
it where the table has the whole (``\pi_{old}``, ``N_r``, ``W^{UK}``); else what stands there is read as symbols of its
own (``h_t`` is h and t, ``h_{1:T-k}`` is h, T and k).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

BLOCK = re.compile(r"^(`{3,}|:{3,}){notation}[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\n]+?)\$", re.DOTALL)
CODE = re.compile(r"(?<!`)`[^`\n]+`(?!`)")
TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|[{}^_']|[a-zA-Z]|\s+|[^\s]")
WORDS = {"text", "operatorname", "mathrm", "rm"}  # upright letters
ACCENTS = {"hat", "bar", "tilde", "mathbb", "mathcal", "mathbf"}  # part of the symbol
GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "phi", "varphi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi",
    "Pi", "Sigma", "Phi", "Psi", "Omega", "nabla", "ell",
}  # fmt: skip
# Marks, layout and functions that every reader knows.
KNOWN = {
    "frac", "tfrac", "sqrt", "sum", "prod", "binom", "log", "ln", "exp", "min", "max", "cos", "sin", "tan", "tanh",
    "arcsin", "left", "right", "cdot", "cap", "dots", "ldots", "quad", "qquad", "mid", "ge", "le", "ne", "propto",
    "infty",
    "boxed", "underbrace", "begin", "end", "lceil", "rceil", "lVert", "rVert", "sim", "in", "to", "top", "times",
    "approx", "big", "bigl", "bigr",
}  # fmt: skip
PRIME = "'"


class Row(NamedTuple):
    """A row of the table: the symbol as it is written and as it is compared, its meaning, and in which chapters."""

    shown: str
    symbol: str
    meaning: str
    chapters: tuple[str, ...]


def rows(page: str) -> list[Row]:
    """The rows of all tables of a page in Markdown."""
    return [row(line) for _, body in BLOCK.findall(page) for line in body.splitlines() if line.strip()]


def row(line: str) -> Row:
    """One row. Raises `ExtensionError` for a line that is none."""
    parts = [part.strip() for part in re.split(r"(?<!\\)\|", line)]
    if len(parts) not in (2, 3) or not re.fullmatch(r"\$[^$]+\$", parts[0]):
        raise ExtensionError(f"notation: {line!r} is no row; write $symbol$ | meaning, or $symbol$ | meaning | 02 03")
    chapters = tuple(parts[2].split()) if len(parts) == 3 else ()
    return Row(parts[0], canonical(parts[0].strip("$")), parts[1], chapters)


def formulas(notebook: str) -> list[str]:
    """The formulas in the text cells of a notebook's percent twin."""
    cells = re.split(r"(?m)^# %%", notebook)
    texts = ["\n".join(line[1:].strip() for line in cell.splitlines()[1:])
             for cell in cells if "[markdown]" in cell[:40]]  # fmt: skip
    return [block or inline for text in texts for block, inline in FORMULA.findall(CODE.sub("", text))]


def canonical(symbol: str) -> str:
    r"""A symbol without spaces, braces and the commands for upright type: ``\pi_{\text{old}}`` is ``\pi_old``."""
    symbol = re.sub(r"\\(text|operatorname|mathrm|rm)\b\s*", "", symbol)
    return re.sub(r"[{}\s]", "", symbol)


def symbols(formula: str, table: set[str]) -> set[str]:
    """The symbols of a formula, in the form of `canonical`; wholes that `table` has are not taken apart."""
    return set(read([token for token in TOKEN.findall(formula) if not token.isspace() and token != r"\,"], table))


def group(tokens: list[str], at: int) -> tuple[list[str], int]:
    """What stands at a place, a token or the inside of a pair of braces, and where it ends."""
    if at >= len(tokens) or tokens[at] != "{":
        word = at < len(tokens) and tokens[at].lstrip("\\") in WORDS | ACCENTS
        inside, end = group(tokens, at + 1) if word else ([], at + 1)
        return [*tokens[at : at + 1], *(["{", *inside, "}"] if word else [])], end
    depth, end = 1, at + 1
    while depth:
        depth += {"{": 1, "}": -1}.get(tokens[end], 0)
        end += 1
    return tokens[at + 1 : end - 1], end


def read(tokens: list[str], table: set[str]) -> Iterator[str]:
    """The symbols of a list of tokens."""
    at = 0
    while at < len(tokens):
        token, command = tokens[at], tokens[at].lstrip("\\")
        if not re.match(r"\\?[a-zA-Z]", token):
            at += 1
            continue
        if command in ("begin", "end") and token[0] == "\\":
            _, at = group(tokens, at + 1)
            continue
        if token[0] == "\\" and command in KNOWN:
            at += 1
            continue
        base, at = head(tokens, at)
        scripts: dict[str, list[str]] = {}
        while at < len(tokens) and tokens[at] in ("_", "^", PRIME):
            if tokens[at] == PRIME:
                at += 1
            else:
                mark = tokens[at]
                scripts[mark], at = group(tokens, at + 1)
        yield from taken_apart(base, scripts, table)


def head(tokens: list[str], at: int) -> tuple[str, int]:
    """The symbol at a place without its scripts, and where it ends."""
    token, command = tokens[at], tokens[at].lstrip("\\")
    if token[0] == "\\" and command in WORDS | ACCENTS:
        inside, end = group(tokens, at + 1)
        text = canonical(" ".join(inside))
        return (f"\\{command}{text}" if command in ACCENTS else text if command != "text" else ""), end
    if token[0] == "\\" and command not in GREEK:
        raise ExtensionError(f"notation: the command {token} is not known; add it to book/_ext/notation.py")
    if token == "d" and at + 1 < len(tokens) and re.fullmatch("[a-zA-Z]", tokens[at + 1]):
        return "dx", at + 1  # the gradient with respect to x, or to the letter that follows
    return token, at + 1


def taken_apart(base: str, scripts: dict[str, list[str]], table: set[str]) -> Iterator[str]:
    """The longest whole that the table has, and what is left of the scripts."""
    scripts = {mark: [token for token in tokens if token != r"\top"] for mark, tokens in scripts.items()}
    parts = {mark: canonical(" ".join(tokens)) for mark, tokens in scripts.items()}
    for kept in (("_", "^"), ("^",), ("_",), ()):
        whole = base + "".join(mark + parts[mark] for mark in kept if mark in parts)
        if whole in table and all(mark in parts for mark in kept):
            break
    else:
        kept, whole = (), base
    if whole:
        yield whole
    for mark, tokens in scripts.items():
        if mark not in kept:
            yield from read(tokens, table)


def used(notebooks: Path, table: set[str]) -> dict[str, set[str]]:
    """For each symbol, the numbers of the chapters whose formulas use it."""
    found: dict[str, set[str]] = {}
    for path in sorted(notebooks.glob("[0-9][0-9]*_*.py")):
        for formula in formulas(path.read_text(encoding="utf-8")):
            for symbol in symbols(formula, table):
                found.setdefault(symbol, set()).add(path.name.partition("_")[0])
    return found


class Notation(SphinxDirective):
    """``{notation}``: a table of symbols, their meaning, and the chapters that use them."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The table, read as Markdown."""
        root = Path(self.env.srcdir)
        page = Path(self.env.doc2path(self.env.docname)).read_text(encoding="utf-8")
        twins = {path.name.partition("_")[0]: path for path in sorted((root / "notebooks").glob("[0-9][0-9]*_*.py"))}
        for path in [*twins.values(), Path(__file__)]:
            self.env.note_dependency(str(path))
        where = used(root / "notebooks", {row.symbol for row in rows(page)})
        lines = ["| symbol | meaning | chapters |", "| --- | --- | --- |"]
        for shown, symbol, meaning, chapters in map(row, filter(str.strip, self.content)):
            links = [f"[{number}](/notebooks/{twins[number].stem}.ipynb)"
                     for number in chapters or sorted(where.get(symbol, ()))]  # fmt: skip
            lines.append(f"| {shown} | {meaning} | {', '.join(links)} |")
        into = nodes.container(classes=["notation"])
        self.state.nested_parse(StringList(lines, self.env.docname), self.content_offset, into)
        return into.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("notation", Notation)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
