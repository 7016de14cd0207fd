import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidsk.rl.grpo import policy_loss
from minidsk.rl.ppo import explained_variance, gae, token_rewards, value_loss, whiten


def double_sum(rewards, values, mask, gamma, lam):
    """Equation 16 of the paper as it is written: for each token a sum over all later ones, tokens of the mask alone."""
    advantages = np.zeros_like(values)
    for n in range(len(values)):
        at = np.flatnonzero(mask[n])
        v = [*values[n, at], 0.0]
        delta = [rewards[n, t] + gamma * v[i + 1] - v[i] for i, t in enumerate(at)]
        for i, t in enumerate(at):
            advantages[n, t] = sum((gamma * lam) ** (k - i) * delta[k] for k in range(i, len(at)))
    return advantages, np.where(mask, advantages + values, 0.0)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 9), st.floats(0, 1), st.floats(0, 1),
       st.sampled_from(["right", "left", "holes", "none"]))  # fmt: skip
def test_gae_is_the_direct_double_sum(seed, answers, length, gamma, lam, padding):
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(2, answers, length))
    lengths = rng.integers(1, length + 1, answers)[:, None]
    at = np.arange(length)
    mask = {"right": at < lengths, "left": at >= length - lengths, "holes": rng.random((answers, length)) < 0.6,
            "none": np.ones((answers, length), bool)}[padding]  # fmt: skip
    found = gae(*map(torch.from_numpy, (rewards, values, mask)), gamma, lam)
    for got, expected in zip(found, double_sum(rewards, values, mask, gamma, lam), strict=True):
        assert got.dtype == torch.float64
        np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-12)


def test_gae_at_its_ends():
    """lam = 1 is the return less the value, lam = 0 one step's surprise; a perfect critic leaves nothing to say."""
    rewards = torch.tensor([[0.0, 0, 1, 0], [0, 2, 0, 0]], dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    values = torch.tensor([[0.2, 0.5, 0.9, 7.0], [1.0, 1.5, 7.0, 7.0]], dtype=torch.float64)
    full, returns = gae(rewards, values, mask, 1.0, 1.0)
    torch.testing.assert_close(returns, torch.tensor([[1.0, 1, 1, 0], [2, 2, 0, 0]], dtype=torch.float64))
    torch.testing.assert_close(full, (returns - values) * mask)
    short, _ = gae(rewards, values, mask, 1.0, 0.0)
    torch.testing.assert_close(short[0], torch.tensor([0.3, 0.4, 0.1, 0.0], dtype=torch.float64))
    nothing, again = gae(rewards, returns, mask, 1.0, 0.7)
    torch.testing.assert_close(nothing, torch.zeros_like(nothing))
    torch.testing.assert_close(again, returns)


def test_padding_may_hold_anything():
    values = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    rewards = torch.rand(3, 6)
    junk = torch.where(mask, values, torch.full_like(values, torch.nan))
    clean = gae(rewards * mask, values * mask, mask, 0.9, 0.8)
    dirty = gae(torch.where(mask, rewards, torch.full_like(rewards, torch.inf)), junk, mask, 0.9, 0.8)
    torch.testing.assert_close(clean, dirty, rtol=0, atol=0)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="values, mask: shapes"):
        gae(torch.zeros(2, 3), torch.zeros(2, 4), torch.ones(2, 3), 1.0, 1.0)


def test_whitening_against_numpy():
    rng = np.random.default_rng(0)
    values, mask = rng.normal(3, 5, (4, 6)), rng.random((4, 6)) < 0.7
    got = whiten(torch.from_numpy(values), torch.from_numpy(mask)).numpy()
    inside = values[mask]
    np.testing.assert_allclose(got[mask], (inside - inside.mean()) / np.sqrt(inside.var(ddof=1) + 1e-8), rtol=1e-12)
    assert (got[~mask] == 0).all()
    alone = whiten(torch.tensor([[5.0, 9.0]]), torch.tensor([[1, 0]]))
    assert alone.tolist() == [[0.0, 0.0]]


def test_the_reward_stands_on_the_last_token_and_each_token_pays_for_leaving():
    logp = torch.tensor([[-1.0, -2, -3], [-1, -1, -1]])
    ref = torch.tensor([[-1.5, -1, -3], [-3, -1, 9]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    plain = token_rewards(torch.tensor([1.0, 0.25]), logp, mask)
    assert plain.tolist() == [[0, 0, 1], [0, 0.25, 0]]
    priced = token_rewards(torch.tensor([1.0, 0.25]), logp, mask, ref, 0.1)
    torch.testing.assert_close(priced, torch.tensor([[-0.05, 0.1, 1.0], [-0.2, 0.25, 0.0]]))
    with pytest.raises(ValueError, match="ref_logp: missing"):
        token_rewards(torch.zeros(2), logp, mask, None, 0.1)


@pytest.mark.parametrize("seed", range(3))
def test_the_critics_loss_is_what_the_loops_say(seed):
    rng = np.random.default_rng(seed)
    values, old, returns = rng.normal(size=(3, 4, 5))
    mask = rng.random((4, 5)) < 0.6
    total = 0.0
    for n, t in np.argwhere(mask):
        v, o, r = values[n, t], old[n, t], returns[n, t]
        near = min(max(v, o - 0.2), o + 0.2)
        total += max((v - r) ** 2, (near - r) ** 2) / 2
    got = value_loss(*map(torch.from_numpy, (values, old, returns, mask)), 0.2)
    assert float(got) == pytest.approx(total / mask.sum(), rel=1e-12)


@pytest.mark.parametrize(("value", "gradient"), [
    (0.1, -0.9),  # within the bound: towards the return
    (0.5, 0.0),  # already far on the way to the return: no further in this step
    (-0.5, -1.5),  # moved away from it: back, bound or not
])  # fmt: skip
def test_values_are_clipped_only_on_their_way_to_the_return(value, gradient):
    v = torch.tensor([[value]], requires_grad=True)
    value_loss(v, torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1), 0.2).backward()
    assert float(v.grad) == pytest.approx(gradient)


def test_explained_variance():
    returns = torch.tensor([[1.0, 0, 1, 9], [0, 1, 9, 9]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    assert float(explained_variance(returns, returns, mask)) == 1
    assert float(explained_variance(torch.zeros_like(returns), returns, mask)) == pytest.approx(0)
    assert float(explained_variance(-returns, returns, mask)) == pytest.approx(-3)
    assert float(explained_variance(returns, torch.ones_like(returns), mask)) == 0


def test_the_surrogate_takes_an_advantage_for_each_token():
    g = torch.Generator().manual_seed(0)
    logp, old = (torch.randn(3, 4, generator=g, dtype=torch.float64) for _ in range(2))
    advantages, mask = torch.randn(3, generator=g, dtype=torch.float64), torch.ones(3, 4)
    one, _ = policy_loss(logp, old, advantages, mask)
    each, _ = policy_loss(logp, old, advantages[:, None].expand(3, 4), mask)
    assert float(one) == float(each)
    other = advantages[:, None].repeat(1, 4)
    other[1, 2] += 1
    assert float(policy_loss(logp, old, other, mask)[0]) != float(one)
