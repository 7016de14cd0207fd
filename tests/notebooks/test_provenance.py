"""The checker of notebooks must catch what it is for: edited outputs, cells that never ran, code that changed since."""

import importlib.util
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
spec = importlib.util.spec_from_file_location("minidsk_notebooks_tool", ROOT / "tools" / "notebooks.py")
tool = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = tool
spec.loader.exec_module(tool)

NAME = "99_probe"
TWIN = f"""# %% [markdown]
# # A probe
#
# [badge]({tool.COLAB.format(name=NAME)})

# %%
import sys
import time
if False:
    import minidsk

# %% tags=["naive"]
print(f"{{time.perf_counter():.6f}} s")

# %%
from IPython.display import HTML, display
display({{"text/html": "<b>figure</b>", "{tool.WIDGET_VIEW}": {{"model_id": "1"}}}}, raw=True)

# %%
21 * 2
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A folder with one chapter, executed."""
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / f"{NAME}.py").write_text(TWIN)
    assert tool.execute(NAME, folder) == "written"
    return folder


@pytest.fixture
def chapter(executed, tmp_path):
    """A copy to spoil: (folder, notebook, save)."""
    for suffix in (".py", ".ipynb"):
        (tmp_path / f"{NAME}{suffix}").write_bytes((executed / f"{NAME}{suffix}").read_bytes())
    notebook = nbformat.read(tmp_path / f"{NAME}.ipynb", as_version=4)

    def found() -> str:
        nbformat.write(notebook, tmp_path / f"{NAME}.ipynb")
        return "\n".join(tool.check(NAME, tmp_path))

    return tmp_path, notebook, found


def test_a_clean_run_passes(executed):
    assert tool.check(NAME, executed) == []


def test_the_dead_widget_view_is_dropped_beside_html(executed):
    notebook = nbformat.read(executed / f"{NAME}.ipynb", as_version=4)
    assert [output.data for output in notebook.cells[3].outputs] == [{"text/html": "<b>figure</b>"}]


def test_executing_twice_changes_no_byte(executed):
    path = executed / f"{NAME}.ipynb"
    before = path.read_bytes()
    assert tool.execute(NAME, executed) == "unchanged"
    assert path.read_bytes() == before


def test_new_words_keep_the_outputs(chapter):
    folder, notebook, _ = chapter
    twin = folder / f"{NAME}.py"
    assert tool.take_text(NAME, folder) == "unchanged"
    twin.write_text(twin.read_text().replace("# # A probe", "# # A probe, put in other words"))
    assert tool.check(NAME, folder) != []
    assert tool.take_text(NAME, folder) == "written"
    written = nbformat.read(folder / f"{NAME}.ipynb", as_version=4)
    assert written.cells[0].source.startswith("# A probe, put")
    assert [cell.get("outputs") for cell in written.cells] == [cell.get("outputs") for cell in notebook.cells]
    assert tool.check(NAME, folder) == []


def test_new_words_do_not_hide_new_code(chapter):
    folder, _, _ = chapter
    twin, before = folder / f"{NAME}.py", (folder / f"{NAME}.ipynb").read_bytes()
    twin.write_text(twin.read_text().replace("21 * 2", "21 * 3"))
    with pytest.raises(SystemExit, match="was not executed"):
        tool.take_text(NAME, folder)
    assert (folder / f"{NAME}.ipynb").read_bytes() == before


def test_a_spoilt_notebook_is_written_again(chapter):
    folder, notebook, found = chapter
    notebook.cells[-1].outputs[0].data["text/plain"] = "43"
    assert found()
    assert tool.execute(NAME, folder) == "written"
    assert tool.check(NAME, folder) == []


def test_an_edited_output_is_caught(chapter):
    _, notebook, found = chapter
    notebook.cells[-1].outputs[0].data["text/plain"] = "43"
    assert "outputs are not the ones" in found()


def test_an_unexecuted_cell_is_caught(chapter):
    _, notebook, found = chapter
    notebook.cells[2].execution_count = None
    assert "execution counts" in found()


def test_cells_run_out_of_order_are_caught(chapter):
    _, notebook, found = chapter
    notebook.cells[1].execution_count, notebook.cells[2].execution_count = 2, 1
    assert "execution counts" in found()


def test_changed_code_is_caught(chapter):
    _, notebook, found = chapter
    notebook.cells[-1].source = "20 * 2"
    assert "not the code that was executed" in found()


def test_a_changed_twin_is_caught(chapter):
    folder, _, found = chapter
    (folder / f"{NAME}.py").write_text(TWIN.replace("# # A probe", "# # Another probe"))
    assert "twin differ" in found()


def test_a_changed_tag_is_caught(chapter):
    folder, _, found = chapter
    (folder / f"{NAME}.py").write_text(TWIN.replace('tags=["naive"]', 'tags=["nbval-skip"]'))
    assert "twin differ" in found()


def test_stderr_and_errors_are_caught(chapter):
    _, notebook, found = chapter
    notebook.cells[1].outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="a warning"),
        nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[]),
    ]
    text = found()
    assert "stderr" in text
    assert "holds an error" in text


def test_too_many_ignored_cells_are_caught(chapter):
    _, notebook, found = chapter
    notebook.cells[1].metadata["tags"] = [tool.IGNORE]
    assert "left out of the comparison" in found()


def test_a_badge_to_another_chapter_is_caught(chapter):
    _, notebook, found = chapter
    notebook.cells[0].source = notebook.cells[0].source.replace(NAME, "98_other")
    assert "Colab badge" in found()


def test_a_chapter_without_the_package_is_caught(chapter):
    _, notebook, found = chapter
    notebook.cells[1].source = "import sys"
    assert "never imports minidsk" in found()


def test_a_failing_cell_leaves_the_earlier_notebook(chapter):
    folder, _, _ = chapter
    before = (folder / f"{NAME}.ipynb").read_bytes()
    (folder / f"{NAME}.py").write_text(TWIN + "\n# %%\n1 / 0\n")
    with pytest.raises(SystemExit, match="nothing written"):
        tool.execute(NAME, folder)
    assert (folder / f"{NAME}.ipynb").read_bytes() == before


def test_new_writes_a_chapter_and_does_not_overwrite(tmp_path):
    path = tool.new("42_answers", tmp_path)
    assert tool.COLAB.format(name="42_answers") in path.read_text()
    with pytest.raises(SystemExit, match="exists already"):
        tool.new("42_answers", tmp_path)
    with pytest.raises(SystemExit, match="like 07_triton_kernels"):
        tool.new("../answers", tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("took 3.2 s", "took 14.81 s", True),
        ("step   9 ms |", "step 112 ms |", True),
        ("peak 310 MiB", "peak 1,024.5 MiB", True),
        ("52,000 tok/s", "9.1e+04 tok/s", True),
        ("2.1x faster", "3x faster", True),
        ("accuracy 0.52", "accuracy 0.53", False),
        ("12 bytes", "13 bytes", False),
        ("3 steps", "4 steps", False),
        ("4 samples", "5 samples", False),
        ("3 minutes", "4 minutes", False),
    ],
)
def test_only_measured_quantities_are_left_out(before, after, same):
    assert (tool.sanitize(before) == tool.sanitize(after)) is same


def test_every_notebook_of_the_book_is_the_output_of_one_clean_run():
    assert [line for name in tool.names() for line in tool.check(name)] == []
