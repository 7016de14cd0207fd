"""Text as batches of tokens: the pages of a corpus packed into rows, or one long text cut into them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from minidsk.data.corpus import Corpus
from minidsk.data.tokenizer import Tokenizer


class PackedPages(Dataset[Tensor]):
    """Batches of pages packed end to end: item i is int64 ``[batch, context + 1]``, a pure function of i.

    A page is `<bos>` text `<eos>`; a row starts with a fresh page and its last page is cut off. As in DeepSeek-V3,
    attention may look across pages (section 4.1). allow_special: False for pages by strangers, see `Tokenizer.encode`.
    """

    PAGES_PER_ROW = 64

    def __init__(
        self, corpus: Corpus, tokenizer: Tokenizer, batch: int, context: int, allow_special: bool = True
    ) -> None:
        self.corpus, self.tokenizer, self.batch, self.context = corpus, tokenizer, batch, context
        self.allow_special = allow_special

    @property
    def fingerprint(self) -> str:
        """The corpus's: what is read, whatever it is packed into."""
        return self.corpus.fingerprint

    def __getitem__(self, i: int) -> Tensor:
        """Batch number i."""
        return torch.tensor([self._row(i * self.batch + row) for row in range(self.batch)])

    def _row(self, row: int) -> list[int]:
        ids: list[int] = []
        page = row * self.PAGES_PER_ROW
        while len(ids) <= self.context:
            text = self.tokenizer.encode(self.corpus[page], self.allow_special)
            ids += [self.tokenizer.bos_id, *text, self.tokenizer.eos_id]
            page += 1
        return ids[: self.context + 1]


class Windows(Dataset[Tensor]):
    """One long text, cut into batches without overlap: item i is int64 ``[batch, context + 1]``."""

    def __init__(self, ids: Sequence[int], batch: int, context: int) -> None:
        steps = len(ids) // (batch * (context + 1))
        self.rows = torch.tensor(ids[: steps * batch * (context + 1)]).view(steps, batch, context + 1)
        self.fingerprint = hashlib.blake2b(self.rows.numpy().tobytes(), digest_size=8).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Tensor:
        """Batch number i."""
        return self.rows[i]
