"""Chapters have the number of their file wherever they are named; old addresses lead to them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
EXTENSIONS = ROOT / "book" / "_ext"
CHAPTERS = {path.name.partition("_")[0]: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]*_*.ipynb"))}
SOURCES = [*CHAPTERS.values(), *sorted((ROOT / "book").glob("*.md"))]
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]+)\)")
MENTION = re.compile(r"(?<!their )\bchapters? (\d\d[a-z]?\b(?:(?:, | and | or | to )\d\d[a-z]?\b)*)", re.IGNORECASE)
REDIRECTS = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]["redirects"]


def prose(path):
    """The text of a page without its code: a notebook's markdown cells, or a Markdown file without its fences."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return re.sub(r"^```(?!\{).*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def unlinked(text, chapters):
    """What is wrong with the mentions of chapters in a text: those without a link, and links to another chapter."""
    found = []
    for words, target in LINK.findall(text):
        named = re.fullmatch(r"(?:chapters? )?(\d\d[a-z]?)", words, re.IGNORECASE)
        numbered = re.fullmatch(r"(?:.*/)?(\d\d[a-z]?)_\w+?(\.ipynb)?(?:#.*)?", target)
        if named and (not numbered or numbered[1] != named[1]):
            found.append(f"[{words}] leads to {target}")
        elif numbered and not numbered[2]:
            found.append(f"[{words}]({target}) lacks .ipynb, and is no link in Jupyter")
        elif numbered and (numbered[1] not in chapters or chapters[numbered[1]].stem not in target):
            found.append(f"[{words}]({target}) leads to no chapter")
    for mention in MENTION.findall(LINK.sub("", text)):
        numbers = re.findall(r"\d\d[a-z]?", mention)
        found += [f"chapter {number} is not a link" for number in numbers if number in chapters]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_mention_of_a_chapter_is_a_link_to_it(path):
    assert unlinked(prose(path), CHAPTERS) == []


@pytest.mark.parametrize(("text", "wrong"), [
    ("[chapter 12](12_grpo.ipynb), [Chapter 03](../notebooks/03_mixture_of_experts.ipynb#a), chapter 99", 0),
    ("Sutton treats it in their chapter 12", 0),
    ("chapter 12", 1),
    ("Chapters 02 and 03", 2),
    ("[chapters 02](02_latent_attention.ipynb) and [03](03_mixture_of_experts.ipynb)", 0),
    ("[chapter 12](13_grpo_variants.ipynb)", 1),
    ("[08](09_fp8_and_ptx.ipynb)", 1),
    ("[chapter 12](12_grpo)", 1),
    ("[the group](12_group.ipynb)", 1),
    ("[chapter 12](https://example.org)", 1),
])  # fmt: skip
def test_a_mention_that_is_no_link_is_noticed(text, wrong):
    assert len(unlinked(text, CHAPTERS)) == wrong


def test_numbers_stand_in_titles_sidebar_and_neighbours(site, reader):
    page, listed = reader, None
    for number, path in CHAPTERS.items():
        page.goto(f"{site}/notebooks/{path.stem}.html", wait_until="domcontentloaded")
        heading = page.locator("article h1").inner_text().removesuffix("#").strip()
        assert heading.startswith(f"{number} ")
        assert page.title() == f"{heading} — minidsk"
        # A chapter's second page is folded away elsewhere.
        links = page.locator("nav.bd-links a[href]:not([href^='http'])")
        sidebar = [text.strip() for text in links.all_text_contents()]
        assert heading in sidebar
        listed = listed or sidebar
        assert sidebar == listed
        near = page.locator(".prev-next-title").all_inner_texts()
        at = listed.index(heading)
        assert near == listed[at - 1 : at] + listed[at + 1 : at + 2]
    assert [entry.partition(" ")[0] for entry in listed if re.match(r"\d\d[a-z]? ", entry)] == list(CHAPTERS)


def test_a_link_to_a_chapter_says_its_title(site, reader):
    page, seen = reader, 0
    for path in CHAPTERS.values():
        page.goto(f"{site}/notebooks/{path.stem}.html", wait_until="domcontentloaded")
        links = page.locator("article a[href*='.html']")
        for href, said in links.evaluate_all("links => links.map(a => [a.getAttribute('href'), a.title])"):
            target = re.match(r"(?:\.\./notebooks/)?((\d\d[a-z]?)_\w+)\.html", href)
            if target and f"notebooks/{target[1]}" not in REDIRECTS:
                title = re.search(r"^# (.+)$", prose(ROOT / f"notebooks/{target[1]}.ipynb"), re.MULTILINE)[1]
                assert said == f"{target[2]} {title}"
                seen += 1
    assert seen > 20


@pytest.mark.parametrize("where", ["http", "folder"])
@pytest.mark.parametrize("scripts", [True, False])
def test_old_addresses_lead_to_the_new_ones(site, browser, where, scripts):
    start = site if where == "http" else HTML.as_uri()
    context = browser.new_context(java_script_enabled=scripts)
    page = context.new_page()
    for old, new in REDIRECTS.items():
        page.goto(f"{start}/{old}.html#summary", wait_until="commit")
        page.wait_for_url(f"{start}/{new}.html*")
        assert page.url == f"{start}/{new}.html{'#summary' if scripts else ''}"
    context.close()


def test_old_addresses_are_in_neither_search_nor_sitemap(site):
    for old, new in REDIRECTS.items():
        text = (HTML / f"{old}.html").read_text(encoding="utf-8")
        assert f'rel="canonical" href="https://minidsk.github.io/minidsk/{new}.html"' in text
        assert re.search(r'<meta http-equiv="refresh" content="0; url=[^"]+">', text)
        for name in ("sitemap.xml", "searchindex.js"):
            assert Path(old).name not in (HTML / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("table", "message"), [
    ({"old": "new"}, "old leads to new, which is no page of the book"),
    ({"index": "a"}, "index is a page of the book; take it off the table"),
    ({"deep/old": "a"}, None),
])  # fmt: skip
def test_the_table_of_old_addresses_is_checked(tmp_path, table, message):
    (tmp_path / "index.md").write_text("# I\n\n```{toctree}\na\n```\n")
    (tmp_path / "a.md").write_text("# A & B\n")
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\nextensions = ['myst_parser', 'redirects']\n"
        f"redirects = {table!r}\nhtml_baseurl = 'https://example.org/'\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(tmp_path), str(tmp_path / "out")]
    build = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (build.returncode != 0) == bool(message), build.stderr
    if message:
        assert message in build.stderr
    else:
        text = (tmp_path / "out" / "deep" / "old.html").read_text(encoding="utf-8")
        assert '<a href="../a.html">A &amp; B</a>' in text
