"""Every page reads well with scripts off: text, code, formulas, pictures, and words in the place of what moves."""

import pytest
from test_pages import HTML, PAGES

PROBE = """() => {
  const article = document.querySelector("article"), all = s => [...article.querySelectorAll(s)];
  const shown = e => e.checkVisibility() && e.getClientRects().length > 0;
  const folded = e => e.closest("details:not([open])");
  return {
    "text out of sight": all("p, li, td, h1, h2, h3, pre").filter(e => e.textContent.trim() && !shown(e) && !folded(e)
      && !e.closest("noscript, [hidden]")).map(e => e.textContent.trim().slice(0, 60)),
    "formulas left raw": all(".math:not(:has(mjx-container))").map(e => e.textContent),
    "formulas without size": all("mjx-container").filter(e => shown(e.parentElement) && e.offsetWidth < 2).map(e => e.textContent),
    "pictures that did not load": all("img").filter(i => !i.naturalWidth).map(i => i.src),
    "figures without words": all("[data-minidsk]").filter(e => !folded(e) && e.innerText.trim().length < 60).map(e => e.innerText),
    "controls that do nothing": all("[data-minidsk] button, figure input, figure button").filter(shown).map(e => e.outerHTML.slice(0, 60)),
    "wider than the window": document.documentElement.scrollWidth > innerWidth ? [document.documentElement.scrollWidth] : [],
    "no way on": document.querySelector(".prev-next-area a, form[action]") ? [] : ["no link to the next page"],
  };
}"""


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_reads_without_scripts(site, browser, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=False)
    page, problems = context.new_page(), []
    for name in PAGES:
        if not name.startswith(("search", "genindex")):
            page.goto(f"{site}/{name}", wait_until="load")
            problems += [f"{name}: {kind}: {case}" for kind, cases in page.evaluate(PROBE).items() for case in cases]
    context.close()
    assert problems == []


def test_a_page_that_needs_scripts_is_noticed(site, browser):
    spoilt = HTML / "spoilt_scripts.html"
    spoilt.write_text(
        "<article><p style='display: none'>hidden</p><span class='math'>x</span><div class='math'><mjx-container>"
        "</mjx-container></div><img src='gone.png'><div data-minidsk='1'><button>go</button></div>"
        "<div style='width: 3000px'>wide</div></article>"
    )
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(f"{site}/{spoilt.name}")
        assert [kind for kind, cases in page.evaluate(PROBE).items() if not cases] == []
    finally:
        spoilt.unlink()
        context.close()
