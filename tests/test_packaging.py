"""The wheel and the sdist: what they hold, and that the wheel works in a clean environment (`make unit` tests it)."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[1]


def run(command, cwd, **environment):
    """Run to the end; a failure shows the last lines."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "COV"))} | environment
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist, and the wheel that was built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder], ROOT)
    return folder


@pytest.fixture(scope="module")
def clean(built, tmp_path_factory):
    """The Python of a fresh environment that holds the wheel, and of the other packages what this one has."""
    folder = tmp_path_factory.mktemp("clean") / "env"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    site = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
    [wheel] = built.glob("*.whl")
    run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], folder)
    # addsitedir would also follow the .pth of an editable install; a plain path does not.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_holds_the_package_and_nothing_else(built):
    [wheel] = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"minidsk", "minidsk-0.1.0.dist-info"}
    assert "minidsk/py.typed" in names
    assert "minidsk/_checkpoints/README.md" in names
    records = ROOT / "results"
    recorded = {f"minidsk/_results/{p.relative_to(records).as_posix()}" for p in records.rglob("*.json")}
    assert recorded <= set(names)
    assert any(name.startswith("minidsk/widgets/") and name.endswith(".js") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_every_file_of_the_package_is_in_the_wheel_as_it_is_here(built):
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for path in (ROOT / "minidsk").rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert archive.read(path.relative_to(ROOT).as_posix()) == path.read_bytes(), path


def test_the_sdist_holds_what_its_tests_need(built):
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = {"pyproject.toml", "requirements.txt", "tests/nbval.cfg", "tools/notebooks.py", "LICENSE", "_toc.yml"}
    assert wanted <= names
    assert not any(name.startswith((".venv", "runs", "_build", "book/_static/mathjax")) for name in names)


def test_the_package_comes_from_the_wheel(clean, tmp_path):
    where = run([clean, "-c", "import minidsk; print(minidsk.__file__)"], tmp_path).strip()
    assert Path(where).is_relative_to(clean.parent.parent)
    assert "usage" in run([clean.parent / "minidsk", "--help"], tmp_path).lower()


def test_a_notebook_runs_from_the_wheel_in_an_empty_folder(clean):
    spec = importlib.util.spec_from_file_location("minidsk_colab_tool", ROOT / "tools" / "colab.py")
    colab = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(colab)
    assert colab.run_all(clean, [ROOT / "notebooks" / "07_triton_kernels.ipynb"], workers=1)
    assert not colab.run_all(Path(sys.executable), [], workers=1)  # whose minidsk is the checkout's
