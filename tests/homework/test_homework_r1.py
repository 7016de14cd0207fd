"""R1's exercises: right versions as a reader would write them, and tests of a reader's that catch the zoo."""

import re
from statistics import mean

import pytest
import torch

from minidsk.homework import check, zoo
from minidsk.homework.compare import difference, fresh
from minidsk.homework.language import CHINESE, ENGLISH
from minidsk.homework.r1 import EXERCISES
from minidsk.report.interval import T_95
from minidsk.tasks.base import Problem, thought_of


def language_reward(prompt, reply):
    found = re.findall("[A-Za-z]+|[一-鿿]+", thought_of(reply))
    return mean(word.isascii() == prompt.isascii() for word in found) if found else 1


def rejection(prompts, groups, right, longest):
    def fine(prompt, reply):
        lines = thought_of(reply).split("\n")
        form = Problem(prompt).well_formed(reply) and len(reply) <= longest
        return form and language_reward(prompt, reply) == 1 and len(lines) == len(set(lines))

    examples = []
    for prompt, group, verdicts in zip(prompts, groups, right, strict=True):
        kept = [reply for reply, verdict in zip(group, verdicts, strict=True) if verdict and fine(prompt, reply)]
        examples += [[prompt, reply] for reply in kept[:1]]
    return examples


def effect(rows, arm, other):
    table = {(row["arm"], row["seed"]): row["accuracy"] for row in rows}
    gains = [table[arm, seed] - table[other, seed] for name, seed in table if name == arm and (other, seed) in table]
    gains = torch.tensor(gains, dtype=torch.float64)
    return float(gains.mean()), float(T_95[len(gains)] * gains.std() / len(gains) ** 0.5)


@pytest.mark.parametrize("function", [language_reward, rejection, effect], ids=lambda f: f.__name__)
def test_what_a_reader_may_write(function) -> None:
    check(f"r1.{function.__name__}", function, raises=True)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_each_mistake_is_another_one(exercise) -> None:
    """Every wrong version differs from the right one and from the other wrong ones, so that its name is its own."""
    made = [[version(*fresh(given)) for _, given in exercise.cases()]
            for version in (exercise.reference, *(mistake.function for mistake in exercise.mistakes))]  # fmt: skip
    for i, one in enumerate(made):
        for other in made[:i]:
            assert difference(one, other, exercise.tolerance) is not None


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_every_case_is_needed(exercise) -> None:
    """A case on which no wrong version fails would test nothing."""
    for what, given in exercise.cases():
        want = exercise.reference(*fresh(given))
        outputs = [mistake.function(*fresh(given)) for mistake in exercise.mistakes]
        assert any(difference(output, want, exercise.tolerance) for output in outputs), what


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_a_stub_is_called_a_stub(exercise) -> None:
    def stub(*_):
        """Replace the line below by your own."""
        raise NotImplementedError

    assert "it is not written yet" in check(exercise.name, stub).problem


def answers_do_not_count(reward):
    """A thought in Chinese behind tags whose names are English."""
    assert reward(CHINESE, "<think>8-(7-3)=8-4=4 对了</think><answer>8-(7-3)</answer>") == 1


def sums_are_in_no_language(reward):
    assert reward(ENGLISH, "<think>8-(7-3)=8-4=4</think><answer>8-(7-3)</answer>") == 1


def one_word_of_two(reward):
    assert reward(ENGLISH, "<think>3+7=10 no\n7+8=15 不对</think><answer>7+8</answer>") == 0.5


def test_the_zoo_needs_more_than_one_test() -> None:
    tests = [answers_do_not_count, sums_are_in_no_language, one_word_of_two]
    assert all(0 < zoo("r1", [test]).caught < 3 for test in tests)
    assert zoo("r1", tests[:2]).caught == 2
    assert zoo("r1", tests).good
