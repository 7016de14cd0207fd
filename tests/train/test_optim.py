import copy
import math

import numpy as np
import pytest
import torch

from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.train.optim import Muon, OptimConfig, Optimizer, learning_rate, make_optimizers, newton_schulz

TINY = ModelConfig(vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=8,
                   qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=4, intermediate_size=24, moe_intermediate_size=8,
                   n_routed_experts=4, num_experts_per_tok=2, num_nextn_predict_layers=1)  # fmt: skip


def test_the_rate_warms_up_holds_and_decays():
    rates = [learning_rate(step, 100, 2.0, warmup=10, decay=0.4, floor=0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert rates[10:61] == [2.0] * 51
    assert np.diff(rates[60:]) == pytest.approx([-2.0 * 0.9 / 40] * 39)
    assert rates[-1] == pytest.approx(2.0 * (0.1 + 0.9 / 40))
    assert learning_rate(100, 100, 2.0, warmup=10, decay=0.4, floor=0.1) == pytest.approx(0.2)


@pytest.mark.parametrize(("warmup", "decay"), [(0, 0.5), (3, 0.0), (0, 0.0), (5, 1.0)])
def test_the_rate_is_positive_and_at_most_the_peak(warmup, decay):
    rates = [learning_rate(step, 7, 1e-3, warmup, decay) for step in range(7)]
    assert all(0 < rate <= 1e-3 for rate in rates)


@pytest.mark.parametrize("shape", [(12, 12), (20, 7), (7, 20), (3, 9, 5)])
def test_newton_schulz_keeps_vectors_and_evens_values(shape):
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    core = u.mT @ newton_schulz(matrix) @ vh.mT
    values = core.diagonal(dim1=-2, dim2=-1)
    assert values.min() > 0.6
    assert values.max() < 1.3
    torch.testing.assert_close(core, torch.diag_embed(values), rtol=0, atol=1e-9)


def orthogonal_by_svd(matrix):
    """The same quintic, applied to the singular values one by one."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / (np.sqrt((s**2).sum()) + 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ np.diag(s) @ vt


def test_muon_steps_as_computed_directly():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(6, 4)), rng.normal(size=(3, 6, 4))
    p = torch.nn.Parameter(torch.tensor(start))
    optimizer = Muon([p], lr=0.02, momentum=0.9, weight_decay=0.1)
    expected, momentum = start.copy(), np.zeros((6, 4))
    for gradient in gradients:
        p.grad = torch.tensor(gradient)
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        nesterov = 0.9 * momentum + 0.1 * gradient
        expected = expected * (1 - 0.02 * 0.1) - 0.02 * 0.2 * math.sqrt(6) * orthogonal_by_svd(nesterov)
    np.testing.assert_allclose(p.detach().numpy(), expected, rtol=0, atol=1e-12)


def test_muon_treats_each_expert_alone():
    stack = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = torch.nn.Parameter(torch.zeros_like(stack))
    together.grad = stack
    alone = [torch.nn.Parameter(torch.zeros_like(matrix)) for matrix in stack]
    for p, matrix in zip(alone, stack, strict=True):
        p.grad = matrix
    Muon([together], lr=0.1).step()
    Muon(alone, lr=0.1).step()
    torch.testing.assert_close(together.detach(), torch.stack([p.detach() for p in alone]), rtol=0, atol=1e-12)


def groups(model, **options):
    """Name of each parameter to (class of its optimizer, weight decay)."""
    names = {id(p): name for name, p in model.named_parameters()}
    return [
        (names[id(p)], type(optimizer).__name__, group["weight_decay"])
        for optimizer in make_optimizers(model, OptimConfig(lr=0.1, weight_decay=0.3, **options))
        for group in optimizer.param_groups
        for p in group["params"]
    ]


@pytest.mark.parametrize("muon", [False, True])
def test_every_parameter_has_one_optimizer(muon):
    model = MiniDeepSeek(TINY, torch.Generator().manual_seed(0))
    found = groups(model, muon=muon)
    assert sorted(name for name, _, _ in found) == sorted(name for name, _ in model.named_parameters())
    for name, kind, decay in found:
        assert decay == (0.0 if model.get_parameter(name).ndim < 2 else 0.3)
        matrix = model.get_parameter(name).ndim >= 2 and name not in ("embed_tokens.weight", "lm_head.weight")
        assert kind == ("Muon" if muon and matrix else "AdamW")


def test_tied_weights_are_optimised_once():
    model = MiniDeepSeek(TINY.replace(tie_word_embeddings=True), torch.Generator().manual_seed(0))
    names = [name for name, _, _ in groups(model, muon=True)]
    assert len(names) == len(set(names))


def test_the_schedule_reaches_all_groups():
    model = MiniDeepSeek(TINY, torch.Generator().manual_seed(0))
    optimizer = Optimizer(model, OptimConfig(lr=0.1, warmup=4, muon=True), steps=20)
    assert optimizer.schedule(1) == pytest.approx(0.05)
    assert [group["lr"] for part in optimizer.parts for group in part.param_groups] == [optimizer.schedule(1)] * 3


@pytest.mark.parametrize("muon", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_moves_nothing(muon, bad):
    model = MiniDeepSeek(TINY, torch.Generator().manual_seed(0))
    optimizer = Optimizer(model, OptimConfig(lr=0.1, weight_decay=0.5, muon=muon), steps=5)
    optimizer.schedule(0)

    def step(spoiled):
        model(torch.arange(6)[None]).logits.square().sum().backward()
        if spoiled:
            model.layers[0].mlp.up_proj.weight.grad[0, 0] = bad
        return optimizer.step()

    assert step(False).isfinite()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept = copy.deepcopy(optimizer.state_dict())
    assert not step(True).isfinite()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    torch.testing.assert_close(optimizer.state_dict(), kept, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())
    step(False)
    assert not torch.equal(model.lm_head.weight, before["lm_head.weight"])


def test_muon_is_told_as_torchs_fused_optimizers_are():
    """On a GPU the guard does not wait: `found_inf` says that nothing shall move."""
    p = torch.nn.Parameter(torch.ones(3, 4))
    optimizer = Muon([p], lr=0.1)
    p.grad = torch.ones(3, 4)
    optimizer.step()
    before, momentum = p.detach().clone(), optimizer.state[p]["momentum"].clone()
    p.grad = torch.full((3, 4), math.nan)
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert torch.equal(p, before)
    assert torch.equal(optimizer.state[p]["momentum"], momentum)
    p.grad, optimizer.found_inf = torch.ones(3, 4), torch.tensor(0.0)
    optimizer.step()
    assert not torch.equal(p, before)


def test_clipping_limits_the_norm():
    p = torch.nn.Linear(3, 1, bias=False)
    p.weight.grad = torch.full((1, 3), 100.0)
    optimizer = Optimizer(p, OptimConfig(clip=0.5), steps=1)
    seen = []
    optimizer.parts[0].register_step_pre_hook(lambda *_: seen.append(p.weight.grad.norm().item()))
    assert optimizer.step().item() == pytest.approx(100 * 3**0.5)
    assert seen == [pytest.approx(0.5, rel=1e-4)]


@pytest.mark.parametrize(("name", "value"), [("lr", 0.0), ("lr", math.nan), ("lr", math.inf), ("clip", -1.0),
                                             ("warmup", -1), ("decay", math.nan), ("weight_decay", -0.1),
                                             ("betas", (0.9, 1.0))])  # fmt: skip
def test_impossible_settings_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}: "):
        OptimConfig(**{name: value})
