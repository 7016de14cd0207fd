import pytest
import torch

from minidsk.infer.evaluate import wilson
from minidsk.report.bootstrap import estimate


def test_it_covers_the_truth_as_often_as_it_says():
    """Problems of differing difficulty, 8 replies to each: 95 % intervals of 200 evaluations."""
    generator, covered = torch.Generator().manual_seed(0), 0
    for seed in range(200):
        chances = torch.rand(80, generator=generator)  # the truth is a half
        right = torch.binomial(torch.full((80,), 8.0), chances, generator=generator)
        found = estimate((right / 8).tolist(), seed=seed)
        covered += found.low <= 0.5 <= found.high
    assert 181 <= covered <= 198


def test_many_problems_have_the_normal_interval():
    values = torch.rand(400, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found, error = estimate(values.tolist()), float(values.std()) / 20
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.07)


def test_the_problem_is_the_unit():
    """Replies that all agree teach no more than one of them."""
    right = [1.0, 0.0, 0.0, 1.0, 0.5, 0.25]
    one = estimate(right)
    assert estimate([16 * r for r in right], [16] * 6) == one
    assert estimate(right * 16).high - estimate(right * 16).low < (one.high - one.low) / 3


def test_draws_repeat_with_their_seed():
    values = torch.rand(50, generator=torch.Generator().manual_seed(1)).tolist()
    assert estimate(values, seed=3) == estimate(values, seed=3) != estimate(values, seed=4)
    assert estimate(values).value == pytest.approx(sum(values) / 50)


def test_where_all_or_nothing_wilsons_interval_counts_problems():
    assert estimate([1.0, 0.0, 1.0, 1.0]) == estimate([8, 0, 8, 8], [8] * 4)
    assert (estimate([1.0, 0.0, 1.0, 1.0]).low, estimate([1.0, 0.0, 1.0, 1.0]).high) == wilson(0.75, 4)
    found = estimate([0, 0, 0], [5, 2, 0])  # two problems were counted at all
    assert (found.low, found.high) == wilson(0.0, 2)
    assert estimate([2, 0, 1], [2, 1, 1]).low != wilson(0.75, 3)[0]  # 3 of 4, but of problems of unequal weight


def test_a_ratio_of_sums():
    assert estimate([10, 30], [1, 3], share=False).value == 10
    assert estimate([10, 90], [1, 3], share=False).value == 25


def test_a_problem_counts_for_as_much_as_it_has():
    """One of five problems has nearly all the lines: its share decides, or is not drawn at all."""
    found = estimate([0, 0, 0, 0, 900], [1, 1, 1, 1, 1000])
    assert found.low == 0
    assert found.value == pytest.approx(900 / 1004)
    assert found.high == pytest.approx(0.9, abs=0.001)


def test_nothing_counted_has_no_figure():
    assert estimate([0, 0], [0, 0]) is None
    assert estimate([7], [1], share=False) is None  # of one length nobody knows how it varies
    assert estimate([0.5]) is not None
