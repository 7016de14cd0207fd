"""Figures in a real browser: they draw, answer the keyboard, follow the theme, and fit a narrow page."""

import re
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from minidsk.widgets import Curve, Rollouts, Schedule
from minidsk.widgets.schedule import SHAPES

spec = spec_from_file_location("figures_to_show", Path(__file__).with_name("test_widgets.py"))
assert spec
assert spec.loader
shown = module_from_spec(spec)
spec.loader.exec_module(shown)
FIGURES = shown.figures()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 800, "height": 900})
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith("blob:") else troubles.append(f"request for {r.url}"))
    yield page
    page.close()
    assert not troubles


def show(page: Page, *figures: Any, attributes: str = "") -> None:
    body = "".join(figure.html() for figure in figures)
    page.set_content(f"<!doctype html><html {attributes}><meta charset=utf-8><body>{body}</body></html>")
    page.wait_for_selector(".mdsk .say:not(:empty)")


@pytest.mark.parametrize("name", FIGURES)
def test_every_input_answers_the_keyboard(page: Page, name: str) -> None:
    show(page, FIGURES[name])
    stage, say, knobs = page.locator("[role=img]"), page.locator(".say"), page.locator(".mdsk input, .mdsk select")
    for i in range(knobs.count()):
        show(page, FIGURES[name])
        knob = knobs.nth(i)
        before, drawn = say.inner_text(), stage.inner_html()
        knob.focus()
        for press in ("Home", "End", "ArrowLeft", "ArrowUp"):
            page.keyboard.press(press)
            if stage.inner_html() != drawn:
                break
        assert stage.inner_html() != drawn
        assert stage.get_attribute("aria-label") == say.inner_text()
        if name != "Schedule" and knob.evaluate("k => k.tagName") == "INPUT":  # there one step's reading may stay
            assert say.inner_text() != before


@pytest.mark.parametrize("name", FIGURES)
def test_a_narrow_page_is_not_pushed_apart(page: Page, name: str) -> None:
    page.set_viewport_size({"width": 340, "height": 700})
    show(page, FIGURES[name])
    assert page.evaluate("document.documentElement.scrollWidth") <= 340
    drawn = page.locator("[role=img]").inner_html()
    page.set_viewport_size({"width": 700, "height": 700})
    page.wait_for_function("w => document.querySelector('[role=img]').clientWidth > w", arg=400)
    if "<svg" in drawn:
        page.wait_for_function("d => document.querySelector('[role=img]').innerHTML !== d", arg=drawn)


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_the_still_of_a_schedule_is_what_the_page_draws(page: Page, shape: int) -> None:
    figure = Schedule(steps=50, warmup=13, floor=7, shape=shape)
    show(page, figure)
    for step, rate in figure.still()[1:]:
        page.locator("label", has_text="Read at step").locator("input").fill(step)
        read = page.locator(".say").inner_text().partition(f"Step {step}: learning rate ")[2]
        assert float(read.partition(". ")[0]) == pytest.approx(float(rate), rel=0.01)


def luminance(page: Page, what: str) -> float:
    colour = page.evaluate(f"getComputedStyle(document.querySelector('.mdsk')).{what}")
    channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("system", ["light", "dark"])
@pytest.mark.parametrize(
    ("attributes", "theme"),
    [("data-theme=light", "light"), ("data-theme=dark", "dark"), ("", None)],
    ids=["light", "dark", "system"],
)
def test_the_theme_is_followed(page: Page, system: Any, attributes: str, theme: str | None) -> None:
    page.emulate_media(color_scheme=system)
    show(page, FIGURES["Curve"], attributes=attributes)
    ink, paper = luminance(page, "color"), luminance(page, "backgroundColor")
    assert (ink > paper) == ((theme or system) == "dark")
    light, dark = max(ink, paper), min(ink, paper)
    assert (light + 0.05) / (dark + 0.05) > 7  # WCAG 2, contrast of level AAA


PLAYED = ["Tokens", "Routing", "Acceptance", "Batching", "Rollouts", "BoardGame", "Harvest"]


@pytest.mark.parametrize("name", PLAYED)
def test_time_can_be_played(page: Page, name: str) -> None:
    """From the first state, which is the one that a figure opens on, to the last; again from the start; and paused."""
    page.clock.install(time=0)
    show(page, FIGURES[name])
    page.clock.pause_at(3_600)  # on a busy machine a frame could pass between two lines of this test
    slider = page.locator(".mdsk .timed input")
    button, say = page.locator(".mdsk .timed button"), page.locator(".say")
    last = slider.get_attribute("max")
    assert slider.input_value() == "0"
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-label") == "Pause"
    assert say.get_attribute("aria-live") == "off"
    page.clock.run_for(30_000)
    assert slider.input_value() == last
    assert button.get_attribute("aria-label") == "Play"
    assert say.get_attribute("aria-live") == "polite"
    button.click()
    assert slider.input_value() == "0"
    slider.press("ArrowRight")
    assert button.get_attribute("aria-label") == "Play"  # a reader who moves the slider has taken over
    page.clock.run_for(30_000)
    assert slider.input_value() == "1"


def test_a_reader_who_wants_no_motion_steps(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.clock.install()
    show(page, FIGURES["Rollouts"])
    button = page.get_by_role("button", name="One step")
    for want in ("1", "2", "0"):
        button.click()
        page.clock.run_for(5_000)
        assert page.locator(".mdsk .timed input").input_value() == want


def test_a_slider_with_one_place_is_not_shown(page: Page) -> None:
    show(page, Rollouts("2?", [1], [[{"text": ["1"], "reward": 0, "shade": [0.1]}]]))
    assert not page.locator("input[type=range]").is_visible()
    assert page.locator(".mdsk button").count() == 0
    assert page.locator("select").is_visible()


def test_one_large_value_does_not_fade_the_rest(page: Page) -> None:
    shade = [0.1] * 9 + [0.05, 0.0, 50.0]
    figure = Rollouts("2?", [1], [[{"text": list("abcdefghijkl"), "reward": 0, "shade": shade}]], shade_label="change")
    figure.shading = 1
    show(page, figure)
    tints = page.locator("[role=img] span[title]").evaluate_all("all => all.map(e => e.style.background)")
    parts = [int(re.search(r"(\d+)%", tint)[1]) for tint in tints]  # type: ignore[index]
    assert parts == [40] * 9 + [20, 0, 40]
    assert "Full colour: change of 0.1 or more" in page.locator(".say").inner_text()


def test_what_lies_ahead_is_not_drawn(page: Page) -> None:
    show(page, FIGURES["Routing"])
    cells = page.locator("[role=img] rect")
    first = cells.count()
    assert "MaxVio here" not in page.locator(".say").inner_text()
    page.locator(".mdsk .timed input").press("End")
    assert cells.count() == first + 9 * 6
    assert "MaxVio here" in page.locator(".say").inner_text()


@pytest.mark.parametrize("width", [340, 700])
def test_no_letter_of_a_chart_leaves_its_frame(page: Page, width: int) -> None:
    """Large numbers on both axes, and names at the ends of three lines that meet."""
    page.set_viewport_size({"width": width, "height": 700})
    x = [1, 1e4, 1e8]
    runs = {f"a run with a name {i}": {"x": x, "y": [1.0, 2e7, 5e8 + i]} for i in range(3)}
    show(page, Curve(runs, xlog=True, ylabel="loss"))
    boxes = page.evaluate(
        """() => { const side = document.querySelector(".mdsk").getBoundingClientRect();
        return [...document.querySelectorAll(".mdsk svg text")].map(t => t.getBoundingClientRect())
            .filter(t => t.left < side.left || t.right > side.right).length; }"""
    )
    assert boxes == 0
    tags = page.evaluate("[...document.querySelectorAll('.mdsk .tag')].map(t => t.getBoundingClientRect().top)")
    assert len(tags) == (3 if width == 700 else 0)
    assert page.locator(".key").count() == (0 if width == 700 else 1)
    assert all(b - a > 11 for a, b in pairwise(sorted(tags)))


def test_a_verdict_is_turned_by_a_click_and_by_the_keyboard(page: Page) -> None:
    show(page, FIGURES["Group"])
    first, say = page.locator(".mdsk button").first, page.locator(".say")
    assert first.get_attribute("aria-pressed") == "true"
    assert "1 of 4 right" in say.inner_text()
    first.click()
    assert first.get_attribute("aria-pressed") == "false"
    assert say.inner_text() == "All 4 are wrong: no advantage, no gradient, whatever the scale."
    page.keyboard.press("Space")
    assert "Advantages: a +1.5, b −0.5" in say.inner_text()


def test_twice_on_one_page(page: Page) -> None:
    show(page, FIGURES["Tokens"], FIGURES["Tokens"], FIGURES["Cache"])
    assert page.locator(".mdsk").count() == 3


STILLS = {
    "Cache": ["MLA", "35,136", "70,272"],
    "Curve": ["a", "1.991", "1.443", "1.313"],
    "Routing": ["bias", "0.07", "0.04", "0.09"],
    "Group": ["</script>.", "wrong", "-0.50", "-0.062"],
    "BoardGame": ["100", "0"],
    "Rollouts": ["20", "3 + 4", "1"],
    "Batching": ["refill at once", "9", "94%"],
    "Harvest": ["2", "82%", "100%", "a <b>"],
    "Roofline": ["copy & <b>", "1", "1e+03 µs", "2e+03 µs"],
}


@pytest.mark.parametrize("name", STILLS)
def test_a_table_remains_where_no_script_runs(browser: Browser, name: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(FIGURES[name].html())
    assert FIGURES[name].describe() in page.inner_text("body")
    rows = [row.split("\t") for row in page.inner_text("table").splitlines()]
    assert STILLS[name] in rows
    assert {len(row) for row in rows} == {len(STILLS[name])}
    context.close()


def test_a_harvest_says_its_figures_round_by_round(page: Page) -> None:
    show(page, FIGURES["Harvest"])
    say = page.locator(".say")
    assert "Round 1: 4 pages collected, precision 75%, recall 33%. Marked (★): a <b>." in say.inner_text()
    page.locator("input[type=range]").press("ArrowRight")
    assert "Round 2: 11 pages collected, precision 82%, recall 100%." in say.inner_text()


def test_a_batch_says_which_rows_work(page: Page) -> None:
    show(page, FIGURES["Batching"])
    say = page.locator(".say")
    assert "5 replies wait for 2 rows." in say.inner_text()
    page.locator("input[type=range]").press("End")
    assert "5 of 5 replies have ended, after step 13; 65 % of the rows' steps" in say.inner_text()
    page.locator("select").select_option("1")
    assert "after step 9; 94 % of the rows' steps" in say.inner_text()


def test_pairs_are_labelled_by_mouse_and_by_keys(page: Page) -> None:
    show(page, FIGURES["Preferences"])
    say, left, right = page.locator(".say"), *(page.locator(".mdsk button").nth(i) for i in (0, 1))
    assert "Pair 1 of 2: not labelled yet. 0 labelled." in say.inner_text()
    assert left.get_attribute("aria-label") == "left is better: a</script>"
    right.click()
    assert "Pair 2 of 2: not labelled yet. 1 labelled; your choices were: 1 of 1 for the longer." in say.inner_text()
    page.keyboard.press("ArrowRight")  # the button still has the focus
    assert "you chose the right reply. 2 labelled; your choices were: 1 of 2 for the longer." in say.inner_text()
    page.keyboard.press("ArrowLeft")  # thought better of it
    assert "you chose the left reply. 2 labelled; your choices were: 2 of 2 for the longer." in say.inner_text()
    assert left.get_attribute("aria-pressed") == "true"
    page.locator(".mdsk input").focus()
    page.keyboard.press("ArrowLeft")
    assert "Pair 1 of 2: you chose the right reply." in say.inner_text()


@pytest.mark.parametrize("begins", ["you", "it"])
def test_a_game_on_the_page(page: Page, begins: str) -> None:
    """The last snapshot is a perfect player: whatever is pressed, it does not lose, and every game comes to an end."""
    show(page, FIGURES["BoardGame"])
    page.locator(".mdsk input").press("End")
    for order in ([4, 0, 8, 2, 6, 1, 3, 5, 7], [1, 3, 0, 8, 4, 2, 6, 7, 5]):
        page.get_by_role("button", name=f"New game, {begins} begin").click()
        for cell in order:
            button = page.get_by_role("group", name="the board").get_by_role("button").nth(cell)
            button.focus()
            page.keyboard.press("Enter")
        assert re.search("It won|A draw", page.locator(".say").inner_text())
    assert "won 0, drawn" in page.locator(".say").inner_text()


def test_the_page_shows_what_the_policy_thinks_in_any_view(page: Page) -> None:
    """A stone in any corner: the perfect player answers in the centre, at 100 %."""
    for corner in (0, 2, 6, 8):
        show(page, FIGURES["BoardGame"])
        page.locator(".mdsk input").press("End")
        board = page.get_by_role("group", name="the board").get_by_role("button")
        board.nth(corner).click()
        assert "It moved centre, at 100%" in page.locator(".say").inner_text()
        assert board.nth(4).inner_text() == "O"


def test_a_live_figure_keeps_its_keys_from_the_notebook(page: Page) -> None:
    """As JupyterLab runs it: the element with the focus carries the attribute that Lab's shortcuts respect."""
    figure = FIGURES["Cache"]
    page.set_content("<!doctype html><meta charset=utf-8><div id=cell></div>")
    page.evaluate(
        """async ([code, state]) => {
            const url = URL.createObjectURL(new Blob([code], {type: "text/javascript"}));
            const model = {get: name => state[name], set(name, value) { state[name] = value; }, on() {}, off() {},
                save_changes() {}};
            (await import(url)).default.render({model, el: document.getElementById("cell")});
        }""",
        [figure._esm, figure.state()],
    )
    knob = page.locator("#cell .mdsk input").first
    assert knob.get_attribute("data-lm-suppress-shortcuts") is None
    knob.focus()
    assert knob.get_attribute("data-lm-suppress-shortcuts") == "true"
