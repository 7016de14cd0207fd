import pytest
import torch

from minidsk.bench.step import until_end
from minidsk.data.tokenizer import CharTokenizer
from minidsk.infer.generate import Decoded, complete, left_padded, written
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek

TOKENIZER = CharTokenizer("abc =\n")


def test_prompts_are_padded_on_the_left():
    ids, mask = left_padded(["ab", "", "abc"], TOKENIZER)
    a, b, c = TOKENIZER.encode("abc")
    bos, pad = TOKENIZER.bos_id, TOKENIZER.pad_id
    assert ids.tolist() == [[pad, bos, a, b], [pad, pad, pad, bos], [bos, a, b, c]]
    assert mask.tolist() == [[False, True, True, True], [False, False, False, True], [True] * 4]
    assert (ids.dtype, mask.dtype) == (torch.int64, torch.bool)


def test_a_completion_ends_before_its_end_token():
    a, eos, pad = TOKENIZER.encode("a")[0], TOKENIZER.eos_id, TOKENIZER.pad_id
    assert until_end([a, a, eos, pad], TOKENIZER) == "aa"
    assert until_end([a, eos, a, eos], TOKENIZER) == "a"
    assert until_end([a, a], TOKENIZER) == "aa"
    assert until_end([eos], TOKENIZER) == ""
    ids = torch.tensor([[a, a, a, eos, pad], [a, a, eos, pad, pad], [a, a, a, a, a], [a, eos, pad, pad, pad]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)
    assert written(Decoded(ids, torch.zeros(4, 4), mask), TOKENIZER) == ["aa", "a", "aaaa", ""]


@pytest.fixture
def model():
    config = ModelConfig(vocab_size=TOKENIZER.vocab_size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                         kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=4, intermediate_size=24,
                         moe_intermediate_size=8, n_routed_experts=4, initializer_range=0.5)  # fmt: skip
    return MiniDeepSeek(config, torch.Generator().manual_seed(0))


def test_a_batch_says_what_each_prompt_alone_would(model):
    prompts = ["ab", "abc abc\n", "", "c"]
    together = complete(model, TOKENIZER, prompts, 10)
    assert together == [complete(model, TOKENIZER, [prompt], 10)[0] for prompt in prompts]
    assert len(set(together)) > 1


def test_sampling_is_the_generators(model):
    def drawn(seed):
        g = torch.Generator().manual_seed(seed)
        return complete(model, TOKENIZER, ["ab"] * 5, 8, temperature=1.0, generator=g)

    assert drawn(0) == drawn(0) != drawn(1)
