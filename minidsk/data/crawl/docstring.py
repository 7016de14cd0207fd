"""A docstring as HTML: paragraphs, headings, code and formulas, as far as Python's own documentation marks them."""

from __future__ import annotations

import re
import textwrap
from html import escape

_INLINE = re.compile(r":(?P<role>[\w:+-]+):`(?P<text>[^`]+)`|``(?P<code>[^`]+)``|`(?P<name>[^`]+)`_?")
_TEX = re.compile(r"\\[a-zA-Z]|[\^_]\{")  # what stands in single quotes is a name, or in sympy a formula
_RULE = re.compile(r"([-=~^*#])\1{2,}\s*")
_DIRECTIVE = re.compile(r"\.\. (?P<name>[\w:-]+)::(?P<text>.*)")
_ITEM = re.compile(r"(?:[-*+]|\d+\.) +")
_HIDDEN = {"currentmodule", "module", "plot", "versionadded", "versionchanged", "index", "autosummary", "autofunction"}


def render(text: str) -> str:
    """The HTML of a docstring whose indentation has been taken off."""
    blocks = [block for block in re.split(r"\n(?:[ \t]*\n)+", text.expandtabs()) if block.strip()]
    parts = []
    for block, before in zip(blocks, ["", *blocks], strict=False):
        parts.append(_block(block.strip("\n"), before))
    return "\n".join(filter(None, parts))


def _block(block: str, before: str) -> str:
    lines = block.split("\n")
    first = lines[0].strip()
    directive = _DIRECTIVE.match(first)
    if directive:
        return _directive(directive["name"], "\n".join([directive["text"], *lines[1:]]))
    if block[0] == " " and _DIRECTIVE.match(before.strip().split("\n")[0] or " "):
        name = before.strip().split("::")[0].removeprefix(".. ")
        if name in ("math", *_HIDDEN):
            return _directive(name, block)
    if len(lines) > 1 and _RULE.fullmatch(lines[1].strip()):
        rest = "\n".join(lines[2:])
        return f"<h3>{escape(first)}</h3>" + (f"\n{_block(rest, '')}" if rest.strip() else "")
    if first.startswith(">>>") or (block[0] == " " and before.rstrip().endswith("::")):
        return f"<pre>{escape(textwrap.dedent(block))}</pre>"
    if _ITEM.match(first):
        items = [_ITEM.sub("", item.strip(), count=1) for item in re.split(r"\n(?= *(?:[-*+]|\d+\.) +)", block)]
        return "<ul>\n" + "\n".join(f"<li>{_inline(item)}</li>" for item in items) + "\n</ul>"
    return f"<p>{_inline(textwrap.dedent(block))}</p>"


def _directive(name: str, text: str) -> str:
    """A block that its first line gives a meaning: a formula, a note, or what a page does not show."""
    text = textwrap.dedent(text).strip()
    if name == "math":
        return f'<div class="math">\\[{escape(text)}\\]</div>' if text else ""
    if name in _HIDDEN or not text:
        return ""
    return f"<pre>{escape(text)}</pre>" if "code" in name or name == "doctest" else f"<p>{_inline(text)}</p>"


def _inline(text: str) -> str:
    """The text of a paragraph, with code and formulas marked."""
    parts, end = [], 0
    for found in _INLINE.finditer(text):
        parts.append(escape(text[end : found.start()], quote=False))
        end = found.end()
        words = escape(found["text"] or found["code"] or found["name"], quote=False)
        if found["role"] == "math" or (found["name"] and _TEX.search(found["name"])):
            parts.append(f'<span class="math">\\({words}\\)</span>')
        else:
            parts.append(f"<code>{words}</code>")
    return "".join([*parts, escape(text[end:], quote=False)])
