import json
from pathlib import Path

import pytest
import yaml

from fashionreg.config import (
    Regularizers,
    cache_key,
    flat,
    identity,
    nested,
    option_value,
    read_layers,
    resumable,
    split_arguments,
)
from fashionreg.errors import UserError

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n" + "\n".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]" for old, new in ("ab", "bc", "cd", "de", "ef")
)
SHIPPED = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)
    return folder


def test_bases_come_before_the_file_and_shared_bases_once(tmp_path):
    write(tmp_path, a="x: 1", b="base: a.yaml\ny: 2", c="base: a.yaml\nz: 3", d="base: [b.yaml, c.yaml]\nx: 4")
    assert read_layers(tmp_path / "d.yaml") == [{"x": 1}, {"y": 2}, {"z": 3}, {"x": 4}]


def test_files_and_mappings_are_layers_in_order_and_a_shared_base_comes_once(tmp_path):
    write(tmp_path, a="x: 1", b="base: a.yaml\ny: 2", c="base: a.yaml\nx: 3")
    mapping = {"z": 4}
    layers = read_layers([tmp_path / "b.yaml", mapping, str(tmp_path / "c.yaml")])
    assert layers == [{"x": 1}, {"y": 2}, {"z": 4}, {"x": 3}]
    assert read_layers(mapping) == [mapping]


def test_configuration_files_are_split_from_all_other_arguments():
    arguments = ["--seeds=3", "--config=b.yaml", "--name", "n", "-c", "c.yaml", "--force"]
    assert split_arguments(arguments) == (["b.yaml", "c.yaml"], ["--seeds=3", "--name", "n", "--force"])
    with pytest.raises(UserError, match="--config: needs the name of a file"):
        split_arguments(["--config"])


def test_dotted_names_and_nested_mappings_are_inverse():
    options = {"a.b.c": 1, "a.b.d": [2], "e": None}
    assert nested(options) == {"a": {"b": {"c": 1, "d": [2]}}, "e": None}
    assert flat(nested(options)) == options


CONFIG = {
    "name": "a",
    "seeds": 3,
    "threads": None,
    "model": {"class_path": "M", "init_args": {"dropout": 0.1}},
    "data": {"class_path": "D", "init_args": {"path": "a.csv", "batch_size": 32}},
    "trainer": {
        "max_epochs": 5,
        "precision": None,
        "callbacks": None,
        "default_root_dir": "logs",
        "accelerator": "cpu",
    },
}


def changed(name, value):
    return nested(flat(CONFIG) | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "b"),
        ("seeds", [1, 2]),
        ("threads", 2),
        ("data.init_args.path", "b.csv"),
        ("trainer.default_root_dir", "elsewhere"),
        ("trainer.accelerator", "gpu"),
        ("trainer.callbacks", [{"class_path": "fashionreg.callbacks.Histograms", "init_args": {"replica": 1}}]),
        ("trainer.callbacks", [{"class_path": "lightning.pytorch.callbacks.LearningRateMonitor"}]),
    ],
)
def test_places_hardware_and_observers_do_not_identify_a_run(name, value):
    assert identity(changed(name, value)) == identity(CONFIG)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.init_args.dropout", 0.2),
        ("data.init_args.batch_size", 64),
        ("trainer.precision", "bf16-mixed"),
        ("trainer.callbacks", [{"class_path": "lightning.pytorch.callbacks.EarlyStopping"}]),
        ("trainer.callbacks", [{"class_path": "mine.Callback"}]),
    ],
)
def test_what_is_computed_identifies_a_run_and_a_resumed_run_shares_it(name, value):
    assert identity(changed(name, value)) != identity(CONFIG)
    assert resumable(changed(name, value)) != resumable(CONFIG)


def test_options_that_are_not_set_do_not_change_the_cache_key():
    assert cache_key(changed("model.init_args.later", None), {"train": "a"}) == cache_key(CONFIG, {"train": "a"})
    assert cache_key(CONFIG, {"train": "b"}) != cache_key(CONFIG, {"train": "a"})


def test_one_callback_that_is_no_list_is_one_callback():
    observer = {"class_path": "fashionreg.callbacks.Histograms"}
    alone = {**CONFIG, "trainer": CONFIG["trainer"] | {"callbacks": observer}}
    assert identity(changed("trainer.callbacks", [observer])) == identity(alone)


REGULARIZERS = [
    {"dropout": {"class_path": "Dropout", "init_args": {"p": 0.3}}, "decay": "WeightDecay"},
    {"norm": {"class_path": "BatchNorm"}},
    {"dropout": {"init_args": {"p": 0.1}}},
    {"dropout": {"class_path": "fashionreg.regularizers.Dropout"}},
    {"decay": {"class_path": "EMA", "init_args": {"decay": 0.9}}, "norm": None},
]


def merged(layers):
    """The regularizers after each layer."""
    regularizers = Regularizers()
    return [regularizers.add(layer)["model"]["init_args"]["regularizers"] for layer in layers]


def test_regularizers_of_layers_merge_by_name():
    layers = [{"model": {"init_args": {"regularizers": each}}} for each in REGULARIZERS]
    before = json.dumps(layers)
    found = merged(layers)
    assert json.dumps(layers) == before
    assert found[1] == {**found[0], "norm": {"class_path": "BatchNorm"}}
    assert found[0]["decay"] == {"class_path": "WeightDecay"}
    assert found[2]["dropout"] == {"class_path": "Dropout", "init_args": {"p": 0.1}}
    assert found[3]["dropout"] == {"class_path": "fashionreg.regularizers.Dropout", "init_args": {"p": 0.1}}
    assert found[4] == {"dropout": found[3]["dropout"], "decay": {"class_path": "EMA", "init_args": {"decay": 0.9}}}
    *_, none, last = merged([*layers, {"model": {"init_args": {"regularizers": None}}}, layers[1]])
    assert none is None
    assert last == REGULARIZERS[1]


DROP = {"drop": {"class_path": "Dropout", "init_args": {"p": 0.1}}, "decay": {"class_path": "WeightDecay"}}
BASE = {"model": {"init_args": {"regularizers": DROP}}}


@pytest.mark.parametrize(
    "layer",
    [
        {"model": {"init_args": {"regularizers": {"drop": {"p": 0.4}}}}},
        {"model": {"init_args": {"regularizers": {"drop": {"init_args": {"p": 0.4}}}}}},
        {"model": {"init_args": {"regularizers": {"drop": {"class_path": "Dropout", "p": 0.4}}}}},
        {"model": {"init_args": {"regularizers": {"drop.p": 0.4}}}},
        {"model": {"regularizers": {"drop": {"p": 0.4}}}},
        {"model": {"init_args.regularizers": {"drop": {"p": 0.4}}}},
        {"model.init_args.regularizers": {"drop": {"p": 0.4}}},
        {"model.regularizers.drop.p": 0.4},
    ],
    ids=str,
)
def test_every_form_of_an_option_changes_it_and_keeps_the_others(layer):
    assert merged([BASE, layer])[-1] == DROP | {"drop": {"class_path": "Dropout", "init_args": {"p": 0.4}}}


def test_a_key_that_no_class_has_is_an_argument_for_the_parser_to_refuse():
    given = {"model": {"init_args": {"regularizers": {"drop": {"int_args": {"p": 0.4}}}}}}
    assert merged([BASE, given])[-1]["drop"]["init_args"] == {"p": 0.1, "int_args": {"p": 0.4}}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["drop.p=0.4"], {"drop": 0.4, "decay": None}),
        (["drop.init_args.p", "0.4"], {"drop": 0.4, "decay": None}),
        (["drop", "{p: 0.4}"], {"drop": 0.4, "decay": None}),
        (["={drop: {p: 0.4}}"], {"drop": 0.4, "decay": None}),
        (["drop.p=0.4", "={norm: BatchNorm}"], {"drop": 0.4, "decay": None, "norm": None}),
        (["drop=null"], {"decay": None}),
        (["=null", "drop", "Dropout", "drop.p", "0.4"], {"drop": 0.4}),
    ],
    ids=str,
)
@pytest.mark.parametrize("prefix", ["--model.init_args.regularizers", "--model.regularizers"])
def test_arguments_merge_as_files_do(run, prefix, arguments, expected):
    Path("base.yaml").write_text(yaml.safe_dump({"base": "tiny.yaml"} | BASE | {"name": "n"}))
    Path("base.yaml").write_text(Path("base.yaml").read_text().replace("init_args:", "init_args:\n    dropout: 0", 1))
    words = [
        f"{prefix}{word}" if word[0] == "=" else f"{prefix}.{word}" if word[0] in "dn" and word != "Dropout" else word
        for word in arguments
    ]
    code, out, err = run("fit", "--config", "base.yaml", *words, "--print_config")
    assert code == 0, err
    found = yaml.safe_load(out)["model"]["init_args"]["regularizers"]
    assert {name: part["init_args"].get("p") for name, part in found.items()} == expected


def test_the_model_as_one_argument_or_as_a_file_merges_too(run):
    Path("base.yaml").write_text(yaml.safe_dump({"base": "tiny.yaml"} | BASE))
    Path("model.yaml").write_text("class_path: RegularizedMLP\ninit_args: {regularizers: {norm: BatchNorm}}\n")
    for model in ("{init_args: {regularizers: {norm: BatchNorm}}}", "model.yaml"):
        code, out, err = run("fit", "--config", "base.yaml", "--model", model, "--print_config")
        assert code == 0, err
        assert yaml.safe_load(out)["model"]["init_args"]["regularizers"].keys() == {"drop", "decay", "norm"}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["={d: {class_path: Dropuot}}"], "regularizers.d: there is no class Dropuot; there are "),
        ([".d.p=0.5"], "regularizers.d: names no class by class_path; there are "),
        (["={d: 5}"], "regularizers.d: names no class by class_path"),
        (["={d: {class_path: no_such.Mine}}"], "regularizers.d: no_such.Mine cannot be imported: No module named"),
        (["=5"], "model.init_args.regularizers: must be a mapping (name: regularizer), got 5"),
        (["={d: {class_path: Dropout, int_args: {p: 0.4}}}"], "Option 'int_args.p' is not accepted"),
    ],
)
def test_the_error_of_a_mistyped_regularizer_names_it(refusal, words, fault):
    _, line = refusal("fit", "--config", "tiny.yaml", *(f"--model.init_args.regularizers{word}" for word in words))
    assert fault in line
    # a user's own classes that are imported are listed too
    assert "there are" not in fault or {"BatchNorm", "Dropout"} <= set(line.partition("there are ")[2].split(", "))


def test_config_is_no_option_of_a_configuration(refusal):
    Path("mine.yaml").write_text("config: tiny.yaml\n")
    _, line = refusal("fit", "--config", "tiny.yaml", "--config", "mine.yaml")
    assert "config: is an option of the command line alone" in line


def test_nesting_options_leaves_the_callers_mapping_alone_and_refuses_a_part_of_a_value():
    trainer = {"max_epochs": 1}
    assert nested({"trainer": trainer, "trainer.max_epochs": 2}) == {"trainer": {"max_epochs": 2}}
    assert trainer == {"max_epochs": 1}
    assert nested({"trainer.max_epochs": 2, "trainer": {"max_time": 1}}) == {
        "trainer": {"max_epochs": 2, "max_time": 1}
    }
    for options in ({"seeds": 1, "seeds.x": 2}, {"seeds.x": 2, "seeds": 1}):
        with pytest.raises(UserError, match="seeds.*: seeds is given a value and options of it at once"):
            nested(options)


def test_options_with_other_defaults_than_none_are_part_of_the_cache_key():
    assert cache_key(changed("model.init_args.later", 0), {}) != cache_key(CONFIG, {})


def test_a_resumed_run_may_be_longer():
    longer = changed("trainer.max_epochs", 9)
    assert identity(longer) != identity(CONFIG)
    assert resumable(longer) == resumable(CONFIG)


def test_the_last_value_of_an_option_counts():
    assert option_value(["fit", "--name", "a", "--name=b"], "--name") == "b"
    assert option_value(["fit", "--name"], "--name") is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("x: [1", "a.yaml: line 1: is not valid YAML"),
        ("- 1", "a.yaml: must hold a mapping (key: value), found a list"),
        ("base: nowhere.yaml", "nowhere.yaml: no such configuration file"),
        ("base: a.yaml", "a.yaml: base: builds on itself"),
        ('base: "a\\0b"', "a.yaml: base: 'a\\x00b' cannot be the name of a file"),
        ("base: {x: 1}", "a.yaml: base: must be a file name or a list of them, got {'x': 1}"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(tmp_path, content, fault):
    write(tmp_path, a=content)
    with pytest.raises(UserError) as error:
        read_layers(tmp_path / "a.yaml")
    assert fault in str(error.value)


def test_a_row_of_bases_that_has_no_end_in_sight_is_refused(tmp_path):
    for number in range(52):
        (tmp_path / f"{number}.yaml").write_text(f"base: {number + 1}.yaml")
    with pytest.raises(UserError, match=r"base: more than 50 files that build on one another"):
        read_layers(tmp_path / "0.yaml")


@pytest.mark.parametrize("option", ["--model", "--data", "--trainer.callbacks", "--seeds"])
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{" * 3000, "is nested more than 100 levels deep"),
        ("&a {class_path: *a}", "alias a is part of what it names"),
        (BOMB, "holds more than 50,000 values"),
    ],
    ids=["deep", "endless", "bomb"],
)
def test_yaml_among_the_arguments_has_the_same_limits(refusal, option, text, fault):
    for words in ([option, text], [f"{option}={text}"]):
        _, line = refusal("fit", "--config", "tiny.yaml", *words)
        assert line.startswith(f"fashionreg: error: {option.strip('-')}: {fault}")
        assert len(line) < 300


def test_what_the_parser_says_of_a_long_value_stays_short(refusal):
    _, line = refusal("fit", "--config", "tiny.yaml", "--trainer.max_epochs", "9" * 5000)
    assert "trainer.max_epochs" in line
    assert len(line) < 1100


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_is_named_after_its_file(path):
    assert read_layers(path)[-1]["name"] == path.stem


@pytest.mark.parametrize(
    ("name", "regularizers"),
    [
        ("plain", (False, 0, 0)),
        ("bn", (True, 0, 0)),
        ("dropout", (False, 0.3, 0)),
        ("l2", (False, 0, 1e-4)),
        ("", (True, 0.3, 1e-4)),
    ],
)
def test_each_lecture_7_configuration_uses_its_own_technique(name, regularizers):
    path = next(path for path in SHIPPED if path.stem == f"lecture7_{name}".rstrip("_"))
    model, decay = {}, 0
    for part in read_layers(path):
        arguments = part.get("model", {}).get("init_args", {})
        decay = arguments.get("optimizer", {}).get("init_args", {}).get("weight_decay", decay)
        model |= arguments
    assert (model.get("batch_norm", False), model.get("dropout", 0), decay) == regularizers


def test_shipped_configurations_do_not_repeat_their_base():
    for path in SHIPPED:
        *bases, own = read_layers(path)
        for base in bases:
            for key in own.keys() & base.keys():
                assert yaml.safe_dump(own[key]) != yaml.safe_dump(base[key]), f"{path.name}: {key}"
