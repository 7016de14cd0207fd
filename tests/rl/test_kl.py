import math

import pytest
import torch

from minidsk.rl.grpo import policy_loss
from minidsk.rl.kl import ESTIMATORS, kl_estimate

LOGITS = torch.tensor([1.0, 0.2, -0.7, 0.1], dtype=torch.float64)
REFERENCE = torch.tensor([0.3, 0.5, -0.2, -1.0], dtype=torch.float64).log_softmax(-1)


def kl(p, q):
    return (p.exp() * (p - q)).sum()


def test_expectations_over_every_token():
    """A world of four tokens: k1 and k3 are unbiased, k2 is not, and near the reference all three agree."""
    logp = LOGITS.log_softmax(-1)
    mean = {name: float((logp.exp() * kl_estimate(logp, REFERENCE, name)).sum()) for name in ESTIMATORS}
    assert mean["k1"] == pytest.approx(float(kl(logp, REFERENCE)), rel=1e-12)
    assert mean["k3"] == pytest.approx(float(kl(logp, REFERENCE)), rel=1e-12)
    assert mean["k2"] != pytest.approx(float(kl(logp, REFERENCE)), rel=0.01)
    near = (REFERENCE + 1e-3 * LOGITS).log_softmax(-1)
    for name in ESTIMATORS:
        assert float((near.exp() * kl_estimate(near, REFERENCE, name)).sum()) == pytest.approx(
            float(kl(near, REFERENCE)), rel=1e-2
        )


@pytest.mark.parametrize(("name", "expected"), [
    ("k1", lambda x: 0.0 * x.sum()),
    ("k2", lambda x: kl(x.log_softmax(-1), REFERENCE)),
    ("k3", lambda x: kl(REFERENCE, x.log_softmax(-1))),
])  # fmt: skip
def test_expected_gradients_as_a_term_of_the_loss(name, expected):
    """The mean over tokens, with the chances held fixed, as sampling holds them: which divergence does it go down?"""
    theirs, ours = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    [gradient] = torch.autograd.grad(expected(theirs), theirs)
    logp = ours.log_softmax(-1)
    [found] = torch.autograd.grad((logp.detach().exp() * kl_estimate(logp, REFERENCE, name)).sum(), ours)
    torch.testing.assert_close(found, gradient, rtol=0, atol=1e-12)


def test_single_values():
    """A token twice as likely as under the reference."""
    logp, ref = torch.tensor(math.log(0.5)), torch.tensor(math.log(0.25))
    assert float(kl_estimate(logp, ref, "k1")) == pytest.approx(math.log(2))
    assert float(kl_estimate(logp, ref, "k2")) == pytest.approx(math.log(2) ** 2 / 2)
    assert float(kl_estimate(logp, ref, "k3")) == pytest.approx(0.5 + math.log(2) - 1)
    assert float(kl_estimate(ref, logp, "k1")) < 0 < float(kl_estimate(ref, logp, "k3"))
    with pytest.raises(ValueError, match="kl_estimator: 'k4' is not known; give k1, k2, k3"):
        kl_estimate(logp, ref, "k4")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_loss_adds_the_estimate_that_is_asked_for(name):
    g = torch.Generator().manual_seed(0)
    logp, old, ref = (torch.randn(3, 4, dtype=torch.float64, generator=g) for _ in range(3))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    arguments = (logp, old, torch.tensor([1.0, -1, 0.5], dtype=torch.float64), mask)
    plain, _ = policy_loss(*arguments, loss_type="dapo")
    priced, stats = policy_loss(*arguments, ref_logp=ref, kl_coef=0.3, loss_type="dapo", kl_estimator=name)
    mean = float(kl_estimate(logp, ref, name)[mask.bool()].mean())
    assert float(stats["kl"]) == pytest.approx(mean)
    assert float(priced) == pytest.approx(float(plain) + 0.3 * mean)
    watched, stats = policy_loss(*arguments, ref_logp=ref, loss_type="dapo", kl_estimator=name)
    assert float(watched) == float(plain)
    assert float(stats["kl"]) == pytest.approx(mean)
