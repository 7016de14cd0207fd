import json
import os
import shutil

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton: kernels run in its interpreter

import minidsk
from minidsk.cli.command import parse
from minidsk.model.config import ModelConfig
from minidsk.model.transformer import MiniDeepSeek
from minidsk.rl.recipe import reason

# `make unit` says which package it wants tested: the wheel's, not the checkout's.
assert os.environ.get("PACKAGE", os.path.dirname(minidsk.__file__)) == os.path.dirname(minidsk.__file__)

# Each run of the suite tries the same numbers: what is red is red for the next person too.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def seeded():
    """Draws without a generator of their own repeat as well."""
    torch.manual_seed(0)


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    # The list below an address bar, which nobody sees here, would be a process of its own in each window.
    "--disable-features=PaintHolding,HttpsUpgrades,WebUIOmniboxPopup,WebUIOmniboxFullPopup,WebUIOmniboxAimPopup",
]


@pytest.fixture(scope="session")
def browser():
    """A browser, for figures on pages and for the pages of the book; $CHROMIUM names another one."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path, "no browser: install Debian's chromium, or Google Chrome"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


# A recipe so small that all its stages take seconds: two numbers to add, and next to no model.
RL = "--STAGE.steps 6 --STAGE.prompts 4 --STAGE.group 4 --STAGE.max-new-tokens 24 --STAGE.save-every 2"
MICRO = f"""
--preset nano --device cpu --problems 16 --max-new-tokens 24 --cold-examples 4
--pretrain.model.hidden-size 24 --pretrain.model.num-hidden-layers 2 --pretrain.model.num-attention-heads 2
--pretrain.model.intermediate-size 32 --pretrain.model.moe-intermediate-size 16 --pretrain.model.n-routed-experts 2
--pretrain.model.num-experts-per-tok 1 --pretrain.web.numbers 2 --pretrain.web.high 4 --pretrain.web.target-high 8
--pretrain.web.ops + --pretrain.web.worksheets 1 --pretrain.web.chinese 0 --pretrain.web.mixed 0
--pretrain.web.guesses 1 --pretrain.web.no-target-beside
--pretrain.steps 70 --pretrain.batch 8 --pretrain.context 80 --pretrain.optim.lr 0.02
--pretrain.optim.warmup 5 --pretrain.optim.muon --pretrain.save-every 20
--cold.steps 6 --cold.batch 4 --cold.save-every 2
{RL.replace("STAGE", "zero")} {RL.replace("STAGE", "r1")}
""".split()


@pytest.fixture(scope="session")
def micro_flags():
    """The options of `minidsk reason` that make the micro recipe."""
    return list(MICRO)


@pytest.fixture(scope="session")
def micro():
    """The micro recipe."""
    return parse(["reason", *MICRO]).recipe


@pytest.fixture(scope="session")
def micro_run(micro, tmp_path_factory):
    """A folder with the finished run of the micro recipe, without interruption; to be read only."""
    folder = tmp_path_factory.mktemp("micro") / "run"
    reason(micro, folder, device="cpu", progress=False)
    return folder


@pytest.fixture(scope="session")
def figures():
    """Reads what must be equal between equal runs: metrics without times, replies, figures, weights."""

    def read(folder):
        found = {}
        for stage in sorted(path.parent for path in folder.glob("*/metrics.jsonl")):
            lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
            evaluation = json.loads((stage / "evaluation.json").read_text())
            evaluation.pop("sha256")  # a sum of the seconds too
            for entry in (*lines, evaluation["row"]):
                entry.pop("seconds")
                entry.pop("waited", None)
            found[stage.name] = (lines, evaluation, (stage / "model.safetensors").read_bytes())
        return found

    return read


@pytest.fixture
def clock(monkeypatch):
    """Time stands still; the fixture is called with the seconds by which it goes on."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


@pytest.fixture
def generator():
    """Seeded anew for each test."""
    return torch.Generator().manual_seed(0)


SMALL = ModelConfig(
    vocab_size=32, hidden_size=24, num_hidden_layers=3, num_attention_heads=2, kv_lora_rank=12, qk_nope_head_dim=6,
    qk_rope_head_dim=8, v_head_dim=10, intermediate_size=20, moe_intermediate_size=8, n_routed_experts=8,
    num_experts_per_tok=3, n_group=4, topk_group=2, routed_scaling_factor=1.5, initializer_range=0.3,
)  # fmt: skip


@pytest.fixture
def small() -> ModelConfig:
    return SMALL


@pytest.fixture
def make():
    """Makes a small float64 model with weights of some size and unequal balancing biases."""

    def model(seed: int = 0, **changes) -> MiniDeepSeek:
        generator = torch.Generator().manual_seed(seed)
        made = MiniDeepSeek(SMALL.replace(**changes), generator).double()
        for router in made.routers():
            router.e_score_correction_bias.normal_(0.0, 0.2, generator=generator)
        return made

    return model


@pytest.fixture
def ids() -> torch.Tensor:
    """int64 ``[3, 11]``."""
    return torch.randint(32, (3, 11), generator=torch.Generator().manual_seed(5))
