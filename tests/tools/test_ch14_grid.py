"""The grid of chapter 14: its rewards judge what they say, and nothing that is done is lost."""

import importlib
import json
import math
import time
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from minidsk import load_policy

EXPERIMENTS = Path(__file__).resolve().parents[2] / "tools" / "experiments"
RIGHT, WRONG = "<think>{s}={t}?{t} yes</think><answer>{s}</answer>", "<think>1=1?2 no</think><answer>1</answer>"
SIZES = {"pretrain_steps": 2, "batch": 2, "rl_steps": 1, "rl_lr": 1e-3, "prompts": 2, "group": 4, "rows": 8,
         "cap": 8, "tokens": 12, "problems": 3, "sampled": 2, "samples": 4, "at_once": 4}  # fmt: skip


@pytest.fixture
def cells(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("ch14_cells")


@pytest.fixture
def grid(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("ch14_grid")


@pytest.fixture
def a(tmp_path):
    (tmp_path / "jobs").mkdir()
    return Namespace(out=tmp_path, began=time.time(), deadline=math.inf, **SIZES)


@pytest.fixture
def problems(cells, a):
    task = cells.recipe_of(0.05, 0, a).make_task("test")
    return [task[i] for i in range(200)]


def test_rewards_judge_form_and_answers(cells, problems):
    problem = problems[0]
    texts = [RIGHT.format(s=problem.solution, t=problem.target), WRONG, "<answer>1</answer>"]
    assert cells.form([problem] * 3, texts, 0) == [1, 1, 0]
    assert cells.wrong([problem] * 3, texts, 0) == [0, 1, 0]


def test_the_coin_is_fair_the_same_for_the_same_answer_and_blind_to_its_worth(cells, problems):
    texts = [RIGHT.format(s=problem.solution, t=problem.target) for problem in problems]
    thrown = cells.coin(problems, texts, 0)
    assert thrown == cells.coin(problems, texts, 0) != cells.coin(problems, texts, 1)
    assert 70 < sum(thrown) < 130


def test_a_search_is_begun_by_two_attempts_that_are_wrong(cells, problems, a):
    for number in range(20):
        begun = cells.Begun(cells.recipe_of(0.05, 0, a))[number]
        head, _, search = begun.prompt.partition("<think>")
        assert head == problems[number].prompt
        lines = search.splitlines()
        assert len(lines) == len(set(lines)) == 2
        assert search.endswith("\n")
        for line in lines:
            value, wanted = line.removesuffix(" no").rpartition("=")[2].split("?")
            assert int(value) != int(wanted) == begun.target
        assert begun.score(f"{begun.solution}</think><answer>{begun.solution}</answer>") == 1


def test_habits_are_counted_per_thought(cells, problems):
    texts = ["<think>1+2+3=6?7 no\n1+2-3=0?7 不对\n1-2=3?7 yes</think><answer>1</answer>", "<think></think>"]
    found = cells.habits(problems[:2], texts)
    assert (found["attempts"], found["retries"], found["checks"], found["both_languages"]) == (1.5, 1.0, 1.5, 0.5)


def test_the_share_of_searching_authors_and_the_sizes_reach_the_recipe(cells, a):
    recipe = cells.recipe_of(0.2, 3, a)
    assert (recipe.pretrain.web.persistent, recipe.pretrain.steps, recipe.pretrain.seed) == (0.2, 2, 3)
    assert (recipe.zero.steps, recipe.zero.prompts, recipe.zero.optim.lr) == (1, 2, 1e-3)


def test_pretraining_is_that_of_the_package(cells, a, tmp_path):
    from minidsk.train.pretrain import pretrain

    config = cells.recipe_of(0.05, 0, a).pretrain
    kept = cells.pretrained(config, torch.device("cpu"), [1, 2])
    wanted = pretrain(config, tmp_path / "base", device="cpu", progress=False).state_dict()
    assert all(torch.equal(kept[2].state_dict()[name], value) for name, value in wanted.items())
    assert any(not torch.equal(kept[1].state_dict()[name], value) for name, value in wanted.items())


def test_imitation_takes_the_operations_that_it_may(cells, a):
    base = load_policy("nano-base")
    a.rl_steps, a.prompts, a.tokens = 4, 8, 160
    policy, seen = cells.imitated(base, cells.recipe_of(0.05, 0, a), flops := 2e10)
    assert seen["flops"] == pytest.approx(flops, rel=0.15)
    assert any(not torch.equal(p, q) for p, q in zip(policy.model.parameters(), base.model.parameters(), strict=True))


def test_a_cell_that_fails_is_recorded_and_the_others_go_on(grid, a, monkeypatch):
    def job(share, seed, a, device):
        yield "base", lambda: {"accuracy": 0.25, "thought": 9.0, "pass_at_k": {"1": 0.25}}
        yield "right", lambda: 1 / 0
        yield "sft", lambda: {"accuracy": 0.5, "thought": 7.0, "pass_at_k": {"1": 0.5}}

    monkeypatch.setitem(grid.KINDS, "grid", job)
    grid.do(("grid", 0.05, 0), a, torch.device("cpu"))
    rows = grid.collected(a)
    assert [row["cell"] for row in rows] == ["base", "right", "sft"]
    assert rows[1]["failed"] == "ZeroDivisionError: division by zero"
    shown = grid.table(rows)
    assert "+0.250" in shown
    assert "failed: grid 0.05 seed 0 right: ZeroDivisionError" in shown
    assert json.loads((a.out / "metrics.json").read_text())["rows"] == rows


def test_no_cell_is_begun_too_late(grid, a):
    a.deadline = 0.0
    grid.do(("grid", 0.05, 0), a, torch.device("cpu"))
    assert grid.collected(a) == []


def test_both_kinds_of_jobs_run(grid, cells, a):
    for kind in ("grid", "moments"):
        grid.do((kind, 0.05, 0), a, torch.device("cpu"))
    rows = grid.collected(a)
    by_cell = {row["cell"]: row for row in rows}
    assert list(by_cell) == [*grid.CELLS, "step 2", "step 1"]
    # Two steps teach nobody to answer, so there is nothing to imitate.
    assert [name for name, row in by_cell.items() if "failed" in row] == ["sft"]
    assert len(by_cell["wrong"]["right"]) == 2
    assert set(by_cell["base"]["pass_at_k"]) == {"1", "2", "4"}
    assert by_cell["random"]["without_signal"] < 1 == by_cell["right"]["without_signal"]
    assert "before" in by_cell["step 1"]
    grid.table(rows)


def test_without_time_nothing_is_begun(grid, tmp_path, capsys):
    grid.main(["--limit", "0", "--out", str(tmp_path / "none"), "--device", "cpu"])
    assert json.loads((tmp_path / "none" / "metrics.json").read_text())["rows"] == []


def test_a_record_whose_jobs_are_gone_is_not_emptied(grid, tmp_path):
    kept = tmp_path / "metrics.json"
    kept.write_text('{"rows":[1]}')
    grid.main(["--limit", "0", "--out", str(tmp_path), "--device", "cpu"])
    assert kept.read_text() == '{"rows":[1]}'
