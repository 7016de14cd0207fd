"""What the tests of decoding share."""

import pytest
import torch

from minidsk.presets import nano
from minidsk.rl.policy import load_policy


@pytest.fixture(scope="session")
def base():
    """A trained base, for reading only."""
    return load_policy("nano-base")


@pytest.fixture(scope="session")
def posed():
    """Ten held-out problems for it."""
    task = nano().make_task("test")
    return [task[i] for i in range(10)]


@pytest.fixture
def prompts(ids):
    """Left-padded prompts ``[3, 6]`` of lengths 6, 1 and 4, and which of their tokens are valid."""
    valid = torch.ones(3, 6, dtype=torch.bool)
    valid[1, :5] = valid[2, :2] = False
    return ids[:, :6] * valid, valid


@pytest.fixture
def echo(make):
    """Makes models whose MTP modules guess well now and then: small steps away from repeating themselves."""

    def model(*seed, **changes):
        made = make(*seed, **changes)
        with torch.no_grad():
            for module in (*made.layers, *(module.block for module in made.mtp)):
                module.self_attn.o_proj.weight.mul_(0.3)
            for module in made.mtp:
                half = module.eh_proj.in_features // 2
                module.eh_proj.weight.zero_()
                module.eh_proj.weight[:, half:] = torch.eye(half, dtype=module.eh_proj.weight.dtype)
        return made

    return model
