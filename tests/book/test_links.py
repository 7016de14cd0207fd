"""Every link of the built book leads somewhere: to a file, to a place in it, or to a file of the repository."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
BASE = CONFIG["html"]["baseurl"]
SOURCE = CONFIG["sphinx"]["config"]["html_theme_options"]["repository_url"]
REPOSITORY = re.compile(re.escape(SOURCE) + r"/(?:blob|tree)/main/|.*?/github/minidsk/minidsk/blob/main/")


class Page(HTMLParser):
    """What a page links to, and the places in it that a link can name."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.places += filter(None, [given.get("id"), given.get("name") if tag == "a" else None])
        self.links += [given[name] for name in ("href", "src", "poster") if given.get(name)]
        if tag == "meta" and given.get("http-equiv") == "refresh":
            self.links.append(given["content"].partition("url=")[2])


def broken(folder):
    """The links of all pages under a folder that lead nowhere, and the names that a page gives twice."""
    files = [path for path in folder.rglob("*.html") if "_static" not in path.parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in files}
    found = []
    for path, page in pages.items():
        here = path.relative_to(folder)
        found += [f"{here}: two places named #{name}" for name, count in Counter(page.places).items() if count > 1]
        for link in dict.fromkeys(page.links):
            target = link.replace(BASE, f"{'../' * (len(here.parts) - 1)}./") if link.startswith(BASE) else link
            parts = urlsplit(target)
            if REPOSITORY.match(target):
                if not (ROOT / REPOSITORY.sub("", target).partition("#")[0]).exists():
                    found.append(f"{here}: {link} is not in the repository")
            elif not parts.scheme:
                file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                file = file / "index.html" if file.is_dir() else file
                if not file.exists():
                    found.append(f"{here}: {link} is no file")
                elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].places:
                    found.append(f"{here}: {link} is no place")
    return found


def test_every_link_leads_somewhere(site):
    assert broken(HTML) == []


@pytest.mark.parametrize(("body", "wrong"), [
    ('<a href="b.html#here">b</a><a href="#top">top</a><p id="top"><a href="https://example.org/x">out</a>', 0),
    (f'<a href="{SOURCE}/blob/main/README.md">r</a><a href="{BASE}b.html">b</a><img src="data:,">', 0),
    ('<a href="c.html">c</a>', 1),
    ('<a href="b.html#gone">b</a><a href="#gone">x</a>', 2),
    ('<script src="x.js"></script><img src="x.png"><meta http-equiv="refresh" content="0; url=x.html">', 3),
    (f'<a href="{SOURCE}/blob/main/NOTHING.md">r</a>', 1),
    ('<p id="a"></p><p id="a"></p>', 1),
])  # fmt: skip
def test_a_link_that_leads_nowhere_is_noticed(tmp_path, body, wrong):
    (tmp_path / "b.html").write_text('<p id="here">b</p>')
    (tmp_path / "a.html").write_text(body)
    assert len(broken(tmp_path)) == wrong
