"""A state that cannot lie: flipped, cut off, removed or killed, a start says so or goes on from a good one."""

import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from minidsk.cli import run as command
from minidsk.data.corpus import TinyWeb
from minidsk.data.tokenizer import CharTokenizer
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.policy import MiniPolicy
from minidsk.rl.recipe import run_stage
from minidsk.train.checkpoint import Run, RunError, load_checkpoint
from minidsk.train.optim import Optimizer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is for systems that have it")
STEPS = 70  # of the micro recipe's pretraining, whose states are kept every 20


@pytest.fixture(scope="module")
def stopped(micro_flags, tmp_path_factory):
    """A folder whose pretraining was killed after step 50: states after 40 steps and after 20."""
    folder = tmp_path_factory.mktemp("damage") / "run"
    died = start(folder, micro_flags, die="log:50")
    assert died.returncode == -signal.SIGKILL
    assert {path.name for path in (folder / "base" / "state").iterdir()} == {"latest.pt", "previous.pt"}
    return folder


@dataclass
class Ended:
    """How a child ended, and what it said."""

    returncode: int
    stderr: str


def start(folder, flags, die="never:0"):
    """Pretrain the micro recipe in `folder`, in a child of this process, which kills itself at a given write.

    `replace:N`: before file N takes its name; `replaced:N`: after that; `log:STEP`: after a step was logged.
    """
    words, taken = ["pretrain", "--out", str(folder / "base")], False
    for word in flags:
        if word.startswith("--"):
            taken = word.startswith(("--pretrain.", "--preset", "--device"))
        words += [word] if taken else []
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            torch.set_num_threads(1)
            prepare_to_die(*die.split(":"))
            code = command(words)
            sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        return Ended(code, said.read().decode(errors="replace"))


def prepare_to_die(kind, number):
    """In a child: arrange its death."""
    replace, log, writes = os.replace, Run.log, []

    def die(now):
        if now:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(source, target):
        writes.append(target)
        die(kind == "replace" and len(writes) == int(number))
        replace(source, target)
        die(kind == "replaced" and len(writes) == int(number))

    def logged(self, **metrics):
        log(self, **metrics)
        die(kind == "log" and metrics["step"] == int(number))

    os.replace, Run.log = counted, logged


@pytest.fixture(scope="module")
def whole(micro_run):
    """The weights of the run that nothing happened to."""
    return (micro_run / "base" / "model.safetensors").read_bytes()


@pytest.fixture
def copy(stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    return tmp_path / "run"


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << (place % 8)
    path.write_bytes(bytes(content))


def places(path, count=20):
    return random.Random(0).sample(range(path.stat().st_size), count)


def test_any_byte_of_the_last_state_and_it_goes_on_from_the_one_before(stopped, micro, tmp_path, capfd):
    """Twenty flipped bytes, each by itself: each is noticed, and what is loaded is the state after 20 steps."""
    latest = "base/state/latest.pt"
    for place in places(stopped / latest):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(stopped, tmp_path / "run")
        flip(tmp_path / "run" / latest, place)
        config = micro.pretrain
        corpus = TinyWeb(config.web, config.seed)
        run = Run(tmp_path / "run" / "base", "pretrain", config, data=corpus.fingerprint,
                  tokenizer=CharTokenizer().fingerprint)  # fmt: skip
        model = MiniDeepSeek(config.model)
        assert run.load_state(model=model, optimizer=Optimizer(model, config.optim, 1)) == 20
        said = capfd.readouterr().err
        assert "latest.pt: damaged; going on from step 20 of previous.pt" in said


@pytest.mark.parametrize("spoil", ["flipped", "cut", "empty", "gone"])
def test_from_the_state_before_the_weights_come_out_the_same(copy, micro_flags, whole, spoil):
    latest = copy / "base" / "state" / "latest.pt"
    if spoil == "flipped":
        flip(latest, latest.stat().st_size // 3)
    elif spoil == "gone":
        latest.unlink()
    else:
        latest.write_bytes(latest.read_bytes()[: latest.stat().st_size // 2 if spoil == "cut" else 0])
    done = start(copy, micro_flags)
    assert done.returncode == 0, done.stderr
    assert ("damaged" in done.stderr) == (spoil != "gone")
    assert (copy / "base" / "model.safetensors").read_bytes() == whole
    steps = [json.loads(line)["step"] for line in (copy / "base" / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(10, STEPS + 1, 10))


def refused(done, *words):
    """One line on stderr, after the progress bar, and exit code 2."""
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert last.startswith("minidsk: ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in last


def test_without_a_good_state_it_says_what_to_delete(copy, micro_flags):
    for name in ("latest.pt", "previous.pt"):
        flip(copy / "base" / "state" / name, 100)
    refused(start(copy, micro_flags), "latest.pt: damaged; delete", "to start this stage again")
    shutil.rmtree(copy / "base" / "state")
    assert start(copy, micro_flags).returncode == 0


def test_a_state_without_its_configuration_is_nobodys(copy, micro_flags):
    (copy / "base" / "config.json").unlink()
    refused(start(copy, [*micro_flags, "--pretrain.seed", "7"]), "holds a state without the config.json")
    (copy / "base" / "config.json").write_text("{")
    refused(start(copy, micro_flags), "config.json: not readable as JSON")


def test_a_state_of_another_run_is_refused(copy, stopped, micro_flags):
    other = copy.parent / "other"
    start(other, [*micro_flags, "--pretrain.seed", "7"], die="log:30")
    for name in ("latest.pt", "previous.pt"):
        (other / "base" / "state" / name).unlink(missing_ok=True)
    shutil.copy(stopped / "base" / "state" / "latest.pt", other / "base" / "state" / "latest.pt")
    refused(start(other, [*micro_flags, "--pretrain.seed", "7"]), "the state of another run")


@pytest.mark.parametrize("text", [b"", b'{"step": 10}\n', b"\xff\xfe\n", b"[1]\n"])
def test_metrics_that_were_lost_are_missed(copy, micro_flags, text):
    (copy / "base" / "metrics.jsonl").write_bytes(text)
    refused(start(copy, micro_flags), "metrics.jsonl:")


@pytest.fixture(scope="module")
def finished(stopped, micro_flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    shutil.copytree(stopped, folder)
    assert start(folder, micro_flags).returncode == 0
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_any_byte_of_a_finished_run_is_noticed(finished, tmp_path, name, capsys):
    """Twenty flipped bytes: loading names the file, or a configuration no longer says what it said."""
    for place in places(finished / "base" / name):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(finished, tmp_path / "run")
        path = tmp_path / "run" / "base" / name
        before = path.read_bytes()
        flip(path, place)
        code = command(["sample", str(tmp_path / "run" / "base"), "--prompt", "1 2 = 3", "--max-new-tokens", "1"])
        said = capsys.readouterr().err
        if code == 0:  # a space in the place of another, say
            assert name == "config.json"
            assert json.loads(path.read_bytes()) == json.loads(before)
        else:
            assert code == 2
            assert said.count("\n") == 1
            assert name in said or "no finished run" in said


def test_killed_at_any_write_nothing_is_left_and_nothing_is_lost(micro_flags, whole, tmp_path, monkeypatch):
    """Kill -9 before and after each file takes its name, one write after the other, until the run is through."""
    count = 0
    for kind in ("replace", "replaced"):
        folder = tmp_path / kind
        for number in range(1, 60):
            done = start(folder, micro_flags, die=f"{kind}:{number}")
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr
            count += 1
        assert done.returncode == 0
        assert (folder / "base" / "model.safetensors").read_bytes() == whole
        names = sorted(path.name for path in (folder / "base").rglob("*"))
        assert names == ["config.json", "metrics.jsonl", "model.safetensors", "tokenizer.json"]
    assert count > 8


def test_what_a_kill_left_under_way_goes_with_the_next_start(copy, micro_flags):
    base, dead = copy / "base", 2**22 + 1  # no process has such a number
    for name in (f".config.json.{dead}.writing", f"state/.latest.pt.{dead}.writing", ".notes.writing"):
        (base / name).write_text("half")
    (base / f".checkpoint.{dead}.writing").mkdir()
    (base / f".checkpoint.{dead}.writing" / "model.safetensors").write_text("half")
    alive = base / f".config.json.{os.getpid()}.writing"
    alive.write_text("of a process that is writing now")
    assert start(copy, micro_flags).returncode == 0
    hidden = sorted(path.name for path in base.rglob(".*"))
    assert hidden == sorted([".notes.writing", alive.name])  # not ours by name, and not a dead one's


def test_r1_without_its_teacher_leaves_no_folder(micro_run, micro_flags, tmp_path, capsys):
    shutil.copytree(micro_run / "base", tmp_path / "run" / "base")
    assert command(["r1", "--run", str(tmp_path / "run"), "--preset", "nano", "--device", "cpu"]) == 2
    assert "zero: no finished run there" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["base"]


def test_a_base_that_was_exchanged_is_noticed(micro, micro_run, tmp_path):
    import torch


    shutil.copytree(micro_run, tmp_path / "run")
    model, tokenizer = load_checkpoint(tmp_path / "run" / "base")
    about = json.loads((tmp_path / "run" / "base" / "config.json").read_text())["minidsk"]
    with torch.no_grad():
        model.lm_head.weight.add_(0.1)
    about.pop("sha256")
    MiniPolicy(model, tokenizer).save(tmp_path / "run" / "base", about)
    with pytest.raises(RunError, match=r"zero: holds another run \(given.weights_of_base is"):
        run_stage("zero", micro, tmp_path / "run", torch.device("cpu"), progress=False)


def test_the_sum_stands_before_the_state():
    """What is hashed is what is loaded: no byte of the file lies outside."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, "stage", {})
        run.save_state(1, model=torch.nn.Linear(2, 2))
        content = (Path(folder) / "state" / "latest.pt").read_bytes()
        assert hashlib.sha256(content[32:]).digest() == content[:32]
        assert torch.load(io.BytesIO(content[32:]), weights_only=True)["step"] == 1
