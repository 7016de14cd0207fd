"""How wrong a model's predictions are, at every position of a batch: the next token, and those further ahead."""

from __future__ import annotations

import torch
from torch import Tensor

from minidsk.model.moe import Routing
from minidsk.model.transformer import MiniDeepSeek


def prediction_losses(
    model: MiniDeepSeek, ids: Tensor, mtp_weight: float, documents: Tensor | None = None
) -> tuple[dict[str, Tensor], list[Routing]]:
    """The mean cross-entropy on `ids` ``[batch, time + 1]`` by name, `loss` and `mtp_loss`; and who was routed where.

    `mtp_loss` is `minidsk.model.mtp.mtp_loss` (V3, equations 24 and 25), left out where `mtp_weight` is 0; `documents`
    ``[batch, time]`` as in `MiniDeepSeek.states`. The head and its loss are one operation of the model's kernels.
    """
    inputs, targets = ids[:, :-1], ids[:, 1:]
    states = model.states(inputs, documents=documents, mtp=mtp_weight > 0)
    loss_of = model.kernels.operation("loss")

    def mean(hidden: Tensor, wanted: Tensor) -> Tensor:
        return loss_of(hidden.flatten(0, 1), model.lm_head.weight, wanted.flatten())

    losses = {"loss": mean(states.hidden, targets)}
    if states.ahead:
        # Each sum is divided by the number of main targets: the mean, times what there is.
        sums = [mean(hidden, targets[:, k:]) * hidden.shape[1] for k, hidden in enumerate(states.ahead, start=1)]
        losses["mtp_loss"] = mtp_weight * torch.stack(sums).sum() / (len(sums) * targets.shape[1])
    return losses, states.routing
