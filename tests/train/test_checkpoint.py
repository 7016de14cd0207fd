import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch

from minidsk.atomic import WriteError, atomic
from minidsk.data.tokenizer import CharTokenizer
from minidsk.hub.hf import CheckpointError
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.policy import MiniPolicy
from minidsk.train.checkpoint import Run, RunError, load_checkpoint, read_metrics

TINY = ModelConfig(vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, kv_lora_rank=4,
                   qk_nope_head_dim=4, qk_rope_head_dim=2, v_head_dim=4, intermediate_size=8,
                   n_routed_experts=0)  # fmt: skip
TOKENIZER = CharTokenizer("abcdef")


@dataclass(frozen=True)
class Settings:
    lr: float = 0.1
    sizes: tuple[int, ...] = (1, 2)


def tiny(seed=0):
    return MiniDeepSeek(TINY, torch.Generator().manual_seed(seed))


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_half(path, error):
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise error


def test_atomic_writes_all_or_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(KeyError):
        write_half(path, KeyError())
    assert contents(tmp_path) == {"file": b"before"}
    with atomic(path) as temporary:
        temporary.write_text("after")
        assert path.read_text() == "before"
    assert contents(tmp_path) == {"file": b"after"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("write failed\nat line 3")])
def test_a_write_that_fails_is_one_line_and_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(WriteError, match="file: not written .*; free some space") as caught:
        write_half(path, error)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == {"file": b"before"}


# A limit on the size of files fails writes as a full disk does.
FULL = """
import resource, sys, torch
from pathlib import Path
from minidsk.atomic import WriteError
from minidsk.train.checkpoint import Run
model = torch.nn.Linear(100, 100)
run = Run(sys.argv[1], "stage", {})
run.save_state(1, model=model)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    run.save_state(2, model=model)
except WriteError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 20_000])
def test_a_full_disk_keeps_the_earlier_state(tmp_path, limit):
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path / "run", str(limit)], capture_output=True, text=True,
                          check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))  # fmt: skip
    assert done.returncode == 0, done.stderr[-1000:]
    assert "latest.pt: not written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert sorted(contents(tmp_path / "run")) == ["config.json", "state/latest.pt"]
    assert Run(tmp_path / "run", "stage", {}).load_state(model=torch.nn.Linear(100, 100)) == 1


def test_other_settings_are_refused_and_named(tmp_path):
    Run(tmp_path, "sft", Settings())
    before = contents(tmp_path)
    Run(tmp_path, "sft", Settings())
    with pytest.raises(RunError, match=r"settings\.lr is 0\.1, not 0\.2"):
        Run(tmp_path, "sft", Settings(lr=0.2))
    with pytest.raises(RunError, match=r"settings\.sizes is \[1, 2\], not \[1\]"):
        Run(tmp_path, "sft", Settings(sizes=(1,)))
    with pytest.raises(RunError, match=r"stage is 'sft', not 'zero'"):
        Run(tmp_path, "zero", Settings())
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", [
    "{", "[1]", "\xff", '"a"', '{"minidsk": 1}', '{"minidsk": {"settings": 1}}', '{"minidsk": {"summary": 1}}',
    "[" * 10**5,
], ids=lambda text: text[:30])  # fmt: skip
def test_a_damaged_config_is_one_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"config\.json( cannot|: damaged|: says of no|.*object)") as caught:
        Run(tmp_path, "sft", Settings())
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        Run(tmp_path / "file" / "run", "sft", {})


def trained(steps=3):
    model = tiny()
    optimizers = [torch.optim.AdamW(model.parameters(), lr=0.01), torch.optim.SGD(model.parameters(), lr=0.01)]
    for _ in range(steps):
        model(torch.tensor([[1, 2, 3]])).logits.square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return model, Parts(optimizers)


class Parts:
    """Several optimizers as one part of a state."""

    def __init__(self, parts):
        self.parts = parts

    def state_dict(self):
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state):
        for part, values in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(values)


def test_a_state_brings_everything_back(tmp_path):
    model, optimizers = trained()
    run = Run(tmp_path, "stage", {})
    for step in range(1, 6):
        run.log(step=step, loss=1 / step)
    run.save_state(3, model=model, optimizers=optimizers)
    again, fresh = trained(0)
    resumed = Run(tmp_path, "stage", {})
    assert resumed.load_state(model=again, optimizers=fresh) == 3
    assert [line["step"] for line in resumed.metrics()] == [1, 2, 3]  # what came after the state is forgotten
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert str(fresh.state_dict()) == str(optimizers.state_dict())
    assert resumed.seconds >= torch.load(tmp_path / "state/latest.pt", weights_only=True)["seconds"]


def test_without_a_state_it_starts_again(tmp_path):
    run = Run(tmp_path, "stage", {})
    run.log(step=1)
    assert run.load_state(model=tiny()) == 0
    assert run.metrics() == []


def test_a_line_cut_short_by_a_crash_is_passed_over(tmp_path):
    run = Run(tmp_path, "stage", {})
    run.log(step=1)
    run.log(step=2)
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text()[:-4])
    assert read_metrics(tmp_path) == [{"step": 1}]
    run.save_state(1, model=tiny())
    assert run.load_state(model=tiny()) == 1
    run.log(step=2)
    assert [line["step"] for line in run.metrics()] == [1, 2]


def test_metrics_that_are_not_text_are_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff')
    with pytest.raises(RunError, match=r"metrics\.jsonl: not readable as UTF-8; delete it"):
        read_metrics(tmp_path)


def spoil_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_bits(path):
    content = bytearray(path.read_bytes())
    content[: len(content) // 2] = b"x" * (len(content) // 2)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("spoil", [
    spoil_half, spoil_bits, lambda path: path.write_bytes(b""), lambda path: torch.save({"step": 1}, path),
    lambda path: torch.save([1], path), lambda path: torch.save({"step": 1, "seconds": 0.0, "model": {}}, path),
    lambda path: path.write_bytes(b"cos\nsystem\n(S'true'\ntR."),
])  # fmt: skip
def test_a_damaged_state_is_one_line(tmp_path, spoil):
    run = Run(tmp_path, "stage", {})
    run.save_state(1, model=tiny())
    spoil(tmp_path / "state" / "latest.pt")
    with pytest.raises(RunError, match=r"latest\.pt: damaged; delete .*state to start this stage again") as caught:
        run.load_state(model=tiny())
    assert "\n" not in str(caught.value)


def test_a_finished_run_is_a_checkpoint(tmp_path):
    run = Run(tmp_path, "stage", Settings())
    run.save_state(1, model=tiny())
    assert not run.finished
    run.finish(MiniPolicy(tiny(3), TOKENIZER).save, tokens=7)
    assert run.finished
    assert not (tmp_path / "state").exists()
    about = json.loads((tmp_path / "config.json").read_text())["minidsk"]
    assert about["summary"]["tokens"] == 7
    assert about["tokenizer"] == TOKENIZER.fingerprint
    Run(tmp_path, "stage", Settings())  # still the same run
    model, tokenizer = load_checkpoint(tmp_path)
    torch.testing.assert_close(model.state_dict(), tiny(3).state_dict(), rtol=0, atol=0)
    assert tokenizer.fingerprint == TOKENIZER.fingerprint


def test_a_run_that_died_while_finishing_is_not_finished(tmp_path, monkeypatch):
    run = Run(tmp_path, "stage", Settings())
    run.save_state(1, model=tiny())
    replace = os.replace

    def dying(source, target):
        if str(target).endswith("config.json"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        run.finish(MiniPolicy(tiny(), TOKENIZER).save)
    monkeypatch.undo()
    assert (tmp_path / "model.safetensors").exists()
    again = Run(tmp_path, "stage", Settings())
    assert not again.finished
    assert again.load_state(model=tiny()) == 1
    with pytest.raises(RunError, match="no finished run there"):
        load_checkpoint(tmp_path)


def test_another_tokenizer_is_refused(tmp_path):
    Run(tmp_path, "stage", {}).finish(MiniPolicy(tiny(), TOKENIZER).save)
    CharTokenizer("abcdeg").save(tmp_path)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: damaged"):
        load_checkpoint(tmp_path)


def test_a_tokenizer_too_large_for_the_weights_is_refused(tmp_path):
    """Also where the folder is not ours and says nothing of its tokenizer."""
    from minidsk.hub.hf import save_pretrained

    save_pretrained(tiny(), tmp_path, CharTokenizer("abcdefghijk"))
    with pytest.raises(RunError, match=r"tokenizer\.json is not the one of these weights"):
        load_checkpoint(tmp_path)


def test_missing_and_damaged_checkpoints_are_one_line(tmp_path):
    with pytest.raises(RunError, match="no finished run there"):
        load_checkpoint(tmp_path)
    Run(tmp_path, "stage", {}).finish(MiniPolicy(tiny(), TOKENIZER).save)
    spoil_half(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
        load_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load_checkpoint(tmp_path)
