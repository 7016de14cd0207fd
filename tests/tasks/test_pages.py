"""Pages that need no thought, and several tasks as one."""

import dataclasses

import pytest

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.rl.rewards import score
from minidsk.tasks import make_task
from minidsk.tasks.mixture import Mixture


def test_lists_and_rows_are_checked_in_both_languages():
    task = make_task("pages", high=9, split="test", seed=3)
    for i in range(0, 20, 2):
        numbers = [int(n) for n in task[i].prompt.split()]
        right = " ".join(map(str, sorted(numbers)))
        assert task[i].score(f"In order: {right}") == task[i].score(f" 从小到大: {right}\n") == 1
        assert task[i].score(f"In order: {right} {numbers[0]}") == task[i].score(right) == 0
        row = [int(n) for n in task[i + 1].prompt.split()]
        assert task[i + 1].score(f"What comes next? {2 * row[3] - row[2]}") == 1
        assert task[i + 1].score(f"What comes next? {2 * row[3] - row[2] + 1}") == 0
        assert task[i + 1].well_formed("What comes next? 7")
        assert not task[i + 1].well_formed("<think>7</think>")
        assert task[i].verdict(f"In order: {right}") == f"right: In order: {right}"


def test_the_webs_own_pages_are_right():
    """What stands on the tiny web's lists and puzzles is what the task accepts for the same first line."""
    web, task = TinyWeb(TinyWebConfig(worksheets=0.0)), make_task("pages")
    seen = 0
    for i in range(300):
        first, _, rest = web[i].partition("\n")
        if not rest.startswith(("In order", "从小到大", "What comes", "再来")):
            continue
        numbers = [int(n) for n in first.split()]
        shown = sorted(numbers) if len(numbers) == 5 else [2 * numbers[3] - numbers[2]]
        words = ("In order:", "从小到大:") if len(numbers) == 5 else ("What comes next?", "再来是多少？")
        asked = dataclasses.replace(task[0], endings=frozenset(f"{w} {' '.join(map(str, shown))}" for w in words))
        assert asked.score(rest) == 1
        seen += 1
    assert seen > 50


def test_problems_repeat_and_differ_by_split_and_seed():
    tasks = [make_task("pages", split=split, seed=seed) for split, seed in (("train", 0), ("test", 0), ("train", 1))]
    rows = [[task[i].prompt for i in range(8)] for task in tasks]
    assert len({tuple(row) for row in rows}) == 3
    assert [make_task("pages")[i].prompt for i in range(8)] == rows[0]


def test_a_mixture_has_each_tasks_own_problems_in_its_shares():
    one, other = make_task("pages", high=9), make_task("countdown", numbers=3)
    mixed = Mixture([one, other], [1, 3])
    kinds = [type(mixed[i]) for i in range(1000)]
    assert 200 <= kinds.count(type(one[0])) <= 300
    assert all(mixed[i] in (one[i], other[i]) for i in range(40))
    assert [mixed[i] for i in range(40)] == [Mixture([one, other], [0.25, 0.75])[i] for i in range(40)]
    reseeded = [Mixture([make_task("pages", high=9, seed=seed), other], [1, 3]) for seed in (0, 1)]
    assert len({tuple(type(task[i]) for i in range(40)) for task in reseeded}) == 2
    scores = score([one[0], other[0]], ["", f"<think></think><answer>{other[0].solution}</answer>"], {"accuracy": 1.0})
    assert scores.total.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("shares", [[1], [1, 0], [1, -1], [1, float("nan")], [1, 1, 1]])
def test_shares_that_do_not_fit_are_named(shares):
    with pytest.raises(ValueError, match="^shares: "):
        Mixture([make_task("pages"), make_task("pages")], shares)


def test_impossible_settings_of_pages_are_named():
    with pytest.raises(ValueError, match="^split is"):
        make_task("pages", split="exam")
    with pytest.raises(ValueError, match="^high is"):
        make_task("pages", high=0)
    with pytest.raises(IndexError, match="problem -1"):
        make_task("pages")[-1]
