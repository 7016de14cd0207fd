"""Predictions on a page, in a real browser: type, keep, reveal, reload; the same points as in Python."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from minidsk.homework import page as pages
from minidsk.homework import predict

QUESTION = "How many <b>merges</b>?</script>"


def parts(monkeypatch: pytest.MonkeyPatch, truth: float, *arguments: Any, **settings: Any) -> list[str]:
    """The HTML of a question and of its reveal, as a notebook gets them."""
    shown: list[str] = []
    monkeypatch.setattr(pages, "show", lambda text, html: shown.append(html))
    prediction = predict(*arguments, **settings)
    prediction.reveal(truth)
    return [prediction._repr_html_(), *shown]


@pytest.fixture
def chapter(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Page]]:
    """Opens a page, from a folder, with two predictions; what goes wrong in its scripts fails the test."""
    troubles: list[str] = []
    contexts = []

    def opened(script: str = "", **settings: Any) -> Page:
        body = parts(monkeypatch, 913, "text.merges", QUESTION, example=2000, unit="merges")
        body += parts(monkeypatch, 0.4321987, "a.share", "What share?", example=0.5, scale="difference", tolerance=0.4)
        path = tmp_path / "chapter.html"
        start = f"<!doctype html><html lang=en><meta charset=utf-8><script>{script}</script>"
        path.write_text(start + "<p>much text</p>".join(body), encoding="utf-8")
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles


def part(page: Page, name: str, kind: str) -> Any:
    return page.locator(f'[data-prediction="{name}"][data-part={kind}]')


def said(page: Page, name: str, kind: str) -> str:
    return part(page, name, kind).get_by_role("status").inner_text()


def test_a_guess_is_kept_and_revealed_with_the_keyboard(chapter: Callable[..., Page]) -> None:
    page = chapter()
    ask, reveal = part(page, "text.merges", "ask"), part(page, "text.merges", "reveal")
    assert "913" not in page.locator("body").inner_text()
    ask.get_by_label("Your guess").fill("2,000")
    page.keyboard.press("Enter")
    assert "Your guess is 2,000 merges. It is kept in this browser." in said(page, "text.merges", "ask")
    assert ask.get_by_role("link").get_attribute("href") == "#" + reveal.get_attribute("id")
    assert "913" not in page.locator("body").inner_text()
    page.reload()
    assert reveal.get_by_label("Your guess").input_value() == "2000"
    reveal.get_by_role("button", name="Reveal").focus()
    page.keyboard.press("Space")
    scored = (
        "Your guess 2,000 merges, measured 913 merges: 2.19 times too high. 7 of 10 points. "
        "Your tally over the course: 7 of 10 after 1 prediction."
    )
    assert said(page, "text.merges", "reveal") == said(page, "text.merges", "ask") == scored
    assert page.evaluate("document.activeElement.className") == "say"


def test_the_tally_counts_all_predictions_and_outlives_the_page(chapter: Callable[..., Page]) -> None:
    page = chapter()
    for name, guess in (("text.merges", "913"), ("a.share", "0.2322")):
        part(page, name, "reveal").get_by_label("Your guess").fill(guess)
        part(page, name, "reveal").get_by_role("button", name="Reveal").click()
    expected = "Your guess 0.2322, measured 0.4322: 0.2 too low. 5 of 10 points. Your tally over the course: 15 of 20"
    assert expected in said(page, "a.share", "reveal")
    page.reload()
    assert expected in said(page, "a.share", "reveal")
    assert "exact. 10 of 10 points. Your tally over the course: 15 of 20" in said(page, "text.merges", "ask")
    part(page, "a.share", "reveal").get_by_role("button", name="Forget this guess").click()
    assert "hidden until you guess" in said(page, "a.share", "reveal")
    assert "10 of 10 after 1 prediction." in said(page, "text.merges", "reveal")


def test_show_me_gives_no_points(chapter: Callable[..., Page]) -> None:
    page = chapter()
    part(page, "text.merges", "reveal").get_by_role("button", name="Show me").click()
    assert "Measured: 913 merges. No points" in said(page, "text.merges", "reveal")
    assert page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("typed", ["", "ten", "0,5", "1e999", "0x10"])
def test_what_is_no_number_reveals_nothing(chapter: Callable[..., Page], typed: str) -> None:
    page = chapter()
    part(page, "text.merges", "reveal").get_by_label("Your guess").fill(typed)
    page.keyboard.press("Enter")
    part(page, "text.merges", "reveal").get_by_role("button", name="Reveal").click()
    assert "Type a number first" in said(page, "text.merges", "reveal")
    assert "913" not in page.locator("body").inner_text()


@pytest.mark.parametrize(
    "script",
    [
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('refused'); }});",
        "Storage.prototype.setItem = () => { throw new Error('full'); };",
        "localStorage.setItem('minidsk.predictions', '[1');",
        """localStorage.setItem("minidsk.predictions", '{"a.share": {"guess": ""}, "x": {"guess": 1, "points": 5}}')""",
    ],
    ids=["refused", "full", "spoilt", "of another form"],
)
def test_without_a_store_the_page_still_counts(chapter: Callable[..., Page], script: str) -> None:
    page = chapter(script)
    part(page, "text.merges", "ask").get_by_label("Your guess").fill("913")
    page.keyboard.press("Enter")
    part(page, "text.merges", "reveal").get_by_role("button", name="Reveal").click()
    assert "10 of 10 after 1 prediction." in said(page, "text.merges", "ask")


def test_without_scripts_the_measured_value_is_text(chapter: Callable[..., Page]) -> None:
    page = chapter(java_script_enabled=False)
    assert QUESTION in part(page, "text.merges", "ask").inner_text()
    details = part(page, "text.merges", "reveal").locator("details")
    assert "913" not in details.inner_text()
    details.locator("summary").click()
    assert "Measured: 913 merges." in details.inner_text()


def test_a_guess_from_the_notebook_has_its_tally(
    chapter: Callable[..., Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIDSK_HOME", str(tmp_path))
    page = chapter()
    page.set_content("".join(parts(monkeypatch, 913, "text.merges", "How many?", 2000, example=1)))
    assert said(page, "text.merges", "ask") == "Your guess: 2,000."
    assert "7 of 10 points. Your tally over the course: 7 of 10 after 1" in said(page, "text.merges", "reveal")
    assert page.get_by_role("textbox").count() == 0


def test_points_are_the_same_in_both_languages(chapter: Callable[..., Page]) -> None:
    """On a grid that holds the halves, where rounding could go either way."""
    truths = (0.02, 0.5, 1, 3, 8.4, 100, 1e6)
    halves = [f(k / 20) for k in range(-21, 22) for f in (lambda x: 4**x, lambda x: 10**x, lambda x: x * 0.4)]
    grid = [
        (scale, tolerance, guess, truth)
        for truth in truths
        for scale, tolerance in (("ratio", 10), ("ratio", 4), ("difference", 0.4), ("difference", 8))
        for half in halves
        for guess in ((truth * half, half) if scale == "ratio" else (truth + half, truth + 20 * half, half))
    ]
    python = [predict("a", "?", g, example=1, scale=s, tolerance=t).points(truth) for s, t, g, truth in grid]
    source = (Path(pages.__file__).parent / "predict.js").read_text(encoding="utf-8")
    script = "([source, grid]) => { const points = new Function(source + ';return points')();"
    script += "return grid.map(([scale, tolerance, guess, truth]) => points({scale, tolerance}, guess, truth)); }"
    assert chapter().evaluate(script, [source, grid]) == python
    assert set(python) == set(range(11))


def test_the_html_is_the_same_each_time_and_holds_the_printed_number(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, reveal = parts(monkeypatch, 1 / 3 + 1e-9, "a.third", QUESTION, example=0.5, scale="difference", tolerance=1)
    assert [ask, reveal] == parts(monkeypatch, 1 / 3, "a.third", QUESTION, None, example=0.5, scale="difference",
                                  tolerance=1.0)  # fmt: skip
    state = json.loads(re.search(r'<script type="application/json">(.*?)</script>', reveal, re.S)[1])  # type: ignore[index]
    assert state["truth"] == 0.3333
    assert state["question"] == QUESTION
    assert "truth" not in json.loads(re.search(r'json">(.*?)</script>', ask, re.S)[1])  # type: ignore[index]
    for html in (ask, reveal):
        assert html.count("</script>") == 2  # none that came with the question
        assert not re.search(r"(src|href)=|@import|url\(|fetch\(", html)


def test_points_are_those_of_the_printed_number() -> None:
    prediction = predict("a", "?", 0.5, example=1, scale="difference", tolerance=0.4)
    assert {prediction.points(truth) for truth in (0.319996, 0.32, 0.320004)} == {6}


def test_a_notebook_gets_both_and_a_plain_python_prints(tmp_path: Path) -> None:
    code = (
        "from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance();"
        "from minidsk.homework import predict;"
        "s.display_pub.publish = lambda data, **_: print(sorted(data), data['text/plain']);"
        "predict('a', 'How many?', example=2).reveal(2)"
    )
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "['text/html', 'text/plain'] How many?\n  guess 2, measured 2: exact\n" in run.stdout


def test_far_apart_is_said_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    predict("a", "?", example=1_000_000, tolerance=10).reveal(1.5)
    assert "667,000 times too high" in capsys.readouterr().out
    assert math.isfinite(predict("a", "?", 5e-324, example=1).points(1e300))
