"""Exercises of the chapter on human feedback: advantages from a critic, preferences, the price of leaving, DPO.

Sources: GAE (arXiv:1506.02438, equation 16), InstructGPT (arXiv:2203.02155, equations 1 and 2), DPO (arXiv:2305.18290,
equation 7).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def gae(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    """How much better each token of one answer went than the critic had expected (GAE, eq. 16).

    rewards [T], float: what was paid after each token; values [T]: what the critic expected before it. With the
    surprise d_t = r_t + gamma * v_(t+1) - v_t, where nothing is expected after the last token, returns [T]:
    d_t + (gamma lam) d_(t+1) + (gamma lam)^2 d_(t+2) + ... up to the last.
    """
    return _gae(rewards, values, gamma, gamma * lam)


def _gae(r: Tensor, v: Tensor, gamma: float, decay: float, *, after: Tensor | None = None) -> Tensor:
    following = torch.cat((v[1:], torch.zeros(1) if after is None else after)).double()
    surprise = r.double() + gamma * following - v.double()
    times = torch.arange(len(r))
    ahead = (times - times[:, None]).clamp(min=0)
    weights = torch.where(times >= times[:, None], float(decay) ** ahead.double(), 0.0)
    return (weights @ surprise).to(r.dtype)


def _backwards(r: Tensor, v: Tensor, gamma: float, lam: float) -> Tensor:
    surprises = _gae(r, v, gamma, 0.0).flip(0)
    return _gae(surprises, torch.zeros_like(v), 1.0, gamma * lam).flip(0)


def pair_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """The loss of a reward model on pairs (InstructGPT, eq. 1, for pairs).

    chosen and rejected [N], float: the scores of the preferred replies and of the others. Returns a scalar: the mean
    over pairs of -log sigmoid(chosen - rejected), a finite number for any finite scores.
    """
    return F.softplus(rejected.double() - chosen.double()).mean().to(chosen.dtype)


def token_rewards(score: float, logp: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    """What PPO pays for each token of one answer, when it learns from a reward model (InstructGPT, eq. 2).

    score: the reward model's, of the whole answer. logp and ref_logp [T], float: log-probabilities of its tokens under
    the policy and under the reference. Returns [T]: each token costs beta * (logp - ref_logp); the last one also gets
    the score.
    """
    rewards = -beta * (logp - ref_logp)
    return torch.cat((rewards[:-1], rewards[-1:] + score))


def dpo_loss(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float) -> Tensor:
    """DPO's loss on pairs of replies (eq. 7).

    chosen and rejected [N], float: log-probabilities of the preferred replies and of the others under the policy;
    ref_chosen and ref_rejected [N]: the same under the reference. The implicit reward of a reply is beta times the
    policy's log-probability minus the reference's. Returns a scalar: the mean over pairs of -log sigmoid(implicit
    reward of the chosen - that of the rejected), a finite number for any finite input.
    """
    margin = (chosen - ref_chosen).double() - (rejected - ref_rejected).double()
    return F.softplus(-beta * margin).mean().to(chosen.dtype)


def _answers() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(0)
    end = torch.tensor([0.0, 0, 0, 1])
    values = torch.tensor([0.25, 0.5, 0.5, 0.75])
    return [
        ("four tokens, a reward of 1 at the end, lam 0.5", (end, values, 1.0, 0.5)),
        ("the same, lam 0: each token's own surprise", (end, values, 1.0, 0.0)),
        ("the same, lam 1: all that followed", (end, values, 1.0, 1.0)),
        ("rewards at every token, gamma 0.9", (torch.randn(6, generator=g), torch.randn(6, generator=g), 0.9, 0.8)),
        ("an answer of one token", (torch.tensor([2.0]), torch.tensor([0.5]), 0.9, 0.9)),
    ]


def _scores() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("one pair, scores 2 and 1", (torch.tensor([2.0]), torch.tensor([1.0]))),
        ("three pairs, one in the wrong order", (torch.tensor([1.0, -0.5, 0.0]), torch.tensor([0.0, 1.5, 0.0]))),
        ("a pair that is hopelessly wrong", (torch.tensor([-200.0, 0.0]), torch.tensor([200.0, 0.0]))),
    ]


def _tokens() -> list[tuple[str, tuple[Any, ...]]]:
    logp, ref_logp = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.5, -1.0, -0.5])
    return [
        ("three tokens, beta 0.1", (1.0, logp, ref_logp, 0.1)),
        ("the same, beta 0", (1.0, logp, ref_logp, 0.0)),
        ("a bad score", (-0.7, logp, ref_logp, 0.5)),
        ("one token", (2.0, logp[:1], ref_logp[:1], 0.2)),
    ]


def _replies() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(1)
    one = [torch.tensor([x]) for x in (-3.0, -5.0, -4.0, -4.0)]
    many = [-10 * torch.rand(5, generator=g) for _ in range(4)]
    far = [torch.tensor([x]) for x in (-900.0, -1.0, -5.0, -6.0)]
    return [
        ("one pair, beta 0.5", (*one, 0.5)),
        ("five pairs, beta 0.1", (*many, 0.1)),
        ("five pairs, at the reference", (*many[:2], *many[:2], 0.1)),
        ("a policy that almost never gives the chosen reply", (*far, 1.0)),
    ]


EXERCISES = (
    Exercise(
        "feedback.gae",
        gae,
        _answers,
        (
            Mistake("something is expected after the end", "What can the critic expect when there is no further token?",
                    lambda r, v, g, lam: _gae(r, v, g, g * lam, after=v[-1:])),
            Mistake("lam without gamma", "A surprise two tokens ahead is weighted by which two numbers, each squared?",
                    lambda r, v, g, lam: _gae(r, v, g, lam)),
            Mistake("returns instead of advantages", "Compared with what the critic expected, how much better?",
                    lambda r, v, g, lam: _gae(r, v, g, g * lam) + v),
            Mistake("each token's own surprise only", "Later surprises count too, the less the further away they are.",
                    lambda r, v, g, lam: _gae(r, v, g, 0.0)),
            Mistake("all that followed, whatever lam is", "With lam = 0 only one surprise may be left.",
                    lambda r, v, g, lam: _gae(r, v, g, g)),
            Mistake("the sum runs backwards", "Can a token change what came before it, or only what comes after?",
                    _backwards),
        ),
        "Begin at the last token: its surprise is r - v. Then go back one token at a time.",
    ),
    Exercise(
        "feedback.pair_loss",
        pair_loss,
        _scores,
        (
            Mistake("chosen and rejected are swapped", "Is the loss small when the chosen reply has the higher score?",
                    lambda c, r: F.softplus(c - r).mean()),
            Mistake("the sigmoid without its logarithm", "Likelihoods of many labels multiply; what adds up?",
                    lambda c, r: -torch.sigmoid(c - r).mean()),
            Mistake("the logarithm of a sigmoid that has become 0", "What is sigmoid(-400) in float32, and its log? "
                    "There is a function for both together.",
                    lambda c, r: -torch.sigmoid(c - r).log().mean()),
            Mistake("the sum, not the mean", "The loss should not depend on how many pairs there are.",
                    lambda c, r: F.softplus(r - c).sum()),
            Mistake("the plain difference of scores", "Nothing keeps this difference from growing forever.",
                    lambda c, r: (r - c).mean()),
        ),
        "Scores 2 and 1: the probability is sigmoid(1) = 0.731, the loss -log 0.731 = 0.313.",
    ),
    Exercise(
        "feedback.token_rewards",
        token_rewards,
        _tokens,
        (
            Mistake("paid for leaving the reference", "A token that became likelier than the reference has it: should "
                    "it cost something or earn something?",
                    lambda s, p, q, b: token_rewards(s, q, p, b)),
            Mistake("the score on every token", "The reward model reads the whole answer and gives one score.",
                    lambda s, p, q, b: s - b * (p - q)),
            Mistake("the score on the first token", "When is the score known?",
                    lambda s, p, q, b: token_rewards(s, p.flip(0), q.flip(0), b).flip(0)),
            Mistake("the whole cost on the last token", "Each token pays for itself.",
                    lambda s, p, q, b: torch.cat((0 * p[1:], (s - b * (p - q).sum())[None]))),
            Mistake("another estimator of KL", "This one is DeepSeekMath's; here each token simply pays the difference "
                    "of logarithms, which may be below 0.",
                    lambda s, p, q, b: torch.cat((-b * _k3(p, q)[:-1], (s - b * _k3(p, q))[-1:]))),
        ),
        "Take beta = 0 first: nothing but the score, at one place. Then add the cost of each token.",
    ),
    Exercise(
        "feedback.dpo_loss",
        dpo_loss,
        _replies,
        (
            Mistake("the reference is left out", "At the reference, whatever the replies, the loss must be log 2.",
                    lambda c, r, rc, rr, b: dpo_loss(c, r, 0 * c, 0 * r, b)),
            Mistake("the reference's replies are swapped", "Which log-probability of the reference belongs to the "
                    "chosen reply?",
                    lambda c, r, rc, rr, b: dpo_loss(c, r, rr, rc, b)),
            Mistake("chosen and rejected are swapped", "Should the loss fall or rise as the chosen reply becomes "
                    "likelier?",
                    lambda c, r, rc, rr, b: dpo_loss(r, c, rr, rc, b)),
            Mistake("beta outside the sigmoid", "beta is part of the implicit reward, which goes into the sigmoid.",
                    lambda c, r, rc, rr, b: b * dpo_loss(c, r, rc, rr, 1.0)),
            Mistake("the logarithm of a sigmoid that has become 0", "What is sigmoid(-900) in float32, and its log?",
                    lambda c, r, rc, rr, b: -torch.sigmoid(b * ((c - rc) - (r - rr))).log().mean()),
        ),
        "First the two implicit rewards, then the loss of a reward model on them.",
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""


def _k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    gap = ref_logp - logp
    return gap.exp() - gap - 1
