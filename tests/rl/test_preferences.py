"""The simulated judge: its worth by hand, its probabilities, and rankings that agree with them."""

import math

import pytest
import torch

from minidsk.rl.preferences import Annotator, Preference, Ranking, claims_success
from minidsk.tasks.countdown import CountdownProblem

PROBLEM = CountdownProblem("Make 4 from 3 7 8.\n", (3, 7, 8), 4, "8-(7-3)", "+-")
RIGHT = "<think>8-(7-3)=8-4=4?4 yes</think><answer>8-(7-3)</answer>"
GIVES_UP = "<think>3+7+8=10+8=18?4 no</think><answer>3+7+8</answer>"
LIES = "<think>3+7+8=10+8=18?4 yes</think><answer>3+7+8</answer>"


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_worth_by_hand():
    judge = Annotator(right=2, claims=1, length=0.5, noise=1)
    assert judge.worth(PROBLEM, RIGHT) == 2 + 1 + 0.5 * len("8-(7-3)=8-4=4?4 yes") / 40
    assert judge.worth(PROBLEM, GIVES_UP) == 0.5 * len("3+7+8=10+8=18?4 no") / 40
    assert judge.worth(PROBLEM, LIES) - judge.worth(PROBLEM, GIVES_UP) == pytest.approx(1 + 0.5 / 40)


@pytest.mark.parametrize(
    ("reply", "claims"),
    [(RIGHT, True), (LIES, True), (GIVES_UP, False), ("<think>1 yes", False), ("", False), ("yes</think>", True),
     ("<think>甲 对了</think>", True), ("<think>甲 不对</think>", False), ("<think>a yes\nb no</think> yes", False)],
)  # fmt: skip
def test_claims(reply, claims):
    assert claims_success(reply) is claims


def test_probabilities_are_bradley_and_terrys():
    judge = Annotator(right=2, claims=1, length=0.0, noise=0.5)
    assert judge.probability(PROBLEM, RIGHT, GIVES_UP) == pytest.approx(1 / (1 + math.exp(-3 / 0.5)))
    for a in (RIGHT, GIVES_UP, LIES):
        assert judge.probability(PROBLEM, a, a) == 0.5
        for b in (RIGHT, GIVES_UP, LIES):
            assert judge.probability(PROBLEM, a, b) + judge.probability(PROBLEM, b, a) == pytest.approx(1)
    assert Annotator(noise=1e-6).probability(PROBLEM, RIGHT, LIES) == 1.0  # nothing overflows


def test_rankings_fall_as_the_probabilities_say():
    judge = Annotator(right=1, claims=0.5, length=0.0, noise=1.0)
    replies, draws = [RIGHT, LIES, GIVES_UP], 4000
    g = generator()
    before = dict.fromkeys([(a, b) for a in replies for b in replies if a != b], 0)
    for _ in range(draws):
        for pair in judge.rank(PROBLEM, replies, g).pairs():
            before[pair.chosen, pair.rejected] += 1
    for (a, b), times in before.items():
        p = judge.probability(PROBLEM, a, b)
        assert abs(times / draws - p) < 4 * math.sqrt(p * (1 - p) / draws)


def test_a_sharp_judge_sorts_by_worth():
    judge = Annotator(right=2, claims=1, length=0.0, noise=1e-4)
    assert judge.rank(PROBLEM, [GIVES_UP, LIES, RIGHT], generator()).replies == (RIGHT, LIES, GIVES_UP)


def test_equal_replies_are_seen_once():
    judge = Annotator()
    assert judge.rank(PROBLEM, [RIGHT, RIGHT], generator()) is None
    assert len(judge.rank(PROBLEM, [RIGHT, LIES, RIGHT], generator()).replies) == 2


def test_the_same_seed_ranks_the_same():
    orders = [Annotator(noise=5.0).rank(PROBLEM, [RIGHT, LIES, GIVES_UP], generator(7)) for _ in range(2)]
    assert orders[0] == orders[1]


def test_pairs_of_a_ranking():
    assert Ranking("p", ("a", "b", "c")).pairs() == [
        Preference("p", "a", "b"), Preference("p", "a", "c"), Preference("p", "b", "c"),
    ]  # fmt: skip


def test_bad_input():
    with pytest.raises(ValueError, match="noise: 0"):
        Annotator(noise=0)
    with pytest.raises(ValueError, match="2 or more"):
        Ranking("p", ("alone",))
