"""A state that cannot lie: flipped, cut off, removed or killed, a start says so or goes on from what is good.

`pytest tests/train/test_damage.py -k start_says -s -q | grep '^|'` prints the table of what each start said.
"""

import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from minidsk.cli.command import run as command
from minidsk.rl.policy import MiniPolicy
from minidsk.rl.recipe import STAGES, run_stage
from minidsk.train.checkpoint import Run, RunError, load_checkpoint

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is for systems that have it")


@dataclass
class Ended:
    """How a child ended, and what it said."""

    code: int
    said: str

    @property
    def last(self):
        return self.said.strip().splitlines()[-1] if self.said.strip() else ""

    @property
    def told(self):
        """What it said beside its progress bar."""
        return " ".join(line for line in self.said.splitlines() if line.startswith(("minidsk:", "/")))


def start(words, die=None):
    """Run one command line in a child of this process; `die` arranges its death there, before it begins."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            torch.set_num_threads(1)
            if die is not None:
                die()
            code = command(list(map(str, words)))
            sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        return Ended(code, re.sub(r"\r", "\n", said.read().decode(errors="replace")))


def dies_after(stage, step):
    """A death right after the first step was logged that is not before this one."""

    def arrange():
        log = Run.log

        def logged(self, **metrics):
            log(self, **metrics)
            if self.folder.name == stage and metrics["step"] >= step:
                os.kill(os.getpid(), signal.SIGKILL)

        Run.log = logged

    return arrange


@pytest.fixture(scope="module")
def reason(micro_flags):
    """The words of the micro recipe in a folder."""

    def words(folder, *more):
        return ["reason", *micro_flags, "--out", folder, *more]

    return words


@pytest.fixture(scope="module")
def killed(micro_run, reason, tmp_path_factory):
    """Makes a copy of a run that was killed in a stage, with a state after the last step and one before it."""
    kept = {}

    def copy(stage, folder):
        if stage not in kept:
            kept[stage] = tmp_path_factory.mktemp("killed") / stage
            for earlier in STAGES:
                if earlier == stage:
                    break
                shutil.copytree(micro_run / earlier, kept[stage] / earlier)
            step = {"base": 50, "cold": 5}[stage]
            assert start(reason(kept[stage]), dies_after(stage, step)).code == -signal.SIGKILL
            assert sorted(os.listdir(kept[stage] / stage / "state")) == ["latest.pt", "previous.pt"]
        shutil.copytree(kept[stage], folder)

    return copy


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << (place % 8)
    path.write_bytes(bytes(content))


def flips(count=20):
    """So many ways to damage a file: one byte at random each, the first and the last among them."""

    def ways(size):
        places = [0, size - 1, *random.Random(size).sample(range(size), count - 2)]
        return [lambda path, place=place: flip(path, place) for place in places]

    return ways


def cuts(size):
    """What is left when a write was cut short."""
    kept = (0, 1, size // 2, size - 1)
    return [lambda path, keep=keep: path.write_bytes(path.read_bytes()[:keep]) for keep in kept]


def removed(size):
    return [lambda path: path.unlink()]


def replaced(*contents):
    return lambda size: [lambda path, content=content: path.write_bytes(content) for content in contents]


GOES_ON = r"^/\S+/latest.pt: damaged; going on from step {} of previous.pt$"
DAMAGED = r"^minidsk: \S+/{}: damaged, it is not what was written; put back a copy, or delete \S+ and run again$"
CONFIG = (r"^minidsk: \S+/config.json(: damaged, it is not what was written; put back a copy, or delete \S+ and run "
          r"again| cannot be read \(.*\); put back a copy, or make it again|: says of no run; put back a copy, or name "
          r"another folder)$")  # fmt: skip
NOTHING = "^$"


@dataclass
class Case:
    """One row of the table: which file of a run that was killed in `stage`, or finished, is damaged in which ways."""

    stage: str
    file: str
    how: str
    ways: Callable
    code: int  # 0: the run goes on, and all its figures come out as if nothing had happened
    said: str
    also: tuple[str, ...] = ()  # more files that are damaged in the same way
    words: tuple[str, ...] = ()


CASES = [
    Case("base", "base/state/latest.pt", "one byte flipped", flips(), 0, GOES_ON.format(20)),
    Case("base", "base/state/latest.pt", "cut short", cuts, 0, GOES_ON.format(20)),
    Case("base", "base/state/latest.pt", "removed", removed, 0, NOTHING),
    Case("base", "base/state/previous.pt", "one byte flipped", flips(3), 0, NOTHING),
    Case("base", "base/state/latest.pt", "one byte flipped, in previous.pt too", flips(5), 2,
         r"^minidsk: \S+/latest.pt: damaged; delete \S+/state to start this stage again$", ("base/state/previous.pt",)),
    Case("base", "base/config.json", "one byte flipped", flips(6), 2, CONFIG),
    Case("base", "base/config.json", "cut short", cuts, 2, CONFIG),
    Case("base", "base/config.json", "removed, and another seed", removed, 2,
         r"holds a state without the config.json that says of which run", words=("--seed", "7")),
    Case("base", "base/metrics.jsonl", "one byte flipped", flips(5), 0, NOTHING),
    Case("base", "base/metrics.jsonl", "cut short", cuts, 0, NOTHING),
    Case("base", "base/metrics.jsonl", "removed", removed, 0, NOTHING),
    Case("base", "base/metrics.jsonl", "not text", replaced(b"\xff\xfe\n", b"[1]\n"), 0, NOTHING),
    Case("cold", "cold/state/latest.pt", "one byte flipped", flips(5), 0, GOES_ON.format(2)),
    Case("cold", "cold/examples.jsonl", "one byte flipped", flips(3), 0, NOTHING),
    Case("cold", "base/model.safetensors", "one byte flipped", flips(4), 2, DAMAGED.format("model.safetensors")),
    Case("done", "r1/model.safetensors", "one byte flipped", flips(), 2, DAMAGED.format("model.safetensors")),
    Case("done", "r1/model.safetensors", "cut short", cuts, 2, DAMAGED.format("model.safetensors")),
    Case("done", "r1/model.safetensors", "removed", removed, 2, r"model.safetensors is missing"),
    Case("done", "r1/tokenizer.json", "one byte flipped", flips(6), 2, DAMAGED.format("tokenizer.json")),
    Case("done", "r1/config.json", "one byte flipped", flips(6), 2, CONFIG),
    Case("done", "r1/config.json", "cut short", cuts, 2, CONFIG),
    Case("done", "r1/config.json", "removed", removed, 2, r"holds a metrics.jsonl without the config.json"),
    Case("done", "r1/metrics.jsonl", "one byte flipped", flips(6), 2, DAMAGED.format("metrics.jsonl")),
    Case("done", "r1/evaluation.json", "one byte flipped", flips(6), 2,
         r"^minidsk: \S+/evaluation.json(: damaged, | cannot be read )"),
]  # fmt: skip


# A base that goes on after damage trains for seconds, so most of these cases are for `make long`.
LONG = [pytest.param(case, marks=pytest.mark.slow) if case.stage == "base" and case.how != "removed" else case
        for case in CASES]  # fmt: skip


@pytest.mark.parametrize("case", LONG, ids=lambda case: f"{case.stage}: {case.file} {case.how}")
def test_what_a_start_says(case, killed, micro_run, figures, reason, tmp_path):
    folder, said = tmp_path / "run", {}

    def fresh():
        shutil.rmtree(folder, ignore_errors=True)
        if case.stage == "done":
            shutil.copytree(micro_run, folder)
        else:
            killed(case.stage, folder)

    fresh()
    ways = case.ways(min((folder / name).stat().st_size for name in (case.file, *case.also)))
    for number, way in enumerate(ways):
        fresh()
        before = {name: (folder / name).read_bytes() for name in (case.file, *case.also)}
        for name in before:
            way(folder / name)
        # One of those that go on does so to the end, and for the others it is enough to see them begin.
        path = folder / case.file
        harmless = path.exists() and says_json(path.read_bytes()) == says_json(before[case.file]) is not None
        done = start(reason(folder, *case.words), dies_after(case.stage, 1) if number and not case.code else None)
        assert "Traceback" not in done.said, done.said
        if case.code and harmless:  # 1e-06 became 1E-06, say
            assert done.code == 0
            continue
        assert re.search(case.said, done.told), done.told
        if case.code:
            assert done.code == case.code, done.said
        elif number:
            assert done.code == -signal.SIGKILL, done.said
            lines = steps(folder / case.stage)
            assert lines == steps(micro_run / case.stage)[: len(lines)]
        else:
            assert done.code == 0, done.said
            assert figures(folder) == figures(micro_run)
            assert no_leftovers(folder)
        kind = re.sub(r"\(.*?\)", "(...)", done.told).replace(str(folder), "RUN")
        said[kind] = said.get(kind, 0) + 1
    for kind, count in said.items():
        where = "finished" if case.stage == "done" else f"killed in {case.stage}"
        outcome = f"exit code 2, `{kind}`" if case.code else f"goes on, same figures{f', `{kind}`' if kind else ''}"
        print(f"\n| {where} | {case.file} | {case.how} | {count} of {len(ways)} | {outcome} |")


def says_json(content):
    """What bytes of JSON say; None where they are none."""
    try:
        return json.loads(content)
    except ValueError:
        return None


def steps(stage):
    """What a stage logged, without times."""
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "waited")} for line in lines]


def no_leftovers(folder):
    """Whether a finished run is its files, and nothing else."""
    names = ("config.json", "metrics.jsonl", "model.safetensors", "tokenizer.json", "evaluation.json")
    wanted = {*STAGES, *(f"{stage}/{name}" for stage in STAGES for name in names), "cold/examples.jsonl", "report.html"}
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == wanted


def dies_at_the_next_write(told, folder):
    """A death at the first moment that is not yet in the file `told`: within a write, before and after it is named."""

    def arrange():
        replace, fsync, log = os.replace, os.fsync, Run.log
        known = set(told.read_text().splitlines()) if told.exists() else set()

        def die(moment, path, kind="", half=lambda: None):
            name = re.sub(r"\.\d+\.writing", "", str(Path(path).relative_to(folder)))
            label = " ".join(filter(None, (moment, name, kind)))
            if label not in known and not name.startswith("r1/"):  # which is written as zero is
                half()
                with told.open("a") as file:
                    file.write(label + "\n")
                os.kill(os.getpid(), signal.SIGKILL)

        def synced(file):
            path = os.readlink(f"/proc/self/fd/{file}")
            die("within", path, half=lambda: os.ftruncate(file, os.fstat(file).st_size // 2))
            fsync(file)

        def renamed(source, target):
            kind = "of the checkpoint" if ".checkpoint." in str(source) else ""
            die("before", target, kind)
            replace(source, target)
            if kind and target.name == "config.json":  # the state is still there
                die("after", target, kind)

        def logged(self, **metrics):
            log(self, **metrics)
            path = self.folder / "metrics.jsonl"
            die("within", path, "a line", lambda: os.truncate(path, path.stat().st_size - 9))

        os.replace, os.fsync, Run.log = renamed, synced, logged

    return arrange


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds what is written through /proc")
@pytest.mark.slow
def test_killed_at_every_write_nothing_is_left_and_nothing_is_lost(reason, micro_run, figures, tmp_path):
    """Kill -9 within each kind of write of a stage and before it is named, and a start from what was left."""
    folder, told = tmp_path / "run", tmp_path / "deaths"
    for _ in range(300):
        done = start(reason(folder), dies_at_the_next_write(told, folder))
        if done.code != -signal.SIGKILL:
            break
    assert done.code == 0, done.said
    assert figures(folder) == figures(micro_run)
    assert no_leftovers(folder)
    deaths = set(told.read_text().splitlines())
    for stage in ("base", "zero", "cold"):
        names = ["config.json", "state/latest.pt", "state/previous.pt", "metrics.jsonl", "evaluation.json"]
        names += ["examples.jsonl"] if stage == "cold" else []
        saved = [f"{name} of the checkpoint" for name in ("model.safetensors", "tokenizer.json", "config.json")]
        assert {f"before {stage}/{name}" for name in names + saved} <= deaths
        assert {f"within {stage}/metrics.jsonl a line", f"after {stage}/config.json of the checkpoint"} <= deaths
        for name in (".config.json", "state/.latest.pt", ".evaluation.json", ".checkpoint/model.safetensors"):
            assert f"within {stage}/{name}" in deaths
    print(f"\n| killed | {len(deaths)} times | at every kind of write | | goes on, same figures |")


def test_killed_while_it_goes_on_from_the_state_before(killed, reason, micro_run, figures, tmp_path):
    """The damaged state does not take the place of the good one."""
    folder, told = tmp_path / "run", tmp_path / "deaths"
    killed("base", folder)
    flip(folder / "base" / "state" / "latest.pt", 1000)
    while "before base/state/previous.pt" not in (told.read_text() if told.exists() else ""):
        assert start(reason(folder), dies_at_the_next_write(told, folder)).code == -signal.SIGKILL
    assert "before base/state/latest.pt" in told.read_text()
    done = start(reason(folder))
    assert done.code == 0, done.said
    assert figures(folder) == figures(micro_run)


def test_a_state_of_another_run_is_refused(killed, reason, tmp_path):
    folder = tmp_path / "run"
    killed("base", tmp_path / "one")
    assert start(reason(folder, "--seed", "7"), dies_after("base", 50)).code == -signal.SIGKILL
    shutil.copy(tmp_path / "one" / "base" / "state" / "latest.pt", folder / "base" / "state" / "latest.pt")
    done = start(reason(folder, "--seed", "7"))
    assert done.code == 2
    assert "latest.pt: the state of another run" in done.last


def test_what_a_kill_left_under_way_goes_with_the_next_start(killed, reason, tmp_path):
    folder, dead = tmp_path / "run", 2**22 + 1  # no process has such a number
    killed("base", folder)
    base = folder / "base"
    for name in (f".config.json.{dead}.writing", f"state/.latest.pt.{dead}.writing", ".notes.writing"):
        (base / name).write_text("half")
    (base / f".checkpoint.{dead}.writing").mkdir()
    (base / f".checkpoint.{dead}.writing" / "model.safetensors").write_text("half")
    alive = base / f".config.json.{os.getpid()}.writing"
    alive.write_text("of a process that is writing now")
    assert start(reason(folder)).code == 0
    hidden = sorted(path.name for path in folder.rglob(".*"))
    assert hidden == sorted([".notes.writing", alive.name])  # not ours by name, and not a dead one's


@pytest.mark.parametrize(("stage", "there"), [("r1", ["base"]), ("zero", [])])
def test_a_stage_without_what_it_begins_with_leaves_no_folder(micro_run, tmp_path, capsys, stage, there):
    (tmp_path / "run").mkdir()
    for name in there:
        shutil.copytree(micro_run / name, tmp_path / "run" / name)
    assert command([stage, "--run", str(tmp_path / "run"), "--preset", "nano", "--device", "cpu"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == there


def test_a_stage_whose_teacher_is_damaged_leaves_no_folder(micro, micro_run, tmp_path):
    for name in ("base", "zero"):
        shutil.copytree(micro_run / name, tmp_path / name)
    flip(tmp_path / "zero" / "model.safetensors", 3000)
    with pytest.raises(ValueError, match=r"zero/model.safetensors: damaged"):
        run_stage("cold", micro, tmp_path, torch.device("cpu"), progress=False)
    assert not (tmp_path / "cold").exists()


def exchange(folder):
    """Other weights in a finished stage, saved as they should be."""
    model, tokenizer = load_checkpoint(folder)
    about = json.loads((folder / "config.json").read_text())["minidsk"]
    with torch.no_grad():
        model.lm_head.weight.add_(0.1)
    MiniPolicy(model, tokenizer).save(folder, {key: about[key] for key in ("stage", "settings", "given", "summary")})


def test_a_base_that_was_exchanged_is_noticed(micro, micro_run, reason, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(micro_run, folder)
    exchange(folder / "base")
    with pytest.raises(RunError, match=r"zero: holds another run \(given.weights_of_origin is"):
        run_stage("zero", micro, folder, torch.device("cpu"), progress=False)
    shutil.rmtree(folder / "zero")
    start(reason(folder))
    row, before = (json.loads((f / "base" / "evaluation.json").read_text())["asked"] for f in (folder, micro_run))
    assert row["weights"] != before["weights"]  # what was measured of other weights is measured again
