"""A study file that builds on another one says only what differs."""

from pathlib import Path

import pytest
import yaml

from fashionreg.errors import UserError
from fashionreg.studies.plan import read_study

BASE = """\
name: base
question: Which?
seeds: 7
reference: a
relevant: 0.5
shared: [tiny.yaml, {data: {init_args: {val_size: 50}}}, {trainer: {max_epochs: 3}}]
variants:
  a: []
  b: [own.yaml]
  c: [{model: {init_args: {dropout: 0.5}}}]
tune:
  grid: {lr: [0.1, 0.2, 0.3]}
  variants: {c: {dropout: [0.4, 0.5]}}
  draws: 3
"""


@pytest.fixture
def study(workplace):
    """Writes a base into a folder `bases`, and reads a study beside it that builds on it."""
    folder = workplace / "bases"
    folder.mkdir()
    (workplace / "tiny.yaml").rename(folder / "tiny.yaml")
    (folder / "own.yaml").write_text("model: {init_args: {hidden_sizes: [5]}}\n")
    (folder / "base.yaml").write_text(BASE)

    def study(**content):
        Path("study.yaml").write_text(yaml.safe_dump({"base": "bases/base.yaml", **content}, sort_keys=False))
        return read_study(Path("study.yaml"))

    return study


def test_what_is_not_said_is_that_of_the_base_and_files_are_found_from_there(study):
    plan, base = study(name="new"), read_study(Path("bases/base.yaml"))
    assert (plan.name, base.name) == ("new", "base")
    assert plan.variants == base.variants
    assert plan.variants[1].config["model"]["init_args"]["hidden_sizes"] == [5]
    assert (plan.question, plan.seeds, plan.relevant) == ("Which?", list(range(7)), 0.5)
    assert plan.trials.variants == base.trials.variants


def test_variants_are_chosen_by_name_with_their_tuning_and_what_is_shared_comes_after_the_bases(study):
    plan = study(name="new", seeds=2, variants=["c", "a"], shared=[{"trainer": {"max_epochs": 1}}], tune={"draws": 2})
    assert [variant.name for variant in plan.variants] == ["c", "a"]
    assert {variant.config["trainer"]["max_epochs"] for variant in plan.variants} == {1}
    assert {variant.config["data"]["init_args"]["val_size"] for variant in plan.variants} == {50}
    assert plan.seeds == [0, 1]
    assert [trial.levels["variant"] for trial in plan.trials.variants] == ["c", "c", "a", "a"]
    assert all({*trial.levels} == {"variant", "lr", "dropout"} for trial in plan.trials.variants[:2])
    assert study(name="new", variants=["a", "b"]).trials.variants[0].levels.keys() == {"variant", "lr"}


def test_variants_of_its_own_stand_in_place_of_the_bases(study):
    plan = study(
        name="new", variants={"a": [], "d": [{"model": {"init_args": {"dropout": 0.1}}}]}, tune={"variants": {}}
    )
    assert [variant.name for variant in plan.variants] == ["a", "d"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"name": "new", "variants": ["a", "x"]}, "variants: there is no 'x' in the base; there are a, b, c"),
        ({"name": "new", "variants": [3]}, "variants: there is no 3 in the base; there are a, b, c"),
        ({"name": "new", "base": 3}, "base: must be a file name, got 3"),
        ({"name": "new", "base": "study.yaml"}, "base: builds on itself, or on more than 50 files"),
        ({"name": "new", "base": "nowhere.yaml"}, "nowhere.yaml"),
        ({"seeds": 3}, "name: must be a name that a folder can have, got None"),
        ({"name": "new", "shared": 3}, "shared: must be a list, got 3"),
        ({"name": "new", "tune": 3}, "tune: must be a mapping, got 3"),
        ({"name": "new", "tune": {"variants": 3}, "variants": ["a"]}, "tune: variants: must be a mapping"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(study, content, expected):
    with pytest.raises(UserError) as error:
        study(**content)
    assert expected in str(error.value)
    assert "study.yaml" in str(error.value) or "nowhere.yaml" in str(error.value)
