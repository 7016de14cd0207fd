import dataclasses
import math
import random
import re

import pytest

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer
from minidsk.data.worksheet import all_ways, attempts
from minidsk.tasks.draw import split_of
from minidsk.tasks.expression import OPS, evaluate, write_chain

HARD = TinyWebConfig(numbers=(2, 3), high=20, target_high=None, ops=OPS, chinese=0.4, mixed=0.5)
BESIDE = TinyWebConfig(target_beside=True)
CONFIGS = pytest.mark.parametrize("config", [TinyWebConfig(), HARD, BESIDE], ids=["default", "hard", "beside"])
SHEET = re.compile(
    r"(?:Make (?P<t_en>\d+) from (?P<en>[\d ]+)\.|用 (?P<zh>[\d ]+) 得到 (?P<t_zh>\d+)。)\n"
    r"<think>(?P<thought>.*)</think><answer>(?P<answer>[^<]*)</answer>",
    re.DOTALL,
)
VERDICTS = {" no": ("en", False), " yes": ("en", True), " 不对": ("zh", False), " 对了": ("zh", True)}


def pages(config, count=800, seed=0):
    return TinyWeb(config, seed).pages(0, count)


def read(page):
    """A worksheet's language, numbers, target, attempts (chain, language of the verdict, verdict) and answer."""
    match = SHEET.fullmatch(page)
    if match is None:
        return None
    language = "en" if match["en"] else "zh"
    lines = []
    for line in match["thought"].split("\n"):
        [said] = [said for said in VERDICTS if line.endswith(said)]
        work, beside, wanted = line.removesuffix(said).partition("?")
        assert not beside or wanted == match[f"t_{language}"]
        lines.append((work.split("="), *VERDICTS[said]))
    numbers = tuple(int(n) for n in match[language].split())
    return language, numbers, int(match[f"t_{language}"]), lines, match["answer"]


def close(count, total, share):
    """Whether a count is within five standard deviations of its share."""
    return abs(count - total * share) <= 5 * math.sqrt(total * share * (1 - share)) + 1


@CONFIGS
def test_a_page_is_a_pure_function_of_its_number(config):
    web = TinyWeb(config, seed=3)
    first = web.pages(0, 50)
    assert [web[i] for i in reversed(range(50))][::-1] == first == TinyWeb(config, seed=3).pages(0, 50)
    assert len(set(first)) > 45
    assert first != TinyWeb(config, seed=4).pages(0, 50)
    assert first[1:] != TinyWeb(dataclasses.replace(config, mixed=0.01), seed=3).pages(0, 50)[1:]


@CONFIGS
def test_no_page_holds_a_problem_of_another_split(config):
    sheets = [sheet for sheet in map(read, pages(config, 1500)) if sheet]
    assert close(len(sheets), 1500, config.worksheets)
    assert {split_of(numbers, target) for _, numbers, target, _, _ in sheets} == {"train"}
    # What is no worksheet poses no problem at all.
    others = [page for page in pages(config, 1500) if not read(page)]
    assert not any("think>" in page or "Make" in page or "得到" in page for page in others)


@CONFIGS
def test_authors_compute_well_and_check_honestly(config):
    for _, numbers, target, lines, answer in filter(None, map(read, pages(config))):
        for chain, _, right in lines:
            value, literals, used = evaluate(chain[0])
            assert sorted(literals) == sorted(map(str, numbers))
            assert used <= set(config.ops)
            assert {evaluate(link)[0] for link in chain} == {value}
            assert chain[-1] == str(value)
            assert right == (value == target)
        assert [right for _, _, right in lines[:-1]] == [False] * (len(lines) - 1)  # who is right stops
        assert answer == lines[-1][0][0]
        if len(set(numbers)) == len(numbers):  # nothing is tried twice
            assert len({chain[0] for chain, _, _ in lines}) == len(lines)


def test_who_persists_is_right_in_the_end_and_who_guesses_seldom():
    always = dataclasses.replace(TinyWebConfig(), persistent=1.0, patience=1000, worksheets=1.0)
    sheets = [read(page) for page in pages(always, 300)]
    assert all(lines[-1][2] for _, _, _, lines, _ in sheets)
    never = dataclasses.replace(always, persistent=0.0, guesses=(1.0,))
    sheets = [read(page) for page in pages(never, 300)]
    assert all(len(lines) == 1 for _, _, _, lines, _ in sheets)
    assert 0.03 < sum(lines[-1][2] for _, _, _, lines, _ in sheets) / 300 < 0.5
    patient = [read(page) for page in pages(dataclasses.replace(always, patience=4), 300)]
    assert max(len(lines) for _, _, _, lines, _ in patient) == 4


def test_the_shares_are_as_configured():
    config = dataclasses.replace(TinyWebConfig(), persistent=0.0, guesses=(0.5, 0.0, 0.5), chinese=0.3, mixed=0.4)
    sheets = [sheet for sheet in map(read, pages(config, 1500)) if sheet]
    assert close(sum(language == "zh" for language, *_ in sheets), len(sheets), 0.3)
    # An author who mixes gives each verdict in either language; the first one is foreign in half of the cases.
    foreign = sum(lines[0][1] != language for language, _, _, lines, _ in sheets)
    assert close(foreign, len(sheets), 0.4 / 2)
    unsolved = [len(lines) for _, _, _, lines, _ in sheets if not lines[-1][2]]
    assert set(unsolved) == {1, 3}
    pure = [s for s in map(read, pages(dataclasses.replace(config, mixed=0.0, chinese=1.0), 500)) if s]
    assert {(language, said) for language, _, _, lines, _ in pure for _, said, _ in lines} == {("zh", "zh")}


@CONFIGS
def test_the_tokenizer_knows_every_character(config):
    tokenizer = CharTokenizer()
    unknown = tokenizer.special_id("<unk>")
    for page in pages(dataclasses.replace(config, chinese=0.5)):
        ids = tokenizer.encode(page)
        assert unknown not in ids
        assert tokenizer.decode(ids) == page


def test_sums_and_tables_are_right():
    for page in pages(dataclasses.replace(HARD, worksheets=0.0)):
        for line in page.splitlines():
            if re.fullmatch(r"[\d+\-*/=]+", line):
                assert len({evaluate(side)[0] for side in line.split("=")}) == 1


def test_marks_are_honest_and_stand_with_the_habit_that_they_teach():
    every = dataclasses.replace(BESIDE, worksheets=0.0)
    lists = [page for page in pages(every) if re.match(r"\d+\?\d+ ", page)]
    assert close(len(lists), 800, 0.25)
    for line in "\n".join(lists).splitlines():
        got, wanted, said = re.fullmatch(r"(\d+)\?(\d+)(.*)", line).groups()
        assert VERDICTS[said][1] == (got == wanted)
    assert not any("?" in page and "think" in page for page in pages(TinyWebConfig()))
    assert all("?" in page for page in pages(BESIDE) if "think" in page)


@pytest.mark.parametrize("ops", ["+-", OPS])
def test_all_ways_are_all_values_that_can_be_reached(ops):
    """Against a search that combines any two of the numbers in either order."""

    def reachable(values):
        if len(values) == 1:
            return set(values)
        found = set()
        for i, a in enumerate(values):
            for j, b in enumerate(values):
                rest = tuple(v for k, v in enumerate(values) if k not in (i, j))
                made = {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b and a % b == 0 else 0}
                for op in ops:
                    if i != j and made[op] > 0:
                        found |= reachable((*rest, made[op]))
        return found

    for numbers in [(3, 7, 2), (1, 1, 1), (12, 4, 4), (9, 2, 5, 3)]:
        ways = [write_chain(numbers, steps) for steps in all_ways(numbers, ops)]
        assert {int(chain[-1]) for chain in ways} == reachable(numbers)


def test_the_persistent_go_through_everything_once_around():
    config = dataclasses.replace(TinyWebConfig(), persistent=1.0, patience=1000)
    ways = list(all_ways((3, 7, 2), config.ops))
    begins = set()
    for seed in range(60):
        tried = list(attempts(random.Random(seed), (3, 7, 2), config))
        begin = ways.index(tried[0])
        begins.add(begin)
        assert tried == ways[begin:] + ways[:begin]
    assert len(begins) > len(ways) / 2


@pytest.mark.parametrize("changes", [
    {"worksheets": 1.1}, {"persistent": -0.1}, {"chinese": 2}, {"mixed": -1}, {"guesses": ()}, {"guesses": (0.0,)},
    {"guesses": (-1.0, 2.0)}, {"patience": 0},
])  # fmt: skip
def test_impossible_shares_are_named(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"^{name}: .* does not fit"):
        TinyWebConfig(**changes)
