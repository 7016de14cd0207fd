import pytest
import torch

from minidsk.model.mtp import mtp_loss
from minidsk.model.rope import rotation


@torch.no_grad()
@pytest.mark.parametrize("depths", [0, 1, 3])
def test_shapes(make, ids, depths):
    model = make(num_nextn_predict_layers=depths)
    out = model(ids)
    assert [logits.shape for logits in out.mtp_logits] == [(3, 11 - k, 32) for k in range(1, depths + 1)]
    assert len(out.routing) == len(model.routers()) == 2 + depths  # the first of three layers is dense
    assert model(ids, mtp=False).mtp_logits == []
    assert len(model(ids, mtp=False).routing) == 2


@torch.no_grad()
def test_depth_k_reads_the_token_k_ahead_and_none_further(make, ids):
    model = make(num_nextn_predict_layers=2)
    before = model(ids)
    for changed in range(ids.shape[1]):
        other = ids.clone()
        other[:, changed] = (other[:, changed] + 1) % 32
        after = model(other)
        for k, (a, b) in enumerate(zip([before.logits, *before.mtp_logits], [after.logits, *after.mtp_logits],
                                       strict=True)):  # fmt: skip
            moved = (a - b).abs().amax(-1) > 1e-9
            first = max(changed - k, 0)
            assert not moved[:, :first].any()
            assert moved[:, first].all()  # position i of depth k is the first that sees token i + k


@torch.no_grad()
def test_a_module_by_hand(make, ids):
    model = make(num_nextn_predict_layers=1)
    out, module = model(ids), model.mtp[0]
    normed = torch.cat((module.enorm(model.embed_tokens(ids[:, 1:])), module.hnorm(out.hidden[:, :-1])), -1)
    # A shift of all positions changes nothing, so the block may count from 0 here.
    turn = tuple(part[:, :10] for part in _rotation(model))
    x, _ = module.block(normed @ module.eh_proj.weight.T, turn)
    torch.testing.assert_close(out.mtp_logits[0], module.norm(x) @ model.lm_head.weight.T, atol=1e-6, rtol=0)


def _rotation(model):
    return rotation(torch.arange(11)[None], model.frequencies)


@torch.no_grad()
def test_a_sequence_too_short_to_look_ahead(make):
    out = make(num_nextn_predict_layers=2)(torch.tensor([[3, 4]]))
    assert [logits.shape[1] for logits in out.mtp_logits] == [1, 0]
    assert torch.isfinite(mtp_loss(out.mtp_logits, torch.tensor([[4, 5]]), 0.3))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("depths", [1, 2])
def test_loss_against_a_loop(depths, masked):
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, 7 - k, 5, generator=generator, requires_grad=True) for k in range(1, depths + 1)]
    document = torch.randint(5, (2, 8), generator=generator)
    mask = torch.rand(2, 7, generator=generator) > 0.4 if masked else None
    total = 0.0
    for k in range(1, depths + 1):
        for b in range(2):
            for i in range(7 - k):  # depth k at position i predicts token i + k + 1, which is main target i + k
                if mask is None or mask[b, i + k]:
                    total -= logits[k - 1][b, i].double().log_softmax(-1)[document[b, i + k + 1]].item()
    count = 14 if mask is None else mask.sum().item()
    loss = mtp_loss(logits, document[:, 1:], 0.3, mask)
    assert loss.item() == pytest.approx(0.3 / depths * total / count, rel=1e-5)
    loss.backward()
    assert all(part.grad.abs().sum() > 0 for part in logits)


def test_loss_of_no_depth_is_zero():
    assert mtp_loss([], torch.zeros(1, 3, dtype=torch.long), 0.3) == 0


def test_the_loss_trains_the_shared_embedding_and_head(make, ids):
    model = make(num_nextn_predict_layers=1)
    mtp_loss(model(ids[:, :-1]).mtp_logits, ids[:, 1:], 0.3).backward()
    for parameter in (model.embed_tokens.weight, model.lm_head.weight, model.mtp[0].eh_proj.weight,
                      model.layers[0].self_attn.o_proj.weight):  # fmt: skip
        assert parameter.grad.abs().sum() > 0
