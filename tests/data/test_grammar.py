"""The grammar of worksheets against what their authors write, and against what breaks it."""

import dataclasses
import random
import re

import pytest

from minidsk.data.corpus import TinyWebConfig
from minidsk.data.grammar import holds, parses
from minidsk.data.worksheet import worksheet
from minidsk.presets import PRESETS
from minidsk.tasks.base import thought_of

WEBS = {name: make().pretrain.web for name, make in PRESETS.items()}
WEBS["both languages"] = dataclasses.replace(WEBS["small"], mixed=1.0)
WEBS["backwards"] = dataclasses.replace(WEBS["capstone"], backwards=1.0)
WEBS["default"] = TinyWebConfig()


@pytest.mark.parametrize("web", WEBS)
def test_what_the_authors_write_parses_and_is_true(web):
    rng, lines = random.Random(0), 0
    for _ in range(150):
        sheet = worksheet(rng, WEBS[web])
        numbers = re.findall("[0-9]+", sheet.partition("<think>")[0])
        target = int(numbers[0] if sheet.startswith("Make") else numbers[-1])
        for line in thought_of(sheet.partition("\n")[2]).splitlines():
            assert parses(line), line
            assert holds(line, target), line
            assert not holds(line.replace(" yes", " no").replace(" 对了", " 不对"), target) or "!" in line or \
                not re.search(" yes| 对了", line)
            lines += 1
    assert lines > 150


@pytest.mark.parametrize("line", [
    "", "no", "8+7-4=15-4=11", "8+7-4 no", "8+7-4=15-4=11? no", "8+7-=15-4=11 no", "8+7=15 maybe", "(8+7=15 no",
    "8/0=8 no", "8+7=15 no no", "57 3:+60-", "10:+74-54!57 yes", "8+7=15no", " 8+7=15 no", "1 2 3:+4",
])  # fmt: skip
def test_what_does_not_parse(line):
    assert not parses(line)


@pytest.mark.parametrize(("line", "true"), [
    ("8+7-4=15-4=11?19 no", True), ("8+7-4=15-4=12?19 no", False), ("8+7-4=15-4=11?19 yes", False),
    ("8+7+4=15+4=19?19 yes", True), ("8+7+4=15+4=19?19 no", False), ("8+7+4=15+4=19 对了", True),
    ("8+7+4=15+4=19?18 no", False), ("8+7-4=15-4=11?18 no", False),
    ("57 3:+60-54", True), ("10:+74!57-3+10=54+10=64 yes", False),
    ("10:+9!8+1+10=9+10=19 yes", True), ("10:+9!8+2+10=9+10=19 yes", False),
])  # fmt: skip
def test_what_is_true_of_target_19(line, true):
    assert parses(line)
    assert holds(line, 19) == true
