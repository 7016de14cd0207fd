import pytest
import torch

from minidsk.kernels import dispatch
from minidsk.kernels.router import gate_all, route, route_reference
from minidsk.model.config import ModelConfig
from minidsk.model.moe import Router

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("tokens", "hidden", "experts", "k"),
    [(1, 8, 2, 1), (5, 70, 6, 3), (40, 64, 16, 4), (17, 130, 70, 8), (600, 40, 8, 2)],
)
def test_the_best_are_chosen(tokens, hidden, experts, k, dtype, normal, close):
    x, weight, bias = normal(tokens, hidden, dtype=dtype), normal(experts, hidden, scale=0.2), normal(experts)
    ours = route(x, weight, bias, k, True, 2.5)
    theirs = route_reference(x.double(), weight.double(), bias.double(), k, True, 2.5)
    assert (ours.of_all.dtype, ours.scores.dtype, ours.indices.dtype) == (dtype, torch.float32, torch.int64)
    assert torch.equal(ours.indices.sort(1).values, theirs.indices.sort(1).values)
    close(ours.scores, theirs.scores)
    close(ours.of_all, theirs.of_all)


@pytest.mark.parametrize("normed", [True, False])
def test_it_is_the_model_s_router(normed, normal):
    config = ModelConfig(vocab_size=8, hidden_size=24, n_routed_experts=8, num_experts_per_tok=3,
                         norm_topk_prob=normed, routed_scaling_factor=1.5)  # fmt: skip
    router, x = Router(config).to(normal(1).device), normal(9, 24)
    router.weight.data = normal(8, 24, scale=0.3)
    router.e_score_correction_bias.copy_(normal(8))
    with torch.no_grad():
        weights, indices = router(x)
        ours = route(x, router.weight, router.e_score_correction_bias, 3, normed, 1.5)
    expected = torch.zeros(9, 8, device=x.device).scatter(1, indices, weights)
    torch.testing.assert_close(ours.of_all, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shared", [1, 3])
def test_shared_experts_have_weight_one(shared, normal):
    x, weight, bias = normal(5, 24), normal(6, 24), normal(6)
    alone, ours = route(x, weight, bias, 2, True, 2.5), route(x, weight, bias, 2, True, 2.5, shared)
    theirs = route_reference(x, weight, bias, 2, True, 2.5, shared)
    assert ours.of_all.shape == theirs.of_all.shape == (5, 6 + shared)
    assert torch.equal(ours.of_all[:, :6], alone.of_all)
    assert torch.equal(ours.of_all[:, 6:], torch.ones(5, shared, device=x.device))
    torch.testing.assert_close(theirs.of_all, ours.of_all, rtol=1e-5, atol=1e-6)
    assert torch.equal(ours.scores, alone.scores)


def test_of_equal_scores_the_first_is_chosen(device):
    x, weight, bias = torch.ones(3, 4, device=device), torch.zeros(6, 4, device=device), torch.zeros(6, device=device)
    bias[2] = 1.0
    ours = route(x, weight, bias, 3)
    assert ours.indices.tolist() == [[2, 0, 1]] * 3
    torch.testing.assert_close(ours.of_all[0].cpu(), torch.tensor([1.0, 1, 1, 0, 0, 0]) / 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("tokens", "experts", "width"), [(1, 1, 1), (7, 3, 50), (20, 16, 24)])
def test_all_experts_are_gated(tokens, experts, width, dtype, normal, close):
    both, of_all = normal(tokens, experts * 2 * width, dtype=dtype), normal(tokens, experts, dtype=dtype)
    ours = gate_all(both, of_all)
    assert (ours.shape, ours.dtype) == ((tokens, experts * width), dtype)
    close(ours, dispatch.gate_all(both.double(), of_all.double()))
