"""fashionreg as a library: what a program gets is what the commands write."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import fashionreg as fr
from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.errors import UserError
from fashionreg.models.classifier import Classifier
from samples import LAST


def test_importing_it_loads_none_of_the_slow_libraries():
    slow = {"torch", "lightning", "pandas", "numpy", "scipy"}
    code = f"import sys, fashionreg as fr; assert 'fit' in fr.__all__; print(sorted({slow} & sys.modules.keys()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="has no attribute 'fits'"):
        _ = fr.fits


def test_a_fit_from_python_is_the_fit_of_the_command(run):
    assert run("fit", "--config", "tiny.yaml", "--seeds", "[3, 1]", "--trainer.max_epochs", 1)[0] == 0
    mapping = {"trainer": {"max_epochs": 1}}
    made = [fr.fit(["tiny.yaml", mapping], seeds=[3, 1]), fr.fit("tiny.yaml", [3, 1], {"trainer.max_epochs": 1})]
    commands = fr.Run.load("logs/tiny/version_0")
    for each in made:
        pd.testing.assert_frame_equal(each.history, commands.history)
    assert [each.folder.name for each in made] == ["version_1", "version_2"]
    assert commands.record.seeds == [3, 1]
    assert commands.config["trainer"]["max_epochs"] == 1


def test_the_network_of_a_seed_is_the_one_that_was_trained(fitted):
    trained = fr.Run.load("logs/tiny/version_0")
    test = SyntheticDataModule(train_size=200, test_size=50).splits.test
    images = test.images.flatten(1).float() / 255
    final = trained.history.query("split == 'test' and metric == 'acc' and epoch == 2").set_index("seed").value
    for seed in (0, 2):
        correct = trained.network(seed)(images).argmax(dim=1) == test.labels
        # an image on the border between two classes may go either way
        assert abs(correct.double().mean().item() - final[seed]) <= 1 / 50
    assert not trained.network().training
    with pytest.raises(UserError, match=r"seed: logs/tiny/version_0 holds the seeds \[0, 1, 2\], not 9"):
        trained.network(9)


def test_mistakes_are_one_line_from_python_too(workplace):
    with pytest.raises(UserError, match="no such configuration file"):
        fr.fit("nowhere.yaml")
    with pytest.raises(UserError) as error:
        fr.fit("tiny.yaml", overrides={"model.init_args.nothing": 1})
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"record.json"):
        fr.Run.load("logs/tiny/version_7")


def test_the_callers_mappings_stay_as_they_are_and_a_cell_can_run_twice(workplace):
    config = {"base": "tiny.yaml", "trainer": {"max_epochs": 1, "callbacks": [{"class_path": "LearningRateMonitor"}]}}
    overrides = {"trainer": {"limit_train_batches": 2}, "trainer.max_epochs": 1}
    before = repr((config, overrides))
    first, second = (fr.fit(config, np.int64(2), overrides) for _ in range(2))
    assert repr((config, overrides)) == before
    pd.testing.assert_frame_equal(first.history, second.history)


@pytest.mark.parametrize("seeds", ["12", [1.5, 2], 2.0, True])
def test_seeds_are_whole_numbers(workplace, seeds):
    with pytest.raises(UserError, match="seeds: must be a count"):
        fr.fit("tiny.yaml", seeds)


def test_overrides_of_one_regularizer_leave_the_others(workplace):
    mapping = {"dropout": {"class_path": "Dropout"}, "decay": {"class_path": "WeightDecay"}}
    config = ["tiny.yaml", {"model": {"init_args": {"dropout": 0.0, "regularizers": mapping}}}]
    run = fr.fit(config, overrides={"model.init_args.regularizers.dropout.init_args.p": 0.2, "trainer.max_epochs": 1})
    found = run.config["model"]["init_args"]["regularizers"]
    assert found.keys() == {"dropout", "decay"}
    assert found["dropout"]["init_args"]["p"] == 0.2


def results(variants=("plain", "bn", "dropout"), n=12, seed=0):
    values = np.random.default_rng(seed).normal(0.8, 0.01, (len(variants), n))
    return pd.DataFrame(
        [(name, k, value) for name, row in zip(variants, values, strict=True) for k, value in enumerate(row)],
        columns=["variant", "seed", "value"],
    )


def test_comparing_anybodys_results_is_scipys_paired_t_test_with_holms_correction():
    frame = results().sample(frac=1, random_state=1)
    table = fr.compare(frame, reference="plain")
    wide = frame.pivot(index="seed", columns="variant", values="value")
    p = {name: stats.ttest_rel(wide[name], wide.plain).pvalue for name in ("bn", "dropout")}
    smaller, larger = sorted(p, key=p.get)
    assert table.t_p[smaller] == pytest.approx(p[smaller], rel=1e-9)
    assert table.t_p_holm[smaller] == pytest.approx(min(1, 2 * p[smaller]), rel=1e-9)
    assert table.t_p_holm[larger] == pytest.approx(min(1, max(2 * p[smaller], p[larger])), rel=1e-9)
    for name in ("bn", "dropout"):
        assert table.difference[name] == pytest.approx((wide[name] - wide.plain).mean(), rel=1e-9)
        assert table.low[name] < table.difference[name] < table.high[name]


def test_seeds_that_only_one_variant_has_are_left_out():
    frame = results().query("not (variant == 'bn' and seed > 7)")
    assert fr.compare(frame, reference="plain").n.to_dict() == {"bn": 8, "dropout": 12}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda f: f.rename(columns={"value": "accuracy"}), "value: there is no such column"),
        (lambda f: pd.concat([f, f.tail(1)]), "variant dropout, seed 11: appears twice"),
        (lambda f: f.assign(value=f.value.where(f.seed != 3, np.nan)), "variant .*: has a value that is not finite"),
        (
            lambda f: f.assign(value=f.value.astype(object).where(f.seed != 3, "high")),
            "variant plain, seed 3: .* number, got high",
        ),
        (lambda f: f.query("variant != 'plain'"), "reference: there is no variant 'plain'; there are"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(change, fault):
    with pytest.raises(UserError, match=fault):
        fr.compare(change(results()), reference="plain")


def test_a_study_from_python_has_the_tables_of_its_report(workplace):
    (workplace / "study.yaml").write_text(
        "name: s\nreference: plain\nvariants:\n"
        "  plain: [tiny.yaml, {model: {init_args: {dropout: 0.0}}}]\n  dropout: [tiny.yaml]\n"
    )
    study = fr.study("study.yaml", seeds=3, out="out")
    assert set(study.table.variant) == {"plain", "dropout"}
    assert study.comparisons.n.to_dict() == {"dropout": 3}
    assert "dropout" in study.verdict()
    assert (study.folder / "report.html").is_file()
    last = study.table.query("split == 'test' and metric == 'acc' and epoch == 2")
    wide = last.pivot(index="seed", columns="variant", values="value")
    assert study.comparisons.difference["dropout"] == pytest.approx((wide.dropout - wide.plain).mean(), rel=1e-9)
    again = fr.study("study.yaml", seeds=3, out="out")
    pd.testing.assert_frame_equal(again.table, study.table)
    assert again.failures == {}
    assert not (workplace / LAST).exists()


def test_overrides_of_a_study_hold_for_every_variant_as_those_of_a_fit_do(workplace):
    (workplace / "study.yaml").write_text(
        "name: s\nvariants:\n  plain: [tiny.yaml]\n  dropout: [tiny.yaml, {model: {init_args: {dropout: 0.5}}}]\n"
    )
    data = {"class_path": "SyntheticDataModule", "init_args": {"train_size": 100, "test_size": 40}}
    overrides = {"trainer.max_epochs": 1, "data": data, "model.init_args.hidden_sizes": [9], "threads": None}
    overrides |= {"trainer.accelerator": "cpu", "model.init_args.batch_norm": False}
    study = fr.study("study.yaml", [0, 2], overrides=overrides)
    assert set(study.table.epoch) == {1}
    for variant in ("plain", "dropout"):
        config = fr.Run.load(study.folder / variant / "version_0").config
        assert config["data"]["init_args"]["train_size"] == 100
        assert config["model"]["init_args"]["hidden_sizes"] == [9]
        assert config["model"]["init_args"]["batch_norm"] is False
    alone = fr.fit("tiny.yaml", [0, 2], overrides)
    pd.testing.assert_frame_equal(fr.Run.load(study.folder / "plain" / "version_0").history, alone.history)


def test_a_variant_that_fails_is_a_value_and_the_others_are_reported(workplace, monkeypatch):
    (workplace / "study.yaml").write_text(
        "name: s\nvariants:\n  plain: [tiny.yaml]\n  wide: [tiny.yaml, {model: {init_args: {hidden_sizes: [9]}}}]\n"
    )
    step = Classifier.training_step

    def breaking(width):
        def training_step(self, batch, batch_idx):
            if width in (None, self.hparams["hidden_sizes"]):
                raise RuntimeError("out of luck")
            return step(self, batch, batch_idx)

        monkeypatch.setattr(Classifier, "training_step", training_step)

    breaking(None)
    with pytest.raises(UserError, match="2 of 2 variants failed: plain, wide; the same command tries anew"):
        fr.study("study.yaml", 2)
    breaking([9])
    study = fr.study("study.yaml", 2)
    assert study.failures.keys() == {"wide"}
    assert "RuntimeError: out of luck" in study.failures["wide"]
    assert set(study.table.variant) == {"plain"}
    assert (study.folder / "report.html").is_file()


def test_a_study_is_given_as_a_file(workplace):
    with pytest.raises(UserError, match="file: must be the path of a study file, got a mapping of 1"):
        fr.study({"name": "s"})
