"""Rows of ids become the texts that `decode` makes of each."""

import pytest
import torch

from minidsk.data.tokenizer import BPETokenizer, CharTokenizer

ALPHABET = "ab\n\x00é中🙂\ud800"


@pytest.mark.parametrize("tokenizer", [
    CharTokenizer(), CharTokenizer(ALPHABET), CharTokenizer(ALPHABET + "\U0010ffff"), CharTokenizer("ab\U000f0001"),
    CharTokenizer("ab", specials=("<unk>", "<\U000f0000>")), BPETokenizer.train("aab aab ab", 264),
])  # fmt: skip
@pytest.mark.parametrize("time", [0, 1, 9])
def test_each_row_is_decoded(tokenizer, time):
    seeded = torch.Generator().manual_seed(0)
    ids = torch.randint(tokenizer.vocab_size, (50, time), generator=seeded)
    lengths = torch.randint(time + 1, (50,), generator=seeded)
    expected = [tokenizer.decode(row[:n]) for row, n in zip(ids.tolist(), lengths.tolist(), strict=True)]
    assert tokenizer.decode_all(ids, lengths) == expected
    assert tokenizer.decode_all(ids[:0], lengths[:0]) == []


@pytest.mark.parametrize("wrong", [-1, 181, 10**9])
def test_an_unknown_id_is_an_error(wrong):
    ids = torch.tensor([[5, wrong, 6]])
    with pytest.raises(ValueError, match=rf"^token id {wrong} is outside this tokenizer's vocabulary of 181$"):
        CharTokenizer().decode_all(ids, torch.tensor([3]))
    assert CharTokenizer().decode_all(ids, torch.tensor([1])) == [CharTokenizer().decode([5])]
