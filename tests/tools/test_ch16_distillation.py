"""The experiment of chapter 16: each arm learns from what it says, and spends what it may."""

import importlib
import json
import math
from pathlib import Path

import pytest

from minidsk import load_policy
from minidsk.rl.harvest import right
from minidsk.tasks.base import thought_of

EXPERIMENTS = Path(__file__).resolve().parents[2] / "tools" / "experiments"
SIZES = ["--device", "cpu", "--seeds", "0", "--student-steps", "2", "--batch", "2", "--hidden", "16", "--pool", "24",
         "--prompts", "2", "--group", "4", "--graded", "4", "--sft-batch", "4", "--tokens", "60", "--problems", "3",
         "--budget", "2e9", "--parts", "0.5", "1", "--control-parts", "1", "--warm", "0.3"]  # fmt: skip


@pytest.fixture
def students(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("ch16_students")


@pytest.fixture
def distillation(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("ch16_distillation")


@pytest.fixture
def a(distillation, monkeypatch, tmp_path):
    """The settings that the command line gives."""
    caught = []
    monkeypatch.setattr(distillation, "sweep", lambda calls, keep, settings: caught.append(settings))
    distillation.main([*SIZES, "--out", str(tmp_path)])
    return caught[0]


@pytest.fixture
def pool(students, a):
    return students.pool_of(load_policy("nano-zero"), students.settings_of(0, a), a)


def test_arms_learn_from_the_answers_that_they_name(students, pool):
    asked = len(pool.replies)
    chosen = {arm: students.chosen(arm, pool, asked) for arm in students.EXAMPLES}
    marks = [right(p, reply) for p, reply in zip(pool.problems, pool.replies, strict=True)]
    assert all(marks[i] for arm, numbers in chosen.items() if arm != "sft_wrong" for i in numbers)
    assert not any(marks[i] for i in chosen["sft_wrong"])
    assert chosen["sft_few"] == chosen["sft_right"][: len(chosen["sft_wrong"])]
    longest = max(len(thought_of(pool.replies[i])) for i in chosen["sft_short"])
    others = set(chosen["sft_right"]) - set(chosen["sft_short"])
    assert all(len(thought_of(pool.replies[i])) >= longest for i in others)
    assert all(i < 5 for i in students.chosen("sft_right", pool, 5))


def test_thoughts_are_moved_and_answers_stay(students, pool):
    numbers = pool.marked("right")
    examples = pool.examples(numbers)
    moved = students.foreign(examples, 0)
    thoughts = [thought_of(reply) for _, reply in examples]
    assert [thought_of(reply) for _, reply in moved] == thoughts[1:] + thoughts[:1]
    assert all(right(pool.problems[i], reply) for i, (_, reply) in zip(numbers, moved, strict=True))
    mixed = students.in_no_order(examples, 0)
    assert mixed != examples
    for (_, reply), (_, other) in zip(examples, mixed, strict=True):
        assert sorted(thought_of(reply).split("\n")) == sorted(thought_of(other).split("\n"))


def test_imitation_spends_what_it_may(students, pool, a):
    student = load_policy("nano-base")
    policy, seen = students.imitated("sft_right", student, pool, budget := 1e10, students.settings_of(0, a), a)
    assert seen["flops"] == pytest.approx(budget, rel=0.1)
    assert seen["examples"] < seen["asked"] <= a.pool
    assert any((p != q).any() for p, q in zip(policy.model.parameters(), student.model.parameters(), strict=True))


@pytest.mark.parametrize("graded", [False, True])
def test_learners_are_kept_at_their_marks_and_end_at_the_last(students, a, graded):
    student, teacher = load_policy("nano-base"), load_policy("nano-zero")
    before = [p.clone() for p in student.parameters()]
    kept = students.reinforced(student, teacher if graded else None, [3e9, 1e10], students.settings_of(0, a), a, 1e9)
    assert list(kept) == [3e9, 1e10]
    steps = [seen["steps"] for _, seen in kept.values()]
    assert 0 < steps[0] < steps[1]
    for mark, (_, seen) in kept.items():
        assert mark <= seen["flops"] < mark + 2 * (seen["flops"] - 1e9) / seen["steps"]
        assert seen["answers"] == seen["steps"] * (a.graded if graded else a.prompts * a.group)
    assert all((p == q).all() for p, q in zip(student.parameters(), before, strict=True))


def test_a_teacher_of_ones_own_is_made_by_the_preset_whatever_students_do(students, a, monkeypatch):
    a.teacher, a.pretrain_steps, a.rl_steps, a.rl_lr = "own", 1, 1, 0.5
    asked = []
    monkeypatch.setattr(students, "rewarded", lambda base, name, recipe, a: asked.append(recipe.zero) or (base, {}))
    teacher = students.teacher_of(students.settings_of(3, a), a, load_policy("nano-base").device)
    assert teacher.model.config == load_policy("nano-zero").model.config
    [zero] = asked
    assert (zero.steps, zero.prompts, zero.optim.lr, zero.seed) == (1, 16, 6e-4, 3)


def test_where_a_curve_reaches_an_accuracy(distillation):
    curve = [(0.0, 0.1), (10.0, 0.3), (20.0, 0.2), (30.0, 0.6)]
    assert distillation.reached(curve, 0.2) == pytest.approx(5)
    assert distillation.reached(curve, 0.4) == pytest.approx(25)
    assert distillation.reached(curve, 0.1) == 0
    assert distillation.reached(curve, 0.7) == math.inf


def test_an_arm_that_fails_is_recorded_and_the_others_go_on(distillation, a, monkeypatch):
    def arms(seed, a):
        yield "rl", lambda: [{"part": 1.0, "flops": 9.0, "accuracy": 0.5}]
        yield "on_policy", lambda: 1 / 0
        yield "sft_right", lambda: [{"part": 1.0, "flops": 9.0, "accuracy": 0.25}]

    monkeypatch.setattr(distillation, "arms_of", arms)
    distillation.do(0, a)
    rows = distillation.collected(a)
    assert [row["arm"] for row in rows] == ["rl", "on_policy", "sft_right"]
    assert rows[1]["failed"] == "ZeroDivisionError: division by zero"
    assert "failed: seed 0 on_policy: ZeroDivisionError" in distillation.table(rows)
    assert json.loads((a.out / "metrics.json").read_text())["rows"] == rows


@pytest.mark.slow
def test_all_arms_run(distillation, a):
    rows = distillation.do(0, a)
    assert {row["arm"] for row in rows} == {"student", "teacher", "pool", *distillation.ARMS}
    assert [row for row in rows if "failed" in row and row["arm"] in distillation.LEARNERS] == []
    parts = {arm: [row["part"] for row in rows if row["arm"] == arm] for arm in distillation.LEARNERS}
    assert parts["rl"] == parts["on_policy"] == [0.5, 1.0]
    assert parts["on_policy_rl"] == [1.0]
    distillation.table(rows)


def test_nothing_is_begun_too_late(distillation, a):
    a.deadline = 0.0
    assert distillation.do(0, a) == []
