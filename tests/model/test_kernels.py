"""The table of operations: the same model, computed by other backends."""

import copy
import dataclasses
import importlib
import subprocess
import sys

import pytest
import torch

from minidsk import MiniDeepSeek, ModelConfig
from minidsk.infer.engine import Engine
from minidsk.model.operations import Kernels
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PretrainConfig, train_step

CONFIG = ModelConfig(vocab_size=40, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=12,
                     qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8, intermediate_size=32,
                     moe_intermediate_size=12, n_routed_experts=5, num_experts_per_tok=2, q_lora_rank=10,
                     num_nextn_predict_layers=1)  # fmt: skip


def twins(dtype=torch.float32):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = [MiniDeepSeek(CONFIG, torch.Generator().manual_seed(0)).to(device, dtype).use(Kernels.all(backend))
              for backend in ("torch", "triton")]  # fmt: skip
    return *models, torch.randint(40, (2, 9), generator=torch.Generator().manual_seed(1)).to(device)


def test_the_same_numbers_and_gradients():
    plain, fast, ids = twins()
    outs = [model(ids) for model in (plain, fast)]
    torch.testing.assert_close(outs[1].logits, outs[0].logits, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(outs[1].mtp_logits[0], outs[0].mtp_logits[0], rtol=1e-5, atol=1e-6)
    assert not torch.equal(outs[1].logits, outs[0].logits), "nothing else was computed: did the switch do anything?"
    for out in outs:
        (out.logits.sin().sum() + out.mtp_logits[0].cos().sum()).backward()
    for (name, a), b in zip(plain.named_parameters(), fast.parameters(), strict=True):
        error = (b.grad - a.grad).norm() / a.grad.norm()
        assert error < 1e-5, f"{name}: relative error {error:.1e}"


def test_one_training_step_is_the_same_step():
    plain, fast, ids = twins()
    config = PretrainConfig(model=CONFIG, batch=2, context=8)
    for model in (plain, fast):
        train_step(model, Optimizer(model, OptimConfig(lr=1e-2), 1), ids, config)
    for a, b in zip(plain.state_dict().values(), fast.state_dict().values(), strict=True):
        # Adam's first step is 1e-2 by the sign of the gradient; in bf16 the sign of next to nothing is chance.
        share = ((a - b).abs() < 2e-3).double().mean()
        assert share > 0.95 if a.is_cuda else share == 1


def test_float64_has_no_kernel_and_falls_back():
    plain, fast, ids = twins(torch.float64)
    torch.testing.assert_close(fast(ids).logits, plain(ids).logits, rtol=1e-12, atol=1e-12)


def test_generation_is_the_same():
    plain, fast, ids = twins()
    a, b = (model.generate(ids, 8, temperature=0) for model in (plain, fast))
    assert torch.equal(a, b)


@pytest.mark.parametrize(("static", "packed"), [(True, False), (False, True)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_routed_experts": 0, "q_lora_rank": None},
        pytest.param({"n_routed_experts": 6, "n_group": 3, "topk_group": 2}, marks=pytest.mark.slow),
        {"rope_interleave": False, "norm_topk_prob": False, "q_lora_rank": None},
        pytest.param({"n_shared_experts": 2}, marks=pytest.mark.slow),
        pytest.param({"n_shared_experts": 0}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_step_of_decoding_is_the_same(static, changes, packed, monkeypatch):
    """One kernel for attention, two for experts; prompts of different lengths, and a row that is cut back. The module
    that looks ahead sees a slot less. With matrices that were packed before, or without."""
    done = []
    for name in ("latent_attention.latent_attention", "router.route", "router.gate_all"):
        module = importlib.import_module(f"minidsk.kernels.{name.partition('.')[0]}")
        whole = getattr(module, name.partition(".")[2])
        monkeypatch.setattr(module, whole.__name__, lambda *a, _f=whole: done.append(_f.__name__) or _f(*a))
    config = dataclasses.replace(CONFIG, **changes)
    engines = []
    for backend in ("torch", "triton"):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = MiniDeepSeek(config, torch.Generator().manual_seed(0)).to(device).use(Kernels(step=backend))
        ids = torch.randint(40, (3, 5), generator=torch.Generator().manual_seed(1)).to(device)
        mask = (torch.arange(5) >= torch.tensor([[0], [3], [1]])).to(device)
        if packed and backend == "triton":
            model.pack()
        with torch.inference_mode():
            engine = Engine(model, 3, 16, mtp=True, static=static)
            engine.prefill(ids, mask)
            for step in range(6):
                if step == 3:
                    engine.truncate(torch.tensor([9, 2, 5], device=device))
                engine.step((ids[:, 0] + step) % 40)
            engines.append(engine)
    torch.testing.assert_close(engines[1].logits, engines[0].logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(engines[1].ahead[0], engines[0].ahead[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(engines[1].cache.entries, engines[0].cache.entries, rtol=1e-4, atol=1e-5)
    moe = {"route", "gate_all"} if config.has_experts and config.n_group == 1 else set()
    assert set(done) == {"latent_attention"} | moe


@pytest.mark.parametrize("shared", [0, 1, 2])
def test_packed_experts_are_those_of_the_last_packing(shared):
    """A step reads what was laid out, always from the same place, and so new weights count once they are laid out."""
    config = dataclasses.replace(CONFIG, n_shared_experts=shared)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = MiniDeepSeek(config, torch.Generator().manual_seed(0)).to(device).use(Kernels(step="triton"))
    moe, x = model.layers[1].mlp, torch.randn(3, 1, 24, generator=torch.Generator().manual_seed(1)).to(device)
    with torch.inference_mode():
        plain = moe(x)[0]
        model.pack()
        places = [matrix.data_ptr() for matrix in moe.packed]
        torch.testing.assert_close(moe(x)[0], plain, rtol=1e-5, atol=1e-7)
    with torch.no_grad():
        for weight in moe.parameters():
            weight.mul_(1.5)
    with torch.inference_mode():
        model.pack()
        changed = moe(x)[0]
        assert [matrix.data_ptr() for matrix in moe.packed] == places
        moe.packed = None
        torch.testing.assert_close(changed, moe(x)[0], rtol=1e-5, atol=1e-7)
    assert (changed - plain).abs().max() > 0.1 * plain.abs().max()


@pytest.mark.parametrize(
    ("changes", "packs"),
    [({}, True), ({"q_lora_rank": 10}, False), ({"attention_bias": True}, False), ({"kv_lora_rank": 64}, False)],
    ids=str,
)
def test_attention_s_matrices_are_multiplied_where_that_is_not_much_more(changes, packs):
    """And where nothing stands between them. New weights count once they are packed, at the same place."""
    config = dataclasses.replace(CONFIG, **{"q_lora_rank": None, **changes})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = MiniDeepSeek(config, torch.Generator().manual_seed(0)).to(device).use(Kernels(step="triton"))
    model.pack()
    attention = model.layers[0].self_attn
    assert (attention.packed is not None) == packs
    if packs:
        into, _ = attention.packed
        before, place = into.clone(), into.data_ptr()
        with torch.no_grad():
            attention.q_proj.weight.mul_(2.0)
        model.pack()
        assert attention.packed[0].data_ptr() == place
        queries = config.num_attention_heads * (config.kv_lora_rank + config.qk_rope_head_dim)
        torch.testing.assert_close(into[:queries], 2 * before[:queries])
        torch.testing.assert_close(into[queries:], before[queries:])


def test_each_operation_is_chosen_by_itself():
    plain, _, ids = twins()
    table = {name: getattr(Kernels(norm="triton"), name) for name in ("experts", "norm", "rotation", "loss", "step")}
    assert table == dict.fromkeys(table, "torch") | {"norm": "triton"}
    other = copy.deepcopy(plain).use(Kernels(norm="triton"))
    assert {module.kernels.norm for module in other.modules() if hasattr(module, "kernels")} == {"triton"}
    torch.testing.assert_close(other(ids).logits, plain(ids).logits, rtol=1e-5, atol=1e-6)


def test_only_two_backends():
    with pytest.raises(ValueError, match="norm: 'cuda' does not fit; it must be 'torch' or 'triton'"):
        Kernels(norm="cuda")


def test_off_means_off():
    code = ("import sys, torch; from minidsk import MiniDeepSeek, ModelConfig; "
            "MiniDeepSeek(ModelConfig())(torch.zeros(1, 3, dtype=torch.long)).logits.sum().backward(); "
            "sys.exit(any(name.startswith('minidsk.kernels.') and name != 'minidsk.kernels.dispatch' "
            "or name == 'triton' for name in sys.modules))")  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
