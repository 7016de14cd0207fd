"""The experiment of chapter 15: what its arms learn from, what they need, and what is measured of them."""

import importlib
import json
import shutil
import time
from concurrent.futures import Future, wait
from pathlib import Path

import pytest
import torch

from minidsk import load_policy
from minidsk.data.pages import letter_page
from minidsk.hub.zoo import find
from minidsk.rl.harvest import readable, right
from minidsk.rl.recipe import run_stage
from minidsk.tasks.base import stream
from minidsk.tasks.countdown import Countdown

EXPERIMENTS = Path(__file__).resolve().parents[2] / "tools" / "experiments"
SIZES = ["--device", "cpu", "--seeds", "0", "--shares", "0.2", "--pretrain-steps", "2", "--batch", "2",
         "--workers", "1", "--rl-steps", "1", "--last-steps", "1", "--prompts", "2", "--group", "4", "--rows", "8",
         "--curated", "8", "--many", "12", "--cold-steps", "2", "--rejection-steps", "1", "--tokens", "40",
         "--problems", "3", "--sampled", "2", "--pages", "2", "--letters", "2"]  # fmt: skip
CPU = torch.device("cpu")


class AtOnce:
    """A pool that does what it is given before anything else."""

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture
def stages(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("ch15_stages")


@pytest.fixture
def cells(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("ch15_cells")


@pytest.fixture
def a(stages, monkeypatch, tmp_path):
    """The settings that the command line gives."""
    caught = []
    with monkeypatch.context() as patch:
        patch.setattr(stages, "schedule", lambda pool, jobs, needs, a: caught.append(a) or 0)
        patch.setattr(stages, "ProcessPoolExecutor", Nothing)
        stages.main([*SIZES, "--out", str(tmp_path), "--weights", str(tmp_path / "weights")])
    return caught[0]


class Nothing:
    """A pool that is not needed."""

    def __init__(self, *settings):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def map(self, *calls):
        pass


def figures(stages):
    """What the table shows of a row."""
    return dict.fromkeys(("accuracy", *stages.COLUMNS), 0.5) | {"sampled": {"one_language": 0.5}}


@pytest.fixture
def recipe(cells, a):
    return cells.settings_of(0.2, 0, a)


def test_curated_thoughts_are_right_readable_short_and_of_no_problem_that_is_held_out(cells, a, recipe):
    few, many = (cells.Authors(count, 60, recipe.pretrain.web).gather(None, None, 0) for count in (20, 40))
    assert len(few.examples) == 20 < few.asked
    assert few.examples == many.examples[:20]
    assert few.flops == 0
    held_out = {recipe.make_task("test")[i].prompt for i in range(200)}
    tokenizer = load_policy("nano-base").tokenizer
    for prompt, reply in many.examples:
        problem = Countdown.pose(prompt)
        assert right(problem, reply)
        assert readable(problem, reply)
        assert len(tokenizer.encode(reply)) < 60
        assert prompt not in held_out
    assert few.examples != cells.Authors(20, 60, recipe.pretrain.web).gather(None, None, 1).examples


def test_every_arm_comes_after_those_that_it_needs(cells, a, recipe):
    stages, seen = cells.stages_of(recipe, a), set()
    for name, stage in stages.items():
        assert cells.needed(stage) <= seen
        seen.add(name)
    assert cells.ancestors("full", stages) == {"base", "cold", "cold_language", "rejection", "full"}
    assert cells.ancestors("own_right", stages) == {"base", "zero", "cold_own", "own_right"}
    assert cells.needed(stages["half_few"]) == {"half_few_sft", "zero"}


def test_arms_differ_in_what_they_are_named_for(cells, a, recipe):
    stages = cells.stages_of(recipe, a)
    names = ("cold_right", "cold_form", "cold_language", "cold_language_1", "zero", "zero_language")
    rewards = {name: dict(stages[name].config.rewards) for name in names}
    assert rewards["cold_right"] == rewards["zero"] == {"accuracy": 1.0, "language": 0.0}
    assert rewards["cold_form"] == rewards["zero"] | {"well_formed": 0.2}
    assert rewards["cold_language"] == rewards["cold_form"] | {"language": 0.2}
    assert rewards["cold_language_1"] == rewards["cold_form"] | {"language": 1.0}
    assert rewards["zero_language"] == rewards["zero"] | {"language": 0.2}
    assert (stages["rejection"].pages, stages["bare"].pages) == (a.curated, 0)
    assert stages["rejection"].thoughts == stages["bare"].thoughts
    assert stages["full"].kinds == stages["no_rejection"].kinds == {"countdown": 0.75, "pages": 0.25}


def test_a_budget_is_spent_on_examples_on_reward_or_half_on_each(cells, a, recipe, tmp_path):
    a.tokens, a.curated, a.prompts = 160, 64, 16
    stages = cells.stages_of(recipe, a, budget := 2e10)
    sft, half, rest = (stages[name].config.steps for name in ("sft_few", "half_few_sft", "half_few"))
    assert half == pytest.approx(sft / 2, abs=1)
    assert cells.stages_of(recipe, a, 2 * budget)["half_few"].config.steps == pytest.approx(2 * rest, abs=1)
    shutil.copytree(find("nano-base"), tmp_path / "base")
    run_stage(stages["sft_few"], recipe, tmp_path, CPU, progress=False)
    assert cells.spent("sft_few", tmp_path) == pytest.approx(budget, rel=0.15)


def test_a_reader_is_lost_where_lines_have_no_form_or_are_not_true(cells, recipe):
    problem = Countdown.pose("Make 6 from 1 2 3.")
    form = "<think>{}</think><answer>1+2+3</answer>"
    texts = [form.format(line) for line in ("1+2+3=3+3=6?6 yes", "1+2+3=3+3=7?6 no", "hm 1 2", "1+2+3=3+3=6?6 对了")]
    found = cells.manners([problem] * 4, texts)
    assert found["lines_parse"] == 0.75
    assert found["lines_true"] == 0.5
    assert found["one_language"] == 0.75
    assert found["readable"] == 0.75


def test_letters_are_known_by_their_form_and_by_their_sense(cells, recipe):
    for number in range(50):
        page = letter_page(stream("a letter", number), recipe.pretrain.web).partition("\n")[2]
        had, gave = (int(n) for n in cells.LETTERS.fullmatch(page).groups() if n)
        assert had >= gave
    assert not cells.LETTERS.fullmatch("thank you for the 3 books.\nYours, Ada")
    shares, written = cells.letters(load_policy("nano-base"), recipe, 16)
    assert shares["letters_true"] <= shares["letters"] > 0.5
    assert len(written) == 16


def test_a_base_is_measured(cells, a, recipe):
    a.problems, a.tokens, a.pages = 16, 160, 32
    row = cells.measured(load_policy("nano-base"), recipe, a)
    assert row["pages"] == pytest.approx((row["lists"] + row["rows"]) / 2, abs=1e-3)
    assert row["pages"] > 0.2
    assert row["pages_formed"] > 0.9
    assert row["loss"] < row["loss_pages"] < 1
    assert row["sampled"]["problems"] == a.sampled
    assert len(row["shown"]) == 4 + 4 + 2
    json.dumps(row)
    a.seeds = [-1]
    assert "shown" not in cells.measured(load_policy("nano-base"), recipe, a)


def fake(a, monkeypatch, stages, broken=()):
    """Arms that are made at once; the order in which they were."""
    order = []

    def made(arm, recipe, a, folder, device):
        order.append((folder.name, arm))
        if arm in broken:
            raise ValueError(f"{arm} is broken\nas was said")
        return arm, {"total_flops": 1.0}

    monkeypatch.setattr(stages, "made", made)
    monkeypatch.setattr(stages, "measured", lambda *_: figures(stages))
    return order


def jobs_of(a, needs):
    return [(share, seed, arm) for arm in needs for seed in a.seeds for share in a.shares]


def test_an_arm_that_fails_is_recorded_and_those_that_do_not_need_it_go_on(stages, a, monkeypatch):
    a.seeds = [0, 1]
    order, needs = fake(a, monkeypatch, stages, broken=["rejection"]), stages.arms_asked(a)
    assert stages.schedule(AtOnce(), jobs_of(a, needs), needs, a) == 2  # full, twice
    assert [arm for world, arm in order if world == "0.2_0"] == [arm for arm in needs if arm != "full"]
    rows = stages.collected(a)
    assert len(rows) == len(order)
    assert json.loads((a.out / "metrics.json").read_text())["rows"] == rows
    shown = stages.table(rows, list(needs))
    assert "failed: 0.2 seed 1 rejection: ValueError: rejection is broken" in shown
    assert "+0.000 +- 0.000" in shown
    assert "full" not in [line.split()[1] for line in shown.splitlines()]


def test_arms_that_have_a_row_are_not_made_again(stages, a, monkeypatch):
    order, needs = fake(a, monkeypatch, stages), stages.arms_asked(a)
    stages.schedule(AtOnce(), jobs_of(a, needs), needs, a)
    stages.path_of((0.2, 0, "full"), a.out).unlink()
    order.clear()
    assert stages.schedule(AtOnce(), jobs_of(a, needs), needs, a) == 0
    assert order == [("0.2_0", "full")]


def test_no_more_arms_run_at_a_time_than_there_are_workers_and_none_is_begun_too_late(stages, a, monkeypatch):
    fake(a, monkeypatch, stages)
    a.seeds, a.workers, needs = [0, 1, 2], 2, stages.arms_asked(a)
    running = []

    class Pool(AtOnce):
        def submit(self, function, *arguments):
            running.append(arguments)
            return super().submit(function, *arguments)

    monkeypatch.setattr(stages, "wait", lambda futures, return_when: (running.append(len(futures)), wait(futures))[1])
    stages.schedule(Pool(), jobs_of(a, needs), needs, a)
    assert max(n for n in running if isinstance(n, int)) == 2
    a.out, a.deadline = a.out / "late", time.time() - 1
    (a.out / "jobs").mkdir(parents=True)
    assert stages.schedule(Pool(), jobs_of(a, needs), needs, a) == len(jobs_of(a, needs))
    assert stages.collected(a) == []


def test_differences_are_taken_seed_by_seed(stages):
    rows = [{"share": 0.2, "seed": seed, "arm": arm, "sampled": {"one_language": 0.1 * seed + gain}}
            for arm, gain in (("zero", 0.0), ("full", 0.2)) for seed in range(5)]  # fmt: skip
    said = stages.gained(rows[:-1], 0.2, "full", "zero", "sampled_one_language")
    assert said == "+0.200 +- 0.000"
    assert stages.gained(rows, 0.01, "full", "zero", "sampled_one_language") == "-"


def test_arms_that_are_asked_for_bring_what_they_need(stages, a):
    assert {name for pair in stages.PAIRS for name in pair} <= stages.arms_asked(a).keys()
    a.arms = ["half_few"]
    assert list(stages.arms_asked(a)) == ["base", "zero", "half_few_sft", "half_few"]


def test_a_base_is_made_and_kept(stages, cells, a):
    row = stages.do((0.2, 0, "base"), a)
    assert "failed" not in row
    assert (row["steps"], row["total_flops"], row["problems"]) == (a.pretrain_steps, 0, a.problems)
    kept, _ = cells.made("cold", cells.settings_of(0.2, 0, a), a, Path(a.weights) / "0.2_0", CPU)
    assert kept.model.config == load_policy(Path(a.weights) / "0.2_0" / "base").model.config


@pytest.mark.slow
def test_arms_are_made_one_from_the_other(stages, a, monkeypatch):
    monkeypatch.setattr(stages, "measured", lambda *_: figures(stages))
    a.tokens, a.arms = 80, ["full", "cold_own", "half_few"]
    needs = stages.arms_asked(a)
    shutil.copytree(find("nano-base"), Path(a.weights) / "0.2_0" / "base")
    keep_row = {"share": 0.2, "seed": 0, "arm": "base", "total_flops": 0.0} | figures(stages)
    stages.keep_job(stages.path_of((0.2, 0, "base"), a.out), [keep_row])
    assert stages.schedule(AtOnce(), jobs_of(a, needs), needs, a) == 0
    rows = {row["arm"]: row for row in stages.collected(a)}
    assert [row["failed"] for row in rows.values() if "failed" in row] == []
    assert (rows["rejection"]["origin"], rows["rejection"]["teacher"]) == ("base", "cold_language")
    counts = {arm: rows[arm]["examples"] for arm in ("cold", "cold_own", "rejection", "half_few_sft")}
    assert counts == {"cold": 8, "cold_own": 8, "rejection": 24 + 8, "half_few_sft": 8}
    way = [rows[name]["flops"] for name in ("cold", "cold_language", "rejection", "full")]
    assert rows["full"]["total_flops"] == pytest.approx(sum(way))
    assert len(rows["zero"]["curves"]["language"]) == a.rl_steps
    stages.table(list(rows.values()), list(needs))
