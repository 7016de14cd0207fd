"""Many rows of ids to texts at once, for tokens that are single characters, and a few that are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

PRIVATE, END = 0xF0000, "\U0010ffff"  # characters that stand for longer tokens, and one between two texts


class Table:
    """The tokens, each as one character; `able` where none of theirs is among those that stand for others."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.longer = {chr(PRIVATE + i): token for i, token in enumerate(tokens) if len(token) > 1}
        codes = [ord(token) if len(token) == 1 else PRIVATE + i for i, token in enumerate(tokens)]
        self.codes = np.array([*codes, ord(END)], dtype="<u4")
        self.able = all(ord(character) < PRIVATE for token in tokens for character in token)

    def write(self, ids: Tensor, lengths: Tensor) -> list[str]:
        """The texts of rows of ids ``[N, T]``, on a CPU and in range: of each the first so many, `lengths` ``[N]``."""
        ended = np.full((len(ids), ids.shape[1] + 1), len(self.codes) - 1)
        ended[:, :-1] = ids
        ends = lengths.cpu().numpy()[:, None]
        np.put_along_axis(ended, ends, len(self.codes) - 1, 1)
        text = self.codes[ended[np.arange(ended.shape[1]) <= ends]].tobytes().decode("utf-32-le", "surrogatepass")
        for mark, token in self.longer.items():
            text = text.replace(mark, token)
        return text.split(END)[:-1]
