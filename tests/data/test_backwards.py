"""Authors who work backwards: what they write is true, and leads to the answer."""

import dataclasses
import random
import re
import statistics
from collections import Counter

import pytest

from minidsk.data.backwards import SMALL, UNDONE, search
from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.pages import chains_page, notes_page
from minidsk.data.tokenizer import CharTokenizer
from minidsk.tasks.countdown import Countdown
from minidsk.tasks.draw import draw_uniform, kind_of, split_of
from minidsk.tasks.expression import evaluate

VERDICTS = (" no", " yes")
SIGNS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
         "~": lambda a, b: b - a, "|": lambda a, b: b / a}  # fmt: skip


def drawn(count, seed):
    return draw_uniform(random.Random(seed), (count,))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_without_slips_every_problem_is_solved(count):
    """With patience without end, whatever can be solved is found."""
    for seed in range(150):
        numbers, target = drawn(count, seed)
        said, answer = search(random.Random(seed), numbers, target, "+-*/", VERDICTS, 0.0, 0.0, 10**6)
        assert answer is not None, (numbers, target)
        problem = Countdown.pose(f"{' '.join(map(str, numbers))} = {target}")
        assert problem.score(f"<think>{said}</think><answer>{answer}</answer>") == 1
        assert said.count("!") == 1
        assert said.endswith(" yes")


@pytest.mark.parametrize("slips", [0.0, 0.5])
def test_every_sum_that_is_written_is_right(slips):
    for seed in range(60):
        numbers, target = drawn(4, seed)
        said, _ = search(random.Random(seed), numbers, target, "+-*/", VERDICTS, slips, slips)
        for line in said.splitlines():
            line, *claims = re.split(r"!|(?<= no)|(?<= yes)", line)
            for claim in claims:
                if "=" in claim:
                    chain = re.sub(" (no|yes)$", "", claim).split("=")
                    assert len({evaluate(part)[0] for part in chain}) == 1
                    assert claim.endswith(" yes") == (chain[-1] == str(target))
            if (pair := re.match(r"(\d+) (\d+):", line)) is not None:
                a, b = int(pair[1]), int(pair[2])
                assert all(SIGNS[op](a, b) == int(v) for op, v in re.findall(r"([-+*/])(\d+)", line[pair.end():]))
            elif (own := re.match(r"(\d+)([-+*/])(\d+)=(\d+):", line)) is not None:
                assert SIGNS[own[2]](int(own[1]), int(own[3])) == int(own[4])
                checked(line[own.end():], target, int(own[4]))
            elif (aside := re.match(r"(\d+)([-+*/~|])(\d+):", line)) is not None:
                assert SIGNS[aside[2]](target, int(aside[1])) == int(aside[3])


def checked(needs, target, part):
    assert all(SIGNS[op](target, part) == int(v) for op, v in re.findall(r"([-+*/~|])(\d+)", needs))


def test_slips_are_noticed_and_the_search_goes_on():
    wrong = right = 0
    for seed in range(300):
        numbers, target = drawn(4, seed)
        said, answer = search(random.Random(seed), numbers, target, "+-*/", VERDICTS, slips=0.3, haste=0.5)
        wrong += said.count(" no")
        right += answer is not None
    assert wrong > 20
    assert right > 260


def test_small_numbers_come_first():
    numbers, target = (97, 64, 31, 5), 83
    said, _ = search(random.Random(3), numbers, target, "+-*/", VERDICTS, 0.0, 0.0, 10**6)
    first = said.splitlines()[0]
    assert all(int(v) <= SMALL for v in re.findall(r"\d+", first))


def test_the_signs_differ():
    assert len(set(UNDONE.values())) == len(UNDONE)


WEB = TinyWebConfig(numbers=(3, 4), high=99, target_high=99, ops="+-*/", draw="uniform", backwards=0.5, worksheets=1.0)


def test_its_pages_hold_no_problem_that_is_held_out_and_no_unknown_letter():
    web, tokenizer = TinyWeb(WEB, seed=1), CharTokenizer()
    searched = 0
    for page in web.pages(0, 300):
        problem = Countdown.pose(page.partition("\n")[0])
        assert split_of(problem.numbers, problem.target) == "train"
        assert "<unk>" not in tokenizer.decode(tokenizer.encode(page))
        assert problem.answer(page.partition("\n")[2]) is not None
        searched += ":" in page
    assert 0.4 < searched / 300 < 0.6


def test_who_searches_is_right_and_who_guesses_seldom():
    shares = {}
    for backwards in (1.0, 1e-9):
        web = TinyWeb(dataclasses.replace(WEB, backwards=backwards), seed=2)
        pages = [page.partition("\n") for page in web.pages(0, 200)]
        shares[backwards] = statistics.mean(Countdown.pose(head).score(reply) for head, _, reply in pages)
    assert shares[1.0] > 0.97
    assert shares[1e-9] < 0.2


def test_pages_of_a_web_without_them_stay_what_they_were():
    """Fields that came later must not move the pages of recorded runs."""
    assert TinyWeb(TinyWebConfig(), 0).fingerprint == "ebfd58d898796511"
    assert TinyWeb(TinyWebConfig(chains=0.5), 0).fingerprint != "ebfd58d898796511"


def test_unseen_targets_never_stand_on_a_worksheet():
    web = TinyWeb(dataclasses.replace(WEB, targets="seen", backwards=0.2), seed=0)
    targets = {Countdown.pose(page.partition("\n")[0]).target for page in web.pages(0, 400)}
    assert {kind_of(target) for target in targets} == {"seen"}
    unseen = Countdown((4,), draw="uniform", target_high=100, targets="unseen", split="test")
    assert {kind_of(unseen[i].target) for i in range(30)} == {"unseen"}


@pytest.mark.parametrize("targets", ["any", "seen"])
def test_notes_find_nothing_and_are_right(targets):
    web = dataclasses.replace(WEB, worksheets=0.5, targets=targets)
    for seed in range(60):
        head, *lines = notes_page(random.Random(seed), web).splitlines()
        target, *numbers = map(int, re.findall(r"\d+", head))
        assert split_of(tuple(numbers), target) == "train"
        assert targets == "any" or kind_of(target) == "seen"
        made = {}
        for line in lines:
            aside, _, needs = line.partition(":")
            if " " in aside:
                made = set(re.findall(r"\d+", needs))
            else:
                assert needs == "" or not made & set(re.findall(r"\d+", needs)), line


def test_every_pair_has_its_turn():
    """Round after round, in one order, with the numbers above 200 announced."""
    numbers = (97, 64, 31, 5)
    said, _ = search(random.Random(3), numbers, 9973, "+-*/", VERDICTS, 0.0, 0.0, 3000)
    small, large, *_ = re.split(r"[<>]200\n", said)
    pairs = [re.findall(r"^(\d+ \d+):", part, re.MULTILINE) for part in (small, large)]
    assert pairs[0] == pairs[1]
    assert len(set(pairs[0])) == 6


@pytest.mark.parametrize("targets", ["any", "seen"])
def test_chains_are_true_step_by_step_and_answer_nothing_that_is_held_out(targets):
    web, ops = dataclasses.replace(WEB, targets=targets), Counter()
    for seed in range(100):
        for line in chains_page(random.Random(seed), web).splitlines():
            steps = line.split("=")
            value, numbers, _ = evaluate(steps[0])
            assert {evaluate(step)[0] for step in steps} == {value}
            assert [len(evaluate(step)[1]) for step in steps] == list(range(len(numbers), 0, -1))
            assert len(numbers) in web.numbers
            assert 1 <= value <= 99
            assert split_of(tuple(map(int, numbers)), int(value)) == "train"
            assert targets == "any" or kind_of(int(value)) == "seen"
            ops.update(re.findall(r"[-+*/]", steps[0]))
    assert min(ops[op] for op in "+-*/") > 0.05 * ops.total()


def test_a_web_has_chains_where_it_is_asked_to():
    chained = [dataclasses.replace(WEB, worksheets=0.0, chains=chains) for chains in (0.0, 0.4)]
    first = [[page.partition("\n")[0] for page in TinyWeb(web, 0).pages(0, 300)] for web in chained]
    without, found = (sum(bool(re.fullmatch(r"([^=]+=){2,3}\d+", line)) for line in lines) for lines in first)
    assert without == 0
    assert 90 < found < 150


FIVE = dataclasses.replace(WEB, numbers=(5,), target_high=100, length=1900)


def test_with_five_numbers_one_is_set_aside_and_answers_are_right():
    found = 0
    for seed in range(60):
        rng = random.Random(seed)
        numbers, target = draw_uniform(rng, (5,), 99, 100)
        said, answer = search(rng, numbers, target, "+-*/", VERDICTS, patience=1900)
        asides = [re.fullmatch(r"(\d+)([-+*/~|])(\d+);", line) for line in said.splitlines() if line.endswith(";")]
        undone = {"-": "+", "+": "-", "/": "*", "*": "/", "~": "~", "|": "|"}
        for aside in asides:
            number, sign, left = int(aside[1]), undone[aside[2]], int(aside[3])
            finish = {"~": f"{number}-{left}", "|": f"{number}/{left}"}.get(sign, f"{left}{sign}{number}")
            assert evaluate(finish)[0] == target
        lefts = [int(aside[3]) for aside in asides]
        assert lefts == sorted(lefts)  # the least that is left to be made comes first
        assert asides
        assert said.startswith(asides[0][0])
        if answer is not None:
            assert Countdown.pose(f"{' '.join(map(str, numbers))} = {target}").score(f"<answer>{answer}</answer>") == 1
            found += 1
    assert found > 25


def test_five_numbers_write_true_checks():
    """Each check equals itself at every step, also where it turns out wrong."""
    checks = 0
    for seed in range(40):
        rng = random.Random(seed)
        numbers, target = draw_uniform(rng, (5,), 99, 100)
        said, _ = search(rng, numbers, target, "+-*/", VERDICTS, slips=0.5, haste=1.0, patience=1900)
        for check in re.findall("!([^ ]+) (?:no|yes)", said):
            assert len({evaluate(step)[0] for step in check.split("=")}) == 1
            assert sorted(evaluate(check.split("=")[0])[1]) == sorted(map(str, numbers))
            checks += 1
    assert checks > 25


def test_a_pool_has_so_many_problems():
    """All worksheets, and notes, are on problems of the pool, which all seeds share."""
    web = dataclasses.replace(WEB, pool=30, backwards=0.5)
    found = [{page.partition("\n")[0] for page in
              TinyWeb(dataclasses.replace(web, worksheets=1.0, chinese=0.0, mixed=0.0), seed).pages(0, 300)}
             for seed in (0, 1)]  # fmt: skip
    assert found[0] == found[1]
    assert len(found[0]) == 30
    posed = {(problem.target, problem.numbers) for problem in map(Countdown.pose, found[0])}
    for seed in range(40):
        target, *numbers = map(int, re.findall(r"\d+", notes_page(random.Random(seed), web).splitlines()[0]))
        assert (target, tuple(numbers)) in posed
