"""Every figure that moves is operated on its page: by mouse, by keyboard and by touch; each time something changes."""

import re
from pathlib import Path

import pytest

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"
SEEN = """figure => [...figure.querySelectorAll("[role=img]"), figure.querySelector(".say")].map(e =>
    e.innerHTML + e.getAttribute("aria-label")).join("")"""
CHAPTERS = sorted(path.stem for path in (HTML.parents[1] / "notebooks").glob("[0-9][0-9]*_*.ipynb"))

SECOND_PAGE = re.compile(r"\d\d[a-z]_")  # which needs none


def slide(page, slider, share):
    """Where on the page a slider's track has a share of its length."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    return box["x"] + share * box["width"], box["y"] + box["height"] / 2


def ways(page, control):
    """What a reader can do with a control: names, and functions that do it."""
    if control.get_attribute("type") == "range":
        return {
            "End": lambda: control.press("End"),
            "arrow": lambda: control.press("ArrowLeft"),
            "mouse": lambda: page.mouse.click(*slide(page, control, 0.05)),
            "touch": lambda: page.touchscreen.tap(*slide(page, control, 0.95)),
        }
    if control.evaluate("e => e.tagName") == "SELECT":
        at_the_end = control.evaluate("e => e.selectedIndex === e.options.length - 1")
        return {"arrow": lambda: control.press("ArrowUp" if at_the_end else "ArrowDown")}
    return {"key": lambda: control.press("Enter"), "mouse": control.click, "touch": control.tap}


def still(page, figure):
    """What did not move: one line for each control and way that changed nothing. Of buttons, one a way must."""

    def moved(act):
        before = figure.evaluate(SEEN)
        act()
        return figure.evaluate(SEEN) != before

    controls = [figure.locator(f"{kind} >> nth={k}") for kind in ("input[type=range]", "select")
                for k in range(figure.locator(kind).count())]  # fmt: skip
    buttons = figure.locator("button").all()
    found = [] if controls or buttons else ["nothing to operate"]
    for control in controls:
        if control.is_visible():  # a choice may hide what does not belong to it
            if control.get_attribute("type") == "range":
                control.press("Home")
            found += [f"{control}: {way}" for way, act in ways(page, control).items() if not moved(act)]
    for way in ("key", "mouse", "touch") if buttons else ():
        if not sum(moved(ways(page, button)[way]) for button in buttons):  # all are pressed
            found.append(f"no button by {way}")
    return found


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, has_touch=True, reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_figure_moves(site, page, chapter):
    page.goto(f"{site}/notebooks/{chapter}.html")
    figures = page.locator("[data-minidsk] .mdsk").all()
    assert len(figures) == page.locator("[data-minidsk]").count() >= (not SECOND_PAGE.match(chapter))
    assert [(k, line) for k, figure in enumerate(figures) for line in still(page, figure)] == []


def test_a_figure_that_stands_still_is_noticed(page):
    page.set_content(
        '<div class="mdsk"><input type="range" min="0" max="9"><select><option>a<option>b</select><button>go</button>'
        '<div role="img" aria-label="a drawing"></div><p class="say">nothing</p></div>'
    )
    lines = still(page, page.locator(".mdsk"))
    assert len(lines) == 4 + 1 + 3
    page.evaluate("""() => { document.querySelector("input").oninput = event => {
        document.querySelector(".say").textContent = event.target.value; } }""")
    assert len(still(page, page.locator(".mdsk"))) == 1 + 3
