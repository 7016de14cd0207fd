"""Every page of the built book, in a real browser: served and from a folder, wide and narrow, light and dark."""

import contextlib
import re
from pathlib import Path

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import TimeoutError

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
PROBE = (Path(__file__).parent / "probe.js").read_text(encoding="utf-8").partition("\n")[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
PAGES = [
    f"{TOC['root']}.html",
    *(f"{page['file']}.html" for part in TOC["parts"] for chapter in part["chapters"]
      for page in [chapter, *chapter.get("sections", [])]),
    "search.html",
]
BARE = ["404.html", *(f"{old}.html" for old in CONFIG["sphinx"]["config"]["redirects"])]  # no theme around them
VIEWS = [("http", 1280), ("http", 390), ("folder", 1280), ("folder", 390)]
WEIGHED = ("document", "stylesheet", "script", "font")
# What is folded is looked at too; the page has two frames to react.
UNFOLD = """() => {
  for (const folded of document.querySelectorAll("article details")) folded.open = true;
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
# axe needs milliseconds for the contrast of each element, and a page has thousands: it weighs one of each paint, which
# is the letters and all that they stand on. What may lie over other things is weighed each time. A colour that is on
# its way from light to dark is not one to judge.
WEIGH = """() => {
  document.head.insertAdjacentHTML("beforeend", "<style>* { transition: none !important; }</style>");
  const seen = new Set(), grounds = new Map([[null, ""]]);
  const ground = e => {
    if (!grounds.has(e)) {
      const s = getComputedStyle(e);
      const lies = ["absolute", "fixed", "sticky"].includes(s.position) || e.localName === "svg";
      const paint = [s.backgroundColor, s.backgroundImage, s.opacity, s.filter, s.mixBlendMode].join();
      const own = paint === "rgba(0, 0, 0, 0),none,1,none,normal" ? "" : `|${paint}`;
      grounds.set(e, lies ? `alone ${grounds.size}` : ground(e.parentElement) + own);
    }
    return grounds.get(e);
  };
  for (const e of document.querySelectorAll("body *")) {
    const speaks = [...e.childNodes].some(c => c.nodeType === Node.TEXT_NODE && c.data.trim());
    if (!speaks && !e.matches("input, select, textarea, button")) continue;
    const s = getComputedStyle(e), kind = [s.color, s.fontSize, s.fontWeight, s.textShadow, ground(e)].join("|");
    if (!seen.has(kind)) e.dataset.weighed = "";
    seen.add(kind);
  }
  axe.configure({rules: [{id: "color-contrast", selector: "[data-weighed]"}]});
}"""
LIMIT = 1_000_000  # bytes of a page, its pictures apart


def visit(context, start, name, *, axe=None):
    """Open a page and look at it in the light and in the dark. Returns what is wrong, and how many bytes it took.

    axe: light, for all that axe asks of a page, or dark, for its colours there.
    """
    page, found, weight = context.new_page(), [], []
    page.on("console", lambda m: found.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda e: found.append(f"script error: {e}"))
    ours = (start, "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(ours) else found.append(f"outside: {r.url}"))
    page.on("requestfailed", lambda r: found.append(f"failed: {r.url}"))
    page.on("response", lambda r: found.append(f"failed: {r.status} {r.url}") if r.status >= 400 else None)
    page.on("requestfinished", lambda r: weight.append(r) if r.resource_type in WEIGHED else None)
    page.goto(f"{start}/{name}", wait_until="load")
    page.evaluate("document.fonts.ready")
    page.evaluate(UNFOLD)
    for scheme in ("light", "dark"):
        turn(page, scheme)
        for kind, cases in page.evaluate(PROBE).items():
            found += [f"{kind} ({scheme}): {case}" for case in cases]
    if axe:
        turn(page, axe)
        only = {"runOnly": ["color-contrast"]} if axe == "dark" else {}
        found += [f"axe ({axe}): {line}" for line in complaints(page, only)]
    served = weight if start.startswith("http") else []
    size = sum(len(pictureless(request.response().body(), request.resource_type)) for request in served)
    page.close()
    return found, size


def turn(page, scheme):
    """Ask for light or dark, and wait for the page to follow in an event; one that does not is reported later."""
    page.emulate_media(color_scheme=scheme)
    with contextlib.suppress(TimeoutError):
        page.wait_for_function("s => document.documentElement.dataset.theme === s", arg=scheme, timeout=3_000)


def pictureless(body, kind):
    """The bytes of a response; of a page, without the pictures that are drawn in it."""
    return re.sub(rb"<svg.*?</svg>", b"", body, flags=re.DOTALL) if kind == "document" else body


def complaints(page, only):
    """axe's findings that are serious or critical, one line for each element."""
    page.evaluate(Axe().axe_script)
    page.evaluate(WEIGH)
    for violation in page.evaluate("axe.run", {"resultTypes": ["violations"], **only})["violations"]:
        if violation["impact"] in ("serious", "critical"):
            for node in violation["nodes"]:
                yield f"{violation['id']}: {node['html'][:120]} {node['failureSummary'].splitlines()[-1].strip()[:160]}"


# Each way of reading and each width once; the two other pairs of them seldom find more: they are for the workflow.
@pytest.mark.parametrize("views", [VIEWS[::3], pytest.param(VIEWS[1:3], marks=pytest.mark.slow)], ids=["usual", "rest"])
# Pages of the reference are made by one template, and of those the first is looked at here.
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow) if re.fullmatch(r"book/api/(?!index|model).*", name) else name
    for name in PAGES
])  # fmt: skip
def test_every_page(site, browser, name, views):
    found = []
    for where, width in views:
        context = browser.new_context(viewport={"width": width, "height": 900})
        start = site if where == "http" else HTML.as_uri()
        problems, size = visit(context, start, name, axe="light" if (where, width) == VIEWS[0] else None)
        found += [f"{where} {width}: {problem}" for problem in problems]
        if size > LIMIT:
            found.append(f"{where} {width}: {size:,} bytes without pictures")
        context.close()
    assert found == []


# axe takes seconds for each page, and pages share their style sheets: all are for the workflow.
@pytest.mark.parametrize("name", [PAGES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in PAGES[1:])])
def test_every_page_can_be_read_in_the_dark(site, browser, name):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found, _ = visit(context, site, name, axe="dark")
    context.close()
    assert found == []


@pytest.mark.parametrize("name", BARE)
def test_the_bare_pages(site, browser, name):
    """Those that the theme does not frame: read without scripts, so that an old address stays where it is."""
    page = browser.new_page(java_script_enabled=False)
    page.route("**/*", lambda route: route.continue_())
    text = (HTML / name).read_text(encoding="utf-8")
    page.set_content(re.sub(r'<meta http-equiv="refresh"[^>]*>', "", text))
    assert page.locator("main h1").count() == 1
    assert page.locator("main a[href]").count() >= 1
    assert page.title()
    page.close()


SPOILT = """<html lang="en" data-theme="light"><head><title>x</title><style>
@font-face { font-family: gone; src: url(gone.woff2); } .gone { font-family: gone; }</style></head><body><main><article>
<h1 class="gone">Spoilt</h1><div style="width: 3000px">$$x$$</div><span class="math">x</span>
<img src="missing.png"><img src="http://127.0.0.1:9/x.png"><a href="#"><img src="data:,"></a>
<img src="data:," alt="a_picture_with_a_rather_long_name_of_its_file.png">
<div class="highlight"><pre style="width: 5em; overflow: auto">a line that does not fit</pre></div>
<div class="box" style="width: 5em; overflow: auto; white-space: nowrap">a line that does not fit, and no key</div>
<svg width="9" height="9"></svg><svg role="img" aria-label="Loss" width="9" height="9"></svg><figure></figure>
<table><tr><td>1</td></tr></table><button></button><p style="color: #888; background: #999">pale</p>
</article></main><script>console.error("no"); throw new Error("thrown")</script></body></html>"""


@pytest.mark.parametrize("where", ["http", "folder"])
def test_a_spoilt_page_shows_in_every_reading(site, browser, where):
    spoilt = HTML / f"spoilt_{where}.html"
    spoilt.write_text(SPOILT, encoding="utf-8")
    start = site if where == "http" else HTML.as_uri()
    try:
        context = browser.new_context(viewport={"width": 390, "height": 900})
        found, size = visit(context, start, spoilt.name, axe="light")
        dark, _ = visit(context, start, spoilt.name, axe="dark")
    finally:
        spoilt.unlink()
    context.close()
    found += [line for line in dark if line.startswith("axe")]
    kinds = {re.split(r" \(dark\)|:", line)[0] for line in found if "(light)" not in line}
    probed = set(re.findall(r'^    "([^"]+)":', PROBE, re.MULTILINE))
    assert kinds == {"console", "script error", "outside", "failed", "axe", *probed}
    assert len([line for line in found if line.startswith("drawings without a true description (dark)")]) == 2
    assert len([line for line in found if line.startswith("images without a true description (dark)")]) == 3
    axe = {tuple(line.split()[1:3]) for line in found if line.startswith("axe")}
    assert {("(light):", rule) for rule in ("button-name:", "image-alt:", "color-contrast:")} <= axe
    assert ("(dark):", "color-contrast:") in axe
    assert (size > 0) == (where == "http")


MANY = """<main><h1>Words</h1><p>dark</p><p>dark</p>
<p id="colour" style="color: #bbb">pale</p><p style="color: #bbb">pale</p>
<div style="background: #555"><p id="ground">dark</p><p>dark</p></div>
<div style="opacity: 0.3"><p id="veil">dark</p></div>
<b style="position: relative"><i id="over" style="position: absolute; color: #bbb">pale</i></b>
<p style="font-size: 40px; color: #888">large</p><p id="small" style="color: #888">small</p></main>"""


def test_of_many_words_each_paint_is_weighed_once(browser):
    page = browser.new_page(color_scheme="light")
    page.set_content(MANY)
    found = list(complaints(page, {"runOnly": ["color-contrast"]}))
    assert re.findall(r'id="(\w+)"', "".join(found)) == ["colour", "ground", "veil", "over", "small"]
    assert len(found) == 5
    page.close()


def test_pictures_are_not_weighed():
    page = b"<p>a</p><svg><svg>"
    assert pictureless(b"<p>a</p><svg x><path/></svg>b<svg/>", "document") == b"<p>a</p>b<svg/>"
    assert pictureless(page, "script") == page


SWIPED = """[...document.querySelectorAll("figure.mdsk-diagram > div")].map(box => {
    const said = getComputedStyle(box.parentElement.querySelector("figcaption"), "::after").content;
    return [box.scrollWidth > box.clientWidth + 1, said.includes("Swipe")];
})"""


@pytest.mark.parametrize("width", [390, 1280])
def test_a_phone_is_told_to_swipe_where_a_picture_is_cut_and_only_there(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    seen = set()
    for chapter in ("05_mining_math", "06_pretraining"):  # of which the first has figures that fit a phone
        page.goto(f"{site}/notebooks/{chapter}.html")
        page.wait_for_timeout(500)
        seen |= {tuple(pair) for pair in page.evaluate(SWIPED)}
    page.close()
    assert seen == ({(True, True), (False, False)} if width == 390 else {(False, False)})


@pytest.mark.parametrize("where", ["http", "folder"])
def test_search_finds_a_page(site, browser, where):
    page = browser.new_page()
    page.goto(f"{site if where == 'http' else HTML.as_uri()}/search.html?q=countdown")
    page.wait_for_selector("#search-results li")
    page.close()


def test_the_logo_and_the_way_to_colab_are_ours(site, reader):
    page = reader
    page.goto(f"{site}/book/intro.html")
    assert page.locator("img[src*='logo']").first.get_attribute("alt")
    for chapter in (HTML / "notebooks").glob("[0-9][0-9]*_*.html"):
        if f"notebooks/{chapter.name}" in BARE:
            continue
        page.goto(f"{site}/notebooks/{chapter.name}")
        wanted = f"https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/{chapter.stem}.ipynb"
        assert page.locator(f"article a[href='{wanted}'] img").count() == 1
        assert page.locator(f".bd-header-article a[href='{wanted}'], .dropdown-menu a[href='{wanted}']").count() >= 1
