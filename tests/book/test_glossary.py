"""The glossary: its terms are linked at their first mention in a chapter, and nowhere where that would be wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import glossary_links  # noqa: E402

PAGE = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
LINE = r"(.*) \[(?:Chapter (\d\d[a-z]?)\]\(\.\./notebooks/\2_\w+\.ipynb|First page\]\(intro\.md)\)"
ENTRIES = glossary_links.entries(PAGE)


def test_each_entry_explains_itself_and_leads_to_a_chapter():
    terms = [term for entry in ENTRIES for term in entry]
    assert len(terms) == len({term.lower() for term in terms})
    assert len(terms) > 50
    explained = re.findall(r"^  (\S.*)$", PAGE, re.MULTILINE)
    assert len(explained) == len(ENTRIES)
    for line in explained:
        said, chapter = re.fullmatch(LINE, line).groups()
        assert 1 <= len(re.findall(r"[.:](?: |$)", said)) <= 4
        assert list((ROOT / "notebooks").glob(f"{chapter or ''}*.ipynb"))


def test_a_term_stands_in_the_chapter_that_its_entry_names():
    explained = re.findall(r"^  (\S.*)$", PAGE, re.MULTILINE)
    for entry, line in zip(ENTRIES, explained, strict=True):
        chapter = re.fullmatch(LINE, line)[2]
        path = next((ROOT / "notebooks").glob(f"{chapter}_*.py")) if chapter else ROOT / "book" / "intro.md"
        words = [re.sub(r" (\(.*|interval$)", "", term) for term in entry]
        text = re.sub(r"\s*\n# ?", " ", path.read_text(encoding="utf-8"))
        found = [word for word in words if re.search(glossary_links.pattern(word), text) or f"`{word.lower()}`" in text]
        assert found, (entry, chapter)


def test_first_mentions_in_a_chapter_lead_to_the_glossary(site, browser):
    page = browser.new_page()
    page.goto(f"{site}/notebooks/12_grpo.html")
    links = page.locator("article a:has(> .glossary-term)")
    targets = [link.get_attribute("href") for link in links.all()]
    assert "../book/glossary.html#term-advantage" in targets
    assert len(targets) == len(set(targets)) > 8
    elsewhere = ":is(h1, h2, h3, figcaption, table, pre, code, .cell_output) .glossary-term"
    assert page.locator(elsewhere).count() == 0
    first = page.locator("article p", has_text="advantage").first
    assert first.locator("a[href$='#term-advantage']").count() == 1
    links.first.click()
    page.locator("dt:target").wait_for()
    page.close()


CHAPTER = """# A policy

A [policy](other) and `policy`, then Policies and a policy. The KL divergence, not a KL; preload the load.

| policy |
| --- |
| critic |

A **critic** in bold. Bad-critic and critics.
"""


TERMS = "# Glossary\n\n```{glossary}\npolicy\n  What.\n\ncritic\njudge\n  Who.\n\nload (of)\n  N.\n```\n"
INDEX = "# Index\n\n```{toctree}\n:glob:\n*/*\nother\n```"


def build(folder):
    """A book of one chapter and a glossary."""
    pages = {"notebooks/05_x.md": CHAPTER, "book/glossary.md": TERMS, "other.md": "# Other\n\nA policy.",
             "index.md": INDEX}  # fmt: skip
    for name, text in pages.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace("(other)", "(../other.md)"), encoding="utf-8")
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        f"extensions = ['myst_parser', 'glossary_links']\nhtml_theme = 'basic'\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "-b", "html", str(folder), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [(folder / "out" / name).read_text(encoding="utf-8") for name in ("notebooks/05_x.html", "other.html")]


def test_only_the_first_mention_in_running_text_is_linked(tmp_path):
    chapter, other = build(tmp_path)
    linked = re.findall(r'href="../book/glossary.html#term-(\w+)"[^>]*><span class="glossary-term">([^<]+)<', chapter)
    assert linked == [("policy", "Policies"), ("critic", "critic")]
    assert "glossary-term" not in other


@pytest.mark.parametrize(("term", "yes", "no"), [
    ("policy", ["policy", "Policies"], ["POLICY"]),
    ("BPE", ["BPE"], ["bpe", "Bpe"]),
    ("KV cache", ["KV cache", "KV caches", "KV\ncache"], ["kv cache"]),
    ("pass@k", ["pass@k"], ["pass"]),
])  # fmt: skip
def test_a_term_is_found_in_its_forms(term, yes, no):
    find = re.compile(glossary_links.pattern(term))
    assert all(find.fullmatch(word) for word in yes)
    assert not any(find.fullmatch(word) for word in no)
