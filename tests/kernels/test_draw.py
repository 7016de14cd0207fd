"""Against the same race in steps, which `minidsk.infer` makes where no kernel can run."""

import copy

import pytest
import torch

from minidsk import MiniDeepSeek, ModelConfig
from minidsk.infer.noise import FIRST, NEGATIVE, PLACE, SECOND, UNIT, Noise
from minidsk.infer.recorder import Recording
from minidsk.infer.sampling import Sampling
from minidsk.kernels import draw as kernel
from minidsk.kernels.draw import MOST, Hash, can_draw, draw
from minidsk.model.operations import Kernels

CONSTANTS = Hash(PLACE, FIRST, SECOND, NEGATIVE, UNIT)


def both(logits, temperature, seed=0, place=1):
    """What the kernel does, and what is to be seen, each as tokens, costs, drawn tokens, and where the noise is."""
    streams = torch.randint(-(2**63), 2**63 - 1, (len(logits),), generator=torch.Generator().manual_seed(seed))
    noise = Noise(streams.to(logits.device), logits.shape[1])
    kernel, tokens = copy.deepcopy(noise), torch.full((len(logits), 3), -1, device=logits.device)
    costs = torch.zeros(tokens.shape, device=logits.device)
    at = torch.tensor([place], device=logits.device)
    drawn = draw(logits, temperature, kernel.streams, kernel.entries, CONSTANTS, at, tokens, costs)
    logprobs = logits.log_softmax(-1, dtype=torch.float32)
    expected = Sampling(temperature).draw(logprobs, noise)
    of_token = logprobs.gather(1, expected[:, None]).squeeze(1)
    return (tokens, costs, drawn, kernel.streams), (expected, of_token, noise.streams)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "vocab"), [(1, 2), (40, 59), (9, 128), (3, 700)])
@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7, 0.0])
def test_the_same_tokens_cost_the_same(rows, vocab, dtype, temperature, normal):
    logits = normal(rows, vocab, dtype=torch.float32, scale=3.0).to(dtype)
    if temperature == 0:  # several are the likeliest in bf16 now and then, and the first of them is taken
        logits[0, vocab // 2 :] = logits.max() + 1
    (tokens, costs, drawn, streams), (expected, of_token, moved) = both(logits, temperature)
    assert torch.equal(drawn, expected)
    assert torch.equal(tokens[:, 1], expected)
    torch.testing.assert_close(costs[:, 1], of_token, rtol=1e-5, atol=1e-5)
    assert (tokens[:, [0, 2]] == -1).all()
    assert not costs[:, [0, 2]].any()
    assert torch.equal(streams, moved)  # greedily, no noise is used up


def test_of_equal_weights_the_largest_number_wins(normal):
    logits = torch.zeros(64, 512, device=normal(1).device)
    (tokens, *_), (expected, *_) = both(logits, 1.0, seed=3)
    assert torch.equal(tokens[:, 1], expected)


def test_rows_may_stand_apart_in_memory(normal):
    wide = normal(5, 40)
    (tokens, *_), (expected, *_) = both(wide[:, 3:20], 1.0)
    assert torch.equal(tokens[:, 1], expected)


def test_what_does_not_fit_a_program_is_left_to_the_steps(normal):
    assert can_draw(normal(1, MOST))
    assert not can_draw(normal(1, MOST + 1))
    assert not can_draw(normal(0, 5))
    assert not can_draw(normal(1, 5).double())


CONFIG = ModelConfig(vocab_size=40, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=8,
                     qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8, intermediate_size=48,
                     moe_intermediate_size=16, n_routed_experts=4, num_experts_per_tok=2)  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.0}, {"top_k": 3}, {"top_p": 0.5}], ids=str)
def test_a_recording_draws_by_it_where_no_token_is_left_out(settings, device, monkeypatch):
    """The texts of a model whose step is done by kernels are those of one whose step is not."""
    used = []
    monkeypatch.setattr("minidsk.kernels.draw.draw", lambda *a, _f=draw: used.append(1) or _f(*a))
    texts = []
    for backend in ("torch", "triton"):
        model = MiniDeepSeek(CONFIG, torch.Generator().manual_seed(0)).to(device).use(Kernels(step=backend))
        with torch.inference_mode():
            step = Recording(model, 3, 16, 5, Sampling(**settings))
            step.graph = None
            step.noise.streams.copy_(torch.tensor([7, -3, 2**62]))
            step.rewind()
            step.engine.prefill(torch.arange(12, device=device).view(3, 4))
            for _ in range(5):
                step.run()
        texts.append((step.tokens, step.logprobs))
    assert torch.equal(texts[0][0], texts[1][0])
    torch.testing.assert_close(texts[1][1], texts[0][1], rtol=1e-4, atol=1e-5)
    assert bool(used) == Sampling(**settings).of_all


@pytest.mark.parametrize("greedy", [False, True])
def test_it_compiles_for_hopper(greedy, compiled):
    types = {"logits": "*bf16", "logits_row": "i32", "streams": "*i64", "entries": "*i64", "place": "*i64",
             "tokens": "*i64", "tokens_row": "i32", "logprobs": "*fp32", "logprobs_row": "i32", "drawn": "*i64",
             "vocab": "i32", "temperature": "fp32"}  # fmt: skip
    constants = dict(zip(("PLACE", "FIRST", "SECOND", "NEGATIVE", "UNIT"), CONSTANTS, strict=True))
    assert compiled(kernel._draw, types, {"GREEDY": greedy, "VOCAB": 128, **constants}, warps=1).stack == 0
