"""The book on paper: all chapters in one page, in order, and a PDF of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import print_book  # noqa: E402
from chapter_cards import read_card  # noqa: E402
from chapters import listed  # noqa: E402

PARTS = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
NOTEBOOKS = [file for part in PARTS for file in listed(part)]
ONE_PAGE = pytest.mark.xdist_group("one page")  # building and opening it takes a minute: one worker does, for all tests


@pytest.fixture(scope="module")
def paper(site, browser, tmp_path_factory):
    """The one page, open as it is printed; `site` keeps the two builders from running at once."""
    folder = tmp_path_factory.mktemp("paper")
    print_book.build(folder)
    page = browser.new_page(viewport={"width": 665, "height": 950}, color_scheme="light")
    page.lost = []
    page.on("requestfailed", lambda request: page.lost.append(request.url))
    page.goto((folder / print_book.PAGE).as_uri(), timeout=240_000)  # some 30 pages in one, on a busy machine
    page.emulate_media(media="print")
    page.wait_for_function("document.querySelectorAll('mjx-container').length > 100", timeout=120_000)
    yield page
    page.close()


@ONE_PAGE
@pytest.mark.timeout(500)
def test_every_page_of_the_book_is_there_in_order(paper):
    files = [entry["file"] for part in PARTS for chapter in part["chapters"]
             for entry in [chapter, *chapter.get("sections", [])]]  # fmt: skip
    found = paper.locator("article [id^='document-']").evaluate_all("all => all.map(one => one.id)")
    assert [name for name in found if name != "document-book/intro"] == [f"document-{file}" for file in files]
    titles = paper.locator("article [id^='document-notebooks/'] + section > :is(h1, h2, h3)").all_inner_texts()
    wanted = [read_card(ROOT / f"{file}.ipynb").title for file in NOTEBOOKS]
    assert all(title.endswith(want) for title, want in zip(titles, wanted, strict=True)), titles


@ONE_PAGE
@pytest.mark.timeout(500)
def test_what_is_no_use_on_paper_is_gone_and_nothing_is_wider_than_it(paper):
    assert [url for url in paper.lost if "/webfonts/" not in url] == []
    for gone in (".bd-sidebar-primary", ".bd-header-article", ".copybtn", ".headerlink", "details.hide > summary"):
        assert paper.locator(gone).filter(visible=True).count() == 0, gone
    assert paper.evaluate("document.documentElement.scrollWidth") <= 665
    breaks = paper.locator("article [id^='document-notebooks/'] + section").evaluate_all(
        "all => all.map(one => getComputedStyle(one).breakBefore)"
    )
    assert breaks == ["page"] * len(NOTEBOOKS)
    assert paper.locator(".solution.toggle-hidden").count() > 20
    solved = paper.locator(".solution.toggle-hidden .admonition-title ~ *").evaluate_all(
        "all => all.filter(one => one.textContent.trim() && !one.matches('style, script, .expanded'))"
        ".filter(one => !one.getBoundingClientRect().height).map(one => one.outerHTML.slice(0, 200))"
    )
    assert solved == []


def test_a_dark_page_is_printed_in_light_colours(site, browser):
    page = browser.new_page(color_scheme="dark")
    page.goto(f"{site}/book/glossary.html")
    theme = "document.documentElement.dataset.theme"
    page.wait_for_function(f"{theme} === 'dark'")
    for event, wanted in (("beforeprint", "light"), ("beforeprint", "light"), ("afterprint", "dark")):
        page.evaluate(f"dispatchEvent(new Event('{event}'))")
        assert page.evaluate(theme) == wanted
    page.close()


def test_a_page_becomes_a_pdf_with_its_formulas(site, browser, tmp_path):
    target = tmp_path / "page.pdf"
    print_book.print_page(browser, ROOT / "_build/html/book/notation.html", target)
    assert target.read_bytes().startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", target.read_bytes())) >= 3
    assert list(tmp_path.iterdir()) == [target]


def test_a_build_that_fails_is_no_pdf(tmp_path, monkeypatch):
    monkeypatch.setattr(print_book, "ROOT", tmp_path)  # no book here
    monkeypatch.setattr(sys, "argv", ["print_book.py", str(tmp_path / "book.pdf")])
    with pytest.raises(subprocess.CalledProcessError):
        print_book.main()
    assert not (tmp_path / "book.pdf").exists()
