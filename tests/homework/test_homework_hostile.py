"""Code that is hostile or unlucky: it gets a sentence, and nothing of it reaches the next check."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from minidsk.homework import EXERCISES, check, compare, link, zoo

NAME = "moe.max_violation"


def right(load: torch.Tensor) -> torch.Tensor:
    return load.max() / load.mean() - 1


def all_zeros(load: torch.Tensor) -> torch.Tensor:
    return torch.zeros(())


@pytest.fixture(autouse=True)
def _later_checks_are_untouched() -> Any:
    yield
    assert check(NAME, right)
    assert "expected 1.8, got 0" in check(NAME, all_zeros).problem
    assert torch.get_default_dtype() == torch.float32


def leaves(_: object) -> None:
    sys.exit(3)


def leaves_at_once(_: object) -> None:
    os._exit(0)


def never_gives_up(_: object) -> None:
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def sleeps(_: object) -> None:
    time.sleep(1000)


def stops_itself(_: object) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def reads_nowhere(_: object) -> None:
    ctypes.string_at(0)


def eats_memory(_: object) -> list[bytes]:
    return [b"x" * 2**20 for _ in range(2_000)]


def recurs(load: object) -> object:
    return recurs(load)


def interrupts(_: object) -> None:
    raise KeyboardInterrupt


def too_large(_: object) -> torch.Tensor:
    return torch.empty(10**9)


def larger_than_memory(_: object) -> torch.Tensor:
    return torch.zeros(()).expand(10**6, 10**6)


def too_many(_: object) -> list[int]:
    return [0] * (10**6 + 1)


def contains_itself(_: object) -> list[object]:
    whole: list[object] = []
    whole.append(whole)
    return whole


def no_data(_: object) -> object:
    return threading.Lock()


def no_words(_: object) -> object:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    return Mute()


def no_answer_at_all(_: object) -> object:
    class Unspeakable:
        @property
        def __class__(self) -> type:  # type: ignore[override]
            raise RuntimeError("do not ask")

    return Unspeakable()


class Speechless(Exception):
    """An error that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError


def fails_without_words(_: object) -> None:
    raise Speechless


def closes_everything(_: object) -> torch.Tensor:
    os.closerange(3, 256)
    return torch.zeros(())


def writes_everywhere(_: object) -> torch.Tensor:
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\0\0\0\4junk")
    return torch.zeros(())


def promises_much(_: object) -> None:
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\xff" * 4 + (2**40).to_bytes(8, "big"))
    time.sleep(1000)


def breaks_off(_: object) -> None:
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\0\0\1\0half a message")
    time.sleep(1000)


def reads_on_forever(_: object) -> torch.Tensor:
    return torch.tensor(float(input("A number? ")))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (leaves, "it raised SystemExit: 3"),
        (leaves_at_once, "it ended the process that ran it, with exit code 0"),
        (never_gives_up, "it had not returned after 0.3 s and was stopped"),
        (sleeps, "it had not returned after 0.3 s and was stopped"),
        (stops_itself, "it had not returned after 0.3 s and was stopped"),
        (reads_nowhere, "it crashed the process that ran it (SIGSEGV)"),
        (recurs, "it raised RecursionError: maximum recursion depth exceeded"),
        (interrupts, "it raised KeyboardInterrupt"),
        (fails_without_words, "it raised Speechless"),
        (too_large, "its output cannot be compared: it has more than 64 MiB"),
        (larger_than_memory, "its output cannot be compared: it has more than 64 MiB"),
        (too_many, "its output cannot be compared: it has more than 1,000,000 parts"),
        (contains_itself, "its output cannot be compared: it is nested too deeply"),
        (no_data, "expected a tensor of shape [], got a lock"),
        (no_words, "expected a tensor of shape [], got a Mute"),
        (no_answer_at_all, "its output cannot be compared: do not ask"),
        (closes_everything, "it ended the process that ran it"),
        (writes_everywhere, "its output cannot be compared: it is no data"),
        (promises_much, "its output cannot be compared: it is no data"),
        (breaks_off, "it had not returned after 0.3 s and was stopped"),
        (reads_on_forever, "it raised EOFError"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_sentence(function: Callable[..., Any], says: str) -> None:
    result = check(NAME, function, limit=0.3 if "0.3 s" in says else 20)
    assert not result
    assert result.problem.startswith(says)


def test_the_judge_is_killed() -> None:
    def kills_the_judge(_: object) -> None:
        os.kill(os.getppid(), signal.SIGKILL)

    assert check(NAME, kills_the_judge).problem == "the process that judges ended before it had answered"


def test_memory_runs_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidsk.homework.link.MEMORY", 2**29)
    assert check(NAME, eats_memory).problem == "it took too much memory and was stopped"


def double_by_default(load: torch.Tensor) -> torch.Tensor:
    torch.set_default_dtype(torch.float64)
    return right(load)


def leaves_threads(load: torch.Tensor) -> torch.Tensor:
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return right(load)


def forks(load: torch.Tensor) -> torch.Tensor:
    os.fork()
    return right(load)


def spoils_its_surroundings(load: torch.Tensor) -> torch.Tensor:
    os.environ.clear()
    os.chdir("/")
    sys.path.clear()
    torch.manual_seed(1)
    torch.set_grad_enabled(False)
    return load.max() / load.mean() - 1


@pytest.mark.parametrize("function", [double_by_default, leaves_threads, forks, spoils_its_surroundings])
def test_what_is_right_passes_all_the_same(function: Callable[..., Any]) -> None:
    before = dict(os.environ), os.getcwd(), list(sys.path), torch.initial_seed(), torch.is_grad_enabled()
    check(NAME, function, raises=True)
    assert before == (dict(os.environ), os.getcwd(), list(sys.path), torch.initial_seed(), torch.is_grad_enabled())


def patches_torch(load: torch.Tensor) -> torch.Tensor:
    for name in ("abs", "max", "__sub__", "double"):
        setattr(torch.Tensor, name, lambda self, *_: torch.zeros_like(self))
    torch.where = lambda *_: torch.zeros(())  # type: ignore[assignment]
    return torch.zeros(())


def patches_the_judgement(load: torch.Tensor) -> torch.Tensor:
    compare.difference = lambda *_: None  # type: ignore[assignment]
    sys.modules["minidsk.homework.verdict"] = None  # type: ignore[assignment]
    EXERCISES[NAME].__dict__["reference"] = all_zeros
    return torch.zeros(())


@pytest.mark.parametrize("function", [patches_torch, patches_the_judgement])
def test_what_is_wrong_fails_all_the_same(function: Callable[..., Any]) -> None:
    result = check(NAME, function)
    assert result.tried == "one full expert"
    assert result.problem == "expected 1.8, got 0"


def test_a_notebook_that_has_patched_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("abs", "max", "mean", "double", "__truediv__"):
        monkeypatch.setattr(torch.Tensor, name, lambda self, *_: torch.zeros(()))
    assert "expected 1.8, got 0" in check(NAME, all_zeros).problem
    assert check(NAME, right)


def test_what_it_prints_is_shown_in_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    def talks(load: torch.Tensor) -> torch.Tensor:
        print("looking at", load.tolist())
        print("careful", file=sys.stderr)
        return right(load)

    def never_stops_talking(_: object) -> None:
        while True:
            print("and so on, " * 9)

    assert check(NAME, talks)
    out, err = capsys.readouterr()
    assert out.splitlines()[1:2] == ["looking at [14.0, 2.0, 2.0, 2.0]"]
    assert err == 3 * "careful\n"
    assert "had not returned" in check(NAME, never_stops_talking, limit=2).problem
    out, _ = capsys.readouterr()
    assert out.startswith("and so on, and so on")
    assert out.endswith("... (and more, which is not shown)\n")
    assert len(out) < 10_000


def test_what_it_writes_past_python_goes_nowhere() -> None:
    def writes(load: torch.Tensor) -> torch.Tensor:
        os.write(1, b"one\n")
        os.write(2, b"two\n")
        return right(load)

    assert check(NAME, writes)
    assert os.fstat(link.JUDGE.errors.fileno()).st_size == 0


def test_ctrl_c_ends_the_check_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            check(NAME, never_gives_up, limit=60)
    finally:
        signal.signal(signal.SIGINT, before)


def quits(router: object) -> None:
    sys.exit()


def vanishes(router: object) -> None:
    os._exit(1)


def insists(router: object) -> None:
    never_gives_up(router)


@pytest.mark.parametrize(
    ("test", "says"),
    [
        (quits, "quits, which raised SystemExit"),
        (vanishes, "vanishes, which ended the process that ran it, with exit code 1"),
        (insists, "insists, out of time"),
    ],
)
def test_hostile_tests(test: Callable[..., Any], says: str) -> None:
    limit = 0.3 if test is insists else 20
    assert dict(zoo("moe", [test], limit=limit).rows)["right version"] == f"rejected by {says}"


def test_a_test_cannot_remember_the_right_version() -> None:
    seen: list[object] = []

    def the_first_is_right(router: object) -> None:
        seen.append(router)
        assert router is seen[0]

    result = zoo("moe", the_first_is_right)  # type: ignore[arg-type]
    assert result.accepted
    assert result.caught == 0


def test_tests_that_patch_torch() -> None:
    def patches(router: Callable[..., Any]) -> None:
        torch.Tensor.sigmoid = torch.Tensor.relu  # type: ignore[method-assign]

    def scores_are_sigmoids(router: Callable[..., Any]) -> None:
        weights, _ = router(torch.ones(1, 1), torch.ones(4, 1), torch.zeros(4), 2, 1, 1, False, 1.0)
        assert torch.allclose(weights, torch.full((1, 2), 0.7311), atol=1e-3)

    assert not zoo("moe", [patches, scores_are_sigmoids]).accepted
    assert zoo("moe", [scores_are_sigmoids]).accepted


def test_limits_that_make_no_sense() -> None:
    for limit in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="limit must be seconds, above 0"):
            check(NAME, right, limit=limit)
        with pytest.raises(ValueError, match="limit must be seconds, above 0"):
            zoo("moe", [], limit=limit)


def test_where_nothing_can_be_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = link.Judge("spawn")
    monkeypatch.setattr("minidsk.homework.link.JUDGE", judge)
    assert check(NAME, right)
    assert "had not returned" in check(NAME, never_gives_up, limit=0.3).problem
    assert "expected 1.8, got 0" in check(NAME, patches_torch).problem
    judge.stop()
