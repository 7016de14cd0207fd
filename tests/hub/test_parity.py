"""minidsk.model against transformers' DeepseekV3ForCausalLM: random weights, float32, at most 2e-5 apart."""

import pytest
import torch
import torch.nn.functional as F
from transformers.modeling_layers import MtpModel

from minidsk.hub.hf import load_pretrained, save_pretrained
from minidsk.model.transformer import MiniDeepSeek

# Older processors add in another order: up to 1.3e-5 with their instructions.
BOUND = 2e-5
# The first is DeepSeek-V3's own; the second has two different mscales, so that cos and sin are scaled as well.
YARN_V3 = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 40.0, "original_max_position_embeddings": 16,
           "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}  # fmt: skip
YARN = YARN_V3 | {"factor": 4.0, "mscale": 0.7, "mscale_all_dim": 1.3, "original_max_position_embeddings": 512}
YARN_PLAIN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 8.0, "original_max_position_embeddings": 64}

CASES = {
    "plain": {},
    "query compression": {"q_lora_rank": 20},
    "biases": {"q_lora_rank": 20, "attention_bias": True},
    "yarn of V3": {"rope_parameters": YARN_V3},
    "yarn, two mscales": {"rope_parameters": YARN},
    "yarn, no mscale": {"rope_parameters": YARN_PLAIN, "rope_interleave": False},
    "half-split rope": {"rope_interleave": False},
    "groups": {"n_group": 4, "topk_group": 2, "num_experts_per_tok": 3},
    "two shared experts": {"n_shared_experts": 2, "rms_norm_eps": 1e-3},
    "weights not normalised": {"norm_topk_prob": False, "routed_scaling_factor": 1.0},
    "no dense layer": {"first_k_dense_replace": 0},
    "all dense": {"first_k_dense_replace": 3},
    "tied embeddings": {"tie_word_embeddings": True},
    "V3 in small": {"q_lora_rank": 20, "rope_parameters": YARN_V3, "n_group": 4, "topk_group": 2,
                    "num_experts_per_tok": 4, "first_k_dense_replace": 2,
                    "num_attention_heads": 4, "num_key_value_heads": 4},
}  # fmt: skip


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def pair(request, transformers_model, tmp_path):
    """A transformers model and ours with its weights, by way of the disk."""
    theirs = transformers_model(**request.param)
    theirs.save_pretrained(tmp_path)
    return theirs, load_pretrained(tmp_path)


@pytest.fixture
def ids():
    return torch.randint(50, (2, 23), generator=torch.Generator().manual_seed(1))


def apart(a, b):
    return (a - b).abs().max().item()


@torch.no_grad()
def test_logits_of_every_way_to_compute_them(pair, ids):
    theirs, ours = pair
    expected = theirs(ids).logits
    assert expected.std() > 0.3  # else 1e-5 would say little
    assert apart(ours(ids).logits, expected) <= BOUND

    for block in ours.layers:
        block.self_attn.absorb = True
    assert apart(ours(ids).logits, expected) <= BOUND

    for chunks in ([1] * 23, [7, 1, 1, 14]):
        cache = ours.new_cache(2, 23)
        parts = [ours(part, cache=cache).logits for part in ids.split(chunks, 1)]
        assert apart(torch.cat(parts, 1), expected) <= BOUND


@torch.no_grad()
def test_left_padding(pair, ids):
    theirs, ours = pair
    valid = torch.ones_like(ids)
    valid[1, :9] = 0
    expected = theirs(ids, attention_mask=valid, position_ids=(valid.cumsum(1) - 1).clamp(min=0)).logits
    valid = valid.bool()
    assert apart(ours(ids, attention_mask=valid).logits[valid], expected[valid]) <= BOUND
    assert apart(ours(ids, attention_mask=valid, cache=ours.new_cache(2, 23)).logits[valid], expected[valid]) <= BOUND


@pytest.mark.parametrize("absorb", [False, True])
def test_gradients_of_every_parameter(pair, ids, absorb):
    theirs, ours = pair
    for block in ours.layers:
        block.self_attn.absorb = absorb
    for model in (theirs, ours):
        F.cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    expected = {name.removeprefix("model."): p.grad for name, p in theirs.named_parameters()}
    actual = {name: p.grad for name, p in ours.named_parameters()}
    assert actual.keys() == expected.keys()
    for name, grad in actual.items():
        assert apart(grad, expected[name]) <= BOUND, name
    assert max(grad.abs().max() for grad in actual.values()) > 0.01


def test_greedy_generation(pair, ids):
    theirs, ours = pair
    settings = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": 7, "pad_token_id": 0}
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    assert ours.generate(ids, 12, 0.0, eos_token_id=7).tolist() == expected.tolist()


@torch.no_grad()
def test_the_cache_holds_what_theirs_holds(pair, ids):
    theirs, ours = pair
    cache = ours.new_cache(2, 23)
    ours(ids, cache=cache)
    for layer, entry in enumerate(theirs(ids, use_cache=True).past_key_values.layers):
        assert apart(cache.entries[layer], torch.cat((entry.keys, entry.values), -1).squeeze(1)) <= BOUND


@torch.no_grad()
@pytest.mark.parametrize("depths", [1, 2])
@pytest.mark.parametrize("changes", [{}, {"rope_parameters": YARN, "q_lora_rank": 20}], ids=["plain", "yarn"])
def test_multi_token_prediction(transformers_model, random_weights, tmp_path, ids, depths, changes):
    # transformers drops MTP layers when it saves, so the weights go the other way: ours, on disk, theirs.
    main = transformers_model(**changes, first_k_dense_replace=0, num_nextn_predict_layers=depths)
    main.save_pretrained(tmp_path)
    config = load_pretrained(tmp_path).config.replace(num_nextn_predict_layers=depths)
    ours = MiniDeepSeek(config)
    random_weights(ours)
    save_pretrained(ours, tmp_path)

    cls = type(main)
    main, info = cls.from_pretrained(tmp_path, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    assert all(key.startswith(("model.layers.3.", "model.layers.4.")) for key in info["unexpected_keys"])
    main._keys_to_ignore_on_load_unexpected = [r"model\.layers\.[34]\."]  # where it looks for MTP layers
    ahead = MtpModel.from_pretrained(main)

    out, hidden = ours(ids), main.model(ids).last_hidden_state
    assert apart(out.logits, main.lm_head(hidden)) <= BOUND
    assert len(out.mtp_logits) == depths
    for k, logits in enumerate(out.mtp_logits, start=1):
        positions = torch.arange(k, 23).expand(2, -1)
        hidden = ahead.forward_layer(k - 1, hidden[:, :-1], positions, None, input_ids=ids[:, k:])
        assert apart(logits, ahead._project_to_logits(hidden)) <= BOUND
