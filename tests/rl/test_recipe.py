import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from minidsk.data.corpus import TinyWeb
from minidsk.presets import PRESETS
from minidsk.report.stages import read_stages
from minidsk.rl.harvest import FAR, FILTERS, Thoughts, harvest, pages, shuffle
from minidsk.rl.policy import load_policy
from minidsk.rl.recipe import STAGES, finish_stage, reason, run_stage
from minidsk.rl.stages import Distillation, FineTuning, Pretraining, Reinforcement
from minidsk.tasks.countdown import CountdownProblem
from minidsk.train.checkpoint import RunError
from minidsk.train.sft import SFTConfig, read_examples


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
    with pytest.raises(RunError, match=r"cold: holds another run \(settings.thoughts.count is 4, not 5"):
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

        def flops(self, sampled):
            return 10.0 * len(sampled.texts)

    found = harvest(Script(), task, Thoughts(12, 100), seed=0)
    examples = found.examples
    assert len(examples) == 12
    assert found.asked == 36
    assert found.flops == 360
    assert {"no" in reply for _, reply in examples} == {True, False}
    for prompt, reply in examples:
        x, y = prompt.split("from ")[1].strip(".\n").split()
        assert reply in {forms[i].format(a=f"{x}+{y}", b=f"<answer>{x}+{y}</answer>") for i in (0, 5)}


def test_nothing_to_harvest_is_said(micro, micro_run):
    policy = load_policy(micro_run / "base")
    with pytest.raises(RunError, match="no answer passed the filter 'readable'; train the teacher for longer"):
        harvest(policy, micro.make_task("train"), Thoughts(2, 1), seed=0)


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


ASKED = CountdownProblem("Make 6 from 1 2 3.\n", (1, 2, 3), 6, "1+2+3")
REPLIES = {
    "first": "<think>1+2+3=6 yes</think><answer>1+2+3</answer>",
    "second": "<think>1+2-3=0 no\n1+2+3=6 yes</think><answer>1+2+3</answer>",
    "again": "<think>1+2-3=0 no\n1+2-3=0 no\n1+2+3=6 yes</think><answer>1+2+3</answer>",
    "wrong": "<think>1+2-3=0 no</think><answer>1+2-3</answer>",
    "formless": "1+2-3",
}


@pytest.mark.parametrize(("keep", "kept"), [("readable", "first second"), ("right", "first second again"),
                                            ("direct", "first"), ("wrong", "wrong")])  # fmt: skip
def test_what_is_kept_of_a_teachers_answers(keep, kept):
    assert [name for name, reply in REPLIES.items() if FILTERS[keep](ASKED, reply)] == kept.split()


def test_a_shuffled_thought_has_the_same_lines_and_the_same_answer(generator):
    rng = SimpleNamespace(shuffle=lambda lines: lines.reverse())
    assert shuffle(rng, REPLIES["second"]) == "<think>1+2+3=6 yes\n1+2-3=0 no</think><answer>1+2+3</answer>"
    assert shuffle(rng, "<think></think><answer>1</answer>") == "<think></think><answer>1</answer>"


def test_pages_become_a_prompt_and_what_follows_it(micro):
    web = TinyWeb(dataclasses.replace(micro.pretrain.web, worksheets=0.0))
    examples = pages(web, 40)
    assert ["".join(example) for example in examples] == [web[FAR + i] for i in range(40)]
    assert all(prompt.count("\n") == 1 and prompt.endswith("\n") and rest for prompt, rest in examples)
    assert any(prompt.startswith("Dear ") for prompt, _ in examples)


def test_r1_in_full_runs_and_resumes(micro, micro_run, tmp_path):
    """The stages after the cold start, from the base, zero and cold start that are there."""
    micro = dataclasses.replace(micro, r1=dataclasses.replace(micro.r1, steps=2))
    for stage in ("base", "zero", "cold"):
        shutil.copytree(micro_run / stage, tmp_path / stage)
    said = []
    rows = reason(micro, tmp_path, stages=micro.r1_in_full, device="cpu", progress=False, announce=said.append)
    assert [row["stage"] for row in rows] == ["base", "zero", "cold", "r1_reasoning", "rejection", "r1_all"]
    titles = [stage.title for stage in read_stages(tmp_path)]
    assert titles[3:] == ["R1, reasoning", "rejection sampling", "R1, all kinds"]
    learned = read_examples(tmp_path / "rejection" / "examples.jsonl")
    thoughts = [completion for _, completion in learned if "<think>" in completion]
    assert 0 < len(thoughts) <= 12
    assert len(learned) - len(thoughts) == 4
    settings = json.loads((tmp_path / "r1_all" / "config.json").read_text())["minidsk"]["settings"]
    assert settings["kinds"] == {"countdown": 0.75, "pages": 0.25}
    assert settings["config"]["rewards"] == {"accuracy": 1.0, "well_formed": 0.2, "language": 0.2}
    assert reason(micro, tmp_path, stages=micro.r1_in_full, device="cpu", progress=False) == rows
    other = dataclasses.replace(micro, cold_examples=5)
    with pytest.raises(RunError, match="holds another run"):
        run_stage(other.r1_in_full[4], other, tmp_path, torch.device("cpu"), progress=False)


def test_a_stage_may_learn_from_a_teacher_elsewhere(micro, micro_run, tmp_path):
    """The base of another run, graded by its R1-Zero; another teacher makes it another run."""
    config = dataclasses.replace(micro.zero, steps=2)
    stage = Distillation("distilled", str(micro_run / "base"), config, str(micro_run / "zero"))
    row = finish_stage(stage, micro, tmp_path, torch.device("cpu"), progress=False)
    assert row["stage"] == "distilled"
    lines = [json.loads(line) for line in (tmp_path / "distilled" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["reverse_kl"] != 0
    assert lines[0]["grad_norm"] > 0
    other = dataclasses.replace(stage, teacher=str(micro_run / "r1"))
    with pytest.raises(RunError, match=r"distilled: holds another run \(given.weights_of_teacher is"):
        run_stage(other, micro, tmp_path, torch.device("cpu"), progress=False)


def test_what_a_harvest_took_is_counted(micro, micro_run):
    """The cold start's operations are those of its steps and of R1-Zero's answers, kept or not."""
    about = json.loads((micro_run / "cold" / "config.json").read_text())["minidsk"]
    lines = [json.loads(line) for line in (micro_run / "cold" / "metrics.jsonl").read_text().splitlines()]
    spent = float(about["given"]["harvest_flops"])
    assert spent > 0
    assert about["summary"]["flops"] == pytest.approx(spent + sum(line["flops"] for line in lines))


@pytest.mark.parametrize(("make", "name"), [
    (lambda c: Reinforcement("a/b", "base", c.zero), "name"),
    (lambda c: Reinforcement("a", None, c.zero), "origin"),
    (lambda c: Pretraining("a", "base", c.pretrain), "origin"),
    (lambda c: Reinforcement("a", "base", c.zero, {"chess": 1.0}), "kinds"),
    (lambda c: FineTuning("a", "base", c.cold), "pages"),
    (lambda c: FineTuning("a", "base", c.cold, None, Thoughts()), "thoughts"),
    (lambda c: Distillation("a", "base", c.zero), "teacher"),
    (lambda c: Distillation("a", "base", c.zero, "zero", 2.0), "gamma"),
    (lambda c: Thoughts(keep="best"), "keep"),
])  # fmt: skip
def test_a_stage_that_cannot_be_is_named(micro, make, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        make(micro)


def test_pages_alone_teach_too(micro, micro_run, tmp_path):
    stage = FineTuning("letters", str(micro_run / "base"), SFTConfig(steps=2, batch=4), pages=8)
    run_stage(stage, micro, tmp_path, torch.device("cpu"), progress=False)
    assert len(read_examples(tmp_path / "letters" / "examples.jsonl")) == 8
