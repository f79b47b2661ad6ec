"""A study file is checked as a whole, and means the runs that it says."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from conftest import made_by
from fashionreg.errors import UserError
from fashionreg.studies.estimand import Estimand
from fashionreg.studies.plan import read_study

CONFIGS = Path(__file__).parents[2] / "configs"

STUDY = """\
name: small
reference: plain
shared:
  - tiny.yaml
  - trainer: {max_epochs: 1}
variants:
  plain: [{model: {init_args: {batch_norm: false, dropout: 0.0}}}]
  dropout: [{model: {init_args: {batch_norm: false}}}]
"""


@pytest.fixture
def study(workplace):
    """Reads a study file made from `STUDY` with some keys changed; None leaves a key out."""

    def study(seeds=None, options=(), overrides=None, **changes):
        content = yaml.safe_load(STUDY) | changes
        path = workplace / "study.yaml"
        path.write_text(
            yaml.safe_dump({key: value for key, value in content.items() if value is not None}, sort_keys=False)
        )
        return read_study(path, seeds, options, overrides)

    return study


def problems(error):
    head, *lines = str(error.value).splitlines()
    assert "study.yaml" in head
    assert "nothing was run" in head
    return [line.strip() for line in lines]


def test_missing_data_are_said_once(study, workplace):
    files = {"class_path": "FashionMNISTDataModule", "init_args": {"root": "nowhere", "mirror": "http://127.0.0.1:9/"}}
    (workplace / "data.yaml").write_text(yaml.safe_dump({"data": files}))
    with pytest.raises(UserError) as error:
        study(shared=["tiny.yaml", "data.yaml"])
    (problem,) = problems(error)
    assert problem.startswith("plain: Fashion-MNIST is not complete in ")


def test_variants_are_resolved_files_before_overrides_and_shared_before_own(study):
    plan = study()
    assert [variant.name for variant in plan.variants] == ["plain", "dropout"]
    plain, dropout = (variant.config for variant in plan.variants)
    assert plain["model"]["init_args"]["dropout"] == 0.0
    assert dropout["model"]["init_args"]["dropout"] == 0.2  # the file's
    assert {plain["trainer"]["max_epochs"], dropout["trainer"]["max_epochs"]} == {1}
    assert (plan.metric, plan.split, plan.targets, plan.seeds) == ("acc", "test", [], list(range(10)))


def test_seeds_and_options_of_the_command_line_win(study):
    plan = study(3, ["--trainer.max_epochs", "7"])
    assert plan.seeds == [0, 1, 2]
    assert {variant.config["trainer"]["max_epochs"] for variant in plan.variants} == {7}


def test_a_grid_is_every_combination_of_its_values(study):
    plan = study(variants=None, reference="dropout=0.0, lr=0.1", grid={"dropout": [0.0, 0.5], "lr": [0.1, 0.2, 0.3]})
    assert len(plan.variants) == 6
    for variant in plan.variants:
        arguments = variant.config["model"]["init_args"]
        assert variant.levels == {"dropout": arguments["dropout"], "lr": arguments["optimizer"]["init_args"]["lr"]}
        assert variant.name == f"dropout={variant.levels['dropout']}, lr={variant.levels['lr']}"


def test_a_factorial_names_its_variants_by_what_is_on(study):
    grid = {"batch_norm": [False, True], "dropout": [0.0, 0.5], "weight_decay": [0.0, 0.01]}
    plan = study(variants=None, reference="none", grid=grid)
    names = [variant.name for variant in plan.variants]
    assert len(names) == 8
    assert names[0] == "none"
    assert "batch_norm + weight_decay" in names
    assert names[-1] == "batch_norm + dropout + weight_decay"


DROPOUT = {"class_path": "Dropout", "init_args": {"p": 0.3}}
NORM = {"class_path": "BatchNorm"}
WITHOUT = {"model": {"init_args": {"dropout": 0.0, "batch_norm": False}}}


def regularizers(variant):
    found = variant.config["model"]["init_args"]["regularizers"] or {}
    return {name: part["init_args"].get("p") for name, part in found.items()}


@pytest.mark.parametrize("shared", [None, {"drop": "Dropout"}, {"drop": DROPOUT, "other": "WeightDecay"}])
@pytest.mark.parametrize("prefix", ["", "regularizers.", "model.init_args.regularizers."])
def test_regularizers_are_switched_on_and_off_by_a_grid(study, shared, prefix):
    parts = ["tiny.yaml", WITHOUT, {"model": {"init_args": {"regularizers": shared}}}]
    grid = {f"{prefix}drop": [None, DROPOUT], f"{prefix}norm": [NORM, None]}
    plan = study(variants=None, reference="none", shared=parts, grid=grid)
    on = {
        variant.name.replace(prefix, "") if prefix else variant.name: regularizers(variant) for variant in plan.variants
    }
    other = {"other": None} if shared and "other" in shared else {}
    assert on == {
        "none": other,
        "drop": {"drop": 0.3} | other,
        "norm": {"norm": None} | other,
        "drop + norm": {"drop": 0.3, "norm": None} | other,
    }


def test_a_switch_alone_and_a_choice_of_classes_have_readable_names(study):
    parts = ["tiny.yaml", WITHOUT]
    # dropout and batch_norm are numbers of the model, too, where no class can stand
    plan = study(variants=None, reference="none", shared=parts, grid={"dropout": [None, DROPOUT]})
    assert [(variant.name, regularizers(variant)) for variant in plan.variants] == [
        ("none", {}),
        ("dropout", {"dropout": 0.3}),
    ]
    grid = {"drop": [None, DROPOUT, {"class_path": "fashionreg.regularizers.Dropout", "p": 0.5}], "lr": [0.1, 0.2]}
    names = [variant.name for variant in study(variants=None, reference=None, shared=parts, grid=grid).variants]
    assert names[::2] == ["drop=null, lr=0.1", "drop=Dropout(p=0.3), lr=0.1", "drop=Dropout(p=0.5), lr=0.1"]
    optimizers = [{"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}, {"class_path": "torch.optim.Adam"}]
    plan = study(variants=None, reference=None, shared=parts, grid={"optimizer": optimizers})
    assert [variant.name for variant in plan.variants] == ["optimizer=SGD(lr=0.1)", "optimizer=Adam"]


def test_an_option_of_a_regularizer_is_named_after_it(study):
    parts = ["tiny.yaml", WITHOUT, {"model": {"init_args": {"regularizers": {"a": DROPOUT, "b": DROPOUT}}}}]
    plan = study(variants=None, reference=None, shared=parts, grid={"a.p": [0.1, 0.2]})
    assert [(variant.name, regularizers(variant)) for variant in plan.variants] == [
        ("a.p=0.1", {"a": 0.1, "b": 0.3}),
        ("a.p=0.2", {"a": 0.2, "b": 0.3}),
    ]


def test_overrides_win_over_the_file_and_the_plan_says_them_as_arguments(study):
    overrides = {
        "trainer": {"max_epochs": 7},
        "model.init_args.regularizers": {"decay": "WeightDecay"},
        "model.init_args.hidden_sizes": (9,),
        "trainer.precision": None,
        "data": {"class_path": "SyntheticDataModule", "init_args": {"train_size": 100, "test_size": 40}},
    }
    plan = study(None, ["--trainer.gradient_clip_val=1"], overrides)
    for variant in plan.variants:
        assert variant.config["trainer"]["max_epochs"] == 7
        assert variant.config["model"]["init_args"]["hidden_sizes"] == [9]
        assert regularizers(variant) == {"decay": None}
    again = study(None, plan.options)
    assert [variant.key for variant in again.variants] == [variant.key for variant in plan.variants]
    with pytest.raises(UserError, match="overrides: seeds: is an argument of its own"):
        study(None, (), {"seeds": 3})


def test_keys_depend_on_what_is_computed_and_on_nothing_else(study):
    keys = [variant.key for variant in study().variants]
    assert len(set(keys)) == 2
    same = [["--trainer.logger", "false"], ["--threads", "1"], ["--trainer.enable_checkpointing", "false"]]
    for options in same:
        assert [variant.key for variant in study(5, options).variants] == keys
    other = [["--trainer.max_epochs", "2"], ["--data.init_args.data_seed", "1"], ["--trainer.gradient_clip_val", "1"]]
    for options in other:
        assert not {variant.key for variant in study(None, options).variants} & set(keys)


def test_everything_that_is_wrong_is_said_at_once(study, workplace):
    (workplace / "broken.yaml").write_text("model: [")
    with pytest.raises(UserError) as error:
        study(
            seeds=[1, 1],
            reference="nobody",
            variants={
                "missing": ["nowhere.yaml"],
                "broken": ["broken.yaml"],
                "typo": [{"model": {"init_args": {"drop_out": 0.1}}}],
                "range": [{"model": {"init_args": {"dropout": 1.5}}}],
                "one": [],
                "two": [],
            },
        )
    found = "\n".join(problems(error))
    for what in (
        "seeds: 1 is named twice",
        "missing: ",
        "nowhere.yaml: no such configuration file",
        "broken: ",
        "is not valid YAML",
        "typo: ",
        "drop_out",
        "range: dropout: must be at least 0 and below 1, got 1.5",
        "two: is the same configuration as one",
        "reference: there is no variant 'nobody'; there are missing, broken",
    ):
        assert what in found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"colour": "red"}, "colour: unknown"),
        ({"name": "a/b"}, "name: must be a name that a folder can have, got 'a/b'"),
        ({"name": None}, "name: must be"),
        ({"metric": "f1"}, "metric: there is no 'f1'; there are acc, loss, ece"),
        ({"split": "validation"}, "split: there is no 'validation'"),
        ({"split": "val"}, "split: there is no val without data.init_args.val_size"),
        ({"targets": [80]}, "targets[0]: must be from 0 to 1 (0.8 is 80%), got 80"),
        ({"targets": "high"}, "targets: must be a list"),
        ({"variants": None}, "exactly one of them must be there"),
        ({"grid": {"dropout": [0.1]}}, "exactly one of them must be there"),
        ({"variants": {"plain": "tiny.yaml"}}, "variants: plain: must be a list of configuration files and overrides"),
        ({"variants": {"../up": []}}, "'../up': must be a name that a folder can have"),
        ({"variants": None, "grid": {"drop": [0.1]}}, "grid: drop: there is no such option"),
        ({"variants": None, "grid": {"dropout": 0.1}}, "grid: dropout: must be a list of values"),
        ({"variants": None, "grid": {"dropout": [0.1, 0.1]}}, "grid: dropout: the same value twice"),
        ({"variants": None, "grid": {"class_path": ["x"]}}, "grid: class_path: could be model.class_path or"),
        ({"variants": {"report.html": []}}, "variants: report.html: choose another name: the study writes report.html"),
        ({"variants": {"Figures": []}}, "variants: Figures: choose another name: the study writes figures itself"),
        ({"variants": {"study.json": []}}, "choose another name: the study writes study.json itself"),
        ({"variants": {"bn": [], "BN": []}}, "variants: BN: choose another name: it differs from bn by upper and"),
        ({"variants": {"bn.": []}}, "variants: 'bn.': must not end with a dot or a space"),
        ({"variants": {"bn ": []}}, "variants: 'bn ': must not end with a dot or a space"),
        ({"variants": {"nul": []}}, "variants: nul: choose another name: no file can have this one on Windows"),
        ({"variants": {"CON.x": []}}, "no file can have this one on Windows"),
        ({"targets": [float("inf")], "metric": "loss"}, "targets: inf is not a number"),
        ({"seeds": "many"}, "seeds: must be a count (10) or a list ([3, 7]) of whole numbers, got 'many'; or auto"),
        ({"seeds": [1.5]}, "seeds: must be a count (10) or a list ([3, 7]) of whole numbers, got [1.5]"),
        ({"seeds": 0}, "seeds: a count must be at least 1"),
        ({"outcomes": "acc"}, "outcomes: must be a list, got 'acc'"),
        ({"outcomes": ["acc", "f1"]}, "outcomes: there is no 'f1'; there are acc, loss, ece, gap"),
        ({"outcomes": [["acc"]]}, "outcomes: there is no ['acc']; there are acc, loss, ece, gap"),
        ({"outcomes": ["acc", "gap", "acc"]}, "outcomes: acc: appears twice"),
        ({"outcomes": ["acc", "ece"], "split": "train"}, "metric, outcomes, split: ece is evaluated on val and test"),
        ({"estimate": "median"}, "estimate: must be last, tail, best, or {tail: 10}"),
        ({"estimate": {"tail": 0}}, "a number of epochs or a share below 1, got {'tail': 0}"),
        ({"estimate": {"tail": 1.0}}, "a number of epochs or a share below 1, got {'tail': 1.0}"),
        ({"estimate": {"tail": True}}, "a number of epochs or a share below 1, got {'tail': True}"),
        ({"estimate": {"tail": 2}}, "plain: estimate: a tail of 2 epochs needs as many, got 1"),
        ({"estimate": "best"}, "plain: estimate: there is no val without data.init_args.val_size"),
        ({"relevant": 0}, "relevant: must be a number above 0, in points, for a loss in nats, got 0"),
        ({"relevant": "0.5%"}, "relevant: must be a number above 0, in points, for a loss in nats, got '0.5%'"),
        ({"relevant": True}, "relevant: must be a number above 0, in points, for a loss in nats, got True"),
        ({"relevant": 200}, "relevant: must be above 0, in points, at most 100, got 200"),
        ({"max_seeds": 2}, "max_seeds: must be a whole number from 3 to 1,000,000, got 2"),
        ({"max_seeds": 50.0}, "max_seeds: must be a whole number from 3 to 1,000,000, got 50.0"),
        ({"max_seeds": 9}, "max_seeds: must be at least the number of seeds, 10, got 9"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(study, changes, expected):
    with pytest.raises(UserError) as error:
        study(**changes)
    assert any(expected in line for line in problems(error)), problems(error)


def test_a_study_needs_every_epoch_of_every_run(study):
    options = ["--trainer.check_val_every_n_epoch", "2", "--trainer.fast_dev_run", "true"]
    with pytest.raises(UserError) as error:
        study(None, options)
    found = problems(error)
    assert sum("check_val_every_n_epoch: must be 1" in line for line in found) == 2
    assert sum("use --dry_run" in line for line in found) == 2


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (None, Estimand("tail")),
        ("last", Estimand("last")),
        ("tail", Estimand("tail")),
        ({"tail": 1}, Estimand("tail", epochs=1)),
        ({"tail": 0.2}, Estimand("tail", share=0.2)),
    ],
)
def test_what_counts_of_a_curve_is_declared(study, declared, expected):
    assert study(estimate=declared).estimate == expected


def test_the_smallest_difference_that_matters_is_declared_in_points_or_nats(study):
    plan = study(relevant=1, max_seeds=50)
    assert (plan.relevant, plan.margin, plan.max_seeds) == (1.0, 0.01, 50)
    assert study(relevant=200, metric="loss").margin == 200
    plan = study()
    assert (plan.relevant, plan.margin, plan.max_seeds) == (None, None, None)


def test_automatic_seeds_start_at_ten_and_have_a_maximum(study):
    plan = study(seeds="auto")
    assert (len(plan.seeds), plan.max_seeds, plan.auto) == (10, 50, True)
    plan = study(**{"max_seeds": 7}, seeds="auto")
    assert (len(plan.seeds), plan.max_seeds, plan.auto) == (7, 7, True)
    assert not study(seeds=10).auto


def test_outcomes_are_declared_and_otherwise_the_metric(study):
    assert study(outcomes=["gap", "loss"]).tested == ["gap", "loss"]
    assert study().tested == ["acc"]
    assert study(metric="loss").tested == ["loss"]
    evaluated = {"data": {"init_args": {"evaluate_train": True}}}
    assert study(shared=["tiny.yaml", {"trainer": {"max_epochs": 1}}, evaluated]).tested == ["acc", "gap"]


@pytest.mark.parametrize(
    ("total", "length"), [(1, 1), (5, 1), (19, 1), (20, 3), (34, 3), (36, 4), (100, 10), (999, 100)]
)
def test_a_tail_is_the_last_tenth_and_at_least_three_of_twenty_epochs_or_more(total, length):
    assert Estimand("tail").length(total) == length


def test_options_of_the_command_line_are_part_of_the_plan(study):
    assert study(None, ["--trainer.max_epochs", "7"]).options == ["--trainer.max_epochs", "7"]


def test_a_name_that_stands_twice_is_refused(workplace):
    (workplace / "study.yaml").write_text("name: a\nvariants:\n  bn: [tiny.yaml]\n  bn: []\n")
    with pytest.raises(UserError, match=r"study\.yaml: line 4: .*bn appears twice"):
        read_study(workplace / "study.yaml")


def test_a_truth_value_is_no_count_of_seeds(workplace):
    (workplace / "study.yaml").write_text(STUDY + "seeds: true\n")
    with pytest.raises(UserError, match=r"seeds: must be a count \(10\) or a list .*, got True"):
        read_study(workplace / "study.yaml")


@pytest.mark.parametrize("text", ["", "- a\n", "name: [", "just words"])
def test_a_file_that_is_no_study_is_refused(workplace, text):
    path = workplace / "study.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="study.yaml: "):
        read_study(path)
    with pytest.raises(UserError, match="no such study file"):
        read_study(workplace / "nowhere.yaml")


@pytest.fixture(scope="module")
def subset_folder(real_data, tmp_path_factory):
    """A folder with the subset that lecture 7 is given, cut from the official files; tests work on a copy of it."""
    folder = tmp_path_factory.mktemp("subset")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASHIONREG_DATA", str(real_data))
        return made_by(folder, "data", "subset", "--size", 6000, "--seed", 0, "--out", "data/fmnist_small.csv")


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["batch_norm", "batch_norm_tuned", "lecture7", "dropout_rate", "weight_decay", "additive", "smoke"]
)
def test_shipped_studies_are_in_order(name, real_data, subset_folder, workplace, monkeypatch):
    monkeypatch.setenv("FASHIONREG_DATA", str(real_data))
    shutil.copytree(subset_folder / "data", workplace / "data")
    plan = read_study(CONFIGS / "studies" / f"{name}.yaml")
    assert plan.name == name
    assert plan.question.endswith("?")
    assert plan.reference in {variant.name for variant in plan.variants}
    assert json.dumps([variant.config for variant in plan.variants])
