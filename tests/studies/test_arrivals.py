"""When smoothed curves reach a target."""

import numpy as np
import pandas as pd
import pytest
from lifelines.statistics import logrank_test
from scipy import stats

from fashionreg.studies.arrivals import arrivals, window
from fashionreg.studies.statistics import holm
from fashionreg.studies.verdict import verdict
from fashionreg.text import p_value


def curves_of(rows):
    table = pd.DataFrame(rows)
    table.columns = range(1, table.shape[1] + 1)
    return table


def arrive(curves, targets, **options):
    times = {name: curve * 0 + 2.0 for name, curve in curves.items()}
    return arrivals(curves, times, targets, "plain", **{"higher_is_better": True} | options)


def test_short_curves_are_taken_as_they_are():
    curves = {"plain": curves_of([[0.5, 0.7, 0.9, 0.9], [0.5, 0.5, 0.5, 0.5]])}
    found = arrive(curves, [0.8])
    (epochs,), (seconds,) = found.epochs["plain"], found.seconds["plain"]
    assert (epochs.reached, epochs.n) == (1, 2)
    # the first seed passes 0.8 half way from epoch 2 to 3, the second never: each epoch takes 2 seconds
    assert found.restricted["plain"][0].mean == pytest.approx((2.5 + 4) / 2)
    assert seconds.reached == 1


def test_a_long_curve_is_smoothed_so_that_one_epoch_decides_nothing():
    generator = np.random.default_rng(1)
    rising = 0.5 + 0.4 * (1 - np.exp(-np.arange(200) / 20))
    noisy = rising + generator.normal(0, 0.03, (6, 200))
    reached = arrive({"plain": curves_of(noisy)}, [0.85]).epochs["plain"][0].median
    without_noise = arrive({"plain": curves_of(rising[None])}, [0.85]).epochs["plain"][0].median
    first = np.median([np.argmax(curve >= 0.85) + 1 for curve in noisy])
    assert window(200) == 11
    assert abs(reached - without_noise) < 5
    assert first < without_noise - 8


# lifelines 0.30 calls pandas as pandas 4 will no longer allow
@pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0")
def test_times_are_compared_by_the_log_rank_test_with_holms_correction():
    generator = np.random.default_rng(1)

    def variant(slow):
        steps = generator.uniform(0.5, 1.5, 12) * slow
        return curves_of([1 - np.exp(-np.arange(1, 31) / step) for step in steps])

    curves = {"plain": variant(8), "bn": variant(4), "l2": variant(9), "slow": variant(60)}
    found = arrive(curves, [0.9], higher_is_better=True)
    taken = {}
    for name, curve in curves.items():
        values = curve.to_numpy()
        arrived = values[:, -1] >= 0.9
        column = np.argmax(values >= 0.9, axis=1)
        rows = np.arange(12)
        before, after = values[rows, np.maximum(column - 1, 0)], values[rows, column]
        exact = np.where(column == 0, 1, column + 1 - (after - 0.9) / np.where(after > before, after - before, 1))
        taken[name] = np.where(arrived, exact, 30), arrived
    p = [
        logrank_test(taken[name][0], taken["plain"][0], taken[name][1], taken["plain"][1]).p_value
        for name in ("bn", "l2", "slow")
    ]
    assert [found.log_rank[name][0] for name in ("bn", "l2", "slow")] == pytest.approx(holm(p).tolist(), rel=1e-6)
    assert "plain" not in found.log_rank
    assert found.restricted["slow"][0].mean == pytest.approx(taken["slow"][0].mean())


def test_lower_losses_arrive_too():
    curves = {"plain": curves_of([[0.9, 0.7, 0.4, 0.2]])}
    assert arrive(curves, [0.5], higher_is_better=False).epochs["plain"][0].median == pytest.approx(8 / 3)


def test_where_the_median_is_not_reached_the_verdict_gives_the_mean_and_the_test(of_accuracies):
    def accuracy(variant, seeds, epochs):
        # 4 of 10 seeds of plain end above its mean; bn is above it from the start; l2 never
        level = {"plain": np.where(seeds < 4, 0.815, 0.79), "bn": 0.9, "l2": 0.7}[variant]
        return level + 0.001 * epochs / 12

    found = of_accuracies(accuracy, variants=["plain", "bn", "l2"], targets=[])
    (sentence,) = (sentence for sentence in verdict(found) if sentence.startswith("Epochs to"))
    bn, l2 = (found.arrivals.log_rank[name][0] for name in ("bn", "l2"))
    # all seeds against 4 of 10, and 4 of 10 against none: without order in time this is Fisher's exact test
    few, none = (stats.fisher_exact([[4, 6], other]).pvalue for other in ([10, 0], [0, 10]))
    assert (bn, l2) == (pytest.approx(2 * few), pytest.approx(none))
    assert bn < 0.05 < l2
    assert sentence == (
        "Epochs to the final test accuracy of plain (80.10%), median over seeds with 95% CI: plain "
        "in 4 of 10 seeds only (mean within 12 epochs: 7.6); bn at most 1; l2 never. These times differ "
        f"from those of plain for bn (adjusted {p_value(bn)}) (log-rank test with Holm's correction)."
    )
