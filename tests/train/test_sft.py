import dataclasses
import json

import pytest
import torch

from minidsk.data.tokenizer import CharTokenizer
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.policy import MiniPolicy
from minidsk.train.checkpoint import Run, RunError
from minidsk.train.optim import OptimConfig
from minidsk.train.sft import SFTConfig, fine_tune, read_examples

TOKENIZER = CharTokenizer("abcd")
TINY = ModelConfig(vocab_size=TOKENIZER.vocab_size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                   kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=4, intermediate_size=24,
                   n_routed_experts=0, initializer_range=0.2)  # fmt: skip
EXAMPLES = [("a", "cb"), ("ab", "c"), ("c", "dd")]


def tiny():
    return MiniPolicy(MiniDeepSeek(TINY, torch.Generator().manual_seed(0)), TOKENIZER)


def config_of(lr, **changes):
    return SFTConfig(optim=OptimConfig(lr=lr, warmup=5), **changes)


def test_only_answers_are_learnt():
    batch = tiny().encode(["ab", "a"], ["c", "bcd"])
    a, b, c, d = TOKENIZER.encode("abcd")
    bos, eos, pad = TOKENIZER.bos_id, TOKENIZER.eos_id, TOKENIZER.pad_id
    assert batch.ids.tolist() == [[bos, a, b, c, eos, pad, pad], [pad, bos, a, b, c, d, eos]]
    assert batch.attention_mask.tolist() == [[True] * 5 + [False] * 2, [False] + [True] * 6]
    assert batch.tokens.tolist() == [[c, eos, pad, pad], [b, c, d, eos]]
    assert batch.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.texts == ["c", "bcd"]
    assert batch.ended.all()


def test_the_loss_is_the_mean_over_the_answers_tokens(tmp_path):
    policy = tiny()
    model = policy.model.double()
    with torch.no_grad():
        rows = [[TOKENIZER.bos_id, *TOKENIZER.encode(p + c), TOKENIZER.eos_id] for p, c in EXAMPLES[:2]]
        losses = []
        for (prompt, _), row in zip(EXAMPLES, rows, strict=False):
            logp = model(torch.tensor([row])).logits[0].log_softmax(-1)
            losses.append([-float(logp[t - 1, row[t]]) for t in range(1 + len(prompt), len(row))])
    config = config_of(1e-9, steps=1, batch=1, seed=0)
    fine_tune(policy, EXAMPLES[:2], config, Run(tmp_path, "sft", config), progress=False)
    loss = json.loads((tmp_path / "metrics.jsonl").read_text())["loss"]
    assert any(loss == pytest.approx(sum(each) / len(each), rel=1e-12) for each in losses)


def test_it_learns_the_examples(tmp_path):
    policy, config = tiny(), config_of(0.01, steps=100, batch=8)
    fine_tune(policy, EXAMPLES, config, Run(tmp_path, "sft", config), progress=False)
    assert policy.sample([p for p, _ in EXAMPLES], 1, 5, 0.0).texts == [c for _, c in EXAMPLES]


def test_resumed_equals_uninterrupted(tmp_path, monkeypatch):
    config = config_of(0.02, steps=9, batch=4, save_every=2)
    fine_tune(tiny(), EXAMPLES, config, Run(tmp_path / "whole", "sft", config), progress=False)
    log = Run.log

    def deadly(self, **metrics):
        log(self, **metrics)
        if metrics["step"] == 5:
            raise KeyError("stopped")

    monkeypatch.setattr(Run, "log", deadly)
    with pytest.raises(KeyError):
        fine_tune(tiny(), EXAMPLES, config, Run(tmp_path / "parts", "sft", config), progress=False)
    monkeypatch.undo()
    run = Run(tmp_path / "parts", "sft", config)
    fine_tune(tiny(), EXAMPLES, config, run, progress=False)
    lines = [Run(tmp_path / name, "sft", config).metrics() for name in ("whole", "parts")]
    for line in (*lines[0], *lines[1]):
        line.pop("seconds")
    assert lines[0] == lines[1]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    about = [json.loads((tmp_path / name / "config.json").read_text())["minidsk"] for name in ("whole", "parts")]
    assert about[0]["summary"]["flops"] == about[1]["summary"]["flops"]


def test_other_examples_are_another_run(tmp_path):
    config = config_of(0.02, steps=2, batch=4)
    fine_tune(tiny(), EXAMPLES, config, Run(tmp_path, "sft", config), progress=False)
    weights = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match=r"holds another run \(given.examples is"):
        fine_tune(tiny(), EXAMPLES[:-1], config, Run(tmp_path, "sft", config), progress=False)
    assert (tmp_path / "model.safetensors").read_bytes() == weights


def test_examples_from_a_file(tmp_path):
    path = tmp_path / "examples.jsonl"
    path.write_text('{"prompt": "问", "completion": "答"}\n{"prompt": "a", "completion": "b", "note": 1}\n', "utf-8")
    assert read_examples(path) == [("问", "答"), ("a", "b")]


@pytest.mark.parametrize(("text", "says"), [
    ("", "holds no examples"), ("{}", "line 1"), ('{"prompt": "a", "completion": "b"}\nx', "line 2"), ("[1]", "line 1"),
])  # fmt: skip
def test_bad_files_say_which_line(tmp_path, text, says):
    path = tmp_path / "examples.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"examples.jsonl.*{says}"):
        read_examples(path)


def test_examples_that_are_not_text_or_too_long_are_named(tmp_path):
    path = tmp_path / "examples.jsonl"
    path.write_bytes(b'{"prompt": "a", "completion": "\xff"}')
    with pytest.raises(ValueError, match=r"examples\.jsonl: not UTF-8 at byte 31; save it as UTF-8"):
        read_examples(path)
    path.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "aaa", "completion": "bbb"}')
    assert len(read_examples(path, CharTokenizer(), positions=7)) == 2
    with pytest.raises(ValueError, match=r"jsonl, line 2: 7 tokens, and this model was made for 6"):
        read_examples(path, CharTokenizer(), positions=6)


def test_impossible_settings_are_named():
    for name in ("steps", "batch", "save_every"):
        with pytest.raises(ValueError, match=f"^{name}: -1 does not fit"):
            dataclasses.replace(SFTConfig(), **{name: -1})
