import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minidsk.model.moe import MLP, MoE, Router, Routing, likeliest, max_violation, sequence_balance_loss, update_bias
from minidsk.model.operations import every_expert, suits_every_expert


@pytest.fixture
def router(small):
    def make(seed=0, **changes):
        router = Router(small.replace(**changes)).double()
        generator = torch.Generator().manual_seed(seed)
        router.weight.data.normal_(generator=generator)
        router.e_score_correction_bias.normal_(0.0, 0.3, generator=generator)
        return router

    return make


def tokens(n=20, hidden=24, seed=7):
    return torch.randn(n, hidden, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) / 3


def routed_by_hand(router, x):
    """Token by token, with sorting alone."""
    config = router.config
    weight, bias = router.weight.detach().numpy(), router.e_score_correction_bias.numpy()
    size = config.n_routed_experts // config.n_group
    everything = []
    for row in x.numpy():
        s = 1 / (1 + np.exp(-weight @ row))
        best = {g: sum(sorted((s + bias)[g * size : (g + 1) * size])[-2:]) for g in range(config.n_group)}
        groups = sorted(best, key=best.get)[-config.topk_group :]
        allowed = [e for e in range(config.n_routed_experts) if e // size in groups]
        chosen = sorted(allowed, key=lambda e: s[e] + bias[e])[-config.num_experts_per_tok :]
        total = sum(s[e] for e in chosen) if config.norm_topk_prob else 1.0
        everything.append({e: s[e] / total * config.routed_scaling_factor for e in chosen})
    return everything


@pytest.mark.parametrize(
    "changes",
    [{}, {"n_group": 1, "topk_group": 1}, {"n_group": 2, "topk_group": 1}, {"norm_topk_prob": False},
     {"num_experts_per_tok": 1, "routed_scaling_factor": 2.5}],
)  # fmt: skip
def test_router_against_a_loop(router, changes):
    made, x = router(**changes), tokens(60)
    weights, indices = made(x)
    assert weights.shape == indices.shape == (60, made.config.num_experts_per_tok)
    for row, (chosen, by_hand) in enumerate(zip(indices.tolist(), routed_by_hand(made, x), strict=True)):
        assert set(chosen) == set(by_hand)
        assert weights[row].tolist() == pytest.approx([by_hand[e] for e in chosen], abs=1e-12)


def test_more_dimensions_are_read_as_tokens_and_bfloat16_is_routed_in_float32(router):
    made, x = router(), tokens(12)
    torch.testing.assert_close(made(x.view(3, 4, 24))[0], made(x)[0])
    made.bfloat16()
    weights, _ = made(x.bfloat16())
    assert weights.dtype == torch.float32
    expected = torch.sigmoid(x.bfloat16().float() @ made.weight.float().T)
    torch.testing.assert_close(made.scores(x.bfloat16()), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(made.scores(x.bfloat16()), expected)


def test_the_bias_steers_the_choice_and_not_the_weights(router):
    made, x = router(n_group=1, topk_group=1, norm_topk_prob=False), tokens()
    made.e_score_correction_bias.zero_()
    made.e_score_correction_bias[5] = 10.0
    weights, indices = made(x)
    assert (indices == 5).any(1).all()
    torch.testing.assert_close(weights, made.scores(x).gather(1, indices) * 1.5)
    made.e_score_correction_bias[5] = -10.0
    assert not (made(x)[1] == 5).any()


def test_experts_come_from_few_groups_even_with_negative_scores(router):
    made = router(num_experts_per_tok=4)
    made.e_score_correction_bias.sub_(5.0)  # every compared score is below zero
    _, indices = made(tokens(60))
    assert all(len({expert // 2 for expert in row}) == 2 for row in indices.tolist())


def test_gradient_reaches_the_router_and_not_the_bias(router):
    made = router()
    assert "e_score_correction_bias" in made.state_dict()
    assert [name for name, _ in made.named_parameters()] == ["weight"]
    made(tokens())[0][:, 0].sum().backward()
    assert made.weight.grad.abs().sum() > 0


def test_mixture_is_the_weighted_sum_of_its_experts(make, small):
    moe = make(n_shared_experts=2).layers[1].mlp
    x = tokens(10).view(2, 5, 24)
    y, routing = moe(x)
    weights, indices = moe.gate(x)
    assert routing.scores.shape == (2, 5, 8)
    assert torch.equal(routing.indices.flatten(0, 1), indices)
    assert torch.equal(routing.load(), torch.tensor([(indices == e).sum() for e in range(8)]).float())
    for n, row in enumerate(x.flatten(0, 1)):
        expected = moe.shared_experts(row)
        for w, e in zip(weights[n], indices[n], strict=True):
            gate, up = (moe.experts.gate_up_proj[e] @ row).chunk(2)
            expected = expected + w * (moe.experts.down_proj[e] @ (F.silu(gate) * up))
        torch.testing.assert_close(y.flatten(0, 1)[n], expected)
    assert moe.shared_experts.up_proj.out_features == 2 * small.moe_intermediate_size
    assert MoE(small.replace(n_shared_experts=0)).shared_experts is None


def test_through_all_experts_is_the_same_sum(make):
    moe, x = make().layers[1].mlp, tokens(10)
    weights, indices = moe.gate(x)
    y = every_expert(x, moe.experts.gate_up_proj, moe.experts.down_proj, weights, indices)
    torch.testing.assert_close(y, moe.experts(x, weights, indices))


def test_only_few_rows_of_a_gpu_take_every_expert():
    class OnAGPU:
        is_cuda = True

        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return self.rows

    with torch.no_grad():
        assert suits_every_expert(OnAGPU(512), experts=8, k=2)
        assert not suits_every_expert(OnAGPU(512), experts=8, k=1)
        assert not suits_every_expert(OnAGPU(100_000), experts=8, k=2)
        assert not suits_every_expert(torch.zeros(512, 3), experts=8, k=2)
    assert not suits_every_expert(OnAGPU(512), experts=8, k=2), "its gradients would be those of every expert"


def test_autocast_multiplies_in_bfloat16(make):
    moe, x = make().layers[1].mlp.float(), tokens(10).float()
    weights, indices = moe.gate(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert moe.experts(x, weights, indices).dtype == torch.bfloat16


def test_gated_layer():
    mlp, x = MLP(3, 5).double(), tokens(4, 3)
    gate, up = x @ mlp.gate_proj.weight.T, x @ mlp.up_proj.weight.T
    torch.testing.assert_close(mlp(x), (gate / (1 + (-gate).exp()) * up) @ mlp.down_proj.weight.T)


def test_update_bias():
    bias = torch.tensor([0.5, 0.0, -0.5, 0.0])
    new = update_bias(bias, torch.tensor([9, 1, 4, 2]), speed=0.1)  # mean 4
    torch.testing.assert_close(new, torch.tensor([0.4, 0.1, -0.5, 0.1]))
    assert bias.tolist() == [0.5, 0.0, -0.5, 0.0]


def test_update_bias_balances_a_lopsided_router(router):
    made, x = router(n_group=1, topk_group=1), tokens(400) + tokens(1, seed=8)  # all lean to one side
    made.e_score_correction_bias.zero_()
    violations = []
    for _ in range(200):
        load = Routing(made.scores(x)[None], made(x)[1][None]).load()
        violations.append(max_violation(load).item())
        made.e_score_correction_bias = update_bias(made.e_score_correction_bias, load, 0.005)
    assert violations[0] > 0.3
    assert violations[-1] < 0.1


def balance_by_hand(scores, indices, alpha):
    losses = []
    for sequence, chosen in zip(scores.tolist(), indices.tolist(), strict=True):
        time, experts, k = len(sequence), len(sequence[0]), len(chosen[0])
        loss = 0.0
        for i in range(experts):
            f = experts / (k * time) * sum(i in row for row in chosen)
            p = sum(row[i] / sum(row) for row in sequence) / time
            loss += f * p
        losses.append(alpha * loss)
    return sum(losses) / len(losses)


def test_sequence_balance_loss_against_a_loop(router):
    made, x = router(), tokens(30)
    scores, indices = made.scores(x).view(3, 10, 8), made(x)[1].view(3, 10, 3)
    loss = sequence_balance_loss(scores, indices, 0.7)
    assert loss.item() == pytest.approx(balance_by_hand(scores, indices, 0.7))
    # One sequence of 30 tokens is another matter than three of ten.
    joined = sequence_balance_loss(scores.flatten(0, 1), indices.flatten(0, 1), 0.7)
    assert joined.item() == pytest.approx(balance_by_hand(scores.view(1, 30, 8), indices.view(1, 30, 3), 0.7))
    assert joined.item() != pytest.approx(loss.item(), rel=1e-3)
    loss.backward()
    assert made.weight.grad.abs().sum() > 0


def test_sequence_balance_loss_of_even_and_of_collapsed_routing():
    even = torch.stack([torch.arange(8), (torch.arange(8) + 1) % 8], -1)  # each expert twice
    assert sequence_balance_loss(torch.full((8, 8), 0.3), even, 0.01).item() == pytest.approx(0.01)
    one = torch.zeros(8, 4, dtype=torch.double)
    one[:, 2] = 1.0
    assert sequence_balance_loss(one, torch.full((8, 1), 2), 0.01).item() == pytest.approx(0.04)


def test_max_violation_between_its_extremes():
    assert max_violation(torch.full((8,), 5.0)) == 0
    assert max_violation(torch.tensor([16.0, 0, 0, 0])) == 3
    assert max_violation(torch.tensor([3.0, 1, 2, 2])) == 0.5


@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_likeliest_are_the_same_within_torch_compile(k, monkeypatch):
    """Where they are looked for one after the other."""
    compared = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    expected = likeliest(compared, k)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    ours = likeliest(compared, k)
    assert torch.equal(ours, compared.topk(k).indices)
    assert torch.equal(ours.sort(1).values, expected.sort(1).values)
