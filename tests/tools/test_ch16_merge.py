"""Two teachers and one student: each teacher grades its own problems, and each student spends what it may."""

import importlib
from pathlib import Path

import pytest
import torch

from minidsk import load_policy
from minidsk.rl.rollout import rollout

EXPERIMENTS = Path(__file__).resolve().parents[2] / "tools" / "experiments"
SIZES = ["--device", "cpu", "--seeds", "0", "--budget", "6e9", "--pages", "8", "--teacher-steps", "1",
         "--sft-batch", "4", "--answers", "8", "--group", "4", "--at-once", "8", "--tokens", "80",
         "--problems", "2"]  # fmt: skip


@pytest.fixture
def merge(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("ch16_merge")


@pytest.fixture
def a(merge, monkeypatch, tmp_path):
    """The settings that the command line gives."""
    caught = []
    monkeypatch.setattr(merge, "sweep", lambda calls, keep, settings: caught.append(settings))
    merge.main([*SIZES, "--out", str(tmp_path)])
    return caught[0]


def test_each_teacher_grades_the_problems_of_its_kind(merge, generator):
    student, task = load_policy("nano-base"), merge.InTurn(0)
    problems = [task[i] for i in range(6)]
    drawn = rollout(student, problems, 1, 24, {"accuracy": 1.0}, generator=generator)
    advantages, figures = merge.Specialists([load_policy("nano-zero"), student], student, 0.0)(drawn, 0)
    assert advantages[::2].abs().max() > 1e-3
    torch.testing.assert_close(advantages[1::2], torch.zeros_like(advantages[1::2]), rtol=0, atol=1e-4)
    assert figures["flops"] > 0


def test_kinds_alternate(merge):
    task, kinds = merge.InTurn(3), merge.tasks("train", 3)
    assert [task[i] for i in range(4)] == [kinds["sums"][0], kinds["pages"][0], kinds["sums"][1], kinds["pages"][1]]


def test_the_average_of_equal_teachers_is_the_teacher(merge):
    teacher, other = load_policy("nano-zero"), load_policy("nano-base")
    for name, value in merge.average([teacher, teacher]).model.state_dict().items():
        torch.testing.assert_close(value, teacher.model.state_dict()[name])
    half = merge.average([teacher, other]).model.lm_head.weight
    torch.testing.assert_close(half, (teacher.model.lm_head.weight + other.model.lm_head.weight) / 2)


@pytest.mark.slow
def test_each_student_spends_what_it_may(merge, a):
    rows = merge.do(0, a)
    assert [row["arm"] for row in rows] == list(merge.ARMS)
    spent = {row["arm"]: row["flops"] for row in rows}
    assert [arm for arm in merge.ARMS if not spent[arm]] == ["base", "teacher of sums", "teacher of pages", "average"]
    assert all(a.budget * 0.5 < spent[arm] < a.budget * 2 for arm in ("thoughts", "graded", "rewarded"))
