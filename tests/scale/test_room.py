import pytest
import torch

from minidsk.model.config import ModelConfig
from minidsk.scale import room
from minidsk.scale.cost import parameters
from minidsk.train.pretrain import PretrainConfig, pretrain

CPU = torch.device("cpu")


@pytest.mark.parametrize("changes", [{"hidden_size": 10**7}, {"num_hidden_layers": 10**9}, {"vocab_size": 10**9},
                                     {"num_nextn_predict_layers": 10**9}])  # fmt: skip
def test_what_no_machine_holds_is_refused_before_it_is_built(changes, tmp_path):
    with pytest.raises(ValueError, match=r"^model: [\d.e+]+ parameters take [\d,]+ GB, and cpu has [\d,]+ GB; make"):
        pretrain(PretrainConfig(ModelConfig(**{"vocab_size": 200, **changes})), tmp_path / "run", device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_it_is_the_memory_that_decides(monkeypatch):
    config = ModelConfig(num_nextn_predict_layers=1)
    needed = 16 * parameters(config, mtp=True)
    monkeypatch.setattr(room, "memory", lambda device: needed)
    room.check_room(config, CPU)
    monkeypatch.setattr(room, "memory", lambda device: needed - 1)
    with pytest.raises(ValueError, match="^model: 1.9e.06 parameters take 0 GB, and cpu has 0 GB; make hidden_size"):
        room.check_room(config, CPU)
