import dataclasses
import json

import pytest
import torch

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.model import transformer
from minidsk.model.config import ModelConfig
from minidsk.model.moe import update_bias
from minidsk.model.transformer import MiniDeepSeek
from minidsk.train import pretrain as loop_of_pretraining
from minidsk.train.checkpoint import Run, RunError
from minidsk.train.loop import Slices
from minidsk.train.optim import OptimConfig, Optimizer
from minidsk.train.pretrain import PackedPages, PretrainConfig, pretrain, read_config, train_step

TOKENIZER = CharTokenizer()
TINY = ModelConfig(vocab_size=TOKENIZER.vocab_size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                   kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=4, intermediate_size=24,
                   moe_intermediate_size=8, n_routed_experts=4, num_experts_per_tok=2, num_nextn_predict_layers=1,
                   initializer_range=0.1)  # fmt: skip
OPTIM = OptimConfig(lr=0.02, warmup=3, weight_decay=0.1, muon=True)
CONFIG = PretrainConfig(TINY, TinyWebConfig(), steps=20, batch=4, context=32, optim=OPTIM, save_every=6)


def optimizer_of(model, lr):
    return Optimizer(model, OptimConfig(lr=lr), 1)


class Stopped(Exception):
    pass


@pytest.fixture
def stop_after(monkeypatch):
    """Lets a run die after its step `last` is logged."""
    log = Run.log

    def arrange(last):
        def deadly(self, **metrics):
            log(self, **metrics)
            if metrics["step"] >= last:
                raise Stopped

        monkeypatch.setattr(Run, "log", deadly)

    return arrange


def logged(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in ("seconds", "waited")} for line in lines]


def test_batches_are_pages_packed_end_to_end():
    web = TinyWeb(CONFIG.web, seed=3)
    data = PackedPages(web, TOKENIZER, batch=3, context=100)
    batch = data[5]
    assert batch.shape == (3, 101)
    assert batch.dtype == torch.int64
    for number, row in enumerate(batch.tolist(), start=15):
        pages = [f"<bos>{web[number * 64 + k]}<eos>" for k in range(20)]
        assert TOKENIZER.decode(row) == TOKENIZER.decode(TOKENIZER.encode("".join(pages)))[: len(TOKENIZER.decode(row))]
        assert row[0] == TOKENIZER.bos_id
    assert torch.equal(batch, PackedPages(TinyWeb(CONFIG.web, seed=3), TOKENIZER, 3, 100)[5])
    assert not torch.equal(batch, data[6])
    assert not torch.equal(batch, PackedPages(TinyWeb(CONFIG.web, seed=4), TOKENIZER, 3, 100)[5])


def test_the_loss_is_that_of_the_next_token():
    """The reported losses against a direct computation in float64, with the targets shifted by hand."""
    model = MiniDeepSeek(TINY, torch.Generator().manual_seed(0)).double()
    ids = PackedPages(TinyWeb(), TOKENIZER, 2, 20)[0]
    with torch.no_grad():
        out = model(ids[:, :-1])
    main = out.logits.log_softmax(-1)
    expected = -sum(main[b, t, ids[b, t + 1]] for b in range(2) for t in range(20)) / 40
    ahead = out.mtp_logits[0].log_softmax(-1)
    mtp = -0.3 * sum(ahead[b, t, ids[b, t + 2]] for b in range(2) for t in range(19)) / 40
    losses, _ = train_step(model, optimizer_of(model, 1e-9), ids, dataclasses.replace(CONFIG, balance=0.0))
    assert float(losses["loss"]) == pytest.approx(float(expected), rel=1e-6)
    assert float(losses["mtp_loss"]) == pytest.approx(float(mtp), rel=1e-6)
    assert "balance_loss" not in losses


def test_a_step_moves_the_bias_of_every_router():
    model = MiniDeepSeek(TINY, torch.Generator().manual_seed(0))
    before = [router.e_score_correction_bias.clone() for router in model.routers()]
    ids = PackedPages(TinyWeb(), TOKENIZER, 2, 20)[0]
    with torch.no_grad():
        routings = model(ids[:, :-1]).routing
    _, loads = train_step(model, optimizer_of(model, 0.01), ids, dataclasses.replace(CONFIG, bias_speed=0.5))
    assert len(before) == len(routings) == 2  # the second layer, and the module that looks ahead
    for old, router, routing in zip(before, model.routers(), routings, strict=True):
        assert torch.equal(router.e_score_correction_bias, update_bias(old, routing.load(), 0.5))
    assert torch.equal(loads, torch.stack([routing.load() for routing in routings]))


@pytest.mark.parametrize("isolate", [False, True])
def test_the_settings_decide_whether_attention_crosses_pages(tmp_path, monkeypatch, isolate):
    """What reaches the loss: documents that begin at each page's first token, or none."""
    seen = []
    losses = loop_of_pretraining.prediction_losses

    def watched(model, ids, weight, documents=None):
        seen.append((ids, documents))
        return losses(model, ids, weight, documents)

    monkeypatch.setattr(loop_of_pretraining, "prediction_losses", watched)
    config = dataclasses.replace(CONFIG, steps=2, context=100, isolate=isolate)
    pretrain(config, tmp_path, device="cpu", progress=False)
    assert len(seen) == 2
    for ids, documents in seen:
        starts = (ids[:, :-1] == TOKENIZER.bos_id).long()
        assert starts.sum() > len(ids), "a row holds several pages"
        if isolate:
            assert torch.equal(documents, starts.cumsum(1))
        else:
            assert documents is None


@pytest.mark.parametrize("rows", [1, 3])
def test_slices_make_one_step(rows):
    """In slices of rows, as after running out of memory, weights and biases move as by the whole batch."""
    ids = PackedPages(TinyWeb(), TOKENIZER, 4, 20)[0]
    models, figures = [], []
    for slices in (None, Slices(rows)):
        model = MiniDeepSeek(TINY, torch.Generator().manual_seed(0)).double()
        config = dataclasses.replace(CONFIG, bias_speed=0.5)
        found, loads = train_step(model, optimizer_of(model, 0.01), ids, config, TOKENIZER.bos_id, slices)
        figures.append({**found, "loads": loads})
        models.append(model)
    for name, value in models[0].state_dict().items():
        torch.testing.assert_close(models[1].state_dict()[name], value, rtol=1e-6, atol=1e-7)
    assert figures[0].keys() == figures[1].keys()
    for name, value in figures[0].items():
        torch.testing.assert_close(figures[1][name], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("last", [10, 20])
def test_resumed_equals_uninterrupted(tmp_path, stop_after, monkeypatch, last):
    pretrain(CONFIG, tmp_path / "whole", device="cpu", progress=False)
    stop_after(last)
    with pytest.raises(Stopped):
        pretrain(CONFIG, tmp_path / "parts", device="cpu", progress=False)
    monkeypatch.undo()
    pretrain(CONFIG, tmp_path / "parts", device="cpu", progress=False)
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_loss_falls_and_a_finished_run_is_not_done_again(tmp_path):
    pretrain(CONFIG, tmp_path, device="cpu", progress=False)
    lines = logged(tmp_path)
    assert [line["step"] for line in lines] == [10, 20]
    assert lines[-1]["loss"] < lines[0]["loss"] < 5.3  # the logarithm of 181 tokens is 5.2
    assert lines[-1]["tokens"] == 20 * 4 * 32
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    pretrain(CONFIG, tmp_path, device="cpu", progress=False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


@pytest.mark.parametrize("less", [{"rows": 3}, {"recompute": True}, {"rows": 1, "recompute": True}])
def test_less_memory_teaches_the_same(tmp_path, monkeypatch, less):
    """Slices of rows, and blocks that are computed again, in a run: seen at what is computed, and in the losses."""
    slices, again = [], []
    monkeypatch.setattr(loop_of_pretraining, "Slices", lambda rows: slices.append(rows) or Slices(rows))
    compute = transformer.recomputed
    monkeypatch.setattr(transformer, "recomputed", lambda *given: again.append(1) or compute(*given))
    config = dataclasses.replace(CONFIG, steps=3)
    losses = []
    for name, settings in (("plain", config), ("less", dataclasses.replace(config, **less))):
        model = pretrain(settings, tmp_path / name, device="cpu", progress=False)
        losses.append(evaluated(model))
    assert slices == [4, less.get("rows", 4)]
    assert bool(again) == ("recompute" in less)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def evaluated(model):
    ids = torch.randint(TOKENIZER.vocab_size, (2, 20), generator=torch.Generator().manual_seed(0))
    return model(ids).logits


def test_other_data_can_be_given(tmp_path):
    class Counting(torch.utils.data.Dataset):
        fingerprint = "counting"

        def __getitem__(self, i):
            return torch.arange(11).repeat(2, 1) + i

    config = dataclasses.replace(CONFIG, steps=10, batch=2, context=10)
    model = pretrain(config, tmp_path, data=Counting(), device="cpu", progress=False)
    assert isinstance(model, MiniDeepSeek)
    other = Counting()
    other.fingerprint = "another"
    with pytest.raises(RunError, match="holds another run .*given.data is 'counting', not 'another'"):
        pretrain(config, tmp_path, data=other, device="cpu", progress=False)
    with pytest.raises(RunError, match=r"holds another run .*given.tokenizer"):
        pretrain(config, tmp_path, data=Counting(), tokenizer=CharTokenizer("abc"), device="cpu", progress=False)
    with pytest.raises(ValueError, match="^data: has no fingerprint"):
        pretrain(config, tmp_path, data=[torch.zeros(2, 11).long()], device="cpu", progress=False)


def test_too_few_ids_for_the_tokenizer_are_refused(tmp_path):
    config = dataclasses.replace(CONFIG, model=TINY.replace(vocab_size=50))
    with pytest.raises(ValueError, match=f"vocab_size: 50 does not fit; it must be {TOKENIZER.vocab_size}"):
        pretrain(config, tmp_path / "run", device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["steps", "batch", "context", "save_every"])
def test_impossible_settings_are_named(name):
    with pytest.raises(ValueError, match=f"^{name}: 0 does not fit"):
        dataclasses.replace(CONFIG, **{name: 0})


def test_settings_are_read_back(tmp_path):
    Run(tmp_path, "pretrain", CONFIG)
    assert read_config(tmp_path) == CONFIG
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["minidsk"].pop("sha256")
    content["minidsk"]["settings"]["model"]["hiden_size"] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"config\.json: not the settings .*hiden_size"):
        read_config(tmp_path)
    with pytest.raises(RunError, match="no base model there"):
        read_config(tmp_path / "nowhere")
