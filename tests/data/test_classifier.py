"""The classifier: against a logistic regression written out, and by what must hold of bags."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from minidsk.data.classifier import Bags, ClassifierConfig, bag, train_classifier, words

CONFIG = ClassifierConfig(buckets=256)
MATHS = ["the integral of a polynomial", "a polynomial of degree two", "a theorem on the integral of x"]
OTHER = ["the server sends a header", "open the file and read it", "a header of the file", "send the file"]


def bags(texts, config=CONFIG):
    return Bags.join(bag(text, config) for text in texts)


def dense(found, config=CONFIG):
    """Bags as a matrix [N, buckets]."""
    rows = torch.zeros(len(found), config.buckets)
    for i in range(len(found)):
        part = slice(found.starts[i], found.starts[i + 1])
        rows[i, torch.from_numpy(found.buckets[part].astype(np.int64))] = torch.from_numpy(found.weights[part])
    return rows


def test_words_are_letters_numbers_and_signs():
    assert words("Let x_2 = 3.14, a+b", 99) == ["let", "x", "2", "=", "3", ".", "14", ",", "a", "+", "b"]
    assert words("a b c", 2) == ["a", "b"]


def test_a_bag_counts_words_and_pairs_by_their_logarithm():
    config = ClassifierConfig()
    buckets, weights = bag("one two one two", config)
    single = {word: bag(word, ClassifierConfig(ngrams=1))[0][0] for word in ("one", "two")}
    found = dict(zip(buckets.tolist(), weights.tolist(), strict=True))
    assert len(found) == 4  # one, two, one-two, two-one
    raw = np.log1p([2, 2, 2, 1])
    length = np.sqrt((raw**2).sum())
    assert found[single["one"]] == pytest.approx(raw[0] / length)
    assert sorted(found.values()) == pytest.approx(sorted(raw / length), rel=1e-6)


def test_the_order_of_words_counts_in_pairs_only():
    first, second = (bag(text, ClassifierConfig())[0].tolist() for text in ("a b", "b a"))
    assert first != second
    first, second = (bag(text, ClassifierConfig(ngrams=1))[0].tolist() for text in ("a b", "b a"))
    assert first == second


def test_the_hash_is_the_same_on_every_machine():
    assert bag("polynomial", ClassifierConfig(ngrams=1))[0].tolist() == [42437]


def test_numbers_are_one_word():
    assert bag("x = 12", CONFIG)[0].tolist() == bag("x = 98765", CONFIG)[0].tolist()


@given(st.text(max_size=200))
def test_any_text_is_a_bag_of_unit_length(text):
    buckets, weights = bag(text, CONFIG)
    assert len(buckets) == len(weights) == len(set(buckets.tolist())) > 0
    assert float((weights.astype(np.float64) ** 2).sum()) == pytest.approx(1, rel=1e-5)


def test_a_long_line_is_read_as_far_as_the_words_go():
    config = ClassifierConfig(words=10)
    assert len(bag("x" * 10**7, config)[0]) <= 3
    assert bag("ab " * 10**6, config)[0].tolist() == bag("ab " * 10, config)[0].tolist()


def test_training_is_the_logistic_regression_written_out():
    texts, labels = MATHS + OTHER, [1] * 3 + [0] * 4
    found = bags(texts)
    ours = train_classifier(found, labels, CONFIG)
    x, y = dense(found), torch.tensor(labels, dtype=torch.float32)
    weight, bias = torch.zeros(256, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=CONFIG.lr)
    for _ in range(CONFIG.steps):
        each = F.binary_cross_entropy_with_logits(x @ weight + bias, y, reduction="none")
        loss = each[y == 1].mean() / 2 + each[y == 0].mean() / 2 + CONFIG.decay * (weight**2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.allclose(ours.weight, weight, atol=1e-4)
    assert np.allclose(ours(found), (x @ weight + bias).detach().numpy(), atol=1e-3)


def test_it_knows_new_pages_of_either_kind():
    model = train_classifier(bags(MATHS + OTHER), [1] * 3 + [0] * 4, CONFIG)
    score = model(bags(["the degree of a polynomial", "read the header of the file"]))
    assert score[0] > 0 > score[1]


def test_scores_do_not_depend_on_how_many_pages_are_scored_at_once():
    found = bags(MATHS + OTHER)
    model = train_classifier(found, [1] * 3 + [0] * 4, CONFIG)
    assert np.array_equal(model(found, rows=2), model(found, rows=100))
    assert len(model(Bags.join([]))) == 0


def test_taking_and_adding_pages():
    found = bags(MATHS)
    assert np.array_equal(dense(found.take([2, 0])), dense(found)[[2, 0]])
    both = found + bags(OTHER)
    assert len(both) == 7
    assert torch.equal(dense(both), torch.cat([dense(found), dense(bags(OTHER))]))


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0], [0, 1]])
def test_both_labels_must_occur(labels):
    with pytest.raises(ValueError, match="labels: one 0 or 1 per page, and both must occur"):
        train_classifier(bags(MATHS), labels, CONFIG)


@pytest.mark.parametrize("field", [{"buckets": 1000}, {"buckets": 2**17}, {"ngrams": 0}, {"lr": 0.0}, {"words": 0}])
def test_a_setting_that_does_not_fit_is_named(field):
    with pytest.raises(ValueError, match=f"{next(iter(field))}: .* does not fit"):
        ClassifierConfig(**field)
