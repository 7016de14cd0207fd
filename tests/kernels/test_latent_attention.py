import pytest
import torch

from minidsk.kernels.latent_attention import latent_attention, latent_attention_reference

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def case(normal, batch, heads, new, rank, rope, capacity, dtype=torch.float32):
    """Arguments of both functions, some rows with nothing before them, and some that begin late."""
    device = normal(1).device
    first = torch.arange(batch, device=device) * 7 % (capacity - new + 1)
    angle = normal(batch, new, rope // 2, scale=3)
    tensors = [normal(batch, heads, new, rank, dtype=dtype), normal(batch, heads, new, rope, dtype=dtype),
               normal(batch, new, rank + rope, dtype=dtype), normal(rank, dtype=dtype), angle.cos().to(dtype),
               angle.sin().to(dtype), normal(batch, capacity, rank + rope, dtype=dtype)]  # fmt: skip
    begins = first // 3
    begins[-1] = first[-1] + new // 2  # whose first new tokens are padding
    return [*tensors, begins, first[:, None] + torch.arange(new, device=device), 0.3]


def wide(arguments):
    return [x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in arguments]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("interleave", [True, False])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 4, 2, 3), (5, 3, 4, 24, 6, 40), (6, 8, 1, 64, 16, 100), (3, 20, 2, 32, 8, 65)], ids=str
)
def test_one_kernel_does_all_steps(shape, interleave, dtype, normal, close):
    arguments = case(normal, *shape, dtype=dtype)
    exact = wide(arguments)
    ours = latent_attention(*arguments, interleave=interleave)
    expected = latent_attention_reference(*exact, interleave=interleave)
    assert (ours.dtype, ours.shape) == (dtype, arguments[0].shape)
    close(ours, expected)
    close(arguments[6], exact[6])


def test_only_what_a_text_holds_is_read_and_only_its_slots_are_written(normal):
    arguments = case(normal, 6, 4, 2, 16, 8, 50)
    entries, begins, slots = arguments[6:9]
    places = torch.arange(50, device=entries.device)
    written = (places >= slots[:, :1]) & (places <= slots[:, 1:])
    elsewhere = (places < begins[:, None]) | (places >= slots[:, :1])
    expected = latent_attention(*arguments[:6], entries.clone(), *arguments[7:])
    entries[elsewhere] = float("nan")
    assert torch.equal(latent_attention(*arguments), expected)
    assert torch.equal(entries.isnan().all(-1), elsewhere & ~written)


def test_several_tokens_are_those_that_follow_each_other(normal):
    q, q_rope, kv, weight, cos, sin, entries, begins, slots, scale = case(normal, 5, 3, 4, 16, 8, 40)
    begins = torch.minimum(begins, slots[:, 0])  # nothing is padding
    together, alone = entries.clone(), entries.clone()
    ours = latent_attention(q, q_rope, kv, weight, cos, sin, together, begins, slots, scale)
    for t in range(4):
        at = slice(t, t + 1)
        one = latent_attention(q[:, :, at], q_rope[:, :, at], kv[:, at], weight, cos[:, at], sin[:, at], alone, begins,
                               slots[:, at], scale)  # fmt: skip
        torch.testing.assert_close(ours[:, :, at], one, rtol=1e-5, atol=1e-5)
    assert torch.equal(together, alone)


def test_parts_of_other_tensors_and_one_angle_for_all(normal):
    """As attention has them: queries of a joint product, one layer of a cache, rows that are at the same place."""
    q, q_rope, kv, weight, cos, sin, entries, begins, slots, scale = case(normal, 4, 3, 2, 16, 8, 20)
    joint = torch.cat((normal(4, 3, 2, 5), q_rope), -1)[..., 5:]
    layers = torch.stack((entries * 0, entries), 1)[:, 1]
    rest = weight, cos[:1], sin[:1]
    ours = latent_attention(q.transpose(1, 2).contiguous().transpose(1, 2), joint, kv, *rest, layers, begins, slots,
                            scale)  # fmt: skip
    expected = latent_attention_reference(q, q_rope, kv, *rest, entries, begins, slots, scale)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layers, entries, rtol=1e-5, atol=1e-5)
