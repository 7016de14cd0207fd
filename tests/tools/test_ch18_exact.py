"""The count of equal texts: small, and with a planted difference."""

import importlib.util
import json
from pathlib import Path

import torch

PATH = Path(__file__).resolve().parents[2] / "tools" / "experiments" / "ch18_exact.py"
spec = importlib.util.spec_from_file_location("ch18_exact", PATH)
exact = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exact)


def test_a_small_run_finds_the_same_texts(tmp_path):
    exact.main(["--prompts", "6", "--new", "8", "--steps", "2", "--batch", "4", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["prompts"] == 6
    for row in found["depths"].values():
        assert row["same"] + row["same_in_float64"] == 6
        assert row["tokens"] <= 6 * 7
        assert row["tokens_a_pass"] >= 1


def test_a_difference_is_counted(monkeypatch):
    """A guesser whose texts end differently in every second row, in both number formats."""
    honest = exact.speculate

    def planted(model, ids, *rest, **options):
        done = honest(model, ids, *rest, **options)
        done.ids[::2, -1] += 1
        return done

    monkeypatch.setattr(exact, "speculate", planted)
    task = exact.nano().make_task("train")
    model = exact.learnt(1, 0, "cpu")
    rows = exact.compare(model, [task[i].prompt for i in range(4)], 5, 4, "cpu")
    assert all(row["same"] == 2 for row in rows.values())
    assert all(row["same_in_float64"] == 1 for row in rows.values())  # of two rows, written again, the second


def test_rows_are_compared_whole():
    a = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert exact.same(a, torch.tensor([[1, 2, 3], [4, 0, 6]])).tolist() == [True, False]
