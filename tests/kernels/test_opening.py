import pytest
import torch

from minidsk import MiniDeepSeek, ModelConfig
from minidsk.kernels import opening as kernels
from minidsk.kernels.opening import joined, joined_reference, opening, opening_reference

DTYPES = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "new", "hidden", "pairs"), [(1, 1, 16, 2), (5, 3, 70, 6), (3, 2, 257, 16)])
@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_tokens_are_looked_up_and_angles_are_made(rows, new, hidden, pairs, dtype, factor, normal, device):
    """Also of ids and slots that are columns of something wider, and before a row begins."""
    embedding, frequencies = normal(20, hidden, dtype=dtype), normal(pairs).abs()
    ids = torch.randint(20, (rows, 9), generator=torch.Generator().manual_seed(1)).to(device)[:, 2 : 2 + new]
    begins = torch.arange(rows, device=device) * 50
    slots = (begins[:, None] + torch.arange(-1, 8, device=device) * 37)[:, :new]
    ours = opening(ids, embedding, slots, begins, frequencies, factor)
    theirs = opening_reference(ids, embedding, slots, begins, frequencies, factor)
    assert torch.equal(ours[0], theirs[0])
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine, other, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5)


def test_angles_are_the_model_s(device):
    config = ModelConfig(vocab_size=20, hidden_size=24, qk_rope_head_dim=8)
    model = MiniDeepSeek(config, torch.Generator().manual_seed(0)).to(device)
    ids, slots = torch.tensor([[3], [7]], device=device), torch.tensor([[300], [12]], device=device)
    begins = torch.tensor([1, 12], device=device)
    with torch.no_grad():
        x, cos, sin = opening(ids, model.embed_tokens.weight, slots, begins, model.frequencies)
        embedded, angles = model._embedded(ids, slots - begins[:, None])
    assert torch.equal(x, embedded)
    torch.testing.assert_close((cos, sin), angles, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "new", "hidden"), [(1, 1, 16), (5, 3, 70), (2, 4, 257)])
def test_a_module_reads_its_token_and_the_state_before(rows, new, hidden, dtype, normal, device, close):
    kept, embedded = normal(rows, 12, hidden, dtype=dtype), normal(rows, new, hidden, dtype=dtype)
    first, second = normal(hidden, dtype=dtype), normal(hidden, dtype=dtype)
    slots = torch.arange(rows, device=device)[:, None] + torch.arange(new, device=device)  # row 0 begins at slot 0
    ours = joined(embedded, kept, slots, first, second, 1e-5)
    assert (ours.dtype, ours.shape) == (dtype, (rows, new, 2 * hidden))
    close(ours, joined_reference(embedded.double(), kept.double(), slots, first.double(), second.double(), 1e-5))


def test_nothing_to_open(normal, device):
    none = torch.zeros(0, 1, dtype=torch.long, device=device)
    assert opening(none, normal(5, 4), none, none[:, 0], normal(2).abs())[0].shape == (0, 1, 4)


def test_they_compile_for_hopper(compiled):
    places = {"slots": "*i64", "slot_row": "i32", "slot_time": "i32", "new": "i32", "hidden": "i32"}
    made = compiled(
        kernels._opening,
        {"ids": "*i64", "id_row": "i32", "id_time": "i32", "embedding": "*bf16", "embedding_row": "i32",
         "begins": "*i64", "frequencies": "*fp32", "x": "*bf16", "cos": "*bf16", "sin": "*bf16", "pairs": "i32",
         "factor": "fp32", **places}, {"HIDDEN": 256, "PAIRS": 8},
    )  # fmt: skip
    assert made.stack < 64  # of the cosine, which keeps a little there for very large angles
    made = compiled(
        kernels._joined,
        {"embedded": "*bf16", "kept": "*bf16", "kept_row": "i32", "kept_slot": "i32", "of_token": "*bf16",
         "of_state": "*bf16", "both": "*bf16", "eps": "fp32", **places}, {"HIDDEN": 256},
    )  # fmt: skip
    assert made.stack == 0
