"""A linear classifier as plain numbers: a softmax over weighted features. Made by `fit`, stored as JSON, read with numpy alone.

A feature that it does not know is passed over; a class that no training question had is never likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prag_core.answering.adaptive.features import Features


@dataclass(frozen=True)
class Linear:
    """A softmax of `weights_cf` and `bias_c` over features less `mean_f`, in units of `scale_f`; row i is for class `classes[i]`
    of `num_classes`."""

    names: tuple[str, ...]
    mean_f: np.ndarray
    scale_f: np.ndarray
    classes: tuple[int, ...]
    weights_cf: np.ndarray
    bias_c: np.ndarray
    num_classes: int

    def matrix(self, described: Sequence[Features]) -> np.ndarray:
        """Return the standardised features: one row for each question, one column for each feature."""
        rows = [[features.get(name, 0.0) for name in self.names] for features in described]
        return (np.array(rows).reshape(len(rows), len(self.names)) - self.mean_f) / self.scale_f

    def probabilities(self, described: Sequence[Features]) -> np.ndarray:
        """Return [questions, num_classes]; each row sums to 1."""
        logits_nc = self.matrix(described) @ self.weights_cf.T + self.bias_c
        odds_nc = np.exp(logits_nc - logits_nc.max(axis=1, keepdims=True))
        p_nc = np.zeros((len(described), self.num_classes))
        p_nc[:, list(self.classes)] = odds_nc / odds_nc.sum(axis=1, keepdims=True)
        return p_nc

    def to_json(self) -> dict[str, Any]:
        return {
            "features": list(self.names),
            "mean": self.mean_f.tolist(),
            "scale": self.scale_f.tolist(),
            "classes": list(self.classes),
            "weights": self.weights_cf.tolist(),
            "bias": self.bias_c.tolist(),
        }

    @classmethod
    def from_json(cls, fields: Any, num_classes: int) -> Linear:
        """Raises KeyError, TypeError or ValueError where the numbers do not fit each other."""
        names, classes = tuple(map(str, fields["features"])), tuple(map(int, fields["classes"]))
        mean_f, scale_f, bias_c = (np.array(fields[name], np.float64) for name in ("mean", "scale", "bias"))
        weights_cf = np.array(fields["weights"], np.float64).reshape(len(classes), len(names))
        fits = (
            mean_f.shape == scale_f.shape == (len(names),)
            and bias_c.shape == (len(classes),)
            and len(classes) > 0
        )
        finite = all(np.isfinite(numbers).all() for numbers in (mean_f, scale_f, weights_cf, bias_c))
        if not (fits and finite and (scale_f > 0).all() and set(classes) <= set(range(num_classes))):
            raise ValueError("weights, features and classes do not fit each other, or are not finite")
        return cls(names, mean_f, scale_f, classes, weights_cf, bias_c, num_classes)
