"""Figures: the same bytes every time, one sentence on bad input, nothing loaded before the first figure."""

import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch

from minidsk import widgets
from minidsk.homework.inference import steps
from minidsk.rl.grpo import group_advantages, policy_loss
from minidsk.rl.selfplay import at_random
from minidsk.tasks.board import Board
from minidsk.widgets import (
    Acceptance,
    Batching,
    BoardGame,
    Cache,
    Curve,
    Figure,
    Group,
    Harvest,
    Preferences,
    Rollouts,
    Roofline,
    Routing,
    Schedule,
    Tokens,
)
from minidsk.widgets.harvest import COUNTS

ROOT = Path(__file__).parents[2]


SOLUTION = Board().solve()


def perfect(position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A player that knows the solution of tic-tac-toe; what is best is equally likely."""
    rows = SOLUTION.going.long().cumsum(0)[SOLUTION.of(position)] - 1
    return (SOLUTION.by_move[rows] * 40.0).masked_fill(SOLUTION.by_move[rows] == -2, -torch.inf), torch.zeros(len(rows))


def figures() -> dict[str, Figure]:
    """One of each figure; the state holds what would break a page that is put together carelessly."""
    g = np.random.default_rng(0)
    x = np.arange(1, 9) * 100
    y = 5 * x**-0.2
    loads = {"none": g.random((10, 6)) ** 3, "bias": g.random((10, 6)) + 4}
    frames = [
        [{"text": ["3 ", "+ ", "4"], "reward": float(r), "shade": [0.1, -0.2, 0.3]} for r in (0, k / 2)]
        for k in (0, 1, 2)
    ]
    return {
        "Tokens": Tokens.from_merges("the cat 你好".encode(), [(b"t", b"h"), (b"th", b"e")]),
        "Cache": Cache(),
        "Routing": Routing(loads),
        "Acceptance": Acceptance(list("abcabc"), [[*list("bcabc"), None], [*list("cxbc"), None, None]]),
        "Batching": Batching([9, 2, 2, 2, 2], 2),
        "Schedule": Schedule(shape=2),
        "Curve": Curve(
            {"a": {"x": x, "y": y, "low": y - 0.1, "high": y + 0.1}, "b": {"x": x, "y": y * 2}}, ylabel="loss"
        ),
        "Roofline": Roofline(
            {"first": (1000, 100), "second": (2000, 50)},
            {"copy & <b>": {"bytes": 1e9, "flops": 1e9, "seconds": 2e-3}, "product": {"bytes": 1e6, "flops": 1e9}},
        ),
        "Group": Group([["2", "."], ["</script>", "."], ["2", "2", "."], ["1", "2", "1"]], [1, 0, 0, 0]),
        "Harvest": Harvest(
            ["a <b>", "all others"],
            [
                [dict(zip(COUNTS, counts, strict=True), marked=counts[0] > 1) for counts in frame]
                for frame in ([(3, 5, 1, 2), (0, 1, 0, 9)], [(8, 0, 1, 2), (1, 0, 1, 8)])
            ],
        ),
        "Preferences": Preferences(
            [
                {"prompt": "<b>1</b>", "left": "a</script>", "right": "bb", "facts": {"for the longer": 2}},
                {"prompt": "2", "left": "ccc", "right": "d", "facts": {"for the longer": 1, "right": 0}},
            ]
        ),
        "Rollouts": Rollouts("Reach <b>7</b>.</script>", [0, 10, 20], frames),
        "BoardGame": BoardGame.of(SOLUTION, {0: at_random(Board()), 100: perfect}),
    }


def test_every_figure_is_made_here() -> None:
    assert set(figures()) == set(widgets.__all__) - {"Figure"}


def test_the_bytes_are_the_same_in_every_process() -> None:
    code = "import test_widgets; print(''.join(f.html() for f in test_widgets.figures().values()))"
    pages = set()
    for seed in ("1", "2"):
        path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        pages.add(run.stdout)
    assert len(pages) == 1


@pytest.mark.parametrize("name", figures())
def test_the_page_is_self_contained(name: str) -> None:
    figure = figures()[name]
    page = figure.html()
    assert not re.search(r"(src|href)=|@import|url\(|fetch\(", page)
    assert set(re.findall(r"https?://[^\"'\s]+", page)) <= {"http://www.w3.org/2000/svg"}  # a name, not a request
    state = re.search(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert state
    assert json.loads(state[1]) == json.loads(json.dumps(figure.state()))
    assert page.count("</script>") == 2  # none that came with the data
    bundle, _ = figure._repr_mimebundle_()
    assert bundle["text/html"] == page
    assert figure.describe() in bundle["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


@pytest.mark.parametrize("name", figures())
def test_there_is_a_still_for_where_no_script_runs(name: str) -> None:
    figure = figures()[name]
    head, *rows = figure.still()
    assert rows
    assert {len(row) for row in rows} == {len(head)} != {1}
    cells = re.findall(r"<t[hd]>(.*?)</t[hd]>", figure.html().partition("<table>")[2], re.S)
    assert [unescape(cell) for cell in cells] == [cell for row in (head, *rows) for cell in row]


def test_a_curve_is_silent_outside_what_it_measured() -> None:
    figure = Curve({"a": {"x": [1, 5, 9], "y": [1, 2, 3]}, "b": {"x": [4, 7], "y": [7, 8]}, "c": {"x": [9], "y": [4]}})
    assert figure.still()[1:] == [["a", "1", "2", "3"], ["b", "-", "7 at 4", "-"], ["c", "-", "-", "4"]]
    assert figure.describe().endswith("a 1 to 3; b 7 to 8; c 4.")


def test_the_stills_of_texts_show_the_texts() -> None:
    tokens, acceptance, preferences = (figures()[n].still() for n in ("Tokens", "Acceptance", "Preferences"))
    assert tokens[1][:3] == ["0", "", "14"]
    assert tokens[2] == ["1", "t + h", "13", "th|e|·|c|a|t|·|⟨e4⟩|⟨bd⟩|⟨a0⟩|⟨e5⟩|⟨a5⟩|⟨bd⟩"]
    assert tokens[3] == ["2", "th + e", "12", "the|·|c|a|t|·|⟨e4⟩|⟨bd⟩|⟨a0⟩|⟨e5⟩|⟨a5⟩|⟨bd⟩"]
    assert acceptance[1] == ["the text", "abcabc", ""]
    assert acceptance[2:] == [["main head", "·bcabc", "100%"], ["depth 1", "··c[x]bc", "75%"]]
    assert preferences == [
        ["prompt", "left", "right", "for the longer", "right"],
        ["<b>1</b>", "a</script>", "bb", "right", "neither"],
        ["2", "ccc", "d", "left", "neither"],
    ]


def test_v3_keeps_35136_numbers() -> None:
    kept = Cache().elements()
    assert kept["MLA"] == 35_136
    assert kept == {"MHA": 61 * 2 * 128 * 128, "GQA": 61 * 2 * 8 * 128, "MQA": 61 * 2 * 128, "MLA": 61 * 576}


def test_tokens_follow_the_merges() -> None:
    figure = Tokens.from_merges("aaab", [("a", "a"), ("aa", "a")])
    assert figure.data["steps"] == [["a", "a", "a", "b"], ["aa", "a", "b"], ["aaa", "b"]]


def test_acceptance_counts() -> None:
    assert figures()["Acceptance"].rates() == [1.0, 0.75]  # type: ignore[attr-defined]


def test_a_batch_that_is_refilled_is_done_when_its_rows_are() -> None:
    figure = figures()["Batching"]
    assert isinstance(figure, Batching)
    assert figure.steps() == [13, 9]  # 9 + 2 + 2, and the long reply beside the four short ones
    assert figure.data["turns"][1] == [[0, 0, 9], [1, 0, 2], [1, 2, 4], [1, 4, 6], [1, 6, 8]]
    assert figure.still()[1:] == [["wait for the longest reply", "13", "65%"], ["refill at once", "9", "94%"]]
    lengths = [5, 1, 7, 2, 2, 9, 3, 3, 1]
    assert Batching(lengths, 3).steps()[1] == steps(lengths, 3)


def test_routing_shows_multiples_of_the_mean() -> None:
    figure = Routing({"none": [[6, 2, 4], [1, 1, 1]]}, steps=[0, 50])
    assert figure.data["loads"] == [[[1.5, 0.5, 1], [1, 1, 1]]]


@pytest.mark.parametrize("scale", [0, 1])
@pytest.mark.parametrize("right", [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1], [1, 1, 1, 1]])
def test_a_group_pulls_as_grpo_does(scale: int, right: list[int]) -> None:
    group = figures()["Group"]
    assert isinstance(group, Group)
    group.right, group.scale = right, scale
    rewards = torch.tensor([right], dtype=torch.float64)
    advantages = group_advantages(rewards, ("group", "none")[scale])[0]
    assert group.advantages() == pytest.approx(advantages.tolist())
    mask = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]], dtype=torch.float64)
    for group.average, loss_type in enumerate(("grpo", "dapo", "dr_grpo")):
        logp = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
        policy_loss(logp, logp.detach(), advantages, mask, loss_type=loss_type, max_length=3)[0].backward()
        assert group.pulls() == pytest.approx((-logp.grad[:, 0]).tolist())  # type: ignore[index]


def test_a_kernel_s_floor_is_the_longer_of_two_times() -> None:
    figure = figures()["Roofline"]
    assert isinstance(figure, Roofline)
    assert figure.floor(0) == pytest.approx(1e-3)  # a gigabyte at 1,000 GB/s
    assert figure.floor(1) == pytest.approx(1e-5)  # a gigaflop at 100 TFLOP/s
    assert figure.floor(1, device=1) == pytest.approx(2e-5)
    assert "reached: copy & <b> 50%" in figure.describe()
    assert "ridge at 100 operations per byte; second" in figure.describe()


def test_labels_come_back_as_pairs() -> None:
    figure = figures()["Preferences"]
    assert isinstance(figure, Preferences)
    assert figure.chosen() == []
    assert figure.agreement() == {"for the longer": (0, 0), "right": (0, 0)}
    figure.labels = [2, 2]
    assert figure.chosen() == [("<b>1</b>", "bb", "a</script>"), ("2", "d", "ccc")]
    assert figure.agreement() == {"for the longer": (1, 2), "right": (0, 0)}
    assert "2 done" in figure.describe()


def test_a_board_game_knows_every_position_up_to_its_eight_views() -> None:
    data = figures()["BoardGame"].data
    codes = [data["positions"][i : i + 9] for i in range(0, len(data["positions"]), 9)]
    assert len(codes) == 627  # positions with a move to make, one of each eight views
    assert data["losing"][1] == 0
    for letters in data["snapshots"]:
        assert len(letters) == data["positions"].count(".")
    at = data["positions"][: 9 * codes.index(".........")].count(".")
    assert [data["shades"].index(c) for c in data["snapshots"][0][at : at + 9]] == [7] * 9  # 63 / 9
    # Two in a row: both players' shares for "finish it" are those of the solution's winning moves.
    row = next(i for i, code in enumerate(codes) if code.startswith("oo.") and code.count("x") == 2)
    at = data["positions"][: 9 * row].count(".")
    assert data["shades"].index(data["snapshots"][1][at]) > 0


BOARDS = [[0] * 9, [1, -1, *[0] * 7]]
SHARES = [[[1 / 9] * 9, [0, 0, *[1 / 7] * 7]]]

BAD = {
    r"positions must be an array \[positions, 9\]": lambda: BoardGame([[0] * 8], [0], [[[1 / 8] * 8]], [1]),
    "positions hold -1, 0 and 1 alone": lambda: BoardGame([[2] + [0] * 8], [0], SHARES, [1]),
    "steps has 2 entries, probabilities 1 and losing 1": lambda: BoardGame(BOARDS, [0, 1], SHARES, [1]),
    r"at step 5 must be \[1, 9\]": lambda: BoardGame(BOARDS[:1], [5], SHARES, [1]),
    r"at step 5 must lie in \[0, 1\]": lambda: BoardGame(BOARDS[:1], [5], [[[1.0] * 9]], [1]),
    "pairs must hold": lambda: Preferences([]),
    "pair 0 lacks left and right": lambda: Preferences([{"prompt": "p"}]),
    "a fact speaks for": lambda: Preferences([{"prompt": "p", "left": "a", "right": "b", "facts": {"x": 3}}]),
    "devices must hold": lambda: Roofline({}, {}),
    "needs rates above 0": lambda: Roofline({"d": (1, 0)}, {}),
    "lacks bytes": lambda: Roofline({"d": (1, 1)}, {"k": {"flops": 1}}),
    "needs numbers above 0": lambda: Roofline({"d": (1, 1)}, {"k": {"flops": 1, "bytes": 0}}),
    "answers must be at least 2": lambda: Group([["a"]], [1]),
    "at least one token": lambda: Group([["a"], []], [1, 0]),
    "right has 1 verdicts for 2": lambda: Group([["a"], ["b"]], [1]),
    "longest is 1, and one answer has 2": lambda: Group([["a", "b"], ["b"]], [1, 0], longest=1),
    "steps must hold": lambda: Tokens([]),
    "merges must be one fewer": lambda: Tokens([["a"], ["b"]], []),
    "Cache knows no size 'ranks'": lambda: Cache(ranks=3),
    "rank must be a whole number above 0": lambda: Cache(rank=0),
    "must be an array": lambda: Routing({"none": [1, 2]}),
    "needs loads of at least 0": lambda: Routing({"none": [[-1, 2]]}),
    "the others": lambda: Routing({"a": [[1, 2]], "b": [[1, 2, 3]]}),
    "steps has 1 entries for 2": lambda: Routing({"a": [[1], [1]]}, steps=[0]),
    "one reply or more": lambda: Batching([], 2),
    "rows is 0": lambda: Batching([1], 0),
    "of equal length": lambda: Acceptance(["a", "b"], [["b"]]),
    "peak must be above 0": lambda: Schedule(peak=-1),
    "is a percentage": lambda: Schedule(warmup=101),
    "lacks y": lambda: Curve({"a": {"x": [1]}}),
    "x must increase": lambda: Curve({"a": {"x": [2, 1], "y": [1, 1]}}),
    "not a finite number": lambda: Curve({"a": {"x": [1, 2], "y": [1, float("nan")]}}),
    "above 0 only": lambda: Curve({"a": {"x": [0, 1], "y": [1, 1]}}, xlog=True),
    "low and high together": lambda: Curve({"a": {"x": [1], "y": [1], "low": [0]}}),
    "lacks text or reward": lambda: Rollouts("p", [0], [[{"text": "a"}]]),
    r"rewards lie in \[0, 1\]": lambda: Rollouts("p", [0], [[{"text": "a", "reward": 2}]]),
    "at least one host": lambda: Harvest([], []),
    "round 1 has 0 hosts": lambda: Harvest(["a"], [[]]),
    "round 1, a: lacks 'missed'": lambda: Harvest(["a"], [[{"right": 1}]]),
    "wrong must be a count": lambda: Harvest(["a"], [[{"right": 1, "missed": 0, "wrong": 0.5, "left": 0}]]),
    "3 shades": lambda: Rollouts("p", [0], [[{"text": ["a"], "reward": 1, "shade": [1, 2, 3]}]]),
}


@pytest.mark.parametrize("says", BAD)
def test_bad_input_gets_a_sentence(says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        BAD[says]()
    assert "\n" not in str(error.value)


def test_an_unknown_figure_lists_the_known() -> None:
    with pytest.raises(AttributeError, match="no figure 'Curves'; there are Acceptance"):
        widgets.Curves  # noqa: B018


def test_anywidget_comes_with_the_first_figure_only() -> None:
    code = (
        "import sys; sys.modules['anywidget'] = None\nimport minidsk, minidsk.widgets\n"
        "try: minidsk.widgets.Cache\nexcept ImportError as e: print(e)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "minidsk.widgets needs anywidget: pip install anywidget"
