"""Folds of a cross-validation in `fashionreg compare` and `fr.compare`: the corrected resampled t test."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import fashionreg as fr
from fashionreg.errors import UserError
from fashionreg.studies.statistics import crossed


def results(seeds=1, folds=5, column="fold"):
    generator = np.random.default_rng(2)
    rows = [
        (variant, seed, fold, 0.8 + 0.03 * (variant == "bn") + generator.normal(0, 0.01))
        for variant in ("plain", "bn")
        for seed in range(seeds)
        for fold in range(folds)
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", column, "value"])


@pytest.mark.parametrize("column", ["fold", "split"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_folds_have_the_test_of_nadeau_and_bengio(run, drawn, seeds, column):
    frame = results(seeds, 5, column)
    frame.to_csv("cv.csv", index=False)
    code, out, err = run("compare", "cv.csv", "--metric", "acc", "--out", "out")
    assert (code, err) == (0, "")
    wide = frame.pivot(index=["seed", column], columns="variant", values="value")
    differences = (wide.bn - wide.plain).to_numpy()
    n = len(differences)
    # a test set of a fifth: n2 / n1 = 1 / 4
    error = differences.std(ddof=1) * (1 / n + 1 / 4) ** 0.5
    low, high = stats.t.interval(0.95, n - 1, differences.mean(), error)
    table = fr.compare(frame, "plain")
    assert (table.n["bn"], table.low["bn"], table.high["bn"]) == pytest.approx((n, low, high))
    assert table.t_p["bn"] == pytest.approx(2 * stats.t.sf(abs(differences.mean()) / error, n - 1), rel=1e-6)
    ends = re.search(r"95% interval ([\d.]+) to ([\d.]+),", out).groups()
    # two or three digits are shown
    assert [float(end) for end in ends] == pytest.approx([100 * low, 100 * high], abs=0.06)
    assert ("3 seeds x 5 folds" if seeds > 1 else "5 folds)") in out
    assert "corrected t test over folds, p" in out
    assert "corrected resampled t test, Nadeau and Bengio 2003" in out
    again = pd.read_csv("out/results.csv")
    assert sorted(again.fold.unique()) == list(range(5))
    report = Path("out/report.md").read_text()
    assert "Nadeau and Bengio" in report
    assert "over seeds, each the mean over its folds" in report


def test_numbers_of_splits_have_the_test_of_crossed_seeds_and_splits():
    frame = results(4, 5, "split_number")
    wide = frame.pivot(index=["seed", "split_number"], columns="variant", values="value")
    expected = crossed((wide.bn - wide.plain).to_numpy().reshape(4, 5))
    table = fr.compare(frame.sample(frac=1, random_state=1), "plain")
    found = table.loc["bn", ["n", "difference", "low", "high"]].tolist()
    assert found == pytest.approx([20, expected.mean, expected.low, expected.high], rel=1e-9)
    # with epochs, each the same
    epochs = pd.concat([frame.assign(epoch=epoch) for epoch in (1, 2)])
    assert fr.compare(epochs, "plain").low["bn"] == pytest.approx(expected.low, rel=1e-9)


@pytest.mark.parametrize(("column", "parts"), [("fold", "folds"), ("split_number", "splits")])
def test_a_fold_or_split_that_is_missing_is_named(refusal, column, parts):
    results(column=column).drop(index=7).to_csv("cv.csv", index=False)
    _, line = refusal("compare", "cv.csv")
    assert f"variant bn, seed 0: has results of 4 of 5 {parts}" in line


@pytest.mark.parametrize("column", ["fold", "split_number"])
def test_a_single_fold_or_split_is_refused(refusal, column):
    results(3, 1, column).to_csv("cv.csv", index=False)
    _, line = refusal("compare", "cv.csv")
    assert f"cv.csv: {column}: there is only 0; two or more are compared" in line


def test_a_result_that_collapsed_in_one_fold_is_named(run, drawn):
    frame = results(seeds=3)
    frame.loc[(frame.variant == "bn") & (frame.seed == 2) & (frame.fold == 4), "value"] = 0.1
    frame.to_csv("cv.csv", index=False)
    usual = frame.value[frame.variant == "bn"].median()
    assert run("compare", "cv.csv", "--metric", "acc", "--out", "out")[0] == 0
    expected = (
        f"Collapsed: 1 result of bn (seed 2, fold 4): accuracy 10.00%, where the median of its results is {usual:.2%}."
    )
    lines = [line for line in Path("out/report.md").read_text().splitlines() if "Collapsed: " in line]
    assert {line.lstrip("> -") for line in lines} == {expected}


@pytest.mark.parametrize("fold", ["first", float("nan"), 0.5])
def test_a_fold_that_is_no_number_is_refused(fold):
    frame = results().astype({"fold": object})
    frame.loc[frame.fold == 3, "fold"] = fold
    with pytest.raises(UserError, match=rf"^variant plain, seed 0: fold must be a whole number, got {fold}$"):
        fr.compare(frame, "plain")
