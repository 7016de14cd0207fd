import contextlib
import functools
import json
import os
import pathlib
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import DeepseekV3ForCausalLM

from minidsk.data.tokenizer import CharTokenizer, load_tokenizer
from minidsk.hub import hf
from minidsk.hub.hf import CheckpointError, load_pretrained, save_pretrained
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek

SMALL = ModelConfig(vocab_size=40, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=8,
                    qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=6, intermediate_size=20,
                    moe_intermediate_size=8, n_routed_experts=4)  # fmt: skip
IDS = torch.arange(12).view(2, 6)


@pytest.fixture
def make(random_weights):
    def model(**changes) -> MiniDeepSeek:
        made = MiniDeepSeek(SMALL.replace(**changes))
        random_weights(made)
        return made

    return model


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a)


CHANGES = [{}, {"num_nextn_predict_layers": 2}, {"tie_word_embeddings": True, "num_nextn_predict_layers": 1},
           {"n_routed_experts": 0}, {"first_k_dense_replace": 2}, {"n_shared_experts": 0, "first_k_dense_replace": 0},
           {"q_lora_rank": 10, "attention_bias": True}, {"rope_interleave": False},
           {"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 64}}]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES)
def test_round_trip(make, tmp_path, changes):
    model = make(**changes)
    save_pretrained(model, tmp_path, extra={"step": 3})
    again = load_pretrained(tmp_path)
    assert same(again, model)
    without_dense = {"first_k_dense_replace": again.config.first_k_dense_replace}
    assert again.config == (model.config if model.config.has_experts else model.config.replace(**without_dense))
    about = json.loads((tmp_path / "config.json").read_text())["minidsk"]
    assert about["step"] == 3
    assert set(about["files"]) == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("changes", [c for c in CHANGES if c.get("n_shared_experts") != 0])
def test_transformers_reads_what_we_write(make, tmp_path, changes):
    model = make(**changes)
    save_pretrained(model, tmp_path)
    theirs, info = DeepseekV3ForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    ahead = {key for key in info["unexpected_keys"] if key.startswith(("model.layers.2.", "model.layers.3."))}
    assert bool(ahead) == bool(model.config.num_nextn_predict_layers)
    assert info["unexpected_keys"] - ahead == info["missing_keys"] == info["mismatched_keys"] == set()
    with torch.no_grad():
        assert (theirs(IDS).logits - model(IDS).logits).abs().max() < 1e-5


@pytest.mark.parametrize("size", ["5GB", "8KB"])
def test_we_read_what_transformers_writes_and_write_the_same(transformers_model, tmp_path, size):
    theirs = transformers_model(q_lora_rank=20, num_nextn_predict_layers=1)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=size)
    ours = load_pretrained(tmp_path / "theirs")
    assert ours.config.num_nextn_predict_layers == 0  # announced, and not there
    save_pretrained(ours, tmp_path / "ours")
    stored = [load_file(path) for path in sorted((tmp_path / "theirs").glob("*.safetensors"))]
    expected = {key: tensor for shard in stored for key, tensor in shard.items()}
    actual = load_file(tmp_path / "ours" / "model.safetensors")
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[key], expected[key]) for key in expected)


def test_keys_of_a_module_that_looks_ahead(make, tmp_path):
    save_pretrained(make(num_nextn_predict_layers=1), tmp_path)
    rest = {key.removeprefix("model.layers.2.") for key in load_file(tmp_path / "model.safetensors") if ".2." in key}
    assert {"enorm.weight", "hnorm.weight", "eh_proj.weight", "shared_head.norm.weight", "shared_head.head.weight",
            "embed_tokens.weight", "input_layernorm.weight", "mlp.gate.e_score_correction_bias",
            "self_attn.kv_b_proj.weight"} <= rest  # fmt: skip
    assert not any("block" in key or key.startswith("norm") for key in rest)


def test_modules_that_look_ahead_are_read_on_request(make, tmp_path):
    model = make(num_nextn_predict_layers=2)
    save_pretrained(model, tmp_path)
    assert len(load_pretrained(tmp_path).mtp) == 2
    without = load_pretrained(tmp_path, mtp=False)
    assert len(without.mtp) == without.config.num_nextn_predict_layers == 0
    assert torch.equal(without(IDS).logits, model(IDS).logits)


def test_old_spelling(make, tmp_path):
    yarn = {"type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "beta_fast": 32, "beta_slow": 1}
    model = make(rope_scaling=yarn, rope_theta=500.0)
    save_pretrained(model, tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["rope_parameters"]
    path.write_text(json.dumps(config | {"rope_scaling": yarn, "rope_theta": 500.0, "torch_dtype": "float32",
                                         "scoring_func": "sigmoid", "topk_method": "noaux_tc"}))  # fmt: skip
    assert load_pretrained(tmp_path).config == model.config


def test_bfloat16_keeps_the_balancing_bias_wide(make, tmp_path):
    model = make()
    bias = model.routers()[0].e_score_correction_bias.clone()
    model.bfloat16()
    save_pretrained(model, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["model.norm.weight"].dtype == torch.bfloat16
    for again in (load_pretrained(tmp_path), load_pretrained(tmp_path, dtype=torch.float32)):
        assert torch.equal(again.routers()[0].e_score_correction_bias, bias)
    assert same(load_pretrained(tmp_path), model)
    assert load_pretrained(tmp_path, dtype=torch.float32).lm_head.weight.dtype == torch.float32


def test_tokenizer_is_written_beside_the_model(make, tmp_path):
    tokenizer = CharTokenizer("abc")
    save_pretrained(make(), tmp_path, tokenizer)
    assert load_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint


def test_loading_leaves_the_global_generator_alone(make, tmp_path):
    save_pretrained(make(), tmp_path)
    before = torch.get_rng_state()
    load_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def in_shards(model, folder):
    """The model as transformers writes it, in several files with an index."""
    save_pretrained(model, folder / "whole")
    theirs = DeepseekV3ForCausalLM.from_pretrained(folder / "whole")
    theirs.save_pretrained(folder, max_shard_size="10KB")
    shutil.rmtree(folder / "whole")
    assert len(list(folder.glob("*.safetensors"))) > 2


def test_shards_are_read(make, tmp_path):
    model = make()
    in_shards(model, tmp_path)
    assert same(load_pretrained(tmp_path), model)


def test_saving_again_leaves_no_file_of_the_earlier_save(make, tmp_path):
    in_shards(make(), tmp_path)
    for model in (make(hidden_size=32), make()):
        save_pretrained(model, tmp_path)
        assert same(load_pretrained(tmp_path), model)
        assert [path.name for path in tmp_path.glob("*.safetensors*")] == [hf.WEIGHTS]
        assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("moment", ["weights", "tokenizer", "config"])
def test_a_full_disk_leaves_the_earlier_state(make, tmp_path, monkeypatch, moment):
    earlier = make()
    save_pretrained(earlier, tmp_path)
    listing = sorted(tmp_path.iterdir())

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    tokenizer = CharTokenizer("abc")
    if moment == "weights":
        monkeypatch.setattr(hf, "save_file", full)
    elif moment == "tokenizer":
        tokenizer.save = full
    else:
        monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(CheckpointError, match=r"not saved \(No space left on device\); free some space") as caught:
        save_pretrained(make(hidden_size=32), tmp_path, tokenizer)
    monkeypatch.undo()
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == listing
    assert same(load_pretrained(tmp_path), earlier)


def test_a_save_killed_at_any_file_can_be_loaded_or_saved_again(make, tmp_path, monkeypatch):
    earlier, later = make(), make()
    with torch.no_grad():
        later.norm.weight.add_(1)
    save_pretrained(earlier, tmp_path)
    replace = os.replace
    for allowed in range(2):
        done = []

        def dies(source, target, done=done, allowed=allowed):
            if len(done) == allowed:
                raise KeyboardInterrupt
            done.append(target)
            replace(source, target)

        monkeypatch.setattr(os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            save_pretrained(later, tmp_path)
        monkeypatch.undo()
        assert same(load_pretrained(tmp_path), later if allowed else earlier)


@pytest.mark.parametrize("extra", [None, {"summary": {}}], ids=["without sums", "with sums"])
@pytest.mark.parametrize("write", [in_shards, save_pretrained], ids=["over shards", "over one file"])
def test_a_save_killed_at_any_move_never_mixes_two_models(make, tmp_path, monkeypatch, write, extra):
    earlier, later = make(), make()
    with torch.no_grad():
        for parameter in later.parameters():
            parameter.add_(1)
    move, remove, loaded = os.replace, pathlib.Path.unlink, []
    for allowed in range(100):
        write(earlier, tmp_path)
        done = []

        def dies(path, *args, done=done, allowed=allowed, doing=None, **kwargs):
            if len(done) == allowed:
                raise KeyboardInterrupt
            done.append(path)
            return doing(path, *args, **kwargs)

        monkeypatch.setattr(os, "replace", functools.partial(dies, doing=move))
        monkeypatch.setattr(pathlib.Path, "unlink", lambda path, dies=dies, **kw: dies(path, doing=remove, **kw))
        try:
            save_pretrained(later, tmp_path, extra=extra)
        except KeyboardInterrupt:
            monkeypatch.undo()
        else:
            monkeypatch.undo()
            break
        with contextlib.suppress(CheckpointError):  # a file that is missing, or damaged
            found = load_pretrained(tmp_path)
            loaded.append(same(found, later))
            assert loaded[-1] or same(found, earlier)
    assert same(load_pretrained(tmp_path), later)
    assert len(done) > 1
    assert loaded == sorted(loaded)  # the earlier one first, then the later one


def test_what_a_killed_save_left_is_cleared_by_the_next(make, tmp_path):
    left = tmp_path / f".checkpoint.{2**22 + 1}.writing"  # no process has such a number
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    model = make()
    save_pretrained(model, tmp_path)
    assert same(load_pretrained(tmp_path), model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_any_byte_of_any_file_is_noticed(make, tmp_path):
    """Of weights, tokenizer and configuration: each file in its beginning, its middle and its end."""
    save_pretrained(make(num_nextn_predict_layers=1), tmp_path, CharTokenizer("abc"), extra={"a": 1})
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    for path in files:
        content = path.read_bytes()
        for place in (0, 9, len(content) // 2, len(content) - 3):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(CheckpointError, match=rf"{path.name}(: damaged| cannot be read)") as caught:
                load_pretrained(tmp_path)
            assert "\n" not in str(caught.value)
        path.write_bytes(content)
    load_pretrained(tmp_path)


def test_sums_are_of_the_files_that_we_wrote(make, tmp_path):
    """transformers takes over our part of the configuration when it saves a model that it read from us."""
    save_pretrained(make(), tmp_path / "ours", extra={"a": 1})
    theirs = DeepseekV3ForCausalLM.from_pretrained(tmp_path / "ours")
    with torch.no_grad():
        theirs.lm_head.weight.add_(1)
    theirs.save_pretrained(tmp_path / "theirs")
    assert "files" in json.loads((tmp_path / "theirs" / "config.json").read_text())["minidsk"]
    again = load_pretrained(tmp_path / "theirs")
    assert torch.equal(again.lm_head.weight, theirs.lm_head.weight)
    save_pretrained(again, tmp_path / "theirs")
    assert "minidsk" not in json.loads((tmp_path / "theirs" / "config.json").read_text())


def test_a_folder_that_is_a_file(make, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(CheckpointError, match="x: the model was not saved"):
        save_pretrained(make(), tmp_path / "x")


def edit(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def edit_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def truncate(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


DAMAGE = {
    "no folder": (lambda f: shutil.rmtree(f), r"config\.json is missing"),
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json is missing"),
    "config cut": (lambda f: truncate(f / "config.json", 40), r"config\.json cannot be read"),
    "config no object": (lambda f: (f / "config.json").write_text("[1]"), r"config\.json holds no object of JSON"),
    "config not text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), r"config\.json cannot be read"),
    "another architecture": (lambda f: edit(f / "config.json", lambda c: c.update(model_type="llama")),
                             r"config\.json: model_type: 'llama' is not deepseek_v3"),
    "unknown field": (lambda f: edit(f / "config.json", lambda c: c.update(colour=1)),
                      r"config\.json: colour: no such"),
    "impossible size": (lambda f: edit(f / "config.json", lambda c: c.update(hidden_size=-1)),
                        r"config\.json: hidden_size: -1"),
    "gigantic size": (lambda f: edit(f / "config.json", lambda c: c.update(hidden_size=10**7)),
                      r"config\.json: its sizes make [\d.]+e\+\d+ parameters, and the files beside it hold \d"),
    "many layers": (lambda f: edit(f / "config.json", lambda c: c.update(num_hidden_layers=10**8)),
                    r"config\.json: its sizes make [\d.]+e\+\d+ parameters, and the files beside it hold \d"),
    "wrong type": (lambda f: edit(f / "config.json", lambda c: c.update(n_group=None)), r"config\.json: n_group: None"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "empty weights": (lambda f: truncate(f / "model.safetensors", 0), r"model\.safetensors is damaged"),
    "header cut": (lambda f: truncate(f / "model.safetensors", 100), r"model\.safetensors is damaged"),
    "weights cut": (lambda f: truncate(f / "model.safetensors", -8), r"model\.safetensors is damaged"),
    "missing tensor": (lambda f: edit_weights(f, lambda t: t.pop("model.layers.1.mlp.experts.3.up_proj.weight")),
                       r"tensor model\.layers\.1\.mlp\.experts\.3\.up_proj\.weight is missing"),
    "surplus tensor": (lambda f: edit_weights(f, lambda t: t.update(more=torch.ones(1))),
                       r"model\.safetensors: tensor more has no place"),
    "other shape": (lambda f: edit(f / "config.json", lambda c: c.update(vocab_size=41)),
                    r"tensor model\.embed_tokens\.weight has shape \[40, 24\] where config\.json says \[41, 24\]"),
    "scales of FP8": (lambda f: edit_weights(f, lambda t: t.update({"lm_head.weight_scale_inv": torch.ones(1)})),
                      r"lm_head\.weight_scale_inv has scales, and no FP8 weight is beside it"),
    "float8": (lambda f: edit_weights(f,
                   lambda t: t.update({"lm_head.weight": torch.ones(40, 24).to(torch.float8_e4m3fn)})),
               r"lm_head\.weight is FP8, which only attention and experts may be"),
    "half of the modules ahead": (lambda f: edit_weights(f, lambda t: t.pop("model.layers.2.eh_proj.weight")),
                                  r"model\.layers\.2\.eh_proj\.weight is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_bad_folders_are_named_in_one_line(make, tmp_path, damage, message):
    save_pretrained(make(num_nextn_predict_layers=1), tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


BAD_INDEX = {
    "missing shard": (lambda f: next(f.glob("model-00002-*")).unlink(), r"model-00002-of-\d+\.safetensors is missing"),
    "damaged shard": (lambda f: truncate(next(f.glob("model-00002-*")), 60), r"model-00002.+ is damaged"),
    "no map": (lambda f: (f / hf.INDEX).write_text("{}"), "maps no tensors"),
    "out of the folder": (lambda f: edit(f / hf.INDEX, lambda i: i["weight_map"].update(x="../x")), "maps no tensors"),
}


@pytest.mark.parametrize(("damage", "message"), BAD_INDEX.values(), ids=BAD_INDEX.keys())
def test_bad_shards(make, tmp_path, damage, message):
    in_shards(make(), tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(tmp_path)


def test_a_gpu_where_there_is_none(make, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    save_pretrained(make(), tmp_path)
    with pytest.raises(CheckpointError, match="torch sees no GPU here"):
        load_pretrained(tmp_path, device="cuda")
