"""Run the notebooks as a reader in Colab does: from the wheel, in Colab's versions, in a folder with nothing else.

    python tools/colab.py [NAMES] [--env DIR] [--workers N]     all notebooks by default; exit code 1 where one fails

Builds the wheel, makes an environment with the versions of .github/workflows/colab.txt, installs the wheel there, and
runs the notebooks under nbval, outputs compared as `make nbval` compares them. Then all once more with the newest
numpy. Python is $PYTHON312, else `python3.12`, else the one that runs this. With `--env` the environment is DIR, and
stays for the next time; without, it is made anew and deleted.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ROOT / ".github" / "workflows" / "colab.txt"
RUNNERS = ("nbval", "pytest", "ipykernel", 'triton; platform_system == "Linux"')  # Colab has the last two as well
NBVAL = ("-p", "nbval_plugin", "--nbval", "--nbval-current-env", "--nbval-cell-timeout=120",
         f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval.cfg'}")  # fmt: skip
# The plugin's folder is on the path of pytest alone; PYTHONPATH would lend it to the kernels too.
PYTEST = f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
# The cell of a notebook that runs before the others, and as they do: does a kernel see the checkout?
WHERE = f"""import sys, minidsk
assert minidsk.__file__.startswith(sys.prefix), f"minidsk comes from {{minidsk.__file__}}"
assert not {{{str(ROOT)!r}, {str(ROOT / "tools")!r}, {str(ROOT / "notebooks")!r}}} & set(sys.path), sys.path"""
NAMES = "import platform, sys; from importlib.metadata import version; " \
        "print('Python', platform.python_version(), *(f'{name} {version(name)}' for name in sys.argv[1:]))"  # fmt: skip
SHOWN = 60  # lines of a failed notebook's report


def call(command: Sequence[object], cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run without the variables by which Python and Jupyter find more than the environment holds."""
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("PYTHON", "PYTEST", "JUPYTER", "MPL", "VIRTUAL_ENV"))}  # fmt: skip
    return subprocess.run([str(word) for word in command], cwd=cwd, env=clean | settings, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def done(command: Sequence[object], cwd: Path) -> str:
    """What the command printed; where it fails, the end of that is the program's last word."""
    run = call(command, cwd)
    if run.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{run.stdout[-3000:]}")
    return run.stdout


def interpreter() -> str:
    """Colab's Python where there is one, else this one, with a sentence about it."""
    wanted = os.environ.get("PYTHON312") or "python3.12"
    found = shutil.which(wanted)
    if not found:
        here = sys.version.split()[0]
        print(f"{wanted}: no such program here (PYTHON312 may name one), so with Python {here}", flush=True)
    return found or sys.executable


def environment(folder: Path, wheel: Path) -> Path:
    """The Python of the environment in `folder`, made where it is missing, with Colab's versions and the wheel."""
    python = folder / "bin" / "python"
    if not python.exists():
        done([interpreter(), "-m", "venv", folder], ROOT)
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    done([*pip, "install", "-c", VERSIONS, f"{wheel}[notebooks]", *RUNNERS], wheel.parent)
    done([*pip, "install", "--no-deps", "--force-reinstall", wheel], wheel.parent)  # an earlier one has its version
    return python


def newest_numpy(python: Path, wheel: Path) -> None:
    """Install the newest numpy that the package allows, beside Colab's other versions."""
    others = wheel.parent / "others.txt"
    lines = [line for line in VERSIONS.read_text(encoding="utf-8").splitlines() if not line.startswith("numpy")]
    others.write_text("\n".join(lines), encoding="utf-8")
    done([python, "-m", "pip", "install", "-c", others, "--upgrade", "numpy", f"{wheel}[notebooks]"], wheel.parent)


def run_all(python: Path, notebooks: Sequence[Path], workers: int) -> bool:
    """Run copies of the notebooks in a new folder; a line for each as it ends, a report where it failed."""
    with tempfile.TemporaryDirectory(prefix="minidsk-notebooks-") as name:
        folder = Path(name)
        where = folder / "from_the_wheel.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(WHERE, execution_count=1)]), where)
        if not run_one(python, where):
            return False
        with ThreadPoolExecutor(workers) as pool:
            copies = [Path(shutil.copy(path, folder)) for path in notebooks]
            return all(list(pool.map(lambda path: run_one(python, path), copies)))


def run_one(python: Path, notebook: Path) -> bool:
    """Run one notebook, print its name, its seconds and, where it failed, the report; whether it passed."""
    start = time.perf_counter()
    words = [python, "-c", PYTEST, "-q", "--color=no", "--maxfail=3", "-p", "no:cacheprovider", *NBVAL, notebook.name]
    run = call(words, notebook.parent, OMP_NUM_THREADS="1")  # as make nbval
    line = f"  {notebook.stem:28}{time.perf_counter() - start:5.0f} s  {'FAILED' if run.returncode else 'passed'}"
    plain = re.sub(r"\x1b\[[\d;]*m", "", run.stdout)  # IPython colours a traceback whatever it is told
    report = "\n".join(f"    {shown}" for shown in plain.splitlines()[:SHOWN])
    print(f"{line}\n{report}" if run.returncode else line, flush=True)
    return run.returncode == 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Run the notebooks from the wheel, in Colab's versions.")
    parser.add_argument("names", nargs="*", help="chapters such as 08_expert_kernels; all of them by default")
    parser.add_argument("--env", type=Path, help="a folder for the environment, which stays there")
    parser.add_argument("--workers", type=int, default=2, help="notebooks at a time")
    asked = parser.parse_args()
    notebooks = sorted((ROOT / "notebooks").glob("[0-9][0-9]*_*.ipynb"))
    missing = set(asked.names) - {path.stem for path in notebooks}
    if missing:
        parser.error(f"no notebook is called {min(missing)}; look into {ROOT / 'notebooks'}")
    notebooks = [path for path in notebooks if not asked.names or path.stem in asked.names]
    start, passed = time.perf_counter(), True
    with tempfile.TemporaryDirectory(prefix="minidsk-colab-") as name:
        scratch = Path(name)
        done([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", scratch], ROOT)
        [wheel] = scratch.glob("*.whl")
        python = environment((asked.env or scratch / "env").resolve(), wheel)
        for newest in (False, True):
            if newest:
                newest_numpy(python, wheel)
            versions = done([python, "-c", NAMES, "torch", "triton", "numpy"], scratch)
            print(f"{versions.strip()}, {time.perf_counter() - start:.0f} s after the start", flush=True)
            passed &= run_all(python, notebooks, asked.workers)
    print(f"{'all passed' if passed else 'FAILED'}, {time.perf_counter() - start:.0f} s", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
