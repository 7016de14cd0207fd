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
# A network plays tic-tac-toe against itself, and it begins by moving at random. It never sees a good move, and it is never told which of its moves was bad. After each game it only learns whether it won, drew or lost. There are 3,888 positions in which the side to move can avoid losing. After less than a minute of games against itself, in how many of these 3,888 tic-tac-toe positions does the network still lose? And can the same few lines teach a language model to answer?
#
# - **You will build** the policy gradient, from one game on paper to a player that cannot be beaten. Then you apply the same function to a language model.
# - **You need** PyTorch, and to know what a gradient is, but no reinforcement learning. [Chapter 06](06_pretraining.ipynb) helps at the end.
# - **It takes** about a minute to run on two idle CPU cores of a laptop, up to three on busy ones, about twice as long on Colab's two cores, and an hour and a half to read. A GPU takes longer, because it would mostly wait for such small networks.

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("minidsk") is None:  # Colab, for example
    source = "git+https://github.com/minidsk/minidsk"
    get_ipython().run_line_magic("pip", f"install -q 'minidsk[notebooks] @ {source}'")

# %% tags=["hide-input"]
import copy
import time
from functools import lru_cache
from statistics import mean

import matplotlib.pyplot as plt
import torch

from minidsk import results
from minidsk.diagrams import diagram, direct_labels, show, table
from minidsk.homework import check, describe, predict, receipt, zoo
from minidsk.report.interval import interval
from minidsk.rl.selfplay import (
    Policy, SelfPlayConfig, at_random, judge, losses, play, policy_gradient, train,
)  # fmt: skip
from minidsk.tasks.board import Board

plt.style.use("minidsk.diagrams.look")

# %% [markdown]
# ## The problem: one verdict for a whole game
#
# Here is a game between two random players. The board is a row of nine numbers, always seen by the side that is about to move: 1 for its own stones, -1 for the other side's, and 0 for an empty cell. The game runs from left to right, and X moves first.

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
# X won, so each of O's four moves is credited with a 0, the score for a loss. But only one of the four moves lost the game. Try to see which one, before a network finds it later in this chapter, although it was never told.
#
# This is the difficulty of learning from games, and also from answers that are only marked right or wrong: the verdict covers everything at once. Deciding which move deserves the credit or the blame is called **credit assignment**.
#
# Tic-tac-toe is so small that *we* can work out the truth. The function `solve` goes through every position and computes, from the end of the game backwards, the result of perfect play (a method called minimax). We use it only to measure how well the network plays, and the network never sees it.

# %%
solution = board.solve()
safe = solution.value[solution.going] >= 0
print(f"{len(solution.position):,} positions, {len(safe):,} of them with a move to make")
print(f"in {int(safe.sum()):,} of these the side to move need not lose")

start = solution.position[solution.going][safe]
legal = board.legal(start)
share_lost = (((solution.by_move[safe] < 0) & legal).sum(1) / legal.sum(1)).mean().item()
print(f"a random move in one of these turns it into a loss in {share_lost:.0%} of cases")

# %% [markdown]
# Our learner starts here: against a perfect opponent, four of its moves in ten throw the game away. We will count the positions in which its *likeliest* move, the one with the highest probability, loses. "It never loses" will mean this: from each of the 3,888 positions it plays its likeliest moves, the other side tries every possible reply, and no game ends in a loss.
#
# Guess how many games the learner will need for that.

# %% tags=["prediction", "hide-input"]
guess = None
question = "After how many games against itself does it never lose?"
games_needed = predict("games.needed", question, guess, example=1_000_000)
games_needed

# %% [markdown]
# ## A position small enough to compute everything
#
# Before we build a network, we study one position in which X is to move and the opponent O moves at random.

# %% tags=["diagram", "hide-input"]
diagram("policy_gradient_on_a_board")

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
# Of X's three moves, the top right corner wins at once, so it is worth **1**. The bottom left corner wins if O answers on the left and loses if O answers at the top, so against a random O it is worth **½**. If X moves on the left, O wins with either reply, so this move is worth **0**.
#
# A **policy** gives each move a probability. A policy that knows nothing gives each of the three moves ⅓, and its expected score is ½. To find how its probabilities should change, let $p$ be the softmax of three logits, and let $Q = (1, 0, ½)$ be the values of the moves. The expected score is $J = \sum_a p_a Q_a$, and autograd gives its gradient:

# %%
logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
Q = torch.tensor(worth, dtype=torch.float64)
(exact,) = torch.autograd.grad((logits.softmax(0) * Q).sum(), logits)
print("gradient of the expected score:", [round(g, 4) for g in exact.tolist()])
assert torch.allclose(exact, torch.tensor([1 / 6, -1 / 6, 0], dtype=torch.float64))

# %% [markdown]
# Each component of this gradient is $p_a (Q_a - J)$, so each move is pushed up or down by how much better or worse it is than expected. But the formula needs $Q$, which only we know. A player has only *games*, and in one game it makes one move $a$ and receives one score $r$. Williams {cite}`williams1992` showed that this is enough. Because $\nabla p_a = p_a \nabla \log p_a$, the gradient is $\sum_a Q_a \nabla p_a = \sum_a p_a \, Q_a \nabla \log p_a$. This is the average of $r \, \nabla \log p_a$ over all games.
#
# For a softmax, $\nabla \log p_a$ is a one-hot vector of the move that was made, minus the probabilities. In our position a game can go in four ways:

# %%
# move, score, how often
outcomes = [(0, 1.0, 1 / 3), (1, 0.0, 1 / 3), (2, 1.0, 1 / 6), (2, 0.0, 1 / 6)]
direction = torch.eye(3, dtype=torch.float64) - 1 / 3
average, rows = torch.zeros(3, dtype=torch.float64), []
for move, score, often in outcomes:
    estimate = score * direction[move]
    average += often * estimate
    pushes = [f"{g + 0:.2f}" for g in estimate]
    rows.append([f"{cells[move]}", f"{score:.0f}", f"{often:.0%}", *pushes])
assert torch.allclose(average, exact)
rows.append(["average", "", "", *(f"{g:.4f}" for g in average)])
table(["move to cell", "score", "of games", *(f"push on {cell}" for cell in cells)], rows)

# %% [markdown]
# The average is exactly right, although every single estimate is wrong. A lost game contributes nothing, because its score of 0 multiplies the gradient, and a lucky win by the bottom left corner pushes as hard as the certain win. The player can still learn, because these errors cancel over many games.
#
# ```{warning}
# Code that uses this method minimises a "loss", $-r \log p_a$. It can rise while the player improves, and it means nothing beyond its gradient, so watch the score instead.
# ```
#
# ## The gradient, written slowly
#
# A batch contains many moves, each made in its own position, and we average over the moves. The slow version below uses loops and contains two additions. Illegal moves get no probability, and a `baseline` is subtracted from the score, which you can take as 0 until a later section explains it.

# %% tags=["naive"]
def slow_gradient(logits, legal, moves, scores, baseline):
    """Gradient of the mean of -log p(move) * (score - baseline), move by move.

    logits and legal [M, moves]; moves, scores and baseline [M].
    """
    gradient = torch.zeros_like(logits)
    for m in range(len(moves)):
        allowed = legal[m].nonzero().flatten().tolist()
        total = sum(logits[m, a].exp() for a in allowed)
        for a in allowed:
            p = logits[m, a].exp() / total
            push = (p - float(a == moves[m])) * (scores[m] - baseline[m])
            gradient[m, a] = push / len(moves)
    return gradient


# %% [markdown]
# We also write minimax in the most direct way. A position is a tuple, and its value is the best value that any move leads to. The value of the next position changes sign, because that position is seen from the other side.

# %%
ROWS, COLUMNS = [(0, 1, 2), (3, 4, 5), (6, 7, 8)], [(0, 3, 6), (1, 4, 7), (2, 5, 8)]
LINES = [*ROWS, *COLUMNS, (0, 4, 8), (2, 4, 6)]


@lru_cache(None)
def slow_value(cells: tuple[int, ...]) -> int:
    """1 won, 0 drawn, -1 lost, for the side to move; `cells` as that side sees them."""
    if any(all(cells[c] == -1 for c in line) for line in LINES):
        return -1
    free = [c for c in range(9) if cells[c] == 0]
    after = [tuple(-1 if c == move else -cells[c] for c in range(9)) for move in free]
    return max((-slow_value(position) for position in after), default=0)


print("value of the empty board:", slow_value((0,) * 9))
print(f"positions visited: {slow_value.cache_info().currsize:,}")

# %% [markdown]
# ## The package's versions give the same results
#
# The module `minidsk.tasks.board` plays hundreds of games in one tensor and solves a game level by level. `minidsk.rl.selfplay.policy_gradient` is a single line, the mean of `-logp * advantage`, where the *advantage* is the score minus the baseline. Both must agree with the slow versions, on 200 games with random logits and on every position.

# %%
g = torch.Generator().manual_seed(0)
some = play(board, (chance, chance), board.empty(200), g)
may = board.legal(some.position)
leaf = torch.randn(may.shape, generator=g, dtype=torch.float64, requires_grad=True)
baseline = torch.rand(len(may), generator=g, dtype=torch.float64)

# %% tags=["agree"]
logp = leaf.masked_fill(~may, -torch.inf).log_softmax(1)
policy_gradient(logp[range(len(may)), some.move], some.score - baseline).backward()
slowly = slow_gradient(leaf.detach(), may, some.move, some.score, baseline)
difference = (slowly - leaf.grad).abs().max().item()
slow = [slow_value(tuple(cells)) for cells in solution.position.tolist()]
wrong = sum(ours != theirs for ours, theirs in zip(slow, solution.value.tolist(), strict=True))
assert difference < 1e-12
assert wrong == 0
print(f"largest difference of {len(may):,} gradients: below 1e-12")
print(f"positions with another value: {wrong} of {len(slow):,}")

# %% [markdown]
# ## First opponent: a player that moves at random
#
# Our policy is a small network with an input of 18 numbers (nine for its own stones and nine for the other side's), followed by two hidden layers of width 128 and two outputs, called heads. One head gives a logit for each move, and the other predicts the score. The move head starts at zero, so every legal move is equally likely at first.
#
# The policy plays X against a random O. After every 256 games it takes one gradient step on its own moves. Here is the whole step:

# %%
def learn(policy, optimizer, games, config):
    """One gradient step on the moves of `games`."""
    logits, value = policy(games.position)
    logp = logits.log_softmax(1)
    taken = logp.gather(1, games.move[:, None]).squeeze(1)
    baselines = {"none": 0.0, "mean": games.score.mean(), "value": value.detach()}
    loss = policy_gradient(taken, games.score - baselines[config.baseline])
    # later: the entropy bonus, without illegal moves, and the error of the predicted score
    entropy = -(logp.exp() * logp.masked_fill(logp == -torch.inf, 0)).sum(1).mean()
    loss = loss - config.entropy * entropy + (value - games.score).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


# %%
def against_chance(config, shift=0.0):
    """A policy trained as X against a random O, and its mean score in each step.

    `shift` is added to every score.
    """
    g = torch.Generator().manual_seed(config.seed)
    policy = Policy(board, config.width, g)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.lr, betas=(0.9, 0.99))
    history = []
    for _ in range(config.steps):
        games = play(board, (policy, chance), board.empty(config.games), g)
        games = games.of(games.ply % 2 == 0)  # X's moves
        history.append(games.score[games.ply == 0].mean().item())
        games.score += shift
        learn(policy, optimizer, games, config)
    return policy, history


# %%
SEEDS = (0, 1, 2)
ROUND = SelfPlayConfig(steps=60, games=256, baseline="none")


def several(shift=0.0, seeds=SEEDS, **changes):
    """The same on several seeds."""
    settings = [{**vars(ROUND), **changes, "seed": seed} for seed in seeds]
    return [against_chance(SelfPlayConfig(**chosen), shift) for chosen in settings]


runs = {"no baseline": several()}
for seed, (_, history) in zip(SEEDS, runs["no baseline"], strict=True):
    first, last = history[0], mean(history[-10:])
    print(f"seed {seed}: mean score {first:.2f} in the first step, {last:.3f} in the last ten")

# %% [markdown]
# The method, called **REINFORCE**, works: the policy beats the random player more and more often. But could it learn more from the same number of games?
#
# ## A baseline reduces the noise
#
# In the small position, a lucky win pushed as hard as the certain win, and a loss did not push at all, because we multiplied the gradient by the score itself. Suppose we multiply it by *score minus ½* instead, where ½ is the score that we expected anyway. Then a loss also pushes, in the opposite direction.
#
# Such a number $b$ is called a **baseline**. It does not change the average if it does not depend on the move, because $\mathbb{E}[b\, \nabla \log p_a] = b \sum_a p_a \nabla \log p_a = b\, \nabla \sum_a p_a = b\, \nabla 1 = 0$. What changes is the noise, which we can compute exactly in the small position:

# %%
def noise(baseline: float, shift: float = 0.0) -> float:
    """Exact variance of one game's estimate in the small position, over all three logits."""
    how_often = torch.tensor([often for _, _, often in outcomes], dtype=torch.float64)
    pushes = [(score + shift - baseline) * direction[move] for move, score, _ in outcomes]
    average = (how_often[:, None] * torch.stack(pushes)).sum(0)
    assert torch.allclose(average, exact)
    square = (how_often * torch.stack(pushes).square().sum(1)).sum()
    return (square - average.square().sum()).item()


cases = ((0, 0.0), (0, 0.5), (1, 0.0), (1, 1.5), (10, 0.0), (10, 10.5))
rows = [[f"{shift} to {shift + 1}", f"{b:.1f}", f"{noise(b, shift):.3f}",
         f"{noise(b, shift) / noise(0.5):.1f}"] for shift, b in cases]
table(["scores", "baseline", "variance", "relative to the best"], rows)

# %% [markdown]
# With a baseline of ½ the variance falls to two fifths, so two fifths of the games are enough for the same accuracy. In the lower lines every player also gets a point for taking part, so that a loss scores 1 and a win scores 2. The game has not changed, but without a baseline the variance is now about fifteen times as large as with one. *Without a baseline, the noise depends on where we put the zero of the score.* Below we will see this ruin a run.
#
# The cheapest baseline is the mean score of the batch. But if X is about to win, the baseline should be higher than if X is about to lose. We therefore let the network predict it. Its second head, the *value head*, is trained to predict the score from the position, and its prediction is the baseline for that position.

# %%
runs["batch mean"] = several(baseline="mean")
runs["value head"] = several(baseline="value")

# %% tags=["hide-input"]
tens = {name: torch.tensor([history for _, history in of]).view(3, 6, 10).mean((0, 2)).tolist()
        for name, of in runs.items()}
rows = [[f"{10 * k + 1} to {10 * k + 10}", *(f"{scores[k]:.2f}" for scores in tens.values())]
        for k in range(6)]
ends = [" ".join(f"{mean(h[-10:]):.2f}" for _, h in of) for of in runs.values()]
table(["steps", *runs], [*rows, ["51 to 60, by seed", *ends]], "Mean score against chance")

# %% tags=["figure", "hide-input"]
def smooth(history, width=5):
    return [mean(history[max(0, i - width + 1) : i + 1]) for i in range(len(history))]


fig, ax = plt.subplots(figsize=(7.5, 3.2))
for name, of in runs.items():
    lines = torch.tensor([smooth(history) for _, history in of])
    _ = ax.plot(range(1, 61), lines.mean(0), label=name)
    _ = ax.fill_between(range(1, 61), lines.amin(0), lines.amax(0), alpha=0.15, linewidth=0)
_ = ax.set(xlabel="step (256 games each)", ylabel="mean score against chance")
_ = ax.set(xlim=(1, 60), ylim=(0.65, 0.97))
direct_labels(ax)
last = {name: f"{scores[-1]:.2f}" for name, scores in tens.items()}
show(fig, "Both baselines raise the score faster than no baseline, and to a higher level. "
     "Each line is the mean of three seeds over five steps. Its band holds all three.",
     f"Three lines over 60 steps. All start near {lines[:, 0].mean():.1f}. In the last ten "
     f"steps the mean score is {last['no baseline']} without a baseline, {last['batch mean']} "
     f"with the batch mean and {last['value head']} with the value head.")

# %% [markdown]
# We now measure the noise in the network's gradient, with its thousands of weights. We take one policy, trained for a few steps, and the same 60 batches of 64 games for each baseline. For each batch we compute the gradient of all weights except the value head's. The variance over the batches is the noise, and the squared length of the mean gradient is the signal.

# %%
def gradients(policy, config, batches=60, games=64):
    """One policy gradient per batch, [batches, weights], without value head and bonus."""
    g = torch.Generator().manual_seed(7)
    weights = [p for name, p in policy.named_parameters() if "value" not in name]
    for _ in range(batches):
        of = play(board, (policy, chance), board.empty(games), g)
        of = of.of(of.ply % 2 == 0)
        logits, value = policy(of.position)
        logp = logits.log_softmax(1)[range(len(of.move)), of.move]
        base = {"none": 0.0, "mean": of.score.mean(), "value": value.detach()}[config]
        grads = torch.autograd.grad(policy_gradient(logp, of.score - base), weights)
        yield torch.cat([grad.flatten() for grad in grads])


early, _ = against_chance(SelfPlayConfig(steps=15, games=256))
spread, rows = {}, []
for name in ("none", "mean", "value"):
    each = torch.stack(list(gradients(early, name)))
    spread[name] = each.var(0).sum().item()
    # the mean of 60 gradients is noisy itself
    signal = each.mean(0).square().sum().item() - spread[name] / len(each)
    less = spread["none"] / spread[name]
    rows.append([name, f"{spread[name]:.4f}", f"{signal:.4f}", f"{less:.1f} times"])
assert spread["value"] < spread["mean"] < spread["none"]
table(["baseline", "noise", "signal, about", "less noise"], rows)

# %% [markdown]
# As far as 60 batches can tell, the signal is the same with all three baselines, but the noise is not. Here the batch mean does nearly all of the work, and the value head adds little, because against a random opponent X expects about the same score in most positions. In self-play the value head will matter more.

# %% [markdown]
# ### A high score against a weak opponent is not good play
#
# A score above 0.9 sounds like mastery. We compare the policy with perfect play:

# %%
fool_trained = runs["value head"][0][0]
fool = judge(fool_trained, solution)
print(f"its likeliest move loses in {fool.losing} of {fool.checked:,} positions")
lost = losses(fool_trained, board, board.empty(1))
print("endings lost as X from the empty board, every reply tried:", lost)

# %% [markdown]
# The policy still plays a losing move in 880 of the 3,888 positions. It has learned what works against *this* opponent. In the small position, the bottom left corner is worth ½ against a random player and 0 against one who looks. A policy becomes only as good as its opponents force it to be, and it learns nothing about positions that it never meets.
#
# The learner needs an opponent that is always about as good as itself, and the obvious candidate is the learner itself.
#
# ## Self-play: the opponent improves with the policy
#
# Self-play needs no new code, because `play(board, (policy, policy), ...)` lets the policy play both sides. The package's `train` alternates this with `learn`. The policy learns from the moves of both sides, and as it improves, so does its opponent. The recipe has two more parts:
#
# - **Openings:** each game begins with 0 to 8 random moves, from which the policy does not learn. All kinds of positions then occur, including those that good players avoid.
# - **An entropy bonus:** *entropy* measures how undecided the policy is between moves, and `learn` adds a small reward for it. Without this bonus the policy gives up some moves too early.
#
# The section *What went wrong* shows runs without them. Training takes 800 steps of 512 games each, and `watch` counts the positions in which the likeliest move loses. The learner does not see this count. Because a policy can unlearn a position, `watch` keeps the last that loses none.

# %%
curve, kept, snapshots = [], {}, {0: Policy(board)}
CAUGHT = (10, 25, 50, 100, 200, 400, 800)


def watch(step, policy, stats):
    if step % 25 == 0:
        curve.append((step * 512, judge(policy, solution)))
        if curve[-1][1].losing == 0:
            kept[step * 512] = copy.deepcopy(policy)
    if step in CAUGHT:
        snapshots[step] = copy.deepcopy(policy)


began = time.perf_counter()
_ = train(board, SelfPlayConfig(seed=1), watch)
print(f"trained in {time.perf_counter() - began:.1f} s")

# %%
# tolerance: 60%
master = kept[max(kept)]
unclean = max(games for games, verdict in curve if verdict.losing and games < max(kept))
needed = min(games for games, _ in curve if games > unclean)
games_needed.reveal(needed)

# %% tags=["hide-input"]
# tolerance: 30% + 20
table(["games", "its likeliest move loses in", "is less than the best in"],
      [[games, verdict.losing, verdict.worse] for games, verdict in curve[::4] + curve[-1:]],
      f"This run, counted over {len(start):,} positions")

# %% [markdown]
# The count reaches **zero**. The first question is whether that is true. The function `judge` compares one move at a time with minimax, and `losses` checks the same claim without minimax. It starts from each of the 3,888 positions, lets the policy play its likeliest moves and the other side *every* possible reply, and counts the endings in which the policy has lost.

# %%
replies = torch.cat([board.play(board.empty(1), torch.tensor([cell])) for cell in range(9)])
print(f"lost endings from {len(start):,} positions:", losses(master, board, start))
print("moving first:", losses(master, board, board.empty(1)))
print("moving second:", losses(master, board, replies))
there = master(small)[0].softmax(1)[0, cells].tolist()
print("in the small position, cells 2, 3, 6:", [round(p, 2) for p in there])
assert judge(master, solution).losing == 0
assert losses(master, board, start) == 0

# %% [markdown]
# The second question is whether we were lucky. We were a little, because we chose seed 1 for the page. The table shows three seeds with the instructions of three processors: our own (*native*), an older one (AVX2) and a very old one (SSE4.1). Each adds the same numbers in its own order, and 800 steps turn a difference in the last digit into another policy.

# %% tags=["hide-input"]
def first_clean(run) -> int | None:
    """Games after which no judgement found a losing position any more."""
    curve = run["curve"]
    clean = [all(losing == 0 for _, losing, _ in curve[i:]) for i in range(len(curve))]
    return curve[clean.index(True)][0] if any(clean) else None


def at_the_end(run) -> str:
    """How many positions it loses, and since when."""
    games = first_clean(run)
    return f"{run['losing']}" if games is None else f"{run['losing']} ({games:,})"


processors = {"native": "native", "avx2": "AVX2", "sse41": "SSE4.1"}
read = results.read
ends = [read("ch10_selfplay_processors", f"{part}/metrics.json") for part in processors]
rows = [[seed, *(at_the_end(end["runs"][seed]) for end in ends)] for seed in SEEDS]
table(["seed", *processors.values()], rows,
      f"Positions of {len(start):,} in which the likeliest move loses after 800 steps "
      "(in brackets, the number of games after which there are none)")

# %% [markdown]
# Eight of the nine runs end at zero. With seed 0 and AVX2, the count flickers between none and one until the last step, and it ends at one. So read our zero as **none or nearly none**. The figure compares this page's run with three seeds of an earlier record, which also holds runs without each part of the recipe in turn.

# %% tags=["figure", "hide-input"]
# tolerance: 30% + 20
def recorded(name):
    """The runs of a record; how they were made is printed."""
    print(results.origin(name))
    return results.read(name)["runs"]


tictactoe = recorded("ch10_selfplay")
recipe = [run for run in tictactoe if run["method"] == "the recipe"]
games = [n / 1000 for n, _, _ in recipe[0]["curve"]]
others = torch.tensor([[losing for _, losing, _ in run["curve"]] for run in recipe])
ours = [judge(snapshots[0], solution).losing, *(verdict.losing for _, verdict in curve)]
fig, panels = plt.subplots(1, 2, figsize=(7.5, 3.4), width_ratios=(2, 3))
for ax, span in zip(panels, (slice(0, 6), slice(5, None)), strict=True):
    low, high = others[:, span].amin(0), others[:, span].amax(0)
    _ = ax.fill_between(games[span], low, high, color="C1", alpha=0.35, linewidth=0)
    _ = ax.plot(games[span], ours[span], marker=".", markersize=6, clip_on=False)
    _ = ax.set(xlabel="thousand games", xlim=(games[span][0], games[span][-1]), ylim=(0, None))
_ = panels[0].set(title="The first games ...", ylabel=f"losing positions of {len(start):,}")
_ = panels[1].set(title="... and all the others, magnified", ylim=(0, 27))
_ = panels[1].text(150, 12, "this run", color="C0")
_ = panels[1].text(150, 16, "three recorded seeds", color="C1")
show(fig, f"The first {games[5]:.0f} thousand games remove nearly all of the {ours[0]:,} "
     f"losing positions. The last {ours[5]} take several times as long. The band goes from "
     "the best of three recorded seeds to the worst.",
     f"Two panels of one curve. On the left, the count falls from {ours[0]:,} to {ours[5]} in "
     f"{games[5]:.0f} thousand games. On the right, it falls to {ours[-1]} after "
     f"{games[-1]:.0f} thousand, and the recorded seeds fall to {others[:, -1].tolist()}.")

# %% [markdown]
# ## It learns to win first, and to block later
#
# Every child learns two things about this game: complete your own line if you can, and otherwise block the other side's. We count how often each snapshot of the policy does so, over all positions where it is possible.

# %%
def wins_with(cell, position, stone):
    """Whether `stone` on the free cell finishes a line, bool [positions]."""
    filled = position.clone()
    filled[:, cell] = stone
    return (position[:, cell] == 0) & (filled[:, board.lines] == stone).all(2).any(1)


open_win, threat = (
    torch.stack([wins_with(cell, start, stone) for cell in range(9)], 1) for stone in (1, -1)
)
must_block = ~open_win.any(1) & (threat.sum(1) == 1)
# tolerance: 8
rows = []
for trained, policy in snapshots.items():
    likeliest = policy(start)[0].argmax(1, keepdim=True)
    takes = open_win.gather(1, likeliest)[open_win.any(1)].double().mean()
    blocks = threat.gather(1, likeliest)[must_block].double().mean()
    rows.append([trained, f"{takes:.0%}", f"{blocks:.0%}"])
table(["step", "takes an open win", "blocks a threat"], rows, "Where it is possible")

# %% [markdown]
# Even after training, the policy does not always take an open win. This is not a mistake, because a win in three moves earns the same score as a win in one.
#
# Now play against the policy. The slider chooses how long it has trained, and the figure shows the probabilities of its last move. Early snapshots see their own wins but not yours.

# %% tags=["widget", "nbval-ignore-output"]
from minidsk.widgets import BoardGame

BoardGame.of(solution, snapshots)

# %% [markdown]
# ## The value head finds the losing move
#
# In the game from the beginning, O lost with four moves that were each credited with a 0. The value head of the trained policy predicts what each side expects before its move. What it expects after the move is one minus what the other side then expects.

# %%
with torch.no_grad():
    expected = master(game.position)[1]
after = torch.cat((1 - expected[1:], game.score[-1:]))
truth = solution.value[solution.of(game.position)]
blame = (after - expected)[1::2]  # O's moves
assert truth[1::2].tolist() == [0, 0, -1, -1]
assert blame.argmin() == 1
assert (blame < -0.25).sum() == 1

# %% tags=["hide-input"]
# tolerance: 0.2
side, in_truth = ("X", "O"), ("lost", "drawn", "won")
rows = [[f"{i + 1}, {side[i % 2]}", cell, in_truth[truth[i] + 1], f"{game.score[i]:.0f}",
         f"{expected[i]:.2f}", f"{after[i]:.2f}",
         f"{game.score[i] - expected[i]:+.2f}", f"{after[i] - expected[i]:+.2f}"]
        for i, cell in enumerate(game.move.tolist())]
gains = ("score - before", "after - before")
table(["move", "cell", "truth", "score", "before", "after", *gains], rows,
      "What the mover expects. Truth is the value of the position before the move.")

# %% [markdown]
# O lost the game with its second move (number 4, cell 3). Before this move O could expect a draw, and after it a loss. The network learned this from final scores alone.
#
# The table gives credit in two ways. Our policy learned from *score minus before*. It does not blame O's last two moves, because the game was already lost. But it blames the innocent first move as much as the second, because it charges a move with everything that follows. These errors only cancel over many games. *After minus before* blames only the second move, but it relies on the value head, which may be wrong. There are compromises between the two, and [chapter 11](11_human_feedback.ipynb) uses one of them (generalised advantage estimation {cite}`schulman2015gae`).
#
# A network that predicts scores in order to serve as a baseline is called a **critic**. Ours is one additional output of the policy. For a language model it is usually a second model as large as the first, and chapters [11](11_human_feedback.ipynb) and [12](12_grpo.ipynb) start from this cost.
#
# ## Connect Four, with the same code
#
# Our second game is Connect Four on a board of four by four, in which stones fall to the bottom of their column and four in a row win. Only the rules change in the code. There are about thirty times as many positions, still few enough to check them all.

# %%
four = Board(rows=4, columns=4, line=4, gravity=True)
four_solution = four.solve()
before = judge(Policy(four), four_solution)
print(f"{len(four_solution.position):,} positions")
print(f"in {before.checked:,} of these the side to move need not lose")
print("perfect play ends in a", ("loss", "draw", "win")[four_solution.value[0] + 1])

# %%
# tolerance: 15%
dropper = train(four, SelfPlayConfig(steps=150))
after = judge(dropper, four_solution)
for games, verdict in ((0, before), (150 * 512, after)):
    share = verdict.losing / verdict.checked
    print(f"after {games:6,} games: loses in {verdict.losing:6,} of them, {share:.1%}")

# %% tags=["hide-input"]
rows = [[run["seed"], run["curve"][-1][0], f"{run['losing'] / run['checked']:.1%}",
         *(run["lost_endings"][f"moving {turn}"] for turn in ("first", "second"))]
        for run in recorded("ch10_connect")]
table(["seed", "games", "positions it loses", "lost endings, moving first", "second"], rows)

# %% [markdown]
# After half a million games the policy is not perfect, because its likeliest move still loses in five to seven of every thousand positions. But its own play does not lead into them. From the empty board it is never beaten on any of the three seeds, moving first or second, whatever the replies. "It never loses from the start" and "it never loses from any position" are different claims.
#
# ## An answer is a game, too
#
# Everything in this chapter can be read again with other words:
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
# The function `policy_gradient` knows nothing about boards. It takes the log-probabilities of actions and the scores that followed, so we can give it those of a language model. Our task is as small as a first move in tic-tac-toe: the model sees two digits and must write them in reverse order. It is the course's transformer with random weights, and it has read no text at all.

# %%
from minidsk import MiniDeepSeek, ModelConfig
from minidsk.data.tokenizer import CharTokenizer

tokenizer = CharTokenizer("0123456789>", specials=("<pad>", "<bos>", "<eos>", "<unk>"))
tiny = ModelConfig(
    vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=1, intermediate_size=64,
    num_attention_heads=2, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8,
    v_head_dim=16, n_routed_experts=0,
)  # fmt: skip
pairs = [(a, b) for a in range(10) for b in range(10)]
prompts = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(f"{a}{b}>")] for a, b in pairs])
wanted = torch.tensor([tokenizer.encode(f"{b}{a}") for a, b in pairs])
order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
learned, held_out = order[:80], order[80:]
print("80 problems to learn from, 20 held out")
print(f"a random answer is right once in {tokenizer.vocab_size**2} tries")

# %% [markdown]
# A **verifier** is a program that checks an answer. Ours looks at both digits and gives a score of 1 or 0, without half points and without a hint which digit was wrong.

# %%
def verify(ids, which):
    """1.0 where the two tokens written are the wanted ones."""
    return (ids[:, -2:] == wanted[which]).all(1).double()


def written(model, which):
    """Greedy answers to some problems."""
    ids = model.generate(prompts[which], 2, temperature=0)
    return "  ".join(tokenizer.decode(row[1:]) for row in ids)


generator = torch.Generator().manual_seed(0)
writer = MiniDeepSeek(tiny, generator).double()
print("held out, before:", written(writer, held_out[:6]))

# %% [markdown]
# The training loop plays, scores, subtracts the mean and takes a step, like `against_chance` above, with the entropy bonus that we used on the board.

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
# tolerance: 0.05
began, scores = time.perf_counter(), []
optimizer = torch.optim.Adam(writer.parameters(), lr=5e-3, betas=(0.9, 0.99))
for _ in range(300):
    scores.append(step(writer, optimizer, generator))
print("score, by 30 steps:", [round(mean(scores[i : i + 30]), 2) for i in range(0, 300, 30)])
print(f"trained in {time.perf_counter() - began:.1f} s")

# %%
print("held out, after: ", written(writer, held_out[:6]))
right = [verify(writer.generate(prompts[which], 2, temperature=0), which).mean().item()
         for which in (learned, held_out)]  # fmt: skip
print(f"right: {right[0]:.0%} of the 80 problems, {right[1]:.0%} of the 20 that it never saw")
assert min(right) > 0.9

# %% [markdown]
# The model learned from a verifier alone, without ever being shown a correct answer. Still it found the *rule*, because it is right on problems that it never saw in training. The score stays near zero for a long time and then rises quickly, because there is hardly anything to learn from until some answers are right.
#
# We also recorded three seeds, with each part removed in turn:

# %% tags=["hide-input"]
words = recorded("ch10_words")
by_method = {}
for run in words:
    by_method.setdefault(run["method"], []).append(run)
parts = ("learned", "held_out")
rows = [[name, *(", ".join(f"{run[part]:.0%}" for run in of) for part in parts)]
        for name, of in by_method.items()]
table(["method", "right on the 80", "right on the 20"], rows, "Three seeds each")

# %% [markdown]
# ### Why not train a model on mathematics in this way?
#
# If this works from random weights, what is pretraining for? With two tokens, a random answer is right once in 225 tries, so the 256 tries of one step contain about one success. With longer answers, successes quickly become rare:

# %%
def readable(number):
    return f"{number:,.0f}" if 1 <= number < 1e6 else f"{number:.1g}"


tries = {length: tokenizer.vocab_size**length for length in (2, 3, 5, 10, 20)}
table(["tokens", "random answers for one success", "steps of 256 answers"],
      [[length, readable(n), readable(n / 256)] for length, n in tries.items()])

# %% [markdown]
# A game between two bad players still has a winner most of the time, but an answer of twenty random tokens is practically never right. A reward can only make things likelier that already happen now and then. This is why DeepSeek-R1-Zero begins with a *base model*, which has read so much text that some of its answers are right. The row *addition* of the table above is a milder case, with answers just as short but a harder rule. In the same number of steps, two seeds learn 84 % and one 28 % of their training problems.

# %% [markdown]
# ## What DeepSeek did
#
# The line of programs that learned to play is long. A checkers program trained against itself {cite}`samuel1959`, and later so did TD-Gammon {cite}`tesauro1995`. DQN learned Atari games from the screen and the score {cite}`mnih2015dqn`. The policy of AlphaGo first imitated people and was then improved by REINFORCE in games against its earlier selves {cite}`silver2016alphago`. AlphaGo Zero and AlphaZero {cite}`silver2017alphagozero,silver2018alphazero` left out the people. AlphaZero does more than this chapter: it *searches* at every move, and its policy learns to imitate what the search found.
#
# DeepSeek-R1-Zero {cite}`deepseekr1` is to R1 what AlphaGo Zero was to AlphaGo: it starts from a base model and learns from a verifier alone, without demonstrations. But it has neither search nor critic. For a question $q$, the policy writes answers $o_1, \dots, o_G$ with scores $r_i$, and the gradient is that of REINFORCE with a baseline:
#
# $$ \nabla J = \mathbb{E}\left[ \frac{1}{G} \sum_{i=1}^{G} (r_i - b) \sum_t \nabla \log \pi_\theta(o_{i,t} \mid q, o_{i,<t}) \right], \qquad b = \frac{1}{G} \sum_{j=1}^{G} r_j. $$
#
# R1-Zero's method, GRPO {cite}`deepseekmath`, adds four things that [chapter 12](12_grpo.ipynb) explains: an average over tokens, a division by the group's standard deviation, a clip, and a penalty for moving away from the base model. Our batch mean is the same baseline, taken over all prompts instead of one.
#
# DeepSeek also tried the other half of AlphaZero, Monte Carlo tree search with a value model, and reports that it did not work {cite}`deepseekr1`. The tree of possible texts was far too wide, and a value model for unfinished thoughts was hard to train. We have not tested this here, and a later chapter returns to search.

# %% [markdown]
# ## What went wrong, or did not help
#
# **Training without a baseline was not the disaster that we expected.** With scores from 0 to 1, self-play is only noisier and slower. The next cell shows the recorded runs on three seeds, all except the first with half of the recipe's 800 steps. Of the 3,888 positions, *loses* counts those in which the likeliest move loses, and *worse* those in which it is not the best.

# %% tags=["hide-input"]
rows = []
for name in dict.fromkeys(run["method"] for run in tictactoe):
    of = [run for run in tictactoe if run["method"] == name]
    middle, half = interval([run["losing"] for run in of])
    losing, worse = (", ".join(f"{run[key]}" for run in of) for key in ("losing", "worse"))
    rows.append([name, losing, f"{middle:.0f} ± {half:.0f}", worse])
table(["method", "loses", "mean of loses", "worse"], rows, "Three seeds; ± is a 95 % interval")

# %% [markdown]
# The baseline shows in the last column. After 400 steps with the value head (*half the steps*), only a handful of moves are not the best. With the batch mean there are twenty or more, and without a baseline more than thirty.
#
# **Without a baseline, equivalent scores can ruin a run.** We add 10 to every score, so that a loss scores 10 and a win scores 11. The best play stays the same, and a baseline would subtract the added 10 again. Without a baseline, the score at the end is lower:

# %%
# tolerance: 0.1
SIX = range(6)
six = {
    "no baseline": runs["no baseline"] + several(seeds=SIX[3:]),
    "no baseline, scores 10 to 11": several(shift=10.0, seeds=SIX),
    "value, rate 0.3": several(baseline="value", lr=0.3, seeds=SIX),
}
found = {name: interval([mean(h[-10:]) for _, h in of]) for name, of in six.items()}
middle, half = found["no baseline"]
assert sum(found["no baseline, scores 10 to 11"]) < middle - half
rows = [[name, f"{middle:.2f} ± {half:.2f}"] for name, (middle, half) in found.items()]
table(["method", "score at the end"], rows, "Six seeds each, with the 95 % interval")

# %% [markdown]
# The interval for scores from 10 to 11 lies entirely below the one for scores from 0 to 1. With such scores every move that is made is pushed up, whatever its result. Moves that happen to be made often at first are then made forever.
#
# The language model's table above shows the same. Leaving out the baseline does no harm there as long as most answers score 0, because a score of 0 pushes nothing. With scores of 1 and 2 and no baseline, the model learns nothing at all. So "REINFORCE needs a baseline" is not quite true: **it needs the zero of the score in the right place, and a baseline puts it there.**
#
# **Too high a learning rate ends the learning, and the loss does not show it.** At a rate of 0.3, twenty times ours, the logits become enormous, and within a few steps the policy is certain of its moves. A policy that is certain tries no other move, so it sees no other score and gets no gradient. The entropy shows it:

# %%
STEPS = (1, 2, 5, 10, 20, 40, 60)


def entropy_over_time(lr):
    """Entropy of the moves in self-play, in nats, at some steps."""
    seen = []
    config = SelfPlayConfig(steps=60, games=256, lr=lr)
    _ = train(board, config, lambda step, policy, stats: seen.append(stats["entropy"]))
    return [f"{seen[i - 1]:.2f}" for i in STEPS]


# tolerance: 0.2
rows = [[f"{lr}", *entropy_over_time(lr)] for lr in (0.015, 0.3)]
table(["learning rate", *(f"step {i}" for i in STEPS)], rows, "Entropy of the moves, in nats")

# %% [markdown]
# **Starting every game from the empty board fails.** Without openings, the policy meets only the positions into which it steers. In the table above, its likeliest move loses in 1,265, 673 and 81 of the 3,888 positions with the three seeds. It is not even safe in games that begin on the empty board:

# %% tags=["hide-input"]
rows = []
for name in ("half the steps", "from the empty board"):
    lost = [run["lost_endings"] for run in tictactoe if run["method"] == name]
    turns = ("moving first", "moving second")
    rows.append([name, *(", ".join(f"{endings[turn]}" for endings in lost) for turn in turns)])
table(["method", *turns], rows, "Lost endings from the empty board, three seeds")

# %% [markdown]
# We think that both sides settled on one line of play, so the policy stayed weak outside it.
#
# **Without the entropy bonus, some losing positions remain.** There are more of them than with the bonus, although the intervals of three seeds overlap. We think that the policy tried some move too early, lost, and never tried it again. For the language model the bonus matters far more, as its table shows.
#
# **Verifiers do not grow with the learner.** In self-play the opponent improves, so the task becomes harder by itself. R1-Zero has no opponent, and when all answers in a group are right, there is nothing left to learn from that group. [Chapter 12](12_grpo.ipynb) counts such groups.
#
# ## Exercises
#
# ```{exercise} The gradient, without a loop
# :label: ex-10-reinforce
#
# *15 minutes.* Write `slow_gradient` for a whole batch at once, as the next cell describes it. `check("games.reinforce", my_reinforce)` recognises six mistakes and names the one you made.
#
# **Hint.** Start with a softmax over the legal moves alone. Subtract a one-hot vector of the move, and multiply each row by one number.
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
# *5 minutes.* Write `credit(moves, winner)`, which returns the score of every move in a finished game of self-play, and test it with `check("games.credit", my_credit)`.
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
# *10 minutes.* Write `minimax(tree)` for a tree of nested lists, whose leaves are scores of side 0, and test it with `check("games.minimax", my_minimax)`. Then say what each of the three moves in our small position is worth against perfect play.
#
# **Hint.** One side wants the largest number and the other side the smallest. The side to move changes with every level of the tree.
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


# top right, left, bottom left; then O chooses
after_each = (1.0, [[0.0], [0.0]], [[0.0], [1.0]])
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
# *20 minutes, with pencil.* The mean score is a good baseline, but which constant is the best? Find the $b$ that minimises the variance of $(r - b)\, \nabla \log p_a$, write `best_baseline(probability, score, square)`, and test it with `check("games.best_baseline", my_best_baseline)`. When is the best constant equal to the mean?
#
# **Hint.** The mean of the estimate does not depend on $b$. So you only need to minimise $\mathbb{E}[(r - b)^2 \lVert \nabla \log p_a \rVert^2]$, which is a parabola in $b$.
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
# The best constant is the mean score if all gradients have the same length, as in our small position with its equally likely moves. Otherwise a rare move counts for more, because its gradient is long {cite}`greensmith2004`.
#
# ```{solution-end}
# ```
#
# ```{exercise} Half a point for a digit
# :label: ex-10-half
#
# *10 minutes.* Suppose the verifier gives half a point for each right digit. By what factor does this reduce the number of answers that the model needs until it is right nine times in ten? Guess before you look.
#
# **Hint.** You only need to change one line of `verify`. How often does a random answer earn anything now?
# ```

# %% [markdown]
# ```{solution-start} ex-10-half
# :class: dropdown
# ```

# %% tags=["hide-input"]
rows = []
for name in ("the recipe", "half a point a digit"):
    curves = [run["curve"] for run in by_method[name]]
    until = [next(int(n) for n, _, greedy, _ in points if greedy >= 0.9) for points in curves]
    rows.append([name, *until])
table(["scores", *(f"seed {seed}" for seed in SEEDS)], rows, "Answers until 90 % are right")

# %% [markdown]
# The factor is 1.6 to 3. A digit is right by chance once in 15 tries, so the model can learn from the first step on. Giving points for parts of a solution is called *reward shaping*, and it is a temptation. With texts, "half a point for a nice beginning" teaches nice beginnings. R1-Zero's accuracy reward looks only at the final answer.
#
# ```{solution-end}
# ```
#
# ## Bug zoo
#
# Three wrong gradients live in the package. Write tests that pass on the right gradient and fail on all three wrong ones. The folded cell has three.

# %% tags=["zoo", "hide-cell"]
# logits, legal, moves, scores, baseline
THREE = (torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.tensor([0]),
         torch.ones(1), torch.tensor([0.5]))  # fmt: skip


def what_one_gains_the_others_lose(reinforce):
    assert abs(float(reinforce(*THREE).sum())) < 1e-6


def illegal_moves_are_left_alone(reinforce):
    logits, legal, *rest = THREE
    assert float(reinforce(logits, torch.tensor([[True, True, False]]), *rest)[0, 2]) == 0


def the_small_world(reinforce):
    assert torch.allclose(reinforce(*THREE), torch.tensor([[-1 / 3, 1 / 6, 1 / 6]]), atol=1e-6)


tests = [what_one_gains_the_others_lose, illegal_moves_are_left_alone, the_small_world]
caught = zoo("games", tests)
assert caught
caught

# %% [markdown]
# ## The opening question

# %%
print(f"positions of {len(start):,} in which its likeliest move loses:")
print(f"untrained {ours[0]:,}, trained {judge(master, solution).losing}")
print(f"the language model, right on problems that it never saw: {right[1]:.0%}")

# %% [markdown]
# ## Receipt

# %% tags=["receipt"]
ends = {name: [mean(history[-10:]) for _, history in of] for name, of in runs.items()}
spreads = {f"score against chance, {name}": values for name, values in ends.items()}
spreads["recorded, positions it loses"] = [run["losing"] for run in recipe]
spreads["recorded, seconds of training"] = [run["seconds"] for run in recipe]
differences = {"gradient": (difference, 1e-12), "values by minimax": (wrong, 0)}
receipt(spread=spreads, differences=differences)

# %% [markdown]
# ## Summary
#
# The network loses in **none or nearly none** of the 3,888 positions: in none on this page, whose seed we chose, and in one position in one of nine recorded runs. It learned this from 409,600 games against itself, which take less than a minute, and it was only told how each game ended. Two to four hundred thousand games were enough, depending on the seed and on the last digits of the processor's sums.
#
# The same function, with a verifier that only says *right* or *wrong*, also taught a language model with random weights to reverse two digits. The model is right on problems that it never saw, too.
#
# - I can now derive a policy gradient, check it on a position with three moves, and say why its loss is not a loss.
# - I can now say what a baseline does and does not change, and measure it.
# - I can now train a policy against itself and prove, position by position, that it does not lose.
# - I can now see from the entropy that a run has stopped learning, before the score shows it.
# - I can now read an answer as a game, and say why a base model must come first.

# %% [markdown]
# ## Read on
#
# - Williams, 1992 {cite}`williams1992`, introduces REINFORCE, including the baseline.
# - Sutton and Barto {cite}`sutton2018` treat policy gradients in their chapter 13 and starts that explore in their chapter 5.
# - AlphaGo Zero {cite}`silver2017alphagozero` shows what search adds to all this.
# - DeepSeek-R1 {cite}`deepseekr1` describes the method in section 2.2, and also its unsuccessful attempts.
# - Next: no program can check kindness. [Chapter 11](11_human_feedback.ipynb) learns from people's preferences, with a critic, and adds up what that costs.
