import pytest
import torch

from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def test_left_padded_batch_is_its_single_rows(make, ids):
    model = make()
    lengths = [4, 11, 1]
    padded, valid = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, length in enumerate(lengths):
        padded[row, -length:], valid[row, -length:] = ids[row, :length], True
    for out in (model(padded, attention_mask=valid), model(padded, attention_mask=valid, cache=model.new_cache(3, 20))):
        assert torch.isfinite(out.logits).all()
        for row, length in enumerate(lengths):
            torch.testing.assert_close(out.logits[row, -length:], model(ids[row : row + 1, :length]).logits[0],
                                       atol=1e-6, rtol=0)  # fmt: skip


@torch.no_grad()
def test_nothing_sees_what_comes_later(make, ids):
    model = make()
    before = model(ids).logits
    for changed in range(11):
        other = ids.clone()
        other[:, changed] = (other[:, changed] + 1) % 32
        moved = (model(other).logits - before).abs().amax(-1) > 1e-9
        assert not moved[:, :changed].any()
        assert moved[:, changed].all()
        assert moved[:, changed:].float().mean() > 0.9


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"q_lora_rank": 9}, {"n_routed_experts": 0}])
def test_cached_is_uncached(make, ids, changes):
    model = make(**changes)
    expected = model(ids).logits
    for chunks in ([11], [1] * 11, [5, 1, 4, 1]):
        cache = model.new_cache(3, 11)
        parts = [model(part, cache=cache).logits for part in ids.split(chunks, 1)]
        torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-10, rtol=0)


def test_documents_in_one_row_are_as_if_alone(make, ids):
    """Rotations tell distances alone, so a document deep in a row gives what it gives at the start, MTP too."""
    model = make(num_nextn_predict_layers=1)
    first, second = ids[:1, :5], ids[1:2, :7]
    documents = torch.tensor([[1] * first.shape[1] + [2] * second.shape[1]])
    packed = model(torch.cat((first, second), 1), documents=documents)
    assert torch.allclose(packed.logits[:, :5], model(first).logits, atol=1e-10)
    assert torch.allclose(packed.logits[:, 5:], model(second).logits, atol=1e-10)
    assert torch.allclose(packed.mtp_logits[0][:, 5:], model(second).mtp_logits[0], atol=1e-10)
    assert not torch.allclose(model(torch.cat((first, second), 1)).logits[:, 5:], packed.logits[:, 5:], atol=1e-3)


def test_a_seed_gives_a_model_and_leaves_the_global_generator_alone(small):
    before = torch.get_rng_state()
    first, again, other = (MiniDeepSeek(small, seeded(seed)).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["embed_tokens.weight"], other["embed_tokens.weight"])


def test_initial_weights(small):
    model = MiniDeepSeek(small.replace(initializer_range=0.05, attention_bias=True, q_lora_rank=8,
                                       num_nextn_predict_layers=1), seeded(0))  # fmt: skip
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            assert (parameter == (0 if name.endswith("bias") else 1)).all(), name
        else:
            assert parameter.std().item() == pytest.approx(0.05, rel=0.25), name
            assert abs(parameter.mean().item()) < 0.02, name
    assert all((router.e_score_correction_bias == 0).all() for router in model.routers())


def test_tied_embeddings(make, ids):
    model = make(tie_word_embeddings=True)
    assert model.lm_head.weight is model.embed_tokens.weight
    assert "lm_head.weight" not in dict(model.named_parameters())
    model(ids).logits.sum().backward()
    assert model.bfloat16().lm_head.weight is model.embed_tokens.weight
    assert make().lm_head.weight is not make().embed_tokens.weight


def test_state_dict(make, ids):
    model, other = make(seed=1), make(seed=2)
    state = model.state_dict()
    assert "frequencies" not in state  # it follows from the configuration
    other.load_state_dict(state)
    assert torch.equal(other(ids).logits, model(ids).logits)


def test_output(make, ids):
    model = make()
    out = model(ids)
    assert out.logits.shape == (3, 11, 32)
    assert out.hidden.shape == (3, 11, 24)
    torch.testing.assert_close(out.hidden @ model.lm_head.weight.T, out.logits)
    for routing, router in zip(out.routing, model.routers(), strict=True):
        assert routing.scores.shape == (3, 11, 8)
        assert routing.indices.shape == (3, 11, 3)
        assert routing.load().sum() == 3 * 11 * 3
        assert router.e_score_correction_bias.shape == (8,)


def test_every_parameter_learns(make, ids):
    model = make(q_lora_rank=8, attention_bias=True, num_nextn_predict_layers=1)
    out = model(ids)
    (out.logits.square().sum() + out.mtp_logits[0].square().sum()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert idle == []


def test_a_bfloat16_model_runs_and_stays_near(make, ids):
    model = make(n_routed_experts=0).float()
    with torch.no_grad():
        expected = model(ids).logits
        logits = model.bfloat16()(ids).logits
    assert logits.dtype == torch.bfloat16
    assert (logits - expected).abs().mean() < 0.03 * expected.abs().mean()
    assert model.new_cache(1, 3).entries.dtype == torch.bfloat16


def test_a_model_learns_a_sequence_by_heart():
    model = MiniDeepSeek(ModelConfig(vocab_size=16, hidden_size=32, num_hidden_layers=2, n_routed_experts=4), seeded(0))
    ids = torch.randint(16, (4, 12), generator=seeded(1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):  # after 100 a model of each of four seeds does, on each of three processors
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    assert model.generate(ids[:1, :4], 8, 0.0).tolist() == ids[:1].tolist()
