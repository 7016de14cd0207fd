"""A conversation in a terminal: pose a problem, watch the model think, hear what the verifier says."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from minidsk.data.tokenizer import Tokenizer
from minidsk.infer.generate import decode, left_padded
from minidsk.infer.sampling import Sampling
from minidsk.model.transformer import MiniDeepSeek
from minidsk.tasks import TASKS
from minidsk.tasks.base import Problem

GREEDY = Sampling(0.0)


def posed(text: str) -> Problem | None:
    """The problem that a user means, whichever task it is of (see `Task.pose`); None for other text."""
    return next((problem for task in TASKS.values() if (problem := task.pose(text)) is not None), None)


def stream(
    model: MiniDeepSeek,
    tokenizer: Tokenizer,
    prompt: str,
    max_new_tokens: int,
    emit: Callable[[str], None],
    *,
    sampling: Sampling = GREEDY,
    generator: torch.Generator | None = None,
) -> str:
    """Continue `prompt`, handing each token's text to `emit` as soon as it is drawn; the whole reply.

    Raises `ValueError` for a prompt of more tokens than the model has positions.
    """
    ids, mask = left_padded([prompt], tokenizer, model.device)
    longest = model.config.max_position_embeddings
    if ids.shape[1] > longest:
        raise ValueError(f"prompt: {ids.shape[1]:,} tokens are too many; this model was made for {longest:,}")
    drawn: list[int] = []
    spoken = ""

    def watch(tokens: Tensor) -> None:
        nonlocal spoken
        if tokenizer.eos_id in drawn:
            return
        drawn.append(int(tokens[0]))
        # A character may take several tokens: what is not yet whole waits.
        text = tokenizer.decode(drawn).removesuffix("<eos>").rstrip("\ufffd")
        emit(text[len(spoken) :])
        spoken = text

    decode(model, ids, max_new_tokens, **vars(sampling), generator=generator, attention_mask=mask,
           eos_token_id=tokenizer.eos_id, pad_token_id=tokenizer.pad_id, watch=watch)  # fmt: skip
    return spoken


def converse(
    model: MiniDeepSeek,
    tokenizer: Tokenizer,
    lines: Iterable[str],
    emit: Callable[[str], None],
    max_new_tokens: int = 384,
    *,
    sampling: Sampling = GREEDY,
    generator: torch.Generator | None = None,
) -> None:
    """Answer each line until they end or one says `quit`; a line that poses no problem is continued as it stands.

    A line that is too long for the model is answered by a sentence that says so.
    """
    for line in lines:
        if line.strip().lower() in ("quit", "exit"):
            return
        if not line.strip():
            continue
        problem = posed(line)
        prompt = problem.prompt if problem else line.strip() + "\n"
        try:
            reply = stream(model, tokenizer, prompt, max_new_tokens, emit, sampling=sampling, generator=generator)
        except ValueError as error:
            emit(f"[{error}]\n")
            continue
        emit(f"\n[{problem.verdict(reply)}]\n" if problem else "\n[pose a problem like 3 7 2 = 12 for a verdict]\n")
