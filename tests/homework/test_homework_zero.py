"""R1-Zero's exercises: pass@k against all sets counted out, a verifier with holes, and stubs that are called stubs."""

from itertools import combinations

import pytest
import torch

from minidsk.homework import check, zoo
from minidsk.homework.verifier import sloppy, strict
from minidsk.homework.zero import EXERCISES, pass_at_k
from minidsk.tasks.countdown import Countdown


@pytest.mark.parametrize(("right", "samples"), [(0, 5), (1, 5), (3, 6), (6, 6)])
def test_pass_at_k_counts_sets(right: int, samples: int) -> None:
    bits = [True] * right + [False] * (samples - right)
    for k in range(1, samples + 1):
        sets = list(combinations(bits, k))
        assert pass_at_k(right, samples, k) == pytest.approx(sum(map(any, sets)) / len(sets))


@pytest.mark.parametrize("reply", [
    "<think></think><answer>{target}</answer>", "<answer>{target}", "<think><answer>{target}</answer>",
    "<think></think><answer>1=2={target}</answer>", "<think></think><answer>{target}*1</answer>",
    "<answer>{solution}</answer><answer>{solution}</answer>",
])  # fmt: skip
def test_what_the_strict_verifier_refuses(reply: str) -> None:
    task = Countdown(numbers=3, high=12, target_high=20, ops="+-", split="test")
    cheated = 0.0
    for problem in (task[i] for i in range(20)):
        text = reply.format(target=problem.target, solution=problem.solution)
        assert strict(text, list(problem.numbers), problem.target, problem.ops) == 0 == problem.score(text)
        cheated += sloppy(text, list(problem.numbers), problem.target)
        honest = f"<think></think><answer>{problem.solution}</answer>"
        for verifier in (strict, lambda *given: sloppy(*given[:3])):
            assert verifier(honest, list(problem.numbers), problem.target, problem.ops) == 1 == problem.score(honest)
    assert cheated == (20 if "</answer>" in reply else 0)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_a_stub_is_called_a_stub(exercise) -> None:
    def stub(*_):
        """Replace the line below by your own."""
        raise NotImplementedError

    assert "it is not written yet" in check(exercise.name, stub).problem


def all_alike(groups_with_signal):
    """All wrong and all right: no group has a signal."""
    assert groups_with_signal(torch.tensor([[0.0, 0, 0], [1, 1, 1]])) == 0


def parts(groups_with_signal):
    """A format reward alone: one answer has it, and later all have it."""
    assert groups_with_signal(torch.tensor([[0.0, 0.1, 0], [0.1, 0.1, 0.1]])) == 0.5


def test_the_zoo_needs_more_than_one_case() -> None:
    assert zoo("zero", [all_alike]).caught == 1
    found = zoo("zero", [all_alike, parts])
    assert found.good
    assert found.caught == 3
