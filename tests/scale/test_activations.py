"""What a step is told to keep, against the tensors that a real step holds."""

import pytest
import torch

from minidsk.model import transformer
from minidsk.model.block import Block
from minidsk.model.config import ModelConfig
from minidsk.model.mtp import MTPModule
from minidsk.model.transformer import MiniDeepSeek
from minidsk.presets import nano, small
from minidsk.scale.activations import kept_numbers
from minidsk.scale.cost import parameters
from minidsk.scale.peak import Peak
from minidsk.train.loss import prediction_losses

NANO = nano().pretrain.model
CONFIGS = {
    "nano": NANO,
    "deep": NANO.replace(num_hidden_layers=8),
    "dense": NANO.replace(n_routed_experts=0),
    "compressed queries": NANO.replace(q_lora_rank=64, n_shared_experts=0, num_experts_per_tok=3),
    "small": small().pretrain.model.replace(num_nextn_predict_layers=0),
}


def step(config: ModelConfig, recompute: bool, mtp: float = 0.0) -> tuple[int, list[torch.Tensor]]:
    model = MiniDeepSeek(config, torch.Generator().manual_seed(0))
    model.recompute = recompute
    ids = torch.randint(config.vocab_size, (8, 129), generator=torch.Generator().manual_seed(1))
    with Peak() as peak:
        torch.stack(list(prediction_losses(model, ids, mtp)[0].values())).sum().backward()
    assert peak.now == sum(4 * p.numel() for p in model.parameters() if p.grad is not None)
    return peak.most, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_holds_what_was_counted(name: str) -> None:
    config, tokens = CONFIGS[name], 8 * 128
    kept, gradients = step(config, recompute=False)
    assert kept == pytest.approx(4 * tokens * kept_numbers(config), rel=0.1)
    again, same = step(config, recompute=True)
    assert again == pytest.approx(4 * (tokens * kept_numbers(config, True) + parameters(config)), rel=0.12)
    assert again < 0.6 * kept
    assert all(map(torch.equal, gradients, same))


def test_modules_that_look_ahead_are_computed_again_too(monkeypatch: pytest.MonkeyPatch) -> None:
    config, modules, compute = NANO.replace(num_nextn_predict_layers=2), [], transformer.recomputed
    monkeypatch.setattr(transformer, "recomputed", lambda *given: modules.append(type(given[0])) or compute(*given))
    kept, gradients = step(config, recompute=False, mtp=0.3)
    assert modules == []
    again, same = step(config, recompute=True, mtp=0.3)
    assert modules == [Block] * config.num_hidden_layers + [MTPModule] * 2
    assert again < 0.6 * kept
    assert all(map(torch.equal, gradients, same))


def test_what_is_seen_is_every_tensor_once() -> None:
    given = torch.ones(1000)
    with Peak() as peak:
        made = given * 2  # 4,000 bytes
        view = made[10:].view(-1)  # none
        view += 1
        assert peak.now == 4000
        more = torch.cat((made, given))  # 8,000
        del made, view
        assert (peak.now, peak.most) == (8000, 12000)
        del more
    assert (peak.now, peak.most) == (0, 12000)
