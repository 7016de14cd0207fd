"""The command line as a user runs it: in a process of its own, by its exit code and by what it says."""

import contextlib
import dataclasses
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch

from minidsk.cli.command import COMMANDS, USED, defaults, parse, required, run
from minidsk.cli.options import groups
from minidsk.cli.use import task_of, trained
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


def test_help_names_the_commands(minidsk, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for words in ((), ("-h",), ("--help",)):
        code, said, complaint = minidsk(*words)
        assert (code, complaint) == (0, "")
        assert all(re.search(rf"^  {name} +\S", said, re.M) for name in COMMANDS)
        assert max(map(len, said.splitlines())) <= 80


def test_importing_is_quick():
    code = "import sys, minidsk, minidsk.cli; print('torch' in sys.modules, minidsk.ModelConfig().vocab_size)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False 128\n"


def test_help_of_a_command_shows_its_presets_values(minidsk):
    for preset in ("nano", "small"):
        _, said, _ = minidsk("reason", "--preset", preset, "--help")
        recipe = parse(["reason", "--preset", preset]).recipe
        assert recipe.name == preset
        assert re.search(rf"--pretrain.steps INT [^-]*\(default:\s+{recipe.pretrain.steps}\)", said)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    start = COMMANDS[name](**required(COMMANDS[name]) | defaults(name, []))
    actions = [action for _, some in groups(COMMANDS[name], start) for action in some]
    assert len(actions) >= len(dataclasses.fields(COMMANDS[name])) - 1
    for action in actions:
        explanation = re.sub(r"\((?:default: [^()]*|required)\)$", "", action.help).strip()
        assert len(explanation.split()) > 1, action.option_strings


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_page_of_help_fits_a_screen_and_the_next_has_all(name, minidsk, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, first, _ = minidsk(name, "--help")
    _, whole, _ = minidsk(name, "--help-all")
    assert len(first.splitlines()) <= 40
    assert max(map(len, (first + whole).splitlines())) <= 80
    start = COMMANDS[name](**required(COMMANDS[name]) | defaults(name, []))
    actions = [action for _, some in groups(COMMANDS[name], start) for action in some]
    options = {option for action in actions for option in action.option_strings}
    shown = [set(re.findall(r"^  (--[\w.-]+)", text, re.M)) for text in (first, whole)]
    assert shown[0] <= shown[1] <= options
    assert all(option in whole for option in options)
    if name in USED:
        assert shown[0] == {f"--{word}" for word in USED[name].split()}
        assert f"minidsk {name} --help-all: all " in first
    else:
        assert first == whole


@pytest.mark.parametrize(("words", "says"), [
    ("bogus", "bogus: no such command; known are reason, pretrain"),
    ("reason --pretrain.step 5", "--pretrain.step: no such option; did you mean --pretrain.steps?"),
    ("reason --pretrain_step=5", "--pretrain_step: no such option; did you mean --pretrain.steps?"),
    ("reason --steps 5", "did you mean --pretrain.steps or --zero.steps or --cold.steps or --r1.steps?"),
    ("reason --frobnicate", "--frobnicate: no such option; see minidsk reason --help"),
    ("reason 5", "5: not understood; see minidsk reason --help"),
    ("reason --pretrain.steps -5", "steps: -5 does not fit; it must be a whole number above 0"),
    ("reason --pretrain.steps many", "--pretrain.steps: invalid literal for int() with base 10: 'many'; give INT"),
    (f"reason --pretrain.steps {'9' * 5000}", "--pretrain.steps: Exceeds the limit (4300 digits)"),
    ("reason --pretrain.steps", "--pretrain.steps: its value is missing; give INT"),
    ("reason --pretrain.optim.lr nan", "lr: nan does not fit; it must be a number above 0"),
    (f"reason --seed 1{'0' * 30}", "does not fit; it must be a whole number from 0 to 4,294,967,295"),
    ("reason --pretrain.web.ops ^", "ops is '^': give some of +-*/"),
    ("reason --pretrain.web.high 0", "high: 0 does not fit"),
    ("reason --pretrain.web.numbers 99", "numbers: (99,) does not fit; it must be counts from 2 to 5"),
    ("reason --device mps", "device: 'mps' is not known; give auto, cpu or cuda"),
    ("eval --split dev", "--split: 'dev' is not known; give train, valid, test"),
    ("eval --targets all", "--targets: 'all' is not known; give any, seen, unseen"),
    ("eval --temperature nan", "temperature: nan does not fit"), ("sample --seed -1", "seed: -1 does not fit"),
    ("chat --max-new-tokens 0", "max_new_tokens: 0 does not fit"), ("bench --limit nan", "limit: nan does not fit"),
    ("bench memory", "'memory' is not known; give kernels, generation, speculation, training, step"),
    ("bench generation kernels", "what: ('generation', 'kernels') does not fit; it must be kernels alone, or others"),
    ("reason --pretrain.model.qk-rope-head-dim 3", "qk_rope_head_dim: 3 does not fit; it must be even"),
    ("reason --pretrain.web.chinese 2", "chinese: 2.0 does not fit"),
    ("reason --preset huge", "preset: 'huge' is not known; give auto, nano, small"),
    ("zero --run nowhere", "nowhere/base: no base model there; train one first"),
    ("pretrain", "--out: missing; see minidsk pretrain --help"), ("report", "FOLDER: missing"),
    ("pretrain --uot x", "--uot: no such option; did you mean --out?"), ("eval --problems", "--problems: its value"),
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


def test_no_complaint_is_longer_than_a_paragraph_or_steers_the_terminal(refused):
    assert refused("\x1b[31m\n\u202e").startswith("minidsk: \\x1b[31m \\u202e: no such command; known are")
    assert len(refused("eval", "x" * 10_000)) < 600
    assert refused("eval", "x" * 10_000).endswith("/r1/config.json: File name too long\n")


def in_a_terminal(*words, cwd, **environment):
    """Run `minidsk` in a pseudo-terminal: the exit code, and all that the terminal was sent."""
    screen, terminal = pty.openpty()
    running = subprocess.Popen([*COMMAND, *words], stdin=terminal, stdout=terminal, stderr=terminal, cwd=cwd,
                               env={**os.environ, **environment})  # fmt: skip
    os.close(terminal)
    said = b""
    with contextlib.suppress(OSError):  # Linux ends a terminal that nobody writes to any more by an error
        while piece := os.read(screen, 4096):
            said += piece
    os.close(screen)
    return running.wait(100), said.decode()


def test_in_a_terminal_too_a_complaint_is_one_plain_line(tmp_path):
    said = in_a_terminal("reason", "--device", "cpu", "--pretrain.step", "5", cwd=tmp_path,
                         TERM="xterm-256color", FORCE_COLOR="1", COLUMNS="40")  # fmt: skip
    assert said == (2, "minidsk: --pretrain.step: no such option; did you mean --pretrain.steps?\r\n")


def test_no_encoding_keeps_a_command_from_speaking(run_copy, tmp_path):
    done = process("reason", "--pretrain.step", "5", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.stderr == "minidsk: --pretrain.step: no such option; did you mean --pretrain.steps?\n"
    done = process("sample", "runs/micro", "--prompt", "用 1 2 得到 3。", "--max-new-tokens", "2", cwd=tmp_path,
                   PYTHONIOENCODING="cp1252", PYTHONUTF8="1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("? 1 2 ?? 3?\n")


@pytest.mark.parametrize(("shell", "code", "complaint"), [
    ("{minidsk} --help > >(true)", 1, ""), ("{minidsk} chat runs/micro <&- >&-", 0, ""),
    ("{minidsk} --help > /dev/full", 2, "minidsk: No space left on device; free some space, and"),
])  # fmt: skip
def test_streams_that_are_closed_or_full(shell, code, complaint, run_copy, tmp_path):
    line = shell.format(minidsk=shlex.join(COMMAND))
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(complaint)
    assert len(done.stderr.splitlines()) == bool(complaint)


def test_ctrl_c_while_torch_is_being_imported_is_no_traceback(tmp_path):
    (tmp_path / "torch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([*COMMAND, "--help"], env={**os.environ, "PYTHONPATH": path}, preexec_fn=listen,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nminidsk: stopped\n")


def test_a_full_memory_is_a_line_and_a_fault_of_ours_is_not(monkeypatch, capsys):
    def meet(error):
        def command():
            raise error

        monkeypatch.setattr("minidsk.cli.command.parse", lambda args: command)
        return run([])

    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
                  torch.OutOfMemoryError()):  # fmt: skip
        assert meet(error) == 2
        assert "memory is full" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="a fault"):
        meet(RuntimeError("a fault"))


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


def test_chat_survives_what_is_no_text(run_copy, tmp_path):
    lines = [b"1" * 5000 + b" 2 = 3", b"1 2 = " + b"9" * 5000, b"\xff\xfe broken", b"a\0b", b"1 2 = 3"]
    done = subprocess.run([*COMMAND, "chat", "--max-new-tokens", "3"], input=b"\n".join(lines), capture_output=True,
                          check=False, cwd=tmp_path, timeout=100,
                          env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode()
    assert said.count("tokens are too many; this model was made for 512") == 2
    assert said.count("[pose a problem like 3 7 2 = 12 for a verdict]") == 2
    assert len(re.findall(r"^\[(?:right: |wrong: |no answer)", said, re.M)) == 1


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


def test_eval_with_many_replies_writes_all_figures(run_copy, minidsk, refused, tmp_path):
    out = tmp_path / "new" / "figures.json"
    words = ("eval", "runs/micro/zero", "--problems", 6, "--samples", 8, "--max-new-tokens", 24, "--device", "cpu")
    code, said, _ = minidsk(*words, "--out", out)
    assert code == 0
    found = json.loads(out.read_text())
    assert said.startswith(f"runs/micro/zero: {found['accuracy']['value']:.1%} right (")
    assert found["temperature"] == 1.0
    assert list(found["pass_at_k"]) == ["1", "2", "4", "8"]
    assert sum(found["right"]) / 48 == pytest.approx(found["pass_at_k"]["1"]["value"])
    assert found["pass_at_k"]["8"]["value"] == sum(right > 0 for right in found["right"]) / 6
    first = out.read_bytes()
    minidsk(*words, "--out", out)
    assert out.read_bytes() == first
    assert "temperature: 0.0 does not fit; it must be above 0 for several" in refused(*words, "--temperature", 0)
    assert "must be a file" in refused(*words, "--out", tmp_path)


def test_eval_poses_the_problems_of_the_runs_own_draw(run_copy):
    config = run_copy / "base" / "config.json"
    content = json.loads(config.read_text())
    content["minidsk"]["settings"]["web"] |= {"draw": "uniform", "targets": "seen"}
    del content["minidsk"]["sha256"]
    del content["minidsk"]["files"]
    config.write_text(json.dumps(content))
    assert task_of(run_copy / "base") | {"draw": "uniform", "targets": "seen"} == task_of(run_copy / "base")


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
