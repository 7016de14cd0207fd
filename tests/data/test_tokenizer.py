"""Tokenizers: round trips, special tokens, files; and byte-pair encoding equal to the tokenizers library's."""

import json
import random
import string
import sys
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from minidsk.data import bpe
from minidsk.data.tokenizer import ASCII, CHINESE, SPECIALS, BPETokenizer, CharTokenizer, load_tokenizer

TEXT = (
    "Make 20 from 3 7 2.\n3+7=10, 10*2=20: yes. It's what we'll do; they've done it.\n\n  Two  spaces,\ttabs.\n"
    "用 3 7 2 得到 20。3+7=10，10*2=20，对了。 Ça va? ½ naïve café — ☃\n"
) * 3
CHARS = CharTokenizer()
BYTES = BPETokenizer.train(TEXT, 320, SPECIALS)
BOTH = pytest.mark.parametrize("tokenizer", [CHARS, BYTES], ids=["characters", "bpe"])
known = st.text(st.sampled_from(ASCII + CHINESE))
mixed = st.lists(st.one_of(known, st.sampled_from(SPECIALS))).map("".join)
# Characters that this Python's Unicode tables know, so that they mean the same to the library.
assigned = st.characters(exclude_categories=("Cn", "Cs"))


# ---- both tokenizers


@BOTH
@given(text=mixed)
def test_round_trip(tokenizer, text):
    for allow_special in (True, False):
        ids = tokenizer.encode(text, allow_special=allow_special)
        assert all(0 <= i < tokenizer.vocab_size for i in ids)
        assert tokenizer.decode(ids) == tokenizer.decode(torch.tensor(ids, dtype=torch.long)) == text


@BOTH
def test_special_tokens(tokenizer):
    assert tokenizer.encode("".join(SPECIALS)) == list(range(len(SPECIALS)))
    assert tokenizer.encode("<eos>a<eos>")[::2] == [tokenizer.eos_id] * 2
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    assert tokenizer.special_id("</think>") == 6
    with pytest.raises(ValueError, match="<tool>"):
        tokenizer.special_id("<tool>")


@BOTH
@given(text=mixed)
def test_strangers_cannot_write_special_tokens(tokenizer, text):
    reserved = set(range(len(SPECIALS)))
    assert not reserved & set(tokenizer.encode(text, allow_special=False))


@BOTH
@given(st.text())
def test_any_text_has_ids(tokenizer, text):
    ids = tokenizer.encode(text)
    assert all(0 <= i < tokenizer.vocab_size for i in ids)
    assert isinstance(tokenizer.decode(ids), str)


@BOTH
def test_a_lone_surrogate_has_ids(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud800b")).startswith("a")


@BOTH
@pytest.mark.parametrize("wrong", [-1, 10**6])
def test_an_unknown_id(tokenizer, wrong):
    with pytest.raises(ValueError, match=f"token id {wrong} is outside"):
        tokenizer.decode([11, wrong])


@BOTH
def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "new")
    tokenizer.save(tmp_path / "new")  # over the earlier one
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["tokenizer.json"]
    for loaded in (type(tokenizer).load(tmp_path / "new"), load_tokenizer(tmp_path / "new")):
        assert type(loaded) is type(tokenizer)
        assert loaded.fingerprint == tokenizer.fingerprint
        assert loaded.encode("<bos>" + TEXT) == tokenizer.encode("<bos>" + TEXT)


@BOTH
@given(text=st.lists(st.one_of(st.text(assigned), st.sampled_from(SPECIALS))).map("".join))
def test_the_library_reads_our_file_with_equal_results(tokenizer, text):
    theirs = Tokenizer.from_str(tokenizer.to_json())
    assert theirs.get_vocab_size() == tokenizer.vocab_size
    assert theirs.encode(text).ids == tokenizer.encode(text)
    ids = tokenizer.encode(text)
    assert theirs.decode(ids, skip_special_tokens=False) == tokenizer.decode(ids)


def test_a_failed_save_leaves_the_earlier_file(tmp_path, monkeypatch):
    CHARS.save(tmp_path)
    before = (tmp_path / "tokenizer.json").read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("minidsk.atomic.os.replace", full)
    with pytest.raises(ValueError, match=r"tokenizer\.json: not written"):
        CharTokenizer("abc").save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]
    assert (tmp_path / "tokenizer.json").read_bytes() == before


def test_fingerprints_differ_where_ids_do():
    tokenizers = [
        CHARS,
        CharTokenizer("ab"),
        CharTokenizer("ba"),
        CharTokenizer("ab", ("<unk>",)),
        BYTES,
        BPETokenizer.train(TEXT, 320),
        BPETokenizer.train(TEXT, 319, SPECIALS),
    ]
    assert len({tokenizer.fingerprint for tokenizer in tokenizers}) == len(tokenizers)


def test_damaged_files_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="is missing"):
        CharTokenizer.load(tmp_path)
    for content in ("", "{", "[]", "{}", '{"added_tokens": [], "model": {"type": "WordPiece"}, "pre_tokenizer": null}'):
        (tmp_path / "tokenizer.json").write_text(content)
        for load in (CharTokenizer.load, BPETokenizer.load, load_tokenizer):
            with pytest.raises(ValueError, match="damaged") as caught:
                load(tmp_path)
            assert "\n" not in str(caught.value)


def test_the_other_kinds_file_says_so(tmp_path):
    CHARS.save(tmp_path)
    with pytest.raises(ValueError, match=r"CharTokenizer\.load"):
        BPETokenizer.load(tmp_path)
    BYTES.save(tmp_path)
    with pytest.raises(ValueError, match=r"BPETokenizer\.load"):
        CharTokenizer.load(tmp_path)


def test_bad_specials():
    for specials in (("<a>", "<a>", "<unk>"), ("", "<unk>")):
        with pytest.raises(ValueError, match="specials"):
            CharTokenizer("ab", specials)


# ---- characters


def test_one_id_a_character():
    tokenizer = CharTokenizer("abca")
    assert tokenizer.vocab_size == len(SPECIALS) + 3
    assert tokenizer.encode("cab<eos>") == [12, 10, 11, tokenizer.eos_id]


def test_the_default_alphabet_holds_each_character_once():
    assert set(string.digits + string.ascii_letters + string.punctuation + " \n") <= set(CHARS.alphabet)
    assert CHARS.vocab_size == len(SPECIALS) + len(set(ASCII + CHINESE))


def test_unknown_characters_become_unk():
    assert CHARS.decode(CHARS.encode("a☃b")) == "a<unk>b"


@given(st.text(min_size=1), st.text())
def test_for_text_knows_the_text(text, more):
    tokenizer = CharTokenizer.for_text(text + more)
    assert tokenizer.decode(tokenizer.encode(text, allow_special=False)) == text
    assert tokenizer.alphabet == CharTokenizer.for_text(more + text).alphabet


# ---- byte-pair encoding


def library(text, vocab_size, specials=()):
    """The tokenizers library's ByteLevel BPE, trained on the text."""
    byte_level = pre_tokenizers.ByteLevel
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=byte_level.alphabet(),
        special_tokens=list(specials),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def assert_same_as_library(text, vocab_size, specials=()):
    ours, theirs = BPETokenizer.train(text, vocab_size, specials), library(text, vocab_size, specials)
    assert ours.merges == [tuple(pair) for pair in json.loads(theirs.to_str())["model"]["merges"]]
    assert ours.vocab_size == theirs.get_vocab_size()
    assert ours.encode(text) == theirs.encode(text).ids
    return ours, theirs


@pytest.mark.parametrize("vocab_size", [256, 257, 300, 400, 5000])
def test_same_merges_and_ids_as_the_library(vocab_size):
    ours, _ = assert_same_as_library(TEXT, vocab_size)
    assert ours.vocab_size <= vocab_size


def test_same_as_the_library_on_source_code():
    with open(bpe.__file__, encoding="utf-8") as file:
        assert_same_as_library(file.read(), 700)


def test_same_ids_as_the_library_with_special_tokens():
    assert_same_as_library(TEXT, 350, SPECIALS)


@settings(max_examples=150)
@given(st.data())
def test_same_as_the_library_on_random_text(data):
    """Few different characters: many ties and many overlapping pairs."""
    letters = data.draw(st.sampled_from(["ab", "abc ", " ab'st", "a1 !\n", "ab²Ⅷ用é ½\u00a0\u3000\x1c\x85_١'l"]))
    text, other = (data.draw(st.text(letters, max_size=150)) for _ in range(2))
    ours, theirs = assert_same_as_library(text, 256 + data.draw(st.integers(0, 60)))
    assert ours.encode(other) == theirs.encode(other).ids


@given(st.text(assigned))
def test_words_are_the_librarys(text):
    characters = bpe.byte_characters()
    spelled = ["".join(characters[byte] for byte in word.encode()) for word in bpe.words(text)]
    assert "".join(bpe.words(text)) == text
    assert spelled == [piece for piece, _ in pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)]


def test_words_of_every_character():
    """One text with all characters that Python can name, each between letters, digits and signs."""
    named = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
    random.Random(0).shuffle(named)
    text = "".join(f"{c}x{c}1 {c}" for c in named[:20_000])
    theirs = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
    assert [len(word) for word in bpe.words(text)] == [end - start for _, (start, end) in theirs]


def test_the_library_s_alphabet():
    assert sorted(pre_tokenizers.ByteLevel.alphabet()) == list(bpe.byte_characters().values())


def test_merge_by_hand():
    """The example of the docstring, and a run in which pairs overlap."""
    assert bpe.merge([1, 2, 2, 1], (2, 2), 9) == [1, 9, 1]
    assert bpe.merge([2, 2, 2], (2, 2), 9) == [9, 2]
    tokens = [*bpe.byte_characters().values()]
    a, b = tokens.index("a"), tokens.index("b")
    assert bpe.learn_merges({"abab": 1, "aab": 2}, tokens, 258) == [(a, b), (a, 256)]  # ab 4 times, then a ab twice
    assert tokens[256:] == ["ab", "aab"]


def test_no_merge_crosses_a_special_token():
    tokenizer = BPETokenizer.train("<eos>" * 50 + "a<eos>a", 300, SPECIALS)
    assert tokenizer.merges == []


def test_frequent_words_become_one_token():
    tokenizer = BPETokenizer.train("the cat the hat the bat " * 20, 280)
    assert len(tokenizer.encode(" the")) == 1
    assert ("Ġ", "t") in tokenizer.merges or ("h", "e") in tokenizer.merges


def test_bytes_that_are_no_text_decode_to_a_mark():
    snowman = BPETokenizer.train("", 256).encode("☃")
    assert len(snowman) == 3
    assert BPETokenizer.train("", 256).decode(snowman[:2]) == "\ufffd"


def test_without_specials_there_is_no_end_token():
    with pytest.raises(ValueError, match="specials=SPECIALS"):
        _ = BPETokenizer.train("", 256).eos_id


def test_too_small_a_vocabulary():
    with pytest.raises(ValueError, match="vocab_size is 255"):
        BPETokenizer.train("abc", 255)
    with pytest.raises(ValueError, match="266"):
        BPETokenizer.train("abc", 256, SPECIALS)


def test_merges_that_make_no_sense():
    with pytest.raises(ValueError, match="merges"):
        BPETokenizer([("ab", "c")])
