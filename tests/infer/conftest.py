"""What the tests of decoding share."""

import pytest
import torch


@pytest.fixture
def prompts(ids):
    """Left-padded prompts ``[3, 6]`` of lengths 6, 1 and 4, and which of their tokens are valid."""
    valid = torch.ones(3, 6, dtype=torch.bool)
    valid[1, :5] = valid[2, :2] = False
    return ids[:, :6] * valid, valid
