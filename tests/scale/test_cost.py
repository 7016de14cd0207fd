import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from minidsk.model.config import ModelConfig
from minidsk.model.moe import Experts
from minidsk.model.transformer import MiniDeepSeek
from minidsk.presets import PRESETS
from minidsk.scale.cost import forward_flops, parameters, training_flops

BASE = ModelConfig(vocab_size=40, hidden_size=32, num_hidden_layers=3, kv_lora_rank=24, intermediate_size=48,
                   moe_intermediate_size=16)  # fmt: skip
CONFIGS = {
    "plain": BASE,
    "compressed queries": BASE.replace(q_lora_rank=20),
    "biases": BASE.replace(q_lora_rank=20, attention_bias=True),
    "biases without compressed queries": BASE.replace(attention_bias=True),
    "tied": BASE.replace(tie_word_embeddings=True),
    "dense": BASE.replace(n_routed_experts=0),
    "no shared experts": BASE.replace(n_shared_experts=0, n_routed_experts=6, num_experts_per_tok=3),
    "looking ahead": BASE.replace(num_nextn_predict_layers=2),
    **{name: make().pretrain.model for name, make in PRESETS.items()},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_of_the_tensors(name):
    model = MiniDeepSeek(CONFIGS[name], torch.Generator().manual_seed(0))
    main = {n: p for n, p in model.named_parameters() if not n.startswith("mtp.")}
    assert parameters(CONFIGS[name]) == sum(p.numel() for p in main.values())
    assert parameters(CONFIGS[name], mtp=True) == sum(p.numel() for p in model.parameters())
    idle = sum(
        (1 - CONFIGS[name].num_experts_per_tok / CONFIGS[name].n_routed_experts) * p.numel()
        for module_name, module in model.named_modules() if isinstance(module, Experts) and "mtp" not in module_name
        for p in module.parameters()
    )  # fmt: skip
    assert parameters(CONFIGS[name], active=True) == parameters(CONFIGS[name]) - round(idle)


def counted(config, batch, time, backward):
    model = MiniDeepSeek(config, torch.Generator().manual_seed(0))
    ids = torch.randint(config.vocab_size, (batch, time), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        out = model(ids, mtp=True)
        if backward:
            torch.stack([logits.sum() for logits in (out.logits, *out.mtp_logits)]).sum().backward()
    return counter.get_total_flops() / (batch * time)


DENSE = BASE.replace(n_routed_experts=0, hidden_size=64, intermediate_size=128)


@pytest.mark.parametrize(("config", "time"), [(DENSE, 16), (DENSE, 128), (DENSE.replace(tie_word_embeddings=True), 16)])
def test_forward_operations_are_those_that_torch_counts(config, time):
    """A whole square of attention is counted there: each token looks at `time` others."""
    assert forward_flops(config, time) == pytest.approx(counted(config, 2, time, backward=False), rel=0.03)


@pytest.mark.parametrize("depth", [0, 1])
def test_training_operations_are_three_times_as_many(depth):
    config = DENSE.replace(num_nextn_predict_layers=depth)
    assert training_flops(config, 96) == pytest.approx(counted(config, 2, 96, backward=True), rel=0.05)
    assert training_flops(config, 96, mtp=False) == 3 * forward_flops(config, 96)
