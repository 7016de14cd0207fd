"""The figures of book/lab_notebook.md are those of the records that it names."""

import json
import re
from functools import cache
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


def test_a_step_of_many_rollouts():
    (case,) = (each for each in record("bench_model")["cases"] if each["bench"] == "step")
    ours, theirs = (case["contestants"][name]["median"] for name in ("ours", "TRL"))
    sampling, update = (median(case["parts"][name]) for name in ("sampling", "update"))
    assert f"takes {ours:.3f} s (sampling {sampling:.3f}, update {update:.3f}) and one of TRL's {theirs:.3f} s" in TEXT
    assert f"aimed at 25 times and reach {theirs / ours:.1f}." in TEXT


def test_graphs_of_an_update_gain_nothing_for_a_larger_model():
    first, later, norms = [], [], []
    for name in ("plain", "graph"):
        path = ROOT / "results" / "ch12_graph" / name / "zero" / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        first.append(lines[0]["seconds"])
        later.append((lines[-1]["seconds"] - first[-1]) / (len(lines) - 1))
        norms.append(f"{lines[0]['grad_norm']:.5f}")
    assert "took {:.2f} s on average, and with them {:.2f} s".format(*later) in TEXT
    assert "took {:.1f} s without them and {:.1f} s with them".format(*first) in TEXT
    assert norms[0] == norms[1]
    assert f"the same norm of the gradient, {norms[0]}." in TEXT


def test_what_is_held_and_what_explains_it():
    for row in record("ch12_ppo_memory")["rows"]:
        assert f"| {row['method']}, {row['size']} | {row['held_mib']:.1f} | {row['cache_mib']:.1f} |" in TEXT
        policy, critic = row["parameters"], row["critic_parameters"]
        stepped = policy if (row["method"], row["size"]) == ("GRPO", "nano") else critic
        explained = (6 * policy + 4 * critic + 8 * stepped) / 2**20 + row["cache_mib"]
        assert 0 < row["held_mib"] - explained < 8


def test_attention_takes_turns_and_fewer_products_take_longer():
    bench = record("bench_kernels")
    forward, backward = ({who: run.get("median") for who, run in case["contestants"].items()}
                         for case in bench["cases"] if case["bench"] == "attention")  # fmt: skip
    scores, ticks = 16 * 8192**2 / 2, 132 * 1.83e9  # an H100 does 16 exponentials per tick and multiprocessor
    products = 2 * scores * (192 + 128) / bench["ceilings"]["matmul_tflop_s"] / 1e12
    in_turns = products + scores / 16 / ticks + 4 * scores / 128 / ticks
    assert 0.8 < in_turns / forward["ours, in Triton alone"] < 0.9
    assert products < forward["ours"] < forward["sdpa cudnn"] < in_turns
    assert backward["ours, adding up dq"] > 1.2 * backward["ours"]


def test_a_busy_machine_spread_three_kernels_and_block_sizes_matter():
    ours = [case["contestants"] for case in record("bench_kernels_first")["cases"]
            if case["bench"] in ("softmax", "rmsnorm", "attention") and "131072" not in str(case)]  # fmt: skip
    runs = [found.get("ours, in Triton alone", found["ours"]) for found in ours]
    spreads = sorted((run["quartiles"][1] - run["quartiles"][0]) / run["median"] for run in runs)
    assert [f"{100 * x:.0f}" for x in spreads[-3:]] == ["8", "18", "39"]
    assert max(spreads[:-3]) < 0.01
    took = [trial["seconds"] for trial in record("ch07_blocks")["trials"] if trial["kernel"] == "softmax"]
    assert round(max(took) / min(took)) == 9


SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
ENTRIES = [(section, entry) for section in SECTIONS for entry in re.split(r"^### ", section, flags=re.MULTILINE)[1:]]
CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]*_*.ipynb"))


def chapter(section):
    return re.search(r"\(\.\./notebooks/(\w+)\.ipynb\)", section.partition("\n")[0])[1]


@cache
def said(stem):
    """All that a chapter says and prints."""
    cells = json.loads((ROOT / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = ["".join(out.get("text", "")) for cell in cells for out in cell.get("outputs", [])]
    return "\n".join(["".join(cell["source"]) for cell in cells] + outputs)


def test_each_chapter_that_tells_of_failures_has_its_entries():
    telling = [stem for stem in CHAPTERS if re.search(r"^## What went wrong", said(stem), re.MULTILINE)]
    assert [chapter(section) for section in SECTIONS] == telling


@pytest.mark.parametrize(("section", "entry"), ENTRIES, ids=[entry.partition("\n")[0] for _, entry in ENTRIES])
def test_an_entry_says_what_was_tried_and_its_numbers_are_the_chapters(section, entry):
    if "| record |" in entry or "`ch12_ppo_memory`" in entry:
        return  # told at length, with tables that the tests above compare with the records
    assert re.findall(r"^(\w+)\n: \S", entry, re.MULTILINE) == ["Tried", "Expected", "Saw", "Think"]
    text = re.sub(r"`[^`]*`", "", entry)
    for number in re.findall(r"\d[\d,.]*\d|\d", text):
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", said(chapter(section))), number


def test_the_records_that_it_names_are_there():
    for name in re.findall(r"`((?:ch\d\d|reason|bench|sanitize|lab)_\w+)`", TEXT):
        assert (ROOT / "results" / name).is_dir(), name
