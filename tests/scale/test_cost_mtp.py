"""The cost of looking ahead, counted by torch itself as the model runs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.scale.cost import training_flops

DENSE = {"hidden_size": 64, "n_routed_experts": 0, "intermediate_size": 128}


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("time", [64, 512])
def test_training_flops_are_those_that_torch_counts(depth, time):
    config = ModelConfig(**DENSE, num_nextn_predict_layers=depth)
    model, ids = MiniDeepSeek(config), torch.zeros(1, time, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(ids)
    # Counted as if every token looked at the whole text; norms and the shorter texts of the modules are the rest.
    assert 3 * counter.get_total_flops() / time == pytest.approx(training_flops(config, time), rel=0.02)
