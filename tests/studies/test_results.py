"""A study is read back as it was left, and what is damaged is named."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fashionreg.errors import UserError
from fashionreg.files import is_folder_name
from fashionreg.studies.estimand import Estimand
from fashionreg.studies.results import read_plan, read_results
from sample_studies import write_study
from samples import message


@pytest.fixture
def folder(tmp_path):
    return write_study(tmp_path / "study", seeds=[0, 1, 2], epochs=4)


def test_the_table_holds_every_number_of_every_run(folder):
    results = read_results(folder)
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
    results = read_results(folder)
    about = json.loads((folder / "bn" / "version_0" / "record.json").read_text())
    rows = results.seconds[(results.seconds.variant == "bn") & (results.seconds.seed == 1)]
    assert rows.seconds.tolist() == pytest.approx([value / 3 for value in about["epoch_seconds"]])


def test_only_finished_runs_of_the_plans_configuration_and_seeds_count(folder):
    path = folder / "bn" / "version_0" / "record.json"
    about = json.loads(path.read_text())
    for change in ({"key": "another"}, {"status": "interrupted"}):
        path.write_text(json.dumps(about | change))
        results = read_results(folder)
        assert set(results.table.variant) == {"plain", "dropout"}
        assert results.missing() == {"bn": [0, 1, 2]}
    path.write_text(json.dumps(about))
    plan = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(plan | {"seeds": [2, 7]}))
    results = read_results(folder)
    assert set(results.table.seed) == {2}
    assert results.missing() == {"plain": [7], "bn": [7], "dropout": [7]}


def test_a_seed_that_two_runs_have_counts_once(folder):
    version = folder / "bn" / "version_1"
    version.mkdir()
    for name in ("record.csv", "record.json"):
        (version / name).write_bytes((folder / "bn" / "version_0" / name).read_bytes())
    assert not read_results(folder).table.duplicated(["variant", "seed", "epoch", "split", "metric"]).any()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text.replace("seed,", "sed,", 1), "must have the columns seed, epoch"),
        (lambda text: "\n".join(text.splitlines()[:-1]) + "\n", "is not whole"),
        (lambda text: text + text.splitlines()[-1] + "\n", "appears twice"),
        (lambda text: text.replace("\n0,1,train,acc,", "\n0,1,train,acc,x", 1), "row 2: value: must be a number"),
        (lambda text: "", "cannot be read"),
    ],
)
def test_a_damaged_record_is_named(folder, damage, expected):
    path = folder / "bn" / "version_0" / "record.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError) as error:
        read_results(folder)
    assert str(path) in message(error)
    assert expected in message(error)


@pytest.mark.parametrize("text", ["", "seed,step\n0,1\n", "seed,step,layer,statistic,value\n0,1,hidden1,p50,x\n"])
def test_a_damaged_drift_file_is_named(folder, text):
    path = folder / "bn" / "version_0" / "drift.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_results(folder)
    assert str(path) in message(error)


def test_runs_of_a_variant_that_are_not_equally_long_are_refused(folder, tmp_path):
    shorter = write_study(tmp_path / "shorter", seeds=[3], epochs=2)
    (shorter / "bn" / "version_0").rename(folder / "bn" / "version_1")
    plan = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(plan | {"seeds": [0, 1, 2, 3]}))
    with pytest.raises(UserError, match="different numbers of epochs"):
        read_results(folder)


def test_a_study_on_more_splits_is_another_comparison(folder):
    plan = read_plan(folder)

    def on_splits(count):
        keys = [f"split{number}" for number in range(1, count)]
        variants = [replace(each, keys=[each.key, *keys]) for each in plan.variants]
        return replace(plan, splits=count, variants=variants)

    assert len({each.digest for each in (plan, on_splits(3), on_splits(4))}) == 3


def test_what_is_no_study_is_refused(tmp_path, folder):
    with pytest.raises(UserError, match=r"holds no study: there is no study\.json"):
        read_plan(tmp_path)
    (folder / "plain" / "version_0" / "record.json").write_text("{")
    with pytest.raises(UserError, match=r"record\.json: line 1: is not valid JSON.*remove the folder"):
        read_results(folder)
    (folder / "study.json").write_text("[]")
    with pytest.raises(UserError, match=r"study\.json: it: must be a mapping, got a list of 0"):
        read_plan(folder)


def test_a_plan_of_version_0_1_counts_the_last_epoch(tmp_path):
    old = Path(__file__).parents[1] / "fixtures" / "version_0_1" / "study.json"
    (tmp_path / "study.json").write_bytes(old.read_bytes())
    plan = read_plan(tmp_path)
    assert plan.estimate == Estimand("last")
    assert (plan.relevant, plan.max_seeds) == (None, None)
    assert plan.tested == ["acc", "gap"]
    assert plan.primary == "acc"


def change(path, **changes):
    """Change keys of a JSON file, `a__b` within `a`; None takes a key away."""
    content = json.loads(path.read_text())
    for key, value in changes.items():
        *outer, last = key.split("__")
        inner = content
        for name in outer:
            inner = inner[int(name)] if isinstance(inner, list) else inner[name]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"seeds": None}, "seeds: is missing"),
        ({"seeds": []}, "seeds: is empty"),
        ({"seeds": [0, 1, 1]}, "seeds: 1 appears twice"),
        ({"seeds": [0, 1, 2**32]}, "seeds[2]: must be from 0 to 4294967295, got 4294967296"),
        ({"seeds": [0, -1]}, "seeds[1]: must be from 0"),
        ({"seeds": [0, 1.5]}, "seeds[1]: must be a whole number, got 1.5"),
        ({"seeds": [True]}, "seeds[0]: must be a whole number, got True"),
        ({"seeds": [10**400]}, "seeds[0]: must be a whole number, got a number of more than 64 bits"),
        ({"seeds": "all"}, "seeds: must be a list, got all"),
        ({"epoch_seconds": [1.0, -0.5]}, "epoch_seconds[1]: must be from 0 to 1000000000, got -0.5"),
        ({"epoch_seconds": [1e308]}, "epoch_seconds[0]: must be from 0 to 1000000000, got 1e+308"),
        ({"epoch_seconds": [float("nan")]}, "epoch_seconds[0]: must be a finite number, got nan"),
        ({"epoch_seconds": [float("inf")]}, "epoch_seconds[0]: must be a finite number, got inf"),
        ({"epoch_seconds": ["1"]}, "epoch_seconds[0]: must be a finite number, got 1"),
        ({"epoch_seconds": []}, "epoch_seconds: is empty"),
        ({"status": "done"}, "status: must be one of finished, interrupted, failed, got done"),
        ({"colour": "red"}, "colour: unknown; there are name, data"),
        ({"data__fingerprints__test": None}, "data.fingerprints.test: is missing"),
        ({"data__sizes__test": -1}, "data.sizes.test: must be at least 0"),
        ({"data": []}, "data: must be a mapping, got a list of 0"),
        ({"device": "\ud800"}, "device: must be text"),
        ({"git_commit": 3}, "git_commit: must be text, got 3"),
    ],
)
def test_a_record_that_cannot_be_is_refused_with_its_key(folder, changes, fault):
    path = folder / "bn" / "version_0" / "record.json"
    change(path, **changes)
    with pytest.raises(UserError) as error:
        read_results(folder)
    assert message(error).startswith(f"{path}: {fault}")
    assert "\n" not in message(error)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"question": None}, "question: is missing"),
        ({"colour": "red"}, "colour: unknown"),
        ({"name": "a\x1b[2J"}, r"name: 'a\x1b[2J' cannot be the name of a folder"),
        ({"metric": "f1"}, "metric: must be one of acc, loss, ece, got f1"),
        ({"split": ["test"]}, "split: must be one of train, val, test, got a list of 1"),
        ({"targets": [0.5, float("nan")]}, "targets[1]: must be a finite number"),
        ({"targets": [10**400]}, "targets[0]: must be a finite number"),
        ({"targets": [n / 30 for n in range(21)]}, "targets: must be at most 20, got 21"),
        ({"targets": [0.5, 0.6, 0.5]}, "targets: 0.5 appears twice"),
        ({"targets": [0.5, 1.5]}, "targets[1]: must be from 0 to 1 (0.8 is 80%), got 1.5"),
        ({"targets": [-0.5], "metric": "loss"}, "targets[0]: must be from 0 to 1e+30, got -0.5"),
        ({"targets": [1e308], "metric": "loss"}, "targets[0]: must be from 0 to 1e+30, got 1e+308"),
        ({"seeds": [2, 2]}, "seeds: 2 appears twice"),
        # in seconds, not hours
        ({"seeds": [*range(300_000), 5_000_000, 5_000_000]}, "seeds: 5000000 appears twice"),
        (
            {"seeds": list(range(400_000))},
            "variants: 3 variants with 400,000 seeds: must be at most 1,000,000 networks",
        ),
        ({"outcomes": ["acc", "acc"]}, "outcomes: acc: appears twice"),
        ({"outcomes": ["f1"]}, "outcomes[0]: must be one of acc, loss, ece, gap, got f1"),
        ({"relevant": 0}, "relevant: must be above 0, in points, at most 100, got 0"),
        ({"relevant": -1}, "relevant: must be at least 0 and finite, got -1"),
        ({"relevant": 101}, "relevant: must be above 0, in points, at most 100, got 101"),
        ({"max_seeds": 3, "seeds": [0, 1, 2, 3]}, "max_seeds: must be at least the number of seeds, 4, got 3"),
        ({"estimate": "last"}, "estimate: must be "),
        ({"estimate": {"kind": "first"}}, "estimate.kind: must be one of last, tail, best, got first"),
        ({"estimate": {"kind": "tail", "epochs": 0}}, "estimate.epochs: must be from 1 to 1000000, got 0"),
        ({"estimate": {"kind": "tail", "share": 1}}, "estimate: a share must be above 0 and below 1, got 1"),
        ({"estimate": {"kind": "last", "epochs": 3}}, "estimate: only a tail has a length"),
        ({"estimate": {"kind": "tail", "epochs": 3, "share": 0.5}}, "estimate: only a tail has a length, and either"),
        ({"reference": "nobody"}, "reference: must be one of plain, bn, dropout, got nobody"),
        ({"variants__1__name": "plain"}, "variants: plain: appears twice"),
        ({"variants__1__name": "../bn"}, "variants: name: '../bn' cannot be the name of a folder"),
        ({"variants__1__name": ""}, "variants: name: '' cannot be the name of a folder"),
        ({"variants__1__name": "x" * 201}, f"variants: name: {'x' * 201!r} cannot be the name of a folder"),
        ({"variants__1__config": {}}, "variants: bn: config.data.init_args: must be a mapping"),
        ({"variants__1__key": 3}, "variants[1].key: must be text, got 3"),
        ({"options": [1]}, "options[0]: must be text, got 1"),
        ({"splits": 2}, "splits: must be from 3 to 100, got 2"),
        ({"splits": 3}, "variants: plain: keys: must be 3, one for each split, got 0"),
        ({"splits": 3, "variants__0__keys": ["a"]}, "variants: plain: keys: must be 3, one for each split, got 1"),
        (
            {"splits": 3, "variants__0__keys": ["a", "b", "c"]},
            "variants: plain: config.data.init_args.split_seed: must be a whole number where there are several splits, "
            "got None",
        ),
        ({"variants__0__keys": ["a", "b", "c"]}, "variants: plain: keys: must be none for one split, got 3"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_its_key(folder, changes, fault):
    change(folder / "study.json", **changes)
    with pytest.raises(UserError) as error:
        read_results(folder)
    assert message(error).startswith(f"{folder / 'study.json'}: {fault}")
    assert "\n" not in message(error)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[" * 100_000, "is nested more than 100 levels deep"),
        (b'{"name": ' + b"[" * 200 + b"]" * 200 + b"}", "is nested more than 100 levels deep"),
        (b'{"name": "a",\n "name": "b"}', "name: appears twice"),
        (b'{"seeds": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b'{"name": "\xff"}', "line 1: must be UTF-8 text, found byte 0xff"),
        (b'{"name":\n "\0"}', "line 2: must be UTF-8 text, found a NUL byte"),
        (b'{"name": "\\u0000"}', "is missing"),
        (b"", "line 1: is not valid JSON"),
        (b"{}", "name: is missing"),
    ],
    ids=["deep", "flat-deep", "twice", "digits", "latin", "nul", "escape", "empty", "nothing"],
)
def test_json_that_cannot_be_is_one_line(folder, refusal, content, fault):
    for path in (folder / "bn" / "version_0" / "record.json", folder / "study.json"):
        path.write_bytes(content)
        code, line = refusal("report", folder)
        assert code == 1
        assert f"{path}: " in line
        assert fault in line


def row(number, text):
    """Replaces a line of a table."""
    return lambda table: "\n".join([*table.splitlines()[: number - 1], text, *table.splitlines()[number:], ""])


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (row(2, "0,1,train,acc,2"), "row 2: value: an accuracy must be from 0 to 1, got 2.0"),
        (row(2, "0,1,train,acc,-1"), "row 2: value: an accuracy must be from 0 to 1, got -1.0"),
        (row(2, "0,1,train,acc,nan"), "row 2: value: an accuracy must be from 0 to 1, got nan"),
        (row(2, "0,1,train,acc,"), "row 2: value: is empty"),
        (row(2, "0,1,train,acc"), "row 2: value: is empty"),
        (row(2, ",1,train,acc,0.5"), "row 2: seed: is empty"),
        (row(3, "0,1,train,loss,-1.4e-45"), "row 3: value: must be at least 0, got -1.4e-45"),
        (row(3, "0,1,train,loss,-0.5"), "row 3: value: must be at least 0, got -0.5"),
        (row(3, "0,1,train,loss,-inf"), "row 3: value: must be at least 0, got -inf"),
        (row(3, "0,1,train,loss,1e999"), "row 3: value: must be a number, got 1e999"),
        (row(3, "0,1,train,loss,much"), "row 3: value: must be a number, got much"),
        (row(6, "0,1,test,ece,1.0000001"), "row 6: value: a calibration error is from 0 to 1, got 1.0000001"),
        (row(6, "0,1,test,ece,1.5"), "row 6: value: a calibration error is from 0 to 1, got 1.5"),
        (row(2, "0,0,train,acc,0.5"), "row 2: epoch: must be from 1 to 4, got 0"),
        (row(2, "0,5,train,acc,0.5"), "row 2: epoch: must be from 1 to 4, got 5"),
        (row(2, "0,1.0,train,acc,0.5"), "row 2: epoch: must be a whole number, got 1.0"),
        (row(2, "9,1,train,acc,0.5"), "row 2: seed: must be a seed of record.json, got 9"),
        (row(2, "-1,1,train,acc,0.5"), "row 2: seed: must be a whole number, got -1"),
        (row(2, f"{10**40},1,train,acc,0.5"), "row 2: seed: must be a whole number"),
        (row(2, "0,1,tests,acc,0.5"), "row 2: split: must be one of train, val, test, got tests"),
        (row(2, "0,1,train,f1,0.5"), "row 2: metric: must be one of acc, loss, ece, got f1"),
        (row(2, "0,1,train,acc,0.5,7"), "row 2: has 6 cells, not 5"),
        (row(4, ""), "row 4: seed: is empty"),
        (lambda text: text.replace("0,1,train", "7,0,1,train", 1), "row 2: has 6 cells, not 5"),
        (
            lambda text: "\n".join([text.splitlines()[0], *(f"7,{one}" for one in text.splitlines()[1:])]),
            "row 2: has 6 cells",
        ),
        (lambda text: text.splitlines()[0] + "\n", "is not whole: it is empty"),
        (lambda text: text.replace("train", "tr\0in", 1), "line 2: must be UTF-8 text, found a NUL byte"),
    ],
)
def test_a_table_that_cannot_be_is_refused_with_its_row(folder, damage, fault):
    path = folder / "bn" / "version_0" / "record.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError) as error:
        read_results(folder)
    assert message(error).startswith(f"{path}: ")
    assert fault in message(error)
    assert "\n" not in message(error)


def test_a_variant_that_appears_twice_among_many_is_found_at_once(folder):
    plan = json.loads((folder / "study.json").read_text())
    data = plan["variants"][0]["config"]["data"]
    names = [*range(60_000), "plain", "plain"]
    variants = [{"name": f"{name}", "key": "k", "levels": {}, "config": {"data": data}} for name in names]
    (folder / "study.json").write_text(json.dumps(plan | {"variants": variants}))
    with pytest.raises(UserError, match="variants: plain: appears twice$"):
        read_plan(folder)


def test_a_table_larger_than_its_record_allows_is_not_read(folder, monkeypatch):
    path = folder / "plain" / "version_0" / "record.csv"
    with path.open("a") as file:
        file.writelines("0,1,train,acc,0.5\n" for _ in range(1000))
    monkeypatch.setattr(pd, "read_csv", None)
    with pytest.raises(UserError) as error:
        read_results(folder)
    # 3 seeds, 4 epochs, 3 splits, 3 metrics, and the header
    assert message(error) == f"{path}: is larger than 10,900 bytes; a record cannot be that large"


def test_a_table_that_is_read_in_pieces_is_the_same_and_a_fault_has_its_row(folder, monkeypatch):
    from fashionreg.runs import tables

    whole = read_results(folder).table
    monkeypatch.setattr(tables, "CHUNK", 7)
    pd.testing.assert_frame_equal(read_results(folder).table, whole)
    path = folder / "bn" / "version_0" / "record.csv"
    path.write_text(row(40, "0,1,train,f1,0.5")(path.read_text()))
    with pytest.raises(UserError, match="row 40: metric: must be one of"):
        read_results(folder)


def test_a_diverged_network_keeps_its_loss_that_is_no_number(folder):
    path = folder / "bn" / "version_0" / "record.csv"
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("1,4,") and ",acc," not in line:
            lines[number] = line.rpartition(",")[0] + (",inf" if "train" in line else ",nan")
    path.write_text("\n".join(lines) + "\n")
    table = read_results(folder).table.query("variant == 'bn' and seed == 1 and epoch == 4").set_index("metric")
    assert table.value["loss"].tolist() == pytest.approx([float("nan"), float("inf")], nan_ok=True)
    assert table.value["acc"].between(0, 1).all()


def with_value(path, key, value):
    """Replace the value of the rows of a table that begin with a key."""
    lines = path.read_text().splitlines()
    path.write_text("\n".join(f"{key},{value}" if line.startswith(f"{key},") else line for line in lines) + "\n")


@pytest.mark.parametrize("metric", ["acc", "loss"])
@pytest.mark.parametrize("value", ["1e308", "inf", "nan"])
@pytest.mark.parametrize("variant", ["plain", "bn"])
def test_a_loss_beyond_all_bounds_is_that_of_a_diverged_network(tmp_path, run, metric, value, variant):
    folder = write_study(tmp_path / "study", seeds=[0, 1, 2], epochs=2, metric=metric, targets=[])
    with_value(folder / variant / "version_0" / "record.csv", "1,2,test,loss", value)
    table = "seed,step,layer,statistic,value\n" + "".join(
        f"{seed},{step},hidden1,{name},{value}\n"
        for seed in range(3)
        for step in (0, 50)
        for name in ("p15", "p50", "p85", "mean_drift")
    )
    (folder / variant / "version_0" / "drift.csv").write_text(table)
    code, out, err = run("report", folder)
    assert (code, err) == (0, "")
    assert f"Diverged: the loss of {variant} is infinite or not a number for 1 seed (1)." in out


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("0,0,hidden1,dead,2", "row 2: value: must be from 0 to 1, got 2.0"),
        ("0,0,hidden1,mean_drift,-1", "row 2: value: must be at least 0, got -1.0"),
        ("0,0,first,dead,0", "row 2: layer: must be like hidden"),
        ("0,0,hidden1,p16,0", "row 2: statistic: must be one of p15"),
        ("7,0,hidden1,p15,0", "row 2: seed: must be a seed of record.json"),
        ("0,0,hidden1,p15,", "row 2: value: is empty"),
        ("0,0,hidden1,p15,0\n0,0,hidden1,p15,0", "row 3: appears twice"),
    ],
)
def test_drift_that_cannot_be_is_refused_with_its_row(folder, line, fault):
    path = folder / "bn" / "version_0" / "drift.csv"
    path.write_text(f"seed,step,layer,statistic,value\n{line}\n")
    with pytest.raises(UserError) as error:
        read_results(folder)
    assert message(error).startswith(f"{path}: {fault}")


@pytest.mark.parametrize("name", ["plain", "dropout=0.3", "a + b", "größe", "b < c & d | e", "-1", "x" * 200])
def test_names_of_folders(name):
    assert is_folder_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".lock", "a/b", "a\\b", "a\n", "\0", "a.", "a ", "con", "NUL.txt", "x" * 201, "ü" * 101, "\ud800"],
)
def test_names_that_no_folder_can_have_everywhere(name):
    assert not is_folder_name(name)


def test_the_largest_seed_of_a_record_is_that_of_a_run():
    from fashionreg.randomness import MAX_SEED
    from fashionreg.runs.record import Seed

    assert Seed.__metadata__[0].high == MAX_SEED
