import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidsk.rl.completions import token_logprobs
from minidsk.rl.grpo import LOSS_TYPES, SCALES, group_advantages, policy_loss

ROWS = st.integers(1, 4).flatmap(
    lambda p: st.integers(2, 5).flatmap(
        lambda g: st.lists(st.lists(st.floats(-2, 2), min_size=g, max_size=g), min_size=p, max_size=p)
    )
)


@settings(deadline=None, max_examples=50)
@given(ROWS, st.sampled_from(["group", "batch", "none"]), st.sampled_from([1e-4, 0.1]))
def test_advantages_against_numpy(rows, scale, eps):
    rewards = np.array(rows)
    expected = rewards - rewards.mean(axis=1, keepdims=True)
    if scale == "group":
        expected = expected / (rewards.std(axis=1, ddof=1, keepdims=True) + eps)
    elif scale == "batch":
        expected = expected / (rewards.std(ddof=1) + eps)
    advantages = group_advantages(torch.tensor(rewards), scale, eps)
    np.testing.assert_allclose(advantages.numpy(), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(advantages.sum(1).numpy(), 0, atol=1e-8)


def test_a_group_of_equals_says_nothing_and_one_right_says_most():
    rewards = torch.tensor([[0.0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]], dtype=torch.float64)
    advantages = group_advantages(rewards)
    assert advantages[0].tolist() == advantages[2].tolist() == [0.0] * 4
    assert advantages[1].tolist() == pytest.approx([-0.25 / 0.5001] * 3 + [0.75 / 0.5001])


@pytest.mark.parametrize("scale", SCALES)
def test_equal_rewards_say_nothing_in_float32_either(scale):
    """The mean of seven times 0.1 is not 0.1 in float32; nothing shall be learned from that."""
    rewards = torch.cat((torch.full((1, 7), 0.1), torch.arange(7.0)[None]))
    assert rewards[:1].mean() != 0.1
    assert not group_advantages(rewards[:1], scale).any()
    assert group_advantages(rewards, scale)[1].any()


@pytest.mark.parametrize("rewards", [torch.zeros(4), torch.zeros(4, 1), torch.tensor([[0.0, math.nan]])])
def test_rewards_that_cannot_be_compared(rewards):
    with pytest.raises(ValueError, match="^rewards: "):
        group_advantages(rewards)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="scale: 'rank' is not known; give group, batch, none"):
        group_advantages(torch.zeros(2, 2), "rank")
    with pytest.raises(ValueError, match="loss_type: 'ppo' is not known"):
        policy_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1), torch.ones(1, 1), loss_type="ppo")
    with pytest.raises(ValueError, match="ref_logp: missing"):
        policy_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1), torch.ones(1, 1), kl_coef=0.1)


def by_loops(logp, old, advantages, mask, low, high, ref, kl_coef, loss_type, max_length):
    """The loss written out, one token at a time."""
    per_answer, total, tokens = [], 0.0, 0
    for i, row in enumerate(logp):
        summed, length = 0.0, 0
        ratios = [math.exp(value - old[i][t]) for t, value in enumerate(row)]
        if loss_type == "gspo":  # the geometric mean of the answer's own
            own = [ratio for ratio, here in zip(ratios, mask[i], strict=True) if here]
            ratios = [math.prod(own) ** (1 / len(own))] * len(row)
        for t, value in enumerate(row):
            if not mask[i][t]:
                continue
            ratio = ratios[t]
            kept = max(min(ratio, 1 + high), 1 - low)
            loss = -min(ratio * advantages[i], kept * advantages[i])
            if loss_type == "cispo":
                loss = -kept * advantages[i] * value
            if kl_coef:
                loss += kl_coef * (math.exp(ref[i][t] - value) - (ref[i][t] - value) - 1)
            summed, length = summed + loss, length + 1
        per_answer.append(summed / max(length, 1))
        total, tokens = total + summed, tokens + length
    if loss_type in ("grpo", "gspo"):
        return sum(per_answer) / len(per_answer)
    if loss_type == "dr_grpo":
        return total / (len(logp) * max_length)
    return total / max(tokens, 1)


def batch(seed=0, answers=4, length=6):
    g = torch.Generator().manual_seed(seed)
    logp, noise, ref = (torch.randn(answers, length, dtype=torch.float64, generator=g) for _ in range(3))
    lengths = torch.randint(1, length + 1, (answers,), generator=g)
    mask = torch.arange(length) < lengths[:, None]
    return logp - 2, logp - 2 + 0.4 * noise, torch.randn(answers, dtype=torch.float64, generator=g), mask, ref - 2


@pytest.mark.parametrize(("loss_type", "kl_coef", "seed"), list(itertools.product(LOSS_TYPES, [0.0, 0.07], range(3))))
def test_the_loss_is_what_the_loops_say(loss_type, kl_coef, seed):
    logp, old, advantages, mask, ref = batch(seed)
    loss, stats = policy_loss(logp, old, advantages, mask, 0.2, 0.28, ref, kl_coef, loss_type, max_length=9)
    plain = [part.tolist() for part in (logp, old, advantages, mask)]
    assert float(loss) == pytest.approx(by_loops(*plain, 0.2, 0.28, ref.tolist(), kl_coef, loss_type, 9), rel=1e-12)
    ratio = (logp - old).exp()
    if loss_type == "gspo":
        lengths = mask.sum(1, keepdim=True)
        ratio = ratio.where(mask, torch.ones(())).prod(1, keepdim=True).pow(1 / lengths).expand_as(mask)
    bad, good = advantages[:, None] < 0, advantages[:, None] > 0
    if loss_type == "cispo":  # clips a weight, whatever the advantage
        bad = good = torch.ones_like(bad)
    n = mask.sum()
    assert float(stats["clipped_low"]) == pytest.approx(float((mask & bad & (ratio < 0.8)).sum() / n))
    assert float(stats["clipped_high"]) == pytest.approx(float((mask & good & (ratio > 1.28)).sum() / n))
    assert float(stats["ratio"]) == pytest.approx(float(ratio[mask].mean()))


def one_token(ratio, advantage, **options):
    """Loss and gradient at a single token."""
    logp = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    loss, _ = policy_loss(logp, torch.zeros(1, 1, dtype=torch.float64),
                          torch.tensor([advantage], dtype=torch.float64), torch.ones(1, 1), **options)  # fmt: skip
    loss.backward()
    return float(loss.detach()), float(logp.grad)


@pytest.mark.parametrize(("ratio", "advantage", "loss", "gradient"), [
    (20.0, -1.0, 20.0, 20.0),  # a bad answer that became likely: never clipped from above
    (0.5, -1.0, 0.8, 0.0),  # a bad answer already unlikely: no further
    (20.0, 1.0, -1.2, 0.0),  # a good answer already likely: no further
    (0.5, 1.0, -0.5, -0.5),  # a good answer that became unlikely: back up
    (1.1, 1.0, -1.1, -1.1), (0.9, -1.0, 0.9, 0.9), (1.0, 0.0, 0.0, 0.0),
])  # fmt: skip
def test_clipping_only_where_it_should(ratio, advantage, loss, gradient):
    assert one_token(ratio, advantage) == pytest.approx((loss, gradient))


def test_the_bounds_are_two():
    assert one_token(1.25, 1.0, clip_high=0.3)[1] == pytest.approx(-1.25)
    assert one_token(1.25, 1.0, clip_high=0.2)[1] == 0
    assert one_token(0.75, -1.0, clip_low=0.3)[1] == pytest.approx(0.75)
    assert one_token(0.75, -1.0, clip_low=0.2)[1] == 0


def test_the_penalty_is_zero_at_equality_and_positive_elsewhere():
    logp, old, advantages, mask, ref = batch()
    _, equal = policy_loss(logp, old, advantages, mask, ref_logp=logp, kl_coef=1.0)
    _, other = policy_loss(logp, old, advantages, mask, ref_logp=ref, kl_coef=1.0)
    assert float(equal["kl"]) == 0
    assert float(other["kl"]) > 0


@pytest.mark.parametrize("loss_type", [name for name in LOSS_TYPES if name != "cispo"])
def test_gradients_by_finite_differences(loss_type):
    logp, old, advantages, mask, ref = batch(3)
    logp.requires_grad_()

    def loss(x):
        return policy_loss(x, old, advantages, mask, ref_logp=ref, kl_coef=0.1, loss_type=loss_type, max_length=6)[0]

    assert torch.autograd.gradcheck(loss, logp)
    [gradient] = torch.autograd.grad(loss(logp), logp)
    assert gradient[~mask].eq(0).all()


def test_cispo_takes_no_gradient_away_and_bounds_all():
    """Its gradient is not that of its value: the clipped ratio is a constant weight (MiniMax-M1, equation 4)."""
    logp, old, advantages, mask, _ = batch(3)
    logp.requires_grad_()
    loss, _ = policy_loss(logp, old, advantages, mask, 0.2, 0.28, loss_type="cispo")
    [gradient] = torch.autograd.grad(loss, logp)
    ratio = (logp - old).exp().detach()
    assert ((ratio < 0.8) & mask).any()
    assert ((ratio > 1.28) & mask).any()
    weight = ratio.clamp(0.8, 1.28) * mask / mask.sum()
    torch.testing.assert_close(gradient, -weight * advantages[:, None], rtol=0, atol=1e-15)


def test_gspo_clips_answers_and_not_tokens():
    """Two tokens moved far and against each other: their geometric mean is 1, so nothing is clipped."""
    logp = torch.tensor([[1.0, -1.0, 9.0], [1.0, 0.0, 9.0]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])
    loss, stats = policy_loss(logp, torch.zeros_like(logp), torch.ones(2).double(), mask, loss_type="gspo")
    assert float(loss.detach()) == pytest.approx(-(1 + 1.2) / 2)  # the second one's is exp(1/2), and clipped
    loss.backward()
    torch.testing.assert_close(logp.grad, torch.tensor([[-0.25, -0.25, 0], [0, 0, 0]]).double())
    assert float(stats["clipped_high"]) == pytest.approx(0.5)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_the_losses_of_parts_add_up(loss_type):
    logp, old, advantages, mask, ref = batch(5)

    def loss(rows, whole=None):
        part = (values[rows] for values in (logp, old, advantages, mask))
        return policy_loss(*part, 0.2, 0.28, ref[rows], 0.1, loss_type, max_length=9, whole=whole)[0]

    parts = [loss(torch.tensor(rows), mask) for rows in ([0], [1, 2], [3])]
    torch.testing.assert_close(sum(parts), loss(torch.arange(4)), rtol=0, atol=1e-12)


def test_log_probabilities_and_entropies():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[0, 4, 2], [1, 1, 3]])
    logp, entropy = token_logprobs(logits, tokens)
    p = np.exp(logits.double().numpy())
    p /= p.sum(-1, keepdims=True)
    np.testing.assert_allclose(entropy.numpy(), -(p * np.log(p)).sum(-1), rtol=1e-5)
    expected = [[math.log(p[i, t, tokens[i, t]]) for t in range(3)] for i in range(2)]
    np.testing.assert_allclose(logp.numpy(), expected, rtol=1e-5)
