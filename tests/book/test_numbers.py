"""Numbers about the recorded runs on the first pages are those in results/; so is the picture."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"

TASK = {"numbers": [3], "high": 9, "target_high": 9, "ops": "+-"}

spec = importlib.util.spec_from_file_location("reason_summary", ROOT / "tools" / "experiments" / "reason_summary.py")
summary = importlib.util.module_from_spec(spec)
spec.loader.exec_module(summary)


def stage(folder, name, accuracy, steps=0):
    """An evaluated stage in a run folder."""
    folder = folder / name
    folder.mkdir(parents=True)
    row = {"stage": name, "problems": 512, "accuracy": accuracy, "low": accuracy - 0.03, "high": accuracy + 0.03,
           "well_formed": 1.0, "thought": 40.0, "one_language": 1.0, "seconds": 50.0, "flops": 1e12}  # fmt: skip
    replies = [{"prompt": "2 3 5=", "reply": "2+3=5", "score": 1.0}]
    (folder / "evaluation.json").write_text(json.dumps({"asked": {"task": TASK}, "row": row, "replies": replies}))
    (folder / "config.json").write_text(json.dumps({"minidsk": {"settings": {}}}))
    lines = [{"step": k + 1, "accuracy": accuracy * (k + 1) / steps, "length": 30 + k} for k in range(steps)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def recorded(tmp_path):
    """Two seeds of one preset, with accuracies that are easy to check by hand."""
    for seed, (base, zero) in enumerate([(0.20, 0.80), (0.22, 0.90)]):
        stage(tmp_path / "reason_nano" / f"seed{seed}", "base", base)
        stage(tmp_path / "reason_nano" / f"seed{seed}", "zero", zero, steps=5)
    (tmp_path / "reason_nano" / "run.json").write_text(json.dumps({"machine": {"cores": 2, "gpus": []}}))
    return tmp_path


def test_the_sentence_says_what_was_measured(recorded):
    said = summary.sentence(summary.read(recorded), recorded, "nano")
    # Means 0.21 and 0.85; Student's t for two values is 12.706, so 0.21 ± 12.706 * 0.01.
    assert "On 2 CPU cores" in said
    assert "from 21.0% (8.3% to 33.7%) to 85.0% (21.5% to 100.0%) of 512 held-out problems" in said
    assert "a gain of 64 points, 100 s after the start from random weights" in said
    assert "the base solves 17%" in said  # what R1-Zero's first step samples: the mean of 0.80 / 5 and 0.90 / 5


def test_one_seed_has_the_interval_of_its_problems(recorded):
    [seed] = summary.read(recorded)["nano"][:1]
    assert summary.accuracy([seed["zero"]]) == "80.0% (77.0% to 83.0%)"


def test_the_same_results_give_the_same_bytes_and_others_do_not(recorded):
    runs = summary.read(recorded)
    picture, text = summary.draw(runs), summary.block(runs, recorded, "x.svg")
    assert summary.draw(summary.read(recorded)) == picture
    path = recorded / "reason_nano" / "seed1" / "zero" / "metrics.jsonl"
    path.write_text(path.read_text().replace('"length": 30', '"length": 31'))
    assert summary.draw(summary.read(recorded)) != picture
    path = recorded / "reason_nano" / "seed1" / "zero" / "evaluation.json"
    path.write_text(path.read_text().replace("0.9,", "0.89,"))
    assert summary.block(summary.read(recorded), recorded, "x.svg") != text


def test_a_page_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="one"):
        summary.replace("a page", "numbers")


@pytest.mark.parametrize("path", summary.PAGES, ids=str)
def test_the_page_quotes_the_results(path):
    page = (ROOT / path).read_text(encoding="utf-8")
    assert page == summary.replace(page, summary.block(summary.read(RESULTS), RESULTS, summary.PAGES[path]))
    [picture] = re.findall(r"\S+\.svg", summary.PAGES[path])
    assert (ROOT / path.parent / picture.rpartition("(")[2]).exists()


def test_the_picture_was_drawn_from_the_results():
    picture = (ROOT / summary.PICTURE).read_text(encoding="utf-8")
    assert summary.digest(summary.read(RESULTS)) in picture


def test_the_picture_is_dark_where_the_reader_is(browser):
    """As GitHub shows it: an image, which only knows what the system prefers."""
    seen = {}
    for scheme, paper in (("light", "#fff"), ("dark", "#0d1117")):
        page = browser.new_page(color_scheme=scheme, viewport={"width": 390, "height": 600})
        page.set_content(f"<body style='background: {paper}'></body>")
        picture = (ROOT / summary.PICTURE).read_text(encoding="utf-8")
        size = page.evaluate(
            """async text => { const image = new Image();
            image.src = URL.createObjectURL(new Blob([text], {type: "image/svg+xml"}));
            await image.decode(); document.body.append(image); return [image.width, image.height]; }""",
            picture,
        )
        assert size == [422, 461]
        seen[scheme] = page.locator("img").screenshot()
        page.set_content(f"<body style='background: {paper}'>{picture}</body>")
        colour = page.locator("svg text").first.evaluate("text => getComputedStyle(text).fill")
        assert (sum(map(int, re.findall(r"\d+", colour)[:3])) > 384) == (scheme == "dark")
        page.close()
    assert seen["light"] != seen["dark"]


def test_the_summary_of_the_capstone_quotes_the_results():
    text = (ROOT / "notebooks" / "22_capstone.py").read_text(encoding="utf-8").partition("# ## Summary")[2]
    seeds = summary.read(RESULTS)["small"]
    base, zero = summary.of(seeds, "base"), summary.of(seeds, "zero")
    for stages in (base, zero):
        assert summary.accuracy(stages).split()[0] in text
    assert f"{summary.seconds(seeds, ('base', 'zero')):.0f} seconds" in text
    assert f"{summary.average(zero, 'seconds'):.0f} seconds and" in text
    sampled = sum(stage.metrics[0]["accuracy"] for stage in zero) / len(zero)
    assert f"{100 * sampled:.0f} % when it is sampled" in text
    for preset in ("small", "nano"):
        seeds = summary.read(RESULTS)[preset]
        gains = [100 * (seed["zero"].row["accuracy"] - seed["base"].row["accuracy"]) for seed in seeds]
        assert f"{min(gains):.0f} to {max(gains):.0f}" in text


def test_the_readme_quotes_the_capstone_and_the_other_protocol():
    said = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    first, second = ([json.loads((RESULTS / f"reason_capstone/seed{seed}/{stage}/evaluation.json").read_text())["row"]
                      for seed in (0, 1, 2)] for stage in ("base", "zero"))  # fmt: skip
    begin, end = ("{:.1f}, {:.1f} and {:.1f}".format(*(100 * row["accuracy"] for row in rows))
                  for rows in (first, second))  # fmt: skip
    assert f"from {begin} % to {end} % of {first[0]['problems']:,} held-out problems" in said
    slow, fast = (json.loads((RESULTS / f"reason_capstone/seed{seed}/run.json").read_text()) for seed in (0, 2))
    assert f"takes {slow['seconds']:.0f} s in all, and the third, with faster code, {fast['seconds']:.0f} s" in said
    found = {kind: json.loads((RESULTS / f"reason_sos/seed0/{kind}.json").read_text()) for kind in ("seen", "unseen")}
    shares = [f"{100 * found[kind]['accuracy']['value']:.1f} % of {found[kind]['problems']:,} with" for kind in found]
    assert f"solves {shares[0]} targets that it has seen and {shares[1]} others" in said
    minutes = json.loads((RESULTS / "reason_sos/seed0/run.json").read_text())["seconds"] / 60
    assert f"after {minutes:.0f} minutes and on one seed" in said


def test_the_readme_quotes_the_bench_of_the_model():
    said = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    cases = json.loads((RESULTS / "bench_model/metrics.json").read_text())["cases"]
    ratios = {(case["bench"], case["value"]): case["ratio"] for case in cases if case["axis"] == "batch"}
    written = [f"{ratios['generation', rows]:.0f}" for rows in (1, 64, 1024, 2048)]
    assert f"writes 1, 64, 1,024 and 2,048 texts {', '.join(written[:3])} and {written[3]} times as fast" in said
    assert f"64 rows of 512 tokens is {ratios['training', 64]:.1f} times as fast" in said
    (step,) = (case["contestants"] for case in cases if case["bench"] == "step")
    ours, theirs = (step[name]["median"] for name in ("ours", "TRL"))
    assert f"with 2,048 rollouts takes {ours:.2f} s there where TRL's takes {theirs:.2f} s" in said
