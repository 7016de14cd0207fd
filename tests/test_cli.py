"""The command line as a user runs it: in a process of its own, by its exit code and by what it says."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from minidsk.cli import COMMANDS, one_line, parse, run
from minidsk.cli.use import trained
from minidsk.hub.hf import CheckpointError
from minidsk.tasks.countdown import Countdown
from minidsk.train.checkpoint import RunError

COMMAND = [sys.executable, "-c", "from minidsk.cli import main; main()"]


def process(*words, cwd, text="", **environment):
    """Run `minidsk` to its end in a process of its own."""
    return subprocess.run([*COMMAND, *map(str, words)], input=text, capture_output=True, text=True, check=False,
                          cwd=cwd, timeout=100, env={**os.environ, **environment})  # fmt: skip


@pytest.fixture
def minidsk(tmp_path, monkeypatch, capsys):
    """Runs `minidsk` here and now, in an empty folder: exit code, what it said, what it complained of."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = run([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def refused(minidsk):
    """Runs `minidsk`, which must refuse in one line; the line."""

    def call(*words):
        code, _, complaint = minidsk(*words)
        assert code == 2
        assert re.fullmatch(r"minidsk: [^\n]+\n", complaint)
        return complaint

    return call


@pytest.fixture
def run_copy(micro_run, tmp_path):
    """A copy of the micro recipe's run that a test may change."""
    return shutil.copytree(micro_run, tmp_path / "runs" / "micro")


def test_help_names_the_commands_and_importing_is_quick(tmp_path):
    done = process("--help", cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert all(re.search(rf"^  {name} +\S", done.stdout, re.M) for name in COMMANDS)
    spent = {m[2].strip(): int(m[1]) / 1e6 for m in re.finditer(r"\| +(\d+) \| ( *\S+)$", done.stderr, re.M)}
    assert spent["minidsk"] - spent["torch"] < 2


def test_help_of_a_command_shows_its_presets_values(capsys):
    for preset in ("nano", "small"):
        with pytest.raises(SystemExit) as stopped:
            parse(["reason", "--preset", preset, "--help"])
        assert stopped.value.code == 0
        shown = capsys.readouterr().out
        recipe = parse(["reason", "--preset", preset]).recipe
        assert recipe.name == preset
        flat = re.sub(r"[│\s]+", " ", shown)
        assert f"--pretrain.steps INT (default: {recipe.pretrain.steps})" in flat


@pytest.mark.parametrize(("words", "says"), [
    ("bogus", "bogus: no such command; known are reason, pretrain"),
    ("reason --pretrain.step 5", "did you mean --pretrain.steps?"),
    ("reason --pretrain.steps -5", "steps: -5 does not fit; it must be positive"),
    ("reason --pretrain.steps many", "--pretrain.steps: invalid literal"),
    ("reason --pretrain.model.qk-rope-head-dim 3", "qk_rope_head_dim: 3 does not fit; it must be even"),
    ("reason --pretrain.web.chinese 2", "chinese: 2.0 does not fit"),
    ("reason --preset huge", "preset: 'huge' is not known; give auto, nano, small"),
    ("zero --run nowhere", "nowhere/base: no base model there; train one first"),
    ("pretrain", "--out"), ("report", "Missing from minidsk report"), ("eval --problems", "--problems"),
])  # fmt: skip
def test_what_cannot_be_understood_is_one_line(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        parse(words.split())
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_one_seed_serves_all_stages(refused, tmp_path):
    assert "one seed serves all stages; give --seed" in refused("reason", "--device", "cpu", "--zero.seed", "3")
    assert list(tmp_path.iterdir()) == []


def test_a_complaint_in_a_box_becomes_a_line():
    box = "╭─ Value error ──╮\n│ Error parsing a.b: lr: -1  │\n│ does not fit. │\n│ ──── │\n│ For help │\n╰────╯\n"
    assert one_line(box, "reason") == "lr: -1 does not fit; see minidsk reason --help"


def test_a_refusal_has_exit_code_2_and_one_line(tmp_path):
    done = process("reason", "--device", "cuda", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"minidsk: device: no GPU was found; give --device cpu[^\n]*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_reason_tells_and_shows(minidsk, micro_flags, micro_run, figures, tmp_path):
    shutil.copytree(micro_run, tmp_path / "runs/mine")
    shutil.rmtree(tmp_path / "runs/mine/r1")
    code, said, _ = minidsk("reason", *micro_flags, "--out", "runs/mine")
    assert code == 0
    for number, title in enumerate(("base", "R1-Zero", "cold start", "R1"), start=1):
        assert f"[{number}/4] {title}" in said
        assert re.search(rf"^{title} +[\d.]+% +[\d.]+% to [\d.]+% +16 ", said, re.M)
    assert "--- base (" in said
    assert "--- R1-Zero (" in said
    assert "report: runs/mine/report.html" in said
    assert (tmp_path / "runs/mine/report.html").exists()
    assert figures(tmp_path / "runs/mine") == figures(micro_run)


def test_the_stages_one_by_one_are_the_recipe(minidsk, micro_flags, micro_run, figures, tmp_path):
    """`pretrain`, `zero` and `r1` leave what `reason` leaves."""
    base = [word for i, word in enumerate(micro_flags) if belongs(micro_flags, i, "--pretrain.")]
    later = [word for i, word in enumerate(micro_flags) if not belongs(micro_flags, i, "--pretrain.")]
    assert minidsk("pretrain", "--preset", "nano", "--device", "cpu", "--out", "runs/x/base", *base)[0] == 0
    assert minidsk("zero", "--run", "runs/x", *later)[0] == 0
    code, said, _ = minidsk("r1", "--run", "runs/x", *later)
    assert code == 0
    assert re.search(r"^R1 +[\d.]+%", said, re.M)
    assert figures(tmp_path / "runs/x") == figures(micro_run)


def belongs(flags, i, *prefixes):
    """Whether word i is an option that begins so, or its value."""
    while not flags[i].startswith("--"):
        i -= 1
    return flags[i].startswith(prefixes)


def test_ctrl_c_says_how_to_go_on(micro_flags, tmp_path):
    words = ["reason", *micro_flags, "--out", "runs/mine", "--pretrain.steps", "100000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Whoever runs the tests in the background may have told them, and so their children, to ignore Ctrl-C.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    running = subprocess.Popen([*COMMAND, *words], cwd=tmp_path, preexec_fn=listen, **pipes)
    metrics = tmp_path / "runs/mine/base/metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "minidsk: stopped; the same command goes on, and does at most 20 steps again"
    assert "Traceback" not in said


def test_another_config_damage_and_other_tokenizers_are_refused(refused, micro_flags, run_copy, figures):
    before = figures(run_copy)
    assert "holds another run" in refused("reason", *micro_flags, "--out", run_copy, "--zero.optim.lr", "0.5")
    assert figures(run_copy) == before
    config = run_copy / "base" / "config.json"
    content = config.read_text()
    config.write_text(content.replace('"hidden_act"', '"frobnication": 3, "hidden_act"'))
    assert "config.json: damaged" in refused("sample", run_copy / "base")
    config.write_text(content)
    tokenizer = run_copy / "base" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<user>", "<usor>"))
    assert "tokenizer.json" in refused("sample", run_copy / "base")
    weights = run_copy / "r1" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "model.safetensors: damaged" in refused("eval", run_copy / "r1")
    assert "no such checkpoint or folder" in refused("chat", "nothing-of-this-name")


def test_chat_over_a_pipe(run_copy, tmp_path):
    done = process("chat", cwd=tmp_path, text="1 2 = 3\nhello\nquit\n4 4 = 8\n")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("runs/micro/r1: pose a problem")
    assert len(re.findall(r"^\[(?:right: |wrong: |no answer)", done.stdout, re.M)) == 1
    assert "[pose a problem like" in done.stdout


def test_eval_and_sample(run_copy, micro, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    recorded = json.loads((run_copy / "zero" / "evaluation.json").read_text())["row"]
    parse(["eval", "runs/micro/zero", "--problems", "16", "--max-new-tokens", "24", "--device", "cpu"])()
    assert f"runs/micro/zero: {recorded['accuracy']:.1%} right" in capsys.readouterr().out
    parse(["eval", "runs/micro", "--problems", "4", "--numbers", "3", "--high", "9", "--device", "cpu"])()
    assert "on 4 problems" in capsys.readouterr().out
    texts = []
    for _ in range(2):
        parse(["sample", "runs/micro", "--prompt", "1 2 = 3", "--seed", "4", "--max-new-tokens", "9"])()
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[0].startswith("Make 3 from 1 2.\n")


def test_sft_from_a_file(run_copy, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copy(run_copy / "cold" / "examples.jsonl", "examples.jsonl")
    words = ["sft", "--base", "runs/micro/base", "--data", "examples.jsonl", "--out", "runs/mine/sft"]
    parse([*words, "--sft.steps", "2"])()
    lines = (tmp_path / "runs/mine/sft/metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert trained("runs/mine/sft").name == "sft"
    (tmp_path / "examples.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    with pytest.raises(RunError, match="holds another run"):
        parse([*words, "--sft.steps", "2"])()
    parse(["eval", "runs/mine/sft", "--problems", "3", "--device", "cpu"])()  # the base's problems are its own
    assert "on 3 problems" in capsys.readouterr().out


def test_which_checkpoint_is_meant(run_copy, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert trained("").as_posix() == "runs/micro/r1"
    assert trained("runs/micro").as_posix() == "runs/micro/r1"
    shutil.rmtree("runs/micro/r1")
    assert trained("").as_posix() == "runs/micro/zero"
    with pytest.raises(CheckpointError, match="no such checkpoint or folder"):
        trained("runs/other")
    shutil.rmtree("runs")
    with pytest.raises(RunError, match="no trained reasoner there; train one by minidsk reason"):
        trained("")


def test_the_tasks_numbers_are_those_of_the_base(run_copy):
    command = parse(["zero", "--run", str(run_copy), "--preset", "nano"])
    assert isinstance(command.recipe.make_task("test"), Countdown)
    assert command.recipe.pretrain.web.high == 4
