"""Text to token ids and back. `CharTokenizer`: one token a character. `BPETokenizer`: bytes and learned merges.

Both are saved as the `tokenizer.json` of Hugging Face's tokenizers library, which reads them with equal results.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from minidsk.atomic import atomic
from minidsk.data.alphabet import ASCII, CHINESE, SPECIALS
from minidsk.data.bpe import apply_merges, byte_characters, count_words, learn_merges, words
from minidsk.data.written import Table


class Tokenizer:
    """What the tokenizers share: special tokens found in text, a file, a fingerprint.

    A subclass fills `_tokens` (the text or bytes of each id, specials first), and defines how plain text is encoded.
    """

    specials: tuple[str, ...]
    _tokens: Sequence[Any]

    def __init__(self, specials: Sequence[str]):
        self.specials = tuple(specials)
        if len(set(self.specials)) != len(self.specials) or not all(self.specials):
            raise ValueError("specials: give each special token once, none empty")
        self._special_ids = {token: i for i, token in enumerate(self.specials)}
        longest_first = sorted(self.specials, key=len, reverse=True)
        self._split_specials = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")").split

    def encode(self, text: str, allow_special: bool = True) -> list[int]:
        """The ids of a text. With `allow_special=False` (for text from strangers) `<eos>` in it is five characters."""
        if not allow_special or not self.specials:
            return self._encode_plain(text)
        ids: list[int] = []
        for i, piece in enumerate(self._split_specials(text)):  # every second piece is a special token
            if i % 2:
                ids.append(self._special_ids[piece])
            elif piece:
                ids += self._encode_plain(piece)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids (a list, or a tensor or array of one dimension). Raises ValueError at an unknown id."""
        raise NotImplementedError

    def decode_all(self, ids: Tensor, lengths: Tensor) -> list[str]:
        """The texts of rows of ids ``[N, T]``: of each the first so many, `lengths` ``[N]``."""
        return [self.decode(row[:n]) for row, n in zip(ids.tolist(), lengths.tolist(), strict=True)]

    def _encode_plain(self, text: str) -> list[int]:
        raise NotImplementedError

    def _checked(self, ids: Iterable[int]) -> list[int]:
        """The ids as a list of int, each in range."""
        listed: list[int] = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        if listed and (min(listed) < 0 or max(listed) >= self.vocab_size):
            wrong = next(i for i in listed if not 0 <= i < self.vocab_size)
            raise ValueError(f"token id {wrong} is outside this tokenizer's vocabulary of {self.vocab_size}")
        return listed

    @property
    def vocab_size(self) -> int:
        """How many ids there are: 0 to vocab_size - 1."""
        return len(self._tokens)

    def special_id(self, token: str) -> int:
        """The id of a special token, such as "<think>"; ValueError where this tokenizer has none of that name."""
        if token not in self._special_ids:
            raise ValueError(f"this tokenizer has no special token {token}: make it with specials=SPECIALS")
        return self._special_ids[token]

    pad_id = property(lambda self: self.special_id("<pad>"), doc="The id that fills up a batch of unequal lengths.")
    bos_id = property(lambda self: self.special_id("<bos>"), doc="The id that begins a document.")
    eos_id = property(lambda self: self.special_id("<eos>"), doc="The id that ends a document or a reply.")

    def _model(self) -> dict[str, Any]:
        """The parts of tokenizer.json that differ: model, pre_tokenizer, decoder."""
        raise NotImplementedError

    def to_json(self) -> str:
        """The tokenizer as the JSON text that `save` writes."""
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        added = [{"id": i, "content": token, **flags} for i, token in enumerate(self.specials)]
        parts = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
        return json.dumps({"version": "1.0", **parts, "added_tokens": added, **self._model()}, ensure_ascii=False)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that two tokenizers share only if they give the same ids: kept with each checkpoint."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` into the folder, making the folder where it is missing; never half a file."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        with atomic(Path(folder) / "tokenizer.json") as path:
            path.write_text(self.to_json(), encoding="utf-8")


def _read(folder: str | Path) -> dict[str, Any]:
    """The content of the folder's tokenizer.json, with one line of ValueError or FileNotFoundError where it is bad."""
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give a folder that a run or tokenizer.save wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        specials = [token["content"] for token in content["added_tokens"]]
        model = content["model"]
        if model["type"] != "BPE":
            raise ValueError(model["type"])
        return {"byte_level": content["pre_tokenizer"] is not None, "specials": specials, **model}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged or was not written by minidsk: make it again ({error!r})") from None


class CharTokenizer(Tokenizer):
    """One token for each character of an alphabet, and one for each special token; others become `<unk>`.

    Ids: the special tokens in their order, then the alphabet in its order.
    """

    def __init__(self, alphabet: str = ASCII + CHINESE, specials: Sequence[str] = SPECIALS):
        super().__init__(specials)
        self.alphabet = "".join(dict.fromkeys(alphabet))
        self._tokens = [*self.specials, *self.alphabet]
        self._unk = self.special_id("<unk>")
        self._ids = {token: i for i, token in enumerate(self._tokens) if len(token) == 1}
        self._table = Table(self._tokens)

    @classmethod
    def for_text(cls, text: str, specials: Sequence[str] = SPECIALS) -> "CharTokenizer":
        """A tokenizer whose alphabet is the characters of the text, sorted."""
        return cls("".join(sorted(set(text))), specials)

    @classmethod
    def load(cls, folder: str | Path) -> "CharTokenizer":
        """Read what `save` wrote. FileNotFoundError or ValueError where there is nothing, or something else."""
        content = _read(folder)
        if content["byte_level"]:
            raise ValueError(f"{folder} holds a BPETokenizer: load it with BPETokenizer.load")
        characters = [token for token in content["vocab"] if token not in content["specials"]]
        return cls("".join(sorted(characters, key=content["vocab"].get)), content["specials"])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids (a list, or a tensor or array of one dimension). Raises ValueError at an unknown id."""
        tokens = self._tokens
        return "".join([tokens[i] for i in self._checked(ids)])

    def decode_all(self, ids: Tensor, lengths: Tensor) -> list[str]:
        """See `Tokenizer.decode_all`."""
        ids = ids.cpu()
        fits = self._table.able and ids.equal(ids.clamp(0, self.vocab_size - 1))
        return self._table.write(ids, lengths) if fits else super().decode_all(ids, lengths)

    def _encode_plain(self, text: str) -> list[int]:
        ids = self._ids
        try:
            return [ids[character] for character in text]
        except KeyError:
            return [ids.get(character, self._unk) for character in text]

    def _model(self) -> dict[str, Any]:
        # A byte-pair encoding that never merges, without a pre-tokenizer, is a character tokenizer.
        vocab = {token: i for i, token in enumerate(self._tokens)}
        model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": False, "vocab": vocab, "merges": []}
        return {"model": model, "decoder": {"type": "Fuse"}}


class BPETokenizer(Tokenizer):
    """Byte-level byte-pair encoding: every text has ids, and frequent pieces have one of their own.

    merges: the learned pairs in order, spelled in GPT-2's visible characters: ("Ġ", "t") is a space and a t.
    Ids: the special tokens, the 256 bytes, the merged tokens in the order in which they were learned.
    """

    def __init__(self, merges: Sequence[tuple[str, str]], specials: Sequence[str] = ()):
        super().__init__(specials)
        characters = byte_characters()
        self.merges = [(left, right) for left, right in merges]
        self._tokens = list(dict.fromkeys([*self.specials, *characters.values(), *map("".join, self.merges)]))
        ids = {token: i for i, token in enumerate(self._tokens)}
        try:
            self._ranks = {(ids[a], ids[b]): (rank, ids[a + b]) for rank, (a, b) in enumerate(self.merges)}
        except KeyError as error:
            raise ValueError(f"merges: {error} is merged, but is neither a byte nor made by a merge") from None
        self._byte_ids = [ids[characters[byte]] for byte in range(256)]
        bytes_of = {character: byte for byte, character in characters.items()}
        self._bytes = [token.encode() for token in self.specials]
        self._bytes += [bytes(bytes_of[c] for c in token) for token in self._tokens[len(self.specials) :]]
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(cls, text: str, vocab_size: int, specials: Sequence[str] = ()) -> "BPETokenizer":
        """Learn the merges of a text, up to `vocab_size` ids in all; fewer where the text has no more pairs.

        With `specials=SPECIALS` the tokenizer knows the course's special tokens, which no merge touches.
        Raises ValueError where vocab_size has no room for the specials and the 256 bytes.
        """
        blank = cls((), specials)
        if vocab_size < blank.vocab_size:
            raise ValueError(f"vocab_size is {vocab_size}: the bytes and special tokens alone are {blank.vocab_size}")
        pieces = blank._split_specials(text)[::2] if specials else [text]
        tokens = list(blank._tokens)
        learned = learn_merges(count_words(pieces), tokens, vocab_size)
        return cls([(tokens[left], tokens[right]) for left, right in learned], specials)

    @classmethod
    def load(cls, folder: str | Path) -> "BPETokenizer":
        """Read what `save` wrote. FileNotFoundError or ValueError where there is nothing, or something else."""
        content = _read(folder)
        if not content["byte_level"]:
            raise ValueError(f"{folder} holds a CharTokenizer: load it with CharTokenizer.load")
        return cls(content["merges"], content["specials"])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids (a list, or a tensor or array of one dimension); bytes that are no UTF-8 become U+FFFD."""
        return b"".join([self._bytes[i] for i in self._checked(ids)]).decode(errors="replace")

    def _encode_plain(self, text: str) -> list[int]:
        ids: list[int] = []
        for word in words(text):
            if word not in self._cache:
                if len(self._cache) >= 2**16:
                    self._cache.clear()
                self._cache[word] = apply_merges(
                    [self._byte_ids[byte] for byte in word.encode(errors="replace")], self._ranks
                )
            ids += self._cache[word]
        return ids

    def _model(self) -> dict[str, Any]:
        vocab = {token: i for i, token in enumerate(self._tokens)}
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        model = {"type": "BPE", "vocab": vocab, "merges": [list(pair) for pair in self.merges]}
        return {"model": model, "pre_tokenizer": byte_level, "decoder": byte_level}


def load_tokenizer(folder: str | Path) -> CharTokenizer | BPETokenizer:
    """The tokenizer of either kind that was saved in the folder. Raises as `CharTokenizer.load` does."""
    return (BPETokenizer if _read(folder)["byte_level"] else CharTokenizer).load(folder)
