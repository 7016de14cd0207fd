"""Policies: what reinforcement learning needs of a language model, and the only file of `rl` that knows ours.

`MiniPolicy` is a model of ours; `HFPolicy` is any causal model of transformers.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor, nn

from minidsk.data.tokenizer import Tokenizer
from minidsk.hub.hf import save_pretrained
from minidsk.hub.zoo import find
from minidsk.infer.generate import decode, left_padded, written
from minidsk.infer.recorder import WIDTH, Recorder
from minidsk.model.attention import MultiHeadLatentAttention
from minidsk.model.exact import Exact
from minidsk.model.operations import Kernels
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.completions import Completions, Policy, completed, token_logprobs
from minidsk.rl.hf_policy import HFPolicy
from minidsk.scale.cost import forward_flops, training_flops
from minidsk.train.checkpoint import load_checkpoint
from minidsk.train.device import precision

__all__ = ["HFPolicy", "MiniPolicy", "Policy", "load_policy"]


class MiniPolicy(Policy):
    """A model of ours and its tokenizer.

    On a GPU it samples from a copy in `sampling_dtype`, bf16 where the GPU has it, with few kernels for each token;
    the copy takes over the weights at each `sample`. None samples from the model itself.

    exact: None, or the most tokens of a prompt and its completion. The sampler's log-probabilities are then the
    trainer's bit for bit, for a model on a CPU: all products in tiles of one shape (see `minidsk.model.exact`), and
    every text as wide as the longest. Others (TRL, verl) let the trainer compute the log-probabilities anew after
    sampling: cheaper, and on any device, the ratio of the first update is then 1; but the tokens were still drawn from
    probabilities that are a little different, which nothing shows any more. Raises `ValueError` where it cannot hold.
    """

    model: MiniDeepSeek

    def __init__(
        self,
        model: MiniDeepSeek,
        tokenizer: Tokenizer,
        sampling_dtype: torch.dtype | str | None = "auto",
        exact: int | None = None,
    ) -> None:
        self.model, self.tokenizer, self.width = model, tokenizer, model.config.hidden_size
        if sampling_dtype == "auto":
            sampling_dtype = torch.bfloat16 if model.device.type == "cuda" else None
        self.sampling_dtype = sampling_dtype
        if exact is not None:
            if model.device.type != "cpu" or sampling_dtype is not None:
                raise ValueError(f"exact: {exact} does not fit; only a CPU that samples from the model itself is exact")
            if exact < 1 or exact % WIDTH:
                raise ValueError(f"exact: {exact} does not fit; it must be a multiple of {WIDTH}")
            for layer in model.modules():
                if isinstance(layer, MultiHeadLatentAttention):
                    layer.absorb = True
        self.exact = exact
        self._actor: MiniDeepSeek | None = None
        self._recorder = Recorder()

    def copy(self) -> MiniPolicy:
        """As `Policy.copy`, with a sampling copy of its own."""
        return MiniPolicy(copy.deepcopy(self.model), self.tokenizer, self.sampling_dtype, self.exact)

    def body(self) -> MiniPolicy:
        """See `Policy.body`."""
        twin = self.copy()
        twin.model.lm_head = nn.Identity()  # type: ignore[assignment]
        return twin

    @property
    def actor(self) -> MiniDeepSeek:
        """What samples, with the weights of now."""
        if self.sampling_dtype is None:
            return self.model
        if self._actor is None:
            self._actor = copy.deepcopy(self.model).to(self.sampling_dtype)
            self._actor.use(Kernels(experts="triton", norm="triton", rotation="triton", step="triton"))
        with torch.no_grad():
            torch._foreach_copy_(list(_numbers(self._actor)), list(_numbers(self.model)))
        self._actor.pack()
        return self._actor

    def _products(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self.exact is None else Exact()

    def sample(
        self,
        prompts: Sequence[str],
        group: int = 1,
        max_new_tokens: int = 256,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Completions:
        """See `Policy.sample`."""
        ids, mask = left_padded([prompt for prompt in prompts for _ in range(group)], self.tokenizer, self.device)
        with self._products():
            done = decode(
                self.actor, ids, max_new_tokens, temperature=temperature, generator=generator, attention_mask=mask,
                eos_token_id=self.tokenizer.eos_id, pad_token_id=self.tokenizer.pad_id, recorder=self._recorder,
                capacity=self.exact,
            )  # fmt: skip
        tokens = done.ids[:, ids.shape[1] :]
        ended = (tokens == self.tokenizer.eos_id).any(1)
        texts = written(done, self.tokenizer)
        return Completions(done.ids, torch.cat((mask, done.mask), 1), tokens, done.mask, done.logprobs, texts, ended)

    def encode(self, prompts: Sequence[str], texts: Sequence[str]) -> Completions:
        """See `Policy.encode`."""
        ids, mask = left_padded(prompts, self.tokenizer, self.device)
        rows = [[*self.tokenizer.encode(text), self.tokenizer.eos_id] for text in texts]
        return completed(ids, mask, rows, texts, self.tokenizer.pad_id, [self.tokenizer.eos_id])

    def hidden(self, completions: Completions, after: bool = False) -> Tensor:
        """See `Policy.hidden`. Prompts lose their padding, so that attention needs no mask but the causal one."""
        c, padding = completions, completions.padding
        place = torch.arange(c.ids.shape[1], device=c.ids.device) + padding[:, None]
        ids = c.ids.gather(1, place.clamp(max=c.ids.shape[1] - 1))
        if self.exact is not None:
            if ids.shape[1] > self.exact:
                raise ValueError(f"exact: {self.exact} does not fit texts of {ids.shape[1]} tokens; give a larger one")
            ids = F.pad(ids, (0, self.exact - ids.shape[1]))
        with precision(ids.device), self._products():
            everywhere = self.model.states(ids, mtp=False).hidden
        # The completion of a row begins where its prompt ends; the state before each token predicts it.
        begin = c.prompt_width - padding - (0 if after else 1)
        at = begin[:, None] + torch.arange(c.tokens.shape[1], device=ids.device)
        return everywhere.gather(1, repeat(at, "n t -> n t h", h=self.width))

    def predictions(self, completions: Completions) -> tuple[Tensor, Tensor]:
        """See `Policy.predictions`."""
        hidden = self.hidden(completions)
        with precision(hidden.device), self._products():
            logits = self.model.lm_head(hidden)
        return token_logprobs(logits, completions.tokens)

    def use(self, backend: str) -> None:
        """See `Policy.use`."""
        self.model.use(Kernels.all(backend))

    def flops(self, completions: Completions, updates: int = 0) -> float:
        """See `Policy.flops`."""
        config, context = self.model.config, completions.ids.shape[1] / 2
        each = forward_flops(config, context) + updates * training_flops(config, context, mtp=False)
        return float(completions.attention_mask.sum()) * each

    def save(self, folder: str | Path, extra: dict[str, Any] | None = None) -> None:
        """See `Policy.save`."""
        extra = None if extra is None else {**extra, "tokenizer": self.tokenizer.fingerprint}
        save_pretrained(self.model, folder, self.tokenizer, extra=extra)


def _numbers(model: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(model.parameters(), model.buffers())


def load_policy(name_or_folder: str | Path, device: torch.device | str = "cpu") -> MiniPolicy:
    """One of our checkpoints by name, or the folder of a finished run: model and tokenizer together.

    Raises `CheckpointError` for an unknown name, and what `load_checkpoint` raises.
    """
    return MiniPolicy(*load_checkpoint(find(name_or_folder), device))
