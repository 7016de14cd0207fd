"""A step of decoding on a CPU without Python: traced once for a model, for any number of rows and of tokens before."""

import weakref

from torch import Tensor

from minidsk.kernels.trace import Trace
from minidsk.model.cache import LatentCache
from minidsk.model.operations import MANY_ROWS
from minidsk.model.transformer import MiniDeepSeek

IN_VAIN = 4e7  # products with experts that were not chosen, in a layer: they take as long as Python does to leave them


class TracedStep(Trace):
    """One token more for each row of a cache."""

    def __init__(self, model: MiniDeepSeek) -> None:
        config, own, cache = model.config, weakref.proxy(model), model.new_cache(1, 1, static=True)
        idle = config.n_routed_experts - config.num_experts_per_tok if config.has_experts else 0
        most = IN_VAIN / max(3 * idle * config.hidden_size * config.moe_intermediate_size, 1)
        self.rows = min(most, MANY_ROWS) if idle <= 3 * config.num_experts_per_tok else 0  # see `suits_every_expert`

        def step(tokens: Tensor, entries: Tensor, begins: Tensor, ends: Tensor, places: Tensor) -> Tensor:
            cache.entries, cache.begins, cache.ends, cache._places = entries, begins, ends.clone(), places
            hidden: Tensor = own.states(tokens, cache=cache, mtp=False).hidden
            return own.lm_head(hidden[:, -1])  # type: ignore[no-any-return]

        super().__init__(model, step)

    def after(self, tokens: Tensor, cache: LatentCache) -> Tensor | None:
        """The logits after `tokens` ``[rows, 1]``, which `cache` then holds; or None, and nothing was done."""
        seen = cache.capacity if cache.static else cache.longest + 1
        if tokens.shape[1] > 1 or len(tokens) > self.rows or seen > cache.capacity:
            return None
        logits = self(tokens, cache.entries[:, :, :seen], cache.begins, cache.ends, cache._places[:seen])
        if logits is not None:
            cache.grow(1)
        return logits
