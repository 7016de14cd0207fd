"""Pages of a corpus as batches of tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from minidsk.data.corpus import Corpus
from minidsk.data.tokenizer import Tokenizer


class PackedPages(Dataset[Tensor]):
    """Batches of pages packed end to end: item i is int64 ``[batch, context + 1]``, a pure function of i.

    A page is `<bos>` text `<eos>`; a row starts with a fresh page and its last page is cut off. As in DeepSeek-V3,
    attention may look across pages (section 4.1).
    """

    PAGES_PER_ROW = 64

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, batch: int, context: int) -> None:
        self.corpus, self.tokenizer, self.batch, self.context = corpus, tokenizer, batch, context

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
            ids += [self.tokenizer.bos_id, *self.tokenizer.encode(self.corpus[page]), self.tokenizer.eos_id]
            page += 1
        return ids[: self.context + 1]
