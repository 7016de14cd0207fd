"""A conversation in a terminal: pose a problem, watch the model think, hear what the verifier says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from minidsk.data.tokenizer import Tokenizer
from minidsk.infer.generate import left_padded
from minidsk.model.decoding import decode
from minidsk.model.transformer import MiniDeepSeek
from minidsk.tasks.base import read_answer
from minidsk.tasks.countdown import PROMPTS, CountdownProblem, evaluate

_NUMBER = "[0-9]{1,7}"  # no task goes beyond a million
_NUMBERS = f"(?P<numbers>{_NUMBER}(?:[ ,]+{_NUMBER})+)"
_POSED = [
    re.compile(f"{_NUMBERS} *= *(?P<target>{_NUMBER})"),
    re.compile(rf"make (?P<target>{_NUMBER}) from {_NUMBERS}\.?", re.IGNORECASE),
    re.compile(f"用 *{_NUMBERS} *得到 *(?P<target>{_NUMBER})。?"),
]


def read_problem(text: str) -> CountdownProblem | None:
    """A problem from ``3 7 2 = 17``, or worded as on the worksheets in English or Chinese; None for other text."""
    for language, form in zip(("en", "en", "zh"), _POSED, strict=True):
        match = form.fullmatch(text.strip())
        if match:
            numbers, target = [int(n) for n in re.findall("[0-9]+", match["numbers"])], int(match["target"])
            shown = " ".join(map(str, numbers))
            prompt = PROMPTS[language].format(numbers=shown, target=target)
            return CountdownProblem(prompt, tuple(numbers), target, solution="")
    return None


def verdict(problem: CountdownProblem, reply: str) -> str:
    """What the verifier says of a reply, in words."""
    answer = read_answer(reply)
    if answer is None:
        return "no answer"
    if problem.score(reply) == 1:
        return f"right: {answer} = {problem.target}"
    try:
        value, used, _ = evaluate(answer)
    except ValueError as error:
        return f"wrong: {answer} is no expression ({error})"
    if sorted(used) != sorted(map(str, problem.numbers)):
        return f"wrong: {answer} does not use each number once"
    return f"wrong: {answer} = {value}, not {problem.target}"


def stream(
    model: MiniDeepSeek,
    tokenizer: Tokenizer,
    prompt: str,
    max_new_tokens: int,
    emit: Callable[[str], None],
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> str:
    """Continue `prompt`, handing each token's text to `emit` as soon as it is drawn; the whole reply.

    Raises `ValueError` for a prompt of more tokens than the model has positions.
    """
    ids, valid = left_padded([prompt], tokenizer, model.device)
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

    decode(model, ids, max_new_tokens, temperature=temperature, generator=generator, valid=valid,
           eos_token_id=tokenizer.eos_id, pad_token_id=tokenizer.pad_id, watch=watch)  # fmt: skip
    return spoken


def converse(
    model: MiniDeepSeek,
    tokenizer: Tokenizer,
    lines: Iterable[str],
    emit: Callable[[str], None],
    max_new_tokens: int = 384,
    *,
    temperature: float = 0.0,
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
        problem = read_problem(line)
        prompt = problem.prompt if problem else line.strip() + "\n"
        try:
            reply = stream(model, tokenizer, prompt, max_new_tokens, emit, temperature=temperature, generator=generator)
        except ValueError as error:
            emit(f"[{error}]\n")
            continue
        emit(f"\n[{verdict(problem, reply)}]\n" if problem else "\n[pose a problem like 3 7 2 = 12 for a verdict]\n")
