"""Countdown: solvable problems, splits that cannot overlap, and a verifier that cannot be crashed or fooled."""

import ast
import itertools
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minidsk
from minidsk.tasks.base import SPLITS
from minidsk.tasks.countdown import Countdown, CountdownProblem
from minidsk.tasks.draw import combine, draw_problem, draw_uniform, split_of
from minidsk.tasks.expression import OPS, evaluate, write_chain, write_expression
from minidsk.tasks.solver import solvable

PROBLEM = CountdownProblem("Make 20 from 3 7 2.\n", (3, 7, 2), 20, "(3+7)*2")
NANO = {"numbers": 3, "high": 12, "target_high": 20, "ops": "+-"}


def answer(expression):
    return f"<answer>{expression}</answer>"


def solve(numbers, target, ops=OPS):
    """Brute force with fractions: an expression that reaches the target, or None."""

    def search(parts):
        if len(parts) == 1:
            return parts[0][1] if parts[0][0] == target else None
        for i, j in itertools.permutations(range(len(parts)), 2):
            (a, left), (b, right) = parts[i], parts[j]
            rest = [part for k, part in enumerate(parts) if k not in (i, j)]
            for op in ops:
                if op == "/" and b == 0:
                    continue
                value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else a}[op]
                found = search([*rest, (value, f"({left}{op}{right})")])
                if found:
                    return found
        return None

    return search([(Fraction(n), str(n)) for n in numbers])


def python_value(expression):
    """The value by Python's own grammar and fractions; ZeroDivisionError as Python has it."""

    def walk(node):
        if isinstance(node, ast.Constant):
            return Fraction(node.value)
        left, right = walk(node.left), walk(node.right)
        kind = type(node.op)
        return (
            left + right if kind is ast.Add else left - right if kind is ast.Sub else left * right
            if kind is ast.Mult else left / right
        )  # fmt: skip

    return walk(ast.parse(expression, mode="eval").body)


# ---- the problems


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kwargs", [{}, NANO, {"numbers": (2, 5), "high": 20}], ids=["default", "nano", "two or five"])
def test_every_problem_is_what_it_says(kwargs, split):
    task = Countdown(**kwargs, split=split)
    counts = set()
    for i in range(150):
        problem = task[i]
        counts.add(len(problem.numbers))
        assert all(1 <= n <= task.high for n in problem.numbers)
        assert 1 <= problem.target <= task.target_high
        assert split_of(problem.numbers, problem.target) == split
        assert problem.score(answer(problem.solution)) == 1.0
        assert python_value(problem.solution) == problem.target
        numbers = " ".join(map(str, problem.numbers))
        assert problem.prompt == f"Make {problem.target} from {numbers}.\n"
    assert counts == set(task.numbers)


def test_the_solutions_use_every_operator_and_parentheses():
    text = "".join(Countdown()[i].solution for i in range(500))
    assert set("+-*/()") <= set(text)


def test_chinese_asks_the_same_problem():
    english, chinese = Countdown(seed=3)[8], Countdown(seed=3, language="zh")[8]
    assert (english.numbers, english.target) == (chinese.numbers, chinese.target)
    assert chinese.prompt == f"用 {' '.join(map(str, chinese.numbers))} 得到 {chinese.target}。\n"


@given(st.permutations([3, 7, 2, 9]), st.integers(1, 99))
def test_the_split_does_not_see_the_order(numbers, target):
    assert split_of(numbers, target) == split_of([2, 3, 7, 9], target)


def test_splits_do_not_overlap_whatever_the_seed():
    seen = {
        split: {
            (*sorted(p.numbers), -p.target)
            for seed in (0, 1)
            for p in map(Countdown(**NANO, split=split, seed=seed).__getitem__, range(400))
        }
        for split in SPLITS
    }
    assert all(len(problems) > 50 for problems in seen.values())
    for one, other in itertools.combinations(SPLITS, 2):
        assert not seen[one] & seen[other]


def test_splits_have_the_shares_that_they_should():
    rng = random.Random(0)
    found = [split_of([rng.randint(1, 99) for _ in range(3)], rng.randint(1, 99)) for _ in range(4000)]
    assert 0.78 < found.count("train") / 4000 < 0.82
    assert 0.08 < found.count("valid") / 4000 < 0.12


def test_splits_stay_what_they_were():
    """Recorded: another hash would move problems that trained models have seen into the test split."""
    assert split_of((1, 2, 3), 17) == "train"
    assert split_of((1, 2, 7), 17) == "test"
    assert split_of((1, 3, 5), 17) == "valid"


def test_a_problem_is_the_same_in_another_process():
    code = (
        "from minidsk.tasks.countdown import Countdown;"
        "print([(p.prompt, p.solution) for s in ('train', 'test') for i in range(20) "
        "for p in [Countdown(split=s, seed=5)[i]]])"
    )
    here = [
        (p.prompt, p.solution) for s in ("train", "test") for i in range(20) for p in [Countdown(split=s, seed=5)[i]]
    ]
    root = os.path.dirname(os.path.dirname(minidsk.__file__))
    for hash_seed in ("0", "1234"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": root}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert ast.literal_eval(done.stdout) == here


def test_seeds_are_not_shifts_of_each_other():
    prompts = {seed: [Countdown(seed=seed)[i].prompt for i in range(60)] for seed in (42, 43)}
    assert len(set(prompts[42]) & set(prompts[43])) < 5


def test_the_generator_that_is_passed_in_decides():
    drawn = [draw_problem(random.Random(7)) for _ in range(2)]
    assert drawn[0] == drawn[1] != draw_problem(random.Random(8))


@given(st.integers(0, 2**32), st.lists(st.integers(1, 30), min_size=2, max_size=6))
def test_steps_write_the_value_that_they_make(seed, numbers):
    made = combine(random.Random(seed), numbers)
    assume(made is not None)
    value, steps = made
    chain = write_chain(numbers, steps)
    assert chain[0] == write_expression(numbers, steps)
    assert chain[-1] == str(value)
    assert len(chain) == len(numbers)
    for line in chain:
        assert evaluate(line)[0] == value > 0
    assert sorted(evaluate(chain[0])[1]) == sorted(map(str, numbers))


def test_parentheses_stand_only_where_they_are_needed():
    """Taking away any matching pair changes the value, whatever the numbers (here: large primes) are."""
    primes = (10007, 20011, 30011, 40009)
    needed = 0
    for i in range(200):
        stand_ins = iter(primes)
        solution = re.sub("[0-9]+", lambda _: str(next(stand_ins)), Countdown(numbers=4, high=20)[i].solution)  # noqa: B023
        opened = []
        for at, character in enumerate(solution):
            if character == "(":
                opened.append(at)
            elif character == ")":
                start = opened.pop()
                bare = solution[:start] + solution[start + 1 : at] + solution[at + 1 :]
                assert python_value(bare) != python_value(solution)
                needed += 1
    assert needed > 50


@pytest.mark.parametrize(
    ("kwargs", "field"),
    [
        ({"numbers": 1}, "numbers"),
        ({"numbers": ()}, "numbers"),
        ({"numbers": (3, 99)}, "numbers"),
        ({"numbers": "34"}, "numbers"),
        ({"high": 0}, "high"),
        ({"high": 2.5}, "high"),
        ({"target_high": 0}, "target_high"),
        ({"split": "dev"}, "split"),
        ({"seed": "a"}, "seed"),
        ({"ops": ""}, "ops"),
        ({"ops": "+^"}, "ops"),
        ({"ops": "++"}, "ops"),
        ({"language": "fr"}, "language"),
        ({"numbers": 10, "high": 99, "target_high": 1, "ops": "*"}, "target_high"),
        ({"numbers": (2, 10), "high": 3, "target_high": 6, "ops": "+"}, "target_high"),
        ({"numbers": 2, "high": 1, "target_high": 2, "ops": "+", "split": "nowhere"}, "split"),
    ],
)
def test_bad_settings_name_the_field(kwargs, field):
    with pytest.raises(ValueError, match=field) as caught:
        Countdown(**kwargs)
    assert "\n" not in str(caught.value)


def test_a_split_without_problems_says_so():
    owner = split_of((1, 1), 2)  # the only problem of these settings
    empty = next(split for split in SPLITS if split != owner)
    settings = {"numbers": 2, "high": 1, "target_high": 2, "ops": "+"}
    assert Countdown(**settings, split=owner)[5].numbers == (1, 1)
    with pytest.raises(ValueError, match=f"{empty} split"):
        Countdown(**settings, split=empty)


def test_negative_index():
    with pytest.raises(IndexError, match="-1"):
        Countdown()[-1]


# ---- the verifier


@pytest.mark.parametrize(
    "text",
    [
        "<answer>(3+7)*2</answer>",
        "<think>let me see</think> <answer>(3+7)*2</answer>",
        "<think>...</think>\n<answer> ( 3 + 7 ) * 2 </answer>",
        "3+7=10</think><answer>2*(7+3)</answer><eos>",
        "<think></think><answer>((3)+((7)))*2</answer> trailing words",
        "<answer>(3+7)\n*\t2</answer>",
    ],
)
def test_right_answers(text):
    assert PROBLEM.score(text) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(3+7)*2",
        "<answer></answer>",
        "<answer>(3+7)*2",
        "(3+7)*2</answer>",
        "</answer>(3+7)*2<answer>",
        "<answer>1</answer><answer>(3+7)*2</answer>",
        "<answer>(3+7)*2</answer><answer>(3+7)*2</answer>",
        "<answer><answer>(3+7)*2</answer></answer>",
        "<answer>(3+7)*2</answer></answer>",
        "<answer>(3+7)*2</answer><answer>",
        "<think><answer>7-3*2</think><answer>(3+7)*2</answer>",
        "<think><answer>(3+7)*2</answer></think>",
        "<think><answer>(3+7)*2</answer>",
        "<think>a</think><think><answer>(3+7)*2</answer>",
        *map(
            answer,
            [
                "(3+7)*2=20", "20", "3*7-2+1", "(3+7)*2+0", "(3+7)*2*1", "3+7*2", "(3+7)*02", "(3+7)*2.0", "(3+7)*2e0",
                "(3+7)×2", "(３+7)*2", "(3+7)*²", "(3+7)2", "(3+7)*2)", "((3+7)*2", "(3+7)**2", "20//1", "+(3+7)*2",
                "-(-3-7)*2", "(3+7)*int(2)", "__import__('os')", "(3+7)*2#", "(3+7)*2;", "(3 + 7)*2,", "3 7 2", "()",
                "(3+7)*2/(3-3)", "(3+7)*2\x00", "(3+7)\u00a0*2", "(3+7)*2 or 1", "3_7*2", "(7-3)*2", "<b>(3+7)*2</b>",
                " " * 200 + "(3+7)*2", "(" * 60 + "3+7" + ")" * 60 + "*2",
            ],
        ),
    ],
)  # fmt: skip
def test_wrong_answers(text):
    assert PROBLEM.score(text) == 0.0


def test_the_numbers_are_used_as_often_as_they_are_given():
    problem = CountdownProblem("", (4, 4, 2), 10, "4+4+2")
    assert problem.score(answer("4+4+2")) == 1.0
    assert problem.score(answer("4*2+2")) == 0.0
    assert problem.score(answer("4+4+4-2")) == 0.0


def test_fractions_on_the_way_are_exact():
    problem = CountdownProblem("", (8, 3, 8, 3), 24, "8/(3-8/3)")
    assert problem.score(answer("8/(3-8/3)")) == 1.0
    large = CountdownProblem("", (10**15, 3, 3), 10**15, "")  # in floating point 10**15 / 3 * 3 could be off
    assert large.score(answer(f"{10**15}/3*3")) == 1.0
    assert CountdownProblem("", (1, 3, 3, 10**15), 10**15, "").score(answer(f"{10**15}+1/3/3")) == 0.0


def test_values_on_the_way_may_be_negative():
    assert CountdownProblem("", (3, 7, 9), 5, "3-7+9").score(answer("3-7+9")) == 1.0


def test_only_the_operators_of_the_problem_count():
    problem = CountdownProblem("", (3, 7, 2), 20, "", ops="+-")
    assert problem.score(answer("(3+7)*2")) == 0.0


@pytest.mark.parametrize(
    ("text", "formed"),
    [
        ("<think>a</think><answer>b</answer>", True),
        ("a</think>\n<answer></answer><eos>", True),
        ("\n<think>\n</think> <answer>1+1</answer>\n", True),
        ("<answer>(3+7)*2</answer>", False),
        ("<think>a</think>so<answer>b</answer>", False),
        ("<think>a</think><answer>b</answer>.", False),
        ("<think>a</think><answer>b</answer><answer>b</answer>", False),
        ("<think>a</think><think>a</think><answer>b</answer>", False),
        ("<think><think>a</think><answer>b</answer>", False),
        ("<think>a</think><answer>b", False),
        ("", False),
    ],
)
def test_well_formed(text, formed):
    assert PROBLEM.well_formed(text) is formed


@pytest.mark.timeout(10)
@pytest.mark.parametrize("junk", ["<answer>", "<think>", "</think>", "<", " ", "\n", "(", "9", "<think></think>"])
def test_long_junk_is_judged_in_linear_time(junk):
    for text in (junk * 50_000, "<think>" + junk * 50_000, "</think><answer>1</answer>" + junk * 50_000 + "."):
        assert not PROBLEM.well_formed(text)
        assert PROBLEM.score(text) == PROBLEM.score(answer(text)) == 0.0


@pytest.mark.parametrize("reply", [None, 20, b"<answer>(3+7)*2</answer>", [1, 2]])
def test_a_reply_that_is_no_text(reply):
    with pytest.raises(TypeError, match="decode the tokens"):
        PROBLEM.score(reply)


PIECES = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "3",
    "7",
    "2",
    "+",
    "-",
    "*",
    "/",
    "(",
    ")",
    " ",
    "=",
    "é",
    "²",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_no_text_crashes_the_verifier(text):
    for reply in (text, answer(text)):
        assert PROBLEM.score(reply) in (0.0, 1.0)
        assert PROBLEM.well_formed(reply) in (True, False)
    try:
        evaluate(text)
    except ValueError as error:  # and nothing else
        message = str(error)
        assert len(message.splitlines()) == 1


@pytest.mark.parametrize("text", ["(" * 199, "(" * 100 + ")" * 100, "1+" * 99 + "1", "9" * 200, "9" * 5000])
def test_extreme_expressions_are_judged_at_once(text):
    assert PROBLEM.score(answer(text)) == 0.0


def expressions():
    """Expressions of up to about ten numbers, with random spaces and spare parentheses."""
    space = st.sampled_from(["", "", " ", "\n "])
    number = st.integers(0, 120).map(str)
    return st.recursive(
        number,
        lambda inner: st.one_of(
            st.tuples(inner, space, st.sampled_from(OPS), space, inner).map("".join),
            st.tuples(st.just("("), space, inner, space, st.just(")")).map("".join),
        ),
        max_leaves=10,
    )


@settings(max_examples=300)
@given(expressions())
def test_the_value_is_pythons(text):
    assume(len(text) <= 200)
    try:
        expected = python_value(text.replace("\n", " "))
    except ZeroDivisionError:
        with pytest.raises(ValueError, match="zero"):
            evaluate(text)
        return
    value, literals, ops = evaluate(text)
    assert value == expected
    assert literals == "".join(c if c.isdigit() else " " for c in text).split()
    assert ops == set(text) & set(OPS)


@given(st.integers(0, 10**6), st.data())
def test_a_solution_that_is_tampered_with_scores_nothing(i, data):
    problem = Countdown(numbers=(3, 4), high=20)[i]
    _, literals, _ = evaluate(problem.solution)
    assert problem.score(answer(problem.solution)) == 1.0
    victim = data.draw(st.integers(0, len(literals) - 1))
    other = data.draw(st.integers(1, 20).filter(lambda n: str(n) != literals[victim]))
    pieces = "".join(c if c.isdigit() else f" {c} " for c in problem.solution).split()
    places = [k for k, piece in enumerate(pieces) if piece.isdigit()]
    changed = pieces.copy()
    changed[places[victim]] = str(other)
    assert problem.score(answer("".join(changed))) == 0.0  # another number, be the value right or wrong
    assert problem.score(answer(f"{problem.solution}+{other}-{other}")) == 0.0  # right value, numbers reused
    assert problem.score(answer("+".join(literals[:-1]))) == 0.0  # one dropped
    assert problem.score(answer(str(problem.target))) == 0.0


@given(st.lists(st.integers(1, 12), min_size=3, max_size=3), st.integers(1, 20))
def test_the_verifier_agrees_with_brute_force(numbers, target):
    """What search finds scores 1, and where search finds nothing no random combination does."""
    problem = CountdownProblem("", tuple(numbers), target, "")
    found = solve(numbers, target)
    if found:
        assert problem.score(answer(found)) == 1.0
        return
    rng = random.Random(0)
    for _ in range(50):
        made = combine(rng, numbers)
        if made:
            assert problem.score(answer(write_expression(numbers, made[1]))) == 0.0


def test_a_uniform_draw_is_solvable_and_pure():
    task = Countdown((3, 4), draw="uniform", seed=3)
    for i in range(40):
        problem = task[i]
        assert 10 <= problem.target <= 99
        assert problem.score(f"<answer>{problem.solution}</answer>") == 1
    assert task[7] == Countdown((3, 4), draw="uniform", seed=3)[7]


def test_a_uniform_draw_keeps_each_solvable_pair_equally_often():
    """Of two numbers up to 12, all problems that can be solved are known; 6,000 draws spread evenly over them."""
    every = [((a, b), t) for a in range(1, 13) for b in range(1, 13) for t in range(10, 21) if solvable((a, b), t)]
    rng = random.Random(0)
    seen = Counter(draw_uniform(rng, (2,), 12, 20) for _ in range(6000))
    assert set(seen) <= set(every)
    expected = 6000 / len(every)
    chi = sum((seen[key] - expected) ** 2 / expected for key in every)
    assert chi < len(every) + 4 * math.sqrt(2 * len(every))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draw": "dice"}, "draw is 'dice': give one of combine, uniform"),
        ({"draw": "uniform", "targets": "all"}, "targets is 'all'"),
        ({"targets": "seen"}, "all but any need draw='uniform'"),
        ({"draw": "uniform", "high": 5}, "whose targets begin at 10: raise high"),
    ],
)
def test_a_draw_that_does_not_exist_is_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Countdown(**settings)
