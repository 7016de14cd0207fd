"""A causal language model of transformers as a policy; nothing of transformers is imported, the model brings it."""

from __future__ import annotations

import copy
import inspect
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minidsk.atomic import under_way
from minidsk.hub.folder import put_in_place
from minidsk.rl.completions import Completions, Policy, completed, over_all, token_logprobs
from minidsk.train.device import precision


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

    def body(self) -> HFPolicy:
        """See `Policy.body`."""
        twin = HFPolicy(copy.deepcopy(self.model), self.tokenizer, self.chat)
        twin._inner().set_output_embeddings(nn.Identity())
        return twin

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
        staging = under_way(Path(folder) / "checkpoint")
        try:
            self.model.save_pretrained(staging)
            self.tokenizer.save_pretrained(staging)
            config = staging / "config.json"  # peft's adapters come without one
            values = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
            put_in_place(staging, Path(folder), values, extra)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

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
