"""Self-play: the gradient against closed forms, games against a replay, the judge against players of known strength."""

import dataclasses

import pytest
import torch

from minidsk.homework import games as homework
from minidsk.rl.selfplay import (
    Games,
    Policy,
    SelfPlayConfig,
    at_random,
    judge,
    learn,
    losses,
    openings,
    play,
    policy_gradient,
    train,
)
from minidsk.tasks.board import Board

BOARD = Board()
SOLUTION = BOARD.solve()
SAFE = SOLUTION.position[SOLUTION.going & (SOLUTION.value >= 0)]


def perfect(position):
    """Plays by the solution; where several moves are best, the first of them is the likeliest by nothing."""
    values = SOLUTION.by_move[rows(position)].double()
    return (50 * values).masked_fill(values == -2, -torch.inf), torch.zeros(len(position))


def rows(position):
    """Where positions stand among those that leave a move."""
    return SOLUTION.going.long().cumsum(0)[SOLUTION.of(position)] - 1


def some_games(seed=0, games=64):
    g = torch.Generator().manual_seed(seed)
    policy = Policy(BOARD, 16, g)
    torch.nn.init.normal_(policy.move.weight, std=0.3, generator=g)
    torch.nn.init.normal_(policy.value.weight, std=0.3, generator=g)
    return policy, play(BOARD, (policy, policy), openings(BOARD, games, g), g)


@pytest.mark.parametrize("baseline", [0.0, 0.5, 10.0])
def test_the_expected_gradient_is_that_of_the_expected_score(baseline):
    """Every outcome of one choice, weighed with its probability; any constant baseline gives the same."""
    logits = torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64, requires_grad=True)
    score = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)
    (wanted,) = torch.autograd.grad((logits.softmax(0) * score).sum(), logits)
    sampled = torch.zeros(3, dtype=torch.float64)
    for outcome in range(3):
        loss = policy_gradient(logits.log_softmax(0)[outcome : outcome + 1], score[outcome : outcome + 1] - baseline)
        sampled -= logits.softmax(0)[outcome].detach() * torch.autograd.grad(loss, logits)[0]
    assert torch.allclose(sampled, wanted, atol=1e-12)


def test_a_mask_leaves_out_and_one_advantage_serves_a_whole_row():
    logp = torch.tensor([[-1.0, -2.0, -7.0], [-3.0, -7.0, -7.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    loss = policy_gradient(logp, torch.tensor([[1.0], [-2.0]]), mask)
    assert float(loss) == pytest.approx((1 + 2 - 2 * 3) / 3)


@pytest.mark.parametrize("baseline", ["none", "mean", "value"])
def test_learn_has_the_gradient_of_the_closed_form(baseline):
    policy, games = some_games()
    config = SelfPlayConfig(baseline=baseline, entropy=0.0)
    with torch.no_grad():
        logits, value = policy(games.position)
    reference = {"none": torch.zeros_like(value), "mean": games.score.mean().expand_as(value), "value": value}[baseline]
    wanted = homework.reinforce(logits, BOARD.legal(games.position), games.move, games.score, reference).sum(0)
    stats = learn(policy, torch.optim.SGD(policy.parameters(), lr=0.0), games, config)
    assert policy.move.bias.grad is not None
    assert torch.allclose(policy.move.bias.grad, wanted, atol=1e-12)
    assert stats["score"] == pytest.approx(float(games.score.mean()))
    assert stats["value_error"] == pytest.approx(float((value - games.score).square().mean()))


def test_the_bonus_pushes_towards_even_odds():
    policy, games = some_games()
    games = Games(games.position, games.move, games.game, games.ply, torch.full_like(games.score, 0.5))
    entropies = [learn(policy, torch.optim.SGD(policy.parameters(), lr=1.0), games, SelfPlayConfig(baseline="mean"))
                 for _ in range(20)]  # fmt: skip
    assert entropies[-1]["entropy"] > entropies[0]["entropy"] + 0.01


def test_games_are_the_games_that_were_played():
    """Each game's moves, replayed from its start: the positions, the end, and who won."""
    g = torch.Generator().manual_seed(5)
    start = openings(BOARD, 200, g)
    games = play(BOARD, (at_random(BOARD), at_random(BOARD)), start, g)
    over = BOARD.lost(start) | BOARD.full(start)
    assert set(games.game.tolist()) == set((~over).nonzero().flatten().tolist())
    for number in games.game.unique().tolist():
        mine = games.of(games.game == number)
        position = start[number : number + 1]
        for ply in range(len(mine.move)):
            assert mine.ply[ply] == ply
            assert torch.equal(mine.position[ply : ply + 1], position)
            assert not BOARD.lost(position)
            assert not BOARD.full(position)
            position = BOARD.play(position, mine.move[ply : ply + 1])
        lost = bool(BOARD.lost(position))
        assert lost or bool(BOARD.full(position))
        last = len(mine.move) - 1
        wanted = [(1.0 if (last - k) % 2 == 0 else 0.0) if lost else 0.5 for k in range(last + 1)]
        assert mine.score.tolist() == wanted


def test_players_move_in_turn_and_as_often_as_they_say():
    first, second = at_random(BOARD), perfect
    games = play(BOARD, (first, second), BOARD.empty(2000), torch.Generator().manual_seed(1))
    counts = torch.bincount(games.move[games.ply == 0], minlength=9)
    assert (counts - 2000 / 9).abs().max() < 4 * (2000 / 9) ** 0.5
    for side, best in ((0, False), (1, True)):
        theirs = games.of(games.ply % 2 == side)
        values = SOLUTION.by_move[rows(theirs.position)]
        assert bool((values.gather(1, theirs.move[:, None]).squeeze(1) == values.amax(1)).all()) == best


def test_a_start_that_is_over_gives_no_moves():
    over = SOLUTION.position[~SOLUTION.going][:5]
    assert len(play(BOARD, (at_random(BOARD), at_random(BOARD)), over).move) == 0


def test_openings_are_positions_of_games_of_every_length():
    start = openings(BOARD, 3000, torch.Generator().manual_seed(2))
    SOLUTION.of(start)  # raises where a position is not reachable
    stones = torch.bincount((start != 0).sum(1), minlength=9)
    assert (stones[:9] > 100).all()
    assert abs(int(stones[0]) - 3000 / 9) < 4 * (3000 / 9) ** 0.5


def test_the_judge_knows_a_perfect_player_and_a_single_mistake():
    verdict = judge(perfect, SOLUTION)
    assert (verdict.checked, verdict.losing, verdict.worse) == (3888, 0, 0)
    assert losses(perfect, BOARD, SAFE) == 0
    values, legal = SOLUTION.by_move, BOARD.legal(SOLUTION.position[SOLUTION.going])
    blunders = ((values == -1) & legal).any(1) & (SOLUTION.value[SOLUTION.going] >= 0)
    for row in blunders.nonzero().flatten()[::500].tolist():
        wrong = SOLUTION.position[SOLUTION.going][row]

        def once_wrong(position, wrong=wrong, row=row):
            logits, value = perfect(position)
            logits[(position == wrong).all(1), (values[row] == -1).nonzero()[0]] = 99.0
            return logits, value

        verdict = judge(once_wrong, SOLUTION)
        assert (verdict.losing, verdict.worse) == (1, 1)
        assert losses(once_wrong, BOARD, SAFE) >= 1


def test_giving_away_a_win_is_worse_but_not_losing():
    values = SOLUTION.by_move

    def modest(position):
        """Draws where it can, and wins only where it must."""
        place = rows(position)
        return (values[place] == 0).double() + 0.1 * values[place].double(), torch.zeros(len(position))

    verdict = judge(modest, SOLUTION)
    assert verdict.losing == 0
    assert verdict.worse > 100
    assert losses(modest, BOARD, SAFE) == 0


def test_training_learns_and_a_seed_means_one_policy():
    config = SelfPlayConfig(steps=60, games=256, width=64)
    seen = []
    policy = train(BOARD, config, lambda step, policy, stats: seen.append((step, stats["entropy"])))
    assert [step for step, _ in seen] == list(range(1, 61))
    untrained = Policy(BOARD, 64, torch.Generator().manual_seed(0))
    assert judge(policy, SOLUTION).losing < 0.4 * judge(untrained, SOLUTION).losing
    again, other = train(BOARD, config), train(BOARD, dataclasses.replace(config, seed=1, steps=1))
    for name, weight in policy.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert not torch.equal(policy.move.weight, other.move.weight)


def test_a_new_policy_moves_at_random():
    policy = Policy(BOARD, 16)
    logits, value = policy(SAFE[:50])
    legal = BOARD.legal(SAFE[:50])
    assert torch.equal(torch.isfinite(logits), legal)
    assert (logits[legal] == 0).all()
    assert (value == 0.5).all()


def test_weights_are_drawn_with_all_digits_of_float64():
    for layer in (Policy(BOARD, 16).first, Policy(BOARD, 16).second):
        assert (layer.weight.float() != layer.weight).any()


def test_connect_four_trains_on_the_same_code():
    board = Board(4, 3, 3, gravity=True)
    solution = board.solve()
    config = SelfPlayConfig(steps=60, games=128, width=64)
    before = judge(Policy(board, 64, torch.Generator().manual_seed(0)), solution)
    assert judge(train(board, config), solution).losing < 0.6 * before.losing


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"steps": 0}, "steps"), ({"games": -1}, "games"), ({"lr": 0}, "lr"), ({"width": 0}, "width"),
     ({"entropy": -1}, "entropy"), ({"decay": -0.1}, "decay"), ({"baseline": "median"}, "baseline")],
)  # fmt: skip
def test_settings_that_make_no_sense(changes, field):
    with pytest.raises(ValueError, match=f"^{field}: ") as error:
        SelfPlayConfig(**changes)
    assert "\n" not in str(error.value)
