import math

import pytest
import torch

from minidsk.model.config import ModelConfig
from minidsk.model.rope import attention_factor, inverse_frequencies, rotate, rotation, softmax_scale
from minidsk.model.transformer import MiniDeepSeek

YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 1024}


def turned(x, positions, interleave=True, theta=100.0):
    config = ModelConfig(qk_rope_head_dim=x.shape[-1], rope_theta=theta)
    cos, sin = rotation(positions, inverse_frequencies(config).double())
    return rotate(x, cos, sin, interleave)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("interleave", [True, False])
def test_scores_depend_on_the_distance_alone(interleave):
    q, k = draw(5, 16), draw(5, 16, seed=1)
    at, to = torch.tensor([9, 4, 30, 7, 0]), torch.tensor([2, 4, 11, 0, 0])
    scores = (turned(q, at, interleave) * turned(k, to, interleave)).sum(-1)
    moved = (turned(q, at + 57, interleave) * turned(k, to + 57, interleave)).sum(-1)
    torch.testing.assert_close(moved, scores)
    assert not torch.allclose((turned(q, at + 1, interleave) * turned(k, to, interleave)).sum(-1), scores)


@pytest.mark.parametrize("interleave", [True, False])
def test_pairs_turn_as_complex_numbers(interleave):
    x, positions = draw(6, 8), torch.arange(6)
    first, second = (x[:, 0::2], x[:, 1::2]) if interleave else (x[:, :4], x[:, 4:])
    angles = positions[:, None] * 100.0 ** (-2 * torch.arange(4, dtype=torch.float64) / 8)
    z = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(turned(x, positions, interleave), torch.cat((z.real, z.imag), -1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("theta", [100.0, 10_000.0])
def test_frequencies_have_no_digit_that_a_processor_chooses(theta):
    found = inverse_frequencies(ModelConfig(qk_rope_head_dim=64, rope_theta=theta))
    assert found.tolist() == torch.tensor([theta ** (-i / 32) for i in range(32)], dtype=torch.float32).tolist()


def test_lengths_stay_and_position_zero_turns_nothing():
    x = draw(4, 8)
    torch.testing.assert_close(turned(x, torch.arange(4)).norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned(x, torch.zeros(4, dtype=torch.long), interleave=False), x)


def test_yarn_leaves_fast_pairs_and_divides_slow_ones():
    config = ModelConfig(qk_rope_head_dim=64)
    plain = inverse_frequencies(config)
    stretched = inverse_frequencies(config.replace(rope_scaling=YARN))
    turns = 1024 * plain / (2 * math.pi)  # within the original context
    fast, slow = turns > 40, turns < 0.8
    assert fast.sum() > 2
    assert slow.sum() > 8
    assert torch.equal(stretched[fast], plain[fast])
    torch.testing.assert_close(stretched[slow], plain[slow] / 8)
    assert (stretched <= plain).all()
    assert (stretched.diff() < 0).all()
    torch.testing.assert_close(inverse_frequencies(config.replace(rope_scaling=YARN | {"factor": 1.0})), plain)


def test_factors_of_yarn():
    config = ModelConfig(qk_nope_head_dim=128, qk_rope_head_dim=64)
    assert attention_factor(config) == 1
    assert softmax_scale(config) == 192**-0.5
    v3 = config.replace(rope_scaling=YARN | {"factor": 40.0, "mscale": 1.0, "mscale_all_dim": 1.0})
    assert attention_factor(v3) == 1
    assert softmax_scale(v3) / 192**-0.5 == pytest.approx(1.8738542)
    plain = config.replace(rope_scaling=YARN)
    assert attention_factor(plain) == pytest.approx(0.1 * math.log(8) + 1)
    assert softmax_scale(plain) == 192**-0.5
    given = config.replace(rope_scaling=YARN | {"attention_factor": 1.25})
    assert attention_factor(given) == 1.25


def test_far_positions_are_told_apart_in_bfloat16():
    model = MiniDeepSeek(ModelConfig(hidden_size=16, num_hidden_layers=1)).bfloat16()
    cos, sin = rotation(torch.tensor([300, 301]), model.frequencies)
    assert torch.equal(model.frequencies, inverse_frequencies(model.config))
    assert (cos[0] - cos[1]).abs().max() > 0.1
    assert sin.dtype == torch.float32
