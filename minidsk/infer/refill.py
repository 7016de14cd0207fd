"""Continuous batching: a row whose reply has ended takes the next prompt, so that few rows compute for nothing.

Replies differ in length: where one of a thousand is three times as long as the others, a batch that waits for it wastes
most of its work. The idea is Orca's (Yu et al., OSDI 2022): who is in the batch is decided anew every few tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minidsk.infer.engine import Engine
from minidsk.infer.reading import read
from minidsk.infer.recorder import Recorder, Recording
from minidsk.infer.sampling import Sampling
from minidsk.model.transformer import MiniDeepSeek

WINDOW = 16  # tokens between looks at who has ended: to look is to wait for the GPU
FEWER = 4  # when one row in so many is still at work, and no prompt waits, they move to a step with so few rows
FEWEST = 16  # rows; a step of fewer costs the same


def refill(
    model: MiniDeepSeek, ids: Tensor, mask: Tensor, new: int, rows: int, sampling: Sampling, streams: Tensor,
    stop: Tensor, recorder: Recorder, watch: Callable[[Tensor], None] | None = None, capacity: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Tokens and their log-probabilities ``[batch, new']`` for the prompts `ids` ``[batch, time]``, `rows` at a time.

    `streams` ``[batch]``: where the noise of each reply begins (see `Noise`). What stands after a row's first token of
    `stop` means nothing. `watch` is given the tokens of each step, ``[rows]``.
    """
    batch, time = ids.shape
    rows, windows = min(rows, batch), -(-new // WINDOW)
    needed = time + windows * WINDOW
    if capacity is not None and capacity < needed:
        raise ValueError(f"capacity: {capacity} does not fit; prompts of {time} tokens and replies of {new} need "
                         f"{needed}")  # fmt: skip
    step = recorder.recording(model, rows, capacity or needed, WINDOW, sampling)
    tokens = ids.new_zeros(batch, windows * WINDOW)
    logprobs = torch.zeros(tokens.shape, device=ids.device)
    # Who is where is known here, not on the device: only whether a text has ended must be asked there.
    read = torch.zeros(batch, dtype=torch.long)  # windows that each prompt has had
    owner = torch.full((rows,), -1)  # the prompt that each row is at; -1: none
    waiting = 0  # the first prompt that no row has taken
    device, within = ids.device, torch.arange(WINDOW, device=ids.device)
    while True:
        free = (owner < 0).nonzero().squeeze(1)
        if waiting < batch and len(free):
            taken = slice(waiting, min(waiting + len(free), batch))
            free = free[: taken.stop - taken.start]
            _admit(step, free.to(device), ids[taken], mask[taken], streams[taken], capacity is not None, recorder)
            owner[free] = torch.arange(taken.start, taken.stop)
            waiting = taken.stop
        at_work = (owner >= 0).nonzero().squeeze(1)
        prompts = owner[at_work]
        step.rewind()
        for place in range(min(WINDOW, new - WINDOW * int(read[prompts].min()))):
            step.run()
            if watch is not None:
                watch(step.tokens[:, place])
        here, places = at_work.to(device), (read[prompts, None] * WINDOW).to(device) + within
        where = prompts[:, None].to(device), places
        tokens[where], logprobs[where] = step.tokens[here], step.logprobs[here]
        read[prompts] += 1
        ended = read[prompts] == windows
        if len(stop):
            ended |= torch.isin(step.tokens, stop).any(1).cpu()[at_work]
        owner[at_work[ended]] = -1
        at_work = at_work[~ended]
        if waiting == batch:
            if len(at_work) == 0:
                break
            target = max(len(owner) // FEWER, FEWEST)
            if len(at_work) <= target < len(owner) and watch is None:
                step = _fewer(recorder, step, at_work.to(device), target)
                owner = torch.cat((owner[at_work], owner.new_full((target - len(at_work),), -1)))
        if bool((owner < 0).any()):
            step.engine.cache.forget((owner < 0).to(device))
    return tokens[:, :new], logprobs[:, :new]


def _admit(
    step: Recording, rows: Tensor, ids: Tensor, mask: Tensor, streams: Tensor, whole: bool, recorder: Recorder
) -> None:
    """Let these rows ``[n]`` read the prompts `ids` ``[n, time]``, looking at the `whole` cache or no further."""
    model = step.engine.model
    if whole:
        engine = Engine(model, len(ids), step.engine.cache.capacity, static=True)
        engine.prefill(ids, mask)
    else:  # a recording for each number of rows that become free would not pay
        engine = read(model, ids, mask, recorder if len(rows) == len(step.tokens) else None)
    step.engine.logits[rows] = engine.logits
    step.engine.cache.adopt(rows, engine.cache)
    step.noise.streams[rows] = streams


def _fewer(recorder: Recorder, step: Recording, rows: Tensor, target: int) -> Recording:
    """A step of `target` rows, the first of which go on where these rows ``[n]`` now are."""
    engine = step.engine
    fewer = recorder.recording(engine.model, target, engine.cache.capacity, WINDOW, step.sampling)
    first = torch.arange(len(rows), device=rows.device)
    fewer.engine.logits[first] = engine.logits[rows]
    fewer.engine.cache.adopt(first, engine.cache.fork(rows))
    fewer.noise.streams[first] = step.noise.streams[rows]
    return fewer
