"""Outputs as data: they arrive as they were, and nothing that arrives does anything but be data."""

import collections
import math
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minidsk.homework import EXERCISES
from minidsk.homework.compare import difference, show
from minidsk.homework.data import TooMuch, pack, unpack

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
KEYS = st.integers() | st.text() | st.tuples(SCALARS)
VALUES = st.recursive(SCALARS, lambda x: st.lists(x) | st.tuples(x, x) | st.dictionaries(KEYS, x))


@given(VALUES)
def test_plain_values_arrive(value: Any) -> None:
    assert repr(unpack(pack(value))) == repr(value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.bool,
                                   torch.uint16, torch.complex64, torch.complex128])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (0, 3), (4,), (2, 3)])
def test_tensors_arrive(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = torch.arange(max(1, math.prod(shape)))[: math.prod(shape)].view(shape).to(dtype)
    y = unpack(pack({"a": [x, x.T if x.dim() == 2 else x]}))["a"][0]
    assert y.dtype == dtype
    assert y.shape == x.shape
    assert y.to(torch.complex128).equal(x.to(torch.complex128))


def test_tensors_with_a_history() -> None:
    w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    for x in (w, w * 2, w.expand(3, 2), w.conj(), torch.eye(2).to_sparse(), torch.ones(2, dtype=torch.cfloat).conj()):
        y = unpack(pack(x))
        assert not y.requires_grad
        assert y.equal(x.detach().to_dense().resolve_conj())


@pytest.mark.parametrize("value", [np.ones((2, 3)), np.array(3, dtype=np.int8), np.float32(2.5), np.True_, np.int64(7)])
def test_numbers_of_numpy_arrive(value: Any) -> None:
    there = unpack(pack(value))
    assert type(there) is type(value)
    assert there.dtype == value.dtype
    assert repr(there) == repr(value)


class Pair(NamedTuple):
    a: int
    b: int


@pytest.mark.parametrize("value", [collections.Counter("aab"), Pair(1, 2), torch.Size([2, 3]), {1, 2}, 1 + 2j, range(3),
                                   Path("a"), 10**5000], ids=lambda x: type(x).__name__)  # fmt: skip
def test_the_rest_looks_as_it_did(value: Any) -> None:
    there = unpack(pack((value,)))[0]
    assert type(there).__name__ == type(value).__name__
    assert difference(there, "a text", 0) == difference(value, "a text", 0)
    assert show(there) == show(value)


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([None]), torch.empty(2, device="meta")])
def test_numbers_without_numbers(value: Any) -> None:
    there = unpack(pack([value]))[0]
    assert type(there).__name__ == type(value).__name__
    assert difference(there, torch.zeros(2), 0) == f"expected a tensor of shape [2], got {_a(value)}"


def _a(value: Any) -> str:
    return "a Tensor" if isinstance(value, torch.Tensor) else "a ndarray"


def test_every_exercise_arrives() -> None:
    for exercise in EXERCISES.values():
        for _, arguments in exercise.cases():
            for value in (arguments, exercise.reference(*arguments)):
                assert difference(unpack(pack(value)), value, 0.0) is None


@given(st.binary())
def test_junk_is_no_value(junk: bytes) -> None:
    with pytest.raises(ValueError, match="no packed value"):
        unpack(junk)
    with pytest.raises(ValueError, match="no packed value"):
        unpack(pack([junk])[:-1])


class Bomb:
    """Does something when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("bang",)


def test_nothing_is_unpickled(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no packed value"):
        unpack(pickle.dumps(Bomb()))
    assert type(unpack(pack(Bomb()))).__name__ == "Bomb"
    assert capsys.readouterr().out == ""


def test_what_is_too_much() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (torch.zeros(()).expand(10**9), [torch.zeros(2**20)] * 17, [0] * 1_000_001, deep, "a" * 2**24):
        with pytest.raises(TooMuch):
            pack(value)
