"""A world small enough to list: pay a price with coins of 1 and 2. Chapter 12 builds it in the open, 13 returns to it.

An answer is a row of the tokens `1`, `2` and `.`; the last one ends it, and what is longer than allowed is cut off.
"""

from itertools import product

import torch
from torch import Tensor

TOKENS = "12."


class World:
    """Every answer of up to `longest` tokens, each as a row of pairs: what stood before a token, and the token.

    answers: the texts. contexts: the texts that can stand before a token. context, token [answers, longest]: numbers
    of the context and of the token at each place. mask [answers, longest], float64: 1 where an answer has a token.
    """

    def __init__(self, longest: int) -> None:
        self.contexts = ["".join(coins) for n in range(longest) for coins in product("12", repeat=n)]
        unended = ["".join(coins) for coins in product("12", repeat=longest)]
        self.answers = [text + "." for text in self.contexts] + unended
        self.mask = torch.zeros(len(self.answers), longest, dtype=torch.float64)
        self.context, self.token = self.mask.long(), self.mask.long()
        for i, answer in enumerate(self.answers):
            for t, token in enumerate(answer):
                self.context[i, t], self.token[i, t] = self.contexts.index(answer[:t]), TOKENS.index(token)
                self.mask[i, t] = 1

    def pays(self, price: int) -> Tensor:
        """The reward of each answer [answers], float64: 1 where its coins make the price and it ends by itself."""
        paid = [answer[-1] == "." and sum(map(int, answer[:-1])) == price for answer in self.answers]
        return torch.tensor(paid, dtype=torch.float64)

    def logp(self, policy: Tensor) -> Tensor:
        """Log-probabilities of all tokens [answers, longest], 0 where there is none; policy [contexts, 3]: logits."""
        return policy.log_softmax(-1)[self.context, self.token] * self.mask
