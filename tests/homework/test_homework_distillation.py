"""Distillation's exercises: grades average to a divergence, a pool misses nothing, a budget buys its last answer."""

import random

import pytest
import torch

from minidsk.data.tokenizer import CharTokenizer
from minidsk.homework import check, zoo
from minidsk.homework.distillation import EXERCISES, equal_budget, generate_verify_filter
from minidsk.homework.grades import token_grades
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.policy import MiniPolicy
from minidsk.scale.cost import forward_flops
from minidsk.tasks.countdown import Countdown


@pytest.fixture
def every_answer():
    """Log-probabilities ``[N, 2]`` by student and teacher of all answers of one or two tokens; token 0 ends one."""
    g = torch.Generator().manual_seed(3)

    def of_all(padding):
        first, second = torch.randn(3, generator=g).log_softmax(0), torch.randn(3, 3, generator=g).log_softmax(1)
        return torch.tensor([[first[0], padding]] + [[first[a], second[a, b]] for a in (1, 2) for b in range(3)])

    return of_all(9.0), of_all(7.0), torch.tensor([[1.0, 0]] + [[1, 1]] * 6)


def test_grades_average_to_the_reverse_kl_of_whole_answers(every_answer) -> None:
    student, teacher, mask = every_answer
    p, q = ((logp * mask).sum(1).double() for logp in (student, teacher))
    chance = p.exp()
    assert float(chance.sum()) == pytest.approx(1)
    kl = float((chance * (p - q)).sum())
    whole = token_grades(student, teacher, mask, 1.0)
    each = token_grades(student, teacher, mask, 0.0)
    assert kl > 0.05
    assert float((chance * whole[:, 0]).sum()) == pytest.approx(-kl, abs=1e-6)
    assert float((chance * each.sum(1)).sum()) == pytest.approx(-kl, abs=1e-6)
    assert whole[0, 1] == each[0, 1] == 0


def replies_to(problem, rng: random.Random) -> list[str]:
    """Right and wrong replies, some with words behind them, some with a long thought."""
    n = problem.numbers
    answers = [problem.solution, f"{n[0]}+{n[1]}", "", problem.solution]
    thoughts, ends = ["so " * k for k in range(9)], ["", "", " so"]
    return [f"<think>{rng.choice(thoughts)}</think><answer>{rng.choice(answers)}</answer>{rng.choice(ends)}"
            for _ in range(6)]  # fmt: skip


@pytest.mark.parametrize(("tries", "longest"), [(1, 100), (3, 50), (6, 60), (6, 20)])
def test_the_pool_is_pure_and_nothing_is_missing(tries: int, longest: int) -> None:
    rng, task = random.Random(0), Countdown(numbers=3, high=12, target_high=20, ops="+-")
    posed = [task[i] for i in range(40)]
    texts = [f"{' '.join(map(str, problem.numbers))} = {problem.target}" for problem in posed]
    by_prompt = {Countdown.pose(text).prompt: text for text in texts}
    teacher = {text: replies_to(problem, rng) for text, problem in zip(texts, posed, strict=True)}
    pool = generate_verify_filter(texts + texts[:5], teacher, tries, longest)
    kept = {by_prompt[prompt]: reply for prompt, reply in pool}
    assert len(kept) == len(pool)
    assert list(kept) == [text for text in dict.fromkeys(texts) if text in kept]
    assert (longest == 20) == (not pool)
    for text in dict.fromkeys(texts):
        problem = Countdown.pose(text)
        good = [reply for reply in teacher[text][:tries]
                if problem.score(reply) == 1 and problem.well_formed(reply) and len(reply) <= longest]  # fmt: skip
        assert kept.get(text) == (good[0] if good else None)


def test_the_longest_that_is_allowed_is_allowed() -> None:
    text, reply = "3 7 8 = 4", "<think></think><answer>8-(7-3)</answer>"
    assert len(generate_verify_filter([text], {text: [reply]}, 1, len(reply))) == 1
    assert generate_verify_filter([text], {text: [reply]}, 1, len(reply) - 1) == []


@pytest.mark.parametrize(("share", "epochs"), [(1.0, 1.0), (0.3, 4.0), (0.05, 20.0)])
def test_a_budget_is_spent_to_the_last_answer(share: float, epochs: float) -> None:
    budget, teacher, student, tokens = 1e9, 7e3, 2e3, 75.0

    def spent(answers: int) -> float:
        return answers * tokens * teacher + answers * share * epochs * tokens * 3 * student

    asked = equal_budget(budget, teacher, student, tokens, share, epochs)
    assert spent(asked) <= budget < spent(asked + 1)


def test_the_prices_are_those_of_the_package() -> None:
    """A policy counts a forward pass for each token that it reads or writes, and three for each that it learns from."""
    config = ModelConfig(vocab_size=CharTokenizer().vocab_size, hidden_size=32, num_hidden_layers=1)
    policy = MiniPolicy(MiniDeepSeek(config), CharTokenizer())
    batch = policy.encode(["3+7\n", "8-2\n"], ["10", "6"])
    tokens = int(batch.attention_mask.sum()) / len(batch)
    forward = forward_flops(config, batch.ids.shape[1] / 2)
    sampling = policy.flops(batch)
    learning = policy.flops(batch, updates=1) - sampling
    budget = 10 * (sampling + 0.5 * 4 * learning) / len(batch) * 1.001
    assert equal_budget(budget, forward, forward, tokens, 0.5, 4) == 10


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_a_stub_is_called_a_stub(exercise) -> None:
    def stub(*_):
        """Replace the line below by your own."""
        raise NotImplementedError

    assert "it is not written yet" in check(exercise.name, stub).problem


def likelier_is_better(token_grades):
    """One token that the teacher finds twice as likely: its grade is log 2."""
    grade = token_grades(torch.tensor([[0.25]]).log(), torch.tensor([[0.5]]).log(), torch.ones(1, 1), 0.0)
    assert abs(grade.item() - 0.6931) < 1e-3


def nothing_follows_the_end(token_grades):
    """A whole answer, and one with padding behind it."""
    student, teacher = torch.zeros(2, 2), torch.tensor([[-1.0, -2.0], [-1.0, -2.0]])
    found = token_grades(student, teacher, torch.tensor([[1.0, 1], [1, 0]]), 0.5)
    assert torch.allclose(found, torch.tensor([[-2.0, -2.0], [-1.0, 0.0]]))


def test_the_zoo_needs_a_second_token() -> None:
    assert zoo("distillation", [likelier_is_better]).caught == 1
    found = zoo("distillation", [likelier_is_better, nothing_follows_the_end])
    assert found.good
    assert found.caught == 3
