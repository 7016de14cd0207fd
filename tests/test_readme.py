"""The figures that README.md gives by hand are those of the records."""

import json
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def record(name):
    return json.loads((ROOT / "results" / name / "metrics.json").read_text())


def test_seconds_of_a_step():
    ours, theirs = (median(row["step_seconds"]) for row in record("ch12_trl_speed")["timed"])
    assert f"takes {ours:.2f} s where TRL's takes {theirs:.2f} s" in README


def test_kernels():
    ratios = {}
    for case in record("bench_kernels")["cases"]:
        ratios.setdefault(case["case"], []).append(case["ratio"])
    layers = ratios["layer of experts, forward and backward"]
    assert f"{min(layers):.1f} to {max(layers):.1f} times less than transformers' fastest" in README
    forward, backward = ratios["attention, forward"][0], ratios["attention, backward"][0]
    assert f"{forward:.2f} times as fast as cuDNN's forward and {backward:.2f} times backward" in README
    product = ratios["FP8 product, blocks of 1 x 128 and 128 x 128"][0]
    assert f"blockwise FP8 product is {product:.2f} times as fast as bf16's" in README
