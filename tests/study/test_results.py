"""A study is read back as it was left, and what is damaged is named."""

import json

import pandas as pd
import pytest

from fashionreg.errors import UserError
from fashionreg.study.results import read_plan, read_study
from samples import message
from studies import write_study


@pytest.fixture
def folder(tmp_path):
    return write_study(tmp_path / "study", seeds=[0, 1, 2], epochs=4)


def test_the_table_holds_every_number_of_every_run(folder):
    results = read_study(folder)
    parts = [
        pd.read_csv(folder / variant / "version_0" / "record.csv").assign(study="fake", variant=variant)
        for variant in ("plain", "bn", "dropout")
    ]
    keys = ["variant", "seed", "epoch", "split", "metric"]
    expected = pd.concat(parts).set_index(keys).value
    assert results.table.set_index(keys).value.sort_index().equals(expected.sort_index())
    assert list(results.table.variant.unique()) == ["plain", "bn", "dropout"]
    assert results.missing() == {}


def test_wall_time_is_shared_by_the_seeds_that_ran_side_by_side(folder):
    results = read_study(folder)
    about = json.loads((folder / "bn" / "version_0" / "record.json").read_text())
    rows = results.seconds[(results.seconds.variant == "bn") & (results.seconds.seed == 1)]
    assert rows.seconds.tolist() == pytest.approx([value / 3 for value in about["epoch_seconds"]])


def test_only_finished_runs_of_the_plans_configuration_and_seeds_count(folder):
    path = folder / "bn" / "version_0" / "record.json"
    about = json.loads(path.read_text())
    for change in ({"key": "another"}, {"status": "interrupted"}):
        path.write_text(json.dumps(about | change))
        results = read_study(folder)
        assert set(results.table.variant) == {"plain", "dropout"}
        assert results.missing() == {"bn": [0, 1, 2]}
    path.write_text(json.dumps(about))
    plan = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(plan | {"seeds": [2, 7]}))
    results = read_study(folder)
    assert set(results.table.seed) == {2}
    assert results.missing() == {"plain": [7], "bn": [7], "dropout": [7]}


def test_a_seed_that_two_runs_have_counts_once(folder):
    version = folder / "bn" / "version_1"
    version.mkdir()
    for name in ("record.csv", "record.json"):
        (version / name).write_bytes((folder / "bn" / "version_0" / name).read_bytes())
    assert not read_study(folder).table.duplicated(["variant", "seed", "epoch", "split", "metric"]).any()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text.replace("seed,", "sed,", 1), "must have the columns seed, epoch"),
        (lambda text: "\n".join(text.splitlines()[:-1]) + "\n", "is not whole"),
        (lambda text: text + text.splitlines()[-1] + "\n", "is there twice"),
        (lambda text: text.replace("\n0,1,train,acc,", "\n0,1,train,acc,x", 1), "row 2: value: must be a number"),
        (lambda text: "", "cannot be read"),
    ],
)
def test_a_damaged_record_is_named(folder, damage, expected):
    path = folder / "bn" / "version_0" / "record.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError) as error:
        read_study(folder)
    assert str(path) in message(error)
    assert expected in message(error)


@pytest.mark.parametrize("text", ["", "seed,step\n0,1\n", "seed,step,layer,statistic,value\n0,1,hidden1,p50,x\n"])
def test_a_damaged_drift_file_is_named(folder, text):
    path = folder / "bn" / "version_0" / "drift.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_study(folder)
    assert str(path) in message(error)


def test_runs_of_a_variant_that_are_not_equally_long_are_refused(folder, tmp_path):
    shorter = write_study(tmp_path / "shorter", seeds=[3], epochs=2)
    (shorter / "bn" / "version_0").rename(folder / "bn" / "version_1")
    plan = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(plan | {"seeds": [0, 1, 2, 3]}))
    with pytest.raises(UserError, match="different numbers of epochs"):
        read_study(folder)


def test_what_is_no_study_is_refused(tmp_path, folder):
    with pytest.raises(UserError, match=r"holds no study: there is no study\.json"):
        read_plan(tmp_path)
    (folder / "plain" / "version_0" / "record.json").write_text("{")
    with pytest.raises(UserError, match=r"record\.json: is damaged"):
        read_study(folder)
    (folder / "study.json").write_text("[]")
    with pytest.raises(UserError, match=r"study\.json: is not what `fashionreg study` writes"):
        read_plan(folder)
