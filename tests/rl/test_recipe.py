import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from minidsk.presets import PRESETS
from minidsk.rl.harvest import harvest
from minidsk.rl.policy import load_policy
from minidsk.rl.recipe import STAGES, reason, run_stage
from minidsk.train.checkpoint import RunError


def test_the_stages_leave_folders_figures_and_replies(micro, micro_run):
    assert sorted(path.name for path in micro_run.iterdir()) == sorted(STAGES)
    for stage in STAGES:
        names = {path.name for path in (micro_run / stage).iterdir()}
        assert names - {"examples.jsonl"} == {
            "config.json", "metrics.jsonl", "model.safetensors", "tokenizer.json", "evaluation.json",
        }  # fmt: skip
        evaluation = json.loads((micro_run / stage / "evaluation.json").read_text())
        assert len(evaluation["replies"]) == evaluation["row"]["problems"] == 16
        assert evaluation["row"]["flops"] > 0
        task = micro.make_task("test")
        assert [entry["prompt"] for entry in evaluation["replies"]] == [task[i].prompt for i in range(16)]
        scores = [task[i].score(entry["reply"]) for i, entry in enumerate(evaluation["replies"])]
        assert scores == [entry["score"] for entry in evaluation["replies"]]
        assert evaluation["row"]["accuracy"] == pytest.approx(sum(scores) / 16)


def test_a_second_call_does_nothing(micro, micro_run, figures, monkeypatch):
    before = figures(micro_run)
    times = {path: path.stat().st_mtime_ns for path in micro_run.rglob("*") if path.is_file()}
    said = []
    rows = reason(micro, micro_run, device="cpu", progress=False, announce=said.append)
    assert {path: path.stat().st_mtime_ns for path in micro_run.rglob("*") if path.is_file()} == times
    assert figures(micro_run) == before
    assert [row["stage"] for row in rows] == list(STAGES)
    assert [line[:5] for line in said if line.startswith("[")] == [f"[{i}/4]" for i in range(1, 5)]


def test_a_folder_of_another_recipe_is_left_alone(micro, micro_run, figures):
    before = figures(micro_run)
    other = dataclasses.replace(micro, zero=dataclasses.replace(micro.zero, temperature=0.5))
    with pytest.raises(RunError, match=r"zero: holds another run \(settings.config.temperature is"):
        reason(other, micro_run, device="cpu", progress=False)
    with pytest.raises(RunError, match=r"base: holds another run \(settings.seed is 0, not 7"):
        reason(micro.seeded(7), micro_run, device="cpu", progress=False)
    assert figures(micro_run) == before


def test_a_stage_without_the_one_before_it_makes_no_folder(micro, tmp_path):
    for stage in ("zero", "cold", "r1"):
        with pytest.raises(RunError, match="no finished run there"):
            run_stage(stage, micro, tmp_path, torch.device("cpu"), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_other_answers_to_learn_from_are_another_run(micro, micro_run, figures):
    before = figures(micro_run)
    with pytest.raises(RunError, match=r"cold: holds another run \(settings.harvest is \[4, 24\], not \[5, 24\]"):
        reason(dataclasses.replace(micro, cold_examples=5), micro_run, device="cpu", progress=False)
    assert figures(micro_run) == before


def test_another_evaluation_is_made_anew(micro, micro_run, tmp_path):
    shutil.copytree(micro_run, tmp_path / "run")
    rows = reason(dataclasses.replace(micro, problems=5), tmp_path / "run", device="cpu", progress=False)
    assert {row["problems"] for row in rows} == {5}


def test_the_cold_start_learns_from_right_and_readable_thoughts(micro):
    """A model that says one thing after another; only some of it is right, in one language, and tries nothing twice."""
    task = micro.make_task("train")
    forms = ["<think>{a} yes</think>{b}", "<think>{a} yes</think><answer>1+1+1</answer>",
             "<think>{a}=1 no\n{a}=2 yes</think>{b}", "<think>{a} 对了</think>{b}", "<think>{a} yes</think>so {b}",
             "<think>1+1 no\n{a} yes</think>{b}"]  # fmt: skip

    class Script:
        device = torch.device("cpu")

        def sample(self, prompts, group, max_new_tokens, temperature, generator):
            texts = []
            for i, prompt in enumerate(prompts):
                x, y = prompt.split("from ")[1].strip(".\n").split()
                texts.append(forms[i % len(forms)].format(a=f"{x}+{y}", b=f"<answer>{x}+{y}</answer>"))
            return SimpleNamespace(texts=texts)

    examples = harvest(Script(), task, 12, 100, seed=0)
    assert len(examples) == 12
    assert {"no" in reply for _, reply in examples} == {True, False}
    for prompt, reply in examples:
        x, y = prompt.split("from ")[1].strip(".\n").split()
        assert reply in {forms[i].format(a=f"{x}+{y}", b=f"<answer>{x}+{y}</answer>") for i in (0, 5)}


def test_nothing_to_harvest_is_said(micro, micro_run):
    policy = load_policy(micro_run / "base")
    with pytest.raises(RunError, match="train R1-Zero for longer"):
        harvest(policy, micro.make_task("train"), 2, 1, seed=0)


def test_a_seed_reaches_every_stage(micro):
    seeded = micro.seeded(5)
    assert {seeded.seed, seeded.pretrain.seed, seeded.zero.seed, seeded.cold.seed, seeded.r1.seed} == {5}
    assert seeded.make_task("test").seed == 5


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_hang_together(name):
    recipe = PRESETS[name]()
    assert recipe.name == name
    assert recipe.problems >= 512
    assert recipe.pretrain.mtp_weight > 0 or not recipe.pretrain.model.num_nextn_predict_layers
    assert recipe.zero.rewards == {"accuracy": 1.0}
    assert recipe.make_task("train").split == "train"
