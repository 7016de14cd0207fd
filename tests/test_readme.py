"""What README.md says: its figures are those of the records, its example runs, its chapters are where it says."""

import json
import re
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
README = " ".join(TEXT.split())


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


def test_generation_on_a_cpu():
    ratios = [f"{case['ratio']:.1f}" for case in record("bench_cpu_generation")["cases"]]
    assert f"write 1, 64 and 256 texts {ratios[0]}, {ratios[1]} and {ratios[2]} times as fast" in README


def test_the_example_runs(capsys):
    [example] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert re.search(r"=> (right|wrong): \S+ = ", said)
    one, best = map(float, re.search(r"one try: (.*), the best of 4: (.*)", said).groups())
    assert 0.3 < one <= best <= 1


def test_the_chapters_live_where_it_says():
    table = TEXT.partition("| chapter | builds |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (\d\d[a-z]?_\w+) \|.*\| (.*) \|$", table, re.MULTILINE)
    assert [name for name, _ in rows] == sorted(path.stem for path in (ROOT / "notebooks").glob("*.py"))
    for _, places in rows:
        folder = ROOT
        for place in re.findall("`(.*?)`", places):  # a name without a folder is beside the one before it
            path = ROOT / place if "/" in place else folder / place
            assert path.exists(), place
            folder = path.parent
