"""Every page reads well with scripts off: text, code, formulas, pictures, and words in the place of what moves."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
PROBE = (Path(__file__).parent / "probe_without_scripts.js").read_text(encoding="utf-8").partition("\n")[2]


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_reads_without_scripts(site, browser, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=False)
    page, problems = context.new_page(), []
    for name in PAGES:
        page.goto(f"{site}/{name}.html", wait_until="load")
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
