"""Speculative decoding with the model's own MTP modules: guess a few tokens, check them in one pass, lose nothing.

The modules of multi-token prediction (`model.mtp`) guess the next tokens; one pass of the model looks at all of them
at once and keeps those that it would have drawn itself. The rule of acceptance (Leviathan et al., arXiv:2211.17192,
algorithm 1) makes what is written follow the model's own probabilities exactly, however bad the guesses are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from minidsk.infer.generate import Decoded, asked, decoded
from minidsk.infer.sampling import Sampling
from minidsk.model.transformer import MiniDeepSeek
from minidsk.precision import at_least_float32


@dataclass
class Speculated(Decoded):
    """As `Decoded`; beside it how many passes of the model each row took, and how many guesses each pass kept.

    `passes`, `kept` and `drafted` int64 ``[batch]``: a row of n tokens took `passes` passes, of which each but the
    first, the prompt's, checked guesses: `drafted` in all, `kept` of them right.
    """

    passes: Tensor
    kept: Tensor
    drafted: Tensor


def accept(
    target_probs: Tensor, draft_probs: Tensor, draft_tokens: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """How many of K guesses are kept, int64 ``[...]``, and the token that follows them, int64 ``[...]``.

    `draft_tokens` ``[..., K]`` were drawn from q, `draft_probs` ``[..., K, vocab]``; p, `target_probs` ``[..., K + 1,
    vocab]``, are the model's at the same places and at the one after. Guess x is kept with probability min(1, p(x) /
    q(x)); at the first that is not, the token comes from max(0, p - q), normalised; after the last, from p.
    """
    p, q = (at_least_float32(probs) for probs in (target_probs, draft_probs))
    k = draft_tokens.shape[-1]
    of_guess = draft_tokens.unsqueeze(-1)
    ratio = p[..., :k, :].gather(-1, of_guess).squeeze(-1) / q.gather(-1, of_guess).squeeze(-1)
    chance = torch.rand(draft_tokens.shape, generator=generator, device=p.device, dtype=p.dtype)
    kept = (chance < ratio).long().cumprod(-1).sum(-1)  # a refusal ends it, whatever follows
    rest = torch.cat(((p[..., :k, :] - q).clamp(min=0), p[..., k:, :]), dim=-2)
    there = kept[..., None, None].expand(*kept.shape, 1, p.shape[-1])
    return kept, _drawn(rest.gather(-2, there).squeeze(-2), generator)


def _drawn(weights: Tensor, generator: torch.Generator | None) -> Tensor:
    """A token for each row ``[...]``, with a chance in proportion to its weight ``[..., vocab]``."""
    noise = torch.empty_like(weights).exponential_(generator=generator)
    return (weights / noise.clamp(min=1e-30)).argmax(-1)


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
) -> Speculated:
    """Continue `ids` ``[batch, time]`` as `decode` does, with `depth` guesses for each pass.

    Greedy text is that of `decode`; drawn text has its distribution. A `depth` beyond the model's modules uses the last
    one again, on its own states. Raises `ValueError` for a model without modules.
    """
    sampling = Sampling(temperature, top_k, top_p)
    mask, stop = asked(ids, max_new_tokens, attention_mask, eos_token_id)
    if depth < 1 or not model.mtp:
        raise ValueError(f"depth: {depth} does not fit; it must be 1 or more, for a model with MTP modules")
    rows = _Rows(model, ids, mask, max_new_tokens, depth, sampling, generator)
    batch, device = len(ids), ids.device
    going = torch.arange(batch, device=device)
    tokens = ids.new_zeros(batch, max_new_tokens + depth + 1)
    logprobs = torch.zeros(tokens.shape, device=device)
    count, passes, kept, drafted = (torch.zeros(batch, dtype=torch.long, device=device) for _ in range(4))
    places = torch.arange(depth + 1, device=device)
    new, its_logprobs, used = rows.first()
    while True:
        at = count[going, None] + places[: new.shape[1]]
        tokens[going[:, None], at], logprobs[going[:, None], at] = new, its_logprobs
        count[going] += used
        passes[going] += 1
        kept[going] += used - 1
        ended = (torch.isin(new, stop) & (places[: new.shape[1]] < used[:, None])).any(1)
        left = ~ended & (count[going] < max_new_tokens)
        if not left.any():
            break
        if not left.all():
            rows.only(left)
            going = going[left]
        drafted[going] += depth
        new, its_logprobs, used = rows.round()
    tokens, logprobs = tokens[:, :max_new_tokens], logprobs[:, :max_new_tokens]
    tokens = tokens.masked_fill(torch.arange(max_new_tokens, device=device) >= count[:, None], pad_token_id)
    return Speculated(**vars(decoded(ids, tokens, logprobs, stop, pad_token_id)), passes=passes, kept=kept,
                      drafted=drafted)  # fmt: skip


class _Rows:
    """Texts that grow by guessing and checking. `text` ``[rows, capacity]`` holds their tokens by the cache's slots.

    The cache holds all of a row but its last token, which stands in slot ``cache.ends``: the next pass of the model
    begins with it. Left of each prompt there are `depth` + 1 slots more, which hold nothing, so that a module can
    always look at as many slots as a pass may add.
    """

    def __init__(
        self,
        model: MiniDeepSeek,
        ids: Tensor,
        mask: Tensor,
        new: int,
        depth: int,
        sampling: Sampling,
        generator: torch.Generator | None,
    ) -> None:
        self.model, self.depth, self.sampling, self.generator = model, depth, sampling, generator
        before = depth + 1
        ids, mask = (torch.nn.functional.pad(x, (before, 0)) for x in (ids, mask))
        capacity = ids.shape[1] + new + 2 * before
        self.cache = model.new_cache(len(ids), capacity, mtp=True)
        self.text = ids.new_zeros(len(ids), capacity)
        self.text[:, : ids.shape[1]] = ids
        self.states = model.states(ids, attention_mask=mask, cache=self.cache)

    def first(self) -> tuple[Tensor, Tensor, Tensor]:
        """The token after the prompt, as `round` gives it."""
        logits = self.model.lm_head(self.states.hidden[:, -1:])
        token = _drawn(self.sampling.probabilities(logits[:, 0]), self.generator)
        self.text[:, self.states.hidden.shape[1]] = token
        return self._written(token[:, None], logits, torch.ones_like(token))

    def round(self) -> tuple[Tensor, Tensor, Tensor]:
        """Guess, check, go on: tokens and log-probabilities ``[rows, depth + 1]``, and how many count ``[rows]``."""
        guesses, draft_probs = self._guess()
        ends = self.cache.ends.clone()
        asked = torch.cat((self.text.gather(1, ends[:, None]), guesses), 1)
        logits = self.model.lm_head(self.model.states(asked, cache=self.cache, mtp=False).hidden)
        kept, token = accept(self.sampling.probabilities(logits), draft_probs, guesses, self.generator)
        new = torch.cat((guesses, token[:, None]), 1).scatter(1, kept[:, None], token[:, None])
        self.text.scatter_(1, ends[:, None] + 1 + torch.arange(new.shape[1], device=new.device), new)
        self.cache.truncate(ends - self.cache.begins + kept + 1)
        return self._written(new, logits, kept + 1)

    def _guess(self) -> tuple[Tensor, Tensor]:
        """`depth` guesses ``[rows, depth]`` and the probabilities from which they were drawn ``[rows, depth, vocab]``.

        Each module looks at the last `depth` + 1 slots, of which some may be new to it, and guesses after the last.
        """
        lengths, last = self.cache.lengths, self.cache.ends.clone()
        guesses: list[Tensor] = []
        probs: list[Tensor] = []
        x, modules = None, len(self.model.mtp)
        for k in range(1, self.depth + 1):
            seen = self.depth + 1 if k <= modules else 1
            self.cache.reopen(last, seen)
            tokens = self.text.gather(1, self.cache.slots)
            x = self.model.look_ahead(min(k, modules), tokens, self.cache, None if k <= modules else x)[:, -1:]
            probs.append(self.sampling.probabilities(self.model.lm_head(x)[:, 0]))
            guesses.append(_drawn(probs[-1], self.generator))
            last = last + 1
            self.text.scatter_(1, last[:, None], guesses[-1][:, None])
        self.cache.truncate(lengths)
        return torch.stack(guesses, 1), torch.stack(probs, 1)

    def only(self, rows: Tensor) -> None:
        """Go on with these rows alone, bool ``[rows]``."""
        self.cache, self.text = self.cache.fork(rows), self.text[rows]

    @staticmethod
    def _written(tokens: Tensor, logits: Tensor, used: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logprobs = logits.log_softmax(-1, dtype=torch.float32).gather(2, tokens.unsqueeze(-1)).squeeze(-1)
        return tokens, logprobs, used
