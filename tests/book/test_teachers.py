"""The page for teachers: its commands say what it shows, its tables add up what the chapters state."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import schedule  # noqa: E402
from chapter_cards import Card  # noqa: E402

PAGE = (ROOT / "book" / "teachers.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```{code-block} \w+\n:caption: (\S+)\n\n(.*?)```", PAGE, re.DOTALL))


def test_grading_prints_what_the_page_shows(tmp_path):
    for name in ("ada/homework.py", "grading/test_homework.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(BLOCKS[name], encoding="utf-8")
    [settings, command] = re.search(r"`(PYTHONPATH=ada) pytest (.*)` says", PAGE).groups()
    path = os.pathsep.join([settings.partition("=")[2], str(ROOT)])
    done = subprocess.run([sys.executable, "-m", "pytest", *command.split()], cwd=tmp_path, capture_output=True,
                          text=True, check=False, env={**os.environ, "PYTHONPATH": path})  # fmt: skip
    assert done.returncode == 1
    assert BLOCKS["pytest"].strip() in re.sub(r"(?m)^E   ", "", done.stdout).replace("\n    ", "\n")


def test_the_schedule_adds_up_what_the_chapters_state(site, browser):
    page = browser.new_page()
    page.goto(f"{site}/book/teachers.html")
    rows = [row.locator("td").all_inner_texts() for row in page.locator("table").first.locator("tbody tr").all()]
    page.close()
    chapters = [row for row in rows if re.match(r"\d\d[a-z]? ", row[0])]
    assert [row[0].partition(" ")[0] for row in chapters] == [
        path.name.partition("_")[0] for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]  # fmt: skip
    twin = (ROOT / "notebooks" / "12_grpo.py").read_text(encoding="utf-8")
    [grpo] = [row for row in chapters if row[0].startswith("12")]
    given = [int(minutes) for minutes in re.findall(r"^# \*(\d+) minutes", twin, re.MULTILINE)]
    assert len(given) == twin.count("{exercise}")
    assert grpo[1] == "2 h"
    assert "two hours to read" in twin
    assert grpo[3] == f"{len(given)}, {sum(given)} min"
    assert rows[-1][1] == f"{sum(float(row[1][:-2]) for row in chapters):g} h"


def test_every_exercise_of_every_chapter_states_its_minutes():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert len(schedule.exercise_minutes(path)) == schedule.text(path).count("```{exercise}"), path.name


def test_hours_that_are_not_known_are_named():
    with pytest.raises(ExtensionError, match="chapter 05: 'a week' to read is not known"):
        schedule.hours(Card("05", "T", "Why?", "6 s", "a week", "two CPU cores"))


def test_what_check_knows_is_listed(site, browser):
    page = browser.new_page()
    page.goto(f"{site}/book/teachers.html")
    row = page.locator("tr", has_text="moe.update_bias")
    assert row.count() == 1
    assert int(row.locator("td").last.inner_text()) >= 3
    page.close()
