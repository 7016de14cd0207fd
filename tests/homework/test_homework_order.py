"""Notebooks in the wrong order, and on a torch that is too old: a sentence says so."""

import nbformat
import pytest
from nbclient import NotebookClient

from minidsk import requirements


def test_a_name_of_an_earlier_cell_is_asked_for() -> None:
    cells = ["from minidsk.homework import check", "print(my_router)", "1 / 0", "def f():\n    x += 1\n\nf()"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, allow_errors=True).execute()
    missing, division, unbound = (cell.outputs for cell in notebook.cells[1:])
    assert sorted(output.output_type for output in missing) == ["error", "stream"]
    [said] = [output.text for output in missing if output.output_type == "stream"]
    assert said.startswith("There is no my_router yet. If a cell above makes it, run that one first")
    assert [output.ename for output in division] == ["ZeroDivisionError"]
    assert [output.ename for output in unbound] == ["UnboundLocalError"]


@pytest.mark.parametrize("version", ["2.4.1", "2.5.0+cu121", "1.13.0"])
def test_an_older_torch_is_named(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.metadata, "version", lambda name: version)
    with pytest.raises(ImportError) as error:
        requirements.check_torch()
    assert str(error.value) == f"minidsk needs torch 2.6 or newer, and this is {version}: pip install -U torch"


@pytest.mark.parametrize("version", ["2.6.0", "2.11.0a0+git1234", "3.0.1", "built by hand"])
def test_a_newer_torch_is_welcome(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.metadata, "version", lambda name: version)
    requirements.check_torch()
