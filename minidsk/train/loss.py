"""How wrong a model's predictions are, at every position of a batch: the next token, and those further ahead."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from torch import Tensor, nn

from minidsk.model.moe import Routing
from minidsk.model.mtp import mtp_loss
from minidsk.model.precision import at_least_float32
from minidsk.model.transformer import MiniDeepSeek


def prediction_losses(
    model: MiniDeepSeek, ids: Tensor, mtp_weight: float, documents: Tensor | None = None
) -> tuple[dict[str, Tensor], list[Routing]]:
    """The mean cross-entropy on `ids` ``[batch, time + 1]`` by name, `loss` and `mtp_loss`; and who was routed where.

    `mtp_loss` is `minidsk.model.mtp.mtp_loss` (V3, equations 24 and 25), left out where `mtp_weight` is 0; `documents`
    ``[batch, time]`` as in `MiniDeepSeek.forward`. With ``kernels="triton"`` the head and its loss are one, and the
    logits of all positions are never held.
    """
    inputs, targets = ids[:, :-1], ids[:, 1:]
    if model.config.kernels == "triton":
        return _fused(model, inputs, targets, mtp_weight, documents)
    out = model(inputs, documents=documents, mtp=mtp_weight > 0)
    losses = {"loss": F.cross_entropy(at_least_float32(out.logits).flatten(0, 1), targets.flatten())}
    if out.mtp_logits:
        losses["mtp_loss"] = mtp_loss(out.mtp_logits, targets, mtp_weight)
    return losses, out.routing


def _fused(
    model: MiniDeepSeek, inputs: Tensor, targets: Tensor, mtp_weight: float, documents: Tensor | None
) -> tuple[dict[str, Tensor], list[Routing]]:
    from minidsk.kernels.cross_entropy import linear_cross_entropy

    def mean(hidden: Tensor, wanted: Tensor) -> Tensor:
        return linear_cross_entropy(hidden.flatten(0, 1), model.lm_head.weight, wanted.flatten())

    out = headless(model)(inputs, documents=documents, mtp=mtp_weight > 0)
    losses, ahead = {"loss": mean(out.logits, targets)}, out.mtp_logits
    if ahead:
        # As in `mtp_loss`, each sum is divided by the number of main targets: the mean, times what there is.
        sums = [mean(hidden, targets[:, k:]) * hidden.shape[1] for k, hidden in enumerate(ahead, start=1)]
        losses["mtp_loss"] = mtp_weight * sum(sums) / (len(ahead) * targets.shape[1])
    return losses, out.routing


def headless(model: MiniDeepSeek) -> MiniDeepSeek:
    """A view of `model` with the same weights that stops before the head: where it gave logits, it gives the hidden
    states that the head would read."""
    view = copy.copy(model)
    view._modules = dict(model._modules)
    view.lm_head = nn.Identity()  # type: ignore[assignment]
    return view
