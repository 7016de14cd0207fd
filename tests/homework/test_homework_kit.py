"""The bug zoo, predictions and the receipt."""

import inspect
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from minidsk.homework import EXERCISES, Exercise, predict, receipt, zoo
from minidsk.homework.predict import tally_path
from minidsk.homework.receipt import bound
from minidsk.homework.registry import CHAPTERS


def scores_are_sigmoids(router: Callable[..., Any]) -> None:
    weights, _ = router(torch.ones(1, 1), torch.ones(4, 1), torch.zeros(4), 2, 1, 1, False, 1.0)
    assert torch.allclose(weights, torch.full((1, 2), 0.7311), atol=1e-3)


def bias_stays_out(router: Callable[..., Any]) -> None:
    weights, indices = router(torch.ones(1, 1), torch.ones(4, 1), torch.tensor([0.0, 0, 0, 5]), 1, 1, 1, False, 1.0)
    assert indices.item() == 3
    assert weights.item() < 1


def groups_bind(router: Callable[..., Any]) -> None:
    bias = torch.tensor([0.9, 0.0, 0.6, 0.6])
    indices = router(torch.ones(1, 1), torch.ones(4, 1), bias, 2, 2, 1, False, 1.0)[1]
    assert sorted(indices[0].tolist()) == [2, 3]


def test_good_tests_catch_all() -> None:
    result = zoo("moe", [scores_are_sigmoids, bias_stays_out, groups_bind])
    assert result
    assert result.headline == "moe.router: 3 of 3 bugs caught, the right version passes."
    assert "caught by bias_stays_out (the bias leaks into the weights)" in str(result)


def test_an_escaped_bug_keeps_its_name() -> None:
    result = zoo("moe.router", [scores_are_sigmoids])
    assert not result
    assert "escaped" in str(result)
    assert "leaks" not in str(result) + result._repr_html_()


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda e: e.name)
def test_bugs_answer_to_the_names_of_the_task(exercise: Exercise) -> None:
    names = list(inspect.signature(exercise.reference).parameters)
    _, arguments = exercise.cases()[0]

    def by_name(function: Callable[..., Any]) -> None:
        function(**dict(zip(names, arguments, strict=False)))

    def a_name_of_mine(function: Callable[..., Any]) -> None:
        function(nobody_calls_it_so=arguments[0])

    assert zoo(exercise.name, [by_name]).caught == 0  # called by name, a wrong version is not caught by that
    assert not zoo(exercise.name, [a_name_of_mine]).accepted


def test_a_test_that_rejects_everything_is_no_test() -> None:
    def strict(router: object) -> None:
        raise AssertionError

    result = zoo("moe", strict)  # type: ignore[arg-type]
    assert not result
    assert result.caught == result.bugs
    assert "rejected by strict" in str(result)
    with pytest.raises(TypeError, match="zoo wants functions"):
        zoo("moe", [3])  # type: ignore[list-item]
    with pytest.raises(KeyError, match="no exercise"):
        zoo("mow", [strict])


def test_a_test_that_loops_is_stopped() -> None:
    def forever(_: object) -> None:
        while True:
            pass

    assert "out of time" in str(zoo("moe", [forever], limit=0.05))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_chapter_has_three_bugs(chapter: str) -> None:
    assert zoo(chapter, []).bugs == 3


def test_an_example_is_scored_and_not_kept(capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MINIDSK_HOME", str(tmp_path))
    guess = predict("attention.elements", "How many numbers?", example=100_000, unit="numbers")
    assert "No guess yet" in repr(guess)
    guess.reveal(35_136)
    out = capsys.readouterr().out
    assert "guess 100,000 numbers, measured 35,136 numbers: 2.85 times too high" in out
    assert "would have earned 5 of 10" in out
    assert not list(tmp_path.iterdir())


def test_a_guess_enters_the_tally(capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MINIDSK_HOME", str(tmp_path / "new"))
    predict("a.size", "How big?", 10, example=1).reveal(10)
    predict("a.share", "What share?", 0.5, example=0.1, scale="difference", tolerance=0.2).reveal(0.4)
    predict("a.share", "What share?", 0.4, example=0.1, scale="difference", tolerance=0.2).reveal(0.4)
    assert "your tally: 20 of 20 over 2 predictions" in capsys.readouterr().out.splitlines()[-1]
    assert set(json.loads(tally_path().read_text())) == {"a.size", "a.share"}
    assert [p.name for p in tally_path().parent.iterdir()] == ["predictions.json"]
    tally_path().write_text("[1")
    with pytest.raises(ValueError, match="is no tally of predictions; delete it"):
        predict("a.size", "How big?", 10, example=1).reveal(10)


@pytest.mark.parametrize(
    ("guess", "truth", "points"), [(10, 10, 10), (1, 10, 0), (100, 10, 0), (5, 10, 7), (-3, 10, 0), (0, 10, 0)]
)
def test_points_fall_with_the_ratio(guess: float, truth: float, points: int) -> None:
    assert predict("a", "?", guess, example=1).points(truth) == points


def test_senseless_predictions_get_a_sentence() -> None:
    with pytest.raises(ValueError, match="guess must be a number"):
        predict("a", "?", "ten", example=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="guess must be a number"):
        predict("a", "?", float("nan"), example=1)
    with pytest.raises(ValueError, match="scale must be"):
        predict("a", "?", 1, example=1, scale="log")
    with pytest.raises(ValueError, match="tolerance 1 is too small"):
        predict("a", "?", 1, example=1, tolerance=1)
    with pytest.raises(ValueError, match="use scale='difference'"):
        predict("a", "?", 1, example=1).points(0)
    with pytest.raises(ValueError, match="truth must be a finite number"):
        predict("a", "?", 1, example=1).points(float("inf"))


def test_a_receipt_can_be_masked(capsys: pytest.CaptureFixture[str]) -> None:
    receipt({"validation loss": [1.31, 1.29, 1.33]}, {"absorbed against naive": (3.1e-8, 1e-6)}, seconds=12.34)
    first = capsys.readouterr().out
    assert re.search(r"time +12\.3 s$", first, re.M)
    assert re.search(r"validation loss +1\.31 ± 0\.05 \(95 % interval, 3 seeds\)$", first, re.M)
    assert re.search(r"largest difference, absorbed against naive +below 1e-06$", first, re.M)
    receipt({"validation loss": [1.31, 1.29, 1.33]}, {"absorbed against naive": (9.9e-7, 1e-6)}, seconds=4567.8)
    second = capsys.readouterr().out
    mask = re.compile(r"\d+\.\d s\b|\d+ MiB\b")
    assert mask.sub("#", first) == mask.sub("#", second)
    receipt({"one": [1.31], "two": [1.31, 1.2]}, seconds=1)  # neither has an interval that says anything
    assert "1.31 (one seed)\n  two           1.31 and 1.2 (two seeds)" in capsys.readouterr().out
    with pytest.raises(ValueError, match="has no values"):
        receipt({"loss": []})


@pytest.mark.parametrize(
    ("value", "limit", "says"),
    [(0, 0, "0 (equal)"), (0, 1e-12, "below 1e-12"), (9e-13, 1e-12, "below 1e-12"), (3.0, 10, "below 10")],
)
def test_a_difference_below_its_limit_prints_the_limit(value: float, limit: float, says: str) -> None:
    assert bound("x", value, limit) == says


@pytest.mark.parametrize(("value", "limit"), [(1e-12, 1e-12), (1e-300, 0), (-1e-9, 1), (math.nan, 1), (math.inf, 1)])
def test_a_difference_that_is_not_below_its_limit_has_no_receipt(value: float, limit: float) -> None:
    with pytest.raises(ValueError, match="the largest difference of x is"):
        receipt(differences={"x": (value, limit)})


@pytest.mark.parametrize("limit", [math.nan, math.inf, -1e-9])
def test_a_limit_is_a_number(limit: float) -> None:
    with pytest.raises(ValueError, match="the limit of x must be a number"):
        bound("x", 0, limit)
