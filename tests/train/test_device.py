import pytest
import torch

from minidsk import MiniDeepSeek, ModelConfig
from minidsk.train.device import suited_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("hidden", "inside"), [(96, 1), (128, 2)])
def test_a_tiny_model_gets_one_thread_and_a_larger_one_what_is_set(two_threads, hidden, inside):
    model = MiniDeepSeek(ModelConfig(vocab_size=8, hidden_size=hidden, num_hidden_layers=1))
    with suited_threads(model):
        assert torch.get_num_threads() == inside
    assert torch.get_num_threads() == 2


def test_the_threads_come_back_after_an_error(two_threads):
    model = MiniDeepSeek(ModelConfig(vocab_size=8, hidden_size=32, num_hidden_layers=1))
    with pytest.raises(KeyError), suited_threads(model):
        raise KeyError
    assert torch.get_num_threads() == 2
