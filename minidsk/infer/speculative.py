"""Speculative decoding with the model's own MTP modules: guess a few tokens, check them in one pass, lose nothing.

The modules of multi-token prediction (`model.mtp`) guess the next tokens; one pass of the model looks at all of them
at once and keeps those that it would have drawn itself (`minidsk.infer.acceptance`). Nothing is lost: what is written
follows the model's own probabilities exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from minidsk.infer.generate import Decoded, asked, decoded
from minidsk.infer.noise import streams
from minidsk.infer.recorder import Recorder
from minidsk.infer.rounds import Rounds
from minidsk.infer.sampling import Sampling
from minidsk.model.transformer import MiniDeepSeek

LOOK = 4  # recorded rounds between looks at who is done: to look is to wait for the GPU


@dataclass
class Speculated(Decoded):
    """As `Decoded`; beside it how many passes of the model each row took, and how many guesses each pass kept.

    `passes`, `kept` and `drafted` int64 ``[batch]``: a row of n tokens took `passes` passes, of which each but the
    first, the prompt's, checked guesses: `drafted` in all, `kept` of them right.
    """

    passes: Tensor
    kept: Tensor
    drafted: Tensor


@torch.no_grad()
def speculate(
    model: MiniDeepSeek,
    ids: Tensor,
    max_new_tokens: int,
    depth: int = 1,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    attention_mask: Tensor | None = None,
    eos_token_id: int | Iterable[int] | None = None,
    pad_token_id: int = 0,
    recorder: Recorder | None = None,
) -> Speculated:
    """Continue `ids` ``[batch, time]`` as `decode` does, with `depth` guesses for each pass.

    Greedy text is that of `decode`; drawn text has its distribution, and as there each row has noise of its own. A
    `depth` beyond the model's modules uses the last one again, on its own states. `recorder` as for `decode`. Raises
    `ValueError` for a model without modules.
    """
    sampling = Sampling(temperature, top_k, top_p)
    mask, stop = asked(ids, max_new_tokens, attention_mask, eos_token_id)
    if depth < 1 or not model.mtp:
        raise ValueError(f"depth: {depth} does not fit; it must be 1 or more, for a model with MTP modules")
    recorder = Recorder() if recorder is None else recorder
    capacity = ids.shape[1] + max_new_tokens + 3 * (depth + 1)  # before a text, behind it, and what a done row writes
    rounds = recorder.replayed(Rounds, model, len(ids), capacity, depth, sampling)
    nowhere = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
    begins = streams(generator, len(ids), ids.device) if sampling.temperature else nowhere
    rounds.begin(ids, mask, max_new_tokens, begins, stop, recorder)
    look = 1 if rounds.graph is None else LOOK
    for number in range(max_new_tokens - 1):  # each round writes a token at least
        if number % look == 0 and bool(rounds.done.all()):
            break
        rounds.run()
    places = rounds.starts[:, None] + torch.arange(max_new_tokens, device=ids.device)
    tokens, logprobs = rounds.text.gather(1, places), rounds.logprobs.gather(1, places)
    passes = rounds.passes.clone()
    return Speculated(**vars(decoded(ids, tokens, logprobs, stop, pad_token_id)), passes=passes,
                      kept=rounds.written() - passes, drafted=depth * (passes - 1))  # fmt: skip
