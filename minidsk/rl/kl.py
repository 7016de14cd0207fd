"""How far a policy has moved from its reference, estimated from the tokens that it sampled (Schulman, 2020)."""

from __future__ import annotations

from torch import Tensor

ESTIMATORS = ("k1", "k2", "k3")


def kl_estimate(logp: Tensor, ref_logp: Tensor, estimator: str = "k3") -> Tensor:
    """An estimate of KL(policy, reference) in nats at each sampled token, any shape; all are 0 where both agree.

    With ``gap = ref_logp - logp``: "k1", ``-gap``, unbiased and noisy, of either sign; "k2", ``gap**2 / 2``, biased
    and quiet; "k3", ``exp(gap) - gap - 1``, unbiased and never negative, DeepSeekMath's (arXiv:2402.03300, equation 4).

    As terms of a loss they differ otherwise than as estimates: on tokens of the policy itself, the gradient of k1 is 0
    on average, that of k2 is the gradient of KL(policy, reference), and that of k3 the gradient of KL(reference,
    policy). Raises `ValueError` for another name.
    """
    gap = ref_logp - logp
    if estimator == "k1":
        return -gap
    if estimator == "k2":
        return gap.square() / 2
    if estimator == "k3":
        return gap.exp() - gap - 1
    raise ValueError(f"kl_estimator: {estimator!r} is not known; give {', '.join(ESTIMATORS)}")
