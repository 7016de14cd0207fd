"""Tree search: statistics by hand, the best leaf of a known tree, and trees of thoughts on the engine."""

import math
import random

import pytest
import torch

from minidsk.infer.search.account import Blind, Judged, verify
from minidsk.infer.search.mcts import TreeConfig, steps_of, text_of, tree_search
from minidsk.infer.search.tree import RULES, Node, back_up, grow, puct, select, uct


def a_try(node, steps, worth, width=2):
    """One text drawn from a node, its steps one token each."""
    end = grow(node, [((step,), prior) for step, prior in steps])
    back_up(end, worth, width)
    return end


def test_statistics_are_those_worked_out_by_hand():
    root = Node()
    first = a_try(root, [(1, 0.5), (2, 0.1)], 1.0)
    second = a_try(root, [(1, 0.5), (3, 0.9)], 0.0)
    third = a_try(root, [(4, 0.25), (5, 1.0)], 0.5, width=3)
    one, four = root.children
    assert [(n.text, n.visits, n.total, n.q, n.tries) for n in (root, one, four)] == [
        ((), 3, 1.5, 0.5, 3), ((1,), 2, 1.0, 0.5, 2), ((4,), 1, 0.5, 0.5, 1),
    ]  # fmt: skip
    assert [(n.text, n.visits, n.q, n.ended) for n in (first, second, third)] == [
        ((1, 2), 1, 1.0, True), ((1, 3), 1, 0.0, True), ((4, 5), 1, 0.5, True),
    ]  # fmt: skip
    assert uct(one, 2.0) == pytest.approx(0.5 + 2 * math.sqrt(math.log(3) / 2))
    assert uct(four, 2.0) == pytest.approx(0.5 + 2 * math.sqrt(math.log(3) / 1))
    assert puct(one, 2.0) == pytest.approx(0.5 + 2 * (0.5 / 0.75) * math.sqrt(3) / 3)
    assert puct(four, 2.0) == pytest.approx(0.5 + 2 * (0.25 / 0.75) * math.sqrt(3) / 2)
    assert one.exhausted  # both of its tries are used, and both ends ended
    assert not four.exhausted
    assert select(root, 4, 1.0, uct) is root
    assert select(root, 2, 1.0, uct) is four  # the only one that is left, one try of two used
    four.estimate = -1.0
    assert four.q == pytest.approx((0.5 - 1.0) / 2)
    assert uct(Node((9,), root), 1.0) == math.inf


@pytest.mark.parametrize("rule", RULES)
def test_the_best_leaf_of_a_known_tree_is_found(rule):
    """Three ways at each of five steps, 243 leaves; a leaf is worth the share of right steps, and only one is worth 1.

    Both rules find it in most runs of 100 tries, and go its way most often; blind tries find it in a third of them.
    """
    best = (2, 0, 1, 1, 2)
    found = blind = its_way = 0
    for seed in range(40):
        rng, root = random.Random(seed), Node()
        for _ in range(100):
            node = select(root, 9, 0.3, RULES[rule])
            rest = [rng.randrange(3) for _ in range(5 - len(node.text))]
            end = grow(node, [((step,), 1 / 3) for step in rest])
            back_up(end, sum(a == b for a, b in zip(end.text, best, strict=True)) / 5, 9)
        found += any(node.text == best for node in root.below())
        blind += best in {tuple(rng.randrange(3) for _ in range(5)) for _ in range(100)}
        its_way += max(root.children, key=lambda child: child.visits).text == best[:1]
        for node in root.below():
            assert node.ended or node.visits == sum(child.visits for child in node.children)
    assert found >= 33
    assert its_way >= 36
    assert blind <= 20


def test_a_tree_in_which_all_was_tried_is_exhausted():
    root, tries = Node(), 0
    while not root.exhausted:
        node = select(root, 2, 1.0, uct)
        for_each = len(node.children)
        end = grow(node, [((for_each,), 0.5)] + [((0,), 0.5)] * (2 - len(node.text)))
        back_up(end, 0.0, 2)
        tries += 1
    assert len([node for node in root.below() if node.ended]) == tries == 8


def test_steps_are_lines_and_the_answer(base):
    encode, text = base.tokenizer.encode, "<think>1+2=3 no\n2+2=4 yes</think><answer>2+2</answer><eos>"
    tokens = encode(text)
    steps = steps_of(tokens, [-0.1] * len(tokens), base.tokenizer)
    assert [base.tokenizer.decode(step) for step, _ in steps] == [
        "<think>1+2=3 no\n", "2+2=4 yes", "</think><answer>2+2</answer><eos>",
    ]  # fmt: skip
    assert [chance for _, chance in steps] == pytest.approx([math.exp(-0.1 * len(step)) for step, _ in steps])
    assert text_of(Node(tuple(tokens)), base.tokenizer) == text.removesuffix("<eos>")


@pytest.mark.parametrize("rule", RULES)
def test_a_search_keeps_its_budget_its_books_and_the_best(base, posed, rule):
    config = TreeConfig(longest=80, width=3, rule=rule)
    found = tree_search(base, posed, verify, 400, torch.Generator().manual_seed(0), config)
    for problem, reply, tree, tokens, samples in zip(
        posed, found.replies, found.trees, found.tokens, found.samples, strict=True
    ):
        assert tokens <= 400
        assert tree.exhausted or tokens > 400 - 80
        assert tree.visits == samples
        ends = [node for node in tree.below() if node.ended]
        assert sum(end.visits for end in ends) == samples
        for node in tree.below():
            below = [end for end in node.below() if end.ended]
            assert node.visits == sum(end.visits for end in below)
            worth = sum(end.visits * problem.score(text_of(end, base.tokenizer)) for end in below)
            assert node.total == pytest.approx(worth)
            assert len(node.text) <= 80
        assert problem.score(reply) == max(problem.score(text_of(end, base.tokenizer)) for end in ends)
    again = tree_search(base, posed, verify, 400, torch.Generator().manual_seed(0), config)
    assert (again.replies, again.tokens, again.flops) == (found.replies, found.tokens, found.flops)
    one = tree_search(base, posed, verify, 80, torch.Generator().manual_seed(0), config)
    assert min(one.samples) >= 1
    assert sum(problem.score(r) for problem, r in zip(posed, found.replies, strict=True)) > sum(
        problem.score(r) for problem, r in zip(posed, one.replies, strict=True)
    )


def test_without_the_verifier_a_judge_and_a_guide_decide(base, posed):
    asked = []

    def length(questions, replies):
        asked.extend(zip(questions, replies, strict=True))
        return Judged([len(reply) / 100 for reply in replies], 7.0 * len(replies))

    blind = [Blind(problem) for problem in posed]
    seeded = torch.Generator().manual_seed(0)
    found = tree_search(base, blind, length, 300, seeded, TreeConfig(longest=80, width=3), guide=length)
    nodes = sum(len(list(tree.below())) for tree in found.trees)
    assert len(asked) == nodes  # what the guide read, it need not read again as the judge
    for reply, tree in zip(found.replies, found.trees, strict=True):
        texts = [text_of(node, base.tokenizer) for node in tree.below()]
        assert [node.estimate for node in tree.below()] == [len(text) / 100 for text in texts]
        assert len(reply) == max(len(text_of(end, base.tokenizer)) for end in tree.below() if end.ended)


def test_the_judges_work_is_on_the_account(base, posed):
    blind, config = [Blind(problem) for problem in posed], TreeConfig(longest=80)

    def free(questions, replies):
        return Judged([0.0] * len(replies), 0.0)

    def dear(questions, replies):
        return Judged([0.0] * len(replies), 1e9 * len(replies))

    judges = {(free, None): 0, (dear, None): 1, (free, dear): 2}
    found = {kind: tree_search(base, blind, kind[0], 160, torch.Generator().manual_seed(0), config, guide=kind[1])
             for kind in judges}  # fmt: skip
    plain, judged, guided = found.values()
    assert all(plain.replies)
    assert judged.flops == pytest.approx(plain.flops + 1e9 * sum(judged.samples), rel=1e-6)
    nodes = sum(len(list(tree.below())) for tree in guided.trees)
    assert guided.flops == pytest.approx(plain.flops + 1e9 * nodes, rel=0.2)
    assert guided.flops > 1e9 * nodes


def test_a_guide_has_nothing_to_say_of_what_was_there(base, posed):
    """A policy that always writes the same draws it again and again, and the guide reads it once."""
    read = []

    def guide(questions, replies):
        assert replies
        read.extend(zip((question.prompt for question in questions), replies, strict=True))
        return Judged([0.0] * len(replies), 0.0)

    config = TreeConfig(longest=80, temperature=0.0)
    found = tree_search(base, posed, guide, 400, None, config, guide=guide)
    assert min(found.samples) > 1
    assert len(read) == sum(len(list(tree.below())) for tree in found.trees)


def test_a_problems_tree_does_not_depend_on_the_others(base, posed):
    policy = base.copy()
    policy.model.double()
    alone, together = (tree_search(policy, some, verify, 200, torch.Generator().manual_seed(0), TreeConfig(longest=80))
                       for some in (posed[:3], posed))  # fmt: skip
    assert alone.replies == together.replies[:3]
    assert alone.tokens == together.tokens[:3]
    assert [len(list(tree.below())) for tree in alone.trees] == [len(list(t.below())) for t in together.trees[:3]]


@pytest.mark.parametrize("changes", [{"longest": 0}, {"width": 0}, {"c": -1.0}, {"rule": "best"}])
def test_impossible_settings_are_named(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"^{name}: "):
        TreeConfig(**changes)
