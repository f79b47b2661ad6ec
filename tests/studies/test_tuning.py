"""Options are chosen on validation images with separate seeds; what won is trained anew, and only that is tested."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from fashionreg.errors import UserError
from fashionreg.runs.schema import SchemaError
from fashionreg.studies.plan import read_study
from fashionreg.studies.results import read_plan, read_results
from fashionreg.studies.tuning import FIRST_SEED, read_tuning, scores
from fashionreg.yaml_files import parse_yaml
from sample_studies import write_study

NAMES = ["plain", "dropout"]

STUDY = {
    "name": "tuned",
    "seeds": 3,
    "reference": "plain",
    "shared": ["tiny.yaml", {"data": {"init_args": {"val_size": 60}}, "trainer": {"max_epochs": 2}}],
    "variants": {"plain": [{"model": {"init_args": {"dropout": 0.0}}}], "dropout": []},
    "tune": {
        "variants": {"plain": {"lr": [0.001, 0.5]}, "dropout": {"dropout": [0.9, 0.1]}},
        "seeds": 2,
    },
}


@pytest.fixture
def written(workplace):
    """Writes the study file with some keys changed, and returns its path."""

    def written(**changes):
        path = workplace / "study.yaml"
        path.write_text(yaml.safe_dump(STUDY | changes, sort_keys=False))
        return path

    return written


def test_trials_are_all_combinations_of_the_options_of_a_variant():
    tuning = read_tuning(
        {"grid": {"lr": [0.1, 0.2]}, "variants": {"plain": {"a": [1, 2]}, "dropout": {"p": [3, 4]}}}, NAMES
    )
    assert tuning.trials("plain") == [{"lr": lr, "a": a} for lr in (0.1, 0.2) for a in (1, 2)]
    assert tuning.trials("dropout") == [{"lr": lr, "p": p} for lr in (0.1, 0.2) for p in (3, 4)]


def test_draws_are_the_same_each_time_and_of_what_was_given():
    content = {"grid": {"lr": {"from": 1e-4, "to": 0.1, "log": True}, "p": [0.1, 0.2]}, "draws": 400}
    tuning = read_tuning(content, NAMES)
    trials = tuning.trials("plain")
    assert trials == read_tuning(content, NAMES).trials("plain") != tuning.trials("dropout")
    assert len({str(trial) for trial in trials}) == len(trials) == 400
    rates = np.array([trial["lr"] for trial in trials])
    assert 1e-4 <= rates.min() < rates.max() <= 0.1
    # uniform on the logarithmic scale: a third in each decade; four standard errors of a share of 400
    shares = np.histogram(np.log10(rates), bins=[-4, -3, -2, -1])[0] / 400
    assert shares == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / 9 / 400))


def test_a_range_is_read_as_the_documentation_writes_it():
    content = parse_yaml("grid: {lr: {from: 1e-4, to: 0.1, log: true}}\ndraws: 5", "tune")
    assert all(1e-4 <= trial["lr"] <= 0.1 for trial in read_tuning(content, NAMES).trials("plain"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "tune: must be a mapping"),
        ({"grids": {}}, "tune: grids: unknown; there are grid, variants, draws, seeds, metric"),
        ({"grid": {"lr": 0.1}}, "tune: grid: lr: must be a list of values, got 0.1"),
        ({"grid": {"lr": [1, 1]}}, "tune: grid: lr: the same value twice"),
        ({"grid": {"lr": {"from": 0.1, "to": 1}}}, "tune: grid: lr: a range needs draws"),
        ({"grid": {"lr": {"from": 1, "to": 0.1}}, "draws": 2}, "tune: grid: lr: must be {from: LOW, to: HIGH}"),
        ({"grid": {"lr": {"from": 0, "to": 1, "log": True}}, "draws": 2}, "above 0 with log: true"),
        ({"grid": {"lr": [1]}, "draws": 0}, "tune: draws: must be a whole number from 1 to 1,000, got 0"),
        ({"grid": {"lr": [1]}, "seeds": True}, "tune: seeds: must be a whole number from 1 to 1,000, got True"),
        ({"grid": {"lr": [1]}, "metric": "gap"}, "tune: metric: there is no 'gap'; there are acc, loss, ece"),
        ({"variants": {"bn": {"lr": [1]}}}, "tune: variants: there is no variant 'bn'; there are plain, dropout"),
        ({"variants": {"plain": {"lr": [1]}}}, "tune: dropout: nothing is tuned for it"),
        (
            {"grid": {"lr": [1, 2]}, "variants": {"plain": {"p": [1, 2]}}},
            "every variant must have as many trials: dropout has 2, plain has 4",
        ),
        ({"grid": {"lr": [1, 2]}, "variants": {"plain": {"p": [3, 4]}}, "draws": 3}, "dropout has 2, plain has 3"),
        ({"grid": {name: list(range(100)) for name in "abcdefgh"}}, "must be at most 1,000 trials of a variant"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(content, said):
    with pytest.raises(SchemaError) as error:
        read_tuning(content, NAMES)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tune": {"grid": {"rate": [1, 2]}}}, "tune: plain: rate: there is no such option"),
        ({"tune": {"grid": {"lr": [0.1, "fast"]}}}, "tune: plain, lr=fast: "),
        ({"tune": {"grid": {"lr": [1, 1.0]}}}, "tune: plain: two trials are the same configuration"),
        ({"shared": ["tiny.yaml"]}, "tune: plain: there is no val without data.init_args.val_size"),
        ({"seeds": [5, FIRST_SEED + 1]}, f"seeds: {FIRST_SEED:,} and the next 1 are those of the tuning"),
    ],
)
def test_a_study_that_cannot_be_tuned_is_refused_before_anything_runs(written, changes, said):
    with pytest.raises(UserError) as error:
        read_study(written(**changes))
    assert said in str(error.value)
    assert not Path("logs").exists()


def test_trials_of_texts_have_names_that_folders_can_have(written):
    best = {"model": {"init_args": {"regularizers": {"best": "BestCheckpoint"}}}}
    options = {"plain": {"lr": [0.001, 0.5]}, "dropout": {"best.metric": ["val/loss", "val/acc"]}}
    plan = read_study(written(variants={"plain": [], "dropout": [best]}, tune={"variants": options}))
    assert [trial.name for trial in plan.trials.variants][2:] == [
        "dropout, best.metric=val-loss",
        "dropout, best.metric=val-acc",
    ]


@pytest.mark.parametrize("metric", ["acc", "loss"])
def test_the_best_mean_on_validation_images_wins_and_one_that_diverged_never_does(tmp_path, metric):
    levels = {f"plain, lr={lr}": {"variant": "plain", "lr": lr} for lr in (1, 2, 3)}
    folder = write_study(tmp_path / "trials", levels, seeds=range(3), validation=True, metric=metric, split="val")
    # the third is the best for two seeds; an accuracy is a number even where the network diverged
    diverged = [0.9, 0.0, 0.9] if metric == "acc" else [0.1, math.nan, 0.1]
    values = {1: [0.5, 0.6, 0.7], 2: [0.7, 0.8, 0.4], 3: diverged}
    for name, its in levels.items():
        path = folder / name / "version_0" / "record.csv"
        table = pd.read_csv(path)
        rows = (table.split == "val") & (table.metric == metric) & (table.epoch == table.epoch.max())
        table.loc[rows, "value"] = [values[its["lr"]][seed] for seed in table[rows].seed]
        table.to_csv(path, index=False, na_rep="nan")
    found = scores(read_results(folder))
    assert [score.settings for score in found] == [{"lr": lr} for lr in (1, 2, 3)]
    expected = [np.mean(values[lr]) for lr in (1, 2, 3)]
    assert [score.mean for score in found] == pytest.approx(expected, nan_ok=True)
    assert [score.sd for score in found] == pytest.approx([np.std(values[lr], ddof=1) for lr in (1, 2, 3)], nan_ok=True)
    assert [score.chosen for score in found] == ([False, True, False] if metric == "acc" else [True, False, False])


def test_a_trial_with_a_loss_that_is_no_number_never_wins_by_its_accuracy(tmp_path):
    levels = {f"plain, lr={lr}": {"variant": "plain", "lr": lr} for lr in (1, 2)}
    folder = write_study(tmp_path / "trials", levels, seeds=range(3), validation=True, metric="acc", split="val")
    for name, accuracy, loss in (("plain, lr=1", 0.095, 2.4), ("plain, lr=2", 0.1, math.nan)):
        path = folder / name / "version_0" / "record.csv"
        table = pd.read_csv(path)
        last = (table.split == "val") & (table.epoch == table.epoch.max())
        table.loc[last & (table.metric == "acc"), "value"] = accuracy
        table.loc[last & (table.metric == "loss"), "value"] = loss
        table.to_csv(path, index=False, na_rep="nan")
    slow, diverged = scores(read_results(folder))
    assert (slow.chosen, slow.mean) == (True, pytest.approx(0.095))
    assert (diverged.chosen, math.isnan(diverged.mean)) == (False, True)


def test_winners_are_trained_anew_with_the_seeds_of_the_study_and_only_they_are_compared(written, run, drawn):
    path = written()
    code, out, err = run("study", path)
    assert code == 0, err
    assert "tuning  4 trials x 2 seeds before that" in out
    folder = Path("logs/studies/tuned")
    plan, trials = read_plan(folder), read_results(folder / "tuning")
    assert plan.seeds == [0, 1, 2]
    assert set(trials.table.seed) == {FIRST_SEED, FIRST_SEED + 1}
    # an independent choice, from the record files of the trials
    chosen = {}
    for variant, option in (("plain", "lr"), ("dropout", "dropout")):
        means = {}
        for trial in sorted(folder.glob(f"tuning/{variant}, *")):
            table = pd.read_csv(trial / "version_0" / "record.csv")
            last = table[(table.split == "val") & (table.metric == "acc") & (table.epoch == 2)]
            means[float(trial.name.rpartition("=")[2])] = last.value.mean()
        best = chosen[variant] = max(means, key=means.get)
        arguments = next(each for each in plan.variants if each.name == variant).config["model"]["init_args"]
        assert (arguments["optimizer"]["init_args"] if option == "lr" else arguments)[option] == best
        # what the study has of it is the fit of that configuration
        options = {"lr": ["--model.init_args.optimizer.init_args.lr", best, "--model.init_args.dropout", 0.0]}
        options["dropout"] = ["--model.init_args.dropout", best]
        words = ["fit", "--config", "tiny.yaml", "--seeds", 3, "--name", variant, *options[option]]
        assert run(*words, "--data.init_args.val_size", 60)[0] == 0
        ours, alone = (
            pd.read_csv(each)
            for each in (folder / variant / "version_0/record.csv", f"logs/{variant}/version_0/record.csv")
        )
        pd.testing.assert_frame_equal(ours, alone)
    report = (folder / "report.md").read_text()
    assert "each variant tuned on validation images, after 2 epochs" in report
    assert report.count("| chosen |") == 2
    assert (
        f"By val accuracy, tuning chose lr {chosen['plain']} for plain and dropout {chosen['dropout']} for dropout."
        in out
    )
    assert "Tuned for each variant: lr, dropout; 2 trials each, with 2 seeds that the comparison does not use" in report
    assert "nothing was tuned" not in report

    before = {each: each.read_bytes() for each in folder.rglob("record.*")}
    code, out, _ = run("study", path)
    assert code == 0
    assert out.count("already") == 6
    assert before == {each: each.read_bytes() for each in folder.rglob("record.*")}
    # the report follows from the folder alone
    text = (folder / "report.html").read_bytes()
    assert run("report", folder)[0] == 0
    assert (folder / "report.html").read_bytes() == text


def test_a_dry_run_says_how_many_trials_there_would_be(written, run):
    code, out, _ = run("study", written(), "--dry_run")
    assert code == 0
    assert "tuning  4 trials x 2 seeds before that" in out
    assert not Path("logs").exists()


def test_a_variant_of_which_every_trial_diverges_is_named(written, run):
    tune = {"grid": {"lr": [1e18, 1e19]}, "seeds": 1, "metric": "loss"}
    code, _, err = run("study", written(tune=tune))
    assert code == 1
    assert "tuning: plain: every trial diverged; try other values" in err
    assert json.loads(Path("logs/studies/tuned/tuning/study.json").read_text())["name"] == "tuned"
