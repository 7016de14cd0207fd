import json

import pytest

from minidsk.infer.outcome import Outcome
from minidsk.infer.pass_at_k import pass_at_k
from minidsk.report.evaluation import measure, screen
from minidsk.tasks.base import Problem
from minidsk.tasks.countdown import CountdownProblem

SUM = CountdownProblem("Make 19 from 8 4 7.\n", (8, 4, 7), 19, "8+4+7")
PRODUCT = CountdownProblem("Make 21 from 3 4 9.\n", (3, 4, 9), 21, "3*4+9")
FOUR = CountdownProblem("Make 10 from 1 2 3 4.\n", (1, 2, 3, 4), 10, "1+2+3+4")
RIGHT = {SUM: "8+4+7", PRODUCT: "3*4+9", FOUR: "1+2+3+4"}


def replies(problem, right, wrong, line="8+4-7=12-7=5 no"):
    made = [f"<think>{line}</think><answer>{RIGHT[problem]}</answer>"] * right + [f"<think>{line}\n?"] * wrong
    return [Outcome(text, problem.score(text), 10 if "</answer>" in text else 30, "</answer>" in text) for text in made]


PROBLEMS = [SUM, PRODUCT, FOUR]
REPLIES = [replies(SUM, 4, 0), replies(PRODUCT, 1, 3), replies(FOUR, 2, 2, line="1+2=3 no\n1+2=4 不对")]


def test_the_figures():
    found = json.loads(json.dumps(measure(PROBLEMS, REPLIES, seed=1)))
    assert found["right"] == [4, 1, 2]
    assert (found["problems"], found["samples"]) == (3, 4)
    for k in (1, 2, 4):
        mean = (1 + pass_at_k(4, 1, k) + pass_at_k(4, 2, k)) / 3
        assert found["pass_at_k"][str(k)]["value"] == pytest.approx(mean)
    assert found["accuracy"] == found["pass_at_k"]["1"]
    values = {row["kind"]: (row["problems"], row["accuracy"]["value"]) for row in found["strata"]}
    assert values == {"3 numbers": (2, 0.625), "4 numbers": (1, 0.5), "+ and - suffice": (2, 0.75),
                      "* or / needed": (1, 0.25)}  # fmt: skip
    assert {name: row["replies"] for name, row in found["length"].items()} == {"right": 7, "wrong": 5, "cut off": 5}
    assert found["length"]["right"]["tokens"]["value"] == 10
    assert found["length"]["wrong"]["tokens"]["value"] == 30
    form = {name: figure["value"] for name, figure in found["form"].items()}
    assert form["well-formed replies"] == pytest.approx(7 / 12)
    assert form["replies cut off"] == pytest.approx(5 / 12)
    assert form["thoughts in both languages"] == pytest.approx(4 / 12)
    assert form["lines in both languages"] == 0
    # 4 + 4 + 8 lines of attempts, and a "?" for each that was cut off
    assert form["lines that the grammar parses"] == pytest.approx(16 / 21)
    # the attempts at 19 and at 21 are true; of those at 10, one in two
    assert form["of these, lines that are true"] == pytest.approx(12 / 16)


def test_lines_in_both_languages_are_a_share_of_all_lines():
    """Of 10 lines 4 mix, and 4 others parse."""
    found = measure([SUM], [replies(SUM, 2, 2, line="ok 对了\n8+4+7=12+7=19 yes")])
    shares = [found["form"][name]["value"] for name in ("lines in both languages", "lines that the grammar parses")]
    assert shares == pytest.approx([0.4, 0.4])


def test_the_screen_shows_what_was_measured():
    found = measure(PROBLEMS, REPLIES)
    said = screen(found)
    assert "pass@4" in said
    for words in ("all", "3 numbers", "4 numbers", "+ and - suffice", "* or / needed", "well-formed replies"):
        assert words in said
    assert f"{found['accuracy']['value']:.1%}" in said
    assert found["interval"] in said
    assert max(map(len, said.splitlines()[:-1])) <= 100


def test_many_k_stand_below_each_other():
    found = measure([SUM, PRODUCT], [replies(SUM, 9, 7), replies(PRODUCT, 1, 15)])
    lines = screen(found).splitlines()
    assert [line.split()[0] for line in lines[2:7]] == ["pass@1", "pass@2", "pass@4", "pass@8", "pass@16"]


def test_a_task_without_worksheets_has_no_grammar():
    class Other(Problem):
        def score(self, text):
            return 1.0

    problems = [Other("a"), Other("b")]
    found = measure(problems, [[Outcome("x", 1.0, 1, True)]] * 2)
    assert found["strata"] == []
    assert set(found["form"]) == {"well-formed replies", "replies cut off", "thoughts in both languages"}
