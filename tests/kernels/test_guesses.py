"""A round's end by kernels, against what `minidsk.infer.rounds.Rounds` does in steps."""

import copy

import pytest
import torch

from minidsk import MiniDeepSeek, ModelConfig
from minidsk.infer.rounds import Rounds
from minidsk.infer.sampling import Sampling
from minidsk.kernels import guesses
from minidsk.kernels.guesses import check, guess
from minidsk.model.operations import Kernels

CONFIG = ModelConfig(vocab_size=12, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=8,
                     qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8, intermediate_size=48,
                     moe_intermediate_size=16, n_routed_experts=4, num_experts_per_tok=2,
                     num_nextn_predict_layers=1)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocab", [2, 59, 128, 300])
def test_the_first_of_the_likeliest_is_guessed(vocab, dtype, normal, device):
    logits = normal(7, vocab + 3, dtype=dtype)[:, :vocab]
    logits[2, vocab // 2 :] = logits.max() + 1
    text, last = torch.full((7, 20), -1, device=device), torch.arange(7, device=device) * 2
    guess(logits, text, last)
    expected = torch.full((7, 20), -1, device=device)
    expected[torch.arange(7, device=device), last + 1] = torch.tensor([row.tolist().index(row.max()) for row in logits],
                                                                      device=device)  # fmt: skip
    assert torch.equal(text, expected)


def in_steps(rounds, logits):
    """What `Rounds._step` does after the model, with these logits."""
    rounds.fused = False
    rounds._guess = lambda noise: []
    rounds.model = copy.copy(rounds.model)

    def states(checked, cache, mtp):
        cache.place(checked.shape[1])
        return type("States", (), {"hidden": logits})

    rounds.model.states, rounds.model.lm_head = states, torch.nn.Identity()
    rounds._step()


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_a_round_ends_as_in_steps(depth, seed, device):
    """Guesses that are right at none, some and all places, rows that end by a token, by the limit, or long ago."""
    rows, seeded = 16, torch.Generator().manual_seed(seed)
    model = MiniDeepSeek(CONFIG, torch.Generator().manual_seed(0)).to(device)
    rounds = Rounds(model, rows, 40, depth, Sampling(0.0))
    logits = torch.randn(rows, depth + 1, 12, generator=seeded).to(device)
    rounds.text.random_(12, generator=None if device == "cuda" else seeded)
    ends = torch.randint(5, 15, (rows,), generator=seeded).to(device)
    right = torch.rand(rows, depth, generator=seeded).to(device) < 0.7
    places = ends[:, None] + 1 + torch.arange(depth, device=device)
    guessed = torch.where(right, logits[:, :-1].argmax(-1), rounds.text.gather(1, places))
    rounds.text.scatter_(1, places, guessed)
    rounds.cache.ends.copy_(ends)
    rounds.starts.copy_(ends - torch.randint(0, 4, (rows,), generator=seeded).to(device))
    rounds.limit.fill_(6)
    rounds.stops[3] = True
    rounds.done.copy_((torch.rand(rows, generator=seeded) < 0.2).to(device))
    ours = {name: getattr(rounds, name).clone() for name in ("text", "logprobs", "done", "passes")}
    grown = rounds.cache.ends + depth + 1
    check(logits, ours["text"], ours["logprobs"], grown, rounds.starts, ours["done"], ours["passes"], rounds.limit,
          rounds.stops)  # fmt: skip
    in_steps(rounds, logits)
    assert torch.equal(grown, rounds.cache.ends)
    for name in ("text", "done", "passes"):
        assert torch.equal(ours[name], getattr(rounds, name)), name
    torch.testing.assert_close(ours["logprobs"], rounds.logprobs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("temperature", "by_kernels"), [(0.0, True), (1.0, False)])
def test_greedy_rounds_use_them(temperature, by_kernels, device):
    model = MiniDeepSeek(CONFIG, torch.Generator().manual_seed(0)).to(device)
    assert not Rounds(model, 2, 40, 1, Sampling(temperature)).fused
    assert Rounds(model.use(Kernels(step="triton")), 2, 40, 1, Sampling(temperature)).fused == by_kernels


def test_they_compile_for_hopper(compiled):
    made = compiled(
        guesses._check,
        {"logits": "*bf16", "text": "*i64", "text_row": "i32", "logprobs": "*fp32", "logprobs_row": "i32",
         "ends": "*i64", "starts": "*i64", "done": "*u8", "passes": "*i64", "limit": "*i64", "stops": "*u8",
         "vocab": "i32"}, {"NEW": 3, "VOCAB": 128},
    )  # fmt: skip
    assert made.stack == 0
    made = compiled(
        guesses._guess,
        {"logits": "*bf16", "logits_row": "i32", "text": "*i64", "text_row": "i32", "last": "*i64", "vocab": "i32"},
        {"VOCAB": 128},
    )  # fmt: skip
    assert made.stack == 0
