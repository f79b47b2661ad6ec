"""Whatever is in the files of a study, what is read stands there and can be true, or it is refused in one line."""

import csv
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damage import TABLE, TEXT, damaged, numbers_replaced
from fashionreg.studies.results import read_results
from sample_studies import write_study

RECORD = "plain/version_0/record"


def fresh(folder):
    """A study of two variants, two seeds and two epochs, written by a hand that is not the program's."""
    path = folder / "study"
    if not path.exists():
        write_study(path, ("plain", "bn"), seeds=(0, 3), epochs=2)
        for file in path.rglob("record.*"):
            file.with_suffix(file.suffix + ".good").write_bytes(file.read_bytes())
        (path / "study.json.good").write_bytes((path / "study.json").read_bytes())
    for good in path.rglob("*.good"):
        good.with_suffix("").write_bytes(good.read_bytes())
    return path


def check(results, folder):
    """What was read can be true and stands in the files."""
    plan = results.plan
    assert plan.metric in ("acc", "loss", "ece")
    assert plan.split in ("train", "val", "test")
    assert plan.reference in [variant.name for variant in plan.variants]
    assert len({variant.name for variant in plan.variants}) == len(plan.variants)
    assert all(type(seed) is int and seed >= 0 for seed in plan.seeds)
    assert all(math.isfinite(target) for target in plan.targets)
    assert all(math.isfinite(seconds) and seconds >= 0 for seconds in results.seconds.seconds)
    assert set(results.table.seed) <= set(plan.seeds)
    written = {}
    for variant in plan.variants:
        for path in (folder / variant.name).glob("version_*/record.csv"):
            for row in csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"))):
                key = (variant.name, float(row["seed"]), float(row["epoch"]), row["split"], row["metric"])
                written[key] = float(row["value"])
    for row in results.table.itertuples():
        assert row.split in ("train", "val", "test")
        assert row.metric in ("acc", "loss", "ece")
        assert row.epoch >= 1
        assert math.isfinite(row.value)
        assert 0 <= row.value <= (math.inf if row.metric == "loss" else 1)
        number = written[row.variant, row.seed, row.epoch, row.split, row.metric]
        # pandas rounds the last of 17 digits otherwise than Python
        assert row.value == pytest.approx(number, rel=1e-14, abs=1e-300)


def test_a_good_study_is_read_exactly(reading, tmp_path):
    folder = fresh(tmp_path)
    results = reading(lambda: read_results(folder))
    assert len(results.table) == 2 * 2 * 2 * 5
    check(results, folder)


def read_damaged(reading, folder, file, content):
    path = folder / file
    path.write_bytes(content)
    # a plan that names no such variant is found by what is missing, in the folder
    if (results := reading(lambda: read_results(folder), path.parent, folder)) is not None:
        check(results, folder)


@given(st.data())
def test_a_damaged_table_is_read_as_it_stands_or_refused(reading, tmp_path, data):
    folder = fresh(tmp_path)
    content = (folder / f"{RECORD}.csv").read_bytes()
    read_damaged(reading, folder, f"{RECORD}.csv", data.draw(damaged(content, TABLE) | st.binary(max_size=100)))


@given(st.data(), st.sampled_from([f"{RECORD}.json", "study.json"]))
def test_damaged_json_can_be_true_or_is_refused(reading, tmp_path, data, file):
    folder = fresh(tmp_path)
    content = (folder / file).read_bytes()
    read_damaged(reading, folder, file, data.draw(damaged(content, TEXT) | st.binary(max_size=100)))


@given(st.data(), st.sampled_from([f"{RECORD}.csv", f"{RECORD}.json", "study.json"]))
def test_a_number_in_an_odd_form_can_be_true_or_is_refused(reading, tmp_path, data, file):
    folder = fresh(tmp_path)
    read_damaged(reading, folder, file, data.draw(numbers_replaced((folder / file).read_text())))


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def places(value, path=()):
    """The path of every value within a nested one."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


@given(st.data(), st.sampled_from([f"{RECORD}.json", "study.json"]), st.booleans(), anything)
def test_json_with_a_value_missing_or_another_in_its_place_can_be_true_or_is_refused(
    reading, tmp_path, data, file, missing, value
):
    folder = fresh(tmp_path)
    content = json.loads((folder / file).read_text())
    *way, last = data.draw(st.sampled_from(list(places(content))[1:]))
    inside = content
    for key in way:
        inside = inside[key]
    if missing:
        del inside[last]
    else:
        inside[last] = value
    read_damaged(reading, folder, file, json.dumps(content).encode())


@given(
    st.integers(1, 100_000),
    st.sampled_from(["[", '{"a":', "-", "1"]),
    st.sampled_from([f"{RECORD}.json", "study.json"]),
)
def test_deep_and_long_json_is_refused(reading, tmp_path, depth, part, file):
    read_damaged(reading, fresh(tmp_path), file, (part * depth).encode())
