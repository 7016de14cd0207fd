"""The world of coins: every answer is there once, with the probability of a walk through it; prices are paid."""

from itertools import product

import pytest
import torch

from minidsk.homework.coins import TOKENS, World


def walk(policy, world, answer):
    """The probability of an answer, token by token, from a dictionary of probabilities."""
    rows = dict(zip(world.contexts, policy.softmax(-1).tolist(), strict=True))
    chance = 1.0
    for t, token in enumerate(answer):
        chance *= rows[answer[:t]][TOKENS.index(token)]
    return chance


@pytest.mark.parametrize("longest", [1, 3, 4])
def test_every_answer_is_there_once_and_has_its_probability(longest):
    world = World(longest)
    texts = {"".join(row).partition(".")[0] + "." * ("." in row) for row in product(TOKENS, repeat=longest)}
    assert sorted(world.answers) == sorted(texts)
    policy = torch.randn(len(world.contexts), 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probability = world.logp(policy).sum(1).exp()
    assert probability.tolist() == pytest.approx([walk(policy, world, answer) for answer in world.answers])
    assert probability.sum().item() == pytest.approx(1)
    assert world.mask.sum(1).tolist() == list(map(len, world.answers))


def test_a_price_is_paid_by_what_adds_up_and_ends():
    world = World(3)
    assert [answer for answer, paid in zip(world.answers, world.pays(2), strict=True) if paid] == ["2.", "11."]
    assert [answer for answer, paid in zip(world.answers, world.pays(5), strict=True) if paid] == []  # 221 never ends
