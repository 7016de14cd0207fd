"""The first screen says what the records say, and moves in a real browser."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import first_screen  # noqa: E402

RECORD = json.loads((RESULTS / "time_lapse" / "replies.json").read_text(encoding="utf-8"))


@pytest.fixture
def page(site, browser):
    """The first page, with what went wrong on it in `errors`."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, has_touch=True)
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(f"{site}/book/intro.html")
    yield page
    assert page.errors == []
    context.close()


def live(page, name):
    return page.locator(f"[data-live={name}]")


def shown(page):
    """The lines of the reply on the page, its answer, and its words in one string."""
    return live(page, "reply").locator("li").all_inner_texts(), live(page, "reply").locator("b").inner_text()


def recorded(problem, moment):
    """The same from the record, read in another way than the extension does."""
    text = RECORD["moments"][moment]["replies"][problem]["reply"]
    thought = re.sub(r"^<think>|</think>.*$", "", text, flags=re.DOTALL)
    answer = re.findall(r"<answer>(.*)</answer>", text)
    return thought.split("\n"), answer[0] if answer else "none"


def test_every_moment_and_problem_on_the_page_is_the_record(page):
    problem = RECORD["prompts"].index(live(page, "problem").inner_text() + "\n")
    for turn in range(first_screen.SHOWN):
        at = (problem + turn) % first_screen.SHOWN
        assert live(page, "problem").inner_text() == RECORD["prompts"][at].strip()
        for moment, said in enumerate(RECORD["moments"]):
            live(page, "step").fill(str(moment))
            assert shown(page) == recorded(at, moment)
            right = said["replies"][at]["score"] == 1
            assert live(page, "reply").locator(".live-outcome.right").count() == right
            assert live(page, "said").text_content() == f"{100 * said['accuracy']:.0f} % right"
        live(page, "next").click()


def test_the_figure_opens_on_its_question_and_ends_on_the_answer(page):
    lapse = first_screen.read(RESULTS)
    first, last = (lapse["moments"][k]["replies"][lapse["start"]] for k in (0, -1))
    assert not first["right"]
    assert len(first["lines"]) == 1
    assert last["right"]
    assert len(last["lines"]) > 1
    assert shown(page)[0] == first["lines"]


def test_play_runs_to_the_end_and_can_be_stopped(page):
    page.clock.install()
    live(page, "play").click()
    page.clock.run_for(2000)
    assert int(live(page, "step").input_value()) == 2
    live(page, "play").click()
    page.clock.run_for(5000)
    assert int(live(page, "step").input_value()) == 2
    live(page, "play").press("Enter")
    page.clock.run_for(60_000)
    assert int(live(page, "step").input_value()) == len(RECORD["moments"]) - 1
    assert live(page, "play").inner_text() == "Play again"
    live(page, "play").click()
    page.clock.run_for(1000)
    assert live(page, "step").input_value() == "1"


def test_where_less_motion_is_asked_for_nothing_moves_by_itself(page):
    page.emulate_media(reduced_motion="reduce")
    page.clock.install()
    assert live(page, "play").inner_text() == "Next step"
    live(page, "play").click()
    page.clock.run_for(60_000)
    assert live(page, "step").input_value() == "1"


def test_keyboard_mouse_and_finger(page):
    live(page, "step").press("ArrowRight")
    assert live(page, "step").input_value() == "1"
    live(page, "step").press("End")
    assert live(page, "step").input_value() == str(len(RECORD["moments"]) - 1)
    moments = page.locator("circle.moment")
    moments.nth(3).click(force=True)
    assert live(page, "step").input_value() == "3"
    box = moments.nth(7).bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert live(page, "step").input_value() == "7"
    live(page, "next").tap()
    assert (
        live(page, "problem").inner_text() != first_screen.read(RESULTS)["prompts"][first_screen.read(RESULTS)["start"]]
    )


def test_the_command_is_copied_or_selected(page):
    page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.copied = text; }; }")
    page.locator("[data-copies]").click()
    assert page.evaluate("window.copied").endswith("&& make reason")
    page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error(); }; }")
    page.locator("[data-copies]").click()
    page.wait_for_function("document.querySelector('.front-copied').textContent.includes('Ctrl+C')")
    assert page.evaluate("String(getSelection())").endswith("make reason")


def test_without_scripts_there_is_a_still_with_the_same_facts(site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/book/intro.html")
    figure, start = page.locator("figure.live"), first_screen.read(RESULTS)["start"]
    for moment in (0, -1):
        for line in recorded(start, moment)[0]:
            assert figure.get_by_text(line, exact=True).first.is_visible()
    assert figure.locator("button:visible, input:visible").count() == 0
    assert page.locator("[data-copies]:visible").count() == 0
    assert page.locator("#front-command").is_visible()
    context.close()


def test_the_strip_of_proof_quotes_the_records_and_links_what_is_there(page):
    text = page.locator("ul.proof").inner_text()
    for found in first_screen.evidence(RESULTS):
        assert f"{found['before']} → {found['after']}" in text
        assert found["interval"] in text
    source = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]["html_theme_options"][
        "repository_url"
    ]
    links = [a.get_attribute("href") for a in page.locator("ul.proof a, figure.live a").all()]
    assert len(links) == 5
    for link in links:
        if link.startswith("#"):
            assert page.locator(link).count() == 1
        elif link.endswith(".html"):
            assert (ROOT / "book" / link).with_suffix(".md").exists(), link
        else:
            assert (ROOT / re.sub(rf"{source}/(blob|tree)/main/", "", link)).exists(), link


def test_evidence_is_that_of_the_runs():
    def mean(stage):
        files = [RESULTS / f"reason_nano/seed{seed}/{stage}/evaluation.json" for seed in range(3)]
        return sum(json.loads(file.read_text(encoding="utf-8"))["row"]["accuracy"] for file in files) / 3

    nano = first_screen.evidence(RESULTS)[0]
    assert (nano["before"], nano["after"]) == (f"{100 * mean('base'):.0f} %", f"{100 * mean('zero'):.0f} %")
    assert nano["seeds"] == 3


@pytest.mark.parametrize(("reply", "outcome"), [
    ("<think>1+2=3?4 no</think><answer>1+2</answer>", "1 try, then it gives up with a wrong answer"),
    ("<think>1+2=3?4 no\n2+2=4?4 yes</think><answer>4</answer>",
     "2 tries, then a wrong answer that it takes for right"),
    ("<think>1+2=3?4 no\n2+", "2 tries, then no answer"),
])  # fmt: skip
def test_a_wrong_reply_is_described(reply, outcome):
    assert first_screen.take_apart(reply, 0.0).outcome == outcome
    assert not first_screen.take_apart(reply, 0.0).right


def test_markup_in_a_reply_stays_text(tmp_path):
    build = project(tmp_path, reply="</script><b>x</b>")
    assert build.returncode == 0, build.stderr
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<b>x</b>" not in html
    assert html.count("\\u003c/script>\\u003cb>x") == len(RECORD["moments"])


@pytest.mark.parametrize("missing", ["time_lapse/replies.json", "time_lapse/run.json", "reason_small"])
def test_a_missing_record_fails_the_build_with_its_name(tmp_path, missing):
    build = project(tmp_path, missing)
    assert build.returncode != 0
    assert f"results/{missing} is missing" in build.stderr


def test_a_damaged_record_fails_the_build_with_its_name(tmp_path):
    project(tmp_path, build=False)
    (tmp_path / "results" / "time_lapse" / "replies.json").write_text('{"moments": [{}]}')
    with pytest.raises(ExtensionError, match=r"results/time_lapse/replies.json is damaged"):
        first_screen.read(tmp_path / "results")


def project(folder, missing=None, reply=None, build=True):
    """Build a book of one page, the first screen, from a copy of the records."""
    for name in ("time_lapse", "reason_small", "reason_nano"):
        shutil.copytree(RESULTS / name, folder / "results" / name)
    gone = folder / "results" / (missing or "nothing")
    if gone.is_dir():
        shutil.rmtree(gone)
    gone.unlink(missing_ok=True)
    if reply:
        record = json.loads(json.dumps(RECORD))
        for moment in record["moments"]:
            moment["replies"][0]["reply"] = reply
        (folder / "results" / "time_lapse" / "replies.json").write_text(json.dumps(record))
    (folder / "tests" / "hub").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "hub" / "test_parity.py", folder / "tests" / "hub")
    (folder / "_toc.yml").write_text("parts: [{caption: I, chapters: [{file: notebooks/01_a}]}]")
    (folder / "index.md").write_text("# Title\n\n```{first-screen}\n```\n")
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        "extensions = ['myst_parser', 'first_screen']\n"
        f"html_static_path = [{str(ROOT / 'book' / '_static')!r}]\nhtml_theme = 'basic'\n"
        "html_theme_options = {'repository_url': 'https://github.com/a/b'}\n"
        "exclude_patterns = ['results', 'tests', 'notebooks']\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(folder), str(folder / "out")]
    return subprocess.run(command, capture_output=True, text=True, check=False) if build else None
