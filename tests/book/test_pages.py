"""Every page of the built book, in a real browser: wide and narrow, light and dark."""

import contextlib
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
PROBE = """() => ({
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    math: document.querySelectorAll('span.math, div.math').length,
    rendered: document.querySelectorAll('mjx-container').length,
    broken: document.querySelectorAll('mjx-merror').length,
    raw: (document.querySelector('article')?.innerText.match(/:::\\{|```\\{|\\$\\$|\\{cite\\}/g) || []).length,
    images: [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src),
    unnamed: [...document.querySelectorAll('article img')].filter(i => !i.alt).length,
    theme: document.documentElement.dataset.theme,
    title: document.title,
})"""


def pages():
    """The pages that readers see."""
    found = [path for folder in ("book", "notebooks") for path in (HTML / folder).glob("*.html")]
    return [*sorted(path.relative_to(HTML).as_posix() for path in found), "search.html"]


def visit(context, site, name):
    """Open a page; returns what the probe saw in the light and in the dark, and what went wrong on the way."""
    page = context.new_page()
    errors, outside, failed = [], [], []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("request", lambda r: None if r.url.startswith((site, "data:", "blob:")) else outside.append(r.url))
    page.on("response", lambda r: failed.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.goto(f"{site}/{name}", wait_until="load")
    page.wait_for_function("!document.querySelector('.math') || window.MathJax?.startup?.promise !== undefined")
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.wait_for_load_state("networkidle")
    seen = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        with contextlib.suppress(TimeoutError):  # the page follows in an event; a page that does not is reported
            page.wait_for_function("s => document.documentElement.dataset.theme === s", arg=scheme, timeout=10_000)
        seen[scheme] = page.evaluate(PROBE)
    page.close()
    return seen, errors, outside, failed


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page(site, browser, width):
    assert len(pages()) >= 4
    context = browser.new_context(viewport={"width": width, "height": 900})
    problems = []
    for name in pages():
        seen, errors, outside, failed = visit(context, site, name)
        found = {"console errors": errors, "requests to other hosts": outside, "failed requests": failed}
        for scheme, view in seen.items():
            found |= {
                f"pixels wider than the window ({scheme})": max(view["overflow"], 0),
                f"formulas left raw ({scheme})": max(view["math"] - view["rendered"], 0) + view["broken"],
                f"directives left raw ({scheme})": view["raw"],
                f"images that did not load ({scheme})": view["images"],
                f"images without a text alternative ({scheme})": view["unnamed"],
                f"colours of the other theme ({scheme})": view["theme"] != scheme,
            }
        problems += [f"{name}: {what}: {value}" for what, value in found.items() if value]
    context.close()
    assert problems == []


def test_the_probe_notices_what_it_is_for(site, browser):
    """A spoilt page must show up in every reading of the probe."""
    spoilt = HTML / "spoilt.html"
    spoilt.write_text(
        "<html data-theme='light'><body><article><div style='width:3000px'>$$x$$</div><span class='math'>x</span>"
        "<img src='missing.png'><img src='http://127.0.0.1:9/x.png'></article>"
        "<script>window.MathJax = {startup: {promise: Promise.resolve()}}; console.error('no')</script></body></html>"
    )
    try:
        context = browser.new_context(viewport={"width": 390, "height": 900})
        seen, errors, outside, failed = visit(context, site, "spoilt.html")
    finally:
        spoilt.unlink()
    seen = seen["dark"]
    assert "no" in errors
    assert seen["theme"] != "dark"
    assert outside == ["http://127.0.0.1:9/x.png"]
    assert any("missing.png" in line for line in failed)
    assert seen["overflow"] > 0
    assert seen["math"] > seen["rendered"]
    assert seen["raw"] > 0
    assert len(seen["images"]) == 2
    assert seen["unnamed"] == 2


def test_search_finds_a_page(site, browser):
    page = browser.new_page()
    page.goto(f"{site}/search.html?q=countdown")
    page.wait_for_selector("#search-results li")
    page.close()


def test_the_logo_and_the_way_to_colab_are_ours(site, browser):
    page = browser.new_page()
    page.goto(f"{site}/book/intro.html")
    assert page.locator("img[src*='logo']").first.get_attribute("alt")
    for chapter in (HTML / "notebooks").glob("[0-9][0-9]_*.html"):
        page.goto(f"{site}/notebooks/{chapter.name}")
        wanted = f"https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/{chapter.stem}.ipynb"
        assert page.locator(f"article a[href='{wanted}'] img").count() == 1
        assert page.locator(f".bd-header-article a[href='{wanted}'], .dropdown-menu a[href='{wanted}']").count() >= 1
    page.close()
