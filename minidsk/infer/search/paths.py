"""Texts that go back and on: what searches ask of the engine, whose rows can be forked and cut back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from minidsk.infer.engine import Engine
from minidsk.infer.generate import left_padded
from minidsk.infer.noise import Noise, streams
from minidsk.infer.sampling import Sampling
from minidsk.scale.cost import forward_flops


class Paths:
    """A text for each prompt, which can go back to any earlier point and on from there by another way.

    What two texts of a row have in common is computed once: the row's cache is cut back to it. `flops` sums up what
    was computed, as `Policy.flops` counts: for one reply without going back, both are the same. The policy is one of
    our models with its tokenizer. `longest`: tokens that a text may have after its prompt.
    """

    def __init__(
        self, policy: Any, prompts: Sequence[str], longest: int, temperature: float, generator: torch.Generator | None
    ) -> None:
        self.model, self.tokenizer = policy.actor, policy.tokenizer
        self.sampling, self.generator = Sampling(temperature), generator
        ids, mask = left_padded(prompts, self.tokenizer, self.model.device)
        self.engine = Engine(self.model, len(ids), ids.shape[1] + longest)
        self.prompts: list[list[int]] = [row[here].tolist() for row, here in zip(ids, mask, strict=True)]
        if ids.shape[1] > 1:  # all but the last token, which is computed when a text goes on from it
            self.engine.prefill(ids[:, :-1], mask[:, :-1])
        self.nowhere = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
        self.held = [prompt[:-1] for prompt in self.prompts]  # the tokens in the cache
        self.flops = sum(self._cost(0, len(held)) for held in self.held)

    @torch.no_grad()
    def go_on(
        self, rows: Sequence[int], texts: Sequence[Sequence[int]], limits: Sequence[int], ends: Sequence[int]
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Let each of these rows hold its text after the prompt, and draw from there up to its limit (1 or more), or
        to one of the tokens `ends`, which is the last of what is drawn. The tokens drawn, and their log-probabilities.
        """
        wholes = [[*self.prompts[row], *text] for row, text in zip(rows, texts, strict=True)]
        # The last token is computed again where it was there before: a row cut back has no logits.
        kept = [min(common(self.held[row], whole), len(whole) - 1) for row, whole in zip(rows, wholes, strict=True)]
        device = self.model.device
        place = torch.tensor(rows, device=device)
        waiting = [whole[keep:] for whole, keep in zip(wholes, kept, strict=True)]
        ahead = torch.tensor([len(tokens) for tokens in waiting], device=device)
        longest = int(ahead.max())
        forced = torch.tensor([[*tokens, *[0] * (longest - len(tokens))] for tokens in waiting], device=device)
        most, stop = torch.tensor(limits, device=device), torch.tensor(list(ends), device=device)
        steps = int((ahead + most).max()) - 1
        tokens = forced.new_zeros(len(rows), steps)
        logps = torch.zeros(tokens.shape, device=device)
        numbers = torch.arange(len(rows), device=device)  # those that have not ended
        lengths = torch.tensor(kept, device=device)
        drawn_of = forced.new_zeros(len(rows))  # how many were drawn in each
        # Each row has noise of its own: what is drawn for it does not depend on which others go on beside it.
        begins = streams(self.generator, len(self.prompts), device) if self.sampling.temperature else self.nowhere
        noise = Noise(begins[place], self.model.config.vocab_size)
        part, last = self.engine.fork(place), forced[:, 0]
        part.truncate(lengths)
        for step in range(steps):
            given = forced[numbers, min(step, longest - 1)]
            part.step(torch.where(step < ahead[numbers], given, last))
            logprobs = part.logits.log_softmax(-1, dtype=torch.float32)
            last = self.sampling.draw(logprobs, noise)
            logp = logprobs.gather(1, last[:, None]).squeeze(1)
            drawing = step >= ahead[numbers] - 1
            at = numbers[drawing]
            tokens[at, drawn_of[at]], logps[at, drawn_of[at]] = last[drawing], logp[drawing]
            drawn_of[at] += 1
            going = ~(drawing & (torch.isin(last, stop) | (drawn_of[numbers] == most[numbers])))
            if not going.all():
                done = (~going).nonzero().squeeze(1)
                self.engine.cache.adopt(place[numbers[done]], part.cache.fork(done))
                numbers, last, noise.streams = numbers[going], last[going], noise.streams[going]
                if len(numbers) == 0:
                    break
                part = part.fork(going)
                part.truncate(part.cache.lengths)  # the longest may be gone
        found = [row[:n] for row, n in zip(tokens.tolist(), drawn_of.tolist(), strict=True)]
        for row, whole, keep, new in zip(rows, wholes, kept, found, strict=True):
            self.held[row] = [*whole, *new[:-1]]
            self.flops += self._cost(keep, len(whole) + len(new))
        return found, [row[: len(new)] for row, new in zip(logps.tolist(), found, strict=True)]

    def _cost(self, begin: int, end: int) -> float:
        """Operations to lengthen one text from `begin` to `end` tokens; each looks back at half of the text."""
        config = self.model.config
        return end * forward_flops(config, end / 2) - begin * forward_flops(config, begin / 2)


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts share from their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
