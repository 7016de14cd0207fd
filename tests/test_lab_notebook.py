"""The figures of book/lab_notebook.md are those of the records that it names."""

import json
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "book" / "lab_notebook.md").read_text(encoding="utf-8")


def record(name):
    return json.loads((ROOT / "results" / name / "metrics.json").read_text())


def steps(name, library="minidsk"):
    return next(row for row in record(name)["timed"] if row["library"] == library)


@pytest.mark.parametrize(("what", "name", "library"), [
    ("minidsk at first", "ch12_trl", "minidsk"), ("one recording for all rollouts", "ch12_trl_before", "minidsk"),
    ("fewer kernels, no plans", "ch12_trl_speed", "minidsk"), ("TRL, beside the first", "ch12_trl", "trl"),
    ("TRL, beside the third", "ch12_trl_speed", "trl"),
])  # fmt: skip
def test_seconds_of_a_step(what, name, library):
    assert f"| {what} | {median(steps(name, library)['step_seconds']):.3f} | `{name}` |" in TEXT


def test_the_second_attempts_steps_and_what_sampling_took():
    *most, last = (f"{x:.2f}" for x in steps("ch12_trl_before")["step_seconds"])
    assert f"{', '.join(most)} and {last} seconds" in TEXT
    before, after = (median(steps(name)["parts"]["sampling"]) for name in ("ch12_trl_before", "ch12_trl_speed"))
    assert f"from {before:.3f} to {after:.3f} seconds" in TEXT
    faster = min(median(steps(name, "trl")["step_seconds"]) for name in ("ch12_trl", "ch12_trl_speed"))
    assert 10 <= faster / median(steps("ch12_trl_speed")["step_seconds"]) < 10.5


def test_what_is_held_and_what_explains_it():
    for row in record("ch12_ppo_memory")["rows"]:
        assert f"| {row['method']}, {row['size']} | {row['held_mib']:.1f} | {row['cache_mib']:.1f} |" in TEXT
        policy, critic = row["parameters"], row["critic_parameters"]
        stepped = policy if (row["method"], row["size"]) == ("GRPO", "nano") else critic
        explained = (6 * policy + 4 * critic + 8 * stepped) / 2**20 + row["cache_mib"]
        assert 0 < row["held_mib"] - explained < 8
