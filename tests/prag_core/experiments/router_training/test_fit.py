"""The fit is scikit-learn's, read without it; splits are fair; cross-validation tells what can be learned from what cannot."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from prag_core.answering.adaptive.features import Features, describe
from prag_core.experiments.router_training.fit import cross_validate, deal, fit, hold_out

WORDINGS = (
    "Where was {} born?",
    "Which river flows through the town where {} was born?",
    "Who is older, {} or {}?",
)


def asked(count: int, num_classes: int) -> tuple[list[Features], list[int]]:
    labels = [i % num_classes for i in range(count)]
    return [describe(WORDINGS[label].format("Bo", "Ada")) for label in labels], labels


@pytest.mark.parametrize("num_classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(num_classes: int) -> None:
    described, labels = asked(30, num_classes)
    labels[:2] = labels[1::-1]  # two that nothing can tell
    linear = fit(described, labels, 4, strength=1.0)
    oracle = LogisticRegression(C=1.0, max_iter=2000).fit(linear.matrix(described), labels)
    p_nc = linear.probabilities(described)
    assert np.allclose(p_nc[:, :num_classes], oracle.predict_proba(linear.matrix(described)), atol=1e-9)
    assert not p_nc[:, num_classes:].any()  # classes that no question had


def test_words_of_one_question_only_do_not_count_and_measures_are_standardised() -> None:
    described, labels = asked(30, 3)
    described[0]["once"] = 1.0
    linear = fit(described, labels, 3, strength=1.0)
    assert "once" not in linear.names and "older" in linear.names
    column = linear.matrix(described)[:, linear.names.index(":words")]
    assert np.isclose(column.mean(), 0) and np.isclose(column.std(), 1)


def test_one_label_alone_is_certain() -> None:
    described, _ = asked(4, 2)
    assert fit(described, [1] * 4, 3, strength=1.0).probabilities(described).tolist() == [[0, 1, 0]] * 4


def test_what_wording_tells_is_learned_and_what_it_does_not_is_not() -> None:
    described, labels = asked(60, 3)
    learned = cross_validate(described, labels, 3, retrieves=False, strength=1.0, folds=5, seed=0)
    assert learned.accuracy == 1.0 and learned.log_loss < 0.2
    random.Random(0).shuffle(labels)
    guessed = cross_validate(described, labels, 3, retrieves=False, strength=1.0, folds=5, seed=0)
    assert guessed.accuracy < 0.6 and guessed.log_loss > 0.9


def test_folds_have_as_many_of_each_label_and_depend_on_the_seed() -> None:
    labels = [0] * 10 + [1] * 7 + [2]
    folds = deal(labels, 5, seed=0)
    sizes = Counter(folds)
    assert set(sizes) == set(range(5)) and max(sizes.values()) - min(sizes.values()) <= 1
    counts = Counter(zip(labels, folds, strict=True))
    assert all(counts[0, fold] == 2 for fold in range(5)) and all(
        1 <= counts[1, fold] <= 2 for fold in range(5)
    )
    assert deal(labels, 5, seed=0) == folds != deal(labels, 5, seed=1)


def test_held_out_questions_are_a_share_of_each_label_and_are_not_trained_on() -> None:
    labels = [0] * 8 + [1] * 4
    rest, held = hold_out(labels, 0.25, seed=0)
    assert sorted(rest + held) == list(range(12))
    assert Counter(labels[i] for i in held) == {0: 2, 1: 1}
