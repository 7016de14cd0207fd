"""The loss of a batch, by all logits and by the fused kernel: the same numbers, the same gradients."""

import pytest
import torch
import torch.nn.functional as F

from minidsk import MiniDeepSeek, ModelConfig
from minidsk.model.operations import Kernels
from minidsk.train.loss import prediction_losses

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CONFIG = ModelConfig(vocab_size=300, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, kv_lora_rank=12,
                     qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8, intermediate_size=32,
                     first_k_dense_replace=1, moe_intermediate_size=12, n_routed_experts=4, num_experts_per_tok=2,
                     num_nextn_predict_layers=2, initializer_range=0.2)  # fmt: skip


def model_of(kernels, **changes):
    model = MiniDeepSeek(CONFIG.replace(**changes), torch.Generator().manual_seed(0)).to(DEVICE)
    return model.use(Kernels.all(kernels))


def batch():
    return torch.randint(300, (2, 12), generator=torch.Generator().manual_seed(1)).to(DEVICE)


@pytest.mark.parametrize("kernels", ["torch", "triton"])
def test_each_loss_is_what_the_paper_says(kernels):
    model, ids = model_of(kernels), batch()
    losses, routing = prediction_losses(model, ids, 0.3)
    out = model(ids[:, :-1])
    main = -out.logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).mean()
    ahead = [-logits.log_softmax(-1).gather(-1, ids[:, 1 + k :, None]).sum() / ids[:, 1:].numel()
             for k, logits in enumerate(out.mtp_logits, 1)]  # fmt: skip
    torch.testing.assert_close(losses["loss"], main, rtol=1e-5, atol=0)
    torch.testing.assert_close(losses["mtp_loss"], 0.3 * sum(ahead) / 2, rtol=1e-5, atol=0)
    assert len(routing) == 3


def test_a_model_in_float64_learns_from_losses_in_float64():
    model, ids = model_of("torch").double(), batch()
    losses, _ = prediction_losses(model, ids, 0.3)
    out = model(ids[:, :-1])
    ahead = [F.cross_entropy(logits.mT, ids[:, 1 + k :]) * (11 - k) / 11 for k, logits in enumerate(out.mtp_logits, 1)]
    torch.testing.assert_close(losses["loss"], F.cross_entropy(out.logits.mT, ids[:, 1:]), rtol=1e-13, atol=0)
    torch.testing.assert_close(losses["mtp_loss"], 0.3 * sum(ahead) / 2, rtol=1e-13, atol=0)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("within_pages", [False, True])
def test_with_and_without_the_gradients_agree(tied, within_pages):
    ids = batch()
    documents = (ids[:, :-1] % 5 == 0).cumsum(1) if within_pages else None
    found = []
    for kernels in ("torch", "triton"):
        model = model_of(kernels, tie_word_embeddings=tied)
        losses, _ = prediction_losses(model, ids, 0.3, documents)
        (losses["loss"] + losses["mtp_loss"]).backward()
        found.append((losses, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (plain, plain_grads), (fused, fused_grads) = found
    assert plain.keys() == fused.keys() == {"loss", "mtp_loss"}
    for name in plain:
        torch.testing.assert_close(fused[name], plain[name], rtol=1e-5, atol=0)
    assert plain_grads.keys() == fused_grads.keys()
    for name, grad in plain_grads.items():
        assert (fused_grads[name] - grad).norm() <= 1e-4 * grad.norm(), name


def test_the_fused_loss_never_asks_for_logits():
    model = model_of("triton")

    def refuse(*_):
        raise AssertionError("the head made logits")

    model.lm_head.register_forward_pre_hook(refuse)
    prediction_losses(model, batch(), 0.3)
    with pytest.raises(AssertionError, match="the head made logits"):
        model(batch())


def test_no_weight_no_modules():
    for kernels in ("torch", "triton"):
        losses, routing = prediction_losses(model_of(kernels), batch(), 0.0)
        assert losses.keys() == {"loss"}
        assert len(routing) == 1
