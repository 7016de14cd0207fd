"""Sampling: tokens a second of `decode`, as rollouts call it, beside transformers' `generate`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from minidsk.bench.contest import Call, Contest
from minidsk.bench.plan import Plan
from minidsk.bench.subject import Transformers, make, random_ids, rivals
from minidsk.data.tokenizer import CharTokenizer
from minidsk.infer.generate import decode
from minidsk.infer.recorder import Recorder
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.policy import MiniPolicy
from minidsk.scale.cost import parameters


def generation(plan: Plan, axes: tuple[str, ...], device: torch.device) -> Iterator[Contest]:
    """One contest for each point on these axes: the same weights and prompts, sampled at temperature 1, to the end."""
    made: dict[ModelConfig, tuple[MiniDeepSeek, dict[str, Transformers]]] = {}
    for point in plan.generation(axes):
        if point.config not in made:
            # In the dtype in which a policy samples.
            actor = MiniPolicy(make(point.config, device), CharTokenizer()).actor
            made = {point.config: (actor, rivals(actor, actor.embed_tokens.weight.dtype))}
        actor, theirs = made[point.config]
        ids = random_ids(point.config, point.batch, point.context, device)
        size = actor.embed_tokens.weight.element_size()
        # Beside the rivals, what a graph saves us: the same steps, each started from Python.
        others = {"ours, from Python": _ours(actor, ids, plan.new, graphs=False)} if point.axis == "batch" else {}
        yield Contest(
            "generation", point.axis, point.value,
            f"{point.batch} prompts of {point.context} tokens, {plan.new} new", point.batch * plan.new,
            _ours(actor, ids, plan.new),
            others | {name: _theirs(rival, ids, plan.new) for name, rival in theirs.items()},
            bytes=bytes_moved(point.config, size, point.batch, point.context, plan.new),
        )  # fmt: skip


def _ours(actor: MiniDeepSeek, ids: Tensor, new: int, graphs: bool = True) -> Call:
    recorder = Recorder(graphs)
    return lambda: decode(actor, ids, new, temperature=1.0, recorder=recorder)


def _theirs(rival: Transformers, ids: Tensor, new: int) -> Call:
    mask = torch.ones_like(ids)
    return lambda: rival().generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=new, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip


def bytes_moved(config: ModelConfig, size: int, batch: int, prompt: int, new: int) -> float:
    """The fewest bytes that must be read and written to draw `new` tokens for each of `batch` rows.

    Each step reads the weights once (of the experts as many as its rows can choose), and of each row what is
    remembered of the tokens before; it writes what is to be remembered of one token more. `size`: bytes of a number.
    """
    met = config
    if config.has_experts:
        reached = min(config.n_routed_experts, batch * config.num_experts_per_tok)
        met = config.replace(n_routed_experts=reached, num_experts_per_tok=1, n_group=1, topk_group=1)
    weights = parameters(met) - config.vocab_size * config.hidden_size  # the embedding is looked up
    each = config.num_hidden_layers * (config.kv_lora_rank + config.qk_rope_head_dim)
    remembered = sum(prompt + step + 1 for step in range(new)) * batch * each
    return float(size * (new * weights + remembered + new * batch * each))
