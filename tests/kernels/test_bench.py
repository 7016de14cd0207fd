"""The bench: contestants take turns, failures are recorded, and the command writes what it prints."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
import torch

from minidsk.cli.bench import Bench
from minidsk.kernels.bench import BENCHES
from minidsk.kernels.bench.case import Case, measure, relative_error, time_once
from minidsk.kernels.bench.run import rows, run_benches

CPU = torch.device("cpu")
CEILINGS = {"device": "cpu", "copy_gb_s": 1.0, "copy_of": "c", "matmul_tflop_s": 1.0, "matmul_of": "m"}


def made(**other):
    return Case(**{"name": "n", "setting": "s", "ours": lambda: None, "rivals": {}, "bytes": 1e3, "flops": 2e6,
                   "rounds": 4, **other})  # fmt: skip


def test_medians_rates_and_the_best_rival(clock):
    calls = []

    def contestant(name, *seconds):
        def call():
            calls.append(name)
            clock(seconds[calls.count(name) % len(seconds)])

        return call

    found = measure(made(ours=contestant("ours", 2.0), rivals={"slow": contestant("slow", 5.0),
                         "quick": contestant("quick", 3.0, 3.0, 90.0)}), CPU)  # fmt: skip
    of = found["contestants"]
    assert (of["ours"]["median"], of["slow"]["median"], of["quick"]["median"]) == (2, 5, 3)
    assert (found["best_rival"], found["ratio"]) == ("quick", 1.5)
    assert of["ours"]["gb_s"] == 1e3 / 2 / 1e9
    assert of["ours"]["tflop_s"] == 2e6 / 2 / 1e12
    turns = calls[-12:]
    assert turns == ["ours", "slow", "quick"] * 4


def test_a_rival_that_fails_is_recorded_with_its_reason():
    def broken():
        raise RuntimeError("no kernel\nand a long story")

    others = {"broken": broken, "fine": lambda: sum(range(1000)), "ours, otherwise": lambda: None}
    found = measure(made(rivals=others), CPU)
    assert found["contestants"]["broken"] == {"failed": "RuntimeError: no kernel"}
    assert found["best_rival"] == "fine"
    assert measure(made(rivals={"broken": broken}), CPU)["ratio"] is None


def test_ours_must_not_fail():
    def broken():
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        measure(made(ours=broken), CPU)


def test_the_table_says_what_was_missed():
    entry = measure(made(rivals={"x": lambda: None}, target=1e9, against_copy=0.5, error=lambda: 1e-3), CPU)
    text = "\n".join(rows(entry, {"copy_gb_s": 1e-9, "matmul_tflop_s": 1.0}))
    assert "target 1000000000.00 MISSED" in text
    assert "target 0.50 reached" in text
    assert "relative error 1.0e-03" in text
    text = "\n".join(rows(entry, {"copy_gb_s": 1e-9, "matmul_tflop_s": 1.0}, judged=False))
    assert "relative error 1.0e-03" in text
    assert "target" not in text


def test_relative_error_sees_nan():
    x = torch.ones(3)
    assert relative_error(x * 1.01, x) == pytest.approx(0.01, rel=1e-3)
    assert not relative_error(x * float("nan"), x) < 1


@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_runs_small_from_end_to_end(name):
    """Ours does its work, and is right; a rival may refuse, as it does in the record."""
    for case in BENCHES[name](CPU, True):
        case.ours()
        for call in case.rivals.values():
            with contextlib.suppress(ImportError, RuntimeError, ValueError, NotImplementedError):
                call()
        assert case.error is None or case.error() < 0.1
        assert case.bytes > 0
        assert case.flops >= 0


def test_unknown_names_and_time_that_is_up():
    with pytest.raises(ValueError, match="only: 'sofmax' is not known; give some of softmax"):
        list(run_benches(CPU, ("sofmax",), True, 10))
    *_, last = run_benches(CPU, ("softmax", "rmsnorm"), True, -1)
    assert last["left_out"] == ["softmax", "rmsnorm"]
    assert last["cases"] == []


def test_the_time_is_looked_at_between_cases(clock, monkeypatch):
    def cases(device, small):
        for name in ("first", "second", "third"):
            assert name != "third", "made, though the time is up"
            yield made(name=name, ours=lambda: clock(1.0))

    monkeypatch.setattr("minidsk.kernels.bench.run.measure_ceilings", lambda device, small: CEILINGS)
    monkeypatch.setattr("minidsk.kernels.bench.run.BENCHES", {"a": cases, "b": cases})
    *_, last = run_benches(CPU, (), True, 5.0)
    assert [entry["case"] for entry in last["cases"]] == ["first"]
    assert last["left_out"] == ["a, from second, s on", "b"]
    assert last["cases"][0]["seconds"] == last["seconds"]


def test_a_run_of_some_benches_keeps_the_others(monkeypatch):
    benches = {name: lambda device, small, name=name: iter([made(name=name)]) for name in "ab"}
    monkeypatch.setattr("minidsk.kernels.bench.run.BENCHES", benches)
    monkeypatch.setenv("MINIDSK_COMMIT", "first")
    *_, last = run_benches(CPU, (), True, 60)
    monkeypatch.setenv("MINIDSK_COMMIT", "second")
    *_, last = run_benches(CPU, ("b",), True, 60, last)
    assert [(entry["case"], last["runs"][entry["run"]]["commit"]) for entry in last["cases"]] == [
        ("a", "first"), ("b", "second")]  # fmt: skip
    last["ceilings"]["device"] = "another"
    with pytest.raises(ValueError, match="out: it holds measurements of another, small; name another folder"):
        list(run_benches(CPU, ("b",), True, 60, last))


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path, capsys):
    Bench(out=tmp_path / "bench", only=("softmax",), device="cpu")()
    found = json.loads((tmp_path / "bench" / "metrics.json").read_text())
    said = capsys.readouterr().out
    assert found["small"] is True
    assert [entry["case"] for entry in found["cases"]] == ["softmax, forward"] * 2
    assert "softmax, forward (bf16 48x320)" in said
    assert found["ceilings"]["copy_gb_s"] > 0


def test_it_is_a_command():
    run = subprocess.run([sys.executable, "-c", "from minidsk.cli import main; main()", "bench", "--help"],
                         capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})  # fmt: skip
    assert run.returncode == 0
    assert "--only" in run.stdout


def test_a_call_on_a_cpu_is_timed_by_the_clock(clock):
    assert time_once(lambda: clock(0.25), CPU) == 0.25
