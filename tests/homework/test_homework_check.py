"""Every exercise: the right answer passes, every named mistake is caught by name, bad input gets a sentence."""

import contextlib
import inspect
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from minidsk.homework import EXERCISES, Exercise, Mistake, check, describe

CASES = list(EXERCISES.values())
MISTAKES = [(exercise, mistake) for exercise in CASES for mistake in exercise.mistakes]


@pytest.mark.parametrize("exercise", CASES, ids=lambda e: e.name)
def test_the_reference_passes(exercise: Exercise) -> None:
    result = check(exercise.name, exercise.reference)
    assert result
    assert result.cases == len(exercise.cases())
    assert "right, in all" in str(result)
    check(exercise.name, exercise.reference, raises=True)


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=lambda x: x.name)
def test_every_mistake_is_named(exercise: Exercise, mistake: Mistake) -> None:
    result = check(exercise.name, mistake.function)
    assert not result
    assert result.mistake == mistake.name
    assert result.hint == mistake.hint
    assert result.tried
    assert result.expected
    assert mistake.name in str(result)
    with pytest.raises(AssertionError, match="not yet"):
        result.assert_ok()


@pytest.mark.parametrize("exercise", CASES, ids=lambda e: e.name)
def test_three_mistakes_and_a_description(exercise: Exercise) -> None:
    assert len(exercise.mistakes) >= 3
    assert len({m.name for m in exercise.mistakes}) == len(exercise.mistakes)
    said = describe(exercise.name)
    assert said.startswith(f"{exercise.reference.__name__}(")
    assert max(map(len, said.splitlines())) <= 90
    assert str(inspect.getdoc(exercise.reference)).split() == said.partition("\n\n")[2].split()
    assert not re.search(r"\[[^]\n]{0,30}\n", said), "a shape is cut in two"
    assert exercise.hint
    assert all(m.hint for m in exercise.mistakes)


def _loops(*_: object) -> None:
    while True:
        with contextlib.suppress(Exception):
            sum(range(100))


@pytest.mark.parametrize("exercise", CASES, ids=lambda e: e.name)
def test_a_loop_is_stopped(exercise: Exercise) -> None:
    result = check(exercise.name, _loops, limit=0.05)
    assert not result
    assert "had not returned after 0.05 s" in result.problem


def test_a_loop_is_stopped_off_the_main_thread() -> None:
    results = []
    before = threading.active_count()
    caller = threading.Thread(target=lambda: results.append(check("moe.max_violation", _loops, limit=0.05)))
    caller.start()
    caller.join(10)
    assert "had not returned" in results[0].problem
    assert threading.active_count() == before  # the loop has ended


@pytest.mark.parametrize("exercise", CASES, ids=lambda e: e.name)
@pytest.mark.parametrize(
    ("answer", "says"),
    [(lambda *_: None, "None"), (lambda *_: torch.zeros(2, 3, 5, 7), "expected"), (lambda *_: "seven", "expected")],
    ids=["none", "shape", "text"],
)
def test_an_answer_of_the_wrong_form(exercise: Exercise, answer: object, says: str) -> None:
    result = check(exercise.name, answer)  # type: ignore[arg-type]
    assert not result
    assert says in result.problem
    assert not result.mistake


@pytest.mark.parametrize("exercise", CASES, ids=lambda e: e.name)
def test_an_answer_that_raises(exercise: Exercise) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("mat1 and mat2\nshapes cannot be multiplied")

    assert "raised RuntimeError: mat1 and mat2 shapes" in check(exercise.name, broken).problem


@pytest.mark.parametrize("exercise", CASES, ids=lambda e: e.name)
def test_no_function(exercise: Exercise) -> None:
    assert "check wants a function" in check(exercise.name, 3).problem  # type: ignore[arg-type]
    assert "cannot be called as" in check(exercise.name, lambda: 0).problem


def test_an_unknown_name_lists_the_near_ones() -> None:
    with pytest.raises(KeyError, match=r"moe\.router"):
        check("moe.rooter", print)
    with pytest.raises(KeyError, match=r"moe\.router"):
        check("router", print)


def test_a_changed_argument_is_caught() -> None:
    def in_place(bias: torch.Tensor, load: torch.Tensor, speed: float) -> torch.Tensor:
        bias += EXERCISES["moe.update_bias"].reference(bias, load, speed) - bias
        return bias

    assert "argument bias was changed in place" in check("moe.update_bias", in_place).problem


def raises(_: object) -> None:
    raise NotImplementedError


def raises_with_words(_: object) -> None:
    raise NotImplementedError("your turn")


def passes(_: object) -> None:
    pass


def dots(_: object) -> object:
    return ...


def beyond_torch(load: torch.Tensor) -> torch.Tensor:
    return load.to("meta").cpu()


def only_once(load: torch.Tensor) -> torch.Tensor | None:
    return load.max() / load.mean() - 1 if load.max() > 8 else None


@pytest.mark.parametrize(
    ("stub", "says"),
    [
        (raises, "it is not written yet: it raises NotImplementedError"),
        (raises_with_words, "it is not written yet: it raises NotImplementedError"),
        (passes, "it returned None in all cases: it is not written yet, or its return is missing"),
        (dots, "it is not written yet: it returns ..."),
        (beyond_torch, "it raised NotImplementedError: Cannot copy out of meta tensor; no data!"),
        (only_once, "expected a tensor of shape [], got None (is a return missing?)"),
    ],
)
def test_a_stub_has_a_sentence_of_its_own(stub: Callable[..., Any], says: str) -> None:
    assert check("moe.max_violation", stub).problem == says


def test_a_spoiled_argument_does_not_reach_the_next_case() -> None:
    mistake = EXERCISES["moe.router"].mistakes[0]

    def spoils(x: torch.Tensor, *others: object) -> object:
        output = mistake.function(x, *others)
        x.zero_()  # several cases are made of this tensor
        return output

    assert check("moe.router", spoils).mistake == mistake.name


def test_integers_are_no_floats() -> None:
    def rounded(scores: torch.Tensor, indices: torch.Tensor, alpha: float) -> torch.Tensor:
        return torch.tensor([3])

    assert "shape" in check("moe.sequence_balance_loss", rounded).problem
    mask = check("attention.causal_mask", lambda q, k: torch.ones(q, k).tril(k - q))
    assert "expected truth values, got floats" in mask.problem


def test_html_is_escaped_and_deterministic() -> None:
    def broken(*_: object) -> None:
        raise ValueError("<script>")

    page = check("moe.router", broken)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page == check("moe.router", broken)._repr_html_()


def test_references_do_not_use_the_model() -> None:
    from minidsk.homework import answers, attention, feedback, games, grpo, moe, mtp, pretraining, text

    for module in (answers, attention, feedback, games, grpo, moe, mtp, pretraining, text):
        assert "minidsk.model" not in inspect.getsource(module)
