"""A step of decoding without Python, on a CPU: traced once for a model, for any number of rows and of tokens before."""

from __future__ import annotations


import weakref

from torch import Tensor

from minidsk.kernels.trace import Trace
from minidsk.model.cache import LatentCache
from minidsk.model.transformer import MiniDeepSeek

IN_VAIN = 4e7  # multiplications in a layer that take about as long as Python does to sort tokens by expert
_STEPS: weakref.WeakKeyDictionary[MiniDeepSeek, TracedStep] = weakref.WeakKeyDictionary()


class TracedStep:
    """One token more for each row; `how`: what Python knew of the model when it was traced."""

    def __init__(self, model: MiniDeepSeek, how: object) -> None:
        config, own = model.config, weakref.proxy(model)  # what is kept for a model must not keep it
        idle = config.n_routed_experts - config.num_experts_per_tok if config.has_experts else 0
        self._most = IN_VAIN / max(3 * idle * config.hidden_size * config.moe_intermediate_size, 1)
        self.how, cache = how, model.new_cache(1, 1, static=True)

        def step(tokens: Tensor, entries: Tensor, begins: Tensor, ends: Tensor, places: Tensor) -> Tensor:
            cache.entries, cache.begins, cache.ends, cache._places = entries, begins, ends.clone(), places
            hidden: Tensor = own.states(tokens, cache=cache, mtp=False).hidden
            return own.lm_head(hidden[:, -1])  # type: ignore[no-any-return]

        self._trace = Trace(model, step)

    def __call__(self, cache: LatentCache, tokens: Tensor) -> Tensor | None:
        """The logits after `tokens` ``[rows, 1]``, which the cache then holds; or None, and nothing was done."""
        seen = cache.capacity if cache.static else cache.longest + 1
        if tokens.shape[1] > 1 or len(tokens) > self._most or seen > cache.capacity:
            return None
        logits = self._trace(tokens, cache.entries[:, :, :seen], cache.begins, cache.ends, cache._places[:seen])
        if logits is not None:
            cache.grow(1)
        return logits


def traced(model: MiniDeepSeek) -> TracedStep | None:
    """The step of a model on a CPU: the one that was made for it before, if it is still the same. None on a GPU, and
    where Python has something of its own to do within the model."""
    parts = list(model.modules())[1:]
    own = any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) for part in parts)
    if model.device.type != "cpu" or own:
        return None
    how = model.embed_tokens.weight.dtype, [(part, vars(part).get("kernels"), vars(part).get("absorb")) for part in parts]
    if model not in _STEPS or _STEPS[model].how != how:
        _STEPS[model] = TracedStep(model, how)
    return _STEPS[model]
