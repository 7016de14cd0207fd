import pytest
import torch

from minidsk.train.device import threads_for


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("hidden", "inside"), [(96, 1), (128, 2)])
def test_a_tiny_model_gets_one_thread_and_a_larger_one_what_is_set(two_threads, hidden, inside):
    with threads_for(torch.device("cpu"), hidden):
        assert torch.get_num_threads() == inside
    assert torch.get_num_threads() == 2


def test_the_threads_come_back_after_an_error(two_threads):
    with pytest.raises(KeyError), threads_for(torch.device("cpu"), 32):
        raise KeyError
    assert torch.get_num_threads() == 2
