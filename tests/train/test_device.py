import pytest
import torch

from minidsk.train.device import pick_device, threads_for


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


@pytest.mark.parametrize("name", ["mps", "meta", "xpu", "", "cuda:", "cuda:-1", "cpu:1", "x" * 5000, "é"])
def test_other_devices_are_refused(name):
    with pytest.raises(ValueError, match="^device: .{1,40} is not known; give auto, cpu or cuda$"):
        pick_device(name)


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1").index == 1
    with pytest.raises(ValueError, match="^device: cuda:2 is not there; the last one is cuda:1$"):
        pick_device("cuda:2")
