"""The chapters as numbered cards: the directive `chapter-cards`, made from the notebooks' own opening cells.

A card has the chapter's number, its icon (`icons/NAME.svg`, NAME without the number; a chapter may have none), its
title, the question with which it opens (the last one before the list, with the sentence before it), what it takes to
run and to read, and on what hardware. An opening cell that lacks one of these fails the build with the chapter's name.
"""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

ICONS = Path(__file__).parent / "icons"
RUN = re.compile(r"\b((?:\d+ to )?\d+ s|(?:half a minute to )?(?:a|two|three) minutes?)\b")
READ = re.compile(r"\b((?:half an|an|two|three) hours?(?: and a half)?) (?:to read|for reading)")
SENTENCE_END = re.compile(r'(?<=[.?!])["”]?\s+(?=["“A-Z0-9])')


class Card(NamedTuple):
    """What a card says."""

    number: str
    title: str
    question: str
    run: str
    read: str
    hardware: str


def plain(text: str) -> str:
    """Markdown's words without its marks, on one line."""
    text = re.sub(r"\s*\{cite\w*\}`[^`]*`", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\s+", " ", re.sub(r"\*+|`|\$", "", text)).strip()


def read_card(path: Path) -> Card:
    """The card of a notebook. Raises `ExtensionError` where its opening cell lacks a part."""

    def lacking(what: str) -> ExtensionError:
        return ExtensionError(f"{path.name}: the opening cell has no {what}; the cards of the first page need it")

    try:
        source = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    except FileNotFoundError as error:
        raise ExtensionError(f"{path.name} is in _toc.yml, but not in notebooks/") from error
    title = re.search(r"^# (.+)$", source, re.MULTILINE)
    if not title:
        raise lacking("title (# ...)")
    opening, *points = re.split(r"^- ", source[title.end() :], flags=re.MULTILINE)
    sentences = SENTENCE_END.split(plain(re.sub(r"^\s*\[!\[.*$", "", opening, flags=re.MULTILINE)))
    asked = [k for k, sentence in enumerate(sentences) if sentence.endswith("?")]
    if not asked:
        raise lacking("question before its list")
    takes = plain(next((point for point in points if point.startswith("**It takes**")), ""))
    run, read = RUN.search(takes), READ.search(takes)
    if not run or not read:
        raise lacking('line "**It takes**" with seconds or minutes to run, and hours "to read" or "for reading"')
    needs = plain(next((point for point in points if point.startswith("**You need**")), ""))
    hardware = "two CPU cores; GPU speeds are recorded" if "no gpu" in needs.lower() else "two CPU cores"
    if "CPU" not in takes:
        hardware = "a GPU"
    question = " ".join(sentences[max(asked[-1] - 1, 0) : asked[-1] + 1])
    return Card(path.name.partition("_")[0], plain(title[1]), question, run[1], read[1], hardware)


def icon(stem: str) -> str:
    """The drawing of a chapter, or nothing."""
    path = ICONS / f"{stem[3:]}.svg"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


class ChapterCards(SphinxDirective):
    """``{chapter-cards}``: one list of cards for each part of the table of contents that has notebooks."""

    def run(self) -> list[nodes.Node]:
        """The HTML."""
        root = Path(self.env.app.srcdir)
        for path in [root / "_toc.yml", Path(__file__), *ICONS.glob("*.svg")]:
            self.env.note_dependency(str(path))
        html = []
        for part in yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))["parts"]:
            files = [entry["file"] for entry in part["chapters"] if entry["file"].startswith("notebooks/")]
            if files:
                cards = "\n".join(self.card(root, file) for file in files)
                html.append(
                    f'<h3 class="cards-part">{escape(part["caption"])}</h3>\n<ol class="cards">\n{cards}\n</ol>'
                )
        return [nodes.raw("", "\n".join(html), format="html")]

    def card(self, root: Path, file: str) -> str:
        """One card as an item of its list."""
        self.env.note_dependency(str(root / f"{file}.ipynb"))
        card = read_card(root / f"{file}.ipynb")
        said = {name: escape(value) for name, value in card._asdict().items()}
        link = self.env.app.builder.get_relative_uri(self.env.docname, file)
        return (
            f'<li><div class="card-head">{icon(Path(file).name)}<div><span class="card-number">{said["number"]}</span>'
            f'<a href="{link}">{said["title"]}</a></div></div><p>{said["question"]}</p>'
            f'<p class="card-cost">Read: {said["read"]} · Run: {said["run"]} · On: {said["hardware"]}</p></li>'
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("chapter-cards", ChapterCards)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
