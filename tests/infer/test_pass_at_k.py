"""pass@k against its definition: the share of sets of k replies with a right one among them."""

from itertools import combinations

import pytest

from minidsk.infer.pass_at_k import pass_at_k, powers_of_two


@pytest.mark.parametrize("tries", range(1, 10))
def test_equals_going_through_every_set(tries):
    for right in range(tries + 1):
        replies = [True] * right + [False] * (tries - right)
        for k in range(1, tries + 1):
            sets = [any(some) for some in combinations(replies, k)]
            assert pass_at_k(tries, right, k) == pytest.approx(sum(sets) / len(sets), abs=1e-12)


def test_256_tries_do_not_overflow():
    assert pass_at_k(256, 1, 128) == pytest.approx(0.5)
    assert pass_at_k(256, 64, 1) == pytest.approx(0.25)
    assert pass_at_k(256, 3, 256) == 1
    assert pass_at_k(256, 0, 256) == 0


@pytest.mark.parametrize(("numbers", "wrong"), [((4, 5, 1), "right: 5"), ((4, -1, 1), "right: -1"),
                                                ((4, 1, 0), "k: 0"), ((4, 1, 5), "k: 5")])  # fmt: skip
def test_what_does_not_fit_is_refused(numbers, wrong):
    with pytest.raises(ValueError, match=f"{wrong} does not fit"):
        pass_at_k(*numbers)


def test_the_points_of_the_curve():
    assert powers_of_two(1) == [1]
    assert powers_of_two(12) == [1, 2, 4, 8]
    assert powers_of_two(256)[-1] == 256
