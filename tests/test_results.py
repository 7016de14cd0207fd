"""Recorded experiments are found by name wherever the package lies, and what is missing is named in one sentence."""

import json
import subprocess

import pytest

from minidsk import results


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An installed shelf, and one of a checkout behind it."""
    for kind in ("installed", "beside"):
        folder = tmp_path / kind / "probe"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({"from": kind}))
    facts = {"command": "minidsk zero", "commit": "0123456789abcdef", "seeds": [0, 1],
             "machine": {"gpus": [], "cores": 2, "processor": "a processor"}}  # fmt: skip
    (tmp_path / "installed" / "probe" / "run.json").write_text(json.dumps(facts))
    (tmp_path / "installed" / "probe" / "broken.json").write_text("{")
    monkeypatch.setattr(results, "shelves", lambda kind: [tmp_path / "installed", tmp_path / "beside"])
    return tmp_path


def test_the_installed_record_goes_first(shelf):
    assert results.read("probe") == {"from": "installed"}
    assert results.folder("probe") == shelf / "installed" / "probe"


def test_a_record_says_where_it_comes_from(shelf):
    wanted = "minidsk zero\n  commit 0123456789, 2 cores of a processor, seeds 0, 1"
    assert results.origin("probe") == wanted


def test_a_long_command_is_one_command_in_short_lines(shelf):
    command = "python tools/x.py --seeds 0 1 2 --out results/probe --variants 'one' " + "'four updates, gspo' " * 6
    path = shelf / "installed" / "probe" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "command": command}))
    printed = results.origin("probe").partition("\n  commit")[0]
    assert max(map(len, printed.splitlines())) <= 90 < len(command)

    def words(text):
        return subprocess.run(["sh", "-c", f"printf '%s\\n' {text}"], capture_output=True, check=True).stdout

    assert words(printed) == words(command)


@pytest.mark.parametrize("name", ["no_such_run", ""])
def test_a_missing_record_is_named_in_one_sentence(shelf, name):
    with pytest.raises(results.MissingRecord, match=f"^results/{name}: no such record") as caught:
        results.read(name)
    assert "\n" not in str(caught.value)


def test_a_missing_or_damaged_file_is_named(shelf):
    with pytest.raises(results.MissingRecord, match="results/probe/other.json"):
        results.read("probe", "other.json")
    with pytest.raises(ValueError, match="results/probe/broken.json: not readable"):
        results.read("probe", "broken.json")


def test_every_record_of_the_repository_says_how_it_was_made():
    shelf = next(folder for folder in results.shelves("results") if folder.is_dir())
    for name in sorted(path.parent.name for path in shelf.glob("*/run.json")):
        assert results.facts(name)["command"], name
        assert "commit" in results.origin(name)
