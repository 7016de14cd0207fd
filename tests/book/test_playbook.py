"""The playbook states what the records say, and a record that is missing fails the build with its name."""

import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median, stdev

import pytest
import yaml
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import findings  # noqa: E402
import playbook  # noqa: E402
from records import Records  # noqa: E402

TABLE = yaml.safe_load((ROOT / "book" / "_ext" / "claims.yml").read_text(encoding="utf-8"))
CLAIMS = {row["id"]: row for row in TABLE["claims"]}
MEASURED = [row["id"] for row in TABLE["claims"] if "finding" in row]
TOC = (ROOT / "_toc.yml").read_text(encoding="utf-8")
REPOSITORY = "https://github.com/a/b"
ENTRIES = {entry.id: entry for entry in playbook.read(ROOT, Records(ROOT), REPOSITORY)}


def load(name, file="metrics.json"):
    return json.loads((RESULTS / name / file).read_text(encoding="utf-8"))


def t95(values):
    """Mean and half width for three seeds, worked out here."""
    assert len(values) == 3
    return mean(values), 4.303 * stdev(values) / 3**0.5


def less(ours, others):
    middle, half = t95([a - b for a, b in zip(ours, others, strict=True)])
    return f"{100 * middle:+.1f} ± {100 * half:.1f} points"


def rows(name, stage, key):
    return [load(name, f"seed{k}/{stage}/evaluation.json")["row"][key] for k in range(3)]


def ppo(name, steps=slice(-3, None)):
    of = {row["seed"]: row["curves"]["right"][steps] for row in load(name)["rows"] if row["part"] == "ppo"}
    return [mean(of[seed]) for seed in range(3)]


def by(rows_, key, value, number):
    return [row[number] for row in sorted(rows_, key=lambda row: row["seed"]) if row[key] == value]


def expected(claim):
    """The figures of a claim, computed from its records in another way than the extension does."""
    presets = ("small", "nano")
    base, zero, r1 = ({p: rows(f"reason_{p}", s, "accuracy") for p in presets} for s in ("base", "zero", "r1"))
    if claim == "easier-than-thought":
        took = [a + b for a, b in zip(*(rows("reason_small", s, "seconds") for s in ("base", "zero")), strict=True)]
        gained = less(zero["small"], base["small"])
        return [gained, "{:.0f} ± {:.0f} s".format(*t95(took)), f"{mean(base['small']):.1%}"]
    if claim == "base-models-complete":
        printed = (ROOT / "notebooks" / "01_text_and_tokens.ipynb").read_text(encoding="utf-8")
        return [f"{int(n)} of 60" for n in re.findall(r"a bare number: +(\d+) of 60", printed)[:2]]
    if claim == "computed-scores":
        return [less(ppo("ch11_control"), ppo("ch11_feedback")), less(ppo("ch11_control"), ppo("ch11_price"))]
    if claim == "feedback-costs":
        models = [r for r in load("ch11_feedback")["rows"] if r["part"] == "reward_model" and r["rankings"] == 240]
        return [less(ppo("ch11_feedback"), ppo("ch11_feedback", slice(3))),
                "{:,.0f} ± {:.0f} comparisons".format(*t95([m["comparisons"] for m in models]))]  # fmt: skip
    if claim == "nudged-bit-by-bit":
        games = [run["curve"] for run in load("ch10_selfplay")["runs"] if run["method"] == "the recipe"]
        last = [max(i for i, point in enumerate(curve) if point[1]) for curve in games]
        clean = [curve[i + 1][0] for curve, i in zip(games, last, strict=True)]
        words = by(load("ch10_words")["runs"], "method", "the recipe", "held_out")
        return ["{:,.0f} ± {:,.0f} games".format(*t95(clean)), f"{mean(words):.1%}"]
    if claim == "zero-mixes-languages":
        greedy = [f"{mean(rows(f'reason_{p}', 'zero', 'one_language')):.1%}" for p in presets]
        mixed = {cell: of_grid(0.01, cell, lambda row: row["in_samples"]["both_languages"]) for cell in GRID}
        return [*greedy, more(*mixed.values())]
    if claim == "few-examples-first":
        curated = [more(*of_arms(web, "cold_right", "zero")) for web in (0.01, 0.2)]
        return [*(less(r1[p], zero[p]) for p in presets), *curated]
    if claim == "no-second-model":
        runs = load("ch12_ppo_h100")["rows"]
        ours, usual, whole = (by(runs, "method", name, "accuracy") for name in ("GRPO", "PPO", "PPO, lam 1"))
        flops = [by(runs, "method", name, "flops") for name in ("PPO", "GRPO")]
        pace = [f"{median(row['step_seconds']):.3f} s" for row in load("ch12_ppo_speed")["rows"]]
        times = "{:.1f} ± {:.1f} times".format(*t95([a / b for a, b in zip(*flops, strict=True)]))
        return [less(ours, usual), less(ours, whole), times, *pace]
    if claim == "similar-leaps":
        runs = {(r["arm"], r["round"], r["seed"]): r["right"] for r in load("ch17_evolution")["runs"]}
        share = {key: round(marks.count("1") / len(marks), 4) for key, marks in runs.items()}
        last = [share["tree", 3, seed] for seed in range(3)]
        search = [less(last, [share[arm, n, seed] for seed in range(3)]) for arm, n in (("tree", 0), ("root", 3))]
        pairs = ("half_few", "base"), ("zero", "half_few")
        order = [more(*of_arms(web, *pair)) for web in (0.01, 0.2) for pair in pairs]
        taught = {(r["arm"], r["part"], r["seed"]): r.get("accuracy") for r in load("ch16_distillation")["rows"]}
        small = {arm: [taught[arm, part, seed] for seed in range(5)]
                 for arm, part in (("student", 0.0), ("sft_right", 1.0), ("rl", 1.0))}  # fmt: skip
        return [*search, *order, *(more(small["sft_right"], small[arm]) for arm in ("student", "rl"))]
    if claim == "several-tokens":
        sums = {(d, how): by([r for r in load("ch04_mtp")["runs"] if r["equal"] == how], "depth", d, "sums")
                for d, how in ((0, "tokens"), (1, "tokens"), (1, "compute"))}  # fmt: skip
        return [less(sums[1, how], sums[0, "tokens"]) for how in ("tokens", "compute")]
    if claim == "mined-maths":
        found = [mean(r[key] for r in load("ch05_mining")["runs"] if r["method"] == "loop")
                 for key in ("recall", "precision")]  # fmt: skip
        models = load("ch05_pretraining")["runs"]
        bits = {(diet, kind): [m[f"bits_{kind}"] for m in models if m["diet"] == diet]
                for diet in ("harvest", "random pages") for kind in ("mathematics", "other")}  # fmt: skip
        kinds = ("mathematics", "other")
        apart = [abs(mean(bits["harvest", kind]) - mean(bits["random pages", kind])) for kind in kinds]
        return [*(f"{share:.1%}" for share in found), *(f"{bit:.2f} ± " for bit in apart)]
    if claim == "below-cuda":
        cases = {case["case"]: case["contestants"] for case in load("bench_kernels")["cases"]}
        silu = cases["silu, 32 times over"]
        return [f"{1e6 * silu['ours']['median']:,.0f} µs against {1e6 * silu['without PTX']['median']:,.0f} µs"]
    if claim == "whole-bill":
        records = [json.loads(path.read_text()) for path in RESULTS.rglob("run.json")]
        gpu = [record["seconds"] for record in records if record["machine"]["gpus"]]
        return [f"{len(gpu)} records", f"{sum(gpu) / 60:.0f} minutes"]
    if claim == "pretraining-is-the-work":
        flops = {p: zip(rows(f"reason_{p}", "base", "flops"), rows(f"reason_{p}", "zero", "flops"), strict=True)
                 for p in presets}  # fmt: skip
        return [f"{mean(b / (b + z) for b, z in pairs):.1%}" for pairs in flops.values()]
    assert claim == "strong-base"
    late = {r["seed"]: r["accuracy"] - r["before"]["accuracy"] for r in load("ch14_grid")["rows"]
            if r["cell"] == "step 1500"}  # fmt: skip
    webs = [more(*(of_grid(web, cell, lambda row: row["accuracy"]) for cell in GRID)) for web in (0, 0.2, 0.5)]
    return ["{:+.1f} ± {:.1f} points".format(*(100 * x for x in t95(list(late.values())))), *webs]


GRID = ("right", "base")
WEBS = "ch14_grid", "ch14_grid_corners", "ch14_grid_half"


def of_grid(web, cell, number):
    found = {row["seed"]: number(row) for name in WEBS for row in load(name)["rows"]
             if row["cell"] == cell and row["share"] == web}  # fmt: skip
    return [found[seed] for seed in range(5)]


def of_arms(web, *arms):
    """Arms of the stages of R1 on one web, five seeds each."""
    rows_ = [row for row in load("ch15_stages")["rows"] if row["share"] == web]
    return [by(rows_, "arm", arm, "accuracy") for arm in arms]


def more(ours, others):
    """As `less`, of five seeds."""
    by_seed = [a - b for a, b in zip(ours, others, strict=True)]
    return f"{100 * mean(by_seed):+.1f} ± {100 * 2.776 * stdev(by_seed) / 5**0.5:.1f} points"


def test_all_claims_of_the_story_are_there():
    assert len(CLAIMS) == 15
    assert len(CLAIMS) == len(TABLE["claims"])


@pytest.mark.parametrize("claim", MEASURED)
def test_a_figure_is_that_of_its_record(claim):
    figures = expected(claim)
    assert figures
    for figure in figures:
        assert figure in ENTRIES[claim].facts["Figure"], figure


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_has_a_source_and_a_chapter(claim):
    cited = re.findall(r"\{cite\}`([^`]*)`", CLAIMS[claim]["who"])
    known = re.findall(r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.MULTILINE)
    keys = [key for keys in cited for key in keys.split(",")]
    assert keys
    assert set(keys) <= set(known)
    where = ENTRIES[claim].facts["Where"]
    for stem in CLAIMS[claim]["chapters"]:
        linked = f"(/notebooks/{stem}.ipynb)" in where
        assert linked == (f"notebooks/{stem}\n" in TOC)
        assert linked or f"{TABLE['planned'][stem]} is not written yet" in where


def test_a_chapter_that_is_neither_written_nor_planned_is_refused():
    with pytest.raises(ExtensionError, match="chapter 99_none is neither"):
        playbook.chapter(ROOT, "99_none", TABLE["planned"])


def test_every_figure_names_its_records():
    for claim in MEASURED:
        assert f"{REPOSITORY}/tree/main/results/" in ENTRIES[claim].facts["Records"]
    assert "results/ch04_mtp]" in ENTRIES["several-tokens"].facts["Records"]


@pytest.mark.parametrize(("values", "verdict"), [
    ([0.9, 0.91, 0.92], findings.HELD), ([0.2, 0.9, 0.4], findings.NOT_HERE), ([0.1, 0.1, 0.1], findings.NOT_HERE),
])  # fmt: skip
def test_a_verdict_follows_the_interval(tmp_path, values, verdict):
    copy(tmp_path, ["reason_small"])
    for k, accuracy in enumerate(values):
        path = tmp_path / "results" / "reason_small" / f"seed{k}" / "zero" / "evaluation.json"
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        evaluation["row"]["accuracy"] = accuracy
        path.write_text(json.dumps(evaluation), encoding="utf-8")
    found = findings.gain_of_reward(Records(tmp_path))
    assert found.verdict == verdict
    assert f"{mean(values):.1%}" in found.figure


def test_an_outcome_that_nobody_wrote_about_fails_the_build(monkeypatch):
    monkeypatch.setattr(findings, "gain_of_reward", lambda records: findings.Finding(findings.NOT_HERE, "x"))
    with pytest.raises(ExtensionError, match="easier-than-thought comes out as 'not at this size'"):
        playbook.read(ROOT, Records(ROOT), REPOSITORY)


READ = ["reason_small", "reason_nano", *WEBS, "ch15_stages", "ch04_mtp", "ch10_selfplay", "ch10_words",
        "ch11_control", "ch11_feedback", "ch11_price", "ch12_ppo_h100", "ch12_ppo_speed", "ch16_distillation",
        "bench_kernels"]  # fmt: skip


def copy(folder, names):
    for name in names:
        (folder / "results").mkdir(exist_ok=True)
        shutil.copytree(RESULTS / name, folder / "results" / name)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The same records and notebooks as ours, to take some away."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(RESULTS, folder / "results")
    shutil.copy(ROOT / "_toc.yml", folder)
    (folder / "notebooks").symlink_to(ROOT / "notebooks")
    assert len(playbook.read(folder, Records(folder), REPOSITORY)) == 15
    return folder


@contextmanager
def without(checkout, record):
    """The checkout without a record, for a while."""
    (checkout / "results" / record).rename(checkout / "away")
    yield
    (checkout / "away").rename(checkout / "results" / record)


@pytest.mark.parametrize("record", READ)
def test_a_missing_record_is_named(checkout, record):
    expected = pytest.raises(ExtensionError, match=rf"results/{record}(/\S+)?: no such record")
    with without(checkout, record), expected:
        playbook.read(checkout, Records(checkout), REPOSITORY)


def test_a_damaged_record_and_a_line_that_is_not_printed_are_named(tmp_path):
    copy(tmp_path, ["ch04_mtp"])
    (tmp_path / "results" / "ch04_mtp" / "metrics.json").write_text("{")
    with pytest.raises(ExtensionError, match=r"results/ch04_mtp/metrics.json: not readable"):
        findings.further_heads(Records(tmp_path))
    with pytest.raises(ExtensionError, match=r"notebooks/01_x.ipynb prints nothing like"):
        Records(tmp_path).printed("01_x", "y")


def build(folder, page):
    (folder / "index.md").write_text(f"# Title\n\n{page}\n", encoding="utf-8")
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        "extensions = ['myst_parser', 'playbook', 'diagrams']\nhtml_theme = 'basic'\n"
        f"html_theme_options = {{'repository_url': {REPOSITORY!r}}}\nexclude_patterns = ['results', 'notebooks']\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(folder), str(folder / "out")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_missing_record_fails_the_build(checkout):
    with without(checkout, "ch04_mtp"):
        done = build(checkout, "```{playbook}\n```")
    assert done.returncode != 0
    assert "results/ch04_mtp: no such record" in done.stderr


def test_a_diagram_stands_on_its_page_and_an_unknown_one_fails_the_build(tmp_path):
    done = build(tmp_path, "```{diagram} mtp\n```")
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert '<figure class="mdsk-diagram">' in html, done.stderr
    assert "<figcaption>" in html
    done = build(tmp_path, "```{diagram} mpt\n```")
    assert done.returncode != 0
    assert "index, line 3: diagram: 'mpt' is not known" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_diagram_may_have_a_drawing_for_narrow_windows(tmp_path):
    done = build(tmp_path, "```{diagram} course\n:narrow: course_tall\n```")
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'<div class="(for-\w+)"><svg.*?viewBox="0 0 (\d+) ', html) == [
        ("for-wide", "684"), ("for-narrow", "354"),
    ], done.stderr  # fmt: skip
    assert html.count("<figcaption>") == 1
    assert "'x' is not known" in build(tmp_path, "```{diagram} course\n:narrow: x\n```").stderr


def test_a_drawing_takes_the_colours_of_its_page_and_a_missing_one_fails_the_build(tmp_path):
    (tmp_path / "a.svg").write_text('<svg aria-label="A &amp; B"><!-- x --><style>svg{--c0:red}</style><path/></svg>')
    done = build(tmp_path, "```{drawing} a.svg\nOne < two.\n```")
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert 'role="group" aria-label="A &amp; B"><svg aria-label="A &amp; B"><path/></svg></div>' in html
    assert "<figcaption>One &lt; two.</figcaption>" in html, done.stderr
    for spoilt in ("gone.svg", "mute.svg"):
        (tmp_path / "mute.svg").write_text("<svg></svg>")
        done = build(tmp_path, f"```{{drawing}} {spoilt}\n```")
        assert done.returncode != 0
        assert f"{spoilt} is missing, or has no aria-label" in done.stderr


@pytest.fixture
def page(site, browser):
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto(f"{site}/book/playbook.html")
    yield page
    page.close()


def test_the_page_shows_each_claim_with_its_verdict_and_leads_to_it(page):
    listed = page.locator("ul.verdicts li")
    assert listed.count() == len(ENTRIES)
    for entry, item in zip(ENTRIES.values(), listed.all(), strict=True):
        assert item.locator(".verdict").inner_text() == entry.verdict
        assert item.locator("a").inner_text() == entry.claim.replace("'", "’")
        section = page.locator(item.locator("a").get_attribute("href"))
        assert entry.claim.replace("'", "’") in section.locator("h2").inner_text()
        assert section.locator("dd .verdict").inner_text() == entry.verdict
        assert section.locator("dt").count() == len(entry.facts)
    for link in page.locator("dl.facts a[href$='.html']").all():
        assert page.request.get(page.evaluate("e => e.href", link.element_handle())).ok


def test_a_narrow_page_has_one_column(page):
    tops = page.locator("dl.facts").first.evaluate("e => [...e.children].map(c => c.getBoundingClientRect().left)")
    assert max(tops) - min(tops) < 2
