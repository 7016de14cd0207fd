"""Make, execute and check the notebooks of the book.

    python tools/notebooks.py new 07_triton_kernels     a chapter from tools/chapter_template.py
    python tools/notebooks.py execute [NAMES]           run the .py twin, write the .ipynb beside it
    python tools/notebooks.py text [NAMES]              take over the twin's new text; the same code keeps its outputs
    python tools/notebooks.py check [NAMES]             do the outputs come from one clean run of this code?

A chapter is a pair: `notebooks/NN_name.py` (jupytext's percent format) is the file that people edit,
`notebooks/NN_name.ipynb` is what `execute` writes. Nothing else writes a notebook: its stamp, a hash of the code and
of the outputs, is how `check` knows.
"""

from __future__ import annotations

import argparse
import configparser
import copy
import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tolerance import declared, snap_outputs

from minidsk.atomic import atomic

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
TEMPLATE = ROOT / "tools" / "chapter_template.py"
SANITIZERS = ROOT / "tests" / "nbval.cfg"
COLAB = "https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/{name}.ipynb"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
IGNORE = "nbval-ignore-output"  # nbval does not compare the outputs of this cell
CELL_SECONDS = 120


def new(name: str, folder: Path = NOTEBOOKS) -> Path:
    """Write `folder/NAME.py` from the template; refuses to overwrite."""
    if not re.fullmatch(r"\d\d[a-z]?_[a-z0-9_]+", name):
        raise SystemExit(f"{name}: a chapter is named like 07_triton_kernels, its second page like 07b_more_kernels")
    path = folder / f"{name}.py"
    if path.exists():
        raise SystemExit(f"{path} exists already; edit it, or delete it first")
    with atomic(path) as temporary:
        temporary.write_text(TEMPLATE.read_text(encoding="utf-8").replace("NN_name", name), encoding="utf-8")
    return path


def execute(name: str, folder: Path = NOTEBOOKS) -> str:
    """Run a twin from the top in a fresh kernel and write its notebook; returns "written" or "unchanged".

    A run whose code and outputs equal the notebook's, apart from what `tests/nbval.cfg` leaves out (times, memory),
    leaves the file as it is: executing twice changes no byte.
    """
    notebook = read_twin(folder / f"{name}.py")
    # The same settings as `make nbval`, because the number of threads moves the last digits.
    os.environ.update(OMP_NUM_THREADS="1", PYTHONHASHSEED="0")
    os.environ.pop("MPLBACKEND", None)  # notebooks draw inline
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise SystemExit(f"{name}: nothing written, a cell failed\n{error}") from None
    tidy(notebook)
    notebook.metadata["minidsk"] = {"code": code_hash(notebook), "outputs": output_hash(notebook)}
    path = folder / f"{name}.ipynb"
    if path.exists() and same_run(nbformat.read(path, as_version=4), notebook):
        return "unchanged"
    with atomic(path) as temporary:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return "written"


def take_text(name: str, folder: Path = NOTEBOOKS) -> str:
    """Write a twin's text into its notebook, whose outputs stay; returns "written", or "unchanged".

    Refuses where the code is not the code that was executed.
    """
    path, new = folder / f"{name}.ipynb", read_twin(folder / f"{name}.py")
    old = nbformat.read(path, as_version=4) if path.exists() else new
    if old is new or not old.metadata.get("minidsk", {}).get("code") == code_hash(old) == code_hash(new):
        raise SystemExit(f"{name}: its code was not executed; run `make notebooks NAMES={name}`")
    for cell, executed in zip(code_cells(new), code_cells(old), strict=True):
        cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
    new.metadata["minidsk"] = old.metadata["minidsk"]
    content = nbformat.writes(new) + "\n"
    if path.read_text(encoding="utf-8") == content:
        return "unchanged"
    with atomic(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return "written"


def read_twin(path: Path) -> nbformat.NotebookNode:
    """The notebook, without outputs, that a percent-format file describes; ids and metadata are deterministic."""
    if not path.exists():
        raise SystemExit(f"{path} does not exist; `python tools/notebooks.py new {path.stem}` starts it")
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index:03d}"
    notebook.metadata = nbformat.from_dict(
        {
            "jupytext": {"formats": "ipynb,py:percent"},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Drop what differs between two runs of the same code, and what a static page cannot use."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = nbformat.from_dict({"name": "python"})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output["data"].pop(WIDGET_VIEW, None)


def same_run(old: nbformat.NotebookNode, new: nbformat.NotebookNode) -> bool:
    """Whether two executed notebooks say the same: without measured times, memory and the drawings of plots, and within
    the tolerance that a cell declares."""
    intact = old.metadata.get("minidsk") == {"code": code_hash(old), "outputs": output_hash(old)}
    if not intact or old.metadata["jupytext"] != new.metadata["jupytext"] or len(old.cells) != len(new.cells):
        return False
    new = copy.deepcopy(new)
    for cell, recorded in zip(new.cells, old.cells, strict=True):
        tolerance = declared(cell.source)
        if tolerance is not None and cell.cell_type == "code":
            cell.outputs = snap_outputs(cell.outputs, recorded.get("outputs", []), tolerance)
    return comparable(old) == comparable(new)


def comparable(notebook: nbformat.NotebookNode) -> str:
    """The cells and outputs as one string, measured quantities replaced as nbval replaces them."""
    cells = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        outputs = [] if IGNORE in tags else json.loads(json.dumps(cell.get("outputs", [])))
        text = json.dumps(outputs, sort_keys=True, ensure_ascii=False)
        cells.append([cell.id, cell.cell_type, cell.source, cell.metadata, cell.get("execution_count"), sanitize(text)])
    return json.dumps(cells, sort_keys=True)


def sanitize(text: str) -> str:
    """Apply the replacements of tests/nbval.cfg."""
    config = configparser.RawConfigParser()
    config.read(SANITIZERS, encoding="utf-8")
    for section in config.sections():
        text = re.sub(config.get(section, "regex"), config.get(section, "replace"), text)
    return text


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def code_hash(notebook: nbformat.NotebookNode) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over the sources of the code cells."""
    return digest([cell.source for cell in code_cells(notebook)])


def output_hash(notebook: nbformat.NotebookNode) -> str:
    """The same over their outputs."""
    return digest([cell.outputs for cell in code_cells(notebook)])


def digest(value: Any) -> str:
    """Hash anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def check(name: str, folder: Path = NOTEBOOKS) -> list[str]:
    """What is wrong with a notebook, one line each; an empty list where its outputs come from one clean run."""
    path, twin = folder / f"{name}.ipynb", folder / f"{name}.py"
    if not twin.exists():
        return [f"{name}: its twin {name}.py is missing"]
    if not path.exists():
        return [f"{name}: never executed; run `make notebooks NAMES={name}`"]
    notebook = nbformat.read(path, as_version=4)
    cells, found = code_cells(notebook), []
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        found.append(f"{name}: execution counts are not 1 to {len(cells)}: not the output of one run from the top")
    for index, cell in enumerate(cells, start=1):
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                found.append(f"{name}: code cell {index} holds an error")
            if output.get("name") == "stderr":
                found.append(f"{name}: code cell {index} holds text on stderr; print to stdout, or fix the warning")
            if "image/png" in output.get("data", {}):
                found.append(f"{name}: code cell {index} holds a picture of a plot; end it with show(fig, ...)")
            if WIDGET_VIEW in output.get("data", {}):
                found.append(f"{name}: code cell {index} holds a widget without text/html, dead on a static page")
    stamp = notebook.metadata.get("minidsk", {})
    if stamp.get("code") != code_hash(notebook):
        found.append(f"{name}: the code is not the code that was executed; run `make notebooks NAMES={name}`")
    if stamp.get("outputs") != output_hash(notebook):
        found.append(f"{name}: the outputs are not the ones that were executed; run `make notebooks NAMES={name}`")
    if outline(notebook) != outline(read_twin(twin)):
        found.append(f"{name}: the .ipynb and its .py twin differ; run `make notebooks NAMES={name}`")
    ignored = sum(IGNORE in cell.metadata.get("tags", []) or "NBVAL_" in cell.source for cell in cells)
    if 10 * ignored >= max(len(cells), 1):
        found.append(f"{name}: {ignored} of {len(cells)} code cells are left out of the comparison; keep it under 1/10")
    for index, cell in enumerate(cells, start=1):
        try:
            declared(cell.source)
        except ValueError as error:
            found.append(f"{name}: code cell {index}: {error}")
    text = "\n".join(cell.source for cell in notebook.cells)
    if COLAB.format(name=name) not in text:
        found.append(f"{name}: no Colab badge that links to {COLAB.format(name=name)}")
    if not re.search(r"^\s*(?:from|import) minidsk\b", "\n".join(c.source for c in cells), re.MULTILINE):
        found.append(f"{name}: never imports minidsk")
    return found


def outline(notebook: nbformat.NotebookNode) -> list[tuple[str, str, tuple[str, ...]]]:
    """Type, source and tags of each cell: what the two files of a pair must share."""
    return [(cell.cell_type, cell.source, tuple(cell.metadata.get("tags", []))) for cell in notebook.cells]


def names(folder: Path = NOTEBOOKS) -> list[str]:
    """The chapters, in order: every NN_name or NNb_name that has a .py or an .ipynb."""
    return sorted({path.stem for path in folder.glob("[0-9][0-9]*_*") if path.suffix in {".py", ".ipynb"}})


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make, execute and check the notebooks of the book.")
    parser.add_argument("action", choices=["new", "execute", "text", "check"])
    parser.add_argument("names", nargs="*", help="chapters such as 03_mixture_of_experts; all of them by default")
    arguments = parser.parse_args()
    chapters = [Path(name).stem for name in arguments.names] or names()
    if arguments.action == "new":
        if not arguments.names:
            parser.error("new needs the name of the chapter")
        print("\n".join(str(new(name)) for name in arguments.names))
        return 0
    if arguments.action in ("execute", "text"):
        for name in chapters:
            start = time.perf_counter()
            outcome = execute(name) if arguments.action == "execute" else take_text(name)
            print(f"{name}: {outcome}, {time.perf_counter() - start:.0f} s", flush=True)
    found = [line for name in chapters for line in check(name)]
    print("\n".join(found) if found else f"{len(chapters)} notebooks checked: each the output of one clean run")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
