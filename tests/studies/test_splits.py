"""A study that trains each seed on several splits: the runs that it makes, its comparisons and its sentences."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import fashionreg as fr
from fashionreg.studies.findings import find, most_telling
from fashionreg.studies.results import read_results
from fashionreg.studies.statistics import crossed

STUDY = {
    "name": "crossed",
    "seeds": 3,
    "splits": 4,
    "outcomes": ["acc"],
    "relevant": 1,
    "shared": [
        {
            "model": {"class_path": "RegularizedMLP", "init_args": {"hidden_sizes": [8]}},
            "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris", "test_size": 0.3}},
            "trainer": {"max_epochs": 1, "enable_progress_bar": False},
        }
    ],
    "variants": {
        "plain": [],
        "norm": [{"model": {"init_args": {"regularizers": {"norm": {"class_path": "BatchNorm"}}}}}],
    },
}


def written(**changes):
    Path("crossed.yaml").write_text(yaml.safe_dump(STUDY | changes, sort_keys=False))
    return "crossed.yaml"


def test_each_seed_is_trained_on_each_split_and_tested_over_both(run, drawn):
    code, out, err = run("study", written())
    assert (code, err) == (0, "")
    assert "study   crossed: 2 variants x 3 seeds x 4 splits, reference plain" in out
    assert "[6/8] norm, split 2 of 4: " in out
    assert "These answers are over splits and seeds: each seed was trained on 4 splits of the images" in out
    assert "paired t test" not in out
    folder = Path("logs/studies/crossed")
    abouts = [json.loads(path.read_text()) for path in sorted(folder.glob("*/version_*/record.json"))]
    assert sorted(about["config"]["data"]["init_args"]["split_seed"] for about in abouts) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len({about["data"]["fingerprints"]["test"] for about in abouts}) == 4
    rows = pd.read_csv(folder / "results.csv").query("split == 'test' and metric == 'acc'")
    assert len(rows) == 2 * 3 * 4
    wide = {
        name: part.pivot(index="seed", columns="split_number", values="value") for name, part in rows.groupby("variant")
    }
    expected = crossed((wide["norm"] - wide["plain"]).to_numpy())
    found = find(read_results(folder))
    one = found.comparisons["norm"]
    assert (one.n, one.difference.low, one.difference.high) == pytest.approx((12, expected.low, expected.high))
    assert not one.difference.independent
    assert set(most_telling(found, 1).results.numbers.variant) == {"plain"}
    # a seed stands for its mean over the splits
    means = next(variant.values["acc"] for variant in found.variants if variant.name == "norm")
    assert means.to_numpy() == pytest.approx(wide["norm"].mean(axis=1).to_numpy())
    page = (folder / "report.md").read_text()
    assert "seeds and splits as crossed random effects" in page
    assert "not trained and tested on the same images" not in page
    for said in (
        "every dot is a seed, the mean over its splits;",
        "thin: every single seed, the mean over its splits.",
        "over seeds, each the mean over its splits; the interval",
        "Each variant minus plain, seed by seed and split by split:",
        "Variant minus reference for each seed and split, then the mean over all.",
    ):
        assert said in page
    # what is not computed has no column
    for absent in ("Wilcoxon", "seeds to show", "seeds to decide", "not tested", "how many seeds"):
        assert absent not in page
    # nothing is trained twice
    again = run("study", "crossed.yaml")
    assert again[0] == 0
    assert again[1].count("has all 3 seeds already") == 8


def test_the_results_of_a_study_compared_elsewhere_have_the_test_of_the_study(run, drawn, refusal):
    assert run("study", written())[0] == 0
    found = find(read_results(Path("logs/studies/crossed"))).comparisons["norm"]
    table = Path("logs/studies/crossed/results.csv")
    code, out, err = run("compare", table, "--reference", "plain", "--out", "out")
    assert (code, err) == (0, "")
    assert "fold" not in out
    assert "These answers are over splits and seeds: each seed was trained on 4 splits of the images" in out
    frame = pd.read_csv(table)
    row = fr.compare(frame, "plain").loc["norm"]
    assert (row.t_p, row.low, row.high) == pytest.approx((found.t_p, found.difference.low, found.difference.high))
    # and once more from what is written there
    assert list(pd.read_csv("out/results.csv").split_number.unique()) == [0, 1, 2, 3]
    frame.assign(fold=frame.split_number).to_csv("both.csv", index=False)
    assert "fold, split_number: there are both; keep one" in refusal("compare", "both.csv")[1]


def test_a_seed_that_lacks_a_split_is_missing(run, drawn):
    assert run("study", written(splits=3))[0] == 0
    folder = Path("logs/studies/crossed")
    (run_folder,) = (
        path.parent
        for path in folder.glob("norm/version_*/record.json")
        if json.loads(path.read_text())["config"]["data"]["init_args"]["split_seed"] == 1
    )
    about = json.loads((run_folder / "record.json").read_text())
    about["seeds"] = [0, 1]
    (run_folder / "record.json").write_text(json.dumps(about))
    table = pd.read_csv(run_folder / "record.csv")
    table[table.seed < 2].to_csv(run_folder / "record.csv", index=False)
    (run_folder / "correct.npy").unlink()
    results = read_results(folder)
    assert results.missing() == {"norm": [2]}
    assert set(results.table[results.table.variant == "norm"].seed) == {0, 1}
    assert np.isfinite(find(results).comparisons["norm"].difference.low)


def test_means_differ_by_what_is_compared_whatever_epoch_is_the_best_of_a_split(run, drawn):
    shared = [*STUDY["shared"], {"data": {"init_args": {"val_size": 0.2}}, "trainer": {"max_epochs": 6}}]
    code, out, _ = run("study", written(splits=3, estimate="best", shared=shared))
    assert code == 0
    assert "(log-rank test, over seeds, on curves that are means over splits)" in out
    found = find(read_results(Path("logs/studies/crossed")))
    plain, norm = found.variants
    difference = norm.final["test/acc"].mean - plain.final["test/acc"].mean
    assert found.comparisons["norm"].difference.mean == pytest.approx(difference, abs=1e-12)
    rows = pd.read_csv("logs/studies/crossed/results.csv").query("variant == 'plain' and metric == 'acc'")
    val, test = (
        rows[rows.split == name].pivot(index=["seed", "split_number"], columns="epoch", values="value")
        for name in ("val", "test")
    )
    best = val.idxmax(axis=1)
    by_hand = np.mean([test.at[cell, epoch] for cell, epoch in best.items()])
    assert plain.final["test/acc"].mean == pytest.approx(by_hand, abs=1e-12)
    assert plain.best_epoch.mean == pytest.approx(best.mean())


def test_one_seed_is_too_few_whatever_the_number_of_splits(run, drawn):
    code, out, err = run("study", written(seeds=1, splits=3))
    assert (code, err) == (0, "")
    assert "1 seed is too few to test norm against plain" in out


BY_SEED = [{"data": {"init_args": {"split": "by_seed"}}}]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"splits": 2}, "splits: must be 1 or a whole number from 3 to 100, got 2"),
        ({"splits": "4"}, "splits: must be 1 or a whole number from 3 to 100, got '4'"),
        ({"max_seeds": 20}, "splits: cannot be combined with max_seeds"),
        ({"seeds": "auto"}, "splits: cannot be combined with seeds: auto"),
        ({"tune": {"grid": {"lr": [0.1]}}}, "splits: cannot be combined with tune"),
        ({"shared": [*STUDY["shared"], *BY_SEED]}, "plain: splits: needs data.init_args.split: fixed, got by_seed"),
    ],
)
def test_a_study_that_cannot_be_crossed_is_refused_before_anything_runs(run, changes, fault):
    code, out, err = run("study", written(**changes))
    assert (code, out) == (1, "")
    assert f"  {fault}\n" in err
    assert not Path("logs").exists()
