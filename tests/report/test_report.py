import json
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from minidsk.hub.folder import CheckpointError
from minidsk.report.curves import CURVES, draw, points
from minidsk.report.page import page, write_report
from minidsk.report.stages import COLUMNS, Stage, cells, headline, read_stages, showcase, table, telling
from minidsk.rl.recipe import evaluate_stage
from minidsk.train.checkpoint import RunError

EVIL = '</pre><script>alert("1")</script>&amp;'


def stage(name, scores, lengths=None, metrics=(), prompts=None):
    lengths = lengths or [5] * len(scores)
    row = {"stage": name, "accuracy": sum(scores) / len(scores), "low": 0.1, "high": 0.9, "problems": len(scores),
           "well_formed": 0.5, "one_language": 1.0, "thought": 12.4, "seconds": 3.2, "flops": 4.56e9}  # fmt: skip
    replies = [
        {"prompt": prompts[i] if prompts else f"problem {i}\n", "reply": f"{name}{'.' * n}", "score": s}
        for i, (s, n) in enumerate(zip(scores, lengths, strict=True))
    ]
    return Stage(name, row, replies, {"config": {"lr": 0.1}}, list(metrics))


def test_the_problem_shown_is_one_that_reward_solved_at_length():
    base = stage("base", [0, 1, 0, 0, 0])
    zero = stage("zero", [1, 1, 1, 0, 1], [5, 99, 7, 50, 7])
    assert telling([base, zero]) == [2]
    assert telling([base, zero], 3) == [2, 4, 0]
    assert telling([base, zero], 3, right=False) == [3]
    assert telling([base, stage("zero", [0] * 5)]) == [0]
    assert telling([base, stage("zero", [0] * 5)], right=False) == [0]


def test_a_problem_posed_twice_is_shown_once():
    prompts = ["a", "b", "a", "b"]
    base, zero = stage("base", [0] * 4, prompts=prompts), stage("zero", [1] * 4, [1, 2, 3, 4], prompts=prompts)
    assert len(telling([base, zero], 4)) == 2


def test_the_showcase_sets_before_beside_after():
    stages = [stage("base", [0]), stage("zero", [1]), stage("cold", [1]), stage("r1", [0])]
    assert showcase(stages).splitlines() == [
        "problem 0", "--- base (wrong)", "base.....", "--- R1-Zero (right)", "zero.....", "--- R1 (wrong)", "r1.....",
    ]  # fmt: skip


def test_the_table_lines_up():
    lines = table([stage("base", [0, 1]).row, stage("zero", [1, 1]).row]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert re.split(r"  +", lines[0]) == list(COLUMNS)
    assert re.split(r"  +", lines[1]) == cells(stage("base", [0, 1]).row)
    assert cells(stage("base", [0, 1]).row) == [
        "base", "50.0%", "10.0% to 90.0%", "2", "50.0%", "100.0%", "12 chars", "3", "4.6e+09",
    ]  # fmt: skip


def test_the_headline_has_both_ends_and_their_intervals():
    words = headline([stage("base", [0, 1]), stage("zero", [1, 1]), stage("r1", [1, 0])])
    assert "from 50.0% (10.0% to 90.0%) to 100.0% (10.0% to 90.0%) of 2 held-out problems" in words
    assert "R1 reached 50.0%" in words
    assert "base solves 50.0%" in headline([stage("base", [0, 1])])


class Tags(HTMLParser):
    """Which elements and addresses a page has, and whether all are closed."""

    def __init__(self):
        super().__init__()
        self.names, self.links, self.ids, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(text):
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    return tags


METRICS = [{"step": s, "accuracy": s / 9, "length": 30, "entropy": 0.3, "groups_with_signal": 0.5} for s in (1, 2, 3)]


def test_the_page_needs_nothing_beside_it_and_escapes_what_models_say():
    base = stage("base", [0, 0], metrics=[{"step": 10, "loss": 2.0}, {"step": 20, "loss": 1.0}])
    zero = stage("zero", [1, 0], metrics=METRICS)
    zero.replies[0]["reply"] = zero.replies[1]["prompt"] = base.replies[0]["prompt"] = EVIL
    base.settings["note"] = EVIL
    text = page(EVIL, [base, zero])
    tags = read(text)
    assert "script" not in tags.names
    assert text.count("&lt;script&gt;") >= 4
    assert tags.names.count("svg") == 5
    assert len(tags.ids) == len(set(tags.ids))
    assert all(link.startswith("#") for link in tags.links)
    assert {link[1:] for link in tags.links} | set(re.findall(r"url\(#([^)]+)\)", text)) <= set(tags.ids)
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)


def test_the_same_run_gives_the_same_page(micro_run):
    stages = read_stages(micro_run)
    assert page("x", stages) == page("x", read_stages(micro_run))


def test_curves_take_the_pages_colours_and_speak():
    zero, r1 = stage("zero", [1], metrics=METRICS), stage("r1", [1], metrics=METRICS[:1])
    for curve in CURVES[1:]:
        svg = draw(curve, [zero, r1])
        ET.fromstring(svg)
        assert "var(--zero)" in svg
        assert "currentColor" in svg
        assert "#01020" not in svg
        assert "#000000" not in svg
        assert re.search(rf'role="img" aria-label="{re.escape(curve.title)} \([a-z ]+\)\. R1-Zero: .* in 3 steps', svg)
    assert draw(CURVES[0], [zero, r1]) == ""


def test_steps_without_a_metric_are_left_out():
    metrics = [{"step": 1, "entropy": 0.5}, {"step": 2}, {"step": 3, "entropy": 0.25}]
    assert points(stage("zero", [1], metrics=metrics), "entropy") == ([1, 3], [0.5, 0.25])


def test_a_run_writes_its_report(micro_run, tmp_path):
    shutil.copytree(micro_run, tmp_path / "run")
    path = write_report(tmp_path / "run")
    assert path == tmp_path / "run" / "report.html"
    text = path.read_text(encoding="utf-8")
    assert read(text).names.count("details") == 4
    for name in ("base", "zero", "cold", "r1"):
        row = json.loads((micro_run / name / "evaluation.json").read_text())["row"]
        assert "".join(f"<td>{cell}</td>" for cell in cells(row)) in text


@pytest.mark.parametrize("spoil", [
    lambda text: "{", lambda text: "[]", lambda text: "{}", lambda text: text.replace('"accuracy"', '"acuracy"', 1),
    lambda text: text.replace('"score"', '"scoer"', 1), lambda text: re.sub(r'"low": [\d.]+', '"low": NaN', text),
    lambda text: text.replace('"reply": "', '"reply": 1, "x": "', 1), lambda text: text.replace('"base"', '"zero"'),
])  # fmt: skip
def test_a_damaged_evaluation_is_one_line(micro, micro_run, tmp_path, spoil):
    folder = shutil.copytree(micro_run, tmp_path / "run")
    path = folder / "base" / "evaluation.json"
    path.write_text(spoil(without_sums(path)))
    for use in (lambda: read_stages(folder), lambda: evaluate_stage("base", micro, folder, None)):
        with pytest.raises(ValueError, match=r"base/evaluation\.json.*; delete it, and the command") as caught:
            use()
        assert "\n" not in str(caught.value)


def without_sums(path):
    """What a file of JSON says, as text, without the sums that would tell of any change."""
    content = json.loads(path.read_text())
    for part in (content, content.get("minidsk", {})):
        for name in ("sha256", "files", "metrics.jsonl"):
            part.pop(name, None)
    return json.dumps(content, indent=1)


def test_what_else_is_damaged_is_named_or_left_out(micro_run, tmp_path):
    folder = shutil.copytree(micro_run, tmp_path / "run")
    for path in folder.glob("*/*.json"):
        path.write_text(without_sums(path))
    for line in ('{"step": 1, "accuracy": "x"}', '{"accuracy": 1}'):
        with (folder / "zero" / "metrics.jsonl").open("a") as file:
            file.write(line + "\n")
    evaluation = json.loads((folder / "r1" / "evaluation.json").read_text())
    evaluation["replies"] = evaluation["replies"][:1]  # r1 was evaluated on fewer problems than base and zero
    (folder / "r1" / "evaluation.json").write_text(json.dumps(evaluation))
    write_report(folder)
    showcase(read_stages(folder))
    (folder / "base" / "config.json").write_text('{"minidsk": {"settings": 5}}')
    with pytest.raises(CheckpointError, match=r"base/config\.json: damaged"):
        read_stages(folder)


def test_nothing_to_report_is_said(tmp_path):
    with pytest.raises(RunError, match="no evaluated stage there"):
        write_report(tmp_path)


def test_without_matplotlib_the_remedy_is_named_and_the_old_page_kept(micro_run, tmp_path, monkeypatch):
    shutil.copytree(micro_run, tmp_path / "run")
    (tmp_path / "run" / "report.html").write_text("before")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RunError, match="pip install matplotlib"):
        write_report(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").read_text() == "before"
