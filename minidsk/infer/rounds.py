"""Rounds of speculative decoding, each of a fixed shape: the modules guess, one pass of the model checks."""

from __future__ import annotations

import torch
from torch import Tensor

from minidsk.infer.acceptance import drawn, kept_of, remainder
from minidsk.infer.engine import unpadded
from minidsk.infer.noise import Noise
from minidsk.infer.reading import read
from minidsk.infer.recorder import Recorder, Replayed
from minidsk.infer.sampling import Sampling
from minidsk.model.transformer import MiniDeepSeek
from minidsk.precision import at_least_float32


class Rounds(Replayed):
    """Texts that grow by guessing and checking; a step is one round of it.

    `text` and `logprobs` ``[rows, capacity]`` hold their tokens by the cache's slots, those of the reply from `starts`
    ``[rows]`` on. The cache holds all of a row but its last token, which stands in slot ``cache.ends``: the next pass
    of the model begins with it. A row that is `done` ``[rows]`` takes part in all that follows and stays as it is: it
    writes behind its end, always in the same slots.
    """

    def __init__(self, model: MiniDeepSeek, rows: int, capacity: int, depth: int, sampling: Sampling) -> None:
        self.model, self.depth, self.sampling = model, depth, sampling
        vocab, device = model.config.vocab_size, model.device
        # Before a row, a module may look at as many slots as a pass may add.
        self.cache = model.new_cache(rows, capacity, mtp=True, static=True, lead=depth + 1)
        self.text = torch.zeros(rows, capacity, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(rows, capacity, device=device)
        self.starts, self.passes = (torch.zeros(rows, dtype=torch.long, device=device) for _ in range(2))
        self.limit = torch.zeros(1, dtype=torch.long, device=device)  # tokens that a reply may have
        self.stops = torch.zeros(vocab, dtype=torch.bool, device=device)  # whether a token ends its row
        self.done = torch.ones(rows, dtype=torch.bool, device=device)
        # At each place: the model's own draw, as `decode` makes it; the guess; whether the guess is kept.
        self.parts = (vocab, vocab, 1)
        self.noise = Noise(self.starts, sum(self.parts))
        self.places = torch.arange(depth + 2, device=device)
        self.fused = sampling.temperature == 0 and model.kernels.step == "triton" and self._can_guess()
        self.graph = self._recorded(model, rows * (depth + 1))

    @torch.no_grad()
    def begin(
        self, ids: Tensor, mask: Tensor, new: int, begins: Tensor, stop: Tensor, recorder: Recorder | None = None
    ) -> None:
        """Read the prompts `ids` ``[rows, time]``, and draw the token after each.

        Replies end after `new` tokens, or with one of `stop`; `begins` ``[rows]``: where their noise begins.
        `recorder` as for `reading.read`.
        """
        rows, lead = torch.arange(len(ids), device=ids.device), self.cache.lead
        engine = read(self.model, ids, mask, recorder, lead)
        logprobs = at_least_float32(engine.logits).log_softmax(-1)
        self.cache.adopt(rows, engine.cache)
        self.text[:, lead : lead + ids.shape[1]] = unpadded(ids, mask)[0]
        self.starts.copy_(self.cache.ends)
        self.noise.streams.copy_(begins)
        self.stops.zero_()[stop[(stop >= 0) & (stop < len(self.stops))]] = True
        self.limit.fill_(new)
        for state in (self.passes, self.done):
            state.zero_()
        slots = self.starts[:, None]
        if self.sampling.temperature == 0:
            token = logprobs.argmax(-1)
        else:
            token = drawn(self.sampling.of(logprobs), self._noise(slots)[0][:, 0])
        self._write(slots, token[:, None], logprobs[:, None], torch.ones_like(token))

    def written(self) -> Tensor:
        """How many tokens each reply has, int64 ``[rows]``."""
        return self.cache.ends + 1 - self.starts

    @torch.no_grad()
    def _step(self) -> None:
        """Guess, check, go on."""
        if self.fused:
            return self._by_kernels()
        lengths, slots = self.cache.lengths, self._slots(1, self.depth + 1)
        noise = None if self.sampling.temperature == 0 else self._noise(slots)
        draft_probs = self._guess(None if noise is None else noise[1])
        checked = self.text.gather(1, slots - 1)  # the last token, and the guesses
        states = self.model.states(checked, cache=self.cache, mtp=False)
        logprobs = at_least_float32(self.model.lm_head(states.hidden)).log_softmax(-1)
        if noise is None:  # all is certain, and a guess is kept where it is what the model says
            new = logprobs.argmax(-1)
            kept = (new[:, :-1] == checked[:, 1:]).cumprod(-1).sum(-1)
        else:
            p = self.sampling.of(logprobs)
            q = torch.stack(draft_probs, 1)
            kept = kept_of(p, q, checked[:, 1:], noise[2][:, : self.depth, 0])
            token = drawn(remainder(p, q), noise[0]).gather(1, kept[:, None])
            new = self.text.gather(1, slots).scatter(1, kept[:, None], token)
        used = (kept + 1).masked_fill(self.done, 0)
        self.cache.truncate(lengths + used)
        self._write(slots, new, logprobs, used)

    def _by_kernels(self) -> None:
        from minidsk.kernels.guesses import check

        self._guess(None)
        checked = self.text.gather(1, self._slots(0, self.depth + 1))
        logits = self.model.lm_head(self.model.states(checked, cache=self.cache, mtp=False).hidden)
        check(logits, self.text, self.logprobs, self.cache.ends, self.starts, self.done, self.passes, self.limit,
              self.stops)  # fmt: skip

    def _can_guess(self) -> bool:
        """Whether greedy rounds end in kernels of their own."""
        from minidsk.kernels.draw import can_draw

        return can_draw(self.model.lm_head.weight.T[:1])

    def _guess(self, noise: Tensor | None) -> list[Tensor]:
        """Write `depth` guesses behind each text; the probabilities they were drawn from, each ``[rows, vocab]``.

        Each module looks at the last `depth` + 1 slots, of which some may be new to it, and guesses after the last.
        `noise` ``[rows, depth + 1, vocab]``, of which the guesses take that of their places; None: they are the
        likeliest tokens, and no probabilities are returned.
        """
        if self.fused:
            from minidsk.kernels.guesses import guess
        probs: list[Tensor] = []
        x, last, modules = None, self.cache.ends, len(self.model.mtp)
        for k in range(1, self.depth + 1):
            again = k > modules
            self.cache.reopen(last, 1 if again else self.depth + 1)
            tokens = self.text.gather(1, self.cache.slots)
            x = self.model.look_ahead(min(k, modules), tokens, self.cache, x if again else None)[:, -1:]
            logits = self.model.lm_head(x)[:, 0]
            if self.fused:
                guess(logits, self.text, last)
            elif noise is None:
                self._behind(last, logits.argmax(-1))
            else:
                probs.append(self.sampling.probabilities(logits))
                self._behind(last, drawn(probs[-1], noise[:, k - 1]))
            last = last + 1
        return probs

    def _behind(self, last: Tensor, tokens: Tensor) -> None:
        self.text.scatter_(1, last[:, None] + 1, tokens[:, None])

    def _slots(self, first: int, count: int) -> Tensor:
        """`count` slots of each row ``[rows, count]``, the first so many behind its last token."""
        return self.cache.ends[:, None] + self.places[first : first + count]

    def _noise(self, slots: Tensor) -> tuple[Tensor, ...]:
        """Log-uniform numbers for the tokens of these slots ``[rows, n]``, in their `parts`: ``[rows, n, part]``."""
        return self.noise.at(slots - self.starts[:, None]).split(self.parts, -1)

    def _write(self, slots: Tensor, new: Tensor, logprobs: Tensor, used: Tensor) -> None:
        """Put tokens ``[rows, n]``, of which `used` ``[rows]`` count, in these slots, and say who is done.

        `logprobs` ``[rows, n, vocab]`` are of all tokens. The cache already ends before the last that counts.
        """
        of_new = logprobs.gather(2, new.unsqueeze(-1)).squeeze(-1)
        self.text.scatter_(1, slots, new)
        self.logprobs.scatter_(1, slots, of_new.float())
        count = self.places[: new.shape[1]] < used[:, None]
        self.passes += ~self.done
        self.done |= (self.stops[new] & count).any(1) | (self.written() >= self.limit)

    def _forget(self) -> None:
        self.cache.clear()
        self.done.fill_(True)
