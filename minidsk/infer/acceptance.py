"""The rule of acceptance of speculative decoding: which guesses are kept, and what follows them.

By it (Leviathan et al., arXiv:2211.17192, algorithm 1) what is written follows the model's own probabilities exactly,
however bad the guesses are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minidsk.precision import at_least_float32


def accept(
    target_probs: Tensor, draft_probs: Tensor, draft_tokens: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """How many of K guesses are kept, int64 ``[...]``, and the token that follows them, int64 ``[...]``.

    `draft_tokens` ``[..., K]`` were drawn from q, `draft_probs` ``[..., K, vocab]``; p, `target_probs` ``[..., K + 1,
    vocab]``, are the model's at the same places and at the one after. Guess x is kept with probability min(1, p(x) /
    q(x)); at the first that is not, the token comes from max(0, p - q), normalised; after the last, from p.
    """
    p, q = (at_least_float32(probs) for probs in (target_probs, draft_probs))
    chance = torch.rand(draft_tokens.shape, generator=generator, device=p.device, dtype=p.dtype)
    kept = kept_of(p, q, draft_tokens, chance.log())
    rest = _at(kept, remainder(p, q))
    return kept, drawn(rest, -torch.empty_like(rest).exponential_(generator=generator).clamp(min=1e-30))


def kept_of(p: Tensor, q: Tensor, guesses: Tensor, noise: Tensor) -> Tensor:
    """How many guesses ``[..., K]`` are kept, by log-uniform noise ``[..., K]``. In logarithms chance stays below 1."""
    of_guess = guesses.unsqueeze(-1)
    ratio = p[..., :-1, :].gather(-1, of_guess) / q.gather(-1, of_guess)
    return (noise < ratio.squeeze(-1).log()).cumprod(-1).sum(-1)  # a refusal ends it, whatever follows


def remainder(p: Tensor, q: Tensor) -> Tensor:
    """The weights of the token at each place ``[..., K + 1, vocab]``, if it is the first that is no guess."""
    return torch.cat(((p[..., :-1, :] - q).clamp(min=0), p[..., -1:, :]), dim=-2)


def _at(places: Tensor, x: Tensor) -> Tensor:
    """`x` ``[..., K + 1, vocab]`` at one place of each row, `places` ``[...]``: ``[..., vocab]``."""
    return x.gather(-2, places[..., None, None].expand(*places.shape, 1, x.shape[-1])).squeeze(-2)


def drawn(weights: Tensor, noise: Tensor) -> Tensor:
    """A token for each row ``[...]``, with a chance in proportion to its weight; both ``[..., vocab]``, see
    `Sampling.draw`. The noise is log-uniform."""
    return (weights / noise).argmin(-1)
