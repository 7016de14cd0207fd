"""The rest of the front page: cards that say what the chapters say, the share card, the 404 page, visible focus."""

import json
import re
import sys
from pathlib import Path

import pytest
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import chapter_cards  # noqa: E402
import first_screen  # noqa: E402

CHAPTERS = first_screen.chapters(ROOT)


@pytest.fixture
def page(site, browser):
    """The first page."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(f"{site}/book/intro.html")
    yield page
    page.close()


@pytest.mark.parametrize("file", CHAPTERS)
def test_a_card_says_what_its_chapter_says(site, browser, file):
    twin = " ".join(
        re.sub(r"^# ?", "", line) for line in (ROOT / f"{file}.py").read_text(encoding="utf-8").splitlines()
    )
    twin = chapter_cards.plain(twin.partition("You will build")[0])
    card = chapter_cards.read_card(ROOT / f"{file}.ipynb")
    assert card.question.endswith("?")
    assert card.question in twin
    page = browser.new_page()
    page.goto(f"{site}/book/intro.html")
    item = page.locator("ol.cards > li", has=page.locator(f"a[href$='{file}.html']"))
    text = item.inner_text()
    for part in card:
        assert part in text
    item.locator("a").click()
    assert card.title in page.locator("article h1").inner_text()
    page.close()


CUT = """() => [...document.querySelectorAll("article figure > div, article table, article pre")]
  .filter(box => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1).map(box => box.outerHTML)"""


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_on_the_first_page_is_cut_at_the_edge(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(f"{site}/book/intro.html")
    assert page.evaluate(CUT) == []
    shown = page.locator("figure.mdsk-diagram svg:visible")
    assert shown.count() == 2, "the course and the learning curve, each once"
    small = "svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width"
    units = [1, 4 / 3]  # of a drawing by hand a pixel, of a plot a point
    assert all(shown.nth(k).evaluate(small) > 0.85 * units[k] * 0.98 for k in range(2)), "letters too small"
    page.evaluate("document.querySelector('article').style.width = '200px'")
    assert len(page.evaluate(CUT)) > 1
    page.close()


OPENING = (
    "# T\n\nA fact. Why?\n\n- **You need** it.\n- **It takes** about 6 s to run on two CPU cores, and an hour to read."
)


@pytest.mark.parametrize(
    ("cut", "lacks"), [("# T\n", "title"), ("Why?", "question"), ("and an hour to read", "It takes")]
)
def test_an_opening_that_lacks_a_part_is_refused_by_name(tmp_path, cut, lacks):
    path = tmp_path / "05_x.ipynb"
    path.write_text(json.dumps({"cells": [{"source": OPENING}]}))
    assert chapter_cards.read_card(path) == ("05", "T", "A fact. Why?", "6 s", "an hour", "two CPU cores")
    path.write_text(json.dumps({"cells": [{"source": OPENING.replace(cut, "")}]}))
    with pytest.raises(ExtensionError, match=f"05_x.ipynb: the opening cell has no .*{lacks}"):
        chapter_cards.read_card(path)
    with pytest.raises(ExtensionError, match="99_y.ipynb is in _toc.yml"):
        chapter_cards.read_card(tmp_path / "99_y.ipynb")


@pytest.mark.parametrize(
    ("takes", "run", "read"),
    [
        ("6 to 20 s on two CPU cores, and an hour and a half to read.", "6 to 20 s", "an hour and a half"),
        ("two hours to read. The code runs in a minute on two CPU cores.", "a minute", "two hours"),
        (
            "half a minute to a minute on two CPU cores. Plan an hour for reading.",
            "half a minute to a minute",
            "an hour",
        ),
    ],
)
def test_a_card_reads_the_cost_in_several_wordings(tmp_path, takes, run, read):
    path = tmp_path / "05_x.ipynb"
    source = f"# T\n\nWhy?\n\n- **You need** **no GPU**.\n- **It takes** {takes}"
    path.write_text(json.dumps({"cells": [{"source": source}]}))
    assert chapter_cards.read_card(path)[2:] == ("Why?", run, read, "two CPU cores; GPU speeds are recorded")


def test_icons_belong_to_chapters():
    stems = {Path(file).name[3:] for file in CHAPTERS}
    assert {path.stem for path in chapter_cards.ICONS.glob("*.svg")} <= stems


def test_a_link_elsewhere_shows_the_card(page, site):
    def meta(key):
        return page.locator(f"meta[property='{key}'], meta[name='{key}']").first.get_attribute("content")

    assert meta("og:site_name") == "minidsk"
    assert meta("twitter:card") == "summary_large_image"
    assert "laptop" in meta("og:description")
    picture = page.request.get(f"{site}/{meta('og:image').partition('/minidsk/')[2]}")
    assert picture.body()[:8] == b"\x89PNG\r\n\x1a\n"
    size = int.from_bytes(picture.body()[16:20], "big"), int.from_bytes(picture.body()[20:24], "big")
    assert (str(size[0]), str(size[1])) == (meta("og:image:width"), meta("og:image:height"))


def test_an_address_that_leads_nowhere_leads_back(browser, site):
    requests, page = [], browser.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{site}/404.html")
    assert requests == [f"{site}/404.html"]
    for link in page.locator("a").all():
        assert page.request.get(f"{site}/{link.get_attribute('href').partition('/minidsk/')[2]}").ok
    page.close()


def test_the_keyboard_is_seen_in_the_toolbar(page):
    buttons = page.locator(".bd-header-article button:visible, .bd-header-article a:visible")
    assert buttons.count() >= 3
    page.keyboard.press("Tab")  # from now on the browser treats focus as a keyboard's
    for button in buttons.all():
        button.focus()
        assert button.evaluate("e => parseFloat(getComputedStyle(e).outlineWidth)") >= 2
        assert button.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
