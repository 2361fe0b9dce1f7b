import itertools

import numpy as np
import pytest
from scipy import stats

from prag_core.evaluation.statistics import holm, mean_interval, paired_p_value


def values(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(count)


def test_an_interval_is_scipys_whatever_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = values(50)
    low, high = mean_interval(sample, num_resamples=500, seed=3)
    expected = stats.bootstrap(
        (sample,), np.mean, n_resamples=500, method="BCa", rng=np.random.default_rng(3)
    ).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high))
    monkeypatch.setattr("prag_core.evaluation.statistics.CELLS", 1000)
    assert mean_interval(sample, num_resamples=500, seed=3) == pytest.approx((low, high))


def test_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(200):
        low, high = mean_interval(values(60, seed), num_resamples=300, seed=seed)
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 200 <= 0.99


@pytest.mark.parametrize("sample", [[0.0] * 9, [1.0] * 9, [0.25], [1 / 3] * 7])
def test_values_without_spread_have_a_point_for_an_interval(sample: list[float]) -> None:
    assert mean_interval(sample, num_resamples=100, seed=0) == (sample[0], sample[0])


@pytest.mark.parametrize("sample", [[0.0, 1.0], [0.0] * 99 + [1.0], [1.0] * 299 + [0.0]])
def test_values_with_hardly_any_spread_have_a_finite_interval_around_their_mean(sample: list[float]) -> None:
    low, high = mean_interval(sample, num_resamples=500, seed=0)
    assert 0 <= low <= np.mean(sample) <= high <= 1


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([], num_resamples=100, seed=0)


def test_a_small_paired_test_is_exact() -> None:
    method, baseline = values(8, 1), values(8, 2)
    differences = method - baseline
    flipped = [np.mean(differences * signs) for signs in itertools.product((1, -1), repeat=8)]
    observed = np.mean(differences)
    one_sided = min(
        np.mean(np.array(flipped) >= observed - 1e-12), np.mean(np.array(flipped) <= observed + 1e-12)
    )
    assert paired_p_value(method, baseline, num_resamples=1000, seed=0) == pytest.approx(2 * one_sided)


def test_pairing_counts() -> None:
    baseline = values(100)
    better = baseline + 0.01  # a small gain on every question, far smaller than their spread
    assert paired_p_value(better, baseline, num_resamples=999, seed=0) <= 0.002
    assert paired_p_value(np.roll(better, 1), baseline, num_resamples=999, seed=0) > 0.05


def test_equal_answers_are_no_difference_and_order_does_not_matter() -> None:
    one, two = values(40, 1), values(40, 2)
    assert paired_p_value(one, one, num_resamples=99, seed=0) == 1.0
    assert paired_p_value(one, two, num_resamples=999, seed=0) == pytest.approx(
        paired_p_value(two, one, num_resamples=999, seed=0), abs=0.05
    )


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="as many"):
        paired_p_value([1.0, 0.0], [1.0], num_resamples=99, seed=0)


def test_holm_is_the_published_example() -> None:
    # Holm (1979) by hand: 0.01·4, max(0.04, 0.015·3), max(0.045, 0.03·2), max(0.06, 0.04·1)
    assert holm([0.03, 0.01, 0.04, 0.015]) == pytest.approx([0.06, 0.04, 0.06, 0.045])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
