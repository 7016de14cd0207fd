"""The check on another's problems: sizes, held-out numbers, and two scorers that may disagree."""

import importlib
import json
import sys
import types
from pathlib import Path

import pytest

from minidsk.tasks.countdown import Countdown
from minidsk.tasks.draw import split_of

EXPERIMENTS = Path(__file__).resolve().parents[2] / "tools" / "experiments"


@pytest.fixture
def gym(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("countdown_gym")


class Theirs:
    """A dataset with reasoning-gym's face: a + b = c, and each third problem is not made."""

    def __init__(self, **settings):
        self.settings = settings

    def __getitem__(self, i):
        if i % 3 == 2:
            raise ValueError("Failed to generate valid expression after 100 attempts")
        numbers = [i % 12 + 1, i // 12 % 12 + 1, 1]
        return {"metadata": {"numbers": numbers, "target": sum(numbers)}}

    @staticmethod
    def score_answer(answer, entry):
        return 1.0 if answer == "+".join(map(str, entry["metadata"]["numbers"])) else 0.05 if answer else 0.01


def test_their_names_for_our_sizes(gym):
    asked = gym.sizes(Countdown((3, 4), high=50, target_high=30, ops="+-", draw="uniform"))
    assert asked == {"min_numbers": 3, "max_numbers": 4, "min_value": 1, "max_value": 50, "min_target": 10,
                     "max_target": 30, "operators": ("+", "-")}  # fmt: skip
    assert gym.sizes(Countdown(3, high=12))["min_target"] == 1


def test_only_problems_that_were_held_out_are_posed(gym):
    found = gym.held_out(Theirs(), 5)
    assert len(found) == 5
    for problem, entry in found:
        assert list(problem.numbers) == entry["metadata"]["numbers"]
        assert split_of(problem.numbers, problem.target) == "test"
    assert [entry for _, entry in gym.held_out(Theirs(), 3, "train")] != [entry for _, entry in found[:3]]


def test_each_scorer_counts_for_itself(gym):
    problem = Countdown.pose("1 2 3 = 6")
    posed = [(problem, gym.as_theirs(problem))] * 3
    reply = "<think></think><answer>{}</answer>".format
    assert problem.score(reply("3+2+1")) == 1
    counted = gym.judged(posed, [reply("1+2+3"), reply("3+2+1"), "no answer"], Theirs.score_answer)
    assert [counted[name] for name in ("problems", "ours", "theirs", "both")] == [3, 2, 1, 1]
    assert counted["low"] < 1 / 3 < counted["high"]


def test_a_checkpoint_on_both_draws(gym, monkeypatch, tmp_path):
    made = types.SimpleNamespace(create_dataset=lambda name, **settings: Theirs(**settings))
    monkeypatch.setitem(sys.modules, "reasoning_gym", made)
    gym.main(["nano-zero", "--problems", "8", "--tokens", "96", "--device", "cpu", "--out", str(tmp_path)])
    [row] = json.loads((tmp_path / "metrics.json").read_text())
    assert row["sizes"]["max_value"] == 12
    assert row["our draw"]["problems"] == row["their draw"]["problems"] == 8
    assert row["our draw"]["ours"] >= row["our draw"]["both"]


def test_where_it_is_not_installed(gym, monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(SystemExit, match="pip install reasoning-gym"):
        gym.main(["nano-zero"])
