"""A reader's code on its way into another process: modules, scripts, cells, and what cannot be copied."""

import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from minidsk.homework import check, link, zoo
from minidsk.homework.parcel import NotPortable, installed, pack_function

NAME = "moe.max_violation"
RIGHT = "def mine(load):\n    return load.max() / load.mean() - 1\n"
WRONG = "def mine(load):\n    return load.max() / load.mean()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A reader's folder, from which modules can be imported; they are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_is_tried_as_it_is_here(folder: Path) -> None:
    file = folder / "hw_a.py"
    file.write_text(WRONG)
    module = importlib.import_module("hw_a")
    assert check(NAME, module.mine).mistake == "1 not subtracted"
    file.write_text(RIGHT + "# another size, so that no cached bytecode fits\n")
    assert check(NAME, module.mine).mistake == "1 not subtracted"  # not imported again: here it is still the old one
    importlib.reload(module)
    assert check(NAME, module.mine)


def test_a_module_that_uses_another(folder: Path) -> None:
    (folder / "hw_b_parts.py").write_text("def share(load):\n    return load.max() / load.mean()\n")
    (folder / "hw_b.py").write_text("import hw_b_parts\n\ndef mine(load):\n    return hw_b_parts.share(load) - 1\n")
    assert check(NAME, importlib.import_module("hw_b").mine)


def test_a_module_that_cannot_be_copied_is_imported(folder: Path) -> None:
    held = "import threading\n\nLOCK = threading.Lock()\n\n" + RIGHT.replace("return", "with LOCK: return")
    (folder / "hw_c.py").write_text(held)
    assert check(NAME, importlib.import_module("hw_c").mine)


def test_a_script_without_a_guard_runs_once(folder: Path) -> None:
    script = f"from minidsk.homework import check\n\nprint('begins')\n\n{RIGHT}\nprint(check({NAME!r}, mine))\n"
    (folder / "hw.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "hw.py"], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["begins", f"{NAME}: right, in all 3 cases."], done.stderr


def test_the_judge_imports_nothing_from_where_it_starts(folder: Path) -> None:
    (folder / "multiprocessing.py").write_text("raise ImportError('not this one')\n")
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", link.BEGIN, "fork", root]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "JUDGE", link.Judge())
    folder.rmdir()
    assert check(NAME, lambda load: load.max() / load.mean() - 1)
    link.JUDGE.stop()


def test_a_judge_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "JUDGE", link.Judge())
    monkeypatch.setattr(link, "BEGIN", "raise SystemExit('no room')")
    problem = check(NAME, lambda load: load).problem
    assert problem == "the process that judges ended before it had answered (no room)"
    monkeypatch.setattr(sys, "executable", "/no/python")
    assert check(NAME, lambda load: load).problem.startswith("the process that judges cannot be started: ")
    right = zoo("moe", [lambda router: None]).rows[0][1]
    assert right.startswith("rejected by the tests: the process that judges cannot be started")


def test_the_line_that_raised() -> None:
    def mine(load: torch.Tensor) -> torch.Tensor:
        total = load.sum()
        return load.view(3, 5) / total

    result = check(NAME, mine)
    assert result.problem.startswith("it raised RuntimeError: shape '[3, 5]' is invalid")
    here = mine.__code__.co_firstlineno + 2
    assert result.at == f"test_homework_parcel.py, line {here}, in mine: return load.view(3, 5) / total"


def test_the_line_of_a_cell_and_a_kernel_of_triton() -> None:
    cells = [
        "import os\nos.environ['TRITON_INTERPRET'] = '1'\nimport torch, triton\nimport triton.language as tl\n"
        "from minidsk.homework import check",
        f"def mine(load):\n    part = load[:2]\n    return part / load\n\nprint(check({NAME!r}, mine))",
        "@triton.jit\ndef kernel(gate, up, out, n, BLOCK: tl.constexpr):\n"
        "    at = tl.arange(0, BLOCK)\n    g = tl.load(gate + at, mask=at < n)\n"
        "    tl.store(out + at, g * tl.sigmoid(g) * tl.load(up + at, mask=at < n), mask=at < n)\n\n"
        "def swiglu(gate, up):\n    gate, up = gate.contiguous(), up.contiguous()\n    out = torch.empty_like(gate)\n"
        "    kernel[(1,)](gate, up, out, gate.numel(), BLOCK=128)\n    return out\n\n"
        "print(check('kernels.swiglu', swiglu))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120).execute()
    raised, kernel = ("".join(output.text for output in cell.outputs) for cell in notebook.cells[1:])
    assert "at:      line 3, in mine: return part / load" in raised
    assert kernel.startswith("kernels.swiglu: right")


def test_what_cannot_be_copied_is_named() -> None:
    lock = threading.Lock()

    def mine(load: torch.Tensor) -> torch.Tensor:
        with lock:
            return load.max() / load.mean() - 1

    result = check(NAME, mine)
    assert result.problem == "lock, which is used, cannot be copied (cannot pickle '_thread.lock' object)"
    assert "make or open it inside" in result.hint
    with pytest.raises(TypeError, match=r"zoo runs a copy of your tests in another process, and lock, which is used,"):
        zoo("moe", [lambda router: mine(router)])
    with pytest.raises(NotPortable, match="it cannot be copied"):
        pack_function(sys._getframe())


def test_what_the_environment_says_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(load: torch.Tensor) -> torch.Tensor:
        return load.max() / load.mean() - float(os.environ["MINE"])

    assert "KeyError" in check(NAME, mine).problem
    monkeypatch.setenv("MINE", "1")
    assert check(NAME, mine)


def test_overflows_are_silent_where_they_are_here(capsys: pytest.CaptureFixture[str]) -> None:
    def mine(load: torch.Tensor) -> torch.Tensor:
        np.exp(np.float32(1e3))
        return load.max() / load.mean() - 1

    with np.errstate(over="warn"):
        assert check(NAME, mine)
    assert "overflow encountered" in capsys.readouterr().err
    with np.errstate(over="ignore"):
        assert check(NAME, mine)
    assert capsys.readouterr().err == ""


def test_the_default_dtype_is_the_readers() -> None:
    def mine(load: torch.Tensor) -> torch.Tensor:
        assert torch.zeros(()).dtype == torch.float64
        return load.max() / load.mean() - 1

    torch.set_default_dtype(torch.float64)
    try:
        assert check(NAME, mine)
    finally:
        torch.set_default_dtype(torch.float32)
    assert not check(NAME, mine)


def test_what_belongs_to_the_reader() -> None:
    assert installed(torch.__file__)
    assert installed(os.__file__)
    assert installed(sys.modules["minidsk.homework"].__file__ or "")
    assert installed("<frozen importlib._bootstrap>")
    assert not installed(__file__)
    assert not installed("/tmp/ipykernel_1/2.py")
