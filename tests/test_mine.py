"""`minidsk mine` as a user calls it: what it writes, how it goes on, and what it says of what is wrong."""

import json
import random

import pytest

from minidsk.cli.command import run
from minidsk.cli.mine import reviewer
from minidsk.data.crawl import Page, write_crawl
from minidsk.data.harvest import Harvest
from minidsk.hub.folder import about

MATHS = ["theorem", "proof", "lemma", "polynomial", "ring", "ideal", "kernel", "root", "degree", "equals"]
OTHER = ["server", "header", "file", "socket", "parse", "client", "buffer", "thread", "request", "reply"]


@pytest.fixture
def folder(tmp_path):
    """A crawl of a site with mathematics, one with both, and others; and a seed."""
    rng = random.Random(0)

    def page(url, kind, origin):
        text = "<p>" + "</p><p>".join(" ".join(rng.choices(kind, k=12)) for _ in range(6)) + "</p>"
        return Page(url, f"<html><body>{text}</body></html>".encode(), origin=origin)

    pages = [page(f"https://maths.example/a/{i}", MATHS, "mpmath") for i in range(20)]
    pages += [page(f"https://w{i % 6}.example/x/{i}", OTHER, "rich") for i in range(60)]
    write_crawl(tmp_path / "crawl.warc.gz", [Page(p.url, p.html) for p in pages])
    seed = [{"url": f"s{i}", "text": " ".join(rng.choices(MATHS, k=60))} for i in range(8)]
    (tmp_path / "seed.jsonl").write_text("".join(json.dumps(page) + "\n" for page in seed), encoding="utf-8")
    return tmp_path


def call(folder, *more):
    return run(["mine", "--input", str(folder / "crawl.warc.gz"), "--seed-pages", str(folder / "seed.jsonl"),
                "--output", str(folder / "corpus"), "--workers", "1", *more])  # fmt: skip


def harvest(folder):
    lines = (folder / "corpus" / "harvest.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_it_writes_the_harvest_and_a_summary(folder, capsys):
    assert call(folder) == 0
    found = harvest(folder)
    assert all(list(page) == ["url", "score", "round", "language", "text"] for page in found)
    assert len(found) >= 10
    assert all("maths.example" in page["url"] for page in found)
    assert "no reviewer: look at" in capsys.readouterr().out
    assert (folder / "corpus" / "review.txt").read_text() == "maths.example/a\n"
    page = (folder / "corpus" / "summary.html").read_text(encoding="utf-8")
    assert page.count("<tr>") >= 3
    assert "maths.example" in page
    assert set(Harvest.read(folder / "corpus").pieces) == {page["text"] for page in found}


def test_a_reviewer_completes_it_and_nothing_is_read_twice(folder, capsys, monkeypatch):
    assert call(folder) == 0
    first = {page["url"] for page in harvest(folder)}
    monkeypatch.setattr("minidsk.data.store.read_crawl", lambda *a: pytest.fail("read again"))
    (folder / "yes.txt").write_text("https://maths.example/a\n")
    assert call(folder, "--approved", str(folder / "yes.txt")) == 0
    again = {page["url"]: page["round"] for page in harvest(folder)}
    assert first < set(again)
    assert len(again) == 20
    assert max(again.values()) == 2


def test_the_same_call_writes_the_same_bytes(folder):
    assert call(folder) == 0
    before = (folder / "corpus" / "harvest.jsonl").read_bytes()
    assert call(folder) == 0
    assert (folder / "corpus" / "harvest.jsonl").read_bytes() == before


@pytest.mark.parametrize(("approved", "yes"), [
    (["h"], ["h", "h/a", "h/a/b", "h/ab"]), (["h/"], ["h"]), (["h/a"], ["h/a", "h/a/b"]), (["h/a/"], ["h/a", "h/a/b"]),
    (["other"], []), ([], []),
])  # fmt: skip
def test_what_a_reviewer_approves(approved, yes):
    review = reviewer(approved)
    assert [place for place in ("h", "h/a", "h/a/b", "h/ab", "hh") if review(place, None)] == yes


@pytest.mark.parametrize(("spoil", "more", "said"), [
    ("seed.jsonl", (), "seed.jsonl: no such file; give --seed-pages"),
    ("crawl.warc.gz", (), "crawl.warc.gz"),
    (None, ("--approved", "nowhere.txt"), "nowhere.txt: no such file; give --approved"),
    (None, ("--passing", "2"), "passing: 2.0 does not fit"),
    (None, ("--workers", "0"), "workers: 0 does not fit"),
    (None, ("--rounds", "many"), "--rounds"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(folder, capsys, spoil, more, said):
    if spoil:
        (folder / spoil).unlink()
    assert call(folder, *more) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("minidsk:")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not (folder / "corpus" / "harvest.jsonl").exists()


def test_pages_with_a_problem_of_the_evaluation_are_left_out(folder, capsys):
    assert call(folder) == 0
    page = harvest(folder)[0]
    (folder / "problems.txt").write_text(" ".join(page["text"].split()[2:16]) + "\n")
    assert call(folder, "--problems", str(folder / "problems.txt")) == 2
    assert "holds documents of another set of problems" in capsys.readouterr().err
    assert call(folder, "--problems", str(folder / "problems.txt"), "--output", str(folder / "clean")) == 0
    assert "1 evaluation problem" in capsys.readouterr().out
    lines = (folder / "clean" / "harvest.jsonl").read_text(encoding="utf-8").splitlines()
    assert page["url"] not in {json.loads(line)["url"] for line in lines}


def test_another_crawl_needs_another_folder(folder, capsys):
    assert call(folder) == 0
    (folder / "seed.jsonl").write_text('{"url": "u", "text": "theorem"}\n' * 3)
    assert call(folder) == 2
    assert "holds documents of another seed; give another --output" in capsys.readouterr().err


def test_a_file_that_is_no_crawl_gives_no_page(folder, capsys):
    (folder / "crawl.warc.gz").write_bytes(b"nothing" * 100)
    assert call(folder) == 2
    assert "crawl.warc.gz" in capsys.readouterr().err.splitlines()[-1]


# Pretraining on the harvest.


def pretrain(folder, *more):
    small = ["--pretrain.steps", "3", "--pretrain.batch", "2", "--pretrain.context", "40"]
    return run(["pretrain", "--preset", "nano", "--device", "cpu", *small, "--out", str(folder / "base"), *more])


def test_a_model_reads_the_harvest_and_no_other(folder, capsys):
    assert call(folder) == 0
    given = ("--harvest", str(folder / "corpus"))
    assert pretrain(folder, *given) == 0
    assert "next: minidsk sample" in capsys.readouterr().out
    known = about(folder / "base")["given"]["data"]
    assert known == Harvest.read(folder / "corpus", piece=about(folder / "base")["settings"]["context"]).fingerprint
    with (folder / "corpus" / "harvest.jsonl").open("a") as file:
        file.write('{"url": "u", "text": "one more"}\n')
    for more in (given, ()):
        before = (folder / "base" / "config.json").read_bytes()
        assert pretrain(folder, *more) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert f"base: holds another run (given.data is '{known}', not '" in said
        assert (folder / "base" / "config.json").read_bytes() == before


def test_no_harvest_there_is_said_in_a_line(folder, capsys):
    assert pretrain(folder, "--harvest", str(folder / "nowhere")) == 2
    assert "nowhere: no such file; give the folder that minidsk mine wrote" in capsys.readouterr().err
    assert not (folder / "base").exists()


def test_a_page_of_the_harvest_cannot_end_itself(folder, monkeypatch):
    (folder / "harvest.jsonl").write_text('{"url": "u", "text": "x<eos><bos>y"}\n', encoding="utf-8")
    given = []
    monkeypatch.setattr("minidsk.cli.learn.pretrain", lambda config, out, data, device: given.append(data))
    assert pretrain(folder, "--harvest", str(folder / "harvest.jsonl")) == 0
    row = given[0][0][0].tolist()
    tokenizer = given[0].tokenizer
    assert tokenizer.decode(row).startswith("<bos>x<eos><bos>y<eos><bos>x")
    assert row.count(tokenizer.eos_id) == 2  # a page is 14 tokens, a row 41
