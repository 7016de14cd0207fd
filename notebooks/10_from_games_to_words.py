# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From games to words
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/minidsk/minidsk/blob/main/notebooks/10_from_games_to_words.ipynb)
#
# A network plays tic-tac-toe against itself. It begins by moving at random. Nobody shows it a good move, and nobody tells it which of its moves was bad; after each game it hears one word, *won*, *drawn* or *lost*. There are 3,888 positions in which the side to move need not lose. After half a minute of this, in how many of them does it still lose? And do the same few lines teach a language model to answer?
#
# - **You will build** the policy gradient, from one game on paper to a player that nobody beats; then you hand the same function to a language model.
# - **You need** PyTorch, and what a gradient is. No reinforcement learning. Chapter 06 helps at the end.
# - **It takes** about 60 s to run on two CPU cores, longer on a GPU (the networks are so small that it would mostly wait), and an hour and a half to read.

# %% tags=["hide-input"]
import importlib.util; _ = importlib.util.find_spec("minidsk") or get_ipython().run_line_magic("pip", "install -q 'minidsk[notebooks] @ git+https://github.com/minidsk/minidsk'")

# %%
import copy
import time
from functools import lru_cache
from statistics import mean, stdev

import matplotlib.pyplot as plt
import torch

from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.rl.selfplay import Policy, SelfPlayConfig, at_random, judge, learn, losses, play, policy_gradient, train
from minidsk.tasks.board import Board

# %% [markdown]
# ## The pain first: one word for a whole game
#
# Two players who move at random. The board is a row of nine numbers, always seen by the side that is to move: 1 for its own stones, -1 for the other's. Here is one game, from left to right; X begins.

# %%
def side_by_side(board, positions) -> str:
    """Positions as text, next to each other."""
    rows = [board.text(position).split("\n") for position in positions]
    return "\n".join("   ".join(parts) for parts in zip(*rows, strict=True))


board = Board(rows=3, columns=3, line=3)
chance = at_random(board)
game = play(board, (chance, chance), board.empty(1), torch.Generator().manual_seed(238))
end = board.play(game.position[-1:], game.move[-1:])
print(side_by_side(board, torch.cat((game.position[1:], end))))
print("scores of the moves:", game.score.tolist())

# %% [markdown]
# X won. O made four moves, and all four are credited with a 0. But one of them lost the game, and three did not. Which one? Look for a minute; the answer comes in the middle of the chapter, from somebody who was never told.
#
# That is the trouble with learning from games, and with learning from answers that are right or wrong: the verdict is about everything at once. It is called the problem of **credit assignment**.
#
# Tic-tac-toe is so small that *we* can know more. `solve` goes through every position that any game reaches and works out, from the end, what perfect play makes of it: that is minimax. The learner will not see any of it. It is our yardstick.

# %%
solution = board.solve()
safe = solution.value[solution.going] >= 0
print(f"{len(solution.position):,} positions, {len(safe):,} of them with a move to make")
print(f"in {int(safe.sum()):,} of these the side to move need not lose")

# %%
legal = board.legal(solution.position[solution.going])[safe]
share_lost = (((solution.by_move[safe] < 0) & legal).sum(1) / legal.sum(1)).mean().item()
print(f"a random move in one of these turns it into a loss in {share_lost:.0%} of cases")

# %% [markdown]
# So that is our learner on its first day: four moves in ten throw the game away, against somebody perfect. We will count the positions in which the *likeliest* move does. "It never loses" will mean exactly this: from every one of the 3,888, it takes its likeliest moves, the other side tries every reply, and no game ends in a loss.
#
# How many games will it take? Guess, and replace `None` by a number. The tally stays on your machine.

# %% tags=["prediction"]
guess = None
question = "After how many games against itself does it never lose?"
games_needed = predict("games.needed", question, guess, example=1_000_000)
games_needed

# %% [markdown]
# ## A world small enough to enumerate
#
# Before any network, one position on paper. X is to move, and O, the opponent, moves at random.

# %%
small = torch.tensor([[1, 1, 0, 0, 1, -1, 0, -1, -1]], dtype=torch.int8)
print(board.text(small[0]))

# %%
def expected_score(position) -> float:
    """What the side to move can expect if both sides move at random."""
    if board.lost(position):
        return 0.0
    if board.full(position):
        return 0.5
    moves = board.legal(position)[0].nonzero()
    return mean(1 - expected_score(board.play(position, move)) for move in moves)


cells = [2, 3, 6]
worth = [1 - expected_score(board.play(small, torch.tensor([cell]))) for cell in cells]
print(dict(zip(cells, worth, strict=True)))

# %% [markdown]
# Top right wins at once: **1**. The bottom left corner wins if O answers on the left, and loses if O answers at the top: **½**. On the left, O wins whatever it does: **0**. Remember 1, 0, ½; they stay with us.
#
# A policy that knows nothing takes each with probability ⅓, and expects ½. Which way should it move? Let $J = \sum_a p_a Q_a$ be the expected score, with $Q = (1, 0, ½)$ and $p$ the softmax of three logits. Autograd says:

# %%
logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
Q = torch.tensor(worth, dtype=torch.float64)
(exact,) = torch.autograd.grad((logits.softmax(0) * Q).sum(), logits)
print("gradient of the expected score:", [round(g, 4) for g in exact.tolist()])
assert torch.allclose(exact, torch.tensor([1 / 6, -1 / 6, 0], dtype=torch.float64))

# %% [markdown]
# That is $p_a (Q_a - J)$: each move is pushed by how much better it is than what was expected. But it needs $Q$, and nobody has $Q$ except us on this page. A player has *games*. In one game it makes one move $a$, and hears one score $R$. Williams' trick {cite}`williams1992` is that this suffices: take $R \cdot \nabla \log p_a$. Its average over all games is exactly the gradient above.
#
# For a softmax $\nabla \log p_a$ is short: one-hot of the move, minus the probabilities. There are four things that can happen:

# %%
outcomes = [(0, 1.0, 1 / 3), (1, 0.0, 1 / 3), (2, 1.0, 1 / 6), (2, 0.0, 1 / 6)]  # move, score, how often
direction = torch.eye(3, dtype=torch.float64) - 1 / 3
average = torch.zeros(3, dtype=torch.float64)
for move, score, often in outcomes:
    estimate = score * direction[move]
    average += often * estimate
    rounded = [round(g, 2) + 0.0 for g in estimate.tolist()]
    print(f"cell {cells[move]}, score {score:.0f}, in {often:.0%} of games: estimate {rounded}")
print("average", [round(g, 4) for g in average.tolist()])
assert torch.allclose(average, exact)

# %% [markdown]
# The average is right, and every single estimate is wrong. A loss says nothing at all, since 0 times anything is 0. And a lucky win by the bad corner pushes as hard as the sure one. Learning works because there are many games.
#
# ```{warning}
# In code one writes a "loss", $-R \log p_a$, for the optimizer to minimise. It is no loss. It can rise while the player improves, and it has no meaning beyond its gradient. Watch the score.
# ```
#
# ## The idea, small and slow
#
# For several moves, each in its own position: the mean over moves. Here it is with loops, a subtraction that we will need in a moment (`baseline`, for now think 0), and with the rule that illegal moves have no probability:

# %% tags=["naive"]
def slow_gradient(logits, legal, moves, scores, baseline):
    """Gradient of the mean of -log p(move) * (score - baseline), move by move; logits and legal [M, moves]."""
    gradient = torch.zeros_like(logits)
    for m in range(len(moves)):
        allowed = legal[m].nonzero().flatten().tolist()
        total = sum(logits[m, a].exp() for a in allowed)
        for a in allowed:
            p = logits[m, a].exp() / total
            gradient[m, a] = (p - float(a == moves[m])) * (scores[m] - baseline[m]) / len(moves)
    return gradient


# %% [markdown]
# And minimax as one would write it first: a position is a tuple, and its value is the best that any move leads to, seen from the other side with the sign turned round.

# %%
LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


@lru_cache(None)
def slow_value(cells: tuple[int, ...]) -> int:
    """1 won, 0 drawn, -1 lost, for the side to move; `cells` as that side sees them."""
    if any(all(cells[c] == -1 for c in line) for line in LINES):
        return -1
    free = [c for c in range(9) if cells[c] == 0]
    after = [tuple(-1 if c == move else -cells[c] for c in range(9)) for move in free]
    return max((-slow_value(position) for position in after), default=0)


print("value of the empty board:", slow_value((0,) * 9), "| positions visited:", f"{slow_value.cache_info().currsize:,}")

# %% [markdown]
# ## The same, from the package
#
# `minidsk.tasks.board` plays hundreds of games in one tensor and solves a game level by level. `minidsk.rl.selfplay.policy_gradient` is one line: the mean of `-logp * advantage`. Both must agree with the slow versions, on 200 games with random logits, and on every position.

# %%
g = torch.Generator().manual_seed(0)
some = play(board, (chance, chance), board.empty(200), g)
may = board.legal(some.position)
leaf = torch.randn(may.shape, generator=g, dtype=torch.float64, requires_grad=True)
baseline = torch.rand(len(may), generator=g, dtype=torch.float64)

# %% tags=["agree"]
logp = leaf.masked_fill(~may, -torch.inf).log_softmax(1).gather(1, some.move[:, None]).squeeze(1)
policy_gradient(logp, some.score - baseline).backward()
difference = (slow_gradient(leaf.detach(), may, some.move, some.score, baseline) - leaf.grad).abs().max().item()
slow = [slow_value(tuple(cells)) for cells in solution.position.tolist()]
wrong = sum(ours != theirs for ours, theirs in zip(slow, solution.value.tolist(), strict=True))
assert difference < 1e-12
assert wrong == 0
print(f"largest difference of {len(may):,} gradients: below 1e-12")
print(f"positions with another value: {wrong} of {len(slow):,}")

# %% [markdown]
# ## A first opponent: somebody who moves at random
#
# The policy is a small network: 18 numbers in (my stones, your stones), two layers of 128, and two heads. One gives a logit for each move, the other guesses the score; we come to that one. The head for the moves starts at zero, so at first every legal move is equally likely.
#
# It plays X, 256 games at a time, against chance. Then one step on its own moves.

# %%
def against_chance(config, shift=0.0):
    """A policy trained as X against a random O; its mean score in each step. `shift` is added to every score."""
    g = torch.Generator().manual_seed(config.seed)
    policy = Policy(board, config.width, g).double()
    optimizer, history = torch.optim.Adam(policy.parameters(), lr=config.lr, betas=(0.9, 0.99)), []
    for _ in range(config.steps):
        games = play(board, (policy, chance), board.empty(config.games), g)
        games = games.of(games.ply % 2 == 0)
        history.append(games.score[games.ply == 0].mean().item())
        games.score += shift
        learn(policy, optimizer, games, config)
    return policy, history


# %%
SEEDS = (0, 1, 2)
ROUND = SelfPlayConfig(steps=60, games=256, baseline="none")


def three(shift=0.0, **changes):
    """The same on three seeds."""
    return [against_chance(SelfPlayConfig(**{**vars(ROUND), **changes, "seed": seed}), shift) for seed in SEEDS]


runs = {"no baseline": three()}
for seed, (_, history) in zip(SEEDS, runs["no baseline"], strict=True):
    print(f"seed {seed}: mean score {history[0]:.2f} in the first step, {mean(history[-10:]):.3f} in the last ten")

# %% [markdown]
# It works: REINFORCE, three lines of mathematics, and chance is beaten more and more often. But could it learn more from the same games?
#
# ## A baseline: better than what?
#
# Go back to the small world. A win by the bad corner pushed as hard as the sure win, and a loss did not push at all, because we multiplied by the score itself. Multiply by *score minus ½* instead, what we expected anyway, and a loss pushes too, the other way. Is that allowed? $\mathbb{E}[b\, \nabla \log p_a] = b \sum_a p_a \nabla \log p_a = b\, \nabla \sum_a p_a = b\, \nabla 1 = 0$ for any $b$ that does not depend on the move. The average does not notice. The noise does:

# %%
def noise(baseline: float, shift: float = 0.0) -> float:
    """Variance of one game's estimate in the small world (summed over the three logits), computed exactly."""
    mean_ = sum(often * (score + shift - baseline) * direction[move] for move, score, often in outcomes)
    assert torch.allclose(mean_, exact)
    square = sum(often * (score + shift - baseline) ** 2 * direction[move].square().sum() for move, score, often in outcomes)
    return (square - mean_.square().sum()).item()


for shift, b in ((0, 0.0), (0, 0.5), (1, 0.0), (1, 1.5), (10, 0.0), (10, 10.5)):
    ratio = noise(b, shift) / noise(0.5)
    print(f"scores {shift:2} to {shift + 1:2}, baseline {b:4.1f}: variance {noise(b, shift):7.3f}, relative {ratio:6.1f}")

# %% [markdown]
# With a baseline of ½ the noise falls to two fifths: the same learning from two fifths of the games. And look at the lower lines. Give a point for taking part, so that a loss brings 1 and a win 2, and nothing has changed about the game; but without a baseline the noise grows fifteenfold. *Without a baseline a policy gradient does not know what zero means.* We shall see that break a run.
#
# Which baseline? The mean score of the batch is one that costs nothing. But a position in which X is about to win deserves a higher one than a position in which X is about to lose. So let the network guess: its second head is trained to predict the score from the position, and that guess is the baseline, position by position.

# %%
runs["batch mean"] = three(baseline="mean")
runs["value"] = three(baseline="value")
for name, of in runs.items():
    ends = [mean(history[-10:]) for _, history in of]
    print(f"{name:12} score at the end, seed by seed {[round(e, 3) for e in ends]}, mean {mean(ends):.3f}")

# %% [markdown]
# How much quieter is the real gradient, with thousands of weights? Take one policy (trained for a few steps), and one and the same set of 60 batches of 64 games. For each batch, compute the gradient of all weights up to the head for the moves; then the variance over batches (the noise), and the squared length of the mean (the signal).

# %%
def gradients(policy, config, batches=60, games=64):
    """One policy gradient a batch, [batches, weights]; the value head and the bonus left out."""
    g, weights = torch.Generator().manual_seed(7), [p for name, p in policy.named_parameters() if "value" not in name]
    for _ in range(batches):
        of = play(board, (policy, chance), board.empty(games), g)
        of = of.of(of.ply % 2 == 0)
        logits, value = policy(of.position)
        logp = logits.log_softmax(1).gather(1, of.move[:, None]).squeeze(1)
        base = {"none": 0.0, "mean": of.score.mean(), "value": value.detach()}[config]
        grads = torch.autograd.grad(policy_gradient(logp, of.score - base), weights)
        yield torch.cat([grad.flatten() for grad in grads])


early, _ = against_chance(SelfPlayConfig(steps=15, games=256))
spread = {}
for name in ("none", "mean", "value"):
    each = torch.stack(list(gradients(early, name)))
    spread[name] = each.var(0).sum().item()
    signal = each.mean(0).square().sum().item() - spread[name] / len(each)  # the mean of 60 is noisy itself
    print(f"baseline {name:6} noise {spread[name]:.4f}, signal about {signal:.4f}, less noise: {spread['none'] / spread[name]:4.1f} times")
assert spread["value"] < spread["mean"] < spread["none"]

# %% [markdown]
# As far as 60 batches can tell, the signal is the same; the noise is not. One number for the whole batch does nearly all of the work here, and the value head adds little: against chance most positions on X's path promise about the same. In self-play, below, it will matter more.

# %% tags=["figure"]
def smooth(history, width=5):
    return [mean(history[max(0, i - width + 1) : i + 1]) for i in range(len(history))]


fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
for (name, of), colour in zip(runs.items(), ("#b8631a", "#7b4fa3", "#2a747b"), strict=True):
    lines = torch.tensor([smooth(history) for _, history in of])
    _ = ax.plot(range(1, 61), lines.mean(0), color=colour, label=name)
    _ = ax.fill_between(range(1, 61), lines.min(0).values, lines.max(0).values, color=colour, alpha=0.15, linewidth=0)
_ = ax.set(xlabel="step (256 games each)", ylabel="mean score against chance", ylim=(0.5, 1))
_ = ax.legend(frameon=False)
plt.show()
for name, of in runs.items():
    tens = [mean(h for _, history in of for h in history[i : i + 10]) for i in range(0, 60, 10)]
    print(f"{name:12} steps 1-10, 11-20, ...:", *(f"{score:.2f}" for score in tens))

# %% [markdown]
# ### Good against a fool
#
# A score above 0.9 sounds like mastery. Hold it against perfect play.

# %%
fool_trained = runs["value"][0][0]
print(judge(fool_trained, solution))
print("endings lost as X from the empty board, every reply tried:", losses(fool_trained, board, board.empty(1)))

# %% [markdown]
# It has learned what pays against *this* opponent. In the small world the bottom left corner is worth ½ against chance, and 0 against anybody who looks. A policy can only be as good as what it was tested on. The small world's other lesson comes back, too: of positions that it never meets, it knows nothing.
#
# Where would one find an opponent that is always just good enough? In the mirror.
#
# ## Self-play
#
# Nothing new is needed: `play(board, (policy, policy), ...)`. Both sides' moves are learned from; what one side wins the other loses. As the policy improves, so does its opponent. Two things were added, each for a reason that you will find under *What went wrong*:
#
# - **Openings.** Each game begins with 0 to 8 random moves that nobody learns from, so that all kinds of positions come up, also those that good players avoid.
# - **A bonus for indecision.** A little is added for the entropy of the move probabilities, so that no move is given up for lost too early.
#
# 800 steps of 512 games. While it learns, `watch` counts the positions in which its likeliest move loses; the learner does not see the count.

# %%
curve, snapshots = [], {0: Policy(board).double()}
CAUGHT = (10, 25, 50, 100, 200, 400, 800)


def watch(step, policy, stats):
    if step % 25 == 0:
        curve.append((step * 512, judge(policy, solution)))
    if step in CAUGHT:
        snapshots[step] = copy.deepcopy(policy)


began = time.perf_counter()
master = train(board, SelfPlayConfig(seed=0), watch)
print(f"trained in {time.perf_counter() - began:.1f} s")

# %%
for games, verdict in curve[::4] + curve[-1:]:
    print(f"{games:7,} games: loses in {verdict.losing:3} of {verdict.checked:,}, less than the best in {verdict.worse:3}")

# %%
unclean = max(games for games, verdict in curve if verdict.losing > 0)
needed = min(games for games, _ in curve if games > unclean)
games_needed.reveal(needed)

# %% [markdown]
# **Zero.** Two questions must be asked of such a number. *Is it true?* `judge` compares with minimax, one move at a time. `losses` asks in another way, without minimax: start from every one of the 3,888 positions, let the policy take its likeliest moves, let the other side try *every* reply, play everything out, and count the endings in which the policy has lost.

# %%
start = solution.position[solution.going][safe]
replies = torch.cat([board.play(board.empty(1), torch.tensor([cell])) for cell in range(9)])
print(f"lost endings from {len(start):,} positions:", losses(master, board, start))
print("moving first:", losses(master, board, board.empty(1)), "| moving second:", losses(master, board, replies))
print("in the small world, cells 2, 3, 6:", [round(p, 2) for p in master(small)[0].softmax(1)[0, cells].tolist()])
assert curve[-1][1].losing == 0
assert losses(master, board, start) == 0

# %% [markdown]
# *Was it luck?* The same on three seeds, with each part of the recipe taken away in turn, was recorded once. These cells only read it.

# %%
def recorded(name):
    """What a recorded run measured; how it was run is printed."""
    print(results.origin(name))
    return results.read(name)


tictactoe = recorded("ch10_selfplay")["runs"]

# %%
def first_clean(run) -> int | None:
    """Games after which no judgement found a losing position any more."""
    clean = [all(losing == 0 for _, losing, _ in run["curve"][i:]) for i in range(len(run["curve"]))]
    return run["curve"][clean.index(True)][0] if any(clean) else None


recipe = [run for run in tictactoe if run["method"] == "the recipe"]
for run in recipe:
    ends = run["lost_endings"]["from every position"]
    print(f"seed {run['seed']}: losing {run['losing']}, lost endings {ends}, less than the best {run['worse']}; "
          f"clean after {first_clean(run):,} games")

# %%
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
lines = {f"recorded, seed {run['seed']}": [point[:2] for point in run["curve"]] for run in recipe}
lines["this run"] = [(0, judge(snapshots[0], solution).losing)] + [(n, verdict.losing) for n, verdict in curve]
for name, points in lines.items():
    style = {"color": "#2a747b", "lw": 2} if name == "this run" else {"alpha": 0.5, "lw": 1}
    _ = ax.plot([games / 1000 for games, _ in points], [losing for _, losing in points], label=name, **style)
_ = ax.set(xlabel="thousand games against itself", ylabel="positions it loses, of 3,888")
_ = ax.set(yscale="symlog", ylim=(-0.3, 3000))
_ = ax.set_yticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1,000"])
_ = ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## A figure that moves
#
# What does it learn first? Two things every child knows: take a win that lies open; and where you have none, stand in the way of the other side's. Here is how often each snapshot does, over all positions in which there is the occasion.

# %%
def wins_with(cell, position, stone):
    """Whether `stone` on the free cell finishes a line, bool [positions]."""
    filled = position.clone()
    filled[:, cell] = stone
    return (position[:, cell] == 0) & (filled[:, board.lines] == stone).all(2).any(1)


open_win, threat = (torch.stack([wins_with(cell, start, stone) for cell in range(9)], 1) for stone in (1, -1))
must_block = ~open_win.any(1) & (threat.sum(1) == 1)
for trained, policy in snapshots.items():
    likeliest = policy(start)[0].argmax(1, keepdim=True)
    takes = open_win.gather(1, likeliest)[open_win.any(1)].double().mean()
    blocks = threat.gather(1, likeliest)[must_block].double().mean()
    print(f"step {trained:3}: takes an open win in {takes:4.0%} of positions, blocks a threat in {blocks:4.0%}")

# %% [markdown]
# The last number of the first column is no mistake: the trained policy plays the best move everywhere, but a win in three moves brings the same score as a win in one, and nobody told it to hurry. *You get what you reward.*
#
# Now play against it. Drag the slider to choose how long it has trained, and look at the probabilities of its last move. What to look for: early snapshots see their own wins and not yours.

# %% tags=["widget"]
from minidsk.widgets import BoardGame

BoardGame.of(solution, snapshots)

# %% [markdown]
# ## Whose fault was it?
#
# The game of the beginning. O lost it with four moves, each credited with a 0. Ask the trained policy's second head what each side expects before its move, and what it expects after it (one minus what the other side then expects).

# %%
with torch.no_grad():
    expected = master(game.position)[1]
after = torch.cat((1 - expected[1:], game.score[-1:]))
truth = solution.value[solution.of(game.position)]
print("move  side  cell  score  before  after  score - before  after - before  in truth")
for i, cell in enumerate(game.move.tolist()):
    print(f"{i + 1:4}  {'XO'[i % 2]:>4}  {cell:4}  {game.score[i]:5.1f}  {expected[i]:6.2f}  {after[i]:5.2f}", end="  ")
    print(f"{game.score[i] - expected[i]:+14.2f}  {after[i] - expected[i]:+14.2f}  {('lost', 'drawn', 'won')[truth[i] + 1]}")

# %% [markdown]
# There it stands: O's second move (number 4, cell 3, on the left). Before it O could expect a draw, after it nothing. Nobody told it so; the expectation was learned from final scores alone.
#
# Look at the two ways to give credit. *Score minus before* is what our policy learned from. It spares O's last two moves, after which nothing was left to lose, but it blames the innocent first move as much as the second: whatever came later is charged to it. Over many games that evens out; in one it is noise. *After minus before* points at one move only, but it believes the critic, who may be wrong. Between the two lies a whole family, and chapter 11 uses it (generalised advantage estimation {cite}`schulman2015gae`).

# %%
blame = (after - expected)[1::2]
assert truth[1::2].tolist() == [0, 0, -1, -1]
assert blame.argmin() == 1
assert (blame < -0.25).sum() == 1
print("O's moves, score minus before:", [f"{b:+.2f}" for b in (game.score - expected)[1::2].tolist()])
print("O's moves, after minus before:", [f"{b:+.2f}" for b in blame.tolist()])

# %% [markdown]
# A network that scores positions for the sake of a baseline is called a **critic**. Ours is one number at the side of the policy. For a language model it is a second model as large as the first, which is where chapters 11 and 12 begin.
#
# ## Another game, the same code
#
# Connect Four, on a board of four by four: stones fall to the bottom of their column, four in a row win. Only the rules change. There are thirty times as many positions, and still few enough to check them all.

# %%
four = Board(rows=4, columns=4, line=4, gravity=True)
four_solution = four.solve()
before = judge(Policy(four).double(), four_solution)
print(f"{len(four_solution.position):,} positions; in {before.checked:,} the side to move need not lose")
print("perfect play ends in a", ("loss", "draw", "win")[four_solution.value[0] + 1])

# %%
dropper = train(four, SelfPlayConfig(steps=150))
after = judge(dropper, four_solution)
for games, verdict in ((0, before), (150 * 512, after)):
    print(f"after {games:6,} games: loses in {verdict.losing:6,} of them, {verdict.losing / verdict.checked:.1%}")

# %%
connect = recorded("ch10_connect")["runs"]
for run in connect:
    ends = run["lost_endings"]
    print(f"seed {run['seed']}: {run['curve'][-1][0]:,} games, loses in {run['losing'] / run['checked']:.1%}; "
          f"lost endings moving first {ends['moving first']}, second {ends['moving second']}")

# %% [markdown]
# Not clean, and we say so: after half a million games it still goes wrong in a few of every thousand positions. But those are positions that it does not get itself into. From the empty board nobody beats it on any of three seeds, moving first or second, whatever the replies. The two statements differ. Ask for the first one when somebody makes the second.
#
# ## The turn: an answer is a game
#
# Now read the chapter again with other words.
#
# | a game | an answer |
# | --- | --- |
# | position | the prompt, and what is written so far |
# | legal move | the next token |
# | policy | a language model |
# | game over | the end of the answer |
# | won or lost | a verifier's score |
# | credit assignment | which token was the mistake? |
#
# `policy_gradient` knows nothing of boards: it takes log-probabilities of actions and what came of them. So give it those of a language model. The task is as small as a first move in tic-tac-toe: two digits, to be written the other way round. The model is the course's transformer with random weights. It has read nothing, not even once.

# %%
from minidsk import MiniDeepSeek, ModelConfig, results
from minidsk.data.tokenizer import CharTokenizer

tokenizer = CharTokenizer("0123456789>", specials=("<pad>", "<bos>", "<eos>", "<unk>"))
tiny = ModelConfig(
    vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, kv_lora_rank=16,
    qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=16, intermediate_size=64, n_routed_experts=0,
)  # fmt: skip
pairs = [(a, b) for a in range(10) for b in range(10)]
prompts = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(f"{a}{b}>")] for a, b in pairs])
wanted = torch.tensor([tokenizer.encode(f"{b}{a}") for a, b in pairs])
order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
learned, held_out = order[:80], order[80:]
print(f"80 problems to learn from, 20 held out; a random answer is right once in {tokenizer.vocab_size**2} tries")

# %% [markdown]
# The verifier looks at both digits and gives 1 or 0. No half points, no hint which digit was wrong.

# %%
def verify(ids, which):
    """1.0 where the two tokens written are the wanted ones."""
    return (ids[:, -2:] == wanted[which]).all(1).double()


def show(model, which):
    """Greedy answers to some problems."""
    ids = model.generate(prompts[which], 2, temperature=0)
    return "  ".join(tokenizer.decode(row[1:]) for row in ids)


generator = torch.Generator().manual_seed(0)
writer = MiniDeepSeek(tiny, generator).double()
print("held out, before:", show(writer, held_out[:6]))

# %% [markdown]
# And the loop: play, score, subtract the mean, push. Compare it with `against_chance`. The bonus for indecision is the one from the board.

# %%
def step(model, optimizer, generator, bonus=0.05, batch=256):
    """One step of REINFORCE on `batch` answers; their mean score."""
    which = learned[torch.randint(80, (batch,), generator=generator)]
    ids = model.generate(prompts[which], 2, generator=generator)
    score = verify(ids, which)
    logp = model(ids[:, :-1]).logits[:, -2:].log_softmax(-1)
    entropy = -(logp.exp() * logp).sum(-1).mean()
    taken = logp.gather(-1, ids[:, -2:, None]).squeeze(-1)
    loss = policy_gradient(taken, (score - score.mean())[:, None]) - bonus * entropy
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return score.mean().item()


# %%
began, scores = time.perf_counter(), []
optimizer = torch.optim.Adam(writer.parameters(), lr=5e-3, betas=(0.9, 0.99))
for _ in range(300):
    scores.append(step(writer, optimizer, generator))
print("score, by 30 steps:", [round(mean(scores[i : i + 30]), 2) for i in range(0, 300, 30)])
print(f"trained in {time.perf_counter() - began:.1f} s")

# %%
print("held out, after: ", show(writer, held_out[:6]))
right = [verify(writer.generate(prompts[which], 2, temperature=0), which).mean().item() for which in (learned, held_out)]
print(f"greedy and right: {right[0]:.0%} of the 80 problems, {right[1]:.0%} of the 20 that it never saw")
assert min(right) > 0.9

# %% [markdown]
# From random weights, by a verifier alone, no answer ever shown: and it found the *rule*, since it is right on problems that it never saw. For a long time nothing seems to happen; then everything does. As long as hardly any answer is right, there is hardly anything to learn from.
#
# Three seeds, and the parts taken away in turn, recorded:

# %%
words = recorded("ch10_words")["runs"]
for name in dict.fromkeys(run["method"] for run in words):
    of = [run for run in words if run["method"] == name]
    on = {part: " ".join(f"{run[part]:4.0%}" for run in of) for part in ("learned", "held_out")}
    print(f"{name:28} on the 80: {on['learned']}   on the 20: {on['held_out']}")

# %% [markdown]
# ### Why not straight to mathematics?
#
# Then what is pretraining for? Count. With two tokens a random answer is right once in 225 tries: 256 tries a step hold one success. And with more?

# %%
for length in (2, 3, 5, 10, 20):
    tries = tokenizer.vocab_size**length
    print(f"{length:2} tokens: one success in {tries:.1e} random answers, or {tries / 256:.1e} of our steps")

# %% [markdown]
# A board game between two bad players still has a winner, most of the time. An answer of twenty random tokens is right never. Reward can only make likelier what happens sometimes. That is why R1-Zero begins with a *base model*, which has read so much that its answers are sometimes right. (The last line of the table above, addition, is a milder case: the answers are as short, but the rule is harder, and the same number of steps leaves it half learned.)
#
# ## What DeepSeek did
#
# The line of game players is long: a checkers program that trained against itself {cite}`samuel1959`, TD-Gammon {cite}`tesauro1995`, DQN, which learned Atari games from the screen and the score {cite}`mnih2015dqn`, AlphaGo, whose policy first imitated people and was then improved by REINFORCE in games against its earlier selves {cite}`silver2016alphago`, and AlphaGo Zero and AlphaZero {cite}`silver2017alphagozero,silver2018alphazero`, which left out the people. AlphaZero is more than this chapter: at every move it *searches*, and the policy learns to imitate what the search found.
#
# DeepSeek-R1-Zero {cite}`deepseekr1` is to R1 what AlphaGo Zero was to AlphaGo: no demonstrations, a verifier at the end, from a base model. But there is no search in it, and no critic. For a question $q$, answers $o_1, \dots, o_G$ from the policy and their scores $R_i$, the gradient is REINFORCE's with a baseline,
#
# $$ \nabla J = \mathbb{E}\left[ \frac{1}{G} \sum_{i=1}^{G} (R_i - b) \sum_t \nabla \log \pi_\theta(o_{i,t} \mid q, o_{i,<t}) \right], \qquad b = \frac{1}{G} \sum_{j=1}^{G} R_j, $$
#
# up to an average over tokens, a division by the group's standard deviation, a clip, and a penalty for leaving the base model: GRPO {cite}`deepseekmath`, chapter 12's subject. Our batch mean is the same baseline, taken over all prompts at once instead of over one.
#
# They also tried the other half of AlphaZero, Monte Carlo tree search with a value model, and report that it did not work out: the tree of texts is far too wide, and a value model for half-written thoughts was hard to train {cite}`deepseekr1`. We have not tested that here. Chapter 16 looks at search again.

# %% [markdown]
# ## What went wrong, or did not help
#
# **No baseline: not the disaster that we expected.** We meant to show how the plain score ruins self-play. It does not. With scores from 0 to 1 it is noisier and slower, no more. The recorded runs on three seeds, each but the first with half the recipe's 800 steps. *Loses*: in how many of the 3,888 positions; *worse*: in how many its move is not the best.

# %%
def mean_and_half(values):
    """The mean of three values, and half the width of its 95 % interval (Student's t)."""
    return mean(values), 4.303 * stdev(values) / 3**0.5


for name in dict.fromkeys(run["method"] for run in tictactoe):
    of = [run for run in tictactoe if run["method"] == name]
    middle, half = mean_and_half([run["losing"] for run in of])
    losing, worse = (" ".join(f"{run[key]:4}" for run in of) for key in ("losing", "worse"))
    print(f"{name:20} loses {losing}, mean {middle:4.0f} ± {half:4.0f}  worse {worse}")

# %% [markdown]
# The baseline's place shows all the same, in the last column: with the value head a handful of moves are less than the best, with the batch mean twenty or more, with none thirty or more.
#
# **No baseline, and scores that mean the same.** Add 10 to every score: 10 for a loss, 11 for a win. The same preferences, the same best play. With a baseline the runs would not change. Without:

# %%
runs["no baseline, scores 10 to 11"] = three(shift=10.0)
runs["value, rate 0.3"] = three(baseline="value", lr=0.3)
for name in ("no baseline", "value", "no baseline, scores 10 to 11", "value, rate 0.3"):
    ends = [mean(history[-10:]) for _, history in runs[name]]
    middle, half = mean_and_half(ends)
    print(f"{name:28} at the end {[round(e, 2) for e in ends]}, mean {middle:.2f} ± {half:.2f}")

# %% [markdown]
# Each of its three seeds ends below each of those with scores from 0 to 1. Every move that is made is pushed up, whatever comes of it, and the moves that happen to be made often at first are made for ever. The model of words tells the same in the table above: *no baseline* is harmless where most answers score 0 (a zero pushes nothing), and learns nothing at all with scores of 1 and 2. So the honest rule is not "REINFORCE needs a baseline" but: **it needs a zero in the right place, and a baseline puts it there**.
#
# **Too high a rate.** At 0.3, twenty times ours, the policy is certain of its moves within a few steps (its logits are enormous), and what is certain is never tried otherwise: no other move, no other score, no gradient. Nothing in the loss says so. The entropy does:

# %%
def entropy_over_time(lr):
    """Entropy of the moves in self-play, in nats, at some steps."""
    seen = []
    config = SelfPlayConfig(steps=60, games=256, lr=lr)
    _ = train(board, config, lambda step, policy, stats: seen.append(stats["entropy"]))
    return [round(seen[i - 1], 2) for i in (1, 2, 5, 10, 20, 40, 60)]


print("steps      ", [1, 2, 5, 10, 20, 40, 60])
for lr in (0.015, 0.3):
    print(f"rate {lr:<5}:", entropy_over_time(lr))

# %% [markdown]
# **From the empty board alone.** Without openings the policy meets only positions that it steers into. It fails in the others, by the dozen or by the hundred, and not even its own path is safe:

# %%
for name in ("half the steps", "from the empty board"):
    ends = [run["lost_endings"] for run in tictactoe if run["method"] == name]
    first, second = ([e[f"moving {turn}"] for e in ends] for turn in ("first", "second"))
    print(f"{name:21} lost endings moving first {first}, second {second}")

# %% [markdown]
# We think that the two sides agreed on a line of play, and that nobody looked beside it: a policy is good where it has been, and it had better have been everywhere. The three seeds also differ more from each other than any others in this chapter.
#
# **Without the bonus.** Some positions remain, more than with it, though at three seeds the intervals overlap. We think of a move that was tried early, when the policy could not yet play what follows, lost, and was never tried again. For the language model it is no matter of nuances: see *no entropy bonus* in its table.
#
# **What does not carry over.** In self-play the opponent grows with the learner, and the task becomes harder by itself. A verifier does not grow. R1-Zero has no opponent, and once its groups are all right there is nothing left to learn: chapter 12 counts them.
#
# ## Exercises
#
# ```{exercise} The gradient, without a loop
# :label: ex-10-reinforce
#
# *15 minutes.* Write `slow_gradient` for a whole batch at once. The task is printed below; `check("games.reinforce", my_reinforce)` knows six mistakes by name.
#
# **Hint.** Softmax over the legal moves alone, minus a one-hot of the move, times one number a row.
# ```

# %%
print(describe("games.reinforce"))


def my_reinforce(logits, legal, moves, scores, baseline):
    raise NotImplementedError


# check("games.reinforce", my_reinforce)

# %% [markdown]
# ```{solution-start} ex-10-reinforce
# :class: dropdown
# ```

# %%
def whole_gradient(logits, legal, moves, scores, baseline):
    p = logits.masked_fill(~legal, -torch.inf).softmax(1)
    made = torch.nn.functional.one_hot(moves, logits.shape[1])
    return (p - made) * (scores - baseline)[:, None] / len(moves)


answer = check("games.reinforce", whole_gradient)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Who gets which score?
# :label: ex-10-credit
#
# *5 minutes.* Write `credit(moves, winner)`: the score of every move of a finished game of self-play. `check("games.credit", my_credit)`.
#
# **Hint.** `torch.arange(moves) % 2` is the side that made each move.
# ```

# %%
print(describe("games.credit"))


def my_credit(moves, winner):
    raise NotImplementedError


# check("games.credit", my_credit)

# %% [markdown]
# ```{solution-start} ex-10-credit
# :class: dropdown
# ```

# %%
def credit_solution(moves, winner):
    side = torch.arange(moves) % 2
    return torch.full((moves,), 0.5) if winner == -1 else (side == winner).float()


answer = check("games.credit", credit_solution)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Perfect play
# :label: ex-10-minimax
#
# *10 minutes.* Write `minimax(tree)`, for a tree of nested lists with scores of side 0 at its leaves. `check("games.minimax", my_minimax)`. Then: what is the small world's position worth against perfect play, move by move?
#
# **Hint.** One side wants the largest number, the other the smallest. Whose turn it is changes with every level.
# ```

# %%
def my_minimax(tree):
    raise NotImplementedError


# check("games.minimax", my_minimax)

# %% [markdown]
# ```{solution-start} ex-10-minimax
# :class: dropdown
# ```

# %%
def minimax_solution(tree, ours=True):
    if not isinstance(tree, list):
        return tree
    values = [minimax_solution(branch, not ours) for branch in tree]
    return max(values) if ours else min(values)


after_each = (1.0, [[0.0], [0.0]], [[0.0], [1.0]])  # top right, left, bottom left; then O chooses
print("against perfect play:", [minimax_solution(branch, ours=False) for branch in after_each])
answer = check("games.minimax", minimax_solution)
assert answer
answer

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} The quietest baseline
# :label: ex-10-baseline
#
# *20 minutes, with pencil.* The mean score is a good baseline, but which constant is the best? Minimise the variance of $(R - b)\, \nabla \log p_a$ over $b$, and write `best_baseline(probability, score, square)`. `check("games.best_baseline", my_best_baseline)`. When is it the mean?
#
# **Hint.** The mean of the estimate does not depend on $b$, so only $\mathbb{E}[(R - b)^2 \lVert \nabla \log p_a \rVert^2]$ matters: a parabola in $b$.
# ```

# %%
print(describe("games.best_baseline"))


def my_best_baseline(probability, score, square):
    raise NotImplementedError


# check("games.best_baseline", my_best_baseline)

# %% [markdown]
# ```{solution-start} ex-10-baseline
# :class: dropdown
# ```

# %%
def best_baseline_solution(probability, score, square):
    return (probability * square * score).sum() / (probability * square).sum()


answer = check("games.best_baseline", best_baseline_solution)
assert answer
answer

# %% [markdown]
# It is the mean score if all gradients are equally long, as in our small world with its even odds. Otherwise a rare move, whose gradient is long, counts for more {cite}`greensmith2004`. Nearly everybody uses the mean all the same, or a value.
#
# ```{solution-end}
# ```
#
# ```{exercise} Half a point for a digit
# :label: ex-10-half
#
# *10 minutes.* Let the verifier give half a point for each right digit. Say first: how many times fewer answers does the writer need until it is right nine times in ten?
#
# **Hint.** One line of `verify`. How often does a random answer earn anything now?
# ```

# %% [markdown]
# ```{solution-start} ex-10-half
# :class: dropdown
# ```

# %%
for name in ("the recipe", "half a point a digit"):
    curves = [run["curve"] for run in words if run["method"] == name]
    until = [next((int(answers) for answers, _, greedy, _ in points if greedy >= 0.9), None) for points in curves]
    print(f"{name:22} answers until 90 % are right, three seeds: {until}")

# %% [markdown]
# A digit is right by chance once in 15 tries, so there is something to learn from the first step on. This is called *reward shaping*, and it is a temptation: with words, "half a point for a nice beginning" teaches nice beginnings. R1-Zero's reward stays with the final answer.
#
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# Three wrong gradients live in the package. Write tests that pass the right one and catch all three. These do it; try with two.

# %% tags=["zoo"]
THREE = torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.tensor([0]), torch.ones(1), torch.tensor([0.5])


def what_one_gains_the_others_lose(reinforce):
    assert abs(float(reinforce(*THREE).sum())) < 1e-6


def illegal_moves_are_left_alone(reinforce):
    logits, legal, *rest = THREE
    assert float(reinforce(logits, torch.tensor([[True, True, False]]), *rest)[0, 2]) == 0


def the_small_world(reinforce):
    assert torch.allclose(reinforce(*THREE), torch.tensor([[-1 / 3, 1 / 6, 1 / 6]]), atol=1e-6)


caught = zoo("games", [what_one_gains_the_others_lose, illegal_moves_are_left_alone, the_small_world])
assert caught
caught

# %% [markdown]
# ## The opening question

# %%
print(f"positions of {len(start):,} in which its likeliest move loses: untrained {judge(snapshots[0], solution).losing:,}, "
      f"from {needed:,} games on {curve[-1][1].losing}")
print(f"the language model, right on problems that it never saw: {right[1]:.0%}")

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
ends = {name: [mean(history[-10:]) for _, history in of] for name, of in runs.items()}
spreads = {f"score against chance, {name}": values for name, values in ends.items()}
if recipe:
    spreads["recorded, positions it loses"] = [run["losing"] for run in recipe]
    spreads["recorded, seconds of training"] = [run["seconds"] for run in recipe]
receipt(spread=spreads, differences={"gradient": (difference, 1e-12), "values by minimax": (wrong, 0)})

# %% [markdown]
# ## Summary
#
# In how many of the 3,888 positions does it still lose? In **none**: nobody beats it from anywhere, on this run and on three recorded seeds, after some 300,000 games against itself, in about twenty seconds. It was told the end of each game, and nothing else. And the same function, given the log-probabilities of a language model with random weights, taught it to reverse two digits from a verifier's *right* and *wrong*, on problems that it had never seen as well.
#
# - I can now derive a policy gradient, check it in a world of three moves, and say why its loss is no loss.
# - I can now say what a baseline does and does not change, and measure it.
# - I can now train a policy against itself and prove, position by position, that it does not lose.
# - I can now see in the entropy that a run is dying, when the score does not yet show it.
# - I can now read an answer as a game, and say why a base model must come first.
#
# ## Read on
#
# - Williams, 1992 {cite}`williams1992`: REINFORCE, the baseline included.
# - Sutton and Barto {cite}`sutton2018`, chapter 13 for policy gradients, chapter 5 for starts that explore.
# - AlphaGo Zero {cite}`silver2017alphagozero`: what search adds to all this.
# - DeepSeek-R1 {cite}`deepseekr1`, section 2.2, and what it says on its unsuccessful attempts.
# - Next: there is no verifier for kindness. Chapter 11 learns from people's preferences, with a critic, and writes the bill.
