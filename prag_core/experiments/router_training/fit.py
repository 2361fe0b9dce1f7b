"""Fitting a linear classifier to features and labels, and its performance on questions that it was not fitted to.

Multinomial logistic regression (scikit-learn), L2-regularised. Every split deals the questions of each label out evenly and is
fixed by its seed; it is written here rather than taken from scikit-learn so that routers and the numbers of docs/router.md stay
reproducible. How strongly to regularise, and whether to look at retrieval, is chosen by the log loss of cross-validation.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from prag_core.answering.adaptive.features import Features
from prag_core.answering.adaptive.linear import Linear
from prag_core.evaluation.extra import require

require("sklearn")

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # scikit-learn's C: higher fits closer
SEEN = 2  # questions that a word must be in to count
LEAST = 1e-6  # probability in a log loss


def fit(described: Sequence[Features], labels: Sequence[int], num_classes: int, strength: float) -> Linear:
    """Fit a classifier. Words are 0 or 1; measured features are centred and scaled to their spread over these questions."""
    counts = Counter(name for features in described for name in features)
    names = tuple(sorted(name for name in counts if name.startswith(":") or counts[name] >= SEEN))
    plain = np.array([[features.get(name, 0.0) for name in names] for features in described])
    measured = np.array([name.startswith(":") for name in names])
    mean_f = np.where(measured, plain.mean(axis=0), 0.0)
    spread_f = plain.std(axis=0)
    scale_f = np.where(measured & (spread_f > 0), spread_f, 1.0)
    classes = tuple(sorted(set(labels)))
    weights_cf, bias_c = _fit((plain - mean_f) / scale_f, labels, classes, strength)
    return Linear(names, mean_f, scale_f, classes, weights_cf, bias_c, num_classes)


def _fit(
    rows: np.ndarray, labels: Sequence[int], classes: Sequence[int], strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and bias, a row for each class."""
    if len(classes) == 1:
        return np.zeros((1, rows.shape[1])), np.zeros(1)
    from sklearn.linear_model import LogisticRegression  # of the extra, and slow to import

    model = LogisticRegression(C=strength, max_iter=2000).fit(rows, list(labels))
    if len(classes) == 2:  # one row says how far the second is ahead of the first
        return np.vstack([np.zeros_like(model.coef_), model.coef_]), np.concatenate([[0.0], model.intercept_])
    return model.coef_, model.intercept_


@dataclass(frozen=True)
class Candidate:
    """A way to fit, and its scores over questions that the fit had not seen."""

    retrieves: bool
    strength: float
    accuracy: float
    log_loss: float


def cross_validate(
    described: Sequence[Features],
    labels: Sequence[int],
    num_classes: int,
    *,
    retrieves: bool,
    strength: float,
    folds: int,
    seed: int,
) -> Candidate:
    """Fit on all folds except one and score on that one, for each. `retrieves` says whether the features include retrieval's."""
    fold_n = np.array(deal(labels, folds, seed))
    p_nc = np.zeros((len(labels), num_classes))
    for fold in sorted(set(fold_n)):
        rest, asked = np.flatnonzero(fold_n != fold), np.flatnonzero(fold_n == fold)
        linear = fit([described[i] for i in rest], [labels[i] for i in rest], num_classes, strength)
        p_nc[asked] = linear.probabilities([described[i] for i in asked])
    likely_n = np.maximum(p_nc[np.arange(len(labels)), list(labels)], LEAST)
    accuracy = float(np.mean(p_nc.argmax(axis=1) == np.array(labels)))
    return Candidate(retrieves, strength, accuracy, float(-np.log(likely_n).mean()))


def deal(labels: Sequence[int], folds: int, seed: int) -> list[int]:
    """Assign a fold to each question: each label's are shuffled and dealt round, each label starting where the last ended."""
    generator, turn = random.Random(seed), count()
    dealt = [0] * len(labels)
    for label in sorted(set(labels)):
        places = [i for i, one in enumerate(labels) if one == label]
        generator.shuffle(places)
        for place in places:
            dealt[place] = next(turn) % folds
    return dealt


def hold_out(labels: Sequence[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split places into those to train on and those held out: `share` of each label's, rounded."""
    generator = random.Random(seed)
    held: list[int] = []
    for label in sorted(set(labels)):
        places = [i for i, one in enumerate(labels) if one == label]
        held += generator.sample(places, round(share * len(places)))
    kept = set(held)
    return [i for i in range(len(labels)) if i not in kept], sorted(held)
