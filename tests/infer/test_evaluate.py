import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from minidsk.infer.evaluate import evaluate, wilson
from minidsk.tasks.base import Problem, Task, thought_of


# Wilson's interval, from its quadratic: |p - share| = z sqrt(p (1 - p) / n) at both ends.
@pytest.mark.parametrize(("right", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (256, 512), (400, 512), (1, 1)])
def test_wilson_solves_its_equation(right, n):
    low, high = wilson(right / n, n)
    assert 0 <= low <= right / n <= high <= 1
    for bound in (low, high):
        if 0 < bound < 1:
            assert abs(bound - right / n) == pytest.approx(1.96 * math.sqrt(bound * (1 - bound) / n), rel=1e-9)


def test_wilson_against_known_values():
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe (1998), table I


@pytest.mark.parametrize(("reply", "thought"), [
    ("<think>a\nb</think><answer>c</answer>", "a\nb"), ("a</think><answer>c</answer>", "a"), ("<think>a", "a"),
    ("a<answer>c</answer>", "a"), ("", ""), ("<think></think>x", ""),
])  # fmt: skip
def test_the_thought_is_what_stands_before_the_answer(reply, thought):
    assert thought_of(reply) == thought


@dataclass(frozen=True)
class Digit(Problem):
    """Solved by the digit it names."""

    def score(self, text):
        return float(f"<answer>{self.prompt}</answer>" in text)


class Digits(Task):
    """The digits of i."""

    def __getitem__(self, i):
        return Digit(str(i % 10))


class Echo:
    """Answers with its prompt, or with 0 where that is over 6; thinks as many characters as the prompt's digit."""

    def sample(self, prompts, group, max_new_tokens, temperature, generator):
        assert (group, temperature) == (1, 0.0)
        digits = [int(prompt) for prompt in prompts]
        texts = [f"<think>{'1' * d}</think><answer>{d if d <= 6 else 0}</answer>" for d in digits]
        return SimpleNamespace(texts=[text.replace("</think>", "") if "1" * 9 in text else text for text in texts])


@pytest.mark.parametrize("batch", [1024, 7])
def test_the_figures(batch):
    result = evaluate(Echo(), Digits(), problems=20, batch=batch)
    assert result.row() == {
        "problems": 20, "accuracy": 0.7, "low": wilson(0.7, 20)[0], "high": wilson(0.7, 20)[1],
        "well_formed": 0.9, "thought": 4.5,
    }  # fmt: skip
    assert result.replies[3] == "<think>111</think><answer>3</answer>"


def test_no_problems_are_refused():
    with pytest.raises(ValueError, match="problems: 0 does not fit"):
        evaluate(Echo(), Digits(), problems=0)
