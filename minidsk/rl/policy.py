"""Policies: what reinforcement learning needs of a language model, and nothing else of `rl` knows a model.

A policy samples completions, says with gradient how likely each of their tokens is, counts its operations, and saves
itself. `MiniPolicy` is ours; `HFPolicy` is any causal model of transformers.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import repeat
from torch import Tensor, nn

from minidsk.data.tokenizer import Tokenizer
from minidsk.hub.hf import save_pretrained
from minidsk.hub.zoo import find
from minidsk.infer.engine import Recorder
from minidsk.infer.generate import decode, left_padded, until_end
from minidsk.model.operations import Kernels
from minidsk.model.precision import precision
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.completions import Completions, completed, over_all, token_logprobs
from minidsk.scale.cost import forward_flops, training_flops
from minidsk.train.checkpoint import load_checkpoint


class Policy:
    """What all policies share. `model` holds the weights that are trained, `tokenizer` reads and writes its text."""

    model: nn.Module
    tokenizer: Any
    width: int

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def sample(
        self,
        prompts: Sequence[str],
        group: int = 1,
        max_new_tokens: int = 256,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Completions:
        """`group` completions of each prompt, of at most `max_new_tokens` tokens; temperature 0 takes the likeliest."""
        raise NotImplementedError

    def encode(self, prompts: Sequence[str], texts: Sequence[str]) -> Completions:
        """Given texts as completions of given prompts, one each, with `logp` 0: for learning from examples."""
        raise NotImplementedError

    def hidden(self, completions: Completions, after: bool = False) -> Tensor:
        """The hidden state before each token of the completions, or `after` it: ``[N, T, width]``, with gradient."""
        raise NotImplementedError

    def predictions(self, completions: Completions) -> tuple[Tensor, Tensor]:
        """Of each token of the completions the log-probability, with gradient, and the entropy of the prediction in
        nats, without: both float32 ``[N, T]``."""
        raise NotImplementedError

    def flops(self, completions: Completions, updates: int = 0) -> float:
        """Operations of one pass forward over prompts and completions, and of so many `updates` from them."""
        raise NotImplementedError

    def save(self, folder: str | Path, extra: dict[str, Any] | None = None) -> None:
        """Write weights and tokenizer as transformers reads them; `extra` goes into config.json under "minidsk"."""
        raise NotImplementedError

    def logprobs(self, completions: Completions) -> Tensor:
        """The log-probability of each token of the completions, with gradient, ``[N, T]``."""
        return self.predictions(completions)[0]

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights that are trained."""
        return (p for p in self.model.parameters() if p.requires_grad)

    def copy(self) -> Policy:
        """A policy with a copy of the weights: a reference that stays, or the body of a critic."""
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model)
        return twin


class MiniPolicy(Policy):
    """A model of ours and its tokenizer.

    On a GPU it samples from a copy in `sampling_dtype`, bf16 where the GPU has it, with few kernels for each token;
    the copy takes over the weights at each `sample`. None samples from the model itself.
    """

    model: MiniDeepSeek

    def __init__(
        self, model: MiniDeepSeek, tokenizer: Tokenizer, sampling_dtype: torch.dtype | str | None = "auto"
    ) -> None:
        self.model, self.tokenizer, self.width = model, tokenizer, model.config.hidden_size
        if sampling_dtype == "auto":
            sampling_dtype = torch.bfloat16 if model.device.type == "cuda" else None
        self.sampling_dtype = sampling_dtype
        self._actor: MiniDeepSeek | None = None
        self._recorder = Recorder()

    def copy(self) -> MiniPolicy:
        """As `Policy.copy`, with a sampling copy of its own."""
        return MiniPolicy(copy.deepcopy(self.model), self.tokenizer, self.sampling_dtype)

    @property
    def actor(self) -> MiniDeepSeek:
        """What samples, with the weights of now."""
        if self.sampling_dtype is None:
            return self.model
        if self._actor is None:
            self._actor = copy.deepcopy(self.model).to(self.sampling_dtype)
            # Few rows go through all experts at once, which torch does; the other two are one kernel each.
            self._actor.use(Kernels(norm="triton", rotation="triton"))
        self._actor.load_state_dict(self.model.state_dict())
        return self._actor

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
        done = decode(
            self.actor, ids, max_new_tokens, temperature=temperature, generator=generator, attention_mask=mask,
            eos_token_id=self.tokenizer.eos_id, pad_token_id=self.tokenizer.pad_id, recorder=self._recorder,
        )  # fmt: skip
        tokens = done.ids[:, ids.shape[1] :]
        texts = [until_end(row, self.tokenizer) for row in tokens.tolist()]
        ended = (tokens == self.tokenizer.eos_id).any(1)
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
        with precision(ids.device):
            everywhere = self.model.states(ids, mtp=False).hidden
        # The completion of a row begins where its prompt ends; the state before each token predicts it.
        at = (c.prompt_width - padding - (0 if after else 1))[:, None] + torch.arange(c.tokens.shape[1], device=ids.device)
        return everywhere.gather(1, repeat(at, "n t -> n t h", h=self.width))

    def predictions(self, completions: Completions) -> tuple[Tensor, Tensor]:
        """See `Policy.predictions`."""
        hidden = self.hidden(completions)
        with precision(hidden.device):
            logits = self.model.lm_head(hidden)
        return token_logprobs(logits, completions.tokens)

    def flops(self, completions: Completions, updates: int = 0) -> float:
        """See `Policy.flops`."""
        config, context = self.model.config, completions.ids.shape[1] / 2
        each = forward_flops(config, context) + updates * training_flops(config, context, mtp=False)
        return float(completions.attention_mask.sum()) * each

    def save(self, folder: str | Path, extra: dict[str, Any] | None = None) -> None:
        """See `Policy.save`."""
        extra = None if extra is None else {**extra, "tokenizer": self.tokenizer.fingerprint}
        save_pretrained(self.model, folder, self.tokenizer, extra=extra)


def load_policy(name_or_folder: str | Path, device: torch.device | str = "cpu") -> MiniPolicy:
    """One of our checkpoints by name, or the folder of a finished run: model and tokenizer together.

    Raises `CheckpointError` for an unknown name, and what `load_checkpoint` raises.
    """
    return MiniPolicy(*load_checkpoint(find(name_or_folder), device))


class HFPolicy(Policy):
    """Any causal language model of transformers with its tokenizer; also one that `peft` has given adapters.

    Prompts go through the tokenizer's chat template, as a user's turn, where it has one and `chat` is not False. The
    model is put into evaluation mode: dropout would make the tokens' probabilities at sampling time another draw.
    """

    model: Any

    def __init__(self, model: Any, tokenizer: Any, chat: bool | None = None) -> None:
        self.model, self.tokenizer, self.width = model.eval(), tokenizer, model.config.hidden_size
        self.chat = bool(getattr(tokenizer, "chat_template", None)) if chat is None else chat
        ends = model.generation_config.eos_token_id
        self.ends = [ends] if isinstance(ends, int) else list(ends or [tokenizer.eos_token_id])
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.ends[0]

    def sample(
        self,
        prompts: Sequence[str],
        group: int = 1,
        max_new_tokens: int = 256,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Completions:
        """See `Policy.sample`. Whatever else the model's own settings do to the distribution is switched off."""
        ids, mask = self._left_padded([prompt for prompt in prompts for _ in range(group)])
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
        with torch.random.fork_rng(), torch.no_grad():  # transformers draws from torch's global generator
            source = torch.default_generator if generator is None else generator
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=source, device=source.device)))
            done = self.model.generate(
                input_ids=ids, attention_mask=mask.long(), max_new_tokens=max_new_tokens, repetition_penalty=1.0,
                pad_token_id=self.pad, eos_token_id=self.ends, **{"do_sample": False, **how},
            )  # fmt: skip
        rows = []
        for row in done[:, ids.shape[1] :].tolist():
            end = next((place for place, token in enumerate(row) if token in self.ends), len(row))
            rows.append(row[: end + 1])
        texts = [self.tokenizer.decode(row, skip_special_tokens=True) for row in rows]
        sampled = completed(ids, mask, rows, texts, self.pad, self.ends)
        sampled.logp = over_all(self.logprobs, sampled, len(rows))
        return sampled

    def encode(self, prompts: Sequence[str], texts: Sequence[str]) -> Completions:
        """See `Policy.encode`."""
        ids, mask = self._left_padded(prompts)
        rows = [[*self.tokenizer.encode(text, add_special_tokens=False), self.ends[0]] for text in texts]
        return completed(ids, mask, rows, texts, self.pad, self.ends)

    def hidden(self, completions: Completions, after: bool = False) -> Tensor:
        """See `Policy.hidden`."""
        hidden = self._inner().base_model(**self._inputs(completions)).last_hidden_state
        return hidden[:, completions.prompt_width :] if after else hidden[:, completions.prompt_width - 1 : -1]

    def predictions(self, completions: Completions) -> tuple[Tensor, Tensor]:
        """See `Policy.predictions`. Logits are made for the completions alone where the model knows how."""
        inputs = self._inputs(completions)
        if "logits_to_keep" in inspect.signature(self._inner().forward).parameters:
            inputs["logits_to_keep"] = completions.tokens.shape[1] + 1
        with precision(completions.ids.device):
            logits = self.model(**inputs).logits
        return token_logprobs(logits[:, -completions.tokens.shape[1] - 1 : -1], completions.tokens)

    def flops(self, completions: Completions, updates: int = 0) -> float:
        """See `Policy.flops`: two for each weight and token forward, twice that backward; attention is left out."""
        weights = sum(p.numel() for p in self.model.parameters())
        return 2.0 * weights * float(completions.attention_mask.sum()) * (1 + 3 * updates)

    def save(self, folder: str | Path, extra: dict[str, Any] | None = None) -> None:
        """See `Policy.save`."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        path = Path(folder) / "config.json"  # peft's adapters come without one
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(content | {"minidsk": extra or {}}, indent=2) + "\n", encoding="utf-8")

    def _inner(self) -> Any:
        """The model of transformers, inside what peft has put around it."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    def _left_padded(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = []
        for text in prompts:
            if self.chat:
                turn = [{"role": "user", "content": text}]
                text = self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
            rows.append(self.tokenizer.encode(text, add_special_tokens=not self.chat) or [self.ends[0]])
        longest = max(map(len, rows))
        ids = torch.tensor([[self.pad] * (longest - len(row)) + row for row in rows], device=self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        return ids, torch.arange(longest, device=self.device) >= longest - lengths[:, None]

    @staticmethod
    def _inputs(completions: Completions) -> dict[str, Any]:
        """Prompts are padded on the left, so positions have to say where each text begins."""
        mask = completions.attention_mask.long()
        return {"input_ids": completions.ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
