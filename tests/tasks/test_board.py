"""Boards against a plain game of tuples and recursion, against known counts, and on bad input."""

from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidsk.tasks.board import Board

SMALL = [
    Board(),
    Board(2, 4, 3),
    Board(4, 3, 3, gravity=True),
    Board(2, 5, 2),
    Board(3, 4, 4, gravity=True),
    Board(1, 4, 2),
]


def has_line(board, stones, side):
    """Whether a dictionary {(row, column): side} holds a line, walked step by step."""
    for row, column in stones:
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            walk = [(row + k * down, column + k * right) for k in range(board.line)]
            if all(stones.get(place) == side for place in walk):
                return True
    return False


def options(board, stones):
    """The places that the next stone may take, by the number of the move."""
    found = {}
    for move in range(board.moves):
        if board.gravity:
            free = [row for row in range(board.rows) if (row, move) not in stones]
            if free:
                found[move] = (max(free), move)
        elif divmod(move, board.columns) not in stones:
            found[move] = divmod(move, board.columns)
    return found


def seen_by(board, stones, side):
    return tuple(
        {side: 1, 1 - side: -1, None: 0}[stones.get(divmod(cell, board.columns))] for cell in range(board.cells)
    )


def values(board):
    """{cells seen by the side to move: value}, of every reachable position, by recursion."""

    @lru_cache(None)
    def value(stones, side):
        table = dict(stones)
        if has_line(board, table, 1 - side):
            result = -1
        else:
            after = [frozenset({**table, place: side}.items()) for place in options(board, table).values()]
            result = max((-value(s, 1 - side) for s in after), default=0)
        found[seen_by(board, table, side)] = result
        return result

    found = {}
    value(frozenset(), 0)
    return found


@pytest.mark.parametrize("board", SMALL, ids=str)
def test_every_position_and_value_by_recursion(board):
    solution, wanted = board.solve(), values(board)
    ours = dict(zip(map(tuple, solution.position.tolist()), solution.value.tolist(), strict=True))
    assert len(ours) == len(solution.position)
    assert ours == wanted


def test_known_counts():
    solution = Board().solve()
    assert len(solution.position) == 5478
    assert int((~solution.going).sum()) == 958
    ends = solution.position[~solution.going]
    stones = (ends != 0).sum(1)
    lost = Board().lost(ends)
    # 626 ends that X has won, 316 that O has won, 16 draws.
    assert int((lost & (stones % 2 == 1)).sum()) == 626
    assert int((lost & (stones % 2 == 0)).sum()) == 316
    assert int((~lost).sum()) == 16
    four = Board(4, 4, 4, gravity=True).solve()
    assert len(four.position) == 161_029  # Tromp's table of Connect Four on small boards
    assert int(four.value[0]) == 0


def test_by_move_says_what_each_move_is_worth():
    solution = Board(4, 3, 3, gravity=True).solve()
    going = solution.position[solution.going]
    assert torch.equal(solution.by_move.amax(1), solution.value[solution.going])
    assert torch.equal(solution.by_move == -2, ~solution.board.legal(going))
    for row in range(0, len(going), 97):
        for move in solution.board.legal(going[row : row + 1])[0].nonzero().flatten():
            after = solution.board.play(going[row : row + 1], move[None])
            assert solution.by_move[row, move] == -solution.value[solution.of(after)]


def test_of_finds_each_position_again():
    solution = Board().solve()
    assert torch.equal(solution.of(solution.position), torch.arange(5478))
    with pytest.raises(KeyError, match="no game leads"):
        solution.of(torch.ones(1, 9, dtype=torch.int8))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*SMALL, Board(6, 7, 4, gravity=True), Board(5, 5, 4)]), st.integers(0, 2**32 - 1))
def test_games_played_side_by_side(board, seed):
    """Eight random games in one tensor, each followed on a board of its own."""
    g = torch.Generator().manual_seed(seed)
    position = board.empty(8)
    tables = [{} for _ in range(8)]
    for ply in range(board.cells):
        legal = board.legal(position)
        assert [set(row.nonzero().flatten().tolist()) for row in legal] == [set(options(board, t)) for t in tables]
        move = torch.rand(8, board.moves, generator=g).masked_fill(~legal, -1).argmax(1)
        before = position.clone()
        after = board.play(position, move)
        assert torch.equal(position, before)
        position = after
        for table, m in zip(tables, move.tolist(), strict=True):
            table[options(board, table)[m]] = ply % 2
        assert position.tolist() == [list(seen_by(board, table, (ply + 1) % 2)) for table in tables]
        assert board.lost(position).tolist() == [has_line(board, table, ply % 2) for table in tables]
        assert bool(board.full(position).all()) == (ply == board.cells - 1)


@pytest.mark.parametrize(
    ("rows", "columns", "line", "count"), [(3, 3, 3, 8), (6, 7, 4, 69), (4, 4, 4, 10), (1, 5, 2, 4)]
)
def test_the_number_of_lines(rows, columns, line, count):
    assert Board(rows, columns, line).lines.shape == (count, line)


def test_text_has_x_begin():
    board = Board(3, 3, 3)
    position = board.play(board.play(board.empty(1), torch.tensor([4])), torch.tensor([0]))
    assert board.text(position[0]) == "O . .\n. X .\n. . ."
    assert board.text(board.play(position, torch.tensor([8]))[0]) == "O . .\n. X .\n. . X"


@pytest.mark.parametrize(("board", "move"), [(Board(), 9), (Board(), -1), (Board(gravity=True), 3)])
def test_a_move_outside_the_board(board, move):
    with pytest.raises((ValueError, IndexError)):
        board.play(board.empty(1), torch.tensor([move]))


def test_a_taken_cell_and_a_full_column():
    board = Board()
    taken = board.play(board.empty(2), torch.tensor([4, 0]))
    with pytest.raises(ValueError, match=r"move: not every one of \[4, 4\] is legal"):
        board.play(taken, torch.tensor([4, 4]))
    board = Board(2, 3, 3, gravity=True)
    full = board.play(board.play(board.empty(1), torch.tensor([1])), torch.tensor([1]))
    with pytest.raises(ValueError, match="legal"):
        board.play(full, torch.tensor([1]))


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"rows": 0}, "rows"), ({"columns": -1}, "columns"), ({"line": 1}, "line"), ({"line": 4}, "line")],
)
def test_rules_that_make_no_sense(changes, field):
    with pytest.raises(ValueError, match=f"^{field}: ") as error:
        Board(**changes)
    assert "\n" not in str(error.value)


def test_a_board_too_large_to_number_can_still_be_played():
    board = Board(6, 7, 4, gravity=True)
    assert board.legal(board.empty(1)).all()
    with pytest.raises(ValueError, match="42 cells are too many"):
        board.solve()
