"""fashionreg as a library: what a program gets is what the commands write."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

import fashionreg as fr
from fashionreg.data.csv_files import write_csv
from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.errors import UserError
from fashionreg.models.classifier import Classifier
from fashionreg.regularizers import Dropout
from samples import LAST, random_images


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


STUDY = (
    "name: s\nreference: plain\nvariants:\n"
    "  plain: [tiny.yaml, {model: {init_args: {dropout: 0.0}}}]\n  dropout: [tiny.yaml]\n"
)


@pytest.mark.parametrize("seeds", ["12", b"12", [1.5, 2], 1.7, 2.0, True, [True], {1: 2}, ["1"]])
def test_seeds_are_whole_numbers(workplace, seeds):
    (workplace / "study.yaml").write_text(STUDY)
    for train in (fr.fit, fr.study):
        with pytest.raises(UserError, match=r"seeds: must be a count \(10\) or a list"):
            train("tiny.yaml" if train is fr.fit else "study.yaml", seeds)


def test_numpys_seeds_are_seeds(workplace):
    (workplace / "study.yaml").write_text(STUDY)
    assert fr.study("study.yaml", np.int64(2)).findings.plan.seeds == [0, 1]
    assert fr.study("study.yaml", np.array([1, 0])).findings.plan.seeds == [1, 0]


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (
            {"model.init_args.regularizers.drop": Dropout(0.3)},
            "model.init_args.regularizers.drop: must be plain data: ",
        ),
        ({"model": {"init_args": {"regularizers": {"drop": Dropout(0.3)}}}}, "regularizers.drop: must be plain data: "),
        (
            {"trainer.callbacks": [{3}]},
            "trainer.callbacks.0: must be plain data: a class_path with init_args, got",
        ),
        ({"config": "tiny.yaml"}, "config: is an option of the command line alone"),
        ({"help": "x"}, "Option 'help' is not accepted"),
        ({3: 1}, "3: must be a name"),
        (["trainer.max_epochs"], "overrides: must be a mapping of options by dotted names, got a list of 1"),
        ({"model.init_args.regularizers.d": "Dropuot"}, "regularizers.d: there is no class Dropuot; there are"),
        (
            {"model.init_args.regularizers.d": {"class_path": "Dropout", "int_args": {"p": 0.4}}},
            "'int_args.p' is not accepted",
        ),
    ],
    ids=str,
)
def test_overrides_are_plain_data_for_a_fit_and_for_a_study(workplace, overrides, fault):
    (workplace / "study.yaml").write_text(STUDY)
    for train in (fr.fit, fr.study):
        with pytest.raises(UserError) as error:
            train("tiny.yaml" if train is fr.fit else "study.yaml", overrides=overrides)
        assert fault in str(error.value)
    assert not (workplace / "logs").exists()


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"base": "tiny.yaml", "trainer": {"callbacks": [{3}]}}, "trainer.callbacks.0: must be plain data: "),
        (None, "configuration: must be a file, a mapping or a list of these, got None"),
        (["tiny.yaml", 3], "configuration: must be a file or a mapping, got 3"),
    ],
)
def test_a_configuration_is_plain_data(workplace, config, fault):
    with pytest.raises(UserError, match=fault):
        fr.fit(config)


def test_a_mapping_without_end_is_refused(workplace):
    endless = {}
    endless["model"] = endless
    with pytest.raises(UserError, match="configuration: is nested more than 100 levels deep"):
        fr.fit(endless)


def test_a_path_and_numpys_numbers_are_plain_data(workplace):
    (workplace / "study.yaml").write_text(STUDY)
    overrides = {"trainer.default_root_dir": workplace / "out", "trainer.max_epochs": np.int64(1)}
    overrides |= {"model.init_args.hidden_sizes": (np.int32(9),), "model.init_args.dropout": np.float32(0.25)}
    run = fr.fit("tiny.yaml", 1, overrides)
    assert run.folder.is_relative_to(workplace / "out")
    assert run.config["model"]["init_args"]["hidden_sizes"] == [9]
    assert run.config["model"]["init_args"]["dropout"] == 0.25
    with pytest.raises(UserError, match="dropout: is the same configuration as plain"):
        fr.study("study.yaml", 1, overrides=overrides)


@pytest.mark.parametrize("name", ["half", "train", "update", "keys"])
def test_a_regularizer_may_have_the_name_of_a_method(workplace, name):
    parts = {name: {"class_path": "EMA", "init_args": {"decay": 0.5}}}
    run = fr.fit("tiny.yaml", 2, {"model.init_args.regularizers": parts, "trainer.max_epochs": 1})
    assert run.network(1) is not None
    resumed = fr.fit({"ckpt_path": str(run.checkpoint), "name": "tiny", "trainer": {"max_epochs": 2}})
    assert resumed.history.epoch.max() == 2


def test_the_name_of_a_layer_is_refused_with_the_reason(workplace):
    with pytest.raises(UserError, match="regularizers: 'relu' cannot be a name: layers of the network have it"):
        fr.fit("tiny.yaml", overrides={"model.init_args.regularizers.relu": "WeightDecay"})


def test_overrides_of_one_regularizer_leave_the_others(workplace):
    mapping = {"dropout": {"class_path": "Dropout"}, "decay": {"class_path": "WeightDecay"}}
    config = ["tiny.yaml", {"model": {"init_args": {"dropout": 0.0, "regularizers": mapping}}}]
    run = fr.fit(config, overrides={"model.init_args.regularizers.dropout.init_args.p": 0.2, "trainer.max_epochs": 1})
    found = run.config["model"]["init_args"]["regularizers"]
    assert found.keys() == {"dropout", "decay"}
    assert found["dropout"]["init_args"]["p"] == 0.2


@pytest.mark.parametrize(
    "overrides",
    [
        {"model.init_args.regularizers.drop.p": 0.4},
        {"model.init_args.regularizers.drop.init_args.p": 0.4},
        {"model.init_args.regularizers.drop": {"p": 0.4}},
        {"model.init_args.regularizers": {"drop": {"p": 0.4}}},
        {"model": {"regularizers": {"drop": {"p": 0.4}}}},
    ],
    ids=str,
)
def test_an_override_of_an_option_of_a_regularizer_is_not_lost(workplace, overrides):
    mapping = {"drop": {"class_path": "Dropout", "init_args": {"p": 0.1}}, "decay": "WeightDecay"}
    config = {"base": "tiny.yaml", "model": {"init_args": {"dropout": 0.0, "regularizers": mapping}}}
    (workplace / "d.yaml").write_text(yaml.safe_dump(config))
    (workplace / "study.yaml").write_text("name: s\nvariants: {plain: [d.yaml]}\n")
    overrides |= {"trainer.max_epochs": 1}
    configs = [fr.fit("d.yaml", 1, overrides).config]
    configs += [variant.config for variant in fr.study("study.yaml", 1, overrides=overrides).findings.plan.variants]
    for found in configs:
        parts = found["model"]["init_args"]["regularizers"]
        assert parts["drop"]["init_args"]["p"] == 0.4
        assert parts.keys() == {"drop", "decay"}


def test_a_resumed_run_keeps_its_regularizers_and_its_callbacks(workplace):
    parts = {"decay": {"class_path": "WeightDecay"}}
    stop = {"class_path": "EarlyStopping", "init_args": {"monitor": "train/loss"}}
    run = fr.fit("tiny.yaml", 1, {"model.init_args.regularizers": parts, "trainer.callbacks": [stop]})
    again = {"ckpt_path": str(run.checkpoint), "name": "tiny", "trainer": {"max_epochs": 3}}
    for overrides, what in (
        ({"model.init_args.regularizers": None}, r"regularizers\.decay\.class_path"),
        ({"model.init_args.regularizers.decay": None}, r"regularizers\.decay\.class_path"),
        ({"model.init_args.regularizers.norm": "BatchNorm"}, r"regularizers\.norm\.class_path"),
        ({"trainer.callbacks": None}, r"trainer\.callbacks"),
    ):
        with pytest.raises(UserError, match=rf"{what}: the run in .* has .*, not .*; a resumed run is the same run"):
            fr.fit(again, overrides=overrides)
    assert fr.fit(again).history.epoch.max() == 3


def test_a_resumed_run_keeps_its_images(workplace):
    images = random_images(120)
    write_csv(images[:100], workplace / "a.csv")
    write_csv(images[20:], workplace / "b.csv")
    (workplace / "csv.yaml").write_text(
        "base: tiny.yaml\ndata: {class_path: CSVDataModule, init_args: {path: a.csv, test_size: 0.2}}\n"
    )
    run = fr.fit("csv.yaml", 1, {"trainer.max_epochs": 1})
    again = {"ckpt_path": str(run.checkpoint), "name": "tiny", "trainer": {"max_epochs": 2}}
    before = sorted((workplace / "logs" / "tiny").iterdir())
    with pytest.raises(UserError, match="data: the run in .* has other train and test images; a resumed run is the"):
        fr.fit(again, overrides={"data.init_args.path": "b.csv"})
    assert sorted((workplace / "logs" / "tiny").iterdir()) == before
    (workplace / "a.csv").rename(workplace / "moved.csv")
    assert fr.fit(again, overrides={"data.init_args.path": "moved.csv"}).history.epoch.max() == 2


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
        (lambda f: f.query("variant != 'plain'"), "reference: there is no variant 'plain'; there are 'bn', 'dropout'"),
        (lambda f: f.assign(seed=f.seed + 100 * (f.variant == "bn")), "variant bn: has no seed in common with plain"),
        (lambda f: f.assign(variant=f.variant.where(f.seed != 3)), "variant: is missing in row 3"),
        (lambda f: f.to_numpy().tolist(), "frame: must be a DataFrame with the columns variant, seed and value, got a"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(change, fault):
    with pytest.raises(UserError, match=fault):
        fr.compare(change(results()), reference="plain")


def test_variants_may_be_numbers():
    frame = results().replace({"variant": {"plain": 1, "bn": 2, "dropout": 3}})
    expected = fr.compare(results(), reference="plain")
    found = fr.compare(frame, reference=1)
    assert found.index.tolist() == [2, 3]
    assert found.difference[2] == expected.difference["bn"]
    with pytest.raises(UserError, match="reference: there is no variant '1'; there are 1, 2, 3"):
        fr.compare(frame, reference="1")


def test_one_variant_alone_gives_a_table_without_rows_and_with_all_columns():
    alone = fr.compare(results(("plain",)), reference="plain")
    assert alone.empty
    assert alone.columns.tolist() == fr.compare(results(), reference="plain").columns.tolist()


def test_a_study_from_python_has_the_tables_of_its_report(workplace):
    (workplace / "study.yaml").write_text(STUDY)
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
