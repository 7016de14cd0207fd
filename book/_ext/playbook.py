"""The playbook: the directive `playbook`, every claim of the story with our figure and how it came out.

The claims stand in `claims.yml`; `findings.py` reads the figure of each from the records while the book is built, and
computes its verdict. A record that is missing fails the build with its name. So does a verdict about which `claims.yml`
has no sentence: where a new record changes how a claim comes out, an author has to say so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import findings
import yaml
from chapter_cards import read_card
from chapters import listed
from docutils import nodes
from records import Records
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent


class Entry(NamedTuple):
    """A claim as the page shows it; `facts` are names and texts in Markdown."""

    id: str
    claim: str
    verdict: str
    facts: dict[str, str]


def capital(text: str) -> str:
    """The text with a capital first letter, inside a link if it begins with one."""
    return re.sub("[a-z]", lambda found: found[0].upper(), text, count=1)


def sources(names: list[str], repository: str) -> str:
    """Links in Markdown to the records that a figure was read from, or to all of them."""
    few = names if len(names) <= 6 else [""]
    links = [f"[results/{name}]({repository}/tree/main/results/{name})" for name in few]
    return ", ".join(links) + "."


def chapter(root: Path, stem: str, planned: dict[str, str]) -> str:
    """A link to a chapter in Markdown, or that it is not written yet."""
    parts = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    if any(f"notebooks/{stem}" in listed(part) for part in parts):
        title = read_card(root / "notebooks" / f"{stem}.ipynb").title
        return f"[chapter {stem.partition('_')[0].removeprefix('0')}, {title}](/notebooks/{stem}.ipynb)"
    if stem not in planned:
        raise ExtensionError(f"claims.yml: chapter {stem} is neither in _toc.yml nor among those planned")
    return f"the chapter on {planned[stem]} is not written yet"


def read(root: Path, records: Records, repository: str) -> list[Entry]:
    """The claims in order; `repository` is the address at which the records are linked.

    Raises `ExtensionError` where a record, a chapter or a sentence is missing.
    """
    table = yaml.safe_load((HERE / "claims.yml").read_text(encoding="utf-8"))
    entries = []
    for row in table["claims"]:
        found, before = findings.Finding(findings.UNTESTED, ""), len(records.opened)
        if "finding" in row:
            found = getattr(findings, row["finding"])(records)
        if found.verdict not in row["says"]:
            raise ExtensionError(f"claims.yml: {row['id']} comes out as {found.verdict!r}, but has no sentence for it")
        chapters = "; ".join(chapter(root, stem, table["planned"]) for stem in row["chapters"])
        read_from = dict.fromkeys(path.relative_to(root).parts for path in records.opened[before:])
        names = list(dict.fromkeys(parts[1] for parts in read_from if parts[0] == "results"))
        facts = {
            "Said by": row["who"] + ".", "Where": capital(chapters) + ".",
            "Experiment": row["experiment"],
            **({"Figure": found.figure, "Records": sources(names, repository)} if found.figure else {}),
            "Verdict": row["says"][found.verdict],
        }  # fmt: skip
        entries.append(Entry(row["id"], row["claim"].removesuffix("."), found.verdict, facts))
    return entries


def badge(verdict: str) -> nodes.inline:
    """A verdict as a coloured label."""
    return nodes.inline("", verdict, classes=["verdict", "verdict-" + verdict.replace(" ", "-")])


class Playbook(SphinxDirective):
    """``{playbook}``: the verdicts at a glance, then a section for each claim."""

    def run(self) -> list[nodes.Node]:
        """The list of verdicts and the sections."""
        root = Path(self.env.app.srcdir)
        records = Records(root)
        entries = read(root, records, self.config.html_theme_options["repository_url"])
        files = ("playbook.py", "claims.yml", "findings.py", "records.py", "verdicts.py")
        ours = [*(HERE / file for file in files), root / "_toc.yml"]
        for path in dict.fromkeys([*records.opened, *ours]):
            self.env.note_dependency(str(path))
        return [self.overview(entries), *map(self.section, entries)]

    def overview(self, entries: list[Entry]) -> nodes.Node:
        """All verdicts, each with a link to its claim."""
        items = []
        for entry in entries:
            link = nodes.reference("", entry.claim, internal=True, refid=entry.id)
            items.append(nodes.list_item("", nodes.paragraph("", "", badge(entry.verdict), nodes.Text(" "), link)))
        return nodes.bullet_list("", *items, classes=["verdicts"])

    def section(self, entry: Entry) -> nodes.Node:
        """One claim: its facts as a list of names and texts."""
        section = nodes.section(ids=[entry.id], names=[entry.id])
        self.state.document.note_explicit_target(section)
        section += nodes.title("", entry.claim)
        facts = nodes.definition_list(classes=["facts"])
        for name, text in entry.facts.items():
            body = nodes.definition("", *self.parse_text_to_nodes(text))
            if name == "Verdict":
                body[0].insert(0, [badge(entry.verdict), nodes.Text(" ")])
            facts += nodes.definition_list_item("", nodes.term("", name), body)
        section += facts
        return section


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive, and the style that the lab notebook shares."""
    app.add_directive("playbook", Playbook)
    app.add_css_file("playbook.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
