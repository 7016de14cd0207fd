"""The API: every room and every name of the contract is there, with its source and the chapters that use it."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import api  # noqa: E402
import chapters_of_names  # noqa: E402

API = ROOT / "book" / "api"
CONTRACT = (
    "minidsk.model.config.ModelConfig", "minidsk.model.transformer.MiniDeepSeek", "minidsk.hub.zoo.load",
    "minidsk.hub.hf.load_pretrained", "minidsk.hub.hf.save_pretrained", "minidsk.model.moe.Router",
    "minidsk.model.moe.update_bias", "minidsk.model.moe.sequence_balance_loss",
    "minidsk.model.attention.MultiHeadLatentAttention", "minidsk.rl.policy.load_policy", "minidsk.rl.policy.MiniPolicy",
    "minidsk.rl.hf_policy.HFPolicy", "minidsk.rl.loop.reinforce", "minidsk.tasks.base.make_task",
    "minidsk.train.loop.fit", "minidsk.rl.grpo.group_advantages", "minidsk.rl.grpo.policy_loss", "minidsk.rl.ppo.gae",
    "minidsk.data.tokenizer.BPETokenizer", "minidsk.kernels.fp8.quantize", "minidsk.tasks.countdown.Countdown",
    "minidsk.homework.check.check",
)  # fmt: skip


def entry(page, name):
    return page.locator(f"dl:has(> dt[id='{name}'])")


@pytest.mark.parametrize("name", CONTRACT)
def test_a_name_of_the_contract_has_its_entry(site, reader, name):
    room = name.split(".")[1]
    reader.goto(f"{site}/book/api/{room}.html#{name}")
    found = entry(reader, name)
    assert found.locator("dd").first.inner_text().strip()
    link = found.locator("> dt a:has(.viewcode-link)").first.get_attribute("href")
    path, first, last = re.fullmatch(r"https://github.com/minidsk/minidsk/blob/main/(.+)#L(\d+)-L(\d+)", link).groups()
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()[int(first) - 1 : int(last)]
    assert re.search(rf"^(@.*|(class|def) {name.split('.')[-1]}\b.*)$", lines[0])


def test_an_entry_leads_back_to_the_chapters_that_import_it(site, reader):
    name = "minidsk.rl.grpo.group_advantages"
    importing = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
                 if re.search(r"\bgroup_advantages\b", code(path)) and "minidsk.rl.grpo" in code(path)]  # fmt: skip
    assert len(importing) > 1
    reader.goto(f"{site}/book/api/rl.html")
    links = [link.get_attribute("href") for link in entry(reader, name).locator(".api-chapters a").all()]
    assert links == [f"../../notebooks/{stem}.html" for stem in importing]


def code(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_every_room_has_its_place_and_every_page_its_place_in_the_contents():
    rooms = {path.parent.name for path in (ROOT / "minidsk").glob("*/__init__.py")} - {"cli"}
    assert set(api.rooms(SimpleNamespace(srcdir=ROOT))) - {"."} == rooms
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert all(f"book/api/{path.stem}\n" in toc for path in API.glob("*.md"))


def test_every_public_name_is_on_a_page(site):
    html = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "_build/html/book/api").glob("*.html")}
    for page in API.glob("*.md"):
        for room in api.PLACE.findall(page.read_text(encoding="utf-8")):
            names = [name for module in api.modules(room) for name in api.public(module)]
            missing = [name for name in names if f'id="{name}"' not in html[page.stem] and documented(name)]
            assert missing == []


def documented(name):
    module, _, key = name.rpartition(".")
    return getattr(import_module(module), key).__doc__


@pytest.mark.parametrize(("source", "names"), [
    ("from minidsk import load", {"minidsk.hub.zoo.load"}),
    ("import minidsk\nminidsk.load('x').config", {"minidsk.hub.zoo.load"}),
    ("from minidsk.rl import grpo\ngrpo.policy_loss(1)", {"minidsk.rl.grpo", "minidsk.rl.grpo.policy_loss"}),
    ("import minidsk.rl.grpo as g\ng.LOSS_TYPES", {"minidsk.rl.grpo.LOSS_TYPES"}),
    ("from minidsk.homework import check as mine", {"minidsk.homework.check.check"}),
    ("import torch\ntorch.load('x')\nload = 1", set()),
])  # fmt: skip
def test_what_a_chapter_uses_is_read_off_its_imports(source, names):
    assert chapters_of_names.used(source) == names


def test_lines_of_ipython_are_no_python(tmp_path):
    path = tmp_path / "05_x.ipynb"
    path.write_text(json.dumps({"cells": [
        {"cell_type": "code", "source": ["%pip install x\n", "if a:\n", "    !ls\n", "from minidsk import load"]},
        {"cell_type": "markdown", "source": ["import minidsk.rl"]},
    ]}))  # fmt: skip
    assert chapters_of_names.used(chapters_of_names.code(path)) == {"minidsk.hub.zoo.load"}


KNOWN = api.Known({"minidsk.a.f": "minidsk.a.f", "Thing": "minidsk.b.Thing"}, {})


@pytest.mark.parametrize(("text", "given", "rest"), [
    ("f", set(), ":py:obj:`f <minidsk.a.f>`"),
    ("Thing", set(), ":py:obj:`Thing <minidsk.b.Thing>`"),
    ("f", {"f"}, "``f``"),
    ("g(x)", set(), "``g(x)``"),
])  # fmt: skip
def test_code_in_a_docstring_is_a_link_where_it_is_public(text, given, rest):
    assert api.reference(text, "minidsk.a", KNOWN, given) == rest


def test_lines_about_parameters_become_fields():
    lines = ["Do it.", "", "x: the one", "    and more", "y: the other", "Raises ValueError.", "", "z: not a parameter"]
    assert api.describe(lines, {"x", "y"}) == [
        "Do it.", "", "", ":param x: the one", "   and more", ":param y: the other", "", "Raises ValueError.", "",
        "z: not a parameter",
    ]  # fmt: skip


def test_bars_outside_of_code_stay_bars():
    assert api.plain("max(1, |x|) and ``a | b``") == "max(1, \\|x\\|) and ``a | b``"
