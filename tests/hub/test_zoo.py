import hashlib

import pytest
import torch

import minidsk
from minidsk.hub import zoo
from minidsk.hub.folder import about
from minidsk.hub.hf import CheckpointError, save_pretrained
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A shelf with one checkpoint, "tiny"."""
    monkeypatch.setattr(zoo, "shelves", lambda kind: [tmp_path / "none", tmp_path / "shelf"])
    save_pretrained(MiniDeepSeek(ModelConfig(hidden_size=16, num_hidden_layers=1)), tmp_path / "shelf" / "tiny")
    (tmp_path / "shelf" / "README.md").write_text("")
    return tmp_path / "shelf"


def test_by_name_and_by_folder(shelf):
    assert zoo.names() == ["tiny"]
    assert zoo.find("tiny") == shelf / "tiny"
    for where in ("tiny", shelf / "tiny", str(shelf / "tiny")):
        model = minidsk.load(where)
        assert model.config.hidden_size == 16
        assert not model.training
    assert minidsk.load("tiny", dtype=torch.bfloat16).lm_head.weight.dtype == torch.bfloat16


def test_a_checkpoint_of_another_sum_is_refused(shelf):
    """One bit of one weight, which loads as well as any other."""
    save_pretrained(MiniDeepSeek(ModelConfig(hidden_size=16, num_hidden_layers=1)), shelf / "tiny", extra={})
    minidsk.load("tiny")
    weights = shelf / "tiny" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged, it is not what was written; put"):
        minidsk.load("tiny")


def test_a_name_goes_before_a_folder_beside(shelf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert zoo.find("tiny") == shelf / "tiny"
    assert not zoo.find("./tiny").is_absolute()


@pytest.mark.parametrize("name", ["huge", "", "../shelf/nothing", "tiny/model.safetensors"])
def test_unknown_names_are_told_the_known_ones(shelf, name):
    with pytest.raises(CheckpointError, match=r"no such checkpoint or folder; known names: tiny$"):
        minidsk.load(name)


def test_every_checkpoint_that_ships_can_be_loaded():
    for name in zoo.names():
        model = minidsk.load(name)
        assert torch.isfinite(model(torch.zeros(1, 4, dtype=torch.long)).logits).all()


@pytest.mark.parametrize("name", zoo.names())
def test_our_checkpoints_know_their_sums(name):
    folder = zoo.find(name)
    assert set(about(folder)["files"]) == {"config.json", "model.safetensors", "tokenizer.json"}
    minidsk.load(name)


@pytest.mark.parametrize("name", zoo.names())
def test_a_card_is_of_its_weights(name):
    """The card has the sum of the file, its table's figure, and a size that the repository can carry."""
    folder = zoo.find(name)
    weights, card = folder / "model.safetensors", (folder / "README.md").read_text(encoding="utf-8")
    assert f"`{hashlib.sha256(weights.read_bytes()).hexdigest()}`" in card
    assert weights.stat().st_size <= 16 * 2**20
    assert f"[{name}]({name}/README.md)" in (folder.parent / "README.md").read_text(encoding="utf-8")
    for word in ("Trained by", "Scores", "greedy, at most", "95 %" if name != "sos-zero" else "10,000", "Licence"):
        assert word in card
