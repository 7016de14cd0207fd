import pytest
import torch

from minidsk.model.attention import MultiHeadLatentAttention
from minidsk.model.cache import LatentCache, added
from minidsk.model.rope import inverse_frequencies, rotation
from minidsk.train.device import precision


@pytest.fixture
def layer(small):
    """A float64 attention layer and inputs ``[2, 9, hidden]`` with their rotation."""

    def make(**changes):
        config = small.replace(**changes)
        torch.manual_seed(0)
        attention = MultiHeadLatentAttention(config).double()
        for parameter in attention.parameters():
            torch.nn.init.normal_(parameter, 0.0 if parameter.dim() > 1 else 1.0, 0.3)
        x = torch.randn(2, 9, config.hidden_size, dtype=torch.float64)
        turn = rotation(torch.arange(9)[None], inverse_frequencies(config).double())
        return attention, x, turn

    return make


VARIANTS = [{}, {"q_lora_rank": 7, "attention_bias": True}, {"rope_interleave": False},
            {"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 32,
                              "mscale_all_dim": 1.0}}]  # fmt: skip


@pytest.mark.parametrize("changes", VARIANTS)
def test_absorbed_is_naive_with_gradients(layer, changes):
    attention, x, turn = layer(**changes)
    naive, absorbed = attention(x, turn, absorb=False), attention(x, turn, absorb=True)
    torch.testing.assert_close(absorbed, naive, atol=1e-10, rtol=0)
    direction = torch.randn_like(naive)
    for a, b in zip(*(torch.autograd.grad((y * direction).sum(), tuple(attention.parameters()), retain_graph=True)
                      for y in (naive, absorbed)), strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


def test_naive_is_attention_over_the_heads_one_by_one(layer, small):
    attention, x, turn = layer()
    dn, dr, dv, r = small.qk_nope_head_dim, small.qk_rope_head_dim, small.v_head_dim, small.kv_lora_rank
    position = torch.arange(9, dtype=torch.float64)[:, None] * inverse_frequencies(small).double()

    def turned(z):  # [9, dr], as complex numbers
        z = torch.view_as_complex(z.reshape(9, dr // 2, 2)) * torch.polar(torch.ones_like(position), position)
        return torch.view_as_real(z).flatten(1)

    out = []
    for row in x:
        down = row @ attention.kv_a_proj_with_mqa.weight.T
        latent = attention.kv_a_layernorm(down[:, :r])
        kv, q = latent @ attention.kv_b_proj.weight.T, row @ attention.q_proj.weight.T
        heads = []
        for h in range(small.num_attention_heads):
            head, key_value = q[:, h * (dn + dr) :][:, : dn + dr], kv[:, h * (dn + dv) :][:, : dn + dv]
            scores = head[:, :dn] @ key_value[:, :dn].T + turned(head[:, dn:]) @ turned(down[:, r:]).T
            scores = scores / (dn + dr) ** 0.5 + torch.full((9, 9), -torch.inf).triu(1)
            heads.append(scores.softmax(-1) @ key_value[:, dn:])
        out.append(torch.cat(heads, -1) @ attention.o_proj.weight.T)
    torch.testing.assert_close(attention(x, turn), torch.stack(out), atol=1e-10, rtol=0)


def part(turn, start, stop):
    return turn[0][:, start:stop], turn[1][:, start:stop]


@pytest.mark.parametrize("absorb", [None, False, True])
@pytest.mark.parametrize("chunks", [[9], [1] * 9, [4, 1, 3, 1]])
def test_cached_is_uncached(layer, chunks, absorb):
    attention, x, turn = layer()
    cache = LatentCache(attention.config, 2, 12, layers=1, dtype=torch.float64)
    start, out = 0, []
    for size in chunks:
        mask = cache.open(torch.ones(2, size, dtype=torch.bool))
        piece = x[:, start : start + size]
        out.append(attention(piece, part(turn, start, start + size), mask, cache, absorb=absorb))
        start += size
    torch.testing.assert_close(torch.cat(out, 1), attention(x, turn), atol=1e-10, rtol=0)


def test_static_cache_is_the_growing_one(layer):
    attention, x, turn = layer()
    growing, static = (LatentCache(attention.config, 2, 12, layers=1, dtype=torch.float64) for _ in range(2))
    for cache in (growing, static):
        attention(x[:, :5], part(turn, 0, 5), cache.open(torch.ones(2, 5, dtype=torch.bool)), cache)
    static.static = True
    for step in range(5, 9):
        outs = [attention(x[:, step : step + 1], part(turn, step, step + 1), mask, cache)
                for cache in (growing, static)
                for mask in [cache.open(torch.ones(2, 1, dtype=torch.bool))]]  # fmt: skip
        torch.testing.assert_close(outs[1], outs[0])
    assert torch.equal(static.entries, growing.entries)


def test_padding_is_not_seen(layer):
    attention, x, turn = layer()
    cache = LatentCache(attention.config, 2, 9, layers=1, dtype=torch.float64)
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[:, :3] = False
    y = attention(x, turn, cache.open(valid), cache)
    torch.testing.assert_close(y[:, 3:], attention(x[:, 3:], part(turn, 3, 9)), atol=1e-10, rtol=0)


@pytest.mark.parametrize("static", [False, True])
def test_an_added_mask_is_the_mask(layer, static):
    """The fused way of a GPU, here by torch's own attention: several tokens, then one; padding sees nothing."""
    attention, x, turn = layer()
    caches = [LatentCache(attention.config, 2, 12, layers=1, dtype=torch.float64) for _ in range(2)]
    valid = torch.ones(2, 6, dtype=torch.bool)
    valid[1, :2] = False
    outs = [attention(x[:, :6], part(turn, 0, 6), mask, cache) for cache in caches
            for mask in [cache.open(valid)]
            for mask in [added(mask, x.dtype) if cache is caches[1] else mask]]  # fmt: skip
    torch.testing.assert_close(outs[1][valid], outs[0][valid], atol=1e-10, rtol=0)
    assert outs[1].isfinite().all()
    for cache in caches:
        cache.static = static
    masks = [cache.open(torch.ones(2, 1, dtype=torch.bool)) for cache in caches]
    plain, fused = (attention(x[:, 6:7], part(turn, 6, 7), mask, cache)
                    for mask, cache in zip((masks[0], added(masks[1], x.dtype)), caches, strict=True))  # fmt: skip
    torch.testing.assert_close(fused, plain, atol=1e-10, rtol=0)


def test_what_is_added_is_finite_and_leaves_nothing():
    mask = added(torch.tensor([[True, False], [False, False]]), torch.bfloat16)
    assert mask.isfinite().all()
    assert mask.float().softmax(-1).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_positions_count_valid_tokens(small):
    growing, static = (LatentCache(small, 2, 8, layers=1) for _ in range(2))
    valid = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]]).bool()
    for cache in (growing, static):
        cache.open(valid)
        assert cache.positions().tolist() == [[0, 1, 2, 3], [0, 0, 0, 1]]
    static.static = True
    for expected in ([[4], [2]], [[5], [3]]):
        for cache in (growing, static):
            cache.open(torch.ones(2, 1, dtype=torch.bool))
            assert cache.positions().tolist() == expected


def test_where_widths_vary_cudnn_is_kept_away_and_given_back():
    allowed = torch.backends.cuda.cudnn_sdp_enabled
    before = allowed()
    with precision(torch.device("cpu")):
        assert not allowed()
        assert torch.backends.cuda.flash_sdp_enabled()
    with precision(torch.device("cpu"), fixed_width=True):
        assert allowed() == before
    assert allowed() == before


def test_bytes_per_token(small):
    cache = LatentCache(small, 4, 10, dtype=torch.bfloat16)
    assert cache.bytes_per_token == 2 * (small.kv_lora_rank + small.qk_rope_head_dim) * small.num_hidden_layers
    assert cache.entries.nbytes == 4 * 10 * cache.bytes_per_token
    v3 = small.replace(num_hidden_layers=61, kv_lora_rank=512, qk_rope_head_dim=64)
    assert LatentCache(v3, 1, 1, dtype=torch.bfloat16).bytes_per_token == 2 * 35_136


def test_a_full_cache_says_so_and_stays_as_it_was(small):
    cache = LatentCache(small, 1, 4)
    cache.open(torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="cache: 5 tokens do not fit its 4 slots; make it larger"):
        cache.open(torch.ones(1, 2, dtype=torch.bool))
    assert cache.lengths.tolist() == [3]
    assert cache.open(torch.ones(1, 1, dtype=torch.bool)).shape == (1, 1, 1, 4)


def test_rows_that_ended_leave_the_cache(small):
    cache = LatentCache(small, 3, 4)
    cache.entries.copy_(torch.arange(3.0)[None, :, None, None].expand_as(cache.entries))
    cache = cache.fork(torch.tensor([True, False, True]))
    assert cache.entries[0, :, 0, 0].tolist() == [0.0, 2.0]
    assert cache.lengths.shape == (2,)
