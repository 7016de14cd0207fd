"""On-policy distillation: exact gradients where all answers can be enumerated, and a nano student that catches up."""

import dataclasses

import pytest
import torch

from minidsk.data.tokenizer import CharTokenizer
from minidsk.presets import nano
from minidsk.rl.completions import completed
from minidsk.rl.config import RLConfig
from minidsk.rl.distill import TeacherBaseline
from minidsk.rl.grpo import policy_loss
from minidsk.rl.loop import reinforce
from minidsk.rl.policy import MiniPolicy, load_policy
from minidsk.rl.rollout import Rollouts, rollout
from minidsk.tasks.base import Problem
from minidsk.train.checkpoint import Run
from minidsk.train.optim import OptimConfig

ASKED = Problem("c")


@pytest.fixture
def pair(make_policy):
    """A student and a teacher in float64."""
    student, teacher = make_policy(0), make_policy(1)
    student.model.double()
    teacher.model.double()
    return student, teacher


@pytest.fixture
def every_answer(pair):
    """Every answer of at most two tokens to one question, as rollouts without reward."""
    tokenizer = pair[0].tokenizer
    end, first = tokenizer.eos_id, range(tokenizer.vocab_size)
    rows = [[end], *([a, b] for a in first if a != end for b in first)]
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("c")]]).expand(len(rows), -1)
    sampled = completed(ids, torch.ones_like(ids, dtype=torch.bool), rows, [""] * len(rows), tokenizer.pad_id, [end])
    with torch.no_grad():
        sampled.logp = pair[0].logprobs(sampled) * sampled.mask
    return Rollouts([ASKED], sampled, torch.zeros(1, len(rows)), {})


def gradient(policy, loss):
    policy.model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_the_expected_gradient_is_that_of_the_reverse_kl(pair, every_answer, gamma):
    """Each answer counts as often as it is drawn, and all of them are there: an expectation without sampling."""
    (student, teacher), sampled = pair, every_answer.completions
    advantages, _ = TeacherBaseline(teacher, student, gamma)(every_answer, 0)
    chance = (sampled.logp * sampled.mask).sum(1).exp()
    assert float(chance.sum()) == pytest.approx(1)
    loss, _ = policy_loss(student.logprobs(sampled), sampled.logp, chance[:, None] * advantages, sampled.mask,
                          loss_type="dr_grpo", max_length=1)  # fmt: skip
    got = gradient(student, loss * len(sampled))

    def both(model):
        """Log-probabilities after the question, and after each first token ``[vocab, vocab]``."""
        vocab = student.tokenizer.vocab_size
        asked = sampled.ids[:1, :-2]
        longer = torch.cat((asked.expand(vocab, -1), torch.arange(vocab)[:, None]), 1)
        return model(asked).logits[0, -1].log_softmax(-1), model(longer).logits[:, -1].log_softmax(-1)

    first, second = both(student.model)
    with torch.no_grad():
        teacher_first, teacher_second = both(teacher.model)
    kl_second = (second.exp() * (second - teacher_second)).sum(1)
    kl_second[student.tokenizer.eos_id] = 0.0  # nothing follows the end
    reached = first.exp() if gamma else first.exp().detach()  # GKD does not ask how the student got there
    kl = (first.exp() * (first - teacher_first)).sum() + (reached * kl_second).sum()
    expected = gradient(student, kl)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-6, atol=1e-9)
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-3


def test_the_grade_is_of_one_token_or_of_all_that_follow(pair, every_answer):
    (student, teacher), sampled = pair, every_answer.completions
    with torch.no_grad():
        grades = (teacher.logprobs(sampled) - sampled.logp) * sampled.mask
    own, figures = TeacherBaseline(teacher, student, rows=7)(every_answer, 0)
    later, _ = TeacherBaseline(teacher, student, 0.5)(every_answer, 0)
    torch.testing.assert_close(own, grades)
    torch.testing.assert_close(later[:, 0], grades[:, 0] + 0.5 * grades[:, 1])
    torch.testing.assert_close(later[:, 1], grades[:, 1])
    assert figures["reverse_kl"] == pytest.approx(-float(grades.sum()) / int(sampled.mask.sum()))
    assert figures["reverse_kl_answer"] == pytest.approx(-float(grades.sum()) / len(sampled))
    assert figures["flops"] == teacher.flops(sampled)


def test_a_student_equal_to_its_teacher_has_nothing_to_learn(make_policy, generator):
    policy = make_policy()
    drawn = rollout(policy, [ASKED, Problem("ab ab")], 8, 9, {"well_formed": 1.0}, generator=generator)
    advantages, figures = TeacherBaseline(make_policy(), policy)(drawn, 0)
    assert advantages.shape == drawn.completions.tokens.shape
    torch.testing.assert_close(advantages, torch.zeros_like(advantages), rtol=0, atol=1e-5)
    assert figures["reverse_kl"] == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_a_nano_student_learns_towards_a_nano_teacher(tmp_path):
    """The base, graded by R1-Zero token by token, no reward: longer thoughts, more of them right, and nearer to it."""
    recipe = nano()
    student, teacher = load_policy("nano-base"), load_policy("nano-zero")
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    config = dataclasses.replace(recipe.zero, steps=12, group=4, optim=OptimConfig(lr=1e-3, warmup=2, decay=0.3))
    run = Run(tmp_path, "distil", config)
    baseline = TeacherBaseline(teacher, student)
    reinforce(student, recipe.make_task("train"), config, run, baseline=baseline, progress=False)
    lines = run.metrics()
    first, last = ({name: sum(line[name] for line in some) / 3 for name in ("reverse_kl_answer", "accuracy", "length")}
                   for some in (lines[:3], lines[-3:]))  # fmt: skip
    assert last["reverse_kl_answer"] < 0.75 * first["reverse_kl_answer"]
    assert last["accuracy"] > first["accuracy"] + 0.1
    assert last["length"] > first["length"] + 5
    torch.testing.assert_close(teacher.model.state_dict(), before, rtol=0, atol=0)


def test_the_teachers_work_is_counted(make_policy, tmp_path, monkeypatch):
    config = RLConfig(steps=1, prompts=2, group=2, max_new_tokens=4, rewards={"well_formed": 1.0})
    student, teacher = make_policy(0), make_policy(1)
    drawn = []
    flops = teacher.flops
    monkeypatch.setattr(teacher, "flops", lambda some: drawn.append(flops(some)) or drawn[-1])
    run = Run(tmp_path, "distil", config)
    task = type("Same", (), {"__getitem__": lambda self, i: ASKED})()
    reinforce(student, task, config, run, baseline=TeacherBaseline(teacher, student), progress=False)
    [line] = run.metrics()
    assert line["flops"] == pytest.approx(5 * drawn[0], rel=1e-6)  # sampling 1, learning 3, the teacher 1


def test_a_teacher_of_other_tokens_is_refused(make_policy):
    student = make_policy()
    other = MiniPolicy(student.model, CharTokenizer("abcdefgh"))
    with pytest.raises(ValueError, match="^teacher: its tokens are not the student's"):
        TeacherBaseline(other, student)
    with pytest.raises(ValueError, match="^gamma: 1.5 does not fit"):
        TeacherBaseline(student, student, 1.5)
