"""Folders in DeepSeek-V3's own eight bits: what stands in them, what is read from them, what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import DeepseekV3ForCausalLM

from minidsk.data.tokenizer import CharTokenizer
from minidsk.hub import hf, zoo
from minidsk.hub.hf import CheckpointError, load_pretrained, save_pretrained
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek

# Both sides of a block at the edge are cut: 200 = 128 + 72, 136 = 128 + 8; 2 * 68 = 136; 30 lies within one block.
WIDE = ModelConfig(vocab_size=40, hidden_size=200, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=30,
                   qk_nope_head_dim=64, qk_rope_head_dim=4, v_head_dim=68, intermediate_size=300,
                   moe_intermediate_size=136, n_routed_experts=4, num_nextn_predict_layers=1)  # fmt: skip
QUANTIZATION = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}
IDS = torch.arange(12).view(2, 6)
EXPERT = "model.layers.1.mlp.experts.3.up_proj.weight"
ATTENTION = "model.layers.0.self_attn.kv_a_proj_with_mqa.weight"


@pytest.fixture
def make(random_weights):
    def model(**changes) -> MiniDeepSeek:
        made = MiniDeepSeek(WIDE.replace(**changes)).eval()
        random_weights(made)
        return made

    return model


def tensors_of(folder):
    return load_file(folder / "model.safetensors")


def by_block(scales, shape):
    """The scale of each entry, index by index."""
    rows, columns = (torch.arange(size) // 128 for size in shape)
    return scales.double()[rows][:, columns]


def wide_tensors(model, folder):
    """The weights of `model` under their names on disk, by way of a plain save."""
    save_pretrained(model, folder)
    return tensors_of(folder)


def test_names_types_and_shapes(make, tmp_path):
    """Written out here once more, from README_WEIGHTS, the keys of layers, experts and module."""
    save_pretrained(make(q_lora_rank=150, attention_bias=True).bfloat16(), tmp_path, fp8=True)
    stored = tensors_of(tmp_path)
    attention = ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]
    swiglu = ["gate_proj", "up_proj", "down_proj"]
    narrow = [f"model.layers.{layer}.self_attn.{name}" for layer in range(3) for name in attention]
    narrow += [f"model.layers.0.mlp.{name}" for name in swiglu]
    experts = [*(f"experts.{i}" for i in range(4)), "shared_experts"]
    narrow += [f"model.layers.{layer}.mlp.{expert}.{name}" for layer in (1, 2) for expert in experts for name in swiglu]
    codes = {f"{name}.weight" for name in narrow}
    scales = {f"{name}.weight_scale_inv" for name in narrow}
    kinds = {dtype: {key for key in stored if stored[key].dtype == dtype} for dtype in
             (torch.float8_e4m3fn, torch.float32, torch.bfloat16)}  # fmt: skip
    assert kinds[torch.float8_e4m3fn] == codes
    bias = {key for key in stored if key.endswith("e_score_correction_bias")}
    assert len(bias) == 2
    assert kinds[torch.float32] == scales | bias
    assert kinds[torch.bfloat16] == stored.keys() - codes - scales - bias
    assert {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "model.layers.1.mlp.gate.weight",
            "model.layers.0.self_attn.q_a_proj.bias", "model.layers.0.self_attn.kv_a_layernorm.weight",
            "model.layers.2.eh_proj.weight", "model.layers.2.embed_tokens.weight",
            "model.layers.2.shared_head.head.weight"} <= kinds[torch.bfloat16]  # fmt: skip
    assert stored[EXPERT].shape == (136, 200)
    assert stored[EXPERT + "_scale_inv"].shape == (2, 2)
    assert stored["model.layers.0.mlp.gate_proj.weight_scale_inv"].shape == (3, 2)
    assert stored[ATTENTION].shape == (34, 200)
    assert stored[ATTENTION + "_scale_inv"].shape == (1, 2)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["quantization_config"] == QUANTIZATION
    assert config["dtype"] == "bfloat16"


@pytest.mark.parametrize("changes", [{}, {"q_lora_rank": 150, "attention_bias": True}, {"tie_word_embeddings": True},
                                     {"n_routed_experts": 0}, {"n_shared_experts": 0, "first_k_dense_replace": 0}])
def test_what_is_read_is_near_what_was_written(make, tmp_path, changes):
    """At most half a step: 2**-4 of an entry, or, under 2**-6, the smallest normal code, 2**-10 of the scale."""
    model = make(**changes)
    before = wide_tensors(model, tmp_path / "plain")
    save_pretrained(model, tmp_path / "fp8", fp8=True)
    again = load_pretrained(tmp_path / "fp8", dtype=torch.float32)
    assert again.config == load_pretrained(tmp_path / "plain").config
    after, stored, compared = wide_tensors(again, tmp_path / "again"), tensors_of(tmp_path / "fp8"), 0
    assert after.keys() == before.keys()
    for key, tensor in before.items():
        if key + "_scale_inv" in stored:
            scale = by_block(stored[key + "_scale_inv"], tensor.shape)
            bound = torch.maximum(tensor.double().abs() * 2**-4, scale * 2**-10) * (1 + 1e-5)
            error = (after[key].double() - tensor.double()).abs()
            assert (error <= bound).all(), key
            assert (error > 0).any()
            compared += 1
        else:
            assert torch.equal(after[key], tensor), key
    assert compared >= 8


def test_a_scale_is_of_its_own_block_alone(make, tmp_path):
    """A loud entry in each corner: the largest of its block becomes 448, and the other blocks keep their scales."""
    model = make()
    weight = model.layers[0].mlp.gate_proj.weight  # [300, 200]: 3 x 2 blocks
    with torch.no_grad():
        weight[0, 0], weight[299, 199], weight[127, 128], weight[128, 127] = 1000.0, -500.0, 250.0, 125.0
    save_pretrained(model, tmp_path, fp8=True)
    stored, name = tensors_of(tmp_path), "model.layers.0.mlp.gate_proj.weight"
    blocks = [[weight.detach()[i : i + 128, j : j + 128].abs().max() for j in (0, 128)] for i in (0, 128, 256)]
    torch.testing.assert_close(stored[name + "_scale_inv"], torch.tensor(blocks) / 448, rtol=1e-6, atol=0)
    codes = stored[name].float()
    assert [codes[0, 0], codes[299, 199], codes[127, 128], codes[128, 127]] == [448, -448, 448, 448]


@torch.no_grad()
def test_weights_that_eight_bits_can_hold_come_back_exactly(make, tmp_path):
    """Codes of ours, of which each block has 448, times a power of two; a block of zeros too."""
    model = make()
    every = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    every = every[every.isfinite()]
    generator = torch.Generator().manual_seed(2)
    for name, tensor in model.named_parameters():
        if "_proj" in name and "eh_proj" not in name:
            codes = every[torch.randint(len(every), tensor.shape, generator=generator)]
            codes[..., ::64, ::64] = 448.0
            if "experts" in name:  # gate and up, one above the other
                codes[..., tensor.shape[-2] // 2 :: 64, ::64] = 448.0
            tensor.copy_(codes / 1024)
        else:
            tensor.copy_(tensor.bfloat16())
    model.layers[0].mlp.down_proj.weight.zero_()
    model.layers[0].mlp.up_proj.weight[:128, :128] = 0
    save_pretrained(model, tmp_path, fp8=True)
    again = load_pretrained(tmp_path, dtype=torch.float32).state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again[name], tensor), name
    # What was read once and written again is the same file.
    first = (tmp_path / "model.safetensors").read_bytes()
    save_pretrained(load_pretrained(tmp_path), tmp_path, fp8=True)
    assert (tmp_path / "model.safetensors").read_bytes() == first


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_product_of_codes_and_scales_is_what_is_read(make, tmp_path, dtype):
    """Against float64, and one rounding to float32, one to `dtype`."""
    save_pretrained(make(q_lora_rank=150).bfloat16(), tmp_path, fp8=True)
    stored = tensors_of(tmp_path)
    model = load_pretrained(tmp_path, dtype=dtype)
    found, compared = hf._by_key(model), 0
    for key, scales in stored.items():
        if key.endswith("_scale_inv"):
            name = key.removesuffix("_scale_inv")
            exact = stored[name].double() * by_block(scales, stored[name].shape)
            assert found[name].dtype == (dtype or torch.bfloat16)
            assert torch.equal(found[name], exact.float().to(found[name].dtype)), name
            compared += 1
    assert compared == 15 + 3 + 2 * 15


@torch.no_grad()
def test_logits_are_near(make, tmp_path):
    model = make(num_experts_per_tok=4)  # all of them: else a small change may choose another expert
    expected, ahead = (out := model(IDS)).logits, out.mtp_logits[0]
    save_pretrained(model, tmp_path, fp8=True)
    out = load_pretrained(tmp_path, dtype=torch.float32).eval()(IDS)
    for actual, wanted in ((out.logits, expected), (out.mtp_logits[0], ahead)):
        apart = (actual - wanted).norm() / wanted.norm()
        assert 1e-3 < apart < 0.15


def test_half_the_bytes_of_bfloat16(make, tmp_path):
    model = make().bfloat16()
    save_pretrained(model, tmp_path / "wide")
    save_pretrained(model, tmp_path / "narrow", fp8=True)
    wide, narrow = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("wide", "narrow"))
    assert 0.5 < narrow / wide < 0.62


def test_saving_in_eight_bits_changes_neither_model_nor_generator(make, tmp_path):
    model = make()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    save_pretrained(model, tmp_path, fp8=True)
    load_pretrained(tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_plain_save_has_nothing_of_it(make, tmp_path):
    """Also where eight bits were saved or read before."""
    model = make()
    save_pretrained(model, tmp_path / "plain", extra={"a": 1})
    expected = {path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()}
    assert b"scale_inv" not in expected["model.safetensors"]
    assert b"quantization_config" not in expected["config.json"]
    assert {tensor.dtype for tensor in tensors_of(tmp_path / "plain").values()} == {torch.float32}
    save_pretrained(model, tmp_path / "again", fp8=True, extra={"a": 1})
    save_pretrained(model, tmp_path / "again", fp8=False, extra={"a": 1})
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == expected


def test_modules_that_look_ahead_are_left_out_on_request(make, tmp_path):
    save_pretrained(make(), tmp_path, fp8=True)
    with_modules, without = load_pretrained(tmp_path), load_pretrained(tmp_path, mtp=False)
    assert (len(with_modules.mtp), len(without.mtp)) == (1, 0)
    assert torch.equal(without(IDS).logits, with_modules(IDS).logits)


def in_files(folder, place):
    """Over several files with an index, each tensor in the one that `place` says of its name."""
    stored = tensors_of(folder)
    where = {key: f"model-0000{place(key)}-of-00002.safetensors" for key in stored}
    for name in set(where.values()):
        save_file({key: stored[key] for key in stored if where[key] == name}, folder / name)
    (folder / hf.INDEX).write_text(json.dumps({"weight_map": where}))
    (folder / hf.WEIGHTS).unlink()


def test_scales_in_another_file_than_their_codes(make, tmp_path):
    save_pretrained(make(), tmp_path, fp8=True)
    expected = load_pretrained(tmp_path).state_dict()
    in_files(tmp_path, lambda key: 1 + key.endswith("_scale_inv"))
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    actual = load_pretrained(tmp_path).state_dict()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_a_name_on_the_shelf(make, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "shelves", lambda kind: [tmp_path])
    for dtype in (torch.float32, torch.bfloat16):
        save_pretrained(make().to(dtype), tmp_path / "tiny", CharTokenizer("abc"), fp8=True)
        assert zoo.load("tiny").lm_head.weight.dtype == dtype
        assert load_file(tmp_path / "tiny" / "model.safetensors")[EXPERT].dtype == torch.float8_e4m3fn


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"q_lora_rank": 128}])
def test_transformers_reads_the_same(make, tmp_path, changes):
    """On a CPU it multiplies out too. It takes the size of a block from the number of scales, so no block is cut."""
    pytest.importorskip("accelerate")
    whole = {"hidden_size": 256, "kv_lora_rank": 64, "qk_nope_head_dim": 64, "qk_rope_head_dim": 64, "v_head_dim": 64,
             "intermediate_size": 384, "moe_intermediate_size": 128, "num_nextn_predict_layers": 0}  # fmt: skip
    save_pretrained(make(**whole | changes), tmp_path, fp8=True)
    theirs, info = DeepseekV3ForCausalLM.from_pretrained(tmp_path, device_map="cpu", output_loading_info=True)
    assert info["unexpected_keys"] == info["missing_keys"] == info["mismatched_keys"] == set()
    ours = load_pretrained(tmp_path)
    expected = {name.removeprefix("model."): tensor for name, tensor in theirs.state_dict().items()}
    actual = ours.state_dict()
    assert actual.keys() == expected.keys()
    for name, tensor in actual.items():
        assert torch.equal(tensor.float(), expected[name].float()), name
    wide = load_pretrained(tmp_path, dtype=torch.float32)
    assert (theirs.float()(IDS).logits - wide(IDS).logits).abs().max() < 0.05  # tolerance: theirs was bfloat16


# What is refused.


def edit(path, **changes):
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | changes))


def change(folder, edit_tensors):
    stored = tensors_of(folder)
    edit_tensors(stored)
    save_file(stored, folder / "model.safetensors")


def announce(**changes):
    return lambda f: edit(f / "config.json", quantization_config=QUANTIZATION | changes)


def put(name, make_tensor):
    return lambda f: change(f, lambda t: t.update({name: make_tensor(t.get(name))}))


def spoil(value):
    def spoilt(scales):
        scales[-1, -1] = value
        return scales

    return spoilt


EIGHT = torch.float8_e4m3fn
REFUSED = {
    "another block": (announce(weight_block_size=[64, 64]), r"config\.json: quantization_config: weight_block_size "
                      r"\[64, 64\] is not supported, only \[128, 128\]; convert the weights to bfloat16 first$"),
    "no blocks": (announce(weight_block_size=None), "weight_block_size None is not supported"),
    "another method": (announce(quant_method="gptq"), r"config\.json: quantization_config: quant_method 'gptq' is not"),
    "no method": (lambda f: edit(f / "config.json", quantization_config={}), "quant_method None is not supported"),
    "another format": (announce(fmt="e5m2"), r"config\.json: quantization_config: fmt 'e5m2' is not supported"),
    "announcement no object": (lambda f: edit(f / "config.json", quantization_config="fp8"),
                               r"config\.json: quantization_config: 'fp8' is no object; put back"),
    "not announced": (lambda f: edit(f / "config.json", quantization_config=None),
                      r"model\.safetensors: tensor \S+_proj\S* is FP8, and config\.json has no quantization_config; "
                      "put back the config"),
    "no scales": (lambda f: change(f, lambda t: t.pop(EXPERT + "_scale_inv")),
                  rf"model\.safetensors: tensor {EXPERT} is FP8, and its scales {EXPERT}_scale_inv are missing; save"),
    "scales alone": (lambda f: change(f, lambda t: t.pop(EXPERT)),
                     rf"model\.safetensors: tensor {EXPERT}_scale_inv has scales, and no FP8 weight is beside it;"),
    "scales beside a wide weight": (put(EXPERT, lambda w: w.bfloat16()), f"{EXPERT}_scale_inv has scales, and no FP8"),
    "scales of the head": (put("lm_head.weight_scale_inv", lambda _: torch.ones(1, 2)),
                           r"lm_head\.weight_scale_inv has scales, and no FP8 weight"),
    "too few scales": (put(EXPERT + "_scale_inv", lambda s: s[:1].clone()),
                       rf"model\.safetensors: scales {EXPERT}_scale_inv are F32 \[1, 2\] where one for each block of "
                       r"128 x 128 makes F32 \[2, 2\]; save"),
    "too many scales": (put(ATTENTION + "_scale_inv", lambda s: s.repeat(2, 1)), r"F32 \[2, 2\] where .* F32 \[1, 2\]"),
    "scales in a row": (put(EXPERT + "_scale_inv", lambda s: s.flatten()), r"are F32 \[4\] where"),
    "scales turned": (put(ATTENTION + "_scale_inv", lambda s: s.T.contiguous()), r"are F32 \[2, 1\] where"),
    "scales in 16 bits": (put(EXPERT + "_scale_inv", lambda s: s.bfloat16()), r"are BF16 \[2, 2\] where .* F32 \[2, 2"),
    "infinite scale": (put(EXPERT + "_scale_inv", spoil(float("inf"))),
                       rf"model\.safetensors: scales {EXPERT}_scale_inv are not all finite; save"),
    "scale no number": (put(ATTENTION + "_scale_inv", spoil(float("nan"))), f"{ATTENTION}_scale_inv are not all fini"),
    "head in eight bits": (put("lm_head.weight", lambda w: w.to(EIGHT)),
                           r"lm_head\.weight is FP8, which only attention and experts may be; convert"),
    "router in eight bits": (put("model.layers.1.mlp.gate.weight", lambda w: w.to(EIGHT)),
                             r"model\.layers\.1\.mlp\.gate\.weight is FP8, which only"),
    "eh_proj in eight bits": (put("model.layers.2.eh_proj.weight", lambda w: w.to(EIGHT)), r"eh_proj\.weight is FP8"),
    "whole numbers": (put("lm_head.weight", lambda w: w.to(torch.int8)),
                      r"model\.safetensors: tensor lm_head\.weight has dtype I8, which is not supported; convert it"),
    "E5M2": (put("lm_head.weight", lambda w: w.to(torch.float8_e5m2)), r"lm_head\.weight has dtype F8_E5M2, which"),
    "codes of another shape": (put(EXPERT, lambda w: w[:135].clone()),
                               r"up_proj\.weight has shape \[135, 200\] where config\.json says \[136, 200\]"),
    "codes without columns": (put(EXPERT, lambda w: w.flatten()), f"{EXPERT} is FP8, which only"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_named_in_one_line(make, tmp_path, damage, message):
    save_pretrained(make(), tmp_path, fp8=True)
    load_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_spoilt_scale_is_looked_for_in_its_own_file(make, tmp_path):
    save_pretrained(make(), tmp_path, fp8=True)
    put(EXPERT + "_scale_inv", spoil(float("inf")))(tmp_path)
    in_files(tmp_path, lambda key: 1 + key.endswith("_scale_inv"))
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors: scales"):
        load_pretrained(tmp_path)


def test_scales_of_modules_that_are_not_asked_for_may_be_anything(make, tmp_path):
    save_pretrained(make(), tmp_path, fp8=True)
    change(tmp_path, lambda t: t.pop("model.layers.2.self_attn.o_proj.weight_scale_inv"))
    with pytest.raises(CheckpointError, match=r"layers\.2\.self_attn\.o_proj\.weight is FP8, and its scales"):
        load_pretrained(tmp_path)
    load_pretrained(tmp_path, mtp=False)


@pytest.mark.parametrize("found", [
    QUANTIZATION,
    {"quant_method": "fp8"},
    QUANTIZATION | {"activation_scheme": "static"},
    {"quant_method": "fp8", "weight_block_size": [128, 128], "scale_fmt": "float", "modules_to_not_convert": None},
])  # fmt: skip
def test_announcements_of_the_same(make, tmp_path, found):
    save_pretrained(make(), tmp_path, fp8=True)
    expected = load_pretrained(tmp_path).lm_head.weight
    edit(tmp_path / "config.json", quantization_config=found)
    assert torch.equal(load_pretrained(tmp_path).lm_head.weight, expected)


def test_weights_that_were_widened_with_the_old_configuration(make, tmp_path):
    """DeepSeek's own conversion to bfloat16 leaves the announcement in config.json."""
    model = make().bfloat16()
    save_pretrained(model, tmp_path)
    edit(tmp_path / "config.json", quantization_config=QUANTIZATION)
    assert torch.equal(load_pretrained(tmp_path).state_dict()["norm.weight"], model.norm.weight)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_not_saved(make, tmp_path, value):
    save_pretrained(make(), tmp_path, fp8=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    model = make()
    with torch.no_grad():
        model.layers[1].mlp.experts.gate_up_proj[3, 136 + 131, 199] = value
    with pytest.raises(CheckpointError, match=rf"not saved, because {EXPERT} has .* not finite; mend") as caught:
        save_pretrained(model, tmp_path, fp8=True)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("moment", ["weights", "config"])
def test_a_full_disk_leaves_the_earlier_state(make, tmp_path, monkeypatch, moment):
    save_pretrained(make(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((hf, "save_file") if moment == "weights" else (json, "dumps")), full)
    with pytest.raises(CheckpointError, match=r"not saved \(No space left on device\); free some space"):
        save_pretrained(make(hidden_size=208), tmp_path, fp8=True)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    load_pretrained(tmp_path)


def test_a_folder_that_is_a_file(make, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(CheckpointError, match="x: the model was not saved"):
        save_pretrained(make(), tmp_path / "x", fp8=True)
    assert (tmp_path / "x").read_text() == ""


def test_sums_are_checked(make, tmp_path):
    """A changed code, a changed scale, a changed announcement."""
    save_pretrained(make(), tmp_path / "saved", extra={"a": 1}, fp8=True)
    load_pretrained(tmp_path / "saved")
    damages = {"code": (put(EXPERT, lambda w: (-w.float()).to(EIGHT)), r"model\.safetensors"),
               "scale": (put(EXPERT + "_scale_inv", lambda s: 2 * s), r"model\.safetensors"),
               "announcement": (announce(activation_scheme="static"), r"config\.json")}  # fmt: skip
    for name, (damage, where) in damages.items():
        shutil.copytree(tmp_path / "saved", tmp_path / name)
        damage(tmp_path / name)
        with pytest.raises(CheckpointError, match=rf"{where}: damaged, it is not what was written"):
            load_pretrained(tmp_path / name)
